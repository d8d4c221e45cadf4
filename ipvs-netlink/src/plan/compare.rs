//! The comparison of two tables.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Drain, Draining, DrainingDestination, Plan, PlanError, Policy, Scope, Step, Why};
use crate::{
    Destination, DestinationKey, ListedDestination, Protocol, Service, ServiceKey, Table,
    TableEntry, VirtualServer, Weight, message::Change,
};

/// Plans how to get from the kernel's table to the wanted one. `draining` is what the last plan said of it, `now` the time by the clock of
/// that plan.
///
/// The time it takes is linear in the size of both tables.
///
/// # Errors
///
/// A [`PlanError`] if what is wanted contradicts itself or the scope.
pub fn plan(
    actual: &Table,
    desired: &[VirtualServer],
    scope: &Scope<'_>,
    policy: &Policy,
    draining: &Draining,
    now: Duration,
) -> Result<Plan, PlanError> {
    Ok(Target::new(desired, *scope)?.plan(actual, policy, draining, now))
}

/// What is wanted, without contradictions.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) desired: &'a [VirtualServer],
    scope: Scope<'a>,
    /// The services of a [`Scope::Services`].
    ours: HashSet<ServiceKey>,
    wanted: HashSet<ServiceKey>,
}

impl<'a> Target<'a> {
    pub(super) fn new(desired: &'a [VirtualServer], scope: Scope<'a>) -> Result<Self, PlanError> {
        let ours = match scope {
            Scope::Services(keys) => keys.iter().copied().collect(),
            Scope::All | Scope::Matching(_) => HashSet::new(),
        };
        let mut target = Self {
            desired,
            scope,
            ours,
            wanted: HashSet::with_capacity(desired.len()),
        };
        let mut destinations = HashSet::new();
        for server in desired {
            let service = server.service.key;
            if !target.may_touch(&service) {
                return Err(PlanError::OutsideScope(service));
            }
            if !target.wanted.insert(service) {
                return Err(PlanError::ServiceTwice(service));
            }
            destinations.clear();
            for destination in server.destinations.iter().map(|wanted| wanted.key) {
                if !destinations.insert(destination) {
                    return Err(PlanError::DestinationTwice {
                        service,
                        destination,
                    });
                }
            }
        }
        Ok(target)
    }

    fn may_touch(&self, service: &ServiceKey) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Services(_) => self.ours.contains(service),
            Scope::Matching(matching) => matching(service),
        }
    }

    pub(super) fn plan(
        &self,
        actual: &Table,
        policy: &Policy,
        draining: &Draining,
        now: Duration,
    ) -> Plan {
        let there: HashMap<ServiceKey, &TableEntry> = actual
            .entries
            .iter()
            .map(|entry| (entry.service.service.key, entry))
            .collect();
        let mut work = Work {
            policy,
            before: draining,
            now,
            may_be_incomplete: actual.may_be_incomplete,
            plan: Plan::default(),
            removals: Vec::new(),
            deleted_services: Vec::new(),
        };
        for server in self.desired {
            match there.get(&server.service.key) {
                None => work.add(server),
                Some(entry) => work.change(entry, server),
            }
        }
        for entry in &actual.entries {
            let key = entry.service.service.key;
            if !self.wanted.contains(&key) && self.may_touch(&key) {
                work.remove(entry);
            }
        }
        if actual.may_be_incomplete {
            for (place, draining) in self.left_out(actual, draining) {
                work.wait_for(place, draining);
            }
        }
        work.finish()
    }

    /// What was being drained and is not in a list that may leave something out.
    fn left_out(
        &self,
        actual: &Table,
        before: &Draining,
    ) -> Vec<((ServiceKey, DestinationKey), DrainingDestination)> {
        let listed = actual.entries.iter().flat_map(|entry| {
            let service = entry.service.service.key;
            let keys = entry.destinations.iter();
            keys.map(move |listed| (service, listed.destination.key))
        });
        let wanted = self.desired.iter().flat_map(|server| {
            let keys = server.destinations.iter();
            keys.map(|wanted| (server.service.key, wanted.key))
        });
        let known: HashSet<_> = listed.chain(wanted).collect();
        before
            .destinations
            .iter()
            .filter(|(place, _)| !known.contains(place) && self.may_touch(&place.0))
            .map(|(place, draining)| (*place, *draining))
            .collect()
    }
}

struct Work<'a> {
    policy: &'a Policy,
    before: &'a Draining,
    now: Duration,
    may_be_incomplete: bool,
    plan: Plan,
    /// What takes from a service, after everything that gives.
    removals: Vec<Step>,
    /// Services that go, last of all.
    deleted_services: Vec<Step>,
}

