//! The results and the errors of [`Advertisement::decode`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    AddressListFault, Advertisement, ChecksumAcceptance, ChecksumForm, ChecksumMatch, Counter,
    DecodeOptions, Discard, Endpoints, Interval, IntervalFault, IpHeader, LengthFault, Leniency,
    MessageAuthentication, Password, Priority, Version, VersionFault, VridFault, frame,
};

use crate::support::{
    VIRTUAL_V4, VIRTUAL_V6, addresses_v4, addresses_v6, decode_ipv4, decode_ipv6,
    fix_message_checksum, fix_pseudo_checksum, ipv4, ipv6, unicast_ipv4, unicast_ipv6, v2, v2_with,
    v3, v3_ipv6, v3_pseudo, vrid, with_ip_options,
};

const STRICT: DecodeOptions = DecodeOptions {
    v3_ipv4_checksum: ChecksumAcceptance::Either,
    unicast_ttl_floor: 255,
    hmac_trailer: false,
    leniency: Leniency::NONE,
};

const PSEUDO_ONLY: DecodeOptions = DecodeOptions {
    v3_ipv4_checksum: ChecksumAcceptance::PseudoHeader,
    ..STRICT
};

const LENIENT: DecodeOptions = DecodeOptions {
    leniency: Leniency::ALL,
    ..STRICT
};

fn with_ttl(ip: IpHeader, ttl: u8) -> IpHeader {
    IpHeader { ttl, ..ip }
}

#[test]
fn p_06_ttl_not_255_is_discarded() {
    for message in [v2(&[VIRTUAL_V4]), v3(&[VIRTUAL_V4])] {
        for ttl in 0..255 {
            assert_eq!(
                Advertisement::decode(&message, &with_ttl(ipv4(), ttl), &STRICT),
                Err(Discard::IpTtl {
                    found: ttl,
                    required: 255
                })
            );
        }
        assert!(Advertisement::decode(&message, &ipv4(), &STRICT).is_ok());
    }
}

#[test]
fn p_07_hop_limit_not_255_is_discarded() {
    let message = v3_ipv6(&[VIRTUAL_V6]);
    for ttl in 0..255 {
        assert_eq!(
            Advertisement::decode(&message, &with_ttl(ipv6(), ttl), &STRICT),
            Err(Discard::IpTtl {
                found: ttl,
                required: 255
            })
        );
    }
    assert!(Advertisement::decode(&message, &ipv6(), &STRICT).is_ok());
}

#[test]
fn o_02_no_option_lets_a_multicast_packet_pass_below_255() {
    let open = DecodeOptions {
        unicast_ttl_floor: 0,
        ..LENIENT
    };
    for (message, ip) in [
        (v2(&[VIRTUAL_V4]), ipv4()),
        (v3(&[VIRTUAL_V4]), ipv4()),
        (v3_ipv6(&[VIRTUAL_V6]), ipv6()),
    ] {
        assert_eq!(
            Advertisement::decode(&message, &with_ttl(ip, 254), &open),
            Err(Discard::IpTtl {
                found: 254,
                required: 255
            })
        );
    }
}

#[test]
fn o_02_the_unicast_floor_is_255_unless_it_is_lowered() {
    let message = v3(&[VIRTUAL_V4]);
    assert_eq!(
        Advertisement::decode(&message, &unicast_ipv4(254), &STRICT),
        Err(Discard::IpTtl {
            found: 254,
            required: 255
        })
    );
    let lowered = DecodeOptions {
        unicast_ttl_floor: 64,
        ..STRICT
    };
    assert!(Advertisement::decode(&message, &unicast_ipv4(64), &lowered).is_ok());
    assert_eq!(
        Advertisement::decode(&message, &unicast_ipv4(63), &lowered),
        Err(Discard::IpTtl {
            found: 63,
            required: 64
        })
    );
    let mut message = v3_ipv6(&[VIRTUAL_V6]);
    fix_pseudo_checksum(&mut message, &unicast_ipv6(64).endpoints);
    assert!(Advertisement::decode(&message, &unicast_ipv6(64), &lowered).is_ok());
}

#[test]
fn p_10_the_fields_stand_where_the_figure_has_them() {
    let message = [0x31, 7, 200, 1, 0x01, 0x2c, 0x0a, 0x18, 192, 0, 2, 1];
    let mut message = message;
    fix_message_checksum(&mut message);
    let decoded = decode_ipv4(&message).unwrap().advertisement;
    assert_eq!(decoded.version(), Version::V3);
    assert_eq!(decoded.vrid, vrid(7));
    assert_eq!(decoded.priority, Priority::new(200));
    assert_eq!(decoded.interval, Interval::centis(300).unwrap());
    assert!(decoded.addresses.iter().eq([IpAddr::from([192, 0, 2, 1])]));
}

