//! Values of options: numbers, addresses, ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Grammar, ParseError, Problem, word::Word};
use crate::Protocol;

/// The missing part of an address with a port, in errors.
const ENDPOINT: &str = "an address and a port, as 192.0.2.1:80 or [2001:db8::1]:80";

/// A number from `minimum` to `maximum`, in decimal, as C's `strtol` reads it: leading zeros and a
/// plus sign are allowed.
pub(crate) fn number(
    word: Word<'_>,
    field: &'static str,
    minimum: u32,
    maximum: u32,
) -> Result<u32, ParseError> {
    decimal(word.text)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (minimum..=maximum).contains(number))
        .ok_or_else(|| {
            word.refused(Problem::Number {
                field,
                minimum,
                maximum,
            })
        })
}

fn decimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let all_digits = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// A number of 16 bits.
pub(crate) fn short(
    word: Word<'_>,
    field: &'static str,
    minimum: u16,
    maximum: u16,
) -> Result<u16, ParseError> {
    number(word, field, minimum.into(), maximum.into())
        .map(|number| u16::try_from(number).unwrap_or(maximum))
}

/// An address with a port, if it has one.
pub(crate) fn endpoint(
    grammar: &Grammar<'_>,
    word: Word<'_>,
    field: &'static str,
    protocol: Protocol,
) -> Result<(IpAddr, Option<u16>), ParseError> {
    let refused = || {
        word.refused(Problem::Value {
            field,
            expected: ENDPOINT,
        })
    };
    if let Some(rest) = word.text.strip_prefix('[') {
        let (address, service) = rest.split_once("]:").ok_or_else(refused)?;
        let address: Ipv6Addr = address.parse().map_err(|_| refused())?;
        let port = port(grammar, word, service, protocol)?;
        return Ok((address.into(), Some(port)));
    }
    if let Ok(address) = word.text.parse::<Ipv6Addr>() {
        return Ok((address.into(), None));
    }
    let (host, port) = match word.text.split_once(':') {
        Some((host, service)) => (host, Some(port(grammar, word, service, protocol)?)),
        None => (word.text, None),
    };
    if host.is_empty() || host.contains('[') {
        return Err(refused());
    }
    let address = match ipv4(host) {
        Some(address) => address.into(),
        None => host_by_name(grammar, word, host, field)?,
    };
    Ok((address, port))
}

fn host_by_name(
    grammar: &Grammar<'_>,
    word: Word<'_>,
    host: &str,
    field: &'static str,
) -> Result<IpAddr, ParseError> {
    let Some(names) = grammar.names else {
        return Err(word.refused(Problem::NamesAreOff { field }));
    };
    (names.host)(host).ok_or_else(|| word.refused(Problem::UnknownName { field }))
}

fn port(
    grammar: &Grammar<'_>,
    word: Word<'_>,
    service: &str,
    protocol: Protocol,
) -> Result<u16, ParseError> {
    let field = "port";
    if let Some(port) = decimal(service).and_then(|port| u16::try_from(port).ok()) {
        return Ok(port);
    }
    let found = grammar
        .names
        .filter(|_| !service.is_empty())
        .and_then(|names| (names.port)(service, protocol));
    found.ok_or_else(|| {
        // Names of services may start with a digit, so text is a wrong number only after a lookup
        // failed.
        let is_name = service.starts_with(|first: char| first.is_alphabetic());
        word.refused(match (is_name, grammar.names) {
            (true, None) => Problem::NamesAreOff { field },
            (true, Some(_)) => Problem::UnknownName { field },
            (false, _) => Problem::Number {
                field,
                minimum: 0,
                maximum: u16::MAX.into(),
            },
        })
    })
}

/// An IPv4 address as C's `inet_aton` reads it: one to four numbers, of which the last fills the
/// remaining bytes, each decimal, octal after `0` or hexadecimal after `0x`.
pub(crate) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut address = 0;
    let mut bits_left = 32;
    let mut parts = text.split('.').peekable();
    while let Some(part) = parts.next() {
        let number = c_number(part)?;
        if parts.peek().is_none() {
            let fits = u64::from(number) < 1 << bits_left;
            return fits.then(|| Ipv4Addr::from_bits(address | number));
        }
        if number > 255 || bits_left == 8 {
            return None;
        }
        bits_left -= 8;
        address |= number << bits_left;
    }
    None
}

fn c_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // A sign is not a digit.
    let digits = (!digits.starts_with(['+', '-'])).then_some(digits)?;
    u32::from_str_radix(digits, radix).ok()
}
