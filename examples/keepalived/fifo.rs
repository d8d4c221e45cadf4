//! FIFOs that get a line for each change.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, lchown},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use nix::sys::stat::Mode;
use vrrp_examples::keepalived_conf::{host::Account, script::Script};

use crate::{log::Log, watch::command_of};

/// The time from SIGTERM to SIGKILL of the reader.
const GRACE: Duration = Duration::from_secs(2);

/// The time between two checks whether the reader has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// A FIFO, with the script that reads it.
#[derive(Debug)]
pub(crate) struct Fifo {
    path: PathBuf,
    file: File,
    /// Whether this daemon or one that it has replaced created it. It is removed at the end.
    is_own: bool,
    reader: Option<Child>,
}

impl Fifo {
    /// Opens a FIFO, and starts its reader. A FIFO of this daemon is created with this owner, who
    /// alone reads it, as in keepalived.
    pub(crate) fn open(
        path: &Path,
        owner: Account,
        script: Option<&Script>,
        is_inherited: bool,
    ) -> io::Result<Self> {
        let is_own = match nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(()) => true,
            Err(nix::errno::Errno::EEXIST) => is_inherited,
            Err(errno) => return Err(errno.into()),
        };
        if !fs::metadata(path)?.file_type().is_fifo() {
            return Err(io::Error::other("it is not a FIFO"));
        }
        // Another user than root cannot run the reader as its user either.
        if is_own && rustix::process::geteuid().is_root() {
            lchown(path, Some(owner.uid), Some(owner.gid))?;
        }
        // Opened for reading too, so that opening succeeds without a reader. A full FIFO loses
        // lines.
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let reader = match script.and_then(command_of) {
            Some(mut command) => Some(command.arg(path).stdin(Stdio::null()).spawn()?),
            None => None,
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            is_own,
            reader,
        })
    }

    /// Another writer of this FIFO, for any thread. Lines of several writers do not mix, because
    /// each is shorter than `PIPE_BUF`.
    pub(crate) fn writer(&self) -> io::Result<Writer> {
        Ok(Writer {
            path: self.path.clone(),
            file: self.file.try_clone()?,
        })
    }

    /// Its path, if it is removed at the end.
    pub(crate) fn own_path(&self) -> Option<PathBuf> {
        self.is_own.then(|| self.path.clone())
    }

    /// Ends its reader, and removes it unless a successor writes to it.
    pub(crate) fn close(mut self, is_handed_over: bool) {
        if let Some(mut reader) = self.reader.take() {
            let pid = rustix::process::Pid::from_child(&reader);
            // It fails only if the reader has ended.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let end = Instant::now() + GRACE;
            while matches!(reader.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(PAUSE);
            }
            let _ = reader.kill();
            let _ = reader.wait();
        }
        if self.is_own && !is_handed_over {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes lines to a FIFO.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    /// Writes a line. A line that does not fit is lost, which is logged.
    pub(crate) fn write(&mut self, line: &str, log: &Log) {
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let (path, line) = (self.path.display(), line.trim_end());
            log.warning(&format!("{path}: the line {line:?} is lost: {error}"));
        }
    }
}
