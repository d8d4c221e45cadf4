//! The settings about reloads: the file that exists during a reload, copies of files and state, and
//! the file with the time of the next reload.

use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use inotify::{EventMask, Inotify, WatchMask};
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use vrrp_lab::wait_for;

use crate::{
    instance,
    rig::{Kind, LIMIT, Rig, reload},
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
    let wrong = included.replace("priority 150", "precedence 130");
    rig.node(0).write_config(&wrong);
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the state after the refusal", |rig| {
        names(rig, "saves").iter().any(|it| it.ends_with("2.post"))
    });
    let files = saved(&rig, "saves");
    let refused = files.iter().find(|(it, _)| it == "keepalived.conf 2");
    assert!(refused.is_some_and(|it| it.1.contains("precedence")));

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

/// A whole second, so far from now.
fn second_in(seconds: i64) -> Timestamp {
    let now = Timestamp::now().as_second();
    Timestamp::from_second(now + seconds).unwrap()
}

fn line_of(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ\n").to_string()
}

/// Waits until this many reloads have been scheduled for a time.
fn wait_for_schedule(rig: &Rig, time: Timestamp, count: usize) {
    let line = format!("a reload is scheduled for {time}");
    rig.wait_until(&line, |rig| {
        rig.node(0).log().matches(&line).count() >= count
    });
}

/// Writes a time that comes soon, and waits until the program has read it in time.
fn schedule_soon(rig: &Rig, name: &str, form: &str) -> Timestamp {
    wait_for("a schedule", LIMIT, || {
        let time = second_in(2);
        fs::write(rig.node(0).path(name), time.strftime(form).to_string()).unwrap();
        let line = format!("a reload is scheduled for {time}");
        let read = wait_for("the line", Duration::from_secs(2), || {
            rig.node(0).log().contains(&line).then_some(())
        });
        read.ok().map(|()| time)
    })
    .unwrap()
}

/// Waits until this many reloads are complete, and no more.
fn wait_for_reloads(rig: &Rig, count: usize) {
    rig.wait_until("reloads", |rig| {
        rig.node(0).log().matches("Reload complete").count() == count
    });
}

/// Replaces the file with the time in one step.
fn put(rig: &Rig, line: &str) {
    fs::write(rig.node(0).path("new"), line).unwrap();
    fs::rename(rig.node(0).path("new"), rig.node(0).path("time")).unwrap();
}

/// Whether the program has a thread that watches the file.
fn watches(rig: &Rig) -> bool {
    let pid = fs::read_to_string(rig.node(0).path("pid")).unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", pid.trim())).unwrap();
    let names = threads.map(|it| fs::read_to_string(it.unwrap().path().join("comm")));
    // A thread may end in the meantime.
    names.flatten().any(|name| name.trim() == "reload-time")
}

#[test]
fn a_reload_happens_at_the_time_in_the_file_which_is_removed() {
    let setting = "reload_time_file DIR/time";
    let mut rig = rig(setting);
    rig.start(0);
    rig.node(0).write_config(&with_global(140, setting));
    let time = schedule_soon(&rig, "time", "%Y-%m-%d %H:%M:%SZ");
    rig.wait_for_priority(0, 140);
    assert!(Timestamp::now() >= time);
    assert!(!rig.node(0).path("time").exists());
    wait_for_reloads(&rig, 1);
    // The next file counts too.
    rig.node(0).write_config(&with_global(130, setting));
    schedule_soon(&rig, "time", "%H:%M:%SZ\nmore");
    rig.wait_for_priority(0, 130);
}

