//! Routes that come and go with an instance, in the words of iproute2.

use std::{fmt::Write as _, net::IpAddr};

use super::{
    address::{no_such_interface, prefix},
    complaint::{Complaint, Kind},
    host::Host,
    tree::Entry,
};

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "as many as the language has flags"
)]
pub struct Route {
    /// `unicast`, or the treatment of packets: `blackhole`, `unreachable`, `prohibit`, `throw`.
    pub kind: String,
    /// The destination, with its prefix length.
    pub destination: Option<(IpAddr, u8)>,
    /// The source address that the host prefers.
    pub source: Option<IpAddr>,
    /// The next hop, if there is only one.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: Option<String>,
    /// The table.
    pub table: Option<u32>,
    /// The protocol with which it is marked, by default 18.
    pub protocol: Option<u8>,
    /// The scope.
    pub scope: Option<u8>,
    /// The metric.
    pub metric: Option<u32>,
    /// `onlink`.
    pub is_onlink: bool,
    /// The MTU.
    pub mtu: Option<u32>,
    /// `mtu lock`: path MTU discovery does not change it.
    pub locks_mtu: bool,
    /// Several next hops with their weights.
    pub hops: Vec<Hop>,
    /// Whether its loss takes the instance out of MASTER.
    pub is_tracked: bool,
    /// Whether `no_track` is given.
    pub asks_no_tracking: bool,
    /// Other words of iproute2 with their values.
    pub further: Vec<(String, String)>,
}

/// A next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: Option<String>,
    /// Its share.
    pub weight: u32,
}

const KINDS: [&str; 5] = ["unicast", "blackhole", "unreachable", "prohibit", "throw"];

/// Words of iproute2 that take a value and are passed on.
const FURTHER: [&str; 24] = [
    "tos",
    "dsfield",
    "realms",
    "advmss",
    "rtt",
    "rttvar",
    "reordering",
    "window",
    "cwnd",
    "initcwnd",
    "initrwnd",
    "ssthresh",
    "rto_min",
    "hoplimit",
    "features",
    "quickack",
    "congctl",
    "pref",
    "ttl-propagate",
    "expires",
    "encap",
    "fastopen_no_cookie",
    "nhid",
    "as",
];

pub(super) fn table(text: &str) -> Option<u32> {
    match text {
        "main" => Some(254),
        "local" => Some(255),
        "default" => Some(253),
        _ => number(text),
    }
}

fn scope(text: &str) -> Option<u8> {
    match text {
        "global" | "universe" => Some(0),
        "site" => Some(200),
        "link" => Some(253),
        "host" => Some(254),
        "nowhere" => Some(255),
        _ => text.parse().ok(),
    }
}

pub(super) fn protocol(text: &str) -> Option<u8> {
    match text {
        "kernel" => Some(2),
        "boot" => Some(3),
        "static" => Some(4),
        "ra" => Some(9),
        "keepalived" => Some(18),
        _ => text.parse().ok(),
    }
}

