//! The formulas of RFC 3768 section 6.1 and RFC 9568 section 6.1.

use vrrp_proto::{Interval, Priority, Versions};

/// The timers of a Backup, in nanoseconds, rounded down (AMB-11).
pub(crate) struct Timers {
    /// From 1/256 of the base for the owner to 255/256 for priority 1. The base is one second in
    /// version 2 (T-03), and Active_Adver_Interval in version 3 (T-04).
    pub(crate) skew_time: u64,
    /// Master_Down_Interval in version 2 (T-05, T-06).
    pub(crate) active_down_interval: u64,
}

impl Timers {
    /// Nothing here can overflow: the longest interval is 255 s, 2.55 * 10^11 ns, and the factors
    /// are at most 255 and 100.
    pub(crate) const fn new(
        versions: Versions,
        missed_advertisements: u8,
        priority: Priority,
        active_interval: Interval,
    ) -> Self {
        let base = match versions {
            Versions::V2 => Interval::DEFAULT_V2,
            Versions::V3 | Versions::Both => active_interval,
        };
        let skew_time = (256 - priority.get() as u64) * base.as_nanos() / 256;
        Self {
            skew_time,
            active_down_interval: missed_advertisements as u64 * active_interval.as_nanos()
                + skew_time,
        }
    }
}
