//! Addresses, links and routes, through rtnetlink(7).

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::{Duration, Instant},
};

use socket2::Socket;

use vrrp_proto::frame::MacAddress;

use super::{
    rtnetlink::{self, Malformed, Message, Reply, Request},
    sys::{self, Buffer, DatagramBuffer, describe_interface, set_buffer},
};
use crate::{
    ADDRESS_PROTOCOL, Capability, Error, InterfaceAddress, Interfaces, Link, MonitorEvent, Route,
    VirtualAddress,
};

/// The most requests in one datagram. The kernel answers all of them before the call that sends
/// them returns, so the answers must fit into the receive buffer.
const PIPELINE: usize = 64;

/// Bytes of receive buffer that an answer takes: its message and the kernel's overhead.
const ANSWER_LEN: usize = 1536;

/// Bytes of receive buffer to request: a full pipeline of answers, twice.
const RECEIVE_BUFFER: usize = 2 * PIPELINE * ANSWER_LEN;

/// The group into which links are put to delete them together. No other program uses this number.
const GROUP: u32 = u32::from_be_bytes(*b"vrrp");

/// The number of times that a list is read again after it changed during the reading.
const ATTEMPTS: usize = 16;

/// The time that the kernel's answer may take. An answer is there when the call that sends the
/// requests returns (`netlink_unicast_kernel` in net/netlink/af_netlink.c calls the receiver), so
/// this limit only keeps a broken kernel from blocking the thread.
const PATIENCE: Duration = Duration::from_millis(10);

/// The time without requests after a request without an answer: ten times as long, so a kernel that
/// does not answer takes less than a tenth of the thread's time.
const SILENCE: Duration = Duration::from_millis(100);

/// A change of the addresses of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChange<'a> {
    /// Put an address on an interface.
    Add {
        /// The index of the interface.
        interface: u32,
        /// The address.
        address: &'a VirtualAddress,
    },
    /// Take an address away from an interface.
    Remove {
        /// The index of the interface.
        interface: u32,
        /// The address.
        address: &'a VirtualAddress,
    },
    /// Take an address away from an interface as it was found there: with its peer.
    RemoveFound {
        /// The index of the interface.
        interface: u32,
        /// The address.
        address: &'a InterfaceAddress,
    },
}

/// A change of whether a link is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// Set it up.
    Up {
        /// Its index.
        interface: u32,
    },
    /// Set it down.
    Down {
        /// Its index.
        interface: u32,
    },
}

/// A change of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteChange<'a> {
    /// Add a route.
    Add {
        /// The index of the interface by which it leads. It may be left out where there is a
        /// gateway, or for a route that discards.
        interface: Option<u32>,
        /// The route.
        route: &'a Route,
    },
    /// Remove it. Only a route with the mark [`ROUTE_PROTOCOL`](crate::ROUTE_PROTOCOL) is removed.
    Remove {
        /// The index of the interface by which it leads, or any where this is left out.
        interface: Option<u32>,
        /// The route.
        route: &'a Route,
    },
}

/// A change that [`Netlink::apply`] can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetlinkChange<'a> {
    /// A change of the addresses.
    Address(AddressChange<'a>),
    /// A change of a link.
    Link(LinkChange),
    /// A change of the routes.
    Route(RouteChange<'a>),
}

impl<'a> From<AddressChange<'a>> for NetlinkChange<'a> {
    fn from(change: AddressChange<'a>) -> Self {
        Self::Address(change)
    }
}

impl From<LinkChange> for NetlinkChange<'_> {
    fn from(change: LinkChange) -> Self {
        Self::Link(change)
    }
}

impl<'a> From<RouteChange<'a>> for NetlinkChange<'a> {
    fn from(change: RouteChange<'a>) -> Self {
        Self::Route(change)
    }
}

