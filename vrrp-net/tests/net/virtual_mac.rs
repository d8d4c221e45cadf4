//! Routers that use their virtual MAC, and Accept_Mode.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use vrrp_fsm::{ChecksumSending, State};
use vrrp_lab::{
    Capture, Frame, Host, Keepalived, KeepalivedInstance, Lan, Namespace, Probe, V3Checksum,
    tshark, wait_for, write_pcap,
};
use vrrp_net::{
    AddressChange, Driver, DriverEvent, Netlink, Notification, RouterConfig, VirtualAddress,
    VirtualMac,
};
use vrrp_proto::{
    ChecksumForm, Family, Priority,
    frame::{MacAddress, virtual_mac},
};

use crate::rig::{
    DriverThread, LIMIT, Seen, VIP4, VIP6, ip, iproute2, lan_of, notifications, router, router_v2,
    vrid, wait_for_advertisement,
};

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// A router on eth0 with VRID 51 that uses its virtual MAC and accepts.
pub(crate) fn virtual_mac_router(family: Family, priority: u8) -> RouterConfig {
    let mut config = router(family, priority);
    config.virtual_mac = Some(VirtualMac::default());
    config
}

/// An address of its own that a client can ping.
pub(crate) fn address(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "192.0.2.254",
        Family::Ipv6 => "2001:db8::254",
    }
}

fn prefixed(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => VIP4,
        Family::Ipv6 => VIP6,
    }
}

pub(crate) fn mac(family: Family) -> MacAddress {
    virtual_mac(vrid(51), family)
}

fn source(frame: &Frame) -> MacAddress {
    MacAddress(frame.bytes[6..12].try_into().unwrap())
}

/// A hardware address, as ip(8) writes it.
fn text(mac: MacAddress) -> String {
    mac.to_string().replace('-', ":").to_lowercase()
}

/// The name of a host's macvlan.
fn name(host: &Host, family: Family) -> String {
    let family = match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    format!("vrrp{family}-51-{:x}", host.index())
}

/// Whether a host's macvlan has the address.
fn macvlan_has_address(host: &Host, family: Family) -> bool {
    let address = prefixed(family).parse().unwrap();
    host.namespace()
        .addresses(&name(host, family))
        .is_ok_and(|addresses| addresses.contains(&address))
}

fn wait_for_macvlan_address(host: &Host, family: Family, is_present: bool) {
    wait_for(
        &format!("{family} on the macvlan: {is_present}"),
        LIMIT,
        || (macvlan_has_address(host, family) == is_present).then_some(()),
    )
    .unwrap();
}

/// Waits until a client with an empty neighbor table gets an answer from the address, and returns
/// the hardware address that it learned.
fn ping(client: &Host, target: &str) -> String {
    iproute2(client, &["neighbor", "flush", "all"]);
    let since = Instant::now();
    let probe = Probe::start(client, ip(target), Duration::from_millis(10)).unwrap();
    probe.wait_for_answer(since, LIMIT).unwrap();
    iproute2(client, &["neighbor", "show", target])
}

/// Checks that a client learns a hardware address for an address that does not answer pings.
pub(crate) fn is_resolved_and_silent(client: &Host, target: &str, mac_address: MacAddress) {
    iproute2(client, &["neighbor", "flush", "all"]);
    let probe = Probe::start(client, ip(target), Duration::from_millis(10)).unwrap();
    let mac_address = text(mac_address);
    wait_for("the station", LIMIT, || {
        let shown = iproute2(client, &["neighbor", "show", target]);
        shown.contains(&mac_address).then_some(())
    })
    .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let pings = probe.stop().unwrap();
    assert!(pings.0.len() > 10);
    assert!(pings.0.iter().all(|ping| ping.answer.is_none()));
}

