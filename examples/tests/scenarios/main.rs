//! The load balancer and the program `keepalived` in the scenarios of the lab, compared step by
//! step with recordings of keepalived.
//!
//! The lab is not part of this repository: it is in a folder beside it, or `LOAD_BALANCER_LAB`
//! names its place. For each scenario it boots user-mode Linux with a client, two directors and
//! four servers, and records each request to IPVS. A guest waits most of the time, so several run
//! at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod differences;
mod play;
mod recording;
mod translation;
mod verdict;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::play::Scenario;

/// A program that plays scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// It gets TOML with the same meaning.
    LoadBalancer,
    /// It gets the keepalived.conf of the scenario.
    Keepalived,
}

impl Program {
    const ALL: [Self; 2] = [Self::LoadBalancer, Self::Keepalived];

    /// The name of the example program.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load_balancer",
            Self::Keepalived => "keepalived",
        }
    }
}

/// The folder of the lab. In CI it must exist.
fn lab() -> Option<PathBuf> {
    let folder = match env::var_os("LOAD_BALANCER_LAB") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/load-balancer/lab"),
    };
    if folder.join("run.py").exists() {
        return Some(folder);
    }
    assert!(
        env::var_os("CI").is_none(),
        "{} has no run.py: set LOAD_BALANCER_LAB",
        folder.display()
    );
    println!("the lab of load balancers is not here; nothing is compared");
    None
}

/// Experiments of the lab with keepalived that are played too.
const EXPERIMENTS: &[&str] = &["reload_storm"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    // A guest takes ten seconds of processor time to start, and then nearly none.
    arguments.test_threads.get_or_insert(4 * processors);
    let mut trials = translation::trials();
    trials.extend(recording::trials());
    if let Some(lab) = lab() {
        let folder = lab.clone();
        trials.push(Trial::test("play::another_table_is_found", move || {
            play::another_table_is_found(&folder);
            Ok(())
        }));
        for program in Program::ALL {
            trials.extend(scenarios(&lab).into_iter().map(|scenario| {
                let lab = lab.clone();
                let name = format!("{}::{}", program.name(), scenario.name);
                let run = move || play::play(&lab, program, &scenario).map_err(Failed::from);
                Trial::test(name, run).with_ignored_flag(true)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// All scenarios, the longest first, so that no long scenario runs alone at the end.
fn scenarios(lab: &Path) -> Vec<Scenario> {
    let files = fs::read_dir(lab.join("scenarios")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let experiments = EXPERIMENTS.iter();
    let experiments = experiments.map(|it| lab.join(format!("experiments/{it}.json")));
    let mut all: Vec<_> = files
        .chain(experiments)
        .map(|it| Scenario::read(&it))
        .collect();
    let end = |scenario: &Scenario| scenario.content["end"].as_f64().unwrap();
    all.sort_by(|a, b| end(b).total_cmp(&end(a)).then_with(|| a.name.cmp(&b.name)));
    all
}
