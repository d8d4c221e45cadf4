//! The O rows of the state machine: counters, reasons, tracking, run-time changes.

use vrrp_fsm::{Actions, Event, NewActiveReason, Preempt, Reason, ShutdownCause, State};
use vrrp_proto::{
    AuthenticationFault, Counter, Discard, Family, IntervalFault, LengthFault, Priority,
    VersionFault,
};

use crate::host::{
    Advert, Host, INSTALL, address, advertise, announce, centis, config, ms, seconds,
};

#[test]
fn o_05_several_owners_are_noted() {
    let mut host = Host::active(config(255));
    let received = Advert::priority(255).check(&host.router).unwrap();
    assert!(received.mismatches().owner_conflict);
    let _ = host.event(Event::Advertisement(received));
    assert_eq!(host.router.counters().owner_conflicts, 1);
    // Advertisements that the profile discards count as well.
    host.router.count_discard(&Discard::Owner);
    assert_eq!(host.router.counters().owner_conflicts, 2);
}

#[test]
fn o_06_equal_priorities_can_be_seen() {
    let mut host = Host::started(config(100));
    let _ = host.receive(Advert::priority(101));
    assert!(!host.router.active_has_equal_priority());
    let _ = host.receive(Advert::priority(100));
    assert!(host.router.active_has_equal_priority());
    // When two Actives meet, the reason shows the equal priority.
    let _ = host.fire();
    let _ = host.receive(Advert::priority(100));
    assert_eq!(host.router.last_reason(), Some(Reason::GreaterAddress));
}

#[test]
fn o_17_each_event_moves_its_counter() {
    let mut host = Host::started(config(100));
    let _ = host.receive(Advert::priority(200));
    let _ = host.receive(Advert::priority(200).every(centis(50)));
    let _ = host.receive(Advert::priority(0));
    let counters = host.router.counters();
    assert_eq!(counters.advertisements_received, 3);
    assert_eq!(counters.interval_errors, 1);
    assert_eq!(counters.priority_zero_received, 1);
    assert_eq!(counters.active_transitions, 0);

    let _ = host.fire();
    let _ = host.fire();
    let _ = host.shutdown();
    let counters = host.router.counters();
    assert_eq!(counters.active_transitions, 1);
    assert_eq!(counters.advertisements_sent, 6, "each in both forms");
    assert_eq!(counters.priority_zero_sent, 2);
}

#[test]
fn o_17_each_discard_moves_its_counter_alone() {
    let source = address(Family::Ipv4, 20);
    let read = [
        (
            Discard::IpTtl {
                found: 254,
                required: 255,
            },
            Some(Counter::IpTtl),
        ),
        (
            Discard::InvalidType { found: 2 },
            Some(Counter::InvalidType),
        ),
        (
            Discard::PacketLength(LengthFault::TooShort { found: 7 }),
            Some(Counter::PacketLength),
        ),
        (
            Discard::Interval(IntervalFault::Differs {
                found: seconds(2),
                configured: seconds(1),
            }),
            Some(Counter::Interval),
        ),
        (
            Discard::Authentication(AuthenticationFault::Password),
            Some(Counter::Authentication),
        ),
        (
            Discard::AddressList(vrrp_proto::AddressListFault::Differs {
                found: 1,
                configured: 2,
            }),
            Some(Counter::AddressList),
        ),
        (
            Discard::Version(VersionFault::Unknown { found: 4 }),
            Some(Counter::Version),
        ),
        (
            Discard::OwnPacket {
                source_address: source,
            },
            None,
        ),
        (Discard::Owner, None),
        (Discard::Peer { found: source }, None),
        (Discard::Destination { found: source }, None),
    ];
    for (discard, counter) in read {
        assert_eq!(discard.counter(), counter);
        let mut host = Host::backup(config(100));
        let before = *host.router.counters();
        host.router.count_discard(&discard);
        let mut expected = before;
        match (counter, discard) {
            (Some(Counter::IpTtl), _) => expected.ip_ttl_errors += 1,
            (Some(Counter::InvalidType), _) => expected.invalid_type_received += 1,
            (Some(Counter::PacketLength), _) => expected.packet_length_errors += 1,
            (Some(Counter::Interval), _) => expected.interval_errors += 1,
            (Some(Counter::Authentication), _) => expected.authentication_errors += 1,
            (Some(Counter::AddressList), _) => expected.address_list_errors += 1,
            (None, Discard::OwnPacket { .. }) => expected.own_packets += 1,
            (None, Discard::Owner) => expected.owner_conflicts += 1,
            _ => expected.other_discards += 1,
        }
        assert_eq!(*host.router.counters(), expected, "{discard}");
    }
}

