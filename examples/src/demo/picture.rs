//! The recording as a picture.

use std::time::{Duration, Instant};

use vrrp_lab::svg::{self, Anchor, Picture};

use super::{
    Recording, Report, State,
    report::{counts, ends, parts},
};

const LEFT: f64 = 92.0;
const WIDTH: f64 = 860.0;
const TOP: f64 = 146.0;
/// The height of the texts of an event. Texts of neighboring events are placed one below the other.
const TEXTS: f64 = 42.0;
const LANE: f64 = 34.0;
const BAR: f64 = 20.0;
/// The bars of answers, side by side.
const COLUMNS: u32 = 108;

const STYLE: &str = ".active { fill: #2563c9 }
.backup { fill: #a9c4ee }
.up { fill: #d5ecdd }
.answers { fill: #2f9e5b }
.failed { fill: #d1495b }
.event { stroke: #c2410c; stroke-width: 1; stroke-dasharray: 3 3 }";

/// An SVG document, readable on light and on dark backgrounds.
#[must_use]
pub(super) fn draw(recording: &Recording, report: &Report) -> String {
    let total = (recording.to - recording.from).as_secs_f64();
    let x = |at: Instant| {
        let since = at.saturating_duration_since(recording.from).as_secs_f64();
        LEFT + WIDTH * since / total
    };
    let lanes = recording.balancers.len() + recording.servers.len() + 1;
    let bottom = TOP + LANE * f64::from(u32::try_from(lanes).unwrap_or(u32::MAX));
    let (width, height) = (LEFT + WIDTH + 28.0, bottom + 64.0);
    let mut picture = Picture::new(1.0);
    picture.bar("ground", (0.0, 0.0), (width, height), None);
    picture.text("title", (LEFT, 24.0), Anchor::Start, &title(recording));
    let note = "under each event: the requests without an answer, and the time from the first to \
                the last of them";
    picture.text("note", (LEFT, 42.0), Anchor::Start, note);

    let mut y = TOP;
    let name = |picture: &mut Picture, y: f64, name: &str| {
        picture.text("name", (LEFT - 10.0, y + 15.0), Anchor::End, name);
    };
    for (place, states) in recording.balancers.iter().enumerate() {
        name(&mut picture, y, &format!("lb{}", place + 1));
        for (from, to, state) in parts(states, recording) {
            let (class, inset) = match state {
                State::Active => ("active", 0.0),
                State::Backup => ("backup", 7.0),
                State::Down => continue,
            };
            let size = (x(to) - x(from), BAR - 2.0 * inset);
            picture.bar(class, (x(from), y + inset), size, None);
        }
        y += LANE;
    }
    let answers = (0..recording.servers.len())
        .map(|place| counts(ends(recording, Some(place)), recording, COLUMNS));
    let answers: Vec<_> = answers.collect();
    let failed = counts(ends(recording, None), recording, COLUMNS);
    let most = answers.iter().flatten().copied().max();
    let most = f64::from(most.unwrap_or_default().max(1));
    for (place, (changes, counts)) in recording.servers.iter().zip(&answers).enumerate() {
        name(&mut picture, y, &format!("s{}", place + 1));
        for (from, to, is_up) in parts(changes, recording) {
            if is_up {
                picture.bar("up", (x(from), y), (x(to) - x(from), BAR), None);
            }
        }
        columns(&mut picture, "answers", y, counts, most);
        y += LANE;
    }
    name(&mut picture, y, "no answer");
    let most = f64::from(failed.iter().copied().max().unwrap_or_default().max(1));
    columns(&mut picture, "failed", y, &failed, most);

    let effects = recording.happenings.iter().zip(&report.effects);
    for (place, (happening, effect)) in effects.enumerate() {
        let at = x(happening.at);
        let top = if place % 2 == 0 { 62.0 } else { 62.0 + TEXTS };
        picture.line("event", (at, top - 8.0), (at, bottom));
        let word = happening.event.word();
        let failed = format!("{} of {}", effect.failed, effect.requests);
        let troubled = format!("{:.0} ms", effect.troubled.as_secs_f64() * 1e3);
        for (class, below, text) in [
            ("name", 0.0, word),
            ("note", 13.0, failed),
            ("note", 26.0, troubled),
        ] {
            picture.text(class, (at + 4.0, top + below), Anchor::Start, &text);
        }
    }
    axis(&mut picture, bottom, total, |seconds| {
        x(recording.from + Duration::from_secs(seconds))
    });
    legend(&mut picture, bottom + 36.0);
    picture.finish(width, height, &[svg::STYLE, STYLE])
}

/// Draws a bar for each column, as high as its count.
fn columns(picture: &mut Picture, class: &str, y: f64, counts: &[u32], most: f64) {
    let step = WIDTH / f64::from(COLUMNS);
    for (column, count) in (0_u32..).zip(counts) {
        if *count > 0 {
            let height = (BAR * f64::from(*count) / most).max(2.0);
            let at = (LEFT + step * f64::from(column), y + BAR - height);
            picture.bar(class, at, (step - 0.6, height), None);
        }
    }
}

fn axis(picture: &mut Picture, bottom: f64, total: f64, x: impl Fn(u64) -> f64) {
    picture.line("axis", (LEFT, bottom), (LEFT + WIDTH, bottom));
    let tick = if total > 30.0 { 5 } else { 2 };
    let mut second = 0_u32;
    while f64::from(second) <= total {
        let at = x(second.into());
        picture.line("axis", (at, bottom), (at, bottom + 5.0));
        let text = format!("{second} s");
        picture.text("note", (at, bottom + 18.0), Anchor::Middle, &text);
        second += tick;
    }
}

fn legend(picture: &mut Picture, y: f64) {
    let mut at = LEFT;
    for (class, what) in [
        ("active", "Active"),
        ("backup", "Backup"),
        ("up", "runs"),
        ("answers", "answers"),
        ("failed", "no answer"),
    ] {
        picture.bar(class, (at, y), (22.0, 10.0), None);
        picture.text("note", (at + 28.0, y + 9.0), Anchor::Start, what);
        at += 90.0;
    }
}

fn title(recording: &Recording) -> String {
    let kept = recording.connections.len();
    let lived = recording
        .connections
        .iter()
        .filter(|it| it.broken.is_none());
    format!(
        "Answers by server: {} requests, {kept} open connections of which {} live at the end",
        recording.requests.len(),
        lived.count(),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::recording, *};

    #[test]
    fn the_picture_has_a_lane_for_each_host_and_a_line_for_each_event() {
        let recording = recording();
        let svg = draw(&recording, &Report::new(&recording));
        let count = |class: &str| svg.matches(&format!("class=\"{class}\"")).count();
        assert_eq!(count("event"), 3);
        // The legend contains one more of each.
        assert_eq!((count("active"), count("backup"), count("up")), (3, 3, 4));
        assert!(count("answers") > 80 && count("failed") > 5);
        for text in [
            "lb1",
            "lb2",
            "s3",
            "kill lb1",
            "7 of 50",
            "1100 ms",
            "3 open connections",
        ] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
