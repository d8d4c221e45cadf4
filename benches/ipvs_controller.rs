//! The time that `ipvs_controller` needs for a large cluster, beside the kernel's part and ipvsadm:
//! 500, 2,000 and 10,000 services of 10 endpoints.
//!
//! `cargo bench -p vrrp-benches --bench ipvs_controller [-- --quick]` builds the program and boots
//! user-mode Linux. The program is measured as a user sees it: from its start, or from a file's
//! change, until the kernel's table is as wanted. Files are read, and 10,000 addresses are added to
//! an interface, which ipvsadm does not do.
//!
//! The kernel's part is the time of a bare sender of prepared bytes that makes or reads the same
//! objects, in the same run. It is more than linear in the size: the kernel has a fixed number of
//! hash lists for services, and looks through all addresses of an interface when one is added. So
//! the ratio to it shows whether a step of the program is slower than linear. A synchronization of
//! one service has to take the same time at each size.

use std::{
    env, fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{Client, ServiceKey, VirtualServer};
use nix::net::if_::if_nametoindex;
use serde_json::json;
use vrrp_benches::{
    Error, Table,
    ipvs::{
        additions,
        bare::{Bare, Receive},
    },
    is_quick, run_guest,
};
use vrrp_lab::{Guest, Kernel, Namespace, example};

/// Endpoints of each service.
const ENDPOINTS: u16 = 10;

/// Services in each file.
const IN_A_FILE: u16 = 100;

/// The address of the program's metrics while it runs in the background.
const METRICS: &str = "127.0.0.1:10249";

/// Changes of one service that are measured.
const CHANGES: u16 = 15;

fn main() -> Result<(), Error> {
    if Kernel::current().is_some() {
        return measure();
    }
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "vrrp-examples"])
        .args(["--example", "ipvs_controller"])
        .status()?;
    if !status.success() {
        return Err(format!("the program cannot be built: {status}").into());
    }
    let guest = Guest {
        arguments: env::args_os().skip(1).collect(),
        files: vec![
            Path::new("/sbin/ipvsadm").canonicalize()?,
            example("ipvs_controller")?,
        ],
        memory: 1536,
        limit: Duration::from_secs(1_800),
        ..Guest::new(env::current_exe()?)
    };
    run_guest(Kernel::Uml6_1, &guest)
}

/// A Service with its EndpointSlice. `first` is the number of its first endpoint.
fn objects(number: u16, first: u16) -> [serde_json::Value; 2] {
    let [high, low] = number.to_be_bytes();
    let name = format!("service-{number}");
    let endpoints: Vec<_> = (first..first + ENDPOINTS)
        .map(|endpoint| {
            json!({
                "addresses": [format!("10.{endpoint}.{high}.{low}")],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "another",
            })
        })
        .collect();
    [
        json!({
            "kind": "Service", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "type": "ClusterIP", "clusterIP": format!("172.16.{high}.{low}"),
                "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
        }),
        json!({
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "name": format!("{name}-x"), "namespace": "default",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"port": 8080, "protocol": "TCP"}],
        }),
    ]
}

/// Writes the file of some services, of which the first has endpoints from `first` on.
fn write(folder: &Path, file: u16, first: u16) -> Result<(), Error> {
    let services = file * IN_A_FILE..(file + 1) * IN_A_FILE;
    let items: Vec<_> = services
        .clone()
        .flat_map(|number| objects(number, if number == services.start { first } else { 1 }))
        .collect();
    let list = json!({"kind": "List", "apiVersion": "v1", "items": items});
    let path = folder.join(format!("{file}.json"));
    let temporary = folder.join(format!("{file}.new"));
    fs::write(&temporary, list.to_string())?;
    fs::rename(temporary, path)?;
    Ok(())
}

fn controller(folder: &Path, options: &[&str]) -> Result<Command, Error> {
    let mut command = Command::new(example("ipvs_controller")?);
    command
        .arg(folder)
        .args(["--ipvs-min-sync-period", "1ms", "--ipvs-sync-period", "1h"])
        .args(["--healthz-bind-address", ""])
        .arg("--state")
        .arg(folder.with_extension("state"))
        .args(options)
        .stdout(Stdio::null());
    Ok(command)
}

