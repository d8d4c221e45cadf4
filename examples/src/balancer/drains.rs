//! The destinations that are being drained, which continue to drain after a restart.

use std::{collections::BTreeMap, time::Duration};

use ipvs_netlink::{
    DestinationKey, ServiceKey, Weight,
    plan::{Drain, Draining, DrainingDestination},
};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_with::{As, DisplayFromStr};

/// Returns the time since the boot of the host, which runs on between two runs of a program.
///
/// A boot sets it back, and empties the kernel's table as well.
pub(crate) fn boot_time() -> Duration {
    // Linux has had this clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// The rules of destinations that were being drained when the end began. Each gets the time of
/// `rule` from then on, as those get it that had weight above 0 until then; its drain does not
/// become longer.
pub(super) fn rules_at_the_end(
    draining: &Draining,
    begun: Duration,
    rule: Drain,
) -> BTreeMap<(ServiceKey, DestinationKey), Option<Drain>> {
    let earlier = draining.destinations.iter();
    let earlier = earlier.filter(|(_, before)| before.since < begun);
    let rules = earlier.map(|(place, before)| {
        let longest = before.until.saturating_sub(before.since);
        let elapsed = begun.saturating_sub(before.since);
        let time = |more: Duration| elapsed.saturating_add(more).min(longest);
        let rule = Drain {
            at_most: time(rule.at_most),
            at_most_udp: time(rule.at_most_udp),
            ..rule
        };
        (*place, Some(rule))
    });
    rules.collect()
}

/// The destinations that are being drained, in a form that a file keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct SavedDrains(Vec<SavedDrain>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct SavedDrain {
    #[serde(with = "As::<DisplayFromStr>")]
    service: ServiceKey,
    #[serde(with = "As::<DisplayFromStr>")]
    server: DestinationKey,
    since: Duration,
    until: Duration,
    weight: u32,
    rule: Option<SavedRule>,
}

/// A [`Drain`], in a form that a file keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct SavedRule {
    at_most: Duration,
    at_most_udp: Duration,
    connections: u32,
    count_persistent: bool,
}

impl SavedDrains {
    /// The drains of a reconciler whose clock is `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn of(draining: &Draining) -> Self {
        let drains = draining.destinations.iter();
        Self(
            drains
                .map(|(&(service, server), drain)| SavedDrain {
                    service,
                    server,
                    since: drain.since,
                    until: drain.until,
                    weight: drain.weight.get(),
                    rule: drain.rule.map(|rule| SavedRule {
                        at_most: rule.at_most,
                        at_most_udp: rule.at_most_udp,
                        connections: rule.connections,
                        count_persistent: rule.count_persistent,
                    }),
                })
                .collect(),
        )
    }

    /// The drains, for a reconciler.
    #[must_use]
    pub fn draining(&self) -> Draining {
        let drains = self.0.iter();
        let destinations = drains.map(|drain| {
            let destination = DrainingDestination {
                since: drain.since,
                until: drain.until,
                weight: Weight::new(drain.weight).unwrap_or(Weight::ZERO),
                rule: drain.rule.map(|rule| Drain {
                    at_most: rule.at_most,
                    at_most_udp: rule.at_most_udp,
                    connections: rule.connections,
                    count_persistent: rule.count_persistent,
                }),
            };
            ((drain.service, drain.server), destination)
        });
        Draining {
            destinations: destinations.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn at_the_end_a_drain_gets_the_time_of_the_end_unless_its_own_ends_before() {
        let service = ServiceKey::tcp(([192, 0, 2, 1], 80));
        let place = |server| (service, DestinationKey::new(([10, 0, 0, server], 80)));
        let drain = |since, until| DrainingDestination {
            since: seconds(since),
            until: seconds(until),
            weight: Weight::ZERO,
            rule: None,
        };
        let begun = 1_000;
        let mut draining = Draining::default();
        let all = [drain(500, 1_400), drain(500, 1_010), drain(begun, 1_900)];
        for (server, drain) in (1..).zip(all) {
            draining.destinations.insert(place(server), drain);
        }
        let rule = Drain {
            at_most: seconds(60),
            at_most_udp: seconds(30),
            ..Drain::default()
        };
        let of = |at_most, at_most_udp| {
            Some(Drain {
                at_most: seconds(at_most),
                at_most_udp: seconds(at_most_udp),
                ..rule
            })
        };
        let rules = rules_at_the_end(&draining, seconds(begun), rule);
        // The last one follows the rule of its service.
        let expected = [(place(1), of(560, 530)), (place(2), of(510, 510))];
        assert_eq!(rules, expected.into());
    }
}
