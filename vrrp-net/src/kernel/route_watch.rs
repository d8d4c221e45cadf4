//! The state of tracked routes: whether each of them exists.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use socket2::Socket;
use vrrp_proto::Family;

use super::{
    filter,
    poller::Closing,
    rtnetlink::{self, FoundRoute, Hop, Malformed, Prefix, Reply, Request},
    sys::{self, Buffer, DatagramBuffer, set_buffer},
};
use crate::{Error, Interfaces, MonitorEvent, Route, VirtualAddress, address::family};

/// The most notifications that one call reads. The rest stays readable.
const NOTIFICATIONS: usize = 4096;

/// The most datagrams of a dump that one call reads: some two thousand routes, about a
/// millisecond's work.
const PORTION: usize = 4;

/// The time for which dumps with possible gaps are repeated, while routes keep changing, before
/// such a dump is accepted.
const DISBELIEF: Duration = Duration::from_secs(1);

/// Follows the routes to some prefixes.
///
/// Notifications only mark the state stale; the state itself comes from dumps. The kernel sends no
/// notification of IPv4 routes that it removes along with a link, an address or a next hop; of
/// other routes it notifies only parts; and it notifies added next hops rather than all of them.
/// Dumps may be as long as those of an Internet router, so they are read in portions, and only
/// routes to the prefixes are kept.
#[derive(Debug, Default)]
pub(crate) struct RouteWatch {
    wanted: BTreeSet<Prefix>,
    /// Open while there are routes to follow.
    sockets: Option<Sockets>,
    /// The routes to the prefixes that forward packets; `None` until the dumps were read.
    found: Option<Vec<FoundRoute>>,
    /// The events since those dumps were requested that may have removed some of these routes.
    losses: BTreeSet<Loss>,
    /// Whether they may be out of date.
    is_doubted: bool,
    reading: Option<Reading>,
    /// Whether the reading was begun for routes other than those that are wanted now.
    is_overtaken: bool,
    /// Whether the socket for dumps was opened again since the last call.
    is_reopened: bool,
    /// Sockets that are no longer used.
    closing: Closing,
    sequence: u32,
}

#[derive(Debug)]
struct Sockets {
    /// Receives notifications: routes to the prefixes have changed, or a next hop is gone.
    notifications: Socket,
    /// Receives the dumps.
    list: Socket,
    /// Whether the kernel leaves the routes of other tables out of a dump.
    is_by_table: bool,
    buffer: DatagramBuffer,
}

/// Dumps that are being read, one after the other.
#[derive(Debug, Default)]
struct Reading {
    /// The dumps that are left after this one: of a family, and of a single table where the kernel
    /// can filter.
    left: Vec<(Family, Option<u32>)>,
    found: Vec<FoundRoute>,
    /// The events since the first dump was requested that may have removed some of the routes.
    losses: BTreeSet<Loss>,
    /// Whether this is a dump of IPv6 routes of which a part has arrived.
    is_ipv6: bool,
    has_begun: bool,
    /// Whether the kernel may have skipped routes. It continues a dump of IPv6 routes after as many
    /// routes as it has already sent. If some of those are gone by then, it skips as many others.
    may_have_gaps: bool,
    /// The time since which dumps are repeated for gaps.
    in_doubt_since: Option<Instant>,
}

/// An event that may have removed routes without a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// This interface went down, with the routes by it.
    Interface(u32),
    /// This interface lost this address, with the routes by the interface and from the address.
    Address(u32, IpAddr),
    /// Notifications were lost, or wait to be read.
    Any,
}

impl Loss {
    /// The loss that a change of the host may have caused.
    pub(crate) fn by(event: &MonitorEvent) -> Option<Self> {
        match event {
            MonitorEvent::Link(link) if !link.up => Some(Self::Interface(link.index)),
            MonitorEvent::LinkGone { interface } => Some(Self::Interface(*interface)),
            MonitorEvent::AddressRemoved { interface, address } => {
                Some(Self::Address(*interface, address.address))
            }
            MonitorEvent::Overrun => Some(Self::Any),
            _ => None,
        }
    }

