//! The table of a network namespace: its services with their destinations.

use crate::{Destination, ListedDestination, ListedService, Service, message::DecodeError};

/// A wanted service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualServer {
    /// The service.
    pub service: Service,
    /// Its destinations.
    pub destinations: Vec<Destination>,
}

/// A service of a [`Table`] with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The service.
    pub service: ListedService,
    /// Its destinations, in the order in which the kernel listed them: newest first.
    pub destinations: Vec<ListedDestination>,
}

/// The table of a network namespace as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The services, each once, in the order in which the kernel listed them.
    pub entries: Vec<TableEntry>,
    /// Whether something may be missing.
    ///
    /// The kernel sends long lists in pieces, and does not report a change of the table between
    /// them (before Linux 7 even of another namespace's table). It may leave out objects that never
    /// changed, so absence proves nothing.
    pub may_be_incomplete: bool,
    /// Objects of other programs that this crate cannot represent, such as a service of protocol
    /// 50.
    pub unreadable: Vec<DecodeError>,
}

impl Table {
    /// Returns the table without its counters.
    #[must_use]
    pub fn servers(&self) -> Vec<VirtualServer> {
        let server = |entry: &TableEntry| VirtualServer {
            service: entry.service.service,
            destinations: entry
                .destinations
                .iter()
                .map(|listed| listed.destination)
                .collect(),
        };
        self.entries.iter().map(server).collect()
    }
}
