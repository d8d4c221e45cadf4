//! The announcement schedule.

use core::time::Duration;

use vrrp_fsm::{Action, Config, Event, State};

use crate::host::{Advert, Host, INSTALL, advertise, announce, centis, config, ms};

/// A configuration with a long interval, which separates the announcements from the advertisements.
fn quiet(priority: u8) -> Config {
    let mut own = config(priority);
    own.interval = centis(4095);
    own
}

/// Every announcement in this time, with the time since `host.now` at the call.
fn announcements(host: &mut Host, time: Duration) -> Vec<(u64, u8)> {
    let start = host.now;
    let mut all = Vec::new();
    while let Some(due) = host
        .router
        .poll_timeout()
        .filter(|due| *due <= start + time)
    {
        host.now = due;
        for action in host.wake_after(ms(0)) {
            if let Action::Announce { repeat } = action {
                let since = (due - start).as_millis();
                all.push((u64::try_from(since).unwrap(), repeat));
            }
        }
        assert!(
            host.router.poll_timeout() > Some(due),
            "served, and due still"
        );
    }
    host.now = start + time;
    all
}

#[test]
fn a_takeover_announces_five_times_and_again_after_five_seconds() {
    let mut host = Host::backup(config(100));
    assert_eq!(host.fire()[2], announce(5));
    assert_eq!(announcements(&mut host, ms(100_000)), [(5000, 5)]);
}

#[test]
fn all_numbers_can_be_set() {
    let mut own = quiet(100);
    own.announce.repeat = 2;
    own.announce.second_burst_after = Some(ms(300));
    own.announce.refresh = Some(ms(1000));
    own.announce.refresh_repeat = 3;
    own.announce.rival_repeat = 4;
    own.announce.rival_second_burst_after = Some(ms(700));
    own.announce.after_last_rival = ms(450);
    let mut host = Host::backup(own);
    assert_eq!(host.fire()[2], announce(2));
    assert_eq!(
        announcements(&mut host, ms(3100)),
        [(300, 2), (1000, 3), (2000, 3), (3000, 3)]
    );
    assert_eq!(host.receive(Advert::priority(1))[1], announce(4));
    assert_eq!(
        announcements(&mut host, ms(1000)),
        [(450, 4), (700, 4), (900, 3)]
    );
}

#[test]
fn nothing_more_than_the_first_burst_is_needed() {
    let mut own = config(100);
    own.announce.second_burst_after = None;
    own.announce.rival_repeat = 0;
    let mut host = Host::active(own);
    assert_eq!(announcements(&mut host, ms(50_000)), []);
    assert_eq!(host.receive(Advert::priority(1)), [advertise(100)]);
    assert_eq!(host.receive(Advert::priority(0)), [advertise(100)]);
    assert_eq!(announcements(&mut host, ms(50_000)), []);
}

#[test]
fn a_refresh_does_not_drift_and_does_not_catch_up() {
    let mut own = quiet(100);
    own.announce.second_burst_after = None;
    own.announce.refresh = Some(ms(1000));
    let mut host = Host::active(own);
    assert_eq!(host.wake_after(ms(1400)), [announce(1)]);
    assert_eq!(host.remaining(), ms(600));
    assert_eq!(host.wake_after(ms(3600)), [announce(1)]);
    assert_eq!(host.remaining(), ms(1000));
}

#[test]
fn announcements_due_together_are_one() {
    let mut own = quiet(100);
    own.announce.refresh = Some(ms(5000));
    let mut host = Host::active(own);
    assert_eq!(announcements(&mut host, ms(5000)), [(5000, 5)]);
}

#[test]
fn an_advertisement_and_an_announcement_due_together_come_in_this_order() {
    let mut host = Host::active(config(100));
    for _ in 0..4 {
        assert_eq!(host.fire(), [advertise(100)]);
    }
    assert_eq!(host.fire(), [advertise(100), announce(5)]);
}

#[test]
fn a_rival_is_followed_by_a_burst_and_a_second_one() {
    let mut host = Host::active(quiet(100));
    let _ = announcements(&mut host, ms(20_000));
    assert_eq!(
        host.receive(Advert::priority(99)),
        [advertise(100), announce(5)]
    );
    let later = announcements(&mut host, ms(50_000));
    assert_eq!(later, [(500, 5), (5000, 5)]);
}

#[test]
fn a_rival_right_after_the_takeover_is_not_left_to_the_second_burst() {
    let mut host = Host::active(quiet(100));
    host.pass(ms(1000));
    assert_eq!(host.receive(Advert::priority(99))[1], announce(5));
    let later = announcements(&mut host, ms(50_000));
    assert_eq!(later, [(500, 5), (4000, 5)]);
}

#[test]
fn a_rival_does_not_make_a_pending_burst_smaller() {
    let mut own = quiet(100);
    own.announce.repeat = 9;
    own.announce.rival_repeat = 2;
    let mut host = Host::active(own);
    host.pass(ms(1000));
    assert_eq!(host.receive(Advert::priority(99))[1], announce(2));
    let later = announcements(&mut host, ms(20_000));
    assert_eq!(later, [(500, 2), (4000, 9)]);
}

