//! A hand-over to another process, over a Unix stream socket.
//!
//! ```text
//! successor                           predecessor
//! "vrrp-net successor 1\n"  ───────►  routers run until here
//!                           ◄───────  "vrrp-net predecessor 1\n", number of descriptors,
//!                                     length of the state
//!                           ◄───────  "f" with up to 64 descriptors, until all are there
//!                           ◄───────  the state
//! "r": it can go on         ───────►
//!                           ◄───────  "g": it must go on; the predecessor has stopped
//! ```
//!
//! Until the last octet the predecessor keeps everything, and continues with its routers when the
//! successor fails, breaks the rules, or takes too long. After it, only the successor continues. If
//! the successor dies at that moment, it is like a crash: other routers take over.

use std::{
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, IoSlice, IoSliceMut},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::geteuid,
};
use vrrp_fsm::State;

use super::{Driver, HandOver};
use crate::{Error, kernel::sys};

const SUCCESSOR: &[u8] = b"vrrp-net successor 1\n";
const PREDECESSOR: &[u8] = b"vrrp-net predecessor 1\n";
const DESCRIPTORS: &[u8] = b"f";
const READY: &[u8] = b"r";
const GO: &[u8] = b"g";

/// The most descriptors in one message. The kernel allows 253.
const AT_ONCE: usize = 64;

/// The most descriptors of one driver: memberships on 80,000 interfaces.
const MOST_DESCRIPTORS: u32 = 4096;

/// The most bytes of a state: 100,000 routers.
const LONGEST_STATE: u64 = 1 << 30;

/// The shortest and the longest time that a predecessor gives a successor.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The time that a successor waits for the last word of its predecessor. The predecessor keeps to
/// `LONGEST`, and its end closes the socket.
const LAST_WORD: Duration = Duration::from_secs(60);

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Another process that is ready to take over: for [`Driver::hand_over_to`].
#[derive(Debug)]
pub struct Successor(Connection);

impl Successor {
    /// Waits until the process at the other end of a connection is ready, in
    /// [`Driver::take_over_from`]. Call it on a thread other than the driver's, so that the routers
    /// keep running in the meantime.
    ///
    /// # Errors
    ///
    /// [`Error::HandOver`] for a process of another user (only root and the user of this process
    /// may take over), for one that breaks the rules, and after `limit`; [`Error::Os`].
    pub fn accept(stream: UnixStream, limit: Duration) -> Result<Self, Error> {
        let mut connection = Connection::new(stream, limit)?;
        connection.expect(SUCCESSOR, "a successor of the same version")?;
        Ok(Self(connection))
    }
}

impl Driver {
    /// Hands over to another process. On success the driver [is stopped](Self::is_stopped), and its
    /// last notifications can be [read](Self::next_notification). On an error it continues, and the
    /// next turn serves at once the timers that expired in the meantime.
    ///
    /// No router does anything while the successor takes over. After `limit` the driver gives up;
    /// `None` means twice the shortest advertisement interval of an Active, but at least 100 ms: no
    /// other router takes over in that time, unless an interval is shorter than 50 ms.
    ///
    /// ```no_run
    /// use std::{os::unix::net::UnixListener, time::Duration};
    /// use vrrp_net::{Driver, Successor};
    ///
    /// let mut driver = Driver::new()?;
    /// let handle = driver.handle();
    /// std::thread::spawn(move || {
    ///     let listener = UnixListener::bind("/run/program/take-over")?;
    ///     for stream in listener.incoming() {
    ///         let successor = Successor::accept(stream?, Duration::from_secs(10));
    ///         let hand_over = |successor| {
    ///             handle.call(|driver: &mut Driver| driver.hand_over_to(successor, None))?
    ///         };
    ///         match successor.and_then(hand_over) {
    ///             Ok(()) => break,
    ///             Err(error) => println!("{error}"),
    ///         }
    ///     }
    ///     Ok::<(), std::io::Error>(())
    /// });
    /// driver.run(|notification| println!("{notification}"))?;
    /// # Ok::<(), vrrp_net::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`hand_over`](Self::hand_over) and [`Successor::accept`].
    pub fn hand_over_to(
        &mut self,
        successor: Successor,
        limit: Option<Duration>,
    ) -> Result<(), Error> {
        let limit = limit.unwrap_or_else(|| self.hand_over_limit());
        let Successor(mut connection) = successor;
        connection.set_limit(limit.min(LONGEST));
        let state = self.prepare_hand_over()?;
        let (bytes, descriptors) = self.lend(&state)?;
        connection.send_state(&bytes, &descriptors)?;
        connection.expect(READY, "the successor to be ready")?;
        // The sockets are closed, so the successor does not ask an instance that no longer answers.
        self.instance.close();
        self.close_sources();
        if let Err(error) = connection.send(GO, &[]) {
            self.instance.reopen()?;
            self.watch_sources()?;
            return Err(error);
        }
        drop(self.cease());
        Ok(())
    }

