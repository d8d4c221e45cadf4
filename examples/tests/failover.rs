//! The program `failover`, run as a user runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/program.rs"]
mod program;

use std::{fs, process::Command};

use serde_json::Value;

fn run(arguments: &[&str]) -> Value {
    let output = Command::new(program::path("failover"))
        .arg("--json")
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&text).unwrap()
}

/// Every event happened, moved the address in time, and the address was gone no longer than the takeover and a little.
fn the_address_moves_in_time(report: &Value) {
    let events = report["events"].as_array().unwrap();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "start", "kill", "return", "stop", "return", "unplug", "mend"
        ]
    );
    let active: Vec<&str> = events
        .iter()
        .map(|event| event["active"].as_str().unwrap())
        .collect();
    assert_eq!(active, ["r1", "r2", "r1", "r2", "r1", "r2", "r1"]);
    for event in events {
        let number = |name: &str| event[name].as_f64().unwrap();
        assert!(
            number("takeover_ms") <= number("bound_ms") + 50.0,
            "{event}"
        );
        // Not before its time either: at most an advertisement's interval before the event something was heard.
        let earliest = number("bound_ms") - report["interval_cs"].as_f64().unwrap() * 10.0;
        assert!(number("takeover_ms") >= earliest, "{event}");
        match event["event"].as_str().unwrap() {
            "start" => assert!(event["outage_ms"].is_null()),
            "kill" | "unplug" => {
                assert!(
                    number("outage_ms") > 100.0,
                    "nobody answered meanwhile: {event}"
                );
                assert!(
                    number("outage_ms") <= number("takeover_ms") + 100.0,
                    "{event}"
                );
            }
            _ => assert!(number("outage_ms") <= 150.0, "{event}"),
        }
    }
    assert_eq!(report["ok"], true);
}

#[test]
fn three_routers_over_ipv4_and_what_is_left_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (svg, pcap) = (file("timeline.svg"), file("network.pcap"));
    let report = run(&[
        "--svg",
        svg.to_str().unwrap(),
        "--pcap",
        pcap.to_str().unwrap(),
    ]);
    the_address_moves_in_time(&report);
    assert_eq!(
        (&report["version"], &report["family"]),
        (&3.into(), &"ipv4".into())
    );

    let picture = fs::read_to_string(svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
    for (lane, at_least) in [("active", 7), ("backup", 7), ("answers", 4), ("event", 7)] {
        let count = picture.matches(&format!(r#"class="{lane}""#)).count();
        assert!(count >= at_least, "{count} of {lane}");
    }

    let packets = vrrp_lab::tshark(&pcap, vrrp_lab::V3Checksum::MessageOnly).unwrap();
    assert!(packets.len() > 100);
    for packet in packets {
        // That the address has another MAC address than before is what this is about.
        let mut complaints = packet.complaints().to_vec();
        complaints.retain(|complaint| !complaint.starts_with("Duplicate IP address configured"));
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

#[test]
fn two_routers_over_ipv6() {
    let report = run(&["--ipv6", "--routers", "2", "--interval", "20"]);
    the_address_moves_in_time(&report);
    assert_eq!(
        (&report["family"], &report["interval_cs"]),
        (&"ipv6".into(), &20.into())
    );
}

#[test]
fn what_does_not_go_together_is_refused_with_what_to_do() {
    let output = Command::new(program::path("failover"))
        .args(["--version", "2", "--ipv6"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("version 2 exists over IPv4 only"), "{said}");
}
