//! keepalived and FRR as the other router: both ways, both families, both versions.
//!
//! In each test we are r1 and the peer is r2, and the priority distinguishes their advertisements.
//! A machine that dies is cut off first, because a killed daemon leaves its address behind, for
//! which the kernel still answers.

use std::time::{Duration, Instant};

use vrrp_fsm::{Preempt, State, VirtualRouter};
use vrrp_lab::{
    Capture, Frame, Frr, FrrInstance, Host, Keepalived, KeepalivedAuthentication,
    KeepalivedInstance, Lan, V3Checksum, tshark, wait_for, write_pcap,
};
use vrrp_net::{Authentication, RouterConfig, RouterId};
use vrrp_proto::{Family, Interval, Password, Priority};

use crate::rig::{
    DriverThread, LIMIT, VIP4, VIP6, VIP6_LINK_LOCAL, in_time, ip, lan_of, router, router_v2,
    unicast, wait_for_address,
};

/// The time by which a takeover of ours may exceed the time of the protocol.
const ALLOWANCE: Duration = Duration::from_millis(50);
/// The same for the peers, whose timing these tests do not measure.
const PATIENCE: Duration = Duration::from_secs(10);

/// The peer's program, and the version and family of both.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    KeepalivedV2Pass,
    KeepalivedV2Ah,
    KeepalivedV3Ipv4,
    KeepalivedV3Ipv4Unicast,
    KeepalivedV3Ipv6,
    FrrV2,
    FrrV3Ipv4,
    FrrV3Ipv6,
}

/// The other router's program.
enum Peer {
    Keepalived(Keepalived),
    Frr(Frr),
}

impl Peer {
    fn stop(self) {
        match self {
            Self::Keepalived(keepalived) => keepalived.stop().unwrap(),
            Self::Frr(frr) => frr.stop().unwrap(),
        }
    }

    fn kill(self) {
        match self {
            Self::Keepalived(keepalived) => keepalived.kill(),
            Self::Frr(frr) => frr.kill(),
        }
    }
}

impl Case {
    const fn family(self) -> Family {
        match self {
            Self::KeepalivedV3Ipv6 | Self::FrrV3Ipv6 => Family::Ipv6,
            _ => Family::Ipv4,
        }
    }

    const fn is_v2(self) -> bool {
        matches!(
            self,
            Self::KeepalivedV2Pass | Self::KeepalivedV2Ah | Self::FrrV2
        )
    }

    const fn interval(self) -> Duration {
        Duration::from_millis(if self.is_v2() { 1000 } else { 200 })
    }

    fn address(self) -> &'static str {
        match self.family() {
            Family::Ipv4 => VIP4,
            Family::Ipv6 => VIP6,
        }
    }

    fn our_router(self, priority: u8) -> RouterConfig {
        if self.is_v2() {
            let mut config = router_v2(priority);
            config.authentication = match self {
                Self::KeepalivedV2Pass => Authentication::SimpleText(password()),
                Self::KeepalivedV2Ah => Authentication::Ah(password()),
                _ => Authentication::None,
            };
            return config;
        }
        let mut config = router(self.family(), priority);
        config.fsm.interval = Interval::centis(20).unwrap();
        if self == Self::KeepalivedV3Ipv4Unicast {
            config = unicast(config, &["192.0.2.2"]);
        }
        // FRR lists its global address first (AMB-10).
        config.leniency.first_address_not_link_local = self == Self::FrrV3Ipv6;
        config
    }

    fn start_peer(self, host: &Host, priority: u8) -> Peer {
        match self {
            Self::FrrV2 | Self::FrrV3Ipv4 | Self::FrrV3Ipv6 => {
                let mut instance = FrrInstance {
                    version: if self.is_v2() { 2 } else { 3 },
                    advertisement_interval: self.interval(),
                    ..FrrInstance::new(51, priority)
                };
                match self.family() {
                    Family::Ipv4 => instance.ipv4 = vec![[192, 0, 2, 254].into()],
                    Family::Ipv6 => instance.ipv6 = vec!["2001:db8::254".parse().unwrap()],
                }
                Peer::Frr(Frr::start(host, &instance).unwrap())
            }
            _ => {
                let config = self.keepalived(priority).to_string();
                Peer::Keepalived(Keepalived::start(host.namespace(), &config).unwrap())
            }
        }
    }

    fn keepalived(self, priority: u8) -> KeepalivedInstance {
        let addresses: &[&str] = match self.family() {
            Family::Ipv4 => &[VIP4],
            Family::Ipv6 => &[VIP6_LINK_LOCAL, VIP6],
        };
        let mut instance = KeepalivedInstance::new(51, priority, addresses);
        instance.version = if self.is_v2() { 2 } else { 3 };
        instance.advert_interval = self.interval();
        instance.authentication = match self {
            Self::KeepalivedV2Pass => Some(KeepalivedAuthentication::Pass("s3cret".into())),
            Self::KeepalivedV2Ah => Some(KeepalivedAuthentication::Ah("s3cret".into())),
            _ => None,
        };
        if self == Self::KeepalivedV3Ipv4Unicast {
            instance.source = Some(ip("192.0.2.2"));
            instance.unicast_peers = vec![ip("192.0.2.1")];
        }
        instance
    }
}

