//! Frames, compared with smoltcp.

use std::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv6Packet,
        Icmpv6Repr, Ipv4Packet, Ipv6Packet, NdiscNeighborFlags, NdiscRepr,
    },
};
use vrrp_proto::frame::{
    MacAddress, PacketError,
    arp::{self, GratuitousTarget, Operation},
    ethernet, ipv4, ipv6, multicast_mac, neighbor, solicited_node_group, virtual_mac,
};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, Family, GROUP_IPV4, GROUP_IPV6, Interval,
    MessageAuthentication, Priority,
};

use crate::support::{
    SENDER_V4, SENDER_V6, VIRTUAL_V4, VIRTUAL_V6, framed, internet_checksum, pseudo_header, vrid,
};

const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x77]);
const PHYSICAL_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x11]);
const HOST_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn mac_v4() -> MacAddress {
    virtual_mac(vrid(51), Family::Ipv4)
}

fn mac_v6() -> MacAddress {
    virtual_mac(vrid(51), Family::Ipv6)
}

/// Ethernet addresses and the ARP inside, as smoltcp reads them.
fn smoltcp_arp(frame: &[u8]) -> (MacAddress, MacAddress, ArpRepr) {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    assert_eq!(ethernet.ethertype(), EthernetProtocol::Arp);
    let arp = ArpPacket::new_checked(ethernet.payload()).unwrap();
    (
        MacAddress(ethernet.dst_addr().0),
        MacAddress(ethernet.src_addr().0),
        ArpRepr::parse(&arp).unwrap(),
    )
}

struct Seen {
    ethernet: (MacAddress, MacAddress),
    ip: (Ipv6Addr, Ipv6Addr),
    flags: NdiscNeighborFlags,
    target: Ipv6Addr,
    mac: Option<MacAddress>,
}

/// A neighbor advertisement, as smoltcp reads it. smoltcp checks length and checksum.
fn smoltcp_na(frame: &[u8]) -> Seen {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv6);
    let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
    assert_eq!((ip.hop_limit(), ip.payload_len()), (255, 32));
    let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
    let (source, destination) = (ip.src_addr(), ip.dst_addr());
    let parsed = Icmpv6Repr::parse(
        &source,
        &destination,
        &icmp,
        &ChecksumCapabilities::default(),
    )
    .unwrap();
    let Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags,
        target_addr,
        lladdr,
    }) = parsed
    else {
        panic!("no neighbor advertisement: {parsed:?}")
    };
    Seen {
        ethernet: (
            MacAddress(ethernet.dst_addr().0),
            MacAddress(ethernet.src_addr().0),
        ),
        ip: (destination, source),
        flags,
        target: target_addr,
        mac: lladdr.map(|address| MacAddress(address.as_bytes().try_into().unwrap())),
    }
}

#[test]
fn m_01_the_ipv4_virtual_mac_ends_with_the_vrid() {
    for number in 1..=255 {
        assert_eq!(
            virtual_mac(vrid(number), Family::Ipv4),
            MacAddress([0x00, 0x00, 0x5e, 0x00, 0x01, number])
        );
    }
}

#[test]
fn m_02_the_ipv6_virtual_mac_ends_with_the_vrid() {
    for number in 1..=255 {
        assert_eq!(
            virtual_mac(vrid(number), Family::Ipv6),
            MacAddress([0x00, 0x00, 0x5e, 0x00, 0x02, number])
        );
    }
}

#[test]
fn a_virtual_mac_identifies_its_router() {
    for family in [Family::Ipv4, Family::Ipv6] {
        for number in 1..=255 {
            let mac = virtual_mac(vrid(number), family);
            assert_eq!(mac.virtual_router(), Some((vrid(number), family)));
        }
    }
    for other in [
        [0, 0, 0x5e, 0, 1, 0],
        [0, 0, 0x5e, 0, 3, 1],
        [2, 0, 0x5e, 0, 1, 1],
        [0xff; 6],
    ] {
        assert_eq!(MacAddress(other).virtual_router(), None);
    }
}

