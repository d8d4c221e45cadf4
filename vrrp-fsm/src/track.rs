//! Objects outside VRRP on which virtual routers depend: an interface, the result of a check, a BFD session.
//!
//! A [`Tracker`] knows [objects](Object) and what was [reported](Report) about each. A router, or a sync group, has a list of [references](TrackRef): the
//! objects that count for it, and how much. What that comes to is computed from the list each time, never kept by adding and subtracting, so
//! that reports that come twice, late or in another order cannot make it drift:
//!
//! * each object contributes a fault, or points of priority ([`Weight`]);
//! * a router with a fault is in Initialize, and so is one that starts before all objects that may be a fault have reported;
//! * the effective priority is the configured one with all points, held within 1..=254 (O-21). The address owner's is 255 (AMB-25).
//!
//! An object that has not reported gives no points.
//!
//! Time passes for debounced and for stale objects: [`Tracker::poll_timeout`] says when.
//!
//! ```
//! use vrrp_fsm::{Instant, track::{Kind, Object, Report, Tracker, TrackRef, Weight}};
//! use vrrp_proto::Priority;
//!
//! let mut tracker = Tracker::new();
//! let uplink = tracker.add(Instant::ZERO, Object::new("uplink", Kind::Interface))?;
//! let peering = tracker.add(Instant::ZERO, Object { weight: Weight::points(-30)?, ..Object::new("peering", Kind::BfdSession) })?;
//! let uses = [TrackRef::of(uplink), TrackRef::of(peering)];
//!
//! assert!(!tracker.track_state(&uses).is_ready(), "the uplink has not reported");
//! tracker.report(Instant::ZERO, uplink, Report::Up)?;
//! tracker.report(Instant::ZERO, peering, Report::Down)?;
//! let track_state = tracker.track_state(&uses);
//! assert!(track_state.is_ready());
//! assert_eq!(track_state.effective_priority(Priority::new(100)), Priority::new(70));
//! assert_eq!(
//!     tracker.explain(Priority::new(100), &uses).to_string(),
//!     "priority 70: 100 configured, uplink up, peering down -30",
//! );
//! # Ok::<(), vrrp_fsm::track::TrackError>(())
//! ```

mod explain;
mod level;
mod object;
mod weight;

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use core::fmt;

use vrrp_proto::Priority;

use crate::{
    Deadlines, Instant,
    arena::{Arena, Key, TypedKey},
};

pub use explain::{Explanation, Ignored, IgnoredReason, Influence};
pub use level::Level;
use object::Known;
pub use object::{Check, Debounce, Kind, Object, ObjectSnapshot, Quorum, Report, Require};
pub use weight::{Contribution, Weight};

/// An object of a [`Tracker`]. The number of an object that was removed is not given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ObjectId(Key);

/// An object that counts for a router or a sync group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackRef {
    /// The object.
    pub object: ObjectId,
    /// How much it counts here, or `None` for what the object says.
    pub weight: Option<Weight>,
    /// Whether bad is good here, or `None` for what the object says.
    pub reverse: Option<bool>,
}

impl TrackRef {
    /// The object counts as it says itself.
    #[must_use]
    pub const fn of(object: ObjectId) -> Self {
        Self {
            object,
            weight: None,
            reverse: None,
        }
    }
}

/// What all objects together come to, for one router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrackState {
    /// The sum of all points.
    pub points: i32,
    /// How many objects are a fault.
    pub faults: u32,
    /// How many objects may be a fault and have not reported.
    pub unreported: u32,
}

impl TrackState {
    /// Whether a router may start: nothing is a fault, and everything that may be one has reported.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.faults == 0 && self.unreported == 0
    }

    /// The priority of a router that has this one configured: 1 to 254, or 255 for the address owner.
    #[must_use]
    pub fn effective_priority(&self, configured: Priority) -> Priority {
        if configured.is_owner() {
            return configured;
        }
        let total = self.points.saturating_add(configured.get().into());
        Priority::new(u8::try_from(total.clamp(1, 254)).unwrap_or(254))
    }

    /// With one more object.
    pub(crate) fn with(mut self, contribution: Contribution) -> Self {
        match contribution {
            Contribution::Points(points) => self.points = self.points.saturating_add(points.into()),
            Contribution::Fault => self.faults += 1,
            Contribution::Unreported => self.unreported += 1,
        }
        self
    }
}

