//! Routes that come and go with an instance, in the words of iproute2.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv6Addr},
};

use super::{
    address::{interface, prefix},
    complaint::{Complaint, Kind},
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
    /// Whether the destination is written without a family.
    pub has_any_family: bool,
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
    /// Its share, by default 1.
    pub weight: Option<u32>,
    /// `onlink`.
    pub is_onlink: bool,
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

/// The family that the addresses of a route have, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
struct Family(Option<bool>);

impl Family {
    /// Whether an address is of the family, which an unknown family then is.
    fn admits(&mut self, address: IpAddr) -> bool {
        *self.0.get_or_insert(address.is_ipv6()) == address.is_ipv6()
    }

    /// Reads the address of a next hop, which may have the name of its family before it.
    fn gateway(&mut self, named: Option<&str>, text: &str) -> Option<IpAddr> {
        let address: IpAddr = text.parse().ok()?;
        let is_named = named.is_none_or(|it| it == family(address));
        (is_named && self.admits(address)).then_some(address)
    }
}

/// The words of a route, in their order.
type Words<'a> = std::iter::Copied<std::slice::Iter<'a, &'a str>>;

/// Destinations of either family: the next hop or the source determines which.
const DEFAULT: [&str; 3] = ["default", "any", "all"];

/// Words that take a value and are not passed on.
const OPTIONS: [&str; 13] = [
    "src",
    "to",
    "via",
    "gw",
    "dev",
    "oif",
    "table",
    "protocol",
    "scope",
    "metric",
    "priority",
    "preference",
    "mtu",
];

/// Whether a word may stand between an option and its value.
fn may_precede_value(option: &str, word: &str) -> bool {
    matches!(
        (option, word),
        ("via" | "gw", "inet" | "inet6") | ("mtu", "lock")
    )
}

/// The value of an option, and the word before it, if there is one.
fn option_value<'a>(option: &str, words: &mut Words<'a>) -> (Option<&'a str>, &'a str) {
    let value = words.next().unwrap_or_default();
    if may_precede_value(option, value) {
        return (Some(value), words.next().unwrap_or_default());
    }
    (None, value)
}

/// The last word of a route, if it lacks its value.
pub(super) fn lacks_value<'a>(words: &[&'a str]) -> Option<&'a str> {
    let mut has_destination = false;
    let mut words = words.iter().copied().peekable();
    while let Some(mut word) = words.next() {
        let takes_value = OPTIONS.contains(&word)
            || FURTHER.contains(&word)
            || matches!(word, "weight" | "track_group");
        if takes_value {
            if let Some(before) = words.next_if(|it| may_precede_value(word, it)) {
                word = before;
            }
            if words.next().is_none() {
                return Some(word);
            }
        } else if !KINDS.contains(&word)
            && !matches!(word, "onlink" | "or" | "no_track" | "nexthop")
        {
            let address = word.split('/').next().unwrap_or_default();
            let is_destination =
                address.parse::<IpAddr>().is_ok() || DEFAULT.contains(&word) || word == "default6";
            // An unknown word ends the reading of the line.
            if has_destination || !is_destination {
                return None;
            }
            has_destination = true;
        }
    }
    None
}

