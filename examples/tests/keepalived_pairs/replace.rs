//! A daemon that replaces another one, with another configuration or where something fails.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use nix::sys::signal::Signal;
use vrrp_lab::{BackgroundProgram, Host, example, wait_for};

use crate::{
    instance,
    rig::{Kind, LIMIT, Rig, iproute2},
};

const VIP: &str = "192.0.2.100/24";

/// One host with this program, and one with keepalived of a lower priority.
fn rig(config: &str) -> Rig {
    Rig::new([Kind::Ours, Kind::Keepalived], [config, &instance(100, "")])
}

/// The program on a host, with the configuration of the first host, and these files.
fn program(rig: &Rig, host: &Host, pid: &Path, socket: &Path) -> Command {
    let mut command = host.namespace().command(example("keepalived").unwrap());
    command
        .args(["-n", "-l", "-G", "-P", "-f"])
        .arg(rig.node(0).path("conf"))
        .arg("-r")
        .arg(pid.with_extension("vrrp"))
        .arg("-p")
        .arg(pid)
        .arg("--replace-socket")
        .arg(socket);
    command
}

/// Runs a successor on the first host to its end.
fn run_successor(rig: &Rig, pid: &Path, socket: &Path) -> Output {
    let mut command = program(rig, &rig.node(0).host, pid, socket);
    command.arg("--replace").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_successor_with_another_file_removes_what_that_does_not_name_and_adds_the_rest() {
    let config = |rule: u16, route: &str, fixed: u16, further: &str| {
        let objects = format!(
            "    virtual_rules {{
        from 192.0.2.100 table 100 priority {rule}
    }}
    virtual_ipaddress {{
        203.0.113.77/32 dev eth2
    }}
    virtual_routes {{
        {route}
    }}
}}
{further}
static_rules {{
    to 203.0.113.0/24 table 5 priority {fixed}
"
        );
        instance(150, &objects)
    };
    let other = "vrrp_instance VI_2 {
    interface eth1
    virtual_router_id 52
    virtual_ipaddress {
        198.51.100.7/24 dev eth2
    }
}";
    let mut rig = rig(&config(500, "blackhole 198.18.0.0/15", 9, other));
    let show = |rig: &Rig, what: &str| iproute2(&rig.node(0).host, what);
    rig.ip(0, "address add 198.51.100.1/24 dev eth1");
    let before = show(&rig, "rule");
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    rig.wait_until("the other instance", |rig| {
        rig.node(0).has("198.51.100.7/24")
    });
    let rules = show(&rig, "rule");
    assert!(rules.contains("500:") && rules.contains("9:"), "{rules}");
    assert!(show(&rig, "route").contains("blackhole 198.18.0.0/15"));

    let new = config(501, "blackhole 198.19.0.0/16", 10, "");
    rig.node(0).write_config(&new);
    rig.nodes[0].replace();
    let rules = show(&rig, "rule");
    assert!(rules.contains("501:") && rules.contains("10:"), "{rules}");
    assert!(
        !rules.contains("500:") && !rules.contains("\n9:"),
        "{rules}"
    );
    let routes = show(&rig, "route");
    assert!(routes.contains("blackhole 198.19.0.0/16"), "{routes}");
    assert!(!routes.contains("198.18.0.0"), "{routes}");
    assert!(rig.node(0).has(VIP) && rig.node(0).has("203.0.113.77/32"));
    assert!(!rig.node(0).has("198.51.100.7/24"));
    let log = rig.node(0).log();
    assert!(!log.contains("File exists"), "{log}");
    assert!(log.contains("(VI_2) removed"), "{log}");

    rig.stop(0);
    assert_eq!(show(&rig, "rule"), before);
    assert!(!show(&rig, "route").contains("blackhole"));
    assert!(!rig.node(0).has("203.0.113.77/32"));
}

#[test]
fn a_fifo_stays_through_replacements_and_goes_with_the_last_daemon() {
    let fifo = "script_user root\n    vrrp_notify_fifo DIR/fifo";
    let config = instance(150, "").replacen("script_user root", fifo, 1);
    let mut rig = rig(&config);
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    for _ in 0..2 {
        rig.nodes[0].replace();
    }
    let path = rig.node(0).path("fifo");
    let reader = std::thread::spawn({
        let path = path.clone();
        move || fs::read_to_string(path).unwrap()
    });
    rig.stop(0);
    let lines = reader.join().unwrap();
    assert!(lines.contains("INSTANCE \"VI_1\" STOP 150\n"), "{lines}");
    assert!(!path.exists());
}

