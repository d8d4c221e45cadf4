//! One change of the host.

use std::{fmt, net::IpAddr};

use vrrp_proto::frame::MacAddress;

use crate::{InterfaceAddress, Route, VirtualAddress};

/// A change of the host, as the plan hands it to netlink. `Display` describes it in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Creates the macvlan of a virtual MAC, down, or takes over one that an earlier run left.
    CreateMacvlan {
        parent: u32,
        mac: MacAddress,
        name: String,
        /// The macvlan that an earlier run left, which is taken over under the name.
        existing: Option<u32>,
    },
    /// Keeps a parent from answering ARP for IPv4 addresses that are on its macvlan. Its settings
    /// are recorded first.
    QuietParent {
        parent: u32,
        interface: u32,
    },
    /// Deletes a macvlan, with its addresses. With the last one on a parent, the settings of the
    /// parent are put back.
    DeleteLink {
        interface: u32,
    },
    /// Puts back the settings of a parent that has no macvlan of ours any more.
    RestoreParent {
        interface: u32,
    },
    SetUp {
        interface: u32,
    },
    SetDown {
        interface: u32,
    },
    AddAddress {
        interface: u32,
        address: VirtualAddress,
    },
    RemoveAddress {
        interface: u32,
        address: InterfaceAddress,
    },
    /// Answers ARP and Neighbor Discovery for an address that the host does not have.
    BeginProxy {
        interface: u32,
        address: IpAddr,
    },
    EndProxy {
        interface: u32,
        address: IpAddr,
    },
    AddRoute {
        interface: Option<u32>,
        route: Route,
    },
    RemoveRoute {
        interface: Option<u32>,
        route: Route,
    },
}

impl Change {
    pub(crate) fn remove_address(interface: u32, own: &InterfaceAddress) -> Self {
        Self::RemoveAddress {
            interface,
            address: own.clone(),
        }
    }

    /// Whether other addresses may depend on the one that it removes, and must stay.
    ///
    /// The kernel removes the addresses of a subnet along with its primary one, where
    /// `promote_secondaries` is 0. Another program may have added one just now, so the known
    /// addresses do not matter.
    pub(crate) const fn spares_subnet(&self) -> bool {
        match self {
            Self::RemoveAddress { address, .. } => {
                address.address.is_ipv4() && address.prefix_len <= 30
            }
            _ => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateMacvlan {
                parent, mac, name, ..
            } => write!(f, "create macvlan {name} with {mac} on link {parent}"),
            Self::QuietParent { parent, .. } => {
                write!(f, "keep link {parent} from answering for its macvlans")
            }
            Self::DeleteLink { interface } => write!(f, "delete link {interface}"),
            Self::RestoreParent { interface } => {
                write!(f, "put the settings of link {interface} back")
            }
            Self::SetUp { interface } => write!(f, "set link {interface} up"),
            Self::SetDown { interface } => write!(f, "set link {interface} down"),
            Self::AddAddress { interface, address } => {
                write!(f, "add {address} to link {interface}")
            }
            Self::RemoveAddress { interface, address } => {
                write!(f, "remove {}", address.address)?;
                if let Some(peer) = address.peer {
                    write!(f, " peer {peer}")?;
                }
                write!(f, "/{} from link {interface}", address.prefix_len)?;
                if self.spares_subnet() {
                    f.write_str(", keeping the other addresses of its subnet")?;
                }
                Ok(())
            }
            Self::BeginProxy { interface, address } => {
                write!(f, "answer for {address} on link {interface}")
            }
            Self::EndProxy { interface, address } => {
                write!(f, "stop answering for {address} on link {interface}")
            }
            Self::AddRoute { route, .. } => write!(f, "add route {route}"),
            Self::RemoveRoute { route, .. } => write!(f, "remove route {route}"),
        }
    }
}
