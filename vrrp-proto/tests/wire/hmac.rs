//! The HMAC trailer. `captures` verifies keepalived's own packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Addresses, Advertisement, AuthenticationFault, ChecksumForm, ClockSkew, DecodeOptions,
    EncodeError, Endpoints, Interval, IpHeader, Leniency, MessageAuthentication, Priority,
    Protection, TTL,
    hmac::{
        AntiReplay, Key, Keys, KeysError, Mark, ReplayMarks, SendSequence, Sequence, Signed,
        UtcTime, Verified,
    },
};

use crate::support::{SENDER_V4, SENDER_V6, VIRTUAL_V4, VIRTUAL_V6, fix_message_checksum, vrid};

const OPTIONS: DecodeOptions = DecodeOptions {
    v3_ipv4_checksum: vrrp_proto::ChecksumAcceptance::Either,
    unicast_ttl_floor: TTL,
    hmac_trailer: true,
    leniency: Leniency::NONE,
};

/// The moment of the vectors in the appendix of the draft: sequence 0x6800000080000000.
const APPENDIX_TIME: UtcTime = UtcTime::new(0x6800_0000, 500_000_000);

fn appendix_key() -> Key {
    Key::new(1, &std::array::from_fn::<u8, 32, _>(|index| index as u8)).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn window(seconds: u16) -> AntiReplay {
    AntiReplay::time(seconds).unwrap()
}

fn verify_at(
    payload: &[u8],
    ip: &IpHeader,
    keys: &[Key],
    now: UtcTime,
    anti_replay: AntiReplay,
) -> Result<Verified, AuthenticationFault> {
    let keys = Keys::new(keys, keys[0].id()).unwrap();
    Advertisement::decode(payload, ip, &OPTIONS).unwrap();
    let signed = Signed::find(payload, ip, &OPTIONS).unwrap();
    keys.verify(&signed, ip, now, anti_replay)
}

/// The message followed by its trailer, and its IP header.
fn appendix_ipv4() -> (Vec<u8>, IpHeader) {
    let payload = hex("3133c80100644402c0000264010100006800000080000000\
         1b84bc4e8e43892dc6d98448f8ee2265");
    let source = Ipv4Addr::new(198, 51, 100, 10);
    (
        payload,
        IpHeader {
            endpoints: Endpoints::multicast(source.into()),
            ttl: TTL,
        },
    )
}

fn appendix_ipv6() -> (Vec<u8>, IpHeader) {
    let payload = hex(
        "3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000\
         c8c56146ebfd66ee10ec4d8186461b78",
    );
    let endpoints = Endpoints::Ipv6 {
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10),
        destination: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x20),
    };
    (
        payload,
        IpHeader {
            endpoints,
            ttl: TTL,
        },
    )
}

#[test]
fn the_vectors_of_the_draft_verify() {
    for (payload, ip) in [appendix_ipv4(), appendix_ipv6()] {
        for anti_replay in [AntiReplay::Monotonic, window(1)] {
            let verified =
                verify_at(&payload, &ip, &[appendix_key()], APPENDIX_TIME, anti_replay).unwrap();
            assert_eq!(verified.sequence().get(), 0x6800_0000_8000_0000);
        }
    }
}

#[test]
fn sent_messages_equal_the_vectors_of_the_draft() {
    let v4 = [Ipv4Addr::new(192, 0, 2, 100)];
    let v6 = [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100)];
    for ((expected, ip), addresses) in [
        (appendix_ipv4(), Addresses::from(&v4[..])),
        (appendix_ipv6(), Addresses::from(&v6[..])),
    ] {
        let advertisement = Advertisement {
            vrid: vrid(51),
            priority: Priority::new(200),
            interval: Interval::centis(100).unwrap(),
            authentication: MessageAuthentication::None,
            addresses,
        };
        let keys = [appendix_key()];
        let keys = Keys::new(&keys, 1).unwrap();
        let sequence = SendSequence::default().next(APPENDIX_TIME, AntiReplay::Monotonic);
        let mut buffer = [0; 64];
        let length = advertisement
            .encode(&mut buffer, &ip.endpoints, ChecksumForm::MessageOnly)
            .unwrap();
        let length = keys
            .append(&mut buffer, length, &ip.endpoints, sequence)
            .unwrap();
        assert_eq!(buffer[..length], expected);
    }
}

