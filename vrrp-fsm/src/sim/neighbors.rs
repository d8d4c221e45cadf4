//! The memory of a virtual router's neighbours: the sender of the last announcement.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::Announcement;
use crate::Instant;

/// The neighbours of a virtual router: end hosts and the ports of switches. Each host of the router
/// has some next to it. They receive the frames of that host and all frames that reach it, and
/// survive its crash.
#[derive(Default)]
pub(super) struct Neighbors {
    memories: BTreeMap<u32, Memory>,
    /// The time since which each host is Active, or the last such time.
    active_since: BTreeMap<u32, Instant>,
    /// The sending time of the last message that an Active received from a rival, by Active and
    /// rival.
    rivals: BTreeMap<(u32, u32), Instant>,
    /// The time at which each Active last received a message of a rival.
    met: BTreeMap<u32, Instant>,
    /// The time at which each host last announced.
    announced: BTreeMap<u32, Instant>,
}

/// The memory of the neighbours next to a host.
#[derive(Default)]
struct Memory {
    /// The sender of the last announcement, and its time.
    last: Option<(u32, Instant)>,
    /// Whether a later announcement did not arrive, or the last one was late.
    is_in_doubt: bool,
}

/// The result of comparing the neighbours with the Active.
#[derive(Default)]
pub(super) struct Comparison {
    /// Whether any neighbour must know the Active.
    pub(super) is_checked: bool,
    /// The hosts that some neighbours take for the Active instead, and the hosts whose neighbours
    /// know no Active.
    pub(super) wrong: Vec<u32>,
}

impl Neighbors {
    pub(super) fn became_active(&mut self, host: u32, now: Instant) {
        self.active_since.insert(host, now);
    }

    /// Handles a message of another router, sent at this time, that an Active has received without
    /// yielding.
    pub(super) fn met(&mut self, now: Instant, active: u32, rival: u32, sent: Instant) {
        self.met.insert(active, now);
        let last = self.rivals.entry((active, rival)).or_default();
        *last = sent.max(*last);
    }

    /// Returns the time at which this host as Active last received a message of a rival.
    pub(super) fn last_met(&self, active: u32) -> Option<Instant> {
        self.met.get(&active).copied()
    }

    /// Returns the hosts whose neighbours last received an announcement that this rival had sent by
    /// that time; `None` if no neighbour's last announcement is known.
    pub(super) fn misled_by(
        &self,
        rival: u32,
        until: Instant,
        hosts: impl Iterator<Item = u32>,
    ) -> Option<Vec<u32>> {
        let mut misled = Vec::new();
        let mut is_known = false;
        for location in hosts {
            let memory = self.memories.get(&location);
            let Some((from, sent)) = memory.filter(|it| !it.is_in_doubt).and_then(|it| it.last)
            else {
                continue;
            };
            is_known = true;
            if from == rival && sent <= until {
                misled.push(location);
            }
        }
        is_known.then_some(misled)
    }

    /// Handles an announcement by a host.
    pub(super) fn announced(&mut self, host: u32, now: Instant) {
        self.announced.insert(host, now);
    }

    /// Whether a host has announced at this time or after it.
    pub(super) fn has_announced(&self, host: u32, at: Instant) -> bool {
        self.announced.get(&host).is_some_and(|last| *last >= at)
    }

    pub(super) fn receive(&mut self, location: u32, announcement: &Announcement, is_late: bool) {
        let memory = Memory {
            last: Some((announcement.from, announcement.sent)),
            is_in_doubt: is_late,
        };
        self.memories.insert(location, memory);
    }

    /// Handles an announcement that does not reach the neighbours next to this host in time.
    pub(super) fn miss(&mut self, location: u32) {
        self.memories.entry(location).or_default().is_in_doubt = true;
    }

    /// Whether the neighbours next to these hosts know that this one is Active.
    pub(super) fn compare(
        &self,
        active: u32,
        hosts: impl Iterator<Item = u32>,
        longest_delay: Duration,
    ) -> Comparison {
        let mut compare = Comparison::default();
        for location in hosts {
            let memory = self.memories.get(&location);
            if memory.is_some_and(|memory| memory.is_in_doubt) {
                continue;
            }
            let wrong = match memory.and_then(|memory| memory.last) {
                None => Some(location),
                Some((from, _)) if from == active => None,
                Some((from, sent)) if self.has_to_correct(active, from, sent, longest_delay) => {
                    Some(from)
                }
                Some(_) => continue,
            };
            compare.is_checked = true;
            compare.wrong.extend(wrong);
        }
        compare
    }

