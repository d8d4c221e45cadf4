//! Properties of every sequence of events.

use core::{net::IpAddr, time::Duration};

use proptest::{collection::vec, prelude::*};
use vrrp_fsm::{
    Action, Actions, AnnouncePolicy, ChecksumSending, Config, Counters, Deadline, Event, Instant,
    Preempt, Profile, ReceiveContext, ShutdownCause, SnapshotPhase, StallPolicy, State,
    VirtualRouter,
};
use vrrp_proto::{
    ChecksumForm, ChecksumMatch, Endpoints, Family, Interval, IpHeader, Priority, Versions,
};

use crate::host::{Advert, Host, address, centis, seconds, vrid};

fn delays() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (1_u64..20_000).prop_map(Duration::from_millis),
        (0..=Config::LONGEST_DELAY.as_secs()).prop_map(Duration::from_secs),
    ]
}

fn gaps() -> impl Strategy<Value = Option<Duration>> {
    let gap = (10_u64..20_000).prop_map(Duration::from_millis);
    proptest::option::of(prop_oneof![gap, Just(Config::LONGEST_DELAY)])
}

prop_compose! {
    fn policies()(repeat in 1_u8.., second in gaps(), refresh in gaps(), refresh_repeat in 1_u8.., rival_repeat: u8, rival_second in gaps(), after_last in 10_u64..=4000)
        -> AnnouncePolicy {
        AnnouncePolicy {
            repeat,
            second_burst_after: second,
            refresh,
            refresh_repeat,
            rival_repeat,
            rival_second_burst_after: rival_second,
            after_last_rival: Duration::from_millis(after_last),
        }
    }
}

prop_compose! {
    /// Every configuration that is accepted.
    fn configs()(
        kind in 0..4_u8,
        profile in prop_oneof![Just(Profile::Rfc3768), Just(Profile::Rfc5798), Just(Profile::Rfc9568)],
        priority in prop_oneof![4 => 1_u8..=255, 1 => Just(255)],
        count in prop_oneof![1_u16..=20, 1_u16..=4095],
        preempt in prop_oneof![Just(Preempt::Always), Just(Preempt::Never), delays().prop_map(Preempt::AfterDelay)],
        accept_mode: bool,
        missed in 1_u8..=100,
        startup_hold in prop_oneof![3 => Just(Duration::ZERO), 1 => delays()],
        announce in policies(),
        (fixed, pseudo, yields, last_word) in any::<(bool, bool, bool, bool)>(),
    ) -> Config {
        let mut own = match kind {
            0 => Config::v2(vrid()),
            1 => Config::new(vrid(), Family::Ipv6),
            _ => Config::new(vrid(), Family::Ipv4),
        };
        own.interval = centis(count);
        match kind {
            0 => own.interval = whole_seconds(count),
            3 => own.versions = Versions::Both,
            _ => (),
        }
        if kind == 0 || profile != Profile::Rfc3768 {
            own.profile = profile;
        }
        own.priority = Priority::new(priority);
        own.preempt = preempt;
        own.accept_mode = accept_mode;
        own.advertise_on_yield = last_word;
        own.missed_advertisements = missed;
        own.startup_hold = startup_hold;
        own.announce = announce;
        let form = if pseudo { ChecksumForm::PseudoHeader } else { ChecksumForm::MessageOnly };
        own.checksum = match (fixed, pseudo) {
            (true, _) => ChecksumSending::Fixed(form),
            (false, true) => ChecksumSending::Adaptive,
            (false, false) => ChecksumSending::Both,
        };
        own.stall = if yields { StallPolicy::Yield } else { StallPolicy::Resume };
        own
    }
}

/// Any number as a version 2 interval.
fn whole_seconds(number: u16) -> Interval {
    seconds(u8::try_from(number % 255 + 1).unwrap())
}

