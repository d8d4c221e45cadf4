//! Example programs in the background, for tests: a failure here fails the test.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the caller is a test, which should end where something is broken"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{Namespace, example, wait_for};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A program that a test runs in the background, with the lines that it has printed. Killed on
/// drop.
#[derive(Debug)]
pub struct BackgroundProgram {
    child: Child,
    /// Open until the program ends.
    input: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
    /// The thread that reads the lines.
    reader: JoinHandle<()>,
}

impl BackgroundProgram {
    /// How long each wait lasts at most. A test that reaches it has found a fault.
    pub const LIMIT: Duration = Duration::from_secs(120);

    /// Starts the example program `name` in a namespace.
    ///
    /// # Panics
    ///
    /// If the program has not been built or does not start.
    #[must_use]
    pub fn start(namespace: &Namespace, name: &str, arguments: &[&str]) -> Self {
        let mut command = namespace.command(example(name).unwrap());
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a command, with an empty standard input.
    ///
    /// # Panics
    ///
    /// If the program does not start.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::follow(command)
    }

    /// Starts a command whose standard input stays open, for [`write_line`](Self::write_line).
    ///
    /// # Panics
    ///
    /// If the program does not start.
    #[must_use]
    pub fn spawn_with_input(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Self::follow(command)
    }

    fn follow(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in stdout.lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            }
        });
        Self {
            child,
            input,
            lines,
            reader,
        }
    }

    /// Writes a line to the standard input.
    ///
    /// # Panics
    ///
    /// If the program was not started with [`spawn_with_input`](Self::spawn_with_input), or has
    /// closed its standard input.
    pub fn write_line(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    /// Returns the lines that it has printed so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    /// Waits for a line, including earlier ones, for which `pick` returns a value, and returns that
    /// value.
    ///
    /// # Panics
    ///
    /// If no such line is printed within [`BackgroundProgram::LIMIT`].
    pub fn wait_for<T>(&self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        wait_for(what, Self::LIMIT, || {
            self.lines().iter().find_map(|line| pick(line))
        })
        .unwrap_or_else(|error| panic!("{error}; there was {:#?}", self.lines()))
    }

    /// Returns its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// If the program has been waited for.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Waits for its end and returns its exit status. All of its lines have been read then, unless
    /// another process has its output, too.
    ///
    /// # Panics
    ///
    /// If it does not end within [`BackgroundProgram::LIMIT`].
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the end of the program", Self::LIMIT, || {
            self.child.try_wait().unwrap()
        })
        .unwrap_or_else(|error| panic!("{error}; its threads: {:#?}", self.threads()));
        let is_read = || self.reader.is_finished().then_some(());
        let _ = wait_for("the last lines", Duration::from_secs(2), is_read);
        status
    }

    /// Its threads, each with its name, its state, and the kernel function in which it waits.
    fn threads(&self) -> Vec<String> {
        let folder = format!("/proc/{}/task", self.child.id());
        let tasks = fs::read_dir(folder).into_iter().flatten().flatten();
        tasks
            .map(|task| {
                let read = |name: &str| fs::read_to_string(task.path().join(name));
                let text = |name: &str| read(name).unwrap_or_default().trim().to_owned();
                let state = text("stat");
                let state = state.rsplit(')').next().and_then(|it| it.chars().nth(1));
                format!(
                    "{} {} in {} (system call {})",
                    text("comm"),
                    state.unwrap_or('?'),
                    text("wchan"),
                    text("syscall"),
                )
            })
            .collect()
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Panics
    ///
    /// If it has been waited for.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for BackgroundProgram {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
