//! Arbitrary tables, for property tests.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32},
};

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Netmask, Persistence,
    PersistenceEngine, PrefixLength, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey,
    Stats, Thresholds, Tunnel, VirtualServer, Weight, stats::Rates,
};

pub(crate) fn family() -> impl Strategy<Value = Family> {
    select(vec![Family::V4, Family::V6])
}

pub(crate) fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<Ipv4Addr>().prop_map(IpAddr::V4).boxed(),
        Family::V6 => any::<Ipv6Addr>().prop_map(IpAddr::V6).boxed(),
    }
}

pub(crate) fn service_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let by_address = (protocol, family().prop_flat_map(address), any::<u16>()).prop_map(
        |(protocol, address, port)| ServiceKey::Address {
            protocol,
            address,
            port,
        },
    );
    let by_mark =
        (any::<NonZeroU32>(), family()).prop_map(|(mark, family)| ServiceKey::mark(mark, family));
    prop_oneof![3 => by_address, 1 => by_mark]
}

pub(crate) fn scheduler() -> impl Strategy<Value = Scheduler> {
    let known = select(Scheduler::ALL.to_vec());
    let other = "[a-z][a-z0-9_-]{0,14}".prop_map(|name| Scheduler::new(&name).unwrap());
    prop_oneof![6 => known, 1 => other, 1 => Just(Scheduler::NONE)]
}

fn scheduler_flags() -> impl Strategy<Value = SchedulerFlags> {
    (0..8_u8).prop_map(SchedulerFlags::from_bits)
}

fn persistence(family: Family) -> impl Strategy<Value = Persistence> {
    let netmask = match family {
        Family::V4 => any::<Ipv4Addr>().prop_map(Netmask::V4).boxed(),
        Family::V6 => (1..=128_u8)
            .prop_map(|bits| Netmask::V6(PrefixLength::new(bits).unwrap()))
            .boxed(),
    };
    (0..=Persistence::MAX_TIMEOUT, netmask)
        .prop_map(|(timeout, netmask)| Persistence { timeout, netmask })
}

pub(crate) fn service() -> impl Strategy<Value = Service> {
    service_key()
        .prop_flat_map(|key| {
            let engine = option::of(select(vec![
                PersistenceEngine::SIP,
                PersistenceEngine::new("another_engine_1").unwrap(),
            ]));
            let persistence = option::of(persistence(key.family()));
            (
                Just(key),
                scheduler(),
                scheduler_flags(),
                any::<bool>(),
                engine,
                persistence,
            )
        })
        .prop_map(
            |(key, scheduler, scheduler_flags, one_packet, engine, persistence)| {
                let mut service = Service::new(key, scheduler);
                service.scheduler_flags = scheduler_flags;
                service.one_packet = one_packet;
                service.persistence_engine = engine;
                if let Some(persistence) = persistence {
                    service.set_persistence(persistence).unwrap();
                }
                service
            },
        )
}

pub(crate) fn forwarding_method() -> impl Strategy<Value = ForwardingMethod> {
    let gue_checksum = select(vec![
        GueChecksum::None,
        GueChecksum::Full,
        GueChecksum::Remote,
    ]);
    let tunnel = prop_oneof![
        Just(Tunnel::IpIp),
        (any::<NonZeroU16>(), gue_checksum)
            .prop_map(|(port, checksum)| Tunnel::Gue { port, checksum }),
        any::<bool>().prop_map(|checksum| Tunnel::Gre { checksum }),
    ];
    prop_oneof![
        Just(ForwardingMethod::Masquerade),
        Just(ForwardingMethod::Local),
        tunnel.prop_map(ForwardingMethod::Tunnel),
        Just(ForwardingMethod::DirectRoute),
        Just(ForwardingMethod::Bypass),
    ]
}

pub(crate) fn thresholds() -> impl Strategy<Value = Thresholds> {
    (0..=i32::MAX.cast_unsigned())
        .prop_flat_map(|upper| (Just(upper), 0..=upper))
        .prop_map(|(upper, lower)| Thresholds::new(upper, lower).unwrap())
}

/// A destination of any family: the other family needs a tunnel.
pub(crate) fn destination() -> impl Strategy<Value = Destination> {
    let key = (family().prop_flat_map(address), any::<u16>())
        .prop_map(|(address, port)| DestinationKey { address, port });
    let weight = (0..=Weight::MAX.get()).prop_map(|weight| Weight::new(weight).unwrap());
    (key, forwarding_method(), weight, thresholds()).prop_map(
        |(key, forwarding, weight, thresholds)| Destination {
            key,
            forwarding,
            weight,
            thresholds,
        },
    )
}

/// Up to this many services with up to this many destinations, every key once.
pub(crate) fn table(
    services: usize,
    destinations: usize,
) -> impl Strategy<Value = Vec<VirtualServer>> {
    table_of((service(), services), (destination(), destinations))
}

/// The same, from the given services and destinations.
pub(crate) fn table_of(
    (service, services): (impl Strategy<Value = Service>, usize),
    (destination, destinations): (impl Strategy<Value = Destination>, usize),
) -> impl Strategy<Value = Vec<VirtualServer>> {
    let server =
        (service, vec(destination, 0..=destinations)).prop_map(|(service, mut destinations)| {
            destinations.sort_unstable();
            destinations.dedup_by_key(|destination| destination.key);
            VirtualServer {
                service,
                destinations,
            }
        });
    vec(server, 0..=services).prop_map(|mut servers| {
        servers.sort_unstable_by_key(|server| server.service);
        servers.dedup_by_key(|server| server.service.key);
        servers
    })
}

pub(crate) fn stats() -> impl Strategy<Value = Stats> {
    let five = any::<[u64; 5]>();
    (five, five).prop_map(|(counters, rates)| Stats {
        connections: counters[0],
        incoming_packets: counters[1],
        outgoing_packets: counters[2],
        incoming_bytes: counters[3],
        outgoing_bytes: counters[4],
        rates: Rates {
            connections: rates[0],
            incoming_packets: rates[1],
            outgoing_packets: rates[2],
            incoming_bytes: rates[3],
            outgoing_bytes: rates[4],
        },
    })
}
