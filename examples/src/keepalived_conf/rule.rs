//! Rules that come and go with an instance, in the words of iproute2.

use std::{fmt::Write as _, net::IpAddr};

use super::{
    address::{interface, prefix},
    complaint::{Complaint, Kind},
    route::{number, protocol, table},
    tree::Entry,
};

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `not`: packets that do not match.
    pub is_negated: bool,
    /// Packets from here.
    pub from: Option<(IpAddr, u8)>,
    /// Packets to there.
    pub to: Option<(IpAddr, u8)>,
    /// Its place among the rules.
    pub priority: u32,
    /// The type of service.
    pub tos: u32,
    /// The mark and its mask.
    pub fwmark: Option<(u32, Option<u32>)>,
    /// The interface by which packets come in.
    pub input: Option<String>,
    /// The interface by which they leave.
    pub output: Option<String>,
    /// `l3mdev`: the table of the VRF of the packet.
    pub is_l3mdev: bool,
    /// The table that is looked up.
    pub table: Option<u32>,
    /// The protocol with which it is marked, by default 18.
    pub protocol: Option<u8>,
    /// The treatment of packets, instead of a lookup in a table: `blackhole`, `unreachable`,
    /// `prohibit`.
    pub kind: Option<String>,
    /// Other words with their values.
    pub further: Vec<(String, String)>,
    /// Whether its loss takes the instance out of MASTER.
    pub is_tracked: bool,
}

/// Words without a value.
const FLAGS: [&str; 7] = [
    "not",
    "no_track",
    "l3mdev",
    "blackhole",
    "unreachable",
    "prohibit",
    "unicast",
];

/// Words with a value.
const OPTIONS: [&str; 23] = [
    "from",
    "to",
    "table",
    "lookup",
    "priority",
    "preference",
    "order",
    "fwmark",
    "iif",
    "dev",
    "oif",
    "tos",
    "dsfield",
    "protocol",
    "realms",
    "goto",
    "suppress_prefixlength",
    "suppress_ifgroup",
    "tunnel-id",
    "uidrange",
    "ipproto",
    "sport",
    "dport",
];

/// The last word of a rule, if it lacks its value.
pub(super) fn lacks_value<'a>(words: &[&'a str]) -> Option<&'a str> {
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        // An unknown word ends the reading of the line.
        let takes_value = OPTIONS.contains(&word) || word == "track_group";
        if !takes_value && !FLAGS.contains(&word) {
            return None;
        }
        if takes_value && words.next().is_none() {
            return Some(word);
        }
    }
    None
}

