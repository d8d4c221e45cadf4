//! Objects that routers and sync groups depend on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use vrrp_fsm::{
    Instant,
    fleet::{FleetError, RouterId},
    track::{Explanation, Kind, Object, ObjectId, Report, TrackError, TrackRef, Tracker},
};
use vrrp_proto::Family;

use super::Driver;
use crate::{
    Error, Interfaces, MonitorEvent, Route, interface::check_link_name,
    kernel::route_watch::RouteWatch,
};

/// The source of the reports about a tracked object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Watch {
    /// The host, with [`Driver::report`].
    #[default]
    Host,
    /// The driver, about the interface of this name: it is up while it is there, up, and has a
    /// carrier. For [`Kind::Interface`].
    Interface(String),
    /// The driver, about an interface that needs an address: it is up while it is there, up, has a
    /// carrier, and has a usable address of this family that is no virtual address of a driver. For
    /// [`Kind::Interface`].
    InterfaceAddress {
        /// The name of the interface.
        name: String,
        /// The family of the address. Over IPv6 a link-local address suffices.
        family: Family,
    },
    /// The driver, about an address on any interface of this host, or on the one of this name. It
    /// has to be usable: IPv6 addresses that duplicate address detection has not passed are not.
    /// For [`Kind::Address`].
    Address {
        /// The address.
        address: IpAddr,
        /// The name of the interface; `None` for any.
        interface: Option<String>,
    },
    /// The driver, about a route to this prefix in this table, of any program. For [`Kind::Route`].
    ///
    /// Gateway, interface, source and metric have to match where they are given. In a multipath
    /// route, one next hop with this gateway and interface suffices. Of several matching routes,
    /// one suffices.
    ///
    /// The route has to forward packets: a route that discards or refuses them (`blackhole`,
    /// `unreachable`, `prohibit`, `throw`) does not count, and neither does a route by an interface
    /// that is not [up](crate::Link::up), although the kernel keeps it.
    Route(Route),
}

impl Watch {
    fn check(&self, object: &Object) -> Result<(), Error> {
        if let Self::Interface(name)
        | Self::InterfaceAddress { name, .. }
        | Self::Address {
            interface: Some(name),
            ..
        } = self
        {
            check_link_name("interface", name)?;
        }
        if let Self::Route(route) = self
            && route.discards()
        {
            return Err(Error::Invalid {
                field: "route",
                problem: format!("cannot track {route}: it discards packets"),
            });
        }
        let kind = match (self, &object.kind) {
            (Self::Host, _)
            | (Self::Interface(_) | Self::InterfaceAddress { .. }, Kind::Interface)
            | (Self::Address { .. }, Kind::Address)
            | (Self::Route(_), Kind::Route) => return Ok(()),
            (Self::Interface(_) | Self::InterfaceAddress { .. }, _) => "Interface",
            (Self::Address { .. }, _) => "Address",
            (Self::Route(_), _) => "Route",
        };
        Err(Error::Invalid {
            field: "kind",
            problem: format!(
                "object {:?} is {:?}, and the driver watches over it as Kind::{kind}",
                object.name, object.kind
            ),
        })
    }

    const fn route(&self) -> Option<&Route> {
        match self {
            Self::Route(route) => Some(route),
            _ => None,
        }
    }

    /// Whether this event may change the report.
    fn is_concerned(&self, event: &MonitorEvent) -> bool {
        match (self, event) {
            (Self::Host, _) => false,
            (_, MonitorEvent::Link(_) | MonitorEvent::LinkGone { .. } | MonitorEvent::Overrun) => {
                true
            }
            (
                Self::Address { address, .. },
                MonitorEvent::AddressAdded { address: own, .. }
                | MonitorEvent::AddressRemoved { address: own, .. },
            ) => own.address == *address,
            (
                Self::InterfaceAddress { family, .. },
                MonitorEvent::AddressAdded { address: own, .. }
                | MonitorEvent::AddressRemoved { address: own, .. },
            ) => Family::of(own.address) == *family,
            _ => false,
        }
    }

