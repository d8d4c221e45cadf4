//! Networks, and the results of their runs.

use std::{fmt::Write, time::Duration};

use vrrp_fsm::{
    ChecksumSending, Instant,
    fleet::{FleetSnapshot, RouterId, SyncGroup},
    sim::{
        Chance, FaultRates, Host, Occurrence, Property, Rate, Scenario, Simulation, Trace,
        TrackedObject,
    },
    track::{Kind, Object, ObjectId, Report, TrackRef, Weight},
};
use vrrp_proto::ChecksumForm;

pub(crate) const fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

pub(crate) const fn rate(every: u64, longest: u64) -> Rate {
    Rate {
        every: Duration::from_secs(every),
        longest: Duration::from_secs(longest),
    }
}

pub(crate) fn per_cent(count: u32) -> Chance {
    Chance::per_million(count * 10_000).unwrap()
}

/// Every kind of fault.
pub(crate) fn all_faults(until: Instant) -> FaultRates {
    FaultRates {
        until,
        crash: Some(rate(60, 20)),
        stall: Some(rate(60, 10)),
        stop: Some(rate(40, 20)),
        priority: Some(rate(40, 20)),
        interval: Some(rate(60, 20)),
        object: Some(rate(60, 20)),
        partition: Some(rate(90, 30)),
        one_way: Some(rate(120, 10)),
        loss: per_cent(2),
        duplication: per_cent(2),
        late: Chance::per_million(5000).unwrap(),
        latest: Duration::from_secs(2),
        replay: Chance::per_million(5000).unwrap(),
        oldest: Duration::from_secs(60),
    }
}

/// Hosts with virtual routers of both families, two of which are a sync group, and with an object
/// that is a fault for one router and one that weighs for another.
pub(crate) fn everything(hosts: u32) -> Scenario {
    let mut scenario = Scenario::uniform(hosts, 6).unwrap();
    for (number, plan) in (0..).zip(&mut scenario.hosts) {
        for (name, weight) in [
            ("uplink", Weight::FAULT),
            ("peer", Weight::points(-50).unwrap()),
        ] {
            plan.objects.push(TrackedObject {
                object: Object {
                    weight,
                    ..Object::new(name, Kind::Interface)
                },
                good: Some(Report::Up),
                bad: Some(Report::Down),
            });
        }
        // One of the IPv4 routers adapts its checksum form, so that each of its advertisements is
        // two messages.
        for member in [0, 4] {
            let sending = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
            plan.members[member].config.checksum = sending;
        }
        plan.members[0].tracking = vec![TrackRef::of(ObjectId::nth(0))];
        plan.members[1].tracking = vec![TrackRef::of(ObjectId::nth(1))];
        // The members of a group have the same order on all hosts, and are on two LANs.
        for member in 4..6 {
            plan.members[member].config.priority = (150 + number).into();
        }
        plan.members[5].interface = 2;
        let members = vec![RouterId::nth(4), RouterId::nth(5)];
        plan.groups.push(SyncGroup::new("group", members));
    }
    scenario
}

/// The result of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    /// All occurrences.
    pub(crate) lines: String,
    pub(crate) violations: Vec<(Instant, Property)>,
    /// The number of checks of each property.
    pub(crate) checks: [u64; Property::ALL.len()],
    pub(crate) end: Vec<Option<FleetSnapshot>>,
}

pub(crate) fn run<H: Host>(mut simulation: Simulation<H>, seed: u64, end: Instant) -> Run {
    let mut lines = format!("seed {seed}\n");
    let mut violations = Vec::new();
    simulation.run_until(end, &mut |at, occurrence| {
        writeln!(lines, "{}", Trace::line(at, occurrence)).unwrap();
        if let Occurrence::Violated(violation) = occurrence {
            violations.push((at, violation.property));
        }
    });
    Run {
        lines,
        violations,
        checks: Property::ALL.map(|property| simulation.checks(property)),
        end: simulation.snapshot(),
    }
}
