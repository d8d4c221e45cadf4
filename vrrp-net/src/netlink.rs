//! Addresses on interfaces, by way of rtnetlink(7).

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    ADDRESS_PROTOCOL, Capability, Error, Interfaces, MonitorEvent, VirtualAddress,
    rtnetlink::{self, Malformed, Message, Reply, Request},
    socket::describe_interface,
    sys,
};

/// Requests in one datagram. The kernel answers them all before the call that sends them returns, so that the answers have to
/// find room in the socket's buffer: about 1 KiB each, in at least 200 KiB.
const PIPELINE: usize = 64;

/// How often a list is asked for again that changed while it was read.
const ATTEMPTS: usize = 16;

/// How long the kernel's answer may take. It comes at once; this keeps a kernel that is broken from holding the thread.
const PATIENCE: Duration = Duration::from_secs(1);

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
}

/// What became of an [`AddressChange`] that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was made.
    Changed,
    /// There was nothing to change: the address to be added was there, or the one to be removed was not (perhaps with its
    /// interface).
    AlreadySo,
}

/// Adds and removes addresses, and lists what there is.
///
/// Addresses are added with the mark [`ADDRESS_PROTOCOL`]. IPv6 addresses are added without duplicate address detection, and
/// deprecated (preferred lifetime 0), so that the host does not choose them as source.
///
/// Calls return when the kernel has done the work: it works on rtnetlink requests while they are being sent.
///
/// ```no_run
/// use vrrp_net::{AddressChange, Netlink, VirtualAddress};
///
/// let addresses: Vec<VirtualAddress> = (1..=100).map(|n| VirtualAddress::new([192, 0, 2, n].into())).collect();
/// let changes: Vec<_> = addresses.iter().map(|address| AddressChange::Add { interface: 2, address }).collect();
/// for result in Netlink::open()?.apply(&changes)? {
///     result?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    requests: Vec<u8>,
    replies: Box<[u8]>,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the system has no more sockets.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: open(0)?,
            sequence: 0,
            requests: Vec::new(),
            replies: vec![0; rtnetlink::DATAGRAM_LEN].into(),
        })
    }

    /// Makes changes in order, many to a system call, and returns one result for each, in the same order.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked to. For a single change: [`Error::Capability`]
    /// without `CAP_NET_ADMIN`, [`Error::Os`] for another refusal.
    pub fn apply(
        &mut self,
        changes: &[AddressChange<'_>],
    ) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let mut results = Vec::with_capacity(changes.len());
        for part in changes.chunks(PIPELINE) {
            let errnos = self.exchange(part)?;
            results.extend(
                part.iter()
                    .zip(errnos)
                    .map(|(change, errno)| outcome(*change, errno)),
            );
        }
        Ok(results)
    }

    /// Finds out before it matters whether addresses may be changed: the kernel looks at the privilege before it sees that there is
    /// no interface 0.
    pub(crate) fn check_privilege(&mut self) -> Result<(), Error> {
        let address = &VirtualAddress::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let change = AddressChange::Remove {
            interface: 0,
            address,
        };
        let errno = self.exchange(&[change])?.first().copied().unwrap_or(0);
        let refusal = Error::privileged("change addresses", Capability::NetAdmin);
        match refusal(io::Error::from_raw_os_error(errno)) {
            refused @ Error::Capability { .. } => Err(refused),
            _ => Ok(()),
        }
    }

    /// Sends changes as one datagram and gathers the errno of each.
    fn exchange(&mut self, changes: &[AddressChange<'_>]) -> Result<Vec<i32>, Error> {
        let action = || "change addresses";
        let first = self.sequence.wrapping_add(1);
        self.requests.clear();
        for change in changes {
            self.sequence = self.sequence.wrapping_add(1);
            match *change {
                AddressChange::Add { interface, address } => Request::Add(interface, address),
                AddressChange::Remove { interface, address } => Request::Remove(interface, address),
            }
            .encode(self.sequence, &mut self.requests);
        }
        self.send(action())?;

        let mut errnos = vec![None; changes.len()];
        while errnos.contains(&None) {
            self.receive(action(), |message| {
                let place = message.sequence.wrapping_sub(first) as usize;
                if let (Reply::Done { errno }, Some(slot)) = (message.reply, errnos.get_mut(place))
                {
                    *slot = Some(errno);
                }
            })?;
        }
        Ok(errnos.into_iter().flatten().collect())
    }

    /// Reads all links and addresses of the namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked to.
    pub fn interfaces(&mut self) -> Result<Interfaces, Error> {
        let mut interfaces = Interfaces::default();
        for request in [Request::Links, Request::Addresses] {
            for event in self.dump(&request)? {
                interfaces.apply(&event);
            }
        }
        Ok(interfaces)
    }

    /// Removes the addresses with the mark [`ADDRESS_PROTOCOL`] that `keep` does not want kept, on all interfaces, and returns them
    /// with the index of their interface.
    ///
    /// It is meant for what a run left behind that had no chance to clean up. The mark is that of all programs that speak VRRP: where
    /// keepalived runs in the same namespace, its addresses go as well, unless `keep` knows them. On kernels before Linux 5.18
    /// addresses have no mark, and nothing is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_ADMIN`; [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked to.
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
        let changes: Vec<_> = left_over
            .iter()
            .map(|(interface, address)| AddressChange::Remove {
                interface: *interface,
                address,
            })
            .collect();
        let mut removed = Vec::new();
        for (result, address) in self.apply(&changes)?.into_iter().zip(&left_over) {
            if result? == Outcome::Changed {
                removed.push(address.clone());
            }
        }
        Ok(removed)
    }

    fn dump(&mut self, request: &Request<'_>) -> Result<Vec<MonitorEvent>, Error> {
        let action = match request {
            Request::Links => "list links",
            _ => "list addresses",
        };
        for _ in 0..ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let sequence = self.sequence;
            self.requests.clear();
            request.encode(sequence, &mut self.requests);
            self.send(action)?;

            let mut events = Vec::new();
            let mut consistent = true;
            let mut done = None;
            while done.is_none() {
                self.receive(action, |message| {
                    if message.sequence != sequence {
                        return;
                    }
                    consistent &= !message.interrupted;
                    match message.reply {
                        Reply::Event(event) => events.push(event),
                        Reply::Done { errno } => done = Some(errno),
                        Reply::Other => {}
                    }
                })?;
            }
            match done {
                Some(0) | None if consistent => return Ok(events),
                Some(0) | None => {}
                Some(errno) => {
                    return Err(Error::os(action)(io::Error::from_raw_os_error(errno)));
                }
            }
        }
        Err(Error::os(action)(io::Error::other(
            "it changed each time while it was read",
        )))
    }

    fn send(&self, action: &'static str) -> Result<(), Error> {
        self.socket
            .send(&self.requests)
            .map(drop)
            .map_err(Error::os(action))
    }

    /// Receives one datagram.
    fn receive(&mut self, action: &'static str, mut on: impl FnMut(Message)) -> Result<(), Error> {
        let mut waited = false;
        let length = loop {
            match (&self.socket).read(&mut self.replies) {
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !waited => {
                    waited = true;
                    sys::wait_readable([self.socket.as_fd()], Some(PATIENCE))
                        .map_err(Error::os(action))?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Error::NoAnswer {
                        action: action.into(),
                    });
                }
                Err(error) => return Err(Error::os(action)(error)),
            }
        };
        for message in rtnetlink::messages(self.replies.get(..length).unwrap_or_default()) {
            match message {
                Ok(message) => on(message),
                Err(Malformed) => {
                    return Err(Error::os(action)(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the kernel's answer is malformed",
                    )));
                }
            }
        }
        Ok(())
    }
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

