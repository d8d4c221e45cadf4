//! The configuration file.

use std::{
    fs,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use ipvs_netlink::pool::{Config, VirtualServer};
use serde::Deserialize;
use vrrp_examples::{
    announce::Announce,
    balancer::Stop,
    probe::Probe,
    toml_file::{complaint, time},
    virtual_routers::{self, Router, Sync},
};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The UNIX socket for pages and commands.
    pub(crate) control: Option<PathBuf>,
    /// The TCP address for pages.
    pub(crate) page: Option<SocketAddr>,
    /// The file in which settings of the operator survive a restart.
    pub(crate) state: Option<PathBuf>,
    /// The command that is run for each event, and its arguments.
    #[serde(default)]
    pub(crate) notify: Vec<String>,
    #[serde(default)]
    on_stop: OnStop,
    /// The longest drain at the end.
    #[serde(default = "drain_limit", deserialize_with = "time")]
    drain_limit: Duration,
    /// How often the kernel's table is compared.
    #[serde(default = "interval", deserialize_with = "time")]
    pub(crate) interval: Duration,
    #[serde(default)]
    pub(crate) routers: Vec<Router>,
    pub(crate) sync: Option<Sync>,
    #[serde(default)]
    pub(crate) announce: Vec<Announce>,
    seed: Option<u64>,
    max_running: Option<u32>,
    #[serde(default)]
    services: Vec<VirtualServer<Probe>>,
}

/// How the program ends.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnStop {
    #[default]
    Leave,
    Remove,
    Drain,
}

impl File {
    /// Reads a file. An error is a text for people, with the line and a mark under the position.
    pub(crate) fn read(path: &Path, is_coloured: bool) -> Result<Self, String> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        let complain = |message: &str, span| complaint(path, &text, message, span, is_coloured);
        let file: Self =
            toml::from_str(&text).map_err(|error| complain(error.message(), error.span()))?;
        let wrong = file.pool().validate().err().into_iter();
        let mut complaints: Vec<_> = wrong
            .flat_map(|errors| errors.0)
            .map(|error| {
                let service = error.place.split(": ").next().unwrap_or_default();
                complain(&error.to_string(), place(&text, service))
            })
            .collect();
        for (number, message) in virtual_routers::mistakes(&file.routers) {
            let header = text.match_indices("[[routers]]").nth(number);
            let span = header.map(|(start, word)| start..start + word.len());
            complaints.push(complain(&message, span));
        }
        for announce in &file.announce {
            if !file.services.iter().any(|it| it.key() == announce.service) {
                let message = format!("announce: there is no service {}", announce.service);
                let span = place(&text, &announce.service.to_string());
                complaints.push(complain(&message, span));
            }
        }
        if complaints.is_empty() {
            Ok(file)
        } else {
            Err(complaints.join("\n"))
        }
    }

    /// The configuration of the pool. Hosts with the same file have different seeds.
    pub(crate) fn pool(&self) -> Config<Probe> {
        let default = Config::default();
        let host = nix::unistd::gethostname().unwrap_or_default();
        let seed = host.as_encoded_bytes().iter();
        let seed = seed.fold(5381_u64, |seed, byte| {
            seed.wrapping_mul(33) ^ u64::from(*byte)
        });
        Config {
            services: self.services.clone(),
            seed: self.seed.unwrap_or(seed),
            max_running: self.max_running.unwrap_or(default.max_running),
            ..default
        }
    }

    /// The state in which the table is left at the end.
    pub(crate) fn stop(&self) -> Stop {
        match self.on_stop {
            OnStop::Leave => Stop::Leave,
            OnStop::Remove => Stop::Remove,
            OnStop::Drain => Stop::Drain(self.drain_limit),
        }
    }
}

fn place(text: &str, word: &str) -> Option<Range<usize>> {
    let start = text.find(word).filter(|_| !word.is_empty())?;
    Some(start..start + word.len())
}

fn interval() -> Duration {
    Duration::from_secs(1)
}

fn drain_limit() -> Duration {
    Duration::from_secs(60)
}
