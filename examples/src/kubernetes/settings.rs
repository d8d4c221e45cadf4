//! The node and the settings of the translation.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use ipvs_netlink::Scheduler;

/// The node that the table is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name that endpoints have in `nodeName`.
    pub name: String,
    /// The addresses of the node, on all interfaces except the one that has the services'
    /// addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// The settings of the translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The scheduler of all services.
    pub scheduler: Scheduler,
    /// The networks whose node addresses serve node ports; all if empty.
    pub node_port_addresses: Vec<IpNet>,
}

impl Default for Settings {
    /// Round robin, and node ports on all addresses of the node.
    fn default() -> Self {
        Self {
            scheduler: Scheduler::RR,
            node_port_addresses: Vec::new(),
        }
    }
}
