//! The recording as numbers and as text.

use std::{
    fmt,
    io::{self, Write},
    time::{Duration, Instant},
};

use super::{Connection, Event, Happening, Recording, Request, State};

/// The width of the timeline in text, in columns.
const WIDTH: u32 = 96;

/// The recording in numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// The effects of each event, in order.
    pub effects: Vec<Effect>,
    /// Whether only connections of a server whose process ended broke.
    pub ok: bool,
}

/// The effect of an event on the clients, until the next event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effect {
    /// The event.
    pub event: Event,
    /// The requests.
    pub requests: usize,
    /// Those without an answer.
    pub failed: usize,
    /// From the beginning of the first request without an answer to the end of the last one.
    pub troubled: Duration,
    /// The longest time in which no request was answered: from the beginning of the last request
    /// that was answered before it to that of the first one after it.
    pub outage: Duration,
    /// The open connections that broke.
    pub broken: usize,
}

impl Report {
    /// Evaluates a recording.
    #[must_use]
    pub(super) fn new(recording: &Recording) -> Self {
        let mut requests = recording.requests.clone();
        requests.sort_by_key(|request| request.at);
        let mut effects = Vec::new();
        let mut ok = !recording.happenings.is_empty();
        for (place, &Happening { at, event }) in recording.happenings.iter().enumerate() {
            let next = recording.happenings.get(place + 1);
            let end = next.map_or(recording.to, |next| next.at);
            let is_within = |time: Instant| time >= at && time < end;
            let all = requests.iter().filter(|request| is_within(request.at));
            let failed = all.clone().filter(|request| request.server.is_none());
            let first = failed.clone().map(|request| request.at).min();
            let last = failed.clone().map(Request::end).max();
            let troubled = first.zip(last).map(|(first, last)| last - first);
            let broken = recording.connections.iter();
            let broken = broken.filter(|it| cause(it, recording) == Some(event));
            let is_expected = |server| event == Event::KillServer(server);
            ok &= broken.clone().all(|it| is_expected(it.server));
            effects.push(Effect {
                event,
                requests: all.count(),
                failed: failed.count(),
                troubled: troubled.unwrap_or_default(),
                outage: outage(&requests, at, end),
                broken: broken.count(),
            });
        }
        Self { effects, ok }
    }
}

/// The event that broke a connection: the end of its server, however late the break was seen, or
/// otherwise the last event before the break.
fn cause(connection: &Connection, recording: &Recording) -> Option<Event> {
    let broken = connection.broken?;
    let before = recording
        .happenings
        .iter()
        .rev()
        .filter(|it| it.at <= broken);
    let mut events = before.map(|it| it.event);
    let last = events.clone().next();
    let is_end = |event: &Event| *event == Event::KillServer(connection.server);
    events.find(is_end).or(last)
}

/// The longest time without an answer within a span.
fn outage(requests: &[Request], from: Instant, to: Instant) -> Duration {
    let answered = requests.iter().filter(|request| request.server.is_some());
    let mut last = from;
    let mut longest = Duration::ZERO;
    for request in answered {
        if request.at >= to {
            break;
        }
        longest = longest.max(request.at.saturating_duration_since(last));
        last = last.max(request.at);
    }
    longest.max(to.saturating_duration_since(last))
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Start => "both load balancers start".to_owned(),
            Self::KillServer(place) => format!("s{}: its process ends", place + 1),
            Self::StartServer(place) => format!("s{}: it runs again", place + 1),
            Self::Unplug(place) => format!("s{}: its cable is pulled", place + 1),
            Self::Mend(place) => format!("s{}: its cable is back", place + 1),
            Self::KillBalancer(place) => format!("lb{}: kill -9, its cables are pulled", place + 1),
            Self::StartBalancer(place) => format!("lb{}: it runs again", place + 1),
            Self::StopBalancer(place) => format!("lb{}: SIGTERM", place + 1),
        };
        f.pad(&text)
    }
}

impl Event {
    /// A word or two for the place on the time line.
    pub(super) fn word(self) -> String {
        match self {
            Self::Start => "start".into(),
            Self::KillServer(place) => format!("kill s{}", place + 1),
            Self::StartServer(place) => format!("start s{}", place + 1),
            Self::Unplug(place) => format!("unplug s{}", place + 1),
            Self::Mend(place) => format!("plug s{}", place + 1),
            Self::KillBalancer(place) => format!("kill lb{}", place + 1),
            Self::StartBalancer(place) => format!("start lb{}", place + 1),
            Self::StopBalancer(place) => format!("stop lb{}", place + 1),
        }
    }
}

