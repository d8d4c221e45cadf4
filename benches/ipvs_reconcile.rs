//! Time to find out that nothing has to be done: `reconcile` beside `table()` and `ipvsadm -Ln`,
//! for services with 0 to 500 destinations; and of one service in a table of 10,000.
//!
//! `cargo bench -p vrrp-benches --bench ipvs_reconcile [-- --quick] [--all]` boots user-mode Linux,
//! and with `--all` the emulated kernels too.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ipvs_netlink::{
    AsyncClient, Client, VirtualServer, Weight,
    plan::{ReconcileReport, Reconciler, Scope, Wanted},
};
use vrrp_benches::{
    Error, Samples, Table,
    ipvs::{additions, servers, set_weight},
    is_quick, run_guest, verdict,
};
use vrrp_lab::{Guest, Kernel, Namespace};

/// The most time that a reconciliation without differences may take, as a multiple of `table()`'s.
const TABLE_BUDGET: f64 = 2.0;

/// The time of one service in a large table, in milliseconds.
const ONE_BUDGET: f64 = 2.0;

const DESTINATIONS: [u16; 14] = [0, 1, 5, 8, 9, 10, 11, 50, 80, 90, 91, 100, 200, 500];

/// Services of the large table.
const MANY: u16 = 10_000;

fn main() -> Result<(), Error> {
    if Kernel::current().is_some() {
        return measure();
    }
    let is_all = env::args().any(|argument| argument == "--all");
    let kernels = if is_all {
        Kernel::ALL
    } else {
        &[Kernel::Uml6_1]
    };
    for kernel in kernels {
        let guest = Guest {
            arguments: env::args_os().skip(1).collect(),
            files: vec![Path::new("/sbin/ipvsadm").canonicalize()?],
            memory: 512,
            limit: Duration::from_secs(900),
            ..Guest::new(env::current_exe()?)
        };
        run_guest(*kernel, &guest)?;
    }
    Ok(())
}

fn measure() -> Result<(), Error> {
    let rounds = if is_quick() { 3 } else { 9 };
    println!(
        "Linux {}, medians of {rounds} rounds\n",
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()
    );
    let mut table = Table::new(&[
        "services x destinations",
        "table ms",
        "reconcile ms",
        "x table",
        "budget",
        "",
        "tokio ms",
        "x table",
        "budget",
        "",
        "ipvsadm -Ln ms",
        "x faster",
        "budget",
        "",
    ]);
    for destinations in DESTINATIONS {
        let services = (4_000 / (destinations + 20)).max(4);
        whole(services, destinations, rounds, &mut table)?;
    }
    println!("{table}");
    println!("{}", one_of_many(rounds)?);
    Ok(())
}

/// Fills the table of a new namespace.
fn fill(servers: &[VirtualServer]) -> Result<Client, Error> {
    Namespace::new()?.enter()?;
    let mut client = Client::open()?;
    for result in client.apply(&additions(servers)) {
        result?;
    }
    Ok(client)
}

fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<(Duration, T), Error> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed(), result))
}

/// Checks that a report shows nothing to do.
fn nothing(report: &ReconcileReport) -> Result<(), Error> {
    if *report == ReconcileReport::default() {
        Ok(())
    } else {
        Err(format!("not as wanted: {report:?}").into())
    }
}

fn whole(services: u16, destinations: u16, rounds: usize, table: &mut Table) -> Result<(), Error> {
    let wanted = servers(services, destinations);
    let mut client = fill(&wanted)?;
    let mut reconciler = Reconciler::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut waiting = runtime.block_on(AsyncClient::open())?;
    let mut times: [Vec<Duration>; 4] = Default::default();
    // The first round does not count.
    for round in 0..=rounds {
        let (read, _) = timed(|| Ok(client.table()?))?;
        let (blocked, report) = timed(|| {
            Ok(client.reconcile(&mut reconciler, Wanted::new(&wanted), Duration::ZERO)?)
        })?;
        nothing(&report)?;
        let (awaited, report) = timed(|| {
            let future = waiting.reconcile(&mut reconciler, Wanted::new(&wanted), Duration::ZERO);
            Ok(runtime.block_on(future)?)
        })?;
        nothing(&report)?;
        let (listed, ()) = timed(|| ipvsadm(&["-Ln"]))?;
        if round > 0 {
            for (list, time) in times.iter_mut().zip([read, blocked, awaited, listed]) {
                list.push(time);
            }
        }
    }
    let [read, blocking, waiting, ipvsadm] = times.map(Samples::from_iter);
    let milliseconds = |samples: &Samples| format!("{:.2}", samples.median() / 1e6);
    let cells = |ratio: f64| {
        [
            format!("{ratio:.2}"),
            TABLE_BUDGET.to_string(),
            verdict(ratio, Some(TABLE_BUDGET)).into(),
        ]
    };
    let faster = ipvsadm.ratio(&[&blocking]);
    let mut row = vec![
        format!("{services} x {destinations}"),
        milliseconds(&read),
        milliseconds(&blocking),
    ];
    row.extend(cells(blocking.ratio(&[&read])));
    row.push(milliseconds(&waiting));
    row.extend(cells(waiting.ratio(&[&read])));
    row.extend([
        milliseconds(&ipvsadm),
        format!("{faster:.1}"),
        "1".into(),
        verdict(-faster, Some(-1.0)).into(),
    ]);
    table.row(row);
    Ok(())
}

/// One service of many, without and with a difference, beside ipvsadm's list of that service.
fn one_of_many(rounds: usize) -> Result<Table, Error> {
    let all = servers(MANY, 1);
    let mut client = fill(&all)?;
    let mut wanted = vec![all[usize::from(MANY / 2)].clone()];
    let key = wanted[0].service.key;
    let ours = [key];
    let mut reconciler = Reconciler::default();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..=rounds {
        let mut reconcile = |servers: &[VirtualServer]| {
            let wanted = Wanted::new(servers).within(Scope::Services(&ours));
            timed(|| Ok(client.reconcile(&mut reconciler, wanted, Duration::ZERO)?))
        };
        let (same, report) = reconcile(&wanted)?;
        nothing(&report)?;
        let weight = u16::try_from(round + 2)?;
        set_weight(&mut wanted, 1, Weight::from(weight));
        let (different, report) = reconcile(&wanted)?;
        if report.applied.len() != 1 {
            return Err(format!("not one change: {report:?}").into());
        }
        let service = key.to_string().replace("tcp ", "");
        let (listed, ()) = timed(|| ipvsadm(&["-Ln", "-t", &service]))?;
        if round > 0 {
            for (list, time) in times.iter_mut().zip([same, different, listed]) {
                list.push(time);
            }
        }
    }
    let mut table = Table::new(&["one service of 10,000", "median ms", "budget", ""]);
    let names = ["reconcile, nothing differs", "reconcile, a weight differs"];
    let budgets = [Some(ONE_BUDGET), Some(ONE_BUDGET), None];
    let names = names.into_iter().chain(["ipvsadm -Ln -t"]);
    for ((name, times), budget) in names.zip(times).zip(budgets) {
        let time = Samples::from_iter(times).median() / 1e6;
        table.row([
            name.to_owned(),
            format!("{time:.2}"),
            budget.map(|budget| budget.to_string()).unwrap_or_default(),
            verdict(time, budget).into(),
        ]);
    }
    Ok(table)
}

fn ipvsadm(arguments: &[&str]) -> Result<(), Error> {
    let status = Command::new("ipvsadm")
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("ipvsadm cannot be run: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ipvsadm {arguments:?}: {status}").into())
    }
}
