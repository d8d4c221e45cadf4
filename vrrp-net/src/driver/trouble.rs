//! Parts of the driver whose system calls fail: each rests for a while, and is tried again.

use std::{collections::BTreeMap, os::fd::AsFd, time::Duration};

use vrrp_fsm::{Instant, fleet::RouterId};

use super::{Driver, DriverEvent, Fault, router::Router};
use crate::Error;

/// A part of the driver that fails on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The socket for advertisements in this place.
    Socket(usize),
    /// The socket for the links of Actives.
    Links,
    /// Notifications of links and addresses.
    Monitor,
    /// Dumps of links and addresses.
    Lists,
    /// Answers for addresses that the host does not have.
    Proxies,
    /// Tracked routes.
    Routes,
    /// Changes of the host.
    Changes,
    /// Waiting for all of these.
    Wait,
}

/// A part after its last failure.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    since: Instant,
    retry_at: Instant,
    pause: Duration,
    is_reported: bool,
    /// Until then failures are counted and not reported.
    quiet_until: Instant,
    suppressed: u32,
}

/// The parts that failed last time.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    parts: BTreeMap<Part, Trouble>,
}

/// A change of a part that [`Troubles`] noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It works, or it has failed for less than [`LASTING`].
    Passing,
    /// It has failed for that long now.
    Lasting,
    /// It works again, after a failure that was lasting.
    Over,
}

impl Troubles {
    /// The rest after the first failure. It doubles with each further failure.
    const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest rest.
    const LONGEST: Duration = Duration::from_secs(1);
    /// A failure that lasts this long is not expected to pass by itself.
    const LASTING: Duration = Duration::from_secs(1);
    /// The pause between two reports about a part (O-03).
    const QUIET: Duration = Duration::from_secs(5);

    /// Whether a part rests now.
    pub(super) fn rests(&self, now: Instant, part: Part) -> bool {
        self.parts.get(&part).is_some_and(|it| now < it.retry_at)
    }

    /// Notes a failure, after which the part rests.
    pub(super) fn fail(&mut self, now: Instant, part: Part) -> Course {
        let trouble = self.parts.entry(part).or_insert(Trouble {
            since: now,
            retry_at: now,
            pause: Self::SHORTEST,
            is_reported: false,
            quiet_until: now,
            suppressed: 0,
        });
        trouble.retry_at = now + trouble.pause;
        trouble.pause = (trouble.pause * 2).min(Self::LONGEST);
        if trouble.is_reported || now < trouble.since + Self::LASTING {
            return Course::Passing;
        }
        trouble.is_reported = true;
        Course::Lasting
    }

    /// Asks whether the last failure of a part may be reported. Returns the number of unreported
    /// failures before it.
    pub(super) fn pass(&mut self, now: Instant, part: Part) -> Option<u32> {
        let trouble = self.parts.get_mut(&part)?;
        if now < trouble.quiet_until {
            trouble.suppressed = trouble.suppressed.saturating_add(1);
            return None;
        }
        trouble.quiet_until = now + Self::QUIET;
        Some(std::mem::take(&mut trouble.suppressed))
    }

    /// Notes that a part works.
    pub(super) fn work(&mut self, part: Part) -> Course {
        match self.parts.remove(&part) {
            Some(trouble) if trouble.is_reported => Course::Over,
            _ => Course::Passing,
        }
    }

    /// The failed parts that do not rest any more.
    pub(super) fn rested(&self, now: Instant) -> impl Iterator<Item = Part> {
        let rested = self.parts.iter().filter(move |(_, it)| now >= it.retry_at);
        rested.map(|(part, _)| *part)
    }

    /// The time at which a failed part is tried again.
    pub(super) fn retry_at(&self, part: Part) -> Option<Instant> {
        self.parts.get(&part).map(|it| it.retry_at)
    }

