//! A fleet as a plain value, for a hand-over to another process.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{FleetError, Log, Member, PacketErrors, RouterId, SyncGroup, VrrpRouter, groups::User};
use crate::{
    Expiry, Instant, Snapshot, VirtualRouter,
    arena::Key,
    track::{ObjectId, ObjectSnapshot, TrackRef, Tracker},
};

/// The run-time state of a [`VrrpRouter`] with all configurations. It does not include the waiting
/// actions, the records, and the value of [`set_patience`](VrrpRouter::set_patience).
///
/// It is opaque: only [`VrrpRouter::snapshot`] makes one. With the feature `serde` it can be stored
/// for a process of the same version of this crate.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FleetSnapshot {
    /// The virtual routers.
    #[doc(hidden)]
    pub members: Vec<MemberSnapshot>,
    /// The sync groups. Their members are [`RouterId::nth`], their objects [`ObjectId::nth`] of the
    /// places in these lists.
    #[doc(hidden)]
    pub groups: Vec<SyncGroup>,
    /// The tracked objects.
    #[doc(hidden)]
    pub objects: Vec<ObjectSnapshot>,
    /// [`VrrpRouter::packet_errors`].
    #[doc(hidden)]
    pub packet_errors: PacketErrors,
    /// The number of records that are kept.
    #[doc(hidden)]
    pub records: usize,
    /// The number of the next record.
    #[doc(hidden)]
    pub next_record: u64,
}

impl FleetSnapshot {
    /// Returns the number of virtual routers. In the restored fleet they have the ids
    /// [`RouterId::nth`].
    #[must_use]
    pub fn router_count(&self) -> usize {
        self.members.len()
    }

    /// Returns the number of tracked objects. In the restored fleet they have the ids
    /// [`ObjectId::nth`].
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// Returns the number of the next record, for [`Reader::from`](super::Reader::from).
    #[must_use]
    pub const fn next_record(&self) -> u64 {
        self.next_record
    }
}

/// A virtual router in a [`FleetSnapshot`].
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MemberSnapshot {
    /// The configuration, with objects as [`ObjectId::nth`].
    pub member: Member,
    /// The machine.
    pub router: Snapshot,
    /// The meaning of its expired timer, while it is ready to take over and waits for its group.
    pub pending_takeover: Option<Expiry>,
    /// Whether it joined a running sync group and has not been able to run since.
    pub is_joining: bool,
    /// Whether it was started.
    pub is_enabled: bool,
    /// Its primary address, where it has one.
    pub primary_address: Option<IpAddr>,
}

impl VrrpRouter {
    /// Returns the run-time state with all configurations, for [`restore`](Self::restore). The host
    /// first polls and performs all actions of [`poll_action`](Self::poll_action), which are not
    /// included.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> FleetSnapshot {
        let objects: Vec<ObjectId> = self.tracker.iter().map(|(id, _)| id).collect();
        let routers: Vec<RouterId> = self.iter().map(|(id, _)| id).collect();
        let number = |uses: &mut Vec<TrackRef>| {
            for one in uses {
                one.object = Key::placed(&objects, one.object);
            }
        };
        let members = self.routers.iter().filter(|(_, entry)| !entry.is_leaving);
        let members = members.map(|(_, entry)| {
            let mut member = entry.member();
            number(&mut member.tracking);
            MemberSnapshot {
                member,
                router: entry.router.snapshot(now),
                pending_takeover: entry.pending_takeover,
                is_joining: entry.is_joining,
                is_enabled: entry.is_enabled,
                primary_address: entry.primary_address,
            }
        });
        let groups = self.groups().map(|(_, group)| {
            let mut group = group.clone();
            number(&mut group.tracking);
            for member in &mut group.members {
                *member = Key::placed(&routers, *member);
            }
            group
        });
        FleetSnapshot {
            members: members.collect(),
            groups: groups.collect(),
            objects: self.tracker.snapshot(now),
            packet_errors: self.errors,
            records: self.output.log.capacity(),
            next_record: self.output.log.next,
        }
    }

    /// Restores a fleet from a snapshot at `now`. It continues as the old one would have; nothing
    /// is sent, installed or announced. Records continue with the next number.
    ///
    /// Routers, groups and objects have new ids: [`find`](Self::find) returns them by key,
    /// [`groups`](Self::groups) and [`Tracker::find`] by name.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add), [`startup`](Self::startup), [`add_object`](Self::add_object) and
    /// [`add_group`](Self::add_group), for an invalid snapshot.
    pub fn restore(snapshot: &FleetSnapshot, now: Instant) -> Result<Self, FleetError> {
        let (records, next) = (snapshot.records, snapshot.next_record);
        if i64::try_from(next).is_err() {
            return Err(FleetError::NextRecord { next });
        }
        let mut fleet = Self::with_capacity(snapshot.members.len(), 0);
        fleet.output.log = Log::try_new(records, next).ok_or(FleetError::Records { records })?;
        fleet.tracker = Tracker::restore(&snapshot.objects, now)?;
        fleet.errors = snapshot.packet_errors;
        for saved in &snapshot.members {
            let router = VirtualRouter::restore(saved.member.config, saved.router, now)?;
            let id = fleet.insert(router, saved.member.clone())?;
            let track_state = fleet.tracker.track_state(&saved.member.tracking);
            let entry = fleet.entry_mut(id)?;
            if let Some(address) = saved.primary_address {
                entry.check_primary_address(address)?;
            }
            entry.track_state = track_state;
            entry.pending_takeover = saved.pending_takeover;
            entry.is_joining = saved.is_joining;
            entry.is_enabled = saved.is_enabled;
            entry.primary_address = saved.primary_address;
            if let Some(entry) = fleet.routers.get(id) {
                fleet.output.schedule(id, entry);
            }
        }
        for saved in &snapshot.groups {
            fleet.restore_group(saved)?;
        }
        Ok(fleet)
    }

    fn restore_group(&mut self, saved: &SyncGroup) -> Result<(), FleetError> {
        self.check_group(saved, None)?;
        let id = self.insert_group(saved.name.clone())?;
        for member in &saved.members {
            self.entry_mut(*member)?.group = Some(id);
        }
        if let Some(group) = self.groups.get_mut(id) {
            group.config = SyncGroup {
                tracking: Vec::new(),
                ..saved.clone()
            };
            group.track_state = self.tracker.track_state(&saved.tracking);
        }
        self.set_uses(User::Group(id), saved.tracking.clone());
        self.refresh(id);
        Ok(())
    }
}
