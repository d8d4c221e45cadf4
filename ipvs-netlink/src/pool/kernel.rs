//! The kernel's table as an input: its servers, connections, and signs of failure.

use std::{collections::HashMap, time::Duration};

use super::{
    Cause, Pool, PoolChange, Verdict,
    server::{ServerState, Traffic},
};
use crate::{
    DestinationKey, ForwardingMethod, ListedDestination, ServiceKey, Table, TableEntry, Weight,
};

/// A table by its keys. It is never iterated, so the order of its hash tables does not matter.
struct Listed<'a> {
    entries: HashMap<ServiceKey, &'a TableEntry>,
    may_be_incomplete: bool,
}

/// The destinations of a service.
struct ListedServers<'a> {
    servers: HashMap<DestinationKey, &'a ListedDestination>,
    may_be_incomplete: bool,
}

impl<'a> Listed<'a> {
    fn new(table: &'a Table) -> Self {
        let entries = table.entries.iter();
        Self {
            entries: entries
                .map(|entry| (entry.service.service.key, entry))
                .collect(),
            may_be_incomplete: table.may_be_incomplete,
        }
    }

    fn servers(&self, service: &ServiceKey) -> ListedServers<'a> {
        let destinations = self.entries.get(service);
        let destinations = destinations
            .into_iter()
            .flat_map(|entry| &entry.destinations);
        ListedServers {
            servers: destinations
                .map(|listed| (listed.destination.key, listed))
                .collect(),
            may_be_incomplete: self.may_be_incomplete,
        }
    }
}

impl ListedServers<'_> {
    /// Whether a server that drains has nothing left.
    fn is_drained(&self, server: &DestinationKey) -> bool {
        match self.servers.get(server) {
            Some(listed) => listed.destination.weight == Weight::ZERO && connections(listed) == 0,
            None => !self.may_be_incomplete,
        }
    }
}

impl<P: Clone + Ord> Pool<P> {
    /// Takes the kernel's table as it was read just now. A host that passes it regularly gets
    /// [`PoolChange::Drained`], the connections of servers, and passive checks.
    ///
    /// Servers that were added since the last table are used if the kernel has them, as
    /// [`Initial::AsKernel`](super::Initial::AsKernel) says.
    pub fn handle_table(&mut self, now: Duration, table: &Table) {
        let now = self.advance(now);
        let adopted = self.adopt(table);
        for place in adopted {
            self.evaluate(now, place, Cause::Kernel);
        }
        let listed = Listed::new(table);
        let mut suspects = Vec::new();
        let mut drained = Vec::new();
        for service in &mut self.services {
            let key = service.key();
            let servers = listed.servers(&key);
            let passive = service.config.passive;
            for server in &mut service.servers {
                if server.draining_since.is_some() && servers.is_drained(&server.key()) {
                    server.draining_since = None;
                    drained.push((key, server.key()));
                }
                let Some(listed) = servers.servers.get(&server.key()) else {
                    if !table.may_be_incomplete {
                        server.connections = None;
                        server.traffic = None;
                    }
                    continue;
                };
                server.connections = Some(connections(listed));
                let traffic = Traffic {
                    connections: listed.stats.connections,
                    outgoing_packets: listed.stats.outgoing_packets,
                };
                let before = server.traffic.replace(traffic);
                if let (Some(passive), Some(before)) = (passive, before)
                    && server.destination.forwarding == ForwardingMethod::Masquerade
                    && server.health != Verdict::Down
                    && before.outgoing_packets == traffic.outgoing_packets
                    && traffic.connections.saturating_sub(before.connections)
                        >= passive.connections_without_answer
                {
                    suspects.extend(server.checks.iter().map(|check| check.target));
                    self.journal.counters.hints += 1;
                }
            }
        }
        for (place, departed) in &mut self.departed {
            if departed.is_draining && listed.servers(&place.0).is_drained(&place.1) {
                departed.is_draining = false;
                drained.push(*place);
            }
        }
        for (key, server) in drained {
            let change = PoolChange::Drained(server);
            self.journal.record(now, key, change, Cause::Kernel);
        }
        for slot in suspects {
            if self.starts.get(slot).is_some_and(|due| due > now) {
                self.starts.set_prompt(slot, now);
            }
        }
        if !table.may_be_incomplete {
            self.departed.retain(|(service, server), _| {
                listed.servers(service).servers.contains_key(server)
            });
            self.departed_services
                .retain(|service| listed.entries.contains_key(service));
        }
    }

    /// Puts servers that wait for their first check into use if the kernel has them. Returns the
    /// places of their services.
    pub(super) fn adopt(&mut self, table: &Table) -> Vec<u32> {
        let mut adopted = Vec::new();
        let is_new = |server: &ServerState<P>| server.is_new;
        if !self
            .services
            .iter()
            .flat_map(|service| &service.servers)
            .any(is_new)
        {
            return adopted;
        }
        let listed = Listed::new(table);
        for (place, service) in self.services.iter_mut().enumerate() {
            if !service.servers.iter().any(is_new) {
                continue;
            }
            let servers = listed.servers(&service.key());
            for server in service.servers.iter_mut().filter(|server| server.is_new) {
                let found = servers.servers.get(&server.key());
                server.is_new = found.is_none() && table.may_be_incomplete;
                if found.is_some_and(|listed| listed.destination.weight > Weight::ZERO) {
                    let waiting = |check: &&mut super::check::CheckState<P>| {
                        check.verdict == Verdict::Waiting
                    };
                    for check in server.checks.iter_mut().filter(waiting) {
                        check.verdict = Verdict::Up;
                    }
                    adopted.push(super::machine::number(place));
                }
            }
        }
        adopted.dedup();
        adopted
    }
}

fn connections(listed: &ListedDestination) -> u32 {
    listed
        .active_connections
        .saturating_add(listed.inactive_connections)
}
