//! The table of a network namespace: its services with their destinations.

use crate::{Destination, ListedDestination, ListedService, Service, message::DecodeError};

/// A service with its destinations: what is wanted of the kernel.
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
    /// The kernel hands out long lists in pieces and does not say when the table changed between them (before Linux 7 even the table of another
    /// namespace): an object that was there all the time can be left out. Absence from such a table proves nothing.
    pub may_be_incomplete: bool,
    /// Objects that other programs made and that this crate has no words for, such as a service of protocol 50.
    pub unreadable: Vec<DecodeError>,
}

impl Table {
    /// The table without its counters.
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
