//! Messages made by hand, octet by octet, with a checksum loop that shares nothing with the
//! crate's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Advertisement, DecodeOptions, Decoded, Discard, Endpoints, Family, IpHeader,
    LocalAuthentication, LocalRouter, LocalTransport, OwnerRule, TTL, Versions, Vrid, frame, group,
};

pub(crate) const SENDER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
pub(crate) const SENDER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);
pub(crate) const RECEIVER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 12);
pub(crate) const RECEIVER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12);

pub(crate) const VIRTUAL_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const VIRTUAL_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

pub(crate) fn vrid(number: u8) -> Vrid {
    Vrid::new(number).unwrap()
}

/// The header of a multicast packet from the usual sender.
pub(crate) fn ipv4() -> IpHeader {
    IpHeader {
        endpoints: Endpoints::multicast(SENDER_V4.into()),
        ttl: TTL,
    }
}

pub(crate) fn ipv6() -> IpHeader {
    IpHeader {
        endpoints: Endpoints::multicast(SENDER_V6.into()),
        ttl: TTL,
    }
}

/// The header of a unicast packet from the usual sender to the usual receiver.
pub(crate) fn unicast_ipv4(ttl: u8) -> IpHeader {
    let endpoints = Endpoints::Ipv4 {
        source: SENDER_V4,
        destination: RECEIVER_V4,
    };
    IpHeader { endpoints, ttl }
}

pub(crate) fn unicast_ipv6(ttl: u8) -> IpHeader {
    let endpoints = Endpoints::Ipv6 {
        source: SENDER_V6,
        destination: RECEIVER_V6,
    };
    IpHeader { endpoints, ttl }
}

/// RFC 1071, one 16-bit word after another.
pub(crate) fn internet_checksum(octets: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    !u16::try_from(sum).unwrap()
}

/// The pseudo-header of RFC 8200 section 8.1, or of RFC 793 section 3.1 for IPv4.
pub(crate) fn pseudo_header(endpoints: &Endpoints, length: usize, protocol: u8) -> Vec<u8> {
    let length = u16::try_from(length).unwrap().to_be_bytes();
    match endpoints {
        Endpoints::Ipv4 {
            source,
            destination,
        } => [
            &source.octets()[..],
            &destination.octets(),
            &[0, protocol],
            &length,
        ]
        .concat(),
        Endpoints::Ipv6 {
            source,
            destination,
        } => {
            let rest = [0, 0, length[0], length[1], 0, 0, 0, protocol];
            [&source.octets()[..], &destination.octets(), &rest].concat()
        }
    }
}

pub(crate) fn fix_message_checksum(message: &mut [u8]) {
    message[6..8].fill(0);
    let checksum = internet_checksum(message);
    message[6..8].copy_from_slice(&checksum.to_be_bytes());
}

pub(crate) fn fix_pseudo_checksum(message: &mut [u8], endpoints: &Endpoints) {
    message[6..8].fill(0);
    let covered = [
        pseudo_header(endpoints, message.len(), 112),
        message.to_vec(),
    ]
    .concat();
    message[6..8].copy_from_slice(&internet_checksum(&covered).to_be_bytes());
}

/// A version 2 message: VRID 51, priority 100, 1 second.
pub(crate) fn v2(addresses: &[Ipv4Addr]) -> Vec<u8> {
    v2_with(addresses, 0, [0; 8])
}

pub(crate) fn v2_with(addresses: &[Ipv4Addr], auth_type: u8, data: [u8; 8]) -> Vec<u8> {
    let mut message = vec![0x21, 51, 100, addresses.len() as u8, auth_type, 1, 0, 0];
    for address in addresses {
        message.extend(address.octets());
    }
    message.extend(data);
    fix_message_checksum(&mut message);
    message
}

/// A version 3 message over IPv4: VRID 51, priority 100, 100 centiseconds, checksum over the
/// message alone.
pub(crate) fn v3(addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut message = vec![0x31, 51, 100, addresses.len() as u8, 0, 100, 0, 0];
    for address in addresses {
        message.extend(address.octets());
    }
    fix_message_checksum(&mut message);
    message
}

