//! A wanted table without contradictions.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::Entry},
};

use super::{Rejected, Scope, Wanted};
use crate::{
    Destination, DestinationKey, ForwardingMethod, Service, ServiceKey, VirtualServer, Weight,
};

/// A service to apply.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) service: Service,
    /// Each once.
    pub(super) destinations: Cow<'a, [Destination]>,
    /// Whether wanted destinations with a weight above 0 were rejected.
    pub(super) has_rejected: bool,
}

/// All services to apply.
#[derive(Debug)]
pub(super) struct Targets<'a> {
    pub(super) servers: Vec<Target<'a>>,
    pub(super) wanted: Wanted<'a>,
    pub(super) rejected: Vec<Rejected>,
    /// The services of a [`Scope::Services`].
    ours: HashSet<ServiceKey>,
    /// Services that are wanted, rejected or not.
    known: HashSet<ServiceKey>,
    /// Services that are left as they are.
    left_services: HashSet<ServiceKey>,
    /// Destinations that are left as they are.
    left_alone: HashSet<(ServiceKey, DestinationKey)>,
}

impl<'a> Targets<'a> {
    pub(super) fn new(wanted: Wanted<'a>) -> Self {
        let ours = match wanted.scope {
            Scope::Services(keys) => keys.iter().copied().collect(),
            Scope::All | Scope::Matching(_) => HashSet::new(),
        };
        let mut targets = Self {
            servers: Vec::with_capacity(wanted.servers.len()),
            wanted,
            rejected: Vec::new(),
            ours,
            known: HashSet::with_capacity(wanted.servers.len()),
            left_services: HashSet::new(),
            left_alone: HashSet::new(),
        };
        let twice = targets.services_twice();
        for server in wanted.servers {
            let service = server.service.key;
            if !targets.known.insert(service) {
                continue;
            }
            let target = if !targets.may_touch(&service) {
                Err(vec![Rejected::OutsideScope(service)])
            } else if twice.contains(&service) {
                Err(vec![Rejected::ServiceTwice(service)])
            } else {
                targets.target(server)
            };
            match target {
                Ok(target) => targets.servers.push(target),
                Err(rejected) => {
                    targets.left_services.insert(service);
                    targets.rejected.extend(rejected);
                }
            }
        }
        targets
    }

    /// Services that are wanted more than once, and not identical.
    fn services_twice(&self) -> HashSet<ServiceKey> {
        let mut first: HashMap<ServiceKey, &VirtualServer> =
            HashMap::with_capacity(self.wanted.servers.len());
        let mut twice = HashSet::new();
        for server in self.wanted.servers {
            match first.entry(server.service.key) {
                Entry::Vacant(place) => {
                    place.insert(server);
                }
                Entry::Occupied(place) if is_same(place.get(), server) => {}
                Entry::Occupied(_) => {
                    twice.insert(server.service.key);
                }
            }
        }
        twice
    }

    /// A service with each destination once, without those whose packets the kernel would send to
    /// another port.
    fn target(&mut self, server: &'a VirtualServer) -> Result<Target<'a>, Vec<Rejected>> {
        let service = server.service.key;
        let mut destinations = each_once(server)?;
        let is_wrong = |destination: &Destination| !keeps_port(service, destination);
        let mut has_rejected = false;
        if destinations.iter().any(is_wrong) {
            for destination in destinations.to_mut().extract_if(.., |it| is_wrong(it)) {
                has_rejected |= destination.weight != Weight::ZERO;
                self.left_alone.insert((service, destination.key));
                self.rejected.push(Rejected::Port {
                    service,
                    destination,
                });
            }
        }
        Ok(Target {
            service: server.service,
            destinations,
            has_rejected,
        })
    }

    pub(super) fn may_touch(&self, service: &ServiceKey) -> bool {
        match self.wanted.scope {
            Scope::All => true,
            Scope::Services(_) => self.ours.contains(service),
            Scope::Matching(matching) => matching(service),
        }
    }

    /// Whether a service is not wanted and may be removed.
    pub(super) fn is_unwanted(&self, service: &ServiceKey) -> bool {
        !self.known.contains(service) && self.may_touch(service)
    }

    /// Whether a wanted destination was rejected, so the kernel's stays as it is.
    pub(super) fn is_left_alone(&self, place: &(ServiceKey, DestinationKey)) -> bool {
        self.left_services.contains(&place.0) || self.left_alone.contains(place)
    }
}

/// The destinations of a service, of which identical ones count as one.
fn each_once(server: &VirtualServer) -> Result<Cow<'_, [Destination]>, Vec<Rejected>> {
    let mut destinations = Cow::Borrowed(server.destinations.as_slice());
    if destinations.is_sorted_by(|a, b| a.key < b.key) {
        return Ok(destinations);
    }
    let service = server.service.key;
    let mut first = HashMap::with_capacity(destinations.len());
    let mut clashes = Vec::new();
    for destination in &server.destinations {
        let before = first.insert(destination.key, destination);
        if before.is_some_and(|before| before != destination) {
            clashes.push(Rejected::DestinationTwice {
                service,
                destination: destination.key,
            });
        }
    }
    if !clashes.is_empty() {
        return Err(clashes);
    }
    if first.len() < destinations.len() {
        let mut seen = HashSet::new();
        destinations
            .to_mut()
            .retain(|destination| seen.insert(destination.key));
    }
    Ok(destinations)
}

fn is_same(a: &VirtualServer, b: &VirtualServer) -> bool {
    let sorted = |server: &VirtualServer| {
        let mut destinations = server.destinations.clone();
        destinations.sort_unstable();
        destinations.dedup();
        destinations
    };
    a.service == b.service && sorted(a) == sorted(b)
}

/// Whether packets arrive at the port that a destination names. Only masquerading changes ports. A
/// firewall mark may choose any traffic, so its ports are not compared.
fn keeps_port(service: ServiceKey, destination: &Destination) -> bool {
    let ServiceKey::Address { port, .. } = service else {
        return true;
    };
    match destination.forwarding {
        ForwardingMethod::Masquerade | ForwardingMethod::Bypass => true,
        ForwardingMethod::Local | ForwardingMethod::Tunnel(_) | ForwardingMethod::DirectRoute => {
            [0, port].contains(&destination.key.port)
        }
    }
}
