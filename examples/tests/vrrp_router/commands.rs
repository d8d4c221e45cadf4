//! The commands that the program runs: of --notify, and in a part of the tests of --track-script.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use vrrp_lab::{BackgroundProgram, Host, example, wait_for};

use crate::{
    BASE, VIP, events, has, has_ended, lan_of, log_command, read, router, wait_for_event,
    wait_for_state,
};

/// The part of a script that waits for a file.
fn until(file: &Path) -> String {
    format!("while ! [ -e {} ]; do sleep 0.02; done", file.display())
}

/// Waits until a file has so many lines, and returns them.
fn wait_for_lines(file: &Path, count: usize) -> Vec<String> {
    let lines = || Some(read(file)).filter(|lines| lines.len() >= count);
    wait_for(&format!("{count} lines"), BackgroundProgram::LIMIT, lines)
        .unwrap_or_else(|error| panic!("{error}; there is {:?}", read(file)))
}

/// The states of all events of a name.
fn states(router: &BackgroundProgram, name: &str) -> Vec<Value> {
    let mut events = events(router);
    events.retain(|event| event["event"] == name);
    events.iter_mut().map(|event| event["to"].take()).collect()
}

#[test]
fn a_command_gets_the_change_in_its_parameters_and_environment() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (command, log) = log_command(
        folder.path(),
        "echo \"$*: $VRRP_PREVIOUS_STATE $VRRP_STATE $VRRP_VRID $VRRP_FAMILY $VRRP_PRIORITY \
         $VRRP_ADDRESSES $VRRP_SEQUENCE: $VRRP_REASON\" >>$log",
    );
    let mut r1 = router(&host, &["--notify", &command, "--interval", "100"]);
    wait_for_lines(&log, 2);
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    assert_eq!(
        read(&log),
        [
            "Backup eth0 51: Initialize Backup 51 IPv4 100 192.0.2.254/32 1: startup",
            "Active eth0 51: Backup Active 51 IPv4 100 192.0.2.254/32 2: the Active fell silent",
            "Initialize eth0 51: Active Initialize 51 IPv4 100 192.0.2.254/32 3: shutdown",
        ]
    );
}

#[test]
fn a_newer_change_overtakes_those_that_wait_and_no_two_commands_run_at_once() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    let script = format!(
        "echo begin $1 >>$log\n{}\necho end $1 >>$log",
        until(&release)
    );
    let (command, log) = log_command(folder.path(), &script);
    let r1 = router(&host, &["--notify", &command, "--notify-timeout", "60"]);
    // The router does not wait for its command.
    wait_for_state(&r1, "Active");
    host.shut().unwrap();
    wait_for_state(&r1, "Initialize");
    host.mend().unwrap();
    wait_for_state(&r1, "Active");
    assert_eq!(wait_for_lines(&log, 1), ["begin Backup"]);
    fs::write(&release, "").unwrap();
    let lines = wait_for_lines(&log, 4);
    assert_eq!(
        lines,
        ["begin Backup", "end Backup", "begin Active", "end Active"]
    );
    assert_eq!(
        states(&r1, "notify-overtaken"),
        ["Active", "Initialize", "Backup"]
    );
    let sequence = &wait_for_event(&r1, "notify-overtaken")["of"];
    let change = events(&r1)
        .into_iter()
        .find(|event| event["sequence"] == *sequence)
        .unwrap();
    assert_eq!(
        (&change["event"], &change["to"]),
        (&json!("state-changed"), &json!("Active"))
    );
}

#[test]
fn the_end_is_bounded_although_every_command_hangs() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (command, log) = log_command(
        folder.path(),
        "trap '' TERM; echo $1 $$ >>$log; while :; do sleep 1; done",
    );
    let mut r1 = router(&host, &["--notify", &command, "--notify-timeout", "3600"]);
    wait_for_state(&r1, "Active");
    wait_for_lines(&log, 1);
    let asked = Instant::now();
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    let took = asked.elapsed();
    // The commands never end by themselves.
    assert!(took < BackgroundProgram::LIMIT, "5 s are allowed: {took:?}");
    assert!(!has(&host, VIP));

    // The last state was run as well, and what the two have started is gone.
    let lines = read(&log);
    let started: Vec<(&str, &str)> = lines.iter().filter_map(|it| it.split_once(' ')).collect();
    assert_eq!((started[0].0, started[1].0), ("Backup", "Initialize"));
    assert_eq!(started.len(), 2);
    for (_, process) in started {
        wait_for("its end", BackgroundProgram::LIMIT, || {
            has_ended(process).then_some(())
        })
        .unwrap();
    }
    assert_eq!(states(&r1, "notify-overtaken"), ["Active"]);
    assert_eq!(states(&r1, "notify-failed"), ["Backup", "Initialize"]);
    assert_eq!(events(&r1).pop().unwrap()["event"], "stopped");
}

