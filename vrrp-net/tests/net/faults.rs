//! Interfaces go down, lose their addresses, vanish and come back.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use vrrp_fsm::State;
use vrrp_lab::{Host, Lan, wait_for};
use vrrp_net::{AddressChange, DriverEvent, Fault, Netlink, RouterId, VirtualAddress};
use vrrp_proto::Family;

use crate::rig::{
    DriverThread, LIMIT, VIP4, VIP6, has, in_time, ip, iproute2, lan_of, router, wait_for_address,
    wait_for_advertisement,
};

fn wait_for_faults(running: &DriverThread, id: RouterId, expected: &[Fault]) {
    wait_for("faults", LIMIT, || {
        (running.faults(id) == expected).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", running.faults(id)));
}

#[test]
fn a_router_whose_interface_goes_down_is_in_fault_until_it_is_up() {
    let (_lan, [r1]) = lan_of::<1>();
    for family in [Family::Ipv4, Family::Ipv6] {
        let (running, id) = DriverThread::with_router(r1.namespace(), router(family, 100));
        running.wait_for_state(id, State::Active);
        let address = if family == Family::Ipv4 { VIP4 } else { VIP6 };
        wait_for_address(&r1, address, true);
        r1.shut().unwrap();
        running.wait_for_state(id, State::Initialize);
        assert!(running.faults(id).contains(&Fault::InterfaceDown));
        wait_for_address(&r1, address, false);
        r1.mend().unwrap();
        running.wait_for_state(id, State::Active);
        wait_for_address(&r1, address, true);
        running.wait_for_event("the recovery", |event| {
            matches!(event, DriverEvent::Recovered(Fault::InterfaceDown)).then_some(())
        });
        running.stop();
    }
}

#[test]
fn a_router_that_does_not_track_its_interface_stays_active_while_it_is_down() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let mut config = router(Family::Ipv4, 200);
    config.track_interface = false;
    let (one, one_id) = DriverThread::with_router(r1.namespace(), config);
    one.wait_for_state(one_id, State::Active);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 100));
    two.wait_for_state(two_id, State::Backup);
    r1.shut().unwrap();
    two.wait_for_state(two_id, State::Active);
    assert_eq!(one.faults(one_id), []);
    r1.mend().unwrap();
    two.wait_for_state(two_id, State::Backup);
    one.wait_for_state(one_id, State::Active);
}

#[test]
fn routers_of_another_multicast_group_elect_an_active_and_list_addresses_of_the_program() {
    let (lan, [r1, r2]) = lan_of::<2>();
    let capture = lan.capture().unwrap();
    let group = [224, 24, 24, 18];
    let of_group = |priority| {
        let mut config = router(Family::Ipv4, priority);
        config.group = Some(group.into());
        config.listed = vec![[192, 0, 2, 77].into()];
        config
    };
    let (one, one_id) = DriverThread::with_router(r1.namespace(), of_group(200));
    one.wait_for_state(one_id, State::Active);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), of_group(100));
    two.wait_for_state(two_id, State::Backup);
    wait_for("an advertisement heard", LIMIT, || {
        two.with(move |driver| driver.get(two_id).unwrap().machine().active().is_some())
            .then_some(())
    })
    .unwrap();
    let listed = capture.wait_for("the group", LIMIT, |frame| {
        frame.bytes.get(23) == Some(&112) && frame.bytes.get(30..34) == Some(&group)
    });
    // The advertisement lists two addresses. The driver does not install the second one.
    let frame = listed.unwrap();
    assert_eq!(frame.bytes.get(37), Some(&2));
    assert_eq!(frame.bytes.get(46..50), Some(&[192, 0, 2, 77][..]));
    assert!(!has(&r1, "192.0.2.77/32"));
}

#[test]
fn a_router_that_loses_the_carrier_hands_over() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (one, one_id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 200));
    one.wait_for_state(one_id, State::Active);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 100));
    two.wait_for_state(two_id, State::Backup);
    r1.unplug().unwrap();
    two.wait_for_state(two_id, State::Active);
    one.wait_for_state(one_id, State::Initialize);
    r1.mend().unwrap();
    one.wait_for_state(one_id, State::Active);
    two.wait_for_state(two_id, State::Backup);
}

