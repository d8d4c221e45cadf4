//! The parts of the tests: hosts with routers on them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use vrrp_fsm::{Config, State};
use vrrp_lab::{Capture, Frame, Host, Lan, Namespace, processor_wait, wait_for};
use vrrp_net::{
    Driver, DriverEvent, Fault, HandOver, Notification, RouterConfig, RouterId, Transport,
};
use vrrp_proto::{Family, Interval, Peer, Priority, Vrid};

/// The longest wait for an event. It is reached only where something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) const VIP4: &str = "192.0.2.254/32";
pub(crate) const VIP6_LINK_LOCAL: &str = "fe80::254/128";
pub(crate) const VIP6: &str = "2001:db8::254/128";

pub(crate) fn vrid(number: u8) -> Vrid {
    Vrid::new(number).unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Version 3 with an interval of 10 cs, VRID 51.
pub(crate) fn fsm(family: Family, priority: u8) -> Config {
    let mut config = Config::new(vrid(51), family);
    config.interval = Interval::centis(10).unwrap();
    config.priority = Priority::new(priority);
    config
}

/// A router on eth0, version 3, with an interval of 10 cs and VRID 51.
pub(crate) fn router(family: Family, priority: u8) -> RouterConfig {
    let addresses: &[&str] = match family {
        Family::Ipv4 => &[VIP4],
        Family::Ipv6 => &[VIP6_LINK_LOCAL, VIP6],
    };
    RouterConfig::new(
        "eth0",
        fsm(family, priority),
        addresses.iter().map(|text| text.parse().unwrap()).collect(),
    )
}

/// Version 2, with an interval of 1 s, its shortest, and VRID 51.
pub(crate) fn router_v2(priority: u8) -> RouterConfig {
    let mut fsm = Config::v2(vrid(51));
    fsm.priority = Priority::new(priority);
    RouterConfig::new("eth0", fsm, vec![VIP4.parse().unwrap()])
}

/// The same by unicast.
pub(crate) fn unicast(mut config: RouterConfig, peers: &[&str]) -> RouterConfig {
    let peers = peers.iter().map(|address| Peer::new(ip(address)));
    config.transport = Transport::Unicast {
        peers: peers.collect(),
    };
    config
}

/// A network with routers r1, r2 and so on, at 192.0.2.1 and 2001:db8::1 and so on.
pub(crate) fn lan_of<const N: usize>() -> (Lan, [Host; N]) {
    let lan = Lan::new().unwrap();
    let hosts = std::array::from_fn(|place| {
        let number = place + 1;
        let addresses = [
            format!("192.0.2.{number}/24"),
            format!("2001:db8::{number}/64"),
        ];
        lan.host(
            &format!("r{number}"),
            &addresses.each_ref().map(String::as_str),
        )
        .unwrap()
    });
    (lan, hosts)
}

/// The longest time for which a driver of each test was held up: the time that a round of its loop
/// took beyond its wait. A test is identified by the name of its thread.
static HELD_UP: Mutex<BTreeMap<String, Duration>> = Mutex::new(BTreeMap::new());

fn held_up() -> MutexGuard<'static, BTreeMap<String, Duration>> {
    HELD_UP.lock().unwrap_or_else(PoisonError::into_inner)
}

fn test_name() -> String {
    thread::current().name().unwrap_or_default().into()
}

/// A driver that is held up for longer may cost an election at the intervals of these tests.
const HOLD_UP: Duration = Duration::from_millis(150);

/// Plays a scenario in which drivers must do something in time. A scenario that fails is played
/// again if a driver was held up during it, by the processor or by a lock of the kernel: then other
/// routers take over, as they must. The test fails if nothing was held up, or each time.
pub(crate) fn in_time(scenario: impl Fn()) {
    for _ in 0..5 {
        held_up().remove(&test_name());
        let Err(panic) = catch_unwind(AssertUnwindSafe(&scenario)) else {
            return;
        };
        let longest = held_up().remove(&test_name()).unwrap_or_default();
        if longest < HOLD_UP {
            resume_unwind(panic);
        }
        eprintln!("a driver was held up for {longest:?}: once more");
    }
    scenario();
}

type Command = Box<dyn FnOnce(&mut Driver) + Send>;

/// A driver on a thread of its own, in a host's namespace.
pub(crate) struct DriverThread {
    commands: Option<Sender<Command>>,
    log: Arc<Mutex<Vec<Notification>>>,
    thread: Option<JoinHandle<Driver>>,
}

