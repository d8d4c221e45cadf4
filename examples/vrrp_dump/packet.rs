//! From the link layer to a VRRP message, and the decision about it.

use std::{fmt, net::IpAddr};

use serde::Serialize;
use vrrp_proto::{
    Advertisement, AuthenticationMethod, ChecksumAcceptance, ChecksumMatch, Counter, DecodeOptions,
    Decoded, Discard, Endpoints, Family, IP_PROTOCOL, IpHeader, Leniency, TRAILER_LEN, TTL, ah,
    frame::{
        MacAddress, PacketError, arp,
        ethernet::{self, Frame},
        ipv4, ipv6, neighbor,
    },
    group,
};

use crate::record::{Announcement, Assessment, Checksum, Fields, Packet};

/// The first header of the octets.
#[derive(Clone, Copy)]
pub(crate) enum Layer {
    Ethernet,
    /// LINKTYPE_LINUX_SLL, the header in a capture on all interfaces of a Linux host.
    Cooked,
    /// LINKTYPE_LINUX_SLL2.
    Cooked2,
    /// IPv4 or IPv6.
    Ip,
    Ipv4,
    Ipv6,
}

/// The content of a frame or packet.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Content {
    Vrrp(Packet),
    Arp(Announcement),
    NeighborAdvertisement(Announcement),
    Other(Assessment),
}

impl Content {
    pub(crate) fn read(layer: Layer, octets: &[u8], lenient: bool) -> Self {
        match layer {
            Layer::Ethernet => match Frame::parse(octets) {
                Ok(frame) => Self::of_ethertype(frame.ethertype, frame.payload, lenient),
                Err(error) => Self::other(error),
            },
            Layer::Cooked => Self::cooked(octets, 14, 16, lenient),
            Layer::Cooked2 => Self::cooked(octets, 0, 20, lenient),
            Layer::Ip => match octets.first().map(|first| first >> 4) {
                Some(6) => Self::ipv6(octets, lenient),
                _ => Self::ipv4(octets, lenient),
            },
            Layer::Ipv4 => Self::ipv4(octets, lenient),
            Layer::Ipv6 => Self::ipv6(octets, lenient),
        }
    }

    /// A message without its IP header: its TTL is assumed to be right.
    pub(crate) fn bare_message(endpoints: Endpoints, message: &[u8], lenient: bool) -> Self {
        let ip = IpHeader {
            endpoints,
            ttl: TTL,
        };
        Self::Vrrp(Packet {
            ttl: None,
            ..Packet::of(&ip, message, Envelope::None, lenient)
        })
    }

    /// Adds a possible cause to the reason of a rejection.
    pub(crate) fn add_to_reason(&mut self, cause: fmt::Arguments<'_>) {
        if let Self::Vrrp(Packet {
            assessment:
                Assessment {
                    reason: Some(reason),
                    ..
                },
            ..
        }) = self
        {
            *reason = format!("{reason}; {cause}");
        }
    }

    fn other(reason: impl fmt::Display) -> Self {
        Self::Other(Assessment::reject(format_args!("not VRRP: {reason}")))
    }

    /// A frame with one of Linux's own headers; `ethertype` and `payload` are the positions of
    /// both. VLAN tags may follow.
    fn cooked(octets: &[u8], ethertype: usize, payload: usize, lenient: bool) -> Self {
        let (Some(ethertype), Some(payload)) =
            (octets.get(ethertype..ethertype + 2), octets.get(payload..))
        else {
            return Self::other("the header of the frame is cut short");
        };
        // The same frame with an Ethernet header, whose decoder knows about tags.
        let ethernet = [&[0; 12], ethertype, payload].concat();
        Self::read(Layer::Ethernet, &ethernet, lenient)
    }

    fn of_ethertype(ethertype: u16, payload: &[u8], lenient: bool) -> Self {
        match ethertype {
            ethernet::IPV4 => Self::ipv4(payload, lenient),
            ethernet::IPV6 => Self::ipv6(payload, lenient),
            ethernet::ARP => match arp::Packet::parse(payload) {
                Ok(packet) => Self::arp(&packet),
                Err(error) => Self::other(error),
            },
            other => Self::other(format_args!(
                "EtherType {other:#06x} is not IPv4, IPv6 or ARP"
            )),
        }
    }

    fn arp(packet: &arp::Packet) -> Self {
        let unsolicited = packet.is_gratuitous();
        if packet.operation != arp::Operation::Reply && !unsolicited {
            return Self::other("ARP that announces nothing");
        }
        Announcement::of(packet.sender_address.into(), packet.sender_mac, unsolicited).map_or_else(
            || {
                Self::other(format_args!(
                    "ARP of {}, not a virtual MAC",
                    packet.sender_mac
                ))
            },
            Self::Arp,
        )
    }

