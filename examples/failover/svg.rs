//! The timeline as a picture.

use std::time::{Duration, Instant};

use vrrp_fsm::State;
use vrrp_lab::svg::{self, Anchor, Picture};

use crate::{
    report::{Report, answered, parts},
    scenario::{Phase, Recording, Setting},
};

const LEFT: f64 = 92.0;
const WIDTH: f64 = 860.0;
const TOP: f64 = 84.0;
const LANE: f64 = 34.0;
const BAR: f64 = 20.0;

const STYLE: &str = ".active { fill: #2563c9 }
.backup { fill: #a9c4ee }
.answers { fill: #2f9e5b }
.silent { fill: #efb8a5 }
.event { stroke: #c2410c; stroke-width: 1; stroke-dasharray: 3 3 }";

/// An SVG document, readable on light and on dark backgrounds.
pub(crate) fn draw(setting: &Setting, recording: &Recording, report: &Report) -> String {
    let total = (recording.to - recording.from).as_secs_f64();
    let x = |at: Instant| {
        LEFT + WIDTH * at.saturating_duration_since(recording.from).as_secs_f64() / total
    };
    let lanes = recording.lanes.len() + 1;
    let bottom = TOP + LANE * f64::from(u32::try_from(lanes).unwrap_or(u32::MAX));
    let height = bottom + 64.0;
    let mut picture = Picture::new(2.0);
    picture.bar("ground", (0.0, 0.0), (LEFT + WIDTH + 28.0, height), None);

    picture.text("title", (LEFT, 24.0), Anchor::Start, &title(setting));
    for (happening, event) in recording.happenings.iter().zip(&report.events) {
        let at = x(happening.at);
        picture.line("event", (at, 48.0), (at, bottom));
        let outage = format!("{:.0} / {:.0} ms", event.outage_ms, event.outage_bound_ms);
        picture.text("name", (at + 4.0, 56.0), Anchor::Start, event.name);
        picture.text("note", (at + 4.0, 70.0), Anchor::Start, &outage);
    }
    for (place, (lane, priority)) in recording.lanes.iter().zip(&setting.priorities).enumerate() {
        let y = TOP + LANE * f64::from(u32::try_from(place).unwrap_or(u32::MAX));
        picture.text(
            "name",
            (LEFT - 10.0, y + 15.0),
            Anchor::End,
            &format!("r{} · {priority}", place + 1),
        );
        for (from, to, phase) in parts(lane, recording) {
            let (class, inset) = match phase {
                Phase::Is(State::Active) => ("active", 0.0),
                Phase::Is(State::Backup) => ("backup", 7.0),
                _ => continue,
            };
            let size = (x(to) - x(from), BAR - 2.0 * inset);
            picture.bar(class, (x(from), y + inset), size, None);
        }
    }
    let y = bottom - LANE;
    picture.text("name", (LEFT - 10.0, y + 15.0), Anchor::End, "answers");
    let mut silent_from = recording.from;
    for (from, to) in answered(recording) {
        let size = (x(from) - x(silent_from), BAR - 14.0);
        picture.bar("silent", (x(silent_from), y + 7.0), size, None);
        silent_from = to;
        picture.bar("answers", (x(from), y), (x(to) - x(from), BAR), None);
    }

    picture.line("axis", (LEFT, bottom), (LEFT + WIDTH, bottom));
    let tick = if total > 12.0 { 2 } else { 1 };
    let mut second = 0_u32;
    while f64::from(second) <= total {
        let at = x(recording.from + Duration::from_secs(second.into()));
        picture.line("axis", (at, bottom), (at, bottom + 5.0));
        picture.text(
            "note",
            (at, bottom + 18.0),
            Anchor::Middle,
            &format!("{second} s"),
        );
        second += tick;
    }
    legend(&mut picture, bottom + 36.0);

    let width = LEFT + WIDTH + 28.0;
    picture.finish(width, height, &[svg::STYLE, STYLE])
}

fn legend(picture: &mut Picture, y: f64) {
    let mut at = LEFT;
    for (class, what) in [
        ("active", "Active"),
        ("backup", "Backup"),
        ("answers", "answers"),
        ("silent", "no answer"),
    ] {
        picture.bar(class, (at, y), (22.0, 10.0), None);
        picture.text("note", (at + 28.0, y + 9.0), Anchor::Start, what);
        at += 96.0;
    }
    picture.text(
        "note",
        (LEFT + WIDTH, y + 9.0),
        Anchor::End,
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
