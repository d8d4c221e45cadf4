//! The formulas of RFC 3768 section 6.1 and RFC 9568 section 6.1, in nanoseconds, rounded down (AMB-11).
//!
//! Nothing here can overflow: the longest interval is 255 s, 2.55 * 10^11 ns, and the factors are at most 255 and 100.

use vrrp_proto::{Interval, Priority, Versions};

/// Skew_Time: from 1/256 of the base for the owner to 255/256 for priority 1. The base is one second in version 2 (T-03), and
/// Active_Adver_Interval in version 3 (T-04).
pub(crate) const fn skew_time(
    versions: Versions,
    priority: Priority,
    active_interval: Interval,
) -> u64 {
    let base = match versions {
        Versions::V2 => Interval::DEFAULT_V2.as_nanos(),
        Versions::V3 | Versions::Both => active_interval.as_nanos(),
    };
    (256 - priority.get() as u64) * base / 256
}

/// Active_Down_Interval, Master_Down_Interval in version 2 (T-05, T-06).
pub(crate) const fn active_down_interval(
    missed_advertisements: u8,
    active_interval: Interval,
    skew_time: u64,
) -> u64 {
    missed_advertisements as u64 * active_interval.as_nanos() + skew_time
}
