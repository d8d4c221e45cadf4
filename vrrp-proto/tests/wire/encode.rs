//! The output and the errors of [`Advertisement::encode`], and [`set_priority`].

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, EncodeError, Endpoints, Interval, LengthFault,
    Leniency, MAX_MESSAGE_LEN, MessageAuthentication, Password, Priority, set_priority,
};

use crate::support::{
    SENDER_V4, SENDER_V6, VIRTUAL_V4, VIRTUAL_V6, addresses_v4, addresses_v6, ipv4, ipv6, v2,
    v2_with, v3, v3_ipv6, v3_pseudo, vrid,
};

fn advertisement(interval: Interval, addresses: Addresses<'_>) -> Advertisement<'_> {
    Advertisement {
        vrid: vrid(51),
        priority: Priority::DEFAULT,
        interval,
        authentication: MessageAuthentication::None,
        addresses,
    }
}

fn encode(
    advertisement: &Advertisement<'_>,
    endpoints: &Endpoints,
    form: ChecksumForm,
) -> Result<Vec<u8>, EncodeError> {
    let mut buffer = [0xee; MAX_MESSAGE_LEN];
    let length = advertisement.encode(&mut buffer, endpoints, form)?;
    assert!(
        buffer[length..].iter().all(|octet| *octet == 0xee),
        "wrote past the message"
    );

    let mut appended = Vec::new();
    assert_eq!(
        advertisement.put(&mut appended, endpoints, form),
        Ok(length)
    );
    assert_eq!(appended, buffer[..length]);
    Ok(appended)
}

fn to_group_v4() -> Endpoints {
    Endpoints::multicast(SENDER_V4.into())
}

fn to_group_v6() -> Endpoints {
    Endpoints::multicast(SENDER_V6.into())
}

#[test]
fn p_52_the_message_is_made_of_the_configured_values() {
    for count in [1, 2, 20, 255] {
        let v4 = addresses_v4(count);
        let v6 = addresses_v6(count);
        let of_v2 = advertisement(Interval::DEFAULT_V2, v4[..].into());
        let of_v3 = advertisement(Interval::DEFAULT_V3, v4[..].into());
        let of_ipv6 = advertisement(Interval::DEFAULT_V3, v6[..].into());
        let group = to_group_v4();
        for form in [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader] {
            assert_eq!(encode(&of_v2, &group, form).unwrap(), v2(&v4));
            assert_eq!(
                encode(&of_ipv6, &to_group_v6(), form).unwrap(),
                v3_ipv6(&v6)
            );
        }
        assert_eq!(
            encode(&of_v3, &group, ChecksumForm::MessageOnly).unwrap(),
            v3(&v4)
        );
        assert_eq!(
            encode(&of_v3, &group, ChecksumForm::PseudoHeader).unwrap(),
            v3_pseudo(&v4, &group)
        );
    }
}

#[test]
fn p_24_the_reserved_bits_are_sent_as_zero() {
    let addresses = [VIRTUAL_V4];
    for centis in [1, 255, 256, 4095] {
        let interval = Interval::centis(centis).unwrap();
        let message = encode(
            &advertisement(interval, addresses[..].into()),
            &to_group_v4(),
            ChecksumForm::MessageOnly,
        )
        .unwrap();
        assert_eq!(message[4..6], centis.to_be_bytes());
        assert_eq!(message[4] & 0xf0, 0);
    }
}

#[test]
fn p_26_no_interval_outside_its_range_can_be_made() {
    assert_eq!(
        Interval::centis(0).unwrap_err().to_string(),
        "interval in centiseconds 0 is not in 1..=4095"
    );
    assert!(Interval::centis(1).is_ok());
    assert!(Interval::centis(4095).is_ok());
    assert!(Interval::centis(4096).is_err());
    assert!(Interval::centis(u16::MAX).is_err());
    assert!(Interval::seconds(0).is_err());
    assert!(Interval::seconds(255).is_ok());
}

#[test]
fn p_37_encoded_len_is_the_length() {
    for count in 1..=255 {
        let v4 = addresses_v4(count);
        let v6 = addresses_v6(count);
        let n = usize::from(count);
        assert_eq!(
            advertisement(Interval::DEFAULT_V2, v4[..].into()).encoded_len(),
            16 + 4 * n
        );
        assert_eq!(
            advertisement(Interval::DEFAULT_V3, v4[..].into()).encoded_len(),
            8 + 4 * n
        );
        assert_eq!(
            advertisement(Interval::DEFAULT_V3, v6[..].into()).encoded_len(),
            8 + 16 * n
        );
    }
}

#[test]
fn p_38_a_first_ipv6_address_that_is_not_link_local_is_not_sent() {
    let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let addresses = [global, VIRTUAL_V6];
    assert_eq!(
        encode(
            &advertisement(Interval::DEFAULT_V3, addresses[..].into()),
            &to_group_v6(),
            ChecksumForm::MessageOnly,
        ),
        Err(EncodeError::FirstNotLinkLocal { found: global })
    );
}

#[test]
fn deviations_that_older_routers_have_are_sent_where_they_are_asked_for() {
    let global = [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)];
    let first = advertisement(Interval::DEFAULT_V3, global[..].into());
    let none: [Ipv4Addr; 0] = [];
    let empty = advertisement(Interval::DEFAULT_V2, none[..].into());
    let empty_v3 = advertisement(Interval::DEFAULT_V3, none[..].into());
    let encode = |advertisement: &Advertisement<'_>, endpoints: &Endpoints, leniency| {
        let mut buffer = [0; 64];
        let form = ChecksumForm::PseudoHeader;
        advertisement.encode_lenient(&mut buffer, endpoints, form, leniency)
    };
    let all = Leniency {
        surplus: false,
        v2_without_addresses: true,
        first_address_not_link_local: true,
    };
    let (v4, v6) = (to_group_v4(), to_group_v6());
    assert_eq!(encode(&first, &v6, all), Ok(24));
    assert_eq!(encode(&empty, &v4, all), Ok(16));
    let refused = Err(EncodeError::AddressCount { count: 0 });
    assert_eq!(encode(&empty_v3, &v4, all), refused);
    assert_eq!(encode(&empty, &v4, Leniency::NONE), refused);
    assert!(encode(&first, &v6, Leniency::NONE).is_err());
}

