//! Programs that run in a namespace of the lab.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vrrp_lab::{Namespace, wait_for};

use crate::program;

/// How long a test waits for what has to happen. Reached only where something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A program in a namespace, and what it prints. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Running {
    /// Starts an example program.
    pub(crate) fn start(namespace: &Namespace, name: &str, arguments: &[&str]) -> Self {
        let mut command = namespace.command(program::path(name));
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a command that the test has made.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in stdout.lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            }
        });
        Self { child, lines }
    }

    /// What it has printed so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    /// Waits for a line, also one that came before, and returns what `pick` makes of it.
    pub(crate) fn wait_for<T>(&self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        wait_for(what, LIMIT, || {
            self.lines().iter().find_map(|line| pick(line))
        })
        .unwrap_or_else(|error| panic!("{error}; there was {:#?}", self.lines()))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the program", LIMIT, || {
            self.child.try_wait().unwrap()
        })
        .unwrap()
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
