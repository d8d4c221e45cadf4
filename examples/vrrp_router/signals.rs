//! Signals, passed on to the driver.

use std::{
    io,
    mem::MaybeUninit,
    ptr,
    sync::mpsc::Sender,
    thread::{self, JoinHandle},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::{self, Handle},
};
use vrrp_net::DriverHandle;

use crate::{log::Log, state};

/// The reason why the program wakes up while it ends.
pub(crate) enum Wake {
    /// A thread that runs commands has finished.
    Finished,
    /// Another signal asks for the end.
    Signal,
}

/// The signals that the program serves. They wait until [`serve`](Self::serve).
pub(crate) struct Signals(iterator::Signals);

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let mut signals = vec![SIGTERM, SIGINT, SIGUSR1];
        if !is_ignored(SIGHUP) {
            signals.push(SIGHUP);
        }
        Ok(Self(iterator::Signals::new(signals)?))
    }

    /// Passes signals on from now on: SIGUSR1 shows the state; the others stop the driver, and wake
    /// a program that is already ending.
    pub(crate) fn serve(
        mut self,
        driver: DriverHandle,
        wake: Sender<Wake>,
        log: Log,
    ) -> io::Result<Serving> {
        let handle = self.0.handle();
        let serve = move || {
            for signal in self.0.forever() {
                if signal == SIGUSR1 {
                    let log = log.clone();
                    // A driver that has stopped has no state to show.
                    let _ = driver.submit(move |driver| state::show(driver, &log));
                } else if driver.is_stopped() {
                    // It fails when the program no longer waits.
                    let _ = wake.send(Wake::Signal);
                } else {
                    driver.stop();
                }
            }
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(serve)?;
        Ok(Serving {
            handle,
            thread: Some(thread),
        })
    }
}

/// The thread that passes signals on. Dropping this ends it.
pub(crate) struct Serving {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.handle.close();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Whether a signal has been ignored since the start of the program, as under nohup(1).
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action nothing changes, and the old action is written to zeroed memory
    // that is large enough.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