#[test]
fn p_40_addresses_of_the_other_family_are_not_sent() {
    let v4 = [VIRTUAL_V4];
    let v6 = [VIRTUAL_V6];
    for (addresses, endpoints) in [
        (Addresses::from(&v4[..]), to_group_v6()),
        (Addresses::from(&v6[..]), to_group_v4()),
    ] {
        assert_eq!(
            encode(
                &advertisement(Interval::DEFAULT_V3, addresses),
                &endpoints,
                ChecksumForm::MessageOnly,
            ),
            Err(EncodeError::Family {
                addresses: addresses.family(),
                endpoints: endpoints.family()
            })
        );
    }
}

#[test]
fn p_47_type_0_sends_zeros() {
    let addresses = [VIRTUAL_V4];
    let message = encode(
        &advertisement(Interval::DEFAULT_V2, addresses[..].into()),
        &to_group_v4(),
        ChecksumForm::MessageOnly,
    )
    .unwrap();
    assert_eq!(message[4], 0);
    assert_eq!(message[12..], [0; 8]);
}

#[test]
fn p_48_a_password_is_sent_with_zeros_behind_it() {
    let addresses = [VIRTUAL_V4];
    let password = Password::new(b"abc").unwrap();
    let message = encode(
        &Advertisement {
            authentication: MessageAuthentication::SimpleText(password),
            ..advertisement(Interval::DEFAULT_V2, addresses[..].into())
        },
        &to_group_v4(),
        ChecksumForm::MessageOnly,
    )
    .unwrap();
    assert_eq!(message, v2_with(&addresses, 1, *b"abc\0\0\0\0\0"));
}

#[test]
fn p_48_a_password_has_one_to_eight_octets() {
    assert_eq!(
        Password::new(b"").unwrap_err().to_string(),
        "password length 0 is not in 1..=8"
    );
    assert!(Password::new(b"12345678").is_ok());
    assert!(Password::new(b"123456789").is_err());
    assert_eq!(Password::truncating(b"123456789").octets(), *b"12345678");
    assert_ne!(
        Password::truncating(b"12345678"),
        Password::truncating(b"1234567")
    );
}

#[test]
fn p_50_type_2_sends_zeros() {
    let addresses = [VIRTUAL_V4];
    let message = encode(
        &Advertisement {
            authentication: MessageAuthentication::IpAh,
            ..advertisement(Interval::DEFAULT_V2, addresses[..].into())
        },
        &to_group_v4(),
        ChecksumForm::MessageOnly,
    )
    .unwrap();
    assert_eq!(message, v2_with(&addresses, 2, [0; 8]));
}

#[test]
fn p_54_version_2_is_not_sent_over_ipv6() {
    let addresses = [VIRTUAL_V6];
    assert_eq!(
        encode(
            &advertisement(Interval::DEFAULT_V2, addresses[..].into()),
            &to_group_v6(),
            ChecksumForm::MessageOnly,
        ),
        Err(EncodeError::V2OverIpv6)
    );
}

#[test]
fn o_01_version_3_is_not_sent_with_authentication() {
    let addresses = [VIRTUAL_V4];
    for authentication in [
        MessageAuthentication::SimpleText(Password::new(b"abc").unwrap()),
        MessageAuthentication::IpAh,
        MessageAuthentication::Unknown(9),
    ] {
        let advertisement = Advertisement {
            authentication,
            ..advertisement(Interval::DEFAULT_V3, addresses[..].into())
        };
        assert_eq!(
            encode(&advertisement, &to_group_v4(), ChecksumForm::MessageOnly),
            Err(EncodeError::AuthenticationInV3)
        );
    }
}

