//! The configuration of a router as the driver keeps it.

use std::{mem, slice, sync::Arc};

use vrrp_fsm::Config;
use vrrp_proto::{DecodeOptions, Family, Peer, Priority, TTL, Vrid};

use super::{Authentication, RouterConfig, Transport};
use crate::VirtualAddress;

/// A [`RouterConfig`] in a tenth of its memory: most routers differ from another router of their
/// interface in VRID, priority and addresses alone, and the rest is shared.
#[derive(Clone, Debug)]
pub(super) struct CompactConfig {
    pub(super) vrid: Vrid,
    priority: Priority,
    addresses: Addresses,
    /// Without addresses, and with a VRID and a priority that mean nothing.
    common: Arc<RouterConfig>,
}

/// Virtual addresses. A single one, the usual case, needs no allocation.
#[derive(Clone, Debug)]
enum Addresses {
    One(VirtualAddress),
    Many(Box<[VirtualAddress]>),
}

impl CompactConfig {
    /// Shares everything possible with the first of `others` that allows it.
    pub(super) fn new<'a>(
        mut config: RouterConfig,
        others: impl IntoIterator<Item = &'a CompactConfig>,
    ) -> Self {
        let vrid = mem::replace(&mut config.fsm.vrid, Vrid::MIN);
        let priority = mem::replace(&mut config.fsm.priority, Priority::DEFAULT);
        let addresses = mem::take(&mut config.addresses).into();
        let mut others = others.into_iter().map(|it| &it.common);
        Self {
            vrid,
            priority,
            addresses,
            common: match others.find(|it| are_equal(it, &config)) {
                Some(same) => Arc::clone(same),
                None => Arc::new(config),
            },
        }
    }

    /// The configuration as it was given, with the changes since.
    pub(super) fn whole(&self) -> RouterConfig {
        RouterConfig {
            fsm: self.fsm(),
            addresses: self.addresses().to_vec(),
            ..RouterConfig::clone(&self.common)
        }
    }

    /// Everything that routers may have in common: all except [`vrid`](Self::vrid), the priority
    /// and [`addresses`](Self::addresses), which have neutral values here.
    pub(super) fn common(&self) -> &RouterConfig {
        &self.common
    }

    /// The configuration of the state machine.
    pub(super) fn fsm(&self) -> Config {
        let mut fsm = self.common.fsm;
        fsm.vrid = self.vrid;
        fsm.priority = self.priority;
        fsm
    }

    pub(super) fn family(&self) -> Family {
        self.common.fsm.family
    }

    /// The number of announcements of each address after a takeover.
    pub(super) fn announcements(&self) -> u8 {
        self.common.fsm.announce.repeat
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
            v3_ipv4_checksum: self.common.checksum,
            unicast_ttl_floor: match &self.common.transport {
                Transport::Multicast => TTL,
                Transport::Unicast { peers } => {
                    let floors = peers.iter().map(|peer: &Peer| peer.min_ttl);
                    floors.min().unwrap_or(TTL)
                }
            },
            #[cfg(feature = "hmac")]
            hmac_trailer: matches!(self.common.authentication, Authentication::Hmac(_)),
            #[cfg(not(feature = "hmac"))]
            hmac_trailer: false,
            leniency: self.common.leniency,
        }
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

/// Whether two configurations are equal in each setting.
fn are_equal(one: &RouterConfig, other: &RouterConfig) -> bool {
    let RouterConfig {
        interface,
        fsm,
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
    } = one;
    *interface == other.interface
        && *fsm == other.fsm
        && *addresses == other.addresses
        && *excluded == other.excluded
        && *listed == other.listed
        && *announced == other.announced
        && *track_interface == other.track_interface
        && *group == other.group
        && *own_deviations == other.own_deviations
        && *transport == other.transport
        && *unicast_path == other.unicast_path
        && *unicast_ttl == other.unicast_ttl
        && *source == other.source
        && have_equal_secrets(authentication, &other.authentication)
        && *check_addresses == other.check_addresses
        && *checksum == other.checksum
        && *leniency == other.leniency
        && *gratuitous_arp == other.gratuitous_arp
        && *tracking == other.tracking
        && *virtual_mac == other.virtual_mac
        && *enforce_accept_mode == other.enforce_accept_mode
        && *routes == other.routes
}

/// Keys of HMAC cannot be compared: routers do not share them.
fn have_equal_secrets(one: &Authentication, other: &Authentication) -> bool {
    match (one, other) {
        (Authentication::None, Authentication::None) => true,
        (Authentication::SimpleText(one), Authentication::SimpleText(other)) => one == other,
        #[cfg(feature = "ah")]
        (Authentication::Ah(one), Authentication::Ah(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use vrrp_fsm::{
        Instant,
        track::{Kind, Object, TrackRef, Tracker},
    };
    use vrrp_proto::{
        ChecksumAcceptance, Interval, Leniency, Password, frame::arp::GratuitousTarget,
    };

    use super::*;
    use crate::driver::{AnnouncedAddress, UnicastPath, VirtualMac};

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
        assert!(Arc::ptr_eq(&first.common, &second.common));
        let mut third = config(3, &["192.0.2.4"]);
        third.unicast_ttl = 9;
        let third = CompactConfig::new(third, [&first, &second]);
        assert!(!Arc::ptr_eq(&first.common, &third.common));
        let same = CompactConfig::new(third.whole(), [&first, &third]);
        assert!(Arc::ptr_eq(&third.common, &same.common));
    }

    fn tracked() -> TrackRef {
        let mut tracker = Tracker::new();
        let object = tracker.add(Instant::ZERO, Object::new("uplink", Kind::Interface));
        TrackRef::of(object.unwrap())
    }

    #[test]
    fn a_router_with_another_setting_shares_nothing() {
        type Edit = fn(&mut RouterConfig);
        let edits: [Edit; 21] = [
            |it| it.interface = "eth1".into(),
            |it| it.fsm.interval = Interval::centis(300).unwrap(),
            |it| it.excluded.push("192.0.2.9".parse().unwrap()),
            |it| it.listed.push("192.0.2.9".parse().unwrap()),
            |it| {
                it.announced.push(AnnouncedAddress {
                    interface: "eth1".into(),
                    address: "192.0.2.9".parse().unwrap(),
                    refresh: None,
                });
            },
            |it| it.track_interface = false,
            |it| it.group = Some("224.0.0.99".parse().unwrap()),
            |it| it.own_deviations = Leniency::ALL,
            |it| it.transport = Transport::Unicast { peers: Vec::new() },
            |it| it.unicast_path = UnicastPath::RoutingTable,
            |it| it.unicast_ttl = 9,
            |it| it.source = Some("192.0.2.9".parse().unwrap()),
            |it| it.authentication = Authentication::SimpleText(Password::new(b"word").unwrap()),
            |it| it.check_addresses = true,
            |it| it.checksum = ChecksumAcceptance::MessageOnly,
            |it| it.leniency = Leniency::ALL,
            |it| it.gratuitous_arp = GratuitousTarget::Zero,
            |it| it.tracking.push(tracked()),
            |it| it.virtual_mac = Some(VirtualMac::default()),
            |it| it.enforce_accept_mode = true,
            |it| it.routes.push("198.51.100.0/24".parse().unwrap()),
        ];
        let first = CompactConfig::new(config(1, &["192.0.2.1"]), []);
        for (place, edit) in edits.into_iter().enumerate() {
            let mut other = config(2, &["192.0.2.2"]);
            edit(&mut other);
            let other = CompactConfig::new(other, [&first]);
            assert!(!Arc::ptr_eq(&first.common, &other.common), "edit {place}");
        }
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
