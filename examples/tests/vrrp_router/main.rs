//! The program `vrrp_router`, in namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commands;
mod containers;
mod options;
mod succession;
mod sync_groups;
mod tracking;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vrrp_lab::{BackgroundProgram, Capture, Host, Lan, example, wait_for};
use vrrp_proto::{
    Advertisement, ChecksumMatch, DecodeOptions, MessageAuthentication, Password, Version, ah,
    frame::{ethernet::Frame, ipv4, ipv6},
};

const VIP: &str = "192.0.2.254/32";

/// A network with routers r1, r2 and so on, at 192.0.2.1 and so on.
fn lan_of<const N: usize>() -> (Lan, [Host; N]) {
    let lan = Lan::new().unwrap();
    let hosts = std::array::from_fn(|place| {
        let number = place + 1;
        let address = format!("192.0.2.{number}/24");
        lan.host(&format!("r{number}"), &[&address]).unwrap()
    });
    (lan, hosts)
}

/// A router on eth0 with VRID 51 and an interval of 10 cs, unless the options say something else.
fn router(host: &Host, options: &[&str]) -> BackgroundProgram {
    let mut arguments = vec!["--interface", "eth0"];
    for default in [["--vrid", "51"], ["--interval", "10"], ["--address", VIP]] {
        if !options.contains(&default[0]) {
            arguments.extend(default);
        }
    }
    arguments.extend(options);
    BackgroundProgram::start(host.namespace(), "vrrp_router", &arguments)
}

fn events(router: &BackgroundProgram) -> Vec<Value> {
    let parse = |line: &String| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    };
    router.lines().iter().map(parse).collect()
}

fn wait_for_event(router: &BackgroundProgram, name: &str) -> Value {
    router.wait_for(name, |line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["event"] == name).then_some(event)
    })
}

/// Waits for the last change of state to be this.
fn wait_for_state(router: &BackgroundProgram, state: &str) -> Value {
    let last = || {
        let mut changes = events(router);
        changes.retain(|event| event["event"] == "state-changed");
        changes.pop().filter(|change| change["to"] == state)
    };
    wait_for(&format!("state {state}"), BackgroundProgram::LIMIT, last)
        .unwrap_or_else(|error| panic!("{error}; there was {:#?}", router.lines()))
}

/// The state that the router reports when it is asked now.
fn ask_for_state(router: &BackgroundProgram) -> Value {
    ask_for(router, |_| true)
}

/// Asks for the state, and returns the first new report for which `is_the_one` holds.
fn ask_for(router: &BackgroundProgram, is_the_one: impl Fn(&Value) -> bool) -> Value {
    let states = || {
        let mut events = events(router);
        events.retain(|event| event["event"] == "state" && is_the_one(event));
        events
    };
    let before = states().len();
    router.signal(Signal::SIGUSR1);
    wait_for("the state", BackgroundProgram::LIMIT, || {
        states().get(before).cloned()
    })
    .unwrap()
}

/// Whether a process has ended. A zombie is one that nobody has waited for yet.
fn has_ended(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat"));
    status.map_or(true, |status| status.contains(") Z "))
}

fn time_of(event: &Value) -> SystemTime {
    humantime::parse_rfc3339(event["time"].as_str().unwrap()).unwrap()
}

fn has(host: &Host, address: &str) -> bool {
    let address = address.parse().unwrap();
    host.addresses().unwrap().contains(&address)
}

#[test]
fn two_routers_elect_one_and_the_other_takes_over_when_it_is_killed() {
    let (_lan, [h1, h2]) = lan_of();
    let r2 = router(&h2, &["--priority", "100"]);
    wait_for_state(&r2, "Active");
    let r1 = router(&h1, &["--priority", "200"]);
    wait_for_state(&r1, "Active");
    let yielded = wait_for_state(&r2, "Backup");
    assert_eq!(yielded["from"], "Active");
    assert_eq!(yielded["reason"], "another router has a higher priority");
    assert_eq!(yielded["last_event"], "vrrp-event-higher-priority-backup");
    assert!(has(&h1, VIP) && !has(&h2, VIP));

    // The kernel of a dead machine does not answer either.
    h1.partition().unwrap();
    r1.kill();
    let killed = SystemTime::now();
    let taken_over = wait_for_state(&r2, "Active");
    assert_eq!(taken_over["reason"], "the Active fell silent");
    let outage = time_of(&taken_over).duration_since(killed).unwrap();
    // Active_Down_Interval is 3 x 100 ms and a skew of 61 ms.
    assert!(outage < Duration::from_millis(361 + 250), "{outage:?}");
    assert!(has(&h2, VIP));
    assert!(has(&h1, VIP), "nobody was left to remove it");

    h1.mend().unwrap();
    let r1 = router(&h1, &["--priority", "200"]);
    assert_eq!(wait_for_event(&r1, "left-over-removed")["address"], VIP);
    wait_for_state(&r1, "Active");
    wait_for_state(&r2, "Backup");
    assert!(has(&h1, VIP) && !has(&h2, VIP));
}

