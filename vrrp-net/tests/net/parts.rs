//! The parts, for programs with a loop of their own.

use std::time::Duration;

use socket2::SockRef;
use vrrp_lab::{Host, Lan, Namespace, wait_for};
use vrrp_net::{
    AddressChange, Datagram, FrameSocket, Interfaces, Monitor, MonitorEvent, Netlink, Outcome,
    ReceiveBatch, VirtualAddress, VrrpSocket,
};
use vrrp_proto::{Endpoints, Family};

use crate::rig::{LIMIT, has, ip, iproute2, lan_of};

/// A packet from a host to the group.
fn datagram<'a>(host: &Host, source: &str, octets: &'a [u8]) -> Datagram<'a> {
    Datagram {
        interface: host.index(),
        endpoints: Endpoints::multicast(ip(source)),
        ttl: 255,
        octets,
    }
}

/// Sends a packet to the group, and returns the interface on which it arrives, if it does.
fn arrives(from: &Host, source: &str, sender: &VrrpSocket, receiver: &VrrpSocket) -> Option<u32> {
    sender.send([datagram(from, source, b"hello")], |_, error| {
        panic!("{error}")
    });
    let mut batch = ReceiveBatch::new();
    let found = wait_for("a packet", Duration::from_millis(300), || {
        receiver.receive(&mut batch).unwrap();
        batch
            .iter()
            .find(|received| received.payload == b"hello")
            .map(|received| received.interface)
    });
    found.ok()
}

#[test]
fn a_membership_ends_with_its_last_user() {
    for (family, source) in [
        (Family::Ipv4, "192.0.2.2"),
        (Family::Ipv6, "fe80::ff:fe00:2"),
    ] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let open = |host: &Host| host.namespace().run(|| VrrpSocket::open(family).unwrap());
        let (mut receiver, sender) = (open(&r1), open(&r2));
        assert_eq!(
            arrives(&r2, source, &sender, &receiver),
            None,
            "not a member yet"
        );
        receiver.join(r1.index()).unwrap();
        receiver.join(r1.index()).unwrap();
        assert_eq!(arrives(&r2, source, &sender, &receiver), Some(r1.index()));
        receiver.leave(r1.index());
        assert_eq!(arrives(&r2, source, &sender, &receiver), Some(r1.index()));
        receiver.leave(r1.index());
        assert_eq!(arrives(&r2, source, &sender, &receiver), None);
        let error = receiver.join(9999).unwrap_err().to_string();
        assert!(
            error.contains("on interface 9999, which is gone"),
            "{error}"
        );
    }
}

#[test]
fn a_socket_is_a_member_on_more_interfaces_than_the_kernel_lets_it_hold() {
    let (_lan, [hub]) = lan_of::<1>();
    hub.namespace()
        .set_sysctl("ipv4.igmp_max_memberships", "2")
        .unwrap();
    let mut receiver = hub
        .namespace()
        .run(|| VrrpSocket::open(Family::Ipv4).unwrap());
    let networks: Vec<(Lan, Host, Host)> = (1..=5)
        .map(|number| {
            let lan = Lan::new().unwrap();
            let own = format!("198.51.{number}.1/24");
            let own = lan.attach(&hub, &format!("eth{number}"), &[&own]).unwrap();
            let other = format!("198.51.{number}.2/24");
            let other = lan.host("other", &[&other]).unwrap();
            (lan, own, other)
        })
        .collect();
    let indexes: Vec<u32> = networks.iter().map(|(_, own, _)| own.index()).collect();
    hub.namespace().run(|| {
        for index in indexes {
            receiver.join(index).unwrap();
        }
    });
    for (number, (_, own, other)) in (1..).zip(&networks) {
        let sender = other
            .namespace()
            .run(|| VrrpSocket::open(Family::Ipv4).unwrap());
        let source = format!("198.51.{number}.2");
        assert_eq!(
            arrives(other, &source, &sender, &receiver),
            Some(own.index())
        );
    }
}

