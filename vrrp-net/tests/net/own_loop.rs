//! A driver in a loop of the program's own, and the other threads that talk to it.

use std::{
    fs,
    io::Write,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use vrrp_fsm::{
    State,
    track::{Check, Kind, Object, ObjectId, Report, TrackRef},
};
use vrrp_lab::Host;
use vrrp_net::{
    AddressChange, Driver, DriverEvent, DriverHandle, Error, Fault, Netlink, Notification,
    RouterId, VirtualAddress, Watch,
};
use vrrp_proto::{Family, Interval};

use crate::rig::{DriverThread, LIMIT, VIP4, has, in_time, lan_of, notifications, router};

/// A loop on a thread of its own, which the test reaches through a handle only.
struct Loop {
    handle: DriverHandle,
    thread: thread::JoinHandle<Vec<Notification>>,
}

impl Loop {
    fn start(
        host: &Host,
        prepare: impl FnOnce(&mut Driver) + Send + 'static,
        run: impl FnOnce(&mut Driver) -> Vec<Notification> + Send + 'static,
    ) -> Self {
        let namespace = host.namespace().clone();
        let (handle, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            namespace.enter().unwrap();
            let mut driver = Driver::new().unwrap();
            prepare(&mut driver);
            handle.send(driver.handle()).unwrap();
            run(&mut driver)
        });
        Self {
            handle: started.recv_timeout(LIMIT).unwrap(),
            thread,
        }
    }

    /// Stops the driver, and returns its notifications.
    fn stop(self) -> Vec<Notification> {
        self.handle.stop();
        let ended = || self.thread.is_finished().then_some(());
        vrrp_lab::wait_for("the end of the loop", LIMIT, ended).unwrap();
        self.thread.join().unwrap()
    }

    fn wait_for_state(&self, state: State) {
        vrrp_lab::wait_for(&format!("state {state}"), LIMIT, || {
            let is_there =
                move |driver: &mut Driver| driver.routers().all(|router| router.state() == state);
            self.handle.call(is_there).unwrap().then_some(())
        })
        .unwrap();
    }
}

fn run(driver: &mut Driver) -> Vec<Notification> {
    let mut log = Vec::new();
    driver.run(|notification| log.push(notification)).unwrap();
    log
}

fn add_router(driver: &mut Driver) {
    driver.add(router(Family::Ipv4, 100)).unwrap();
}

/// A loop that waits for the descriptor alone, with the timer armed.
fn poll_and_turn(driver: &mut Driver) -> Vec<Notification> {
    let mut log = Vec::new();
    while !driver.is_stopped() {
        driver.arm_timer().unwrap();
        let mut polls = [PollFd::new(driver.as_fd(), PollFlags::POLLIN)];
        poll(&mut polls, PollTimeout::NONE).unwrap();
        driver.turn().unwrap();
        log.extend(notifications(driver));
    }
    log
}

/// A loop on an epoll of its own, in which the driver is edge-triggered and has no timer.
fn edge_triggered(driver: &mut Driver) -> Vec<Notification> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    epoll
        .add(driver.as_fd(), EpollEvent::new(flags, 0))
        .unwrap();
    let mut log = Vec::new();
    while !driver.is_stopped() {
        let timeout = driver
            .timeout()
            .map(|it| u16::try_from(it.as_millis()).unwrap());
        let timeout = timeout.map_or(EpollTimeout::NONE, EpollTimeout::from);
        epoll.wait(&mut [EpollEvent::empty()], timeout).unwrap();
        driver.turn().unwrap();
        log.extend(notifications(driver));
    }
    log
}

fn is_stop(notification: &Notification) -> bool {
    matches!(&notification.event, DriverEvent::StateChanged(change) if change.to == State::Initialize)
}

