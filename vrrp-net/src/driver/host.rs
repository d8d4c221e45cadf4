//! The state of the host: followed by notifications and dumps, and changed by plans.

use std::time::Duration;

use vrrp_fsm::Instant;

use super::{DriverEvent, proxies::Proxies, subnet::SparedSubnets};
use crate::{
    AddressChange, Error, Interfaces, Link, LinkChange, Macvlan, Monitor, MonitorEvent, Netlink,
    NetlinkChange, Outcome, RouteChange,
    kernel::{
        macvlan::{alias_record, quiet_parent, restore_parent},
        sys,
    },
    plan::{Actual, Change, Lost},
};

/// The pause before another dump, after links or addresses changed during the last one.
const REST: Duration = Duration::from_millis(10);

/// The oldest kernel that keeps the marks of addresses (`IFA_PROTO`).
const MARKS: (u32, u32) = (5, 18);

/// The kernel, and the known state of its links, addresses and routes.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) monitor: Monitor,
    netlink: Netlink,
    pub(super) actual: Actual,
    pub(super) proxies: Proxies,
    /// The time at which to dump everything again, because notifications were lost.
    pub(super) resync_at: Option<Instant>,
    /// Whether notifications may wait that are older than the last dump.
    is_ahead: bool,
    /// Events about addresses of the host that the kernel had removed along with virtual ones.
    subnet_events: Vec<DriverEvent>,
}

/// The result of a change.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) outcome: Outcome,
    /// The macvlan that was created.
    pub(super) macvlan: Option<Macvlan>,
}