#[test]
fn a_socket_whose_interfaces_come_and_go_takes_no_more_sockets_than_it_needs() {
    let (_lan, [hub]) = lan_of::<1>();
    hub.namespace()
        .set_sysctl("ipv4.igmp_max_memberships", "1")
        .unwrap();
    let indexes: Vec<u32> = (0..4)
        .map(|number| {
            let name = format!("bridge{number}");
            iproute2(&hub, &["link", "add", &name, "type", "bridge"]);
            iproute2(&hub, &["link", "set", &name, "up"]);
            hub.namespace()
                .run(|| Netlink::open().unwrap().link(&name).unwrap().unwrap().index)
        })
        .collect();
    let parts = hub.namespace().run(|| {
        let mut socket = VrrpSocket::open(Family::Ipv4).unwrap();
        for index in &indexes[..3] {
            socket.join(*index).unwrap();
        }
        // The first membership stays; of the two others, one always exists.
        for step in 0..6 {
            socket.leave(indexes[1 + step % 3]);
            socket.join(indexes[1 + (step + 2) % 3]).unwrap();
        }
        socket.into_parts()
    });
    assert_eq!(parts.memberships.len(), 3);
    assert_eq!(parts.sockets.len(), 3);
}

#[test]
fn a_thread_in_another_namespace_opens_no_sockets_there() {
    let (_lan, [hub]) = lan_of::<1>();
    hub.namespace()
        .set_sysctl("ipv4.igmp_max_memberships", "1")
        .unwrap();
    iproute2(&hub, &["link", "add", "more", "type", "bridge"]);
    iproute2(&hub, &["link", "set", "more", "up"]);
    let (mut socket, more) = hub.namespace().run(|| {
        let more = Netlink::open().unwrap().link("more").unwrap().unwrap();
        (VrrpSocket::open(Family::Ipv4).unwrap(), more.index)
    });
    // A membership for which the socket itself has room can be joined from any namespace.
    socket.join(hub.index()).unwrap();
    let elsewhere = Namespace::new().unwrap();
    let error = elsewhere.run(|| socket.join(more)).unwrap_err().to_string();
    assert!(error.contains("another network namespace"), "{error}");
    hub.namespace().run(|| socket.join(more)).unwrap();
}

#[test]
fn packets_travel_in_batches_with_what_belongs_to_each() {
    const COUNT: u32 = 200;
    for (family, source) in [
        (Family::Ipv4, "192.0.2.2"),
        (Family::Ipv6, "fe80::ff:fe00:2"),
    ] {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let open = |host: &Host| host.namespace().run(|| VrrpSocket::open(family).unwrap());
        let (mut receiver, sender) = (open(&r1), open(&r2));
        receiver.join(r1.index()).unwrap();
        // The octets in the place of a checksum must arrive unchanged.
        let packets: Vec<[u8; 12]> = (0..COUNT)
            .map(|number| {
                let mut packet = [0xaa; 12];
                packet[..4].copy_from_slice(&number.to_be_bytes());
                packet
            })
            .collect();
        sender.send(
            packets.iter().map(|packet| datagram(&r2, source, packet)),
            |_, error| panic!("{error}"),
        );
        let mut batch = ReceiveBatch::new();
        let mut calls = 0;
        let mut arrived = Vec::new();
        wait_for("all packets", LIMIT, || {
            while receiver.receive(&mut batch).unwrap() > 0 {
                calls += 1;
                for packet in batch.iter() {
                    assert_eq!(packet.interface, r1.index());
                    assert_eq!(packet.ip.endpoints, Endpoints::multicast(ip(source)));
                    assert_eq!(packet.ip.ttl, 255);
                    arrived.push(packet.payload.to_vec());
                }
            }
            (arrived.len() == packets.len()).then_some(())
        })
        .unwrap();
        assert_eq!(arrived, packets);
        assert!(calls <= 20, "{calls} calls for {COUNT} packets");
    }
}

#[test]
fn refused_packets_are_reported_by_their_places() {
    let (_lan, [r1]) = lan_of::<1>();
    let socket = r1
        .namespace()
        .run(|| VrrpSocket::open(Family::Ipv4).unwrap());
    let good = datagram(&r1, "192.0.2.1", b"good");
    let wrong_source = datagram(&r1, "198.51.100.1", b"bad");
    let wrong_interface = Datagram {
        interface: 9999,
        ..good
    };
    let mut refused = Vec::new();
    socket.send(
        [good, wrong_source, good, wrong_interface, good],
        |place, error| refused.push((place, error.raw_os_error())),
    );
    let places: Vec<usize> = refused.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 3], "{refused:?}");
}

