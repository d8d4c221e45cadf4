//! Rows S-01 to S-34, and the P rows that the machine decides.

use vrrp_fsm::{Action, Config, Event, Preempt, Profile, Reason, ShutdownCause, State};
use vrrp_proto::{Discard, Family, Priority, Versions};

use crate::host::{
    Advert, Host, INSTALL, REMOVE, address, advertise, announce, centis, changed, config,
    config_v2, ms, seconds, vrid,
};

const DOWN_100: u64 = 3_609_375; // microseconds at priority 100 and 1 s

fn down() -> core::time::Duration {
    core::time::Duration::from_micros(DOWN_100)
}

#[test]
fn s_01_each_family_has_its_own_machine() {
    let mut four = Host::started(config(100));
    let mut six = Host::started(Config::new(vrid(), Family::Ipv6));
    let _ = four.fire();
    assert_eq!((four.state(), six.state()), (State::Active, State::Backup));
    let _ = six.receive(Advert::priority(200).from(address(Family::Ipv6, 20)));
    assert_eq!(four.state(), State::Active);
    let stray = Advert::priority(200).check(&six.router);
    assert!(
        matches!(stray, Err(Discard::Destination { .. })),
        "{stray:?}"
    );
}

#[test]
fn s_02_six_edges_join_three_states() {
    use State::{Active, Backup, Initialize};
    let mut edges = Vec::new();
    let mut collect = |actions: Vec<Action>| {
        for action in actions {
            if let Action::StateChanged(transition) = action {
                edges.push((transition.from, transition.to));
            }
        }
    };
    let mut host = Host::new(config(100));
    collect(host.startup());
    collect(host.shutdown());
    collect(host.startup());
    collect(host.fire());
    collect(host.receive(Advert::priority(200)));
    collect(host.fire());
    collect(host.shutdown());
    collect(Host::new(config(255)).startup());
    assert_eq!(
        edges,
        [
            (Initialize, Backup),
            (Backup, Initialize),
            (Initialize, Backup),
            (Backup, Active),
            (Active, Backup),
            (Backup, Active),
            (Active, Initialize),
            (Initialize, Active),
        ]
    );
}

#[test]
fn s_03_initialize_does_nothing_until_startup() {
    let mut host = Host::new(config(100));
    let received = Advert::priority(0)
        .every(centis(7))
        .check(&host.router)
        .unwrap();
    let fresh = host;
    for event in [
        Event::Advertisement(received),
        Event::Shutdown(ShutdownCause::Fault),
        Event::PrimaryAddress(address(Family::Ipv4, 9)),
        Event::AddressesChanged,
        Event::Reannounce,
    ] {
        assert_eq!(host.event(event), [], "{event:?}");
    }
    assert_eq!(host.wake_after(ms(1_000_000)), []);
    assert_eq!(host.router.poll_timeout(), None);
    assert_eq!(host.router, fresh.router);
}

#[test]
fn s_04_the_owner_advertises_first_of_all_on_startup() {
    assert_eq!(Host::new(config(255)).startup()[0], advertise(255));
}

#[test]
fn s_05_the_owner_then_announces() {
    assert_eq!(
        Host::new(config(255)).startup()[1..3],
        [INSTALL, announce(5)]
    );
}

#[test]
fn s_06_the_owner_then_is_active_and_advertises_every_interval() {
    let mut host = Host::new(config(255));
    assert_eq!(
        host.startup().last(),
        Some(&changed(
            State::Initialize,
            State::Active,
            Reason::OwnerStartup
        ))
    );
    assert_eq!(host.state(), State::Active);
    assert_eq!(host.remaining(), ms(1000));
}

#[test]
fn s_07_the_others_start_as_backup_and_send_nothing() {
    let mut host = Host::new(config(100));
    assert_eq!(
        host.startup(),
        [changed(State::Initialize, State::Backup, Reason::Startup)]
    );
    assert_eq!(host.router.active_interval(), centis(100));
    assert_eq!(host.remaining(), down());
}

#[test]
fn s_08_a_backup_shuts_down_without_a_word() {
    let mut host = Host::backup(config(100));
    let reason = Reason::Shutdown(ShutdownCause::Administrative);
    assert_eq!(
        host.shutdown(),
        [changed(State::Backup, State::Initialize, reason)]
    );
    assert_eq!(host.router.poll_timeout(), None);
    assert_eq!(
        host.router.shutdown_cause(),
        Some(ShutdownCause::Administrative)
    );
}

