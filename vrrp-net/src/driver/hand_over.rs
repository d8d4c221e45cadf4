//! The hand-over from one driver to the next, in which no address moves: for a program that
//! replaces itself.

#[cfg(feature = "serde")]
use std::os::fd::{BorrowedFd, OwnedFd};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant as StdInstant},
};

use vrrp_fsm::{
    Epoch, Instant,
    fleet::{FleetSnapshot, GroupId, Reader, RouterId, VrrpRouter},
    track::ObjectId,
};

use super::{
    Driver, DriverEvent, End, Fault, ForeignPackets, RouterConfig, Watch,
    authentication::Sequences,
    is_active,
    numbers::Numbers,
    router::{Problems, Router},
};
use crate::{Error, SocketParts, VrrpSocket, kernel::sys, plan::Thing};

/// The successor's time begins this long before the hand-over, so overdue timers stay overdue.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of a [`Driver`] for its successor: [`Driver::hand_over`] and [`Driver::take_over`].
///
/// The addresses of Actives stay on their interfaces, and packets that arrive in the meantime wait
/// in the sockets. Nothing is lost, and no other router notices, as long as the hand-over takes
/// less than an advertisement interval. A host may have to repeat an ARP or Neighbor Discovery
/// request for an address that an Active only answers for ([`RouterConfig::enforce_accept_mode`]).
///
/// Within a process, pass it to the successor as it is. To another process of the same host, use
/// `Driver::hand_over_to` and `Driver::take_over_from` (feature `serde`), or carry the parts
/// (`HandOver::into_parts`) yourself.
#[derive(Debug)]
pub struct HandOver {
    /// The sockets, with the packets that wait in them.
    sockets: Vec<SocketParts>,
    state: DriverState,
}

/// The state of a [`Driver`], with all configurations. It holds secrets, where routers
/// authenticate.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct DriverState {
    /// The time of the snapshot, on `CLOCK_MONOTONIC`, which all processes of a host share.
    taken_at: Duration,
    /// The routers with their timers, sync groups and objects. The numbers of interfaces are places
    /// in `interfaces`.
    fleet: FleetSnapshot,
    /// The names of the interfaces. An empty name is that of an interface without a router.
    interfaces: Vec<String>,
    /// The host's side of each of `fleet.members`.
    routers: Vec<RouterState>,
    /// The reporter of each of `fleet.objects`.
    watches: Vec<Watch>,
    /// [`Driver::set_foreign_packets`].
    foreign_packets: ForeignPackets,
    /// The number of the last notification.
    last_sequence: u64,
}

/// A router in a [`DriverState`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct RouterState {
    /// The configuration. Its interface, state machine and objects are in `fleet.members`.
    config: RouterConfig,
    /// The faults.
    faults: BTreeSet<Fault>,
    /// Whether [`Driver::shutdown`] has ended it.
    is_shut_down: bool,
    /// The counters of its authentication.
    sequences: Sequences,
    /// The number of announcements of its addresses that are left.
    #[cfg_attr(feature = "serde", serde(default))]
    unannounced: u8,
}

/// The first line of a state in bytes.
#[cfg(feature = "serde")]
const VERSION: &[u8] = b"vrrp-net hand-over 3\n";

/// A [`HandOver`] in bytes.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Parcel<S> {
    sockets: Vec<SocketPlaces>,
    state: S,
}

/// The descriptors of one socket.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
struct SocketPlaces {
    /// The number of descriptors, in their order.
    descriptors: usize,
    /// As [`SocketParts::memberships`].
    memberships: Vec<(u32, std::net::IpAddr, usize)>,
}

#[cfg(feature = "serde")]
fn to_bytes(sockets: Vec<SocketPlaces>, state: &DriverState) -> Result<Vec<u8>, Error> {
    let mut bytes = VERSION.to_vec();
    serde_json::to_writer(&mut bytes, &Parcel { sockets, state })
        .map_err(|error| invalid("state", &error))?;
    Ok(bytes)
}

#[cfg(feature = "serde")]
fn invalid(field: &'static str, problem: &dyn std::fmt::Display) -> Error {
    Error::Invalid {
        field,
        problem: problem.to_string(),
    }
}