impl Work<'_> {
    fn step(&mut self, change: Change, why: Why) {
        self.plan.steps.push(Step { change, why });
    }

    fn remove_with(&mut self, change: Change, why: Why) {
        self.removals.push(Step { change, why });
    }

    fn add(&mut self, server: &VirtualServer) {
        self.step(Change::AddService(server.service), Why::Missing);
        for destination in &server.destinations {
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

    fn change(&mut self, entry: &TableEntry, server: &VirtualServer) {
        self.change_service(entry.service.service, server.service);
        let service = server.service.key;
        let mut unwanted: HashMap<DestinationKey, Destination> = entry
            .destinations
            .iter()
            .map(|listed| (listed.destination.key, listed.destination))
            .collect();
        for destination in &server.destinations {
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
                Some(_) if update.takes_away() => self.removals.push(update),
                Some(_) => self.plan.steps.push(update),
            }
        }
        for listed in &entry.destinations {
            if unwanted.contains_key(&listed.destination.key) {
                self.remove_destination(&entry.service.service, listed);
            }
        }
    }

    fn change_service(&mut self, before: Service, wanted: Service) {
        let same_scheduler = before.scheduler == wanted.scheduler;
        let keep = !same_scheduler && !self.policy.change_schedulers;
        if keep {
            self.plan.schedulers_kept.push(wanted.key);
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

    /// A service that is not wanted: its destinations are drained first, all of them. With it would go those that a list left out.
    fn remove(&mut self, entry: &TableEntry) {
        let service = entry.service.service;
        let drains = self.policy.drain.is_some();
        let mut listed = entry.destinations.iter();
        if (drains && self.may_be_incomplete)
            || listed.any(|listed| self.to_drain(&service, listed).is_some())
        {
            for listed in &entry.destinations {
                self.remove_destination(&service, listed);
            }
            return;
        }
        let change = Change::DeleteService(service.key);
        let why = if drains { Why::Drained } else { Why::Unwanted };
        self.deleted_services.push(Step { change, why });
    }

    fn remove_destination(&mut self, service: &Service, listed: &ListedDestination) {
        let destination = listed.destination;
        let has_weight = destination.weight != Weight::ZERO;
        let Some(draining) = self.to_drain(service, listed) else {
            let change = Change::DeleteDestination {
                service: service.key,
                destination: destination.key,
            };
            let is_drained = !has_weight && self.policy.drain.is_some();
            let why = if is_drained {
                Why::Drained
            } else {
                Why::Unwanted
            };
            self.remove_with(change, why);
            return;
        };
        if has_weight {
            let destination = Destination {
                weight: Weight::ZERO,
                ..destination
            };
            let change = Change::UpdateDestination {
                service: service.key,
                destination,
            };
            self.remove_with(change, Why::Unwanted);
        }
        self.wait_for((service.key, destination.key), draining);
    }

    /// How a destination that is not wanted is to be drained; `None` if it can go at once.
    fn to_drain(
        &self,
        service: &Service,
        listed: &ListedDestination,
    ) -> Option<DrainingDestination> {
        let drain = self.policy.drain?;
        let limit = drain.limit(&service.key);
        if service.one_packet || limit.is_zero() {
            return None;
        }
        let Destination { key, weight, .. } = listed.destination;
        let from_now = DrainingDestination {
            since: self.now,
            weight,
        };
        // What has weight is given its time from when it has none.
        if weight != Weight::ZERO {
            return Some(from_now);
        }
        let remembered = self.before.destinations.get(&(service.key, key));
        let draining = remembered.map_or(from_now, |before| DrainingDestination {
            // A clock that begins anew does not make the time longer.
            since: before.since.min(self.now),
            ..*before
        });
        let is_over = self.now >= draining.since.saturating_add(limit)
            || connections(&drain, listed) <= u64::from(drain.connections);
        (!is_over).then_some(draining)
    }

    fn wait_for(&mut self, place: (ServiceKey, DestinationKey), draining: DrainingDestination) {
        if self.policy.drain.is_some() {
            self.plan.draining.destinations.insert(place, draining);
        }
    }

    fn finish(mut self) -> Plan {
        self.plan.steps.append(&mut self.removals);
        self.plan.steps.append(&mut self.deleted_services);
        self.plan.next_deadline = self.plan.draining.next_deadline(self.policy);
        self.plan
    }
}

impl Draining {
    /// When the first has been drained long enough.
    pub(super) fn next_deadline(&self, policy: &Policy) -> Option<Duration> {
        let drain = policy.drain?;
        let ends = self.destinations.iter();
        ends.map(|((service, _), draining)| draining.since.saturating_add(drain.limit(service)))
            .min()
    }
}

impl Drain {
    fn limit(&self, service: &ServiceKey) -> Duration {
        match service {
            ServiceKey::Address {
                protocol: Protocol::Udp,
                ..
            } => self.at_most_udp,
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
