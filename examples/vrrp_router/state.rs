//! The state of a virtual router or a sync group, as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use vrrp_fsm::{ChecksumForms, Counters, State, fleet::SyncGroup};
use vrrp_net::{Driver, RouterView, Subject};
use vrrp_proto::ChecksumForm;

use crate::log::{Log, router_subject};

/// Writes the state of all virtual routers and sync groups to the log.
pub(crate) fn show(driver: &Driver, log: &Log) {
    for router in driver.routers() {
        let subject = router_subject(&router.config());
        log.write(Some(&subject), "state", of_router(driver, router));
    }
    for (_, group) in driver.groups() {
        let subject = Subject::SyncGroup {
            sync_group: group.name.clone(),
        };
        log.write(Some(&subject), "state", of_sync_group(driver, group));
    }
}

/// The values with which a virtual router starts.
pub(crate) fn configured(router: RouterView<'_>) -> Value {
    let config = router.machine().config();
    let addresses: Vec<String> = router.addresses().map(|(own, _)| own.to_string()).collect();
    json!({
        "version": config.interval.version().number(),
        "priority": config.priority.get(),
        "interval_cs": config.interval.as_centis(),
        "addresses": addresses,
    })
}

fn of_router(driver: &Driver, router: RouterView<'_>) -> Value {
    let machine = router.machine();
    let config = machine.config();
    let faults: Vec<String> = router.faults().map(ToString::to_string).collect();
    let addresses: Vec<Value> = router
        .addresses()
        .map(|(own, installed)| json!({"address": own.to_string(), "installed": installed}))
        .collect();
    let of_others = router.addresses_of_others().map(ToString::to_string);
    let of_others = of_others.chain(router.routes_of_others().map(ToString::to_string));
    let of_others: Vec<String> = of_others.collect();
    let active = machine.active().map(|active| {
        json!({
            "address": active.address,
            "priority": active.priority.get(),
            "version": active.version.number(),
        })
    });
    let tracked = driver.explain(router.id());
    let group = driver.group_with(router.id());
    let group = group.and_then(|id| driver.group(id));
    let totals = driver.counters();
    json!({
        "state": router.state().to_string(),
        "last_reason": machine.last_reason().map(|reason| reason.to_string()),
        "new_active_reason": machine.new_active_reason().name(),
        "version": config.interval.version().number(),
        "priority": config.priority.get(),
        "effective_priority": machine.effective_priority().get(),
        "explanation": tracked.map(|tracked| tracked.to_string()),
        "member_of": group.map(|group| &group.name),
        "primary_address": machine.primary_address(),
        "active": active,
        "faults": faults,
        "addresses": addresses,
        "used_by_other_instances": of_others,
        "interval_cs": config.interval.as_centis(),
        "active_interval_cs": machine.active_interval().as_centis(),
        "skew_time_ms": millis(machine.skew_time()),
        "active_down_interval_ms": millis(machine.active_down_interval()),
        "checksum": match machine.checksum_forms() {
            ChecksumForms::Only(ChecksumForm::MessageOnly) => "message-only",
            ChecksumForms::Only(ChecksumForm::PseudoHeader) => "pseudo-header",
            ChecksumForms::Both => "both",
        },
        "accept_mode": config.accept_mode,
        "accepts_traffic": machine.accepts_traffic(),
        "counters": counters(machine.counters()),
        "all_routers": {
            "checksum_errors": totals.checksum_errors,
            "version_errors": totals.version_errors,
            "vrid_errors": totals.vrid_errors,
            "ip_ttl_errors": totals.ip_ttl_errors,
        },
    })
}

/// The state of a sync group is the state that all members have.
fn of_sync_group(driver: &Driver, group: &SyncGroup) -> Value {
    let members: Vec<RouterView<'_>> = group
        .members
        .iter()
        .filter_map(|id| driver.get(*id))
        .collect();
    let common = members.first().map(RouterView::state);
    let common = common.filter(|state| members.iter().all(|member| member.state() == *state));
    let members: Vec<Value> = members
        .iter()
        .map(|member| {
            let fsm = member.machine().config();
            json!({
                "interface": member.interface_name(),
                "family": fsm.family.to_string(),
                "vrid": fsm.vrid.get(),
                "state": member.state().to_string(),
            })
        })
        .collect();
    json!({"state": common.as_ref().map(State::to_string), "members": members})
}

fn counters(counters: &Counters) -> Value {
    json!({
        "active_transitions": counters.active_transitions,
        "advertisements_received": counters.advertisements_received,
        "advertisements_sent": counters.advertisements_sent,
        "priority_zero_received": counters.priority_zero_received,
        "priority_zero_sent": counters.priority_zero_sent,
        "interval_errors": counters.interval_errors,
        "ip_ttl_errors": counters.ip_ttl_errors,
        "invalid_type_received": counters.invalid_type_received,
        "address_list_errors": counters.address_list_errors,
        "packet_length_errors": counters.packet_length_errors,
        "authentication_errors": counters.authentication_errors,
        "own_packets": counters.own_packets,
        "owner_conflicts": counters.owner_conflicts,
        "other_discards": counters.other_discards,
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
