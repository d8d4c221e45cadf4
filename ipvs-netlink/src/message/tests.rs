//! The encodings of section "Attributes" of the kernel's interface, each with its traps, octet by
//! octet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    DaemonState, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Info,
    InterfaceName, ListedDestination, ListedService, MulticastGroup, Netmask, Persistence,
    PersistenceEngine, PrefixLength, Scheduler, SchedulerFlags, Service, ServiceKey, Stats,
    SyncDaemon, Thresholds, Timeouts, Tunnel, UnknownAttribute, Version, Weight, testing,
};

/// An attribute as the kernel writes it.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut octets = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    octets.extend(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

fn nest(kind: u16, inside: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &inside.concat())
}

fn encoded(request: impl Into<Request>) -> Vec<u8> {
    let request = request.into();
    let mut octets = vec![0; request.encoded_len()];
    assert_eq!(request.encode(&mut octets), octets.len());
    octets
}

/// The attributes of a nest that is the whole message or its `place`th part, by number.
fn inside(octets: &[u8], nest: u16) -> Vec<(u16, Vec<u8>)> {
    let read = |octets: &[u8]| -> Vec<(u16, Vec<u8>)> {
        attribute::attributes("test", octets)
            .map(|found| {
                found
                    .map(|found| (found.kind, found.value.to_vec()))
                    .unwrap()
            })
            .collect()
    };
    let top = read(octets);
    let (_, value) = top.iter().find(|(kind, _)| *kind == nest).unwrap();
    read(value)
}

