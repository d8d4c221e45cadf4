#![no_main]
//! Each message that decodes is encoded, decoded again, and must be the same; so must each message
//! built from values.

use std::net::{Ipv4Addr, Ipv6Addr};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, DecodeOptions, EncodeError, Interval, IpHeader,
    Leniency, MAX_MESSAGE_LEN, MessageAuthentication, Password, Priority, Vrid, set_priority,
};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Octets {
        over_ipv6: bool,
        payload: &'a [u8],
    },
    V2 {
        vrid: u8,
        priority: u8,
        seconds: u8,
        auth_type: u8,
        password: &'a [u8],
        addresses: Vec<[u8; 4]>,
    },
    V3Ipv4 {
        vrid: u8,
        priority: u8,
        centis: u16,
        pseudo_header: bool,
        addresses: Vec<[u8; 4]>,
    },
    V3Ipv6 {
        vrid: u8,
        priority: u8,
        centis: u16,
        addresses: Vec<[u8; 16]>,
    },
}

fn round_trip(advertisement: &Advertisement<'_>, ip: &IpHeader, form: ChecksumForm) {
    let lenient = DecodeOptions {
        leniency: Leniency::ALL,
        ..DecodeOptions::default()
    };
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let length = match advertisement.encode(&mut buffer, &ip.endpoints, form) {
        Ok(length) => length,
        Err(
            EncodeError::BufferTooSmall { .. }
            | EncodeError::Family { .. }
            | EncodeError::V2OverIpv6,
        ) => unreachable!(),
        Err(_) => return,
    };
    let message = &mut buffer[..length];
    assert_eq!(length, advertisement.encoded_len());
    let decoded = Advertisement::decode(message, ip, &DecodeOptions::default()).unwrap();
    assert_eq!(decoded.advertisement, *advertisement);
    assert!(decoded.tolerated.is_none());
    let strict_and_lenient = Advertisement::decode(message, ip, &lenient).unwrap();
    assert_eq!(strict_and_lenient, decoded);

    let resigning = Advertisement {
        priority: Priority::RESIGN,
        ..*advertisement
    };
    let mut afresh = [0; MAX_MESSAGE_LEN];
    resigning.encode(&mut afresh, &ip.endpoints, form).unwrap();
    set_priority(message, Priority::RESIGN).unwrap();
    assert_eq!(message, &afresh[..length]);
}

fuzz_target!(|input: Input<'_>| {
    let form = |pseudo_header| {
        if pseudo_header {
            ChecksumForm::PseudoHeader
        } else {
            ChecksumForm::MessageOnly
        }
    };
    match input {
        Input::Octets { over_ipv6, payload } => {
            let ip = if over_ipv6 {
                vrrp_fuzz::ipv6()
            } else {
                vrrp_fuzz::ipv4()
            };
            let mut payload = payload.to_vec();
            vrrp_fuzz::mend_checksum(&mut payload, &ip);
            if let Ok(decoded) = Advertisement::decode(&payload, &ip, &DecodeOptions::default()) {
                round_trip(
                    &decoded.advertisement,
                    &ip,
                    decoded.checksum.form().unwrap_or_default(),
                );
            }
        }
        Input::V2 {
            vrid,
            priority,
            seconds,
            auth_type,
            password,
            addresses,
        } => {
            let (Some(vrid), Ok(interval)) = (Vrid::new(vrid), Interval::seconds(seconds)) else {
                return;
            };
            let authentication = match auth_type {
                0 => MessageAuthentication::None,
                1 => MessageAuthentication::SimpleText(Password::truncating(password)),
                2 => MessageAuthentication::IpAh,
                other => MessageAuthentication::Unknown(other),
            };
            let addresses: Vec<Ipv4Addr> = addresses.into_iter().map(Ipv4Addr::from).collect();
            let addresses = Addresses::from(&addresses[..]);
            let priority = Priority::new(priority);
            round_trip(
                &Advertisement {
                    vrid,
                    priority,
                    interval,
                    authentication,
                    addresses,
                },
                &vrrp_fuzz::ipv4(),
                form(true),
            );
        }
        Input::V3Ipv4 {
            vrid,
            priority,
            centis,
            pseudo_header,
            addresses,
        } => {
            let (Some(vrid), Ok(interval)) = (Vrid::new(vrid), Interval::centis(centis)) else {
                return;
            };
            let addresses: Vec<Ipv4Addr> = addresses.into_iter().map(Ipv4Addr::from).collect();
            let addresses = Addresses::from(&addresses[..]);
            let (priority, authentication) = (Priority::new(priority), MessageAuthentication::None);
            let advertisement = Advertisement {
                vrid,
                priority,
                interval,
                authentication,
                addresses,
            };
            round_trip(&advertisement, &vrrp_fuzz::ipv4(), form(pseudo_header));
        }
        Input::V3Ipv6 {
            vrid,
            priority,
            centis,
            mut addresses,
        } => {
            let (Some(vrid), Ok(interval)) = (Vrid::new(vrid), Interval::centis(centis)) else {
                return;
            };
            if let Some([high, low, ..]) = addresses.first_mut() {
                (*high, *low) = (0xfe, 0x80);
            }
            let addresses: Vec<Ipv6Addr> = addresses.into_iter().map(Ipv6Addr::from).collect();
            let addresses = Addresses::from(&addresses[..]);
            let (priority, authentication) = (Priority::new(priority), MessageAuthentication::None);
            round_trip(
                &Advertisement {
                    vrid,
                    priority,
                    interval,
                    authentication,
                    addresses,
                },
                &vrrp_fuzz::ipv6(),
                form(true),
            );
        }
    }
});
