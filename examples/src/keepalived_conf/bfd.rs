//! `bfd_instance`.

use super::{
    complaint::{Complaint, Kind},
    configuration::BfdInstance,
    tree::Node,
};

/// Reads a BFD instance. Without a neighbour the instance is ignored.
pub(super) fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Option<BfdInstance> {
    let name = node.word_at(0)?.to_owned();
    let mut address = |word: &str| {
        let statement = node.last(word)?;
        let text = statement.word_at(0).unwrap_or_default();
        let parsed = text.parse().ok();
        if parsed.is_none() {
            complaints.push(
                Complaint::new(
                    Kind::BadAddress,
                    format!("{word}: {text:?} is not an IP address"),
                )
                .at(statement.place)
                .token(text)
                .object(&name),
            );
        }
        parsed
    };
    let source = address("source_ip");
    let neighbor = address("neighbor_ip").or_else(|| address("neighbour_ip"));
    let Some(neighbor) = neighbor else {
        complaints.push(
            Complaint::new(
                Kind::ValueInvalid,
                format!("bfd_instance {name} has no neighbor_ip; it is ignored"),
            )
            .object(&name),
        );
        return None;
    };
    let weight = node.number("weight").and_then(|it| i32::try_from(it).ok());
    Some(BfdInstance {
        neighbor,
        source,
        min_rx: node.number("min_rx").unwrap_or(10_000),
        min_tx: node.number("min_tx").unwrap_or(10_000),
        idle_tx: node.number("idle_tx").unwrap_or(1_000_000),
        multiplier: node.number("multiplier").unwrap_or(5),
        ttl: node
            .number("ttl")
            .or_else(|| node.number("hoplimit"))
            .unwrap_or(255),
        max_hops: node.number("max_hops").unwrap_or(0),
        is_passive: node.has("passive"),
        weight: weight.unwrap_or(0),
        name,
    })
}
