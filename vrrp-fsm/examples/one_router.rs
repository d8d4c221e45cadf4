//! One virtual router in simulated time: it receives no advertisement, becomes Active, and yields
//! to a router of higher priority.
//!
//! `cargo run -p vrrp-fsm --example one_router`

use std::{error::Error, net::Ipv4Addr};

use vrrp_fsm::{Action, Actions, Config, Event, Instant, ReceiveContext, State, VirtualRouter};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, Family, Interval, IpHeader,
    MessageAuthentication, Priority, TTL, Vrid,
};

const VIRTUAL_ADDRESSES: [Ipv4Addr; 1] = [Ipv4Addr::new(192, 0, 2, 1)];

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::new(Vrid::try_from(51)?, Family::Ipv4);
    let mut router = VirtualRouter::new(config)?;

    let primary_address = Ipv4Addr::new(192, 0, 2, 11).into();
    let started = router.handle_event(Instant::ZERO, Event::Startup { primary_address });
    perform(Instant::ZERO, started);

    // Three intervals and Skew_Time without an advertisement, then one periodic advertisement.
    let mut now = Instant::ZERO;
    for _ in 0..2 {
        now = router
            .poll_timeout()
            .ok_or("a running router has a deadline")?;
        let actions = router.handle_timeout(now);
        perform(now, actions);
    }
    assert_eq!(router.state(), State::Active);

    // A router of higher priority starts.
    let endpoints = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 12).into());
    let theirs = Advertisement {
        vrid: config.vrid,
        priority: Priority::new(200),
        interval: Interval::DEFAULT_V3,
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(&VIRTUAL_ADDRESSES[..]),
    };
    let mut message = [0; 12];
    theirs.encode(&mut message, &endpoints, ChecksumForm::MessageOnly)?;
    let ip = IpHeader {
        endpoints,
        ttl: TTL,
    };
    let context = ReceiveContext::multicast(Family::Ipv4);
    let (accepted, actions) = router.handle_packet(now, &ip, &message, &context)?;
    println!("{now}: received priority {}", accepted.priority());
    perform(now, actions);
    assert_eq!(router.state(), State::Backup);
    Ok(())
}

fn perform(now: Instant, actions: Actions) {
    for action in actions {
        match action {
            Action::StateChanged(change) => println!("{now}: {}, {}", change.to, change.reason),
            other => println!("{now}: {other:?}"),
        }
    }
}
