//! The program `smoltcp_router` beside `vrrp_router`, on one bridge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Read},
    net::IpAddr,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vrrp_lab::{BackgroundProgram, Capture, Frame, Host, Lan, Probe, example};
use vrrp_proto::frame::{MacAddress, arp, ethernet, ipv6, neighbor};

/// The parts that differ between the two families.
struct Family {
    /// The address of the router on smoltcp, and its Ethernet address.
    source: &'static str,
    addresses: &'static [&'static str],
    virtual_mac: MacAddress,
}

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x33]);

const IPV4: Family = Family {
    source: "192.0.2.33/24",
    addresses: &["192.0.2.254/24", "192.0.2.253/24"],
    virtual_mac: MacAddress([0, 0, 0x5e, 0, 1, 51]),
};

const IPV6: Family = Family {
    source: "fe80::33/64",
    addresses: &["fe80::254/64", "2001:db8::254/64"],
    virtual_mac: MacAddress([0, 0, 0x5e, 0, 2, 51]),
};

/// A bridge, and a host with `vrrp_router` on the kernel's stack.
struct Network {
    lan: Lan,
    capture: Capture,
    host: Host,
    family: &'static Family,
}

impl Network {
    fn new(family: &'static Family) -> Self {
        let lan = Lan::new().unwrap();
        Self {
            capture: lan.capture().unwrap(),
            host: host(&lan, "r1", 1),
            lan,
            family,
        }
    }

    fn arguments<'a>(&self, priority: &'a str) -> Vec<&'a str> {
        let mut arguments = vec!["--vrid", "51", "--interval", "10", "--priority", priority];
        for address in self.family.addresses {
            arguments.extend(["--address", address]);
        }
        arguments
    }

    /// `vrrp_router` on the kernel's stack.
    fn on_kernel(&self, priority: &str) -> BackgroundProgram {
        let mut arguments = self.arguments(priority);
        arguments.extend(["--interface", "eth0"]);
        BackgroundProgram::start(self.host.namespace(), "vrrp_router", &arguments)
    }

    /// `smoltcp_router`, whose TAP device becomes a port of the bridge.
    fn on_smoltcp(&self, priority: &str) -> BackgroundProgram {
        let mut arguments = self.arguments(priority);
        arguments.extend(["--tap", "tap0", "--mac", "02-00-00-00-00-33"]);
        arguments.extend(["--source", self.family.source]);
        let router = BackgroundProgram::start(self.lan.switch(), "smoltcp_router", &arguments);
        self.lan.add_port("tap0").unwrap();
        router
    }

    /// Asserts that pings of a known and of a new client are answered. The new client resolves the
    /// addresses, and must get this Ethernet address.
    fn assert_answered_by(&self, mac: MacAddress, [old, new]: [&Host; 2]) {
        let since = Instant::now();
        for address in self.family.addresses.iter().copied().map(ip) {
            assert_answers(old, address, since);
            assert_answers(new, address, since);
            self.wait_for(&format!("{address} being at {mac}"), |frame| {
                answered(&frame.bytes, address, new) == Some(mac)
            });
        }
    }

    fn wait_for(&self, what: &str, predicate: impl FnMut(&Frame) -> bool) -> Frame {
        self.capture
            .wait_for(what, BackgroundProgram::LIMIT, predicate)
            .unwrap()
    }

    /// Asserts that the kernel with the TAP device has no address anywhere.
    fn assert_no_address_in_the_kernel(&self) {
        for interface in ["tap0", "br0"] {
            let addresses = self.lan.switch().addresses(interface).unwrap();
            assert_eq!(addresses, [], "on {interface}");
        }
    }
}

fn host(lan: &Lan, name: &str, number: u8) -> Host {
    let addresses = [
        format!("192.0.2.{number}/24"),
        format!("2001:db8::{number}/64"),
    ];
    lan.host(name, &addresses.each_ref().map(String::as_str))
        .unwrap()
}

fn ip(address: &str) -> IpAddr {
    address.split_once('/').unwrap().0.parse().unwrap()
}

fn assert_answers(client: &Host, address: IpAddr, since: Instant) {
    let probe = Probe::start(client, address, Duration::from_millis(20)).unwrap();
    probe
        .wait_for_answer(since, BackgroundProgram::LIMIT)
        .unwrap();
}

