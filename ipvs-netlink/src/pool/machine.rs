//! The pool: probes out, results in, and the wanted table.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use slab::Slab;

use super::{
    Cause, Config, ConfigErrors, Counters, Event, FailureKind, Level, Operator, Outcome,
    PoolChange, ProbeId, Target, Verdict,
    check::CheckState,
    deadlines::Deadlines,
    journal::Journal,
    pace::Rate,
    random::Random,
    server::ServerState,
    service::{Evaluation, ServiceState},
    starts::Starts,
    target::{Answer, RunningProbe, TargetState, User},
};
use crate::{
    DestinationKey, ServiceKey, Table, VirtualServer, Weight,
    plan::{Drain, Removals},
};

/// Something that the host has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a, P> {
    /// Make a probe and report its result with [`Pool::handle_result`].
    Probe(Probe<'a, P>),
    /// Give up a probe. Its result no longer counts.
    Cancel(ProbeId),
}

/// A probe that has to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe<'a, P> {
    /// The identity for the report.
    pub id: ProbeId,
    /// The address of the probe.
    pub address: SocketAddr,
    /// The attempt, as the configuration describes it.
    pub attempt: &'a P,
    /// The end of the time limit. A probe without a result at this time has failed.
    pub until: Duration,
}

/// The service or server is not configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownServer {
    /// No such service.
    #[error("service {0} is not configured: use the key of a configured service")]
    Service(ServiceKey),
    /// No such server of the service.
    #[error("server {1} of {0} is not configured: use the key of a configured server")]
    Server(ServiceKey, DestinationKey),
}

/// The health of real servers, and the wanted table that follows from it.
///
/// The [module](super) explains how a host drives it.
#[derive(Clone, Debug)]
pub struct Pool<P> {
    /// In the order of their keys.
    pub(super) services: Vec<ServiceState<P>>,
    pub(super) targets: Slab<TargetState<P>>,
    pub(super) by_content: BTreeMap<Arc<Target<P>>, u32>,
    /// When idle targets are due.
    pub(super) starts: Starts,
    /// The time limits of running probes.
    limits: Deadlines,
    /// The next steps of slow starts, by the places of services.
    pub(super) steps: Deadlines,
    running: u32,
    pub(super) max_running: u32,
    pub(super) stall: Duration,
    pub(super) seed: u64,
    pub(super) random: Random,
    serial: u64,
    now: Duration,
    cancelled: VecDeque<ProbeId>,
    pub(super) journal: Journal,
    pub(super) changed: BTreeSet<ServiceKey>,
    /// Services that left the configuration and may still be in the kernel's table.
    pub(super) departed_services: BTreeSet<ServiceKey>,
    /// The same for servers.
    pub(super) departed: BTreeMap<(ServiceKey, DestinationKey), Departed>,
    stopped: bool,
}

/// A server that left the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departed {
    pub(super) drain: Option<Drain>,
    pub(super) is_draining: bool,
}

