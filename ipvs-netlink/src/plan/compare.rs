//! The comparison of two tables.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    Drain, Draining, DrainingDestination, Plan, Policy, Removals, Step, Wanted, Why,
    target::{Target, Targets},
};
use crate::{
    Destination, DestinationKey, ListedDestination, Protocol, Service, ServiceKey, Table,
    TableEntry, Weight, message::Change,
};

/// Plans how to get from the kernel's table to the wanted one. `draining` comes from the last plan,
/// and `now` is the time of the same clock.
///
/// The time it takes is linear in the size of both tables.
#[must_use]
pub fn plan(
    actual: &Table,
    wanted: Wanted<'_>,
    policy: &Policy,
    draining: &Draining,
    now: Duration,
) -> Plan {
    let targets = Targets::new(wanted);
    let mut found = targets.compare(actual, None, policy, draining, now);
    found.plan.rejected = targets.rejected;
    found.plan
}

/// A plan, with notes for its execution.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) plan: Plan,
    /// Destinations that get weight 0 and have no connections: they may be deleted once they have
    /// it.
    pub(super) idle: HashSet<(ServiceKey, DestinationKey)>,
}

impl Targets<'_> {
    /// Plans for all services, or only for those that were read.
    pub(super) fn compare(
        &self,
        actual: &Table,
        only: Option<&HashSet<ServiceKey>>,
        policy: &Policy,
        draining: &Draining,
        now: Duration,
    ) -> Comparison {
        let is_concerned = |service: &ServiceKey| only.is_none_or(|only| only.contains(service));
        let there: HashMap<ServiceKey, &TableEntry> = actual
            .entries
            .iter()
            .map(|entry| (entry.service.service.key, entry))
            .collect();
        let mut work = Work {
            targets: self,
            policy,
            removals: self.wanted.removals,
            before: draining,
            now,
            may_be_incomplete: actual.may_be_incomplete,
            found: Comparison::default(),
            removed: Vec::new(),
            deleted_services: Vec::new(),
        };
        for server in &self.servers {
            match there.get(&server.service.key) {
                _ if !is_concerned(&server.service.key) => {}
                None => work.add(server),
                Some(entry) => work.change(entry, server),
            }
        }
        for entry in &actual.entries {
            let key = entry.service.service.key;
            if is_concerned(&key) && self.is_unwanted(&key) {
                work.remove(entry);
            }
        }
        // Services that were not read keep draining; so does anything that a list may have left
        // out.
        let others = draining.destinations.iter().filter(|(place, _)| {
            !is_concerned(&place.0) || !self.may_touch(&place.0) || self.is_left_alone(place)
        });
        let others: Vec<_> = others
            .map(|(place, draining)| (*place, *draining))
            .collect();
        let left_out = if actual.may_be_incomplete {
            self.left_out(actual, draining, is_concerned)
        } else {
            Vec::new()
        };
        let destinations = &mut work.found.plan.draining.destinations;
        destinations.extend(others.into_iter().chain(left_out));
        work.finish()
    }

    /// Draining destinations that are missing from a list that may be incomplete.
    fn left_out(
        &self,
        actual: &Table,
        before: &Draining,
        is_concerned: impl Fn(&ServiceKey) -> bool,
    ) -> Vec<((ServiceKey, DestinationKey), DrainingDestination)> {
        let listed = actual.entries.iter().flat_map(|entry| {
            let service = entry.service.service.key;
            let keys = entry.destinations.iter();
            keys.map(move |listed| (service, listed.destination.key))
        });
        let wanted = self.servers.iter().flat_map(|server| {
            let keys = server.destinations.iter();
            keys.map(|wanted| (server.service.key, wanted.key))
        });
        let known: HashSet<_> = listed.chain(wanted).collect();
        before
            .destinations
            .iter()
            .filter(|(place, _)| !known.contains(place))
            .filter(|(place, _)| self.may_touch(&place.0) && is_concerned(&place.0))
            .map(|(place, draining)| (*place, *draining))
            .collect()
    }
}

struct Work<'a> {
    targets: &'a Targets<'a>,
    policy: &'a Policy,
    removals: &'a Removals,
    before: &'a Draining,
    now: Duration,
    may_be_incomplete: bool,
    found: Comparison,
    /// Removals from services, after all additions.
    removed: Vec<Step>,
    /// Deleted services, last of all.
    deleted_services: Vec<Step>,
}

