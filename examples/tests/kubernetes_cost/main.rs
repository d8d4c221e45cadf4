//! The work for a change of a cluster depends on the change, not on the size of the cluster. It is
//! counted in allocations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use allocation_counter::{AllocationInfo, measure};
use ipvs_netlink::ServiceKey;
use serde_json::json;
use vrrp_examples::kubernetes::{
    Change, Differences, Node, Object, ObjectKey, ObjectKind, Objects, Settings, WantedTable,
};

/// Endpoints of each Service.
const ENDPOINTS: u8 = 10;

/// Services in each file.
const IN_A_FILE: u16 = 100;

const SIZES: [u16; 2] = [200, 4_000];

fn service(number: u16) -> Object {
    let [high, low] = number.to_be_bytes();
    let value = json!({
        "kind": "Service", "apiVersion": "v1",
        "metadata": {"name": format!("s{number:05}"), "namespace": "default"},
        "spec": {"clusterIP": format!("172.16.{high}.{low}"), "ports": [{"port": 80}]},
    });
    Object::from_value(value).unwrap().unwrap()
}

fn slice(number: u16, first: u8) -> Object {
    let [high, low] = number.to_be_bytes();
    let name = format!("s{number:05}");
    let endpoints: Vec<_> = (first..first + ENDPOINTS)
        .map(|endpoint| json!({"addresses": [format!("10.{endpoint}.{high}.{low}")]}))
        .collect();
    let value = json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": endpoints,
    });
    Object::from_value(value).unwrap().unwrap()
}

/// The objects of a file. The first Service of the file has endpoints from `first` on.
fn file(number: u16, first: u8) -> Change {
    let services = number * IN_A_FILE..(number + 1) * IN_A_FILE;
    let start = services.start;
    let objects = services.flat_map(|it| {
        let first = if it == start { first } else { 1 };
        [service(it), slice(it, first)]
    });
    Change::Replace {
        source: format!("{number:05}.json"),
        objects: objects.collect(),
    }
}

fn key(number: u16) -> ServiceKey {
    let [high, low] = number.to_be_bytes();
    ServiceKey::tcp(([172, 16, high, low], 80))
}

/// A cluster whose table is up to date.
struct Cluster {
    objects: Objects,
    table: WantedTable,
    node: Node,
}

impl Cluster {
    fn new(services: u16) -> Self {
        let mut new = Self {
            objects: Objects::default(),
            table: WantedTable::new(Settings::default()),
            node: Node::default(),
        };
        for number in 0..services / IN_A_FILE {
            assert!(new.objects.apply(file(number, 1)));
        }
        new.update();
        assert_eq!(new.table.servers().len(), usize::from(services));
        new
    }

    fn update(&mut self) -> Differences {
        self.table.update(&mut self.objects, &self.node)
    }

    /// Applies a change, and counts its work.
    #[track_caller]
    fn cost(&mut self, change: Change, services: &[ServiceKey]) -> AllocationInfo {
        let mut differences = Differences::default();
        let cost = measure(|| {
            self.objects.apply(change);
            differences = self.update();
        });
        assert_eq!(differences.services, services);
        cost
    }
}

fn put(object: Object) -> Change {
    Change::Put {
        source: "00000.json".into(),
        object,
    }
}

fn delete(kind: ObjectKind, number: u16) -> Change {
    Change::Delete {
        source: "00000.json".into(),
        object: ObjectKey {
            kind,
            namespace: "default".into(),
            name: format!("s{number:05}"),
        },
    }
}

/// Checks that a cost is the same in clusters of all sizes.
#[track_caller]
fn assert_equal(costs: [AllocationInfo; 2]) {
    let counts = costs.map(|cost| cost.count_total);
    assert!(counts[0] > 0);
    assert_eq!(counts[0], counts[1]);
    let octets = costs.map(|cost| cost.bytes_total);
    assert_eq!(octets[0], octets[1]);
}

#[test]
fn one_changed_slice_costs_the_same_in_a_cluster_of_any_size() {
    assert_equal(SIZES.map(|size| Cluster::new(size).cost(put(slice(7, 30)), &[key(7)])));
}

#[test]
fn one_changed_slice_in_a_file_costs_the_same_in_a_cluster_of_any_size() {
    assert_equal(SIZES.map(|size| Cluster::new(size).cost(file(1, 30), &[key(IN_A_FILE)])));
}

#[test]
fn a_file_without_a_difference_costs_the_same_in_a_cluster_of_any_size() {
    assert_equal(SIZES.map(|size| Cluster::new(size).cost(file(1, 1), &[])));
}

#[test]
fn a_new_service_and_a_removed_one_cost_the_same_in_a_cluster_of_any_size() {
    /// Nodes that a tree may split.
    const SPLITS: u64 = 16;
    let costs = SIZES.map(|size| {
        let mut cluster = Cluster::new(size);
        let added = cluster.cost(put(service(60_000)), &[key(60_000)]);
        let removed = cluster.cost(delete(ObjectKind::Service, 7), &[key(7)]);
        [added, removed].map(|cost| cost.count_total)
    });
    for (small, large) in costs[0].into_iter().zip(costs[1]) {
        assert!(small.abs_diff(large) <= SPLITS, "{costs:?}");
    }
}

/// Ten times the Services cost at most eleven times the allocations.
#[test]
fn the_first_update_is_linear_in_the_number_of_services() {
    let costs = [400, 4_000].map(|services| measure(|| drop(Cluster::new(services))));
    let counts = costs.map(|cost| cost.count_total);
    assert!(counts[1] <= counts[0] * 11, "{counts:?}");
}
