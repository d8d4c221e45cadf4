//! The timeline as text.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use vrrp_fsm::State;

use crate::{
    report::{Report, answered, parts},
    scenario::{Phase, Recording, Setting},
};

const WIDTH: usize = 96;

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const BLUE: &str = "\x1b[34m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

pub(crate) fn print(
    out: &mut impl Write,
    setting: &Setting,
    recording: &Recording,
    report: &Report,
) -> io::Result<()> {
    let colour = |code: &'static str| {
        if io::stdout().is_terminal() { code } else { "" }
    };
    let step = (recording.to - recording.from) / u32::try_from(WIDTH).unwrap_or(u32::MAX);
    let moment = |column: usize| recording.from + step * u32::try_from(column).unwrap_or(u32::MAX);
    let plain = colour(PLAIN);

    writeln!(out)?;
    writeln!(
        out,
        "{:10}{}{}{plain}",
        "",
        colour(BOLD),
        names(report, step)
    )?;
    for (place, (lane, priority)) in recording.lanes.iter().zip(&setting.priorities).enumerate() {
        let parts = parts(lane, recording);
        let mut line = String::new();
        for column in 0..WIDTH {
            let (begin, end) = (moment(column), moment(column + 1));
            // A column shows the phase that took most of its time.
            let seen = parts
                .iter()
                .filter(|(from, to, _)| *from < end && *to > begin);
            let most = seen
                .map(|(_, _, phase)| rank(*phase))
                .max()
                .unwrap_or_default();
            line += [" ", "·", "─", "█"].get(most).copied().unwrap_or_default();
        }
        writeln!(
            out,
            "  r{} {priority:>3}  {}{line}{plain}",
            place + 1,
            colour(BLUE)
        )?;
    }
    let answers = answered(recording);
    let line: String = (0..WIDTH)
        .map(|column| share(&answers, moment(column), moment(column + 1)))
        .map(|share| match share {
            share if share > 0.95 => '█',
            share if share > 0.5 => '▓',
            share if share > 0.05 => '░',
            _ => ' ',
        })
        .collect();
    writeln!(out, "  {:<8}{}{line}{plain}", "answers", colour(GREEN))?;
    writeln!(
        out,
        "{:10}{}█ Active   ─ Backup   · Initialize     one column is {:.0} ms{plain}",
        "",
        colour(DIM),
        step.as_secs_f64() * 1e3
    )?;
    writeln!(out)
}

fn rank(phase: Phase) -> usize {
    match phase {
        Phase::Down => 0,
        Phase::Is(State::Initialize) => 1,
        Phase::Is(State::Backup) => 2,
        Phase::Is(State::Active) => 3,
    }
}

/// The names of the events at the columns where they happened, as far as there is room.
fn names(report: &Report, step: Duration) -> String {
    let mut line = String::new();
    let mut used = 0_u32;
    for event in &report.events {
        let at = Duration::from_secs_f64(event.at_ms / 1e3);
        while step * used < at {
            line.push(' ');
            used += 1;
        }
        if used > 0 && !line.ends_with(' ') {
            line.push(' ');
            used += 1;
        }
        let name = format!("↓{}", event.name);
        used += u32::try_from(name.chars().count()).unwrap_or(u32::MAX);
        line += &name;
    }
    line
}

/// The share of a column in which the address answered, from 0 to 1.
fn share(answers: &[(Instant, Instant)], begin: Instant, end: Instant) -> f64 {
    let overlap = |(from, to): &(Instant, Instant)| {
        (*to).min(end).saturating_duration_since((*from).max(begin))
    };
    answers.iter().map(overlap).sum::<Duration>().as_secs_f64() / (end - begin).as_secs_f64()
}
