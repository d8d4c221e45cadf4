//! Destinations: the real servers of a service.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};

use crate::{Family, ValueError};

/// The identity of a destination within its service. The forwarding method is not a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    /// The address of the server. Its family may differ from the service's only behind a tunnel.
    pub address: IpAddr,
    /// The port of the server. Only masquerading can change the port; 0 keeps it.
    pub port: u16,
}

impl DestinationKey {
    /// Creates a key from an address and a port.
    #[must_use]
    pub fn new(address: impl Into<SocketAddr>) -> Self {
        let address = address.into();
        Self {
            address: address.ip(),
            port: address.port(),
        }
    }

    /// Returns the family of the address.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl From<SocketAddr> for DestinationKey {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

impl From<DestinationKey> for SocketAddr {
    fn from(key: DestinationKey) -> Self {
        Self::new(key.address, key.port)
    }
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// How packets reach a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardingMethod {
    /// Network address translation (NAT); answers come back through this host.
    Masquerade,
    /// This host itself. The kernel delivers locally wherever the address is its own; not all
    /// kernels show it in lists.
    Local,
    /// Encapsulation (TUN); the server answers the client itself.
    Tunnel(Tunnel),
    /// Direct routing (DR), to the server's hardware address: the default of ipvsadm. The server
    /// answers the client itself.
    #[default]
    DirectRoute,
    /// Delivery to the original address, past the load balancer. The kernel uses it for transparent
    /// cache clusters.
    Bypass,
}

impl fmt::Display for ForwardingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masquerade => f.write_str("masquerade"),
            Self::Local => f.write_str("local"),
            Self::Tunnel(tunnel) => write!(f, "tunnel {tunnel}"),
            Self::DirectRoute => f.write_str("direct route"),
            Self::Bypass => f.write_str("bypass"),
        }
    }
}

/// An encapsulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    IpIp,
    /// Generic UDP Encapsulation (Linux 5.3).
    Gue {
        /// The UDP port on which the server decapsulates.
        port: NonZeroU16,
        /// The checksum of the outer header.
        checksum: GueChecksum,
    },
    /// GRE (Linux 5.4).
    Gre {
        /// Whether the GRE header has a checksum.
        checksum: bool,
    },
}

/// The checksum of a GUE tunnel's UDP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GueChecksum {
    /// None.
    #[default]
    None,
    /// A full checksum.
    Full,
    /// Remote checksum offload: the inner checksum is left to the server.
    Remote,
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IpIp => f.write_str("ipip"),
            Self::Gue { port, checksum } => {
                write!(f, "gue port {port}")?;
                f.write_str(match checksum {
                    GueChecksum::None => "",
                    GueChecksum::Full => " checksum",
                    GueChecksum::Remote => " remote checksum",
                })
            }
            Self::Gre { checksum } => f.write_str(if *checksum { "gre checksum" } else { "gre" }),
        }
    }
}

/// A destination's share of new connections, 0 to 2³¹ − 1. With 0 it gets none and keeps those it
/// has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

impl Weight {
    /// No new connections.
    pub const ZERO: Self = Self(0);
    /// The heaviest weight.
    pub const MAX: Self = Self(i32::MAX.cast_unsigned());

    /// A weight.
    ///
    /// # Errors
    ///
    /// [`ValueError::Weight`] above 2³¹ − 1.
    pub const fn new(weight: u32) -> Result<Self, ValueError> {
        if weight <= Self::MAX.0 {
            Ok(Self(weight))
        } else {
            Err(ValueError::Weight(weight))
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    /// Returns 1, the default of ipvsadm.
    fn default() -> Self {
        Self(1)
    }
}

impl From<u16> for Weight {
    fn from(weight: u16) -> Self {
        Self(weight.into())
    }
}

impl TryFrom<u32> for Weight {
    type Error = ValueError;

    fn try_from(weight: u32) -> Result<Self, ValueError> {
        Self::new(weight)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Limits on the connections of a destination.
///
/// At the upper limit it gets no new connections, until it has fewer than the lower limit. A lower
/// limit of 0 stands for three quarters of the upper one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thresholds {
    upper: u32,
    lower: u32,
}

impl Thresholds {
    /// No limits.
    pub const NONE: Self = Self { upper: 0, lower: 0 };

    /// Limits; 0 means none.
    ///
    /// # Errors
    ///
    /// [`ValueError::UpperThreshold`] above 2³¹ − 1, [`ValueError::LowerThreshold`] if the lower
    /// limit is greater than the upper.
    pub const fn new(upper: u32, lower: u32) -> Result<Self, ValueError> {
        if upper > i32::MAX.cast_unsigned() {
            Err(ValueError::UpperThreshold(upper))
        } else if lower > upper {
            Err(ValueError::LowerThreshold { lower, upper })
        } else {
            Ok(Self { upper, lower })
        }
    }

    /// Returns the number of connections at which it gets no new ones; 0 for no limit.
    #[must_use]
    pub const fn upper(self) -> u32 {
        self.upper
    }

    /// Returns the number of connections below which it gets new ones again; 0 for the kernel's
    /// choice.
    #[must_use]
    pub const fn lower(self) -> u32 {
        self.lower
    }

    /// Creates limits with a kernel's values, without checks.
    pub(crate) const fn from_kernel(upper: u32, lower: u32) -> Self {
        Self { upper, lower }
    }
}

/// A destination: a real server of a service.
///
/// ```
/// use ipvs_netlink::{Destination, DestinationKey, ForwardingMethod};
///
/// let key = DestinationKey::new(([10, 0, 0, 1], 8080));
/// let server = Destination::new(key, ForwardingMethod::Masquerade);
/// let server = Destination { weight: 3.into(), ..server };
/// assert_eq!(server.weight.get(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The identity.
    pub key: DestinationKey,
    /// How packets reach it.
    pub forwarding: ForwardingMethod,
    /// Its share of the traffic.
    pub weight: Weight,
    /// Limits on its connections.
    pub thresholds: Thresholds,
}

impl Destination {
    /// Creates a destination of weight 1 without limits.
    #[must_use]
    pub fn new(key: DestinationKey, forwarding: ForwardingMethod) -> Self {
        Self {
            key,
            forwarding,
            weight: Weight::default(),
            thresholds: Thresholds::NONE,
        }
    }
}
