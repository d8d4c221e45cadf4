//! Announcements, their pace, and delays of links.

use std::collections::BTreeMap;

use super::{
    complaint::{Complaint, Kind},
    configuration::{Garp, GarpGroup, Global, LinkDelay},
    source::Place,
    tree::Node,
    value::{self, Range},
};

/// The bursts of an instance: its own settings, then those of `global_defs`.
pub(super) fn garp(
    node: &Node,
    global: &Global,
    name: &str,
    complaints: &mut Vec<Complaint>,
) -> Garp {
    let default = |word: &str| global.numbers.get(word).copied();
    let number = |word: &str, or: i64| {
        let own = node.number(word);
        own.or(default(&format!("vrrp_{word}"))).unwrap_or(or)
    };
    let mut at_least_one = |word: &str, or: i64| {
        if node.number(word) != Some(0) {
            return number(word, or);
        }
        if let Some(statement) = node.last(word) {
            complaints.push(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!("{word}: 0 is too few; 1 is used"),
                )
                .at(statement.place)
                .object(name),
            );
        }
        1
    };
    let global_delay = default("vrrp_garp_master_delay").unwrap_or(5);
    let global_repeat = default("vrrp_garp_master_repeat").unwrap_or(5);
    Garp {
        delay: number("garp_master_delay", 5),
        repeat: at_least_one("garp_master_repeat", 5),
        refresh: number("garp_master_refresh", 0),
        refresh_repeat: at_least_one("garp_master_refresh_repeat", 1),
        lower_prio_delay: number("garp_lower_prio_delay", global_delay),
        lower_prio_repeat: number("garp_lower_prio_repeat", global_repeat),
    }
}

/// The parameters of `garp_extra_if` or of one of its other names.
pub(super) struct ExtraPeriod {
    /// Whether it applies to all other interfaces and not only to virtual MACs, and the seconds.
    pub(super) value: Option<(bool, i64)>,
    /// The fault of the parameters, if they have one.
    pub(super) problem: Option<(Kind, String)>,
}

impl ExtraPeriod {
    /// Reads the parameters of a keyword of an instance, in which 0 disables the announcements.
    pub(super) fn of_instance(keyword: &str, words: &[String]) -> Self {
        Self::read(keyword, words, 0)
    }

    /// Reads the parameters of a keyword of `global_defs`.
    pub(super) fn of_global(keyword: &str, words: &[String]) -> Self {
        Self::read(keyword, words, 1)
    }

    fn read(keyword: &str, words: &[String], low: i64) -> Self {
        let range = Range::whole(low, 86400).lenient();
        let is_all = words.first().is_some_and(|word| word == "all");
        let Some(text) = words.get(usize::from(is_all)) else {
            let problem = format!("{keyword} needs seconds in {}", range.describe());
            return Self {
                value: None,
                problem: Some((Kind::MissingParameter, problem)),
            };
        };
        let number = value::number(text, range);
        let problem = || {
            let range = range.describe();
            format!("{keyword}: {text:?} is not a number of seconds in {range}")
        };
        Self {
            value: number.value.map(|seconds| (is_all, seconds)),
            problem: number.problem.map(|_| (Kind::ValueInvalid, problem())),
        }
    }
}

/// `garp_extra_if` or `vmac_garp_intvl` of an instance, whichever is the later one with a usable
/// value, else the setting of `global_defs`.
pub(super) fn extra(node: &Node, global: &Global) -> Option<(bool, i64)> {
    let own = node.children.iter().rev().find_map(|it| match it.word {
        "garp_extra_if" | "vmac_garp_intvl" => ExtraPeriod::of_instance(it.word, &it.words).value,
        _ => None,
    });
    let default = || {
        let word = "vrrp_garp_extra_if";
        ExtraPeriod::of_global(word, global.words.get(word)?).value
    };
    own.or_else(default).filter(|(_, seconds)| *seconds > 0)
}

/// Reads `garp_group`. Returns the interfaces that it names, each with its place.
pub(super) fn garp_group(
    node: &Node,
    groups: &mut Vec<GarpGroup>,
    complaints: &mut Vec<Complaint>,
) -> Vec<(String, Place)> {
    let mut found: Vec<(String, Place)> = Vec::new();
    // If there are several, the last one counts.
    if let Some(statement) = node.last("interface") {
        let name = statement.word_at(0).unwrap_or_default().to_owned();
        found.push((name, statement.place));
    }
    for list in node.children_of("interfaces") {
        let names = list.entries.iter().flat_map(|entry| &entry.words);
        found.extend(names.map(|name| (name.clone(), list.end)));
    }
    let mut group = GarpGroup {
        interfaces: Vec::new(),
        garp_interval: node.number("garp_interval").unwrap_or(0),
        gna_interval: node.number("gna_interval").unwrap_or(0),
    };
    for (name, place) in &found {
        let others = groups.iter().flat_map(|it| &it.interfaces);
        if others.chain(&group.interfaces).any(|it| it == name) {
            complaints.push(
                Complaint::new(
                    Kind::Duplicate,
                    format!("{name} is in a garp_group already; the first one counts"),
                )
                .at(*place)
                .token(name),
            );
        } else {
            group.interfaces.push(name.clone());
        }
    }
    if node.has("garp_interval") || node.has("gna_interval") {
        groups.push(group);
    } else {
        complaints.push(
            Complaint::new(
                Kind::Other,
                "garp_group has no garp_interval and no gna_interval; it is ignored",
            )
            .at(node.end),
        );
    }
    found
}

/// Reads `interface_up_down_delays`. Without a second time, both are the first.
pub(super) fn link_delays(
    node: &Node,
    delays: &mut BTreeMap<String, LinkDelay>,
    complaints: &mut Vec<Complaint>,
) {
    let range = Range::seconds(0, 255_000_000);
    for entry in &node.entries {
        let Some((name, times)) = entry.words.split_first() else {
            continue;
        };
        let mut read = |text: &String| {
            let number = value::number(text, range);
            if let Some(kind) = number.problem {
                complaints.push(
                    Complaint::new(
                        kind,
                        format!(
                            "{name}: {text:?} is not a number of seconds in {}",
                            range.describe()
                        ),
                    )
                    .at(entry.place)
                    .token(text),
                );
            }
            number.value.unwrap_or(0)
        };
        let down = times.first().map_or(0, &mut read);
        let up = times.get(1).map_or(down, &mut read);
        delays.insert(name.clone(), LinkDelay { down, up });
    }
}
