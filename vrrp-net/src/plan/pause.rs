//! The time at which a change may be tried again.

use std::time::Duration;

use vrrp_fsm::Instant;

/// The spacing of the attempts at one thing.
///
/// The first attempt is made at once; the next follow a second after the last attempt, two seconds,
/// four, and so on up to a minute. After a minute without an attempt it starts over. So a single
/// removal by mistake is repaired at once, and a program that removes an address again and again
/// soon wins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    not_before: Instant,
    length: Duration,
}

impl Pause {
    /// Attempts of which the first may be made now.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            not_before: now,
            length: Self::SHORTEST,
        }
    }

    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    /// The earliest time of the next attempt.
    pub(crate) const fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Notes an attempt.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.is_over(now) {
            self.length = Self::SHORTEST;
        }
        self.not_before = now + self.length;
        self.length = (self.length * 2).min(Self::LONGEST);
    }

    /// Allows an attempt now.
    pub(crate) fn allow(&mut self, now: Instant) {
        self.not_before = self.not_before.min(now);
    }

    /// Whether the last attempt is so long ago that the next one starts over.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.not_before + Self::LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_spaced_and_start_over_after_a_minute() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let mut pause = Pause::new(at(100));
        assert_eq!(pause.not_before(), at(100), "the first at once");
        assert!(!pause.is_over(at(100)), "the first is still to be made");
        let mut last = 100;
        pause.begin(at(last));
        for length in [1, 2, 4, 8, 16, 32, 60, 60] {
            last += length;
            assert_eq!(pause.not_before(), at(last), "{length}");
            pause.begin(at(last));
        }
        last += 180;
        pause.begin(at(last));
        assert_eq!(pause.not_before(), at(last + 1));
    }
}
