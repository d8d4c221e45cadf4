//! Threads that run notify scripts, each in its own account.

use std::{io, process::Command, sync::Arc, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, getegid, geteuid, pidfd_open},
};
use vrrp_examples::{
    command::Limits,
    keepalived_conf::{host::Account, script::Script},
    notify::{Notifier, Order, Report},
};

use crate::{log::Log, watch::command_of};

/// How long a notify script may run, and the time from SIGTERM to SIGKILL. keepalived has no limit;
/// without a limit, a script that hangs would block all later scripts of its thread.
pub(crate) const LIMITS: Limits = Limits {
    run: Duration::from_secs(300),
    grace: Duration::from_secs(2),
};

/// How long scripts may run, all together, when another daemon has taken over. It does not repeat
/// them.
pub(crate) const HANDED_OVER: Duration = Duration::from_secs(3600);

/// The option with which this program waits for the end of a process.
pub(crate) const AWAIT: &str = "--await-process";

/// A thread that runs scripts, one after the other.
pub(crate) type Runner = Notifier<Arc<Script>>;

/// A script that ends with a process. The scripts behind it come after those of that process.
pub(crate) fn end_of(process: u32) -> Arc<Script> {
    let own = ["/proc/self/exe", AWAIT].map(str::to_owned);
    let arguments = own.into_iter().chain([process.to_string()]).collect();
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let account = Account { uid, gid };
    Arc::new(Script { arguments, account })
}

/// Waits for the end of a process.
pub(crate) fn await_process(number: &str) -> io::Result<()> {
    let number = number.parse().ok().and_then(Pid::from_raw);
    let number = number.ok_or(io::ErrorKind::InvalidInput)?;
    let process = match pidfd_open(number, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Starts a thread that runs scripts. At most `waiting` scripts may wait.
pub(crate) fn start(waiting: usize, log: Log) -> io::Result<Runner> {
    let command =
        |script: &Arc<Script>| command_of(script).unwrap_or_else(|| Command::new("/nonexistent"));
    let report = move |report: Report<'_, Arc<Script>>| match report {
        Report::Failed(script, failure, output) => {
            let text = format!("{}: {failure} {output}", script.arguments.join(" "));
            log.warning(text.trim_end());
        }
        Report::Overtaken(script) | Report::LeftOut(script) => {
            log.warning(&format!("{}: not run", script.arguments.join(" ")));
        }
        Report::Finished => {}
    };
    Notifier::start(Order::Each(waiting), LIMITS, command, report)
}
