//! The virtual routers: the driver of vrrp-net inside tokio, which tracks the pool as an object.

use std::{collections::HashSet, future::pending, net::IpAddr, time::Duration};

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
    /// The driver, and its object for the quorum.
    driver: Option<(AsyncDriver, ObjectId)>,
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
            running: Vec::new(),
        }
    }

    /// Changes the routers to these. A router that does not change continues without an election.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start). A mistake changes nothing. After a refusal of the system,
    /// some routers are as before or are missing; another call tries again.
    pub fn reconfigure(&mut self, routers: &[Router]) -> Result<(), Failure> {
        let mistakes: Vec<_> = mistakes(routers).into_iter().map(|(_, it)| it).collect();
        if !mistakes.is_empty() {
            return Err(mistakes.join("; ").into());
        }
        let with_config = |router| Ok((router, config(router)?, weight(router)?));
        let wanted: Result<Vec<_>, Failure> = routers.iter().map(with_config).collect();
        let wanted = wanted?;
        if self.driver.is_none() && !routers.is_empty() {
            let mut driver = Driver::new()?;
            let quorum = Object::new("quorum", Kind::Check(Check::EACH));
            let quorum = driver.add_object(quorum, Watch::Host)?;
            self.driver = Some((AsyncDriver::new(driver)?, quorum));
        }
        let Some((driver, quorum)) = &mut self.driver else {
            return Ok(());
        };
        let (driver, quorum) = (driver.get_mut(), *quorum);
        let mut result = dissolve_if_owners_change(driver, &self.running, routers);
        let mut running = Vec::new();
        for (router, id) in self.running.drain(..) {
            let next = wanted.iter().find(|(next, ..)| router.continues_as(next));
            let Some((next, config, _)) = next else {
                result = result.and(driver.remove(id));
                continue;
            };
            let changed = driver.reconfigure(id, config.fsm);
            let now = match &changed {
                Ok(()) => (*next).clone(),
                Err(_) => router,
            };
            running.push((now, id));
            result = result.and(changed);
        }
        for (router, mut config, weight) in wanted {
            if running.iter().any(|(other, _)| other.continues_as(router)) {
                continue;
            }
            config.tracking = vec![TrackRef {
                weight: Some(weight),
                ..TrackRef::of(quorum)
            }];
            match driver.add(config) {
                Ok(id) => running.push((router.clone(), id)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        // In the order of the file, because its first router leads.
        let place = |router: &Router| routers.iter().position(|it| router.continues_as(it));
        running.sort_by_key(|(router, _)| place(router));
        let members = running.iter().map(|(_, id)| *id).collect();
        self.running = running;
        Ok(result.and(join(driver, members))?)
    }

    /// Waits for the next notification; `None` once all routers are stopped. It is cancel-safe.
    ///
    /// # Errors
    ///
    /// As for [`Driver::turn`].
    pub async fn next(&mut self) -> Result<Option<Notification>, Error> {
        match &mut self.driver {
            Some((driver, _)) => driver.next().await,
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
        match &mut self.driver {
            Some((driver, quorum)) => driver.get_mut().report(*quorum, report),
            None => Ok(()),
        }
    }

    /// Begins to stop: each Active resigns. Returns whether there is anything to wait for.
    #[must_use]
    pub fn stop(&self) -> bool {
        if let Some((driver, _)) = &self.driver {
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
        let Some((driver, _)) = &self.driver else {
            return Vec::new();
        };
        let driver = driver.get_ref();
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

impl Router {
    /// Whether a router of another file is this one with other settings of the election, which
    /// change without a new one.
    fn continues_as(&self, next: &Self) -> bool {
        let next = Self {
            priority: self.priority,
            interval: self.interval,
            preempt: self.preempt,
            ..next.clone()
        };
        next == *self
    }

    /// Whether it owns its addresses (AMB-25).
    const fn is_owner(&self) -> bool {
        Priority::new(self.priority).is_owner()
    }
}

/// Dissolves the sync group if a member becomes the owner of its addresses or stops being it: a
/// group cannot mix owners and others, and members change one after the other.
fn dissolve_if_owners_change(
    driver: &mut Driver,
    running: &[(Router, RouterId)],
    routers: &[Router],
) -> Result<(), Error> {
    let changes = running.iter().any(|(router, _)| {
        let next = routers.iter().find(|next| router.continues_as(next));
        next.is_some_and(|next| next.is_owner() != router.is_owner())
    });
    let existing = driver.groups().next().map(|(id, _)| id);
    if changes && let Some(group) = existing {
        driver.remove_group(group)?;
    }
    Ok(())
}

/// Makes one sync group of all routers.
fn join(driver: &mut Driver, members: Vec<RouterId>) -> Result<(), Error> {
    let existing = driver.groups().next().map(|(id, _)| id);
    let count = members.len();
    let group = SyncGroup::new("all", members);
    match (existing, count) {
        (Some(id), 2..) => driver.reconfigure_group(id, group)?,
        (Some(id), _) => drop(driver.remove_group(id)?),
        (None, 2..) => drop(driver.add_group(group)?),
        (None, _) => {}
    }
    Ok(())
}

/// The mistakes in the routers of a file: the place of a router, and a text.
#[must_use]
pub fn mistakes(routers: &[Router]) -> Vec<(usize, String)> {
    let mut known = HashSet::new();
    let owns = routers.first().is_some_and(Router::is_owner);
    let mistake = |router: &Router| -> Result<(), Failure> {
        let config = config(router)?;
        config.validate()?;
        weight(router)?;
        let (interface, family, vrid) = (config.interface, config.fsm.family, config.fsm.vrid);
        if !known.insert((interface.clone(), family, vrid)) {
            let duplicate = Error::Duplicate {
                interface,
                family,
                vrid,
            };
            return Err(duplicate.into());
        }
        if router.is_owner() != owns {
            let text = "priority: all routers of a file are one group, so either all of them are \
                        owners (255) or none is";
            return Err(text.into());
        }
        Ok(())
    };
    let results = routers.iter().map(mistake).collect::<Vec<_>>();
    let all = routers.iter().zip(results).enumerate();
    all.filter_map(|(place, (router, result))| {
        let failure = result.err()?;
        Some((place, format!("router {}: {failure}", router.vrid)))
    })
    .collect()
}

/// The effect of a lost quorum on a router.
fn weight(router: &Router) -> Result<Weight, Failure> {
    let points = router.quorum_weight.map(Weight::points).transpose();
    let points = points.map_err(|error| format!("quorum_weight: {error}"))?;
    Ok(points.unwrap_or(Weight::FAULT))
}

/// The configuration of the driver for a router of a file. An error names the wrong value.
fn config(router: &Router) -> Result<RouterConfig, Failure> {
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
