//! What belongs to no service: the sync daemons, the timeouts, the kernel's version.

use std::{fmt, net::IpAddr};

use crate::{InterfaceName, ValueError};

/// What a sync daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DaemonState {
    /// It sends the connections of this host.
    Master,
    /// It receives the connections of another host.
    Backup,
}

impl fmt::Display for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A sync daemon: connections are told to another load balancer by multicast, so that it can go on with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncDaemon {
    /// What it does. A namespace has at most one of each.
    pub state: DaemonState,
    /// The interface it uses.
    pub interface: InterfaceName,
    /// The group of load balancers it belongs to; a backup with 0 takes from all.
    pub sync_id: u8,
    /// The longest message in octets; `None` leaves it to the kernel, which goes by the MTU of the interface, and keeps every value within what the
    /// interface takes.
    pub max_length: Option<u16>,
    /// The multicast group; `None` for 224.0.0.81.
    pub group: Option<MulticastGroup>,
    /// The UDP port; `None` for 8848.
    pub port: Option<u16>,
    /// The TTL or hop limit of the messages; `None` for 1.
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// A daemon with the kernel's defaults.
    #[must_use]
    pub fn new(state: DaemonState, interface: InterfaceName, sync_id: u8) -> Self {
        Self {
            state,
            interface,
            sync_id,
            max_length: None,
            group: None,
            port: None,
            ttl: None,
        }
    }
}

/// An IPv4 or IPv6 multicast address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MulticastGroup(IpAddr);

impl MulticastGroup {
    /// A group.
    ///
    /// # Errors
    ///
    /// [`ValueError::MulticastGroup`] for an address that is not multicast.
    pub fn new(address: impl Into<IpAddr>) -> Result<Self, ValueError> {
        let address = address.into();
        if address.is_multicast() {
            Ok(Self(address))
        } else {
            Err(ValueError::MulticastGroup(address))
        }
    }

    /// Its address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }
}

impl TryFrom<IpAddr> for MulticastGroup {
    type Error = ValueError;

    fn try_from(address: IpAddr) -> Result<Self, ValueError> {
        Self::new(address)
    }
}

impl From<MulticastGroup> for IpAddr {
    fn from(group: MulticastGroup) -> Self {
        group.0
    }
}

/// How long connections without traffic are kept, in seconds.
///
/// When they are set, 0 leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Established TCP connections.
    pub tcp: u32,
    /// TCP connections after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// What the kernel says of its IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Info {
    /// The version of its interface, which is not the kernel's.
    pub version: Version,
    /// The number of buckets of the connection table. From Linux 7.2 on 0 where there is no service, and growing.
    pub connection_table_size: u32,
}

/// The version of IPVS in a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u8,
    /// The second.
    pub minor: u8,
    /// The third.
    pub patch: u8,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
