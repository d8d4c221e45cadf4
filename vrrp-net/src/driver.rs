//! A loop that runs virtual routers.

mod announcements;
#[cfg(feature = "tokio")]
mod async_driver;
mod attach;
mod authentication;
mod changes;
mod compact;
mod config;
mod events;
mod groups;
mod hand_over;
mod handle;
mod host;
mod install;
mod instance;
mod link_watch;
mod messages;
mod notification;
mod numbers;
mod packets;
mod proxies;
mod receive;
mod router;
mod send;
mod subnet;
#[cfg(feature = "serde")]
mod succession;
mod tracking;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use vrrp_fsm::{
    Action, Epoch, Instant, State,
    fleet::{Member, PacketErrors, Reader, RouterId, VrrpRouter},
    track::ObjectId,
};

#[cfg(feature = "tokio")]
pub use self::async_driver::AsyncDriver;
#[cfg(feature = "hmac")]
pub use self::config::{HmacKeys, HmacMode};
#[cfg(feature = "serde")]
pub use self::succession::Successor;
pub use self::{
    authentication::Sequences,
    config::{
        AnnouncedAddress, Authentication, ForeignPackets, RouterConfig, Transport, UnicastPath,
        VirtualMac,
    },
    hand_over::HandOver,
    handle::DriverHandle,
    notification::{DriverEvent, Fault, Notification, Subject},
    router::RouterView,
    tracking::Watch,
};
use self::{
    compact::CompactConfig,
    events::Events,
    handle::Inbox,
    host::Host,
    install::Queue,
    instance::{Answers, Instance, Rest},
    numbers::Numbers,
    packets::Packets,
    router::Router,
    trouble::{Part, Troubles},
};
use crate::{
    Error, Interfaces, Outcome, VirtualAddress,
    kernel::{poller::Poller, route_watch::RouteWatch, sys},
    plan::{Change, Claims, Kept, Paced, Planner, Thing},
};

/// Sockets for advertisements that a driver can have: two families, and AH.
const SOCKETS: usize = 3;

/// The longest pause where the wait for sources fails, and every source is tried.
const POLLING: Duration = Duration::from_millis(10);

/// With this many routers or more, advertisements leave a little late or early, so that several
/// share a system call.
const MANY: usize = 32;

/// By how much at most.
const PATIENCE: Duration = Duration::from_millis(10);

/// The time in which received advertisements gather, where there are many routers, to be read with
/// one system call: a twentieth of the shortest interval.
const GATHERING: Duration = Duration::from_micros(500);

/// The number of routers of an interface, at each end of their list, with which another one may
/// share its configuration.
const SIBLINGS: usize = 4;

/// Log capacity per router and object. One call of the fleet adds at most one record per object and
/// seven per router (two changes of priority, a pending takeover, and up to four changes of state),
/// so none is overwritten before the driver has read it.
const RECORDS: usize = 8;

