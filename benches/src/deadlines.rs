//! Ways to keep the deadlines of many routers in order.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use vrrp_fsm::{Deadlines, Instant};

use crate::{Repeat, repeat};

/// A way to keep them.
pub trait Queue {
    /// Sets the deadline of an index.
    fn set(&mut self, index: u32, at: Instant);
    /// Returns the exact first deadline and its index.
    fn first(&mut self) -> Option<(Instant, u32)>;
    /// Returns only the first deadline.
    fn earliest(&mut self) -> Option<Instant> {
        self.first().map(|(at, _)| at)
    }
}

impl Queue for Deadlines {
    fn set(&mut self, index: u32, at: Instant) {
        Deadlines::set(self, index, Some(at));
    }

    fn first(&mut self) -> Option<(Instant, u32)> {
        Deadlines::first(self)
    }

    fn earliest(&mut self) -> Option<Instant> {
        Deadlines::earliest(self)
    }
}

/// A heap that knows the place of each index, with `ARITY` children to a node.
#[derive(Debug)]
pub struct Indexed<const ARITY: usize> {
    heap: Vec<(Instant, u32)>,
    places: Vec<u32>,
}

impl<const ARITY: usize> Indexed<ARITY> {
    /// Makes room for this many indices.
    #[must_use]
    pub fn new(indices: u32) -> Self {
        Self {
            heap: Vec::with_capacity(indices as usize),
            places: vec![u32::MAX; indices as usize],
        }
    }

    fn put(&mut self, place: usize, entry: (Instant, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = u32::try_from(place).unwrap_or(u32::MAX);
    }
}

impl<const ARITY: usize> Queue for Indexed<ARITY> {
    fn set(&mut self, index: u32, at: Instant) {
        let entry = (at, index);
        let mut place = self.places[index as usize] as usize;
        if place == u32::MAX as usize {
            place = self.heap.len();
            self.heap.push(entry);
        } else if self.heap[place] < entry {
            loop {
                let first = place * ARITY + 1;
                let children = self.heap.iter().enumerate().skip(first).take(ARITY);
                match children.min_by_key(|(_, child)| **child) {
                    Some((below, child)) if *child < entry => {
                        let child = *child;
                        self.put(place, child);
                        place = below;
                    }
                    _ => break,
                }
            }
            return self.put(place, entry);
        }
        while place > 0 && entry < self.heap[(place - 1) / ARITY] {
            let parent = (place - 1) / ARITY;
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn first(&mut self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }
}

/// A heap in which an entry stays where it is when its deadline moves away, until it comes to the
/// front.
#[derive(Debug)]
pub struct Lazy {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    deadlines: Vec<Instant>,
    /// The time of the entry that counts, for each index.
    armed: Vec<Instant>,
}

impl Lazy {
    /// Makes room for this many indices.
    #[must_use]
    pub fn new(indices: u32) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(2 * indices as usize),
            deadlines: vec![Instant::MAX; indices as usize],
            armed: vec![Instant::MAX; indices as usize],
        }
    }

    fn arm(&mut self, index: u32, at: Instant) {
        self.armed[index as usize] = at;
        self.heap.push(Reverse((at, index)));
    }
}

impl Queue for Lazy {
    fn set(&mut self, index: u32, at: Instant) {
        self.deadlines[index as usize] = at;
        if at < self.armed[index as usize] {
            self.arm(index, at);
        }
    }

    fn first(&mut self) -> Option<(Instant, u32)> {
        loop {
            let Reverse((at, index)) = *self.heap.peek()?;
            let deadline = self.deadlines[index as usize];
            if at == self.armed[index as usize] && at == deadline {
                return Some((at, index));
            }
            self.heap.pop();
            if at == self.armed[index as usize] {
                self.arm(index, deadline);
            }
        }
    }
}

/// A balanced tree.
#[derive(Debug)]
pub struct Tree {
    entries: BTreeSet<(Instant, u32)>,
    deadlines: Vec<Instant>,
}

impl Tree {
    /// Makes room for this many indices.
    #[must_use]
    pub fn new(indices: u32) -> Self {
        Self {
            entries: BTreeSet::new(),
            deadlines: vec![Instant::MAX; indices as usize],
        }
    }
}

impl Queue for Tree {
    fn set(&mut self, index: u32, at: Instant) {
        let old = std::mem::replace(&mut self.deadlines[index as usize], at);
        self.entries.remove(&(old, index));
        self.entries.insert((at, index));
    }

    fn first(&mut self) -> Option<(Instant, u32)> {
        self.entries.first().copied()
    }
}

/// The numbers below `n`, each once, in an order that looks random: the phases of routers that were
/// started at arbitrary times.
#[must_use]
pub fn shuffled(n: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    let mut state = 1_u64;
    for last in (1..n).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let other = (state >> 33) % u64::from(last + 1);
        order.swap(last as usize, usize::try_from(other).unwrap_or(0));
    }
    order
}

const INTERVAL: Duration = Duration::from_secs(1);

/// Backups that receive from their Actives, each once a second in a phase of its own: moves the
/// deadline to Active_Down_Interval from now, which is a little different for each, and then asks
/// for the first deadline.
#[must_use]
pub fn backups_receive(mut queue: impl Queue + 'static, n: u32) -> Repeat {
    let order = shuffled(n);
    let down = |index: u32| INTERVAL * 3 + Duration::from_millis(u64::from(index * 37 % 1000));
    let pause = INTERVAL / n;
    let mut now = Instant::ZERO;
    for index in &order {
        now = now + pause;
        queue.set(*index, now + down(*index));
    }
    repeat((queue, now, order, 0), move |(queue, now, order, turn)| {
        *now = *now + pause;
        let index = order[*turn];
        *turn = (*turn + 1) % order.len();
        queue.set(index, *now + down(index));
        queue.earliest()
    })
}

/// Actives that advertise: the first deadline comes, and moves by an interval.
#[must_use]
pub fn actives_advertise(mut queue: impl Queue + 'static, n: u32) -> Repeat {
    let pause = INTERVAL / n;
    let mut phase = Instant::ZERO;
    for index in shuffled(n) {
        phase = phase + pause;
        queue.set(index, phase);
    }
    repeat(queue, |queue| {
        let first = queue.first();
        if let Some((at, index)) = first {
            queue.set(index, at + INTERVAL);
        }
        first
    })
}
