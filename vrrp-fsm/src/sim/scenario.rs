//! Scenarios: hosts, a network, and fault rates.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{fmt, time::Duration};

use vrrp_proto::{
    AuthenticationMethod, Family, LocalAuthentication, OutOfRange, Peer, Priority, Versions, Vrid,
};

use super::{Secrets, addresses::primary_address};
use crate::{
    Config, Instant,
    fleet::{FleetError, Member, MessageTransport, RouterKey, SyncGroup},
    track::{Object, Report},
};

/// A network of hosts, and its faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The hosts, numbered by their places here from 0.
    pub hosts: Vec<HostPlan>,
    /// The delays of messages.
    pub network: Network,
    /// The rates of random faults. Default none.
    pub faults: FaultRates,
}

/// A host as configured, and as it restarts after a crash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostPlan {
    /// The virtual routers. Hosts with one on the same [`interface`](Member::interface) number are
    /// on the same LAN there. All of them are started.
    pub members: Vec<Member>,
    /// The tracked objects. References name them as [`ObjectId::nth`](crate::track::ObjectId::nth)
    /// of the places here.
    pub objects: Vec<TrackedObject>,
    /// The sync groups. Their members are [`RouterId::nth`](crate::fleet::RouterId::nth) of the
    /// places in `members`.
    pub groups: Vec<SyncGroup>,
    /// The keys of IP AH and of the HMAC trailer.
    pub secrets: Secrets,
}

/// A tracked object with its reports.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedObject {
    /// The object.
    pub object: Object,
    /// The report when the host starts, and when [`Condition::Object`](super::Condition::Object) is
    /// over; `None` for a [set](crate::track::Kind::Set), which has no reports.
    pub good: Option<Report>,
    /// The report when that fault begins.
    pub bad: Option<Report>,
}

/// The delays of messages without faults. Messages from one host to another on one LAN keep their
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest time. Default 50 us.
    pub shortest_delay: Duration,
    /// The longest time. Default 1 ms.
    pub longest_delay: Duration,
}

/// The rates of random faults. Default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// The time at which all faults are over. Default: the beginning.
    pub until: Instant,
    /// A host crashes without a resignation, and restarts.
    pub crash: Option<Rate>,
    /// A host does not run for a while. Arriving packets wait in its socket.
    pub stall: Option<Rate>,
    /// A virtual router of a host is shut down, and started again.
    pub stop: Option<Rate>,
    /// A virtual router is configured with another priority, 1 to 254, and then restored. Owners
    /// are excluded.
    pub priority: Option<Rate>,
    /// A virtual router is configured with half its interval, and then restored. Version 2 is
    /// excluded.
    pub interval: Option<Rate>,
    /// A tracked object is reported bad, and then good.
    pub object: Option<Rate>,
    /// Some hosts of a LAN do not reach the others.
    pub partition: Option<Rate>,
    /// A host of a LAN does not reach another one, which still reaches it.
    pub one_way: Option<Rate>,
    /// A message is lost, for one receiver.
    pub loss: Chance,
    /// A message arrives twice, at one receiver.
    pub duplication: Chance,
    /// A message arrives late, at one receiver, after messages that were sent later.
    pub late: Chance,
    /// The longest extra delay. Default zero.
    pub latest: Duration,
    /// A received message arrives once more later, at one receiver: a replay.
    pub replay: Chance,
    /// The longest time until the replay. Default zero.
    pub oldest: Duration,
}

/// The rate of a fault in the whole network, and its duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The mean time between two faults; uniform between zero and twice this time. At least 1 ms.
    pub every: Duration,
    /// The longest duration.
    pub longest: Duration,
}

/// A probability in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u32);

/// The reason why a scenario is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A host rejects its configuration.
    Fleet {
        /// The host.
        host: u32,
        /// The error of its virtual routers, objects or groups.
        error: FleetError,
    },
    /// A virtual router cannot send the authentication that it requires: passwords and IP AH need
    /// version 2, and a trailer must be [allowed](vrrp_proto::DecodeOptions::hmac_trailer).
    Authentication {
        /// The host.
        host: u32,
        /// The place of the router among its members.
        router: u32,
        /// Its authentication.
        method: AuthenticationMethod,
    },
    /// A number is outside its range.
    OutOfRange(OutOfRange),
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet { host, error } => write!(f, "host {host}: {error}"),
            Self::Authentication {
                host,
                router,
                method,
            } => write!(
                f,
                "host {host}: router {router} has the authentication {method}, which takes {}",
                match method {
                    AuthenticationMethod::Hmac => "decode.hmac_trailer",
                    _ => "version 2",
                }
            ),
            Self::OutOfRange(fault) => fault.fmt(f),
        }
    }
}

impl core::error::Error for ScenarioError {}

impl From<OutOfRange> for ScenarioError {
    fn from(error: OutOfRange) -> Self {
        Self::OutOfRange(error)
    }
}

impl Chance {
    /// Never.
    pub const NEVER: Self = Self(0);

    /// Makes a probability in millionths: 0 to 1,000,000.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] above 1,000,000.
    pub const fn per_million(count: u32) -> Result<Self, OutOfRange> {
        const ALWAYS: u32 = 1_000_000;
        if count > ALWAYS {
            return Err(OutOfRange {
                field: "chance in a million",
                value: count as u64,
                lowest: 0,
                highest: ALWAYS as u64,
            });
        }
        Ok(Self(count))
    }