/// The Ethernet address in this frame, if it answers the asker's request for an address.
fn answered(frame: &[u8], address: IpAddr, asker: &Host) -> Option<MacAddress> {
    let frame = ethernet::Frame::parse(frame).ok()?;
    if frame.destination.0 != asker.mac() {
        return None;
    }
    match frame.ethertype {
        ethernet::ARP => {
            let packet = arp::Packet::parse(frame.payload).ok()?;
            (packet.operation == arp::Operation::Reply && address == packet.sender_address)
                .then_some(packet.sender_mac)
        }
        ethernet::IPV6 => {
            let packet = ipv6::Packet::parse(frame.payload).ok()?;
            let answer = neighbor::Advertisement::parse(&packet).ok()??;
            (answer.solicited && address == answer.target)
                .then_some(answer.target_mac)
                .flatten()
        }
        _ => None,
    }
}

/// Waits for a line with this end.
fn wait_for_line(router: &BackgroundProgram, end: &str) {
    router.wait_for(end, |line| line.ends_with(end).then_some(()));
}

/// Waits for a JSON line of `vrrp_router` with this change of state and this reason.
fn wait_for_change(router: &BackgroundProgram, to: &str, reason: &str) {
    router.wait_for(&format!("{to}: {reason}"), |line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        (event["to"] == to && event["reason"] == reason).then_some(())
    });
}

/// How a router ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Killed,
    Stopped(Signal),
}

impl End {
    fn of(self, mut router: BackgroundProgram) {
        match self {
            Self::Killed => router.kill(),
            Self::Stopped(signal) => {
                router.signal(signal);
                assert_eq!(router.wait().code(), Some(0), "{signal}");
            }
        }
    }

    /// The reason for which the other router takes over.
    fn reason(self) -> &'static str {
        match self {
            Self::Killed => "the Active fell silent",
            Self::Stopped(_) => "the Active resigned",
        }
    }
}

/// Fails over from the kernel's stack to smoltcp, and back.
fn fail_over_and_back(family: &'static Family, end: End) {
    let network = Network::new(family);
    let [old, new, newest] =
        [("c1", 11), ("c2", 12), ("c3", 13)].map(|(name, number)| host(&network.lan, name, number));

    let r1 = network.on_kernel("200");
    wait_for_change(&r1, "Active", "the Active fell silent");
    let r2 = network.on_smoltcp("100");
    wait_for_line(&r2, "Initialize -> Backup: startup");
    let r1_mac = MacAddress(network.host.mac());
    network.assert_answered_by(r1_mac, [&old, &old]);
    assert_answers(&old, ip(family.source), Instant::now());

    if end == End::Killed {
        // The kernel of a dead machine does not answer either.
        network.host.partition().unwrap();
    }
    end.of(r1);
    wait_for_line(&r2, &format!("Backup -> Active: {}", end.reason()));
    network.assert_answered_by(family.virtual_mac, [&old, &new]);
    network.assert_no_address_in_the_kernel();

    network.host.mend().unwrap();
    let r1 = network.on_kernel("50");
    wait_for_change(&r1, "Backup", "startup");
    end.of(r2);
    wait_for_change(&r1, "Active", end.reason());
    network.assert_answered_by(r1_mac, [&old, &newest]);
}

#[test]
fn ipv4_fails_over_from_the_kernel_and_back_when_the_active_is_killed() {
    fail_over_and_back(&IPV4, End::Killed);
}

#[test]
fn ipv6_fails_over_from_the_kernel_and_back_when_the_active_is_killed() {
    fail_over_and_back(&IPV6, End::Killed);
}

#[test]
fn ipv4_fails_over_from_the_kernel_and_back_when_the_active_is_stopped() {
    fail_over_and_back(&IPV4, End::Stopped(Signal::SIGTERM));
}

#[test]
fn ipv6_fails_over_from_the_kernel_and_back_when_the_active_is_stopped() {
    fail_over_and_back(&IPV6, End::Stopped(Signal::SIGINT));
}

