//! The table of a network namespace: its services with their destinations.

use crate::{Destination, Service, Stats, message::DecodeError};

/// A service with its destinations: what is wanted of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualServer {
    /// The service.
    pub service: Service,
    /// Its destinations.
    pub destinations: Vec<Destination>,
}

/// A service as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedService {
    /// The service.
    pub service: Service,
    /// What it has done.
    pub stats: Stats,
    /// Attributes that this crate does not know.
    pub unknown: Vec<UnknownAttribute>,
}

/// A destination as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDestination {
    /// The destination.
    pub destination: Destination,
    /// Connections that are established.
    pub active_connections: u32,
    /// Connections in every other state.
    pub inactive_connections: u32,
    /// Clients that are remembered for persistence.
    pub persistent_connections: u32,
    /// What it has done.
    pub stats: Stats,
    /// Attributes that this crate does not know.
    pub unknown: Vec<UnknownAttribute>,
}

/// An attribute of a kernel newer than this crate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownAttribute {
    /// Its number among those of the object.
    pub kind: u16,
    /// Its octets.
    pub value: Vec<u8>,
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