#[test]
fn the_time_of_commands_at_the_end_is_an_option() {
    let (_lan, [host]) = lan_of();
    let mut r1 = router(
        &host,
        &["--notify", "exec sleep 3600", "--notify-stop-timeout", "1"],
    );
    wait_for_state(&r1, "Active");
    let asked = Instant::now();
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    let took = asked.elapsed();
    // Without the option it takes 5 s.
    assert!(took < Duration::from_secs(5), "1 s is allowed: {took:?}");
}

#[test]
fn a_second_signal_ends_the_commands_at_once() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (command, log) = log_command(
        folder.path(),
        "trap '' TERM; echo $1 $$ >>$log; while :; do sleep 1; done",
    );
    let limits = ["--notify-timeout", "3600", "--notify-stop-timeout", "3600"];
    let mut r1 = router(&host, &[&["--notify", &command][..], &limits].concat());
    wait_for_state(&r1, "Active");
    let started = wait_for_lines(&log, 1);
    r1.signal(Signal::SIGTERM);
    wait_for_state(&r1, "Initialize");
    let asked = Instant::now();
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    // The limits are an hour.
    assert!(asked.elapsed() < BackgroundProgram::LIMIT);
    let (_, process) = started[0].split_once(' ').unwrap();
    wait_for("its end", BackgroundProgram::LIMIT, || {
        has_ended(process).then_some(())
    })
    .unwrap();
    assert_eq!(states(&r1, "notify-left-out"), ["Initialize"]);
    assert_eq!(read(&log).len(), 1);
}

#[test]
fn the_address_is_gone_before_the_last_command_has_run() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    let script = format!("echo $1 >>$log; [ $1 = Initialize ] && {}", until(&release));
    let (command, log) = log_command(folder.path(), &script);
    let mut r1 = router(
        &host,
        &["--notify", &command, "--notify-stop-timeout", "60"],
    );
    wait_for_state(&r1, "Active");
    r1.signal(Signal::SIGTERM);
    wait_for(
        "the command for Initialize",
        BackgroundProgram::LIMIT,
        || (read(&log).last()? == "Initialize").then_some(()),
    )
    .unwrap();
    assert!(!has(&host, VIP));
    assert!(!events(&r1).iter().any(|event| event["event"] == "stopped"));
    fs::write(&release, "").unwrap();
    assert_eq!(r1.wait().code(), Some(0));
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_its_children() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (command, log) = log_command(
        folder.path(),
        "sleep 60 & echo $! >>$log; [ $1 = Backup ] && wait",
    );
    let r1 = router(&host, &["--notify", &command, "--notify-timeout", "0.3"]);
    let killed = wait_for_event(&r1, "notify-failed");
    assert_eq!(
        (&killed["to"], &killed["reason"], &killed["output"]),
        (
            &json!("Backup"),
            &json!("timed out after 300ms"),
            &json!(null)
        )
    );
    let child = read(&log)[0].clone();
    wait_for(
        "the end of the command's child",
        BackgroundProgram::LIMIT,
        || has_ended(&child).then_some(()),
    )
    .unwrap();
    // That of the next command is left alone where its parent ended in time. It is this test's to
    // end.
    for child in read(&log).iter().skip(1) {
        let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
    }
}

#[test]
fn what_a_command_leaves_behind_when_it_ends_in_time_is_left_alone() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 60 & echo $! >>$log; echo it broke >&2; exit 3";
    let (command, log) = log_command(folder.path(), script);
    let r1 = router(&host, &["--notify", &command, "--notify-timeout", "60"]);
    let failed = wait_for_event(&r1, "notify-failed");
    assert_eq!(
        (&failed["reason"], &failed["output"]),
        (&json!("exit status: 3"), &json!("it broke"))
    );
    drop(r1);
    for child in read(&log) {
        assert!(!has_ended(&child));
        kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_compound_command_is_run_and_a_failure_has_its_last_words() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let command = format!(
        "if [ \"$VRRP_STATE\" = \"$1\" ]; then for it in \"$@\"; do echo $it; done; fi >>{}",
        file.display()
    );
    let r1 = router(&host, &["--notify", &command]);
    assert_eq!(wait_for_lines(&file, 3)[..3], ["Backup", "eth0", "51"]);
    drop(r1);

    let r1 = router(&host, &["--notify", "/nonexistent/command"]);
    let failed = wait_for_event(&r1, "notify-failed");
    assert_eq!(failed["reason"], "exit status: 127");
    let output = failed["output"].as_str().unwrap();
    assert!(
        output.contains("/nonexistent/command: not found"),
        "{output}"
    );
    wait_for_state(&r1, "Active");
}

/// Starts a router whose standard error is a pipe that is full and that nobody reads.
fn start_with_full_stderr(host: &Host, options: &[&str]) -> (BackgroundProgram, io::PipeReader) {
    let (reader, mut writer) = io::pipe().unwrap();
    let fill = writer.try_clone().unwrap();
    nix::fcntl::fcntl(
        &fill,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )
    .unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    nix::fcntl::fcntl(
        &fill,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()),
    )
    .unwrap();
    let mut command = host.namespace().command(example("vrrp_router").unwrap());
    command.args(BASE.split(' ')).args(["--interval", "10"]);
    command.args(options).stderr(Stdio::from(writer));
    (BackgroundProgram::spawn(command), reader)
}