#[test]
fn a_reload_is_moved_and_cancelled_with_its_file() {
    let mut rig = rig("reload_time_file DIR/time");
    let [path, other] = ["time", "other"].map(|name| rig.node(0).path(name));
    let [first, second, third] = [1, 2, 3].map(|days| second_in(days * 86_400));
    // A file that exists at the start counts.
    fs::write(&path, line_of(first)).unwrap();
    rig.start(0);
    wait_for_schedule(&rig, first, 1);
    put(&rig, &line_of(second));
    wait_for_schedule(&rig, second, 1);
    let cancelled = |rig: &Rig| rig.node(0).log().matches("cancelled").count();
    fs::rename(&path, &other).unwrap();
    rig.wait_until("the end of the file", |rig| cancelled(rig) == 1);
    fs::hard_link(&other, &path).unwrap();
    wait_for_schedule(&rig, second, 2);
    fs::remove_file(&path).unwrap();
    rig.wait_until("the end of the link", |rig| cancelled(rig) == 2);
    put(&rig, &line_of(third));
    wait_for_schedule(&rig, third, 1);
    put(&rig, "2001-01-01 00:00:00");
    rig.wait_until("a date that has passed", |rig| cancelled(rig) == 3);
    put(&rig, &line_of(third));
    wait_for_schedule(&rig, third, 2);
    put(&rig, "noon");
    rig.wait_until("a line that is no time", |rig| {
        let complaint = "the first line is not HH:MM:SS";
        cancelled(rig) == 4 && rig.node(0).log().contains(complaint)
    });
    assert!(!rig.node(0).log().contains("Reloading"));
}

#[test]
fn with_reload_repeat_the_file_stays_and_counts_again_the_next_day() {
    let setting = "reload_time_file DIR/time\n    reload_repeat";
    let mut rig = rig(setting);
    rig.start(0);
    rig.node(0).write_config(&with_global(140, setting));
    let time = schedule_soon(&rig, "time", "%H:%M:%SZ");
    rig.wait_for_priority(0, 140);
    wait_for_schedule(&rig, time + SignedDuration::from_hours(24), 1);
    assert!(rig.node(0).path("time").exists());
    wait_for_reloads(&rig, 1);
}

#[test]
fn a_configuration_without_reload_time_file_ends_the_watch_of_the_file() {
    let setting = "reload_time_file DIR/time";
    let mut rig = rig(setting);
    rig.start(0);
    let time = second_in(86_400);
    fs::write(rig.node(0).path("time"), line_of(time)).unwrap();
    wait_for_schedule(&rig, time, 1);
    assert!(watches(&rig));
    reload(&rig, &with_global(150, ""));
    rig.wait_until("the end of the watch", |rig| !watches(rig));
    reload(&rig, &with_global(150, setting));
    wait_for_schedule(&rig, time, 2);
    // A file that is refused changes nothing.
    let wrong = with_global(150, "").replace("priority", "prority");
    rig.node(0).write_config(&wrong);
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the refusal", |rig| {
        rig.node(0).log().contains("the running one stays as it is")
    });
    assert!(watches(&rig));
}

#[test]
fn a_setting_that_only_a_start_obeys_is_named_at_each_reload_that_changes_it() {
    let setting = "notify_fifo DIR/fifo";
    let mut rig = rig(setting);
    rig.start(0);
    let reported = |rig: &Rig| rig.node(0).log().matches("notify_fifo has changed").count();
    reload(&rig, &with_global(140, setting));
    assert_eq!(reported(&rig), 0);
    for count in [1, 2] {
        reload(&rig, &with_global(150, "notify_fifo DIR/other"));
        assert_eq!(reported(&rig), count, "{}", rig.node(0).log());
    }
    assert!(!rig.node(0).path("other").exists());
}

#[test]
fn a_folder_that_goes_ends_the_schedule_until_the_next_reload() {
    let setting = "reload_time_file DIR/folder/time";
    let mut rig = rig(setting);
    rig.start(0);
    rig.wait_until("the complaint", |rig| {
        rig.node(0).log().contains("is not watched")
    });
    let folder = rig.node(0).path("folder");
    let time = second_in(86_400);
    for count in [1, 2] {
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("time"), line_of(time)).unwrap();
        reload(&rig, &with_global(150, setting));
        wait_for_schedule(&rig, time, count);
        let moved = rig.node(0).path(&format!("moved{count}"));
        fs::rename(&folder, moved).unwrap();
        rig.wait_until("the end of the watch", |rig| !watches(rig));
    }
    assert!(
        rig.node(0)
            .log()
            .contains("no reload is scheduled until the next one")
    );
}
