//! A TCP connection.

use std::net::SocketAddr;

use ipvs_netlink::pool::Outcome;
use serde::Deserialize;

use super::Source;

/// A connection over TCP, which is reset once it is established.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tcp {
    /// The local side.
    pub source: Source,
}

impl Tcp {
    pub(super) async fn attempt(&self, target: SocketAddr) -> Result<Outcome, Outcome> {
        self.source.connect(target).await?;
        Ok(Outcome::SUCCESS)
    }
}
