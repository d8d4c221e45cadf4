//! Instances and sync groups.

mod authentication;
mod definitions;
mod devices;
mod finish;
mod host_objects;
mod instance;
mod notify;
mod scripts;
mod statements;
mod sync_group;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeSet;

use self::finish::Draft;
use super::{
    address::no_such_interface,
    announcing,
    complaint::{Complaint, Kind, Weight},
    configuration::{Configuration, Global, SyncGroup, Tracking},
    host::Host,
    script::Policy,
    source::{Like, Place},
    tracking::{self, Defined},
    tree::Node,
};

/// The host and the settings on which the blocks of the VRRP process depend.
pub(super) struct Context<'a> {
    pub(super) host: &'a Host,
    pub(super) policy: Policy<'a>,
    pub(super) global: &'a Global,
    pub(super) like: Like,
}

impl Context<'_> {
    /// Whether interfaces may come later.
    fn is_dynamic(&self) -> bool {
        self.global.has("dynamic_interfaces")
    }

    /// Whether changes are mailed by default.
    fn mails(&self) -> bool {
        let switches = &self.global.switches;
        let own = switches.get("smtp_alert_vrrp");
        own.or(switches.get("smtp_alert")).copied().unwrap_or(false)
    }

    /// Reads the tracking blocks of an instance or a group.
    fn tracking(
        &self,
        node: &Node,
        name: &str,
        defined: &Defined,
        complaints: &mut Vec<Complaint>,
    ) -> Tracking {
        let is_dynamic = self.is_dynamic();
        tracking::read(node, name, defined, self.host, is_dynamic, complaints)
    }

    /// Complains if an interface does not exist.
    fn check_interface(&self, name: &str, place: Place, complaints: &mut Vec<Complaint>) {
        if !self.host.interfaces.contains_key(name) && !self.is_dynamic() {
            complaints.push(no_such_interface(name).at(place));
        }
    }

    /// Reports the lines of a block that begin with an interface that does not exist. Such a line
    /// is ignored.
    fn report_interfaces(&self, node: &Node, complaints: &mut Vec<Complaint>) {
        for entry in &node.entries {
            if let Some(name) = entry.words.first()
                && !self.host.interfaces.contains_key(name)
                && !self.is_dynamic()
            {
                let complaint = Complaint::new(
                    Kind::NoSuchInterface,
                    format!("this host has no interface {name:?}; the line is ignored"),
                );
                complaints.push(
                    complaint
                        .at(entry.place)
                        .token(name)
                        .weight(Weight::UnknownInterface),
                );
            } else if let Some(word) = entry.words.get(1)
                && node.word == "linkbeat_interfaces"
                && (entry.words.len() > 2 || !matches!(word.as_str(), "MII" | "ETHTOOL" | "IOCTL"))
            {
                complaints.push(
                    Complaint::new(
                        Kind::UnknownValue,
                        "each interface stands on a line of its own, with MII, ETHTOOL or IOCTL at most",
                    )
                    .at(entry.place)
                    .token(word),
                );
            }
        }
    }
}

/// Fills in the VRRP part of a configuration. Returns whether a daemon starts with it.
pub(super) fn resolve(
    nodes: &[Node],
    context: &Context<'_>,
    configuration: &mut Configuration,
    complaints: &mut Vec<Complaint>,
) -> bool {
    let before = complaints.len();
    let mut blocks = Blocks {
        defined: Defined::default(),
        next_rule_priority: 16384,
        drafts: Vec::new(),
        groups: Vec::new(),
    };
    for node in nodes {
        blocks.read(node, context, configuration, complaints);
    }
    for node in nodes.iter().filter(|node| node.word == "static_ipaddress") {
        host_objects::check_track_groups(node, nodes, complaints);
    }
    let lacks_interface = complaints
        .iter()
        .skip(before)
        .any(|it| it.kind == Kind::NoSuchInterface && it.weight == Weight::Error);
    let starts = blocks.finish(lacks_interface, context, complaints);
    configuration.instances = blocks.drafts.into_iter().map(|it| it.instance).collect();
    configuration.sync_groups = blocks.groups;
    definitions::keep_tracked(blocks.defined, configuration);
    starts
}

