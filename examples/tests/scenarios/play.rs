//! One scenario with one program.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Condvar, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use vrrp_lab::example;

use crate::{EXPERIMENTS, Program, recording::Recording, translation, verdict};

/// How much later each step comes than in the recording, because a program of a test build starts
/// more slowly.
pub(crate) const HEAD_START: f64 = 8.0;

/// Restarts the program after a pause when it was killed, as systemd does: a scenario kills both
/// processes, one after the other. It writes the ids of both processes to the files that the
/// scenarios read. Its arguments are the folder, the name of the host, and the command.
const SUPERVISOR: &str = r#"#!/bin/sh
folder=$1 name=$2
shift 2
echo $$ >"$folder/$name.pid"
trap 'kill -TERM $child; wait $child; exit 0' TERM
trap 'kill -HUP $child' HUP
while :; do
    "$@" & child=$!
    echo $child >"$folder/$name-check.pid"
    while kill -0 $child 2>/dev/null; do wait $child; done
    sleep 0.5
done
"#;

/// A scenario of the lab.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) content: Value,
}

impl Scenario {
    pub(crate) fn read(path: &Path) -> Self {
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            content: read(path),
        }
    }
}

/// Plays a scenario, and compares it with both recordings of keepalived.
///
/// # Errors
///
/// Problems: results that are worse than in a recording, or that differ without a reason. The
/// recording stays for inspection with the lab's `show.py`.
pub(crate) fn play(lab: &Path, program: Program, scenario: &Scenario) -> Result<(), String> {
    let name = &scenario.name;
    let prepared = prepare(program, scenario.content.clone());
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let scenario = folder.path().join("scenario.json");
    fs::write(&scenario, prepared.to_string()).unwrap();
    let supervisor = folder.path().join("supervisor");
    fs::write(&supervisor, SUPERVISOR).unwrap();
    fs::set_permissions(&supervisor, fs::Permissions::from_mode(0o755)).unwrap();
    let stripped = folder.path().join(program.name());
    strip(program, &stripped);
    let daemon = format!(
        "{} {{dir}} {{name}} {}",
        supervisor.display(),
        command(program, &stripped)
    );
    let ours = folder.path().join("ours.json");
    // Unlike other processes on this machine, the guest depends on real time.
    let mut run = Command::new("nice");
    run.args(["-n", "-10", "/usr/bin/python3"])
        .arg(lab.join("run.py"))
        .arg(&scenario)
        .arg("-o")
        .arg(&ours)
        .args(["--daemon", &daemon])
        .env("LAB_JOBS", folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run_guest(&mut run, folder.path())?;
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("scenario-{}-{name}.json", program.name()));
    align(&ours, &scenario, &kept);
    let ours = Recording::read(&kept);
    let mut problems = Vec::new();
    let own = compare(lab, name, &kept, &kept)?;
    if EXPERIMENTS.contains(&name.as_str()) {
        let path = lab.join(format!("recorded/experiments-2.2.7/{name}.json"));
        problems.extend(verdict::storm(&Recording::read(&path), &ours));
    } else {
        for version in ["2.2.7", "2.4.3"] {
            let theirs = folder.path().join("theirs.json");
            let path = lab.join(format!("recorded/keepalived-{version}/{name}.json"));
            // It gets the settings of its steps in the order of ours.
            fs::write(&theirs, read(&path).to_string()).unwrap();
            let report = compare(lab, name, &theirs, &kept)?;
            let theirs = Recording::read(&theirs);
            let found = verdict::problems(program, name, version, [&report, &own], &theirs, &ours);
            problems.extend(found.into_iter().map(|it| format!("{version}: {it}")));
        }
    }
    if problems.is_empty() {
        if env::var_os("KEEP_RECORDINGS").is_none() {
            fs::remove_file(kept).unwrap();
        }
        return Ok(());
    }
    Err(format!("{}\n{}", problems.join("\n"), kept.display()))
}

/// Checks that a program which ends with another table is found: keepalived without a sorry server
/// in place of keepalived with one.
pub(crate) fn another_table_is_found(lab: &Path) {
    let [theirs, ours] = ["quorum_sorry", "quorum"]
        .map(|name| lab.join(format!("recorded/keepalived-2.4.3/{name}.json")));
    let report = compare(lab, "quorum_sorry", &theirs, &ours).unwrap();
    let own = compare(lab, "quorum_sorry", &ours, &ours).unwrap();
    let [theirs, ours] = [theirs, ours].map(|path| Recording::read(&path));
    let reports = [&report, &own];
    let program = Program::LoadBalancer;
    let found = verdict::problems(program, "quorum_sorry", "2.4.3", reports, &theirs, &ours);
    let is_found = found.iter().any(|it| it.contains("another table"));
    assert!(is_found, "{found:?}");
    let found = verdict::problems(program, "quorum", "2.4.3", [&own, &own], &ours, &ours);
    assert!(found.is_empty(), "{found:?}");
}

/// The number of guests that are being set up: at most one for each processor, because that takes
/// all of its time, and the lab gives up if it takes too long.
static STARTING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// The number of attempts to set up a guest on a busy machine.
const ATTEMPTS: usize = 3;

/// Runs a guest in which the scenario begins.
fn run_guest(run: &mut Command, folder: &Path) -> Result<(), String> {
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        match attempt(run, folder) {
            Ok(()) => return Ok(()),
            Err((text, true)) => return Err(text),
            Err((text, false)) => result = Err(text),
        }
    }
    result
}

