//! The settings of a simulation.

use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use vrrp_fsm::{
    Instant,
    fleet::{RouterId, RouterKey, SyncGroup},
    sim::{Chance, FaultRates, Rate, Scenario, TrackedObject},
    track::{Kind, Object, ObjectId, Report, TrackRef},
};
use vrrp_proto::{Interval, LocalAuthentication, Password, Priority, hmac::AntiReplay};

use crate::{Failure, mistake::Mistake};

#[derive(Args, Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    /// Number of virtual routers, half of them IPv4 and half IPv6.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) routers: u32,

    /// Number of hosts. Each takes part in all virtual routers.
    #[arg(long, value_name = "M", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) fleets: u32,

    /// Virtual hours with faults. A while without faults follows.
    #[arg(long, value_name = "H", default_value_t = 1.0, value_parser = hours)]
    pub(crate) hours: f64,

    /// The time between advertisements in centiseconds.
    #[arg(long, value_name = "CS", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=4095))]
    pub(crate) interval: u16,

    /// The longest time that a message takes, in microseconds.
    #[arg(long, value_name = "US", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000_000))]
    pub(crate) delay: u64,

    /// Percentage of messages that are lost.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = per_cent)]
    pub(crate) loss: f64,

    /// Percentage of messages that arrive twice.
    #[arg(long, value_name = "P", default_value_t = 0.1, value_parser = per_cent)]
    pub(crate) duplication: f64,

    /// Percentage of messages that arrive up to two intervals late.
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = per_cent)]
    pub(crate) late: f64,

    /// Percentage of messages that arrive once more, up to a minute later.
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = per_cent)]
    pub(crate) resent: f64,

    /// The virtual routers that use unicast, with the other hosts as their peers.
    #[arg(long, value_name = "WHICH", default_value_t, value_enum)]
    pub(crate) unicast: Unicast,

    /// Authentication of messages. With a password or IP AH, routers over IPv4 speak version 2,
    /// with an interval of whole seconds, and those over IPv6 have no authentication.
    #[arg(long, value_name = "METHOD", default_value_t, value_enum)]
    pub(crate) authentication: Authentication,

    /// Mean seconds between two crashes, and likewise for stalls, stops, changes of priority and of
    /// interval, objects that go down, partitions, and one-way cuts. 0 for none.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) faults_every: u32,

    /// The longest duration of such a fault, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) faults_last: u32,

    /// Number of sync groups of two virtual routers.
    #[arg(long, value_name = "G", default_value_t = 0)]
    pub(crate) groups: u32,

    /// Give the hosts this mistake, for the simulation to find.
    #[arg(long, value_name = "MISTAKE")]
    pub(crate) mistake: Option<Mistake>,
}

/// The virtual routers that use unicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unicast {
    #[default]
    None,
    /// The routers with an even VRID.
    Half,
    All,
}

/// The authentication of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Authentication {
    #[default]
    None,
    /// Version 2 with a password in clear text.
    Password,
    /// Version 2 inside IP AH, with HMAC-MD5.
    Ah,
    /// A trailer with HMAC-SHA256, with sequence numbers that only have to grow.
    Hmac,
    /// The same with sequence numbers that are at most 5 seconds old.
    HmacTime,
}

/// The oldest message that [`Authentication::HmacTime`] accepts, in seconds.
pub(crate) const WINDOW: u16 = 5;

/// The settings in the first line of a trace.
const MARK: &str = "# simulate ";

impl Setting {
    /// The line from which [`of_trace`](Self::of_trace) reads the settings.
    pub(crate) fn line(&self) -> String {
        format!("{MARK}{}", self.options())
    }

    /// The options of the command line that give these settings.
    pub(crate) fn options(&self) -> String {
        let Self {
            routers,
            fleets,
            hours,
            interval,
            delay,
            loss,
            duplication,
            late,
            resent,
            unicast,
            authentication,
            faults_every,
            faults_last,
            groups,
            mistake,
        } = self;
        let (unicast, authentication) = (name(unicast), name(authentication));
        let mistake = mistake.map_or(String::new(), |it| format!(" --mistake {}", name(&it)));
        format!(
            "--routers {routers} --fleets {fleets} --hours {hours} --interval {interval} --delay {delay} --loss {loss} --duplication {duplication} \
             --late {late} --resent {resent} --unicast {unicast} --authentication {authentication} --faults-every {faults_every} --faults-last {faults_last} --groups {groups}{mistake}"
        )
    }

