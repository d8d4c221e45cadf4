//! The kernel's messages about links, addresses and routes, and ours. The names of the codec crate
//! stay within this module.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use libc::{
    IFLA_ADDRESS, IFLA_ALT_IFNAME, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_INFO_SLAVE_KIND,
    IFLA_LINK, IFLA_LINK_NETNSID, IFLA_LINKINFO, IFLA_MASTER, IFLA_PROP_LIST, RTA_DST, RTA_GATEWAY,
    RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE, RTM_DELADDR, RTM_DELLINK,
    RTM_DELROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE,
};
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL,
    NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NlasIterator, Parseable,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
    },
    link::{
        InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkHeader, LinkInfo,
        LinkMessage, MacVlanMode, Prop,
    },
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType},
};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::{Family, frame::MacAddress};

use super::sys;
use crate::{
    ADDRESS_PROTOCOL, Error, InterfaceAddress, Interfaces, Link, MonitorEvent, ROUTE_PROTOCOL,
    Route, Scope, VirtualAddress,
};

/// The octets of a datagram: the kernel sends no longer one.
pub(crate) const DATAGRAM_LEN: usize = 1 << 16;

const LINK_HEADER_LEN: usize = 16;
const ROUTE_HEADER_LEN: usize = 12;
const NEXT_HOP_HEADER_LEN: usize = 8;
const ATTRIBUTE_HEADER_LEN: usize = 4;

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

