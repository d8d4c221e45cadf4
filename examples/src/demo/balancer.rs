//! The load balancers: the program `load_balancer` itself, with a file of its own.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vrrp_lab::Namespace;

use super::{Failure, State};

/// The end of the lines about the state of the router towards the clients.
const ROUTER: &str = "on eth0 (IPv4): the state changed from ";

/// The states and the lines of a load balancer, over all its runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Record(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    states: Vec<(Instant, State)>,
    lines: Vec<(Instant, String)>,
}

impl Record {
    fn edit<T>(&self, edit: impl FnOnce(&mut Inner) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, state: State) {
        self.edit(|inner| inner.states.push((Instant::now(), state)));
    }

    fn line(&self, line: String) {
        let after = line
            .find(ROUTER)
            .and_then(|at| line.get(at + ROUTER.len()..));
        let words = after.and_then(|it| it.split_once(" to "));
        let state = words.map(|(_, to)| match to {
            to if to.starts_with("Active") => State::Active,
            to if to.starts_with("Backup") => State::Backup,
            _ => State::Down,
        });
        if let Some(state) = state {
            self.note(state);
        }
        self.edit(|inner| inner.lines.push((Instant::now(), line)));
    }

    /// The present state.
    pub(super) fn state(&self) -> State {
        self.edit(|inner| inner.states.last().map_or(State::Down, |(_, state)| *state))
    }

    /// All states.
    pub(super) fn states(&self) -> Vec<(Instant, State)> {
        self.edit(|inner| inner.states.clone())
    }

    /// Whether a line since then contains this text.
    pub(super) fn has_line(&self, since: Instant, part: &str) -> bool {
        self.edit(|inner| {
            let lines = inner.lines.iter().rev();
            lines
                .take_while(|(at, _)| *at >= since)
                .any(|(_, line)| line.contains(part))
        })
    }

    /// The last lines, for an error.
    pub(super) fn last_lines(&self) -> String {
        self.edit(|inner| {
            let start = inner.lines.len().saturating_sub(20);
            let lines = inner.lines.get(start..).unwrap_or_default();
            let lines = lines.iter().map(|(_, line)| line.as_str());
            lines.collect::<Vec<_>>().join("\n")
        })
    }
}

/// A running load balancer. Killed on drop.
#[derive(Debug)]
pub(super) struct Balancer {
    child: Child,
    record: Record,
}

impl Balancer {
    pub(super) fn start(
        program: &Path,
        namespace: &Namespace,
        file: PathBuf,
        record: &Record,
    ) -> Result<Self, Failure> {
        // It must not outlive this process, even one that is killed.
        let mut command: Command = namespace.command("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .arg(file)
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("start setpriv, of the package util-linux: {error}"))?;
        let output = child.stdout.take().ok_or("a pipe is missing")?;
        let lines = record.clone();
        let read = move || {
            let output = BufReader::new(output).lines().map_while(Result::ok);
            output.for_each(|line| lines.line(line));
        };
        thread::Builder::new().name("log".into()).spawn(read)?;
        Ok(Self {
            child,
            record: record.clone(),
        })
    }

    /// Ends it by SIGTERM, and waits until it has ended.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        // Linux process ids are below 2^22.
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.record.note(State::Down);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_that_of_the_router_towards_the_clients() {
        let record = Record::default();
        for (line, expected) in [
            (
                "INFO virtual router 51 on eth0 (IPv4): the state changed from Initialize to Backup: started",
                State::Backup,
            ),
            (
                "INFO virtual router 52 on srv (IPv4): the state changed from Initialize to Active: x",
                State::Backup,
            ),
            (
                "INFO virtual router 51 on eth0 (IPv4): the state changed from Backup to Active: x",
                State::Active,
            ),
            ("INFO add service", State::Active),
            (
                "INFO virtual router 51 on eth0 (IPv4): the state changed from Active to Initialize: x",
                State::Down,
            ),
        ] {
            record.line(line.into());
            assert_eq!(record.state(), expected, "{line}");
        }
        assert_eq!(record.states().len(), 3);
    }
}