impl<P: Clone + Ord> Pool<P> {
    /// A pool. `table` is the kernel's table as it was read just now, or an empty one.
    ///
    /// # Errors
    ///
    /// All wrong values of the configuration.
    pub fn new(now: Duration, config: Config<P>, table: &Table) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let mut pool = Self::empty(now, &config);
        pool.apply(now, config, Some(table));
        Ok(pool)
    }

    /// A pool without services.
    pub(super) fn empty(now: Duration, config: &Config<P>) -> Self {
        Self {
            services: Vec::new(),
            targets: Slab::new(),
            by_content: BTreeMap::new(),
            starts: Starts::new(now),
            limits: Deadlines::default(),
            steps: Deadlines::default(),
            running: 0,
            max_running: config.max_running,
            stall: config.stall,
            seed: config.seed,
            random: Random::new(config.seed),
            serial: 0,
            now,
            cancelled: VecDeque::new(),
            journal: Journal::default(),
            changed: BTreeSet::new(),
            departed_services: BTreeSet::new(),
            departed: BTreeMap::new(),
            stopped: false,
        }
    }

    /// Replaces the configuration. Parts that are in both continue: probes under way and their
    /// schedule, counts, results, states, slow starts, and the settings of the operator.
    ///
    /// # Errors
    ///
    /// All wrong values of the configuration. In that case nothing has changed.
    pub fn reconfigure(&mut self, now: Duration, config: Config<P>) -> Result<(), ConfigErrors> {
        config.validate()?;
        let now = self.advance(now);
        self.apply(now, config, None);
        Ok(())
    }

    /// The next action; `None` if there is nothing to do before
    /// [`poll_timeout`](Self::poll_timeout).
    ///
    /// Probes that became due while the host stood still do not all start at once: in any 20 ms at
    /// most 1.5 times as many probes start as become due in the mean, plus 32. The one that is due
    /// longest goes first. First probes, and those that [`handle_table`](Self::handle_table) or the
    /// operator asks for, do not wait for others.
    pub fn poll_action(&mut self, now: Duration) -> Option<Action<'_, P>> {
        let now = self.advance(now);
        if let Some(id) = self.cancelled.pop_front() {
            return Some(Action::Cancel(id));
        }
        if self.running >= self.max_running {
            return None;
        }
        let slot = self.starts.take(now)?;
        let serial = self.serial;
        let target = self.targets.get_mut(slot as usize)?;
        let until = now.saturating_add(target.target.time_limit);
        target.running = Some(RunningProbe {
            serial,
            started: now,
            until,
        });
        self.serial += 1;
        self.running += 1;
        self.limits.set(slot, Some(until));
        self.journal.counters.probes += 1;
        Some(Action::Probe(Probe {
            id: ProbeId { slot, serial },
            address: target.target.address,
            attempt: target.target.probes.get(target.place)?,
            until,
        }))
    }

    /// Takes the result of a probe. The result of a probe that is no longer running only increments
    /// a counter.
    pub fn handle_result(&mut self, now: Duration, id: ProbeId, outcome: Outcome) {
        let now = self.advance(now);
        let running = self
            .targets
            .get(id.slot as usize)
            .and_then(|target| target.running);
        if running.is_some_and(|running| running.serial == id.serial) {
            self.finish(now, id.slot, outcome);
        } else {
            self.journal.counters.stale_results += 1;
        }
    }

    /// Advances the time. Hand over received results first: a probe without a result at the end of
    /// its time limit has failed.
    ///
    /// An end that is noticed more than [`Config::stall`] late shows that the host was stopped for
    /// a while. It counts as a local failure, and the probe is due again at once. The second in a
    /// row counts as a failure.
    pub fn handle_timeout(&mut self, now: Duration) {
        let now = self.advance(now);
        while let Some(slot) = self.limits.due(now) {
            self.expire(now, slot);
        }
        while let Some(place) = self.steps.due(now) {
            self.steps.set(place, None);
            self.evaluate(now, place, Cause::Time);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and
    /// [`poll_action`](Self::poll_action) again; `None` for never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if !self.cancelled.is_empty() {
            return Some(self.now);
        }
        let starts = if self.running < self.max_running {
            self.starts.next()
        } else {
            None
        };
        let steps = self.steps.first().map(|(at, _)| at);
        let others = [self.next_time_limit(), steps];
        let others = others.into_iter().flatten();
        others.chain(starts).min()
    }

    /// The end of the first time limit of a probe under way. A host that is late for it looks for
    /// results once more before it calls [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn next_time_limit(&self) -> Option<Duration> {
        self.limits.first().map(|(at, _)| at)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.journal.next()
    }

    /// A service whose wanted entry changed since it was last returned here.
    pub fn poll_changed(&mut self) -> Option<ServiceKey> {
        self.changed.pop_first()
    }

    /// The wanted table: services and destinations, each in the order of their keys.
    #[must_use]
    pub fn wanted(&self) -> Vec<VirtualServer> {
        if self.stopped {
            return Vec::new();
        }
        self.services.iter().map(ServiceState::entry).collect()
    }

    /// The wanted entry of one service; `None` if the service is not wanted.
    #[must_use]
    pub fn wanted_of(&self, service: &ServiceKey) -> Option<VirtualServer> {
        let service = self.service_state(service)?;
        (!self.stopped).then(|| service.entry())
    }

    /// The services that the pool owns: those of the configuration, and those that left it and may
    /// still be in the kernel's table. In the order of their keys.
    #[must_use]
    pub fn owned(&self) -> Vec<ServiceKey> {
        let mut owned = self.departed_services.clone();
        owned.extend(self.services.iter().map(ServiceState::key));
        owned.into_iter().collect()
    }

    /// How servers that are not in the wanted table leave the kernel's: failed ones as
    /// [`drain_failed`](super::VirtualServer::drain_failed) says, live ones and the sorry server as
    /// [`drain`](super::VirtualServer::drain) says, and those of a removed service at once.
    #[must_use]
    pub fn removals(&self) -> Removals {
        let mut removals = Removals::default();
        for service in &self.services {
            let key = service.key();
            for (place, server) in service.servers.iter().enumerate() {
                if server.placed.is_none() {
                    let drain = service.drain_of(place);
                    removals.destinations.insert((key, server.key()), drain);
                }
            }
            if let Some(sorry) = &service.config.sorry_server
                && !service.has_placed(&sorry.destination.key)
            {
                let place = (key, sorry.destination.key);
                let drain = service.config.drain;
                removals.destinations.entry(place).or_insert(drain);
            }
        }
        for (place, departed) in &self.departed {
            removals.destinations.insert(*place, departed.drain);
        }
        for service in &self.departed_services {
            removals.services.insert(*service, None);
        }
        removals
    }

    /// The level of the quorum of a service.
    #[must_use]
    pub fn quorum(&self, service: &ServiceKey) -> Option<Level> {
        Some(self.service_state(service)?.quorum)
    }

    /// The level of all services together: down if one is down, else unknown if one is unknown.
    #[must_use]
    pub fn quorum_of_all(&self) -> Level {
        let mut all = Level::Up;
        for service in &self.services {
            match service.quorum {
                Level::Down => return Level::Down,
                Level::Unknown => all = Level::Unknown,
                Level::Up => {}
            }
        }
        all
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.journal.counters
    }

    /// The number of probes under way.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Sets the state that the operator gives a server.
    ///
    /// # Errors
    ///
    /// [`UnknownServer`], and nothing has changed.
    pub fn set_operator(
        &mut self,
        now: Duration,
        service: &ServiceKey,
        server: &DestinationKey,
        operator: Operator,
    ) -> Result<(), UnknownServer> {
        let now = self.advance(now);
        let (place, state) = self.server_mut(service, server)?;
        let before = std::mem::replace(&mut state.operator, operator);
        if before == operator {
            return Ok(());
        }
        if operator == Operator::Maintenance {
            for check in &mut state.checks {
                check.forget();
            }
        }
        let change = PoolChange::Operator(*server, operator);
        self.journal.record(now, *service, change, Cause::Operator);
        self.refresh_service(now, place);
        if before == Operator::Maintenance {
            self.resume(now, place, |state| state.key() == *server);
        }
        self.evaluate(now, place, Cause::Operator);
        Ok(())
    }

    /// Sets a weight in place of the configured one, or with `None` returns to that.
    ///
    /// # Errors
    ///
    /// [`UnknownServer`], and nothing has changed.
    pub fn set_weight(
        &mut self,
        now: Duration,
        service: &ServiceKey,
        server: &DestinationKey,
        weight: Option<Weight>,
    ) -> Result<(), UnknownServer> {
        let now = self.advance(now);
        let (place, state) = self.server_mut(service, server)?;
        state.weight = weight;
        self.evaluate(now, place, Cause::Operator);
        Ok(())
    }

    /// Suspends the checks of a service, or resumes them, as keepalived's `ha_suspend` does while
    /// the address of the service is on another host. States stay as they are; resumed checks are
    /// due at once.
    ///
    /// # Errors
    ///
    /// [`UnknownServer::Service`], and nothing has changed.
    pub fn set_suspended(
        &mut self,
        now: Duration,
        service: &ServiceKey,
        suspended: bool,
    ) -> Result<(), UnknownServer> {
        let now = self.advance(now);
        let place = self
            .place_of(service)
            .ok_or(UnknownServer::Service(*service))?;
        let state = &mut self.services[place];
        if std::mem::replace(&mut state.suspended, suspended) != suspended {
            let change = if suspended {
                PoolChange::Suspended
            } else {
                PoolChange::Resumed
            };
            self.journal.record(now, *service, change, Cause::Operator);
            self.refresh_service(now, number(place));
            self.resume(now, number(place), |_| true);
        }
        Ok(())
    }

    /// Stops the pool: no more probes, and nothing is wanted any more. Services with
    /// [`omega`](super::VirtualServer::omega) report each server that was up as down, and their
    /// quorum as lost.
    ///
    /// A host that wants to leave the kernel's table as it is must not apply the wanted table after
    /// this.
    pub fn stop(&mut self, now: Duration) {
        let now = self.advance(now);
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        for slot in 0..number(self.targets.capacity()) {
            if self.targets.contains(slot as usize) {
                self.refresh(now, slot);
            }
        }
        for place in 0..self.services.len() {
            self.evaluate(now, number(place), Cause::Stop);
            let service = &self.services[place];
            let key = service.key();
            self.changed.insert(key);
            if !service.config.omega {
                continue;
            }
            let up = service.servers.iter();
            let up = up.filter(|server| server.health == Verdict::Up);
            let mut changes: Vec<PoolChange> = up
                .map(|server| PoolChange::ServerDown(server.key()))
                .collect();
            if service.quorum == Level::Up {
                changes.push(PoolChange::QuorumLost(super::LiveCapacity {
                    live: 0,
                    bound: 1,
                    percent: false,
                }));
            }
            for change in changes {
                self.journal.record(now, key, change, Cause::Stop);
            }
        }
    }

    /// Advances the clock. An earlier time than the last one counts as the last one.
    pub(super) fn advance(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }

    pub(super) fn place_of(&self, service: &ServiceKey) -> Option<usize> {
        self.services
            .binary_search_by_key(service, ServiceState::key)
            .ok()
    }

    pub(super) fn service_state(&self, service: &ServiceKey) -> Option<&ServiceState<P>> {
        self.services.get(self.place_of(service)?)
    }

    fn server_mut(
        &mut self,
        service: &ServiceKey,
        server: &DestinationKey,
    ) -> Result<(u32, &mut ServerState<P>), UnknownServer> {
        let place = self
            .place_of(service)
            .ok_or(UnknownServer::Service(*service))?;
        let servers = &mut self.services[place].servers;
        match servers.binary_search_by_key(server, ServerState::key) {
            Ok(found) => Ok((number(place), &mut servers[found])),
            Err(_) => Err(UnknownServer::Server(*service, *server)),
        }
    }

    /// Evaluates a service again, and records its changes.
    pub(super) fn evaluate(&mut self, now: Duration, place: u32, cause: Cause) {
        let journal = &mut self.journal;
        let Some(service) = self.services.get_mut(place as usize) else {
            return;
        };
        let changed = service.evaluate(Evaluation {
            now,
            cause,
            stopped: self.stopped,
            sink: &mut |key, change, cause| journal.record(now, key, change, cause.clone()),
        });
        self.steps.set(place, service.next_step);
        if changed {
            self.changed.insert(service.key());
        }
    }

    /// Whether the probes of a check must continue.
    fn is_active(&self, user: User) -> bool {
        let service = self.services.get(user.service as usize);
        service.is_some_and(|service| {
            let server = service.servers.get(user.server as usize);
            let is_checked = |server: &ServerState<P>| server.operator != Operator::Maintenance;
            !self.stopped && !service.suspended && server.is_some_and(is_checked)
        })
    }

    /// A check whose probes must continue.
    fn active_check(&self, user: User) -> Option<&CheckState<P>> {
        if !self.is_active(user) {
            return None;
        }
        let service = self.services.get(user.service as usize)?;
        let server = service.servers.get(user.server as usize)?;
        server.checks.get(user.check as usize)
    }

    /// Sets how often a target becomes due; `None` for never.
    pub(super) fn set_rate(&mut self, slot: u32, period: Option<Duration>) {
        let Some(target) = self.targets.get_mut(slot as usize) else {
            return;
        };
        let rate = period.map(Rate::once_in).unwrap_or_default();
        let before = std::mem::replace(&mut target.rate, rate);
        self.starts.replace_rate(before, rate);
    }

    fn refresh_service(&mut self, now: Duration, place: u32) {
        let Some(service) = self.services.get(place as usize) else {
            return;
        };
        let checks = service.servers.iter().flat_map(|server| &server.checks);
        let slots: Vec<u32> = checks.map(|check| check.target).collect();
        for slot in slots {
            self.refresh(now, slot);
        }
    }

    /// Starts or ends the schedule of a target, depending on whether its checks are active.
    pub(super) fn refresh(&mut self, now: Duration, slot: u32) {
        let Some(target) = self.targets.get(slot as usize) else {
            return;
        };
        let is_idle = target.running.is_none() && self.starts.get(slot).is_none();
        let checks = target.users.iter();
        let checks = checks.filter_map(|user| self.active_check(*user));
        let period = checks
            .map(|check| check.period(false, Duration::ZERO))
            .min();
        self.set_rate(slot, period);
        if period.is_some() {
            if is_idle {
                self.starts.set_prompt(slot, now);
                self.targets[slot as usize].unspread = true;
            }
        } else {
            self.starts.set(slot, None);
            self.cancel(slot);
        }
    }

    /// Asks for the probe of a target by this time, if it is due later. Many targets may be asked
    /// for at once, so the probes after it are spread again.
    pub(super) fn ask_by(&mut self, slot: u32, due: Duration) {
        if self.starts.get(slot).is_some_and(|old| old > due) {
            self.starts.set_prompt(slot, due);
            self.targets[slot as usize].unspread = true;
        }
    }

    /// Asks for the probes of servers whose checks continue after a pause. Other services may have
    /// kept the schedules of their targets going.
    fn resume(&mut self, now: Duration, place: u32, is_it: impl Fn(&ServerState<P>) -> bool) {
        let Some(service) = self.services.get(place as usize) else {
            return;
        };
        if service.suspended {
            return;
        }
        let servers = service.servers.iter();
        let servers = servers
            .filter(|server| server.operator != Operator::Maintenance)
            .filter(|server| is_it(server));
        let slots: Vec<u32> = servers
            .flat_map(|server| &server.checks)
            .map(|check| check.target)
            .collect();
        for slot in slots {
            self.ask_by(slot, now);
        }
    }

    /// Gives up the probe of a target that is under way.
    pub(super) fn cancel(&mut self, slot: u32) {
        let Some(target) = self.targets.get_mut(slot as usize) else {
            return;
        };
        if let Some(RunningProbe { serial, .. }) = target.running.take() {
            self.limits.set(slot, None);
            self.running -= 1;
            self.cancelled.push_back(ProbeId { slot, serial });
            self.journal.counters.cancelled += 1;
        }
    }

    /// The time limit of a probe has passed.
    fn expire(&mut self, now: Duration, slot: u32) {
        let target = self.targets.get_mut(slot as usize);
        let Some((target, running)) = target.and_then(|target| {
            let running = target.running?;
            Some((target, running))
        }) else {
            self.limits.set(slot, None);
            return;
        };
        self.cancelled.push_back(ProbeId {
            slot,
            serial: running.serial,
        });
        let late = now.saturating_sub(running.until);
        if late > self.stall && !target.forgiven {
            target.forgiven = true;
            self.journal.counters.stalls += 1;
            let outcome = Outcome::LocalFailure("this host was late".into());
            self.finish(now, slot, outcome);
            if self.starts.get(slot).is_some() {
                self.starts.set(slot, Some(now));
            }
        } else {
            self.journal.counters.time_limits += 1;
            self.finish(now, slot, Outcome::failure(FailureKind::TimeLimit, ""));
        }
    }

    /// Counts the result of the probe that is under way, and schedules the next one.
    fn finish(&mut self, now: Duration, slot: u32, outcome: Outcome) {
        let Some(target) = self.targets.get_mut(slot as usize) else {
            return;
        };
        let Some(running) = target.running.take() else {
            return;
        };
        self.limits.set(slot, None);
        self.running -= 1;
        let counters = &mut self.journal.counters;
        match outcome {
            Outcome::Success(_) | Outcome::Weight(..) => counters.successes += 1,
            Outcome::Failure(_) => counters.failures += 1,
            Outcome::LocalFailure(_) => counters.local_failures += 1,
        }
        let users = std::mem::take(&mut target.users);
        self.count(now, &users, &outcome);
        self.schedule(now, slot, running.started, &users, &outcome);
        if let Some(target) = self.targets.get_mut(slot as usize) {
            target.users = users;
            target.last = Some(Answer { at: now, outcome });
        }
    }

    /// Counts a result for each check of a target, and evaluates their services again.
    fn count(&mut self, now: Duration, users: &[User], outcome: &Outcome) {
        let mut users = users.iter().peekable();
        let mut changed: Option<Arc<str>> = None;
        while let Some(user) = users.next() {
            if self.is_active(*user)
                && let Some(service) = self.services.get_mut(user.service as usize)
                && let Some(server) = service.servers.get_mut(user.server as usize)
                && let Some(check) = server.checks.get_mut(user.check as usize)
            {
                match outcome {
                    Outcome::Success(_) | Outcome::Weight(..) => server.counters.successes += 1,
                    Outcome::Failure(_) => server.counters.failures += 1,
                    Outcome::LocalFailure(_) => {}
                }
                if check.count(outcome) && changed.is_none() {
                    changed = Some(Arc::clone(&check.name));
                }
            }
            let is_last = users.peek().is_none_or(|next| next.service != user.service);
            if is_last && let Some(check) = changed.take() {
                let outcome = outcome.clone();
                self.evaluate(now, user.service, Cause::Check { check, outcome });
            }
        }
    }

    fn schedule(
        &mut self,
        now: Duration,
        slot: u32,
        started: Duration,
        users: &[User],
        outcome: &Outcome,
    ) {
        let share = self.random.share();
        let spread = self.random.share();
        let unspread = self.targets[slot as usize].unspread;
        let is_local = matches!(outcome, Outcome::LocalFailure(_));
        let (mut next, mut period) = (None::<Duration>, None::<Duration>);
        let (mut any_down, mut any_regular) = (false, false);
        for check in users.iter().filter_map(|user| self.active_check(*user)) {
            any_down |= check.verdict == Verdict::Down;
            any_regular |= check.is_regular();
            let at = check.next(started, now, is_local, share, unspread.then_some(spread));
            next = Some(next.map_or(at, |next| next.min(at)));
            let after = check.period(is_local, now.saturating_sub(started));
            period = Some(period.map_or(after, |period| period.min(after)));
        }
        self.starts.set(slot, next);
        self.set_rate(slot, period);
        let target = &mut self.targets[slot as usize];
        target.advance(outcome, any_down);
        target.unspread &= is_local || !any_regular;
    }
}

impl<P> ServiceState<P> {
    fn entry(&self) -> VirtualServer {
        VirtualServer {
            service: self.config.service,
            destinations: self.wanted.clone(),
        }
    }
}

/// A place as a number of 32 bits. No configuration has more places.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