#[test]
fn commands_that_print_much_are_not_held_up_by_a_standard_error_that_nobody_reads() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (notify, log) = log_command(
        folder.path(),
        "head -c 300000 /dev/zero >&2; echo $1 >>$log",
    );
    let check = "web timeout 10 run sh -c 'head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2'";
    let options = ["--notify", &notify, "--track-script", check];
    let (r1, reader) = start_with_full_stderr(&host, &options);
    wait_for_state(&r1, "Active");
    assert_eq!(wait_for_lines(&log, 2)[..2], ["Backup", "Active"]);
    assert!(states(&r1, "notify-failed").is_empty());
    drop((r1, reader));
}

#[test]
fn commands_that_read_standard_input_find_it_empty() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let (notify, log) = log_command(folder.path(), "cat; echo $1 >>$log");
    let mut command = host.namespace().command(example("vrrp_router").unwrap());
    command
        .args(BASE.split(' '))
        .args(["--interval", "10", "--notify", &notify])
        .args(["--track-script", "web interval 0.1 timeout 5 run cat"]);
    // Its own standard input stays open, and nothing comes.
    let r1 = BackgroundProgram::spawn_with_input(command);
    wait_for_state(&r1, "Active");
    assert_eq!(wait_for_lines(&log, 2)[..2], ["Backup", "Active"]);
    assert!(!events(&r1).iter().any(|it| it["event"] == "check-failed"));
}

/// A command that becomes another user, whose processes a program without `CAP_KILL` cannot end.
#[test]
fn a_notify_command_that_cannot_be_killed_holds_up_the_next_one_and_not_the_end() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let notify = format!(
        "echo $1 $$ >>{}; exec setpriv --reuid 65534 --clear-groups sleep 60",
        log.display()
    );
    let mut command = host.namespace().command("setpriv");
    command.arg("--bounding-set=-kill");
    command.arg(example("vrrp_router").unwrap());
    command.args(BASE.split(' ')).args(["--interval", "10"]);
    command.args(["--notify", &notify, "--notify-timeout", "0.1"]);
    let mut r1 = BackgroundProgram::spawn(command);
    let reason = "timed out and cannot be ended (Operation not permitted (os error 1)); \
                  the next run waits for its end";
    r1.wait_for(reason, |line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["event"] == "notify-failed" && event["reason"] == reason).then_some(())
    });
    wait_for_state(&r1, "Active");
    let started = read(&log);
    assert_eq!(started.len(), 1, "one at a time");
    let asked = Instant::now();
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(7), "5 are allowed: {took:?}");
    assert_eq!(read(&log).len(), 1);
    // It is this test's to end.
    let (_, process) = started[0].split_once(' ').unwrap();
    let _ = kill(Pid::from_raw(process.parse().unwrap()), Signal::SIGKILL);
}

#[test]
fn a_check_that_fails_is_logged_with_the_last_lines_of_its_output() {
    let (_lan, [host]) = lan_of();
    let check = "web run sh -c 'seq 1000; echo no route >&2; exit 7'";
    let r1 = router(&host, &["--track-script", check]);
    let failed = wait_for_event(&r1, "check-failed");
    assert_eq!(
        (&failed["reason"], &failed["output"]),
        (&json!("exit status: 7"), &json!("999\n1000\nno route"))
    );
}

#[test]
fn a_check_that_cannot_be_killed_is_not_run_again_before_it_ends() {
    let (_lan, [host]) = lan_of();
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    // It becomes another user, whose processes a program without CAP_KILL cannot end.
    let check = format!(
        "web interval 0.05 timeout 0.1 run sh -c \
         'echo $$ >>{0}; runs=$(wc -l <{0}); \
         exec setpriv --reuid 65534 --clear-groups sleep $((6 + (runs - 1) * 3600))'",
        runs.display()
    );
    let mut command = host.namespace().command("setpriv");
    command.arg("--bounding-set=-kill");
    command.arg(example("vrrp_router").unwrap());
    command
        .args(BASE.split(' '))
        .args(["--track-script", &check]);
    let mut r1 = BackgroundProgram::spawn(command);
    let reason = "timed out and cannot be ended (Operation not permitted (os error 1)); \
                  the next run waits for its end";
    r1.wait_for(reason, |line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["event"] == "check-failed" && event["reason"] == reason).then_some(())
    });
    assert_eq!(read(&runs).len(), 1, "one at a time");
    // The next one starts after its end, and holds up the end of the program just as little.
    let process = wait_for_lines(&runs, 2)[1].clone();
    let asked = Instant::now();
    r1.signal(Signal::SIGTERM);
    assert_eq!(r1.wait().code(), Some(0));
    assert!(asked.elapsed() < BackgroundProgram::LIMIT);
    // It is this test's to end, unless it was ended before it became another user.
    let _ = kill(Pid::from_raw(process.parse().unwrap()), Signal::SIGKILL);
}
