//! A table in memory, for a dry run.

use ipvs_netlink::{
    Destination, ListedDestination, ListedService, Service, ServiceKey, Stats, Table, TableEntry,
    message::Change,
};

/// A table that accepts changes as the kernel's does. It never has connections.
#[derive(Debug)]
pub(super) struct DryTable(Table);

impl DryTable {
    pub(super) fn new(table: Table) -> Self {
        Self(table)
    }

    /// Returns these services, or with `None` all.
    pub(super) fn read(&self, services: Option<&[ServiceKey]>) -> Table {
        let is_asked = |entry: &&TableEntry| {
            services.is_none_or(|services| services.contains(&entry.service.service.key))
        };
        Table {
            entries: self.0.entries.iter().filter(is_asked).cloned().collect(),
            may_be_incomplete: false,
            unreadable: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::AddService(service) | Change::UpdateService(service) => self.set(service),
            Change::DeleteService(key) => {
                self.0
                    .entries
                    .retain(|entry| entry.service.service.key != key);
            }
            Change::AddDestination {
                service,
                destination,
            }
            | Change::UpdateDestination {
                service,
                destination,
            } => {
                if let Some(entry) = self.entry(service) {
                    put(entry, destination);
                }
            }
            Change::DeleteDestination {
                service,
                destination,
            } => {
                if let Some(entry) = self.entry(service) {
                    let others = &mut entry.destinations;
                    others.retain(|listed| listed.destination.key != destination);
                }
            }
            Change::Flush => self.0.entries.clear(),
            // These changes do not concern the table.
            _ => {}
        }
    }

    fn entry(&mut self, service: ServiceKey) -> Option<&mut TableEntry> {
        let mut entries = self.0.entries.iter_mut();
        entries.find(|entry| entry.service.service.key == service)
    }

    fn set(&mut self, service: Service) {
        if let Some(entry) = self.entry(service.key) {
            entry.service.service = service;
            return;
        }
        self.0.entries.push(TableEntry {
            service: ListedService {
                service,
                stats: Stats::default(),
                unknown: Vec::new(),
            },
            destinations: Vec::new(),
        });
    }
}

fn put(entry: &mut TableEntry, destination: Destination) {
    let mut all = entry.destinations.iter_mut();
    if let Some(listed) = all.find(|listed| listed.destination.key == destination.key) {
        listed.destination = destination;
        return;
    }
    entry.destinations.push(ListedDestination {
        destination,
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        unknown: Vec::new(),
    });
}
