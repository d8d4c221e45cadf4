//! Numbers that look random and follow from a seed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to 2^32 - 1.
    pub(super) fn share(&mut self) -> Share {
        Share(self.next() >> 32)
    }
}

/// A share of a whole, from 0 up to but not including 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share(u64);

impl Share {
    /// This share of a duration.
    pub(super) fn of(self, duration: Duration) -> Duration {
        let nanos = (duration.as_nanos() * u128::from(self.0)) >> 32;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// A duration, shortened by this share of up to `percent` percent of it.
    pub(super) fn shorten(self, duration: Duration, percent: u32) -> Duration {
        duration.saturating_sub(self.of(duration * percent / 100))
    }
}
