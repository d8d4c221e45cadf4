//! The command that is run at every change of state, for example to move a cloud address or a
//! route.

use std::{
    io,
    process::Command,
    sync::mpsc::Sender,
    time::{Duration, SystemTime},
};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};
use vrrp_examples::{
    command::Limits,
    notify::{Notifier, Order, Report},
};
use vrrp_fsm::State;
use vrrp_net::{RouterConfig, Subject};

use crate::{
    log::Log,
    seconds::{parse_delay, parse_limit},
    signals::Wake,
};

/// The time from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// The options for it.
#[derive(Args)]
#[command(next_help_heading = "Notification")]
pub(crate) struct NotifyArguments {
    /// A shell command to run at every change of state, one at a time.
    ///
    /// `/bin/sh -c CMD` runs it. In the environment are VRRP_STATE (Initialize, Backup or Active),
    /// VRRP_PREVIOUS_STATE, VRRP_SEQUENCE and VRRP_TIME; of a virtual router also VRRP_REASON,
    /// VRRP_INTERFACE, VRRP_VRID, VRRP_FAMILY, VRRP_PRIORITY and VRRP_ADDRESSES; of a sync group
    /// VRRP_SYNC_GROUP. The positional parameters are STATE INTERFACE VRID, of a sync group STATE
    /// NAME: `--notify '/etc/vrrp/moved "$@"'` passes them on as arguments.
    ///
    /// While a command runs, a newer change replaces the waiting ones, which are logged as
    /// `notify-overtaken`. Standard input is empty. The last lines that a command prints are part
    /// of `notify-failed` if it fails.
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    notify: Option<String>,

    /// The time limit of that command in seconds, 0.01 to 31536000. After it the command's process
    /// group gets SIGTERM, and a second later SIGKILL.
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_limit, requires = "notify")]
    notify_timeout: Duration,

    /// The time in seconds, 0 to 31536000, for the commands that run or wait when the program ends.
    /// A second SIGTERM or SIGINT ends them at once.
    #[arg(long, value_name = "S", default_value = "5", value_parser = parse_delay, requires = "notify")]
    notify_stop_timeout: Duration,
}

/// The command, with its arguments and variables besides the change of state.
pub(crate) struct Hook {
    command: String,
    timeout: Duration,
    stop_timeout: Duration,
    /// The arguments after the state.
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
            stop_timeout: self.notify_stop_timeout,
            name,
            environment,
        })
    }
}

/// A change of state, for the command.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    /// The reason for a change of a virtual router.
    pub(crate) reason: Option<String>,
    pub(crate) sequence: u64,
    pub(crate) time: SystemTime,
}

/// The thread that runs the commands of one virtual router or sync group.
pub(crate) struct Commands {
    notifier: Notifier<Change>,
    stop_timeout: Duration,
}

impl Commands {
    /// `wake` is used when all is done after [`Commands::stop`].
    pub(crate) fn start(
        hook: Hook,
        subject: Subject,
        log: Log,
        wake: Sender<Wake>,
    ) -> io::Result<Self> {
        let stop_timeout = hook.stop_timeout;
        let limits = Limits {
            run: hook.timeout,
            grace: GRACE,
        };
        let command = move |change: &Change| hook.command_for(change);
        let report = move |report: Report<'_, Change>| {
            let (event, detail) = match report {
                Report::Failed(change, failure, output) => {
                    let mut detail = about(change);
                    detail["reason"] = failure.to_string().into();
                    if !output.is_empty() {
                        detail["output"] = output.into();
                    }
                    ("notify-failed", detail)
                }
                Report::Overtaken(change) => ("notify-overtaken", about(change)),
                Report::LeftOut(change) => ("notify-left-out", about(change)),
                Report::Finished => {
                    // It fails when the program no longer waits.
                    let _ = wake.send(Wake::Finished);
                    return;
                }
            };
            log.write(Some(&subject), event, detail);
        };
        Ok(Self {
            notifier: Notifier::start(Order::Latest, limits, command, report)?,
            stop_timeout,
        })
    }

    pub(crate) fn push(&self, change: Change) {
        self.notifier.push(change);
    }

    /// Makes the running and the waiting command end within their time limit.
    pub(crate) fn stop(&self) {
        self.notifier.stop(self.stop_timeout);
    }

    /// Kills the running command, and leaves out the waiting ones.
    pub(crate) fn stop_at_once(&self) {
        self.notifier.stop(Duration::ZERO);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.notifier.is_finished()
    }
}

/// Names a change of state by its state and by the sequence number of its event.
fn about(change: &Change) -> Value {
    json!({"to": change.to.to_string(), "of": change.sequence})
}

impl Hook {
    fn command_for(&self, change: &Change) -> Command {
        let state = change.to.to_string();
        let time = humantime::format_rfc3339_micros(change.time).to_string();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &self.command, "vrrp_router"])
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
