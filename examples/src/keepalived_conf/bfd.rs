//! `bfd_instance`.

use std::net::IpAddr;

use super::{
    complaint::{Complaint, Kind},
    configuration::BfdInstance,
    tree::Node,
};

/// The most octets in the name of an instance.
const LONGEST_NAME: usize = 31;

/// The name of a BFD instance, unless it is too long.
pub(super) fn name(node: &Node) -> Option<&str> {
    node.word_at(0).filter(|name| name.len() <= LONGEST_NAME)
}

/// The weight where a `track_bfd` names none.
pub(super) fn weight(node: &Node) -> i32 {
    let weight = node.number("weight").and_then(|it| i32::try_from(it).ok());
    weight.unwrap_or(0)
}

/// Reads the BFD instances. Those that are unusable are left out.
pub(super) fn read<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    complaints: &mut Vec<Complaint>,
) -> Vec<BfdInstance> {
    let mut instances: Vec<BfdInstance> = Vec::new();
    for node in nodes {
        let name = node.word_at(0).unwrap_or_default();
        let refusal = |kind, problem: &str, place| {
            let text = format!("bfd_instance {name} {problem}; it is ignored");
            Complaint::new(kind, text).at(place).object(name)
        };
        if name.len() > LONGEST_NAME {
            let problem = format!("has a name of more than {LONGEST_NAME} octets");
            complaints.push(refusal(Kind::NameTooLong, &problem, node.place));
            continue;
        }
        if instances.iter().any(|it| it.name == name) {
            complaints.push(refusal(Kind::Duplicate, "exists already", node.place));
            continue;
        }
        let Some(instance) = instance(node, name, complaints) else {
            continue;
        };
        let mut others = instances.iter();
        if let Some(other) = others.find(|it| it.neighbor == instance.neighbor) {
            let problem = format!("has the same neighbor_ip as {}", other.name);
            complaints.push(refusal(Kind::Duplicate, &problem, node.end));
            continue;
        }
        instances.push(instance);
    }
    instances
}

/// Reads a BFD instance. Without a neighbour of the family of its source, it is unusable.
fn instance(node: &Node, name: &str, complaints: &mut Vec<Complaint>) -> Option<BfdInstance> {
    let mut address = |statement: Option<&Node>| -> Option<IpAddr> {
        let statement = statement?;
        let text = statement.word_at(0).unwrap_or_default();
        let parsed = text.parse().ok();
        if parsed.is_none() {
            complaints.push(
                Complaint::new(
                    Kind::BadAddress,
                    format!("{}: {text:?} is not an IP address", statement.word),
                )
                .at(statement.place)
                .token(text)
                .object(name),
            );
        }
        parsed
    };
    let source = address(node.last("source_ip"));
    let statement = node
        .last("neighbor_ip")
        .or_else(|| node.last("neighbour_ip"));
    let neighbor = address(statement);
    let mut complain = |kind, problem: &str| {
        complaints.push(
            Complaint::new(kind, format!("bfd_instance {name} {problem}"))
                .at(node.end)
                .object(name),
        );
    };
    let Some(neighbor) = neighbor else {
        // A malformed address has its complaint.
        if statement.is_none() {
            complain(Kind::ValueInvalid, "has no neighbor_ip; it is ignored");
        }
        return None;
    };
    if source.is_some_and(|source| source.is_ipv4() != neighbor.is_ipv4()) {
        complain(
            Kind::FamilyMismatch,
            "has a source_ip of another family than its neighbor_ip; it is ignored",
        );
        return None;
    }
    let ttl = node.number("ttl").or_else(|| node.number("hoplimit"));
    let ttl = ttl.unwrap_or(255);
    let mut max_hops = node.number("max_hops").unwrap_or(0);
    if max_hops > ttl {
        complain(
            Kind::ValueInvalid,
            "has more max_hops than its ttl; the ttl is used",
        );
        max_hops = ttl;
    }
    Some(BfdInstance {
        neighbor,
        source,
        min_rx: node.number("min_rx").unwrap_or(10_000),
        min_tx: node.number("min_tx").unwrap_or(10_000),
        idle_tx: node.number("idle_tx").unwrap_or(1_000_000),
        multiplier: node.number("multiplier").unwrap_or(5),
        ttl,
        max_hops,
        is_passive: node.has("passive"),
        weight: weight(node),
        name: name.to_owned(),
    })
}