#[test]
fn p_11_versions_other_than_2_and_3_are_discarded() {
    for found in (0..16).filter(|version| ![2, 3].contains(version)) {
        let mut message = v3(&[VIRTUAL_V4]);
        message[0] = found << 4 | 1;
        fix_message_checksum(&mut message);
        assert_eq!(
            decode_ipv4(&message),
            Err(Discard::Version(VersionFault::Unknown { found }))
        );
    }
}

#[test]
fn p_12_type_1_is_the_advertisement() {
    assert!(decode_ipv4(&v2(&[VIRTUAL_V4])).is_ok());
    assert!(decode_ipv4(&v3(&[VIRTUAL_V4])).is_ok());
}

#[test]
fn p_13_every_other_type_is_discarded() {
    for found in (0..16).filter(|number| *number != 1) {
        for mut message in [v2(&[VIRTUAL_V4]), v3(&[VIRTUAL_V4])] {
            message[0] = message[0] & 0xf0 | found;
            fix_message_checksum(&mut message);
            assert_eq!(decode_ipv4(&message), Err(Discard::InvalidType { found }));
            assert_eq!(
                Advertisement::decode(&message, &ipv4(), &LENIENT),
                Err(Discard::InvalidType { found })
            );
        }
        let mut message = v3_ipv6(&[VIRTUAL_V6]);
        message[0] = 0x30 | found;
        fix_pseudo_checksum(&mut message, &ipv6().endpoints);
        for options in [STRICT, LENIENT] {
            assert_eq!(
                Advertisement::decode(&message, &ipv6(), &options),
                Err(Discard::InvalidType { found })
            );
        }
    }
}

#[test]
fn o_25_the_packet_types_of_the_drafts_are_unknown_types() {
    for message_type in [2, 3] {
        let mut message = v3_ipv6(&[VIRTUAL_V6]);
        message[0] = 0x30 | message_type;
        fix_pseudo_checksum(&mut message, &ipv6().endpoints);
        assert_eq!(
            decode_ipv6(&message),
            Err(Discard::InvalidType {
                found: message_type
            })
        );
    }
}

#[test]
fn p_14_version_2_has_addresses_then_eight_octets_of_authentication() {
    let two = [VIRTUAL_V4, Ipv4Addr::new(10, 1, 2, 3)];
    let message = v2_with(&two, 1, *b"s3cret\0\0");
    let decoded = decode_ipv4(&message).unwrap().advertisement;
    assert_eq!(decoded.version(), Version::V2);
    assert_eq!(decoded.interval, Interval::seconds(1).unwrap());
    assert!(decoded.addresses.iter().eq(two));
    assert_eq!(
        decoded.authentication,
        MessageAuthentication::SimpleText(Password::new(b"s3cret").unwrap())
    );
}

#[test]
fn p_15_the_ip_version_gives_the_size_of_version_3_addresses() {
    // The same octets are four IPv4 addresses, or one IPv6 address.
    let mut octets = v3(&addresses_v4(4));
    assert_eq!(
        decode_ipv4(&octets).unwrap().advertisement.addresses.len(),
        4
    );
    octets[3] = 1;
    octets[8..10].copy_from_slice(&[0xfe, 0x80]);
    fix_pseudo_checksum(&mut octets, &ipv6().endpoints);
    let decoded = decode_ipv6(&octets).unwrap().advertisement;
    assert_eq!(decoded.addresses.len(), 1);
    assert_eq!(decoded.authentication, MessageAuthentication::None);
    octets[3] = 4;
    fix_pseudo_checksum(&mut octets, &ipv6().endpoints);
    assert_eq!(
        decode_ipv6(&octets),
        Err(Discard::PacketLength(LengthFault::Differs {
            expected: 72,
            found: 24
        }))
    );
}

#[test]
fn p_16_vrid_0_is_no_virtual_router() {
    for mut message in [v2(&[VIRTUAL_V4]), v3(&[VIRTUAL_V4])] {
        message[1] = 0;
        fix_message_checksum(&mut message);
        assert_eq!(decode_ipv4(&message), Err(Discard::Vrid(VridFault::Zero)));
        for number in 1..=255 {
            message[1] = number;
            fix_message_checksum(&mut message);
            assert_eq!(
                decode_ipv4(&message).unwrap().advertisement.vrid.get(),
                number
            );
        }
    }
    let mut message = v3_ipv6(&[VIRTUAL_V6]);
    message[1] = 0;
    fix_pseudo_checksum(&mut message, &ipv6().endpoints);
    assert_eq!(decode_ipv6(&message), Err(Discard::Vrid(VridFault::Zero)));
}

