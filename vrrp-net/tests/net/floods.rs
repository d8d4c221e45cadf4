//! Floods of forged packets for existing routers: nothing changes, nothing is late, nothing grows,
//! and every packet is counted.
//!
//! Each takes 3 s; the environment variable `FLOOD_SECONDS` makes them longer. They run in a
//! process of their own, because the memory of the whole process is measured.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::{SockFilter, SockRef};
use vrrp_fsm::{Counters, State};
use vrrp_lab::{Host, wait_for};
use vrrp_net::{
    Authentication, Datagram, Driver, ReceiveBatch, RouterConfig, RouterId, VrrpSocket,
};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, Family, Interval, Password, Priority, group,
};

use crate::rig::{DriverThread, LIMIT, ip, lan_of, router, router_v2, unicast, vrid};

/// Forged packets per second, and per system call.
const RATE: u32 = 100_000;
const BATCH: u32 = 64;

/// The interval of all routers here: the shortest of version 2.
const INTERVAL: Duration = Duration::from_secs(1);

/// The VRIDs of the routers: one of version 3, one with a password, one with a peer.
const PLAIN: u8 = 51;
const WITH_PASSWORD: u8 = 52;
const WITH_PEER: u8 = 53;

const ACTIVE: &str = "192.0.2.1";
const PEER: &str = "192.0.2.2";
const FORGER: &str = "192.0.2.3";

/// Kibibytes that the process may grow by, in all floods together: less than two octets for each
/// packet.
const GROWTH: u64 = 2048;

/// The routers of one host, on VRIDs of their own.
fn routers(priority: u8, peer: &str) -> Vec<RouterConfig> {
    let mut plain = router(Family::Ipv4, priority);
    plain.fsm.interval = Interval::centis(100).unwrap();
    let mut with_password = router_v2(priority);
    with_password.authentication = Authentication::SimpleText(Password::new(b"right").unwrap());
    let with_peer = unicast(plain.clone(), &[peer]);
    [
        (PLAIN, plain),
        (WITH_PASSWORD, with_password),
        (WITH_PEER, with_peer),
    ]
    .into_iter()
    .map(|(number, mut config)| {
        config.fsm.vrid = vrid(number);
        config.addresses = vec![IpAddr::from([192, 0, 2, number]).into()];
        config
    })
    .collect()
}

fn start(host: &Host, priority: u8, peer: &'static str) -> (DriverThread, Vec<RouterId>) {
    let running = DriverThread::start(host.namespace());
    let ids = running.with(move |driver| {
        routers(priority, peer)
            .into_iter()
            .map(|config| driver.add(config).unwrap())
            .collect()
    });
    (running, ids)
}

/// Packets that all fail the same check. Without that check they would depose the Active: their
/// priority is 254.
struct Flood {
    name: &'static str,
    octets: Vec<u8>,
    destination: IpAddr,
    ttl: u32,
    /// The number of such packets that the driver has counted.
    count: fn(&Driver) -> u64,
}

fn floods() -> [Flood; 5] {
    let all = group(Family::Ipv4);
    let good = message(PLAIN, all);
    let mut bad_checksum = good.clone();
    bad_checksum[6] ^= 0x55;
    // The checksum is that of the changed message.
    let mut bad_version = good.clone();
    bad_version[0] += 0x10;
    bad_version[6] = bad_version[6].wrapping_sub(0x10);
    [
        Flood {
            name: "checksum",
            octets: bad_checksum,
            destination: all,
            ttl: 255,
            count: |driver| driver.counters().checksum_errors,
        },
        Flood {
            name: "version",
            octets: bad_version,
            destination: all,
            ttl: 255,
            count: |driver| driver.counters().version_errors,
        },
        Flood {
            name: "TTL 64",
            octets: good,
            destination: all,
            ttl: 64,
            count: |driver| driver.counters().ip_ttl_errors,
        },
        Flood {
            name: "password",
            octets: message(WITH_PASSWORD, all),
            destination: all,
            ttl: 255,
            count: |driver| sum(driver, |counters| counters.authentication_errors),
        },
        Flood {
            name: "unknown peer",
            octets: message(WITH_PEER, ip(ACTIVE)),
            destination: ip(ACTIVE),
            ttl: 255,
            count: |driver| sum(driver, |counters| counters.other_discards.into()),
        },
    ]
}

