//! A model for stateright: routers on a hostile network.

use std::fmt;

use stateright::{Model, Property};
use vrrp_fsm::{Config, Preempt, State};

use crate::node::{Node, Octets};

/// Safety: there are never two Actives.
pub(crate) const AT_MOST_ONE_ACTIVE: &str = "at most one Active";

/// Liveness: there is an Active.
pub(crate) const AN_ACTIVE_WHERE_A_ROUTER_TAKES_PART: &str = "an Active where a router takes part";

/// Safety: its advertisement would make the router yield that has taken over from it.
pub(crate) const A_STALLED_ACTIVE_THAT_YIELDS_IS_SILENT: &str =
    "a stalled Active that yields is silent";

/// The model: its routers, its network and its faults.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) routers: Vec<Config>,
    /// The number of ticks within which a message arrives without a fault.
    pub(crate) delay: u8,
    /// The number of ticks without a fault after which every property must hold.
    pub(crate) stable_after: u8,
    pub(crate) faults: Faults,
    pub(crate) flaw: Option<Flaw>,
}

/// The possible faults.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    /// The maximum number of faults.
    pub(crate) limit: u8,
    /// Messages are lost.
    pub(crate) loss: bool,
    /// Whether the limit excludes losses and duplications, so there can be any number of them.
    pub(crate) without_limit: bool,
    /// Messages arrive twice.
    pub(crate) duplication: bool,
    /// A message arrives this many ticks late, after others that were sent later: one at a time.
    pub(crate) reordering: Option<u8>,
    /// Routers crash and restart.
    pub(crate) crashes: bool,
    /// Routers are shut down, and started again.
    pub(crate) stops: bool,
    /// The priority to which a router's priority changes, and from which it changes back.
    pub(crate) priority: Option<u8>,
    /// A router does nothing for up to this many ticks: one at a time.
    pub(crate) stall: Option<u8>,
}

/// A mistake that the check must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// An Active ignores all advertisements.
    DeafActive,
    /// A Backup never takes over from a silent Active.
    PatientBackup,
    /// An Active ignores routers of its own priority.
    NoTieBreak,
}

/// For the table of the documentation.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = !self.without_limit;
        let kinds = [
            (self.loss && counted).then(|| "loss".into()),
            (self.duplication && counted).then(|| "duplication".into()),
            self.reordering
                .map(|ticks| format!("delay of {ticks} ticks")),
            self.crashes.then(|| "crash, restart".into()),
            self.stops.then(|| "stop, start".into()),
            self.priority.map(|priority| format!("priority {priority}")),
            self.stall.map(|ticks| format!("stall of {ticks} ticks")),
        ];
        let kinds: Vec<String> = kinds.into_iter().flatten().collect();
        if self.without_limit {
            f.write_str("any number: loss, duplication; ")?;
        }
        write!(f, "up to {}: {}", self.limit, kinds.join(", "))
    }
}

/// The routers, the messages under way, and the faults so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Situation {
    pub(crate) hosts: Vec<Host>,
    /// In order, so that equal situations are equal.
    pub(crate) messages: Vec<Message>,
    /// Faults so far, of those that count.
    faults: u8,
    /// Ticks since the last fault, once faults have ended, up to the largest number that matters.
    quiet: Option<u8>,
    /// Whether an Active that yields after a stall advertised, or stayed Active, when it woke up.
    has_defied_stall: bool,
}

/// A host with a router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Crashed,
    Running(Node),
    /// The router, the ticks since the stall began, and the messages that wait in the socket, in
    /// order.
    Stalled(Node, u8, Vec<Message>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Message {
    to: usize,
    from: usize,
    octets: Octets,
    /// In ticks.
    age: u8,
    late: bool,
    /// Whether it may still be duplicated.
    single: bool,
}

/// The possible next steps. Messages and routers are named by their places.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Deliver(usize),
    Expire(usize),
    Tick,
    Lose(usize),
    Duplicate(usize),
    Delay(usize),
    Crash(usize),
    Restart(usize),
    Stop(usize),
    Start(usize),
    ChangePriority(usize),
    Stall(usize),
    Wake(usize),
    /// From then on no fault occurs.
    EndFaults,
}

impl Step {
    /// Whether it is one of the faults that are limited.
    fn counts(&self, faults: &Faults) -> bool {
        self.is_fault()
            && !(faults.without_limit && matches!(self, Self::Lose(_) | Self::Duplicate(_)))
    }

    fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Deliver(_) | Self::Expire(_) | Self::Tick | Self::Wake(_) | Self::EndFaults
        )
    }
}

impl Model for Network {
    type State = Situation;
    type Action = Step;

    /// All routers start at the same time.
    fn init_states(&self) -> Vec<Situation> {
        let mut situation = Situation {
            hosts: vec![Host::Crashed; self.routers.len()],
            messages: Vec::new(),
            faults: 0,
            quiet: None,
            has_defied_stall: false,
        };
        for place in 0..self.routers.len() {
            self.restart(&mut situation, place);
        }
        situation.messages.sort();
        vec![situation]
    }

