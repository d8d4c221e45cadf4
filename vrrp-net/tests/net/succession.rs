//! A hand-over between two processes, over a socket, by the rules and against them.

use std::{
    io::{self, Read, Write},
    net::UdpSocket,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use vrrp_fsm::State;
use vrrp_lab::{Host, wait_for};
use vrrp_net::{Driver, Error, RouterConfig, RouterId, Successor, VirtualMac};
use vrrp_proto::Family;

use crate::{
    rig::{DriverThread, LIMIT, VIP4, bytes, has, lan_of, parts, router},
    tracked_routes::sources,
};

const SUCCESSOR: &[u8] = b"vrrp-net successor 1\n";
const PREDECESSOR: &[u8] = b"vrrp-net predecessor 1\n";
/// The time for which one end waits for the other.
const PATIENCE: Duration = Duration::from_millis(300);

/// Runs something on a thread in a host's namespace.
fn inside<T: Send + 'static>(
    host: &Host,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let namespace = host.namespace().clone();
    thread::spawn(move || {
        namespace.enter().unwrap();
        work()
    })
}

/// A driver with an Active.
fn active(host: &Host) -> (DriverThread, RouterId) {
    let (running, id) = DriverThread::with_router(host.namespace(), router(Family::Ipv4, 100));
    running.wait_for_state(id, State::Active);
    (running, id)
}

/// Hands a driver over to the other end of this stream.
fn hand_over_to(running: &DriverThread, stream: UnixStream, limit: Duration) -> Result<(), Error> {
    let successor = Successor::accept(stream, limit)?;
    running.with(move |driver| driver.hand_over_to(successor, Some(limit)))
}

#[test]
fn a_successor_in_another_process_goes_on_and_the_predecessor_has_stopped() {
    succeed(router(Family::Ipv4, 100));
    // The predecessor claims the macvlan while the successor takes it over.
    let mut config = router(Family::Ipv4, 100);
    config.virtual_mac = Some(VirtualMac::default());
    succeed(config);
}

fn succeed(config: RouterConfig) {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let (one, id) = DriverThread::with_router(r1.namespace(), config);
    one.wait_for_state(id, State::Active);
    wait_for("the address", LIMIT, || {
        let is_there =
            move |driver: &mut Driver| driver.get(id)?.addresses().all(|it| it.1).then_some(());
        one.with(is_there)
    })
    .unwrap();
    let (other, other_id) = DriverThread::with_router(r2.namespace(), router(Family::Ipv4, 50));
    other.wait_for_state(other_id, State::Backup);
    let (near, far) = UnixStream::pair().unwrap();
    let successor = inside(&r1, || {
        let mut driver = Driver::take_over_from(far, LIMIT).unwrap();
        assert_eq!(driver.routers().next().unwrap().state(), State::Active);
        let before = sent(&driver);
        while sent(&driver) < before + 10 {
            driver.wait(Some(LIMIT)).unwrap();
            driver.turn().unwrap();
        }
        let log: Vec<_> = std::iter::from_fn(|| driver.next_notification()).collect();
        assert!(log.is_empty(), "{log:#?}");
        driver.shutdown().unwrap();
    });
    // With the limit that the driver chooses.
    let accepted = Successor::accept(near, LIMIT).unwrap();
    one.with(move |driver| driver.hand_over_to(accepted, None).unwrap());
    one.with(move |driver| {
        assert!(driver.is_stopped());
        assert_eq!(driver.timeout(), None);
        // Links and addresses, other threads, and advertisements on links: the sockets are those of
        // the successor, and wake this driver no more.
        assert_eq!(sources(driver), 3);
        assert!(matches!(driver.hand_over(), Err(Error::Stopped)));
    });
    successor.join().unwrap();
    // The other router takes over only after the successor has stopped.
    other.wait_for_state(other_id, State::Active);
    assert_eq!(other.count_transitions(State::Active), 1);
    assert!(!has(&r1, VIP4));
}

fn sent(driver: &Driver) -> u64 {
    let counters = driver
        .routers()
        .map(|it| it.machine().counters().advertisements_sent);
    counters.sum()
}