impl Route {
    /// Reads a line of a route block. An unknown word gives a complaint, and the route is not used.
    /// `knows` says whether an interface may be named.
    pub(super) fn read(
        entry: &Entry,
        knows: &dyn Fn(&str) -> bool,
        complain: &mut dyn FnMut(Complaint),
    ) -> Option<Self> {
        let mut route = Self {
            kind: "unicast".into(),
            is_tracked: true,
            ..Self::default()
        };
        let mut complain = |complaint: Complaint| complain(complaint.at(entry.place));
        let words: Vec<&str> = entry.words.iter().map(String::as_str).collect();
        let mut words: Words<'_> = words.iter().copied();
        let mut addresses = Family::default();
        while let Some(word) = words.next() {
            if KINDS.contains(&word) {
                word.clone_into(&mut route.kind);
                continue;
            }
            match word {
                "onlink" => route.is_onlink = true,
                "or" => {}
                "no_track" => {
                    route.is_tracked = false;
                    route.asks_no_tracking = true;
                }
                "nexthop" => {
                    route.read_hops(&mut words, &mut addresses, knows, &mut complain);
                    break;
                }
                _ if OPTIONS.contains(&word) => {
                    let value = option_value(word, &mut words);
                    route.locks_mtu |= value.0 == Some("lock");
                    if !route.option(word, value, &mut addresses, knows, &mut complain) {
                        return None;
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
                _ => {
                    if !route.read_destination(word, &mut addresses, &mut complain) {
                        return None;
                    }
                }
            }
        }
        route.finish(addresses, &mut complain)
    }

    /// Reads the destination. Returns whether the route can be used.
    fn read_destination(
        &mut self,
        text: &str,
        addresses: &mut Family,
        complain: &mut dyn FnMut(Complaint),
    ) -> bool {
        let Some((address, length)) = prefix(text, complain) else {
            return false;
        };
        let is_default = DEFAULT.contains(&text);
        let fits = if is_default {
            addresses.0 != Some(true)
        } else {
            addresses.admits(address)
        };
        if !fits {
            complain(mixed_families(text));
        }
        self.destination = Some((address, length));
        self.has_any_family = is_default;
        fits
    }

    /// Reads next hops, up to the first fault, which the next hop that has it does not survive.
    fn read_hops(
        &mut self,
        words: &mut Words<'_>,
        addresses: &mut Family,
        knows: &dyn Fn(&str) -> bool,
        complain: &mut dyn FnMut(Complaint),
    ) {
        let mut hop = Hop::default();
        while let Some(word) = words.next() {
            let is_usable = match word {
                "nexthop" => {
                    self.hops.push(std::mem::take(&mut hop));
                    true
                }
                "onlink" => {
                    hop.is_onlink = true;
                    true
                }
                "via" | "dev" | "oif" | "weight" => {
                    let (before, value) = option_value(word, words);
                    let is_usable = hop.option(word, (before, value), addresses, knows, complain);
                    if !is_usable {
                        complain(
                            Complaint::new(
                                Kind::ValueInvalid,
                                format!(
                                    "{value:?} is not a value of {word} in a next hop; this and the \
                                     following next hops are not used"
                                ),
                            )
                            .token(value),
                        );
                    }
                    is_usable
                }
                _ => {
                    complain(
                        Complaint::new(
                            Kind::UnknownValue,
                            format!(
                                "{word:?} is no word of a next hop; the rest of the line is ignored"
                            ),
                        )
                        .token(word)
                        .help("put the words of the route before its first nexthop"),
                    );
                    break;
                }
            };
            if !is_usable {
                return;
            }
        }
        self.hops.push(hop);
    }

    /// Completes the route once the whole line is read.
    fn finish(mut self, addresses: Family, complain: &mut dyn FnMut(Complaint)) -> Option<Self> {
        if self.has_any_family && addresses.0 == Some(true) {
            self.destination = Some((IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0));
        }
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

    /// Reads an option with its value, which a word may precede. Returns whether the route can be
    /// used.
    fn option(
        &mut self,
        word: &str,
        (before, value): (Option<&str>, &str),
        addresses: &mut Family,
        knows: &dyn Fn(&str) -> bool,
        complain: &mut dyn FnMut(Complaint),
    ) -> bool {
        let is_valid = match word {
            "src" => {
                self.source = value.parse().ok().filter(|it| addresses.admits(*it));
                self.source.is_some()
            }
            "to" => return self.read_destination(value, addresses, complain),
            "via" | "gw" => {
                if word == "gw" {
                    complain(
                        Complaint::new(Kind::Deprecated, "gw is deprecated")
                            .token(word)
                            .help("write via"),
                    );
                }
                self.gateway = addresses.gateway(before, value);
                self.gateway.is_some()
            }
            "dev" | "oif" => {
                self.interface = Some(interface(value, knows, complain));
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
            _ => {
                self.metric = number(value);
                self.metric.is_some()
            }
        };
        if !is_valid {
            let is_address = value.parse::<IpAddr>().is_ok();
            complain(if is_address {
                mixed_families(value)
            } else {
                Complaint::new(
                    Kind::ValueInvalid,
                    format!("{value:?} is not a value of {word} in a route; the route is not used"),
                )
                .token(value)
            });
        }
        is_valid
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
            if let Some(weight) = hop.weight {
                let _infallible = write!(text, " weight {weight}");
            }
            if hop.is_onlink {
                text.push_str(" onlink");
            }
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

impl Hop {
    /// Reads an option with its value, which a word may precede. Returns whether it is valid.
    fn option(
        &mut self,
        word: &str,
        (before, value): (Option<&str>, &str),
        addresses: &mut Family,
        knows: &dyn Fn(&str) -> bool,
        complain: &mut dyn FnMut(Complaint),
    ) -> bool {
        match word {
            "via" => {
                self.gateway = addresses.gateway(before, value);
                self.gateway.is_some()
            }
            "weight" => {
                self.weight = number(value).filter(|weight| (1..=256).contains(weight));
                self.weight.is_some()
            }
            _ => {
                self.interface = Some(interface(value, knows, complain));
                true
            }
        }
    }
}

/// The complaint about an address that is of another family than the rest of its route.
fn mixed_families(text: &str) -> Complaint {
    Complaint::new(
        Kind::FamilyMismatch,
        format!("{text} is of another family than the rest of the route, which is not used"),
    )
    .token(text)
}

const fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "inet",
        IpAddr::V6(_) => "inet6",
    }
}