#[test]
fn s_09_the_down_timer_makes_a_backup_active() {
    let mut host = Host::backup(config(100));
    assert_eq!(
        host.wake_after(core::time::Duration::from_nanos(3_609_374_999)),
        []
    );
    assert_eq!(
        host.wake_after(core::time::Duration::from_nanos(1)),
        [
            advertise(100),
            INSTALL,
            announce(5),
            changed(State::Backup, State::Active, Reason::ActiveDown),
        ]
    );
    assert_eq!(host.remaining(), ms(1000));
}

#[test]
fn s_10_the_advertisement_comes_before_the_announcement() {
    for actions in [
        Host::new(config(255)).startup(),
        Host::backup(config(100)).fire(),
    ] {
        let place = |wanted: fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
        let sent = place(|action| matches!(action, Action::SendAdvertisement(_)));
        assert!(sent < place(|action| matches!(action, Action::Announce { .. })));
        assert_eq!(sent, 0);
    }
}

#[test]
fn a_15_solicited_node_groups_are_joined_before_the_announcement() {
    let mut six = Config::new(vrid(), Family::Ipv6);
    six.priority = Priority::OWNER;
    let actions = Host::new(six).startup();
    let install = actions.iter().position(|action| *action == INSTALL);
    let announce = actions.iter().position(|action| *action == announce(5));
    assert!(install.unwrap() < announce.unwrap());
}

#[test]
fn s_11_priority_zero_shortens_the_down_timer() {
    // Skew_Time is that of the interval learned before, not of the router's own interval and not of
    // the one in this packet (AMB-12).
    let mut host = Host::started(config(100));
    let _ = host.receive(Advert::priority(200).every(centis(50)));
    host.pass(ms(500));
    assert_eq!(host.receive(Advert::priority(0).every(centis(7))), []);
    assert_eq!(host.state(), State::Backup);
    assert_eq!(host.remaining().as_nanos(), 304_687_500);
    assert_eq!(host.router.active_interval(), centis(50), "not learned");
    assert_eq!(
        host.fire().last(),
        Some(&changed(
            State::Backup,
            State::Active,
            Reason::ActiveResigned
        ))
    );
}

#[test]
fn s_12_a_backup_follows_an_active_and_learns_its_interval() {
    for (preempt, priority) in [
        (Preempt::Always, 100),
        (Preempt::Always, 101),
        (Preempt::Never, 1),
    ] {
        let mut own = config(100);
        own.preempt = preempt;
        let mut host = Host::started(own);
        host.pass(ms(2000));
        assert_eq!(
            host.receive(Advert::priority(priority).every(centis(50))),
            []
        );
        assert_eq!(host.router.active_interval(), centis(50));
        assert_eq!(host.router.skew_time().as_nanos(), 304_687_500);
        assert_eq!(host.remaining().as_nanos(), 1_804_687_500);
        let active = host.router.active().unwrap();
        assert_eq!(active.address, address(Family::Ipv4, 20));
        assert_eq!(active.priority.get(), priority);
    }
}

#[test]
fn s_13_a_v2_backup_waits_for_its_own_interval() {
    let mut host = Host::started(config_v2(100));
    host.pass(ms(2000));
    assert_eq!(host.receive(Advert::priority(100).every(seconds(1))), []);
    assert_eq!(host.remaining(), down());
    let other = Advert::priority(100).every(seconds(2)).check(&host.router);
    assert!(
        matches!(other, Err(Discard::Interval(_))),
        "P-29: {other:?}"
    );
}

#[test]
fn s_14_a_lower_priority_does_not_move_the_timer() {
    let mut host = Host::backup(config(100));
    host.pass(ms(1234));
    let before = host.router.poll_timeout();
    assert_eq!(host.receive(Advert::priority(99).every(centis(7))), []);
    assert_eq!(host.router.poll_timeout(), before);
    assert_eq!(host.router.active_interval(), centis(100));
    assert_eq!(
        host.fire().last(),
        Some(&changed(
            State::Backup,
            State::Active,
            Reason::LowerPriorityActive
        ))
    );
}

