//! Virtual servers with their groups and real servers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::form::{list, object, script, seconds};
use crate::keepalived_conf::{
    lvs::{Granularity, GroupEntry, RealServer, Service, ServiceGroup, VirtualServer},
    script::Script,
};

pub(super) fn service_group(it: &ServiceGroup) -> Value {
    let entries = list(&it.entries, |entry| match entry {
        GroupEntry::Addresses { first, last, port } if first == last => {
            json!(format!("VIP = {first}, VPORT = {port}"))
        }
        GroupEntry::Addresses { first, last, port } => {
            json!(format!("VIP Range = {first}-{last}, VPORT = {port}"))
        }
        GroupEntry::Mark { mark, .. } => json!(format!("FWMARK = {mark}")),
    });
    json!({ "name": it.name, "entries": entries })
}

pub(super) fn virtual_server(it: &VirtualServer) -> Value {
    let key = match &it.service {
        Service::Address(address, port) => format!("VS VIP = {address}, VPORT = {port}"),
        Service::Mark(mark) => format!("VS FWMARK = {mark}"),
        Service::Group(name) => format!("VS GROUP = [{name}]:0"),
    };
    let mut flags: Vec<&str> = it
        .flags
        .iter()
        .map(|flag| match (*flag, it.scheduler.as_str()) {
            ("ops", _) => "one packet scheduling",
            ("flag-1", "sh") => "sh-fallback",
            ("flag-1", "mh") => "mh-fallback",
            ("flag-2", "sh") => "sh-port",
            ("flag-2", "mh") => "mh-port",
            (flag, _) => flag,
        })
        .collect();
    let scripts = notify(&it.scripts, |word| match word {
        "quorum_up" => "quorum up",
        _ => "quorum down",
    });
    if it.ha_suspend {
        flags.push("Using HA suspend");
    }
    let protocol = it.protocol.unwrap_or("none");
    let sorry = it.sorry_server.as_ref();
    // Of one that is also a real server, the oracle takes the setting for that of the block.
    let duplicate = sorry.filter(|it| it.duplicates_real_server);
    object(vec![
        ("key", json!(key)),
        ("virtualhost", json!(it.virtualhost)),
        (
            "address_family",
            json!(if it.is_ipv6 { "inet6" } else { "inet" }),
        ),
        ("connect_timeout_s", seconds(it.defaults.connect_timeout)),
        ("delay_loop_s", seconds(it.defaults.delay_loop)),
        ("scheduler", json!(it.scheduler)),
        ("flags", json!(flags)),
        ("persistence_timeout_s", json!(it.persistence_timeout)),
        (
            "persistence_granularity",
            match it.persistence_granularity {
                Some(Granularity::Mask(mask)) => json!(mask.to_string()),
                Some(Granularity::Length(length)) => json!(length),
                None => Value::Null,
            },
        ),
        ("persistence_engine", json!(it.persistence_engine)),
        ("protocol", json!(protocol)),
        ("retry_count", json!(it.defaults.retries())),
        (
            "retry_delay",
            it.defaults.delay_before_retry.map_or(Value::Null, seconds),
        ),
        ("warmup", it.defaults.warmup.map_or(Value::Null, seconds)),
        ("notify", scripts),
        ("alpha", json!(it.is_alpha)),
        ("omega", json!(it.is_omega)),
        (
            "inhibit_on_failure",
            json!(duplicate.map_or(it.inhibits_on_failure, |it| it.inhibits)),
        ),
        ("quorum", json!(it.quorum)),
        ("hysteresis", json!(it.hysteresis)),
        ("smtp_alert", json!(it.smtp_alert)),
        ("method", json!(it.method.describe())),
        (
            match duplicate {
                Some(_) => "sorry_server_(duplicates_rs)",
                None => "sorry_server",
            },
            sorry.map_or(Value::Null, |sorry| {
                json!(format!(
                    "[{}]:{}:{}",
                    sorry.address,
                    protocol.to_ascii_lowercase(),
                    sorry.port
                ))
            }),
        ),
        (
            "sorry_server_method",
            sorry.map_or(Value::Null, |sorry| json!(sorry.method.describe())),
        ),
        (
            "sorry_server_inhibit",
            sorry.map_or(Value::Null, |sorry| json!(sorry.inhibits)),
        ),
        ("real_servers", list(&it.real_servers, real_server)),
    ])
}

fn real_server(it: &RealServer) -> Value {
    let scripts = notify(&it.scripts, |word| match word {
        "notify_up" => "rs up",
        _ => "rs down",
    });
    let mut flags = Vec::new();
    if !it.tracked_bfd.is_empty() {
        flags.push("Tracked BFDs".to_owned());
        flags.extend(it.tracked_bfd.iter().cloned());
    }
    if !it.tracked_files.is_empty() {
        flags.push("Tracked Files".to_owned());
        let files = it.tracked_files.iter();
        flags.extend(files.map(|it| format!("{}, weight {}", it.file.name, it.weight)));
    }
    object(vec![
        ("address", json!(it.address.to_string())),
        ("port", json!(it.port)),
        ("weight", json!(it.weight)),
        ("method", json!(it.method.describe())),
        ("alpha", json!(it.is_alpha)),
        ("connect_timeout_s", seconds(it.defaults.connect_timeout)),
        (
            "connection_limits",
            json!(format!("{} -> {}", it.lower_threshold, it.upper_threshold)),
        ),
        ("delay_loop_s", seconds(it.defaults.delay_loop)),
        ("inhibit_on_failure", json!(it.inhibits_on_failure)),
        (
            "virtualhost",
            it.virtualhost
                .as_ref()
                .map_or(Value::Null, |name| json!(format!("'{name}'"))),
        ),
        ("smtp_alert", json!(it.smtp_alert)),
        ("retry_count", json!(it.defaults.retries())),
        (
            "retry_delay",
            it.defaults.delay_before_retry.map_or(Value::Null, seconds),
        ),
        ("warmup", it.defaults.warmup.map_or(Value::Null, seconds)),
        ("notify", scripts),
        ("flags", json!(flags)),
    ])
}

fn notify(scripts: &BTreeMap<&'static str, Script>, label: impl Fn(&str) -> &'static str) -> Value {
    let shown = scripts
        .iter()
        .map(|(word, command)| (label(word).to_owned(), script(command)));
    Value::Object(shown.collect())
}
