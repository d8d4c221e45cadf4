//! The slow part of what the state machines ask for: addresses on interfaces, and announcements.

use std::{collections::VecDeque, net::IpAddr};

use vrrp_fsm::{Instant, Transition, fleet::RouterId};
use vrrp_proto::frame::{arp, neighbor};

use super::{Driver, DriverEvent, is_active, router::Router};
use crate::{
    AddressChange, Error, Interfaces, Outcome, VirtualAddress, socket::describe_interface,
};

/// Addresses that are worked on before the driver looks at its sockets and timers again: a millisecond's work.
const PORTION: usize = 64;

/// Something to be done for a router once all advertisements are out.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Put its addresses on the interface.
    Install,
    /// Put back those that are lost and may be put back.
    Repair,
    /// Take its addresses away.
    Remove {
        /// They were there before the router was.
        left_over: bool,
    },
    /// Take one away that is no longer the router's, from an interface that may no longer be the router's.
    Withdraw {
        interface: u32,
        address: VirtualAddress,
    },
    /// Announce its addresses, each so often.
    Announce { repeat: u8 },
    /// Tell that its state has changed.
    Tell(Transition),
}

/// What waits to be done, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct WorkQueue(VecDeque<(RouterId, Work)>);

impl WorkQueue {
    pub(super) fn push(&mut self, id: RouterId, work: Work) {
        self.0.push_back((id, work));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn concerns(&self, id: RouterId) -> bool {
        self.0.iter().any(|(other, _)| *other == id)
    }
}

/// A change of an address on an interface, on behalf of a router.
struct Change {
    interface: u32,
    address: VirtualAddress,
    add: bool,
}

/// A frame that announces an address.
enum Frame {
    Arp([u8; arp::FRAME_LEN]),
    Neighbor([u8; neighbor::FRAME_LEN]),
}

impl Frame {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Arp(octets) => octets,
            Self::Neighbor(octets) => octets,
        }
    }
}

impl Driver {
    /// Does a portion of the work: first all changes of addresses, many to a system call, then what had to wait for them.
    pub(super) fn do_some_work(&mut self, now: Instant) -> Result<(), Error> {
        if self.work.is_empty() {
            return Ok(());
        }
        let mut portion = Vec::new();
        let mut changes: Vec<Change> = Vec::new();
        let mut cost = 0;
        while cost < PORTION
            && let Some((id, work)) = self.work.0.pop_front()
        {
            let Some(router) = self.routers.get_mut(&id) else {
                continue;
            };
            cost += router.held.len().max(1);
            let before = changes.len();
            plan(router, is_active(&self.fleet, id), &work, &mut changes);
            portion.push((id, work, changes.len() - before));
        }
        let requests: Vec<_> = changes
            .iter()
            .map(|change| {
                let (interface, address) = (change.interface, &change.address);
                if change.add {
                    AddressChange::Add { interface, address }
                } else {
                    AddressChange::Remove { interface, address }
                }
            })
            .collect();
        let results = self.netlink.apply(&requests)?;
        let mut done = changes.into_iter().zip(results);

        let mut frames = Vec::new();
        for (id, work, count) in portion {
            for (change, result) in done.by_ref().take(count) {
                self.settle(id, &work, change, result, now);
            }
            match work {
                Work::Announce { repeat } => {
                    if let Some(router) = self.routers.get(&id)
                        && is_active(&self.fleet, id)
                    {
                        announce(id, router, repeat, &self.interfaces, &mut frames);
                    }
                }
                Work::Tell(transition) => {
                    self.send_announcements(&mut frames, now);
                    self.notify(Some(id), DriverEvent::StateChanged(transition));
                    if let Some(router) = self.routers.get_mut(&id) {
                        router.told = transition.to;
                    }
                    if let Some(group) = self.fleet.group_with(id) {
                        self.tell_group(group);
                    }
                }
                Work::Install | Work::Repair | Work::Remove { .. } | Work::Withdraw { .. } => {}
            }
        }
        self.send_announcements(&mut frames, now);
        Ok(())
    }