    /// The report; `None` where the host reports, or while the state is not known yet.
    fn report(&self, interfaces: &Interfaces, routes: &RouteWatch) -> Option<Report> {
        let is_up = match self {
            Self::Host => return None,
            Self::Interface(name) => interfaces
                .named(name)
                .is_some_and(|interface| interface.link.up),
            Self::InterfaceAddress { name, family } => interfaces
                .named(name)
                .is_some_and(|interface| interface.link.up && interface.has_any(*family)),
            Self::Address {
                address,
                interface: Some(name),
            } => interfaces
                .named(name)
                .is_some_and(|interface| interface.has(*address)),
            Self::Address {
                address,
                interface: None,
            } => interfaces.iter().any(|interface| interface.has(*address)),
            Self::Route(route) => routes.has(route, interfaces)?,
        };
        Some(if is_up { Report::Up } else { Report::Down })
    }
}

impl Driver {
    /// Adds an object that routers ([`RouterConfig::tracking`](super::RouterConfig::tracking)) and
    /// sync groups can depend on. An interface or an address that the driver watches over has
    /// reported when this returns; a route reports in one of the next turns, once the kernel's
    /// routes are dumped.
    ///
    /// ```no_run
    /// use vrrp_fsm::{Config, track::{Kind, Object, TrackRef, Weight}};
    /// use vrrp_net::{Driver, RouterConfig, Watch};
    /// use vrrp_proto::{Family, Vrid};
    ///
    /// let mut driver = Driver::new()?;
    /// let mut uplink = Object::new("uplink", Kind::Interface);
    /// uplink.weight = Weight::points(-60)?;
    /// let uplink = driver.add_object(uplink, Watch::Interface("eth1".into()))?;
    ///
    /// let fsm = Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv4);
    /// let mut config = RouterConfig::new("eth0", fsm, vec!["192.0.2.254".parse()?]);
    /// config.tracking = vec![TrackRef::of(uplink)];
    /// let id = driver.add(config)?;
    /// println!("{}", driver.explain(id).ok_or("it is there")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Fleet`] for an object that [`Tracker::add`] refuses, [`Error::Invalid`] for an
    /// object whose kind does not fit `watch`, for a name that no interface can have, and for a
    /// route that [discards](Route::discards); [`Error::Os`] where the system has no more sockets
    /// (the first route takes two).
    pub fn add_object(&mut self, object: Object, watch: Watch) -> Result<ObjectId, Error> {
        watch.check(&object)?;
        let now = self.now();
        let id = self.fleet.add_object(now, object)?;
        if watch != Watch::Host {
            self.watches.insert(id, watch);
        }
        if let Err(error) = self.choose_routes() {
            self.remove_object(id)?;
            return Err(error);
        }
        self.adapt_to_size();
        self.evaluate(now, [id]);
        Ok(id)
    }

    /// Replaces the configuration of an object, for all routers and sync groups that use it. The
    /// source of its reports stays: see [`set_watch`](Self::set_watch).
    ///
    /// # Errors
    ///
    /// [`Error::Fleet`], as for [`Tracker::reconfigure`].
    pub fn reconfigure_object(&mut self, id: ObjectId, object: Object) -> Result<(), Error> {
        let now = self.now();
        let result = self.fleet.reconfigure_object(now, id, object);
        self.collect(now);
        Ok(result?)
    }