impl<'a> NetlinkChange<'a> {
    const fn request(self) -> Request<'a> {
        match self {
            Self::Address(AddressChange::Add { interface, address }) => {
                Request::Add(interface, address)
            }
            Self::Address(AddressChange::Remove { interface, address }) => {
                Request::Remove(interface, address)
            }
            Self::Address(AddressChange::RemoveFound { interface, address }) => {
                Request::RemoveFound(interface, address)
            }
            Self::Link(LinkChange::Up { interface }) => Request::SetUp(interface, true),
            Self::Link(LinkChange::Down { interface }) => Request::SetUp(interface, false),
            Self::Route(RouteChange::Add { interface, route }) => {
                Request::AddRoute(interface, route)
            }
            Self::Route(RouteChange::Remove { interface, route }) => {
                Request::RemoveRoute(interface, route)
            }
        }
    }

    /// Whether a refusal with this errno means that the wanted state is already there.
    const fn is_already_so(self, errno: i32) -> bool {
        match self {
            Self::Address(AddressChange::Add { .. }) | Self::Route(RouteChange::Add { .. }) => {
                errno == libc::EEXIST
            }
            Self::Address(AddressChange::Remove { .. } | AddressChange::RemoveFound { .. }) => {
                matches!(errno, libc::EADDRNOTAVAIL | libc::ENODEV)
            }
            Self::Link(LinkChange::Up { .. }) => false,
            Self::Link(LinkChange::Down { .. }) => errno == libc::ENODEV,
            // Also after the interface is gone, and the route with it.
            Self::Route(RouteChange::Remove { .. }) => {
                matches!(errno, libc::ESRCH | libc::ENODEV | libc::ENETDOWN)
            }
        }
    }
}

impl fmt::Display for NetlinkChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |interface: u32| describe_interface(interface);
        match *self {
            Self::Address(AddressChange::Add { interface, address }) => {
                write!(f, "add {address} to {}", on(interface))
            }
            Self::Address(AddressChange::Remove { interface, address }) => {
                write!(f, "remove {address} from {}", on(interface))
            }
            Self::Address(AddressChange::RemoveFound { interface, address }) => {
                let (local, prefix_len) = (address.address, address.prefix_len);
                write!(f, "remove {local}/{prefix_len} from {}", on(interface))
            }
            Self::Link(LinkChange::Up { interface }) => write!(f, "set {} up", on(interface)),
            Self::Link(LinkChange::Down { interface }) => write!(f, "set {} down", on(interface)),
            Self::Route(RouteChange::Add { route, .. }) => write!(f, "add route {route}"),
            Self::Route(RouteChange::Remove { route, .. }) => write!(f, "remove route {route}"),
        }
    }
}

/// The outcome of a [`NetlinkChange`] that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The change was made.
    Changed,
    /// There was nothing to change: the thing to add was there already, or the thing to remove was
    /// not (perhaps with its interface). A route of any program with the same destination, metric
    /// and table counts as the same.
    AlreadySo,
}

