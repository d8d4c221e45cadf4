//! A plan for 10,000 services with 10 destinations each, beside a walk that looks every key up
//! once.
//!
//! `cargo bench -p vrrp-benches --bench plan [-- --quick]`

use std::{
    collections::HashMap,
    hint::black_box,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, ListedDestination, ListedService, Scheduler,
    Service, ServiceKey, Stats, Table, TableEntry, VirtualServer,
    plan::{Draining, Plan, Policy, Wanted, plan},
};
use vrrp_benches::{is_quick, median};

const POLICY: Policy = Policy::AT_ONCE;

fn wanted(services: u16, destinations: u8) -> Vec<VirtualServer> {
    (0..services)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let key = ServiceKey::tcp(([10, 1, high, low], 80));
            let server = |host| {
                let key = DestinationKey::new(([10, 2, 0, host], 80));
                Destination::new(key, ForwardingMethod::Masquerade)
            };
            VirtualServer {
                service: Service::new(key, Scheduler::WRR),
                destinations: (1..=destinations).map(server).collect(),
            }
        })
        .collect()
}

fn listed(servers: &[VirtualServer]) -> Table {
    let destination = |destination: &Destination| ListedDestination {
        destination: *destination,
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        unknown: Vec::new(),
    };
    let entry = |server: &VirtualServer| TableEntry {
        service: ListedService {
            service: server.service,
            stats: Stats::default(),
            unknown: Vec::new(),
        },
        destinations: server.destinations.iter().map(destination).collect(),
    };
    Table {
        entries: servers.iter().map(entry).collect(),
        ..Table::default()
    }
}

fn planned(table: &Table, desired: &[VirtualServer]) -> Plan {
    let none = Draining::default();
    plan(table, Wanted::new(desired), &POLICY, &none, Duration::ZERO)
}

/// The least work of any planner: finding every object of one table in the other.
fn floor(table: &Table, desired: &[VirtualServer]) -> usize {
    let services: HashMap<_, _> = table
        .entries
        .iter()
        .map(|entry| (entry.service.service.key, entry))
        .collect();
    desired
        .iter()
        .filter_map(|server| Some((server, services.get(&server.service.key)?)))
        .map(|(server, entry)| {
            let there: HashMap<_, _> = entry
                .destinations
                .iter()
                .map(|listed| (listed.destination.key, listed.destination))
                .collect();
            server
                .destinations
                .iter()
                .filter(|destination| there.get(&destination.key) == Some(destination))
                .count()
        })
        .sum()
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn main() {
    let rounds = if is_quick() { 5 } else { 51 };
    println!("services x 10   differences   plan ms   floor ms   plan/floor   ns/object   steps");
    for services in [1_000, 10_000] {
        for differences in [0, 1, 1_000] {
            let desired = wanted(services, 10);
            let mut before = desired.clone();
            for server in before.iter_mut().take(differences) {
                server.destinations[3].weight = 9.into();
            }
            let table = listed(&before);
            let (mut plans, mut floors) = (Vec::new(), Vec::new());
            let mut steps = 0;
            for _ in 0..rounds {
                plans.push(milliseconds(|| {
                    steps = black_box(planned(&table, &desired)).steps.len();
                }));
                floors.push(milliseconds(|| {
                    black_box(floor(&table, &desired));
                }));
            }
            let ratio = median(
                plans
                    .iter()
                    .zip(&floors)
                    .map(|(plan, floor)| plan / floor)
                    .collect(),
            );
            let plan = median(plans);
            println!(
                "{services:>8}        {differences:>11}   {plan:>7.2}   {:>8.2}   {ratio:>10.2}   {:>9.0}   {steps:>5}",
                median(floors),
                plan * 1e6 / (f64::from(services) * 11.0),
            );
        }
    }
}
