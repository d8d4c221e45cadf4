//! Clients of the kernel's IPVS.
//!
//! [`Client`] blocks. With the feature `tokio`, `AsyncClient` has the same methods as `async fn`s.
//! A client belongs to the network namespace in which its sockets were opened, whichever thread
//! uses it later. Dropping it closes the sockets.
//!
//! ```no_run
//! use ipvs_netlink::{
//!     Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
//! };
//!
//! let mut client = Client::open()?;
//! let service = ServiceKey::tcp(([192, 0, 2, 1], 80));
//! client.add_service(Service::new(service, Scheduler::WRR))?;
//! for server in 1..=3 {
//!     let key = DestinationKey::new(([10, 0, 0, server], 80));
//!     client.add_destination(service, Destination::new(key, ForwardingMethod::Masquerade))?;
//! }
//! let second = DestinationKey::new(([10, 0, 0, 2], 80));
//! client.update_destination(service, second, |server| server.weight = 5.into())?;
//! for entry in client.table()?.entries {
//!     println!("{}: {} servers", entry.service.service.key, entry.destinations.len());
//! }
//! # Ok::<(), ipvs_netlink::Error>(())
//! ```
//!
//! # The kernel's interface
//!
//! * Every call, even a read, needs `CAP_NET_ADMIN` in the initial user namespace.
//! * There are no notifications: a program that follows changes has to poll.
//! * There are no transactions: each change of a batch succeeds or fails on its own.
//! * Long lists come in pieces. If the table changes between two of them, the kernel may silently
//!   skip objects. [`Table::may_be_incomplete`] reports that this is possible;
//!   [`confirmed_table`](Client::confirmed_table) reads again until the list can be trusted.

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
    plan::{DaemonReport, ReconcileError, ReconcileReport, Reconciler, Wanted},
};

/// The default time limit of a request, 5 seconds. [`Client::set_timeout`] sets another.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A blocking client.
///
/// It has two sockets: both read long lists, to make sure that nothing is missing. [`AsFd`] returns
/// the first.
///
/// The time limit ([`DEFAULT_TIMEOUT`]) applies to each request that a call sends to the kernel.
#[derive(Debug)]
pub struct Client {
    exchange: Exchange<Blocking>,
}

impl Client {
    /// Opens a client for the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if this kernel has no IPVS; [`Error::System`] if no socket can be
    /// opened.
    pub fn open() -> Result<Self, Error> {
        Self::with(socket::open()?, Some(socket::open()?))
    }

    /// Opens a client for the network namespace of a file descriptor, such as an open
    /// `/proc/PID/ns/net`.
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

    /// Sets the time limit for subsequent calls, clamped to 1 ms ..= 365 days.
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

/// Runs a future over a blocking transport, whose calls are ready when they return.
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
            /// Lists all services. If a long list changes while it is read, services may be
            /// missing; [`confirmed_table`](Self::confirmed_table) rules this out where it can.
            ///
            /// # Errors
            ///
            /// An [`Error`], even for an object that this crate cannot represent;
            /// [`table`](Self::table) returns such objects separately.
            pub $($keyword)? fn services(&mut self) -> Result<Vec<ListedService>, Error> {
                $finish!(self.exchange.services())
            }

            /// Reads one service.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service.
            pub $($keyword)? fn service(&mut self, key: ServiceKey) -> Result<ListedService, Error> {
                $finish!(self.exchange.service(key))
            }

            /// Lists the destinations of a service. If a long list changes while it is read,
            /// destinations may be missing; [`confirmed_table`](Self::confirmed_table) rules this
            /// out where it can.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service.
            pub $($keyword)? fn destinations(
                &mut self,
                service: ServiceKey,
            ) -> Result<Vec<ListedDestination>, Error> {
                $finish!(self.exchange.destinations(service))
            }