#[test]
fn s_15_a_backup_defers_to_equal_priority_whatever_the_address() {
    for last in [1, 200] {
        let mut host = Host::started(config(100));
        host.pass(ms(1000));
        let _ = host.receive(Advert::priority(100).from([192, 0, 2, last]));
        assert_eq!(host.remaining(), down(), "192.0.2.{last}");
    }
}

#[test]
fn s_16_an_active_answers_a_resignation() {
    let mut host = Host::active(config(100));
    host.pass(ms(300));
    assert_eq!(host.receive(Advert::priority(0))[0], advertise(100));
    assert_eq!(host.state(), State::Active);
    assert_eq!(host.fire(), [announce(5)]);
    assert_eq!(host.remaining(), ms(500), "a whole interval");
}

#[test]
fn s_17_an_active_yields_to_a_higher_priority() {
    let mut own = config(100);
    own.advertise_on_yield = false;
    let mut host = Host::active(own);
    host.pass(ms(300));
    assert_eq!(
        host.receive(Advert::priority(101).every(centis(50))),
        [
            REMOVE,
            changed(State::Active, State::Backup, Reason::HigherPriority),
        ]
    );
    assert_eq!(host.router.active_interval(), centis(50));
    assert_eq!(host.remaining().as_nanos(), 1_804_687_500);
}

#[test]
fn s_18_an_active_yields_to_equal_priority_from_a_greater_address() {
    let mut own = config(100);
    own.advertise_on_yield = false;
    let mut host = Host::active(own);
    let _ = host.receive(Advert::priority(100).from([192, 0, 2, 10]));
    assert_eq!(host.state(), State::Active);
    assert_eq!(
        host.receive(Advert::priority(100).from([192, 0, 2, 12])),
        [
            REMOVE,
            changed(State::Active, State::Backup, Reason::GreaterAddress),
        ]
    );
}

#[test]
fn a_yielding_router_advertises_a_last_time_with_its_own_priority() {
    for advert in [
        Advert::priority(101),
        Advert::priority(100).from([192, 0, 2, 12]),
    ] {
        let actions = Host::active(config(100)).receive(advert);
        assert!(
            matches!(actions[..], [sent, REMOVE, Action::StateChanged(_)] if sent == advertise(100)),
            "{actions:?}"
        );
    }
}

#[test]
fn s_19_addresses_compare_as_unsigned_numbers_in_network_order() {
    let greater_than_11 = [
        ([192, 0, 3, 1], true),
        ([200, 0, 0, 0], true),
        ([10, 255, 255, 255], false),
        ([192, 0, 2, 127], true),
        ([192, 0, 1, 255], false),
        ([223, 255, 255, 254], true),
    ];
    for (source, greater) in greater_than_11 {
        let mut host = Host::active(config(100));
        let _ = host.receive(Advert::priority(100).from(source));
        assert_eq!(host.state() == State::Backup, greater, "{source:?}");
    }
    for (source, greater) in [
        ([0xfe80, 0, 0, 0, 0, 0, 0, 0x12], true),
        ([0xfe80, 0, 0, 0, 0, 0, 0, 0x0a], false),
        ([0xfe80, 0, 0, 0, 0x8000, 0, 0, 0], true),
        ([0xfe80, 0, 0, 0, 0, 0, 0x0100, 0], true),
    ] {
        let mut host = Host::active(Config::new(vrid(), Family::Ipv6));
        let _ = host.receive(Advert::priority(100).from(source));
        assert_eq!(host.state() == State::Backup, greater, "{source:x?}");
    }
}

#[test]
fn s_20_an_active_answers_a_lower_priority_at_once() {
    for advert in [
        Advert::priority(99),
        Advert::priority(100).from([192, 0, 2, 10]),
    ] {
        let mut host = Host::active(config(100));
        host.pass(ms(300));
        assert_eq!(host.receive(advert)[0], advertise(100));
        assert_eq!(host.state(), State::Active);
        assert_eq!(host.fire(), [announce(5)], "after 500 ms");
        assert_eq!(host.remaining(), ms(200), "the timer runs on (AMB-13)");
    }
}