/// An event of a router.
#[derive(Clone, Debug)]
enum Step {
    Startup(u8),
    Shutdown(ShutdownCause),
    Receive {
        last: u8,
        priority: u8,
        v2: bool,
        interval: Option<u16>,
        pseudo: bool,
    },
    PrimaryAddress(u8),
    EffectivePriority(u8),
    AddressesChanged,
    Reannounce,
    Reconfigure(Box<Config>),
    /// Time passes, and the host serves its timers.
    Pass(Duration),
    /// The host sleeps until the next deadline.
    Sleep,
    /// The clock jumps to another time.
    Jump(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (5_u8..9).prop_map(Step::Startup),
        1 => prop_oneof![
            Just(ShutdownCause::Administrative),
            Just(ShutdownCause::Fault),
            Just(ShutdownCause::Group)
        ].prop_map(Step::Shutdown),
        8 => (1_u8..12, prop_oneof![Just(0), Just(255), any::<u8>()], any::<bool>(), proptest::option::of(1_u16..=4095), any::<bool>())
            .prop_map(|(last, priority, v2, interval, pseudo)| Step::Receive { last, priority, v2, interval, pseudo }),
        1 => (5_u8..9).prop_map(Step::PrimaryAddress),
        1 => any::<u8>().prop_map(Step::EffectivePriority),
        1 => Just(Step::AddressesChanged),
        1 => Just(Step::Reannounce),
        1 => configs().prop_map(|own| Step::Reconfigure(Box::new(own))),
        4 => (0_u64..10_000_000_000).prop_map(|nanos| Step::Pass(Duration::from_nanos(nanos))),
        1 => (0_u64..1_000_000_000_000).prop_map(|nanos| Step::Pass(Duration::from_nanos(nanos))),
        6 => Just(Step::Sleep),
    ]
}

fn steps_on_any_clock() -> impl Strategy<Value = Step> {
    let jumps = prop_oneof![
        any::<u64>(),
        Just(u64::MAX),
        Just(0),
        (u64::MAX - 20_000_000_000)..
    ];
    prop_oneof![8 => steps(), 1 => jumps.prop_map(Step::Jump)]
}

/// Takes the step. A message that the router would discard is counted and not handled.
fn take(router: &mut VirtualRouter, now: &mut Instant, step: &Step) -> Actions {
    let own = router.config();
    let event = match step {
        Step::Startup(last) => Event::Startup {
            primary_address: address(own.family, *last),
        },
        Step::Shutdown(cause) => Event::Shutdown(*cause),
        Step::Receive { .. } => match advert(router, step).check(router) {
            Ok(received) => Event::Advertisement(received),
            Err(discard) => {
                router.count_discard(&discard);
                return Actions::default();
            }
        },
        Step::PrimaryAddress(last) => Event::PrimaryAddress(address(own.family, *last)),
        Step::EffectivePriority(priority) => Event::EffectivePriority(Priority::new(*priority)),
        Step::AddressesChanged => Event::AddressesChanged,
        Step::Reannounce => Event::Reannounce,
        Step::Reconfigure(config) => {
            return router.reconfigure(*now, **config).unwrap_or_default();
        }
        Step::Pass(time) => {
            *now = *now + *time;
            return router.handle_timeout(*now);
        }
        Step::Sleep => {
            *now = router
                .poll_timeout()
                .map_or(*now, |deadline| deadline.max(*now));
            return router.handle_timeout(*now);
        }
        Step::Jump(nanos) => {
            *now = Instant::from_nanos(*nanos);
            return router.handle_timeout(*now);
        }
    };
    router.handle_event(*now, event)
}

