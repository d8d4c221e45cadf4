//! When the monitor checks each property, and for which routers: small networks with a few faults,
//! in which every message takes the same time.

use std::time::Duration;

use vrrp_fsm::{
    AnnouncePolicy, ChecksumSending, Instant, Preempt, Profile,
    fleet::VrrpRouter,
    sim::{Condition, Delivery, Fault, Host, Property, Scenario, Simulation, Trace},
};
use vrrp_proto::{ChecksumForm, Interval, LocalAuthentication, Versions};

use crate::{
    mistakes::DeafToZero,
    scenarios::{Run, at, run},
};

/// A virtual router on each of two LANs; one host has them in the other order.
fn two_lans(hosts: u32, delay: Duration) -> Scenario {
    let mut plan = Scenario::uniform(hosts, 2).unwrap();
    plan.network.shortest_delay = delay;
    plan.network.longest_delay = delay;
    for host in &mut plan.hosts {
        host.members[1].interface = 2;
        for member in &mut host.members {
            // One message for each advertisement.
            member.config.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
        }
    }
    plan.hosts[1].members.reverse();
    plan
}

fn replay_with<H: Host>(plan: &Scenario, faults: &[(Instant, Fault)]) -> Run {
    let trace = Trace {
        seed: 1,
        faults: faults.to_vec(),
    };
    let simulation = Simulation::<H>::replay(plan, &trace).unwrap();
    run(simulation, trace.seed, at(60))
}

fn replay(plan: &Scenario, faults: &[(Instant, Fault)]) -> Run {
    let run = replay_with::<VrrpRouter>(plan, faults);
    assert_eq!(run.violations, [], "{faults:?}");
    run
}

fn checks(run: &Run, property: Property) -> u64 {
    run.checks[property as usize]
}

/// On LAN 1, host 0 and the others do not reach each other.
fn cut(from: Instant, lasts: Duration) -> (Instant, Fault) {
    let condition = Condition::Partition {
        interface: 1,
        island: vec![0],
    };
    (from, Fault::Lasting(condition, lasts))
}

/// A host shuts down its virtual router on LAN 1.
fn stop(from: Instant, host: u32) -> (Instant, Fault) {
    let router = u32::from(host == 1);
    let condition = Condition::Stop { host, router };
    (from, Fault::Lasting(condition, Duration::from_secs(10)))
}

/// The ends of a partition that begins at 10 s, after which two Actives meet: some are right before
/// an advertisement of one Active, and some before one of the other.
fn ends() -> impl Iterator<Item = Duration> {
    (0..200).map(|step| Duration::from_secs(20) + Duration::from_millis(7) * step)
}

/// The first message on LAN 1 that is received after this time: the time and the host.
fn first_received(run: &Run, after: Instant) -> (Instant, String) {
    let sent_on_lan_1 = |line: &str| {
        let (_, sent) = line.split_once(" sent ")?;
        let (message, _) = sent.split_once(" lan 1 ")?;
        Some(String::from(message))
    };
    let sent: Vec<String> = run.lines.lines().filter_map(sent_on_lan_1).collect();
    let received = run.lines.lines().find_map(|line| {
        let (time, received) = line.split_once(" received ")?;
        let (message, by) = received.split_once('>')?;
        let at = instant(time);
        (at > after && sent.iter().any(|it| it == message)).then(|| (at, String::from(by)))
    });
    received.unwrap()
}

fn instant(time: &str) -> Instant {
    let (seconds, nanos) = time.split_once('.').unwrap();
    let [seconds, nanos]: [u64; 2] = [seconds, nanos].map(|it| it.parse().unwrap());
    Instant::from_nanos(seconds * 1_000_000_000 + nanos)
}

