//! Validation of a configuration.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::Weight;

use super::{Capacity, Check, Config, Limit, Panic, VirtualServer};

/// The longest interval and time limit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest interval and time limit.
const SHORTEST: Duration = Duration::from_millis(1);

/// A wrong value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{field}: {value} is not allowed: {allowed}; {remedy}")]
pub struct ConfigError {
    /// The service, server and check that the field belongs to, each followed by a blank; empty for
    /// a field of the whole pool.
    pub place: String,
    /// The field.
    pub field: &'static str,
    /// The value.
    pub value: String,
    /// The allowed range.
    pub allowed: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

/// All wrong values of a configuration, one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

/// One error a line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl<P> Config<P> {
    /// Checks all values.
    ///
    /// # Errors
    ///
    /// All wrong values, in the order of the configuration.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = Errors {
            place: String::new(),
            found: Vec::new(),
        };
        if self.max_running == 0 {
            errors.add("max_running", 0, "1 or more", "leave it out for 500");
        }
        let mut keys = BTreeSet::new();
        for server in &self.services {
            errors.place = format!("{}: ", server.key());
            if !keys.insert(server.key()) {
                let remedy = "merge the two services";
                errors.add("service", server.key(), "each service once", remedy);
            }
            errors.service(server);
        }
        if errors.found.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors(errors.found))
        }
    }
}

struct Errors {
    place: String,
    found: Vec<ConfigError>,
}

impl Errors {
    fn add(
        &mut self,
        field: &'static str,
        value: impl fmt::Display,
        allowed: &'static str,
        remedy: &'static str,
    ) {
        self.found.push(ConfigError {
            place: self.place.clone(),
            field,
            value: value.to_string(),
            allowed,
            remedy,
        });
    }

    fn service<P>(&mut self, server: &VirtualServer<P>) {
        let quorum = server.quorum;
        let at_least = match quorum.at_least {
            Capacity::Weight(weight) => {
                if weight == 0 {
                    let remedy = "use 1 for any live server";
                    self.add("quorum", weight, "a weight of 1 or more", remedy);
                }
                weight
            }
            Capacity::Percent(percent) => {
                if !(1..=100).contains(&percent) {
                    let remedy = "use a weight for an absolute quorum";
                    self.add("quorum", percent, "1 to 100 percent", remedy);
                }
                percent
            }
        };
        if quorum.hysteresis >= at_least.max(1) {
            let remedy = "lower it, or raise the quorum";
            self.add(
                "hysteresis",
                quorum.hysteresis,
                "less than the quorum",
                remedy,
            );
        }
        if let Some(sorry) = &server.sorry_server
            && sorry.destination.weight == Weight::ZERO
        {
            let remedy = "leave the weight out for 1";
            self.add("sorry_server", "weight 0", "a weight of 1 or more", remedy);
        }
        if let Some(Limit::Percent(percent)) = server.brake
            && percent > 100
        {
            let remedy = "leave the brake out for no limit";
            self.add("brake", percent, "0 to 100 percent", remedy);
        }
        if let Panic::BelowPercent(percent) = server.panic
            && !(1..=100).contains(&percent)
        {
            let remedy = "use \"off\" to leave the table empty";
            self.add("panic", percent, "1 to 100 percent", remedy);
        }
        if let Some(slow_start) = server.slow_start
            && !(SHORTEST..=LONGEST).contains(&slow_start)
        {
            let remedy = "leave it out for the full weight at once";
            self.duration("slow_start", slow_start, "1 ms to 1 day", remedy);
        }
        if let Some(passive) = server.passive
            && passive.connections_without_answer == 0
        {
            let remedy = "leave `passive` out to ignore the kernel's counters";
            self.add("connections_without_answer", 0, "1 or more", remedy);
        }
        let place = self.place.clone();
        self.checks(&server.checks);
        let mut keys = BTreeSet::new();
        for real in &server.servers {
            self.place = format!("{place}server {}: ", real.key());
            if !keys.insert(real.key()) {
                let remedy = "merge the two servers";
                self.add("server", real.key(), "each server once", remedy);
            }
            self.checks(&real.checks);
        }
        self.place = place;
    }

    fn checks<P>(&mut self, checks: &[Check<P>]) {
        let place = self.place.clone();
        for (number, check) in checks.iter().enumerate() {
            self.place = if check.name.is_empty() {
                format!("{place}check {}: ", number + 1)
            } else {
                format!("{place}check {:?}: ", check.name)
            };
            self.check(check);
        }
        self.place = place;
    }

    fn check<P>(&mut self, check: &Check<P>) {
        if check.probes.is_empty() {
            self.add("probes", "an empty list", "1 or more", "remove the check");
        }
        let shown = |interval: Option<Duration>| interval.unwrap_or(check.interval);
        for (field, interval, shortest) in [
            ("interval", check.interval, SHORTEST),
            ("fast_interval", check.fast(), SHORTEST),
            (
                "rising_interval",
                shown(check.rising_interval),
                Duration::ZERO,
            ),
            ("down_interval", shown(check.down_interval), SHORTEST),
            ("time_limit", check.time_limit, SHORTEST),
        ] {
            if !(shortest..=LONGEST).contains(&interval) {
                let remedy = "write a time with its unit, such as \"500ms\" or \"2s\"";
                let allowed = if shortest.is_zero() {
                    "0 to 1 day"
                } else {
                    "1 ms to 1 day"
                };
                self.duration(field, interval, allowed, remedy);
            }
        }
        if check.spread() > LONGEST {
            let remedy = "leave it out for 1 s";
            self.duration("spread", check.spread(), "0 to 1 day", remedy);
        }
        if check.fall == 0 {
            let remedy = "use 1 to act on each failure";
            self.add("fall", 0, "1 or more", remedy);
        }
        if check.rise == 0 {
            let remedy = "use 1 to act on each success";
            self.add("rise", 0, "1 or more", remedy);
        }
        if check.noise > 50 {
            let remedy = "2 to 10 keeps probes spread";
            self.add("noise", check.noise, "0 to 50 percent", remedy);
        }
    }

    fn duration(
        &mut self,
        field: &'static str,
        value: Duration,
        allowed: &'static str,
        remedy: &'static str,
    ) {
        self.add(
            field,
            format_args!("{} s", value.as_secs_f64()),
            allowed,
            remedy,
        );
    }
}
