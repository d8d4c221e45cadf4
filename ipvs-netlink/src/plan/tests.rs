mod compare;
mod drain;
mod properties;
mod reconcile;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;
use crate::{
    Destination, Errno, Error, Family, ForwardingMethod, ListedDestination, ListedService,
    Persistence, Refusal, Scheduler, SchedulerFlags, Service, Stats, Table, TableEntry,
    VirtualServer, message::DecodeError,
};

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;

/// A service, or a destination of it.
type Object = (ServiceKey, Option<DestinationKey>);

/// A model of the kernel's table. It refuses the same changes as the kernel, with the same error
/// numbers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kernel {
    services: BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>,
    connections: HashMap<(ServiceKey, DestinationKey), u32>,
    /// Destinations that it refuses.
    refused: BTreeSet<DestinationKey>,
    /// Objects that exist and that lists leave out, because every list is torn.
    left_out: BTreeSet<Object>,
    /// Objects with unknown settings, until they are written.
    unreadable: BTreeSet<Object>,
}

impl Kernel {
    fn of(servers: &[VirtualServer]) -> Self {
        let mut kernel = Self::default();
        for server in servers {
            kernel.apply(Change::AddService(server.service)).unwrap();
            for destination in &server.destinations {
                let service = server.service.key;
                kernel
                    .apply(Change::AddDestination {
                        service,
                        destination: *destination,
                    })
                    .unwrap();
            }
        }
        kernel
    }

    fn apply(&mut self, change: Change) -> Result<(), Error> {
        let refused = |errno| {
            Error::from(Refusal {
                request: change.into(),
                errno: Errno(errno),
            })
        };
        let is_there = |key| self.services.contains_key(key);
        match change {
            Change::AddDestination { destination, .. }
            | Change::UpdateDestination { destination, .. }
                if self.refused.contains(&destination.key) =>
            {
                return Err(refused(EINVAL));
            }
            Change::AddService(service) | Change::UpdateService(service)
                if service.scheduler.as_str() == "nope" =>
            {
                return Err(refused(ENOENT));
            }
            Change::AddService(service) if is_there(&service.key) => return Err(refused(EEXIST)),
            Change::AddService(service) => {
                self.services
                    .insert(service.key, (service, BTreeMap::new()));
            }
            Change::UpdateService(service) => {
                self.services.get_mut(&service.key).ok_or(refused(ESRCH))?.0 = service;
                self.unreadable.remove(&(service.key, None));
            }
            Change::DeleteService(key) => {
                self.services.remove(&key).ok_or(refused(ESRCH))?;
            }
            Change::AddDestination {
                service,
                destination,
            } => {
                let (_, destinations) = self.services.get_mut(&service).ok_or(refused(ESRCH))?;
                if destinations.contains_key(&destination.key) {
                    return Err(refused(EEXIST));
                }
                destinations.insert(destination.key, destination);
            }
            Change::UpdateDestination {
                service,
                destination,
            } => {
                let (_, destinations) = self.services.get_mut(&service).ok_or(refused(ESRCH))?;
                *destinations
                    .get_mut(&destination.key)
                    .ok_or(refused(ENOENT))? = destination;
                self.unreadable.remove(&(service, Some(destination.key)));
            }
            Change::DeleteDestination {
                service,
                destination,
            } => {
                let (_, destinations) = self.services.get_mut(&service).ok_or(refused(ESRCH))?;
                destinations.remove(&destination).ok_or(refused(ENOENT))?;
            }
            Change::Flush => self.services.clear(),
            other => panic!("a plan has no {other}"),
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let is_listed =
            |object: &Object| !self.left_out.contains(object) && !self.unreadable.contains(object);
        let listed = |key: ServiceKey, destination: &Destination| ListedDestination {
            destination: *destination,
            active_connections: *self.connections.get(&(key, destination.key)).unwrap_or(&0),
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
            unknown: Vec::new(),
        };
        let entry = |(key, (service, destinations)): (&ServiceKey, &(Service, BTreeMap<_, _>))| {
            TableEntry {
                service: ListedService {
                    service: *service,
                    stats: Stats::default(),
                    unknown: Vec::new(),
                },
                destinations: destinations
                    .values()
                    .filter(|destination: &&Destination| is_listed(&(*key, Some(destination.key))))
                    .map(|destination| listed(*key, destination))
                    .collect(),
            }
        };
        Table {
            entries: self
                .services
                .iter()
                .filter(|(key, _)| is_listed(&(**key, None)))
                .map(entry)
                .collect(),
            may_be_incomplete: !self.left_out.is_empty(),
            unreadable: vec![DecodeError::Command(0); self.unreadable.len()],
        }
    }

    fn table_of(&self, services: &[ServiceKey]) -> Table {
        let mut table = self.table();
        table
            .entries
            .retain(|entry| services.contains(&entry.service.service.key));
        table
    }

    fn servers(&self) -> Vec<VirtualServer> {
        self.table().servers()
    }
}

const AT_ONCE: Policy = Policy::AT_ONCE;

fn sorted(mut servers: Vec<VirtualServer>) -> Vec<VirtualServer> {
    for server in &mut servers {
        server.destinations.sort_unstable();
    }
    servers.sort_unstable_by_key(|server| server.service.key);
    servers
}

fn web(host: u8) -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, host], 80))
}

fn server(host: u8) -> Destination {
    Destination::new(
        DestinationKey::new(([10, 0, 0, host], 80)),
        ForwardingMethod::Masquerade,
    )
}

fn of(service: ServiceKey, hosts: &[u8]) -> VirtualServer {
    VirtualServer {
        service: Service::new(service, Scheduler::WRR),
        destinations: hosts.iter().map(|host| server(*host)).collect(),
    }
}

fn plan_of(kernel: &Kernel, wanted: Wanted<'_>, policy: Policy) -> Plan {
    plan(
        &kernel.table(),
        wanted,
        &policy,
        &Draining::default(),
        Duration::ZERO,
    )
}

fn steps(kernel: &Kernel, desired: &[VirtualServer], policy: Policy) -> Vec<Step> {
    plan_of(kernel, Wanted::new(desired), policy).steps
}

fn lines(kernel: &Kernel, desired: &[VirtualServer], policy: Policy) -> Vec<String> {
    steps(kernel, desired, policy)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Reconciles with other programs at work before every change.
fn reconcile(
    kernel: &mut Kernel,
    mut work: Reconciliation<'_>,
    mut foreign: impl FnMut(&mut Kernel),
    mut watch: impl FnMut(&Kernel),
) -> ReconcileReport {
    loop {
        match work.next() {
            Next::Read => work.handle_table(&kernel.table()),
            Next::ReadServices(services) => work.handle_table(&kernel.table_of(&services)),
            Next::Apply(changes) => {
                let mut results = Vec::new();
                for change in changes {
                    foreign(kernel);
                    results.push(kernel.apply(change));
                    watch(kernel);
                }
                work.handle_results(results);
            }
            Next::Done(report) => return report,
        }
    }
}

/// The first call of a program that makes no second one.
fn begin(desired: &[VirtualServer], policy: Policy) -> Reconciliation<'_> {
    let reconciler = Box::leak(Box::new(Reconciler::new(policy)));
    reconciler.begin(Wanted::new(desired), Duration::ZERO)
}

fn quietly(kernel: &mut Kernel, desired: &[VirtualServer], policy: Policy) -> ReconcileReport {
    let work = begin(desired, policy);
    reconcile(kernel, work, |_| {}, |_| {})
}
