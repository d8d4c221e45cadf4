//! The socket that receives and sends advertisements.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::{Endpoints, Family, IP_PROTOCOL, IpHeader, TTL, frame::ipv4};

use super::{
    filter::{self, Start},
    membership::{domain, is_full, join_by, membership},
    sys::{
        self, BATCH, Buffer, Control, Departure, FEW, SEND_BUFFER, Slot, Slots, Target,
        describe_interface, set_buffer,
    },
    vrid_set::VridSet,
};
use crate::{Capability, Error};

/// TOS and traffic class of advertisements: precedence internetwork control, DSCP CS6.
const TRAFFIC_CLASS: u32 = 0xc0;

/// Queueing priority inside the host: `TC_PRIO_CONTROL` of pkt_sched.h, served before everything
/// else (O-04).
const PRIORITY: i32 = 7;

/// The bytes of waiting packets that the kernel keeps: seconds of advertisements of a thousand
/// virtual routers. The kernel doubles the value, and counts at least 640 bytes for each packet.
const RECEIVE_BUFFER: usize = 2 << 20;

/// `IPV6_CHECKSUM` off, as by default except for ICMPv6: the codec's checksum is sent and received
/// unchanged.
const NO_CHECKSUM: i32 = -1;

/// A raw socket for the advertisements of one family, shared by all virtual routers of that family
/// on all interfaces.
///
/// Its packets have traffic class 0xC0, and the source, the TTL or hop limit, and the interface of
/// each [`Datagram`]. Packets to a group do not come back to this host, on any
/// interface. Each received packet has its interface, destination and TTL.
///
/// The codec computes the checksum of the message: the kernel neither fills it in nor verifies it.
///
/// ```no_run
/// use vrrp_net::{ReceiveBatch, VrrpSocket};
/// use vrrp_proto::{Advertisement, DecodeOptions, Family};
///
/// let mut socket = VrrpSocket::open(Family::Ipv4)?;
/// socket.join(2)?;
/// let mut batch = ReceiveBatch::new();
/// // When the socket is readable:
/// while socket.receive(&mut batch)? > 0 {
///     for received in batch.iter() {
///         let options = DecodeOptions::default();
///         let decoded = Advertisement::decode(received.payload, &received.ip, &options);
///         println!("interface {}: {decoded:?}", received.interface);
///     }
/// }
/// # Ok::<(), vrrp_net::Error>(())
/// ```
#[derive(Debug)]
pub struct VrrpSocket {
    socket: Socket,
    family: Family,
    protocol: u8,
    /// The VRIDs that the kernel lets through, if not all.
    filter: Option<VridSet>,
    /// The interfaces on which a group is joined, each with the group.
    members: BTreeMap<(u32, IpAddr), Membership>,
    /// Sockets that hold the memberships for which `socket` had no room.
    holders: Vec<Socket>,
}

/// A [`VrrpSocket`] as descriptors, to be passed to another process.
#[derive(Debug)]
pub struct SocketParts {
    /// The socket itself, then those that hold memberships for which it had no room.
    pub sockets: Vec<OwnedFd>,
    /// The interfaces on which a group is joined, each with the group and the place in `sockets` of
    /// the socket that has the membership.
    pub memberships: Vec<(u32, IpAddr, usize)>,
}

/// A membership of the group on one interface.
#[derive(Debug)]
struct Membership {
    /// The number of virtual routers that need it.
    users: usize,
    /// The place in `holders` of the socket that holds it, or `None` for the socket itself.
    holder: Option<usize>,
}

impl VrrpSocket {
    /// Opens a socket for protocol 112 in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_RAW`; [`Error::Os`] where the kernel has no IPv6.
    pub fn open(family: Family) -> Result<Self, Error> {
        Self::with_protocol(family, IP_PROTOCOL)
    }

    /// Opens a socket for advertisements inside IP AH (P-50): it sends and receives whole IPv4
    /// packets of protocol 51, as [`vrrp_proto::ah`] seals and opens them.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_RAW`.
    #[cfg(feature = "ah")]
    pub fn open_ah() -> Result<Self, Error> {
        let socket = Self::with_protocol(Family::Ipv4, vrrp_proto::ah::IP_PROTOCOL)?;
        // The digest covers the IPv4 header.
        socket
            .socket
            .set_header_included_v4(true)
            .map_err(Error::os("have IPv4 headers sent as they are sealed"))?;
        Ok(socket)
    }

