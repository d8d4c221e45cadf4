//! The distance between the clocks of two routers.

use core::fmt;

/// The distance of a sender's clock from the local clock, in milliseconds.
///
/// Only the time window of the HMAC trailer depends on clocks (module `hmac`). Distances of 49 days
/// and more count as `u32::MAX` milliseconds.
///
/// ```
/// use vrrp_proto::ClockSkew;
///
/// let skew = ClockSkew::Ahead { millis: 3250 };
/// assert_eq!(skew.to_string(), "3.250 s ahead of the local clock");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClockSkew {
    /// The sender's clock shows a later time.
    Ahead {
        /// The distance.
        millis: u32,
    },
    /// The sender's clock shows an earlier time.
    Behind {
        /// The distance.
        millis: u32,
    },
}

impl ClockSkew {
    /// The distance in milliseconds, in either direction.
    #[must_use]
    pub const fn millis(self) -> u32 {
        match self {
            Self::Ahead { millis } | Self::Behind { millis } => millis,
        }
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.millis() / 1000, self.millis() % 1000);
        let direction = match self {
            Self::Ahead { .. } => "ahead of",
            Self::Behind { .. } => "behind",
        };
        write!(f, "{seconds}.{millis:03} s {direction} the local clock")
    }
}
