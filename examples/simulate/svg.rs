//! The states of virtual routers over time, as a picture.

use std::collections::BTreeMap;

use vrrp_fsm::{
    Instant, State,
    fleet::RouterKey,
    sim::{Condition, Fault, Occurrence},
};
use vrrp_lab::svg::{Anchor, Picture};

use crate::setting::Setting;

/// The most virtual routers that a reader can distinguish.
const ROUTERS: usize = 24;

const LEFT: f64 = 150.0;
const WIDTH: f64 = 1100.0;
const TOP: f64 = 60.0;
const LANE: f64 = 8.0;
const GAP: f64 = 6.0;

const STYLE: &str = "text { fill: #777; font-family: sans-serif; font-size: 11px }
.active { fill: #2a78d6 }
.backup { fill: #2a78d6; opacity: .18 }
.fault { fill: #d6452a; opacity: .6 }";

/// The content of the picture.
pub(crate) struct Timeline {
    hosts: u32,
    title: String,
    /// For each virtual router, the phases of each host, each with the time at which it began.
    lanes: BTreeMap<RouterKey, BTreeMap<u32, Vec<(Instant, Phase)>>>,
    /// The start, the end and the text of each fault.
    faults: Vec<(Instant, Instant, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Dead,
    Is(State),
}

impl Timeline {
    pub(crate) fn new(setting: &Setting) -> Self {
        Self {
            hosts: setting.fleets,
            title: format!(
                "{} virtual routers on {} hosts, {} h, {} % loss",
                setting.routers, setting.fleets, setting.hours, setting.loss
            ),
            lanes: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, at: Instant, occurrence: &Occurrence<'_>) {
        match occurrence {
            Occurrence::State(host, key, transition)
                if self.lanes.len() < ROUTERS || self.lanes.contains_key(key) =>
            {
                let hosts = self.lanes.entry(*key).or_default();
                let phase = Phase::Is(transition.to);
                hosts.entry(*host).or_default().push((at, phase));
            }
            Occurrence::Fault(Fault::Lasting(condition, lasts)) => {
                self.faults.push((at, at + *lasts, condition.to_string()));
                if let Condition::Crash { host } = condition {
                    for lane in self.lanes.values_mut().filter_map(|it| it.get_mut(host)) {
                        lane.push((at, Phase::Dead));
                    }
                }
            }
            _ => {}
        }
    }

    /// An SVG document, readable on light and on dark backgrounds.
    pub(crate) fn draw(&self, end: Instant) -> String {
        let total = (end - Instant::ZERO).as_secs_f64().max(f64::MIN_POSITIVE);
        let x = |at: Instant| LEFT + WIDTH * (at - Instant::ZERO).as_secs_f64() / total;
        let block = LANE * f64::from(self.hosts) + GAP;
        let lanes = f64::from(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX));
        let bottom = TOP + lanes * block;
        let mut picture = Picture::new(0.0);
        picture.text("title", (LEFT, 20.0), Anchor::Start, &self.title);
        for (from, to, what) in &self.faults {
            let (from, to) = (x(*from), x((*to).min(end)));
            picture.bar("fault", (from, 32.0), (to - from, 12.0), Some(what));
        }
        picture.text("name", (LEFT - 8.0, 42.0), Anchor::End, "faults");
        let mut y = TOP;
        for (key, hosts) in &self.lanes {
            let name = format!("LAN {} {} VRID {}", key.interface, key.family, key.vrid);
            picture.text("name", (LEFT - 8.0, y + 8.0), Anchor::End, &name);
            for (host, phases) in hosts {
                let y = y + LANE * f64::from(*host);
                let ends = phases.iter().skip(1).map(|(at, _)| *at).chain([end]);
                for ((from, phase), to) in phases.iter().zip(ends) {
                    let class = match phase {
                        Phase::Is(State::Active) => "active",
                        Phase::Is(State::Backup) => "backup",
                        Phase::Is(State::Initialize) | Phase::Dead => continue,
                    };
                    let (from, to) = (x(*from), x(to));
                    let size = (to - from, LANE - 1.0);
                    picture.bar(class, (from, y), size, Some(&format!("host {host}")));
                }
            }
            y += block;
        }
        for (at, anchor) in [(Instant::ZERO, Anchor::Start), (end, Anchor::End)] {
            let seconds = format!("{:.0} s", (at - Instant::ZERO).as_secs_f64());
            picture.text("note", (x(at), bottom + 16.0), anchor, &seconds);
        }
        picture.finish(LEFT + WIDTH + 20.0, bottom + 30.0, &[STYLE])
    }
}
