//! Many virtual routers in one: the *VRRP router* of RFC 9568 section 1.7.
//!
//! A [`VrrpRouter`] owns virtual routers, the [objects](crate::track) that they track and their [sync groups](SyncGroup). It finds the router of a packet,
//! keeps all timers, and gathers what has to be done.
//!
//! | to do this | use |
//! |---|---|
//! | add, change, remove | [`add`](VrrpRouter::add), [`reconfigure`](VrrpRouter::reconfigure), [`remove`](VrrpRouter::remove); the same for [groups](VrrpRouter::add_group) and [objects](VrrpRouter::add_object) |
//! | run it | [`startup`](VrrpRouter::startup), [`shutdown`](VrrpRouter::shutdown), [`set_primary_address`](VrrpRouter::set_primary_address) |
//! | feed | [`handle_packet`](VrrpRouter::handle_packet), [`report`](VrrpRouter::report), then [`handle_timeout`](VrrpRouter::handle_timeout) |
//! | sleep | until [`poll_timeout`](VrrpRouter::poll_timeout) |
//! | act | on what [`poll_action`](VrrpRouter::poll_action) gives, until it gives no more |
//! | watch | [`read`](VrrpRouter::read), [`explain`](VrrpRouter::explain), [`get`](VrrpRouter::get) |
//! | hand over to another process | [`snapshot`](VrrpRouter::snapshot), [`restore`](VrrpRouter::restore) |
//!
//! A virtual router runs while it was started, has a primary address, no object that it or its group tracks is a fault, and, in a group, all other
//! members can run. Each of these is a cause of its own, so that it does not matter in which order they come and go.
//!
//! Of the actions that wait, advertisements come first, of whichever router: no advertisement waits for an address to be installed. Of a router's
//! advertisements that wait at the same time, the last one stands for all.
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
//! let (heard_by, _heard) = fleet.handle_packet(now, 2, &ip, &message, Protection::None)?;
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
use core::{net::IpAddr, time::Duration};

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
pub use log::{Change, Lost, Reader, Record};
pub use member::{AddressList, Key, Member, MessageTransport};
use member::{Entry, Reception};
use output::Output;
use queue::Task;
pub use snapshot::FleetSnapshot;
#[doc(hidden)]
pub use snapshot::MemberSnapshot;
pub use sync_group::SyncGroup;

/// A host that takes part in many virtual routers: RFC 9568 calls it a VRRP router. The [module](self) says how to drive it.
///
/// Nothing is allocated while it runs: memory grows when something is added, or when a host leaves more actions waiting than ever before.
#[derive(Clone, Debug)]
pub struct VrrpRouter {
    routers: Arena<RouterId, Entry>,
    index: Index,
    /// Those that are heard by unicast, whose packets may come in by any interface.
    by_peers: BTreeMap<(Family, Vrid), Vec<RouterId>>,
    output: Output,
    tracker: Tracker,
    /// Who uses an object.
    users: BTreeMap<ObjectId, Vec<User>>,
    groups: Arena<GroupId, Group>,
    group_names: BTreeMap<String, GroupId>,
    /// The groups that have to be looked at after what is going on.
    dirty_groups: Vec<GroupId>,
    /// The virtual routers whose objects have changed, each once.
    dirty_routers: Vec<RouterId>,
    errors: PacketErrors,
}

/// Discarded packets, in the words of RFC 8347, of all virtual routers together (O-16). They stop at their highest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PacketErrors {
    /// `checksum-errors`.
    pub checksum_errors: u64,
    /// `version-errors`.
    pub version_errors: u64,
    /// `vrid-errors`: packets for a virtual router that is not here (AMB-30).
    pub vrid_errors: u64,
    /// `ip-ttl-errors`.
    pub ip_ttl_errors: u64,
}

/// A packet was discarded. No state, timer or learned value has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{discard}")]
pub struct Rejected {
    /// The virtual router that it was for, whose counters have it; `None` if there is none.
    pub router: Option<RouterId>,
    /// Why.
    pub discard: Discard,
}

