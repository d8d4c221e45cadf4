//! Sync groups of the program.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vrrp_lab::{Host, Lan, wait_for};

use crate::{BASE, BackgroundProgram, ask_for, assert_refused, events, has, log_command, read};

const INSIDE: &str = "192.0.2.254/32";
const OUTSIDE: &str = "198.51.100.254/32";

/// Hosts between two networks, with eth0 and eth1.
struct Gateways {
    _lans: [Lan; 2],
    inside: [Host; 2],
    outside: [Host; 2],
}

impl Gateways {
    fn new() -> Self {
        let lans = [Lan::new().unwrap(), Lan::new().unwrap()];
        let inside = [1, 2].map(|number| {
            let address = format!("192.0.2.{number}/24");
            lans[0].host(&format!("r{number}"), &[&address]).unwrap()
        });
        let outside = [1, 2].map(|number| {
            let address = format!("198.51.100.{number}/24");
            let host = &inside[number - 1];
            lans[1].attach(host, "eth1", &[&address]).unwrap()
        });
        Self {
            _lans: lans,
            inside,
            outside,
        }
    }

    /// A router on each side, both of the sync group gateway, and what else is given.
    fn start(
        &self,
        place: usize,
        priority: &str,
        member: &[&str],
        more: &[&str],
    ) -> BackgroundProgram {
        let mut arguments = Vec::new();
        for (interface, vrid, address) in [("eth0", "51", INSIDE), ("eth1", "52", OUTSIDE)] {
            if !arguments.is_empty() {
                arguments.push("--next");
            }
            arguments.extend([
                "--interface",
                interface,
                "--vrid",
                vrid,
                "--address",
                address,
            ]);
            arguments.extend(["--interval", "10", "--priority", priority]);
            arguments.extend(["--sync-group", "gateway"]);
            arguments.extend(member);
        }
        arguments.extend(more);
        BackgroundProgram::start(self.inside[place].namespace(), "vrrp_router", &arguments)
    }

    /// Which of the virtual addresses a host has.
    fn addresses(&self, place: usize) -> (bool, bool) {
        (
            has(&self.inside[place], INSIDE),
            has(&self.outside[place], OUTSIDE),
        )
    }
}

/// Waits until the last reported state of the sync group is this one.
fn wait_for_group(routers: &BackgroundProgram, state: &str) -> Value {
    let last = || {
        let mut changes = events(routers);
        changes.retain(|event| event["event"] == "sync-group-changed");
        changes.pop().filter(|change| change["to"] == state)
    };
    wait_for(
        &format!("sync group in {state}"),
        BackgroundProgram::LIMIT,
        last,
    )
    .unwrap_or_else(|error| panic!("{error}; there was {:#?}", routers.lines()))
}

/// The reported state of the member on this interface.
fn ask_for_member(routers: &BackgroundProgram, interface: &str) -> Value {
    ask_for(routers, |state| state["interface"] == interface)
}

