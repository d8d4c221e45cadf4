//! Answers to neighbours that resolve a virtual address.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use vrrp_fsm::State;
use vrrp_lab::{Capture, Frame, Host, Namespace, Probe, wait_for};
use vrrp_net::{
    DriverEvent, LinkChange, Macvlan, Netlink, Outcome, ProxySocket, Route, RouteChange, RouterId,
    VirtualMac,
};
use vrrp_proto::{
    Family,
    frame::{MacAddress, arp, ipv6, neighbor, virtual_mac},
};

use crate::rig::{DriverThread, LIMIT, fsm, ip, iproute2, lan_of, router, vrid, wait_for_address};

/// The address that an ARP reply or a solicited Neighbor Advertisement is about, and the hardware
/// address that it gives.
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
            let mac_address = advertisement.target_mac?;
            advertisement
                .solicited
                .then_some((advertisement.target.into(), mac_address))
        }
        _ => None,
    }
}

/// Returns the hardware addresses that answer a client with an empty neighbor table. A busy kernel
/// may drop the request; then the client learns the hardware address from an announcement, and asks
/// again.
fn who_answers(client: &Host, capture: &Capture, address: &str) -> BTreeSet<MacAddress> {
    wait_for("an answer", LIMIT, || {
        let mac_addresses = who_answers_once(client, capture, address);
        (!mac_addresses.is_empty()).then_some(mac_addresses)
    })
    .unwrap()
}

fn who_answers_once(client: &Host, capture: &Capture, address: &str) -> BTreeSet<MacAddress> {
    iproute2(client, &["neighbor", "flush", "all"]);
    let asked = Instant::now();
    let probe = Probe::start(client, ip(address), Duration::from_millis(5)).unwrap();
    probe.wait_for_answer(asked, LIMIT).unwrap();
    // Time for a second answer, from a host that should not give one.
    std::thread::sleep(Duration::from_millis(50));
    probe.stop().unwrap();
    let frames = capture.frames();
    let answers = frames
        .iter()
        .filter(|frame| frame.at >= asked)
        .filter_map(answer);
    answers
        .filter_map(|(of, mac_address)| (of == ip(address)).then_some(mac_address))
        .collect()
}