    /// Returns the millionths.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            shortest_delay: Duration::from_micros(50),
            longest_delay: Duration::from_millis(1),
        }
    }
}

impl Scenario {
    /// The most virtual routers on a LAN in [`uniform`](Self::uniform): 255 of each family.
    const ROUTERS_OF_A_LAN: u32 = 510;

    /// Makes a network of `hosts` hosts that all have the same `routers` virtual routers, of both
    /// families, on as many LANs as necessary. Each virtual router gives the highest priority to
    /// the next host in turn. There are no faults.
    ///
    /// # Errors
    ///
    /// For no or more than 100 hosts, and for no or more than 100,000 virtual routers.
    pub fn uniform(hosts: u32, routers: u32) -> Result<Self, ScenarioError> {
        within("hosts", hosts, 1, 100)?;
        within("routers", routers, 1, 100_000)?;
        let plan = |host: u32| HostPlan {
            members: (0..routers)
                .filter_map(|number| {
                    Some(Member::new(
                        1 + number / Self::ROUTERS_OF_A_LAN,
                        config(number, (host + number) % hosts)?,
                    ))
                })
                .collect(),
            ..HostPlan::default()
        };
        Ok(Self {
            hosts: (0..hosts).map(plan).collect(),
            network: Network::default(),
            faults: FaultRates::default(),
        })
    }

    /// Switches the chosen virtual routers to unicast, with those of the other hosts as peers
    /// (AMB-26).
    pub fn use_unicast(&mut self, chosen: impl Fn(RouterKey) -> bool) {
        let mut speakers: BTreeMap<RouterKey, Vec<u32>> = BTreeMap::new();
        for (host, plan) in (0..).zip(&self.hosts) {
            for member in &plan.members {
                speakers.entry(member.key()).or_default().push(host);
            }
        }
        for (own, plan) in (0..).zip(&mut self.hosts) {
            for member in plan.members.iter_mut().filter(|it| chosen(it.key())) {
                let key = member.key();
                let hosts = speakers.get(&key).into_iter().flatten();
                let peers = hosts
                    .filter(|host| **host != own)
                    .map(|host| Peer::new(primary_address(*host, key)));
                member.transport = MessageTransport::Unicast {
                    peers: peers.collect(),
                };
            }
        }
    }

    /// Enables authentication. For passwords and IP AH, IPv4 routers use version 2 with an interval
    /// of whole seconds, and IPv6 routers do not change.
    pub fn use_authentication(&mut self, authentication: LocalAuthentication) {
        let is_of_v2 = authentication != LocalAuthentication::None
            && authentication.method() != AuthenticationMethod::Hmac;
        for member in self.hosts.iter_mut().flat_map(|plan| &mut plan.members) {
            if is_of_v2 && member.config.family == Family::Ipv6 {
                continue;
            }
            member.authentication = authentication;
            member.decode.hmac_trailer = authentication.method() == AuthenticationMethod::Hmac;
            if is_of_v2 {
                member.config.versions = Versions::V2;
                member.config.interval = member.config.interval.to_seconds_rounded_up();
            }
        }
    }

    /// Validates the scenario.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        for (host, plan) in (0..).zip(&self.hosts) {
            for (router, member) in (0..).zip(&plan.members) {
                let method = member.authentication.method();
                let is_possible = match method {
                    AuthenticationMethod::SimpleText | AuthenticationMethod::IpAh => {
                        member.config.versions == Versions::V2
                    }
                    AuthenticationMethod::Hmac => member.decode.hmac_trailer,
                    AuthenticationMethod::None | AuthenticationMethod::Unknown(_) => true,
                };
                if !is_possible {
                    return Err(ScenarioError::Authentication {
                        host,
                        router,
                        method,
                    });
                }
            }
        }
        let faults = &self.faults;
        for rate in [
            faults.crash,
            faults.stall,
            faults.stop,
            faults.priority,
            faults.interval,
            faults.object,
            faults.partition,
            faults.one_way,
        ]
        .into_iter()
        .flatten()
        {
            let millis = u32::try_from(rate.every.as_millis()).unwrap_or(u32::MAX);
            within("every", millis, 1, u32::MAX)?;
        }
        Ok(())
    }
}

/// Returns the virtual router of this number on the host with this rank.
fn config(number: u32, rank: u32) -> Option<Config> {
    let family = if number.is_multiple_of(2) {
        Family::Ipv4
    } else {
        Family::Ipv6
    };
    let vrid = u8::try_from(number % Scenario::ROUTERS_OF_A_LAN / 2 + 1).ok()?;
    let mut config = Config::new(Vrid::new(vrid)?, family);
    config.priority = Priority::new(u8::try_from(200_u32.checked_sub(rank)?).ok()?);
    Some(config)
}

fn within(field: &'static str, value: u32, lowest: u32, highest: u32) -> Result<(), OutOfRange> {
    if (lowest..=highest).contains(&value) {
        return Ok(());
    }
    Err(OutOfRange {
        field,
        value: value.into(),
        lowest: lowest.into(),
        highest: highest.into(),
    })
}
