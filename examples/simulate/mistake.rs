//! Hosts with a mistake, to test that the simulation finds it.

use clap::ValueEnum;
use vrrp_fsm::{
    Action, Instant, State,
    fleet::{RouterId, VrrpRouter},
    sim::{Host, Packet},
};
use vrrp_proto::{AuthenticationFault, Discard, Protection};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mistake {
    /// A host ignores resignations.
    IgnoresPriorityZero,
    /// An Active does not answer a rival of lower priority.
    AnswersNoRival,
    /// An Active announces nothing to its neighbours.
    AnnouncesNothing,
    /// A host does not check sequence numbers. Needs an authentication that has them.
    ForgetsSequenceNumbers,
    /// The first host has a different secret. Needs an authentication.
    WrongSecret,
}

/// A host with this mistake.
pub(crate) struct Faulty<const MISTAKE: u8>(VrrpRouter);

impl<const MISTAKE: u8> Faulty<MISTAKE> {
    const fn has(mistake: Mistake) -> bool {
        MISTAKE == mistake as u8
    }

    /// Whether the host ignores a packet.
    fn misses(&self, packet: &Packet) -> bool {
        // The third octet of the message.
        let priority = packet.octets.get(2).copied().unwrap_or_default();
        let router = packet.key().and_then(|key| self.0.get(self.0.find(&key)?));
        let is_lower = router.is_some_and(|router| {
            let lower = 1..router.effective_priority().get();
            router.state() == State::Active && lower.contains(&priority)
        });
        Self::has(Mistake::IgnoresPriorityZero) && priority == 0
            || Self::has(Mistake::AnswersNoRival) && is_lower
    }
}

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

    fn receive(
        &mut self,
        now: Instant,
        packet: &Packet,
        protection: Protection,
    ) -> Result<(), Discard> {
        if self.misses(packet) {
            return Ok(());
        }
        let protection = match protection {
            Protection::Failed(AuthenticationFault::Replay { .. })
                if Self::has(Mistake::ForgetsSequenceNumbers) =>
            {
                match packet.ah {
                    Some(_) => Protection::Ah,
                    None => Protection::Hmac { skew: None },
                }
            }
            other => other,
        };
        self.0.receive(now, packet, protection)
    }

    fn poll_action(&mut self) -> Option<(RouterId, Action)> {
        loop {
            let next = self.0.poll_action()?;
            let is_announcement = matches!(next, (_, Action::Announce { .. }));
            if !(is_announcement && Self::has(Mistake::AnnouncesNothing)) {
                return Some(next);
            }
        }
    }
}
