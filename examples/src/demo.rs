//! A demonstration of the load balancer: clients, two load balancers and three servers, each a
//! network namespace of this process, and the records of a short play in which some of them die.
//!
//! [`run`] does everything: `missing` names what the host lacks, `play` runs the play and returns a
//! `Recording`, which `Report` evaluates, `print` writes as text and `draw` as a picture.

mod balancer;
mod client;
mod network;
mod picture;
mod report;
mod server;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use ipvs_netlink::{Client, Scheduler, Service, ServiceKey, message::Change};
use vrrp_lab::{Lan, Namespace};

use self::{
    network::play,
    picture::draw,
    report::{Report, print},
};

/// Any error of the demonstration, with a text for people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The address of the service.
const SERVICE: ([u8; 4], u16) = ([192, 0, 2, 100], 80);
/// The scheduler of the service.
const SCHEDULER: Scheduler = Scheduler::RR;
/// The number of servers.
const SERVERS: usize = 3;

/// The network in a few lines.
const INTRODUCTION: &str = "\
clients   make a request every 20 ms, and keep 30 connections open
lb1, lb2  move 192.0.2.100 by VRRP, check the servers, and share their connections
s1 to s3  say which of them answers";

/// Runs the demonstration with this program as the load balancer, prints it, and draws it into the
/// file `svg`.
///
/// # Errors
///
/// What the host lacks, what failed, or that open connections broke that should not.
pub fn run(svg: Option<&Path>) -> Result<(), Failure> {
    let missing = missing();
    if !missing.is_empty() {
        return Err(format!("--demo is not possible here: {}", missing.join("\n  ")).into());
    }
    let mut out = io::stdout();
    writeln!(out, "{INTRODUCTION}\n")?;
    let recording = play(&env::current_exe()?, &mut |line| {
        Ok(writeln!(io::stdout(), "  {line}")?)
    })?;
    let report = Report::new(&recording);
    print(&mut out, &recording, &report)?;
    // Drawn last, so that a file that cannot be written costs no recording.
    if let Some(path) = svg {
        let written = fs::write(path, draw(&recording, &report));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if report.ok {
        Ok(())
    } else {
        Err("open connections broke that should not".into())
    }
}

/// Returns what this host lacks for the demonstration, each with its remedy.
fn missing() -> Vec<String> {
    let lacking = lacking_capabilities();
    if !lacking.is_empty() {
        // Without these, nothing else can be tried.
        return vec![format!(
            "it has to run as root: {} missing",
            lacking.join(", ")
        )];
    }
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(error) => return vec![error.to_string()],
    };
    let network = Lan::new().and_then(|lan| lan.host("test", &[]).map(drop));
    let network = network.err().map(|error| error.to_string());
    let ipvs = namespace.run(|| {
        let failed = |error: ipvs_netlink::Error, module: &str| {
            Err(format!(
                "IPVS: {error}; run `modprobe {module}` on the host"
            ))
        };
        let mut client = match Client::open() {
            Ok(client) => client,
            Err(error) => return failed(error, "ip_vs"),
        };
        let service = Service::new(ServiceKey::tcp(SERVICE), SCHEDULER);
        let change = Change::AddService(service);
        match client.apply(&[change]).into_iter().next() {
            Some(Err(error)) => failed(error, &format!("ip_vs_{SCHEDULER}")),
            _ => Ok(()),
        }
    });
    network.into_iter().chain(ipvs.err()).collect()
}

/// The capabilities that this process lacks, by their names in capabilities(7).
fn lacking_capabilities() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    // The numbers are those of capability.h.
    let needed = [
        (12, "CAP_NET_ADMIN"),
        (13, "CAP_NET_RAW"),
        (21, "CAP_SYS_ADMIN"),
    ];
    let is_missing = |(number, _): &(u32, _)| set.unwrap_or_default() & (1 << number) == 0;
    let missing = needed.into_iter().filter(is_missing);
    missing.map(|(_, name)| name).collect()
}

/// Everything that was recorded.
#[derive(Clone, Debug)]
struct Recording {
    /// The beginning.
    from: Instant,
    /// The end.
    to: Instant,
    /// The events of the play, in order.
    happenings: Vec<Happening>,
    /// The states of each load balancer, with the time of each change.
    balancers: Vec<Vec<(Instant, State)>>,
    /// For each server, when it came (`true`) and went.
    servers: Vec<Vec<(Instant, bool)>>,
    /// The requests of all clients, in the order of their ends.
    requests: Vec<Request>,
    /// The connections that stay open.
    connections: Vec<Connection>,
}

/// An event of the play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Happening {
    /// Its time.
    at: Instant,
    /// The event.
    event: Event,
}

/// An event of the play. Load balancers and servers are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Both load balancers start.
    Start,
    /// The process of a server ends.
    KillServer(usize),
    /// It runs again.
    StartServer(usize),
    /// The cable of a server is pulled.
    Unplug(usize),
    /// It is plugged in again.
    Mend(usize),
    /// A load balancer gets SIGKILL, and its cables are pulled.
    KillBalancer(usize),
    /// It runs again, with its cables.
    StartBalancer(usize),
    /// A load balancer gets SIGTERM.
    StopBalancer(usize),
}

/// The state of a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It does not run, or cannot.
    Down,
    /// It is ready to take over.
    Backup,
    /// It has the address.
    Active,
}

/// A connection that is opened for one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    /// When it began.
    at: Instant,
    /// How long it took.
    took: Duration,
    /// The server that answered; `None` without an answer.
    server: Option<usize>,
}

impl Request {
    /// When it ended.
    fn end(&self) -> Instant {
        self.at + self.took
    }
}

/// A connection that stays open and carries a byte in both directions again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection {
    /// Its server.
    server: usize,
    /// When it broke, if it did.
    broken: Option<Instant>,
    /// The longest time in which a byte did not come back.
    longest_pause: Duration,
}
