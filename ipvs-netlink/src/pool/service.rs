//! The decision for one service: health of its servers in, wanted destinations out.

use std::{sync::Arc, time::Duration};

use super::{
    Capacity, Cause, In, LiveCapacity, Operator, Out, Panic, PoolChange, Usage, Verdict,
    VirtualServer, check::CheckState, server::ServerState,
};
use crate::{Destination, DestinationKey, ServiceKey, Weight, plan::Drain};

/// The level of a quorum, for an object that a VRRP router tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub enum Level {
    /// Too few results of checks are known.
    #[default]
    Unknown,
    /// The quorum is reached.
    Up,
    /// The quorum is lost.
    Down,
}

/// A service with its state.
#[derive(Clone, Debug)]
pub(super) struct ServiceState<P> {
    pub(super) config: Arc<VirtualServer<P>>,
    /// In the order of their keys.
    pub(super) servers: Vec<ServerState<P>>,
    pub(super) quorum: Level,
    pub(super) quorum_since: Duration,
    pub(super) live: u64,
    pub(super) sorry_in: bool,
    pub(super) braked: usize,
    pub(super) panicking: usize,
    pub(super) suspended: bool,
    /// The wanted destinations, in the order of their keys.
    pub(super) wanted: Vec<Destination>,
    pub(super) next_step: Option<Duration>,
}

/// The changes of an evaluation.
pub(super) struct Evaluation<'a> {
    pub(super) now: Duration,
    pub(super) cause: Cause,
    pub(super) stopped: bool,
    /// Takes each change with its cause.
    pub(super) sink: &'a mut dyn FnMut(ServiceKey, PoolChange, &Cause),
}

impl<P> ServiceState<P> {
    pub(super) fn new(config: Arc<VirtualServer<P>>, now: Duration) -> Self {
        Self {
            config,
            servers: Vec::new(),
            quorum: Level::Unknown,
            quorum_since: now,
            live: 0,
            sorry_in: false,
            braked: 0,
            panicking: 0,
            suspended: false,
            wanted: Vec::new(),
            next_step: None,
        }
    }

    pub(super) fn key(&self) -> ServiceKey {
        self.config.key()
    }

    /// Evaluates the service again. Returns whether the wanted destinations changed.
    pub(super) fn evaluate(&mut self, mut evaluation: Evaluation<'_>) -> bool {
        self.update_health(&mut evaluation);
        let held = self.held();
        self.report_brake(&held, &mut evaluation);
        self.update_quorum(&held, &mut evaluation);
        let sorry_before = self.sorry_in;
        self.sorry_in =
            self.config.sorry_server.is_some() && self.quorum != Level::Up && !evaluation.stopped;
        if self.sorry_in && !sorry_before {
            self.emit_sorry(&mut evaluation);
        }
        let mut usages = self.usages(&held, evaluation.stopped);
        self.fill_up(&mut usages);
        self.report_panic(&usages, &mut evaluation);
        self.place(&usages, &mut evaluation);
        if sorry_before && !self.sorry_in {
            self.emit_sorry(&mut evaluation);
        }
        let wanted = self.destinations(evaluation.stopped);
        let changed = wanted != self.wanted;
        self.wanted = wanted;
        changed
    }

    fn emit_sorry(&self, evaluation: &mut Evaluation<'_>) {
        // A sorry server that left the configuration has no key any more.
        if let Some(sorry) = &self.config.sorry_server {
            let key = sorry.destination.key;
            evaluation.emit(
                self.key(),
                if self.sorry_in {
                    PoolChange::SorryIn(key)
                } else {
                    PoolChange::SorryOut(key)
                },
            );
        }
    }

