//! Whether a live Active of lower priority is taken over from (S-12, S-14, AMB-20).

use core::time::Duration;

use crate::{Instant, Preempt, instant::nanos};

/// [`Preempt`] in one word: a delay, or one of two numbers that no delay reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PreemptPolicy(u64);

impl PreemptPolicy {
    pub(crate) const ALWAYS: Self = Self(u64::MAX);
    const NEVER: Self = Self(u64::MAX - 1);

    pub(crate) fn new(preempt: Preempt) -> Self {
        match preempt {
            Preempt::Always => Self::ALWAYS,
            Preempt::Never => Self::NEVER,
            Preempt::AfterDelay(delay) => Self(nanos(delay)),
        }
    }

    pub(crate) const fn public(self) -> Preempt {
        match self {
            Self::ALWAYS => Preempt::Always,
            Self::NEVER => Preempt::Never,
            Self(delay) => Preempt::AfterDelay(Duration::from_nanos(delay)),
        }
    }

    pub(crate) const fn has_delay(self) -> bool {
        !matches!(self, Self::ALWAYS | Self::NEVER)
    }
}

/// The delay of [`Preempt::AfterDelay`] while it runs and after: the instant at which it is over, or [`Instant::MAX`] while none runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PreemptHold(pub(crate) Instant);

impl PreemptHold {
    pub(crate) const STOPPED: Self = Self(Instant::MAX);

    /// The hold as it is after Startup.
    pub(crate) const fn started(now: Instant, policy: PreemptPolicy) -> Self {
        if policy.has_delay() {
            Self(now.after(policy.0))
        } else {
            Self::STOPPED
        }
    }

    /// An Active of lower priority is heard: whether it is to be taken over from.
    pub(crate) fn preempts(&mut self, now: Instant, policy: PreemptPolicy) -> bool {
        match policy {
            PreemptPolicy::ALWAYS => true,
            PreemptPolicy::NEVER => false,
            _ => {
                if *self == Self::STOPPED {
                    *self = Self::started(now, policy);
                }
                self.0.is_due(now)
            }
        }
    }
}
