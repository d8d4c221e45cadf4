//! Interfaces that keepalived creates for an instance: macvlans and ipvlans.

use std::net::IpAddr;

use super::{
    configuration::{Global, Ipvlan},
    tree::Node,
};

/// The name of the interface of `use_vmac`.
pub(super) fn vmac_name(statement: &Node, node: &Node, global: &Global) -> String {
    let given = statement.words.iter().find(|word| {
        word.matches(':').count() < 4 && !matches!(word.as_str(), "netlink_notify_msg" | "group")
    });
    if let Some(word) = given.filter(|word| word.len() <= 15) {
        return word.clone();
    }
    default_name(node, global)
}

/// A hardware address for a virtual MAC that is not one of VRRP.
pub(super) fn own_hardware_address(statement: &Node) -> Option<String> {
    let is_address = |word: &&String| word.matches(':').count() >= 4;
    let given = statement
        .words
        .iter()
        .find(is_address)?
        .to_ascii_lowercase();
    let is_of_vrrp = ["00:00:5e:00:01", "00:00:5e:00:02"]
        .iter()
        .any(|prefix| given.starts_with(prefix));
    (!is_of_vrrp).then_some(given)
}

/// The modes of an ipvlan, the default first.
const MODES: [&str; 3] = ["bridge", "private", "vepa"];

/// Whether a word of `use_ipvlan` is an address or a mode, and not the name of the interface.
pub(super) fn is_of_ipvlan(word: &str) -> bool {
    MODES.contains(&word) || address(word).is_some()
}

/// The interface of `use_ipvlan`.
pub(super) fn ipvlan(statement: &Node, node: &Node, global: &Global) -> Ipvlan {
    let words = || statement.words.iter();
    let own = words().find(|word| !is_of_ipvlan(word) && *word != "group");
    let device = match own.filter(|word| word.len() <= 15) {
        Some(own) => own.clone(),
        None => default_name(node, global),
    };
    let mode = words().find_map(|word| MODES.into_iter().find(|mode| mode == word));
    Ipvlan {
        device,
        address: words().find_map(|word| address(word)),
        mode: mode.unwrap_or("bridge"),
    }
}

/// An address with its prefix length, by default the longest.
fn address(word: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length.parse().ok()?)),
        None => (word, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    Some((address, length.unwrap_or(longest)))
}

fn default_name(node: &Node, global: &Global) -> String {
    let prefix = global.text("vmac_prefix").unwrap_or("vrrp");
    format!("{prefix}.{}", node.number("virtual_router_id").unwrap_or(0))
}