/// Why a change of a fleet was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The configuration of a virtual router.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tracked object, or a list of them.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// There is no such router, or no longer.
    #[error("{0} does not exist")]
    UnknownRouter(RouterId),
    /// There is no such group, or no longer.
    #[error("{0} does not exist")]
    UnknownGroup(GroupId),
    /// A snapshot has more records than there is memory for.
    #[error("there is no room for {records} records")]
    Records {
        /// How many.
        records: usize,
    },
    /// A snapshot has a number of its next record that leaves too few for those to come.
    #[error("the number {next} of the next record is not in 0..={}", i64::MAX)]
    NextRecord {
        /// The number.
        next: u64,
    },
    /// The interface has this virtual router already (S-01).
    #[error("interface {} has VRID {} in {} already", .0.interface, .0.vrid, .0.family)]
    KeyTaken(Key),
    /// Only another virtual router is on another interface.
    #[error(
        "interface {requested} is not {configured}: it cannot change while the virtual router lives"
    )]
    InterfaceChanged {
        /// The interface of the router.
        configured: u32,
        /// The one in the new configuration.
        requested: u32,
    },
    /// The virtual addresses, the multicast group, a peer or the primary address is of another family than the router.
    #[error("{field}: {found}, but family is {family}")]
    AddressFamily {
        /// The field.
        field: &'static str,
        /// The family of what is in it.
        found: Family,
        /// The family of the router.
        family: Family,
    },
    /// There are as many virtual routers as can be numbered.
    #[error("2^32 - 1 virtual routers is the most there can be")]
    Full,
    /// Another group has this name.
    #[error("name {0:?} belongs to another sync group")]
    GroupNameTaken(String),
    /// A router is in another group, or twice in this one.
    #[error("{0} is already a member of a sync group")]
    AlreadyMember(RouterId),
    /// Address owners start as Active and others as Backup: they cannot be together.
    #[error(
        "{0} owns its addresses and other members of the sync group do not, or the other way round"
    )]
    MixedOwners(RouterId),
}

impl Default for VrrpRouter {
    fn default() -> Self {
        Self::new()
    }
}

impl VrrpRouter {
    /// How many [`Record`]s are kept unless somebody asks for another number.
    pub const RECORDS: usize = 1024;

