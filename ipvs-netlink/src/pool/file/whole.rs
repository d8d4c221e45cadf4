//! The whole configuration.

use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::pool::{Config, VirtualServer};

/// The configuration as a file has it. Missing fields have their defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, bound(serialize = "P: Clone + Serialize"))]
pub(crate) struct ConfigForm<P> {
    max_running: Option<u32>,
    seed: Option<u64>,
    stall: Option<Span>,
    #[serde(default = "Vec::new")]
    services: Vec<VirtualServer<P>>,
}

impl<P> From<ConfigForm<P>> for Config<P> {
    fn from(form: ConfigForm<P>) -> Self {
        let default = Self::default();
        Self {
            services: form.services,
            max_running: form.max_running.unwrap_or(default.max_running),
            seed: form.seed.unwrap_or(default.seed),
            stall: form.stall.map_or(default.stall, |time| time.0),
        }
    }
}

impl<P> From<Config<P>> for ConfigForm<P> {
    fn from(config: Config<P>) -> Self {
        Self {
            max_running: Some(config.max_running),
            seed: Some(config.seed),
            stall: Some(Span(config.stall)),
            services: config.services,
        }
    }
}