#[test]
fn a_longer_packet_than_any_advertisement_is_left_out() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let open = |host: &Host| {
        host.namespace()
            .run(|| VrrpSocket::open(Family::Ipv4).unwrap())
    };
    let (mut receiver, sender) = (open(&r1), open(&r2));
    receiver.join(r1.index()).unwrap();
    let long = vec![0; 8000];
    sender.send([datagram(&r2, "192.0.2.2", &long)], |_, error| {
        panic!("{error}")
    });
    assert_eq!(
        arrives(&r2, "192.0.2.2", &sender, &receiver),
        Some(r1.index())
    );
    let mut batch = ReceiveBatch::new();
    assert_eq!(receiver.receive(&mut batch).unwrap(), 0);
    assert_eq!(batch.iter().count(), 0);
}

#[test]
fn frames_leave_by_the_interface_that_they_name() {
    let (lan, [r1]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let socket = r1.namespace().run(|| FrameSocket::open().unwrap());
    let mut frame = [0; 60];
    frame[..6].copy_from_slice(&[0xff; 6]);
    frame[6..12].copy_from_slice(&r1.mac());
    frame[12..18].copy_from_slice(b"\x88\xb5test");
    let mut refused = Vec::new();
    socket.send(
        [(9999, &frame[..]), (r1.index(), &frame[..])],
        |place, _| refused.push(place),
    );
    assert_eq!(refused, [0]);
    let seen = capture
        .wait_for("the frame", LIMIT, |seen| {
            seen.bytes.get(12..18) == Some(b"\x88\xb5test")
        })
        .unwrap();
    assert_eq!(seen.bytes[6..12], r1.mac());
}

#[test]
fn addresses_are_changed_in_pipelines_with_a_result_for_each() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut netlink = r1.namespace().run(|| Netlink::open().unwrap());
    let addresses: Vec<VirtualAddress> = (0..300_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            VirtualAddress::new([10, 0, high, low].into())
        })
        .collect();
    let interface = r1.index();
    let add: Vec<_> = addresses
        .iter()
        .map(|address| AddressChange::Add { interface, address })
        .collect();
    let remove: Vec<_> = addresses
        .iter()
        .map(|address| AddressChange::Remove { interface, address })
        .collect();
    let mut apply = |changes: &[AddressChange<'_>]| -> Vec<Outcome> {
        let results = netlink.apply(changes).unwrap();
        results.into_iter().map(Result::unwrap).collect()
    };
    assert_eq!(apply(&add), [Outcome::Changed; 300]);
    assert_eq!(r1.addresses().unwrap().len(), 300 + 3);
    assert_eq!(apply(&add[..100]), [Outcome::AlreadySo; 100]);
    assert_eq!(apply(&remove[..100]), [Outcome::Changed; 100]);
    assert_eq!(apply(&add[50..150])[..51], {
        let mut expected = [Outcome::Changed; 51];
        expected[50] = Outcome::AlreadySo;
        expected
    });
    assert_eq!(apply(&remove[..50]), [Outcome::AlreadySo; 50]);

    let gone = AddressChange::Add {
        interface: 9999,
        address: &addresses[0],
    };
    let nowhere = AddressChange::Remove {
        interface: 9999,
        address: &addresses[0],
    };
    let mut results = netlink.apply(&[gone, nowhere]).unwrap().into_iter();
    let error = results.next().unwrap().unwrap_err().to_string();
    assert!(
        error.starts_with("add 10.0.0.0/32 to interface 9999, which is gone: No such device"),
        "{error}"
    );
    assert_eq!(results.next().unwrap().unwrap(), Outcome::AlreadySo);
}

#[test]
fn labels_scopes_and_prefix_lengths_reach_the_kernel() {
    let (_lan, [r1]) = lan_of::<1>();
    let address = "198.51.100.7/24"
        .parse::<VirtualAddress>()
        .unwrap()
        .with_label("eth0:vip")
        .unwrap()
        .with_scope(vrrp_net::Scope::Link);
    let interface = r1.index();
    let change = AddressChange::Add {
        interface,
        address: &address,
    };
    let mut netlink = r1.namespace().run(|| Netlink::open().unwrap());
    assert_eq!(
        netlink.apply(&[change]).unwrap()[0].as_ref().unwrap(),
        &Outcome::Changed
    );
    let shown = iproute2(&r1, &["-4", "-o", "address", "show", "dev", "eth0"]);
    let line = shown
        .lines()
        .find(|line| line.contains("198.51.100.7/24"))
        .unwrap();
    assert!(
        line.contains("scope link") && line.contains("eth0:vip"),
        "{line}"
    );
}

