//! Rows T-01 to T-16, and the golden values of section 6.

use core::time::Duration;

use vrrp_fsm::{Config, ConfigError, Event, Instant, VirtualRouter};
use vrrp_proto::{Family, Interval, Priority, Version, Versions};

use crate::host::{Advert, Host, advertise, centis, config, config_v2, ms, seconds, vrid};

/// Interval, priority, Skew_Time and Active_Down_Interval in nanoseconds: section 6 of the
/// conformance list.
fn golden() -> Vec<(Interval, u8, u64, u64)> {
    let v3 = |cs, priority, skew, down| (centis(cs), priority, skew, down);
    let v2 = |s, priority, skew, down| (seconds(s), priority, skew, down);
    vec![
        v3(100, 1, 996_093_750, 3_996_093_750),
        v3(100, 100, 609_375_000, 3_609_375_000),
        v3(100, 101, 605_468_750, 3_605_468_750),
        v3(100, 150, 414_062_500, 3_414_062_500),
        v3(100, 200, 218_750_000, 3_218_750_000),
        v3(100, 254, 7_812_500, 3_007_812_500),
        v3(100, 255, 3_906_250, 3_003_906_250),
        v3(10, 100, 60_937_500, 360_937_500),
        v3(10, 254, 781_250, 300_781_250),
        v3(1, 100, 6_093_750, 36_093_750),
        v3(1, 255, 39_062, 30_039_062),
        v3(1000, 100, 6_093_750_000, 36_093_750_000),
        v3(4095, 1, 40_790_039_062, 163_640_039_062),
        v3(4095, 255, 159_960_937, 123_009_960_937),
        v2(1, 1, 996_093_750, 3_996_093_750),
        v2(1, 100, 609_375_000, 3_609_375_000),
        v2(1, 254, 7_812_500, 3_007_812_500),
        v2(1, 255, 3_906_250, 3_003_906_250),
        v2(10, 1, 996_093_750, 30_996_093_750),
        v2(10, 100, 609_375_000, 30_609_375_000),
        v2(10, 254, 7_812_500, 30_007_812_500),
        v2(10, 255, 3_906_250, 30_003_906_250),
        v2(255, 1, 996_093_750, 765_996_093_750),
        v2(255, 100, 609_375_000, 765_609_375_000),
        v2(255, 254, 7_812_500, 765_007_812_500),
        v2(255, 255, 3_906_250, 765_003_906_250),
    ]
}

fn config_at(interval: Interval, priority: u8) -> Config {
    let mut own = match interval.version() {
        Version::V2 => config_v2(priority),
        Version::V3 => config(priority),
    };
    own.interval = interval;
    own
}

fn router_at(interval: Interval, priority: u8) -> VirtualRouter {
    VirtualRouter::new(config_at(interval, priority)).unwrap()
}

#[test]
fn t_16_golden_values() {
    for (interval, priority, skew, down) in golden() {
        let router = router_at(interval, priority);
        assert_eq!(
            router.skew_time(),
            Duration::from_nanos(skew),
            "{interval} {priority}"
        );
        assert_eq!(
            router.active_down_interval(),
            Duration::from_nanos(down),
            "{interval} {priority}"
        );
        // The getters return the values that the timer uses.
        if priority != 255 {
            let host = Host::started(config_at(interval, priority));
            assert_eq!(
                host.remaining(),
                Duration::from_nanos(down),
                "{interval} {priority}"
            );
        }
    }
}

#[test]
fn t_01_a_v2_interval_is_in_seconds_and_one_by_default() {
    assert_eq!(Config::v2(vrid()).interval, seconds(1));
    let mut wrong = config_v2(100);
    wrong.interval = centis(100);
    assert!(matches!(
        VirtualRouter::new(wrong),
        Err(ConfigError::IntervalUnit { .. })
    ));
    assert_eq!(
        Host::active(config_at(seconds(3), 100)).remaining(),
        ms(3000)
    );
}