/// The same with a pseudo-header in the checksum.
pub(crate) fn v3_pseudo(addresses: &[Ipv4Addr], endpoints: &Endpoints) -> Vec<u8> {
    let mut message = v3(addresses);
    fix_pseudo_checksum(&mut message, endpoints);
    message
}

/// A version 3 message over IPv6: VRID 51, priority 100, 100 centiseconds.
pub(crate) fn v3_ipv6(addresses: &[Ipv6Addr]) -> Vec<u8> {
    let mut message = vec![0x31, 51, 100, addresses.len() as u8, 0, 100, 0, 0];
    for address in addresses {
        message.extend(address.octets());
    }
    fix_pseudo_checksum(&mut message, &ipv6().endpoints);
    message
}

/// This many different addresses.
pub(crate) fn addresses_v4(count: u8) -> Vec<Ipv4Addr> {
    (0..count)
        .map(|number| Ipv4Addr::new(198, 51, 100, number))
        .collect()
}

/// This many different addresses, the first of them link-local.
pub(crate) fn addresses_v6(count: u8) -> Vec<Ipv6Addr> {
    let rest = (1..count).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()));
    std::iter::once(VIRTUAL_V6)
        .take(count.into())
        .chain(rest)
        .collect()
}

/// Strict decoding, as a multicast packet of the family.
pub(crate) fn decode_ipv4(message: &[u8]) -> Result<Decoded<'_>, Discard> {
    Advertisement::decode(message, &ipv4(), &DecodeOptions::default())
}

pub(crate) fn decode_ipv6(message: &[u8]) -> Result<Decoded<'_>, Discard> {
    Advertisement::decode(message, &ipv6(), &DecodeOptions::default())
}

/// A router that accepts the usual messages of a version, by multicast and without authentication.
pub(crate) fn local(versions: Versions, primary_address: IpAddr) -> LocalRouter<'static> {
    LocalRouter {
        vrid: vrid(51),
        versions,
        interval: match versions {
            Versions::V2 => vrrp_proto::Interval::DEFAULT_V2,
            Versions::V3 | Versions::Both => vrrp_proto::Interval::DEFAULT_V3,
        },
        owner: OwnerRule::NotOwner,
        primary_address,
        authentication: LocalAuthentication::None,
        transport: LocalTransport::Multicast {
            group: group(Family::of(primary_address)),
        },
        addresses: None,
    }
}

/// The Ethernet frame of a multicast message of VRID 51.
pub(crate) fn framed(endpoints: Endpoints, message: &[u8]) -> Vec<u8> {
    match endpoints {
        Endpoints::Ipv4 {
            source,
            destination,
        } => {
            let header = frame::ipv4::Header::advertisement(source, destination);
            framed_behind(&header.encode(message.len()).unwrap(), endpoints, message)
        }
        Endpoints::Ipv6 {
            source,
            destination,
        } => {
            let header = frame::ipv6::Header::advertisement(source, destination);
            framed_behind(&header.encode(message.len() as u16), endpoints, message)
        }
    }
}

/// The same with these headers between Ethernet and the message.
pub(crate) fn framed_behind(headers: &[u8], endpoints: Endpoints, message: &[u8]) -> Vec<u8> {
    let family = endpoints.family();
    let ethertype = match family {
        Family::Ipv4 => frame::ethernet::IPV4,
        Family::Ipv6 => frame::ethernet::IPV6,
    };
    let destination = frame::multicast_mac(endpoints.destination());
    let source = frame::virtual_mac(vrid(51), family);
    let ethernet = frame::ethernet::header(destination, source, ethertype);
    [&ethernet[..], headers, message].concat()
}

/// The IPv4 packet of a message whose header has these options, a multiple of four octets.
pub(crate) fn with_ip_options(options: &[u8], message: &[u8]) -> Vec<u8> {
    let header = frame::ipv4::Header::advertisement(SENDER_V4, vrrp_proto::GROUP_IPV4);
    let mut header = header.encode(message.len()).unwrap().to_vec();
    header.extend(options);
    header[0] = 0x40 + header.len() as u8 / 4;
    header[3] += options.len() as u8;
    header[10..12].fill(0);
    let checksum = internet_checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&header, message].concat()
}
