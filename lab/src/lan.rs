use std::{cell::Cell, net::Ipv6Addr, time::Duration};

use ipnet::IpNet;

use crate::{Capture, Error, Namespace, netlink, wait_for};

/// The bridge's name in the namespace of its switch.
const BRIDGE: &str = "br0";

/// How long the kernel may take to bring a link up.
pub(crate) const LINK_UP: Duration = Duration::from_secs(60);

/// A local area network: a bridge in a namespace of its own, and [`Host`]s plugged into it.
///
/// The bridge forwards at once and floods multicast (no spanning tree, no multicast snooping).
///
/// ```no_run
/// use std::net::{TcpListener, TcpStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lan = vrrp_lab::Lan::new()?;
/// let r1 = lan.host("r1", &["192.0.2.1/24", "2001:db8::1/64"])?;
/// let r2 = lan.host("r2", &["192.0.2.2/24", "2001:db8::2/64"])?;
/// let server = r2.namespace().run(|| TcpListener::bind("192.0.2.2:80"))?;
/// let client = r1.namespace().run(|| TcpStream::connect("192.0.2.2:80"))?;
/// r2.unplug()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lan {
    switch: Namespace,
    bridge: u32,
    /// Hosts attached so far; numbers their Ethernet addresses.
    hosts: Cell<u16>,
}

impl Lan {
    /// Makes a network without hosts.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] or [`Error::Netlink`] if the process lacks the privileges.
    pub fn new() -> Result<Self, Error> {
        let switch = Namespace::new()?;
        // The switch itself stays silent.
        switch.set_sysctl("ipv6.conf.all.disable_ipv6", "1")?;
        switch.set_sysctl("ipv6.conf.default.disable_ipv6", "1")?;
        netlink::add_bridge(&switch, BRIDGE)?;
        let bridge = netlink::link(&switch, BRIDGE)?.index;
        Ok(Self {
            switch,
            bridge,
            hosts: Cell::new(0),
        })
    }

    /// Adds a host with one interface, `eth0`, that is ready to send and receive with the given
    /// addresses, each of the form `192.0.2.1/24` or `2001:db8::1/64`. The interface has an IPv6
    /// link-local address as well.
    ///
    /// The n-th interface attached to a network has the Ethernet address `02:00:00:00:hi:lo` of n,
    /// so that captures are easy to read and link-local addresses are in the order of attachment.
    ///
    /// `name` names the switch's port and has at most 15 octets.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] for a malformed address, [`Error::Netlink`] for a name that is too long
    /// or taken.
    pub fn host(&self, name: &str, addresses: &[&str]) -> Result<Host, Error> {
        self.plug(name, Namespace::new()?, "eth0", addresses)
    }

    /// Adds a further interface to a host of another network, which makes it multi-homed.
    ///
    /// # Errors
    ///
    /// As [`Lan::host`]; also if the host has an interface of that name.
    pub fn attach(&self, host: &Host, interface: &str, addresses: &[&str]) -> Result<Host, Error> {
        self.plug(&host.name, host.namespace.clone(), interface, addresses)
    }

    /// Makes an interface of the [switch](Self::switch)'s namespace a port of the bridge, up, as
    /// soon as it exists: the TAP device of a program that runs there.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if there is none, [`Error::Netlink`] if the kernel refuses.
    pub fn add_port(&self, interface: &str) -> Result<(), Error> {
        wait_for(&format!("the interface {interface}"), LINK_UP, || {
            netlink::link(&self.switch, interface).ok()
        })?;
        netlink::set_bridge(&self.switch, interface, self.bridge)?;
        netlink::set_up(&self.switch, interface)
    }

    /// Starts to record every frame that crosses the network.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] without `CAP_NET_RAW`.
    pub fn capture(&self) -> Result<Capture, Error> {
        Capture::start(&self.switch, BRIDGE)
    }

    /// The namespace of the bridge `br0`. A port has the name of its host.
    #[must_use]
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    fn plug(
        &self,
        name: &str,
        namespace: Namespace,
        interface: &str,
        addresses: &[&str],
    ) -> Result<Host, Error> {
        let addresses = addresses
            .iter()
            .map(|text| parse(text))
            .collect::<Result<Vec<_>, _>>()?;

        let number = self.hosts.get() + 1;
        self.hosts.set(number);
        let [high, low] = number.to_be_bytes();
        let mac = [2, 0, 0, 0, high, low];
        netlink::add_veth(&namespace, interface, mac, &self.switch, name)?;
        let index = netlink::link(&namespace, interface)?.index;

        let host = Host {
            name: name.into(),
            namespace,
            interface: interface.into(),
            index,
            mac,
            switch: self.switch.clone(),
            bridge: self.bridge,
        };
        for address in addresses {
            netlink::add_address(&host.namespace, interface, address)?;
        }
        host.mend()?;
        Ok(host)
    }
}