    /// Replaces the source of the reports about an object. The last report counts until the new
    /// source has reported: an interface or an address is reported at once.
    ///
    /// # Errors
    ///
    /// [`Error::Fleet`] when there is no such object; else as for [`add_object`](Self::add_object).
    /// Nothing has changed then.
    pub fn set_watch(&mut self, id: ObjectId, watch: Watch) -> Result<(), Error> {
        let object = self.fleet.tracker().get(id);
        let object = object.ok_or(FleetError::Track(TrackError::Unknown(id)))?;
        watch.check(object)?;
        let replace = |watches: &mut BTreeMap<ObjectId, Watch>, watch| match watch {
            Watch::Host => watches.remove(&id),
            watch => watches.insert(id, watch),
        };
        let former = replace(&mut self.watches, watch);
        if let Err(error) = self.choose_routes() {
            replace(&mut self.watches, former.unwrap_or_default());
            return Err(error);
        }
        let now = self.now();
        self.evaluate(now, [id]);
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Errors
    ///
    /// [`Error::Fleet`] while a router, a sync group or a set uses the object, or when it does not
    /// exist.
    pub fn remove_object(&mut self, id: ObjectId) -> Result<Object, Error> {
        let object = self.fleet.remove_object(id)?;
        self.watches.remove(&id);
        self.choose_routes()?;
        Ok(object)
    }

    /// Reports about an object, whether something has changed or not. For a check, every report is
    /// one result.
    ///
    /// # Errors
    ///
    /// [`Error::Fleet`] when there is no such object, or its kind does not take such a report.
    pub fn report(&mut self, id: ObjectId, report: Report) -> Result<(), Error> {
        let now = self.now();
        let result = self.fleet.report(now, id, report);
        self.collect(now);
        Ok(result?)
    }

    /// Replaces the objects that a router depends on.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Fleet`] for an object that does not exist or is listed twice.
    /// Nothing has changed then.
    pub fn set_tracking(&mut self, id: RouterId, tracking: Vec<TrackRef>) -> Result<(), Error> {
        self.change(id, |config| config.tracking = tracking)
    }

    /// Explains the effective priority of a router, and names the objects of it or its sync group
    /// that are a fault. The faults of this host are in
    /// [`RouterView::faults`](super::RouterView::faults).
    #[must_use]
    pub fn explain(&self, id: RouterId) -> Option<Explanation<'_>> {
        self.fleet.explain(id)
    }

    /// The tracked objects, read-only.
    #[must_use]
    pub const fn objects(&self) -> &Tracker {
        self.fleet.tracker()
    }

    /// The objects whose reports these notifications may change.
    pub(super) fn objects_concerned(&self, notifications: &[MonitorEvent]) -> BTreeSet<ObjectId> {
        let is_concerned =
            |watch: &Watch| notifications.iter().any(|event| watch.is_concerned(event));
        let concerned = self.watches.iter().filter(|(_, it)| is_concerned(it));
        concerned.map(|(id, _)| *id).collect()
    }

    /// Follows the routes that are tracked now, and no others.
    pub(super) fn choose_routes(&mut self) -> Result<(), Error> {
        self.tracked_routes
            .follow(self.watches.values().filter_map(Watch::route))?;
        self.close_sources();
        self.watch_sources()
    }

    /// Reads notifications and dumps of the tracked routes, and reports about them.
    #[cold]
    pub(super) fn follow_routes(&mut self, now: Instant, ready: [bool; 2]) -> Result<(), Error> {
        let has_more = self.tracked_routes.turn(ready)?;
        self.close_sources();
        if self.tracked_routes.take_reopened() {
            self.watch_sources()?;
        }
        if has_more {
            let routes = self.watches.iter().filter(|(_, it)| it.route().is_some());
            let routes: Vec<_> = routes.map(|(id, _)| *id).collect();
            self.evaluate(now, routes);
        }
        Ok(())
    }

    /// Reports the present state of these objects, all at once, so that a router whose priority
    /// changes advertises once.
    pub(super) fn evaluate(&mut self, now: Instant, ids: impl IntoIterator<Item = ObjectId>) {
        let reports = ids.into_iter().filter_map(|id| {
            let watch = self.watches.get(&id)?;
            let report = watch.report(self.host.interfaces(), &self.tracked_routes)?;
            Some((id, report))
        });
        if let Err(error) = self.fleet.report_all(now, reports) {
            // Its kind was checked when it was added.
            tracing::error!(%error, "an object could not be reported about");
        }
        self.collect(now);
    }
}
