//! The virtual routers: the driver of vrrp-net inside tokio, which tracks the pool as an object.

use std::{future::pending, net::IpAddr, time::Duration};

use ipvs_netlink::{DaemonState, InterfaceName, SyncDaemon, pool::Level};
use serde::{Deserialize, Deserializer, de};
use serde_with::{As, DisplayFromStr};
use vrrp_net::{
    AsyncDriver, Check, Config, Driver, DriverEvent, Error, Interval, Kind, Notification, Object,
    ObjectId, Priority, Report, RouterConfig, RouterId, SyncGroup, TrackRef, Transport,
    VirtualAddress, VirtualMac, Vrid, Watch, Weight,
    fsm::Preempt,
    proto::{Family, Peer},
};

use crate::{status::RouterLine, toml_file::time};

/// Any error of the routers, with a text for people.
type Failure = Box<dyn std::error::Error + Send + std::marker::Sync>;

/// A virtual router. All routers of a file form one sync group.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// The name of its interface.
    pub interface: String,
    /// The virtual router identifier, 1 to 255.
    pub vrid: u8,
    /// The priority, 1 to 254, or 255 for the owner of the addresses. Default: 100.
    #[serde(default = "priority")]
    pub priority: u8,
    /// The time between advertisements, 10 ms to 40.95 s. Default: 1 s.
    #[serde(default = "second", deserialize_with = "time")]
    pub interval: Duration,
    /// The virtual addresses, all of one family.
    #[serde(with = "As::<Vec<DisplayFromStr>>")]
    pub addresses: Vec<VirtualAddress>,
    /// Addresses that come and go with the others and are not advertised.
    #[serde(default, with = "As::<Vec<DisplayFromStr>>")]
    pub excluded: Vec<VirtualAddress>,
    /// Whether an Active of lower priority is preempted. Default: yes.
    #[serde(default = "yes")]
    pub preempt: bool,
    /// Whether the virtual MAC address is used. Default: no.
    #[serde(default)]
    pub virtual_mac: bool,
    /// The other routers, for unicast. Default: none, and multicast.
    #[serde(default)]
    pub peers: Vec<IpAddr>,
    /// The change of the priority while the quorum is lost, such as -50. Without it, the router
    /// resigns.
    pub quorum_weight: Option<i16>,
}

/// Connection sync: this host sends while its first router is Active, and receives otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The interface.
    #[serde(deserialize_with = "interface")]
    pub interface: InterfaceName,
    /// The identifier of the group of load balancers.
    pub id: u8,
}