#[test]
fn a_stop_shuts_down_in_every_kind_of_loop() {
    let (_lan, [host]) = lan_of::<1>();
    for run in [run, poll_and_turn, edge_triggered] {
        let one = Loop::start(&host, add_router, run);
        one.wait_for_state(State::Active);
        assert!(has(&host, VIP4));
        assert!(!one.handle.is_stopped());
        let handle = one.handle.clone();
        let log = one.stop();
        assert!(log.iter().any(is_stop), "{log:#?}");
        assert!(!has(&host, VIP4));
        assert!(handle.is_stopped());
        let refused = handle.call(|_| ());
        assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
    }
}

#[test]
fn a_stopped_driver_has_nothing_to_do() {
    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        add_router(&mut driver);
        driver.handle().stop();
        driver.turn().unwrap();
        assert!(driver.is_stopped());
        while driver.timeout() == Some(Duration::ZERO) {
            driver.turn().unwrap();
        }
        assert_eq!(driver.timeout(), None);
        let mut polls = [PollFd::new(driver.as_fd(), PollFlags::POLLIN)];
        assert_eq!(
            poll(&mut polls, PollTimeout::ZERO).unwrap(),
            0,
            "it would spin"
        );
    });
}

/// Takes turns until none is due at once.
fn rest(driver: &mut Driver) {
    driver.turn().unwrap();
    while driver.timeout() == Some(Duration::ZERO) {
        driver.turn().unwrap();
    }
}

/// An edge-triggered loop is not woken up for them again.
#[test]
fn a_turn_that_leaves_notifications_unread_is_due_again_at_once() {
    /// More changes than one turn reads. The last one adds the address.
    const CHANGES: usize = 5001;

    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        rest(&mut driver);
        let (interface, address) = (
            host.index(),
            &"198.51.100.1/32".parse::<VirtualAddress>().unwrap(),
        );
        let changes = (0..CHANGES).map(|number| {
            if number % 2 == 0 {
                AddressChange::Add { interface, address }
            } else {
                AddressChange::Remove { interface, address }
            }
        });
        let changes: Vec<_> = changes.collect();
        for result in Netlink::open().unwrap().apply(&changes).unwrap() {
            result.unwrap();
        }
        rest(&mut driver);
        let eth0 = driver.interfaces().get(interface).unwrap();
        assert!(eth0.has(address.address()));
    });
}

/// More descriptors are readable than one wait reports, so the last one is among the others.
#[test]
fn a_turn_in_which_much_is_readable_leaves_nothing_unread() {
    const CONNECTIONS: usize = 40;

    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        rest(&mut driver);
        // Other instances ask for claims.
        let list = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
        let mut names = list
            .split_whitespace()
            .filter_map(|it| it.strip_prefix('@'));
        let name = names.find(|it| it.starts_with("vrrp-net/")).unwrap();
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let connections = (0..CONNECTIONS).map(|_| {
            let connection = UnixStream::connect_addr(&address).unwrap();
            rest(&mut driver);
            connection
        });
        let mut connections: Vec<_> = connections.collect();
        for connection in &mut connections {
            connection.write_all(b"?").unwrap();
        }
        let address = &"198.51.100.1/32".parse::<VirtualAddress>().unwrap();
        let interface = host.index();
        let add = AddressChange::Add { interface, address };
        let made = Netlink::open().unwrap().apply(&[add]).unwrap().remove(0);
        made.unwrap();
        rest(&mut driver);
        let eth0 = driver.interfaces().get(interface).unwrap();
        assert!(eth0.has(address.address()));
    });
}

/// A program that has waited for the descriptor alone now leaves the waits to the driver.
#[test]
fn a_timer_that_was_armed_ends_a_single_wait() {
    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        add_router(&mut driver);
        let start = Instant::now();
        while driver.routers().any(|it| it.state() != State::Active) {
            assert!(start.elapsed() < LIMIT);
            driver.arm_timer().unwrap();
            let mut polls = [PollFd::new(driver.as_fd(), PollFlags::POLLIN)];
            poll(&mut polls, PollTimeout::NONE).unwrap();
            driver.turn().unwrap();
        }
        // An Active advertises ten times a second, and hardly anything else happens.
        let (sent, mut turns) = (advertisements(&driver), 0);
        while advertisements(&driver) < sent + 5 {
            assert!(start.elapsed() < LIMIT);
            driver.wait(None).unwrap();
            driver.turn().unwrap();
            turns += 1;
        }
        assert!(turns < 200, "{turns} turns for 5 advertisements");
    });
}

