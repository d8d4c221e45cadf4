//! Generic netlink sockets, and the transport over a blocking one.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno as Os,
    getsockopt_impl,
    sys::{
        socket::{
            AddressFamily, MsgFlags, MultiHeaders, NetlinkAddr, SockFlag, SockProtocol, SockType,
            connect, getsockopt, recvmmsg, send, setsockopt, socket,
            sockopt::{GetStruct, ReceiveTimeout},
        },
        time::TimeVal,
    },
};

use crate::{
    Errno, Error, NoAnswer,
    namespace::{errno, inside, system},
};

/// Opens a socket in the network namespace of the calling thread, connected to the kernel.
pub(super) fn open() -> Result<OwnedFd, Error> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkGeneric,
    )
    .map_err(system("open a netlink socket"))?;
    connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))
        .map_err(system("connect to the kernel"))?;
    Ok(socket)
}

/// Opens two sockets in another network namespace.
pub(super) fn open_two_in(namespace: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd), Error> {
    inside(namespace, || Ok((open()?, open()?)))
}

/// Clamps a time limit: a socket treats zero as no limit, and a clock cannot represent the end of a
/// very long one.
fn within_bounds(limit: Duration) -> Duration {
    limit.clamp(
        Duration::from_millis(1),
        Duration::from_secs(365 * 24 * 60 * 60),
    )
}

/// The end of a time limit. The clock is read late and seldom: most answers arrive at once, and
/// reading it can cost as much as receiving.
#[derive(Debug)]
pub(super) struct Deadline {
    limit: Duration,
    end: Option<Instant>,
    checks: u8,
}

impl Deadline {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit: within_bounds(limit),
            end: None,
            checks: 0,
        }
    }

    /// When the time is up.
    pub(super) fn end(&mut self) -> Instant {
        *self.end.get_or_insert_with(|| Instant::now() + self.limit)
    }

    /// Checks whether time is left, but not on every call.
    pub(super) fn check(&mut self) -> Result<(), NoAnswer> {
        self.checks = (self.checks + 1) % 16;
        if self.checks == 0 {
            self.check_now()?;
        }
        Ok(())
    }

    /// Whether there is time left.
    fn check_now(&mut self) -> Result<(), NoAnswer> {
        if Instant::now() >= self.end() {
            return Err(NoAnswer::TimedOut);
        }
        Ok(())
    }
}

/// Passes octets to the kernel and back.
pub(super) trait Transport: AsFd {
    /// Sends a datagram. The kernel does the work before this returns, unless it starts a dump.
    async fn send(&mut self, octets: &[u8]) -> Result<(), NoAnswer>;

    /// Sends a datagram that may keep the kernel busy for long, giving up at a time.
    async fn send_slow(&mut self, octets: &[u8], deadline: &mut Deadline) -> Result<(), NoAnswer>;

    /// Waits for a time.
    async fn pause(&mut self, time: Duration);

    /// Waits for a datagram until the deadline, and takes others that have arrived too, up to
    /// [`DATAGRAMS`].
    async fn receive(&mut self, room: &mut Room, deadline: &mut Deadline) -> Result<(), NoAnswer>;
}

/// The most datagrams that one system call receives. A list of three pieces fits: its end is a
/// datagram of its own, and the kernel makes the next piece when one is read.
const DATAGRAMS: usize = 4;

/// Room for some datagrams, and how much of it is used.
#[derive(Debug)]
pub(super) struct Room {
    octets: Box<[u8]>,
    /// Room for one datagram.
    datagram: usize,
    lengths: [usize; DATAGRAMS],
}

/// Room for the longest datagram of the kernel. The kernel makes room for as much as the longest
/// read so far asked for, at most 32 KiB less the overhead of a socket buffer.
const DATAGRAM: usize = 64 * 1024;

/// A full piece of a list has at least this many octets, for a reader with room for more: 32 KiB
/// less `struct skb_shared_info` (`SKB_WITH_OVERHEAD(32768)`), which has 320 to 768 octets.
const LONG_PIECE: usize = 32_000;

/// The room of a second reader. A list that may have filled one long piece does not fit into one of
/// these, and begins its second piece with few objects. A listed object has 320 to 400 octets, so
/// the numbers of objects in a piece have a large common multiple with those in a long piece.
const SHORTER_DATAGRAM: usize = 31_040;

impl Room {
    pub(super) fn new() -> Self {
        Self::of(DATAGRAM)
    }

    /// Creates room for which the kernel ends pieces of a list elsewhere than for
    /// [`new`](Self::new).
    pub(super) fn shorter() -> Self {
        Self::of(SHORTER_DATAGRAM)
    }

    fn of(datagram: usize) -> Self {
        Self {
            octets: vec![0; DATAGRAMS * datagram].into(),
            datagram,
            lengths: [0; DATAGRAMS],
        }
    }

    /// The least room that the kernel makes for a piece of a list, unless it is short of memory.
    pub(super) fn piece(&self) -> usize {
        self.datagram.min(LONG_PIECE)
    }

