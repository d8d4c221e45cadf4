//! The order of actions, and the timers.

use std::collections::BTreeMap;

use vrrp_fsm::{Action, Instant, State, fleet::VrrpRouter};
use vrrp_proto::Versions;

use crate::lan::{Lan, member, ms};

fn drain(fleet: &mut VrrpRouter) -> Vec<Action> {
    core::iter::from_fn(|| fleet.poll_action())
        .map(|(_, action)| action)
        .collect()
}

#[test]
fn advertisements_of_all_due_routers_come_before_any_other_action() {
    let mut lan = Lan::new(1);
    let ids: Vec<_> = (1..=50)
        .map(|interface| lan.add(0, member(interface, 100)))
        .collect();
    let fleet = lan.fleet(0);
    let _startups = drain(fleet);
    fleet.handle_timeout(Instant::from_nanos(4_000_000_000));
    let actions = drain(fleet);
    assert_eq!(actions.len(), 200);
    let is_advertisement = |action: &Action| matches!(action, Action::SendAdvertisement(_));
    assert!(actions[..50].iter().all(is_advertisement));
    assert!(!actions[50..].iter().any(is_advertisement));
    for takeover in actions[50..].chunks(3) {
        assert!(matches!(
            takeover,
            [
                Action::InstallAddresses,
                Action::Announce { .. },
                Action::StateChanged(_)
            ]
        ));
    }
    assert!(ids.iter().all(|id| lan.state(0, *id) == State::Active));
}

#[test]
fn the_first_deadline_is_that_of_the_first_router_whatever_moves() {
    let mut lan = Lan::new(1);
    let mut ids = Vec::new();
    for number in 1..=40_u8 {
        ids.push(lan.add(0, member(number.into(), 40 + 5 * number)));
        lan.run(ms(37));
    }
    for _ in 0..2000 {
        let fleet = &lan.nodes[0].fleet;
        let list = fleet
            .iter()
            .filter_map(|(_, router)| router.poll_timeout())
            .min();
        assert_eq!(fleet.poll_timeout(), list);
        let at = list.unwrap();
        lan.fleet(0).handle_timeout(at);
        let _actions = drain(lan.fleet(0));
        assert!(lan.nodes[0].fleet.poll_timeout().unwrap() > at);
    }
}

#[test]
fn before_its_time_a_timeout_does_nothing() {
    let mut lan = Lan::new(1);
    let _id = lan.add(0, member(1, 100));
    lan.exchange_all();
    let fleet = lan.fleet(0);
    let at = fleet.poll_timeout().unwrap();
    fleet.handle_timeout(at - ms(1));
    assert_eq!(fleet.poll_timeout(), Some(at));
    assert_eq!(fleet.poll_action(), None);
}

#[test]
fn of_a_routers_advertisements_that_wait_the_last_stands_for_all() {
    let mut lan = Lan::new(1);
    let id = lan.add(0, member(1, 100));
    lan.run(ms(4_000));
    let now = lan.now;
    let fleet = lan.fleet(0);
    let mut other = member(1, 150);
    fleet.reconfigure(now, id, other.clone()).unwrap();
    other.config.priority = vrrp_proto::Priority::new(160);
    fleet.reconfigure(now, id, other).unwrap();
    let actions = drain(fleet);
    let [Action::SendAdvertisement(outgoing)] = actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(outgoing.priority.get(), 160);
}

#[test]
fn o_17_only_advertisements_that_the_host_is_asked_to_send_are_counted() {
    let mut fleet = VrrpRouter::new();
    let mut both = member(1, 255);
    both.config.versions = Versions::Both;
    let now = Instant::ZERO;
    let id = fleet.add(now, both).unwrap();
    let counted = |fleet: &VrrpRouter| {
        let counters = fleet.get(id).unwrap().counters();
        (counters.advertisements_sent, counters.priority_zero_sent)
    };
    let address = [192, 0, 2, 11].into();
    fleet.startup(now, id, address).unwrap();
    fleet.shutdown(now, id).unwrap();
    assert_eq!(
        counted(&fleet),
        (3, 3),
        "the resignation, in both versions and both checksum forms"
    );
    fleet.startup(now, id, address).unwrap();
    assert_eq!(counted(&fleet), (3, 0), "the owner's, in its place");
    let _actions = drain(&mut fleet);
    fleet.shutdown(now, id).unwrap();
    assert_eq!(counted(&fleet), (6, 3));
}

#[test]
fn with_patience_the_advertisements_of_actives_leave_together_and_do_not_drift() {
    let mut lan = Lan::new(1);
    for number in 1..=40_u8 {
        let _id = lan.add(0, member(number.into(), 200));
        lan.run(core::time::Duration::from_micros(400));
    }
    lan.run(ms(5_000));
    let fleet = lan.fleet(0);
    let _rest = drain(fleet);
    let first = fleet.poll_timeout().unwrap();
    fleet.set_patience(ms(10));
    assert_eq!(fleet.poll_timeout(), Some(first + ms(10)));
    fleet.handle_timeout(first - ms(1));
    assert_eq!(
        drain(fleet),
        [],
        "nobody is due, and nobody leaves early alone"
    );
    // The deadlines of 26 have passed, and those of the others follow within 10 ms.
    fleet.handle_timeout(first + ms(10));
    let actions = drain(fleet);
    assert_eq!(actions.len(), 40, "{actions:?}");
    let second = first + ms(1_000);
    assert_eq!(fleet.poll_timeout(), Some(second + ms(10)));
    // An advertisement that is due takes those along that are due within 10 ms.
    fleet.handle_timeout(second + ms(2));
    let early = drain(fleet).len();
    assert!((25..=35).contains(&early), "{early}");
    fleet.set_patience(ms(0));
    let next = fleet.poll_timeout().unwrap();
    assert!(next > second + ms(12) && next < second + ms(13));
    fleet.handle_timeout(next);
    assert_eq!(
        drain(fleet).len(),
        1,
        "without patience nobody leaves early"
    );
}

