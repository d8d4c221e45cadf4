//! The destinations that are being drained, which continue to drain after a restart.

use std::time::Duration;

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