#[test]
fn a_router_without_a_primary_address_is_in_fault_until_there_is_one() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    // The virtual address is the only one left, and the router must not advertise from it.
    r1.remove_address("192.0.2.1/24").unwrap();
    running.wait_for_state(id, State::Initialize);
    wait_for_faults(&running, id, &[Fault::NoPrimaryAddress]);
    r1.add_address("192.0.2.9/24").unwrap();
    running.wait_for_state(id, State::Active);
    let primary = running.with(move |driver| driver.get(id).unwrap().machine().primary_address());
    assert_eq!(primary, ip("192.0.2.9"));
}

#[test]
fn amb_15_another_primary_address_is_advertised_from_without_an_election() {
    in_time(|| {
        let (lan, _) = lan_of::<0>();
        let host = lan.host("r1", &["192.0.2.1/24", "192.0.2.2/24"]).unwrap();
        // The second address must survive the removal of the first.
        host.namespace()
            .set_sysctl("ipv4.conf.eth0.promote_secondaries", "1")
            .unwrap();
        let capture = lan.capture().unwrap();
        let (running, id) = DriverThread::with_router(host.namespace(), router(Family::Ipv4, 100));
        running.wait_for_state(id, State::Active);
        let removed = std::time::Instant::now();
        host.remove_address("192.0.2.1/24").unwrap();
        let address: IpAddr = running.wait_for_event("the other address", |event| match event {
            DriverEvent::PrimaryAddress(address) => Some(*address),
            _ => None,
        });
        assert_eq!(address, ip("192.0.2.2"));
        crate::rig::wait_for_advertisement(&capture, "an advertisement from it", removed, |seen| {
            seen.source == ip("192.0.2.2")
        });
        assert_eq!(running.count_transitions(State::Active), 1);
        assert_eq!(running.count_transitions(State::Initialize), 0);
    });
}

#[test]
fn a_router_waits_for_its_interface_and_follows_it() {
    let (lan, [r1, r2]) = lan_of::<2>();
    iproute2(&r1, &["link", "delete", "eth0"]);
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    wait_for_faults(&running, id, &[Fault::NoInterface]);
    assert_eq!(running.state(id), State::Initialize);

    let mut indexes = BTreeSet::new();
    for _ in 0..2 {
        let r1 = lan.attach(&r1, "eth0", &["192.0.2.1/24"]).unwrap();
        running.wait_for_state(id, State::Active);
        wait_for_address(&r1, VIP4, true);
        indexes.insert(r1.index());

        // It receives the group on the new interface as well: another router makes it a Backup.
        let (other, other_id) =
            DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 200));
        other.wait_for_state(other_id, State::Active);
        running.wait_for_state(id, State::Backup);
        other.stop();
        running.wait_for_state(id, State::Active);

        iproute2(&r1, &["link", "delete", "eth0"]);
        running.wait_for_state(id, State::Initialize);
        wait_for_faults(&running, id, &[Fault::NoInterface]);
    }
    assert_eq!(indexes.len(), 2, "another interface each time");
}

#[test]
fn a_router_follows_the_name_of_its_interface() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    iproute2(&r1, &["link", "set", "eth0", "name", "wan"]);
    wait_for_faults(&running, id, &[Fault::NoInterface]);
    wait_for("the address leaving with its router", LIMIT, || {
        let shown = iproute2(&r1, &["-o", "address", "show", "dev", "wan"]);
        (!shown.contains("192.0.2.254/32")).then_some(())
    })
    .unwrap();
    iproute2(&r1, &["link", "set", "wan", "name", "eth0"]);
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
}

