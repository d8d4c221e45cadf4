//! IP AH (P-50). `captures` opens keepalived's own packets.

use std::net::Ipv4Addr;

use ::hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use vrrp_proto::{
    AuthenticationFault, GROUP_IPV4, Password,
    ah::{self, Key, ReplayWindow, SendSequence},
    frame::ipv4,
};

use crate::support::{RECEIVER_V4, SENDER_V4, VIRTUAL_V4, internet_checksum, v2_with};

fn key(text: &[u8]) -> Key {
    Key::new(Password::new(text).unwrap())
}

fn header(destination: Ipv4Addr) -> ipv4::Header {
    ipv4::Header {
        protocol: ah::IP_PROTOCOL,
        identification: 7,
        ..ipv4::Header::advertisement(SENDER_V4, destination)
    }
}

fn sealed(destination: Ipv4Addr, sequence: u32) -> Vec<u8> {
    let message = v2_with(&[VIRTUAL_V4], 2, [0; 8]);
    let prefix = key(b"s3cret")
        .seal(&header(destination), &message, sequence)
        .unwrap();
    [&prefix[..], &message].concat()
}

fn open(packet: &[u8], key: &Key) -> Result<(Vec<u8>, u32), AuthenticationFault> {
    key.open(&ipv4::Packet::parse(packet).unwrap())
        .map(|opened| (opened.message.to_vec(), opened.sequence))
}

fn fix_header_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let checksum = internet_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn p_50_a_sealed_packet_opens_with_the_same_key_only() {
    let packet = sealed(GROUP_IPV4, 9);
    let message = v2_with(&[VIRTUAL_V4], 2, [0; 8]);
    assert_eq!(open(&packet, &key(b"s3cret")), Ok((message, 9)));
    assert_eq!(
        open(&packet, &key(b"s3cre")),
        Err(AuthenticationFault::Digest)
    );
}

#[test]
fn p_50_every_bit_but_the_mutable_ones_is_covered() {
    let key = key(b"s3cret");
    for (destination, ttl_is_covered) in [(GROUP_IPV4, true), (RECEIVER_V4, false)] {
        let packet = sealed(destination, 9);
        for bit in 0..packet.len() * 8 {
            let (octet, mask) = (bit / 8, 0x80 >> (bit % 8));
            // Version, header length, total length and protocol change the kind of packet; the test
            // flips the bits of all other octets.
            if [0, 2, 3, 9, 10, 11].contains(&octet) {
                continue;
            }
            let mut changed = packet.clone();
            changed[octet] ^= mask;
            // Fragments are always rejected, so "do not fragment" is the only bit to test here.
            if [6, 7].contains(&octet) && (octet, mask) != (6, 0x40) {
                continue;
            }
            fix_header_checksum(&mut changed);
            let mutable = octet == 1 || octet == 6 || (octet == 8 && !ttl_is_covered);
            // A unicast packet whose destination becomes a group is opened as multicast; it fails
            // either way.
            assert_eq!(
                open(&changed, &key).is_ok(),
                mutable,
                "octet {octet}, mask {mask:#04x}"
            );
        }
    }
}

#[test]
fn p_50_a_header_of_another_shape_is_refused() {
    let key = key(b"s3cret");
    let packet = sealed(GROUP_IPV4, 9);
    let refused = |octet: usize, value: u8| {
        let mut changed = packet.clone();
        changed[octet] = value;
        fix_header_checksum(&mut changed);
        open(&changed, &key).unwrap_err().to_string()
    };
    assert_eq!(refused(9, 112), "IP protocol 112 is not 51");
    assert_eq!(refused(20, 17), "AH next header 17 is not 112");
    assert_eq!(refused(21, 3), "AH payload length 3 is not 4");
    for length in 0..24 {
        let mut short = packet[..20 + length].to_vec();
        short[2..4].copy_from_slice(&(20 + length as u16).to_be_bytes());
        fix_header_checksum(&mut short);
        assert_eq!(
            open(&short, &key),
            Err(AuthenticationFault::TooShort {
                found: length,
                needed: 24
            })
        );
    }
}

#[test]
fn p_50_an_spi_that_is_not_the_source_is_refused() {
    // Sealed by hand with the right key.
    let seal = |spi: [u8; 4]| {
        let message = v2_with(&[VIRTUAL_V4], 2, [0; 8]);
        let ip = header(GROUP_IPV4).encode(24 + message.len()).unwrap();
        let ah = [&[112, 4, 0, 0][..], &spi, &[0, 0, 0, 1]].concat();
        let mut covered_ip = ip;
        covered_ip[1] = 0;
        covered_ip[6..8].fill(0);
        covered_ip[10..12].fill(0);
        let covered = [&covered_ip[..], &ah, &[0; 12], &message].concat();
        let mac = Hmac::<Md5>::new_from_slice(b"s3cret\0\0")
            .unwrap()
            .chain_update(&covered);
        let digest = mac.finalize().into_bytes();
        [&ip[..], &ah, &digest[..12], &message].concat()
    };
    let key = key(b"s3cret");
    assert!(open(&seal(SENDER_V4.octets()), &key).is_ok());
    assert_eq!(
        open(&seal([192, 0, 2, 99]), &key),
        Err(AuthenticationFault::Malformed {
            field: "AH SPI",
            found: 0xc000_0263,
            required: 0xc000_020b
        })
    );
}

#[test]
fn p_50_a_sequence_number_is_new_until_it_is_accepted() {
    let mut window = ReplayWindow::default();
    assert_eq!(
        window.check(0),
        Err(AuthenticationFault::Replay { found: 0, last: 0 })
    );
    assert_eq!(window.check(5), Ok(()));
    assert_eq!(window.check(5), Ok(()), "looking changes nothing");
    window.accept(5);
    for old in 0..=5 {
        assert_eq!(
            window.check(old),
            Err(AuthenticationFault::Replay {
                found: old.into(),
                last: 5
            })
        );
    }
    assert_eq!(window.check(6), Ok(()));
    window.accept(u32::MAX);
    window.accept(6);
    assert!(
        window.check(u32::MAX).is_err(),
        "accepting an old number does not open the window"
    );
}

#[test]
fn p_50_sending_continues_above_received_numbers_and_ends_before_it_wraps() {
    let mut sequence = SendSequence::default();
    assert_eq!(sequence.next(), Some(1));
    sequence.continue_above(41);
    assert_eq!(sequence.next(), Some(42));
    sequence.continue_above(3);
    assert_eq!(sequence.next(), Some(43));
    sequence.continue_above(0xffff_fffc);
    assert_eq!(sequence.next(), Some(0xffff_fffd));
    assert_eq!(sequence.next(), None);
    assert_eq!(sequence.next(), None);
    sequence.continue_above(u32::MAX);
    assert_eq!(sequence.next(), None);
}

#[test]
fn p_50_a_message_that_no_packet_can_carry_is_not_sealed() {
    let key = key(b"s3cret");
    assert!(key.seal(&header(GROUP_IPV4), &vec![0; 65_491], 1).is_ok());
    let error = key
        .seal(&header(GROUP_IPV4), &vec![0; 65_492], 1)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "IPv4 payload length 65516 is not in 0..=65515"
    );
}

#[test]
fn a_key_is_not_shown() {
    assert_eq!(format!("{:?}", key(b"s3cret")), "Key(..)");
}
