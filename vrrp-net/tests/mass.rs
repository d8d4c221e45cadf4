//! Thousands of routers with the same event at once: advertisements go first, slow work follows,
//! and nothing is lost.
//!
//! An interface has 255 VRIDs in each family, so more routers need more interfaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_fsm::{
    ChecksumSending, Config, State,
    track::{Kind, Object, Report, TrackRef},
};
use vrrp_lab::{Namespace, wait_for};
use vrrp_net::{
    AddressChange, Datagram, Driver, DriverEvent, Interfaces, Netlink, Notification, Outcome,
    RouterConfig, RouterId, VirtualAddress, VirtualMac, VrrpSocket, Watch,
};
use vrrp_proto::{ChecksumForm, Endpoints, Family, Interval, Priority, Vrid};

/// Longer than any step of these tests takes. It is reached only where something is broken.
const LIMIT: Duration = Duration::from_secs(120);

/// Two hosts, and the cables between them.
struct Cables {
    /// The host of the routers.
    here: Namespace,
    /// The host of the receivers.
    there: Namespace,
    number: u8,
}

impl Cables {
    fn lay(number: u8) -> Self {
        let [here, there] = [(); 2].map(|()| Namespace::new().unwrap());
        for cable in 0..number {
            let addresses = [1, 2].map(|host| format!("198.18.{cable}.{host}/24"));
            here.connect(
                &there,
                &interface(cable),
                addresses.each_ref().map(|a| &**a),
            )
            .unwrap();
        }
        for cable in 0..number {
            here.wait_for_link(&interface(cable)).unwrap();
            there.wait_for_link(&interface(cable)).unwrap();
        }
        Self {
            here,
            there,
            number,
        }
    }

    /// Routers of a family on each cable, one for each VRID, each with an address of its own and
    /// this interval in hundredths of a second.
    fn routers(
        &self,
        family: Family,
        vrids: u8,
        interval: u16,
    ) -> impl Iterator<Item = RouterConfig> {
        (0..self.number).flat_map(move |cable| {
            (1..=vrids).map(move |number| {
                let mut fsm = Config::new(Vrid::new(number).unwrap(), family);
                fsm.interval = Interval::centis(interval).unwrap();
                fsm.announce.repeat = 1;
                fsm.announce.second_burst_after = None;
                // One message per advertisement, so that messages can be counted.
                fsm.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
                RouterConfig::new(
                    interface(cable),
                    fsm,
                    vec![virtual_address(family, cable, number).into()],
                )
            })
        })
    }

    /// A driver with these routers, which start together once all of them are there: a busy machine
    /// may need longer for that than Active_Down_Interval.
    fn driver(&self, routers: impl Iterator<Item = RouterConfig> + Send) -> Driver {
        self.here.run(|| {
            let mut driver = Driver::new().unwrap();
            let gate = Object::new("gate", Kind::BfdSession);
            let gate = driver.add_object(gate, Watch::Host).unwrap();
            for mut router in routers {
                router.tracking = vec![TrackRef::of(gate)];
                driver.add(router).unwrap();
            }
            driver.report(gate, Report::Up).unwrap();
            driver
        })
    }

    /// The virtual addresses that the kernel has on the cables, and the virtual addresses of the
    /// routers that are Active.
    fn addresses(&self, driver: &Driver) -> [BTreeSet<(String, IpAddr)>; 2] {
        let interfaces = self
            .here
            .run(|| Netlink::open().unwrap().interfaces().unwrap());
        let active = driver
            .routers()
            .filter(|view| view.state() == State::Active)
            .flat_map(|view| {
                let name = view.interface_name().to_owned();
                let addresses = view.config().addresses.into_iter();
                addresses.map(move |address| (name.clone(), address.address()))
            });
        [virtual_addresses(&interfaces), active.collect()]
    }
}

/// Longer than Active_Down_Interval at an interval of a second.
const PATIENCE: Duration = Duration::from_millis(3700);

fn interface(cable: u8) -> String {
    format!("eth{cable}")
}

fn virtual_address(family: Family, cable: u8, vrid: u8) -> IpAddr {
    match family {
        Family::Ipv4 => [198, 19, cable, vrid].into(),
        Family::Ipv6 => [0xfe80, 0, 0, 0, 0, 0x5e, cable.into(), vrid.into()].into(),
    }
}

/// The addresses of [`virtual_address`] that exist.
fn virtual_addresses(interfaces: &Interfaces) -> BTreeSet<(String, IpAddr)> {
    interfaces
        .iter()
        .flat_map(|interface| {
            let addresses = interface.addresses.iter().map(|address| address.address);
            addresses.map(|address| (interface.link.name.clone(), address))
        })
        .filter(|(_, address)| match address {
            IpAddr::V4(address) => address.octets().starts_with(&[198, 19]),
            IpAddr::V6(address) => address.segments()[5] == 0x5e,
        })
        .collect()
}

