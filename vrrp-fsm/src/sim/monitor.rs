//! Checks the properties: tracks the last disturbance of each virtual router, and the required
//! state after it.

mod cluster;
mod promise;
mod virtual_router;

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::{cmp::Reverse, time::Duration};

use vrrp_proto::{Priority, Protection};

use self::{
    cluster::Cluster,
    promise::Promise,
    virtual_router::{Finding, Place, Virtual},
};
use super::{
    Announcement, Host, Network, Packet, Property, Scenario, Violation, addresses::primary_address,
    host::Node, wire::Wire,
};
use crate::{
    Deadlines, Instant, Profile, Reason, State, Transition,
    fleet::{Member, RouterId, RouterKey},
};

/// The delay of a check, so that all events of its time come before it.
const AFTERWARDS: Duration = Duration::from_nanos(1);

/// The time for which neighbours may send to a rival after the last advertisement that the Active
/// received from it.
const CORRECTION: Duration = Duration::from_secs(1);

pub(super) struct Monitor {
    network: Network,
    virtuals: Vec<Virtual>,
    clusters: Vec<Cluster>,
    by_key: BTreeMap<RouterKey, u32>,
    /// The virtual router of each member of each host.
    by_place: Vec<Vec<u32>>,
    /// The number of state changes of each member of each host.
    changes: Vec<Vec<u64>>,
    /// The times at which clusters must be stable.
    due: Deadlines,
    /// The times at which their neighbours are updated.
    known: Deadlines,
    promises: BinaryHeap<Reverse<(Instant, Instant, Promise)>>,
    found: Vec<Violation>,
    checks: [u64; Property::ALL.len()],
}