#[test]
fn every_bit_of_an_ipv4_message_but_the_checksum_is_covered() {
    let (payload, ip) = appendix_ipv4();
    let length = payload.len() - 28;
    let verify = |payload: &[u8]| {
        let decoded = Advertisement::decode(payload, &ip, &OPTIONS);
        let keys = [appendix_key()];
        decoded.ok().map(|_| {
            let signed = Signed::find(payload, &ip, &OPTIONS).unwrap();
            Keys::new(&keys, 1)
                .unwrap()
                .verify(&signed, &ip, APPENDIX_TIME, AntiReplay::Monotonic)
        })
    };
    for bit in 0..payload.len() * 8 {
        let mut changed = payload.clone();
        changed[bit / 8] ^= 0x80 >> (bit % 8);
        // An attacker corrects the checksum.
        fix_message_checksum(&mut changed[..length]);
        match verify(&changed) {
            None => assert!(
                bit / 8 < length,
                "bit {bit} of the trailer is not looked at by decoding"
            ),
            Some(Ok(_)) => assert!([6, 7].contains(&(bit / 8)), "bit {bit} is not covered"),
            Some(Err(fault)) => match bit / 8 - length.min(bit / 8) {
                0 if bit / 8 < length => assert_eq!(fault, AuthenticationFault::Digest),
                0 => assert!(matches!(
                    fault,
                    AuthenticationFault::Malformed {
                        field: "trailer scheme",
                        ..
                    }
                )),
                1 => assert!(matches!(fault, AuthenticationFault::UnknownKey { .. })),
                2 | 3 => assert!(matches!(
                    fault,
                    AuthenticationFault::Malformed { required: 0, .. }
                )),
                _ => assert_eq!(fault, AuthenticationFault::Digest),
            },
        }
    }
}

#[test]
fn the_source_is_covered_and_the_destination_is_not() {
    let (payload, _) = appendix_ipv4();
    let verify = |source, destination| {
        let endpoints = Endpoints::Ipv4 {
            source,
            destination,
        };
        let ip = IpHeader {
            endpoints,
            ttl: TTL,
        };
        let keys = [appendix_key()];
        verify_at(&payload, &ip, &keys, APPENDIX_TIME, AntiReplay::Monotonic).map(|_| ())
    };
    let signer = Ipv4Addr::new(198, 51, 100, 10);
    let peer = Ipv4Addr::new(192, 0, 2, 8);
    assert_eq!(verify(signer, peer), Ok(()));
    assert_eq!(verify(peer, peer), Err(AuthenticationFault::Digest));
}

#[test]
fn the_right_key_is_found_by_its_id() {
    let (payload, ip) = appendix_ipv4();
    let other = |id| Key::new(id, &[0x55; 64]).unwrap();
    let verify = |keys: &[Key]| {
        verify_at(&payload, &ip, keys, APPENDIX_TIME, AntiReplay::Monotonic).map(|_| ())
    };
    assert_eq!(verify(&[other(9), appendix_key()]), Ok(()));
    assert_eq!(
        verify(&[other(9)]),
        Err(AuthenticationFault::UnknownKey { id: 1 })
    );
    assert_eq!(verify(&[other(1)]), Err(AuthenticationFault::Digest));
}

#[test]
fn a_time_outside_the_window_is_stale_before_any_digest_is_computed() {
    let (mut payload, ip) = appendix_ipv4();
    // A wrong digest and an unknown key would be found later.
    payload[39] ^= 1;
    payload[13] = 77;
    let at = |seconds: i64, anti_replay| {
        let now = UtcTime::new((0x6800_0000_i64 + seconds).cast_unsigned(), 0);
        verify_at(&payload, &ip, &[appendix_key()], now, anti_replay).unwrap_err()
    };
    // The sequence has half a second more.
    for (local, skew) in [
        (-6_i64, ClockSkew::Ahead { millis: 6500 }),
        (6, ClockSkew::Behind { millis: 5500 }),
        (100_000, ClockSkew::Behind { millis: 99_999_500 }),
    ] {
        let fault = at(local, window(5));
        assert_eq!(fault, AuthenticationFault::Stale { skew, window: 5 });
    }
    assert_eq!(
        at(-6, window(5)).to_string(),
        "the sender's clock is 6.500 s ahead of the local clock, outside the window of 5 s: \
         synchronise both clocks"
    );
    for near in [-5, 0, 5] {
        assert_eq!(
            at(near, window(5)),
            AuthenticationFault::UnknownKey { id: 77 }
        );
    }
    assert_eq!(
        at(100_000, AntiReplay::Monotonic),
        AuthenticationFault::UnknownKey { id: 77 }
    );
}

