//! Threads that look at what is tracked, again and again, and report what they have seen.

use std::{
    fmt::Display,
    fs::File,
    io::{self, PipeReader, PipeWriter, Read},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde_json::json;
use vrrp_examples::command::{self, Limits};
use vrrp_fsm::track::{ObjectId, Report};
use vrrp_net::{DriverHandle, Subject};

use crate::{log::Log, process};

/// How long a script may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

/// Something that is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    pub(crate) target: Target,
    /// From one look to the next.
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

/// A thread that looks. Dropping this ends it, and the script that it may be running.
pub(crate) struct Watcher {
    /// Closed, it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start(
        probe: Probe,
        id: ObjectId,
        subject: Subject,
        driver: DriverHandle,
        log: Log,
    ) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let mut watch = Watch {
            stopped,
            results: Results {
                id,
                subject,
                driver,
                log,
                logged: None,
            },
        };
        let thread = thread::Builder::new()
            .name("watch".into())
            .spawn(move || while watch.look(&probe) {})?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Ends the thread, without waiting for that.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread has.
struct Watch {
    /// Readable once the thread is to end.
    stopped: PipeReader,
    results: Results,
}

impl Watch {
    /// Looks once, and waits for the next time. Returns whether there is one.
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
                let stopped = self.stopped.as_fd();
                command::run(command, limits, stopped, |result, output| match result {
                    Ok(()) => self.results.passed(Report::Up),
                    Err(failure) => self.results.failed(&failure, output),
                });
            }
            Target::Processes(name) => match process::count(name) {
                Ok(count) => self.results.passed(Report::Count(count)),
                Err(error) => self.results.log_problem(&error, ""),
            },
            // A file that is just being written has no number in it.
            Target::File(path) => match number_in(path) {
                Ok(number) => self.results.passed(Report::Number(number)),
                Err(problem) => self.results.log_problem(&problem, ""),
            },
        }
        self.sleep(probe.interval.saturating_sub(started.elapsed()))
    }

    /// Sleeps so long, or until the end; returns whether to go on.
    fn sleep(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut source = [PollFd::from_borrowed_fd(
                self.stopped.as_fd(),
                PollFlags::IN,
            )];
            match poll(&mut source, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => return true,
                Err(Errno::INTR) => {}
                // At the end it hangs up.
                Ok(_) | Err(_) => return false,
            }
        }
    }
}

/// Where results go.
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

    /// Without a report the last one holds.
    fn report(&mut self, report: Report) {
        // It fails where the driver has stopped.
        let _ = self.driver.report(self.id, report);
    }

    /// Logs a problem once, until it is another one. The output, which may be different each time,
    /// does not make it another one.
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

/// More octets than a number takes, with what may stand around it.
const LONGEST: u64 = 128;

fn number_in(path: &Path) -> Result<i32, String> {
    let mut text = String::new();
    // Without waiting: what has the name may be a FIFO that nobody writes to, and then the program
    // could not end.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    file.and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    let text = text.trim();
    let number = text.parse();
    number.map_err(|_| format!("{text:?} is not a number in {}..={}", i32::MIN, i32::MAX))
}
