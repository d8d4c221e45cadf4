//! Links and addresses over rtnetlink, each request from a thread inside the namespace concerned.

use std::{
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{
    AddressAddRequest, Handle, LinkBridge, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
        link::{
            BridgeStpState, InfoBridge, InfoData, InfoVeth, LinkAttribute, LinkMessage,
            MacVlanMode, State,
        },
    },
};

use crate::{Error, Namespace};

/// The state of a link.
pub(crate) struct Link {
    pub(crate) index: u32,
    /// Whether the link is up and has a carrier.
    pub(crate) carrier: bool,
    /// Whether the kernel has finished bringing the link up (operational state, RFC 2863), which is
    /// later.
    pub(crate) up: bool,
}

/// Runs `work` inside `namespace` with a connection to its routing socket.
fn request<T: Send>(
    namespace: &Namespace,
    action: &str,
    work: impl AsyncFnOnce(Handle) -> Result<T, rtnetlink::Error> + Send,
) -> Result<T, Error> {
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(Error::os("start a tokio runtime"))?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().map_err(Error::os("open a routing socket"))?;
            tokio::spawn(connection);
            work(handle).await.map_err(|source| Error::Netlink {
                action: action.into(),
                source,
            })
        })
    })
}

pub(crate) fn link(namespace: &Namespace, interface: &str) -> Result<Link, Error> {
    let links: Vec<LinkMessage> = request(namespace, "list the interfaces", async |handle| {
        handle.link().get().execute().try_collect().await
    })?;
    let named = LinkAttribute::IfName(interface.into());
    let message = links
        .into_iter()
        .find(|link| link.attributes.contains(&named))
        .ok_or_else(|| Error::NoInterface {
            interface: interface.into(),
        })?;
    Ok(Link {
        index: message.header.index,
        carrier: message.attributes.contains(&LinkAttribute::Carrier(1)),
        up: message
            .attributes
            .contains(&LinkAttribute::OperState(State::Up)),
    })
}

fn set(namespace: &Namespace, action: &str, message: LinkMessage) -> Result<(), Error> {
    request(namespace, action, async |handle| {
        handle.link().set(message).execute().await
    })
}

fn add(namespace: &Namespace, action: &str, message: LinkMessage) -> Result<(), Error> {
    request(namespace, action, async |handle| {
        handle.link().add(message).execute().await
    })
}

pub(crate) fn set_up(namespace: &Namespace, interface: &str) -> Result<(), Error> {
    set(
        namespace,
        &format!("bring {interface} up"),
        LinkUnspec::new_with_name(interface).up().build(),
    )
}

pub(crate) fn set_down(namespace: &Namespace, interface: &str) -> Result<(), Error> {
    set(
        namespace,
        &format!("bring {interface} down"),
        LinkUnspec::new_with_name(interface).down().build(),
    )
}

/// Makes `interface` a port of the bridge with index `bridge`; 0 takes it out of its bridge.
pub(crate) fn set_bridge(namespace: &Namespace, interface: &str, bridge: u32) -> Result<(), Error> {
    let message = LinkUnspec::new_with_name(interface)
        .controller(bridge)
        .build();
    set(
        namespace,
        &format!("set the bridge of {interface}"),
        message,
    )
}

pub(crate) fn add_bridge(namespace: &Namespace, name: &str) -> Result<(), Error> {
    let message = LinkBridge::new(name)
        .append_info_data(InfoBridge::StpState(BridgeStpState::Disabled))
        .forward_delay(0)
        .mcast_snooping(false)
        .build();
    request(
        namespace,
        &format!("add the bridge {name}"),
        async |handle| handle.link().add(message).execute().await,
    )
}

/// Adds a veth pair: `interface` with address `mac` in `namespace`, `peer` in `peer_namespace`.
/// Both are down.
pub(crate) fn add_veth(
    namespace: &Namespace,
    interface: &str,
    mac: [u8; 6],
    peer_namespace: &Namespace,
    peer: &str,
) -> Result<(), Error> {
    let peer_message = LinkUnspec::new_with_name(peer)
        .setns_by_fd(peer_namespace.as_fd().as_raw_fd())
        .build();
    let message = LinkMessageBuilder::<LinkVeth>::new(interface, peer)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer_message)))
        .address(mac.to_vec())
        .build();
    add(
        namespace,
        &format!("add the veth pair {interface}, {peer}"),
        message,
    )
}

/// Adds a macvlan in bridge mode on top of `parent`. It is down.
pub(crate) fn add_macvlan(
    namespace: &Namespace,
    parent: &str,
    name: &str,
    mac: [u8; 6],
) -> Result<(), Error> {
    let parent = link(namespace, parent)?.index;
    let message = LinkMacVlan::new(name, parent, MacVlanMode::Bridge)
        .address(mac.to_vec())
        .build();
    request(
        namespace,
        &format!("add the macvlan {name}"),
        async |handle| handle.link().add(message).execute().await,
    )
}

pub(crate) fn add_address(
    namespace: &Namespace,
    interface: &str,
    address: IpNet,
) -> Result<(), Error> {
    let index = link(namespace, interface)?.index;
    request(
        namespace,
        &format!("add {address} to {interface}"),
        async |handle| add_address_request(&handle, index, address).execute().await,
    )
}

pub(crate) fn remove_address(
    namespace: &Namespace,
    interface: &str,
    address: IpNet,
) -> Result<(), Error> {
    let index = link(namespace, interface)?.index;
    request(
        namespace,
        &format!("remove {address} from {interface}"),
        async |handle| {
            let message = add_address_request(&handle, index, address)
                .message_mut()
                .clone();
            handle.address().del(message).execute().await
        },
    )
}

fn add_address_request(handle: &Handle, index: u32, address: IpNet) -> AddressAddRequest {
    let mut request = handle
        .address()
        .add(index, address.addr(), address.prefix_len());
    if address.addr().is_ipv6() {
        // Even where duplicate address detection is off, an address without this flag is tentative
        // for a moment.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    request
}

/// An address of an interface.
pub(crate) struct Address {
    pub(crate) prefix: IpNet,
    /// Not usable yet (RFC 4862 section 2).
    pub(crate) tentative: bool,
}

pub(crate) fn addresses(namespace: &Namespace, interface: &str) -> Result<Vec<Address>, Error> {
    let index = link(namespace, interface)?.index;
    let action = format!("list the addresses of {interface}");
    let messages: Vec<AddressMessage> = request(namespace, &action, async |handle| {
        handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
            .try_collect()
            .await
    })?;
    Ok(messages.iter().filter_map(address).collect())
}

fn address(message: &AddressMessage) -> Option<Address> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    // If both are present, Address is the other end of a point-to-point link. IPv6 has Address
    // alone.
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let other = find(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some(Address {
        prefix: IpNet::new(local.or(other)?, message.header.prefix_len).ok()?,
        tentative: message.header.flags.contains(AddressHeaderFlags::Tentative),
    })
}