/// Runs virtual routers, any number of them, on the thread that calls it.
///
/// ```no_run
/// use vrrp_fsm::Config;
/// use vrrp_net::{Driver, RouterConfig};
/// use vrrp_proto::{Family, Priority, Vrid};
///
/// let mut driver = Driver::new()?;
/// let mut fsm = Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv4);
/// fsm.priority = Priority::new(150);
/// driver.add(RouterConfig::new("eth0", fsm, vec!["192.0.2.254".parse()?]))?;
///
/// // Another thread ends the loop with `handle.stop()`.
/// let handle = driver.handle();
/// driver.run(|notification| println!("{notification}"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # In a loop of your own
///
/// The driver is one descriptor ([`AsFd`], an epoll inside), the same from [`new`](Self::new) to
/// the end. Wait until it is readable or the [`timeout`](Self::timeout) is over, call
/// [`turn`](Self::turn), then read the [notifications](Self::next_notification). A turn waits for
/// no packet, and for the answer of a busy kernel only a few milliseconds. Other calls may come in
/// between, from the same thread; the next turn carries them out.
///
/// ```no_run
/// use std::os::fd::AsFd;
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
///
/// # let mut driver = vrrp_net::Driver::new()?;
/// while !driver.is_stopped() {
///     // With the timer the descriptor is enough.
///     driver.arm_timer()?;
///     // Together with other descriptors of the program.
///     poll(&mut [PollFd::new(driver.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
///     driver.turn()?;
///     while let Some(notification) = driver.next_notification() {
///         println!("{notification}");
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The descriptor is level-triggered, and can be waited for edge-triggered too (`EPOLLET`, as tokio
/// and mio do): a turn reads everything, or leaves a timeout of zero. A wait for the timeout is as
/// exact as the resolution of the waiting call and the timer slack of the thread allow;
/// [`arm_timer`](Self::arm_timer) is exact in every loop, at the price of one system call for each
/// wait.
///
/// # What a turn does, in order
///
/// 1. It reads every advertisement that was waiting when the turn began, then all notifications of
///    links and addresses.
/// 2. It serves the timers that have expired. So a thread that wakes up late handles the packets
///    that came in the meantime before it decides that none came. Where the turn itself was held
///    up, by the kernel or by a request of another thread, it reads the advertisements again first.
/// 3. It sends the advertisements that result, many to a system call.
/// 4. It does a portion of the slow work, in the order in which it was asked for: addresses,
///    announcements. An address is announced once the kernel has it, at the
///    [pace](Self::set_pacing) of its interface. The rest waits for the next turn, and is done
///    after that turn's advertisements. Where routes are tracked, the kernel's dumps of routes are
///    read in portions in the same way.
///
/// Timers of Backups are served on time. Where there are 32 routers or more, the advertisements of
/// an Active leave up to a sixteenth of the interval early or late, and 10 ms at most, so that many
/// of them share a system call. They do not drift. With so many routers [`run`](Self::run) also
/// lets the advertisements of others gather, for half a millisecond after it has read some.
///
/// # Addresses
///
/// While a router is Active its addresses are on the interface; otherwise they are not. They have
/// the mark [`ADDRESS_PROTOCOL`](crate::ADDRESS_PROTOCOL), and an address without it is never
/// removed. An address that another program removes is put back and announced: at once the first
/// time, then at growing intervals of up to a minute. Where the interface gets another hardware
/// address, the addresses are announced again.
///
/// A virtual address on the interface that the router did not add is
/// [reported](DriverEvent::ForeignAddress) and stays; a router does not start while there is one
/// ([`Fault::ForeignAddress`]). The owner (priority 255) may have such addresses, as long as [it is
/// the owner](Self::reconfigure).
///
/// In its first turn the driver removes everything with our mark that no router wants: addresses,
/// routes and macvlans that a crash or another configuration left.
///
/// Other running instances in the same network namespace keep theirs. Each instance answers at an
/// abstract UNIX socket, `vrrp-net/PID.N`. A driver asks them at its start, before it removes
/// something with our mark that appeared while it ran, and after one of them has ended. It waits
/// for the answers for up to 200 ms ([`DriverEvent::LeftOversKept`]). An address or route that
/// Actives of several instances use is removed with the last of them ([`DriverEvent::AddressKept`],
/// [`RouterView::addresses_of_others`]). Claims of a process without rights do not count: it must
/// run as root or as the user of this process, or have `CAP_NET_ADMIN` in the same user namespace.
/// While a process with such a name lets connections wait until there is no room for another, its
/// rights are not known, and left-overs stay.
///
/// Two links of one parent cannot both be up with one hardware address. So of two instances with
/// the same VRID, family and interface that [use the virtual MAC](RouterConfig::virtual_mac), the
/// second has [`Fault::VirtualMacInUse`] until the first has ended. Of two instances that start at
/// the same time, the one whose name sorts first keeps the virtual MAC.
///
/// After an instance has died, for example by SIGKILL, its addresses, routes and macvlans stay for
/// three seconds: a successor may claim them, and at an interval of 1 s the other hosts take the
/// addresses over in the meantime. Then the remaining instances remove them. Without another
/// instance they stay until one starts.
///
/// Where a virtual address is the primary one of a subnet, `promote_secondaries` of the interface
/// is set to 1 while the address is removed, so the other addresses of the subnet stay. Where that
/// cannot be set, as in a container with a read-only `/proc/sys`, the others are added again at
/// once with all their attributes ([`DriverEvent::HostAddressRestored`]); routes with such an
/// address as their source are lost.
///
/// # Virtual MAC and routes
///
/// Where a router [uses its virtual MAC](RouterConfig::virtual_mac), the macvlan is made with the
/// router, is up while it is Active, and is deleted with it. A macvlan that an earlier run left is
/// reused; one that another program deletes is made again. [Routes](RouterConfig::routes) are added
/// after the addresses and removed before them. A removed route is put back like an address, and
/// also once its interface or next hop is back.
///
/// # Faults
///
/// A router whose interface is missing, down, or without an address to advertise from is in
/// Initialize, and starts again once nothing is missing; [`RouterView::faults`] names the missing
/// things. A group or a macvlan that the kernel refuses is tried again: at once the first time,
/// then at growing intervals of up to a minute.
///
/// Requests to the kernel for addresses, links and routes are made on the thread of the driver,
/// after the advertisements of a turn. The kernel carries them out while they are sent, and the
/// driver waits 10 ms for an answer at most. A kernel that does not answer is asked again, after
/// 100 ms or more; after a second routers have [`Fault::SystemCallFails`]. While another program
/// has the kernel's lock for network settings (RTNL), for example to delete thousands of links, a
/// request waits in the kernel, and so does the driver: no time limit can end that.
/// [`DriverEvent::ChangesHeldUp`] reports it afterwards.
///
/// # Tracking and sync groups
///
/// [Objects](Self::add_object) outside VRRP, such as another interface or the result of a check,
/// lower or raise the priority of routers, or are a fault that keeps routers down;
/// [`explain`](Self::explain) shows their effect on a router. Routers of a [sync
/// group](Self::add_group) change their state together.
///
/// # Dropping it
///
/// The routers then fall silent, as after a crash: the others take over after Active_Down_Interval,
/// and addresses, routes and macvlans stay. Call [`shutdown`](Self::shutdown) to resign, or
/// [`hand_over`](Self::hand_over) to let another driver go on.
#[derive(Debug)]
pub struct Driver {
    epoch: Epoch,
    inbox: Inbox,
    /// The reason why there are no more turns.
    end: Option<End>,
    poller: Poller,
    /// Whether a source may still have something to read after the last turn.
    is_unfinished: bool,
    host: Host,
    instance: Instance,
    packets: Packets,
    /// The state machines, with their timers, tracked objects and sync groups.
    fleet: VrrpRouter,
    /// The position up to which the fleet's records were read.
    records: Reader,
    /// The numbers by which the fleet knows interfaces.
    numbers: Numbers,
    /// The objects that the driver reports about.
    watches: BTreeMap<ObjectId, Watch>,
    /// The routes among them.
    tracked_routes: RouteWatch,
    /// The Linux part of each router. In boxes, because the nodes of a map that only grows at its
    /// end are half empty.
    routers: BTreeMap<RouterId, Box<Router>>,
    /// The routers of each interface, by its number.
    members: HashMap<u32, BTreeSet<RouterId>>,
    planner: Planner,
    /// Whether left-overs are being removed.
    sweeping: Sweeping,
    /// Whether it was reported that another instance does not answer.
    misses_answer: bool,
    queue: Queue,
    /// The addresses and routes that a router does not want, and that are there for another
    /// instance.
    kept: BTreeMap<RouterId, Vec<Kept>>,
    /// The announcements that wait for the pace of their interface.
    paced: Paced,
    /// The addresses that the program puts in place, each with the router that announces it.
    announced: BTreeSet<(IpAddr, RouterId)>,
    /// The times at which routers announce some of these again.
    refreshes: BTreeSet<(Instant, RouterId)>,
    events: Events,
    /// The parts that failed last time.
    troubles: Troubles,
    /// The faults of routers that come from those.
    part_faults: BTreeMap<Part, Fault>,
    /// Whether the last turn has read advertisements.
    has_received: bool,
}

/// The progress of the removal of left-overs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweeping {
    NotYet,
    Runs,
    Done,
}

