//! Macvlans for addresses that instances have on other interfaces than their own.

use std::collections::{BTreeMap, BTreeSet};

use vrrp_examples::keepalived::link::PlannedMacvlan;
use vrrp_net::{Interfaces, LinkChange, Macvlan, Netlink};

use crate::Error;

/// The macvlans that the daemon has created.
pub(crate) struct Links {
    netlink: Netlink,
    made: BTreeMap<String, Macvlan>,
}

impl Links {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            netlink: Netlink::open()?,
            made: BTreeMap::new(),
        })
    }

    /// Creates missing macvlans, in state down, or adopts those of an earlier run. Returns a
    /// sentence for each that cannot be created now.
    pub(crate) fn make<'a>(
        &mut self,
        planned: impl IntoIterator<Item = &'a PlannedMacvlan>,
    ) -> Vec<String> {
        let mut planned = planned.into_iter().peekable();
        if planned.peek().is_none() {
            return Vec::new();
        }
        let mut interfaces = match self.netlink.interfaces() {
            Ok(interfaces) => interfaces,
            Err(error) => return vec![error.to_string()],
        };
        let mut problems = Vec::new();
        for wanted in planned {
            if let Err(error) = self.make_one(wanted, &mut interfaces) {
                problems.push(format!("{} on {}: {error}", wanted.name, wanted.parent));
            }
        }
        problems
    }

    fn make_one(
        &mut self,
        wanted: &PlannedMacvlan,
        interfaces: &mut Interfaces,
    ) -> Result<(), Error> {
        let PlannedMacvlan {
            name,
            parent,
            family,
            vrid,
        } = wanted;
        let known = self.made.get(name).map(Macvlan::interface);
        let found = interfaces.named(name).map(|it| it.link.index);
        if known.is_some() && known == found {
            return Ok(());
        }
        self.made.remove(name);
        let parent = interfaces.named(parent).map(|it| it.link.index);
        let parent = parent.ok_or("there is no such interface")?;
        let has_ipv4 = *family == vrrp_proto::Family::Ipv4;
        let macvlan = Macvlan::add(
            &mut self.netlink,
            interfaces,
            parent,
            (*family, *vrid),
            Some(name),
            has_ipv4,
        )?;
        self.made.insert(name.clone(), macvlan);
        Ok(())
    }

    /// Sets them up or down.
    pub(crate) fn set_up(
        &mut self,
        planned: &[PlannedMacvlan],
        is_up: bool,
    ) -> Result<(), vrrp_net::Error> {
        let made = planned.iter().filter_map(|it| self.made.get(&it.name));
        let changes: Vec<LinkChange> = made
            .map(Macvlan::interface)
            .map(|interface| {
                if is_up {
                    LinkChange::Up { interface }
                } else {
                    LinkChange::Down { interface }
                }
            })
            .collect();
        let mut results = self.netlink.apply(&changes)?.into_iter();
        results.try_for_each(|result| result.map(drop))
    }

    /// Deletes all except these.
    pub(crate) fn keep(&mut self, names: &BTreeSet<String>) -> Result<(), vrrp_net::Error> {
        let made = std::mem::take(&mut self.made);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            made.into_iter().partition(|(name, _)| names.contains(name));
        self.made = kept;
        if gone.is_empty() {
            return Ok(());
        }
        let mut interfaces = self.netlink.interfaces()?;
        let results = gone
            .into_values()
            .map(|it| it.delete(&mut self.netlink, &mut interfaces));
        results.fold(Ok(()), Result::and)
    }

    /// Their indexes.
    pub(crate) fn indexes(&self) -> BTreeSet<u32> {
        self.made.values().map(Macvlan::interface).collect()
    }
}
