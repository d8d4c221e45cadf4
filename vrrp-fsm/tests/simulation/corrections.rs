//! How soon neighbours that were misled by a rival send to the Active again, and that receivers of
//! both checksum forms agree.

use std::time::Duration;

use vrrp_fsm::{
    ChecksumSending, Instant,
    fleet::VrrpRouter,
    sim::{Condition, Delivery, Fault, Property, Scenario, Simulation, Trace},
};
use vrrp_proto::{ChecksumAcceptance, ChecksumForm, Family, Interval};

use crate::scenarios::{Run, all_faults, at, everything, run};

/// Two hosts with one virtual router. Host 0 has the higher priority.
fn two_hosts() -> Scenario {
    let mut plan = Scenario::uniform(2, 1).unwrap();
    for host in &mut plan.hosts {
        let config = &mut host.members[0].config;
        config.interval = Interval::centis(20).unwrap();
        // One message for each advertisement.
        config.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
    }
    plan
}

fn replay(plan: &Scenario, faults: Vec<(Instant, Fault)>, end: Instant) -> Run {
    let trace = Trace { seed: 1, faults };
    let simulation = Simulation::<VrrpRouter>::replay(plan, &trace).unwrap();
    run(simulation, trace.seed, end)
}

/// The times at which this host announced in this range.
fn announced(run: &Run, host: &str, time: std::ops::Range<u64>) -> Vec<Instant> {
    let lines = run.lines.lines().filter_map(|line| {
        let (seconds, what) = line.split_once(' ')?;
        let is_meant = what.starts_with(&format!("announced {host} "));
        let (seconds, nanos) = seconds.split_once('.')?;
        let [seconds, nanos]: [u64; 2] = [seconds, nanos].map(|it| it.parse().unwrap());
        let at = Instant::from_nanos(seconds * 1_000_000_000 + nanos);
        is_meant.then_some(at)
    });
    lines
        .filter(|when| (at(time.start)..at(time.end)).contains(when))
        .collect()
}

/// Three lost advertisements make the Backup Active until the answer arrives.
fn three_losses() -> Vec<(Instant, Fault)> {
    let lost = (100..104).map(|number| {
        let delivery = Delivery {
            from: 0,
            number,
            to: 1,
        };
        (Instant::ZERO, Fault::Lose(delivery))
    });
    lost.collect()
}

#[test]
fn neighbors_send_to_the_active_within_a_second_of_a_brief_dual_active() {
    let run = replay(&two_hosts(), three_losses(), at(60));
    assert_eq!(run.violations, []);
    assert!(run.checks[Property::NeighborsCorrected as usize] > 0);
    let rival = announced(&run, "1", 10..60);
    let [rival] = rival[..] else {
        panic!("{rival:?}\n{}", run.lines);
    };
    let second = Duration::from_secs(1);
    let corrections = announced(&run, "0", 10..60);
    let soon = corrections
        .iter()
        .filter(|at| **at > rival && **at <= rival + second);
    assert_eq!(
        soon.count(),
        2,
        "at once and half a second later: {corrections:?}"
    );
}

/// keepalived announces again only after 5 s.
#[test]
fn a_burst_that_comes_four_seconds_after_a_rival_is_found() {
    let violations = (0..10).flat_map(|seed| {
        let mut plan = everything(3);
        plan.faults = all_faults(at(300));
        for member in plan.hosts.iter_mut().flat_map(|host| &mut host.members) {
            member.config.announce.after_last_rival = Duration::from_secs(4);
        }
        let simulation = Simulation::<VrrpRouter>::new(&plan, seed).unwrap();
        run(simulation, seed, at(330)).violations
    });
    let mut properties: Vec<Property> = violations.map(|(_, property)| property).collect();
    properties.dedup();
    assert_eq!(properties, [Property::NeighborsCorrected]);
}

/// A cut that heals in the direction of the Backup alone: the Backup yields, and the Active never
/// receives a packet of its rival.
#[test]
fn a_path_that_heals_one_way_is_corrected_by_the_refresh_only() {
    let partition = Condition::Partition {
        interface: 1,
        island: vec![0],
    };
    let deaf = Condition::OneWay {
        interface: 1,
        from: 1,
        to: 0,
    };
    let faults = vec![
        (at(20), Fault::Lasting(partition, Duration::from_secs(20))),
        (at(20), Fault::Lasting(deaf, Duration::from_secs(80))),
    ];
    for refresh in [None, Some(Duration::from_secs(2))] {
        let mut plan = two_hosts();
        for host in &mut plan.hosts {
            host.members[0].config.announce.refresh = refresh;
        }
        let run = replay(&plan, faults.clone(), at(100));
        assert_eq!(run.violations, []);
        // Host 1 was Active on its side, and no longer is.
        assert!(!announced(&run, "1", 20..40).is_empty());
        assert_eq!(announced(&run, "1", 41..100), []);
        let soon = announced(&run, "0", 40..43);
        let ever = announced(&run, "0", 40..100);
        match refresh {
            None => assert_eq!(ever, [], "for as long as the neighbours remember"),
            Some(_) => assert!(!soon.is_empty()),
        }
    }
}

/// Each host in turn is the one that adapts its checksum form (AMB-01); the others send and accept
/// one form alone.
#[test]
fn amb_01_an_adaptive_router_agrees_with_receivers_of_either_form_under_all_faults() {
    for (form, accepts) in [
        (ChecksumForm::PseudoHeader, ChecksumAcceptance::PseudoHeader),
        (ChecksumForm::MessageOnly, ChecksumAcceptance::MessageOnly),
        (ChecksumForm::MessageOnly, ChecksumAcceptance::Either),
    ] {
        for adaptive in 0..3 {
            let mut plan = everything(3);
            plan.faults = all_faults(at(120));
            for (number, host) in plan.hosts.iter_mut().enumerate() {
                for member in &mut host.members {
                    if number == adaptive {
                        member.config.checksum = ChecksumSending::Adaptive;
                    } else if member.config.family == Family::Ipv4 {
                        member.config.checksum = ChecksumSending::Fixed(form);
                        member.decode.v3_ipv4_checksum = accepts;
                    }
                }
            }
            let seed = u64::try_from(adaptive).unwrap();
            let simulation = Simulation::<VrrpRouter>::new(&plan, seed).unwrap();
            let run = run(simulation, seed, at(200));
            assert_eq!(run.violations, [], "{form:?}, {accepts:?}, seed {seed}");
            assert!(run.checks[Property::AtMostOneActive as usize] > 8);
        }
    }
}
