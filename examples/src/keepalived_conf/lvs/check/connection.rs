//! The two ends of a check's connections.

use std::net::IpAddr;

use super::Check;
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::{Node, Value},
};

impl Check {
    /// Reads the settings of connections in the block of a check, or in one inside it.
    pub(super) fn read_connection(&mut self, node: &Node, complaints: &mut Vec<Complaint>) {
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            let address = text.parse::<IpAddr>();
            match statement.word {
                "connect_ip" | "bindto" if address.is_err() => complaints.push(
                    Complaint::new(
                        Kind::BadAddress,
                        format!("{}: {text:?} is not an IP address", statement.word),
                    )
                    .at(statement.place)
                    .token(text),
                ),
                "connect_ip" => {
                    if let (Ok(address), Some(target)) = (address, self.target.as_mut()) {
                        target.0 = address;
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
                    let port = self.bind.map_or(0, |(_, port)| port);
                    self.bind = Some((address.ok(), port));
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
