//! The settings about reloads: the file that exists meanwhile, and copies of files and state.

use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt as _, path::Path};

use inotify::{EventMask, Inotify, WatchMask};
use nix::sys::signal::Signal;
use vrrp_lab::wait_for;

use crate::{
    instance,
    rig::{Kind, LIMIT, Rig},
};

/// A host with this program, whose configuration has these further settings in `global_defs`.
fn rig(global: &str) -> Rig {
    let config = with_global(150, global);
    Rig::new([Kind::Ours, Kind::Keepalived], [&config, &config])
}

fn with_global(priority: u8, global: &str) -> String {
    let global = format!("script_user root\n    {global}");
    instance(priority, "").replacen("script_user root", &global, 1)
}

/// The events of the files in a folder.
struct FileEvents(Inotify);

impl FileEvents {
    fn of(folder: &Path) -> Self {
        let watch = Inotify::init().unwrap();
        let events = WatchMask::CREATE | WatchMask::MODIFY | WatchMask::DELETE | WatchMask::OPEN;
        watch.watches().add(folder, events).unwrap();
        Self(watch)
    }

    /// The events since the last call.
    fn read(&mut self) -> Vec<(OsString, EventMask)> {
        let mut room = [0; 4096];
        let mut found = Vec::new();
        // An empty queue is an error to the library.
        while let Ok(events) = self.0.read_events(&mut room) {
            found.extend(events.filter_map(|it| Some((it.name?.to_owned(), it.mask))));
        }
        found
    }
}

/// Changes the priority and waits until the reload is complete.
fn reload(rig: &Rig, config: &str) {
    let complete = |rig: &Rig| rig.node(0).log().matches("Reload complete").count();
    let before = complete(rig);
    rig.node(0).write_config(config);
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the reload", |rig| complete(rig) > before);
}

#[test]
fn the_reload_file_exists_while_the_files_are_read_and_not_afterwards() {
    let setting = "reload_file DIR/reloading";
    let mut rig = rig(setting);
    let path = rig.node(0).path("reloading");
    // A program that writes the configuration waits for the start.
    fs::write(&path, "waiting").unwrap();
    rig.start(0);
    assert!(!path.exists());

    let mut events = FileEvents::of(path.parent().unwrap());
    reload(&rig, &with_global(140, setting));
    assert!(!path.exists());
    let all = events.read();
    let position = |name: &str, mask| all.iter().position(|it| *it == (name.into(), mask));
    let created = position("reloading", EventMask::CREATE);
    let removed = position("reloading", EventMask::DELETE);
    // The test opens the file too, to write it.
    let opened = all
        .iter()
        .rposition(|it| *it == ("conf".into(), EventMask::OPEN));
    assert!(created.is_some(), "{all:?}");
    assert!(created < opened && opened < removed, "{all:?}");

    // A file that exists becomes empty first.
    fs::write(&path, "waiting").unwrap();
    events.read();
    reload(&rig, &with_global(130, setting));
    let all = events.read();
    // Kernels differ in the order of the events of an open file that becomes empty.
    let of_file = all
        .iter()
        .filter(|(name, mask)| name == "reloading" && *mask != EventMask::OPEN);
    let of_file: Vec<_> = of_file.map(|(_, mask)| *mask).collect();
    assert_eq!(of_file, [EventMask::MODIFY, EventMask::DELETE]);

    // The file that a new configuration names is removed after that has been read.
    fs::write(rig.node(0).path("other"), "").unwrap();
    reload(&rig, &with_global(130, "reload_file DIR/other"));
    assert!(!rig.node(0).path("other").exists());
    // Without the setting, no file is made.
    reload(&rig, &with_global(130, ""));
    events.read();
    reload(&rig, &with_global(120, ""));
    let all = events.read();
    assert!(!all.iter().any(|(name, _)| name == "other"), "{all:?}");
    rig.wait_for_priority(0, 120);
}

