//! Addresses with ports.

use std::net::IpAddr;

use crate::keepalived_conf::value::{self, Range};

/// An address with an optional port; without one, the port is 0.
pub(super) fn endpoint(words: &[String]) -> Option<(IpAddr, u16)> {
    let address = words.first()?.parse().ok()?;
    let port = match words.get(1) {
        Some(text) => port(text)?,
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
