//! No allocation per packet: neither while advertisements are sent nor while they are received. And
//! the memory of a router.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "an allocator that counts; helpers of tests are tests"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use vrrp_fsm::{Config, State};
use vrrp_lab::Lan;
use vrrp_net::{Driver, RouterConfig, RouterId, RouterView};
use vrrp_proto::{Family, Interval, Priority, Vrid};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// The bytes that this thread has allocated and not freed.
    static BYTES: Cell<i64> = const { Cell::new(0) };
    /// The most bytes so far.
    static MOST: Cell<i64> = const { Cell::new(0) };
}

/// The bytes that the allocator of glibc takes for so many.
fn with_overhead(bytes: usize) -> i64 {
    let bytes = (bytes + size_of::<usize>()).next_multiple_of(16).max(32);
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn add_bytes(bytes: i64) {
    let now = BYTES.get() + bytes;
    BYTES.set(now);
    MOST.set(MOST.get().max(now));
}

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        add_bytes(with_overhead(layout.size()));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add_bytes(-with_overhead(layout.size()));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUTERS: u8 = 100;

fn add_routers(driver: &mut Driver, priority: u8) -> Vec<RouterId> {
    (1..=ROUTERS)
        .map(|number| {
            let mut fsm = Config::new(Vrid::new(number).unwrap(), Family::Ipv4);
            fsm.interval = Interval::centis(2).unwrap();
            fsm.priority = Priority::new(priority);
            let address = format!("198.51.100.{number}").parse().unwrap();
            driver
                .add(RouterConfig::new("eth0", fsm, vec![address]))
                .unwrap()
        })
        .collect()
}

/// Turns both drivers for `time`, and returns the number of allocations of each.
fn run(drivers: &mut [Driver; 2], time: Duration) -> [u64; 2] {
    let start = Instant::now();
    let mut allocations = [0; 2];
    while start.elapsed() < time {
        for (driver, allocations) in drivers.iter_mut().zip(&mut allocations) {
            let before = ALLOCATIONS.get();
            driver.turn().unwrap();
            driver.wait(Some(Duration::from_millis(1))).unwrap();
            *allocations += ALLOCATIONS.get() - before;
        }
    }
    allocations
}

fn messages(driver: &Driver) -> u64 {
    driver
        .routers()
        .map(|view| {
            let counters = view.machine().counters();
            counters.advertisements_sent + counters.advertisements_received
        })
        .sum()
}

#[test]
fn a_driver_allocates_nothing_per_packet() {
    let measured = (0..20).find_map(|_| allocations_of_a_quiet_network());
    assert_eq!(measured.expect("a machine that is not busy"), [0, 0]);
}

/// The allocations of an Active and a Backup while both work; `None` where a busy machine held the
/// thread up for so long that the Backup had to take over: that allocates, but not for each packet.
fn allocations_of_a_quiet_network() -> Option<[u64; 2]> {
    let lan = Lan::new().unwrap();
    let hosts = [
        lan.host("r1", &["192.0.2.1/24"]).unwrap(),
        lan.host("r2", &["192.0.2.2/24"]).unwrap(),
    ];
    // Sockets stay in the namespace in which they were made; all are used from this thread.
    let mut drivers = hosts.each_ref().map(|host| {
        host.namespace().enter().unwrap();
        Driver::new().unwrap()
    });
    for ((host, driver), priority) in hosts.iter().zip(&mut drivers).zip([200, 100]) {
        host.namespace().enter().unwrap();
        add_routers(driver, priority);
    }
    let stable = |drivers: &[Driver; 2]| {
        let all_are = |driver: &Driver, state| driver.routers().all(|view| view.state() == state);
        all_are(&drivers[0], State::Active) && all_are(&drivers[1], State::Backup)
    };
    let limit = Instant::now() + Duration::from_secs(120);
    while !stable(&drivers) {
        assert!(Instant::now() < limit, "no election");
        run(&mut drivers, Duration::from_millis(50));
    }
    // Announcements are repeated after five seconds, after the end of this test. Buffers reach
    // their size after a while.
    run(&mut drivers, Duration::from_millis(200));

    let before = drivers.each_ref().map(messages);
    let mut allocations = run(&mut drivers, Duration::from_millis(250));
    // After this pause all advertisements are due at once.
    thread::sleep(Duration::from_millis(30));
    for (sum, more) in allocations
        .iter_mut()
        .zip(run(&mut drivers, Duration::from_millis(250)))
    {
        *sum += more;
    }
    let after = drivers.each_ref().map(messages);
    let took_over = |view: RouterView<'_>| view.machine().counters().active_transitions > 0;
    if drivers[1].routers().any(took_over) {
        return None;
    }
    assert!(stable(&drivers));
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before > 1000, "{}", after - before);
    }
    Some(allocations)
}

/// The numbers of routers for which memory is measured. The driver keeps room for as many records
/// of changes for both, and does not use most of it.
const FEW: u8 = 130;
const MANY: u8 = 250;

/// The bytes of a driver with so many Actives of each family on one interface: after they have
/// become Active, and the most until then.
fn bytes_of_actives(routers: u8) -> [i64; 2] {
    let lan = Lan::new().unwrap();
    let host = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    host.namespace().enter().unwrap();
    let (before, most) = (BYTES.get(), MOST.replace(BYTES.get()));
    let mut driver = Driver::new().unwrap();
    for family in [Family::Ipv4, Family::Ipv6] {
        for number in 1..=routers {
            let mut fsm = Config::new(Vrid::new(number).unwrap(), family);
            fsm.interval = Interval::centis(20).unwrap();
            let address = match family {
                Family::Ipv4 => format!("198.51.100.{number}"),
                Family::Ipv6 => format!("fe80::5:{number}"),
            };
            let addresses = vec![address.parse().unwrap()];
            driver
                .add(RouterConfig::new("eth0", fsm, addresses))
                .unwrap();
        }
    }
    let limit = Instant::now() + Duration::from_secs(60);
    let is_active = |driver: &Driver| {
        driver.routers().all(|view| {
            view.state() == State::Active && view.addresses().all(|(_, is_there)| is_there)
        })
    };
    while !is_active(&driver) {
        assert!(Instant::now() < limit, "no election");
        driver.turn().unwrap();
        while driver.next_notification().is_some() {}
        driver.wait(Some(Duration::from_millis(5))).unwrap();
    }
    let measured = [BYTES.get() - before, MOST.replace(most) - before];
    drop(driver);
    measured
}

#[test]
fn an_active_router_takes_little_memory() {
    let [few, many] = [FEW, MANY].map(bytes_of_actives);
    let added = 2 * i64::from(MANY - FEW);
    let [now, most] = [0, 1].map(|it| (many[it] - few[it]) / added);
    println!("{now} bytes for each Active, {most} at the most");
    assert!(now <= 1000, "{now} bytes for each Active");
    assert!(
        most <= 1400,
        "{most} bytes for each router that becomes Active"
    );
}
