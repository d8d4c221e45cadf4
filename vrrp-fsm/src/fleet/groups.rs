//! The rules of a [`SyncGroup`](crate::fleet::SyncGroup).

use alloc::{string::String, vec::Vec};

use vrrp_proto::Version;

use super::{Entry, FleetChange, FleetError, GroupId, Output, RouterId, SyncGroup, VrrpRouter};
use crate::{Actions, Event, Instant, ShutdownCause, State, announce::Schedule, track::TrackState};

/// The users of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    Router(RouterId),
    Group(GroupId),
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) config: SyncGroup,
    /// The result of the objects that the group tracks.
    pub(super) track_state: TrackState,
    /// Whether a member is Active. Computed from the members whenever one of them has changed.
    has_active: bool,
    /// The place of a member that was not ready to take over at the last check. The next check
    /// starts there, so a large group whose timers fire one by one is not searched from the start
    /// each time.
    blocker: usize,
    /// Whether it is in `VrrpRouter::dirty_groups`.
    is_dirty: bool,
}

impl VrrpRouter {
    /// Adds a sync group. Its members join one after the other by rule G-8.
    ///
    /// # Errors
    ///
    /// If a router does not exist or is in a group, owners and other routers are mixed, the name is
    /// taken, or a tracked object does not exist.
    pub fn add_group(&mut self, now: Instant, group: SyncGroup) -> Result<GroupId, FleetError> {
        self.check_group(&group, None)?;
        let id = self.insert_group(group.name.clone())?;
        self.apply_group(now, id, group);
        Ok(id)
    }

    pub(super) fn insert_group(&mut self, name: String) -> Result<GroupId, FleetError> {
        let id = self.groups.insert(Group {
            config: SyncGroup::new(name.clone(), Vec::new()),
            track_state: TrackState::default(),
            has_active: false,
            blocker: 0,
            is_dirty: false,
        });
        let id = id.ok_or(FleetError::Full)?;
        self.group_names.insert(name, id);
        // A mass event then allocates nothing.
        let missing = self.groups.len().saturating_sub(self.dirty_groups.len());
        self.dirty_groups.reserve(missing);
        Ok(id)
    }

    /// Replaces the configuration of a sync group. Former members leave and new members join by
    /// rule G-8; the others do not change.
    ///
    /// # Errors
    ///
    /// As for [`add_group`](Self::add_group).
    pub fn reconfigure_group(
        &mut self,
        now: Instant,
        id: GroupId,
        group: SyncGroup,
    ) -> Result<(), FleetError> {
        self.group(id).ok_or(FleetError::UnknownGroup(id))?;
        self.check_group(&group, Some(id))?;
        self.apply_group(now, id, group);
        Ok(())
    }

    /// Removes a sync group. Its members leave by rule G-8: they keep their states, and those that
    /// only the group held start.
    ///
    /// # Errors
    ///
    /// If the group does not exist.
    pub fn remove_group(&mut self, now: Instant, id: GroupId) -> Result<SyncGroup, FleetError> {
        let config = self.group(id).ok_or(FleetError::UnknownGroup(id))?.clone();
        self.group_names.remove(&config.name);
        self.set_uses(User::Group(id), Vec::new());
        for member in &config.members {
            self.leave_group(now, *member);
        }
        self.start_or_stop_groups(now);
        let _removed = self.groups.remove(id);
        Ok(config)
    }

