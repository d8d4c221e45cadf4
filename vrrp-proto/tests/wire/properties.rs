//! Properties over all inputs.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, ChecksumMatch, DecodeOptions, Endpoints, Interval,
    IpHeader, Leniency, MAX_MESSAGE_LEN, MessageAuthentication, Password, Priority, TTL, Vrid, ah,
    frame::{arp, ethernet, ipv4, ipv6, neighbor},
    hmac, set_priority,
};

fn any_vrid() -> impl Strategy<Value = Vrid> {
    (1_u8..).prop_map(|number| Vrid::new(number).unwrap())
}

fn any_endpoints_v4() -> impl Strategy<Value = Endpoints> {
    let destination = prop_oneof![Just(vrrp_proto::GROUP_IPV4), any::<Ipv4Addr>()];
    (any::<Ipv4Addr>(), destination).prop_map(|(source, destination)| Endpoints::Ipv4 {
        source,
        destination,
    })
}

fn any_endpoints_v6() -> impl Strategy<Value = Endpoints> {
    let destination = prop_oneof![Just(vrrp_proto::GROUP_IPV6), any::<Ipv6Addr>()];
    (any::<Ipv6Addr>(), destination).prop_map(|(source, destination)| Endpoints::Ipv6 {
        source,
        destination,
    })
}

fn any_authentication() -> impl Strategy<Value = MessageAuthentication> {
    prop_oneof![
        Just(MessageAuthentication::None),
        Just(MessageAuthentication::IpAh),
        proptest::collection::vec(any::<u8>(), 1..=8)
            .prop_map(|text| MessageAuthentication::SimpleText(Password::new(&text).unwrap())),
    ]
}

fn any_form() -> impl Strategy<Value = ChecksumForm> {
    prop_oneof![
        Just(ChecksumForm::MessageOnly),
        Just(ChecksumForm::PseudoHeader)
    ]
}

fn any_options() -> impl Strategy<Value = DecodeOptions> {
    (any::<bool>(), any::<bool>(), any::<u8>()).prop_map(|(lenient, hmac_trailer, floor)| {
        DecodeOptions {
            unicast_ttl_floor: floor,
            hmac_trailer,
            leniency: if lenient {
                Leniency::ALL
            } else {
                Leniency::NONE
            },
            ..DecodeOptions::default()
        }
    })
}

/// Encodes, decodes and compares a message, then repeats this after changing the priority in place.
fn round_trip(
    advertisement: &Advertisement<'_>,
    endpoints: Endpoints,
    form: ChecksumForm,
    other: Priority,
) -> Result<ChecksumMatch, TestCaseError> {
    let ip = IpHeader {
        endpoints,
        ttl: TTL,
    };
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let length = advertisement.encode(&mut buffer, &endpoints, form).unwrap();
    let message = &mut buffer[..length];
    let options = DecodeOptions::default();
    let decoded = Advertisement::decode(message, &ip, &options).unwrap();
    prop_assert_eq!(&decoded.advertisement, advertisement);
    prop_assert!(decoded.tolerated.is_none());
    let checksum = decoded.checksum;

    set_priority(message, other).unwrap();
    let changed = Advertisement {
        priority: other,
        ..*advertisement
    };
    let decoded = Advertisement::decode(message, &ip, &options).unwrap();
    prop_assert_eq!(&decoded.advertisement, &changed);
    let mut afresh = [0; MAX_MESSAGE_LEN];
    let again = changed.encode(&mut afresh, &endpoints, form).unwrap();
    prop_assert_eq!(message, &afresh[..again]);
    Ok(checksum)
}

