//! Virtual services.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    ops::{BitOr, BitOrAssign},
};

use crate::{PersistenceEngine, Scheduler, ValueError};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns the family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

/// The transport protocols that IPVS balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, protocol 6.
    Tcp,
    /// UDP, protocol 17.
    Udp,
    /// SCTP, protocol 132.
    Sctp,
}

impl Protocol {
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// The identity of a virtual service. Two services of a network namespace never share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// Traffic to a virtual address.
    Address {
        /// The transport protocol.
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The port; 0 for all ports, which ipvsadm allows only with persistence.
        port: u16,
    },
    /// Traffic with a mark that the firewall gave it.
    FirewallMark {
        /// The mark.
        mark: NonZeroU32,
        /// The family of the traffic: the same mark can serve one service of each.
        family: Family,
    },
}

impl ServiceKey {
    /// Creates the key of an address and a port; 0 stands for all ports.
    ///
    /// ```
    /// use ipvs_netlink::{Protocol, ServiceKey};
    ///
    /// let key = ServiceKey::new(Protocol::Tcp, [192, 0, 2, 1], 80);
    /// assert_eq!(key, ServiceKey::tcp(([192, 0, 2, 1], 80)));
    /// assert_eq!("tcp 192.0.2.1:80".parse(), Ok(key));
    /// ```
    #[must_use]
    pub fn new(protocol: Protocol, address: impl Into<IpAddr>, port: u16) -> Self {
        Self::Address {
            protocol,
            address: address.into(),
            port,
        }
    }

    /// Creates the key of a TCP service.
    #[must_use]
    pub fn tcp(address: impl Into<SocketAddr>) -> Self {
        Self::of_socket(Protocol::Tcp, address.into())
    }

    /// Creates the key of a UDP service.
    #[must_use]
    pub fn udp(address: impl Into<SocketAddr>) -> Self {
        Self::of_socket(Protocol::Udp, address.into())
    }

    /// Creates the key of an SCTP service.
    #[must_use]
    pub fn sctp(address: impl Into<SocketAddr>) -> Self {
        Self::of_socket(Protocol::Sctp, address.into())
    }

    /// Creates the key of a firewall mark.
    #[must_use]
    pub fn mark(mark: NonZeroU32, family: Family) -> Self {
        Self::FirewallMark { mark, family }
    }

    /// Returns the transport protocol; `None` for a firewall mark, which may mark any.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Address { protocol, .. } => Some(*protocol),
            Self::FirewallMark { .. } => None,
        }
    }

    fn of_socket(protocol: Protocol, address: SocketAddr) -> Self {
        Self::new(protocol, address.ip(), address.port())
    }

    /// Returns the address family of the traffic.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::FirewallMark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address {
                protocol,
                address,
                port,
            } => {
                write!(f, "{protocol} {}", SocketAddr::new(*address, *port))
            }
            Self::FirewallMark {
                mark,
                family: Family::V4,
            } => write!(f, "mark {mark}"),
            Self::FirewallMark {
                mark,
                family: Family::V6,
            } => write!(f, "mark {mark} ipv6"),
        }
    }
}

/// Which clients count as one for persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Netmask {
    /// The bits of an IPv4 address that count. The kernel takes any pattern.
    V4(Ipv4Addr),
    /// The leading bits of an IPv6 address that count.
    V6(PrefixLength),
}

impl Netmask {
    /// Returns the mask under which every address is a client of its own.
    #[must_use]
    pub fn host(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(PrefixLength::HOST),
        }
    }

    /// Returns its family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

impl TryFrom<u8> for PrefixLength {
    type Error = ValueError;

    fn try_from(bits: u8) -> Result<Self, ValueError> {
        Self::new(bits)
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => mask.fmt(f),
            Self::V6(length) => length.get().fmt(f),
        }
    }
}

/// The length of an IPv6 prefix, 1 to 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixLength(u8);

impl PrefixLength {
    /// The whole address.
    pub const HOST: Self = Self(128);

    /// A length in bits.
    ///
    /// # Errors
    ///
    /// [`ValueError::PrefixLength`] unless it is 1 to 128.
    pub const fn new(bits: u8) -> Result<Self, ValueError> {
        if bits >= 1 && bits <= 128 {
            Ok(Self(bits))
        } else {
            Err(ValueError::PrefixLength(bits))
        }
    }

    /// The length in bits.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Persistence: the connections of a client go to the same destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Persistence {
    /// The time for which a client is remembered after its last connection, in seconds, 0 to
    /// [`MAX_TIMEOUT`](Self::MAX_TIMEOUT).
    pub timeout: u32,
    /// Which clients count as one.
    pub netmask: Netmask,
}

impl Persistence {
    /// The default of ipvsadm, in seconds.
    pub const DEFAULT_TIMEOUT: u32 = 360;

    /// The longest time that every kernel can hold, in seconds. Kernels count ticks of 1/1000 s or
    /// more in 32 bits, and longer times silently wrap.
    pub const MAX_TIMEOUT: u32 = u32::MAX / 1000;

    /// Creates persistence that takes every address of the family as a client of its own.
    #[must_use]
    pub fn new(timeout: u32, family: Family) -> Self {
        Self {
            timeout,
            netmask: Netmask::host(family),
        }
    }
}

