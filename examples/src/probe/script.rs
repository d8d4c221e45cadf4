//! A command on this host.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    DestinationKey, ServiceKey,
    pool::{Config, FailureKind, Outcome, WeightReport},
};
use nix::unistd::{Gid, Group, Uid};
use rustix::event::{EventfdFlags, eventfd};
use serde::{Deserialize, Deserializer, de};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Probe, source::local, stuck};
use crate::command::{self, Limits, run_or_give_up};

/// How long a command may take to end after SIGTERM, and again after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A command on this host, in a process group of its own.
///
/// Exit status 0 is a success. A command that does not end by the deadline has failed; its process
/// group gets SIGTERM, and SIGKILL two seconds later. While a run of it cannot be ended either way,
/// further attempts with the same target fail without a start.
///
/// In addition to the environment of this program it has `CHECK_ADDRESS` and `CHECK_PORT`, the
/// target, and `CHECK_SERVICE` and `CHECK_SERVER` as [`name_places`] sets them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Script {
    /// The path of the program, and its arguments. No shell is involved.
    pub command: Vec<String>,
    /// The user that it runs as. Default: that of this program.
    pub user: Option<User>,
    /// More variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// Whether the exit statuses 2 to 255 are successes that set the weight to 0 to 253, as with
    /// keepalived's `misc_dynamic`.
    pub weighs: bool,
    /// The service and server for its environment.
    pub place: Option<Place>,
}

/// A server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The service.
    pub service: ServiceKey,
    /// The server.
    pub server: DestinationKey,
}

/// A user with a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Looks up `USER`, with the group of that user, or `USER:GROUP`.
    ///
    /// # Errors
    ///
    /// A text that names the unknown user or group.
    pub fn look_up(name: &str) -> Result<Self, String> {
        let (user, group) = match name.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (name, None),
        };
        let user = nix::unistd::User::from_name(user)
            .map_err(|error| format!("user {user:?}: {error}"))?
            .ok_or_else(|| format!("user {user:?}: there is no such user"))?;
        let gid = match group {
            None => user.gid,
            Some(group) => {
                Group::from_name(group)
                    .map_err(|error| format!("group {group:?}: {error}"))?
                    .ok_or_else(|| format!("group {group:?}: there is no such group"))?
                    .gid
            }
        };
        Ok(Self::new(user.uid, gid))
    }

    /// A user by its numbers.
    #[must_use]
    pub fn new(uid: Uid, gid: Gid) -> Self {
        Self {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        }
    }
}

impl Script {
    /// A command with the defaults of the other fields.
    #[must_use]
    pub const fn new(command: Vec<String>) -> Self {
        Self {
            command,
            user: None,
            environment: BTreeMap::new(),
            weighs: false,
            place: None,
        }
    }

    pub(super) async fn run(&self, target: SocketAddr, deadline: Instant) -> Outcome {
        match self.start(target, deadline) {
            Ok((_running, outcome)) => outcome
                .await
                .unwrap_or(Outcome::LocalFailure("the command was given up".into())),
            Err(outcome) => outcome,
        }
    }

    /// Starts the command on a thread of its own, which also ends the command.
    fn start(
        &self,
        target: SocketAddr,
        deadline: Instant,
    ) -> Result<(RunningProbe, oneshot::Receiver<Outcome>), Outcome> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = Arc::new(stop.map_err(|errno| local("make an eventfd")(errno.into()))?);
        let running = RunningProbe {
            stop: Arc::clone(&stop),
            deadline,
        };
        let (report, outcome) = oneshot::channel();
        let command = self.command(target)?;
        let key = (self.clone(), target);
        if stuck::is_stuck(&key) {
            let text = "an earlier run cannot be ended; the next one waits for its end";
            return Err(Outcome::failure(FailureKind::TimeLimit, text));
        }
        let limits = Limits {
            run: deadline.saturating_duration_since(Instant::now()),
            grace: GRACE,
        };
        let weighs = self.weighs;
        spawn_blocking(move || {
            let mut sender = Some(report);
            let process = run_or_give_up(command, limits, stop.as_fd(), |ended, output| {
                // A command that cannot be ended has a second report, but its probe is over by
                // then.
                if let Some(sender) = sender.take() {
                    let _ = sender.send(evaluate(ended, output, weighs));
                }
            });
            if let Some(process) = process {
                stuck::keep(key, process);
            }
        });
        Ok((running, outcome))
    }

    fn command(&self, target: SocketAddr) -> Result<Command, Outcome> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(Outcome::LocalFailure("a command without words".into()));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("CHECK_ADDRESS", target.ip().to_string())
            .env("CHECK_PORT", target.port().to_string());
        if let Some(place) = &self.place {
            command
                .env("CHECK_SERVICE", place.service.to_string())
                .env("CHECK_SERVER", place.server.to_string());
        }
        command.envs(&self.environment);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        Ok(command)
    }
}

