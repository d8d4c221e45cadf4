//! Persistence: connections of a client that follow its first one.

use std::{fmt, net::Ipv4Addr};

use crate::keepalived_conf::{
    complaint::{Complaint, Kind, Weight},
    tree::Node,
    value::{self, Range},
};

/// Seconds of persistence where no number is given.
pub(super) const DEFAULT_TIMEOUT: u32 = 360;

/// The clients that persistence treats as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// IPv4: those whose addresses are equal under this mask.
    Mask(Ipv4Addr),
    /// IPv6: those whose addresses have a prefix of this length in common.
    Length(u8),
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mask(mask) => mask.fmt(f),
            Self::Length(length) => length.fmt(f),
        }
    }
}

/// The persistence of a virtual server.
#[derive(Default)]
pub(super) struct Persistence {
    /// Seconds.
    pub(super) timeout: Option<u32>,
    pub(super) granularity: Option<Granularity>,
}

impl Persistence {
    /// Reads `persistence_timeout`.
    pub(super) fn read_timeout(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        if text.is_empty() {
            self.timeout = Some(DEFAULT_TIMEOUT);
            return;
        }
        let number = value::number(text, Range::whole(1, 2_678_400));
        match number.value.and_then(|it| u32::try_from(it).ok()) {
            Some(seconds) if number.problem.is_none() => self.timeout = Some(seconds),
            _ => complaints.push(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!(
                        "persistence_timeout: {text:?} is not a number of seconds in 1 to 2678400"
                    ),
                )
                .at(statement.place)
                .token(text),
            ),
        }
    }

    /// Reads `persistence_granularity`. It decides the family of a virtual server that has none.
    pub(super) fn read_granularity(
        &mut self,
        statement: &Node,
        is_ipv6: &mut Option<bool>,
        complaints: &mut Vec<Complaint>,
    ) {
        let text = statement.word_at(0).unwrap_or_default();
        let granularity = if is_ipv6.unwrap_or(!text.contains('.')) {
            let number = value::number(text, Range::whole(1, 128));
            let length = number.value.filter(|_| number.problem.is_none());
            length.and_then(|it| u8::try_from(it).ok().map(Granularity::Length))
        } else {
            dotted(text).map(Granularity::Mask)
        };
        if let Some(granularity) = granularity {
            is_ipv6.get_or_insert(matches!(granularity, Granularity::Length(_)));
            self.granularity = Some(granularity);
        }
        let complaint = match granularity {
            None => Complaint::new(
                Kind::ValueInvalid,
                format!("persistence_granularity: {text:?} is not a netmask or a prefix length"),
            ),
            // The mask is written in another form, so a prefix length is probably meant.
            Some(Granularity::Mask(mask)) if mask.to_string() != text => Complaint::new(
                Kind::Other,
                format!("persistence_granularity: {text:?} is the netmask {mask}"),
            )
            .weight(Weight::Advice)
            .help("write the netmask of a prefix of 24 bits as 255.255.255.0"),
            Some(_) => return,
        };
        complaints.push(complaint.at(statement.place).token(text));
    }

    /// Adds the timeout that other settings of the virtual server imply.
    pub(super) fn with_implied_timeout(mut self, node: &Node) -> Self {
        let is_implied = self.granularity.is_some() || node.has("persistence_engine");
        if is_implied {
            self.timeout.get_or_insert(DEFAULT_TIMEOUT);
        }
        self
    }
}

/// An IPv4 address in one to four parts, each decimal, octal after `0` or hexadecimal after `0x`.
/// The last part fills the bytes that the others leave.
fn dotted(text: &str) -> Option<Ipv4Addr> {
    let part = |text| u32::try_from(value::c_number(text)?).ok();
    let parts = text.split('.').map(part).collect::<Option<Vec<u32>>>()?;
    let (last, first) = parts.split_last()?;
    let mut bits = 0_u32;
    for (place, byte) in first.iter().enumerate() {
        let byte = u8::try_from(*byte).ok()?;
        bits |= u32::from(byte).checked_shl(24 - 8 * u32::try_from(place).ok()?)?;
    }
    let room = 32_u32.checked_sub(8 * u32::try_from(first.len()).ok()?)?;
    let fits = room > 0 && u64::from(*last) < 1_u64 << room;
    fits.then(|| Ipv4Addr::from_bits(bits | last))
}
