//! The errors and the mismatches that [`LocalRouter::check`] returns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    AddressListFault, Addresses, Advertisement, AuthenticationFault, AuthenticationMethod,
    ClockSkew, Counter, DecodeOptions, Discard, Endpoints, GROUP_IPV4, GROUP_IPV6, Interval,
    IntervalFault, IpHeader, LocalAuthentication, LocalRouter, LocalTransport, Mismatches,
    OwnerRule, Password, Peer, Priority, Protection, TTL, Version, VersionFault, Versions,
    VridFault, frame,
};

use crate::support::{
    RECEIVER_V4, RECEIVER_V6, SENDER_V4, SENDER_V6, VIRTUAL_V4, VIRTUAL_V6, decode_ipv4,
    decode_ipv6, fix_message_checksum, internet_checksum, ipv4, ipv6, local, unicast_ipv4,
    unicast_ipv6, v2, v2_with, v3, v3_ipv6, vrid,
};

const QUIET: Mismatches = Mismatches {
    interval_differs: false,
    address_list_differs: false,
    owner_conflict: false,
    clock_skew: None,
};

/// The trailer was verified, and the clocks agree.
const PROVEN: Protection = Protection::Hmac { skew: None };

fn v2_router() -> LocalRouter<'static> {
    local(Versions::V2, RECEIVER_V4.into())
}

fn v3_router() -> LocalRouter<'static> {
    local(Versions::V3, RECEIVER_V4.into())
}

fn ipv6_router() -> LocalRouter<'static> {
    local(Versions::V3, RECEIVER_V6.into())
}

/// Decodes and checks an IPv4 message received by multicast, without verified authentication.
fn check_message(local: &LocalRouter<'_>, message: &[u8]) -> Result<Mismatches, Discard> {
    check_as(local, message, Protection::None)
}

fn check_as(
    local: &LocalRouter<'_>,
    message: &[u8],
    protection: Protection,
) -> Result<Mismatches, Discard> {
    local.check(&decode_ipv4(message).unwrap(), &ipv4(), protection)
}

fn edited(mut message: Vec<u8>, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    edit(&mut message);
    fix_message_checksum(&mut message);
    message
}

#[test]
fn a_message_without_fault_passes_without_notes() {
    assert_eq!(check_message(&v2_router(), &v2(&[VIRTUAL_V4])), Ok(QUIET));
    assert_eq!(check_message(&v3_router(), &v3(&[VIRTUAL_V4])), Ok(QUIET));
    let message = v3_ipv6(&[VIRTUAL_V6]);
    let decoded = decode_ipv6(&message).unwrap();
    assert_eq!(
        ipv6_router().check(&decoded, &ipv6(), Protection::None),
        Ok(QUIET)
    );
}

#[test]
fn p_01_only_protocol_112_is_vrrp() {
    assert_eq!(vrrp_proto::IP_PROTOCOL, 112);
    let header = frame::ipv4::Header::advertisement(SENDER_V4, GROUP_IPV4);
    let mut packet = header.encode(0).unwrap();
    assert_eq!(packet[9], 112);
    assert_eq!(frame::ipv4::Packet::parse(&packet).unwrap().protocol, 112);
    // A packet of another protocol has its number: 6 here, with a corrected header checksum.
    packet[9] = 6;
    packet[10..12].fill(0);
    let checksum = internet_checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&checksum);
    assert_eq!(frame::ipv4::Packet::parse(&packet).unwrap().protocol, 6);

    let header = frame::ipv6::Header::advertisement(SENDER_V6, GROUP_IPV6);
    let mut packet = header.encode(0);
    assert_eq!(packet[6], 112);
    packet[6] = 6;
    assert_eq!(frame::ipv6::Packet::parse(&packet).unwrap().next_header, 6);
}

