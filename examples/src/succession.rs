//! The hand-over of a driver from a running program to the one that replaces it.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use vrrp_net::{Driver, DriverHandle, Successor};

use crate::worker::{Stop, Worker, is_readable_by};

/// How long one program waits for the other, apart from the moment during which no router runs.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a successor may take to end after SIGTERM: its scripts and mails have time limits of
/// their own.
const END: Duration = Duration::from_secs(30);

/// Why nothing could be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The socket could not be reached, though it exists.
    #[error(transparent)]
    Connect(io::Error),
    /// The running program did not hand over.
    #[error(transparent)]
    Driver(#[from] vrrp_net::Error),
}

/// Everything that a program takes over from its predecessor.
#[derive(Debug)]
pub struct Inheritance {
    /// The driver, with all its routers.
    pub driver: Driver,
    /// The connection, over which the predecessor may send more before it ends.
    pub predecessor: UnixStream,
}

/// Takes over from the program that listens at a socket; `None` where there is no such program.
///
/// # Errors
///
/// [`TakeOverError::Connect`] for other errors than a missing or deserted socket;
/// [`TakeOverError::Driver`] where the hand-over fails or takes more than ten seconds.
pub fn take_over(socket: &Path) -> Result<Option<Inheritance>, TakeOverError> {
    match UnixStream::connect(socket) {
        Ok(stream) => {
            let predecessor = stream.try_clone().map_err(TakeOverError::Connect)?;
            let driver = Driver::take_over_from(stream, PATIENCE)?;
            // The driver leaves the connection nonblocking.
            predecessor
                .set_nonblocking(false)
                .map_err(TakeOverError::Connect)?;
            Ok(Some(Inheritance {
                driver,
                predecessor,
            }))
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(TakeOverError::Connect(error)),
    }
}

/// The process to which this program has handed over.
#[derive(Debug)]
pub struct Heir {
    /// Its process ID; `None` if it runs in a PID namespace that this process cannot see.
    pub process: Option<u32>,
    /// The connection. The successor waits for more until it is closed.
    pub connection: UnixStream,
}

/// Ends a successor with SIGTERM, and waits until it has ended. A request to end that reaches the
/// program during its last moments means the whole service.
///
/// # Errors
///
/// `TimedOut` after 30 seconds; the errors of pidfd_open(2), pidfd_send_signal(2) and poll(2).
pub fn end_successor(process: u32) -> io::Result<()> {
    let number = i32::try_from(process).ok().and_then(Pid::from_raw);
    let opened = pidfd_open(number.ok_or(ErrorKind::InvalidInput)?, PidfdFlags::empty())
        .and_then(|successor| pidfd_send_signal(&successor, Signal::TERM).map(|()| successor));
    let successor = match opened {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    if is_readable_by(&successor, Instant::now() + END)? {
        Ok(())
    } else {
        Err(ErrorKind::TimedOut.into())
    }
}

/// A listener for successors. Dropping this ends it.
#[derive(Debug)]
pub struct Succession {
    worker: Worker,
    heirs: Receiver<Heir>,
}

impl Succession {
    /// Listens at a socket, which only this user can reach, and hands the driver over to the first
    /// successor that takes it. `report` gets the result of each attempt.
    ///
    /// # Errors
    ///
    /// `AddrInUse` where another program listens; the errors of making the socket and a thread.
    pub fn listen(
        socket: &Path,
        driver: DriverHandle,
        report: impl Fn(Result<(), vrrp_net::Error>) + Send + 'static,
    ) -> io::Result<Self> {
        if UnixStream::connect(socket).is_ok() {
            return Err(ErrorKind::AddrInUse.into());
        }
        Self::listen_after_predecessor(socket, driver, report)
    }

    /// Does the same in a program that has taken over, whose predecessor may still listen there.
    ///
    /// # Errors
    ///
    /// The errors of making the socket and a thread.
    pub fn listen_after_predecessor(
        socket: &Path,
        driver: DriverHandle,
        report: impl Fn(Result<(), vrrp_net::Error>) + Send + 'static,
    ) -> io::Result<Self> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        let place = Place::of(socket)?;
        // A connection that has already ended must not make the thread wait for another one.
        listener.set_nonblocking(true)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
        let (sender, heirs) = channel();
        let serve = move |stop: Stop| {
            if let Some(heir) = serve(&listener, &stop, &driver, &report, &place) {
                // It fails only if the heir is not asked for.
                let _ = sender.send(heir);
            }
        };
        Ok(Self {
            worker: Worker::start("succession", serve)?,
            heirs,
        })
    }

    /// Ends listening, and returns the successor, if there is one.
    #[must_use]
    pub fn end(self) -> Option<Heir> {
        let Self { worker, heirs } = self;
        drop(worker);
        heirs.try_recv().ok()
    }
}

/// Serves until the end, or until a successor has taken over. Returns that successor.
fn serve(
    listener: &UnixListener,
    stop: &Stop,
    driver: &DriverHandle,
    report: &dyn Fn(Result<(), vrrp_net::Error>),
    place: &Place,
) -> Option<Heir> {
    loop {
        let mut sources = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut sources, None) {
            Ok(_) => {}
            // After a signal, the sources are polled again.
            Err(Errno::INTR) => continue,
            Err(_) => return None,
        }
        if !sources[1].revents().is_empty() {
            place.leave();
            return None;
        }
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        // Without a second handle, nothing more could be sent to the successor.
        let Ok(successor) = stream.try_clone() else {
            continue;
        };
        let handed_over = Successor::accept(stream, PATIENCE)
            .and_then(|successor| driver.call(|driver| driver.hand_over_to(successor, None))?);
        let is_done = handed_over.is_ok();
        report(handed_over);
        if is_done {
            // The driver leaves the connection nonblocking.
            successor.set_nonblocking(false).ok()?;
            return Some(Heir {
                process: process_of(&successor),
                connection: successor,
            });
        }
    }
}

/// The file of a listener.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Removes the file, unless another program listens there now.
    fn leave(&self) {
        let is_same = Self::of(&self.path)
            .is_ok_and(|now| (now.device, now.inode) == (self.device, self.inode));
        if is_same {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that made the connection; its number is 0 in another PID namespace.
fn process_of(connection: &UnixStream) -> Option<u32> {
    let credentials = getsockopt(connection, PeerCredentials).ok()?;
    u32::try_from(credentials.pid()).ok().filter(|it| *it != 0)
}
