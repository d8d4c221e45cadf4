//! A host with one router, and advertisements made up by hand.

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use vrrp_fsm::{
    AcceptedAdvertisement, Action, Actions, ChecksumForms, Config, Event, Instant, Outgoing,
    Reason, ReceiveContext, ShutdownCause, State, Transition, VirtualRouter,
};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumMatch, Decoded, Discard, Endpoints, Family, Interval,
    IpHeader, Leniency, MessageAuthentication, Priority, TTL, Versions, Vrid,
};

/// The most common actions.
pub(crate) const REMOVE: Action = Action::RemoveAddresses;
pub(crate) const INSTALL: Action = Action::InstallAddresses;

pub(crate) const fn announce(repeat: u8) -> Action {
    Action::Announce { repeat }
}

/// Version 3 in both checksum forms: what a router with [`Config::new`] sends.
pub(crate) const fn advertise(priority: u8) -> Action {
    Action::SendAdvertisement(Outgoing {
        priority: Priority::new(priority),
        versions: Versions::V3,
        checksum: ChecksumForms::Both,
    })
}

pub(crate) const fn changed(from: State, to: State, reason: Reason) -> Action {
    Action::StateChanged(Transition { from, to, reason })
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn vrid() -> Vrid {
    Vrid::new(51).unwrap()
}

pub(crate) fn centis(centis: u16) -> Interval {
    Interval::centis(centis).unwrap()
}

pub(crate) fn seconds(seconds: u8) -> Interval {
    Interval::seconds(seconds).unwrap()
}

/// Version 3 over IPv4 at 1 s, with this priority.
pub(crate) fn config(priority: u8) -> Config {
    let mut config = Config::new(vrid(), Family::Ipv4);
    config.priority = Priority::new(priority);
    config
}

/// Version 2 at 1 s, with this priority.
pub(crate) fn config_v2(priority: u8) -> Config {
    let mut config = Config::v2(vrid());
    config.priority = Priority::new(priority);
    config
}

/// The primary address with this last octet.
pub(crate) fn address(family: Family, last: u8) -> IpAddr {
    match family {
        Family::Ipv4 => [192, 0, 2, last].into(),
        Family::Ipv6 => [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)].into(),
    }
}

/// The one virtual address.
pub(crate) fn virtual_addresses(family: Family) -> Addresses<'static> {
    const IPV4: &[Ipv4Addr] = &[Ipv4Addr::new(192, 0, 2, 1)];
    const IPV6: &[Ipv6Addr] = &[Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)];
    match family {
        Family::Ipv4 => Addresses::from(IPV4),
        Family::Ipv6 => Addresses::from(IPV6),
    }
}

/// An advertisement from another router. By default it has the version and the interval of
/// [`config`], and comes from 192.0.2.20.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advert {
    pub(crate) source: IpAddr,
    pub(crate) priority: u8,
    pub(crate) interval: Interval,
    pub(crate) checksum: ChecksumMatch,
}

impl Advert {
    pub(crate) fn priority(priority: u8) -> Self {
        Self {
            source: [192, 0, 2, 20].into(),
            priority,
            interval: centis(100),
            // No evidence for either form.
            checksum: ChecksumMatch::Both,
        }
    }

    pub(crate) fn from(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = source.into();
        self
    }

    pub(crate) fn every(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }

    pub(crate) fn with_checksum(mut self, checksum: ChecksumMatch) -> Self {
        self.checksum = checksum;
        self
    }

    pub(crate) fn check(&self, router: &VirtualRouter) -> Result<AcceptedAdvertisement, Discard> {
        let family = Family::of(self.source);
        let received = Decoded {
            advertisement: Advertisement {
                vrid: vrid(),
                priority: Priority::new(self.priority),
                interval: self.interval,
                authentication: MessageAuthentication::None,
                addresses: virtual_addresses(family),
            },
            checksum: self.checksum,
            trailer: None,
            message: &[],
            surplus: &[],
            tolerated: Leniency::NONE,
        };
        let ip = IpHeader {
            endpoints: Endpoints::multicast(self.source),
            ttl: TTL,
        };
        router.check(
            &received,
            &ip,
            &ReceiveContext::multicast(router.config().family),
        )
    }
}

/// A router and its current time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) router: VirtualRouter,
    pub(crate) now: Instant,
}

impl Host {
    /// In Initialize, a while after the epoch.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            router: VirtualRouter::new(config).unwrap(),
            now: Instant::ZERO + ms(1_000_000),
        }
    }

    /// Just after Startup, with the address that ends in 11.
    pub(crate) fn started(config: Config) -> Self {
        let mut host = Self::new(config);
        let _ = host.startup();
        host
    }

    /// Just after taking over.
    pub(crate) fn active(config: Config) -> Self {
        let mut host = Self::started(config);
        if host.state() != State::Active {
            let _ = host.fire();
        }
        assert_eq!(host.state(), State::Active);
        host
    }

    /// Just after accepting an Active of priority 200, whatever the policy.
    pub(crate) fn backup(config: Config) -> Self {
        let mut host = Self::started(config);
        assert_eq!(host.receive(Advert::priority(200)), []);
        assert_eq!(host.state(), State::Backup);
        host
    }

    pub(crate) fn startup(&mut self) -> Vec<Action> {
        self.event(Event::Startup {
            primary_address: address(self.router.config().family, 11),
        })
    }

    pub(crate) fn shutdown(&mut self) -> Vec<Action> {
        self.event(Event::Shutdown(ShutdownCause::Administrative))
    }

    pub(crate) fn event(&mut self, event: Event) -> Vec<Action> {
        list(self.router.handle_event(self.now, event))
    }

    pub(crate) fn receive(&mut self, advert: Advert) -> Vec<Action> {
        let received = advert.check(&self.router).unwrap();
        self.event(Event::Advertisement(received))
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Advances the time, and serves the timers once, at its end.
    pub(crate) fn wake_after(&mut self, time: Duration) -> Vec<Action> {
        self.pass(time);
        list(self.router.handle_timeout(self.now))
    }

    /// Sleeps until the next deadline, and serves it.
    pub(crate) fn fire(&mut self) -> Vec<Action> {
        self.now = self.router.poll_timeout().unwrap();
        list(self.router.handle_timeout(self.now))
    }

    pub(crate) fn state(&self) -> State {
        self.router.state()
    }

    /// The time until the next deadline.
    pub(crate) fn remaining(&self) -> Duration {
        self.router.poll_timeout().unwrap() - self.now
    }
}

pub(crate) fn list(actions: Actions) -> Vec<Action> {
    let by_value: Vec<Action> = actions.into_iter().collect();
    assert_eq!(by_value, actions.as_slice());
    assert_eq!(
        (actions.len(), actions.is_empty()),
        (by_value.len(), by_value.is_empty())
    );
    assert_eq!(format!("{actions:?}"), format!("{by_value:?}"));
    by_value
}