fn value(octets: &[u8], nest: u16, kind: u16) -> Option<Vec<u8>> {
    inside(octets, nest)
        .into_iter()
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

const SERVICE: u16 = 1;
const DEST: u16 = 2;
const DAEMON: u16 = 3;

fn web() -> Service {
    Service::new(ServiceKey::tcp(([192, 0, 2, 1], 8080)), Scheduler::WRR)
}

fn server(forwarding: ForwardingMethod) -> Destination {
    Destination::new(DestinationKey::new(([10, 0, 0, 1], 80)), forwarding)
}

fn add(destination: Destination) -> Vec<u8> {
    encoded(Change::AddDestination {
        service: web().key,
        destination,
    })
}

#[test]
fn a_service_is_encoded_octet_by_octet() {
    let expected = nest(
        SERVICE,
        &[
            attribute(1, &2_u16.to_ne_bytes()),
            attribute(2, &6_u16.to_ne_bytes()),
            attribute(3, &[192, 0, 2, 1]),
            attribute(4, &8080_u16.to_be_bytes()),
            attribute(6, b"wrr\0"),
            attribute(7, &[0_u32.to_ne_bytes(), 0x3d_u32.to_ne_bytes()].concat()),
            attribute(8, &0_u32.to_ne_bytes()),
            attribute(9, &[255, 255, 255, 255]),
        ],
    );
    assert_eq!(encoded(Change::AddService(web())), expected);
    assert_eq!(encoded(Change::UpdateService(web())), expected);
}

#[test]
fn ports_are_in_network_order_and_those_of_the_sync_daemon_are_not() {
    assert_eq!(
        value(&encoded(Change::AddService(web())), SERVICE, 4).unwrap(),
        [0x1f, 0x90]
    );
    let gue = ForwardingMethod::Tunnel(Tunnel::Gue {
        port: 6080.try_into().unwrap(),
        checksum: GueChecksum::None,
    });
    assert_eq!(value(&add(server(gue)), DEST, 2).unwrap(), [0, 80]);
    assert_eq!(value(&add(server(gue)), DEST, 14).unwrap(), [0x17, 0xc0]);

    let mut daemon = SyncDaemon::new(DaemonState::Master, InterfaceName::new("eth0").unwrap(), 1);
    daemon.port = Some(8848);
    assert_eq!(
        value(&encoded(Change::StartDaemon(daemon)), DAEMON, 7).unwrap(),
        8848_u16.to_ne_bytes()
    );
}

#[test]
fn a_netmask_is_a_mask_in_network_order_or_a_prefix_length_in_host_order() {
    let mut v4 = web();
    let netmask = Netmask::V4(Ipv4Addr::new(255, 255, 255, 0));
    v4.set_persistence(Persistence {
        timeout: 1800,
        netmask,
    })
    .unwrap();
    let octets = encoded(Change::AddService(v4));
    assert_eq!(value(&octets, SERVICE, 9).unwrap(), [255, 255, 255, 0]);
    assert_eq!(value(&octets, SERVICE, 8).unwrap(), 1800_u32.to_ne_bytes());

    let mut v6 = Service::new(ServiceKey::tcp((Ipv6Addr::LOCALHOST, 80)), Scheduler::RR);
    assert_eq!(
        value(&encoded(Change::AddService(v6)), SERVICE, 9).unwrap(),
        128_u32.to_ne_bytes()
    );
    let netmask = Netmask::V6(PrefixLength::new(64).unwrap());
    v6.set_persistence(Persistence {
        timeout: 300,
        netmask,
    })
    .unwrap();
    assert_eq!(
        value(&encoded(Change::AddService(v6)), SERVICE, 9).unwrap(),
        64_u32.to_ne_bytes()
    );
}

#[test]
fn flags_carry_a_mask_of_those_this_crate_knows() {
    let mut service = web();
    service.one_packet = true;
    service.scheduler_flags = SchedulerFlags::SH_FALLBACK | SchedulerFlags::FLAG_3;
    service
        .set_persistence(Persistence::new(60, Family::V4))
        .unwrap();
    let flags = value(&encoded(Change::AddService(service)), SERVICE, 7).unwrap();
    assert_eq!(flags[..4], (0x1_u32 | 0x4 | 0x8 | 0x20).to_ne_bytes());
    assert_eq!(flags[4..], 0x3d_u32.to_ne_bytes());
}

#[test]
fn a_firewall_mark_replaces_protocol_address_and_port() {
    let key = ServiceKey::mark(7.try_into().unwrap(), Family::V6);
    let expected = nest(
        SERVICE,
        &[
            attribute(1, &10_u16.to_ne_bytes()),
            attribute(5, &7_u32.to_ne_bytes()),
        ],
    );
    assert_eq!(encoded(Change::DeleteService(key)), expected);
}

#[test]
fn names_end_with_a_nul() {
    let mut service = web();
    service.scheduler = Scheduler::new("fifteen_letters").unwrap();
    service.persistence_engine = Some(PersistenceEngine::SIP);
    let octets = encoded(Change::AddService(service));
    assert_eq!(value(&octets, SERVICE, 6).unwrap(), b"fifteen_letters\0");
    assert_eq!(value(&octets, SERVICE, 11).unwrap(), b"sip\0");
    assert_eq!(
        value(&encoded(Change::AddService(web())), SERVICE, 11),
        None
    );
}

#[test]
fn a_destination_is_encoded_octet_by_octet_with_its_family() {
    let mut destination = server(ForwardingMethod::Masquerade);
    destination.weight = Weight::MAX;
    destination.thresholds = Thresholds::new(100, 50).unwrap();
    let expected = [
        nest(
            SERVICE,
            &[
                attribute(1, &2_u16.to_ne_bytes()),
                attribute(2, &6_u16.to_ne_bytes()),
                attribute(3, &[192, 0, 2, 1]),
                attribute(4, &8080_u16.to_be_bytes()),
            ],
        ),
        nest(
            DEST,
            &[
                attribute(1, &[10, 0, 0, 1]),
                attribute(2, &80_u16.to_be_bytes()),
                attribute(11, &2_u16.to_ne_bytes()),
                attribute(3, &0_u32.to_ne_bytes()),
                attribute(4, &0x7fff_ffff_u32.to_ne_bytes()),
                attribute(5, &100_u32.to_ne_bytes()),
                attribute(6, &50_u32.to_ne_bytes()),
            ],
        ),
    ]
    .concat();
    assert_eq!(add(destination), expected);
}

#[test]
fn a_tunnel_is_sent_whole_because_the_kernel_forgets_missing_attributes() {
    let tunnels = [
        (Tunnel::IpIp, 0, 0_u16, 0_u16),
        (
            Tunnel::Gue {
                port: 1.try_into().unwrap(),
                checksum: GueChecksum::None,
            },
            1,
            1,
            0,
        ),
        (
            Tunnel::Gue {
                port: 2.try_into().unwrap(),
                checksum: GueChecksum::Full,
            },
            1,
            2,
            1,
        ),
        (
            Tunnel::Gue {
                port: 3.try_into().unwrap(),
                checksum: GueChecksum::Remote,
            },
            1,
            3,
            2,
        ),
        (Tunnel::Gre { checksum: false }, 2, 0, 0),
        (Tunnel::Gre { checksum: true }, 2, 0, 1),
    ];
    for (tunnel, kind, port, flags) in tunnels {
        let octets = add(server(ForwardingMethod::Tunnel(tunnel)));
        assert_eq!(value(&octets, DEST, 3).unwrap(), 2_u32.to_ne_bytes());
        assert_eq!(value(&octets, DEST, 13).unwrap(), [kind]);
        assert_eq!(value(&octets, DEST, 14).unwrap(), port.to_be_bytes());
        assert_eq!(value(&octets, DEST, 15).unwrap(), flags.to_ne_bytes());
    }
}

#[test]
fn a_deleted_destination_is_named_with_its_family_which_may_differ_from_the_services() {
    let destination = DestinationKey::new((Ipv6Addr::LOCALHOST, 443));
    let octets = encoded(Change::DeleteDestination {
        service: web().key,
        destination,
    });
    assert_eq!(value(&octets, DEST, 11).unwrap(), 10_u16.to_ne_bytes());
    assert_eq!(inside(&octets, DEST).len(), 3);
}

#[test]
fn missing_settings_of_a_daemon_are_left_to_the_kernel() {
    let daemon = SyncDaemon::new(
        DaemonState::Backup,
        InterfaceName::new("eth0").unwrap(),
        255,
    );
    let expected = nest(
        DAEMON,
        &[
            attribute(1, &2_u32.to_ne_bytes()),
            attribute(2, b"eth0\0"),
            attribute(3, &255_u32.to_ne_bytes()),
        ],
    );
    assert_eq!(encoded(Change::StartDaemon(daemon)), expected);
}

#[test]
fn a_group_of_a_daemon_is_in_the_attribute_of_its_family() {
    let mut daemon = SyncDaemon::new(DaemonState::Master, InterfaceName::new("lo").unwrap(), 0);
    daemon.group = MulticastGroup::new(Ipv4Addr::new(239, 1, 2, 3)).ok();
    let octets = encoded(Change::StartDaemon(daemon));
    assert_eq!(value(&octets, DAEMON, 5).unwrap(), [239, 1, 2, 3]);
    assert_eq!(value(&octets, DAEMON, 6), None);
    daemon.group = MulticastGroup::new("ff02::81".parse::<Ipv6Addr>().unwrap()).ok();
    let octets = encoded(Change::StartDaemon(daemon));
    assert_eq!(value(&octets, DAEMON, 5), None);
    assert_eq!(value(&octets, DAEMON, 6).unwrap()[..2], [0xff, 0x02]);
}

/// A service as a kernel on x86-64 lists it, with statistics in 32 and in 64 bit.
fn listed_service(extra: &[Vec<u8>]) -> Vec<u8> {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[192, 0, 2, 1]);
    let mut parts = vec![
        attribute(1, &2_u16.to_ne_bytes()),
        attribute(2, &6_u16.to_ne_bytes()),
        attribute(3, &address),
        attribute(4, &80_u16.to_be_bytes()),
        attribute(6, b"wlc\0"),
        attribute(7, &[0x3_u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat()),
        attribute(8, &360_u32.to_ne_bytes()),
        attribute(9, &[255, 255, 255, 255]),
        nest(10, &stats32()),
    ];
    parts.extend_from_slice(extra);
    nest(SERVICE, &parts)
}

fn stats32() -> Vec<Vec<u8>> {
    let wide = |kind| kind == 4 || kind == 5;
    (1..=10_u16)
        .map(|kind| match kind {
            kind if wide(kind) => attribute(kind, &u64::from(kind).to_ne_bytes()),
            kind => attribute(kind, &u32::from(kind).to_ne_bytes()),
        })
        .collect()
}

/// Statistics in 64 bit with padding in front of every number, as kernels write them that want them
/// aligned.
fn stats64() -> Vec<Vec<u8>> {
    (1..=10_u16)
        .flat_map(|kind| {
            [
                attribute(11, &[]),
                attribute(kind, &(u64::from(u32::MAX) + u64::from(kind)).to_ne_bytes()),
            ]
        })
        .collect()
}

fn service_of(octets: &[u8]) -> ListedService {
    match Reply::decode(1, octets) {
        Ok(Reply::Service(listed)) => listed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_ipv4_address_is_in_the_first_four_of_sixteen_octets() {
    let listed = service_of(&listed_service(&[]));
    assert_eq!(listed.service.key, ServiceKey::tcp(([192, 0, 2, 1], 80)));
    assert_eq!(
        listed.service.persistence(),
        Some(Persistence::new(360, Family::V4))
    );
}

#[test]
fn the_kernels_own_flag_is_no_difference() {
    // 0x2 says that the service is hashed: it always is.
    assert_eq!(
        service_of(&listed_service(&[])).service.scheduler_flags,
        SchedulerFlags::NONE
    );
    assert!(!service_of(&listed_service(&[])).service.one_packet);
}

#[test]
fn statistics_in_64_bit_are_preferred_and_those_in_32_are_taken_where_there_are_no_others() {
    let listed = service_of(&listed_service(&[]));
    assert_eq!(
        (listed.stats.connections, listed.stats.incoming_bytes),
        (1, 4)
    );
    assert_eq!(listed.stats.rates.outgoing_bytes, 10);
    let listed = service_of(&listed_service(&[nest(12, &stats64())]));
    assert_eq!(listed.stats.connections, u64::from(u32::MAX) + 1);
    assert_eq!(listed.stats.rates.outgoing_bytes, u64::from(u32::MAX) + 10);
}

#[test]
fn padding_and_unaligned_numbers_of_64_bit_decode() {
    let octets = listed_service(&[nest(12, &stats64())]);
    // At any alignment of the whole.
    for offset in 0..8 {
        let mut shifted = vec![0; offset];
        shifted.extend(&octets);
        assert_eq!(
            service_of(&shifted[offset..]).stats.connections,
            u64::from(u32::MAX) + 1
        );
    }
}

#[test]
fn unknown_attributes_are_kept_apart() {
    let listed = service_of(&listed_service(&[attribute(99, &[1, 2, 3])]));
    assert_eq!(
        listed.unknown,
        [UnknownAttribute {
            kind: 99,
            value: vec![1, 2, 3]
        }]
    );
    assert_eq!(listed.service.scheduler, Scheduler::WLC);
}

#[test]
fn nests_are_read_with_and_without_their_flag() {
    let octets = listed_service(&[]);
    let mut bare = octets.clone();
    bare[2..4].copy_from_slice(&SERVICE.to_ne_bytes());
    assert_eq!(service_of(&bare), service_of(&octets));
}

#[test]
fn a_reply_that_is_cut_short_is_an_error_at_every_length() {
    let octets = listed_service(&[nest(12, &stats64()), attribute(11, b"sip\0")]);
    for length in 0..octets.len() {
        let result = Reply::decode(1, &octets[..length]);
        assert!(
            result.is_err(),
            "{length} of {} octets: {result:?}",
            octets.len()
        );
    }
}

#[test]
fn every_attribute_that_a_service_must_have_is_missed_by_its_number() {
    let octets = listed_service(&[]);
    for missing in [1, 2, 3, 4, 6, 7, 8, 9] {
        let rest: Vec<_> = inside(&octets, SERVICE)
            .into_iter()
            .filter(|(kind, _)| *kind != missing)
            .map(|(kind, value)| attribute(kind, &value))
            .collect();
        let error = Reply::decode(1, &nest(SERVICE, &rest)).unwrap_err();
        assert_eq!(
            error,
            DecodeError::Missing {
                object: "service",
                attribute: missing
            }
        );
    }
}

#[test]
fn a_service_of_another_protocol_is_an_error_that_names_it() {
    let rest: Vec<_> = inside(&listed_service(&[]), SERVICE)
        .into_iter()
        .map(|(kind, value)| {
            if kind == 2 {
                (2, 50_u16.to_ne_bytes().to_vec())
            } else {
                (kind, value)
            }
        })
        .map(|(kind, value)| attribute(kind, &value))
        .collect();
    let error = Reply::decode(1, &nest(SERVICE, &rest)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "service: attribute 2 is [50, 0]: neither TCP, UDP nor SCTP"
    );
}

#[test]
fn mark_zero_is_not_a_mark() {
    let key = nest(
        SERVICE,
        &[
            attribute(1, &2_u16.to_ne_bytes()),
            attribute(5, &0_u32.to_ne_bytes()),
        ],
    );
    assert!(matches!(
        Request::decode(3, &key),
        Err(DecodeError::Value { attribute: 5, .. })
    ));
}

fn listed_destination(family: u16, address: &[u8], extra: &[Vec<u8>]) -> Vec<u8> {
    let mut padded = [0; 16];
    padded[..address.len()].copy_from_slice(address);
    let mut parts = vec![
        attribute(1, &padded),
        attribute(2, &443_u16.to_be_bytes()),
        attribute(3, &2_u32.to_ne_bytes()),
        attribute(4, &70_000_u32.to_ne_bytes()),
        attribute(5, &0_u32.to_ne_bytes()),
        attribute(6, &0_u32.to_ne_bytes()),
        attribute(7, &1_u32.to_ne_bytes()),
        attribute(8, &2_u32.to_ne_bytes()),
        attribute(9, &3_u32.to_ne_bytes()),
        attribute(11, &family.to_ne_bytes()),
        nest(10, &stats32()),
        nest(12, &stats64()),
    ];
    parts.extend_from_slice(extra);
    nest(DEST, &parts)
}

fn destination_of(octets: &[u8]) -> ListedDestination {
    match Reply::decode(5, octets) {
        Ok(Reply::Destination(listed)) => listed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_destination_of_ipv6_keeps_its_address() {
    let address = "fd00:9::60".parse::<Ipv6Addr>().unwrap();
    let listed = destination_of(&listed_destination(10, &address.octets(), &[]));
    assert_eq!(listed.destination.key.address, IpAddr::V6(address));
}

#[test]
fn weights_and_counters_are_read_in_all_their_bits() {
    let listed = destination_of(&listed_destination(2, &[10, 0, 0, 1], &[]));
    assert_eq!(listed.destination.weight.get(), 70_000);
    let counts = (
        listed.active_connections,
        listed.inactive_connections,
        listed.persistent_connections,
    );
    assert_eq!(counts, (1, 2, 3));
    assert_eq!(listed.stats.connections, u64::from(u32::MAX) + 1);
}

#[test]
fn a_tunnel_of_a_kernel_that_knows_no_kinds_is_ip_in_ip() {
    let listed = destination_of(&listed_destination(2, &[10, 0, 0, 1], &[]));
    assert_eq!(
        listed.destination.forwarding,
        ForwardingMethod::Tunnel(Tunnel::IpIp)
    );
}

#[test]
fn tunnels_that_the_kernel_takes_unchecked_are_errors() {
    let tunnel = |kind: u8, port: u16, flags: u16| {
        [
            attribute(13, &[kind]),
            attribute(14, &port.to_be_bytes()),
            attribute(15, &flags.to_ne_bytes()),
        ]
    };
    for (kind, port, flags) in [(3, 1, 0), (1, 0, 0), (1, 1, 3), (2, 0, 2), (2, 0, 0xffff)] {
        let octets = listed_destination(2, &[10, 0, 0, 1], &tunnel(kind, port, flags));
        let result = Reply::decode(5, &octets);
        assert!(
            matches!(result, Err(DecodeError::Value { .. })),
            "{kind} {port} {flags}: {result:?}"
        );
    }
}

#[test]
fn a_destination_without_its_family_is_an_error_and_not_guessed() {
    let octets = listed_destination(0, &[10, 0, 0, 1], &[]);
    let error = Reply::decode(5, &octets).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Missing {
            object: "destination",
            attribute: 11
        }
    );
}

#[test]
fn info_says_its_version_in_three_octets() {
    let octets = [
        attribute(1, &0x01_02_01_u32.to_ne_bytes()),
        attribute(2, &4096_u32.to_ne_bytes()),
    ];
    let info = Info {
        version: Version {
            major: 1,
            minor: 2,
            patch: 1,
        },
        connection_table_size: 4096,
    };
    assert_eq!(Reply::decode(14, &octets.concat()), Ok(Reply::Info(info)));
    assert_eq!(info.version.to_string(), "1.2.1");
}

#[test]
fn a_timeout_that_a_client_leaves_out_is_left_as_it_is() {
    let octets = attribute(6, &30_u32.to_ne_bytes());
    let wanted = Timeouts {
        udp: 30,
        ..Timeouts::default()
    };
    assert_eq!(
        Request::decode(12, &octets),
        Ok(Change::SetTimeouts(wanted).into())
    );
    let missing = DecodeError::Missing {
        object: "message",
        attribute: 4,
    };
    assert_eq!(Reply::decode(12, &octets), Err(missing));
}

#[test]
fn all_seventeen_commands_have_a_number() {
    for number in 0..=u8::MAX {
        let command = Command::from_u8(number);
        assert_eq!(command.is_some(), (1..=17).contains(&number));
        assert!(command.is_none_or(|command| command as u8 == number));
    }
}

#[test]
fn a_buffer_that_is_too_short_is_written_as_far_as_it_goes() {
    let request = Request::from(Change::AddService(web()));
    for length in 0..request.encoded_len() {
        let mut short = vec![0; length];
        assert_eq!(request.encode(&mut short), request.encoded_len());
    }
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    any::<(u32, u32, u32)>().prop_map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp })
}

fn daemon() -> impl Strategy<Value = SyncDaemon> {
    let group = prop_oneof![
        any::<[u8; 3]>().prop_map(|[b, c, d]| IpAddr::from([239, b, c, d])),
        any::<u16>().prop_map(|last| IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, last])),
    ];
    let state = prop_oneof![Just(DaemonState::Master), Just(DaemonState::Backup)];
    (
        state,
        "[a-z0-9.]{1,15}",
        any::<u8>(),
        any::<Option<u16>>(),
        proptest::option::of(group),
        any::<Option<u16>>(),
        any::<Option<u8>>(),
    )
        .prop_map(
            |(state, interface, sync_id, max_length, group, port, ttl)| SyncDaemon {
                state,
                interface: InterfaceName::new(&interface).unwrap(),
                sync_id,
                max_length,
                group: group.and_then(|group| MulticastGroup::new(group).ok()),
                port,
                ttl,
            },
        )
}

