//! Every kind of service with every scheduler, every destination with every method: made, read back
//! equal, each field changed alone, deleted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::with;
use ipvs_netlink::{
    Client, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Netmask,
    Persistence, PersistenceEngine, PrefixLength, Scheduler, SchedulerFlags, Service, ServiceKey,
    Thresholds, Tunnel, Weight, message::Change,
};
use vrrp_lab::{GuestTest, Kernel, guest_tests};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        tcp_services_are_read_back_as_they_were_written,
        udp_services_are_read_back_as_they_were_written,
        sctp_services_are_read_back_as_they_were_written,
        services_of_firewall_marks_are_read_back_as_they_were_written,
        destinations_of_every_kind_of_service_are_read_back_as_they_were_written,
        a_mark_serves_one_service_of_each_family,
        a_service_without_a_scheduler_is_read_back,
        the_widest_numbers_are_read_back,
        flags_of_other_programs_survive_an_update,
    ]
    .to_vec()
}

/// The schedulers that this kernel has: `twos` is not built for all.
fn schedulers() -> Vec<Scheduler> {
    let has_twos = Kernel::current().is_some_and(|kernel| kernel.name().contains("6_12"));
    Scheduler::ALL
        .into_iter()
        .filter(|scheduler| has_twos || *scheduler != Scheduler::TWOS)
        .collect()
}

fn virtual_address(family: Family) -> SocketAddr {
    match family {
        Family::V4 => (Ipv4Addr::new(192, 0, 2, 1), 443).into(),
        Family::V6 => ("2001:db8::1".parse::<Ipv6Addr>().unwrap(), 443).into(),
    }
}

fn real_address(family: Family, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()).into(),
    }
}

fn kinds(family: Family) -> [ServiceKey; 4] {
    let address = virtual_address(family);
    [
        ServiceKey::tcp(address),
        ServiceKey::udp(address),
        ServiceKey::sctp(address),
        ServiceKey::mark(7.try_into().unwrap(), family),
    ]
}

fn netmask(family: Family) -> Netmask {
    match family {
        Family::V4 => Netmask::V4([255, 255, 255, 0].into()),
        Family::V6 => Netmask::V6(PrefixLength::new(64).unwrap()),
    }
}

/// The service with each of its fields changed alone.
fn changed(service: Service) -> Vec<Service> {
    let family = service.key.family();
    let other = if service.scheduler == Scheduler::RR {
        Scheduler::WLC
    } else {
        Scheduler::RR
    };
    let persistent = |timeout, netmask| {
        let mut service = service;
        service
            .set_persistence(Persistence { timeout, netmask })
            .unwrap();
        service
    };
    let flags = |scheduler_flags| {
        with(service, |service| {
            service.scheduler_flags = scheduler_flags;
        })
    };
    vec![
        with(service, |service| {
            service.scheduler = other;
        }),
        flags(SchedulerFlags::FLAG_1),
        flags(SchedulerFlags::FLAG_2),
        flags(SchedulerFlags::FLAG_3),
        with(service, |service| {
            service.one_packet = true;
        }),
        with(service, |service| {
            service.persistence_engine = Some(PersistenceEngine::SIP);
        }),
        persistent(360, Netmask::host(family)),
        persistent(1800, Netmask::host(family)),
        persistent(1800, netmask(family)),
        service,
    ]
}

fn services_are_read_back_as_they_were_written(kind: usize) {
    let mut client = Client::open().unwrap();
    for family in [Family::V4, Family::V6] {
        let key = kinds(family)[kind];
        for scheduler in schedulers() {
            let service = Service::new(key, scheduler);
            client.add_service(service).unwrap();
            assert_eq!(client.service(key).unwrap().service, service);
            for changed in changed(service) {
                client.change(Change::UpdateService(changed)).unwrap();
                assert_eq!(client.service(key).unwrap().service, changed);
            }
            let listed = client.services().unwrap();
            assert_eq!(listed.len(), 1, "{listed:?}");
            assert_eq!(listed[0].service, service);
            client.delete_service(key).unwrap();
            assert!(client.service(key).unwrap_err().is_missing());
        }
    }
}

fn tcp_services_are_read_back_as_they_were_written() {
    services_are_read_back_as_they_were_written(0);
}

fn udp_services_are_read_back_as_they_were_written() {
    services_are_read_back_as_they_were_written(1);
}

fn sctp_services_are_read_back_as_they_were_written() {
    services_are_read_back_as_they_were_written(2);
}

fn services_of_firewall_marks_are_read_back_as_they_were_written() {
    services_are_read_back_as_they_were_written(3);
}

fn methods() -> Vec<ForwardingMethod> {
    let gue = |port: u16, checksum| Tunnel::Gue {
        port: port.try_into().unwrap(),
        checksum,
    };
    let tunnels = [
        Tunnel::IpIp,
        gue(6080, GueChecksum::None),
        gue(6081, GueChecksum::Full),
        gue(65535, GueChecksum::Remote),
        Tunnel::Gre { checksum: false },
        Tunnel::Gre { checksum: true },
    ];
    [
        ForwardingMethod::Masquerade,
        ForwardingMethod::Local,
        ForwardingMethod::DirectRoute,
        ForwardingMethod::Bypass,
    ]
    .into_iter()
    .chain(tunnels.map(ForwardingMethod::Tunnel))
    .collect()
}

