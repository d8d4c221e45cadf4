//! The delay of `vrrp_startup_delay` and `vrrp_delay_after_boot`.
//!
//! A state machine waits after each of its starts, and leaving a fault is one. The delay has one
//! end for all routers, so their waits are shortened until it has passed, and are 0 from then on.

use std::time::Duration;

/// The time between two updates of the waits.
const PERIOD: Duration = Duration::from_secs(1);

/// The delay, by the time since the boot of the host.
#[derive(Debug, Default)]
pub(crate) struct StartupHold {
    end: Duration,
    /// When the waits have to be updated again; `None` after the end.
    next: Option<Duration>,
}

impl StartupHold {
    pub(crate) fn new(end: Duration) -> Self {
        Self {
            end,
            next: Some(Duration::ZERO),
        }
    }

    /// Its end, for a successor.
    pub(crate) const fn end(&self) -> Duration {
        self.end
    }

    /// The wait of a router that starts now.
    pub(crate) const fn left(&self, uptime: Duration) -> Duration {
        self.end.saturating_sub(uptime)
    }

    /// The time until the next update, if any.
    pub(crate) fn pause(&self, uptime: Duration) -> Option<Duration> {
        Some(self.next?.saturating_sub(uptime))
    }

    /// The wait from now on, when an update is due.
    pub(crate) fn shorten(&mut self, uptime: Duration) -> Option<Duration> {
        if uptime < self.next? {
            return None;
        }
        let left = self.left(uptime);
        self.next = (!left.is_zero()).then(|| self.end.min(uptime + PERIOD));
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_shrinks_to_nothing_and_stays_so() {
        let seconds = Duration::from_secs_f64;
        let mut hold = StartupHold::new(seconds(12.5));
        assert_eq!(hold.pause(seconds(10.0)), Some(Duration::ZERO));
        assert_eq!(hold.shorten(seconds(10.0)), Some(seconds(2.5)));
        assert_eq!(hold.shorten(seconds(10.5)), None);
        assert_eq!(hold.pause(seconds(10.5)), Some(seconds(0.5)));
        assert_eq!(hold.shorten(seconds(12.0)), Some(seconds(0.5)));
        // The last update comes at the end, not a period later.
        assert_eq!(hold.pause(seconds(12.0)), Some(seconds(0.5)));
        assert_eq!(hold.shorten(seconds(12.5)), Some(Duration::ZERO));
        assert_eq!(hold.pause(seconds(12.5)), None);
        assert_eq!(hold.shorten(seconds(20.0)), None);
        assert_eq!(hold.left(seconds(20.0)), Duration::ZERO);
    }
}