/// Runs the driver until all its routers are in this state and it has nothing left to do. Returns
/// how often each notified that state.
fn run_until(driver: &mut Driver, state: State) -> BTreeMap<RouterId, u32> {
    let mut notified = BTreeMap::new();
    wait_for(&format!("all routers in {state}"), LIMIT, || {
        driver.turn().unwrap();
        count_all(&mut notified, state, driver);
        let is_done = driver.routers().all(|view| view.state() == state)
            && driver.timeout() != Some(Duration::ZERO);
        is_done.then_some(())
    })
    .unwrap();
    notified
}

fn count_all(notified: &mut BTreeMap<RouterId, u32>, state: State, driver: &mut Driver) {
    while let Some(notification) = driver.next_notification() {
        count(notified, state, &notification);
    }
}

fn count(notified: &mut BTreeMap<RouterId, u32>, state: State, notification: &Notification) {
    if let (Some(router), DriverEvent::StateChanged(change)) =
        (notification.router, &notification.event)
        && change.to == state
    {
        *notified.entry(router).or_default() += 1;
    }
}

/// The content of a frame from a router with an IPv4 address: its cable and its VRID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Advertisement { router: (u8, u8), priority: u8 },
    Announcement { router: (u8, u8) },
}

impl Said {
    fn read(frame: &[u8]) -> Option<Self> {
        match *frame.get(12..14)? {
            // IPv4 from 198.18.cable.1, protocol 112.
            [0x08, 0x00] if frame[23] == 112 => Some(Self::Advertisement {
                router: (frame[28], frame[35]),
                priority: frame[36],
            }),
            // ARP from 198.19.cable.vrid.
            [0x08, 0x06] if frame[28..30] == [198, 19] => Some(Self::Announcement {
                router: (frame[30], frame[31]),
            }),
            _ => None,
        }
    }
}

/// Receives frames from all cables, in the order of their arrival.
struct Listener {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Said>>,
}

