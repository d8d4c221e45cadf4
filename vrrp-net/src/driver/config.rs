//! The configuration of a router of the driver.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use vrrp_fsm::{Config, track::TrackRef};
use vrrp_proto::{
    ChecksumAcceptance, Family, Leniency, Password, Peer, TTL, frame::arp::GratuitousTarget,
};

use crate::{
    AnnouncementPace, Error, Route, VirtualAddress, address::family, interface::check_link_name,
};

/// A virtual router on an interface. Make one with [`new`](Self::new) and change its fields.
///
/// ```
/// use vrrp_fsm::Config;
/// use vrrp_net::RouterConfig;
/// use vrrp_proto::{Family, Vrid};
///
/// let fsm = Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv4);
/// let mut config = RouterConfig::new("eth0", fsm, vec!["192.0.2.254/32".parse()?]);
/// config.check_addresses = true;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RouterConfig {
    /// The name of the interface. It need not exist yet: the router starts when the interface
    /// comes, and starts again when it comes back.
    pub interface: String,
    /// The configuration of the state machine: VRID, family, versions, priority, interval and so
    /// on.
    pub fsm: Config,
    /// The virtual addresses, 1 to 255, all of the router's family. Over IPv6 the first is
    /// link-local (P-38).
    pub addresses: Vec<VirtualAddress>,
    /// Addresses that come and go with the others and are announced, but not listed in
    /// advertisements: of either family, in any number.
    #[cfg_attr(feature = "serde", serde(default))]
    pub excluded: Vec<VirtualAddress>,
    /// Further addresses of the router's family that its advertisements list, and that the program
    /// puts in place itself. Default none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub listed: Vec<IpAddr>,
    /// Addresses of either family on other interfaces, which the program puts in place itself. The
    /// driver announces them with the others, and as soon as the interface has them. Default none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub announced: Vec<AnnouncedAddress>,
    /// Whether the router is in Initialize while its interface is down or without a carrier.
    /// Default true.
    #[cfg_attr(feature = "serde", serde(default = "yes"))]
    pub track_interface: bool,
    /// A multicast group of the router's family, in place of VRRP's own. Default `None`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub group: Option<IpAddr>,
    /// Which deviations the router's own advertisements may have: no addresses in version 2, an
    /// IPv6 list that begins with a global address. Default none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub own_deviations: Leniency,
    /// The transport of advertisements. Default [`Transport::Multicast`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub transport: Transport,
    /// The way that unicast advertisements take. Default [`UnicastPath::Interface`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub unicast_path: UnicastPath,
    /// The TTL or hop limit of advertisements to peers: 1 to 255. Default 255. Advertisements to a
    /// group always have 255 (P-04, P-05).
    #[cfg_attr(feature = "serde", serde(default = "highest_ttl"))]
    pub unicast_ttl: u8,
    /// The address to advertise from, in place of the interface's primary address; it has to be on
    /// the interface. Over IPv6 with multicast it has to be link-local (P-09).
    #[cfg_attr(feature = "serde", serde(default))]
    pub source: Option<IpAddr>,
    /// The authentication of advertisements. Default [`Authentication::None`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub authentication: Authentication,
    /// Whether the address lists of others are compared with `addresses` (P-44, P-45). Default
    /// false (AMB-03).
    #[cfg_attr(feature = "serde", serde(default))]
    pub check_addresses: bool,
    /// Which checksums of a version 3 message over IPv4 are accepted. Default either (AMB-01).
    #[cfg_attr(feature = "serde", serde(default))]
    pub checksum: ChecksumAcceptance,
    /// Which deviations of received advertisements are accepted. Default none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub leniency: Leniency,
    /// The target hardware address of gratuitous ARP (AMB-16). Default the sender's.
    #[cfg_attr(feature = "serde", serde(default))]
    pub gratuitous_arp: GratuitousTarget,
    /// The objects that the router depends on: see
    /// [`Driver::add_object`](super::Driver::add_object). Default none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub tracking: Vec<TrackRef>,
    /// The virtual router MAC address (RFC 9568 section 7.3). Default `None`: the router uses the
    /// interface's own hardware address, and neighbours learn a new one from the announcements when
    /// another router takes over.
    #[cfg_attr(feature = "serde", serde(default))]
    pub virtual_mac: Option<VirtualMac>,
    /// Whether [`Config::accept_mode`] decides what the host accepts (M-08). Default false: the
    /// host has the addresses of an Active, and accepts packets to them.
    ///
    /// With it, an Active that does not [accept](vrrp_fsm::VirtualRouter::accepts_traffic) has no
    /// such address: the driver answers ARP and Neighbor Discovery for it, and a
    /// [route](Route::discard) discards packets to it (M-09). Version 2 has no Accept_Mode, so only
    /// the owner accepts packets there.
    #[cfg_attr(feature = "serde", serde(default))]
    pub enforce_accept_mode: bool,
    /// Routes that are there while the router is Active: installed after the addresses, and removed
    /// before them.
    ///
    /// A route of another program with the same destination, metric and table counts as the route,
    /// and stays at the end. That includes one that replaces it (`ip route replace`), because the
    /// kernel sends no notification of the replaced route.
    #[cfg_attr(feature = "serde", serde(default))]
    pub routes: Vec<Route>,
}

