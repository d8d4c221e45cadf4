//! The program `failover`, run as a user runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, File, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};
use vrrp_lab::example;

use serde_json::Value;

/// A user without any privilege: nobody.
const NOBODY: u32 = 65534;

fn run(arguments: &[&str]) -> Value {
    report_of(Command::new(example("failover").unwrap()).args(arguments))
}

fn report_of(command: &mut Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&text).unwrap()
}

/// Every event happened, and moved the address in time and not before its time.
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
        // On an idle machine this is nearly 0.
        let held_up = number("held_up_ms");
        assert!(
            number("takeover_ms") <= number("bound_ms") + 50.0 + held_up,
            "{event}"
        );
        // If an Active falls silent, its last advertisement came at most an interval before; the
        // rest is the time in which a thread notes that it became Backup.
        let name = event["event"].as_str().unwrap();
        let (falls_silent, preempted) = (
            matches!(name, "kill" | "unplug"),
            matches!(name, "return" | "mend"),
        );
        let interval = report["interval_cs"].as_f64().unwrap() * 10.0;
        let received_before = if falls_silent { interval } else { 0.0 } + 20.0;
        let earliest = number("bound_ms") - received_before - held_up;
        assert!(number("takeover_ms") >= earliest, "{event}");

        let nothing = Value::from(0.0);
        let allowed = if preempted {
            &nothing
        } else {
            &event["bound_ms"]
        };
        assert_eq!(&event["outage_bound_ms"], allowed);
        assert!(
            number("outage_ms") <= number("outage_bound_ms") + 50.0 + held_up,
            "{event}"
        );
        if falls_silent {
            assert!(
                number("outage_ms") >= earliest,
                "a dead Active answers: {event}"
            );
        }
    }
    assert_eq!(report["ok"], true);
}

#[test]
fn three_routers_over_ipv4_write_a_picture_and_a_capture() {
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
    for (lane, at_least) in [
        ("active", 7),
        ("backup", 7),
        ("answers", 4),
        ("silent", 4),
        ("event", 7),
    ] {
        let count = picture.matches(&format!(r#"class="{lane}""#)).count();
        assert!(count >= at_least, "{count} of {lane}");
    }

    let packets = vrrp_lab::tshark_in_either_form(&pcap).unwrap();
    assert!(packets.len() > 100);
    for packet in packets {
        // The address moves, so tshark sees it with another MAC address than before.
        let mut complaints = packet.complaints().to_vec();
        complaints.retain(|complaint| !complaint.starts_with("Duplicate IP address configured"));
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

#[test]
fn a_user_without_privileges_can_run_it() {
    // In a folder that any user can read, unlike that of the build.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("failover");
    fs::copy(example("failover").unwrap(), &copy).unwrap();
    for path in [folder.path(), &copy] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let as_nobody = |program: &str| {
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    };
    // A user other than root has no privileges anyway.
    let mut command = if as_nobody("true").status().is_ok() {
        as_nobody(copy.to_str().unwrap())
    } else {
        Command::new(&copy)
    };
    the_address_moves_in_time(&report_of(&mut command));
}

#[test]
fn a_file_that_cannot_be_written_costs_no_measurement() {
    let output = Command::new(example("failover").unwrap())
        .args(["--json", "--interval", "1", "--svg", "/dev/null/timeline"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot write /dev/null/timeline"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["events"].as_array().unwrap().len(), 7);
}

#[test]
fn a_closed_output_ends_it_with_a_message() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(example("failover").unwrap())
        .args(["--interval", "1"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("failover: No space left on device"),
        "{said}"
    );
}

#[test]
fn two_routers_over_ipv6() {
    let report = run(&["--ipv6", "--routers", "2", "--interval", "20"]);
    the_address_moves_in_time(&report);
    assert_eq!(
        (
            &report["family"],
            &report["interval_cs"],
            &report["routers"]
        ),
        (&"ipv6".into(), &20.into(), &2.into())
    );
}

#[test]
fn conflicting_options_are_refused_with_a_remedy() {
    let output = Command::new(example("failover").unwrap())
        .args(["--version", "2", "--ipv6"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("version 2 exists over IPv4 only"), "{said}");
}
