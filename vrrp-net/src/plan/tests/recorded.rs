//! Notifications of a real kernel during the work of operators, replayed.
//!
//! Each recording has the state before (a dump), the commands with the datagrams that they caused,
//! and the state after. Unused link attributes are left out, such as the statistics.

use super::*;
use crate::kernel::rtnetlink::{self, Reply};

/// The events in the lines of one part of a recording.
fn events(lines: &[&str]) -> Vec<MonitorEvent> {
    let mut events = Vec::new();
    for line in lines.iter().filter(|line| !line.starts_with('#')) {
        let octet = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        let datagram: Vec<u8> = (0..line.len()).step_by(2).map(octet).collect();
        for message in rtnetlink::messages(&datagram) {
            if let Reply::Event(event) = message.unwrap().reply {
                events.push(event);
            }
        }
    }
    events
}

/// The state before, the notifications, and the state after.
fn parts(recording: &str) -> (Interfaces, Vec<MonitorEvent>, Interfaces) {
    let lines: Vec<_> = recording.lines().collect();
    let is_state = |line: &&str| *line == "# the state";
    let parts: Vec<_> = lines.split(is_state).collect();
    let [_, before, after] = parts[..] else {
        panic!("{} parts", parts.len());
    };
    let command = before
        .iter()
        .position(|line| line.starts_with('#'))
        .unwrap();
    let state = |lines| {
        let mut interfaces = Interfaces::default();
        for event in events(lines) {
            interfaces.apply(&event);
        }
        interfaces
    };
    let (before, notifications) = before.split_at(command);
    (state(before), events(notifications), state(after))
}

/// The state that the notifications leave is the one that the kernel shows.
fn replay(recording: &str) -> Actual {
    let (before, events, after) = parts(recording);
    let mut actual = Actual::new(before.clone(), true);
    for event in &events {
        actual.apply(event);
    }
    assert_eq!(in_order(actual.interfaces()), in_order(&after));
    // Another dump changes nothing, and neither does hearing all of it twice.
    assert_eq!(actual.resync(after.clone()), []);
    let all = |interfaces: &Interfaces| {
        let lists = interfaces
            .iter()
            .map(|it| (it.link.index, it.addresses.clone()));
        lists.collect::<Vec<_>>()
    };
    for (index, addresses) in all(&after).into_iter().chain(all(&before)) {
        for own in addresses {
            let known = after.get(index).map_or(0, |it| {
                let same = it.addresses.iter().filter(|it| it.address == own.address);
                same.count()
            });
            assert_eq!(actual.addresses(index, own.address).count(), known);
            assert_eq!(actual.has_address(index, own.address), known > 0);
        }
    }
    actual
}

#[test]
fn renamed_links_and_alternative_names() {
    let actual = replay(include_str!("recorded/rename.hex"));
    let names = ["eth0", "peer0", "away"].map(|name| actual.interfaces().named(name).is_some());
    assert_eq!(names, [true, true, false]);
}

#[test]
fn point_to_point_addresses_with_one_local_part() {
    let actual = replay(include_str!("recorded/point_to_point.hex"));
    let eth0 = actual.interfaces().named("eth0").unwrap().link.index;
    let left: Vec<_> = actual
        .addresses(eth0, "10.0.0.1".parse().unwrap())
        .collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].peer, Some("10.0.0.3".parse().unwrap()));
}

#[test]
fn primary_addresses_that_go_with_and_without_promotion() {
    let actual = replay(include_str!("recorded/primary.hex"));
    let eth0 = actual.interfaces().named("eth0").unwrap();
    let left = eth0.addresses.iter().filter(|own| own.prefix_len == 24);
    let left: Vec<_> = left.map(|own| own.address.to_string()).collect();
    assert_eq!(left, ["192.0.2.1"]);
}

#[test]
fn a_macvlan_that_is_renamed_and_relabelled_and_goes_with_its_parent() {
    let actual = replay(include_str!("recorded/macvlan.hex"));
    for name in ["eth0", "vip", "other"] {
        assert!(actual.interfaces().named(name).is_none(), "{name}");
    }
}

#[test]
fn a_parent_that_moves_to_another_namespace_leaves_its_macvlan() {
    let recording = include_str!("recorded/namespace.hex");
    replay(recording);
    let (before, events, _) = parts(recording);
    let mut actual = Actual::new(before, true);
    let vip = actual.interfaces().named("vip").unwrap().link.clone();
    let interface = vip.index;
    actual.adopt(vip);
    let mut planner = Planner::default();
    for event in &events {
        if *event == (MonitorEvent::LinkGone { interface }) {
            break;
        }
        planner.notice(event, &mut actual);
        actual.apply(event);
    }
    assert!(actual.interfaces().named("eth0").is_none());
    assert!(actual.link(interface).is_some());
    let changes = planner.plan_former(Instant::ZERO, &|_| None, &actual);
    assert_eq!(changes, [Change::DeleteLink { interface }]);
}