impl Monitor {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut monitor = Self {
            network: scenario.network,
            virtuals: Vec::new(),
            clusters: Vec::new(),
            by_key: BTreeMap::new(),
            by_place: Vec::new(),
            changes: Vec::new(),
            due: Deadlines::new(),
            known: Deadlines::new(),
            promises: BinaryHeap::new(),
            found: Vec::new(),
            checks: [0; Property::ALL.len()],
        };
        for (host, plan) in (0..).zip(&scenario.hosts) {
            let mut of_host = Vec::new();
            for (router, member) in (0..).zip(&plan.members) {
                of_host.push(monitor.note_member(member, Place { host, router }));
            }
            monitor.changes.push(of_host.iter().map(|_| 0).collect());
            monitor.by_place.push(of_host);
        }
        monitor.make_clusters(scenario);
        monitor
    }

    fn note_member(&mut self, member: &Member, place: Place) -> u32 {
        let key = member.key();
        let next = u32::try_from(self.virtuals.len()).unwrap_or(u32::MAX);
        let number = *self.by_key.entry(key).or_insert(next);
        if number == next {
            self.virtuals.push(Virtual::new(key, number));
        }
        let jitter = self.network.longest_delay;
        if let Some(own) = self.virtuals.get_mut(number as usize) {
            own.add(member, place, jitter);
        }
        number
    }

    /// Joins the virtual routers that depend on each other.
    fn make_clusters(&mut self, scenario: &Scenario) {
        let mut is_grouped: Vec<bool> = self.virtuals.iter().map(|_| false).collect();
        for (plan, of_host) in scenario.hosts.iter().zip(&self.by_place) {
            for group in &plan.groups {
                let members: Vec<u32> = (0..)
                    .zip(of_host)
                    .filter(|(place, _)| group.members.contains(&RouterId::nth(*place)))
                    .map(|(_, number)| *number)
                    .collect();
                let labels = members
                    .iter()
                    .filter_map(|number| Some(self.virtuals.get(*number as usize)?.cluster));
                let labels: Vec<u32> = labels.collect();
                let Some(lowest) = labels.iter().min().copied() else {
                    continue;
                };
                for own in &mut self.virtuals {
                    if labels.contains(&own.cluster) {
                        own.cluster = lowest;
                    }
                }
                for number in members {
                    if let Some(flag) = is_grouped.get_mut(number as usize) {
                        *flag = true;
                    }
                }
            }
        }
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        for (number, own) in (0..).zip(&mut self.virtuals) {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            own.cluster = *numbers.entry(own.cluster).or_insert(next);
            if own.cluster == next {
                self.clusters.push(Cluster::new());
            }
            if let Some(cluster) = self.clusters.get_mut(own.cluster as usize) {
                let is_grouped = is_grouped.get(number as usize).copied().unwrap_or(false);
                cluster.add(number, own, is_grouped, scenario);
            }
        }
        for number in (0..).take(self.clusters.len()) {
            self.disturb(number, Instant::ZERO);
        }
    }

    // Events.

    /// Restarts the bound from a time on.
    fn disturb(&mut self, number: u32, until: Instant) {
        let Some(cluster) = self.clusters.get_mut(number as usize) else {
            return;
        };
        let end = cluster.disturb(until);
        self.due.set(number, end.map(|end| end + AFTERWARDS));
        self.known.set(number, None);
    }

    fn clusters_of_host(&self, host: u32) -> Vec<u32> {
        let numbers = (0..).zip(&self.clusters);
        let concerned = numbers.filter(|(_, cluster)| cluster.hosts.contains(&host));
        concerned.map(|(number, _)| number).collect()
    }

    fn clusters_of_lan(&self, interface: u32) -> Vec<u32> {
        let numbers = (0..).zip(&self.clusters);
        let concerned = numbers.filter(|(_, cluster)| {
            let mut keys = cluster
                .virtuals
                .iter()
                .filter_map(|number| self.virtuals.get(*number as usize));
            keys.any(|own| own.key.interface == interface)
        });
        concerned.map(|(number, _)| number).collect()
    }

    /// Handles a change of a host.
    pub(super) fn disturb_host(&mut self, now: Instant, host: u32) {
        for cluster in self.clusters_of_host(host) {
            self.disturb(cluster, now);
        }
    }

    /// Handles a change of a virtual router of a host.
    pub(super) fn disturb_router(&mut self, now: Instant, host: u32, router: u32) {
        if let Some(cluster) = self.virtual_at(host, router).map(|own| own.cluster) {
            self.disturb(cluster, now);
        }
    }

    /// Handles the beginning or the end of a stall.
    pub(super) fn stall(&mut self, now: Instant, host: u32, begins: bool) {
        for cluster in self.clusters_of_host(host) {
            self.stand(now, cluster, begins);
        }
    }

    /// Handles the beginning or the end of a partition. Without sync groups each part is an
    /// independent network.
    pub(super) fn partition(&mut self, now: Instant, interface: u32, begins: bool) {
        for number in self.clusters_of_lan(interface) {
            if self
                .clusters
                .get(number as usize)
                .is_some_and(|it| it.is_grouped)
            {
                self.stand(now, number, begins);
            } else {
                self.disturb(number, now);
            }
        }
    }

    /// Handles the beginning or the end of a one-way cut.
    pub(super) fn one_way(&mut self, now: Instant, interface: u32, begins: bool) {
        for cluster in self.clusters_of_lan(interface) {
            self.stand(now, cluster, begins);
        }
    }

    fn stand(&mut self, now: Instant, number: u32, begins: bool) {
        if let Some(cluster) = self.clusters.get_mut(number as usize) {
            cluster.stand(begins);
        }
        self.disturb(number, now);
    }

    /// Handles a lost message. A few in a row do not disturb a quiet network.
    pub(super) fn lost(&mut self, now: Instant, key: RouterKey, to: u32) {
        let Some(own) = self.virtual_mut(key) else {
            return;
        };
        let (number, tolerance) = (own.cluster, own.tolerance);
        let missed = own.count_missed(to, |missed| missed.saturating_add(1));
        if let Some(cluster) = self.clusters.get_mut(number as usize) {
            cluster.lost = Some(now);
            if !cluster.is_stable || missed > tolerance {
                self.disturb(number, now);
            }
        }
    }

    /// Handles a message that will arrive.
    pub(super) fn delivered(&mut self, key: RouterKey, to: u32) {
        if let Some(own) = self.virtual_mut(key) {
            own.count_missed(to, |_| 0);
        }
    }

    /// Handles a message out of order.
    pub(super) fn late(&mut self, arrival: Instant, key: RouterKey) {
        if let Some(number) = self.virtual_mut(key).map(|own| own.cluster) {
            self.disturb(number, arrival);
        }
    }

    /// Handles an accepted replay.
    pub(super) fn misled(&mut self, now: Instant, packet: &Packet) {
        if let Some(key) = packet.key() {
            self.late(now, key);
        }
    }

    /// Checks a repeated message with an authenticated sequence number that was accepted before.
    pub(super) fn repeated(&mut self, now: Instant, to: u32, packet: &Packet, is_accepted: bool) {
        if let Some(key) = packet.key() {
            let culprits = is_accepted.then(|| Vec::from([packet.from, to]));
            self.record(now, Property::ReplayIsDiscarded, key, culprits);
        }
    }

    /// Handles an announcement, which the neighbours next to the host receive first.
    pub(super) fn announces(&mut self, announcement: &Announcement) {
        if let Some(own) = self.virtual_mut(announcement.key) {
            own.neighbors
                .announced(announcement.from, announcement.sent);
        }
        self.announced(announcement.from, announcement, false);
    }

    /// Handles the arrival of an announcement at the neighbours next to a host.
    pub(super) fn announced(&mut self, location: u32, announcement: &Announcement, is_late: bool) {
        if let Some(own) = self.virtual_mut(announcement.key) {
            own.neighbors.receive(location, announcement, is_late);
        }
    }

    /// Handles an announcement that is lost or late.
    pub(super) fn unannounced(&mut self, location: u32, key: RouterKey) {
        if let Some(own) = self.virtual_mut(key) {
            own.neighbors.miss(location);
        }
    }

    /// Checks a change of state.
    pub(super) fn changed<H: Host>(
        &mut self,
        now: Instant,
        host: u32,
        router: u32,
        transition: Transition,
        nodes: &[Node<H>],
        wire: &Wire,
    ) {
        if let Some(count) = self
            .changes
            .get_mut(host as usize)
            .and_then(|list| list.get_mut(router as usize))
        {
            *count += 1;
        }
        let Some(number) = self
            .by_place
            .get(host as usize)
            .and_then(|list| list.get(router as usize))
            .copied()
        else {
            return;
        };
        let Some(own) = self.virtuals.get_mut(number as usize) else {
            return;
        };
        let key = own.key;
        if transition.to == State::Active {
            own.neighbors.became_active(host, now);
            let culprits = (!own.neighbors.has_announced(host, now)).then(|| Vec::from([host]));
            self.record(now, Property::ActiveAnnounces, key, culprits);
        }
        let Some(own) = self.virtuals.get(number as usize) else {
            return;
        };
        let Some(cluster) = self.clusters.get(own.cluster as usize) else {
            return;
        };
        let was_stable = cluster.is_stable || cluster.stable_until == Some(now);
        let resigns =
            transition.from == State::Active && matches!(transition.reason, Reason::Shutdown(_));
        let flaps = cluster.is_stable.then(|| Vec::from([host]));
        if was_stable
            && resigns
            && let Some((heir, skew)) = own.successor(host, nodes, wire)
        {
            let due = now + self.network.longest_delay + skew + AFTERWARDS;
            let promise = Promise::HandOver {
                of: number,
                host,
                heir,
            };
            self.promises.push(Reverse((due, now, promise)));
        }
        if flaps.is_some() {
            self.record(now, Property::NoFlapping, key, flaps);
        }
    }

    /// Checks the groups of a host.
    pub(super) fn check_groups<H: Host>(&mut self, now: Instant, host: u32, node: &Node<H>) {
        for group in &node.plan().groups {
            let states = group
                .members
                .iter()
                .filter_map(|id| Some((id, node.host()?.fleet().get(*id)?.state())));
            let mut states = states.peekable();
            let Some((id, first)) = states.peek().copied() else {
                continue;
            };
            let is_split = states.any(|(_, state)| state != first);
            if let Some(key) = node.host().and_then(|host| host.fleet().key(*id)) {
                let culprits = is_split.then(|| Vec::from([host]));
                self.record(now, Property::GroupAgrees, key, culprits);
            }
        }
    }

    /// Returns the required effect of a packet, before the host receives it.
    pub(super) fn before_packet<H: Host>(
        &self,
        host: u32,
        node: &Node<H>,
        packet: &Packet,
        protection: Protection,
    ) -> Option<Meeting> {
        let key = packet.key()?;
        let number = *self.by_key.get(&key)?;
        let place = self
            .virtuals
            .get(number as usize)?
            .places
            .iter()
            .find(|place| place.host == host)?;
        let router = node.router(place.router)?;
        let [_, _, priority, ..] = *packet.octets.as_slice() else {
            return None;
        };
        // A discarded packet is not a meeting.
        let is_meeting =
            router.state() == State::Active && node.would_accept(place.router, packet, protection);
        let theirs = (Priority::new(priority), packet.ip.endpoints.source());
        let ours = (router.effective_priority(), primary_address(host, key));
        is_meeting.then_some(Meeting {
            number,
            host,
            router: place.router,
            from: packet.from,
            sent: packet.sent,
            wins: ours > theirs,
            // Older profiles do not answer, a resigning router needs no answer, and with IP AH a
            // third router may already have used the number of an answer.
            is_answered: router.config().profile == Profile::Rfc9568
                && priority != 0
                && protection != Protection::Ah,
        })
    }

    /// Checks the effect of a packet.
    pub(super) fn after_packet<H: Host>(
        &mut self,
        now: Instant,
        meeting: &Meeting,
        nodes: &[Node<H>],
        wire: &Wire,
    ) {
        let Some(own) = self.virtuals.get_mut(meeting.number as usize) else {
            return;
        };
        let state = nodes
            .get(meeting.host as usize)
            .and_then(|node| node.state(meeting.router));
        if !meeting.wins {
            let key = own.key;
            let persists = state == Some(State::Active);
            let culprits = persists.then(|| Vec::from([meeting.host, meeting.from]));
            self.record(now, Property::DuplicateEnds, key, culprits);
            return;
        }
        own.neighbors
            .met(now, meeting.host, meeting.from, meeting.sent);
        if own.announces_again {
            let promise = Promise::Announce {
                of: meeting.number,
                host: meeting.host,
                router: meeting.router,
            };
            self.promises
                .push(Reverse((now + AFTERWARDS, now, promise)));
        }
        if own.corrects {
            let changes = self.changes_of(meeting.host, meeting.router);
            let promise = Promise::Correct {
                of: meeting.number,
                active: (meeting.host, meeting.router, changes),
                rival: meeting.from,
            };
            let due = now + CORRECTION + self.network.longest_delay + AFTERWARDS;
            self.promises.push(Reverse((due, now, promise)));
        }
        let Some(own) = self.virtuals.get(meeting.number as usize) else {
            return;
        };
        if !meeting.is_answered {
            return;
        }
        let Some(rival) = own.places.iter().find(|place| place.host == meeting.from) else {
            return;
        };
        let rival_state = nodes
            .get(rival.host as usize)
            .and_then(|node| node.state(rival.router));
        // A packet sent before a cut may arrive after it, and the answer is lost.
        let is_reached = wire.reaches(own.key.interface, meeting.host, rival.host);
        let rival = *rival;
        if rival_state == Some(State::Active) && is_reached {
            let count = |host: u32, router: u32| self.changes_of(host, router);
            let promise = Promise::End {
                of: meeting.number,
                winner: (
                    meeting.host,
                    meeting.router,
                    count(meeting.host, meeting.router),
                ),
                loser: (rival.host, rival.router, count(rival.host, rival.router)),
            };
            let due = now + self.network.longest_delay + AFTERWARDS;
            self.promises.push(Reverse((due, now, promise)));
        }
    }

    /// Returns the number of checks of a property.
    pub(super) fn checks(&self, property: Property) -> u64 {
        self.checks.get(property as usize).copied().unwrap_or(0)
    }

    /// Records a check of a property, with the hosts that violate it.
    fn record(
        &mut self,
        at: Instant,
        property: Property,
        key: RouterKey,
        culprits: Option<Vec<u32>>,
    ) {
        if let Some(count) = self.checks.get_mut(property as usize) {
            *count += 1;
        }
        self.found.extend(culprits.map(|hosts| Violation {
            at,
            property,
            key,
            hosts,
        }));
    }

    // The deadlines.

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let stable_at = self.due.earliest();
        let promised = self.promises.peek().map(|Reverse((at, ..))| *at);
        let known = self.known.earliest();
        stable_at.into_iter().chain(promised).chain(known).min()
    }

    pub(super) fn handle_timeout<H: Host>(&mut self, now: Instant, nodes: &[Node<H>], wire: &Wire) {
        while let Some(Reverse((at, since, promise))) = self.promises.peek().copied() {
            if at > now {
                break;
            }
            self.promises.pop();
            if let Some((key, (property, culprits))) =
                self.check_promise(since, promise, nodes, wire)
            {
                self.record(now, property, key, culprits);
            }
        }
        while let Some(number) = self.due.due(now) {
            self.due.set(number, None);
            self.check_cluster(now, number, nodes, wire);
        }
        while let Some(number) = self.known.due(now) {
            self.known.set(number, None);
            self.ask_neighbors(now, number, nodes, wire);
        }
    }

    /// Returns the violations since the last call.
    pub(super) fn take_found(&mut self) -> Vec<Violation> {
        core::mem::take(&mut self.found)
    }

    /// Checks a promise. Returns `None` if a disturbance invalidated it.
    fn check_promise<H: Host>(
        &self,
        since: Instant,
        promise: Promise,
        nodes: &[Node<H>],
        wire: &Wire,
    ) -> Option<(RouterKey, Finding)> {
        let own = self.virtuals.get(promise.of() as usize)?;
        let cluster = self.clusters.get(own.cluster as usize)?;
        if promise.is_invalid(since, cluster) {
            return None;
        }
        let changes = |host, router| self.changes_of(host, router);
        let finding = promise.check(since, own, changes, nodes, wire)?;
        Some((own.key, finding))
    }

    /// Checks a cluster at the end of the bound.
    fn check_cluster<H: Host>(
        &mut self,
        now: Instant,
        number: u32,
        nodes: &[Node<H>],
        wire: &Wire,
    ) {
        let Some(cluster) = self.clusters.get_mut(number as usize) else {
            return;
        };
        cluster.is_stable = true;
        self.known.set(number, Some(now + cluster.bursts));
        for number in cluster.virtuals.clone() {
            let Some(own) = self.virtuals.get(number as usize) else {
                continue;
            };
            let key = own.key;
            for (property, culprits) in own.check_stable(nodes, wire) {
                self.record(now, property, key, culprits);
            }
            self.record(now, Property::NoFlapping, key, None);
        }
    }

    /// Checks the neighbours of a cluster after the last bursts.
    fn ask_neighbors<H: Host>(
        &mut self,
        now: Instant,
        number: u32,
        nodes: &[Node<H>],
        wire: &Wire,
    ) {
        let Some(cluster) = self.clusters.get(number as usize) else {
            return;
        };
        for number in cluster.virtuals.clone() {
            let own = self.virtuals.get(number as usize);
            let Some(own) = own.filter(|own| own.announces_again) else {
                continue;
            };
            let key = own.key;
            for culprits in own.check_neighbors(nodes, wire, self.network.longest_delay) {
                self.record(now, Property::LastAnnouncementIsOfActive, key, culprits);
            }
        }
    }

    fn virtual_at(&self, host: u32, router: u32) -> Option<&Virtual> {
        let number = self.by_place.get(host as usize)?.get(router as usize)?;
        self.virtuals.get(*number as usize)
    }

    fn virtual_mut(&mut self, key: RouterKey) -> Option<&mut Virtual> {
        let number = self.by_key.get(&key)?;
        self.virtuals.get_mut(*number as usize)
    }

    fn changes_of(&self, host: u32, router: u32) -> u64 {
        let of_host = self.changes.get(host as usize);
        of_host
            .and_then(|list| list.get(router as usize))
            .copied()
            .unwrap_or(0)
    }
}

/// An Active receives the advertisement of another router.
pub(super) struct Meeting {
    number: u32,
    host: u32,
    router: u32,
    from: u32,
    sent: Instant,
    wins: bool,
    is_answered: bool,
}
