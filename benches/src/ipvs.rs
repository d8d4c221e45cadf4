//! The table for the measurements: many services, each with some destinations.

pub mod bare;
pub mod codec;

use std::net::Ipv4Addr;

use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey, VirtualServer,
    Weight, message::Change,
};

/// Services of TCP with the scheduler wrr, and their destinations behind masquerading with weight
/// 1. No two share an address and a port.
#[must_use]
pub fn servers(services: u16, destinations: u16) -> Vec<VirtualServer> {
    let address = |first: u8, second: u8, number: u16| {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(first, second, high, low)
    };
    (0..services)
        .map(|service| VirtualServer {
            service: Service::new(
                ServiceKey::tcp((address(172, 16, service), 80)),
                Scheduler::WRR,
            ),
            destinations: (1..=destinations)
                .map(|destination| {
                    let [high, second] = destination.to_be_bytes();
                    let port = 8080 + u16::from(high);
                    let key = DestinationKey::new((address(10, second, service), port));
                    Destination::new(key, ForwardingMethod::Masquerade)
                })
                .collect(),
        })
        .collect()
}

/// The changes that fill an empty table: each service, followed by its destinations.
#[must_use]
pub fn additions(servers: &[VirtualServer]) -> Vec<Change> {
    servers
        .iter()
        .flat_map(|server| {
            let service = server.service.key;
            let destinations = server.destinations.iter();
            let destinations = destinations.map(move |&destination| Change::AddDestination {
                service,
                destination,
            });
            [Change::AddService(server.service)]
                .into_iter()
                .chain(destinations)
        })
        .collect()
}

/// Gives the first `count` destinations a weight, and returns the changes that do the same in the
/// kernel.
pub fn set_weight(servers: &mut [VirtualServer], count: usize, weight: Weight) -> Vec<Change> {
    servers
        .iter_mut()
        .flat_map(|server| {
            let service = server.service.key;
            let destinations = server.destinations.iter_mut();
            destinations.map(move |destination| (service, destination))
        })
        .take(count)
        .map(|(service, destination)| {
            destination.weight = weight;
            Change::UpdateDestination {
                service,
                destination: *destination,
            }
        })
        .collect()
}
