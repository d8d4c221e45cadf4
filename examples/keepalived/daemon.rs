//! The daemon: a driver with the routers of a configuration, and everything that commands it or
//! receives its events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use vrrp_examples::{
    balancer::TableNamespace,
    keepalived::{
        balance::Balance,
        event::{Change, Event, Party},
        host_object::HostObject,
        link::{PlannedIpvlan, PlannedMacvlan},
        translate::{Plan, PlannedGroup, PlannedObject, PlannedRouter, Probe, Use},
    },
    keepalived_conf::{
        Reading, configuration::Global, reload::ReloadSettings, source::File, start::StartSettings,
    },
    memory,
    regrouping::Regrouping,
    worker::Worker,
};
use vrrp_fsm::{
    Counters, Reason, State,
    fleet::{GroupId, SyncGroup},
    track::{ObjectId, Report, TrackRef},
};
use vrrp_net::{
    AnnouncedAddress, Driver, DriverEvent, Fault, ForeignPackets, Notification, RouterConfig,
    RouterId, RouterView, Transport, VirtualAddress,
};
use vrrp_proto::{Family, Priority, Vrid};

use crate::{
    Error,
    balancing::{Balancing, Ending, Surroundings},
    data,
    handed_over::{HostState, InstanceState, Predecessor},
    host,
    links::Links,
    log::Log,
    outlet::Outlet,
    reload_file::{self, ReloadFile},
    saves::{Moment, Saves},
    signals::{Request, Serving},
    startup_hold::StartupHold,
    time_file, watch,
};

/// The time between two attempts to restore an address.
const REPAIR_PERIOD: Duration = Duration::from_secs(1);

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) driver: Driver,
    pub(crate) log: Log,
    outlet: Outlet,
    /// The macvlans of addresses on other interfaces.
    links: Links,
    pub(crate) routers: BTreeMap<RouterId, RunningRouter>,
    pub(crate) groups: BTreeMap<GroupId, Grouped>,
    objects: BTreeMap<String, ObjectId>,
    watchers: BTreeMap<String, (Probe, Worker)>,
    statics: Vec<HostObject>,
    /// The address of pages about the virtual servers.
    page: Option<SocketAddr>,
    /// The network namespace of the virtual servers.
    table_namespace: TableNamespace,
    /// The virtual servers, once the configuration has any.
    balancing: Option<Balancing>,
    /// The tracked files whose initial value has been written.
    files: BTreeSet<String>,
    /// The addresses that `ha_suspend` waits for, and those of them that are on this host.
    awaited: BTreeSet<IpAddr>,
    present: BTreeSet<IpAddr>,
    /// The instance of `lvs_sync_daemon`.
    sync_instance: Option<String>,
    /// Whether another daemon ran before this one and left everything in place.
    is_successor: bool,
    /// The connection over which its virtual servers come, until they have arrived.
    predecessor: Option<UnixStream>,
    /// Whether the daemon has finished starting.
    has_started: bool,
    /// The delay at the start, which applies to each router that starts before its end.
    startup_hold: StartupHold,
    /// A copy of `global_defs` of the running configuration, and the errors that it was started
    /// with. The rest of it is in the driver and in the pool.
    pub(crate) global: Global,
    /// The name of the file of the data.
    data_file: String,
    start_settings: StartSettings,
    reload_settings: ReloadSettings,
    /// The number of reloads, with those that were refused.
    reloads: u32,
    /// The thread that watches the file of `reload_time_file`.
    time_watcher: Option<Worker>,
    known_errors: BTreeSet<String>,
    /// When to look for lost addresses and links again.
    repair_at: Option<Instant>,
    /// Why lost links could not be created again at the last attempt.
    link_problems: Vec<String>,
}

/// A running instance.
pub(crate) struct RunningRouter {
    pub(crate) planned: Kept,
    /// The change that was reported last.
    pub(crate) reported: Option<Change>,
    /// Whether its objects are in place.
    has_objects: bool,
    /// The counters at the time when they were last cleared.
    pub(crate) cleared: Counters,
}

/// The parts of a planned instance that the driver does not have.
pub(crate) struct Kept {
    pub(crate) name: String,
    /// Whether changes are mailed.
    pub(crate) mails: bool,
    /// Whether its removal is reported as such, and not as a fault.
    reports_removal: bool,
    /// The configured priority.
    priority: Priority,
    tracked: Vec<Use>,
    objects: Vec<HostObject>,
    ipvlan: Option<PlannedIpvlan>,
    macvlans: Vec<PlannedMacvlan>,
}

/// A sync group.
pub(crate) struct Grouped {
    pub(crate) planned: PlannedGroup,
    pub(crate) reported: Option<Change>,
}

impl Daemon {
    pub(crate) fn new(
        driver: Driver,
        reading: &Reading,
        links: Links,
        predecessor: Option<Predecessor>,
        page: Option<SocketAddr>,
        table_namespace: TableNamespace,
        log: Log,
    ) -> Self {
        let is_successor = predecessor.is_some();
        let (inherited, process, predecessor) = match predecessor {
            Some(Predecessor {
                host,
                process,
                connection,
            }) => (host, process, connection),
            None => (HostState::default(), None, None),
        };
        let global = &reading.configuration.global;
        let mut outlet = Outlet::open(global, &inherited.fifos, log.clone());
        if let Some(process) = process {
            outlet.set_earlier(process, inherited.busy.clone());
        }
        let mut daemon = Self {
            driver,
            outlet,
            links,
            page,
            table_namespace,
            log,
            routers: BTreeMap::new(),
            groups: BTreeMap::new(),
            objects: BTreeMap::new(),
            watchers: BTreeMap::new(),
            statics: Vec::new(),
            balancing: None,
            files: BTreeSet::new(),
            awaited: BTreeSet::new(),
            present: BTreeSet::new(),
            sync_instance: None,
            is_successor,
            predecessor,
            has_started: false,
            startup_hold: StartupHold::new(inherited.startup_hold_end),
            known_errors: errors(reading),
            repair_at: None,
            link_problems: Vec::new(),
            global: reading.configuration.global.clone(),
            data_file: reading.configuration.data_file(),
            start_settings: StartSettings::of(&reading.configuration),
            reload_settings: ReloadSettings::of(&reading.configuration),
            reloads: 0,
            time_watcher: None,
        };
        if is_successor {
            daemon.inherit(inherited);
        }
        daemon
    }

