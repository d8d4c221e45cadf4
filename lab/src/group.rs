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
    /// It kills the group, itself included, when its standard input ends, which happens when this
    /// process ends for any reason. (PR_SET_PDEATHSIG is no alternative: it is bound to the thread
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

    /// A group led by the program of `command`, which is in the Debian package `package`. As the
    /// leader, the program cannot leave the group.
    ///
    /// If this process dies without a chance to clean up, `folder` is removed with the group.
    /// Otherwise its owner removes it.
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
                // Without a watchdog, nothing else would kill it. An error means that it has ended.
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

    /// Kills every process of the group at once and waits for the end of its watchdog.
    pub(crate) fn kill(&mut self) {
        // Until the watchdog has been waited for, no other group can have this id. Errors mean that
        // no process is left to kill or to wait for.
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

/// Stands for a group's id: the process becomes the leader of a new group.
const LEADER: Pid = Pid::from_raw(0);

/// The watchdog's command, whose arguments are folders to remove.
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