#[test]
fn p_02_ipv4_messages_to_another_destination_are_discarded() {
    let message = v3(&[VIRTUAL_V4]);
    let decoded = decode_ipv4(&message).unwrap();
    for other in [
        Ipv4Addr::new(224, 0, 0, 5),
        RECEIVER_V4,
        Ipv4Addr::BROADCAST,
    ] {
        let endpoints = Endpoints::Ipv4 {
            source: SENDER_V4,
            destination: other,
        };
        assert_eq!(
            v3_router().check(
                &decoded,
                &IpHeader {
                    endpoints,
                    ttl: TTL
                },
                Protection::None
            ),
            Err(Discard::Destination {
                found: other.into()
            })
        );
    }
    assert_eq!(GROUP_IPV4, Ipv4Addr::new(224, 0, 0, 18));
}

#[test]
fn p_03_ipv6_messages_to_another_destination_are_discarded() {
    let message = v3_ipv6(&[VIRTUAL_V6]);
    let decoded = decode_ipv6(&message).unwrap();
    for other in [Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5), RECEIVER_V6] {
        let endpoints = Endpoints::Ipv6 {
            source: SENDER_V6,
            destination: other,
        };
        assert_eq!(
            ipv6_router().check(
                &decoded,
                &IpHeader {
                    endpoints,
                    ttl: TTL
                },
                Protection::None
            ),
            Err(Discard::Destination {
                found: other.into()
            })
        );
    }
    assert_eq!(GROUP_IPV6.to_string(), "ff02::12");
}

#[test]
fn p_03_a_message_of_the_other_family_is_not_for_this_router() {
    let message = v3_ipv6(&[VIRTUAL_V6]);
    let decoded = decode_ipv6(&message).unwrap();
    assert_eq!(
        v3_router().check(&decoded, &ipv6(), Protection::None),
        Err(Discard::Destination {
            found: GROUP_IPV6.into()
        })
    );
}

#[test]
fn amb_14_our_own_packet_is_discarded_first() {
    let own = LocalRouter {
        primary_address: SENDER_V4.into(),
        vrid: vrid(1),
        ..v3_router()
    };
    assert_eq!(
        check_message(&own, &v2(&[VIRTUAL_V4])),
        Err(Discard::OwnPacket {
            source_address: SENDER_V4.into()
        })
    );
}

#[test]
fn amb_26_a_unicast_router_accepts_its_peers_only() {
    let stranger = Ipv4Addr::new(192, 0, 2, 13);
    let message = v3(&[VIRTUAL_V4]);
    let open = DecodeOptions {
        unicast_ttl_floor: 0,
        ..DecodeOptions::default()
    };
    let check = |peers: &[Peer], ip: &IpHeader| {
        let decoded = Advertisement::decode(&message, ip, &open).unwrap();
        let local = LocalRouter {
            transport: LocalTransport::Unicast { peers },
            ..v3_router()
        };
        local.check(&decoded, ip, Protection::None)
    };
    let peers = [
        Peer::new(stranger.into()),
        Peer::new(SENDER_V4.into()).with_min_ttl(253),
    ];
    assert_eq!(check(&peers, &unicast_ipv4(253)), Ok(QUIET));
    assert_eq!(
        check(&peers, &unicast_ipv4(252)),
        Err(Discard::IpTtl {
            found: 252,
            required: 253
        })
    );
    let far = [peers[1].with_max_ttl(254)];
    assert_eq!(check(&far, &unicast_ipv4(254)), Ok(QUIET));
    assert_eq!(
        check(&far, &unicast_ipv4(255)),
        Err(Discard::IpTtlTooHigh {
            found: 255,
            allowed: 254
        })
    );
    assert_eq!(
        check(&peers[..1], &unicast_ipv4(255)),
        Err(Discard::Peer {
            found: SENDER_V4.into()
        })
    );
    assert_eq!(
        check(&[], &unicast_ipv4(255)),
        Err(Discard::Peer {
            found: SENDER_V4.into()
        })
    );
    assert_eq!(
        check(&peers, &ipv4()),
        Err(Discard::Destination {
            found: GROUP_IPV4.into()
        })
    );
}

