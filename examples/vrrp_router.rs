//! One virtual router on a real interface, by hand and in tests.

#[path = "vrrp_router/events.rs"]
mod events;
#[path = "vrrp_router/notify.rs"]
mod notify;
#[path = "vrrp_router/options.rs"]
mod options;

use std::{
    collections::BTreeMap,
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
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
    consts::{SIGINT, SIGTERM, SIGUSR1},
    flag,
    low_level::pipe,
};
use vrrp_fsm::track::Use;
use vrrp_net::{Driver, DriverEvent, Notification, Watch};

use crate::{events::Log, notify::Notifier, options::Options};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vrrp_router: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Error> {
    // Before the first address is installed, so that there is no moment in which a signal leaves it behind.
    let mut signals = Signals::new()?;
    let mut driver = Driver::new()?;
    // It shows all counters.
    driver.count_foreign(true)?;
    let mut config = options.config;
    let mut names = BTreeMap::new();
    for object in options.track_interfaces {
        let name = object.name.clone();
        let id = driver.add_object(object, Watch::Interface(name.clone()))?;
        config.tracking.push(Use::of(id));
        names.insert(id, name);
    }
    let router = driver.add(config)?;

    let view = driver.get(router).ok_or("the router is gone")?;
    let (log, written) = Log::start(view)?;
    log.started(view);
    let notifier = options
        .notify
        .map(|hook| Notifier::start(hook, log.clone()))
        .transpose()?;
    let on = |notification: Notification| {
        log.event(&notification, &names);
        if let (DriverEvent::StateChanged(change), Some(notifier)) =
            (&notification.event, &notifier)
        {
            notifier.notify(*change, &notification);
        }
    };

    let mut result = Ok(());
    while result.is_ok() && !signals.stop.load(Ordering::Relaxed) {
        result = driver.turn(on).map_err(Error::from);
        if signals.show.swap(false, Ordering::Relaxed) {
            log.state(&driver, router);
        }
        result = result.and_then(|()| signals.wait(&mut driver));
    }
    // Whatever went wrong: as far as it is still possible, the router resigns and its addresses go.
    let stopped = driver.shutdown(on).map_err(Error::from);

    // Those that still wait are delivered first.
    drop(notifier);
    log.stopped(&written);
    result.and(stopped)
}

/// The signals that came.
struct Signals {
    stop: Arc<AtomicBool>,
    show: Arc<AtomicBool>,
    /// Readable once one has come.
    wake: UnixStream,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let (wake, ring) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let (stop, show) = (Arc::default(), Arc::default());
        for (signal, flag) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGUSR1, &show)] {
            // In this order: whoever is woken finds the flag.
            flag::register(signal, Arc::clone(flag))?;
            pipe::register(signal, ring.try_clone()?)?;
        }
        Ok(Self { stop, show, wake })
    }

    /// Waits until the driver has something to do, or a signal comes.
    fn wait(&mut self, driver: &mut Driver) -> Result<(), Error> {
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
