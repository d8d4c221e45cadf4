//! The receiver of the driver's notifications: logs them, and passes changes of state to the
//! commands.

use std::collections::{BTreeMap, BTreeSet};

use vrrp_fsm::{State, fleet::GroupId};
use vrrp_net::{DriverEvent, Notification, RouterId};

use crate::{
    log::Log,
    notify::{Change, Commands},
};

pub(crate) struct Listener {
    log: Log,
    /// The commands of each virtual router.
    routers: BTreeMap<RouterId, Option<Commands>>,
    /// The commands of each sync group.
    sync_groups: BTreeMap<GroupId, Option<Commands>>,
}

impl Listener {
    pub(crate) const fn new(log: Log) -> Self {
        Self {
            log,
            routers: BTreeMap::new(),
            sync_groups: BTreeMap::new(),
        }
    }

    pub(crate) fn add_router(&mut self, id: RouterId, commands: Option<Commands>) {
        self.routers.insert(id, commands);
    }

    pub(crate) fn add_sync_group(&mut self, id: GroupId, commands: Option<Commands>) {
        self.sync_groups.insert(id, commands);
    }

    pub(crate) fn routers(&self) -> BTreeSet<RouterId> {
        self.routers.keys().copied().collect()
    }

    pub(crate) fn sync_groups(&self) -> BTreeSet<GroupId> {
        self.sync_groups.keys().copied().collect()
    }

    /// The commands of all virtual routers and sync groups.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Commands> {
        let all = self.routers.values().chain(self.sync_groups.values());
        all.flatten()
    }

    pub(crate) fn handle(&mut self, notification: &Notification) {
        self.log.write_notification(notification);
        let Notification { sequence, time, .. } = *notification;
        let commands = match &notification.event {
            DriverEvent::GroupChanged { group, .. } => self.sync_groups.get(group),
            _ => notification.router.and_then(|id| self.routers.get(&id)),
        };
        let (from, to, reason) = match &notification.event {
            DriverEvent::StateChanged(change) => {
                (change.from, change.to, Some(change.reason.to_string()))
            }
            // A sync group reports the state that it begins with.
            DriverEvent::GroupChanged { from, state, .. } => {
                (from.unwrap_or(State::Initialize), *state, None)
            }
            _ => return,
        };
        if let Some(Some(commands)) = commands
            && from != to
        {
            commands.push(Change {
                from,
                to,
                reason,
                sequence,
                time,
            });
        }
    }
}