impl Host {
    /// Reads the state of the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Error> {
        // First the notifications, then the state: nothing in between is missed.
        let monitor = Monitor::open()?;
        let mut netlink = Netlink::open()?;
        netlink.check_privilege()?;
        let interfaces = netlink.interfaces()?;
        let keeps_marks = sys::kernel_version().is_none_or(|version| version >= MARKS);
        let mut actual = Actual::new(interfaces, keeps_marks);
        actual.found_routes(netlink.marked_routes()?);
        Ok(Self {
            monitor,
            netlink,
            actual,
            proxies: Proxies::default(),
            resync_at: None,
            is_ahead: true,
            subnet_events: Vec::new(),
        })
    }

    pub(super) const fn interfaces(&self) -> &Interfaces {
        self.actual.interfaces()
    }

    /// The notifications that wait, and whether more of them may. They are not applied yet.
    ///
    /// A notification that is older than the last dump can put addresses out of the order in which
    /// the kernel has them: everything is then dumped again.
    pub(super) fn notifications(
        &mut self,
        now: Instant,
    ) -> Result<(Vec<MonitorEvent>, bool), Error> {
        let mut events = Vec::new();
        let has_more = self.monitor.receive(|event| events.push(event))?;
        if self.is_ahead && events.iter().any(MonitorEvent::reorders) {
            self.resync_at.get_or_insert(now + REST);
        }
        self.is_ahead &= !events.is_empty();
        Ok((events, has_more))
    }

    /// Applies a notification. Returns the thing that is gone.
    pub(super) fn follow(&mut self, event: &MonitorEvent) -> Option<Lost> {
        if let MonitorEvent::LinkGone { interface } = event {
            self.leave_proxied(*interface);
        }
        self.actual.apply(event)
    }

    /// Ends the memberships on a link that is gone: another link may get its index, and has none of
    /// them.
    fn leave_proxied(&mut self, interface: u32) {
        for address in self.actual.proxied_on(interface) {
            self.proxies.leave(interface, address);
        }
    }

    /// Takes the events about addresses of the host that the kernel had removed along with virtual
    /// ones.
    pub(super) fn take_subnet_events(&mut self) -> Vec<DriverEvent> {
        std::mem::take(&mut self.subnet_events)
    }

    /// Whether to read notifications, even where none is known to wait.
    pub(super) const fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Dumps everything again, unless something changes during the dump, which is then repeated.
    /// Returns the addresses and routes that are gone.
    pub(super) fn resync(&mut self, now: Instant) -> Result<Option<Vec<Lost>>, Error> {
        let Some(interfaces) = self.netlink.interfaces_at_once()? else {
            self.resync_at = Some(now + REST);
            return Ok(None);
        };
        let routes = self.netlink.marked_routes()?;
        self.resync_at = None;
        self.is_ahead = true;
        for (interface, address) in self.actual.proxied() {
            if interfaces.get(interface).is_none() {
                self.proxies.leave(interface, address);
            }
        }
        // Another link may have an index by now.
        self.proxies.join_again(None);
        let lost = self.actual.resync(interfaces);
        self.actual.found_routes(routes);
        Ok(Some(lost))
    }

    /// Schedules another dump of everything as soon as possible.
    pub(super) fn dump_again(&mut self, now: Instant) {
        self.resync_at = Some(self.resync_at.map_or(now, |at| at.min(now)));
    }

    /// Makes changes in order, as many as possible with one system call.
    ///
    /// # Errors
    ///
    /// An error when the kernel cannot be talked to or does not answer: some of the changes may
    /// have been made, and [`dump_again`](Self::dump_again) finds out which. Otherwise each change
    /// has a result of its own.
    pub(super) fn make(&mut self, changes: &[Change]) -> Result<Vec<Result<Made, Error>>, Error> {
        let mut results = Vec::with_capacity(changes.len());
        for part in changes.chunk_by(|a, b| kind(a) == kind(b)) {
            match part.first() {
                Some(Change::DeleteLink { .. }) => results.extend(self.delete_links(part)),
                Some(
                    Change::CreateMacvlan { .. }
                    | Change::QuietParent { .. }
                    | Change::RestoreParent { .. }
                    | Change::BeginProxy { .. }
                    | Change::EndProxy { .. },
                ) => results.extend(part.iter().map(|change| self.make_one(change))),
                _ => {
                    let spared = SparedSubnets::prepare(&mut self.netlink, &self.actual, part)?;
                    let made = self.apply(part);
                    self.subnet_events.extend(spared.restore(&mut self.netlink));
                    results.extend(made?);
                }
            }
        }
        Ok(results)
    }

    fn apply(&mut self, part: &[Change]) -> Result<Vec<Result<Made, Error>>, Error> {
        let requests: Vec<_> = part.iter().filter_map(request).collect();
        let results = self.netlink.apply(&requests)?;
        let is_silent = |it: &&Result<Outcome, Error>| matches!(it, Err(Error::NoAnswer { .. }));
        if let Some(Err(error)) = results.iter().find(is_silent) {
            return Err(error.clone());
        }
        let made = part.iter().zip(results).map(|(change, result)| {
            let outcome = result?;
            self.actual.made(change, outcome == Outcome::Changed);
            Ok(Made::new(outcome))
        });
        Ok(made.collect())
    }

    fn delete_links(&mut self, part: &[Change]) -> Vec<Result<Made, Error>> {
        let indexes: Vec<u32> = part
            .iter()
            .filter_map(|change| match change {
                Change::DeleteLink { interface } => Some(*interface),
                _ => None,
            })
            .collect();
        let links: Vec<Link> = indexes
            .iter()
            .filter_map(|index| self.actual.link(*index).cloned())
            .collect();
        // A refusal shows when the link is deleted alone.
        let _refused = self.netlink.delete_links(&indexes);
        let results = part.iter().zip(indexes).map(|(change, index)| {
            let result = self.netlink.delete_links(&[index]);
            if result.is_ok() {
                self.leave_proxied(index);
                self.actual.made(change, true);
            }
            result.map(|()| Made::new(Outcome::Changed))
        });
        let mut results: Vec<_> = results.collect();
        if let Err(error) = self.restore_by_alias(&links)
            && let Some(last) = results.last_mut()
        {
            *last = Err(error);
        }
        results
    }

    /// On a kernel without alternative names, the alias of the last macvlan has the record.
    fn restore_by_alias(&mut self, links: &[Link]) -> Result<(), Error> {
        for link in links {
            let Some(parent) = link.parent.filter(|_| alias_record(&link.alias).is_some()) else {
                continue;
            };
            let is_last = self.actual.macvlans_on(parent).next().is_none();
            if let Some(parent) = self.actual.link(parent).filter(|_| is_last) {
                restore_parent(&mut self.netlink, &parent.clone(), Some(&link.alias))?;
            }
        }
        Ok(())
    }

    fn make_one(&mut self, change: &Change) -> Result<Made, Error> {
        let mut made = Made::new(Outcome::Changed);
        match change {
            Change::CreateMacvlan {
                parent,
                mac,
                name,
                existing,
            } => {
                let Some(parent) = self.actual.link(*parent).cloned() else {
                    return Err(gone(*parent));
                };
                let existing = existing.and_then(|index| self.actual.link(index).cloned());
                let existing = existing.as_ref();
                let (macvlan, link) =
                    Macvlan::create(&mut self.netlink, &parent, *mac, name, existing)?;
                self.actual.adopt(link);
                made.macvlan = Some(macvlan);
            }
            Change::QuietParent { parent, interface } => {
                let link = |index: u32| self.actual.link(index).cloned();
                let (Some(parent), Some(macvlan)) = (link(*parent), link(*interface)) else {
                    return Err(gone(*parent));
                };
                for link in quiet_parent(&mut self.netlink, &parent, &macvlan)? {
                    self.actual.apply(&MonitorEvent::Link(link));
                }
            }
            Change::RestoreParent { interface } => {
                if let Some(parent) = self.actual.link(*interface).cloned() {
                    restore_parent(&mut self.netlink, &parent, None)?;
                }
            }
            Change::BeginProxy { interface, address } => {
                self.proxies.join(*interface, *address)?;
            }
            Change::EndProxy { interface, address } => {
                self.proxies.leave(*interface, *address);
            }
            _ => {}
        }
        self.actual.made(change, true);
        Ok(made)
    }
}