    /// Whether a route may have lost this next hop.
    fn concerns(self, route: &FoundRoute, hop: &Hop) -> bool {
        let is_by = |interface| hop.interface.is_none_or(|it| it == interface);
        match self {
            Self::Interface(interface) => is_by(interface),
            Self::Address(interface, address) => is_by(interface) || route.source == Some(address),
            Self::Any => true,
        }
    }
}

impl RouteWatch {
    /// Follows these routes and no others. For the first route it opens its sockets, in the network
    /// namespace of the calling thread.
    pub(crate) fn follow<'a>(
        &mut self,
        routes: impl Iterator<Item = &'a Route>,
    ) -> Result<(), Error> {
        let wanted: BTreeSet<_> = routes.map(Prefix::of).collect();
        if wanted == self.wanted {
            return Ok(());
        }
        if wanted.is_empty() {
            let mut closing = std::mem::take(&mut self.closing);
            if let Some(sockets) = self.sockets.take() {
                closing.push(sockets.notifications);
                closing.push(sockets.list);
            }
            *self = Self {
                closing,
                ..Self::default()
            };
            return Ok(());
        }
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => Sockets::open()?,
        };
        sockets.subscribe_to(&wanted);
        self.sockets = Some(sockets);
        self.wanted = wanted;
        self.found = None;
        self.losses.clear();
        self.is_doubted = true;
        if let Some(reading) = &mut self.reading {
            reading.left.clear();
            self.is_overtaken = true;
        }
        Ok(())
    }

    /// Whether a route is there. `None` before the dumps were read, and while the only matching
    /// routes may have been removed since then.
    pub(crate) fn has(&self, route: &Route, interfaces: &Interfaces) -> Option<bool> {
        let mut answer = Some(false);
        for found in self.found.as_ref()? {
            for hop in found.hops_of(route, interfaces) {
                if !self.losses.iter().any(|loss| loss.concerns(found, hop)) {
                    return Some(true);
                }
                answer = None;
            }
        }
        answer
    }

    /// Schedules another dump. Until it was read, the routes that may be gone count as unknown.
    pub(crate) fn doubt(&mut self, loss: Loss) {
        self.is_doubted = true;
        if let Some(reading) = &mut self.reading {
            reading.losses.insert(loss);
        }
        if self.found.is_some() {
            self.losses.insert(loss);
        }
    }

    /// Reads the notifications of routes, so that a route whose removal waits to be read does not
    /// count again when its link comes up.
    pub(crate) fn catch_up(&mut self) {
        let Some(sockets) = &self.sockets else {
            return;
        };
        let had_any = sockets.read_notifications().unwrap_or_else(|error| {
            tracing::debug!(%error, "notifications of routes may be lost");
            true
        });
        if had_any {
            self.doubt(Loss::Any);
        }
    }

    /// The descriptors that are readable when [`turn`](Self::turn) has something to do:
    /// notifications, and dumps.
    pub(crate) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sockets = self.sockets.iter();
        sockets.flat_map(|it| [it.notifications.as_fd(), it.list.as_fd()])
    }

    /// Reads the dumps from the beginning with the next [`turn`](Self::turn), after an error.
    pub(crate) fn recover(&mut self) {
        self.is_doubted = true;
        if let Err(error) = self.start_over() {
            self.reading = None;
            tracing::debug!(%error, "the lists of routes are read again later");
        }
    }

    /// The sockets that are no longer used, to be closed.
    pub(crate) const fn closing(&mut self) -> &mut Closing {
        &mut self.closing
    }

    /// Whether the [sources](Self::sources) have changed since the last call.
    pub(crate) fn take_reopened(&mut self) -> bool {
        std::mem::take(&mut self.is_reopened)
    }

    /// Whether routes are followed.
    #[inline]
    pub(crate) const fn is_open(&self) -> bool {
        self.sockets.is_some()
    }

    /// Whether there is something to do in any case.
    #[inline]
    pub(crate) fn is_eager(&self) -> bool {
        self.sockets.is_some() && self.is_doubted && self.reading.is_none()
    }

    /// Reads the sources that can be read, and asks for the dumps that are needed. Returns whether
    /// the known state has changed.
    pub(crate) fn turn(&mut self, [has_notifications, has_list]: [bool; 2]) -> Result<bool, Error> {
        if let Some(sockets) = &self.sockets
            && has_notifications
        {
            self.is_doubted |= sockets.read_notifications()?;
        }
        if has_list {
            return self.read_on();
        }
        if self.is_eager() {
            self.begin(None)?;
        }
        Ok(false)
    }

    fn begin(&mut self, in_doubt_since: Option<Instant>) -> Result<(), Error> {
        let Some(sockets) = &self.sockets else {
            return Ok(());
        };
        let list = |prefix: &Prefix| {
            let table = sockets.is_by_table.then_some(prefix.table);
            (family(prefix.destination), table)
        };
        let lists: BTreeSet<_> = self.wanted.iter().map(list).collect();
        self.is_doubted = false;
        self.reading = Some(Reading {
            left: lists.into_iter().collect(),
            in_doubt_since,
            ..Reading::default()
        });
        self.ask().map(drop)
    }

    /// Requests the next dump. Returns whether there is one.
    fn ask(&mut self) -> Result<bool, Error> {
        let (Some(sockets), Some(reading)) = (&self.sockets, &mut self.reading) else {
            return Ok(false);
        };
        let Some((family, table)) = reading.left.pop() else {
            return Ok(false);
        };
        reading.is_ipv6 = family == Family::Ipv6;
        reading.has_begun = false;
        let mut requests = Vec::new();
        // The kernel notifies a link, an address or a next hop before it removes the routes, and
        // from Linux 6.9 on, dumps do not wait for the removal. A change does wait, even a change
        // to an interface that does not exist.
        let nowhere = VirtualAddress::new(Ipv4Addr::UNSPECIFIED.into());
        Request::Remove(0, &nowhere).encode(self.sequence.wrapping_add(1), &mut requests);
        self.sequence = self.sequence.wrapping_add(2);
        Request::RoutesOf { family, table }.encode(self.sequence, &mut requests);
        let sent = sockets.list.send(&requests);
        sent.map_err(Error::os(LIST)).map(|_| true)
    }

    /// Reads a portion of the dump. Returns whether it was the last.
    fn read_on(&mut self) -> Result<bool, Error> {
        for _ in 0..PORTION {
            let (Some(sockets), Some(reading)) = (&mut self.sockets, &mut self.reading) else {
                return Ok(false);
            };
            let datagram = match sockets.buffer.receive(&sockets.list) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_short_of_memory(&error) => {
                    tracing::debug!(%error, "the lists of routes are read again");
                    return self.start_over();
                }
                Err(error) => return Err(Error::os(LIST)(error)),
            };
            let mut done = None;
            let mut has_routes = false;
            for message in rtnetlink::messages(datagram) {
                let message = message.map_err(|Malformed| Malformed::in_answer(LIST))?;
                if message.sequence != self.sequence {
                    continue;
                }
                reading.may_have_gaps |= message.interrupted;
                match message.reply {
                    Reply::Route(payload) => {
                        has_routes = true;
                        let is_wanted = |prefix: &Prefix| self.wanted.contains(prefix);
                        reading
                            .found
                            .extend(rtnetlink::found_route(payload, is_wanted));
                    }
                    Reply::Done { errno } => done = Some(errno),
                    _ => {}
                }
            }
            reading.may_have_gaps |= reading.has_begun && reading.is_ipv6;
            reading.has_begun |= has_routes;
            let Some(errno) = done else { continue };
            // The kernel answers `ENOENT` where the table does not exist.
            if !matches!(errno, 0 | libc::ENOENT) {
                return Err(Error::os(LIST)(io::Error::from_raw_os_error(errno)));
            }
            if !self.ask()? {
                return self.conclude();
            }
        }
        Ok(false)
    }

    /// Reads the dumps again from the beginning, on another socket: a dump that the kernel could
    /// not continue for lack of memory blocks its socket.
    fn start_over(&mut self) -> Result<bool, Error> {
        let (Some(sockets), Some(reading)) = (&mut self.sockets, self.reading.take()) else {
            return Ok(false);
        };
        if !sys::is_in_namespace_of(sockets.list.as_fd()) {
            return Err(Error::OtherNamespace {
                action: LIST.into(),
            });
        }
        let (list, is_by_table) = open_list()?;
        self.closing
            .push(std::mem::replace(&mut sockets.list, list));
        sockets.is_by_table = is_by_table;
        (self.is_overtaken, self.is_reopened) = (false, true);
        self.begin(reading.in_doubt_since)?;
        Ok(false)
    }

    /// Ends the reading after the last dump. Where routes may have been skipped, the dumps are read
    /// again, until no route at all changes during a dump.
    fn conclude(&mut self) -> Result<bool, Error> {
        let (Some(sockets), Some(reading)) = (&self.sockets, self.reading.take()) else {
            return Ok(false);
        };
        if std::mem::take(&mut self.is_overtaken) {
            self.begin(None)?;
            return Ok(false);
        }
        self.is_doubted |= sockets.read_notifications()?;
        let is_sure = match reading.in_doubt_since {
            _ if !reading.may_have_gaps => true,
            Some(since) => !self.is_doubted || since.elapsed() >= DISBELIEF,
            None => false,
        };
        if !is_sure {
            sockets.subscribe_to_all();
            self.begin(reading.in_doubt_since.or_else(|| Some(Instant::now())))?;
            return Ok(false);
        }
        if reading.in_doubt_since.is_some() {
            sockets.subscribe_to(&self.wanted);
        }
        self.found = Some(reading.found);
        self.losses = reading.losses;
        Ok(true)
    }
}

