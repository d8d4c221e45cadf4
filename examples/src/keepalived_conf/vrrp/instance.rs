//! Instances.

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
    others: &[Draft<'_>],
    next_rule_priority: &mut u32,
    complaints: &mut Vec<Complaint>,
) -> Draft<'n> {
    let name = node.word_at(0).unwrap_or_default().to_owned();
    let Statements {
        interface,
        wants_master,
        device,
        version,
        is_ipv6,
    } = Statements::read(node, &name, context, others, complaints);
    let is_ipv6 = is_ipv6.unwrap_or(false);
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
    statements::remarks(node, complaints);
    let garp = announcing::garp(node, context.global, &name, complaints);
    let authentication = authentication::legacy(node, &name, complaints);
    let hmac = authentication::hmac(node, &name, complaints);
    let tracking = context.tracking(node, &name, defined, complaints);
    let commands = notify::read(node, &context.policy, complaints);
    let knows_interface = interface
        .as_ref()
        .is_some_and(|it| context.is_dynamic() || context.host.interfaces.contains_key(it));
    let has_device = check_device_of_unicast(node, knows_interface, &name, complaints);
    let settings = Settings {
        node,
        global: context.global,
    };
    let unicast = settings.unicast(peers, &name, complaints);
    let instance = Instance {
        version: settings.version(version, is_ipv6),
        is_ipv6,
        interface: interface.clone().unwrap_or_default(),
        is_routed: false,
        vmac: settings.vmac().filter(|_| has_device),
        ipvlan: settings.ipvlan().filter(|_| has_device),
        source,
        source_is_configured: source.is_some(),
        tracks_source: node.has("track_src_ip"),
        multicast: transport::multicast(node, context.global, is_ipv6),
        unicast,
        vrid: settings.small_number("virtual_router_id").unwrap_or(0),
        interval: node.number("advert_int").unwrap_or(1_000_000),
        election: settings.election(wants_master),
        accept: is_last(node, "accept", "no_accept"),
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
        device,
        instance,
    }
}

/// Whether a switch that is on by default is on: the last statement counts.
fn is_last(node: &Node, on: &str, off: &str) -> bool {
    let mut statements = node.children.iter().rev();
    let last = statements.find(|it| it.word == on || it.word == off);
    last.is_none_or(|it| it.word == on)
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

    /// The version: its own, that of IPv6, or the one of `global_defs`.
    fn version(self, own: Option<i64>, is_ipv6: bool) -> u8 {
        let global = || self.global.numbers.get("vrrp_version").copied();
        match own.or(is_ipv6.then_some(3)).or_else(global) {
            Some(3) => 3,
            _ => 2,
        }
    }

    /// The settings of the election, before the checks that need the whole instance.
    fn election(self, wants_master: Option<bool>) -> Election {
        Election {
            priority: self.priority(wants_master),
            starts_as_master: false,
            preempt: is_last(self.node, "preempt", "nopreempt"),
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

    /// The interface of `use_vmac`, which gets its name when all instances are read.
    fn vmac(self) -> Option<Vmac> {
        let statement = self.node.last("use_vmac")?;
        Some(Vmac {
            device: String::new(),
            own_address: link::own_hardware_address(statement),
            transmits_from_parent: self.node.has("vmac_xmit_base") || asks_for_unicast(self.node),
        })
    }

    /// The interface of `use_ipvlan`, which gets its name when all instances are read.
    fn ipvlan(self) -> Option<Ipvlan> {
        Some(link::ipvlan(self.node.last("use_ipvlan")?))
    }

    fn unicast(self, peers: Vec<Peer>, name: &str, complaints: &mut Vec<Complaint>) -> Unicast {
        let bounds_ttl = |peer: &Peer| peer.min_ttl > 0 || peer.max_ttl < 255;
        let mut ttl = self.small_number("unicast_ttl");
        if ttl.is_some() && peers.is_empty() {
            let text = "unicast_ttl goes with unicast peers; it is ignored";
            let complaint = Complaint::new(Kind::Other, text).at(self.node.end);
            complaints.push(complaint.object(name));
            ttl = None;
        }
        Unicast {
            ttl,
            checks_source: self.has_either("check_unicast_src", "vrrp_check_unicast_src")
                || peers.iter().any(bounds_ttl),
            lacks_peers: peers.is_empty() && asks_for_unicast(self.node),
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

/// Whether a keyword asks for unicast, with peers or without.
pub(super) fn asks_for_unicast(node: &Node) -> bool {
    [
        "unicast_src_ip",
        "unicast_peer",
        "check_unicast_src",
        "unicast_fault_no_peer",
        "old_unicast_checksum",
    ]
    .iter()
    .any(|word| node.has(word))
}

/// Complains of unicast that would leave by an interface of the instance's own. Returns whether the
/// instance can have one.
fn check_device_of_unicast(
    node: &Node,
    knows_interface: bool,
    name: &str,
    complaints: &mut Vec<Complaint>,
) -> bool {
    let asks_for_device = node.has("use_vmac") || node.has("use_ipvlan");
    if !asks_for_device || !asks_for_unicast(node) {
        return true;
    }
    let problem = if !knows_interface {
        "unicast without an interface goes without use_vmac and use_ipvlan, which are ignored"
    } else if !node.has("vmac_xmit_base") {
        "unicast with use_vmac needs vmac_xmit_base, which is set"
    } else {
        return true;
    };
    complaints.push(
        Complaint::new(Kind::Other, problem)
            .at(node.end)
            .object(name),
    );
    knows_interface
}
