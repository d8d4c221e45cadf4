//! Reloads that change sync groups, or that the driver refuses in part.

use nix::sys::signal::Signal;

use crate::{
    instance,
    rig::{Kind, LIMIT, Rig, reload},
};

/// An instance on the second interface, whose changes are noted with its name.
fn other(name: &str, vrid: u8, priority: u8) -> String {
    format!(
        "vrrp_instance {name} {{
    interface eth1
    virtual_router_id {vrid}
    version 3
    advert_int 0.5
    priority {priority}
    virtual_ipaddress {{
        192.0.2.{vrid}/24
    }}
    notify_master \"DIR/note {name} MASTER\"
    notify_backup \"DIR/note {name} BACKUP\"
    notify_fault \"DIR/note {name} FAULT\"
    notify_stop \"DIR/note {name} STOP\"
    notify_deleted \"DIR/note {name} DELETED\"
}}
"
    )
}

fn group(name: &str, members: &str) -> String {
    format!("vrrp_sync_group {name} {{\n    group {{\n        {members}\n    }}\n}}\n")
}

fn rig(config: &str) -> Rig {
    let mut rig = Rig::new([Kind::Ours, Kind::Keepalived], [config, config]);
    rig.ip(0, "address add 198.51.100.1/24 dev eth1");
    rig.start(0);
    rig
}

/// Waits for these notes of the changes so far, in any order.
fn wait_for_notes(rig: &Rig, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    rig.wait_until(&format!("{expected:?}"), |rig| {
        let mut notes = rig.node(0).notes();
        notes.sort();
        notes == expected
    });
}

/// The sync groups in a dump of the state: a line for each.
fn groups(rig: &Rig) -> Vec<String> {
    let path = rig.node(0).path("keepalived.data");
    let _missing = std::fs::remove_file(&path);
    rig.node(0).signal(Signal::SIGUSR1);
    let text = vrrp_lab::wait_for("the dump", LIMIT, || {
        let text = std::fs::read_to_string(&path).ok()?;
        text.contains("VRRP Sync groups").then_some(text)
    });
    let text = text.unwrap();
    let lines = text
        .lines()
        .filter_map(|it| it.split_once("VRRP Sync Group = "));
    let mut groups: Vec<_> = lines.map(|(_, it)| it.to_owned()).collect();
    groups.sort();
    groups
}

#[test]
fn a_group_whose_members_become_owners_stays_active_and_a_group() {
    let config =
        |priority| instance(priority, "") + &other("VI_2", 52, priority) + &group("G", "VI_1 VI_2");
    let rig = rig(&config(100));
    let notes = ["BACKUP", "MASTER", "VI_2 BACKUP", "VI_2 MASTER"];
    wait_for_notes(&rig, &notes);
    for priority in [255, 90] {
        reload(&rig, &config(priority));
        rig.wait_for_priority(0, priority);
        assert_eq!(groups(&rig), ["G, MASTER: VI_1 VI_2"]);
    }
    // A fault of one member shows that they are a group.
    rig.ip(0, "link set eth1 down");
    let faults = ["FAULT", "VI_2 FAULT"];
    wait_for_notes(&rig, &[&notes[..], &faults].concat());
    // A member that is held does not start while the group changes.
    reload(&rig, &config(255));
    reload(&rig, &config(80));
    wait_for_notes(&rig, &[&notes[..], &faults].concat());
    rig.ip(0, "link set eth1 up");
    wait_for_notes(&rig, &[&notes[..], &faults, &notes].concat());
    rig.wait_for_priority(0, 80);
}

#[test]
fn members_move_between_groups_in_one_reload() {
    let others = [("B", 52), ("C", 53), ("D", 54), ("E", 55)];
    let others = others.map(|(name, vrid)| other(name, vrid, 100));
    let all = instance(100, "") + &others.concat();
    let config = |groups: [(&str, &str); 2]| {
        let groups = groups.map(|(name, members)| group(name, members));
        all.clone() + &groups.concat()
    };
    let rig = rig(&config([("G1", "VI_1 B"), ("G2", "C D E")]));
    let mut notes = vec!["BACKUP".to_owned(), "MASTER".to_owned()];
    for name in ["B", "C", "D", "E"] {
        notes.extend(["BACKUP", "MASTER"].map(|it| format!("{name} {it}")));
    }
    let mut notes: Vec<&str> = notes.iter().map(String::as_str).collect();
    wait_for_notes(&rig, &notes);
    reload(&rig, &config([("G1", "VI_1 B C"), ("G2", "D E")]));
    assert_eq!(groups(&rig), ["G1, MASTER: VI_1 B C", "G2, MASTER: D E"]);
    reload(&rig, &config([("G1", "D B"), ("G2", "VI_1 E C")]));
    assert_eq!(groups(&rig), ["G1, MASTER: D B", "G2, MASTER: VI_1 E C"]);
    let log = rig.node(0).log();
    assert!(!log.contains("(sync group G1) router"), "{log}");
    // Nothing has changed its state, and the groups are those of the last configuration.
    wait_for_notes(&rig, &notes);
    rig.ip(0, "link set eth0 down");
    notes.extend(["FAULT", "C FAULT", "E FAULT"]);
    wait_for_notes(&rig, &notes);
}

