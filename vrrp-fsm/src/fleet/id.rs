//! Keys of virtual routers and sync groups in a fleet.

use core::fmt;

use crate::arena::{Key, TypedKey};

/// A virtual router of a [`VrrpRouter`](super::VrrpRouter). The id of a removed router is not
/// reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouterId(Key);

/// A sync group of a [`VrrpRouter`](super::VrrpRouter). The id of a removed group is not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId(Key);

impl RouterId {
    /// Returns the id of the router at this place of a snapshot, in the fleet restored from it.
    #[must_use]
    pub const fn nth(place: u32) -> Self {
        Self(Key::nth(place))
    }

    /// Returns the place, if this is an id of [`nth`](Self::nth).
    #[cfg(feature = "sim")]
    pub(crate) fn place(self) -> Option<u32> {
        let slot = self.0.slot();
        (self == Self::nth(slot)).then_some(slot)
    }
}

impl TypedKey for RouterId {
    fn new(key: Key) -> Self {
        Self(key)
    }

    fn key(self) -> Key {
        self.0
    }
}

impl TypedKey for GroupId {
    fn new(key: Key) -> Self {
        Self(key)
    }

    fn key(self) -> Key {
        self.0
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "router {}", self.0.serial())
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.0.serial())
    }
}
