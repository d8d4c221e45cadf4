//! The index of virtual routers by key.

use alloc::{boxed::Box, vec};

use hashbrown::{HashTable, hash_table};
use vrrp_proto::Family;

use super::RouterKey;

/// Marks a VRID without a router.
const NOWHERE: u32 = u32::MAX;

/// The slots of routers by key: a hash table of rows, one for each interface and family, indexed by
/// VRID.
///
/// A plain hash table of slots would be simpler, but it must compare the key in the router: with
/// 10,000 routers this is a cache miss before the packet can be handled. A row contains everything
/// that a lookup needs. In the bench `fleet`, on a quiet machine, a whole step with rows took 5 to
/// 14 % less time than with such a table where an interface had 250 routers, and 17 % more where it
/// had one. Large fleets have many routers on an interface, and rows take half of the memory there.
///
/// The hash is the same in every run: interfaces come from the configuration, not from packets, so
/// packets cannot make them collide.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(HashTable<Row>);

#[derive(Clone, Debug)]
struct Row {
    interface: u32,
    family: Family,
    /// The VRID of the first slot.
    lowest: u8,
    slots: Slots,
}

/// The slots from the lowest VRID to the highest. A single router, the usual case, needs no
/// allocation.
#[derive(Clone, Debug)]
enum Slots {
    One(u32),
    Many(Box<[u32]>),
}

impl Slots {
    #[inline]
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(slot) => core::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u32] {
        match self {
            Self::One(slot) => core::slice::from_mut(slot),
            Self::Many(slots) => slots,
        }
    }
}

impl Row {
    #[inline]
    fn is_for(&self, key: RouterKey) -> bool {
        self.interface == key.interface && self.family == key.family
    }

    fn hash(&self) -> u64 {
        hash(self.interface, self.family)
    }

    /// Returns the slot of a VRID, if the row contains it.
    fn slot_mut(&mut self, vrid: u8) -> Option<&mut u32> {
        let place = vrid.checked_sub(self.lowest)?;
        self.slots.as_mut_slice().get_mut(usize::from(place))
    }

    /// Widens the row to a VRID.
    fn widen(&mut self, vrid: u8) {
        let old = self.slots.as_slice();
        let lowest = self.lowest.min(vrid);
        let before = usize::from(self.lowest - lowest);
        let length = (before + old.len()).max(usize::from(vrid - lowest) + 1);
        let mut slots = vec![NOWHERE; length];
        for (slot, old) in slots.iter_mut().skip(before).zip(old) {
            *slot = *old;
        }
        self.lowest = lowest;
        self.slots = Slots::Many(slots.into());
    }
}

impl Index {
    #[inline]
    pub(super) fn find(&self, key: RouterKey) -> Option<u32> {
        let hash = hash(key.interface, key.family);
        let row = self.0.find(hash, |row| row.is_for(key))?;
        let place = key.vrid.get().wrapping_sub(row.lowest);
        let slot = *row.slots.as_slice().get(usize::from(place))?;
        (slot != NOWHERE).then_some(slot)
    }

    /// Inserts a key, which must not be present.
    pub(super) fn insert(&mut self, key: RouterKey, slot: u32) {
        let RouterKey {
            interface,
            family,
            vrid,
        } = key;
        let hash = hash(interface, family);
        match self.0.entry(hash, |row| row.is_for(key), Row::hash) {
            hash_table::Entry::Occupied(mut row) => {
                let row = row.get_mut();
                if row.slot_mut(vrid.get()).is_none() {
                    row.widen(vrid.get());
                }
                if let Some(place) = row.slot_mut(vrid.get()) {
                    *place = slot;
                }
            }
            hash_table::Entry::Vacant(row) => {
                row.insert(Row {
                    interface,
                    family,
                    lowest: vrid.get(),
                    slots: Slots::One(slot),
                });
            }
        }
    }

    pub(super) fn remove(&mut self, key: RouterKey) {
        let hash = hash(key.interface, key.family);
        let Ok(mut row) = self.0.find_entry(hash, |row| row.is_for(key)) else {
            return;
        };
        if let Some(place) = row.get_mut().slot_mut(key.vrid.get()) {
            *place = NOWHERE;
        }
        if row
            .get()
            .slots
            .as_slice()
            .iter()
            .all(|slot| *slot == NOWHERE)
        {
            let _empty = row.remove();
        }
    }
}

/// The table uses the low bits for the position and the high bits for a tag, so both must depend on
/// both fields.
#[inline]
fn hash(interface: u32, family: Family) -> u64 {
    let packed = u64::from(interface) << 1 | u64::from(family == Family::Ipv6);
    let mixed = packed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interface numbers that differ only in their low bits, or only in higher bits.
    #[test]
    fn rows_are_spread_over_the_table_and_over_the_marks() {
        for shift in [0, 7, 16] {
            let (mut places, mut marks) = (0_u128, 0_u128);
            for interface in 0..64 {
                for family in [Family::Ipv4, Family::Ipv6] {
                    let hash = hash(interface << shift, family);
                    places |= 1 << (hash % 128);
                    marks |= 1 << (hash >> 57);
                }
            }
            // Random values would give 81 of 128.
            let (places, marks) = (places.count_ones(), marks.count_ones());
            assert!(places.min(marks) >= 64, "{shift}: {places} {marks}");
        }
    }
}
