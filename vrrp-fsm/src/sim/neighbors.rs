//! What the neighbours of a virtual router remember: whose announcement was the last.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::Announcement;
use crate::Instant;

/// The neighbours of a virtual router: end hosts and the ports of switches. Some are beside each of its hosts. They hear that host and whatever reaches it,
/// and live on when it dies.
#[derive(Default)]
pub(super) struct Neighbors {
    beside: BTreeMap<u32, Memory>,
    /// Since when each host is Active, or was at last.
    active_since: BTreeMap<u32, Instant>,
    /// When the last message was sent that an Active has heard of a rival: first the Active, then the rival.
    rivals: BTreeMap<(u32, u32), Instant>,
    /// When each host has announced at last.
    announced: BTreeMap<u32, Instant>,
}

/// What the neighbours beside a host remember.
#[derive(Default)]
struct Memory {
    /// Who has sent the last announcement, and when.
    last: Option<(u32, Instant)>,
    /// Whether there was one after it that has not come, or the last one was late.
    is_in_doubt: bool,
}

/// What came of a look at the neighbours.
#[derive(Default)]
pub(super) struct Look {
    /// Whether any of them has to know who the Active is.
    pub(super) is_telling: bool,
    /// Whom some have for the Active instead, and those beside which there is nobody that they know.
    pub(super) wrong: Vec<u32>,
}

impl Neighbors {
    pub(super) fn became_active(&mut self, host: u32, now: Instant) {
        self.active_since.insert(host, now);
    }

    /// An Active has heard another router, by a message that was sent at this time, and is still Active.
    pub(super) fn met(&mut self, active: u32, rival: u32, sent: Instant) {
        let last = self.rivals.entry((active, rival)).or_default();
        *last = sent.max(*last);
    }

    /// A host announces.
    pub(super) fn announced(&mut self, host: u32, now: Instant) {
        self.announced.insert(host, now);
    }

    /// Whether a host has announced at this time or after it.
    pub(super) fn has_announced(&self, host: u32, at: Instant) -> bool {
        self.announced.get(&host).is_some_and(|last| *last >= at)
    }

    pub(super) fn hear(&mut self, beside: u32, announcement: &Announcement, is_late: bool) {
        let memory = Memory {
            last: Some((announcement.from, announcement.sent)),
            is_in_doubt: is_late,
        };
        self.beside.insert(beside, memory);
    }

    /// An announcement does not come to those beside this host, or not yet when it should.
    pub(super) fn miss(&mut self, beside: u32) {
        self.beside.entry(beside).or_default().is_in_doubt = true;
    }

    /// Whether those beside these hosts know that this one is Active.
    pub(super) fn look(
        &self,
        active: u32,
        hosts: impl Iterator<Item = u32>,
        longest_delay: Duration,
    ) -> Look {
        let mut look = Look::default();
        for beside in hosts {
            let memory = self.beside.get(&beside);
            if memory.is_some_and(|memory| memory.is_in_doubt) {
                continue;
            }
            let wrong = match memory.and_then(|memory| memory.last) {
                None => Some(beside),
                Some((from, _)) if from == active => None,
                Some((from, sent)) if self.has_to_correct(active, from, sent, longest_delay) => {
                    Some(from)
                }
                Some(_) => continue,
            };
            look.is_telling = true;
            look.wrong.extend(wrong);
        }
        look
    }

    /// Whether the Active has to see to it that an announcement that was sent at this time is not the last one: it came after it, or has met its sender since.
    /// What it says to a rival may cross with what that one says.
    fn has_to_correct(
        &self,
        active: u32,
        rival: u32,
        sent: Instant,
        longest_delay: Duration,
    ) -> bool {
        let is_since = |at: Option<&Instant>| at.is_some_and(|at| *at >= sent);
        let has_crossed = self
            .announced
            .get(&active)
            .is_some_and(|at| (sent..=sent + longest_delay).contains(at));
        is_since(self.active_since.get(&active))
            || is_since(self.rivals.get(&(active, rival))) && !has_crossed
    }
}
