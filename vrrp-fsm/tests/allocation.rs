//! A router never allocates.

#![allow(missing_docs)]
// The settings in clippy.toml do not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use vrrp_fsm::{
    Action, Config, Event, Instant, ReceiveContext, ShutdownCause, State, VirtualRouter,
};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, Family, Interval, IpHeader,
    MessageAuthentication, Priority, TTL, Vrid,
};

/// The system's allocator, which counts the allocations of the thread that asked for it.
struct Counting;

static COUNTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WATCHED: AtomicBool = const { AtomicBool::new(false) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if WATCHED.with(|watched| watched.load(Ordering::Relaxed)) {
            COUNTED.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNTED.load(Ordering::Relaxed);
    WATCHED.with(|watched| watched.store(true, Ordering::Relaxed));
    work();
    WATCHED.with(|watched| watched.store(false, Ordering::Relaxed));
    COUNTED.load(Ordering::Relaxed) - before
}

#[test]
fn a_life_without_an_allocation() {
    assert_eq!(
        allocations(|| drop(black_box(Box::new(1)))),
        1,
        "the counter counts"
    );

    let counted = allocations(|| {
        let config = Config::new(Vrid::new(51).unwrap(), Family::Ipv4);
        let mut router = VirtualRouter::new(config).unwrap();
        let mut now = Instant::ZERO;
        let primary_address = Ipv4Addr::new(192, 0, 2, 11).into();
        let _ = router.handle_event(now, Event::Startup { primary_address });
        for round in 0..1000_u16 {
            now = now + Duration::from_millis(700);
            let _ = router.handle_timeout(now);
            let priority = Priority::new(u8::try_from(round % 256).unwrap());
            let mut octets = [0; 64];
            let addresses = [Ipv4Addr::new(192, 0, 2, 1)];
            let endpoints = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 12).into());
            let length = Advertisement {
                vrid: config.vrid,
                priority,
                interval: Interval::centis(round % 4095 + 1).unwrap(),
                authentication: MessageAuthentication::None,
                addresses: Addresses::from(&addresses[..]),
            }
            .encode(&mut octets, &endpoints, ChecksumForm::MessageOnly)
            .unwrap();
            let ip = IpHeader {
                endpoints,
                ttl: TTL,
            };
            let context = ReceiveContext {
                addresses: Some(Addresses::from(&addresses[..])),
                ..ReceiveContext::multicast(Family::Ipv4)
            };
            let payload = &octets[..length];
            let (_, actions) = router.handle_packet(now, &ip, payload, &context).unwrap();
            for action in actions {
                if let Action::SendAdvertisement(outgoing) = action {
                    let messages = router.advertisements(
                        outgoing,
                        MessageAuthentication::None,
                        Addresses::from(&addresses[..]),
                    );
                    assert_eq!(messages.count(), usize::from(outgoing.checksum.count()));
                }
            }
        }
        router = VirtualRouter::restore(config, router.snapshot(now), now).unwrap();
        let _ = router.reconfigure(now, config).unwrap();
        let _ = router.handle_event(now, Event::Shutdown(ShutdownCause::Administrative));
        assert_eq!(router.state(), State::Initialize);
        assert!(router.counters().active_transitions > 1);
    });
    assert_eq!(counted, 0);
}
