//! Translates a configuration into routers, sync groups and tracked objects of a driver.
//!
//! Each function destructures its input by field name, so a new field of the configuration does
//! not compile until it is used or named here.

mod authentication;
mod host_objects;
mod router;
mod tracked;

use std::time::Duration;

use vrrp_net::{Pacing, RouterConfig};

pub use self::tracked::{PlannedObject, Probe, Use};
use super::{
    host_object::HostObject,
    link::{PlannedIpvlan, PlannedMacvlan},
    pacing::pacing,
};
use crate::keepalived_conf::configuration::{Configuration, Notifies, SyncGroup};

/// The settings of a configuration that concern VRRP and the host.
#[derive(Debug, Default)]
pub struct Plan {
    /// The instances that can run.
    pub routers: Vec<PlannedRouter>,
    /// The sync groups.
    pub groups: Vec<PlannedGroup>,
    /// The tracked objects.
    pub objects: Vec<PlannedObject>,
    /// `static_ipaddress`, `static_routes` and `static_rules`.
    pub statics: Vec<HostObject>,
    /// The pace of announcements.
    pub pacing: Pacing,
    /// The delay before a router may become Active, from now on.
    pub startup_hold: Duration,
    /// A sentence for each deviation from the configuration.
    pub notes: Vec<String>,
}

/// An instance.
#[derive(Debug)]
pub struct PlannedRouter {
    /// Its name.
    pub name: String,
    /// Its configuration, without tracked objects.
    pub config: RouterConfig,
    /// The objects that it tracks.
    pub tracked: Vec<Use>,
    /// The objects that ip(8) configures while it is Active.
    pub objects: Vec<HostObject>,
    /// The interface that it runs on, if that is created for it.
    pub ipvlan: Option<PlannedIpvlan>,
    /// The macvlans of its addresses on other interfaces.
    pub macvlans: Vec<PlannedMacvlan>,
    /// The commands for changes.
    pub notify: Notify,
}

/// A sync group.
#[derive(Debug)]
pub struct PlannedGroup {
    /// Its name.
    pub name: String,
    /// The names of its instances.
    pub members: Vec<String>,
    /// The objects that it tracks.
    pub tracked: Vec<Use>,
    /// Whether the weights of members count.
    pub member_weights: bool,
    /// The commands for changes.
    pub notify: Notify,
}

/// What to do when an instance or a sync group changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// The commands, by their name in the configuration.
    pub commands: Notifies,
    /// Whether changes are mailed.
    pub mails: bool,
    /// Whether changes of the priority are reported.
    pub priorities: bool,
    /// Whether the removal of an instance is reported as such, and not as a fault.
    pub removal: bool,
}

/// Makes a plan. `uptime` is the time since the host booted.
#[must_use]
pub fn translate(configuration: &Configuration, uptime: Duration) -> Plan {
    let mut plan = Plan::default();
    for instance in &configuration.instances {
        let name = &instance.name;
        let mut notes = Vec::new();
        match router::router(instance, configuration, &mut notes) {
            Ok(router) => plan.routers.push(router),
            Err(problem) => notes.push(format!("the instance does not run: {problem}")),
        }
        let notes = notes.into_iter().map(|note| format!("({name}) {note}"));
        plan.notes.extend(notes);
    }
    for group in &configuration.sync_groups {
        let group = sync_group(group, &plan.routers, &mut plan.notes);
        plan.groups.extend(group);
    }
    tracked::objects(configuration, &mut plan);
    statics(configuration, &mut plan);
    plan.pacing = pacing(configuration);
    plan.startup_hold = startup_hold(configuration, uptime);
    plan
}

/// `vrrp_startup_delay` and `vrrp_delay_after_boot`, the larger of which wins.
fn startup_hold(configuration: &Configuration, uptime: Duration) -> Duration {
    let number = |word: &str| configuration.global.numbers.get(word).copied();
    let delay = micros(number("vrrp_startup_delay").unwrap_or(0));
    let after_boot = micros(number("vrrp_delay_after_boot").unwrap_or(0));
    delay.max(after_boot.saturating_sub(uptime))
}

/// A time in microseconds; a negative number counts as 0.
pub(super) fn micros(number: i64) -> Duration {
    Duration::from_micros(u64::try_from(number).unwrap_or(0))
}

fn sync_group(
    group: &SyncGroup,
    routers: &[PlannedRouter],
    notes: &mut Vec<String>,
) -> Option<PlannedGroup> {
    let SyncGroup {
        name,
        members,
        tracking,
        notifies,
        smtp_alert,
        tracking_weight,
        notify_priority_changes,
    } = group;
    let mut running = members.clone();
    running.retain(|member| routers.iter().any(|router| router.name == *member));
    if running.len() < members.len() {
        notes.push(format!(
            "(sync group {name}) members that do not run are left out"
        ));
    }
    let owns = |member: &String| {
        let router = routers.iter().find(|router| router.name == *member);
        router.is_some_and(|router| router.config.fsm.is_owner())
    };
    let owners = running.iter().filter(|member| owns(member)).count();
    if owners > 0 && owners < running.len() {
        notes.push(format!(
            "(sync group {name}) priority 255 and other priorities do not go together: the group is not made"
        ));
        return None;
    }
    (!running.is_empty()).then(|| PlannedGroup {
        name: name.clone(),
        members: running,
        tracked: tracked::uses(tracking),
        member_weights: *tracking_weight,
        notify: Notify {
            commands: notifies.clone(),
            mails: *smtp_alert,
            priorities: *notify_priority_changes,
            removal: false,
        },
    })
}

fn statics(configuration: &Configuration, plan: &mut Plan) {
    let default = configuration.global.text("default_interface");
    for address in &configuration.static_addresses {
        if let Some(group) = &address.track_group {
            plan.notes.push(format!(
                "track_group {group} of the static address {} is not supported: its loss changes nothing",
                address.address
            ));
        }
        let interface = address.interface.as_deref().or(default).unwrap_or("eth0");
        plan.statics.push(HostObject::address(address, interface));
    }
    let routes = configuration.static_routes.iter().map(HostObject::route);
    plan.statics.extend(routes);
    let rules = configuration.static_rules.iter().map(HostObject::rule);
    plan.statics.extend(rules);
}