    fn ipv4(octets: &[u8], lenient: bool) -> Self {
        match ipv4::Packet::parse(octets) {
            Ok(packet) => match packet.protocol {
                IP_PROTOCOL => {
                    let ip = packet.ip_header();
                    Self::Vrrp(Packet::of(&ip, packet.payload, Envelope::None, lenient))
                }
                ah::IP_PROTOCOL => Self::inside_ah(&packet, lenient),
                other => Self::other(format_args!("IP protocol {other} is not {IP_PROTOCOL}")),
            },
            Err(error) => match octets.split_first_chunk::<{ ipv4::HEADER_LEN }>() {
                Some((header, _)) if header[9] == IP_PROTOCOL => {
                    let header_len = usize::from(header[0] & 0x0f) * 4;
                    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
                    Self::Vrrp(Packet {
                        src: Some([s0, s1, s2, s3].into()),
                        dst: Some([d0, d1, d2, d3].into()),
                        ttl: Some(header[8]),
                        ..Packet::broken(Family::Ipv4, octets.get(header_len..), error)
                    })
                }
                _ => Self::other(error),
            },
        }
    }

    /// The payload of IP AH, if it is VRRP. Without the key, nothing more can be said of the
    /// header.
    fn inside_ah(packet: &ipv4::Packet<'_>, lenient: bool) -> Self {
        match packet.payload {
            &[IP_PROTOCOL, len, ..] => {
                // The length is in words of 32 bits, less two (RFC 2402 section 2.2).
                let header_len = (usize::from(len) + 2) * 4;
                let message = packet.payload.get(header_len..).unwrap_or_default();
                Self::Vrrp(Packet::of(
                    &packet.ip_header(),
                    message,
                    Envelope::Ah,
                    lenient,
                ))
            }
            _ => Self::other("AH around something else"),
        }
    }

    fn ipv6(octets: &[u8], lenient: bool) -> Self {
        let packet = match ipv6::Packet::parse(octets) {
            Ok(packet) => packet,
            Err(error) => {
                return match octets.split_first_chunk::<{ ipv6::HEADER_LEN }>() {
                    Some((header, payload)) if header[6] == IP_PROTOCOL => {
                        let (source, destination) = header[8..].split_at(16);
                        let address = |octets| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from);
                        Self::Vrrp(Packet {
                            src: address(source),
                            dst: address(destination),
                            ttl: Some(header[7]),
                            ..Packet::broken(Family::Ipv6, Some(payload), error)
                        })
                    }
                    _ => Self::other(error),
                };
            }
        };
        if packet.next_header == IP_PROTOCOL {
            let ip = packet.ip_header();
            return Self::Vrrp(Packet::of(&ip, packet.payload, Envelope::None, lenient));
        }
        match neighbor::Advertisement::parse(&packet) {
            Ok(Some(advertisement)) => advertisement
                .target_mac
                .and_then(|mac| {
                    Announcement::of(advertisement.target.into(), mac, !advertisement.solicited)
                })
                .map_or_else(
                    || Self::other("neighbor advertisement without a virtual MAC"),
                    Self::NeighborAdvertisement,
                ),
            Ok(None) => Self::other(format_args!(
                "next header {} is not {IP_PROTOCOL}",
                packet.next_header
            )),
            Err(error) => Self::other(error),
        }
    }
}

impl Announcement {
    fn of(address: IpAddr, mac: MacAddress, unsolicited: bool) -> Option<Self> {
        let (vrid, family) = mac.virtual_router()?;
        Some(Self {
            vrid: vrid.get(),
            family: family.to_string(),
            mac: mac.to_string(),
            addresses: [address],
            unsolicited,
        })
    }
}

/// The encapsulation of a message.
#[derive(Clone, Copy, PartialEq)]
enum Envelope {
    None,
    Ah,
}

impl Packet {
    /// A payload of protocol 112 after a complete IP header.
    fn of(ip: &IpHeader, payload: &[u8], envelope: Envelope, lenient: bool) -> Self {
        let destination = ip.endpoints.destination();
        let options = |leniency| DecodeOptions {
            hmac_trailer: ends_with_trailer(payload),
            leniency,
            ..DecodeOptions::default()
        };
        let leniency = if lenient {
            Leniency::ALL
        } else {
            Leniency::NONE
        };
        let decoded = if destination.is_multicast() && destination != group(ip.endpoints.family()) {
            Err(Discard::Destination { found: destination })
        } else {
            Advertisement::decode(payload, ip, &options(leniency))
        };
        // Rejected packets are shown too, so the decoder forgives as much as it can.
        let forgiven = IpHeader { ttl: TTL, ..*ip };
        let (mut fields, checksum) =
            match Advertisement::decode(payload, &forgiven, &options(Leniency::ALL)) {
                Ok(shown) => (Fields::of(&shown), Some(shown.checksum.into())),
                Err(discard) => {
                    let fields = Fields::read(ip.endpoints.family(), payload);
                    let checksum = match discard {
                        Discard::Checksum(_) => Some(Checksum::Invalid),
                        _ => fields.checksum(payload, &ip.endpoints),
                    };
                    (fields, checksum)
                }
            };
        if envelope == Envelope::Ah {
            fields.auth = Some(name(AuthenticationMethod::IpAh));
        }
        Self {
            src: Some(ip.endpoints.source()),
            dst: Some(destination),
            ttl: Some(ip.ttl),
            fields,
            checksum,
            tolerated: decoded
                .map(|decoded| decoded.tolerated.names().collect())
                .unwrap_or_default(),
            assessment: match decoded {
                Ok(_) => Assessment::ACCEPT,
                Err(discard) => Assessment {
                    counter: discard.counter().map(Counter::name),
                    ..Assessment::reject(discard)
                },
            },
        }
    }

