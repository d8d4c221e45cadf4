//! The reports of a suite when tests fail, hang, or end their guest.
//!
//! This program is both: the tests on the host, and, in its own role, the suite with everything
//! that can go wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test"
)]

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Trial};
use vrrp_lab::{Kernel, Suite, guest_tests, wait_for};

/// The variable that selects the suite of this program.
const ROLE: &str = "VRRP_LAB_TEST_ROLE";

fn main() -> ExitCode {
    if let Ok(role) = env::var(ROLE) {
        return suite(&role);
    }
    let tests: [(&str, fn()); 7] = [
        ("failing_test", a_failing_test_comes_with_its_output),
        ("hanging_test", a_hanging_test_ends_and_the_next_one_runs),
        ("dead_kernel", tests_without_outcome_fail_with_the_kernel),
        ("dead_program", tests_without_outcome_fail_with_the_program),
        ("missing_kernel", tests_fail_where_there_is_no_kernel),
        ("selection", only_selected_tests_run),
        ("killed_suite", nothing_is_left_of_a_suite_that_is_killed),
    ];
    let trial = |(name, run): (&str, fn())| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.map(trial).into()).exit_code()
}

fn suite(role: &str) -> ExitCode {
    let tests = match role {
        "tests" => {
            let mut tests = Vec::from(guest_tests![passes, fails]);
            tests.extend(guest_tests![hangs].map(|test| test.within(Duration::from_secs(2))));
            tests.extend(guest_tests![passes_later]);
            tests.extend(guest_tests![one_kernel].map(|test| test.on(&[Kernel::Debian6_12])));
            tests
        }
        // With the usual limit: it outlasts the test that starts it.
        "hanging" => guest_tests![hangs].into(),
        "kernel" => guest_tests![passes, panics_the_kernel, passes_later].into(),
        "program" => guest_tests![passes, exits, passes_later].into(),
        other => panic!("unknown role {other}"),
    };
    Suite {
        environment: vec![(ROLE.into(), role.into())],
        ..Suite::new(Kernel::ALL, &tests)
    }
    .run()
}

fn passes() {
    println!("not to be heard");
}

fn fails() {
    print!("the answer is ");
    assert_eq!(6 * 9, 42, "wrong question");
}

