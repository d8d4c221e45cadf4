//! Decisions on the ambiguities that concern the machine and are not tested in the other files.

use core::net::IpAddr;

use vrrp_fsm::{Action, Event, Profile, State};
use vrrp_proto::{Discard, Family, Priority};

use crate::host::{Advert, Host, address, advertise, centis, config, ms};

fn answers(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::SendAdvertisement(_)))
}

#[test]
fn amb_02_the_profile_decides_what_an_owner_accepts() {
    let mut host = Host::active(config(255));
    assert!(Advert::priority(100).check(&host.router).is_ok());
    let mut own = config(255);
    own.profile = Profile::Rfc5798;
    host = Host::active(own);
    assert_eq!(
        Advert::priority(100).check(&host.router),
        Err(Discard::Owner)
    );
}

#[test]
fn amb_05_another_interval_is_learned_and_noted() {
    let host = Host::started(config(100));
    let received = Advert::priority(100)
        .every(centis(1))
        .check(&host.router)
        .unwrap();
    assert!(received.mismatches().interval_differs);
    assert_eq!(received.interval(), centis(1));
    assert_eq!(received.source(), address(Family::Ipv4, 20));
    assert_eq!(received.priority().get(), 100);
}

#[test]
fn amb_11_the_division_is_in_nanoseconds_and_rounds_down() {
    let mut own = config(255);
    own.interval = centis(1);
    assert_eq!(Host::new(own).router.skew_time().as_nanos(), 39_062);
}

#[test]
fn amb_12_nothing_is_learned_from_a_resignation() {
    let mut host = Host::backup(config(100));
    let before = host.router.active();
    let _ = host.receive(Advert::priority(0).every(centis(7)).from([192, 0, 2, 99]));
    assert_eq!(host.router.active_interval(), centis(100));
    assert_eq!(host.router.active(), before);
    assert_eq!(
        host.remaining().as_nanos(),
        609_375_000,
        "skew of the stored interval"
    );
}

#[test]
fn amb_13_answers_are_ten_milliseconds_apart() {
    let mut host = Host::active(config(100));
    let timer = host.router.poll_timeout();
    assert!(answers(&host.receive(Advert::priority(99))));
    host.pass(ms(9));
    assert!(!answers(&host.receive(Advert::priority(99))));
    assert!(!answers(
        &host.receive(Advert::priority(98).from([192, 0, 2, 30]))
    ));
    host.pass(ms(1));
    assert!(answers(&host.receive(Advert::priority(99))));
    let burst = ms(500);
    assert_eq!(host.remaining(), burst);
    let _ = host.fire();
    assert_eq!(host.router.poll_timeout(), timer, "Adver_Timer untouched");
}

#[test]
fn amb_13_two_actives_that_both_believe_to_win_do_not_answer_at_wire_speed() {
    // Each takes the other's address for the lower one.
    let mut one = Host::active(config(100));
    let mut other = Host::active(config(100));
    let start = one.now;
    let mut sent = 0;
    let mut to_other = true;
    while one.now - start < ms(1000) {
        one.pass(core::time::Duration::from_micros(50));
        other.now = one.now;
        let hearer = if to_other { &mut other } else { &mut one };
        if answers(&hearer.receive(Advert::priority(100).from([192, 0, 2, 5]))) {
            sent += 1;
        }
        to_other = !to_other;
    }
    assert!(sent <= 2 * 101, "{sent} in a second");
}

#[test]
fn amb_14_an_own_packet_is_dropped() {
    let mut host = Host::active(config(100));
    let own = address(Family::Ipv4, 11);
    let discard = Advert::priority(100)
        .from(own)
        .check(&host.router)
        .unwrap_err();
    assert_eq!(
        discard,
        Discard::OwnPacket {
            source_address: own
        }
    );
    host.router.count_discard(&discard);
    assert_eq!(host.router.counters().own_packets, 1);
    assert_eq!(host.router.counters().advertisements_received, 0);
}

#[test]
fn amb_15_another_primary_address_is_advertised_from_and_moves_no_timer() {
    let mut host = Host::active(config(100));
    host.pass(ms(300));
    let new: IpAddr = address(Family::Ipv4, 250);
    assert_eq!(host.event(Event::PrimaryAddress(new)), [advertise(100)]);
    assert_eq!(host.remaining(), ms(700));
    assert_eq!(host.event(Event::PrimaryAddress(new)), []);
    // The new address decides the tie.
    let _ = host.receive(Advert::priority(100).from([192, 0, 2, 200]));
    assert_eq!(host.state(), State::Active);

    let mut backup = Host::backup(config(100));
    let timer = backup.router.poll_timeout();
    assert_eq!(backup.event(Event::PrimaryAddress(new)), []);
    assert_eq!(backup.router.poll_timeout(), timer);
    assert_eq!(backup.router.primary_address(), new);
}

#[test]
fn amb_21_another_priority_counts_from_the_next_time_that_the_timer_is_set() {
    let mut host = Host::backup(config(100));
    let _ = host.receive(Advert::priority(0));
    let short = host.router.poll_timeout();
    // keepalived stretches the short timer here.
    let _ = host.event(Event::EffectivePriority(Priority::new(1)));
    assert_eq!(host.router.poll_timeout(), short);
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.remaining().as_nanos(), 3_996_093_750);
}

#[test]
fn amb_22_accept_mode_is_off_unless_asked_for() {
    assert!(!config(100).accept_mode);
    assert!(!Host::active(config(100)).router.accepts_traffic());
}

#[test]
fn amb_23_a_resignation_counts_from_any_source() {
    let mut host = Host::backup(config(100));
    host.pass(ms(100));
    let _ = host.receive(Advert::priority(0).from([192, 0, 2, 222]));
    assert_eq!(host.remaining(), host.router.skew_time());
}

#[test]
fn amb_25_the_owner_is_the_router_with_priority_255() {
    assert_eq!(Host::started(config(255)).state(), State::Active);
    assert_eq!(Host::started(config(254)).state(), State::Backup);
}

#[test]
fn amb_27_the_other_version_is_discarded() {
    let host = Host::backup(config(100));
    let v2 = Advert::priority(0)
        .every(crate::host::seconds(1))
        .check(&host.router);
    assert!(matches!(v2, Err(Discard::Version(_))), "{v2:?}");
}

#[test]
fn amb_28_a_v2_interval_is_rounded_up_to_whole_seconds() {
    for (cs, s) in [(1, 1), (99, 1), (100, 1), (101, 2), (4095, 41)] {
        let mut own = config(100);
        own.versions = vrrp_proto::Versions::Both;
        own.interval = centis(cs);
        let host = Host::started(own);
        assert!(
            Advert::priority(100)
                .every(crate::host::seconds(s))
                .check(&host.router)
                .is_ok(),
            "{cs} cs"
        );
        let other = Advert::priority(100)
            .every(crate::host::seconds(s + 1))
            .check(&host.router);
        assert!(matches!(other, Err(Discard::Interval(_))), "{cs} cs");
    }
}

#[test]
fn amb_34_three_advertisements_may_be_missed_by_default() {
    assert_eq!(config(100).missed_advertisements, 3);
}
