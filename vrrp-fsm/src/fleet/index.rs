//! From a packet to its router.

use hashbrown::HashTable;

use super::Key;

/// The slots of routers by their keys.
///
/// The hash is the same in every run. Keys come from the configuration, not from packets, so that nobody outside can make them collide.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(HashTable<u32>);

impl Index {
    pub(super) fn reserve(&mut self, routers: usize, key_of: impl Fn(u32) -> Option<Key>) {
        self.0.reserve(routers, |slot| hash_of(key_of(*slot)));
    }

    /// `key_of` says the key of the router in a slot.
    #[inline]
    pub(super) fn find(&self, key: Key, key_of: impl Fn(u32) -> Option<Key>) -> Option<u32> {
        self.0
            .find(hash(key), |slot| key_of(*slot) == Some(key))
            .copied()
    }

    /// The key must not be there yet.
    pub(super) fn insert(&mut self, key: Key, slot: u32, key_of: impl Fn(u32) -> Option<Key>) {
        self.0
            .insert_unique(hash(key), slot, |slot| hash_of(key_of(*slot)));
    }

    pub(super) fn remove(&mut self, key: Key, slot: u32) {
        if let Ok(entry) = self.0.find_entry(hash(key), |found| *found == slot) {
            let _removed = entry.remove();
        }
    }
}

fn hash_of(key: Option<Key>) -> u64 {
    key.map_or(0, hash)
}

/// The table takes its position from the low bits and a mark from the high ones, so that both have to depend on the whole key.
#[inline]
fn hash(key: Key) -> u64 {
    let family = u64::from(key.family == vrrp_proto::Family::Ipv6);
    let packed = u64::from(key.interface) << 9 | family << 8 | u64::from(key.vrid.get());
    let mixed = packed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}
