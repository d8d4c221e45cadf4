//! The actions of the state machine, carried out with the parts of vrrp-net. None of them blocks.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use vrrp_fsm::{Action, Actions, Instant, Outgoing, ReceiveContext, VirtualRouter};
use vrrp_net::{
    AddressChange, Datagram, FrameSocket, Netlink, Received, VirtualAddress, VrrpSocket,
};
use vrrp_proto::{
    Addresses, Endpoints, Family, MAX_MESSAGE_LEN, MessageAuthentication,
    frame::{
        MacAddress,
        arp::{self, GratuitousTarget},
        neighbor,
    },
};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An interface and the virtual addresses that come and go on it.
pub(crate) struct Host {
    frames: FrameSocket,
    netlink: Netlink,
    interface: u32,
    mac: MacAddress,
    primary_address: IpAddr,
    addresses: Vec<VirtualAddress>,
    /// Whether some of these addresses may be on the interface.
    installed: bool,
}

impl Host {
    /// Reads the interface, and removes addresses that an earlier run may have left there.
    pub(crate) fn new(name: &str, family: Family, addresses: Vec<VirtualAddress>) -> Result<Self> {
        check(family, &addresses)?;
        let mut netlink = Netlink::open()?;
        let interfaces = netlink.interfaces()?;
        let interface = interfaces
            .named(name)
            .ok_or_else(|| format!("there is no interface {name}"))?;
        let is_virtual = |address| addresses.iter().any(|own| own.address() == address);
        let primary_address = interface
            .primary_address(family, is_virtual)
            .ok_or_else(|| format!("{name} has no {family} address to advertise from"))?;
        let mut host = Self {
            frames: FrameSocket::open()?,
            netlink,
            interface: interface.link.index,
            mac: interface
                .link
                .mac
                .ok_or_else(|| format!("{name} has no Ethernet address"))?,
            primary_address,
            addresses,
            installed: false,
        };
        host.set_installed(false)?;
        Ok(host)
    }

    /// The index of the interface.
    pub(crate) fn interface(&self) -> u32 {
        self.interface
    }

    /// The source address of advertisements.
    pub(crate) fn primary_address(&self) -> IpAddr {
        self.primary_address
    }

    /// Hands a packet to the state machine. A packet that fails a check only changes a counter.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        machine: &mut VirtualRouter,
        socket: &VrrpSocket,
        received: &Received<'_>,
    ) -> Result {
        if received.interface != self.interface {
            return Ok(());
        }
        let context = ReceiveContext::multicast(machine.config().family);
        match machine.handle_packet(now, &received.ip, received.payload, &context) {
            Ok((_, actions)) => self.perform(machine, socket, actions),
            Err(_) => Ok(()),
        }
    }

    /// Carries out the actions of the state machine, in order.
    pub(crate) fn perform(
        &mut self,
        machine: &VirtualRouter,
        socket: &VrrpSocket,
        actions: Actions,
    ) -> Result {
        for action in actions {
            match action {
                Action::SendAdvertisement(outgoing) => self.advertise(machine, socket, outgoing)?,
                Action::InstallAddresses => self.set_installed(true)?,
                Action::Announce { repeat } => (0..repeat).for_each(|_| self.announce()),
                Action::RemoveAddresses => self.set_installed(false)?,
                Action::StateChanged(change) => {
                    // The router continues when nobody reads its output any more.
                    let (from, to) = (change.from, change.to);
                    let _ = writeln!(io::stdout(), "{from} -> {to}: {}", change.reason);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn advertise(
        &self,
        machine: &VirtualRouter,
        socket: &VrrpSocket,
        outgoing: Outgoing,
    ) -> Result {
        let (mut ipv4, mut ipv6) = (Vec::<Ipv4Addr>::new(), Vec::<Ipv6Addr>::new());
        for own in &self.addresses {
            match own.address() {
                IpAddr::V4(own) => ipv4.push(own),
                IpAddr::V6(own) => ipv6.push(own),
            }
        }
        let list = match machine.config().family {
            Family::Ipv4 => Addresses::from(&ipv4[..]),
            Family::Ipv6 => Addresses::from(&ipv6[..]),
        };
        let endpoints = Endpoints::multicast(self.primary_address);
        let mut buffer = [0; MAX_MESSAGE_LEN];
        for (message, form) in machine.advertisements(outgoing, MessageAuthentication::None, list) {
            let length = message.encode(&mut buffer, &endpoints, form)?;
            let datagram = Datagram {
                interface: self.interface,
                endpoints,
                ttl: 255,
                octets: &buffer[..length],
            };
            socket.send([datagram], |_, error| complain("advertisement", &error));
        }
        Ok(())
    }

    fn announce(&self) {
        for own in &self.addresses {
            let refused = |_, error| complain(&format!("announcement of {own}"), &error);
            match own.address() {
                IpAddr::V4(own) => {
                    let frame = arp::gratuitous(self.mac, own, GratuitousTarget::default());
                    self.frames.send([(self.interface, &frame[..])], refused);
                }
                IpAddr::V6(own) => {
                    let frame = neighbor::unsolicited(self.mac, own, own);
                    self.frames.send([(self.interface, &frame[..])], refused);
                }
            }
        }
    }

    fn set_installed(&mut self, installed: bool) -> Result {
        let interface = self.interface;
        self.installed |= installed;
        let change = |address| {
            if installed {
                AddressChange::Add { interface, address }
            } else {
                AddressChange::Remove { interface, address }
            }
        };
        let changes: Vec<AddressChange<'_>> = self.addresses.iter().map(change).collect();
        for result in self.netlink.apply(&changes)? {
            result?;
        }
        self.installed = installed;
        Ok(())
    }
}

/// Removes the addresses, however the router ends.
impl Drop for Host {
    fn drop(&mut self) {
        if self.installed
            && let Err(error) = self.set_installed(false)
        {
            complain("the addresses stay", &*error);
        }
    }
}

/// Whether a router of this family can advertise these addresses.
fn check(family: Family, addresses: &[VirtualAddress]) -> Result {
    if let Some(first) = addresses.first()
        && let IpAddr::V6(address) = first.address()
        && !address.is_unicast_link_local()
    {
        return Err(
            format!("{first}: the first IPv6 address has to be link-local, in fe80::/10").into(),
        );
    }
    match addresses.iter().find(|own| own.family() != family) {
        Some(other) => Err(format!("{other} is not {family}, as the first address is").into()),
        None => Ok(()),
    }
}

fn complain(what: &str, error: &dyn std::error::Error) {
    let _ = writeln!(io::stderr(), "{what}: {error}");
}