#[test]
fn an_answer_is_owed_to_a_rival_unless_something_has_disturbed_the_network_just_before() {
    let plan = two_lans(2, Duration::from_millis(1));
    let mut met = [0; 3];
    for lasts in ends() {
        let run = replay(&plan, &[cut(at(10), lasts)]);
        let end = at(10) + lasts;
        let (time, by) = first_received(&run, end);
        // The better router must answer, and the other one must receive the answer. If the other
        // one receives an advertisement first, no rival is left to answer.
        let (case, expected) = match by.as_str() {
            "0" if time > end + Duration::from_millis(10) => (0, 2),
            "0" => (1, 1),
            _ => (2, 1),
        };
        met[case] += 1;
        let count = checks(&run, Property::DuplicateEnds);
        assert_eq!(count, expected, "{lasts:?}: received by {by} at {time}");
    }
    assert!(met.iter().all(|count| *count > 0), "{met:?}");
}

#[test]
fn routers_of_the_older_profiles_owe_no_answer() {
    for (profile, versions, interval) in [
        (Profile::Rfc3768, Versions::V2, Interval::seconds(1)),
        (Profile::Rfc5798, Versions::V3, Interval::centis(100)),
    ] {
        let mut plan = two_lans(2, Duration::from_millis(1));
        let members = plan.hosts.iter_mut().flat_map(|host| &mut host.members);
        for member in members.filter(|member| member.interface == 1) {
            member.config.profile = profile;
            member.config.versions = versions;
            member.config.interval = interval.unwrap();
        }
        for lasts in ends() {
            let run = replay(&plan, &[cut(at(10), lasts)]);
            assert_eq!(checks(&run, Property::DuplicateEnds), 1, "{lasts:?}");
        }
    }
}

