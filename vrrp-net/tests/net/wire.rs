//! The packets on the network.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use vrrp_fsm::State;
use vrrp_lab::{Capture, Frame, Host, Lan, wait_for};
use vrrp_net::{
    AddressChange, Authentication, Driver, DriverEvent, ForeignPackets, Netlink, RouterConfig,
    RouterId, Transport, UnicastPath, VirtualMac,
};
use vrrp_proto::{
    AddressListFault, Addresses, Advertisement, ChecksumAcceptance, ChecksumForm, DecodeOptions,
    Discard, Endpoints, Family, Interval, IpHeader, MessageAuthentication, Password, Peer,
    Priority, Versions,
    frame::{MacAddress, arp, ipv6, neighbor},
    group,
};

use crate::rig::{
    DriverThread, LIMIT, Seen, VIP4, advertisements, has, in_time, ip, iproute2, lan_of, router,
    router_v2, unicast, vrid, wait_for_address, wait_for_advertisement,
};

/// The first advertisement of a single router on r1.
fn first_advertisement(family: Family) -> (Host, Seen) {
    let (lan, [host]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let started = Instant::now();
    let (running, id) = DriverThread::with_router(host.namespace(), router(family, 100));
    running.wait_for_state(id, State::Active);
    let (_, seen) = wait_for_advertisement(&capture, "an advertisement", started, |_| true);
    assert_eq!((seen.vrid(), seen.priority()), (51, 100));
    (host, seen)
}

#[test]
fn p_04_ipv4_advertisements_leave_with_ttl_255_and_tos_c0() {
    let (_, seen) = first_advertisement(Family::Ipv4);
    assert_eq!((seen.ttl, seen.traffic_class), (255, 0xc0));
    assert_eq!(seen.destination, group(Family::Ipv4));
}

#[test]
fn p_05_ipv6_advertisements_leave_with_hop_limit_255_and_traffic_class_c0() {
    let (_, seen) = first_advertisement(Family::Ipv6);
    assert_eq!((seen.ttl, seen.traffic_class), (255, 0xc0));
    assert_eq!(seen.destination, group(Family::Ipv6));
}

#[test]
fn p_08_the_source_is_the_first_ipv4_address_that_is_not_a_virtual_one() {
    let (lan, [_]) = lan_of::<1>();
    // The virtual address comes first, left over from another run.
    let host = lan.host("r2", &[]).unwrap();
    host.namespace().run(|| {
        let address = VIP4.parse().unwrap();
        let add = AddressChange::Add {
            interface: host.index(),
            address: &address,
        };
        let result = Netlink::open().unwrap().apply(&[add]).unwrap().remove(0);
        result.unwrap();
    });
    for own in ["192.0.2.7/24", "192.0.2.8/24"] {
        host.add_address(own).unwrap();
    }
    let capture = lan.capture().unwrap();
    let started = Instant::now();
    let running = DriverThread::start(host.namespace());
    let (id, primary) = running.with(|driver| {
        let id = driver.add(router(Family::Ipv4, 100)).unwrap();
        (id, driver.get(id).unwrap().machine().primary_address())
    });
    assert_eq!(primary, ip("192.0.2.7"), "from the start");
    running.wait_for_state(id, State::Active);
    let (_, seen) = wait_for_advertisement(&capture, "an advertisement", started, |_| true);
    assert_eq!(seen.source, ip("192.0.2.7"));
    // The router does not use it later either, when it is there again.
    wait_for_address(&host, VIP4, true);
    wait_for_advertisement(&capture, "another advertisement", Instant::now(), |_| true);
    for (_, seen) in advertisements(&capture) {
        assert_eq!(seen.source, ip("192.0.2.7"));
    }
}

#[test]
fn p_08_a_configured_source_is_used() {
    let (lan, [_]) = lan_of::<1>();
    let host = lan.host("r2", &["192.0.2.7/24", "192.0.2.8/24"]).unwrap();
    let capture = lan.capture().unwrap();
    let mut config = router(Family::Ipv4, 100);
    config.source = Some(ip("192.0.2.8"));
    let (_running, _) = DriverThread::with_router(host.namespace(), config);
    let (_, seen) = wait_for_advertisement(&capture, "an advertisement", Instant::now(), |_| true);
    assert_eq!(seen.source, ip("192.0.2.8"));
}

#[test]
fn p_09_the_source_is_the_link_local_address_of_the_interface() {
    let (host, seen) = first_advertisement(Family::Ipv6);
    assert_eq!(seen.source, host.link_local());
}

#[test]
fn o_10_an_active_of_both_versions_is_followed_in_both_and_resigns_in_both() {
    in_time(|| {
        for virtual_mac in [None, Some(VirtualMac::default())] {
            let (lan, hosts) = lan_of::<3>();
            let capture = lan.capture().unwrap();
            let mut config = router(Family::Ipv4, 200);
            config.fsm.versions = Versions::Both;
            config.virtual_mac = virtual_mac;
            let (both, both_id) = DriverThread::with_router(hosts[0].namespace(), config);
            both.wait_for_state(both_id, State::Active);
            let others = [router_v2(100), router(Family::Ipv4, 100)];
            let others = [1, 2].map(|place| {
                DriverThread::with_router(hosts[place].namespace(), others[place - 1].clone())
            });
            for (other, id) in &others {
                let id = *id;
                vrrp_lab::wait_for("the Active being heard", LIMIT, || {
                    let machine = other.with(move |driver| *driver.get(id).unwrap().machine());
                    machine
                        .active()
                        .filter(|_| machine.state() == State::Backup)
                })
                .unwrap();
            }
            both.stop();
            for (other, id) in &others {
                other.wait_for_state(*id, State::Active);
                assert_eq!(other.count_transitions(State::Active), 1);
            }

            // At the same rate, each in its unit (AMB-28), and each valid.
            let seen = advertisements(&capture);
            let ours = seen
                .iter()
                .filter(|(_, seen)| seen.source == ip("192.0.2.1"));
            let ours: Vec<Advertisement<'_>> = ours.map(|(_, seen)| decoded(seen)).collect();
            assert!(ours.len() >= 4, "{ours:?}");
            // Version 3 in both checksum forms (AMB-01).
            let (sets, rest) = ours.as_chunks::<3>();
            assert!(rest.is_empty(), "{ours:?}");
            for [v3, v3_again, v2] in sets {
                assert_eq!(v3, v3_again);
                assert_eq!(v3.interval, Interval::centis(10).unwrap());
                assert_eq!(v2.interval, Interval::seconds(1).unwrap());
                assert_eq!(v3.priority, v2.priority);
            }
            assert!(ours.last().unwrap().priority.is_resign());
        }
    });
}

fn decoded(seen: &Seen) -> Advertisement<'_> {
    let ip = IpHeader {
        endpoints: Endpoints::new(seen.source, seen.destination).unwrap(),
        ttl: seen.ttl,
    };
    Advertisement::decode(&seen.message, &ip, &DecodeOptions::default())
        .unwrap()
        .advertisement
}

