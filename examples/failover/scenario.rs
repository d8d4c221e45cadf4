//! The network, the routers on it, and the events that happen to them.

use std::{
    io::{self, Write},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use vrrp_fsm::{Config, State, VirtualRouter};
use vrrp_lab::{Capture, Frame, Host, Lan, Pings, Probe, ProcessorWaits, wait_for};
use vrrp_net::{Driver, DriverEvent, DriverHandle, RouterConfig, VirtualAddress};
use vrrp_proto::{
    Advertisement, DecodeOptions, Family, IP_PROTOCOL, Interval, IpHeader, Leniency, Priority,
    Vrid,
    frame::{ipv4, ipv6},
};

use crate::Failure;

/// How long to wait for an effect, beyond the time that the protocol allows.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the client asks.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_millis(1);

/// The settings that all routers share, and their priorities.
pub(crate) struct Setting {
    pub(crate) family: Family,
    pub(crate) interval: Interval,
    /// One for each router, the greatest first.
    pub(crate) priorities: Vec<u8>,
    vrid: Vrid,
}

impl Setting {
    pub(crate) fn new(
        version: u8,
        over_ipv6: bool,
        centis: u16,
        routers: u8,
    ) -> Result<Self, Failure> {
        if version == 2 && over_ipv6 {
            return Err("version 2 exists over IPv4 only: leave out --ipv6 or --version 2".into());
        }
        let interval = Interval::centis(centis)?;
        Ok(Self {
            family: if over_ipv6 {
                Family::Ipv6
            } else {
                Family::Ipv4
            },
            interval: if version == 2 {
                interval.to_seconds_rounded_up()
            } else {
                interval
            },
            priorities: (0..routers)
                .map(|place| 200 - place * (150 / routers))
                .collect(),
            vrid: Vrid::new(51).ok_or("51 is a VRID")?,
        })
    }

    /// The address that moves.
    pub(crate) fn address(&self) -> IpAddr {
        match self.family {
            Family::Ipv4 => [192, 0, 2, 254].into(),
            Family::Ipv6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe].into(),
        }
    }

    fn addresses(&self) -> Result<Vec<VirtualAddress>, Failure> {
        let texts: &[&str] = match self.family {
            Family::Ipv4 => &["192.0.2.254/32"],
            Family::Ipv6 => &["fe80::fe/128", "2001:db8::fe/128"],
        };
        Ok(texts
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?)
    }

    /// The configuration of the router at this place.
    pub(crate) fn config(&self, place: usize) -> Config {
        let mut config = match self.interval.version() {
            vrrp_proto::Version::V2 => Config::v2(self.vrid),
            vrrp_proto::Version::V3 => Config::new(self.vrid, self.family),
        };
        config.interval = self.interval;
        config.priority = Priority::new(self.priorities.get(place).copied().unwrap_or(1));
        config
    }

    /// How long the router at this place waits for an Active that is silent, and for one that has
    /// resigned.
    pub(crate) fn waits(&self, place: usize) -> Result<(Duration, Duration), Failure> {
        let machine = VirtualRouter::new(self.config(place))?;
        Ok((machine.active_down_interval(), machine.skew_time()))
    }

    pub(crate) fn introduce(&self, out: &mut impl Write, asked: u16) -> io::Result<()> {
        writeln!(
            out,
            "{} over {}, {} routers, an advertisement every {}; {} is asked every millisecond",
            self.interval.version(),
            self.family,
            self.priorities.len(),
            self.interval,
            self.address(),
        )?;
        if self.interval.as_centis() != asked {
            writeln!(
                out,
                "(version 2 counts in whole seconds: {asked} cs were rounded up)"
            )?;
        }
        writeln!(out)
    }
}

/// The phase of a router, as its lane of the timeline shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not running, or cut off.
    Down,
    Is(State),
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Start,
    Kill,
    Return,
    Stop,
    Unplug,
    Mend,
}