/// A request.
pub(crate) enum Request<'a> {
    /// Every link.
    Links,
    /// Every address.
    Addresses,
    /// The link of this name.
    Link(&'a str),
    /// Every route of both families.
    Routes,
    /// Every route of a family, or of a single table, where the kernel filters dumps.
    RoutesOf { family: Family, table: Option<u32> },
    /// Put an address on the interface of this index.
    Add(u32, &'a VirtualAddress),
    /// Remove it.
    Remove(u32, &'a VirtualAddress),
    /// Remove an address as it was found: with its peer.
    RemoveFound(u32, &'a InterfaceAddress),
    /// Add an address as a dump had it: the payload of its message.
    AddRaw(&'a [u8]),
    /// Put a macvlan on the link of the index `parent`, down.
    AddMacvlan {
        parent: u32,
        name: &'a str,
        mac: MacAddress,
    },
    /// Set the alias of the link of this index.
    SetAlias(u32, &'a str),
    /// Rename the link of this index. It has to be down.
    SetName(u32, &'a str),
    /// Add an alternative name to the link of this index, or remove it.
    AltName(u32, &'a str, bool),
    /// Set the link of this index up, or down.
    SetUp(u32, bool),
    /// Delete the link of this index.
    DeleteLink(u32),
    /// Put the link of this index into a group.
    SetGroup(u32, u32),
    /// Delete all links of a group.
    DeleteGroup(u32),
    /// Add a route, by the interface of this index where it needs one.
    AddRoute(Option<u32>, &'a Route),
    /// Remove it.
    RemoveRoute(Option<u32>, &'a Route),
}

impl Request<'_> {
    /// Appends the request to a buffer.
    pub(crate) fn encode(&self, sequence: u32, buffer: &mut Vec<u8>) {
        let (flags, payload) = match *self {
            Self::AddRaw(payload) => return encode_raw(sequence, payload, buffer),
            Self::Links => (
                NLM_F_DUMP,
                RouteNetlinkMessage::GetLink(LinkMessage::default()),
            ),
            Self::Addresses => (
                NLM_F_DUMP,
                RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            ),
            Self::Add(interface, address) => (
                NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                RouteNetlinkMessage::NewAddress(to_add(interface, address)),
            ),
            Self::Remove(interface, address) => (
                NLM_F_ACK,
                RouteNetlinkMessage::DelAddress(to_remove(
                    interface,
                    address.address(),
                    address.prefix_len(),
                    None,
                )),
            ),
            Self::RemoveFound(interface, own) => (
                NLM_F_ACK,
                RouteNetlinkMessage::DelAddress(to_remove(
                    interface,
                    own.address,
                    own.prefix_len,
                    own.peer,
                )),
            ),
            Self::Link(name) => {
                let mut message = LinkMessage::default();
                message.attributes = vec![LinkAttribute::IfName(name.into())];
                (NLM_F_ACK, RouteNetlinkMessage::GetLink(message))
            }
            Self::AddMacvlan { .. }
            | Self::SetAlias(..)
            | Self::SetName(..)
            | Self::AltName(..)
            | Self::SetUp(..)
            | Self::DeleteLink(_)
            | Self::SetGroup(..)
            | Self::DeleteGroup(_) => self.change_of_link(),
            Self::Routes => (
                NLM_F_DUMP,
                RouteNetlinkMessage::GetRoute(RouteMessage::default()),
            ),
            Self::RoutesOf { family, table } => {
                let mut message = RouteMessage::default();
                message.header.address_family = match family {
                    Family::Ipv4 => AddressFamily::Inet,
                    Family::Ipv6 => AddressFamily::Inet6,
                };
                message.attributes.extend(table.map(RouteAttribute::Table));
                (NLM_F_DUMP, RouteNetlinkMessage::GetRoute(message))
            }
            Self::AddRoute(interface, route) => (
                NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                RouteNetlinkMessage::NewRoute(route_message(interface, route)),
            ),
            Self::RemoveRoute(interface, route) => (
                NLM_F_ACK,
                RouteNetlinkMessage::DelRoute(route_message(interface, route)),
            ),
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(payload));
        message.finalize();
        let start = buffer.len();
        // Messages begin at multiples of four octets.
        buffer.resize(start + message.buffer_len().next_multiple_of(4), 0);
        if let Some(target) = buffer.get_mut(start..start + message.buffer_len()) {
            message.emit(target);
        }
    }
}

/// Appends a request for a new address, from the payload of a message.
fn encode_raw(sequence: u32, payload: &[u8], buffer: &mut Vec<u8>) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    header.message_type = RTM_NEWADDR;
    header.sequence_number = sequence;
    let length = header.buffer_len() + payload.len();
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    let start = buffer.len();
    buffer.resize(start + header.buffer_len(), 0);
    header.emit(buffer.get_mut(start..).unwrap_or_default());
    buffer.extend_from_slice(payload);
    // Messages begin at multiples of four octets.
    buffer.resize(start + length.next_multiple_of(4), 0);
}

impl Request<'_> {
    /// The flags and the message of a request that changes a link.
    fn change_of_link(&self) -> (u16, RouteNetlinkMessage) {
        let set = |interface, attribute| {
            let mut message = about_link(interface);
            message.attributes = vec![attribute];
            (NLM_F_ACK, RouteNetlinkMessage::SetLink(message))
        };
        match *self {
            Self::AddMacvlan { parent, name, mac } => (
                NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                RouteNetlinkMessage::NewLink(macvlan(parent, name, mac)),
            ),
            Self::SetAlias(interface, alias) => {
                set(interface, LinkAttribute::IfAlias(alias.into()))
            }
            Self::SetName(interface, name) => set(interface, LinkAttribute::IfName(name.into())),
            Self::SetGroup(interface, group) => set(interface, LinkAttribute::Group(group)),
            Self::AltName(interface, name, add) => {
                let mut message = about_link(interface);
                message.attributes =
                    vec![LinkAttribute::PropList(vec![Prop::AltIfName(name.into())])];
                if add {
                    (
                        NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND,
                        RouteNetlinkMessage::NewLinkProp(message),
                    )
                } else {
                    (NLM_F_ACK, RouteNetlinkMessage::DelLinkProp(message))
                }
            }
            Self::SetUp(interface, up) => {
                let mut message = about_link(interface);
                message.header.change_mask = LinkFlags::Up;
                if up {
                    message.header.flags = LinkFlags::Up;
                }
                (NLM_F_ACK, RouteNetlinkMessage::SetLink(message))
            }
            Self::DeleteGroup(group) => {
                let mut message = LinkMessage::default();
                message.attributes = vec![LinkAttribute::Group(group)];
                (NLM_F_ACK, RouteNetlinkMessage::DelLink(message))
            }
            Self::DeleteLink(interface) => (
                NLM_F_ACK,
                RouteNetlinkMessage::DelLink(about_link(interface)),
            ),
            _ => (
                NLM_F_ACK,
                RouteNetlinkMessage::GetLink(LinkMessage::default()),
            ),
        }
    }
}

fn about_link(interface: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = interface;
    message
}

/// Bridge mode: the parent link still receives the advertisements of a rival that has the same
/// hardware address. In private mode they would go to the macvlan alone.
fn macvlan(parent: u32, name: &str, mac: MacAddress) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Link(parent),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
                MacVlanMode::Bridge,
            )])),
        ]),
    ];
    message
}