    fn actions(&self, situation: &Situation, steps: &mut Vec<Step>) {
        for (place, message) in situation.messages.iter().enumerate() {
            // Of equal messages, one stands for all.
            if place > 0 && situation.messages[place - 1] == *message {
                continue;
            }
            steps.push(Step::Deliver(place));
            if self.faults.loss {
                steps.push(Step::Lose(place));
            }
            if self.faults.duplication && message.single {
                steps.push(Step::Duplicate(place));
            }
            let any_late = situation.messages.iter().any(|other| other.late);
            if self.faults.reordering.is_some() && !any_late {
                steps.push(Step::Delay(place));
            }
        }
        let any_stalled = situation.has_stalled();
        for (place, host) in situation.hosts.iter().enumerate() {
            match host {
                Host::Crashed => steps.push(Step::Restart(place)),
                Host::Stalled(..) => steps.push(Step::Wake(place)),
                Host::Running(node) => {
                    let stopped = node.state() == State::Initialize;
                    if node.is_due() {
                        steps.push(Step::Expire(place));
                    }
                    if self.faults.crashes {
                        steps.push(Step::Crash(place));
                    }
                    if self.faults.stops {
                        steps.push(if stopped {
                            Step::Start(place)
                        } else {
                            Step::Stop(place)
                        });
                    }
                    if self.faults.priority.is_some() && !stopped {
                        steps.push(Step::ChangePriority(place));
                    }
                    if self.faults.stall.is_some() && !any_stalled && !stopped {
                        steps.push(Step::Stall(place));
                    }
                }
            }
        }
        if self.time_may_pass(situation) {
            steps.push(Step::Tick);
        }
        if situation.quiet.is_none() && !any_stalled && !situation.messages.iter().any(|m| m.late) {
            steps.push(Step::EndFaults);
        }
        let spent = self.faults.limit == situation.faults;
        if situation.quiet.is_some() {
            steps.retain(|step| !step.is_fault());
        } else if spent {
            steps.retain(|step| !step.counts(&self.faults));
        }
    }

    fn next_state(&self, last: &Situation, step: Step) -> Option<Situation> {
        let mut next = last.clone();
        if step.counts(&self.faults) {
            next.faults += 1;
        }
        match step {
            Step::Deliver(place) => {
                let message = next.messages.remove(place);
                self.deliver(&mut next, message);
            }
            Step::Duplicate(place) => {
                let copy = Message {
                    single: false,
                    ..next.messages[place].clone()
                };
                next.messages[place].single = false;
                self.deliver(&mut next, copy);
            }
            Step::Lose(place) => drop(next.messages.remove(place)),
            Step::Delay(place) => next.messages[place].late = true,
            Step::Expire(place) => self.expire(&mut next, place),
            Step::Tick => self.tick(&mut next),
            Step::Crash(place) => next.hosts[place] = Host::Crashed,
            Step::Restart(place) => self.restart(&mut next, place),
            Step::Stop(place) => next.step(place, Node::stop),
            Step::Start(place) => next.step(place, |node| node.start(place)),
            Step::ChangePriority(place) => {
                let other = self.faults.priority?;
                next.step(place, |node| {
                    let own = node.configured_priority();
                    let wanted = if node.priority() == own { other } else { own };
                    node.set_priority(wanted)
                });
            }
            Step::Stall(place) => {
                let Host::Running(node) = next.hosts[place].clone() else {
                    return None;
                };
                next.hosts[place] = Host::Stalled(node, 0, Vec::new());
            }
            Step::Wake(place) => self.wake(&mut next, place),
            Step::EndFaults => next.quiet = Some(0),
        }
        next.messages.sort();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(AT_MOST_ONE_ACTIVE, |network, situation| {
                !network.is_stable(situation) || situation.actives() <= 1
            }),
            Property::always(AN_ACTIVE_WHERE_A_ROUTER_TAKES_PART, |network, situation| {
                !network.is_stable(situation)
                    || situation.highest().is_some() == situation.highest_active().is_some()
            }),
            Property::always(
                "the Active has the highest priority",
                |network, situation| {
                    !network.is_stable(situation)
                        || network.lets_live()
                        || situation.highest() == situation.highest_active()
                },
            ),
            Property::always(
                A_STALLED_ACTIVE_THAT_YIELDS_IS_SILENT,
                |_, situation: &Situation| !situation.has_defied_stall,
            ),
            Property::always("no dead-lock", |network, situation| {
                let mut steps = Vec::new();
                network.actions(situation, &mut steps);
                steps
                    .iter()
                    .any(|step| !step.is_fault() && *step != Step::EndFaults)
            }),
            Property::sometimes("two Actives", |_, situation: &Situation| {
                situation.actives() == 2
            }),
            Property::sometimes("no Active", |_, situation: &Situation| {
                situation.actives() == 0 && situation.highest().is_some()
            }),
            Property::sometimes("stable", |network, situation| {
                network.is_stable(situation) && situation.highest().is_some()
            }),
        ]
    }
}