    /// Returns the configuration of a sync group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&SyncGroup> {
        self.groups.get(id).map(|group| &group.config)
    }

    /// Iterates over the sync groups in a deterministic order.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &SyncGroup)> {
        self.groups.iter().map(|(id, group)| (id, &group.config))
    }

    /// Returns the sync group of a virtual router.
    #[must_use]
    pub fn group_with(&self, router: RouterId) -> Option<GroupId> {
        self.entry(router).ok()?.group
    }

    /// Iterates over the members of a sync group that count: not those that could not run when they
    /// joined, and still cannot (G-8).
    pub fn counted_members(&self, id: GroupId) -> impl Iterator<Item = RouterId> {
        self.members(id)
            .filter(|(_, entry)| !entry.is_joining)
            .map(|(member, _)| member)
    }

    pub(super) fn group_of(&self, entry: &Entry) -> Option<&Group> {
        self.groups.get(entry.group?)
    }

    /// Whether the group of a router has other members.
    pub(super) fn has_company(&self, entry: &Entry) -> bool {
        let group = self.group_of(entry);
        group.is_some_and(|group| group.config.members.len() > 1)
    }

    pub(super) fn check_group(
        &self,
        group: &SyncGroup,
        old: Option<GroupId>,
    ) -> Result<(), FleetError> {
        let namesake = self.group_names.get(&group.name).copied();
        if namesake.is_some() && namesake != old {
            return Err(FleetError::GroupNameTaken(group.name.clone()));
        }
        let mut seen: Vec<RouterId> = Vec::new();
        let mut owners = None;
        for id in &group.members {
            let entry = self.entry(*id)?;
            if entry.group.is_some_and(|group| Some(group) != old) {
                return Err(FleetError::AlreadyMember(*id));
            }
            let is_owner = entry.router.settings.priority.is_owner();
            if *owners.get_or_insert(is_owner) != is_owner {
                return Err(FleetError::MixedOwners(*id));
            }
            seen.push(*id);
        }
        seen.sort_unstable();
        if let Some(pair) = seen.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(pair
                .first()
                .map_or(FleetError::Full, |id| FleetError::AlreadyMember(*id)));
        }
        Ok(self.tracker.check_uses(&group.tracking)?)
    }

    /// Applies a validated configuration to a group.
    fn apply_group(&mut self, now: Instant, id: GroupId, config: SyncGroup) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let old = core::mem::take(&mut group.config.members);
        let name = config.name.clone();
        let old_name = core::mem::replace(&mut group.config.name, config.name);
        self.group_names.remove(&old_name);
        self.group_names.insert(name, id);
        group.config.member_weights = config.member_weights;
        group.config.members.clone_from(&old);
        for member in old {
            if !config.members.contains(&member) {
                self.leave_group(now, member);
            }
        }
        self.set_uses(User::Group(id), config.tracking);
        self.update_group_tracking(now, id);
        // Running members first: they do not stop for a member that cannot run.
        for state in [State::Active, State::Backup, State::Initialize] {
            for member in &config.members {
                if self.get(*member).is_some_and(|it| it.state() == state) {
                    self.join_group(now, id, *member);
                }
            }
        }
        if let Some(group) = self.groups.get_mut(id) {
            group.config.members = config.members;
            group.blocker = 0;
        }
        self.start_or_stop_groups(now);
    }

    /// G-8, for a router that is in no other group.
    fn join_group(&mut self, now: Instant, id: GroupId, member: RouterId) {
        let waits = self.is_held(id) && self.members(id).any(|(_, entry)| !entry.is_joining);
        let state = self.state_of(id);
        let Some(entry) = self.routers.get_mut(member) else {
            return;
        };
        if entry.group == Some(id) {
            return;
        }
        entry.group = Some(id);
        let pulled = match state {
            State::Initialize => waits && entry.runs(),
            State::Backup | State::Active => {
                entry.is_joining = !entry.can_run();
                false
            }
        };
        if state == State::Backup {
            let actions = entry.router.yield_with_group(now);
            self.output.perform(now, member, entry, actions);
        }
        if pulled {
            let event = Event::Shutdown(ShutdownCause::Group);
            self.output.step(now, member, entry, event);
        }
        if let Some(group) = self.groups.get_mut(id) {
            group.config.members.push(member);
        }
        self.apply_priority(now, member);
        self.refresh(id);
        self.mark_dirty(id);
    }

    /// G-8: removes a router from its group. It keeps its state, or starts if only the group held
    /// it.
    pub(super) fn leave_group(&mut self, now: Instant, member: RouterId) {
        let Some(entry) = self.routers.get_mut(member) else {
            return;
        };
        let Some(id) = entry.group.take() else { return };
        entry.pending_takeover = None;
        entry.is_joining = false;
        if let Some(group) = self.groups.get_mut(id) {
            group.config.members.retain(|it| *it != member);
            group.blocker = 0;
        }
        self.refresh(id);
        self.mark_dirty(id);
        self.apply_priority(now, member);
        self.start_or_stop(now, member);
    }

    /// Returns the state of the counted members: Active if one is Active, Initialize if none runs.
    fn state_of(&self, id: GroupId) -> State {
        self.members(id)
            .filter(|(_, entry)| !entry.is_joining)
            .map(|(_, entry)| entry.router.state())
            .max()
            .unwrap_or(State::Initialize)
    }

    fn members(&self, id: GroupId) -> impl Iterator<Item = (RouterId, &Entry)> {
        let group = self.groups.get(id);
        group
            .map_or(&[][..], |group| &group.config.members)
            .iter()
            .filter_map(|id| Some((*id, self.routers.get(*id)?)))
    }

    /// Calls a function for each member in order.
    fn each_member(
        &mut self,
        id: GroupId,
        mut work: impl FnMut(&mut Output, RouterId, &mut Entry),
    ) {
        let group = self.groups.get(id);
        for member in group.map_or(&[][..], |group| &group.config.members) {
            if let Some(entry) = self.routers.get_mut(*member) {
                work(&mut self.output, *member, entry);
            }
        }
    }

    /// Calls a function of each member's router, and queues its actions.
    fn step_members(&mut self, now: Instant, id: GroupId, step: impl Fn(&mut Entry) -> Actions) {
        self.each_member(id, |output, member, entry| {
            let actions = step(entry);
            output.perform(now, member, entry, actions);
        });
        self.refresh(id);
    }

    pub(super) fn refresh(&mut self, id: GroupId) {
        let has_active = self.state_of(id) == State::Active;
        if let Some(group) = self.groups.get_mut(id) {
            group.has_active = has_active;
        }
    }

    /// Re-evaluates the objects of a group, and updates its members.
    pub(super) fn update_group_tracking(&mut self, now: Instant, id: GroupId) {
        self.recompute_group_tracking(id);
        let Some(group) = self.groups.get(id) else {
            return;
        };
        for member in &group.config.members {
            if let Some(entry) = self.routers.get_mut(*member) {
                let from = entry.router.effective_priority();
                self.output
                    .apply_priority(now, *member, entry, Some(group), from);
            }
        }
    }

    /// Re-evaluates the objects of a group.
    pub(super) fn recompute_group_tracking(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(id) {
            group.track_state = self.tracker.track_state(&group.config.tracking);
        }
        self.mark_dirty(id);
    }

    /// Marks a group as changed.
    pub(super) fn mark_dirty(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(id) {
            group.mark_dirty(id, &mut self.dirty_groups);
        }
    }

    /// Re-evaluates the changed groups.
    pub(super) fn start_or_stop_groups(&mut self, now: Instant) {
        while let Some(id) = self.dirty_groups.pop() {
            if let Some(group) = self.groups.get_mut(id) {
                group.is_dirty = false;
                self.start_or_stop_group(now, id);
            }
        }
    }

    /// G-1: whether a group must be in Initialize.
    fn is_held(&self, id: GroupId) -> bool {
        let group = self.groups.get(id);
        let track_state = group.map_or(TrackState::default(), |group| group.track_state);
        let mut members = self.members(id);
        track_state.faults != 0
            || members.any(|(_, entry)| !entry.is_joining && !entry.can_run())
            || (track_state.unreported != 0 && !self.members(id).any(|(_, entry)| entry.runs()))
    }

    /// G-1, G-2
    fn start_or_stop_group(&mut self, now: Instant, id: GroupId) {
        self.each_member(id, |_, _, entry| entry.is_joining &= !entry.can_run());
        let is_held = self.is_held(id);
        let mut members = self.members(id);
        let waits_for_others = members.any(|(_, entry)| entry.keeps_owners_waiting());
        drop(members);
        let cause = match self.groups.get(id) {
            Some(group) if group.track_state.faults != 0 => ShutdownCause::Fault,
            _ => ShutdownCause::Group,
        };
        self.each_member(id, |output, member, entry| {
            if is_held {
                let cause = entry.obstacle().unwrap_or(cause);
                output.step(now, member, entry, Event::Shutdown(cause));
            } else if let Some(address) = entry.primary_address
                && !entry.is_joining
                && !entry.runs()
            {
                let actions = entry.router.start(now, address, waits_for_others);
                output.perform(now, member, entry, actions);
            }
        });
        self.refresh(id);
        self.take_over_together(now, id);
    }

    /// G-3: takes over with all members when all are ready.
    pub(super) fn take_over_together(&mut self, now: Instant, id: GroupId) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let members = &group.config.members;
        let wants = |member: &RouterId| {
            self.routers.get(*member).is_none_or(|entry| {
                entry.is_joining
                    || entry.pending_takeover.is_some()
                    || entry.router.state() == State::Active
            })
        };
        let (asked, rest) = members.split_at(group.blocker.min(members.len()));
        let blocker = rest.iter().chain(asked).position(|member| !wants(member));
        if let Some(blocker) = blocker {
            group.blocker = (asked.len() + blocker) % members.len();
            return;
        }
        self.step_members(now, id, |entry| match entry.pending_takeover.take() {
            Some(expiry) => entry.router.take_over(now, expiry),
            None => Actions::default(),
        });
    }

    /// Handles an advertisement that a member accepted. `before` is the schedule that the member
    /// had as Active before the advertisement.
    pub(super) fn accepted_in_group(
        &mut self,
        now: Instant,
        id: GroupId,
        member: RouterId,
        version: Version,
        before: Option<Schedule>,
    ) {
        let Some(entry) = self.routers.get_mut(member) else {
            return;
        };
        match (before, entry.router.state()) {
            (Some(_), State::Backup) => self.yield_group(now, id),
            // The member announces, now or soon.
            (Some(_), State::Active) if entry.router.schedule() != before => {
                self.announce_together(now, id, member);
            }
            (None, State::Backup) if entry.router.accepts_another(version) => {
                entry.pending_takeover = None;
                if self.groups.get(id).is_some_and(|group| group.has_active) {
                    self.yield_group(now, id);
                }
            }
            _ => {}
        }
    }

    /// G-5
    pub(super) fn yield_group(&mut self, now: Instant, id: GroupId) {
        self.step_members(now, id, |entry| entry.router.yield_with_group(now));
    }

    /// G-6
    fn announce_together(&mut self, now: Instant, id: GroupId, receiver: RouterId) {
        self.each_member(id, |output, member, entry| {
            if member != receiver {
                let actions = entry.router.announce_with_group(now);
                output.perform(now, member, entry, actions);
            }
        });
    }
}

impl Group {
    /// Adds the group to the list of changed groups, once.
    pub(super) fn mark_dirty(&mut self, id: GroupId, dirty_groups: &mut Vec<GroupId>) {
        if !core::mem::replace(&mut self.is_dirty, true) {
            dirty_groups.push(id);
        }
    }
}

impl Output {
    /// G-3: the timer of a Backup has fired.
    pub(super) fn want_active(
        &mut self,
        now: Instant,
        id: RouterId,
        entry: &mut Entry,
        group: GroupId,
    ) {
        let expiry = entry.router.want_active(now);
        let is_new = expiry.is_some() && entry.pending_takeover.is_none();
        if expiry.is_some() {
            entry.pending_takeover = expiry;
        }
        self.schedule(id, entry);
        if is_new {
            self.log.push(now, FleetChange::WantsActive(id, group));
        }
    }
}
