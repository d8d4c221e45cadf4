//! Threads that probe tracked objects periodically, and report the results.

use std::{
    fmt::Display,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use vrrp_examples::{
    command::{self, Limits},
    tracked::{self, LONGEST_NAME},
    worker::{Stop, Worker},
};
use vrrp_fsm::track::{ObjectId, Report};
use vrrp_net::{DriverHandle, Subject};

use crate::log::Log;

/// The time that a script has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

/// A periodic check of a tracked object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    pub(crate) target: Target,
    /// The time from one check to the next.
    pub(crate) interval: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A command, which has passed when it ends with status 0 in time.
    Script {
        program: String,
        arguments: Vec<String>,
        timeout: Duration,
    },
    /// The processes of this name.
    Processes(String),
    /// The number in this file.
    File(PathBuf),
}

/// Starts a thread that probes. Dropping the result ends the thread, and a script that it may be
/// running.
pub(crate) fn start(
    probe: Probe,
    id: ObjectId,
    subject: Subject,
    driver: DriverHandle,
    log: Log,
) -> io::Result<Worker> {
    Worker::start("watch", move |stop| {
        let results = Results {
            id,
            subject,
            driver,
            log,
            logged: None,
        };
        let mut watch = Watch { stop, results };
        while watch.look(&probe) {}
    })
}

/// The state of the thread.
struct Watch {
    stop: Stop,
    results: Results,
}

impl Watch {
    /// Probes once, and waits for the next time. Returns whether to continue.
    fn look(&mut self, probe: &Probe) -> bool {
        let started = Instant::now();
        match &probe.target {
            Target::Script {
                program,
                arguments,
                timeout,
            } => {
                let mut command = Command::new(program);
                command.args(arguments);
                let limits = Limits {
                    run: *timeout,
                    grace: GRACE,
                };
                let stopped = self.stop.as_fd();
                command::run(command, limits, stopped, |result, output| match result {
                    Ok(()) => self.results.passed(Report::Up),
                    Err(failure) => self.results.failed(&failure, output),
                });
            }
            Target::Processes(name) => match count(name) {
                Ok(count) => self.results.passed(Report::Count(count)),
                Err(error) => self.results.log_problem(&error, ""),
            },
            // A file that is just being written has no number in it.
            Target::File(path) => match number_in(path) {
                Ok(number) => self.results.passed(Report::Number(number)),
                Err(problem) => self.results.log_problem(&problem, ""),
            },
        }
        self.stop
            .sleep(probe.interval.saturating_sub(started.elapsed()))
    }
}

/// The receivers of the results.
struct Results {
    id: ObjectId,
    subject: Subject,
    driver: DriverHandle,
    log: Log,
    /// The problem that was logged last.
    logged: Option<String>,
}

impl Results {
    fn passed(&mut self, report: Report) {
        self.logged = None;
        self.report(report);
    }

    fn failed(&mut self, failure: &dyn Display, output: &str) {
        self.report(Report::Down);
        self.log_problem(failure, output);
    }

    /// Without a report, the last one stays valid.
    fn report(&mut self, report: Report) {
        // It fails where the driver has stopped.
        let _ = self.driver.report(self.id, report);
    }

    /// Logs a problem once, until the problem changes. A different output alone does not count as a
    /// change.
    fn log_problem(&mut self, problem: &dyn Display, output: &str) {
        let problem = problem.to_string();
        if self.logged.as_ref() != Some(&problem) {
            let mut detail = json!({"reason": problem});
            if !output.is_empty() {
                detail["output"] = output.into();
            }
            self.log.write(Some(&self.subject), "check-failed", detail);
        }
        self.logged = Some(problem);
    }
}

/// The processes that run a program of this name.
fn count(name: &str) -> io::Result<u32> {
    let name = name.as_bytes();
    let name = name.get(..LONGEST_NAME).unwrap_or(name);
    let processes = tracked::processes()?;
    let count = processes.iter().filter(|it| it.name == name).count();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn number_in(path: &Path) -> Result<i32, String> {
    let text = tracked::text_of_number(path).map_err(|error| error.to_string())?;
    let text = text.trim();
    let number = text.parse();
    number.map_err(|_| format!("{text:?} is not a number in {}..={}", i32::MIN, i32::MAX))
}
