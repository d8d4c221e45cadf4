//! The wanted table, and its changes.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    ops::RangeInclusive,
};

use ipvs_netlink::{Protocol, ServiceKey, VirtualServer};

use super::{
    object::ObjectKey,
    objects::Objects,
    problem::Problem,
    service::translate_service,
    settings::{Node, Settings},
};

/// The wanted state of a node, kept up to date with its [`Objects`].
///
/// The same objects give the same table, however they arrived. Objects report each change once, so
/// they keep one table up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedTable {
    settings: Settings,
    node: Node,
    /// The parts of the table that come from each Service.
    parts: BTreeMap<ObjectKey, Part>,
    servers: BTreeMap<ServiceKey, Claim>,
    /// Services that want a key that another one has.
    rivals: BTreeMap<ServiceKey, BTreeMap<ObjectKey, VirtualServer>>,
    addresses: BTreeSet<IpAddr>,
    destinations: usize,
    problems: BTreeSet<Problem>,
}

/// The keys that a Service wants, and its own problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    keys: Vec<ServiceKey>,
    problems: Vec<Problem>,
}

/// A service of IPVS with the object that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    object: ObjectKey,
    server: VirtualServer,
}

/// The differences between a table and the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The services that are new, changed or gone, in the order of their keys.
    pub services: Vec<ServiceKey>,
    /// The problems that are new, in order.
    pub new_problems: Vec<Problem>,
    /// The number of problems that are gone.
    pub solved_problems: usize,
}

impl WantedTable {
    /// Creates an empty table.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Brings the table up to date, and returns the differences. Only Services that have changed
    /// are translated, or all of them if the node has changed.
    pub fn update(&mut self, objects: &mut Objects, node: &Node) -> Differences {
        let mut services = objects.take_changed();
        if self.node != *node {
            self.node.clone_from(node);
            services.extend(objects.services().cloned());
        }
        self.translate(objects, services)
    }

    fn translate(
        &mut self,
        objects: &Objects,
        services: impl IntoIterator<Item = ObjectKey>,
    ) -> Differences {
        let mut work = Update {
            table: self,
            before: BTreeMap::new(),
            removed_problems: BTreeSet::new(),
            new_problems: Vec::new(),
        };
        for key in services {
            work.replace(objects, key);
        }
        work.finish()
    }

    /// The services of IPVS, in the order of their keys.
    #[must_use]
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &VirtualServer> {
        self.servers.values().map(|claim| &claim.server)
    }

    /// A service of IPVS.
    #[must_use]
    pub fn server(&self, key: &ServiceKey) -> Option<&VirtualServer> {
        self.servers.get(key).map(|claim| &claim.server)
    }

    /// The number of destinations of all services.
    #[must_use]
    pub fn destinations(&self) -> usize {
        self.destinations
    }

    /// The addresses that the node needs to receive the traffic of the services. Addresses that it
    /// has on another interface are not among them.
    #[must_use]
    pub fn addresses(&self) -> &BTreeSet<IpAddr> {
        &self.addresses
    }

    /// The parts that are not served, in order.
    #[must_use]
    pub fn problems(&self) -> &BTreeSet<Problem> {
        &self.problems
    }

    /// Whether a service has an address.
    fn has_service_at(&self, address: IpAddr) -> bool {
        let mut ranges = keys_at(address).into_iter();
        ranges.any(|keys| self.servers.range(keys).next().is_some())
    }

    /// Adds or removes the address of a service.
    fn update_address(&mut self, key: &ServiceKey) {
        let ServiceKey::Address { address, .. } = *key else {
            return;
        };
        // Addresses of the node itself arrive without another interface.
        if self.has_service_at(address) && !self.node.addresses.contains(&address) {
            self.addresses.insert(address);
        } else {
            self.addresses.remove(&address);
        }
    }

    /// The problems of Services whose key another one has.
    fn taken(&self, key: &ServiceKey) -> Vec<Problem> {
        let rivals = self.rivals.get(key).into_iter().flatten();
        let by = self.servers.get(key);
        let problem = |(object, _): (&ObjectKey, _)| {
            Some(Problem::Taken {
                object: object.clone(),
                key: *key,
                by: by?.object.clone(),
            })
        };
        rivals.filter_map(problem).collect()
    }
}

/// The keys of all services that an address can have.
#[must_use]
pub fn keys_at(address: IpAddr) -> [RangeInclusive<ServiceKey>; 3] {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(|protocol| {
        let key = |port| ServiceKey::new(protocol, address, port);
        key(0)..=key(u16::MAX)
    })
}

/// A change of a table.
struct Update<'a> {
    table: &'a mut WantedTable,
    /// The services that were touched, as they were before.
    before: BTreeMap<ServiceKey, Option<VirtualServer>>,
    /// The problems that were removed, and not added again.
    removed_problems: BTreeSet<Problem>,
    /// The problems that were not there before.
    new_problems: Vec<Problem>,
}

