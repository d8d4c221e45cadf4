//! Objects, and their effect on routers and groups.

use alloc::vec::Vec;

use vrrp_proto::Priority;

use super::{
    Entry, FleetChange, FleetError, Output, RouterId, VrrpRouter,
    groups::{Group, User},
};
use crate::{
    Event, Instant,
    arena::TypedKey,
    track::{
        Explanation, IgnoredReason, Object, ObjectId, Report, TrackError, TrackRef, TrackState,
        Tracker,
    },
};

impl VrrpRouter {
    /// Adds an object: [`Tracker::add`].
    ///
    /// # Errors
    ///
    /// As for [`Tracker::add`].
    pub fn add_object(&mut self, now: Instant, object: Object) -> Result<ObjectId, FleetError> {
        let id = self.tracker.add(now, object)?;
        self.follow_objects(now);
        Ok(id)
    }

    /// Replaces the configuration of an object for all its users: [`Tracker::reconfigure`].
    ///
    /// # Errors
    ///
    /// As for [`Tracker::reconfigure`].
    pub fn reconfigure_object(
        &mut self,
        now: Instant,
        id: ObjectId,
        object: Object,
    ) -> Result<(), FleetError> {
        self.tracker.reconfigure(now, id, object)?;
        self.follow_objects(now);
        Ok(())
    }

    /// Removes an object: [`Tracker::remove`].
    ///
    /// # Errors
    ///
    /// As for [`Tracker::remove`], and [`TrackError::InUse`] while a virtual router or a sync group
    /// uses it.
    pub fn remove_object(&mut self, id: ObjectId) -> Result<Object, FleetError> {
        if let Some(object) = self.tracker.get(id)
            && self.users.contains_key(&id)
        {
            return Err(TrackError::InUse(object.name.clone()).into());
        }
        Ok(self.tracker.remove(id)?)
    }

    /// Reports the state of an object: [`Tracker::report`]. Its users react at once.
    ///
    /// # Errors
    ///
    /// As for [`Tracker::report`].
    pub fn report(&mut self, now: Instant, id: ObjectId, report: Report) -> Result<(), FleetError> {
        self.tracker.report(now, id, report)?;
        self.follow_objects(now);
        Ok(())
    }

    /// Reports the states of many objects. Their users react after the last report: a router
    /// changes its priority once, and an Active advertises once.
    ///
    /// # Errors
    ///
    /// The first error of [`report`](Self::report). The other reports count.
    pub fn report_all(
        &mut self,
        now: Instant,
        reports: impl IntoIterator<Item = (ObjectId, Report)>,
    ) -> Result<(), FleetError> {
        let mut result = Ok(());
        for (id, report) in reports {
            result = result.and(self.tracker.report(now, id, report));
        }
        self.follow_objects(now);
        Ok(result?)
    }