/// The address that an ARP or Neighbor Discovery frame announces, and its hardware address.
fn announcement(frame: &Frame) -> Option<(IpAddr, MacAddress)> {
    let (header, payload) = frame.bytes.split_at_checked(14)?;
    let mac_address = MacAddress(header[6..12].try_into().ok()?);
    match header[12..14] {
        [0x08, 0x06] => {
            let packet = arp::Packet::parse(payload).ok()?;
            assert!(!packet.is_gratuitous() || packet.sender_mac == mac_address);
            packet
                .is_gratuitous()
                .then_some((packet.sender_address.into(), mac_address))
        }
        [0x86, 0xdd] => {
            let packet = ipv6::Packet::parse(payload).ok()?;
            let advertisement = neighbor::Advertisement::parse(&packet).ok()??;
            assert_eq!(advertisement.target_mac, Some(mac_address));
            assert!(advertisement.router && advertisement.overrides && !advertisement.solicited);
            Some((advertisement.target.into(), mac_address))
        }
        _ => None,
    }
}

fn wait_for_announcements(
    capture: &Capture,
    since: Instant,
    address: &str,
    host: &Host,
    count: usize,
) -> Vec<Instant> {
    let wanted = (ip(address), MacAddress(host.mac()));
    let mut found = Vec::new();
    capture
        .wait_for("announcements", LIMIT, |frame| {
            if frame.at >= since && announcement(frame) == Some(wanted) {
                found.push(frame.at);
            }
            found.len() == count
        })
        .unwrap();
    found
}