fn advertisements(driver: &Driver) -> u64 {
    let router = driver.routers().next().unwrap();
    router.machine().counters().advertisements_sent
}

#[test]
fn a_call_runs_on_the_thread_of_the_driver_and_returns_its_result() {
    let (_lan, [host]) = lan_of::<1>();
    let one = Loop::start(&host, |_| {}, run);
    let id: RouterId = one
        .handle
        .call(|driver| driver.add(router(Family::Ipv4, 100)))
        .unwrap()
        .unwrap();
    one.wait_for_state(State::Active);
    let (own, its) = (thread::current().id(), one.handle.clone());
    let ran_on = its.call(|_| thread::current().id()).unwrap();
    assert_ne!(ran_on, own);
    assert_eq!(ran_on, one.thread.thread().id());
    // A request whose result is not waited for.
    one.handle
        .submit(move |driver| driver.remove(id).unwrap())
        .unwrap();
    vrrp_lab::wait_for("no router", LIMIT, || {
        let count = one.handle.call(|driver| driver.routers().count()).unwrap();
        (count == 0).then_some(())
    })
    .unwrap();
    one.stop();
}

/// A request that holds the driver up, as a hand-over to a process that hangs does. A turn serves
/// requests after it has read the sockets.
#[test]
fn advertisements_that_arrive_during_a_request_count_before_the_timers() {
    in_time(|| {
        let (_lan, [r1, r2]) = lan_of::<2>();
        let (active, id) = DriverThread::with_router(r1.namespace(), router(Family::Ipv4, 200));
        active.wait_for_state(id, State::Active);
        for run in [run, poll_and_turn] {
            let backup = Loop::start(&r2, add_router, run);
            backup.wait_for_state(State::Backup);
            let sent = || {
                let count = active.with(|driver| advertisements(driver));
                thread::sleep(Duration::from_millis(5));
                count
            };
            let (end, has_ended) = mpsc::channel();
            backup
                .handle
                .submit(move |_| has_ended.recv_timeout(LIMIT).unwrap())
                .unwrap();
            // Active_Down_Interval is less than four intervals.
            let (before, start) = (sent(), Instant::now());
            while sent() < before + 8 {
                assert!(start.elapsed() < LIMIT);
            }
            end.send(()).unwrap();
            backup.handle.call(|_| ()).unwrap();
            let state = |driver: &mut Driver| driver.routers().next().unwrap().state();
            assert_eq!(backup.handle.call(state).unwrap(), State::Backup);
            let log = backup.stop();
            let states = log.iter().filter_map(|it| match &it.event {
                DriverEvent::StateChanged(change) => Some(change.to),
                _ => None,
            });
            let states: Vec<_> = states.collect();
            assert_eq!(states, [State::Backup, State::Initialize], "{log:#?}");
        }
    });
}

#[test]
fn a_driver_that_ends_wakes_those_who_wait_for_it() {
    let (_lan, [host]) = lan_of::<1>();
    let (gone, is_gone) = mpsc::channel::<()>();
    let one = Loop::start(
        &host,
        |_| {},
        move |_| {
            is_gone.recv_timeout(LIMIT).unwrap();
            Vec::new()
        },
    );
    let waiting = thread::spawn({
        let handle = one.handle.clone();
        move || handle.call(|_| ())
    });
    thread::sleep(Duration::from_millis(20));
    gone.send(()).unwrap();
    one.thread.join().unwrap();
    let refused = waiting.join().unwrap();
    assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
    let refused = one.handle.report(ObjectId::nth(0), Report::Up);
    assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
}

