//! The numbers by which the fleet knows interfaces.

use std::collections::HashMap;

/// A number for each name, for good: to its routers an interface that comes back under its name is the same, though its index is another.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    by_name: HashMap<String, u32>,
    /// Those of the interfaces that are there.
    by_index: HashMap<u32, u32>,
}

impl Numbers {
    /// No interface has it.
    const NONE: u32 = u32::MAX;

    /// Those of these names: their places.
    pub(super) fn of(names: &[String]) -> Self {
        let mut numbers = Self::default();
        for name in names {
            numbers.number(name);
        }
        numbers
    }

    /// All names, each in the place of its number.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_name.iter().collect();
        names.sort_unstable_by_key(|(_, number)| **number);
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// The number of the interface of this name.
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = u32::try_from(self.by_name.len()).unwrap_or(Self::NONE);
        self.by_name.insert(name.into(), number);
        number
    }

    /// The number of the interface of this name, if it has one.
    pub(super) fn of_name(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Notes that the interface of this index has this name now.
    pub(super) fn bind(&mut self, index: u32, name: &str) {
        let number = self.number(name);
        self.by_index.insert(index, number);
    }

    /// Notes that an interface is gone.
    pub(super) fn unbind(&mut self, index: u32) {
        self.by_index.remove(&index);
    }

    /// The number of the interface that last was bound with this index, or one that no interface has.
    pub(super) fn at(&self, index: u32) -> u32 {
        self.by_index.get(&index).copied().unwrap_or(Self::NONE)
    }
}
