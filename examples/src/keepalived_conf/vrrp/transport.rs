//! The addresses between which advertisements travel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::keepalived_conf::{
    address::without_length,
    complaint::{Complaint, Kind},
    configuration::{Global, Peer},
    tree::Node,
    value::{self, Range},
};

/// The configured address to advertise from.
pub(super) fn source(
    node: &Node,
    is_ipv6: bool,
    name: &str,
    complaints: &mut Vec<Complaint>,
) -> Option<IpAddr> {
    let mut source = None;
    for statement in &node.children {
        if !matches!(statement.word, "mcast_src_ip" | "unicast_src_ip") {
            continue;
        }
        let text = statement.word_at(0).unwrap_or_default();
        // A prefix length is ignored.
        let problem = match without_length(text) {
            Some(address) if address.is_ipv6() == is_ipv6 => {
                source = Some(address);
                continue;
            }
            Some(_) => (Kind::FamilyMismatch, "of another family than the instance"),
            None => (Kind::BadAddress, "not an IP address"),
        };
        let (kind, reason) = problem;
        complaints.push(
            Complaint::new(kind, format!("{}: {text:?} is {reason}", statement.word))
                .at(statement.place)
                .token(text)
                .object(name),
        );
    }
    source
}

/// The peers of a unicast instance.
pub(super) fn peers(
    node: &Node,
    is_ipv6: bool,
    name: &str,
    complaints: &mut Vec<Complaint>,
) -> Vec<Peer> {
    let mut peers = Vec::new();
    for entry in node.children_of("unicast_peer").flat_map(|it| &it.entries) {
        let mut complain = |kind, message: String, token: &str| {
            complaints.push(
                Complaint::new(kind, message)
                    .at(entry.place)
                    .token(token)
                    .object(name),
            );
        };
        peers.extend(peer(&entry.words, is_ipv6, &mut complain));
    }
    peers
}

/// Reads `ADDRESS [min_ttl N] [max_ttl N]`. `None` if the entry is not used.
fn peer(
    words: &[String],
    is_ipv6: bool,
    complain: &mut dyn FnMut(Kind, String, &str),
) -> Option<Peer> {
    let (first, options) = words.split_first()?;
    let text = first.split('/').next().unwrap_or_default();
    let Ok(address) = text.parse::<IpAddr>() else {
        let message = format!("{first:?} is not the address of a peer; it is not used");
        complain(Kind::BadAddress, message, first);
        return None;
    };
    if address.is_ipv6() != is_ipv6 {
        let message =
            format!("the peer {first} is of another family than the instance; it is not used");
        complain(Kind::FamilyMismatch, message, first);
        return None;
    }
    let mut peer = Peer {
        address,
        min_ttl: 0,
        max_ttl: 255,
    };
    ttl_bounds(&mut peer, options, complain);
    if peer.min_ttl > peer.max_ttl {
        let message = format!(
            "no packet of {first} has a TTL from {} to {}: all are discarded",
            peer.min_ttl, peer.max_ttl
        );
        complain(Kind::Other, message, first);
    }
    Some(peer)
}

/// Reads the options of a peer up to the first unknown one.
fn ttl_bounds(peer: &mut Peer, options: &[String], complain: &mut dyn FnMut(Kind, String, &str)) {
    let mut options = options.iter().map(String::as_str);
    while let Some(word) = options.next() {
        let value = options.next().unwrap_or_default();
        let number = value::number(value, Range::whole(0, 255));
        match (word, number.value.and_then(|it| u8::try_from(it).ok())) {
            ("min_ttl", Some(ttl)) if number.problem.is_none() => peer.min_ttl = ttl,
            ("max_ttl", Some(ttl)) if number.problem.is_none() => peer.max_ttl = ttl,
            ("min_ttl" | "max_ttl", _) => {
                let message = format!("{word} {value:?} is not a number in 0 to 255");
                complain(Kind::NumberOutOfRange, message, value);
            }
            _ => {
                let message = format!("{word:?} is not min_ttl or max_ttl");
                complain(Kind::UnknownValue, message, word);
                break;
            }
        }
    }
}

/// The multicast group: the instance's own, the one of `global_defs`, or VRRP's.
pub(super) fn multicast(node: &Node, global: &Global, is_ipv6: bool) -> IpAddr {
    let own = node
        .text("mcast_dst_ip")
        .and_then(without_length)
        .filter(|it| it.is_multicast() && it.is_ipv6() == is_ipv6);
    let word = if is_ipv6 {
        "vrrp_mcast_group6"
    } else {
        "vrrp_mcast_group4"
    };
    let global = global.text(word).and_then(without_length);
    let default = if is_ipv6 {
        IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12))
    } else {
        IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18))
    };
    own.or(global).unwrap_or(default)
}