    /// Continues with the objects that the daemon before had on the host, so that
    /// [`apply`](Self::apply) removes those that this configuration does not name.
    fn inherit(&mut self, inherited: HostState) {
        self.statics = inherited.statics;
        let own = self.table_namespace.identity().ok();
        if inherited.table_namespace.is_some() && inherited.table_namespace != own {
            self.predecessor = None;
            self.log.warning(
                "net_namespace_ipvs has changed: the virtual servers of the daemon before stay in \
                 the other namespace, without checks",
            );
        }
        let macvlans = inherited.instances.iter().flat_map(|it| &it.macvlans);
        for problem in self.links.make(macvlans) {
            self.log.warning(&problem);
        }
        for instance in inherited.instances {
            let InstanceState { vrid, family, .. } = instance;
            let same = self.router_with(&instance.interface, vrid, family);
            let Some(router) = same else { continue };
            let id = router.id();
            let running = RunningRouter {
                reported: Some(Change::of(router.state(), None)),
                planned: Kept {
                    name: instance.name,
                    mails: false,
                    reports_removal: instance.reports_removal,
                    priority: instance.priority,
                    tracked: Vec::new(),
                    objects: instance.objects,
                    ipvlan: instance.ipvlan,
                    macvlans: instance.macvlans,
                },
                has_objects: instance.has_objects,
                cleared: instance.cleared,
            };
            self.routers.insert(id, running);
        }
    }

