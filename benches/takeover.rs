//! Time until a Backup has taken over, compared with keepalived: two of our routers and two
//! keepalived take turns on the same two hosts.
//!
//! It is measured on the wire, from the last advertisement of the old Active to the first of the
//! new one. By the RFCs, that takes Active_Down_Interval after a crash, and Skew_Time after a
//! resignation (RFC 9568 section 6.1).

use std::{
    env,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use vrrp_benches::{Error, Subprocess, Table, is_quick, median, ready};
use vrrp_fsm::{ChecksumSending, Config};
use vrrp_lab::{Capture, Frame, Host, Keepalived, KeepalivedInstance, Lan};
use vrrp_net::{Driver, RouterConfig};
use vrrp_proto::{
    Advertisement, ChecksumForm, DecodeOptions, Endpoints, Family, Interval, IpHeader, Priority,
    Vrid,
    frame::{ethernet, ipv4},
};

/// The argument with which the program calls itself, to be a router until its standard input ends.
const ROUTER: &str = "--router";

const ACTIVE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const BACKUP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ACTIVE_PRIORITY: u8 = 200;
const BACKUP_PRIORITY: u8 = 100;

/// Longer than any step here takes. It is reached only if something is broken.
const LIMIT: Duration = Duration::from_secs(20);

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().collect();
    if let [_, option, kind, priority, interval] = &arguments[..]
        && option == ROUTER
    {
        return run_router(kind.parse()?, priority.parse()?, interval.parse()?);
    }
    // The kernel allows this only before there is a second thread.
    vrrp_lab::become_root_in_user_namespace()?;
    let lan = Lan::new()?;
    let bench = Bench {
        active: lan.host("active", &["192.0.2.1/24"])?,
        backup: lan.host("backup", &["192.0.2.2/24"])?,
        lan,
    };

    let cases: &[(u16, u32)] = if is_quick() {
        &[(10, 3)]
    } else {
        &[(10, 10), (100, 4)]
    };
    let mut table = Table::new(&[
        "case",
        "bound",
        "ours: median",
        "most over bound",
        "keepalived: median",
        "most over bound",
        "ours / keepalived",
    ]);
    for &(interval, rounds) in cases {
        for end in [End::Kill, End::Stop] {
            let bound = end.bound(interval);
            let (mut ours, mut keepalived) = (Vec::new(), Vec::new());
            for round in 0..rounds {
                // The Active ends at another point of the interval each time.
                let phase = Duration::from_millis(10) * interval.into() * round / rounds;
                ours.push(bench.takeover(Program::Ours, interval, end, phase)?);
                keepalived.push(bench.takeover(Program::Keepalived, interval, end, phase)?);
            }
            let column = |times: &[f64]| {
                let most = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                [
                    format!("{:.1} ms", median(times.to_vec())),
                    format!("{:+.1} ms", most - bound),
                ]
            };
            let ratio = median(ours.clone()) / median(keepalived.clone());
            table.row(
                [
                    format!("{}, {interval} cs", end.name()),
                    format!("{bound:.1} ms"),
                ]
                .into_iter()
                .chain(column(&ours))
                .chain(column(&keepalived))
                .chain([format!("{ratio:.3}")]),
            );
        }
    }
    println!("{table}");
    Ok(())
}

/// How the Active ends.
#[derive(Clone, Copy)]
enum End {
    /// By SIGKILL.
    Kill,
    /// In order: it resigns.
    Stop,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Stop => "graceful stop",
        }
    }

    /// Milliseconds from the last advertisement of the Active to the first of the Backup, by RFC
    /// 9568 section 6.1.
    fn bound(self, interval: u16) -> f64 {
        let interval = f64::from(interval) * 10.0;
        let skew_time = f64::from(256 - u16::from(BACKUP_PRIORITY)) * interval / 256.0;
        match self {
            Self::Kill => 3.0 * interval + skew_time,
            Self::Stop => skew_time,
        }
    }
}

#[derive(Clone, Copy)]
enum Program {
    Ours,
    Keepalived,
}

impl Program {
    /// A VRID for each program, so that a late packet of one is not taken for the other's.
    const fn vrid(self) -> u8 {
        match self {
            Self::Ours => 51,
            Self::Keepalived => 52,
        }
    }
}

struct Bench {
    active: Host,
    backup: Host,
    lan: Lan,
}