fn only_destination(client: &mut Client, service: ServiceKey) -> Destination {
    let listed = client.destinations(service).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed[0].destination
}

fn destinations_of_every_kind_of_service_are_read_back_as_they_were_written() {
    let mut client = Client::open().unwrap();
    for family in [Family::V4, Family::V6] {
        for service in kinds(family) {
            client
                .add_service(Service::new(service, Scheduler::WRR))
                .unwrap();
            for family_of_destination in [Family::V4, Family::V6] {
                let address = real_address(family_of_destination, 1);
                for method in methods() {
                    let mixed = family_of_destination != family;
                    if mixed && !matches!(method, ForwardingMethod::Tunnel(_)) {
                        continue;
                    }
                    round_trip(
                        &mut client,
                        service,
                        DestinationKey {
                            address,
                            port: 8443,
                        },
                        method,
                    );
                }
            }
            client.delete_service(service).unwrap();
        }
    }
}

fn round_trip(
    client: &mut Client,
    service: ServiceKey,
    key: DestinationKey,
    method: ForwardingMethod,
) {
    let destination = Destination::new(key, method);
    client.add_destination(service, destination).unwrap();
    assert_eq!(only_destination(client, service), destination);
    let thresholds = |upper, lower| Thresholds::new(upper, lower).unwrap();
    let changed = [
        Destination {
            weight: 0.into(),
            ..destination
        },
        Destination {
            weight: 65535.into(),
            ..destination
        },
        Destination {
            thresholds: thresholds(100, 0),
            ..destination
        },
        Destination {
            thresholds: thresholds(100, 50),
            ..destination
        },
        destination,
    ];
    for changed in changed {
        client
            .change(Change::UpdateDestination {
                service,
                destination: changed,
            })
            .unwrap();
        assert_eq!(only_destination(client, service), changed);
    }
    // The method is not part of the key.
    if key.family() == service.family() {
        for forwarding in methods() {
            let changed = Destination {
                forwarding,
                ..destination
            };
            client
                .change(Change::UpdateDestination {
                    service,
                    destination: changed,
                })
                .unwrap();
            assert_eq!(only_destination(client, service), changed);
        }
    }
    client.delete_destination(service, key).unwrap();
    assert_eq!(client.destinations(service).unwrap(), []);
}

fn a_mark_serves_one_service_of_each_family() {
    let mut client = Client::open().unwrap();
    let services = [Family::V4, Family::V6].map(|family| {
        Service::new(
            ServiceKey::mark(9.try_into().unwrap(), family),
            Scheduler::RR,
        )
    });
    for service in services {
        client.add_service(service).unwrap();
        assert!(client.add_service(service).unwrap_err().already_exists());
    }
    for service in services {
        assert_eq!(client.service(service.key).unwrap().service, service);
    }
    client.delete_service(services[0].key).unwrap();
    assert_eq!(client.services().unwrap()[0].service, services[1]);
}

fn a_service_without_a_scheduler_is_read_back() {
    let mut client = Client::open().unwrap();
    let service = Service::new(
        ServiceKey::tcp(virtual_address(Family::V4)),
        Scheduler::NONE,
    );
    client.add_service(service).unwrap();
    assert_eq!(client.service(service.key).unwrap().service, service);
    client
        .update_service(service.key, |service| service.scheduler = Scheduler::RR)
        .unwrap();
    assert_eq!(
        client.service(service.key).unwrap().service.scheduler,
        Scheduler::RR
    );
}

fn the_widest_numbers_are_read_back() {
    let mut client = Client::open().unwrap();
    let mark = ServiceKey::mark(u32::MAX.try_into().unwrap(), Family::V4);
    client
        .add_service(Service::new(mark, Scheduler::RR))
        .unwrap();
    let key = ServiceKey::tcp(([255, 255, 255, 254], 65535));
    let mut service = Service::new(key, Scheduler::WLC);
    service
        .set_persistence(Persistence::new(Persistence::MAX_TIMEOUT, Family::V4))
        .unwrap();
    client.add_service(service).unwrap();
    assert_eq!(client.service(key).unwrap().service, service);
    let destination = Destination {
        weight: Weight::MAX,
        thresholds: Thresholds::new(i32::MAX.cast_unsigned(), i32::MAX.cast_unsigned()).unwrap(),
        ..Destination::new(
            DestinationKey::new(([10, 0, 0, 1], 65535)),
            ForwardingMethod::Masquerade,
        )
    };
    client.add_destination(key, destination).unwrap();
    assert_eq!(only_destination(&mut client, key), destination);
    assert_eq!(client.services().unwrap().len(), 2);
}

fn flags_of_other_programs_survive_an_update() {
    let mut client = Client::open().unwrap();
    let key = ServiceKey::tcp(virtual_address(Family::V4));
    let mut service = Service::new(key, Scheduler::SH);
    service.scheduler_flags = SchedulerFlags::SH_FALLBACK | SchedulerFlags::SH_PORT;
    service.one_packet = true;
    client.add_service(service).unwrap();
    client
        .update_service(key, |service| service.one_packet = false)
        .unwrap();
    let found = client.service(key).unwrap().service;
    assert_eq!(
        found,
        with(service, |service| {
            service.one_packet = false;
        })
    );
}
