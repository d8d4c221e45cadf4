//! A configuration as JSON, in the form of the oracle.

mod check;
mod form;
mod global;
mod instance;
mod virtual_server;

use std::time::Duration;

use serde_json::{Map, Value, json};

use self::form::{list, object};
use super::{
    Reading,
    complaint::{Complaint, Weight},
    configuration::{BfdInstance, CheckScript, CommandMatch, Configuration, TrackProcess},
    host::Host,
};

/// The output of `-t --format json`: `test` and `values` in the oracle's form, and under `advice`
/// the faults that keepalived silently accepts.
#[must_use]
pub fn report(reading: &Reading, host: &Host) -> Value {
    let (advice, complaints): (Vec<&Complaint>, Vec<&Complaint>) = reading
        .complaints
        .iter()
        .partition(|complaint| complaint.weight <= Weight::Advice);
    let show = |list: Vec<&Complaint>| -> Vec<Value> {
        list.into_iter()
            .map(|complaint| show_complaint(complaint, reading))
            .collect()
    };
    json!({
        "test": { "exit": reading.exit_status(), "complaints": show(complaints) },
        "values": values(&reading.configuration, host),
        "advice": show(advice),
    })
}

fn show_complaint(complaint: &Complaint, reading: &Reading) -> Value {
    let mut shown = Map::new();
    shown.insert("kind".into(), json!(complaint.kind));
    if let Some(place) = complaint.place {
        shown.insert("line".into(), json!(place.line));
        if place.file != 0
            && let Some(file) = reading.files.get(place.file)
        {
            shown.insert("file".into(), json!(file.path.display().to_string()));
        }
    }
    if let Some(token) = &complaint.token {
        shown.insert("token".into(), json!(token));
    }
    if let Some(object) = &complaint.object {
        shown.insert("object".into(), json!(object));
    }
    shown.insert("message".into(), json!(complaint.message));
    if let Some(help) = &complaint.help {
        shown.insert("help".into(), json!(help));
    }
    Value::Object(shown)
}

fn values(configuration: &Configuration, host: &Host) -> Value {
    let it = configuration;
    let files = list(&it.track_files, |file| {
        json!({
            "name": file.name,
            "file": file.path,
            "weight": file.weight,
            "reverse": file.is_reverse,
        })
    });
    let checkers: Vec<Value> =
        it.virtual_servers
            .iter()
            .flat_map(|server| {
                server.real_servers.iter().flat_map(move |real| {
                    real.checks.iter().map(move |check| (server, real, check))
                })
            })
            .map(|(server, real, check)| check::check(server, real, check))
            .collect();
    object(vec![
        ("global_defs", global::global(&it.global, it, host)),
        (
            "instances",
            list(&it.instances, |it| instance::instance(it, host)),
        ),
        ("sync_groups", list(&it.sync_groups, instance::group)),
        ("scripts", list(&it.scripts, check_script)),
        ("track_files", files),
        ("track_processes", list(&it.track_processes, process)),
        ("static", statics(it)),
        (
            "virtual_server_groups",
            list(&it.virtual_server_groups, virtual_server::service_group),
        ),
        (
            "virtual_servers",
            list(&it.virtual_servers, virtual_server::virtual_server),
        ),
        ("checkers", Value::Array(checkers)),
        ("bfd_instances", list(&it.bfd_instances, bfd)),
        (
            "ssl",
            if it.uses_tls {
                json!(["Using autogen SSL context"])
            } else {
                Value::Null
            },
        ),
    ])
}

/// Addresses, routes and rules outside all instances.
fn statics(it: &Configuration) -> Value {
    let mut statics = Vec::new();
    if !it.static_addresses.is_empty() {
        let default = it.global.text("default_interface").unwrap_or("eth0");
        let shown = list(&it.static_addresses, |address| {
            let interface = address.interface.as_deref().unwrap_or(default);
            json!(format!("{} set", address.describe(interface)))
        });
        statics.push(json!({ "static addresses": shown }));
    }
    if !it.static_routes.is_empty() {
        let shown = list(&it.static_routes, |route| {
            // keepalived looks for the interface of a route that it tracks.
            let place = if route.is_tracked {
                " [installed ifindex 0]"
            } else {
                ""
            };
            json!(format!("{}{place}", route.describe()))
        });
        statics.push(json!({ "static routes": shown }));
    }
    if !it.static_rules.is_empty() {
        let shown = list(&it.static_rules, |rule| json!(rule.describe()));
        statics.push(json!({ "static rules": shown }));
    }
    if !it.track_groups.is_empty() {
        let shown = list(&it.track_groups, |name| {
            json!(format!("Static Track Group = {name}"))
        });
        statics.push(json!({ "static track groups": shown }));
    }
    Value::Array(statics)
}

fn check_script(script: &CheckScript) -> Value {
    let seconds = |time: u64| match Duration::from_micros(time) {
        whole if whole.subsec_nanos() == 0 => json!(whole.as_secs()),
        fraction => json!(fraction.as_secs_f64()),
    };
    json!({
        "name": script.name,
        "argv": script.script.arguments,
        "interval_s": seconds(script.interval),
        "timeout_s": seconds(script.timeout),
        "weight": script.weight,
        "reverse": script.is_reverse,
        "rise": script.rise,
        "fall": script.fall,
        "insecure": false,
        "init_state": "unknown",
        "uid": script.script.account.uid,
        "gid": script.script.account.gid,
    })
}

fn process(process: &TrackProcess) -> Value {
    let delay = |time: i64| json!(format!("{}.{:06}s", time / 1_000_000, time % 1_000_000));
    let full_command = process.command_match != CommandMatch::Name;
    object(vec![
        ("name", json!(process.name)),
        ("process", json!(process.process.first())),
        (
            "parameters",
            match process.process.get(1..) {
                Some(parameters @ [_, ..]) => json!(parameters.join(" ")),
                _ => Value::Null,
            },
        ),
        (
            "param_match",
            match process.command_match {
                CommandMatch::Partial => json!("partial"),
                CommandMatch::Initial => json!("initial"),
                CommandMatch::Name | CommandMatch::Program | CommandMatch::Exact => Value::Null,
            },
        ),
        ("min_processes", json!(process.quorum)),
        ("max_processes", json!(process.quorum_max)),
        (
            "weight",
            if process.is_reverse {
                json!(format!("{} reverse", process.weight))
            } else {
                json!(process.weight)
            },
        ),
        ("terminate_delay", delay(process.terminate_delay)),
        ("fork_delay", delay(process.fork_delay)),
        ("full_command", json!(full_command.to_string())),
    ])
}

fn bfd(it: &BfdInstance) -> Value {
    let time = |time: i64| json!(format!("{time} us"));
    object(vec![
        ("name", json!(it.name)),
        ("neighbor_ip", json!(it.neighbor.to_string())),
        (
            "source_ip",
            it.source
                .map_or(Value::Null, |source| json!(source.to_string())),
        ),
        ("required_min_rx_interval", time(it.min_rx)),
        ("desired_min_tx_interval", time(it.min_tx)),
        ("desired_idle_tx_interval", time(it.idle_tx)),
        ("detection_multiplier", json!(it.multiplier)),
        ("ttl", json!(it.ttl)),
        ("max_hops", json!(it.max_hops)),
        ("passive", json!(it.is_passive.to_string())),
    ])
}
