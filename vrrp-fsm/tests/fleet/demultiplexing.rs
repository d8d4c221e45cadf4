//! From a packet to its router.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use vrrp_fsm::{
    Instant,
    fleet::{AddressList, FleetError, Member, MessageTransport, RouterKey, VrrpRouter},
};
use vrrp_proto::{
    Discard, Endpoints, Family, IpHeader, LocalAuthentication, Password, Peer, Priority,
    Protection, TTL, Vrid, VridFault,
};

use crate::lan::{config, member, message, multicast};

const T0: Instant = Instant::ZERO;

#[test]
fn s_01_interface_family_and_vrid_say_whose_packet_it_is() {
    let mut fleet = VrrpRouter::new();
    let mut ids = Vec::new();
    for interface in 1..=20 {
        for vrid in (1..=255).step_by(7) {
            for family in [Family::Ipv4, Family::Ipv6] {
                let mut config = config(vrid, 100);
                config.family = family;
                let id = fleet.add(T0, Member::new(interface, config)).unwrap();
                let address = match family {
                    Family::Ipv4 => [192, 0, 2, 11].into(),
                    Family::Ipv6 => [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
                };
                fleet.startup(T0, id, address).unwrap();
                ids.push((
                    RouterKey {
                        interface,
                        family,
                        vrid: config.vrid,
                    },
                    id,
                ));
            }
        }
    }
    for (key, id) in &ids {
        assert_eq!(fleet.find(key), Some(*id));
        assert_eq!(fleet.key(*id), Some(*key));
        if key.family == Family::Ipv6 {
            continue;
        }
        let ip = multicast();
        let octets = message(key.vrid.get(), 200, &ip.endpoints);
        let (addressee, received) = fleet
            .handle_packet(T0, key.interface, &ip, &octets, Protection::None)
            .unwrap();
        assert_eq!((addressee, received.priority().get()), (*id, 200));
    }
    for (key, id) in ids {
        let expected = u64::from(key.family == Family::Ipv4);
        let counters = fleet.get(id).unwrap().counters();
        assert_eq!(counters.advertisements_received, expected, "{key:?}");
    }
    let taken = fleet.add(T0, Member::new(1, config(8, 100)));
    assert!(matches!(taken, Err(FleetError::KeyTaken(_))));
}

#[test]
fn p_42_a_packet_for_an_unknown_router_is_counted_and_changes_nothing() {
    let mut fleet = VrrpRouter::new();
    let id = fleet.add(T0, member(1, 100)).unwrap();
    fleet.startup(T0, id, [192, 0, 2, 11].into()).unwrap();
    let before = *fleet.get(id).unwrap();
    let ip = multicast();
    for (interface, vrid) in [(2, 51), (1, 52)] {
        let octets = message(vrid, 200, &ip.endpoints);
        let rejected = fleet
            .handle_packet(T0, interface, &ip, &octets, Protection::None)
            .unwrap_err();
        assert_eq!(rejected.router, None);
        let found = Vrid::new(vrid).unwrap();
        let expected = Discard::Vrid(VridFault::NotConfigured { found });
        assert_eq!(rejected.discard, expected);
    }
    assert_eq!(fleet.packet_errors().vrid_errors, 2);
    // The same with the interval 0, whose check comes later (P-57), and a matching checksum.
    let mut octets = message(52, 200, &ip.endpoints);
    octets[4..6].fill(0);
    let (checksum, carry) = u16::from_be_bytes([octets[6], octets[7]]).overflowing_add(100);
    octets[6..8].copy_from_slice(&(checksum + u16::from(carry)).to_be_bytes());
    let rejected = fleet.handle_packet(T0, 1, &ip, &octets, Protection::None);
    assert!(matches!(
        rejected.unwrap_err().discard,
        Discard::Vrid(VridFault::NotConfigured { .. })
    ));
    assert_eq!(fleet.packet_errors().vrid_errors, 3);
    for octets in [&[][..], &[0x31], &[0x31, 0, 100, 1, 0, 0, 0, 0]] {
        let rejected = fleet.handle_packet(T0, 1, &ip, octets, Protection::None);
        assert_eq!(rejected.unwrap_err().router, None);
    }
    assert_eq!(*fleet.get(id).unwrap(), before);
}

#[test]
fn o_16_errors_of_all_routers_are_counted_together_and_the_rest_with_the_router() {
    let mut fleet = VrrpRouter::new();
    let id = fleet.add(T0, member(1, 100)).unwrap();
    fleet.startup(T0, id, [192, 0, 2, 11].into()).unwrap();
    let before = fleet.poll_timeout();
    let ip = multicast();
    let good = message(51, 200, &ip.endpoints);
    let mut checksum = good.clone();
    checksum[7] ^= 1;
    let mut version = good.clone();
    version[0] = 0x71;
    let mut ttl = ip;
    ttl.ttl = 64;
    for (ip, octets) in [(ip, &checksum), (ip, &version), (ttl, &good)] {
        let rejected = fleet
            .handle_packet(
                Instant::from_nanos(1_000_000),
                1,
                &ip,
                octets,
                Protection::None,
            )
            .unwrap_err();
        assert_eq!(rejected.router, Some(id), "{rejected}");
    }
    let errors = fleet.packet_errors();
    assert_eq!(
        (
            errors.checksum_errors,
            errors.version_errors,
            errors.vrid_errors,
            errors.ip_ttl_errors
        ),
        (1, 1, 0, 1)
    );
    let counters = fleet.get(id).unwrap().counters();
    assert_eq!((counters.ip_ttl_errors, counters.other_discards), (1, 2));
    assert_eq!(fleet.poll_timeout(), before, "no timer has moved");
    assert_eq!(
        fleet
            .poll_action()
            .map(|(_, action)| action)
            .into_iter()
            .count(),
        1,
        "Startup"
    );
    assert_eq!(fleet.poll_action(), None);
}

#[test]
fn a_router_checks_its_own_peers_password_and_addresses() {
    let mut fleet = VrrpRouter::new();
    let peer = [192, 0, 2, 20];
    let mut unicast = member(1, 100);
    unicast.transport = MessageTransport::Unicast {
        peers: vec![Peer::new(peer.into())],
    };
    unicast.addresses = Some(AddressList::Ipv4(vec![[192, 0, 2, 9].into()]));
    let id = fleet.add(T0, unicast.clone()).unwrap();
    fleet.startup(T0, id, [192, 0, 2, 11].into()).unwrap();
    let receive = |fleet: &mut VrrpRouter, source: [u8; 4]| {
        let endpoints = Endpoints::new(source.into(), [192, 0, 2, 11].into()).unwrap();
        let ip = IpHeader {
            endpoints,
            ttl: TTL,
        };
        fleet.handle_packet(T0, 1, &ip, &message(51, 200, &endpoints), Protection::None)
    };
    let (_, received) = receive(&mut fleet, peer).unwrap();
    assert!(received.mismatches().address_list_differs);
    let rejected = receive(&mut fleet, [192, 0, 2, 21]).unwrap_err();
    assert!(
        matches!(rejected.discard, Discard::Peer { .. }),
        "{rejected}"
    );

    unicast.authentication = LocalAuthentication::SimpleText(Password::new(b"secret").unwrap());
    fleet.reconfigure(T0, id, unicast).unwrap();
    let rejected = receive(&mut fleet, peer).unwrap_err();
    assert!(
        matches!(rejected.discard, Discard::Authentication(_)),
        "{rejected}"
    );
}

#[test]
fn amb_26_a_router_that_lists_the_peer_comes_before_that_of_the_interface() {
    let mut fleet = VrrpRouter::new();
    // Both advertise from the same address, to different peers.
    let mut add = |interface, peer: [u8; 4]| {
        let member = Member {
            transport: MessageTransport::Unicast {
                peers: vec![Peer::new(peer.into())],
            },
            ..member(interface, 100)
        };
        let id = fleet.add(T0, member).unwrap();
        fleet.startup(T0, id, [192, 0, 2, 11].into()).unwrap();
        id
    };
    let ids = [add(1, [192, 0, 2, 20]), add(2, [192, 0, 2, 21])];
    for interface in [1, 2, 7] {
        for (id, peer) in ids.into_iter().zip([20, 21]) {
            let source = [192, 0, 2, peer].into();
            let endpoints = Endpoints::new(source, [192, 0, 2, 11].into()).unwrap();
            let ip = IpHeader {
                endpoints,
                ttl: TTL,
            };
            let octets = message(51, 200, &endpoints);
            let received = fleet.handle_packet(T0, interface, &ip, &octets, Protection::None);
            assert_eq!(received.map(|(id, _)| id), Ok(id), "{interface}, {peer}");
        }
        // An unknown sender is discarded by the router of the interface, which counts it.
        let endpoints = Endpoints::new([192, 0, 2, 22].into(), [192, 0, 2, 11].into()).unwrap();
        let ip = IpHeader {
            endpoints,
            ttl: TTL,
        };
        let octets = message(51, 200, &endpoints);
        let received = fleet.handle_packet(T0, interface, &ip, &octets, Protection::None);
        let of_interface = usize::try_from(interface).unwrap().checked_sub(1);
        let expected = of_interface.and_then(|place| ids.get(place).copied());
        assert_eq!(received.unwrap_err().router, expected);
    }
}

#[test]
fn amb_26_a_unicast_peer_is_accepted_on_any_interface() {
    let mut fleet = VrrpRouter::new();
    let peer = |last| Peer::new([192, 0, 2, last].into());
    let unicast = |peers| Member {
        transport: MessageTransport::Unicast { peers },
        ..member(1, 100)
    };
    let id = fleet.add(T0, unicast(vec![peer(20)])).unwrap();
    fleet.startup(T0, id, [192, 0, 2, 11].into()).unwrap();
    let packet = |source: [u8; 4], destination: [u8; 4]| {
        let endpoints = Endpoints::new(source.into(), destination.into()).unwrap();
        let ip = IpHeader {
            endpoints,
            ttl: TTL,
        };
        (ip, message(51, 200, &endpoints))
    };
    let addressee = |fleet: &mut VrrpRouter, (ip, octets): &(IpHeader, Vec<u8>)| {
        let found = fleet.addressee(7, ip, octets);
        let received = fleet.handle_packet(T0, 7, ip, octets, Protection::None);
        assert_eq!(found, received.as_ref().ok().map(|(id, _)| *id));
        received
            .map(|(id, _)| id)
            .map_err(|rejected| rejected.router)
    };
    let from_peer = packet([192, 0, 2, 20], [192, 0, 2, 11]);
    let from_other = packet([192, 0, 2, 21], [192, 0, 2, 11]);
    let to_group = packet([192, 0, 2, 20], [224, 0, 0, 18]);
    assert_eq!(addressee(&mut fleet, &from_peer), Ok(id));
    assert_eq!(addressee(&mut fleet, &from_other), Err(None));
    assert_eq!(addressee(&mut fleet, &to_group), Err(None));

    fleet.reconfigure(T0, id, unicast(vec![peer(21)])).unwrap();
    assert_eq!(addressee(&mut fleet, &from_peer), Err(None));
    assert_eq!(addressee(&mut fleet, &from_other), Ok(id));
    fleet.reconfigure(T0, id, member(1, 100)).unwrap();
    assert_eq!(addressee(&mut fleet, &from_other), Err(None));
    fleet.reconfigure(T0, id, unicast(vec![peer(21)])).unwrap();
    fleet.remove(T0, id).unwrap();
    assert_eq!(addressee(&mut fleet, &from_other), Err(None));
}

#[test]
fn amb_26_of_two_routers_with_the_same_peer_the_addressed_one_receives_it() {
    let mut fleet = VrrpRouter::new();
    let unicast = |interface| Member {
        transport: MessageTransport::Unicast {
            peers: vec![Peer::new([203, 0, 113, 20].into()).with_min_ttl(1)],
        },
        ..member(interface, 100)
    };
    let ids = [
        unicast(1),
        unicast(2),
        // This router uses multicast.
        member(3, 100),
    ]
    .map(|member| fleet.add(T0, member).unwrap());
    let addresses = [[192, 0, 2, 1], [198, 51, 100, 2], [10, 0, 0, 3]];
    for (id, address) in ids.into_iter().zip(addresses) {
        fleet.startup(T0, id, address.into()).unwrap();
    }
    let find = |interface, destination: [u8; 4]| {
        let endpoints = Endpoints::new([203, 0, 113, 20].into(), destination.into()).unwrap();
        let ip = IpHeader { endpoints, ttl: 64 };
        fleet.addressee(interface, &ip, &message(51, 200, &endpoints))
    };
    for interface in 1..=4 {
        assert_eq!(find(interface, addresses[0]), Some(ids[0]));
        assert_eq!(find(interface, addresses[1]), Some(ids[1]));
    }
    // To another address of the host: first the router on the interface, then any that knows the
    // peer.
    let other = [192, 0, 2, 99];
    let found = [1, 2, 3, 4].map(|interface| find(interface, other));
    assert_eq!(found, [ids[0], ids[1], ids[2], ids[0]].map(Some));
}

#[test]
fn a_packet_is_accepted_by_the_verification_of_its_router() {
    let mut fleet = VrrpRouter::new();
    let id = fleet.add(T0, member(1, 100)).unwrap();
    fleet.startup(T0, id, [192, 0, 2, 11].into()).unwrap();
    let ip = multicast();
    let octets = message(51, 200, &ip.endpoints);
    let fault = vrrp_proto::AuthenticationFault::Digest;
    let rejected = fleet
        .handle_packet_for(T0, Some(id), &ip, &octets, Protection::Failed(fault))
        .unwrap_err();
    assert_eq!(rejected.router, Some(id));
    assert_eq!(rejected.discard, Discard::Authentication(fault));
    let (addressee, received) = fleet
        .handle_packet_for(T0, Some(id), &ip, &octets, Protection::None)
        .unwrap();
    assert_eq!((addressee, received.priority()), (id, Priority::new(200)));

    fleet.remove(T0, id).unwrap();
    for gone in [Some(id), None] {
        let rejected = fleet
            .handle_packet_for(T0, gone, &ip, &octets, Protection::None)
            .unwrap_err();
        assert_eq!(rejected.router, None);
    }
    assert_eq!(fleet.packet_errors().vrid_errors, 2);
}

proptest! {
    /// After any additions and removals in any order, a key finds its own router or none.
    #[test]
    fn s_01_a_key_finds_its_router_whatever_came_and_went(
        changes in vec((1_u32..4, 1_u8..=255, any::<bool>(), any::<bool>()), 0..300),
        few in any::<bool>(),
    ) {
        let mut fleet = VrrpRouter::new();
        let mut known: BTreeMap<RouterKey, _> = BTreeMap::new();
        for (interface, vrid, is_ipv6, adds) in changes {
            let vrid = if few { 250 + vrid % 6 } else { vrid };
            let mut config = config(vrid, 100);
            config.family = if is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
            let member = Member::new(interface, config);
            let key = member.key();
            match known.get(&key) {
                Some(id) if !adds => {
                    fleet.remove(T0, *id).unwrap();
                    known.remove(&key);
                    while fleet.poll_action().is_some() {}
                }
                Some(_) => prop_assert!(matches!(fleet.add(T0, member), Err(FleetError::KeyTaken(_)))),
                None => {
                    known.insert(key, fleet.add(T0, member).unwrap());
                }
            }
            for (key, id) in &known {
                prop_assert_eq!(fleet.find(key), Some(*id));
            }
            let neighbours = [vrid.wrapping_sub(1), vrid.wrapping_add(1), 1, 255];
            for vrid in neighbours.into_iter().filter_map(Vrid::new) {
                let key = RouterKey { vrid, ..key };
                prop_assert_eq!(fleet.find(&key), known.get(&key).copied());
            }
        }
    }
}
