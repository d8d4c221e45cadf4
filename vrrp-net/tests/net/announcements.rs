//! Announcements of virtual addresses: their senders, and their time.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use vrrp_fsm::State;
use vrrp_lab::{Capture, Frame, Host, Lan, Probe, wait_for};
use vrrp_net::{AnnouncedAddress, AnnouncementPace, Pacing, RouterConfig, VirtualMac};
use vrrp_proto::{
    Family,
    frame::{MacAddress, arp, ipv6, neighbor, virtual_mac},
};

use crate::rig::{
    DriverThread, LIMIT, VIP4, VIP6, fsm, ip, iproute2, lan_of, router, vrid, wait_for_address,
};

/// An announced address, and the hardware address that the frame gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) about: IpAddr,
    /// The hardware address in the ARP packet or the link-layer address option.
    pub(crate) mac: MacAddress,
    /// The hardware address in the Ethernet header.
    source: MacAddress,
    /// Whether it is unsolicited.
    pub(crate) is_announcement: bool,
}

impl Announced {
    pub(crate) fn by(frame: &Frame) -> Option<Self> {
        let (header, payload) = frame.bytes.split_at_checked(14)?;
        let source = MacAddress(header[6..12].try_into().ok()?);
        match header[12..14] {
            [0x08, 0x06] => {
                let packet = arp::Packet::parse(payload).ok()?;
                Some(Self {
                    about: packet.sender_address.into(),
                    mac: packet.sender_mac,
                    source,
                    is_announcement: packet.is_gratuitous(),
                })
            }
            [0x86, 0xdd] => {
                let packet = ipv6::Packet::parse(payload).ok()?;
                let advertisement = neighbor::Advertisement::parse(&packet).ok()??;
                Some(Self {
                    about: advertisement.target.into(),
                    mac: advertisement.target_mac?,
                    source,
                    is_announcement: !advertisement.solicited,
                })
            }
            _ => None,
        }
    }
}

fn announced_frames(capture: &Capture, about: IpAddr) -> Vec<Announced> {
    let frames = capture.frames();
    let announced = frames.iter().filter_map(Announced::by);
    announced
        .filter(|announced| announced.about == about)
        .collect()
}

fn wait_for_announcement(capture: &Capture, about: IpAddr) -> Announced {
    let mut found = None;
    capture
        .wait_for("an announcement", LIMIT, |frame| {
            found = Announced::by(frame)
                .filter(|announced| announced.about == about && announced.is_announcement);
            found.is_some()
        })
        .unwrap();
    found.unwrap()
}

/// Three addresses, on a router that uses its virtual MAC.
fn addresses(family: Family) -> [&'static str; 3] {
    match family {
        Family::Ipv4 => [VIP4, "192.0.2.253/32", "192.0.2.252/32"],
        Family::Ipv6 => ["fe80::254/128", VIP6, "2001:db8::253/128"],
    }
}

fn virtual_mac_router(family: Family, priority: u8) -> RouterConfig {
    let list = addresses(family).map(|text| text.parse().unwrap());
    let mut config = RouterConfig::new("eth0", fsm(family, priority), list.to_vec());
    config.virtual_mac = Some(VirtualMac::default());
    config
}

fn without_prefix(address: &str) -> IpAddr {
    ip(address.split('/').next().unwrap())
}

/// Starts a single router, and compares its frames with its virtual MAC.
fn all_is_said_with_the_virtual_mac(family: Family, priority: u8) {
    let (lan, [r1, client]) = lan_of::<2>();
    let capture = lan.capture().unwrap();
    let (running, id) =
        DriverThread::with_router(r1.namespace(), virtual_mac_router(family, priority));
    running.wait_for_state(id, State::Active);
    let mac = virtual_mac(vrid(51), family);
    for address in addresses(family) {
        let about = without_prefix(address);
        let announced = wait_for_announcement(&capture, about);
        assert_eq!((announced.mac, announced.source), (mac, mac));
        // The same, in an answer to a request.
        if about != ip("fe80::254") {
            let asked = Instant::now();
            let probe = Probe::start(&client, about, Duration::from_millis(5)).unwrap();
            probe.wait_for_answer(asked, LIMIT).unwrap();
            probe.stop().unwrap();
        }
        for announced in announced_frames(&capture, about) {
            assert_eq!(announced.mac, mac, "{about}: {announced:?}");
        }
    }
    running.stop();
}

