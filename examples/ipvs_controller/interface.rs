//! The dummy interface that has the addresses of services, and the other addresses of the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, LinkDummy,
    packet_route::{
        address::{AddressAttribute, AddressMessage},
        link::LinkAttribute,
    },
};

/// Why an address or an interface could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterfaceError {
    #[error("open a routing socket: {0}")]
    Open(#[from] io::Error),
    #[error("{doing}: {error}")]
    Netlink {
        doing: String,
        error: rtnetlink::Error,
    },
}

fn failed(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> InterfaceError {
    let doing = doing.into();
    |error| InterfaceError::Netlink { doing, error }
}

/// The interface, which may be missing.
pub(crate) struct Interface {
    handle: Handle,
    name: String,
}

/// The addresses of a node.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// On the interface.
    bound: BTreeMap<IpAddr, AddressMessage>,
    /// On all others.
    pub(crate) node: BTreeSet<IpAddr>,
    /// The number of the interface.
    index: Option<u32>,
}

impl Addresses {
    pub(crate) fn is_bound(&self, address: &IpAddr) -> bool {
        self.bound.contains_key(address)
    }
}

impl Interface {
    /// Opens a routing socket. It is served inside the current tokio runtime.
    pub(crate) fn new(name: &str) -> Result<Self, InterfaceError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            name: name.to_owned(),
        })
    }

    /// Reads all addresses of the node.
    pub(crate) async fn addresses(&self) -> Result<Addresses, InterfaceError> {
        let mut found = Addresses {
            index: self.index().await?,
            ..Addresses::default()
        };
        let mut list = self.handle.address().get().execute();
        while let Some(message) = list
            .try_next()
            .await
            .map_err(failed("list the addresses"))?
        {
            let Some(address) = own_address(&message) else {
                continue;
            };
            if Some(message.header.index) == found.index {
                found.bound.insert(address, message);
            } else {
                found.node.insert(address);
            }
        }
        Ok(found)
    }

    async fn index(&self) -> Result<Option<u32>, InterfaceError> {
        let named = LinkAttribute::IfName(self.name.clone());
        let mut links = self.handle.link().get().execute();
        while let Some(link) = links
            .try_next()
            .await
            .map_err(failed("list the interfaces"))?
        {
            if link.attributes.contains(&named) {
                return Ok(Some(link.header.index));
            }
        }
        Ok(None)
    }

    /// Adds the wanted addresses that are missing, and the interface if there is none.
    pub(crate) async fn add(
        &self,
        addresses: &Addresses,
        wanted: &BTreeSet<IpAddr>,
    ) -> Result<usize, InterfaceError> {
        let missing: Vec<_> = wanted
            .iter()
            .filter(|address| !addresses.is_bound(address))
            .collect();
        if missing.is_empty() {
            return Ok(0);
        }
        let index = match addresses.index {
            Some(index) => index,
            None => self.create().await?,
        };
        for address in &missing {
            let length = if address.is_ipv4() { 32 } else { 128 };
            let request = self.handle.address().add(index, **address, length);
            // Another program may have been faster.
            request
                .replace()
                .execute()
                .await
                .map_err(failed(format!("add {address}/{length} to {}", self.name)))?;
        }
        Ok(missing.len())
    }

    /// Creates the interface. It answers no ARP requests and is up.
    async fn create(&self) -> Result<u32, InterfaceError> {
        let message = LinkDummy::new(&self.name).arp(false).up().build();
        let doing = format!("add the interface {}", self.name);
        let added = self.handle.link().add(message).execute().await;
        added.map_err(failed(&doing))?;
        match self.index().await? {
            Some(index) => Ok(index),
            None => Err(InterfaceError::Netlink {
                doing,
                error: rtnetlink::Error::RequestFailed,
            }),
        }
    }

    /// Removes addresses that are not wanted.
    pub(crate) async fn remove(
        &self,
        addresses: Addresses,
        wanted: &BTreeSet<IpAddr>,
    ) -> Result<usize, InterfaceError> {
        let mut removed = 0;
        for (address, message) in addresses.bound {
            // The kernel gives the interface a link-local address by itself.
            if wanted.contains(&address) || is_link_local(&address) {
                continue;
            }
            let request = self.handle.address().del(message);
            match request.execute().await {
                Err(error) if !is_missing(&error) => {
                    return Err(failed(format!("remove {address} from {}", self.name))(
                        error,
                    ));
                }
                Ok(()) | Err(_) => removed += 1,
            }
        }
        Ok(removed)
    }

    /// Deletes the interface.
    pub(crate) async fn delete(&self) -> Result<(), InterfaceError> {
        let Some(index) = self.index().await? else {
            return Ok(());
        };
        let doing = format!("delete the interface {}", self.name);
        let deleted = self.handle.link().del(index).execute().await;
        deleted.map_err(failed(doing))
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn is_missing(error: &rtnetlink::Error) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message)
        if message.raw_code() == -libc::EADDRNOTAVAIL)
}

/// The address of the host itself: with a peer it stands in an attribute of its own.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let attributes = message.attributes.iter();
    let local = attributes.clone().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let mut attributes = attributes;
    local.or_else(|| {
        attributes.find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}
