//! Reachability of hosts, and arrival times of messages.

use alloc::{collections::BTreeMap, vec::Vec};

use super::Condition;
use crate::Instant;

/// The LANs with their cuts.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    /// The hosts on each LAN.
    listeners: BTreeMap<u32, Vec<u32>>,
    /// The present partitions and one-way cuts.
    cuts: Vec<Condition>,
    /// The arrival of the last message from one host to another on a LAN.
    arrivals: BTreeMap<(u32, u32, u32), Instant>,
}

impl Wire {
    pub(super) fn attach(&mut self, interface: u32, host: u32) {
        let hosts = self.listeners.entry(interface).or_default();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }

    pub(super) fn interfaces(&self) -> Vec<u32> {
        self.listeners.keys().copied().collect()
    }

    pub(super) fn hosts(&self, interface: u32) -> &[u32] {
        self.listeners.get(&interface).map_or(&[], Vec::as_slice)
    }

    pub(super) fn cut(&mut self, condition: Condition) {
        self.cuts.push(condition);
    }

    pub(super) fn mend(&mut self, condition: &Condition) {
        if let Some(place) = self.cuts.iter().position(|cut| cut == condition) {
            self.cuts.swap_remove(place);
        }
    }

    /// Whether a message sent now reaches the other host.
    pub(super) fn reaches(&self, on: u32, source: u32, receiver: u32) -> bool {
        self.cuts.iter().all(|cut| match cut {
            Condition::OneWay {
                interface,
                from,
                to,
            } => *interface != on || *from != source || *to != receiver,
            Condition::Partition { interface, island } => {
                *interface != on || island.contains(&source) == island.contains(&receiver)
            }
            _ => true,
        })
    }

    /// Returns the arrival of a message: not before one that was sent earlier.
    pub(super) fn in_order(&mut self, interface: u32, from: u32, to: u32, at: Instant) -> Instant {
        let last = self.arrivals.entry((interface, from, to)).or_default();
        *last = at.max(*last);
        *last
    }
}
