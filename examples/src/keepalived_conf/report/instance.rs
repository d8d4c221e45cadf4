//! Instances and sync groups.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::form::{flag, list, object, script, seconds, text};
use crate::keepalived_conf::{
    address::Address,
    configuration::{Instance, Ipvlan, Notifies, SyncGroup, Tracked},
    host::Host,
};

/// The fields of an object, in their order.
type Fields = Vec<(&'static str, Value)>;

pub(super) fn instance(it: &Instance, host: &Host) -> Value {
    let parts = [
        identity(it),
        device(it, host),
        announcements(it),
        election(it),
        authentication(it),
        addresses(it),
        unicast(it),
        host_objects(it),
        tracking(it),
        notification(it),
    ];
    object(parts.into_iter().flatten().collect())
}

fn identity(it: &Instance) -> Fields {
    // An instance that waits for the first result of a script loses its initial state MASTER.
    let waits = it.tracking.scripts.iter().any(|script| script.weight == 0);
    let starts_as_master = it.election.starts_as_master && !waits;
    vec![
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
        ("flags", json!(flags(it))),
        ("sync_group", json!(it.sync_group)),
        (
            "initial_state",
            json!(if starts_as_master { "MASTER" } else { "BACKUP" }),
        ),
    ]
}

fn flags(it: &Instance) -> Vec<&'static str> {
    let mut flags = Vec::new();
    if !it.unicast.peers.is_empty() {
        flags.push("Using unicast");
    } else if it.unicast.lacks_peers {
        flags.push("Unicast config option specified but using multicast");
    }
    if it.unicast.fails_without_peers {
        flags.push("If unicast go to fault state if no peers");
    }
    flags
}

/// The interface, and where advertisements come from and go to.
fn device(it: &Instance, host: &Host) -> Fields {
    let interface = match &it.vmac {
        // keepalived names the macvlan, whose parent it does not find.
        Some(vmac) if !host.interfaces.contains_key(&it.interface) => &vmac.device,
        _ => &it.interface,
    };
    vec![
        (
            "ipvlan_text",
            it.ipvlan.as_ref().map_or(Value::Null, ipvlan),
        ),
        ("interface", json!(interface)),
        (
            "ipvlan",
            match &it.ipvlan {
                Some(ipvlan) if it.vmac.is_none() => {
                    json!({ "device": ipvlan.device, "xmit_base": false })
                }
                _ => Value::Null,
            },
        ),
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
        ("strict_mode", flag(it.is_strict)),
        ("skip_check_adv_addr", flag(it.skips_address_check)),
        ("dont_track_primary", flag(it.dont_track_primary)),
        (
            "src_ip",
            json!(source(it).map_or("(none)".into(), |source| source.to_string())),
        ),
        // keepalived 2.2.7 never prints it.
        ("src_ip_configured", json!(false)),
        (
            "multicast",
            if it.unicast.peers.is_empty() {
                json!(it.multicast.to_string())
            } else {
                Value::Null
            },
        ),
    ]
}

/// An ipvlan that is not made yet.
fn ipvlan(it: &Ipvlan) -> Value {
    let mode = it.mode;
    json!(match it.address {
        Some((address, _)) => format!("address = {address}, type {mode}"),
        None => format!("{}, is_up = false, type {mode}", it.device),
    })
}

/// The source address. An ipvlan has its own, over IPv6 only when it is made.
fn source(it: &Instance) -> Option<IpAddr> {
    match &it.ipvlan {
        Some(ipvlan) => match ipvlan.address {
            Some((address, _)) => Some(address),
            None => it.source.filter(IpAddr::is_ipv4),
        },
        None => it.source,
    }
}

fn announcements(it: &Instance) -> Fields {
    vec![
        ("garp_master_delay", json!(it.garp.delay)),
        ("garp_master_repeat", json!(it.garp.repeat)),
        ("garp_master_refresh", json!(it.garp.refresh)),
        ("garp_master_refresh_repeat", json!(it.garp.refresh_repeat)),
        ("garp_lower_prio_delay", json!(it.garp.lower_prio_delay)),
        ("garp_lower_prio_repeat", json!(it.garp.lower_prio_repeat)),
    ]
}

