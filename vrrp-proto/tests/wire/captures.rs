//! Packets that keepalived and FRR sent: see `tests/vectors/README.md`.

use std::{collections::BTreeMap, fs::File, path::Path};

use pcap_file::pcap::PcapReader;
use vrrp_proto::{
    AddressListFault, Advertisement, AuthenticationMethod, ChecksumAcceptance, ChecksumMatch,
    DecodeOptions, Decoded, Discard, Family, IpHeader, Leniency, MessageAuthentication, Password,
    Protection, TTL, Version,
    ah::{self, ReplayWindow},
    frame::{
        arp,
        ethernet::{self, Frame},
        ipv4, ipv6, neighbor,
    },
    hmac,
};

fn frames(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        frames.push(packet.unwrap().data.into_owned());
    }
    frames
}

const LENIENT: DecodeOptions = DecodeOptions {
    v3_ipv4_checksum: ChecksumAcceptance::Either,
    unicast_ttl_floor: TTL,
    hmac_trailer: false,
    leniency: Leniency::ALL,
};

/// The contents of a frame.
enum Carried<'a> {
    Vrrp(IpHeader, &'a [u8]),
    Ah(ipv4::Packet<'a>),
    Arp(arp::Packet),
    Neighbor(neighbor::Advertisement),
}

fn carried(frame: &[u8]) -> Carried<'_> {
    let frame = Frame::parse(frame).unwrap();
    match frame.ethertype {
        ethernet::ARP => Carried::Arp(arp::Packet::parse(frame.payload).unwrap()),
        ethernet::IPV4 => {
            let packet = ipv4::Packet::parse(frame.payload).unwrap();
            match packet.protocol {
                ah::IP_PROTOCOL => Carried::Ah(packet),
                112 => Carried::Vrrp(packet.ip_header(), packet.payload),
                other => panic!("protocol {other}"),
            }
        }
        ethernet::IPV6 => {
            let packet = ipv6::Packet::parse(frame.payload).unwrap();
            match neighbor::Advertisement::parse(&packet).unwrap() {
                Some(advertisement) => Carried::Neighbor(advertisement),
                None => Carried::Vrrp(packet.ip_header(), packet.payload),
            }
        }
        other => panic!("EtherType {other:#06x}"),
    }
}

fn strict<'a>(ip: &IpHeader, payload: &'a [u8]) -> Result<Decoded<'a>, Discard> {
    Advertisement::decode(payload, ip, &DecodeOptions::default())
}

/// The number of messages with each priority, by VRID and family.
type Received = BTreeMap<(u8, &'static str), BTreeMap<u8, usize>>;

fn note(received: &mut Received, ip: &IpHeader, decoded: &Decoded<'_>) {
    let family = match ip.endpoints.family() {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    };
    let advertisement = &decoded.advertisement;
    *received
        .entry((advertisement.vrid.get(), family))
        .or_default()
        .entry(advertisement.priority.get())
        .or_default() += 1;
}

fn texts(decoded: &Decoded<'_>) -> Vec<String> {
    decoded
        .advertisement
        .addresses
        .iter()
        .map(|address| address.to_string())
        .collect()
}

/// How keepalived 2.2.7 was configured: VRID, version, interval in centiseconds, checksum,
/// authentication, addresses, and how many messages it sent before it resigned.
type Configured = (
    u8,
    Version,
    u16,
    ChecksumMatch,
    AuthenticationMethod,
    &'static [&'static str],
    usize,
);

const CONFIGURED: [Configured; 7] = {
    use AuthenticationMethod::{IpAh, None, SimpleText};
    use ChecksumMatch::{MessageOnly, PseudoHeader};
    use Version::{V2, V3};
    [
        (
            41,
            V2,
            100,
            MessageOnly,
            None,
            &["10.99.41.1", "10.99.41.2"],
            1,
        ),
        (42, V2, 100, MessageOnly, SimpleText, &["10.99.42.1"], 1),
        (43, V2, 100, MessageOnly, IpAh, &["10.99.43.1"], 2),
        (
            44,
            V3,
            50,
            PseudoHeader,
            None,
            &["10.99.44.1", "10.99.44.2", "10.99.44.3"],
            1,
        ),
        (
            46,
            V3,
            50,
            PseudoHeader,
            None,
            &["fe80::46", "2001:db8:46::1"],
            1,
        ),
        (47, V3, 50, PseudoHeader, None, &["2001:db8:47::1"], 1),
        (53, V2, 100, MessageOnly, IpAh, &["10.99.53.1"], 2),
    ]
};

