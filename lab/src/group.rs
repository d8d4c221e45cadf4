use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::Error;

/// A process group that does not outlive this value, nor this process.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    /// It kills the group, itself included, when its standard input ends, which is when this
    /// process does, whatever the reason. (PR_SET_PDEATHSIG would not do: it is bound to the thread
    /// that spawned, and forgotten when a program changes its user.)
    watchdog: Child,
}

impl Group {
    /// A group without programs.
    pub(crate) fn new() -> Result<Self, Error> {
        let watchdog = spawn(watchdog().stdin(Stdio::piped()), LEADER, "dash")?;
        Ok(Self {
            id: id(&watchdog),
            watchdog,
        })
    }

    /// A group that the program of `command`, which is in the Debian package `package`, leads. So
    /// it cannot leave it.
    ///
    /// If this process dies without a chance to clean up, `folder` goes with the group. Otherwise
    /// it is its owner's to remove.
    pub(crate) fn led_by(
        command: &mut Command,
        package: &'static str,
        folder: &Path,
    ) -> Result<(Self, Child), Error> {
        let mut leader = spawn(command.stdin(Stdio::null()), LEADER, package)?;
        let id = id(&leader);
        let watchdog = spawn(watchdog().arg(folder).stdin(Stdio::piped()), id, "dash");
        match watchdog {
            Ok(watchdog) => Ok((Self { id, watchdog }, leader)),
            Err(error) => {
                // Nobody else would. An error means that it has ended.
                let _ = leader.kill();
                let _ = leader.wait();
                Err(error)
            }
        }
    }

    /// Starts `command`, which is in the Debian package `package`, in this group and without input.
    pub(crate) fn start(
        &self,
        command: &mut Command,
        package: &'static str,
    ) -> Result<Child, Error> {
        spawn(command.stdin(Stdio::null()), self.id, package)
    }

    /// Kills every process of the group at one blow and waits for the end of its watchdog.
    pub(crate) fn kill(&mut self) {
        // Until the watchdog has been waited for, nobody else can have its group's id. Errors mean
        // that there is nobody left to kill or to wait for.
        if matches!(self.watchdog.try_wait(), Ok(None)) {
            let _ = killpg(self.id, Signal::SIGKILL);
            let _ = self.watchdog.wait();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// In place of a group's id: the process becomes the leader of a new group.
const LEADER: Pid = Pid::from_raw(0);

/// The watchdog's command, which takes folders that it is to remove.
fn watchdog() -> Command {
    // SIGTERM is for the others: a user-mode kernel that panics sends it to its whole group.
    let script = "trap '' TERM; read -r _; rm -rf \"$@\"; kill -KILL 0";
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "watchdog"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn spawn(command: &mut Command, group: Pid, package: &'static str) -> Result<Child, Error> {
    command
        .process_group(group.as_raw())
        .spawn()
        .map_err(|source| Error::starting(command.get_program(), package, source))
}

fn id(child: &Child) -> Pid {
    // Linux process ids are below 2^22.
    Pid::from_raw(child.id().cast_signed())
}
