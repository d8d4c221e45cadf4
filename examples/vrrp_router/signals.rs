//! The signals that came, and the wait for whatever comes first.

use std::{
    io::{self, Read},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixStream},
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

    /// Whether the program is to end.
    pub(crate) fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the state is to be shown, since this was asked last.
    pub(crate) fn take_show(&self) -> bool {
        self.show.swap(false, Ordering::Relaxed)
    }

    /// Waits until the driver has something to do, or the bell rings.
    pub(crate) fn wait(&mut self, driver: &Driver) -> io::Result<()> {
        let timeout = driver.timeout().map(TimeSpec::from_duration);
        let mut sources: Vec<PollFd<'_>> = driver
            .sources()
            .chain([self.wake.as_fd()])
            .map(|source| PollFd::new(source, PollFlags::POLLIN))
            .collect();
        match ppoll(&mut sources, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Rings that were heard; without any, there is nothing to read.
        let _ = self.wake.read(&mut [0; 64]);
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