#[test]
fn keepalived_is_understood() {
    let password = Password::new(b"s3cret").unwrap();
    let key = ah::Key::new(password);
    let mut received = BTreeMap::<u8, Vec<u8>>::new();
    let mut announced = Vec::new();
    for frame in frames("keepalived-2.2.7.pcap") {
        let (ip, message, inside_ah) = match carried(&frame) {
            Carried::Arp(arp) => {
                assert!(arp.is_gratuitous());
                announced.push(arp.sender_address.to_string());
                continue;
            }
            Carried::Neighbor(advertisement) => {
                assert!(advertisement.overrides && !advertisement.solicited);
                assert!(advertisement.target_mac.is_some());
                announced.push(advertisement.target.to_string());
                continue;
            }
            Carried::Ah(packet) => (packet.ip_header(), key.open(&packet).unwrap().message, true),
            Carried::Vrrp(ip, payload) => (ip, payload, false),
        };
        let decoded = Advertisement::decode(message, &ip, &LENIENT).unwrap();
        let advertisement = &decoded.advertisement;
        let vrid = advertisement.vrid.get();
        let &(_, version, centis, checksum, method, addresses, _) = CONFIGURED
            .iter()
            .find(|configured| configured.0 == vrid)
            .unwrap();
        assert_eq!(advertisement.version(), version);
        assert_eq!(advertisement.interval.as_centis(), centis);
        assert_eq!(decoded.checksum, checksum);
        assert_eq!(advertisement.authentication.method(), method);
        assert_eq!(inside_ah, method == AuthenticationMethod::IpAh);
        if let MessageAuthentication::SimpleText(found) = advertisement.authentication {
            assert_eq!(found, password);
        }
        assert_eq!(texts(&decoded), addresses);
        match strict(&ip, message) {
            Ok(strictly) => assert_eq!(strictly, decoded),
            Err(discard) => {
                let found = "2001:db8:47::1".parse().unwrap();
                let fault = AddressListFault::FirstNotLinkLocal { found };
                assert_eq!((vrid, discard), (47, Discard::AddressList(fault)));
            }
        }
        received
            .entry(vrid)
            .or_default()
            .push(advertisement.priority.get());
    }
    for (vrid, .., count) in CONFIGURED {
        let mut priorities = vec![150; count];
        priorities.push(0);
        assert_eq!(received[&vrid], priorities, "VRID {vrid}");
    }
    assert_eq!(announced, ["10.99.44.1", "fe80::46", "2001:db8:46::1"]);
}

#[test]
fn p_50_the_sequence_numbers_of_keepalived_rise() {
    let key = ah::Key::new(Password::new(b"s3cret").unwrap());
    let mut windows = BTreeMap::<u8, ReplayWindow>::new();
    for frame in frames("keepalived-2.2.7.pcap") {
        let Carried::Ah(packet) = carried(&frame) else {
            continue;
        };
        let opened = key.open(&packet).unwrap();
        let window = windows.entry(opened.message[1]).or_default();
        assert_eq!(window.check(opened.sequence), Ok(()));
        window.accept(opened.sequence);
        assert!(window.check(opened.sequence).is_err());
    }
    assert_eq!(windows.len(), 2);
}

