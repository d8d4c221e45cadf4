//! Clients of the kernel's IPVS.
//!
//! [`Client`] blocks; with the feature `tokio`, `AsyncClient` has the same methods and waits. Both speak for the network namespace in which their
//! socket was opened, from whatever thread they are used later, and close it when they are dropped.
//!
//! ```no_run
//! use ipvs_netlink::{Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey};
//!
//! let mut client = Client::open()?;
//! let service = ServiceKey::tcp(([192, 0, 2, 1], 80));
//! client.add_service(Service::new(service, Scheduler::WRR))?;
//! for server in 1..=3 {
//!     let key = DestinationKey::new(([10, 0, 0, server], 80));
//!     client.add_destination(service, Destination::new(key, ForwardingMethod::Masquerade))?;
//! }
//! client.update_destination(service, DestinationKey::new(([10, 0, 0, 2], 80)), |server| server.weight = 5.into())?;
//! for entry in client.table()?.entries {
//!     println!("{}: {} servers", entry.service.service.key, entry.destinations.len());
//! }
//! # Ok::<(), ipvs_netlink::Error>(())
//! ```
//!
//! # What to know of the kernel
//!
//! * Every call needs `CAP_NET_ADMIN` in the initial user namespace, reading too.
//! * There are no notifications: who wants to know of changes has to read again.
//! * There are no transactions: a batch is many changes, of which each is made or refused by itself.
//! * Long lists are handed out in pieces, and a change between two of them makes the kernel skip objects without a word.
//!   [`Table::may_be_incomplete`] tells; [`confirmed_table`](Client::confirmed_table) reads again until it can be trusted.

mod exchange;
mod operations;
mod read;
mod socket;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokio")]
mod tokio;

