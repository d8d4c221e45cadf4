//! Persistence: connections of a client that follow its first one.

use std::net::Ipv4Addr;

use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::Node,
    value::{self, Range},
};

/// Seconds of persistence where no number is given.
pub(super) const DEFAULT_TIMEOUT: u32 = 360;

/// The persistence of a virtual server.
#[derive(Default)]
pub(super) struct Persistence {
    /// Seconds.
    pub(super) timeout: Option<u32>,
    /// A netmask or prefix length.
    pub(super) granularity: Option<String>,
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

    /// Reads `persistence_granularity`.
    pub(super) fn read_granularity(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        let is_mask = text.parse::<Ipv4Addr>().is_ok();
        let is_length = text.parse::<u8>().is_ok_and(|it| (1..=128).contains(&it));
        if is_mask || is_length {
            self.granularity = Some(text.to_owned());
        } else {
            complaints.push(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!(
                        "persistence_granularity: {text:?} is not a netmask or a prefix length"
                    ),
                )
                .at(statement.place)
                .token(text),
            );
        }
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
