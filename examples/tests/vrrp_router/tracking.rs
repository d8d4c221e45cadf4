//! What the program tracks: scripts, processes, files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use vrrp_lab::wait_for;

use crate::{
    BASE, BackgroundProgram, ask_for, ask_for_state, assert_refused, events, has_ended, iproute2,
    lan_of, read, router, wait_for_event, wait_for_state,
};

/// Waits until the router explains its priority so.
fn wait_for_explanation(router: &BackgroundProgram, explanation: &str) {
    // Before this, a signal would end it.
    wait_for_event(router, "started");
    let mut last = Value::Null;
    wait_for(explanation, BackgroundProgram::LIMIT, || {
        last = ask_for_state(router)["explanation"].take();
        (last == explanation).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}; the last was {last}"));
}

/// The reported levels of an object, from the first.
fn levels(router: &BackgroundProgram) -> Vec<Value> {
    let mut changes = events(router);
    changes.retain(|event| event["event"] == "object-changed");
    changes
        .into_iter()
        .map(|mut event| event["up"].take())
        .collect()
}

/// A script that hangs, and the file to which it appends the number of the process that it waits
/// for.
fn hanging(folder: &TempDir) -> (String, PathBuf) {
    let children = folder.path().join("children");
    let wait = format!("sleep 60 & echo $! >>{}; wait", children.display());
    (format!("run sh -c '{wait}'"), children)
}

#[test]
fn a_script_with_a_weight_moves_the_active_and_moves_it_back() {
    let (_lan, [h1, h2]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (well, runs) = (folder.path().join("well"), folder.path().join("runs"));
    fs::write(&well, "").unwrap();
    let track = format!(
        "web:-150 interval 0.1 timeout 5 rise 3 fall 2 run sh -c 'test -e {0} && echo passed >>{1} || {{ echo failed >>{1}; false; }}'",
        well.display(),
        runs.display()
    );
    let r1 = router(&h1, &["--priority", "200", "--track-script", &track]);
    wait_for_state(&r1, "Active");
    let r2 = router(&h2, &["--priority", "100"]);
    wait_for_state(&r2, "Backup");

    fs::remove_file(&well).unwrap();
    wait_for_state(&r2, "Active");
    wait_for_state(&r1, "Backup");
    wait_for_explanation(&r1, "priority 50: 200 configured, web down -150");
    let reason = &wait_for_event(&r1, "check-failed")["reason"];
    assert_eq!(reason, "exit status: 1");

    fs::write(&well, "").unwrap();
    wait_for_state(&r1, "Active");
    wait_for_state(&r2, "Backup");
    wait_for_explanation(&r1, "priority 200: 200 configured, web up");
    assert_eq!(levels(&r1), [true, false, true]);
    let reported = events(&r1);
    let failures = reported
        .iter()
        .filter(|event| event["event"] == "check-failed");
    assert_eq!(failures.count(), 1, "a repeated failure is reported once");
}

#[test]
fn rise_and_fall_are_how_often_in_a_row() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    // Two failures are too few, three are enough; one success is too few, two are enough.
    let script = format!(
        "echo >>{0}; case $(wc -l <{0}) in 2|3|6|7|8|10|11|12) exit 1;; esac",
        runs.display()
    );
    let track = format!("web interval 0.05 timeout 5 fall 3 rise 2 run sh -c '{script}'");
    let r1 = router(&host, &["--track-script", &track]);
    wait_for("sixteen runs", BackgroundProgram::LIMIT, || {
        (read(&runs).len() >= 16).then_some(())
    })
    .unwrap();
    wait_for_explanation(&r1, "priority 100: 100 configured, web up");
    assert_eq!(levels(&r1), [true, false, true]);
}

#[test]
fn a_script_that_hangs_is_killed_with_its_children_and_has_failed() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (script, children) = hanging(&folder);
    let track = format!("web interval 0.1 timeout 0.3 {script}");
    let r1 = router(&host, &["--track-script", &track]);
    let failed = wait_for_event(&r1, "check-failed");
    assert_eq!(
        (&failed["object"], &failed["reason"]),
        (&json!("web"), &json!("timed out after 300ms"))
    );
    wait_for_explanation(&r1, "priority 100: 100 configured, web down (fault)");
    assert_eq!(ask_for_state(&r1)["state"], "Initialize");
    let child = read(&children)[0].clone();
    wait_for("the end of the child", BackgroundProgram::LIMIT, || {
        has_ended(&child).then_some(())
    })
    .unwrap();
}

#[test]
fn a_script_that_runs_when_the_program_ends_is_killed() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (script, children) = hanging(&folder);
    let track = format!("web:1 timeout 60 {script}");
    let mut r1 = router(&host, &["--track-script", &track]);
    // A weight holds nobody up.
    wait_for_state(&r1, "Active");
    let child = wait_for("the child", BackgroundProgram::LIMIT, || {
        read(&children).pop()
    })
    .unwrap();
    assert!(!has_ended(&child));
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    wait_for("the end of the child", BackgroundProgram::LIMIT, || {
        has_ended(&child).then_some(())
    })
    .unwrap();
    let failed = events(&r1)
        .into_iter()
        .find(|event| event["event"] == "check-failed");
    assert_eq!(failed, None, "it was not given the time");
}

