//! Many virtual routers: the *VRRP router* of RFC 9568 section 1.7.
//!
//! A [`VrrpRouter`] owns virtual routers, the [objects](crate::track) that they track and their
//! [sync groups](SyncGroup). It finds the router of each packet, runs all timers, and collects the
//! actions.
//!
//! | to do this | use |
//! |---|---|
//! | add, change, remove | [`add`](VrrpRouter::add), [`reconfigure`](VrrpRouter::reconfigure), [`remove`](VrrpRouter::remove); the same for [groups](VrrpRouter::add_group) and [objects](VrrpRouter::add_object) |
//! | run it | [`startup`](VrrpRouter::startup), [`shutdown`](VrrpRouter::shutdown), [`set_primary_address`](VrrpRouter::set_primary_address) |
//! | handle packets, reports and time | [`handle_packet`](VrrpRouter::handle_packet), [`report`](VrrpRouter::report), then [`handle_timeout`](VrrpRouter::handle_timeout) |
//! | sleep | until [`poll_timeout`](VrrpRouter::poll_timeout) |
//! | act | on each action of [`poll_action`](VrrpRouter::poll_action), until it returns `None` |
//! | observe | [`read`](VrrpRouter::read), [`explain`](VrrpRouter::explain), [`get`](VrrpRouter::get) |
//! | hand over to another process | [`snapshot`](VrrpRouter::snapshot), [`restore`](VrrpRouter::restore) |
//!
//! A virtual router runs when it is enabled, has a primary address, tracks no failed object
//! (directly or through its group), and every other member of its group can run. The order of these
//! changes does not matter.
//!
//! Advertisements come before all other waiting actions of all routers: no advertisement waits for
//! the installation of an address. A newer advertisement of a router replaces a waiting one.
//!
//! ```
//! use vrrp_fsm::{Action, Config, Instant, fleet::{Member, VrrpRouter}};
//! use vrrp_proto::{Endpoints, Family, IpHeader, Protection, TTL, Vrid};
//!
//! let mut fleet = VrrpRouter::new();
//! let config = Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv4);
//! let id = fleet.add(Instant::ZERO, Member::new(2, config))?;
//! fleet.startup(Instant::ZERO, id, [192, 0, 2, 11].into())?;
//!
//! // Drain, then decide: first what has arrived, then what is due.
//! let message = [0x31, 51, 200, 1, 0x00, 0x64, 0x44, 0x65, 192, 0, 2, 1];
//! let ip = IpHeader { endpoints: Endpoints::multicast([192, 0, 2, 12].into()), ttl: TTL };
//! let now = Instant::from_nanos(1_000_000_000);
//! let (heard_by, _received) = fleet.handle_packet(now, 2, &ip, &message, Protection::None)?;
//! assert_eq!(heard_by, id);
//!
//! let wake_at = fleet.poll_timeout().ok_or("a Backup has a deadline")?;
//! fleet.handle_timeout(wake_at);
//! assert!(matches!(fleet.poll_action(), Some((_, Action::SendAdvertisement(_)))));
//! while let Some((router, action)) = fleet.poll_action() {
//!     println!("{router:?}: {action:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod groups;
mod id;
mod index;
mod log;
mod member;
mod output;
mod queue;
mod snapshot;
mod sync_group;
mod tracking;

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::{fmt, net::IpAddr, time::Duration};

use vrrp_proto::{
    Advertisement, Counter, DecodeOptions, Discard, Family, IpHeader, Protection, Vrid, VridFault,
};

use crate::{
    AcceptedAdvertisement, Action, Config, ConfigError, Event, Instant, State, VirtualRouter,
    arena::{Arena, TypedKey},
    counters::count,
    instant::nanos,
    track::{ObjectId, TrackError, TrackState, Tracker},
};

use groups::{Group, User};
pub use id::{GroupId, RouterId};
use index::Index;
use log::Log;
pub use log::{FleetChange, Lost, Reader, Record};
pub use member::{AddressList, Member, MessageTransport, RouterKey};
use member::{Entry, Reception};
use output::Output;
use queue::Task;
pub use snapshot::FleetSnapshot;
#[doc(hidden)]
pub use snapshot::MemberSnapshot;
pub use sync_group::SyncGroup;

