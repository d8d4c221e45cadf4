//! The hand-over from a running daemon to the one that replaces it.

use std::{
    fs,
    io::{self, ErrorKind, PipeReader, PipeWriter},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use vrrp_net::{Driver, DriverHandle, Successor};

use crate::{Error, log::Log};

/// How long one daemon waits for the other, apart from the moment in which no router runs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The driver of the daemon that listens at a socket, with all its routers; a new one where there
/// is no such daemon.
pub(crate) fn take_over(socket: &Path, log: &Log) -> Result<Driver, Error> {
    match UnixStream::connect(socket) {
        Ok(predecessor) => {
            let driver = Driver::take_over_from(predecessor, PATIENCE)?;
            log.info("took over from the running daemon");
            Ok(driver)
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            log.info("there is no daemon to take over from");
            Ok(Driver::new()?)
        }
        Err(error) => Err(format!("{}: {error}", socket.display()).into()),
    }
}

/// Listens for a successor. Dropping this ends it.
pub(crate) struct Succession {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Succession {
    pub(crate) fn listen(socket: &Path, driver: DriverHandle, log: Log) -> io::Result<Self> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
        let (stopped, stop) = io::pipe()?;
        let socket = socket.to_owned();
        let serve = move || serve(&listener, &stopped, &driver, &log, &socket);
        let thread = thread::Builder::new()
            .name("succession".into())
            .spawn(serve)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(
    listener: &UnixListener,
    stopped: &PipeReader,
    driver: &DriverHandle,
    log: &Log,
    socket: &Path,
) {
    loop {
        let mut sources = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        match poll(&mut sources, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        if !sources[1].revents().is_empty() {
            // Nobody has taken over, so the socket is still that of this daemon.
            let _ = fs::remove_file(socket);
            return;
        }
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        let handed_over = Successor::accept(stream, PATIENCE)
            .and_then(|successor| driver.call(|driver| driver.hand_over_to(successor, None))?);
        match handed_over {
            Ok(()) => {
                log.info("handed over to another daemon");
                return;
            }
            Err(error) => log.warning(&format!("the hand-over failed: {error}")),
        }
    }
}