/// The reason why a driver takes no more turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ShutDown,
    HandedOver,
}

/// The tokens of the sources in the poller. Sockets have their places.
mod token {
    pub(super) const PROXY: u64 = 16;
    pub(super) const MONITOR: u64 = 17;
    pub(super) const INBOX: u64 = 18;
    pub(super) const INSTANCE: u64 = 20;
    /// The socket for links, after the sockets for advertisements.
    pub(super) const LINKS: u64 = super::SOCKETS as u64;
    /// The first of two tokens: notifications, then dumps.
    pub(super) const ROUTES: u64 = 32;
}

/// The sources that can be read.
#[derive(Debug, Default)]
struct Ready {
    /// Each socket for advertisements, in their order, then the one for the links of Actives.
    sockets: [bool; SOCKETS + 1],
    /// Requests of ARP and Neighbor Discovery for addresses that the host does not have.
    questions: bool,
    /// Notifications of links and addresses.
    notifications: bool,
    /// Notifications and dumps of tracked routes.
    routes: [bool; 2],
    /// Requests of other threads, or of other instances that start.
    requests: bool,
}

impl Ready {
    /// Every source, where it is not known which can be read.
    const fn all() -> Self {
        Self {
            sockets: [true; SOCKETS + 1],
            questions: true,
            notifications: true,
            routes: [true; 2],
            requests: true,
        }
    }

    /// Adds the source of a part that is called only where it can be read.
    fn add(&mut self, part: Part) {
        match part {
            Part::Socket(place) => {
                if let Some(it) = self.sockets.get_mut(place) {
                    *it = true;
                }
            }
            Part::Monitor => self.notifications = true,
            Part::Proxies => self.questions = true,
            // They are called in every turn while they fail.
            Part::Links | Part::Lists | Part::Routes | Part::Changes | Part::Wait => {}
        }
    }

    fn set(&mut self, token: u64) {
        match token {
            token::PROXY => self.questions = true,
            token::MONITOR => self.notifications = true,
            token::INBOX | token::INSTANCE => self.requests = true,
            token => {
                let sockets = self.sockets.iter_mut().zip(0..);
                let routes = self.routes.iter_mut().zip(token::ROUTES..);
                if let Some((it, _)) = sockets.chain(routes).find(|(_, its)| *its == token) {
                    *it = true;
                }
            }
        }
    }
}

impl AsFd for Driver {
    /// Readable while there is something to read for the driver: see
    /// [the loop](Driver#in-a-loop-of-your-own).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl AsRawFd for Driver {
    fn as_raw_fd(&self) -> RawFd {
        self.poller.as_fd().as_raw_fd()
    }
}