/// How a destination leaves.
#[derive(Clone, Copy)]
enum Leaving {
    Now { is_drained: bool },
    Drained(DrainingDestination),
}

impl Work<'_> {
    fn step(&mut self, change: Change, why: Why) {
        self.found.plan.steps.push(Step { change, why });
    }

    fn remove_with(&mut self, change: Change, why: Why) {
        self.removed.push(Step { change, why });
    }

    fn add(&mut self, server: &Target<'_>) {
        self.step(Change::AddService(server.service), Why::Missing);
        for destination in &*server.destinations {
            self.add_destination(server.service.key, *destination);
        }
    }

    fn add_destination(&mut self, service: ServiceKey, destination: Destination) {
        let change = Change::AddDestination {
            service,
            destination,
        };
        self.step(change, Why::Missing);
    }

    fn change(&mut self, entry: &TableEntry, server: &Target<'_>) {
        self.change_service(entry.service.service, server.service);
        if is_as_wanted(&entry.destinations, &server.destinations) {
            return;
        }
        let service = server.service.key;
        let mut unwanted: HashMap<DestinationKey, Destination> = entry
            .destinations
            .iter()
            .map(|listed| (listed.destination.key, listed.destination))
            .collect();
        for destination in &*server.destinations {
            let destination = *destination;
            let update = Step {
                change: Change::UpdateDestination {
                    service,
                    destination,
                },
                why: Why::Different,
            };
            match unwanted.remove(&destination.key) {
                None => self.add_destination(service, destination),
                Some(before) if before == destination => {}
                Some(_) if update.takes_away() => self.removed.push(update),
                Some(_) => self.found.plan.steps.push(update),
            }
        }
        for listed in &entry.destinations {
            let key = listed.destination.key;
            if unwanted.contains_key(&key) && !self.targets.is_left_alone(&(service, key)) {
                let leaving = self.leaving(&entry.service.service, listed, self.policy.drain);
                self.remove_destination(service, listed, leaving);
            }
        }
    }

    fn change_service(&mut self, before: Service, wanted: Service) {
        let same_scheduler = before.scheduler == wanted.scheduler;
        let keep = !same_scheduler && !self.policy.change_schedulers;
        if keep {
            self.found.plan.schedulers_kept.push(wanted.key);
        }
        // The flags belong to the scheduler and change with it.
        let mut first = wanted;
        if !same_scheduler {
            first.scheduler = before.scheduler;
            first.scheduler_flags = before.scheduler_flags;
        }
        if first != before {
            self.step(Change::UpdateService(first), Why::Different);
        }
        if !same_scheduler && !keep {
            self.step(Change::UpdateService(wanted), Why::SchedulerDifferent);
        }
    }

    /// Removes an unwanted service. All its destinations are drained first: deleting it would also
    /// delete destinations that a list left out.
    fn remove(&mut self, entry: &TableEntry) {
        let service = entry.service.service;
        let policy = self.policy.drain_services;
        let listed = entry.destinations.iter();
        let leaving: Vec<_> = listed
            .map(|listed| self.leaving(&service, listed, policy))
            .collect();
        let of_service = self.removals.services.get(&service.key).copied();
        let drains = of_service.unwrap_or(policy).is_some();
        let waits = |leaving: &Leaving| matches!(leaving, Leaving::Drained(_));
        if (drains && self.may_be_incomplete) || leaving.iter().any(waits) {
            for (listed, leaving) in entry.destinations.iter().zip(leaving) {
                self.remove_destination(service.key, listed, leaving);
            }
            return;
        }
        let change = Change::DeleteService(service.key);
        let why = if drains { Why::Drained } else { Why::Unwanted };
        self.deleted_services.push(Step { change, why });
    }

    fn remove_destination(
        &mut self,
        service: ServiceKey,
        listed: &ListedDestination,
        leaving: Leaving,
    ) {
        let destination = listed.destination;
        match leaving {
            Leaving::Now { is_drained } => {
                let why = if is_drained {
                    Why::Drained
                } else {
                    Why::Unwanted
                };
                let destination = destination.key;
                let change = Change::DeleteDestination {
                    service,
                    destination,
                };
                self.remove_with(change, why);
            }
            Leaving::Drained(draining) => {
                let place = (service, destination.key);
                self.found
                    .plan
                    .draining
                    .destinations
                    .insert(place, draining);
                if destination.weight != Weight::ZERO {
                    let destination = Destination {
                        weight: Weight::ZERO,
                        ..destination
                    };
                    let change = Change::UpdateDestination {
                        service,
                        destination,
                    };
                    self.remove_with(change, Why::Unwanted);
                }
            }
        }
    }

    /// Decides how an unwanted destination leaves.
    fn leaving(
        &mut self,
        service: &Service,
        listed: &ListedDestination,
        policy: Option<Drain>,
    ) -> Leaving {
        let Destination { key, weight, .. } = listed.destination;
        let has_weight = weight != Weight::ZERO;
        let place = (service.key, key);
        let remembered = self.before.destinations.get(&place);
        let own = self.removals.destinations.get(&place).copied();
        let rule = remembered.and_then(|before| before.rule);
        let of_service = self.removals.services.get(&service.key).copied();
        let of_others = if self.targets.is_unwanted(&service.key) {
            // How the service leaves was decided after the drain began.
            of_service.or(rule.map(Some))
        } else {
            rule.map(Some).or(of_service)
        };
        let Some(drain) = own.or(of_others).unwrap_or(policy) else {
            return Leaving::Now { is_drained: false };
        };
        let limit = drain.limit(&service.key, listed);
        if service.one_packet || limit.is_zero() {
            let is_drained = !has_weight;
            return Leaving::Now { is_drained };
        }
        // The time of a destination starts when its weight becomes 0.
        let begun = remembered.filter(|_| !has_weight);
        // A clock that starts again from 0 does not make the time longer.
        let since = begun.map_or(self.now, |before| before.since.min(self.now));
        let draining = DrainingDestination {
            since,
            until: since.saturating_add(limit),
            weight: begun.map_or(weight, |before| before.weight),
            rule: own.flatten().or(rule),
        };
        let is_idle = connections(&drain, listed) <= u64::from(drain.connections);
        if has_weight {
            if is_idle {
                self.found.idle.insert(place);
            }
            return Leaving::Drained(draining);
        }
        if is_idle || self.now >= draining.until {
            return Leaving::Now { is_drained: true };
        }
        Leaving::Drained(draining)
    }

    fn finish(mut self) -> Comparison {
        self.found.plan.steps.append(&mut self.removed);
        self.found.plan.steps.append(&mut self.deleted_services);
        self.found
    }
}