#[test]
fn more_addresses_are_exchanged_than_a_message_lists_together() {
    let config = |subnet: u8| {
        let addresses = (1..=200).map(|host| format!("198.51.{subnet}.{host}/32\n"));
        instance(100, "").replace("192.0.2.100/24", &addresses.collect::<String>())
    };
    let rig = rig(&config(101));
    wait_for_notes(&rig, &["BACKUP", "MASTER"]);
    reload(&rig, &config(102));
    rig.wait_until("the other addresses", |rig| {
        let node = rig.node(0);
        node.has("198.51.102.1/32")
            && node.has("198.51.102.200/32")
            && !node.has("198.51.101.1/32")
            && !node.has("198.51.101.200/32")
    });
    wait_for_notes(&rig, &["BACKUP", "MASTER"]);
}

#[test]
fn an_instance_keeps_its_settings_when_the_driver_refuses_the_new_ones() {
    let peers = |peers: &str| format!("unicast_peer {{\n        {peers}\n    }}");
    let config = instance(100, &peers("192.0.2.2"));
    let rig = rig(&config);
    let notes = ["BACKUP", "MASTER"];
    wait_for_notes(&rig, &notes);
    // The other address and the priority would come first.
    let refused = instance(90, &peers("192.0.2.2\n        224.0.0.9"));
    reload(&rig, &refused.replace("192.0.2.100", "192.0.2.101"));
    let is_in_log = |part: &str| assert!(rig.node(0).log().contains(part), "{part}");
    is_in_log("(VI_1) the router keeps its former settings: peers");
    assert!(rig.node(0).has("192.0.2.100/24"));
    assert!(!rig.node(0).has("192.0.2.101/24"));
    wait_for_notes(&rig, &notes);

    // A change that needs another router brings the former one back, after a fault.
    let refused = instance(90, "").replace("192.0.2.100/24", "224.0.0.9/32");
    reload(&rig, &refused);
    is_in_log("(VI_1) the router starts again with its former settings: addresses");
    rig.wait_for_note(0, "MASTER");
    rig.wait_until("the address", |rig| rig.node(0).has("192.0.2.100/24"));

    // The next configuration counts in full.
    reload(&rig, &instance(80, ""));
    rig.wait_for_note(0, "MASTER");
    rig.wait_for_priority(0, 80);
}

#[test]
fn a_removed_instance_is_a_fault_or_deleted_and_never_stops() {
    let mut lines = Vec::new();
    for kind in [Kind::Ours, Kind::Keepalived] {
        let first = instance(100, "");
        let silent = |name, vrid| {
            let text = other(name, vrid, 100);
            let lines = text.lines().filter(|it| !it.contains("notify_deleted"));
            let text = lines.map(|it| it.to_owned() + "\n").collect::<String>();
            let generic = format!("    notify \"DIR/note {name}\"\n    notify_stop");
            text.replace("    notify_stop", &generic)
        };
        let down = silent("DOWN", 55).replace("eth1", "eth9");
        let before = [
            first.clone(),
            other("B", 52, 100),
            silent("C", 53),
            silent("D", 54),
            down,
        ];
        let after = [first, silent("D", 56)];
        let mut rig = Rig::new([kind; 2], [&before.concat(), ""]);
        rig.ip(0, "address add 198.51.100.1/24 dev eth1");
        rig.start(0);
        let expected = |rig: &Rig, words: &[&str]| {
            rig.wait_until(&format!("{words:?}"), |rig| {
                let notes = rig.node(0).notes();
                words.iter().all(|it| notes.iter().any(|note| note == it))
            });
        };
        expected(
            &rig,
            &[
                "MASTER",
                "B MASTER",
                "C MASTER",
                "C INSTANCE C MASTER 100",
                "D MASTER",
                "D INSTANCE D MASTER 100",
                "DOWN FAULT",
                "DOWN INSTANCE DOWN FAULT 100",
            ],
        );
        let count = rig.node(0).notes().len();
        rig.node(0).write_config(&after.concat());
        rig.node(0).signal(Signal::SIGHUP);
        rig.wait_until("the other router", |rig| {
            let notes = rig.node(0).notes().split_off(count);
            let is_there = |note: &str| notes.iter().any(|it| it == note);
            is_there("D MASTER") && is_there("D INSTANCE D MASTER 100")
        });
        let notes = rig.node(0).notes().split_off(count);
        let is_of_d = |it: &String| it.starts_with("D ");
        let (mut of_d, mut notes): (Vec<_>, Vec<_>) = notes.into_iter().partition(is_of_d);
        notes.sort();
        of_d.sort();
        lines.push((notes, of_d));
        rig.kill();
    }
    // The command for faults does not run.
    assert_eq!(lines[0].0, ["B DELETED", "C INSTANCE C FAULT 100"]);
    assert!(!lines[0].1.contains(&"D FAULT".to_owned()), "{lines:?}");
    assert_eq!(lines[0], lines[1]);
}
