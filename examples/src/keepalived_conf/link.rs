//! Interfaces that keepalived creates for an instance: macvlans and ipvlans.

use std::net::IpAddr;

use super::{configuration::Ipvlan, tree::Node};

/// Whether a word of `use_vmac` or `use_ipvlan` is the name of the interface.
pub(super) fn is_name(word: &str, keyword: &str) -> bool {
    let is_setting = match keyword {
        "use_vmac" => word == "netlink_notify_msg" || word.matches(':').count() >= 4,
        _ => MODES.contains(&word) || address(word).is_some(),
    };
    !is_setting && word != "group"
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

/// The interface of `use_ipvlan`, without its name.
pub(super) fn ipvlan(statement: &Node) -> Ipvlan {
    let words = || statement.words.iter();
    let mode = words().find_map(|word| MODES.into_iter().find(|mode| mode == word));
    Ipvlan {
        device: String::new(),
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
