//! One run, and everything that is recorded of it.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vrrp_fsm::{
    Instant,
    sim::{Fault, Host, Occurrence, Property, Scenario, Simulation, Trace, Violation, minimise},
};

use crate::{
    Failure, Options,
    capture::Capture,
    report::{Broken, Report},
    setting::Setting,
    svg::Timeline,
};

/// How often the progress is shown, in simulated time.
const STRIDE: Duration = Duration::from_secs(10);

/// The most replays that the search for the fewest faults makes.
const REPLAYS: u32 = 400;

pub(crate) fn new_seed() -> Result<u64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

pub(crate) fn run<H: Host>(
    options: &Options,
    setting: &Setting,
    seed: u64,
    replayed: Option<&Trace>,
) -> Result<Report, Failure> {
    let scenario = setting.scenario()?;
    let simulation = || match replayed {
        None => Simulation::<H>::new(&scenario, seed),
        Some(trace) => Simulation::<H>::replay(&scenario, trace),
    };
    let mut notes = Notes::open(options, setting, seed)?;
    let mut report = Report::new(setting, seed);
    let start = Clock::now();
    let progress = progress(options, setting.end());
    let mut network = simulation()?;
    let mut first: Option<Violation> = None;
    let mut failure = None;
    while network.now() < setting.end() && first.is_none() && failure.is_none() {
        let next = (network.now() + STRIDE).min(setting.end());
        let mut goes_on = true;
        while goes_on && first.is_none() && failure.is_none() {
            goes_on = network.step(next, &mut |at, occurrence| {
                report.note(occurrence);
                if let Occurrence::Violated(violation) = occurrence {
                    first.get_or_insert_with(|| (*violation).clone());
                }
                if let Err(error) = notes.note(at, occurrence) {
                    failure.get_or_insert(error);
                }
            });
        }
        if !goes_on {
            // Nothing happens before that time.
            network.run_until(next, &mut |_, _| {});
        }
        progress.set_position(seconds(network.now()));
    }
    progress.finish_and_clear();
    if let Some(failure) = failure {
        return Err(failure);
    }
    let end = network.now();
    report.end(
        end - Instant::ZERO,
        start.elapsed(),
        |property: Property| network.checks(property),
    );
    notes.close(options, end)?;
    if let Some(violation) = first {
        let at = violation.at;
        let trace = match replayed {
            Some(trace) => trace.clone(),
            None => faults_until(simulation()?, seed, at),
        };
        let least = least::<H>(&scenario, &trace, violation.property, at)?;
        report.broken = Some(Broken::new(&violation, setting, &least));
    }
    Ok(report)
}

/// Runs the same simulation again, and returns the faults that led to the violation.
fn faults_until<H: Host>(mut simulation: Simulation<H>, seed: u64, end: Instant) -> Trace {
    let mut faults: Vec<(Instant, Fault)> = Vec::new();
    simulation.run_until(end, &mut |at, occurrence| {
        if let Occurrence::Fault(fault) = occurrence {
            faults.push((at, (*fault).clone()));
        }
    });
    Trace { seed, faults }
}

fn least<H: Host>(
    scenario: &Scenario,
    trace: &Trace,
    property: Property,
    end: Instant,
) -> Result<Trace, Failure> {
    let least = minimise::<H>(scenario, trace, property, end, REPLAYS)?;
    Ok(least.ok_or("the replay of the faults did not break the property again")?)
}

fn seconds(at: Instant) -> u64 {
    (at - Instant::ZERO).as_secs()
}

fn progress(options: &Options, end: Instant) -> ProgressBar {
    let target = if options.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template(
        "{bar:40} {percent:>3} % of {len} s, {per_sec:.0} simulated seconds a second, {eta} left",
    );
    let progress = ProgressBar::with_draw_target(Some(seconds(end)), target);
    match style {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

/// Creates a file. An error names the file.
pub(crate) fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BufWriter::new(file))
}

/// The files that are written during the run.
struct Notes {
    trace: Option<BufWriter<File>>,
    capture: Option<Capture>,
    timeline: Option<Timeline>,
}

impl Notes {
    fn open(options: &Options, setting: &Setting, seed: u64) -> Result<Self, Failure> {
        let trace = match &options.trace {
            None => None,
            Some(path) => {
                let mut file = create(path)?;
                writeln!(file, "{}\nseed {seed}", setting.line())?;
                Some(file)
            }
        };
        let capture = options.pcap.as_deref().map(Capture::create).transpose()?;
        let timeline = options.svg.is_some().then(|| Timeline::new(setting));
        Ok(Self {
            trace,
            capture,
            timeline,
        })
    }

    fn note(&mut self, at: Instant, occurrence: &Occurrence<'_>) -> Result<(), Failure> {
        if let Some(file) = &mut self.trace {
            writeln!(file, "{}", Trace::line(at, occurrence))?;
        }
        if let Some(capture) = &mut self.capture {
            capture.note(at, occurrence)?;
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.note(at, occurrence);
        }
        Ok(())
    }

    fn close(self, options: &Options, end: Instant) -> Result<(), Failure> {
        if let Some(mut file) = self.trace {
            file.flush()?;
        }
        if let Some(capture) = self.capture {
            capture.close()?;
        }
        if let (Some(timeline), Some(path)) = (self.timeline, &options.svg) {
            let mut file = create(path)?;
            file.write_all(timeline.draw(end).as_bytes())?;
            file.flush()?;
        }
        Ok(())
    }
}
