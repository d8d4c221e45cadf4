//! A loop that runs virtual routers.

mod authentication;
mod config;
mod messages;
mod news;
mod notification;
mod router;
mod stop;
mod timers;
mod traffic;
mod work;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, SystemTime},
};

use vrrp_fsm::{Action, Actions, Config, Epoch, Event, Instant, Outgoing, ShutdownCause};
use vrrp_proto::{Family, Peer, Priority, Vrid};

#[cfg(feature = "hmac")]
pub use self::config::HmacKeys;
pub use self::{
    config::{Authentication, RouterConfig, Transport},
    notification::{DriverEvent, Fault, Notification, RouterId},
    router::RouterView,
    stop::StopHandle,
    traffic::DriverCounters,
};
use self::{
    router::{Held, Router},
    timers::Timers,
    work::{Work, WorkQueue},
};
use crate::{
    Error, FrameSocket, Interfaces, Monitor, Netlink, ReceiveBatch, VirtualAddress, VrrpSocket, sys,
};

/// Sockets for advertisements that a driver can have: two families, and AH.
const SOCKETS: usize = 3;

/// From so many routers on, advertisements wait a little for others to share a system call with.
const MANY: usize = 32;

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
/// let stop = driver.stop_handle();
/// // In a signal handler's thread, or wherever the end is decided: stop.stop();
/// driver.run(|notification| println!("{notification:?}"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # In somebody else's loop
///
/// Wait until one of the [`sources`](Self::sources) can be read or the [`timeout`](Self::timeout) is over, then call
/// [`turn`](Self::turn), which never waits. Other calls may come in between, from the same thread; what they cause is done in the
/// next turn.
///
/// # What a turn does, in order
///
/// 1. It reads every advertisement that was waiting when the turn began, then all news of links and addresses.
/// 2. It serves the timers that have expired by then. So a thread that wakes up late hears what was sent meanwhile before it decides
///    that nothing was sent.
/// 3. It sends all advertisements that this has caused, many to a system call.
/// 4. It does a portion of the slow work, in the order in which it was asked for: addresses, announcements. An address is announced
///    once the kernel has it. What is left waits for the next turn, behind the advertisements that come up then.
///
/// Timers of Backups are served on time. The advertisements of an Active leave up to a sixteenth of the interval late, and 10 ms at most,
/// where there are 32 routers or more, so that many of them share a system call. They do not drift.
///
/// # Addresses
///
/// While a router is Active its addresses are on the interface; otherwise they are not. What another run left behind is removed when the
/// router starts. An address that somebody removes is put back and announced: at once the first time, then at growing intervals of up
/// to a minute. The owner's addresses (priority 255) that were on the interface before are left alone.
///
/// # Faults
///
/// A router whose interface is missing, down, or without an address to advertise from is in Initialize, and starts again once nothing
/// is missing; [`RouterView::faults`] says what is.
///
/// # Dropping it
///
/// The routers then fall silent, like after a crash: the others take over after Active_Down_Interval, and the addresses stay. Call
/// [`shutdown`](Self::shutdown) to resign.
#[derive(Debug)]
pub struct Driver {
    epoch: Epoch,
    stop: StopHandle,
    monitor: Monitor,
    netlink: Netlink,
    frames: FrameSocket,
    /// One for each family and protocol that a router uses.
    sockets: Vec<VrrpSocket>,
    /// Room for what is received.
    batch: Option<ReceiveBatch>,
    interfaces: Interfaces,
    routers: BTreeMap<RouterId, Router>,
    last_id: u64,
    /// The routers of an interface.
    by_key: HashMap<(u32, Family, Vrid), RouterId>,
    /// The unicast routers, whose packets may come in by any interface.
    by_vrid: HashMap<(Family, Vrid), Vec<RouterId>>,
    /// The routers that hold an address.
    holders: HashMap<IpAddr, Vec<RouterId>>,
    timers: Timers,
    outbox: Vec<(RouterId, Outgoing)>,
    work: WorkQueue,
    notifications: VecDeque<Notification>,
    last_sequence: u64,
    counters: DriverCounters,
    /// Whether packets for no router here are received, to be counted.
    counts_foreign: bool,
}