#[test]
fn no_answer_is_owed_where_the_network_was_cut_while_the_message_was_under_way() {
    let delay = Duration::from_millis(50);
    let plan = two_lans(2, delay);
    let mut cuts = 0;
    for lasts in ends() {
        let end = at(10) + lasts;
        let (received, by) = first_received(&replay(&plan, &[cut(at(10), lasts)]), end);
        // Too early to disturb the answer, but after the message was sent.
        let again = Instant::ZERO + (received - Instant::ZERO).saturating_sub(delay / 2);
        if by == "0" && again > end {
            replay(
                &plan,
                &[cut(at(10), lasts), cut(again, Duration::from_secs(5))],
            );
            cuts += 1;
        }
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn a_router_that_has_yielded_and_taken_over_again_has_not_stayed_active() {
    // A network in which a message may take three Active_Down_Intervals: nothing is stable in it,
    // but every duplicate ends.
    let mut plan = Scenario::uniform(2, 1).unwrap();
    plan.network.shortest_delay = Duration::ZERO;
    plan.network.longest_delay = Duration::from_millis(100);
    for member in plan.hosts.iter_mut().flat_map(|host| &mut host.members) {
        member.config.interval = Interval::centis(1).unwrap();
    }
    for seed in 0..10 {
        let simulation = Simulation::<VrrpRouter>::new(&plan, seed).unwrap();
        let run = run(simulation, seed, at(20));
        let is_duplicate = |(_, property): &_| *property == Property::DuplicateEnds;
        assert!(!run.violations.iter().any(is_duplicate), "seed {seed}");
        let count = checks(&run, Property::DuplicateEnds);
        assert!(count > 10, "seed {seed}: {count}");
    }
}

#[test]
fn no_hand_over_is_due_if_its_heir_stops_in_the_meantime() {
    let plan = two_lans(3, Duration::from_millis(1));
    let lasts = Duration::from_secs(10);
    let run = replay(&plan, &[stop(at(20), 0)]);
    assert_eq!(checks(&run, Property::HandOverInSkewTime), 1);
    let resignation = run.lines.lines().find_map(|line| {
        let (_, message) = line.strip_suffix(" priority 0")?.split_once(" sent 0 ")?;
        message.split_once(' ')?.0.parse().ok()
    });
    let resignation = Delivery {
        from: 0,
        number: resignation.unwrap(),
        to: 1,
    };
    let soon = at(20) + Duration::from_micros(500);
    for fault in [
        (soon, Fault::Lasting(Condition::Crash { host: 1 }, lasts)),
        (soon, Fault::Lasting(Condition::Stall { host: 1 }, lasts)),
        (at(20), Fault::Lose(resignation)),
    ] {
        let run = replay(&plan, &[stop(at(20), 0), fault.clone()]);
        assert_eq!(checks(&run, Property::HandOverInSkewTime), 0, "{fault:?}");
    }
}

#[test]
fn the_heir_is_the_best_backup_that_receives_the_resignation() {
    // Other routers would take over sooner, but one has resigned before, and one is on the other
    // side of a partition.
    let plan = two_lans(3, Duration::from_millis(1));
    let run = replay(&plan, &[stop(at(15), 1), stop(at(20), 0)]);
    assert_eq!(checks(&run, Property::HandOverInSkewTime), 1);
    let plan = two_lans(4, Duration::from_millis(1));
    let condition = Condition::Partition {
        interface: 1,
        island: vec![0, 3],
    };
    let partition = Fault::Lasting(condition, Duration::from_secs(30));
    let faults = [(at(10), partition), stop(at(30), 0)];
    let run = replay(&plan, &faults);
    assert_eq!(checks(&run, Property::HandOverInSkewTime), 1);
    // The Active on the other side does not count as the heir.
    let run = replay_with::<DeafToZero>(&plan, &faults);
    let [(_, property)] = run.violations[..] else {
        panic!("{:?}", run.violations);
    };
    assert_eq!(property, Property::HandOverInSkewTime);
}

/// The time of the first check of a property.
fn first_check(plan: &Scenario, property: Property) -> Duration {
    let mut simulation = Simulation::<VrrpRouter>::new(plan, 1).unwrap();
    while simulation.checks(property) == 0 {
        assert!(simulation.step(at(60), &mut |_, _| {}), "{property}");
    }
    simulation.now() - Instant::ZERO
}

#[test]
fn a_network_is_checked_as_soon_as_it_was_quiet_for_the_bound() {
    let seconds = Duration::from_secs;
    let delays = Duration::from_millis(4);
    let bound = |change: fn(&mut Scenario)| {
        let mut plan = Scenario::uniform(3, 1).unwrap();
        change(&mut plan);
        let found = first_check(&plan, Property::AtMostOneActive);
        // Events of that time come before it.
        found.saturating_sub(Duration::from_nanos(1))
    };
    assert_eq!(bound(|_| {}), seconds(4) + delays);
    assert_eq!(
        bound(|plan| plan.network.longest_delay = Duration::from_millis(5)),
        seconds(4) + 5 * delays
    );
    // The greatest values of its routers.
    assert_eq!(
        bound(|plan| {
            plan.hosts[0].members[0].config.interval = Interval::centis(200).unwrap();
            plan.hosts[1].members[0].config.missed_advertisements = 5;
            plan.hosts[2].members[0].config.startup_hold = Duration::from_secs(7);
        }),
        // And their intervals differ.
        seconds(6 * 2 + 7 + 3 * 2) + delays
    );
    assert_eq!(
        bound(|plan| {
            let config = &mut plan.hosts[1].members[0].config;
            config.preempt = Preempt::AfterDelay(Duration::from_secs(9));
        }),
        seconds(2 * 4 + 9) + delays
    );
    assert_eq!(
        bound(|plan| plan.use_authentication(LocalAuthentication::IpAh)),
        seconds(5) + delays
    );
}

#[test]
fn neighbors_are_asked_when_the_last_bursts_have_come() {
    let asked = |change: fn(&mut AnnouncePolicy)| {
        let mut plan = Scenario::uniform(3, 1).unwrap();
        change(&mut plan.hosts[1].members[0].config.announce);
        let [stable, asked] = [
            Property::AtMostOneActive,
            Property::LastAnnouncementIsOfActive,
        ]
        .map(|property| first_check(&plan, property));
        asked.saturating_sub(stable)
    };
    let longest_delay = Duration::from_millis(1);
    let default = Duration::from_secs(5);
    assert_eq!(asked(|_| {}), default + longest_delay);
    let later = Duration::from_secs(8);
    assert_eq!(
        asked(|policy| policy.second_burst_after = Some(Duration::from_secs(8))),
        later + longest_delay
    );
    assert_eq!(
        asked(|policy| policy.rival_second_burst_after = Some(Duration::from_secs(8))),
        later + longest_delay
    );
}