/// Kills an Active and watches the other announce each address, after its first advertisement.
fn a_takeover_announces(family: Family, addresses: &[&str]) {
    let (lan, hosts) = lan_of::<2>();
    let (high, high_id) = DriverThread::with_router(hosts[1].namespace(), router(family, 200));
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), router(family, 100));
    high.wait_for_state(high_id, State::Active);
    low.wait_for_state(low_id, State::Backup);
    let capture = lan.capture().unwrap();
    let killed = high.kill();
    let (advertised, _) = wait_for_advertisement(&capture, "the takeover", killed, |seen| {
        seen.priority() == 100
    });
    for address in addresses {
        let times = wait_for_announcements(&capture, killed, address, &hosts[0], 5);
        assert!(
            times.iter().all(|at| *at >= advertised),
            "the advertisement comes first"
        );
    }
    low.wait_for_state(low_id, State::Active);
}

#[test]
fn a_takeover_over_ipv4_announces_by_gratuitous_arp() {
    a_takeover_announces(Family::Ipv4, &["192.0.2.254"]);
}

#[test]
fn a_takeover_over_ipv6_announces_by_unsolicited_neighbor_advertisements() {
    a_takeover_announces(Family::Ipv6, &["fe80::254", "2001:db8::254"]);
}

#[test]
fn an_announcement_that_a_fault_has_overtaken_is_dropped() {
    let (lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
    let capture = lan.capture().unwrap();
    // Both changes happen before the driver's next turn.
    running.with(move |driver| {
        let another = "192.0.2.253".parse().unwrap();
        driver.add_address(id, another).unwrap();
        driver.set_fault(id, "overtaken").unwrap();
    });
    running.wait_for_state(id, State::Initialize);
    wait_for_address(&r1, VIP4, false);
    let frames = capture.stop().unwrap();
    let announced: Vec<_> = frames.iter().filter_map(announcement).collect();
    assert!(announced.is_empty(), "{announced:?}");
    assert!(!has(&r1, "192.0.2.253/32"));
}

#[test]
fn sent_packets_do_not_come_back_to_their_host() {
    let (lan, [host]) = lan_of::<1>();
    // A second interface on another network, where the host is a member of the groups as well.
    let other_lan = Lan::new().unwrap();
    other_lan
        .attach(&host, "eth1", &["198.51.100.1/24"])
        .unwrap();
    let capture = lan.capture().unwrap();
    let other_capture = other_lan.capture().unwrap();
    let running = DriverThread::start(host.namespace());
    let ids = running.with(|driver| {
        ["eth0", "eth1"].map(|interface| {
            [Family::Ipv4, Family::Ipv6].map(|family| {
                let mut config = router(family, 100);
                config.interface = interface.into();
                driver.add(config).unwrap()
            })
        })
    });
    let ids = ids.concat();
    for id in &ids {
        running.wait_for_state(*id, State::Active);
    }
    let started = Instant::now();
    for capture in [&capture, &other_capture] {
        for family in [Family::Ipv4, Family::Ipv6] {
            let is_meant = |seen: &Seen| seen.destination == group(family);
            let (first, _) = wait_for_advertisement(capture, "an advertisement", started, is_meant);
            wait_for_advertisement(capture, "the next one", first, is_meant);
        }
    }
    for id in ids {
        let counters = running.with(move |driver| *driver.get(id).unwrap().machine().counters());
        assert_eq!(counters.own_packets + counters.advertisements_received, 0);
        assert_eq!(counters.other_discards, 0);
    }
    assert_eq!(running.with(|driver| *driver.counters()).vrid_errors, 0);
}

/// Sends an advertisement of priority 250 for VRID 51 with this TTL.
fn forge(host: &Host, source: IpAddr, destination: IpAddr, ttl: u32) {
    let interval = Interval::centis(10).unwrap();
    forge_as(host, source, destination, ttl, (250, interval));
}

/// Sends an advertisement of this priority and interval.
fn forge_as(
    host: &Host,
    source: IpAddr,
    destination: IpAddr,
    ttl: u32,
    (priority, interval): (u8, Interval),
) {
    let addresses = [Ipv4Addr::new(192, 0, 2, 254)];
    let addresses6: [Ipv6Addr; 1] = ["fe80::254".parse().unwrap()];
    let advertisement = Advertisement {
        vrid: vrid(51),
        priority: Priority::new(priority),
        interval,
        authentication: MessageAuthentication::None,
        addresses: if source.is_ipv4() {
            Addresses::from(&addresses[..])
        } else {
            Addresses::from(&addresses6[..])
        },
    };
    let endpoints = Endpoints::new(source, destination).unwrap();
    let mut buffer = [0; 64];
    let length = advertisement
        .encode(&mut buffer, &endpoints, ChecksumForm::MessageOnly)
        .unwrap();
    let index = host.index();
    host.namespace().run(|| {
        let domain = if source.is_ipv4() {
            Domain::IPV4
        } else {
            Domain::IPV6
        };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(112))).unwrap();
        if source.is_ipv4() {
            socket.set_ttl_v4(ttl).unwrap();
            socket.set_multicast_ttl_v4(ttl).unwrap();
        } else {
            socket.set_unicast_hops_v6(ttl).unwrap();
            socket.set_multicast_hops_v6(ttl).unwrap();
            socket.set_multicast_if_v6(index).unwrap();
        }
        socket
            .bind(&SockAddr::from(match source {
                IpAddr::V6(source) => std::net::SocketAddrV6::new(source, 0, 0, index).into(),
                IpAddr::V4(_) => std::net::SocketAddr::new(source, 0),
            }))
            .unwrap();
        let target = SockAddr::from(std::net::SocketAddr::new(destination, 0));
        socket.send_to(&buffer[..length], &target).unwrap();
    });
}