/// What can be read.
struct Ready {
    /// Each socket, in their order.
    sockets: [bool; SOCKETS],
    /// News of links and addresses.
    news: bool,
}

impl Driver {
    /// Opens what every router needs, in the network namespace of the calling thread. [`add`](Self::add) opens more, so call that in the
    /// same namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Capability`] without `CAP_NET_ADMIN` or `CAP_NET_RAW`; [`Error::Os`] where the system has no more sockets.
    pub fn new() -> Result<Self, Error> {
        let frames = FrameSocket::open()?;
        // First the news, then the state: what changes in between is told.
        let monitor = Monitor::open()?;
        let mut netlink = Netlink::open()?;
        netlink.check_privilege()?;
        let interfaces = netlink.interfaces()?;
        Ok(Self {
            epoch: Epoch::new(std::time::Instant::now()),
            stop: StopHandle::new()?,
            monitor,
            netlink,
            frames,
            sockets: Vec::new(),
            batch: None,
            interfaces,
            routers: BTreeMap::new(),
            last_id: 0,
            by_key: HashMap::new(),
            by_vrid: HashMap::new(),
            holders: HashMap::new(),
            timers: Timers::default(),
            outbox: Vec::new(),
            work: WorkQueue::default(),
            notifications: VecDeque::new(),
            last_sequence: 0,
            counters: DriverCounters::default(),
            counts_foreign: false,
        })
    }

    fn now(&self) -> Instant {
        self.epoch.instant(std::time::Instant::now())
    }

    /// Adds a router, which starts at once unless something is missing ([`Fault`]).
    ///
    /// # Errors
    ///
    /// [`Error`] names the field of the configuration that is not usable; [`Error::Duplicate`] where the interface has the virtual
    /// router already; [`Error::Capability`] or [`Error::Os`] when its socket cannot be opened.
    pub fn add(&mut self, config: RouterConfig) -> Result<RouterId, Error> {
        let router = Router::new(config)?;
        let (family, vrid) = (router.family(), router.config.fsm.vrid);
        let is_there = self.routers.values().any(|other| {
            let fsm = &other.config.fsm;
            other.config.interface == router.config.interface
                && (fsm.family, fsm.vrid) == (family, vrid)
        });
        if is_there {
            return Err(Error::Duplicate {
                interface: router.config.interface,
                family,
                vrid,
            });
        }
        self.open_socket(&router)?;
        self.admit(&router)?;

        self.last_id += 1;
        let id = RouterId(self.last_id);
        for held in &router.held {
            let holders = self.holders.entry(held.address.address()).or_default();
            holders.push(id);
        }
        if !router.is_multicast() {
            self.by_vrid.entry((family, vrid)).or_default().push(id);
        }
        self.routers.insert(id, router);
        let now = self.now();
        self.reconcile(now, id);
        Ok(id)
    }

    fn open_socket(&mut self, router: &Router) -> Result<(), Error> {
        if self.sockets.iter().any(|socket| router.uses(socket)) {
            return Ok(());
        }
        #[cfg(feature = "ah")]
        if router.protocol() == vrrp_proto::ah::IP_PROTOCOL {
            self.sockets.push(VrrpSocket::open_ah()?);
            return Ok(());
        }
        self.sockets.push(VrrpSocket::open(router.family())?);
        Ok(())
    }