    /// Returns the tracked objects.
    #[must_use]
    pub const fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Explains the effective priority and the faults of a virtual router: its own objects, then
    /// those of its sync group.
    #[must_use]
    pub fn explain(&self, id: RouterId) -> Option<Explanation<'_>> {
        let entry = self.entry(id).ok()?;
        let group = self.group_of(entry);
        let ignoring = group.filter(|group| !group.config.member_weights);
        let influences = self.tracker.influences(&entry.tracking);
        let own = influences.map(|influence| match ignoring {
            None => influence,
            Some(group) => influence.without_points(IgnoredReason::SyncGroup(&group.config.name)),
        });
        let of_group = group.map_or(&[][..], |group| &group.config.tracking);
        let influences = own.chain(self.tracker.influences(of_group)).collect();
        Some(Explanation::new(entry.router.config().priority, influences))
    }

    /// Sets the validated references of a router or a group.
    pub(super) fn set_uses(&mut self, user: User, wanted: Vec<TrackRef>) {
        let new: Vec<ObjectId> = wanted.iter().map(|one| one.object).collect();
        let old = match user {
            User::Router(id) => {
                let entry = self.routers.get_mut(id);
                entry.map(|it| core::mem::replace(&mut it.tracking, wanted.into()).into_vec())
            }
            User::Group(id) => {
                let group = self.groups.get_mut(id);
                group.map(|it| core::mem::replace(&mut it.config.tracking, wanted))
            }
        };
        let Some(old) = old else { return };
        for one in old {
            if let Some(users) = self.users.get_mut(&one.object) {
                users.retain(|it| *it != user);
                if users.is_empty() {
                    self.users.remove(&one.object);
                }
            }
        }
        for object in new {
            self.users.entry(object).or_default().push(user);
        }
    }

    /// Updates the users of all changed objects.
    pub(super) fn follow_objects(&mut self, now: Instant) {
        while let Some(id) = self.tracker.poll_changed() {
            let level = self.tracker.level(id);
            self.output.log.push(now, FleetChange::Object(id, level));
            let mut number = 0;
            while let Some(user) = self.users.get(&id).and_then(|users| users.get(number)) {
                match *user {
                    User::Router(router) => self.mark_router_dirty(router),
                    User::Group(group) => {
                        self.recompute_group_tracking(group);
                        let mut place = 0;
                        while let Some(member) = self
                            .groups
                            .get(group)
                            .and_then(|group| group.config.members.get(place))
                        {
                            self.mark_router_dirty(*member);
                            place += 1;
                        }
                    }
                }
                number += 1;
            }
        }
        // Each router once, after all changes are known.
        while let Some(slot) = self.dirty_routers.pop() {
            if let Some((id, entry)) = self.routers.at_mut(slot) {
                entry.is_dirty = false;
                self.update_tracking(now, id, None);
            }
        }
        self.start_or_stop_groups(now);
    }

    /// Marks a router whose objects, or whose group's objects, have changed.
    fn mark_router_dirty(&mut self, id: RouterId) {
        if let Some(entry) = self.routers.get_mut(id)
            && !core::mem::replace(&mut entry.is_dirty, true)
        {
            self.dirty_routers.push(id.key().slot());
        }
    }

    /// Re-evaluates the objects of a router and applies the result. `from` is the last reported
    /// priority, if the configuration has replaced it since.
    pub(super) fn update_tracking(&mut self, now: Instant, id: RouterId, from: Option<Priority>) {
        let Some(entry) = self.routers.get_mut(id) else {
            return;
        };
        entry.track_state = self.tracker.track_state(&entry.tracking);
        let group = entry.group.and_then(|group| self.groups.get(group));
        let from = from.unwrap_or(entry.router.effective_priority());
        self.output.apply_priority(now, id, entry, group, from);
        self.start_or_stop(now, id);
    }

    /// Applies the priority that the objects of a router and of its group make of the configured
    /// one.
    pub(super) fn apply_priority(&mut self, now: Instant, id: RouterId) {
        if let Some(entry) = self.routers.get_mut(id) {
            let group = entry.group.and_then(|group| self.groups.get(group));
            let from = entry.router.effective_priority();
            self.output.apply_priority(now, id, entry, group, from);
        }
    }
}

impl Output {
    /// Applies the priority that the objects of a router and of its group make of the configured
    /// one, and records a change from `from`.
    pub(super) fn apply_priority(
        &mut self,
        now: Instant,
        id: RouterId,
        entry: &mut Entry,
        group: Option<&Group>,
        from: Priority,
    ) {
        let own = match group {
            Some(group) if !group.config.member_weights => 0,
            _ => entry.track_state.points,
        };
        let points = own.saturating_add(group.map_or(0, |group| group.track_state.points));
        let configured = entry.router.settings.priority;
        let to = TrackState {
            points,
            ..TrackState::default()
        }
        .effective_priority(configured);
        if entry.router.effective_priority() != to {
            self.step(now, id, entry, Event::EffectivePriority(to));
        }
        if from != to {
            let router = id;
            self.log
                .push(now, FleetChange::EffectivePriority { router, from, to });
        }
    }
}
