//! Derives problems from the lab's report.

use std::ops::Range;

use serde_json::Value;

use crate::{
    Program,
    differences::{DIFFERENCES, Difference, FEWER},
    play::HEAD_START,
    recording::Recording,
};

/// How much later than in the recording a change may come: the interval of the scenario's checks,
/// the time limit of an attempt that gets no answer, and the jitter of a guest. The fault may come
/// at any time within these.
pub(crate) fn slack(scenario: &str) -> f64 {
    match scenario {
        "slow" | "vrrp" => 4.5,
        "drop" | "others" => 3.5,
        _ => 2.5,
    }
}

/// How much later a server that answers again may return to the table. An attempt that has begun
/// before takes its time limit; one more interval passes before each of the two successes that
/// `retry 1` asks for.
fn recovery(scenario: &str) -> f64 {
    match scenario {
        "slow" => 6.5,
        _ => slack(scenario),
    }
}

/// The client's requests per second.
const RATE: usize = 10;

/// A step of the report.
struct Step<'a> {
    report: &'a Value,
    label: &'a str,
    /// When it begins and ends in keepalived's recording.
    theirs: Range<f64>,
    /// When it begins and ends in our recording.
    ours: Range<f64>,
}

/// Finds results that are worse than in a recording, or that differ without a reason. The reports
/// compare keepalived's recording with ours, and our recording with itself.
pub(crate) fn problems(
    program: Program,
    scenario: &str,
    version: &str,
    [report, own]: [&Value; 2],
    theirs: &Recording,
    ours: &Recording,
) -> Vec<String> {
    let (theirs_at, ours_at) = (times(report), times(own));
    let steps = report["steps"].as_array().unwrap();
    let span = |times: &[f64], place: usize| {
        times[place]..times.get(place + 1).copied().unwrap_or(f64::MAX)
    };
    let steps: Vec<_> = (0..steps.len())
        .map(|place| Step {
            report: &steps[place],
            label: steps[place]["step"].as_str().unwrap(),
            theirs: span(&theirs_at, place),
            ours: span(&ours_at, place),
        })
        .collect();
    let meant = |step: &Step<'_>| {
        DIFFERENCES.iter().find(|it| {
            it.programs.contains(&program)
                && it.scenario == scenario
                && step.label.contains(it.step)
                && (it.version.is_empty() || it.version == version)
        })
    };
    let mut problems = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        problems.extend(table(&steps[place..], meant(step), scenario, ours));
        // Steps before the start concern no program, and a test build starts slowly.
        let is_ours = step.theirs.start > 0.5 && !step.label.starts_with("start");
        if is_ours && has_mark(step, "late") {
            problems.push(format!("{}: late: {}", step.label, step.report["times"]));
        }
    }
    problems.extend(notes(&steps, program, scenario));
    problems.extend(failures(&steps, program, scenario, theirs, ours));
    problems
}

/// Checks the scenario in which a server dies while the configuration is read again each second.
/// keepalived makes no check until that ends, so a third of the requests fails for half a minute.
pub(crate) fn storm(theirs: &Recording, ours: &Recording) -> Option<String> {
    let (fault, stop) = (6.0, 59.5);
    let theirs = theirs.failures(fault, stop);
    let ours = ours.failures(fault + HEAD_START, stop + HEAD_START);
    (ours > theirs / 2).then(|| format!("{ours} requests failed, and {theirs} with keepalived"))
}

/// The times of the steps in the first recording of a report.
fn times(report: &Value) -> Vec<f64> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps.map(|step| step["at"].as_f64().unwrap()).collect()
}

fn has_mark(step: &Step<'_>, mark: &str) -> bool {
    let mut marks = step.report["marks"].as_array().unwrap().iter();
    marks.any(|it| it == mark)
}

