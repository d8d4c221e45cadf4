#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::keepalived_conf::{
    Reading,
    complaint::{Kind, Weight},
    tests::{read_on, with_eth0},
};

/// The words of `global_defs` that name a script.
const GLOBAL: [&str; 5] = [
    "startup_script",
    "shutdown_script",
    "notify_fifo_script",
    "vrrp_notify_fifo_script",
    "lvs_notify_fifo_script",
];

/// A program with these permissions.
fn program(folder: &Path, mode: u32) -> String {
    let path = folder.join(format!("{mode:o}"));
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

const INSTANCE: &str = "vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\n\
                        virtual_ipaddress {\n10.0.0.100/24\n}\n@\n}\n";
const SERVER: &str = "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n@1\n\
                      real_server 10.0.0.2 80 {\n@2\n}\n}\n";

/// A configuration in which a program is the script of everything.
fn everywhere(program: &str, statements: &str) -> Reading {
    let global = GLOBAL.map(|word| format!("{word} {program}\n")).concat();
    let instance = INSTANCE.replace('@', &format!("notify_master {program}"));
    let server = SERVER.replace("@1", &format!("quorum_up {program}"));
    let real = format!("notify_up {program}\nMISC_CHECK {{\nmisc_path {program}\n}}");
    let server = server.replace("@2", &real);
    let text = format!("global_defs {{\n{statements}\n{global}}}\n{instance}{server}");
    read_on(&with_eth0(), &text)
}

/// The number of scripts that are left.
fn count(reading: &Reading) -> usize {
    let it = &reading.configuration;
    let server = &it.virtual_servers[0];
    let real = &server.real_servers[0];
    let of_instance = it.instances[0].notification.commands.len();
    it.global.scripts.len()
        + of_instance
        + server.scripts.len()
        + real.scripts.len()
        + real.checks.len()
}

#[test]
fn script_security_drops_each_script_of_root_that_others_can_change_and_warns_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let secure = "enable_script_security\nscript_user root";
    let open = program(folder.path(), 0o777);
    let reading = everywhere(&open, secure);
    assert_eq!(count(&reading), 0, "{:?}", reading.configuration);
    // As in keepalived, the status is that of a good file.
    assert_eq!(reading.exit_status(), 0, "{:?}", reading.complaints);
    let warnings = reading.complaints.iter();
    let warnings = warnings.filter(|it| {
        it.kind == Kind::ScriptDisabled
            && it.weight == Weight::Advice
            && it.message.contains(&open)
            && it.message.contains("can be changed by other users")
    });
    let mut words: Vec<&str> = warnings
        .filter_map(|it| it.message.split(' ').next())
        .collect();
    words.sort_unstable();
    let own = ["notify_master", "quorum_up", "notify_up", "misc_path"];
    let mut expected = [&GLOBAL[..], &own[..]].concat();
    expected.sort_unstable();
    assert_eq!(words, expected);
}

#[test]
fn script_security_is_about_scripts_with_rights_of_root_only() {
    let folder = tempfile::tempdir().unwrap();
    let all = GLOBAL.len() + 4;
    for (user, mode, kept) in [
        ("root", 0o777, 0),
        ("nobody", 0o777, all),
        // The group of root has rights, too.
        ("nobody root", 0o777, 0),
        ("root daemon", 0o777, 0),
    ] {
        let statements = format!("enable_script_security\nscript_user {user}");
        let reading = everywhere(&program(folder.path(), mode), &statements);
        assert_eq!(count(&reading), kept, "{user} {mode:o}");
    }
    // Without script security, each runs.
    let open = program(folder.path(), 0o777);
    assert_eq!(count(&everywhere(&open, "script_user root")), all);
}

#[test]
fn a_script_that_is_missing_or_not_executable_is_dropped_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let statements = "enable_script_security\nscript_user root";
    let missing = folder.path().join("missing").display().to_string();
    for (program, problem) in [
        (missing, "cannot be found"),
        (program(folder.path(), 0o644), "is not executable"),
    ] {
        let reading = everywhere(&program, statements);
        assert_eq!(count(&reading), 0, "{problem}");
        assert_eq!(reading.exit_status(), 0, "{:?}", reading.complaints);
        let found = reading.complaints.iter();
        let found = found.filter(|it| it.message.contains(problem)).count();
        assert_eq!(found, GLOBAL.len() + 4, "{problem}");
    }
}

#[test]
fn the_script_of_a_fifo_needs_script_security_where_its_part_of_the_daemon_runs() {
    // Each row was observed with 2.2.7.
    let folder = tempfile::tempdir().unwrap();
    let instance = INSTANCE.replace('@', "");
    let server = SERVER.replace("@1", "").replace("@2", "TCP_CHECK {\n}");
    let both = format!("{instance}{server}");
    for program in [program(folder.path(), 0o755), program(folder.path(), 0o644)] {
        for (word, statuses) in [
            ("notify_fifo_script", [0, 6, 6, 6]),
            ("vrrp_notify_fifo_script", [0, 6, 0, 6]),
            ("lvs_notify_fifo_script", [0, 0, 6, 6]),
        ] {
            let found = ["", &instance, &server, &both].map(|blocks| {
                let text =
                    format!("global_defs {{\nscript_user root\n{word} {program}\n}}\n{blocks}");
                read_on(&with_eth0(), &text).exit_status()
            });
            assert_eq!(found, statuses, "{word} {program}");
        }
    }
}
