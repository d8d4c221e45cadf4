#![no_main]
//! Octets from the wire and events in any order, at any times: the machine does not panic, its
//! invariants hold, and a refused input changes nothing except a counter.

use std::{net::Ipv4Addr, time::Duration};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vrrp_fsm::{
    Action, Actions, Config, Counters, Event, Instant, Preempt, Profile, ReceiveContext,
    ShutdownCause, Snapshot, StallPolicy, State, VirtualRouter,
};
use vrrp_proto::{Family, Interval, Priority, Versions, Vrid};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    v2: bool,
    both: bool,
    rfc5798: bool,
    yields: bool,
    priority: u8,
    count: u16,
    preempt: Option<u16>,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Packet(&'a [u8]),
    Startup(u8),
    Shutdown,
    Fault,
    Priority(u8),
    PrimaryAddress(u8),
    AddressesChanged,
    Pass(u32),
    Sleep,
    Jump(u64),
    HandOver,
}

fn config(input: &Input<'_>) -> Option<Config> {
    let vrid = Vrid::new(51)?;
    let mut config = if input.v2 {
        Config::v2(vrid)
    } else {
        Config::new(vrid, Family::Ipv4)
    };
    if input.v2 {
        config.interval = Interval::seconds(u8::try_from(input.count % 256).ok()?).ok()?;
    } else {
        config.interval = Interval::centis(input.count).ok()?;
        if input.both {
            config.versions = Versions::Both;
        }
        if input.rfc5798 {
            config.profile = Profile::Rfc5798;
        }
    }
    config.priority = Priority::new(input.priority);
    config.preempt = match input.preempt {
        None => Preempt::Always,
        Some(0) => Preempt::Never,
        Some(seconds) => Preempt::AfterDelay(Duration::from_secs(seconds.into())),
    };
    if input.yields {
        config.stall = StallPolicy::Yield;
    }
    Some(config)
}

/// The state that a rejected packet must leave as it was: everything except the counters.
fn without_counters(router: &VirtualRouter, now: Instant) -> (Snapshot, Option<Instant>) {
    let mut snapshot = router.snapshot(now);
    snapshot.counters = Counters::default();
    (snapshot, router.poll_timeout())
}

fn receive(router: &mut VirtualRouter, now: Instant, payload: &[u8]) -> Actions {
    let ip = vrrp_fuzz::ipv4();
    let context = ReceiveContext::multicast(Family::Ipv4);
    let mut payload = payload.to_vec();
    vrrp_fuzz::mend_checksum(&mut payload, &ip);
    let before = without_counters(router, now);
    match router.handle_packet(now, &ip, &payload, &context) {
        Ok((_, actions)) => actions,
        Err(_) => {
            assert_eq!(before, without_counters(router, now));
            Actions::default()
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let Some(mut router) = config(&input).and_then(|config| VirtualRouter::new(config).ok()) else {
        return;
    };
    let mut now = Instant::ZERO;
    let mut installed = false;
    for step in &input.steps {
        let own = |host: &u8| Ipv4Addr::new(192, 0, 2, *host).into();
        let actions = match step {
            Step::Packet(payload) => receive(&mut router, now, payload),
            Step::Startup(host) => router.handle_event(
                now,
                Event::Startup {
                    primary_address: own(host),
                },
            ),
            Step::Shutdown => {
                router.handle_event(now, Event::Shutdown(ShutdownCause::Administrative))
            }
            Step::Fault => router.handle_event(now, Event::Shutdown(ShutdownCause::Fault)),
            Step::Priority(priority) => {
                router.handle_event(now, Event::EffectivePriority(Priority::new(*priority)))
            }
            Step::PrimaryAddress(host) => {
                router.handle_event(now, Event::PrimaryAddress(own(host)))
            }
            Step::AddressesChanged => router.handle_event(now, Event::AddressesChanged),
            Step::Pass(nanos) => {
                now = Instant::from_nanos(now.as_nanos().saturating_add((*nanos).into()));
                router.handle_timeout(now)
            }
            Step::Sleep => {
                now = router.poll_timeout().unwrap_or(now).max(now);
                router.handle_timeout(now)
            }
            Step::Jump(nanos) => {
                now = Instant::from_nanos(*nanos);
                router.handle_timeout(now)
            }
            Step::HandOver => {
                let snapshot = router.snapshot(now);
                let Ok(next) = VirtualRouter::restore(router.config(), snapshot, now) else {
                    panic!("a snapshot of a running router is refused");
                };
                // A deadline at the end of time is stored as a distance from now, and that may be
                // nearer.
                assert_eq!(next.state(), router.state());
                assert_eq!(next.effective_priority(), router.effective_priority());
                router = next;
                Actions::default()
            }
        };
        for action in actions {
            match action {
                Action::InstallAddresses => installed = true,
                Action::RemoveAddresses => installed = false,
                _ => (),
            }
        }
        assert_eq!(installed, router.state() == State::Active);
        assert_eq!(
            router.poll_timeout().is_some(),
            router.state() != State::Initialize
        );
    }
});
