//! The bridge to the clock of the standard library.

use crate::Instant;

/// The moment of the standard library's monotonic clock that counts as [`Instant::ZERO`].
///
/// One per program is enough. The crate still reads no clock: the caller does, and passes what it read.
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
    /// The epoch at this moment, usually that of the program's start.
    #[must_use]
    pub const fn new(moment: std::time::Instant) -> Self {
        Self(moment)
    }

    /// What the state machine calls this moment; [`Instant::ZERO`] for one before the epoch.
    #[must_use]
    pub fn instant(&self, moment: std::time::Instant) -> Instant {
        Instant::ZERO + moment.saturating_duration_since(self.0)
    }

    /// What the standard library calls this instant, or `None` where its clock does not reach so far.
    #[must_use]
    pub fn std_instant(&self, instant: Instant) -> Option<std::time::Instant> {
        self.0.checked_add(instant - Instant::ZERO)
    }
}