#[test]
fn s_21_the_older_profiles_do_not_answer_a_lower_priority() {
    let mut five = config(100);
    five.profile = Profile::Rfc5798;
    let v3 = (five, Advert::priority(99));
    let v2 = (config_v2(100), Advert::priority(99).every(seconds(1)));
    for (own, advert) in [v3, v2] {
        let mut host = Host::active(own);
        host.pass(ms(300));
        let actions = host.receive(advert);
        assert!(
            !actions
                .iter()
                .any(|action| matches!(action, Action::SendAdvertisement(_))),
            "{actions:?}"
        );
        assert_eq!(host.fire(), [announce(5)], "after 500 ms");
        assert_eq!(host.remaining(), ms(200));
    }
}

#[test]
fn s_22_preempt_mode_plays_no_part_in_active() {
    for preempt in [
        Preempt::Always,
        Preempt::Never,
        Preempt::AfterDelay(ms(60_000)),
    ] {
        let mut own = config(100);
        own.preempt = preempt;
        let mut host = Host::active(own);
        let _ = host.receive(Advert::priority(99));
        assert_eq!(host.state(), State::Active, "{preempt:?}");
        let _ = host.receive(Advert::priority(101));
        assert_eq!(host.state(), State::Backup, "{preempt:?}");
    }
}

#[test]
fn s_23_an_active_advertises_every_own_interval() {
    let mut own = config(100);
    own.interval = centis(50);
    let mut host = Host::active(own);
    let _ = host.receive(Advert::priority(200).every(centis(300)));
    let _ = host.fire();
    assert_eq!(host.router.active_interval(), centis(300), "learned before");
    for _ in 0..9 {
        assert_eq!(host.remaining(), ms(500));
        assert_eq!(host.fire(), [advertise(100)]);
    }
}

#[test]
fn s_24_an_active_resigns_on_shutdown() {
    let mut host = Host::active(config(100));
    let reason = Reason::Shutdown(ShutdownCause::Fault);
    assert_eq!(
        host.event(Event::Shutdown(ShutdownCause::Fault)),
        [
            advertise(0),
            REMOVE,
            changed(State::Active, State::Initialize, reason),
        ]
    );
    assert_eq!(host.router.poll_timeout(), None);
    assert_eq!(host.router.shutdown_cause(), Some(ShutdownCause::Fault));
}

#[test]
fn s_25_the_owner_always_preempts() {
    for preempt in [Preempt::Never, Preempt::AfterDelay(ms(60_000))] {
        let mut own = config(255);
        own.preempt = preempt;
        let mut host = Host::active(own);
        let _ = host.receive(Advert::priority(255).from([192, 0, 2, 12]));
        assert_eq!(host.state(), State::Backup, "S-26");
        let before = host.router.poll_timeout();
        host.pass(ms(500));
        let _ = host.receive(Advert::priority(254));
        assert_eq!(host.router.poll_timeout(), before);
        assert_eq!(
            host.fire().last(),
            Some(&changed(State::Backup, State::Active, Reason::OwnerPreempt))
        );
    }
}

#[test]
fn s_26_of_two_owners_the_one_with_the_lower_address_backs_down() {
    let mut lower = Host::active(config(255));
    let received = Advert::priority(255)
        .from([192, 0, 2, 12])
        .check(&lower.router)
        .unwrap();
    assert!(received.mismatches().owner_conflict, "to be logged");
    let _ = lower.event(Event::Advertisement(received));
    assert_eq!(lower.state(), State::Backup);
    assert_eq!(lower.router.counters().owner_conflicts, 1);

    let mut greater = Host::active(config(255));
    let actions = greater.receive(Advert::priority(255).from([192, 0, 2, 10]));
    assert_eq!(actions[0], advertise(255));
    assert_eq!(greater.state(), State::Active);
}

#[test]
fn s_27_a_backup_never_advertises_unless_it_takes_over() {
    let mut host = Host::started(config(100));
    for priority in (0..=255).chain((0..=255).rev()) {
        host.pass(ms(1));
        assert_eq!(host.receive(Advert::priority(priority)), []);
    }
    assert_eq!(host.event(Event::AddressesChanged), []);
    assert_eq!(host.event(Event::Reannounce), []);
    assert_eq!(host.event(Event::EffectivePriority(Priority::new(7))), []);
    assert_eq!(
        host.event(Event::PrimaryAddress(address(Family::Ipv4, 9))),
        []
    );
    assert_eq!(host.state(), State::Backup);
    assert_eq!(host.router.counters().advertisements_sent, 0);
}