            /// Reads all services with their destinations, each once. [`Table::may_be_incomplete`]
            /// shows whether something may be missing.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn table(&mut self) -> Result<Table, Error> {
                $finish!(self.exchange.table())
            }

            /// Reads all services with their destinations, and reads lists that may be incomplete
            /// again until they can be trusted. If another program keeps changing the table, the
            /// result may still be incomplete, which [`Table::may_be_incomplete`] shows.
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

            /// Makes changes in order, up to 64 per system call, and returns their results in the
            /// same order. A refused change does not stop those that follow. After a missing answer
            /// the rest is not sent.
            pub $($keyword)? fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
                $finish!(self.exchange.apply(changes))
            }

            /// Reads some services with their destinations, as
            /// [`confirmed_table`](Self::confirmed_table) does. Up to 256 services are requested
            /// one by one; for more, the list of all is read. Missing services are left out.
            ///
            /// The answer for one service is consistent. A list of more than about 80 destinations
            /// may be torn, so it is read at least twice.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn table_of(&mut self, services: &[ServiceKey]) -> Result<Table, Error> {
                $finish!(self.exchange.table_of(services))
            }

            /// Brings the table to the wanted state: reads it, plans, makes the changes, and
            /// repeats if another program interferes. With
            /// [`Scope::Services`](crate::plan::Scope::Services) only those services are read.
            /// `now` is the time of a monotonic clock.
            ///
            /// The reconciler remembers draining destinations, also if the call fails or its future
            /// is dropped. The [`ReconcileReport`] lists the changes and the time to wait before
            /// the next call.
            ///
            /// # Errors
            ///
            /// A [`ReconcileError`] if the table cannot be read, with the changes that were made
            /// before.
            pub $($keyword)? fn reconcile(
                &mut self,
                reconciler: &mut Reconciler,
                wanted: Wanted<'_>,
                now: Duration,
            ) -> Result<ReconcileReport, ReconcileError> {
                $finish!(self.exchange.reconcile(reconciler.begin(wanted, now)))
            }

            /// Adds a service.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`already_exists`](Error::already_exists) is true if there is such a
            /// service.
            pub $($keyword)? fn add_service(&mut self, service: Service) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::AddService(service)))
            }

            /// Changes settings of a service: reads it, calls `edit`, and writes it if it differs.
            /// The key cannot change.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service.
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
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service.
            pub $($keyword)? fn delete_service(&mut self, key: ServiceKey) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::DeleteService(key)))
            }

            /// Adds a destination to a service.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service,
            /// [`already_exists`](Error::already_exists) if it has such a destination.
            pub $($keyword)? fn add_destination(
                &mut self,
                service: ServiceKey,
                destination: Destination,
            ) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::AddDestination { service, destination }))
            }

            /// Changes settings of a destination: reads it, calls `edit`, and writes it if it
            /// differs. The key cannot change.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service
            /// or destination.
            pub $($keyword)? fn update_destination(
                &mut self,
                service: ServiceKey,
                destination: DestinationKey,
                edit: impl FnOnce(&mut Destination),
            ) -> Result<(), Error> {
                $finish!(self.exchange.update_destination(service, destination, edit))
            }

            /// Deletes a destination. Its connections stall until it is added again, or are cut if
            /// `net.ipv4.vs.expire_nodest_conn` is 1. To let them end, set its weight to 0 first.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service
            /// or destination.
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

            /// Resets the counters of a service and its destinations, or of all services if
            /// `service` is `None`.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if there is no such service.
            pub $($keyword)? fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), Error> {
                let change = service.map_or(Change::ZeroAll, Change::ZeroService);
                $finish!(self.exchange.change(change))
            }

            /// Lists the running sync daemons: none, a master, a backup, or both.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
                $finish!(self.exchange.daemons())
            }

            /// Brings the sync daemons to the wanted state: starts, stops and restarts those that
            /// differ. Daemons that already run as wanted keep running.
            ///
            /// # Errors
            ///
            /// An [`Error`] if the daemons cannot be listed. The [`DaemonReport`] has the errors of
            /// single changes.
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
            /// An [`Error`]; [`already_exists`](Error::already_exists) is true if such a daemon
            /// runs.
            pub $($keyword)? fn start_daemon(&mut self, daemon: SyncDaemon) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::StartDaemon(daemon)))
            }

            /// Stops a sync daemon. The kernel waits for the daemon's threads, and has been seen to
            /// hang. The call then ends at its time limit, and a thread of this process remains
            /// until the kernel answers.
            ///
            /// # Errors
            ///
            /// An [`Error`]; [`is_missing`](Error::is_missing) is true if no such daemon runs.
            pub $($keyword)? fn stop_daemon(&mut self, state: DaemonState) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::StopDaemon(state)))
            }

            /// Reads the timeouts of idle connections.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn timeouts(&mut self) -> Result<Timeouts, Error> {
                $finish!(self.exchange.timeouts())
            }

            /// Sets the timeouts of idle connections; 0 keeps the current value.
            ///
            /// # Errors
            ///
            /// An [`Error`].
            pub $($keyword)? fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error> {
                $finish!(self.exchange.change(Change::SetTimeouts(timeouts)))
            }

            /// Reads the version of the kernel's IPVS and the size of its connection table.
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