    /// The router of this VRID and family on an interface.
    fn router_with(&self, interface: &str, vrid: Vrid, family: Family) -> Option<RouterView<'_>> {
        self.driver.routers().find(|router| {
            let fsm = router.machine().config();
            (router.interface_name(), fsm.vrid, fsm.family) == (interface, vrid, family)
        })
    }

    /// The router of a planned instance, if there is one.
    fn same_router(&self, config: &RouterConfig) -> Option<RouterId> {
        let same = self.router_with(&config.interface, config.fsm.vrid, config.fsm.family);
        same.map(|it| it.id())
    }

    /// What this daemon has on the host, for the next one.
    fn host_state(&self) -> HostState {
        let instances = self.routers.iter().filter_map(|(id, running)| {
            let router = self.driver.get(*id)?;
            let fsm = router.machine().config();
            let planned = &running.planned;
            Some(InstanceState {
                name: planned.name.clone(),
                interface: router.interface_name().to_owned(),
                vrid: fsm.vrid,
                family: fsm.family,
                reports_removal: planned.reports_removal,
                priority: planned.priority,
                objects: planned.objects.clone(),
                has_objects: running.has_objects,
                ipvlan: planned.ipvlan.clone(),
                macvlans: planned.macvlans.clone(),
                cleared: running.cleared,
            })
        });
        HostState {
            statics: self.statics.clone(),
            instances: instances.collect(),
            fifos: self.outlet.own_fifos(),
            busy: self.outlet.busy(),
            startup_hold_end: self.startup_hold.end(),
            table_namespace: self.table_namespace.identity().ok(),
        }
    }

    /// Brings everything in line with a plan, without touching what stays the same.
    pub(crate) fn apply(&mut self, plan: Plan) {
        for note in &plan.notes {
            self.log.warning(note);
        }
        if let Err(error) = self.driver.set_pacing(plan.pacing) {
            self.log
                .warning(&format!("announcements are not spaced: {error}"));
        }
        self.apply_statics(plan.statics);
        let mut regrouping = Regrouping::default();
        self.shrink_groups(&plan.routers, &plan.groups, &mut regrouping);
        self.add_objects(plan.objects);
        let macvlans = plan.routers.iter().flat_map(|it| &it.macvlans);
        for problem in self.links.make(macvlans) {
            self.log.warning(&problem);
        }
        self.driver.set_own_macvlans(&self.links.indexes());
        let kept: BTreeSet<RouterId> = plan
            .routers
            .iter()
            .filter_map(|it| self.same_router(&it.config))
            .collect();
        let ids: Vec<RouterId> = self.driver.routers().map(|it| it.id()).collect();
        let gone = ids.into_iter().filter(|id| !kept.contains(id));
        // An instance may get another router. Its end is reported before the start of that one.
        let gone: Vec<_> = gone.map(|id| (id, self.report_removal(id))).collect();
        if !self.has_started && !self.is_successor {
            self.startup_hold = StartupHold::new(host::uptime() + plan.startup_hold);
        }
        let hold = self.startup_hold.left(host::uptime());
        for mut planned in plan.routers {
            planned.config.fsm.startup_hold = hold;
            self.apply_router(planned);
        }
        for (id, former) in gone {
            self.remove_router(id, former.as_ref());
        }
        let macvlans = self.routers.values().flat_map(|it| &it.planned.macvlans);
        let names = macvlans.map(|it| it.name.clone()).collect();
        let result = self.links.keep(&names);
        self.note_link(result);
        for group in plan.groups {
            let name = group.name.clone();
            if let Err(error) = self.apply_group(group) {
                self.log.warning(&format!("(sync group {name}) {error}"));
            }
        }
        regrouping.end(&mut self.driver);
        self.remove_objects();
    }

    /// Brings the virtual servers in line with a configuration.
    pub(crate) fn balance(&mut self, balance: Balance) {
        for note in &balance.notes {
            self.log.warning(note);
        }
        for (path, initial) in &balance.files {
            if !self.files.insert(path.clone()) || self.is_inherited(path) {
                continue;
            }
            if let Err(error) = watch::initialise(path, *initial) {
                self.log.warning(&format!("{path}: {error}"));
            }
        }
        self.awaited = balance.suspending.values().copied().collect();
        self.present = self.addresses_here();
        let sync = balance.kernel.sync.as_ref();
        self.sync_instance = sync.and_then(|it| it.instance.clone());
        let surroundings = Surroundings {
            present: self.present.clone(),
            is_active: self.is_sync_active(),
            is_successor: self.is_successor,
            predecessor: self.predecessor.take(),
            namespace: self.table_namespace.clone(),
        };
        match &self.balancing {
            Some(balancing) => {
                balancing.set_present(surroundings.present);
                balancing.set_active(surroundings.is_active);
                balancing.reconfigure(balance);
            }
            None if balance.is_empty() && surroundings.predecessor.is_none() => {}
            None => match Balancing::start(
                balance,
                surroundings,
                self.outlet.take_server_writers(),
                self.page,
                self.outlet.mailer(),
                self.log.clone(),
            ) {
                Ok(balancing) => self.balancing = Some(balancing),
                Err(error) => self
                    .log
                    .warning(&format!("virtual servers do not run: {error}")),
            },
        }
    }

    /// Whether a tracked file keeps the value that it had under the previous daemon.
    fn is_inherited(&self, path: &str) -> bool {
        self.is_successor && !self.has_started && Path::new(path).exists()
    }

    /// The addresses that `ha_suspend` waits for and that this host has.
    fn addresses_here(&self) -> BTreeSet<IpAddr> {
        let interfaces = self.driver.interfaces().iter();
        let addresses = interfaces.flat_map(|it| &it.addresses);
        addresses
            .map(|it| it.address)
            .filter(|it| self.awaited.contains(it))
            .collect()
    }

    /// Reports addresses that have come or gone to the checks that wait for them.
    fn report_addresses(&mut self) {
        if self.awaited.is_empty() {
            return;
        }
        let present = self.addresses_here();
        if present != self.present
            && let Some(balancing) = &self.balancing
        {
            balancing.set_present(present.clone());
            self.present = present;
        }
    }

    /// Whether the instance of `lvs_sync_daemon` is Active.
    fn is_sync_active(&self) -> bool {
        let name = self.sync_instance.as_ref();
        let mut routers = self.routers.iter();
        let found = routers.find(|(_, it)| name == Some(&it.planned.name));
        let view = found.and_then(|(id, _)| self.driver.get(*id));
        view.is_some_and(|view| view.state() == State::Active)
    }

    fn apply_statics(&mut self, statics: Vec<HostObject>) {
        let is_in = |list: &[HostObject], it: &HostObject| list.contains(it);
        let gone: Vec<&HostObject> = self
            .statics
            .iter()
            .filter(|it| !is_in(&statics, it))
            .collect();
        let come: Vec<&HostObject> = statics
            .iter()
            .filter(|it| !is_in(&self.statics, it))
            .collect();
        self.note(host::remove(gone).map(|()| String::new()));
        self.note(host::add(come));
        self.statics = statics;
    }

    fn note(&self, result: std::io::Result<String>) {
        match result {
            Ok(complaints) if complaints.is_empty() => {}
            Ok(complaints) => self.log.warning(&complaints),
            Err(error) => self.log.warning(&format!("ip cannot be run: {error}")),
        }
    }

    fn note_link(&self, result: Result<(), vrrp_net::Error>) {
        if let Err(error) = result {
            self.log.warning(&error.to_string());
        }
    }

    /// Adds the tracked objects, and starts watchers for those that the driver does not watch
    /// itself.
    fn add_objects(&mut self, planned: Vec<PlannedObject>) {
        for PlannedObject {
            object,
            watch,
            probe,
        } in planned
        {
            let name = object.name.clone();
            let known = self.driver.objects().find(&name);
            let result = match known {
                Some(id) => self.driver.reconfigure_object(id, object).map(|()| id),
                None => self.driver.add_object(object, watch),
            };
            let id = match result {
                Ok(id) => id,
                Err(error) => {
                    self.log.warning(&format!("{name}: {error}"));
                    continue;
                }
            };
            self.objects.insert(name.clone(), id);
            let Some(probe) = probe else { continue };
            if self.watchers.get(&name).is_some_and(|(it, _)| *it == probe) {
                continue;
            }
            self.begin(&name, id, &probe, known.is_some());
            let (driver, log) = (self.driver.handle(), self.log.clone());
            match watch::start(name.clone(), probe.clone(), id, driver, log) {
                Ok(watcher) => drop(self.watchers.insert(name, (probe, watcher))),
                Err(error) => self.log.warning(&format!("{name}: {error}")),
            }
        }
    }

    /// Gives an object its state until the first result.
    fn begin(&mut self, name: &str, id: ObjectId, probe: &Probe, is_known: bool) {
        match probe {
            Probe::Script {
                fails_first: true, ..
            } if !is_known => {
                // It fails only for an object that does not exist.
                let _known = self.driver.report(id, Report::Down);
            }
            Probe::File {
                path,
                initial: Some(initial),
            } if !self.is_inherited(path) => {
                if let Err(error) = watch::initialise(path, *initial) {
                    self.log.warning(&format!("{name}: {path}: {error}"));
                }
            }
            _ => {}
        }
    }

    /// Removes the objects that nothing tracks, with their watchers.
    fn remove_objects(&mut self) {
        let mut used = BTreeSet::new();
        for uses in self
            .routers
            .values()
            .map(|it| &it.planned.tracked)
            .chain(self.groups.values().map(|it| &it.planned.tracked))
        {
            used.extend(uses.iter().map(|it| it.object.clone()));
        }
        let unused: Vec<(ObjectId, String)> = self
            .driver
            .objects()
            .iter()
            .filter(|(_, object)| !used.contains(&object.name))
            .map(|(id, object)| (id, object.name.clone()))
            .collect();
        for (id, name) in unused {
            if let Err(error) = self.driver.remove_object(id) {
                self.log.warning(&format!("{name}: {error}"));
            }
            self.objects.remove(&name);
            self.watchers.remove(&name);
        }
    }

    fn references(&self, uses: &[Use]) -> Vec<TrackRef> {
        uses.iter()
            .filter_map(|it| {
                Some(TrackRef {
                    object: *self.objects.get(&it.object)?,
                    weight: Some(it.weight),
                    reverse: Some(it.is_reverse),
                })
            })
            .collect()
    }

    /// Reconfigures a running router, without an election where that is possible, or adds a router.
    /// When its settings are refused, the former one stays or starts again.
    fn apply_router(&mut self, planned: PlannedRouter) {
        let PlannedRouter {
            name,
            mut config,
            tracked,
            objects,
            ipvlan,
            macvlans,
            notify,
        } = planned;
        config.tracking = self.references(&tracked);
        let planned = Kept {
            mails: notify.mails,
            reports_removal: notify.removal,
            priority: config.fsm.priority,
            name: name.clone(),
            tracked,
            objects,
            ipvlan,
            macvlans,
        };
        let mut former = None;
        if let Some(id) = self.same_router(&config) {
            let running = self.routers.get(&id);
            let has_ipvlan = running.is_none_or(|it| it.planned.ipvlan == planned.ipvlan);
            let changed = if has_ipvlan {
                self.change_router(id, &config)
            } else {
                Ok(false)
            };
            if let Err(error) = &changed {
                self.log.warning(&format!(
                    "({name}) the router keeps its former settings: {error}"
                ));
            }
            match changed {
                Ok(false) => {
                    let own = self.driver.get(id).map(|it| it.config());
                    let running = self.report_removal(id);
                    self.remove_router(id, running.as_ref());
                    former = own.zip(running.map(|it| it.planned));
                }
                // One that was taken over from another process has no record yet.
                Err(_) if self.routers.contains_key(&id) => {
                    self.outlet.set(Party::Instance, &name, notify);
                    return;
                }
                Ok(true) | Err(_) => {
                    self.outlet.set(Party::Instance, &name, notify);
                    self.keep(id, planned);
                    return;
                }
            }
        }
        self.outlet.set(Party::Instance, &name, notify);
        let Err(error) = self.add_router(config, planned) else {
            return;
        };
        let restored = former.map(|(config, kept)| self.add_router(config, kept));
        let outcome = match restored {
            Some(Ok(())) => "the router starts again with its former settings",
            _ => "does not run",
        };
        self.log.warning(&format!("({name}) {outcome}: {error}"));
    }

    /// Adds a router, with the links that it runs on.
    fn add_router(&mut self, config: RouterConfig, planned: Kept) -> Result<(), Error> {
        // A run that was killed may have left these.
        self.note(host::remove(&planned.objects).map(|()| String::new()));
        let result = self.links.set_up(&planned.macvlans, false);
        self.note_link(result);
        if let Some(ipvlan) = &planned.ipvlan {
            self.note(host::remove(&ipvlan.objects).map(|()| String::new()));
            self.note(host::add(&ipvlan.objects));
        }
        let added = self.driver.add(config);
        if let (Err(_), Some(ipvlan)) = (&added, &planned.ipvlan) {
            self.note(host::remove(&ipvlan.objects).map(|()| String::new()));
        }
        let id = added?;
        self.routers.insert(
            id,
            RunningRouter {
                planned,
                reported: None,
                has_objects: false,
                cleared: Counters::default(),
            },
        );
        Ok(())
    }

    /// Updates the record of a router that continues. Its objects become those of the plan.
    fn keep(&mut self, id: RouterId, planned: Kept) {
        let is_active = self
            .driver
            .get(id)
            .is_some_and(|it| it.state() == State::Active);
        let before = self.routers.remove(&id);
        let cleared = before
            .as_ref()
            .map_or_else(Counters::default, |it| it.cleared);
        let (reported, had_objects, old) = if let Some(it) = before {
            (it.reported, it.has_objects, it.planned.objects)
        } else {
            // It was taken over from another process.
            let change = self.driver.get(id).map(|it| Change::of(it.state(), None));
            (change, is_active, planned.objects.clone())
        };
        if had_objects && old != planned.objects {
            let gone: Vec<_> = old
                .iter()
                .filter(|it| !planned.objects.contains(it))
                .collect();
            let come: Vec<_> = planned
                .objects
                .iter()
                .filter(|it| !old.contains(it))
                .collect();
            self.note(host::remove(gone).map(|()| String::new()));
            let result = self.links.set_up(&planned.macvlans, true);
            self.note_link(result);
            self.note(host::add(come));
        }
        self.routers.insert(
            id,
            RunningRouter {
                planned,
                reported,
                has_objects: had_objects,
                cleared,
            },
        );
        if is_active && !had_objects {
            self.install(id);
        }
    }

    /// Applies this configuration to a router, or changes nothing. Returns whether that was
    /// possible without another election.
    fn change_router(&mut self, id: RouterId, config: &RouterConfig) -> Result<bool, Error> {
        let Some(own) = self.driver.get(id).map(|it| it.config()) else {
            return Ok(false);
        };
        let has_other_settings = |new: &VirtualAddress| {
            let mut own = own.addresses.iter();
            own.any(|own| own.address() == new.address() && own != new)
        };
        if rest(&own)? != rest(config)? || config.addresses.iter().any(has_other_settings) {
            return Ok(false);
        }
        let result = self.set_router(id, &own, config);
        if result.is_err()
            && let Some(part) = self.driver.get(id).map(|it| it.config())
            && let Err(error) = self.set_router(id, &part, &own)
        {
            self.log.warning(&format!("{id}: {error}"));
        }
        result.map(|()| true)
    }

    /// Changes the settings that need no election.
    fn set_router(
        &mut self,
        id: RouterId,
        own: &RouterConfig,
        config: &RouterConfig,
    ) -> Result<(), Error> {
        if own.addresses != config.addresses {
            self.driver.set_addresses(id, config.addresses.clone())?;
        }
        if let (Transport::Unicast { peers }, false) =
            (&config.transport, own.transport == config.transport)
        {
            self.driver.set_peers(id, peers.clone())?;
        }
        self.driver.set_announced(id, config.announced.clone())?;
        self.driver.reconfigure(id, config.fsm)?;
        self.driver.set_tracking(id, config.tracking.clone())?;
        Ok(())
    }

    /// Reports that a router will be removed: as a fault, unless the instance asks for another
    /// report or is in a fault already. Returns its record, without which its end is no stop.
    fn report_removal(&mut self, id: RouterId) -> Option<RunningRouter> {
        let running = self.routers.remove(&id)?;
        let planned = &running.planned;
        self.log.info(&format!("({}) removed", planned.name));
        let change = if planned.reports_removal {
            Change::Deleted
        } else {
            Change::Removed
        };
        if change == Change::Deleted || running.reported != Some(Change::Fault) {
            self.report(&Event::of_instance(&planned.name, change, planned.priority));
        }
        if self.sync_instance.as_ref() == Some(&planned.name)
            && let Some(balancing) = &self.balancing
        {
            balancing.set_active(false);
        }
        Some(running)
    }

    /// Removes a router, with the objects and links of its record.
    fn remove_router(&mut self, id: RouterId, former: Option<&RunningRouter>) {
        if let Err(error) = self.driver.remove(id) {
            self.log.warning(&format!("{id}: {error}"));
        }
        self.read_notifications();
        let Some(RunningRouter { planned, .. }) = former else {
            return;
        };
        self.note(host::remove(&planned.objects).map(|()| String::new()));
        let down = self.links.set_up(&planned.macvlans, false);
        self.note_link(down);
        if let Some(ipvlan) = &planned.ipvlan {
            self.note(host::remove(&ipvlan.objects).map(|()| String::new()));
        }
    }

    /// Dissolves the groups that are not planned. Takes the routers out of the others that will be
    /// in another group or in none, so each of them can join its group. A group whose members
    /// become address owners, or no longer are, loses all of them in the meantime, because it
    /// cannot have both kinds.
    fn shrink_groups(
        &mut self,
        planned_routers: &[PlannedRouter],
        planned_groups: &[PlannedGroup],
        regrouping: &mut Regrouping,
    ) {
        let mut routers = BTreeMap::new();
        for planned in planned_routers {
            let same = self.same_router(&planned.config);
            routers.extend(same.map(|id| (id, planned)));
        }
        let groups: Vec<(GroupId, SyncGroup)> = self
            .driver
            .groups()
            .map(|(id, group)| (id, group.clone()))
            .collect();
        for (id, group) in groups {
            let planned = planned_groups.iter().find(|it| it.name == group.name);
            let changes_owner = |member: &RouterId| {
                let own = self.driver.get(*member);
                let own = own.map(|it| it.machine().config().is_owner());
                let new = routers.get(member).map(|it| it.config.fsm.is_owner());
                new.is_some() && new != own
            };
            let changes = group.members.iter().any(changes_owner);
            let leaves = |member: &RouterId| {
                let router = routers.get(member);
                let names = planned.map(|it| &it.members);
                let stays = router
                    .is_none_or(|router| names.is_some_and(|names| names.contains(&router.name)));
                changes || !stays
            };
            let leaving: Vec<RouterId> = group.members.iter().copied().filter(leaves).collect();
            let mut result = regrouping.leave(&mut self.driver, &leaving);
            if planned.is_none() {
                let removed = self.driver.remove_group(id).map(drop);
                result = result.and(removed);
                self.groups.remove(&id);
            }
            if let Err(error) = result {
                self.log
                    .warning(&format!("(sync group {}) {error}", group.name));
            }
        }
    }

    fn apply_group(&mut self, planned: PlannedGroup) -> Result<(), Error> {
        let is_member = |name: &String| planned.members.contains(name);
        let members = self
            .routers
            .iter()
            .filter(|(_, running)| is_member(&running.planned.name))
            .map(|(id, _)| *id)
            .collect();
        let mut group = SyncGroup::new(planned.name.clone(), members);
        group.tracking = self.references(&planned.tracked);
        group.member_weights = planned.member_weights;
        self.outlet
            .set(Party::Group, &planned.name, planned.notify.clone());
        let known = self.driver.groups().find(|(_, it)| it.name == group.name);
        let id = match known.map(|(id, _)| id) {
            Some(id) => {
                self.driver.reconfigure_group(id, group)?;
                id
            }
            None => self.driver.add_group(group)?,
        };
        let reported = self.groups.get(&id).and_then(|it| it.reported);
        self.groups.insert(id, Grouped { planned, reported });
        Ok(())
    }

    /// Runs until SIGTERM, or until a successor has taken over. `reload` reads the configuration
    /// again.
    pub(crate) fn run(
        &mut self,
        signals: &Serving,
        mut reload: impl FnMut(&Log) -> (Reading, Plan, Balance),
        is_lenient: bool,
    ) -> Result<(), Error> {
        self.has_started = true;
        self.watch_time_file(signals);
        while !self.driver.is_stopped() {
            let repair = self
                .repair_at
                .map(|at| at.saturating_duration_since(Instant::now()));
            let hold = self.startup_hold.pause(host::uptime());
            self.driver.wait(repair.into_iter().chain(hold).min())?;
            self.shorten_startup_hold();
            self.driver.turn()?;
            self.read_notifications();
            self.report_faults();
            self.report_addresses();
            self.repair();
            while let Some(request) = signals.next() {
                match request {
                    Request::Stop => return Ok(()),
                    Request::Reload => {
                        if self.read_again(&mut reload, is_lenient) {
                            self.watch_time_file(signals);
                        }
                    }
                    Request::Data => {
                        self.write("state_dump_file", &self.data_file, &data::text(self));
                    }
                    Request::Statistics => {
                        self.write(
                            "stats_dump_file",
                            "keepalived.stats",
                            &data::statistics(self),
                        );
                    }
                    Request::ClearStatistics => {
                        self.write(
                            "stats_dump_file",
                            "keepalived.stats",
                            &data::statistics(self),
                        );
                        self.clear_counters();
                    }
                    Request::Json => {
                        self.write("json_dump_file", "keepalived.json", &data::json(self));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets the wait of routers that will start later, for example after a fault, to the rest of
    /// the delay at the start.
    fn shorten_startup_hold(&mut self) {
        let Some(left) = self.startup_hold.shorten(host::uptime()) else {
            return;
        };
        let routers: Vec<_> = self
            .driver
            .routers()
            .map(|it| (it.id(), it.machine().config()))
            .collect();
        for (id, mut fsm) in routers {
            fsm.startup_hold = left;
            if let Err(error) = self.driver.reconfigure(id, fsm) {
                self.log.warning(&format!("{id}: {error}"));
            }
        }
    }

    /// Watches the file of `reload_time_file`, and no longer that of a former configuration.
    fn watch_time_file(&mut self, signals: &Serving) {
        self.time_watcher = None;
        let Some(file) = &self.reload_settings.time_file else {
            return;
        };
        match time_file::watch(file, signals.requester(), self.log.clone()) {
            Ok(watcher) => self.time_watcher = Some(watcher),
            Err(error) => self.log.warning(&format!(
                "reload_time_file {} is not watched: {error}",
                file.path.display()
            )),
        }
    }

    /// Reads the configuration again, and applies it unless it is refused. Returns whether it was
    /// applied.
    fn read_again(
        &mut self,
        reload: &mut impl FnMut(&Log) -> (Reading, Plan, Balance),
        is_lenient: bool,
    ) -> bool {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            crate::systemd(&[NotifyState::Reloading, now]);
        }
        self.reloads = self.reloads.saturating_add(1);
        self.save_state(Moment::BeforeReload);
        let file = self.reload_settings.file.clone();
        let file = file.map(|path| ReloadFile::create(path, self.log.clone()));
        let (reading, plan, balance) = reload(&self.log);
        drop(file);
        let settings = ReloadSettings::of(&reading.configuration);
        if let Some(path) = &settings.file
            && settings.file != self.reload_settings.file
        {
            reload_file::remove(path, &self.log);
        }
        let is_applied = self.reload(&reading, plan, is_lenient);
        if is_applied {
            self.reload_settings = settings;
        }
        self.save_configuration(&reading.files);
        drop(reading);
        if is_applied {
            self.balance(balance);
        }
        self.save_state(Moment::AfterReload);
        if is_applied {
            self.log.info("Reload complete");
        }
        crate::systemd(&[NotifyState::Ready]);
        memory::return_unused();
        is_applied
    }

    /// Names the settings that a reload cannot change.
    fn note_start_settings(&self, settings: &StartSettings) {
        for word in self.start_settings.changed(settings) {
            self.log.warning(&format!(
                "{word} has changed: the change takes effect when the daemon starts again"
            ));
        }
    }

    /// Obeys `log_unknown_vrids`.
    pub(crate) fn obey_log_unknown_vrids(&mut self) {
        let are_counted = self.global.has("log_unknown_vrids");
        let result = self.driver.set_foreign_packets(if are_counted {
            ForeignPackets::Counted
        } else {
            ForeignPackets::default()
        });
        self.note_link(result);
    }

    /// Saves the files that were read, with `config_save_dir`.
    pub(crate) fn save_configuration(&self, files: &[File]) {
        self.save(|saves| saves.save_configuration(files));
    }

    fn save_state(&self, moment: Moment) {
        self.save(|saves| saves.save_state(moment, &data::text(self)));
    }

    fn save(&self, save: impl FnOnce(Saves<'_>) -> std::io::Result<()>) {
        let Some(folder) = &self.reload_settings.save_folder else {
            return;
        };
        if let Err(error) = save(Saves::new(folder, self.reloads)) {
            self.log
                .warning(&format!("config_save_dir {}: {error}", folder.display()));
        }
    }

    /// Applies another configuration, and returns whether it did. A configuration with new errors
    /// is refused as a whole.
    fn reload(&mut self, reading: &Reading, plan: Plan, is_lenient: bool) -> bool {
        self.log.info("Reloading");
        let new: Vec<String> = errors(reading)
            .difference(&self.known_errors)
            .cloned()
            .collect();
        if !reading.is_startable || (!is_lenient && !new.is_empty()) {
            for error in &new {
                self.log.warning(error);
            }
            self.log
                .warning("the configuration has errors: the running one stays as it is");
            return false;
        }
        self.known_errors = errors(reading);
        self.global = reading.configuration.global.clone();
        self.data_file = reading.configuration.data_file();
        self.note_start_settings(&StartSettings::of(&reading.configuration));
        self.outlet.set_mail(&self.global);
        self.obey_log_unknown_vrids();
        self.apply(plan);
        if self.global.has("fifo_write_vrrp_states_on_reload") {
            let events: Vec<Event> = self
                .routers
                .iter()
                .filter_map(|(id, it)| {
                    let priority = self.driver.get(*id)?.machine().effective_priority();
                    Some(Event::of_instance(&it.planned.name, it.reported?, priority))
                })
                .collect();
            for event in events {
                self.outlet.write_line(&event);
            }
        }
        true
    }

    /// Sets all counters to 0.
    fn clear_counters(&mut self) {
        for (id, running) in &mut self.routers {
            if let Some(view) = self.driver.get(*id) {
                running.cleared = *view.machine().counters();
            }
        }
    }

    /// Writes a text to the file that a keyword names, or to this file in the temporary folder.
    fn write(&self, word: &str, name: &str, text: &str) {
        let folder = std::env::temp_dir();
        let path = match self.global.text(word) {
            Some(path) => path.into(),
            None => folder.join(name),
        };
        if let Err(error) = std::fs::write(&path, text) {
            self.log.warning(&format!("{}: {error}", path.display()));
        }
    }

    fn read_notifications(&mut self) {
        while let Some(notification) = self.driver.next_notification() {
            self.on(&notification);
        }
    }

    fn on(&mut self, notification: &Notification) {
        match &notification.event {
            DriverEvent::StateChanged(change) => {
                if let Some(id) = notification.router {
                    self.on_state(id, change.to, Some(change.reason));
                }
            }
            DriverEvent::GroupChanged { group, state, from } => {
                let reason = self
                    .driver
                    .is_stopped()
                    .then_some(Reason::Shutdown(vrrp_fsm::ShutdownCause::Administrative));
                // A group begins in Initialize without a change.
                if *state != State::Initialize || from.is_some() {
                    self.on_group(*group, Change::of(*state, reason));
                }
            }
            DriverEvent::PriorityChanged { .. } => {
                if let Some(id) = notification.router {
                    self.on_priority(id);
                }
                self.log.info(&notification.to_string());
            }
            DriverEvent::RivalDetected { .. } => {
                self.log.info(&notification.to_string());
                if let Some(id) = notification.router {
                    self.report_of(id, Change::RivalDetected);
                }
            }
            DriverEvent::ObjectChanged { .. }
            | DriverEvent::WantsActive { .. }
            | DriverEvent::Recovered(_) => self.log.detail(&notification.to_string()),
            _ => self.log.warning(&notification.to_string()),
        }
    }

    fn on_state(&mut self, id: RouterId, state: State, reason: Option<Reason>) {
        let change = Change::of(state, reason);
        if let Some(running) = self.routers.get_mut(&id) {
            let name = &running.planned.name;
            self.log
                .info(&format!("({name}) Entering {} STATE", change.word()));
            running.reported = Some(change);
            if self.sync_instance.as_ref() == Some(name)
                && let Some(balancing) = &self.balancing
            {
                balancing.set_active(state == State::Active);
            }
        }
        if state == State::Active {
            self.install(id);
        } else {
            self.uninstall(id);
        }
        self.report_of(id, change);
    }

    fn on_group(&mut self, id: GroupId, change: Change) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.reported.replace(change) == Some(change) {
            return;
        }
        let name = group.planned.name.clone();
        self.log.info(&format!(
            "(sync group {name}) all members are {}",
            change.word()
        ));
        self.report(&Event::of_group(&name, change));
    }

    fn on_priority(&mut self, id: RouterId) {
        let Some(running) = self.routers.get(&id) else {
            return;
        };
        if !self
            .outlet
            .reports_priorities(Party::Instance, &running.planned.name)
        {
            return;
        }
        match running.reported {
            Some(Change::Master) => self.report_of(id, Change::MasterPriority),
            Some(Change::Backup) => self.report_of(id, Change::BackupPriority),
            _ => {}
        }
    }

    fn report_of(&mut self, id: RouterId, change: Change) {
        let Some(running) = self.routers.get(&id) else {
            return;
        };
        let priority = match self.driver.get(id) {
            Some(view) => view.machine().effective_priority(),
            None => running.planned.priority,
        };
        let event = Event::of_instance(&running.planned.name, change, priority);
        self.report(&event);
    }

    fn report(&mut self, event: &Event) {
        self.outlet.report(event);
    }

    /// Reports the fault of routers that never started: they have no change of state to report.
    fn report_faults(&mut self) {
        let is_down = |id: &RouterId| {
            self.driver.get(*id).is_some_and(|view| {
                view.state() == State::Initialize
                    && (view.faults().any(|fault| *fault != Fault::NoPrimaryAddress)
                        || view.faults().next().is_some()
                        || self
                            .driver
                            .explain(*id)
                            .is_some_and(|it| it.faults().next().is_some()))
            })
        };
        let new: Vec<RouterId> = self
            .routers
            .iter()
            .filter(|(id, it)| it.reported.is_none() && is_down(id))
            .map(|(id, _)| *id)
            .collect();
        for id in new {
            self.on_state(id, State::Initialize, None);
        }
    }

    /// Installs the objects that the driver cannot express. The driver announces the addresses
    /// among them.
    fn install(&mut self, id: RouterId) {
        let Some(running) = self.routers.get_mut(&id) else {
            return;
        };
        if running.planned.objects.is_empty() {
            return;
        }
        running.has_objects = true;
        let up = self.links.set_up(&running.planned.macvlans, true);
        let result = host::add(&running.planned.objects);
        self.note_link(up);
        self.note(result);
        // The driver has not received these additions yet, so they still look lost to it.
        self.repair_at = Some(Instant::now() + REPAIR_PERIOD);
    }

    fn uninstall(&mut self, id: RouterId) {
        let Some(running) = self.routers.get_mut(&id) else {
            return;
        };
        if std::mem::take(&mut running.has_objects) {
            let result = host::remove(&running.planned.objects);
            let down = self.links.set_up(&running.planned.macvlans, false);
            self.note(result.map(|()| String::new()));
            self.note_link(down);
        }
    }

    /// Restores addresses and links that another program has removed and that the driver does not
    /// manage: at once, then once a second.
    fn repair(&mut self) {
        let now = Instant::now();
        if self.repair_at.is_some_and(|at| now < at) {
            return;
        }
        self.repair_at = None;
        if self.repair_links() | self.repair_addresses() {
            self.repair_at = Some(now + REPAIR_PERIOD);
        }
    }

    /// Restores addresses on other interfaces. Returns whether any were missing.
    fn repair_addresses(&mut self) -> bool {
        let is_lost = |announced: &AnnouncedAddress| {
            let found = self.driver.interfaces().named(&announced.interface);
            found.is_some_and(|it| {
                let mut own = it.addresses.iter();
                it.link.up && !own.any(|own| own.address == announced.address)
            })
        };
        let lost: Vec<RouterId> = self
            .routers
            .iter()
            .filter(|(id, it)| {
                let view = self.driver.get(**id).filter(|_| it.has_objects);
                view.is_some_and(|view| view.config().announced.iter().any(is_lost))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in &lost {
            self.install(*id);
        }
        !lost.is_empty()
    }

    /// Creates links again that have gone, for example with their parent. Returns whether any were
    /// missing while their parent was there.
    fn repair_links(&mut self) -> bool {
        let interfaces = self.driver.interfaces();
        let is_missing = |name: &str, parent: &str| {
            interfaces.named(name).is_none() && interfaces.named(parent).is_some()
        };
        let mut objects = Vec::new();
        let mut macvlans = Vec::new();
        let mut lost = Vec::new();
        for (id, running) in &self.routers {
            if let Some(ipvlan) = &running.planned.ipvlan
                && is_missing(&ipvlan.name, &ipvlan.parent)
            {
                objects.extend(&ipvlan.objects);
            }
            let own = running.planned.macvlans.iter();
            let missing = own.filter(|it| is_missing(&it.name, &it.parent));
            let before = macvlans.len();
            macvlans.extend(missing);
            if macvlans.len() > before && running.has_objects {
                lost.push(*id);
            }
        }
        if objects.is_empty() && macvlans.is_empty() {
            return false;
        }
        let mut problems = self.links.make(macvlans);
        if !objects.is_empty() {
            match host::add(objects) {
                Ok(complaints) => problems.extend(Some(complaints).filter(|it| !it.is_empty())),
                Err(error) => problems.push(error.to_string()),
            }
        }
        if problems != self.link_problems {
            for problem in &problems {
                self.log.warning(problem);
            }
            self.link_problems = problems;
        }
        self.driver.set_own_macvlans(&self.links.indexes());
        for id in lost {
            self.install(id);
        }
        true
    }

    /// Ends everything: Actives resign and addresses go, unless they are to stay. A successor gets
    /// the virtual servers at once.
    pub(crate) fn end(
        mut self,
        successor: Option<UnixStream>,
        keeps_addresses: bool,
        keeps_services: bool,
        must_stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        if let Some(successor) = successor {
            // What they report is on the host, too.
            self.read_notifications();
            if let Err(error) = self.host_state().send(&successor) {
                self.log.warning(&format!(
                    "addresses and rules were not handed over: {error}"
                ));
            }
            if let Some(balancing) = &self.balancing {
                balancing.hand_over(successor);
            }
        }
        for (_, watcher) in self.watchers.values_mut() {
            watcher.stop();
        }
        let mut result = Ok(());
        let is_handed_over = self.driver.is_stopped();
        if !keeps_addresses && !is_handed_over {
            result = self.driver.shutdown();
            self.read_notifications();
            self.report_stop();
            let ids: Vec<RouterId> = self.routers.keys().copied().collect();
            for id in ids {
                self.uninstall(id);
            }
            let gone = self.links.keep(&BTreeSet::new());
            self.note_link(gone);
            let ipvlans = self
                .routers
                .values()
                .filter_map(|it| it.planned.ipvlan.as_ref());
            let objects = ipvlans.flat_map(|it| &it.objects).collect::<Vec<_>>();
            self.note(host::remove(objects).map(|()| String::new()));
            self.note(host::remove(&self.statics).map(|()| String::new()));
        }
        self.watchers.clear();
        self.time_watcher = None;
        let Self { driver, outlet, .. } = self;
        // Its sockets would keep memberships of groups while scripts run.
        drop(driver);
        if let Some(balancing) = self.balancing.take() {
            let ending = match (is_handed_over, keeps_services) {
                (true, _) => Ending::LeaveAll,
                (false, true) => Ending::KeepServices,
                (false, false) => Ending::Remove,
            };
            balancing.end(ending, must_stop);
        }
        outlet.close(is_handed_over, must_stop);
        Ok(result?)
    }

    /// Reports the stop of routers that were in a fault: they have no change of state to report.
    fn report_stop(&mut self) {
        let others: Vec<RouterId> = self
            .routers
            .iter()
            .filter(|(_, it)| it.reported != Some(Change::Stop))
            .map(|(id, _)| *id)
            .collect();
        for id in others {
            self.report_of(id, Change::Stop);
        }
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in groups {
            self.on_group(id, Change::Stop);
        }
    }
}

/// The parts of a configuration that cannot change without another election.
fn rest(config: &RouterConfig) -> Result<serde_json::Value, Error> {
    let mut config = serde_json::to_value(config)?;
    for field in ["fsm", "tracking", "addresses", "announced"] {
        config[field] = serde_json::Value::Null;
    }
    if config["transport"].get("unicast").is_some() {
        config["transport"] = "unicast".into();
    }
    Ok(config)
}

/// The errors of a configuration, as text.
fn errors(reading: &Reading) -> BTreeSet<String> {
    use vrrp_examples::keepalived_conf::complaint::Weight;
    let errors = reading.complaints.iter();
    let errors = errors.filter(|it| it.weight == Weight::Error);
    errors
        .map(|it| match &it.object {
            Some(object) => format!("({object}) {it}"),
            None => it.to_string(),
        })
        .collect()
}
