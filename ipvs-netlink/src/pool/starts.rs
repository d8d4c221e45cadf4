//! When idle targets are due, and which of them may start.

use std::time::Duration;

use super::{
    deadlines::Deadlines,
    pace::{Pace, Rate},
};

/// The due times of idle targets.
///
/// A probe that recurs starts when it is due and the [`Pace`] allows it. A prompt one, which is the
/// first of its target or was asked for by an event, starts when it is due.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    recurring: Deadlines,
    prompt: Deadlines,
    /// The entries of `prompt`. Usually there are none, and then nothing looks there.
    prompts: u32,
    pace: Pace,
}

impl Starts {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            recurring: Deadlines::default(),
            prompt: Deadlines::default(),
            prompts: 0,
            pace: Pace::new(now),
        }
    }

    /// When a target is due.
    pub(super) fn get(&self, slot: u32) -> Option<Duration> {
        self.recurring.get(slot).or_else(|| self.prompt_at(slot))
    }

    /// Sets when the next probe of a target is due, or that none is.
    pub(super) fn set(&mut self, slot: u32, due: Option<Duration>) {
        self.remove_prompt(slot);
        self.recurring.set(slot, due);
    }

    /// Sets when a prompt probe is due.
    pub(super) fn set_prompt(&mut self, slot: u32, due: Duration) {
        self.remove_prompt(slot);
        self.recurring.set(slot, None);
        self.prompt.set(slot, Some(due));
        self.prompts += 1;
    }

    /// Brings the probe of a target that is due later forward to this time.
    pub(super) fn bring_forward(&mut self, slot: u32, due: Duration) {
        if self.prompt_at(slot).is_some_and(|old| old > due) {
            self.prompt.set(slot, Some(due));
        } else if self.recurring.get(slot).is_some_and(|old| old > due) {
            self.recurring.set(slot, Some(due));
        }
    }

    /// Replaces the rate at which a target becomes due.
    pub(super) fn replace_rate(&mut self, before: Rate, after: Rate) {
        self.pace.replace(before, after);
    }

    /// When the next probe may start.
    pub(super) fn next(&self) -> Option<Duration> {
        let recurring = self.recurring.first();
        let recurring = recurring.map(|(due, _)| self.pace.next(due));
        let prompt = self.first_prompt().map(|(due, _)| due);
        recurring.into_iter().chain(prompt).min()
    }

    /// Removes the target whose probe starts now: of those that may start, the one that is due
    /// longest.
    pub(super) fn take(&mut self, now: Duration) -> Option<u32> {
        let is_due = |(due, _): &(Duration, u32)| *due <= now;
        let recurring = self.recurring.first().filter(is_due);
        let prompt = self.first_prompt().filter(is_due);
        if let Some((due, slot)) = recurring
            && prompt.is_none_or(|(other, _)| due < other)
            && self.pace.take(now, due)
        {
            self.recurring.set(slot, None);
            return Some(slot);
        }
        let (_, slot) = prompt?;
        self.remove_prompt(slot);
        Some(slot)
    }

    fn first_prompt(&self) -> Option<(Duration, u32)> {
        if self.prompts == 0 {
            return None;
        }
        self.prompt.first()
    }

    fn prompt_at(&self, slot: u32) -> Option<Duration> {
        if self.prompts == 0 {
            return None;
        }
        self.prompt.get(slot)
    }

    fn remove_prompt(&mut self, slot: u32) {
        if self.prompt_at(slot).is_some() {
            self.prompt.set(slot, None);
            self.prompts -= 1;
        }
    }
}