const LIST: &str = "list routes";

/// Bytes of receive buffer of the socket for dumps: a portion, with the kernel's overhead.
const LIST_BUFFER: usize = 512 << 10;

/// A socket for dumps, and whether the kernel leaves the routes of other tables out of them.
fn open_list() -> Result<(Socket, bool), Error> {
    let list = rtnetlink::open(0)?;
    set_buffer(&list, Buffer::Receive, LIST_BUFFER)?;
    // Linux before 4.20 does not have this option.
    let strict = sys::set_option(&list, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
    Ok((list, strict.is_ok()))
}

/// Whether the kernel had no memory to make a message, or no room to keep it.
fn is_short_of_memory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

impl Sockets {
    /// Opens both sockets in the network namespace of the calling thread.
    fn open() -> Result<Self, Error> {
        let group = |number: libc::c_uint| 1 << (number - 1);
        let notifications = rtnetlink::open(
            group(libc::RTNLGRP_IPV4_ROUTE)
                | group(libc::RTNLGRP_IPV6_ROUTE)
                | group(libc::RTNLGRP_NEXTHOP),
        )?;
        let (list, is_by_table) = open_list()?;
        Ok(Self {
            notifications,
            list,
            is_by_table,
            buffer: DatagramBuffer::new(rtnetlink::DATAGRAM_LEN),
        })
    }

    /// Filters out notifications of other routes. Where the filter fails, for a great many
    /// prefixes, notifications of any route count as those of wanted ones.
    fn subscribe_to(&self, wanted: &BTreeSet<Prefix>) {
        if let Err(error) = filter::attach(&self.notifications, &filter::routes_to(wanted)) {
            tracing::debug!(%error, prefixes = wanted.len(), "notifications of other routes are not left out");
        }
    }

    fn subscribe_to_all(&self) {
        // It fails where no filter is attached.
        let _nothing = self.notifications.detach_filter();
    }

    /// Returns whether there were notifications, or some were lost.
    fn read_notifications(&self) -> Result<bool, Error> {
        let mut were_there = false;
        // The content is not read: the kernel has filtered out irrelevant messages.
        let mut start = [0; 1];
        for _ in 0..NOTIFICATIONS {
            match (&self.notifications).read(&mut start) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => {
                    return Err(Error::os("receive notifications of routes")(error));
                }
                _ => were_there = true,
            }
        }
        Ok(were_there)
    }
}