#[test]
fn amb_26_unicast_works_over_ipv6() {
    let ip = unicast_ipv6(255);
    let mut message = v3_ipv6(&[VIRTUAL_V6]);
    crate::support::fix_pseudo_checksum(&mut message, &ip.endpoints);
    let decoded = Advertisement::decode(&message, &ip, &DecodeOptions::default()).unwrap();
    let peers = [Peer::new(SENDER_V6.into())];
    let local = LocalRouter {
        transport: LocalTransport::Unicast { peers: &peers },
        ..ipv6_router()
    };
    assert_eq!(local.check(&decoded, &ip, Protection::None), Ok(QUIET));
}

#[test]
fn p_42_a_vrid_that_is_not_configured_is_discarded() {
    let local = LocalRouter {
        vrid: vrid(52),
        ..v3_router()
    };
    assert_eq!(
        check_message(&local, &v3(&[VIRTUAL_V4])),
        Err(Discard::Vrid(VridFault::NotConfigured { found: vrid(51) }))
    );
}

#[test]
fn p_11_the_other_version_is_discarded() {
    for (local, message, found) in [
        (v2_router(), v3(&[VIRTUAL_V4]), Version::V3),
        (v3_router(), v2(&[VIRTUAL_V4]), Version::V2),
    ] {
        let discard = check_message(&local, &message).unwrap_err();
        assert_eq!(
            discard,
            Discard::Version(VersionFault::NotConfigured { found })
        );
        assert_eq!(discard.counter(), Some(Counter::Version));
    }
}

#[test]
fn o_09_a_router_of_both_versions_accepts_both() {
    let both = local(Versions::Both, RECEIVER_V4.into());
    assert_eq!(check_message(&both, &v2(&[VIRTUAL_V4])), Ok(QUIET));
    assert_eq!(check_message(&both, &v3(&[VIRTUAL_V4])), Ok(QUIET));
}

#[test]
fn t_14_a_router_of_both_versions_compares_version_2_intervals_in_whole_seconds() {
    // 50 cs are sent as 1 s, 150 cs as 2 s, 200 cs as 2 s (AMB-28).
    for (centis, seconds) in [
        (1, 1),
        (50, 1),
        (100, 1),
        (101, 2),
        (150, 2),
        (200, 2),
        (4095, 41),
    ] {
        let interval = Interval::centis(centis).unwrap();
        let both = LocalRouter {
            interval,
            ..local(Versions::Both, RECEIVER_V4.into())
        };
        for other in [seconds - 1, seconds, seconds + 1]
            .into_iter()
            .filter(|other| *other > 0)
        {
            let message = edited(v2(&[VIRTUAL_V4]), |message| message[5] = other);
            let received = check_message(&both, &message);
            if other == seconds {
                assert_eq!(received, Ok(QUIET));
            } else {
                let found = Interval::seconds(other).unwrap();
                let configured = Interval::seconds(seconds).unwrap();
                assert_eq!(
                    received,
                    Err(Discard::Interval(IntervalFault::Differs {
                        found,
                        configured
                    }))
                );
            }
        }
    }
}

#[test]
fn p_29_another_version_2_interval_is_discarded() {
    let message = edited(v2(&[VIRTUAL_V4]), |message| message[5] = 2);
    let discard = check_message(&v2_router(), &message).unwrap_err();
    assert_eq!(
        discard.to_string(),
        "interval 2 s is not the configured 1 s"
    );
    assert_eq!(discard.counter(), Some(Counter::Interval));
}

#[test]
fn p_30_another_version_3_interval_is_noted_and_kept() {
    let message = edited(v3(&[VIRTUAL_V4]), |message| message[5] = 99);
    assert_eq!(
        check_message(&v3_router(), &message),
        Ok(Mismatches {
            interval_differs: true,
            ..QUIET
        })
    );
}