#[test]
fn a_router_that_is_asked_to_end_resigns_and_leaves_nothing_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (lan, [h1, h2]) = lan_of();
        let capture = lan.capture().unwrap();
        let mut r1 = router(&h1, &["--priority", "200"]);
        wait_for_state(&r1, "Active");
        let r2 = router(&h2, &[]);
        wait_for_state(&r2, "Backup");
        // So that it knows whose resignation it is.
        wait_for("an advertisement heard", BackgroundProgram::LIMIT, || {
            let state = ask_for_state(&r2);
            (state["active"]["address"] == "192.0.2.1").then_some(())
        })
        .unwrap();

        r1.signal(signal);
        assert_eq!(r1.wait().code(), Some(0), "{signal}");
        assert!(!has(&h1, VIP));
        capture
            .wait_for("priority 0", BackgroundProgram::LIMIT, |frame| {
                frame.bytes.get(23) == Some(&112) && frame.bytes.get(36) == Some(&0)
            })
            .unwrap();
        let taken_over = wait_for_state(&r2, "Active");
        assert_eq!(taken_over["reason"], "the Active resigned");

        let ended = wait_for_state(&r1, "Initialize");
        assert_eq!(
            (&ended["from"], &ended["reason"]),
            (&json!("Active"), &json!("shutdown"))
        );
        assert_eq!(events(&r1).pop().unwrap()["event"], "stopped");
    }
}

#[test]
fn a_closed_terminal_ends_the_program_unless_sighup_is_ignored() {
    let (_lan, [host]) = lan_of();
    let start = |disposition: &str| {
        let program = example("vrrp_router").unwrap();
        let base = format!("{disposition} {} {BASE} --interval 10", program.display());
        let mut command = host.namespace().command("env");
        command.args(base.split(' '));
        let router = BackgroundProgram::spawn(command);
        wait_for_state(&router, "Active");
        router.signal(Signal::SIGHUP);
        router
    };
    let mut router = start("--default-signal=HUP");
    assert_eq!(router.wait().code(), Some(0));
    assert!(!has(&host, VIP));

    let mut router = start("--ignore-signal=HUP");
    assert_eq!(ask_for_state(&router)["state"], "Active");
    router.signal(Signal::SIGTERM);
    assert_eq!(router.wait().code(), Some(0));
}

#[test]
fn when_one_router_is_refused_nothing_of_the_others_stays() {
    let (_lan, [host]) = lan_of();
    let line = format!("{BASE} --virtual-mac --priority 255 --next {BASE}");
    let arguments: Vec<&str> = line.split(' ').collect();
    let mut refused = BackgroundProgram::start(host.namespace(), "vrrp_router", &arguments);
    assert_eq!(refused.wait().code(), Some(1));
    let links = iproute2(&host, &["link"]);
    assert!(!links.contains("vrrp4-51"), "{links}");
    wait_for_event(&refused, "stopped");
}

