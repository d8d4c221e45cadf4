//! Time to fill, read and change the kernel's IPVS table: the client, a sender of prepared octets,
//! and ipvsadm take turns in one guest kernel.
//!
//! The times are those of user-mode Linux, whose system calls are much more expensive than those of
//! a real machine. Only the ratios are meaningful.
//!
//! A table is filled in a network namespace of its own each time. The kernel keeps deleted
//! destinations for a minute or two (`IP_VS_DEST_TRASH_PERIOD`) and searches all of them for each
//! new one, so filling a table that was flushed a moment ago is a measurement of that search.

use std::{
    cell::RefCell,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Client, ServiceKey, VirtualServer, Weight,
    message::Change,
    plan::{Reconciler, Wanted},
    rules::{self, Form},
};
use vrrp_benches::{
    Error, Samples, Table,
    ipvs::{
        additions,
        bare::{Bare, Receive},
        servers, set_weight,
    },
    is_quick, run_guest, verdict,
};
use vrrp_lab::{Guest, Kernel, Namespace};

/// Destinations of each service.
const DESTINATIONS: u16 = 5;

/// The most time that a change of the table may take, as a multiple of the bare sender's.
const BARE_BUDGET: f64 = 1.15;

/// How many times faster than ipvsadm a change of the table has to be.
const IPVSADM_BUDGET: f64 = 10.0;

/// How long the kernel rests before each measurement, to free deleted objects.
const PAUSE: Duration = Duration::from_millis(20);

/// How long each way is repeated in each round.
const SHORT: Duration = Duration::from_millis(300);

fn main() -> Result<(), Error> {
    if Kernel::current().is_some() {
        return measure();
    }
    let guest = Guest {
        arguments: env::args_os().skip(1).collect(),
        // Filled tables stay until the end: their removal would disturb the measurements.
        memory: 1024,
        limit: Duration::from_secs(600),
        ..Guest::new(env::current_exe()?)
    };
    run_guest(Kernel::Uml6_1, &guest)
}

fn measure() -> Result<(), Error> {
    Namespace::new()?.enter()?;
    let (services, rounds) = if is_quick() { (200, 2) } else { (2000, 5) };
    println!(
        "Linux {}, {services} services x {DESTINATIONS} destinations, medians of {rounds} rounds\n",
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()
    );
    let folder = tempfile::tempdir()?;
    let mut table = Table::new(&[
        "work",
        "median ms",
        "best ms",
        "x bare",
        "budget",
        "",
        "x faster than ipvsadm",
        "budget",
        "",
    ]);
    let wanted = servers(services, DESTINATIONS);
    load(&wanted, folder.path())?.run(rounds, &mut table)?;
    read(&wanted)?.run(rounds, &mut table)?;
    let destinations = usize::from(services) * usize::from(DESTINATIONS);
    edit(&wanted, destinations, folder.path())?.run(rounds, &mut table)?;
    for differences in [0, 1, destinations / 10] {
        reconcile(&wanted, differences, folder.path())?.run(rounds, &mut table)?;
    }
    println!("{table}");
    Ok(())
}

type Step<'a> = Box<dyn FnMut() -> Result<(), Error> + 'a>;

/// A piece of work and the ways to do it. The bare sender is the first way, ipvsadm the last.
struct Contest<'a> {
    work: String,
    /// Done before each measurement.
    prepare: Step<'a>,
    ways: Vec<(&'static str, Step<'a>)>,
    /// The expected table after each.
    outcome: Vec<VirtualServer>,
    /// Whether there are budgets.
    has_budget: bool,
}

impl Contest<'_> {
    /// Measures the ways in turns, starting each round with another one, and adds a row for each.
    /// The first round does not count.
    fn run(mut self, rounds: usize, table: &mut Table) -> Result<(), Error> {
        let mut outcome = self.outcome;
        sort(&mut outcome);
        let mut times = vec![Vec::with_capacity(rounds); self.ways.len()];
        for round in 0..=rounds {
            for turn in 0..self.ways.len() {
                let place = (round + turn) % self.ways.len();
                let (name, way) = &mut self.ways[place];
                let time = fastest(&mut self.prepare, way)
                    .map_err(|error| format!("{}, {name}: {error}", self.work))?;
                let mut found = Client::open()?.confirmed_table()?.servers();
                sort(&mut found);
                if found != outcome {
                    return Err(format!("{}, {name}: not the wanted table", self.work).into());
                }
                if round > 0 {
                    times[place].push(time);
                }
            }
        }
        let samples: Vec<Samples> = times.into_iter().map(Samples::from_iter).collect();
        let [bare, .., ipvsadm] = &samples[..] else {
            return Err("a contest without contenders".into());
        };
        let last = samples.len() - 1;
        for (place, ((name, _), own)) in self.ways.iter().zip(&samples).enumerate() {
            let is_ours = name.starts_with("Client");
            let budget = |budget| (is_ours && self.has_budget).then_some(budget);
            let ratio = own.ratio(&[bare]);
            let faster = ipvsadm.ratio(&[own]);
            let written = |budget: Option<f64>| budget.map(|it| it.to_string()).unwrap_or_default();
            table.row([
                format!("{}: {name}", self.work),
                format!("{:.2}", own.median() / 1e6),
                format!("{:.2}", own.best() / 1e6),
                if place == 0 {
                    String::new()
                } else {
                    format!("{ratio:.2}")
                },
                written(budget(BARE_BUDGET)),
                verdict(ratio, budget(BARE_BUDGET)).into(),
                if place == last {
                    String::new()
                } else {
                    format!("{faster:.1}")
                },
                written(budget(IPVSADM_BUDGET)),
                verdict(-faster, budget(-IPVSADM_BUDGET)).into(),
            ]);
        }
        Ok(())
    }
}