    /// No virtual router.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0, Self::RECORDS)
    }

    /// Room for so many virtual routers, exactly, and for so many records.
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

    /// Room for so many virtual routers in all, exactly.
    fn reserve(&mut self, routers: usize) {
        let missing = routers.saturating_sub(self.routers.len());
        self.routers.reserve_exact(missing);
        self.output.deadlines.reserve(routers);
        self.output.queue.reserve(routers);
        let missing = routers.saturating_sub(self.dirty_routers.len());
        self.dirty_routers.reserve_exact(missing);
    }

    /// Makes room for one more router. The fleet grows by a 32nd: a fleet whose routers were added one by one
    /// takes at most 3 % more memory than one whose size was known.
    fn make_room(&mut self) {
        let capacity = self.routers.capacity();
        if self.routers.len() == capacity {
            self.reserve(capacity + (capacity / 32).max(16));
        }
    }

    // Virtual routers.

    /// Adds a virtual router, in Initialize: [`startup`](Self::startup) lets it run.
    ///
    /// # Errors
    ///
    /// When the configuration breaks a rule, the key is taken, or a tracked object does not exist.
    pub fn add(&mut self, now: Instant, member: Member) -> Result<RouterId, FleetError> {
        let router = VirtualRouter::new(member.config)?;
        let priority = member.config.priority;
        let id = self.insert(router, member)?;
        self.output.log.push(now, Change::Added(id));
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
            reception: Reception {
                transport: member.transport,
                decode: member.decode,
                authentication: member.authentication,
                addresses: member.addresses,
            },
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
        self.hear_peers(key, id, is_unicast);
        self.set_uses(User::Router(id), member.tracking);
        Ok(id)
    }

    /// Replaces the configuration of a virtual router, without a re-election: [`VirtualRouter::reconfigure`] says how each field counts.
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
        let old = &entry.reception;
        let readdressed = old.addresses != member.addresses || old.transport != member.transport;
        let is_unicast = matches!(member.transport, MessageTransport::Unicast { .. });
        let key = entry.key();
        let priority = entry.router.effective_priority();
        let actions = entry.router.reconfigure(now, member.config)?;
        entry.reception = Reception {
            transport: member.transport,
            decode: member.decode,
            authentication: member.authentication,
            addresses: member.addresses,
        };
        self.output.perform(now, id, entry, actions);
        self.hear_peers(key, id, is_unicast);
        self.set_uses(User::Router(id), member.tracking);
        self.update_tracking(now, id, Some(priority));
        self.start_or_stop_groups(now);
        if readdressed {
            self.step(now, id, Event::AddressesChanged)?;
        }
        Ok(())
    }

    /// Removes a virtual router. An Active resigns: what it still has to do waits for [`poll_action`](Self::poll_action), and until the last of it was
    /// polled [`get`](Self::get) has it. The key is free at once.
    ///
    /// # Errors
    ///
    /// When there is no such router.
    pub fn remove(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        // Before it leaves its group, so that it is not started for that.
        self.entry_mut(id)?.is_enabled = false;
        self.leave_group(now, id);
        self.start_or_stop(now, id);
        self.set_uses(User::Router(id), Vec::new());
        let entry = self.entry_mut(id)?;
        let key = entry.key();
        entry.is_leaving = true;
        self.index.remove(key);
        self.hear_peers(key, id, false);
        self.output.deadlines.set(id.key().slot(), None);
        self.output.queue.push(id.key().slot(), Task::Free);
        self.output.log.push(now, Change::Removed(id));
        self.start_or_stop_groups(now);
        Ok(())
    }

    /// Notes whether the packets of a virtual router may come in by any interface.
    fn hear_peers(&mut self, key: Key, id: RouterId, is_unicast: bool) {
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

    /// The machine of a virtual router.
    #[inline]
    #[must_use]
    pub fn get(&self, id: RouterId) -> Option<&VirtualRouter> {
        self.routers.get(id).map(|entry| &entry.router)
    }

    /// Where the packets of a virtual router arrive and leave; like [`get`](Self::get) also of one that was removed and has actions left.
    #[inline]
    #[must_use]
    pub fn key(&self, id: RouterId) -> Option<Key> {
        self.routers.get(id).map(Entry::key)
    }

    /// The configuration of a virtual router.
    #[must_use]
    pub fn member(&self, id: RouterId) -> Option<Member> {
        self.entry(id).ok().map(Entry::member)
    }

    /// The virtual router that packets with this key are for.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<RouterId> {
        let (id, _) = self.routers.at(self.index.find(*key)?)?;
        Some(id)
    }

    /// All virtual routers, in an order that does not depend on chance.
    pub fn iter(&self) -> impl Iterator<Item = (RouterId, &VirtualRouter)> {
        self.routers
            .iter()
            .filter(|(_, entry)| !entry.is_leaving)
            .map(|(id, entry)| (id, &entry.router))
    }

    // What happens.

    /// Lets a virtual router run, as soon as nothing else keeps it down.
    ///
    /// # Errors
    ///
    /// When there is no such router, or the address is of another family.
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

    /// Lets a virtual router run no more. An Active resigns, and so does its group.
    ///
    /// # Errors
    ///
    /// When there is no such router.
    pub fn shutdown(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        self.entry_mut(id)?.is_enabled = false;
        self.start_or_stop(now, id);
        self.start_or_stop_groups(now);
        Ok(())
    }

    /// Lets no virtual router run any more. Unlike with one [`shutdown`](Self::shutdown) after the other, no member of a group goes down because of
    /// another.
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

    /// The address from which a virtual router advertises has changed (AMB-15), or with `None` is gone, which is a fault.
    ///
    /// # Errors
    ///
    /// When there is no such router, or the address is of another family.
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

    /// [`Event::AddressesChanged`], for addresses or peers that the fleet does not know.
    ///
    /// # Errors
    ///
    /// When there is no such router.
    pub fn addresses_changed(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        self.step(now, id, Event::AddressesChanged)
    }

    /// [`VirtualRouter::not_sent`], for an advertisement that the fleet asked for.
    ///
    /// # Errors
    ///
    /// When there is no such router.
    pub fn not_sent(&mut self, id: RouterId, outgoing: crate::Outgoing) -> Result<(), FleetError> {
        self.entry_mut(id)?.router.not_sent(outgoing);
        Ok(())
    }

    /// [`Event::Reannounce`].
    ///
    /// # Errors
    ///
    /// When there is no such router.
    pub fn reannounce(&mut self, now: Instant, id: RouterId) -> Result<(), FleetError> {
        self.step(now, id, Event::Reannounce)
    }

    /// A packet of protocol 112 has arrived: finds its virtual router ([`addressee`](Self::addressee)) and hands it to
    /// [`VirtualRouter::handle_packet`].
    ///
    /// `payload` is what follows the IP header, and where the router uses IP AH, what came out of it. `protection` is the
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

    /// Handles a packet whose virtual router the host has found by [`addressee`](Self::addressee), because only that router's keys can verify
    /// it. With `None` for the router the packet is counted as one for nobody here.
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

    /// The virtual router that a packet is for, by the VRID at its place in the message, which nobody has verified yet: the one of the interface. What is
    /// sent by unicast may take another way in (AMB-26), so that it is first of all for the one that has the sender as a peer and advertises
    /// from the address that it was sent to, and without a router on the interface for any that has such a peer.
    #[inline]
    #[must_use]
    pub fn addressee(&self, interface: u32, ip: &IpHeader, payload: &[u8]) -> Option<RouterId> {
        let slot = self.addressee_slot(interface, ip, payload)?;
        self.routers.at(slot).map(|(id, _)| id)
    }

    /// The place of the addressee. What follows finds the router by it, without a second comparison of keys: the bench
    /// `fleet` shows what that saves.
    #[inline]
    fn addressee_slot(&self, interface: u32, ip: &IpHeader, payload: &[u8]) -> Option<u32> {
        let vrid = vrid_of(payload)?;
        let key = Key {
            interface,
            family: ip.endpoints.family(),
            vrid,
        };
        let found = self.index.find(key);
        let destination = ip.endpoints.destination();
        if destination.is_multicast() || found.is_some_and(|it| self.is_from(it, destination)) {
            return found;
        }
        self.slot_of_peer(key, ip, found)
    }

    /// Whether a router advertises from this address, so that what peers send is sent to it.
    fn is_from(&self, slot: u32, address: IpAddr) -> bool {
        let found = self.routers.at(slot);
        found.is_some_and(|(_, entry)| entry.router.primary_address() == address)
    }

    #[cold]
    fn slot_of_peer(&self, key: Key, ip: &IpHeader, of_interface: Option<u32>) -> Option<u32> {
        let (source, destination) = (ip.endpoints.source(), ip.endpoints.destination());
        let ids = self.by_peers.get(&(key.family, key.vrid));
        let slots = ids.into_iter().flatten().map(|id| id.key().slot());
        let mut with_peer = slots.filter(|slot| {
            let found = self.routers.at(*slot);
            found.is_some_and(|(_, entry)| entry.reception.has_peer(source))
        });
        let mut addressed = with_peer
            .clone()
            .filter(|it| self.is_from(*it, destination));
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
            self.heard_in_group(now, group, id, accepted.version(), before);
        }
        Ok((id, accepted))
    }

    /// Whether a packet passes every check of this virtual router. Nothing changes, and nothing is counted.
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

    /// A packet for no virtual router here: what is wrong with it at least.
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

    /// Time has passed. Before [`poll_timeout`](Self::poll_timeout) this does nothing.
    ///
    /// The host first hands over what its sockets hold: what was sent while it slept comes before what it slept through.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tracker.handle_timeout(now);
        self.follow_objects(now);
        // Each pass moves a deadline behind now.
        while let Some(slot) = self.next_due(now) {
            let Some((id, entry)) = self.routers.at_mut(slot) else {
                self.output.deadlines.set(slot, None);
                continue;
            };
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
    }

    /// Whose turn it is: of those that may wait for company only the first is looked at, and when its own deadline has come, it has company.
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

    /// Lets the timers of an Active be served up to so much later than they are due, and at most a sixteenth of its interval, so that the
    /// advertisements of many virtual routers leave together. They do not drift for it, and those of Backups are served on time. Default not at all.
    pub fn set_patience(&mut self, longest: Duration) {
        let patience = nanos(longest);
        if core::mem::replace(&mut self.output.patience, patience) == patience {
            return;
        }
        for (id, entry) in self.routers.iter().filter(|(_, it)| !it.is_leaving) {
            self.output.schedule(id, entry);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, at the latest that [`set_patience`](Self::set_patience) allows: otherwise
    /// it is exact. It may lie in the past where the host is late.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let routers = self.output.deadlines.earliest();
        match (routers, self.tracker.poll_timeout()) {
            (Some(routers), Some(objects)) => Some(routers.min(objects)),
            (routers, objects) => routers.or(objects),
        }
    }

    /// The next thing to do: first all advertisements, then the rest in the order in which it came up. To be polled until there is nothing more, before
    /// the host waits again.
    ///
    /// The octets of an advertisement: [`VirtualRouter::advertisements`] of [`get`](Self::get).
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

    /// The next record that this reader has not seen; `None` when it has seen all.
    ///
    /// # Errors
    ///
    /// [`Lost`], once, when records were dropped that it has not seen. The next call goes on with the first that is left.
    pub fn read(&self, reader: &mut Reader) -> Option<Result<Record, Lost>> {
        self.output.log.read(reader)
    }

    /// Keeps so many records from now on, but not fewer than before.
    pub fn keep_records(&mut self, records: usize) {
        self.output.log.grow(records);
    }

    /// What was discarded, of all virtual routers together.
    #[must_use]
    pub const fn packet_errors(&self) -> &PacketErrors {
        &self.errors
    }

    // Within.

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

    /// Hands an event to a machine, with all that follows for it alone.
    fn step(&mut self, now: Instant, id: RouterId, event: Event) -> Result<(), FleetError> {
        let entry = live(&mut self.routers, id)?;
        self.output.step(now, id, entry, event);
        Ok(())
    }

    /// Starts or stops a router by what is so now. One in a group waits for
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

/// The router with this id, unless it was removed.
fn live(routers: &mut Arena<RouterId, Entry>, id: RouterId) -> Result<&mut Entry, FleetError> {
    routers
        .get_mut(id)
        .filter(|entry| !entry.is_leaving)
        .ok_or(FleetError::UnknownRouter(id))
}

/// The VRID in a message that need not be one.
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