/// Whether a service has exactly the wanted destinations. This is the usual case, and sorting costs
/// less than the maps that find differences, above all if both are already in order: the kernel
/// lists the newest first.
fn is_as_wanted(listed: &[ListedDestination], wanted: &[Destination]) -> bool {
    if listed.len() != wanted.len() {
        return false;
    }
    let newest_last = listed.iter().rev().map(|listed| &listed.destination);
    if newest_last.clone().eq(wanted) {
        return true;
    }
    let mut listed: Vec<_> = newest_last.collect();
    let mut wanted: Vec<_> = wanted.iter().collect();
    listed.sort_unstable();
    wanted.sort_unstable();
    listed == wanted
}

impl Drain {
    /// How long a destination may keep connections. The kernel counts UDP connections as inactive,
    /// and a firewall mark does not show which protocol it marks.
    fn limit(&self, service: &ServiceKey, listed: &ListedDestination) -> Duration {
        match service {
            ServiceKey::Address {
                protocol: Protocol::Udp,
                ..
            } => self.at_most_udp,
            ServiceKey::FirewallMark { .. } if listed.active_connections == 0 => {
                self.at_most.min(self.at_most_udp)
            }
            _ => self.at_most,
        }
    }
}

fn connections(drain: &Drain, listed: &ListedDestination) -> u64 {
    let persistent = if drain.count_persistent {
        listed.persistent_connections
    } else {
        0
    };
    [
        listed.active_connections,
        listed.inactive_connections,
        persistent,
    ]
    .into_iter()
    .map(u64::from)
    .sum()
}
