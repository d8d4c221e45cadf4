//! Targets: the addresses that are probed, and when.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{Outcome, pace::Rate};

/// A target of probes. Checks with the same target share its probes and its schedule, whichever
/// services and servers they belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target<P> {
    /// The address of the probes.
    pub address: SocketAddr,
    /// The attempts, in turn.
    pub probes: Arc<[P]>,
    /// The time limit of an attempt.
    pub time_limit: Duration,
}

/// A probe that was handed out. No two probes of a pool have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

/// A check of a server, by its places in the configuration that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct User {
    pub(super) service: u32,
    pub(super) server: u32,
    pub(super) check: u32,
}

/// The last result of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The time of the result.
    pub at: Duration,
    /// The result.
    pub outcome: Outcome,
}

/// A target and its schedule.
#[derive(Clone, Debug)]
pub(super) struct TargetState<P> {
    pub(super) target: Arc<Target<P>>,
    pub(super) users: Vec<User>,
    /// The place of the next probe among those of the target.
    pub(super) place: usize,
    pub(super) running: Option<RunningProbe>,
    pub(super) last: Option<Answer>,
    /// Whether the last result, apart from local failures, was a failure.
    pub(super) failed: bool,
    /// Whether the second probe must still be spread over the interval.
    pub(super) unspread: bool,
    /// Whether a late time limit was forgiven and there was no result since.
    pub(super) forgiven: bool,
    /// How often it becomes due.
    pub(super) rate: Rate,
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunningProbe {
    pub(super) serial: u64,
    pub(super) started: Duration,
    pub(super) until: Duration,
}

impl<P> TargetState<P> {
    pub(super) fn new(target: Arc<Target<P>>) -> Self {
        Self {
            target,
            users: Vec::new(),
            place: 0,
            running: None,
            last: None,
            failed: false,
            unspread: true,
            forgiven: false,
            rate: Rate::default(),
        }
    }

    /// Moves on to the probe after this result. A failed one is repeated; its success is followed
    /// by a whole round while a server is down.
    pub(super) fn advance(&mut self, outcome: &Outcome, any_down: bool) {
        match outcome {
            Outcome::LocalFailure(_) => return,
            Outcome::Failure(_) => self.failed = true,
            Outcome::Success(_) | Outcome::Weight(..) => {
                let recovered = std::mem::take(&mut self.failed);
                self.place = if recovered && any_down {
                    0
                } else {
                    (self.place + 1) % self.target.probes.len().max(1)
                };
            }
        }
        self.forgiven = false;
    }
}
