//! The source of faults: random numbers, or a trace.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use vrrp_proto::{Interval, Priority};

use super::{
    Condition, Delivery, Fault, FaultRates, Host, Network, Rate, Scenario, Trace, host::Node,
    random::Random, wire::Wire,
};
use crate::Instant;

/// The kinds of random faults, each with a random sequence of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Crash,
    Stall,
    Stop,
    Priority,
    Object,
    Partition,
    OneWay,
    Interval,
}

/// The fate of a message that is not simply delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Lost,
    Twice,
    Late(Duration),
    Again(Duration),
}

pub(super) struct Source {
    seed: u64,
    network: Network,
    /// The rates of random faults; none in a replay.
    rates: FaultRates,
    sequences: [Random; Kind::ALL.len()],
    /// The fates of messages from a trace.
    replayed: BTreeMap<Delivery, Vec<Fate>>,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Crash,
        Self::Stall,
        Self::Stop,
        Self::Priority,
        Self::Object,
        Self::Partition,
        Self::OneWay,
        Self::Interval,
    ];

    const fn rate(self, rates: &FaultRates) -> Option<Rate> {
        match self {
            Self::Crash => rates.crash,
            Self::Stall => rates.stall,
            Self::Stop => rates.stop,
            Self::Priority => rates.priority,
            Self::Object => rates.object,
            Self::Partition => rates.partition,
            Self::OneWay => rates.one_way,
            Self::Interval => rates.interval,
        }
    }
}

impl Fate {
    pub(super) const fn fault(self, delivery: Delivery) -> Fault {
        match self {
            Self::Lost => Fault::Lose(delivery),
            Self::Twice => Fault::Duplicate(delivery),
            Self::Late(by) => Fault::Late(delivery, by),
            Self::Again(by) => Fault::Replay(delivery, by),
        }
    }
}

impl Source {
    pub(super) fn random(scenario: &Scenario, seed: u64) -> Self {
        Self {
            seed,
            network: scenario.network,
            rates: scenario.faults,
            sequences: Kind::ALL.map(|kind| Random::of([seed, kind as u64])),
            replayed: BTreeMap::new(),
        }
    }

    pub(super) fn replay(scenario: &Scenario, trace: &Trace) -> Self {
        let mut source = Self {
            rates: FaultRates::default(),
            ..Self::random(scenario, trace.seed)
        };
        for (_, fault) in &trace.faults {
            let (delivery, fate) = match *fault {
                Fault::Lasting(..) => continue,
                Fault::Lose(delivery) => (delivery, Fate::Lost),
                Fault::Duplicate(delivery) => (delivery, Fate::Twice),
                Fault::Late(delivery, by) => (delivery, Fate::Late(by)),
                Fault::Replay(delivery, by) => (delivery, Fate::Again(by)),
            };
            source.replayed.entry(delivery).or_default().push(fate);
        }
        source
    }

    /// Returns the time of the next random fault of a kind.
    pub(super) fn next_fault(&mut self, now: Instant, kind: Kind) -> Option<Instant> {
        let rate = kind.rate(&self.rates)?;
        let random = self.sequences.get_mut(kind as usize)?;
        let at = now + random.between(Duration::ZERO, rate.every * 2);
        (at < self.rates.until).then_some(at)
    }

    /// Draws the fault and its duration.
    pub(super) fn draw<H: Host>(
        &mut self,
        now: Instant,
        kind: Kind,
        nodes: &[Node<H>],
        wire: &Wire,
    ) -> Option<(Condition, Duration)> {
        let Self {
            rates, sequences, ..
        } = self;
        let random = sequences.get_mut(kind as usize)?;
        let lasts = random
            .between(Duration::ZERO, kind.rate(rates)?.longest)
            .min(rates.until - now);
        let host = u32::try_from(random.below(nodes.len() as u64)).ok()?;
        let plan = nodes.get(host as usize)?.plan();
        let router = u32::try_from(random.below(plan.members.len() as u64)).ok()?;
        let condition = match kind {
            Kind::Stop | Kind::Priority | Kind::Interval if plan.members.is_empty() => return None,
            Kind::Object if plan.objects.is_empty() => return None,
            Kind::Crash => Condition::Crash { host },
            Kind::Stall => Condition::Stall { host },
            Kind::Stop => Condition::Stop { host, router },
            Kind::Priority => Condition::Priority {
                host,
                router,
                priority: Priority::new(u8::try_from(1 + random.below(254)).ok()?),
            },
            Kind::Interval => {
                let configured = plan.members.get(router as usize)?.config.interval;
                Condition::Interval {
                    host,
                    router,
                    interval: Interval::centis(configured.as_centis().div_ceil(2)).ok()?,
                }
            }
            Kind::Object => Condition::Object {
                host,
                object: u32::try_from(random.below(plan.objects.len() as u64)).ok()?,
            },
            Kind::Partition => {
                let interface = *random.pick(&wire.interfaces())?;
                let chosen = wire
                    .hosts(interface)
                    .iter()
                    .copied()
                    .filter(|_| random.happens(500_000));
                let mut island: Vec<u32> = chosen.collect();
                if island.is_empty() {
                    island.push(*random.pick(wire.hosts(interface))?);
                }
                Condition::Partition { interface, island }
            }
            Kind::OneWay => {
                let interface = *random.pick(&wire.interfaces())?;
                let from = *random.pick(wire.hosts(interface))?;
                let to = *random.pick(wire.hosts(interface))?;
                Condition::OneWay {
                    interface,
                    from,
                    to,
                }
            }
        };
        Some((condition, lasts))
    }

    /// Returns the delay and the fates of a message. They depend on the seed and the message alone,
    /// so they do not change when another fault is left out.
    pub(super) fn fates(&self, now: Instant, delivery: Delivery) -> (Duration, Vec<Fate>) {
        let Network {
            shortest_delay,
            longest_delay,
        } = self.network;
        let Delivery { from, number, to } = delivery;
        let mut random = Random::of([self.seed, 0xff, from.into(), number, to.into()]);
        let delay = random.between(shortest_delay, longest_delay);
        let mut fates = self.replayed.get(&delivery).cloned().unwrap_or_default();
        if now < self.rates.until {
            let FaultRates {
                loss,
                duplication,
                late,
                latest,
                replay,
                oldest,
                ..
            } = self.rates;
            let [is_lost, is_doubled, is_late] =
                [loss, duplication, late].map(|chance| random.happens(chance.get()));
            let by = random.between(Duration::ZERO, latest);
            let is_replayed = random.happens(replay.get());
            let later = random.between(Duration::ZERO, oldest);
            if is_lost {
                fates.push(Fate::Lost);
            } else {
                fates.extend(is_doubled.then_some(Fate::Twice));
                fates.extend((is_late && by != Duration::ZERO).then_some(Fate::Late(by)));
                fates.extend(is_replayed.then_some(Fate::Again(later)));
            }
        }
        (delay, fates)
    }
}