#[test]
fn p_17_every_octet_is_a_priority_and_higher_is_greater() {
    let mut last = None;
    for number in 0..=255 {
        let mut message = v3(&[VIRTUAL_V4]);
        message[2] = number;
        fix_message_checksum(&mut message);
        let priority = decode_ipv4(&message).unwrap().advertisement.priority;
        assert_eq!(priority.get(), number);
        assert!(last < Some(priority));
        last = Some(priority);
    }
}

#[test]
fn p_20_priority_0_resigns() {
    for mut message in [v2(&[VIRTUAL_V4]), v3(&[VIRTUAL_V4])] {
        assert!(
            !decode_ipv4(&message)
                .unwrap()
                .advertisement
                .priority
                .is_resign()
        );
        message[2] = 0;
        fix_message_checksum(&mut message);
        assert!(
            decode_ipv4(&message)
                .unwrap()
                .advertisement
                .priority
                .is_resign()
        );
    }
}

#[test]
fn p_21_the_count_is_the_number_of_addresses() {
    for count in 1..=255 {
        for message in [v2(&addresses_v4(count)), v3(&addresses_v4(count))] {
            let decoded = decode_ipv4(&message).unwrap().advertisement;
            assert!(decoded.addresses.iter().eq(addresses_v4(count)));
        }
        let message = v3_ipv6(&addresses_v6(count));
        let decoded = decode_ipv6(&message).unwrap().advertisement;
        assert!(decoded.addresses.iter().eq(addresses_v6(count)));
    }
}

#[test]
fn p_22_the_count_is_at_least_one() {
    let no_addresses = Err(Discard::PacketLength(LengthFault::NoAddresses));
    assert_eq!(decode_ipv4(&v2(&[])), no_addresses);
    let mut message = v2(&[VIRTUAL_V4]);
    message[3] = 0;
    fix_message_checksum(&mut message);
    assert_eq!(decode_ipv4(&message), no_addresses);
}

#[test]
fn p_22_version_2_without_addresses_can_be_forgiven() {
    let message = v2(&[]);
    let decoded = Advertisement::decode(&message, &ipv4(), &LENIENT).unwrap();
    assert!(decoded.advertisement.addresses.is_empty());
    assert_eq!(
        decoded.tolerated,
        Leniency {
            v2_without_addresses: true,
            ..Leniency::NONE
        }
    );
}

#[test]
fn p_23_version_3_without_addresses_is_always_discarded() {
    let no_addresses = Err(Discard::PacketLength(LengthFault::NoAddresses));
    for options in [STRICT, LENIENT] {
        assert_eq!(
            Advertisement::decode(&v3(&[]), &ipv4(), &options),
            no_addresses
        );
        assert_eq!(
            Advertisement::decode(&v3_ipv6(&[]), &ipv6(), &options),
            no_addresses
        );
    }
}

#[test]
fn p_25_the_reserved_bits_are_ignored() {
    for reserved in 0..16_u8 {
        let mut message = v3(&[VIRTUAL_V4]);
        message[4] = reserved << 4 | 0x0f;
        message[5] = 0xff;
        fix_message_checksum(&mut message);
        let longest = Interval::centis(4095).unwrap();
        let decoded = decode_ipv4(&message).unwrap();
        assert_eq!(decoded.advertisement.interval, longest);

        let mut message = v3_ipv6(&[VIRTUAL_V6]);
        message[4] = reserved << 4 | 0x0f;
        message[5] = 0xff;
        fix_pseudo_checksum(&mut message, &ipv6().endpoints);
        let decoded = decode_ipv6(&message).unwrap();
        assert_eq!(decoded.advertisement.interval, longest);
    }
}

#[test]
fn p_26_the_version_3_interval_is_12_bits_of_centiseconds() {
    for centis in 1..=4095_u16 {
        let mut message = v3(&[VIRTUAL_V4]);
        message[4..6].copy_from_slice(&centis.to_be_bytes());
        fix_message_checksum(&mut message);
        let interval = decode_ipv4(&message).unwrap().advertisement.interval;
        assert_eq!(interval, Interval::centis(centis).unwrap());
        assert_eq!(interval.as_nanos(), u64::from(centis) * 10_000_000);
    }
}

