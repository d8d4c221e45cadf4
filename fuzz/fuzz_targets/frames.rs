#![no_main]
//! Whole Ethernet frames, down to their payloads.

use libfuzzer_sys::fuzz_target;
use vrrp_proto::frame::{
    MacAddress, arp,
    ethernet::{self, Frame},
    ipv4, ipv6, neighbor,
};

fuzz_target!(|frame: &[u8]| {
    let Ok(parsed) = Frame::parse(frame) else {
        return;
    };
    assert!(parsed.payload.len() + 14 <= frame.len());
    match parsed.ethertype {
        ethernet::ARP => {
            if let Ok(packet) = arp::Packet::parse(parsed.payload) {
                let reply = arp::reply(&packet, MacAddress::ZERO, MacAddress::ZERO);
                let reply = arp::Packet::parse(&reply[14..]).unwrap();
                assert_eq!(reply.sender_address, packet.target_address);
                assert_eq!(
                    (reply.target_mac, reply.target_address),
                    (packet.sender_mac, packet.sender_address)
                );
            }
        }
        ethernet::IPV4 => {
            if let Ok(packet) = ipv4::Packet::parse(parsed.payload) {
                assert!(packet.header.len() >= 20);
                vrrp_fuzz::decode(packet.payload, &packet.ip_header());
            }
        }
        ethernet::IPV6 => {
            if let Ok(packet) = ipv6::Packet::parse(parsed.payload) {
                let advertisement = neighbor::Advertisement::parse(&packet);
                if let Ok(Some(solicitation)) = neighbor::Solicitation::parse(&packet) {
                    assert_eq!(advertisement, Ok(None));
                    let mac = MacAddress([0, 0, 0x5e, 0, 2, 1]);
                    let answer = neighbor::solicited(&solicitation, parsed.source, mac, mac);
                    let answer = ipv6::Packet::parse(&answer[14..]).unwrap();
                    let answer = neighbor::Advertisement::parse(&answer).unwrap().unwrap();
                    assert_eq!(
                        (answer.target, answer.target_mac),
                        (solicitation.target, Some(mac))
                    );
                }
                vrrp_fuzz::decode(packet.payload, &packet.ip_header());
            }
        }
        _ => {}
    }
});
