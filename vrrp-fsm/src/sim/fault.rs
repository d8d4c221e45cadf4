//! Faults, as values and as lines of text.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr, time::Duration};

use vrrp_proto::{Interval, Priority};

/// A fault of the network or a host.
///
/// Hosts have the numbers of their places in [`Scenario::hosts`](super::Scenario::hosts), virtual
/// routers and objects those of their places in the [`HostPlan`](super::HostPlan). The text form is
/// one line without the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A lasting fault: `crash 2 for 1.500000000`, in seconds. It includes its end, so a fault can
    /// be left out without a change of the others.
    Lasting(Condition, Duration),
    /// The message is lost: `lose 0 17>2`.
    Lose(Delivery),
    /// The message arrives twice: `duplicate 0 17>2`.
    Duplicate(Delivery),
    /// The message arrives this much later: `late 0 17>2 by 1.500000000`.
    Late(Delivery, Duration),
    /// The message arrives, and once more this much later: `replay 0 17>2 by 1.500000000`.
    Replay(Delivery, Duration),
}

/// A lasting condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The host crashes without a resignation, and restarts afterwards. `crash 2`.
    Crash {
        /// The host.
        host: u32,
    },
    /// The host does not run. `stall 2`.
    Stall {
        /// The host.
        host: u32,
    },
    /// The virtual router is shut down. `stop 2 0`.
    Stop {
        /// The host.
        host: u32,
        /// The virtual router.
        router: u32,
    },
    /// The virtual router and its sync group are configured with another priority. `priority 2 0
    /// 50`.
    Priority {
        /// The host.
        host: u32,
        /// The virtual router.
        router: u32,
        /// 1 to 254.
        priority: Priority,
    },
    /// The virtual router and its sync group are configured with a shorter interval, in
    /// centiseconds. Routers with a shorter one, and version 2, where all intervals must be equal,
    /// are excluded. `interval 2 0 50`.
    Interval {
        /// The host.
        host: u32,
        /// The virtual router.
        router: u32,
        /// 1 to 4095 cs.
        interval: Interval,
    },
    /// The object is reported bad. `object 2 0`.
    Object {
        /// The host.
        host: u32,
        /// The object.
        object: u32,
    },
    /// Some hosts of a LAN and all others cannot reach each other. `partition 1 0,2`.
    Partition {
        /// The LAN.
        interface: u32,
        /// The hosts on one side.
        island: Vec<u32>,
    },
    /// A host of a LAN cannot reach another one. `oneway 1 0>2`.
    OneWay {
        /// The LAN.
        interface: u32,
        /// The sender.
        from: u32,
        /// The receiver.
        to: u32,
    },
}

/// A message on its way to one of its receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// The sending host.
    pub from: u32,
    /// The number of the message among those of the sender, from 0.
    pub number: u64,
    /// The receiving host.
    pub to: u32,
}

/// An invalid line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSyntax {
    /// The line.
    pub line: String,
    /// The problem.
    pub reason: &'static str,
}

impl fmt::Display for TraceSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, reason } = self;
        write!(f, "{line:?} is not a line of a trace: {reason}")
    }
}

impl core::error::Error for TraceSyntax {}