/// Reads a decimal number, or a hexadecimal one after `0x`.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Route {
    /// Reads a line of a route block. An unknown word gives a complaint, and the route is not used.
    pub(super) fn read(
        entry: &Entry,
        host: &Host,
        complain: &mut dyn FnMut(Complaint),
    ) -> Option<Self> {
        let mut route = Self {
            kind: "unicast".into(),
            is_tracked: true,
            ..Self::default()
        };
        let mut failed = false;
        let mut complain = |complaint: Complaint| complain(complaint.at(entry.place));
        let mut words = entry.words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            if KINDS.contains(&word) {
                word.clone_into(&mut route.kind);
                continue;
            }
            match word {
                "onlink" if route.hops.is_empty() => route.is_onlink = true,
                "onlink" | "or" => {}
                "no_track" => {
                    route.is_tracked = false;
                    route.asks_no_tracking = true;
                }
                "nexthop" => route.hops.push(Hop {
                    weight: 1,
                    ..Hop::default()
                }),
                "src" | "to" | "via" | "dev" | "oif" | "table" | "protocol" | "scope"
                | "metric" | "priority" | "preference" | "mtu" | "weight" => {
                    let mut value = words.next();
                    if word == "via" && matches!(value, Some("inet" | "inet6")) {
                        value = words.next();
                    }
                    if word == "mtu" && value == Some("lock") {
                        route.locks_mtu = true;
                        value = words.next();
                    }
                    let Some(value) = value else {
                        complain(Complaint::new(
                            Kind::MissingParameter,
                            format!("{word} of a route needs a value"),
                        ));
                        failed = true;
                        break;
                    };
                    if !route.option(word, value, host, &mut complain) {
                        failed = true;
                    }
                }
                _ if FURTHER.contains(&word) => {
                    let value = words.next().unwrap_or_default();
                    route.further.push((word.into(), value.into()));
                }
                _ if route.destination.is_some() => {
                    complain(
                        Complaint::new(
                            Kind::UnknownValue,
                            format!("{word:?} is no word of a route; the route is not used"),
                        )
                        .token(word)
                        .help("proto is written protocol here"),
                    );
                    return None;
                }
                _ => match prefix(word, &mut complain) {
                    Some(destination) => route.destination = Some(destination),
                    None => return None,
                },
            }
        }
        if failed {
            return None;
        }
        route.finish(&mut complain)
    }

    /// Completes the route once the whole line is read.
    fn finish(mut self, complain: &mut dyn FnMut(Complaint)) -> Option<Self> {
        if self.destination.is_none() {
            complain(Complaint::new(
                Kind::BadAddress,
                "a route needs a destination; the route is not used",
            ));
            return None;
        }
        if self.is_tracked && self.protocol.is_some_and(|it| it != 18) {
            // A tracked route is recognised by its mark.
            self.protocol = None;
            complain(
                Complaint::new(
                    Kind::Other,
                    "a route with another protocol cannot be tracked; the protocol is ignored",
                )
                .help("add no_track to keep the protocol"),
            );
        }
        let has_interface =
            self.interface.is_some() || self.hops.iter().any(|hop| hop.interface.is_some());
        // A single next hop on an interface can be tracked; several, or none, cannot.
        let is_traceable = has_interface && self.hops.is_empty();
        if self.is_tracked && !is_traceable {
            self.is_tracked = false;
            complain(
                Complaint::new(
                    Kind::Untrackable,
                    "a route without an interface of its own cannot be tracked",
                )
                .help("add dev and an interface, or no_track"),
            );
        }
        Some(self)
    }

    fn option(
        &mut self,
        word: &str,
        value: &str,
        host: &Host,
        complain: &mut dyn FnMut(Complaint),
    ) -> bool {
        let known = match word {
            "src" => value.parse().map(|it| self.source = Some(it)).is_ok(),
            "to" => match prefix(value, complain) {
                Some(destination) => {
                    self.destination = Some(destination);
                    true
                }
                None => return false,
            },
            "via" => {
                let gateway = value.parse().ok();
                match self.hops.last_mut() {
                    Some(hop) => hop.gateway = gateway,
                    None => self.gateway = gateway,
                }
                gateway.is_some()
            }
            "dev" | "oif" => {
                if !host.interfaces.contains_key(value) {
                    complain(no_such_interface(value));
                }
                match self.hops.last_mut() {
                    Some(hop) => hop.interface = Some(value.into()),
                    None => self.interface = Some(value.into()),
                }
                true
            }
            "table" => {
                self.table = table(value);
                self.table.is_some()
            }
            "protocol" => {
                self.protocol = protocol(value);
                self.protocol.is_some()
            }
            "scope" => {
                self.scope = scope(value);
                self.scope.is_some()
            }
            "mtu" => {
                self.mtu = number(value);
                self.mtu.is_some()
            }
            "weight" => match (self.hops.last_mut(), number(value)) {
                (Some(hop), Some(weight @ 1..=256)) => {
                    hop.weight = weight;
                    true
                }
                _ => false,
            },
            _ => {
                self.metric = number(value);
                self.metric.is_some()
            }
        };
        if !known {
            complain(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!("{value:?} is not a value of {word} in a route"),
                )
                .token(value),
            );
        }
        known
    }

    /// The route as the oracle prints it.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let is_plain = self.kind == "unicast";
        // Routes that discard packets are added; other routes are put before those of the same
        // destination.
        text.push_str(if is_plain { "prepend" } else { "add" });
        if !is_plain {
            let _infallible = write!(text, " {}", self.kind);
        }
        if let Some((address, length)) = self.destination {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            let _infallible = write!(text, " {address}");
            if length != whole {
                let _infallible = write!(text, "/{length}");
            }
        }
        for (word, value) in &self.further {
            if word == "tos" || word == "dsfield" {
                let _infallible = write!(text, " tos {}", number(value).unwrap_or(0));
            }
        }
        if let Some(source) = self.source {
            let _infallible = write!(text, " src {source}");
        }
        if let Some(gateway) = self.gateway {
            let _infallible = write!(text, " via {} {gateway}", family(gateway));
        }
        if let Some(interface) = &self.interface {
            let _infallible = write!(text, " dev {interface}");
        }
        if let Some(table) = self.table {
            let _infallible = write!(text, " table {table}");
        }
        // Routes with `no_track` do not get the mark by which tracked routes are recognised.
        if let Some(protocol) = self.protocol.or((!self.asks_no_tracking).then_some(18)) {
            let _infallible = write!(text, " proto {protocol}");
        }
        if let Some(scope) = self.scope {
            let _infallible = write!(text, " scope {scope}");
        }
        if let Some(metric) = self.metric {
            let _infallible = write!(text, " metric {metric}");
        }
        self.describe_further(&mut text);
        if self.is_onlink {
            text.push_str(" onlink");
        }
        for hop in &self.hops {
            text.push_str(" nexthop");
            if let Some(gateway) = hop.gateway {
                let _infallible = write!(text, " via {} {gateway}", family(gateway));
            }
            if let Some(interface) = &hop.interface {
                let _infallible = write!(text, " dev {interface}");
            }
            let _infallible = write!(text, " weight {}", hop.weight);
        }
        if !self.is_tracked {
            text.push_str(" no_track");
        }
        text
    }

    /// The metrics, in the oracle's order.
    fn describe_further(&self, text: &mut String) {
        // Metrics that have no position of their own come in the order of the kernel's numbers.
        const ORDER: [&str; 16] = [
            "realms", "hoplimit", "rtt", "rttvar", "ssthresh", "cwnd", "window", "mtu", "advmss",
            "rto_min", "features", "initcwnd", "initrwnd", "quickack", "congctl", "pref",
        ];
        for word in ORDER {
            if let (Some(mtu), "mtu") = (self.mtu, word) {
                let lock = if self.locks_mtu { "lock " } else { "" };
                let _infallible = write!(text, " mtu {lock}{mtu}");
            }
            for (_, value) in self.further.iter().filter(|(its, _)| its == word) {
                let _infallible = match word {
                    "realms" => write!(text, " realm {value}"),
                    "rtt" => write!(text, " rtt {}ms", number(value).unwrap_or(0).max(200)),
                    _ => write!(text, " {word} {value}"),
                };
            }
        }
    }
}

const fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "inet",
        IpAddr::V6(_) => "inet6",
    }
}
