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
    /// Leads the group. It kills the group, itself included, when its standard input ends, which is when this process
    /// does, whatever the reason. (PR_SET_PDEATHSIG would not do: it is bound to the thread that spawned, and forgotten
    /// when a program changes its user.)
    watchdog: Child,
}

impl Group {
    /// If this process dies without a chance to clean up, `folder` goes with the group. Otherwise it is its owner's to
    /// remove.
    pub(crate) fn new(folder: Option<&Path>) -> Result<Self, Error> {
        // SIGTERM is for the others: a user-mode kernel that panics sends it to its whole group.
        let script = "trap '' TERM; read -r _; rm -rf \"$@\"; kill -KILL 0";
        let watchdog = Command::new("/bin/sh")
            .args(["-c", script, "watchdog"])
            .args(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::os("start /bin/sh"))?;
        Ok(Self { watchdog })
    }

    /// Starts `command`, which is in the Debian package `package`, in this group and without input.
    pub(crate) fn start(
        &self,
        command: &mut Command,
        package: &'static str,
    ) -> Result<Child, Error> {
        command
            .stdin(Stdio::null())
            .process_group(self.id().as_raw())
            .spawn()
            .map_err(|source| Error::starting(command.get_program(), package, source))
    }

    /// Kills every process of the group at one blow and waits for the end of its leader.
    pub(crate) fn kill(&mut self) {
        // Until the watchdog has been waited for, nobody else can have its group's id. Errors mean that there is nobody
        // left to kill or to wait for.
        if matches!(self.watchdog.try_wait(), Ok(None)) {
            let _ = killpg(self.id(), Signal::SIGKILL);
            let _ = self.watchdog.wait();
        }
    }

    fn id(&self) -> Pid {
        // Linux process ids are below 2^22.
        Pid::from_raw(self.watchdog.id().cast_signed())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