/// Seconds with nine digits.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.as_secs(), self.0.subsec_nanos())
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a time is seconds with nine digits";
        let (seconds, nanos) = text.split_once('.').ok_or(WRONG)?;
        if nanos.len() != 9 || !nanos.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(WRONG);
        }
        let seconds = seconds.parse().map_err(|_| WRONG)?;
        let nanos = nanos.parse().map_err(|_| WRONG)?;
        Ok(Self(Duration::new(seconds, nanos)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lasting(condition, lasts) => write!(f, "{condition} for {}", Seconds(*lasts)),
            Self::Lose(delivery) => write!(f, "lose {delivery}"),
            Self::Duplicate(delivery) => write!(f, "duplicate {delivery}"),
            Self::Late(delivery, by) => write!(f, "late {delivery} by {}", Seconds(*by)),
            Self::Replay(delivery, by) => write!(f, "replay {delivery} by {}", Seconds(*by)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { host } => write!(f, "crash {host}"),
            Self::Stall { host } => write!(f, "stall {host}"),
            Self::Stop { host, router } => write!(f, "stop {host} {router}"),
            Self::Priority {
                host,
                router,
                priority,
            } => write!(f, "priority {host} {router} {}", priority.get()),
            Self::Interval {
                host,
                router,
                interval,
            } => write!(f, "interval {host} {router} {}", interval.as_centis()),
            Self::Object { host, object } => write!(f, "object {host} {object}"),
            Self::Partition { interface, island } => {
                write!(f, "partition {interface} ")?;
                for (place, host) in island.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{host}")?;
                }
                Ok(())
            }
            Self::OneWay {
                interface,
                from,
                to,
            } => write!(f, "oneway {interface} {from}>{to}"),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}>{}", self.from, self.number, self.to)
    }
}

impl FromStr for Fault {
    type Err = TraceSyntax;

    fn from_str(line: &str) -> Result<Self, TraceSyntax> {
        parse(line).map_err(|reason| TraceSyntax {
            line: line.into(),
            reason,
        })
    }
}

fn parse(line: &str) -> Result<Fault, &'static str> {
    let words: Vec<&str> = line.split(' ').collect();
    Ok(match *words.as_slice() {
        ["lose", from, message] => Fault::Lose(delivery(from, message)?),
        ["duplicate", from, message] => Fault::Duplicate(delivery(from, message)?),
        ["late", from, message, "by", time] => {
            Fault::Late(delivery(from, message)?, time.parse::<Seconds>()?.0)
        }
        ["replay", from, message, "by", time] => {
            Fault::Replay(delivery(from, message)?, time.parse::<Seconds>()?.0)
        }
        [ref what @ .., "for", time] => {
            Fault::Lasting(condition(what)?, time.parse::<Seconds>()?.0)
        }
        _ => return Err("no such word with so many arguments"),
    })
}

fn condition(words: &[&str]) -> Result<Condition, &'static str> {
    Ok(match *words {
        ["crash", host] => Condition::Crash {
            host: number(host)?,
        },
        ["stall", host] => Condition::Stall {
            host: number(host)?,
        },
        ["stop", host, router] => Condition::Stop {
            host: number(host)?,
            router: number(router)?,
        },
        ["priority", host, router, priority] => Condition::Priority {
            host: number(host)?,
            router: number(router)?,
            priority: match number(priority)? {
                priority @ 1..=254 => Priority::new(priority),
                _ => return Err("a priority is 1 to 254"),
            },
        },
        ["interval", host, router, centis] => Condition::Interval {
            host: number(host)?,
            router: number(router)?,
            interval: Interval::centis(number(centis)?)
                .map_err(|_| "an interval is 1 to 4095 centiseconds")?,
        },
        ["object", host, object] => Condition::Object {
            host: number(host)?,
            object: number(object)?,
        },
        ["partition", interface, island] => Condition::Partition {
            interface: number(interface)?,
            island: island.split(',').map(number).collect::<Result<_, _>>()?,
        },
        ["oneway", interface, hosts] => {
            let (from, to) = pair(hosts)?;
            Condition::OneWay {
                interface: number(interface)?,
                from,
                to,
            }
        }
        _ => return Err("no such word with so many arguments"),
    })
}

fn delivery(from: &str, message: &str) -> Result<Delivery, &'static str> {
    let (count, to) = pair(message)?;
    Ok(Delivery {
        from: number(from)?,
        number: count,
        to,
    })
}

fn pair<A: FromStr, B: FromStr>(text: &str) -> Result<(A, B), &'static str> {
    let (left, right) = text.split_once('>').ok_or("a > is missing")?;
    Ok((number(left)?, number(right)?))
}

fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "not a number, or too great a one")
}
