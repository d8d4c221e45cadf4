//! Sync groups: routers that change their state together.

use vrrp_fsm::{
    State,
    fleet::{GroupId, RouterId, SyncGroup},
};

use super::{Driver, DriverEvent};
use crate::Error;

impl Driver {
    /// Makes a sync group of routers, of any interface and family: they are Active, Backup or in
    /// Initialize together. `docs/sync-groups.md` has the rules. A fault of a member
    /// ([`Fault`](super::Fault)) keeps all of them down.
    ///
    /// ```no_run
    /// use vrrp_fsm::fleet::SyncGroup;
    /// # use vrrp_net::{Driver, Error, RouterConfig};
    /// # fn example(
    /// #     driver: &mut Driver, inside: RouterConfig, outside: RouterConfig,
    /// # ) -> Result<(), Error> {
    /// let members = vec![driver.add(inside)?, driver.add(outside)?];
    /// let gateway = driver.add_group(SyncGroup::new("gateway", members))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Fleet`] for a group that
    /// [`VrrpRouter::add_group`](vrrp_fsm::fleet::VrrpRouter::add_group) refuses.
    pub fn add_group(&mut self, group: SyncGroup) -> Result<GroupId, Error> {
        let now = self.now();
        let id = self.fleet.add_group(now, group)?;
        self.collect(now);
        self.notify_group(id);
        Ok(id)
    }

    /// Replaces the configuration of a sync group: its members, its objects, its name. Members that
    /// stay are not touched.
    ///
    /// # Errors
    ///
    /// As for [`add_group`](Self::add_group). Nothing has changed then.
    pub fn reconfigure_group(&mut self, id: GroupId, group: SyncGroup) -> Result<(), Error> {
        let now = self.now();
        self.fleet.reconfigure_group(now, id, group)?;
        self.collect(now);
        self.notify_group(id);
        Ok(())
    }

    /// Dissolves a sync group. Its members keep their states and go on alone.
    ///
    /// # Errors
    ///
    /// [`Error::Fleet`] when there is no such group.
    pub fn remove_group(&mut self, id: GroupId) -> Result<SyncGroup, Error> {
        let now = self.now();
        let group = self.fleet.remove_group(now, id)?;
        self.collect(now);
        self.events.forget_group(id);
        Ok(group)
    }

    /// The configuration of a sync group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&SyncGroup> {
        self.fleet.group(id)
    }

    /// All sync groups, in a deterministic order.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &SyncGroup)> {
        self.fleet.groups()
    }

    /// The sync group of a router.
    #[must_use]
    pub fn group_with(&self, router: RouterId) -> Option<GroupId> {
        self.fleet.group_with(router)
    }

    /// Notifies a new state of a group, once that state was notified of every member.
    pub(super) fn notify_group(&mut self, id: GroupId) {
        let Some(state) = self.notified_state(id) else {
            return;
        };
        let from = self.events.record_group_state(id, state);
        if from != Some(state) {
            let group = id;
            self.notify(None, DriverEvent::GroupChanged { group, from, state });
        }
    }

    /// The state that was notified last of each member.
    pub(super) fn notified_state(&self, id: GroupId) -> Option<State> {
        let mut members = self.fleet.counted_members(id);
        let reported = |id| {
            let router = self.routers.get(&id);
            router.map_or(State::Initialize, |it| it.reported)
        };
        let state = reported(members.next()?);
        members.all(|it| reported(it) == state).then_some(state)
    }
}