    /// The time at which the next part is tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.parts.values().map(|it| it.retry_at).min()
    }

    /// Whether no part fails.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Driver {
    /// Notes the result of a part. A part that fails rests, and is tried again.
    #[inline]
    pub(super) fn note(&mut self, part: Part, result: Result<(), Error>) {
        if result.is_err() || !self.troubles.is_empty() {
            self.note_trouble(part, result);
        }
    }

    #[cold]
    fn note_trouble(&mut self, part: Part, result: Result<(), Error>) {
        let error = match result {
            Ok(()) => {
                if self.troubles.work(part) == Course::Over {
                    self.part_faults.remove(&part);
                    self.reconcile_users(part);
                }
                return;
            }
            Err(error) => error,
        };
        let now = self.now();
        let course = self.troubles.fail(now, part);
        self.unwatch(part);
        if course == Course::Lasting {
            let reason = error.to_string();
            let fault = match part {
                Part::Socket(_) => Fault::CannotReceive(reason),
                _ => Fault::SystemCallFails(reason),
            };
            self.part_faults.insert(part, fault);
            self.reconcile_users(part);
        }
        if let Some(suppressed) = self.troubles.pass(now, part) {
            self.notify(None, DriverEvent::SystemCallFailed { error, suppressed });
        }
    }

    /// Removes the sources of a part from the poller, so it does not report them while the part
    /// rests.
    fn unwatch(&self, part: Part) {
        let sources: Vec<_> = match part {
            Part::Socket(place) => {
                let mut sources = self.packets.sources();
                sources.nth(place).into_iter().collect()
            }
            Part::Links => self.packets.links.source().into_iter().collect(),
            Part::Monitor => vec![self.host.monitor.as_fd()],
            Part::Proxies => self.host.proxies.sources().collect(),
            Part::Routes => self.tracked_routes.sources().collect(),
            Part::Lists | Part::Changes | Part::Wait => Vec::new(),
        };
        for source in sources {
            if let Err(error) = self.poller.remove(source) {
                tracing::debug!(%error, "a descriptor is watched while its part rests");
            }
        }
    }

    /// Whether a fault of a part is one of this router.
    fn uses_part(&self, router: &Router, part: Part) -> bool {
        match part {
            Part::Socket(place) => self.packets.is_used_by(place, router),
            _ => true,
        }
    }

    /// The faults of a router that come from parts that fail.
    pub(super) fn part_faults_of(&self, router: &Router) -> impl Iterator<Item = Fault> {
        let faults = self.part_faults.iter();
        faults
            .filter(|(part, _)| self.uses_part(router, **part))
            .map(|(_, fault)| fault.clone())
    }

    /// Brings the routers in line with the faults of a part.
    fn reconcile_users(&mut self, part: Part) {
        let users = self
            .routers
            .iter()
            .filter(|(_, it)| self.uses_part(it, part));
        let users: Vec<RouterId> = users.map(|(id, _)| *id).collect();
        let now = self.now();
        for id in users {
            self.reconcile(now, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_fails_rests_ever_longer_and_is_reported_once() {
        let mut troubles = Troubles::default();
        let (mut now, mut reports) = (Instant::ZERO, 0);
        let mut longest = Duration::ZERO;
        while now < Instant::ZERO + Duration::from_secs(20) {
            let course = troubles.fail(now, Part::Monitor);
            reports += u32::from(course == Course::Lasting);
            assert!(troubles.rests(now, Part::Monitor) && !troubles.rests(now, Part::Links));
            let next = troubles.next_retry().unwrap();
            longest = longest.max(next - now);
            now = next;
            assert!(!troubles.rests(now, Part::Monitor));
            assert_eq!(troubles.retry_at(Part::Monitor), Some(now));
            assert_eq!(troubles.rested(now).collect::<Vec<_>>(), [Part::Monitor]);
        }
        assert_eq!((reports, longest), (1, Troubles::LONGEST));
        assert_eq!(troubles.work(Part::Monitor), Course::Over);
        assert!(troubles.is_empty());
        assert_eq!(troubles.work(Part::Monitor), Course::Passing);
    }

    #[test]
    fn a_failure_that_passes_is_not_lasting() {
        let mut troubles = Troubles::default();
        for seconds in 0..100 {
            let now = Instant::ZERO + Duration::from_secs(seconds);
            assert_eq!(troubles.fail(now, Part::Lists), Course::Passing);
            assert_eq!(troubles.work(Part::Lists), Course::Passing);
        }
    }
}
