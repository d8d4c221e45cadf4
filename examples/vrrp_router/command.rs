//! A command that is run to its end, or killed with all that it has started.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How often it is asked whether the command has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Why a command counts as failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It could not be started.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It has ended with another status than 0, or by a signal.
    #[error("{0}")]
    Status(ExitStatus),
    /// It has not ended in time.
    #[error("killed after {0:?}")]
    Killed(Duration),
}

/// Runs a command in a process group of its own, which is killed when `limit` is over, or once `sleep` says that nobody waits for it any
/// more. What the command prints goes to standard error.
pub(crate) fn run(
    command: &mut Command,
    limit: Duration,
    sleep: impl FnMut(Duration) -> bool,
) -> Result<(), Failure> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .spawn()?;
    let status = wait_for(&mut child, limit, sleep);
    if let Ok(Some(status)) = status {
        return if status.success() {
            Ok(())
        } else {
            Err(Failure::Status(status))
        };
    }
    // The child leads the group and was not waited for, so that the number is still its own.
    if let Ok(group) = i32::try_from(child.id()) {
        killpg(Pid::from_raw(group), Signal::SIGKILL).map_err(io::Error::from)?;
    }
    child.wait()?;
    status?;
    Err(Failure::Killed(limit))
}

/// The status with which a child ends; `None` when it has not ended in time, or nobody waits any more.
fn wait_for(
    child: &mut Child,
    limit: Duration,
    mut sleep: impl FnMut(Duration) -> bool,
) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let status = child.try_wait()?;
        if status.is_some() || left.is_zero() || !sleep(left.min(PAUSE)) {
            return Ok(status);
        }
    }
}