fn wait_for_discard(running: &DriverThread) -> (Discard, IpAddr) {
    running.wait_for_event("a discarded packet", |event| match event {
        DriverEvent::Discarded {
            discard, source, ..
        } => Some((*discard, *source)),
        _ => None,
    })
}

#[test]
fn p_06_an_ipv4_packet_that_was_forwarded_is_discarded() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    forge(&r2, ip("192.0.2.2"), group(Family::Ipv4), 254);
    let expected = Discard::IpTtl {
        found: 254,
        required: 255,
    };
    assert_eq!(wait_for_discard(&running), (expected, ip("192.0.2.2")));
    assert_eq!(running.state(id), State::Active);
    assert_eq!(running.with(|driver| *driver.counters()).ip_ttl_errors, 1);
    // The same packet with TTL 255 is accepted: the packet itself was good.
    forge(&r2, ip("192.0.2.2"), group(Family::Ipv4), 255);
    running.wait_for_state(id, State::Backup);
}

#[test]
fn p_07_an_ipv6_packet_that_was_forwarded_is_discarded() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv6, 100));
    running.wait_for_state(id, State::Active);
    let source = IpAddr::from(r2.link_local());
    forge(&r2, source, group(Family::Ipv6), 64);
    let expected = Discard::IpTtl {
        found: 64,
        required: 255,
    };
    assert_eq!(wait_for_discard(&running), (expected, source));
    assert_eq!(running.state(id), State::Active);
    forge(&r2, source, group(Family::Ipv6), 255);
    running.wait_for_state(id, State::Backup);
}

