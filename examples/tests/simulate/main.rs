//! The program `simulate`, from its arguments to its files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use vrrp_lab::{V3Checksum, example, tshark, tshark_in_either_form};

fn simulate(arguments: &str, files: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(example("simulate").unwrap());
    command.args(arguments.split_whitespace());
    for (option, path) in files {
        command.arg(option).arg(path);
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_healthy_run_says_that_all_held_and_ends_with_status_0() {
    let output = simulate("--seed 1 --hours 1 --groups 2", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = text(&output);
    assert!(
        text.starts_with("seed 1: 10 virtual routers on 3 hosts, "),
        "{text}"
    );
    assert!(text.ends_with("all held\n"), "{text}");
}

#[test]
fn the_json_object_has_settings_and_checks() {
    let output = simulate(
        "--seed 2 --routers 6 --fleets 4 --hours 2 --loss 2 --groups 1 --json",
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["seed"], 2);
    assert_eq!(report["routers"], 6);
    assert_eq!(report["fleets"], 4);
    assert_eq!(report["broken"], Value::Null);
    assert!(report["simulated_seconds"].as_f64().unwrap() > 7200.0);
    assert!(report["rate"].as_f64().unwrap() > 0.0);
    // Six Actives each send one message per second.
    assert!(report["messages_sent"].as_u64().unwrap() > 6 * 7000);
    assert!(report["transitions"].as_u64().unwrap() > 24);
    for kind in [
        "crash",
        "stall",
        "stop",
        "priority",
        "interval",
        "object",
        "partition",
        "one-way cut",
        "loss",
        "duplicate",
        "late message",
        "replay",
    ] {
        assert!(report["faults"][kind].as_u64().unwrap() > 0, "{kind}");
    }
    let checks = report["checks"].as_object().unwrap();
    assert_eq!(checks.len(), 11);
    for (property, count) in checks {
        // Only sequence numbers reveal a replay.
        let is_possible = property != "a replay is discarded";
        assert_eq!(count.as_u64().unwrap() > 0, is_possible, "{property}");
    }
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// Fault 23: a host that received from five others forgot the sequence of the first.
#[test]
fn a_replay_is_discarded_on_a_lan_of_six_hosts() {
    let output = simulate(
        "--seed 38292338962 --hours 0.55 --routers 5 --fleets 6 --loss 0 --duplication 1 --late 0 \
         --faults-every 20 --groups 0 --interval 100 --unicast half --authentication hmac --resent .5",
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A rival's announcement may take longer than the wait before the burst after that rival.
#[test]
fn neighbours_are_corrected_only_where_messages_are_faster_than_the_burst() {
    let output = simulate(
        "--seed 1024 --routers 10 --fleets 4 --hours 2.0 --interval 3312 --delay 6418900 --loss 0 \
         --duplication 3.3 --late 0.3 --resent 0 --unicast none --authentication hmac \
         --faults-every 408 --faults-last 115 --groups 1",
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// The settings in the output of a run.
fn settings(report: &Value) -> String {
    report["settings"].as_str().unwrap().to_owned()
}

#[test]
fn random_settings_follow_from_the_seed_and_repeat_the_run() {
    let run = |arguments: &str| {
        let output = simulate(arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let drawn = run("--seed 7 --random-settings --json");
    let repeated = run(&format!("--seed 7 --json {}", settings(&drawn)));
    for field in ["settings", "messages_received", "faults", "checks"] {
        assert_eq!(drawn[field], repeated[field], "{field}");
    }
    let other = run("--seed 8 --random-settings --json");
    assert_ne!(settings(&drawn), settings(&other));
}

#[test]
fn messages_that_must_be_recent_are_not_delayed_beyond_that() {
    // This seed draws hmac-time and a longer delay.
    let output = simulate("--seed 5000116 --random-settings", &[]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("--delay 4500000 "), "{text}");
}

#[test]
fn all_holds_with_settings_drawn_each_time() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for number in 0..3 {
        let seed = now.as_secs() * 10 + number;
        let output = simulate(&format!("--seed {seed} --random-settings"), &[]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(0), "seed {seed}:\n{text}");
    }
}

#[test]
fn without_a_seed_a_new_one_is_drawn_and_printed() {
    let output = simulate("--hours 0.01 --json", &[]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let again = simulate(
        &format!("--hours 0.01 --json --seed {}", report["seed"]),
        &[],
    );
    let second: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["messages_received"], second["messages_received"]);
    assert_eq!(report["faults"], second["faults"]);
}

#[test]
fn a_mistake_ends_with_status_1_and_the_fewest_faults_which_replay_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let least = folder.path().join("least");
    for mistake in ["ignores-priority-zero", "answers-no-rival"] {
        let arguments = format!("--seed 3 --hours 1 --faults-every 60 --json --mistake {mistake}");
        let output = simulate(&arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let broken = &report["broken"];
        let trace = broken["trace"].as_str().unwrap();
        assert!(trace.contains("\nseed 3\n"), "{trace}");
        // The settings, the seed, and a fault or a few.
        assert!((3..=10).contains(&trace.lines().count()), "{trace}");

        fs::write(&least, trace).unwrap();
        let replayed = simulate("--json", &[("--replay", &least)]);
        assert_eq!(replayed.status.code(), Some(1), "{replayed:?}");
        let again: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        assert_eq!(again["broken"]["property"], broken["property"]);
        assert_eq!(again["broken"]["trace"], broken["trace"]);

        // Without the mistake, the same faults break no property.
        let healthy = trace.replace(&format!(" --mistake {mistake}"), "");
        fs::write(&least, healthy).unwrap();
        let replayed = simulate("", &[("--replay", &least)]);
        assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    }
}

#[test]
fn with_unicast_and_each_authentication_all_holds() {
    for (arguments, has_sequence) in [
        ("--unicast half", false),
        ("--unicast all --authentication password", false),
        ("--authentication ah", true),
        ("--unicast half --authentication hmac", true),
        ("--authentication hmac-time", true),
    ] {
        let output = simulate(
            &format!("--seed 7 --hours 1 --resent 1 --json {arguments}"),
            &[],
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let replays = report["checks"]["a replay is discarded"].as_u64().unwrap();
        assert_eq!(replays > 50, has_sequence, "{arguments}: {replays}");
        let discarded = report["messages_discarded"].as_u64().unwrap();
        assert!(discarded >= replays, "{arguments}: {discarded}");
    }
}

#[test]
fn each_mistake_of_the_wire_is_found_and_replays_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let least = folder.path().join("least");
    for (arguments, property) in [
        ("announces-nothing", "the Active announces"),
        (
            "forgets-sequence-numbers --authentication hmac",
            "a replay is discarded",
        ),
        (
            "wrong-secret --authentication password",
            "at most one Active",
        ),
        ("wrong-secret --authentication ah", "at most one Active"),
        (
            "wrong-secret --authentication hmac --unicast all",
            "at most one Active",
        ),
    ] {
        let arguments =
            format!("--seed 3 --hours 0.2 --faults-every 0 --json --mistake {arguments}");
        let output = simulate(&arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let broken = &report["broken"];
        assert_eq!(broken["property"], property);
        fs::write(&least, broken["trace"].as_str().unwrap()).unwrap();
        let replayed = simulate("--json", &[("--replay", &least)]);
        let again: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        assert_eq!(again["broken"]["trace"], broken["trace"]);
    }
}

#[test]
fn a_trace_replays_to_the_same_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let arguments = "--seed 4 --hours 0.3 --loss 5 --late 1 --faults-every 60 --groups 1";
    let output = simulate(arguments, &[("--trace", &first)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = simulate("", &[("--replay", &first), ("--trace", &second)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let first = fs::read(first).unwrap();
    assert!(first.len() > 100_000);
    assert!(first == fs::read(second).unwrap());
}

#[test]
fn the_capture_has_every_message_and_announcement_and_wireshark_finds_nothing_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("run.pcap");
    for (arguments, protocol_v4) in [("", "112"), ("--authentication ah", "51")] {
        let output = simulate(
            &format!("--seed 5 --routers 4 --hours 0.05 --json {arguments}"),
            &[("--pcap", &capture)],
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packets = tshark_in_either_form(&capture).unwrap();
        let (mut messages, mut arps, mut neighbors) = (0, 0, 0);
        for packet in &packets {
            assert_eq!(packet.complaints(), [] as [&str; 0], "{packet:?}");
            let is_virtual = |field: &str| {
                let mac_address = packet.field(field);
                mac_address.is_some_and(|mac_address| mac_address.starts_with("00:00:5e:00:0"))
            };
            assert!(is_virtual("eth.src"), "{packet:?}");
            if packet.field("arp.opcode").is_some() {
                arps += 1;
                let [from, to] = ["arp.src.proto_ipv4", "arp.dst.proto_ipv4"]
                    .map(|field| packet.field(field).unwrap());
                assert!(is_virtual("arp.src.hw_mac") && from == to, "{packet:?}");
            } else if packet.field("icmpv6.type") == Some("136") {
                neighbors += 1;
                assert!(is_virtual("icmpv6.opt.linkaddr"), "{packet:?}");
            } else {
                messages += 1;
                let (protocol, wanted, hops) = match packet.field("ip.proto") {
                    Some(protocol) => (protocol, protocol_v4, packet.field("ip.ttl")),
                    None => (
                        packet.field("ipv6.nxt").unwrap(),
                        "112",
                        packet.field("ipv6.hlim"),
                    ),
                };
                assert_eq!((protocol, hops), (wanted, Some("255")), "{packet:?}");
            }
        }
        assert_eq!(report["messages_sent"], messages);
        // Five frames for the one address of a virtual router.
        assert_eq!(
            report["announcements"].as_u64().unwrap() * 5,
            arps + neighbors
        );
        assert!(arps > 0 && neighbors > 0);
    }
}

#[test]
fn unicast_packets_go_from_host_to_host() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("run.pcap");
    let output = simulate(
        "--seed 5 --routers 2 --hours 0.02 --faults-every 0 --unicast all --authentication hmac",
        &[("--pcap", &capture)],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let packets = tshark(&capture, V3Checksum::MessageOnly).unwrap();
    let mut receivers: Vec<&str> = packets
        .iter()
        .filter(|packet| packet.field("ip.proto") == Some("112"))
        .map(|packet| {
            assert_eq!(packet.field("ip.src"), Some("10.1.0.1"));
            assert_eq!(packet.field("eth.src"), Some("02:00:00:01:00:01"));
            packet.field("ip.dst").unwrap()
        })
        .collect();
    receivers.sort_unstable();
    receivers.dedup();
    assert_eq!(receivers, ["10.1.0.2", "10.1.0.3"]);
}

#[test]
fn the_picture_shows_each_host_of_each_virtual_router() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("run.svg");
    let output = simulate("--seed 6 --routers 3 --hours 1", &[("--svg", &picture)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let svg = fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for wanted in [
        "LAN 1 IPv4 VRID 1",
        "LAN 1 IPv6 VRID 1",
        "LAN 1 IPv4 VRID 2",
        "class=\"active\"",
        "class=\"backup\"",
        "class=\"fault\"",
        "<title>crash ",
    ] {
        assert!(svg.contains(wanted), "no {wanted}");
    }
    assert_eq!(svg.matches("<rect").count(), svg.matches("</rect>").count());
}

#[test]
fn failures_are_plain_sentences_with_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    for (text, wanted) in [
        ("seed 1\n", "no line begins with \"# simulate \""),
        (
            "# simulate --routers 3\nseed 1\n1 crash 0\n",
            "a time is seconds with nine digits",
        ),
        ("# simulate --routers 0\nseed 1\n", "--routers"),
    ] {
        fs::write(&trace, text).unwrap();
        let output = simulate("", &[("--replay", &trace)]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(wanted) && said.contains("trace"), "{said}");
    }
    let nowhere = folder.path().join("no/where");
    for option in ["--pcap", "--trace", "--svg", "--replay"] {
        let arguments = if option == "--replay" {
            ""
        } else {
            "--hours 0"
        };
        let output = simulate(arguments, &[(option, &nowhere)]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no/where: "), "{said}");
    }
    for (arguments, wanted) in [
        (
            "--authentication hmac-time --delay 5000000",
            "--delay 5000000: with --authentication hmac-time, hosts discard messages that are 5 s",
        ),
        (
            "--routers 3 --groups 2",
            "--groups 2 is not in 0..=1: two of --routers 3 make one",
        ),
        (
            "--mistake wrong-secret",
            "--mistake wrong-secret changes nothing with --authentication none",
        ),
        (
            "--mistake forgets-sequence-numbers --authentication password",
            "--mistake forgets-sequence-numbers changes nothing with --authentication password",
        ),
        ("--delay 60000001", "60000001 is not in 1..=60000000"),
        (
            "--replay trace --routers 3",
            "'--replay <FILE>' cannot be used with",
        ),
    ] {
        let output = simulate(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(wanted), "{said}");
    }
    let mut full = Command::new(example("simulate").unwrap());
    let full = full
        .args(["--hours", "0"])
        .stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    let output = full.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("simulate: standard output: No space left"),
        "{said}"
    );
    for arguments in ["--hours -1", "--loss 101", "--fleets 101", "--seed x"] {
        let output = simulate(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
