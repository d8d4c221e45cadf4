//! Names of virtual routers and sync groups in a fleet.

use core::fmt;

/// A virtual router of a [`VrrpRouter`](super::VrrpRouter). The number of one that was removed is not given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouterId {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "router {}", self.serial)
    }
}

/// A sync group of a [`VrrpRouter`](super::VrrpRouter). The number of one that was removed is not given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.serial)
    }
}
