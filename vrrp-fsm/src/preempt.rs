//! Preemption of a live Active of lower priority (S-12, S-14, AMB-20).

use core::time::Duration;

use crate::{Instant, Preempt, instant::nanos};

/// [`Preempt`] in one word: a delay, or one of two values above all delays.
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

/// The end of the delay of [`Preempt::AfterDelay`], or [`Instant::MAX`] if no delay was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PreemptHold(pub(crate) Instant);

impl PreemptHold {
    pub(crate) const STOPPED: Self = Self(Instant::MAX);

    /// Makes the hold of a router at Startup.
    pub(crate) const fn started(now: Instant, policy: PreemptPolicy) -> Self {
        if policy.has_delay() {
            Self(now.after(policy.0))
        } else {
            Self::STOPPED
        }
    }

    /// Handles an advertisement of lower priority. Returns whether to preempt its sender.
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
