use super::*;
use crate::Interfaces;

/// The datagrams of a recording, each in hexadecimal digits. Lines with `#` are the commands that
/// caused those after them.
fn datagrams(recording: &str) -> impl Iterator<Item = Vec<u8>> {
    let lines = recording.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let octet = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        (0..line.len()).step_by(2).map(octet).collect()
    })
}

/// The events in a recording.
fn events(recording: &str) -> Vec<MonitorEvent> {
    let mut events = Vec::new();
    for datagram in datagrams(recording) {
        for message in messages(&datagram) {
            if let Reply::Event(event) = message.unwrap().reply {
                events.push(event);
            }
        }
    }
    events
}

/// The last link in a list of events that has this name.
fn last_link<'a>(events: &'a [MonitorEvent], name: &str) -> Option<&'a Link> {
    let mut links = events.iter().filter_map(|event| match event {
        MonitorEvent::Link(link) => Some(link),
        _ => None,
    });
    links.rfind(|link| link.name == name)
}

#[test]
fn a_link_that_joins_and_leaves_a_bridge_stays() {
    let events = events(include_str!("recorded/bridge_port.hex"));
    let gone = |event: &&MonitorEvent| matches!(event, MonitorEvent::LinkGone { .. });
    assert_eq!(events.iter().find(gone), None);
    assert!(events.iter().all(|event| match event {
        // A message of the bridge about its port has no kind.
        MonitorEvent::Link(link) => !link.kind.is_empty(),
        _ => true,
    }));
    assert_eq!(last_link(&events, "eth0").unwrap().kind, "veth");
}

#[test]
fn a_setting_of_a_bridge_port_is_no_event() {
    let recording = include_str!("recorded/port_setting.hex");
    assert!(datagrams(recording).next().is_some());
    assert_eq!(events(recording), []);
}

#[test]
fn every_family_but_that_of_links_is_left_out_of_link_messages() {
    let recording = include_str!("recorded/moved_link.hex");
    for family in 0..=u8::MAX {
        let mut count = 0;
        for mut datagram in datagrams(recording) {
            if matches!(datagram[4], 16 | 17) {
                datagram[16] = family;
                let replies = messages(&datagram).map(|message| message.unwrap().reply);
                count += replies.filter(|it| matches!(it, Reply::Event(_))).count();
            }
        }
        assert_eq!(count, if family == 0 { 3 } else { 0 }, "{family}");
    }
}

#[test]
fn an_address_of_another_family_is_no_event() {
    let recording = include_str!("recorded/moved_link.hex");
    let mut seen = 0;
    for mut datagram in datagrams(recording).filter(|it| it[4] == 21) {
        // AF_MPLS, AF_CAN, AF_PHONET; the last of them has addresses.
        for family in [28, 29, 35] {
            datagram[16] = family;
            let reply = messages(&datagram).next().unwrap().unwrap().reply;
            assert!(matches!(reply, Reply::Other));
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn a_link_whose_lower_link_is_in_another_namespace_has_no_parent_here() {
    let events = events(include_str!("recorded/other_namespace.hex"));
    let link = last_link(&events, "v0").unwrap();
    assert_eq!((link.kind.as_str(), link.parent), ("veth", None));
    assert!(
        matches!(events.last(), Some(MonitorEvent::LinkGone { interface }) if *interface == link.index)
    );
}

#[test]
fn a_link_that_is_deleted_and_added_again_in_one_batch_has_lost_its_addresses() {
    let recording = include_str!("recorded/moved_link.hex");
    let all: Vec<u8> = datagrams(recording).flatten().collect();
    let mut interfaces = Interfaces::default();
    let replies = messages(&all).map(|message| message.unwrap().reply);
    let mut gone = 0;
    for reply in replies {
        if let Reply::Event(event) = reply {
            gone += usize::from(matches!(event, MonitorEvent::LinkGone { .. }));
            interfaces.apply(&event);
        }
    }
    assert_eq!(gone, 1);
    let interface = interfaces.named("eth0").unwrap();
    assert!(!interface.link.up && interface.addresses.is_empty());
}