    fn with_protocol(family: Family, protocol: u8) -> Result<Self, Error> {
        let action = format!("open a raw socket for {family}, protocol {protocol}");
        let domain = domain(family);
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol))))
            .map_err(Error::privileged(action, Capability::NetRaw))?;
        set_up(&socket, family).map_err(Error::os(format!("set up a raw socket for {family}")))?;
        sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_PRIORITY, PRIORITY).map_err(
            Error::privileged(
                "give advertisements priority in queues",
                Capability::NetAdmin,
            ),
        )?;
        set_buffer(&socket, Buffer::Receive, RECEIVE_BUFFER)?;
        set_buffer(&socket, Buffer::Send, SEND_BUFFER)?;
        Ok(Self {
            socket,
            family,
            protocol,
            filter: None,
            members: BTreeMap::new(),
            holders: Vec::new(),
        })
    }

    /// The descriptors: the socket itself, then those that hold memberships.
    #[cfg(feature = "serde")]
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.socket]
            .into_iter()
            .chain(&self.holders)
            .map(AsFd::as_fd)
    }

    /// As [`SocketParts::memberships`].
    pub(crate) fn memberships(&self) -> Vec<(u32, IpAddr, usize)> {
        let place = |membership: &Membership| membership.holder.map_or(0, |holder| holder + 1);
        let members = self.members.iter();
        let memberships = members.map(|((index, group), it)| (*index, *group, place(it)));
        memberships.collect()
    }

    /// Splits the socket into its descriptors. Packets that wait in it stay there.
    #[must_use]
    pub fn into_parts(self) -> SocketParts {
        SocketParts {
            memberships: self.memberships(),
            sockets: [self.socket]
                .into_iter()
                .chain(self.holders)
                .map(OwnedFd::from)
                .collect(),
        }
    }

    /// Makes a socket of its parts again. Its memberships have no user: [`join`](Self::join) gives
    /// a membership a user, and [`leave_unused`](Self::leave_unused) ends the memberships without
    /// one. A filter stays in effect, but [`filter`](Self::filter) does not know it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for parts that do not come from a socket; [`Error::Os`] for descriptors
    /// of another kind; [`Error::OtherNamespace`] for descriptors of a network namespace other than
    /// the calling thread's.
    pub fn from_parts(parts: SocketParts) -> Result<Self, Error> {
        let invalid = |problem: String| Error::Invalid {
            field: "sockets",
            problem,
        };
        let mut sockets = parts.sockets.into_iter().map(Socket::from);
        let socket = sockets
            .next()
            .ok_or_else(|| invalid("there is none".into()))?;
        let holders: Vec<Socket> = sockets.collect();
        let look = || Error::os("look at a socket that was handed over");
        let protocol = socket.protocol().map_err(look())?.map_or(0, i32::from);
        let family = match (socket.domain().map_err(look())?, socket.r#type()) {
            (Domain::IPV4, Ok(Type::RAW)) => Family::Ipv4,
            (Domain::IPV6, Ok(Type::RAW)) => Family::Ipv6,
            (domain, kind) => {
                return Err(invalid(format!("{domain:?}, {kind:?} is no raw socket")));
            }
        };
        let Some(protocol) = served(family, protocol) else {
            return Err(invalid(format!(
                "not a VRRP socket: {family}, protocol {protocol}"
            )));
        };
        for held in [&socket].into_iter().chain(&holders) {
            if held.domain().map_err(look())? != domain(family) {
                return Err(invalid(format!("one of them is not for {family}")));
            }
            if !sys::is_in_namespace_of(held.as_fd()) {
                return Err(Error::OtherNamespace {
                    action: "take over a socket".into(),
                });
            }
        }
        let mut members = BTreeMap::new();
        for (interface, group, place) in parts.memberships {
            if Family::of(group) != family || !group.is_multicast() {
                return Err(invalid(format!("{group} is no group of {family}")));
            }
            let holder = place.checked_sub(1);
            let holding = holder.map_or(Some(&socket), |holder| holders.get(holder));
            let Some(holding) = holding else {
                return Err(invalid(format!("unknown number {place}")));
            };
            // Join again: the kernel may have ended the membership that it claims to have. Where
            // the interface is gone, so is the membership.
            match membership(holding, group, interface, true) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(_) => continue,
            }
            members.insert((interface, group), Membership { users: 0, holder });
        }
        Ok(Self {
            protocol,
            socket,
            family,
            filter: None,
            members,
            holders,
        })
    }

    /// Leaves the groups that no router uses.
    pub fn leave_unused(&mut self) {
        let unused = self.members.iter().filter(|(_, it)| it.users == 0);
        let unused: Vec<(u32, IpAddr)> = unused.map(|(key, _)| *key).collect();
        for (interface, group) in unused {
            self.leave_group(interface, group);
        }
    }

    /// The family of its packets.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The IP protocol of its packets: 112, or 51 for AH.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The VRIDs that are received; `None`, as at the start, for all of them.
    #[must_use]
    pub const fn filter(&self) -> Option<&VridSet> {
        self.filter.as_ref()
    }

    /// Sets the filter of the kernel. It drops packets for VRIDs outside the set, so they take no
    /// room in the socket and wake no thread. With `None` every packet passes. The filter also
    /// drops packets that are too short for a VRID, and AH packets without VRRP.
    ///
    /// The kernel changes from one set to the other between two packets. Packets that the former
    /// set let through stay in the socket.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when the kernel has no memory for a filter (`net.core.optmem_max`).
    pub fn set_filter(&mut self, vrids: Option<VridSet>) -> Result<(), Error> {
        if vrids == self.filter {
            return Ok(());
        }
        let result = match &vrids {
            Some(vrids) => filter::attach(&self.socket, &filter::program(self.start(), vrids)),
            None => self.socket.detach_filter(),
        };
        result.map_err(Error::os("filter advertisements by VRID"))?;
        self.filter = vrids;
        Ok(())
    }

    const fn start(&self) -> Start {
        match (self.family, self.protocol) {
            (Family::Ipv6, _) => Start::Message,
            #[cfg(feature = "ah")]
            (Family::Ipv4, vrrp_proto::ah::IP_PROTOCOL) => Start::Ipv4Ah,
            (Family::Ipv4, _) => Start::Ipv4,
        }
    }

    /// Joins the VRRP group of the family on an interface, for one more user.
    ///
    /// A socket can be a member on few interfaces (`net.ipv4.igmp_max_memberships`, 20 by default).
    /// Further memberships are held by additional sockets; this socket then also receives packets
    /// of groups that other programs have joined. Call it in the network namespace in which the
    /// socket was opened, because additional sockets are opened in that of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]: no such interface, or one without multicast, or a further socket would be in
    /// another namespace.
    pub fn join(&mut self, interface: u32) -> Result<(), Error> {
        self.join_group(interface, vrrp_proto::group(self.family))
    }

    /// Joins a group other than that of VRRP on an interface, for one more user: see
    /// [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join), and [`Error::Invalid`] for an address that is no group of the
    /// family.
    pub fn join_group(&mut self, interface: u32, group: IpAddr) -> Result<(), Error> {
        if Family::of(group) != self.family || !group.is_multicast() {
            return Err(Error::Invalid {
                field: "group",
                problem: format!("{group} is no multicast address of {}", self.family),
            });
        }
        if let Some(membership) = self.members.get_mut(&(interface, group)) {
            membership.users += 1;
            return Ok(());
        }
        let joined = self.join_once_more(interface, group);
        let holder = joined.map_err(refusal(interface, group))?;
        self.members
            .insert((interface, group), Membership { users: 1, holder });
        Ok(())
    }

    /// Finds a socket that has room for a membership.
    fn join_once_more(&mut self, interface: u32, group: IpAddr) -> io::Result<Option<usize>> {
        match membership(&self.socket, group, interface, true) {
            Err(error) if is_full(&error) => {}
            result => return result.map(|()| None),
        }
        let before = self.holders.len();
        let used = self.members.values().filter_map(|it| it.holder);
        let place = join_by(
            &mut self.holders,
            used,
            self.socket.as_fd(),
            self.family,
            |holder| membership(holder, group, interface, true),
        )?;
        if place == before
            && let Err(error) = set_multicast_all(&self.socket, self.family, true)
        {
            self.holders.pop();
            return Err(error);
        }
        Ok(Some(place))
    }

    /// Joins the groups again on an interface where they are joined, after the kernel may have
    /// ended the memberships by itself.
    pub(crate) fn join_again(&mut self, interface: u32) -> Result<(), Error> {
        let mut result = Ok(());
        for ((of, group), member) in &self.members {
            if *of != interface {
                continue;
            }
            let socket = self.holder(member);
            // The membership is on the socket's list, whether or not the interface still has it.
            let _listed = membership(socket, *group, interface, false);
            let joined = membership(socket, *group, interface, true);
            result = result.and(joined.map_err(refusal(interface, *group)));
        }
        result
    }

    /// Joins the groups again wherever they are joined.
    pub(crate) fn join_all_again(&mut self) -> Result<(), Error> {
        let mut interfaces: Vec<u32> = self.members.keys().map(|(it, _)| *it).collect();
        interfaces.dedup();
        let mut result = Ok(());
        for interface in interfaces {
            // A refusal does not keep the other groups from being joined.
            result = result.and(self.join_again(interface));
        }
        result
    }

    /// The socket that holds a membership.
    fn holder(&self, member: &Membership) -> &Socket {
        let holder = member.holder.and_then(|holder| self.holders.get(holder));
        holder.unwrap_or(&self.socket)
    }

    /// Leaves the group on an interface, for one user. With the last user the membership ends, even
    /// where the interface is gone.
    pub fn leave(&mut self, interface: u32) {
        self.leave_group(interface, vrrp_proto::group(self.family));
    }

    /// Leaves another group, for one user: see [`leave`](Self::leave).
    pub fn leave_group(&mut self, interface: u32, group: IpAddr) {
        let key = (interface, group);
        let Some(member) = self.members.get_mut(&key) else {
            return;
        };
        member.users = member.users.saturating_sub(1);
        if member.users > 0 {
            return;
        }
        let Some(member) = self.members.remove(&key) else {
            return;
        };
        let socket = self.holder(&member);
        // Where the interface is gone, the kernel has ended the membership and returns an error.
        // There is nothing else to do.
        if let Err(error) = membership(socket, group, interface, false) {
            tracing::debug!(interface, %error, "left a group that was gone");
        }
    }

    /// Receives the waiting packets, as far as the batch has room, with one system call. It does
    /// not wait.
    ///
    /// Returns the number of packets, counting those that [`ReceiveBatch::iter`] leaves out; 0 when
    /// none is waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] when the socket is broken.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> Result<usize, Error> {
        batch
            .fill(self.socket.as_fd(), Origin::Raw(self.family))
            .map_err(Error::os("receive advertisements"))
    }

    /// Sends packets, with one system call for up to 64 of them. It does not wait: a packet that
    /// the kernel refuses is skipped, and its place in the order, counted from 0, is handed to
    /// `refused`.
    pub fn send<'a>(
        &self,
        datagrams: impl IntoIterator<Item = Datagram<'a>>,
        refused: impl FnMut(usize, io::Error),
    ) {
        let departures = datagrams.into_iter().map(Datagram::departure);
        sys::send_all(self.socket.as_fd(), departures, refused);
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for VrrpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn refusal(interface: u32, group: IpAddr) -> impl FnOnce(io::Error) -> Error {
    Error::os(format!(
        "join group {group} on {}",
        describe_interface(interface)
    ))
}

/// The protocol, if advertisements of this family can use it.
fn served(family: Family, protocol: i32) -> Option<u8> {
    let protocol = u8::try_from(protocol).ok()?;
    let is_served = match (family, protocol) {
        (_, IP_PROTOCOL) => true,
        #[cfg(feature = "ah")]
        (Family::Ipv4, vrrp_proto::ah::IP_PROTOCOL) => true,
        _ => false,
    };
    is_served.then_some(protocol)
}

fn set_up(socket: &Socket, family: Family) -> io::Result<()> {
    let ttl = u32::from(TTL);
    set_multicast_all(socket, family, false)?;
    match family {
        Family::Ipv4 => {
            socket.set_ttl_v4(ttl)?;
            socket.set_multicast_ttl_v4(ttl)?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_tos_v4(TRAFFIC_CLASS)?;
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
        }
        Family::Ipv6 => {
            socket.set_unicast_hops_v6(ttl)?;
            socket.set_multicast_hops_v6(ttl)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
            socket.set_recv_hoplimit_v6(true)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_CHECKSUM, NO_CHECKSUM)
        }
    }
}

