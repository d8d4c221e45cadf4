//! Defects of other implementations, each with a test. The numbers are those of the list in the
//! project's documentation.

use core::net::IpAddr;

use vrrp_fsm::{Action, Event, Instant, Reason, State, VirtualRouter};
use vrrp_proto::Interval;

use crate::host::{Advert, Host, advertise, announce, centis, config, config_v2, ms, seconds};

fn router_at(interval: Interval, priority: u8) -> VirtualRouter {
    let mut own = match interval.version() {
        vrrp_proto::Version::V2 => config_v2(priority),
        vrrp_proto::Version::V3 => config(priority),
    };
    own.interval = interval;
    VirtualRouter::new(own).unwrap()
}

#[test]
fn peer_defect_01_skew_is_never_truncated_to_nothing() {
    for priority in 1..=255 {
        for interval in [centis(1), centis(10), centis(100), seconds(1)] {
            assert!(!router_at(interval, priority).skew_time().is_zero());
        }
    }
}

#[test]
fn peer_defect_02_centiseconds_are_not_seconds() {
    let mut host = Host::active(config(100));
    assert_eq!(host.remaining(), ms(1000), "100 cs");
    assert_eq!(host.fire(), [advertise(100)]);
}

#[test]
fn peer_defect_09_of_two_addresses_exactly_one_is_greater() {
    let addresses: [[u8; 4]; 6] = [
        [10, 0, 0, 9],
        [10, 0, 9, 1],
        [10, 9, 0, 1],
        [9, 10, 0, 1],
        [10, 0, 0, 10],
        [200, 0, 0, 1],
    ];
    let yields = |own: [u8; 4], other: [u8; 4]| {
        let mut host = Host::active(config(100));
        let _ = host.event(Event::PrimaryAddress(IpAddr::from(own)));
        let _ = host.receive(Advert::priority(100).from(other));
        host.state() == State::Backup
    };
    for one in addresses {
        for other in addresses {
            if one != other {
                assert_ne!(yields(one, other), yields(other, one), "{one:?} {other:?}");
            }
        }
    }
}

#[test]
fn peer_defect_10_detection_takes_one_down_interval_wherever_the_silence_starts() {
    for received_after in [1, 500, 999, 1500, 3000] {
        let mut host = Host::backup(config(100));
        host.pass(ms(received_after));
        let _ = host.receive(Advert::priority(200));
        let silent_since = host.now;
        let _ = host.fire();
        assert_eq!(host.state(), State::Active);
        assert_eq!(
            host.now - silent_since,
            ms(3609) + core::time::Duration::from_micros(375)
        );
    }
}

#[test]
fn peer_defect_11_the_formulas_do_not_overflow_and_startup_counts_in_initialize_only() {
    for priority in [1, 254, 255] {
        for interval in [centis(4095), seconds(255)] {
            let router = router_at(interval, priority);
            let down = router.active_down_interval();
            assert_eq!(down, interval.as_duration() * 3 + router.skew_time());
        }
    }
    let mut host = Host::backup(config(100));
    assert_eq!(host.startup(), []);
    assert_eq!(host.state(), State::Backup);
}

#[test]
fn peer_defect_12_v2_has_a_skew() {
    let skew = |priority| router_at(seconds(1), priority).skew_time();
    assert_eq!(skew(100).as_nanos(), 609_375_000);
    assert!(skew(100) > skew(101));
}

#[test]
fn peer_defect_13_high_priorities_at_short_intervals_keep_their_order() {
    let skew = |priority| router_at(centis(10), priority).skew_time();
    for priority in 231..255 {
        assert!(skew(priority) > skew(priority + 1));
    }
}

#[test]
fn peer_defect_16_equal_priority_from_a_lower_address_keeps_a_backup_quiet() {
    let mut host = Host::started(config(100));
    host.pass(ms(3000));
    let _ = host.receive(Advert::priority(100).from([192, 0, 2, 1]));
    assert_eq!(host.remaining(), host.router.active_down_interval());
    // And a resignation in Active is answered, not ignored.
    let _ = host.fire();
    assert_eq!(host.receive(Advert::priority(0))[0], advertise(100));
}

#[test]
fn peer_defect_17_only_the_given_time_counts() {
    // The same steps on two clocks that lie years apart, and one that jumps back.
    let run = |start: u64| {
        let mut host = Host::new(config(100));
        host.now = Instant::from_nanos(start);
        let mut all = host.startup();
        all.extend(host.fire());
        all.extend(host.fire());
        all.extend(host.receive(Advert::priority(200)));
        all
    };
    assert_eq!(run(1), run(400_000_000_000_000_000));

    let mut host = Host::backup(config(100));
    let timer = host.router.poll_timeout();
    host.now = Instant::ZERO;
    assert_eq!(host.wake_after(ms(0)), []);
    assert_eq!(host.router.poll_timeout(), timer);
}

#[test]
fn peer_defect_18_a_dual_active_phase_ends_in_an_announcement() {
    // The network was cut, and both were Active: the first advertisement of the other shows it.
    let mut host = Host::active(config(200));
    for _ in 0..60 {
        let _ = host.fire();
    }
    assert!(host.receive(Advert::priority(100)).contains(&announce(5)));
    let again = core::iter::repeat_with(|| host.fire()).take(7);
    let announced = again
        .flatten()
        .filter(|action| matches!(action, Action::Announce { .. }));
    assert_eq!(
        announced.count(),
        2,
        "half a second later, and the second burst"
    );

    // An Active that was silent for too long also announces, if no router took over.
    let mut stalled = Host::active(config(200));
    assert!(stalled.wake_after(ms(60_000)).contains(&announce(5)));

    // The loser yields, and announces when it takes over again.
    let mut loser = Host::active(config(100));
    let _ = loser.receive(Advert::priority(200));
    let actions = loser.fire();
    assert!(actions.contains(&announce(5)));
    assert_eq!(loser.router.last_reason(), Some(Reason::ActiveDown));
}

#[test]
fn peer_defect_18_the_winner_announces_whichever_is_received_first() {
    let mut winner = Host::active(config(200));
    let mut loser = Host::active(config(100));
    for _ in 0..60 {
        let _ = (winner.fire(), loser.fire());
    }
    // The winner's advertisement is the first that crosses. The loser's last advertisement makes
    // the winner announce.
    let parting = loser.receive(Advert::priority(200));
    assert_eq!(parting[0], advertise(100));
    let answer = winner.receive(Advert::priority(100));
    assert_eq!(answer, [advertise(200), announce(5)]);
}
