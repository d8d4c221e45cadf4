//! The service of a virtual server.

use std::{fmt, net::IpAddr};

use super::endpoint::endpoint;
use crate::keepalived_conf::{
    tree::Node,
    value::{self, Range},
};

/// The values of a firewall mark.
pub(super) const MARKS: Range = Range::whole(0, u32::MAX as i64).lenient();

/// The service of a virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// An address and a port.
    Address(IpAddr, u16),
    /// A firewall mark.
    Mark(u32),
    /// A group.
    Group(String),
}

impl Service {
    /// The service of a `virtual_server` statement.
    pub(super) fn read(node: &Node) -> Option<Self> {
        match node.word_at(0)? {
            "fwmark" => {
                let number = value::number(node.word_at(1)?, MARKS);
                u32::try_from(number.value?).ok().map(Self::Mark)
            }
            "group" => Some(Self::Group(node.word_at(1)?.to_owned())),
            _ => endpoint(&node.words).map(|(address, port)| Self::Address(address, port)),
        }
    }
}

/// The name of the service in complaints.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address, port) => write!(f, "[{address}]:{port}"),
            Self::Mark(mark) => write!(f, "fwmark {mark}"),
            Self::Group(name) => write!(f, "group {name}"),
        }
    }
}