    /// Whether the Active must ensure that an announcement of this time is not the last one: the
    /// Active came after it, or has received a message of its sender since. Its answer to a rival
    /// may cross with the rival's answer.
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

#[cfg(test)]
mod tests {
    use vrrp_proto::{Family, Vrid};

    use super::*;
    use crate::fleet::{AddressList, RouterKey};

    const DELAY: Duration = Duration::from_millis(5);

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// The neighbours next to hosts 0 and 1 receive an announcement of this host at this time.
    fn receive(neighbors: &mut Neighbors, from: u32, millis: u64) {
        let announcement = Announcement {
            from,
            number: 0,
            sent: at(millis),
            key: RouterKey {
                interface: 1,
                family: Family::Ipv4,
                vrid: Vrid::new(51).unwrap(),
            },
            addresses: AddressList::Ipv4(Vec::new()),
            repeat: 5,
        };
        neighbors.announced(from, at(millis));
        for location in 0..2 {
            neighbors.receive(location, &announcement, false);
        }
    }

    /// The wrong neighbours when host 1 is Active; `None` if no neighbour must know it.
    fn compare(neighbors: &Neighbors) -> Option<Vec<u32>> {
        let compare = neighbors.compare(1, 0..2, DELAY);
        compare.is_checked.then_some(compare.wrong)
    }

    #[test]
    fn neighbors_have_to_know_the_active() {
        let mut neighbors = Neighbors::default();
        assert_eq!(compare(&neighbors), Some(Vec::from([0, 1])));
        receive(&mut neighbors, 1, 10);
        assert_eq!(compare(&neighbors), Some(Vec::new()));
    }

    #[test]
    fn who_becomes_active_has_to_correct_what_was_announced_before() {
        let mut neighbors = Neighbors::default();
        receive(&mut neighbors, 0, 10);
        neighbors.became_active(1, at(9));
        // The Active does not know about the later announcement.
        assert_eq!(compare(&neighbors), None);
        neighbors.became_active(1, at(10));
        assert_eq!(compare(&neighbors), Some(Vec::from([0, 0])));
    }

    #[test]
    fn an_active_must_correct_the_announcement_of_a_rival_received_since() {
        let mut neighbors = Neighbors::default();
        neighbors.became_active(1, at(5));
        receive(&mut neighbors, 0, 10);
        neighbors.met(at(20), 1, 2, at(20));
        neighbors.met(at(20), 0, 1, at(20));
        neighbors.met(at(9), 1, 0, at(9));
        assert_eq!(compare(&neighbors), None);
        neighbors.met(at(10), 1, 0, at(10));
        assert_eq!(compare(&neighbors), Some(Vec::from([0, 0])));
        // A message that arrives later may have been sent earlier.
        neighbors.met(at(8), 1, 0, at(8));
        assert_eq!(compare(&neighbors), Some(Vec::from([0, 0])));
    }

    #[test]
    fn what_an_active_announces_may_cross_with_what_its_rival_does() {
        let mut neighbors = Neighbors::default();
        receive(&mut neighbors, 0, 10);
        neighbors.met(at(10), 1, 0, at(10));
        for (millis, has_crossed) in [(9, false), (10, true), (15, true), (16, false)] {
            neighbors.announced(1, at(millis));
            let expected = (!has_crossed).then(|| Vec::from([0, 0]));
            assert_eq!(compare(&neighbors), expected, "{millis} ms");
        }
    }

    #[test]
    fn neighbors_that_missed_an_announcement_are_not_checked_until_the_next_one() {
        let mut neighbors = Neighbors::default();
        receive(&mut neighbors, 1, 10);
        neighbors.miss(0);
        assert_eq!(compare(&neighbors), Some(Vec::new()));
        neighbors.miss(1);
        assert_eq!(compare(&neighbors), None);
        receive(&mut neighbors, 1, 20);
        assert_eq!(compare(&neighbors), Some(Vec::new()));
    }

    #[test]
    fn an_announcement_counts_from_the_time_at_which_it_was_made() {
        let mut neighbors = Neighbors::default();
        assert!(!neighbors.has_announced(1, at(0)));
        neighbors.announced(1, at(10));
        assert!(neighbors.has_announced(1, at(10)));
        assert!(!neighbors.has_announced(1, at(11)));
        assert!(!neighbors.has_announced(0, at(10)));
    }
}
