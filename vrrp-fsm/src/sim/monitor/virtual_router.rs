//! A virtual router of the network, and the checks of its state on all hosts.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::{Host, Property, host::Node, neighbors::Neighbors, wire::Wire};
use crate::{
    AnnouncePolicy, Preempt, State,
    fleet::{Member, RouterKey},
};

/// A virtual router on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: u32,
    /// Which of its members.
    pub(super) router: u32,
}

/// A virtual router of the network: the same key on several hosts.
pub(super) struct Virtual {
    pub(super) key: RouterKey,
    pub(super) places: Vec<Place>,
    pub(super) cluster: u32,
    /// The number of consecutive missed messages of each place.
    pub(super) missed: Vec<u8>,
    /// The number of messages that a router may miss in a quiet network.
    pub(super) tolerance: u8,
    /// Whether all its routers preempt.
    pub(super) preempts: bool,
    /// Whether all its routers repeat an announcement that may have crossed another router's.
    pub(super) announces_again: bool,
    /// Whether all its routers announce once more after the last advertisement of a rival.
    pub(super) corrects: bool,
    /// The time for which a burst after a rival replaces further bursts.
    pub(super) rival_gap: Duration,
    pub(super) neighbors: Neighbors,
}

/// A checked property, with the hosts that violate it.
pub(super) type Finding = (Property, Option<Vec<u32>>);

impl Virtual {
    pub(super) fn new(key: RouterKey, cluster: u32) -> Self {
        Self {
            key,
            places: Vec::new(),
            cluster,
            missed: Vec::new(),
            tolerance: u8::MAX,
            preempts: true,
            announces_again: true,
            corrects: true,
            rival_gap: Duration::ZERO,
            neighbors: Neighbors::default(),
        }
    }

    /// Adds the router of a host. `jitter` is the longest delay of the network.
    pub(super) fn add(&mut self, member: &Member, place: Place, jitter: Duration) {
        self.places.push(place);
        self.missed.push(0);
        self.preempts &= member.config.preempt != Preempt::Never;
        let policy = &member.config.announce;
        self.announces_again &= policy.second_burst_after.is_some() && policy.rival_repeat != 0;
        // A rival's announcement that takes longer may come after the burst.
        self.corrects &= policy.rival_repeat != 0 && jitter <= policy.after_last_rival;
        self.rival_gap = self.rival_gap.max(rival_gap(policy));
        // The shortest Skew_Time is that of the owner, with half the interval. Where it does
        // not hide the difference of two delays, one message fewer may be missed.
        let hides = member.config.interval.as_duration() / 512 >= jitter;
        let spare = if hides { 1 } else { 2 };
        let tolerance = member.config.missed_advertisements.saturating_sub(spare);
        self.tolerance = self.tolerance.min(tolerance);
    }

    pub(super) fn count_missed(&mut self, host: u32, count: impl FnOnce(u8) -> u8) -> u8 {
        let places = self.places.iter().zip(&mut self.missed);
        for (place, missed) in places {
            if place.host == host {
                *missed = count(*missed);
                return *missed;
            }
        }
        0
    }

    /// Returns the successor of a host and the longest time to its takeover: the healthy Backup of
    /// the highest priority, with the slowest member of its group.
    pub(super) fn successor<H: Host>(
        &self,
        from: u32,
        nodes: &[Node<H>],
        wire: &Wire,
    ) -> Option<(u32, Duration)> {
        let heirs = self.places.iter().filter_map(|place| {
            let node = nodes.get(place.host as usize)?;
            let router = node.router(place.router)?;
            let can = place.host != from
                && router.state() == State::Backup
                && node.is_healthy(place.router)
                && wire.reaches(self.key.interface, from, place.host);
            can.then_some((router.effective_priority(), *place))
        });
        let (_, heir) = heirs.max_by_key(|(priority, _)| *priority)?;
        let node = nodes.get(heir.host as usize)?;
        let company = node.company(heir.router);
        let skews = company
            .iter()
            .filter_map(|router| Some(node.router(*router)?.skew_time()));
        Some((heir.host, skews.max()?))
    }

    /// The routers on each side of a partition.
    fn islands(&self, wire: &Wire) -> Vec<Vec<Place>> {
        let mut seen: Vec<u32> = Vec::new();
        let mut islands = Vec::new();
        for first in &self.places {
            if seen.contains(&first.host) {
                continue;
            }
            let reached = |place: &&Place| wire.reaches(self.key.interface, first.host, place.host);
            let island: Vec<Place> = self.places.iter().filter(reached).copied().collect();
            seen.extend(island.iter().map(|place| place.host));
            islands.push(island);
        }
        islands
    }

    /// Checks the stable state, on each side of a partition.
    pub(super) fn check_stable<H: Host>(&self, nodes: &[Node<H>], wire: &Wire) -> Vec<Finding> {
        let islands = self.islands(wire).into_iter();
        islands
            .flat_map(|island| self.check_island(&island, nodes))
            .collect()
    }

    /// Checks that the neighbours on each side of a partition know its Active, as far as they can.
    pub(super) fn check_neighbors<H: Host>(
        &self,
        nodes: &[Node<H>],
        wire: &Wire,
        longest_delay: Duration,
    ) -> Vec<Option<Vec<u32>>> {
        let is_active = |place: &&Place| {
            let node = nodes.get(place.host as usize);
            node.is_some_and(|node| node.state(place.router) == Some(State::Active))
        };
        let mut findings = Vec::new();
        for island in self.islands(wire) {
            let Some(active) = island.iter().find(is_active) else {
                continue;
            };
            let hosts = island.iter().map(|place| place.host);
            let compare = self.neighbors.compare(active.host, hosts, longest_delay);
            if compare.is_checked {
                let culprits = [&[active.host], &compare.wrong[..]].concat();
                findings.push((!compare.wrong.is_empty()).then_some(culprits));
            }
        }
        findings
    }

    fn check_island<H: Host>(
        &self,
        island: &[Place],
        nodes: &[Node<H>],
    ) -> impl Iterator<Item = Finding> + use<H> {
        let routers = island.iter().filter_map(|place| {
            let node = nodes.get(place.host as usize)?;
            Some((place, node, node.router(place.router)?))
        });
        let mut actives = Vec::new();
        let mut healthy = Vec::new();
        for (place, node, router) in routers {
            let candidate = (router.effective_priority(), place.host);
            if router.state() == State::Active {
                actives.push(candidate);
            }
            if node.is_healthy(place.router) {
                healthy.push(candidate);
            }
        }
        let best = healthy.iter().max();
        let active = actives.iter().max();
        let outranked = match (active, best) {
            (Some((ours, active)), Some((theirs, best))) if theirs > ours => {
                Some(Vec::from([*active, *best]))
            }
            _ => None,
        };
        let highest = (Property::HighestPriorityActive, outranked);
        let missing = best.filter(|_| active.is_none());
        let too_many = actives.len() > 1;
        [
            (
                Property::AtMostOneActive,
                too_many.then(|| actives.iter().map(|(_, host)| *host).collect()),
            ),
            (
                Property::ActiveExists,
                missing.map(|(_, host)| Vec::from([*host])),
            ),
        ]
        .into_iter()
        .chain(self.preempts.then_some(highest))
    }
}

/// Returns the shortest time between two bursts that rivals cause.
fn rival_gap(policy: &AnnouncePolicy) -> Duration {
    let second = policy.rival_second_burst_after;
    second.unwrap_or(policy.after_last_rival)
}