#[test]
fn a_script_is_run_without_a_shell() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let track = format!("web run touch \"{}/$HOME; a\"", folder.path().display());
    let r1 = router(&host, &["--track-script", &track]);
    wait_for_state(&r1, "Active");
    assert!(folder.path().join("$HOME; a").exists());
}

#[test]
fn a_script_that_cannot_be_started_has_failed() {
    let (_lan, [host]) = lan_of();
    let r1 = router(&host, &["--track-script", "web run /nonexistent/check"]);
    let reason = &wait_for_event(&r1, "check-failed")["reason"];
    assert_eq!(reason, "No such file or directory (os error 2)");
    assert_eq!(ask_for_state(&r1)["state"], "Initialize");
}

#[test]
fn one_object_counts_for_several_routers_as_each_says() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let script = format!("interval 3600 run sh -c 'echo >>{}; false'", runs.display());
    let [strong, reverse] = [
        format!("web:-60 {script}"),
        format!("web:-7 reverse {script}"),
    ];
    let common = ["--interface", "eth0", "--address"];
    let first = ["192.0.2.254", "--vrid", "51", "--track-script", &strong];
    let second = ["192.0.2.253", "--vrid", "52", "--track-script", &reverse];
    let arguments = [&common[..], &first, &["--next"], &common, &second].concat();
    let routers = BackgroundProgram::start(host.namespace(), "vrrp_router", &arguments);
    wait_for_event(&routers, "started");
    for (vrid, explanation) in [
        (51, "priority 40: 100 configured, web down -60"),
        (52, "priority 107: 100 configured, web down +7"),
    ] {
        wait_for(explanation, BackgroundProgram::LIMIT, || {
            let state = ask_for(&routers, |state| state["vrid"] == vrid);
            (state["explanation"] == explanation).then_some(())
        })
        .unwrap();
    }
    assert_eq!(read(&runs).len(), 1);
}

/// A process that sleeps under another name.
struct Sleeper(Child);

impl Sleeper {
    fn start(program: &Path) -> Self {
        let mut command = Command::new(program);
        Self(command.arg("60").stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn processes_are_counted_by_their_name() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    // Longer than what the kernel keeps, and as awkward as names can be.
    let program = folder.path().join("a) S (b of a long name");
    fs::copy("/bin/sleep", &program).unwrap();
    let first = Sleeper::start(&program);
    let track = "'a) S (b of a long name' at-least 2 at-most 3 interval 0.05";
    let r1 = router(&host, &["--track-process", track]);
    let (up, down) = (
        "priority 100: 100 configured, a) S (b of a long name up",
        "priority 100: 100 configured, a) S (b of a long name down (fault)",
    );
    wait_for_explanation(&r1, down);
    let mut second = Sleeper::start(&program);
    wait_for_explanation(&r1, up);
    wait_for_state(&r1, "Active");
    let third = Sleeper::start(&program);
    let fourth = Sleeper::start(&program);
    wait_for_explanation(&r1, down);
    wait_for_state(&r1, "Initialize");
    drop((third, fourth));
    wait_for_explanation(&r1, up);
    // Nobody waits for it yet: it is there, and does not run.
    second.0.kill().unwrap();
    wait_for_explanation(&r1, down);
    drop(first);
}

#[test]
fn the_number_in_a_file_counts_times_its_weight() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load");
    let name = path.display();
    let track = format!("{name}:-20 interval 0.05");
    let r1 = router(&host, &["--track-file", &track]);
    let reason = &wait_for_event(&r1, "check-failed")["reason"];
    assert_eq!(reason, "No such file or directory (os error 2)");
    wait_for_explanation(
        &r1,
        &format!("priority 100: 100 configured, {name} unreported"),
    );
    fs::write(&path, "3\n").unwrap();
    wait_for_explanation(&r1, &format!("priority 40: 100 configured, {name} 3 -60"));
    wait_for_state(&r1, "Active");

    fs::write(&path, "three").unwrap();
    let problem = "\"three\" is not a number in -2147483648..=2147483647";
    r1.wait_for(problem, |line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["reason"] == problem).then_some(())
    });
    wait_for_explanation(&r1, &format!("priority 40: 100 configured, {name} 3 -60"));

    fs::write(&path, " -4 ").unwrap();
    wait_for_explanation(&r1, &format!("priority 180: 100 configured, {name} -4 +80"));
    fs::write(&path, "13").unwrap();
    wait_for_explanation(
        &r1,
        &format!("priority 100: 100 configured, {name} 13 (fault)"),
    );
    wait_for_state(&r1, "Initialize");
}