#[test]
fn p_43_an_owner_discards_or_notes_by_its_profile() {
    for message in [v2(&[VIRTUAL_V4]), v3(&[VIRTUAL_V4])] {
        let both = local(Versions::Both, RECEIVER_V4.into());
        let published = LocalRouter {
            owner: OwnerRule::Discard,
            ..both
        };
        let discard = check_message(&published, &message).unwrap_err();
        assert_eq!((discard, discard.counter()), (Discard::Owner, None));
        let with_erratum = LocalRouter {
            owner: OwnerRule::Process,
            ..both
        };
        assert_eq!(
            check_message(&with_erratum, &message),
            Ok(Mismatches {
                owner_conflict: true,
                ..QUIET
            })
        );
    }
}

#[test]
fn p_44_another_version_2_address_list_is_discarded_unless_the_owner_sent_it() {
    let own = [VIRTUAL_V4];
    let comparing = LocalRouter {
        addresses: Some(Addresses::from(&own[..])),
        ..v2_router()
    };
    let other = Ipv4Addr::new(192, 0, 2, 2);
    assert_eq!(check_message(&comparing, &v2(&own)), Ok(QUIET));
    for list in [
        vec![other],
        vec![VIRTUAL_V4, other],
        vec![VIRTUAL_V4, VIRTUAL_V4],
    ] {
        let message = v2(&list);
        let fault = AddressListFault::Differs {
            found: list.len(),
            configured: 1,
        };
        assert_eq!(
            check_message(&comparing, &message),
            Err(Discard::AddressList(fault))
        );
        let of_owner = edited(message.clone(), |message| message[2] = 255);
        assert_eq!(
            check_message(&comparing, &of_owner),
            Ok(Mismatches {
                address_list_differs: true,
                ..QUIET
            })
        );
        // The comparison is optional.
        assert_eq!(check_message(&v2_router(), &message), Ok(QUIET));
    }
}

#[test]
fn p_45_another_version_3_address_list_is_noted_and_kept() {
    let own = [VIRTUAL_V4, Ipv4Addr::new(192, 0, 2, 2)];
    let comparing = LocalRouter {
        addresses: Some(Addresses::from(&own[..])),
        ..v3_router()
    };
    assert_eq!(check_message(&comparing, &v3(&own)), Ok(QUIET));
    // The order does not matter, as P-41 only recommends one.
    assert_eq!(check_message(&comparing, &v3(&[own[1], own[0]])), Ok(QUIET));
    let differs = Ok(Mismatches {
        address_list_differs: true,
        ..QUIET
    });
    for list in [
        vec![own[0]],
        vec![own[0], own[0]],
        vec![own[0], Ipv4Addr::new(192, 0, 2, 3)],
    ] {
        assert_eq!(check_message(&comparing, &v3(&list)), differs);
    }

    let global = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let own = [VIRTUAL_V6, global(1), global(2)];
    let comparing = LocalRouter {
        addresses: Some(Addresses::from(&own[..])),
        ..ipv6_router()
    };
    let check_message = |list: &[Ipv6Addr]| {
        let message = v3_ipv6(list);
        comparing.check(&decode_ipv6(&message).unwrap(), &ipv6(), Protection::None)
    };
    assert_eq!(check_message(&own), Ok(QUIET));
    assert_eq!(check_message(&[own[0], own[2], own[1]]), Ok(QUIET));
    for list in [
        &own[..2],
        &[own[0], own[1], own[1]],
        &[own[0], own[1], global(3)],
    ] {
        assert_eq!(check_message(list), differs);
    }
}

