//! A running fleet allocates nothing.

use vrrp_fsm::{
    Deadlines, Instant, State,
    fleet::{Reader, SyncGroup, VrrpRouter},
    track::{Kind, Object, Report, TrackRef},
};
use vrrp_proto::Protection;

use crate::lan::{member, message, ms, multicast};

const ROUTERS: u32 = 300;

/// Interfaces 1 to 300, of which the first hundred are one group, and all track one object.
fn fleet() -> VrrpRouter {
    let now = Instant::ZERO;
    let mut fleet = VrrpRouter::with_capacity(ROUTERS as usize, 100);
    let uplink = fleet
        .add_object(now, Object::new("uplink", Kind::Interface))
        .unwrap();
    fleet.report(now, uplink, Report::Up).unwrap();
    let mut ids = Vec::new();
    for interface in 1..=ROUTERS {
        let mut tracks = member(interface, 100);
        tracks.tracking = vec![TrackRef::of(uplink)];
        ids.push(fleet.add(now, tracks).unwrap());
    }
    let group = SyncGroup::new("group", ids[..100].to_vec());
    let _group = fleet.add_group(now, group).unwrap();
    for id in ids {
        fleet.startup(now, id, [192, 0, 2, 11].into()).unwrap();
    }
    while fleet.poll_action().is_some() {}
    fleet
}

#[test]
fn the_count_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn a_life_of_a_fleet_without_an_allocation() {
    let ip = multicast();
    let messages = [200, 50, 0].map(|priority| message(51, priority, &ip.endpoints));
    let mut fleet = fleet();
    let uplink = fleet.tracker().find("uplink").unwrap();
    let mut actions = 0;
    let mut takeovers = 0;
    let counted = allocation_counter::measure(|| {
        let mut now = Instant::ZERO;
        let mut reader = Reader::default();
        for round in 0..20 {
            for message in &messages {
                for interface in 1..=ROUTERS {
                    let _received =
                        fleet.handle_packet(now, interface, &ip, message, Protection::None);
                }
                while fleet.poll_action().is_some() {
                    actions += 1;
                }
            }
            now = now + ms(4_000);
            fleet.handle_timeout(now);
            while fleet.poll_action().is_some() {
                actions += 1;
            }
            takeovers += fleet
                .iter()
                .filter(|(_, router)| router.state() == State::Active)
                .count();
            if round % 5 == 4 {
                for report in [Report::Down, Report::Up] {
                    fleet.report(now, uplink, report).unwrap();
                    while fleet.poll_action().is_some() {
                        actions += 1;
                    }
                }
            }
            while fleet.read(&mut reader).is_some() {}
        }
    });
    assert_eq!(counted.count_total, 0);
    assert!(actions > 10_000, "{actions}");
    assert!(takeovers >= 19 * ROUTERS as usize, "{takeovers}");
}

#[test]
fn deadlines_that_there_is_room_for_take_no_more() {
    let mut deadlines = Deadlines::new();
    let counted = allocation_counter::measure(|| deadlines.reserve(100));
    assert!(counted.count_total > 0);
    let counted = allocation_counter::measure(|| {
        for index in 0..100 {
            deadlines.set(index, Some(Instant::ZERO + ms(u64::from(index))));
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn deadlines_take_memory_for_the_greatest_index_that_has_had_one() {
    let mut deadlines = Deadlines::new();
    let counted = allocation_counter::measure(|| deadlines.set(8_191, None));
    assert_eq!(counted.count_total, 0);
    let counted = allocation_counter::measure(|| deadlines.set(8_191, Some(Instant::ZERO)));
    let octets = counted.bytes_current;
    assert!((8 * 8_192..8_192 * 93 / 10).contains(&octets), "{octets}");
}

#[test]
fn a_fleet_with_a_known_size_takes_no_more_memory_than_one_that_grows() {
    let add_all = |capacity| {
        let mut fleet = None;
        let counted = allocation_counter::measure(|| {
            let fleet = fleet.insert(VrrpRouter::with_capacity(capacity, 100));
            for interface in 1..=ROUTERS {
                fleet.add(Instant::ZERO, member(interface, 100)).unwrap();
            }
        });
        counted.bytes_current
    };
    let (known, grown) = (add_all(ROUTERS as usize), add_all(0));
    assert!(known <= grown, "{known} {grown}");
    assert!(grown < known + known / 8, "{known} {grown}");
}

#[test]
fn a_growing_fleet_allocates_seldom_and_stays_within_512_octets_a_router() {
    let routers = 10_000;
    let mut fleet = VrrpRouter::new();
    let counted = allocation_counter::measure(|| {
        for interface in 1..=routers {
            fleet.add(Instant::ZERO, member(interface, 100)).unwrap();
        }
    });
    // 64 times for the first 1024, then by a 64th each time: 211 times to 10,000. Six lists grow.
    let growths = counted.count_total;
    assert!(growths < u64::from(routers) / 7, "{growths} for {routers}");
    let octets = counted.bytes_current / i64::from(routers);
    assert!(octets <= 512, "{octets} octets a router");
}

#[test]
fn a_fleet_whose_interfaces_come_and_go_takes_no_more_for_it() {
    let mut fleet = VrrpRouter::with_capacity(1, 100);
    let mut come_and_go = |interfaces: core::ops::Range<u32>| {
        let counted = allocation_counter::measure(|| {
            for interface in interfaces {
                let id = fleet.add(Instant::ZERO, member(interface, 100)).unwrap();
                fleet.remove(Instant::ZERO, id).unwrap();
                while fleet.poll_action().is_some() {}
            }
        });
        counted.bytes_current
    };
    let _first = come_and_go(1..2);
    assert_eq!(come_and_go(2..1_000), 0);
}