/// An interface of a network namespace, plugged into a [`Lan`].
#[derive(Debug)]
pub struct Host {
    name: String,
    namespace: Namespace,
    interface: String,
    index: u32,
    mac: [u8; 6],
    switch: Namespace,
    bridge: u32,
}

impl Host {
    /// The name given to [`Lan::host`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace that the host is.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The name of the interface: `eth0` unless the host was [attached](Lan::attach).
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The index of the interface.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The Ethernet address of the interface.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The link-local address that the kernel formed from [`Host::mac`] (RFC 4291 appendix A).
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0];
        octets[8..11].copy_from_slice(&self.mac[..3]);
        octets[13..].copy_from_slice(&self.mac[3..]);
        octets[8] ^= 2;
        Ipv6Addr::from(octets)
    }

    /// Adds a macvlan in bridge mode on top of the interface, up, with the Ethernet address `mac`:
    /// the form in which FRR, and keepalived with `use_vmac`, hold a virtual router's addresses.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] for a malformed address, [`Error::Netlink`] if the name is taken.
    pub fn add_macvlan(&self, name: &str, mac: [u8; 6], addresses: &[&str]) -> Result<(), Error> {
        netlink::add_macvlan(&self.namespace, &self.interface, name, mac)?;
        for address in addresses {
            netlink::add_address(&self.namespace, name, parse(address)?)?;
        }
        netlink::set_up(&self.namespace, name)
    }

    /// Adds an address of the form `192.0.2.1/24` or `2001:db8::1/64`.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if it is malformed, [`Error::Netlink`] if the interface has it already.
    pub fn add_address(&self, address: &str) -> Result<(), Error> {
        netlink::add_address(&self.namespace, &self.interface, parse(address)?)
    }

    /// Removes an address of the form `192.0.2.1/24` or `2001:db8::1/64`.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if it is malformed, [`Error::Netlink`] if the interface does not have it.
    pub fn remove_address(&self, address: &str) -> Result<(), Error> {
        netlink::remove_address(&self.namespace, &self.interface, parse(address)?)
    }

    /// The addresses of the interface, in the kernel's order.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterface`] if the interface is gone.
    pub fn addresses(&self) -> Result<Vec<IpNet>, Error> {
        self.namespace.addresses(&self.interface)
    }

    /// Whether the interface is up and has a carrier.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterface`] if the interface is gone.
    pub fn has_carrier(&self) -> Result<bool, Error> {
        Ok(netlink::link(&self.namespace, &self.interface)?.carrier)
    }

    /// Pulls the cable: the host loses the carrier and sees it. (The kernel may take up to a second
    /// to report a lost carrier to programs; it reports [`Host::shut`] at once.)
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`] if the kernel refuses.
    pub fn unplug(&self) -> Result<(), Error> {
        netlink::set_down(&self.switch, &self.name)
    }

    /// Drops every frame from and to the host, while its carrier stays: the host notices nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`] if the kernel refuses.
    pub fn partition(&self) -> Result<(), Error> {
        netlink::set_bridge(&self.switch, &self.name, 0)
    }

    /// Sets the host's own interface down.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`] if the kernel refuses.
    pub fn shut(&self) -> Result<(), Error> {
        netlink::set_down(&self.namespace, &self.interface)
    }

    /// Undoes [`unplug`](Self::unplug), [`partition`](Self::partition) and [`shut`](Self::shut),
    /// and returns once the link carries frames again.
    ///
    /// # Errors
    ///
    /// [`Error::Netlink`] if the kernel refuses, [`Error::Timeout`] if the link does not come up.
    pub fn mend(&self) -> Result<(), Error> {
        netlink::set_bridge(&self.switch, &self.name, self.bridge)?;
        netlink::set_up(&self.switch, &self.name)?;
        netlink::set_up(&self.namespace, &self.interface)?;
        wait_for(
            &format!("the link of {} coming up", self.name),
            LINK_UP,
            || self.is_ready().transpose(),
        )?
    }

    /// `Some` once the link is up, with its link-local address, and with no address that is not
    /// usable yet.
    fn is_ready(&self) -> Result<Option<()>, Error> {
        for (namespace, interface) in [
            (&self.switch, &self.name),
            (&self.namespace, &self.interface),
        ] {
            if !netlink::link(namespace, interface)?.up {
                return Ok(None);
            }
        }
        let addresses = netlink::addresses(&self.namespace, &self.interface)?;
        let ready = addresses
            .iter()
            .any(|address| address.prefix.addr() == self.link_local())
            && !addresses.iter().any(|address| address.tentative);
        Ok(ready.then_some(()))
    }
}

pub(crate) fn parse(text: &str) -> Result<IpNet, Error> {
    text.parse().map_err(|source| Error::Address {
        text: text.into(),
        source,
    })
}