/// Why something about an object was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// There is no such object, or no longer.
    #[error("{0} does not exist")]
    Unknown(ObjectId),
    /// Another object has this name.
    #[error("name {0:?} belongs to another object")]
    NameTaken(String),
    /// A weight is out of its range.
    #[error("weight {value} is not in -253..=253 without 0")]
    Weight {
        /// The weight.
        value: i16,
    },
    /// `at_most` is less than `at_least`.
    #[error("at_most {at_most} is not in {at_least}.., from at_least")]
    Quorum {
        /// The least count.
        at_least: u32,
        /// The greatest count.
        at_most: u32,
    },
    /// A set requires a number of members that it cannot have.
    #[error("require {required} is not in 1..={members}, the number of members")]
    Require {
        /// How many have to be up.
        required: usize,
        /// How many there are.
        members: usize,
    },
    /// A set has a member that is a set.
    #[error("member {0:?} is a set, and sets have no sets in them")]
    NestedSet(String),
    /// An object is twice in a list.
    #[error("object {0:?} is twice in the list")]
    Twice(String),
    /// Objects do not have such reports.
    #[error("object {name:?} does not report {report:?}")]
    Report {
        /// The object.
        name: String,
        /// What was reported.
        report: Report,
    },
    /// Only another object is of another kind.
    #[error("object {0:?} is of another kind, which cannot change")]
    KindChanged(String),
    /// There are as many objects as can be numbered.
    #[error("too many tracked objects (limit 2^32 - 1)")]
    Full,
    /// The object is needed by another one, a router or a sync group.
    #[error("object {0:?} is in use")]
    InUse(String),
}

/// The objects, and what is known about each.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    objects: Arena<ObjectId, Entry>,
    names: BTreeMap<String, ObjectId>,
    deadlines: Deadlines,
    changed: VecDeque<ObjectId>,
}

#[derive(Clone, Debug)]
struct Entry {
    object: Object,
    known: Known,
    /// The sets that it is a member of.
    sets: Vec<ObjectId>,
    /// Waits in `changed`.
    is_changed: bool,
}