#[test]
fn a_file_without_an_end_or_without_a_writer_holds_up_nothing() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let fifo = fifo.display().to_string();
    let mut r1 = router(&host, &["--track-file", "/dev/zero", "--track-file", &fifo]);
    for file in ["/dev/zero", &fifo] {
        r1.wait_for(file, |line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let failed = event["event"] == "check-failed" && event["object"] == file;
            failed.then(|| assert!(line.len() < 1000, "{line}"))
        });
    }
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
}

#[test]
fn a_route_counts_while_it_is_there() {
    let (_lan, [host]) = lan_of();
    let route = ["203.0.113.0/24", "via", "192.0.2.77", "metric", "7"];
    let track = format!("uplink to {}", route.join(" "));
    let r1 = router(&host, &["--track-route", &track]);
    let explained = "priority 100: 100 configured, uplink";
    wait_for_explanation(&r1, &format!("{explained} down (fault)"));
    iproute2(&host, &[&["route", "add"], &route[..]].concat());
    wait_for_explanation(&r1, &format!("{explained} up"));
    wait_for_state(&r1, "Active");
    iproute2(&host, &[&["route", "delete"], &route[..]].concat());
    wait_for_explanation(&r1, &format!("{explained} down (fault)"));
    wait_for_state(&r1, "Initialize");
}

#[test]
fn a_delay_holds_back_what_is_seen() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let well = folder.path().join("well");
    fs::write(&well, "").unwrap();
    let track = format!(
        "web:-10 interval 0.05 timeout 5 down-delay 3600 up-delay 0.01 run test -e {}",
        well.display()
    );
    let r1 = router(&host, &["--track-script", &track]);
    wait_for_explanation(&r1, "priority 100: 100 configured, web up");
    fs::remove_file(&well).unwrap();
    wait_for_event(&r1, "check-failed");
    wait_for_explanation(&r1, "priority 100: 100 configured, web up");
}

#[test]
fn what_cannot_be_tracked_is_named_with_its_value_and_range() {
    let base = BASE;
    assert_refused(&[
        (
            &format!("{base} --track-script web:-5,rise,0,run,x"),
            "invalid value 'web:-5 rise 0 run x' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': rise 0 is not in 1..=255",
        ),
        (
            &format!("{base} --track-script web,interval,0,run,x"),
            "invalid value 'web interval 0 run x' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': interval 0 is not in 0.01..=3600 seconds",
        ),
        (
            &format!("{base} --track-script web,interval"),
            "invalid value 'web interval' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': interval has no value",
        ),
        (
            &format!("{base} --track-script web,fall,3"),
            "invalid value 'web fall 3' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': run COMMAND is missing at the end",
        ),
        (
            &format!("{base} --track-script web,run"),
            "invalid value 'web run' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': run needs a COMMAND",
        ),
        (
            &format!("{base} --track-script web,run,''"),
            "invalid value 'web run ''' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': run needs a COMMAND",
        ),
        (
            &format!("{base} --track-script web,run,'x"),
            "invalid value 'web run 'x' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': a quote is not closed",
        ),
        (
            &format!("{base} --track-script :5"),
            "invalid value ':5' for '--track-script <NAME[:WEIGHT] [...] run COMMAND>': the name is missing",
        ),
        (
            &format!("{base} --track-route uplink,0.0.0.0/0"),
            "invalid value 'uplink 0.0.0.0/0' for '--track-route <NAME[:WEIGHT] [...] to ROUTE>': \"0.0.0.0/0\" is not one of to, reverse, up-delay, down-delay",
        ),
        (
            &format!("{base} --track-route uplink,to,0.0.0.0/33"),
            "invalid value 'uplink to 0.0.0.0/33' for '--track-route <NAME[:WEIGHT] [...] to ROUTE>': destination: prefix length 33 is not in 0..=32",
        ),
        (
            &format!("{base} --track-route uplink"),
            "invalid value 'uplink' for '--track-route <NAME[:WEIGHT] [...] to ROUTE>': to ROUTE is missing at the end",
        ),
        (
            &format!("{base} --track-process sshd,at-least,2,at-most,1"),
            "invalid value 'sshd at-least 2 at-most 1' for '--track-process <NAME[:WEIGHT] [...]>': at-most 1 is not in 2.., from at-least",
        ),
        (
            &format!("{base} --track-file /run/load,rise,2"),
            "invalid value '/run/load rise 2' for '--track-file <PATH[:WEIGHT] [...]>': \"rise\" is not one of interval, reverse, up-delay, down-delay",
        ),
        (
            &format!("{base} --track-process eth1 --next {base} --track-interface eth1"),
            "invalid value 'eth1' for '--track-...': already used by another tracked object",
        ),
        (
            &format!("{base} --track-file a --track-file a:5"),
            "invalid value 'a' for '--track-...': given more than once",
        ),
    ]);
}