/// The advertisement of [`Step::Receive`]; without an interval, with the one that this router
/// expects.
fn advert(router: &VirtualRouter, step: &Step) -> Advert {
    let Step::Receive {
        last,
        priority,
        v2,
        interval,
        pseudo,
    } = *step
    else {
        panic!("{step:?}");
    };
    let own = router.config();
    let as_v2 = own.versions == Versions::V2 || (own.versions == Versions::Both && v2);
    let interval = match (as_v2, interval) {
        (true, None) => own.interval.to_seconds_rounded_up(),
        (true, Some(count)) => whole_seconds(count),
        (false, None) if own.interval.version() == vrrp_proto::Version::V3 => own.interval,
        (false, count) => centis(count.unwrap_or(100)),
    };
    Advert::priority(priority)
        .from(address(own.family, last))
        .every(interval)
        .with_checksum(if pseudo {
            ChecksumMatch::PseudoHeader
        } else {
            ChecksumMatch::MessageOnly
        })
}

/// The state and the deadlines of a router, without its counters.
fn all_but_counters(router: &VirtualRouter) -> vrrp_fsm::Snapshot {
    let mut snapshot = router.snapshot(Instant::ZERO);
    snapshot.counters = Counters::default();
    snapshot
}

/// Every counter of a router, to be compared place by place.
fn numbers(counters: &Counters) -> [u64; 14] {
    [
        counters.active_transitions.into(),
        counters.other_discards.into(),
        counters.advertisements_received,
        counters.advertisements_sent,
        counters.priority_zero_received,
        counters.priority_zero_sent,
        counters.interval_errors,
        counters.ip_ttl_errors,
        counters.invalid_type_received,
        counters.address_list_errors,
        counters.packet_length_errors,
        counters.authentication_errors,
        counters.own_packets,
        counters.owner_conflicts,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rejected_packet_changes_nothing_but_its_counter(
        own in configs(),
        before in vec(steps(), 0..20),
        octets in prop_oneof![
            vec(any::<u8>(), 0..40),
            // Near misses: a right message with a few wrong octets.
            (vec((0_usize..20, any::<u8>()), 1..3)).prop_map(|changes| {
                let mut octets = vec![0x21, 51, 100, 1, 0, 1, 0xb9, 0x1a, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
                for (place, octet) in changes {
                    octets[place] = octet;
                }
                octets
            }),
        ],
        last in 1_u8..12,
        ttl in prop_oneof![3 => Just(255), 1 => any::<u8>()],
    ) {
        let mut router = VirtualRouter::new(own).unwrap();
        let mut now = Instant::from_nanos(1 << 50);
        for step in &before {
            let _ = take(&mut router, &mut now, step);
        }
        let ip = IpHeader { endpoints: Endpoints::multicast(address(own.family, last)), ttl };
        let context = ReceiveContext::multicast(own.family);
        let before = router;
        if let Ok((accepted, actions)) = router.handle_packet(now, &ip, &octets, &context) {
            let mut stepped = before;
            prop_assert_eq!(stepped.handle_event(now, Event::Advertisement(accepted)), actions);
            prop_assert_eq!(stepped, router);
        } else {
            prop_assert_eq!(all_but_counters(&router), all_but_counters(&before));
            let counted = numbers(before.counters());
            let moved: Vec<u64> = numbers(router.counters()).iter().zip(counted).map(|(now, before)| now - before).collect();
            prop_assert_eq!(moved.iter().sum::<u64>(), 1, "{:?}", moved);
        }
    }

    #[test]
    fn exactly_one_election_timer_runs_in_backup_and_active_and_none_in_initialize(
        own in configs(),
        steps in vec(steps(), 0..60),
    ) {
        let mut router = VirtualRouter::new(own).unwrap();
        let mut now = Instant::from_nanos(1 << 50);
        let mut installed = false;
        for step in &steps {
            let before = router.state();
            let actions = take(&mut router, &mut now, step);
            let armed = |deadline| deadline != Deadline::Never;
            match router.snapshot(now).phase {
                SnapshotPhase::Initialize { .. } => {
                    prop_assert_eq!(router.poll_timeout(), None);
                    prop_assert_eq!(router.state(), State::Initialize);
                }
                SnapshotPhase::Backup { down, .. } => prop_assert!(armed(down) && router.state() == State::Backup),
                SnapshotPhase::Active { adver, .. } => prop_assert!(armed(adver) && router.state() == State::Active),
            }
            // Actions and states agree.
            let mut reported = before;
            for action in actions {
                match action {
                    Action::SendAdvertisement(outgoing) => {
                        let resigns = before == State::Active && router.state() == State::Initialize;
                        prop_assert_eq!(outgoing.priority.is_resign(), resigns);
                        prop_assert!(before == State::Active || router.state() == State::Active);
                    }
                    Action::InstallAddresses => installed = true,
                    Action::RemoveAddresses => installed = false,
                    Action::Announce { repeat } => prop_assert!(installed && repeat > 0),
                    Action::StateChanged(transition) => {
                        prop_assert_eq!(transition.from, before);
                        reported = transition.to;
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(reported, router.state());
            prop_assert_eq!(installed, router.state() == State::Active);
        }
    }

    #[test]
    fn any_number_of_actives_ends_with_one_after_one_exchange(
        priorities in vec(prop_oneof![Just(100_u8), Just(101), Just(255), 1_u8..=255], 2..7),
        family in prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)],
        preempts: bool,
        order in vec(any::<prop::sample::Index>(), 64),
    ) {
        let mut hosts: Vec<Host> = priorities.iter().zip(11..).map(|(priority, last)| {
            let mut own = Config::new(vrid(), family);
            own.priority = Priority::new(*priority);
            own.preempt = if preempts { Preempt::Always } else { Preempt::Never };
            let mut host = Host::active(own);
            let _ = host.event(Event::PrimaryAddress(address(family, last)));
            host
        }).collect();
        // Each sends one advertisement; they arrive at the others in any order.
        let sent: Vec<(IpAddr, u8)> = hosts.iter().map(|host| (host.router.primary_address(), host.router.effective_priority().get())).collect();
        let mut deliveries: Vec<(usize, usize)> = (0..hosts.len())
            .flat_map(|from| (0..sent.len()).map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .collect();
        for index in &order {
            let last = deliveries.len() - 1;
            let chosen = index.index(deliveries.len());
            deliveries.swap(chosen, last);
            deliveries.rotate_right(1);
        }
        for (from, to) in deliveries {
            let (source, priority) = sent[from];
            let host = &mut hosts[to];
            host.now = host.now + Duration::from_micros(1);
            let _ = host.receive(Advert::priority(priority).from(source));
        }
        let left: Vec<(u8, IpAddr)> = hosts.iter()
            .filter(|host| host.state() == State::Active)
            .map(|host| (host.router.effective_priority().get(), host.router.primary_address()))
            .collect();
        let greatest = sent.iter().map(|(address, priority)| (*priority, *address)).max().unwrap();
        prop_assert_eq!(left, [greatest]);
    }

    #[test]
    fn a_restored_router_continues_identically(
        own in configs(),
        before in vec(steps(), 0..30),
        after in vec(steps(), 0..30),
        moved in 1_u64 << 50..1 << 60,
    ) {
        let mut router = VirtualRouter::new(own).unwrap();
        let mut now = Instant::from_nanos(1 << 55);
        for step in &before {
            let _ = take(&mut router, &mut now, step);
        }
        let mut heirs_now = Instant::from_nanos(moved);
        let mut heir = VirtualRouter::restore(router.config(), router.snapshot(now), heirs_now).unwrap();
        for step in &after {
            let expected = take(&mut router, &mut now, step);
            prop_assert_eq!(take(&mut heir, &mut heirs_now, step), expected, "{:?}", step);
            prop_assert_eq!(
                heir.poll_timeout().map(|at| (at - heirs_now, heirs_now - at)),
                router.poll_timeout().map(|at| (at - now, now - at))
            );
            prop_assert_eq!(heir.state(), router.state());
            prop_assert_eq!(heir.counters(), router.counters());
        }
        let same = VirtualRouter::restore(router.config(), router.snapshot(now), now).unwrap();
        prop_assert_eq!(same, router);
    }

    #[test]
    fn a_router_restored_with_another_configuration_is_as_a_reconfigured_one(
        own in configs(),
        other in configs(),
        before in vec(steps(), 0..30),
    ) {
        prop_assume!(own.family == other.family);
        let mut router = VirtualRouter::new(own).unwrap();
        let mut now = Instant::from_nanos(1 << 55);
        for step in &before {
            let _ = take(&mut router, &mut now, step);
        }
        let mut heir = VirtualRouter::restore(other, router.snapshot(now), now).unwrap();
        let mut reconfigured = router;
        let _ = reconfigured.reconfigure(now, other).unwrap();
        let mut expected = all_but_counters(&reconfigured);
        // Nothing is advertised at once, so the Backups still expect the old interval.
        if let (
            SnapshotPhase::Active { adver, .. },
            SnapshotPhase::Active { adver: Deadline::In(old), .. },
        ) = (&mut expected.phase, all_but_counters(&router).phase)
            && let Deadline::In(new) = *adver
        {
            *adver = Deadline::In(new.min(old));
        }
        prop_assert_eq!(all_but_counters(&heir), expected);
        let _ = heir.handle_timeout(now);
        if let Some(deadline) = heir.poll_timeout() {
            prop_assert!(deadline > now, "{} {}", deadline, now);
        }
    }

    #[test]
    fn no_sequence_on_any_clock_panics_or_leaves_a_deadline_in_the_past(
        own in configs(),
        start in prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)],
        steps in vec(steps_on_any_clock(), 0..60),
    ) {
        let mut router = VirtualRouter::new(own).unwrap();
        let mut now = Instant::from_nanos(start);
        for step in &steps {
            let _ = take(&mut router, &mut now, step);
            let _ = router.lateness(now);
            let _ = router.is_stalled(now);
            // One call serves everything that is due.
            let mut served = router;
            let _ = served.handle_timeout(now);
            if let Some(deadline) = served.poll_timeout() {
                prop_assert!(deadline > now || deadline == Instant::MAX, "{} {}", deadline, now);
            }
            prop_assert_eq!(served.handle_timeout(now), Actions::default());
        }
    }

    #[test]
    fn before_its_time_a_timeout_does_nothing(own in configs(), before in vec(steps(), 0..30), part in 0.0..1.0) {
        let mut router = VirtualRouter::new(own).unwrap();
        let mut now = Instant::from_nanos(1 << 50);
        for step in &before {
            let _ = take(&mut router, &mut now, step);
        }
        if let Some(deadline) = router.poll_timeout().filter(|deadline| *deadline > now) {
            let early = deadline - (deadline - now).mul_f64(part).max(Duration::from_nanos(1));
            let same = router;
            prop_assert_eq!(router.handle_timeout(early), Actions::default());
            prop_assert_eq!(router, same);
        }
    }

    #[test]
    fn a_configuration_that_is_accepted_comes_back_as_it_went_in(own in configs()) {
        prop_assert_eq!(own.check(), Ok(()));
        prop_assert_eq!(VirtualRouter::new(own).unwrap().config(), own);
    }
}

#[test]
fn the_steps_of_the_properties_reach_every_state_and_reason() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut reasons = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let own = configs().new_tree(&mut runner).unwrap().current();
        let all = vec(steps(), 60).new_tree(&mut runner).unwrap().current();
        let mut router = VirtualRouter::new(own).unwrap();
        let mut now = Instant::from_nanos(1 << 50);
        for step in &all {
            if let Some(transition) = take(&mut router, &mut now, step).transition() {
                reasons.insert(transition.reason.to_string());
            }
        }
    }
    assert_eq!(reasons.len(), 13, "{reasons:?}");
}