/// Reads what the predecessor sends until it waits for an answer.
fn read_all(stream: &mut UnixStream) -> io::Result<()> {
    let mut head = vec![0; PREDECESSOR.len() + 12];
    stream.read_exact(&mut head)?;
    let number = |from: usize, to: usize| {
        let octets = &head[PREDECESSOR.len()..][from..to];
        octets
            .iter()
            .fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet))
    };
    let messages = number(0, 4).div_ceil(64);
    let mut rest = vec![0; usize::try_from(messages + number(4, 12)).unwrap()];
    stream.read_exact(&mut rest)
}

#[test]
fn a_predecessor_goes_on_whatever_its_successor_does() {
    type Script = fn(&mut UnixStream) -> io::Result<()>;
    let scripts: [(&str, Script); 9] = [
        ("closes at once", |_| Ok(())),
        ("garbage", |it| it.write_all(&[0xff; 4096])),
        ("half a greeting", |it| it.write_all(&SUCCESSOR[..5])),
        ("another version", |it| {
            it.write_all(b"vrrp-net successor 9\n")
        }),
        ("closes after the greeting", |it| it.write_all(SUCCESSOR)),
        ("closes after the state", |it| {
            it.write_all(SUCCESSOR)?;
            read_all(it)
        }),
        ("answers with something else", |it| {
            it.write_all(SUCCESSOR)?;
            read_all(it)?;
            it.write_all(b"x")
        }),
        ("never answers", |it| {
            it.write_all(SUCCESSOR)?;
            read_all(it)?;
            // Waits until the predecessor gives up.
            it.read_exact(&mut [0]).or(Ok(()))
        }),
        ("is silent", |it| it.read_exact(&mut [0]).or(Ok(()))),
    ];
    let (_lan, [r1]) = lan_of::<1>();
    let (one, id) = active(&r1);
    for (name, script) in scripts {
        let (near, mut far) = UnixStream::pair().unwrap();
        let successor = thread::spawn(move || script(&mut far));
        let start = Instant::now();
        let error = hand_over_to(&one, near, PATIENCE).unwrap_err();
        assert!(start.elapsed() < LIMIT / 2, "{name}: {error}");
        let is_meant = matches!(error, Error::HandOver { .. } | Error::Os { .. });
        assert!(is_meant, "{name}: {error}");
        successor.join().unwrap().unwrap();
        let before = one.with(|driver| {
            assert!(!driver.is_stopped());
            sent(driver)
        });
        vrrp_lab::wait_for("advertisements", LIMIT, || {
            (one.with(|driver| sent(driver)) > before + 1).then_some(())
        })
        .unwrap();
        assert_eq!(one.state(id), State::Active, "{name}");
    }
    assert!(has(&r1, VIP4));
    // A successor that follows the rules still can.
    let (near, far) = UnixStream::pair().unwrap();
    let successor = inside(&r1, || {
        Driver::take_over_from(far, LIMIT).unwrap().shutdown()
    });
    hand_over_to(&one, near, LIMIT).unwrap();
    successor.join().unwrap().unwrap();
}

/// The bytes of a predecessor, with descriptors attached to the octet in the middle.
struct Sent {
    head: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    state: Vec<u8>,
}

fn head(count: u32, length: u64) -> Vec<u8> {
    [PREDECESSOR, &count.to_be_bytes(), &length.to_be_bytes()].concat()
}