#[test]
fn a_sync_group_moves_as_one_when_one_link_goes_and_comes_back_with_it() {
    let gateways = Gateways::new();
    let folder = tempfile::tempdir().unwrap();
    let (command, log) = log_command(
        folder.path(),
        "echo \"$* from $VRRP_PREVIOUS_STATE of $VRRP_SYNC_GROUP\" >>$log",
    );
    let mut first = gateways.start(
        0,
        "200",
        &[],
        &["--next", "sync-group", "gateway", "--notify", &command],
    );
    let active = wait_for_group(&first, "Active");
    assert_eq!(active["sync_group"], "gateway");
    let second = gateways.start(1, "100", &[], &[]);
    wait_for_group(&second, "Backup");
    assert_eq!(gateways.addresses(0), (true, true));
    assert_eq!(gateways.addresses(1), (false, false));

    gateways.outside[0].unplug().unwrap();
    wait_for_group(&first, "Initialize");
    wait_for_group(&second, "Active");
    assert_eq!(
        gateways.addresses(0),
        (false, false),
        "eth0 is well, and yet"
    );
    assert_eq!(gateways.addresses(1), (true, true));
    let group = ask_for(&first, |state| state["sync_group"] == "gateway");
    assert_eq!(group["state"], "Initialize");
    assert_eq!(
        group["members"],
        json!([
            {"interface": "eth0", "family": "IPv4", "vrid": 51, "state": "Initialize"},
            {"interface": "eth1", "family": "IPv4", "vrid": 52, "state": "Initialize"},
        ])
    );
    let well = ask_for_member(&first, "eth0");
    assert_eq!(
        (&well["member_of"], &well["faults"]),
        (&json!("gateway"), &json!([]))
    );

    gateways.outside[0].mend().unwrap();
    wait_for_group(&first, "Active");
    wait_for_group(&second, "Backup");
    assert_eq!(gateways.addresses(0), (true, true));
    assert_eq!(gateways.addresses(1), (false, false));

    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait().code(), Some(0));
    let events = events(&first);
    let named = |name: &str| {
        let events = events.iter().filter(|event| event["event"] == name);
        events.cloned().collect::<Vec<Value>>()
    };
    // The first says with which state the group begins.
    let changes = named("sync-group-changed").split_off(1);
    let states: Vec<&Value> = changes.iter().map(|change| &change["to"]).collect();
    let round = ["Backup", "Active", "Initialize"];
    assert_eq!(states, [round, round].concat());
    // A command that was slow to start may have been overtaken.
    let overtaken = named("notify-overtaken");
    let mut from = "Initialize";
    let mut expected = Vec::new();
    for change in &changes {
        let to = change["to"].as_str().unwrap();
        if !overtaken.iter().any(|it| it["of"] == change["sequence"]) {
            expected.push(format!("{to} gateway from {from} of gateway"));
        }
        from = to;
    }
    assert_eq!(read(&log), expected);
    assert!(expected.last().unwrap().starts_with("Initialize"));
}

#[test]
fn what_a_sync_group_tracks_counts_for_all_members() {
    let gateways = Gateways::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("load");
    std::fs::write(&file, "0\n").unwrap();
    let tracked = format!("{}:-1 interval 0.05", file.display());
    let track = ["--next", "sync-group", "gateway", "--track-file", &tracked];
    let first = gateways.start(0, "200", &[], &track);
    wait_for_group(&first, "Active");
    let second = gateways.start(1, "100", &[], &[]);
    wait_for_group(&second, "Backup");

    std::fs::write(&file, "150\n").unwrap();
    wait_for_group(&second, "Active");
    wait_for_group(&first, "Backup");
    for interface in ["eth0", "eth1"] {
        assert_eq!(
            ask_for_member(&first, interface)["explanation"],
            format!("priority 50: 200 configured, {} 150 -150", file.display())
        );
    }
    assert_eq!(gateways.addresses(1), (true, true));
}

#[test]
fn the_weights_of_members_count_when_the_group_says_so() {
    let gateways = Gateways::new();
    let group = ["--next", "sync-group", "gateway", "--member-weights"];
    let routers = gateways.start(0, "200", &["--track-interface", "eth9:-50"], &group);
    wait_for_group(&routers, "Active");
    for interface in ["eth0", "eth1"] {
        assert_eq!(
            ask_for_member(&routers, interface)["effective_priority"],
            150
        );
    }
}

#[test]
fn a_sync_group_that_cannot_be_is_named() {
    let base = BASE;
    assert_refused(&[
        (
            &format!("{base} --sync-group a --priority 255 --next {base} --sync-group a"),
            "invalid value 'a' for '--sync-group <NAME>': all or none of its routers have priority 255",
        ),
        (
            &format!("{base} --sync-group a --track-interface eth1:5 --next sync-group a"),
            "invalid value 'a' for '--sync-group <NAME>': eth1 has a weight, which counts in a sync group only when the group tracks it, or with its --member-weights",
        ),
        (
            &format!("{base} --next sync-group a"),
            "invalid value 'a' for 'sync-group': no router has this --sync-group",
        ),
        (
            &format!("{base} --sync-group a --next sync-group a --next sync-group a"),
            "invalid value 'a' for 'sync-group': given more than once",
        ),
    ]);
}
