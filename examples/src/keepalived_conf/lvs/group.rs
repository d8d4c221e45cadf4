//! `virtual_server_group`: services that virtual servers share.

use std::net::IpAddr;

use super::endpoint;
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::{Entry, Node},
    value::{self, Range},
};

/// `virtual_server_group`.
#[derive(Clone, Debug)]
pub struct ServiceGroup {
    /// Its name.
    pub name: String,
    /// Its services.
    pub entries: Vec<GroupEntry>,
}

/// A line of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEntry {
    /// An address, or a range of them, with a port.
    Addresses {
        /// The first address.
        first: IpAddr,
        /// The last one.
        last: IpAddr,
        /// The port.
        port: u16,
    },
    /// A firewall mark.
    Mark(u32),
}

impl ServiceGroup {
    /// Reads a group. `None` if it is ignored.
    pub(super) fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Option<Self> {
        let Some(name) = node.word_at(0) else {
            complaints.push(
                Complaint::new(
                    Kind::MissingParameter,
                    "virtual_server_group needs a name; it is ignored",
                )
                .at(node.place),
            );
            return None;
        };
        let mut entries = Vec::new();
        for entry in &node.entries {
            let mut complain = |kind, message: String, token: &str| {
                let complaint = Complaint::new(kind, message).token(token);
                complaints.push(complaint.at(entry.place).object(name));
            };
            entries.extend(GroupEntry::read(entry, &mut complain));
        }
        if is_ambiguous(&entries) {
            complaints.push(
                Complaint::new(
                    Kind::Other,
                    format!("virtual_server_group {name} has addresses of both families and a mark, whose family is ambiguous; it is ignored"),
                )
                .at(node.end)
                .object(name),
            );
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            entries,
        })
    }
}

impl GroupEntry {
    /// Reads a line of a group. `None` if it is not used.
    fn read(entry: &Entry, complain: &mut dyn FnMut(Kind, String, &str)) -> Option<Self> {
        let (first, rest) = entry.words.split_first()?;
        match rest.first() {
            Some(mark) if first == "fwmark" => Self::mark(mark, complain),
            port => Self::addresses(first, port.map_or("0", String::as_str), complain),
        }
    }

    fn mark(text: &str, complain: &mut dyn FnMut(Kind, String, &str)) -> Option<Self> {
        let number = value::number(text, Range::whole(0, u32::MAX.into()));
        let mark = number.value.and_then(|it| u32::try_from(it).ok());
        if mark.is_none() {
            let message = format!("{text:?} is not a firewall mark");
            complain(Kind::ValueInvalid, message, text);
        }
        mark.map(Self::Mark)
    }

    fn addresses(
        addresses: &str,
        port: &str,
        complain: &mut dyn FnMut(Kind, String, &str),
    ) -> Option<Self> {
        let Some((first, last)) = range(addresses) else {
            let message = format!("{addresses:?} is not an address or a range of addresses");
            complain(Kind::BadAddress, message, addresses);
            return None;
        };
        let number = endpoint::port(port);
        if number.is_none() {
            let message = format!("{port:?} is not a port");
            complain(Kind::ValueInvalid, message, port);
        }
        Some(Self::Addresses {
            first,
            last,
            port: number?,
        })
    }
}

/// Whether the family of a mark is ambiguous, because there are addresses of both families.
fn is_ambiguous(entries: &[GroupEntry]) -> bool {
    let has_ipv4 = entries
        .iter()
        .any(|it| matches!(it, GroupEntry::Addresses { first, .. } if first.is_ipv4()));
    let has_ipv6 = entries
        .iter()
        .any(|it| matches!(it, GroupEntry::Addresses { first, .. } if first.is_ipv6()));
    let has_mark = entries.iter().any(|it| matches!(it, GroupEntry::Mark(_)));
    has_ipv4 && has_ipv6 && has_mark
}

/// An address, or a range of them such as `192.0.2.1-20`.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let Some((first, last)) = text.split_once('-') else {
        let address = text.parse().ok()?;
        return Some((address, address));
    };
    let first: IpAddr = first.parse().ok()?;
    let last = match first {
        IpAddr::V4(first) => {
            let [a, b, c, low] = first.octets();
            let high = last.parse::<u8>().ok().filter(|high| *high >= low)?;
            IpAddr::from([a, b, c, high])
        }
        IpAddr::V6(first) => {
            let mut segments = first.segments();
            let high = u16::from_str_radix(last, 16).ok()?;
            let end = segments.last_mut()?;
            if high < *end {
                return None;
            }
            *end = high;
            IpAddr::from(segments)
        }
    };
    Some((first, last))
}