    fn update_health(&mut self, evaluation: &mut Evaluation<'_>) {
        let key = self.key();
        let now = evaluation.now;
        for server in &mut self.servers {
            let health = server.checked_health();
            let is_confirmed = server.is_presumed_down && server.is_confirmed_down();
            if health == server.health && !is_confirmed {
                continue;
            }
            let before = std::mem::replace(&mut server.health, health);
            if before != health {
                server.since = now;
            }
            server.is_presumed_down = before == Verdict::Waiting
                && health == Verdict::Down
                && !server.is_confirmed_down();
            match health {
                Verdict::Down if server.is_presumed_down => {}
                Verdict::Up => {
                    if server.was_up && before == Verdict::Down {
                        server.rising_since = Some(now);
                    }
                    server.was_up = true;
                    server.counters.ups += 1;
                    evaluation.emit(key, PoolChange::ServerUp(server.key()));
                }
                Verdict::Down => {
                    server.rising_since = None;
                    server.counters.downs += 1;
                    evaluation.emit(key, PoolChange::ServerDown(server.key()));
                }
                Verdict::Waiting => {}
            }
        }
    }

    /// The servers that are down and that the brake holds: all but those that failed first.
    fn held(&self) -> Vec<bool> {
        let mut held = vec![false; self.servers.len()];
        let Some(brake) = self.config.brake else {
            return held;
        };
        let eligible = |server: &&ServerState<P>| server.operator == Operator::Ready;
        let limit = brake.of(self.servers.iter().filter(eligible).count());
        let mut failed: Vec<(Duration, usize)> = self
            .servers
            .iter()
            .enumerate()
            .filter(|(_, server)| eligible(server) && server.has_failed())
            .map(|(place, server)| (server.since, place))
            .collect();
        failed.sort_unstable();
        for (_, place) in failed.into_iter().skip(limit) {
            held[place] = true;
        }
        held
    }

    fn report_brake(&mut self, held: &[bool], evaluation: &mut Evaluation<'_>) {
        let count = held.iter().filter(|held| **held).count();
        let before = std::mem::replace(&mut self.braked, count);
        match (before, count) {
            (0, 1..) => evaluation.emit(self.key(), PoolChange::BrakeOn(count)),
            (1.., 0) => evaluation.emit(self.key(), PoolChange::BrakeOff),
            _ => {}
        }
    }

    fn update_quorum(&mut self, held: &[bool], evaluation: &mut Evaluation<'_>) {
        let standing = self.standing(held);
        self.live = standing.live;
        let level = if evaluation.stopped {
            self.quorum
        } else {
            standing.level(self.quorum)
        };
        if level == self.quorum {
            return;
        }
        self.quorum = level;
        self.quorum_since = evaluation.now;
        let change = match level {
            Level::Up => PoolChange::QuorumGained(standing.against(standing.gained_at)),
            Level::Down => PoolChange::QuorumLost(standing.against(standing.lost_below)),
            Level::Unknown => return,
        };
        evaluation.emit(self.key(), change);
    }

    /// Live capacity and its bounds. Servers that the brake holds count as live.
    fn standing(&self, held: &[bool]) -> Standing {
        let hysteresis = u64::from(self.config.quorum.hysteresis);
        let (percent, needed) = match self.config.quorum.at_least {
            Capacity::Weight(weight) => (false, u64::from(weight)),
            Capacity::Percent(percent) => (true, u64::from(percent)),
        };
        let capacity = |server: &ServerState<P>| match (percent, server.full_weight().get()) {
            (false, weight) => u64::from(weight),
            (true, weight) => u64::from(weight > 0),
        };
        // A sorry server stands in for servers that are down until they have succeeded, so the
        // quorum is lost. Without one it is unknown until they are checked.
        let has_sorry = self.config.sorry_server.is_some();
        let may_be_up =
            |check: &CheckState<P>| check.unchecked && !(has_sorry && check.is_presumed);
        let (mut live, mut possible, mut total) = (0, 0, 0);
        for (server, held) in self.servers.iter().zip(held) {
            total += if percent {
                1
            } else {
                u64::from(server.configured_weight().get())
            };
            if server.operator != Operator::Ready {
                continue;
            }
            if server.health == Verdict::Up || *held {
                live += capacity(server);
            } else if server.checks.iter().any(may_be_up) {
                possible += capacity(server);
            }
        }
        possible += live;
        if percent {
            let of_all = |servers: u64| (servers * 100).checked_div(total).unwrap_or(0);
            (live, possible, total) = (of_all(live), of_all(possible), 100);
        }
        let reachable = total.max(1);
        let needed = needed.min(reachable);
        let lost_below = needed.saturating_sub(hysteresis).max(1);
        Standing {
            live,
            possible,
            needed,
            lost_below,
            gained_at: (needed + hysteresis).min(reachable),
            percent,
        }
    }

