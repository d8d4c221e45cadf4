//! The state of a pool for a successor in another process.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use super::{
    Cause, Config, ConfigErrors, Counters, Level, Operator, Outcome, Pool, PoolChange,
    ServerCounters, Usage, Verdict, WeightReport,
    check::CheckState,
    lineage::{Origin, origins},
    machine::{Departed, number},
    server::ServerState,
    service::ServiceState,
    target::{Answer, TargetState},
};
use crate::{DestinationKey, ServiceKey, Weight};

/// The state of a [`Pool`] for its successor: [`Pool::snapshot`] and [`Pool::restore`].
///
/// It has health, counts, schedules, and the settings of the operator, but no configuration and no
/// attempts. The successor has its own configuration; parts that are in both continue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct PoolSnapshot {
    now: Duration,
    services: Vec<ServiceSnapshot>,
    targets: Vec<TargetSnapshot>,
    departed_services: Vec<ServiceId>,
    departed: Vec<(ServiceId, ServerId)>,
    counters: Counters,
    sequence: u64,
}

/// A service, as the text that it prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(transparent)
)]
struct ServiceId(#[cfg_attr(feature = "serde", serde(with = "super::file::as_text"))] ServiceKey);

/// A server, as the text that it prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(transparent)
)]
struct ServerId(
    #[cfg_attr(feature = "serde", serde(with = "super::file::as_text"))] DestinationKey,
);

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
struct ServiceSnapshot {
    key: ServiceId,
    servers: Vec<ServerSnapshot>,
    quorum: Level,
    quorum_since: Duration,
    sorry_in: bool,
    braked: usize,
    panicking: usize,
    suspended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
// The flags are independent facts.
#[allow(clippy::struct_excessive_bools)]
struct ServerSnapshot {
    key: ServerId,
    checks: Vec<CheckSnapshot>,
    operator: Operator,
    weight: Option<u32>,
    health: Verdict,
    since: Duration,
    is_presumed_down: bool,
    was_in: bool,
    was_up: bool,
    rising_since: Option<Duration>,
    usage: Usage,
    placed: Option<u32>,
    is_new: bool,
    draining_since: Option<Duration>,
    counters: ServerCounters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
struct CheckSnapshot {
    /// The place of its target.
    target: u32,
    verdict: Verdict,
    unchecked: bool,
    is_presumed: bool,
    failures: u32,
    successes: u32,
    report: Option<WeightReport>,
    /// Whether it changes the weight of its server, and never takes the server out.
    #[cfg_attr(feature = "serde", serde(default))]
    weighs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
struct TargetSnapshot {
    content: Content,
    /// The place of the next probe among those of the target.
    place: usize,
    /// When the next probe is due. One under way is due again.
    due: Option<Duration>,
    failed: bool,
    unspread: bool,
    forgiven: bool,
    last: Option<(Duration, Outcome)>,
}

/// The identity of a target, without the attempts themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
struct Content {
    address: SocketAddr,
    time_limit: Duration,
    attempts: u64,
}

/// When targets are due at the latest, although their schedules continue.
struct Dues<'a> {
    /// When the targets that the other pool had would be due without it.
    first: BTreeMap<u32, Duration>,
    /// The targets of the other pool.
    targets: &'a [TargetSnapshot],
    found: Vec<(u32, Duration)>,
}

impl Dues<'_> {
    /// Asks for the first probe of a check: soon, and no later than a check that it replaces was
    /// due.
    fn add(&mut self, slot: u32, origin: &Origin<&CheckSnapshot>) {
        let old = match origin {
            Origin::Same(_) => return,
            Origin::New => None,
            Origin::Replaces(old) | Origin::Displaces(old) => self.targets.get(old.target as usize),
        };
        let due = old.and_then(|old| old.due);
        let dues = self.first.get(&slot).copied().into_iter().chain(due);
        self.found.extend(dues.map(|due| (slot, due)));
    }