impl RouterConfig {
    /// A router with the defaults of each field.
    #[must_use]
    pub fn new(interface: impl Into<String>, fsm: Config, addresses: Vec<VirtualAddress>) -> Self {
        Self {
            interface: interface.into(),
            fsm,
            addresses,
            excluded: Vec::new(),
            listed: Vec::new(),
            announced: Vec::new(),
            track_interface: true,
            group: None,
            own_deviations: Leniency::NONE,
            transport: Transport::Multicast,
            unicast_path: UnicastPath::default(),
            unicast_ttl: TTL,
            source: None,
            authentication: Authentication::None,
            check_addresses: false,
            checksum: ChecksumAcceptance::default(),
            leniency: Leniency::NONE,
            gratuitous_arp: GratuitousTarget::default(),
            tracking: Vec::new(),
            virtual_mac: None,
            enforce_accept_mode: false,
            routes: Vec::new(),
        }
    }

    /// Checks what neither the types nor the state machine check.
    pub(super) fn check(&self) -> Result<(), Error> {
        let invalid = |field, problem: String| Err(Error::Invalid { field, problem });
        let family = self.fsm.family;
        check_link_name("interface", &self.interface)?;
        for address in &self.addresses {
            check_address(address, family)?;
        }
        let mut seen = BTreeSet::new();
        for address in &self.listed {
            check_family("listed", *address, family)?;
        }
        let own = self.addresses.iter().chain(&self.excluded);
        let own = own.map(VirtualAddress::address);
        for address in own.chain(self.listed.iter().copied()) {
            check_unicast("addresses", address)?;
            if !seen.insert(address) {
                return invalid("addresses", format!("{address} is listed twice"));
            }
        }
        check_announced(&self.announced)?;
        if let Some(group) = self.group {
            check_family("group", group, family)?;
            if !group.is_multicast() {
                return invalid("group", format!("{group} is not a multicast address"));
            }
        }
        if let Some(source) = self.source {
            check_family("source", source, family)?;
            check_unicast("source", source)?;
            if matches!(source, IpAddr::V6(source)
                if !source.is_unicast_link_local() && self.transport == Transport::Multicast)
            {
                return invalid("source", format!("{source} is not in fe80::/10"));
            }
        }
        if let Transport::Unicast { peers } = &self.transport {
            check_peers(peers, family)?;
        }
        if self.unicast_ttl == 0 {
            return invalid("unicast_ttl", "0 is not in 1..=255".into());
        }
        match &self.authentication {
            Authentication::SimpleText(_)
                if !self.fsm.versions.include(vrrp_proto::Version::V2) =>
            {
                invalid(
                    "authentication",
                    "a password in clear text exists in version 2 only".into(),
                )
            }
            #[cfg(feature = "ah")]
            Authentication::Ah(_) if self.fsm.versions != vrrp_proto::Versions::V2 => invalid(
                "authentication",
                "IP AH exists in version 2 only, so that versions has to be V2".into(),
            ),
            #[cfg(feature = "hmac")]
            Authentication::Hmac(hmac) => match hmac.keys() {
                Ok(_) => Ok(()),
                Err(error) => invalid("authentication", error.to_string()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "serde")]
const fn yes() -> bool {
    true
}

#[cfg(feature = "serde")]
const fn highest_ttl() -> u8 {
    TTL
}

/// Whether an address can be advertised by a router of this family.
pub(super) fn check_address(address: &VirtualAddress, wanted: Family) -> Result<(), Error> {
    check_family("addresses", address.address(), wanted)?;
    check_unicast("addresses", address.address())
}

/// Whether these addresses can be announced.
pub(super) fn check_announced(announced: &[AnnouncedAddress]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for it in announced {
        check_link_name("announced", &it.interface)?;
        check_unicast("announced", it.address)?;
        let bounds = AnnouncedAddress::SHORTEST_REFRESH..=AnnouncementPace::LONGEST;
        if let Some(refresh) = it.refresh
            && !bounds.contains(&refresh)
        {
            return Err(Error::Invalid {
                field: "announced",
                problem: format!("refresh {refresh:?} of {} is not in {bounds:?}", it.address),
            });
        }
        if !seen.insert((&it.interface, it.address)) {
            return Err(Error::Invalid {
                field: "announced",
                problem: format!("{} is listed twice", it.address),
            });
        }
    }
    Ok(())
}

/// Whether these can be the peers of a router of this family.
pub(super) fn check_peers(peers: &[Peer], wanted: Family) -> Result<(), Error> {
    if peers.is_empty() {
        return Err(Error::Invalid {
            field: "peers",
            problem:
                "no peers given: unicast needs at least one (use Transport::Multicast otherwise)"
                    .into(),
        });
    }
    let mut seen = BTreeSet::new();
    for Peer {
        address,
        min_ttl,
        max_ttl,
    } in peers
    {
        if min_ttl > max_ttl {
            return Err(Error::Invalid {
                field: "peers",
                problem: format!(
                    "max_ttl {max_ttl} of {address} is not in {min_ttl}..=255, from min_ttl"
                ),
            });
        }
        check_family("peers", *address, wanted)?;
        check_unicast("peers", *address)?;
        if !seen.insert(address) {
            return Err(Error::Invalid {
                field: "peers",
                problem: format!("{address} is listed twice"),
            });
        }
    }
    Ok(())
}

/// Whether an address can belong to a single host.
fn check_unicast(field: &'static str, address: IpAddr) -> Result<(), Error> {
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return Err(Error::Invalid {
            field,
            problem: format!("{address} is not a unicast address"),
        });
    }
    Ok(())
}

fn check_family(field: &'static str, address: IpAddr, wanted: Family) -> Result<(), Error> {
    if family(address) == wanted {
        return Ok(());
    }
    Err(Error::Invalid {
        field,
        problem: format!("{address} is not of the router's family, {wanted}"),
    })
}

/// An address that the program puts in place itself, for [`RouterConfig::announced`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AnnouncedAddress {
    /// The name of the interface that has it while the router is Active.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The period after which it is announced again while the router is Active: from a second to [a
    /// day](crate::AnnouncementPace::LONGEST). Switches forget a hardware address that sends
    /// nothing. The shortest period of a router counts for all its addresses that have one. Default
    /// `None`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub refresh: Option<Duration>,
}

impl AnnouncedAddress {
    /// The shortest period.
    pub const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