#[test]
fn p_42_an_advertisement_on_another_interface_is_for_nobody() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let (lan, [r1]) = lan_of::<1>();
        let other_lan = Lan::new().unwrap();
        let addresses = ["198.51.100.1/24", "2001:db8:1::1/64"];
        other_lan.attach(&r1, "eth1", &addresses).unwrap();
        let (running, id) = DriverThread::with_router(r1.namespace(), router(family, 100));
        // Another VRID there, so that the host is a member of the group and the kernel lets both
        // VRIDs through.
        let mut other = router(family, 100);
        other.interface = "eth1".into();
        other.fsm.vrid = vrid(52);
        let other_id = running.with(move |driver| driver.add(other).unwrap());
        for id in [id, other_id] {
            running.wait_for_state(id, State::Active);
        }
        let stranger = |lan: &Lan, address: &str| {
            let stranger = lan.host("stranger", &[address]).unwrap();
            let source = match family {
                Family::Ipv4 => ip(address.split('/').next().unwrap()),
                Family::Ipv6 => stranger.link_local().into(),
            };
            forge(&stranger, source, group(family), 255);
            stranger
        };
        let _there = stranger(&other_lan, "198.51.100.9/24");
        vrrp_lab::wait_for("the VRID error", LIMIT, || {
            (running.with(|driver| *driver.counters()).vrid_errors == 1).then_some(())
        })
        .unwrap();
        let received = move |driver: &mut Driver| {
            let machines = [id, other_id].map(|id| *driver.get(id).unwrap().machine());
            machines.map(|machine| (machine.state(), machine.counters().advertisements_received))
        };
        assert_eq!(running.with(received), [(State::Active, 0); 2]);
        // The same packet on its own interface is accepted.
        let _here = stranger(&lan, "192.0.2.9/24");
        running.wait_for_state(id, State::Backup);
    }
}

fn with_another_address(mut config: RouterConfig) -> RouterConfig {
    config.addresses.push("192.0.2.253/32".parse().unwrap());
    config.check_addresses = true;
    config
}

#[test]
fn p_44_another_version_2_address_list_is_discarded_unless_the_owner_sends_it() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let mut config = with_another_address(router_v2(254));
    config.fsm.missed_advertisements = 1;
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    let receive = |priority| {
        let interval = Interval::seconds(1).unwrap();
        let (source, group) = (ip("192.0.2.2"), group(Family::Ipv4));
        forge_as(&r2, source, group, 255, (priority, interval));
    };
    receive(0);
    let fault = AddressListFault::Differs {
        found: 1,
        configured: 2,
    };
    let (discard, _) = wait_for_discard(&running);
    assert_eq!(discard, Discard::AddressList(fault));
    assert_eq!(running.state(id), State::Active);
    receive(255);
    running.wait_for_state(id, State::Backup);
}

#[test]
fn p_45_another_version_3_address_list_is_reported_and_kept_where_it_is_compared() {
    for check_addresses in [true, false] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let mut config = with_another_address(router(Family::Ipv4, 100));
        config.check_addresses = check_addresses;
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Active);
        forge(&r2, ip("192.0.2.2"), group(Family::Ipv4), 255);
        running.wait_for_state(id, State::Backup);
        let is_reported = running.log().iter().any(
            |it| matches!(it.event, DriverEvent::AddressListDiffers { source, .. } if source == ip("192.0.2.2")),
        );
        assert_eq!(is_reported, check_addresses);
    }
}

#[test]
fn p_34_a_checksum_of_the_other_form_is_discarded_where_one_is_asked_for() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let mut config = router(Family::Ipv4, 100);
    config.checksum = ChecksumAcceptance::PseudoHeader;
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    forge(&r2, ip("192.0.2.2"), group(Family::Ipv4), 255);
    let (discard, _) = wait_for_discard(&running);
    assert!(matches!(discard, Discard::Checksum(_)), "{discard}");
    assert_eq!(running.state(id), State::Active);
    assert_eq!(running.with(|driver| *driver.counters()).checksum_errors, 1);
}

