//! The verdict of one check on one server.

use std::{sync::Arc, time::Duration};

use super::{Check, Effect, FirstResult, Initial, Outcome, Pace, WeightReport, random::Share};

/// Probes without noise and without spread are due together, and all start within about this time.
const TOGETHER: Duration = Duration::from_millis(20);

/// The verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum Verdict {
    /// The server may be used.
    Up,
    /// The server failed.
    Down,
    /// There is no result yet, and the server waits for it.
    Waiting,
}

/// A check of a server, with its counts.
#[derive(Clone, Debug)]
pub(super) struct CheckState<P> {
    pub(super) check: Arc<Check<P>>,
    pub(super) name: Arc<str>,
    /// The slot of the target.
    pub(super) target: u32,
    pub(super) verdict: Verdict,
    /// Whether the first result, or the first round of several probes, is still missing.
    pub(super) unchecked: bool,
    /// Whether it is down by [`Initial::Down`] alone, and no result has confirmed that.
    pub(super) is_presumed: bool,
    /// Consecutive failures.
    pub(super) failures: u32,
    /// Consecutive successes.
    pub(super) successes: u32,
    pub(super) report: Option<WeightReport>,
}

impl<P> CheckState<P> {
    pub(super) fn new(check: Arc<Check<P>>, name: Arc<str>, target: u32) -> Self {
        let verdict = match check.initial {
            Initial::Up => Verdict::Up,
            Initial::Down => Verdict::Down,
            Initial::AsKernel => Verdict::Waiting,
        };
        Self {
            check,
            name,
            target,
            verdict,
            unchecked: true,
            is_presumed: verdict == Verdict::Down,
            failures: 0,
            successes: 0,
            report: None,
        }
    }

    /// Continues from the verdict of a check that this one replaces. A server that was down stays
    /// down until the new check has succeeded; one that was up stays up until it has failed as
    /// often as configured.
    pub(super) fn replace(&mut self, verdict: Verdict, report: Option<WeightReport>) {
        self.verdict = verdict;
        self.report = report;
        self.unchecked = verdict != Verdict::Up;
        self.is_presumed = false;
    }

    /// Continues from the state of the same check, whose other settings may have changed.
    pub(super) fn continue_from(&mut self, old: &Self) {
        self.verdict = old.verdict;
        self.unchecked = old.unchecked;
        self.is_presumed = old.is_presumed;
        self.failures = old.failures;
        self.successes = old.successes;
        self.report = old.report;
    }

    /// Requires a success before the server is used.
    pub(super) fn forget(&mut self) {
        self.verdict = match self.check.effect {
            Effect::TakeOut => Verdict::Down,
            Effect::Weigh(_) => Verdict::Up,
        };
        self.unchecked = true;
        self.is_presumed = false;
        self.failures = 0;
        self.successes = 0;
        self.report = None;
    }

    /// Counts a result. Returns whether the server has to be evaluated again.
    pub(super) fn count(&mut self, outcome: &Outcome) -> bool {
        let before = (self.verdict, self.is_presumed, self.report);
        match outcome {
            Outcome::Success(_) => self.succeed(None),
            Outcome::Weight(report, _) => self.succeed(Some(*report)),
            Outcome::Failure(_) => self.fail(),
            Outcome::LocalFailure(_) => {}
        }
        before != (self.verdict, self.is_presumed, self.report)
    }

    fn decides(&self) -> bool {
        self.unchecked && self.check.first_result == FirstResult::Decides
    }

    /// The consecutive successes after which the server is up.
    pub(super) fn successes_needed(&self) -> u32 {
        if self.decides() {
            self.round()
        } else {
            self.check.rise
        }
    }

    /// The consecutive failures after which the server is down.
    pub(super) fn failures_needed(&self) -> u32 {
        if self.decides() { 1 } else { self.check.fall }
    }

    fn round(&self) -> u32 {
        u32::try_from(self.check.probes.len()).unwrap_or(u32::MAX)
    }

    fn succeed(&mut self, report: Option<WeightReport>) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.verdict == Verdict::Up || self.successes >= self.successes_needed() {
            self.verdict = Verdict::Up;
            self.is_presumed = false;
            self.report = report;
        }
        if self.successes >= self.round() {
            self.unchecked = false;
        }
    }

    fn fail(&mut self) {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.failures_needed() {
            self.verdict = Verdict::Down;
            self.is_presumed = false;
            self.report = None;
        }
        self.unchecked = false;
    }

    /// When the next probe is due, after one that started and ended at these times.
    pub(super) fn next(
        &self,
        started: Duration,
        ended: Duration,
        is_local: bool,
        share: Share,
        spread: Option<Share>,
    ) -> Duration {
        let wait = if is_local {
            self.wait_after_local_failure()
        } else {
            self.wait()
        };
        let base = match self.check.pace {
            Pace::AfterEnd => ended,
            Pace::AfterStart => started,
        };
        let wait = match spread {
            Some(spread) if self.is_spread_later() && self.is_regular() => spread.of(wait),
            _ => share.shorten(wait, self.check.noise),
        };
        base.saturating_add(wait)
    }

    /// The longest time until the next probe, in the present state.
    pub(super) fn wait(&self) -> Duration {
        let check = &*self.check;
        match self.verdict {
            Verdict::Up if self.failures > 0 => check.fast(),
            Verdict::Up => check.interval,
            Verdict::Down | Verdict::Waiting if self.successes > 0 => check.rising(),
            Verdict::Down => {
                if check.retry_while_down && !self.failures.is_multiple_of(check.fall) {
                    check.fast()
                } else {
                    check.down()
                }
            }
            Verdict::Waiting => check.fast(),
        }
    }

    /// The mean time from the start of one probe to the next, in the present state, if a probe
    /// takes `took`.
    pub(super) fn period(&self, is_local: bool, took: Duration) -> Duration {
        let wait = if is_local {
            self.wait_after_local_failure()
        } else {
            self.wait()
        };
        let check = &*self.check;
        let wait = wait * (200 - check.noise.min(200)) / 200;
        let period = match check.pace {
            Pace::AfterEnd => wait.saturating_add(took),
            Pace::AfterStart => wait.max(took),
        };
        if check.noise == 0 {
            // Probes stay as close together as the first ones were.
            period.min(check.spread().max(TOGETHER))
        } else {
            period
        }
    }

    /// A check with a verdict waits for its regular interval, so a lack of sockets does not become
    /// a busy loop.
    fn wait_after_local_failure(&self) -> Duration {
        match self.verdict {
            Verdict::Waiting => self.check.fast(),
            Verdict::Up | Verdict::Down => self.check.interval,
        }
    }

    pub(super) fn is_regular(&self) -> bool {
        match self.verdict {
            Verdict::Up => self.failures == 0,
            Verdict::Down => self.successes == 0,
            Verdict::Waiting => false,
        }
    }

    /// Whether first probes come so close together that the second ones have to be spread.
    fn is_spread_later(&self) -> bool {
        self.check.noise > 0 && self.check.spread() < self.check.interval
    }
}