#[test]
fn m_03_advertisements_leave_from_the_virtual_mac() {
    for family in FAMILIES {
        let (lan, [r1]) = lan_of::<1>();
        let capture = lan.capture().unwrap();
        let mut config = virtual_mac_router(family, 100);
        // The checksum form for tshark below.
        config.fsm.checksum = ChecksumSending::Fixed(ChecksumForm::MessageOnly);
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Active);
        for _ in 0..3 {
            wait_for_advertisement(&capture, "an advertisement", Instant::now(), |_| true);
        }
        running.stop();
        let frames = capture.stop().unwrap();
        let is_advertisement = |frame: &&Frame| Seen::in_frame(frame).is_some();
        let advertisements: Vec<Frame> = frames.iter().filter(is_advertisement).cloned().collect();
        assert!(advertisements.len() >= 4, "with the one that resigns");
        // The IP source is the interface's own (P-08, P-09).
        let primary = match family {
            Family::Ipv4 => ip("192.0.2.1"),
            Family::Ipv6 => r1.link_local().into(),
        };
        for frame in &advertisements {
            assert_eq!(source(frame), mac(family));
            assert_eq!(Seen::in_frame(frame).unwrap().source, primary);
        }
        // tshark finds the same.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vrrp.pcap");
        write_pcap(&path, &advertisements).unwrap();
        let packets = tshark(&path, V3Checksum::MessageOnly).unwrap();
        assert_eq!(packets.len(), advertisements.len());
        for packet in packets {
            assert_eq!(packet.complaints(), Vec::<String>::new());
        }
    }
}

