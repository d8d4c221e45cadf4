//! The options that say what counts for a virtual router or a sync group.

use std::{
    fmt::Display, net::IpAddr, num::NonZeroU8, ops::RangeInclusive, path::PathBuf, str::FromStr,
    time::Duration, vec::IntoIter,
};

use clap::Args;
use vrrp_fsm::track::{Check, Debounce, Kind, ObjectId, Quorum, TrackRef, Weight};
use vrrp_net::{Route, Watch};
use vrrp_proto::Family;

use crate::{
    seconds,
    watch::{Probe, Target},
};

/// The default time from one check to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time beyond two runs after which a check is overdue, to allow for a busy machine.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Args)]
#[command(next_help_heading = "Tracking")]
#[allow(clippy::struct_field_names, reason = "they are those of the options")]
pub(crate) struct TrackingArguments {
    /// Another interface: bad while it is down or has no carrier. With `with ipv4` or `with ipv6`
    /// it is also bad while it has no usable address of that family.
    ///
    /// A bad object is a fault: the router is in Initialize. With a WEIGHT, -253 to -1 or 1 to 253,
    /// it changes the priority instead: a negative WEIGHT applies while the object is bad, a
    /// positive one while it is good. This option and the following ones can be repeated. Identical
    /// definitions in several routers and sync groups are one object, for which each may give
    /// another WEIGHT.
    ///
    /// All of these options take `reverse`, which swaps good and bad, and `up-delay S` and
    /// `down-delay S`, 0.01 to 3600 seconds: how long the object has to stay up or down before that
    /// counts.
    #[arg(long, value_name = "NAME[:WEIGHT] [...]", value_parser = Tracked::interface)]
    track_interface: Vec<Tracked>,

    /// An address: bad while no interface has it, or the interface after `dev` does not. IPv6
    /// addresses count after duplicate address detection.
    ///
    /// NAME is for messages.
    #[arg(
        long, value_name = "NAME[:WEIGHT] [...] is ADDRESS [dev NAME]", value_parser = Tracked::address
    )]
    track_address: Vec<Tracked>,

    /// A route, installed by any program: bad while no such route forwards packets.
    ///
    /// NAME is for messages. ROUTE is a prefix, then any of via ADDRESS, dev NAME, src ADDRESS,
    /// metric NUMBER, table NUMBER; those given have to match.
    #[arg(long, value_name = "NAME[:WEIGHT] [...] to ROUTE", value_parser = Tracked::route)]
    track_route: Vec<Tracked>,

    /// A command that runs periodically: bad when its status is not 0, or when it does not end in
    /// time.
    ///
    /// NAME is for messages. COMMAND is split into words as a shell does it, and runs without a
    /// shell; `run sh -c '...'` has one. The last lines that it prints are part of `check-failed`
    /// if it fails. Before `run` stand any of:
    ///
    /// `interval S`: from one run to the next, 0.01 to 3600 seconds, default 1.
    ///
    /// `timeout S`: the time limit of a run, default the interval. After it the process group gets
    /// SIGTERM, and a second later SIGKILL.
    ///
    /// `rise N`: consecutive successes after which it is good again, 1 to 255, default 1.
    ///
    /// `fall N`: consecutive failures after which it is bad, 1 to 255, default 1. The first run
    /// decides at once.
    #[arg(long, value_name = "NAME[:WEIGHT] [...] run COMMAND", value_parser = Tracked::script)]
    track_script: Vec<Tracked>,

    /// The processes of a name, as `ps -o comm` shows it: bad while there are too few or too many.
    ///
    /// Options: `at-least N`, default 1; `at-most N`; `interval S` from one count to the next, 0.01
    /// to 3600 seconds, default 1.
    #[arg(long, value_name = "NAME[:WEIGHT] [...]", value_parser = Tracked::process)]
    track_process: Vec<Tracked>,

    /// A file that contains a whole number. The number times WEIGHT is added to the priority; a sum
    /// of -254 or less is a fault. Without a WEIGHT any number except 0 is a fault.
    ///
    /// While no number can be read, the last one holds. Option: `interval S` from one read to the
    /// next, 0.01 to 3600 seconds, default 1.
    #[arg(long, value_name = "PATH[:WEIGHT] [...]", value_parser = Tracked::file)]
    track_file: Vec<Tracked>,
}

