//! The command that is run at every change of state: how a cloud address or a route is moved.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use vrrp_fsm::Transition;
use vrrp_net::{Notification, VirtualAddress};
use vrrp_proto::{Family, Priority, Vrid};

use crate::events::Log;

/// The command, and what it is told besides the change of state.
pub(crate) struct Hook {
    pub(crate) command: String,
    pub(crate) timeout: Duration,
    pub(crate) interface: String,
    pub(crate) vrid: Vrid,
    pub(crate) family: Family,
    pub(crate) priority: Priority,
    pub(crate) addresses: Vec<VirtualAddress>,
}

/// A thread that runs the command for one change of state after the other, so that the router never waits for it. Dropping this waits
/// until it was run for all.
pub(crate) struct Notifier {
    changes: Option<Sender<Change>>,
    thread: Option<JoinHandle<()>>,
}

/// A change of state, for the command.
struct Change {
    transition: Transition,
    sequence: u64,
    time: SystemTime,
}

impl Notifier {
    pub(crate) fn start(hook: Hook, log: Log) -> io::Result<Self> {
        let (changes, queue) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("notify".into())
            .spawn(move || run_for_each(&hook, &queue, &log))?;
        Ok(Self {
            changes: Some(changes),
            thread: Some(thread),
        })
    }

    pub(crate) fn notify(&self, transition: Transition, notification: &Notification) {
        if let Some(changes) = &self.changes {
            // It fails only when the thread is gone, and with it everything that could be done.
            let _ = changes.send(Change {
                transition,
                sequence: notification.sequence,
                time: notification.time,
            });
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.changes = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run_for_each(hook: &Hook, queue: &Receiver<Change>, log: &Log) {
    for change in queue {
        let failure = match hook.run(&change) {
            Ok(Some(status)) if status.success() => continue,
            Ok(Some(status)) => status.to_string(),
            Ok(None) => format!("killed after {:?}", hook.timeout),
            Err(error) => error.to_string(),
        };
        log.notify_failed(change.transition, &failure);
    }
}

impl Hook {
    /// Runs the command to its end, or kills it and returns `None`.
    fn run(&self, change: &Change) -> io::Result<Option<ExitStatus>> {
        let mut child = self.command_for(change).spawn()?;
        let group = i32::try_from(child.id()).map(Pid::from_raw);
        let status = wait_for(&mut child, self.timeout);
        if matches!(status, Ok(Some(_))) {
            return status;
        }
        // The child leads the group and was not waited for, so that the number is still its own.
        if let Ok(group) = group {
            killpg(group, Signal::SIGKILL)?;
        }
        child.wait()?;
        status
    }

    fn command_for(&self, change: &Change) -> Command {
        let Change {
            transition,
            sequence,
            time,
        } = change;
        let state = transition.to.to_string();
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("{} \"$@\"", self.command), "vrrp_router"])
            .args([&state, &self.interface, &self.vrid.to_string()])
            .env("VRRP_STATE", &state)
            .env("VRRP_PREVIOUS_STATE", transition.from.to_string())
            .env("VRRP_REASON", transition.reason.to_string())
            .env("VRRP_INTERFACE", &self.interface)
            .env("VRRP_VRID", self.vrid.to_string())
            .env("VRRP_FAMILY", self.family.to_string())
            .env("VRRP_PRIORITY", self.priority.to_string())
            .env("VRRP_ADDRESSES", addresses.join(" "))
            .env("VRRP_SEQUENCE", sequence.to_string())
            .env(
                "VRRP_TIME",
                humantime::format_rfc3339_micros(*time).to_string(),
            )
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(io::stderr());
        command
    }
}

/// The status with which a child ends; `None` when it has not ended in time.
fn wait_for(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let status = child.try_wait()?;
        if status.is_some() || left.is_zero() {
            return Ok(status);
        }
        thread::sleep(left.min(PAUSE));
    }
}