#[test]
fn routers_follow_interfaces_that_swap_their_names() {
    let (_lan, [r1]) = lan_of::<1>();
    let other = Lan::new().unwrap();
    other.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
    let (running, first) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    let mut second = router(Family::Ipv4, 100);
    second.interface = "eth1".into();
    second.addresses = vec!["198.51.100.254".parse().unwrap()];
    let second = running.with(|driver| driver.add(second).unwrap());
    let addresses = |interface: &str| iproute2(&r1, &["-o", "address", "show", "dev", interface]);
    let wait_for_both = |on_eth0: &str, on_eth1: &str| {
        wait_for("each address on its interface", LIMIT, || {
            let shown = [addresses("eth0"), addresses("eth1")];
            let is_right = shown[0].contains(on_eth0)
                && shown[0].contains("192.0.2.254/32")
                && shown[1].contains(on_eth1)
                && shown[1].contains("198.51.100.254/32")
                && shown.iter().all(|it| it.matches("254/32").count() == 1);
            is_right.then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {} {}", addresses("eth0"), addresses("eth1")));
    };
    wait_for_both("192.0.2.1/24", "198.51.100.1/24");
    running.while_asleep(|| {
        for names in [["eth0", "was0"], ["eth1", "eth0"], ["was0", "eth1"]] {
            iproute2(&r1, &["link", "set", names[0], "name", names[1]]);
        }
    });
    wait_for_both("198.51.100.1/24", "192.0.2.1/24");
    for id in [first, second] {
        running.wait_for_state(id, State::Active);
    }
    let source = running.with(move |driver| driver.get(first).unwrap().machine().primary_address());
    assert_eq!(source, ip("198.51.100.1"));
}

#[test]
fn everything_is_dumped_again_after_lost_notifications() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
    running.with(|driver| driver.set_monitor_buffer(4096).unwrap());
    running.while_asleep(|| {
        // More notifications than the buffer holds, and then those that matter: of the virtual
        // address, and of the primary one.
        for number in 1..=100 {
            r1.add_address(&format!("198.51.100.{number}/32")).unwrap();
        }
        r1.remove_address(VIP4).unwrap();
    });
    running.wait_for_event("the overrun", |event| {
        matches!(event, DriverEvent::Overrun).then_some(())
    });
    running.wait_for_event("the loss", |event| {
        matches!(event, DriverEvent::AddressLost(_)).then_some(())
    });
    wait_for_address(&r1, VIP4, true);
    let known = running.with(|driver| driver.interfaces().clone());
    assert!(known.named("eth0").unwrap().has(ip("198.51.100.100")));
    assert_eq!(running.state(id), State::Active);
}

/// An Active with a drop route, and with a route by another interface, neither of which the kernel
/// removes with its interface.
fn with_something_elsewhere() -> (Lan, Lan, Host, DriverThread, RouterId) {
    let (lan, [r1]) = lan_of::<1>();
    let other = Lan::new().unwrap();
    other.attach(&r1, "eth1", &["198.51.100.1/24"]).unwrap();
    let mut config = router(Family::Ipv4, 100);
    config.enforce_accept_mode = true;
    config.routes = vec!["203.0.113.0/24 via 198.51.100.9".parse().unwrap()];
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    wait_for_routes(&r1, 2);
    (lan, other, r1, running, id)
}

/// Waits until there are `count` routes with the mark.
fn wait_for_routes(host: &Host, count: usize) {
    let shown = || iproute2(host, &["route", "show", "table", "all", "proto", "112"]);
    wait_for(&format!("{count} routes"), LIMIT, || {
        (shown().lines().count() == count).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}; there was {}", shown()));
}

#[test]
fn routes_elsewhere_go_with_an_interface_that_vanishes() {
    let (lan, _other, r1, running, id) = with_something_elsewhere();
    // The driver reads at once that the interface is down, and that it is gone.
    running.while_asleep(|| {
        iproute2(&r1, &["link", "delete", "eth0"]);
    });
    running.wait_for_state(id, State::Initialize);
    wait_for_routes(&r1, 0);
    lan.attach(&r1, "eth0", &["192.0.2.1/24"]).unwrap();
    running.wait_for_state(id, State::Active);
    wait_for_routes(&r1, 2);
}

#[test]
fn routes_elsewhere_go_with_an_interface_that_gets_another_name() {
    let (_lan, _other, r1, running, id) = with_something_elsewhere();
    iproute2(&r1, &["link", "set", "eth0", "name", "wan"]);
    running.wait_for_state(id, State::Initialize);
    wait_for_routes(&r1, 0);
    iproute2(&r1, &["link", "set", "wan", "name", "eth0"]);
    running.wait_for_state(id, State::Active);
    wait_for_routes(&r1, 2);
}

#[test]
fn a_router_over_ipv6_receives_again_after_an_mtu_that_was_too_small() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (one, one_id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv6, 100));
    one.wait_for_state(one_id, State::Active);
    // The kernel ends IPv6 on the interface, with all memberships of groups.
    iproute2(&r1, &["link", "set", "eth0", "mtu", "1000"]);
    one.wait_for_state(one_id, State::Initialize);
    assert!(one.faults(one_id).contains(&Fault::NoPrimaryAddress));
    iproute2(&r1, &["link", "set", "eth0", "mtu", "1500"]);
    one.wait_for_state(one_id, State::Active);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv6, 200));
    two.wait_for_state(two_id, State::Active);
    one.wait_for_state(one_id, State::Backup);
}

