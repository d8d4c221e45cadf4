use std::{collections::BTreeMap, net::Ipv4Addr};

use ipvs_netlink::{
    ListedDestination, ListedService, ServiceKey, Stats, Table, TableEntry, VirtualServer,
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
    put_from("test", objects, text);
}

fn put_from(source: &str, objects: &mut Objects, text: &str) {
    for object in read_yaml(text).unwrap() {
        objects.apply(Change::Put {
            source: source.into(),
            object,
        });
    }
}

fn objects_of(texts: &[String]) -> Objects {
    let mut objects = Objects::default();
    for text in texts {
        put(&mut objects, text);
    }
    objects
}

fn translated(texts: &[String]) -> WantedTable {
    translate(&objects_of(texts), &node(), &Settings::default())
}

/// The services of a table by key.
fn by_key(table: &WantedTable) -> BTreeMap<ServiceKey, VirtualServer> {
    let servers = table.servers();
    servers
        .map(|server| (server.service.key, server.clone()))
        .collect()
}

fn servers(table: &WantedTable) -> Vec<VirtualServer> {
    table.servers().cloned().collect()
}

/// A step in the life of a cluster. Sources are few, so that objects are in two of them.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, String),
    Delete(u8, String),
    Replace(u8, Vec<String>),
    /// The node gets or loses an address.
    Node(&'static str),
    Update,
}

fn arbitrary_step() -> impl Strategy<Value = Step> {
    let object = || prop_oneof![arbitrary_service(), arbitrary_slice()];
    let addresses = vec!["192.0.2.11", "203.0.113.5", "2001:db8::5", "10.96.0.1"];
    prop_oneof![
        4 => (0..3_u8, object()).prop_map(|(source, text)| Step::Put(source, text)),
        2 => (0..3_u8, object()).prop_map(|(source, text)| Step::Delete(source, text)),
        1 => (0..3_u8, vec(object(), 0..4)).prop_map(|(source, texts)| Step::Replace(source, texts)),
        1 => proptest::sample::select(addresses).prop_map(Step::Node),
        3 => Just(Step::Update),
    ]
}

fn take_step(step: &Step, objects: &mut Objects, node: &mut Node) {
    match step {
        Step::Put(source, text) => put_from(&source.to_string(), objects, text),
        Step::Delete(source, text) => {
            objects.apply(Change::Delete {
                source: source.to_string(),
                object: read_yaml(text).unwrap()[0].key().clone(),
            });
        }
        Step::Replace(source, texts) => {
            objects.apply(Change::Replace {
                source: source.to_string(),
                objects: texts
                    .iter()
                    .flat_map(|text| read_yaml(text).unwrap())
                    .collect(),
            });
        }
        Step::Node(address) => {
            let address = address.parse().unwrap();
            if !node.addresses.remove(&address) {
                node.addresses.insert(address);
            }
        }
        Step::Update => {}
    }
}

/// The kernel's table after the services were made.
fn kernel(wanted: &WantedTable) -> Table {
    let entries = wanted.servers().map(|server| TableEntry {
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
        let servers = servers(&wanted);
        let plan = |table: &Table| {
            let wanted = Wanted::new(&servers);
            plan(table, wanted, &Policy::default(), &Draining::default(), std::time::Duration::ZERO)
        };
        let first = plan(&Table::default());
        prop_assert_eq!(&first.rejected, &[]);
        let objects: usize = servers.iter().map(|server| 1 + server.destinations.len()).sum();
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
    }

    /// Every destination is an endpoint of the family, and every address on the interface has a
    /// service.
    #[test]
    fn families_match_and_addresses_have_services(texts in arbitrary_objects()) {
        let wanted = translated(&texts);
        let mut served = BTreeSet::new();
        for server in wanted.servers() {
            if let ServiceKey::Address { address, .. } = server.service.key {
                served.insert(address);
            }
            for destination in &server.destinations {
                prop_assert_eq!(destination.key.family(), server.service.key.family());
                prop_assert_ne!(destination.key.address, Ipv4Addr::UNSPECIFIED);
            }
        }
        prop_assert!(wanted.addresses().is_subset(&served));
        prop_assert!(wanted.addresses().is_disjoint(&node().addresses));
        let unbound: BTreeSet<_> = served.difference(wanted.addresses()).copied().collect();
        prop_assert!(unbound.is_subset(&node().addresses), "{:?}", unbound);
    }

    /// A table that is kept up to date is that of a translation from scratch, and reports exactly
    /// the services and the problems that differ.
    #[test]
    fn a_table_kept_up_to_date_is_the_one_from_scratch(steps in vec(arbitrary_step(), 0..24)) {
        let (mut objects, mut node) = (Objects::default(), node());
        let mut table = WantedTable::new(Settings::default());
        for step in steps.iter().chain([&Step::Update]) {
            take_step(step, &mut objects, &mut node);
            if !matches!(step, Step::Update) {
                continue;
            }
            let before = table.clone();
            let differences = table.update(&mut objects, &node);
            prop_assert_eq!(&table, &translate(&objects, &node, &Settings::default()));
            let (old, new) = (by_key(&before), by_key(&table));
            let keys: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
            let differing: Vec<_> =
                keys.into_iter().filter(|key| old.get(key) != new.get(key)).collect();
            prop_assert_eq!(differences.services, differing);
            let new_problems: Vec<_> =
                table.problems().difference(before.problems()).cloned().collect();
            prop_assert_eq!(differences.new_problems, new_problems);
            let solved = before.problems().difference(table.problems()).count();
            prop_assert_eq!(differences.solved_problems, solved);
            let destinations: usize = new.values().map(|server| server.destinations.len()).sum();
            prop_assert_eq!(table.destinations(), destinations);
        }
    }
}