#[test]
fn p_27_version_3_interval_0_is_discarded() {
    let zero = Err(Discard::Interval(IntervalFault::Zero {
        version: Version::V3,
    }));
    for reserved in [0x00, 0xf0] {
        let mut message = v3(&[VIRTUAL_V4]);
        message[4..6].copy_from_slice(&[reserved, 0]);
        fix_message_checksum(&mut message);
        assert_eq!(decode_ipv4(&message), zero);
        let mut message = v3_ipv6(&[VIRTUAL_V6]);
        message[4..6].copy_from_slice(&[reserved, 0]);
        fix_pseudo_checksum(&mut message, &ipv6().endpoints);
        assert_eq!(decode_ipv6(&message), zero);
    }
}

#[test]
fn p_28_the_version_2_interval_is_8_bits_of_seconds() {
    for seconds in 1..=255_u8 {
        let mut message = v2(&[VIRTUAL_V4]);
        message[5] = seconds;
        fix_message_checksum(&mut message);
        let interval = decode_ipv4(&message).unwrap().advertisement.interval;
        assert_eq!(interval, Interval::seconds(seconds).unwrap());
        assert_eq!(interval.as_duration().as_secs(), u64::from(seconds));
    }
    let mut message = v2(&[VIRTUAL_V4]);
    message[5] = 0;
    fix_message_checksum(&mut message);
    assert_eq!(
        decode_ipv4(&message),
        Err(Discard::Interval(IntervalFault::Zero {
            version: Version::V2
        }))
    );
}

#[test]
fn p_31_the_checksum_is_that_of_rfc_1071() {
    for count in [1, 2, 3, 20, 254, 255] {
        for message in [v2(&addresses_v4(count)), v3(&addresses_v4(count))] {
            let decoded = decode_ipv4(&message).unwrap();
            assert_eq!(decoded.checksum, ChecksumMatch::MessageOnly);
        }
    }
}

#[test]
fn p_32_the_version_2_checksum_covers_the_authentication_data_and_no_pseudo_header() {
    let mut message = v2_with(&[VIRTUAL_V4], 1, *b"abcdefgh");
    message[19] ^= 1;
    assert!(matches!(decode_ipv4(&message), Err(Discard::Checksum(_))));
    fix_pseudo_checksum(&mut message, &ipv4().endpoints);
    let Err(Discard::Checksum(fault)) = decode_ipv4(&message) else {
        panic!("accepted")
    };
    assert_eq!(fault.pseudo_header, None);
    fix_message_checksum(&mut message);
    assert_eq!(
        fault.message_only,
        Some(u16::from_be_bytes([message[6], message[7]]))
    );
    assert!(decode_ipv4(&message).is_ok());
}

#[test]
fn p_33_the_ipv6_checksum_covers_a_pseudo_header() {
    let mut message = v3_ipv6(&addresses_v6(2));
    let decoded = decode_ipv6(&message).unwrap();
    assert_eq!(decoded.checksum, ChecksumMatch::PseudoHeader);
    // With another source or destination the checksum no longer matches.
    let elsewhere = IpHeader {
        endpoints: Endpoints::multicast(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99).into()),
        ttl: 255,
    };
    assert!(matches!(
        Advertisement::decode(&message, &elsewhere, &STRICT),
        Err(Discard::Checksum(_))
    ));
    assert!(matches!(
        Advertisement::decode(&message, &unicast_ipv6(255), &STRICT),
        Err(Discard::Checksum(_))
    ));
    // IPv6 has no form over the message alone, whichever forms are accepted for IPv4.
    fix_message_checksum(&mut message);
    for v3_ipv4_checksum in [ChecksumAcceptance::MessageOnly, ChecksumAcceptance::Either] {
        let options = DecodeOptions {
            v3_ipv4_checksum,
            ..STRICT
        };
        let Err(Discard::Checksum(fault)) = Advertisement::decode(&message, &ipv6(), &options)
        else {
            panic!("accepted")
        };
        assert_eq!(fault.message_only, None);
    }
}