#[test]
fn m_03_advertisements_leave_from_the_interface_where_that_is_asked_for() {
    let (lan, [r1]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let mut config = virtual_mac_router(Family::Ipv4, 100);
    config.virtual_mac = Some(VirtualMac {
        name: Some("vip".into()),
        advertise_from_interface: true,
    });
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    let frame = capture
        .wait_for("an advertisement", LIMIT, |frame| {
            Seen::in_frame(frame).is_some()
        })
        .unwrap();
    assert_eq!(source(&frame).0, r1.mac());
    wait_for("the address", LIMIT, || {
        let addresses = r1.namespace().addresses("vip").unwrap();
        addresses.contains(&VIP4.parse().unwrap()).then_some(())
    })
    .unwrap();
}

#[test]
fn m_12_a_takeover_is_announced_from_the_virtual_mac() {
    for family in FAMILIES {
        let (lan, [r1]) = lan_of::<1>();
        let capture = lan.capture().unwrap();
        let (running, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        running.wait_for_state(id, State::Active);
        let announcement = capture
            .wait_for("an announcement", LIMIT, |frame| match family {
                Family::Ipv4 => {
                    frame.bytes[12..14] == [8, 6] && frame.bytes[28..32] == [192, 0, 2, 254]
                }
                Family::Ipv6 => frame.bytes.get(54) == Some(&136),
            })
            .unwrap();
        assert_eq!(source(&announcement), mac(family));
    }
}

#[test]
fn a_05_only_the_virtual_mac_is_named_for_the_address_and_the_interfaces_own_for_its_own() {
    for family in FAMILIES {
        let (_lan, [r1, client]) = lan_of::<2>();
        let (running, id) = DriverThread::with_router(r1.namespace(), {
            let mut config = virtual_mac_router(family, 100);
            config.fsm.accept_mode = true;
            config.enforce_accept_mode = true;
            config
        });
        running.wait_for_state(id, State::Active);
        wait_for_macvlan_address(&r1, family, true);
        let mac_address = ping(&client, address(family));
        assert!(mac_address.contains(&text(mac(family))), "{mac_address}");
        let own = match family {
            Family::Ipv4 => "192.0.2.1",
            Family::Ipv6 => "2001:db8::1",
        };
        let mac_address = ping(&client, own);
        assert!(
            mac_address.contains(&text(MacAddress(r1.mac()))),
            "{mac_address}"
        );
    }
}

#[test]
fn a_18_no_arp_carries_the_physical_mac_for_the_virtual_address() {
    let (lan, [r1, client]) = lan_of::<2>();
    let capture = lan.capture().unwrap();
    let (running, id) =
        DriverThread::with_router(r1.namespace(), virtual_mac_router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_macvlan_address(&r1, Family::Ipv4, true);
    // The host answers from the virtual address, and has to resolve its client: with its own
    // hardware address.
    iproute2(&r1, &["neighbor", "flush", "dev", "eth0"]);
    let since = Instant::now();
    ping(&client, address(Family::Ipv4));
    capture
        .wait_for("a question of the host", LIMIT, |frame| {
            frame.at >= since
                && frame.bytes[12..14] == [8, 6]
                && source(frame).0 == r1.mac()
                && frame.bytes[28..32] == [192, 0, 2, 1]
        })
        .unwrap();
    let frames = capture.frames();
    let about_the_address =
        |frame: &&Frame| frame.bytes[12..14] == [8, 6] && frame.bytes[28..32] == [192, 0, 2, 254];
    let mac_addresses: BTreeSet<[u8; 6]> = frames
        .iter()
        .filter(about_the_address)
        .map(|frame| frame.bytes[22..28].try_into().unwrap())
        .collect();
    assert_eq!(mac_addresses, BTreeSet::from([mac(Family::Ipv4).0]));
}

#[test]
fn a_07_an_active_is_in_the_solicited_node_group_of_each_address() {
    for accept_mode in [true, false] {
        let (_lan, [r1]) = lan_of::<1>();
        let mut config = virtual_mac_router(Family::Ipv6, 100);
        config.enforce_accept_mode = true;
        config.fsm.accept_mode = accept_mode;
        config.addresses.push("2001:db8::1:99".parse().unwrap());
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Active);
        let name = name(&r1, Family::Ipv6);
        // fe80::254 and 2001:db8::254 share a group.
        for group in ["ff02::1:ff00:254", "ff02::1:ff01:99"] {
            wait_for(group, LIMIT, || {
                let shown = iproute2(&r1, &["-6", "maddress", "show", "dev", &name]);
                shown.contains(group).then_some(())
            })
            .unwrap();
        }
    }
}

#[test]
fn m_05_nothing_leaves_from_the_virtual_mac_in_backup() {
    for family in FAMILIES {
        let (lan, [r1, r2]) = lan_of::<2>();
        let capture = lan.capture().unwrap();
        // The other router uses no virtual MAC, so every frame from it is ours.
        let (_other, _) = DriverThread::with_router(r2.namespace(), router(family, 200));
        let (running, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        running.wait_for_state(id, State::Backup);
        let from_virtual_mac = |since: Instant| {
            let frames = capture.frames();
            let ours = frames
                .iter()
                .filter(|frame| frame.at >= since && source(frame) == mac(family));
            ours.count()
        };
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(from_virtual_mac(start), 0);

        let set = |priority| {
            running.with(move |driver| {
                let mut fsm = driver.get(id).unwrap().config().fsm;
                fsm.priority = Priority::new(priority);
                driver.reconfigure(id, fsm).unwrap();
            });
        };
        set(250);
        running.wait_for_state(id, State::Active);
        wait_for_macvlan_address(&r1, family, true);
        assert!(from_virtual_mac(start) > 0);
        set(50);
        running.wait_for_state(id, State::Backup);
        wait_for_macvlan_address(&r1, family, false);
        let since = Instant::now();
        // The longest time after which a host reports that it leaves a group.
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(from_virtual_mac(since), 0);
        let shown = iproute2(&r1, &["link", "show", &name(&r1, family)]);
        assert!(shown.contains("state DOWN"), "{shown}");
    }
}

/// The groups that a frame of IGMPv3 or MLDv2 reports.
fn reported(frame: &Frame) -> Vec<IpAddr> {
    // The records follow the Ethernet and IP headers, with an option each, and the first eight
    // octets of the message.
    let (records, len) = match frame.bytes[12..14] {
        [8, 0] if frame.bytes[23] == 2 => (14 + 24 + 8, 4),
        [0x86, 0xdd] if frame.bytes[20] == 0 && frame.bytes[62] == 143 => (14 + 40 + 8 + 8, 16),
        _ => return Vec::new(),
    };
    let records = frame.bytes[records..].chunks_exact(4 + len);
    records
        .map(|record| match <[u8; 16]>::try_from(&record[4..]) {
            Ok(group) => group.into(),
            Err(_) => <[u8; 4]>::try_from(&record[4..]).unwrap().into(),
        })
        .collect()
}

#[test]
fn the_groups_of_vrrp_are_reported_from_the_interface_and_not_from_the_virtual_mac() {
    for family in FAMILIES {
        let (lan, [r1]) = lan_of::<1>();
        let capture = lan.capture().unwrap();
        let (running, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        running.wait_for_state(id, State::Active);
        wait_for_macvlan_address(&r1, family, true);
        // A host repeats a report within a second.
        let group = vrrp_proto::group(family);
        capture
            .wait_for("a report of the interface", LIMIT, |frame| {
                source(frame).0 == r1.mac() && reported(frame).contains(&group)
            })
            .unwrap();
        std::thread::sleep(Duration::from_millis(1200));
        let frames = capture.frames();
        let from_virtual_mac: BTreeSet<IpAddr> = frames
            .iter()
            .filter(|frame| source(frame) == mac(family))
            .flat_map(reported)
            .collect();
        let expected: BTreeSet<IpAddr> = match family {
            Family::Ipv4 => BTreeSet::new(),
            // A switch with a list of group members must forward solicitations for the addresses to
            // it.
            Family::Ipv6 => BTreeSet::from([ip("ff02::1:ff00:254")]),
        };
        assert_eq!(from_virtual_mac, expected);
    }
}

#[test]
fn two_actives_with_the_same_mac_receive_each_other() {
    for family in FAMILIES {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let (low, low_id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        low.wait_for_state(low_id, State::Active);
        wait_for_macvlan_address(&r1, family, true);
        r2.partition().unwrap();
        let (high, high_id) =
            DriverThread::with_router(r2.namespace(), virtual_mac_router(family, 200));
        high.wait_for_state(high_id, State::Active);
        wait_for_macvlan_address(&r2, family, true);
        r2.mend().unwrap();
        low.wait_for_state(low_id, State::Backup);
        assert_eq!(high.state(high_id), State::Active);
        wait_for_macvlan_address(&r1, family, false);
        wait_for_macvlan_address(&r2, family, true);
    }
}

#[test]
fn a_router_takes_over_the_macvlan_of_a_crashed_one_and_leaves_nothing_behind() {
    for family in FAMILIES {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let (first, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        first.wait_for_state(id, State::Active);
        wait_for_macvlan_address(&r1, family, true);
        first.kill();
        assert!(macvlan_has_address(&r1, family));

        let (other, other_id) =
            DriverThread::with_router(r2.namespace(), virtual_mac_router(family, 200));
        other.wait_for_state(other_id, State::Active);
        let (second, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        second.wait_for_state(id, State::Backup);
        wait_for_macvlan_address(&r1, family, false);
        second.stop();
        assert!(!iproute2(&r1, &["link"]).contains("vrrp"));
        for key in ["arp_ignore", "arp_announce"] {
            let value = r1.namespace().sysctl(&format!("ipv4.conf.eth0.{key}"));
            assert_eq!(value.unwrap(), "0", "{key}");
        }
    }
}

#[test]
fn a_macvlan_that_comes_or_goes_does_not_disturb_the_others() {
    let (_lan, [r1]) = lan_of::<1>();
    let running = DriverThread::start(r1.namespace());
    let ids = running.with(|driver| {
        [(Family::Ipv4, 51), (Family::Ipv4, 52), (Family::Ipv6, 51)].map(|(family, number)| {
            let mut config = virtual_mac_router(family, 100);
            config.fsm.vrid = vrid(number);
            if number == 52 {
                config.addresses = vec!["192.0.2.252".parse().unwrap()];
            }
            driver.add(config).unwrap()
        })
    });
    for id in ids {
        running.wait_for_state(id, State::Active);
    }
    wait_for_macvlan_address(&r1, Family::Ipv4, true);
    wait_for_macvlan_address(&r1, Family::Ipv6, true);
    let [_, removed, _] = ids;
    running.with(move |driver| driver.remove(removed).unwrap());
    let mut again = virtual_mac_router(Family::Ipv4, 100);
    again.fsm.vrid = vrid(52);
    again.addresses = vec!["192.0.2.252".parse().unwrap()];
    let again = running.with(move |driver| driver.add(again).unwrap());
    running.wait_for_state(again, State::Active);
    assert_eq!(running.count_transitions(State::Active), 4);
    assert!(macvlan_has_address(&r1, Family::Ipv4) && macvlan_has_address(&r1, Family::Ipv6));
    let log = running.stop();
    let is_odd = |event: &DriverEvent| {
        matches!(
            event,
            DriverEvent::AddressLost(_) | DriverEvent::AddressFailed { .. } | DriverEvent::Fault(_)
        )
    };
    let odd: Vec<_> = log.iter().filter(|it| is_odd(&it.event)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

#[test]
fn a_deleted_macvlan_is_created_again() {
    for family in FAMILIES {
        let (_lan, [r1, client]) = lan_of::<2>();
        let (running, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        running.wait_for_state(id, State::Active);
        wait_for_macvlan_address(&r1, family, true);
        iproute2(&r1, &["link", "delete", &name(&r1, family)]);
        wait_for_macvlan_address(&r1, family, true);
        ping(&client, address(family));
        // A macvlan that another program sets down comes up again.
        iproute2(&r1, &["link", "set", &name(&r1, family), "down"]);
        ping(&client, address(family));
        assert_eq!(running.count_transitions(State::Active), 1);
    }
}

#[test]
fn a_macvlan_and_routes_that_go_with_lost_notifications_come_back() {
    let (_lan, [r1]) = lan_of::<1>();
    let route = "203.0.113.0/24 via 192.0.2.9 dev eth0";
    let mut config = virtual_mac_router(Family::Ipv4, 100);
    config.routes = vec![route.parse().unwrap()];
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    wait_for_macvlan_address(&r1, Family::Ipv4, true);
    let there = |host: &Host| {
        let shown = iproute2(host, &["route", "show", "proto", "112"]);
        shown.contains(route) && macvlan_has_address(host, Family::Ipv4)
    };
    wait_for("the route", LIMIT, || there(&r1).then_some(())).unwrap();
    let name = name(&r1, Family::Ipv4);
    running.with(move |driver| {
        driver.set_monitor_buffer(1).unwrap();
        // On the driver's thread, so it reads nothing at that time.
        let mut netlink = Netlink::open().unwrap();
        let lo = driver.interfaces().named("lo").unwrap().link.index;
        let addresses: Vec<VirtualAddress> = (0..500_u16)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                VirtualAddress::new([10, 0, high, low].into())
            })
            .collect();
        let change = |address| AddressChange::Add {
            interface: lo,
            address,
        };
        let changes: Vec<_> = addresses.iter().map(change).collect();
        netlink.apply(&changes).unwrap();
        for arguments in [
            &["route", "delete", "203.0.113.0/24"][..],
            &["link", "delete", &name],
        ] {
            let status = std::process::Command::new("ip").args(arguments).status();
            assert!(status.unwrap().success());
        }
    });
    running.wait_for_event("lost notifications", |event| {
        matches!(event, DriverEvent::Overrun).then_some(())
    });
    wait_for("all of it", LIMIT, || there(&r1).then_some(())).unwrap();
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn a_macvlan_that_cannot_be_made_is_a_fault() {
    let (_lan, [r1]) = lan_of::<1>();
    iproute2(&r1, &["link", "add", "taken", "type", "bridge"]);
    let mut config = virtual_mac_router(Family::Ipv4, 100);
    config.virtual_mac = Some(VirtualMac {
        name: Some("taken".into()),
        ..VirtualMac::default()
    });
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    let reason = running.wait_for_event("the fault", |event| match event {
        DriverEvent::Fault(fault) => Some(fault.to_string()),
        _ => None,
    });
    assert!(reason.contains("there is a link taken already"), "{reason}");
    assert_eq!(running.state(id), State::Initialize);
    // Once it can be made, the router starts, without a notification of its interface.
    iproute2(&r1, &["link", "delete", "taken"]);
    running.wait_for_state(id, State::Active);
}

#[test]
fn a_macvlan_that_could_not_go_up_does_so_once_it_can() {
    let (_lan, [r1, client]) = lan_of::<2>();
    // Another program's macvlan has the virtual MAC.
    r1.add_macvlan("rival", mac(Family::Ipv4).0, &[]).unwrap();
    let (running, id) =
        DriverThread::with_router(r1.namespace(), virtual_mac_router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    let error = running.wait_for_event("the refusal", |event| match event {
        DriverEvent::VirtualMacFailed(error) => Some(error.to_string()),
        _ => None,
    });
    assert!(error.contains("has its hardware address"), "{error}");
    iproute2(&r1, &["link", "delete", "rival"]);
    ping(&client, address(Family::Ipv4));
    assert_eq!(running.count_transitions(State::Active), 1);
}

#[test]
fn a_driver_leaves_the_settings_of_another_namespace_alone() {
    let (_lan, [r1, other]) = lan_of::<2>();
    let setting = |host: &Host| {
        host.namespace()
            .sysctl("ipv4.conf.eth0.arp_ignore")
            .unwrap()
    };
    let mut driver = r1.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        driver.add(virtual_mac_router(Family::Ipv4, 100)).unwrap();
        driver
    });
    assert_eq!(setting(&r1), "1");
    other
        .namespace()
        .set_sysctl("ipv4.conf.eth0.arp_ignore", "1")
        .unwrap();
    let refusal = |notification: &Notification| match &notification.event {
        DriverEvent::VirtualMacFailed(error) => Some(error.to_string()),
        _ => None,
    };
    let mut notified = Vec::new();
    other.namespace().run(|| {
        driver.shutdown().unwrap();
        notified.extend(notifications(&mut driver));
    });
    let refused: Vec<_> = notified.iter().filter_map(refusal).collect();
    assert_eq!(
        refused,
        ["bring the settings of eth0 back: the calling thread is in another network namespace"]
    );
    assert_eq!(setting(&other), "1");
    assert!(!macvlan_has_address(&r1, Family::Ipv4));
}

#[test]
fn a_macvlan_goes_with_an_interface_that_is_moved_to_another_namespace() {
    let (_lan, [r1]) = lan_of::<1>();
    let (running, id) =
        DriverThread::with_router(r1.namespace(), virtual_mac_router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    wait_for_macvlan_address(&r1, Family::Ipv4, true);
    let elsewhere = Namespace::new().unwrap();
    let mut sleep = elsewhere.command("sleep").arg("60").spawn().unwrap();
    let pid = sleep.id().to_string();
    iproute2(&r1, &["link", "set", "eth0", "netns", &pid]);
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    running.wait_for_state(id, State::Initialize);
    // The kernel leaves the macvlan up, where it would still answer.
    wait_for("the macvlan going", LIMIT, || {
        let shown = iproute2(&r1, &["link", "show", "type", "macvlan"]);
        shown.is_empty().then_some(())
    })
    .unwrap();
}

/// A router that accepts by its Accept_Mode, and the hardware address of its virtual addresses.
fn enforcing(
    host: &Host,
    family: Family,
    priority: u8,
    uses_virtual_mac: bool,
) -> (RouterConfig, MacAddress) {
    let mut config = virtual_mac_router(family, priority);
    config.enforce_accept_mode = true;
    if uses_virtual_mac {
        return (config, mac(family));
    }
    config.virtual_mac = None;
    (config, MacAddress(host.mac()))
}

fn is_off_the_host_and_answered_for(
    host: &Host,
    client: &Host,
    family: Family,
    mac_address: MacAddress,
) {
    wait_for("the address off the host", LIMIT, || {
        let shown = iproute2(host, &["address"]);
        (!shown.contains(prefixed(family))).then_some(())
    })
    .unwrap();
    is_resolved_and_silent(client, address(family), mac_address);
}

#[test]
fn m_08_the_host_accepts_packets_to_the_address_only_in_accept_mode() {
    for family in FAMILIES {
        for uses_virtual_mac in [true, false] {
            let (_lan, [r1, client]) = lan_of::<2>();
            let (config, mac_address) = enforcing(&r1, family, 100, uses_virtual_mac);
            let (running, id) = DriverThread::with_router(r1.namespace(), config);
            running.wait_for_state(id, State::Active);
            is_resolved_and_silent(&client, address(family), mac_address);

            // Accept_Mode changes in both directions while the router runs.
            let accept = |accept_mode| {
                running.with(move |driver| {
                    let mut fsm = driver.get(id).unwrap().config().fsm;
                    fsm.accept_mode = accept_mode;
                    driver.reconfigure(id, fsm).unwrap();
                });
            };
            accept(true);
            let learned = ping(&client, address(family));
            assert!(learned.contains(&text(mac_address)), "{learned}");
            accept(false);
            is_off_the_host_and_answered_for(&r1, &client, family, mac_address);
            assert_eq!(running.count_transitions(State::Active), 1);

            // Nothing of the router is left.
            running.stop();
            let routes = iproute2(&r1, &["route", "show", "table", "all", "proto", "112"])
                + &iproute2(
                    &r1,
                    &["-6", "route", "show", "table", "all", "proto", "112"],
                );
            assert_eq!(routes, "");
        }
    }
}

#[test]
fn m_08_the_owner_is_accepted_for_without_accept_mode() {
    for family in FAMILIES {
        for uses_virtual_mac in [true, false] {
            let (_lan, [r1, client]) = lan_of::<2>();
            let (config, mac_address) = enforcing(&r1, family, 255, uses_virtual_mac);
            let (running, id) = DriverThread::with_router(r1.namespace(), config);
            running.wait_for_state(id, State::Active);
            let learned = ping(&client, address(family));
            assert!(learned.contains(&text(mac_address)), "{learned}");

            // The router stops being the owner, and becomes the owner again.
            let set = |priority| {
                running.with(move |driver| {
                    let mut fsm = driver.get(id).unwrap().config().fsm;
                    fsm.priority = Priority::new(priority);
                    driver.reconfigure(id, fsm).unwrap();
                });
            };
            set(254);
            is_off_the_host_and_answered_for(&r1, &client, family, mac_address);
            set(255);
            ping(&client, address(family));
            assert_eq!(running.count_transitions(State::Active), 1);
        }
    }
}

#[test]
fn m_08_version_2_has_no_accept_mode() {
    let (_lan, [r1, client]) = lan_of::<2>();
    let mut config = router_v2(254);
    config.fsm.missed_advertisements = 1;
    config.fsm.accept_mode = true;
    config.enforce_accept_mode = true;
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    let mac_address = MacAddress(r1.mac());
    is_resolved_and_silent(&client, address(Family::Ipv4), mac_address);
    running.with(move |driver| {
        let mut fsm = driver.get(id).unwrap().config().fsm;
        fsm.priority = Priority::OWNER;
        driver.reconfigure(id, fsm).unwrap();
    });
    ping(&client, address(Family::Ipv4));
}

/// A router with a network on each side, which forwards, and a server on the far side.
fn forwarding() -> (Lan, Lan, [Host; 2], Host) {
    let (near, [r1, client]) = lan_of::<2>();
    let far = Lan::new().unwrap();
    far.attach(&r1, "eth1", &["198.51.100.1/24", "2001:db8:1::1/64"])
        .unwrap();
    let server = far
        .host("server", &["198.51.100.9/24", "2001:db8:1::9/64"])
        .unwrap();
    for (name, value) in [
        ("ipv4.ip_forward", "1"),
        ("ipv6.conf.all.forwarding", "1"),
        // As strict as the defaults of a distribution may be.
        ("ipv4.conf.all.rp_filter", "1"),
    ] {
        r1.namespace().set_sysctl(name, value).unwrap();
    }
    for arguments in [
        ["route", "add", "default", "via", "198.51.100.1"],
        ["route", "add", "default", "via", "2001:db8:1::1"],
    ] {
        iproute2(&server, &arguments);
    }
    for family in FAMILIES {
        iproute2(
            &client,
            &["route", "add", "default", "via", address(family)],
        );
    }
    (near, far, [r1, client], server)
}

#[test]
fn m_06_an_active_forwards_packets_to_its_virtual_mac() {
    for family in FAMILIES {
        for accept_mode in [true, false] {
            let (_near, _far, [r1, client], _server) = forwarding();
            let mut config = virtual_mac_router(family, 100);
            config.enforce_accept_mode = true;
            config.fsm.accept_mode = accept_mode;
            let (running, id) = DriverThread::with_router(r1.namespace(), config);
            running.wait_for_state(id, State::Active);
            let since = Instant::now();
            let server = match family {
                Family::Ipv4 => "198.51.100.9",
                Family::Ipv6 => "2001:db8:1::9",
            };
            let probe = Probe::start(&client, ip(server), Duration::from_millis(10)).unwrap();
            probe.wait_for_answer(since, LIMIT).unwrap();
            let learned = iproute2(&client, &["neighbor", "show", address(family)]);
            assert!(learned.contains(&text(mac(family))), "{learned}");
        }
    }
}

#[test]
fn m_09_an_active_does_not_forward_packets_to_the_address_itself() {
    for family in FAMILIES {
        let (near, _far, [r1, client], server) = forwarding();
        let mut config = virtual_mac_router(family, 100);
        config.enforce_accept_mode = true;
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Active);
        let capture = near.capture().unwrap();
        is_resolved_and_silent(&client, address(family), mac(family));
        // Frames from the other side that look for the address do not appear either.
        let probe = Probe::start(&server, ip(address(family)), Duration::from_millis(10)).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let pings = probe.stop().unwrap();
        assert!(pings.0.iter().all(|ping| ping.answer.is_none()));
        let frames = capture.frames();
        let echoes: Vec<_> = frames.iter().filter(|it| is_echo(it)).collect();
        assert!(!echoes.is_empty());
        for echo in echoes {
            assert_eq!(source(echo).0, client.mac());
        }
        // The host does not even send a request for the address.
        let asks = |frame: &&Frame| match ip(address(family)) {
            IpAddr::V4(address) => {
                frame.bytes[12..14] == [8, 6] && frame.bytes[38..42] == address.octets()
            }
            IpAddr::V6(address) => {
                frame.bytes.get(54) == Some(&135) && frame.bytes[62..78] == address.octets()
            }
        };
        let asking: BTreeSet<[u8; 6]> = frames
            .iter()
            .filter(asks)
            .map(|frame| source(frame).0)
            .filter(|mac_address| *mac_address != mac(family).0)
            .collect();
        assert_eq!(asking, BTreeSet::from([client.mac()]));
    }
}

#[test]
fn m_05_a_backup_discards_frames_to_the_virtual_mac() {
    for family in FAMILIES {
        let (near, far, [r1, client], _server) = forwarding();
        // Nothing else must discard it.
        let name_of_filter = "ipv4.conf.all.rp_filter";
        r1.namespace().set_sysctl(name_of_filter, "0").unwrap();
        let r3 = near
            .host("r3", &["192.0.2.3/24", "2001:db8::3/64"])
            .unwrap();
        let (active, active_id) =
            DriverThread::with_router(r3.namespace(), virtual_mac_router(family, 200));
        active.wait_for_state(active_id, State::Active);
        let (running, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        running.wait_for_state(id, State::Backup);
        // The Active sends nothing except advertisements: the bridge, which no longer knows the
        // port of the hardware address, floods frames to it.
        let flood = far.capture().unwrap();
        iproute2(
            &client,
            &[
                "neighbor",
                "replace",
                address(family),
                "lladdr",
                &text(mac(family)),
                "dev",
                "eth0",
            ],
        );
        let own = Capture::start(r1.namespace(), "eth0").unwrap();
        let bridge = iproute2_in(&near, &["-o", "link", "show", "type", "bridge"]);
        let bridge = bridge.split(": ").nth(1).unwrap().to_owned();
        let server = match family {
            Family::Ipv4 => "198.51.100.9",
            Family::Ipv6 => "2001:db8:1::9",
        };
        let probe = Probe::start(&client, ip(server), Duration::from_millis(5)).unwrap();
        let flush_neighbors = || {
            let arguments = ["link", "set", &bridge, "type", "bridge", "fdb_flush"];
            iproute2_in(&near, &arguments);
        };
        own.wait_for("a flooded frame", LIMIT, |frame| {
            flush_neighbors();
            frame.bytes[..6] == mac(family).0
        })
        .unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(!flood.frames().iter().any(is_echo));
        // With the macvlan up they would be forwarded. The router would set it down again.
        running.kill();
        iproute2(&r1, &["link", "set", &name(&r1, family), "up"]);
        wait_for("a forwarded frame", LIMIT, || {
            flush_neighbors();
            flood.frames().iter().any(is_echo).then_some(())
        })
        .unwrap();
        probe.stop().unwrap();
    }
}

/// Whether a frame is an echo request of ping(8).
fn is_echo(frame: &Frame) -> bool {
    match frame.bytes[12..14] {
        [8, 0] => frame.bytes[23] == 1,
        [0x86, 0xdd] => frame.bytes[20] == 58 && frame.bytes[54] == 128,
        _ => false,
    }
}

/// Runs ip(8) where the bridge is.
fn iproute2_in(lan: &Lan, arguments: &[&str]) -> String {
    let output = lan.switch().command("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn keepalived_with_a_virtual_mac_of_its_own_hands_over_both_ways() {
    for family in FAMILIES {
        let (lan, [r1, r2, client]) = lan_of::<3>();
        let capture = lan.capture().unwrap();
        let addresses: &[&str] = match family {
            Family::Ipv4 => &[VIP4],
            Family::Ipv6 => &["fe80::254/128", VIP6],
        };
        let instance = KeepalivedInstance {
            advert_interval: Duration::from_millis(100),
            further: "use_vmac\n".into(),
            ..KeepalivedInstance::new(51, 150, addresses)
        };
        let keepalived = Keepalived::start(r2.namespace(), &instance.to_string()).unwrap();
        wait_for_advertisement(&capture, "keepalived", Instant::now(), |seen| {
            seen.priority() == 150
        });
        let (running, id) = DriverThread::with_router(r1.namespace(), {
            let mut config = virtual_mac_router(family, 100);
            config.fsm.accept_mode = true;
            config
        });
        running.wait_for_state(id, State::Backup);
        ping(&client, address(family));
        keepalived.stop().unwrap();
        running.wait_for_state(id, State::Active);
        wait_for_macvlan_address(&r1, family, true);
        let learned = ping(&client, address(family));
        assert!(learned.contains(&text(mac(family))), "{learned}");
        let keepalived = Keepalived::start(r2.namespace(), &instance.to_string()).unwrap();
        running.wait_for_state(id, State::Backup);
        wait_for_macvlan_address(&r1, family, false);
        ping(&client, address(family));
        keepalived.stop().unwrap();
    }
}