/// The time that a way takes. The fastest of several tries counts: on a busy machine the others
/// measure the machine.
fn fastest(prepare: &mut Step<'_>, way: &mut Step<'_>) -> Result<Duration, Error> {
    let (mut fastest, mut spent) = (Duration::MAX, Duration::ZERO);
    for _ in 0..if is_quick() { 3 } else { 10 } {
        prepare()?;
        thread::sleep(PAUSE);
        let start = Instant::now();
        way()?;
        let time = start.elapsed();
        fastest = fastest.min(time);
        spent += time;
        if spent > SHORT {
            break;
        }
    }
    Ok(fastest)
}

fn sort(servers: &mut [VirtualServer]) {
    for server in &mut *servers {
        server.destinations.sort_unstable();
    }
    servers.sort_unstable_by_key(|server| server.service);
}

/// An empty table, and its clients.
struct Empty {
    bare: Bare,
    client: Client,
}

impl Empty {
    /// Enters a new namespace, which lives as long as the clients.
    fn new() -> Result<Self, Error> {
        Namespace::new()?.enter()?;
        Ok(Self {
            bare: Bare::open()?,
            client: Client::open()?,
        })
    }
}

fn with_last(
    tables: &RefCell<Vec<Empty>>,
    work: impl FnOnce(&mut Empty) -> Result<(), Error>,
) -> Result<(), Error> {
    work(tables.borrow_mut().last_mut().ok_or("no table")?)
}

/// Fills an empty table.
fn load<'a>(wanted: &[VirtualServer], folder: &Path) -> Result<Contest<'a>, Error> {
    let changes = additions(wanted);
    let text = write(folder, "load", &rules::print(wanted, Form::Ipvsadm))?;
    let batches = Bare::open()?.changes(&changes);
    // The last one is empty. The others are kept.
    let tables = Rc::new(RefCell::new(vec![Empty::new()?]));
    let (for_bare, for_client) = (tables.clone(), tables.clone());
    Ok(Contest {
        work: "load".into(),
        prepare: Box::new(move || {
            tables.borrow_mut().push(Empty::new()?);
            Ok(())
        }),
        ways: vec![
            (
                "bare batches of 64",
                Box::new(move || with_last(&for_bare, |it| it.bare.change(&batches))),
            ),
            (
                "Client::apply",
                Box::new(move || with_last(&for_client, |it| apply(&mut it.client, &changes))),
            ),
            ("ipvsadm -R", Box::new(move || ipvsadm("-R", Some(&text)))),
        ],
        outcome: wanted.to_vec(),
        has_budget: true,
    })
}

/// Reads an existing table.
fn read<'a>(wanted: &[VirtualServer]) -> Result<Contest<'a>, Error> {
    let (mut one, mut two) = (Bare::open()?, Bare::open()?);
    let questions = two.lists(&keys(wanted));
    let questions_of_one = questions.clone();
    let (mut client, mut careful) = (Client::open()?, Client::open()?);
    let services = wanted.len();
    let whole = move |found: usize| {
        if found == services {
            Ok(())
        } else {
            Err(Error::from(format!("{found} services, not {services}")))
        }
    };
    Ok(Contest {
        work: "read".into(),
        prepare: Box::new(|| Ok(())),
        ways: vec![
            (
                "bare, recvmmsg",
                Box::new(move || two.read(&questions, Receive::Two).map(drop)),
            ),
            (
                "bare, recv",
                Box::new(move || one.read(&questions_of_one, Receive::One).map(drop)),
            ),
            (
                "Client::table",
                Box::new(move || whole(client.table()?.entries.len())),
            ),
            (
                "Client::confirmed_table",
                Box::new(move || whole(careful.confirmed_table()?.entries.len())),
            ),
            ("ipvsadm -Sn", Box::new(|| ipvsadm("-Sn", None))),
            ("ipvsadm -Ln", Box::new(|| ipvsadm("-Ln", None))),
        ],
        outcome: wanted.to_vec(),
        has_budget: false,
    })
}

