//! The pace of probes: how many may start in a short time.

use std::time::Duration;

/// One start. Rates are in the same unit, for each nanosecond, so that a rate by a time is a number
/// of starts without a division.
const START: u64 = 1 << 51;

/// The starts that may follow each other at once, whatever the rate.
const BURST: u64 = 8;

/// Further starts at once for probes that are on time, because random due times lie close together
/// now and then. With so many, about one probe in a million waits.
const RESERVE: u64 = 24;

/// A probe is on time up to here: a host wakes up late by about a millisecond. The starts of this
/// time may follow each other at once too.
const LATENESS: u64 = 4_000_000;

/// The rate exceeds the sum of all rates by 1 / this, so that overdue probes are caught up with.
const HEADROOM: u64 = 4;

/// The shortest period that counts.
const SHORTEST: u64 = 1_000_000;

/// The starts of one target for each nanosecond.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate(u32);

impl Rate {
    /// The rate of a target that is probed once in this time.
    pub(super) fn once_in(period: Duration) -> Self {
        let rate = START.div_ceil(nanos(period).max(SHORTEST));
        Self(u32::try_from(rate).unwrap_or(u32::MAX))
    }
}

/// A token bucket that is filled a quarter faster than all targets together become due. Probes that
/// are due while the host stands still therefore start spread over some time. A second bucket,
/// which is filled when the first is full, is for probes that are on time.
///
/// In any time of length t, at most 1.25 · rate · (t + 4 ms) + 8 + 24 probes start.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// The sum of the rates of all targets.
    rate: u64,
    /// The starts that may follow at once.
    credit: u64,
    /// The further ones for probes that are on time.
    reserve: u64,
    /// The time of both, in nanoseconds.
    at: u64,
}

impl Pace {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            rate: 0,
            credit: BURST * START,
            reserve: RESERVE * START,
            at: nanos(now),
        }
    }

    /// Replaces the rate of one target.
    pub(super) fn replace(&mut self, before: Rate, after: Rate) {
        self.rate = self.rate.saturating_add(after.0.into());
        self.rate = self.rate.saturating_sub(before.0.into());
    }

    /// Allows the start of a probe that is due, or not yet.
    pub(super) fn take(&mut self, now: Duration, due: Duration) -> bool {
        self.fill(nanos(now));
        let bucket = if self.credit >= START {
            &mut self.credit
        } else if self.reserve >= START && !self.is_late(due) {
            &mut self.reserve
        } else {
            return false;
        };
        *bucket -= START;
        true
    }

    /// When a probe that is due at this time may start.
    pub(super) fn next(&self, due: Duration) -> Duration {
        if self.reserve >= START && !self.is_late(due) {
            return due;
        }
        let missing = START.saturating_sub(self.credit);
        let wait = missing.div_ceil(self.speed().max(1));
        due.max(Duration::from_nanos(self.at.saturating_add(wait)))
    }

    fn fill(&mut self, now: u64) {
        let passed = now.saturating_sub(self.at);
        let credit = self.speed().saturating_mul(passed);
        let credit = credit.saturating_add(self.credit);
        let most = self.speed().saturating_mul(LATENESS);
        let most = most.saturating_add(BURST * START);
        self.credit = credit.min(most);
        let reserve = self.reserve.saturating_add(credit - self.credit);
        self.reserve = reserve.min(RESERVE * START);
        self.at = self.at.max(now);
    }

    /// Whether a probe was no longer on time when the buckets were filled last.
    fn is_late(&self, due: Duration) -> bool {
        self.at > nanos(due).saturating_add(LATENESS)
    }

    fn speed(&self) -> u64 {
        self.rate.saturating_add(self.rate / HEADROOM)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Due long ago.
    const LATE: Duration = Duration::ZERO;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn pace(targets: u32, period: Duration) -> Pace {
        let mut pace = Pace::new(Duration::ZERO);
        for _ in 0..targets {
            pace.replace(Rate::default(), Rate::once_in(period));
        }
        pace
    }

    #[test]
    fn some_starts_follow_at_once_at_any_rate() {
        for (due, expected) in [(LATE, 8), (ms(6), 32)] {
            for mut pace in [pace(0, ms(1)), pace(3, Duration::from_secs(86400))] {
                let starts = (0..50).filter(|_| pace.take(ms(10), due)).count();
                assert_eq!(starts, expected);
            }
        }
    }

    #[test]
    fn the_reserve_is_filled_once_the_credit_is_full() {
        let mut pace = pace(1000, ms(1250));
        while pace.take(ms(10), ms(10)) {}
        // 100 starts are filled in, 12 of them as credit.
        let late = (0..50).filter(|_| pace.take(ms(110), LATE)).count();
        let on_time = (0..50).filter(|_| pace.take(ms(110), ms(110))).count();
        assert_eq!((late, on_time), (12, 24));
    }

    #[test]
    fn a_rate_that_rises_counts_from_the_last_start_on() {
        let mut pace = pace(1, Duration::from_secs(86400));
        while pace.take(ms(5), LATE) {}
        assert!(pace.next(LATE) > Duration::from_secs(60_000));
        for _ in 0..1000 {
            pace.replace(Rate::default(), Rate::once_in(ms(1000)));
        }
        assert_eq!(pace.next(LATE).as_micros(), 5_800);
    }

    #[test]
    fn a_rate_that_is_taken_back_leaves_nothing() {
        let mut pace = pace(5, ms(7));
        for _ in 0..5 {
            pace.replace(Rate::once_in(ms(7)), Rate::default());
        }
        assert_eq!(pace.rate, 0);
    }

    #[test]
    fn the_greatest_rates_do_not_overflow() {
        let mut pace = pace(5_000_000, Duration::ZERO);
        assert!(pace.take(Duration::MAX, LATE));
        assert!(pace.next(LATE) <= Duration::from_nanos(u64::MAX));
    }

    proptest! {
        /// A start is allowed at the time that `next` names, and not a nanosecond before.
        #[test]
        fn the_next_start_is_allowed_when_announced(
            targets in 1_u32..3000,
            period in 1_u64..90_000_000,
            steps in prop::collection::vec((0_u64..3_000_000, 0_u64..9_000_000), 1..50),
        ) {
            let mut pace = pace(targets, ms(period));
            let mut now = ms(10);
            for (step, late) in steps {
                now += Duration::from_nanos(step);
                let due = now.checked_sub(Duration::from_nanos(late)).unwrap();
                while pace.take(now, due) {}
                let next = pace.next(due);
                prop_assert!(next > now);
                let early = next.checked_sub(Duration::from_nanos(1)).unwrap();
                prop_assert!(!pace.take(early, due));
                prop_assert_eq!(pace.next(due), next);
                prop_assert!(pace.take(next, due));
                now = next;
            }
        }
    }
}
