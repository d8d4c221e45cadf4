//! The signals that came, and the wait for whatever comes first.

use std::{
    io::{self, Read},
    iter,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    flag,
    low_level::pipe,
};
use vrrp_net::Driver;

pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    show: Arc<AtomicBool>,
    /// Readable once the bell has rung.
    wake: UnixStream,
    bell: UnixStream,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let (wake, bell) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        let (stop, show) = (Arc::default(), Arc::default());
        let mut signals = vec![(SIGTERM, &stop), (SIGINT, &stop), (SIGUSR1, &show)];
        if !is_ignored(SIGHUP) {
            signals.push((SIGHUP, &stop));
        }
        for (signal, flag) in signals {
            // In this order: whoever is woken finds the flag.
            flag::register(signal, Arc::clone(flag))?;
            pipe::register(signal, bell.try_clone()?)?;
        }
        Ok(Self {
            stop,
            show,
            wake,
            bell,
        })
    }

    /// What others can ring to end the wait: an octet is written.
    pub(crate) fn bell(&self) -> io::Result<UnixStream> {
        self.bell.try_clone()
    }

    /// Whether the program was asked to end, since this was asked last.
    pub(crate) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::Relaxed)
    }

    /// Whether the state is to be shown, since this was asked last.
    pub(crate) fn take_show(&self) -> bool {
        self.show.swap(false, Ordering::Relaxed)
    }

    /// Waits until the driver has something to do, or the bell rings.
    pub(crate) fn wait<'a>(&'a self, driver: &'a Driver) -> io::Result<()> {
        let timeout = driver.timeout().map(TimeSpec::from_duration);
        self.poll(driver.sources(), timeout)
    }

    /// Waits until the bell rings.
    pub(crate) fn wait_for_bell(&self) -> io::Result<()> {
        self.poll(iter::empty(), None)
    }

    fn poll<'a>(
        &'a self,
        others: impl Iterator<Item = BorrowedFd<'a>>,
        timeout: Option<TimeSpec>,
    ) -> io::Result<()> {
        let source = |source| PollFd::new(source, PollFlags::POLLIN);
        let mut sources = vec![source(self.wake.as_fd())];
        sources.extend(others.map(source));
        match ppoll(&mut sources, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Rings that were heard; without any, there is nothing to read.
        let _ = (&self.wake).read(&mut [0; 64]);
        Ok(())
    }
}

/// Whether whoever started the program wants a signal ignored, as nohup(1) does.
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action nothing changes, and the old one is written to memory that is large enough and zeroed before.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
