//! The virtual servers of one daemon for the next one, over the connection of `--replace`.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::Duration,
};

use ipvs_netlink::Timeouts;
use serde::{Deserialize, Serialize};
use vrrp_examples::balancer::HandOver;

/// The version of the format.
const VERSION: u32 = 1;

/// How long one daemon waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// The virtual servers, and the settings of the kernel as the first daemon found them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct HandedOver {
    version: u32,
    pub(crate) balancer: HandOver,
    /// The timeouts before the first change: tcp, tcpfin and udp.
    timeouts_before: Option<[u32; 3]>,
    /// Whether sync daemons were ever wanted.
    pub(crate) has_daemons: bool,
}

impl HandedOver {
    pub(crate) fn new(
        balancer: HandOver,
        timeouts_before: Option<Timeouts>,
        has_daemons: bool,
    ) -> Self {
        Self {
            version: VERSION,
            balancer,
            timeouts_before: timeouts_before.map(|it| [it.tcp, it.tcp_fin, it.udp]),
            has_daemons,
        }
    }

    pub(crate) fn timeouts_before(&self) -> Option<Timeouts> {
        let [tcp, tcp_fin, udp] = self.timeouts_before?;
        Some(Timeouts { tcp, tcp_fin, udp })
    }

    /// Sends them to a successor. A successor of an older version does not read them.
    pub(crate) fn send(&self, mut successor: &UnixStream) -> io::Result<()> {
        successor.set_write_timeout(Some(PATIENCE))?;
        successor.write_all(&serde_json::to_vec(self)?)?;
        successor.shutdown(Shutdown::Write)
    }

    /// Receives them from a predecessor; `None` from a predecessor without virtual servers.
    pub(crate) fn receive(mut predecessor: &UnixStream) -> io::Result<Option<Self>> {
        predecessor.set_read_timeout(Some(PATIENCE))?;
        let mut bytes = Vec::new();
        predecessor.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let state: Self = serde_json::from_slice(&bytes)?;
        if state.version == VERSION {
            Ok(Some(state))
        } else {
            let problem = format!(
                "the form of the state is {}, and this program knows {VERSION} only",
                state.version
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, problem))
        }
    }
}
