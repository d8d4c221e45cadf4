//! The VRRP instances, between two namespaces: start, reload, memory.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use vrrp_benches::{
    Error, Table,
    side_by_side::{
        case::{Case, Side, interface, virtual_address},
        wire::{Advert, Calm, Wire},
    },
    verdict,
};
use vrrp_lab::wait_for;

use crate::{LIMIT, program::Program};

/// Intervals that are watched before and after a reload.
const BEFORE: u32 = 2;
const AFTER: u32 = 5;

/// The results of one program.
struct Figures {
    /// From the start to the first advertisement of the first and of the last router, without the
    /// protocol's own time.
    first: Duration,
    last: Duration,
    /// From SIGHUP to the change.
    change: Duration,
    /// Advertisements that came more than half an interval late.
    late: usize,
    longest: Duration,
    /// The written pages of all processes, in KiB.
    memory: f64,
}

/// Measures each program, and prints a table.
pub(crate) fn run(programs: &[Program], case: Case) -> Result<(), Error> {
    let mut table = Table::new(&[
        "instances",
        "first advert ms",
        "last ms",
        "reload: change ms",
        "late adverts",
        "longest gap ms",
        "written KiB",
    ]);
    let mut late = None;
    for program in programs {
        let figures = measure(program, case)?;
        late.get_or_insert(figures.late);
        table.row([
            program.name().to_owned(),
            format!("{:+.1}", milliseconds(figures.first)),
            format!("{:+.1}", milliseconds(figures.last)),
            format!("{:.1}", milliseconds(figures.change)),
            figures.late.to_string(),
            format!("{:.0}", milliseconds(figures.longest)),
            format!("{:.0}", figures.memory),
        ]);
    }
    println!(
        "{case}; first advertisements after {} ms of the protocol; one instance of the file gets \
         another address\n{table}",
        waits_for(case).as_millis()
    );
    let late = late.unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "some thousands at the most")]
    let is_met = verdict(late as f64, Some(0.0));
    println!(
        "advertisements late by half an interval in a reload: {late} of 0 allowed, {is_met}\n"
    );
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Active_Down_Interval of the side that starts (RFC 9568 section 6.1).
fn waits_for(case: Case) -> Duration {
    3 * case.interval() + case.interval() * (256 - u32::from(Side::Active.priority())) / 256
}

fn measure(program: &Program, case: Case) -> Result<Figures, Error> {
    let [here, there] = case.network()?;
    let wire = Wire::record(&there)?;
    let text = case.keepalived_conf(Side::Active.priority());
    let started = SystemTime::now();
    let running = program.start(&here, &text, &["--vrrp"])?;
    let started_all = wire.wait_for_all(case, Side::Active, started, LIMIT);
    started_all.map_err(|error| format!("{}: {error}: {}", program.name(), running.log()))?;
    let [first, last] = firsts(case, &wire.during(started..SystemTime::now())?, started)?;

    thread::sleep(BEFORE * case.interval());
    let reloaded = SystemTime::now();
    let more = virtual_address(0, 251);
    let old = format!("{}/32", virtual_address(0, 1));
    running.reload(&text.replacen(&old, &format!("{old}\n    {more}/32"), 1))?;
    let is_there = || {
        let addresses = here.addresses(&interface(0));
        let found = addresses.map(|all| all.iter().any(|it| it.addr() == more));
        found.map(|found| found.then_some(())).transpose()
    };
    wait_for("the change", LIMIT, is_there)
        .map_err(|error| format!("{}: {error}: {}", program.name(), running.log()))??;
    let change = SystemTime::now().duration_since(reloaded)?;
    thread::sleep(AFTER * case.interval());
    let adverts = wire.during(reloaded - BEFORE * case.interval()..SystemTime::now())?;
    let calm = Calm::of(case, &adverts);
    let memory = running.memory()?;
    running.stop()?;
    Ok(Figures {
        first,
        last,
        change,
        late: calm.late,
        longest: longest_gap(case, &adverts),
        memory,
    })
}

/// From a time to the first advertisement of the first and the last router, without the protocol's
/// own time.
fn firsts(case: Case, adverts: &[Advert], since: SystemTime) -> Result<[Duration; 2], Error> {
    let mut firsts: Vec<Option<SystemTime>> = vec![None; case.routers.into()];
    for advert in adverts {
        if let Some(first) = firsts.get_mut(advert.router) {
            first.get_or_insert(advert.at);
        }
    }
    let all: Option<Vec<SystemTime>> = firsts.into_iter().collect();
    let all = all.ok_or("a router has not advertised")?;
    let since = since + waits_for(case);
    let ends = [all.iter().min(), all.iter().max()];
    let ends = ends.map(|end| end.and_then(|end| end.duration_since(since).ok()));
    Ok(ends.map(Option::unwrap_or_default))
}

/// The longest time between two advertisements of one router.
fn longest_gap(case: Case, adverts: &[Advert]) -> Duration {
    let mut last: Vec<Option<SystemTime>> = vec![None; case.routers.into()];
    let mut longest = Duration::ZERO;
    for advert in adverts {
        if let Some(last) = last.get_mut(advert.router)
            && let Some(before) = last.replace(advert.at)
        {
            longest = longest.max(advert.at.duration_since(before).unwrap_or_default());
        }
    }
    longest
}