#[test]
fn t_02_a_v3_interval_is_in_centiseconds_and_100_by_default() {
    assert_eq!(config(100).interval, centis(100));
    for versions in [Versions::V3, Versions::Both] {
        let mut wrong = config(100);
        wrong.versions = versions;
        wrong.interval = seconds(1);
        assert_eq!(
            VirtualRouter::new(wrong).unwrap_err().to_string(),
            "interval 1 s is not in the unit of VRRPv3: 1 to 4095 cs"
        );
    }
    assert_eq!(Host::active(config_at(centis(1), 100)).remaining(), ms(10));
    assert!(VirtualRouter::new(config_at(centis(4095), 100)).is_ok());
}

#[test]
fn t_03_v2_skew_does_not_depend_on_the_interval() {
    for interval in [1, 2, 100, 255] {
        assert_eq!(
            router_at(seconds(interval), 56).skew_time().as_nanos(),
            781_250_000
        );
    }
}

#[test]
fn t_04_v3_skew_is_a_part_of_the_active_interval() {
    let mut host = Host::started(config(56));
    let _ = host.receive(Advert::priority(200).every(centis(400)));
    assert_eq!(host.router.skew_time(), ms(3125));
}

#[test]
fn t_05_v2_down_interval_is_three_intervals_and_skew() {
    let router = router_at(seconds(9), 156);
    assert_eq!(
        router.active_down_interval(),
        ms(27_000) + router.skew_time()
    );
}

#[test]
fn t_06_v3_down_interval_is_three_active_intervals_and_skew() {
    let mut host = Host::started(config(156));
    let _ = host.receive(Advert::priority(200).every(centis(37)));
    assert_eq!(
        host.router.active_down_interval(),
        ms(1110) + host.router.skew_time()
    );
}

#[test]
fn t_07_the_active_interval_starts_as_the_own() {
    let mut host = Host::backup(config(100));
    let _ = host.receive(Advert::priority(200).every(centis(400)));
    assert_eq!(host.router.active_interval(), centis(400));
    let _ = host.shutdown();
    let _ = host.startup();
    assert_eq!(host.router.active_interval(), centis(100));
    assert_eq!(host.remaining().as_nanos(), 3_609_375_000);
}

#[test]
fn t_08_the_learned_interval_is_not_used_for_sending() {
    let mut host = Host::backup(config(100));
    let _ = host.receive(Advert::priority(200).every(centis(400)));
    assert_eq!(
        host.remaining(),
        ms(12_000) + ms(2437) + Duration::from_micros(500)
    );
    let _ = host.fire();
    assert_eq!(host.remaining(), ms(1000));
    assert_eq!(host.fire(), [advertise(100)]);
    assert_eq!(host.remaining(), ms(1000));
}

#[test]
fn t_09_one_election_timer_in_backup_and_active_none_in_initialize() {
    let mut own = config(100);
    own.announce.second_burst_after = None;
    let mut host = Host::new(own);
    assert_eq!(host.router.poll_timeout(), None);
    let _ = host.startup();
    assert_eq!(host.remaining(), host.router.active_down_interval());
    let _ = host.fire();
    assert_eq!(host.remaining(), ms(1000), "no down timer beside it");
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.remaining(), host.router.active_down_interval());
    let _ = host.shutdown();
    assert_eq!(host.router.poll_timeout(), None);
}

#[test]
fn t_10_the_effective_priority_counts() {
    let mut host = Host::backup(config(100));
    let _ = host.event(Event::EffectivePriority(Priority::new(200)));
    assert_eq!(host.router.skew_time().as_nanos(), 218_750_000);
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.remaining().as_nanos(), 3_218_750_000);
    // A higher priority has the smaller skew, from 255/256 to 1/256 of the base.
    let skews: Vec<Duration> = (1..=255)
        .map(|priority| router_at(centis(100), priority).skew_time())
        .collect();
    assert!(skews.is_sorted_by(|low, high| low > high));
    assert_eq!(skews[0] * 256, ms(255_000));
    assert_eq!(skews[254] * 256, ms(1000));
}

#[test]
fn t_11_a_resignation_is_followed_after_skew_time_only() {
    let mut host = Host::backup(config(100));
    host.pass(ms(999));
    let _ = host.receive(Advert::priority(0));
    let resigned = host.now;
    let _ = host.fire();
    assert_eq!((host.now - resigned).as_nanos(), 609_375_000);
}

