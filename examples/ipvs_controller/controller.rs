//! The synchronization: objects and the node in, the kernel's table and the addresses out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use ipvs_netlink::{
    AsyncClient, Error, ServiceKey, Timeouts,
    plan::{Drain, Policy, ReconcileReport, Reconciler, Scope, Wanted},
};
use vrrp_examples::kubernetes::{Node, Objects, Settings, WantedTable, translate};

use crate::{
    interface::{Interface, InterfaceError},
    options::Configuration,
    ownership::Ownership,
    schedule::Extent,
};

/// Everything that a synchronization needs.
pub(crate) struct Controller {
    pub(crate) objects: Objects,
    node: String,
    settings: Settings,
    excluded: Vec<IpNet>,
    client: AsyncClient,
    interface: Interface,
    ownership: Ownership,
    reconciler: Reconciler,
    start: Instant,
    /// The table of the last synchronization.
    wanted: WantedTable,
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
    /// Addresses that were added and removed.
    pub(crate) added: usize,
    pub(crate) removed: usize,
}

impl Outcome {
    /// Whether nothing has to be tried again.
    pub(crate) fn is_success(&self) -> bool {
        self.report.is_complete()
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
            node: configuration.node.clone(),
            settings: settings(configuration),
            excluded: configuration.excluded.clone(),
            client,
            interface,
            ownership,
            reconciler: Reconciler::new(policy(configuration.drain)),
            start: Instant::now(),
            wanted: WantedTable::default(),
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

    /// The destinations that drain, as lines.
    pub(crate) fn draining(&self) -> impl Iterator<Item = String> {
        let destinations = self.reconciler.draining().destinations.iter();
        destinations.map(|((service, destination), _)| format!("{destination} of {service}"))
    }

    /// Brings the kernel to the state that the objects want. An address is added after its first
    /// service and removed after its last one, so no client is refused in between.
    pub(crate) async fn synchronize(&mut self, extent: Extent) -> Result<Outcome, SyncError> {
        let addresses = self.interface.addresses().await?;
        let node = Node {
            name: self.node.clone(),
            addresses: addresses.node.clone(),
        };
        let wanted = translate(&self.objects, &node, &self.settings);
        let keys: BTreeSet<ServiceKey> = wanted
            .servers
            .iter()
            .map(|server| server.service.key)
            .collect();
        self.ownership
            .claim(keys.iter().copied())
            .map_err(SyncError::State)?;
        let report = match extent {
            Extent::Full => self.reconcile_all(&wanted, &keys, &addresses).await?,
            Extent::Changes => self.reconcile_changes(&wanted, &keys).await?,
        };
        if report.is_complete() {
            let draining = &self.reconciler.draining().destinations;
            let draining: BTreeSet<_> = draining.keys().map(|(service, _)| *service).collect();
            let is_left = |key: &ServiceKey| is_excluded(&self.excluded, key);
            let keep =
                |key: &ServiceKey| keys.contains(key) || draining.contains(key) || is_left(key);
            self.ownership.retain(keep).map_err(SyncError::State)?;
        }
        let added = self.interface.add(&addresses, &wanted.addresses).await?;
        let mut keep = wanted.addresses.clone();
        keep.extend(self.addresses_of_others(&keys));
        let removed = self.interface.remove(addresses, &keep).await?;
        self.wanted = wanted;
        Ok(Outcome {
            report,
            added,
            removed,
        })
    }

    /// Services that are left as they are keep their addresses.
    fn addresses_of_others(&self, wanted: &BTreeSet<ServiceKey>) -> Vec<IpAddr> {
        let left = self.ownership.keys().filter(|key| !wanted.contains(key));
        left.filter_map(address).collect()
    }

    /// Reads the whole table. Services are this program's if it made them, or if their address is
    /// on its interface, as with those that kube-proxy left.
    async fn reconcile_all(
        &mut self,
        wanted: &WantedTable,
        keys: &BTreeSet<ServiceKey>,
        addresses: &crate::interface::Addresses,
    ) -> Result<ReconcileReport, SyncError> {
        let (ownership, excluded) = (&self.ownership, &self.excluded);
        let is_own = |key: &ServiceKey| {
            let is_bound = || address(key).is_some_and(|address| addresses.is_bound(&address));
            keys.contains(key)
                || ((ownership.contains(key) || is_bound()) && !is_excluded(excluded, key))
        };
        let wanted = Wanted::new(&wanted.servers).within(Scope::Matching(&is_own));
        let now = self.start.elapsed();
        Ok(self
            .client
            .reconcile(&mut self.reconciler, wanted, now)
            .await?)
    }

    /// Reads only services that changed, or that drain.
    async fn reconcile_changes(
        &mut self,
        wanted: &WantedTable,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<ReconcileReport, SyncError> {
        let draining = self.reconciler.draining().destinations.keys();
        let draining = draining.map(|(service, _)| *service);
        let concerned: BTreeSet<_> = wanted
            .changed_since(&self.wanted)
            .into_iter()
            .chain(draining)
            .filter(|key| keys.contains(key) || !is_excluded(&self.excluded, key))
            .collect();
        if concerned.is_empty() {
            return Ok(ReconcileReport::default());
        }
        let servers: Vec<_> = wanted
            .servers
            .iter()
            .filter(|server| concerned.contains(&server.service.key))
            .cloned()
            .collect();
        let concerned: Vec<_> = concerned.into_iter().collect();
        let wanted = Wanted::new(&servers).within(Scope::Services(&concerned));
        let now = self.start.elapsed();
        Ok(self
            .client
            .reconcile(&mut self.reconciler, wanted, now)
            .await?)
    }

    /// Removes everything that belongs to this program, except services in excluded networks.
    pub(crate) async fn clean_up(&mut self) -> Result<Outcome, SyncError> {
        self.objects = Objects::default();
        self.reconciler = Reconciler::new(Policy::AT_ONCE);
        let outcome = self.synchronize(Extent::Full).await?;
        let is_left = |key: &ServiceKey| is_excluded(&self.excluded, key);
        if !self.ownership.keys().any(is_left) {
            self.interface.delete().await?;
        }
        Ok(outcome)
    }

    /// The number of services and destinations by the last synchronization.
    pub(crate) fn size(&self) -> BTreeMap<&'static str, usize> {
        let servers = &self.wanted.servers;
        BTreeMap::from([
            ("services", servers.len()),
            (
                "destinations",
                servers.iter().map(|server| server.destinations.len()).sum(),
            ),
            ("addresses", self.wanted.addresses.len()),
            ("draining", self.reconciler.draining().destinations.len()),
            ("problems", self.wanted.problems.len()),
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
