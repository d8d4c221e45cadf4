//! Signals, passed on to the loop of the daemon.

use std::{
    cell::Cell,
    io,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{self, Handle},
};
use vrrp_net::DriverHandle;

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Stop,
    Reload,
    Data,
    Statistics,
    ClearStatistics,
    Json,
}

/// The numbers of the signals, by the name that `--signum` has for them.
pub(crate) fn number(name: &str) -> Option<i32> {
    Some(match name {
        "STOP" => SIGTERM,
        "RELOAD" => SIGHUP,
        "DATA" => SIGUSR1,
        "STATS" => SIGUSR2,
        "STATS_CLEAR" => stats_clear(),
        "JSON" => json(),
        _ => return None,
    })
}

fn json() -> i32 {
    libc::SIGRTMIN() + 2
}

fn stats_clear() -> i32 {
    libc::SIGRTMAX() - 1
}

/// The signals that the daemon serves. They wait until [`serve`](Self::serve).
pub(crate) struct Signals(iterator::Signals);

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let signals = [
            SIGTERM,
            SIGINT,
            SIGHUP,
            SIGUSR1,
            SIGUSR2,
            stats_clear(),
            json(),
        ];
        Ok(Self(iterator::Signals::new(signals)?))
    }

    /// Passes signals on, and wakes the driver up for each.
    pub(crate) fn serve(mut self, driver: DriverHandle) -> io::Result<Serving> {
        let handle = self.0.handle();
        let (sender, requests) = mpsc::channel();
        let requester = Requester { sender, driver };
        let own = requester.clone();
        let serve = move || {
            for signal in self.0.forever() {
                let request = match signal {
                    SIGHUP => Request::Reload,
                    SIGUSR1 => Request::Data,
                    SIGUSR2 => Request::Statistics,
                    it if it == json() => Request::Json,
                    it if it == stats_clear() => Request::ClearStatistics,
                    _ => Request::Stop,
                };
                own.request(request);
            }
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(serve)?;
        Ok(Serving {
            handle,
            requests,
            has_stop: Cell::new(false),
            requester,
            thread: Some(thread),
        })
    }
}

/// Passes requests on to the loop of the daemon.
#[derive(Clone)]
pub(crate) struct Requester {
    sender: Sender<Request>,
    driver: DriverHandle,
}

impl Requester {
    /// Passes a request on, and wakes the driver up for it.
    pub(crate) fn request(&self, request: Request) {
        // These fail only when the daemon ends.
        let _ = self.sender.send(request);
        let _ = self.driver.submit(|_| ());
    }
}

/// The thread that passes signals on. Dropping this ends it.
pub(crate) struct Serving {
    handle: Handle,
    requests: Receiver<Request>,
    /// Whether a request to stop was among them.
    has_stop: Cell<bool>,
    requester: Requester,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// The next request, if there is one.
    pub(crate) fn next(&self) -> Option<Request> {
        let request = self.requests.try_recv().ok()?;
        if request == Request::Stop {
            self.has_stop.set(true);
        }
        Some(request)
    }

    /// Whether a request to stop has come. Other requests that wait are dropped.
    pub(crate) fn must_stop(&self) -> bool {
        while self.next().is_some() {}
        self.has_stop.get()
    }

    /// The means to pass further requests on.
    pub(crate) fn requester(&self) -> Requester {
        self.requester.clone()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.handle.close();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