#[test]
fn a_reload_that_is_refused_removes_the_reload_file_too() {
    let setting = "reload_file DIR/reloading";
    let mut rig = rig(setting);
    rig.start(0);
    let path = rig.node(0).path("reloading");
    fs::write(&path, "waiting").unwrap();
    let wrong = with_global(140, setting).replace("priority", "prority");
    rig.node(0).write_config(&wrong);
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the refusal", |rig| {
        rig.node(0).log().contains("the running one stays as it is")
    });
    assert!(!path.exists());
}

#[test]
fn a_reload_file_that_is_a_link_leaves_its_target_as_it_is() {
    let setting = "reload_file DIR/reloading";
    let mut rig = rig(setting);
    rig.start(0);
    let [path, target] = ["reloading", "target"].map(|name| rig.node(0).path(name));
    fs::write(&target, "content").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    reload(&rig, &with_global(140, setting));
    assert!(!path.is_symlink());
    assert_eq!(fs::read_to_string(target).unwrap(), "content");
    wait_for("the complaint", LIMIT, || {
        rig.node(0).log().contains("reload_file").then_some(())
    })
    .unwrap();
}

/// The files of a folder, by the number of the reload and the ending of their name.
fn saved(rig: &Rig, folder: &str) -> Vec<(String, String)> {
    let pid = fs::read_to_string(rig.node(0).path("pid")).unwrap();
    let pid = format!(".{}.", pid.trim());
    let entries = fs::read_dir(rig.node(0).path(folder)).unwrap();
    // A file has a name of its own while it is written.
    let is_whole = |entry: &fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut files: Vec<_> = entries
        .map(Result::unwrap)
        .filter(is_whole)
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{entry:?}");
            let name = entry.file_name().into_string().unwrap();
            let (kind, number) = name.split_once(&pid).unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            (format!("{kind} {number}"), text)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn files_and_state_are_saved_before_and_after_each_reload() {
    let setting = "config_save_dir DIR/saves";
    let included = format!("include DIR/more\n{}", with_global(150, setting));
    let mut rig = Rig::new([Kind::Ours, Kind::Keepalived], [&included, &included]);
    fs::write(rig.node(0).path("more"), "static_routes {\n}\n").unwrap();
    rig.start(0);
    let names = |rig: &Rig, folder| -> Vec<_> {
        let files = saved(rig, folder);
        files.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&rig, "saves"), ["keepalived.conf 0"]);
    let mode = fs::metadata(rig.node(0).path("saves")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o700);

    reload(&rig, &included.replace("priority 150", "priority 140"));
    let files = saved(&rig, "saves");
    let parts = [
        ("keepalived.conf 0", "priority 150"),
        ("keepalived.conf 0", "static_routes"),
        ("keepalived.conf 1", "priority 140"),
        ("keepalived_vrrp 1.post", "Priority = 140"),
        ("keepalived_vrrp 1.pre", "Priority = 150"),
    ];
    for (name, part) in parts {
        let file = files.iter().find(|(it, _)| it == name);
        assert!(file.is_some_and(|it| it.1.contains(part)), "{files:#?}");
    }
    assert_eq!(files.len(), 4);

    // A file that is refused is saved too.
    let wrong = included.replace("priority 150", "prority 130");
    rig.node(0).write_config(&wrong);
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the state after the refusal", |rig| {
        names(rig, "saves").iter().any(|it| it.ends_with("2.post"))
    });
    let files = saved(&rig, "saves");
    let refused = files.iter().find(|(it, _)| it == "keepalived.conf 2");
    assert!(refused.is_some_and(|it| it.1.contains("prority")));

    // The folder of a new configuration gets its copies, and the former one the state before.
    reload(&rig, &included.replace("DIR/saves", "DIR/others"));
    let others = ["keepalived.conf 3", "keepalived_vrrp 3.post"];
    assert_eq!(names(&rig, "others"), others);
    assert!(names(&rig, "saves").contains(&"keepalived_vrrp 3.pre".into()));
    reload(&rig, &included.replace(setting, ""));
    assert_eq!(names(&rig, "others").len(), 3);
    reload(&rig, &included.replace(setting, ""));
    assert_eq!(names(&rig, "others").len(), 3);
}
