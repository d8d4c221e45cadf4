//! One virtual router of a fleet: its configuration, and its data in the fleet.

use alloc::{boxed::Box, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Addresses, DecodeOptions, Family, LocalAuthentication, LocalTransport, Peer, Protection, Vrid,
    group,
};

use super::{FleetError, GroupId, check_family};
use crate::{
    Config, Expiry, Instant, Outgoing, ReceiveContext, ShutdownCause, State, VirtualRouter,
    track::{TrackRef, TrackState},
};

/// The key of a virtual router (S-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterKey {
    /// The interface: its index, or another number that the host assigns.
    pub interface: u32,
    /// The family.
    pub family: Family,
    /// The VRID.
    pub vrid: Vrid,
}

/// Configuration of a virtual router in a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Member {
    /// The interface, as in [`RouterKey::interface`]. It is fixed for the life of the router.
    pub interface: u32,
    /// The election.
    pub config: Config,
    /// How messages are sent; addresses of the family of `config`. Default
    /// [`Multicast`](MessageTransport::Multicast) to the group of the family.
    pub transport: MessageTransport,
    /// How a message must be authenticated. Default none.
    pub authentication: LocalAuthentication,
    /// The options of the decoder.
    pub decode: DecodeOptions,
    /// The virtual addresses, which are compared with those of messages (P-44, P-45); of the family
    /// of `config`. Default `None`: no comparison.
    pub addresses: Option<AddressList>,
    /// The tracked objects.
    pub tracking: Vec<TrackRef>,
}

impl Member {
    /// Makes a router with multicast, without authentication and tracked objects.
    #[must_use]
    pub fn new(interface: u32, config: Config) -> Self {
        Self {
            interface,
            config,
            transport: MessageTransport::Multicast {
                group: group(config.family),
            },
            authentication: LocalAuthentication::None,
            decode: DecodeOptions::default(),
            addresses: None,
            tracking: Vec::new(),
        }
    }

    /// Returns its key.
    #[must_use]
    pub const fn key(&self) -> RouterKey {
        RouterKey {
            interface: self.interface,
            family: self.config.family,
            vrid: self.config.vrid,
        }
    }
}

/// [`LocalTransport`] with an owned list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum MessageTransport {
    /// [`LocalTransport::Multicast`].
    Multicast {
        /// The multicast group.
        group: IpAddr,
    },
    /// [`LocalTransport::Unicast`].
    Unicast {
        /// The other routers.
        peers: Vec<Peer>,
    },
}

/// [`Addresses`] with an owned list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum AddressList {
    /// IPv4 addresses.
    Ipv4(Vec<Ipv4Addr>),
    /// IPv6 addresses.
    Ipv6(Vec<Ipv6Addr>),
}

impl AddressList {
    /// Returns a view of the list.
    #[must_use]
    pub fn as_addresses(&self) -> Addresses<'_> {
        match self {
            Self::Ipv4(list) => Addresses::from(list.as_slice()),
            Self::Ipv6(list) => Addresses::from(list.as_slice()),
        }
    }
}

/// How the packets of a router are received and validated.
#[derive(Clone, Debug)]
pub(super) struct Reception {
    /// The multicast group, for a router without peers.
    group: IpAddr,
    decode: DecodeOptions,
    /// `None` for most routers.
    special: Option<Box<Special>>,
}

/// The parts of a [`Reception`] that few routers have.
#[derive(Clone, Debug)]
struct Special {
    /// The peers of a unicast router.
    peers: Option<Vec<Peer>>,
    authentication: LocalAuthentication,
    addresses: Option<AddressList>,
}

impl Reception {
    pub(super) fn new(
        transport: MessageTransport,
        decode: DecodeOptions,
        authentication: LocalAuthentication,
        addresses: Option<AddressList>,
    ) -> Self {
        let (group, peers) = match transport {
            MessageTransport::Multicast { group } => (group, None),
            MessageTransport::Unicast { peers } => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), Some(peers)),
        };
        let is_special =
            peers.is_some() || authentication != LocalAuthentication::None || addresses.is_some();
        Self {
            group,
            decode,
            special: is_special.then(|| {
                Box::new(Special {
                    peers,
                    authentication,
                    addresses,
                })
            }),
        }
    }

    fn peers(&self) -> Option<&Vec<Peer>> {
        self.special.as_ref()?.peers.as_ref()
    }

    fn authentication(&self) -> LocalAuthentication {
        let special = self.special.as_ref();
        special.map_or(LocalAuthentication::None, |it| it.authentication)
    }

    fn addresses(&self) -> Option<&AddressList> {
        self.special.as_ref()?.addresses.as_ref()
    }

    fn transport(&self) -> MessageTransport {
        match self.peers() {
            Some(peers) => MessageTransport::Unicast {
                peers: peers.clone(),
            },
            None => MessageTransport::Multicast { group: self.group },
        }
    }

    /// Whether these are its transport and its addresses.
    pub(super) fn is_addressed(
        &self,
        transport: &MessageTransport,
        addresses: Option<&AddressList>,
    ) -> bool {
        self.transport() == *transport && self.addresses() == addresses
    }

    /// Returns the context of a packet with this protection.
    #[inline]
    pub(super) fn context(&self, protection: Protection) -> ReceiveContext<'_> {
        ReceiveContext {
            transport: match self.peers() {
                Some(peers) => LocalTransport::Unicast { peers },
                None => LocalTransport::Multicast { group: self.group },
            },
            decode: self.decode,
            authentication: self.authentication(),
            protection,
            addresses: self.addresses().map(AddressList::as_addresses),
        }
    }

    /// Whether this address is a unicast peer.
    pub(super) fn has_peer(&self, address: IpAddr) -> bool {
        let mut peers = self.peers().into_iter().flatten();
        peers.any(|peer| peer.address == address)
    }
}