fn request() -> impl Strategy<Value = Request> {
    let key = testing::service_key;
    let pair = || (key(), testing::destination());
    let change = prop_oneof![
        testing::service().prop_map(Change::AddService),
        testing::service().prop_map(Change::UpdateService),
        key().prop_map(Change::DeleteService),
        pair().prop_map(|(service, destination)| Change::AddDestination {
            service,
            destination
        }),
        pair().prop_map(|(service, destination)| Change::UpdateDestination {
            service,
            destination
        }),
        pair().prop_map(|(service, destination)| Change::DeleteDestination {
            service,
            destination: destination.key
        }),
        daemon().prop_map(Change::StartDaemon),
        Just(Change::StopDaemon(DaemonState::Backup)),
        timeouts().prop_map(Change::SetTimeouts),
        key().prop_map(Change::ZeroService),
        Just(Change::ZeroAll),
        Just(Change::Flush),
    ];
    let query = prop_oneof![
        key().prop_map(Query::Service),
        Just(Query::Services),
        key().prop_map(Query::Destinations),
        Just(Query::Daemons),
        Just(Query::Timeouts),
        Just(Query::Info),
    ];
    prop_oneof![3 => change.prop_map(Request::Change), 1 => query.prop_map(Request::Query)]
}

fn unknown() -> impl Strategy<Value = Vec<UnknownAttribute>> {
    let one = (100..200_u16, vec(any::<u8>(), 0..20))
        .prop_map(|(kind, value)| UnknownAttribute { kind, value });
    vec(one, 0..3)
}

