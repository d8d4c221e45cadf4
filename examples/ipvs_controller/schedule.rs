//! The time and the extent of the next synchronization. No I/O; times are by the caller's clock.

use std::time::Duration;

/// The extent of a synchronization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The whole table is read.
    Full,
    /// Only services that changed are read.
    Changes,
    /// Only services that changed, or that drain, are read.
    Drains,
}

/// The longest time between two checks of draining connections: the kernel does not report their
/// end.
const DRAIN_POLL: Duration = Duration::from_secs(5);

/// The time after the first failure; it doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Decides when to synchronize.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    min_period: Duration,
    period: Duration,
    /// Whether all initial objects have been seen.
    is_ready: bool,
    is_changed: bool,
    last: Option<Duration>,
    last_full: Option<Duration>,
    /// The next check of draining connections.
    drain: Option<Duration>,
    /// The time to wait after failures, and the time of the next attempt.
    retry: Option<(Duration, Duration)>,
}

impl Schedule {
    pub(crate) fn new(min_period: Duration, period: Duration) -> Self {
        Self {
            min_period,
            period,
            is_ready: false,
            is_changed: false,
            last: None,
            last_full: None,
            drain: None,
            retry: None,
        }
    }

    /// All initial objects have arrived.
    pub(crate) fn ready(&mut self) {
        self.is_ready = true;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// An object has changed.
    pub(crate) fn changed(&mut self) {
        self.is_changed = true;
    }

    /// The time and the extent of the next synchronization; `None` before all objects have arrived.
    pub(crate) fn next(&self) -> Option<(Duration, Extent)> {
        if !self.is_ready {
            return None;
        }
        let Some(last) = self.last else {
            return Some((Duration::ZERO, Extent::Full));
        };
        let earliest = last.saturating_add(self.min_period);
        let full = self
            .last_full
            .map_or(last, |full| full.saturating_add(self.period));
        let due = [
            self.retry.map(|(_, at)| (at, Extent::Full)),
            Some((full.max(earliest), Extent::Full)),
            self.is_changed.then_some((earliest, Extent::Changes)),
            self.drain.map(|at| (at.max(earliest), Extent::Drains)),
        ];
        // Of two at one time the larger extent comes first.
        let rank = |extent| match extent {
            Extent::Full => 0,
            Extent::Drains => 1,
            Extent::Changes => 2,
        };
        let due = due.into_iter().flatten();
        due.min_by_key(|(at, extent)| (*at, rank(*extent)))
    }

    /// A synchronization begins: later changes need another one.
    pub(crate) fn begin(&mut self) {
        self.is_changed = false;
    }

    /// A synchronization has ended. `drain` is the longest time until the next check of draining
    /// connections.
    pub(crate) fn done(
        &mut self,
        now: Duration,
        extent: Extent,
        is_success: bool,
        drain: Option<Duration>,
    ) {
        self.last = Some(now);
        if extent == Extent::Full {
            self.last_full = Some(now);
        }
        let drain = drain.map(|wait| now.saturating_add(wait.min(DRAIN_POLL)));
        self.drain = match (extent, self.drain) {
            // Changes that follow each other closely do not defer the next check.
            (Extent::Changes, Some(before)) => drain.map(|drain| drain.min(before)),
            _ => drain,
        };
        // Only a full synchronization shows that all is as wanted, so nothing else ends or defers
        // the next attempt at one.
        self.retry = match (extent, self.retry) {
            (Extent::Full, _) if is_success => None,
            (Extent::Full, Some((before, _))) => {
                Some(retry(now, before.saturating_mul(2).min(LONGEST_RETRY)))
            }
            (_, None) if !is_success => Some(retry(now, FIRST_RETRY)),
            (_, retry) => retry,
        };
    }
}

/// A time to wait, and the time of the next attempt.
fn retry(now: Duration, wait: Duration) -> (Duration, Duration) {
    (wait, now.saturating_add(wait))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn synchronized() -> Schedule {
        let mut schedule = Schedule::new(at(1), at(30));
        schedule.ready();
        schedule.begin();
        schedule.done(at(100), Extent::Full, true, None);
        schedule
    }

    #[test]
    fn nothing_is_synchronized_before_all_objects_have_arrived() {
        let mut schedule = Schedule::new(at(1), at(30));
        schedule.changed();
        assert_eq!(schedule.next(), None);
        schedule.ready();
        assert_eq!(schedule.next(), Some((at(0), Extent::Full)));
    }

    #[test]
    fn a_change_is_synchronized_after_the_min_period() {
        let mut schedule = synchronized();
        schedule.changed();
        assert_eq!(schedule.next(), Some((at(101), Extent::Changes)));
        schedule.begin();
        schedule.done(at(101), Extent::Changes, true, None);
        // The period counts from the last full synchronization.
        assert_eq!(schedule.next(), Some((at(130), Extent::Full)));
    }

    #[test]
    fn a_change_during_a_synchronization_needs_another_one() {
        let mut schedule = synchronized();
        schedule.changed();
        schedule.begin();
        schedule.changed();
        schedule.done(at(101), Extent::Changes, true, None);
        assert_eq!(schedule.next(), Some((at(102), Extent::Changes)));
    }

    #[test]
    fn draining_connections_are_looked_at_every_five_seconds_or_at_their_deadline() {
        let mut schedule = synchronized();
        for (wait, next) in [(at(900), at(105)), (at(2), at(102))] {
            schedule.done(at(100), Extent::Changes, true, Some(wait));
            assert_eq!(schedule.next(), Some((next, Extent::Drains)));
        }
    }

    #[test]
    fn changes_neither_read_what_drains_nor_defer_its_next_check() {
        let mut schedule = synchronized();
        schedule.done(at(100), Extent::Changes, true, Some(at(900)));
        for now in 101..105 {
            schedule.changed();
            assert_eq!(schedule.next(), Some((at(now), Extent::Changes)));
            schedule.begin();
            schedule.done(at(now), Extent::Changes, true, Some(at(900)));
        }
        schedule.changed();
        assert_eq!(schedule.next(), Some((at(105), Extent::Drains)));
        schedule.begin();
        schedule.done(at(105), Extent::Drains, true, Some(at(900)));
        assert_eq!(schedule.next(), Some((at(110), Extent::Drains)));
        // Nothing drains any more.
        schedule.done(at(110), Extent::Changes, true, None);
        assert_eq!(schedule.next(), Some((at(130), Extent::Full)));
    }

    #[test]
    fn a_failure_is_retried_in_full_with_growing_pauses_up_to_a_minute() {
        let mut schedule = Schedule::new(at(1), at(1_000));
        schedule.ready();
        let mut now = at(100);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            schedule.done(now, Extent::Full, false, None);
            let (next, extent) = schedule.next().unwrap();
            assert_eq!(extent, Extent::Full);
            pauses.push(next.checked_sub(now).unwrap().as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        schedule.done(now, Extent::Full, true, None);
        assert_eq!(schedule.next(), Some((now + at(1_000), Extent::Full)));
    }

    #[test]
    fn only_a_full_synchronization_ends_or_defers_the_retry_of_one() {
        let mut schedule = synchronized();
        schedule.done(at(100), Extent::Full, false, None);
        schedule.done(at(101), Extent::Full, false, None);
        assert_eq!(schedule.next(), Some((at(103), Extent::Full)));
        for (extent, is_success) in [
            (Extent::Changes, true),
            (Extent::Changes, false),
            (Extent::Drains, true),
            (Extent::Drains, false),
        ] {
            schedule.changed();
            schedule.begin();
            schedule.done(at(102), extent, is_success, None);
            assert_eq!(schedule.next(), Some((at(103), Extent::Full)));
        }
        schedule.done(at(103), Extent::Full, false, None);
        assert_eq!(schedule.next(), Some((at(107), Extent::Full)));
        schedule.done(at(107), Extent::Full, true, None);
        assert_eq!(schedule.next(), Some((at(137), Extent::Full)));
    }
}