#[test]
fn p_34_both_forms_of_the_version_3_ipv4_checksum_are_distinguished() {
    let accepting = |v3_ipv4_checksum| DecodeOptions {
        v3_ipv4_checksum,
        ..STRICT
    };
    let alone = v3(&[VIRTUAL_V4]);
    let pseudo = v3_pseudo(&[VIRTUAL_V4], &ipv4().endpoints);
    let decode = |message, acceptance| {
        Advertisement::decode(message, &ipv4(), &accepting(acceptance)).map(|ok| ok.checksum)
    };
    assert_eq!(
        decode(&alone, ChecksumAcceptance::Either),
        Ok(ChecksumMatch::MessageOnly)
    );
    assert_eq!(
        decode(&alone, ChecksumAcceptance::MessageOnly),
        Ok(ChecksumMatch::MessageOnly)
    );
    assert!(decode(&alone, ChecksumAcceptance::PseudoHeader).is_err());
    assert_eq!(
        decode(&pseudo, ChecksumAcceptance::Either),
        Ok(ChecksumMatch::PseudoHeader)
    );
    assert_eq!(
        decode(&pseudo, ChecksumAcceptance::PseudoHeader),
        Ok(ChecksumMatch::PseudoHeader)
    );
    assert!(decode(&pseudo, ChecksumAcceptance::MessageOnly).is_err());
    assert_eq!(
        ChecksumMatch::MessageOnly.form(),
        Some(ChecksumForm::MessageOnly)
    );
    assert_eq!(
        ChecksumMatch::PseudoHeader.form(),
        Some(ChecksumForm::PseudoHeader)
    );
}

#[test]
fn p_34_a_pseudo_header_that_sums_to_zero_shows_no_form() {
    // 112 + 12 + the addresses make 0xffff: both forms are one.
    let source = Ipv4Addr::new(0x1f, 0x83, 0x00, 0x00);
    let destination = Ipv4Addr::new(224, 0, 0, 0);
    let ip = IpHeader {
        endpoints: Endpoints::Ipv4 {
            source,
            destination,
        },
        ttl: 255,
    };
    let message = v3(&[VIRTUAL_V4]);
    let decoded = Advertisement::decode(&message, &ip, &STRICT).unwrap();
    assert_eq!(decoded.checksum, ChecksumMatch::Both);
    assert_eq!(decoded.checksum.form(), None);
}

#[test]
fn p_35_no_flipped_bit_gets_past_the_checksum() {
    let messages = [
        (v2_with(&addresses_v4(3), 1, *b"abcdefgh"), ipv4()),
        (v3(&addresses_v4(3)), ipv4()),
        (v3_pseudo(&addresses_v4(3), &ipv4().endpoints), ipv4()),
        (v3_ipv6(&addresses_v6(3)), ipv6()),
    ];
    for (message, ip) in messages {
        for bit in 0..message.len() * 8 {
            let mut corrupt = message.clone();
            corrupt[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(
                Advertisement::decode(&corrupt, &ip, &STRICT).is_err(),
                "bit {bit}"
            );
        }
    }
}

#[test]
fn p_36_a_message_cut_short_is_discarded() {
    let messages = [
        (v2(&addresses_v4(3)), ipv4()),
        (v3(&addresses_v4(3)), ipv4()),
        (v3_ipv6(&addresses_v6(3)), ipv6()),
    ];
    for (message, ip) in messages {
        for found in 0..message.len() {
            let expected = if found < 8 {
                LengthFault::TooShort { found }
            } else {
                LengthFault::Differs {
                    expected: message.len(),
                    found,
                }
            };
            for options in [STRICT, LENIENT] {
                assert_eq!(
                    Advertisement::decode(&message[..found], &ip, &options),
                    Err(Discard::PacketLength(expected))
                );
            }
        }
    }
}

#[test]
fn p_37_lengths_are_exact() {
    for (count, v2_len, v3_len, ipv6_len) in [(1, 20, 12, 24), (255, 1036, 1028, 4088)] {
        for (message, length, ip) in [
            (v2(&addresses_v4(count)), v2_len, ipv4()),
            (v3(&addresses_v4(count)), v3_len, ipv4()),
            (v3_ipv6(&addresses_v6(count)), ipv6_len, ipv6()),
        ] {
            assert_eq!(message.len(), length);
            let decoded = Advertisement::decode(&message, &ip, &STRICT).unwrap();
            assert_eq!(decoded.advertisement.encoded_len(), length);
        }
    }
}

#[test]
fn p_39_a_first_ipv6_address_that_is_not_link_local_is_discarded() {
    let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let message = v3_ipv6(&[global, VIRTUAL_V6]);
    let fault = AddressListFault::FirstNotLinkLocal { found: global };
    assert_eq!(decode_ipv6(&message), Err(Discard::AddressList(fault)));
    let decoded = Advertisement::decode(&message, &ipv6(), &LENIENT).unwrap();
    assert_eq!(
        decoded.tolerated,
        Leniency {
            first_address_not_link_local: true,
            ..Leniency::NONE
        }
    );
    // The whole of fe80::/10 is link-local, its neighbours are not.
    for (first, accepted) in [
        (0xfe7f, false),
        (0xfe80, true),
        (0xfebf, true),
        (0xfec0, false),
    ] {
        let message = v3_ipv6(&[Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 1)]);
        assert_eq!(decode_ipv6(&message).is_ok(), accepted, "{first:x}::1");
    }
}