#[test]
fn p_46_another_authentication_type_is_discarded() {
    let required = AuthenticationMethod::None;
    for (auth_type, found) in [
        (1, AuthenticationMethod::SimpleText),
        (2, AuthenticationMethod::IpAh),
        (3, AuthenticationMethod::Unknown(3)),
        (254, AuthenticationMethod::Unknown(254)),
    ] {
        let message = v2_with(&[VIRTUAL_V4], auth_type, *b"password");
        let discard = check_message(&v2_router(), &message).unwrap_err();
        assert_eq!(
            discard,
            Discard::Authentication(AuthenticationFault::Method { found, required })
        );
        assert_eq!(discard.counter(), Some(Counter::Authentication));
    }
    let password = Password::new(b"password").unwrap();
    let with_password = LocalRouter {
        authentication: LocalAuthentication::SimpleText(password),
        ..v2_router()
    };
    // Type 0 with the right octets is still type 0.
    assert_eq!(
        check_message(&with_password, &v2_with(&[VIRTUAL_V4], 0, *b"password")),
        Err(Discard::Authentication(AuthenticationFault::Method {
            found: AuthenticationMethod::None,
            required: AuthenticationMethod::SimpleText
        }))
    );
}

#[test]
fn p_48_a_wrong_password_is_discarded() {
    let local = |text: &[u8]| LocalRouter {
        authentication: LocalAuthentication::SimpleText(Password::new(text).unwrap()),
        ..v2_router()
    };
    let message = v2_with(&[VIRTUAL_V4], 1, *b"s3cret\0\0");
    assert_eq!(check_message(&local(b"s3cret"), &message), Ok(QUIET));
    for wrong in [&b"s3cre"[..], b"s3cret!", b"S3cret", b"xxxxxxxx"] {
        assert_eq!(
            check_message(&local(wrong), &message),
            Err(Discard::Authentication(AuthenticationFault::Password))
        );
    }
}

#[test]
fn p_49_a_router_of_rfc_3768_knows_type_0_only() {
    for auth_type in 1..=255 {
        let message = v2_with(&[VIRTUAL_V4], auth_type, [0; 8]);
        assert!(matches!(
            check_message(&v2_router(), &message),
            Err(Discard::Authentication(AuthenticationFault::Method { .. }))
        ));
    }
}

#[test]
fn p_50_type_2_needs_a_digest_that_was_verified() {
    let ah = LocalRouter {
        authentication: LocalAuthentication::IpAh,
        ..v2_router()
    };
    let type_2 = v2_with(&[VIRTUAL_V4], 2, [0; 8]);
    assert_eq!(check_as(&ah, &type_2, Protection::Ah), Ok(QUIET));
    assert_eq!(
        check_message(&ah, &type_2),
        Err(Discard::Authentication(AuthenticationFault::Unverified {
            method: AuthenticationMethod::IpAh
        }))
    );
    assert_eq!(
        check_as(
            &ah,
            &type_2,
            Protection::Failed(AuthenticationFault::Digest)
        ),
        Err(Discard::Authentication(AuthenticationFault::Digest))
    );
    // Another type inside AH.
    for auth_type in [0, 1, 3] {
        let message = v2_with(&[VIRTUAL_V4], auth_type, [0; 8]);
        assert!(check_as(&ah, &message, Protection::Ah).is_err());
    }
    // AH where none is configured.
    assert_eq!(
        check_as(&v2_router(), &v2(&[VIRTUAL_V4]), Protection::Ah),
        Err(Discard::Authentication(AuthenticationFault::Combined))
    );
    let password = Password::new(b"password").unwrap();
    let simple = LocalRouter {
        authentication: LocalAuthentication::SimpleText(password),
        ..v2_router()
    };
    assert_eq!(
        check_as(
            &simple,
            &v2_with(&[VIRTUAL_V4], 1, *b"password"),
            Protection::Ah
        ),
        Err(Discard::Authentication(AuthenticationFault::Combined))
    );
}