    /// Takes note of what became of a change.
    fn settle(
        &mut self,
        id: RouterId,
        work: &Work,
        change: Change,
        result: Result<Outcome, Error>,
        now: Instant,
    ) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let held = router
            .held
            .iter_mut()
            .find(|held| held.address == change.address);
        if let Some(held) = held {
            match (&result, change.add) {
                (Ok(_), added) => held.installed = added,
                (Err(_), true) => {
                    self.repairs.insert((held.lose(now), id));
                }
                (Err(_), false) => {}
            }
        }
        let address = change.address;
        match (result, work) {
            (Ok(Outcome::Changed), Work::Repair) => {
                self.notify(Some(id), DriverEvent::AddressRestored(address));
                // It fails for a router that was removed meanwhile, which has nothing to announce.
                let _known = self.fleet.reannounce(now, id);
                self.collect(now);
            }
            (Ok(Outcome::Changed), Work::Remove { left_over: true }) => {
                self.notify(Some(id), DriverEvent::LeftOverRemoved(address));
            }
            (Ok(_), _) => {}
            (Err(error), _) => {
                self.notify(Some(id), DriverEvent::AddressFailed { address, error });
            }
        }
    }

    fn send_announcements(&mut self, frames: &mut Vec<(RouterId, u32, Frame)>, now: Instant) {
        let mut refused = Vec::new();
        self.frames.send(
            frames
                .iter()
                .map(|(_, interface, frame)| (*interface, frame.octets())),
            |place, error| refused.push((place, error)),
        );
        for (place, error) in refused {
            let Some(&(id, interface, _)) = frames.get(place) else {
                continue;
            };
            let Some(suppressed) = self
                .routers
                .get_mut(&id)
                .and_then(|router| router.limiters.announce_failed.pass(now))
            else {
                continue;
            };
            let action = format!(
                "announce a virtual address on {}",
                describe_interface(interface)
            );
            let error = Error::os(action)(error);
            self.notify(Some(id), DriverEvent::AnnounceFailed { error, suppressed });
        }
        frames.clear();
    }
}

/// What a piece of work changes. What the state has overtaken in the meantime is left out: the state is what has to be.
fn plan(router: &mut Router, is_active: bool, work: &Work, changes: &mut Vec<Change>) {
    if let Work::Withdraw { interface, address } = work {
        changes.push(Change {
            interface: *interface,
            address: address.clone(),
            add: false,
        });
    }
    let Some(interface) = router.interface() else {
        return;
    };
    let mut change = |address: &VirtualAddress, add| {
        changes.push(Change {
            interface,
            address: address.clone(),
            add,
        });
    };
    match work {
        Work::Install if is_active => {
            for held in router.held.iter().filter(|held| !held.is_native) {
                change(&held.address, true);
            }
        }
        Work::Repair if is_active => {
            for held in &mut router.held {
                if std::mem::take(&mut held.is_under_repair) {
                    change(&held.address, true);
                }
            }
        }
        Work::Remove { .. } if !is_active => {
            for held in &mut router.held {
                held.give_up_repair();
                if held.installed && !held.is_native {
                    change(&held.address, false);
                }
            }
        }
        Work::Install
        | Work::Repair
        | Work::Remove { .. }
        | Work::Withdraw { .. }
        | Work::Announce { .. }
        | Work::Tell(_) => {}
    }
}

/// The frames that announce the addresses of an Active: those that are in place, each once, and all of that so often.
fn announce(
    id: RouterId,
    router: &Router,
    repeat: u8,
    interfaces: &Interfaces,
    frames: &mut Vec<(RouterId, u32, Frame)>,
) {
    let Some(interface) = router.interface().and_then(|index| interfaces.get(index)) else {
        return;
    };
    // Without a hardware address there is nobody to tell.
    let Some(mac) = interface.link.mac else {
        return;
    };
    for _ in 0..repeat {
        for held in router.held.iter().filter(|held| held.installed) {
            let frame = match held.address.address() {
                IpAddr::V4(address) => {
                    Frame::Arp(arp::gratuitous(mac, address, router.config.gratuitous_arp))
                }
                // From the address itself (AMB-17).
                IpAddr::V6(address) => {
                    Frame::Neighbor(neighbor::unsolicited(mac, address, address))
                }
            };
            frames.push((id, interface.link.index, frame));
        }
    }
}
