//! Commands that are run with a time limit: a process group of their own, streams that never block,
//! and an end that is enforced step by step.
//!
//! [`run`] is for a thread that has one command to run at a time. A program with a loop of its own
//! combines a [`Process`] with an [`Escalation`].

mod escalation;
mod output;
mod process;

use std::{
    io,
    os::fd::BorrowedFd,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

pub use self::{
    escalation::{Escalation, Limits, Step},
    process::{Process, Waited},
};

/// Why a command counts as failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command could not be started.
    #[error("{0}")]
    Start(io::Error),
    /// The command ended with another status than 0, or by a signal.
    #[error("{0}")]
    Status(ExitStatus),
    /// The command did not end in time.
    #[error("timed out after {0:?}")]
    TimedOut(Duration),
    /// The command continues although it was killed, as a process may that runs as another user or
    /// waits in the kernel.
    #[error(
        "timed out and cannot be ended{}; the next run waits for its end",
        because(.0.as_ref())
    )]
    Stuck(Option<io::Error>),
}

fn because(error: Option<&io::Error>) -> String {
    error.map_or_else(String::new, |error| format!(" ({error})"))
}

/// Runs a command until it has ended, or until `stopped` is readable and the command has been ended
/// or given up.
///
/// `report` gets the result as soon as it is known, with the last lines of the output: at the time
/// limit the command has failed, although its processes may take longer to end. A command that
/// cannot be ended is reported a second time, as [`Failure::Stuck`]. A command that is cut short by
/// `stopped` has no result.
pub fn run(
    command: Command,
    limits: Limits,
    stopped: BorrowedFd<'_>,
    report: impl FnMut(Result<(), Failure>, &str),
) {
    // One that was given up because of `stopped` is killed once more.
    drop(attend(command, limits, stopped, Patience::Endless, report));
}

/// Runs a command as [`run`] does, but does not wait for the end of one that cannot be ended: it is
/// returned.
pub fn run_or_give_up(
    command: Command,
    limits: Limits,
    stopped: BorrowedFd<'_>,
    report: impl FnMut(Result<(), Failure>, &str),
) -> Option<Process> {
    attend(command, limits, stopped, Patience::UntilGivenUp, report)
}

/// How long a command is attended that cannot be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Until its end.
    Endless,
    /// Until it has been reported.
    UntilGivenUp,
}

/// Returns a command that was given up.
fn attend(
    command: Command,
    limits: Limits,
    stopped: BorrowedFd<'_>,
    patience: Patience,
    mut report: impl FnMut(Result<(), Failure>, &str),
) -> Option<Process> {
    let mut process = match Process::start(command) {
        Ok(process) => process,
        Err(error) => {
            report(Err(Failure::Start(error)), "");
            return None;
        }
    };
    let mut escalation = Escalation::new(Instant::now(), limits);
    let mut is_stopping = false;
    loop {
        let wake = (!is_stopping).then_some(stopped);
        match process.wait(escalation.poll_timeout(), wake, escalation.has_begun()) {
            Ok(Waited::Ended) => {
                let has_timed_out = escalation.has_begun();
                let result = process.finish();
                if !has_timed_out {
                    report(outcome(result), &process.output());
                }
                return None;
            }
            Ok(Waited::Woken) => {
                is_stopping = true;
                escalation.hurry(Instant::now(), Duration::ZERO);
            }
            Ok(Waited::Due) => {
                let Some(step) = escalation.handle_timeout(Instant::now()) else {
                    continue;
                };
                let refusal = process.take(step).err();
                match step {
                    Step::GiveUp if is_stopping => return Some(process),
                    _ if is_stopping => {}
                    Step::Terminate => {
                        report(Err(Failure::TimedOut(limits.run)), &process.output());
                    }
                    Step::Kill => {}
                    Step::GiveUp => {
                        report(Err(Failure::Stuck(refusal)), &process.output());
                        if patience == Patience::UntilGivenUp {
                            return Some(process);
                        }
                    }
                }
            }
            // Dropping the process kills it.
            Err(error) => {
                report(Err(Failure::Start(error)), "");
                return None;
            }
        }
    }
}

/// Returns the result of a command that has ended.
fn outcome(status: io::Result<ExitStatus>) -> Result<(), Failure> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Status(status)),
        Err(error) => Err(Failure::Start(error)),
    }
}