use std::{
    future::Future,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use exchange::Exchange;
use socket::Blocking;

#[cfg(feature = "tokio")]
pub use self::tokio::AsyncClient;
use crate::{
    DaemonState, Destination, DestinationKey, Error, Info, ListedDestination, ListedService,
    Service, ServiceKey, SyncDaemon, Table, Timeouts,
    message::Change,
    namespace,
    plan::{DaemonReport, ReconcileError, Reconciler, Report, Wanted},
};

/// How long a call may take unless [`Client::set_timeout`] says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A blocking client.
///
/// It has two sockets: long lists are read by both, to see that nothing is missing. [`AsFd`] gives the first.
///
/// No call takes much longer than its time limit ([`DEFAULT_TIMEOUT`]), which counts anew for each question that a call asks of the kernel.
#[derive(Debug)]
pub struct Client {
    exchange: Exchange<Blocking>,
}

impl Client {
    /// Opens a client for the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if this kernel has no IPVS; [`Error::System`] if there is no socket to be had.
    pub fn open() -> Result<Self, Error> {
        Self::with(socket::open()?, Some(socket::open()?))
    }

    /// Opens a client for a network namespace by a file descriptor of it, such as an open `/proc/PID/ns/net`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::System`] if the namespace cannot be entered.
    pub fn open_in(namespace: impl AsFd) -> Result<Self, Error> {
        let (main, second) = socket::open_two_in(namespace.as_fd())?;
        Self::with(main, Some(second))
    }

    /// Opens a client for a network namespace by its path, such as `/run/netns/NAME`.
    ///
    /// # Errors
    ///
    /// As [`open_in`](Self::open_in), and [`Error::System`] if there is no such file.
    pub fn open_path(namespace: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_in(namespace::open(namespace.as_ref())?)
    }

    fn with(socket: OwnedFd, second: Option<OwnedFd>) -> Result<Self, Error> {
        let blocking = |socket| Blocking::new(socket, DEFAULT_TIMEOUT);
        let second = second.map(blocking).transpose()?;
        let exchange = ready(Exchange::open(blocking(socket)?, second, DEFAULT_TIMEOUT))?;
        Ok(Self { exchange })
    }

    /// Sets the time limit of every following call: a millisecond to a year, and what is outside is as the nearer of these.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the socket refuses it.
    pub fn set_timeout(&mut self, limit: Duration) -> Result<(), Error> {
        for lane in self.exchange.lanes() {
            lane.transport.set_limit(limit)?;
        }
        self.exchange.limit = limit;
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exchange.as_fd()
    }
}

/// Waits for what a blocking transport does, which is done when it returns.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// The methods of both clients.
macro_rules! methods {
    ($client:ident, $finish:ident $(, $keyword:ident)?) => {
        impl $client {
            /// All services. Of a long list that changes while it is read some may be missing, without a word:
            /// [`confirmed_table`](Self::confirmed_table) makes sure.
            ///
            /// # Errors
            ///
            /// An [`Error`], also for an object that this crate has no words for; [`table`](Self::table) puts such aside.
            pub $($keyword)? fn services(&mut self) -> Result<Vec<ListedService>, Error> {
                $finish!(self.exchange.services())
            }

            /// One service.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service.
            pub $($keyword)? fn service(&mut self, key: ServiceKey) -> Result<ListedService, Error> {
                $finish!(self.exchange.service(key))
            }

            /// The destinations of a service. Of a long list that changes while it is read some may be missing, without a word:
            /// [`confirmed_table`](Self::confirmed_table) makes sure.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service.
            pub $($keyword)? fn destinations(
                &mut self,
                service: ServiceKey,
            ) -> Result<Vec<ListedDestination>, Error> {
                $finish!(self.exchange.destinations(service))
            }

            /// All services with their destinations, each once. [`Table::may_be_incomplete`] says whether something may be missing.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn table(&mut self) -> Result<Table, Error> {
                $finish!(self.exchange.table())
            }

            /// All services with their destinations, with lists that may be incomplete read again until they come out the same several
            /// times. It may still be incomplete, and says so, where another program keeps changing the table all the time.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn confirmed_table(&mut self) -> Result<Table, Error> {
                $finish!(self.exchange.confirmed_table())
            }

            /// Makes a change.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn change(&mut self, change: Change) -> Result<(), Error> {
                $finish!(self.exchange.change(change))
            }

            /// Makes changes in order, many to a system call, and returns what became of each, in the same order. One that is refused does not
            /// stop those that follow. If an answer does not come, the rest is not sent.
            pub $($keyword)? fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
                $finish!(self.exchange.apply(changes))
            }

            /// These services with their destinations, as [`confirmed_table`](Self::confirmed_table) reads them; other services
            /// are not read, unless there are more than 256 of these. Services that are not there are left out.
            ///
            /// The answer for one service shows one moment. Lists of more than about 80 destinations may be torn, and are
            /// read twice or more.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn table_of(&mut self, services: &[ServiceKey]) -> Result<Table, Error> {
                $finish!(self.exchange.table_of(services))
            }

            /// Brings the table to the wanted one: reads it, plans, makes the changes, and starts over where another program
            /// was faster. With [`Scope::Services`](crate::plan::Scope::Services) only those services are read.
            /// `now` is the time by a clock that does not go back.
            ///
            /// The reconciler remembers what is being drained, also if the call fails or its future is dropped. The
            /// [`Report`] names the changes, and the time to wait before the next call.
            ///
            /// # Errors
            ///
            /// A [`ReconcileError`] if the table cannot be read, with the changes that were made before.
            pub $($keyword)? fn reconcile(
                &mut self,
                reconciler: &mut Reconciler,
                wanted: Wanted<'_>,
                now: Duration,
            ) -> Result<Report, ReconcileError> {
                $finish!(self.exchange.reconcile(reconciler.begin(wanted, now)))
            }

            /// Adds a service.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`already_exists`](Error::already_exists) if there is such a service.
            pub $($keyword)? fn add_service(&mut self, service: Service) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::AddService(service)))
            }

            /// Changes settings of a service and leaves the others as they are: reads it, has it edited, and writes it if it differs. Its key
            /// stays what it is.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service.
            pub $($keyword)? fn update_service(
                &mut self,
                key: ServiceKey,
                edit: impl FnOnce(&mut Service),
            ) -> Result<(), Error> {
                $finish!(self.exchange.update_service(key, edit))
            }

            /// Deletes a service with its destinations.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service.
            pub $($keyword)? fn delete_service(&mut self, key: ServiceKey) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::DeleteService(key)))
            }

            /// Adds a destination to a service.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service, one that
            /// [`already_exists`](Error::already_exists) if it has such a destination.
            pub $($keyword)? fn add_destination(
                &mut self,
                service: ServiceKey,
                destination: Destination,
            ) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::AddDestination { service, destination }))
            }

            /// Changes settings of a destination and leaves the others as they are: reads it, has it edited, and writes it if it differs. Its key
            /// stays what it is.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service or destination.
            pub $($keyword)? fn update_destination(
                &mut self,
                service: ServiceKey,
                destination: DestinationKey,
                edit: impl FnOnce(&mut Destination),
            ) -> Result<(), Error> {
                $finish!(self.exchange.update_destination(service, destination, edit))
            }

            /// Deletes a destination. Its connections stall until it is added again, or with `net.ipv4.vs.expire_nodest_conn` at 1 are cut; to let
            /// them end, set its weight to 0 first.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service or destination.
            pub $($keyword)? fn delete_destination(
                &mut self,
                service: ServiceKey,
                destination: DestinationKey,
            ) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::DeleteDestination { service, destination }))
            }

            /// Deletes all services.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn flush(&mut self) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::Flush))
            }

            /// Sets the counters of a service and its destinations to zero, or with `None` those of all.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if there is no such service.
            pub $($keyword)? fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), Error> {
                let change = service.map_or(Change::ZeroAll, Change::ZeroService);
                $finish!(self.exchange.change(change))
            }

            /// The sync daemons that run: none, a master, a backup, or both.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
                $finish!(self.exchange.daemons())
            }

            /// Makes the sync daemons the wanted ones: starts, stops, or starts again with other settings. Daemons that run
            /// as wanted go on.
            ///
            /// # Errors
            ///
            /// An [`Error`] if the daemons cannot be listed. The [`DaemonReport`] has errors of single changes.
            pub $($keyword)? fn reconcile_daemons(
                &mut self,
                wanted: &[SyncDaemon],
            ) -> Result<DaemonReport, Error> {
                $finish!(self.exchange.reconcile_daemons(wanted))
            }

            /// Starts a sync daemon.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`already_exists`](Error::already_exists) if such a daemon runs.
            pub $($keyword)? fn start_daemon(&mut self, daemon: SyncDaemon) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::StartDaemon(daemon)))
            }

            /// Stops a sync daemon. The kernel waits for its threads, and has been seen not to come back: then this ends with the time limit, and a
            /// thread stays behind until the kernel does.
            ///
            /// # Errors
            ///
            /// An [`Error`]; one that [`is_missing`](Error::is_missing) if no such daemon runs.
            pub $($keyword)? fn stop_daemon(&mut self, state: DaemonState) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::StopDaemon(state)))
            }

            /// How long connections without traffic are kept.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn timeouts(&mut self) -> Result<Timeouts, Error> {
                $finish!(self.exchange.timeouts())
            }

            /// Sets how long connections without traffic are kept; 0 leaves one as it is.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::SetTimeouts(timeouts)))
            }

            /// The version of the kernel's IPVS, and the size of its connection table.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn info(&mut self) -> Result<Info, Error> {
                $finish!(self.exchange.info())
            }
        }
    };
}

macro_rules! blocking {
    ($future:expr) => {
        ready($future)
    };
}

#[cfg(feature = "tokio")]
macro_rules! awaited {
    ($future:expr) => {
        $future.await
    };
}

methods!(Client, blocking);
#[cfg(feature = "tokio")]
methods!(AsyncClient, awaited, async);