fn election(it: &Instance) -> Fields {
    vec![
        ("down_timer_adverts", json!(it.election.down_timer_adverts)),
        (
            "answer_lower_prio",
            json!(it.election.answers_lower_priority),
        ),
        (
            "advert_before_yield",
            json!(it.election.advertises_before_yield),
        ),
        ("virtual_router_id", json!(it.vrid)),
        ("priority", json!(it.election.priority)),
        ("advert_int_ms", json!(it.interval / 1000)),
        ("accept", json!(it.accept)),
        ("preempt", json!(it.election.preempt)),
        (
            "preempt_delay_s",
            if it.election.preempt_delay > 0 {
                seconds(it.election.preempt_delay)
            } else {
                Value::Null
            },
        ),
        ("promote_secondaries", json!(it.promote_secondaries)),
    ]
}

fn authentication(it: &Instance) -> Fields {
    let kind = it.authentication.as_ref().map_or("none", |(kind, _)| *kind);
    vec![
        ("auth_type", json!(kind)),
        (
            "auth_pass",
            match &it.authentication {
                Some(("PASS", password)) => json!(password),
                _ => Value::Null,
            },
        ),
    ]
}

fn addresses(it: &Instance) -> Fields {
    let on = |address: &Address| {
        let parent = address.interface.as_ref().unwrap_or(&it.interface);
        let is_of_instance = address.interface.is_none() && address.address.is_ipv6() == it.is_ipv6;
        let vmac = it.vmac.as_ref().map(|vmac| &vmac.device);
        match address.macvlan.as_ref().or(vmac.filter(|_| is_of_instance)) {
            Some(macvlan) => format!("{macvlan}@{parent}"),
            None => parent.clone(),
        }
    };
    let show =
        |addresses: &[Address]| list(addresses, |address| json!(address.describe(&on(address))));
    vec![
        ("virtual_ipaddress", show(&it.objects.addresses)),
        ("virtual_ipaddress_excluded", show(&it.objects.excluded)),
    ]
}

/// The settings of unicast. Without peers, there are none.
fn unicast(it: &Instance) -> Fields {
    if it.unicast.peers.is_empty() {
        return Vec::new();
    }
    vec![
        (
            "unicast_ttl",
            match it.unicast.ttl {
                Some(ttl) => json!(ttl),
                None if it.is_ipv6 => Value::Null,
                None => json!(255),
            },
        ),
        ("check_unicast_src", json!(it.unicast.checks_source)),
        (
            "unicast_peer",
            list(&it.unicast.peers, |peer| {
                json!(format!(
                    "{} min_ttl {} max_ttl {}",
                    peer.address, peer.min_ttl, peer.max_ttl
                ))
            }),
        ),
        ("old_unicast_checksum", json!(it.unicast.old_checksum)),
    ]
}

fn host_objects(it: &Instance) -> Fields {
    vec![
        (
            "virtual_routes",
            list(&it.objects.routes, |route| json!(route.describe())),
        ),
        (
            "virtual_rules",
            list(&it.objects.rules, |rule| json!(rule.describe())),
        ),
    ]
}

fn tracking(it: &Instance) -> Fields {
    vec![
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
    ]
}

fn notification(it: &Instance) -> Fields {
    vec![
        ("smtp_alert", json!(it.notification.smtp_alert)),
        (
            "notify_deleted",
            json!(if it.notification.deleted {
                "Deleted"
            } else {
                "Fault"
            }),
        ),
        ("notify", notifies(&it.notification.commands)),
        (
            "notify_priority_changes",
            json!(it.notification.priority_changes),
        ),
        (
            "other",
            object(vec![
                ("Debug level", text(it.debug)),
                ("Kernel rx buffer size", text(it.kernel_rx_buf_size)),
            ]),
        ),
        ("use_vmac_addr", flag(it.use_vmac_addr)),
    ]
}

fn notifies(commands: &Notifies) -> Value {
    let shown = commands
        .iter()
        .map(|(name, command)| ((*name).to_owned(), script(command)));
    Value::Object(shown.collect())
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

pub(super) fn group(it: &SyncGroup) -> Value {
    object(vec![
        ("name", json!(it.name)),
        ("members", json!(it.members)),
        (
            "other",
            object(vec![
                ("sync group tracking weight set", flag(it.tracking_weight)),
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
        ("tracked_process", tracked(&it.tracking.processes)),
        ("tracked_bfds", tracked(&it.tracking.bfd)),
        ("notify", notifies(&it.notifies)),
    ])
}
