//! A real server of a service: its health, and why it is used or not.

use std::time::Duration;

use super::{Effect, Operator, RealServer, ServerCounters, Verdict, check::CheckState};
use crate::{Destination, DestinationKey, Weight, plan::Drain};

/// The steps of a slow start.
const STEPS: u32 = 20;

/// Whether a server is in the table, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum Usage {
    /// It gets traffic.
    In(In),
    /// It is in the table with weight 0, because failed servers stay there.
    Inhibited(Out),
    /// It is not in the table.
    Out(Out),
}

/// Why a server gets traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum In {
    /// It is up.
    Up,
    /// It is down, and the brake holds it.
    Brake,
    /// It is down, and too few others are left.
    Panic,
    /// It waits for its first check, and no better server is available.
    Unchecked,
}

/// Why a server gets no traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum Out {
    /// It is down.
    Down,
    /// It waits for its first check.
    Waiting,
    /// The operator drains it.
    Drain,
    /// The operator has it in maintenance.
    Maintenance,
    /// The quorum is lost, and the sorry server is in.
    Sorry,
    /// The pool was stopped.
    Stopped,
}

impl Usage {
    pub(super) fn is_in(self) -> bool {
        matches!(self, Self::In(_))
    }
}

/// The kernel's counters of a server, as far as they show a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub(super) connections: u64,
    pub(super) outgoing_packets: u64,
}

/// A server with its state.
#[derive(Clone, Debug)]
// The flags are independent facts.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct ServerState<P> {
    /// The destination as it is configured.
    pub(super) destination: Destination,
    /// [`RealServer::drain`], which few servers have.
    drain: Option<Box<Drain>>,
    pub(super) checks: Vec<CheckState<P>>,
    pub(super) inhibit: bool,
    pub(super) operator: Operator,
    /// The weight that the operator gave it.
    pub(super) weight: Option<Weight>,
    pub(super) health: Verdict,
    /// Since when the health is as it is.
    pub(super) since: Duration,
    /// Whether it was down from the start, which is reported once a check confirms it.
    pub(super) is_presumed_down: bool,
    /// Whether it was up or used since it was added, or since the operator took it out. Checks can
    /// only take out such servers.
    pub(super) was_in: bool,
    /// Whether it was up since it was added.
    pub(super) was_up: bool,
    /// The beginning of its slow start.
    pub(super) rising_since: Option<Duration>,
    pub(super) usage: Usage,
    /// The weight in the table, if it is there.
    pub(super) placed: Option<Weight>,
    /// Whether it was added after the kernel's table was seen last.
    pub(super) is_new: bool,
    pub(super) draining_since: Option<Duration>,
    /// Connections in the kernel's table, if it was there when that was seen last.
    pub(super) connections: Option<u32>,
    pub(super) traffic: Option<Traffic>,
    pub(super) counters: ServerCounters,
}

impl<P> ServerState<P> {
    pub(super) fn new(config: &RealServer<P>, now: Duration) -> Self {
        Self {
            destination: config.destination,
            drain: config.drain.map(Box::new),
            checks: Vec::new(),
            inhibit: false,
            operator: Operator::Ready,
            weight: None,
            health: Verdict::Waiting,
            since: now,
            is_presumed_down: false,
            was_in: false,
            was_up: false,
            rising_since: None,
            usage: Usage::Out(Out::Waiting),
            placed: None,
            is_new: true,
            draining_since: None,
            connections: None,
            traffic: None,
            counters: ServerCounters::default(),
        }
    }

    /// Takes over the settings of a configuration, except its checks.
    pub(super) fn configure(&mut self, config: &RealServer<P>) {
        self.destination = config.destination;
        self.drain = config.drain.map(Box::new);
    }

    pub(super) fn key(&self) -> DestinationKey {
        self.destination.key
    }

    /// Its own drain, which counts before that of its service.
    pub(super) fn drain(&self) -> Option<Drain> {
        self.drain.as_deref().copied()
    }

    pub(super) fn configured_weight(&self) -> Weight {
        self.weight.unwrap_or(self.destination.weight)
    }

    /// Whether the operator lets it be used.
    pub(super) fn is_ready(&self) -> bool {
        self.operator == Operator::Ready
    }

    /// Whether checks took it out, or would have.
    pub(super) fn has_failed(&self) -> bool {
        self.health == Verdict::Down && self.was_in && self.is_ready()
    }

    /// The health by its checks: a single check that is down decides.
    pub(super) fn checked_health(&self) -> Verdict {
        let mut health = Verdict::Up;
        for check in &self.checks {
            match check.verdict {
                Verdict::Down if check.check.effect == Effect::TakeOut => return Verdict::Down,
                Verdict::Waiting => health = Verdict::Waiting,
                Verdict::Up | Verdict::Down => {}
            }
        }
        health
    }

    /// Whether a check has failed, and is not only down until its first success.
    pub(super) fn is_confirmed_down(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| {
            let takes_out = check.check.effect == Effect::TakeOut;
            takes_out && check.verdict == Verdict::Down && !check.is_presumed
        })
    }

    /// The weight that operator and checks give it. Computed from all reports each time, so errors
    /// cannot accumulate.
    pub(super) fn full_weight(&self) -> Weight {
        let configured = self.configured_weight().get();
        let mut weight = i64::from(configured);
        for check in &self.checks {
            let report = match check.check.effect {
                Effect::Weigh(report) if check.verdict == Verdict::Down => Some(report),
                _ => check.report,
            };
            if let Some(report) = report {
                weight = weight.saturating_add(report.difference(configured));
            }
        }
        let weight = weight.clamp(0, i64::from(Weight::MAX.get()));
        Weight::new(u32::try_from(weight).unwrap_or(0)).unwrap_or(Weight::MAX)
    }

    /// The weight while it is used: in a slow start less than the full one.
    pub(super) fn used_weight(&self, slow_start: Option<Duration>, now: Duration) -> Weight {
        let full = self.full_weight();
        let Some(step) = self.step(slow_start, now) else {
            return full;
        };
        let weight = u64::from(full.get()) * u64::from(step);
        let weight = weight.div_ceil(u64::from(STEPS));
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Weight::new(weight).unwrap_or(full)
    }

    /// The step of its slow start, 1 to [`STEPS`]; `None` without one, or when it is over.
    fn step(&self, slow_start: Option<Duration>, now: Duration) -> Option<u32> {
        let (slow_start, since) = (slow_start?, self.rising_since?);
        let passed = now.saturating_sub(since);
        if passed >= slow_start {
            return None;
        }
        let step = passed.as_nanos() * u128::from(STEPS) / slow_start.as_nanos().max(1);
        Some(u32::try_from(step).unwrap_or(STEPS).min(STEPS - 1) + 1)
    }

    /// When the next step of its slow start begins.
    pub(super) fn next_step(
        &self,
        slow_start: Option<Duration>,
        now: Duration,
    ) -> Option<Duration> {
        let step = self.step(slow_start, now)?;
        let nanos = slow_start?.as_nanos() * u128::from(step);
        // Rounded up: before that, the step has not come.
        let nanos = nanos.div_ceil(u128::from(STEPS));
        let after = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.rising_since?.saturating_add(after))
    }

    /// The destination with a weight.
    pub(super) fn destination(&self, weight: Weight) -> Destination {
        Destination {
            weight,
            ..self.destination
        }
    }
}
