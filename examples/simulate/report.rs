//! The result of a simulation.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;
use vrrp_fsm::sim::{Condition, Fault, Occurrence, Property, Trace, Violation};

use crate::setting::Setting;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    /// The options with which this run can be repeated.
    settings: String,
    routers: u32,
    fleets: u32,
    simulated_seconds: f64,
    real_seconds: f64,
    /// Simulated seconds in a real one.
    rate: f64,
    messages_sent: u64,
    messages_received: u64,
    messages_discarded: u64,
    /// Bursts of gratuitous ARP or of neighbour advertisements.
    announcements: u64,
    transitions: u64,
    /// How often each kind of fault happened.
    faults: BTreeMap<&'static str, u64>,
    /// How often each property was checked.
    checks: BTreeMap<String, u64>,
    /// The property that was violated.
    pub(crate) broken: Option<Broken>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Broken {
    property: String,
    at_seconds: f64,
    what: String,
    /// The fewest faults that lead to the violation, as a file for `--replay`.
    trace: String,
}

impl Broken {
    pub(crate) fn new(violation: &Violation, setting: &Setting, least: &Trace) -> Self {
        Self {
            property: violation.property.to_string(),
            at_seconds: (violation.at - vrrp_fsm::Instant::ZERO).as_secs_f64(),
            what: violation.to_string(),
            trace: format!("{}\n{least}", setting.line()),
        }
    }
}

impl Report {
    pub(crate) fn new(setting: &Setting, seed: u64) -> Self {
        Self {
            seed,
            settings: setting.options(),
            routers: setting.routers,
            fleets: setting.fleets,
            simulated_seconds: 0.0,
            real_seconds: 0.0,
            rate: 0.0,
            messages_sent: 0,
            messages_received: 0,
            messages_discarded: 0,
            announcements: 0,
            transitions: 0,
            faults: BTreeMap::new(),
            checks: BTreeMap::new(),
            broken: None,
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.broken.is_none()
    }

    pub(crate) fn note(&mut self, occurrence: &Occurrence<'_>) {
        match occurrence {
            Occurrence::Sent(_) => self.messages_sent += 1,
            Occurrence::Received(_) => self.messages_received += 1,
            Occurrence::Discarded(..) => self.messages_discarded += 1,
            Occurrence::Announced(_) => self.announcements += 1,
            Occurrence::State(..) => self.transitions += 1,
            Occurrence::Fault(fault) => *self.faults.entry(kind(fault)).or_default() += 1,
            _ => {}
        }
    }

    pub(crate) fn end(
        &mut self,
        simulated: Duration,
        real: Duration,
        checks: impl Fn(Property) -> u64,
    ) {
        self.simulated_seconds = simulated.as_secs_f64();
        self.real_seconds = real.as_secs_f64();
        self.rate = self.simulated_seconds / self.real_seconds;
        self.checks = Property::ALL
            .into_iter()
            .map(|property| (property.to_string(), checks(property)))
            .collect();
    }
}

fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Lasting(condition, _) => match condition {
            Condition::Crash { .. } => "crash",
            Condition::Stall { .. } => "stall",
            Condition::Stop { .. } => "stop",
            Condition::Priority { .. } => "priority",
            Condition::Interval { .. } => "interval",
            Condition::Object { .. } => "object",
            Condition::Partition { .. } => "partition",
            Condition::OneWay { .. } => "one-way cut",
        },
        Fault::Lose(_) => "loss",
        Fault::Duplicate(_) => "duplicate",
        Fault::Late(..) => "late message",
        Fault::Replay(..) => "replay",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} virtual routers on {} hosts, {:.0} s in {:.2} s, {:.0} times as fast as life",
            self.seed,
            self.routers,
            self.fleets,
            self.simulated_seconds,
            self.real_seconds,
            self.rate
        )?;
        writeln!(f, "settings: {}", self.settings)?;
        writeln!(
            f,
            "{} messages sent, {} received, {} of them discarded, {} announcements, {} changes of state",
            self.messages_sent,
            self.messages_received,
            self.messages_discarded,
            self.announcements,
            self.transitions
        )?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<38} {count:>12}")?;
        }
        writeln!(f, "looked at")?;
        for (property, count) in &self.checks {
            writeln!(f, "  {property:<38} {count:>12}")?;
        }
        match &self.broken {
            None => writeln!(f, "all held"),
            Some(broken) => {
                writeln!(
                    f,
                    "broken after {:.3} s: {}",
                    broken.at_seconds, broken.what
                )?;
                writeln!(f, "the fewest faults that lead to it, for --replay:\n")?;
                f.write_str(&broken.trace)
            }
        }
    }
}
