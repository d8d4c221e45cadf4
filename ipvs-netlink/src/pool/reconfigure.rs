//! Changes of the configuration.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    Cause, Check, Config, Operator, Out, Pool, PoolChange, RealServer, Target, Usage, Verdict,
    VirtualServer,
    check::CheckState,
    deadlines::Deadlines,
    lineage::{Origin, origins},
    machine::{Departed, number},
    random::Random,
    server::ServerState,
    service::ServiceState,
    target::{TargetState, User},
};
use crate::{ServiceKey, Table};

/// A check of the configuration, shared by all servers that have it.
#[derive(Clone)]
struct Shared<P> {
    /// The check without its address and its port.
    check: Arc<Check<P>>,
    probes: Arc<[P]>,
    name: Arc<str>,
    address: Option<IpAddr>,
    port: Option<u16>,
}

/// The checks of a configuration, each once: most servers have the same ones.
type Known<P> = BTreeMap<Arc<Check<P>>, Shared<P>>;

impl<P: Clone + Ord> Shared<P> {
    /// `before` is the number of checks before these.
    fn all(checks: Vec<Check<P>>, before: usize, known: &mut Known<P>) -> Vec<Self> {
        let shared = |(place, mut check): (usize, Check<P>)| {
            if check.name.is_empty() {
                check.name = format!("check {}", before + place + 1);
            }
            let (address, port) = (check.address.take(), check.port.take());
            if let Some(same) = known.get(&check) {
                return Self {
                    address,
                    port,
                    ..same.clone()
                };
            }
            let shared = Self {
                name: check.name.as_str().into(),
                probes: check.probes.as_slice().into(),
                check: Arc::new(check),
                address,
                port,
            };
            known.insert(Arc::clone(&shared.check), shared.clone());
            shared
        };
        checks.into_iter().enumerate().map(shared).collect()
    }
}

impl<P: Clone + Ord> Pool<P> {
    /// Brings a valid configuration into force.
    pub(super) fn apply(&mut self, now: Duration, config: Config<P>, table: Option<&Table>) {
        self.build(now, config);
        if let Some(table) = table {
            self.adopt(table);
        }
        self.begin(now);
    }

    /// Builds services, servers, checks and targets from a valid configuration.
    pub(super) fn build(&mut self, now: Duration, config: Config<P>) {
        self.max_running = config.max_running;
        self.stall = config.stall;
        if config.seed != self.seed {
            self.seed = config.seed;
            self.random = Random::new(config.seed);
        }
        for (_, target) in &mut self.targets {
            target.users.clear();
        }
        let old = std::mem::take(&mut self.services);
        let mut old: BTreeMap<ServiceKey, ServiceState<P>> = old
            .into_iter()
            .map(|service| (service.key(), service))
            .collect();
        let mut services = config.services;
        services.sort_by_key(VirtualServer::key);
        self.services.reserve_exact(services.len());
        let mut known = Known::new();
        for service in services {
            let before = old.remove(&service.key());
            self.add_service(now, service, before, &mut known);
        }
        for (key, service) in old {
            self.depart_service(now, key, &service);
        }
        self.remove_targets();
    }

    /// Starts the schedules of checks, and evaluates all services.
    pub(super) fn begin(&mut self, now: Duration) {
        let slots: Vec<u32> = self.targets.iter().map(|(slot, _)| number(slot)).collect();
        for slot in slots {
            self.refresh(now, slot);
        }
        self.steps = Deadlines::default();
        for place in 0..self.services.len() {
            self.evaluate(now, number(place), Cause::Configuration);
        }
    }