    /// Removes a router: an Active resigns, and its addresses are gone when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Os`] or [`Error::NoAnswer`] when the kernel cannot be talked to.
    pub fn remove(&mut self, id: RouterId) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        router.is_shut_down = true;
        let now = self.now();
        self.handle_event(now, id, Event::Shutdown(ShutdownCause::Administrative));
        self.flush(now);
        while self.work.concerns(id) {
            self.do_some_work(now)?;
        }
        self.unbind(id);
        if let Some(router) = self.routers.remove(&id) {
            for held in &router.held {
                self.release(id, held.address.address());
            }
            let key = (router.family(), router.config.fsm.vrid);
            if let Some(ids) = self.by_vrid.get_mut(&key) {
                ids.retain(|other| *other != id);
            }
        }
        self.timers.remove(id);
        self.filter()
    }

    fn release(&mut self, id: RouterId, address: IpAddr) {
        if let Some(holders) = self.holders.get_mut(&address) {
            holders.retain(|holder| *holder != id);
            if holders.is_empty() {
                self.holders.remove(&address);
            }
        }
    }

    /// Changes the configuration of a router's state machine, without a new election (AMB-21): see
    /// [`VirtualRouter::reconfigure`](vrrp_fsm::VirtualRouter::reconfigure).
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Config`] and others name what does not fit. Nothing has changed then.
    pub fn reconfigure(&mut self, id: RouterId, config: Config) -> Result<(), Error> {
        let now = self.now();
        let router = self.router_mut(id)?;
        let mut machine = router.machine;
        let actions = machine.reconfigure(now, config)?;
        router.replace_machine(machine)?;
        self.perform(id, actions);
        Ok(())
    }

    /// Gives a router another effective priority, as tracking asks for it: see
    /// [`Event::EffectivePriority`](vrrp_fsm::Event::EffectivePriority).
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`].
    pub fn set_priority(&mut self, id: RouterId, priority: Priority) -> Result<(), Error> {
        self.router_mut(id)?;
        let now = self.now();
        self.handle_event(now, id, Event::EffectivePriority(priority));
        Ok(())
    }

    /// Says that something is missing that a router needs, or that it is no longer. While there is any such thing, known by its name, the
    /// router is in Initialize.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`].
    pub fn set_fault(&mut self, id: RouterId, cause: &str, missing: bool) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        if missing {
            router.host_faults.insert(cause.into());
        } else {
            router.host_faults.remove(cause);
        }
        let now = self.now();
        self.reconcile(now, id);
        Ok(())
    }

    /// Adds a virtual address, at the end of the list. An Active advertises, installs and announces it at once.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Advertisement`] when there are 255 already; [`Error::Invalid`] for an address of another family, or
    /// one that the router has.
    pub fn add_address(&mut self, id: RouterId, address: VirtualAddress) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        let own = address.address();
        if router.held.iter().any(|held| held.address.address() == own) {
            return Err(Error::Invalid {
                field: "addresses",
                problem: format!("{own} is there already"),
            });
        }
        let mut addresses = router.config.addresses.clone();
        addresses.push(address.clone());
        router.advertise(addresses)?;
        router.held.push(Held::new(address, true));
        self.holders.entry(own).or_default().push(id);
        let now = self.now();
        self.handle_event(now, id, Event::AddressesChanged);
        Ok(())
    }

    /// Removes a virtual address. An Active advertises the change at once.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Invalid`] when the router does not list it; [`Error::Advertisement`] when it is the only one, or when
    /// the next IPv6 address could not be the first.
    pub fn remove_address(&mut self, id: RouterId, address: IpAddr) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        let place = router
            .held
            .iter()
            .position(|held| held.advertised && held.address.address() == address);
        let Some(place) = place else {
            return Err(Error::Invalid {
                field: "addresses",
                problem: format!("{address} is not there"),
            });
        };
        let mut addresses = router.config.addresses.clone();
        addresses.retain(|own| own.address() != address);
        router.advertise(addresses)?;
        let held = router.held.remove(place);
        let interface = router.interface();
        if let Some(interface) = interface.filter(|_| held.installed && !held.is_native) {
            let address = held.address;
            self.work.push(id, Work::Withdraw { interface, address });
        }
        self.release(id, address);
        let now = self.now();
        self.handle_event(now, id, Event::AddressesChanged);
        Ok(())
    }

    /// Replaces the peers of a unicast router. An Active advertises to them at once.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Invalid`] when there are none, one of another family, or the router advertises by multicast.
    pub fn set_peers(&mut self, id: RouterId, peers: Vec<Peer>) -> Result<(), Error> {
        self.router_mut(id)?.set_peers(peers)?;
        let now = self.now();
        self.reconcile(now, id);
        self.handle_event(now, id, Event::AddressesChanged);
        Ok(())
    }

    /// Removes the addresses on this host that bear the mark of virtual addresses and that no Active router of this driver holds: what a
    /// run left behind whose routers are no longer configured. See [`Netlink::sweep`], also for what else it can hit.
    ///
    /// # Errors
    ///
    /// As for [`Netlink::sweep`].
    pub fn sweep(&mut self) -> Result<Vec<(u32, VirtualAddress)>, Error> {
        let routers = &self.routers;
        self.netlink.sweep(|interface, address| {
            routers.values().any(|router| {
                router.interface() == Some(interface)
                    && router.is_active()
                    && router
                        .held
                        .iter()
                        .any(|held| held.address.address() == address.address())
            })
        })
    }

    /// Looks at a router.
    #[must_use]
    pub fn get(&self, id: RouterId) -> Option<RouterView<'_>> {
        self.routers.get(&id).map(|router| RouterView {
            id,
            router,
            interfaces: &self.interfaces,
        })
    }

    /// Looks at all routers, in the order in which they were added.
    pub fn routers(&self) -> impl Iterator<Item = RouterView<'_>> {
        self.routers.iter().map(|(id, router)| RouterView {
            id: *id,
            router,
            interfaces: &self.interfaces,
        })
    }

    /// The interfaces of the namespace, as far as the driver has heard.
    #[must_use]
    pub const fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// The counters of all virtual routers together.
    #[must_use]
    pub const fn counters(&self) -> &DriverCounters {
        &self.counters
    }

    /// Has advertisements counted that are for no router here, in [`DriverCounters::vrid_errors`] or, if they are malformed, in the others
    /// (O-16). At the start the kernel drops those whose VRID no router here has, so that others' advertisements do not wake the thread;
    /// those of a VRID that is in use on another interface are always counted.
    ///
    /// # Errors
    ///
    /// As for [`VrrpSocket::set_filter`].
    pub fn count_foreign(&mut self, count: bool) -> Result<(), Error> {
        self.counts_foreign = count;
        self.filter()
    }

    /// Asks for room for this many octets of news of links and addresses: see [`Monitor::set_receive_buffer`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_monitor_buffer(&self, octets: usize) -> Result<(), Error> {
        self.monitor.set_receive_buffer(octets)
    }

    /// What to wait for: the driver has something to do when one of these can be read. The first router of a family adds one.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets
            .iter()
            .map(AsFd::as_fd)
            .chain([self.monitor.as_fd(), self.stop.as_fd()])
    }

    /// How long to wait at most; without a limit when this is `None`.
    pub fn timeout(&mut self) -> Option<Duration> {
        if !self.work.is_empty() || !self.outbox.is_empty() || !self.notifications.is_empty() {
            return Some(Duration::ZERO);
        }
        let (alarm, _) = self.first_alarm()?;
        Some(alarm - self.now())
    }

    /// The router that has to be looked at first, and when.
    fn first_alarm(&mut self) -> Option<(Instant, RouterId)> {
        let routers = &self.routers;
        let many = routers.len() >= MANY;
        self.timers
            .first(|id| routers.get(&id).and_then(|router| router.alarm(many)))
    }

    fn set_timer(&mut self, id: RouterId) {
        let many = self.routers.len() >= MANY;
        if let Some(router) = self.routers.get(&id) {
            self.timers.set(id, router.alarm(many));
        }
    }

    /// Waits until there is something to do, or for as long as `limit` says.
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        let timeout = self.timeout().into_iter().chain(limit).min();
        self.poll(timeout).map(drop)
    }

    /// Waits so long for packets and news, and says what there is.
    fn poll(&self, limit: Option<Duration>) -> Result<Ready, Error> {
        // Where there is no socket, the stop handle stands in: what is said of it there is not looked at.
        let mut sources = [self.stop.as_fd(); SOCKETS + 2];
        let [slots @ .., monitor, _] = &mut sources;
        for (slot, socket) in slots.iter_mut().zip(&self.sockets) {
            *slot = socket.as_fd();
        }
        *monitor = self.monitor.as_fd();
        let [first, second, third, news, _] =
            sys::wait_readable(sources, limit).map_err(Error::os("wait for packets"))?;
        Ok(Ready {
            sockets: [first, second, third],
            news,
        })
    }

    /// Does what there is to do, without waiting, and tells `on` what has happened.
    ///
    /// # Errors
    ///
    /// [`Error`] when a socket is broken: the driver can then no longer work. What concerns a single router is told as a notification.
    pub fn turn(&mut self, on: impl FnMut(Notification)) -> Result<(), Error> {
        let result = self.work_through();
        self.deliver(on);
        result
    }

    fn work_through(&mut self) -> Result<(), Error> {
        let ready = self.poll(Some(Duration::ZERO))?;
        for (place, is_ready) in ready.sockets.into_iter().enumerate() {
            if is_ready {
                self.drain(place)?;
            }
        }
        if ready.news {
            self.receive_news()?;
        }
        let now = self.now();
        self.serve_timers(now);
        self.flush(now);
        self.do_some_work(now)
    }

    fn deliver(&mut self, mut on: impl FnMut(Notification)) {
        while let Some(notification) = self.notifications.pop_front() {
            on(notification);
        }
    }

    /// Takes turns until somebody stops it, then shuts down.
    ///
    /// # Errors
    ///
    /// As for [`turn`](Self::turn), and for [`shutdown`](Self::shutdown).
    pub fn run(&mut self, mut on: impl FnMut(Notification)) -> Result<(), Error> {
        while !self.stop.is_stopped() {
            self.turn(&mut on)?;
            self.wait(None)?;
        }
        self.shutdown(on)
    }

    /// What ends [`run`](Self::run).
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Ends all routers: first each Active resigns, then all addresses are removed. The routers stay, in Initialize.
    ///
    /// # Errors
    ///
    /// As for [`turn`](Self::turn).
    pub fn shutdown(&mut self, on: impl FnMut(Notification)) -> Result<(), Error> {
        let now = self.now();
        let ids: Vec<RouterId> = self.routers.keys().copied().collect();
        for id in ids {
            if let Some(router) = self.routers.get_mut(&id) {
                router.is_shut_down = true;
            }
            self.handle_event(now, id, Event::Shutdown(ShutdownCause::Administrative));
        }
        self.flush(now);
        let mut result = Ok(());
        while result.is_ok() && !self.work.is_empty() {
            result = self.do_some_work(now);
        }
        self.deliver(on);
        result
    }

    fn router_mut(&mut self, id: RouterId) -> Result<&mut Router, Error> {
        self.routers.get_mut(&id).ok_or(Error::NoRouter { id })
    }

    fn handle_event(&mut self, now: Instant, id: RouterId, event: Event) {
        if let Some(router) = self.routers.get_mut(&id) {
            let actions = router.machine.handle_event(now, event);
            self.perform(id, actions);
        }
    }

    fn serve_timers(&mut self, now: Instant) {
        // As many as there are routers, so that one whose deadline would not move could not hold the loop.
        for _ in 0..self.routers.len() {
            let Some((_, id)) = self.first_alarm() else {
                return;
            };
            let Some(router) = self.routers.get_mut(&id) else {
                return;
            };
            // Others whose alarm comes later may be due as well: it is for them that the first has waited.
            if router.deadline().is_none_or(|deadline| deadline > now) {
                return;
            }
            let mut repair = false;
            for held in &mut router.held {
                repair |= held.start_repair(now);
            }
            if repair {
                self.work.push(id, Work::Repair);
            }
            let actions = router.machine.handle_timeout(now);
            self.perform(id, actions);
        }
    }

    /// Does what the state machine asks for: an advertisement waits for the end of the turn's decisions, the rest for its place in the
    /// queue of work.
    fn perform(&mut self, id: RouterId, actions: Actions) {
        for action in actions {
            let work = match action {
                Action::SendAdvertisement(outgoing) => {
                    self.enqueue(id, outgoing);
                    continue;
                }
                Action::InstallAddresses => Work::Install,
                Action::Announce { repeat } => Work::Announce { repeat },
                Action::RemoveAddresses => Work::Remove { left_over: false },
                Action::StateChanged(transition) => Work::Tell(transition),
                _ => continue,
            };
            self.work.push(id, work);
        }
        self.set_timer(id);
    }

    fn notify(&mut self, router: Option<RouterId>, event: DriverEvent) {
        self.last_sequence += 1;
        self.notifications.push_back(Notification {
            sequence: self.last_sequence,
            time: SystemTime::now(),
            router,
            event,
        });
    }
}
