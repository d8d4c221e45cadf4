//! Decoding, checking, encoding, authentication and frames do not allocate.

#![allow(unsafe_code, clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::{Ipv4Addr, Ipv6Addr},
};

use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, DecodeOptions, Endpoints, Family, GROUP_IPV4, Interval,
    IpHeader, Leniency, LocalAuthentication, LocalRouter, LocalTransport, MAX_MESSAGE_LEN,
    MessageAuthentication, OwnerRule, Password, Priority, Protection, TTL, Versions, Vrid, ah,
    frame::{arp, ethernet, ipv4, ipv6, neighbor, virtual_mac},
    group, hmac, set_priority,
};

/// The system's allocator, with a count for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_in(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_count_counts() {
    assert_eq!(
        allocations_in(|| drop(std::hint::black_box(Box::new(1)))),
        1
    );
}

#[test]
fn no_packet_allocates() {
    let v4 = [Ipv4Addr::new(192, 0, 2, 1); 255];
    let v6 = [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1); 255];
    let password = Password::new(b"s3cret").unwrap();
    let to_v4 = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 11).into());
    let to_v6 = Endpoints::multicast(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11).into());
    let of_v2 = Advertisement {
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::DEFAULT,
        interval: Interval::DEFAULT_V2,
        authentication: MessageAuthentication::SimpleText(password),
        addresses: Addresses::from(&v4[..]),
    };
    let of_v3 = Advertisement {
        interval: Interval::DEFAULT_V3,
        authentication: MessageAuthentication::None,
        ..of_v2
    };
    let of_ipv6 = Advertisement {
        addresses: Addresses::from(&v6[..]),
        ..of_v3
    };
    let local = LocalRouter {
        vrid: of_v2.vrid,
        versions: Versions::Both,
        interval: Interval::DEFAULT_V3,
        owner: OwnerRule::NotOwner,
        primary_address: Ipv4Addr::new(192, 0, 2, 12).into(),
        authentication: LocalAuthentication::SimpleText(password),
        transport: LocalTransport::Multicast {
            group: group(Family::Ipv4),
        },
        addresses: Some(of_v2.addresses),
    };
    let key = ah::Key::new(password);
    let keys = [hmac::Key::new(1, &[7; 32]).unwrap()];
    let options = DecodeOptions {
        hmac_trailer: true,
        leniency: Leniency::ALL,
        ..DecodeOptions::default()
    };

    let mut buffer = [0; MAX_MESSAGE_LEN + 28];
    let mut packet = [0; 2000];
    let allocations = allocations_in(|| {
        for (advertisement, endpoints) in [(of_v2, to_v4), (of_v3, to_v4), (of_ipv6, to_v6)] {
            let ip = IpHeader {
                endpoints,
                ttl: TTL,
            };
            let form = ChecksumForm::PseudoHeader;
            let length = advertisement.encode(&mut buffer, &endpoints, form).unwrap();
            set_priority(&mut buffer[..length], Priority::RESIGN).unwrap();
            let decoded = Advertisement::decode(&buffer[..length], &ip, &options).unwrap();
            let received = local.check(&decoded, &ip, Protection::None);
            assert_eq!(received.is_ok(), advertisement == of_v2);
            // Rejecting a message does not allocate either.
            assert!(Advertisement::decode(&buffer[..length - 1], &ip, &options).is_err());

            let keys = hmac::Keys::new(&keys, 1).unwrap();
            let now = hmac::UtcTime::new(1000, 0);
            let anti_replay = hmac::AntiReplay::time(5).unwrap();
            let sequence = hmac::SendSequence::default().next(now, anti_replay);
            let length = keys
                .append(&mut buffer, length, &endpoints, sequence)
                .unwrap();
            let signed = hmac::Signed::find(&buffer[..length], &ip, &options).unwrap();
            let verified = keys.verify(&signed, &ip, now, anti_replay).unwrap();
            let mut marks: hmac::ReplayMarks = hmac::ReplayMarks::new();
            marks.check(&verified, now, anti_replay).unwrap();
            marks.accept(&verified);
        }

        let source = Ipv4Addr::new(192, 0, 2, 11);
        let header = ipv4::Header {
            protocol: ah::IP_PROTOCOL,
            ..ipv4::Header::advertisement(source, GROUP_IPV4)
        };
        let length = of_v2
            .encode(&mut buffer, &to_v4, ChecksumForm::MessageOnly)
            .unwrap();
        let sealed = key.seal(&header, &buffer[..length], 1).unwrap();
        packet[..sealed.len()].copy_from_slice(&sealed);
        packet[sealed.len()..][..length].copy_from_slice(&buffer[..length]);
        let parsed = ipv4::Packet::parse(&packet).unwrap();
        assert_eq!(key.open(&parsed).unwrap().sequence, 1);

        let mac = virtual_mac(of_v2.vrid, Family::Ipv4);
        let frame = arp::gratuitous(mac, v4[0], arp::GratuitousTarget::VirtualMac);
        let parsed = ethernet::Frame::parse(&frame).unwrap();
        let request = arp::Packet::parse(parsed.payload).unwrap();
        std::hint::black_box(arp::reply(&request, mac, mac));
        let frame = neighbor::unsolicited(mac, v6[0], v6[0]);
        let parsed = ethernet::Frame::parse(&frame).unwrap();
        let parsed = ipv6::Packet::parse(parsed.payload).unwrap();
        assert!(neighbor::Advertisement::parse(&parsed).unwrap().is_some());
    });
    assert_eq!(allocations, 0);
}
