//! The program `keepalived` beside keepalived, with one configuration of 1,000 VRRP instances and
//! 1,000 virtual servers of 10 real servers.
//!
//! `cargo bench -p vrrp-benches --bench keepalived [-- --quick]` builds the program. It is measured
//! beside the installed keepalived, and beside the recent one of `RECENT_KEEPALIVED` where that is
//! set.
//!
//! * The check of the file (`-t`) and the instances run in namespaces of this host.
//! * The virtual servers run in user-mode Linux, because not every kernel has IPVS. Its times are
//!   several times those of a host.

mod configuration;
mod instances;
mod program;
mod servers;

use std::{
    env,
    process::{Command, ExitCode},
    time::Duration,
};

use vrrp_benches::{Error, Samples, Table, is_quick, run_guest, side_by_side::case::Case, verdict};
use vrrp_lab::{Guest, Kernel, Namespace, example};

use program::Program;

/// Longer than any step here takes. It is reached only if something is broken.
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let result = if Kernel::current().is_some() {
        servers::run()
    } else {
        run()
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keepalived: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "vrrp-examples"])
        .args(["--example", "keepalived"])
        .status()?;
    if !status.success() {
        return Err(format!("the program cannot be built: {status}").into());
    }
    let programs = Program::all()?;
    // The kernel allows this only before there is a second thread.
    vrrp_lab::become_root_in_user_namespace()?;
    let case = Case {
        routers: if is_quick() { 20 } else { 1000 },
        interval: 100,
        flaps: false,
    };
    check(&programs, case)?;
    instances::run(&programs, case)?;
    boot(&programs)
}

/// The time of `-t` for the whole configuration.
fn check(programs: &[Program], case: Case) -> Result<(), Error> {
    let rounds = if is_quick() { 3 } else { 15 };
    let size = configuration::Size::for_host();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keepalived.conf");
    let text = configuration::with_servers(&case.keepalived_conf(100), size);
    std::fs::write(&file, &text)?;
    // The interfaces of the instances have to exist.
    let [here, _there] = case.network()?;
    let mut times = vec![Vec::new(); programs.len()];
    for _ in 0..rounds {
        for (program, times) in programs.iter().zip(&mut times) {
            times.push(program.check(&here, &file)?);
        }
    }
    let times = times.into_iter().map(Samples::from_iter);
    let times: Vec<Samples> = times.collect();
    let mut table = Table::new(&["-t", "best ms", "median ms", "ratio to it", "budget 1"]);
    let [ours, ..] = &times[..] else {
        return Err("no program".into());
    };
    for (place, (program, samples)) in programs.iter().zip(&times).enumerate() {
        let mut row = vec![
            program.name().to_owned(),
            format!("{:.1}", samples.best() / 1e6),
            format!("{:.1}", samples.median() / 1e6),
        ];
        if place > 0 {
            let ratio = ours.ratio(&[samples]);
            row.push(format!("{ratio:.2}"));
            row.push(verdict(ratio, Some(1.0)).into());
        }
        table.row(row);
    }
    println!(
        "{} instances, {} virtual servers of {}: {} lines\n{table}",
        case.routers,
        size.services,
        size.servers,
        text.lines().count()
    );
    Ok(())
}

/// Measures the virtual servers in a guest.
fn boot(programs: &[Program]) -> Result<(), Error> {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    arguments.extend(programs.iter().map(Program::argument));
    let guest = Guest {
        arguments,
        files: vec![example("keepalived")?],
        memory: 1024,
        limit: Duration::from_secs(1_800),
        ..Guest::new(env::current_exe()?)
    };
    run_guest(Kernel::Uml6_1, &guest)
}

/// A namespace of a guest in which any address of 10.0.0.0/8 is one of its own.
fn guest_network() -> Result<Namespace, Error> {
    let namespace = Namespace::new()?;
    let mut command = namespace.command("ip");
    command.args(["route", "add", "local", "10.0.0.0/8", "dev", "lo"]);
    let status = command.status()?;
    if status.success() {
        Ok(namespace)
    } else {
        Err(format!("ip route add: {status}").into())
    }
}
