//! The hosts, and the play.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use vrrp_lab::{Host, Lan, wait_for};

use super::{
    Event, Failure, Happening, Recording, SCHEDULER, SERVERS, SERVICE, State,
    balancer::{Balancer, Record},
    client::{CONNECTIONS, Client, Records},
    server::Server,
};

/// How long to wait for an effect.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long each request has to be answered before the next event.
const REST: Duration = Duration::from_secs(2);
/// The time between advertisements.
const ADVERTISEMENTS: Duration = Duration::from_millis(500);
/// The priorities of the load balancers.
const PRIORITIES: [u8; 2] = [200, 100];
/// The number of clients.
const CLIENTS: usize = 2;

/// A load balancer: its cables, and its program while it runs.
struct BalancerHost {
    outside: Host,
    inside: Host,
    file: PathBuf,
    record: Record,
    running: Option<Balancer>,
}

/// A server, and its program while it runs.
struct ServerHost {
    host: Host,
    address: SocketAddr,
    running: Option<Server>,
    record: Vec<(Instant, bool)>,
}

struct Stage<'a> {
    program: &'a Path,
    balancers: Vec<BalancerHost>,
    servers: Vec<ServerHost>,
    clients: Vec<Client>,
    records: Records,
    happenings: Vec<Happening>,
    report: &'a mut dyn FnMut(&str) -> Result<(), Failure>,
    _folder: TempDir,
    client_hosts: Vec<Host>,
    _networks: [Lan; 2],
}

