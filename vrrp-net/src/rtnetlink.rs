//! The kernel's messages about links and addresses, and ours. What the codec crate calls things stays in here.

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NlasIterator, Parseable,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
    },
    link::{LinkFlags, LinkHeader, LinkMessage},
};
use vrrp_proto::frame::MacAddress;

use crate::{ADDRESS_PROTOCOL, InterfaceAddress, Link, MonitorEvent, Scope, VirtualAddress};

/// Octets of a datagram: the kernel makes none longer.
pub(crate) const DATAGRAM_LEN: usize = 1 << 16;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

const LINK_HEADER_LEN: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;

/// What a request asks for.
pub(crate) enum Request<'a> {
    /// Every link.
    Links,
    /// Every address.
    Addresses,
    /// Put an address on the interface of this index.
    Add(u32, &'a VirtualAddress),
    /// Take it away.
    Remove(u32, &'a VirtualAddress),
}

impl Request<'_> {
    /// Appends the request to a buffer.
    pub(crate) fn encode(&self, sequence: u32, buffer: &mut Vec<u8>) {
        let (flags, payload) = match *self {
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
                RouteNetlinkMessage::DelAddress(to_remove(interface, address)),
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

fn to_remove(interface: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.address().is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    message.header.prefix_len = address.prefix_len();
    message.header.index = interface;
    message.attributes = vec![
        AddressAttribute::Local(address.address()),
        AddressAttribute::Address(address.address()),
    ];
    message
}

fn to_add(interface: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = to_remove(interface, address);
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
    } else {
        // The routers agreed on who has the address: duplicate address detection would keep it from being used, and the old Active
        // may hold it for another moment.
        message.header.flags = AddressHeaderFlags::Nodad;
        message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
        // For ever valid, and never preferred: not to be chosen as the source of what the host itself sends.
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = 0;
        lifetime.ifa_valid = u32::MAX;
        message
            .attributes
            .push(AddressAttribute::CacheInfo(lifetime));
    }
    message
}

/// What the kernel says.
pub(crate) enum Reply {
    /// Something about a link or an address.
    Event(MonitorEvent),
    /// The request with the reply's sequence number is done: with this errno, or with 0.
    Done { errno: i32 },
    /// Something else.
    Other,
}

/// A message of the kernel.
pub(crate) struct Message {
    pub(crate) sequence: u32,
    /// Something changed while the kernel went through its list: what it sent may be inconsistent.
    pub(crate) interrupted: bool,
    pub(crate) reply: Reply,
}

/// The octets are not the messages that they should be.
#[derive(Debug)]
pub(crate) struct Malformed;

/// The messages of a datagram, in order. It ends after the first malformed one.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Result<Message, Malformed>> {
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

fn parse(datagram: &[u8]) -> Option<(Message, usize)> {
    let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
    let payload = buffer.payload();
    let reply = match buffer.message_type() {
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
    };
    Some((message, usize::try_from(buffer.length()).ok()?))
}

/// Reads the two attributes that matter. The others, of which every kernel brings new ones, are not looked at.
fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        mac: None,
        up: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
    };
    for attribute in NlasIterator::new(payload.get(LINK_HEADER_LEN..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddress),
            IFLA_IFNAME => {
                let name = value.strip_suffix(&[0]).unwrap_or(value);
                link.name = String::from_utf8_lossy(name).into_owned();
            }
            _ => {}
        }
    }
    Some(link)
}

/// Whether an address is an IPv4 or IPv6 one. There are others, of which nothing can be said.
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
        // On a point-to-point link the one is ours and the other is the peer's. IPv6 has the second only, as a rule.
        address: local.or(peer)?,
        prefix_len: message.header.prefix_len,
        protocol,
        secondary: flags.contains(AddressFlags::Secondary),
        usable: !flags.contains(AddressFlags::Dadfailed)
            && (!flags.contains(AddressFlags::Tentative)
                || flags.contains(AddressFlags::Optimistic)),
    };
    Some((message.header.index, address))
}
