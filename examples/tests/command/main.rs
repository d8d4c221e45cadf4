//! Commands of the library: their streams, their time limits, their end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use vrrp_examples::command::{self, Limits, Process};
use vrrp_lab::wait_for;

const LIMIT: Duration = Duration::from_secs(120);

const LONG: Limits = Limits {
    run: LIMIT,
    grace: LIMIT,
};

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// A reader that becomes readable once the writer is dropped.
fn stop() -> (PipeReader, PipeWriter) {
    io::pipe().unwrap()
}

/// Runs a script, and returns its results with their outputs.
fn run(script: &str, limits: Limits) -> Vec<(Result<(), String>, String)> {
    let (stopped, _stop) = stop();
    let mut results = Vec::new();
    command::run(sh(script), limits, stopped.as_fd(), |result, output| {
        results.push((result.map_err(|it| it.to_string()), output.to_owned()));
    });
    results
}

/// Waits for a file, and returns its content.
fn wait_for_text(path: &Path) -> String {
    wait_for("the file", LIMIT, || {
        fs::read_to_string(path)
            .ok()
            .filter(|text| text.ends_with('\n'))
    })
    .unwrap()
}

#[test]
fn a_command_ends_with_its_status_and_last_lines() {
    assert_eq!(run("echo fine", LONG), [(Ok(()), "fine".into())]);
    assert_eq!(
        run("echo out; echo err >&2; exit 3", LONG),
        [(Err("exit status: 3".into()), "out\nerr".into())]
    );
    assert_eq!(
        run("kill -9 $$", LONG),
        [(Err("signal: 9 (SIGKILL)".into()), String::new())]
    );
}

#[test]
fn standard_input_is_empty() {
    assert_eq!(run("cat; echo end", LONG), [(Ok(()), "end".into())]);
}

#[test]
fn an_output_longer_than_any_pipe_does_not_block_the_command() {
    let script = "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; echo end";
    assert_eq!(run(script, LONG), [(Ok(()), "end".into())]);
}

#[test]
fn a_command_may_clean_up_after_sigterm_and_has_failed_before_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cleaned");
    let script = format!(
        "trap 'sleep 0.3; echo done >{}; exit 0' TERM; echo begun; while :; do sleep 0.05; done",
        file.display()
    );
    let (stopped, _stop) = stop();
    let limits = Limits {
        run: Duration::from_millis(300),
        grace: LIMIT,
    };
    let mut results = Vec::new();
    command::run(sh(&script), limits, stopped.as_fd(), |result, output| {
        let reason = result.unwrap_err().to_string();
        results.push((reason, output.to_owned(), file.exists()));
    });
    let reason = "timed out after 300ms";
    assert_eq!(results, [(reason.into(), "begun".into(), false)]);
    assert_eq!(wait_for_text(&file), "done\n");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("child");
    let script = format!(
        "trap '' TERM; sleep 60 & echo $! >{}; wait; sleep 60",
        file.display()
    );
    let limits = Limits {
        run: Duration::from_millis(200),
        grace: Duration::from_millis(200),
    };
    let started = Instant::now();
    let results = run(&script, limits);
    assert_eq!(
        results,
        [(Err("timed out after 200ms".into()), String::new())]
    );
    assert!(started.elapsed() >= limits.run + limits.grace);
    let child = wait_for_text(&file);
    wait_for("the end of the child", LIMIT, || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    })
    .unwrap();
}

#[test]
fn a_command_that_is_cut_short_has_no_result() {
    let (stopped, stop) = stop();
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            command::run(sh("sleep 60"), LONG, stopped.as_fd(), |result, _| {
                panic!("{result:?}");
            });
        });
        drop(stop);
    });
    assert!(started.elapsed() < LIMIT);
}

#[test]
fn children_that_outlive_a_command_neither_block_nor_die_when_they_print() {
    let folder = tempfile::tempdir().unwrap();
    let (go, file) = (folder.path().join("go"), folder.path().join("status"));
    let script = format!(
        "(while ! [ -e {} ]; do sleep 0.02; done; head -c 1000000 /dev/zero; echo $? >{}) &",
        go.display(),
        file.display()
    );
    assert_eq!(run(&script, LONG), [(Ok(()), String::new())]);
    fs::write(&go, "").unwrap();
    // Its writes fail once the pipe is full; 141 would be SIGPIPE.
    assert_eq!(wait_for_text(&file), "1\n");
}

#[test]
fn the_wait_for_a_command_does_not_poll() {
    let switches = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u32>().unwrap()
    };
    let mut process = Process::start(sh("exec sleep 0.5")).unwrap();
    let before = switches();
    process.wait(None, None, false).unwrap();
    let after = switches();
    assert!(process.finish().unwrap().success());
    assert!(after - before < 10, "{}", after - before);
}

#[test]
fn a_program_that_does_not_exist_is_a_failure_to_start() {
    let (stopped, _stop) = stop();
    let mut reason = String::new();
    let command = Command::new("/nonexistent/check");
    command::run(command, LONG, stopped.as_fd(), |result, _| {
        reason = result.unwrap_err().to_string();
    });
    assert_eq!(reason, "No such file or directory (os error 2)");
}