#[test]
fn o_20_the_hold_time_of_the_yang_model_is_the_preempt_delay() {
    let mut own = config(200);
    own.preempt = Preempt::AfterDelay(ms(3000));
    let mut host = Host::started(own);
    host.pass(ms(2500));
    let _ = host.receive(Advert::priority(100));
    assert_eq!(host.remaining(), host.router.active_down_interval(), "held");
    host.pass(ms(500));
    let due = host.router.poll_timeout();
    let _ = host.receive(Advert::priority(100));
    assert_eq!(host.router.poll_timeout(), due, "the hold is over");
}

#[test]
fn o_21_tracking_lowers_the_priority_and_restores_it() {
    let mut host = Host::active(config(100));
    host.pass(ms(300));
    assert_eq!(
        host.event(Event::EffectivePriority(Priority::new(90))),
        [advertise(90)]
    );
    assert_eq!(host.remaining(), ms(700), "the timer runs on");
    assert_eq!(host.event(Event::EffectivePriority(Priority::new(90))), []);
    assert_eq!(host.fire(), [advertise(90)]);
    let _ = host.receive(Advert::priority(95));
    assert_eq!(host.state(), State::Backup, "95 is higher now");
    assert_eq!(host.event(Event::EffectivePriority(Priority::new(100))), []);
    assert_eq!(host.router.config().priority, Priority::DEFAULT);
    assert_eq!(host.router.effective_priority(), Priority::DEFAULT);
}

#[test]
fn o_21_the_effective_priority_stays_between_1_and_254() {
    for (wanted, held) in [(0, 1), (1, 1), (254, 254), (255, 254)] {
        let mut host = Host::backup(config(100));
        let _ = host.event(Event::EffectivePriority(Priority::new(wanted)));
        assert_eq!(host.router.effective_priority().get(), held);
    }
    let mut owner = Host::active(config(255));
    assert_eq!(
        owner.event(Event::EffectivePriority(Priority::new(100))),
        []
    );
    assert_eq!(owner.router.effective_priority(), Priority::OWNER);
}

#[test]
fn o_21_tracking_counts_before_startup_too() {
    let mut host = Host::new(config(100));
    assert_eq!(host.event(Event::EffectivePriority(Priority::new(50))), []);
    let _ = host.startup();
    assert_eq!(host.fire()[0], advertise(50));
}

#[test]
fn o_22_reasons_have_the_words_of_the_models() {
    let mut host = Host::new(config(100));
    assert_eq!(host.router.last_reason(), None);
    assert_eq!(host.router.new_active_reason(), NewActiveReason::NotActive);
    assert_eq!(host.router.new_active_reason().name(), "not-master");
    assert_eq!(host.router.new_active_reason().to_string(), "not-master");

    let expect = |host: &Host, reason: Reason, event: &str, why: NewActiveReason| {
        assert_eq!(host.router.last_reason(), Some(reason));
        assert_eq!(reason.last_event(), event);
        assert_eq!(host.router.new_active_reason(), why, "{reason}");
    };
    let _ = host.startup();
    expect(
        &host,
        Reason::Startup,
        "vrrp-event-startup",
        NewActiveReason::NotActive,
    );
    let _ = host.fire();
    expect(
        &host,
        Reason::ActiveDown,
        "vrrp-event-master-timeout",
        NewActiveReason::NoResponse,
    );
    let _ = host.receive(Advert::priority(200));
    expect(
        &host,
        Reason::HigherPriority,
        "vrrp-event-higher-priority-backup",
        NewActiveReason::NoResponse,
    );
    let _ = host.receive(Advert::priority(0));
    let _ = host.fire();
    expect(
        &host,
        Reason::ActiveResigned,
        "vrrp-event-master-timeout",
        NewActiveReason::Priority,
    );
    let _ = host.receive(Advert::priority(200));
    let _ = host.receive(Advert::priority(50));
    let _ = host.fire();
    expect(
        &host,
        Reason::LowerPriorityActive,
        "vrrp-event-lower-priority-master",
        NewActiveReason::Preempted,
    );
    let _ = host.receive(Advert::priority(100));
    expect(
        &host,
        Reason::GreaterAddress,
        "vrrp-event-higher-priority-backup",
        NewActiveReason::Preempted,
    );
    let _ = host.event(Event::Shutdown(ShutdownCause::Fault));
    let fault = Reason::Shutdown(ShutdownCause::Fault);
    expect(
        &host,
        fault,
        "vrrp-event-interface-down",
        NewActiveReason::Preempted,
    );
}