    /// The datagrams that were received last.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Result<&[u8], NoAnswer>> {
        self.octets
            .chunks(self.datagram)
            .zip(self.lengths)
            .filter(|(_, length)| *length > 0)
            .map(|(octets, length)| octets.get(..length).ok_or(NoAnswer::Truncated))
    }

    /// Receives waiting datagrams, and returns whether there were any.
    pub(super) fn receive_now(&mut self, socket: impl AsFd) -> Result<bool, NoAnswer> {
        self.receive(socket, MsgFlags::MSG_DONTWAIT, || Ok(()))
    }

    /// Receives datagrams, and returns whether there were any. `interrupted` decides whether to go
    /// on after a signal.
    fn receive(
        &mut self,
        socket: impl AsFd,
        flags: MsgFlags,
        mut interrupted: impl FnMut() -> Result<(), NoAnswer>,
    ) -> Result<bool, NoAnswer> {
        // With MSG_TRUNC the length is that of the whole datagram, even if it does not fit.
        let flags = flags | MsgFlags::MSG_TRUNC | MsgFlags::MSG_WAITFORONE;
        self.lengths = [0; DATAGRAMS];
        loop {
            let mut headers = MultiHeaders::<()>::preallocate(self.lengths.len(), None);
            let mut rooms: Vec<_> = self
                .octets
                .chunks_mut(self.datagram)
                .map(|room| [IoSliceMut::new(room)])
                .collect();
            let received = recvmmsg(
                socket.as_fd().as_raw_fd(),
                &mut headers,
                rooms.iter_mut(),
                flags,
                None,
            );
            match received {
                Ok(datagrams) => {
                    for (length, datagram) in self.lengths.iter_mut().zip(datagrams) {
                        *length = datagram.bytes;
                    }
                    return Ok(true);
                }
                Err(Os::EINTR) => interrupted()?,
                Err(Os::EAGAIN) => return Ok(false),
                Err(Os::ENOBUFS) => return Err(NoAnswer::Overrun),
                Err(error) => return Err(NoAnswer::Socket(Errno(error as i32))),
            }
        }
    }
}

getsockopt_impl!(
    MemoryInfo,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; 9],
    GetStruct<[u32; 9]>
);

/// `SO_MEMINFO`: the memory of a socket. The first number is that of the datagrams that wait to be
/// read (`SK_MEMINFO_RMEM_ALLOC`), with everything that the kernel allocated for them.
#[derive(Clone, Copy, Debug)]
struct MemoryInfo;

/// The memory of the datagrams that wait to be read; `None` if the kernel does not report it.
pub(super) fn waiting_memory(socket: impl AsFd) -> Option<usize> {
    let memory = getsockopt(&socket, MemoryInfo).ok()?;
    usize::try_from(memory[0]).ok()
}

pub(super) fn send_now(socket: impl AsFd, octets: &[u8]) -> Result<(), NoAnswer> {
    loop {
        match send(socket.as_fd().as_raw_fd(), octets, MsgFlags::empty()) {
            Ok(_) => return Ok(()),
            Err(Os::EINTR) => {}
            Err(error) => return Err(NoAnswer::Socket(Errno(error as i32))),
        }
    }
}

/// A blocking socket. Its calls are ready when they return.
#[derive(Debug)]
pub(super) struct Blocking {
    socket: OwnedFd,
    /// The time limit that the socket has.
    limit: Duration,
}

impl Blocking {
    pub(super) fn new(socket: OwnedFd, limit: Duration) -> Result<Self, Error> {
        let mut new = Self {
            socket,
            limit: Duration::ZERO,
        };
        new.set_limit(limit)?;
        Ok(new)
    }

    /// Sets the longest time that one receive may take.
    pub(super) fn set_limit(&mut self, limit: Duration) -> Result<(), Error> {
        let limit = within_bounds(limit);
        if limit != self.limit {
            let seconds = libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX);
            // The microseconds are less than 2^20, and the field is an i32 on 32-bit machines.
            let value = TimeVal::new(seconds, limit.subsec_micros().cast_signed().into());
            setsockopt(&self.socket, ReceiveTimeout, &value)
                .map_err(system("set the time limit of the socket"))?;
            self.limit = limit;
        }
        Ok(())
    }
}

impl AsFd for Blocking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Transport for Blocking {
    async fn send(&mut self, octets: &[u8]) -> Result<(), NoAnswer> {
        send_now(&self.socket, octets)
    }

    /// The kernel works inside the system call, and a system call has no time limit: so another
    /// thread makes it. If the kernel never returns, that thread never ends.
    async fn send_slow(&mut self, octets: &[u8], deadline: &mut Deadline) -> Result<(), NoAnswer> {
        let failed = |error: io::Error| NoAnswer::Socket(errno(&error));
        let socket = self.socket.try_clone().map_err(failed)?;
        let octets = octets.to_vec();
        let (done, wait) = mpsc::sync_channel(1);
        thread::Builder::new()
            .spawn(move || {
                // This fails if the caller has stopped waiting.
                let _ = done.send(send_now(socket, &octets));
            })
            .map_err(failed)?;
        let left = deadline.end().saturating_duration_since(Instant::now());
        wait.recv_timeout(left).unwrap_or(Err(NoAnswer::TimedOut))
    }

    async fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }

    async fn receive(&mut self, room: &mut Room, deadline: &mut Deadline) -> Result<(), NoAnswer> {
        // The socket's own limit restarts with each datagram and each signal; the deadline bounds
        // their sum.
        deadline.check()?;
        let interrupted = || deadline.check_now();
        if room.receive(&self.socket, MsgFlags::empty(), interrupted)? {
            Ok(())
        } else {
            Err(NoAnswer::TimedOut)
        }
    }
}
