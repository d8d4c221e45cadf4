//! Notify scripts: which run, in which order, and as which user.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    instance,
    rig::{Kind, Rig},
};

/// One host with this program, whose configuration `DIR` stands in, and a further script there.
fn rig(config: &str, script: &str) -> Rig {
    let rig = Rig::new([Kind::Ours, Kind::Keepalived], [config, &instance(100, "")]);
    let path = rig.node(0).path("script");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    rig
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