#[test]
fn o_22_a_reason_is_that_of_the_last_timer() {
    // An advertisement from before the last accepted Active no longer counts.
    let mut host = Host::backup(config(100));
    let _ = host.receive(Advert::priority(50));
    let _ = host.receive(Advert::priority(100));
    let _ = host.fire();
    assert_eq!(host.router.last_reason(), Some(Reason::ActiveDown));
}

#[test]
fn o_22_reasons_that_are_rare_have_the_words_of_the_models() {
    for (reason, event, why) in [
        (
            Reason::OwnerStartup,
            "vrrp-event-startup",
            Some(NewActiveReason::Priority),
        ),
        (
            Reason::PreemptHoldTimeout,
            "vrrp-event-preempt-hold-timeout",
            Some(NewActiveReason::Preempted),
        ),
        (
            Reason::OwnerPreempt,
            "vrrp-event-owner-preempt",
            Some(NewActiveReason::Preempted),
        ),
        (Reason::Stall, "vrrp-event-none", None),
        (
            Reason::Shutdown(ShutdownCause::Administrative),
            "vrrp-event-shutdown",
            None,
        ),
        (
            Reason::Shutdown(ShutdownCause::Group),
            "vrrp-event-shutdown",
            None,
        ),
    ] {
        assert_eq!(
            (reason.last_event(), reason.new_active_reason()),
            (event, why)
        );
    }
}

#[test]
fn o_23_a_new_active_is_reported_with_its_address_and_reason() {
    let mut host = Host::backup(config(100));
    let transition = host.fire().into_iter().find_map(|action| match action {
        vrrp_fsm::Action::StateChanged(transition) => Some(transition),
        _ => None,
    });
    let transition = transition.unwrap();
    assert_eq!(transition.to, State::Active);
    assert_eq!(
        transition.reason.new_active_reason(),
        Some(NewActiveReason::NoResponse)
    );
    let active = host.router.active().unwrap();
    assert_eq!(active.address, address(Family::Ipv4, 11));
    assert_eq!(active.priority.get(), 100);
    let _ = host.shutdown();
    assert_eq!(host.router.active(), None);
}

#[test]
fn o_26_other_addresses_are_advertised_installed_and_announced() {
    let mut host = Host::active(config(100));
    host.pass(ms(300));
    assert_eq!(
        host.event(Event::AddressesChanged),
        [advertise(100), INSTALL, announce(5)]
    );
    assert_eq!(host.state(), State::Active);
    assert_eq!(host.remaining(), ms(700));
    let mut host = Host::backup(config(100));
    let before = host.router;
    assert_eq!(host.event(Event::AddressesChanged), []);
    assert_eq!(host.router, before);
}

#[test]
fn the_actions_of_two_routers_are_equal_where_both_have_to_do_the_same() {
    let served = |config| {
        let mut host = Host::backup(config);
        let at = host.router.poll_timeout().unwrap();
        host.router.handle_timeout(at)
    };
    assert_eq!(served(config(100)), served(config(100)));
    assert_ne!(served(config(100)), served(config(101)), "the priority");
    assert_ne!(served(config(100)), Actions::default());
}