#[test]
fn unicast_is_accepted_from_peers_only_and_with_their_ttl() {
    let (_lan, [r1, r2, r3]) = lan_of::<3>();
    let config = unicast(router(Family::Ipv4, 100), &["192.0.2.2"]);
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);

    let stranger = ip("192.0.2.3");
    forge(&r3, stranger, ip("192.0.2.1"), 255);
    let expected = Discard::Peer { found: stranger };
    assert_eq!(wait_for_discard(&running), (expected, stranger));

    forge(&r2, ip("192.0.2.2"), ip("192.0.2.1"), 64);
    forge(&r2, ip("192.0.2.2"), group(Family::Ipv4), 255);
    vrrp_lab::wait_for("the TTL error", LIMIT, || {
        (running.with(|driver| *driver.counters()).ip_ttl_errors == 1).then_some(())
    })
    .unwrap();
    assert_eq!(running.state(id), State::Active);

    // From the peer with TTL 255 it is accepted.
    forge(&r2, ip("192.0.2.2"), ip("192.0.2.1"), 255);
    running.wait_for_state(id, State::Backup);
    wait_for_address(&r1, VIP4, false);
    assert!(!has(&r1, VIP4));
}

/// A router with unicast that has this TTL, and a Backup that accepts a TTL of 60 to 64 from it.
fn unicast_with_ttl(
    [own, other]: [&str; 2],
    configs: [RouterConfig; 2],
    ttl: u8,
) -> (Lan, [DriverThread; 2], [RouterId; 2]) {
    let (lan, [r1, r2]) = lan_of::<2>();
    let [active, backup] = configs;
    let mut active = unicast(active, &[other]);
    active.unicast_ttl = ttl;
    let mut backup = unicast(backup, &[own]);
    backup.transport = Transport::Unicast {
        peers: vec![Peer::new(ip(own)).with_min_ttl(60).with_max_ttl(64)],
    };
    let (first, active) = DriverThread::with_router(r1.namespace(), active);
    first.wait_for_state(active, State::Active);
    let (second, backup) = DriverThread::with_router(r2.namespace(), backup);
    (lan, [first, second], [active, backup])
}

const OWN_AND_OTHER: [(Family, [&str; 2]); 2] = [
    (Family::Ipv4, ["192.0.2.1", "192.0.2.2"]),
    (Family::Ipv6, ["2001:db8::1", "2001:db8::2"]),
];

#[test]
fn unicast_leaves_with_the_configured_ttl_and_is_accepted_within_the_bounds_of_the_peer() {
    for (family, addresses) in OWN_AND_OTHER {
        let configs = [router(family, 200), router(family, 100)];
        let (lan, [_first, second], [_, id]) = unicast_with_ttl(addresses, configs, 64);
        second.wait_until_it_received(id);
        let capture = lan.capture().unwrap();
        let (_, seen) =
            wait_for_advertisement(&capture, "an advertisement", Instant::now(), |_| true);
        assert_eq!((seen.ttl, seen.destination), (64, ip(addresses[1])));
        assert_eq!(second.with(|driver| *driver.counters()).ip_ttl_errors, 0);
    }
}

#[test]
fn unicast_with_a_ttl_above_that_of_the_peer_is_discarded_and_counted() {
    for (family, addresses) in OWN_AND_OTHER {
        let configs = [router(family, 200), router(family, 100)];
        let (_lan, [_first, second], [_, id]) = unicast_with_ttl(addresses, configs, 65);
        let (discard, _) = wait_for_discard(&second);
        let expected = Discard::IpTtlTooHigh {
            found: 65,
            allowed: 64,
        };
        assert_eq!(discard, expected);
        second.wait_for_state(id, State::Active);
        assert!(second.with(|driver| *driver.counters()).ip_ttl_errors > 0);
    }
}

#[test]
fn ah_by_unicast_leaves_with_the_configured_ttl() {
    let config = |priority| {
        let mut config = router_v2(priority);
        let password = Password::new(b"secret").unwrap();
        config.authentication = Authentication::Ah(password);
        config
    };
    let (_, addresses) = OWN_AND_OTHER[0];
    let configs = [config(200), config(100)];
    let (_lan, [_first, second], [_, id]) = unicast_with_ttl(addresses, configs, 60);
    second.wait_until_it_received(id);
    assert_eq!(second.state(id), State::Backup);
}

