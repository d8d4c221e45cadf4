//! The log, and the command that is run for each event.

use std::{io, process::Command, sync::Arc, time::Duration};

use crate::{
    balancer::Notice,
    command::Limits,
    notify::{Notifier, Order, Report},
};
use ipvs_netlink::pool::{Cause, Event, PoolChange};
use nix::sys::stat::{FileStat, fstat};
use tracing::{error, info, warn};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// The events that may wait for the command.
const WAITING: usize = 10_000;
const LIMITS: Limits = Limits {
    run: Duration::from_secs(30),
    grace: Duration::from_secs(2),
};

/// Starts the log: to the journal, with its fields, if the standard output or standard error is the
/// journal, and otherwise as text on standard output. `RUST_LOG` selects the events.
///
/// # Errors
///
/// The system's, if the journal cannot be reached.
pub fn start() -> io::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let layer = if is_one_of(&journal, [fstat(io::stdout()), fstat(io::stderr())]) {
        tracing_journald::layer()?.boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_writer(io::stdout)
            .with_ansi(false)
            .with_target(false)
            .boxed()
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .init();
    Ok(())
}

/// Whether a stream, as `JOURNAL_STREAM` names it (systemd.exec(5)), is one of these files.
/// Programs inherit the variable, so it may be set in a program whose output was redirected.
fn is_one_of<const N: usize>(stream: &str, files: [nix::Result<FileStat>; N]) -> bool {
    let numbers = stream.split_once(':');
    let numbers = numbers.map(|(device, inode)| (device.parse(), inode.parse()));
    files
        .into_iter()
        .flatten()
        .any(|file| numbers == Some((Ok(file.st_dev), Ok(file.st_ino))))
}

/// Logs a notice.
pub fn notice(notice: &Notice) {
    match notice {
        Notice::Event(event) => {
            let (service, change) = (event.service, event.change);
            let (cause, server) = (&event.cause, server(&change));
            let (check, reason) = match cause {
                Cause::Check { check, outcome } => (check.to_string(), outcome.to_string()),
                other => (String::new(), other.to_string()),
            };
            info!(%service, server, check, reason, "{service}: {change} ({cause})");
        }
        Notice::Changed(step) => info!("{step}"),
        Notice::Refused(_) | Notice::Rejected(_) => warn!("{notice}"),
        Notice::Trouble(trouble) => error!("{trouble}"),
        Notice::Compared(_) => {}
        other => info!("{other}"),
    }
}

/// The server of a change, as text.
fn server(change: &PoolChange) -> String {
    match change {
        PoolChange::ServerUp(server)
        | PoolChange::ServerDown(server)
        | PoolChange::Draining(server)
        | PoolChange::Drained(server)
        | PoolChange::Weight { server, .. }
        | PoolChange::ServerAdded(server)
        | PoolChange::ServerRemoved { server, .. }
        | PoolChange::Operator(server, _)
        | PoolChange::SorryIn(server)
        | PoolChange::SorryOut(server) => server.to_string(),
        _ => String::new(),
    }
}

/// The word for a change, as the command gets it.
fn word(change: &PoolChange) -> &'static str {
    match change {
        PoolChange::ServerUp(_) => "server-up",
        PoolChange::ServerDown(_) => "server-down",
        PoolChange::Draining(_) => "draining",
        PoolChange::Drained(_) => "drained",
        PoolChange::Weight { .. } => "weight",
        PoolChange::ServerAdded(_) => "server-added",
        PoolChange::ServerRemoved { .. } => "server-removed",
        PoolChange::Operator(..) => "operator",
        PoolChange::QuorumGained(_) => "quorum-gained",
        PoolChange::QuorumLost(_) => "quorum-lost",
        PoolChange::SorryIn(_) => "sorry-in",
        PoolChange::SorryOut(_) => "sorry-out",
        PoolChange::BrakeOn(_) => "brake-on",
        PoolChange::BrakeOff => "brake-off",
        PoolChange::PanicOn(_) => "panic-on",
        PoolChange::PanicOff => "panic-off",
        PoolChange::Suspended => "suspended",
        PoolChange::Resumed => "resumed",
        _ => "other",
    }
}

/// An event that waits, and the words of its command.
type Waiting = (Arc<[String]>, Event);

/// Runs a command for each event, one at a time and in order. Its environment has `EVENT`, a word
/// such as `server-down`, `SERVICE`, `SERVER`, `REASON`, and `TEXT`, the whole event.
#[derive(Debug)]
pub struct Notify {
    /// The program and its arguments; empty without a command.
    words: Arc<[String]>,
    notifier: Option<Notifier<Waiting>>,
}

impl Notify {
    /// Starts with a command; empty `words` are no command.
    ///
    /// # Errors
    ///
    /// The system's, if there are too few descriptors or threads.
    pub fn start(words: &[String]) -> io::Result<Self> {
        let mut notify = Self {
            words: Arc::default(),
            notifier: None,
        };
        notify.set_command(words)?;
        Ok(notify)
    }

    /// Sets the command for later events. Events in the queue keep theirs.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn set_command(&mut self, words: &[String]) -> io::Result<()> {
        if self.notifier.is_none() && !words.is_empty() {
            let notifier = Notifier::start(Order::Each(WAITING), LIMITS, command, report)?;
            self.notifier = Some(notifier);
        }
        self.words = words.into();
        Ok(())
    }

    /// Runs the command for an event, in its turn.
    pub fn push(&self, event: &Event) {
        if let Some(notifier) = self.notifier.as_ref().filter(|_| !self.words.is_empty()) {
            notifier.push((Arc::clone(&self.words), event.clone()));
        }
    }

    /// Waits for the commands in the queue, 20 seconds at most.
    pub async fn finish(&self) {
        const PATIENCE: Duration = Duration::from_secs(20);
        let Some(notifier) = &self.notifier else {
            return;
        };
        notifier.stop(PATIENCE);
        while !notifier.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn command((words, event): &Waiting) -> Command {
    // Nothing is pushed without words.
    let mut words = words.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command
        .args(words)
        .env("EVENT", word(&event.change))
        .env("SERVICE", event.service.to_string())
        .env("SERVER", server(&event.change))
        .env("REASON", event.cause.to_string())
        .env("TEXT", event.to_string());
    command
}

fn report(report: Report<'_, Waiting>) {
    match report {
        Report::Failed((_, event), failure, output) => {
            warn!("notify of {event}: {failure}: {output}");
        }
        Report::Overtaken((_, event)) | Report::LeftOut((_, event)) => {
            warn!("not notified: {event}");
        }
        Report::Finished => {}
    }
}
