//! When a command that takes too long is asked to end, is killed, and is given up.

use std::time::{Duration, Instant};

/// The time limits of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long it may run.
    pub run: Duration,
    /// How long it may take to end after SIGTERM, and again after SIGKILL.
    pub grace: Duration,
}

/// What to do with a command that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send SIGTERM to its process group.
    Terminate,
    /// Send SIGKILL to its process group.
    Kill,
    /// Report that it cannot be ended.
    GiveUp,
}

/// The steps from the start of a command to its enforced end. No I/O: the time is an argument.
#[derive(Clone, Copy, Debug)]
pub struct Escalation {
    started: Instant,
    grace: Duration,
    /// The next step and its time; `None` after the last one.
    next: Option<(Step, Instant)>,
}

impl Escalation {
    /// Begins at the start of a command.
    #[must_use]
    pub fn new(now: Instant, limits: Limits) -> Self {
        Self {
            started: now,
            grace: limits.grace,
            next: Some((Step::Terminate, now + limits.run)),
        }
    }

    /// Returns the time of the next step.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next.map(|(_, at)| at)
    }

    /// Returns the step that is due, once.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Step> {
        let (step, _) = self.next.filter(|(_, at)| *at <= now)?;
        self.next = match step {
            Step::Terminate => Some((Step::Kill, now + self.grace)),
            Step::Kill => Some((Step::GiveUp, now + self.grace)),
            Step::GiveUp => None,
        };
        Some(step)
    }

    /// Moves the steps forward so that all are taken before `within` is over. Never delays a step.
    pub fn hurry(&mut self, now: Instant, within: Duration) {
        self.grace = self.grace.min(shortest_grace(within));
        if let Some((step, at)) = self.next {
            let last = now + within;
            let behind = match step {
                Step::Terminate => self.grace * 2,
                Step::Kill => self.grace,
                Step::GiveUp => Duration::ZERO,
            };
            let latest = last.checked_sub(behind).unwrap_or(now).max(now);
            self.next = Some((step, at.min(latest)));
        }
    }

    /// Returns for how long the command has run.
    #[must_use]
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Whether SIGTERM has been due.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self.next, Some((Step::Terminate, _)))
    }

    /// Whether no step is left: the command cannot be ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.next.is_none()
    }
}

/// The grace period of a command that must end within this time: an eighth of it, but enough for a
/// process to end after SIGTERM.
fn shortest_grace(within: Duration) -> Duration {
    const LEAST: Duration = Duration::from_millis(200);
    (within / 8).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        run: Duration::from_secs(10),
        grace: Duration::from_secs(2),
    };

    fn steps(escalation: &mut Escalation) -> Vec<(Step, Instant)> {
        std::iter::from_fn(|| {
            let at = escalation.poll_timeout()?;
            Some((escalation.handle_timeout(at)?, at))
        })
        .collect()
    }

    #[test]
    fn steps_follow_each_other_after_the_grace() {
        let start = Instant::now();
        let mut escalation = Escalation::new(start, LIMITS);
        assert!(!escalation.has_begun());
        let almost = LIMITS.run.saturating_sub(Duration::from_nanos(1));
        assert_eq!(escalation.handle_timeout(start + almost), None);
        let second = Duration::from_secs(1);
        assert_eq!(
            steps(&mut escalation),
            [
                (Step::Terminate, start + 10 * second),
                (Step::Kill, start + 12 * second),
                (Step::GiveUp, start + 14 * second),
            ]
        );
        assert!(escalation.has_begun() && escalation.is_over());
    }

    #[test]
    fn hurry_takes_all_steps_within_the_time_and_never_prolongs() {
        let start = Instant::now();
        let within = Duration::from_secs(4);
        for taken in 0..3 {
            let mut escalation = Escalation::new(start, LIMITS);
            let mut now = start;
            for _ in 0..taken {
                now = escalation.poll_timeout().unwrap();
                escalation.handle_timeout(now).unwrap();
            }
            escalation.hurry(now, within);
            let last = steps(&mut escalation).pop().unwrap();
            assert_eq!(last.0, Step::GiveUp);
            assert!(last.1 <= now + within, "{taken}: {:?}", last.1 - now);
        }

        let mut escalation = Escalation::new(start, LIMITS);
        escalation.hurry(start, Duration::from_secs(3600));
        assert_eq!(steps(&mut escalation)[2].1, start + Duration::from_secs(14));
    }

    #[test]
    fn hurry_without_time_terminates_at_once_and_leaves_a_moment_to_end() {
        let start = Instant::now();
        let mut escalation = Escalation::new(start, LIMITS);
        escalation.hurry(start, Duration::ZERO);
        assert_eq!(escalation.handle_timeout(start), Some(Step::Terminate));
        assert_eq!(escalation.handle_timeout(start), None);
        let kill = escalation.poll_timeout().unwrap();
        assert_eq!(kill, start + Duration::from_millis(200));
    }
}
