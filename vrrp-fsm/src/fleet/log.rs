//! The record of changes.

use alloc::collections::VecDeque;
use core::fmt;

use vrrp_proto::Priority;

use super::{GroupId, RouterId};
use crate::{
    Instant, Transition,
    track::{Level, ObjectId},
};

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FleetChange {
    /// A virtual router was added, in Initialize.
    Added(RouterId),
    /// A virtual router was removed; its last actions may still wait.
    Removed(RouterId),
    /// A virtual router has changed its state.
    State(RouterId, Transition),
    /// The effective priority of a virtual router has changed.
    EffectivePriority {
        /// The router.
        router: RouterId,
        /// Before.
        from: Priority,
        /// Now.
        to: Priority,
    },
    /// A member of a sync group is ready to take over, and waits for the others.
    WantsActive(RouterId, GroupId),
    /// The level or the weight of a tracked object has changed.
    Object(ObjectId, Option<Level>),
}

/// A [`FleetChange`] with its number, without gaps from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: u64,
    /// Its time.
    pub at: Instant,
    /// The change.
    pub change: FleetChange,
}

/// Records were dropped before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The number of the first dropped record.
    pub first: u64,
    /// The number of dropped records.
    pub count: u64,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, count } = self;
        write!(
            f,
            "{count} records were dropped before they were read, from number {first}"
        )
    }
}

impl core::error::Error for Lost {}

/// The position of a reader. Readers are independent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    next: u64,
}

impl Reader {
    /// Starts at this number; 0 is the first record.
    #[must_use]
    pub const fn from(sequence: u64) -> Self {
        Self { next: sequence }
    }
}

/// The last records.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// At most `capacity` records.
    records: VecDeque<Record>,
    capacity: usize,
    pub(super) next: u64,
}

impl Log {
    /// The first record has the number `next`.
    pub(super) fn new(capacity: usize, next: u64) -> Self {
        Self {
            records: VecDeque::with_capacity(capacity),
            capacity,
            next,
        }
    }

    /// The same with an untrusted capacity. Returns `None` if the allocation fails.
    pub(super) fn try_new(capacity: usize, next: u64) -> Option<Self> {
        let mut log = Self::new(0, next);
        log.records.try_reserve_exact(capacity).ok()?;
        log.capacity = capacity;
        Some(log)
    }

    /// Raises the capacity to this many records.
    pub(super) fn grow(&mut self, capacity: usize) {
        if capacity > self.capacity {
            self.capacity = capacity;
            self.records
                .reserve_exact(capacity.saturating_sub(self.records.len()));
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn push(&mut self, at: Instant, change: FleetChange) {
        let sequence = self.next;
        self.next += 1;
        if self.records.len() >= self.capacity {
            self.records.pop_front();
        }
        if self.capacity != 0 {
            self.records.push_back(Record {
                sequence,
                at,
                change,
            });
        }
    }

    /// Whether records were added since the last one that a reader has read.
    #[inline]
    pub(super) const fn has_unread(&self, reader: Reader) -> bool {
        reader.next < self.next
    }

    /// Drops the records that a reader has read. If it has read all, the next records reuse the
    /// memory of the first.
    pub(super) fn drop_read(&mut self, reader: Reader) {
        if reader.next >= self.next {
            self.records.clear();
            return;
        }
        let first = self.records.front().map_or(self.next, |it| it.sequence);
        let read = usize::try_from(reader.next.saturating_sub(first)).unwrap_or(usize::MAX);
        self.records.drain(..read.min(self.records.len()));
    }

    pub(super) fn read(&self, reader: &mut Reader) -> Option<Result<Record, Lost>> {
        let first = self.records.front().map_or(self.next, |it| it.sequence);
        if reader.next < first {
            let lost = Lost {
                first: reader.next,
                count: first - reader.next,
            };
            reader.next = first;
            return Some(Err(lost));
        }
        let place = usize::try_from(reader.next - first).ok()?;
        let record = self.records.get(place)?;
        reader.next += 1;
        Some(Ok(*record))
    }
}
