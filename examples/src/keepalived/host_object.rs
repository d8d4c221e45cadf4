//! Addresses, routes and rules that are configured with ip(8): static ones, and those of an
//! instance that the driver cannot express.

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::keepalived_conf::{address::Address, route::Route, rule::Rule};

/// The mark of routes and rules (`RTPROT_KEEPALIVED`).
const PROTOCOL: &str = "18";

/// An object of the host in the syntax of ip(8).
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct HostObject {
    /// `address`, `route`, `rule` or `link`.
    kind: Cow<'static, str>,
    /// How it is added: `add`, `prepend` for routes that several instances may have, or `set` for a
    /// link that exists.
    verb: Cow<'static, str>,
    is_ipv6: bool,
    words: Vec<String>,
    /// The words that are only given when it is added.
    settings: Vec<String>,
}

impl HostObject {
    /// An ipvlan on this parent, in state down. Removing it removes everything on it.
    #[must_use]
    pub fn ipvlan(name: &str, parent: &str, mode: &str) -> Self {
        let settings = ["link", parent, "type", "ipvlan", "mode", "l2", mode];
        Self::link("add", name, &settings)
    }

    /// The state of an existing link: up.
    #[must_use]
    pub fn up(name: &str) -> Self {
        Self::link("set", name, &["up"])
    }

