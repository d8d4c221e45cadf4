//! The driver and keepalived side by side: the same routers, on as many veth pairs as their VRIDs
//! need, between two namespaces. A second keepalived takes part where the environment variable
//! `RECENT_KEEPALIVED` names one.
//!
//! For each case and program: a calm time in which CPU time is measured, and one in which lateness
//! is; half as much, in which system calls are counted; memory; the end of the Active by SIGKILL;
//! and, after a new start, its end in order. Times are the kernel's, taken on the Backup's host.
//! keepalived's configuration is its default, with the exceptions that
//! [`case::Case::keepalived_conf`] names. The name of a case as an argument, such as `"1000 x 10
//! ms"`, leaves out the others.
//!
//! The CPU time of a single router is measured for all programs at the same moment: between two
//! advertisements the processor's caches get cold, and how cold depends on the rest of the machine.

mod bare;
mod flapping;
mod node;

use std::{
    env, fs,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

use vrrp_benches::{
    Error, Table, is_quick,
    process::{self, Memory},
    side_by_side::{
        case::{Case, Side},
        chart,
        wire::{self, Calm, Wire, takeovers},
    },
    verdict,
};
use vrrp_lab::Namespace;

use flapping::Flapping;
use node::{Node, Program};

/// Longer than any step here takes. It is reached only if something is broken.
const LIMIT: Duration = Duration::from_secs(120);

/// How much longer the CPU time of a single router is measured: it advertises rarely.
const LONE: u32 = 10;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side_by_side: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().collect();
    if node::run(&arguments)? {
        return Ok(());
    }
    let mut arguments: Vec<String> = arguments.into_iter().skip(1).collect();
    let svg = take_svg(&mut arguments)?;
    let cases = Case::choose(&arguments)?;
    let calm = if is_quick() {
        Duration::from_millis(500)
    } else {
        Duration::from_secs(4)
    };
    // The kernel allows this only before there is a second thread.
    vrrp_lab::become_root_in_user_namespace()?;

    let recent = env::var_os("RECENT_KEEPALIVED").map(|_| Program::RecentKeepalived);
    let mut table = Table::new(&[
        "routers x interval",
        "program",
        "sent of owed",
        "late",
        "false takeovers",
        "us/advert: Active",
        "Backup",
        "calls/advert: Active",
        "Backup",
        "KiB: private",
        "all processes",
        "resident",
        "last takeover: kill -9",
        "stop",
    ]);
    let mut budgets = Table::new(&["budget", "measured", "limit", ""]);
    let mut not_counted = None;
    // If a case fails, the cases before it are shown.
    let mut result = Ok(());
    for case in cases {
        match add_case(case, recent, calm, &mut table, &mut budgets) {
            Ok(reason) => not_counted = not_counted.or(reason),
            Err(error) => {
                result = Err(format!("{case}: {error}").into());
                break;
            }
        }
    }
    println!("{table}\n{budgets}");
    if let Some(file) = svg {
        fs::write(&file, chart::draw(&table.to_string())?)
            .map_err(|error| format!("write {file}: {error}"))?;
    }
    if let Some(reason) = not_counted {
        println!("System calls were not counted: {reason}");
    }
    if recent.is_none() {
        println!("RECENT_KEEPALIVED names no second keepalived: there was none.");
    }
    result
}

/// Measures a case, and adds its rows. Returns why system calls were not counted.
fn add_case(
    case: Case,
    recent: Option<Program>,
    calm: Duration,
    table: &mut Table,
    budgets: &mut Table,
) -> Result<Option<String>, Error> {
    let peers = [Program::Keepalived].into_iter().chain(recent);
    let programs: Vec<Program> = [Program::Driver].into_iter().chain(peers).collect();
    let measured = measure(&programs, case, calm)?;
    for measured in &measured {
        table.row(measured.row(case));
    }
    let [ours, keepalived, others @ ..] = &measured[..] else {
        return Err("a program was not measured".into());
    };
    for peer in [keepalived].into_iter().chain(others) {
        table.row(ours.ratios(peer));
    }
    let mut bare = Vec::new();
    if case.has_bare_loop() {
        for program in [Program::Bare, Program::BareFrames] {
            let pair = Pair::start(program, Program::Driver, case)?;
            let mut pairs = [pair];
            for [cpu, _] in Pair::cpu_time(&mut pairs, calm)? {
                bare.push(cpu);
                table.row(bare_row(case, program, &pairs[0].calm(calm)?, cpu));
            }
        }
    }
    for (what, value, limit) in ours.budgets(case, keepalived, &bare) {
        budgets.row([
            format!("{case}: {what}"),
            format!("{value:.2}"),
            format!("{limit:.2}"),
            verdict(value, Some(limit)).into(),
        ]);
    }
    Ok(ours.calls.clone().err())
}