#[test]
fn with_patience_an_advertisement_is_a_sixteenth_early_or_late_at_most() {
    let mut lan = Lan::new(1);
    let ids: Vec<_> = (1..=20_u8)
        .map(|number| {
            let mut router = member(number.into(), 200);
            let interval = if number % 3 == 0 { 3 } else { 7 };
            router.config.interval = vrrp_proto::Interval::centis(interval).unwrap();
            let id = lan.add(0, router);
            lan.run(core::time::Duration::from_micros(u64::from(number) * 777));
            id
        })
        .collect();
    // The second announcements are over.
    lan.run(ms(6_000));
    let fleet = lan.fleet(0);
    let _rest = drain(fleet);
    let mut schedule: BTreeMap<_, _> = ids
        .iter()
        .map(|id| (*id, fleet.get(*id).unwrap().poll_timeout().unwrap()))
        .collect();
    let late = core::time::Duration::from_micros(50);
    fleet.set_patience(ms(10));
    let (mut turns, mut sent) = (0, 0);
    let start = fleet.poll_timeout().unwrap();
    let mut now = start;
    while now < start + ms(3_000) {
        now = fleet.poll_timeout().unwrap() + late;
        fleet.handle_timeout(now);
        turns += 1;
        while let Some((id, action)) = fleet.poll_action() {
            if !matches!(action, Action::SendAdvertisement(_)) {
                continue;
            }
            sent += 1;
            let interval = fleet.get(id).unwrap().config().interval.as_duration();
            let due = schedule.get_mut(&id).unwrap();
            let share = interval / 16;
            assert!(*due <= now + share, "{id} is too early");
            assert!(now <= *due + share + late, "{id} is too late");
            *due = *due + interval;
        }
    }
    assert!(sent > 1_000, "{sent}");
    assert!(sent > 2 * turns, "{sent} advertisements in {turns} turns");
    fleet.set_patience(ms(0));
    for (id, due) in schedule {
        assert_eq!(fleet.get(id).unwrap().poll_timeout(), Some(due));
    }
}

#[test]
fn with_patience_backups_and_short_intervals_are_served_in_time() {
    let mut lan = Lan::new(1);
    let mut quick = member(1, 200);
    quick.config.interval = vrrp_proto::Interval::centis(4).unwrap();
    let id = lan.add(0, quick);
    lan.fleet(0).set_patience(ms(10));
    let down = lan.fleet(0).get(id).unwrap().poll_timeout();
    assert_eq!(lan.fleet(0).poll_timeout(), down, "a Backup");
    lan.run(ms(6_000));
    assert_eq!(lan.state(0, id), State::Active);
    let fleet = lan.fleet(0);
    let adver = fleet.get(id).unwrap().poll_timeout().unwrap();
    let sixteenth = core::time::Duration::from_micros(2_500);
    assert_eq!(fleet.poll_timeout(), Some(adver + sixteenth));
}

#[test]
fn with_patience_no_backup_takes_over_while_every_advertisement_arrives() {
    use core::time::Duration;
    for missed in [1, 2, 3] {
        let mut lan = Lan::new(2);
        let mut backups = Vec::new();
        for number in 1..=40_u8 {
            // A Backup of the highest priority waits least. It may not preempt.
            let mut router = member(number.into(), 200);
            router.config.interval = vrrp_proto::Interval::centis(10).unwrap();
            router.config.missed_advertisements = missed;
            let _active = lan.add(0, router.clone());
            lan.run(ms(1_000) + Duration::from_micros(u64::from(number) * 130));
            router.config.priority = vrrp_proto::Priority::new(254);
            router.config.preempt = vrrp_fsm::Preempt::Never;
            backups.push(lan.add(1, router));
        }
        lan.fleet(0).set_patience(ms(10));
        // Each Active leaves its schedule in both directions, as the others make it.
        for turn in 0..400_u64 {
            lan.run(Duration::from_micros(1_000 + turn * 997 % 9_000));
            let now = lan.now;
            lan.fleet(0).handle_timeout(now);
            lan.exchange_all();
        }
        for id in backups {
            assert_eq!(lan.state(1, id), State::Backup, "{missed} missed");
        }
    }
}

#[test]
fn with_patience_an_active_whose_backups_wait_for_one_advertisement_keeps_its_schedule() {
    let mut lan = Lan::new(1);
    let mut router = member(1, 200);
    router.config.missed_advertisements = 1;
    let id = lan.add(0, router.clone());
    lan.run(ms(6_000));
    let now = lan.now;
    let fleet = lan.fleet(0);
    fleet.set_patience(ms(10));
    let due = fleet.get(id).unwrap().poll_timeout();
    assert_eq!(fleet.poll_timeout(), due);
    router.config.missed_advertisements = 2;
    fleet.reconfigure(now, id, router.clone()).unwrap();
    assert_eq!(fleet.poll_timeout(), due.map(|due| due + ms(10)));
    router.config.missed_advertisements = 1;
    fleet.reconfigure(now, id, router).unwrap();
    assert_eq!(fleet.poll_timeout(), due);
}
