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

/// Plans how to get from the kernel's table to the wanted one. `now` is the time by any clock that does not go back; `draining` is what
/// the last plan said of it.
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
    let scope = Selection::new(scope);
    let wanted = wanted(desired, &scope)?;
    let there: HashMap<ServiceKey, &TableEntry> = actual
        .entries
        .iter()
        .map(|entry| (entry.service.service.key, entry))
        .collect();
    let mut work = Work {
        policy,
        before: draining,
        now,
        plan: Plan::default(),
        removals: Vec::new(),
        deleted_services: Vec::new(),
    };
    for server in desired {
        match there.get(&server.service.key) {
            None => work.add(server),
            Some(entry) => work.change(entry, server),
        }
    }
    for entry in &actual.entries {
        let key = entry.service.service.key;
        if scope.contains(&key) && !wanted.contains(&key) {
            work.remove(entry);
        }
    }
    Ok(work.finish())
}

/// A scope that can be asked quickly.
enum Selection<'a> {
    All,
    Services(HashSet<ServiceKey>),
    Matching(&'a (dyn Fn(&ServiceKey) -> bool + Send + Sync)),
}

impl<'a> Selection<'a> {
    fn new(scope: &Scope<'a>) -> Self {
        match scope {
            Scope::All => Self::All,
            Scope::Services(keys) => Self::Services(keys.iter().copied().collect()),
            Scope::Matching(matching) => Self::Matching(*matching),
        }
    }

    fn contains(&self, key: &ServiceKey) -> bool {
        match self {
            Self::All => true,
            Self::Services(keys) => keys.contains(key),
            Self::Matching(matching) => matching(key),
        }
    }
}

fn wanted(
    desired: &[VirtualServer],
    scope: &Selection<'_>,
) -> Result<HashSet<ServiceKey>, PlanError> {
    let mut wanted = HashSet::with_capacity(desired.len());
    let mut destinations = HashSet::new();
    for server in desired {
        let service = server.service.key;
        if !scope.contains(&service) {
            return Err(PlanError::OutsideScope(service));
        }
        if !wanted.insert(service) {
            return Err(PlanError::ServiceTwice(service));
        }
        destinations.clear();
        for Destination {
            key: destination, ..
        } in &server.destinations
        {
            if !destinations.insert(*destination) {
                return Err(PlanError::DestinationTwice {
                    service,
                    destination: *destination,
                });
            }
        }
    }
    Ok(wanted)
}

struct Work<'a> {
    policy: &'a Policy,
    before: &'a Draining,
    now: Duration,
    plan: Plan,
    /// Destinations that go, after everything that comes.
    removals: Vec<Step>,
    /// Services that go, last of all.
    deleted_services: Vec<Step>,
}

impl Work<'_> {
    fn step(&mut self, change: Change, why: Why) {
        self.plan.steps.push(Step { change, why });
    }

    fn add(&mut self, server: &VirtualServer) {
        let service = server.service.key;
        self.step(Change::AddService(server.service), Why::Missing);
        for destination in &server.destinations {
            let destination = *destination;
            self.step(
                Change::AddDestination {
                    service,
                    destination,
                },
                Why::Missing,
            );
        }
    }

    fn change(&mut self, entry: &TableEntry, server: &VirtualServer) {
        self.change_service(entry.service.service, server.service);
        let service = server.service.key;
        let wanted: HashSet<DestinationKey> = server
            .destinations
            .iter()
            .map(|destination| destination.key)
            .collect();
        let there: HashMap<DestinationKey, &ListedDestination> = entry
            .destinations
            .iter()
            .map(|listed| (listed.destination.key, listed))
            .collect();
        let mut lighter = Vec::new();
        for destination in &server.destinations {
            let destination = *destination;
            match there.get(&destination.key).map(|listed| listed.destination) {
                None => self.step(
                    Change::AddDestination {
                        service,
                        destination,
                    },
                    Why::Missing,
                ),
                Some(before) if before == destination => {}
                Some(before) => {
                    let change = Change::UpdateDestination {
                        service,
                        destination,
                    };
                    if destination.weight < before.weight {
                        lighter.push(change);
                    } else {
                        self.step(change, Why::Different);
                    }
                }
            }
        }
        for change in lighter {
            self.step(change, Why::Different);
        }
        for listed in &entry.destinations {
            if !wanted.contains(&listed.destination.key) {
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

    /// A service that is not wanted: its destinations are drained first, all of them.
    fn remove(&mut self, entry: &TableEntry) {
        let service = entry.service.service;
        let mut left = false;
        for listed in &entry.destinations {
            left |= self.is_to_wait_for(&service, listed);
        }
        if !left {
            let change = Change::DeleteService(service.key);
            let why = if self.policy.drain.is_some() {
                Why::Drained
            } else {
                Why::Unwanted
            };
            self.deleted_services.push(Step { change, why });
            return;
        }
        for listed in &entry.destinations {
            self.remove_destination(&service, listed);
        }
    }

    fn remove_destination(&mut self, service: &Service, listed: &ListedDestination) {
        let destination = listed.destination;
        if !self.is_to_wait_for(service, listed) {
            let change = Change::DeleteDestination {
                service: service.key,
                destination: destination.key,
            };
            let drained = destination.weight == Weight::ZERO && self.policy.drain.is_some();
            let why = if drained { Why::Drained } else { Why::Unwanted };
            self.removals.push(Step { change, why });
            return;
        }
        let place = (service.key, destination.key);
        let remembered = self.before.destinations.get(&place).copied();
        let draining = remembered.unwrap_or(DrainingDestination {
            since: self.now,
            weight: destination.weight,
        });
        self.plan.draining.destinations.insert(place, draining);
        if let Some(limit) = self.limit(service) {
            let end = draining.since.saturating_add(limit);
            let next = self.plan.next_deadline.map_or(end, |next| next.min(end));
            self.plan.next_deadline = Some(next);
        }
        if destination.weight != Weight::ZERO {
            let destination = Destination {
                weight: Weight::ZERO,
                ..destination
            };
            let change = Change::UpdateDestination {
                service: service.key,
                destination,
            };
            self.removals.push(Step {
                change,
                why: Why::Unwanted,
            });
        }
    }

    fn limit(&self, service: &Service) -> Option<Duration> {
        let is_udp = matches!(
            service.key,
            ServiceKey::Address {
                protocol: Protocol::Udp,
                ..
            }
        );
        let drain = self.policy.drain?;
        Some(if is_udp {
            drain.at_most_udp
        } else {
            drain.at_most
        })
    }

    /// Whether a destination that is not wanted has to stay for a while.
    fn is_to_wait_for(&self, service: &Service, listed: &ListedDestination) -> bool {
        let (Some(drain), Some(limit)) = (self.policy.drain, self.limit(service)) else {
            return false;
        };
        if service.one_packet || limit.is_zero() {
            return false;
        }
        if connections(&drain, listed) <= u64::from(drain.connections)
            && listed.destination.weight == Weight::ZERO
        {
            return false;
        }
        let place = (service.key, listed.destination.key);
        let since = self
            .before
            .destinations
            .get(&place)
            .map_or(self.now, |draining| draining.since);
        // What still has weight is given its time, from when it has none.
        listed.destination.weight != Weight::ZERO || self.now < since.saturating_add(limit)
    }

    fn finish(mut self) -> Plan {
        self.plan.steps.append(&mut self.removals);
        self.plan.steps.append(&mut self.deleted_services);
        self.plan
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