    /// Twice the shortest advertisement interval of an Active.
    fn hand_over_limit(&self) -> Duration {
        let machines = self.fleet.iter().map(|(_, machine)| machine);
        let actives = machines.filter(|machine| machine.state() == State::Active);
        let shortest = actives.map(|it| it.config().interval.as_duration()).min();
        shortest.map_or(LONGEST, |it| (it * 2).max(SHORTEST))
    }

    /// Takes over from another process, in its network namespace and with its user or as root: see
    /// [`hand_over_to`](Self::hand_over_to) and [`take_over`](Self::take_over). Where no
    /// predecessor listens at the socket, use [`new`](Self::new).
    ///
    /// ```no_run
    /// use std::{os::unix::net::UnixStream, time::Duration};
    /// use vrrp_net::Driver;
    ///
    /// let mut driver = match UnixStream::connect("/run/program/take-over") {
    ///     Ok(predecessor) => Driver::take_over_from(predecessor, Duration::from_secs(10))?,
    ///     Err(_) => Driver::new()?,
    /// };
    /// # Ok::<(), vrrp_net::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`take_over`](Self::take_over) and [`Successor::accept`]. The predecessor then
    /// continues, if it still runs.
    pub fn take_over_from(predecessor: UnixStream, limit: Duration) -> Result<Self, Error> {
        let mut connection = Connection::new(predecessor, limit)?;
        // The slow steps come before the predecessor stops.
        let driver = Self::new()?;
        connection.send(SUCCESSOR, &[])?;
        let (bytes, descriptors) = connection.receive_state()?;
        let mut driver = driver.resume(HandOver::from_parts(&bytes, descriptors)?)?;
        connection.send(READY, &[])?;
        connection.set_limit(LAST_WORD);
        connection.expect(GO, "the predecessor to stop")?;
        driver.instance.ask_again();
        Ok(driver)
    }
}

fn broken(problem: impl Into<String>) -> Error {
    Error::HandOver {
        problem: problem.into(),
    }
}

/// A connection with a single time limit for everything that is sent and received.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    end: Instant,
}

impl Connection {
    fn new(stream: UnixStream, limit: Duration) -> Result<Self, Error> {
        let other = sys::peer_of(stream.as_fd())
            .map_err(Error::os("find the user of the other process"))?;
        let own = geteuid().as_raw();
        if other.uid != own && other.uid != 0 {
            return Err(broken(format!(
                "the other process runs as user {}, and only root and user {own} may take part",
                other.uid
            )));
        }
        stream
            .set_nonblocking(true)
            .map_err(Error::os("hand over without waiting"))?;
        let mut connection = Self {
            stream,
            end: Instant::now(),
        };
        connection.set_limit(limit);
        Ok(connection)
    }

    /// Sets the time limit from now on: a year at most, because a clock has an end.
    fn set_limit(&mut self, limit: Duration) {
        self.end = Instant::now() + limit.min(YEAR);
    }