impl What {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Kill => "kill",
            Self::Return => "return",
            Self::Stop => "stop",
            Self::Unplug => "unplug",
            Self::Mend => "mend",
        }
    }

    /// Whether an Active remains, which answers until it is preempted.
    pub(crate) const fn is_preemption(self) -> bool {
        matches!(self, Self::Return | Self::Mend)
    }

    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Start => "the routers are started",
            Self::Kill => "the Active's machine dies",
            Self::Return => "it is back, and preempts",
            Self::Stop => "the Active is stopped, and resigns",
            Self::Unplug => "the Active's cable is pulled",
            Self::Mend => "it is plugged in again",
        }
    }
}

/// An event, and the takeover that followed it.
pub(crate) struct Happening {
    pub(crate) what: What,
    pub(crate) at: Instant,
    /// The router that is Active afterwards.
    pub(crate) active: usize,
    /// When that router's first advertisement as Active crossed the network.
    pub(crate) advertised: Instant,
    /// The longest time that the protocol allows from `at` to `advertised`.
    pub(crate) bound: Duration,
    /// The time for which threads of the program waited for a processor, from the event on.
    pub(crate) held_up: Duration,
}

/// Everything that was observed.
pub(crate) struct Recording {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    pub(crate) happenings: Vec<Happening>,
    /// For each router, its phases, each with the time at which it began.
    pub(crate) lanes: Vec<Vec<(Instant, Phase)>>,
    pub(crate) pings: Pings,
    pub(crate) frames: Vec<Frame>,
}

type Lane = Arc<Mutex<Vec<(Instant, Phase)>>>;

fn note(lane: &Lane, phase: Phase) {
    let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
    lane.push((Instant::now(), phase));
}

/// A router on a machine of its own.
struct Router {
    host: Host,
    source: IpAddr,
    lane: Lane,
    running: Option<Running>,
}

struct Running {
    driver: DriverHandle,
    crashes: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), vrrp_net::Error>>,
}

impl Router {
    /// Starts its driver, on a thread in the machine's namespace.
    fn start(&mut self, config: RouterConfig) -> Result<(), Failure> {
        let (namespace, lane) = (self.host.namespace().clone(), Arc::clone(&self.lane));
        let crashes = Arc::new(AtomicBool::new(false));
        let (handle, started) = mpsc::channel();
        let thread = thread::spawn({
            let crashes = Arc::clone(&crashes);
            move || {
                let on = |event: &DriverEvent| match event {
                    DriverEvent::StateChanged(change) => note(&lane, Phase::Is(change.to)),
                    DriverEvent::Fault(_) => note(&lane, Phase::Down),
                    _ => {}
                };
                let opened = namespace
                    .enter()
                    .map_err(Failure::from)
                    .and_then(|()| Ok(Driver::new()?))
                    .and_then(|mut driver| {
                        driver.add(config)?;
                        Ok(driver)
                    });
                let mut driver = match opened {
                    Ok(driver) => driver,
                    Err(failure) => {
                        // The thread that waits for the handle reports the failure.
                        let _ = handle.send(Err(failure));
                        return Ok(());
                    }
                };
                let _ = handle.send(Ok(driver.handle()));
                while !driver.is_stopped() && !crashes.load(Ordering::Relaxed) {
                    driver.wait(None)?;
                    driver.turn()?;
                    while let Some(notification) = driver.next_notification() {
                        on(&notification.event);
                    }
                }
                Ok(())
            }
        });
        let driver = started
            .recv()
            .map_err(|_| "a router's thread ended at once")??;
        self.running = Some(Running {
            driver,
            crashes,
            thread,
        });
        Ok(())
    }

    fn end(&mut self, crashes: bool) -> Result<(), Failure> {
        if let Some(running) = self.running.take() {
            if crashes {
                running.crashes.store(true, Ordering::Relaxed);
                // Wakes the thread up, which then drops the driver.
                running.driver.submit(|_| {})?;
            } else {
                running.driver.stop();
            }
            running
                .thread
                .join()
                .map_err(|_| "a router's thread panicked")??;
        }
        note(&self.lane, Phase::Down);
        Ok(())
    }

