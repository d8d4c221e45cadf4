//! Compares the kernel's table with the one that a file describes (`--diff`), or makes it the same
//! (`--apply`).

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    VirtualServer,
    plan::{Drain, Draining, Policy, ReconcileReport, Reconciler, Wanted, plan},
};

use crate::{failure::Failure, session::Session, table_file};

/// How long removed servers may keep connections, unless `--drain` says otherwise.
const DRAIN: Duration = Duration::from_secs(30);

/// The time between two checks of the connections of removed servers.
const PATIENCE: Duration = Duration::from_millis(250);

/// Prints what would have to change, one change a line. The exit status is 1 if anything would.
pub(crate) fn diff(words: &[&str]) -> Result<ExitCode, Failure> {
    let [path] = words else {
        return Err(Failure::Option("--diff: one FILE is needed"));
    };
    let wanted = table_file::read(path)?;
    let mut session = Session::new(io::stdout().lock());
    let table = session.table()?;
    let nothing = Draining::default();
    let wanted = Wanted::new(&wanted);
    let plan = plan(&table, wanted, &Policy::AT_ONCE, &nothing, Duration::ZERO);
    if let Some(rejected) = plan.rejected.first() {
        return Err((*rejected).into());
    }
    for step in &plan.steps {
        writeln!(session.out(), "{}", step.change)?;
    }
    Ok(u8::from(!plan.steps.is_empty()).into())
}

/// Brings the kernel's table to the wanted state, and prints each change.
pub(crate) fn apply(words: &[&str]) -> Result<ExitCode, Failure> {
    let (path, drain) = match *words {
        [path] => (path, DRAIN),
        [path, "--drain", seconds] | ["--drain", seconds, path] => {
            let seconds = seconds.parse::<u32>().ok();
            let seconds = seconds.ok_or(Failure::Option("--drain: a number of seconds"))?;
            (path, Duration::from_secs(seconds.into()))
        }
        _ => {
            return Err(Failure::Option(
                "--apply: one FILE is needed, and perhaps --drain SECONDS",
            ));
        }
    };
    let wanted = table_file::read(path)?;
    reconcile(&mut Session::new(io::stdout().lock()), &wanted, drain)
}

/// Applies the differences, and checks removed servers repeatedly until they have no connections or
/// their time is over.
fn reconcile(
    session: &mut Session<impl Write>,
    wanted: &[VirtualServer],
    drain: Duration,
) -> Result<ExitCode, Failure> {
    let mut reconciler = Reconciler::new(Policy::drained(Drain {
        at_most: drain,
        at_most_udp: drain,
        ..Drain::default()
    }));
    let begun = Instant::now();
    let mut said = Vec::new();
    loop {
        let client = session.client()?;
        let now = begun.elapsed();
        let result = client.reconcile(&mut reconciler, Wanted::new(wanted), now);
        let (report, error) = match result {
            Ok(report) => (report, None),
            Err(failed) => (*failed.report, Some(failed.error)),
        };
        for step in &report.applied {
            writeln!(session.out(), "{step}")?;
        }
        session.out().flush()?;
        if let Some(error) = error {
            return Err(error.into());
        }
        // A refused step is tried again at each check of the servers that drain.
        let problems = problems(&report);
        if problems != said {
            for problem in &problems {
                let _ = writeln!(io::stderr(), "ipvsadm: {problem}");
            }
        }
        let Some(wait) = report.wait.filter(|_| !report.contended) else {
            return Ok(if problems.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(255)
            });
        };
        said = problems;
        thread::sleep(wait.min(PATIENCE));
    }
}

fn problems(report: &ReconcileReport) -> Vec<String> {
    let rejected = report.rejected.iter().map(ToString::to_string);
    let failed = report.failed.iter();
    let held_back = report.held_back.iter();
    let contended = report
        .contended
        .then(|| "another program changes the table all the time".to_owned());
    let incomplete = report
        .may_be_incomplete
        .then(|| "the table changes all the time: something unwanted may be left".to_owned());
    rejected
        .chain(failed.map(|failure| failure.error.to_string()))
        .chain(held_back.map(|step| format!("skipped, no replacement could be added: {step}")))
        .chain(contended)
        .chain(incomplete)
        .collect()
}