fn reply() -> impl Strategy<Value = Reply> {
    let service =
        (testing::service(), testing::stats(), unknown()).prop_map(|(service, stats, unknown)| {
            ListedService {
                service,
                stats,
                unknown,
            }
        });
    let destination = (
        testing::destination(),
        any::<[u32; 3]>(),
        testing::stats(),
        unknown(),
    )
        .prop_map(
            |(destination, [active, inactive, persistent], stats, unknown)| ListedDestination {
                destination,
                active_connections: active,
                inactive_connections: inactive,
                persistent_connections: persistent,
                stats,
                unknown,
            },
        );
    let info = any::<(u8, u8, u8, u32)>().prop_map(|(major, minor, patch, size)| Info {
        version: Version {
            major,
            minor,
            patch,
        },
        connection_table_size: size,
    });
    prop_oneof![
        service.prop_map(Reply::Service),
        destination.prop_map(Reply::Destination),
        daemon().prop_map(Reply::Daemon),
        timeouts().prop_map(Reply::Timeouts),
        info.prop_map(Reply::Info),
    ]
}

proptest! {
    #[test]
    fn requests_come_back_as_they_went(request in request()) {
        let octets = encoded(request);
        prop_assert_eq!(Request::decode(request.command() as u8, &octets), Ok(request));
    }

    #[test]
    fn replies_come_back_as_they_went(reply in reply()) {
        let mut octets = vec![0; reply.encoded_len()];
        reply.encode(&mut octets);
        prop_assert_eq!(Reply::decode(reply.command() as u8, &octets), Ok(reply));
    }

    #[test]
    fn a_reply_with_an_octet_changed_never_panics(reply in reply(), at in any::<prop::sample::Index>(), octet: u8) {
        let mut octets = vec![0; reply.encoded_len()];
        reply.encode(&mut octets);
        let at = at.index(octets.len());
        octets[at] = octet;
        let _ = Reply::decode(reply.command() as u8, &octets);
    }

    #[test]
    fn a_cut_reply_is_never_a_service(service in testing::service(), cut in any::<prop::sample::Index>()) {
        let reply = Reply::Service(ListedService { service, stats: Stats::default(), unknown: Vec::new() });
        let mut octets = vec![0; reply.encoded_len()];
        reply.encode(&mut octets);
        prop_assert!(Reply::decode(1, &octets[..cut.index(octets.len())]).is_err());
    }
}
