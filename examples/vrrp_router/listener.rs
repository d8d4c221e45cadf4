//! What is done with that which the driver tells: it is written, and changes of state are given to the commands.

use std::collections::{BTreeMap, BTreeSet};

use vrrp_fsm::{State, fleet::GroupId, track::ObjectId};
use vrrp_net::{DriverEvent, Notification, RouterId};

use crate::{
    events,
    log::{Log, Subject},
    notify::{Change, Commands},
};

pub(crate) struct Listener {
    log: Log,
    routers: BTreeMap<RouterId, Party>,
    sync_groups: BTreeMap<GroupId, Party>,
    objects: BTreeMap<ObjectId, Subject>,
}

/// A virtual router or a sync group.
struct Party {
    subject: Subject,
    commands: Option<Commands>,
}

impl Listener {
    pub(crate) const fn new(log: Log) -> Self {
        Self {
            log,
            routers: BTreeMap::new(),
            sync_groups: BTreeMap::new(),
            objects: BTreeMap::new(),
        }
    }

    pub(crate) fn add_router(
        &mut self,
        id: RouterId,
        subject: Subject,
        commands: Option<Commands>,
    ) {
        self.routers.insert(id, Party { subject, commands });
    }

    pub(crate) fn add_sync_group(
        &mut self,
        id: GroupId,
        subject: Subject,
        commands: Option<Commands>,
    ) {
        self.sync_groups.insert(id, Party { subject, commands });
    }

    pub(crate) fn add_object(&mut self, id: ObjectId, subject: Subject) {
        self.objects.insert(id, subject);
    }

    pub(crate) fn routers(&self) -> BTreeSet<RouterId> {
        self.routers.keys().copied().collect()
    }

    pub(crate) fn sync_groups(&self) -> BTreeSet<GroupId> {
        self.sync_groups.keys().copied().collect()
    }

    /// The commands of all virtual routers and sync groups.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Commands> {
        let parties = self.routers.values().chain(self.sync_groups.values());
        parties.filter_map(|party| party.commands.as_ref())
    }

    pub(crate) fn hear(&mut self, notification: &Notification) {
        let Notification { sequence, time, .. } = *notification;
        let (name, mut detail) = events::describe(&notification.event);
        detail["sequence"] = sequence.into();

        let party = match &notification.event {
            DriverEvent::ObjectChanged { object, .. } => {
                self.log
                    .tell_of(time, self.objects.get(object), name, detail);
                return;
            }
            DriverEvent::GroupChanged { group, .. } => self.sync_groups.get(group),
            _ => notification.router.and_then(|id| self.routers.get(&id)),
        };
        self.log.tell_of(
            time,
            party.as_ref().map(|party| &party.subject),
            name,
            detail,
        );

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
        if let Some(commands) = party.and_then(|party| party.commands.as_ref())
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