#[test]
fn m_03_an_advertisement_leaves_from_the_virtual_mac() {
    let frame = advertisement_frame(Family::Ipv4);
    assert_eq!(
        EthernetFrame::new_checked(&frame[..]).unwrap().src_addr().0,
        mac_v4().0
    );
    let frame = advertisement_frame(Family::Ipv6);
    assert_eq!(
        EthernetFrame::new_checked(&frame[..]).unwrap().src_addr().0,
        mac_v6().0
    );
}

#[test]
fn m_04_the_groups_have_their_ethernet_addresses() {
    assert_eq!(
        multicast_mac(GROUP_IPV4.into()).to_string(),
        "01:00:5e:00:00:12"
    );
    assert_eq!(
        multicast_mac(GROUP_IPV6.into()).to_string(),
        "33:33:00:00:00:12"
    );
    // Only 23 bits of an IPv4 group fit.
    let group = Ipv4Addr::new(239, 0xff, 1, 2);
    assert_eq!(multicast_mac(group.into()).to_string(), "01:00:5e:7f:01:02");
}

/// The whole frame of an advertisement.
pub(crate) fn advertisement_frame(family: Family) -> Vec<u8> {
    let (v4, v6) = ([VIRTUAL_V4], [VIRTUAL_V6]);
    let (addresses, source) = match family {
        Family::Ipv4 => (Addresses::from(&v4[..]), SENDER_V4.into()),
        Family::Ipv6 => (Addresses::from(&v6[..]), SENDER_V6.into()),
    };
    let advertisement = Advertisement {
        vrid: vrid(51),
        priority: Priority::DEFAULT,
        interval: Interval::DEFAULT_V3,
        authentication: MessageAuthentication::None,
        addresses,
    };
    let endpoints = Endpoints::multicast(source);
    let mut message = [0; 64];
    let length = advertisement
        .encode(&mut message, &endpoints, ChecksumForm::MessageOnly)
        .unwrap();
    framed(endpoints, &message[..length])
}

#[test]
fn p_04_an_ipv4_advertisement_has_ttl_255() {
    let frame = advertisement_frame(Family::Ipv4);
    let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
    let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    assert!(ip.verify_checksum());
    assert_eq!(ip.hop_limit(), 255);
    assert_eq!(u8::from(ip.next_header()), 112);
    assert_eq!((ip.src_addr(), ip.dst_addr()), (SENDER_V4, GROUP_IPV4));
    assert_eq!(ip.dscp(), 0xc0 >> 2);
    assert!(ip.dont_frag() && !ip.more_frags());
    assert_eq!(ip.total_len(), 32);
}

#[test]
fn p_05_an_ipv6_advertisement_has_hop_limit_255() {
    let frame = advertisement_frame(Family::Ipv6);
    let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
    let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
    assert_eq!(ip.hop_limit(), 255);
    assert_eq!(u8::from(ip.next_header()), 112);
    assert_eq!((ip.src_addr(), ip.dst_addr()), (SENDER_V6, GROUP_IPV6));
    assert_eq!(ip.traffic_class(), 0xc0);
    assert_eq!(
        (ip.version(), ip.flow_label(), ip.payload_len()),
        (6, 0, 24)
    );
}

#[test]
fn a_04_an_arp_request_for_a_virtual_address_is_answered() {
    let asked = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: smoltcp::wire::EthernetAddress(HOST_MAC.0),
        source_protocol_addr: HOST_V4,
        target_hardware_addr: smoltcp::wire::EthernetAddress([0; 6]),
        target_protocol_addr: VIRTUAL_V4,
    };
    let mut request = vec![0; asked.buffer_len()];
    asked.emit(&mut ArpPacket::new_unchecked(&mut request));
    request.resize(46, 0xee);

    let request = arp::Packet::parse(&request).unwrap();
    assert_eq!(request.asks_for(), Some(VIRTUAL_V4));
    let (destination, _, reply) = smoltcp_arp(&arp::reply(&request, mac_v4(), PHYSICAL_MAC));
    assert_eq!(destination, HOST_MAC);
    assert_eq!(
        reply,
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: smoltcp::wire::EthernetAddress(mac_v4().0),
            source_protocol_addr: VIRTUAL_V4,
            target_hardware_addr: smoltcp::wire::EthernetAddress(HOST_MAC.0),
            target_protocol_addr: HOST_V4,
        }
    );
}

