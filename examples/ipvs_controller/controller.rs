//! The synchronization: objects and the node in, the kernel's table and the addresses out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use ipvs_netlink::{
    AsyncClient, DestinationKey, Error, ServiceKey, Timeouts, VirtualServer,
    message::Change,
    plan::{Drain, Policy, ReconcileReport, Reconciler, Scope, Wanted},
};
use vrrp_examples::kubernetes::{Node, Objects, Problem, Settings, WantedTable};

use crate::{
    interface::{AddressReport, Addresses, Interface, InterfaceError},
    options::Configuration,
    ownership::Ownership,
    schedule::Extent,
};

/// Everything that a synchronization needs.
pub(crate) struct Controller {
    pub(crate) objects: Objects,
    /// The node, with its addresses by the last full synchronization.
    node: Node,
    excluded: Vec<IpNet>,
    client: AsyncClient,
    interface: Interface,
    /// The addresses of the host by the last full synchronization, and those that were added since.
    addresses: Addresses,
    ownership: Ownership,
    reconciler: Reconciler,
    start: Instant,
    /// The table of the last synchronization.
    wanted: WantedTable,
    /// Services that differ since the last synchronization that did not fail.
    pending: BTreeSet<ServiceKey>,
    problems: Problems,
}

/// The problems that have not been reported, and a number that changes with any problem.
#[derive(Debug, Default)]
struct Problems {
    new: Vec<Problem>,
    version: u64,
}

/// The reason why a synchronization failed, wholly or in part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    #[error(transparent)]
    Table(#[from] ipvs_netlink::plan::ReconcileError),
    #[error("state file: {0}")]
    State(std::io::Error),
}

/// The result of a synchronization.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) report: ReconcileReport,
    pub(crate) addresses: AddressReport,
}

impl Outcome {
    /// Whether nothing has to be tried again.
    pub(crate) fn is_success(&self) -> bool {
        self.report.is_complete() && self.addresses.refused.is_none()
    }
}

/// Which unwanted services a report shows as gone.
struct Removals {
    /// Whether the absence of a service from the table proves anything.
    is_conclusive: bool,
    /// Services with a change that was not made.
    unfinished: BTreeSet<ServiceKey>,
    deleted: BTreeSet<ServiceKey>,
}

impl Removals {
    fn new(report: &ReconcileReport) -> Self {
        let failed = report.failed.iter().map(|failure| &failure.step);
        let unfinished = failed.chain(&report.held_back);
        let applied = report.applied.iter();
        Self {
            is_conclusive: !report.may_be_incomplete && !report.contended,
            unfinished: unfinished
                .filter_map(|step| step.change.service())
                .collect(),
            deleted: applied
                .filter_map(|step| match step.change {
                    Change::DeleteService(key) => Some(key),
                    _ => None,
                })
                .collect(),
        }
    }

    /// Whether an unwanted service is gone, provided that the synchronization covered it: the
    /// kernel has deleted it, or it is in no table that was read as a whole. Every change that an
    /// existing one needs was made or is in the report, so refusals of others do not matter.
    fn is_gone(&self, key: &ServiceKey) -> bool {
        !self.unfinished.contains(key) && (self.is_conclusive || self.deleted.contains(key))
    }
}

impl Controller {
    pub(crate) fn new(
        configuration: &Configuration,
        client: AsyncClient,
        interface: Interface,
        ownership: Ownership,
    ) -> Self {
        Self {
            objects: Objects::default(),
            node: Node {
                name: configuration.node.clone(),
                addresses: BTreeSet::new(),
            },
            excluded: configuration.excluded.clone(),
            client,
            interface,
            addresses: Addresses::default(),
            ownership,
            reconciler: Reconciler::new(policy(configuration.drain)),
            start: Instant::now(),
            wanted: WantedTable::new(settings(configuration)),
            pending: BTreeSet::new(),
            problems: Problems::default(),
        }
    }

    /// Sets the timeouts of connections.
    pub(crate) async fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Error> {
        self.client.set_timeouts(timeouts).await
    }

    /// The table of the last synchronization.
    pub(crate) fn wanted(&self) -> &WantedTable {
        &self.wanted
    }