fn priority() -> u8 {
    100
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn yes() -> bool {
    true
}

fn interface<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InterfaceName, D::Error> {
    let name = String::deserialize(deserializer)?;
    InterfaceName::new(&name).map_err(de::Error::custom)
}

/// The virtual routers of a file; there may be none.
#[derive(Debug)]
pub struct Routers {
    driver: Option<AsyncDriver>,
    quorum: Option<ObjectId>,
    running: Vec<(Router, RouterId)>,
}

impl Routers {
    /// Starts the routers. Without any, no socket is opened.
    ///
    /// # Errors
    ///
    /// A text: the mistake of a router, or the capability that the system lacks.
    pub fn start(routers: &[Router]) -> Result<Self, Failure> {
        let mut all = Self::none();
        all.reconfigure(routers)?;
        Ok(all)
    }

    /// No routers.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            driver: None,
            quorum: None,
            running: Vec::new(),
        }
    }

    /// Changes the routers to these. A router that does not change continues without an election.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn reconfigure(&mut self, routers: &[Router]) -> Result<(), Failure> {
        if self.driver.is_none() && !routers.is_empty() {
            let mut driver = Driver::new()?;
            let quorum = Object::new("quorum", Kind::Check(Check::EACH));
            self.quorum = Some(driver.add_object(quorum, Watch::Host)?);
            self.driver = Some(AsyncDriver::new(driver)?);
        }
        let Some(driver) = self.driver.as_mut().map(AsyncDriver::get_mut) else {
            return Ok(());
        };
        let mut running = Vec::new();
        for (router, id) in self.running.drain(..) {
            let other = routers.iter().find(|other| {
                let only_fsm = Router {
                    priority: router.priority,
                    interval: router.interval,
                    preempt: router.preempt,
                    ..(*other).clone()
                };
                only_fsm == router
            });
            match other {
                Some(other) => {
                    driver.reconfigure(id, config(other)?.fsm)?;
                    running.push((other.clone(), id));
                }
                None => driver.remove(id)?,
            }
        }
        for router in routers {
            if running.iter().any(|(other, _)| other == router) {
                continue;
            }
            let mut config = config(router)?;
            if let Some(object) = self.quorum {
                let points = router.quorum_weight.map(Weight::points).transpose()?;
                let weight = points.unwrap_or(Weight::FAULT);
                config.tracking = vec![TrackRef {
                    weight: Some(weight),
                    ..TrackRef::of(object)
                }];
            }
            running.push((router.clone(), driver.add(config)?));
        }
        // In the order of the file, because its first router leads.
        let place = |router: &Router| routers.iter().position(|it| it == router);
        running.sort_by_key(|(router, _)| place(router));
        self.running = running;
        let members: Vec<_> = self.running.iter().map(|(_, id)| *id).collect();
        let group = SyncGroup::new("all", members);
        let existing = driver.groups().next().map(|(id, _)| id);
        match (existing, self.running.len()) {
            (Some(id), 2..) => driver.reconfigure_group(id, group)?,
            (Some(id), _) => drop(driver.remove_group(id)?),
            (None, 2..) => drop(driver.add_group(group)?),
            (None, _) => {}
        }
        Ok(())
    }

    /// Waits for the next notification; `None` once all routers are stopped. It is cancel-safe.
    ///
    /// # Errors
    ///
    /// As for [`Driver::turn`].
    pub async fn next(&mut self) -> Result<Option<Notification>, Error> {
        match &mut self.driver {
            Some(driver) => driver.next().await,
            None => pending().await,
        }
    }

    /// Reports the quorum. While it is unknown, a router waits.
    ///
    /// # Errors
    ///
    /// As for [`Driver::report`].
    pub fn report(&mut self, level: Level) -> Result<(), Error> {
        let report = match level {
            Level::Up => Report::Up,
            Level::Down => Report::Down,
            Level::Unknown => return Ok(()),
        };
        match (&mut self.driver, self.quorum) {
            (Some(driver), Some(quorum)) => driver.get_mut().report(quorum, report),
            _ => Ok(()),
        }
    }

    /// Begins to stop: each Active resigns. Returns whether there is anything to wait for.
    #[must_use]
    pub fn stop(&self) -> bool {
        if let Some(driver) = &self.driver {
            driver.get_ref().handle().stop();
        }
        self.driver.is_some()
    }

    /// The sync daemon that belongs to the state of the first router.
    #[must_use]
    pub fn daemon(&self, sync: Sync) -> SyncDaemon {
        let lines = self.lines();
        let is_active = lines.first().is_some_and(|line| line.state == "Active");
        let state = if is_active {
            DaemonState::Master
        } else {
            DaemonState::Backup
        };
        SyncDaemon::new(state, sync.interface, sync.id)
    }

    /// The lines about the routers for the page.
    #[must_use]
    pub fn lines(&self) -> Vec<RouterLine> {
        let Some(driver) = self.driver.as_ref().map(AsyncDriver::get_ref) else {
            return Vec::new();
        };
        let lines = self.running.iter().filter_map(|(router, id)| {
            let view = driver.get(*id)?;
            let explanation = driver.explain(*id)?;
            let faults: Vec<_> = view.faults().map(ToString::to_string).collect();
            Some(RouterLine {
                interface: router.interface.clone(),
                vrid: router.vrid,
                state: format!("{:?}", view.state()),
                priority: explanation.effective.get(),
                addresses: router.addresses.iter().map(ToString::to_string).collect(),
                explanation: [vec![explanation.to_string()], faults].concat().join("; "),
            })
        });
        lines.collect()
    }
}

/// Whether a notification is a change of state.
#[must_use]
pub fn changes_state(notification: &Notification) -> bool {
    matches!(notification.event, DriverEvent::StateChanged(_))
}

/// The configuration of the driver for a router of a file.
///
/// # Errors
///
/// A text that names the wrong value.
pub fn config(router: &Router) -> Result<RouterConfig, Failure> {
    let first = router.addresses.first();
    let first = first.ok_or("addresses: there is none; add at least one")?;
    let mut fsm = Config::new(Vrid::try_from(router.vrid)?, Family::of(first.address()));
    fsm.priority = Priority::new(router.priority);
    let centis = u16::try_from(router.interval.as_millis() / 10);
    fsm.interval = Interval::centis(centis.unwrap_or(u16::MAX))?;
    fsm.preempt = if router.preempt {
        Preempt::Always
    } else {
        Preempt::Never
    };
    let mut config = RouterConfig::new(&router.interface, fsm, router.addresses.clone());
    config.excluded.clone_from(&router.excluded);
    config.virtual_mac = router.virtual_mac.then(VirtualMac::default);
    if !router.peers.is_empty() {
        config.transport = Transport::Unicast {
            peers: router.peers.iter().copied().map(Peer::new).collect(),
        };
    }
    Ok(config)
}