fn hangs() {
    println!("waiting");
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn passes_later() {}

fn one_kernel() {}

fn panics_the_kernel() {
    println!("farewell");
    fs::write("/proc/sysrq-trigger", "c").unwrap();
}

fn exits() {
    println!("leaving");
    std::process::exit(5);
}

/// This program as the suite `role`, with arguments for the test harness.
fn command(role: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(arguments)
        .env(ROLE, role)
        .env("RUST_BACKTRACE", "0");
    command
}

/// Returns the output of the suite `role`, and whether it passes.
fn run(role: &str, arguments: &[&str]) -> (String, bool) {
    let output = command(role, arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.success())
}

/// Fails if the harness did not report `outcome` for the test `name`.
#[track_caller]
fn assert_outcome(output: &str, name: &str, outcome: &str) {
    let prefix = format!("test {name} ");
    let line = output.lines().find(|line| line.starts_with(&prefix));
    assert!(
        line.is_some_and(|line| line.ends_with(outcome)),
        "{name}: {line:?} in {output}"
    );
}

fn a_failing_test_comes_with_its_output() {
    let (output, passed) = run("tests", &["::fails"]);
    assert!(!passed, "{output}");
    for kernel in Kernel::ALL {
        assert_outcome(&output, &format!("{kernel}::fails"), "FAILED");
    }
    let count = |text: &str| output.matches(text).count();
    // The message of a panic begins on the line that the test left open.
    assert_eq!(count("the answer is"), 3, "{output}");
    assert_eq!(count("wrong question"), 3, "{output}");
    assert_eq!(count("left: 54"), 3, "{output}");
    assert_eq!(count(file!()), 3, "{output}");
    assert_eq!(count("not to be heard"), 0, "{output}");
}

fn a_hanging_test_ends_and_the_next_one_runs() {
    let (output, passed) = run("tests", &["uml_6_1::"]);
    assert!(!passed, "{output}");
    for (name, outcome) in [
        ("uml_6_1::passes", "ok"),
        ("uml_6_1::fails", "FAILED"),
        ("uml_6_1::hangs", "FAILED"),
        ("uml_6_1::passes_later", "ok"),
    ] {
        assert_outcome(&output, name, outcome);
    }
    let expected = "waiting\nthe test did not end within 2s\n";
    assert!(output.contains(expected), "{output}");
}

fn tests_without_outcome_fail_with_the_kernel() {
    let (output, passed) = run("kernel", &["debian_6_1::"]);
    assert!(!passed, "{output}");
    assert_outcome(&output, "debian_6_1::passes", "ok");
    assert_outcome(&output, "debian_6_1::panics_the_kernel", "FAILED");
    assert_outcome(&output, "debian_6_1::passes_later", "FAILED");
    assert!(output.contains("farewell"), "{output}");
    // The reason is given for the test that ended the kernel and for the test that did not run.
    let reason = "the kernel debian_6_1 ended before its program did";
    assert_eq!(output.matches(reason).count(), 2, "{output}");
    assert!(output.contains("sysrq triggered crash"), "{output}");
}

fn tests_without_outcome_fail_with_the_program() {
    let (output, passed) = run("program", &["uml_6_1::"]);
    assert!(!passed, "{output}");
    assert_outcome(&output, "uml_6_1::passes", "ok");
    assert_outcome(&output, "uml_6_1::exits", "FAILED");
    assert_outcome(&output, "uml_6_1::passes_later", "FAILED");
    assert!(output.contains("leaving"), "{output}");
    let reason = "the guest's program ended with status 5 before this test did";
    assert_eq!(output.matches(reason).count(), 2, "{output}");
}

fn tests_fail_where_there_is_no_kernel() {
    let fails = |variable: &str, value: &str| {
        let output = command("tests", &["debian_6_12::one_kernel"])
            .env(variable, value)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let output = fails("DEBIAN_KERNELS", "/nonexistent");
    assert!(output.contains("/nonexistent/6.12"), "{output}");
    let output = fails("PATH", "/nonexistent");
    assert!(
        output.contains("is not installed; on Debian: apt-get install "),
        "{output}"
    );
}

fn only_selected_tests_run() {
    let (output, passed) = run("tests", &["--list"]);
    assert!(passed, "{output}");
    assert_eq!(output.lines().count(), 3 * 4 + 1, "{output}");
    assert!(output.contains("debian_6_12::one_kernel"), "{output}");

    // With --nocapture, the output shows the guest at work.
    let (output, passed) = run("tests", &["--nocapture", "uml_6_1::passes"]);
    assert!(passed, "{output}");
    assert_outcome(&output, "uml_6_1::passes", "ok");
    assert_outcome(&output, "uml_6_1::passes_later", "ok");
    assert!(output.contains("uml_6_1: not to be heard"), "{output}");
    assert!(!output.contains("fails"), "{output}");
    assert!(!output.contains("debian"), "{output}");
}

fn nothing_is_left_of_a_suite_that_is_killed() {
    for kernel in ["uml_6_1", "debian_6_1"] {
        let folder = tempfile::tempdir().unwrap();
        let filter = format!("{kernel}::hangs");
        let mut suite = command("hanging", &["--nocapture", &filter])
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(suite.stdout.take().unwrap()).lines();
        let waiting = |line: io::Result<String>| line.unwrap().ends_with("waiting");
        assert!(lines.into_iter().any(waiting));
        assert!(processes_of(folder.path()) > 0);
        suite.kill().unwrap();
        suite.wait().unwrap();
        wait_for("the end of the guest", Duration::from_secs(120), || {
            let is_empty = fs::read_dir(folder.path()).unwrap().next().is_none();
            (is_empty && processes_of(folder.path()) == 0).then_some(())
        })
        .unwrap();
    }
}

/// How many processes have `folder` in their command lines.
fn processes_of(folder: &Path) -> usize {
    let folder = folder.as_os_str().as_bytes();
    fs::read_dir("/proc")
        .unwrap()
        // A process may end while it is looked at.
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .filter(|line| line.windows(folder.len()).any(|part| part == folder))
        .count()
}