/// A virtual router with its data in the fleet.
#[derive(Clone, Debug)]
// The flags are independent.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Entry {
    pub(super) router: VirtualRouter,
    pub(super) interface: u32,
    /// The waiting advertisement.
    pub(super) advertisement: Option<Outgoing>,
    pub(super) reception: Reception,
    pub(super) tracking: Box<[TrackRef]>,
    /// The result of its own objects.
    pub(super) track_state: TrackState,
    pub(super) group: Option<GroupId>,
    /// G-3: the router waits for its group to take over. The value is the reason of its timer.
    pub(super) pending_takeover: Option<Expiry>,
    /// G-8: the router could not run when it joined a running group, and does not count there until
    /// it can.
    pub(super) is_joining: bool,
    /// Whether the host has started it.
    pub(super) is_enabled: bool,
    /// Whether it is removed, with waiting actions.
    pub(super) is_leaving: bool,
    /// Whether it is in `VrrpRouter::dirty_routers`.
    pub(super) is_dirty: bool,
    /// `None` if the host has no primary address, which is a fault.
    pub(super) primary_address: Option<IpAddr>,
}

impl Entry {
    #[inline]
    pub(super) fn key(&self) -> RouterKey {
        RouterKey {
            interface: self.interface,
            family: self.router.settings.family,
            vrid: self.router.settings.vrid,
        }
    }

    /// Returns the deadline of the router, as late as patience allows for an Active.
    #[inline]
    pub(super) fn alarm(&self, patience: u64) -> Option<Instant> {
        let deadline = self.router.poll_timeout()?;
        if patience == 0 || self.router.state() != State::Active {
            return Some(deadline);
        }
        Some(deadline.after(self.tolerance(patience)))
    }

    /// By how many nanoseconds an advertisement of the router may leave the schedule.
    ///
    /// An early advertisement and a late one are up to an interval and two tolerances apart, an
    /// eighth more than the interval. Active_Down_Interval must be longer: two intervals always
    /// are, but one interval leaves Skew_Time only, for the highest priorities a 256th of the
    /// interval or two. The delays of hosts and network need all of it, so the router keeps its
    /// schedule there. Its own `missed_advertisements` counts, because those of its Backups are
    /// unknown and should be the same.
    #[inline]
    pub(super) fn tolerance(&self, patience: u64) -> u64 {
        if self.router.settings.missed_advertisements == 1 {
            return 0;
        }
        let share = self.router.settings.interval.as_nanos() / 16;
        share.min(patience)
    }

    pub(super) fn check_primary_address(&self, address: IpAddr) -> Result<(), FleetError> {
        let family = self.router.settings.family;
        check_family("primary_address", Family::of(address), family)
    }

    pub(super) fn member(&self) -> Member {
        Member {
            interface: self.interface,
            config: self.router.config(),
            transport: self.reception.transport(),
            authentication: self.reception.authentication(),
            decode: self.reception.decode,
            addresses: self.reception.addresses().cloned(),
            tracking: self.tracking.to_vec(),
        }
    }

    /// Returns the cause that prevents it from running; the most relevant one of several.
    pub(super) fn obstacle(&self) -> Option<ShutdownCause> {
        if !self.is_enabled {
            Some(ShutdownCause::Administrative)
        } else if self.primary_address.is_none() || self.track_state.faults != 0 {
            Some(ShutdownCause::Fault)
        } else {
            None
        }
    }

    /// Whether it waits for objects without a report. A running router does not.
    pub(super) fn waits(&self) -> bool {
        !self.runs() && self.track_state.unreported != 0
    }

    pub(super) fn can_run(&self) -> bool {
        self.obstacle().is_none() && !self.waits()
    }

    /// G-2: whether the owners in its group start as Backups, because this one does not become
    /// Active at once.
    pub(super) fn keeps_owners_waiting(&self) -> bool {
        match self.router.state() {
            State::Initialize => !self.is_joining && self.router.settings.startup_hold != 0,
            State::Backup => true,
            State::Active => false,
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.router.state() != State::Initialize
    }
}