fn route_message(interface: Option<u32>, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let is_ipv4 = route.destination().is_ipv4();
    message.header = RouteHeader {
        address_family: if is_ipv4 {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        },
        destination_prefix_length: route.prefix_len(),
        protocol: ROUTE_PROTOCOL.into(),
        // A route without a gateway leads to neighbours on the link only. IPv6 routes have no
        // scope.
        scope: if is_ipv4 && route.gateway().is_none() && !route.discards() {
            RouteScope::Link
        } else {
            RouteScope::Universe
        },
        kind: if route.discards() {
            RouteType::BlackHole
        } else {
            RouteType::Unicast
        },
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Table(route.table()),
        RouteAttribute::Destination(route.destination().into()),
    ];
    let address = RouteAddress::from;
    message.attributes.extend(
        [
            route.gateway().map(address).map(RouteAttribute::Gateway),
            route.source().map(address).map(RouteAttribute::PrefSource),
            route.metric().map(RouteAttribute::Priority),
            interface.map(RouteAttribute::Oif),
        ]
        .into_iter()
        .flatten(),
    );
    message
}

fn to_remove(
    interface: u32,
    local: IpAddr,
    prefix_len: u8,
    peer: Option<IpAddr>,
) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if local.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    message.header.prefix_len = prefix_len;
    message.header.index = interface;
    message.attributes = vec![
        AddressAttribute::Local(local),
        AddressAttribute::Address(peer.unwrap_or(local)),
    ];
    message
}

fn to_add(interface: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = to_remove(interface, address.address(), address.prefix_len(), None);
    message
        .attributes
        .push(AddressAttribute::Protocol(ADDRESS_PROTOCOL.into()));
    if address.address().is_ipv4() {
        message.header.scope = match address.scope() {
            Scope::Global => AddressScope::Universe,
            Scope::Link => AddressScope::Link,
            Scope::Host => AddressScope::Host,
        };
        if let Some(label) = address.label() {
            message
                .attributes
                .push(AddressAttribute::Label(label.into()));
        }
        let broadcast = address.options().broadcast;
        message
            .attributes
            .extend(broadcast.map(AddressAttribute::Broadcast));
    } else {
        // The address is valid for ever. By default it is never preferred, so that the host does
        // not choose it as the source of its own packets.
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = address.options().preferred;
        lifetime.ifa_valid = u32::MAX;
        message
            .attributes
            .push(AddressAttribute::CacheInfo(lifetime));
    }
    let flags = flags_of(address);
    if !flags.is_empty() {
        message.header.flags =
            AddressHeaderFlags::from_bits_truncate(flags.bits().to_le_bytes()[0]);
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message
}

/// The flags that the kernel gets with an address.
fn flags_of(address: &VirtualAddress) -> AddressFlags {
    let options = address.options();
    let is_ipv6 = address.address().is_ipv6();
    // VRRP has already decided which router has the address. Duplicate address detection would
    // delay its use, or fail while the old Active still has it.
    [
        (is_ipv6 && !options.detects_duplicates, AddressFlags::Nodad),
        (is_ipv6 && options.is_home, AddressFlags::Homeaddress),
        (
            is_ipv6 && options.manages_temporary,
            AddressFlags::Managetempaddr,
        ),
        (options.without_prefix_route, AddressFlags::Noprefixroute),
        (options.joins_group, AddressFlags::Mcautojoin),
    ]
    .into_iter()
    .filter(|(is_on, _)| *is_on)
    .fold(AddressFlags::empty(), |all, (_, flag)| all | flag)
}

/// A message of the kernel.
pub(crate) enum Reply<'a> {
    /// A change of a link or an address, or a virtual route that is gone.
    Event(MonitorEvent),
    /// A route. There may be a million, so its attributes are parsed only where they are wanted:
    /// [`virtual_route`], [`found_route`].
    Route(&'a [u8]),
    /// The request with the reply's sequence number is done, with this errno, or with 0.
    Done { errno: i32 },
    /// Something else.
    Other,
}

/// A message of the kernel.
pub(crate) struct Message<'a> {
    pub(crate) sequence: u32,
    /// Something changed while the kernel went through its list, so the dump may be inconsistent.
    pub(crate) interrupted: bool,
    pub(crate) reply: Reply<'a>,
    pub(crate) payload: &'a [u8],
}