/// Waits for a processor, runs the guest, and waits for its end. An error says whether the scenario
/// has begun.
fn attempt(run: &mut Command, folder: &Path) -> Result<(), (String, bool)> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let (starting, changed) = &STARTING;
    let is_full = |starting: &mut usize| *starting >= processors;
    *changed
        .wait_while(starting.lock().unwrap(), is_full)
        .unwrap() += 1;
    let output = fs::File::create(folder.join("output")).unwrap();
    run.stdout(output.try_clone().unwrap()).stderr(output);
    let mut guest = run.stdin(Stdio::null()).spawn().unwrap();
    // The lab writes the configuration when everything is set up, and then starts the daemon.
    let has_begun = || {
        let mut jobs = fs::read_dir(folder).unwrap();
        jobs.any(|job| job.unwrap().path().join("dir.conf").exists())
    };
    while !has_begun() && guest.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(100));
    }
    *starting.lock().unwrap() -= 1;
    changed.notify_one();
    let status = guest.wait().unwrap();
    if status.success() {
        return Ok(());
    }
    let output = fs::read_to_string(folder.join("output")).unwrap_or_default();
    Err((format!("run.py: {status}\n{output}"), has_begun()))
}

/// The scenario for a program.
fn prepare(program: Program, mut scenario: Value) -> Value {
    if program == Program::LoadBalancer {
        let steps = 0..scenario["steps"].as_array().unwrap().len();
        let first = steps.map(|step| format!("/steps/{step}/conf"));
        let first: Vec<_> = std::iter::once("/conf".to_owned()).chain(first).collect();
        translate(&mut scenario, &first);
        translate(&mut scenario, &["/second/conf".to_owned()]);
    }
    for step in scenario["steps"].as_array_mut().unwrap() {
        delay(&mut step["at"]);
    }
    delay(&mut scenario["end"]);
    scenario
}

fn delay(time: &mut Value) {
    *time = json!(time.as_f64().unwrap() + HEAD_START);
}

/// Replaces the configurations of one host, which are at these places, by configurations of the
/// load balancer.
fn translate(scenario: &mut Value, places: &[String]) {
    let lines = |conf: &Value| {
        let lines = conf.as_array().unwrap().iter();
        lines
            .map(|line| line.as_str().unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (places, texts): (Vec<_>, Vec<_>) = places
        .iter()
        .filter_map(|place| Some((place, lines(scenario.pointer(place)?))))
        .unzip();
    for (place, toml) in places.into_iter().zip(translation::translate(&texts)) {
        *scenario.pointer_mut(place).unwrap() = json!([toml]);
    }
}

/// Copies the program without its debug information: a guest reads a program page by page.
fn strip(program: Program, path: &Path) {
    let mut strip = Command::new("strip");
    let strip = strip.arg("-o").arg(path);
    let status = strip.arg(example(program.name()).unwrap()).status();
    assert!(status.unwrap().success());
}

fn command(program: Program, path: &Path) -> String {
    let path = path.display();
    match program {
        Program::LoadBalancer => format!("{path} {{conf}}"),
        Program::Keepalived => format!(
            "{path} --dont-fork --no-syslog --log-console --log-detail --use-file {{conf}} \
             --pid {{dir}}/{{name}}-daemon.pid --replace-socket {{dir}}/{{name}}.socket"
        ),
    }
}

/// Copies a recording. Steps that were due at the same time follow each other at once, and other
/// steps are kept apart, because the lab joins only the former; on a busy machine a step takes
/// long.
fn align(recording: &Path, scenario: &Path, copy: &Path) {
    const TOGETHER: f64 = 0.000_001;
    const APART: f64 = 0.31;
    // The precision of the times of a guest.
    const JITTER: f64 = 0.05;
    let (mut recorded, scenario) = (read(recording), read(scenario));
    let due = scenario["steps"].as_array().unwrap().iter();
    let mut due: Vec<f64> = due.map(|step| step["at"].as_f64().unwrap()).collect();
    due.push(scenario["end"].as_f64().unwrap());
    let time = |event: &Value| event["t"].as_f64().unwrap();
    let events = recorded["events"].as_array_mut().unwrap();
    let mut steps: Vec<_> = events
        .iter_mut()
        .filter(|it| it["kind"] == "step")
        .collect();
    // The first steps are those before the start, and the start itself.
    let first = steps.len() - due.len();
    for (place, pair) in due.windows(2).enumerate().rev() {
        let next = time(steps[first + place + 1]);
        let latest = next - if pair[0] < pair[1] { APART } else { 0.0 };
        let at = time(steps[first + place]).min(latest) - JITTER;
        steps[first + place]["t"] = json!(at);
    }
    for (place, pair) in due.windows(2).enumerate() {
        if pair[0] >= pair[1] {
            let before = time(steps[first + place]);
            steps[first + place + 1]["t"] = json!(before + TOGETHER);
        }
    }
    events.sort_by(|a, b| time(a).total_cmp(&time(b)));
    fs::write(copy, recorded.to_string()).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The report of the lab on two recordings.
fn compare(lab: &Path, name: &str, theirs: &Path, ours: &Path) -> Result<Value, String> {
    let slack = verdict::slack(name).to_string();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(lab.join("compare.py")).args([theirs, ours]);
    let output = command
        .args(["--json", "--slack", &slack])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}"))
}