/// Compares the tables at the end of the first of these steps.
fn table(
    steps: &[Step<'_>],
    meant: Option<&Difference>,
    scenario: &str,
    ours: &Recording,
) -> Option<String> {
    let step = &steps[0];
    let table = || ours.table(step.ours.end);
    if let Some(difference) = meant {
        let expected: Vec<_> = difference.table.lines().map(str::trim).collect();
        let expected: Vec<_> = expected.into_iter().filter(|it| !it.is_empty()).collect();
        return (expected != table()).then(|| {
            let label = step.label;
            format!(
                "{label}: expected the table {expected:#?}, not {:#?}",
                table()
            )
        });
    }
    // Faults may follow each other so soon that each is noticed before the next one or after it.
    let is_soon_right = |other: &Step<'_>| {
        other.theirs.start <= step.theirs.start + recovery(scenario)
            && other.report["verdict"] != "DIFFERENT"
    };
    if step.report["verdict"] != "DIFFERENT" || steps.iter().any(is_soon_right) {
        return None;
    }
    Some(format!(
        "{}: another table: {:#?}\nkeepalived: {:#}\nours: {:#}",
        step.label,
        table(),
        step.report["a"],
        step.report["b"]
    ))
}

/// Compares the calls of notify scripts. A script may end in the next step, so the calls of all
/// steps are compared together.
fn notes(steps: &[Step<'_>], program: Program, scenario: &str) -> Option<String> {
    let [theirs, ours] = [0, 1].map(|side| {
        let all = steps.iter().flat_map(|step| {
            let notes = step.report["notes"][side].as_array().unwrap().iter();
            notes.map(|note| {
                let words: Vec<_> = note.as_array().unwrap().iter().collect();
                let words = words.into_iter().skip(1).map(|it| it.as_str().unwrap());
                words.collect::<Vec<_>>().join(" ")
            })
        });
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    });
    let extra = DIFFERENCES.iter().filter(|it| {
        it.programs.contains(&program) && it.scenario == scenario && it.version.is_empty()
    });
    let mut expected = theirs;
    expected.extend(extra.flat_map(|it| it.notes).map(|it| (*it).to_owned()));
    expected.sort();
    (expected != ours).then(|| format!("expected the notes {expected:?}, not {ours:?}"))
}

/// Compares the failed requests of the client, from the first change of the table to the stop.
fn failures(
    steps: &[Step<'_>],
    program: Program,
    scenario: &str,
    theirs: &Recording,
    ours: &Recording,
) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut allowed, mut failed) = (0, 0);
    for (place, step) in steps.iter().enumerate() {
        // Without a director, requests get no answer.
        let is_over = step.label.starts_with("stop") || step.label == "end";
        if is_over && scenario != "vrrp" {
            break;
        }
        let failures = |recording: &Recording, step: &Range<f64>| {
            let is_first = step.start < 0.5;
            let first = recording.first_change().filter(|_| is_first);
            // The change is recorded before the kernel has completed it.
            let from = first.map_or(step.start, |at| at + 0.1);
            // A stop cuts off the request that is under way.
            let is_last = steps
                .get(place + 1)
                .is_some_and(|next| next.label.starts_with("stop"));
            recording.failures(from, step.end - if is_last { 0.3 } else { 0.0 })
        };
        let of_theirs = failures(theirs, &step.theirs);
        let of_ours = failures(ours, &step.ours);
        let is_fault = ["server", "drop", "sh kill"]
            .iter()
            .any(|it| step.label.starts_with(it));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few seconds"
        )]
        let by_chance = slack(scenario).ceil() as usize * RATE;
        allowed += of_theirs + if is_fault { by_chance } else { 0 };
        failed += of_ours;
        let fewer = FEWER.iter().find(|it| {
            it.programs.contains(&program)
                && it.scenario == scenario
                && step.label.contains(it.step)
                // Steps before the start do not count.
                && step.theirs.start > 0.5
        });
        if let Some(fewer) = fewer
            && of_ours > fewer.at_most
        {
            problems.push(format!(
                "{}: {of_ours} requests failed, at most {} may: {}",
                step.label, fewer.at_most, fewer.reason
            ));
        }
    }
    if failed > allowed {
        problems.push(format!("{failed} requests failed, {allowed} may"));
    }
    problems
}