/// A host with many virtual routers: a VRRP router in RFC 9568. The [module](self) describes how to
/// drive it.
///
/// It allocates nothing at run time: memory grows when a router, group or object is added, or when
/// more actions wait than ever before.
#[derive(Clone, Debug)]
pub struct VrrpRouter {
    routers: Arena<RouterId, Entry>,
    index: Index,
    /// Routers with unicast peers, whose packets may arrive on any interface.
    by_peers: BTreeMap<(Family, Vrid), Vec<RouterId>>,
    output: Output,
    tracker: Tracker,
    /// The users of an object.
    users: BTreeMap<ObjectId, Vec<User>>,
    groups: Arena<GroupId, Group>,
    group_names: BTreeMap<String, GroupId>,
    /// The groups to re-evaluate after the current step.
    dirty_groups: Vec<GroupId>,
    /// The slots of the routers whose objects have changed, each once.
    dirty_routers: Vec<u32>,
    errors: PacketErrors,
}

/// Discarded packets of all virtual routers, named as in RFC 8347 (O-16). The counters saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PacketErrors {
    /// `checksum-errors`.
    pub checksum_errors: u64,
    /// `version-errors`.
    pub version_errors: u64,
    /// `vrid-errors`: packets for an unknown virtual router (AMB-30).
    pub vrid_errors: u64,
    /// `ip-ttl-errors`.
    pub ip_ttl_errors: u64,
}

/// A packet was discarded. No state, timer or learned value has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The virtual router that counted the packet; `None` if there is none.
    pub router: Option<RouterId>,
    /// The reason.
    pub discard: Discard,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { discard, .. } = self;
        write!(f, "{discard}")
    }
}

impl core::error::Error for Rejected {}

/// The reason why a change was rejected. The fleet did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FleetError {
    /// The configuration of a virtual router is invalid.
    Config(ConfigError),
    /// A tracked object, or a list of them, is invalid.
    Track(TrackError),
    /// The router does not exist.
    UnknownRouter(RouterId),
    /// The group does not exist.
    UnknownGroup(GroupId),
    /// There is not enough memory for the records of a snapshot.
    Records {
        /// The number of records.
        records: usize,
    },
    /// The number of the next record in a snapshot is too high.
    NextRecord {
        /// The number.
        next: u64,
    },
    /// The interface has this virtual router already (S-01).
    KeyTaken(RouterKey),
    /// The interface of a virtual router cannot change.
    InterfaceChanged {
        /// The interface of the router.
        configured: u32,
        /// The one in the new configuration.
        requested: u32,
    },
    /// The virtual addresses, the multicast group, a peer or the primary address is not of the
    /// router's family.
    AddressFamily {
        /// The field.
        field: &'static str,
        /// The family of its value.
        found: Family,
        /// The family of the router.
        family: Family,
    },
    /// The fleet already has the maximum number of virtual routers.
    Full,
    /// Another group has this name.
    GroupNameTaken(String),
    /// A router is in another group, or listed twice.
    AlreadyMember(RouterId),
    /// Address owners start as Active and other routers as Backup: a group cannot mix them.
    MixedOwners(RouterId),
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(fault) => fault.fmt(f),
            Self::Track(fault) => fault.fmt(f),
            Self::UnknownRouter(id) => write!(f, "{id} does not exist"),
            Self::UnknownGroup(id) => write!(f, "{id} does not exist"),
            Self::Records { records } => write!(f, "cannot allocate memory for {records} records"),
            Self::NextRecord { next } => write!(
                f,
                "the number {next} of the next record is not in 0..={}",
                i64::MAX
            ),
            Self::KeyTaken(key) => write!(
                f,
                "interface {} already has VRID {} for {}",
                key.interface, key.vrid, key.family
            ),
            Self::InterfaceChanged {
                configured,
                requested,
            } => write!(
                f,
                "interface {requested} is not {configured}: \
                 it cannot change while the virtual router lives"
            ),
            Self::AddressFamily {
                field,
                found,
                family,
            } => write!(f, "{field} is {found}, but the router is {family}"),
            Self::Full => f.write_str("too many virtual routers: the fleet is full"),
            Self::GroupNameTaken(name) => write!(f, "name {name:?} belongs to another sync group"),
            Self::AlreadyMember(id) => write!(f, "{id} is already a member of a sync group"),
            Self::MixedOwners(id) => write!(
                f,
                "{id}: a sync group cannot mix address owners (priority 255) and other routers"
            ),
        }
    }
}

