//! The deadlines of many things, in order.

use std::time::Duration;

/// Marks an index without a deadline.
const NOWHERE: u32 = u32::MAX;

/// Children of a node of the heap: as many as share a cache line.
const WIDTH: usize = 4;

/// Exact deadlines of things that are known by small indices: an indexed heap.
///
/// To set or remove a deadline takes logarithmic time and allocates nothing once there is room for
/// the greatest index. Equal deadlines come in the order of their indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    heap: Vec<(Duration, u32)>,
    places: Vec<u32>,
}

impl Deadlines {
    /// The earliest deadline, with its index.
    pub(super) fn first(&self) -> Option<(Duration, u32)> {
        self.heap.first().copied()
    }

    /// The index of the earliest deadline, if it has come.
    pub(super) fn due(&self, now: Duration) -> Option<u32> {
        self.first()
            .and_then(|(at, index)| (at <= now).then_some(index))
    }

    /// The deadline of an index.
    pub(super) fn get(&self, index: u32) -> Option<Duration> {
        let place = *self.places.get(index as usize)?;
        self.heap.get(place as usize).map(|(at, _)| *at)
    }

    /// Sets the deadline of an index, or removes it.
    pub(super) fn set(&mut self, index: u32, deadline: Option<Duration>) {
        let slot = index as usize;
        if slot >= self.places.len() {
            if deadline.is_none() {
                return;
            }
            self.places.resize(slot + 1, NOWHERE);
        }
        let place = self.places[slot];
        match (place, deadline) {
            (NOWHERE, None) => {}
            (NOWHERE, Some(at)) => {
                self.heap.push((at, index));
                self.rise(self.heap.len() - 1);
            }
            (place, Some(at)) => {
                self.heap[place as usize].0 = at;
                let place = self.rise(place as usize);
                self.sink(place);
            }
            (place, None) => {
                self.places[slot] = NOWHERE;
                let last = self.heap.pop();
                if let Some(last) = last
                    && (place as usize) < self.heap.len()
                {
                    self.put(place as usize, last);
                    let place = self.rise(place as usize);
                    self.sink(place);
                }
            }
        }
    }

    fn put(&mut self, place: usize, entry: (Duration, u32)) {
        self.heap[place] = entry;
        // There are at most 2^32 indices.
        #[allow(clippy::cast_possible_truncation)]
        let at = place as u32;
        self.places[entry.1 as usize] = at;
    }

    fn rise(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / WIDTH;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
        place
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first_child = place * WIDTH + 1;
            let end = (first_child + WIDTH).min(self.heap.len());
            let Some(least) = (first_child..end).min_by_key(|child| self.heap[*child]) else {
                break;
            };
            if entry <= self.heap[least] {
                break;
            }
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_the_earliest_after_any_changes(
            steps in prop::collection::vec((0_u32..40, prop::option::of(0_u64..50)), 0..400),
        ) {
            let mut queue = Deadlines::default();
            let mut model = BTreeMap::new();
            for (index, deadline) in steps {
                let at = deadline.map(Duration::from_nanos);
                queue.set(index, at);
                match at {
                    Some(at) => model.insert(index, at),
                    None => model.remove(&index),
                };
                let first = model.iter().map(|(index, at)| (*at, *index)).min();
                prop_assert_eq!(queue.first(), first);
                prop_assert_eq!(queue.get(index), at);
            }
        }
    }
}