/// The spans during which something was in one state.
pub(super) fn parts<S: Copy + PartialEq>(
    changes: &[(Instant, S)],
    recording: &Recording,
) -> Vec<(Instant, Instant, S)> {
    let ends = changes.iter().skip(1).map(|(at, _)| *at);
    let ends = ends.chain([recording.to]);
    let parts = changes.iter().zip(ends);
    let parts = parts.map(|((from, state), to)| {
        let clamp = |at: Instant| at.clamp(recording.from, recording.to);
        (clamp(*from), clamp(to), *state)
    });
    parts.filter(|(from, to, _)| from < to).collect()
}

/// Counts occurrences by the columns of a timeline.
pub(super) fn counts(
    times: impl Iterator<Item = Instant>,
    recording: &Recording,
    columns: u32,
) -> Vec<u32> {
    let step = (recording.to - recording.from) / columns.max(1);
    let mut counts = vec![0; columns as usize];
    for time in times {
        let since = time.saturating_duration_since(recording.from);
        let column = since.as_nanos() / step.as_nanos().max(1);
        if let Some(count) = usize::try_from(column)
            .ok()
            .and_then(|it| counts.get_mut(it))
        {
            *count += 1;
        }
    }
    counts
}

/// The ends of the requests that this server answered, or that failed.
pub(super) fn ends(recording: &Recording, server: Option<usize>) -> impl Iterator<Item = Instant> {
    let requests = recording.requests.iter();
    requests
        .filter(move |request| request.server == server)
        .map(Request::end)
}

/// Writes the timeline as text, and the effects of each event.
///
/// # Errors
///
/// The errors of `out`.
pub(super) fn print(
    out: &mut impl Write,
    recording: &Recording,
    report: &Report,
) -> io::Result<()> {
    let step = (recording.to - recording.from) / WIDTH;
    writeln!(out, "\n{:10}{}", "", words(recording, step))?;
    for (place, states) in recording.balancers.iter().enumerate() {
        let mut line = vec![' '; WIDTH as usize];
        for (from, to, state) in parts(states, recording) {
            let letter = match state {
                State::Down => continue,
                State::Backup => '─',
                State::Active => '█',
            };
            for (column, shown) in (0..).zip(&mut line) {
                let begin = recording.from + step * column;
                if from < begin + step && to > begin && *shown != '█' {
                    *shown = letter;
                }
            }
        }
        writeln!(
            out,
            "  {:<8}{}",
            format!("lb{}", place + 1),
            String::from_iter(line)
        )?;
    }
    for place in 0..recording.servers.len() {
        let counts = counts(ends(recording, Some(place)), recording, WIDTH);
        let most = counts.iter().copied().max().unwrap_or_default().max(1);
        let line = counts.iter().map(|count| match count * 3 / most {
            0 if *count == 0 => ' ',
            0 => '░',
            1 => '▒',
            2 => '▓',
            _ => '█',
        });
        writeln!(
            out,
            "  {:<8}{}",
            format!("s{}", place + 1),
            line.collect::<String>()
        )?;
    }
    let failed = counts(ends(recording, None), recording, WIDTH);
    let line = failed
        .iter()
        .map(|count| if *count > 0 { '×' } else { ' ' });
    writeln!(out, "  {:<8}{}", "failed", line.collect::<String>())?;
    writeln!(
        out,
        "{:10}█ Active or answers   ─ Backup   × a request without an answer     one column is {:.0} ms\n",
        "",
        step.as_secs_f64() * 1e3
    )?;
    writeln!(
        out,
        "  {:<36} {:>9} {:>9} {:>12} {:>12} {:>8}",
        "", "requests", "failed", "failed for", "no answer", "broken"
    )?;
    for effect in &report.effects {
        writeln!(
            out,
            "  {:<36} {:>9} {:>9} {:>9.0} ms {:>9.0} ms {:>8}",
            effect.event,
            effect.requests,
            effect.failed,
            effect.troubled.as_secs_f64() * 1e3,
            effect.outage.as_secs_f64() * 1e3,
            effect.broken,
        )?;
    }
    let kept = recording.connections.len();
    let lived = recording
        .connections
        .iter()
        .filter(|it| it.broken.is_none());
    writeln!(
        out,
        "\n  failed for  from the first request without an answer to the end of the last one\
         \n  no answer   the longest time in which no server answered any request\
         \n  broken      open connections that broke, of {kept}; {} live at the end\n",
        lived.count()
    )?;
    let verdict = if report.ok {
        "Every failure passed, and no connection broke except those of the server that ended."
    } else {
        "A connection broke that should not."
    };
    writeln!(out, "  {verdict}")
}