    /// A payload of protocol 112 after an incomplete IP header, as far as it goes.
    fn broken(family: Family, payload: Option<&[u8]>, error: PacketError) -> Self {
        let fields = match (error, payload) {
            // A later fragment has no header of VRRP.
            (PacketError::Fragment, _) | (_, None) => Fields::default(),
            (_, Some(payload)) => Fields::read(family, payload),
        };
        Self {
            src: None,
            dst: None,
            ttl: None,
            fields,
            checksum: None,
            assessment: Assessment::reject(error),
            tolerated: Vec::new(),
        }
    }
}

impl Fields {
    fn of(decoded: &Decoded<'_>) -> Self {
        let message = &decoded.advertisement;
        let method = match decoded.trailer {
            Some(_) => AuthenticationMethod::Hmac,
            None => message.authentication.method(),
        };
        Self {
            version: Some(message.version().number()),
            vrid: Some(message.vrid.get()),
            priority: Some(message.priority.get()),
            interval_cs: Some(message.interval.as_centis()),
            addresses: message.addresses.iter().collect(),
            auth: Some(name(method)),
        }
    }

    /// The fields of a message that cannot be decoded, as far as they are present.
    fn read(family: Family, payload: &[u8]) -> Self {
        let octet = |place: usize| payload.get(place).copied();
        let version = octet(0).map(|first| first >> 4);
        let (interval_cs, auth) = match version {
            Some(2) => (
                octet(5).map(|seconds| u16::from(seconds) * 100),
                octet(4).map(|auth_type| match auth_type {
                    0 => AuthenticationMethod::None,
                    1 => AuthenticationMethod::SimpleText,
                    2 => AuthenticationMethod::IpAh,
                    other => AuthenticationMethod::Unknown(other),
                }),
            ),
            Some(3) => (
                payload
                    .get(4..6)
                    .map(|octets| u16::from_be_bytes([octets[0] & 0x0f, octets[1]])),
                Some(AuthenticationMethod::None),
            ),
            _ => (None, None),
        };
        let addresses = match version {
            Some(2 | 3) => payload.get(8..).unwrap_or_default(),
            _ => &[],
        };
        let count = octet(3).unwrap_or(0).into();
        Self {
            version,
            vrid: octet(1),
            priority: octet(2),
            interval_cs,
            addresses: match family {
                Family::Ipv4 => list::<4>(addresses, count),
                Family::Ipv6 => list::<16>(addresses, count),
            },
            auth: auth.map(name),
        }
    }

    /// The form that the checksum of the whole payload fits, if the data that it covers is known.
    fn checksum(&self, payload: &[u8], endpoints: &Endpoints) -> Option<Checksum> {
        let acceptance = match (self.version?, endpoints.family()) {
            (2, Family::Ipv4) => ChecksumAcceptance::MessageOnly,
            (3, Family::Ipv4) => ChecksumAcceptance::Either,
            (3, Family::Ipv6) => ChecksumAcceptance::PseudoHeader,
            _ => return None,
        };
        Some(match acceptance.fits(payload, endpoints) {
            Some(fits) => fits.into(),
            None => Checksum::Invalid,
        })
    }
}

impl From<ChecksumMatch> for Checksum {
    fn from(fits: ChecksumMatch) -> Self {
        match fits {
            ChecksumMatch::MessageOnly => Self::MessageOnly,
            ChecksumMatch::PseudoHeader => Self::PseudoHeader,
            ChecksumMatch::Both => Self::Both,
        }
    }
}

/// Whether a payload ends with something that looks like an HMAC trailer: scheme 1, a key id, 16
/// zero bits.
fn ends_with_trailer(payload: &[u8]) -> bool {
    matches!(
        payload.last_chunk::<TRAILER_LEN>(),
        Some([1, 1..=255, 0, 0, ..])
    )
}

fn list<const N: usize>(octets: &[u8], count: usize) -> Vec<IpAddr>
where
    IpAddr: From<[u8; N]>,
{
    let (addresses, _) = octets.as_chunks();
    addresses
        .iter()
        .take(count)
        .map(|octets| IpAddr::from(*octets))
        .collect()
}

fn name(method: AuthenticationMethod) -> String {
    match method {
        AuthenticationMethod::None => "none".into(),
        AuthenticationMethod::SimpleText => "simple-text".into(),
        AuthenticationMethod::IpAh => "ah".into(),
        AuthenticationMethod::Hmac => "hmac".into(),
        AuthenticationMethod::Unknown(number) => format!("unknown-{number}"),
    }
}
