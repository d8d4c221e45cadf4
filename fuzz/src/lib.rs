//! The common part of the targets: decoding under every option, and the rules for each message that
//! decodes.
//!
//! A checksum keeps random octets out. Each target therefore tries its input as it is, and again
//! with a corrected checksum, to reach the code behind the checksum.

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Addresses, Advertisement, ChecksumAcceptance, DecodeOptions, Decoded, Discard, Endpoints,
    Interval, IpHeader, Leniency, LocalAuthentication, LocalRouter, LocalTransport,
    MessageAuthentication, OwnerRule, Password, Protection, TTL, Versions, Vrid, group,
};

/// The header of a multicast packet over IPv4.
pub fn ipv4() -> IpHeader {
    IpHeader {
        endpoints: Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 11).into()),
        ttl: TTL,
    }
}

/// The header of a multicast packet over IPv6.
pub fn ipv6() -> IpHeader {
    IpHeader {
        endpoints: Endpoints::multicast(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11).into()),
        ttl: TTL,
    }
}

/// Decodes the payload, as it is and with a corrected checksum, under every option, and checks the
/// results.
pub fn decode(payload: &[u8], ip: &IpHeader) {
    decode_under_all_options(payload, ip);
    let mut mended = payload.to_vec();
    if mend_checksum(&mut mended, ip) {
        decode_under_all_options(&mended, ip);
    }
}

fn decode_under_all_options(payload: &[u8], ip: &IpHeader) {
    for leniency in [Leniency::NONE, Leniency::ALL] {
        for hmac_trailer in [false, true] {
            for v3_ipv4_checksum in [
                ChecksumAcceptance::Either,
                ChecksumAcceptance::MessageOnly,
                ChecksumAcceptance::PseudoHeader,
            ] {
                let options = DecodeOptions {
                    v3_ipv4_checksum,
                    hmac_trailer,
                    leniency,
                    ..DecodeOptions::default()
                };
                match Advertisement::decode(payload, ip, &options) {
                    Ok(decoded) => check(payload, &decoded, ip, &options),
                    Err(discard) => {
                        assert!(discard.counter().is_some() && !discard.to_string().is_empty())
                    }
                }
            }
        }
    }
}

/// Checks the rules for every message that decodes.
fn check(payload: &[u8], decoded: &Decoded<'_>, ip: &IpHeader, options: &DecodeOptions) {
    let Decoded {
        advertisement,
        message,
        trailer,
        surplus,
        tolerated,
        ..
    } = decoded;
    let trailer_len = trailer.map_or(0, |trailer| trailer.len());
    assert_eq!(message.len() + trailer_len + surplus.len(), payload.len());
    assert_eq!(message.len(), advertisement.encoded_len());
    assert_eq!(usize::from(message[3]), advertisement.addresses.len());
    assert!(options.leniency != Leniency::NONE || tolerated.is_none());
    assert!(options.hmac_trailer || trailer.is_none());
    assert!((1..=4095).contains(&advertisement.interval.count()));

    // The second step accepts everything that the first lets through.
    let own = [Ipv4Addr::new(192, 0, 2, 1)];
    for authentication in [
        LocalAuthentication::None,
        LocalAuthentication::SimpleText(Password::truncating(b"password")),
        LocalAuthentication::IpAh,
        LocalAuthentication::HmacIfPresent,
    ] {
        let local = LocalRouter {
            vrid: advertisement.vrid,
            versions: Versions::Both,
            interval: Interval::DEFAULT_V3,
            owner: OwnerRule::Process,
            primary_address: Ipv4Addr::new(192, 0, 2, 12).into(),
            authentication,
            transport: LocalTransport::Multicast {
                group: group(ip.endpoints.family()),
            },
            addresses: Some(Addresses::from(&own[..])),
        };
        let other = LocalRouter {
            vrid: Vrid::new(advertisement.vrid.get() ^ 1).unwrap_or(advertisement.vrid),
            ..local
        };
        for protection in [
            Protection::None,
            Protection::Ah,
            Protection::Hmac { skew: None },
        ] {
            let verdict = local.check(decoded, ip, protection);
            if let Ok(mismatches) = verdict {
                assert!(mismatches.owner_conflict);
                assert!(!matches!(
                    advertisement.authentication,
                    MessageAuthentication::Unknown(_)
                ));
            }
            let elsewhere = other.check(decoded, ip, protection);
            assert!(other.vrid == local.vrid || elsewhere.is_err());
        }
    }
}

/// Makes the checksum of a message the one that decoding expects. Returns false if the message is
/// incomplete.
pub fn mend_checksum(payload: &mut [u8], ip: &IpHeader) -> bool {
    let lenient = DecodeOptions {
        hmac_trailer: false,
        leniency: Leniency::ALL,
        ..DecodeOptions::default()
    };
    let Err(Discard::Checksum(fault)) = Advertisement::decode(payload, ip, &lenient) else {
        return false;
    };
    let Some(right) = fault.message_only.or(fault.pseudo_header) else {
        return false;
    };
    payload[6..8].copy_from_slice(&right.to_be_bytes());
    true
}
