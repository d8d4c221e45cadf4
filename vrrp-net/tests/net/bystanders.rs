//! The frames of routers that other hosts on the network see, and do not see.

use std::{thread, time::Duration};

use vrrp_fsm::State;
use vrrp_lab::{Frame, Host, Lan, wait_for};
use vrrp_proto::{
    Family,
    frame::{MacAddress, ipv6},
};

use crate::rig::{
    DriverThread, LIMIT, Seen, VIP6, advertisements, fsm, iproute2, lan_of, router, vrid,
    wait_for_address,
};

/// The protocol number, and the type of a Router Advertisement.
const ICMPV6: u8 = 58;
const ROUTER_ADVERTISEMENT: u8 = 134;

/// Whether a frame is a Router Advertisement (RFC 4861 section 4.2).
fn is_router_advertisement(frame: &Frame) -> bool {
    let Some((header, payload)) = frame.bytes.split_at_checked(14) else {
        return false;
    };
    header[12..] == [0x86, 0xdd]
        && ipv6::Packet::parse(payload).is_ok_and(|packet| {
            packet.next_header == ICMPV6 && packet.payload.first() == Some(&ROUTER_ADVERTISEMENT)
        })
}

#[test]
fn a_03_no_router_advertisement_is_sent_by_a_backup() {
    let (lan, hosts) = lan_of::<2>();
    for host in &hosts {
        iproute2(
            host,
            &["-6", "route", "add", "2001:db8:1::/48", "dev", "eth0"],
        );
    }
    let capture = lan.capture().unwrap();
    let (active, active_id) =
        DriverThread::with_router(hosts[0].namespace(), router(Family::Ipv6, 200));
    let (backup, backup_id) =
        DriverThread::with_router(hosts[1].namespace(), router(Family::Ipv6, 100));
    active.wait_for_state(active_id, State::Active);
    backup.wait_for_state(backup_id, State::Backup);
    wait_for_address(&hosts[0], VIP6, true);
    active.stop();
    backup.wait_for_state(backup_id, State::Active);
    backup.stop();
    let frames = capture.frames();
    assert!(frames.iter().any(|frame| Seen::in_frame(frame).is_some()));
    assert!(!frames.iter().any(is_router_advertisement));
}

/// The hardware address that a host has for an address.
fn neighbor(host: &Host, address: &str) -> Option<String> {
    let shown = iproute2(host, &["-6", "neighbor", "show", address, "dev", "eth0"]);
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "lladdr")?;
    words.next().map(str::to_owned)
}

#[test]
fn a_27_an_active_and_a_backup_learn_from_an_announcement_that_nobody_asked_for() {
    let (_lan, hosts) = lan_of::<4>();
    let (active, active_id) =
        DriverThread::with_router(hosts[0].namespace(), router(Family::Ipv6, 200));
    active.wait_for_state(active_id, State::Active);
    let (backup, backup_id) =
        DriverThread::with_router(hosts[1].namespace(), router(Family::Ipv6, 100));
    backup.wait_for_state(backup_id, State::Backup);

    // Another virtual router on the same network. Both hosts know its address.
    let other = |priority| {
        let mut config = router(Family::Ipv6, priority);
        config.fsm = fsm(Family::Ipv6, priority);
        config.fsm.vrid = vrid(52);
        config.addresses = vec![
            "fe80::52/128".parse().unwrap(),
            "2001:db8::52/128".parse().unwrap(),
        ];
        config
    };
    let (first, first_id) = DriverThread::with_router(hosts[2].namespace(), other(200));
    first.wait_for_state(first_id, State::Active);
    let (second, second_id) = DriverThread::with_router(hosts[3].namespace(), other(100));
    second.wait_for_state(second_id, State::Backup);
    wait_for_address(&hosts[2], "2001:db8::52/128", true);
    let mac_address = |host: &Host| Some(MacAddress(host.mac()).to_string());
    for host in &hosts[..2] {
        let old = mac_address(&hosts[2]).unwrap();
        iproute2(
            host,
            &[
                "-6",
                "neighbor",
                "replace",
                "2001:db8::52",
                "lladdr",
                &old,
                "nud",
                "stale",
                "dev",
                "eth0",
            ],
        );
        assert_eq!(neighbor(host, "2001:db8::52"), mac_address(&hosts[2]));
    }

    // Nothing is sent to that address: only an announcement can show that it has moved.
    first.stop();
    second.wait_for_state(second_id, State::Active);
    for host in &hosts[..2] {
        wait_for("the neighbour's new station", LIMIT, || {
            (neighbor(host, "2001:db8::52") == mac_address(&hosts[3])).then_some(())
        })
        .unwrap();
    }
}

fn advertisements_stay_on_their_network(family: Family) {
    let (near, hosts) = lan_of::<1>();
    let far = Lan::new().unwrap();
    let beyond = far
        .attach(&hosts[0], "eth1", &["203.0.113.1/24", "2001:db8:1::1/64"])
        .unwrap();
    hosts[0].namespace().run(|| {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
        }
    });
    drop(beyond);
    let sender = near
        .host("sender", &["192.0.2.77/24", "2001:db8::77/64"])
        .unwrap();
    let (seen_near, seen_far) = (near.capture().unwrap(), far.capture().unwrap());
    let (running, id) = DriverThread::with_router(sender.namespace(), router(family, 100));
    running.wait_for_state(id, State::Active);
    wait_for("ten advertisements", LIMIT, || {
        (advertisements(&seen_near).len() >= 10).then_some(())
    })
    .unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(advertisements(&seen_far).len(), 0);
}

#[test]
fn m_11_a_router_does_not_forward_advertisements_over_ipv4() {
    advertisements_stay_on_their_network(Family::Ipv4);
}

#[test]
fn m_11_a_router_does_not_forward_advertisements_over_ipv6() {
    advertisements_stay_on_their_network(Family::Ipv6);
}
