//! A command that runs.

use std::{
    fs::File,
    io::{self, PipeReader, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::{escalation::Step, output::Tail};

/// Bytes that are read at once.
const PORTION: usize = 16 << 10;

/// The capacity of a pipe, pipe(7).
const PIPE: usize = 64 << 10;

/// A command in a process group of its own.
///
/// Its standard input is `/dev/null`. Standard output and standard error are a pipe that is read
/// while the command runs; the last lines are kept. Processes that the command leaves behind keep
/// the pipe: when it is full their writes fail with EAGAIN, so that they neither block nor get
/// SIGPIPE.
///
/// Dropping this kills the process group, unless [`Process::finish`] has been called.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    /// Readable once the child has ended.
    ended: OwnedFd,
    has_ended: bool,
    is_reaped: bool,
    output: PipeReader,
    /// The other end of the pipe, as the child has it; given up once the child is to end.
    input: Option<File>,
    /// Whether no process has the other end any more.
    is_closed: bool,
    tail: Tail,
}

/// The reason for which a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The command has ended.
    Ended,
    /// The time has come.
    Due,
    /// The other descriptor is readable.
    Woken,
}

impl Process {
    /// Starts a command.
    ///
    /// # Errors
    ///
    /// The system's, if the command cannot be started or there are too few descriptors.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let (output, writer) = io::pipe()?;
        ioctl_fionbio(&output, true)?;
        // Opened for reading as well: a pipe whose writers are also readers never causes SIGPIPE.
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let input = File::options().read(true).write(true).open(path)?;
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input.try_clone()?)
            .spawn()?;
        // It has the child's end of the pipe, too.
        drop(command);
        let pid = Pid::from_child(&child);
        let ended = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(ended) => ended,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error.into());
            }
        };
        Ok(Self {
            child,
            pid,
            ended,
            has_ended: false,
            is_reaped: false,
            output,
            input: Some(input),
            is_closed: false,
            tail: Tail::default(),
        })
    }

    /// Waits until the command has ended, until a time, or until `wake` is readable, and reads the
    /// output of the command until then.
    ///
    /// A `whole_group` has ended when the command has, and no process has its output any more.
    ///
    /// # Errors
    ///
    /// The system's, if it has no memory for poll(2).
    pub fn wait(
        &mut self,
        until: Option<Instant>,
        wake: Option<BorrowedFd<'_>>,
        whole_group: bool,
    ) -> io::Result<Waited> {
        loop {
            if self.has_ended && (!whole_group || self.is_closed) {
                return Ok(Waited::Ended);
            }
            let readiness = self.poll(until, wake)?;
            self.has_ended |= readiness.ended;
            if readiness.output {
                self.read()?;
            }
            if readiness.wake {
                return Ok(Waited::Woken);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                let is_over = self.has_ended && (!whole_group || self.is_closed);
                return Ok(if is_over { Waited::Ended } else { Waited::Due });
            }
        }
    }

    fn poll(&self, until: Option<Instant>, wake: Option<BorrowedFd<'_>>) -> io::Result<Readiness> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut sources = vec![];
        if !self.has_ended {
            sources.push((Source::Ended, self.ended.as_fd()));
        }
        // At its end it would be ready forever.
        if !self.is_closed {
            sources.push((Source::Output, self.output.as_fd()));
        }
        sources.extend(wake.map(|wake| (Source::Wake, wake)));
        let mut polled: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, descriptor)| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN))
            .collect();
        match poll(&mut polled, left.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Readiness::default()),
            Err(error) => return Err(error.into()),
        }
        let mut readiness = Readiness::default();
        for ((source, _), polled) in sources.iter().zip(&polled) {
            let is_ready = !polled.revents().is_empty();
            match source {
                Source::Ended => readiness.ended = is_ready,
                Source::Output => readiness.output = is_ready,
                Source::Wake => readiness.wake = is_ready,
            }
        }
        Ok(readiness)
    }

    /// Reads a portion of the output. Returns how many bytes there were.
    fn read(&mut self) -> io::Result<usize> {
        let mut portion = [0; PORTION];
        match self.output.read(&mut portion) {
            Ok(0) => {
                self.is_closed = true;
                Ok(0)
            }
            Ok(length) => {
                self.tail.push(portion.get(..length).unwrap_or_default());
                Ok(length)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            },
        }
    }

    /// Takes a step towards the end of the command.
    ///
    /// # Errors
    ///
    /// The system's, if the signal cannot be sent: EPERM for processes of another user.
    pub fn take(&mut self, step: Step) -> io::Result<()> {
        // From now on it matters whether any other process has this end.
        self.input = None;
        let signal = match step {
            Step::Terminate => Signal::TERM,
            Step::Kill | Step::GiveUp => Signal::KILL,
        };
        // The number of the group is not reused, because its leader has not been waited for.
        Ok(kill_process_group(self.pid, signal)?)
    }

    /// Whether a command that had to end has ended by now, and no process has its output any more.
    pub fn has_ended(&mut self) -> bool {
        match self.wait(Some(Instant::now()), None, true) {
            Ok(waited) => waited == Waited::Ended && self.finish().is_ok(),
            // Without memory nothing is known.
            Err(_) => false,
        }
    }

    /// Returns the last lines that it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.tail.text()
    }

    /// Returns the exit status of a command that has ended. Kills the rest of the group of a
    /// command that had to end.
    ///
    /// # Errors
    ///
    /// The system's, if the child cannot be waited for.
    pub fn finish(&mut self) -> io::Result<ExitStatus> {
        // Reads the last output; other processes may continue to print.
        for _ in 0..PIPE / PORTION {
            if self.is_closed || self.read()? == 0 {
                break;
            }
        }
        match &self.input {
            // The pipe is no longer read: a process that has it must not wait for a reader.
            Some(input) => ioctl_fionbio(input, true)?,
            // Usually the group has no process left.
            None => {
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
        }
        let status = self.child.wait()?;
        self.is_reaped = true;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = self.child.try_wait();
        }
    }
}

/// The reasons for which a wait can end.
enum Source {
    Ended,
    Output,
    Wake,
}

#[derive(Default)]
struct Readiness {
    ended: bool,
    output: bool,
    wake: bool,
}