/// A packet of the forger, which is valid except that its password, where it has one, is wrong.
fn message(number: u8, destination: IpAddr) -> Vec<u8> {
    let authentication = match number {
        WITH_PASSWORD => {
            vrrp_proto::MessageAuthentication::SimpleText(Password::new(b"wrong").unwrap())
        }
        _ => vrrp_proto::MessageAuthentication::None,
    };
    let address = [Ipv4Addr::new(192, 0, 2, number)];
    let advertisement = Advertisement {
        vrid: vrid(number),
        priority: Priority::new(254),
        interval: match number {
            WITH_PASSWORD => Interval::seconds(1).unwrap(),
            _ => Interval::centis(100).unwrap(),
        },
        authentication,
        addresses: Addresses::from(&address[..]),
    };
    let mut octets = vec![0; advertisement.encoded_len()];
    advertisement
        .encode(
            &mut octets,
            &endpoints(destination),
            ChecksumForm::MessageOnly,
        )
        .unwrap();
    octets
}

fn endpoints(destination: IpAddr) -> Endpoints {
    Endpoints::new(ip(FORGER), destination).unwrap()
}

fn sum(driver: &Driver, counter: fn(&Counters) -> u64) -> u64 {
    driver
        .routers()
        .map(|view| counter(view.machine().counters()))
        .sum()
}

/// Sends a flood for `time`, and returns the number of packets that the kernel took.
fn send(from: &Host, flood: &Flood, time: Duration) -> u64 {
    let socket = from
        .namespace()
        .run(|| VrrpSocket::open(Family::Ipv4).unwrap());
    let ttl = SockRef::from(&socket);
    ttl.set_ttl_v4(flood.ttl).unwrap();
    ttl.set_multicast_ttl_v4(flood.ttl).unwrap();
    let datagram = Datagram {
        interface: from.index(),
        endpoints: endpoints(flood.destination),
        ttl: 255,
        octets: &flood.octets,
    };
    let (start, mut batches, mut refused) = (Instant::now(), 0, 0);
    while start.elapsed() < time {
        socket.send([datagram; BATCH as usize], |_, _| refused += 1);
        batches += 1;
        // If the machine falls behind, it sends as fast as it can.
        let due = start + Duration::from_secs(1) * batches * BATCH / RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    u64::from(batches * BATCH) - refused
}

/// Packets that the kernel dropped on their way to the sockets of a host: at the interface, and for
/// want of room in the socket.
fn dropped(host: &Host) -> u64 {
    host.namespace().run(|| {
        let read = |path| fs::read_to_string(path).unwrap();
        let sockets = read("/proc/thread-self/net/raw");
        let interfaces = read("/proc/thread-self/net/dev");
        let in_sockets = sockets
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok());
        // Received octets, packets, errors, dropped.
        let at_interfaces = interfaces.lines().filter_map(|line| {
            let (_, counters) = line.split_once(':')?;
            counters.split_whitespace().nth(3)?.parse::<u64>().ok()
        });
        in_sockets.chain(at_interfaces).sum()
    })
}

/// Kibibytes that the process has in memory.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.unwrap().parse().unwrap()
}

/// Receives the advertisements of the Active on the Backup's host, and nothing else, with the time
/// at which each was read.
struct Listener {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<(u8, Instant)>>,
}