impl Tracker {
    /// No object.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            objects: Arena::new(),
            names: BTreeMap::new(),
            deadlines: Deadlines::new(),
            changed: VecDeque::new(),
        }
    }

    /// Adds an object that has not reported.
    ///
    /// # Errors
    ///
    /// When the name is taken, or its [`Kind`] breaks a rule that stands there.
    pub fn add(&mut self, now: Instant, object: Object) -> Result<ObjectId, TrackError> {
        self.check(&object, None)?;
        let known = Known::new(now, &object.kind);
        let id = self.insert(object, known)?;
        self.enter_sets(id);
        self.update_set(now, id);
        Ok(id)
    }

    fn insert(&mut self, object: Object, known: Known) -> Result<ObjectId, TrackError> {
        let (name, deadline) = (object.name.clone(), known.deadline());
        let id = self.objects.insert(Entry {
            object,
            known,
            sets: Vec::new(),
            is_changed: false,
        });
        let id = id.ok_or(TrackError::Full)?;
        self.names.insert(name, id);
        self.deadlines.set(id.key().slot(), deadline);
        Ok(id)
    }

    /// Replaces the configuration of an object. What was reported stays; a debounce that runs ends when it was to end. Another
    /// [`stale_after`](Check::stale_after) counts from now, and a check that is stale stays so until it reports.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add), and for another [`Kind`].
    pub fn reconfigure(
        &mut self,
        now: Instant,
        id: ObjectId,
        object: Object,
    ) -> Result<(), TrackError> {
        self.check(&object, Some(id))?;
        self.leave_sets(id);
        let entry = self.entry_mut(id)?;
        entry.known.reconfigure(now, &entry.object, &object);
        let name = object.name.clone();
        let old = core::mem::replace(&mut entry.object, object);
        self.names.remove(&old.name);
        self.names.insert(name, id);
        self.enter_sets(id);
        self.update_set(now, id);
        // Also where its level stays: its weight may be another.
        self.mark_changed(now, id);
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Errors
    ///
    /// [`TrackError::InUse`] while a set has it as a member.
    pub fn remove(&mut self, id: ObjectId) -> Result<Object, TrackError> {
        let entry = self.entry_mut(id)?;
        if !entry.sets.is_empty() {
            return Err(TrackError::InUse(entry.object.name.clone()));
        }
        self.leave_sets(id);
        self.deadlines.set(id.key().slot(), None);
        let removed = self.objects.remove(id).ok_or(TrackError::Unknown(id))?;
        self.names.remove(&removed.object.name);
        Ok(removed.object)
    }

    /// The object of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ObjectId> {
        self.names.get(name).copied()
    }

    /// An object.
    #[must_use]
    pub fn get(&self, id: ObjectId) -> Option<&Object> {
        self.entry(id).map(|entry| &entry.object)
    }

    /// All objects, in an order that does not depend on chance.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.objects.iter().map(|(id, entry)| (id, &entry.object))
    }

    /// What counts of an object; `None` before it has reported, and when there is no such object.
    #[must_use]
    pub fn level(&self, id: ObjectId) -> Option<Level> {
        self.entry(id)?.known.level
    }

    /// Whether an object counts as failed because its reports stay out.
    #[must_use]
    pub fn is_stale(&self, id: ObjectId) -> bool {
        self.entry(id).is_some_and(|entry| entry.known.is_stale)
    }

    /// Something is reported about an object: its state, whether it has changed or not. Of a [`Kind::Check`] every report is one result.
    ///
    /// # Errors
    ///
    /// When there is no such object, or it does not have such reports.
    pub fn report(&mut self, now: Instant, id: ObjectId, report: Report) -> Result<(), TrackError> {
        self.update(now, id, |known, object| known.report(now, object, report))
    }

    /// Time has passed. Before [`poll_timeout`](Self::poll_timeout) this does nothing. Reports that wait come first.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(slot) = self.deadlines.due(now) {
            let Some((id, _)) = self.objects.at(slot) else {
                self.deadlines.set(slot, None);
                continue;
            };
            // It takes the deadline away, or moves it behind now.
            let _known = self.update(now, id, |known, _| {
                known.handle_timeout(now);
                Ok(())
            });
        }
    }

    /// When time alone changes something: the end of a debounce, or a check that becomes stale.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// An object whose level or configuration has changed since it was last polled: [`track_state`](Self::track_state) of those who use it may have too.
    pub fn poll_changed(&mut self) -> Option<ObjectId> {
        while let Some(id) = self.changed.pop_front() {
            if let Ok(entry) = self.entry_mut(id) {
                entry.is_changed = false;
                return Some(id);
            }
        }
        None
    }

    /// What the objects come to, for a router or a sync group that has these uses.
    #[must_use]
    pub fn track_state(&self, uses: &[TrackRef]) -> TrackState {
        uses.iter()
            .filter_map(|one| self.contribution(one))
            .fold(TrackState::default(), TrackState::with)
    }

    /// What one object contributes; `None` when there is no such object.
    #[must_use]
    pub fn contribution(&self, one: &TrackRef) -> Option<Contribution> {
        let Entry { object, known, .. } = self.entry(one.object)?;
        Some(Contribution::new(
            known.level,
            one.weight.unwrap_or(object.weight),
            one.reverse.unwrap_or(object.reverse),
        ))
    }

    /// Why the priority is what it is, and which faults hold.
    #[must_use]
    pub fn explain(&self, configured: Priority, uses: &[TrackRef]) -> Explanation<'_> {
        Explanation::new(configured, self.influences(uses).collect())
    }

    pub(crate) fn influences(&self, uses: &[TrackRef]) -> impl Iterator<Item = Influence<'_>> {
        uses.iter().filter_map(|one| {
            let Entry { object, known, .. } = self.entry(one.object)?;
            let points = one.weight.unwrap_or(object.weight).get();
            let is_reverse = one.reverse.unwrap_or(object.reverse);
            Some(Influence {
                object: one.object,
                name: &object.name,
                level: known.level,
                is_stale: known.is_stale,
                contribution: self.contribution(one)?,
                ignored: None,
                points: points.map(|points| if is_reverse { -points } else { points }),
            })
        })
    }

    /// Whether a list of uses may be had: all objects exist, and none is there twice.
    ///
    /// # Errors
    ///
    /// [`TrackError::Unknown`] and [`TrackError::Twice`].
    pub fn check_uses(&self, uses: &[TrackRef]) -> Result<(), TrackError> {
        self.check_distinct(uses.iter().map(|one| one.object))
    }

    /// Everything that is known, to be continued by [`restore`](Self::restore), in the order of [`iter`](Self::iter).
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Vec<ObjectSnapshot> {
        let ids: Vec<ObjectId> = self.iter().map(|(id, _)| id).collect();
        let objects = self.objects.iter().map(|(_, entry)| {
            let mut object = entry.object.clone();
            if let Kind::Set { members, .. } = &mut object.kind {
                for member in members {
                    *member = Key::placed(&ids, *member);
                }
            }
            entry.known.snapshot(now, object)
        });
        objects.collect()
    }

    /// The tracker of a snapshot, in a process whose clock says `now`. Objects have new ids: [`ObjectId::nth`] of their places.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add), for a snapshot that no tracker has given.
    pub fn restore(objects: &[ObjectSnapshot], now: Instant) -> Result<Self, TrackError> {
        let mut tracker = Self::new();
        let ids: Vec<ObjectId> = objects
            .iter()
            .map(|saved| tracker.insert(saved.object.clone(), Known::restore(saved, now)))
            .collect::<Result<_, _>>()?;
        // Members may come after their sets.
        for id in ids {
            if let Some(object) = tracker.get(id) {
                tracker.check(object, Some(id))?;
            }
            tracker.enter_sets(id);
        }
        Ok(tracker)
    }

    fn entry(&self, id: ObjectId) -> Option<&Entry> {
        self.objects.get(id)
    }

    fn entry_mut(&mut self, id: ObjectId) -> Result<&mut Entry, TrackError> {
        self.objects.get_mut(id).ok_or(TrackError::Unknown(id))
    }

    /// Changes what is known about an object, with all that follows if its level is another then.
    fn update(
        &mut self,
        now: Instant,
        id: ObjectId,
        change: impl FnOnce(&mut Known, &Object) -> Result<(), TrackError>,
    ) -> Result<(), TrackError> {
        let entry = self.entry_mut(id)?;
        let before = (entry.known.level, entry.known.is_stale);
        change(&mut entry.known, &entry.object)?;
        let after = (entry.known.level, entry.known.is_stale);
        let deadline = entry.known.deadline();
        self.deadlines.set(id.key().slot(), deadline);
        if before != after {
            self.mark_changed(now, id);
        }
        Ok(())
    }

    /// The level of an object is another, or counts in another way: those who use it are to look, and the sets that it is in.
    ///
    /// Sets have no sets in them, so that this does not go deeper.
    fn mark_changed(&mut self, now: Instant, id: ObjectId) {
        let Ok(entry) = self.entry_mut(id) else {
            return;
        };
        let deadline = entry.known.deadline();
        let first = !core::mem::replace(&mut entry.is_changed, true);
        let sets = entry.sets.len();
        self.deadlines.set(id.key().slot(), deadline);
        if first {
            self.changed.push_back(id);
        }
        for number in 0..sets {
            let set = self.entry(id).and_then(|entry| entry.sets.get(number));
            if let Some(set) = set.copied() {
                self.update_set(now, set);
            }
        }
    }

    /// What the members of a set come to. Other objects are left alone.
    fn update_set(&mut self, now: Instant, id: ObjectId) {
        let Some(entry) = self.entry(id) else { return };
        let Kind::Set { require, members } = &entry.object.kind else {
            return;
        };
        let required = require.of(members.len());
        let (mut up, mut unreported) = (0, 0);
        for member in members.iter().filter_map(|member| self.entry(*member)) {
            match member.known.level {
                Some(level) if level.is_up() != member.object.reverse => up += 1,
                Some(_) => {}
                None => unreported += 1,
            }
        }
        let debounce = entry.object.debounce;
        // Without such an object there is nothing to update.
        let _known = self.update(now, id, |known, _| {
            if up >= required {
                known.observe(now, debounce, Level::Up);
            } else if up + unreported < required {
                known.observe(now, debounce, Level::Down);
            } else {
                known.forget();
            }
            Ok(())
        });
    }

    fn check(&self, object: &Object, old: Option<ObjectId>) -> Result<(), TrackError> {
        if let Some(id) = old {
            let entry = self.entry(id).ok_or(TrackError::Unknown(id))?;
            if core::mem::discriminant(&entry.object.kind) != core::mem::discriminant(&object.kind)
            {
                return Err(TrackError::KindChanged(object.name.clone()));
            }
        }
        if self.find(&object.name).is_some_and(|id| Some(id) != old) {
            return Err(TrackError::NameTaken(object.name.clone()));
        }
        match &object.kind {
            Kind::Processes(Quorum {
                at_least,
                at_most: Some(at_most),
            }) if at_most < at_least => Err(TrackError::Quorum {
                at_least: *at_least,
                at_most: *at_most,
            }),
            Kind::Set { require, members } => {
                let required = require.of(members.len());
                if required == 0 || required > members.len() {
                    return Err(TrackError::Require {
                        required,
                        members: members.len(),
                    });
                }
                self.check_distinct(members.iter().copied())?;
                let nested = members.iter().filter_map(|id| self.get(*id));
                match nested.into_iter().find(|member| member.is_set()) {
                    Some(member) => Err(TrackError::NestedSet(member.name.clone())),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_distinct(&self, ids: impl Iterator<Item = ObjectId>) -> Result<(), TrackError> {
        let mut seen: Vec<ObjectId> = ids.collect();
        seen.sort_unstable();
        let mut before = None;
        for id in seen {
            let object = self.get(id).ok_or(TrackError::Unknown(id))?;
            if before == Some(id) {
                return Err(TrackError::Twice(object.name.clone()));
            }
            before = Some(id);
        }
        Ok(())
    }

    fn enter_sets(&mut self, id: ObjectId) {
        for member in self.members(id) {
            if let Ok(entry) = self.entry_mut(member) {
                entry.sets.push(id);
            }
        }
    }

    fn leave_sets(&mut self, id: ObjectId) {
        for member in self.members(id) {
            if let Ok(entry) = self.entry_mut(member) {
                entry.sets.retain(|set| *set != id);
            }
        }
    }

    fn members(&self, id: ObjectId) -> Vec<ObjectId> {
        match self.get(id).map(|object| &object.kind) {
            Some(Kind::Set { members, .. }) => members.clone(),
            _ => Vec::new(),
        }
    }
}

impl Object {
    const fn is_set(&self) -> bool {
        matches!(self.kind, Kind::Set { .. })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {}", self.0.serial())
    }
}

impl ObjectId {
    /// The id that the object at this place of a snapshot has in the tracker that is restored from it.
    #[must_use]
    pub const fn nth(place: u32) -> Self {
        Self(Key::nth(place))
    }
}

impl TypedKey for ObjectId {
    fn new(key: Key) -> Self {
        Self(key)
    }

    fn key(self) -> Key {
        self.0
    }
}