/// Waits until each address was announced from the virtual MAC, after the first advertisement from
/// there.
fn assert_announced(network: &Network) {
    let family = network.family;
    let from_virtual_mac =
        |frame: &Frame| frame.bytes.get(6..12) == Some(&family.virtual_mac.0[..]);
    let first = network.wait_for("a frame from the virtual MAC", from_virtual_mac);
    let frame = ethernet::Frame::parse(&first.bytes).unwrap();
    let protocol = match frame.ethertype {
        ethernet::IPV4 => frame.payload[9],
        _ => frame.payload[6],
    };
    assert_eq!(protocol, vrrp_proto::IP_PROTOCOL, "{:x?}", first.bytes);
    for address in family.addresses.iter().copied().map(ip) {
        network.wait_for(&format!("an announcement of {address}"), |frame| {
            let parsed = ethernet::Frame::parse(&frame.bytes).unwrap();
            let announced = match parsed.ethertype {
                ethernet::ARP => arp::Packet::parse(parsed.payload)
                    .ok()
                    .filter(arp::Packet::is_gratuitous)
                    .map(|packet| (packet.sender_address.into(), Some(packet.sender_mac))),
                ethernet::IPV6 => ipv6::Packet::parse(parsed.payload)
                    .ok()
                    .and_then(|packet| neighbor::Advertisement::parse(&packet).ok()?)
                    .filter(|message| !message.solicited && message.router && message.overrides)
                    .map(|message| (message.target.into(), message.target_mac)),
                _ => None,
            };
            from_virtual_mac(frame) && announced == Some((address, Some(family.virtual_mac)))
        });
    }
}

#[test]
fn it_announces_the_addresses_when_it_takes_over_and_is_silent_once_it_has_yielded() {
    for family in [&IPV4, &IPV6] {
        let network = Network::new(family);
        let client = host(&network.lan, "c1", 11);
        let r2 = network.on_smoltcp("100");
        wait_for_line(&r2, "Backup -> Active: the Active fell silent");
        assert_announced(&network);
        assert_answers(&client, ip(family.addresses[0]), Instant::now());

        let r1 = network.on_kernel("200");
        wait_for_line(
            &r2,
            "Active -> Backup: another router has a higher priority",
        );
        wait_for_change(&r1, "Active", "the Active has a lower priority");
        let new = host(&network.lan, "c2", 12);
        let since = Instant::now();
        network.assert_answered_by(MacAddress(network.host.mac()), [&client, &new]);
        let late = network.capture.frames().into_iter().find(|frame| {
            frame.at >= since && frame.bytes.get(6..12) == Some(&family.virtual_mac.0[..])
        });
        assert_eq!(late, None, "from the virtual MAC");
    }
}

#[test]
fn packets_for_others_are_not_answered() {
    let network = Network::new(&IPV4);
    let client = host(&network.lan, "c1", 11);
    let r2 = network.on_smoltcp("255");
    wait_for_line(&r2, "Initialize -> Active: startup of the address owner");
    // No host has this address. It is requested before one that is answered.
    let nobody = Probe::start(&client, [192, 0, 2, 252].into(), Duration::from_millis(5)).unwrap();
    let asked = network.wait_for("the question", |frame| {
        ethernet::Frame::parse(&frame.bytes)
            .ok()
            .filter(|frame| frame.ethertype == ethernet::ARP)
            .and_then(|frame| arp::Packet::parse(frame.payload).ok()?.asks_for())
            .is_some_and(|target| target.octets() == [192, 0, 2, 252])
    });
    assert_answers(&client, ip(IPV4.addresses[1]), asked.at);
    let answer = network
        .capture
        .frames()
        .into_iter()
        .find(|frame| answered(&frame.bytes, [192, 0, 2, 252].into(), &client).is_some());
    assert_eq!(answer, None);
    drop(nobody);
    // Its own address resolves to its own Ethernet address.
    assert_answers(&client, ip(IPV4.source), Instant::now());
    network.wait_for("the own Ethernet address", |frame| {
        answered(&frame.bytes, ip(IPV4.source), &client) == Some(MAC)
    });
}