#[test]
fn a_18_an_owner_that_starts_says_nothing_of_its_ipv4_addresses_with_the_physical_mac() {
    all_is_said_with_the_virtual_mac(Family::Ipv4, 255);
}

#[test]
fn a_22_an_owner_that_starts_says_nothing_of_its_ipv6_addresses_with_the_physical_mac() {
    all_is_said_with_the_virtual_mac(Family::Ipv6, 255);
}

#[test]
fn a_19_each_ipv4_address_that_an_active_configures_is_announced_with_the_virtual_mac() {
    all_is_said_with_the_virtual_mac(Family::Ipv4, 100);
}

#[test]
fn a_23_each_ipv6_address_that_an_active_configures_is_announced_with_the_virtual_mac() {
    all_is_said_with_the_virtual_mac(Family::Ipv6, 100);
}

/// Another link has the name of the macvlan when the host starts.
fn nothing_is_said_before_the_virtual_mac_is_there(family: Family) {
    let (lan, [r1]) = lan_of::<1>();
    iproute2(&r1, &["link", "add", "virtual", "type", "bridge"]);
    let capture = lan.capture().unwrap();
    let mut config = virtual_mac_router(family, 255);
    config.virtual_mac = Some(VirtualMac {
        name: Some("virtual".into()),
        ..VirtualMac::default()
    });
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    // Three intervals.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(running.state(id), State::Initialize);
    let all = addresses(family).map(without_prefix);
    for about in all {
        assert_eq!(announced_frames(&capture, about), []);
    }
    iproute2(&r1, &["link", "delete", "virtual"]);
    r1.add_address("198.51.100.1/24").unwrap();
    running.wait_for_state(id, State::Active);
    let mac = virtual_mac(vrid(51), family);
    for about in all {
        let announced = wait_for_announcement(&capture, about);
        assert_eq!((announced.mac, announced.source), (mac, mac));
    }
}

#[test]
fn a_20_no_gratuitous_arp_leaves_before_address_and_virtual_mac_are_configured() {
    nothing_is_said_before_the_virtual_mac_is_there(Family::Ipv4);
}

#[test]
fn a_21_no_neighbor_discovery_leaves_before_address_and_virtual_mac_are_configured() {
    nothing_is_said_before_the_virtual_mac_is_there(Family::Ipv6);
}

/// The solicited-node multicast group of 2001:db8::254 (RFC 4291 section 2.7.1).
const GROUP: &str = "ff02::1:ff00:254";

fn is_in_group(host: &Host) -> bool {
    iproute2(host, &["-6", "maddress", "show"]).contains(GROUP)
}

#[test]
fn a_07_an_active_is_a_member_of_the_solicited_node_group_of_each_address() {
    let plain = router(Family::Ipv6, 100);
    let mut borne = router(Family::Ipv6, 100);
    borne.virtual_mac = Some(VirtualMac::default());
    let mut answered = borne.clone();
    answered.enforce_accept_mode = true;
    for config in [plain, borne, answered] {
        let (_lan, [r1]) = lan_of::<1>();
        let (running, id) = DriverThread::with_router(r1.namespace(), config);
        running.wait_for_state(id, State::Active);
        let wait_for_group = |is_wanted| {
            wait_for("the group", LIMIT, || {
                (is_in_group(&r1) == is_wanted).then_some(())
            })
            .unwrap();
        };
        wait_for_group(true);
        // The router does so only while it is Active (S-31).
        running.with(move |driver| driver.set_fault(id, "test").unwrap());
        wait_for_group(false);
        running.with(move |driver| driver.clear_fault(id, "test").unwrap());
        wait_for_group(true);
        running.stop();
        assert!(!is_in_group(&r1));
    }
}

#[test]
fn a_24_virtual_ipv6_addresses_are_used_without_duplicate_address_detection() {
    let (lan, [r1]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let (running, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv6, 100));
    running.wait_for_state(id, State::Active);
    let about = without_prefix(VIP6);
    wait_for_announcement(&capture, about);
    wait_for_address(&r1, VIP6, true);
    let shown = iproute2(&r1, &["-6", "-o", "address", "show", "dev", "eth0"]);
    let line = shown.lines().find(|line| line.contains(VIP6)).unwrap();
    assert!(
        line.contains("nodad") && !line.contains("tentative"),
        "{line}"
    );
}