impl Driver {
    /// Opens what every router needs, in the network namespace of the calling thread.
    /// [`add`](Self::add) opens more, and so does [`add_object`](Self::add_object) for a route, so
    /// call those in the same namespace. Where a router uses its virtual MAC, or there are more
    /// than twenty interfaces, call everything else in it as well: a thread with drivers of several
    /// namespaces enters the driver's namespace first. A call from another namespace is refused
    /// where it would do harm, as a [`Fault`] or with [`Error::OtherNamespace`].
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_ADMIN` or `CAP_NET_RAW`; [`Error::Os`] where the
    /// system has no more sockets.
    pub fn new() -> Result<Self, Error> {
        let packets = Packets::open()?;
        let host = Host::open()?;
        let mut driver = Self {
            epoch: Epoch::new(std::time::Instant::now()),
            inbox: Inbox::new()?,
            end: None,
            poller: Poller::new().map_err(Error::os("make an epoll descriptor"))?,
            is_unfinished: false,
            host,
            instance: Instance::open()?,
            packets,
            fleet: VrrpRouter::new(),
            records: Reader::default(),
            numbers: Numbers::default(),
            watches: BTreeMap::new(),
            tracked_routes: RouteWatch::default(),
            routers: BTreeMap::new(),
            members: HashMap::new(),
            planner: Planner::default(),
            sweeping: Sweeping::NotYet,
            misses_answer: false,
            queue: Queue::default(),
            kept: BTreeMap::new(),
            paced: Paced::default(),
            announced: BTreeSet::new(),
            refreshes: BTreeSet::new(),
            events: Events::default(),
            troubles: Troubles::default(),
            part_faults: BTreeMap::new(),
            has_received: false,
        };
        let awaits = !driver.instance.has_asked();
        driver.host.actual.set_awaits_claims(awaits);
        driver.watch_sources()?;
        Ok(driver)
    }

    fn now(&self) -> Instant {
        self.epoch.instant(std::time::Instant::now())
    }

    /// Adds a router, which starts at once unless something is missing ([`Fault`]).
    ///
    /// # Errors
    ///
    /// [`Error`] names the field of the configuration that is not usable; [`Error::Duplicate`]
    /// where the interface has the virtual router already; [`Error::Capability`] or [`Error::Os`]
    /// when its socket cannot be opened.
    pub fn add(&mut self, config: RouterConfig) -> Result<RouterId, Error> {
        let others = self.siblings(self.numbers.of_name(&config.interface));
        let router = Router::new(config, others)?;
        let number = self.numbers.number(&router.common().interface);
        let member = router.member(number);
        let key = member.key();
        if self.fleet.find(&key).is_some() {
            return Err(Error::Duplicate {
                interface: router.common().interface.clone(),
                family: key.family,
                vrid: key.vrid,
            });
        }
        let now = self.now();
        let id = match self.enlist(now, &router, member) {
            Ok(id) => id,
            Err(error) => {
                self.release_interface(&router.common().interface);
                self.filter()?;
                return Err(error);
            }
        };
        self.insert(id, router);
        self.adapt_to_size();
        self.reconcile(now, id);
        Ok(id)
    }

    fn enlist(&mut self, now: Instant, router: &Router, member: Member) -> Result<RouterId, Error> {
        self.open_sockets(router)?;
        self.packets.admit(router)?;
        Ok(self.fleet.add(now, member)?)
    }

    /// Some configurations of routers on the interface of this number: another router there is
    /// probably like one of these.
    fn siblings(&self, number: Option<u32>) -> impl Iterator<Item = &CompactConfig> {
        let members = number.and_then(|number| self.members.get(&number));
        let ids = members.into_iter().flat_map(|all| {
            let (first, last) = (all.iter(), all.iter().rev());
            first.take(SIBLINGS).chain(last.take(SIBLINGS))
        });
        ids.filter_map(|id| Some(&self.routers.get(id)?.config))
    }

    /// A configuration that shares with those of other routers what it has in common with them.
    fn compact(&self, config: RouterConfig) -> CompactConfig {
        let others = self.siblings(self.numbers.of_name(&config.interface));
        CompactConfig::new(config, others)
    }

    /// Forgets an interface that has no router.
    fn release_interface(&mut self, name: &str) {
        let Some(number) = self.numbers.of_name(name) else {
            return;
        };
        if self.members.get(&number).is_none_or(BTreeSet::is_empty) {
            self.members.remove(&number);
            self.numbers.release(name);
        }
    }

    fn insert(&mut self, id: RouterId, router: Router) {
        self.planner.insert(id, &router.wanted(None));
        let number = self.numbers.number(&router.common().interface);
        self.members.entry(number).or_default().insert(id);
        let announced = router.common().announced.iter();
        self.announced.extend(announced.map(|it| (it.address, id)));
        self.routers.insert(id, Box::new(router));
    }

    /// Adapts the settings that depend on the number of routers.
    fn adapt_to_size(&mut self) {
        let routers = self.routers.len();
        // All may have to advertise at once.
        self.packets.reserve(routers);
        let is_many = routers >= MANY;
        self.fleet
            .set_patience(if is_many { PATIENCE } else { Duration::ZERO });
        // The capacity grows in powers of two, so most routers need no new room.
        let records = RECORDS * (routers + self.fleet.tracker().iter().count());
        if records > VrrpRouter::RECORDS {
            self.fleet.keep_records(records.next_power_of_two());
        }
    }

    fn open_sockets(&mut self, router: &Router) -> Result<(), Error> {
        if router.common().enforce_accept_mode {
            for address in router.all() {
                self.host.proxies.open(address.family())?;
            }
            self.watch_sources()?;
        }
        if self.packets.open_for(router)? {
            self.watch_sources()?;
        }
        Ok(())
    }

    /// Updates the filters of the sockets for the present routers.
    fn filter(&mut self) -> Result<(), Error> {
        self.packets.filter(&self.routers)
    }

    /// Removes a router: an Active resigns, and its addresses are gone when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked
    /// to. The router is removed then, and its addresses go as soon as they can.
    pub fn remove(&mut self, id: RouterId) -> Result<(), Error> {
        self.router_mut(id)?.is_shut_down = true;
        let now = self.now();
        self.fleet.remove(now, id)?;
        self.collect(now);
        self.flush(now);
        self.queue.push(id);
        let mut result = Ok(());
        while result.is_ok() && self.queue.concerns(id) {
            result = self.install(now);
        }
        // Everything else of the router is removed later.
        self.queue.forget(id);
        self.unbind(id);
        let routes = self
            .wanted(id)
            .map(|it| it.left_routes(&self.host.actual))
            .unwrap_or_default();
        self.planner.add_all_former(routes);
        self.planner.forget(id);
        self.paced.forget(id);
        self.announced.retain(|(_, of)| *of != id);
        self.refreshes.retain(|(_, of)| *of != id);
        if let Some(router) = self.routers.remove(&id) {
            self.events.forget_router(id);
            self.kept.remove(&id);
            if router.macvlan.is_some() {
                // Another instance may wait for the virtual MAC.
                self.instance.report_change();
            }
            let name = &router.common().interface;
            let number = self.numbers.number(name);
            if let Some(members) = self.members.get_mut(&number) {
                members.remove(&id);
            }
            self.release_interface(name);
        }
        self.adapt_to_size();
        result.and(self.filter())
    }

    /// Removes everything on this host that has our mark and that no router of this driver has:
    /// addresses, routes, macvlans, and the settings of their parents. An earlier run may have left
    /// it, whatever its configuration was. Returns the addresses.
    ///
    /// A driver does so by itself in its first turn, after it has asked other running instances for
    /// their claims. This call does not ask: only things that an instance has claimed in an earlier
    /// answer stay.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked to. A refusal is a
    /// notification, and the removal is tried again.
    pub fn sweep(&mut self) -> Result<Vec<(u32, VirtualAddress)>, Error> {
        self.receive_host_events()?;
        let now = self.now();
        self.planner.sweep(&self.host.actual);
        let mut removed = Vec::new();
        // Settings of a parent come back once its macvlans are gone.
        for _ in 0..2 {
            let get = |id| install::wanted(&self.routers, &self.fleet, id);
            let changes = self.planner.plan_former(now, &get, &self.host.actual);
            let results = self.host.make(&changes)?;
            for (change, result) in changes.iter().zip(results) {
                if let (Change::RemoveAddress { interface, address }, Ok(made)) = (change, &result)
                    && made.outcome == Outcome::Changed
                    && let Ok(address) =
                        VirtualAddress::new(address.address).with_prefix_len(address.prefix_len)
                {
                    removed.push((*interface, address));
                }
                self.on_result(now, None, change, result);
            }
        }
        Ok(removed)
    }

    /// Sets the macvlans that the program manages itself, by their indexes: those of
    /// [`Macvlan::add`](crate::Macvlan::add) that belong to no router. They have our mark, so
    /// without this call the driver would remove them as left-overs, and so would other instances
    /// on the host.
    pub fn set_own_macvlans(&mut self, macvlans: &BTreeSet<u32>) {
        self.planner.set_own(macvlans);
    }

    /// Returns a view of a router.
    #[must_use]
    pub fn get(&self, id: RouterId) -> Option<RouterView<'_>> {
        Some(RouterView {
            id,
            machine: self.fleet.get(id)?,
            router: self.routers.get(&id)?,
            actual: &self.host.actual,
            kept: self.kept.get(&id).map(Vec::as_slice).unwrap_or_default(),
        })
    }

    /// Returns views of all routers, in a deterministic order.
    pub fn routers(&self) -> impl Iterator<Item = RouterView<'_>> {
        self.routers.keys().filter_map(|id| self.get(*id))
    }

    /// The interfaces of the namespace, by the notifications received so far.
    #[must_use]
    pub const fn interfaces(&self) -> &Interfaces {
        self.host.interfaces()
    }

    /// The counters of all virtual routers together.
    #[must_use]
    pub const fn counters(&self) -> &PacketErrors {
        self.fleet.packet_errors()
    }

    /// Sets the handling of advertisements that are for no router of this driver. Advertisements
    /// for a VRID that is in use on another interface are always counted.
    ///
    /// # Errors
    ///
    /// As for [`VrrpSocket::set_filter`](crate::VrrpSocket::set_filter).
    pub fn set_foreign_packets(&mut self, packets: ForeignPackets) -> Result<(), Error> {
        self.packets.set_foreign(packets);
        self.filter()
    }

    /// Sets the receive buffer for notifications of links and addresses, in bytes: see
    /// [`Monitor::set_receive_buffer`](crate::Monitor::set_receive_buffer).
    ///
    /// # Errors
    ///
    /// Those of [`Monitor::set_receive_buffer`](crate::Monitor::set_receive_buffer).
    pub fn set_monitor_buffer(&self, octets: usize) -> Result<(), Error> {
        self.host.monitor.set_receive_buffer(octets)
    }

    /// Closes the sources that are used no longer.
    fn close_sources(&mut self) {
        self.poller.close(self.instance.closing());
        self.poller.close(self.tracked_routes.closing());
    }

    /// Removes the sockets for advertisements from the poller, because a successor has them now.
    fn forget_sockets(&self) {
        for source in self.packets.sources() {
            if let Err(error) = self.poller.remove(source) {
                tracing::debug!(%error, "a socket of the successor may wake this program");
            }
        }
    }

    /// Adds every open source to the poller.
    fn watch_sources(&self) -> Result<(), Error> {
        let now = self.now();
        let is_watched = |part| !self.troubles.rests(now, part);
        let sockets = self.packets.sources().zip(0..);
        let sockets = (0..)
            .zip(sockets)
            .filter(|(place, _)| is_watched(Part::Socket(*place)))
            .map(|(_, it)| it);
        let links = self.packets.links.source().map(|it| (it, token::LINKS));
        let links = links.filter(|_| is_watched(Part::Links));
        let questions = self.host.proxies.sources().map(|it| (it, token::PROXY));
        let questions = questions.filter(|_| is_watched(Part::Proxies));
        let routes = self.tracked_routes.sources().zip(token::ROUTES..);
        let routes = routes.filter(|_| is_watched(Part::Routes));
        let monitor = Some((self.host.monitor.as_fd(), token::MONITOR));
        let monitor = monitor.filter(|_| is_watched(Part::Monitor));
        let others = [(self.inbox.as_fd(), token::INBOX)]
            .into_iter()
            .chain(monitor);
        let instance = self.instance.sources().map(|it| (it, token::INSTANCE));
        for (source, token) in sockets
            .chain(links)
            .chain(instance)
            .chain(questions)
            .chain(routes)
            .chain(others)
        {
            let added = self.poller.add(source, token);
            added.map_err(Error::os("wait for another descriptor"))?;
        }
        Ok(())
    }

    /// The time until the next turn is due, whether or not the [descriptor](#in-a-loop-of-your-own)
    /// is readable; `None` for never.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        if self.end == Some(End::HandedOver) {
            return None;
        }
        let may_install = || !self.troubles.rests(self.now(), Part::Changes);
        if ((!self.queue.is_empty() || self.planner.has_former()) && may_install())
            || self.packets.has_outgoing()
            || self.is_unfinished
            || self.events.has_new()
            || (self.tracked_routes.is_eager() && !self.troubles.rests(self.now(), Part::Routes))
        {
            return Some(Duration::ZERO);
        }
        let now = self.now();
        let alarms = [
            self.fleet.poll_timeout(),
            self.planner.next_due(),
            self.next_announcement(),
            self.host.resync_at,
            self.instance.next_look(now),
            self.troubles.next_retry(),
        ];
        let alarm = alarms.into_iter().flatten().min()?;
        Some(alarm - now)
    }

    /// The time at which [`send_paced`](Self::send_paced) has something to do.
    fn next_announcement(&self) -> Option<Instant> {
        let refresh = self.refreshes.first().map(|(at, _)| *at);
        refresh.into_iter().chain(self.paced.next_due()).min()
    }

    /// Makes the [descriptor](#in-a-loop-of-your-own) readable at the [`timeout`](Self::timeout)
    /// too, so that it is enough to wait for the descriptor. Call it before each wait. It costs one
    /// system call, timerfd_settime(2).
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    pub fn arm_timer(&mut self) -> Result<(), Error> {
        let timeout = self.timeout();
        self.poller
            .arm(timeout)
            .map_err(Error::os("arm the timer of the driver"))
    }

    /// Waits until a turn is due, but not longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        let timeout = self.timeout().into_iter().chain(limit).min();
        let _read_by_the_turn = self.poll(timeout);
        Ok(())
    }

    /// Waits for a source that can be read, but not longer than `limit`. Where the kernel does not
    /// report everything that can be read, all sources may be.
    fn poll(&mut self, limit: Option<Duration>) -> Ready {
        let mut ready = Ready::default();
        let waited = self.poller.wait(limit, |token| ready.set(token));
        let result = waited.map_err(Error::os("wait for packets"));
        if result.is_err() {
            std::thread::sleep(limit.unwrap_or(POLLING).min(POLLING));
        }
        if !matches!(result, Ok(true)) {
            ready = Ready::all();
        }
        self.note(Part::Wait, result.map(drop));
        ready
    }

    /// Takes a turn, without waiting. Then read the [notifications](Self::next_notification).
    ///
    /// After [`DriverHandle::stop`] the turn [shuts down](Self::shutdown), and
    /// [`is_stopped`](Self::is_stopped) is true.
    ///
    /// # Errors
    ///
    /// [`Error`] when a socket is broken: the driver can then no longer work. A problem of a single
    /// router is a notification.
    pub fn turn(&mut self) -> Result<(), Error> {
        self.turn_within(Some(Duration::ZERO))
    }

    /// Takes the next notification. Call it after each turn until it returns `None`: the oldest of
    /// more than 65,536 are [dropped](DriverEvent::NotificationsLost).
    pub fn next_notification(&mut self) -> Option<Notification> {
        self.events.pop()
    }

    /// Waits for a source, but not longer than `limit`, then takes a turn.
    fn turn_within(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        if self.end == Some(End::HandedOver) {
            return Ok(());
        }
        if !self.troubles.is_empty() {
            // Parts that have rested have their sources watched again.
            let watched = self.watch_sources();
            self.note(Part::Wait, watched);
        }
        let mut ready = self.poll(limit);
        if !self.troubles.is_empty() {
            // They may have nothing to read, and would stay in trouble.
            let now = self.now();
            self.troubles.rested(now).for_each(|part| ready.add(part));
        }
        // Sources that are read up to a limit may have more to read. The other sources keep track
        // of it themselves.
        self.is_unfinished = ready.questions || ready.routes.contains(&true);
        let result = self.work_through(&ready);
        self.events.end_turn();
        result
    }

    /// Most turns receive or send a few packets, and nothing else. A part is called only where it
    /// has something to do, because its code has usually left the processor's cache. Rare parts are
    /// marked as cold, so that their code lies apart from that of the others.
    fn work_through(&mut self, ready: &Ready) -> Result<(), Error> {
        self.has_received = false;
        self.drain_sockets(ready.sockets);
        let drained_at = self.now();
        let mut now = drained_at;
        // An instance that started in the meantime may have caused the notifications.
        if ready.requests || self.instance.is_due(now) {
            self.follow_instances();
            now = self.now();
        }
        if ready.notifications || self.host.is_ahead() {
            let result = self.receive_host_events();
            self.note(Part::Monitor, result);
            now = self.now();
        }
        // A part that has failed is called until it works.
        let is_troubled = !self.troubles.is_empty();
        if self.host.resync_at.is_some_and(|at| at <= now) {
            self.resync();
            now = self.now();
        }
        if ready.requests {
            self.serve_requests()?;
            if self.end.is_some() {
                return Ok(());
            }
            now = self.now();
        }
        // Such a step may have waited for the kernel, or for another program, while advertisements
        // arrived. They count before the timers that have expired since.
        if now > drained_at && self.fleet.is_due(now) {
            self.drain_again(now);
            now = self.now();
        }
        if self.planner.has_question() || self.instance.is_asking(now) {
            self.follow_claims(now);
        }
        if self.packets.links.is_missing_any() {
            self.report_discarded_rivals(now);
        }
        self.serve_timers(now);
        if self.packets.has_outgoing() {
            self.flush(now);
        }
        if (self.packets.links.is_stale() || is_troubled) && !self.troubles.rests(now, Part::Links)
        {
            let result = self.watch_links();
            self.note(Part::Links, result);
        }
        if ready.questions {
            let result = self.host.proxies.answer(&self.host.actual);
            self.note(Part::Proxies, result);
        }
        let installs = !self.queue.is_empty() || self.planner.has_former() || is_troubled;
        if installs && !self.troubles.rests(now, Part::Changes) {
            let result = self.install(now);
            self.note(Part::Changes, result);
        }
        let next_announcement = self.next_announcement();
        if next_announcement.is_some_and(|at| at <= now) {
            self.send_paced(now);
        }
        if (self.tracked_routes.is_open() || is_troubled) && !self.troubles.rests(now, Part::Routes)
        {
            let result = self.follow_routes(now, ready.routes);
            if result.is_err() {
                self.tracked_routes.recover();
            }
            self.note(Part::Routes, result);
        }
        Ok(())
    }

    /// Sends the claims of this driver to other instances that ask.
    #[cold]
    fn follow_instances(&mut self) {
        let now = self.now();
        let (routers, fleet, actual) = (&self.routers, &self.fleet, &self.host.actual);
        let planner = &self.planner;
        let claims = || {
            let mut claims = Claims::default();
            planner.add_own_claims(actual, &mut claims);
            for id in routers.keys() {
                if let Some(wanted) = install::wanted(routers, fleet, *id) {
                    wanted.add_claims(actual, &mut claims);
                }
            }
            claims.to_string()
        };
        self.instance.serve(now, claims);
        self.watch_instances();
    }

    fn watch_instances(&mut self) {
        self.close_sources();
        self.host.actual.set_company(self.instance.has_company());
        let awaits = !self.instance.has_asked();
        self.host.actual.set_awaits_claims(awaits);
        if let Some(listener) = self.instance.take_resting()
            && let Err(error) = self.poller.remove(listener)
        {
            tracing::debug!(%error, "a listener that rests is watched");
        }
        if self.instance.take_new_source() {
            let watched = self.watch_sources();
            self.note(Part::Wait, watched);
        }
    }

    /// Asks other instances for their claims where that is due. Once they have answered, the plan
    /// removes everything without a claim: an earlier run left it, whatever its configuration
    /// was.
    #[cold]
    fn follow_claims(&mut self, now: Instant) {
        if self.planner.take_question() {
            self.instance.ask(now);
        }
        let answers = self.instance.take_answers(now);
        self.watch_instances();
        let Some(Answers { claims, rest }) = answers else {
            return;
        };
        if *self.host.actual.claims() != claims {
            self.queue_claimed();
            self.host.actual.set_claims(claims);
            self.queue_claimed();
        }
        self.follow_virtual_macs(now);
        let ids: Vec<RouterId> = self.routers.keys().copied().collect();
        for id in ids {
            self.report_kept(now, id);
        }
        match rest {
            Rest::LeftOver => self.begin_sweep(now),
            Rest::TooEarly => {}
            Rest::Unknown => {
                if !std::mem::replace(&mut self.misses_answer, true) {
                    self.notify(None, DriverEvent::LeftOversKept);
                }
            }
        }
    }

    /// Starts the routers that waited for the claims of other instances, or for a virtual MAC that
    /// one of them had, and stops those whose virtual MAC another one keeps.
    fn follow_virtual_macs(&mut self, now: Instant) {
        let actual = &self.host.actual;
        let is_concerned = |id: RouterId, router: &Router| {
            let wanted = self.wanted(id);
            let lacks = wanted.is_some_and(|it| it.lacks_virtual_mac(actual));
            router.macvlan.is_some()
                && (router.address_interface().is_none() || lacks != router.lacks_virtual_mac())
        };
        let all = self.routers.iter();
        let concerned = all.filter(|(id, router)| is_concerned(**id, router));
        for id in concerned.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.reconcile(now, id);
        }
    }

    fn begin_sweep(&mut self, now: Instant) {
        self.misses_answer = false;
        if self.sweeping != Sweeping::NotYet {
            // The kernel does not report the routes of other instances, nor that a macvlan which is
            // down has got its mark.
            self.host.resync_at = Some(now);
            self.resync();
            let _is_answered = self.planner.take_question();
        }
        if let Some(at) = self.host.resync_at {
            self.instance.ask(at);
            return;
        }
        self.planner.sweep(&self.host.actual);
        self.sweeping = Sweeping::Runs;
    }

    /// Queues the plans of the routers that may have something that another instance claims.
    fn queue_claimed(&mut self) {
        let claimed = self.routers.keys().copied().filter(|id| {
            let wanted = self.wanted(*id);
            wanted.is_some_and(|it| it.is_claimed(&self.host.actual))
        });
        for id in claimed.collect::<Vec<_>>() {
            self.queue.push(id);
        }
    }

    /// Asks the other instances for their claims, and makes them ask in turn, where one of them
    /// claims something that a router has just stopped using.
    fn report_disuse(&mut self, now: Instant, id: RouterId) {
        let wanted = self.wanted(id);
        if wanted.is_some_and(|it| it.is_claimed(&self.host.actual)) {
            self.instance.ask(now);
            self.instance.report_change();
        }
    }

    /// Serves the requests of other threads. A request may end the driver.
    #[cold]
    fn serve_requests(&mut self) -> Result<(), Error> {
        for request in self.inbox.take() {
            if self.end.is_some() {
                break;
            }
            request(self);
        }
        if self.inbox.must_stop() && self.end.is_none() {
            return self.shutdown();
        }
        Ok(())
    }

    /// Takes turns until the driver [stops](DriverHandle::stop), and hands each notification to
    /// `on`. For a program without a loop of its own: where `on` needs the driver, write the loop.
    ///
    /// ```no_run
    /// # let mut driver = vrrp_net::Driver::new()?;
    /// while !driver.is_stopped() {
    ///     driver.wait(None)?;
    ///     driver.turn()?;
    ///     while let Some(notification) = driver.next_notification() {
    ///         let router = notification.router.and_then(|id| driver.get(id));
    ///         println!("{notification} {:?}", router.map(|router| router.state()));
    ///     }
    /// }
    /// # Ok::<(), vrrp_net::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`turn`](Self::turn).
    pub fn run(&mut self, mut on: impl FnMut(Notification)) -> Result<(), Error> {
        let mut result = Ok(());
        while result.is_ok() && self.end.is_none() {
            result = self.let_packets_gather().and_then(|()| {
                let timeout = self.timeout();
                self.turn_within(timeout)
            });
            while let Some(notification) = self.next_notification() {
                on(notification);
            }
        }
        result
    }