#[test]
fn a_router_over_ipv6_receives_again_where_the_notification_of_a_small_mtu_is_lost() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (one, one_id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv6, 100));
    one.wait_for_state(one_id, State::Active);
    one.with(|driver| driver.set_monitor_buffer(1).unwrap());
    one.while_asleep(|| {
        // These notifications leave no room for those of the MTU.
        for toggle in ["down", "up"].iter().cycle().take(20) {
            iproute2(&r1, &["link", "set", "lo", toggle]);
        }
        for mtu in ["1000", "1500"] {
            iproute2(&r1, &["link", "set", "eth0", "mtu", mtu]);
        }
        // The addresses that were removed along with it are there again, unchanged.
        wait_for("a usable link-local address", LIMIT, || {
            let shown = iproute2(&r1, &["-6", "address", "show", "dev", "eth0"]);
            (shown.contains("fe80:") && !shown.contains("tentative")).then_some(())
        })
        .unwrap();
    });
    one.wait_for_event("the overrun", |event| {
        matches!(event, DriverEvent::Overrun).then_some(())
    });
    one.wait_for_state(one_id, State::Active);
    let (two, two_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv6, 200));
    two.wait_for_state(two_id, State::Active);
    one.wait_for_state(one_id, State::Backup);
}

#[test]
fn a_driver_survives_lost_notifications_while_addresses_go_on_changing() {
    let (_lan, [r1]) = lan_of::<1>();
    // So many addresses that a dump comes in parts, between which something changes.
    r1.namespace().run(|| {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap().index;
        let addresses: Vec<VirtualAddress> = (0..3000_u16)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                VirtualAddress::new([10, 0, high, low].into())
            })
            .collect();
        let add = |address| AddressChange::Add {
            interface: lo,
            address,
        };
        let changes: Vec<_> = addresses.iter().map(add).collect();
        netlink.apply(&changes).unwrap();
    });
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    running.with(|driver| driver.set_monitor_buffer(1).unwrap());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            r1.namespace().enter().unwrap();
            let mut netlink = Netlink::open().unwrap();
            let lo = netlink.link("lo").unwrap().unwrap().index;
            let address = &VirtualAddress::new(ip("10.9.9.9"));
            let add = AddressChange::Add {
                interface: lo,
                address,
            };
            let remove = AddressChange::Remove {
                interface: lo,
                address,
            };
            let end = Instant::now() + LIMIT;
            while !is_over.load(Ordering::Relaxed) && Instant::now() < end {
                netlink.apply(&[add, remove]).unwrap();
            }
        });
        running.wait_for_event("the overrun", |event| {
            matches!(event, DriverEvent::Overrun).then_some(())
        });
        // The driver continues its work, and takes on more.
        running.with(move |driver| {
            let address = "192.0.2.253/32".parse().unwrap();
            driver.add_address(id, address).unwrap();
        });
        wait_for_address(&r1, "192.0.2.253/32", true);
        is_over.store(true, Ordering::Relaxed);
    });
    r1.remove_address(VIP4).unwrap();
    running.wait_for_event("the loss", |event| {
        matches!(event, DriverEvent::AddressLost(_)).then_some(())
    });
    wait_for_address(&r1, VIP4, true);
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn an_interface_that_is_a_bridge_port_for_a_moment_changes_nothing() {
    let (lan, [r1]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_address(&r1, VIP4, true);
    iproute2(&r1, &["link", "add", "br1", "type", "bridge"]);
    iproute2(&r1, &["link", "set", "br1", "up"]);
    iproute2(&r1, &["link", "set", "eth0", "master", "br1"]);
    iproute2(&r1, &["link", "set", "eth0", "nomaster"]);
    let since = Instant::now();
    wait_for_advertisement(&capture, "an advertisement after it", since, |seen| {
        seen.priority() == 100
    });
    running.while_asleep(|| {});
    assert_eq!(running.state(id), State::Active);
    assert_eq!(running.faults(id), []);
    assert!(has(&r1, VIP4));
    let log = running.stop();
    let changes = log
        .iter()
        .filter(|it| matches!(it.event, DriverEvent::StateChanged(_)));
    // The changes are to Active at the start, possibly through Backup, and to Initialize at the
    // end.
    assert!(changes.count() <= 3, "{log:#?}");
    assert!(!has(&r1, VIP4));
}