/// The octets are not valid messages.
#[derive(Debug)]
pub(crate) struct Malformed;

impl Malformed {
    /// The error of the request.
    pub(crate) fn in_answer(action: impl Into<String>) -> Error {
        Error::os(action)(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer is malformed",
        ))
    }
}

/// The messages of a datagram, in order. It ends after the first malformed one.
pub(crate) fn messages(
    mut datagram: &[u8],
) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Some((message, length)) = parse(datagram) else {
            datagram = &[];
            return Some(Err(Malformed));
        };
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some(Ok(message))
    })
}

fn parse(datagram: &[u8]) -> Option<(Message<'_>, usize)> {
    let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
    let payload = buffer.payload();
    let reply = match buffer.message_type() {
        RTM_NEWLINK | RTM_DELLINK if !is_about_link(payload) => Reply::Other,
        RTM_NEWLINK => Reply::Event(MonitorEvent::Link(link(payload)?)),
        RTM_DELLINK => Reply::Event(MonitorEvent::LinkGone {
            interface: LinkHeader::parse(payload).ok()?.index,
        }),
        RTM_NEWADDR | RTM_DELADDR if !is_ip(payload) => Reply::Other,
        RTM_NEWADDR => {
            let (interface, address) = address(payload)?;
            Reply::Event(MonitorEvent::AddressAdded { interface, address })
        }
        RTM_DELADDR => {
            let (interface, address) = address(payload)?;
            Reply::Event(MonitorEvent::AddressRemoved { interface, address })
        }
        RTM_NEWROUTE => Reply::Route(payload),
        RTM_DELROUTE => virtual_route(payload).map_or(Reply::Other, |(interface, route)| {
            Reply::Event(MonitorEvent::RouteRemoved { interface, route })
        }),
        // Both begin with a negative errno, or zero.
        NLMSG_ERROR | NLMSG_DONE => Reply::Done {
            errno: i32::from_ne_bytes(*payload.first_chunk()?).checked_neg()?,
        },
        _ => Reply::Other,
    };
    let message = Message {
        sequence: buffer.sequence_number(),
        interrupted: buffer.flags() & NLM_F_DUMP_INTR != 0,
        reply,
        payload,
    };
    Some((message, usize::try_from(buffer.length()).ok()?))
}

/// Whether a link message describes the link itself (family `AF_UNSPEC`). Bridges send messages of
/// family `AF_BRIDGE` about their ports: `RTM_DELLINK` for a port that leaves the bridge, and
/// `RTM_NEWLINK` without kind and alias (`br_ifinfo_notify` in net/bridge/br_netlink.c). The link
/// stays in both cases.
fn is_about_link(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|family| i32::from(*family) == libc::AF_UNSPEC)
}

