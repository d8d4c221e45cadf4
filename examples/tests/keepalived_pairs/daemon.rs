//! The program as a daemon: reload, hand-over, data, and cleaning up.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use vrrp_lab::{Capture, wait_for};

use crate::{
    instance,
    rig::{Kind, LIMIT, Rig, announcements, iproute2},
};

const VIP: &str = "192.0.2.100/24";

/// One host with this program, and one with keepalived of a lower priority.
fn rig(further: &str) -> Rig {
    let configs = [instance(150, further), instance(100, "")];
    Rig::new([Kind::Ours, Kind::Keepalived], [&configs[0], &configs[1]])
}

#[test]
fn a_file_with_errors_is_refused_whole_and_the_running_configuration_stays() {
    let mut rig = rig("");
    rig.start_both();
    let wrong = rig
        .node(0)
        .config()
        .replace("priority 150", "priority 50\n    prority 10");
    rig.node(0).write_config(&wrong);
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the refusal", |rig| {
        rig.node(0).log().contains("the running one stays as it is")
    });
    rig.wait_for_priority(0, 150);
    rig.wait_for_address(VIP, 0);
    assert!(rig.node(0).log().contains("prority"));
}

#[test]
fn a_successor_takes_over_and_neither_address_nor_advertisements_stop() {
    let objects = "    virtual_rules {
        from 192.0.2.100 table 100 priority 500
    }
";
    let mut rig = rig(objects);
    rig.start_both();
    rig.wait_for_heartbeats(0, 2);
    rig.nodes[0].replace();
    rig.wait_for_heartbeats(0, 4);
    // An interval is half a second.
    let longest = rig.longest_silence(0);
    assert!(longest < Duration::from_millis(900), "{longest:?}");
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
    assert!(rig.node(0).has(VIP));
    let rules = iproute2(&rig.node(0).host, "rule");
    assert_eq!(rules.matches("from 192.0.2.100").count(), 1, "{rules}");
    rig.stop(0);
    rig.wait_for_note(1, "MASTER");
    let rules = iproute2(&rig.node(0).host, "rule");
    assert!(!rules.contains("192.0.2.100"), "{rules}");
}

#[test]
fn nothing_is_left_after_the_end_not_even_of_a_run_that_was_killed() {
    let objects = "    virtual_routes {
        203.0.113.0/24 via 192.0.2.9 dev eth0
        blackhole 198.18.0.0/15
    }
    virtual_rules {
        from 192.0.2.100 table 100 priority 500
    }
    use_vmac
    use_vmac_addr
    virtual_ipaddress {
        203.0.113.77/32 dev eth2
    }
}
static_ipaddress {
    198.51.100.5/24 dev eth1
}
static_rules {
    to 203.0.113.0/24 table 5 priority 9
";
    let all = |rig: &Rig| {
        ["-o address", "-o link", "route", "rule"]
            .map(|what| iproute2(&rig.node(0).host, what))
            .join("\n")
    };
    let mut rig = rig(objects);
    let stable = |text: &str| -> Vec<String> {
        // Counters and lifetimes change on their own.
        let lines = text.lines().map(|line| line.split(" valid_lft").next());
        lines.flatten().map(str::to_owned).collect()
    };
    let before = stable(&all(&rig));
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    let during = all(&rig);
    for part in [
        VIP,
        "203.0.113.0/24",
        "198.18.0.0/15",
        "198.51.100.5/24",
        "vrrp.51",
        "vrrp1.51@eth2",
        "203.0.113.77/32",
    ] {
        assert!(during.contains(part), "{part}: {during}");
    }
    rig.nodes[0].kill();
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    rig.stop(0);
    assert_eq!(stable(&all(&rig)), before);
    for file in ["pid", "vrrp.pid", "socket"] {
        assert!(!rig.node(0).path(file).exists(), "{file}");
    }
}

#[test]
fn the_json_has_the_fields_of_keepalived() {
    let mut rig = rig("");
    rig.start_both();
    let read = |rig: &Rig, place: usize| -> Option<Value> {
        let text = fs::read_to_string(rig.node(place).path("keepalived.json")).ok()?;
        serde_json::from_str(&text).ok()
    };
    let mut results = Vec::new();
    for place in [0, 1] {
        rig.node(place).signal_number(36);
        rig.wait_until("the file", |rig| read(rig, place).is_some());
        results.push(read(&rig, place).unwrap());
    }
    let [ours, theirs] = [&results[0][0], &results[1][0]];
    assert_eq!(ours["data"]["state"], 2, "{ours}");
    assert_eq!(ours["data"]["effective_priority"], 150);
    // The fields that exporters read; keepalived on the other host is Backup.
    for field in [
        "iname",
        "state",
        "base_priority",
        "effective_priority",
        "vrid",
        "vips",
        "adver_int",
        "ifp_ifname",
        "version",
    ] {
        let kind = |value: &Value| (value.is_string(), value.is_number());
        assert_eq!(
            kind(&ours["data"][field]),
            kind(&theirs["data"][field]),
            "{field}"
        );
    }
    for (field, _) in theirs["stats"].as_object().unwrap() {
        // Here auth_failure counts all kinds of failures.
        if matches!(field.as_str(), "invalid_authtype" | "authtype_mismatch") {
            continue;
        }
        assert!(ours["stats"][field].is_number(), "{field}");
    }
    assert!(ours["stats"]["advert_sent"].as_u64().unwrap() > 0);
}

