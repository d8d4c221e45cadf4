//! The output of SIGUSR1, SIGUSR2 and the JSON signal.

use std::fmt::Write as _;

use serde_json::{Value, json};
use vrrp_examples::keepalived::event::Change;
use vrrp_fsm::{Counters, State};
use vrrp_net::{Authentication, RouterView};

use crate::daemon::{Daemon, RunningRouter};

/// The instances, each with the state of its router.
fn instances(daemon: &Daemon) -> impl Iterator<Item = (&RunningRouter, RouterView<'_>)> {
    let routers = daemon.routers.iter();
    routers.filter_map(|(id, running)| Some((running, daemon.driver.get(*id)?)))
}

/// The difference of the counters since they were cleared.
fn since(mut now: Counters, cleared: Counters) -> Counters {
    now.active_transitions = now
        .active_transitions
        .saturating_sub(cleared.active_transitions);
    for (counter, before) in [
        (
            &mut now.advertisements_received,
            cleared.advertisements_received,
        ),
        (&mut now.advertisements_sent, cleared.advertisements_sent),
        (
            &mut now.priority_zero_received,
            cleared.priority_zero_received,
        ),
        (&mut now.priority_zero_sent, cleared.priority_zero_sent),
        (&mut now.interval_errors, cleared.interval_errors),
        (&mut now.ip_ttl_errors, cleared.ip_ttl_errors),
        (
            &mut now.invalid_type_received,
            cleared.invalid_type_received,
        ),
        (&mut now.address_list_errors, cleared.address_list_errors),
        (&mut now.packet_length_errors, cleared.packet_length_errors),
        (
            &mut now.authentication_errors,
            cleared.authentication_errors,
        ),
    ] {
        *counter = counter.saturating_sub(before);
    }
    now
}

/// keepalived's number for a state.
const fn number_of(change: Option<Change>) -> u8 {
    match change {
        None => 0,
        Some(Change::Backup | Change::BackupPriority) => 1,
        Some(Change::Master | Change::MasterPriority | Change::RivalDetected) => 2,
        Some(Change::Fault | Change::Removed) => 3,
        Some(Change::Stop | Change::Deleted) => 97,
    }
}

/// The state and the counters of each instance, under keepalived's names.
pub(crate) fn json(daemon: &Daemon) -> String {
    let list: Vec<Value> = instances(daemon)
        .map(|(it, view)| instance(it, view))
        .collect();
    Value::Array(list).to_string()
}

fn instance(running: &RunningRouter, view: RouterView<'_>) -> Value {
    let config = view.config();
    let machine = view.machine();
    let fsm = machine.config();
    let counters = since(*machine.counters(), running.cleared);
    let active = machine.active();
    let addresses = |list: &[vrrp_net::VirtualAddress]| -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    };
    let seconds = |interval: vrrp_proto::Interval| interval.as_duration().as_secs_f64();
    let delay = |delay: Option<std::time::Duration>| delay.map_or(0, |it| it.as_secs());
    let announce = fsm.announce;
    json!({
        "data": {
            "iname": running.planned.name,
            "dont_track_primary": u8::from(!config.track_interface),
            "skip_check_adv_addr": u8::from(!config.check_addresses),
            "vmac_ifname": view.macvlan().map(|it| it.name().to_owned()).unwrap_or_default(),
            "ifp_ifname": config.interface,
            "master_priority": active.map_or(0, |it| it.priority.get()),
            "master_address": active.map(|it| it.address.to_string()),
            "garp_delay": delay(announce.second_burst_after),
            "garp_refresh": delay(announce.refresh),
            "garp_rep": announce.repeat,
            "garp_refresh_rep": announce.refresh_repeat,
            "garp_lower_prio_delay": delay(announce.rival_second_burst_after),
            "garp_lower_prio_rep": announce.rival_repeat,
            "higher_prio_send_advert": u8::from(fsm.advertise_on_yield),
            "vrid": fsm.vrid.get(),
            "base_priority": fsm.priority.get(),
            "effective_priority": machine.effective_priority().get(),
            "vipset": machine.state() == State::Active,
            "adver_int": seconds(fsm.interval),
            "master_adver_int": seconds(machine.active_interval()),
            "accept": u8::from(!config.enforce_accept_mode),
            "nopreempt": fsm.preempt == vrrp_fsm::Preempt::Never,
            "state": number_of(running.reported),
            "version": if fsm.versions == vrrp_proto::Versions::V2 { 2 } else { 3 },
            "smtp_alert": running.planned.mails,
            "vips": addresses(&config.addresses),
            "evips": addresses(&config.excluded),
            "vroutes": config.routes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "auth_type": match config.authentication {
                Authentication::SimpleText(_) => 1,
                Authentication::Ah(_) => 2,
                _ => 0,
            },
            "faults": view.faults().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "stats": {
            "advert_rcvd": counters.advertisements_received,
            "advert_sent": counters.advertisements_sent,
            "become_master": counters.active_transitions,
            "release_master": counters
                .active_transitions
                .saturating_sub(u32::from(machine.state() == State::Active)),
            "packet_len_err": counters.packet_length_errors,
            "advert_interval_err": counters.interval_errors,
            "ip_ttl_err": counters.ip_ttl_errors,
            "invalid_type_rcvd": counters.invalid_type_received,
            "addr_list_err": counters.address_list_errors,
            "auth_failure": counters.authentication_errors,
            "pri_zero_rcvd": counters.priority_zero_received,
            "pri_zero_sent": counters.priority_zero_sent,
        },
    })
}

