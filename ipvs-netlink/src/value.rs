//! Errors of values that a type cannot hold.

use std::net::IpAddr;

/// A value outside the range of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A [`Weight`](crate::Weight).
    #[error("weight {0}: must be 0 to 2147483647")]
    Weight(u32),
    /// A [`PrefixLength`](crate::PrefixLength).
    #[error("prefix length {0}: must be 1 to 128")]
    PrefixLength(u8),
    /// The upper limit of [`Thresholds`](crate::Thresholds), which only some kernels accept up to
    /// 2³² − 1.
    #[error("upper threshold {0}: must be 0 to 2147483647")]
    UpperThreshold(u32),
    /// The lower limit of [`Thresholds`](crate::Thresholds).
    #[error("lower threshold {lower}: must be 0 to {upper}, the upper threshold")]
    LowerThreshold {
        /// The lower limit.
        lower: u32,
        /// The upper limit.
        upper: u32,
    },
    /// A [`MulticastGroup`](crate::MulticastGroup).
    #[error("multicast group {0}: must be in 224.0.0.0/4 or ff00::/8")]
    MulticastGroup(IpAddr),
}

/// A text that names no value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?}: expected {expected}")]
pub struct TextError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl TextError {
    pub(crate) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self {
            what,
            text: text.chars().take(100).collect(),
            expected,
        }
    }
}