    /// Returns the problems that are new since the last call.
    pub(crate) fn take_new_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems.new)
    }

    /// A number that changes when a problem comes or goes.
    pub(crate) fn problems_version(&self) -> u64 {
        self.problems.version
    }

    /// The destinations that drain, as lines.
    pub(crate) fn draining(&self) -> impl Iterator<Item = String> {
        let destinations = self.reconciler.draining().destinations.iter();
        destinations.map(|((service, destination), _)| format!("{destination} of {service}"))
    }

    /// Brings the kernel to the state that the objects want. An address is added after its first
    /// service and removed after its last one, so no client is refused in between.
    ///
    /// The work for changes depends on the services that differ, not on the size of the table.
    pub(crate) async fn synchronize(&mut self, extent: Extent) -> Result<Outcome, SyncError> {
        if extent == Extent::Full {
            self.addresses = self.interface.addresses().await?;
            self.node.addresses.clone_from(&self.addresses.node);
        }
        self.update();
        let wanted = &self.wanted;
        let claimed = self.pending.iter().copied();
        self.ownership
            .claim(claimed.filter(|key| wanted.server(key).is_some()))
            .map_err(SyncError::State)?;
        let (report, concerned) = match extent {
            Extent::Full => (self.reconcile_all().await?, None),
            Extent::Changes | Extent::Drains => {
                let concerned = self.concerned(extent);
                (self.reconcile_some(&concerned).await?, Some(concerned))
            }
        };
        self.release(concerned.as_deref(), &Removals::new(&report))?;
        let addresses = self.bind(concerned.as_deref()).await;
        self.pending.clear();
        Ok(Outcome { report, addresses })
    }

    /// Brings the wanted table up to date.
    fn update(&mut self) {
        let differences = self.wanted.update(&mut self.objects, &self.node);
        self.pending.extend(differences.services);
        if !differences.new_problems.is_empty() || differences.solved_problems > 0 {
            self.problems.version += 1;
        }
        self.problems.new.extend(differences.new_problems);
    }

    /// The services to synchronize: those that changed, and with [`Extent::Drains`] those that
    /// drain.
    fn concerned(&self, extent: Extent) -> Vec<ServiceKey> {
        let mut concerned = self.pending.clone();
        if extent == Extent::Drains {
            let draining = self.reconciler.draining().destinations.keys();
            concerned.extend(draining.map(|(service, _)| *service));
        }
        let may_touch = |key: &ServiceKey| {
            self.wanted.server(key).is_some() || !is_excluded(&self.excluded, key)
        };
        concerned.into_iter().filter(may_touch).collect()
    }

    /// Gives up services that are gone: of these, or of all.
    fn release(
        &mut self,
        concerned: Option<&[ServiceKey]>,
        removals: &Removals,
    ) -> Result<(), SyncError> {
        let is_gone = |key: &ServiceKey| {
            self.wanted.server(key).is_none()
                && removals.is_gone(key)
                && !self.is_draining(key)
                && !is_excluded(&self.excluded, key)
        };
        let gone: Vec<_> = match concerned {
            Some(concerned) => concerned.iter().copied().filter(is_gone).collect(),
            None => self.ownership.keys().copied().filter(is_gone).collect(),
        };
        self.ownership
            .release(gone.into_iter())
            .map_err(SyncError::State)
    }

    fn is_draining(&self, service: &ServiceKey) -> bool {
        let first = DestinationKey::new((Ipv4Addr::UNSPECIFIED, 0));
        let mut from_service = self
            .reconciler
            .draining()
            .destinations
            .range((*service, first)..);
        from_service
            .next()
            .is_some_and(|((draining, _), _)| draining == service)
    }

    /// Adds and removes addresses: of these services, or all. Services that are left as they are
    /// keep their addresses.
    async fn bind(&mut self, concerned: Option<&[ServiceKey]>) -> AddressReport {
        let wanted = self.wanted.addresses();
        let candidates: BTreeSet<IpAddr> = match concerned {
            Some(concerned) => concerned.iter().filter_map(address).collect(),
            None => self
                .addresses
                .bound()
                .chain(wanted.iter().copied())
                .collect(),
        };
        let is_missing = |it: &IpAddr| wanted.contains(it) && !self.addresses.is_bound(it);
        let is_unwanted = |it: &IpAddr| {
            !wanted.contains(it)
                && self.addresses.is_removable(it)
                && self
                    .ownership
                    .keys_at(*it)
                    .all(|key| self.wanted.server(key).is_some())
        };
        let missing: Vec<_> = candidates.iter().copied().filter(is_missing).collect();
        let unwanted: Vec<_> = candidates.iter().copied().filter(is_unwanted).collect();
        let mut report = AddressReport::default();
        let (interface, addresses) = (&self.interface, &mut self.addresses);
        interface.add(addresses, &missing, &mut report).await;
        interface.remove(addresses, &unwanted, &mut report).await;
        report
    }

    /// Reads the whole table. Services are this program's if it made them, or if their address is
    /// on its interface, as with those that kube-proxy left.
    async fn reconcile_all(&mut self) -> Result<ReconcileReport, SyncError> {
        let (ownership, excluded) = (&self.ownership, &self.excluded);
        let (wanted, addresses) = (&self.wanted, &self.addresses);
        let is_own = |key: &ServiceKey| {
            let is_bound = || address(key).is_some_and(|address| addresses.is_bound(&address));
            wanted.server(key).is_some()
                || ((ownership.contains(key) || is_bound()) && !is_excluded(excluded, key))
        };
        let servers: Vec<VirtualServer> = wanted.servers().cloned().collect();
        let wanted = Wanted::new(&servers).within(Scope::Matching(&is_own));
        let now = self.start.elapsed();
        Ok(self
            .client
            .reconcile(&mut self.reconciler, wanted, now)
            .await?)
    }

    /// Reads only these services.
    async fn reconcile_some(
        &mut self,
        concerned: &[ServiceKey],
    ) -> Result<ReconcileReport, SyncError> {
        let now = self.start.elapsed();
        if concerned.is_empty() {
            return Ok(ReconcileReport {
                wait: self.reconciler.draining().wait(now),
                ..ReconcileReport::default()
            });
        }
        let servers = concerned.iter().filter_map(|key| self.wanted.server(key));
        let servers: Vec<_> = servers.cloned().collect();
        let wanted = Wanted::new(&servers).within(Scope::Services(concerned));
        Ok(self
            .client
            .reconcile(&mut self.reconciler, wanted, now)
            .await?)
    }

    /// Removes everything that belongs to this program, except services in excluded networks.
    pub(crate) async fn clean_up(&mut self) -> Result<Outcome, SyncError> {
        self.objects = Objects::default();
        self.reconciler = Reconciler::new(Policy::AT_ONCE);
        let mut outcome = self.synchronize(Extent::Full).await?;
        let is_left = |key: &ServiceKey| is_excluded(&self.excluded, key);
        if !self.ownership.keys().any(is_left) {
            self.interface.delete().await?;
            // Its addresses went with it.
            outcome.addresses.refused = None;
        }
        Ok(outcome)
    }

    /// The number of services and destinations by the last synchronization.
    pub(crate) fn size(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([
            ("services", self.wanted.servers().len()),
            ("destinations", self.wanted.destinations()),
            ("addresses", self.wanted.addresses().len()),
            ("draining", self.reconciler.draining().destinations.len()),
            ("problems", self.wanted.problems().len()),
        ])
    }
}