fn only_the_active_answers(family: Family, address: &str, prefixed: &str) {
    let (lan, hosts) = lan_of::<3>();
    let (high, high_id) = DriverThread::with_router(hosts[1].namespace(), router(family, 200));
    let (low, low_id) = DriverThread::with_router(hosts[0].namespace(), router(family, 100));
    high.wait_for_state(high_id, State::Active);
    low.wait_for_state(low_id, State::Backup);
    wait_for_address(&hosts[1], prefixed, true);
    let capture = lan.capture().unwrap();
    let mac_address = |host: &Host| BTreeSet::from([MacAddress(host.mac())]);
    assert_eq!(
        who_answers(&hosts[2], &capture, address),
        mac_address(&hosts[1])
    );

    // The router that was Active no longer answers when it is Backup.
    low.with(move |driver| {
        driver.reconfigure(low_id, fsm(family, 250)).unwrap();
    });
    low.wait_for_state(low_id, State::Active);
    high.wait_for_state(high_id, State::Backup);
    wait_for_address(&hosts[1], prefixed, false);
    wait_for_address(&hosts[0], prefixed, true);
    assert_eq!(
        who_answers(&hosts[2], &capture, address),
        mac_address(&hosts[0])
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

#[test]
fn a_08_an_active_answers_a_solicitation_with_its_hardware_address_and_the_router_flag() {
    let plain = router(Family::Ipv6, 100);
    let mut borne = plain.clone();
    borne.virtual_mac = Some(VirtualMac::default());
    // The kernel answers for these two and sets the flag where it forwards (AMB-18). For the others
    // the driver answers, and always sets it.
    let mut borne_and_answered = borne.clone();
    borne_and_answered.enforce_accept_mode = true;
    let mut answered = plain.clone();
    answered.enforce_accept_mode = true;
    for config in [plain, borne, borne_and_answered, answered] {
        let (lan, [r1, client]) = lan_of::<2>();
        if !config.enforce_accept_mode {
            let name = "ipv6.conf.all.forwarding";
            r1.namespace().set_sysctl(name, "1").unwrap();
        }
        let mac_address = match config.virtual_mac {
            Some(_) => virtual_mac(vrid(51), Family::Ipv6),
            None => MacAddress(r1.mac()),
        };
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Active);
        let capture = lan.capture().unwrap();
        let target = "2001:db8::254".parse().unwrap();
        let probe = Probe::start(&client, IpAddr::V6(target), Duration::from_millis(20)).unwrap();
        let mut found = None;
        capture
            .wait_for("an answer", LIMIT, |frame| {
                let ip = frame.bytes.get(14..).map(ipv6::Packet::parse);
                let answer = ip.and_then(|ip| neighbor::Advertisement::parse(&ip.ok()?).ok()?);
                found = answer.filter(|it| it.solicited && it.target == target);
                found.is_some()
            })
            .unwrap();
        probe.stop().unwrap();
        let expected = neighbor::Advertisement {
            target,
            target_mac: Some(mac_address),
            router: true,
            solicited: true,
            overrides: true,
        };
        assert_eq!(found, Some(expected));
    }
}

/// Runs `work` while there is a macvlan that is up and has no address, a route that discards, and a
/// socket that answers on a thread of its own.
fn answer_for(host: &Host, address: IpAddr, work: impl FnOnce() + Send) {
    let family = if address.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    };
    let mac = virtual_mac(vrid(51), family);
    let (socket, interface) = host.namespace().run(|| {
        let mut netlink = Netlink::open().unwrap();
        let mut interfaces = netlink.interfaces().unwrap();
        let key = (family, vrid(51));
        let macvlan = Macvlan::add(&mut netlink, &mut interfaces, host.index(), key, None, true);
        let interface = macvlan.unwrap().interface();
        let route = Route::discard(address);
        let route = RouteChange::Add {
            interface: None,
            route: &route,
        };
        let changes = [LinkChange::Up { interface }.into(), route.into()];
        for result in netlink
            .apply::<vrrp_net::NetlinkChange<'_>>(&changes)
            .unwrap()
        {
            assert_eq!(result.unwrap(), Outcome::Changed);
        }
        let mut socket = ProxySocket::open(family).unwrap();
        socket.join(interface, address).unwrap();
        socket.join(interface, address).unwrap();
        socket.leave(interface, address);
        (socket, interface)
    });
    std::thread::scope(|scope| {
        let worker = scope.spawn(work);
        while !worker.is_finished() {
            socket
                .answer(|asked, of| (asked == interface && of == address).then_some(mac))
                .unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_10_an_address_that_is_not_on_the_host_is_answered_for_and_nothing_sent_to_it_is_accepted() {
    for (address, prefix) in [
        ("192.0.2.254", "192.0.2.254/32"),
        ("2001:db8::254", "2001:db8::254/128"),
    ] {
        let (lan, [r1, client]) = lan_of::<2>();
        let capture = lan.capture().unwrap();
        let mut pings = None;
        answer_for(&r1, ip(address), || {
            let asked = Instant::now();
            let probe = Probe::start(&client, ip(address), Duration::from_millis(20)).unwrap();
            let answered = wait_for("an answer", LIMIT, || {
                let frames = capture.frames();
                frames
                    .iter()
                    .filter_map(answer)
                    .find(|(of, _)| *of == ip(address))
            });
            let mac = answered.unwrap().1;
            assert_eq!(
                Some(mac.0[4]),
                Some(if address.contains(':') { 2 } else { 1 })
            );
            // The neighbour also answers for its own address: it is alive.
            let own = if address.contains(':') {
                "2001:db8::1"
            } else {
                "192.0.2.1"
            };
            let other = Probe::start(&client, ip(own), Duration::from_millis(20)).unwrap();
            other.wait_for_answer(asked, LIMIT).unwrap();
            pings = Some(probe.stop().unwrap());
            // A known neighbour is asked by unicast, over IPv6 too.
            let is_known = iproute2(&client, &["neighbor", "show", address]);
            assert!(is_known.contains("00:00:5e:00:0"), "{is_known}");
            let since = Instant::now();
            iproute2(
                &client,
                &["neighbor", "change", address, "dev", "eth0", "nud", "probe"],
            );
            capture
                .wait_for("an answer to a question by unicast", LIMIT, |frame| {
                    frame.at >= since && answer(frame).is_some_and(|(of, _)| of == ip(address))
                })
                .unwrap();
        });
        let pings = pings.unwrap();
        assert!(!pings.0.is_empty());
        assert!(pings.0.iter().all(|ping| ping.answer.is_none()), "{prefix}");
    }
}

/// Whether an interface of a host receives solicitations for the virtual address.
fn receives_solicitations(host: &Host) -> bool {
    let mut list = host.namespace().command("cat");
    let list = list.arg("/proc/thread-self/net/igmp6").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    list.lines()
        .any(|line| line.contains("eth0") && line.contains("ff0200000000000000000001ff000254"))
}

/// Moves the interface of a host to another network namespace and back, where it has the index of
/// before.
fn visit_another_namespace(host: &Host, while_away: impl FnOnce()) {
    let elsewhere = Namespace::new().unwrap();
    let sleep = |namespace: &Namespace| namespace.command("sleep").arg("600").spawn().unwrap();
    let mut sleeps = [sleep(&elsewhere), sleep(host.namespace())];
    let [there, back] = sleeps.each_ref().map(|it| it.id().to_string());
    iproute2(host, &["link", "set", "eth0", "netns", &there]);
    while_away();
    let mut ip = elsewhere.command("ip");
    let moved = ip.args(["link", "set", "eth0", "netns", &back]).status();
    assert!(moved.unwrap().success());
    iproute2(host, &["link", "set", "eth0", "up"]);
    let shown = iproute2(host, &["-o", "link", "show", "dev", "eth0"]);
    assert!(shown.starts_with(&format!("{}: ", host.index())), "{shown}");
    for sleep in &mut sleeps {
        sleep.kill().unwrap();
        sleep.wait().unwrap();
    }
    wait_for("a usable link-local address", LIMIT, || {
        let shown = iproute2(host, &["-6", "address", "show", "dev", "eth0"]);
        (shown.contains("fe80:") && !shown.contains("tentative")).then_some(())
    })
    .unwrap();
}

/// An Active over IPv6 that only answers for its address receives solicitations after `happening`.
fn solicitations_are_received_after(happening: impl FnOnce(&Host, &DriverThread, RouterId)) {
    let (_lan, [r1]) = lan_of::<1>();
    let mut config = router(Family::Ipv6, 100);
    config.enforce_accept_mode = true;
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    let received = || {
        wait_for("the membership", LIMIT, || {
            receives_solicitations(&r1).then_some(())
        })
    };
    received().unwrap();
    happening(&r1, &running, id);
    running.wait_for_state(id, State::Active);
    received().unwrap();
    running.stop();
    assert!(!receives_solicitations(&r1));
}

#[test]
fn a_07_solicitations_are_received_after_an_interface_has_visited_another_namespace() {
    solicitations_are_received_after(|host, running, id| {
        visit_another_namespace(host, || running.wait_for_state(id, State::Initialize));
    });
}

#[test]
fn a_07_solicitations_are_received_after_a_visit_that_the_driver_sees_at_once() {
    solicitations_are_received_after(|host, running, _| {
        running.while_asleep(|| visit_another_namespace(host, || ()));
    });
}

#[test]
fn a_07_solicitations_are_received_after_a_visit_whose_notifications_are_lost() {
    solicitations_are_received_after(|host, running, _| {
        running.with(|driver| driver.set_monitor_buffer(1).unwrap());
        running.while_asleep(|| {
            // These notifications leave no room for later ones.
            for toggle in ["down", "up"].iter().cycle().take(20) {
                iproute2(host, &["link", "set", "lo", toggle]);
            }
            visit_another_namespace(host, || ());
        });
        running.wait_for_event("the overrun", |event| {
            matches!(event, DriverEvent::Overrun).then_some(())
        });
    });
}

#[test]
fn a_07_solicitations_are_received_after_an_mtu_that_was_too_small() {
    solicitations_are_received_after(|host, running, _| {
        running.while_asleep(|| {
            // The kernel ends IPv6 on the interface, with all memberships of groups.
            for mtu in ["1000", "1500"] {
                iproute2(host, &["link", "set", "eth0", "mtu", mtu]);
            }
            wait_for("a usable link-local address", LIMIT, || {
                let shown = iproute2(host, &["-6", "address", "show", "dev", "eth0"]);
                (shown.contains("fe80:") && !shown.contains("tentative")).then_some(())
            })
            .unwrap();
        });
    });
}
