//! The numbers by which the fleet knows interfaces.

use std::collections::HashMap;

/// A number for each interface name that a router uses. An interface that comes back under its name
/// has the same number, although its index has changed.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    by_name: HashMap<String, u32>,
    /// The numbers that no name has any more.
    free: Vec<u32>,
    /// The indexes of the existing interfaces with their numbers, in order. A look-up is part of
    /// every packet, and a list is in fewer places of memory than a map.
    by_index: Vec<(u32, u32)>,
}

impl Numbers {
    /// A number that no interface has.
    const NONE: u32 = u32::MAX;

    /// Numbers these names by their places. The place of an empty name stays free. Returns `None`
    /// where a name that is not empty occurs twice.
    pub(super) fn of(names: &[String]) -> Option<Self> {
        let mut numbers = Self::default();
        for (number, name) in (0..).zip(names) {
            if name.is_empty() {
                numbers.free.push(number);
            } else if numbers.by_name.insert(name.clone(), number).is_some() {
                return None;
            }
        }
        Some(numbers)
    }

    /// All names, each in the place of its number.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = vec![String::new(); self.by_name.len() + self.free.len()];
        for (name, number) in &self.by_name {
            if let Some(place) = names.get_mut(*number as usize) {
                place.clone_from(name);
            }
        }
        names
    }

    /// The number of the interface of this name.
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let next = || u32::try_from(self.by_name.len()).unwrap_or(Self::NONE);
        let number = self.free.pop().unwrap_or_else(next);
        self.by_name.insert(name.into(), number);
        number
    }

    /// The number of the interface of this name, if it has one.
    pub(super) fn of_name(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Notes that no router has this name any more.
    pub(super) fn release(&mut self, name: &str) {
        if let Some(number) = self.by_name.remove(name) {
            self.by_index.retain(|(_, it)| *it != number);
            self.free.push(number);
        }
    }

    /// Notes that the interface of this index has this name now.
    pub(super) fn bind(&mut self, index: u32, name: &str) {
        let number = self.number(name);
        match self.place(index) {
            Ok(place) => {
                if let Some((_, before)) = self.by_index.get_mut(place) {
                    *before = number;
                }
            }
            Err(place) => self.by_index.insert(place, (index, number)),
        }
    }

    /// Notes that an interface is gone.
    pub(super) fn unbind(&mut self, index: u32) {
        if let Ok(place) = self.place(index) {
            self.by_index.remove(place);
        }
    }

    fn place(&self, index: u32) -> Result<usize, usize> {
        self.by_index.binary_search_by_key(&index, |(it, _)| *it)
    }

    /// The number of the interface that was last bound to this index, or a number that no interface
    /// has.
    pub(super) fn at(&self, index: u32) -> u32 {
        let found = self.place(index).ok();
        let found = found.and_then(|place| self.by_index.get(place));
        found.map_or(Self::NONE, |(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_name_has_any_more_goes_to_another_also_after_a_hand_over() {
        let mut numbers = Numbers::default();
        let [a, b] = ["a", "b"].map(|name| numbers.number(name));
        numbers.bind(7, "a");
        numbers.release("a");
        assert_eq!((numbers.at(7), numbers.of_name("a")), (Numbers::NONE, None));
        assert_eq!(numbers.names(), ["", "b"]);
        let mut numbers = Numbers::of(&numbers.names()).unwrap();
        assert_eq!(numbers.number("b"), b);
        assert_eq!(numbers.number("c"), a);
        assert_eq!(numbers.number("d"), 2);
        assert_eq!(numbers.names(), ["c", "b", "d"]);
    }
}