    /// Asks for the first probes of a server that the other pool did not have.
    fn add_new<P>(&mut self, server: &ServerState<P>) {
        for check in &server.checks {
            self.add(check.target, &Origin::New);
        }
    }
}

impl PoolSnapshot {
    /// The time of the pool when this was taken. The successor's time continues from it.
    #[must_use]
    pub const fn taken_at(&self) -> Duration {
        self.now
    }
}

impl<P: Clone + Ord> Pool<P> {
    /// Takes the state for a successor. Probes under way are due again there, so stop the probes of
    /// this pool.
    ///
    /// `identify` returns the same number for the same attempts in both programs, for instance a
    /// hash of their settings. Attempts with another number count as a changed check.
    #[must_use]
    pub fn snapshot(&self, now: Duration, identify: impl Fn(&[P]) -> u64) -> PoolSnapshot {
        let mut places = BTreeMap::new();
        let mut targets = Vec::new();
        for (slot, target) in &self.targets {
            let slot = number(slot);
            places.insert(slot, number(targets.len()));
            let due = match target.running {
                Some(_) => Some(now),
                None => self.starts.get(slot),
            };
            targets.push(TargetSnapshot::of(target, due, &identify));
        }
        let services = self.services.iter();
        PoolSnapshot {
            now,
            services: services
                .map(|it| ServiceSnapshot::of(it, &places))
                .collect(),
            targets,
            departed_services: self
                .departed_services
                .iter()
                .copied()
                .map(ServiceId)
                .collect(),
            departed: self
                .departed
                .keys()
                .map(|(service, server)| (ServiceId(*service), ServerId(*server)))
                .collect(),
            counters: self.journal.counters,
            sequence: self.journal.sequence,
        }
    }

    /// Creates a pool that continues where another one ended. `now` counts from
    /// [`PoolSnapshot::taken_at`]; an earlier time is the same as that.
    ///
    /// Parts of the configuration that the other pool had continue as with
    /// [`reconfigure`](Self::reconfigure): a server that stays as it is causes no event, and its
    /// next check comes when it was due.
    ///
    /// # Errors
    ///
    /// All wrong values of the configuration.
    pub fn restore(
        now: Duration,
        config: Config<P>,
        snapshot: &PoolSnapshot,
        identify: impl Fn(&[P]) -> u64,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let now = now.max(snapshot.now);
        let mut pool = Self::empty(now, &config);
        pool.build(now, config);
        let contents: BTreeMap<Content, u32> = pool
            .targets
            .iter()
            .map(|(slot, target)| (Content::of(target, &identify), number(slot)))
            .collect();
        let slots: Vec<Option<u32>> = snapshot
            .targets
            .iter()
            .map(|target| contents.get(&target.content).copied())
            .collect();
        let mut dues = Dues {
            first: BTreeMap::new(),
            targets: &snapshot.targets,
            found: Vec::new(),
        };
        for (target, slot) in snapshot.targets.iter().zip(&slots) {
            if let Some(slot) = slot {
                dues.first
                    .extend(pool.starts.get(*slot).map(|due| (*slot, due)));
                pool.restore_target(*slot, target);
            }
        }
        let added = pool.restore_services(now, snapshot, &slots, &mut dues);
        for (slot, due) in dues.found {
            match pool.starts.get(slot) {
                Some(_) => pool.ask_by(slot, due),
                None => pool.starts.set(slot, Some(due)),
            }
        }
        pool.restore_journal(snapshot, &added);
        pool.begin(now);
        Ok(pool)
    }

    fn restore_target(&mut self, slot: u32, old: &TargetSnapshot) {
        let Some(target) = self.targets.get_mut(slot as usize) else {
            return;
        };
        // The state of another program may have any place.
        target.place = old.place % target.target.probes.len().max(1);
        target.failed = old.failed;
        target.unspread = old.unspread;
        target.forgiven = old.forgiven;
        target.last = old.last.clone().map(|(at, outcome)| Answer { at, outcome });
        match old.due {
            // A first probe stays one.
            Some(due) if old.last.is_none() => self.starts.set_prompt(slot, due),
            due => self.starts.set(slot, due),
        }
    }

