//! Signs an advertisement with an HMAC trailer, verifies it, and rejects a replay of it.
//!
//! `cargo run -p vrrp-proto --features hmac --example sign_and_verify`

use std::{error::Error, net::Ipv4Addr, time::SystemTime};

use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, DecodeOptions, Endpoints, Interval, IpHeader,
    MessageAuthentication, Priority, Protection, TTL, Vrid,
    hmac::{AntiReplay, Key, Keys, ReplayMarks, SendSequence, Signed, UtcTime},
};

fn main() -> Result<(), Box<dyn Error>> {
    let keys = [Key::new(1, b"thirty-two octets are the least.")?];
    let keys = Keys::new(&keys, 1)?;
    let anti_replay = AntiReplay::time(5)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = UtcTime::new(now.as_secs(), now.subsec_nanos());

    // The sender.
    let endpoints = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 11).into());
    let addresses = [Ipv4Addr::new(192, 0, 2, 1)];
    let advertisement = Advertisement {
        vrid: Vrid::try_from(51)?,
        priority: Priority::DEFAULT,
        interval: Interval::DEFAULT_V3,
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(&addresses[..]),
    };
    let mut sequence = SendSequence::default();
    let mut packet = [0; 64];
    let length = advertisement.encode(&mut packet, &endpoints, ChecksumForm::MessageOnly)?;
    let number = sequence.next(now, anti_replay);
    let length = keys.append(&mut packet, length, &endpoints, number)?;
    println!("{length} octets with sequence {:#018x}", number.get());

    // The receiver.
    let ip = IpHeader {
        endpoints,
        ttl: TTL,
    };
    let options = DecodeOptions {
        hmac_trailer: true,
        ..DecodeOptions::default()
    };
    let mut marks: ReplayMarks = ReplayMarks::new();
    for attempt in ["first", "second"] {
        let payload = &packet[..length];
        let decoded = Advertisement::decode(payload, &ip, &options)?;
        let signed = Signed::find(payload, &ip, &options).ok_or("no trailer")?;
        let verified = keys.verify(&signed, &ip, now, anti_replay)?;
        match marks.check(&verified, now, anti_replay) {
            Ok(()) => {
                // `LocalRouter::check` takes this value.
                let protection = Protection::from(verified);
                println!("{attempt}: {protection:?}, {:?}", decoded.advertisement);
                marks.accept(&verified);
            }
            Err(fault) => println!("{attempt}: {fault}"),
        }
    }
    Ok(())
}