impl Listener {
    fn start(namespace: &Namespace) -> Self {
        const ALL_PROTOCOLS: u16 = 0x0003;
        let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
        let mut socket = namespace
            .run(|| Socket::new(Domain::PACKET, Type::RAW, Some(protocol)))
            .unwrap();
        // Root only: in a user namespace, the system's limit applies.
        if setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).is_err() {
            socket.set_recv_buffer_size(64 << 20).unwrap();
        }
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut said = Vec::new();
                let mut frame = [0; 256];
                loop {
                    match socket.read(&mut frame) {
                        Ok(length) => said.extend(Said::read(&frame[..length])),
                        // No frame has arrived for a while.
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            if stop.load(Ordering::Relaxed) {
                                return said;
                            }
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<Said> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn routers_that_take_over_at_once_all_advertise_before_anything_else_and_resign_together() {
    const VRIDS: u8 = 250;
    let cables = Cables::lay(20);
    let mut driver = cables.driver(cables.routers(Family::Ipv4, VRIDS, 100));
    let count = driver.routers().count();
    assert_eq!(count, 5000);
    run_until(&mut driver, State::Backup);
    // The driver takes no turn for Active_Down_Interval, so the timers of all routers have expired
    // at its next turn.
    thread::sleep(PATIENCE);
    let listener = Listener::start(&cables.there);
    let notified = run_until(&mut driver, State::Active);
    assert_eq!(notified.len(), count);
    assert!(notified.values().all(|times| *times == 1));
    let [there, wanted] = cables.addresses(&driver);
    assert_eq!((there.len(), wanted.len()), (count, count));
    assert_eq!(there, wanted);

    let mut ended = BTreeMap::new();
    driver.shutdown().unwrap();
    count_all(&mut ended, State::Initialize, &mut driver);
    assert_eq!(ended.len(), count);
    assert_eq!(cables.addresses(&driver)[0], BTreeSet::new());

    let said = listener.stop();
    let mut first = BTreeSet::new();
    for said in &said {
        match *said {
            Said::Advertisement { router, .. } => {
                first.insert(router);
            }
            Said::Announcement { router } => {
                assert_eq!(
                    first.len(),
                    count,
                    "{router:?} announces before all advertise"
                );
            }
        }
    }
    let announced: BTreeSet<_> = said
        .iter()
        .filter_map(|said| match said {
            Said::Announcement { router } => Some(*router),
            Said::Advertisement { .. } => None,
        })
        .collect();
    let resigned: Vec<_> = said
        .iter()
        .filter_map(|said| match said {
            Said::Advertisement {
                router,
                priority: 0,
            } => Some(*router),
            _ => None,
        })
        .collect();
    assert_eq!(announced, first);
    assert_eq!(resigned.len(), count, "each once");
    assert_eq!(resigned.into_iter().collect::<BTreeSet<_>>(), first);
}

/// Sets an interface up or down.
fn set_link(namespace: &Namespace, interface: &str, state: &str) {
    let mut ip = namespace.command("ip");
    let status = ip.args(["link", "set", interface, state]).status();
    assert!(status.expect("ip of the Debian package iproute2").success());
}

#[test]
fn an_interface_with_five_hundred_routers_may_flap() {
    const VRIDS: u8 = 255;
    let cables = Cables::lay(2);
    let routers = cables
        .routers(Family::Ipv4, VRIDS, 20)
        .chain(cables.routers(Family::Ipv6, VRIDS, 20));
    let mut driver = cables.driver(routers);
    let count = driver.routers().count();
    assert_eq!(count, 1020);
    run_until(&mut driver, State::Active);

    let flapping = interface(0);
    let mut notified = BTreeMap::new();
    for state in ["down", "up"].into_iter().cycle().take(21) {
        set_link(&cables.here, &flapping, state);
        for _ in 0..3 {
            driver.turn().unwrap();
            count_all(&mut notified, State::Initialize, &mut driver);
        }
    }
    // The interface is down at the end.
    wait_for("half of the routers in Initialize", LIMIT, || {
        driver.turn().unwrap();
        count_all(&mut notified, State::Initialize, &mut driver);
        let is_done = driver.routers().all(|view| {
            let is_down = view.interface_name() == flapping;
            view.state()
                == if is_down {
                    State::Initialize
                } else {
                    State::Active
                }
        });
        (is_done && driver.timeout() != Some(Duration::ZERO)).then_some(())
    })
    .unwrap();
    assert_eq!(
        notified.len(),
        count / 2,
        "the other interface has not moved"
    );
    let [there, wanted] = cables.addresses(&driver);
    assert_eq!(there.len(), count / 2);
    assert_eq!(there, wanted);

    set_link(&cables.here, &flapping, "up");
    let notified = run_until(&mut driver, State::Active);
    assert_eq!(notified.len(), count / 2);
    let [there, wanted] = cables.addresses(&driver);
    assert_eq!(there.len(), count);
    assert_eq!(there, wanted);
}

#[test]
fn virtual_macs_that_go_with_an_interface_make_no_advertisement_of_another_late() {
    const VRIDS: u8 = 100;
    let cables = Cables::lay(2);
    let owner = |mut config: RouterConfig| {
        config.fsm.priority = Priority::new(255);
        config.virtual_mac = Some(VirtualMac::default());
        config
    };
    let virtual_mac_routers = cables.routers(Family::Ipv4, VRIDS, 4095).take(VRIDS.into());
    let other = cables.routers(Family::Ipv4, 1, 10).nth(1).unwrap();
    assert_eq!(other.interface, interface(1));
    let mut backup = other.clone();
    backup.fsm.priority = Priority::new(50);
    let mut driver = cables.driver(virtual_mac_routers.map(owner).chain([other]));
    run_until(&mut driver, State::Active);

    // A Backup that would take over if an advertisement were three intervals late.
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (there, is_over) = (cables.there.clone(), Arc::clone(&is_over));
        move || {
            there.enter().unwrap();
            let mut driver = Driver::new().unwrap();
            driver.add(backup).unwrap();
            let mut notified = BTreeMap::new();
            while !is_over.load(Ordering::Relaxed) {
                driver.wait(Some(Duration::from_millis(10))).unwrap();
                driver.turn().unwrap();
                count_all(&mut notified, State::Active, &mut driver);
            }
            notified
        }
    });
    set_link(&cables.here, &interface(0), "down");
    let down = |driver: &Driver| {
        let views = driver.routers();
        views
            .filter(|view| view.state() == State::Initialize)
            .count()
    };
    wait_for("all to be down", LIMIT, || {
        driver.turn().unwrap();
        driver.wait(Some(Duration::from_millis(10))).unwrap();
        let is_done =
            down(&driver) == usize::from(VRIDS) && driver.timeout() != Some(Duration::ZERO);
        is_done.then_some(())
    })
    .unwrap();
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(watcher.join().unwrap(), BTreeMap::new());

    driver.shutdown().unwrap();
    let left = cables
        .here
        .run(|| Netlink::open().unwrap().interfaces().unwrap());
    assert!(left.iter().all(|it| it.link.kind != "macvlan"), "{left:?}");
}

#[test]
fn an_overrun_in_thousands_of_changes_ends_in_the_state_of_the_kernel() {
    const VRIDS: u8 = 250;
    let cables = Cables::lay(2);
    let mut driver = cables.driver(cables.routers(Family::Ipv4, VRIDS, 20));
    run_until(&mut driver, State::Active);
    driver.set_monitor_buffer(4096).unwrap();

    // The driver does not read notifications in that time: first notifications that do not concern
    // it, then those of a loss that it must repair, and at last those of the address that the
    // routers of the other cable advertise from.
    let [first, second] = [0, 1].map(|cable| {
        let interfaces = driver.interfaces();
        interfaces.named(&interface(cable)).unwrap().link.index
    });
    let strangers: Vec<VirtualAddress> = (0..16)
        .flat_map(|high| (0..=255).map(move |low| IpAddr::from([10, 9, high, low]).into()))
        .collect();
    let stolen: Vec<VirtualAddress> = (1..=VRIDS)
        .map(|vrid| virtual_address(Family::Ipv4, 0, vrid).into())
        .collect();
    let primary = "198.18.1.1/24".parse().unwrap();
    let add = |address| AddressChange::Add {
        interface: first,
        address,
    };
    let remove = |interface, address| AddressChange::Remove { interface, address };
    let changes: Vec<AddressChange<'_>> = (strangers.iter().map(add))
        .chain(stolen.iter().map(|address| remove(first, address)))
        .chain([remove(second, &primary)])
        .collect();
    let results = cables
        .here
        .run(|| Netlink::open().unwrap().apply(&changes).unwrap());
    let is_made = |result: &Result<Outcome, _>| matches!(result, Ok(Outcome::Changed));
    assert!(results.iter().all(is_made));

    let (mut overruns, mut restored) = (0, 0);
    wait_for("all that follows", LIMIT, || {
        driver.turn().unwrap();
        while let Some(notification) = driver.next_notification() {
            match notification.event {
                DriverEvent::Overrun => overruns += 1,
                DriverEvent::AddressRestored(_) => restored += 1,
                _ => {}
            }
        }
        let is_done = driver.routers().all(|view| {
            let has_source = view.interface_name() == interface(0);
            view.state()
                == if has_source {
                    State::Active
                } else {
                    State::Initialize
                }
        });
        (is_done && driver.timeout() != Some(Duration::ZERO)).then_some(())
    })
    .unwrap();
    assert!(overruns > 0);
    assert_eq!(restored, stolen.len());
    let [there, wanted] = cables.addresses(&driver);
    assert_eq!(there.len(), stolen.len());
    assert_eq!(there, wanted);
    let known = |interfaces: &Interfaces| {
        let addresses = &interfaces.named(&interface(0)).unwrap().addresses;
        let addresses = addresses.iter().map(|address| address.address);
        addresses.collect::<BTreeSet<_>>()
    };
    // The driver still has to read the notifications of its own changes.
    wait_for("the state of the driver", LIMIT, || {
        driver.turn().unwrap();
        let there = cables
            .here
            .run(|| Netlink::open().unwrap().interfaces().unwrap());
        (known(driver.interfaces()) == known(&there)).then_some(())
    })
    .unwrap();
}

/// The number of times that the calling thread has waited so far.
fn waits() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_thread_with_many_routers_does_not_wake_up_for_every_advertisement() {
    const PACKETS: u64 = 2000;
    let cables = Cables::lay(1);
    // Backups that have nothing to do for a long time.
    let mut driver = cables.driver(cables.routers(Family::Ipv4, 100, 4000));
    run_until(&mut driver, State::Backup);
    let stop = driver.handle();
    let running = thread::spawn(move || {
        let before = waits();
        driver.run(|_| {}).unwrap();
        (waits() - before, driver)
    });
    // Each packet would wake the thread, because it arrives after the one before it has been read.
    // Its checksum is wrong.
    let sender = cables.there.run(|| VrrpSocket::open(Family::Ipv4).unwrap());
    let interfaces = cables
        .there
        .run(|| Netlink::open().unwrap().interfaces().unwrap());
    let datagram = Datagram {
        interface: interfaces.named(&interface(0)).unwrap().link.index,
        endpoints: Endpoints::multicast([198, 18, 0, 2].into()),
        ttl: 255,
        octets: &[0x31, 51, 100, 1, 0, 100, 0xba, 0xad, 198, 19, 0, 51],
    };
    for _ in 0..PACKETS {
        sender.send([datagram], |_, error| panic!("{error}"));
        thread::sleep(Duration::from_micros(50));
    }
    // Time to read the last packets.
    thread::sleep(Duration::from_millis(20));
    stop.stop();
    let (waits, driver) = running.join().unwrap();
    let read = driver.counters().checksum_errors;
    assert!(read > PACKETS * 9 / 10, "{read} read");
    assert!(waits < read / 2, "{waits} waits for {read} packets");
}
