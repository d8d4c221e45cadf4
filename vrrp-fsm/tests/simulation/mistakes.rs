//! Hosts with a mistake: each is found by the property that it breaks.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use vrrp_fsm::{
    Action, Config, Instant, Preempt, State,
    fleet::{RouterId, VrrpRouter},
    sim::{
        Condition, Delivery, Fault, FaultRates, Host, Packet, Property, Scenario, Simulation,
        Trace, minimise,
    },
};
use vrrp_proto::{AuthenticationFault, Discard, LocalAuthentication, Priority, Protection};

use crate::scenarios::{at, everything, per_cent, rate, run};

/// Defines a host that drives its fleet with a mistake.
macro_rules! mistake {
    ($(#[$attribute:meta])* $name:ident { $($method:item)* }) => {
        $(#[$attribute])*
        pub(crate) struct $name(VrrpRouter);

        impl Host for $name {
            fn boot(fleet: VrrpRouter) -> Self {
                Self(fleet).prepared()
            }

            fn fleet(&self) -> &VrrpRouter {
                &self.0
            }

            fn fleet_mut(&mut self) -> &mut VrrpRouter {
                &mut self.0
            }

            $($method)*
        }
    };
}

/// The preparation of a host when it starts.
trait Prepared: Sized {
    fn prepared(self) -> Self {
        self
    }
}

mistake! {
    /// It ignores resignations.
    DeafToZero {
        fn receive(&mut self, now: Instant, packet: &Packet, protection: Protection) -> Result<(), Discard> {
            if packet.octets[2] == 0 {
                return Ok(());
            }
            self.0.receive(now, packet, protection)
        }
    }
}
impl Prepared for DeafToZero {}

mistake! {
    /// It ignores resignations, and its starts are counted.
    Counted {
        fn receive(&mut self, now: Instant, packet: &Packet, protection: Protection) -> Result<(), Discard> {
            if packet.octets[2] == 0 {
                return Ok(());
            }
            self.0.receive(now, packet, protection)
        }
    }
}
impl Prepared for Counted {
    fn prepared(self) -> Self {
        STARTS.fetch_add(1, Ordering::Relaxed);
        self
    }
}

static STARTS: AtomicU32 = AtomicU32::new(0);

mistake! {
    /// As Active it ignores routers of lower priority, so it does not answer them.
    Aloof {
        fn receive(&mut self, now: Instant, packet: &Packet, protection: Protection) -> Result<(), Discard> {
            let router = self.0.get(self.0.find(&packet.key().unwrap()).unwrap()).unwrap();
            let is_lower = packet.octets[2] != 0 && packet.octets[2] < router.effective_priority().get();
            if router.state() == State::Active && is_lower {
                return Ok(());
            }
            self.0.receive(now, packet, protection)
        }
    }
}
impl Prepared for Aloof {}

mistake! {
    /// As Active it ignores all advertisements.
    DeafActive {
        fn receive(&mut self, now: Instant, packet: &Packet, protection: Protection) -> Result<(), Discard> {
            let router = self.0.get(self.0.find(&packet.key().unwrap()).unwrap()).unwrap();
            if router.state() == State::Active {
                return Ok(());
            }
            self.0.receive(now, packet, protection)
        }
    }
}
impl Prepared for DeafActive {}

mistake! {
    /// It never serves its timers.
    Asleep {
        fn poll_timeout(&self) -> Option<Instant> {
            None
        }
    }
}
impl Prepared for Asleep {}

mistake! {
    /// Its clock is two intervals ahead when it serves its timers, so they fire too early.
    Nervous {
        fn handle_timeout(&mut self, now: Instant) {
            self.0.handle_timeout(now + EARLY);
        }
        fn poll_timeout(&self) -> Option<Instant> {
            let deadline = self.0.poll_timeout()?;
            Some(Instant::ZERO + (deadline - Instant::ZERO).saturating_sub(EARLY))
        }
    }
}
impl Prepared for Nervous {}

const EARLY: Duration = Duration::from_millis(2500);

mistake! {
    /// It is configured not to preempt, and the monitor does not know.
    Modest {}
}
impl Prepared for Modest {
    fn prepared(mut self) -> Self {
        reconfigure_all(&mut self.0, |config| config.preempt = Preempt::Never);
        self
    }
}

mistake! {
    /// It has no sync groups.
    Single {}
}
impl Prepared for Single {
    fn prepared(mut self) -> Self {
        let ids: Vec<_> = self.0.groups().map(|(id, _)| id).collect();
        for id in ids {
            self.0.remove_group(Instant::ZERO, id).unwrap();
        }
        self
    }
}

mistake! {
    /// It announces nothing.
    Mute {
        fn poll_action(&mut self) -> Option<(RouterId, Action)> {
            loop {
                let next = self.0.poll_action()?;
                if !matches!(next, (_, Action::Announce { .. })) {
                    return Some(next);
                }
            }
        }
    }
}
impl Prepared for Mute {}

mistake! {
    /// It announces nothing when it receives the advertisement of a rival.
    Unmoved {}
}
impl Prepared for Unmoved {
    fn prepared(mut self) -> Self {
        reconfigure_all(&mut self.0, |config| config.announce.rival_repeat = 0);
        self
    }
}

mistake! {
    /// It ignores sequence numbers.
    Forgetful {
        fn receive(&mut self, now: Instant, packet: &Packet, protection: Protection) -> Result<(), Discard> {
            let protection = match protection {
                Protection::Failed(AuthenticationFault::Replay { .. }) => Protection::Ah,
                other => other,
            };
            self.0.receive(now, packet, protection)
        }
    }
}
impl Prepared for Forgetful {}

fn reconfigure_all(fleet: &mut VrrpRouter, change: impl Fn(&mut Config)) {
    let ids: Vec<RouterId> = fleet.iter().map(|(id, _)| id).collect();
    for id in ids {
        let mut member = fleet.member(id).unwrap();
        change(&mut member.config);
        fleet.reconfigure(Instant::ZERO, id, member).unwrap();
    }
}

/// Runs seeds until one breaks the property, and returns the faults necessary for that.
fn faults_that_break<H: Host>(property: Property, faults: &FaultRates) -> Vec<Fault> {
    faults_that_break_in::<H>(everything(3), property, faults)
}

fn faults_that_break_in<H: Host>(
    mut scenario: Scenario,
    property: Property,
    faults: &FaultRates,
) -> Vec<Fault> {
    scenario.faults = FaultRates {
        until: at(200),
        ..*faults
    };
    for seed in 0..20 {
        let simulation = Simulation::<H>::new(&scenario, seed).unwrap();
        let run = run(simulation, seed, at(240));
        let Some((first, _)) = run.violations.iter().find(|(_, found)| *found == property) else {
            continue;
        };
        let trace: Trace = run.lines.parse().unwrap();
        let least = minimise::<H>(&scenario, &trace, property, *first, 500)
            .unwrap()
            .unwrap();
        return least.faults.into_iter().map(|(_, fault)| fault).collect();
    }
    panic!("no seed breaks {property}");
}

fn stops() -> FaultRates {
    FaultRates {
        stop: Some(rate(20, 30)),
        duplication: per_cent(1),
        ..FaultRates::default()
    }
}

fn cuts() -> FaultRates {
    FaultRates {
        partition: Some(rate(30, 20)),
        duplication: per_cent(1),
        ..FaultRates::default()
    }
}

#[test]
fn a_host_that_ignores_priority_zero_is_found_by_one_stop() {
    let least = faults_that_break::<DeafToZero>(Property::HandOverInSkewTime, &stops());
    assert!(
        matches!(least[..], [Fault::Lasting(Condition::Stop { .. }, _)]),
        "{least:?}"
    );
}

#[test]
fn a_host_that_answers_no_rival_of_lower_priority_is_found_by_partitions() {
    // Whether the winner or the loser receives the other first depends on their rhythms, which also
    // result from partitions.
    let least = faults_that_break::<Aloof>(Property::DuplicateEnds, &cuts());
    assert!(!least.is_empty() && least.len() <= 3, "{least:?}");
    for fault in &least {
        let is_partition = matches!(fault, Fault::Lasting(Condition::Partition { .. }, _));
        assert!(is_partition, "{least:?}");
    }
}

#[test]
fn a_host_that_is_deaf_as_active_is_found() {
    faults_that_break::<DeafActive>(Property::AtMostOneActive, &cuts());
    faults_that_break::<DeafActive>(Property::DuplicateEnds, &cuts());
}

#[test]
fn a_host_that_never_takes_over_is_found_without_any_fault() {
    assert_eq!(
        faults_that_break::<Asleep>(Property::ActiveExists, &stops()),
        []
    );
}

#[test]
fn a_host_whose_timers_fire_too_early_is_found_without_any_fault() {
    assert_eq!(
        faults_that_break::<Nervous>(Property::NoFlapping, &stops()),
        []
    );
}

#[test]
fn a_host_that_does_not_preempt_is_found() {
    let least = faults_that_break::<Modest>(Property::HighestPriorityActive, &stops());
    assert_eq!(least.len(), 1, "{least:?}");
}

#[test]
fn a_host_that_does_not_keep_a_group_together_is_found() {
    faults_that_break::<Single>(Property::GroupAgrees, &stops());
}

#[test]
fn a_host_that_announces_nothing_is_found_without_any_fault() {
    for property in [
        Property::ActiveAnnounces,
        Property::LastAnnouncementIsOfActive,
    ] {
        assert_eq!(faults_that_break::<Mute>(property, &stops()), []);
    }
}

#[test]
fn a_host_without_announcements_after_a_rival_is_found_by_partitions() {
    for property in [
        Property::ActiveAnnounces,
        Property::LastAnnouncementIsOfActive,
    ] {
        let least = faults_that_break::<Unmoved>(property, &cuts());
        assert!(!least.is_empty() && least.len() <= 3, "{least:?}");
        for fault in &least {
            let is_partition = matches!(fault, Fault::Lasting(Condition::Partition { .. }, _));
            assert!(is_partition, "{least:?}");
        }
    }
}

#[test]
fn a_host_that_ignores_sequence_numbers_is_found_by_one_copy() {
    let mut scenario = everything(3);
    scenario.use_authentication(LocalAuthentication::IpAh);
    let faults = FaultRates {
        duplication: per_cent(1),
        ..FaultRates::default()
    };
    let least = faults_that_break_in::<Forgetful>(scenario, Property::ReplayIsDiscarded, &faults);
    assert!(matches!(least[..], [Fault::Duplicate(_)]), "{least:?}");
}

#[test]
fn no_more_replays_are_made_than_are_allowed() {
    let scenario = Scenario::uniform(3, 1).unwrap();
    let stop = |number: u32| {
        // Host 1 is Backup, so its stop needs no resignation.
        let condition = Condition::Stop {
            host: number % 2,
            router: 0,
        };
        let lasts = Duration::from_secs(5);
        (
            at(20 + 20 * u64::from(number)),
            Fault::Lasting(condition, lasts),
        )
    };
    let trace = Trace {
        seed: 1,
        faults: (0..12).map(stop).collect(),
    };
    let property = Property::HandOverInSkewTime;
    let least = |runs| {
        let before = STARTS.load(Ordering::Relaxed);
        let least = minimise::<Counted>(&scenario, &trace, property, at(300), runs).unwrap();
        let starts = STARTS.load(Ordering::Relaxed) - before;
        (least, starts / 3)
    };
    assert_eq!(least(0), (None, 0));
    assert_eq!(least(1), (Some(trace.clone()), 1));
    let (fewer, replays) = least(3);
    assert!(fewer.unwrap().faults.len() < 12);
    assert_eq!(replays, 3);
    let (single, replays) = least(1000);
    let single = single.unwrap();
    assert_eq!(single.faults.len(), 1);
    assert!(trace.faults.contains(&single.faults[0]));
    // Faults are left out by halves, not one by one.
    assert!(replays < 12, "{replays}");
}

#[test]
fn a_fault_that_is_needed_for_the_sake_of_another_one_only_goes_with_it() {
    let scenario = Scenario::uniform(2, 1).unwrap();
    let lasting = |from, condition, seconds| {
        let lasts = Duration::from_secs(seconds);
        (at(from), Fault::Lasting(condition, lasts))
    };
    let priority = |host, priority| Condition::Priority {
        host,
        router: 0,
        priority: Priority::new(priority),
    };
    let stop = Condition::Stop { host: 0, router: 0 };
    let nothing = Delivery {
        from: 0,
        number: 1_000_000,
        to: 1,
    };
    // With its lower priority host 0 is Active only because the other one has an even lower one.
    let trace = Trace {
        seed: 1,
        faults: vec![
            lasting(10, priority(1, 40), 60),
            (at(15), Fault::Lose(nothing)),
            lasting(20, priority(0, 50), 50),
            lasting(60, stop, 5),
        ],
    };
    let property = Property::HandOverInSkewTime;
    let least = minimise::<DeafToZero>(&scenario, &trace, property, at(80), 100).unwrap();
    assert_eq!(least.unwrap().faults, trace.faults[3..]);
}
