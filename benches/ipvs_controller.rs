//! The time that `ipvs_controller` needs for a large cluster, beside ipvsadm: 500, 2,000 and 10,000
//! services of 10 endpoints. Time in proportion to the size shows that no step is slower than
//! linear.
//!
//! `cargo bench -p vrrp-benches --bench ipvs_controller [-- --quick]` builds the program and boots
//! user-mode Linux. The program is measured as a user sees it: from its start, or from a file's
//! change, until the kernel's table is as wanted. Files are read, and 10,000 addresses are added to
//! an interface, which ipvsadm does not do.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{Client, ServiceKey};
use serde_json::json;
use vrrp_benches::{Error, Table, is_quick, run_guest};
use vrrp_lab::{Guest, Kernel, Namespace, example};

/// Endpoints of each service.
const ENDPOINTS: u16 = 10;

/// Services in each file.
const IN_A_FILE: u16 = 100;

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
        memory: 1024,
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
        .args(["--healthz-bind-address", "", "--metrics-bind-address", ""])
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
        "ipvsadm ms",
        "command of ipvsadm",
    ]);
    let sizes: &[u16] = if is_quick() { &[5] } else { &[5, 20, 100] };
    for files in sizes {
        for row in measure_files(*files)? {
            table.row(row);
        }
    }
    println!("{table}");
    Ok(())
}

/// Measures a cluster of this many files, and returns the rows.
fn measure_files(files: u16) -> Result<Vec<[String; 6]>, Error> {
    Namespace::new()?.enter()?;
    let folder = tempfile::tempdir()?;
    let objects: PathBuf = folder.path().join("objects");
    fs::create_dir(&objects)?;
    for file in 0..files {
        write(&objects, file, 1)?;
    }
    let mut client = Client::open()?;

    let first = timed(|| run(controller(&objects, &["--once"])?.args(["--drain", "0s"])))?;
    let saved = folder.path().join("saved");
    let text = Command::new("ipvsadm").arg("-Sn").output()?.stdout;
    fs::write(&saved, text)?;
    let lines = fs::read_to_string(&saved)?.lines().count();
    let expected = usize::from(files * IN_A_FILE) * usize::from(1 + ENDPOINTS);
    if lines != expected {
        return Err(format!("{lines} objects, not {expected}").into());
    }
    let again = timed(|| run(&mut controller(&objects, &["--once"])?))?;

    // The files of the first and the last service change in turn while the program runs.
    let running = BackgroundProgram(controller(&objects, &[])?.spawn()?);
    let mut changes = Vec::new();
    let mut endpoint = 20;
    let service = ServiceKey::tcp(([172, 16, 0, 0], 80));
    // The first change waits for the program's start.
    for _ in 0..6 {
        let time = timed(|| {
            write(&objects, 0, endpoint)?;
            wait_for(&mut client, service, &format!("10.{endpoint}.0.0"))
        })?;
        changes.push(time);
        endpoint += ENDPOINTS;
    }
    changes.remove(0);
    changes.sort_by(f64::total_cmp);
    let change = changes[changes.len() / 2];
    drop(running);

    let listed = timed(|| ipvsadm(&["-Ln"], None))?;
    let edited = timed(|| {
        let server = ["-a", "-t", "172.16.0.1:80", "-r", "10.200.0.1:8080", "-m"];
        ipvsadm(&server, None)
    })?;
    client.flush()?;
    let restored = timed(|| ipvsadm(&["-R"], Some(&saved)))?;

    let services = files * IN_A_FILE;
    let rows = [
        ("first synchronization", first, restored, "-R"),
        ("nothing differs, from the start", again, listed, "-Ln"),
        (
            "one service changes",
            change,
            edited,
            "-a, one endpoint of 10",
        ),
    ];
    let rows = rows.map(|(work, ours, theirs, command)| {
        [
            services.to_string(),
            work.to_owned(),
            format!("{ours:.1}"),
            format!("{:.1}", ours * 1e3 / f64::from(services)),
            format!("{theirs:.1}"),
            command.to_owned(),
        ]
    });
    Ok(rows.to_vec())
}