#[test]
fn s_28_only_a_higher_priority_with_preempt_mode_disturbs_a_working_active() {
    for (own_priority, preempt, takes_over) in [
        (99, Preempt::Always, false),
        (100, Preempt::Always, false),
        (101, Preempt::Always, true),
        (101, Preempt::Never, false),
        (254, Preempt::Never, false),
    ] {
        let mut own = config(own_priority);
        own.preempt = preempt;
        let mut host = Host::started(own);
        for _ in 0..20 {
            host.pass(ms(1000));
            let _ = host.router.handle_timeout(host.now);
            if host.state() == State::Active {
                break;
            }
            let _ = host.receive(Advert::priority(100));
        }
        assert_eq!(
            host.state() == State::Active,
            takes_over,
            "{own_priority} {preempt:?}"
        );
    }
}

#[test]
fn s_29_preempt_mode_is_on_by_default() {
    assert_eq!(config(100).preempt, Preempt::Always);
    assert_eq!(config_v2(100).preempt, Preempt::Always);
    assert_eq!(Preempt::default(), Preempt::Always);
}

#[test]
fn s_30_accept_mode_is_off_by_default_and_counts_in_active_only() {
    assert!(!config(100).accept_mode);
    let mut accepting = config(100);
    accepting.accept_mode = true;
    assert!(!Host::active(config(100)).router.accepts_traffic());
    assert!(Host::active(accepting).router.accepts_traffic());
    assert!(!Host::backup(accepting).router.accepts_traffic());
    assert!(!Host::new(accepting).router.accepts_traffic());
}

#[test]
fn m_08_an_active_accepts_packets_to_the_addresses_as_owner_or_with_accept_mode() {
    assert!(Host::active(config(255)).router.accepts_traffic());
    assert!(Host::active(config_v2(255)).router.accepts_traffic());
    let mut v2 = config_v2(100);
    v2.accept_mode = true;
    assert!(
        !Host::active(v2).router.accepts_traffic(),
        "no such thing in version 2"
    );
}

#[test]
fn m_07_a_backup_accepts_no_packets_to_the_addresses() {
    let mut host = Host::active(config(255));
    let _ = host.receive(Advert::priority(255).from([192, 0, 2, 12]));
    assert_eq!(host.state(), State::Backup);
    assert!(!host.router.accepts_traffic());
}

#[test]
fn s_31_leaving_active_withdraws_before_the_change_is_reported() {
    let to_backup = Host::active(config(100)).receive(Advert::priority(200));
    let to_initialize = Host::active(config(100)).shutdown();
    for actions in [to_backup, to_initialize] {
        let [.., remove, Action::StateChanged(_)] = actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(remove, REMOVE);
    }
}

#[test]
fn s_32_stale_events_are_ignored() {
    let startup = Event::Startup {
        primary_address: address(Family::Ipv4, 99),
    };
    for mut host in [Host::backup(config(100)), Host::active(config(100))] {
        let before = host.router;
        assert_eq!(host.event(startup), []);
        assert_eq!(host.wake_after(ms(1)), [], "before its time");
        assert_eq!(host.router, before);
    }

    // The Active_Down_Timer of the former Backup does not fire in Active, nor the Adver_Timer of a
    // former Active in Backup.
    let mut host = Host::started(config(100));
    let down_timer = host.router.poll_timeout().unwrap();
    let _ = host.fire();
    assert_eq!(list_at(&mut host, down_timer), []);
    let adver_timer = host.router.poll_timeout().unwrap();
    let _ = host.receive(Advert::priority(200));
    assert_eq!(list_at(&mut host, adver_timer), []);
    let _ = host.shutdown();
    assert_eq!(host.shutdown(), []);
    assert_eq!(host.wake_after(ms(1_000_000)), []);
}

fn list_at(host: &mut Host, now: vrrp_fsm::Instant) -> Vec<Action> {
    host.now = now;
    host.wake_after(ms(0))
}