impl Update<'_> {
    /// Translates a Service.
    fn replace(&mut self, objects: &Objects, key: ObjectKey) {
        let (mut servers, problems) = match objects.service(&key) {
            Some(service) => {
                let (node, settings) = (&self.table.node, &self.table.settings);
                translate_service(&key, service, &objects.slices_of(&key), node, settings)
            }
            None => (BTreeMap::new(), Vec::new()),
        };
        let new = Part {
            keys: servers.keys().copied().collect(),
            problems,
        };
        let old = self.table.parts.get_mut(&key).map(std::mem::take);
        let old = old.unwrap_or_default();
        for problem in &old.problems {
            self.remove_problem(problem);
        }
        for service in &old.keys {
            self.touch(service);
            match servers.remove(service) {
                Some(server) => self.modify(*service, &key, server),
                None => self.withdraw(service, &key),
            }
        }
        for (service, server) in servers {
            self.touch(&service);
            self.claim(service, &key, server);
        }
        for problem in &new.problems {
            self.add_problem(problem);
        }
        if new == Part::default() {
            self.table.parts.remove(&key);
        } else {
            self.table.parts.insert(key, new);
        }
    }

    /// Remembers a service before it may change.
    fn touch(&mut self, key: &ServiceKey) {
        let Entry::Vacant(place) = self.before.entry(*key) else {
            return;
        };
        place.insert(self.table.server(key).cloned());
        for problem in self.table.taken(key) {
            self.remove_problem(&problem);
        }
    }

    fn remove_problem(&mut self, problem: &Problem) {
        if let Some(problem) = self.table.problems.take(problem) {
            self.removed_problems.insert(problem);
        }
    }

    fn add_problem(&mut self, problem: &Problem) {
        let is_new = self.table.problems.insert(problem.clone());
        if is_new && !self.removed_problems.remove(problem) {
            self.new_problems.push(problem.clone());
        }
    }

    /// Replaces a service that an object has or wants.
    fn modify(&mut self, key: ServiceKey, object: &ObjectKey, server: VirtualServer) {
        match self.table.servers.get_mut(&key) {
            Some(claim) if claim.object == *object => claim.server = server,
            _ => {
                if let Some(rivals) = self.table.rivals.get_mut(&key) {
                    rivals.insert(object.clone(), server);
                }
            }
        }
    }

    /// Adds a service that an object wants. The first object in the order of names gets it.
    fn claim(&mut self, key: ServiceKey, object: &ObjectKey, server: VirtualServer) {
        let mut claim = Claim {
            object: object.clone(),
            server,
        };
        match self.table.servers.entry(key) {
            Entry::Vacant(place) => {
                place.insert(claim);
            }
            Entry::Occupied(mut place) => {
                if *object < place.get().object {
                    std::mem::swap(place.get_mut(), &mut claim);
                }
                let rivals = self.table.rivals.entry(key).or_default();
                rivals.insert(claim.object, claim.server);
            }
        }
    }

    /// Removes a service that an object had or wanted. The next object gets it.
    fn withdraw(&mut self, key: &ServiceKey, object: &ObjectKey) {
        let table = &mut *self.table;
        let rivals = table.rivals.get_mut(key);
        match table.servers.get_mut(key) {
            Some(claim) if claim.object == *object => match rivals.and_then(BTreeMap::pop_first) {
                Some((object, server)) => *claim = Claim { object, server },
                None => drop(table.servers.remove(key)),
            },
            _ => {
                if let Some(rivals) = rivals {
                    rivals.remove(object);
                }
            }
        }
        if table.rivals.get(key).is_some_and(BTreeMap::is_empty) {
            table.rivals.remove(key);
        }
    }

    fn finish(mut self) -> Differences {
        let mut services = Vec::new();
        for (key, before) in std::mem::take(&mut self.before) {
            for problem in self.table.taken(&key) {
                self.add_problem(&problem);
            }
            self.table.update_address(&key);
            let after = self.table.server(&key);
            if after == before.as_ref() {
                continue;
            }
            let count = |server: &VirtualServer| server.destinations.len();
            let after = after.map_or(0, count);
            let before = before.as_ref().map_or(0, count);
            self.table.destinations = self.table.destinations + after - before;
            services.push(key);
        }
        self.new_problems.sort_unstable();
        Differences {
            services,
            new_problems: self.new_problems,
            solved_problems: self.removed_problems.len(),
        }
    }
}

/// Translates objects into the wanted state of a node.
#[must_use]
pub fn translate(objects: &Objects, node: &Node, settings: &Settings) -> WantedTable {
    let mut table = WantedTable {
        node: node.clone(),
        ..WantedTable::new(settings.clone())
    };
    table.translate(objects, objects.services().cloned());
    table
}