#[test]
fn unicast_takes_the_way_that_the_routing_table_knows() {
    // The peer is behind an interface other than that of the virtual address.
    let (_lan, [r1]) = lan_of::<1>();
    let other_lan = Lan::new().unwrap();
    other_lan.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
    let r2 = other_lan.host("r2", &["198.51.100.2/24"]).unwrap();
    iproute2(
        &r2,
        &["route", "add", "192.0.2.0/24", "via", "198.51.100.1"],
    );
    let mut config = unicast(router(Family::Ipv4, 100), &["198.51.100.2"]);
    config.unicast_path = UnicastPath::RoutingTable;
    let (low, low_id) = DriverThread::with_router(r1.namespace(), config);
    let config = unicast(router(Family::Ipv4, 200), &["192.0.2.1"]);
    let (high, high_id) = DriverThread::with_router(r2.namespace(), config);
    high.wait_for_state(high_id, State::Active);
    vrrp_lab::wait_for("the Active being heard", LIMIT, || {
        low.with(move |driver| {
            let machine = driver.get(low_id).unwrap().machine();
            machine
                .active()
                .filter(|_| machine.state() == State::Backup)
        })
        .filter(|active| active.address == ip("198.51.100.2"))
        .map(drop)
    })
    .unwrap();
    high.stop();
    low.wait_for_state(low_id, State::Active);
}

#[test]
fn advertisements_that_cannot_be_sent_are_reported() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut config = unicast(router(Family::Ipv4, 100), &["203.0.113.9"]);
    config.unicast_path = UnicastPath::RoutingTable;
    let (running, _) = DriverThread::with_router(r1.namespace(), config);
    let text = running.wait_for_event("the failure", |event| match event {
        DriverEvent::SendFailed { error, .. } => Some(error.to_string()),
        _ => None,
    });
    let expected = "send an advertisement from 192.0.2.1 to 203.0.113.9: Network is unreachable";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn advertisements_of_many_routers_share_their_system_calls() {
    let (_lan, [r1]) = lan_of::<1>();
    let other_lans: Vec<Lan> = (1..=4).map(|_| Lan::new().unwrap()).collect();
    for (number, lan) in (1..).zip(&other_lans) {
        let address = format!("198.51.{number}.1/24");
        lan.attach(&r1, &format!("eth{number}"), &[&address])
            .unwrap();
    }
    let (sent, turns) = r1.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        for number in 1..=250 {
            for interface in 1..=4_u8 {
                let mut config = router(Family::Ipv4, 100);
                config.interface = format!("eth{interface}");
                config.fsm.vrid = vrid(number);
                config.fsm.interval = Interval::centis(1).unwrap();
                let address = IpAddr::from([10, 0, interface, number]);
                config.addresses = vec![address.into()];
                driver.add(config).unwrap();
            }
        }
        let limit = Instant::now() + LIMIT;
        let mut notified = 0;
        while notified < 1000 {
            assert!(
                Instant::now() < limit,
                "{notified} of 1000 have notified that they are Active"
            );
            driver.turn().unwrap();
            while let Some(notification) = driver.next_notification() {
                notified += u32::from(matches!(
                    notification.event,
                    DriverEvent::StateChanged(change) if change.to == State::Active
                ));
            }
            driver.wait(None).unwrap();
        }
        let sent = |driver: &Driver| -> u64 {
            driver
                .routers()
                .map(|view| view.machine().counters().advertisements_sent)
                .sum()
        };
        let (before, start, mut turns) = (sent(&driver), Instant::now(), 0);
        // Half a second's, on a machine that does nothing else.
        while sent(&driver) < before + 50_000 {
            assert!(start.elapsed() < LIMIT, "{} sent", sent(&driver) - before);
            driver.turn().unwrap();
            driver.wait(None).unwrap();
            turns += 1;
        }
        (sent(&driver) - before, turns)
    });
    // A turn takes five system calls at most, and one more for each 64 advertisements.
    assert!(sent / turns >= 50, "{sent} in {turns} turns");
}