fn request(sender_address: Ipv4Addr) -> arp::Packet {
    arp::Packet {
        operation: Operation::Request,
        sender_mac: HOST_MAC,
        sender_address,
        target_mac: MacAddress::ZERO,
        target_address: VIRTUAL_V4,
    }
}

#[test]
fn a_05_an_arp_reply_names_the_virtual_mac() {
    let frame = arp::reply(&request(HOST_V4), mac_v4(), PHYSICAL_MAC);
    assert_eq!(frame[22..28], mac_v4().0);
    assert!(!frame[14..].windows(6).any(|six| six == PHYSICAL_MAC.0));
}

#[test]
fn a_06_the_ethernet_source_of_an_arp_reply_can_be_the_physical_mac() {
    for source in [PHYSICAL_MAC, mac_v4()] {
        let (_, seen, _) = smoltcp_arp(&arp::reply(&request(HOST_V4), mac_v4(), source));
        assert_eq!(seen, source);
    }
}

#[test]
fn a_28_a_proxy_arp_reply_names_the_virtual_mac_for_an_address_of_others() {
    let mut request = request(HOST_V4);
    request.target_address = Ipv4Addr::new(203, 0, 113, 5);
    let (_, _, reply) = smoltcp_arp(&arp::reply(&request, mac_v4(), mac_v4()));
    let ArpRepr::EthernetIpv4 {
        source_hardware_addr,
        source_protocol_addr,
        ..
    } = reply
    else {
        panic!()
    };
    assert_eq!(source_hardware_addr.0, mac_v4().0);
    assert_eq!(source_protocol_addr, Ipv4Addr::new(203, 0, 113, 5));
}

#[test]
fn an_arp_probe_asks_and_a_gratuitous_one_does_not() {
    assert_eq!(request(Ipv4Addr::UNSPECIFIED).asks_for(), Some(VIRTUAL_V4));
    assert_eq!(request(VIRTUAL_V4).asks_for(), None);
    assert!(request(VIRTUAL_V4).is_gratuitous());
    for operation in [Operation::Reply, Operation::Other(3)] {
        assert_eq!(
            arp::Packet {
                operation,
                ..request(HOST_V4)
            }
            .asks_for(),
            None
        );
    }
}

#[test]
fn a_11_a_gratuitous_arp_has_the_virtual_address_twice_and_the_virtual_mac() {
    for (target, target_mac) in [
        (GratuitousTarget::default(), mac_v4()),
        (GratuitousTarget::VirtualMac, mac_v4()),
        (GratuitousTarget::Broadcast, MacAddress([0xff; 6])),
        (GratuitousTarget::Zero, MacAddress([0; 6])),
    ] {
        let frame = arp::gratuitous(mac_v4(), VIRTUAL_V4, target);
        let (_, _, seen) = smoltcp_arp(&frame);
        assert_eq!(
            seen,
            ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Request,
                source_hardware_addr: smoltcp::wire::EthernetAddress(mac_v4().0),
                source_protocol_addr: VIRTUAL_V4,
                target_hardware_addr: smoltcp::wire::EthernetAddress(target_mac.0),
                target_protocol_addr: VIRTUAL_V4,
            }
        );
        let parsed = ethernet::Frame::parse(&frame).unwrap();
        assert!(arp::Packet::parse(parsed.payload).unwrap().is_gratuitous());
        assert_eq!(frame.len(), 42);
    }
}

#[test]
fn a_12_a_gratuitous_arp_is_broadcast_from_the_virtual_mac() {
    let (destination, source, _) = smoltcp_arp(&arp::gratuitous(
        mac_v4(),
        VIRTUAL_V4,
        GratuitousTarget::default(),
    ));
    assert_eq!((destination, source), (MacAddress::BROADCAST, mac_v4()));
}

#[test]
fn a_13_an_unsolicited_na_has_r_and_o_and_the_virtual_mac() {
    let frame = neighbor::unsolicited(mac_v6(), VIRTUAL_V6, VIRTUAL_V6);
    let seen = smoltcp_na(&frame);
    assert_eq!(
        seen.flags,
        NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::OVERRIDE
    );
    assert_eq!((seen.target, seen.mac), (VIRTUAL_V6, Some(mac_v6())));
    assert_eq!(frame[58], 0xa0);
    assert_eq!(frame[78..80], [2, 1]);
    assert_eq!(frame.len(), 86);
}

