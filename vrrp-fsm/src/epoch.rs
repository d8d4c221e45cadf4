//! The bridge to the clock of the standard library.

use crate::Instant;

/// The instant of the standard library's monotonic clock that corresponds to [`Instant::ZERO`].
///
/// One epoch per program is enough. The crate reads no clock; the caller does.
///
/// ```
/// use std::time::Duration;
/// use vrrp_fsm::{Epoch, Instant};
///
/// let start = std::time::Instant::now();
/// let epoch = Epoch::new(start);
/// let later = start + Duration::from_millis(30);
/// assert_eq!(epoch.instant(later), Instant::from_nanos(30_000_000));
/// assert_eq!(epoch.std_instant(epoch.instant(later)), Some(later));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(std::time::Instant);

impl Epoch {
    /// Makes an epoch at an instant, usually at the start of the program.
    #[must_use]
    pub const fn new(moment: std::time::Instant) -> Self {
        Self(moment)
    }

    /// Converts from an instant of the standard library; [`Instant::ZERO`] for one before the
    /// epoch.
    #[must_use]
    pub fn instant(&self, moment: std::time::Instant) -> Instant {
        Instant::ZERO + moment.saturating_duration_since(self.0)
    }

    /// Converts to an instant of the standard library. Returns `None` if it is out of range there.
    #[must_use]
    pub fn std_instant(&self, instant: Instant) -> Option<std::time::Instant> {
        self.0.checked_add(instant - Instant::ZERO)
    }
}
