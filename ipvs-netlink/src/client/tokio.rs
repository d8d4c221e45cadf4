//! The client for tokio.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    task::spawn_blocking,
    time::{sleep, timeout_at},
};

use super::{
    DEFAULT_TIMEOUT,
    exchange::Exchange,
    socket::{self, Deadline, Room, Transport, send_now},
};
use crate::{
    Error, NoAnswer,
    namespace::{self, errno, from_io},
};

/// An async client for tokio.
///
/// It has the methods of [`Client`](super::Client). A future may be dropped before it is ready.
/// Whether its change was made is then unknown; the client stays usable.
///
/// The kernel makes a change inside the system call, which blocks the thread of the runtime: for
/// microseconds, for some milliseconds if it replaces a scheduler, or for as long as loading a
/// module takes.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use ipvs_netlink::AsyncClient;
///
/// let mut client = AsyncClient::open().await?;
/// println!("IPVS {}", client.info().await?.version);
/// let reading = tokio::spawn(async move { client.confirmed_table().await });
/// println!("{} services", reading.await??.entries.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AsyncClient {
    pub(super) exchange: Exchange<Waiting>,
}

impl AsyncClient {
    /// Opens a client for the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if this kernel has no IPVS; [`Error::System`] if no socket can be
    /// opened.
    ///
    /// # Panics
    ///
    /// Tokio panics outside a runtime, and in a runtime without I/O or time. The same holds for the
    /// other ways to open.
    pub async fn open() -> Result<Self, Error> {
        Self::with(socket::open()?, socket::open()?).await
    }

    /// Opens a client for the network namespace of a file descriptor, such as an open
    /// `/proc/PID/ns/net`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::System`] if the namespace cannot be entered.
    pub async fn open_in(namespace: impl AsFd) -> Result<Self, Error> {
        let (main, second) = socket::open_two_in(namespace.as_fd())?;
        drop(namespace);
        Self::with(main, second).await
    }

    /// Opens a client for a network namespace by its path, such as `/run/netns/NAME`.
    ///
    /// # Errors
    ///
    /// As [`open_in`](Self::open_in), and [`Error::System`] if there is no such file.
    pub async fn open_path(namespace: impl AsRef<Path>) -> Result<Self, Error> {
        let namespace = namespace::open(namespace.as_ref())?;
        Self::open_in(namespace).await
    }

    async fn with(main: OwnedFd, second: OwnedFd) -> Result<Self, Error> {
        let (main, second) = (Waiting::new(main)?, Waiting::new(second)?);
        let exchange = Exchange::open(main, Some(second), DEFAULT_TIMEOUT).await?;
        Ok(Self { exchange })
    }

    /// Sets the time limit for subsequent calls, clamped to 1 ms ..= 365 days.
    pub fn set_timeout(&mut self, limit: Duration) {
        self.exchange.limit = limit;
    }
}

impl AsFd for AsyncClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exchange.as_fd()
    }
}

/// A socket that is registered with tokio.
#[derive(Debug)]
pub(super) struct Waiting {
    socket: AsyncFd<OwnedFd>,
}

impl Waiting {
    fn new(socket: OwnedFd) -> Result<Self, Error> {
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped, which
        // `AsyncFd` does after it has deregistered it.
        #[allow(unsafe_code)]
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| from_io("watch the socket", &error.into()))?;
        Ok(Self { socket })
    }
}

impl AsFd for Waiting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Transport for Waiting {
    async fn send(&mut self, octets: &[u8]) -> Result<(), NoAnswer> {
        // A send never waits for room: the kernel has processed the datagram when the call returns.
        send_now(&self.socket, octets)
    }

    async fn send_slow(&mut self, octets: &[u8], deadline: &mut Deadline) -> Result<(), NoAnswer> {
        let socket = self
            .socket
            .get_ref()
            .try_clone()
            .map_err(|error| failed(&error))?;
        let octets = octets.to_vec();
        let sending = spawn_blocking(move || send_now(socket, &octets));
        match timeout_at(deadline.end().into(), sending).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) | Err(_) => Err(NoAnswer::TimedOut),
        }
    }

    async fn pause(&mut self, time: Duration) {
        sleep(time).await;
    }

    async fn receive(&mut self, room: &mut Room, deadline: &mut Deadline) -> Result<(), NoAnswer> {
        deadline.check()?;
        while !room.receive_now(&self.socket)? {
            let mut ready = match timeout_at(deadline.end().into(), self.socket.readable()).await {
                Ok(Ok(ready)) => ready,
                Ok(Err(error)) => return Err(failed(&error)),
                Err(_) => return Err(NoAnswer::TimedOut),
            };
            if room.receive_now(&self.socket)? {
                break;
            }
            ready.clear_ready();
        }
        Ok(())
    }
}

fn failed(error: &std::io::Error) -> NoAnswer {
    NoAnswer::Socket(errno(error))
}