    /// How each server is used, regardless of how many others are left.
    fn usages(&self, held: &[bool], stopped: bool) -> Vec<Usage> {
        let usage = |(server, held): (&ServerState<P>, &bool)| {
            let usage = match (server.operator, server.health) {
                _ if stopped => return Usage::Out(Out::Stopped),
                (Operator::Maintenance, _) => return Usage::Out(Out::Maintenance),
                (Operator::Drain, _) => Usage::Out(Out::Drain),
                (Operator::Ready, Verdict::Up) => Usage::In(In::Up),
                (Operator::Ready, Verdict::Down) if *held => Usage::In(In::Brake),
                (Operator::Ready, Verdict::Down) => Usage::Out(Out::Down),
                (Operator::Ready, Verdict::Waiting) if server.was_in => Usage::In(In::Unchecked),
                (Operator::Ready, Verdict::Waiting) => Usage::Out(Out::Waiting),
            };
            let usage = match usage {
                Usage::In(_) if self.sorry_in => Usage::Out(Out::Sorry),
                usage => usage,
            };
            match usage {
                Usage::Out(out) if server.inhibit => Usage::Inhibited(out),
                usage => usage,
            }
        };
        self.servers.iter().zip(held).map(usage).collect()
    }

    /// Puts servers that are not known to be good into use if too few are left.
    fn fill_up(&self, usages: &mut [Usage]) {
        if self.sorry_in {
            return;
        }
        let is_served = |usages: &[Usage]| {
            let mut all = self.servers.iter().zip(usages);
            all.any(|(server, usage)| usage.is_in() && server.full_weight() > Weight::ZERO)
        };
        let replace = |usages: &mut [Usage], out: Out, with: In| {
            for (server, usage) in self.servers.iter().zip(usages) {
                let is_out = *usage == Usage::Out(out) || *usage == Usage::Inhibited(out);
                if is_out && (out == Out::Waiting || server.was_in) {
                    *usage = Usage::In(with);
                }
            }
        };
        if !is_served(usages) {
            replace(usages, Out::Waiting, In::Unchecked);
        }
        let panics = match self.config.panic {
            Panic::Off => false,
            Panic::WhenNoneIsLeft => !is_served(usages),
            Panic::BelowPercent(percent) => {
                let of_all = |up: &dyn Fn(&&ServerState<P>) -> bool| {
                    let mut ready = self.servers.iter().filter(|server| server.is_ready());
                    ready.by_ref().filter(up).count()
                };
                let up = of_all(&|server| server.health == Verdict::Up);
                up * 100 < of_all(&|_| true) * percent as usize || !is_served(usages)
            }
        };
        if panics {
            replace(usages, Out::Down, In::Panic);
        }
    }

    fn report_panic(&mut self, usages: &[Usage], evaluation: &mut Evaluation<'_>) {
        let panicking = |usage: &&Usage| **usage == Usage::In(In::Panic);
        let count = usages.iter().filter(panicking).count();
        let before = std::mem::replace(&mut self.panicking, count);
        match (before, count) {
            (0, 1..) => evaluation.emit(self.key(), PoolChange::PanicOn(count)),
            (1.., 0) => evaluation.emit(self.key(), PoolChange::PanicOff),
            _ => {}
        }
    }