/// Builds the network, runs the play, and returns the recording. `program` is the program
/// `load_balancer`. `report` gets a line for each event once its effect is seen.
///
/// # Errors
///
/// A text: the part of the network that cannot be built, or the effect that did not come.
pub(super) fn play(
    program: &Path,
    report: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<Recording, Failure> {
    let mut stage = Stage::build(program, report)?;
    stage.start_programs()?;
    let from = Instant::now();
    let played = stage.play();
    let to = Instant::now();
    stage.clients.clear();
    let (mut requests, connections) = stage.records.take();
    requests.sort_by_key(super::Request::end);
    let balancers = stage.balancers.iter().map(|it| it.record.states());
    let balancers = balancers.collect();
    played.map_err(|error| {
        let logs = stage.balancers.iter().map(|it| it.record.last_lines());
        let logs: Vec<_> = logs.collect();
        format!("{error}\n{}", logs.join("\n-\n"))
    })?;
    Ok(Recording {
        from,
        to,
        happenings: std::mem::take(&mut stage.happenings),
        balancers,
        servers: stage.servers.into_iter().map(|it| it.record).collect(),
        requests,
        connections,
    })
}

impl<'a> Stage<'a> {
    fn build(
        program: &'a Path,
        report: &'a mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let (outside, inside) = (Lan::new()?, Lan::new()?);
        let mut balancers = Vec::new();
        for (place, priority) in PRIORITIES.into_iter().enumerate() {
            let number = place + 1;
            let host = outside.host(&format!("lb{number}"), &[&format!("192.0.2.{number}/24")])?;
            let other = inside.attach(&host, "srv", &[&format!("10.0.0.10{number}/24")])?;
            host.namespace().set_sysctl("ipv4.ip_forward", "1")?;
            let file = folder.path().join(format!("lb{number}.toml"));
            fs::write(&file, configuration(priority))?;
            balancers.push(BalancerHost {
                outside: host,
                inside: other,
                file,
                record: Record::default(),
                running: None,
            });
        }
        let mut servers = Vec::new();
        for place in 0..SERVERS {
            let number = place + 1;
            let host = inside.host(&format!("s{number}"), &[&format!("10.0.0.{number}/24")])?;
            let mut route: Command = host.namespace().command("ip");
            route.args("route add default via 10.0.0.254".split(' '));
            let output = route
                .output()
                .map_err(|error| format!("start ip, of the package iproute2: {error}"))?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into());
            }
            servers.push(ServerHost {
                host,
                address: server_address(place).parse()?,
                running: None,
                record: Vec::new(),
            });
        }
        let mut hosts = Vec::new();
        for place in 0..CLIENTS {
            let number = place + 1;
            let address = format!("192.0.2.20{number}/24");
            hosts.push(outside.host(&format!("client{number}"), &[&address])?);
        }
        Ok(Self {
            program,
            balancers,
            servers,
            clients: Vec::new(),
            records: Records::default(),
            happenings: Vec::new(),
            report,
            _folder: folder,
            client_hosts: hosts,
            _networks: [outside, inside],
        })
    }

    /// Starts all programs, and waits until each load balancer is up.
    fn start_programs(&mut self) -> Result<(), Failure> {
        for place in 0..self.servers.len() {
            self.start_server(place)?;
        }
        let at = Instant::now();
        for place in 0..self.balancers.len() {
            self.start_balancer(place)?;
        }
        (0..self.balancers.len()).try_for_each(|place| self.wait_for_line(place, at, ""))
    }

    fn play(&mut self) -> Result<(), Failure> {
        for host in &self.client_hosts {
            self.clients
                .push(Client::start(host.namespace(), &self.records)?);
        }
        self.happens(Event::Start, |stage, at| {
            stage.wait_for_balancers(&[State::Active, State::Backup])?;
            for place in 0..stage.servers.len() {
                stage.wait_for_answer(at, Some(place))?;
            }
            stage.clients.iter().for_each(Client::keep_connections);
            let records = &stage.records;
            wait_for("the open connections", PATIENCE, || {
                (records.connections() == CLIENTS * CONNECTIONS).then_some(())
            })?;
            Ok(())
        })?;
        self.happens(Event::KillServer(0), |stage, at| {
            stage.server(0)?.stop();
            stage.wait_for_line(0, at, &down(0))
        })?;
        self.happens(Event::StartServer(0), |stage, at| {
            stage.start_server(0)?;
            stage.wait_for_answer(at, Some(0))
        })?;
        self.happens(Event::KillBalancer(0), |stage, _| {
            let balancer = stage.balancer(0)?;
            for host in [&balancer.outside, &balancer.inside] {
                host.unplug()?;
            }
            balancer.running = None;
            stage.wait_for_balancers(&[State::Down, State::Active])?;
            stage.wait_for_answer(Instant::now(), None)
        })?;
        // Its old addresses are removed before its cables are plugged in, so no two hosts have
        // them.
        let started = Instant::now();
        self.start_balancer(0)?;
        self.wait_for_line(0, started, "")?;
        let host = &self.balancer(0)?.outside;
        let has_address = || {
            let addresses = host.addresses().unwrap_or_default();
            let vip = std::net::IpAddr::from(SERVICE.0);
            addresses.iter().any(|own| own.addr() == vip)
        };
        wait_for("the removal of its old address", PATIENCE, || {
            (!has_address()).then_some(())
        })?;
        self.happens(Event::StartBalancer(0), |stage, _| {
            let balancer = stage.balancer(0)?;
            for host in [&balancer.outside, &balancer.inside] {
                host.mend()?;
            }
            stage.wait_for_balancers(&[State::Active, State::Backup])?;
            stage.wait_for_answer(Instant::now(), None)
        })?;
        self.happens(Event::Unplug(1), |stage, at| {
            let server = stage.server(1)?;
            server.host.partition()?;
            server.record.push((Instant::now(), false));
            stage.wait_for_line(0, at, &down(1))
        })?;
        self.happens(Event::Mend(1), |stage, at| {
            let server = stage.server(1)?;
            server.host.mend()?;
            server.record.push((Instant::now(), true));
            stage.wait_for_answer(at, Some(1))
        })?;
        self.happens(Event::StopBalancer(0), |stage, _| {
            if let Some(running) = stage.balancer(0)?.running.take() {
                running.stop()?;
            }
            stage.wait_for_balancers(&[State::Down, State::Active])?;
            stage.wait_for_answer(Instant::now(), None)
        })
    }

    /// Makes something happen, and leaves the network alone for a while once its effect is seen.
    fn happens(
        &mut self,
        event: Event,
        action: impl FnOnce(&mut Self, Instant) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let at = Instant::now();
        self.happenings.push(Happening { at, event });
        action(self, at)?;
        let seen = Instant::now();
        let after = (seen - at).as_secs_f64();
        (self.report)(&format!("{event:<40} seen after {after:.1} s"))?;
        let what = "a time in which each request is answered";
        wait_for(what, PATIENCE, || {
            let quiet_since = self
                .records
                .last_failure()
                .map_or(seen, |end| end.max(seen));
            (quiet_since.elapsed() >= REST).then_some(())
        })?;
        Ok(())
    }

    fn balancer(&mut self, place: usize) -> Result<&mut BalancerHost, Failure> {
        let balancer = self.balancers.get_mut(place);
        balancer.ok_or_else(|| "there is no such load balancer".into())
    }

    fn server(&mut self, place: usize) -> Result<&mut ServerHost, Failure> {
        let server = self.servers.get_mut(place);
        server.ok_or_else(|| "there is no such server".into())
    }

    fn start_balancer(&mut self, place: usize) -> Result<(), Failure> {
        let program = self.program;
        let balancer = self.balancer(place)?;
        let namespace = balancer.outside.namespace();
        let file = balancer.file.clone();
        let running = Balancer::start(program, namespace, file, &balancer.record)?;
        balancer.running = Some(running);
        Ok(())
    }

    fn start_server(&mut self, place: usize) -> Result<(), Failure> {
        let server = self.server(place)?;
        let running = Server::start(server.host.namespace(), server.address, place)?;
        server.running = Some(running);
        server.record.push((Instant::now(), true));
        Ok(())
    }

    fn wait_for_balancers(&self, expected: &[State]) -> Result<(), Failure> {
        let states = || self.balancers.iter().map(|it| it.record.state());
        wait_for(&format!("the states {expected:?}"), PATIENCE, || {
            states().eq(expected.iter().copied()).then_some(())
        })?;
        Ok(())
    }

    fn wait_for_answer(&self, since: Instant, server: Option<usize>) -> Result<(), Failure> {
        wait_for("an answer", PATIENCE, || {
            self.records.has_answer(since, server).then_some(())
        })?;
        Ok(())
    }

    fn wait_for_line(&mut self, place: usize, since: Instant, part: &str) -> Result<(), Failure> {
        let record = &self.balancer(place)?.record;
        wait_for(part, PATIENCE, || {
            record.has_line(since, part).then_some(())
        })?;
        Ok(())
    }
}