#[test]
fn a_trailer_is_found_exactly_where_decoding_finds_one() {
    let (payload, ip) = appendix_ipv4();
    let longer = [&payload[..], &[0]].concat();
    let behind_a_router = IpHeader { ttl: 64, ..ip };
    let not_allowed = DecodeOptions {
        hmac_trailer: false,
        ..OPTIONS
    };
    let surplus_allowed = DecodeOptions {
        leniency: Leniency {
            surplus: true,
            ..Leniency::NONE
        },
        ..OPTIONS
    };
    for (payload, ip, options, is_found) in [
        (&payload[..], ip, OPTIONS, true),
        (&payload[..], ip, surplus_allowed, true),
        (&payload[..], ip, not_allowed, false),
        (&payload[..], behind_a_router, OPTIONS, false),
        (&payload[..12], ip, OPTIONS, false),
        (&payload[..39], ip, OPTIONS, false),
        (&payload[..7], ip, OPTIONS, false),
        (&longer[..], ip, OPTIONS, false),
        (&longer[..], ip, surplus_allowed, false),
    ] {
        let decoded = Advertisement::decode(payload, &ip, &options);
        let trailer = decoded.ok().and_then(|decoded| decoded.trailer);
        assert_eq!(trailer.is_some(), is_found, "{payload:02x?}");
        let signed = Signed::find(payload, &ip, &options);
        assert_eq!(signed.is_some(), is_found, "{payload:02x?}");
    }
}

/// A verified message from this source with this time.
fn verified(source: IpAddr, seconds: u64, nanoseconds: u32) -> Verified {
    let keys = [appendix_key()];
    let keys = Keys::new(&keys, 1).unwrap();
    let time = UtcTime::new(seconds, nanoseconds);
    let endpoints = Endpoints::multicast(source);
    let ip = IpHeader {
        endpoints,
        ttl: TTL,
    };
    let (v4, v6) = ([VIRTUAL_V4], [VIRTUAL_V6]);
    let advertisement = Advertisement {
        vrid: vrid(51),
        priority: Priority::DEFAULT,
        interval: Interval::DEFAULT_V3,
        authentication: MessageAuthentication::None,
        addresses: if source.is_ipv4() {
            v4[..].into()
        } else {
            v6[..].into()
        },
    };
    let sequence = SendSequence::default().next(time, AntiReplay::Monotonic);
    let mut buffer = [0; 64];
    let length = advertisement
        .encode(&mut buffer, &endpoints, ChecksumForm::PseudoHeader)
        .unwrap();
    let length = keys
        .append(&mut buffer, length, &endpoints, sequence)
        .unwrap();
    let signed = Signed::find(&buffer[..length], &ip, &OPTIONS).unwrap();
    keys.verify(&signed, &ip, time, AntiReplay::Monotonic)
        .unwrap()
}

#[test]
fn a_message_is_new_until_it_is_accepted() {
    for source in [SENDER_V4.into(), IpAddr::from(SENDER_V6)] {
        for anti_replay in [window(5), AntiReplay::Monotonic] {
            let now = UtcTime::new(1000, 0);
            let mut marks: ReplayMarks = ReplayMarks::new();
            let first = verified(source, 1000, 0);
            assert_eq!(marks.check(&first, now, anti_replay), Ok(()));
            assert_eq!(
                marks.check(&first, now, anti_replay),
                Ok(()),
                "looking changes nothing"
            );
            marks.accept(&first);
            assert!(matches!(
                marks.check(&first, now, anti_replay),
                Err(AuthenticationFault::Replay { .. })
            ));
            let earlier = verified(source, 999, 999_999_999);
            assert!(marks.check(&earlier, now, anti_replay).is_err());
            let later = verified(source, 1000, 20_000);
            assert_eq!(marks.check(&later, now, anti_replay), Ok(()));
        }
    }
}

