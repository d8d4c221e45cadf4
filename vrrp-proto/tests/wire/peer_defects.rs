//! Defects of other implementations that concern the wire format.

use std::net::Ipv4Addr;

use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, ChecksumMatch, Counter, DecodeOptions, Endpoints,
    GROUP_IPV4, Interval, MessageAuthentication, Priority, frame, set_priority,
};

use crate::support::{
    SENDER_V4, VIRTUAL_V4, addresses_v4, decode_ipv4, fix_message_checksum, internet_checksum,
    ipv4, v2, v2_with, v3, v3_pseudo, vrid, with_ip_options,
};

/// One took 100 cs for 100 s.
#[test]
fn peer_defect_02_centiseconds_are_not_seconds() {
    let message = v3(&[VIRTUAL_V4]);
    let interval = decode_ipv4(&message).unwrap().advertisement.interval;
    assert_eq!(interval.as_duration().as_millis(), 1000);
    let message = v2(&[VIRTUAL_V4]);
    let interval = decode_ipv4(&message).unwrap().advertisement.interval;
    assert_eq!(interval.as_duration().as_millis(), 1000);
}

/// One rejected the form that keepalived, FRR and VPP send by default.
#[test]
fn peer_defect_03_the_pseudo_header_form_is_accepted_by_default() {
    let message = v3_pseudo(&[VIRTUAL_V4], &ipv4().endpoints);
    assert_eq!(
        decode_ipv4(&message).unwrap().checksum,
        ChecksumMatch::PseudoHeader
    );
}

/// One declared errors for TTL, type and authentication, but never returned them.
#[test]
fn peer_defect_04_ttl_type_and_authentication_are_looked_at() {
    let counter = |message: &[u8], ttl| {
        let ip = vrrp_proto::IpHeader { ttl, ..ipv4() };
        Advertisement::decode(message, &ip, &DecodeOptions::default())
            .unwrap_err()
            .counter()
    };
    assert_eq!(counter(&v2(&[VIRTUAL_V4]), 254), Some(Counter::IpTtl));
    let mut message = v2(&[VIRTUAL_V4]);
    message[0] = 0x22;
    fix_message_checksum(&mut message);
    assert_eq!(counter(&message, 255), Some(Counter::InvalidType));
    let message = v2_with(&[VIRTUAL_V4], 77, [0; 8]);
    let decoded = decode_ipv4(&message).unwrap();
    assert_eq!(
        decoded.advertisement.authentication,
        MessageAuthentication::Unknown(77)
    );
}

/// One assumed that every IP header has 20 octets, and copied its whole buffer.
#[test]
fn peer_defect_05_ip_options_are_skipped_and_nothing_is_copied() {
    let message = v3(&[VIRTUAL_V4]);
    let packet = with_ip_options(&[0x94, 0x04, 0x00, 0x00], &message);
    let parsed = frame::ipv4::Packet::parse(&packet).unwrap();
    let decoded = Advertisement::decode(
        parsed.payload,
        &parsed.ip_header(),
        &DecodeOptions::default(),
    )
    .unwrap();
    assert!(std::ptr::eq(decoded.message, &raw const packet[24..]));
}

/// One computed the checksum and sent zero.
#[test]
fn peer_defect_06_the_checksum_reaches_the_wire() {
    let addresses = addresses_v4(3);
    for interval in [Interval::DEFAULT_V2, Interval::DEFAULT_V3] {
        let advertisement = Advertisement {
            vrid: vrid(51),
            priority: Priority::DEFAULT,
            interval,
            authentication: MessageAuthentication::None,
            addresses: Addresses::from(&addresses[..]),
        };
        let mut buffer = [0; 64];
        let length = advertisement
            .encode(
                &mut buffer,
                &Endpoints::multicast(SENDER_V4.into()),
                ChecksumForm::MessageOnly,
            )
            .unwrap();
        let message = &mut buffer[..length];
        assert_ne!(message[6..8], [0, 0]);
        assert_eq!(internet_checksum(message), 0);
        set_priority(message, Priority::RESIGN).unwrap();
        assert_eq!(internet_checksum(message), 0);
    }
}

/// One panicked on fewer than six octets, and resigned with its own priority.
#[test]
fn peer_defect_07_short_input_is_refused_and_resigning_is_priority_0() {
    for length in 0..8 {
        assert_eq!(
            decode_ipv4(&[0x21; 8][..length]).unwrap_err().counter(),
            Some(Counter::PacketLength)
        );
    }
    let mut message = v2(&[VIRTUAL_V4]);
    set_priority(&mut message, Priority::RESIGN).unwrap();
    assert!(
        decode_ipv4(&message)
            .unwrap()
            .advertisement
            .priority
            .is_resign()
    );
}

/// One accepted one or two addresses only, in a padded frame.
#[test]
fn peer_defect_08_any_count_is_accepted_padded_or_not() {
    for count in 1..=255 {
        for message in [v2(&addresses_v4(count)), v3(&addresses_v4(count))] {
            let header =
                frame::ipv4::Header::advertisement(SENDER_V4, GROUP_IPV4).encode(message.len());
            let mut packet = [&header.unwrap()[..], &message].concat();
            for _ in 0..2 {
                let parsed = frame::ipv4::Packet::parse(&packet).unwrap();
                assert_eq!(decode_ipv4(parsed.payload).unwrap().message, message);
                packet.resize(packet.len().max(46) + 3, 0xff);
            }
        }
    }
}

/// One set the total length after the header checksum.
#[test]
fn peer_defect_10_the_header_checksum_covers_the_total_length() {
    for length in [0, 12, 20, 1036] {
        let header = frame::ipv4::Header::advertisement(SENDER_V4, GROUP_IPV4)
            .encode(length)
            .unwrap();
        assert_eq!(
            usize::from(u16::from_be_bytes([header[2], header[3]])),
            20 + length
        );
        assert_eq!(internet_checksum(&header), 0);
    }
}

/// Two turned each address into text for every packet. The allocation test and the benchmarks check
/// this too.
#[test]
fn peer_defect_14_addresses_are_a_view_of_the_octets() {
    let message = v3(&addresses_v4(255));
    let addresses = decode_ipv4(&message).unwrap().advertisement.addresses;
    assert_eq!(
        addresses.get(254),
        Some(Ipv4Addr::new(198, 51, 100, 254).into())
    );
    assert_eq!(addresses.get(255), None);
    assert!(size_of_val(&addresses) <= 3 * size_of::<usize>());
}

/// One panicked on version 2 with count 255 in 20 octets.
#[test]
fn peer_defect_15_a_count_beyond_the_packet_is_refused() {
    let mut message = v2(&[VIRTUAL_V4]);
    message[3] = 255;
    fix_message_checksum(&mut message);
    assert_eq!(
        decode_ipv4(&message).unwrap_err().to_string(),
        "message length 20 differs from the 1036 octets in its header"
    );
}