impl Bench {
    /// Runs one takeover, and returns how many milliseconds it took.
    fn takeover(
        &self,
        program: Program,
        interval: u16,
        end: End,
        phase: Duration,
    ) -> Result<f64, Error> {
        let capture = self.lan.capture()?;
        let active = Router::start(program, &self.active, ACTIVE_PRIORITY, interval)?;
        let backup = Router::start(program, &self.backup, BACKUP_PRIORITY, interval)?;
        wait_until_stable(&capture, program)?;
        thread::sleep(phase);

        let ended = Instant::now();
        match end {
            End::Kill => active.kill()?,
            End::Stop => active.stop()?,
        }
        let first = capture.wait_for("the first advertisement of the Backup", LIMIT, |frame| {
            frame.at >= ended
                && Sent::read(frame, program).is_some_and(|sent| sent.source == BACKUP)
        })?;
        backup.stop()?;

        let last = capture
            .stop()?
            .into_iter()
            .rfind(|frame| {
                frame.at <= first.at
                    && Sent::read(frame, program).is_some_and(|sent| {
                        sent.source == ACTIVE
                            && sent.priority.is_resign() == matches!(end, End::Stop)
                    })
            })
            .ok_or("the Active did not end in order")?;
        Ok((first.at - last.at).as_secs_f64() * 1e3)
    }
}

/// Returns once the Active has advertised three times, and the Backup, which was running all the
/// time, has not.
fn wait_until_stable(capture: &Capture, program: Program) -> Result<(), Error> {
    let started = Instant::now();
    let mut in_sequence = 0;
    capture.wait_for("an Active", LIMIT, |frame| {
        if let Some(sent) = Sent::read(frame, program)
            && frame.at >= started
        {
            in_sequence = if sent.source == ACTIVE {
                in_sequence + 1
            } else {
                0
            };
        }
        in_sequence == 3
    })?;
    Ok(())
}

/// An advertisement on the wire.
struct Sent {
    source: Ipv4Addr,
    priority: Priority,
}

impl Sent {
    /// Reads a frame, if it comes from a router of this program.
    fn read(frame: &Frame, program: Program) -> Option<Self> {
        let ethernet = ethernet::Frame::parse(&frame.bytes).ok()?;
        if ethernet.ethertype != ethernet::IPV4 {
            return None;
        }
        let packet = ipv4::Packet::parse(ethernet.payload).ok()?;
        if packet.protocol != vrrp_proto::IP_PROTOCOL {
            return None;
        }
        let ip = IpHeader {
            endpoints: Endpoints::Ipv4 {
                source: packet.source,
                destination: packet.destination,
            },
            ttl: packet.ttl,
        };
        let received =
            Advertisement::decode(packet.payload, &ip, &DecodeOptions::default()).ok()?;
        let advertisement = received.advertisement;
        (advertisement.vrid.get() == program.vrid()).then_some(Self {
            source: packet.source,
            priority: advertisement.priority,
        })
    }
}

/// A running router.
enum Router {
    Ours(Subprocess),
    Keepalived(Keepalived),
}

impl Router {
    /// Returns once it runs.
    fn start(program: Program, host: &Host, priority: u8, interval: u16) -> Result<Self, Error> {
        let vrid = program.vrid();
        Ok(match program {
            Program::Ours => Self::Ours(start_ours(host, vrid, priority, interval)?),
            Program::Keepalived => {
                let instance = KeepalivedInstance {
                    advert_interval: Duration::from_millis(10) * interval.into(),
                    ..KeepalivedInstance::new(vrid, priority, &[&address(vrid)])
                };
                Self::Keepalived(Keepalived::start(host.namespace(), &instance.to_string())?)
            }
        })
    }

    fn kill(self) -> Result<(), Error> {
        match self {
            Self::Ours(router) => router.kill()?,
            Self::Keepalived(keepalived) => keepalived.kill(),
        }
        Ok(())
    }

    fn stop(self) -> Result<(), Error> {
        match self {
            Self::Ours(router) => router.stop(),
            Self::Keepalived(keepalived) => Ok(keepalived.stop()?),
        }
    }
}

/// The virtual address.
fn address(vrid: u8) -> String {
    format!("192.0.2.{}/32", 200 + vrid)
}

fn start_ours(host: &Host, vrid: u8, priority: u8, interval: u16) -> Result<Subprocess, Error> {
    let mut command = host.namespace().command(env::current_exe()?);
    command
        .arg(ROUTER)
        .args([u16::from(vrid), priority.into(), interval].map(|number| number.to_string()));
    Subprocess::start(command)
}

fn run_router(vrid: u8, priority: u8, interval: u16) -> Result<(), Error> {
    let mut config = Config::new(Vrid::try_from(vrid)?, Family::Ipv4);
    config.priority = Priority::new(priority);
    config.interval = Interval::centis(interval)?;
    // As with keepalived: one message for each advertisement.
    config.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
    let mut driver = Driver::new()?;
    driver.add(RouterConfig::new(
        "eth0",
        config,
        vec![address(vrid).parse()?],
    ))?;
    let stop = driver.handle();
    // Now it receives packets.
    ready(move || stop.stop())?;
    driver.run(|_| {})?;
    Ok(())
}