#[test]
fn reports_and_faults_of_other_threads_take_effect_and_refusals_come_back() {
    let (_lan, [host]) = lan_of::<1>();
    let prepare = |driver: &mut Driver| {
        let object = Object::new("service", Kind::Check(Check::EACH));
        let service = driver.add_object(object, Watch::Host).unwrap();
        let mut config = router(Family::Ipv4, 100);
        config.tracking = vec![TrackRef::of(service)];
        // The interval is so long that only a wake-up can be in time.
        config.fsm.interval = Interval::centis(4095).unwrap();
        driver.add(config).unwrap();
    };
    let one = Loop::start(&host, prepare, run);
    let (object, id) = one
        .handle
        .call(|driver| {
            let object = driver.objects().find("service").unwrap();
            (object, driver.routers().next().unwrap().id())
        })
        .unwrap();
    let start = Instant::now();
    one.handle.report(object, Report::Up).unwrap();
    one.wait_for_state(State::Backup);
    one.handle.set_fault(id, "no upstream").unwrap();
    one.wait_for_state(State::Initialize);
    one.handle.clear_fault(id, "no upstream").unwrap();
    one.wait_for_state(State::Backup);
    one.handle.report(object, Report::Down).unwrap();
    one.wait_for_state(State::Initialize);
    // A single wait for a timer takes longer.
    assert!(start.elapsed() < Duration::from_secs(40));
    one.handle.report(ObjectId::nth(77), Report::Up).unwrap();
    one.handle.call(|_| ()).unwrap();
    // No timer wakes the driver up.
    let log = one.stop();
    let is_refusal = |it: &&Notification| matches!(it.event, DriverEvent::RequestRefused(_));
    assert_eq!(log.iter().filter(is_refusal).count(), 1, "{log:#?}");
    let is_fault = |it: &&Notification| matches!(&it.event, DriverEvent::Fault(Fault::Host(cause)) if cause == "no upstream");
    let fault = log.iter().find(is_fault).unwrap();
    assert_eq!(
        fault.to_string(),
        "virtual router 51 on eth0 (IPv4): fault: no upstream"
    );
}

#[test]
fn the_driver_can_be_asked_between_two_notifications() {
    let (_lan, [host]) = lan_of::<1>();
    host.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        add_router(&mut driver);
        let start = Instant::now();
        let mut copy = None;
        while copy.is_none() {
            assert!(start.elapsed() < LIMIT);
            driver.wait(Some(LIMIT)).unwrap();
            driver.turn().unwrap();
            while let Some(notification) = driver.next_notification() {
                let view = driver.get(notification.router.unwrap()).unwrap();
                if view.state() == State::Active {
                    copy = Some(notification.clone());
                }
            }
        }
        assert_eq!(
            copy.unwrap().to_string(),
            "virtual router 51 on eth0 (IPv4): the state changed from Backup to Active: \
             the Active fell silent"
        );
    });
}

#[test]
fn many_threads_speak_to_one_driver_and_no_request_is_lost() {
    const THREADS: i32 = 8;
    const REQUESTS: i32 = 200;
    let (_lan, [host]) = lan_of::<1>();
    let prepare = |driver: &mut Driver| {
        driver
            .add_object(Object::new("load", Kind::Number), Watch::Host)
            .unwrap();
    };
    let one = Loop::start(&host, prepare, poll_and_turn);
    let object = one
        .handle
        .call(|driver| driver.objects().find("load").unwrap())
        .unwrap();
    let (count, counted) = mpsc::channel();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (handle, count) = (one.handle.clone(), count.clone());
            scope.spawn(move || {
                for number in 0..REQUESTS {
                    handle
                        .report(object, Report::Number(thread * REQUESTS + number))
                        .unwrap();
                    let count = count.clone();
                    handle.submit(move |_| count.send(()).unwrap()).unwrap();
                }
            });
        }
    });
    for _ in 0..THREADS * REQUESTS {
        counted.recv_timeout(LIMIT).unwrap();
    }
    one.stop();
}
