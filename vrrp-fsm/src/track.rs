//! Tracked objects, on which virtual routers depend: an interface, the result of a check, a BFD
//! session.
//!
//! A [`Tracker`] has [objects](Object) and the [reports](Report) about each. A router or a sync
//! group has a list of [references](TrackRef) to objects with their weights. The result is computed
//! from the whole list each time, so repeated, late or reordered reports cannot make it drift:
//!
//! * each object contributes a fault, or points of priority ([`Weight`]);
//! * a router with a fault is in Initialize. A router does not start before all objects that may be
//!   a fault have reported;
//! * the effective priority is the configured one plus all points, clamped to 1..=254 (O-21). The
//!   address owner's is 255 (AMB-25).
//!
//! An object without a report contributes no points.
//!
//! Debounced objects and stale checks change with time: [`Tracker::poll_timeout`] returns the
//! deadline.
//!
//! ```
//! use vrrp_fsm::{Instant, track::{Kind, Object, Report, Tracker, TrackRef, Weight}};
//! use vrrp_proto::Priority;
//!
//! let mut tracker = Tracker::new();
//! let uplink = tracker.add(Instant::ZERO, Object::new("uplink", Kind::Interface))?;
//! let peering = Object::new("peering", Kind::BfdSession);
//! let peering = Object { weight: Weight::points(-30)?, ..peering };
//! let peering = tracker.add(Instant::ZERO, peering)?;
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

/// An object of a [`Tracker`]. The id of a removed object is not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ObjectId(Key);

/// A reference of a router or a sync group to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackRef {
    /// The object.
    pub object: ObjectId,
    /// The weight for this user, or `None` for that of the object.
    pub weight: Option<Weight>,
    /// Whether the object counts in reverse for this user, or `None` for the setting of the object.
    pub reverse: Option<bool>,
}

impl TrackRef {
    /// References an object with its own weight.
    #[must_use]
    pub const fn of(object: ObjectId) -> Self {
        Self {
            object,
            weight: None,
            reverse: None,
        }
    }
}

/// The result of all tracked objects for one router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrackState {
    /// The sum of all points.
    pub points: i32,
    /// The number of objects that are a fault.
    pub faults: u32,
    /// The number of objects that may be a fault and have not reported.
    pub unreported: u32,
}

impl TrackState {
    /// Whether a router may start: no object is a fault, and every object that may be one has
    /// reported.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.faults == 0 && self.unreported == 0
    }

    /// Returns the effective priority for a configured one: 1 to 254, or 255 for the address owner.
    #[must_use]
    pub fn effective_priority(&self, configured: Priority) -> Priority {
        if configured.is_owner() {
            return configured;
        }
        let total = self.points.saturating_add(configured.get().into());
        Priority::new(u8::try_from(total.clamp(1, 254)).unwrap_or(254))
    }

    /// Adds the contribution of an object.
    pub(crate) fn with(mut self, contribution: Contribution) -> Self {
        match contribution {
            Contribution::Points(points) => self.points = self.points.saturating_add(points.into()),
            Contribution::Fault => self.faults += 1,
            Contribution::Unreported => self.unreported += 1,
        }
        self
    }
}

/// The reason why a call was rejected. The tracker did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackError {
    /// The object does not exist.
    Unknown(ObjectId),
    /// Another object has this name.
    NameTaken(String),
    /// A weight is out of its range.
    Weight {
        /// The weight.
        value: i16,
    },
    /// `at_most` is less than `at_least`.
    Quorum {
        /// The least count.
        at_least: u32,
        /// The greatest count.
        at_most: u32,
    },
    /// A set requires no member, or more than it has.
    Require {
        /// The number of members that must be up.
        required: usize,
        /// The number of members.
        members: usize,
    },
    /// A set has a member that is a set.
    NestedSet(String),
    /// An object is listed twice.
    Twice(String),
    /// The kind of the object has no such reports.
    Report {
        /// The object.
        name: String,
        /// The report.
        report: Report,
    },
    /// The kind of an object cannot change.
    KindChanged(String),
    /// The tracker already has the maximum number of objects.
    Full,
    /// A set, a router or a sync group uses the object.
    InUse(String),
}

impl fmt::Display for TrackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "{id} does not exist"),
            Self::NameTaken(name) => write!(f, "name {name:?} belongs to another object"),
            Self::Weight { value } => write!(f, "weight {value} must be -253..=-1 or 1..=253"),
            Self::Quorum { at_least, at_most } => {
                write!(f, "at_most {at_most} is less than at_least {at_least}")
            }
            Self::Require { required, members } => write!(
                f,
                "require {required} is not in 1..={members}, the number of members"
            ),
            Self::NestedSet(name) => write!(f, "member {name:?} is a set: sets cannot be nested"),
            Self::Twice(name) => write!(f, "object {name:?} is listed twice"),
            Self::Report { name, report } => {
                write!(f, "object {name:?} does not report {report:?}")
            }
            Self::KindChanged(name) => write!(f, "the kind of object {name:?} cannot change"),
            Self::Full => f.write_str("too many tracked objects: the tracker is full"),
            Self::InUse(name) => write!(f, "object {name:?} is in use"),
        }
    }
}