fn password() -> Password {
    Password::new(b"s3cret").unwrap()
}

/// The priority of an advertisement for VRID 51, also of one inside AH.
fn priority(frame: &Frame) -> Option<u8> {
    let bytes = &frame.bytes;
    let message = match (bytes.get(12..14)?, *bytes.get(20)?, *bytes.get(23)?) {
        ([0x08, 0x00], _, 112) => bytes.get(34..)?,
        ([0x08, 0x00], _, 51) => bytes.get(58..)?,
        ([0x86, 0xdd], 112, _) => bytes.get(54..)?,
        _ => return None,
    };
    (message.get(1) == Some(&51)).then(|| message[2])
}

/// Waits for an advertisement with this priority that passes after `since`.
fn wait_for_priority(capture: &Capture, wanted: u8, since: Instant) -> Instant {
    let what = format!("an advertisement with priority {wanted}");
    let is_meant = |frame: &Frame| frame.at > since && priority(frame) == Some(wanted);
    capture.wait_for(&what, LIMIT, is_meant).unwrap().at
}

/// The time of the last advertisement with this priority before `before`.
fn last_before(capture: &Capture, wanted: u8, before: Instant) -> Instant {
    let frames = capture.frames();
    let meant = frames
        .iter()
        .filter(|frame| frame.at < before && priority(frame) == Some(wanted));
    meant.map(|frame| frame.at).max().unwrap()
}

/// The network, both hosts, and a capture of everything on the network.
struct Scene {
    case: Case,
    hosts: [Host; 2],
    capture: Capture,
    _lan: Lan,
}

impl Scene {
    fn new(case: Case) -> Self {
        let (lan, hosts) = lan_of::<2>();
        let capture = lan.capture().unwrap();
        Self {
            case,
            hosts,
            capture,
            _lan: lan,
        }
    }

    fn start_ours(&self, priority: u8) -> (DriverThread, RouterId) {
        DriverThread::with_router(self.hosts[0].namespace(), self.case.our_router(priority))
    }

    /// The peer is Active with priority 200, and our Backup with priority 100 has received its
    /// advertisement.
    fn peer_is_active(&self) -> (Peer, DriverThread, RouterId) {
        let peer = self.case.start_peer(&self.hosts[1], 200);
        wait_for_priority(&self.capture, 200, Instant::now());
        let (ours, id) = self.start_ours(100);
        wait_for("our router to hear the peer", LIMIT, || {
            let active = ours.with(move |driver| driver.get(id).unwrap().machine().active());
            (active?.priority == Priority::new(200)).then_some(())
        })
        .unwrap();
        assert_eq!(ours.state(id), State::Backup);
        (peer, ours, id)
    }

    /// We are Active with priority 200, and the peer with priority 100 has received our
    /// advertisement, and is Backup.
    fn we_are_active(&self) -> (Peer, DriverThread, RouterId) {
        let (ours, id) = self.start_ours(200);
        ours.wait_for_state(id, State::Active);
        let peer = self.case.start_peer(&self.hosts[1], 100);
        self.peer_is_silent(&ours, id);
        // The peer accepts our advertisements from the first interval on, over IPv4 in version 3 as
        // well (AMB-01).
        let frames = self.capture.frames();
        assert!(!frames.iter().any(|frame| priority(frame) == Some(100)));
        assert_eq!(ours.count_transitions(State::Active), 1);
        (peer, ours, id)
    }

    /// Waits until we have advertised for longer than a Backup waits before a takeover, and checks
    /// that the peer has sent nothing in that time.
    fn peer_is_silent(&self, ours: &DriverThread, id: RouterId) {
        let down =
            ours.with(move |driver| driver.get(id).unwrap().machine().active_down_interval());
        let begin = Instant::now();
        wait_for("the peer to be silent", LIMIT, || {
            let frames = self.capture.frames();
            let last = frames
                .iter()
                .filter(|frame| priority(frame) == Some(100))
                .map(|frame| frame.at)
                .max();
            (last.unwrap_or(begin).max(begin).elapsed() > down + self.case.interval()).then_some(())
        })
        .unwrap();
        assert_eq!(ours.state(id), State::Active);
    }