impl TrackingArguments {
    pub(crate) fn into_list(self) -> Vec<Tracked> {
        [
            self.track_interface,
            self.track_address,
            self.track_route,
            self.track_script,
            self.track_process,
            self.track_file,
        ]
        .concat()
    }
}

/// The part of the program that probes an object and reports it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reporter {
    /// The driver itself.
    Driver(Watch),
    /// A thread of this program.
    Thread(Probe),
}

/// A tracked object, as given on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) reporter: Reporter,
    pub(crate) debounce: Debounce,
    pub(crate) weight: Weight,
    pub(crate) reverse: bool,
}

impl Tracked {
    /// Whether it is the same object, whatever its weight is here.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind == other.kind
            && self.reporter == other.reporter
            && self.debounce == other.debounce
    }

    pub(crate) const fn used_as(&self, object: ObjectId) -> TrackRef {
        TrackRef {
            object,
            weight: Some(self.weight),
            reverse: Some(self.reverse),
        }
    }

    fn interface(text: &str) -> Result<Self, String> {
        let (mut head, mut words) = Head::read(text)?;
        let mut family = None;
        while let Some(option) = words.next() {
            if option == "with" {
                family = Some(match words.next().as_deref() {
                    Some("ipv4") => Family::Ipv4,
                    Some("ipv6") => Family::Ipv6,
                    _ => return Err("with takes ipv4 or ipv6".into()),
                });
            } else {
                head.take(&option, &mut words, "with, ")?;
            }
        }
        let name = head.name.clone();
        let watch = match family {
            Some(family) => Watch::InterfaceAddress { name, family },
            None => Watch::Interface(name),
        };
        Ok(head.into_tracked(Kind::Interface, Reporter::Driver(watch)))
    }

    fn address(text: &str) -> Result<Self, String> {
        let (mut head, mut words) = Head::read(text)?;
        let (mut address, mut interface) = (None, None);
        while let Some(option) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{option} has no value"));
            match option.as_str() {
                "is" => {
                    let value = value()?;
                    let parsed = value.parse::<IpAddr>();
                    address = Some(parsed.map_err(|_| format!("{value} is no IP address"))?);
                }
                "dev" => interface = Some(value()?),
                _ => head.take(&option, &mut words, "is, dev, ")?,
            }
        }
        let address = address.ok_or("is ADDRESS is missing")?;
        let watch = Watch::Address { address, interface };
        Ok(head.into_tracked(Kind::Address, Reporter::Driver(watch)))
    }

    fn route(text: &str) -> Result<Self, String> {
        let (mut head, mut words) = Head::read(text)?;
        while let Some(option) = words.next() {
            if option == "to" {
                let route: Vec<String> = words.collect();
                let route: Result<Route, _> = route.join(" ").parse();
                let watch = Watch::Route(route.map_err(|error| error.to_string())?);
                return Ok(head.into_tracked(Kind::Route, Reporter::Driver(watch)));
            }
            head.take(&option, &mut words, "to, ")?;
        }
        Err("to ROUTE is missing at the end".into())
    }

    fn script(text: &str) -> Result<Self, String> {
        const TIMES: RangeInclusive<NonZeroU8> = NonZeroU8::MIN..=NonZeroU8::MAX;
        let (mut head, mut words) = Head::read(text)?;
        let (mut interval, mut timeout, mut check) = (INTERVAL, None, Check::EACH);
        while let Some(option) = words.next() {
            match option.as_str() {
                "interval" => interval = span(&option, words.next())?,
                "timeout" => timeout = Some(span(&option, words.next())?),
                "rise" => check.rise = number(&option, words.next(), TIMES)?,
                "fall" => check.fall = number(&option, words.next(), TIMES)?,
                "run" => {
                    let timeout = timeout.unwrap_or(interval);
                    check.stale_after = Some((interval + timeout) * 2 + SLACK);
                    let target = Target::Script {
                        program: words
                            .next()
                            .filter(|program| !program.is_empty())
                            .ok_or("run needs a COMMAND")?,
                        arguments: words.collect(),
                        timeout,
                    };
                    return Ok(head.into_tracked(
                        Kind::Check(check),
                        Reporter::Thread(Probe { target, interval }),
                    ));
                }
                _ => head.take(&option, &mut words, "interval, timeout, rise, fall, run, ")?,
            }
        }
        Err("run COMMAND is missing at the end".into())
    }

    fn process(text: &str) -> Result<Self, String> {
        let (mut head, mut words) = Head::read(text)?;
        let (mut interval, mut at_least, mut at_most) = (INTERVAL, 1, None);
        while let Some(option) = words.next() {
            match option.as_str() {
                "at-least" => at_least = number(&option, words.next(), 0..=u32::MAX)?,
                "at-most" => at_most = Some(number(&option, words.next(), 0..=u32::MAX)?),
                "interval" => interval = span(&option, words.next())?,
                _ => head.take(&option, &mut words, "at-least, at-most, interval, ")?,
            }
        }
        if let Some(at_most) = at_most
            && at_most < at_least
        {
            return Err(format!(
                "at-most {at_most} is not in {at_least}.., from at-least"
            ));
        }
        let target = Target::Processes(head.name.clone());
        let kind = Kind::Processes(Quorum { at_least, at_most });
        Ok(head.into_tracked(kind, Reporter::Thread(Probe { target, interval })))
    }

    fn file(text: &str) -> Result<Self, String> {
        let (mut head, mut words) = Head::read(text)?;
        let mut interval = INTERVAL;
        while let Some(option) = words.next() {
            match option.as_str() {
                "interval" => interval = span(&option, words.next())?,
                _ => head.take(&option, &mut words, "interval, ")?,
            }
        }
        let target = Target::File(PathBuf::from(&head.name));
        Ok(head.into_tracked(Kind::Number, Reporter::Thread(Probe { target, interval })))
    }
}

