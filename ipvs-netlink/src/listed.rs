//! Services and destinations as the kernel lists them.

use crate::{Destination, Service, Stats};

/// A service as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedService {
    /// The service.
    pub service: Service,
    /// Its counters.
    pub stats: Stats,
    /// Attributes that this crate does not know.
    pub unknown: Vec<UnknownAttribute>,
}

/// A destination as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDestination {
    /// The destination.
    pub destination: Destination,
    /// Established connections.
    pub active_connections: u32,
    /// Connections in every other state.
    pub inactive_connections: u32,
    /// Clients remembered for persistence.
    pub persistent_connections: u32,
    /// Its counters.
    pub stats: Stats,
    /// Attributes that this crate does not know.
    pub unknown: Vec<UnknownAttribute>,
}

/// An attribute of a kernel newer than this crate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownAttribute {
    /// Its number among the attributes of the object.
    pub kind: u16,
    /// Its octets.
    pub value: Vec<u8>,
}