#[test]
fn a_14_an_unsolicited_na_goes_to_all_nodes_with_hop_limit_255() {
    for source in [VIRTUAL_V6, SENDER_V6] {
        let frame = neighbor::unsolicited(mac_v6(), VIRTUAL_V6, source);
        let seen = smoltcp_na(&frame);
        assert_eq!(seen.ethernet.0.to_string(), "33:33:00:00:00:01");
        assert_eq!(seen.ethernet.1, mac_v6());
        assert_eq!(seen.ip, (ALL_NODES, source));
        assert_eq!(frame[54..56], [136, 0]);
    }
}

/// A solicitation as hosts send it, in an IPv6 packet with these addresses.
fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(VIRTUAL_V6.octets());
    message.extend(options);
    icmpv6(source, destination, 255, message)
}

fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let pseudo = pseudo_header(
        &Endpoints::Ipv6 {
            source,
            destination,
        },
        message.len(),
        58,
    );
    let checksum = internet_checksum(&[pseudo, message.clone()].concat());
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let header = ipv6::Header {
        source,
        destination,
        next_header: 58,
        traffic_class: 0,
        hop_limit,
    };
    [&header.encode(message.len() as u16)[..], &message].concat()
}

const FROM_HOST: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 0x77];

fn parse_solicitation(packet: &[u8]) -> Result<Option<neighbor::Solicitation>, PacketError> {
    neighbor::Solicitation::parse(&ipv6::Packet::parse(packet).unwrap())
}

#[test]
fn a_08_a_solicitation_is_answered_with_the_virtual_mac_and_r_s_o() {
    let packet = solicitation(HOST_V6, solicited_node_group(VIRTUAL_V6), &FROM_HOST);
    let solicited = parse_solicitation(&packet).unwrap().unwrap();
    assert_eq!(solicited.target, VIRTUAL_V6);
    for source in [mac_v6(), PHYSICAL_MAC] {
        let frame = neighbor::solicited(&solicited, HOST_MAC, mac_v6(), source);
        let seen = smoltcp_na(&frame);
        assert_eq!(seen.ethernet, (HOST_MAC, source));
        assert_eq!(seen.ip, (HOST_V6, VIRTUAL_V6));
        assert_eq!((seen.target, seen.mac), (VIRTUAL_V6, Some(mac_v6())));
        assert_eq!(frame[58], 0xe0);
    }
}

#[test]
fn a_08_a_solicitation_of_an_address_to_be_is_answered_to_all_nodes() {
    let packet = solicitation(Ipv6Addr::UNSPECIFIED, solicited_node_group(VIRTUAL_V6), &[]);
    let solicited = parse_solicitation(&packet).unwrap().unwrap();
    let frame = neighbor::solicited(&solicited, HOST_MAC, mac_v6(), mac_v6());
    let seen = smoltcp_na(&frame);
    assert_eq!(seen.ethernet.0.to_string(), "33:33:00:00:00:01");
    assert_eq!(seen.ip, (ALL_NODES, VIRTUAL_V6));
    assert_eq!(frame[58], 0xa0);
}