fn set_multicast_all(socket: &Socket, family: Family, all: bool) -> io::Result<()> {
    match family {
        Family::Ipv4 => socket.set_multicast_all_v4(all),
        Family::Ipv6 => socket.set_multicast_all_v6(all),
    }
}

/// A packet to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The index of the interface by which it leaves, or 0 for the interface that the routing table
    /// names. A group or a link-local address needs an interface.
    pub interface: u32,
    /// Source, which has to be an address of this host, and destination.
    pub endpoints: Endpoints,
    /// The TTL or hop limit, 1 to 255: 255 for a group (P-04, P-05). A whole IPv4 packet has its
    /// own.
    pub ttl: u8,
    /// The message with its trailer, if it has one; for a socket for AH the whole IPv4 packet.
    pub octets: &'a [u8],
}

impl<'a> Datagram<'a> {
    fn departure(self) -> Departure<'a> {
        let interface = self.interface.to_ne_bytes();
        let ttl = i32::from(self.ttl).to_ne_bytes();
        let (target, control) = match self.endpoints {
            Endpoints::Ipv4 {
                source,
                destination,
            } => {
                // struct in_pktinfo: interface, source, and an address that counts on reception
                // only.
                let info = [interface, source.octets(), [0; 4]];
                (
                    Target::v4(destination.octets()),
                    Control::of(libc::IPPROTO_IP, libc::IP_PKTINFO, info.as_flattened()),
                )
            }
            Endpoints::Ipv6 {
                source,
                destination,
            } => {
                // struct in6_pktinfo: source, interface.
                let mut info = [0; 20];
                for (target, octet) in info
                    .iter_mut()
                    .zip(source.octets().into_iter().chain(interface))
                {
                    *target = octet;
                }
                // A scope is harmless where the destination is not link-local: the packet leaves by
                // that interface anyway.
                (
                    Target::v6(destination.octets(), self.interface),
                    Control::of(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info),
                )
            }
        };
        let control = match self.endpoints.family() {
            // The socket's own TTL.
            _ if self.ttl == TTL => control,
            Family::Ipv4 => control.and(libc::IPPROTO_IP, libc::IP_TTL, &ttl),
            Family::Ipv6 => control.and(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &ttl),
        };
        Departure {
            target,
            control,
            octets: self.octets,
        }
    }
}