#[test]
fn s_33_preemption_can_be_damped() {
    let mut own = config(200);
    own.preempt = Preempt::AfterDelay(ms(10_000));
    let mut host = Host::started(own);
    let took_over = (1..100).find(|_| {
        host.pass(ms(1000));
        let _ = host.router.handle_timeout(host.now);
        if host.state() == State::Backup {
            let _ = host.receive(Advert::priority(100));
        }
        host.state() == State::Active
    });
    // Ten seconds, and then the down interval from the last advertisement that was accepted.
    assert_eq!(took_over, Some(13));
}

#[test]
fn p_18_the_owner_has_priority_255() {
    assert!(config(255).is_owner());
    assert!(!config(254).is_owner());
    assert_eq!(Host::new(config(255)).startup()[0], advertise(255));
    assert_eq!(Host::started(config(254)).fire()[0], advertise(254));
}

#[test]
fn p_19_the_others_have_1_to_254_and_100_by_default() {
    assert_eq!(Config::new(vrid(), Family::Ipv4).priority.get(), 100);
    assert_eq!(Config::v2(vrid()).priority.get(), 100);
    for priority in [1, 254] {
        assert_eq!(
            Host::active(config(priority))
                .router
                .effective_priority()
                .get(),
            priority
        );
    }
    let refused = vrrp_fsm::VirtualRouter::new(config(0)).unwrap_err();
    assert_eq!(refused.to_string(), "priority 0 is not in 1..=255");
}

#[test]
fn p_20_priority_zero_is_sent_only_by_a_resigning_active() {
    let mut host = Host::active(config(1));
    let _ = host.event(Event::EffectivePriority(Priority::RESIGN));
    assert_eq!(host.router.effective_priority().get(), 1);
    assert_eq!(host.fire(), [advertise(1)]);
    assert_eq!(host.router.counters().priority_zero_sent, 0);
    assert_eq!(host.shutdown()[0], advertise(0));
    let both_forms = 2;
    assert_eq!(host.router.counters().priority_zero_sent, both_forms);
}

#[test]
fn p_30_another_v3_interval_is_noted_and_learned() {
    let mut host = Host::started(config(100));
    let received = Advert::priority(100)
        .every(centis(30))
        .check(&host.router)
        .unwrap();
    assert!(received.mismatches().interval_differs);
    let _ = host.event(Event::Advertisement(received));
    assert_eq!(host.router.active_interval(), centis(30));
    assert_eq!(host.router.counters().interval_errors, 1);

    let mut older = config(100);
    older.profile = Profile::Rfc5798;
    let mut host = Host::started(older);
    let received = Advert::priority(100)
        .every(centis(30))
        .check(&host.router)
        .unwrap();
    assert!(
        !received.mismatches().interval_differs,
        "RFC 5798 has no such check"
    );
    let _ = host.event(Event::Advertisement(received));
    assert_eq!(host.router.active_interval(), centis(30));
    assert_eq!(
        host.router.counters().interval_errors,
        1,
        "RFC 6527 counts it"
    );
}

#[test]
fn p_43_the_advertisements_an_owner_accepts_depend_on_the_profile() {
    let received = Advert::priority(200).check(&Host::active(config(255)).router);
    assert!(received.unwrap().mismatches().owner_conflict);

    let mut older = config(255);
    older.profile = Profile::Rfc5798;
    let discarded = Advert::priority(200).check(&Host::active(older).router);
    assert_eq!(discarded, Err(Discard::Owner));

    let mut v2 = config_v2(255);
    for profile in [Profile::Rfc3768, Profile::Rfc9568] {
        v2.profile = profile;
        let discarded = Advert::priority(200)
            .every(seconds(1))
            .check(&Host::active(v2).router);
        assert_eq!(discarded, Err(Discard::Owner), "{profile}");
    }

    let mut both = config(255);
    both.versions = Versions::Both;
    let host = Host::active(both);
    assert!(Advert::priority(200).check(&host.router).is_ok());
    let v2 = Advert::priority(200).every(seconds(1)).check(&host.router);
    assert_eq!(v2, Err(Discard::Owner));

    assert!(
        !Advert::priority(200)
            .check(&Host::active(config(254)).router)
            .unwrap()
            .mismatches()
            .owner_conflict
    );
}