#[test]
fn every_line_is_an_object_with_time_event_and_what_it_is_about() {
    let (_lan, [host]) = lan_of();
    let before = SystemTime::now();
    let mut r1 = router(&host, &[]);
    wait_for_state(&r1, "Active");
    r1.signal(Signal::SIGTERM);
    r1.wait();
    wait_for_event(&r1, "stopped");
    let events = events(&r1);
    let names: Vec<&Value> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(
        names,
        [
            "started",
            "state-changed",
            "state-changed",
            "state-changed",
            "stopped"
        ]
    );
    let mut last = before;
    for event in &events {
        let time = time_of(event);
        assert!(event["time"].as_str().unwrap().ends_with('Z'));
        assert!(last <= time + Duration::from_micros(1), "{events:#?}");
        last = time;
    }
    let (stopped, of_router) = events.split_last().unwrap();
    for event in of_router {
        assert_eq!(event["interface"], "eth0");
        assert_eq!(
            (&event["family"], &event["vrid"]),
            (&json!("IPv4"), &json!(51))
        );
    }
    assert_eq!(
        stopped["vrid"],
        json!(null),
        "it is about the whole program"
    );
    let changes: Vec<(&str, &str, u64)> = events[1..4]
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap();
            (
                text("from"),
                text("to"),
                event["sequence"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("Initialize", "Backup", 1),
            ("Backup", "Active", 2),
            ("Active", "Initialize", 3)
        ]
    );
}

#[test]
fn sigusr1_reports_the_full_state() {
    let (_lan, [h1, h2]) = lan_of();
    let r1 = router(&h1, &["--priority", "150", "--accept"]);
    wait_for_state(&r1, "Active");
    let state = ask_for_state(&r1);
    for (name, value) in [
        ("state", json!("Active")),
        ("priority", json!(150)),
        ("effective_priority", json!(150)),
        ("primary_address", json!("192.0.2.1")),
        (
            "active",
            json!({"address": "192.0.2.1", "priority": 150, "version": 3}),
        ),
        ("faults", json!([])),
        ("addresses", json!([{"address": VIP, "installed": true}])),
        ("interval_cs", json!(10)),
        ("active_down_interval_ms", json!(341.40625)),
        ("skew_time_ms", json!(41.40625)),
        ("accept_mode", json!(true)),
        ("accepts_traffic", json!(true)),
        ("new_active_reason", json!("no-response")),
    ] {
        assert_eq!(state[name], value, "{name}");
    }
    assert_eq!(state["counters"]["active_transitions"], 1);
    assert!(state["counters"]["advertisements_sent"].as_u64().unwrap() >= 1);

    // Packets of a virtual router in which this one has no part are counted for the whole program.
    let _stranger = router(&h2, &["--vrid", "52", "--address", "192.0.2.253"]);
    wait_for("a VRID error", BackgroundProgram::LIMIT, || {
        let errors = ask_for_state(&r1)["all_routers"]["vrid_errors"].as_u64();
        errors.filter(|count| *count > 0)
    })
    .unwrap();
}

/// A shell command that runs a script, whose `$log` is the file that is returned.
fn log_command(folder: &Path, script: &str) -> (String, std::path::PathBuf) {
    let file = folder.join("log");
    let path = folder.join("notify");
    fs::write(
        &path,
        format!("#!/bin/sh\nlog={}\n{script}\n", file.display()),
    )
    .unwrap();
    (format!("sh {} \"$@\"", path.display()), file)
}

fn read(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(Into::into).collect()
}

#[test]
fn a_router_goes_on_when_its_output_is_closed() {
    let (lan, [host]) = lan_of();
    let capture = lan.capture().unwrap();
    let mut command = host.namespace().command(example("vrrp_router").unwrap());
    command.args([
        "--interface",
        "eth0",
        "--vrid",
        "51",
        "--address",
        VIP,
        "--interval",
        "10",
    ]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    capture
        .wait_for("an advertisement", BackgroundProgram::LIMIT, |frame| {
            frame.bytes.get(23) == Some(&112)
        })
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!has(&host, VIP));
}