    fn link(verb: &'static str, name: &str, settings: &[&str]) -> Self {
        Self {
            kind: "link".into(),
            verb: verb.into(),
            is_ipv6: false,
            words: vec![name.to_owned()],
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    /// An address of a link without further options.
    #[must_use]
    pub fn plain_address((address, length): (IpAddr, u8), interface: &str) -> Self {
        let words = [&format!("{address}/{length}"), "dev", interface];
        Self {
            kind: "address".into(),
            verb: "add".into(),
            is_ipv6: address.is_ipv6(),
            words: words.map(str::to_owned).into(),
            settings: Vec::new(),
        }
    }

    /// An address on an interface.
    #[must_use]
    pub fn address(address: &Address, interface: &str) -> Self {
        let mut words = Vec::new();
        let mut put = |text: &str| words.push(text.to_owned());
        match address.peer {
            Some((peer, length)) => {
                put(&address.address.to_string());
                put("peer");
                put(&format!("{peer}/{length}"));
            }
            None => put(&format!("{}/{}", address.address, address.prefix_len)),
        }
        put("dev");
        put(interface);
        let mut settings = Vec::new();
        let mut set = |word: &str, value: &str| {
            settings.push(word.to_owned());
            if !value.is_empty() {
                settings.push(value.to_owned());
            }
        };
        if let Some(broadcast) = address.broadcast_address() {
            set("brd", &broadcast.to_string());
        }
        if address.address.is_ipv4() {
            set("scope", &address.scope);
            if let Some(label) = &address.label {
                set("label", label);
            }
        } else {
            if !address.flags.contains(&"-nodad") {
                set("nodad", "");
            }
            if let Some(time) = &address.preferred {
                set("valid_lft", "forever");
                set("preferred_lft", time);
            }
        }
        for flag in address.flags.iter().filter(|flag| **flag != "-nodad") {
            set(flag, "");
        }
        Self {
            kind: "address".into(),
            verb: "add".into(),
            is_ipv6: address.address.is_ipv6(),
            words,
            settings,
        }
    }

    /// A route.
    #[must_use]
    pub fn route(route: &Route) -> Self {
        let mut words = Vec::new();
        let mut put = |word: &str, value: &str| {
            if !word.is_empty() {
                words.push(word.to_owned());
            }
            if !value.is_empty() {
                words.push(value.to_owned());
            }
        };
        let is_plain = route.kind == "unicast";
        if !is_plain {
            put(&route.kind, "");
        }
        let is_ipv6 = route.destination.is_some_and(|(it, _)| it.is_ipv6());
        if let Some((destination, length)) = route.destination {
            put(&format!("{destination}/{length}"), "");
        }
        if let Some(gateway) = route.gateway {
            put("via", &gateway.to_string());
        }
        for (word, value) in [
            ("src", route.source.map(|it| it.to_string())),
            ("dev", route.interface.clone()),
            ("table", route.table.map(|it| it.to_string())),
            ("scope", route.scope.map(|it| it.to_string())),
            ("metric", route.metric.map(|it| it.to_string())),
        ] {
            if let Some(value) = value {
                put(word, &value);
            }
        }
        if let Some(mtu) = route.mtu {
            put("mtu", if route.locks_mtu { "lock" } else { "" });
            put("", &mtu.to_string());
        }
        let protocol = route.protocol.map(|it| it.to_string());
        let is_marked = !route.asks_no_tracking;
        if let Some(protocol) = protocol.or_else(|| is_marked.then(|| PROTOCOL.into())) {
            put("proto", &protocol);
        }
        if route.is_onlink {
            put("onlink", "");
        }
        for (word, value) in &route.further {
            put(word, value);
        }
        for hop in &route.hops {
            put("nexthop", "");
            if let Some(gateway) = hop.gateway {
                put("via", &gateway.to_string());
            }
            if let Some(interface) = &hop.interface {
                put("dev", interface);
            }
            if let Some(weight) = hop.weight {
                put("weight", &weight.to_string());
            }
            if hop.is_onlink {
                put("onlink", "");
            }
        }
        Self {
            kind: "route".into(),
            verb: if is_plain && !is_ipv6 {
                "prepend".into()
            } else {
                "add".into()
            },
            is_ipv6,
            words,
            settings: Vec::new(),
        }
    }

    /// A rule.
    #[must_use]
    pub fn rule(rule: &Rule) -> Self {
        let Rule {
            is_negated,
            from,
            to,
            priority,
            tos,
            fwmark,
            input,
            output,
            is_l3mdev,
            table,
            protocol,
            kind,
            further,
            is_tracked: _, // Its loss is not noticed.
        } = rule;
        let prefix = |it: &Option<(IpAddr, u8)>| {
            it.map_or_else(|| "all".to_owned(), |(it, length)| format!("{it}/{length}"))
        };
        let mut words = Vec::new();
        if *is_negated {
            words.push("not".to_owned());
        }
        let mut put = |word: &str, value: String| words.extend([word.to_owned(), value]);
        put("from", prefix(from));
        if to.is_some() {
            put("to", prefix(to));
        }
        if *tos != 0 {
            put("tos", format!("{tos:#x}"));
        }
        if let Some((mark, mask)) = fwmark {
            let mask = mask.map(|mask| format!("/{mask:#x}")).unwrap_or_default();
            put("fwmark", format!("{mark:#x}{mask}"));
        }
        if let Some(input) = input {
            put("iif", input.clone());
        }
        if let Some(output) = output {
            put("oif", output.clone());
        }
        put("priority", priority.to_string());
        for (word, value) in further {
            let word = if word == "tunnel-id" { "tun_id" } else { word };
            put(word, value.clone());
        }
        if let Some(table) = table {
            put("table", table.to_string());
        }
        let protocol = protocol.map_or_else(|| PROTOCOL.to_owned(), |it| it.to_string());
        put("protocol", protocol);
        if let Some(kind) = kind {
            put("type", kind.clone());
        }
        if *is_l3mdev {
            words.push("l3mdev".to_owned());
        }
        let is_ipv6 = [from, to].into_iter().flatten().any(|(it, _)| it.is_ipv6());
        Self {
            kind: "rule".into(),
            verb: "add".into(),
            is_ipv6,
            words,
            settings: Vec::new(),
        }
    }

    /// Whether ip(8) must be asked with `-6`.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// The line of a batch of ip(8) that adds it.
    #[must_use]
    pub fn addition(&self) -> String {
        self.line(&self.verb, &self.settings)
    }

    /// The line of a batch of ip(8) that removes it.
    #[must_use]
    pub fn removal(&self) -> String {
        self.line("del", &[])
    }

    fn line(&self, verb: &str, settings: &[String]) -> String {
        let mut line = format!("{} {verb}", self.kind);
        for word in self.words.iter().chain(settings) {
            line.push(' ');
            line.push_str(word);
        }
        line.push('\n');
        line
    }
}
