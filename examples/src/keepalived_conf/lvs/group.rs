//! `virtual_server_group`: services that virtual servers share.

use std::net::IpAddr;

use ipnet::IpNet;

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
    /// Its services: addresses, then marks, each in the order of the file.
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
    Mark {
        /// The mark.
        mark: u32,
        /// Whether it marks packets of IPv6, if the line names a family.
        is_ipv6: Option<bool>,
    },
}

impl ServiceGroup {
    /// Reads a group. `None` if it is ignored.
    pub(super) fn read(node: &Node, complaints: &mut Vec<Complaint>) -> Option<Self> {
        let name = node.word_at(0)?;
        let mut entries = Vec::new();
        let mut has_valid_line = false;
        for entry in &node.entries {
            let mut is_valid = true;
            let mut complain = |kind, message: String, token: &str| {
                is_valid = false;
                let complaint = Complaint::new(kind, message).token(token);
                complaints.push(complaint.at(entry.place).object(name));
            };
            entries.extend(GroupEntry::read(entry, &mut complain));
            has_valid_line |= is_valid;
        }
        entries.sort_by_key(|entry| matches!(entry, GroupEntry::Mark { .. }));
        let group = Self {
            name: name.to_owned(),
            entries,
        };
        let is_ambiguous = group.is_ambiguous();
        let problem = if is_ambiguous {
            "has addresses of both families and a mark without a family; it is ignored"
        } else if group.entries.is_empty() {
            "has no services; it is ignored"
        } else if has_valid_line {
            return Some(group);
        } else {
            "has no line without a fault"
        };
        complaints.push(
            Complaint::new(
                Kind::Other,
                format!("virtual_server_group {name} {problem}"),
            )
            .at(node.end)
            .object(name),
        );
        // A daemon at its start uses the valid parts of the lines.
        (!is_ambiguous && !group.entries.is_empty()).then_some(group)
    }

    /// Whether all of its services are firewall marks that fit a virtual server of this family.
    pub(super) fn is_of_marks(&self, of_ipv6: bool) -> bool {
        self.entries.iter().all(|entry| match entry {
            GroupEntry::Mark { is_ipv6, .. } => is_ipv6.is_none_or(|it| it == of_ipv6),
            GroupEntry::Addresses { .. } => false,
        })
    }

    /// Whether one of its services has no port.
    pub(super) fn has_port_zero(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| matches!(entry, GroupEntry::Addresses { port: 0, .. }))
    }

    /// The first service that does not have this port.
    pub(super) fn mismatch(&self, wanted: u16) -> Option<&GroupEntry> {
        self.entries.iter().find(|entry| match entry {
            GroupEntry::Addresses { port, .. } => *port != wanted,
            GroupEntry::Mark { .. } => true,
        })
    }

    /// Whether the family of a mark is ambiguous, because there are addresses of both families.
    fn is_ambiguous(&self) -> bool {
        let has = |wanted: fn(&GroupEntry) -> bool| self.entries.iter().any(wanted);
        has(|it| matches!(it, GroupEntry::Addresses { first, .. } if first.is_ipv4()))
            && has(|it| matches!(it, GroupEntry::Addresses { first, .. } if first.is_ipv6()))
            && has(|it| matches!(it, GroupEntry::Mark { is_ipv6: None, .. }))
    }
}

impl GroupEntry {
    /// Reads a line of a group. `None` if it is not used.
    fn read(entry: &Entry, complain: &mut dyn FnMut(Kind, String, &str)) -> Option<Self> {
        let (first, rest) = entry.words.split_first()?;
        match rest.first() {
            Some(mark) if first == "fwmark" => {
                Self::mark(mark, rest.get(1).map(String::as_str), complain)
            }
            port => Self::addresses(first, port.map_or("0", String::as_str), complain),
        }
    }

    fn mark(
        text: &str,
        family: Option<&str>,
        complain: &mut dyn FnMut(Kind, String, &str),
    ) -> Option<Self> {
        let number = value::number(text, Range::whole(0, u32::MAX.into()));
        let Some(mark) = number.value.and_then(|it| u32::try_from(it).ok()) else {
            let message = format!("{text:?} is not a firewall mark");
            complain(Kind::ValueInvalid, message, text);
            return None;
        };
        let is_ipv6 = match family {
            None => None,
            Some("inet") => Some(false),
            Some("inet6") => Some(true),
            Some(other) => {
                let message = format!("the family {other:?} of mark {mark} is not inet or inet6");
                complain(Kind::UnknownValue, message, other);
                return None;
            }
        };
        Some(Self::Mark { mark, is_ipv6 })
    }

    fn addresses(
        addresses: &str,
        port: &str,
        complain: &mut dyn FnMut(Kind, String, &str),
    ) -> Option<Self> {
        let Some((first, last)) = range(addresses) else {
            let message =
                format!("{addresses:?} is not an address, a range of addresses or a subnet");
            complain(Kind::BadAddress, message, addresses);
            return None;
        };
        let number = endpoint::leading_port(port);
        if endpoint::port(port).is_none() {
            let message = match number {
                Some(number) => format!("{port:?} is not a port; {number} is used"),
                None => format!("{port:?} is not a port; the line is ignored"),
            };
            complain(Kind::ValueInvalid, message, port);
        }
        Some(Self::Addresses {
            first,
            last,
            port: number?,
        })
    }
}

/// An address, a range such as `192.0.2.1-20` or `192.0.2.1-192.0.2.20`, or a subnet such as
/// `192.0.2.0/28`.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((address, length)) = text.split_once('/') {
        let subnet = IpNet::new(address.parse().ok()?, length.parse().ok()?).ok()?;
        let is_first = subnet.addr() == subnet.network();
        return is_first.then(|| (subnet.network(), subnet.broadcast()));
    }
    let Some((first, last)) = text.split_once('-') else {
        let address = text.parse().ok()?;
        return Some((address, address));
    };
    let first: IpAddr = first.parse().ok()?;
    let last = match last.parse::<IpAddr>() {
        Ok(last) => (last.is_ipv4() == first.is_ipv4() && first <= last).then_some(last)?,
        Err(_) => with_last_part(first, last).filter(|last| first < *last)?,
    };
    Some((first, last))
}

/// An address with another last part: a decimal byte of IPv4, hexadecimal digits of IPv6.
fn with_last_part(address: IpAddr, part: &str) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Some(IpAddr::from([a, b, c, part.parse().ok()?]))
        }
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            *segments.last_mut()? = u16::from_str_radix(part, 16).ok()?;
            Some(IpAddr::from(segments))
        }
    }
}