impl Listener {
    fn start(host: &Host) -> Self {
        let mut socket = host
            .namespace()
            .run(|| VrrpSocket::open(Family::Ipv4).unwrap());
        // Drops the packet unless the source in the IPv4 header is the Active.
        let IpAddr::V4(active) = ip(ACTIVE) else {
            panic!("{ACTIVE} is of IPv4");
        };
        SockRef::from(&socket)
            .attach_filter(&[
                SockFilter::new(0x20, 0, 0, 12),
                SockFilter::new(0x15, 0, 1, active.to_bits()),
                SockFilter::new(0x06, 0, 0, u32::MAX),
                SockFilter::new(0x06, 0, 0, 0),
            ])
            .unwrap();
        socket.join(host.index()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut batch = ReceiveBatch::new();
                let mut received = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    socket.receive(&mut batch).unwrap();
                    let now = Instant::now();
                    received.extend(batch.iter().map(|received| (received.payload[1], now)));
                    thread::sleep(Duration::from_millis(1));
                }
                received
            }
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<(u8, Instant)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Set in the process of its own.
const CHILD: &str = "VRRP_NET_TEST_FLOODS";

#[test]
fn floods_of_forged_packets_change_nothing_and_are_counted() {
    if env::var_os(CHILD).is_some() {
        flood();
        return;
    }
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("floods::floods_of_forged_packets_change_nothing_and_are_counted")
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn flood() {
    let seconds = env::var("FLOOD_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let (_lan, [r1, r2, r3]) = lan_of::<3>();
    let (active, actives) = start(&r1, 200, PEER);
    for id in &actives {
        active.wait_for_state(*id, State::Active);
    }
    let (backup, backups) = start(&r2, 100, ACTIVE);
    for id in &backups {
        backup.wait_for_state(*id, State::Backup);
    }
    let listener = Listener::start(&r2);
    let started = Instant::now();
    let memory_before = memory();
    for flood in floods() {
        let count = flood.count;
        let counted_before = active.with(move |driver| count(driver));
        let dropped_before = dropped(&r1);
        let start = Instant::now();
        let sent = send(&r3, &flood, Duration::from_secs(seconds));
        let rate = u128::from(sent) * 1000 / start.elapsed().as_millis();
        // Packets still on their way arrive, or the sum would be wrong.
        let mut counted = 0;
        let mut lost = 0;
        wait_for("the end of the flood", LIMIT, || {
            counted = active.with(move |driver| count(driver)) - counted_before;
            lost = dropped(&r1) - dropped_before;
            (counted + lost >= sent).then_some(())
        })
        .unwrap_or_else(|error| {
            panic!(
                "{error}: {}: {sent} sent, {counted} counted, {lost} dropped",
                flood.name
            )
        });
        println!(
            "{}: {sent} packets, {rate} a second; the kernel dropped {lost}",
            flood.name
        );
        assert_eq!(counted + lost, sent, "{}", flood.name);
        assert!(counted > 0, "{}", flood.name);
    }
    let growth = memory().saturating_sub(memory_before);
    assert!(growth <= GROWTH, "{growth} KiB more");

    let floods_took = started.elapsed();
    let received = listener.stop();
    for number in [PLAIN, WITH_PASSWORD, WITH_PEER] {
        let times: Vec<Instant> = received
            .iter()
            .filter_map(|(vrid, at)| (*vrid == number).then_some(*at))
            .collect();
        let owed = floods_took.as_secs() / INTERVAL.as_secs() - 1;
        assert!(
            times.len() as u64 >= owed,
            "VRID {number}: {} of {owed}",
            times.len()
        );
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = gaps.max().unwrap_or_default();
        println!("VRID {number}: longest time between advertisements {longest:?}");
        assert!(longest < 2 * INTERVAL, "VRID {number}: one is missing");
    }
    for (running, ids, state, transitions) in [
        (&active, actives, State::Active, 3),
        (&backup, backups, State::Backup, 0),
    ] {
        for id in ids {
            assert_eq!(running.state(id), state);
        }
        assert_eq!(running.count_transitions(State::Active), transitions);
    }
}