/// Parses the attributes that matter, and ignores the others, to which every kernel adds new ones.
fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        mac: None,
        up: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        kind: String::new(),
        parent: None,
        alias: String::new(),
        vrf: None,
        enabled: header.flags.contains(LinkFlags::Up),
        alt_names: Vec::new(),
    };
    let (mut master, mut is_in_vrf) = (None, false);
    let mut is_parent_elsewhere = false;
    for attribute in NlasIterator::new(payload.get(LINK_HEADER_LEN..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddress),
            IFLA_IFNAME => link.name = text(value),
            IFLA_LINK => link.parent = number(value),
            IFLA_LINK_NETNSID => is_parent_elsewhere = true,
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_MASTER => master = number(value),
            IFLA_PROP_LIST => {
                let names = NlasIterator::new(value)
                    .map_while(Result::ok)
                    .filter(|attribute| attribute.kind() == IFLA_ALT_IFNAME);
                link.alt_names.extend(names.map(|name| text(name.value())));
            }
            IFLA_LINKINFO => {
                for attribute in NlasIterator::new(value).map_while(Result::ok) {
                    match attribute.kind() {
                        IFLA_INFO_KIND => link.kind = text(attribute.value()),
                        IFLA_INFO_SLAVE_KIND => is_in_vrf = text(attribute.value()) == "vrf",
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if is_parent_elsewhere {
        // An index of another namespace, which an unrelated link may have in this one.
        link.parent = None;
    }
    link.vrf = master.filter(|_| is_in_vrf);
    Some(link)
}

/// A text, with or without a final zero octet.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// A route that has our mark and that we could have made, with the index of its interface. No
/// attribute of any other route is parsed, because a host may have a million of them.
pub(crate) fn virtual_route(payload: &[u8]) -> Option<(Option<u32>, Route)> {
    let header = RouteHeader::parse(payload).ok()?;
    if u8::from(header.protocol) != ROUTE_PROTOCOL {
        return None;
    }
    let discards = match header.kind {
        RouteType::Unicast => false,
        RouteType::BlackHole => true,
        _ => return None,
    };
    let message = RouteMessage::parse(payload).ok()?;
    let mut table = u32::from(header.table);
    let mut interface = None;
    let mut destination: Option<IpAddr> = match header.address_family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    };
    let (mut gateway, mut source, mut metric) = (None, None, None);
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = number,
            RouteAttribute::Oif(index) => interface = Some(index),
            RouteAttribute::Destination(address) => destination = ip(&address),
            RouteAttribute::Gateway(address) => gateway = ip(&address),
            RouteAttribute::PrefSource(address) => source = ip(&address),
            RouteAttribute::Priority(number) => metric = Some(number),
            _ => {}
        }
    }
    if discards {
        return Some((None, Route::discard(destination?)));
    }
    let mut route = Route::new(destination?, header.destination_prefix_length)
        .and_then(|route| route.with_table(table))
        .ok()?;
    if let Some(gateway) = gateway {
        route = route.with_gateway(gateway).ok()?;
    }
    if let Some(source) = source {
        route = route.with_source(source).ok()?;
    }
    if let Some(metric) = metric {
        route = route.with_metric(metric);
    }
    Some((interface, route))
}

/// The key of tracked routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    pub(crate) table: u32,
    pub(crate) destination: IpAddr,
    pub(crate) len: u8,
}

impl Prefix {
    pub(crate) const fn of(route: &Route) -> Self {
        Self {
            table: route.table(),
            destination: route.destination(),
            len: route.prefix_len(),
        }
    }
}

/// A route that forwards packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundRoute {
    pub(crate) prefix: Prefix,
    pub(crate) source: Option<IpAddr>,
    pub(crate) metric: u32,
    pub(crate) hops: Vec<Hop>,
}

/// A next hop of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: Option<u32>,
}

impl FoundRoute {
    /// The next hops with which the route matches everything that is given in the wanted route.
    /// Each leads by an interface that is up.
    pub(crate) fn hops_of(
        &self,
        meant: &Route,
        interfaces: &Interfaces,
    ) -> impl Iterator<Item = &Hop> {
        let is_meant = self.prefix == Prefix::of(meant)
            && meant.metric().is_none_or(|it| self.metric == it)
            && meant.source().is_none_or(|it| self.source == Some(it));
        let leads = move |hop: &&Hop| {
            let by = hop.interface.map(|index| interfaces.get(index));
            let is_up = by.is_none_or(|by| by.is_some_and(|by| by.link.up));
            let name = by.flatten().map(|by| by.link.name.as_str());
            is_meant
                && is_up
                && meant.gateway().is_none_or(|it| hop.gateway == Some(it))
                && meant.interface().is_none_or(|it| name == Some(it))
        };
        self.hops.iter().filter(leads)
    }
}

