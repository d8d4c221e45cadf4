//! The parts that one daemon hands over to the next one beside the driver, over the connection of
//! `--replace`.
//!
//! They come one after another: first the objects on the host, then the virtual servers, if it has
//! any.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use ipvs_netlink::Timeouts;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use vrrp_examples::{
    balancer::HandOver,
    keepalived::{
        host_object::HostObject,
        link::{PlannedIpvlan, PlannedMacvlan},
    },
};
use vrrp_fsm::Counters;
use vrrp_proto::{Family, Priority, Vrid};

/// The version of the format.
const VERSION: u32 = 2;

/// The longest part. One that claims to be longer is not one.
const LONGEST: u64 = 1 << 28;

/// How long one daemon waits for the virtual servers of the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a successor waits for the first part. In that time no router runs.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// The daemon that this one has replaced.
#[derive(Debug)]
pub(crate) struct Predecessor {
    /// What it had on the host.
    pub(crate) host: HostState,
    /// Its process ID, where this process can see it.
    pub(crate) process: Option<u32>,
    /// The connection over which its virtual servers come, unless they are left alone.
    pub(crate) connection: Option<UnixStream>,
}

/// What a daemon has on the host that the driver does not manage.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct HostState {
    /// The static addresses, routes and rules.
    pub(crate) statics: Vec<HostObject>,
    pub(crate) instances: Vec<InstanceState>,
    /// The FIFOs that it made.
    pub(crate) fifos: Vec<PathBuf>,
    /// The end of the delay at the start, by the time since the boot of the host.
    #[serde(default)]
    pub(crate) startup_hold_end: Duration,
    /// The instances and sync groups whose scripts have not ended: whether it is a group, and the
    /// name.
    #[serde(default)]
    pub(crate) busy: BTreeSet<(bool, String)>,
    /// The device and the inode of the network namespace of its virtual servers.
    pub(crate) table_namespace: Option<(u64, u64)>,
}

/// What an instance has on the host.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct InstanceState {
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) vrid: Vrid,
    pub(crate) family: Family,
    /// Whether its removal is reported as such, and not as a fault.
    #[serde(default)]
    pub(crate) reports_removal: bool,
    pub(crate) priority: Priority,
    pub(crate) objects: Vec<HostObject>,
    /// Whether its objects are in place.
    pub(crate) has_objects: bool,
    pub(crate) ipvlan: Option<PlannedIpvlan>,
    pub(crate) macvlans: Vec<PlannedMacvlan>,
    /// The counters at the time when they were last cleared.
    pub(crate) cleared: Counters,
}

impl HostState {
    /// Sends it to a successor.
    pub(crate) fn send(&self, successor: &UnixStream) -> io::Result<()> {
        send(successor, self)
    }

    /// Receives it from a predecessor.
    pub(crate) fn receive(predecessor: &UnixStream) -> io::Result<Self> {
        let state = receive(predecessor, FIRST_PATIENCE)?;
        state.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }
}

/// The virtual servers, and the settings of the kernel as the first daemon found them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct HandedOver {
    pub(crate) balancer: HandOver,
    /// The timeouts before the first change: tcp, tcpfin and udp.
    timeouts_before: Option<[u32; 3]>,
    /// Whether sync daemons were ever wanted.
    pub(crate) has_daemons: bool,
    /// Whether scripts have not ended.
    #[serde(default)]
    pub(crate) is_busy: bool,
}

impl HandedOver {
    pub(crate) fn new(
        balancer: HandOver,
        timeouts_before: Option<Timeouts>,
        has_daemons: bool,
        is_busy: bool,
    ) -> Self {
        Self {
            balancer,
            timeouts_before: timeouts_before.map(|it| [it.tcp, it.tcp_fin, it.udp]),
            has_daemons,
            is_busy,
        }
    }

    pub(crate) fn timeouts_before(&self) -> Option<Timeouts> {
        let [tcp, tcp_fin, udp] = self.timeouts_before?;
        Some(Timeouts { tcp, tcp_fin, udp })
    }

    /// Sends them to a successor.
    pub(crate) fn send(&self, successor: &UnixStream) -> io::Result<()> {
        send(successor, self)
    }

    /// Receives them from a predecessor; `None` from a predecessor without virtual servers.
    pub(crate) fn receive(predecessor: &UnixStream) -> io::Result<Option<Self>> {
        receive(predecessor, PATIENCE)
    }
}

/// The process of the daemon at the other end of a connection.
pub(crate) fn process_of(predecessor: &UnixStream) -> Option<u32> {
    let peer = getsockopt(predecessor, PeerCredentials).ok()?;
    u32::try_from(peer.pid())
        .ok()
        .filter(|process| *process != 0)
}

/// Sends a part: the version, the length and the text.
fn send(mut successor: &UnixStream, part: &impl Serialize) -> io::Result<()> {
    successor.set_write_timeout(Some(PATIENCE))?;
    let text = serde_json::to_vec(part)?;
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend((text.len() as u64).to_be_bytes());
    bytes.extend(text);
    successor.write_all(&bytes)
}

/// Receives a part; `None` if the predecessor ends without it.
fn receive<T: DeserializeOwned>(
    mut predecessor: &UnixStream,
    patience: Duration,
) -> io::Result<Option<T>> {
    predecessor.set_read_timeout(Some(patience))?;
    let mut version = [0; 4];
    match predecessor.read_exact(&mut version) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let mut length = [0; 8];
    predecessor.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    if u32::from_be_bytes(version) != VERSION || length > LONGEST {
        let problem = format!("the form of the state is not {VERSION}, which this program knows");
        return Err(io::Error::new(ErrorKind::InvalidData, problem));
    }
    let mut text = Vec::new();
    let read = predecessor.take(length).read_to_end(&mut text)?;
    if read as u64 != length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream};

    use super::{HandedOver, HostState, send};

    #[test]
    fn the_parts_come_one_after_another_and_the_second_may_be_missing() {
        let (first, second) = UnixStream::pair().unwrap();
        let state = HostState {
            fifos: vec!["/run/fifo".into()],
            ..HostState::default()
        };
        state.send(&first).unwrap();
        drop(first);
        assert_eq!(HostState::receive(&second).unwrap().fifos, state.fifos);
        assert!(HandedOver::receive(&second).unwrap().is_none());
    }

    #[test]
    fn another_version_a_part_that_ends_early_and_nothing_at_all_are_errors() {
        for bytes in [
            b"".as_slice(),
            br#"{"version":1,"balancer":{}}"#,
            &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, b'{'],
            &[0, 0, 0, 2, 0xFF, 0, 0, 0, 0, 0, 0, 9, b'{'],
            &[0, 0, 0, 2, 0],
        ] {
            let (mut first, second) = UnixStream::pair().unwrap();
            first.write_all(bytes).unwrap();
            drop(first);
            assert!(HostState::receive(&second).is_err(), "{bytes:?}");
        }
        let (first, second) = UnixStream::pair().unwrap();
        send(&first, &"no state").unwrap();
        assert!(HostState::receive(&second).is_err());
    }
}
