//! Who answers when a neighbour asks for a virtual address.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use vrrp_fsm::State;
use vrrp_lab::{Capture, Frame, Host, Probe};
use vrrp_proto::{
    Family,
    frame::{MacAddress, arp, ipv6, neighbor},
};

use crate::rig::{LIMIT, Running, ip, iproute2, lan_of, router, wait_for_address};

/// The address that an ARP reply or a solicited Neighbor Advertisement is about, and the station that it names.
fn answer(frame: &Frame) -> Option<(IpAddr, MacAddress)> {
    let (header, payload) = frame.bytes.split_at_checked(14)?;
    match header[12..14] {
        [0x08, 0x06] => {
            let packet = arp::Packet::parse(payload).ok()?;
            let is_reply = packet.operation == arp::Operation::Reply && !packet.is_gratuitous();
            is_reply.then_some((packet.sender_address.into(), packet.sender_mac))
        }
        [0x86, 0xdd] => {
            let packet = ipv6::Packet::parse(payload).ok()?;
            let advertisement = neighbor::Advertisement::parse(&packet).ok()??;
            let station = advertisement.target_mac?;
            advertisement
                .solicited
                .then_some((advertisement.target.into(), station))
        }
        _ => None,
    }
}

/// The stations that answer a client that knows nothing.
fn who_answers(client: &Host, capture: &Capture, address: &str) -> BTreeSet<MacAddress> {
    iproute2(client, &["neighbor", "flush", "all"]);
    let asked = Instant::now();
    let probe = Probe::start(client, ip(address), Duration::from_millis(5)).unwrap();
    probe.wait_for_answer(asked, LIMIT).unwrap();
    // Time for a second answer, of somebody who should not give one.
    std::thread::sleep(Duration::from_millis(50));
    probe.stop().unwrap();
    let frames = capture.frames();
    let answers = frames
        .iter()
        .filter(|frame| frame.at >= asked)
        .filter_map(answer);
    answers
        .filter_map(|(of, station)| (of == ip(address)).then_some(station))
        .collect()
}

fn only_the_active_answers(family: Family, address: &str, prefixed: &str) {
    let (lan, hosts) = lan_of::<3>();
    let (high, high_id) = Running::with_router(hosts[1].namespace(), router(family, 200));
    let (low, low_id) = Running::with_router(hosts[0].namespace(), router(family, 100));
    high.wait_for_state(high_id, State::Active);
    low.wait_for_state(low_id, State::Backup);
    wait_for_address(&hosts[1], prefixed, true);
    let capture = lan.capture().unwrap();
    let station = |host: &Host| BTreeSet::from([MacAddress(host.mac())]);
    assert_eq!(
        who_answers(&hosts[2], &capture, address),
        station(&hosts[1])
    );

    // And the one that was Active answers no longer when it is Backup.
    low.with(move |driver| {
        driver
            .set_priority(low_id, vrrp_proto::Priority::new(250))
            .unwrap();
    });
    low.wait_for_state(low_id, State::Active);
    high.wait_for_state(high_id, State::Backup);
    wait_for_address(&hosts[1], prefixed, false);
    wait_for_address(&hosts[0], prefixed, true);
    assert_eq!(
        who_answers(&hosts[2], &capture, address),
        station(&hosts[0])
    );
}

#[test]
fn a_01_a_backup_does_not_answer_arp_requests_for_the_virtual_address() {
    only_the_active_answers(Family::Ipv4, "192.0.2.254", "192.0.2.254/32");
}

#[test]
fn a_02_a_backup_does_not_answer_neighbor_solicitations_for_the_virtual_address() {
    only_the_active_answers(Family::Ipv6, "2001:db8::254", "2001:db8::254/128");
}