#[test]
fn o_01_authentication_of_version_2_is_not_circumvented_by_version_3() {
    let password = Password::new(b"password").unwrap();
    for authentication in [
        LocalAuthentication::SimpleText(password),
        LocalAuthentication::IpAh,
    ] {
        let both = LocalRouter {
            authentication,
            ..local(Versions::Both, RECEIVER_V4.into())
        };
        assert_eq!(
            check_message(&both, &v3(&[VIRTUAL_V4])),
            Err(Discard::Authentication(AuthenticationFault::Method {
                found: AuthenticationMethod::None,
                required: authentication.method()
            }))
        );
    }
}

#[test]
fn a_trailer_needs_to_be_asked_for_and_verified() {
    let payload = [v3(&[VIRTUAL_V4]), vec![0; 28]].concat();
    let options = DecodeOptions {
        hmac_trailer: true,
        ..DecodeOptions::default()
    };
    let decoded = Advertisement::decode(&payload, &ipv4(), &options).unwrap();
    let plain_message = v3(&[VIRTUAL_V4]);
    let plain = decode_ipv4(&plain_message).unwrap();
    let with = |authentication| LocalRouter {
        authentication,
        ..v3_router()
    };
    let check = |authentication, decoded, protection| {
        with(authentication).check(decoded, &ipv4(), protection)
    };
    let hmac = AuthenticationMethod::Hmac;
    let unverified = Err(Discard::Authentication(AuthenticationFault::Unverified {
        method: hmac,
    }));
    let missing = Err(Discard::Authentication(AuthenticationFault::Method {
        found: AuthenticationMethod::None,
        required: hmac,
    }));

    let enforcing = LocalAuthentication::Hmac;
    assert_eq!(check(enforcing, &decoded, PROVEN), Ok(QUIET));
    assert_eq!(check(enforcing, &decoded, Protection::None), unverified);
    assert_eq!(check(enforcing, &plain, Protection::None), missing);
    assert!(check(enforcing, &plain, PROVEN).is_err());

    let migrating = LocalAuthentication::HmacIfPresent;
    assert_eq!(check(migrating, &decoded, PROVEN), Ok(QUIET));
    assert_eq!(check(migrating, &decoded, Protection::None), unverified);
    assert_eq!(check(migrating, &plain, Protection::None), Ok(QUIET));
    let failed = AuthenticationFault::Digest;
    assert_eq!(
        check(migrating, &decoded, Protection::Failed(failed)),
        Err(Discard::Authentication(failed))
    );

    assert_eq!(
        check(LocalAuthentication::None, &decoded, Protection::None),
        Err(Discard::Authentication(AuthenticationFault::Method {
            found: hmac,
            required: AuthenticationMethod::None
        }))
    );
}

#[test]
fn a_trailer_and_a_password_do_not_go_together() {
    let payload = [v2_with(&[VIRTUAL_V4], 1, *b"password"), vec![0; 28]].concat();
    let options = DecodeOptions {
        hmac_trailer: true,
        ..DecodeOptions::default()
    };
    let decoded = Advertisement::decode(&payload, &ipv4(), &options).unwrap();
    for authentication in [
        LocalAuthentication::Hmac,
        LocalAuthentication::HmacIfPresent,
        LocalAuthentication::SimpleText(Password::new(b"password").unwrap()),
    ] {
        let local = LocalRouter {
            authentication,
            ..v2_router()
        };
        for protection in [Protection::None, PROVEN, Protection::Ah] {
            assert!(local.check(&decoded, &ipv4(), protection).is_err());
        }
    }
}