#[test]
fn each_sender_has_its_own_mark() {
    let now = UtcTime::new(1000, 0);
    let mut marks: ReplayMarks = ReplayMarks::new();
    marks.accept(&verified(SENDER_V4.into(), 1002, 0));
    let other = verified(Ipv4Addr::new(192, 0, 2, 13).into(), 1001, 0);
    assert_eq!(marks.check(&other, now, window(5)), Ok(()));
}

#[test]
fn a_mark_outside_the_window_no_longer_counts() {
    let mut marks: ReplayMarks = ReplayMarks::new();
    marks.accept(&verified(SENDER_V4.into(), 1000, 0));
    // The sender's clock was put back, and so was ours.
    let after_the_step = verified(SENDER_V4.into(), 900, 0);
    let now = UtcTime::new(900, 0);
    assert_eq!(marks.check(&after_the_step, now, window(5)), Ok(()));
    assert!(
        marks
            .check(&after_the_step, now, AntiReplay::Monotonic)
            .is_err()
    );
}

#[test]
fn the_sender_silent_for_the_longest_time_is_displaced() {
    let sender = |number| IpAddr::from(Ipv4Addr::new(192, 0, 2, number));
    let now = UtcTime::new(1000, 0);
    let mut marks = ReplayMarks::with_places([None; 3]);
    for number in [1, 2, 3] {
        marks.accept(&verified(sender(number), 1000, 0));
    }
    marks.accept(&verified(sender(1), 1001, 0));
    marks.accept(&verified(sender(4), 1000, 0));
    let known = |marks: &ReplayMarks<[Option<Mark>; 3]>| {
        [1, 2, 3, 4].map(|number| {
            let received = verified(sender(number), 1000, 0);
            marks.check(&received, now, AntiReplay::Monotonic).is_err()
        })
    };
    assert_eq!(known(&marks), [true, false, true, true]);
    // A further message of the sender in the last place displaces no sender.
    marks.accept(&verified(sender(3), 1001, 0));
    assert_eq!(known(&marks), [true, false, true, true]);
}

#[test]
fn marks_survive_a_restart_in_the_order_of_iter() {
    let sender = |number| IpAddr::from(Ipv4Addr::new(192, 0, 2, number));
    let now = UtcTime::new(1000, 0);
    let mut marks = ReplayMarks::with_places([None; 3]);
    for number in [1, 2, 3] {
        marks.accept(&verified(sender(number), 1000 + u64::from(number), 0));
    }
    let saved: Vec<(IpAddr, u64)> = marks.iter().map(|(it, mark)| (it, mark.get())).collect();
    let expected = [3_u8, 2, 1].map(|it| (sender(it), (1000 + u64::from(it)) << 32));
    assert_eq!(saved, expected);
    let saved = saved
        .into_iter()
        .map(|(it, mark)| (it, Sequence::new(mark)));
    let mut again = ReplayMarks::with_places([None; 2]);
    again.restore(saved);
    let is_known = |number: u8| {
        let replayed = verified(sender(number), 1000 + u64::from(number), 0);
        again.check(&replayed, now, AntiReplay::Monotonic).is_err()
    };
    assert_eq!([1, 2, 3].map(is_known), [false, true, true]);
}

#[test]
fn sequences_go_on_above_those_of_a_predecessor() {
    let now = UtcTime::new(1000, 0);
    let mut sequence = SendSequence::default();
    assert_eq!(sequence.last(), None);
    // Its clock was ahead.
    sequence.continue_above(Sequence::new(1002 << 32));
    let next = sequence.next(now, AntiReplay::Monotonic);
    assert_eq!(next.get(), (1002 << 32) + 1);
    assert_eq!(sequence.last(), Some(next));
    sequence.continue_above(Sequence::new(1001 << 32));
    assert_eq!(sequence.last(), Some(next), "it does not go back");
}