    /// Returns the servers that the other pool did not have.
    fn restore_services(
        &mut self,
        now: Duration,
        snapshot: &PoolSnapshot,
        slots: &[Option<u32>],
        dues: &mut Dues<'_>,
    ) -> BTreeSet<(ServiceKey, DestinationKey)> {
        let mut old: BTreeMap<ServiceKey, &ServiceSnapshot> =
            snapshot.services.iter().map(|it| (it.key.0, it)).collect();
        let mut added = BTreeSet::new();
        for service in &mut self.services {
            let key = service.key();
            let Some(old) = old.remove(&key) else {
                for server in &service.servers {
                    added.insert((key, server.key()));
                    dues.add_new(server);
                }
                continue;
            };
            service.quorum = old.quorum;
            service.quorum_since = old.quorum_since;
            service.sorry_in = old.sorry_in && service.config.sorry_server.is_some();
            service.braked = old.braked;
            service.panicking = old.panicking;
            service.suspended = old.suspended;
            let mut servers: BTreeMap<DestinationKey, &ServerSnapshot> =
                old.servers.iter().map(|it| (it.key.0, it)).collect();
            for server in &mut service.servers {
                if let Some(old) = servers.remove(&server.key()) {
                    old.restore(server, slots, dues);
                } else {
                    added.insert((key, server.key()));
                    dues.add_new(server);
                }
            }
            let drain = service.config.drain;
            for server in servers.into_values() {
                let departed = Departed {
                    drain,
                    is_draining: drain.is_some(),
                };
                self.departed.insert((key, server.key.0), departed);
                let change = server.removed();
                self.journal.record(now, key, change, Cause::Configuration);
            }
        }
        for service in old.into_values() {
            self.departed_services.insert(service.key.0);
            for server in &service.servers {
                let change = server.removed();
                self.journal
                    .record(now, service.key.0, change, Cause::Configuration);
            }
        }
        for ServiceId(service) in &snapshot.departed_services {
            if self.place_of(service).is_none() {
                self.departed_services.insert(*service);
            }
        }
        for (ServiceId(service), ServerId(server)) in &snapshot.departed {
            let Some(state) = self.service_state(service) else {
                continue;
            };
            if state.servers.iter().all(|it| it.key() != *server) {
                let drain = state.config.drain;
                let departed = Departed {
                    drain,
                    is_draining: drain.is_some(),
                };
                self.departed.insert((*service, *server), departed);
            }
        }
        added
    }

    /// Drops the events of servers that existed before, and continues the count.
    fn restore_journal(
        &mut self,
        snapshot: &PoolSnapshot,
        added: &BTreeSet<(ServiceKey, DestinationKey)>,
    ) {
        let journal = &mut self.journal;
        journal.counters = snapshot.counters;
        journal.sequence = snapshot.sequence;
        for event in std::mem::take(&mut journal.events) {
            let is_old = match event.change {
                PoolChange::ServerAdded(server) => !added.contains(&(event.service, server)),
                _ => false,
            };
            if !is_old {
                journal.record(event.at, event.service, event.change, event.cause);
            }
        }
    }
}

impl ServiceSnapshot {
    fn of<P>(service: &ServiceState<P>, places: &BTreeMap<u32, u32>) -> Self {
        let servers = service.servers.iter();
        Self {
            key: ServiceId(service.key()),
            servers: servers.map(|it| ServerSnapshot::of(it, places)).collect(),
            quorum: service.quorum,
            quorum_since: service.quorum_since,
            sorry_in: service.sorry_in,
            braked: service.braked,
            panicking: service.panicking,
            suspended: service.suspended,
        }
    }
}

impl ServerSnapshot {
    fn of<P>(server: &ServerState<P>, places: &BTreeMap<u32, u32>) -> Self {
        let checks = server.checks.iter();
        let check = |check: &CheckState<P>| CheckSnapshot {
            target: places.get(&check.target).copied().unwrap_or(u32::MAX),
            verdict: check.verdict,
            unchecked: check.unchecked,
            is_presumed: check.is_presumed,
            failures: check.failures,
            successes: check.successes,
            report: check.report,
            weighs: check.check.weighs(),
        };
        Self {
            key: ServerId(server.key()),
            checks: checks.map(check).collect(),
            operator: server.operator,
            weight: server.weight.map(Weight::get),
            health: server.health,
            since: server.since,
            is_presumed_down: server.is_presumed_down,
            was_in: server.was_in,
            was_up: server.was_up,
            rising_since: server.rising_since,
            usage: server.usage,
            placed: server.placed.map(Weight::get),
            is_new: server.is_new,
            draining_since: server.draining_since,
            counters: server.counters,
        }
    }

