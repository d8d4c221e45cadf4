//! Names of fixed maximum length, as the kernel keeps them.

use std::{fmt, str::FromStr};

/// The reason why a text is not a name of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?}: {reason}")]
pub struct NameError {
    what: &'static str,
    name: String,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("a name has at least one character")]
    Empty,
    #[error("a name has at most {0} octets")]
    TooLong(usize),
    #[error("a name has no blanks and no control characters")]
    Character,
}

/// Up to `N` octets of text without blanks, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name<const N: usize>([u8; N]);

impl<const N: usize> Name<N> {
    pub(crate) const fn literal(name: &str) -> Self {
        let name = name.as_bytes();
        let mut octets = [0; N];
        let mut at = 0;
        while at < name.len() && at < N {
            octets[at] = name[at];
            at += 1;
        }
        Self(octets)
    }

    pub(crate) fn new(what: &'static str, name: &str) -> Result<Self, NameError> {
        let refuse = |reason| NameError {
            what,
            name: name.chars().take(64).collect(),
            reason,
        };
        if name.is_empty() {
            return Err(refuse(Reason::Empty));
        }
        if name.len() > N {
            return Err(refuse(Reason::TooLong(N)));
        }
        if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refuse(Reason::Character));
        }
        Ok(Self::literal(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&octet| octet == 0).unwrap_or(N);
        // It was made from a `str`, so it is text.
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

/// The name of a scheduler: how a service chooses a destination for a new connection.
///
/// Any valid name is accepted; the schedulers of the kernel's source tree are constants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scheduler(Name<15>);

impl Scheduler {
    /// Round robin.
    pub const RR: Self = Self(Name::literal("rr"));
    /// Weighted round robin.
    pub const WRR: Self = Self(Name::literal("wrr"));
    /// Least connections.
    pub const LC: Self = Self(Name::literal("lc"));
    /// Weighted least connections, the default of ipvsadm.
    pub const WLC: Self = Self(Name::literal("wlc"));
    /// Weighted failover: the destination of the highest weight.
    pub const FO: Self = Self(Name::literal("fo"));
    /// Weighted overflow: the highest weight until it has as many connections, then the next.
    pub const OVF: Self = Self(Name::literal("ovf"));
    /// Locality-based least connections.
    pub const LBLC: Self = Self(Name::literal("lblc"));
    /// Locality-based least connections with replication.
    pub const LBLCR: Self = Self(Name::literal("lblcr"));
    /// Destination hashing.
    pub const DH: Self = Self(Name::literal("dh"));
    /// Source hashing.
    pub const SH: Self = Self(Name::literal("sh"));
    /// Maglev hashing (Linux 4.18).
    pub const MH: Self = Self(Name::literal("mh"));
    /// Shortest expected delay.
    pub const SED: Self = Self(Name::literal("sed"));
    /// Never queue.
    pub const NQ: Self = Self(Name::literal("nq"));
    /// Weighted random choice of two by least connections (Linux 5.16).
    pub const TWOS: Self = Self(Name::literal("twos"));
    /// No scheduler: the service takes no new connections.
    pub const NONE: Self = Self(Name::literal("none"));

    /// The schedulers of the kernel's source tree.
    pub const ALL: [Self; 14] = [
        Self::RR,
        Self::WRR,
        Self::LC,
        Self::WLC,
        Self::FO,
        Self::OVF,
        Self::LBLC,
        Self::LBLCR,
        Self::DH,
        Self::SH,
        Self::MH,
        Self::SED,
        Self::NQ,
        Self::TWOS,
    ];

    /// Creates a scheduler from its name.
    ///
    /// # Errors
    ///
    /// A [`NameError`] unless the name has 1 to 15 octets without blanks and control characters.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Name::new("scheduler", name).map(Self)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The name of a persistence engine. The engine finds connections that belong together by data of a
/// packet and the client's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistenceEngine(Name<16>);

impl PersistenceEngine {
    /// The Call-ID of SIP over UDP, the only engine of the kernel's source tree.
    pub const SIP: Self = Self(Name::literal("sip"));

    /// Creates an engine from its name.
    ///
    /// # Errors
    ///
    /// A [`NameError`] unless the name has 1 to 16 octets without blanks and control characters.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Name::new("persistence engine", name).map(Self)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The name of a network interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Name<15>);

impl InterfaceName {
    /// Creates an interface from its name.
    ///
    /// # Errors
    ///
    /// A [`NameError`] unless the name has 1 to 15 octets without blanks and control characters.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Name::new("interface", name).map(Self)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    )*};
}

text!(Scheduler, PersistenceEngine, InterfaceName);
