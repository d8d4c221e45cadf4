//! The timeline as a picture.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use vrrp_fsm::State;

use crate::{
    report::{Report, answered, parts},
    scenario::{Phase, Recording, Setting},
};

const LEFT: f64 = 92.0;
const WIDTH: f64 = 860.0;
const TOP: f64 = 84.0;
const LANE: f64 = 34.0;
const BAR: f64 = 20.0;

/// An SVG document, readable on light and on dark ground.
pub(crate) fn draw(setting: &Setting, recording: &Recording, report: &Report) -> String {
    let total = (recording.to - recording.from).as_secs_f64();
    let x = |at: Instant| {
        LEFT + WIDTH * at.saturating_duration_since(recording.from).as_secs_f64() / total
    };
    let lanes = recording.lanes.len() + 1;
    let bottom = TOP + LANE * f64::from(u32::try_from(lanes).unwrap_or(u32::MAX));
    let height = bottom + 64.0;
    let mut body = String::new();

    text(&mut body, LEFT, 24.0, "title", "start", &title(setting));
    for (happening, event) in recording.happenings.iter().zip(&report.events) {
        let at = x(happening.at);
        line(&mut body, "event", at, 48.0, at, bottom);
        let outage = format!("{:.0} / {:.0} ms", event.outage_ms, event.outage_bound_ms);
        text(&mut body, at + 4.0, 56.0, "name", "start", event.name);
        text(&mut body, at + 4.0, 70.0, "note", "start", &outage);
    }
    for (place, (lane, priority)) in recording.lanes.iter().zip(&setting.priorities).enumerate() {
        let y = TOP + LANE * f64::from(u32::try_from(place).unwrap_or(u32::MAX));
        text(
            &mut body,
            LEFT - 10.0,
            y + 15.0,
            "name",
            "end",
            &format!("r{} · {priority}", place + 1),
        );
        for (from, to, phase) in parts(lane, recording) {
            let (class, inset) = match phase {
                Phase::Is(State::Active) => ("active", 0.0),
                Phase::Is(State::Backup) => ("backup", 7.0),
                _ => continue,
            };
            bar(
                &mut body,
                class,
                x(from),
                y + inset,
                x(to) - x(from),
                BAR - 2.0 * inset,
            );
        }
    }
    let y = bottom - LANE;
    text(&mut body, LEFT - 10.0, y + 15.0, "name", "end", "answers");
    let mut silent_from = recording.from;
    for (from, to) in answered(recording) {
        bar(
            &mut body,
            "silent",
            x(silent_from),
            y + 7.0,
            x(from) - x(silent_from),
            BAR - 14.0,
        );
        silent_from = to;
        bar(&mut body, "answers", x(from), y, x(to) - x(from), BAR);
    }

    line(&mut body, "axis", LEFT, bottom, LEFT + WIDTH, bottom);
    let tick = if total > 12.0 { 2 } else { 1 };
    let mut second = 0_u32;
    while f64::from(second) <= total {
        let at = x(recording.from + Duration::from_secs(second.into()));
        line(&mut body, "axis", at, bottom, at, bottom + 5.0);
        text(
            &mut body,
            at,
            bottom + 18.0,
            "note",
            "middle",
            &format!("{second} s"),
        );
        second += tick;
    }
    legend(&mut body, bottom + 36.0);

    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<style>
rect.ground {{ fill: #ffffff }}
text {{ font-family: system-ui, "DejaVu Sans", sans-serif; fill: #1f2430 }}
.title {{ font-size: 15px; font-weight: 600 }}
.name {{ font-size: 12px; font-weight: 600 }}
.note {{ font-size: 11px; fill: #5b6472 }}
.active {{ fill: #2563c9 }}
.backup {{ fill: #a9c4ee }}
.answers {{ fill: #2f9e5b }}
.silent {{ fill: #efb8a5 }}
.event {{ stroke: #c2410c; stroke-width: 1; stroke-dasharray: 3 3 }}
.axis {{ stroke: #9aa3af; stroke-width: 1 }}
</style>
<rect class="ground" width="{width}" height="{height}" rx="8"/>
{body}</svg>
"#,
        width = LEFT + WIDTH + 28.0,
    )
}

fn legend(body: &mut String, y: f64) {
    let mut at = LEFT;
    for (class, what) in [
        ("active", "Active"),
        ("backup", "Backup"),
        ("answers", "answers"),
        ("silent", "no answer"),
    ] {
        bar(body, class, at, y, 22.0, 10.0);
        text(body, at + 28.0, y + 9.0, "note", "start", what);
        at += 96.0;
    }
    text(
        body,
        LEFT + WIDTH,
        y + 9.0,
        "note",
        "end",
        "under each event: the time without an answer / what the protocol allows",
    );
}

fn title(setting: &Setting) -> String {
    format!(
        "{} over {}: {} routers, an advertisement every {}, the address asked every millisecond",
        setting.interval.version(),
        setting.family,
        setting.priorities.len(),
        setting.interval,
    )
}

// Writing to a string does not fail.

fn bar(body: &mut String, class: &str, x: f64, y: f64, width: f64, height: f64) {
    let _ = writeln!(
        body,
        r#"<rect class="{class}" x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" rx="2"/>"#
    );
}

fn line(body: &mut String, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = writeln!(
        body,
        r#"<line class="{class}" x1="{x1:.2}" y1="{y1:.2}" x2="{x2:.2}" y2="{y2:.2}"/>"#
    );
}

fn text(body: &mut String, x: f64, y: f64, class: &str, anchor: &str, words: &str) {
    let _ = writeln!(
        body,
        r#"<text class="{class}" x="{x:.2}" y="{y:.2}" text-anchor="{anchor}">{words}</text>"#
    );
}
