//! The command that is run at every change of state: how a cloud address or a route is moved.

use std::{
    io,
    process::Command,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::json;
use vrrp_fsm::State;
use vrrp_net::RouterConfig;

use crate::{
    command,
    log::{Log, Subject},
    seconds::parse_limit,
};

/// The options for it.
#[derive(Args)]
#[command(next_help_heading = "Notification")]
pub(crate) struct NotifyArguments {
    /// A shell command to run at every change of state, one at a time, in order. What it prints goes to standard error.
    ///
    /// Of a virtual router it gets the arguments STATE INTERFACE VRID, and in its environment VRRP_STATE, VRRP_PREVIOUS_STATE, VRRP_REASON,
    /// VRRP_INTERFACE, VRRP_VRID, VRRP_FAMILY, VRRP_PRIORITY, VRRP_ADDRESSES, VRRP_SEQUENCE and VRRP_TIME. Of a sync group it gets STATE NAME,
    /// and VRRP_STATE, VRRP_PREVIOUS_STATE, VRRP_SYNC_GROUP, VRRP_SEQUENCE and VRRP_TIME. STATE is Initialize, Backup or Active.
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    notify: Option<String>,

    /// Kill that command, with all processes of its group, after this many seconds, 0.01 to 31536000.
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_limit, requires = "notify")]
    notify_timeout: Duration,
}

/// The command, and what it is told besides the change of state.
pub(crate) struct Hook {
    command: String,
    timeout: Duration,
    /// The arguments behind the state.
    name: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl NotifyArguments {
    /// The command of a virtual router.
    pub(crate) fn of_router(self, config: &RouterConfig) -> Option<Hook> {
        let (interface, vrid) = (config.interface.clone(), config.fsm.vrid.to_string());
        let addresses: Vec<String> = config.addresses.iter().map(ToString::to_string).collect();
        let environment = vec![
            ("VRRP_INTERFACE", interface.clone()),
            ("VRRP_VRID", vrid.clone()),
            ("VRRP_FAMILY", config.fsm.family.to_string()),
            ("VRRP_PRIORITY", config.fsm.priority.to_string()),
            ("VRRP_ADDRESSES", addresses.join(" ")),
        ];
        self.hook(vec![interface, vrid], environment)
    }

    /// The command of a sync group.
    pub(crate) fn of_sync_group(self, name: &str) -> Option<Hook> {
        self.hook(vec![name.into()], vec![("VRRP_SYNC_GROUP", name.into())])
    }

    fn hook(self, name: Vec<String>, environment: Vec<(&'static str, String)>) -> Option<Hook> {
        Some(Hook {
            command: self.notify?,
            timeout: self.notify_timeout,
            name,
            environment,
        })
    }
}

/// A change of state, for the command.
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    /// Why, of a virtual router.
    pub(crate) reason: Option<String>,
    pub(crate) sequence: u64,
    pub(crate) time: SystemTime,
}

/// A thread that runs the command for one change of state after the other, so that nothing else waits for it. Dropping this waits until it was
/// run for all.
pub(crate) struct Notifier {
    changes: Option<Sender<Change>>,
    thread: Option<JoinHandle<()>>,
}

impl Notifier {
    pub(crate) fn start(hook: Hook, subject: Subject, log: Log) -> io::Result<Self> {
        let (changes, queue) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("notify".into())
            .spawn(move || hook.run_for_each(&queue, &subject, &log))?;
        Ok(Self {
            changes: Some(changes),
            thread: Some(thread),
        })
    }

    pub(crate) fn notify(&self, change: Change) {
        if let Some(changes) = &self.changes {
            // It fails only when the thread is gone, and with it everything that could be done.
            let _ = changes.send(change);
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.changes = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Hook {
    fn run_for_each(&self, queue: &Receiver<Change>, subject: &Subject, log: &Log) {
        let sleep = |pause| {
            thread::sleep(pause);
            true
        };
        for change in queue {
            if let Err(failure) = command::run(&mut self.command_for(&change), self.timeout, sleep)
            {
                let detail = json!({"to": change.to.to_string(), "reason": failure.to_string()});
                log.tell(Some(subject), "notify-failed", detail);
            }
        }
    }

    fn command_for(&self, change: &Change) -> Command {
        let state = change.to.to_string();
        let time = humantime::format_rfc3339_micros(change.time).to_string();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("{} \"$@\"", self.command), "vrrp_router"])
            .arg(&state)
            .args(&self.name)
            .env("VRRP_STATE", &state)
            .env("VRRP_PREVIOUS_STATE", change.from.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("VRRP_SEQUENCE", change.sequence.to_string())
            .env("VRRP_TIME", time);
        if let Some(reason) = &change.reason {
            command.env("VRRP_REASON", reason);
        }
        command
    }
}
