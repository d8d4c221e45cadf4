use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, PipeReader, Read},
    path::Path,
    process::{Child, Command},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Instant,
};

use tempfile::TempDir;

use super::Kernel;
use crate::{Error, group::Group};

/// How many of the last lines an error shows. The last words of a kernel alone may be 60.
const SHOWN: usize = 100;

/// Octets after which a line counts as ended.
const LONGEST_LINE: u64 = 1 << 16;

/// A running kernel, seen through what it prints. It ends with this value.
pub(crate) struct Console {
    kernel: Kernel,
    mark: String,
    lines: Receiver<String>,
    last: VecDeque<String>,
    progress: Progress,
    opened: Instant,
    group: Group,
    child: Child,
    _folder: TempDir,
}

#[derive(Clone, Copy)]
enum Progress {
    /// The kernel and the init script print.
    Booting,
    /// The program prints.
    Running,
    /// The program's exit status.
    Ended(i32),
}

impl Console {
    /// Starts the command that `command` makes, given a folder of its own and the mark of the lines
    /// with which the guest's init script reports its progress.
    pub(crate) fn open(
        kernel: Kernel,
        command: impl FnOnce(&Path, &str) -> Result<Command, Error>,
    ) -> Result<Self, Error> {
        // The random part makes the mark one that no program prints by chance.
        let folder = tempfile::Builder::new()
            .prefix("vrrp-lab-")
            .rand_bytes(16)
            .tempdir()
            .map_err(Error::os("make a temporary folder"))?;
        let mark = folder
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut command = command(folder.path(), &mark)?;
        let (reader, writer) = io::pipe().map_err(Error::os("make a pipe"))?;
        let duplicate = writer.try_clone().map_err(Error::os("duplicate a pipe"))?;
        command.stdout(writer).stderr(duplicate);
        // As the leader, because user-mode Linux makes a session of its own if it can.
        let (group, child) = Group::led_by(&mut command, kernel.package(), folder.path())?;
        // Dropping the command closes this process's end of the pipe, so the guest's is the only
        // one.
        drop(command);
        let (sender, lines) = sync_channel(1024);
        thread::spawn(move || read(reader, &sender));
        Ok(Self {
            kernel,
            mark,
            lines,
            last: VecDeque::with_capacity(SHOWN),
            progress: Progress::Booting,
            opened: Instant::now(),
            group,
            child,
            _folder: folder,
        })
    }

    /// The next line of the guest's program; `None` once it has ended.
    pub(crate) fn next_line(&mut self, deadline: Instant) -> Result<Option<String>, Error> {
        loop {
            if let Progress::Ended(_) = self.progress {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::Timeout {
                        what: format!("the end of a program in {}{}", self.kernel, self.shown()),
                        limit: deadline.saturating_duration_since(self.opened),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
            };
            if self.last.len() == SHOWN {
                self.last.pop_front();
            }
            self.last.push_back(line.clone());
            if let Some(line) = self.understand(line) {
                return Ok(Some(line));
            }
        }
    }

    /// The program's exit status, once there is no next line.
    pub(crate) fn status(&self) -> Result<i32, Error> {
        match self.progress {
            Progress::Ended(status) => Ok(status),
            Progress::Booting | Progress::Running => Err(self.died()),
        }
    }

    /// The part of a line that the program printed.
    fn understand(&mut self, mut line: String) -> Option<String> {
        let Some(at) = line.find(&self.mark) else {
            return matches!(self.progress, Progress::Running).then_some(line);
        };
        let mut words = line[at + self.mark.len()..].split_ascii_whitespace();
        self.progress = match (words.next(), words.next().map(str::parse)) {
            (Some("begins"), None) => Progress::Running,
            (Some("ended"), Some(Ok(status))) => Progress::Ended(status),
            _ => return None,
        };
        // A program need not end its last line.
        line.truncate(at);
        (!line.is_empty()).then_some(line)
    }

    fn died(&self) -> Error {
        Error::Program {
            program: format!("the kernel {}", self.kernel),
            what: match self.progress {
                Progress::Booting => "ended before its program began".into(),
                _ => "ended before its program did".into(),
            },
            output: self.shown(),
        }
    }

    /// The end of what the console showed.
    fn shown(&self) -> String {
        self.last
            .iter()
            .fold(String::from("; its last lines:"), |text, line| {
                text + "\n  " + line
            })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // The users of the folder must end before it is removed. An error means that no process is
        // left to wait for.
        self.group.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines until the last writer or the receiver is gone.
fn read(reader: PipeReader, lines: &SyncSender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while (&mut reader)
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        let text = String::from_utf8_lossy(&line);
        if lines
            .send(text.trim_end_matches(['\r', '\n']).into())
            .is_err()
        {
            return;
        }
        line.clear();
    }
}