    /// Checks that Wireshark finds no fault in any of our frames.
    fn check_frames(self) {
        let folder = tempfile::tempdir().unwrap();
        let mac_address = self.hosts[0].mac();
        let ours: Vec<Frame> = self
            .capture
            .stop()
            .unwrap()
            .into_iter()
            .filter(|frame| frame.bytes[6..12] == mac_address)
            .collect();
        assert!(ours.iter().any(|frame| priority(frame).is_some()));
        // Wireshark verifies one form of the checksum at a time.
        let is_plain = |frame: &Frame| {
            let sum = frame.bytes.get(34..46).filter(|_| frame.bytes[23] == 112);
            let sum = sum.map(|message| {
                message
                    .chunks(2)
                    .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
                    .sum::<u32>()
            });
            sum.is_some_and(|sum| (sum >> 16) + (sum & 0xffff) == 0xffff)
        };
        let (plain, other): (Vec<_>, Vec<_>) = ours.into_iter().partition(is_plain);
        for (form, frames) in [
            (V3Checksum::MessageOnly, plain),
            (V3Checksum::PseudoHeader, other),
        ] {
            let file = folder.path().join("ours.pcap");
            write_pcap(&file, &frames).unwrap();
            let packets = tshark(&file, form).unwrap();
            assert_eq!(packets.len(), frames.len());
            for packet in packets {
                assert_eq!(packet.complaints(), [""; 0]);
            }
        }
    }
}

/// Plays a scene in which our Backup must take over a given time after the last advertisement of a
/// priority. The time for which its thread waited for a processor is allowed too. If the peer was
/// so late that our Backup took over before, as it must, the scene is played again.
fn we_take_over(
    case: Case,
    last_priority: u8,
    wait: fn(&VirtualRouter) -> Duration,
    happen: impl Fn(&Scene, Peer),
) {
    for _ in 0..10 {
        let scene = Scene::new(case);
        let (peer, ours, id) = scene.peer_is_active();
        let wait = ours.with(move |driver| wait(driver.get(id).unwrap().machine()));
        let waited = ours.processor_wait();
        let begun = Instant::now();
        happen(&scene, peer);
        let taken = wait_for_priority(&scene.capture, 100, begun);
        let held_up = ours.processor_wait().saturating_sub(waited);
        let frames = scene.capture.frames();
        let is_early = |frame: &Frame| frame.at < begun && priority(frame) == Some(100);
        if frames.iter().any(is_early) {
            continue;
        }
        let silence = taken - last_before(&scene.capture, last_priority, taken);
        assert!(
            silence + Duration::from_millis(2) > wait && silence < wait + ALLOWANCE + held_up,
            "{silence:?} of {wait:?}, of which {held_up:?} without a processor"
        );
        ours.wait_for_state(id, State::Active);
        wait_for_address(&scene.hosts[0], case.address(), true);
        drop(ours);
        scene.check_frames();
        return;
    }
    panic!("the peer was late each time");
}

fn we_take_over_when_it_dies(case: Case) {
    we_take_over(
        case,
        200,
        VirtualRouter::active_down_interval,
        |scene, peer| {
            scene.hosts[1].partition().unwrap();
            peer.kill();
        },
    );
}

fn we_take_over_when_it_resigns(case: Case) {
    we_take_over(case, 0, VirtualRouter::skew_time, |_, peer| peer.stop());
}

/// Our router ends and the peer takes over; ours comes back and the peer yields.
fn it_takes_over_and_yields(case: Case, go: impl FnOnce(&Scene, DriverThread)) {
    let scene = Scene::new(case);
    let (peer, ours, _) = scene.we_are_active();
    let gone = Instant::now();
    go(&scene, ours);
    let taken = wait_for_priority(&scene.capture, 100, gone);
    // 3 intervals, and a skew time of less than one.
    assert!(
        taken - gone < case.interval() * 4 + PATIENCE,
        "{:?}",
        taken - gone
    );
    if matches!(peer, Peer::Keepalived(_)) {
        wait_for_address(&scene.hosts[1], case.address(), true);
    }

    scene.hosts[0].mend().unwrap();
    let (ours, id) = scene.start_ours(200);
    ours.wait_for_state(id, State::Active);
    scene.peer_is_silent(&ours, id);
    assert_eq!(ours.count_transitions(State::Active), 1);
    wait_for_address(&scene.hosts[0], case.address(), true);
    if matches!(peer, Peer::Keepalived(_)) {
        wait_for_address(&scene.hosts[1], case.address(), false);
    }
    drop(ours);
    scene.check_frames();
}