#[test]
fn lines_that_nobody_reads_for_long_are_left_out_and_counted() {
    let (_lan, [host]) = lan_of();
    let mut command = host.namespace().command(example("vrrp_router").unwrap());
    for vrid in 1..=100_u8 {
        let (vrid, address) = (vrid.to_string(), format!("192.0.2.{}", 100 + vrid));
        command.args([
            "--interface",
            "eth0",
            "--vrid",
            &vrid,
            "--address",
            &address,
        ]);
        command.args(["--priority", "1", "--interval", "4095", "--next"]);
    }
    command.args(["--interface", "eth0", "--vrid", "200", "--address", VIP]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut read = || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    // From then on it hears signals.
    assert_eq!(read()["event"], "started");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() / 1024
    };
    // How often it has waited for something, as it does after each signal.
    let waits = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mut lines = status.lines();
        let waits = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        waits.unwrap().trim().parse::<u64>().unwrap()
    };
    // Each time 101 lines of about a kilobyte, of which 16 MiB are kept.
    for _ in 0..600 {
        let before = waits();
        nix::sys::signal::kill(pid, Signal::SIGUSR1).unwrap();
        wait_for("the next wait", BackgroundProgram::LIMIT, || {
            (waits() > before).then_some(())
        })
        .unwrap();
    }
    assert!(memory() < 50, "{} MiB", memory());
    let mut lines = 0;
    let left_out = loop {
        let line = read();
        lines += 1;
        assert!(lines < 50_000, "nothing was left out");
        if line["event"] == "lines-left-out" {
            break line["lines"].as_u64().unwrap();
        }
        if lines % 5000 == 0 {
            nix::sys::signal::kill(pid, Signal::SIGUSR1).unwrap();
        }
    };
    assert!(left_out > 0);
    assert_eq!(read()["event"], "state", "it goes on");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_start_for_which_there_are_too_few_descriptors_says_what_they_were_for() {
    let (_lan, [host]) = lan_of();
    let refused_with = |limit: usize| {
        let mut command = host.namespace().command("/bin/sh");
        let run = format!("ulimit -n {limit}; exec \"$@\"");
        command.args(["-c", &run, "sh"]);
        command.arg(example("vrrp_router").unwrap());
        command.args(["--interface", "eth0", "--vrid", "51", "--address", VIP]);
        command.args(["--track-file", "/proc/sys/net/ipv4/ip_forward:-1"]);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let has_started = lines
            .map_while(Result::ok)
            .any(|line| line.contains("\"event\":\"started\""));
        if has_started {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        (!has_started).then(|| String::from_utf8(output.stderr).unwrap())
    };
    // With fewer it is the linker that complains.
    let refusals: Vec<String> = (5..40).map_while(refused_with).collect();
    assert!((1..35).contains(&refusals.len()), "{refusals:#?}");
    for refusal in refusals {
        let parts: Vec<&str> = refusal.trim_end().split(": ").collect();
        assert!(
            matches!(parts[..], ["vrrp_router", what, "Too many open files (os error 24)"] if what.len() > 5),
            "{refusal:?}"
        );
    }
}

#[test]
fn a_link_that_goes_is_a_fault_and_the_router_recovers() {
    let (_lan, [host]) = lan_of();
    let r1 = router(&host, &[]);
    wait_for_state(&r1, "Active");
    host.shut().unwrap();
    let fault = wait_for_event(&r1, "fault");
    assert_eq!(fault["reason"], "the interface is down or has no carrier");
    assert_eq!(wait_for_state(&r1, "Initialize")["reason"], "fault");
    let state = ask_for_state(&r1);
    assert_eq!(
        state["faults"],
        json!(["the interface is down or has no carrier"])
    );
    host.mend().unwrap();
    wait_for_event(&r1, "recovered");
    wait_for_state(&r1, "Active");
}

#[test]
fn another_interface_counts_as_the_options_say() {
    let (_lan, [h1, h2]) = lan_of();
    let outside = Lan::new().unwrap();
    let uplink = outside.attach(&h1, "eth1", &[]).unwrap();
    let r1 = router(
        &h1,
        &["--priority", "200", "--track-interface", "eth1:-150"],
    );
    wait_for_state(&r1, "Active");
    // It has no such interface.
    let r2 = router(&h2, &["--priority", "250", "--track-interface", "eth1"]);
    wait_for_event(&r2, "started");
    let state = ask_for_state(&r2);
    assert_eq!(state["state"], "Initialize");
    assert_eq!(
        state["explanation"],
        "priority 250: 250 configured, eth1 down (fault)"
    );
    drop(r2);

    let r3 = router(&h2, &["--priority", "100"]);
    wait_for_state(&r3, "Backup");
    uplink.unplug().unwrap();
    wait_for_state(&r3, "Active");
    wait_for_state(&r1, "Backup");
    let changed = |name, what| {
        let all = events(&r1);
        let named = all.iter().rfind(|event| event["event"] == name);
        named.map(|event: &Value| event[what].clone())
    };
    assert_eq!(changed("object-changed", "object"), Some(json!("eth1")));
    assert_eq!(changed("object-changed", "up"), Some(json!(false)));
    assert_eq!(changed("priority-changed", "to"), Some(json!(50)));
}

/// What ip(8) shows in a host.
fn iproute2(host: &Host, arguments: &[&str]) -> String {
    let mut ip = host.namespace().command("ip");
    let output = ip.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn virtual_mac_accept_mode_and_routes_are_as_the_options_say() {
    let (lan, [h1]) = lan_of();
    let capture = lan.capture().unwrap();
    let mut r1 = router(
        &h1,
        &[
            "--virtual-mac",
            "--enforce-accept-mode",
            "--route",
            "203.0.113.0/24 via 192.0.2.77 metric 7",
        ],
    );
    wait_for_state(&r1, "Active");
    let advertisement = capture
        .wait_for("an advertisement", BackgroundProgram::LIMIT, |frame| {
            frame.bytes[12..14] == [0x08, 0x00] && frame.bytes.get(23) == Some(&112)
        })
        .unwrap();
    assert_eq!(advertisement.bytes[6..12], [0, 0, 0x5e, 0, 1, 51]);
    let route = || {
        let shown = iproute2(&h1, &["route", "show", "203.0.113.0/24"]);
        shown.contains("via 192.0.2.77") && shown.contains("metric 7")
    };
    wait_for("the route", BackgroundProgram::LIMIT, || {
        route().then_some(())
    })
    .unwrap();
    // Without --accept the address is answered for, and not on the host.
    assert!(!iproute2(&h1, &["-o", "address", "show"]).contains("192.0.2.254"));

    r1.signal(Signal::SIGTERM);
    assert!(r1.wait().success());
    assert!(!route());
    assert!(!iproute2(&h1, &["link", "show"]).contains("vrrp4-51"));

    let r1 = router(&h1, &["--virtual-mac", "--enforce-accept-mode", "--accept"]);
    wait_for_state(&r1, "Active");
    wait_for("the address", BackgroundProgram::LIMIT, || {
        iproute2(&h1, &["-o", "address", "show"])
            .contains("192.0.2.254")
            .then_some(())
    })
    .unwrap();
}

#[test]
fn preemption_is_as_the_options_say() {
    let (_lan, [h1, h2, h3]) = lan_of();
    let low = router(&h1, &["--priority", "100"]);
    wait_for_state(&low, "Active");

    let started = SystemTime::now();
    let delayed = router(&h2, &["--priority", "150", "--preempt-delay", "1.5"]);
    let patient = router(&h3, &["--priority", "250", "--no-preempt"]);
    let preempted = wait_for_state(&delayed, "Active");
    assert_eq!(
        preempted["reason"],
        "the Active has a lower priority and the delay is over"
    );
    let waited = time_of(&preempted).duration_since(started).unwrap();
    assert!(waited >= Duration::from_millis(1500), "{waited:?}");
    assert_eq!(wait_for_state(&patient, "Backup")["from"], "Initialize");
    wait_for_state(&low, "Backup");
}

/// The first advertisement that a router with these options sends: the packet, without the Ethernet
/// header.
fn advertised(options: &[&str]) -> Vec<u8> {
    let lan = Lan::new().unwrap();
    let host = lan.host("r1", &["192.0.2.1/24", "192.0.2.7/24"]).unwrap();
    let _peer = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let capture = lan.capture().unwrap();
    let _router = router(&host, options);
    packet_in(&capture)
}

fn packet_in(capture: &Capture) -> Vec<u8> {
    let is_ours = |bytes: &[u8]| match bytes.get(12..14) {
        Some([0x08, 0x00]) => matches!(bytes.get(23), Some(112 | 51)),
        Some([0x86, 0xdd]) => bytes.get(20) == Some(&112),
        _ => false,
    };
    let frame = capture
        .wait_for("an advertisement", BackgroundProgram::LIMIT, |frame| {
            is_ours(&frame.bytes)
        })
        .unwrap();
    Frame::parse(&frame.bytes).unwrap().payload.to_vec()
}

#[test]
fn every_option_reaches_the_wire() {
    let strict = DecodeOptions::default();

    let octets = advertised(&[
        "--priority",
        "77",
        "--address",
        VIP,
        "--address",
        "192.0.2.253/24",
    ]);
    let packet = ipv4::Packet::parse(&octets).unwrap();
    let decoded = Advertisement::decode(packet.payload, &packet.ip_header(), &strict).unwrap();
    let message = decoded.advertisement;
    assert_eq!((message.vrid.get(), message.priority.get()), (51, 77));
    assert_eq!(
        (message.version(), message.interval.as_centis()),
        (Version::V3, 10)
    );
    let addresses: Vec<String> = message
        .addresses
        .iter()
        .map(|own| own.to_string())
        .collect();
    assert_eq!(addresses, ["192.0.2.254", "192.0.2.253"]);
    assert_eq!(
        decoded.checksum,
        ChecksumMatch::PseudoHeader,
        "the first of the two forms that adaptive starts with"
    );
    assert_eq!(packet.destination.to_string(), "224.0.0.18");
    assert_eq!(packet.source.to_string(), "192.0.2.1");

    let octets = advertised(&["--checksum", "pseudo", "--source", "192.0.2.7"]);
    let packet = ipv4::Packet::parse(&octets).unwrap();
    let decoded = Advertisement::decode(packet.payload, &packet.ip_header(), &strict).unwrap();
    assert_eq!(decoded.checksum, ChecksumMatch::PseudoHeader);
    assert_eq!(packet.source.to_string(), "192.0.2.7");

    let octets = advertised(&["--checksum", "rfc9568", "--unicast-peer", "192.0.2.2"]);
    let packet = ipv4::Packet::parse(&octets).unwrap();
    let decoded = Advertisement::decode(packet.payload, &packet.ip_header(), &strict).unwrap();
    assert_eq!(decoded.checksum, ChecksumMatch::MessageOnly);
    assert_eq!(packet.destination.to_string(), "192.0.2.2");

    let octets = advertised(&["--address", "fe80::254/64", "--address", "2001:db8::254/64"]);
    let packet = ipv6::Packet::parse(&octets).unwrap();
    let decoded = Advertisement::decode(packet.payload, &packet.ip_header(), &strict).unwrap();
    assert_eq!(decoded.advertisement.addresses.len(), 2);

    let v2 = ["--version", "2", "--interval", "100", "--priority", "255"];
    let octets = advertised(&[&v2[..], &["--password", "s3cret"]].concat());
    let packet = ipv4::Packet::parse(&octets).unwrap();
    let decoded = Advertisement::decode(packet.payload, &packet.ip_header(), &strict).unwrap();
    let message = decoded.advertisement;
    assert_eq!(
        (message.version(), message.interval.as_centis()),
        (Version::V2, 100)
    );
    let password = Password::new(b"s3cret").unwrap();
    assert_eq!(
        message.authentication,
        MessageAuthentication::SimpleText(password)
    );

    let octets = advertised(&[&v2[..], &["--ah", "s3cret"]].concat());
    let packet = ipv4::Packet::parse(&octets).unwrap();
    let opened = ah::Key::new(password).open(&packet).unwrap();
    let decoded = Advertisement::decode(opened.message, &packet.ip_header(), &strict).unwrap();
    assert_eq!(
        decoded.advertisement.authentication,
        MessageAuthentication::IpAh
    );
}

#[test]
fn a_router_with_another_password_is_discarded_and_reported() {
    let (_lan, [h1, h2]) = lan_of();
    let v2 = ["--version", "2", "--interval", "100", "--password"];
    // The owner is Active at once.
    let r1 = router(&h1, &[&v2[..], &["right", "--priority", "255"]].concat());
    wait_for_state(&r1, "Active");
    let r2 = router(&h2, &[&v2[..], &["wrong"]].concat());
    let discarded = wait_for_event(&r2, "discarded");
    assert_eq!(discarded["reason"], "the password differs");
    assert_eq!(discarded["counter"], "authentication-errors");
    assert_eq!(discarded["source"], "192.0.2.1");
}

/// The options that a virtual router needs.
const BASE: &str = "--interface eth0 --vrid 51 --address 192.0.2.254/32";

/// Each of these command lines is refused with an error that begins so. A comma in a line stands
/// for a space within a value.
fn assert_refused(lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        let arguments = line.split(' ').map(|argument| argument.replace(',', " "));
        let mut command = Command::new(example("vrrp_router").unwrap());
        let output = command.args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {error}");
        assert!(
            error.starts_with(&format!("error: {expected}")),
            "{line}: {error}"
        );
    }
}

#[test]
fn an_option_that_does_not_fit_is_named_with_its_value_and_range() {
    let base = BASE;
    assert_refused(&[
        (
            "--interface eth0 --vrid 0 --address 192.0.2.254",
            "invalid value '0' for '--vrid <VRID>': 0 is not in 1..=255",
        ),
        (
            &format!("{base} --priority 256"),
            "invalid value '256' for '--priority <PRIORITY>': 256 is not in 1..=255",
        ),
        (
            &format!("{base} --interval 4096"),
            "invalid value '4096' for '--interval <CS>': version 3 takes 1..=4095",
        ),
        (
            &format!("{base} --interval 0"),
            "invalid value '0' for '--interval <CS>': 0 is not in 1..=25500",
        ),
        (
            &format!("{base} --version 2 --interval 150"),
            "invalid value '150' for '--interval <CS>': version 2 takes whole seconds: 100..=25500 in steps of 100",
        ),
        (
            &format!("{base} --version 4"),
            "invalid value '4' for '--version <VERSION>': 4 is not in 2..=3",
        ),
        (
            "--interface eth0 --vrid 51 --address 192.0.2.254/33",
            "invalid value '192.0.2.254/33' for '--address <ADDRESS/LENGTH>': prefix length 33 is not in 1..=32",
        ),
        (
            "--interface eth0 --vrid 51 --address 2001:db8::1",
            "invalid value '2001:db8::1' for '--address <ADDRESS/LENGTH>': the first IPv6 address has to be link-local, in fe80::/10",
        ),
        (
            "--interface eth0 --vrid 51 --address fe80::1 --version 2",
            "invalid value '2' for '--version <VERSION>': version 2 exists over IPv4 only",
        ),
        (
            &format!("{base} --source fe80::1"),
            "invalid value 'fe80::1' for '--source <IP>': the first --address is IPv4",
        ),
        (
            &format!("{base} --unicast-peer fe80::1"),
            "invalid value 'fe80::1' for '--unicast-peer <IP>': the first --address is IPv4",
        ),
        (
            &format!("{base} --track-interface eth1:0"),
            "invalid value 'eth1:0' for '--track-interface <NAME[:WEIGHT] [...]>': weight 0 must be -253..=-1 or 1..=253",
        ),
        (
            &format!("{base} --track-interface eth1:high"),
            "invalid value 'eth1:high' for '--track-interface <NAME[:WEIGHT] [...]>': weight high is not a number",
        ),
        (
            &format!("{base} --no-preempt --preempt-delay 3"),
            "the argument '--no-preempt' cannot be used with '--preempt-delay <S>'",
        ),
        (
            &format!("{base} --preempt-delay -1"),
            "unexpected argument '-1' found",
        ),
        (
            &format!("{base} --preempt-delay 31536001"),
            "invalid value '31536001' for '--preempt-delay <S>': 31536001 is not in 0..=31536000 seconds",
        ),
        (
            &format!("{base} --version 2 --password a --ah b"),
            "the argument '--password <TEXT>' cannot be used with '--ah <TEXT>'",
        ),
        (
            &format!("{base} --ah b"),
            "invalid value '3' for '--version <VERSION>': --password and --ah exist in version 2 only",
        ),
        (
            &format!("{base} --version 2 --password ninechars"),
            "invalid value 'ninechars' for '--password <TEXT>': password length 9 is not in 1..=8",
        ),
        (
            &format!("{base} --next"),
            "the following required arguments were not provided:",
        ),
        (
            &format!("{base} --notify "),
            "a value is required for '--notify <CMD>' but none was supplied",
        ),
        (
            &format!("{base} --notify true --notify-timeout 0"),
            "invalid value '0' for '--notify-timeout <S>': 0 is not in 0.01..=31536000 seconds",
        ),
        (
            &format!("{base} --sync-group "),
            "a value is required for '--sync-group <NAME>' but none was supplied",
        ),
        (
            &format!("{base} --checksum crc"),
            "invalid value 'crc' for '--checksum <FORM>'",
        ),
    ]);
}