#[test]
fn a_08_a_solicitation_that_rfc_4861_says_to_discard_is_discarded() {
    let group = solicited_node_group(VIRTUAL_V6);
    let good = solicitation(HOST_V6, group, &FROM_HOST);
    let edit = |hop_limit, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good[40..].to_vec();
        edit(&mut message);
        parse_solicitation(&icmpv6(HOST_V6, group, hop_limit, message))
    };
    assert!(edit(255, &|_| {}).unwrap().is_some());
    assert!(matches!(
        edit(254, &|_| {}),
        Err(PacketError::Field {
            field: "hop limit",
            ..
        })
    ));
    assert!(matches!(
        edit(255, &|m| m[1] = 1),
        Err(PacketError::Field {
            field: "ICMPv6 code",
            ..
        })
    ));
    assert!(matches!(
        edit(255, &|m| m[8] = 0xff),
        Err(PacketError::Address { .. })
    ));
    assert!(matches!(
        edit(255, &|m| m.truncate(23)),
        Err(PacketError::TooShort { .. })
    ));
    assert!(matches!(
        edit(255, &|m| m[25] = 0),
        Err(PacketError::Field {
            field: "option length",
            ..
        })
    ));
    assert!(matches!(
        edit(255, &|m| m[25] = 2),
        Err(PacketError::TooShort { .. })
    ));
    assert!(matches!(
        edit(255, &|m| m.truncate(25)),
        Err(PacketError::TooShort { .. })
    ));
    // Other messages are ignored.
    assert_eq!(edit(255, &|m| m[0] = 136), Ok(None));
    let mut corrupt = good.clone();
    corrupt[50] ^= 1;
    assert!(matches!(
        parse_solicitation(&corrupt),
        Err(PacketError::Checksum { .. })
    ));
    // From the unspecified address: only to the group, and without the option.
    let unspecified = Ipv6Addr::UNSPECIFIED;
    for (destination, options) in [(VIRTUAL_V6, &[][..]), (group, &FROM_HOST[..])] {
        let packet = solicitation(unspecified, destination, options);
        assert!(matches!(
            parse_solicitation(&packet),
            Err(PacketError::Address { .. })
        ));
    }
}

#[test]
fn a_neighbor_advertisement_is_read_as_it_was_written() {
    let frame = neighbor::unsolicited(mac_v6(), VIRTUAL_V6, SENDER_V6);
    let ethernet = ethernet::Frame::parse(&frame).unwrap();
    let ip = ipv6::Packet::parse(ethernet.payload).unwrap();
    assert_eq!(
        neighbor::Advertisement::parse(&ip).unwrap(),
        Some(neighbor::Advertisement {
            target: VIRTUAL_V6,
            target_mac: Some(mac_v6()),
            router: true,
            solicited: false,
            overrides: true,
        })
    );
    // Each flag is independent.
    for flags in 0..8_u8 {
        let mut message = ip.payload.to_vec();
        message[4] = flags << 5;
        let packet = icmpv6(SENDER_V6, HOST_V6, 255, message);
        let parsed = neighbor::Advertisement::parse(&ipv6::Packet::parse(&packet).unwrap());
        let parsed = parsed.unwrap().unwrap();
        let seen = [parsed.router, parsed.solicited, parsed.overrides];
        assert_eq!(seen, [4, 2, 1].map(|flag| flags & flag != 0));
    }
    // With the Solicited flag it may not go to a group.
    let mut message = ip.payload.to_vec();
    message[4] |= 0x40;
    let packet = icmpv6(SENDER_V6, ALL_NODES, 255, message);
    assert!(matches!(
        neighbor::Advertisement::parse(&ipv6::Packet::parse(&packet).unwrap()),
        Err(PacketError::Address { .. })
    ));
}

#[test]
fn a_16_the_solicited_node_group_has_the_low_24_bits() {
    let address: Ipv6Addr = "2001:db8::1234:5678:9abc:def0".parse().unwrap();
    assert_eq!(
        solicited_node_group(address).to_string(),
        "ff02::1:ffbc:def0"
    );
    // Two addresses with the same low 24 bits share it.
    let other: Ipv6Addr = "fe80::bc:def0".parse().unwrap();
    assert_eq!(solicited_node_group(other), solicited_node_group(address));
    assert_eq!(
        multicast_mac(solicited_node_group(address).into()).to_string(),
        "33:33:ff:bc:de:f0"
    );
}

#[test]
fn p_55_the_payload_is_bounded_by_ihl_and_total_length() {
    let message = [7; 12];
    let packet = [
        &ipv4::Header::advertisement(SENDER_V4, GROUP_IPV4)
            .encode(12)
            .unwrap()[..],
        &message,
        &[0; 14],
    ]
    .concat();
    let parsed = ipv4::Packet::parse(&packet).unwrap();
    assert_eq!(
        (parsed.header, parsed.payload),
        (&packet[..20], &message[..])
    );
    let packet = [
        &ipv6::Header::advertisement(SENDER_V6, GROUP_IPV6).encode(12)[..],
        &message,
        &[0; 3],
    ]
    .concat();
    assert_eq!(ipv6::Packet::parse(&packet).unwrap().payload, message);
}