impl Sent {
    fn by_the_rules(bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> Self {
        Self {
            head: head(
                u32::try_from(descriptors.len()).unwrap(),
                bytes.len() as u64,
            ),
            descriptors,
            state: bytes,
        }
    }

    fn send(&self, stream: &mut UnixStream) -> io::Result<()> {
        stream.read_exact(&mut vec![0; SUCCESSOR.len()])?;
        stream.write_all(&self.head)?;
        for some in self.descriptors.chunks(250) {
            let raw: Vec<_> = some.iter().map(AsRawFd::as_raw_fd).collect();
            sendmsg::<()>(
                stream.as_raw_fd(),
                &[io::IoSlice::new(b"f")],
                &[ControlMessage::ScmRights(&raw)],
                MsgFlags::MSG_NOSIGNAL,
                None,
            )?;
        }
        stream.write_all(&self.state)
    }
}

#[test]
fn a_successor_rejects_foreign_bytes_and_does_not_hang() {
    type Spoil = fn(&mut Sent);
    let spoils: [(&str, Spoil); 11] = [
        ("garbage", |it| it.head = vec![0xff; 64]),
        ("another version", |it| it.head[19] = b'9'),
        ("too many descriptors announced", |it| {
            it.head = head(u32::MAX, 10);
        }),
        ("too long a state announced", |it| {
            it.head = head(0, u64::MAX);
        }),
        ("fewer descriptors than announced", |it| {
            it.head = head(5, it.state.len() as u64);
        }),
        ("more descriptors than announced", |it| {
            it.descriptors.push(it.descriptors[0].try_clone().unwrap());
        }),
        ("more descriptors at once than there is room for", |it| {
            let more = || it.descriptors[0].try_clone().unwrap();
            it.descriptors = (0..250).map(|_| more()).collect();
            it.head = head(250, it.state.len() as u64);
        }),
        ("descriptors of another kind", |it| {
            it.descriptors[0] = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        }),
        ("a state that ends early", |it| {
            it.state.truncate(it.state.len() / 2);
        }),
        ("a state that is none", |it| it.state.fill(b'7')),
        ("no last word", |_| {}),
    ];
    let (_lan, [r1]) = lan_of::<1>();
    for (name, spoil) in spoils {
        let (one, _) = active(&r1);
        let (state, descriptors) = parts(one.hand_over());
        let mut sent = Sent::by_the_rules(bytes(&state), descriptors);
        spoil(&mut sent);
        let (mut near, far) = UnixStream::pair().unwrap();
        let start = Instant::now();
        let successor = inside(&r1, || Driver::take_over_from(far, LIMIT).map(drop));
        // The successor may have closed the connection before everything is sent.
        let _ = sent.send(&mut near);
        if name == "no last word" {
            near.read_exact(&mut [0]).unwrap();
        }
        drop(near);
        let error = successor.join().unwrap().unwrap_err();
        let is_meant = matches!(
            error,
            Error::HandOver { .. } | Error::Invalid { .. } | Error::Os { .. }
        );
        assert!(is_meant, "{name}: {error}");
        assert!(start.elapsed() < LIMIT / 2, "{name}: {error}");
        assert!(has(&r1, VIP4), "{name}: addresses stay");
        r1.remove_address(VIP4).unwrap();
    }
}

#[test]
fn a_limit_may_be_as_long_as_a_duration_can_be() {
    let (_lan, [r1]) = lan_of::<1>();
    let (one, _) = active(&r1);
    let (near, far) = UnixStream::pair().unwrap();
    let successor = inside(&r1, || {
        Driver::take_over_from(far, Duration::MAX)
            .unwrap()
            .shutdown()
    });
    hand_over_to(&one, near, Duration::MAX).unwrap();
    successor.join().unwrap().unwrap();
}

#[test]
fn a_successor_gives_up_on_a_slow_predecessor() {
    let (_lan, [r1]) = lan_of::<1>();
    let (mut near, far) = UnixStream::pair().unwrap();
    let successor = inside(&r1, || Driver::take_over_from(far, PATIENCE).map(drop));
    let start = Instant::now();
    // A single octet now and then does not extend the limit.
    for octet in head(0, 1 << 20).iter().cycle() {
        if near.write_all(&[*octet]).is_err() || start.elapsed() > LIMIT {
            break;
        }
        thread::sleep(PATIENCE / 10);
    }
    let error = successor.join().unwrap().unwrap_err();
    assert!(start.elapsed() < LIMIT / 2);
    assert!(error.to_string().contains("took too long"), "{error}");
}

#[test]
#[ignore = "root alone can become another user: run ./test"]
fn a_process_of_another_user_may_not_take_over() {
    // The kernel notes the user of the thread that makes the pair.
    let pair = thread::spawn(|| {
        // SAFETY: the call takes numbers only, and changes this thread alone.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(result, 0);
        UnixStream::pair().unwrap()
    });
    let (near, _far) = pair.join().unwrap();
    let error = Successor::accept(near, LIMIT).unwrap_err();
    let text =
        "hand over: the other process runs as user 65534, and only root and user 0 may take part";
    assert_eq!(error.to_string(), text);
}
