//! Ways to find the router of a packet.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use crate::{Repeat, deadlines::shuffled, repeat};

/// Interface and family in one number, and VRID.
pub type Key = (u32, u8);

/// A stand-in for a virtual router in look-ups: as long as one of the fleet, with its key in the
/// middle.
#[derive(Debug)]
#[repr(C)]
struct Router {
    before: [u64; 32],
    key: Key,
    after: [u64; 21],
}

/// A way to find them. All ways get the keys in the same order.
pub trait Index {
    /// Creates an index of these keys, in this order.
    fn new(keys: &[Key]) -> Self;
    /// Returns the number of a key. `key_of` returns the key of a number.
    fn find(&self, key: Key, key_of: impl Fn(u32) -> Option<Key>) -> Option<u32>;
}

/// A hash table of numbers.
#[derive(Debug)]
pub struct Numbers(HashTable<u32>);

/// A hash table of keys and numbers.
#[derive(Debug)]
pub struct Keys(HashTable<(Key, u32)>);

/// A hash table of interfaces, each with a row of numbers by VRID, as in the fleet.
#[derive(Debug)]
pub struct Rows(HashTable<(u32, u8, Row)>);

#[derive(Debug)]
enum Row {
    One(u32),
    Many(Box<[u32]>),
}

/// A balanced tree.
#[derive(Debug)]
pub struct Tree(BTreeMap<Key, u32>);

/// A sorted list.
#[derive(Debug)]
pub struct List(Vec<(Key, u32)>);

fn numbered(keys: &[Key]) -> impl Iterator<Item = (Key, u32)> {
    keys.iter().copied().zip(0..)
}

fn hash((interface, vrid): Key) -> u64 {
    mixed(u64::from(interface) << 8 | u64::from(vrid))
}

fn mixed(packed: u64) -> u64 {
    let mixed = packed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

impl Index for Numbers {
    fn new(keys: &[Key]) -> Self {
        let mut table = HashTable::with_capacity(keys.len());
        for (key, number) in numbered(keys) {
            table.insert_unique(hash(key), number, |number| hash(keys[*number as usize]));
        }
        Self(table)
    }

    fn find(&self, key: Key, key_of: impl Fn(u32) -> Option<Key>) -> Option<u32> {
        self.0
            .find(hash(key), |number| key_of(*number) == Some(key))
            .copied()
    }
}

impl Index for Keys {
    fn new(keys: &[Key]) -> Self {
        let mut table = HashTable::with_capacity(keys.len());
        for (key, number) in numbered(keys) {
            table.insert_unique(hash(key), (key, number), |(key, _)| hash(*key));
        }
        Self(table)
    }

    fn find(&self, key: Key, _key_of: impl Fn(u32) -> Option<Key>) -> Option<u32> {
        let found = self.0.find(hash(key), |(other, _)| *other == key);
        found.map(|(_, number)| *number)
    }
}

impl Index for Rows {
    fn new(keys: &[Key]) -> Self {
        let mut rows: BTreeMap<u32, Vec<(u8, u32)>> = BTreeMap::new();
        for ((interface, vrid), number) in numbered(keys) {
            rows.entry(interface).or_default().push((vrid, number));
        }
        let mut table = HashTable::new();
        for (interface, mut row) in rows {
            row.sort_unstable();
            let (lowest, highest) = (row[0].0, row[row.len() - 1].0);
            let row = if let [(_, number)] = row[..] {
                Row::One(number)
            } else {
                let mut numbers = vec![u32::MAX; usize::from(highest - lowest) + 1];
                for (vrid, number) in row {
                    numbers[usize::from(vrid - lowest)] = number;
                }
                Row::Many(numbers.into())
            };
            table.insert_unique(mixed(interface.into()), (interface, lowest, row), |row| {
                mixed(row.0.into())
            });
        }
        Self(table)
    }

    fn find(&self, (interface, vrid): Key, _key_of: impl Fn(u32) -> Option<Key>) -> Option<u32> {
        let found = self
            .0
            .find(mixed(interface.into()), |row| row.0 == interface);
        let (_, lowest, row) = found?;
        let numbers = match row {
            Row::One(number) => std::slice::from_ref(number),
            Row::Many(numbers) => numbers,
        };
        let number = *numbers.get(usize::from(vrid.wrapping_sub(*lowest)))?;
        (number != u32::MAX).then_some(number)
    }
}

impl Index for Tree {
    fn new(keys: &[Key]) -> Self {
        Self(numbered(keys).collect())
    }

    fn find(&self, key: Key, _key_of: impl Fn(u32) -> Option<Key>) -> Option<u32> {
        self.0.get(&key).copied()
    }
}

impl Index for List {
    fn new(keys: &[Key]) -> Self {
        let mut list: Vec<_> = numbered(keys).collect();
        list.sort_unstable();
        list.shrink_to_fit();
        Self(list)
    }

    fn find(&self, key: Key, _key_of: impl Fn(u32) -> Option<Key>) -> Option<u32> {
        let place = self.0.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.0.get(place).map(|(_, number)| *number)
    }
}

/// The keys of `n` virtual routers, `per_interface` of them on each interface, with interfaces
/// numbered as by a kernel.
#[must_use]
pub fn keys(n: u32, per_interface: u32) -> Vec<Key> {
    (0..n)
        .map(|number| {
            let vrid = u8::try_from(number % per_interface + 1).unwrap_or(u8::MAX);
            ((number / per_interface + 2) << 1, vrid)
        })
        .collect()
}

/// Finds the routers one after the other, in an order that looks random, and looks into each. The
/// next search depends on the router just read, as the handling of a packet does.
#[must_use]
pub fn finds<I: Index + 'static>(keys: &[Key]) -> Repeat {
    let index = I::new(keys);
    let routers: Vec<Router> = keys
        .iter()
        .map(|key| Router {
            before: [0; 32],
            key: *key,
            after: [0; 21],
        })
        .collect();
    let arrivals: Vec<Key> = shuffled(u32::try_from(keys.len()).unwrap_or(0))
        .into_iter()
        .map(|number| keys[number as usize])
        .collect();
    let state = (index, routers, arrivals, 0);
    repeat(state, |(index, routers, arrivals, turn)| {
        let key = arrivals[*turn];
        let key_of = |number| Some(routers.get(number as usize)?.key);
        let router = routers.get(index.find(key, key_of)? as usize)?;
        let zero = usize::try_from(router.before[31] | router.after[0]).ok()?;
        *turn = (*turn + 1 + zero) % arrivals.len();
        Some(router.key)
    })
}
