//! Steps of the state machine.

use std::{net::IpAddr, time::Duration};

use vrrp_fsm::{AcceptedAdvertisement, Config, Event, Instant, ReceiveContext, VirtualRouter};
use vrrp_proto::{Advertisement, DecodeOptions, Decoded, Version};

use crate::{Error, Repeat, codec::Message, repeat};

/// A router that has received a message.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    router: VirtualRouter,
    message: Message,
    received: Decoded<'static>,
    context: ReceiveContext<'static>,
    accepted: AcceptedAdvertisement,
    interval: Duration,
}

impl Step {
    /// Creates a Backup that receives this message from its Active, with all that a step needs.
    ///
    /// # Errors
    ///
    /// If the router does not accept the message.
    pub fn new(message: Message) -> Result<Self, Error> {
        let advertisement = message.advertisement;
        let family = advertisement.addresses.family();
        let mut config = match advertisement.version() {
            Version::V2 => Config::v2(advertisement.vrid),
            Version::V3 => Config::new(advertisement.vrid, family),
        };
        config.interval = advertisement.interval;
        let mut router = VirtualRouter::new(config)?;
        let primary_address = match message.ip.endpoints.source() {
            IpAddr::V4(source) => IpAddr::V4((source.to_bits() + 1).into()),
            IpAddr::V6(source) => IpAddr::V6((source.to_bits() + 1).into()),
        };
        let _started = router.handle_event(Instant::ZERO, Event::Startup { primary_address });
        let context = ReceiveContext::multicast(family);
        let received =
            Advertisement::decode(message.octets, &message.ip, &DecodeOptions::default())?;
        let accepted = router.check(&received, &message.ip, &context)?;
        Ok(Self {
            router,
            message,
            received,
            context,
            accepted,
            interval: advertisement.interval.as_duration(),
        })
    }

    /// [`VirtualRouter::handle_event`]: a Backup receives from its Active.
    #[must_use]
    pub fn backup_receives_active(self) -> Repeat {
        repeat((self, Instant::ZERO), |(step, now)| {
            *now = *now + step.interval;
            step.router
                .handle_event(*now, Event::Advertisement(step.accepted))
        })
    }

    /// [`VirtualRouter::handle_timeout`]: an Active's Adver_Timer fires.
    #[must_use]
    pub fn active_advertises(mut self) -> Repeat {
        let taken_over = self.router.poll_timeout().unwrap_or(Instant::MAX);
        let _actions = self.router.handle_timeout(taken_over);
        repeat((self, taken_over), |(step, now)| {
            *now = *now + step.interval;
            step.router.handle_timeout(*now)
        })
    }

    /// [`VirtualRouter::check`]: a decoded message against the configuration.
    #[must_use]
    pub fn check(self) -> Repeat {
        repeat(self, |step| {
            step.router
                .check(&step.received, &step.message.ip, &step.context)
        })
    }

    /// All work of a Backup on a message: decode, check, step, and return the next timeout.
    #[must_use]
    pub fn whole_path(self) -> Repeat {
        repeat((self, Instant::ZERO), |(step, now)| {
            *now = *now + step.interval;
            let Message { octets, ip, .. } = &step.message;
            let handled = step.router.handle_packet(*now, ip, octets, &step.context);
            (handled.is_ok(), step.router.poll_timeout())
        })
    }
}