fn timed(work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

fn ipvsadm(arguments: &[&str], input: Option<&Path>) -> Result<(), Error> {
    let mut command = Command::new("ipvsadm");
    command.args(arguments).stdout(Stdio::null());
    if let Some(input) = input {
        command.stdin(fs::File::open(input)?);
    }
    run(&mut command)
}

/// The program in the background. Killed on drop.
struct BackgroundProgram(Child);

impl Drop for BackgroundProgram {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a destination is in the table.
fn wait_for(client: &mut Client, service: ServiceKey, destination: &str) -> Result<(), Error> {
    let wanted: IpAddr = destination.parse()?;
    let end = Instant::now() + Duration::from_secs(300);
    while Instant::now() < end {
        let listed = client.destinations(service)?;
        if listed.iter().any(|it| it.destination.key.address == wanted) {
            return Ok(());
        }
        // The guest has one processor: asking more often would take it from the program.
        thread::sleep(Duration::from_millis(2));
    }
    Err(format!("{destination} did not come").into())
}

fn measure() -> Result<(), Error> {
    println!(
        "Linux {}, services of {ENDPOINTS} endpoints in files of {IN_A_FILE}\n",
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
    );
    let mut table = Table::new(&[
        "services",
        "work",
        "ipvs_controller ms",
        "us/service",
        "kernel's part ms",
        "x kernel's part",
        "ipvsadm ms",
        "command of ipvsadm",
    ]);
    let sizes: &[u16] = if is_quick() { &[5] } else { &[5, 20, 100] };
    let mut kept = Vec::new();
    for files in sizes {
        for row in measure_files(*files, &mut kept)? {
            table.row(row);
        }
    }
    println!("{table}");
    Ok(())
}

/// The time that some work takes.
struct Row {
    work: &'static str,
    /// In milliseconds.
    ours: f64,
    kernel: Option<f64>,
    ipvsadm: Option<(f64, &'static str)>,
}

impl Row {
    fn cells(&self, services: u16) -> [String; 8] {
        let shown = |time: Option<f64>| time.map(|time| format!("{time:.1}")).unwrap_or_default();
        let ratio = self.kernel.map(|kernel| self.ours / kernel);
        [
            services.to_string(),
            self.work.to_owned(),
            format!("{:.2}", self.ours),
            format!("{:.1}", self.ours * 1e3 / f64::from(services)),
            shown(self.kernel),
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            shown(self.ipvsadm.map(|(time, _)| time)),
            self.ipvsadm.map_or("", |(_, command)| command).to_owned(),
        ]
    }
}

/// Measures a cluster of this many files, and returns the rows.
///
/// Each table is made in a namespace of its own: in one that was flushed, the kernel would search
/// all deleted destinations for each new one. The namespaces stay in `kept`, because their removal
/// would disturb the measurements.
fn measure_files(files: u16, kept: &mut Vec<Namespace>) -> Result<Vec<[String; 8]>, Error> {
    enter_new(kept)?;
    let folder = tempfile::tempdir()?;
    let objects: PathBuf = folder.path().join("objects");
    fs::create_dir(&objects)?;
    for file in 0..files {
        write(&objects, file, 1)?;
    }
    let mut client = Client::open()?;

    let once = ["--once", "--metrics-bind-address", ""];
    let first = timed(|| run(controller(&objects, &once)?.args(["--drain", "0s"])))?;
    let saved = folder.path().join("saved");
    let text = Command::new("ipvsadm").arg("-Sn").output()?.stdout;
    fs::write(&saved, text)?;
    let lines = fs::read_to_string(&saved)?.lines().count();
    let expected = usize::from(files * IN_A_FILE) * usize::from(1 + ENDPOINTS);
    if lines != expected {
        return Err(format!("{lines} objects, not {expected}").into());
    }
    let again = timed(|| run(&mut controller(&objects, &once)?))?;
    let servers = client.confirmed_table()?.servers();

    let running = controller(&objects, &["--metrics-bind-address", METRICS])?.spawn()?;
    let running = BackgroundProgram(running);
    let (change, alone) = measure_changes(&mut client, &objects)?;
    drop(running);

    let listed = timed(|| ipvsadm(&["-Ln"], None))?;
    let edited = timed(|| {
        let server = ["-a", "-t", "172.16.0.1:80", "-r", "10.200.0.1:8080", "-m"];
        ipvsadm(&server, None)
    })?;
    enter_new(kept)?;
    let kernel = Floor::measure(&servers)?;
    enter_new(kept)?;
    let restored = timed(|| ipvsadm(&["-R"], Some(&saved)))?;

    let rows = [
        Row {
            work: "first synchronization",
            ours: first,
            kernel: Some(kernel.additions + kernel.addresses),
            ipvsadm: Some((restored, "-R")),
        },
        Row {
            work: "of it, the kernel's addresses",
            ours: kernel.addresses,
            kernel: Some(kernel.addresses),
            ipvsadm: None,
        },
        Row {
            work: "nothing differs, from the start",
            ours: again,
            kernel: Some(kernel.lists),
            ipvsadm: Some((listed, "-Ln")),
        },
        Row {
            work: "one service changes",
            ours: change,
            kernel: None,
            ipvsadm: Some((edited, "-a, one endpoint of 10")),
        },
        Row {
            work: "of it, the synchronization",
            ours: alone,
            kernel: None,
            ipvsadm: None,
        },
    ];
    Ok(rows
        .iter()
        .map(|row| row.cells(files * IN_A_FILE))
        .collect())
}

fn enter_new(kept: &mut Vec<Namespace>) -> Result<(), Error> {
    let namespace = Namespace::new()?;
    namespace.enter()?;
    kept.push(namespace);
    Ok(())
}

/// Changes the first service again and again while the program runs. Returns the median of the
/// times from the change of the file, and the mean of the synchronizations alone.
fn measure_changes(client: &mut Client, objects: &Path) -> Result<(f64, f64), Error> {
    let service = ServiceKey::tcp(([172, 16, 0, 0], 80));
    let mut changes = Vec::new();
    let mut before = (0.0, 0.0);
    for number in 0..=CHANGES {
        let endpoint = 20 + number * ENDPOINTS;
        let time = timed(|| {
            write(objects, 0, endpoint)?;
            wait_for(client, service, &format!("10.{endpoint}.0.0"))
        })?;
        // The first change waits for the program's start.
        if number == 0 {
            before = synchronizations()?;
        } else {
            changes.push(time);
        }
    }
    let after = synchronizations()?;
    changes.sort_by(f64::total_cmp);
    let alone = (after.0 - before.0) / (after.1 - before.1);
    Ok((changes[changes.len() / 2], alone))
}

/// The sum of the times of synchronizations of changes in milliseconds, and their number.
fn synchronizations() -> Result<(f64, f64), Error> {
    let mut stream = TcpStream::connect(METRICS)?;
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let value = |name: &str| -> f64 {
        let start = format!("ipvs_controller_synchronization_duration_seconds_{name}{{");
        let values = text
            .lines()
            .filter(|line| line.starts_with(&start) && !line.contains("Full"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    };
    Ok((value("sum") * 1e3, value("count")))
}

/// The times of a bare sender of prepared bytes, in milliseconds.
struct Floor {
    /// Adds the services and their destinations.
    additions: f64,
    /// Adds their addresses to an interface.
    addresses: f64,
    /// Reads all of them.
    lists: f64,
}

impl Floor {
    /// Measures in a new namespace, and leaves its table full.
    fn measure(servers: &[VirtualServer]) -> Result<Self, Error> {
        let ip = |arguments: &[&str]| run(Command::new("/usr/bin/ip").args(arguments));
        ip(&["link", "add", "floor", "type", "dummy"])?;
        ip(&["link", "set", "floor", "up"])?;
        let index = if_nametoindex("floor")?;
        let (mut ipvs, mut route) = (Bare::open()?, Bare::open_route()?);
        let keys: Vec<_> = servers.iter().map(|server| server.service.key).collect();
        let addresses: Vec<_> = keys.iter().filter_map(ipv4).collect();
        let (changes, questions) = (ipvs.changes(&additions(servers)), ipvs.lists(&keys));
        let requests = Bare::addresses(index, &addresses);
        let additions = timed(|| ipvs.change(&changes))?;
        let addresses = timed(|| route.change(&requests))?;
        let lists = timed(|| {
            ipvs.read(&questions, Receive::Two)?;
            route.read(&[Bare::address_list()], Receive::One)?;
            Ok(())
        })?;
        Ok(Self {
            additions,
            addresses,
            lists,
        })
    }
}

fn ipv4(key: &ServiceKey) -> Option<Ipv4Addr> {
    match key {
        ServiceKey::Address {
            address: IpAddr::V4(address),
            ..
        } => Some(*address),
        _ => None,
    }
}
