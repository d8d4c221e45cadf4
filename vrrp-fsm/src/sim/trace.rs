//! A run as text, and the minimisation of its faults.

use alloc::{string::ToString, vec::Vec};
use core::{fmt, str::FromStr};

use super::{
    Fault, Host, Occurrence, Property, Scenario, ScenarioError, Simulation, TraceSyntax,
    fault::Seconds,
};
use crate::Instant;

/// The faults of a run. As text it has a line for the seed and one for each fault:
///
/// ```
/// use vrrp_fsm::sim::Trace;
///
/// let text = "seed 7\n12.000000000 crash 2 for 1.500000000\n13.250000000 lose 0 17>1\n";
/// let trace: Trace = text.parse()?;
/// assert_eq!(trace.faults.len(), 2);
/// assert_eq!(trace.to_string(), text);
/// # Ok::<(), vrrp_fsm::sim::TraceSyntax>(())
/// ```
///
/// Parsing skips empty lines, lines that begin with `#`, and all other [`Occurrence`]s, which
/// follow from the faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The seed, which determines the delay of each message.
    pub seed: u64,
    /// The faults with their times. The time of a message's fault is for the reader only: it is the
    /// time at which that message is sent.
    pub faults: Vec<(Instant, Fault)>,
}

/// The first words of lines that are not faults.
const CONSEQUENCES: [&str; 8] = [
    "over",
    "sent",
    "announced",
    "received",
    "discarded",
    "timeout",
    "state",
    "violated",
];

impl Trace {
    /// The line that begins every trace.
    const SEED: &str = "seed ";

    /// Returns the line of an occurrence: the time in seconds with nine digits, and the text.
    ///
    /// The lines of all occurrences after that of the seed are the complete trace of a run.
    #[must_use]
    pub fn line(at: Instant, occurrence: &Occurrence<'_>) -> impl fmt::Display {
        Line(at, occurrence.to_string())
    }
}

struct Line<T>(Instant, T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at, what) = self;
        write!(f, "{} {what}", Seconds(*at - Instant::ZERO))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}", Self::SEED, self.seed)?;
        for (at, fault) in &self.faults {
            writeln!(f, "{}", Line(*at, fault))?;
        }
        Ok(())
    }
}

impl FromStr for Trace {
    type Err = TraceSyntax;

    fn from_str(text: &str) -> Result<Self, TraceSyntax> {
        let mut trace = Self::default();
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (number, line) in lines.enumerate() {
            let wrong = |reason| TraceSyntax {
                line: line.into(),
                reason,
            };
            if number == 0 {
                let seed = line
                    .strip_prefix(Self::SEED)
                    .and_then(|seed| seed.parse().ok());
                trace.seed = seed.ok_or_else(|| wrong("the first line is `seed` and a number"))?;
                continue;
            }
            let (at, what) = line.split_once(' ').ok_or_else(|| wrong("no time"))?;
            let Seconds(at) = at.parse().map_err(wrong)?;
            let word = what.split(' ').next().unwrap_or_default();
            if !CONSEQUENCES.contains(&word) {
                trace.faults.push((Instant::ZERO + at, what.parse()?));
            }
        }
        Ok(trace)
    }
}

/// Returns the faults necessary to break a property, found by leaving out more and more faults
/// (Zeller, Hildebrandt, "Simplifying and isolating failure-inducing input", 2002), or `None` if
/// the trace does not break it. Without any single one of these faults the property holds, unless
/// `runs` replays were too few to show this. The first replay shows whether the trace breaks the
/// property. Each replay ends at `end`.
///
/// # Errors
///
/// As for [`Simulation::new`].
pub fn minimise<H: Host>(
    scenario: &Scenario,
    trace: &Trace,
    property: Property,
    end: Instant,
    runs: u32,
) -> Result<Option<Trace>, ScenarioError> {
    let mut runs = runs;
    let mut breaks = |faults: &[(Instant, Fault)]| -> Result<bool, ScenarioError> {
        let Some(rest) = runs.checked_sub(1) else {
            return Ok(false);
        };
        runs = rest;
        let trace = Trace {
            seed: trace.seed,
            faults: faults.to_vec(),
        };
        is_broken::<H>(scenario, &trace, property, end)
    };
    let mut faults = trace.faults.clone();
    if !breaks(&faults)? {
        return Ok(None);
    }
    let mut parts = 2;
    while !faults.is_empty() {
        let size = faults.len().div_ceil(parts);
        let mut start = 0;
        let mut is_smaller = false;
        while start < faults.len() {
            let end = (start + size).min(faults.len());
            let mut rest = faults.clone();
            rest.drain(start..end);
            if breaks(&rest)? {
                faults = rest;
                is_smaller = true;
            } else {
                start = end;
            }
        }
        if size == 1 && !is_smaller {
            break;
        }
        parts = (parts * 2).min(faults.len()).max(1);
    }
    Ok(Some(Trace {
        seed: trace.seed,
        faults,
    }))
}

fn is_broken<H: Host>(
    scenario: &Scenario,
    trace: &Trace,
    property: Property,
    end: Instant,
) -> Result<bool, ScenarioError> {
    let mut simulation = Simulation::<H>::replay(scenario, trace)?;
    let mut is_broken = false;
    while !is_broken {
        let goes_on = simulation.step(end, &mut |_, occurrence| {
            is_broken |= matches!(occurrence, Occurrence::Violated(violation) if violation.property == property);
        });
        if !goes_on {
            break;
        }
    }
    Ok(is_broken)
}