impl ServerHost {
    fn stop(&mut self) {
        self.running = None;
        self.record.push((Instant::now(), false));
    }
}

fn server_address(place: usize) -> String {
    format!("10.0.0.{}:80", place + 1)
}

/// The line in which a load balancer reports that a server is down.
fn down(place: usize) -> String {
    format!("server {} down", server_address(place))
}

/// The configuration file of a load balancer.
fn configuration(priority: u8) -> String {
    let ([a, b, c, d], port) = SERVICE;
    let servers: Vec<_> = (0..SERVERS)
        .map(|place| format!("{{ address = \"{}\" }}", server_address(place)))
        .collect();
    let servers = servers.join(", ");
    let advertisements = ADVERTISEMENTS.as_millis();
    format!(
        r#"[[routers]]
interface = "eth0"
vrid = 51
priority = {priority}
interval = "{advertisements}ms"
addresses = ["{a}.{b}.{c}.{d}/24"]

[[routers]]
interface = "srv"
vrid = 52
priority = {priority}
interval = "{advertisements}ms"
addresses = ["10.0.0.254/24"]

[sync]
interface = "srv"
id = 51

[[services]]
service = "tcp {a}.{b}.{c}.{d}:{port}"
scheduler = "{SCHEDULER}"
checks = [{{ probe = "tcp", interval = "300ms", fast_interval = "200ms", time_limit = "1s", fall = 2 }}]
servers = [{servers}]
"#
    )
}