impl Made {
    const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            macvlan: None,
        }
    }
}

/// Changes of one kind are made together.
const fn kind(change: &Change) -> u8 {
    match change {
        Change::DeleteLink { .. } => 0,
        Change::CreateMacvlan { .. }
        | Change::QuietParent { .. }
        | Change::RestoreParent { .. }
        | Change::BeginProxy { .. }
        | Change::EndProxy { .. } => 1,
        Change::SetUp { .. }
        | Change::SetDown { .. }
        | Change::AddAddress { .. }
        | Change::RemoveAddress { .. }
        | Change::AddRoute { .. }
        | Change::RemoveRoute { .. } => 2,
    }
}

/// The netlink request of a change.
fn request(change: &Change) -> Option<NetlinkChange<'_>> {
    let request = match change {
        Change::SetUp { interface } => LinkChange::Up {
            interface: *interface,
        }
        .into(),
        Change::SetDown { interface } => LinkChange::Down {
            interface: *interface,
        }
        .into(),
        Change::AddAddress { interface, address } => AddressChange::Add {
            interface: *interface,
            address,
        }
        .into(),
        Change::RemoveAddress { interface, address } => AddressChange::RemoveFound {
            interface: *interface,
            address,
        }
        .into(),
        Change::AddRoute { interface, route } => RouteChange::Add {
            interface: *interface,
            route,
        }
        .into(),
        Change::RemoveRoute { interface, route } => RouteChange::Remove {
            interface: *interface,
            route,
        }
        .into(),
        Change::CreateMacvlan { .. }
        | Change::QuietParent { .. }
        | Change::DeleteLink { .. }
        | Change::RestoreParent { .. }
        | Change::BeginProxy { .. }
        | Change::EndProxy { .. } => return None,
    };
    Some(request)
}

fn gone(interface: u32) -> Error {
    Error::Invalid {
        field: "virtual_mac",
        problem: format!("interface {interface} is gone"),
    }
}
