//! Instances.

use std::net::IpAddr;

use super::{
    Context, authentication, finish::Draft, host_objects, notify, statements,
    statements::Statements, transport,
};
use crate::keepalived_conf::{
    announcing,
    complaint::{Complaint, Kind},
    configuration::{
        Election, Global, Instance, Ipvlan, Notification, Notifies, Objects, Peer, Unicast, Vmac,
    },
    link,
    tracking::Defined,
    tree::Node,
};

/// Reads an instance as far as its own text determines it.
pub(super) fn read<'n>(
    node: &'n Node,
    context: &Context<'_>,
    defined: &Defined,
    next_rule_priority: &mut u32,
    complaints: &mut Vec<Complaint>,
) -> Draft<'n> {
    let name = node.word_at(0).unwrap_or_default().to_owned();
    let Statements {
        interface,
        wants_master,
    } = Statements::read(node, &name, context, complaints);
    let is_ipv6 = is_ipv6(node);
    let objects = objects(
        node,
        &name,
        is_ipv6,
        context,
        next_rule_priority,
        complaints,
    );
    let source = transport::source(node, is_ipv6, &name, complaints);
    let peers = transport::peers(node, is_ipv6, &name, complaints);
    statements::remarks(node, &name, is_ipv6, complaints);
    let garp = announcing::garp(node, context.global, &name, complaints);
    let authentication = authentication::legacy(node, &name, complaints);
    let hmac = authentication::hmac(node, &name, complaints);
    let tracking = context.tracking(node, &name, defined, complaints);
    let commands = notify::read(node, &context.policy, complaints);
    check_unicast_over_vmac(node, &peers, &name, complaints);
    let settings = Settings {
        node,
        global: context.global,
    };
    let instance = Instance {
        version: settings.version(is_ipv6),
        is_ipv6,
        interface: interface.clone().unwrap_or_default(),
        is_routed: false,
        vmac: settings.vmac(&peers),
        ipvlan: settings.ipvlan(),
        source,
        source_is_configured: source.is_some(),
        tracks_source: node.has("track_src_ip"),
        multicast: transport::multicast(node, context.global, is_ipv6),
        unicast: settings.unicast(peers),
        vrid: settings.small_number("virtual_router_id").unwrap_or(0),
        interval: node.number("advert_int").unwrap_or(1_000_000),
        election: settings.election(wants_master),
        accept: !node.has("no_accept"),
        is_strict: settings.is_strict(),
        skips_address_check: settings.has_either("skip_check_adv_addr", "vrrp_skip_check_adv_addr"),
        dont_track_primary: node.has("dont_track_primary"),
        promote_secondaries: node.has("promote_secondaries"),
        authentication,
        hmac,
        may_lack_addresses: node.has("no_virtual_ipaddress"),
        checksum_is_of_message: settings.switch("v3_checksum_as_v2", "v3_checksum_as_v2"),
        objects,
        garp,
        garp_extra: announcing::extra(node, context.global),
        tracking,
        notification: settings.notification(commands, context.mails()),
        debug: node.number("debug"),
        kernel_rx_buf_size: node.number("kernel_rx_buf_size"),
        use_vmac_addr: node.has("use_vmac_addr"),
        sync_group: None,
        name,
    };
    Draft {
        node,
        has_vrid: instance.vrid != 0,
        priority_is_given: node.number("priority").is_some(),
        wants_master,
        interface,
        instance,
    }
}

/// Reads the addresses, routes and rules of an instance.
fn objects(
    node: &Node,
    name: &str,
    is_ipv6: bool,
    context: &Context<'_>,
    next_rule_priority: &mut u32,
    complaints: &mut Vec<Complaint>,
) -> Objects {
    Objects {
        addresses: node
            .children_of("virtual_ipaddress")
            .flat_map(|list| {
                host_objects::family_addresses(list, name, is_ipv6, context, complaints)
            })
            .collect(),
        excluded: node
            .children_of("virtual_ipaddress_excluded")
            .flat_map(|list| host_objects::addresses(list, context, complaints))
            .collect(),
        routes: node
            .children_of("virtual_routes")
            .flat_map(|list| host_objects::routes(list, context, complaints))
            .collect(),
        rules: node
            .children_of("virtual_rules")
            .flat_map(|list| host_objects::rules(list, context, next_rule_priority, complaints))
            .collect(),
    }
}

/// The settings of an instance: its own statements, then those of `global_defs`.
#[derive(Clone, Copy)]
struct Settings<'a> {
    node: &'a Node,
    global: &'a Global,
}