#[test]
fn a_rival_that_goes_on_causes_no_storm() {
    let mut host = Host::active(quiet(100));
    let start = host.now;
    let mut bursts = 0;
    while host.now - start < ms(60_000) {
        host.pass(ms(10));
        bursts += announcements(&mut host, ms(0)).len();
        let received = host.receive(Advert::priority(99));
        bursts += received
            .iter()
            .filter(|action| matches!(action, Action::Announce { .. }))
            .count();
    }
    // Bursts at once and 5 s later. The burst after the last advertisement does not come while
    // advertisements continue.
    assert!((12..=25).contains(&bursts), "{bursts}");
}

#[test]
fn the_last_advertisement_of_a_rival_is_always_followed_by_an_announcement() {
    for second in [Some(ms(5000)), Some(ms(40)), None] {
        for received in 1..40_u64 {
            let mut own = quiet(100);
            own.announce.rival_second_burst_after = second;
            own.announce.second_burst_after = None;
            let mut host = Host::active(own);
            let mut announced = false;
            for _ in 0..received {
                let _ = announcements(&mut host, ms(293));
                announced = host.receive(Advert::priority(99)).contains(&announce(5));
            }
            announced |= !announcements(&mut host, ms(5000)).is_empty();
            assert!(announced, "{second:?}, {received} advertisements");
        }
    }
}

#[test]
fn without_a_second_burst_a_rival_causes_one_burst_and_one_after_its_last_advertisement() {
    let mut own = quiet(100);
    own.announce.second_burst_after = None;
    own.announce.rival_second_burst_after = None;
    for is_received_again in [false, true] {
        let mut host = Host::active(own);
        let _ = announcements(&mut host, ms(20_000));
        assert!(host.receive(Advert::priority(99)).contains(&announce(5)));
        if is_received_again {
            host.pass(ms(100));
            assert!(!host.receive(Advert::priority(99)).contains(&announce(5)));
        }
        assert_eq!(announcements(&mut host, ms(50_000)), [(500, 5)]);
    }
}

#[test]
fn the_resignation_of_a_rival_is_followed_by_a_burst() {
    let mut host = Host::active(quiet(100));
    let _ = announcements(&mut host, ms(20_000));
    assert_eq!(
        host.receive(Advert::priority(0)),
        [advertise(100), announce(5)]
    );
    let later = announcements(&mut host, ms(20_000));
    assert_eq!(later, [(500, 5), (5000, 5)]);
}

#[test]
fn pending_work_ends_with_the_state() {
    let mut host = Host::active(quiet(100));
    let _ = host.receive(Advert::priority(200).every(centis(4095)));
    assert_eq!(announcements(&mut host, ms(20_000)), []);
    assert_eq!(host.state(), State::Backup);
    let mut host = Host::active(quiet(100));
    let _ = host.shutdown();
    assert_eq!(announcements(&mut host, ms(50_000)), []);
}

#[test]
fn the_host_can_ask_for_an_announcement() {
    let mut host = Host::active(quiet(100));
    let _ = announcements(&mut host, ms(20_000));
    let due = host.router.poll_timeout();
    assert_eq!(host.event(Event::Reannounce), [announce(5)]);
    assert_eq!(announcements(&mut host, ms(10_000)), [(5000, 5)]);
    assert_eq!(
        host.event(Event::AddressesChanged),
        [advertise(100), INSTALL, announce(5)]
    );
    assert_eq!(announcements(&mut host, ms(10_000)), [(5000, 5)]);
    assert_eq!(host.router.poll_timeout(), due, "the Adver_Timer ran on");
}

/// However the rival disappeared, and however often it advertised: its announcement may be the last
/// one that the neighbours received.
#[test]
fn half_a_second_after_the_last_advertisement_of_a_rival_a_burst_follows() {
    for gap in [ms(1), ms(10), ms(293), ms(499), ms(501), ms(1000), ms(4999)] {
        for received in 1..30_u32 {
            for last in [99, 0] {
                let mut host = Host::active(quiet(100));
                let start = host.now;
                let mut bursts = 0;
                for number in 1..=received {
                    bursts += announcements(&mut host, gap).len();
                    let priority = if number == received { last } else { 99 };
                    let actions = host.receive(Advert::priority(priority));
                    bursts += usize::from(actions.contains(&announce(5)));
                }
                let dual = host.now - start;
                let after = announcements(&mut host, ms(1000));
                assert!(after.contains(&(500, 5)), "{gap:?} {received}: {after:?}");
                // At once, after half a second, and after five.
                let most = 3 * (1 + dual.as_millis() / 500);
                assert!(
                    u128::try_from(bursts).unwrap() <= most,
                    "{gap:?} {received}: {bursts}"
                );
            }
        }
    }
}

#[test]
fn a_burst_follows_a_stall_half_a_second_later() {
    let mut host = Host::active(quiet(100));
    assert!(host.wake_after(ms(300_000)).contains(&announce(5)));
    let later = announcements(&mut host, ms(20_000));
    assert_eq!(later, [(500, 5), (5000, 5)]);
}

#[test]
fn the_burst_after_the_last_rival_goes_with_the_state_and_with_its_settings() {
    let mut host = Host::active(quiet(100));
    let _ = host.receive(Advert::priority(99));
    let _ = host.receive(Advert::priority(200).every(centis(4095)));
    assert_eq!(announcements(&mut host, ms(20_000)), []);

    let mut own = quiet(100);
    own.announce.rival_repeat = 0;
    own.announce.second_burst_after = None;
    let mut host = Host::active(own);
    assert_eq!(host.receive(Advert::priority(99)), [advertise(100)]);
    assert_eq!(announcements(&mut host, ms(20_000)), []);
}
