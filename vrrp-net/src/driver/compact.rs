//! The configuration of a router as the driver keeps it.

use std::{net::IpAddr, ops::Deref, slice, sync::Arc};

use vrrp_fsm::{Config, track::TrackRef};
use vrrp_proto::{
    ChecksumAcceptance, DecodeOptions, Family, Leniency, Peer, Priority, TTL, Vrid,
    frame::arp::GratuitousTarget,
};

use super::{AnnouncedAddress, Authentication, RouterConfig, Transport, UnicastPath, VirtualMac};
use crate::{Route, VirtualAddress};

/// A [`RouterConfig`] in a tenth of its memory: most routers differ from another router of their
/// interface in VRID, priority and addresses alone, and the rest is shared.
#[derive(Clone, Debug)]
pub(super) struct CompactConfig {
    pub(super) vrid: Vrid,
    priority: Priority,
    addresses: Addresses,
    shared: Arc<Shared>,
}

/// Virtual addresses. A single one, the usual case, needs no allocation.
#[derive(Clone, Debug)]
enum Addresses {
    One(VirtualAddress),
    Many(Box<[VirtualAddress]>),
}

/// Everything that routers may have in common: see [`RouterConfig`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shared {
    pub(super) interface: String,
    /// With a VRID and a priority that mean nothing.
    fsm: Config,
    pub(super) excluded: Vec<VirtualAddress>,
    pub(super) listed: Vec<IpAddr>,
    pub(super) announced: Vec<AnnouncedAddress>,
    pub(super) track_interface: bool,
    pub(super) group: Option<IpAddr>,
    pub(super) own_deviations: Leniency,
    pub(super) transport: Transport,
    pub(super) unicast_path: UnicastPath,
    pub(super) unicast_ttl: u8,
    pub(super) source: Option<IpAddr>,
    authentication: Secrets,
    pub(super) check_addresses: bool,
    checksum: ChecksumAcceptance,
    leniency: Leniency,
    pub(super) gratuitous_arp: GratuitousTarget,
    pub(super) tracking: Vec<TrackRef>,
    pub(super) virtual_mac: Option<VirtualMac>,
    pub(super) enforce_accept_mode: bool,
    pub(super) routes: Vec<Route>,
}

/// The authentication, with its secrets.
#[derive(Clone, Debug)]
struct Secrets(Authentication);

impl CompactConfig {
    /// Shares everything possible with the first of `others` that allows it.
    pub(super) fn new<'a>(
        config: RouterConfig,
        others: impl IntoIterator<Item = &'a CompactConfig>,
    ) -> Self {
        let RouterConfig {
            interface,
            mut fsm,
            addresses,
            excluded,
            listed,
            announced,
            track_interface,
            group,
            own_deviations,
            transport,
            unicast_path,
            unicast_ttl,
            source,
            authentication,
            check_addresses,
            checksum,
            leniency,
            gratuitous_arp,
            tracking,
            virtual_mac,
            enforce_accept_mode,
            routes,
        } = config;
        let (vrid, priority) = (fsm.vrid, fsm.priority);
        fsm.vrid = Vrid::MIN;
        fsm.priority = Priority::DEFAULT;
        let shared = Shared {
            interface,
            fsm,
            excluded,
            listed,
            announced,
            track_interface,
            group,
            own_deviations,
            transport,
            unicast_path,
            unicast_ttl,
            source,
            authentication: Secrets(authentication),
            check_addresses,
            checksum,
            leniency,
            gratuitous_arp,
            tracking,
            virtual_mac,
            enforce_accept_mode,
            routes,
        };
        let mut others = others.into_iter().map(|it| &it.shared);
        Self {
            vrid,
            priority,
            addresses: addresses.into(),
            shared: match others.find(|it| ***it == shared) {
                Some(same) => Arc::clone(same),
                None => Arc::new(shared),
            },
        }
    }

    /// The configuration as it was given, with the changes since.
    pub(super) fn whole(&self) -> RouterConfig {
        let Shared {
            interface,
            fsm: _,
            excluded,
            listed,
            announced,
            track_interface,
            group,
            own_deviations,
            transport,
            unicast_path,
            unicast_ttl,
            source,
            authentication: Secrets(authentication),
            check_addresses,
            checksum,
            leniency,
            gratuitous_arp,
            tracking,
            virtual_mac,
            enforce_accept_mode,
            routes,
        } = Shared::clone(&self.shared);
        RouterConfig {
            interface,
            fsm: self.fsm(),
            addresses: self.addresses().to_vec(),
            excluded,
            listed,
            announced,
            track_interface,
            group,
            own_deviations,
            transport,
            unicast_path,
            unicast_ttl,
            source,
            authentication,
            check_addresses,
            checksum,
            leniency,
            gratuitous_arp,
            tracking,
            virtual_mac,
            enforce_accept_mode,
            routes,
        }
    }

    /// The configuration of the state machine.
    pub(super) fn fsm(&self) -> Config {
        let mut fsm = self.shared.fsm;
        fsm.vrid = self.vrid;
        fsm.priority = self.priority;
        fsm
    }

    pub(super) fn family(&self) -> Family {
        self.shared.fsm.family
    }

    /// The number of announcements of each address after a takeover.
    pub(super) fn announcements(&self) -> u8 {
        self.shared.fsm.announce.repeat
    }

    /// Whether the router owns its addresses.
    pub(super) const fn is_owner(&self) -> bool {
        self.priority.is_owner()
    }

    /// The virtual addresses, in the order of [`RouterConfig::addresses`].
    pub(super) fn addresses(&self) -> &[VirtualAddress] {
        match &self.addresses {
            Addresses::One(address) => slice::from_ref(address),
            Addresses::Many(addresses) => addresses,
        }
    }

    pub(super) fn set_addresses(&mut self, addresses: Vec<VirtualAddress>) {
        self.addresses = addresses.into();
    }

    /// The options of the decoder.
    pub(super) fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            v3_ipv4_checksum: self.checksum,
            unicast_ttl_floor: match &self.transport {
                Transport::Multicast => TTL,
                Transport::Unicast { peers } => {
                    let floors = peers.iter().map(|peer: &Peer| peer.min_ttl);
                    floors.min().unwrap_or(TTL)
                }
            },
            #[cfg(feature = "hmac")]
            hmac_trailer: matches!(self.authentication.0, Authentication::Hmac(_)),
            #[cfg(not(feature = "hmac"))]
            hmac_trailer: false,
            leniency: self.leniency,
        }
    }
}

