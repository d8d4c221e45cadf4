//! Foreign programs in the background: their output, their end, and the certainty that they do end.

use std::{
    io::{self, BufRead, BufReader, PipeWriter},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Error, group::Group, wait_for};

/// How long a program may take to end when asked to.
const ENDING: Duration = Duration::from_secs(120);

/// Programs that share a process group and a log, and do not outlive this value, nor this process.
#[derive(Debug)]
pub(crate) struct Daemons {
    group: Group,
    log: Arc<Mutex<String>>,
    log_writer: PipeWriter,
    running: Vec<(String, Child)>,
}

impl Daemons {
    pub(crate) fn new() -> Result<Self, Error> {
        let (reader, log_writer) = io::pipe().map_err(Error::os("make a pipe"))?;
        let log = Arc::new(Mutex::new(String::new()));
        // Ends when the last writer does.
        thread::spawn({
            let log = Arc::clone(&log);
            move || {
                let mut reader = BufReader::new(reader);
                let mut line = Vec::new();
                while reader
                    .read_until(b'\n', &mut line)
                    .is_ok_and(|length| length > 0)
                {
                    let text = String::from_utf8_lossy(&line);
                    log.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_str(&text);
                    line.clear();
                }
            }
        });
        Ok(Self {
            group: Group::new()?,
            log,
            log_writer,
            running: Vec::new(),
        })
    }

    /// Starts `command`, which is in the Debian package `package`.
    pub(crate) fn start(
        &mut self,
        mut command: Command,
        package: &'static str,
    ) -> Result<(), Error> {
        let program = command.get_program().to_owned();
        let writer = || {
            self.log_writer
                .try_clone()
                .map_err(Error::os("duplicate a pipe"))
        };
        command.stdout(writer()?).stderr(writer()?);
        let child = self.group.start(&mut command, package)?;
        let name = Path::new(&program).file_name().unwrap_or(&program);
        self.running
            .push((name.to_string_lossy().into_owned(), child));
        Ok(())
    }

    /// What the programs printed so far.
    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// Waits until `ready` holds; fails at once when a program ends.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut(&str) -> bool,
    ) -> Result<(), Error> {
        let result = wait_for(what, limit, || match self.ended() {
            Some(error) => Some(Err(error)),
            None => ready(&self.log()).then_some(Ok(())),
        });
        match result {
            Ok(result) => result,
            Err(Error::Timeout { what, limit }) => Err(Error::Timeout {
                what: format!("{what}: {}", self.log()),
                limit,
            }),
            Err(error) => Err(error),
        }
    }

    /// Fails if a program printed a line with `complaint`, its message about configuration that it
    /// ignores.
    pub(crate) fn refuse(&self, complaint: &str) -> Result<(), Error> {
        let output = self.log();
        let line = output
            .lines()
            .find(|line| line.contains(complaint))
            .map(String::from);
        match (line, self.running.last()) {
            (Some(line), Some((program, _))) => Err(Error::Program {
                program: program.clone(),
                what: format!("does not like its configuration: {line}"),
                output,
            }),
            _ => Ok(()),
        }
    }

    /// The error for a program that should be running and is not.
    fn ended(&mut self) -> Option<Error> {
        self.running
            .iter_mut()
            .find_map(|(name, child)| match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some((name.clone(), status.to_string())),
                Err(error) => Some((name.clone(), error.to_string())),
            })
            .map(|(program, status)| Error::Program {
                program,
                what: format!("ended: {status}"),
                output: self.log(),
            })
    }

    /// Asks the programs to end, last started first, and waits for each.
    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        let log = Arc::clone(&self.log);
        for (name, child) in self.running.iter_mut().rev() {
            // The id still belongs to the program, because it has not been waited for. If it has
            // ended already, the signal does nothing.
            let _ = kill(pid(child), Signal::SIGTERM);
            let status = wait_for(&format!("the end of {name}"), ENDING, || {
                child.try_wait().transpose()
            })?
            .map_err(Error::os("wait for a program"))?;
            if !ended_on_request(status) {
                return Err(Error::Program {
                    program: name.clone(),
                    what: format!("ended: {status}"),
                    output: text(&log),
                });
            }
        }
        self.running.clear();
        Ok(())
    }

    /// Kills every process of the group at once and waits for their end.
    pub(crate) fn kill(&mut self) {
        self.group.kill();
        for (_, mut child) in self.running.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process ids of the programs, in the order in which they were started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|(_, child)| child.id()).collect()
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text(log: &Mutex<String>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn ended_on_request(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(libc::SIGTERM)
}

fn pid(child: &Child) -> Pid {
    // Linux process ids are below 2^22.
    Pid::from_raw(child.id().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let mut daemons = Daemons::new().unwrap();
        let error = daemons
            .start(Command::new("/nonexistent/routerd"), "router")
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/nonexistent/routerd is not installed"),
            "{text}"
        );
        assert!(text.contains("apt-get install router"), "{text}");
    }

    #[test]
    fn a_program_that_ends_early_is_an_error() {
        let mut daemons = Daemons::new().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo cannot work like this; exit 3"]);
        daemons.start(command, "dash").unwrap();
        let error = daemons
            .wait_until("the end", ENDING, |_| false)
            .unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(matches!(error, Error::Program { .. }), "{error:?}");
    }

    #[test]
    fn a_program_that_ignores_sigterm_is_killed_on_drop() {
        let mut daemons = Daemons::new().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
        daemons.start(command, "dash").unwrap();
        daemons
            .wait_until("readiness", ENDING, |log| log.contains("ready"))
            .unwrap();
        let pid = pid(&daemons.running[0].1);
        kill(pid, Signal::SIGTERM).unwrap();
        drop(daemons);
        assert!(kill(pid, None).is_err());
    }
}
