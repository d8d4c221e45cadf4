//! A thread that works until its owner ends it.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// A running thread. Dropping this ends the thread, and waits until it has ended.
#[derive(Debug)]
pub struct Worker {
    /// Closing this ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread with this name. It has to return once the [`Stop`] is readable.
    ///
    /// # Errors
    ///
    /// The errors of making a pipe, pipe(2), and a thread, pthread_create(3).
    pub fn start(name: &str, work: impl FnOnce(Stop) + Send + 'static) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || work(Stop(stopped)))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Ends the thread, without waiting until it has ended.
    pub fn stop(&mut self) {
        self.stop = None;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The thread's side: its descriptor becomes readable when the thread must end.
#[derive(Debug)]
pub struct Stop(PipeReader);

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Stop {
    /// Sleeps for this time, or until the thread must end. Returns whether to continue.
    #[must_use]
    pub fn sleep(&self, pause: Duration) -> bool {
        // The pipe hangs up when the thread must end.
        matches!(is_readable_by(self, Instant::now() + pause), Ok(false))
    }
}

/// Waits until a descriptor is readable or has hung up, at most until this time. Returns whether
/// that happened.
pub(crate) fn is_readable_by(source: &impl AsFd, end: Instant) -> Result<bool, Errno> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut source = [PollFd::new(source, PollFlags::IN)];
        match poll(&mut source, Timespec::try_from(left).ok().as_ref()) {
            Err(Errno::INTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_ends_with_its_owner() {
        let (done, ended) = std::sync::mpsc::channel();
        let worker = Worker::start("sleeper", move |stop| {
            while stop.sleep(Duration::from_secs(3600)) {}
            done.send(()).unwrap();
        });
        drop(worker.unwrap());
        assert_eq!(ended.try_recv(), Ok(()));
    }

    #[test]
    fn a_sleep_that_nobody_ends_lasts_its_time() {
        let (done, slept) = std::sync::mpsc::channel();
        let _worker = Worker::start("sleeper", move |stop| {
            let started = Instant::now();
            let goes_on = stop.sleep(Duration::from_millis(20));
            done.send((goes_on, started.elapsed())).unwrap();
        })
        .unwrap();
        let (goes_on, time) = slept.recv().unwrap();
        assert!(goes_on && time >= Duration::from_millis(20), "{time:?}");
    }
}
