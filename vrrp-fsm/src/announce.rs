//! When an Active announces its addresses.

use core::time::Duration;

use crate::{Action, AnnouncePolicy, Instant, instant::nanos};

/// The least time between bursts that rivals cause, where the policy has no second burst that would give one.
const RIVAL_GAP: u64 = 5_000_000_000;

/// An [`AnnouncePolicy`] in few octets: nanoseconds, and 0 for what is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcements {
    second_burst_after: u64,
    refresh: u64,
    rival_second_burst_after: u64,
    repeat: u8,
    refresh_repeat: u8,
    rival_repeat: u8,
}

impl Announcements {
    pub(crate) fn new(policy: &AnnouncePolicy) -> Self {
        let or_zero = |delay: Option<Duration>| delay.map_or(0, nanos);
        Self {
            second_burst_after: or_zero(policy.second_burst_after),
            refresh: or_zero(policy.refresh),
            rival_second_burst_after: or_zero(policy.rival_second_burst_after),
            repeat: policy.repeat,
            refresh_repeat: policy.refresh_repeat,
            rival_repeat: policy.rival_repeat,
        }
    }

    pub(crate) const fn public(&self) -> AnnouncePolicy {
        const fn unless_zero(nanos: u64) -> Option<Duration> {
            match nanos {
                0 => None,
                nanos => Some(Duration::from_nanos(nanos)),
            }
        }
        AnnouncePolicy {
            repeat: self.repeat,
            second_burst_after: unless_zero(self.second_burst_after),
            refresh: unless_zero(self.refresh),
            refresh_repeat: self.refresh_repeat,
            rival_repeat: self.rival_repeat,
            rival_second_burst_after: unless_zero(self.rival_second_burst_after),
        }
    }
}

/// What an Active still has to announce, and when. [`Instant::MAX`] stands for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The second burst.
    pub(crate) burst_at: Instant,
    pub(crate) burst_repeat: u8,
    pub(crate) refresh_at: Instant,
    /// Until then a rival causes no burst at once.
    pub(crate) rival_quiet_until: Instant,
}

impl Schedule {
    /// On becoming Active; [`burst`](Self::burst) then gives the first burst.
    pub(crate) const fn new(now: Instant, policy: &Announcements) -> Self {
        Self {
            burst_at: Instant::MAX,
            burst_repeat: 0,
            refresh_at: delay(now, policy.refresh),
            rival_quiet_until: Instant::ZERO,
        }
    }

    /// The next time that something is due.
    pub(crate) fn next(&self) -> Instant {
        self.burst_at.min(self.refresh_at)
    }

    /// A burst now, and the second one later.
    pub(crate) fn burst(&mut self, now: Instant, policy: &Announcements) -> Action {
        self.burst_at = delay(now, policy.second_burst_after);
        self.burst_repeat = policy.repeat;
        Action::Announce {
            repeat: policy.repeat,
        }
    }

    /// A rival was heard: a burst now and a second one later or, soon after the last such burst, at least one when the gap is over.
    pub(crate) fn rival(&mut self, now: Instant, policy: &Announcements) -> Option<Action> {
        let repeat = policy.rival_repeat;
        if repeat == 0 {
            return None;
        }
        let first = now >= self.rival_quiet_until;
        if first {
            self.rival_quiet_until = match policy.rival_second_burst_after {
                0 => now.after(RIVAL_GAP),
                gap => now.after(gap),
            };
        }
        if !first || policy.rival_second_burst_after != 0 {
            self.burst_at = self.burst_at.min(self.rival_quiet_until);
            self.burst_repeat = self.burst_repeat.max(repeat);
        }
        first.then_some(Action::Announce { repeat })
    }

    /// What is due now. Where several bursts are, one stands for all.
    pub(crate) fn due(&mut self, now: Instant, policy: &Announcements) -> Option<Action> {
        let mut repeat = 0;
        if self.burst_at.is_due(now) {
            self.burst_at = Instant::MAX;
            repeat = core::mem::take(&mut self.burst_repeat);
        }
        if self.refresh_at.is_due(now) {
            self.refresh_at = next_in_rhythm(self.refresh_at, now, policy.refresh);
            repeat = repeat.max(policy.refresh_repeat);
        }
        (repeat != 0).then_some(Action::Announce { repeat })
    }

    /// The policy has changed: the refresh starts anew, a pending burst stays.
    pub(crate) fn reconfigure(&mut self, now: Instant, policy: &Announcements) {
        self.refresh_at = delay(now, policy.refresh);
    }
}

const fn delay(now: Instant, nanos: u64) -> Instant {
    match nanos {
        0 => Instant::MAX,
        nanos => now.after(nanos),
    }
}

/// The next deadline of something that happens once in every period: a period after the last one, so that it does not drift, or
/// after now where a whole period was lost.
pub(crate) fn next_in_rhythm(last: Instant, now: Instant, period: u64) -> Instant {
    let next = last.after(period);
    if next > now { next } else { now.after(period) }
}
