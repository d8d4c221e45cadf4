//! Notify scripts: which run, in which order, and as which user.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use nix::unistd::{Group, User};
use vrrp_lab::wait_for;

use crate::{
    instance,
    rig::{Kind, LIMIT, Rig},
};

/// One host with this program, whose configuration `DIR` stands in, and a further script there.
fn rig(config: &str, script: &str) -> Rig {
    let rig = Rig::new([Kind::Ours, Kind::Keepalived], [config, &instance(100, "")]);
    let path = rig.node(0).path("script");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    rig
}

/// Waits until a file in the folder of the first host has this text.
fn wait_for_text(rig: &Rig, name: &str, wanted: &str) {
    let text = || fs::read_to_string(rig.node(0).path(name)).unwrap_or_default();
    wait_for(wanted, LIMIT, || text().contains(wanted).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {:?} {}", text(), rig.node(0).log()));
}

#[test]
fn a_script_finishes_before_the_next_one_whose_user_or_group_differs() {
    let further = "    notify \"DIR/note ANY\" root daemon\n";
    let slow = "sleep 0.5\necho \"$@\" >> \"$(dirname \"$0\")/notes\"";
    let config = instance(150, further).replace("DIR/note BACKUP", "DIR/script BACKUP");
    let mut rig = rig(&config, slow);
    rig.start(0);
    rig.wait_until("the notes", |rig| rig.node(0).notes().len() >= 2);
    let notes = rig.node(0).notes();
    assert_eq!(
        notes[..2],
        ["BACKUP", "ANY INSTANCE VI_1 BACKUP 150"],
        "{}",
        rig.node(0).log()
    );
}

#[test]
fn a_fifo_belongs_to_the_user_of_its_statement_or_of_scripts_and_the_reader_opens_it() {
    let global = "script_user nobody nogroup
    notify_fifo DIR/all
    notify_fifo_script DIR/script
    vrrp_notify_fifo DIR/vrrp daemon sys";
    let config = instance(150, "").replacen("script_user root", global, 1);
    let mut rig = rig(&config, "exec cat \"$1\" >> \"$(dirname \"$0\")/lines\"");
    let folder = rig.node(0).path("");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["lines", "notes"] {
        let path = rig.node(0).path(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }
    rig.start(0);
    wait_for_text(&rig, "lines", "INSTANCE \"VI_1\" MASTER 150\n");
    for (name, owner) in [("all", ("nobody", "nogroup")), ("vrrp", ("daemon", "sys"))] {
        let found = fs::metadata(rig.node(0).path(name)).unwrap();
        let user = User::from_name(owner.0).unwrap().unwrap();
        let group = Group::from_name(owner.1).unwrap().unwrap();
        let expected = (user.uid.as_raw(), group.gid.as_raw(), 0o600);
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o777),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_script_finishes_after_a_replacement_and_the_scripts_of_the_successor_come_after_it() {
    let slow = "echo begin >> \"$0.runs\"
until [ -e \"$0.go\" ]; do sleep 0.05; done
echo end >> \"$(dirname \"$0\")/notes\"";
    let config = instance(150, "").replace("DIR/note MASTER", "DIR/script");
    let mut rig = rig(&config, slow);
    rig.start(0);
    wait_for_text(&rig, "script.runs", "begin");
    let before = rig.nodes[0].start_successor();
    rig.wait_until("the successor", |rig| {
        rig.node(0).log().matches("Startup complete").count() == 2
    });
    // The successor becomes Backup.
    rig.nodes[1].write_config(&instance(200, ""));
    rig.start(1);
    rig.wait_until("the other master", |rig| {
        rig.node(0).log().matches("Entering BACKUP STATE").count() == 2
    });
    // Longer than the time that scripts have when the service stops.
    rig.wait_for_heartbeats(1, 13);
    assert_eq!(rig.node(0).notes(), ["BACKUP"], "{}", rig.node(0).log());
    fs::write(rig.node(0).path("script.go"), "").unwrap();
    rig.wait_until("all notes", |rig| {
        rig.node(0).notes() == ["BACKUP", "end", "BACKUP"]
    });
    before.unwrap().wait();
}
