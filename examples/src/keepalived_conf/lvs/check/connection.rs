//! The two ends of a check's connections.

use std::net::IpAddr;

use super::{Check, endpoint};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::{Node, Value},
};

impl Check {
    /// Reads the settings of connections in the block of a check, or in one inside it.
    pub(super) fn read_connection(&mut self, node: &Node, complaints: &mut Vec<Complaint>) {
        // The destination that the source has to fit. The block of SMTP_CHECK has its hosts inside,
        // so its own destination counts only where it is named.
        let mut destination = match node.word {
            "SMTP_CHECK" => None,
            _ => self.target.map(|(address, _)| address),
        };
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            let address = match statement.word {
                "connect_ip" => {
                    let source = self.bind.and_then(|(address, _)| address);
                    own_address(statement, source, complaints)
                }
                "bindto" => own_address(statement, destination, complaints),
                _ => None,
            };
            match statement.word {
                "connect_ip" => {
                    if let (Some(address), Some(target)) = (address, self.target.as_mut()) {
                        target.0 = address;
                        destination = Some(address);
                    }
                }
                "connect_port" => {
                    if let (Value::Number(port), Some(target)) =
                        (statement.value, self.target.as_mut())
                    {
                        target.1 = u16::try_from(port).unwrap_or(0);
                    }
                }
                "bindto" => {
                    if let Some(address) = address {
                        let port = self.bind.map_or(0, |(_, port)| port);
                        self.bind = Some((Some(address), port));
                    }
                }
                "bind_port" => {
                    if let Value::Number(port) = statement.value {
                        let address = self.bind.and_then(|(address, _)| address);
                        self.bind = Some((address, u16::try_from(port).unwrap_or(0)));
                    }
                }
                "bind_if" => self.bind_interface = Some(text.to_owned()),
                "fwmark" => {
                    if let Value::Number(mark) = statement.value {
                        self.mark = u32::try_from(mark).ok().filter(|it| *it != 0);
                    }
                }
                "connect_timeout" => {
                    if let Value::Number(time) = statement.value {
                        self.connect_timeout = Some(time);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The address of a statement. `None` if it is none, or not of the family of the other end.
fn own_address(
    statement: &Node,
    other_end: Option<IpAddr>,
    complaints: &mut Vec<Complaint>,
) -> Option<IpAddr> {
    let text = statement.word_at(0).unwrap_or_default();
    endpoint::advise(statement, complaints);
    let (kind, problem) = match (endpoint::address(text), other_end) {
        (None, _) => (Kind::BadAddress, format!("{text:?} is not an IP address")),
        (Some(address), Some(other)) if address.is_ipv6() != other.is_ipv6() => (
            Kind::FamilyMismatch,
            format!("{address} is of another family than {other}, the other end of the connection"),
        ),
        (Some(address), _) => return Some(address),
    };
    complaints.push(
        Complaint::new(
            kind,
            format!("{}: {problem}; it is not used", statement.word),
        )
        .at(statement.place)
        .token(text),
    );
    None
}
