//! A configuration as JSON, in the form of the oracle.

mod global;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Reading,
    complaint::{Complaint, Weight},
    configuration::{
        BfdInstance, CheckScript, Configuration, Instance, SyncGroup, TrackProcess, Tracked,
    },
    host::{Account, Host},
    lvs::{Check, Detail, GroupEntry, RealServer, Service, ServiceGroup, VirtualServer},
    script::Script,
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

/// An object in which lists and objects without content are left out.
fn object(fields: Vec<(&str, Value)>) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let kept = fields.into_iter().filter(|(_, value)| !is_empty(value));
    Value::Object(kept.map(|(name, value)| (name.into(), value)).collect())
}

fn list<T>(items: &[T], show: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(show).collect())
}

/// Microseconds as seconds, whole ones as integers.
fn seconds(microseconds: i64) -> Value {
    if microseconds % 1_000_000 == 0 {
        return json!(microseconds / 1_000_000);
    }
    // As with %g of printf: six significant digits.
    let text = significant(microseconds);
    text.parse::<f64>()
        .map_or(Value::Null, |value| json!(value))
}

/// Microseconds as seconds with six significant digits.
fn significant(microseconds: i64) -> String {
    let whole = format!("{microseconds:07}");
    let (seconds, fraction) = whole.split_at(whole.len() - 6);
    let digits = if seconds == "0" {
        6
    } else {
        6_usize.saturating_sub(seconds.len())
    };
    format!("{seconds}.{}", fraction.get(..digits.min(6)).unwrap_or("0"))
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
            .map(|(server, real, check)| checker(server, real, check))
            .collect();
    object(vec![
        ("global_defs", global::global(&it.global, it, host)),
        ("instances", list(&it.instances, instance)),
        ("sync_groups", list(&it.sync_groups, group)),
        ("scripts", list(&it.scripts, check_script)),
        ("track_files", files),
        ("track_processes", list(&it.track_processes, process)),
        ("static", statics(it)),
        (
            "virtual_server_groups",
            list(&it.virtual_server_groups, service_group),
        ),
        ("virtual_servers", list(&it.virtual_servers, virtual_server)),
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
    json!({
        "name": script.name,
        "argv": script.script.arguments,
        "interval_s": script.interval,
        "timeout_s": script.timeout,
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
    let delay = |time: Option<i64>| {
        time.map_or(Value::Null, |time| {
            json!(format!("{}.{:06}s", time / 1_000_000, time % 1_000_000))
        })
    };
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
        ("param_match", json!(process.param_match)),
        ("min_processes", json!(process.quorum)),
        ("max_processes", json!(process.quorum_max)),
        ("weight", json!(process.weight)),
        ("terminate_delay", delay(process.terminate_delay)),
        ("fork_delay", delay(process.fork_delay)),
        ("full_command", json!(process.full_command.to_string())),
    ])
}

fn script(script: &Script) -> Value {
    json!({
        "argv": script.arguments,
        "uid": script.account.uid,
        "gid": script.account.gid,
    })
}

fn tracked(list_of: &[Tracked]) -> Value {
    list(list_of, |it| {
        let mut shown = json!({ "name": it.name, "weight": it.weight });
        if it.is_reverse
            && let Some(shown) = shown.as_object_mut()
        {
            shown.insert("reverse".into(), json!(true));
        }
        shown
    })
}

#[allow(clippy::too_many_lines, reason = "one field after the other")]
fn instance(it: &Instance) -> Value {
    let is_unicast = !it.peers.is_empty();
    let on = it.vmac.as_ref().map_or_else(
        || it.interface.clone(),
        |vmac| format!("{}@{}", vmac.device, it.interface),
    );
    let addresses = |addresses: &[super::address::Address]| {
        list(addresses, |address| {
            let interface = address.interface.as_deref().unwrap_or(&on);
            json!(address.describe(interface))
        })
    };
    let mut flags = Vec::new();
    if is_unicast {
        flags.push("Using unicast");
    } else if it.unicast_without_peers {
        flags.push("Unicast config option specified but using multicast");
    }
    if it.unicast_fault_no_peer {
        flags.push("If unicast go to fault state if no peers");
    }
    let notifies: Map<String, Value> = it
        .notifies
        .iter()
        .map(|(name, command)| ((*name).to_owned(), script(command)))
        .collect();
    // An instance that waits for the first result of a script loses its initial state MASTER.
    let waits = it.tracking.scripts.iter().any(|script| script.weight == 0);
    let starts_as_master = it.starts_as_master && !waits;
    object(vec![
        ("name", json!(it.name)),
        ("version", json!(it.version)),
        (
            "family",
            if it.is_ipv6 {
                json!("inet6")
            } else {
                Value::Null
            },
        ),
        ("flags", json!(flags)),
        ("sync_group", json!(it.sync_group)),
        (
            "initial_state",
            json!(if starts_as_master { "MASTER" } else { "BACKUP" }),
        ),
        ("interface", json!(it.interface)),
        (
            "vmac",
            it.vmac.as_ref().map_or(
                Value::Null,
                |vmac| json!({ "device": vmac.device, "xmit_base": vmac.transmits_from_parent }),
            ),
        ),
        (
            "vmac_mac",
            json!(it.vmac.as_ref().and_then(|vmac| vmac.own_address.as_ref())),
        ),
        (
            "strict_mode",
            if it.is_strict {
                json!(true)
            } else {
                Value::Null
            },
        ),
        (
            "skip_check_adv_addr",
            if it.skips_address_check {
                json!(true)
            } else {
                Value::Null
            },
        ),
        (
            "dont_track_primary",
            if it.dont_track_primary {
                json!(true)
            } else {
                Value::Null
            },
        ),
        (
            "src_ip",
            json!(
                it.source
                    .map_or("(none)".into(), |source| source.to_string())
            ),
        ),
        // keepalived 2.2.7 never prints it.
        ("src_ip_configured", json!(false)),
        (
            "multicast",
            if is_unicast {
                Value::Null
            } else {
                json!(it.multicast.to_string())
            },
        ),
        ("garp_master_delay", json!(it.garp.delay)),
        ("garp_master_repeat", json!(it.garp.repeat)),
        ("garp_master_refresh", json!(it.garp.refresh)),
        ("garp_master_refresh_repeat", json!(it.garp.refresh_repeat)),
        ("garp_lower_prio_delay", json!(it.garp.lower_prio_delay)),
        ("garp_lower_prio_repeat", json!(it.garp.lower_prio_repeat)),
        ("down_timer_adverts", json!(it.down_timer_adverts)),
        ("answer_lower_prio", json!(it.answers_lower_priority)),
        ("advert_before_yield", json!(it.advertises_before_yield)),
        ("virtual_router_id", json!(it.vrid)),
        ("priority", json!(it.priority)),
        ("advert_int_ms", json!(it.interval / 1000)),
        ("accept", json!(it.accept)),
        ("preempt", json!(it.preempt)),
        (
            "preempt_delay_s",
            if it.preempt_delay > 0 {
                seconds(it.preempt_delay)
            } else {
                Value::Null
            },
        ),
        ("promote_secondaries", json!(it.promote_secondaries)),
        (
            "auth_type",
            match (&it.authentication, it.version) {
                (Some((kind, _)), _) => json!(kind),
                (None, _) => json!("none"),
            },
        ),
        (
            "auth_pass",
            match &it.authentication {
                Some(("PASS", password)) => json!(password),
                _ => Value::Null,
            },
        ),
        ("virtual_ipaddress", addresses(&it.addresses)),
        ("virtual_ipaddress_excluded", addresses(&it.excluded)),
        (
            "unicast_ttl",
            match it.unicast_ttl {
                _ if !is_unicast => Value::Null,
                Some(ttl) => json!(ttl),
                None if it.is_ipv6 => Value::Null,
                None => json!(255),
            },
        ),
        (
            "check_unicast_src",
            if is_unicast {
                json!(it.check_unicast_source)
            } else {
                Value::Null
            },
        ),
        (
            "unicast_peer",
            list(&it.peers, |peer| {
                json!(format!(
                    "{} min_ttl {} max_ttl {}",
                    peer.address, peer.min_ttl, peer.max_ttl
                ))
            }),
        ),
        (
            "old_unicast_checksum",
            if is_unicast {
                json!(it.old_unicast_checksum)
            } else {
                Value::Null
            },
        ),
        (
            "virtual_routes",
            list(&it.routes, |route| json!(route.describe())),
        ),
        (
            "virtual_rules",
            list(&it.rules, |rule| json!(rule.describe())),
        ),
        ("track_interface", tracked(&it.tracking.interfaces)),
        ("track_script", tracked(&it.tracking.scripts)),
        ("track_file", tracked(&it.tracking.files)),
        ("track_process", tracked(&it.tracking.processes)),
        (
            "track_bfd",
            list(
                &it.tracking.bfd,
                |bfd| json!({ "name": format!("{}:", bfd.name), "weight": bfd.weight }),
            ),
        ),
        ("smtp_alert", json!(it.smtp_alert)),
        (
            "notify_deleted",
            json!(if it.notifies_deleted {
                "Deleted"
            } else {
                "Fault"
            }),
        ),
        ("notify", Value::Object(notifies)),
        ("notify_priority_changes", json!(it.notify_priority_changes)),
        (
            "other",
            object(vec![
                ("Debug level", text(it.debug)),
                ("Kernel rx buffer size", text(it.kernel_rx_buf_size)),
            ]),
        ),
        (
            "use_vmac_addr",
            if it.use_vmac_addr {
                json!(true)
            } else {
                Value::Null
            },
        ),
    ])
}

/// A number as text, as dumps have it.
fn text(number: Option<i64>) -> Value {
    number.map_or(Value::Null, |number| json!(number.to_string()))
}

fn group(it: &SyncGroup) -> Value {
    let notifies: Map<String, Value> = it
        .notifies
        .iter()
        .map(|(name, command)| ((*name).to_owned(), script(command)))
        .collect();
    object(vec![
        ("name", json!(it.name)),
        ("members", json!(it.members)),
        (
            "other",
            object(vec![
                (
                    "sync group tracking weight set",
                    if it.tracking_weight {
                        json!(true)
                    } else {
                        Value::Null
                    },
                ),
                (
                    "Notify priority changes",
                    if it.notify_priority_changes {
                        json!("yes")
                    } else {
                        Value::Null
                    },
                ),
            ]),
        ),
        ("smtp_alert", json!(it.smtp_alert)),
        ("tracked_interfaces", tracked(&it.tracking.interfaces)),
        ("tracked_scripts", tracked(&it.tracking.scripts)),
        ("tracked_files", tracked(&it.tracking.files)),
        ("tracked_processes", tracked(&it.tracking.processes)),
        ("tracked_bfds", tracked(&it.tracking.bfd)),
        ("notify", Value::Object(notifies)),
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

fn service_group(it: &ServiceGroup) -> Value {
    let entries = list(&it.entries, |entry| match entry {
        GroupEntry::Addresses { first, last, port } if first == last => {
            json!(format!("VIP = {first}, VPORT = {port}"))
        }
        GroupEntry::Addresses { first, last, port } => {
            json!(format!("VIP Range = {first}-{last}, VPORT = {port}"))
        }
        GroupEntry::Mark(mark) => json!(format!("FWMARK = {mark}")),
    });
    json!({ "name": it.name, "entries": entries })
}

fn virtual_server(it: &VirtualServer) -> Value {
    let key = match &it.service {
        Service::Address(address, port) => format!("VS VIP = {address}, VPORT = {port}"),
        Service::Mark(mark) => format!("VS FWMARK = {mark}"),
        Service::Group(name) => format!("VS GROUP = [{name}]:0"),
    };
    let mut flags: Vec<&str> = it
        .flags
        .iter()
        .map(|flag| {
            if *flag == "ops" {
                "one packet scheduling"
            } else {
                flag
            }
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
    object(vec![
        ("key", json!(key)),
        ("virtualhost", json!(it.virtualhost)),
        (
            "address_family",
            json!(if it.is_ipv6 { "inet6" } else { "inet" }),
        ),
        ("connect_timeout_s", seconds(it.connect_timeout)),
        ("delay_loop_s", seconds(it.delay_loop)),
        ("scheduler", json!(it.scheduler)),
        ("flags", json!(flags)),
        ("persistence_timeout_s", json!(it.persistence_timeout)),
        (
            "persistence_granularity",
            match it.persistence_granularity.as_deref() {
                Some(text) => text
                    .parse::<u8>()
                    .map_or(json!(text), |length| json!(length)),
                None => Value::Null,
            },
        ),
        ("persistence_engine", json!(it.persistence_engine)),
        ("protocol", json!(protocol)),
        ("retry_count", json!(it.retry)),
        (
            "retry_delay",
            it.delay_before_retry.map_or(Value::Null, seconds),
        ),
        ("warmup", it.warmup.map_or(Value::Null, seconds)),
        ("notify", scripts),
        ("alpha", json!(it.is_alpha)),
        ("omega", json!(it.is_omega)),
        ("inhibit_on_failure", json!(it.inhibits_on_failure)),
        ("quorum", json!(it.quorum)),
        ("hysteresis", json!(it.hysteresis)),
        ("smtp_alert", json!(it.smtp_alert)),
        ("method", json!(it.method.describe())),
        (
            "sorry_server",
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
        ("connect_timeout_s", seconds(it.connect_timeout)),
        (
            "connection_limits",
            json!(format!("{} -> {}", it.lower_threshold, it.upper_threshold)),
        ),
        ("delay_loop_s", seconds(it.delay_loop)),
        ("inhibit_on_failure", json!(it.inhibits_on_failure)),
        (
            "virtualhost",
            it.virtualhost
                .as_ref()
                .map_or(Value::Null, |name| json!(format!("'{name}'"))),
        ),
        ("smtp_alert", json!(it.smtp_alert)),
        ("retry_count", json!(it.retry)),
        (
            "retry_delay",
            it.delay_before_retry.map_or(Value::Null, seconds),
        ),
        ("warmup", it.warmup.map_or(Value::Null, seconds)),
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

#[allow(clippy::too_many_lines, reason = "one setting after the other")]
fn checker(server: &VirtualServer, real: &RealServer, check: &Check) -> Value {
    let protocol = server.protocol.unwrap_or("none").to_ascii_lowercase();
    let service = match &server.service {
        Service::Address(address, port) => format!("[{address}]:{protocol}:{port}"),
        Service::Mark(mark) => format!("FWM {mark}"),
        Service::Group(name) => format!("[{name}]:0"),
    };
    let time = |time: Option<i64>| time.map_or(Value::Null, seconds);
    let mut fields = vec![
        ("check", json!(check.kind)),
        ("service", json!(service)),
        (
            "server",
            json!(format!("[{}]:{protocol}:{}", real.address, real.port)),
        ),
    ];
    if !matches!(check.detail, Detail::File) {
        fields.extend([
            ("alpha", json!(check.is_alpha)),
            ("retry", json!(check.retry)),
            ("delay_loop_s", time(check.delay_loop)),
            ("warmup_s", time(check.warmup)),
            ("delay_before_retry_s", time(check.delay_before_retry)),
        ]);
    }
    fields.push(("log_all_failures", json!(check.logs_all_failures)));
    if let Some((address, port)) = check.target {
        fields.push(("connect_to", json!(format!("[{address}]:{port}"))));
    }
    if let Some((Some(address), port)) = check.bind {
        fields.push(("bind_to", json!(format!("[{address}]:{port}"))));
    }
    if let Some(timeout) = check.connect_timeout {
        fields.push(("connect_timeout_s", seconds(timeout)));
    }
    fields.push(("bind_i/f", json!(check.bind_interface)));
    fields.push(("mark", json!(check.mark)));
    match &check.detail {
        Detail::Http {
            protocol,
            urls,
            virtualhost,
            enable_sni,
            sni_name: _,
            fast_recovery,
        } => {
            fields.push(("http_protocol", json!(protocol)));
            fields.push(("virtualhost", json!(virtualhost)));
            fields.push((
                if *enable_sni {
                    "enable_sni_set"
                } else {
                    "enable_sni_unset"
                },
                json!(true),
            ));
            fields.push((
                if *fast_recovery {
                    "fast_recovery_set"
                } else {
                    "fast_recovery_unset"
                },
                json!(true),
            ));
            let urls = list(urls, |url| {
                let status = url.status.iter().map(|(low, high)| {
                    if low == high {
                        low.to_string()
                    } else {
                        format!("{low}-{high}")
                    }
                });
                object(vec![
                    ("path", json!(url.path)),
                    ("digest", json!(url.digest)),
                    ("virtual_host", json!(url.virtualhost)),
                    (
                        "regex",
                        url.regex
                            .as_ref()
                            .map_or(Value::Null, |it| json!(format!("\"{it}\""))),
                    ),
                    (
                        "regex_no_match",
                        if url.regex_no_match {
                            json!(true)
                        } else {
                            Value::Null
                        },
                    ),
                    (
                        "regex_options:",
                        if url.regex.is_some() {
                            json!(true)
                        } else {
                            Value::Null
                        },
                    ),
                    (
                        "regex_ref_count",
                        if url.regex.is_some() {
                            json!("1")
                        } else {
                            Value::Null
                        },
                    ),
                    ("status", json!(status.collect::<Vec<_>>())),
                ])
            });
            fields.push(("urls", urls));
        }
        Detail::Smtp { helo } => fields.push(("helo", json!(helo))),
        Detail::Bfd(name) => fields.push(("name", json!(name))),
        Detail::Dns { record, name } => {
            fields.push(("type", json!(record)));
            fields.push(("name", json!(if name == "." { "" } else { name })));
        }
        Detail::Misc {
            script,
            is_dynamic,
            timeout,
        } => {
            fields.push(("argv", json!(script.arguments)));
            fields.push(("timeout", json!(timeout.unwrap_or(0))));
            fields.push(("dynamic", json!(is_dynamic)));
            let Account { uid, gid } = script.account;
            fields.push(("uid:gid", json!(format!("{uid}:{gid}"))));
        }
        Detail::Udp {
            payload,
            requires_reply,
            ..
        } => {
            let length = payload
                .as_ref()
                .map(|it| it.split_whitespace().collect::<String>().len() / 2);
            fields.push(("payload_len", json!(length)));
            fields.push(("require_reply", json!(requires_reply)));
        }
        Detail::File | Detail::None => {}
    }
    // Values that this kind of check does not have are null and not left out.
    Value::Object(
        fields
            .into_iter()
            .filter(|(name, value)| !value.is_null() || is_kept_null(name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn is_kept_null(name: &str) -> bool {
    matches!(
        name,
        "retry" | "delay_loop_s" | "warmup_s" | "delay_before_retry_s"
    )
}