    /// Waits until the socket can be read or written.
    fn wait(&self, flags: PollFlags) -> Result<(), Error> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(broken("the other process took too long"));
            }
            let mut source = [PollFd::new(&self.stream, flags)];
            match poll(&mut source, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(failed("wait for")(errno)),
            }
        }
    }

    /// Sends all octets, with descriptors attached to the first.
    fn send(&mut self, octets: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let (mut rest, mut ancillary) = (octets, descriptors);
        while !rest.is_empty() {
            let mut control = SendAncillaryBuffer::new(&mut room);
            if !ancillary.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(ancillary));
            }
            let flags = SendFlags::NOSIGNAL;
            match sendmsg(&self.stream, &[IoSlice::new(rest)], &mut control, flags) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    ancillary = &[];
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(errno) => return Err(failed("send to")(errno)),
            }
        }
        Ok(())
    }

    /// Receives octets, at least one, and the descriptors attached to them.
    fn receive(
        &mut self,
        octets: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
    ) -> Result<usize, Error> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        loop {
            let mut control = RecvAncillaryBuffer::new(&mut room);
            let mut buffer = [IoSliceMut::new(octets)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = match recvmsg(&self.stream, &mut buffer, &mut control, flags) {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    self.wait(PollFlags::IN)?;
                    continue;
                }
                Err(errno) => return Err(failed("receive from")(errno)),
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights);
                }
            }
            if received.flags.contains(ReturnFlags::CTRUNC) {
                return Err(broken(
                    "the other process sent too many descriptors at once",
                ));
            }
            if received.bytes == 0 {
                return Err(broken("the other process has closed the connection"));
            }
            return Ok(received.bytes);
        }
    }

    fn receive_exact(&mut self, octets: &mut [u8]) -> Result<(), Error> {
        let mut descriptors = Vec::new();
        let mut rest = octets;
        while !rest.is_empty() {
            let count = self.receive(rest, &mut descriptors)?;
            if !descriptors.is_empty() {
                return Err(broken(
                    "the other process sent descriptors where there are none",
                ));
            }
            rest = rest.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Receives exactly these octets.
    fn expect(&mut self, expected: &[u8], what: &str) -> Result<(), Error> {
        let mut octets = vec![0; expected.len()];
        self.receive_exact(&mut octets)?;
        if octets == expected {
            return Ok(());
        }
        Err(broken(format!("expected {what}, received {octets:?}")))
    }

    fn send_state(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let count = u32::try_from(descriptors.len()).unwrap_or(u32::MAX);
        let length = bytes.len() as u64;
        if count > MOST_DESCRIPTORS || length > LONGEST_STATE {
            return Err(broken(format!(
                "{count} sockets and {length} octets of state are more than the {MOST_DESCRIPTORS} and {LONGEST_STATE} that there may be"
            )));
        }
        let head = [PREDECESSOR, &count.to_be_bytes(), &length.to_be_bytes()].concat();
        self.send(&head, &[])?;
        for some in descriptors.chunks(AT_ONCE) {
            self.send(DESCRIPTORS, some)?;
        }
        self.send(bytes, &[])
    }

    fn receive_state(&mut self) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        self.expect(PREDECESSOR, "a predecessor of the same version")?;
        let (mut count, mut length) = ([0; 4], [0; 8]);
        self.receive_exact(&mut count)?;
        self.receive_exact(&mut length)?;
        let (count, length) = (u32::from_be_bytes(count), u64::from_be_bytes(length));
        if count > MOST_DESCRIPTORS || length > LONGEST_STATE {
            return Err(broken(format!(
                "the predecessor announces {count} sockets and {length} octets of state, more than the {MOST_DESCRIPTORS} and \
                 {LONGEST_STATE} that there may be"
            )));
        }
        let count = count as usize;
        let mut descriptors = Vec::new();
        while descriptors.len() < count {
            let (before, mut octet) = (descriptors.len(), [0]);
            self.receive(&mut octet, &mut descriptors)?;
            let expected = (count - before).min(AT_ONCE);
            if octet != *DESCRIPTORS || descriptors.len() - before != expected {
                return Err(broken(format!(
                    "{} descriptors came at once, and not {expected}",
                    descriptors.len() - before
                )));
            }
        }
        // It grows with the received bytes, not with the announced length.
        let mut bytes = Vec::new();
        let mut portion = vec![0; 1 << 16];
        let mut left = length;
        while left > 0 {
            let room = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(portion.len());
            let room = portion.get_mut(..room).unwrap_or_default();
            let before = descriptors.len();
            let received = self.receive(room, &mut descriptors)?;
            if descriptors.len() != before {
                return Err(broken(
                    "the predecessor sent more descriptors than it had announced",
                ));
            }
            bytes.extend_from_slice(room.get(..received).unwrap_or_default());
            left -= received as u64;
        }
        Ok((bytes, descriptors))
    }
}

fn failed(action: &str) -> impl FnOnce(Errno) -> Error {
    let action = format!("{action} the other process of a hand-over");
    move |errno| Error::os(action)(errno.into())
}