#[test]
fn amb_30_advertisements_of_other_virtual_routers_are_counted_and_no_more() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let mut config = router(Family::Ipv4, 100);
    config.fsm.vrid = vrid(7);
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    running.with(|driver| driver.set_foreign_packets(ForeignPackets::Counted).unwrap());
    forge(&r2, ip("192.0.2.2"), group(Family::Ipv4), 255);
    vrrp_lab::wait_for("the VRID error", LIMIT, || {
        (running.with(|driver| *driver.counters()).vrid_errors == 1).then_some(())
    })
    .unwrap();
    assert_eq!(running.state(id), State::Active);
    let notified = running
        .log()
        .iter()
        .any(|notification| matches!(notification.event, DriverEvent::Discarded { .. }));
    assert!(!notified);
}

/// Hosts with an interface in each of two networks, with addresses of one subnet in both.
fn with_two_interfaces() -> ([Lan; 2], [Host; 2]) {
    let (lan, hosts) = lan_of::<2>();
    let other = Lan::new().unwrap();
    for (number, host) in (1..).zip(&hosts) {
        let addresses = [
            format!("192.0.2.10{number}/24"),
            format!("2001:db8::10{number}/64"),
        ];
        other
            .attach(host, "eth1", &addresses.each_ref().map(String::as_str))
            .unwrap();
    }
    ([lan, other], hosts)
}

#[test]
fn amb_26_unicast_leaves_by_the_router_s_interface_also_where_another_one_is_in_the_subnet() {
    for (family, peer) in [
        (Family::Ipv4, "192.0.2.102"),
        (Family::Ipv6, "2001:db8::102"),
    ] {
        let (lans, [r1, _r2]) = with_two_interfaces();
        let capture = lans[1].capture().unwrap();
        let mut config = unicast(router(family, 100), &[peer]);
        config.interface = "eth1".into();
        let (one, id) = DriverThread::with_router(r1.namespace(), config);
        one.wait_for_state(id, State::Active);
        let since = Instant::now();
        let (_, seen) = wait_for_advertisement(&capture, "one on eth1", since, |_| true);
        assert_eq!(seen.destination, ip(peer));
    }
}

#[test]
fn amb_26_unicast_along_the_routing_table_leaves_by_another_interface() {
    let (_lan, [r1]) = lan_of::<1>();
    let other = Lan::new().unwrap();
    other.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
    let _r2 = other.host("r2", &["198.51.100.2/24"]).unwrap();
    let capture = other.capture().unwrap();
    let mut config = unicast(router(Family::Ipv4, 100), &["198.51.100.2"]);
    config.unicast_path = UnicastPath::RoutingTable;
    let (one, id) = DriverThread::with_router(r1.namespace(), config);
    one.wait_for_state(id, State::Active);
    let since = Instant::now();
    let (_, seen) = wait_for_advertisement(&capture, "one on eth1", since, |_| true);
    assert_eq!(seen.destination, ip("198.51.100.2"));
    assert_eq!(seen.source, ip("192.0.2.1"));
}

#[test]
fn amb_26_link_local_peers_are_reached_by_the_router_s_interface() {
    let (lans, [r1, r2]) = with_two_interfaces();
    let peers = ["fe80::ff:fe00:1", "fe80::ff:fe00:2"];
    let capture = lans[1].capture().unwrap();
    for path in [UnicastPath::Interface, UnicastPath::RoutingTable] {
        let config = |priority, peer| {
            let mut config = unicast(router(Family::Ipv6, priority), &[peer]);
            config.interface = "eth1".into();
            config.unicast_path = path;
            config
        };
        let (one, one_id) = DriverThread::with_router(r1.namespace(), config(200, peers[1]));
        one.wait_for_state(one_id, State::Active);
        let (two, two_id) = DriverThread::with_router(r2.namespace(), config(100, peers[0]));
        wait_for("the Backup to hear", LIMIT, || {
            two.with(move |driver| driver.get(two_id).unwrap().machine().active())
                .map(drop)
        })
        .unwrap();
        assert_eq!(two.state(two_id), State::Backup);
        assert!(!advertisements(&capture).is_empty());
        two.stop();
        one.stop();
    }
}