macro_rules! with_each_peer {
    ($($name:ident: $case:expr $(, ignored: $reason:literal)?;)*) => { $(
        mod $name {
            use super::*;

            #[test]
            $(#[ignore = $reason])?
            fn we_take_over_when_it_dies() {
                in_time(|| super::we_take_over_when_it_dies($case));
            }

            #[test]
            $(#[ignore = $reason])?
            fn we_take_over_when_it_resigns() {
                in_time(|| super::we_take_over_when_it_resigns($case));
            }

            #[test]
            $(#[ignore = $reason])?
            fn it_takes_over_when_we_resign_and_yields_when_we_return() {
                in_time(|| it_takes_over_and_yields($case, |_, ours| {
                    ours.stop();
                }));
            }

            #[test]
            $(#[ignore = $reason])?
            fn it_takes_over_when_we_die_and_yields_when_we_return() {
                in_time(|| it_takes_over_and_yields($case, |scene, ours| {
                    scene.hosts[0].partition().unwrap();
                    ours.kill();
                }));
            }
        }
    )* };
}

with_each_peer! {
    keepalived_v2_with_a_password: Case::KeepalivedV2Pass;
    keepalived_v2_with_ah: Case::KeepalivedV2Ah;
    keepalived_v3_over_ipv4: Case::KeepalivedV3Ipv4;
    keepalived_v3_over_ipv4_by_unicast: Case::KeepalivedV3Ipv4Unicast;
    keepalived_v3_over_ipv6: Case::KeepalivedV3Ipv6;
    frr_v2: Case::FrrV2, ignored: "root alone can start FRR: run ./test";
    frr_v3_over_ipv4: Case::FrrV3Ipv4, ignored: "root alone can start FRR: run ./test";
    frr_v3_over_ipv6: Case::FrrV3Ipv6, ignored: "root alone can start FRR: run ./test";
}

/// Two Actives of equal priority meet when a split network is whole again. The router with the
/// greater address, r2, stays Active.
#[test]
fn of_equal_priorities_keepalived_with_the_greater_address_stays_active() {
    let scene = Scene::new(Case::KeepalivedV3Ipv4);
    let peer = scene.case.start_peer(&scene.hosts[1], 100);
    wait_for_priority(&scene.capture, 100, Instant::now());
    let (ours, id) = scene.start_ours(100);
    wait_for_address(&scene.hosts[1], VIP4, true);
    scene.hosts[1].partition().unwrap();
    ours.wait_for_state(id, State::Active);
    scene.hosts[1].mend().unwrap();
    ours.wait_for_state(id, State::Backup);
    wait_for_address(&scene.hosts[0], VIP4, false);
    wait_for_address(&scene.hosts[1], VIP4, true);
    peer.stop();
    drop(ours);
    scene.check_frames();
}

#[test]
fn without_preemption_we_leave_keepalived_active() {
    in_time(|| {
        let scene = Scene::new(Case::KeepalivedV3Ipv4);
        let peer = scene.case.start_peer(&scene.hosts[1], 100);
        wait_for_priority(&scene.capture, 100, Instant::now());
        let mut config = scene.case.our_router(200);
        config.fsm.preempt = Preempt::Never;
        let (ours, id) = DriverThread::with_router(scene.hosts[0].namespace(), config);
        ours.wait_for_state(id, State::Backup);
        // Twice as many advertisements as would pass before a preemption.
        let mut since = Instant::now();
        for _ in 0..8 {
            since = wait_for_priority(&scene.capture, 100, since);
        }
        assert_eq!(ours.state(id), State::Backup);
        assert_eq!(ours.count_transitions(State::Active), 0);
        // When the peer ends, we take over.
        peer.stop();
        ours.wait_for_state(id, State::Active);
        drop(ours);
        scene.check_frames();
    });
}

#[test]
fn without_preemption_keepalived_leaves_us_active() {
    let scene = Scene::new(Case::KeepalivedV2Pass);
    let (ours, id) = scene.start_ours(100);
    ours.wait_for_state(id, State::Active);
    let mut instance = scene.case.keepalived(200);
    instance.preempt = false;
    let mut peer = Keepalived::start(scene.hosts[1].namespace(), &instance.to_string()).unwrap();
    let mut since = Instant::now();
    for _ in 0..5 {
        since = wait_for_priority(&scene.capture, 100, since);
    }
    assert_eq!(ours.state(id), State::Active);
    assert!(!peer.log().contains("Entering MASTER STATE"));
    ours.stop();
    peer.wait_for_log("Entering MASTER STATE", LIMIT).unwrap();
    peer.stop().unwrap();
    scene.check_frames();
}