proptest! {
    #[test]
    fn version_2_comes_back_as_it_was_sent(
        vrid in any_vrid(),
        priority: u8,
        other: u8,
        seconds in 1_u8..,
        authentication in any_authentication(),
        addresses in proptest::collection::vec(any::<Ipv4Addr>(), 1..=255),
        endpoints in any_endpoints_v4(),
        form in any_form(),
    ) {
        let advertisement = Advertisement {
            vrid,
            priority: Priority::new(priority),
            interval: Interval::seconds(seconds).unwrap(),
            authentication,
            addresses: Addresses::from(&addresses[..]),
        };
        let checksum = round_trip(&advertisement, endpoints, form, Priority::new(other))?;
        prop_assert_eq!(checksum, ChecksumMatch::MessageOnly);
    }

    #[test]
    fn version_3_over_ipv4_comes_back_as_it_was_sent(
        vrid in any_vrid(),
        priority: u8,
        other: u8,
        centis in 1_u16..=4095,
        addresses in proptest::collection::vec(any::<Ipv4Addr>(), 1..=255),
        endpoints in any_endpoints_v4(),
        form in any_form(),
    ) {
        let advertisement = Advertisement {
            vrid,
            priority: Priority::new(priority),
            interval: Interval::centis(centis).unwrap(),
            authentication: MessageAuthentication::None,
            addresses: Addresses::from(&addresses[..]),
        };
        let checksum = round_trip(&advertisement, endpoints, form, Priority::new(other))?;
        prop_assert!(checksum.form().is_none_or(|matched| matched == form));
    }

    #[test]
    fn version_3_over_ipv6_comes_back_as_it_was_sent(
        vrid in any_vrid(),
        priority: u8,
        other: u8,
        centis in 1_u16..=4095,
        interface: u64,
        rest in proptest::collection::vec(any::<Ipv6Addr>(), 0..=254),
        endpoints in any_endpoints_v6(),
        form in any_form(),
    ) {
        let first = Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(interface));
        let addresses: Vec<Ipv6Addr> = std::iter::once(first).chain(rest).collect();
        let advertisement = Advertisement {
            vrid,
            priority: Priority::new(priority),
            interval: Interval::centis(centis).unwrap(),
            authentication: MessageAuthentication::None,
            addresses: Addresses::from(&addresses[..]),
        };
        let checksum = round_trip(&advertisement, endpoints, form, Priority::new(other))?;
        prop_assert_eq!(checksum, ChecksumMatch::PseudoHeader);
    }

    /// Every decoded message can be encoded again, and decodes to the same values: nothing is lost.
    #[test]
    fn a_decoded_message_encodes_to_the_same_octets(
        first in prop_oneof![Just(0x21_u8), Just(0x31)],
        mut message in proptest::collection::vec(any::<u8>(), 8..=200),
        endpoints in any_endpoints_v4(),
    ) {
        let addresses = (message.len() - 8) / 4;
        let trailing = if first == 0x21 { 2 } else { 0 };
        prop_assume!(addresses > trailing);
        message[0] = first;
        message[3] = (addresses - trailing) as u8;
        message.truncate(8 + 4 * addresses);
        crate::support::fix_message_checksum(&mut message);
        let ip = IpHeader { endpoints, ttl: TTL };
        if let Ok(decoded) = Advertisement::decode(&message, &ip, &DecodeOptions::default())
            && !matches!(decoded.advertisement.authentication, MessageAuthentication::Unknown(_))
        {
            let mut buffer = [0; MAX_MESSAGE_LEN];
            let length = decoded
                .advertisement
                .encode(&mut buffer, &endpoints, ChecksumForm::MessageOnly)
                .unwrap();
            let again =
                Advertisement::decode(&buffer[..length], &ip, &DecodeOptions::default()).unwrap();
            prop_assert_eq!(again.advertisement, decoded.advertisement);
        }
    }

    #[test]
    fn p_56_random_octets_never_panic(
        octets in proptest::collection::vec(any::<u8>(), 0..=4200),
        endpoints in prop_oneof![any_endpoints_v4(), any_endpoints_v6()],
        ttl in prop_oneof![Just(TTL), any::<u8>()],
        options in any_options(),
    ) {
        let _ = Advertisement::decode(&octets, &IpHeader { endpoints, ttl }, &options);
        let _ = ethernet::Frame::parse(&octets);
        let _ = arp::Packet::parse(&octets);
        let _ = set_priority(&mut octets.clone(), Priority::RESIGN);
        if let Ok(packet) = ipv4::Packet::parse(&octets) {
            let key = ah::Key::new(Password::new(b"key").unwrap());
            let _ = key.open(&packet);
        }
        if let Ok(packet) = ipv6::Packet::parse(&octets) {
            let _ = neighbor::Solicitation::parse(&packet);
            let _ = neighbor::Advertisement::parse(&packet);
        }
    }

    #[test]
    fn a_sealed_packet_opens(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        identification: u16,
        sequence: u32,
        password in proptest::collection::vec(any::<u8>(), 1..=8),
        message in proptest::collection::vec(any::<u8>(), 0..=1036),
    ) {
        let key = ah::Key::new(Password::new(&password).unwrap());
        let header = ipv4::Header {
            protocol: ah::IP_PROTOCOL,
            identification,
            ..ipv4::Header::advertisement(source, destination)
        };
        let prefix = key.seal(&header, &message, sequence).unwrap();
        let packet = [&prefix[..], &message].concat();
        let opened = key.open(&ipv4::Packet::parse(&packet).unwrap()).unwrap();
        prop_assert_eq!((opened.message, opened.sequence), (&message[..], sequence));
    }

    #[test]
    fn a_signed_message_verifies(
        addresses in proptest::collection::vec(any::<Ipv4Addr>(), 1..=20),
        endpoints in any_endpoints_v4(),
        seconds: u32,
        nanoseconds in 0_u32..1_000_000_000,
        key in proptest::collection::vec(any::<u8>(), 32..=64),
        form in any_form(),
    ) {
        let keys = [hmac::Key::new(3, &key).unwrap()];
        let keys = hmac::Keys::new(&keys, 3).unwrap();
        let now = hmac::UtcTime::new(seconds.into(), nanoseconds);
        let anti_replay = hmac::AntiReplay::time(1).unwrap();
        let advertisement = Advertisement {
            vrid: Vrid::new(1).unwrap(),
            priority: Priority::DEFAULT,
            interval: Interval::DEFAULT_V3,
            authentication: MessageAuthentication::None,
            addresses: Addresses::from(&addresses[..]),
        };
        let mut buffer = [0; 200];
        let length = advertisement.encode(&mut buffer, &endpoints, form).unwrap();
        let sequence = hmac::SendSequence::default().next(now, anti_replay);
        let length = keys.append(&mut buffer, length, &endpoints, sequence).unwrap();
        let ip = IpHeader { endpoints, ttl: TTL };
        let options = DecodeOptions { hmac_trailer: true, ..DecodeOptions::default() };
        let signed = hmac::Signed::find(&buffer[..length], &ip, &options).unwrap();
        let verified = keys.verify(&signed, &ip, now, anti_replay).unwrap();
        prop_assert_eq!(verified.sequence(), sequence);
    }
}
