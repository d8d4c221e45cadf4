//! Hosts with a mistake, to see that it is found.

use clap::ValueEnum;
use vrrp_fsm::{
    Instant, State, VirtualRouter,
    fleet::VrrpRouter,
    sim::{Host, Packet},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mistake {
    /// A host does not hear resignations.
    IgnoresPriorityZero,
    /// An Active does not answer another one of lower priority.
    AnswersNoRival,
}

impl Mistake {
    /// As it is written on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::IgnoresPriorityZero => "ignores-priority-zero",
            Self::AnswersNoRival => "answers-no-rival",
        }
    }
}

pub(crate) struct IgnoresPriorityZero(VrrpRouter);

impl Host for IgnoresPriorityZero {
    fn boot(fleet: VrrpRouter) -> Self {
        Self(fleet)
    }

    fn fleet(&self) -> &VrrpRouter {
        &self.0
    }

    fn fleet_mut(&mut self) -> &mut VrrpRouter {
        &mut self.0
    }

    fn receive(&mut self, now: Instant, packet: &Packet) {
        if priority(packet) != 0 {
            self.0.receive(now, packet);
        }
    }
}

pub(crate) struct AnswersNoRival(VrrpRouter);

impl Host for AnswersNoRival {
    fn boot(fleet: VrrpRouter) -> Self {
        Self(fleet)
    }

    fn fleet(&self) -> &VrrpRouter {
        &self.0
    }

    fn fleet_mut(&mut self) -> &mut VrrpRouter {
        &mut self.0
    }

    fn receive(&mut self, now: Instant, packet: &Packet) {
        let id = packet.key().and_then(|key| self.0.find(&key));
        let router = id.and_then(|id| self.0.get(id));
        let outranks = |router: &VirtualRouter| {
            router.state() == State::Active
                && (1..router.effective_priority().get()).contains(&priority(packet))
        };
        if !router.is_some_and(outranks) {
            self.0.receive(now, packet);
        }
    }
}

/// The third octet of the message.
fn priority(packet: &Packet) -> u8 {
    packet.octets.get(2).copied().unwrap_or_default()
}