#[test]
fn p_51_every_failed_check_discards() {
    // One message with every fault of the second step. Each repair reveals the next fault, in the
    // order of section 7 of the list.
    let own = [VIRTUAL_V4];
    let wrong = Ipv4Addr::new(192, 0, 2, 2);
    let message = edited(v2_with(&[wrong], 1, *b"password"), |message| message[5] = 9);
    let mut local = LocalRouter {
        vrid: vrid(1),
        versions: Versions::V3,
        interval: Interval::DEFAULT_V2,
        owner: OwnerRule::Discard,
        primary_address: IpAddr::from(SENDER_V4),
        authentication: LocalAuthentication::None,
        transport: LocalTransport::Unicast { peers: &[] },
        addresses: Some(Addresses::from(&own[..])),
    };
    assert!(matches!(
        check_message(&local, &message),
        Err(Discard::OwnPacket { .. })
    ));
    local.primary_address = RECEIVER_V4.into();
    assert!(matches!(
        check_message(&local, &message),
        Err(Discard::Destination { .. })
    ));
    local.transport = LocalTransport::Multicast {
        group: GROUP_IPV4.into(),
    };
    assert!(matches!(
        check_message(&local, &message),
        Err(Discard::Vrid(_))
    ));
    local.vrid = vrid(51);
    assert!(matches!(
        check_message(&local, &message),
        Err(Discard::Version(_))
    ));
    local.versions = Versions::V2;
    assert!(matches!(
        check_message(&local, &message),
        Err(Discard::Authentication(_))
    ));
    local.authentication = LocalAuthentication::SimpleText(Password::new(b"password").unwrap());
    assert!(matches!(
        check_message(&local, &message),
        Err(Discard::Interval(_))
    ));
    local.interval = Interval::seconds(9).unwrap();
    assert_eq!(check_message(&local, &message), Err(Discard::Owner));
    local.owner = OwnerRule::NotOwner;
    assert!(matches!(
        check_message(&local, &message),
        Err(Discard::AddressList(_))
    ));
    local.addresses = None;
    assert_eq!(check_message(&local, &message), Ok(QUIET));
}

#[test]
fn o_16_each_discard_counts_once() {
    use Discard as D;
    let discards = [
        (
            D::IpTtl {
                found: 1,
                required: 255,
            },
            Some(Counter::IpTtl),
        ),
        (
            D::IpTtlTooHigh {
                found: 255,
                allowed: 254,
            },
            Some(Counter::IpTtl),
        ),
        (D::InvalidType { found: 2 }, Some(Counter::InvalidType)),
        (D::Vrid(VridFault::Zero), Some(Counter::Vrid)),
        (D::Version(VersionFault::V2OverIpv6), Some(Counter::Version)),
        (D::Owner, None),
        (
            D::Peer {
                found: SENDER_V4.into(),
            },
            None,
        ),
        (
            D::Destination {
                found: SENDER_V4.into(),
            },
            None,
        ),
        (
            D::OwnPacket {
                source_address: SENDER_V4.into(),
            },
            None,
        ),
    ];
    for (discard, counter) in discards {
        assert_eq!(discard.counter(), counter, "{discard}");
    }
}

/// The header of a packet from this address to the group of its family, or to another destination.
fn header(source: IpAddr, destination: Option<IpAddr>) -> IpHeader {
    let endpoints = Endpoints::multicast(source);
    let destination = destination.unwrap_or(endpoints.destination());
    IpHeader {
        endpoints: Endpoints::new(source, destination).unwrap(),
        ttl: TTL,
    }
}

/// A packet from this source to this destination, with a checksum of its own.
fn check_from(
    local: &LocalRouter<'_>,
    source: IpAddr,
    destination: Option<IpAddr>,
) -> Result<Mismatches, Discard> {
    let ip = header(source, destination);
    let (list_v4, list_v6) = ([VIRTUAL_V4], [VIRTUAL_V6]);
    let advertisement = Advertisement {
        vrid: vrid(51),
        priority: Priority::DEFAULT,
        interval: Interval::centis(100).unwrap(),
        authentication: vrrp_proto::MessageAuthentication::None,
        addresses: match source {
            IpAddr::V4(_) => Addresses::from(&list_v4[..]),
            IpAddr::V6(_) => Addresses::from(&list_v6[..]),
        },
    };
    let mut octets = vec![0; advertisement.encoded_len()];
    let form = vrrp_proto::ChecksumForm::PseudoHeader;
    advertisement
        .encode(&mut octets, &ip.endpoints, form)
        .unwrap();
    let decoded = Advertisement::decode(&octets, &ip, &DecodeOptions::default()).unwrap();
    local.check(&decoded, &ip, Protection::None)
}

