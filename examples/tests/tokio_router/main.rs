//! The program `tokio_router` beside `vrrp_router`, in namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{process::Stdio, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vrrp_lab::{BackgroundProgram, Capture, Host, Lan, example, wait_for};
use vrrp_proto::frame::{arp, ethernet, ipv6, neighbor};

const IPV4: &[&str] = &["192.0.2.254/32"];
const IPV6: &[&str] = &["fe80::254/128", "2001:db8::254/128"];

/// A router on eth0 with VRID 51 and an interval of 10 cs.
fn start(program: &str, host: &Host, priority: &str, addresses: &[&str]) -> BackgroundProgram {
    let mut arguments = vec!["--interface", "eth0", "--vrid", "51", "--interval", "10"];
    arguments.extend(["--priority", priority]);
    for address in addresses {
        arguments.extend(["--address", address]);
    }
    BackgroundProgram::start(host.namespace(), program, &arguments)
}

fn hosts(lan: &Lan) -> (Host, Host) {
    let host = |number: u8| {
        let addresses = [
            format!("192.0.2.{number}/24"),
            format!("2001:db8::{number}/64"),
        ];
        let addresses = addresses.each_ref().map(String::as_str);
        lan.host(&format!("r{number}"), &addresses).unwrap()
    };
    (host(1), host(2))
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

fn has_all(host: &Host, addresses: &[&str]) -> bool {
    let there = host.addresses().unwrap();
    addresses
        .iter()
        .all(|address| there.contains(&address.parse().unwrap()))
}

fn has_none(host: &Host, addresses: &[&str]) -> bool {
    let there = host.addresses().unwrap();
    !addresses
        .iter()
        .any(|address| there.contains(&address.parse().unwrap()))
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    wait_for(what, BackgroundProgram::LIMIT, || holds().then_some(())).unwrap();
}

/// Waits until this host has announced each of the addresses.
fn wait_for_announcements(capture: &Capture, host: &Host, addresses: &[&str]) {
    for address in addresses {
        let (address, _) = address.split_once('/').unwrap();
        let what = format!("an announcement of {address} by {}", host.name());
        capture
            .wait_for(&what, BackgroundProgram::LIMIT, |frame| {
                let Ok(frame) = ethernet::Frame::parse(&frame.bytes) else {
                    return false;
                };
                let announced = match frame.ethertype {
                    ethernet::ARP => arp::Packet::parse(frame.payload)
                        .ok()
                        .filter(arp::Packet::is_gratuitous)
                        .map(|packet| packet.sender_address.to_string()),
                    ethernet::IPV6 => ipv6::Packet::parse(frame.payload)
                        .ok()
                        .and_then(|packet| neighbor::Advertisement::parse(&packet).ok()?)
                        .filter(|advertisement| !advertisement.solicited)
                        .map(|advertisement| advertisement.target.to_string()),
                    _ => None,
                };
                frame.source.0 == host.mac() && announced.as_deref() == Some(address)
            })
            .unwrap();
    }
}

#[test]
fn it_takes_over_from_a_router_that_is_killed_and_yields_when_it_returns() {
    for addresses in [IPV4, IPV6] {
        let lan = Lan::new().unwrap();
        let (h1, h2) = hosts(&lan);
        let capture = lan.capture().unwrap();
        let r1 = start("vrrp_router", &h1, "200", addresses);
        wait_for_change(&r1, "Active", "the Active fell silent");
        let r2 = start("tokio_router", &h2, "100", addresses);
        wait_for_line(&r2, "Initialize -> Backup: startup");

        h1.partition().unwrap();
        r1.kill();
        wait_for_line(&r2, "Backup -> Active: the Active fell silent");
        assert!(has_all(&h2, addresses));
        wait_for_announcements(&capture, &h2, addresses);

        h1.mend().unwrap();
        let _r1 = start("vrrp_router", &h1, "200", addresses);
        wait_for_line(
            &r2,
            "Active -> Backup: another router has a higher priority",
        );
        assert!(has_none(&h2, addresses));
        wait_until("the addresses on r1", || has_all(&h1, addresses));
    }
}

#[test]
fn it_resigns_when_it_is_asked_to_end() {
    for (signal, addresses) in [(Signal::SIGTERM, IPV4), (Signal::SIGINT, IPV6)] {
        let lan = Lan::new().unwrap();
        let (h1, h2) = hosts(&lan);
        let r2 = start("vrrp_router", &h2, "100", addresses);
        wait_for_change(&r2, "Active", "the Active fell silent");
        let mut r1 = start("tokio_router", &h1, "200", addresses);
        // It preempts, and its advertisements arrive.
        wait_for_line(&r1, "Backup -> Active: the Active has a lower priority");
        wait_for_change(&r2, "Backup", "another router has a higher priority");
        r1.signal(signal);
        assert_eq!(r1.wait().code(), Some(0), "{signal}");
        assert!(has_none(&h1, addresses));
        wait_for_change(&r2, "Active", "the Active resigned");
        wait_until("the addresses on r2", || has_all(&h2, addresses));
    }
}

#[test]
fn it_goes_on_when_nobody_reads_its_output() {
    let lan = Lan::new().unwrap();
    let (h1, h2) = hosts(&lan);
    let mut command = h1.namespace().command(example("tokio_router").unwrap());
    command.args("--interface eth0 --vrid 51 --interval 10 --priority 200".split(' '));
    command.args(["--address", IPV4[0]]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    wait_until("the addresses on r1", || has_all(&h1, IPV4));
    let r2 = start("vrrp_router", &h2, "100", IPV4);
    wait_for_change(&r2, "Backup", "startup");
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(has_none(&h1, IPV4));
}

#[test]
fn failures_are_plain_sentences() {
    let lan = Lan::new().unwrap();
    let (h1, _h2) = hosts(&lan);
    for (arguments, expected) in [
        (
            "--interface eth9 --address 192.0.2.254",
            "there is no interface eth9",
        ),
        (
            "--interface eth0 --address 192.0.2.254 --address fe80::254",
            "fe80::254/128 is not IPv4, as the first address is",
        ),
        (
            "--interface eth0 --address 2001:db8::254",
            "2001:db8::254/128: the first IPv6 address has to be link-local, in fe80::/10",
        ),
    ] {
        let mut command = h1.namespace().command(example("tokio_router").unwrap());
        command.args(["--vrid", "51"]).args(arguments.split(' '));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error, format!("tokio_router: {expected}\n"), "{arguments}");
    }
}

#[test]
fn a_stop_of_the_process_is_not_taken_for_silence_of_the_active() {
    let lan = Lan::new().unwrap();
    let (h1, h2) = hosts(&lan);
    let r1 = start("vrrp_router", &h1, "200", IPV4);
    wait_for_change(&r1, "Active", "the Active fell silent");
    let r2 = start("tokio_router", &h2, "100", IPV4);
    wait_for_line(&r2, "Initialize -> Backup: startup");
    // Longer than Active_Down_Interval, which is 361 ms.
    r2.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_secs(1));
    r2.signal(Signal::SIGCONT);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(r2.lines(), ["Initialize -> Backup: startup"]);
}

#[test]
fn addresses_of_an_earlier_run_are_removed() {
    let lan = Lan::new().unwrap();
    let (h1, _h2) = hosts(&lan);
    let r1 = start("tokio_router", &h1, "255", IPV4);
    wait_for_line(&r1, "Initialize -> Active: startup of the address owner");
    r1.kill();
    assert!(has_all(&h1, IPV4));
    // It remains Backup for more than ten seconds.
    let arguments = [
        "--interface",
        "eth0",
        "--vrid",
        "51",
        "--interval",
        "400",
        "--address",
        IPV4[0],
    ];
    let r1 = BackgroundProgram::start(h1.namespace(), "tokio_router", &arguments);
    wait_for_line(&r1, "Initialize -> Backup: startup");
    assert!(has_none(&h1, IPV4));
}
