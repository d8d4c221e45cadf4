#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod configuration;
mod properties;
mod proxier;
mod reading;

use std::collections::BTreeSet;

use ipvs_netlink::{
    Scheduler,
    rules::{self, Form},
};

use super::*;

/// The node of most tests.
fn node() -> Node {
    Node {
        name: "here".into(),
        addresses: ["127.0.0.1", "::1", "192.0.2.10", "2001:db8::10", "fe80::1"]
            .map(|address| address.parse().unwrap())
            .into(),
    }
}

fn objects(yaml: &str) -> Objects {
    let mut objects = Objects::default();
    objects.apply(Change::Replace {
        source: "test".into(),
        objects: read_yaml(yaml).unwrap(),
    });
    objects
}

fn table(yaml: &str) -> WantedTable {
    translate(&objects(yaml), &node(), &Settings::default())
}

/// The services as ipvsadm saves them, in the order of the table.
fn lines(table: &WantedTable) -> Vec<String> {
    let servers = table.servers().map(std::slice::from_ref);
    let texts = servers.map(|server| rules::print(server, Form::Ipvsadm));
    let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.collect()
}

/// Checks the services that objects make, without problems.
#[track_caller]
fn assert_table(yaml: &str, expected: &[&str]) {
    let table = table(yaml);
    assert_eq!(*table.problems(), BTreeSet::new());
    assert_eq!(lines(&table), expected);
}

/// The addresses on the interface.
fn addresses(table: &WantedTable) -> Vec<String> {
    table.addresses().iter().map(ToString::to_string).collect()
}

/// A Service `default/web` with a spec in YAML of one line.
fn service(spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\nspec: {spec}\n"
    )
}

/// A slice of `default/web` with endpoints in YAML of one line each, and a port 8080 without a
/// name.
fn slice(name: &str, endpoints: &[&str]) -> String {
    let mut text = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}, namespace: default, labels: {{kubernetes.io/service-name: web}}}}\n\
         addressType: IPv4\nports: [{{port: 8080, protocol: TCP}}]\nendpoints:\n"
    );
    for endpoint in endpoints {
        text.push_str("- ");
        text.push_str(endpoint);
        text.push('\n');
    }
    text
}

const CLUSTER_IP: &str = "{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{port: 80}]}";