/// The beginning of the definition of every tracked object.
struct Head {
    name: String,
    weight: Weight,
    reverse: bool,
    debounce: Debounce,
}

impl Head {
    /// `NAME[:WEIGHT]`, and the words behind it.
    fn read(text: &str) -> Result<(Self, IntoIter<String>), String> {
        let mut words = shlex::split(text)
            .ok_or("a quote is not closed")?
            .into_iter();
        let first = words.next().unwrap_or_default();
        let (name, weight) = match first.rsplit_once(':') {
            Some((name, weight)) => {
                let points = weight.parse();
                let points = points.map_err(|_| format!("weight {weight} is not a number"))?;
                let weight = Weight::points(points).map_err(|error| error.to_string())?;
                (name, weight)
            }
            None => (&*first, Weight::FAULT),
        };
        if name.is_empty() {
            return Err("the name is missing".into());
        }
        let head = Self {
            name: name.into(),
            weight,
            reverse: false,
            debounce: Debounce::NONE,
        };
        Ok((head, words))
    }

    /// Takes an option that all objects have. `others` names the object's own options, for the
    /// message about an unknown option.
    fn take(
        &mut self,
        option: &str,
        words: &mut IntoIter<String>,
        others: &str,
    ) -> Result<(), String> {
        match option {
            "reverse" => self.reverse = true,
            "up-delay" => self.debounce.up = span(option, words.next())?,
            "down-delay" => self.debounce.down = span(option, words.next())?,
            _ => {
                return Err(format!(
                    "{option:?} is not one of {others}reverse, up-delay, down-delay"
                ));
            }
        }
        Ok(())
    }

    fn into_tracked(self, kind: Kind, reporter: Reporter) -> Tracked {
        Tracked {
            name: self.name,
            kind,
            reporter,
            debounce: self.debounce,
            weight: self.weight,
            reverse: self.reverse,
        }
    }
}

fn span(option: &str, value: Option<String>) -> Result<Duration, String> {
    let value = value.ok_or_else(|| format!("{option} has no value"))?;
    seconds::parse(&value, 0.01..=3600.0).map_err(|problem| format!("{option} {problem}"))
}

fn number<N: FromStr + PartialOrd + Display>(
    option: &str,
    value: Option<String>,
    range: RangeInclusive<N>,
) -> Result<N, String> {
    let value = value.ok_or_else(|| format!("{option} has no value"))?;
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, greatest) = (range.start(), range.end());
        format!("{option} {value} is not in {least}..={greatest}")
    })
}