#[test]
fn m_10_no_address_is_formed_of_a_virtual_mac() {
    for (family, prefix) in [(Family::Ipv4, " vrrp4-51-"), (Family::Ipv6, " vrrp6-51-")] {
        let (_lan, [r1]) = lan_of::<1>();
        let (running, id) =
            DriverThread::with_router(r1.namespace(), virtual_mac_router(family, 100));
        running.wait_for_state(id, State::Active);
        let own = addresses(family);
        let on_the_macvlan = || {
            let shown = iproute2(&r1, &["-o", "address", "show"]);
            let lines = shown.lines().filter(|line| line.contains(prefix));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        wait_for("the addresses", LIMIT, || {
            (on_the_macvlan().len() >= own.len()).then_some(())
        })
        .unwrap();
        // Time for the kernel to form one, as it does for a link that has come up.
        thread::sleep(Duration::from_millis(100));
        for line in on_the_macvlan() {
            assert!(own.iter().any(|own| line.contains(own)), "{line}");
        }
    }
}

/// A router whose interface gets another hardware address while it is Active announces that
/// address, and answers with it.
fn another_hardware_address_is_announced(family: Family, enforces: bool) {
    let (lan, [r1, client]) = lan_of::<2>();
    let mut config = router(family, 100);
    config.enforce_accept_mode = enforces;
    let about = ip(if family == Family::Ipv4 {
        "192.0.2.254"
    } else {
        "2001:db8::254"
    });
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    let before = lan.capture().unwrap();
    let old = who_answers(&client, &before, about);
    assert_eq!(old, MacAddress(r1.mac()));

    let new = MacAddress([0x02, 0, 0, 0, 0xab, 0xcd]);
    let after = lan.capture().unwrap();
    iproute2(
        &r1,
        &["link", "set", "eth0", "address", "02:00:00:00:ab:cd"],
    );
    let is_announced = |announced: &Announced| announced.about == about && announced.mac == new;
    after
        .wait_for("an announcement", LIMIT, |frame| {
            Announced::by(frame)
                .is_some_and(|announced| is_announced(&announced) && announced.is_announcement)
        })
        .unwrap();
    let later = lan.capture().unwrap();
    assert_eq!(who_answers(&client, &later, about), new);
    assert_eq!(running.count_transitions(State::Active), 1);
}

/// The hardware address that a client without a neighbour entry gets as an answer.
fn who_answers(client: &Host, capture: &Capture, about: IpAddr) -> MacAddress {
    iproute2(client, &["neighbor", "flush", "all"]);
    let probe = Probe::start(client, about, Duration::from_millis(20)).unwrap();
    let mut found = None;
    capture
        .wait_for("an answer", LIMIT, |frame| {
            found = Announced::by(frame)
                .filter(|announced| announced.about == about && !announced.is_announcement);
            found.is_some()
        })
        .unwrap();
    probe.stop().unwrap();
    found.unwrap().mac
}

#[test]
fn another_hardware_address_of_the_interface_is_announced_over_ipv4() {
    another_hardware_address_is_announced(Family::Ipv4, false);
    another_hardware_address_is_announced(Family::Ipv4, true);
}

#[test]
fn another_hardware_address_of_the_interface_is_announced_over_ipv6() {
    another_hardware_address_is_announced(Family::Ipv6, false);
    another_hardware_address_is_announced(Family::Ipv6, true);
}

/// The pace of the tests: long compared with the time that a busy machine takes to send a frame.
const PACE: Duration = Duration::from_millis(300);

fn pacing() -> Pacing {
    Pacing {
        each: AnnouncementPace {
            gratuitous_arp: PACE,
            neighbor_advertisement: PACE,
        },
        groups: Vec::new(),
    }
}

/// The announcements of these addresses in their order, each with its time.
fn announcements(capture: &Capture, addresses: &[IpAddr]) -> Vec<(Instant, IpAddr)> {
    let frames = capture.frames();
    let announced = frames
        .iter()
        .filter_map(|frame| Some((frame.at, Announced::by(frame)?)));
    announced
        .filter(|(_, it)| it.is_announcement && addresses.contains(&it.about))
        .map(|(at, it)| (at, it.about))
        .collect()
}

fn announcements_are_spaced(family: Family, uses_virtual_mac: bool) {
    let (lan, [r1]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let mut config = virtual_mac_router(family, 100);
    config.virtual_mac = uses_virtual_mac.then(VirtualMac::default);
    config.fsm.announce.repeat = 2;
    config.fsm.announce.second_burst_after = None;
    let running = DriverThread::start(r1.namespace());
    running.with(|driver| {
        driver.set_pacing(pacing()).unwrap();
        driver.add(config).unwrap();
    });
    let addresses = addresses(family).map(without_prefix);
    let all = wait_for("six announcements", LIMIT, || {
        let all = announcements(&capture, &addresses);
        (all.len() >= 6).then_some(all)
    })
    .unwrap();
    // Each once, and then each once more.
    let order: Vec<_> = all.iter().map(|(_, about)| *about).collect();
    assert_eq!(order, [addresses, addresses].concat());
    let span = all[5].0 - all[0].0;
    assert!(span >= PACE * 9 / 2, "{span:?}");
    running.stop();
}

#[test]
fn announcements_over_ipv4_are_spaced_and_each_address_comes_before_one_comes_again() {
    announcements_are_spaced(Family::Ipv4, false);
}

#[test]
fn announcements_over_ipv6_on_a_macvlan_have_the_pace_of_its_parent() {
    announcements_are_spaced(Family::Ipv6, true);
}

#[test]
fn a_router_that_yields_drops_the_announcements_that_wait() {
    let (lan, [r1]) = lan_of::<1>();
    let capture = lan.capture().unwrap();
    let mut config = router(Family::Ipv4, 100);
    config.fsm.announce.repeat = 100;
    let running = DriverThread::start(r1.namespace());
    let id = running.with(|driver| {
        driver.set_pacing(pacing()).unwrap();
        driver.add(config).unwrap()
    });
    let about = without_prefix(VIP4);
    wait_for_announcement(&capture, about);
    running.with(move |driver| driver.set_fault(id, "test").unwrap());
    running.wait_for_state(id, State::Initialize);
    // The driver does not even wake up for them.
    let timeout = running.with(|driver| driver.timeout());
    assert!(timeout.is_none_or(|it| it > PACE), "{timeout:?}");
}

#[test]
fn an_address_that_the_program_puts_on_another_interface_is_announced_there() {
    let (_lan, [r1]) = lan_of::<1>();
    let other_lan = Lan::new().unwrap();
    let eth1 = other_lan.attach(&r1, "eth1", &[]).unwrap();
    let capture = other_lan.capture().unwrap();
    let about = ip("198.51.100.7");
    let mut config = router(Family::Ipv4, 100);
    config.fsm.announce.repeat = 3;
    // It would fall into the counts if the address came soon after the state.
    config.fsm.announce.second_burst_after = None;
    config.announced = vec![AnnouncedAddress::new("eth1", about)];
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    assert_eq!(announcements(&capture, &[about]), []);
    let count = |wanted: usize| {
        wait_for(&format!("{wanted} announcements"), LIMIT, || {
            (announcements(&capture, &[about]).len() == wanted).then_some(())
        })
        .unwrap();
    };
    eth1.add_address("198.51.100.7/24").unwrap();
    count(3);
    eth1.remove_address("198.51.100.7/24").unwrap();
    // Without a place in the list nothing is announced.
    running.with(move |driver| driver.set_announced(id, Vec::new()).unwrap());
    eth1.add_address("198.51.100.7/24").unwrap();
    running.stop();
    count(3);
}

#[test]
fn an_address_on_another_interface_is_announced_again_after_its_period() {
    let (_lan, [r1]) = lan_of::<1>();
    let other_lan = Lan::new().unwrap();
    let addresses = ["198.51.100.7/24", "198.51.100.8/24"];
    other_lan.attach(&r1, "eth1", &addresses).unwrap();
    let capture = other_lan.capture().unwrap();
    let [refreshed, once] = addresses.map(without_prefix);
    let mut config = router(Family::Ipv4, 100);
    config.fsm.announce.repeat = 1;
    config.fsm.announce.second_burst_after = None;
    let mut address = AnnouncedAddress::new("eth1", refreshed);
    address.refresh = Some(AnnouncedAddress::SHORTEST_REFRESH);
    config.announced = vec![address, AnnouncedAddress::new("eth1", once)];
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    let times = wait_for("three announcements", LIMIT, || {
        let all = announcements(&capture, &[refreshed]);
        (all.len() >= 3).then_some(all)
    })
    .unwrap();
    let span = times[2].0 - times[0].0;
    assert!(span >= Duration::from_millis(1900), "{span:?}");
    assert_eq!(announcements(&capture, &[once]).len(), 1);
    running.stop();
}