/// A non-blocking rtnetlink socket, subscribed to these groups.
pub(crate) fn open(groups: u32) -> Result<Socket, Error> {
    let open = || {
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        sys::bind_netlink(&socket, groups)?;
        Ok(socket)
    };
    open().map_err(Error::os("open an rtnetlink socket"))
}

fn outcome(change: AddressChange<'_>, errno: i32) -> Result<Outcome, Error> {
    let (action, interface, preposition, address) = match (change, errno) {
        (_, 0) => return Ok(Outcome::Changed),
        (AddressChange::Add { .. }, libc::EEXIST)
        | (AddressChange::Remove { .. }, libc::EADDRNOTAVAIL | libc::ENODEV) => {
            return Ok(Outcome::AlreadySo);
        }
        (AddressChange::Add { interface, address }, _) => ("add", interface, "to", address),
        (AddressChange::Remove { interface, address }, _) => ("remove", interface, "from", address),
    };
    let hint = match errno {
        libc::EACCES if address.address().is_ipv6() => {
            " (IPv6 is disabled there: net.ipv6.conf.*.disable_ipv6)"
        }
        _ => "",
    };
    let action = format!(
        "{action} {address} {preposition} {}{hint}",
        describe_interface(interface)
    );
    Err(Error::privileged(action, Capability::NetAdmin)(
        io::Error::from_raw_os_error(errno),
    ))
}