#[test]
fn sequences_rise_even_where_the_clock_does_not() {
    let mut sequence = SendSequence::default();
    let now = UtcTime::new(1000, 0);
    let first = sequence.next(now, window(5)).get();
    assert_eq!(first, 1000 << 32);
    assert_eq!(sequence.next(now, window(5)).get(), first + 1);
    assert_eq!(
        sequence.next(UtcTime::new(999, 0), window(5)).get(),
        first + 2
    );
    let half = UtcTime::new(1000, 500_000_000);
    assert_eq!(sequence.next(half, window(5)).get(), first + (0x8000 << 16));
}

#[test]
fn sequences_follow_a_clock_put_back_past_the_window() {
    for (anti_replay, follows) in [(window(5), true), (AntiReplay::Monotonic, false)] {
        let mut sequence = SendSequence::default();
        let first = sequence.next(UtcTime::new(1000, 0), anti_replay).get();
        assert_eq!(
            sequence.next(UtcTime::new(995, 0), anti_replay).get(),
            first + 1
        );
        let after = sequence.next(UtcTime::new(994, 0), anti_replay).get();
        assert_eq!(after, if follows { 994 << 32 } else { first + 2 });
    }
}

#[test]
fn sequences_go_on_where_32_bits_of_seconds_end() {
    let mut sequence = SendSequence::default();
    let last = sequence.next(UtcTime::new(u64::from(u32::MAX), 999_999_999), window(5));
    let next = sequence.next(UtcTime::new(1 << 32, 0), window(5));
    assert_eq!((last.get() >> 32, next.get()), (u64::from(u32::MAX), 0));
    let mut marks: ReplayMarks = ReplayMarks::new();
    marks.accept(&verified(
        SENDER_V4.into(),
        u64::from(u32::MAX),
        999_999_999,
    ));
    let now = UtcTime::new(1 << 32, 0);
    assert_eq!(
        marks.check(&verified(SENDER_V4.into(), 1 << 32, 0), now, window(5)),
        Ok(())
    );
}

#[test]
fn keys_are_checked_when_they_are_made() {
    let error = |id, length| Key::new(id, &vec![1; length]).unwrap_err().to_string();
    assert_eq!(error(0, 32), "key id 0 is not in 1..=255");
    assert_eq!(error(1, 31), "key length 31 is not in 32..=64");
    assert_eq!(error(1, 65), "key length 65 is not in 32..=64");
    assert!(Key::new(255, &[1; 64]).is_ok());
    let key = |id| Key::new(id, &[1; 32]).unwrap();
    assert_eq!(
        Keys::new(&[key(1), key(2), key(1)], 1).unwrap_err(),
        KeysError::Twice { id: 1 }
    );
    assert_eq!(
        Keys::new(&[key(1), key(2)], 3).unwrap_err(),
        KeysError::NoActive { id: 3 }
    );
    assert_eq!(
        Keys::new(&[], 1).unwrap_err(),
        KeysError::NoActive { id: 1 }
    );
    assert_eq!(format!("{:?}", key(1)), "Key { id: 1, .. }");
    for seconds in [0, 301] {
        assert!(AntiReplay::time(seconds).is_err());
    }
    for seconds in [1, 300] {
        let AntiReplay::Time(window) = AntiReplay::time(seconds).unwrap() else {
            panic!("no window")
        };
        assert_eq!(window.seconds(), seconds);
    }
}

#[test]
fn a_buffer_without_room_for_the_trailer_is_left_alone() {
    let keys = [appendix_key()];
    let keys = Keys::new(&keys, 1).unwrap();
    let (payload, ip) = appendix_ipv6();
    let sequence = SendSequence::default().next(APPENDIX_TIME, AntiReplay::Monotonic);
    for given in 0..24 + 28 {
        let before = payload[..given].to_vec();
        let mut buffer = before.clone();
        assert_eq!(
            keys.append(&mut buffer, 24, &ip.endpoints, sequence),
            Err(EncodeError::BufferTooSmall { needed: 52, given })
        );
        assert_eq!(buffer, before);
    }
}