#[test]
fn p_47_authentication_data_of_type_0_is_ignored() {
    let message = v2_with(&[VIRTUAL_V4], 0, *b"whatever");
    let decoded = decode_ipv4(&message).unwrap();
    assert_eq!(
        decoded.advertisement.authentication,
        MessageAuthentication::None
    );
}

#[test]
fn p_48_a_password_is_read_with_its_zeros() {
    let message = v2_with(&[VIRTUAL_V4], 1, *b"abc\0\0\0\0\0");
    let decoded = decode_ipv4(&message).unwrap();
    let password = Password::new(b"abc").unwrap();
    assert_eq!(
        decoded.advertisement.authentication,
        MessageAuthentication::SimpleText(password)
    );
    assert_eq!(
        format!("{:?}", decoded.advertisement.authentication),
        "SimpleText(Password(..))"
    );
}

#[test]
fn p_53_surplus_is_discarded_or_ignored_and_reported() {
    for count in [1, 2] {
        for surplus in 1..=40 {
            for message in [v2(&addresses_v4(count)), v3(&addresses_v4(count))] {
                let length = message.len();
                let payload = [message, vec![0xa5; surplus]].concat();
                let found = payload.len();
                assert_eq!(
                    decode_ipv4(&payload),
                    Err(Discard::PacketLength(LengthFault::Differs {
                        expected: length,
                        found
                    }))
                );
                let decoded = Advertisement::decode(&payload, &ipv4(), &LENIENT).unwrap();
                assert_eq!(decoded.message, &payload[..length]);
                assert_eq!(decoded.surplus, &payload[length..]);
                assert_eq!(
                    decoded.tolerated,
                    Leniency {
                        surplus: true,
                        ..Leniency::NONE
                    }
                );
            }
        }
    }
}

#[test]
fn p_53_the_ipv6_checksum_covers_surplus() {
    let mut payload = [v3_ipv6(&[VIRTUAL_V6]), vec![1, 2, 3]].concat();
    assert!(matches!(
        Advertisement::decode(&payload, &ipv6(), &LENIENT),
        Err(Discard::Checksum(_))
    ));
    fix_pseudo_checksum(&mut payload, &ipv6().endpoints);
    let decoded = Advertisement::decode(&payload, &ipv6(), &LENIENT).unwrap();
    assert_eq!(decoded.surplus, [1, 2, 3]);
}

#[test]
fn p_54_version_2_over_ipv6_is_discarded() {
    let mut message = v3_ipv6(&[VIRTUAL_V6]);
    message[0] = 0x21;
    fix_pseudo_checksum(&mut message, &ipv6().endpoints);
    for options in [STRICT, LENIENT] {
        assert_eq!(
            Advertisement::decode(&message, &ipv6(), &options),
            Err(Discard::Version(VersionFault::V2OverIpv6))
        );
    }
}

#[test]
fn p_55_ip_options_and_ethernet_padding_are_no_payload() {
    let message = v3(&[VIRTUAL_V4]);
    for words in 0..=10 {
        let packet = with_ip_options(&vec![0x01; words * 4], &message);
        for padding in [0, 1, 6, 14] {
            let packet = [packet.clone(), vec![0xee; padding]].concat();
            let packet = frame::ipv4::Packet::parse(&packet).unwrap();
            assert_eq!(packet.payload, message);
            assert!(Advertisement::decode(packet.payload, &packet.ip_header(), &STRICT).is_ok());
        }
    }
}

#[test]
fn p_56_no_input_makes_decoding_panic() {
    // Every first octet and count, with every length that makes a difference.
    let mut payload = vec![0xff; 4200];
    for first in 0..=255 {
        for count in [0, 1, 2, 127, 254, 255] {
            payload[0] = first;
            payload[3] = count;
            for length in (0..64).chain([1028, 1036, 1064, 4087, 4088, 4089, 4116, 4200]) {
                for ip in [ipv4(), ipv6()] {
                    for hmac_trailer in [false, true] {
                        for options in [STRICT, LENIENT] {
                            let options = DecodeOptions {
                                hmac_trailer,
                                ..options
                            };
                            let _ = Advertisement::decode(&payload[..length], &ip, &options);
                        }
                    }
                }
            }
        }
    }
}