    fn add_service(
        &mut self,
        now: Duration,
        mut config: VirtualServer<P>,
        old: Option<ServiceState<P>>,
        known: &mut Known<P>,
    ) {
        let key = config.key();
        let checks = Shared::all(std::mem::take(&mut config.checks), 0, known);
        let mut servers = std::mem::take(&mut config.servers);
        servers.sort_by_key(RealServer::key);
        let config = Arc::new(config);
        let is_same = old
            .as_ref()
            .is_some_and(|old| old.config.service == config.service);
        if !is_same {
            self.changed.insert(key);
        }
        self.departed_services.remove(&key);
        let (mut state, old_servers) = match old {
            None => (ServiceState::new(Arc::clone(&config), now), Vec::new()),
            Some(mut old) => {
                let servers = std::mem::take(&mut old.servers);
                self.report_sorry_departed(now, &old, &config);
                old.config = Arc::clone(&config);
                (old, servers)
            }
        };
        let mut old: BTreeMap<_, _> = old_servers
            .into_iter()
            .map(|server| (server.key(), server))
            .collect();
        let service = number(self.services.len());
        state.servers.reserve_exact(servers.len());
        for (place, mut server) in servers.into_iter().enumerate() {
            let before = old.remove(&server.key());
            self.departed.remove(&(key, server.key()));
            if before.is_none() {
                let change = PoolChange::ServerAdded(server.key());
                self.journal.record(now, key, change, Cause::Configuration);
            }
            let user = User {
                service,
                server: number(place),
                check: 0,
            };
            let own = std::mem::take(&mut server.checks);
            let own = Shared::all(own, checks.len(), known);
            let checks = checks.iter().chain(&own);
            let server = self.add_server(now, user, &config, &server, checks, before);
            state.servers.push(server);
        }
        for server in old.into_values() {
            self.depart(now, &config, &server);
        }
        self.services.push(state);
    }

    /// Reports a sorry server in use that leaves the configuration or is replaced by another.
    fn report_sorry_departed(
        &mut self,
        now: Duration,
        old: &ServiceState<P>,
        config: &VirtualServer<P>,
    ) {
        let key_of = |config: &VirtualServer<P>| Some(config.sorry_server?.destination.key);
        let (before, after) = (key_of(&old.config), key_of(config));
        if let Some(before) = before
            && old.sorry_in
            && after != Some(before)
        {
            let mut changes = vec![];
            changes.extend(after.map(PoolChange::SorryIn));
            changes.push(PoolChange::SorryOut(before));
            for change in changes {
                self.journal
                    .record(now, old.key(), change, Cause::Configuration);
            }
            let departed = Departed {
                drain: config.drain,
                is_draining: false,
            };
            self.departed.insert((old.key(), before), departed);
        }
    }