/// Takes `--svg FILE` out of the arguments, and returns the file.
fn take_svg(arguments: &mut Vec<String>) -> Result<Option<String>, Error> {
    let Some(place) = arguments.iter().position(|argument| argument == "--svg") else {
        return Ok(None);
    };
    if place + 1 >= arguments.len() {
        return Err("--svg needs the name of a file".into());
    }
    arguments.remove(place);
    Ok(Some(arguments.remove(place)))
}

/// The row of a bare loop: the packets it sent, and its CPU time.
fn bare_row(case: Case, program: Program, calm: &Calm, cpu: f64) -> Vec<String> {
    vec![
        case.to_string(),
        program.name().into(),
        String::new(),
        String::new(),
        calm.false_takeovers.to_string(),
        format!("{cpu:.2}"),
    ]
}

/// The routers of both sides, in their final states.
struct Pair {
    active: Node,
    backup: Node,
    /// The record of the advertisements, while there is one.
    wire: Option<Wire>,
    case: Case,
    flapping: Option<Flapping>,
    /// Without them the cables would vanish with the Active.
    namespaces: [Namespace; 2],
}

impl Pair {
    /// Starts both, in namespaces of their own. The Backup is always `backup`.
    fn start(program: Program, backup: Program, case: Case) -> Result<Self, Error> {
        let namespaces = case.network()?;
        let [here, there] = &namespaces;
        let wire = Wire::record(there)?;
        let started = SystemTime::now();
        let active = Node::start(program, here, case, Side::Active)?;
        wire.wait_for_all(case, Side::Active, started, LIMIT)?;
        let backup = Node::start(backup, there, case, Side::Backup)?;
        thread::sleep(3 * case.interval() + Duration::from_millis(500));
        let flapping = case.flaps.then(|| Flapping::start(&namespaces));
        Ok(Self {
            active,
            backup,
            wire: Some(wire),
            case,
            flapping: flapping.transpose()?,
            namespaces,
        })
    }

    /// Returns the CPU time per advertisement of the Active and of the Backup of each pair, in
    /// microseconds, over the same time. Nothing is recorded: the kernel would charge the
    /// recorder's copy of each packet to the sender.
    fn cpu_time(pairs: &mut [Self], time: Duration) -> Result<Vec<[f64; 2]>, Error> {
        for pair in &mut *pairs {
            pair.wire = None;
        }
        let taken = || {
            let taken = pairs.iter().map(|pair| {
                let nodes = [&pair.active, &pair.backup];
                let [active, backup] = nodes.map(|node| process::cpu_time(node.id()));
                let adverts = wire::received(&pair.namespaces[1])?;
                Ok::<_, Error>(([active?.as_secs_f64(), backup?.as_secs_f64()], adverts))
            });
            taken.collect::<Result<Vec<_>, _>>()
        };
        let before = taken()?;
        thread::sleep(time);
        let after = taken()?;
        for pair in pairs {
            if let Some(flapping) = &pair.flapping {
                flapping.check()?;
            }
            pair.wire = Some(Wire::record(&pair.namespaces[1])?);
        }
        let times = before.into_iter().zip(after);
        Ok(times
            .map(|((before, first), (after, last))| {
                [0, 1].map(|side| (after[side] - before[side]) * 1e6 / (last - first))
            })
            .collect())
    }

    fn wire(&self) -> Result<&Wire, Error> {
        Ok(self.wire.as_ref().ok_or("nothing is recorded")?)
    }