#[test]
fn the_hmac_trailers_of_a_newer_keepalived_verify() {
    let keys = [
        hmac::Key::new(1, b"0123456789abcdef0123456789abcdef").unwrap(),
        hmac::Key::new(7, b"another-key-of-more-than-32-octets").unwrap(),
    ];
    let keys = hmac::Keys::new(&keys, 1).unwrap();
    let options = DecodeOptions {
        hmac_trailer: true,
        ..DecodeOptions::default()
    };
    let now = hmac::UtcTime::new(0, 0);
    let anti_replay = hmac::AntiReplay::Monotonic;
    let mut marks = BTreeMap::<u8, hmac::ReplayMarks>::new();
    let mut received = Received::new();
    for frame in frames("keepalived-2.4.3.pcap") {
        let Carried::Vrrp(ip, payload) = carried(&frame) else {
            panic!("no advertisement")
        };
        if payload[1] == 45 {
            let decoded = strict(&ip, payload).unwrap();
            assert_eq!(decoded.checksum, ChecksumMatch::MessageOnly);
            note(&mut received, &ip, &decoded);
            continue;
        }
        assert!(matches!(
            strict(&ip, payload),
            Err(Discard::PacketLength(_))
        ));
        let decoded = Advertisement::decode(payload, &ip, &options).unwrap();
        let signed = hmac::Signed::find(payload, &ip, &options).unwrap();
        let verified = keys.verify(&signed, &ip, now, anti_replay).unwrap();
        let marks = marks.entry(decoded.advertisement.vrid.get()).or_default();
        assert_eq!(marks.check(&verified, now, anti_replay), Ok(()));
        marks.accept(&verified);
        note(&mut received, &ip, &decoded);
        let used = decoded.trailer.unwrap()[1];
        assert_eq!(
            used,
            if decoded.advertisement.vrid.get() == 62 {
                7
            } else {
                1
            }
        );
    }
    let expected: Received = [(61, "IPv4"), (62, "IPv4"), (63, "IPv6"), (64, "IPv4")]
        .into_iter()
        .map(|key| (key, [(0, 1), (150, 2)].into()))
        .chain([((45, "IPv4"), [(0, 1), (150, 1)].into())])
        .collect();
    assert_eq!(received, expected);
}

#[test]
fn frr_is_understood() {
    let (mut received, mut announced) = (Received::new(), Vec::new());
    for frame in frames("frr-8.4.4.pcap") {
        let source = Frame::parse(&frame).unwrap().source;
        match carried(&frame) {
            Carried::Arp(arp) => announced.push(arp.sender_address.to_string()),
            Carried::Neighbor(advertisement) => {
                assert_eq!(advertisement.target_mac, Some(source));
                announced.push(advertisement.target.to_string());
            }
            Carried::Ah(_) => panic!("FRR has no AH"),
            Carried::Vrrp(ip, payload) => {
                // FRR sends no link-local address before the virtual one.
                let decoded = Advertisement::decode(payload, &ip, &LENIENT).unwrap();
                let family = ip.endpoints.family();
                let not_link_local = family == Family::Ipv6;
                assert_eq!(
                    decoded.tolerated.first_address_not_link_local,
                    not_link_local
                );
                assert_eq!(strict(&ip, payload).is_err(), not_link_local);
                let advertisement = &decoded.advertisement;
                assert_eq!(source.virtual_router(), Some((advertisement.vrid, family)));
                let expected = if advertisement.version() == Version::V2 {
                    ChecksumMatch::MessageOnly
                } else {
                    ChecksumMatch::PseudoHeader
                };
                assert_eq!(decoded.checksum, expected);
                note(&mut received, &ip, &decoded);
            }
        }
    }
    let expected: Received = [
        ((71, "IPv4"), [(0, 1), (150, 2)].into()),
        ((71, "IPv6"), [(0, 1), (150, 1)].into()),
        ((72, "IPv4"), [(0, 1), (120, 2)].into()),
    ]
    .into();
    assert_eq!(received, expected);
    assert_eq!(announced, ["10.99.71.1", "2001:db8:71::1", "10.99.72.1"]);
}

/// The path of a protected packet from the wire to a verdict, with the program's own checks in the
/// middle.
#[test]
fn keepalived_ah_passes_the_whole_check() {
    use vrrp_proto::{LocalAuthentication, LocalRouter, LocalTransport, Versions, Vrid, group};
    let key = ah::Key::new(Password::new(b"s3cret").unwrap());
    let local = LocalRouter {
        vrid: Vrid::new(43).unwrap(),
        authentication: LocalAuthentication::IpAh,
        transport: LocalTransport::Multicast {
            group: group(Family::Ipv4),
        },
        ..crate::support::local(Versions::V2, crate::support::RECEIVER_V4.into())
    };
    let mut passed = 0;
    for frame in frames("keepalived-2.2.7.pcap") {
        let Carried::Ah(packet) = carried(&frame) else {
            continue;
        };
        let opened = key.open(&packet).unwrap();
        let decoded = strict(&packet.ip_header(), opened.message).unwrap();
        let verdict = local.check(&decoded, &packet.ip_header(), Protection::Ah);
        if decoded.advertisement.vrid == local.vrid {
            assert!(verdict.is_ok());
            passed += 1;
        }
    }
    assert_eq!(passed, 3);
}
