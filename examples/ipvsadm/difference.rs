//! What makes one table the other.

use std::collections::{HashMap, HashSet};

use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, ListedDestination, ServiceKey, TableEntry,
    VirtualServer, Weight, message::Change,
};

/// The changes that make one table the other: what is added and edited comes before what goes.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// They, in order.
    pub(crate) changes: Vec<Change>,
    /// Whether servers that are to go have to wait until they may.
    pub(crate) is_waiting: bool,
}

impl Difference {
    /// The difference of the kernel's table to the wanted one. A server that is to go and may not yet gets no new connections, and its service
    /// stays with it.
    pub(crate) fn of(
        entries: &[TableEntry],
        wanted: &[VirtualServer],
        may_go: impl Fn(&ListedDestination) -> bool,
    ) -> Self {
        let mut difference = Self::default();
        let actual: HashMap<ServiceKey, &TableEntry> = entries
            .iter()
            .map(|entry| (entry.service.service.key, entry))
            .collect();
        for server in wanted {
            let entry = actual.get(&server.service.key).copied();
            difference.come(server, entry);
        }
        let wanted: HashMap<ServiceKey, &VirtualServer> = wanted
            .iter()
            .map(|server| (server.service.key, server))
            .collect();
        for entry in entries {
            let key = entry.service.service.key;
            match wanted.get(&key) {
                Some(server) => difference.servers_go(entry, server, &may_go),
                None => difference.service_goes(entry, &may_go),
            }
        }
        difference
    }

    /// Adds and edits a service and its servers.
    fn come(&mut self, server: &VirtualServer, entry: Option<&TableEntry>) {
        let key = server.service.key;
        match entry {
            None => self.changes.push(Change::AddService(server.service)),
            Some(entry) if entry.service.service != server.service => {
                self.changes.push(Change::UpdateService(server.service));
            }
            Some(_) => {}
        }
        let actual: HashMap<DestinationKey, Destination> = entry
            .map_or(&[][..], |entry| &entry.destinations)
            .iter()
            .map(|listed| (listed.destination.key, listed.destination))
            .collect();
        for &destination in &server.destinations {
            match actual.get(&destination.key) {
                None => self.changes.push(Change::AddDestination {
                    service: key,
                    destination,
                }),
                Some(there) if !same(there, &destination) => {
                    self.changes.push(Change::UpdateDestination {
                        service: key,
                        destination,
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn servers_go(
        &mut self,
        entry: &TableEntry,
        wanted: &VirtualServer,
        may_go: impl Fn(&ListedDestination) -> bool,
    ) {
        let service = entry.service.service.key;
        let wanted: HashSet<_> = wanted
            .destinations
            .iter()
            .map(|wanted| wanted.key)
            .collect();
        for listed in &entry.destinations {
            if wanted.contains(&listed.destination.key) {
            } else if may_go(listed) {
                self.changes.push(Change::DeleteDestination {
                    service,
                    destination: listed.destination.key,
                });
            } else {
                self.wait_for(service, listed.destination);
            }
        }
    }

    fn service_goes(&mut self, entry: &TableEntry, may_go: impl Fn(&ListedDestination) -> bool) {
        let service = entry.service.service.key;
        let stay: Vec<_> = entry
            .destinations
            .iter()
            .filter(|listed| !may_go(listed))
            .collect();
        if stay.is_empty() {
            self.changes.push(Change::DeleteService(service));
        }
        for listed in stay {
            self.wait_for(service, listed.destination);
        }
    }

    /// Gives a server no new connections until it may go.
    fn wait_for(&mut self, service: ServiceKey, destination: Destination) {
        self.is_waiting = true;
        if destination.weight != Weight::ZERO {
            self.changes.push(Change::UpdateDestination {
                service,
                destination: Destination {
                    weight: Weight::ZERO,
                    ..destination
                },
            });
        }
    }
}

/// Whether a destination is as it is wanted. One that is the host itself may be listed as local, whatever it was given.
fn same(there: &Destination, wanted: &Destination) -> bool {
    let forwarding = if there.forwarding == ForwardingMethod::Local {
        wanted.forwarding
    } else {
        there.forwarding
    };
    Destination {
        forwarding,
        ..*there
    } == *wanted
}