impl Settings<'_> {
    /// A switch that both blocks can have.
    fn switch(self, word: &str, global_word: &str) -> bool {
        self.node
            .switch(word)
            .or_else(|| self.global.switches.get(global_word).copied())
            .unwrap_or(false)
    }

    /// Whether one of the blocks has a keyword.
    fn has_either(self, word: &str, global_word: &str) -> bool {
        self.node.has(word) || self.global.has(global_word)
    }

    /// A number of the instance that fits into an octet.
    fn small_number(self, word: &str) -> Option<u8> {
        let number = self.node.number(word);
        number.and_then(|it| u8::try_from(it).ok())
    }

    fn version(self, is_ipv6: bool) -> u8 {
        let own = self.node.number("version");
        match own.or_else(|| self.global.numbers.get("vrrp_version").copied()) {
            Some(3) => 3,
            None if is_ipv6 => 3,
            _ => 2,
        }
    }

    /// The settings of the election, before the checks that need the whole instance.
    fn election(self, wants_master: Option<bool>) -> Election {
        Election {
            priority: self.priority(wants_master),
            starts_as_master: false,
            preempt: !self.node.has("nopreempt"),
            preempt_delay: self.node.number("preempt_delay").unwrap_or(0),
            down_timer_adverts: self.down_timer_adverts(),
            answers_lower_priority: !self
                .switch("lower_prio_no_advert", "vrrp_lower_prio_no_advert"),
            advertises_before_yield: self
                .switch("higher_prio_send_advert", "vrrp_higher_prio_send_advert"),
            owner_ignores_others: self.switch("owner_ignore_adverts", "vrrp_owner_ignore_adverts"),
            yields_after_stall: self.node.has("timer_expired_backup"),
        }
    }

    /// The priority. An instance that wants to be MASTER is the owner by default.
    fn priority(self, wants_master: Option<bool>) -> u8 {
        let priority = match (self.node.number("priority"), wants_master) {
            (Some(priority), _) => priority,
            (None, Some(true)) => 255,
            (None, _) => 100,
        };
        u8::try_from(priority).unwrap_or(100)
    }

    fn is_strict(self) -> bool {
        let own = self.node.switch("strict_mode");
        own.unwrap_or_else(|| self.global.has("vrrp_strict"))
    }

    fn down_timer_adverts(self) -> i64 {
        let default = self.global.numbers.get("vrrp_down_timer_adverts").copied();
        let own = self.node.number("down_timer_adverts");
        own.or(default).unwrap_or(3)
    }

    fn vmac(self, peers: &[Peer]) -> Option<Vmac> {
        let statement = self.node.last("use_vmac")?;
        Some(Vmac {
            device: link::vmac_name(statement, self.node, self.global),
            own_address: link::own_hardware_address(statement),
            transmits_from_parent: self.node.has("vmac_xmit_base") || !peers.is_empty(),
        })
    }

    fn ipvlan(self) -> Option<Ipvlan> {
        let statement = self.node.last("use_ipvlan")?;
        Some(link::ipvlan(statement, self.node, self.global))
    }

    fn unicast(self, peers: Vec<Peer>) -> Unicast {
        let bounds_ttl = |peer: &Peer| peer.min_ttl > 0 || peer.max_ttl < 255;
        let keywords = [
            "unicast_peer",
            "check_unicast_src",
            "unicast_fault_no_peer",
            "old_unicast_checksum",
        ];
        Unicast {
            ttl: self.small_number("unicast_ttl"),
            checks_source: self.has_either("check_unicast_src", "vrrp_check_unicast_src")
                || peers.iter().any(bounds_ttl),
            lacks_peers: peers.is_empty() && keywords.iter().any(|word| self.node.has(word)),
            fails_without_peers: self.node.has("unicast_fault_no_peer"),
            old_checksum: self.old_unicast_checksum(),
            peers,
        }
    }

    fn old_unicast_checksum(self) -> &'static str {
        match self.node.last("old_unicast_checksum") {
            None => "no",
            Some(statement) if statement.word_at(0) == Some("never") => "never",
            Some(_) => "config",
        }
    }
    /// The reports of changes. `mails` says whether they are mailed by default.
    fn notification(self, commands: Notifies, mails: bool) -> Notification {
        Notification {
            commands,
            smtp_alert: self.node.switch("smtp_alert").unwrap_or(mails),
            priority_changes: self
                .switch("notify_priority_changes", "vrrp_notify_priority_changes"),
            deleted: self.node.has("notify_deleted"),
        }
    }
}

/// Complains of unicast that would leave by the interface with the virtual MAC.
fn check_unicast_over_vmac(
    node: &Node,
    peers: &[Peer],
    name: &str,
    complaints: &mut Vec<Complaint>,
) {
    if node.has("use_vmac") && !peers.is_empty() && !node.has("vmac_xmit_base") {
        complaints.push(
            Complaint::new(
                Kind::Other,
                "unicast with use_vmac needs vmac_xmit_base, which is set",
            )
            .at(node.end)
            .object(name),
        );
    }
}

/// Whether an instance is of IPv6. Its first address determines that, be it a virtual address, a
/// peer's, or the one to advertise from.
fn is_ipv6(node: &Node) -> bool {
    let parse = |text: &String| text.split('/').next()?.parse::<IpAddr>().ok();
    let first = node
        .children
        .iter()
        .find_map(|statement| match statement.word {
            "mcast_src_ip" | "unicast_src_ip" => parse(statement.words.first()?),
            "virtual_ipaddress" | "unicast_peer" => statement
                .entries
                .iter()
                .find_map(|entry| parse(entry.words.first()?)),
            _ => None,
        });
    first.is_some_and(|address| address.is_ipv6())
}
