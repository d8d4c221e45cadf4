//! Instances and sync groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    address::{Address, no_such_interface},
    announcing,
    complaint::{Complaint, Kind, Weight},
    configuration::{
        Configuration, Global, Hmac, HmacMode, Instance, Notifies, Peer, SyncGroup, Tracked,
        Tracking, Vmac,
    },
    finish::{Draft, advice, finish},
    host::Host,
    link,
    route::Route,
    rule::Rule,
    script::{Policy, Usability},
    source::Place,
    tracking::{self, Defined},
    tree::Node,
    value::{self, Range},
};

/// Resolves the blocks of the VRRP process.
pub(super) struct Resolver<'a> {
    pub(super) host: &'a Host,
    pub(super) policy: Policy<'a>,
    pub(super) global: &'a Global,
    pub(super) complaints: &'a mut Vec<Complaint>,
    defined: Defined,
    next_rule_priority: u32,
    /// An interface is named that does not exist, so the daemon does not start.
    missing_interface: bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        host: &'a Host,
        policy: Policy<'a>,
        global: &'a Global,
        complaints: &'a mut Vec<Complaint>,
    ) -> Self {
        Self {
            host,
            policy,
            global,
            complaints,
            defined: Defined::default(),
            next_rule_priority: 16384,
            missing_interface: false,
        }
    }

    fn complain(&mut self, complaint: Complaint) {
        self.complaints.push(complaint);
    }

    fn is_dynamic(&self) -> bool {
        self.global.has("dynamic_interfaces")
    }

    /// Fills in the VRRP part of a configuration. Returns whether a daemon starts with it.
    pub(super) fn resolve(mut self, nodes: &[Node], configuration: &mut Configuration) -> bool {
        let mut drafts = Vec::new();
        let mut groups = Vec::new();
        for node in nodes {
            match node.word {
                "vrrp_script" => {
                    if let Some(script) = tracking::script(node, &self.policy, self.complaints) {
                        let name = script.name.clone();
                        self.defined.scripts.add(&name, script);
                    }
                }
                "track_file" | "vrrp_track_file" => {
                    if let Some(file) = tracking::file(node, self.complaints) {
                        let name = file.name.clone();
                        self.defined.files.add(&name, file);
                    }
                }
                "vrrp_track_process" => {
                    if let Some(process) = tracking::process(node, self.complaints) {
                        let name = process.name.clone();
                        self.defined.processes.add(&name, process);
                    }
                }
                "bfd_instance" => {
                    if let Some(bfd) = super::bfd::read(node, &mut Vec::new()) {
                        let name = bfd.name.clone();
                        self.defined.bfd.add(&name, bfd);
                    }
                }
                "static_ipaddress" => {
                    let found = self.addresses(node);
                    configuration.static_addresses.extend(found);
                }
                "static_routes" => {
                    let found = self.routes(node);
                    configuration.static_routes.extend(found);
                }
                "static_rules" => {
                    let found = self.rules(node);
                    configuration.static_rules.extend(found);
                }
                "track_group" => {
                    let name = node.word_at(0).map(str::to_owned);
                    configuration.track_groups.extend(name);
                }
                "vrrp_sync_group" => {
                    let group = self.group(node);
                    groups.push(group);
                }
                "vrrp_instance" => {
                    let draft = self.draft(node);
                    drafts.push(draft);
                }
                "linkbeat_interfaces" => {
                    for entry in &node.entries {
                        self.needs_interface(entry.words.first(), entry.place);
                    }
                }
                "interface_up_down_delays" => {
                    let delays = &mut configuration.link_delays;
                    announcing::link_delays(node, delays, self.complaints);
                    for entry in &node.entries {
                        self.needs_interface(entry.words.first(), entry.place);
                    }
                }
                "garp_group" => {
                    let groups = &mut configuration.garp_groups;
                    for (name, place) in announcing::garp_group(node, groups, self.complaints) {
                        self.needs_interface(Some(&name), place);
                    }
                }
                _ => {}
            }
        }
        for node in nodes.iter().filter(|node| node.word == "static_ipaddress") {
            self.track_groups(node, nodes);
        }
        let starts = self.finish(&mut drafts, &mut groups);
        configuration.instances = drafts.into_iter().map(|draft| draft.instance).collect();
        configuration.sync_groups = groups;
        self.keep_tracked(configuration);
        starts
    }

    /// Complains if an interface does not exist.
    fn needs_interface(&mut self, name: Option<&String>, place: Place) {
        if let Some(name) = name
            && !self.host.interfaces.contains_key(name)
            && !self.is_dynamic()
        {
            self.complain(no_such_interface(name).at(place));
            self.missing_interface = true;
        }
    }

    fn addresses(&mut self, node: &Node) -> Vec<Address> {
        let found = self.addresses_with_places(node);
        found.into_iter().map(|(address, _)| address).collect()
    }

    /// Complains of track groups that static objects name and that are not defined before them.
    fn track_groups(&mut self, node: &Node, nodes: &[Node]) {
        for entry in &node.entries {
            let mut words = entry.words.iter();
            let name = words
                .by_ref()
                .find(|word| *word == "track_group")
                .and(words.next());
            let Some(name) = name else { continue };
            let is_before = |it: &&Node| {
                it.word == "track_group" && it.word_at(0) == Some(name) && it.place < entry.place
            };
            if !nodes.iter().any(|it| is_before(&it)) {
                self.complain(
                    Complaint::new(
                        Kind::NotDefined,
                        format!("there is no track_group {name:?} before this line"),
                    )
                    .at(entry.place)
                    .token(name),
                );
            }
        }
    }

    fn routes(&mut self, node: &Node) -> Vec<Route> {
        let host = self.host;
        let mut found = Vec::new();
        for entry in &node.entries {
            let mut missing = false;
            let route = Route::read(entry, host, &mut |complaint| {
                missing |= complaint.kind == Kind::NoSuchInterface;
                self.complaints.push(complaint);
            });
            self.missing_interface |= missing;
            found.extend(route);
        }
        found
    }

    fn rules(&mut self, node: &Node) -> Vec<Rule> {
        let host = self.host;
        let mut found = Vec::new();
        for entry in &node.entries {
            let mut missing = false;
            let rule = Rule::read(
                entry,
                host,
                &mut self.next_rule_priority,
                &mut |complaint| {
                    missing |= complaint.kind == Kind::NoSuchInterface;
                    self.complaints.push(complaint);
                },
            );
            self.missing_interface |= missing;
            found.extend(rule);
        }
        found
    }

    fn tracking(&mut self, node: &Node, name: &str) -> Tracking {
        let before = self.complaints.len();
        let is_dynamic = self.is_dynamic();
        let tracking = tracking::read(
            node,
            name,
            &self.defined,
            self.host,
            is_dynamic,
            self.complaints,
        );
        let added = self.complaints.get(before..).unwrap_or_default();
        self.missing_interface |= added.iter().any(|it| it.kind == Kind::NoSuchInterface);
        tracking
    }

    fn notifies(&mut self, node: &Node) -> Notifies {
        const COMMANDS: [(&str, &str); 7] = [
            ("notify_backup", "backup"),
            ("notify_master", "master"),
            ("notify_fault", "fault"),
            ("notify_stop", "stop"),
            ("notify_deleted", "deleted"),
            ("notify_master_rx_lower_pri", "master rx lower pri"),
            ("notify", "generic"),
        ];
        let mut found = BTreeMap::new();
        for (word, name) in COMMANDS {
            let mut statements = node.children_of(word).filter(|it| !it.words.is_empty());
            let Some(first) = statements.next() else {
                continue;
            };
            for again in statements {
                self.complaints.push(
                    Complaint::new(
                        Kind::Duplicate,
                        format!("{word} is given already; the first one counts"),
                    )
                    .at(again.place),
                );
            }
            let script = self.policy.notify(first, &mut |complaint| {
                // `-t` only looks at users when the daemon starts.
                let weight = match complaint.kind {
                    Kind::ScriptUserUnknown => Weight::Notice,
                    _ => Weight::Error,
                };
                if weight == Weight::Error {
                    self.complaints.push(complaint);
                }
            });
            if let Some(script) = script {
                found.insert(name, script);
            }
        }
        found
    }

    fn group(&mut self, node: &Node) -> SyncGroup {
        let name = node.word_at(0).unwrap_or_default().to_owned();
        let mut members = Vec::new();
        for list in node.children_of("group") {
            members.extend(list.entries.iter().flat_map(|entry| entry.words.clone()));
        }
        let tracking = self.tracking(node, &name);
        let notifies = self.notifies(node);
        let default = self.smtp_alert();
        SyncGroup {
            tracking,
            notifies,
            smtp_alert: node.switch("smtp_alert").unwrap_or(default),
            tracking_weight: node.has("sync_group_tracking_weight") || node.has("global_tracking"),
            notify_priority_changes: node.switch("notify_priority_changes").unwrap_or(false),
            members,
            name,
        }
    }

    /// Whether changes are mailed by default.
    fn smtp_alert(&self) -> bool {
        let switches = &self.global.switches;
        let own = switches.get("smtp_alert_vrrp");
        own.or(switches.get("smtp_alert")).copied().unwrap_or(false)
    }

    /// Checks the statements of an instance one by one. Returns its interface and its configured
    /// initial state.
    fn statements(&mut self, node: &Node, name: &str) -> (Option<String>, Option<bool>) {
        let mut interface = None;
        let mut wants_master = None;
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            match statement.word {
                "interface" => interface = self.interface(statement, text, name),
                "state" => match text {
                    "MASTER" => wants_master = Some(true),
                    "BACKUP" => wants_master = Some(false),
                    _ => {
                        let mut complaint = Complaint::new(
                            Kind::UnknownValue,
                            format!("state: {text:?} is not MASTER or BACKUP; BACKUP is used"),
                        )
                        .at(statement.place)
                        .token(text)
                        .object(name);
                        if text.eq_ignore_ascii_case("MASTER") {
                            complaint = complaint.help("write MASTER in capital letters");
                        }
                        self.complain(complaint);
                    }
                },
                "vrf" if (!self.host.interfaces.contains_key(text) || interface.is_some()) => {
                    self.complain(
                        Complaint::new(
                            Kind::Other,
                            "vrf goes with unicast and without an interface; it is ignored",
                        )
                        .at(statement.place)
                        .object(name),
                    );
                }
                "use_vmac" | "use_ipvlan" => self.vmac_words(statement, name),
                "mcast_dst_ip" => {
                    let is_multicast = text.parse().is_ok_and(|it: IpAddr| it.is_multicast());
                    if !is_multicast {
                        self.complain(
                            Complaint::new(
                                Kind::BadAddress,
                                format!("mcast_dst_ip: {text:?} is not a multicast address"),
                            )
                            .at(statement.place)
                            .object(name),
                        );
                    }
                }
                "garp_extra_if" => {
                    let index = usize::from(text == "all");
                    let seconds = statement.word_at(index).unwrap_or_default();
                    let number = value::number(seconds, Range::whole(0, 86400).lenient());
                    if number.problem.is_some() {
                        self.complain(
                            Complaint::new(
                                Kind::ValueInvalid,
                                format!("garp_extra_if: {seconds:?} is not a number of seconds in 0 to 86400"),
                            )
                            .at(statement.place)
                            .object(name),
                        );
                    }
                }
                _ => {}
            }
        }
        (interface, wants_master)
    }

    /// Reports statements that are deprecated, or that look as if they took a value.
    fn remarks(&mut self, node: &Node, name: &str, is_ipv6: bool) {
        if let Some(statement) = node.last("native_ipv6") {
            self.complain(
                Complaint::new(
                    if is_ipv6 {
                        Kind::Deprecated
                    } else {
                        Kind::FamilyMismatch
                    },
                    "native_ipv6 is deprecated: the addresses decide on the family",
                )
                .at(statement.place)
                .object(name),
            );
        }
        for statement in node
            .children_of("accept")
            .chain(node.children_of("nopreempt"))
        {
            if let Some("no" | "off" | "false") = statement.word_at(0) {
                self.complain(advice(
                    statement,
                    format!("{} takes no value: it is on", statement.word),
                    "leave the line out",
                ));
            }
        }
    }

    #[allow(clippy::too_many_lines, reason = "one field after the other")]
    fn draft<'n>(&mut self, node: &'n Node) -> Draft<'n> {
        let name = node.word_at(0).unwrap_or_default().to_owned();
        let global = self.global;
        let default = |word: &str, or: i64| global.numbers.get(word).copied().unwrap_or(or);
        let number = |word: &str, or: i64| node.number(word).unwrap_or(or);
        let (interface, wants_master) = self.statements(node, &name);
        let is_ipv6 = is_ipv6(node);
        let addresses: Vec<Address> = node
            .children_of("virtual_ipaddress")
            .flat_map(|list| self.family_addresses(list, &name, is_ipv6))
            .collect();
        let excluded: Vec<Address> = node
            .children_of("virtual_ipaddress_excluded")
            .flat_map(|list| self.addresses(list))
            .collect();
        let routes = node
            .children_of("virtual_routes")
            .flat_map(|list| self.routes(list))
            .collect();
        let rules = node
            .children_of("virtual_rules")
            .flat_map(|list| self.rules(list))
            .collect();
        let source = self.source(node, is_ipv6, &name);
        let peers = self.peers(node, is_ipv6, &name);
        self.remarks(node, &name, is_ipv6);
        let garp = announcing::garp(node, global, &name, self.complaints);
        let switch = |word: &str, global_word: &str| {
            node.switch(word)
                .or_else(|| global.switches.get(global_word).copied())
                .unwrap_or(false)
        };
        let priority_is_given = node.number("priority").is_some();
        let priority = match (node.number("priority"), wants_master) {
            (Some(priority), _) => priority,
            (None, Some(true)) => 255,
            (None, _) => 100,
        };
        let authentication = self.authentication(node, &name);
        let hmac = self.hmac(node, &name);
        let tracking = self.tracking(node, &name);
        let notifies = self.notifies(node);
        if node.has("use_vmac") && !peers.is_empty() && !node.has("vmac_xmit_base") {
            self.complain(
                Complaint::new(
                    Kind::Other,
                    "unicast with use_vmac needs vmac_xmit_base, which is set",
                )
                .at(node.end)
                .object(&name),
            );
        }
        let smtp_alert = self.smtp_alert();
        let unicast_keywords = [
            "unicast_peer",
            "check_unicast_src",
            "unicast_fault_no_peer",
            "old_unicast_checksum",
        ]
        .iter()
        .any(|word| node.has(word));
        let instance = Instance {
            version: match node
                .number("version")
                .or_else(|| global.numbers.get("vrrp_version").copied())
            {
                Some(3) => 3,
                None if is_ipv6 => 3,
                _ => 2,
            },
            is_ipv6,
            starts_as_master: false,
            interface: interface.clone().unwrap_or_default(),
            vmac: node.last("use_vmac").map(|statement| Vmac {
                device: link::vmac_name(statement, node, global),
                own_address: link::own_hardware_address(statement),
                transmits_from_parent: node.has("vmac_xmit_base") || !peers.is_empty(),
            }),
            source,
            source_is_configured: source.is_some(),
            tracks_source: node.has("track_src_ip"),
            multicast: self.multicast(node, is_ipv6),
            vrid: node
                .number("virtual_router_id")
                .and_then(|it| u8::try_from(it).ok())
                .unwrap_or(0),
            priority: u8::try_from(priority).unwrap_or(100),
            interval: number("advert_int", 1_000_000),
            accept: !node.has("no_accept"),
            preempt: !node.has("nopreempt"),
            preempt_delay: number("preempt_delay", 0),
            is_strict: node
                .switch("strict_mode")
                .unwrap_or_else(|| global.has("vrrp_strict")),
            skips_address_check: node.has("skip_check_adv_addr")
                || global.has("vrrp_skip_check_adv_addr"),
            dont_track_primary: node.has("dont_track_primary"),
            promote_secondaries: node.has("promote_secondaries"),
            authentication,
            hmac,
            may_lack_addresses: node.has("no_virtual_ipaddress"),
            owner_ignores_others: switch("owner_ignore_adverts", "vrrp_owner_ignore_adverts"),
            yields_after_stall: node.has("timer_expired_backup"),
            checksum_is_of_message: switch("v3_checksum_as_v2", "v3_checksum_as_v2"),
            ipvlan: node
                .last("use_ipvlan")
                .map(|statement| link::ipvlan(statement, node, global)),
            addresses,
            excluded,
            routes,
            rules,
            unicast_ttl: node
                .number("unicast_ttl")
                .and_then(|it| u8::try_from(it).ok()),
            check_unicast_source: node.has("check_unicast_src")
                || global.has("vrrp_check_unicast_src")
                || peers
                    .iter()
                    .any(|peer| peer.min_ttl > 0 || peer.max_ttl < 255),
            unicast_without_peers: unicast_keywords && peers.is_empty(),
            peers,
            garp,
            garp_extra: announcing::extra(node, global),
            down_timer_adverts: number("down_timer_adverts", default("vrrp_down_timer_adverts", 3)),
            answers_lower_priority: !switch("lower_prio_no_advert", "vrrp_lower_prio_no_advert"),
            advertises_before_yield: switch(
                "higher_prio_send_advert",
                "vrrp_higher_prio_send_advert",
            ),
            tracking,
            smtp_alert: node.switch("smtp_alert").unwrap_or(smtp_alert),
            notify_priority_changes: switch(
                "notify_priority_changes",
                "vrrp_notify_priority_changes",
            ),
            notifies_deleted: node.has("notify_deleted"),
            notifies,
            debug: node.number("debug"),
            kernel_rx_buf_size: node.number("kernel_rx_buf_size"),
            old_unicast_checksum: match node.last("old_unicast_checksum").map(|it| it.word_at(0)) {
                None => "no",
                Some(Some("never")) => "never",
                Some(_) => "config",
            },
            use_vmac_addr: node.has("use_vmac_addr"),
            unicast_fault_no_peer: node.has("unicast_fault_no_peer"),
            sync_group: None,
            name,
        };
        Draft {
            node,
            has_vrid: instance.vrid != 0,
            priority_is_given,
            wants_master,
            interface,
            instance,
        }
    }

    fn interface(&mut self, statement: &Node, text: &str, name: &str) -> Option<String> {
        let at = |complaint: Complaint| complaint.at(statement.place).object(name);
        if text.len() > 15 {
            self.complain(at(Complaint::new(
                Kind::NameTooLong,
                format!(
                    "{text:?} has {} characters, the name of an interface has at most 15",
                    text.len()
                ),
            )
            .token(text)));
            return None;
        }
        match self.host.interfaces.get(text) {
            Some(found) if found.is_loopback => {
                self.complain(at(Complaint::new(
                    Kind::Other,
                    format!("{text} is a loopback interface, on which no advertisements travel"),
                )
                .token(text)));
                None
            }
            Some(_) => Some(text.to_owned()),
            None if self.is_dynamic() => Some(text.to_owned()),
            None => {
                self.complain(at(no_such_interface(text)));
                self.missing_interface = true;
                Some(text.to_owned())
            }
        }
    }

    fn vmac_words(&mut self, statement: &Node, name: &str) {
        let mut has_name = false;
        for word in &statement.words {
            if word.matches(':').count() >= 4 {
                let word = word.to_ascii_lowercase();
                if word.starts_with("00:00:5e:00:01") || word.starts_with("00:00:5e:00:02") {
                    self.complain(
                        Complaint::new(
                            Kind::Other,
                            format!("{word} is a virtual MAC of VRRP, which is not chosen by hand; it is ignored"),
                        )
                        .at(statement.place)
                        .token(word)
                        .object(name),
                    );
                }
                continue;
            }
            if word == "netlink_notify_msg"
                || word == "group"
                || (statement.word == "use_ipvlan" && link::is_of_ipvlan(word))
            {
                continue;
            }
            let problem = if has_name {
                Some("the interface has a name already".to_owned())
            } else if word.len() > 15 {
                Some(format!(
                    "{word:?} has more than 15 characters; a name is made up"
                ))
            } else {
                None
            };
            has_name = true;
            if let Some(problem) = problem {
                self.complain(
                    Complaint::new(Kind::NameTooLong, problem)
                        .at(statement.place)
                        .token(word)
                        .object(name),
                );
                break;
            }
        }
    }

    /// The addresses of a list that are of the instance's family.
    fn family_addresses(&mut self, list: &Node, name: &str, is_ipv6: bool) -> Vec<Address> {
        let mut kept = Vec::new();
        for (address, entry) in self.addresses_with_places(list) {
            if address.address.is_ipv6() == is_ipv6 {
                kept.push(address);
            } else {
                self.complain(
                    Complaint::new(
                        Kind::FamilyMismatch,
                        format!(
                            "{} is of another family than the instance; it is not used",
                            address.address
                        ),
                    )
                    .at(entry)
                    .object(name)
                    .help("put it into virtual_ipaddress_excluded, or make a second instance"),
                );
            }
        }
        kept
    }

    fn addresses_with_places(&mut self, node: &Node) -> Vec<(Address, Place)> {
        let (host, is_dynamic) = (self.host, self.is_dynamic());
        let mut found = Vec::new();
        for entry in &node.entries {
            let mut missing = false;
            let address = Address::read(entry, host, is_dynamic, &mut |complaint| {
                missing |= complaint.kind == Kind::NoSuchInterface;
                self.complaints.push(complaint);
            });
            self.missing_interface |= missing;
            found.extend(address.map(|address| (address, entry.place)));
        }
        found
    }

    /// The configured address to advertise from.
    fn source(&mut self, node: &Node, is_ipv6: bool, name: &str) -> Option<IpAddr> {
        let mut source = None;
        for statement in &node.children {
            if !matches!(statement.word, "mcast_src_ip" | "unicast_src_ip") {
                continue;
            }
            let text = statement.word_at(0).unwrap_or_default();
            let problem = match text.parse::<IpAddr>() {
                Ok(address) if address.is_ipv6() == is_ipv6 => {
                    source = Some(address);
                    continue;
                }
                Ok(_) => (Kind::FamilyMismatch, "of another family than the instance"),
                Err(_) => (Kind::BadAddress, "not an IP address"),
            };
            let (kind, reason) = problem;
            self.complain(
                Complaint::new(kind, format!("{}: {text:?} is {reason}", statement.word))
                    .at(statement.place)
                    .token(text)
                    .object(name),
            );
        }
        source
    }

    fn peers(&mut self, node: &Node, is_ipv6: bool, name: &str) -> Vec<Peer> {
        let mut peers = Vec::new();
        for list in node.children_of("unicast_peer") {
            for entry in &list.entries {
                let mut complain = |kind, message: String, token: &str| {
                    self.complaints.push(
                        Complaint::new(kind, message)
                            .at(entry.place)
                            .token(token)
                            .object(name),
                    );
                };
                let Some((first, options)) = entry.words.split_first() else {
                    continue;
                };
                let text = first.split('/').next().unwrap_or_default();
                let Ok(address) = text.parse::<IpAddr>() else {
                    complain(
                        Kind::BadAddress,
                        format!("{first:?} is not the address of a peer; it is not used"),
                        first,
                    );
                    continue;
                };
                if address.is_ipv6() != is_ipv6 {
                    complain(
                        Kind::FamilyMismatch,
                        format!(
                            "the peer {first} is of another family than the instance; it is not used"
                        ),
                        first,
                    );
                    continue;
                }
                let mut peer = Peer {
                    address,
                    min_ttl: 0,
                    max_ttl: 255,
                };
                let mut options = options.iter().map(String::as_str);
                while let Some(word) = options.next() {
                    let value = options.next().unwrap_or_default();
                    let number = value::number(value, Range::whole(0, 255));
                    match (word, number.value.and_then(|it| u8::try_from(it).ok())) {
                        ("min_ttl", Some(ttl)) if number.problem.is_none() => peer.min_ttl = ttl,
                        ("max_ttl", Some(ttl)) if number.problem.is_none() => peer.max_ttl = ttl,
                        ("min_ttl" | "max_ttl", _) => complain(
                            Kind::NumberOutOfRange,
                            format!("{word} {value:?} is not a number in 0 to 255"),
                            value,
                        ),
                        _ => {
                            complain(
                                Kind::UnknownValue,
                                format!("{word:?} is not min_ttl or max_ttl"),
                                word,
                            );
                            break;
                        }
                    }
                }
                peers.push(peer);
            }
        }
        peers
    }

    fn authentication(&mut self, node: &Node, name: &str) -> Option<(&'static str, String)> {
        let mut kind = None;
        let mut password = None;
        for block in node.children_of("authentication") {
            for statement in &block.children {
                let text = statement.word_at(0).unwrap_or_default();
                match (statement.word, text) {
                    ("auth_type", "PASS") => kind = Some("PASS"),
                    ("auth_type", "AH") => kind = Some("AH"),
                    ("auth_type", _) => self.complain(
                        Complaint::new(
                            Kind::UnknownValue,
                            format!(
                                "auth_type: {text:?} is not PASS or AH; there is no authentication"
                            ),
                        )
                        .at(statement.place)
                        .token(text)
                        .object(name)
                        .help("write PASS or AH in capital letters"),
                    ),
                    _ => {
                        if text.len() > 8 {
                            self.complain(
                                Complaint::new(
                                    Kind::Truncated,
                                    "auth_pass is longer than 8 octets; the rest is cut",
                                )
                                .at(statement.place)
                                .token("auth_pass")
                                .help("cut it in the file, on both routers"),
                            );
                        }
                        let end = (0..=text.len().min(8))
                            .rev()
                            .find(|at| text.is_char_boundary(*at));
                        let cut = text.get(..end.unwrap_or(0)).unwrap_or_default();
                        password = Some(cut.to_owned());
                    }
                }
            }
        }
        match (kind, password) {
            (Some(kind), Some(password)) => Some((kind, password)),
            (Some(_), None) => {
                self.complain(
                    Complaint::new(
                        Kind::AuthNoPassword,
                        "authentication has no auth_pass; there is no authentication",
                    )
                    .object(name)
                    .help("put auth_type and auth_pass on lines of their own"),
                );
                None
            }
            _ => None,
        }
    }

    /// Reads `auth_hmac`. `None` without a usable key.
    fn hmac(&mut self, node: &Node, name: &str) -> Option<Hmac> {
        let block = node.last("auth_hmac")?;
        let mut hmac = Hmac {
            keys: Vec::new(),
            active: 0,
            is_monotonic: false,
            window: block
                .number("time_window")
                .and_then(|it| u16::try_from(it).ok()),
            mode: HmacMode::Enforce,
        };
        for statement in &block.children {
            let text = statement.word_at(0).unwrap_or_default();
            let problem = match (statement.word, text) {
                ("key", _) => {
                    let id = value::number(text, Range::whole(1, 255)).value;
                    match (
                        id.and_then(|it| u8::try_from(it).ok()),
                        statement.word_at(1),
                    ) {
                        (Some(id), Some(secret)) => {
                            hmac.keys.push((id, secret.to_owned()));
                            continue;
                        }
                        _ => "needs an id from 1 to 255 and a secret",
                    }
                }
                ("anti_replay", "time" | "monotonic") => {
                    hmac.is_monotonic = text == "monotonic";
                    continue;
                }
                ("anti_replay", _) => "is time or monotonic",
                ("mode", _) => {
                    hmac.mode = match text {
                        "enforce" => HmacMode::Enforce,
                        "permissive" => HmacMode::Permissive,
                        "receive-only" => HmacMode::ReceiveOnly,
                        _ => {
                            self.complain_of_hmac(
                                statement,
                                "is enforce, permissive or receive-only",
                                name,
                            );
                            continue;
                        }
                    };
                    continue;
                }
                _ => continue,
            };
            self.complain_of_hmac(statement, problem, name);
        }
        let first = hmac.keys.first().map(|(id, _)| *id);
        let active = block
            .number("active_key")
            .and_then(|it| u8::try_from(it).ok());
        let Some(active) = active.or(first) else {
            self.complain_of_hmac(block, "has no key; there is no authentication", name);
            return None;
        };
        hmac.active = active;
        Some(hmac)
    }

    fn complain_of_hmac(&mut self, statement: &Node, problem: &str, name: &str) {
        self.complain(
            Complaint::new(Kind::UnknownValue, format!("{} {problem}", statement.word))
                .at(statement.place)
                .object(name),
        );
    }

    fn multicast(&self, node: &Node, is_ipv6: bool) -> IpAddr {
        let own = node
            .text("mcast_dst_ip")
            .and_then(|text| text.parse::<IpAddr>().ok())
            .filter(|it| it.is_multicast() && it.is_ipv6() == is_ipv6);
        let word = if is_ipv6 {
            "vrrp_mcast_group6"
        } else {
            "vrrp_mcast_group4"
        };
        let global = self.global.text(word).and_then(|text| text.parse().ok());
        let default = if is_ipv6 {
            IpAddr::V6(std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12))
        } else {
            IpAddr::V4(std::net::Ipv4Addr::new(224, 0, 0, 18))
        };
        own.or(global).unwrap_or(default)
    }

    /// Checks what needs all blocks. Returns whether a daemon starts.
    fn finish(&mut self, drafts: &mut Vec<Draft<'_>>, groups: &mut Vec<SyncGroup>) -> bool {
        if self.missing_interface {
            self.complain(Complaint::new(
                Kind::NoSuchInterface,
                "an interface is named that does not exist; the daemon does not start",
            ));
        }
        self.security(drafts, groups);
        if self.missing_interface {
            return false;
        }
        let mut starts = true;
        for draft in drafts.iter_mut() {
            // In a group, the rules about weights come before those about owners.
            let name = &draft.instance.name;
            let is_grouped = groups
                .iter()
                .any(|group| !group.tracking_weight && group.members.contains(name));
            starts &= finish(draft, is_grouped, self.host, self.complaints);
            if !starts {
                return false;
            }
        }
        starts &= self.conflicts(drafts);
        self.finish_groups(drafts, groups);
        starts
    }

    /// Finds two instances with one VRID on one interface and of one family.
    fn conflicts(&mut self, drafts: &[Draft<'_>]) -> bool {
        let mut seen = BTreeSet::new();
        for draft in drafts {
            let it = &draft.instance;
            // Unicast instances with different peers do not conflict.
            let key = (
                it.interface.clone(),
                it.is_ipv6,
                it.vrid,
                it.peers.is_empty(),
                it.peers.iter().map(|peer| peer.address).collect::<Vec<_>>(),
            );
            if !seen.insert(key) {
                self.complain(
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

    fn finish_groups(&mut self, drafts: &mut [Draft<'_>], groups: &mut Vec<SyncGroup>) {
        for group in groups.iter_mut() {
            let mut members = Vec::new();
            for member in std::mem::take(&mut group.members) {
                let found = drafts
                    .iter_mut()
                    .find(|draft| draft.instance.name == member);
                let Some(draft) = found else {
                    self.complain(
                        Complaint::new(
                            Kind::NotDefined,
                            format!(
                                "sync group {} names {member:?}, which is no instance",
                                group.name
                            ),
                        )
                        .token(&member),
                    );
                    continue;
                };
                if let Some(other) = &draft.instance.sync_group {
                    let text = format!(
                        "{member} is in the sync groups {other} and {}; the first one counts",
                        group.name
                    );
                    self.complain(Complaint::new(Kind::InTwoGroups, text).token(&member));
                    continue;
                }
                draft.instance.sync_group = Some(group.name.clone());
                draft.instance.notify_priority_changes |= group.notify_priority_changes;
                members.push(member);
            }
            group.members = members;
        }
        let mut kept = Vec::new();
        for group in groups.drain(..) {
            match group.members.len() {
                0 => {
                    self.complain(Complaint::new(
                        Kind::NoRealServers,
                        format!("sync group {} has no members; it is ignored", group.name),
                    ));
                    continue;
                }
                1 => self.complain(Complaint::new(
                    Kind::GroupOfOne,
                    format!("sync group {} has one member only", group.name),
                )),
                _ => {}
            }
            kept.push(group);
        }
        *groups = kept;
        for group in groups.iter_mut() {
            self.group_weights(drafts, group);
        }
    }

    /// Drops weights inside a group, unless the group counts them.
    fn group_weights(&mut self, drafts: &mut [Draft<'_>], group: &mut SyncGroup) {
        let has_owner = drafts
            .iter()
            .any(|it| it.instance.priority == 255 && group.members.contains(&it.instance.name));
        for draft in drafts.iter_mut() {
            if !group.members.contains(&draft.instance.name) {
                continue;
            }
            let name = draft.instance.name.clone();
            let tracking = &mut draft.instance.tracking;
            if !group.tracking_weight {
                let complaints = &mut *self.complaints;
                tracking.scripts.retain(|tracked| {
                    if tracked.weight != 0 {
                        complaints
                            .push(weight_in_group("script", tracked, &group.name).object(&name));
                    }
                    tracked.weight == 0
                });
                for (kind, list) in [
                    ("interface", &mut tracking.interfaces),
                    ("file", &mut tracking.files),
                    ("BFD instance", &mut tracking.bfd),
                ] {
                    let complaints = &mut *self.complaints;
                    // An owner's weights already have a complaint.
                    for tracked in list.iter_mut().filter(|tracked| tracked.weight != 0) {
                        complaints.push(weight_in_group(kind, tracked, &group.name).object(&name));
                        tracked.weight = 0;
                    }
                }
            }
            let both: Vec<String> = tracking
                .interfaces
                .iter()
                .filter(|own| {
                    group
                        .tracking
                        .interfaces
                        .iter()
                        .any(|it| it.name == own.name)
                })
                .map(|own| own.name.clone())
                .collect();
            for both in both {
                self.complain(
                    Complaint::new(
                        Kind::OnInstanceAndGroup,
                        format!("{both} is tracked by the instance and by its group"),
                    )
                    .token(both)
                    .object(&name),
                );
            }
        }
        if has_owner {
            let tracking = &mut group.tracking;
            for tracked in tracking.interfaces.iter_mut().chain(&mut tracking.scripts) {
                if tracked.weight != 0 {
                    self.complaints.push(
                        Complaint::new(
                            Kind::OwnerTrackingIgnored,
                            format!("a group with an owner (255) cannot track {} with a weight; the weight is ignored", tracked.name),
                        )
                        .object(&group.name),
                    );
                    tracked.weight = 0;
                }
            }
        }
    }

    /// Looks up the scripts, drops those that cannot run, and reports where security is off.
    fn security(&mut self, drafts: &mut [Draft<'_>], groups: &mut [SyncGroup]) {
        let mut uses_scripts = false;
        let mut dropped = Vec::new();
        let policy = self.policy.clone();
        for script in self.defined.scripts.items_mut() {
            let usability = policy.look_up(&mut script.script);
            uses_scripts |= usability.counts();
            if !usability.is_kept() {
                dropped.push(script.name.clone());
            }
            if usability == Usability::Missing {
                self.complaints.push(
                    Complaint::new(
                        Kind::ScriptDisabled,
                        format!(
                            "the program of vrrp_script {} cannot be found; nothing tracks it",
                            script.name
                        ),
                    )
                    .token(&script.name),
                );
            }
        }
        let lists = drafts
            .iter_mut()
            .map(|draft| &mut draft.instance.tracking)
            .chain(groups.iter_mut().map(|group| &mut group.tracking));
        for tracking in lists {
            tracking
                .scripts
                .retain(|tracked| !dropped.contains(&tracked.name));
        }
        let notifies = drafts
            .iter_mut()
            .map(|draft| &mut draft.instance.notifies)
            .chain(groups.iter_mut().map(|group| &mut group.notifies));
        for notifies in notifies {
            notifies.retain(|_, script| {
                let usability = policy.look_up(script);
                uses_scripts |= usability.counts();
                usability.is_kept()
            });
        }
        for script in self.global.scripts.values() {
            let mut script = script.clone();
            uses_scripts |= policy.look_up(&mut script) == Usability::Usable;
        }
        if uses_scripts && !policy.is_secure {
            self.complain(
                Complaint::new(
                    Kind::ScriptSecurity,
                    "scripts run although enable_script_security is not set",
                )
                .weight(Weight::Security)
                .help("add enable_script_security and script_user to global_defs"),
            );
        }
    }

    /// Keeps only the objects that are tracked.
    fn keep_tracked(self, configuration: &mut Configuration) {
        let mut names: [BTreeSet<String>; 3] = Default::default();
        let lists = configuration
            .instances
            .iter()
            .map(|it| &it.tracking)
            .chain(configuration.sync_groups.iter().map(|it| &it.tracking));
        for tracking in lists {
            let [scripts, files, processes] = &mut names;
            scripts.extend(tracking.scripts.iter().map(|it| it.name.clone()));
            files.extend(tracking.files.iter().map(|it| it.name.clone()));
            processes.extend(tracking.processes.iter().map(|it| it.name.clone()));
        }
        let [scripts, files, processes] = names;
        let Defined {
            scripts: known_scripts,
            files: known_files,
            processes: known_processes,
            ..
        } = self.defined;
        configuration.scripts = known_scripts
            .into_items()
            .into_iter()
            .filter(|it| scripts.contains(&it.name))
            .collect();
        configuration.track_files = known_files
            .into_items()
            .into_iter()
            .filter(|it| files.contains(&it.name))
            .collect();
        configuration.track_processes = known_processes
            .into_items()
            .into_iter()
            .filter(|it| processes.contains(&it.name))
            .collect();
    }
}

/// The complaint about a weight that does not count in a sync group.
fn weight_in_group(kind: &str, tracked: &Tracked, group: &str) -> Complaint {
    Complaint::new(
        Kind::SyncGroupWeight,
        format!(
            "the weight of {kind} {} does not count in sync group {group}",
            tracked.name
        ),
    )
    .token(&tracked.name)
    .help("add sync_group_tracking_weight to the group, or leave the weight out")
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