/// A route to a wanted prefix, if it forwards packets. Only the attributes that matter are parsed.
pub(crate) fn found_route(
    payload: &[u8],
    is_wanted: impl Fn(&Prefix) -> bool,
) -> Option<FoundRoute> {
    let header = RouteHeader::parse(payload).ok()?;
    if let RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw =
        header.kind
    {
        return None;
    }
    let mut prefix = Prefix {
        table: header.table.into(),
        destination: match header.address_family {
            AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        },
        len: header.destination_prefix_length,
    };
    let (mut source, mut metric, mut hop, mut ways) = (None, 0, Hop::default(), None);
    for attribute in NlasIterator::new(payload.get(ROUTE_HEADER_LEN..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            RTA_TABLE => prefix.table = number(value)?,
            RTA_DST => prefix.destination = ip_of(value)?,
            RTA_PREFSRC => source = ip_of(value),
            RTA_PRIORITY => metric = number(value)?,
            RTA_GATEWAY => hop.gateway = ip_of(value),
            RTA_OIF => hop.interface = number(value),
            RTA_MULTIPATH => {
                let length = usize::from(attribute.length());
                ways = attribute.into_inner().get(ATTRIBUTE_HEADER_LEN..length);
            }
            _ => {}
        }
    }
    is_wanted(&prefix).then(|| FoundRoute {
        prefix,
        source,
        metric,
        hops: ways.map_or_else(|| vec![hop], |ways| hops(ways).collect()),
    })
}

/// The next hops of a multipath route. Each has its whole length, flags, weight, interface, and
/// attributes of its own.
fn hops(mut ways: &[u8]) -> impl Iterator<Item = Hop> {
    std::iter::from_fn(move || {
        let (length, rest) = ways.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let attributes = ways.get(NEXT_HOP_HEADER_LEN..length)?;
        let interface = number(rest.get(2..6)?);
        ways = ways.get(length.next_multiple_of(4)..).unwrap_or_default();
        let gateway = NlasIterator::new(attributes)
            .map_while(Result::ok)
            .find(|attribute| attribute.kind() == RTA_GATEWAY)
            .and_then(|attribute| ip_of(attribute.value()));
        Some(Hop { gateway, interface })
    })
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn ip_of(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// Whether an address is an IPv4 or IPv6 one. Addresses of other families are ignored.
fn is_ip(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|family| [libc::AF_INET, libc::AF_INET6].contains(&i32::from(*family)))
}

/// An address, after the index of its interface.
fn address(payload: &[u8]) -> Option<(u32, InterfaceAddress)> {
    let message = AddressMessage::parse(payload).ok()?;
    let mut local = None;
    let mut peer = None;
    let mut protocol = 0;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => peer = Some(address),
            AddressAttribute::Flags(all) => flags = all,
            AddressAttribute::Protocol(number) => protocol = number.into(),
            _ => {}
        }
    }
    let address = InterfaceAddress {
        // On a point-to-point link `local` is our address, and the other is the peer's. An IPv6
        // address usually has the latter attribute only.
        address: local.or(peer)?,
        prefix_len: message.header.prefix_len,
        peer: peer.filter(|peer| local.is_some_and(|local| local != *peer)),
        protocol,
        secondary: flags.contains(AddressFlags::Secondary),
        usable: !flags.contains(AddressFlags::Dadfailed)
            && (!flags.contains(AddressFlags::Tentative)
                || flags.contains(AddressFlags::Optimistic)),
        scope: match (message.header.family, message.header.scope) {
            (AddressFamily::Inet, AddressScope::Link) => Scope::Link,
            (AddressFamily::Inet, AddressScope::Host) => Scope::Host,
            _ => Scope::Global,
        },
    };
    Some((message.header.index, address))
}

#[cfg(test)]
mod tests;