#[test]
fn t_12_different_priorities_keep_different_skews_at_any_interval() {
    for cs in 1..=4095 {
        let skews: Vec<Duration> = (1..=255)
            .map(|priority| router_at(centis(cs), priority).skew_time())
            .collect();
        assert!(skews.is_sorted_by(|low, high| low > high), "{cs} cs");
    }
}

#[test]
fn t_13_sub_second_operation_needs_no_more_than_the_formulas() {
    let mut host = Host::backup(config_at(centis(1), 254));
    let _ = host.receive(Advert::priority(255).every(centis(1)));
    assert!(host.remaining() < ms(1000) / 25);
    let default = Host::backup(config(100));
    assert!(default.remaining() < ms(4000));
}

#[test]
fn t_14_a_v2_interval_is_converted_to_centiseconds() {
    let mut both = config(100);
    both.versions = Versions::Both;
    both.interval = centis(120);
    let mut host = Host::started(both);
    let _ = host.receive(Advert::priority(200).every(seconds(2)));
    assert_eq!(host.router.active_interval().as_centis(), 200);
    assert_eq!(
        host.remaining().as_nanos(),
        6_000_000_000 + 156 * 2_000_000_000 / 256
    );
}

#[test]
fn t_15_a_timer_is_set_from_now() {
    let mut host = Host::backup(config(100));
    let full = host.remaining();
    host.pass(ms(2900));
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.remaining(), full);
    // Also where that is later than before: the RFC says "Set", not "shorten".
    let _ = host.receive(Advert::priority(0));
    host.pass(ms(600));
    let _ = host.receive(Advert::priority(0));
    assert_eq!(host.remaining(), host.router.skew_time());
}

#[test]
fn advertisements_do_not_drift() {
    let mut own = config(100);
    own.announce.second_burst_after = None;
    let mut host = Host::active(own);
    let first = host.router.poll_timeout().unwrap();
    for (count, late) in [3, 40, 999, 0, 17].into_iter().enumerate() {
        host.now = first + ms(1000 * count as u64 + late);
        assert_eq!(host.wake_after(ms(0)), [advertise(100)]);
    }
    assert_eq!(host.router.poll_timeout(), Some(first + ms(5000)));
    // A lost whole interval is not made up for.
    host.now = first + ms(6000);
    assert_eq!(host.wake_after(ms(0)), [advertise(100)]);
    assert_eq!(host.remaining(), ms(1000));
}

#[test]
fn the_number_of_missed_advertisements_can_be_set() {
    for (missed, nanos) in [
        (1, 1_609_375_000),
        (2, 2_609_375_000),
        (100, 100_609_375_000),
    ] {
        let mut own = config(100);
        own.missed_advertisements = missed;
        let host = Host::started(own);
        assert_eq!(host.remaining(), Duration::from_nanos(nanos));
    }
}

#[test]
fn the_end_of_time_is_never_reached() {
    let mut host = Host::new(config(100));
    host.now = Instant::MAX - ms(1);
    let _ = host.startup();
    assert_eq!(host.router.poll_timeout(), Some(Instant::MAX));
    host.now = Instant::MAX;
    assert_eq!(host.wake_after(ms(0)), []);
    let six = VirtualRouter::new(Config::new(vrid(), Family::Ipv6)).unwrap();
    assert_eq!(six.poll_timeout(), None);
}

#[test]
fn an_instant_stops_where_time_does() {
    let (now, later) = (Instant::from_nanos(5), Instant::from_nanos(7));
    assert_eq!(now.checked_add(Duration::from_nanos(2)), Some(later));
    let longest = Duration::from_nanos(u64::MAX);
    // A number of 64 bits would wrap to 0 here.
    let longer = longest + Duration::from_nanos(1);
    for much in [longest, longer] {
        assert_eq!(now + much, Instant::MAX);
        assert_eq!(now - much, Instant::ZERO);
        assert_eq!(now.checked_add(much), None);
    }
}

#[test]
fn an_instant_is_printed_in_seconds() {
    let at = Instant::from_nanos(12_000_000_345);
    assert_eq!(at.to_string(), "12.000000345 s");
}