    /// Crashes the machine: nothing from it reaches the network any more.
    fn crash(&mut self) -> Result<(), Failure> {
        self.host.partition()?;
        // It counts as dead from here, although its thread takes a while to end.
        note(&self.lane, Phase::Down);
        self.end(true)
    }

    /// Boots the machine, which has lost the addresses that it had before.
    fn boot(&mut self, setting: &Setting) -> Result<(), Failure> {
        for address in setting.addresses()? {
            let is_there = self
                .host
                .addresses()?
                .iter()
                .any(|own| own.addr() == address.address());
            if is_there {
                self.host.remove_address(&address.to_string())?;
            }
        }
        Ok(self.host.mend()?)
    }

    fn phase(&self) -> Phase {
        let lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        lane.last().map_or(Phase::Down, |(_, phase)| *phase)
    }
}

/// The network during the run.
struct Stage<'a> {
    setting: &'a Setting,
    routers: Vec<Router>,
    capture: Capture,
    probe: Probe,
    happenings: Vec<Happening>,
    report: &'a dyn Fn(&str) -> io::Result<()>,
}

/// Builds the network, runs all events, and returns the recording.
pub(crate) fn play(
    setting: &Setting,
    report: impl Fn(&str) -> io::Result<()>,
) -> Result<Recording, Failure> {
    let lan = Lan::new()?;
    let mut routers = Vec::new();
    for place in 1..=setting.priorities.len() {
        let own = [
            format!("192.0.2.{place}/24"),
            format!("2001:db8::{place}/64"),
        ];
        let host = lan.host(&format!("r{place}"), &own.each_ref().map(String::as_str))?;
        let source = match setting.family {
            Family::Ipv4 => format!("192.0.2.{place}").parse()?,
            Family::Ipv6 => host.link_local().into(),
        };
        routers.push(Router {
            host,
            source,
            lane: Lane::default(),
            running: None,
        });
    }
    let client = lan.host("client", &["192.0.2.100/24", "2001:db8::100/64"])?;
    let capture = lan.capture()?;
    let from = Instant::now();
    let probe = Probe::start(&client, setting.address(), PROBE_INTERVAL)?;

    let mut stage = Stage {
        setting,
        routers,
        capture,
        probe,
        happenings: Vec::new(),
        report: &report,
    };
    stage.play()?;

    let to = Instant::now();
    let Stage {
        mut routers,
        capture,
        probe,
        happenings,
        ..
    } = stage;
    let pings = probe.stop()?;
    let frames = capture.stop()?;
    let lanes = routers
        .iter()
        .map(|router| {
            router
                .lane
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        })
        .collect();
    for router in &mut routers {
        router.end(false)?;
    }
    Ok(Recording {
        from,
        to,
        happenings,
        lanes,
        pings,
        frames,
    })
}

