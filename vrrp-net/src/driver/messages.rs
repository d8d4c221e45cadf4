//! The octets of a router's advertisements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_fsm::{Outgoing, VirtualRouter, fleet::AddressList};
use vrrp_proto::{
    EncodeError, Endpoints, Family, Leniency, MAX_MESSAGE_LEN, Priority, TTL,
    frame::{MacAddress, ethernet, ipv4, ipv6, multicast_mac},
    group, set_priority,
};

use super::{Transport, authentication::Authenticator, compact::CompactConfig};
use crate::{Datagram, VirtualAddress};

/// The addresses that a router of this family lists in its advertisements.
pub(super) fn address_list(
    wanted: Family,
    addresses: &[VirtualAddress],
    listed: &[IpAddr],
) -> AddressList {
    let addresses = addresses.iter().map(VirtualAddress::address);
    let addresses = addresses.chain(listed.iter().copied());
    match wanted {
        Family::Ipv4 => AddressList::Ipv4(
            addresses
                .filter_map(|address| match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                })
                .collect(),
        ),
        Family::Ipv6 => AddressList::Ipv6(
            addresses
                .filter_map(|address| match address {
                    IpAddr::V6(address) => Some(address),
                    IpAddr::V4(_) => None,
                })
                .collect(),
        ),
    }
}

/// The advertisements of a router, one for each destination, version and checksum form, ready to be
/// sent.
///
/// They are built once, and again when anything except the priority changes. Only the checksum
/// depends on the destination; with IP AH and HMAC each is protected again whenever it is sent.
#[derive(Debug)]
pub(super) struct Messages {
    /// The outgoing advertisement for which `list` was built, while nothing else has changed. The
    /// priority is the one in the list.
    built: Option<Outgoing>,
    /// The source address of `list`.
    source: IpAddr,
    list: Box<[Message]>,
}

/// An advertisement for one destination.
#[derive(Debug)]
pub(super) struct Message {
    destination: IpAddr,
    octets: Octets,
    /// The octets that are sent in its place. Most messages are sent as they are.
    wrapped: Option<Box<Wrapped>>,
}

/// The octets of a message. A message with up to three IPv4 addresses, the usual case, needs no
/// allocation.
#[derive(Debug)]
enum Octets {
    Few(u8, [u8; FEW]),
    Many(Box<[u8]>),
}

/// The most octets that fit into three words together with the length.
const FEW: usize = 22;

/// A message that is protected, or that is sent as a frame.
#[derive(Debug, Default)]
struct Wrapped {
    /// The packet, where the message is protected.
    packet: Option<Vec<u8>>,
    /// The whole frame, where its source is not the hardware address of the interface.
    frame: Vec<u8>,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            built: None,
            source: Ipv4Addr::UNSPECIFIED.into(),
            list: Box::default(),
        }
    }
}

impl From<&[u8]> for Octets {
    fn from(octets: &[u8]) -> Self {
        let mut few = [0; FEW];
        match (few.get_mut(..octets.len()), u8::try_from(octets.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(octets);
                Self::Few(len, few)
            }
            _ => Self::Many(octets.into()),
        }
    }
}

impl Octets {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Few(len, few) => few.get(..usize::from(*len)).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Few(len, few) => few.get_mut(..usize::from(*len)).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }
}

impl Messages {
    /// Discards everything; it is built again the next time.
    pub(super) fn forget(&mut self) {
        self.built = None;
    }

    /// Brings the messages up to date for sending.
    pub(super) fn prepare(
        &mut self,
        outgoing: Outgoing,
        machine: &VirtualRouter,
        config: &CompactConfig,
        authenticator: &mut Authenticator,
    ) -> Result<(), EncodeError> {
        let source = machine.primary_address();
        match self.built {
            Some(built)
                if built.versions == outgoing.versions
                    && built.checksum == outgoing.checksum
                    && self.source == source =>
            {
                if built.priority != outgoing.priority {
                    self.set_priority(outgoing.priority);
                }
            }
            _ => self.build(outgoing, machine, config, authenticator)?,
        }
        self.built = Some(outgoing);
        if authenticator.protects() {
            self.protect(config, authenticator);
        }
        Ok(())
    }

    fn build(
        &mut self,
        outgoing: Outgoing,
        machine: &VirtualRouter,
        config: &CompactConfig,
        authenticator: &Authenticator,
    ) -> Result<(), EncodeError> {
        let source = machine.primary_address();
        self.built = None;
        self.list = Box::default();
        self.source = source;
        let addresses = address_list(config.family(), config.addresses(), &config.common().listed);
        // There is nearly always a single message.
        let mut list = Vec::with_capacity(1);
        for destination in destinations(config) {
            let Some(endpoints) = Endpoints::new(source, destination) else {
                continue;
            };
            let authentication = authenticator.in_message();
            let advertisements =
                machine.advertisements(outgoing, authentication, addresses.as_addresses());
            for (advertisement, form) in advertisements {
                let mut octets = vec![0; advertisement.encoded_len()];
                let deviations = config.common().own_deviations;
                advertisement.encode_lenient(&mut octets, &endpoints, form, deviations)?;
                list.push(Message {
                    destination,
                    octets: octets.as_slice().into(),
                    wrapped: None,
                });
            }
        }
        self.list = list.into();
        Ok(())
    }

    /// Protects all messages. A message that cannot be protected must not go out.
    fn protect(&mut self, config: &CompactConfig, authenticator: &mut Authenticator) {
        let mut list = std::mem::take(&mut self.list).into_vec();
        list.retain_mut(|message| message.protect(self.source, config, authenticator));
        self.list = list.into();
    }

