//! Addresses with ports.

use std::net::IpAddr;

use crate::keepalived_conf::{
    complaint::{Complaint, Kind, Weight},
    tree::Node,
    value::{self, Range},
};

/// The address at the start of a word. A range or a prefix length behind it does not count.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.split(['-', '/']).next()?.parse().ok()
}

/// Advises that the rest of an address does not count.
pub(super) fn advise(statement: &Node, complaints: &mut Vec<Complaint>) {
    let text = statement.word_at(0).unwrap_or_default();
    if !text.contains(['-', '/']) {
        return;
    }
    let Some(address) = address(text) else {
        return;
    };
    complaints.push(
        Complaint::new(
            Kind::Other,
            format!(
                "{}: of {text:?}, only the address {address} is used",
                statement.word
            ),
        )
        .at(statement.place)
        .token(text)
        .weight(Weight::Advice),
    );
}

/// An address with an optional port; without one, the port is 0. Of a malformed port, the leading
/// digits count.
pub(super) fn endpoint(words: &[String]) -> Option<(IpAddr, u16)> {
    let address = address(words.first()?)?;
    let port = match words.get(1) {
        Some(text) => leading_port(text)?,
        None => 0,
    };
    Some((address, port))
}

/// A port. 0 is one.
pub(super) fn port(text: &str) -> Option<u16> {
    let number = value::number(text, Range::whole(i64::from(text != "0"), 65535));
    if number.problem.is_some() {
        return None;
    }
    number.value.and_then(|it| u16::try_from(it).ok())
}

/// The port in the leading digits of a text.
pub(super) fn leading_port(text: &str) -> Option<u16> {
    let range = Range::whole(i64::from(text != "0"), 65535).lenient();
    let number = value::number(text, range);
    number.value.and_then(|it| u16::try_from(it).ok())
}