#[test]
fn the_monitor_reports_the_state_that_a_dump_shows() {
    let (_lan, [r1]) = lan_of::<1>();
    let other_lan = Lan::new().unwrap();
    let (mut monitor, mut netlink) = r1
        .namespace()
        .run(|| (Monitor::open().unwrap(), Netlink::open().unwrap()));
    let mut known = netlink.interfaces().unwrap();
    let mut events = Vec::new();
    let mut follow = |what: &str, is_so: &dyn Fn(&Interfaces) -> bool| {
        wait_for(what, LIMIT, || {
            monitor
                .receive(|event| {
                    known.apply(&event);
                    events.push(event);
                })
                .unwrap();
            (is_so(&known) && known == netlink.interfaces().unwrap()).then_some(())
        })
        .unwrap();
    };
    r1.add_address("198.51.100.1/24").unwrap();
    r1.add_address("192.0.2.200/24").unwrap();
    r1.add_address("2001:db8:1::1/64").unwrap();
    // The kernel puts these addresses before the others.
    for (address, scope) in [("203.0.113.1/24", "link"), ("10.9.0.1/24", "host")] {
        iproute2(
            &r1,
            &["address", "add", address, "dev", "eth0", "scope", scope],
        );
    }
    r1.remove_address("192.0.2.1/24").unwrap();
    follow("addresses", &|known| {
        let eth0 = known.named("eth0").unwrap();
        eth0.link.up
            && eth0.link.mac.unwrap().0 == r1.mac()
            && eth0.has(ip("198.51.100.1"))
            && eth0.has(ip("2001:db8:1::1"))
            && !eth0.has(ip("192.0.2.1"))
    });
    r1.shut().unwrap();
    follow("the link going down", &|known| {
        !known.named("eth0").unwrap().link.up
    });
    let second = other_lan.attach(&r1, "eth1", &["198.51.100.2/24"]).unwrap();
    follow("a new link", &|known| {
        known
            .named("eth1")
            .is_some_and(|eth1| eth1.link.index == second.index() && eth1.has(ip("198.51.100.2")))
    });
    iproute2(&r1, &["link", "delete", "eth1"]);
    follow("the link's end", &|known| {
        known.named("eth1").is_none() && known.get(second.index()).is_none()
    });
    let gone = MonitorEvent::LinkGone {
        interface: second.index(),
    };
    assert!(events.contains(&gone));
}

#[test]
fn requests_have_a_receive_buffer_of_their_own_size() {
    let (_lan, [r1]) = lan_of::<1>();
    let netlink = r1.namespace().run(|| Netlink::open().unwrap());
    let size = SockRef::from(&netlink).recv_buffer_size().unwrap();
    // The default of Linux is 208 KiB.
    assert!(size >= 384 << 10, "{size}");
}

#[test]
fn answers_that_found_no_room_are_asked_for_again() {
    let (_lan, [r1]) = lan_of::<1>();
    let mut netlink = r1.namespace().run(|| Netlink::open().unwrap());
    // The smallest buffer that the kernel grants has room for a few answers.
    SockRef::from(&netlink).set_recv_buffer_size(1).unwrap();
    let addresses: Vec<VirtualAddress> = (1..=250)
        .map(|n| VirtualAddress::new([198, 51, 100, n].into()))
        .collect();
    let interface = r1.index();
    let adding = addresses
        .iter()
        .map(|address| AddressChange::Add { interface, address });
    let results = netlink.apply(&adding.collect::<Vec<_>>()).unwrap();
    assert_eq!(results.len(), 250);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for address in &addresses {
        assert!(has(&r1, &address.to_string()), "{address}");
    }
    let interfaces = netlink.interfaces().unwrap();
    assert!(interfaces.get(interface).unwrap().addresses.len() > 250);
    let removal = addresses
        .iter()
        .map(|address| AddressChange::Remove { interface, address });
    let results = netlink.apply(&removal.collect::<Vec<_>>()).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(!has(&r1, "198.51.100.250/32"));
}
