use std::net::Ipv4Addr;

use ipvs_netlink::{
    ListedDestination, ListedService, Stats, Table, TableEntry,
    plan::{Draining, Policy, Wanted, plan},
};
use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::*;

/// The text of an object with random parts, in a small space so that objects clash.
fn arbitrary_service() -> impl Strategy<Value = String> {
    let policy = || prop_oneof![Just("Cluster"), Just("Local")];
    let port = (
        80..82_u16,
        prop_oneof![Just(0), 30_080..30_082_u16],
        any::<bool>(),
    )
        .prop_map(|(port, node_port, is_udp)| {
            let protocol = if is_udp { "UDP" } else { "TCP" };
            format!("{{name: p{port}, port: {port}, protocol: {protocol}, nodePort: {node_port}}}")
        });
    (
        0..4_u8,
        prop_oneof![Just("ClusterIP"), Just("NodePort"), Just("LoadBalancer")],
        vec(port, 0..3),
        subsequence(vec!["203.0.113.5", "192.0.2.10", "2001:db8::5", "wrong"], 0..=3),
        (policy(), policy()),
        any::<bool>(),
    )
        .prop_map(|(number, kind, ports, external, (inside, outside), affinity)| {
            let affinity = if affinity { "ClientIP" } else { "None" };
            service(&format!(
                "{{type: {kind}, clusterIP: 10.96.0.{number}, clusterIPs: [10.96.0.{number}, 'fd00::{number}'], \
                 ports: [{}], externalIPs: [{}], internalTrafficPolicy: {inside}, \
                 externalTrafficPolicy: {outside}, sessionAffinity: {affinity}}}",
                ports.join(", "),
                external.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", "),
            ))
            .replace("name: web", &format!("name: s{number}"))
        })
}

fn arbitrary_slice() -> impl Strategy<Value = String> {
    let condition = || prop_oneof![Just("null"), Just("true"), Just("false")];
    let endpoint = (
        (any::<bool>(), 1..6_u8),
        any::<bool>(),
        (condition(), condition(), condition()),
    )
        .prop_map(|((is_v4, host), is_here, (ready, serving, terminating))| {
            let address = if is_v4 {
                format!("10.1.0.{host}")
            } else {
                format!("fd00:1::{host}")
            };
            let node = if is_here { "here" } else { "elsewhere" };
            format!(
                "{{addresses: ['{address}'], nodeName: {node}, conditions: {{ready: {ready}, \
                 serving: {serving}, terminating: {terminating}}}}}"
            )
        });
    (0..4_u8, 0..6_u8, any::<bool>(), vec(endpoint, 0..5)).prop_map(
        |(service, number, is_v4, endpoints)| {
            let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
            slice(&format!("e{number}"), &endpoints)
                .replace("service-name: web", &format!("service-name: s{service}"))
                .replace(
                    "addressType: IPv4",
                    if is_v4 {
                        "addressType: IPv4"
                    } else {
                        "addressType: IPv6"
                    },
                )
                .replace(
                    "[{port: 8080, protocol: TCP}]",
                    "[{name: p80, port: 8080}, {name: p81, port: 8081, protocol: UDP}]",
                )
        },
    )
}

fn arbitrary_objects() -> impl Strategy<Value = Vec<String>> {
    let object = prop_oneof![arbitrary_service(), arbitrary_slice()];
    vec(object, 0..12)
}

fn put(objects: &mut Objects, text: &str) {
    for object in read_yaml(text).unwrap() {
        objects.apply(Change::Put {
            source: "test".into(),
            object,
        });
    }
}

fn translated(texts: &[String]) -> WantedTable {
    let mut objects = Objects::default();
    for text in texts {
        put(&mut objects, text);
    }
    translate(&objects, &node(), &Settings::default())
}

/// The kernel's table after the services were made.
fn kernel(wanted: &WantedTable) -> Table {
    let entries = wanted.servers.iter().map(|server| TableEntry {
        service: ListedService {
            service: server.service,
            stats: Stats::default(),
            unknown: Vec::new(),
        },
        destinations: server
            .destinations
            .iter()
            .rev()
            .map(|destination| ListedDestination {
                destination: *destination,
                active_connections: 0,
                inactive_connections: 0,
                persistent_connections: 0,
                stats: Stats::default(),
                unknown: Vec::new(),
            })
            .collect(),
    });
    Table {
        entries: entries.collect(),
        ..Table::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing that is wanted contradicts itself, and the table is stable once it is made.
    #[test]
    fn the_planner_takes_every_table_and_finds_nothing_to_do_afterwards(texts in arbitrary_objects()) {
        let wanted = translated(&texts);
        let plan = |table: &Table| {
            let wanted = Wanted::new(&wanted.servers);
            plan(table, wanted, &Policy::default(), &Draining::default(), std::time::Duration::ZERO)
        };
        let first = plan(&Table::default());
        prop_assert_eq!(&first.rejected, &[]);
        let objects: usize = wanted.servers.iter().map(|server| 1 + server.destinations.len()).sum();
        prop_assert_eq!(first.steps.len(), objects);
        prop_assert_eq!(plan(&kernel(&wanted)).steps, []);
    }

    /// The order in which objects arrive does not count.
    #[test]
    fn the_same_objects_make_the_same_table(texts in arbitrary_objects(), seed in any::<u64>()) {
        let mut last: Vec<String> = Vec::new();
        // Of two versions of an object the later one counts, so each object stands once.
        let key = |text: &str| read_yaml(text).unwrap()[0].key().clone();
        for text in texts {
            last.retain(|other| key(other) != key(&text));
            last.push(text);
        }
        let expected = translated(&last);
        let middle = usize::try_from(seed % 13).unwrap().min(last.len());
        last.rotate_left(middle);
        prop_assert_eq!(&translated(&last), &expected);
        last.reverse();
        prop_assert_eq!(&translated(&last), &expected);
        prop_assert_eq!(expected.changed_since(&expected), []);
    }

    /// Every destination is an endpoint of the family, and every address on the interface has a
    /// service.
    #[test]
    fn families_match_and_addresses_have_services(texts in arbitrary_objects()) {
        let wanted = translated(&texts);
        let mut served = BTreeSet::new();
        for server in &wanted.servers {
            if let ipvs_netlink::ServiceKey::Address { address, .. } = server.service.key {
                served.insert(address);
            }
            for destination in &server.destinations {
                prop_assert_eq!(destination.key.family(), server.service.key.family());
                prop_assert_ne!(destination.key.address, Ipv4Addr::UNSPECIFIED);
            }
        }
        prop_assert!(wanted.addresses.is_subset(&served));
        prop_assert!(wanted.addresses.is_disjoint(&node().addresses));
        let unbound: BTreeSet<_> = served.difference(&wanted.addresses).copied().collect();
        prop_assert!(unbound.is_subset(&node().addresses), "{:?}", unbound);
    }

    /// Services that differ are exactly those that a partial synchronization has to read.
    #[test]
    fn the_changed_services_are_those_that_differ(
        before in arbitrary_objects(),
        after in arbitrary_objects(),
    ) {
        let (before, after) = (translated(&before), translated(&after));
        let changed: BTreeSet<_> = after.changed_since(&before).into_iter().collect();
        let all = before.servers.iter().chain(&after.servers);
        for key in all.map(|server| server.service.key) {
            let of = |table: &WantedTable| {
                table.servers.iter().find(|server| server.service.key == key).cloned()
            };
            prop_assert_eq!(changed.contains(&key), of(&before) != of(&after));
        }
    }
}