#[cfg(feature = "serde")]
impl HandOver {
    /// Splits it into bytes, which carry a version and the secrets of authentication, and the
    /// descriptors in their order.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where a configuration cannot be encoded. The sockets are closed then.
    pub fn into_parts(self) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        let mut descriptors = Vec::new();
        let places = self.sockets.into_iter().map(|parts| {
            let places = SocketPlaces {
                descriptors: parts.sockets.len(),
                memberships: parts.memberships,
            };
            descriptors.extend(parts.sockets);
            places
        });
        let places = places.collect();
        Ok((to_bytes(places, &self.state)?, descriptors))
    }

    /// Restores it from its parts. Without any descriptors the successor opens sockets of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for bytes of another version, for bytes that no driver has written, and
    /// for a wrong number of descriptors.
    pub fn from_parts(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<Self, Error> {
        let Some(text) = bytes.strip_prefix(VERSION) else {
            let problem =
                "the state is of another version of vrrp-net: start the new program without it";
            return Err(invalid("version", &problem));
        };
        let Parcel { sockets, state } =
            serde_json::from_slice(text).map_err(|error| invalid("state", &error))?;
        let expected = sockets
            .iter()
            .try_fold(0_usize, |sum, it| sum.checked_add(it.descriptors));
        let sockets = match (descriptors.len(), expected) {
            (0, _) => Vec::new(),
            (found, Some(expected)) if found == expected => {
                let mut descriptors = descriptors.into_iter();
                let parts = |places: SocketPlaces| SocketParts {
                    sockets: descriptors.by_ref().take(places.descriptors).collect(),
                    memberships: places.memberships,
                };
                sockets.into_iter().map(parts).collect()
            }
            (found, _) => {
                return Err(invalid(
                    "sockets",
                    &format!("there are {found} descriptors, not those of the state"),
                ));
            }
        };
        Ok(Self { sockets, state })
    }
}

