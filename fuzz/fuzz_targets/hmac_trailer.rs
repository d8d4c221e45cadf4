#![no_main]
//! Messages with trailers, verified as they are; and signed messages, verified with one octet
//! changed.

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{
    Advertisement, DecodeOptions, IpHeader,
    hmac::{AntiReplay, Key, Keys, ReplayMarks, SendSequence, Signed, UtcTime},
};

fn verifies(
    payload: &[u8],
    ip: &IpHeader,
    keys: &Keys<'_>,
    now: UtcTime,
    marks: &mut ReplayMarks,
) -> bool {
    let options = DecodeOptions {
        hmac_trailer: true,
        ..DecodeOptions::default()
    };
    let anti_replay = AntiReplay::time(5).unwrap();
    let Ok(decoded) = Advertisement::decode(payload, ip, &options) else {
        return false;
    };
    let signed = Signed::find(payload, ip, &options);
    assert_eq!(signed.is_some(), decoded.trailer.is_some());
    let Some(signed) = signed else {
        return false;
    };
    let Ok(verified) = keys.verify(&signed, ip, now, anti_replay) else {
        return false;
    };
    if marks.check(&verified, now, anti_replay).is_err() {
        return false;
    }
    marks.accept(&verified);
    assert!(marks.check(&verified, now, anti_replay).is_err());
    true
}

fuzz_target!(|input: (bool, u32, u32, u16, u8, &[u8])| {
    let (over_ipv6, seconds, nanoseconds, place, flip, octets) = input;
    let ip = if over_ipv6 {
        vrrp_fuzz::ipv6()
    } else {
        vrrp_fuzz::ipv4()
    };
    let keys = [
        Key::new(1, &[7; 32]).unwrap(),
        Key::new(9, &[9; 64]).unwrap(),
    ];
    let keys = Keys::new(&keys, 9).unwrap();
    let now = UtcTime::new(seconds.into(), nanoseconds);
    // Nobody guesses 128 bits.
    assert!(!verifies(octets, &ip, &keys, now, &mut ReplayMarks::new()));

    let mut message = octets.to_vec();
    vrrp_fuzz::mend_checksum(&mut message, &ip);
    if Advertisement::decode(&message, &ip, &DecodeOptions::default()).is_err() {
        return;
    }
    let length = message.len();
    message.resize(length + 28, 0);
    let sequence = SendSequence::default().next(now, AntiReplay::Monotonic);
    keys.append(&mut message, length, &ip.endpoints, sequence)
        .unwrap();
    let mut marks = ReplayMarks::new();
    assert!(verifies(&message, &ip, &keys, now, &mut marks));
    assert!(!verifies(&message, &ip, &keys, now, &mut marks));

    if flip != 0 {
        let place = usize::from(place) % message.len();
        message[place] ^= flip;
        assert!(!verifies(
            &message,
            &ip,
            &keys,
            now,
            &mut ReplayMarks::new()
        ));
    }
});