/// Adds and removes addresses and routes, sets links up and down, and dumps all of these.
///
/// Addresses are added with the mark [`ADDRESS_PROTOCOL`]. IPv6 addresses are added without
/// duplicate address detection, and deprecated (preferred lifetime 0), so that the host does not
/// choose them as source.
///
/// Calls return when the kernel has done the work: it works on rtnetlink requests while they are
/// being sent. A call waits for as long as another program has the kernel's lock for network
/// settings (RTNL). No time limit can end that: the kernel waits for the lock without regard to
/// signals. For an answer a call waits 10 ms at most, and after a request without one, every
/// request of the next 100 ms fails at once with [`Error::NoAnswer`].
///
/// ```no_run
/// use vrrp_net::{AddressChange, Netlink, VirtualAddress};
///
/// let addresses = (1..=100).map(|number| VirtualAddress::new([192, 0, 2, number].into()));
/// let addresses: Vec<VirtualAddress> = addresses.collect();
/// let add = |address| AddressChange::Add { interface: 2, address };
/// let changes: Vec<_> = addresses.iter().map(add).collect();
/// for result in Netlink::open()?.apply(&changes)? {
///     result?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    /// Requests in one datagram: as many as the receive buffer has room for answers.
    pipeline: usize,
    sequence: u32,
    requests: Vec<u8>,
    replies: DatagramBuffer,
    /// The time at which the kernel did not answer.
    silent_at: Option<Instant>,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system has no more sockets.
    pub fn open() -> Result<Self, Error> {
        let socket = rtnetlink::open(0)?;
        let granted = set_buffer(&socket, Buffer::Receive, RECEIVE_BUFFER)?;
        Ok(Self {
            socket,
            pipeline: (granted / ANSWER_LEN).clamp(1, PIPELINE),
            sequence: 0,
            requests: Vec::new(),
            replies: DatagramBuffer::new(rtnetlink::DATAGRAM_LEN),
            silent_at: None,
        })
    }

    /// Makes changes in order, many to a system call, and returns one result for each, in the same
    /// order.
    ///
    /// Where a datagram of requests cannot be sent, or is not answered, each change in it has that
    /// as its result. A change may have been made then; making it again is harmless.
    ///
    /// # Errors
    ///
    /// None for the whole. For a single change: [`Error::Capability`] without `CAP_NET_ADMIN`,
    /// [`Error::Os`] for another refusal or for a socket that fails, [`Error::NoAnswer`].
    pub fn apply<'a, C: Copy + Into<NetlinkChange<'a>>>(
        &mut self,
        changes: &[C],
    ) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let mut results = Vec::with_capacity(changes.len());
        for part in changes.chunks(PIPELINE) {
            let part: Vec<NetlinkChange<'a>> = part.iter().copied().map(Into::into).collect();
            let requests: Vec<Request<'a>> = part.iter().map(|change| change.request()).collect();
            match self.exchange(&requests) {
                Ok(errnos) => {
                    let outcomes = part.iter().zip(errnos);
                    results.extend(outcomes.map(|(change, errno)| outcome(*change, errno)));
                }
                Err(error) => results.extend(part.iter().map(|change| Err(again(*change, &error)))),
            }
        }
        Ok(results)
    }

    /// Finds out early whether this process may change addresses: the kernel checks the privilege
    /// before it looks up interface 0, which does not exist.
    pub(crate) fn check_privilege(&mut self) -> Result<(), Error> {
        let address = &VirtualAddress::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let errno = self.request(Request::Remove(0, address))?;
        let refusal = Error::privileged("change addresses", Capability::NetAdmin);
        match refusal(io::Error::from_raw_os_error(errno)) {
            refused @ (Error::Capability { .. } | Error::Filtered { .. }) => Err(refused),
            _ => Ok(()),
        }
    }

    /// Checks that the calling thread is in the network namespace of this socket, so that its other
    /// system calls have their effect there.
    pub(crate) fn check_namespace(&self, action: impl FnOnce() -> String) -> Result<(), Error> {
        if sys::is_in_namespace_of(self.socket.as_fd()) {
            return Ok(());
        }
        Err(Error::OtherNamespace { action: action() })
    }

    /// Makes one request, and returns its errno, or 0.
    fn request(&mut self, request: Request<'_>) -> Result<i32, Error> {
        let errnos = self.exchange(&[request])?;
        Ok(errnos.first().copied().unwrap_or(0))
    }

    /// Makes requests in order, and returns the errno of each, or 0.
    ///
    /// Where the receive buffer was too small for the answers (`ENOBUFS`), the requests without an
    /// answer are made again, fewer at a time. The kernel has carried them out: it then answers
    /// that the address is there, or that the link is gone.
    fn exchange(&mut self, requests: &[Request<'_>]) -> Result<Vec<i32>, Error> {
        let mut errnos = vec![None; requests.len()];
        for _ in 0..ATTEMPTS {
            let open: Vec<usize> = (0..requests.len())
                .filter(|place| errnos.get(*place).is_some_and(Option::is_none))
                .collect();
            if open.is_empty() {
                break;
            }
            for part in open.chunks(self.pipeline) {
                let has_lost = self.exchange_at_once(requests, part, &mut errnos)?;
                if has_lost {
                    self.pipeline = (self.pipeline / 2).max(1);
                    break;
                }
            }
        }
        if errnos.contains(&None) {
            return Err(no_answer(EXCHANGE));
        }
        Ok(errnos.into_iter().flatten().collect())
    }

    /// Sends the requests in these places as one datagram and gathers their answers. Returns
    /// whether some were lost.
    fn exchange_at_once(
        &mut self,
        requests: &[Request<'_>],
        places: &[usize],
        errnos: &mut [Option<i32>],
    ) -> Result<bool, Error> {
        let first = self.sequence.wrapping_add(1);
        self.requests.clear();
        for request in places.iter().filter_map(|place| requests.get(*place)) {
            self.sequence = self.sequence.wrapping_add(1);
            request.encode(self.sequence, &mut self.requests);
        }
        self.send(EXCHANGE)?;
        let mut open = places.len();
        let mut has_lost = false;
        while open > 0 {
            let received = self.receive(EXCHANGE, !has_lost, |message| {
                let place = places.get(message.sequence.wrapping_sub(first) as usize);
                let slot = place.and_then(|place| errnos.get_mut(*place));
                if let (Reply::Done { errno }, Some(slot @ None)) = (message.reply, slot) {
                    *slot = Some(errno);
                    open -= 1;
                }
            })?;
            match received {
                Received::Messages => {}
                Received::Lost => has_lost = true,
                Received::Nothing => break,
            }
        }
        Ok(has_lost)
    }

    /// The link of this name, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked to.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        const ACTION: &str = "read a link";
        let request = Request::Link(name);
        for _ in 0..ATTEMPTS {
            let answer = self.ask(ACTION, &request, |message| match message.reply {
                Reply::Event(MonitorEvent::Link(link)) => Some(link),
                _ => None,
            })?;
            let Some((found, errno)) = answer else {
                continue;
            };
            return match errno {
                0 => Ok(found.into_iter().next_back()),
                libc::ENODEV => Ok(None),
                errno => Err(Error::os(ACTION)(io::Error::from_raw_os_error(errno))),
            };
        }
        Err(Error::os(ACTION)(ever_changing()))
    }

    /// Puts a macvlan in bridge mode on a link, down, and returns whether it is new: `false` says
    /// that there is a link of this name.
    pub(crate) fn add_macvlan(
        &mut self,
        parent: u32,
        name: &str,
        mac: MacAddress,
    ) -> Result<bool, Error> {
        match self.request(Request::AddMacvlan { parent, name, mac })? {
            0 => Ok(true),
            libc::EEXIST => Ok(false),
            errno => {
                let hint = match errno {
                    libc::EOPNOTSUPP => " (the kernel has no macvlan)",
                    _ => "",
                };
                let parent = describe_interface(parent);
                let action = format!("put macvlan {name} on {parent}{hint}");
                Err(refused(action, errno))
            }
        }
    }

    /// Sets the alias of a link.
    pub(crate) fn set_alias(&mut self, interface: u32, alias: &str) -> Result<(), Error> {
        match self.request(Request::SetAlias(interface, alias))? {
            0 => Ok(()),
            errno => {
                let action = format!("set the alias of {}", describe_interface(interface));
                Err(refused(action, errno))
            }
        }
    }

    /// Sets a link up or down.
    pub(crate) fn set_up(&mut self, interface: u32, up: bool) -> Result<(), Error> {
        match self.request(Request::SetUp(interface, up))? {
            0 => Ok(()),
            errno => {
                let verb = if up { "up" } else { "down" };
                let action = format!("set {} {verb}", describe_interface(interface));
                Err(refused(action, errno))
            }
        }
    }

    /// Renames a link. It has to be down.
    pub(crate) fn set_name(&mut self, interface: u32, name: &str) -> Result<(), Error> {
        match self.request(Request::SetName(interface, name))? {
            0 => Ok(()),
            errno => {
                let action = format!("rename {} to {name}", describe_interface(interface));
                Err(refused(action, errno))
            }
        }
    }

    /// Adds an alternative name to a link, or removes it. Returns whether the kernel has
    /// alternative names (Linux 5.5).
    pub(crate) fn set_alt_name(
        &mut self,
        interface: u32,
        name: &str,
        add: bool,
    ) -> Result<bool, Error> {
        match self.request(Request::AltName(interface, name, add))? {
            0 => Ok(true),
            libc::EEXIST if add => Ok(true),
            libc::ENOENT | libc::ENODEV if !add => Ok(true),
            libc::EOPNOTSUPP | libc::EINVAL => Ok(false),
            errno => {
                let verb = if add { "set" } else { "remove" };
                let of = describe_interface(interface);
                let action = format!("{verb} the alternative name {name} of {of}");
                Err(refused(action, errno))
            }
        }
    }

    /// The marked routes of both families, with the index of their interface.
    pub(crate) fn marked_routes(&mut self) -> Result<Vec<(Option<u32>, Route)>, Error> {
        for _ in 0..ATTEMPTS {
            let found = self.list(&Request::Routes, |message| match message.reply {
                Reply::Route(payload) => rtnetlink::virtual_route(payload),
                _ => None,
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(Error::os("list routes")(ever_changing()))
    }

    /// Deletes the links of these indexes, where they exist. Several links are deleted through a
    /// group, which takes as long as a single one.
    pub(crate) fn delete_links(&mut self, interfaces: &[u32]) -> Result<(), Error> {
        if interfaces.len() > 1 {
            for part in interfaces.chunks(PIPELINE) {
                let requests: Vec<_> = part
                    .iter()
                    .map(|it| Request::SetGroup(*it, GROUP))
                    .collect();
                self.exchange(&requests)?;
            }
            // A refusal shows when each is deleted alone; nearly always none is left.
            self.request(Request::DeleteGroup(GROUP))?;
        }
        interfaces.iter().try_for_each(|it| self.delete_link(*it))
    }

    /// Deletes a link, if there is one of this index.
    fn delete_link(&mut self, interface: u32) -> Result<(), Error> {
        match self.request(Request::DeleteLink(interface))? {
            0 | libc::ENODEV => Ok(()),
            errno => {
                let action = format!("delete {}", describe_interface(interface));
                Err(refused(action, errno))
            }
        }
    }

    /// Removes the routes with the mark [`ROUTE_PROTOCOL`](crate::ROUTE_PROTOCOL) for which `keep`
    /// returns false, and returns them with the index of their interface. The warning of
    /// [`sweep`](Self::sweep), which does the same with addresses, applies here too.
    ///
    /// # Errors
    ///
    /// As for [`sweep`](Self::sweep).
    pub fn sweep_routes(
        &mut self,
        keep: impl Fn(Option<u32>, &Route) -> bool,
    ) -> Result<Vec<(Option<u32>, Route)>, Error> {
        let mut left_over = self.marked_routes()?;
        left_over.retain(|(interface, route)| !keep(*interface, route));
        self.remove_all(left_over, |(interface, route)| {
            let interface = *interface;
            RouteChange::Remove { interface, route }.into()
        })
    }

    /// Removes all of these, and returns those that existed.
    fn remove_all<T>(
        &mut self,
        left_over: Vec<T>,
        removal: impl for<'a> Fn(&'a T) -> NetlinkChange<'a>,
    ) -> Result<Vec<T>, Error> {
        let changes: Vec<NetlinkChange<'_>> = left_over.iter().map(removal).collect();
        let results = self.apply(&changes)?;
        let mut removed = Vec::new();
        for (result, left_over) in results.into_iter().zip(left_over) {
            if result? == Outcome::Changed {
                removed.push(left_over);
            }
        }
        Ok(removed)
    }

    /// Reads all links and addresses of the namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked to.
    pub fn interfaces(&mut self) -> Result<Interfaces, Error> {
        for _ in 0..ATTEMPTS {
            if let Some(interfaces) = self.interfaces_at_once()? {
                return Ok(interfaces);
            }
        }
        Err(Error::os("list links and addresses")(ever_changing()))
    }

    /// Reads them once; `None` where something changed during the dump.
    pub(crate) fn interfaces_at_once(&mut self) -> Result<Option<Interfaces>, Error> {
        let mut interfaces = Interfaces::default();
        for request in [Request::Links, Request::Addresses] {
            let events = self.list(&request, |message| match message.reply {
                Reply::Event(event) => Some(event),
                _ => None,
            })?;
            let Some(events) = events else {
                return Ok(None);
            };
            for event in events {
                interfaces.apply(&event);
            }
        }
        Ok(Some(interfaces))
    }

    /// The IPv4 and IPv6 addresses of all interfaces, with everything that the kernel reports about
    /// them.
    pub(crate) fn raw_addresses(&mut self) -> Result<Vec<RawAddress>, Error> {
        for _ in 0..ATTEMPTS {
            let found = self.list(&Request::Addresses, |message| match message.reply {
                Reply::Event(MonitorEvent::AddressAdded { interface, address }) => {
                    Some(RawAddress {
                        interface,
                        address,
                        payload: message.payload.into(),
                    })
                }
                _ => None,
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(Error::os("list addresses")(ever_changing()))
    }

    /// Adds an address as it was before: with its label, broadcast address, lifetimes and the rest.
    pub(crate) fn add_raw_address(&mut self, raw: &RawAddress) -> Result<Outcome, Error> {
        match self.request(Request::AddRaw(&raw.payload))? {
            0 => Ok(Outcome::Changed),
            libc::EEXIST => Ok(Outcome::AlreadySo),
            errno => {
                let InterfaceAddress {
                    address,
                    prefix_len,
                    ..
                } = raw.address;
                let on = describe_interface(raw.interface);
                Err(refused(
                    format!("add {address}/{prefix_len} to {on}"),
                    errno,
                ))
            }
        }
    }

    /// Removes the addresses with the mark [`ADDRESS_PROTOCOL`] for which `keep` returns false, on
    /// all interfaces, and returns them with the index of their interface.
    ///
    /// It is meant for the addresses of a run that had no chance to clean up. Where another
    /// instance runs in the same namespace, its addresses are removed as well, unless `keep`
    /// returns true for them. On kernels before Linux 5.18 addresses have no mark, and nothing is
    /// removed.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_ADMIN`; [`Error::Os`] or [`Error::NoAnswer`] when the
    /// kernel cannot be talked to.
    pub fn sweep(
        &mut self,
        keep: impl Fn(u32, &VirtualAddress) -> bool,
    ) -> Result<Vec<(u32, VirtualAddress)>, Error> {
        let interfaces = self.interfaces()?;
        let left_over: Vec<(u32, VirtualAddress)> = interfaces
            .iter()
            .flat_map(|interface| {
                let marked = interface
                    .addresses
                    .iter()
                    .filter(|address| address.protocol == ADDRESS_PROTOCOL);
                marked.filter_map(|marked| {
                    let address = VirtualAddress::new(marked.address)
                        .with_prefix_len(marked.prefix_len)
                        .ok()?;
                    Some((interface.link.index, address))
                })
            })
            .filter(|(interface, address)| !keep(*interface, address))
            .collect();
        self.remove_all(left_over, |(interface, address)| {
            let interface = *interface;
            AddressChange::Remove { interface, address }.into()
        })
    }

    /// Requests a dump, and gathers what `pick` returns for its messages; `None` where the kernel's
    /// list changed during the dump.
    fn list<T>(
        &mut self,
        request: &Request<'_>,
        pick: impl Fn(Message<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let action = match request {
            Request::Links => "list links",
            Request::Routes => "list routes",
            _ => "list addresses",
        };
        match self.ask(action, request, pick)? {
            Some((picked, 0)) => Ok(Some(picked)),
            Some((_, errno)) => Err(Error::os(action)(io::Error::from_raw_os_error(errno))),
            None => Ok(None),
        }
    }

    /// Makes a request, and gathers what `pick` returns for the answers, with the errno at their
    /// end. `None` where the answer is inconsistent, or a part of it was lost.
    fn ask<T>(
        &mut self,
        action: &'static str,
        request: &Request<'_>,
        pick: impl Fn(Message<'_>) -> Option<T>,
    ) -> Result<Option<(Vec<T>, i32)>, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.requests.clear();
        request.encode(sequence, &mut self.requests);
        self.send(action)?;

        let mut picked = Vec::new();
        let (mut is_consistent, mut has_lost) = (true, false);
        let mut done = None;
        while done.is_none() {
            // After a loss, the end of the dump may be missing too.
            let received = self.receive(action, !has_lost, |message| {
                if message.sequence != sequence {
                    return;
                }
                is_consistent &= !message.interrupted;
                match message.reply {
                    Reply::Done { errno } => done = Some(errno),
                    _ => picked.extend(pick(message)),
                }
            })?;
            match received {
                Received::Messages => {}
                Received::Lost => has_lost = true,
                Received::Nothing => {
                    self.reopen()?;
                    break;
                }
            }
        }
        let is_complete = is_consistent && !has_lost;
        Ok(done.filter(|_| is_complete).map(|errno| (picked, errno)))
    }

    /// Replaces the socket. A dump that the kernel could not continue for lack of memory blocks its
    /// socket: the next request for a dump gets `EBUSY`.
    fn reopen(&mut self) -> Result<(), Error> {
        self.check_namespace(|| "open a netlink socket again".into())?;
        let Self {
            socket, pipeline, ..
        } = Self::open()?;
        (self.socket, self.pipeline) = (socket, pipeline);
        Ok(())
    }

    fn send(&self, action: &'static str) -> Result<(), Error> {
        if self.silent_at.is_some_and(|at| at.elapsed() < SILENCE) {
            return Err(no_answer(action));
        }
        let mut attempts = 0;
        loop {
            match self.socket.send(&self.requests) {
                // Nothing was sent.
                Err(error) if is_passing(&error) && attempts < ATTEMPTS => attempts += 1,
                result => return result.map(drop).map_err(Error::os(action)),
            }
        }
    }

    /// Receives one datagram. If none is waiting and `is_expected` is true, waits for one.
    fn receive(
        &mut self,
        action: &'static str,
        is_expected: bool,
        mut on: impl FnMut(Message<'_>),
    ) -> Result<Received, Error> {
        let mut waits = is_expected;
        let datagram = loop {
            match self.replies.receive(&self.socket) {
                Ok(datagram) => break datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM)) =>
                {
                    return Ok(Received::Lost);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && waits => {
                    waits = false;
                    sys::wait_readable([self.socket.as_fd()], Some(PATIENCE))
                        .map_err(Error::os(action))?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_expected => {
                    self.silent_at = Some(Instant::now());
                    return Err(no_answer(action));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received::Nothing);
                }
                Err(error) => return Err(Error::os(action)(error)),
            }
        };
        self.silent_at = None;
        for message in rtnetlink::messages(datagram) {
            on(message.map_err(|Malformed| Malformed::in_answer(action))?);
        }
        Ok(Received::Messages)
    }
}

const EXCHANGE: &str = "change addresses, links and routes";

fn no_answer(action: &'static str) -> Error {
    Error::NoAnswer {
        action: action.into(),
    }
}

/// An address with everything that the kernel reports about it.
#[derive(Debug)]
pub(crate) struct RawAddress {
    /// The index of its interface.
    pub(crate) interface: u32,
    pub(crate) address: InterfaceAddress,
    payload: Box<[u8]>,
}

/// The result of one attempt to receive answers.
enum Received {
    /// A datagram of messages.
    Messages,
    /// The receive buffer had no room for further answers (`ENOBUFS`).
    Lost,
    /// The socket was empty.
    Nothing,
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn outcome(change: NetlinkChange<'_>, errno: i32) -> Result<Outcome, Error> {
    if errno == 0 {
        return Ok(Outcome::Changed);
    }
    if change.is_already_so(errno) {
        return Ok(Outcome::AlreadySo);
    }
    let hint = match change {
        NetlinkChange::Address(
            AddressChange::Add { address, .. } | AddressChange::Remove { address, .. },
        ) if errno == libc::EACCES && address.address().is_ipv6() => {
            " (IPv6 is disabled there: net.ipv6.conf.*.disable_ipv6)"
        }
        NetlinkChange::Link(LinkChange::Up { .. }) if errno == libc::EADDRINUSE => {
            " (another link on the same interface has its hardware address)"
        }
        _ => "",
    };
    Err(refused(format!("{change}{hint}"), errno))
}

/// Whether the kernel could not take requests just now: a signal came, or memory was short.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// The failure of a datagram of requests, as the failure of one of its changes.
fn again(change: NetlinkChange<'_>, error: &Error) -> Error {
    let action = change.to_string();
    match error {
        Error::Os { cause, .. } => {
            let errno = cause.raw_os_error();
            Error::os(action)(errno.map_or_else(
                || io::Error::new(cause.kind(), cause.to_string()),
                io::Error::from_raw_os_error,
            ))
        }
        _ => Error::NoAnswer { action },
    }
}

fn ever_changing() -> io::Error {
    io::Error::other("it changed each time while it was read")
}

fn refused(action: String, errno: i32) -> Error {
    Error::privileged(action, Capability::NetAdmin)(io::Error::from_raw_os_error(errno))
}