/// Repairs one fault of a message after another, in the order of `docs/conformance.md` section 7.
/// Each time the error names the first remaining fault.
#[test]
fn p_57_the_first_fault_of_many_is_always_the_same() {
    let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let mut payload = vec![0x72, 0, 100, 0, 0xf0, 0, 0xde, 0xad];
    payload.extend(global.octets());
    payload.push(0);
    let low = with_ttl(ipv6(), 1);
    let counter = |payload: &[u8], ip: &IpHeader| {
        let decoded = Advertisement::decode(payload, ip, &STRICT);
        decoded
            .map(|_| ())
            .map_err(|discard| discard.counter().unwrap())
    };
    assert_eq!(counter(&payload[..7], &low), Err(Counter::IpTtl));
    assert_eq!(counter(&payload[..7], &ipv6()), Err(Counter::PacketLength));
    assert_eq!(counter(&payload, &ipv6()), Err(Counter::Version));
    payload[0] = 0x32;
    assert_eq!(counter(&payload, &ipv6()), Err(Counter::InvalidType));
    payload[0] = 0x31;
    assert_eq!(
        decode_ipv6(&payload),
        Err(Discard::PacketLength(LengthFault::NoAddresses))
    );
    payload[3] = 1;
    assert_eq!(
        decode_ipv6(&payload),
        Err(Discard::PacketLength(LengthFault::Differs {
            expected: 24,
            found: 25
        }))
    );
    payload.pop();
    assert_eq!(counter(&payload, &ipv6()), Err(Counter::Checksum));
    fix_pseudo_checksum(&mut payload, &ipv6().endpoints);
    assert_eq!(counter(&payload, &ipv6()), Err(Counter::Vrid));
    payload[1] = 1;
    fix_pseudo_checksum(&mut payload, &ipv6().endpoints);
    assert_eq!(counter(&payload, &ipv6()), Err(Counter::Interval));
    payload[5] = 1;
    fix_pseudo_checksum(&mut payload, &ipv6().endpoints);
    assert_eq!(counter(&payload, &ipv6()), Err(Counter::AddressList));
    payload[8..10].copy_from_slice(&[0xfe, 0x80]);
    fix_pseudo_checksum(&mut payload, &ipv6().endpoints);
    assert!(decode_ipv6(&payload).is_ok());
}

#[test]
fn o_16_each_counter_has_its_name_in_the_yang_model() {
    let names = Counter::ALL.map(Counter::name);
    assert_eq!(
        names[..8],
        [
            "checksum-errors",
            "version-errors",
            "vrid-errors",
            "ip-ttl-errors",
            "interval-errors",
            "invalid-type-pkts-rcvd",
            "address-list-errors",
            "packet-length-errors",
        ]
    );
}

#[test]
fn o_24_a_carp_frame_is_discarded_for_its_length() {
    // 36 octets: version 2, type 1, then CARP's own fields; octet 3 is its authentication length.
    let mut carp = [0_u8; 36];
    carp[..8].copy_from_slice(&[0x21, 1, 0, 7, 0, 1, 0, 0]);
    carp[8..].fill(0x5a);
    fix_message_checksum(&mut carp);
    for options in [STRICT, LENIENT] {
        assert_eq!(
            Advertisement::decode(&carp, &ipv4(), &options),
            Err(Discard::PacketLength(LengthFault::Differs {
                expected: 44,
                found: 36
            }))
        );
    }
}

#[test]
fn amb_07_version_2_without_authentication_data_is_discarded() {
    let mut message = v2(&addresses_v4(2));
    message.truncate(16);
    fix_message_checksum(&mut message);
    assert_eq!(
        Advertisement::decode(&message, &ipv4(), &LENIENT),
        Err(Discard::PacketLength(LengthFault::Differs {
            expected: 24,
            found: 16
        }))
    );
}

#[test]
fn amb_33_cisco_md5_is_an_unknown_authentication_with_surplus() {
    // Auth type 254, and 30 octets more than version 2 has, all under the checksum.
    let mut message = v2_with(&[VIRTUAL_V4], 254, [0; 8]);
    message.extend([0x12; 30]);
    fix_message_checksum(&mut message);
    assert!(matches!(
        decode_ipv4(&message),
        Err(Discard::PacketLength(LengthFault::Differs {
            expected: 20,
            found: 50
        }))
    ));
    assert!(matches!(
        Advertisement::decode(&message, &ipv4(), &LENIENT),
        Err(Discard::Checksum(_))
    ));
    let message = v2_with(&[VIRTUAL_V4], 254, [0; 8]);
    assert_eq!(
        decode_ipv4(&message).unwrap().advertisement.authentication,
        MessageAuthentication::Unknown(254)
    );
}