impl core::error::Error for TrackError {}

/// The tracked objects with their reports.
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
    /// Whether it is in `changed`.
    is_changed: bool,
}

impl Tracker {
    /// Makes a tracker without objects.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            objects: Arena::new(),
            names: BTreeMap::new(),
            deadlines: Deadlines::new(),
            changed: VecDeque::new(),
        }
    }

    /// Adds an object without a report.
    ///
    /// # Errors
    ///
    /// If the name is taken, or the [`Kind`] breaks one of its rules.
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

    /// Replaces the configuration of an object. Reports stay, and a running debounce keeps its end.
    /// A changed [`stale_after`](Check::stale_after) starts now, and a stale check stays stale
    /// until it reports.
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
        // Its weight may have changed, even if its level has not.
        self.mark_changed(now, id);
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Errors
    ///
    /// [`TrackError::InUse`] if a set has it as a member.
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

    /// Returns the object of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ObjectId> {
        self.names.get(name).copied()
    }

    /// An object.
    #[must_use]
    pub fn get(&self, id: ObjectId) -> Option<&Object> {
        self.entry(id).map(|entry| &entry.object)
    }

    /// Iterates over the objects in a deterministic order.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.objects.iter().map(|(id, entry)| (id, &entry.object))
    }

    /// Returns the level of an object; `None` before its first report, and if it does not exist.
    #[must_use]
    pub fn level(&self, id: ObjectId) -> Option<Level> {
        self.entry(id)?.known.level
    }

    /// Whether a check counts as failed because it has not reported in time.
    #[must_use]
    pub fn is_stale(&self, id: ObjectId) -> bool {
        self.entry(id).is_some_and(|entry| entry.known.is_stale)
    }

    /// Reports the state of an object, changed or not. For a [`Kind::Check`], every report is one
    /// result.
    ///
    /// # Errors
    ///
    /// If the object does not exist, or its kind has no such reports.
    pub fn report(&mut self, now: Instant, id: ObjectId, report: Report) -> Result<(), TrackError> {
        self.update(now, id, |known, object| known.report(now, object, report))
    }

    /// Handles the passage of time. It has no effect before [`poll_timeout`](Self::poll_timeout).
    /// Waiting reports must be passed first.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(slot) = self.deadlines.due(now) {
            let Some((id, _)) = self.objects.at(slot) else {
                self.deadlines.set(slot, None);
                continue;
            };
            // It removes the deadline, or moves it past `now`.
            let _known = self.update(now, id, |known, _| {
                known.handle_timeout(now);
                Ok(())
            });
        }
    }

    /// Returns the next deadline: the end of a debounce, or a check that becomes stale.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// Returns an object whose level or configuration has changed since it was last polled.
    /// [`track_state`](Self::track_state) of its users may have changed.
    pub fn poll_changed(&mut self) -> Option<ObjectId> {
        while let Some(id) = self.changed.pop_front() {
            if let Ok(entry) = self.entry_mut(id) {
                entry.is_changed = false;
                return Some(id);
            }
        }
        None
    }

    /// Returns the result of these references, for a router or a sync group.
    #[must_use]
    pub fn track_state(&self, uses: &[TrackRef]) -> TrackState {
        uses.iter()
            .filter_map(|one| self.contribution(one))
            .fold(TrackState::default(), TrackState::with)
    }

    /// Returns the contribution of an object; `None` if it does not exist.
    #[must_use]
    pub fn contribution(&self, one: &TrackRef) -> Option<Contribution> {
        let Entry { object, known, .. } = self.entry(one.object)?;
        Some(Contribution::new(
            known.level,
            one.weight.unwrap_or(object.weight),
            one.reverse.unwrap_or(object.reverse),
        ))
    }

    /// Explains the effective priority and the faults.
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

    /// Checks a list of references: all objects exist, and none is listed twice.
    ///
    /// # Errors
    ///
    /// [`TrackError::Unknown`] and [`TrackError::Twice`].
    pub fn check_uses(&self, uses: &[TrackRef]) -> Result<(), TrackError> {
        self.check_distinct(uses.iter().map(|one| one.object))
    }

    /// Returns the state of all objects for [`restore`](Self::restore), in the order of
    /// [`iter`](Self::iter).
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

    /// Restores a tracker from a snapshot at `now`. Objects have new ids: [`ObjectId::nth`] of
    /// their places.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add), for an invalid snapshot.
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

    /// Changes the state of an object, and handles a changed level.
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

    /// Marks an object as changed and re-evaluates the sets that contain it.
    ///
    /// Sets are not nested, so the recursion ends there.
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

    /// Re-evaluates a set. Has no effect on other objects.
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
        // A missing object needs no update.
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
    /// Returns the id of the object at this place of a snapshot, in the tracker restored from it.
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