/// A received packet.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The index of the interface by which it came.
    pub interface: u32,
    /// Source, destination and TTL or hop limit.
    pub ip: IpHeader,
    /// The content behind the IP header: the message, or the AH header.
    pub payload: &'a [u8],
    /// The IPv4 packet, which AH needs; `None` for IPv6.
    pub ipv4: Option<ipv4::Packet<'a>>,
}

/// Room for 4 packets, and for 64 once more than 4 were waiting. Receiving takes no other memory,
/// however much arrives.
pub struct ReceiveBatch {
    slots: Slots,
    len: usize,
    /// The most packets that the last call could have received.
    limit: usize,
    origin: Origin,
}

/// The kind of socket that filled a batch.
#[derive(Clone, Copy)]
enum Origin {
    Raw(Family),
    /// A packet socket for IPv4.
    Link,
}

impl ReceiveBatch {
    /// An empty batch. One is enough for all sockets of a thread.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: Slots::new(FEW),
            len: 0,
            limit: FEW,
            origin: Origin::Raw(Family::Ipv4),
        }
    }

    /// Receives the waiting packets of a packet socket for IPv4, as far as there is room.
    pub(super) fn fill_from_link(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.fill(socket, Origin::Link)
    }

    fn fill(&mut self, socket: BorrowedFd<'_>, origin: Origin) -> io::Result<usize> {
        self.origin = origin;
        // A socket that had many packets may have many again.
        self.limit = if self.len < FEW { FEW } else { BATCH };
        if self.slots.room() < self.limit {
            self.slots = Slots::new(self.limit);
        }
        self.len = 0;
        self.len = loop {
            match sys::receive(socket, &mut self.slots, self.limit) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(error) => return Err(error),
            }
        };
        Ok(self.len)
    }

    /// Whether the last [`VrrpSocket::receive`] has used all of the room: more packets may be
    /// waiting.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// The packets that the last [`VrrpSocket::receive`] brought, in order.
    ///
    /// Leaves out packets that are longer than any advertisement can be, or that have a broken IPv4
    /// header.
    pub fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        self.slots
            .iter(self.len)
            .filter_map(|slot| match self.origin {
                Origin::Raw(Family::Ipv4) => received_ipv4(slot),
                Origin::Raw(Family::Ipv6) => received_ipv6(slot),
                Origin::Link => ipv4_packet(slot, slot.link()),
            })
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn received_ipv4(slot: Slot<'_>) -> Option<Received<'_>> {
    let info = slot.control().find(libc::IPPROTO_IP, libc::IP_PKTINFO)?;
    ipv4_packet(slot, u32::from_ne_bytes(*info.first_chunk()?))
}

/// An IPv4 packet that came by this interface.
fn ipv4_packet(slot: Slot<'_>, interface: u32) -> Option<Received<'_>> {
    let packet = ipv4::Packet::parse(slot.packet()?).ok()?;
    Some(Received {
        interface,
        ip: IpHeader {
            endpoints: Endpoints::Ipv4 {
                source: packet.source,
                destination: packet.destination,
            },
            ttl: packet.ttl,
        },
        payload: packet.payload,
        ipv4: Some(packet),
    })
}

fn received_ipv6(slot: Slot<'_>) -> Option<Received<'_>> {
    let payload = slot.packet()?;
    let info = slot
        .control()
        .find(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)?;
    let hop_limit = slot
        .control()
        .find(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)?;
    let (destination, interface) = info.split_first_chunk::<16>()?;
    Some(Received {
        interface: u32::from_ne_bytes(*interface.first_chunk()?),
        ip: IpHeader {
            endpoints: Endpoints::Ipv6 {
                source: Ipv6Addr::from(slot.source()),
                destination: Ipv6Addr::from(*destination),
            },
            ttl: u8::try_from(i32::from_ne_bytes(*hop_limit.first_chunk()?)).ok()?,
        },
        payload,
        ipv4: None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// Receives until the batch is not full, and returns the count of each call.
    fn counts(batch: &mut ReceiveBatch, waiting: usize) -> Vec<usize> {
        let (near, far) = UnixDatagram::pair().unwrap();
        for _ in 0..waiting {
            far.send(b"x").unwrap();
        }
        let mut counts = Vec::new();
        loop {
            counts.push(batch.fill(near.as_fd(), Origin::Link).unwrap());
            if !batch.is_full() {
                return counts;
            }
        }
    }

    #[test]
    fn a_batch_makes_room_for_many_packets_once_more_than_a_few_wait() {
        let mut batch = ReceiveBatch::new();
        assert_eq!(counts(&mut batch, 0), [0]);
        assert_eq!(counts(&mut batch, FEW - 1), [FEW - 1]);
        assert_eq!(batch.slots.room(), FEW);
        assert_eq!(counts(&mut batch, FEW), [FEW, 0]);
        assert_eq!(counts(&mut batch, FEW + 2), [FEW, 2]);
        assert_eq!(batch.slots.room(), BATCH);
        assert_eq!(counts(&mut batch, 9), [FEW, 5]);
        assert_eq!(counts(&mut batch, 9), [9], "many came the last time");
        assert_eq!(counts(&mut batch, 1), [1]);
        assert_eq!(counts(&mut batch, 1), [1]);
    }
}
