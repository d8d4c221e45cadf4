#![no_main]
//! IPv4 packets, opened as they are; and sealed packets, opened with one octet changed.

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{
    Password,
    ah::{IP_PROTOCOL, Key},
    frame::ipv4::{Header, Packet},
};

fuzz_target!(|input: (u32, u16, u8, [u8; 4], [u8; 4], &[u8])| {
    let (sequence, place, flip, source, destination, octets) = input;
    let key = Key::new(Password::truncating(b"password"));
    if let Ok(packet) = Packet::parse(octets) {
        // Nobody guesses 96 bits.
        assert!(key.open(&packet).is_err());
    }

    let header = Header {
        protocol: IP_PROTOCOL,
        ..Header::advertisement(source.into(), destination.into())
    };
    let Ok(prefix) = key.seal(&header, octets, sequence) else {
        return;
    };
    let mut packet = [&prefix[..], octets].concat();
    let opened = key.open(&Packet::parse(&packet).unwrap()).unwrap();
    assert_eq!((opened.message, opened.sequence), (octets, sequence));

    // Behind the IP header every octet is covered.
    let covered = packet.len() - 20;
    packet[20 + usize::from(place) % covered] ^= flip;
    assert_eq!(
        key.open(&Packet::parse(&packet).unwrap()).is_ok(),
        flip == 0
    );
});
