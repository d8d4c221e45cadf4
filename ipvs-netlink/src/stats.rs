//! Counters of services and destinations.

/// The counters of a service or destination.
///
/// The kernel's estimator runs every two seconds: counters lag behind the traffic by up to that
/// time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub incoming_packets: u64,
    /// Packets to clients that passed this host.
    pub outgoing_packets: u64,
    /// Octets from clients.
    pub incoming_bytes: u64,
    /// Octets to clients that passed this host.
    pub outgoing_bytes: u64,
    /// The recent rates, per second.
    pub rates: Rates,
}

/// Rates per second, as the kernel's estimator has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rates {
    /// Connections.
    pub connections: u64,
    /// Packets from clients.
    pub incoming_packets: u64,
    /// Packets to clients that passed this host.
    pub outgoing_packets: u64,
    /// Octets from clients.
    pub incoming_bytes: u64,
    /// Octets to clients that passed this host.
    pub outgoing_bytes: u64,
}