    /// The event of a server that is no longer configured.
    fn removed(&self) -> PoolChange {
        PoolChange::ServerRemoved {
            server: self.key.0,
            was_up: self.health == Verdict::Up,
        }
    }

    /// Restores a server. `slots` has the slots of the snapshot's targets; a changed check takes
    /// over the verdict of the one that it replaces.
    fn restore<P>(&self, server: &mut ServerState<P>, slots: &[Option<u32>], dues: &mut Dues<'_>) {
        let weight = |weight: Option<u32>| weight.and_then(|it| Weight::new(it).ok());
        server.operator = self.operator;
        server.weight = weight(self.weight);
        server.health = self.health;
        server.since = self.since;
        server.is_presumed_down = self.is_presumed_down;
        server.was_in = self.was_in;
        server.was_up = self.was_up;
        server.rising_since = self.rising_since;
        server.usage = self.usage;
        server.placed = weight(self.placed);
        server.is_new = self.is_new;
        server.draining_since = self.draining_since;
        server.counters = self.counters;

        let slot_of = |check: &CheckSnapshot| slots.get(check.target as usize).copied().flatten();
        let origins = origins(
            &self.checks,
            &server.checks,
            |old, check| slot_of(old) == Some(check.target),
            |old, check| old.weighs == check.check.weighs(),
        );
        for (check, origin) in server.checks.iter_mut().zip(origins) {
            dues.add(check.target, &origin);
            match origin {
                Origin::Same(old) => {
                    check.verdict = old.verdict;
                    check.unchecked = old.unchecked;
                    check.is_presumed = old.is_presumed;
                    check.failures = old.failures;
                    check.successes = old.successes;
                    check.report = old.report;
                }
                Origin::Replaces(old) => check.replace(old.verdict, old.report),
                Origin::New | Origin::Displaces(_) => {
                    if self.operator == Operator::Maintenance {
                        check.forget();
                    } else if self.health == Verdict::Up {
                        check.replace(Verdict::Up, None);
                    }
                }
            }
        }
    }
}

impl TargetSnapshot {
    fn of<P>(
        target: &TargetState<P>,
        due: Option<Duration>,
        identify: &impl Fn(&[P]) -> u64,
    ) -> Self {
        let last = target.last.as_ref();
        Self {
            content: Content::of(target, identify),
            place: target.place,
            due,
            failed: target.failed,
            unspread: target.unspread,
            forgiven: target.forgiven,
            last: last.map(|it| (it.at, it.outcome.clone())),
        }
    }
}

impl Content {
    fn of<P>(target: &TargetState<P>, identify: &impl Fn(&[P]) -> u64) -> Self {
        Self {
            address: target.target.address,
            time_limit: target.target.time_limit,
            attempts: identify(&target.target.probes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Destination, ForwardingMethod, Scheduler, Service, Table,
        pool::{Action, Check, FailureKind, Initial, RealServer, SorryServer, VirtualServer},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn server(number: u8) -> DestinationKey {
        DestinationKey::new(([10, 0, 0, number], 80))
    }

    fn destination(number: u8) -> Destination {
        Destination::new(server(number), ForwardingMethod::Masquerade)
    }

    fn service() -> ServiceKey {
        ServiceKey::tcp(([192, 0, 2, 1], 80))
    }

    /// A service with servers 1 to 3, which `probe` checks every second.
    fn config(probe: &'static str) -> Config<&'static str> {
        let mut check = Check::new(probe);
        check.interval = SECOND;
        check.fast_interval = Some(SECOND);
        check.noise = 0;
        check.fall = 2;
        check.initial = Initial::Up;
        let mut web = VirtualServer::new(Service::new(service(), Scheduler::WRR));
        web.checks.push(check);
        web.servers = (1..=3).map(|it| RealServer::new(destination(it))).collect();
        web.sorry_server = Some(SorryServer::new(server(9), ForwardingMethod::Masquerade));
        Config {
            services: vec![web],
            ..Config::default()
        }
    }

    fn identify(probes: &[&'static str]) -> u64 {
        probes.iter().map(|it| it.len() as u64).sum()
    }

    /// Runs a pool up to a time; servers in `down` fail. Returns when each probe began.
    fn run(
        pool: &mut Pool<&'static str>,
        until: Duration,
        down: &[u8],
    ) -> Vec<(Duration, SocketAddr)> {
        let mut probes = Vec::new();
        while let Some(at) = pool.poll_timeout().filter(|at| *at <= until) {
            pool.handle_timeout(at);
            let mut results = Vec::new();
            while let Some(action) = pool.poll_action(at) {
                if let Action::Probe(probe) = action {
                    probes.push((at, probe.address));
                    let is_down = down
                        .iter()
                        .any(|it| server(*it).address == probe.address.ip());
                    results.push((probe.id, is_down));
                }
            }
            for (id, is_down) in results {
                let outcome = if is_down {
                    Outcome::failure(FailureKind::Refused, "")
                } else {
                    Outcome::SUCCESS
                };
                pool.handle_result(at, id, outcome);
            }
        }
        probes
    }

    fn events(pool: &mut Pool<&'static str>) -> Vec<PoolChange> {
        std::iter::from_fn(|| pool.poll_event())
            .map(|event| event.change)
            .collect()
    }

    fn pool() -> Pool<&'static str> {
        Pool::new(Duration::ZERO, config("connect"), &Table::default()).unwrap()
    }

    #[test]
    fn a_restored_pool_reports_nothing_and_goes_on_with_verdicts_counts_and_phases() {
        let mut one = pool();
        // Server 2 is down, and server 3 has failed once of two times.
        run(&mut one, 10 * SECOND, &[2]);
        let next = one.poll_timeout().unwrap();
        run(
            &mut one,
            (next + SECOND).saturating_sub(Duration::from_nanos(1)),
            &[2, 3],
        );
        events(&mut one);
        let mut other = one.clone();
        let now = next + SECOND;

        let snapshot = one.snapshot(now, identify);
        let mut two = Pool::restore(now, config("connect"), &snapshot, identify).unwrap();
        assert_eq!(events(&mut two), []);
        assert_eq!(two.wanted(), one.wanted());
        assert_eq!(two.counters(), one.counters());
        let until = now + 20 * SECOND;
        assert_eq!(run(&mut two, until, &[3]), run(&mut other, until, &[3]));
        assert_eq!(events(&mut two), events(&mut other));
        assert_eq!(two.wanted(), other.wanted());
    }

    #[test]
    fn a_probe_under_way_is_made_again_at_once() {
        let mut one = pool();
        let at = one.poll_timeout().unwrap();
        assert!(matches!(one.poll_action(at), Some(Action::Probe(_))));
        let snapshot = one.snapshot(at, identify);
        let now = at + SECOND / 10;
        let mut two = Pool::restore(now, config("connect"), &snapshot, identify).unwrap();
        assert_eq!(two.poll_timeout(), Some(at));
        assert!(matches!(two.poll_action(now), Some(Action::Probe(_))));
    }

    #[test]
    fn a_sorry_server_that_stands_in_goes_on_without_a_report() {
        let mut one = pool();
        run(&mut one, 10 * SECOND, &[1, 2, 3]);
        events(&mut one);
        let snapshot = one.snapshot(10 * SECOND, identify);
        let mut two = Pool::restore(10 * SECOND, config("connect"), &snapshot, identify).unwrap();
        assert_eq!(events(&mut two), []);
        assert_eq!(two.wanted()[0].destinations, [destination(9)]);
        assert_eq!(two.quorum(&service()), Some(Level::Down));
    }

    #[test]
    fn a_changed_check_takes_over_the_verdict_and_is_due_no_later() {
        let mut one = pool();
        run(&mut one, 10 * SECOND, &[2]);
        let (now, due) = (10 * SECOND, one.poll_timeout().unwrap());
        let snapshot = one.snapshot(now, identify);
        let mut two = Pool::restore(now, config("another"), &snapshot, identify);
        let two = two.as_mut().unwrap();
        assert_eq!(two.wanted(), one.wanted());
        assert!(two.poll_timeout() <= Some(due));
        let down = two.explain(&service(), &server(2)).unwrap();
        assert_eq!(down.health, Verdict::Down);
    }

    #[test]
    fn a_service_that_the_successor_adds_to_known_servers_has_them_soon() {
        let rarely = |mut config: Config<&'static str>| {
            for service in &mut config.services {
                service.checks[0].interval = 600 * SECOND;
                service.checks[0].initial = Initial::AsKernel;
            }
            config
        };
        let mut one =
            Pool::new(Duration::ZERO, rarely(config("connect")), &Table::default()).unwrap();
        let now = 10 * SECOND;
        run(&mut one, now, &[]);
        let mut with_another = config("connect");
        let mut another = with_another.services[0].clone();
        another.service.key = ServiceKey::tcp(([192, 0, 2, 1], 443));
        another.sorry_server = None;
        with_another.services.push(another);
        let snapshot = one.snapshot(now, identify);
        let mut two = Pool::restore(now, rarely(with_another), &snapshot, identify).unwrap();
        run(&mut two, now + 2 * SECOND, &[]);
        let found = two
            .wanted()
            .iter()
            .map(|it| it.destinations.len())
            .collect::<Vec<_>>();
        assert_eq!(found, [3, 3]);
    }

    #[test]
    fn servers_and_services_that_are_no_longer_configured_leave() {
        let mut one = pool();
        run(&mut one, 10 * SECOND, &[2]);
        let snapshot = one.snapshot(10 * SECOND, identify);
        let mut fewer = config("connect");
        fewer.services[0].servers.remove(0);
        let mut two = Pool::restore(10 * SECOND, fewer, &snapshot, identify).unwrap();
        let removed = PoolChange::ServerRemoved {
            server: server(1),
            was_up: true,
        };
        assert_eq!(events(&mut two), [removed]);
        let removals = two.removals();
        assert!(removals.destinations.contains_key(&(service(), server(1))));

        let none = Config::default();
        let three = Pool::restore(
            10 * SECOND,
            none,
            &two.snapshot(10 * SECOND, identify),
            identify,
        );
        assert_eq!(three.unwrap().owned(), [service()]);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_snapshot_in_bytes_is_the_same() {
        let mut one = pool();
        run(&mut one, 10 * SECOND, &[2]);
        let snapshot = one.snapshot(10 * SECOND, identify);
        let text = serde_json::to_string(&snapshot).unwrap();
        let read: PoolSnapshot = serde_json::from_str(&text).unwrap();
        assert_eq!(read, snapshot);
    }
}
