//! The recording in numbers.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use serde::Serialize;
use vrrp_lab::Outage;

use crate::scenario::{Phase, Recording, Setting, What};

/// How much longer than the protocol's bound a takeover and the first answer may take, because of
/// threads and the kernel.
const ALLOWANCE: Duration = Duration::from_millis(50);

#[derive(Serialize)]
pub(crate) struct Report {
    version: u8,
    family: &'static str,
    interval_cs: u16,
    /// The number of routers.
    routers: usize,
    /// Their priorities, from the first router to the last.
    priorities: Vec<u8>,
    address: String,
    /// The client's longest pause between two requests: the precision of the outages.
    precision_ms: f64,
    pub(crate) events: Vec<Event>,
    /// Whether no takeover, and no time without answers, took 50 ms longer than its bound, apart
    /// from the time for which threads waited for a processor.
    pub(crate) ok: bool,
}

#[derive(Serialize)]
pub(crate) struct Event {
    #[serde(rename = "event")]
    pub(crate) name: &'static str,
    /// Since the beginning of the recording.
    pub(crate) at_ms: f64,
    /// The router that is Active afterwards.
    pub(crate) active: String,
    /// The longest time that the protocol allows from the event to the new Active's first
    /// advertisement.
    pub(crate) bound_ms: f64,
    /// The time that it took.
    pub(crate) takeover_ms: f64,
    /// The longest time for which the address did not answer.
    pub(crate) outage_ms: f64,
    /// The longest outage that the protocol allows: the length of the takeover, or 0 where there is
    /// an Active all the time.
    pub(crate) outage_bound_ms: f64,
    /// The total time for which threads of the program waited for a processor: how much a busy
    /// machine delayed them.
    pub(crate) held_up_ms: f64,
    #[serde(skip)]
    what: What,
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

impl Report {
    pub(crate) fn new(setting: &Setting, recording: &Recording) -> Self {
        // An outage belongs to the last event before its end: its beginning is that of the last
        // request that was answered, and may lie a little before the event.
        let outages = recording.pings.outages();
        let cause_of = |outage: &Outage| {
            let end = outage.start + outage.length;
            recording
                .happenings
                .iter()
                .rposition(|happening| happening.at < end)
        };
        let events: Vec<Event> = recording
            .happenings
            .iter()
            .enumerate()
            .map(|(place, happening)| {
                let caused = outages
                    .iter()
                    .filter(|outage| cause_of(outage) == Some(place));
                let longest = caused.map(|outage| outage.length).max().unwrap_or_default();
                Event {
                    name: happening.what.name(),
                    at_ms: millis(happening.at - recording.from),
                    active: format!("r{}", happening.active + 1),
                    bound_ms: millis(happening.bound),
                    takeover_ms: millis(happening.advertised - happening.at),
                    outage_ms: millis(longest),
                    outage_bound_ms: if happening.what.is_preemption() {
                        0.0
                    } else {
                        millis(happening.bound)
                    },
                    held_up_ms: millis(happening.held_up),
                    what: happening.what,
                }
            })
            .collect();
        let in_time = |event: &Event| {
            let allowance = millis(ALLOWANCE) + event.held_up_ms;
            event.takeover_ms <= event.bound_ms + allowance
                && event.outage_ms <= event.outage_bound_ms + allowance
        };
        Self {
            version: setting.interval.version().number(),
            family: match setting.family {
                vrrp_proto::Family::Ipv4 => "ipv4",
                vrrp_proto::Family::Ipv6 => "ipv6",
            },
            interval_cs: setting.interval.as_centis(),
            routers: setting.priorities.len(),
            priorities: setting.priorities.clone(),
            address: setting.address().to_string(),
            precision_ms: millis(recording.pings.longest_pause()),
            ok: events.iter().all(in_time),
            events,
        }
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "  {:<34} {:>9} {:>9} {:>9} {:>9}  {:>6}",
            "in milliseconds", "no answer", "allowed", "takeover", "allowed", "Active"
        )?;
        for event in &self.events {
            writeln!(
                out,
                "  {:<34} {:>9.1} {:>9.1} {:>9.1} {:>9.1}  {:>6}",
                event.what.describe(),
                event.outage_ms,
                event.outage_bound_ms,
                event.takeover_ms,
                event.bound_ms,
                event.active,
            )?;
        }
        writeln!(out)?;
        writeln!(
            out,
            "  no answer   the longest time without an answer to a request each millisecond (to {:.1} ms)",
            self.precision_ms
        )?;
        writeln!(
            out,
            "  takeover    from the event to the new Active's first advertisement on the wire"
        )?;
        writeln!(
            out,
            "  allowed     Active_Down_Interval of the router that takes over, from the last advertisement it heard;"
        )?;
        writeln!(
            out,
            "              Skew_Time after a resignation; no time without an answer where an Active is preempted"
        )?;
        writeln!(out)?;
        let verdict = if self.ok {
            "The address moved each time, at most 50 ms later than the protocol allows."
        } else {
            "The address once moved more than 50 ms later than the protocol allows."
        };
        writeln!(out, "  {verdict}")?;
        let held_up = self.events.iter().map(|event| event.held_up_ms);
        let held_up = held_up.fold(0.0, f64::max);
        if held_up > millis(ALLOWANCE) {
            writeln!(
                out,
                "  The machine is busy: threads waited up to {held_up:.0} ms for a processor, which is allowed as well."
            )?;
        }
        Ok(())
    }
}

/// Splits a router's lane into spans of one phase, from the beginning of the recording to its end.
pub(crate) fn parts(
    lane: &[(Instant, Phase)],
    recording: &Recording,
) -> Vec<(Instant, Instant, Phase)> {
    let mut parts = Vec::new();
    let mut last = (recording.from, Phase::Down);
    for &(at, phase) in lane.iter().chain([&(recording.to, Phase::Down)]) {
        let at = at.clamp(recording.from, recording.to);
        let joined = parts.last_mut().filter(|(_, _, before)| *before == last.1);
        if let Some((_, end, _)) = joined {
            *end = at;
        } else if at > last.0 {
            parts.push((last.0, at, last.1));
        }
        last = (at, phase);
    }
    parts
}

/// The spans in which the address answered.
pub(crate) fn answered(recording: &Recording) -> Vec<(Instant, Instant)> {
    let mut begin = recording.from;
    let mut answered = Vec::new();
    for outage in recording.pings.outages() {
        answered.push((begin, outage.start));
        begin = outage.start + outage.length;
    }
    answered.push((begin, recording.to));
    answered.retain(|(begin, end)| begin < end);
    answered
}