#[test]
fn the_fifo_has_keepalived_s_lines() {
    let global = "}
vrrp_sync_group G {
    group {
        VI_1
    }
";
    let configs = [instance(150, global), instance(100, "")];
    let with_fifo = configs[0].replace(
        "script_user root",
        "script_user root\n    vrrp_notify_fifo DIR/fifo",
    );
    let mut rig = Rig::new([Kind::Ours, Kind::Keepalived], [&with_fifo, &configs[1]]);
    let lines = rig.node(0).read_fifo("fifo");
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    rig.stop(0);
    let lines = lines.join().unwrap();
    let of_instance: Vec<&str> = lines
        .lines()
        .filter(|it| it.starts_with("INSTANCE"))
        .collect();
    assert_eq!(
        of_instance,
        [
            "INSTANCE \"VI_1\" BACKUP 150",
            "INSTANCE \"VI_1\" MASTER 150",
            "INSTANCE \"VI_1\" STOP 150",
        ]
    );
    assert!(lines.contains("GROUP \"G\" MASTER 0\n"), "{lines}");
}

#[test]
fn announcements_of_a_garp_group_are_spaced_on_all_its_interfaces_together() {
    let group = "garp_group {
    garp_interval 0.5
    interfaces {
        eth0
        eth1
    }
}
";
    let further = "    garp_master_repeat 3
    virtual_ipaddress {
        198.51.100.7/24 dev eth1
    }
";
    let config = format!("{group}{}", instance(150, further));
    let mut rig = Rig::new([Kind::Ours, Kind::Keepalived], [&config, &config]);
    let other = Capture::start(rig.node(0).host.namespace(), "eth1p").unwrap();
    rig.start(0);
    let mut times = wait_for("six announcements", LIMIT, || {
        let here = announcements(&rig.capture, [192, 0, 2, 100]);
        let there = announcements(&other, [198, 51, 100, 7]);
        (here.len() >= 3 && there.len() >= 3).then(|| [here, there].concat())
    })
    .unwrap();
    times.sort();
    let span = times[5] - times[0];
    assert!(span >= Duration::from_millis(2300), "{span:?}");
}

#[test]
fn a_stop_ends_the_program_while_successors_wait_for_it() {
    let mut rig = rig("");
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    let connect = || {
        let mut stream = UnixStream::connect(rig.node(0).path("socket")).unwrap();
        stream.write_all(b"vrrp-net successor 1\n").unwrap();
        stream
    };
    // The first successor gets the state and never reports that it is ready, so it keeps the driver
    // for two intervals. The second successor is served next, after the driver has been stopped.
    let mut first = connect();
    first.read_exact(&mut [0; 1]).unwrap();
    let _second = connect();
    rig.stop(0);
    assert!(!rig.node(0).has(VIP));
}

#[test]
fn signals_that_interrupt_any_thread_do_not_keep_the_program_from_ending() {
    let mut rig = rig("");
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    let node = rig.node(0);
    for _ in 0..10 {
        // Several requests wait when it continues, so each thread gets one.
        node.signal(Signal::SIGSTOP);
        node.signal(Signal::SIGUSR1);
        node.signal(Signal::SIGUSR2);
        for number in [36, 63] {
            node.signal_number(number);
        }
        node.signal(Signal::SIGCONT);
        rig.wait_for_heartbeats(0, 1);
    }
    rig.stop(0);
    assert!(!rig.node(0).has(VIP));
}

#[test]
fn instances_without_an_interface_elect_one_active_along_the_routing_table() {
    let config = |priority, own: u8, peer: u8| {
        let unicast = format!(
            "    unicast_src_ip 10.255.0.{own}\n    unicast_peer {{\n        10.255.0.{peer}\n    }}\n"
        );
        instance(priority, &unicast)
            .replace("    interface eth0\n", "")
            .replace("192.0.2.100/24", "192.0.2.100/24 dev eth0")
    };
    let configs = [config(150, 1, 2), config(100, 2, 1)];
    let mut rig = Rig::new([Kind::Ours, Kind::Ours], [&configs[0], &configs[1]]);
    // The addresses are on another link than the one between the hosts.
    for (place, own, peer) in [(0, 1, 2), (1, 2, 1)] {
        rig.ip(place, &format!("address add 10.255.0.{own}/32 dev eth1"));
        rig.ip(
            place,
            &format!("route add 10.255.0.{peer} via 192.0.2.{peer}"),
        );
    }
    rig.start_both();
    rig.wait_for_address(VIP, 0);
    // For twice as long as the other host waits for an advertisement.
    rig.wait_until("eight advertisements on the link of the route", |rig| {
        let frames = rig.capture.frames();
        let is_one = |frame: &&vrrp_lab::Frame| {
            let ip = frame.bytes.get(14..).unwrap_or_default();
            ip.get(9) == Some(&112) && ip.get(12..16) == Some(&[10, 255, 0, 1])
        };
        frames.iter().filter(is_one).count() >= 8
    });
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
    rig.stop(0);
    rig.wait_for_note(1, "MASTER");
    rig.wait_for_address(VIP, 1);
}

#[test]
fn the_data_go_to_the_file_of_the_instance_where_the_configuration_says_so() {
    let config = instance(150, "").replacen(
        "global_defs {",
        "instance red\nglobal_defs {\n    data_use_instance",
        1,
    );
    let other = instance(100, "");
    // keepalived does the same.
    for kind in [Kind::Ours, Kind::Keepalived] {
        let mut rig = Rig::new([kind, Kind::Keepalived], [&config, &other]);
        rig.start(0);
        rig.node(0).signal(Signal::SIGUSR1);
        rig.wait_until("the data", |rig| {
            rig.node(0).path("keepalived.red.data").exists()
        });
        assert!(!rig.node(0).path("keepalived.data").exists());
    }
}
