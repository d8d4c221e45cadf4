//! A generational arena with typed keys.

use slab::Slab;

/// The slot of a value in an [`Arena`], and its number among all values that were ever inserted.
///
/// The number wraps after 2^32 values: a stale key may then find another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Key {
    slot: u32,
    serial: u32,
}

impl Key {
    /// Returns the key of a value that was inserted into a new arena after this many others.
    pub(crate) const fn nth(place: u32) -> Self {
        Self {
            slot: place,
            serial: place,
        }
    }

    /// Returns the slot. It is unique among the present values, and reused.
    pub(crate) const fn slot(self) -> u32 {
        self.slot
    }

    /// The number.
    pub(crate) const fn serial(self) -> u32 {
        self.serial
    }

    /// Returns the key of a value in an arena into which the values of a sorted list were inserted
    /// in order. If the list does not contain it, returns a key without a value.
    pub(crate) fn placed<K: TypedKey>(keys: &[K], key: K) -> K {
        let place = keys.binary_search_by_key(&key.key(), |other| other.key());
        let place = place.ok().and_then(|place| u32::try_from(place).ok());
        K::new(Self::nth(place.unwrap_or(u32::MAX)))
    }
}

/// The key of one kind of value.
pub(crate) trait TypedKey: Copy {
    fn new(key: Key) -> Self;
    fn key(self) -> Key;
}

/// Values of one kind. A key finds its value until the value is removed.
#[derive(Clone, Debug)]
pub(crate) struct Arena<K, T> {
    slots: Slab<(K, T)>,
    next_serial: u32,
}

impl<K, T> Default for Arena<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T> Arena<K, T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Slab::new(),
            next_serial: 0,
        }
    }

    /// Allocates room for exactly this many values.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            slots: Slab::with_capacity(capacity),
            next_serial: 0,
        }
    }

    /// Reserves room for exactly this many more values.
    pub(crate) fn reserve_exact(&mut self, additional: usize) {
        self.slots.reserve_exact(additional);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

impl<K: TypedKey, T> Arena<K, T> {
    /// Inserts a value. Returns `None` if there are 2^32 values.
    pub(crate) fn insert(&mut self, value: T) -> Option<K> {
        let vacant = self.slots.vacant_entry();
        let key = K::new(Key {
            slot: u32::try_from(vacant.key()).ok()?,
            serial: self.next_serial,
        });
        self.next_serial = self.next_serial.wrapping_add(1);
        vacant.insert((key, value));
        Some(key)
    }

    /// Removes a value.
    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        self.get(key)?;
        let (_, value) = self.slots.try_remove(key.key().slot as usize)?;
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let (found, value) = self.at(key.key().slot)?;
        (found.key() == key.key()).then_some(value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let (found, value) = self.at_mut(key.key().slot)?;
        (found.key() == key.key()).then_some(value)
    }

    /// Returns the value in a slot with its key.
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> Option<(K, &T)> {
        let (key, value) = self.slots.get(slot as usize)?;
        Some((*key, value))
    }

    /// Returns the value in a slot with its key.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<(K, &mut T)> {
        let (key, value) = self.slots.get_mut(slot as usize)?;
        Some((*key, value))
    }

    /// Iterates over the values with their keys, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().map(|(_, (key, value))| (*key, value))
    }

    /// Iterates over the values with their keys, in the order of their slots.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.slots.iter_mut().map(|(_, (key, value))| (*key, value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use alloc::{collections::BTreeMap, vec::Vec};

    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    impl TypedKey for Key {
        fn new(key: Key) -> Self {
            key
        }

        fn key(self) -> Key {
            self
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        /// One of all keys returned so far.
        Remove(Index),
        Change(Index, u8),
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Insert),
            any::<Index>().prop_map(Step::Remove),
            (any::<Index>(), any::<u8>()).prop_map(|(which, value)| Step::Change(which, value)),
        ]
    }

    proptest! {
        #[test]
        fn a_key_finds_its_value_until_that_is_removed(steps in vec(steps(), 0..200)) {
            let mut arena: Arena<Key, u8> = Arena::new();
            let mut model: BTreeMap<Key, u8> = BTreeMap::new();
            let mut given: Vec<Key> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(value) => {
                        let key = arena.insert(value).unwrap();
                        prop_assert!(!given.contains(&key));
                        prop_assert!(model.keys().all(|other| other.slot() != key.slot()));
                        given.push(key);
                        model.insert(key, value);
                    }
                    _ if given.is_empty() => {}
                    Step::Remove(which) => {
                        let key = *which.get(&given);
                        prop_assert_eq!(arena.remove(key), model.remove(&key));
                    }
                    Step::Change(which, value) => {
                        let key = *which.get(&given);
                        let (own, of_model) = (arena.get_mut(key), model.get_mut(&key));
                        prop_assert_eq!(&own, &of_model);
                        if let (Some(own), Some(of_model)) = (own, of_model) {
                            *own = value;
                            *of_model = value;
                        }
                    }
                }
                for key in &given {
                    prop_assert_eq!(arena.get(*key), model.get(key));
                }
                // The slot is the more significant part of a key, so both are in the order of the
                // slots.
                prop_assert!(arena.iter().eq(model.iter().map(|(key, value)| (*key, value))));
                prop_assert!(arena.iter_mut().map(|(key, _)| key).eq(model.keys().copied()));
                prop_assert_eq!(arena.len(), model.len());
                for (key, value) in &model {
                    prop_assert_eq!(arena.at(key.slot()), Some((*key, value)));
                }
            }
        }

        #[test]
        fn values_of_a_new_arena_have_the_keys_of_their_places(places in 0_u32..50) {
            let mut arena: Arena<Key, u32> = Arena::new();
            for place in 0..places {
                prop_assert_eq!(arena.insert(place), Some(Key::nth(place)));
            }
        }
    }
}