/// The blocks that later ones or the whole depend on.
struct Blocks<'n> {
    defined: Defined,
    next_rule_priority: u32,
    drafts: Vec<Draft<'n>>,
    groups: Vec<SyncGroup>,
}

impl<'n> Blocks<'n> {
    fn read(
        &mut self,
        node: &'n Node,
        context: &Context<'_>,
        configuration: &mut Configuration,
        complaints: &mut Vec<Complaint>,
    ) {
        match node.word {
            "static_ipaddress" => {
                let found = host_objects::addresses(node, context, complaints);
                configuration.static_addresses.extend(found);
            }
            "static_routes" => {
                let found = host_objects::routes(node, context, complaints);
                configuration.static_routes.extend(found);
            }
            "static_rules" => {
                let next = &mut self.next_rule_priority;
                let found = host_objects::rules(node, context, next, complaints);
                configuration.static_rules.extend(found);
            }
            "track_group" => {
                let name = node.word_at(0).map(str::to_owned);
                configuration.track_groups.extend(name);
            }
            "vrrp_sync_group" => {
                let group = sync_group::read(node, context, &self.defined, complaints);
                self.groups.push(group);
            }
            "vrrp_instance" => {
                let next = &mut self.next_rule_priority;
                let others = &self.drafts;
                let draft = instance::read(node, context, &self.defined, others, next, complaints);
                self.drafts.push(draft);
            }
            "linkbeat_interfaces" => context.report_interfaces(node, complaints),
            "interface_up_down_delays" => {
                let delays = &mut configuration.link_delays;
                announcing::link_delays(node, delays, complaints);
                context.report_interfaces(node, complaints);
            }
            "garp_group" => {
                let groups = &mut configuration.garp_groups;
                for (name, place) in announcing::garp_group(node, groups, complaints) {
                    context.check_interface(&name, place, complaints);
                }
            }
            _ => definitions::read(node, &context.policy, &mut self.defined, complaints),
        }
    }

    /// Checks what needs all blocks. Returns whether a daemon starts.
    fn finish(
        &mut self,
        lacks_interface: bool,
        context: &Context<'_>,
        complaints: &mut Vec<Complaint>,
    ) -> bool {
        if lacks_interface {
            complaints.push(Complaint::new(
                Kind::NoSuchInterface,
                "an interface is named that does not exist; the daemon does not start",
            ));
        }
        let Self {
            defined,
            drafts,
            groups,
            ..
        } = self;
        if lacks_interface {
            return false;
        }
        scripts::look_up(defined, drafts, groups, context, complaints);
        let mut names = devices::names(drafts, context);
        for draft in drafts.iter_mut() {
            // In a group, the rules about weights come before those about owners.
            let name = &draft.instance.name;
            let is_grouped = groups
                .iter()
                .any(|group| !group.tracking_weight && group.members.contains(name));
            if !finish::finish(draft, is_grouped, context, complaints) {
                return false;
            }
        }
        for draft in drafts.iter_mut() {
            devices::of_addresses(draft, context.global, &mut names);
        }
        let starts = vrids_are_unique(drafts, complaints);
        sync_group::finish(groups, drafts, complaints);
        starts
    }
}

/// Complains of two instances with one VRID on one interface and of one family.
fn vrids_are_unique(drafts: &[Draft<'_>], complaints: &mut Vec<Complaint>) -> bool {
    let mut seen = BTreeSet::new();
    for draft in drafts {
        let it = &draft.instance;
        let peers = &it.unicast.peers;
        // Unicast instances with different peers do not conflict.
        let key = (
            it.interface.clone(),
            it.is_ipv6,
            it.vrid,
            peers.is_empty(),
            peers.iter().map(|peer| peer.address).collect::<Vec<_>>(),
        );
        if !seen.insert(key) {
            complaints.push(
                Complaint::new(
                    Kind::VridConflict,
                    format!(
                        "two instances on {} have the VRID {}; the daemon does not start",
                        it.interface, it.vrid
                    ),
                )
                .token(it.vrid.to_string()),
            );
            return false;
        }
    }
    true
}