impl Deref for CompactConfig {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl From<Vec<VirtualAddress>> for Addresses {
    fn from(mut addresses: Vec<VirtualAddress>) -> Self {
        match addresses.pop() {
            Some(only) if addresses.is_empty() => Self::One(only),
            last => {
                addresses.extend(last);
                Self::Many(addresses.into())
            }
        }
    }
}

impl PartialEq for Secrets {
    /// Keys of HMAC cannot be compared: routers do not share them.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Authentication::None, Authentication::None) => true,
            (Authentication::SimpleText(one), Authentication::SimpleText(other)) => one == other,
            #[cfg(feature = "ah")]
            (Authentication::Ah(one), Authentication::Ah(other)) => one == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vrid: u8, addresses: &[&str]) -> RouterConfig {
        let fsm = Config::new(Vrid::new(vrid).unwrap(), Family::Ipv4);
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        RouterConfig::new("eth0", fsm, addresses)
    }

    #[test]
    fn routers_that_differ_in_vrid_priority_and_addresses_share_the_rest() {
        let first = CompactConfig::new(config(1, &["192.0.2.1"]), []);
        let mut second = config(2, &["192.0.2.2", "192.0.2.3/24"]);
        second.fsm.priority = Priority::new(7);
        let second = CompactConfig::new(second, [&first]);
        assert!(Arc::ptr_eq(&first.shared, &second.shared));
        let mut third = config(3, &["192.0.2.4"]);
        third.unicast_ttl = 9;
        let third = CompactConfig::new(third, [&first, &second]);
        assert!(!Arc::ptr_eq(&first.shared, &third.shared));
        let same = CompactConfig::new(third.whole(), [&first, &third]);
        assert!(Arc::ptr_eq(&third.shared, &same.shared));
    }

    #[test]
    fn the_whole_configuration_comes_back() {
        for addresses in [&[][..], &["192.0.2.1"], &["192.0.2.2", "192.0.2.1/24"]] {
            let mut given = config(1, addresses);
            given.fsm.priority = Priority::new(7);
            given.listed = vec!["192.0.2.9".parse().unwrap()];
            given.virtual_mac = Some(VirtualMac::default());
            let compact = CompactConfig::new(given.clone(), []);
            assert_eq!(format!("{:?}", compact.whole()), format!("{given:?}"));
            assert_eq!(compact.addresses(), given.addresses);
            assert_eq!(compact.fsm(), given.fsm);
        }
    }
}