    /// An address without a period of its own.
    #[must_use]
    pub fn new(interface: impl Into<String>, address: IpAddr) -> Self {
        Self {
            interface: interface.into(),
            address,
            refresh: None,
        }
    }
}

/// The virtual MAC of a router: on a [`Macvlan`](crate::Macvlan) that has its addresses, and that
/// is up while the router is Active.
///
/// Multicast advertisements, gratuitous ARP, unsolicited neighbor advertisements, and the answers
/// to ARP and Neighbor Discovery for the addresses come from the virtual MAC (M-03, A-05, A-08,
/// A-12). The host's own packets, from any address, leave by the parent interface with its hardware
/// address; so do unicast advertisements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct VirtualMac {
    /// The name of the macvlan, 1 to 15 octets. Without one, the name has the form `vrrp4-51-2`:
    /// family, VRID, and index of the interface in hexadecimal digits.
    pub name: Option<String>,
    /// Whether advertisements come from the hardware address of the interface, against M-03: for
    /// switches that do not tolerate a hardware address that moves between ports. keepalived calls
    /// it `vmac_xmit_base`. Default false.
    pub advertise_from_interface: bool,
}

/// The handling of advertisements whose VRID no router here has:
/// [`Driver::set_foreign_packets`](super::Driver::set_foreign_packets).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ForeignPackets {
    /// The kernel drops them, so that they do not wake the thread.
    #[default]
    Dropped,
    /// They are received, and counted in
    /// [`PacketErrors::vrid_errors`](crate::PacketErrors::vrid_errors) or, if they are malformed,
    /// in the other counters (O-16).
    Counted,
}

