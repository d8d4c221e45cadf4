//! How another thread, or a signal handler, ends the driver's loop.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Error, kernel::sys};

/// Ends [`Driver::run`](super::Driver::run), from any thread. It can be cloned.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<Stop>);

#[derive(Debug)]
struct Stop {
    stopped: AtomicBool,
    event: File,
}

impl StopHandle {
    pub(super) fn new() -> Result<Self, Error> {
        let event = sys::event_fd().map_err(Error::os("make an eventfd"))?;
        Ok(Self(Arc::new(Stop {
            stopped: AtomicBool::new(false),
            event: event.into(),
        })))
    }

    /// Has the driver resign everywhere, clean up and return. The driver stays stopped.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        // It fails only where so many have written before that the descriptor is readable anyway.
        let written = (&self.0.event).write_all(&1_u64.to_ne_bytes());
        debug_assert!(written.is_ok(), "{written:?}");
    }

    /// Whether [`stop`](Self::stop) was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }
}

impl AsFd for StopHandle {
    /// Readable once the driver is to stop.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