/// A command that runs. Dropping this before the deadline ends it.
struct RunningProbe {
    stop: Arc<OwnedFd>,
    deadline: Instant,
}

impl Drop for RunningProbe {
    fn drop(&mut self) {
        // After the deadline the command is being ended already, and keeps its full grace period.
        if Instant::now() < self.deadline {
            let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        }
    }
}

/// Translates the result of a command into an outcome.
fn evaluate(result: Result<(), command::Failure>, output: &str, weighs: bool) -> Outcome {
    let last = output.lines().last().unwrap_or_default().to_owned();
    let failure = match result {
        Ok(()) => return Outcome::Success(last.into()),
        Err(failure) => failure,
    };
    match failure {
        command::Failure::Start(error) => {
            Outcome::LocalFailure(format!("start the command: {error}").into())
        }
        command::Failure::Status(status) => match status.code() {
            Some(code @ 2..) if weighs => {
                let reported = u32::try_from(code - 2).unwrap_or(0);
                Outcome::Weight(WeightReport::Set(reported), last.into())
            }
            _ => {
                let colon = if last.is_empty() { "" } else { ": " };
                Outcome::failure(FailureKind::Command, format!("{status}{colon}{last}"))
            }
        },
        command::Failure::TimedOut(_) | command::Failure::Stuck(_) => {
            Outcome::failure(FailureKind::TimeLimit, "the command did not end in time")
        }
    }
}

/// Sets [`Script::place`] in all scripts of a configuration. Checks of a whole service that have a
/// script become checks of each of its servers, and are probed for each service.
pub fn name_places(config: &mut Config<Probe>) {
    for service in &mut config.services {
        let key = service.key();
        let is_script = |probe: &Probe| matches!(probe, Probe::Script(_));
        let any = service.checks.iter().flat_map(|check| &check.probes);
        if any.into_iter().any(is_script) {
            let shared = std::mem::take(&mut service.checks);
            for server in &mut service.servers {
                server.checks.splice(0..0, shared.iter().cloned());
            }
        }
        for server in &mut service.servers {
            let place = Place {
                service: key,
                server: server.destination.key,
            };
            let checks = server.checks.iter_mut();
            for probe in checks.flat_map(|check| &mut check.probes) {
                if let Probe::Script(script) = probe {
                    script.place = Some(place);
                }
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    command: CommandForm,
    user: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    weighs: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a command line, or an array of its words")]
enum CommandForm {
    Line(String),
    Words(Vec<String>),
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let command = match form.command {
            CommandForm::Words(words) => words,
            CommandForm::Line(line) => shlex::split(&line).ok_or_else(|| {
                de::Error::custom(format!("command {line:?}: a quotation has no end"))
            })?,
        };
        if !command
            .first()
            .is_some_and(|program| program.starts_with('/'))
        {
            return Err(de::Error::custom(format!(
                "command {command:?}: use the absolute path of a program"
            )));
        }
        let user = form.user.as_deref().map(User::look_up).transpose();
        Ok(Self {
            user: user.map_err(de::Error::custom)?,
            environment: form.environment,
            weighs: form.weighs,
            ..Self::new(command)
        })
    }
}
