//! A flapping link on each host, to measure the cost of its notifications.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use vrrp_benches::{Error, side_by_side::case::FLAPPING};
use vrrp_lab::Namespace;
use vrrp_net::{LinkChange, Netlink};

/// From one change to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Sets a link of both hosts down and up in turns, until it is dropped.
pub(crate) struct Flapping {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flapping {
    pub(crate) fn start(namespaces: &[Namespace; 2]) -> Result<Self, Error> {
        let mut hosts = Vec::new();
        for namespace in namespaces {
            let interface = namespace.run(|| if_nametoindex(FLAPPING))?;
            hosts.push((namespace.run(Netlink::open)?, interface));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                for is_up in [false, true].into_iter().cycle() {
                    for (netlink, interface) in &mut hosts {
                        let interface = *interface;
                        let change = if is_up {
                            LinkChange::Up { interface }
                        } else {
                            LinkChange::Down { interface }
                        };
                        let made = netlink.apply(&[change]);
                        if stop.load(Ordering::Relaxed) || !matches!(made.as_deref(), Ok([Ok(_)])) {
                            return;
                        }
                    }
                    thread::sleep(PAUSE);
                }
            }
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Fails if the link has stopped flapping.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.thread {
            Some(thread) if !thread.is_finished() => Ok(()),
            _ => Err("the kernel refused to set a link up or down".into()),
        }
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}