    /// Reads the settings of a trace.
    pub(crate) fn of_trace(text: &str) -> Result<Self, Failure> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Line {
            #[command(flatten)]
            setting: Setting,
        }
        let line = text.lines().find_map(|line| line.strip_prefix(MARK));
        let line = line.ok_or_else(|| format!("no line begins with {MARK:?}"))?;
        Ok(Line::try_parse_from(line.split_whitespace())?.setting)
    }

    /// Checks combinations of options.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let most = self.routers / 2;
        if self.groups > most {
            let (groups, routers) = (self.groups, self.routers);
            return Err(format!(
                "--groups {groups} is not in 0..={most}: two of --routers {routers} make one"
            )
            .into());
        }
        let methods: &[Authentication] = match self.mistake {
            Some(Mistake::ForgetsSequenceNumbers) => {
                &[Authentication::None, Authentication::Password]
            }
            Some(Mistake::WrongSecret) => &[Authentication::None],
            _ => &[],
        };
        if let Some(mistake) = self.mistake
            && methods.contains(&self.authentication)
        {
            let (mistake, method) = (name(&mistake), name(&self.authentication));
            return Err(format!(
                "--mistake {mistake} changes nothing with --authentication {method}"
            )
            .into());
        }
        Ok(())
    }

    /// When the last fault is over.
    pub(crate) fn faults_until(&self) -> Instant {
        Instant::ZERO + Duration::from_secs_f64(self.hours * 3600.0)
    }

    /// The end of the run: every fault has been corrected, and the neighbors know.
    pub(crate) fn end(&self) -> Instant {
        // Version 2 may have rounded the interval up to whole seconds.
        let round = self.interval() + Duration::from_secs(1);
        self.faults_until() + round * 6 + self.delay() * 6
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.interval) * 10)
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.delay)
    }

    pub(crate) fn scenario(&self) -> Result<Scenario, Failure> {
        let mut scenario = Scenario::uniform(self.fleets, self.routers)?;
        scenario.network.longest_delay = self.delay();
        scenario.network.shortest_delay = scenario.network.shortest_delay.min(self.delay());
        scenario.faults = self.faults()?;
        let grouped = self.groups * 2;
        for (number, plan) in (0..).zip(&mut scenario.hosts) {
            for member in &mut plan.members {
                member.config.interval = Interval::centis(self.interval)?;
            }
            plan.objects.push(TrackedObject {
                object: Object::new("uplink", Kind::Interface),
                good: Some(Report::Up),
                bad: Some(Report::Down),
            });
            if let Some(last) = plan.members.last_mut() {
                last.tracking.push(TrackRef::of(ObjectId::nth(0)));
            }
            // All members of a group need the same order of hosts.
            for member in plan.members.iter_mut().take(usize::try_from(grouped)?) {
                member.config.priority = Priority::new(u8::try_from(200 - number)?);
            }
            for first in (0..grouped).step_by(2).filter(|first| first + 1 < grouped) {
                let members = vec![RouterId::nth(first), RouterId::nth(first + 1)];
                plan.groups
                    .push(SyncGroup::new(format!("group {first}"), members));
            }
        }
        let is_unicast = |key: RouterKey| match self.unicast {
            Unicast::None => false,
            Unicast::Half => key.vrid.get().is_multiple_of(2),
            Unicast::All => true,
        };
        scenario.use_unicast(is_unicast);
        self.authenticate(&mut scenario)?;
        Ok(scenario)
    }

    fn authenticate(&self, scenario: &mut Scenario) -> Result<(), Failure> {
        scenario.use_authentication(match self.authentication {
            Authentication::None => LocalAuthentication::None,
            Authentication::Password => LocalAuthentication::SimpleText(Password::new(b"secret")?),
            Authentication::Ah => LocalAuthentication::IpAh,
            Authentication::Hmac | Authentication::HmacTime => LocalAuthentication::Hmac,
        });
        if self.authentication == Authentication::HmacTime {
            if self.delay() >= Duration::from_secs(WINDOW.into()) {
                return Err(format!(
                    "--delay {}: with --authentication hmac-time, hosts discard messages that are \
                     {WINDOW} s old; use less than {WINDOW}000000",
                    self.delay
                )
                .into());
            }
            for plan in &mut scenario.hosts {
                plan.secrets.anti_replay = AntiReplay::time(WINDOW)?;
            }
        }
        if let (Some(Mistake::WrongSecret), Some(plan)) = (self.mistake, scenario.hosts.first_mut())
        {
            plan.secrets.ah = Password::new(b"another")?;
            plan.secrets.hmac = [0; 32];
            for member in &mut plan.members {
                if let LocalAuthentication::SimpleText(password) = &mut member.authentication {
                    *password = Password::new(b"another")?;
                }
            }
        }
        Ok(())
    }

    fn faults(&self) -> Result<FaultRates, Failure> {
        let rate = (self.faults_every != 0).then_some(Rate {
            every: Duration::from_secs(self.faults_every.into()),
            longest: Duration::from_secs(self.faults_last.into()),
        });
        Ok(FaultRates {
            until: self.faults_until(),
            crash: rate,
            stall: rate,
            stop: rate,
            priority: rate,
            interval: rate,
            object: rate,
            partition: rate,
            one_way: rate,
            loss: chance(self.loss)?,
            duplication: chance(self.duplication)?,
            late: chance(self.late)?,
            latest: self.interval() * 2,
            replay: chance(self.resent)?,
            oldest: Duration::from_secs(60),
        })
    }
}

/// The value as it is written on the command line.
fn name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |it| it.get_name().to_owned())
}

fn hours(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1_000_000.0)
}

fn per_cent(text: &str) -> Result<f64, String> {
    number(text, 0.0, 100.0)
}

fn number(text: &str, lowest: f64, highest: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if (lowest..=highest).contains(&number) {
        Ok(number)
    } else {
        Err(format!("not in {lowest}..={highest}"))
    }
}

/// A chance in per cent that has been validated.
fn chance(per_cent: f64) -> Result<Chance, Failure> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let per_million = (per_cent * 10_000.0).round() as u32;
    Ok(Chance::per_million(per_million)?)
}