#[test]
fn an_unavailable_device_is_a_plain_error() {
    let network = Network::new(&IPV4);
    let _busy = network.on_smoltcp("100");
    let mut second = network
        .lan
        .switch()
        .command(example("smoltcp_router").unwrap());
    second.args(network.arguments("100"));
    second.args(["--tap", "tap0", "--mac", "02-00-00-00-00-34"]);
    let output = second.args(["--source", "192.0.2.34/24"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "smoltcp_router: tap0: Device or resource busy (os error 16)\n"
    );
}

#[test]
fn a_device_that_is_down_is_reported_once() {
    let network = Network::new(&IPV4);
    let mut command = network
        .lan
        .switch()
        .command(example("smoltcp_router").unwrap());
    command.args(network.arguments("255"));
    command.args(["--tap", "tap0", "--mac", "02-00-00-00-00-33"]);
    command.args(["--source", IPV4.source]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    // There is an advertisement every 100 ms.
    thread::sleep(Duration::from_millis(300));
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "tap0: frames are lost: network down\n");
}

#[test]
fn an_option_that_does_not_fit_is_named_with_its_value_and_range() {
    let base = "--tap tap0 --mac 02-00-00-00-00-33 --vrid 51";
    let many = " --address 192.0.2.254/24".repeat(9);
    let others = "--mac 02-00-00-00-00-33 --vrid 51 --source 192.0.2.33/24";
    let name = "not the name of an interface: 1 to 15 octets without blanks, /, : and %";
    for (arguments, expected) in [
        (
            format!("{others} --address 192.0.2.254/24 --tap "),
            &*format!("invalid value '' for '--tap <NAME>': {name}"),
        ),
        (
            format!("{others} --address 192.0.2.254/24 --tap a23456789012345x"),
            &format!("invalid value 'a23456789012345x' for '--tap <NAME>': {name}"),
        ),
        (
            format!("{others} --address 192.0.2.254/24 --tap tap%d"),
            &format!("invalid value 'tap%d' for '--tap <NAME>': {name}"),
        ),
        (
            format!("{others} --tap tap0 --address 192.0.2.254/24 --address 192.0.2.254/32"),
            "invalid value '192.0.2.254/32' for '--address <ADDRESS/LENGTH>': given more than once",
        ),
        (
            format!("{others} --tap tap0 --address 192.0.2.33/24"),
            "invalid value '192.0.2.33/24' for '--address <ADDRESS/LENGTH>': the router's own address has to be another one",
        ),
        (
            format!("{base} --source 192.0.2.33/24{many}"),
            "9 times '--address <ADDRESS/LENGTH>' is not in 1..=8",
        ),
        (
            format!("{base} --source 192.0.2.33/24 --address fe80::254/64"),
            "invalid value 'fe80::254/64' for '--address <ADDRESS/LENGTH>': '--source' is IPv4",
        ),
        (
            format!("{base} --source fe80::33/64 --address 2001:db8::254/64"),
            "invalid value '2001:db8::254/64' for '--address <ADDRESS/LENGTH>': the first IPv6 address has to be link-local, in fe80::/10",
        ),
        (
            format!("{base} --source 2001:db8::33/64 --address fe80::254/64"),
            "invalid value '2001:db8::33' for '--source <ADDRESS/LENGTH>': it has to be link-local, in fe80::/10",
        ),
        (
            format!("{base} --source 192.0.2.33 --address 192.0.2.254/24"),
            "invalid value '192.0.2.33' for '--source <ADDRESS/LENGTH>': not an address with a prefix length, such as 192.0.2.254/24",
        ),
        (
            format!("{base} --source 192.0.2.33/24 --address 224.0.0.18/24"),
            "invalid value '224.0.0.18/24' for '--address <ADDRESS/LENGTH>': not a unicast address",
        ),
        (
            "--tap tap0 --mac 01-00-5e-00-00-12 --vrid 51 --source 192.0.2.33/24 --address 192.0.2.254/24".into(),
            "invalid value '01-00-5e-00-00-12' for '--mac <MAC>': not a unicast Ethernet address, such as 02-00-00-00-00-01",
        ),
    ] {
        let output = Command::new(example("smoltcp_router").unwrap())
            .args(arguments.split(' '))
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
        assert!(
            error.starts_with(&format!("error: {expected}")),
            "{arguments}: {error}"
        );
    }
}
