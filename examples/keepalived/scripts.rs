//! Threads that run notify scripts, each in its own account.

use std::{io, process::Command, sync::Arc, time::Duration};

use vrrp_examples::{
    command::Limits,
    keepalived_conf::script::Script,
    notify::{Notifier, Order, Report},
};

use crate::{log::Log, watch::command_of};

/// How long a notify script may run, and the time from SIGTERM to SIGKILL. keepalived has no limit;
/// without a limit, a script that hangs would block all later scripts of its thread.
pub(crate) const LIMITS: Limits = Limits {
    run: Duration::from_secs(300),
    grace: Duration::from_secs(2),
};

/// A thread that runs scripts, one after the other.
pub(crate) type Runner = Notifier<Arc<Script>>;

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