    /// Puts the servers into the table or takes them out.
    fn place(&mut self, usages: &[Usage], evaluation: &mut Evaluation<'_>) {
        let key = self.key();
        let now = evaluation.now;
        let slow_start = self.config.slow_start;
        self.next_step = None;
        for (place, usage) in usages.iter().enumerate() {
            let Some(server) = self.servers.get_mut(place) else {
                continue;
            };
            let had_traffic = server.usage.is_in();
            server.usage = *usage;
            if server.operator == Operator::Ready {
                server.was_in |= usage.is_in() || server.health == Verdict::Up;
            } else {
                server.was_in = false;
            }
            let before = server.placed;
            server.placed = match usage {
                Usage::In(_) => {
                    server.draining_since = None;
                    let step = server.next_step(slow_start, now);
                    self.next_step = self.next_step.into_iter().chain(step).min();
                    Some(server.used_weight(slow_start, now))
                }
                Usage::Inhibited(_) => Some(Weight::ZERO),
                Usage::Out(_) => None,
            };
            let server_key = server.key();
            if let (Some(from), Some(to)) = (before, server.placed)
                && from != to
            {
                let server = server_key;
                evaluation.emit(key, PoolChange::Weight { server, from, to });
            }
            let drains = self.drain_of(place).is_some();
            if let Some(server) = self.servers.get_mut(place)
                && !usage.is_in()
            {
                if !drains {
                    server.draining_since = None;
                } else if had_traffic {
                    server.draining_since = Some(now);
                    evaluation.emit(key, PoolChange::Draining(server_key));
                }
            }
        }
    }

    /// How a server that gets no traffic now leaves; `None` for at once.
    pub(super) fn drain_of(&self, place: usize) -> Option<Drain> {
        let server = self.servers.get(place)?;
        match server.usage {
            Usage::In(_) => None,
            Usage::Inhibited(out) | Usage::Out(out) => match out {
                Out::Down | Out::Waiting => self.config.drain_failed,
                Out::Drain | Out::Sorry => server.drain().or(self.config.drain),
                Out::Maintenance | Out::Stopped => None,
            },
        }
    }

    /// Whether a destination is wanted.
    pub(super) fn has_placed(&self, key: &DestinationKey) -> bool {
        let found = self.wanted.binary_search_by_key(key, |wanted| wanted.key);
        found.is_ok()
    }

    fn destinations(&self, stopped: bool) -> Vec<Destination> {
        let placed = |server: &ServerState<P>| Some(server.destination(server.placed?));
        // Most servers are wanted, and the list is kept.
        let mut wanted = Vec::with_capacity(self.servers.len());
        wanted.extend(self.servers.iter().filter_map(placed));
        if let Some(sorry) = &self.config.sorry_server {
            let key = sorry.destination.key;
            let is_real = self.servers.iter().any(|server| server.key() == key);
            match wanted.binary_search_by_key(&key, |destination| destination.key) {
                Ok(place) => {
                    if self.sorry_in {
                        wanted[place].weight = sorry.destination.weight;
                    }
                }
                Err(place) if self.sorry_in => wanted.insert(place, sorry.destination),
                Err(place) => {
                    if sorry.inhibit && !is_real && !stopped {
                        let weight = Weight::ZERO;
                        let destination = Destination {
                            weight,
                            ..sorry.destination
                        };
                        wanted.insert(place, destination);
                    }
                }
            }
        }
        wanted
    }
}

/// Live capacity of a service and its bounds, in the unit of its quorum.
struct Standing {
    live: u64,
    /// The live capacity if all servers that are unchecked and may be up succeed.
    possible: u64,
    needed: u64,
    lost_below: u64,
    gained_at: u64,
    percent: bool,
}

impl Standing {
    fn level(&self, before: Level) -> Level {
        if self.live >= self.gained_at {
            return Level::Up;
        }
        let is_lost = self.live < self.lost_below;
        match before {
            Level::Up if is_lost => Level::Down,
            Level::Unknown if self.live >= self.needed => Level::Up,
            Level::Unknown if self.possible < self.needed => Level::Down,
            level => level,
        }
    }

    fn against(&self, bound: u64) -> LiveCapacity {
        LiveCapacity {
            live: self.live,
            bound,
            percent: self.percent,
        }
    }
}

impl Evaluation<'_> {
    fn emit(&mut self, service: ServiceKey, change: PoolChange) {
        (self.sink)(service, change, &self.cause);
    }
}
