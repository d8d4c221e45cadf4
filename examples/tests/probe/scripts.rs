//! Scripts as probes.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    DestinationKey, ServiceKey,
    pool::{FailureKind, Outcome, WeightReport},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vrrp_examples::probe::{Place, Probe, Script, User, probe};

use super::{LIMIT, assert_local, at, attempt, block_on, kind};

fn shell(script: &str) -> Script {
    Script::new(["/bin/sh", "-c", script].map(String::from).to_vec())
}

fn run(script: Script) -> Outcome {
    attempt(&Probe::Script(Box::new(script)), target(), LIMIT)
}

fn target() -> SocketAddr {
    at("10.0.0.1:8080")
}

#[test]
fn the_exit_status_of_a_script_is_its_result() {
    assert_eq!(
        run(shell("echo 17 users")),
        Outcome::Success("17 users".into())
    );
    let outcome = run(shell("echo no space left; exit 3"));
    assert_eq!(kind(&outcome), FailureKind::Command);
    assert!(
        outcome
            .to_string()
            .contains("exit status: 3: no space left"),
        "{outcome}"
    );
    let outcome = run(shell("kill -9 $$"));
    assert_eq!(kind(&outcome), FailureKind::Command);
    let missing = Script::new(vec!["/nowhere/check".into()]);
    assert_local(&run(missing), "start the command: ");
}

#[test]
fn a_script_that_weighs_sets_the_weight_by_its_exit_status() {
    let weighing = |status: u8| {
        let mut script = shell(&format!("exit {status}"));
        script.weighs = true;
        run(script)
    };
    assert_eq!(weighing(0), Outcome::SUCCESS);
    assert_eq!(kind(&weighing(1)), FailureKind::Command);
    for (status, weight) in [(2, 0), (52, 50), (255, 253)] {
        let expected = Outcome::Weight(WeightReport::Set(weight), "".into());
        assert_eq!(weighing(status), expected);
    }
}

#[test]
fn a_script_gets_service_server_address_and_port_in_its_environment() {
    let mut script =
        shell("echo $CHECK_SERVICE, $CHECK_SERVER, $CHECK_ADDRESS, $CHECK_PORT, $MORE");
    script.environment.insert("MORE".into(), "less".into());
    script.place = Some(Place {
        service: ServiceKey::tcp(([192, 0, 2, 1], 80)),
        server: DestinationKey::new(([10, 0, 0, 1], 80)),
    });
    let expected = "tcp 192.0.2.1:80, 10.0.0.1:80, 10.0.0.1, 8080, less";
    assert_eq!(run(script), Outcome::Success(expected.into()));
}

#[test]
#[ignore = "needs root"]
fn a_script_runs_as_its_user() {
    let mut script = shell("id -un; id -gn; id -G");
    script.user = Some(User::look_up("nobody:daemon").unwrap());
    let Outcome::Success(last) = run(script) else {
        panic!("a failure");
    };
    // The last line has the groups: only that of the user.
    assert_eq!(last, "1");
}

/// Waits until these processes are gone.
#[track_caller]
fn assert_all_gone(processes: &[String]) {
    let end = Instant::now() + LIMIT;
    for pid in processes {
        while Path::new(&format!("/proc/{pid}")).exists() {
            assert!(Instant::now() < end, "process {pid} goes on");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Runs a script as a probe with this limit, and waits for `patience` at most. The script writes
/// the ids of its processes to a file. Returns the ids, and the outcome if it came in time.
fn run_for(script: &str, limit: Duration, patience: Duration) -> (Vec<String>, Option<Outcome>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("processes");
    let file_name = file.display();
    let script =
        format!("{script}\necho $$ $! > {file_name}.new\nmv {file_name}.new {file_name}\nwait");
    let script = shell(&script);
    let script = Probe::Script(Box::new(script));
    let outcome = block_on(async {
        let attempt = probe(&script, target(), Instant::now() + limit);
        tokio::time::timeout(patience, attempt).await.ok()
    });
    let numbers = fs::read_to_string(file).unwrap();
    (
        numbers.split_whitespace().map(String::from).collect(),
        outcome,
    )
}

#[test]
fn a_script_that_takes_too_long_fails_and_ends_with_its_whole_group() {
    let limit = Duration::from_secs(1);
    let (processes, outcome) = run_for("sleep 1000 &", limit, LIMIT);
    assert_eq!(kind(&outcome.unwrap()), FailureKind::TimeLimit);
    assert_eq!(processes.len(), 2);
    assert_all_gone(&processes);
}

#[test]
fn a_script_that_ignores_sigterm_is_killed() {
    let limit = Duration::from_secs(1);
    let (processes, outcome) = run_for("trap '' TERM\nsleep 1000 &", limit, LIMIT);
    assert_eq!(kind(&outcome.unwrap()), FailureKind::TimeLimit);
    assert_all_gone(&processes);
}

#[test]
fn a_script_that_is_given_up_ends() {
    let (processes, outcome) = run_for("sleep 1000 &", LIMIT, Duration::from_secs(2));
    assert_eq!(outcome, None);
    assert_all_gone(&processes);
}

#[test]
fn a_script_that_cannot_be_ended_is_not_started_again_until_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let lines = |name: &str| {
        let text = fs::read_to_string(file(name)).unwrap_or_default();
        text.lines().map(String::from).collect::<Vec<_>>()
    };
    // A process in a session of its own keeps the output.
    let script = shell(&format!(
        "cd {}; echo start >>starts; if [ -e fine ]; then exit 0; fi
        setsid sleep 1000 & echo $! >>processes; wait",
        folder.path().display()
    ));
    let script = Probe::Script(Box::new(script));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let attempt = |limit| runtime.block_on(probe(&script, target(), Instant::now() + limit));
    let is_refused = |outcome: &Outcome| outcome.to_string().contains("cannot be ended");
    let end = Instant::now() + LIMIT;
    let mut outcome = attempt(Duration::from_secs(1));
    while !is_refused(&outcome) && Instant::now() < end {
        outcome = attempt(Duration::from_secs(1));
    }
    // Those that were started before are given up as well.
    let before = lines("starts").len();
    let more = [(); 5].map(|()| attempt(Duration::from_secs(1)));
    let starts = lines("starts").len();
    fs::write(file("fine"), "").unwrap();
    for pid in lines("processes") {
        let pid = Pid::from_raw(pid.parse().unwrap());
        // One may have been killed before it was in its own session.
        let _ = kill(pid, Signal::SIGKILL);
    }
    let end = Instant::now() + LIMIT;
    let mut last = attempt(LIMIT);
    while last != Outcome::SUCCESS && Instant::now() < end {
        last = attempt(LIMIT);
    }
    // A thread that waits for a command must not hold up the test.
    runtime.shutdown_background();
    assert_eq!(kind(&outcome), FailureKind::TimeLimit);
    assert!(is_refused(&outcome), "{outcome}");
    assert!(more.iter().all(is_refused), "{more:?}");
    assert_eq!(starts, before);
    assert_eq!(last, Outcome::SUCCESS);
}