    /// Waits a little for further packets, but not beyond the next timer: after packets for many
    /// routers, more usually follow. Otherwise the thread would wake up for almost every packet.
    fn let_packets_gather(&mut self) -> Result<(), Error> {
        if !self.has_received || self.routers.len() < MANY {
            return Ok(());
        }
        let pause = self.timeout().into_iter().chain([GATHERING]).min();
        sys::wait_readable([self.inbox.as_fd()], pause)
            .map(drop)
            .map_err(Error::os("wait for packets to gather"))
    }

    /// A handle through which other threads talk to the driver.
    #[must_use]
    pub fn handle(&self) -> DriverHandle {
        self.inbox.handle()
    }

    /// Refuses requests of [other threads](Self::handle) from now on, and drops waiting requests: a
    /// thread in [`DriverHandle::call`] returns with [`Error::Stopped`]. For a program that waits
    /// for such a thread after its last turn.
    pub fn refuse_requests(&self) {
        self.inbox.close();
    }

    /// Whether the driver has ended, by [`shutdown`](Self::shutdown), [`DriverHandle::stop`] or
    /// [`hand_over`](Self::hand_over).
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.end.is_some()
    }

    /// Ends all routers: first each Active resigns, then all addresses are removed. The routers
    /// stay, in Initialize, and the driver [is stopped](Self::is_stopped). The last notifications
    /// can be [read](Self::next_notification) afterwards.
    ///
    /// # Errors
    ///
    /// As for [`turn`](Self::turn).
    pub fn shutdown(&mut self) -> Result<(), Error> {
        self.inbox.close();
        if self.end == Some(End::HandedOver) {
            return Ok(());
        }
        self.end = Some(End::ShutDown);
        self.instance.close();
        self.close_sources();
        let now = self.now();
        for router in self.routers.values_mut() {
            router.is_shut_down = true;
        }
        self.fleet.shutdown_all(now);
        self.collect(now);
        self.flush(now);
        let mut result = self.delete_macvlans(now);
        let ids: Vec<RouterId> = self.routers.keys().copied().collect();
        for id in ids {
            self.queue.push(id);
        }
        while result.is_ok() && (!self.queue.is_empty() || self.planner.has_former()) {
            result = self.install(now);
        }
        result
    }

    /// Deletes the macvlans of all routers together: the kernel waits once for all of them.
    fn delete_macvlans(&mut self, now: Instant) -> Result<(), Error> {
        let macvlans = self.routers.values().filter(|it| it.macvlan.is_some());
        let changes: Vec<_> = macvlans
            .filter_map(|it| it.address_interface())
            .map(|interface| Change::DeleteLink { interface })
            .collect();
        let results = self.host.make(&changes)?;
        for (change, result) in changes.iter().zip(results) {
            self.on_result(now, None, change, result);
        }
        self.planner.find_left_overs(&self.host.actual);
        Ok(())
    }

    fn router_mut(&mut self, id: RouterId) -> Result<&mut Router, Error> {
        let router = self.routers.get_mut(&id);
        router.map(Box::as_mut).ok_or(Error::NoRouter { id })
    }

    fn serve_timers(&mut self, now: Instant) {
        if self.fleet.is_due(now) {
            self.fleet.handle_timeout(now);
            self.collect(now);
        }
        if self.planner.next_due().is_some_and(|at| at <= now) {
            self.serve_retries(now);
        }
    }

    #[cold]
    fn serve_retries(&mut self, now: Instant) {
        for id in self.planner.take_due(now).into_iter().flatten() {
            self.planner.begin(now, Some(id), Thing::Group);
            self.reconcile(now, id);
            self.queue.push(id);
        }
    }

    /// Collects the actions of the state machines: an advertisement waits for the end of the turn's
    /// decisions, everything else for its place in the queue of work.
    #[inline]
    fn collect(&mut self, now: Instant) {
        if self.fleet.has_actions() {
            self.collect_actions(now);
        }
        if self.fleet.has_unread(self.records) {
            self.report_records();
        }
    }

    fn collect_actions(&mut self, now: Instant) {
        while let Some((id, action)) = self.fleet.poll_action() {
            match action {
                Action::SendAdvertisement(outgoing) => self.enqueue(now, id, outgoing),
                Action::InstallAddresses => self.queue.push(id),
                Action::RemoveAddresses => {
                    self.queue.push(id);
                    self.paced.forget(id);
                    self.refreshes.retain(|(_, of)| *of != id);
                    self.report_disuse(now, id);
                }
                Action::Announce { repeat } => self.queue.announce(id, repeat),
                Action::StateChanged(transition) => {
                    self.packets.links.mark_stale();
                    self.queue.report(id, transition);
                    self.begin_refreshes(now, id);
                }
                _ => {}
            }
        }
    }

    fn notify(&mut self, router: Option<RouterId>, event: DriverEvent) {
        let subject = self.subject(router, &event);
        self.events.push(router, subject, event);
    }

    /// The subject of an event, by its names.
    fn subject(&self, router: Option<RouterId>, event: &DriverEvent) -> Option<Subject> {
        match (router, event) {
            (Some(id), _) => {
                let config = &self.routers.get(&id)?.config;
                Some(Subject::Router {
                    interface: config.common().interface.clone(),
                    family: config.family(),
                    vrid: config.vrid,
                })
            }
            (None, DriverEvent::GroupChanged { group, .. }) => Some(Subject::SyncGroup {
                sync_group: self.fleet.group(*group)?.name.clone(),
            }),
            (None, DriverEvent::ObjectChanged { object, .. }) => Some(Subject::Object {
                object: self.fleet.tracker().get(*object)?.name.clone(),
            }),
            (None, _) => None,
        }
    }
}

/// Whether a router is Active; one that was removed is not.
fn is_active(fleet: &VrrpRouter, id: RouterId) -> bool {
    fleet
        .get(id)
        .is_some_and(|machine| machine.state() == State::Active)
}