const NO_UNICAST: [&str; 13] = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.255",
    "224.0.0.1",
    "224.0.0.18",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "ff02::1",
    "ff02::12",
];

#[test]
fn p_08_a_source_that_is_no_unicast_address_is_discarded() {
    for source in NO_UNICAST {
        let found: IpAddr = source.parse().unwrap();
        let local = if found.is_ipv4() {
            v3_router()
        } else {
            ipv6_router()
        };
        let discard = check_from(&local, found, None).unwrap_err();
        assert_eq!(discard, Discard::Source { found });
        assert_eq!(discard.counter(), None);
        assert!(discard.to_string().contains(source), "{discard}");
        // Also before the router has started and has an address.
        let unstarted = LocalRouter {
            primary_address: if found.is_ipv4() {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                Ipv6Addr::UNSPECIFIED.into()
            },
            ..local
        };
        let discard = check_from(&unstarted, found, None).unwrap_err();
        assert_eq!(discard, Discard::Source { found });
        // Not as a unicast peer either.
        let peers = [Peer::new(found)];
        let unicast = LocalRouter {
            transport: LocalTransport::Unicast { peers: &peers },
            ..local
        };
        let to = unicast.primary_address;
        let discard = check_from(&unicast, found, Some(to)).unwrap_err();
        assert_eq!(discard, Discard::Source { found });
    }
    for source in ["1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255"] {
        assert!(check_from(&v3_router(), source.parse().unwrap(), None).is_ok());
    }
    for source in ["fe80::7", "2001:db8::7"] {
        assert!(check_from(&ipv6_router(), source.parse().unwrap(), None).is_ok());
    }
}

#[test]
fn a_unicast_router_discards_a_destination_that_is_no_unicast_address() {
    for destination in NO_UNICAST {
        let found: IpAddr = destination.parse().unwrap();
        let (local, source) = if found.is_ipv4() {
            (v3_router(), SENDER_V4.into())
        } else {
            (ipv6_router(), SENDER_V6.into())
        };
        let peers = [Peer::new(source)];
        let unicast = LocalRouter {
            transport: LocalTransport::Unicast { peers: &peers },
            ..local
        };
        let discard = check_from(&unicast, source, Some(found)).unwrap_err();
        assert_eq!(discard, Discard::Destination { found });
    }
}

#[test]
fn a_clock_skew_is_a_mismatch_of_an_accepted_message() {
    let mut payload = v3(&[VIRTUAL_V4]);
    payload.extend([0; 28]);
    let options = DecodeOptions {
        hmac_trailer: true,
        ..DecodeOptions::default()
    };
    let decoded = Advertisement::decode(&payload, &ipv4(), &options).unwrap();
    let local = LocalRouter {
        authentication: LocalAuthentication::Hmac,
        ..v3_router()
    };
    for skew in [
        None,
        Some(ClockSkew::Ahead { millis: 3000 }),
        Some(ClockSkew::Behind { millis: 3000 }),
    ] {
        let mismatches = local
            .check(&decoded, &ipv4(), Protection::Hmac { skew })
            .unwrap();
        assert_eq!(mismatches.clock_skew, skew);
    }
}

#[test]
fn a_peer_is_on_the_link_unless_configured_otherwise() {
    let address = SENDER_V4.into();
    let peer = Peer::new(address);
    assert_eq!(Peer::new(address), peer);
    assert_eq!(Peer::from(address), peer);
    assert_eq!(Peer::new(address).with_min_ttl(254).min_ttl, 254);
}
