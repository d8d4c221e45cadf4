//! Priority of a router.

use core::fmt;

/// Priority of a router for a virtual router: higher wins (RFC 9568 section 5.2.4).
///
/// Every octet is a valid priority on the wire: 255 for the address owner, 1 to 254 for other
/// routers, 0 for an Active that resigns. A *configured* priority is 1 to 255; the configuration
/// checks that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(u8);

impl Priority {
    /// 0: the Active resigns. It is never configured.
    pub const RESIGN: Self = Self(0);
    /// 100, for a router that does not own the addresses.
    pub const DEFAULT: Self = Self(100);
    /// 255: the router owns the virtual addresses as its own.
    pub const OWNER: Self = Self(255);

    /// Makes a priority of a number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Returns the number, 0 to 255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether this is the address owner's 255.
    #[must_use]
    pub const fn is_owner(self) -> bool {
        self.0 == 255
    }

    /// Whether this is the resigning Active's 0.
    #[must_use]
    pub const fn is_resign(self) -> bool {
        self.0 == 0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl From<u8> for Priority {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