impl DriverThread {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        Self::start_as(namespace, || Driver::new().unwrap())
    }

    /// A driver that continues where another has ended.
    pub(crate) fn take_over(namespace: &Namespace, hand_over: HandOver) -> Self {
        Self::start_as(namespace, || Driver::take_over(hand_over).unwrap())
    }

    /// Ends the driver for a successor.
    pub(crate) fn hand_over(mut self) -> HandOver {
        self.commands = None;
        let mut driver = self.thread.take().unwrap().join().unwrap();
        let hand_over = driver.hand_over().unwrap();
        self.log().extend(notifications(&mut driver));
        hand_over
    }

    pub(crate) fn start_as(
        namespace: &Namespace,
        make: impl FnOnce() -> Driver + Send + 'static,
    ) -> Self {
        let (commands, inbox) = mpsc::channel::<Command>();
        let log = Arc::new(Mutex::new(Vec::new()));
        let thread = thread::spawn({
            let (namespace, log) = (namespace.clone(), Arc::clone(&log));
            let test = test_name();
            move || {
                namespace.enter().unwrap();
                let mut driver = make();
                drive(&mut driver, &inbox, &log, &test);
                driver
            }
        });
        Self {
            commands: Some(commands),
            log,
            thread: Some(thread),
        }
    }

    /// A running driver with one router.
    pub(crate) fn with_router(namespace: &Namespace, config: RouterConfig) -> (Self, RouterId) {
        let running = Self::start(namespace);
        let id = running.with(move |driver| driver.add(config).unwrap());
        (running, id)
    }

    /// Runs something with the driver, on its thread.
    pub(crate) fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> T {
        let (answer, answered) = mpsc::channel();
        let command: Command = Box::new(move |driver| {
            let _ = answer.send(work(driver));
        });
        self.commands.as_ref().unwrap().send(command).unwrap();
        answered
            .recv_timeout(LIMIT)
            .expect("the driver's thread has ended")
    }

    /// Returns how long the driver's thread has waited for a processor since its start.
    pub(crate) fn processor_wait(&self) -> Duration {
        self.with(|_| processor_wait())
    }

    /// Runs something while the driver's thread sleeps.
    pub(crate) fn while_asleep(&self, work: impl FnOnce()) {
        let (asleep, is_asleep) = mpsc::channel();
        let (wake, may_wake) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(|| {
                self.with(move |_| {
                    asleep.send(()).unwrap();
                    may_wake.recv_timeout(LIMIT).unwrap();
                });
            });
            is_asleep.recv_timeout(LIMIT).unwrap();
            work();
            wake.send(()).unwrap();
        });
    }

    pub(crate) fn state(&self, id: RouterId) -> State {
        self.with(move |driver| driver.get(id).unwrap().state())
    }

    pub(crate) fn faults(&self, id: RouterId) -> Vec<Fault> {
        self.with(move |driver| driver.get(id).unwrap().faults().cloned().collect())
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Vec<Notification>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a notification, which may have come before, and returns the result of `pick` for
    /// it.
    pub(crate) fn wait_for_event<T>(
        &self,
        what: &str,
        mut pick: impl FnMut(&DriverEvent) -> Option<T>,
    ) -> T {
        wait_for(what, LIMIT, || {
            self.log()
                .iter()
                .find_map(|notification| pick(&notification.event))
        })
        .unwrap_or_else(|error| panic!("{error}; there was {:#?}", self.log()))
    }

    pub(crate) fn wait_for_state(&self, id: RouterId, state: State) {
        wait_for(&format!("state {state}"), LIMIT, || {
            (self.state(id) == state).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}; there was {:#?}", self.log()));
    }

    /// Waits until a Backup has accepted an advertisement.
    pub(crate) fn wait_until_it_received(&self, id: RouterId) {
        wait_for("an accepted advertisement", LIMIT, || {
            self.with(move |driver| driver.get(id).unwrap().machine().active())
        })
        .unwrap_or_else(|error| panic!("{error}; there was {:#?}", self.log()));
    }

    /// The number of times that a router's state has changed to this one.
    pub(crate) fn count_transitions(&self, state: State) -> usize {
        self.log()
            .iter()
            .filter(|notification| {
                matches!(&notification.event, DriverEvent::StateChanged(change) if change.to == state)
            })
            .count()
    }

    /// Resigns and cleans up.
    pub(crate) fn stop(self) -> Vec<Notification> {
        let log = Arc::clone(&self.log);
        self.with(move |driver| {
            driver.shutdown().unwrap();
            log.lock().unwrap().extend(notifications(driver));
        });
        std::mem::take(&mut self.log())
    }

    /// Falls silent, as after a crash: the addresses stay.
    pub(crate) fn kill(self) -> Instant {
        drop(self);
        Instant::now()
    }
}

impl Drop for DriverThread {
    fn drop(&mut self) {
        self.commands = None;
        let result = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = result
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A hand-over as a JSON value, to be changed, and its descriptors.
pub(crate) fn parts(hand_over: HandOver) -> (Value, Vec<OwnedFd>) {
    let (bytes, descriptors) = hand_over.into_parts().unwrap();
    let text = bytes.strip_prefix(HAND_OVER).unwrap();
    (serde_json::from_slice(text).unwrap(), descriptors)
}

/// A hand-over in bytes.
pub(crate) fn bytes(state: &Value) -> Vec<u8> {
    [HAND_OVER, &serde_json::to_vec(state).unwrap()].concat()
}

const HAND_OVER: &[u8] = b"vrrp-net hand-over 3\n";

/// The waiting notifications of a driver.
pub(crate) fn notifications(driver: &mut Driver) -> impl Iterator<Item = Notification> {
    std::iter::from_fn(|| driver.next_notification())
}

fn drive(
    driver: &mut Driver,
    inbox: &Receiver<Command>,
    log: &Mutex<Vec<Notification>>,
    test: &str,
) {
    const POLL: Duration = Duration::from_millis(2);
    loop {
        match inbox.try_recv() {
            Ok(command) => command(driver),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let begin = Instant::now();
        driver.turn().unwrap();
        log.lock().unwrap().extend(notifications(driver));
        driver.wait(Some(POLL)).unwrap();
        let late = begin.elapsed().saturating_sub(POLL);
        if late >= HOLD_UP {
            let mut held_up = held_up();
            let longest = held_up.entry(test.into()).or_default();
            *longest = late.max(*longest);
        }
    }
}

/// Runs ip(8) of the Debian package iproute2 in a host, for actions that the lab has no call for,
/// and returns its output.
pub(crate) fn iproute2(host: &Host, arguments: &[&str]) -> String {
    let output = host
        .namespace()
        .command("ip")
        .args(arguments)
        .output()
        .expect("ip of the Debian package iproute2");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a host has an address.
pub(crate) fn has(host: &Host, address: &str) -> bool {
    let address = address.parse().unwrap();
    host.addresses().unwrap().contains(&address)
}

/// Waits until a host has an address, or has it no longer.
pub(crate) fn wait_for_address(host: &Host, address: &str, present: bool) {
    let what = format!(
        "{address} {} {}",
        if present { "on" } else { "gone from" },
        host.name()
    );
    wait_for(&what, LIMIT, || {
        (has(host, address) == present).then_some(())
    })
    .unwrap();
}

/// A frame's VRRP message over IPv4 or IPv6: source MAC, hop limit, source and destination address,
/// and the message.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) traffic_class: u8,
    pub(crate) ttl: u8,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) message: Vec<u8>,
}

impl Seen {
    pub(crate) fn in_frame(frame: &Frame) -> Option<Self> {
        let bytes = &frame.bytes;
        match bytes.get(12..14)? {
            [0x08, 0x00] if bytes.get(23) == Some(&112) => {
                let total = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
                Some(Self {
                    traffic_class: bytes[15],
                    ttl: bytes[22],
                    source: <[u8; 4]>::try_from(&bytes[26..30]).unwrap().into(),
                    destination: <[u8; 4]>::try_from(&bytes[30..34]).unwrap().into(),
                    message: bytes[34..14 + total].to_vec(),
                })
            }
            [0x86, 0xdd] if bytes.get(20) == Some(&112) => Some(Self {
                traffic_class: bytes[14] << 4 | bytes[15] >> 4,
                ttl: bytes[21],
                source: <[u8; 16]>::try_from(&bytes[22..38]).unwrap().into(),
                destination: <[u8; 16]>::try_from(&bytes[38..54]).unwrap().into(),
                message: bytes[54..].to_vec(),
            }),
            _ => None,
        }
    }

    pub(crate) fn vrid(&self) -> u8 {
        self.message[1]
    }

    pub(crate) fn priority(&self) -> u8 {
        self.message[2]
    }
}

/// The advertisements in a capture, with the times at which they passed.
pub(crate) fn advertisements(capture: &Capture) -> Vec<(Instant, Seen)> {
    capture
        .frames()
        .iter()
        .filter_map(|frame| Some((frame.at, Seen::in_frame(frame)?)))
        .collect()
}

/// Waits for an advertisement that passes after `since`.
pub(crate) fn wait_for_advertisement(
    capture: &Capture,
    what: &str,
    since: Instant,
    is_meant: impl Fn(&Seen) -> bool,
) -> (Instant, Seen) {
    let frame = capture
        .wait_for(what, LIMIT, |frame| {
            frame.at >= since && Seen::in_frame(frame).is_some_and(|seen| is_meant(&seen))
        })
        .unwrap();
    (frame.at, Seen::in_frame(&frame).unwrap())
}
