//! Times that are given in seconds, with or without a fraction.

use std::{ops::RangeInclusive, time::Duration};

use vrrp_fsm::Config;

/// Parses a delay of the protocol.
pub(crate) fn parse_delay(text: &str) -> Result<Duration, String> {
    parse(text, 0.0..=Config::LONGEST_DELAY.as_secs_f64())
}

/// Parses a time limit of up to the same length.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    parse(text, 0.01..=Config::LONGEST_DELAY.as_secs_f64())
}

pub(crate) fn parse(text: &str, range: RangeInclusive<f64>) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| range.contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            format!(
                "{text} is not in {}..={} seconds",
                range.start(),
                range.end()
            )
        })
}
