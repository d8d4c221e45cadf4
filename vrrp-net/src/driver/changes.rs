//! Changes of a router that runs, without another election.

use std::{collections::BTreeSet, net::IpAddr};

use vrrp_fsm::{Config, Instant, fleet::RouterId};
use vrrp_proto::Peer;

use super::{Authentication, Driver, RouterConfig, Sequences, router::Router};
use crate::{Error, VirtualAddress};

impl Driver {
    /// Changes the configuration of a router's state machine, without a new election (AMB-21): see
    /// [`VirtualRouter::reconfigure`](vrrp_fsm::VirtualRouter::reconfigure).
    ///
    /// When a router stops being the address owner (priority 255), its addresses become ordinary
    /// virtual addresses: they are removed from the interface unless it is Active, including those
    /// that the administrator had configured, with any prefix length, because another router
    /// answers for them then. It needs another address to advertise from. A router that becomes the
    /// owner leaves the addresses alone that the host already has without it; it adds the others,
    /// and removes them at the end.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Config`] and others name the unusable field. Nothing has
    /// changed then.
    pub fn reconfigure(&mut self, id: RouterId, config: Config) -> Result<(), Error> {
        self.change(id, |changed| changed.fsm = config)
    }

    /// Changes the configuration of a router, or leaves everything as it was.
    pub(super) fn change(
        &mut self,
        id: RouterId,
        change: impl FnOnce(&mut RouterConfig),
    ) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        let mut changed = router.config.whole();
        change(&mut changed);
        router.check(&changed)?;
        let was_owner = router.config.is_owner();
        let is_owner = changed.fsm.is_owner();
        if was_owner != is_owner {
            // The present addresses of the host decide which ones the router takes over, and which
            // it leaves alone.
            self.receive_host_events()?;
        }
        let changed = self.compact(changed);
        let old = std::mem::replace(&mut self.router_mut(id)?.config, changed);
        let now = self.now();
        let result = self.update(now, id);
        let Some(router) = self.routers.get_mut(&id) else {
            return result;
        };
        if result.is_err() {
            router.config = old;
            return result;
        }
        if was_owner != is_owner {
            // Another router answers for the addresses of an ex-owner from now on. Those that the
            // host gets later are its own.
            router.takes_unmarked = was_owner;
            self.give_up_unmarked(id);
            self.reconcile(now, id);
        }
        self.queue.push(id);
        result
    }

    /// Hands the configuration of a router to its state machine. The addresses and the destinations
    /// of its advertisements may be new.
    fn update(&mut self, now: Instant, id: RouterId) -> Result<(), Error> {
        let router = self.routers.get_mut(&id).ok_or(Error::NoRouter { id })?;
        router.forget_messages();
        let number = self.numbers.number(&router.common().interface);
        let member = router.member(number);
        let result = self.fleet.reconfigure(now, id, member);
        self.collect(now);
        Ok(result?)
    }

    /// Advertises, installs and announces the changed addresses of a router.
    fn readdress(&mut self, now: Instant, id: RouterId) -> Result<(), Error> {
        self.update(now, id)?;
        // Where the state machine has a list to compare, it notices the change itself.
        if self
            .fleet
            .member(id)
            .is_some_and(|member| member.addresses.is_none())
        {
            self.fleet.addresses_changed(now, id)?;
            self.collect(now);
        }
        Ok(())
    }

    /// Returns the sequence numbers of a router's authentication, to be stored for
    /// [`continue_sequences`](Self::continue_sequences) after a cold restart.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`].
    pub fn sequences(&self, id: RouterId) -> Result<Sequences, Error> {
        let router = self.routers.get(&id).ok_or(Error::NoRouter { id })?;
        Ok(router.authenticator.sequences())
    }

    /// Continues the sequence numbers of an earlier process. Numbers of another authentication
    /// method have no effect.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`].
    pub fn continue_sequences(&mut self, id: RouterId, sequences: &Sequences) -> Result<(), Error> {
        self.router_mut(id)?.authenticator.go_on(sequences);
        Ok(())
    }

    /// Changes how a router's advertisements are authenticated, without an election. Its sequence
    /// numbers go on, where the method stays the same.
    ///
    /// A router discards advertisements with another authentication. So either change it everywhere
    /// within Active_Down_Interval, or in steps in which all routers accept each other. For HMAC
    /// these are the modes of `HmacMode`. To change a key, add the new one everywhere, then sign
    /// with it, then remove the old one.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Invalid`] and others say why the router cannot use it;
    /// [`Error::Capability`] or [`Error::Os`] when the socket for IP AH cannot be opened. Nothing
    /// has changed then.
    pub fn set_authentication(
        &mut self,
        id: RouterId,
        authentication: Authentication,
    ) -> Result<(), Error> {
        let router = self.routers.get(&id).ok_or(Error::NoRouter { id })?;
        let config = RouterConfig {
            authentication,
            ..router.config.whole()
        };
        let others = self.siblings(self.numbers.of_name(&config.interface));
        let mut changed = Router::new(config, others)?;
        changed
            .authenticator
            .go_on(&router.authenticator.sequences());
        let moves = changed.protocol() != router.protocol();
        let now = self.now();
        // Waiting messages are still sent as they are.
        self.flush(now);
        let number = self.numbers.number(&changed.common().interface);
        let result = self
            .open_sockets(&changed)
            .and_then(|()| self.packets.admit(&changed))
            .and_then(|()| Ok(self.fleet.reconfigure(now, id, changed.member(number))?));
        if result.is_ok() {
            if moves {
                self.leave(id);
            }
            let router = self.router_mut(id)?;
            router.config = changed.config;
            router.authenticator = changed.authenticator;
            router.forget_messages();
            self.collect(now);
            self.reconcile(now, id);
        }
        // In either case, the filter of one socket may now pass fewer packets.
        self.filter().and(result)
    }

    /// Adds a fault to a router, known by its cause: the router is in Initialize until each such
    /// fault is [cleared](Self::clear_fault). A fault that is set already stays one.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`].
    pub fn set_fault(&mut self, id: RouterId, cause: &str) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        router.change_problems(|it| drop(it.host_faults.replace(cause.into())));
        let now = self.now();
        self.reconcile(now, id);
        Ok(())
    }

    /// Ends a fault that [`set_fault`](Self::set_fault) has set.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`].
    pub fn clear_fault(&mut self, id: RouterId, cause: &str) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        router.change_problems(|it| drop(it.host_faults.take(cause)));
        let now = self.now();
        self.reconcile(now, id);
        Ok(())
    }

    /// Adds a virtual address, at the end of the list. An Active advertises, installs and announces
    /// it at once.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Advertisement`] when there are 255 already; [`Error::Invalid`]
    /// for an address of another family, or one that the router already has.
    pub fn add_address(&mut self, id: RouterId, address: VirtualAddress) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        let own = address.address();
        if router.all().any(|it| it.address() == own) {
            return Err(Error::Invalid {
                field: "addresses",
                problem: format!("{own} is already listed"),
            });
        }
        let mut addresses = router.config.addresses().to_vec();
        addresses.push(address);
        self.replace_addresses(id, addresses)
    }

    /// Removes a virtual address. An Active advertises the change at once.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Invalid`] when the router does not list it;
    /// [`Error::Advertisement`] when it is the only one, or when the next IPv6 address could not be
    /// the first.
    pub fn remove_address(&mut self, id: RouterId, address: IpAddr) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        let mut addresses = router.config.addresses().to_vec();
        addresses.retain(|own| own.address() != address);
        if addresses.len() == router.config.addresses().len() {
            return Err(Error::Invalid {
                field: "addresses",
                problem: format!("{address} is not listed"),
            });
        }
        self.replace_addresses(id, addresses)
    }

    /// Replaces the listed virtual addresses in one step, so the old and the new ones together may
    /// be more than a message can list. An Active advertises, installs and announces the new ones
    /// at once. Addresses that stay are not touched.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Advertisement`] when there are none, more than 255, or an IPv6
    /// address that could not be the first; [`Error::Invalid`] for an address of another family,
    /// one that is given twice or is also [excluded](RouterConfig::excluded), and one that the
    /// router has with other settings: remove that first. Nothing has changed then.
    pub fn set_addresses(
        &mut self,
        id: RouterId,
        addresses: Vec<VirtualAddress>,
    ) -> Result<(), Error> {
        let router = self.router_mut(id)?;
        let excluded = router.common().excluded.iter();
        let mut seen: BTreeSet<IpAddr> = excluded.map(VirtualAddress::address).collect();
        for address in &addresses {
            let own = address.address();
            let invalid = |problem| Error::Invalid {
                field: "addresses",
                problem,
            };
            if !seen.insert(own) {
                return Err(invalid(format!("{own} is listed twice")));
            }
            let mut former = router.config.addresses().iter();
            if former.any(|it| it.address() == own && it != address) {
                let problem = format!("{own} is there with other settings: remove it first");
                return Err(invalid(problem));
            }
        }
        self.replace_addresses(id, addresses)
    }

    fn replace_addresses(
        &mut self,
        id: RouterId,
        addresses: Vec<VirtualAddress>,
    ) -> Result<(), Error> {
        let locals = |list: &[VirtualAddress]| -> BTreeSet<IpAddr> {
            list.iter().map(VirtualAddress::address).collect()
        };
        let old = locals(self.router_mut(id)?.config.addresses());
        let new = locals(&addresses);
        let left: Vec<_> = self
            .wanted(id)
            .iter()
            .flat_map(|it| {
                old.difference(&new)
                    .map(|gone| it.left_of(*gone, &self.host.actual))
            })
            .flatten()
            .collect();
        self.router_mut(id)?.advertise(addresses)?;
        self.planner.add_all_former(left);
        for gone in old.difference(&new) {
            self.planner.remove_address(id, *gone);
        }
        for come in new.difference(&old) {
            self.planner.add_address(id, *come);
        }
        self.queue.push(id);
        let now = self.now();
        if !new.is_subset(&old) {
            // An address to advertise from may be a virtual one now.
            self.reconcile(now, id);
        }
        self.readdress(now, id)
    }

    /// Replaces the peers of a unicast router. An Active advertises to them at once.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Invalid`] when there are none, one of another family, or the
    /// router advertises by multicast.
    pub fn set_peers(&mut self, id: RouterId, peers: Vec<Peer>) -> Result<(), Error> {
        let changed = self.router_mut(id)?.with_peers(peers)?;
        let changed = self.compact(changed);
        let router = self.router_mut(id)?;
        router.config = changed;
        router.forget_messages();
        let now = self.now();
        self.reconcile(now, id);
        self.update(now, id)
    }
}