#[test]
fn a_fifo_that_the_new_file_does_not_name_goes_when_the_daemon_is_replaced() {
    let fifo = "script_user root\n    vrrp_notify_fifo DIR/fifo";
    let config = instance(150, "").replacen("script_user root", fifo, 1);
    let mut rig = rig(&config);
    rig.start(0);
    assert!(rig.node(0).path("fifo").exists());
    rig.node(0).write_config(&instance(150, ""));
    rig.nodes[0].replace();
    assert!(!rig.node(0).path("fifo").exists());
}

#[test]
fn a_reload_without_free_descriptors_changes_nothing() {
    let mut rig = rig(&instance(150, ""));
    rig.start_both();
    let process = rig.node(0).process();
    let is_used = |it: &u32| Path::new(&format!("/proc/{process}/fd/{it}")).is_symlink();
    let free = (0..1_024).find(|it| !is_used(it)).unwrap();
    let mut command = Command::new("prlimit");
    command.arg(format!("--pid={process}"));
    let limited = command.arg(format!("--nofile={free}:")).status().unwrap();
    assert!(limited.success());
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the refusal", |rig| {
        rig.node(0).log().contains("the running one stays as it is")
    });
    rig.wait_for_heartbeats(0, 2);
    assert!(rig.node(0).has(VIP));
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
}

#[test]
fn a_second_daemon_does_not_start_even_with_the_option_to_replace() {
    let mut rig = rig(&instance(150, ""));
    rig.start_both();
    let nowhere = rig.node(0).path("nowhere");
    let output = run_successor(&rig, &rig.node(0).path("pid"), &nowhere);
    assert!(!output.status.success());
    assert!(
        text(&output).contains("a daemon runs already"),
        "{output:?}"
    );
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
    // The first one can still be replaced.
    rig.nodes[0].replace();
    rig.wait_for_heartbeats(0, 2);
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
}

#[test]
fn a_successor_that_cannot_write_its_files_ends_before_it_takes_over() {
    let mut rig = rig(&instance(150, ""));
    rig.start_both();
    let node = rig.node(0);
    let file = node.path("no folder").join("pid");
    let output = run_successor(&rig, &file, &node.path("socket"));
    assert!(!output.status.success());
    assert!(text(&output).contains("no folder"), "{output:?}");
    assert!(!node.log().contains("handed over"), "{}", node.log());
    rig.wait_for_heartbeats(0, 2);
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
}

#[test]
fn a_daemon_leaves_the_socket_of_another_one_alone() {
    let mut rig = rig(&instance(150, ""));
    rig.start_both();
    let node = rig.node(0);
    let socket = node.path("socket");
    let other = rig.host("n9", &["198.51.100.9/24"]);
    let log = node.path("other.log");
    let mut command = program(&rig, &other, &node.path("other.pid"), &socket);
    command.stderr(fs::File::create(&log).unwrap());
    let mut second = BackgroundProgram::spawn(command);
    wait_for("the second daemon", LIMIT, || {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("Startup complete").then_some(())
    })
    .unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("--replace is not possible"), "{text}");
    second.signal(Signal::SIGTERM);
    second.wait();
    assert!(socket.exists());
    rig.nodes[0].replace();
    rig.wait_for_heartbeats(0, 2);
    assert_eq!(rig.node(1).notes(), ["BACKUP"]);
}

#[test]
fn a_stop_at_the_moment_of_a_hand_over_ends_the_successor_too() {
    let tracked = "    track_script {
        stubborn weight 1
    }
";
    let script = "vrrp_script stubborn {
    script DIR/stubborn
    interval 60
    timeout 60
}
";
    let before_it = format!("{script}vrrp_instance");
    let mut rig = rig(&instance(150, tracked).replacen("vrrp_instance", &before_it, 1));
    // A daemon ends a little later than its checks, and this one must be killed.
    let path = rig.node(0).path("stubborn");
    fs::write(
        &path,
        "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n",
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    let mut before = rig.nodes[0].start_successor().unwrap();
    rig.wait_until("the hand-over", |rig| {
        rig.node(0).log().contains("handed over to another daemon")
    });
    before.signal(Signal::SIGTERM);
    before.wait();
    let log = rig.node(0).log();
    assert!(log.contains("asked to stop"), "{log}");
    assert!(!rig.node(0).has(VIP), "{log}");
    rig.nodes[0].wait();
}