    fn add_server<'a>(
        &mut self,
        now: Duration,
        user: User,
        service: &VirtualServer<P>,
        config: &RealServer<P>,
        checks: impl Iterator<Item = &'a Shared<P>>,
        old: Option<ServerState<P>>,
    ) -> ServerState<P>
    where
        P: 'a,
    {
        let inhibit = config
            .inhibit_on_failure
            .unwrap_or(service.inhibit_on_failure);
        let port = config.destination.key.port;
        let address = SocketAddr::new(
            config.destination.key.address,
            match service.key() {
                ServiceKey::Address {
                    port: virtual_port, ..
                } if port == 0 => virtual_port,
                _ => port,
            },
        );
        let is_old = old.is_some();
        let mut server = match old {
            Some(mut old) => {
                old.configure(config);
                old
            }
            None => ServerState::new(config, now),
        };
        server.inhibit = inhibit;
        let targets: Vec<(&Shared<P>, Arc<Target<P>>)> = checks
            .map(|shared| (shared, Arc::new(shared.target(address))))
            .collect();
        let old = std::mem::take(&mut server.checks);
        let origins = origins(
            old,
            &targets,
            |old, (_, target)| self.by_content.get(target) == Some(&old.target),
            |old, (shared, _)| old.check.weighs() == shared.check.weighs(),
        );
        server.checks.reserve_exact(targets.len());
        for ((shared, target), origin) in targets.into_iter().zip(origins) {
            let slot = self.add_target(now, target, &shared.check, &origin);
            let mut check =
                CheckState::new(Arc::clone(&shared.check), Arc::clone(&shared.name), slot);
            match origin {
                Origin::Same(old) => {
                    check.continue_from(&old);
                    self.hasten(now, slot, &check);
                }
                Origin::Replaces(old) => check.replace(old.verdict, old.report),
                Origin::New | Origin::Displaces(_) => {
                    if is_old && server.operator == Operator::Maintenance {
                        check.forget();
                    } else if is_old && server.health == Verdict::Up {
                        check.replace(Verdict::Up, None);
                    }
                }
            }
            let place = number(server.checks.len());
            let users = &mut self.targets[slot as usize].users;
            if users.is_empty() {
                // Most targets have one user.
                users.reserve_exact(1);
            }
            users.push(User {
                check: place,
                ..user
            });
            server.checks.push(check);
        }
        server
    }

    /// The slot of a target. The first probe for a check is due soon, also if another check has
    /// the same target; if the check replaces another, no later than that one was, so frequent
    /// changes do not postpone checks.
    fn add_target(
        &mut self,
        now: Duration,
        target: Arc<Target<P>>,
        check: &Check<P>,
        origin: &Origin<CheckState<P>>,
    ) -> u32 {
        let known = self.by_content.get(&target).copied();
        let slot = match (known, origin) {
            (Some(slot), Origin::Same(_)) => return slot,
            (Some(slot), _) => slot,
            (None, _) => {
                let slot = number(self.targets.insert(TargetState::new(Arc::clone(&target))));
                self.by_content.insert(target, slot);
                slot
            }
        };
        // The time over which the first probe is spread, and the latest time for it.
        let (spread, latest) = match origin {
            Origin::New | Origin::Same(_) => (check.spread(), Duration::MAX),
            Origin::Replaces(old) | Origin::Displaces(old) => {
                let due = self.starts.get(old.target);
                // Without a time its probe is under way.
                (check.fast().min(check.spread()), due.unwrap_or(now))
            }
        };
        if known.is_none() {
            let due = now.saturating_add(self.random.share().of(spread));
            self.starts.set_prompt(slot, due.min(latest));
        } else if let Some(due) = self.starts.get(slot)
            && due > latest.min(now.saturating_add(spread))
        {
            let due = now.saturating_add(self.random.share().of(spread));
            self.ask_by(slot, due.min(latest));
        }
        slot
    }

    /// Brings the next probe forward if an interval became shorter.
    fn hasten(&mut self, now: Duration, slot: u32, check: &CheckState<P>) {
        let wait = check.wait();
        if let Some(due) = self.starts.get(slot)
            && due > now.saturating_add(wait)
        {
            let due = now.saturating_add(self.random.share().of(wait));
            self.starts.bring_forward(slot, due);
        }
    }

    fn remove_targets(&mut self) {
        let unused = |(slot, target): (usize, &TargetState<P>)| {
            target.users.is_empty().then(|| number(slot))
        };
        let unused: Vec<u32> = self.targets.iter().filter_map(unused).collect();
        for slot in unused {
            self.cancel(slot);
            self.starts.set(slot, None);
            self.set_rate(slot, None);
            let target = self.targets.remove(slot as usize);
            self.by_content.remove(&target.target);
        }
    }

    fn depart_service(&mut self, now: Duration, key: ServiceKey, service: &ServiceState<P>) {
        for server in &service.servers {
            self.report_removed(now, key, server);
        }
        if service.sorry_in
            && let Some(sorry) = &service.config.sorry_server
        {
            let change = PoolChange::SorryOut(sorry.destination.key);
            self.journal.record(now, key, change, Cause::Configuration);
        }
        // They leave at once, with the service.
        self.departed.retain(|(service, _), _| *service != key);
        self.departed_services.insert(key);
        self.changed.insert(key);
    }

    fn depart(&mut self, now: Duration, service: &VirtualServer<P>, server: &ServerState<P>) {
        let key = service.key();
        self.report_removed(now, key, server);
        let is_alive = match server.usage {
            Usage::In(_) => true,
            Usage::Inhibited(out) | Usage::Out(out) => matches!(out, Out::Drain | Out::Sorry),
        };
        let drain = if is_alive {
            server.drain().or(service.drain)
        } else {
            service.drain_failed
        };
        let was_draining = server.draining_since.is_some();
        let is_draining = drain.is_some() && (was_draining || server.usage.is_in());
        if is_draining && !was_draining {
            let change = PoolChange::Draining(server.key());
            self.journal.record(now, key, change, Cause::Configuration);
        }
        let departed = Departed { drain, is_draining };
        self.departed.insert((key, server.key()), departed);
    }

    fn report_removed(&mut self, now: Duration, key: ServiceKey, server: &ServerState<P>) {
        let change = PoolChange::ServerRemoved {
            server: server.key(),
            was_up: server.health == Verdict::Up,
        };
        self.journal.record(now, key, change, Cause::Configuration);
    }
}

impl<P: Clone> Shared<P> {
    fn target(&self, server: SocketAddr) -> Target<P> {
        let address = self.address.unwrap_or(server.ip());
        let port = self.port.unwrap_or(server.port());
        Target {
            address: SocketAddr::new(address, port),
            probes: Arc::clone(&self.probes),
            time_limit: self.check.time_limit,
        }
    }
}