#[test]
fn p_56_broken_packets_are_refused() {
    let good = [
        &ipv4::Header::advertisement(SENDER_V4, GROUP_IPV4)
            .encode(12)
            .unwrap()[..],
        &[7; 12],
    ]
    .concat();
    let refused = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = good.clone();
        edit(&mut packet);
        if packet.len() >= 20 {
            packet[10..12].fill(0);
            let header_len = (usize::from(packet[0] & 0x0f) * 4).clamp(20, packet.len());
            let checksum = internet_checksum(&packet[..header_len]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        ipv4::Packet::parse(&packet)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let error = |text: &str| Err(text.to_owned());
    assert_eq!(refused(&|_| {}), Ok(()));
    assert_eq!(
        refused(&|p| p.truncate(19)),
        error("19 octets given, 20 needed")
    );
    assert_eq!(
        refused(&|p| p.truncate(31)),
        error("31 octets given, 32 needed")
    );
    assert_eq!(
        refused(&|p| p[0] = 0x65),
        error("IP version 6 is not in 4..=4")
    );
    assert_eq!(
        refused(&|p| p[0] = 0x44),
        error("IPv4 header length 4 is not in 5..=15")
    );
    assert_eq!(refused(&|p| p[3] = 19), error("19 octets given, 20 needed"));
    assert_eq!(
        refused(&|p| p[0] = 0x49),
        error("32 octets given, 36 needed")
    );
    assert_eq!(refused(&|p| p[6] = 0x20), error("the packet is a fragment"));
    assert_eq!(refused(&|p| p[7] = 1), error("the packet is a fragment"));
    let mut packet = good.clone();
    packet[8] = 254;
    assert!(matches!(
        ipv4::Packet::parse(&packet),
        Err(PacketError::Checksum { .. })
    ));

    let good = [
        &ipv6::Header::advertisement(SENDER_V6, GROUP_IPV6).encode(12)[..],
        &[7; 12],
    ]
    .concat();
    for length in 0..good.len() {
        assert!(matches!(
            ipv6::Packet::parse(&good[..length]),
            Err(PacketError::TooShort { .. })
        ));
    }
    let mut packet = good;
    packet[0] = 0x45;
    assert_eq!(
        ipv6::Packet::parse(&packet).unwrap_err().to_string(),
        "IP version 4 is not in 6..=6"
    );

    let good = arp::gratuitous(mac_v4(), VIRTUAL_V4, GratuitousTarget::Zero);
    for length in 0..28 {
        assert!(matches!(
            arp::Packet::parse(&good[14..14 + length]),
            Err(PacketError::TooShort { .. })
        ));
    }
    for octet in 0..6 {
        let mut packet = good;
        packet[14 + octet] ^= 0x80;
        assert!(matches!(
            arp::Packet::parse(&packet[14..]),
            Err(PacketError::Field { .. })
        ));
    }
}

#[test]
fn vlan_tags_are_seen_through() {
    let plain = advertisement_frame(Family::Ipv4);
    let tagged = |tags: &[u8]| [&plain[..12], tags, &plain[12..]].concat();
    for tags in [
        &[][..],
        &[0x81, 0, 0, 7],
        &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7],
    ] {
        let frame = tagged(tags);
        let parsed = ethernet::Frame::parse(&frame).unwrap();
        assert_eq!(parsed.ethertype, ethernet::IPV4);
        assert_eq!(parsed.payload, &plain[14..]);
        assert_eq!(
            (parsed.destination.0, parsed.source),
            (plain[..6].try_into().unwrap(), mac_v4())
        );
        for length in 0..14 + tags.len() {
            assert!(matches!(
                ethernet::Frame::parse(&frame[..length]),
                Err(PacketError::TooShort { needed, given }) if given == length && needed > given
            ));
        }
    }
    // A third tag is not skipped.
    let frame = tagged(&[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3]);
    assert_eq!(ethernet::Frame::parse(&frame).unwrap().ethertype, 0x8100);
}
