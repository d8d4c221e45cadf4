//! Work inside another network namespace.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    thread,
};

use nix::{
    errno::Errno as Os,
    sched::{CloneFlags, setns},
};

use crate::{Errno, Error};

const ENTER: &str = "enter the network namespace";

/// Runs a function inside a network namespace, on a thread that ends afterwards: a thread that has
/// changed its namespace should do nothing else.
pub(crate) fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().spawn_scoped(scope, || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(system(ENTER))?;
            work()
        });
        match spawned.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(system(ENTER)(Os::UnknownErrno)),
            Err(error) => Err(from_io("start a thread", &error)),
        }
    })
}

/// Opens the file of a network namespace, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| from_io("open the network namespace", &error))
}

pub(crate) fn system(doing: &'static str) -> impl Fn(Os) -> Error {
    move |error| Error::System {
        doing,
        errno: Errno(error as i32),
    }
}

pub(crate) fn from_io(doing: &'static str, error: &io::Error) -> Error {
    Error::System {
        doing,
        errno: errno(error),
    }
}

/// The number of an error. An error without one, such as for a path with a NUL, becomes `EINVAL`.
pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::INVALID, Errno)
}
