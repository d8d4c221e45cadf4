//! Settings of a namespace: sync daemons, timeouts, and the kernel's version.

use std::{fmt, net::IpAddr};

use crate::{InterfaceName, ValueError};

/// The role of a sync daemon.
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

/// A sync daemon: it multicasts connections to another load balancer, which can then continue them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncDaemon {
    /// The role. A namespace has at most one daemon of each.
    pub state: DaemonState,
    /// The interface it uses.
    pub interface: InterfaceName,
    /// The group of load balancers it belongs to; a backup with 0 accepts all.
    pub sync_id: u8,
    /// The longest message in octets; `None` for the kernel's choice by the MTU of the interface.
    /// The kernel limits every value to the interface.
    pub max_length: Option<u16>,
    /// The multicast group; `None` for 224.0.0.81.
    pub group: Option<MulticastGroup>,
    /// The UDP port; `None` for 8848.
    pub port: Option<u16>,
    /// The TTL or hop limit of the messages; `None` for 1.
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// Creates a daemon with the kernel's defaults.
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

/// The timeouts of idle connections, in seconds.
///
/// Setting 0 keeps the current value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Established TCP connections.
    pub tcp: u32,
    /// TCP connections after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// The version of the kernel's IPVS, and the size of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Info {
    /// The version of its interface, which is not the kernel's.
    pub version: Version,
    /// The number of buckets of the connection table. From Linux 7.2 on, the table grows, and the
    /// number is 0 while there is no service.
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
