//! The dummy interface that has the addresses of services, and the other addresses of the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkDummy,
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
        link::LinkAttribute,
    },
    proto::{ConnectionHandle, new_connection},
    sys::{SocketAddr, protocols::NETLINK_ROUTE},
};

/// Addresses in one datagram. Many small datagrams are slow: after each the kernel looks for
/// expired addresses among all of the host.
const BATCH: usize = 64;

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

/// The result of changes of addresses.
#[derive(Debug, Default)]
pub(crate) struct AddressReport {
    pub(crate) added: usize,
    pub(crate) removed: usize,
    pub(crate) refused: Option<RefusedAddresses>,
}

/// The addresses that could not be added or removed. The error of the first one stands for all.
#[derive(Debug, thiserror::Error)]
#[error("{first} (addresses refused: {count})")]
pub(crate) struct RefusedAddresses {
    first: InterfaceError,
    pub(crate) count: usize,
}

impl AddressReport {
    fn refuse(&mut self, error: InterfaceError, count: usize) {
        match &mut self.refused {
            Some(refused) => refused.count += count,
            None => {
                self.refused = Some(RefusedAddresses {
                    first: error,
                    count,
                });
            }
        }
    }
}

fn failed(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> InterfaceError {
    let doing = doing.into();
    |error| InterfaceError::Netlink { doing, error }
}

/// The interface, which may be missing.
pub(crate) struct Interface {
    handle: Handle,
    /// A socket for batches, which `handle` cannot send.
    batches: ConnectionHandle<RouteNetlinkMessage>,
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

    /// Whether an address may be removed. The kernel gives the interface a link-local address by
    /// itself.
    pub(crate) fn is_removable(&self, address: &IpAddr) -> bool {
        self.is_bound(address) && !is_link_local(address)
    }

    /// The addresses on the interface.
    pub(crate) fn bound(&self) -> impl Iterator<Item = IpAddr> {
        self.bound.keys().copied()
    }
}

impl Interface {
    /// Opens a routing socket. It is served inside the current tokio runtime.
    pub(crate) fn new(name: &str) -> Result<Self, InterfaceError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let (connection, batches, _) = new_connection(NETLINK_ROUTE)?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            batches,
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

    /// Adds addresses, and the interface if there is none. An address that the kernel refuses does
    /// not keep others out: it is refused again each time, and the others would never be added.
    pub(crate) async fn add(
        &self,
        addresses: &mut Addresses,
        missing: &[IpAddr],
        report: &mut AddressReport,
    ) {
        if missing.is_empty() {
            return;
        }
        let index = match addresses.index {
            Some(index) => index,
            None => match self.create().await {
                Ok(index) => index,
                Err(error) => return report.refuse(error, missing.len()),
            },
        };
        addresses.index = Some(index);
        let missing: Vec<_> = missing
            .iter()
            .map(|address| (*address, message(index, *address)))
            .collect();
        for batch in missing.chunks(BATCH) {
            // Another program may have been faster.
            let flags = NLM_F_CREATE | NLM_F_REPLACE;
            let is_accepted = self
                .is_accepted(batch, flags, RouteNetlinkMessage::NewAddress)
                .await;
            for (address, message) in batch {
                if !is_accepted && let Err(error) = self.add_one(index, *address).await {
                    report.refuse(error, 1);
                    continue;
                }
                addresses.bound.insert(*address, message.clone());
                report.added += 1;
            }
        }
    }

    /// Sends a request for each address at once, and returns whether the kernel accepted all.
    async fn is_accepted(
        &self,
        batch: &[(IpAddr, AddressMessage)],
        flags: u16,
        request: fn(AddressMessage) -> RouteNetlinkMessage,
    ) -> bool {
        let requests = batch.iter().map(|(_, message)| {
            let mut request = NetlinkMessage::from(request(message.clone()));
            request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
            request
        });
        let Ok(mut answers) = self.batches.request_batch(requests, SocketAddr::new(0, 0)) else {
            return false;
        };
        let mut is_accepted = true;
        // Acknowledgements are left out.
        while let Some(answer) = answers.next().await {
            is_accepted &= !matches!(
                answer.payload,
                NetlinkPayload::Error(_) | NetlinkPayload::Overrun(_)
            );
        }
        is_accepted
    }

    async fn add_one(&self, index: u32, address: IpAddr) -> Result<(), InterfaceError> {
        let length = prefix_length(address);
        let request = self.handle.address().add(index, address, length);
        let added = request.replace().execute().await;
        added.map_err(failed(format!("add {address}/{length} to {}", self.name)))
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

    /// Removes addresses. A refusal does not keep others, as in [`add`](Self::add).
    pub(crate) async fn remove(
        &self,
        addresses: &mut Addresses,
        unwanted: &[IpAddr],
        report: &mut AddressReport,
    ) {
        let unwanted: Vec<_> = unwanted
            .iter()
            .filter_map(|address| Some((*address, addresses.bound.get(address)?.clone())))
            .collect();
        for batch in unwanted.chunks(BATCH) {
            let is_accepted = self
                .is_accepted(batch, 0, RouteNetlinkMessage::DelAddress)
                .await;
            for (address, message) in batch {
                if !is_accepted && let Err(error) = self.remove_one(*address, message).await {
                    report.refuse(error, 1);
                    continue;
                }
                addresses.bound.remove(address);
                report.removed += 1;
            }
        }
    }

    /// Removes an address, if it is there.
    async fn remove_one(
        &self,
        address: IpAddr,
        message: &AddressMessage,
    ) -> Result<(), InterfaceError> {
        let removed = self.handle.address().del(message.clone()).execute().await;
        match removed {
            Err(error) if !is_missing(&error) => Err(failed(format!(
                "remove {address} from {}",
                self.name
            ))(error)),
            Ok(()) | Err(_) => Ok(()),
        }
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

fn prefix_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address of the interface with this number.
fn message(index: u32, address: IpAddr) -> AddressMessage {
    let length = prefix_length(address);
    match address {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address, length)
            .build(),
        IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(address, length)
            .build(),
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
