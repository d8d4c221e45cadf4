//! What is simulated: hosts, a network, and how often what goes wrong.

use alloc::vec::Vec;
use core::time::Duration;

use vrrp_proto::{Family, LocalAuthentication, OutOfRange, Priority, Vrid};

use crate::{
    Config, Instant,
    fleet::{FleetError, Member, MessageTransport, SyncGroup},
    track::{Object, Report},
};

/// A network of hosts, and what may happen to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The hosts, which have the numbers of their places here, from 0.
    pub hosts: Vec<HostPlan>,
    /// How long messages take.
    pub network: Network,
    /// What goes wrong by chance. Default nothing.
    pub faults: FaultRates,
}

/// A host as it is configured, and as it comes back after a crash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostPlan {
    /// The virtual routers. Hosts with one on the same [`interface`](Member::interface) number are on the same LAN there. All of them are started.
    /// Messages go by multicast and without authentication.
    pub members: Vec<Member>,
    /// The tracked objects. Uses name them as [`ObjectId::nth`](crate::track::ObjectId::nth) of the places here.
    pub objects: Vec<TrackedObject>,
    /// The sync groups. Their members are [`RouterId::nth`](crate::fleet::RouterId::nth) of the places in `members`.
    pub groups: Vec<SyncGroup>,
}

/// An object, and what is reported about it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedObject {
    /// The object.
    pub object: Object,
    /// What is reported when the host starts, and when [`Condition::Object`](super::Condition::Object) is over; `None` for a
    /// [set](crate::track::Kind::Set), which nobody reports.
    pub good: Option<Report>,
    /// What is reported when that fault begins.
    pub bad: Option<Report>,
}

/// How long messages take where nothing goes wrong. Those of one host to another on one LAN keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest time. Default 50 us.
    pub shortest_delay: Duration,
    /// The longest time. Default 1 ms.
    pub longest_delay: Duration,
}

/// How often what goes wrong by chance. Default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// All faults are over then. Default the beginning.
    pub until: Instant,
    /// A host dies without a word, and starts anew.
    pub crash: Option<Rate>,
    /// A host does not run for a while. What arrives waits in its socket.
    pub stall: Option<Rate>,
    /// A virtual router of a host is shut down in good order, and started again.
    pub stop: Option<Rate>,
    /// A virtual router is configured with another priority, 1 to 254, and then as before. Owners are left alone.
    pub priority: Option<Rate>,
    /// A virtual router is configured with half its interval, and then as before. Those that speak version 2 are left alone.
    pub interval: Option<Rate>,
    /// A tracked object is reported as bad, and then as good.
    pub object: Option<Rate>,
    /// Some hosts of a LAN do not reach the others.
    pub partition: Option<Rate>,
    /// A host of a LAN does not reach another one, which still reaches it.
    pub one_way: Option<Rate>,
    /// A message is lost, for one receiver.
    pub loss: Chance,
    /// A message comes twice, to one receiver.
    pub duplication: Chance,
    /// A message comes late, to one receiver, after others that were sent later.
    pub late: Chance,
    /// By how much at most. Default not at all.
    pub latest: Duration,
}

/// How often something happens in the whole network, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between two of them, in the mean; from nothing to twice as much, each time alike likely. At least 1 ms.
    pub every: Duration,
    /// How long it lasts at most.
    pub longest: Duration,
}

/// Something between never and always, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u32);

/// Why there can be no such simulation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// What a host would say to its part.
    #[error("host {host}: {error}")]
    Fleet {
        /// The host.
        host: u32,
        /// What is wrong with its virtual routers, objects or groups.
        error: FleetError,
    },
    /// A virtual router does not use multicast, or has authentication.
    #[error(
        "host {host}: router {router} has a transport or an authentication, but the simulation knows multicast without authentication"
    )]
    Unsupported {
        /// The host.
        host: u32,
        /// The place of the router among its members.
        router: u32,
    },
    /// A number is outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
}

impl Chance {
    /// Never.
    pub const NEVER: Self = Self(0);

    /// So many in a million: 0 to 1,000,000.
    ///
    /// # Errors
    ///
    /// For more.
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

    /// So many in a million.
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
    /// The most virtual routers that a LAN has in [`uniform`](Self::uniform): 255 of each family.
    const ROUTERS_OF_A_LAN: u32 = 510;

    /// So many hosts, all with the same so many virtual routers, of both families, on as many LANs as these need, and each with another host as the one of highest
    /// priority. Nothing goes wrong.
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

    /// What can be said before anything runs.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        for (host, plan) in (0..).zip(&self.hosts) {
            for (router, member) in (0..).zip(&plan.members) {
                let is_multicast = matches!(member.transport, MessageTransport::Multicast { .. });
                if !is_multicast || member.authentication != LocalAuthentication::None {
                    return Err(ScenarioError::Unsupported { host, router });
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

/// The virtual router of this number on the host that stands so many places behind the first one.
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