/// The settings of the translation.
pub(crate) fn settings(configuration: &Configuration) -> Settings {
    Settings {
        scheduler: configuration.scheduler,
        node_port_addresses: configuration.node_port_addresses.clone(),
    }
}

/// A removed endpoint keeps its TCP and SCTP connections for a time; UDP endpoints are removed at
/// once. The endpoints of a removed service are removed with it.
fn policy(drain: Duration) -> Policy {
    Policy {
        drain: Some(Drain {
            at_most: drain,
            at_most_udp: Duration::ZERO,
            ..Drain::default()
        }),
        drain_services: None,
        ..Policy::AT_ONCE
    }
}

fn address(key: &ServiceKey) -> Option<IpAddr> {
    match key {
        ServiceKey::Address { address, .. } => Some(*address),
        ServiceKey::FirewallMark { .. } => None,
    }
}

fn is_excluded(networks: &[IpNet], key: &ServiceKey) -> bool {
    address(key).is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ipvs_netlink::{
        Errno, Refusal,
        plan::{Failure, Step, Why},
    };

    use super::*;

    fn key(number: u8) -> ServiceKey {
        ServiceKey::tcp(([10, 96, 0, number], 80))
    }

    fn deletion(number: u8) -> Step {
        Step {
            change: Change::DeleteService(key(number)),
            why: Why::Unwanted,
        }
    }

    fn refused(number: u8) -> Failure {
        let step = deletion(number);
        let refusal = Refusal {
            request: step.change.into(),
            errno: Errno(16),
        };
        Failure {
            step,
            error: Error::Refused(Box::new(refusal)),
        }
    }

    fn gone(report: &ReconcileReport) -> [bool; 3] {
        let removals = Removals::new(report);
        [1, 2, 3].map(|number| removals.is_gone(&key(number)))
    }

    #[test]
    fn a_refused_deletion_keeps_its_own_service_only() {
        let report = ReconcileReport {
            applied: vec![deletion(1)],
            failed: vec![refused(2)],
            ..ReconcileReport::default()
        };
        assert_eq!(gone(&report), [true, false, true]);
    }

    #[test]
    fn a_removal_that_is_held_back_keeps_its_service() {
        let report = ReconcileReport {
            held_back: vec![deletion(2)],
            ..ReconcileReport::default()
        };
        assert_eq!(gone(&report), [true, false, true]);
    }

    #[test]
    fn where_absence_proves_nothing_only_deleted_services_are_gone() {
        let report = ReconcileReport {
            applied: vec![deletion(1)],
            failed: vec![refused(2)],
            may_be_incomplete: true,
            ..ReconcileReport::default()
        };
        assert_eq!(gone(&report), [true, false, false]);
        let report = ReconcileReport {
            may_be_incomplete: false,
            contended: true,
            ..report
        };
        assert_eq!(gone(&report), [true, false, false]);
    }
}