impl Network {
    /// Whether the routers do not preempt an Active of lower priority.
    fn lets_live(&self) -> bool {
        let never = |config: &Config| config.preempt == Preempt::Never;
        self.routers.iter().any(never)
    }

    fn is_stable(&self, situation: &Situation) -> bool {
        situation.quiet == Some(self.stable_after)
    }

    /// Timers fire when they are due, and messages arrive in time.
    fn time_may_pass(&self, situation: &Situation) -> bool {
        let in_time = situation.messages.iter().all(|message| {
            let limit = if message.late {
                self.faults.reordering.unwrap_or(0)
            } else {
                self.delay
            };
            message.age < limit
        });
        in_time
            && situation.hosts.iter().all(|host| match host {
                Host::Crashed => true,
                Host::Running(node) => !node.is_due(),
                Host::Stalled(_, ticks, _) => Some(*ticks) < self.faults.stall,
            })
    }

    fn tick(&self, situation: &mut Situation) {
        for host in &mut situation.hosts {
            match host {
                Host::Crashed => {}
                Host::Running(node) => node.pass_tick(),
                Host::Stalled(node, ticks, _) => {
                    node.pass_tick();
                    *ticks += 1;
                }
            }
        }
        for message in &mut situation.messages {
            message.age += 1;
        }
        if let Some(quiet) = &mut situation.quiet {
            *quiet = self.stable_after.min(*quiet + 1);
        }
    }

    fn restart(&self, situation: &mut Situation, place: usize) {
        let (node, sent) = Node::started(self.routers[place], place);
        situation.hosts[place] = Host::Running(node);
        situation.send(place, sent);
    }

    fn deliver(&self, situation: &mut Situation, message: Message) {
        let place = message.to;
        match &mut situation.hosts[place] {
            Host::Crashed => {}
            Host::Stalled(_, _, socket) => socket.push(message),
            Host::Running(node) => {
                if !self.is_missed(node, &message) {
                    situation.step(place, |node| node.receive(message.from, &message.octets));
                }
            }
        }
    }

    fn expire(&self, situation: &mut Situation, place: usize) {
        let patient = self.flaw == Some(Flaw::PatientBackup);
        situation.step(place, |node| {
            if patient && node.state() == State::Backup {
                // As if the timer had been set again.
                *node = Node::started(self.routers[place], place).0;
                return Vec::new();
            }
            node.handle_timeout()
        });
    }

    /// Drain, then decide.
    fn wake(&self, situation: &mut Situation, place: usize) {
        let Host::Stalled(node, _, socket) = situation.hosts[place].clone() else {
            return;
        };
        let must_yield = node.must_yield();
        situation.hosts[place] = Host::Running(node);
        let under_way = situation.messages.len();
        for message in socket {
            self.deliver(situation, message);
        }
        situation.step(place, Node::handle_timeout);
        let is_silent = situation.messages.len() == under_way;
        situation.has_defied_stall |= must_yield && !(is_silent && situation.is_backup(place));
    }

    fn is_missed(&self, node: &Node, message: &Message) -> bool {
        let active = node.state() == State::Active;
        match self.flaw {
            Some(Flaw::DeafActive) => active,
            Some(Flaw::NoTieBreak) => active && message.priority() == node.priority(),
            Some(Flaw::PatientBackup) | None => false,
        }
    }
}

impl Message {
    /// The third octet.
    fn priority(&self) -> u8 {
        self.octets[2]
    }
}

impl Situation {
    /// Performs a step of a router, and sends its messages to all others.
    fn step(&mut self, place: usize, act: impl FnOnce(&mut Node) -> Vec<Octets>) {
        if let Host::Running(node) = &mut self.hosts[place] {
            let sent = act(node);
            self.send(place, sent);
        }
    }

    fn send(&mut self, from: usize, sent: Vec<Octets>) {
        for octets in sent {
            for (to, host) in self.hosts.iter().enumerate() {
                if to != from && *host != Host::Crashed {
                    self.messages.push(Message {
                        to,
                        from,
                        octets: octets.clone(),
                        age: 0,
                        late: false,
                        single: true,
                    });
                }
            }
        }
    }

    fn is_backup(&self, place: usize) -> bool {
        matches!(&self.hosts[place], Host::Running(node) if node.state() == State::Backup)
    }

    fn has_stalled(&self) -> bool {
        self.hosts
            .iter()
            .any(|host| matches!(host, Host::Stalled(..)))
    }

    fn actives(&self) -> usize {
        self.nodes()
            .filter(|node| node.state() == State::Active)
            .count()
    }

    /// The highest priority of those that take part.
    fn highest(&self) -> Option<u8> {
        self.nodes()
            .filter(|node| node.state() != State::Initialize)
            .map(Node::priority)
            .max()
    }

    fn highest_active(&self) -> Option<u8> {
        self.nodes()
            .filter(|node| node.state() == State::Active)
            .map(Node::priority)
            .max()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.hosts.iter().filter_map(|host| match host {
            Host::Crashed => None,
            Host::Running(node) | Host::Stalled(node, ..) => Some(node),
        })
    }
}