    fn set_priority(&mut self, priority: Priority) {
        for message in &mut self.list {
            // It cannot fail: an encoded message has a header.
            let changed = set_priority(message.octets.as_mut_slice(), priority);
            debug_assert_eq!(changed, Ok(()));
        }
    }

    /// Puts the prepared messages into frames to the group, from this hardware address. A sealed
    /// message has its IP header already.
    pub(super) fn put_into_frames(&mut self, source: MacAddress, is_sealed: bool) {
        for message in &mut self.list {
            if let Some(endpoints) = Endpoints::new(self.source, message.destination) {
                message.put_into_frame(&endpoints, source, is_sealed);
            }
        }
    }

    /// The frames, in the order of [`datagrams`](Self::datagrams).
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.list
            .iter()
            .map(|message| message.wrapped.as_deref())
            .map(|wrapped| wrapped.map_or(&[][..], |it| &it.frame))
    }

    /// The advertisement that the list was made for, and the number of messages.
    pub(super) fn outgoing(&self) -> (Option<Outgoing>, usize) {
        (self.built, self.list.len())
    }

    /// The messages to send. Messages that must stay on the link leave by the interface `on_link`,
    /// the rest by `routed`, where 0 leaves the choice to the routing table.
    pub(super) fn datagrams(
        &self,
        config: &CompactConfig,
        on_link: u32,
        routed: u32,
    ) -> impl Iterator<Item = Datagram<'_>> {
        self.list.iter().filter_map(move |message| {
            let Message { destination, .. } = *message;
            Some(Datagram {
                interface: if is_on_link(destination) {
                    on_link
                } else {
                    routed
                },
                endpoints: Endpoints::new(self.source, destination)?,
                ttl: ttl_to(destination, config),
                octets: message.payload(),
            })
        })
    }
}

impl Message {
    /// The octets behind the IP header; for IP AH the whole packet.
    fn payload(&self) -> &[u8] {
        let packet = self.wrapped.as_ref().and_then(|it| it.packet.as_deref());
        packet.unwrap_or(self.octets.as_slice())
    }

    /// Brings the packet up to date. `false` when the message cannot be protected.
    fn protect(
        &mut self,
        source: IpAddr,
        config: &CompactConfig,
        authenticator: &mut Authenticator,
    ) -> bool {
        let Some(endpoints) = Endpoints::new(source, self.destination) else {
            return false;
        };
        let ttl = ttl_to(self.destination, config);
        let wrapped = self.wrapped.get_or_insert_default();
        authenticator.protect(&endpoints, ttl, self.octets.as_slice(), &mut wrapped.packet)
    }

    fn put_into_frame(&mut self, endpoints: &Endpoints, source: MacAddress, is_sealed: bool) {
        let Wrapped { packet, frame } = &mut **self.wrapped.get_or_insert_default();
        let payload = packet.as_deref().unwrap_or(self.octets.as_slice());
        let destination = multicast_mac(endpoints.destination());
        let ethertype = match endpoints.family() {
            Family::Ipv4 => ethernet::IPV4,
            Family::Ipv6 => ethernet::IPV6,
        };
        frame.clear();
        let header = ethernet::header(destination, source, ethertype);
        frame.extend_from_slice(&header);
        match *endpoints {
            _ if is_sealed => {}
            Endpoints::Ipv4 {
                source,
                destination,
            } => {
                let header = ipv4::Header::advertisement(source, destination);
                // It is no longer than MAX_MESSAGE_LEN and a trailer.
                let header = header.encode(payload.len());
                frame.extend(header.into_iter().flatten());
            }
            Endpoints::Ipv6 {
                source,
                destination,
            } => {
                let header = ipv6::Header::advertisement(source, destination);
                let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
                frame.extend_from_slice(&header.encode(len));
            }
        }
        frame.extend_from_slice(payload);
    }
}

fn is_on_link(destination: IpAddr) -> bool {
    destination.is_multicast()
        || matches!(destination, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The TTL or hop limit of advertisements to a group or a peer.
fn ttl_to(destination: IpAddr, config: &CompactConfig) -> u8 {
    if destination.is_multicast() {
        TTL
    } else {
        config.common().unicast_ttl
    }
}

/// The destinations of a router's advertisements.
fn destinations(config: &CompactConfig) -> impl Iterator<Item = IpAddr> {
    let (group, peers) = match &config.common().transport {
        Transport::Multicast => {
            let group = config
                .common()
                .group
                .unwrap_or_else(|| group(config.family()));
            (Some(group), &[][..])
        }
        Transport::Unicast { peers } => (None, &peers[..]),
    };
    group
        .into_iter()
        .chain(peers.iter().map(|peer| peer.address))
}

/// Whether a router's advertisements can be encoded, from whatever address it will send them.
pub(super) fn check(
    machine: &VirtualRouter,
    addresses: &AddressList,
    authenticator: &Authenticator,
    deviations: Leniency,
) -> Result<(), EncodeError> {
    let config = machine.config();
    let outgoing = Outgoing {
        priority: config.priority,
        versions: config.versions,
        checksum: machine.checksum_forms(),
    };
    let endpoints = Endpoints::multicast(match config.family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    });
    let mut buffer = vec![0; MAX_MESSAGE_LEN];
    machine
        .advertisements(
            outgoing,
            authenticator.in_message(),
            addresses.as_addresses(),
        )
        .try_for_each(|(advertisement, form)| {
            advertisement
                .encode_lenient(&mut buffer, &endpoints, form, deviations)
                .map(drop)
        })
}