impl Stage<'_> {
    fn play(&mut self) -> Result<(), Failure> {
        let (down_first, _) = self.setting.waits(0)?;
        let (down_second, skew_second) = self.setting.waits(1)?;

        self.happens(What::Start, 0, down_first, |stage| {
            (0..stage.routers.len()).try_for_each(|place| stage.start(place))
        })?;
        self.happens(What::Kill, 1, down_second, |stage| stage.router(0)?.crash())?;
        self.happens(What::Return, 0, down_first, |stage| stage.boot_and_start(0))?;
        self.happens(What::Stop, 1, skew_second, |stage| {
            stage.router(0)?.end(false)
        })?;
        self.happens(What::Return, 0, down_first, |stage| stage.boot_and_start(0))?;
        self.happens(What::Unplug, 1, down_second, |stage| {
            Ok(stage.router(0)?.host.unplug()?)
        })?;
        // The kernel may take a second to report the loss of carrier.
        wait_for("the router to notice its cable", PATIENCE, || {
            let noticed = self.routers.first()?.phase();
            matches!(noticed, Phase::Down | Phase::Is(State::Initialize)).then_some(())
        })?;
        self.happens(What::Mend, 0, down_first, |stage| {
            stage.router(0)?.host.mend()?;
            wait_for("the router to notice its cable", PATIENCE, || {
                (stage.routers.first()?.phase() == Phase::Is(State::Backup)).then_some(())
            })?;
            Ok(())
        })
    }

    fn router(&mut self, place: usize) -> Result<&mut Router, Failure> {
        self.routers
            .get_mut(place)
            .ok_or_else(|| "there is no such router".into())
    }

    fn start(&mut self, place: usize) -> Result<(), Failure> {
        let config = RouterConfig::new(
            "eth0",
            self.setting.config(place),
            self.setting.addresses()?,
        );
        self.router(place)?.start(config)
    }

    fn boot_and_start(&mut self, place: usize) -> Result<(), Failure> {
        let setting = self.setting;
        self.router(place)?.boot(setting)?;
        self.start(place)
    }

    /// Runs an event, waits until `active` advertises, and then leaves the network alone for a
    /// while.
    fn happens(
        &mut self,
        what: What,
        active: usize,
        bound: Duration,
        action: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let before = Instant::now();
        let waits = ProcessorWaits::now();
        action(self)?;
        // The protocol's time starts at the event if Backups then receive a resignation, or nothing
        // any more. For a router that must first start, or notice its cable, it starts when that
        // router becomes Backup.
        let at = match what {
            What::Kill | What::Stop | What::Unplug => before,
            What::Start | What::Return | What::Mend => self.backup_since(active, before),
        };
        let source = self.router(active)?.source;
        let waiting_for = format!("r{} becoming Active", active + 1);
        let frame = self
            .capture
            .wait_for(&waiting_for, bound + PATIENCE, |frame| {
                frame.at >= at
                    && advertises(frame)
                        .is_some_and(|(from, priority)| from == source && !priority.is_resign())
            })?;
        let answered = self.probe.wait_for_answer(frame.at, PATIENCE)?;
        (self.report)(&format!(
            "{:<34} r{} is Active",
            what.describe(),
            active + 1,
        ))?;
        self.happenings.push(Happening {
            what,
            at,
            active,
            advertised: frame.at,
            bound,
            held_up: waits.elapsed(),
        });
        // Long enough to be visible, and for every router to have received an advertisement of the
        // new Active.
        let rest = (self.setting.interval.as_duration() * 2).max(Duration::from_millis(300));
        thread::sleep((answered + rest).saturating_duration_since(Instant::now()));
        Ok(())
    }

    fn backup_since(&self, place: usize, before: Instant) -> Instant {
        let Some(router) = self.routers.get(place) else {
            return before;
        };
        let lane = router.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let since = lane
            .iter()
            .find(|(at, phase)| *at >= before && *phase == Phase::Is(State::Backup));
        since.map_or(before, |(at, _)| *at)
    }
}

/// The source and priority of an advertisement.
fn advertises(frame: &Frame) -> Option<(IpAddr, Priority)> {
    let (header, packet) = frame.bytes.split_at_checked(14)?;
    let (ip, payload): (IpHeader, &[u8]) = match header.get(12..14)? {
        [0x08, 0x00] => {
            let packet = ipv4::Packet::parse(packet).ok()?;
            (packet.protocol == IP_PROTOCOL).then_some((packet.ip_header(), packet.payload))?
        }
        [0x86, 0xdd] => {
            let packet = ipv6::Packet::parse(packet).ok()?;
            (packet.next_header == IP_PROTOCOL).then_some((packet.ip_header(), packet.payload))?
        }
        _ => return None,
    };
    let options = DecodeOptions {
        leniency: Leniency::ALL,
        ..DecodeOptions::default()
    };
    let decoded = Advertisement::decode(payload, &ip, &options).ok()?;
    Some((ip.endpoints.source(), decoded.advertisement.priority))
}