/// The names of the events at the columns where they happened.
fn words(recording: &Recording, step: Duration) -> String {
    let mut line = String::new();
    for happening in &recording.happenings {
        let at = happening.at.saturating_duration_since(recording.from);
        let column = at.as_nanos() / step.as_nanos().max(1);
        let column = usize::try_from(column)
            .unwrap_or(usize::MAX)
            .min(WIDTH as usize);
        let used = line.chars().count();
        let gap = column.saturating_sub(used).max(usize::from(used > 0));
        line.extend(std::iter::repeat_n(' ', gap));
        line.push('↓');
        line += &happening.event.word();
    }
    line
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Ten seconds with a request every 100 ms. Server 0 ends at 2 s, and its requests fail for
    /// half a second; load balancer 0 ends at 5 s, and no request is answered for 700 ms.
    pub(in super::super) fn recording() -> Recording {
        let from = Instant::now();
        let at = |millis: u64| from + Duration::from_millis(millis);
        let requests = (0..100_usize).map(|number| {
            let millis = number as u64 * 100;
            let is_lost = (5000..5700).contains(&millis);
            let server = if (2000..2500).contains(&millis) {
                Some(number % 3).filter(|server| *server != 0)
            } else if millis >= 2500 {
                Some(1 + number % 2)
            } else {
                Some(number % 3)
            };
            Request {
                at: at(millis),
                took: Duration::from_millis(if is_lost { 500 } else { 10 }),
                server: server.filter(|_| !is_lost),
            }
        });
        let connection = |server, broken: Option<u64>| Connection {
            server,
            broken: broken.map(at),
            longest_pause: Duration::ZERO,
        };
        let happening = |millis, event| Happening {
            at: at(millis),
            event,
        };
        Recording {
            from,
            to: at(10_000),
            happenings: vec![
                happening(0, Event::Start),
                happening(2000, Event::KillServer(0)),
                happening(5000, Event::KillBalancer(0)),
            ],
            balancers: vec![
                vec![
                    (at(0), State::Backup),
                    (at(10), State::Active),
                    (at(5000), State::Down),
                ],
                vec![(at(0), State::Backup), (at(5650), State::Active)],
            ],
            servers: vec![
                vec![(at(0), true), (at(2000), false)],
                vec![(at(0), true)],
                vec![(at(0), true)],
            ],
            requests: requests.collect(),
            connections: vec![
                connection(0, Some(2001)),
                connection(1, None),
                connection(2, None),
            ],
        }
    }

    #[test]
    fn each_event_has_its_failures_and_the_time_until_they_end() {
        let report = Report::new(&recording());
        let of = |place: usize| {
            let Effect {
                requests,
                failed,
                troubled,
                outage,
                broken,
                ..
            } = report.effects[place];
            (
                requests,
                failed,
                troubled.as_millis(),
                outage.as_millis(),
                broken,
            )
        };
        assert_eq!(of(0), (20, 0, 0, 100, 0));
        // Requests 21 and 24 were for the server that ended.
        assert_eq!(of(1), (30, 2, 310, 200, 1));
        assert_eq!(of(2), (50, 7, 1100, 700, 0));
        assert!(report.ok);
    }

    #[test]
    fn a_connection_that_should_not_break_is_reported() {
        let mut lost = recording();
        lost.connections[1].broken = Some(lost.from + Duration::from_secs(6));
        assert!(!Report::new(&lost).ok);
        let mut text = Vec::new();
        print(&mut text, &lost, &Report::new(&lost)).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("broke that should not"), "{text}");
    }

    #[test]
    fn the_timeline_in_letters_shows_states_answers_and_failures() {
        let recording = recording();
        let mut text = Vec::new();
        print(&mut text, &recording, &Report::new(&recording)).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = |name: &str| {
            let found = text
                .lines()
                .find(|line| line.starts_with(&format!("  {name} ")));
            found.unwrap().chars().skip(10).collect::<Vec<_>>()
        };
        let (first, second) = (line("lb1"), line("lb2"));
        assert_eq!((first[20], first.get(60)), ('█', Some(&' ')));
        assert_eq!((second[20], second[60]), ('─', '█'));
        assert!(line("failed")[50..60].contains(&'×'));
        assert!(
            text.contains("↓kill s1") && text.contains("↓kill lb1"),
            "{text}"
        );
        assert!(text.contains("of 3; 2 live at the end"), "{text}");
    }
}