#[test]
fn unknown_authentication_is_not_sent() {
    let addresses = [VIRTUAL_V4];
    let advertisement = Advertisement {
        authentication: MessageAuthentication::Unknown(254),
        ..advertisement(Interval::DEFAULT_V2, addresses[..].into())
    };
    let error = encode(&advertisement, &to_group_v4(), ChecksumForm::MessageOnly).unwrap_err();
    assert_eq!(error.to_string(), "authentication type 254 is not in 0..=2");
}

#[test]
fn a_count_outside_1_to_255_is_not_sent() {
    for count in [0, 256, 1000] {
        let v4 = vec![VIRTUAL_V4; count];
        for interval in [Interval::DEFAULT_V2, Interval::DEFAULT_V3] {
            assert_eq!(
                encode(
                    &advertisement(interval, v4[..].into()),
                    &to_group_v4(),
                    ChecksumForm::MessageOnly,
                ),
                Err(EncodeError::AddressCount { count })
            );
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_is_left_alone() {
    let addresses = addresses_v4(3);
    for (interval, needed) in [(Interval::DEFAULT_V2, 28), (Interval::DEFAULT_V3, 20)] {
        let advertisement = advertisement(interval, addresses[..].into());
        let mut exact = vec![0; needed];
        let form = ChecksumForm::MessageOnly;
        let written = advertisement.put(&mut &mut exact[..], &to_group_v4(), form);
        assert_eq!(written, Ok(needed));
        assert_eq!(
            advertisement.encode(&mut exact, &to_group_v4(), form),
            Ok(needed)
        );
        for given in 0..needed {
            let too_small = Err(EncodeError::BufferTooSmall { needed, given });
            let mut buffer = vec![0xee; given];
            assert_eq!(
                advertisement.encode(&mut buffer, &to_group_v4(), form),
                too_small
            );
            assert_eq!(buffer, vec![0xee; given]);
            assert_eq!(
                advertisement.put(&mut &mut buffer[..], &to_group_v4(), form),
                too_small
            );
            assert_eq!(buffer, vec![0xee; given]);
        }
    }
}

#[test]
fn a_decoded_message_can_be_encoded_again() {
    let received = v2_with(&addresses_v4(3), 1, *b"abcdefgh");
    let decoded = crate::support::decode_ipv4(&received).unwrap();
    assert_eq!(
        encode(
            &decoded.advertisement,
            &ipv4().endpoints,
            ChecksumForm::MessageOnly
        )
        .unwrap(),
        received
    );
    let received = v3_ipv6(&addresses_v6(3));
    let decoded = crate::support::decode_ipv6(&received).unwrap();
    assert_eq!(
        encode(
            &decoded.advertisement,
            &ipv6().endpoints,
            ChecksumForm::MessageOnly
        )
        .unwrap(),
        received
    );
}

#[test]
fn set_priority_gives_the_same_octets_as_encoding() {
    let v4 = [VIRTUAL_V4, Ipv4Addr::BROADCAST];
    let v6 = [VIRTUAL_V6];
    let password = MessageAuthentication::SimpleText(Password::new(b"abc").unwrap());
    let of_v2 = Advertisement {
        authentication: password,
        ..advertisement(Interval::DEFAULT_V2, v4[..].into())
    };
    let of_v3 = advertisement(Interval::DEFAULT_V3, v4[..].into());
    let of_ipv6 = advertisement(Interval::DEFAULT_V3, v6[..].into());
    for (template, endpoints, form) in [
        (of_v2, to_group_v4(), ChecksumForm::MessageOnly),
        (of_v3, to_group_v4(), ChecksumForm::MessageOnly),
        (of_v3, to_group_v4(), ChecksumForm::PseudoHeader),
        (of_ipv6, to_group_v6(), ChecksumForm::PseudoHeader),
    ] {
        let messages: Vec<Vec<u8>> = (0..=255)
            .map(|priority| {
                let advertisement = Advertisement {
                    priority: Priority::new(priority),
                    ..template
                };
                encode(&advertisement, &endpoints, form).unwrap()
            })
            .collect();
        for (from, message) in messages.iter().enumerate() {
            for to in [0, 1, 100, 254, 255, from as u8] {
                let mut changed = message.clone();
                set_priority(&mut changed, Priority::new(to)).unwrap();
                assert_eq!(changed, messages[usize::from(to)], "from {from} to {to}");
            }
        }
    }
}

#[test]
fn set_priority_needs_a_whole_header() {
    for found in 0..8 {
        assert_eq!(
            set_priority(&mut vec![0; found], Priority::RESIGN),
            Err(LengthFault::TooShort { found })
        );
    }
}