    /// Records the routers for this time.
    fn calm(&self, time: Duration) -> Result<Calm, Error> {
        let start = SystemTime::now();
        thread::sleep(time);
        let end = SystemTime::now();
        Ok(Calm::of(self.case, &self.wire()?.during(start..end)?))
    }

    /// Ends the Active, and returns how long it took until the last router of the Backup
    /// advertised: from the last advert of the same router after SIGKILL, less
    /// Active_Down_Interval; from the order to end, less Skew_Time. In milliseconds.
    fn end(self, end: End) -> Result<f64, Error> {
        let Self {
            active,
            backup,
            wire,
            case,
            flapping: _flapping,
            namespaces: _cables,
        } = self;
        let wire = wire.ok_or("nothing is recorded")?;
        let ended = SystemTime::now();
        // An orderly stop takes some time, while the others take over.
        thread::scope(|scope| {
            let active = scope.spawn(|| match end {
                End::Kill => active.kill().map_err(|error| error.to_string()),
                End::Stop => active.stop().map_err(|error| error.to_string()),
            });
            wire.wait_for_all(case, Side::Backup, ended, LIMIT)?;
            match active.join() {
                Ok(result) => Ok::<(), Error>(result?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })?;
        backup.kill()?;
        let adverts = wire.during(ended - LIMIT..SystemTime::now())?;
        let mut longest = f64::NEG_INFINITY;
        for takeover in takeovers(case, &adverts) {
            let (Some(last), Some(first)) = (takeover.last, takeover.first) else {
                return Err("a router was not taken over".into());
            };
            let (since, protocol) = match end {
                End::Kill => (last, case.active_down_interval()),
                End::Stop => (ended, case.skew_time()),
            };
            let late = first.duration_since(since)?.as_secs_f64() - protocol.as_secs_f64();
            longest = longest.max(late * 1e3);
        }
        Ok(longest)
    }
}

/// How the Active ends.
#[derive(Clone, Copy)]
enum End {
    /// By SIGKILL.
    Kill,
    /// In order: it resigns.
    Stop,
}

/// The measurements of one program.
struct Measured {
    program: Program,
    calm: Calm,
    owed: f64,
    /// Microseconds of CPU time per advert, of the Active and of the Backup.
    cpu: [f64; 2],
    /// System calls per advert, likewise; or why they could not be counted.
    calls: Result<[f64; 2], String>,
    /// Memory of the Active.
    memory: Memory,
    /// Milliseconds by which the last takeover was later than the protocol's own time, after
    /// SIGKILL and after the order to end.
    takeover: Option<[f64; 2]>,
}

/// Measures the programs, in their order.
fn measure(programs: &[Program], case: Case, time: Duration) -> Result<Vec<Measured>, Error> {
    let start = |program: &Program| {
        eprintln!("{case}, {} ...", program.name());
        Pair::start(*program, *program, case)
    };
    let mut measured = Vec::new();
    if case.routers == 1 {
        let mut pairs: Vec<Pair> = programs.iter().map(start).collect::<Result<_, _>>()?;
        let times = Pair::cpu_time(&mut pairs, LONE * time)?;
        for ((pair, program), cpu) in pairs.into_iter().zip(programs).zip(times) {
            measured.push(Measured::of(*program, pair, cpu, time)?);
        }
    } else {
        for program in programs {
            let mut pairs = [start(program)?];
            let times = Pair::cpu_time(&mut pairs, time)?;
            for (pair, cpu) in pairs.into_iter().zip(times) {
                measured.push(Measured::of(*program, pair, cpu, time)?);
            }
        }
    }
    Ok(measured)
}

impl Measured {
    /// Measures everything except the CPU time.
    fn of(program: Program, pair: Pair, cpu: [f64; 2], time: Duration) -> Result<Self, Error> {
        let case = pair.case;
        let calm = pair.calm(time)?;
        let calls = process::system_calls([pair.active.id(), pair.backup.id()], time / 2)
            .map_err(|error| error.to_string());
        #[allow(clippy::cast_precision_loss, reason = "some millions at the most")]
        let calls = calls.map(|calls| calls.map(|calls| 2.0 * calls as f64 / calm.adverts as f64));
        let memory = pair.active.memory()?;
        let takeover = if case.is_overload() {
            None
        } else {
            let after_kill = pair.end(End::Kill)?;
            let after_stop = Pair::start(program, program, case)?.end(End::Stop)?;
            Some([after_kill, after_stop])
        };
        Ok(Self {
            program,
            calm,
            owed: case.adverts_in(time),
            cpu,
            calls,
            memory,
            takeover,
        })
    }

    fn row(&self, case: Case) -> Vec<String> {
        #[allow(clippy::cast_precision_loss, reason = "some millions at the most")]
        let [adverts, late] = [self.calm.adverts, self.calm.late].map(|count| count as f64);
        let calls = |side: usize| match &self.calls {
            Ok(calls) => format!("{:.3}", calls[side]),
            Err(_) => "not counted".into(),
        };
        let takeover = |end: usize| match self.takeover {
            Some(late) => format!("{:+.1} ms", late[end]),
            None => "-".into(),
        };
        vec![
            case.to_string(),
            self.program.name().into(),
            format!("{:.1} %", adverts * 100.0 / self.owed),
            format!("{:.2} %", late * 100.0 / adverts),
            self.calm.false_takeovers.to_string(),
            format!("{:.2}", self.cpu[0]),
            format!("{:.2}", self.cpu[1]),
            calls(0),
            calls(1),
            format!("{:.0}", self.memory.private),
            format!("{:.0}", self.memory.program),
            format!("{:.0}", self.memory.resident),
            takeover(0),
            takeover(1),
        ]
    }

    /// The ratios of the driver to a keepalived.
    fn ratios(&self, keepalived: &Self) -> Vec<String> {
        let cell = |ours: f64, theirs: f64| format!("{:.3}", ours / theirs);
        let calls = |side: usize| match (&self.calls, &keepalived.calls) {
            (Ok(ours), Ok(theirs)) => cell(ours[side], theirs[side]),
            _ => String::new(),
        };
        let (ours, theirs) = (self.memory, keepalived.memory);
        vec![
            String::new(),
            format!("ratio to {}", keepalived.program.name()),
            String::new(),
            String::new(),
            String::new(),
            cell(self.cpu[0], keepalived.cpu[0]),
            cell(self.cpu[1], keepalived.cpu[1]),
            calls(0),
            calls(1),
            cell(ours.private, theirs.private),
            cell(ours.program, theirs.program),
            cell(ours.resident, theirs.resident),
        ]
    }

    /// The budgets of the case: name, measured value, limit.
    fn budgets(
        &self,
        case: Case,
        keepalived: &Self,
        bare: &[f64],
    ) -> Vec<(&'static str, f64, f64)> {
        let mut budgets = Vec::new();
        let ratio = |side: usize| self.cpu[side] / keepalived.cpu[side];
        if let Some(bare) = bare.first() {
            budgets.push(("CPU time by that of a bare loop", self.cpu[0] / bare, 1.3));
            budgets.push(("CPU time by keepalived's", ratio(0), 0.25));
            if let Ok(calls) = &self.calls {
                budgets.push(("system calls per advert", calls[0], 0.1));
            }
        }
        if case.routers == 1 {
            budgets.push(("CPU time of the Active by keepalived's", ratio(0), 1.0));
            budgets.push(("CPU time of the Backup by keepalived's", ratio(1), 1.0));
        }
        if case.interval == 100 && [1, 1000, 5000].contains(&case.routers) {
            let private = self.memory.private / keepalived.memory.private;
            budgets.push(("private memory by keepalived's", private, 1.0));
        }
        if case.interval == 100 && [1000, 5000].contains(&case.routers) {
            let per_router = self.memory.private / f64::from(case.routers);
            budgets.push(("KiB of private memory per router", per_router, 1.26));
        }
        if case.routers == 5000
            && case.interval == 100
            && let Some([after_kill, _]) = self.takeover
        {
            budgets.push((
                "ms that the last takeover after kill -9 is late",
                after_kill,
                50.0,
            ));
        }
        budgets
    }
}
