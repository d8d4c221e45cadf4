//! Hosts with a mistake, to see that it is found.

use clap::ValueEnum;
use vrrp_fsm::{
    Instant, State,
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

/// A host that does not hear what this mistake keeps from it.
pub(crate) struct Faulty<const MISTAKE: u8>(VrrpRouter);

impl<const MISTAKE: u8> Host for Faulty<MISTAKE> {
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
        let priority = priority(packet);
        let router = packet.key().and_then(|key| self.0.get(self.0.find(&key)?));
        let is_missed = if MISTAKE == Mistake::IgnoresPriorityZero as u8 {
            priority == 0
        } else {
            router.is_some_and(|router| {
                let lower = 1..router.effective_priority().get();
                router.state() == State::Active && lower.contains(&priority)
            })
        };
        if !is_missed {
            self.0.receive(now, packet);
        }
    }
}

/// The third octet of the message.
fn priority(packet: &Packet) -> u8 {
    packet.octets.get(2).copied().unwrap_or_default()
}