impl Rule {
    /// Reads a line of a rule block. `next_priority` is the priority of a rule that names none; it
    /// counts down from 16384. `knows` says whether an interface may be named.
    pub(super) fn read(
        entry: &Entry,
        knows: &dyn Fn(&str) -> bool,
        next_priority: &mut u32,
        complain: &mut dyn FnMut(Complaint),
    ) -> Option<Self> {
        let mut complain = |complaint: Complaint| complain(complaint.at(entry.place));
        let mut rule = Self {
            is_tracked: true,
            ..Self::default()
        };
        let mut priority = None;
        let mut words = entry.words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            if FLAGS.contains(&word) {
                rule.flag(word);
                continue;
            }
            let value = if OPTIONS.contains(&word) {
                words.next()
            } else {
                None
            };
            let Some(value) = value else {
                complain(
                    Complaint::new(
                        Kind::UnknownValue,
                        format!("{word:?} is no word of a rule, or lacks its value; the rule is not used"),
                    )
                    .token(word),
                );
                return None;
            };
            let is_usable = match word {
                "from" | "to" => {
                    let found = prefix(value, &mut complain)?;
                    if word == "from" {
                        rule.from = Some(found);
                    } else {
                        rule.to = (value != "all").then_some(found);
                    }
                    true
                }
                "priority" | "preference" | "order" => {
                    priority = number(value);
                    priority.is_some()
                }
                _ => rule.option(word, value, knows, &mut complain),
            };
            if !is_usable {
                complain(
                    Complaint::new(
                        Kind::ValueInvalid,
                        format!(
                            "{value:?} is not a value of {word} in a rule; the rule is not used"
                        ),
                    )
                    .token(value),
                );
                return None;
            }
        }
        if rule.is_tracked && rule.protocol.take().is_some_and(|it| it != 18) {
            // A tracked rule is recognised by its mark.
            complain(
                Complaint::new(
                    Kind::Other,
                    "a rule with another protocol cannot be tracked; the protocol is ignored",
                )
                .help("add no_track to keep the protocol"),
            );
        }
        rule.priority = if let Some(priority) = priority {
            priority
        } else {
            complain(
                Complaint::new(
                    Kind::RuleNoPreference,
                    format!("the rule has no priority; {next_priority} is used"),
                )
                .help("add priority and a number"),
            );
            let priority = *next_priority;
            *next_priority = next_priority.saturating_sub(1);
            priority
        };
        Some(rule)
    }

    fn flag(&mut self, word: &str) {
        match word {
            "not" => self.is_negated = true,
            "no_track" => self.is_tracked = false,
            "l3mdev" => self.is_l3mdev = true,
            "unicast" => {}
            _ => self.kind = Some(word.to_owned()),
        }
    }

    /// Reads an option. Returns whether its value is valid for the option.
    fn option(
        &mut self,
        word: &str,
        value: &str,
        knows: &dyn Fn(&str) -> bool,
        complain: &mut dyn FnMut(Complaint),
    ) -> bool {
        match word {
            "table" | "lookup" => {
                self.table = table(value);
                self.table.is_some()
            }
            "fwmark" => {
                self.fwmark = match value.split_once('/') {
                    Some((mark, bits)) => number(mark)
                        .zip(number(bits))
                        .map(|(mark, bits)| (mark, Some(bits))),
                    None => number(value).map(|mark| (mark, None)),
                };
                self.fwmark.is_some()
            }
            "iif" | "dev" | "oif" => {
                let name = Some(interface(value, knows, complain));
                if word == "oif" {
                    self.output = name;
                } else {
                    self.input = name;
                }
                true
            }
            "tos" | "dsfield" => number(value).map(|tos| self.tos = tos).is_some(),
            "protocol" => {
                self.protocol = protocol(value);
                self.protocol.is_some()
            }
            "tunnel-id" => {
                self.further.push((word.into(), value.into()));
                value.parse::<u64>().is_ok()
            }
            "sport" | "dport" | "uidrange" => {
                let is_range = value
                    .split_once('-')
                    .is_some_and(|(low, high)| number(low).is_some() && number(high).is_some());
                if is_range {
                    self.further.push((word.into(), value.into()));
                } else {
                    complain(
                        Complaint::new(
                            Kind::ValueInvalid,
                            format!("{word} {value:?} is not a range; it is ignored"),
                        )
                        .token(value)
                        .help(format!("write {word} {value}-{value}")),
                    );
                }
                true
            }
            "ipproto" => {
                let number = match value {
                    "icmp" => "1",
                    "tcp" => "6",
                    "udp" => "17",
                    "ipv6-icmp" => "58",
                    "sctp" => "132",
                    _ => value,
                };
                self.further.push((word.into(), number.into()));
                true
            }
            _ => {
                self.further.push((word.into(), value.into()));
                true
            }
        }
    }

    /// The rule as the oracle prints it.
    #[must_use]
    pub fn describe(&self) -> String {
        let show = |(address, length): (IpAddr, u8)| {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            if length == whole {
                address.to_string()
            } else {
                format!("{address}/{length}")
            }
        };
        let mut text = String::new();
        if self.is_negated {
            text.push_str("not ");
        }
        text.push_str("from ");
        text.push_str(&self.from.map_or_else(|| "all".into(), show));
        if let Some(to) = self.to {
            let _infallible = write!(text, " to {}", show(to));
        }
        let _infallible = write!(text, " priority {} tos {:#x}", self.priority, self.tos);
        if let Some((mark, mask)) = self.fwmark {
            let _infallible = write!(text, " fwmark {mark:#x}");
            if let Some(mask) = mask {
                let _infallible = write!(text, "/{mask:#x}");
            }
        }
        if let Some(input) = &self.input {
            let _infallible = write!(text, " iif {input}");
        }
        if let Some(output) = &self.output {
            let _infallible = write!(text, " oif {output}");
        }
        let mut put = |word: &str, shown: &str| {
            for (_, value) in self.further.iter().filter(|(its, _)| its == word) {
                let _infallible = write!(text, " {shown} {value}");
            }
        };
        put("tunnel-id", "tunnel-id");
        put("suppress_prefixlength", "suppress_prefixlen");
        put("suppress_ifgroup", "suppress_ifgroup");
        put("uidrange", "uidrange");
        if self.is_l3mdev {
            text.push_str(" l3mdev");
        }
        // A tracked rule always has the mark; another rule may have one of its own.
        if self.is_tracked {
            text.push_str(" protocol 18");
        } else if let Some(protocol) = self.protocol {
            let _infallible = write!(text, " protocol {protocol}");
        }
        let mut put = |word: &str| {
            for (_, value) in self.further.iter().filter(|(its, _)| its == word) {
                let _infallible = write!(text, " {word} {value}");
            }
        };
        for word in ["ipproto", "sport", "dport", "realms", "goto"] {
            put(word);
        }
        let has_goto = self.further.iter().any(|(word, _)| word == "goto");
        if let Some(kind) = &self.kind {
            let _infallible = write!(text, " type {kind}");
        } else if !has_goto {
            let table = self.table.unwrap_or(0);
            let _infallible = write!(text, " lookup {table}");
        }
        if !self.is_tracked {
            text.push_str(" no_track");
        }
        text
    }
}