/// The state of each instance and sync group, for people.
pub(crate) fn text(daemon: &Daemon) -> String {
    let mut text = String::from("------< VRRP Topology >------\n");
    for (running, view) in instances(daemon) {
        let machine = view.machine();
        let state = running.reported.map_or("INIT", Change::word);
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _infallible = writeln!(text, "   {name} = {value}");
        };
        line("VRRP Instance", &running.planned.name);
        line("State", &state);
        line("Interface", &view.interface_name());
        line("Virtual Router ID", &machine.config().vrid);
        line("Priority", &machine.config().priority);
        line("Effective priority", &machine.effective_priority());
        line("Advert interval", &machine.config().interval);
        if let Some(active) = machine.active() {
            line("Master router", &active.address);
            line("Master priority", &active.priority);
        }
        for fault in view.faults() {
            line("Fault", fault);
        }
        if let Some(explanation) = daemon.driver.explain(view.id()) {
            line("Explanation", &explanation);
        }
        for (address, is_in_place) in view.addresses() {
            let place = if is_in_place { "set" } else { "not set" };
            let _infallible = writeln!(text, "     {address} {place}");
        }
        for (route, is_in_place) in view.routes() {
            let place = if is_in_place { "set" } else { "not set" };
            let _infallible = writeln!(text, "     route {route} {place}");
        }
    }
    text.push_str("------< VRRP Sync groups >------\n");
    for group in daemon.groups.values() {
        let state = group.reported.map_or("INIT", Change::word);
        let name = &group.planned.name;
        let members = group.planned.members.join(" ");
        let _infallible = writeln!(text, "   VRRP Sync Group = {name}, {state}: {members}");
    }
    text
}

/// The counters of each instance, in keepalived's layout.
pub(crate) fn statistics(daemon: &Daemon) -> String {
    let mut text = String::new();
    for (running, view) in instances(daemon) {
        let counters = since(*view.machine().counters(), running.cleared);
        let is_active = view.state() == State::Active;
        let _infallible = write!(
            text,
            "VRRP Instance: {}\n  Advertisements:\n    Received: {}\n    Sent: {}\n  \
             Became master: {}\n  Released master: {}\n  Packet Errors:\n    Length: {}\n    \
             TTL: {}\n    Invalid Type: {}\n    Advertisement Interval: {}\n    \
             Address List: {}\n  Authentication Errors:\n    Failure: {}\n  \
             Priority Zero:\n    Received: {}\n    Sent: {}\n",
            running.planned.name,
            counters.advertisements_received,
            counters.advertisements_sent,
            counters.active_transitions,
            counters
                .active_transitions
                .saturating_sub(u32::from(is_active)),
            counters.packet_length_errors,
            counters.ip_ttl_errors,
            counters.invalid_type_received,
            counters.interval_errors,
            counters.address_list_errors,
            counters.authentication_errors,
            counters.priority_zero_received,
            counters.priority_zero_sent,
        );
    }
    text
}