/// The transport of a router's advertisements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Transport {
    /// To the VRRP group of the family, on the interface.
    #[default]
    Multicast,
    /// To each peer, outside the RFCs (AMB-26). Only advertisements of peers are accepted, and only
    /// with a TTL within the bounds of the peer.
    ///
    /// Over IPv6 the router advertises from its link-local address where all peers have one, else
    /// from its first other address.
    Unicast {
        /// The other routers, at least one.
        peers: Vec<Peer>,
    },
}

/// The way that the advertisements of a router with [`Transport::Unicast`] take to its peers. Those
/// to a link-local address always leave by the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum UnicastPath {
    /// By the interface of the router, even where the routing table names another, as keepalived
    /// does. Where the interface is in a VRF, the routing table of that VRF is used.
    #[default]
    Interface,
    /// By the interface that the routing table names, for peers behind interfaces other than the
    /// router's. Where the router's interface is in a VRF, the routing table of that VRF is used.
    RoutingTable,
}

/// The authentication of a router's advertisements, with its secrets. `Debug` does not show them.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Authentication {
    /// No authentication.
    #[default]
    None,
    /// Version 2: a password in clear text (P-48).
    SimpleText(Password),
    /// Version 2: inside IP AH (P-50). As with keepalived, each router continues above the highest
    /// sequence number that it has received.
    #[cfg(feature = "ah")]
    Ah(Password),
    /// An HMAC trailer, in either version.
    #[cfg(feature = "hmac")]
    Hmac(HmacKeys),
}

/// The keys of [`Authentication::Hmac`], and the requirements of received messages.
#[cfg(feature = "hmac")]
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HmacKeys {
    /// The keys. Each of them can verify a message.
    pub keys: Vec<vrrp_proto::hmac::Key>,
    /// The id of the key that signs.
    pub active: u8,
    /// The check that a message is not a replay.
    pub anti_replay: vrrp_proto::hmac::AntiReplay,
    /// The step of the change to trailers.
    pub mode: HmacMode,
}

/// The step of a network on its way to trailers. Set every router to `ReceiveOnly`, then every
/// router to `Permissive`, then every router to `Enforce`. Finish each step on all routers before
/// the next one, because a router that does not know trailers discards messages that have one.
/// keepalived has the same modes.
#[cfg(feature = "hmac")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum HmacMode {
    /// Messages are sent without a trailer, and accepted with a valid one or with none.
    ReceiveOnly,
    /// Messages are sent with a trailer, and accepted with a valid one or with none.
    Permissive,
    /// Messages are sent with a trailer, and received messages without a valid one are discarded.
    #[default]
    Enforce,
}

#[cfg(feature = "hmac")]
impl HmacKeys {
    pub(super) fn keys(&self) -> Result<vrrp_proto::hmac::Keys<'_>, vrrp_proto::hmac::KeysError> {
        vrrp_proto::hmac::Keys::new(&self.keys, self.active)
    }
}