#[test]
fn a_clock_skew_is_known_from_half_of_the_window_on() {
    let (payload, ip) = appendix_ipv4();
    let skew = |seconds: u64, nanoseconds, anti_replay| {
        let now = UtcTime::new(seconds, nanoseconds);
        let keys = [appendix_key()];
        let verified = verify_at(&payload, &ip, &keys, now, anti_replay).unwrap();
        let skew = verified.clock_skew();
        assert_eq!(Protection::from(verified), Protection::Hmac { skew });
        skew
    };
    // The sequence shows half a second after this.
    let base = 0x6800_0000_u64;
    for (seconds, nanoseconds, expected) in [
        (base, 500_000_000, None),
        (base - 2, 0, None),
        (
            base - 3,
            900_000_000,
            Some(ClockSkew::Ahead { millis: 2600 }),
        ),
        (base - 5, 0, Some(ClockSkew::Ahead { millis: 5500 })),
        (base + 3, 0, None),
        (
            base + 3,
            250_000_000,
            Some(ClockSkew::Behind { millis: 2750 }),
        ),
    ] {
        assert_eq!(skew(seconds, nanoseconds, window(5)), expected);
        assert_eq!(skew(seconds, nanoseconds, AntiReplay::Monotonic), None);
    }
    assert_eq!(
        ClockSkew::Behind { millis: 2750 }.to_string(),
        "2.750 s behind the local clock"
    );
}

#[test]
fn growing_marks_displace_no_sender_up_to_their_limit() {
    let sender = |number| IpAddr::from(Ipv4Addr::new(192, 0, 2, number));
    let now = UtcTime::new(1000, 0);
    let mut marks: ReplayMarks<Vec<Option<Mark>>> = ReplayMarks::default();
    let received = |number| verified(sender(number), 1000, 0);
    for number in (1..=7).chain([3, 1]) {
        let received = received(number);
        marks.make_room(&received, 6);
        marks.accept(&received);
    }
    let is_known = |number| {
        marks
            .check(&received(number), now, AntiReplay::Monotonic)
            .is_err()
    };
    // The seventh sender displaced the first, and the first then displaced the second.
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 7].map(is_known),
        [true, false, true, true, true, true, true]
    );
    assert_eq!(marks.iter().count(), 6);

    let mut restored: ReplayMarks<Vec<Option<Mark>>> = ReplayMarks::default();
    restored.reserve(6);
    restored.restore(marks.iter());
    assert_eq!(restored, marks);
}

/// A sender restarts with its clock behind; a receiver restarts and is sent an old packet.
#[test]
fn kept_sequences_close_the_gaps_of_a_cold_restart() {
    let before = UtcTime::new(1000, 0);
    let after = UtcTime::new(997, 0);
    let source = SENDER_V4.into();
    let mut sequence = SendSequence::default();
    let last = sequence.next(before, window(5));
    let mut marks: ReplayMarks = ReplayMarks::new();
    marks.accept(&verified(source, 1000, 0));

    let mut forgetful = SendSequence::default();
    assert!(forgetful.next(after, window(5)).get() < last.get());
    let mut restarted = SendSequence::default();
    restarted.continue_above(Sequence::new(last.get()));
    assert_eq!(restarted.next(after, window(5)).get(), last.get() + 1);

    let replayed = verified(source, 999, 0);
    let forgetful: ReplayMarks = ReplayMarks::new();
    assert_eq!(forgetful.check(&replayed, before, window(5)), Ok(()));
    let mut restarted: ReplayMarks = ReplayMarks::new();
    restarted.restore(marks.iter());
    assert!(restarted.check(&replayed, before, window(5)).is_err());
}

/// Otherwise routers whose clocks were corrected would not receive each other for as long as the
/// step was. The documentation names the replay that this allows.
#[test]
fn kept_sequences_follow_a_clock_that_goes_back_beyond_the_window() {
    let kept = Sequence::new(1000 << 32);
    let source = SENDER_V4.into();
    for (seconds, counts) in [(995, true), (994, false)] {
        let now = UtcTime::new(seconds, 0);
        let mut sender = SendSequence::default();
        sender.continue_above(kept);
        let next = sender.next(now, window(5));
        let expected = if counts {
            kept.get() + 1
        } else {
            seconds << 32
        };
        assert_eq!(next.get(), expected);

        let mut marks: ReplayMarks = ReplayMarks::new();
        marks.restore([(source, kept)]);
        let received = verified(source, seconds, 0);
        assert_eq!(marks.check(&received, now, window(5)).is_err(), counts);
        assert!(marks.check(&received, now, AntiReplay::Monotonic).is_err());
    }
}