impl core::error::Error for FleetError {}

impl From<ConfigError> for FleetError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<TrackError> for FleetError {
    fn from(error: TrackError) -> Self {
        Self::Track(error)
    }
}

impl Default for VrrpRouter {
    fn default() -> Self {
        Self::new()
    }
}

impl VrrpRouter {
    /// The default number of [`Record`]s that are kept.
    pub const RECORDS: usize = 1024;

    /// Makes a fleet without virtual routers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0, Self::RECORDS)
    }

    /// Makes a fleet with room for exactly this many virtual routers and records.
    #[must_use]
    pub fn with_capacity(routers: usize, records: usize) -> Self {
        let mut fleet = Self {
            routers: Arena::with_capacity(routers),
            index: Index::default(),
            by_peers: BTreeMap::new(),
            output: Output::new(Log::new(records, 0)),
            tracker: Tracker::new(),
            users: BTreeMap::new(),
            groups: Arena::new(),
            group_names: BTreeMap::new(),
            dirty_groups: Vec::new(),
            dirty_routers: Vec::new(),
            errors: PacketErrors::default(),
        };
        fleet.reserve(routers);
        fleet
    }

    /// Reserves room for exactly this many virtual routers in all.
    fn reserve(&mut self, routers: usize) {
        let missing = routers.saturating_sub(self.routers.len());
        self.routers.reserve_exact(missing);
        self.output.deadlines.reserve(routers);
        self.output.queue.reserve(routers);
        let missing = routers.saturating_sub(self.dirty_routers.len());
        self.dirty_routers.reserve_exact(missing);
    }

    /// Makes room for one more router. The fleet grows by a 64th: a fleet whose routers were added
    /// one by one takes at most 2 % more memory than one whose size was known.
    fn make_room(&mut self) {
        let capacity = self.routers.capacity();
        if self.routers.len() == capacity {
            self.reserve(capacity + (capacity / 64).max(16));
        }
    }

    // Virtual routers.

    /// Adds a virtual router, in Initialize. [`startup`](Self::startup) starts it.
    ///
    /// # Errors
    ///
    /// If the configuration is invalid, the key is taken, or a tracked object does not exist.
    pub fn add(&mut self, now: Instant, member: Member) -> Result<RouterId, FleetError> {
        let router = VirtualRouter::new(member.config)?;
        let priority = member.config.priority;
        let id = self.insert(router, member)?;
        self.output.log.push(now, FleetChange::Added(id));
        self.update_tracking(now, id, Some(priority));
        self.start_or_stop_groups(now);
        Ok(id)
    }

    fn insert(&mut self, router: VirtualRouter, member: Member) -> Result<RouterId, FleetError> {
        self.check_member(&member)?;
        let key = member.key();
        if self.find(&key).is_some() {
            return Err(FleetError::KeyTaken(key));
        }
        let is_unicast = matches!(member.transport, MessageTransport::Unicast { .. });
        self.make_room();
        let id = self.routers.insert(Entry {
            router,
            interface: member.interface,
            advertisement: None,
            reception: Reception::new(
                member.transport,
                member.decode,
                member.authentication,
                member.addresses,
            ),
            tracking: [].into(),
            track_state: TrackState::default(),
            group: None,
            pending_takeover: None,
            is_joining: false,
            is_enabled: false,
            is_leaving: false,
            is_dirty: false,
            primary_address: None,
        });
        let id = id.ok_or(FleetError::Full)?;
        self.index.insert(key, id.key().slot());
        self.register_peers(key, id, is_unicast);
        self.set_uses(User::Router(id), member.tracking);
        Ok(id)
    }

    /// Replaces the configuration of a virtual router, without a re-election:
    /// [`VirtualRouter::reconfigure`] describes each field.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add), and for another interface, VRID or family.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        id: RouterId,
        member: Member,
    ) -> Result<(), FleetError> {
        self.check_member(&member)?;
        let entry = self.entry(id)?;
        if entry.interface != member.interface {
            return Err(FleetError::InterfaceChanged {
                configured: entry.interface,
                requested: member.interface,
            });
        }
        if member.config.is_owner() != entry.router.config().is_owner() && self.has_company(entry) {
            return Err(FleetError::MixedOwners(id));
        }
        let entry = live(&mut self.routers, id)?;
        let (transport, addresses) = (&member.transport, member.addresses.as_ref());
        let readdressed = !entry.reception.is_addressed(transport, addresses);
        let is_unicast = matches!(member.transport, MessageTransport::Unicast { .. });
        let key = entry.key();
        let priority = entry.router.effective_priority();
        let actions = entry.router.reconfigure(now, member.config)?;
        entry.reception = Reception::new(
            member.transport,
            member.decode,
            member.authentication,
            member.addresses,
        );
        let group = entry.group.filter(|_| actions.transition().is_some());
        self.output.perform(now, id, entry, actions);
        if let Some(group) = group {
            self.yield_group(now, group);
        }
        self.register_peers(key, id, is_unicast);
        self.set_uses(User::Router(id), member.tracking);
        self.update_tracking(now, id, Some(priority));
        self.start_or_stop_groups(now);
        if readdressed {
            self.step(now, id, Event::AddressesChanged)?;
        }
        Ok(())
    }

    /// Removes a virtual router. An Active resigns: its last actions wait for
    /// [`poll_action`](Self::poll_action), and [`get`](Self::get) returns it until the last one was
    /// polled. The key is free at once.
    ///
    /// # Errors
    ///
    /// If the router does not exist.
    pub fn remove(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        // Before it leaves its group, which might start it.
        self.entry_mut(id)?.is_enabled = false;
        self.leave_group(now, id);
        self.start_or_stop(now, id);
        self.set_uses(User::Router(id), Vec::new());
        let entry = self.entry_mut(id)?;
        let key = entry.key();
        entry.is_leaving = true;
        self.index.remove(key);
        self.register_peers(key, id, false);
        self.output.deadlines.set(id.key().slot(), None);
        self.output.queue.push(id.key().slot(), Task::Free);
        self.output.log.push(now, FleetChange::Removed(id));
        self.start_or_stop_groups(now);
        Ok(())
    }

    /// Registers or removes a router whose packets may arrive on any interface.
    fn register_peers(&mut self, key: RouterKey, id: RouterId, is_unicast: bool) {
        let key = (key.family, key.vrid);
        if is_unicast {
            let ids = self.by_peers.entry(key).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        } else if let Some(ids) = self.by_peers.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_peers.remove(&key);
            }
        }
    }

    /// Returns a virtual router.
    #[inline]
    #[must_use]
    pub fn get(&self, id: RouterId) -> Option<&VirtualRouter> {
        self.routers.get(id).map(|entry| &entry.router)
    }

    /// Returns the key of a virtual router; like [`get`](Self::get), also of a removed one with
    /// waiting actions.
    #[inline]
    #[must_use]
    pub fn key(&self, id: RouterId) -> Option<RouterKey> {
        self.routers.get(id).map(Entry::key)
    }

    /// Returns the configuration of a virtual router.
    #[must_use]
    pub fn member(&self, id: RouterId) -> Option<Member> {
        self.entry(id).ok().map(Entry::member)
    }

    /// Returns the virtual router with this key.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &RouterKey) -> Option<RouterId> {
        let (id, _) = self.routers.at(self.index.find(*key)?)?;
        Some(id)
    }

    /// Iterates over the virtual routers in a deterministic order.
    pub fn iter(&self) -> impl Iterator<Item = (RouterId, &VirtualRouter)> {
        self.routers
            .iter()
            .filter(|(_, entry)| !entry.is_leaving)
            .map(|(id, entry)| (id, &entry.router))
    }

    // Events.

    /// Enables a virtual router. It starts as soon as it has no fault and its group can run.
    ///
    /// # Errors
    ///
    /// If the router does not exist, or the address is not of its family.
    pub fn startup(
        &mut self,
        now: Instant,
        id: RouterId,
        primary_address: IpAddr,
    ) -> Result<(), FleetError> {
        self.entry(id)?.check_primary_address(primary_address)?;
        self.entry_mut(id)?.is_enabled = true;
        self.set_primary_address(now, id, Some(primary_address))
    }

    /// Disables a virtual router. An Active resigns, and so does its group.
    ///
    /// # Errors
    ///
    /// If the router does not exist.
    pub fn shutdown(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        self.entry_mut(id)?.is_enabled = false;
        self.start_or_stop(now, id);
        self.start_or_stop_groups(now);
        Ok(())
    }

    /// Disables all virtual routers. Unlike with single calls of [`shutdown`](Self::shutdown), no
    /// member of a group stops because of another member.
    pub fn shutdown_all(&mut self, now: Instant) {
        for (id, entry) in self.routers.iter_mut() {
            entry.is_enabled = false;
            match entry.group {
                None => self.output.start_or_stop(now, id, entry),
                Some(group_id) => {
                    if let Some(group) = self.groups.get_mut(group_id) {
                        group.mark_dirty(group_id, &mut self.dirty_groups);
                    }
                }
            }
        }
        self.start_or_stop_groups(now);
    }

    /// Sets the address from which a virtual router advertises (AMB-15). `None` is a fault.
    ///
    /// # Errors
    ///
    /// If the router does not exist, or the address is not of its family.
    pub fn set_primary_address(
        &mut self,
        now: Instant,
        id: RouterId,
        address: Option<IpAddr>,
    ) -> Result<(), FleetError> {
        if let Some(address) = address {
            self.entry(id)?.check_primary_address(address)?;
        }
        self.entry_mut(id)?.primary_address = address;
        if let Some(address) = address {
            self.step(now, id, Event::PrimaryAddress(address))?;
        }
        self.start_or_stop(now, id);
        self.start_or_stop_groups(now);
        Ok(())
    }

    /// Sends [`Event::AddressesChanged`], for addresses or peers that are not in the configuration
    /// of the fleet.
    ///
    /// # Errors
    ///
    /// If the router does not exist.
    pub fn addresses_changed(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        self.step(now, id, Event::AddressesChanged)
    }

    /// Calls [`VirtualRouter::not_sent`] for an advertisement of the fleet.
    ///
    /// # Errors
    ///
    /// If the router does not exist.
    pub fn not_sent(&mut self, id: RouterId, outgoing: crate::Outgoing) -> Result<(), FleetError> {
        self.entry_mut(id)?.router.not_sent(outgoing);
        Ok(())
    }

    /// Sends [`Event::Reannounce`].
    ///
    /// # Errors
    ///
    /// If the router does not exist.
    pub fn reannounce(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        self.step(now, id, Event::Reannounce)
    }

    /// Handles a packet of protocol 112: finds its virtual router ([`addressee`](Self::addressee)),
    /// and calls [`VirtualRouter::handle_packet`].
    ///
    /// `payload` is the payload of the IP packet, or the message inside IP AH. `protection` is the
    /// result of verifying the packet: [`Protection::None`] without authentication.
    ///
    /// # Errors
    ///
    /// The first check that failed. It is counted, and nothing else has changed.
    #[inline]
    pub fn handle_packet(
        &mut self,
        now: Instant,
        interface: u32,
        ip: &IpHeader,
        payload: &[u8],
        protection: Protection,
    ) -> Result<(RouterId, AcceptedAdvertisement), Rejected> {
        match self.addressee_slot(interface, ip, payload) {
            Some(slot) => self.receive(now, slot, ip, payload, protection),
            None => Err(self.reject_stray(ip, payload)),
        }
    }

    /// Handles a packet whose virtual router the host has found by [`addressee`](Self::addressee),
    /// to verify the packet with its keys. `None` counts the packet as one for an unknown router.
    ///
    /// # Errors
    ///
    /// As for [`handle_packet`](Self::handle_packet).
    #[inline]
    pub fn handle_packet_for(
        &mut self,
        now: Instant,
        router: Option<RouterId>,
        ip: &IpHeader,
        payload: &[u8],
        protection: Protection,
    ) -> Result<(RouterId, AcceptedAdvertisement), Rejected> {
        match router.filter(|id| self.entry(*id).is_ok()) {
            Some(id) => self.receive(now, id.key().slot(), ip, payload, protection),
            None => Err(self.reject_stray(ip, payload)),
        }
    }

    /// Looks up the virtual router for a packet by its (unverified) VRID field. Multicast: the
    /// router on the receiving interface. Unicast may arrive on any interface (AMB-26), so prefer,
    /// in order: the router that lists the sender as a peer and uses the destination as primary
    /// address; the router on the interface; any router that lists the sender.
    #[inline]
    #[must_use]
    pub fn addressee(&self, interface: u32, ip: &IpHeader, payload: &[u8]) -> Option<RouterId> {
        let slot = self.addressee_slot(interface, ip, payload)?;
        self.routers.at(slot).map(|(id, _)| id)
    }

    /// Returns the slot of the addressee, which saves a second comparison of keys (bench `fleet`).
    #[inline]
    fn addressee_slot(&self, interface: u32, ip: &IpHeader, payload: &[u8]) -> Option<u32> {
        let vrid = vrid_of(payload)?;
        let key = RouterKey {
            interface,
            family: ip.endpoints.family(),
            vrid,
        };
        let found = self.index.find(key);
        let is_multicast = ip.endpoints.destination().is_multicast();
        if is_multicast || found.is_some_and(|slot| self.is_between(slot, ip)) {
            return found;
        }
        self.slot_of_peer(key, ip, found)
    }

    /// Whether a packet is from a peer of a router to the address from which the router advertises.
    fn is_between(&self, slot: u32, ip: &IpHeader) -> bool {
        let (source, destination) = (ip.endpoints.source(), ip.endpoints.destination());
        self.routers.at(slot).is_some_and(|(_, entry)| {
            entry.router.primary_address() == destination && entry.reception.has_peer(source)
        })
    }

    #[cold]
    fn slot_of_peer(
        &self,
        key: RouterKey,
        ip: &IpHeader,
        of_interface: Option<u32>,
    ) -> Option<u32> {
        let source = ip.endpoints.source();
        let ids = self.by_peers.get(&(key.family, key.vrid));
        let slots = ids.into_iter().flatten().map(|id| id.key().slot());
        let mut with_peer = slots.filter(|slot| {
            let found = self.routers.at(*slot);
            found.is_some_and(|(_, entry)| entry.reception.has_peer(source))
        });
        let mut addressed = with_peer.clone().filter(|slot| self.is_between(*slot, ip));
        addressed
            .next()
            .or(of_interface)
            .or_else(|| with_peer.next())
    }

    #[inline]
    fn receive(
        &mut self,
        now: Instant,
        slot: u32,
        ip: &IpHeader,
        payload: &[u8],
        protection: Protection,
    ) -> Result<(RouterId, AcceptedAdvertisement), Rejected> {
        let Some((id, entry)) = self.routers.at_mut(slot) else {
            return Err(self.reject_stray(ip, payload));
        };
        let grouped = entry.group.map(|group| (group, entry.router.schedule()));
        let context = entry.reception.context(protection);
        let result = entry.router.handle_packet(now, ip, payload, &context);
        let (accepted, actions) = match result {
            Ok(accepted) => accepted,
            Err(discard) => {
                self.errors.count(&discard);
                return Err(Rejected {
                    router: Some(id),
                    discard,
                });
            }
        };
        if actions.is_empty() {
            self.output.schedule(id, entry);
        } else {
            self.output.perform(now, id, entry, actions);
        }
        if let Some((group, before)) = grouped {
            self.accepted_in_group(now, group, id, accepted.version(), before);
        }
        Ok((id, accepted))
    }

    /// Whether a packet passes every check of this virtual router. Nothing changes or is counted.
    #[cfg(feature = "sim")]
    pub(crate) fn would_accept(
        &self,
        id: RouterId,
        ip: &IpHeader,
        payload: &[u8],
        protection: Protection,
    ) -> bool {
        self.entry(id).is_ok_and(|entry| {
            let context = entry.reception.context(protection);
            entry.router.accept(ip, payload, &context).is_ok()
        })
    }

    /// Returns the discard of a packet for an unknown virtual router.
    #[cold]
    fn reject_stray(&mut self, ip: &IpHeader, payload: &[u8]) -> Rejected {
        let not_configured = |found| Discard::Vrid(VridFault::NotConfigured { found });
        let discard = match Advertisement::decode(payload, ip, &DecodeOptions::default()) {
            Ok(received) => not_configured(received.advertisement.vrid),
            // These checks come after that of the VRID (P-57).
            Err(discard @ (Discard::Interval(_) | Discard::AddressList(_))) => {
                vrid_of(payload).map_or(discard, not_configured)
            }
            Err(discard) => discard,
        };
        self.errors.count(&discard);
        Rejected {
            router: None,
            discard,
        }
    }

    /// Handles the passage of time. It has an effect from [`poll_timeout`](Self::poll_timeout) on.
    /// With [`set_patience`](Self::set_patience) it has one before, if an Active's timer is due and
    /// deferred: [`is_due`](Self::is_due) shows it.
    ///
    /// Drain the sockets first: packets that arrived before the deadline must be handled before the
    /// timeout.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tracker.handle_timeout(now);
        self.follow_objects(now);
        let mut is_active_served = false;
        // Each pass moves a deadline past `now`.
        while let Some(slot) = self.next_due(now) {
            let Some((id, entry)) = self.routers.at_mut(slot) else {
                self.output.deadlines.set(slot, None);
                continue;
            };
            is_active_served |= entry.router.state() == State::Active;
            match entry.group {
                Some(group) if entry.router.state() == State::Backup => {
                    self.output.want_active(now, id, entry, group);
                    self.take_over_together(now, group);
                }
                grouped => {
                    let actions = entry.router.handle_timeout(now);
                    self.output.perform(now, id, entry, actions);
                    if let Some(group) = grouped
                        && actions.transition().is_some()
                    {
                        self.yield_group(now, group);
                    }
                }
            }
        }
        if is_active_served && self.output.patience != 0 {
            self.advertise_ahead(now);
        }
    }

    /// Sends the advertisements that are almost due, so that they share the system call.
    fn advertise_ahead(&mut self, now: Instant) {
        // Each pass moves a deadline by an interval.
        while let Some((_, slot)) = self.output.deadlines.first()
            && let Some((id, entry)) = self.routers.at_mut(slot)
        {
            let until = now.after(entry.tolerance(self.output.patience));
            let actions = entry.router.advertise_ahead(until);
            if actions.is_empty() {
                return;
            }
            self.output.perform(now, id, entry, actions);
        }
    }

    /// Returns the next router to serve. Deferred Actives are served together with the first of
    /// them.
    fn next_due(&self, now: Instant) -> Option<u32> {
        let Output {
            deadlines,
            patience,
            ..
        } = &self.output;
        let due = deadlines.due(now);
        if due.is_some() || *patience == 0 {
            return due;
        }
        let (_, slot) = deadlines.first()?;
        let (_, entry) = self.routers.at(slot)?;
        let deadline = entry.router.poll_timeout()?;
        deadline.is_due(now).then_some(slot)
    }

    /// Allows an Active's advertisements to be sent up to `longest` early or late (at most 1/16 of
    /// the interval), so that many routers share a system call. The schedule does not drift, and
    /// the timers of Backups are served on time. Default zero.
    ///
    /// With [`missed_advertisements`](crate::Config::missed_advertisements) of 1 an Active keeps
    /// its schedule. Otherwise no Backup takes over while all advertisements arrive, but one with a
    /// priority above 224 may take over one lost advertisement sooner, because its Skew_Time is
    /// less than the two sixteenths.
    pub fn set_patience(&mut self, longest: Duration) {
        let patience = nanos(longest);
        if core::mem::replace(&mut self.output.patience, patience) == patience {
            return;
        }
        for (id, entry) in self.routers.iter().filter(|(_, it)| !it.is_leaving) {
            self.output.schedule(id, entry);
        }
    }

    /// Returns the deadline of the next [`handle_timeout`](Self::handle_timeout), deferred by
    /// [`set_patience`](Self::set_patience). It is in the past if the host is late.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let routers = self.output.deadlines.earliest();
        match (routers, self.tracker.poll_timeout()) {
            (Some(routers), Some(objects)) => Some(routers.min(objects)),
            (routers, objects) => routers.or(objects),
        }
    }

    /// Whether [`handle_timeout`](Self::handle_timeout) has an effect now.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let objects = self.tracker.poll_timeout();
        self.next_due(now).is_some() || objects.is_some_and(|at| at.is_due(now))
    }

    /// Whether [`poll_action`](Self::poll_action) has work: actions to return, or removed routers
    /// to forget. Without work it returns `None`.
    #[inline]
    #[must_use]
    pub fn has_actions(&self) -> bool {
        self.output.queue.has_any()
    }

    /// Returns the next action: first all advertisements, then the other actions in order. Poll
    /// until it returns `None` before the host sleeps.
    ///
    /// The messages of an advertisement: [`VirtualRouter::advertisements`] of [`get`](Self::get).
    pub fn poll_action(&mut self) -> Option<(RouterId, Action)> {
        while let Some(slot) = self.output.queue.next_advertiser() {
            if let Some((id, entry)) = self.routers.at_mut(slot)
                && let Some(outgoing) = entry.advertisement.take()
            {
                return Some((id, Action::SendAdvertisement(outgoing)));
            }
        }
        while let Some((slot, task)) = self.output.queue.next() {
            let Some((id, _)) = self.routers.at(slot) else {
                continue;
            };
            match task {
                Task::Do(action) => return Some((id, action)),
                Task::Free => drop(self.routers.remove(id)),
            }
        }
        None
    }

    /// Returns the next record for this reader; `None` if it has read all.
    ///
    /// # Errors
    ///
    /// [`Lost`], once, if unread records were dropped. The next call continues with the first
    /// remaining one.
    pub fn read(&self, reader: &mut Reader) -> Option<Result<Record, Lost>> {
        self.output.log.read(reader)
    }

    /// Whether [`read`](Self::read) returns a record or [`Lost`].
    #[inline]
    #[must_use]
    pub const fn has_unread(&self, reader: Reader) -> bool {
        self.output.log.has_unread(reader)
    }

    /// Drops the records that a reader has read, for a host with a single reader. For other readers
    /// they are [`Lost`].
    ///
    /// Without this call the fleet keeps the last records, and their memory fills over time.
    pub fn drop_records(&mut self, reader: Reader) {
        self.output.log.drop_read(reader);
    }

    /// Raises the number of records that are kept.
    pub fn keep_records(&mut self, records: usize) {
        self.output.log.grow(records);
    }

    /// Returns the counters of packets discarded by all virtual routers.
    #[must_use]
    pub const fn packet_errors(&self) -> &PacketErrors {
        &self.errors
    }

    // Internals.

    fn entry(&self, id: RouterId) -> Result<&Entry, FleetError> {
        self.routers
            .get(id)
            .filter(|entry| !entry.is_leaving)
            .ok_or(FleetError::UnknownRouter(id))
    }

    fn entry_mut(&mut self, id: RouterId) -> Result<&mut Entry, FleetError> {
        live(&mut self.routers, id)
    }

    fn check_member(&self, member: &Member) -> Result<(), FleetError> {
        let Config { family, .. } = member.config;
        if let Some(addresses) = &member.addresses {
            check_family("addresses", addresses.as_addresses().family(), family)?;
        }
        match &member.transport {
            MessageTransport::Multicast { group } => {
                check_family("group", Family::of(*group), family)?;
            }
            MessageTransport::Unicast { peers } => {
                for peer in peers {
                    check_family("peers", Family::of(peer.address), family)?;
                }
            }
        }
        Ok(self.tracker.check_uses(&member.tracking)?)
    }

    /// Passes an event to a router, and queues its actions.
    fn step(&mut self, now: Instant, id: RouterId, event: Event) -> Result<(), FleetError> {
        let entry = live(&mut self.routers, id)?;
        self.output.step(now, id, entry, event);
        Ok(())
    }

    /// Starts or stops a router as its causes require. A member of a group waits for
    /// [`start_or_stop_groups`](Self::start_or_stop_groups).
    fn start_or_stop(&mut self, now: Instant, id: RouterId) {
        let Some(entry) = self.routers.get_mut(id) else {
            return;
        };
        match entry.group {
            Some(group) => self.mark_dirty(group),
            None => self.output.start_or_stop(now, id, entry),
        }
    }
}

/// Returns the router with this id, unless it was removed.
fn live(routers: &mut Arena<RouterId, Entry>, id: RouterId) -> Result<&mut Entry, FleetError> {
    routers
        .get_mut(id)
        .filter(|entry| !entry.is_leaving)
        .ok_or(FleetError::UnknownRouter(id))
}

/// Returns the VRID field of an unverified message.
fn vrid_of(payload: &[u8]) -> Option<Vrid> {
    payload.get(1).copied().and_then(Vrid::new)
}

fn check_family(field: &'static str, found: Family, family: Family) -> Result<(), FleetError> {
    if found == family {
        return Ok(());
    }
    Err(FleetError::AddressFamily {
        field,
        found,
        family,
    })
}

impl PacketErrors {
    fn count(&mut self, discard: &Discard) {
        match discard.counter() {
            Some(Counter::Checksum) => count(&mut self.checksum_errors),
            Some(Counter::Version) => count(&mut self.version_errors),
            Some(Counter::Vrid) => count(&mut self.vrid_errors),
            Some(Counter::IpTtl) => count(&mut self.ip_ttl_errors),
            _ => {}
        }
    }
}