impl Driver {
    /// Ends the driver for a successor: finishes its queued work, and hands over without reading
    /// further packets. The driver [is stopped](Self::is_stopped) then; its last notifications can
    /// be [read](Self::next_notification).
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] when the driver was handed over before; else as for [`turn`](Self::turn),
    /// and then the driver can go on.
    pub fn hand_over(&mut self) -> Result<HandOver, Error> {
        let state = self.prepare_hand_over()?;
        let sockets = self.cease().into_iter();
        Ok(HandOver {
            state,
            sockets: sockets.map(VrrpSocket::into_parts).collect(),
        })
    }

    /// Finishes the queued work, and takes the snapshot. The driver can go on.
    pub(super) fn prepare_hand_over(&mut self) -> Result<DriverState, Error> {
        if self.end == Some(End::HandedOver) {
            return Err(Error::Stopped);
        }
        let now = self.now();
        self.collect(now);
        self.flush(now);
        let mut result = Ok(());
        while result.is_ok() && !self.queue.is_empty() {
            result = self.install(now);
        }
        self.flush(now);
        result?;
        Ok(self.snapshot())
    }

    /// Ends the driver after a hand-over. Returns its sockets.
    pub(super) fn cease(&mut self) -> Vec<VrrpSocket> {
        self.end = Some(End::HandedOver);
        self.inbox.close();
        self.instance.close();
        self.close_sources();
        self.forget_sockets();
        self.packets.release()
    }

    /// A state in bytes, and the descriptors that go with it, while the driver keeps both.
    #[cfg(feature = "serde")]
    pub(super) fn lend(
        &self,
        state: &DriverState,
    ) -> Result<(Vec<u8>, Vec<BorrowedFd<'_>>), Error> {
        let mut descriptors = Vec::new();
        let places = self.packets.sockets().map(|socket| {
            let before = descriptors.len();
            descriptors.extend(socket.descriptors());
            SocketPlaces {
                descriptors: descriptors.len() - before,
                memberships: socket.memberships(),
            }
        });
        let places = places.collect();
        Ok((to_bytes(places, state)?, descriptors))
    }

    fn snapshot(&self) -> DriverState {
        let (taken_at, now) = (sys::monotonic_clock(), self.now());
        let routers = self.routers.iter().map(|(id, router)| RouterState {
            config: router.config.whole(),
            faults: router.faults().clone(),
            is_shut_down: router.is_shut_down,
            sequences: router.authenticator.sequences(),
            unannounced: self.paced.left(*id),
        });
        let watch = |(id, _)| self.watches.get(&id).cloned().unwrap_or_default();
        DriverState {
            taken_at,
            fleet: self.fleet.snapshot(now),
            interfaces: self.numbers.names(),
            routers: routers.collect(),
            watches: self.fleet.tracker().iter().map(watch).collect(),
            foreign_packets: self.packets.foreign(),
            last_sequence: self.events.last_sequence(),
        }
    }

    /// Continues where another driver has ended. The calling thread has to be in the network
    /// namespace of that driver.
    ///
    /// Timers run on as if nothing had happened; the time between the two counts. Routers and
    /// objects have new ids, [`RouterId::nth`] and [`ObjectId::nth`] of their places in the
    /// snapshot; groups are found by their [names](Self::groups). Changes of the host in between
    /// are handled as if they had just happened. The [handle](Self::handle) and the descriptor are
    /// new ones.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and for a snapshot that no driver has made. The routers then stay
    /// silent, and their addresses stay.
    pub fn take_over(hand_over: HandOver) -> Result<Self, Error> {
        Self::new()?.resume(hand_over)
    }

    /// Continues in a new driver.
    pub(super) fn resume(self, hand_over: HandOver) -> Result<Self, Error> {
        let mut driver = self;
        let HandOver { sockets, state } = hand_over;
        // The predecessor may still claim the macvlans, which are taken over at once.
        driver.host.actual.set_awaits_claims(false);
        let lasted = sys::monotonic_clock().saturating_sub(state.taken_at);
        let now = StdInstant::now();
        let epoch = now.checked_sub(lasted + MARGIN).unwrap_or(now);
        driver.epoch = Epoch::new(epoch);
        let taken_at = driver.epoch.instant(now) - lasted;
        driver.fleet = VrrpRouter::restore(&state.fleet, taken_at)?;
        driver.records = Reader::from(state.fleet.next_record());
        driver.numbers = Numbers::of(&state.interfaces).ok_or_else(|| Error::Invalid {
            field: "interfaces",
            problem: "a name is listed twice".into(),
        })?;
        driver.packets.set_foreign(state.foreign_packets);
        driver.events.continue_after(state.last_sequence);
        for parts in sockets {
            driver.packets.adopt(VrrpSocket::from_parts(parts)?)?;
            driver.watch_sources()?;
        }
        driver.restore_routers(state)?;
        Ok(driver)
    }

    fn restore_routers(&mut self, state: DriverState) -> Result<(), Error> {
        same_length("routers", state.routers.len(), state.fleet.router_count())?;
        same_length("watches", state.watches.len(), state.fleet.object_count())?;
        let objects: Vec<ObjectId> = self.fleet.tracker().iter().map(|(id, _)| id).collect();
        let watches = objects.iter().copied().zip(state.watches);
        self.watches = watches.filter(|(_, it)| *it != Watch::Host).collect();
        self.choose_routes()?;

        let ids: Vec<RouterId> = self.fleet.iter().map(|(id, _)| id).collect();
        for (id, saved) in ids.iter().zip(state.routers) {
            if saved.unannounced > 0 {
                self.queue.announce(*id, saved.unannounced);
            }
            let mut router = self.restored(*id, &state.interfaces, saved)?;
            if let Some(machine) = self.fleet.get(*id) {
                router.reported = machine.state();
            }
            self.open_sockets(&router)?;
            self.insert(*id, router);
        }
        let groups: Vec<GroupId> = self.fleet.groups().map(|(id, _)| id).collect();
        for id in groups {
            if let Some(state) = self.notified_state(id) {
                self.events.record_group_state(id, state);
            }
        }
        self.adapt_to_size();

        let now = self.now();
        for id in &ids {
            self.reconcile(now, *id);
            self.retake(now, *id);
        }
        self.evaluate(now, objects);
        self.packets.leave_unused();
        self.filter()
    }

    fn restored(
        &self,
        id: RouterId,
        interfaces: &[String],
        saved: RouterState,
    ) -> Result<Router, Error> {
        let mut config = saved.config;
        let member = self.fleet.member(id).ok_or(Error::NoRouter { id })?;
        let name = interfaces.get(member.interface as usize);
        config.interface = name.cloned().ok_or_else(|| Error::Invalid {
            field: "interfaces",
            problem: format!("unknown number {}", member.interface),
        })?;
        config.fsm = member.config;
        config.tracking = member.tracking;
        let others = self.siblings(self.numbers.of_name(&config.interface));
        let mut router = Router::new(config, others)?;
        let of_host = saved.faults.iter().filter_map(|fault| match fault {
            Fault::Host(cause) => Some(cause.clone()),
            _ => None,
        });
        let host_faults = of_host.collect();
        let faults = saved.faults;
        router.change_problems(|it| {
            *it = Problems {
                faults,
                host_faults,
            };
        });
        router.is_shut_down = saved.is_shut_down;
        router.authenticator.go_on(&saved.sequences);
        Ok(router)
    }

    /// Restores the addresses and routes that an Active lost during the hand-over.
    fn retake(&mut self, now: Instant, id: RouterId) {
        self.queue.push(id);
        if !is_active(&self.fleet, id) {
            return;
        }
        self.begin_refreshes(now, id);
        let actual = &self.host.actual;
        let Some(wanted) = self.wanted(id) else {
            return;
        };
        let lost = wanted.all().filter(|it| !wanted.is_in_place(it, actual));
        let lost: Vec<_> = lost.cloned().collect();
        let routes = wanted.routes.iter().filter(|route| {
            let interface = wanted.interface_of(route, actual);
            !actual.has_route(interface, route)
        });
        let routes: Vec<_> = routes.map(Thing::of_route).collect();
        let accepts = wanted.accepts;
        for thing in routes {
            self.planner.retry(now, Some(id), thing);
        }
        for address in lost {
            let thing = Thing::Address(address.address());
            if accepts {
                self.planner.retry(now, Some(id), thing);
                self.notify(Some(id), DriverEvent::AddressLost(address));
            }
        }
        if let Some(router) = self.routers.get_mut(&id) {
            router.note_installed();
        }
    }
}

fn same_length(field: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Invalid {
        field,
        problem: format!("there are {found}, but {expected} in the fleet"),
    })
}