/// The reason why a service cannot have a [`Persistence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PersistenceError {
    /// The netmask is of another family than the service.
    #[error("netmask {netmask}: not of the address family of the service {service}")]
    Netmask {
        /// The netmask.
        netmask: Netmask,
        /// The service.
        service: ServiceKey,
    },
    /// The time is longer than every kernel can hold.
    #[error("persistence timeout {0} s: at most {max} s", max = Persistence::MAX_TIMEOUT)]
    Timeout(u32),
}

/// Flags whose meaning is the scheduler's.
///
/// ```
/// use ipvs_netlink::SchedulerFlags;
///
/// let flags = SchedulerFlags::SH_FALLBACK | SchedulerFlags::SH_PORT;
/// assert!(flags.contains(SchedulerFlags::FLAG_1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchedulerFlags(u8);

impl SchedulerFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// The first flag.
    pub const FLAG_1: Self = Self(1);
    /// The second flag.
    pub const FLAG_2: Self = Self(2);
    /// The third flag.
    pub const FLAG_3: Self = Self(4);
    /// Source hashing: another destination where the chosen one is unavailable.
    pub const SH_FALLBACK: Self = Self::FLAG_1;
    /// Source hashing: the port counts too.
    pub const SH_PORT: Self = Self::FLAG_2;
    /// Maglev hashing: another destination where the chosen one is unavailable.
    pub const MH_FALLBACK: Self = Self::FLAG_1;
    /// Maglev hashing: the port counts too.
    pub const MH_PORT: Self = Self::FLAG_2;

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the names of the set flags, as ipvsadm has them for a scheduler: `sh-port`,
    /// `flag-2`. The third flag has no name (`None`) with `sh` and `mh`.
    pub fn names(self, scheduler: Scheduler) -> impl Iterator<Item = Option<&'static str>> {
        let names = match scheduler {
            Scheduler::SH => [Some("sh-fallback"), Some("sh-port"), None],
            Scheduler::MH => [Some("mh-fallback"), Some("mh-port"), None],
            _ => [Some("flag-1"), Some("flag-2"), Some("flag-3")],
        };
        let flags = [Self::FLAG_1, Self::FLAG_2, Self::FLAG_3];
        let set = flags.into_iter().zip(names);
        set.filter_map(move |(flag, name)| self.contains(flag).then_some(name))
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & 7)
    }
}

impl fmt::Display for SchedulerFlags {
    /// The flags as ipvsadm names them for any scheduler: `flag-1,flag-3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names(Scheduler::NONE).flatten().collect();
        f.write_str(&names.join(","))
    }
}

impl BitOr for SchedulerFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for SchedulerFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A virtual service: the balancing of the traffic of one key.
///
/// ```
/// use ipvs_netlink::{Family, Netmask, Persistence, Scheduler, Service, ServiceKey};
///
/// let key = ServiceKey::tcp(([192, 0, 2, 1], 443));
/// let mut service = Service::new(key, Scheduler::WRR);
/// let netmask = Netmask::V4([255, 255, 255, 0].into());
/// service.set_persistence(Persistence { timeout: 1800, netmask })?;
/// assert_eq!(service.key.to_string(), "tcp 192.0.2.1:443");
/// # Ok::<(), ipvs_netlink::PersistenceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// The identity.
    pub key: ServiceKey,
    /// The scheduler, which chooses a destination.
    pub scheduler: Scheduler,
    /// Flags for the scheduler.
    pub scheduler_flags: SchedulerFlags,
    /// One-packet scheduling: every datagram is scheduled on its own. For UDP, and for UDP traffic
    /// of a firewall mark.
    pub one_packet: bool,
    /// The engine that decides, together with the client's address, which connections belong
    /// together. It needs persistence.
    pub persistence_engine: Option<PersistenceEngine>,
    persistence: Option<Persistence>,
}

impl Service {
    /// Creates a service without persistence and without flags.
    #[must_use]
    pub fn new(key: ServiceKey, scheduler: Scheduler) -> Self {
        Self {
            key,
            scheduler,
            scheduler_flags: SchedulerFlags::NONE,
            one_packet: false,
            persistence_engine: None,
            persistence: None,
        }
    }

    /// Returns its persistence, if it is persistent.
    #[must_use]
    pub fn persistence(&self) -> Option<Persistence> {
        self.persistence
    }

    /// Makes it persistent.
    ///
    /// # Errors
    ///
    /// A [`PersistenceError`] for a netmask of the other family, or a time longer than
    /// [`Persistence::MAX_TIMEOUT`].
    pub fn set_persistence(&mut self, persistence: Persistence) -> Result<(), PersistenceError> {
        if persistence.netmask.family() != self.key.family() {
            return Err(PersistenceError::Netmask {
                netmask: persistence.netmask,
                service: self.key,
            });
        }
        if persistence.timeout > Persistence::MAX_TIMEOUT {
            return Err(PersistenceError::Timeout(persistence.timeout));
        }
        self.persistence = Some(persistence);
        Ok(())
    }

    /// Removes its persistence.
    pub fn clear_persistence(&mut self) {
        self.persistence = None;
    }

    /// Sets persistence with a kernel's values: the family is right, but the time may be any.
    pub(crate) fn with_kernel_persistence(mut self, persistence: Option<Persistence>) -> Self {
        self.persistence = persistence;
        self
    }
}
