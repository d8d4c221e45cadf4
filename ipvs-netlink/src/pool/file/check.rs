//! A check.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::pool::{Check, Effect, FirstResult, Initial, Pace};

/// A check as a file has it: one `probe` or several `probes`. Missing fields have their defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckForm<P> {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    probe: Option<P>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    probes: Vec<P>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    interval: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fast_interval: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rising_interval: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down_interval: Option<Span>,
    time_limit: Option<Span>,
    fall: Option<u32>,
    rise: Option<u32>,
    first_result: Option<FirstResult>,
    initial: Option<Initial>,
    pace: Option<Pace>,
    noise: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<Span>,
    effect: Option<Effect>,
    retry_while_down: Option<bool>,
}

fn none<P>() -> Option<P> {
    None
}

impl<P> TryFrom<CheckForm<P>> for Check<P> {
    type Error = &'static str;

    fn try_from(form: CheckForm<P>) -> Result<Self, Self::Error> {
        let probes = match (form.probe, form.probes) {
            (Some(probe), probes) if probes.is_empty() => vec![probe],
            (None, probes) if !probes.is_empty() => probes,
            (Some(_), _) => return Err("probe and probes: use one of them"),
            (None, _) => return Err("probe: missing; add the attempt that the check makes"),
        };
        let default = Check::of(probes);
        let time = |span: Option<Span>, default: Duration| span.map_or(default, |span| span.0);
        let optional = |span: Option<Span>| span.map(|span| span.0);
        Ok(Self {
            name: form.name,
            address: form.address,
            port: form.port,
            interval: time(form.interval, default.interval),
            fast_interval: optional(form.fast_interval),
            rising_interval: optional(form.rising_interval),
            down_interval: optional(form.down_interval),
            time_limit: time(form.time_limit, default.time_limit),
            fall: form.fall.unwrap_or(default.fall),
            rise: form.rise.unwrap_or(default.rise),
            first_result: form.first_result.unwrap_or(default.first_result),
            initial: form.initial.unwrap_or(default.initial),
            pace: form.pace.unwrap_or(default.pace),
            noise: form.noise.unwrap_or(default.noise),
            spread: optional(form.spread),
            effect: form.effect.unwrap_or(default.effect),
            retry_while_down: form.retry_while_down.unwrap_or(default.retry_while_down),
            probes: default.probes,
        })
    }
}

impl<P> From<Check<P>> for CheckForm<P> {
    fn from(check: Check<P>) -> Self {
        let optional = |time: Option<Duration>| time.map(Span);
        let mut probes = check.probes;
        let probe = if probes.len() == 1 {
            probes.pop()
        } else {
            None
        };
        Self {
            name: check.name,
            probe,
            probes,
            address: check.address,
            port: check.port,
            interval: Some(Span(check.interval)),
            fast_interval: optional(check.fast_interval),
            rising_interval: optional(check.rising_interval),
            down_interval: optional(check.down_interval),
            time_limit: Some(Span(check.time_limit)),
            fall: Some(check.fall),
            rise: Some(check.rise),
            first_result: Some(check.first_result),
            initial: Some(check.initial),
            pace: Some(check.pace),
            noise: Some(check.noise),
            spread: optional(check.spread),
            effect: Some(check.effect),
            retry_while_down: Some(check.retry_while_down),
        }
    }
}