#[test]
fn a_trailer_is_taken_off_only_where_it_is_allowed_and_has_28_octets() {
    let options = DecodeOptions {
        hmac_trailer: true,
        ..STRICT
    };
    for message in [v2(&[VIRTUAL_V4]), v3(&[VIRTUAL_V4])] {
        assert_eq!(
            Advertisement::decode(&message, &ipv4(), &options)
                .unwrap()
                .trailer,
            None
        );
        let payload = [message.clone(), vec![7; 28]].concat();
        let decoded = Advertisement::decode(&payload, &ipv4(), &options).unwrap();
        assert_eq!(decoded.trailer, Some(&[7; 28]));
        assert_eq!(decoded.message, message);
        assert!(decoded.surplus.is_empty());
        assert!(decoded.tolerated.is_none());
        assert!(matches!(
            decode_ipv4(&payload),
            Err(Discard::PacketLength(LengthFault::Differs { .. }))
        ));
        for wrong in [27, 29] {
            let payload = [message.clone(), vec![7; wrong]].concat();
            assert!(matches!(
                Advertisement::decode(&payload, &ipv4(), &options),
                Err(Discard::PacketLength(LengthFault::Differs { .. }))
            ));
        }
    }
}

#[test]
fn a_router_without_hmac_names_the_trailer() {
    let trailer = |scheme, id, reserved| [&[scheme, id, reserved, 0][..], &[7; 24]].concat();
    for (message, ip) in [
        (v2(&[VIRTUAL_V4]), ipv4()),
        (v3(&[VIRTUAL_V4]), ipv4()),
        (v3_ipv6(&[VIRTUAL_V6]), ipv6()),
    ] {
        let discard = |surplus: &[u8]| {
            let payload = [&message[..], surplus].concat();
            Advertisement::decode(&payload, &ip, &DecodeOptions::default()).unwrap_err()
        };
        let expected = message.len();
        let named = discard(&trailer(1, 200, 0));
        let fault = LengthFault::HmacTrailer { expected };
        assert_eq!(named, Discard::PacketLength(fault));
        assert_eq!(named.counter(), Some(Counter::PacketLength));
        assert_eq!(
            named.to_string(),
            format!(
                "28 octets in the form of an HMAC trailer follow the message of {expected} octets, and \
                 HMAC is not configured here: configure the sender's keys, or remove them there"
            )
        );
        for other in [
            trailer(2, 200, 0),
            trailer(1, 0, 0),
            trailer(1, 200, 1),
            vec![1; 27],
        ] {
            let found = expected + other.len();
            let fault = LengthFault::Differs { expected, found };
            assert_eq!(discard(&other), Discard::PacketLength(fault));
        }
    }
}

#[test]
fn every_discard_names_field_value_and_range() {
    let texts = [
        (
            Discard::IpTtl {
                found: 64,
                required: 255,
            },
            "TTL 64 is not in 255..=255",
        ),
        (
            Discard::IpTtlTooHigh {
                found: 255,
                allowed: 254,
            },
            "TTL 255 is not in 0..=254",
        ),
        (
            Discard::InvalidType { found: 4 },
            "type 4 is not 1 (ADVERTISEMENT)",
        ),
        (Discard::Vrid(VridFault::Zero), "VRID 0 is not in 1..=255"),
        (
            Discard::Interval(IntervalFault::Zero {
                version: Version::V3,
            }),
            "VRRPv3 interval 0 is not in 1..=4095",
        ),
        (
            Discard::PacketLength(LengthFault::Differs {
                expected: 20,
                found: 19,
            }),
            "message length 19 differs from the 20 octets in its header",
        ),
    ];
    for (discard, text) in texts {
        assert_eq!(discard.to_string(), text);
    }
    let mut message = v3(&[VIRTUAL_V4]);
    message[6..8].copy_from_slice(&[0x12, 0x34]);
    assert_eq!(
        decode_ipv4(&message).unwrap_err().to_string(),
        "checksum 0x1234 is not 0xa865 (message only) or 0x05cb (with pseudo-header)"
    );
    message[0] = 0x21;
    message[3] = 0;
    message.truncate(8);
    message.extend([0; 8]);
    let text = Advertisement::decode(&message, &ipv4(), &LENIENT)
        .unwrap_err()
        .to_string();
    assert_eq!(text, "checksum 0x1234 is not 0x7a68 (message only)");
    let message = v3(&[VIRTUAL_V4]);
    let text = Advertisement::decode(&message, &ipv4(), &PSEUDO_ONLY)
        .unwrap_err()
        .to_string();
    assert_eq!(text, "checksum 0xa865 is not 0x05cb (with pseudo-header)");
}
