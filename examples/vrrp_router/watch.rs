//! Threads that look at what is tracked, again and again, and report what they have seen.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, Read, Write},
    os::unix::{fs::OpenOptionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;
use vrrp_fsm::track::{ObjectId, Report};

use crate::{
    command,
    log::{Log, Subject},
    process,
};

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

/// Where reports go, and what wakes up whoever reads them.
pub(crate) struct Reports {
    pub(crate) queue: Sender<(ObjectId, Report)>,
    pub(crate) bell: UnixStream,
}

/// A thread that looks. Dropping this ends it, and the script that it may be running.
pub(crate) struct Watcher {
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start(
        probe: Probe,
        id: ObjectId,
        subject: Subject,
        reports: Reports,
        log: Log,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("watch".into())
            .spawn(move || watch(&probe, id, &subject, reports, &stopped, &log))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn watch(
    probe: &Probe,
    id: ObjectId,
    subject: &Subject,
    mut reports: Reports,
    stopped: &Receiver<Infallible>,
    log: &Log,
) {
    let mut told = None;
    loop {
        let started = Instant::now();
        let (report, problem) = probe.target.look(stopped);
        // What was cut short says nothing.
        if !sleep(stopped, Duration::ZERO) {
            return;
        }
        if problem.is_some() && problem != told {
            log.tell(Some(subject), "check-failed", json!({"reason": problem}));
        }
        told = problem;
        if let Some(report) = report {
            if reports.queue.send((id, report)).is_err() {
                return;
            }
            // Where it cannot be written, it rings already.
            let _ = reports.bell.write(&[0]);
        }
        if !sleep(stopped, probe.interval.saturating_sub(started.elapsed())) {
            return;
        }
    }
}

/// Sleeps so long, or until the end; says whether to go on.
fn sleep(stopped: &Receiver<Infallible>, pause: Duration) -> bool {
    matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
}

impl Target {
    /// What there is to report, and what is wrong. Without a report the last one holds.
    fn look(&self, stopped: &Receiver<Infallible>) -> (Option<Report>, Option<String>) {
        match self {
            Self::Script {
                program,
                arguments,
                timeout,
            } => {
                let mut command = Command::new(program);
                command.args(arguments);
                match command::run(&mut command, *timeout, |pause| sleep(stopped, pause)) {
                    Ok(()) => (Some(Report::Up), None),
                    Err(failure) => (Some(Report::Down), Some(failure.to_string())),
                }
            }
            Self::Processes(name) => match process::count(name) {
                Ok(count) => (Some(Report::Count(count)), None),
                Err(error) => (None, Some(error.to_string())),
            },
            // A file that is just being written has no number in it.
            Self::File(path) => match number_in(path) {
                Ok(number) => (Some(Report::Number(number)), None),
                Err(problem) => (None, Some(problem)),
            },
        }
    }
}

/// More octets than a number takes, with what may stand around it.
const LONGEST: u64 = 128;

fn number_in(path: &Path) -> Result<i32, String> {
    let mut text = String::new();
    // Without waiting: what has the name may be a FIFO that nobody writes to, and then the program could not end.
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