/// Changes the weight of every destination.
fn edit<'a>(
    wanted: &[VirtualServer],
    destinations: usize,
    folder: &Path,
) -> Result<Contest<'a>, Error> {
    let mut outcome = wanted.to_vec();
    let edits = set_weight(&mut outcome, destinations, Weight::from(2));
    let reverts = set_weight(&mut wanted.to_vec(), destinations, Weight::from(1));
    let text = write(folder, "edit", &edit_text(&edits))?;
    let mut bare = Bare::open()?;
    let batches = bare.changes(&edits);
    let mut client = Client::open()?;
    let mut reverter = Client::open()?;
    Ok(Contest {
        work: format!("edit {destinations} weights"),
        prepare: Box::new(move || apply(&mut reverter, &reverts)),
        ways: vec![
            (
                "bare batches of 64",
                Box::new(move || bare.change(&batches)),
            ),
            (
                "Client::apply",
                Box::new(move || apply(&mut client, &edits)),
            ),
            ("ipvsadm -R", Box::new(move || ipvsadm("-R", Some(&text)))),
        ],
        outcome,
        has_budget: true,
    })
}

/// Corrects the table, in which some weights are wrong. The client finds them; the other programs
/// get them as input, and read the table anyway.
fn reconcile<'a>(
    wanted: &[VirtualServer],
    differences: usize,
    folder: &Path,
) -> Result<Contest<'a>, Error> {
    let mut outcome = wanted.to_vec();
    let all = outcome.iter().map(|server| server.destinations.len()).sum();
    let before = set_weight(&mut outcome, all, Weight::from(2));
    let spoils = set_weight(&mut wanted.to_vec(), differences, Weight::from(1));
    let edits = before.get(..differences).unwrap_or_default().to_vec();
    let text = write(folder, "reconcile", &edit_text(&edits))?;
    let mut bare = Bare::open()?;
    let (questions, batches) = (bare.lists(&keys(wanted)), bare.changes(&edits));
    let (mut client, mut spoiler) = (Client::open()?, Client::open()?);
    let desired = outcome.clone();
    Ok(Contest {
        work: format!("reconcile {differences} differences"),
        prepare: Box::new(move || apply(&mut spoiler, &spoils)),
        ways: vec![
            (
                "bare, recvmmsg; batches of 64",
                Box::new(move || {
                    bare.read(&questions, Receive::Two)?;
                    bare.change(&batches)
                }),
            ),
            (
                "Client::reconcile",
                Box::new(move || reconcile_with(&mut client, &desired, differences)),
            ),
            (
                "ipvsadm -Sn; -R",
                Box::new(move || {
                    ipvsadm("-Sn", None)?;
                    ipvsadm("-R", Some(&text))
                }),
            ),
        ],
        outcome,
        has_budget: false,
    })
}

fn reconcile_with(
    client: &mut Client,
    desired: &[VirtualServer],
    differences: usize,
) -> Result<(), Error> {
    let mut reconciler = Reconciler::default();
    let report = client.reconcile(&mut reconciler, Wanted::new(desired), Duration::ZERO)?;
    if report.is_complete() && report.applied.len() == differences {
        Ok(())
    } else {
        Err(format!(
            "{} steps, {} failed",
            report.applied.len(),
            report.failed.len()
        )
        .into())
    }
}

fn keys(servers: &[VirtualServer]) -> Vec<ServiceKey> {
    servers.iter().map(|server| server.service.key).collect()
}

fn apply(client: &mut Client, changes: &[Change]) -> Result<(), Error> {
    for result in client.apply(changes) {
        result?;
    }
    Ok(())
}

/// The lines with which ipvsadm makes the same changes of weights.
fn edit_text(edits: &[Change]) -> String {
    let line = |edit: &Change| match edit {
        Change::UpdateDestination {
            service: ServiceKey::Address { address, port, .. },
            destination,
        } => format!(
            "-e -t {address}:{port} -r {} -m -w {}\n",
            destination.key, destination.weight
        ),
        _ => String::new(),
    };
    edits.iter().map(line).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path)
}

/// Runs ipvsadm, with its standard input from a file. Its output is discarded, so that no reader is
/// needed.
fn ipvsadm(option: &str, input: Option<&PathBuf>) -> Result<(), Error> {
    let input = match input {
        Some(path) => File::open(path)?.into(),
        None => Stdio::null(),
    };
    let status = Command::new("ipvsadm")
        .arg(option)
        .stdin(input)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("ipvsadm cannot be run: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ipvsadm {option}: {status}").into())
    }
}
