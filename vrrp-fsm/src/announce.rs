//! The announcement schedule of an Active.

use core::time::Duration;

use crate::{Action, AnnouncePolicy, Instant, instant::nanos};

/// A compact [`AnnouncePolicy`]: nanoseconds, and 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announcements {
    second_burst_after: u64,
    refresh: u64,
    rival_second_burst_after: u64,
    after_last_rival: u32,
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
            // `Config::check` limits it to 4 s.
            after_last_rival: u32::try_from(nanos(policy.after_last_rival)).unwrap_or(u32::MAX),
            repeat: policy.repeat,
            refresh_repeat: policy.refresh_repeat,
            rival_repeat: policy.rival_repeat,
        }
    }

    /// The interval of refreshes.
    pub(crate) const fn refresh(&self) -> Option<Duration> {
        self.public().refresh
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
            after_last_rival: Duration::from_nanos(self.after_last_rival as u64),
        }
    }
}

/// The pending announcements of an Active. [`Instant::MAX`] stands for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The second burst.
    pub(crate) burst_at: Instant,
    pub(crate) burst_repeat: u8,
    /// Whether that is the second burst after a rival: until then a rival causes no burst at once.
    pub(crate) is_for_rival: bool,
    pub(crate) refresh_at: Instant,
    /// The burst after the last rival advertisement.
    pub(crate) after_rival_at: Instant,
}

impl Schedule {
    /// Makes the schedule of a new Active. [`burst`](Self::burst) returns the first burst.
    pub(crate) const fn new(now: Instant, policy: &Announcements) -> Self {
        Self {
            burst_at: Instant::MAX,
            burst_repeat: 0,
            is_for_rival: false,
            refresh_at: delay(now, policy.refresh),
            after_rival_at: Instant::MAX,
        }
    }

    /// Returns the next deadline.
    pub(crate) fn next(&self) -> Instant {
        self.burst_at.min(self.refresh_at).min(self.after_rival_at)
    }

    /// Returns a burst, and schedules the second one.
    pub(crate) fn burst(&mut self, now: Instant, policy: &Announcements) -> Action {
        self.burst_at = delay(now, policy.second_burst_after);
        self.burst_repeat = policy.repeat;
        self.is_for_rival = false;
        Action::Announce {
            repeat: policy.repeat,
        }
    }

    /// Handles an advertisement of a rival: a burst now and a second one later, unless a second one
    /// is pending. A further burst follows soon after the last advertisement of a rival, because an
    /// announcement of the rival may reach the neighbours after the first burst.
    pub(crate) fn rival(&mut self, now: Instant, policy: &Announcements) -> Option<Action> {
        let repeat = policy.rival_repeat;
        if repeat == 0 {
            return None;
        }
        let is_first = if policy.rival_second_burst_after == 0 {
            self.after_rival_at == Instant::MAX
        } else {
            !self.is_for_rival
        };
        self.await_silence(now, policy);
        if policy.rival_second_burst_after != 0 {
            if is_first {
                let second = now.after(policy.rival_second_burst_after);
                self.burst_at = self.burst_at.min(second);
                self.is_for_rival = true;
            }
            self.burst_repeat = self.burst_repeat.max(repeat);
        }
        is_first.then_some(Action::Announce { repeat })
    }

    /// Schedules a burst because another router may have announced, unless a rival advertises
    /// before.
    pub(crate) fn await_silence(&mut self, now: Instant, policy: &Announcements) {
        if policy.rival_repeat != 0 {
            self.after_rival_at = now.after(policy.after_last_rival.into());
        }
    }

    /// Returns the burst that is due. Several due bursts are one.
    pub(crate) fn due(&mut self, now: Instant, policy: &Announcements) -> Option<Action> {
        let mut repeat = 0;
        if self.burst_at.is_due(now) {
            self.burst_at = Instant::MAX;
            self.is_for_rival = false;
            repeat = core::mem::take(&mut self.burst_repeat);
        }
        if self.after_rival_at.is_due(now) {
            self.after_rival_at = Instant::MAX;
            repeat = repeat.max(policy.rival_repeat);
        }
        if self.refresh_at.is_due(now) {
            self.refresh_at = next_in_rhythm(self.refresh_at, now, policy.refresh);
            repeat = repeat.max(policy.refresh_repeat);
        }
        (repeat != 0).then_some(Action::Announce { repeat })
    }

    /// Applies a changed refresh interval: the refresh restarts. A pending burst stays.
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

/// Returns the next deadline of a periodic task: one period after the last deadline, so it does not
/// drift, or one period after now if a whole period was missed. A deadline that does not advance
/// would keep the host busy forever, so without a period there is no next one.
pub(crate) fn next_in_rhythm(last: Instant, now: Instant, period: u64) -> Instant {
    if period == 0 {
        return Instant::MAX;
    }
    let next = last.after(period);
    if next > now { next } else { now.after(period) }
}
