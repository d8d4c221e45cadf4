//! One Ethernet address and the IP addresses behind it, on smoltcp.

use core::net::IpAddr;

use smoltcp::{
    config::IFACE_MAX_ADDR_COUNT,
    iface::{Config, Interface, MulticastError, SocketSet},
    phy::{self, Device, DeviceCapabilities, Medium},
    time,
    wire::{EthernetAddress, HardwareAddress, IpCidr},
};
use vrrp_fsm::Instant;
use vrrp_proto::frame::{MacAddress, ethernet};

/// Where frames go.
pub(crate) type Send<'a> = &'a mut dyn FnMut(&[u8]);

/// Octets of the longest frame.
pub(crate) const MAX_FRAME_LEN: usize = ethernet::HEADER_LEN + 1500;

/// smoltcp's stack: it answers pings, and ARP and neighbor discovery.
pub(crate) struct Stack(Interface);

impl Stack {
    /// The most addresses that a stack can have.
    pub(crate) const MAX_ADDRESSES: usize = IFACE_MAX_ADDR_COUNT;

    /// Creates a stack with the first [`MAX_ADDRESSES`](Self::MAX_ADDRESSES) of these addresses. It
    /// belongs to their solicited-node groups.
    pub(crate) fn new(now: Instant, mac: MacAddress, addresses: &[IpCidr]) -> Self {
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        let mut wire = Wire {
            received: None,
            send: &mut |_| {},
        };
        let mut interface = Interface::new(config, &mut wire, time_of(now));
        interface.update_ip_addrs(|own| own.extend(addresses.iter().copied().take(own.capacity())));
        Self(interface)
    }

    /// Joins a multicast group, and reports that to the switches.
    pub(crate) fn join(&mut self, group: IpAddr) -> Result<(), MulticastError> {
        self.0.join_multicast_group(group)
    }

    /// Handles a frame, if there is one, and sends its answers and the frames that are due.
    pub(crate) fn poll(&mut self, now: Instant, received: Option<&[u8]>, send: Send<'_>) {
        let mut wire = Wire { received, send };
        let mut no_sockets = SocketSet::new([]);
        self.0.poll(time_of(now), &mut wire, &mut no_sockets);
    }
}

/// smoltcp counts microseconds. Its own `Instant::now` would follow every step of the wall clock.
fn time_of(now: Instant) -> time::Instant {
    let micros = now.as_nanos() / 1000;
    time::Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// A device with one frame in it, or none.
struct Wire<'a> {
    received: Option<&'a [u8]>,
    send: Send<'a>,
}

impl Device for Wire<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sender<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: time::Instant) -> Option<(Received<'_>, Sender<'_>)> {
        let frame = self.received.take()?;
        Some((Received(frame), Sender(self.send)))
    }

    fn transmit(&mut self, _: time::Instant) -> Option<Sender<'_>> {
        Some(Sender(self.send))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME_LEN;
        capabilities
    }
}

struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

struct Sender<'a>(Send<'a>);

impl phy::TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut buffer = [0; MAX_FRAME_LEN];
        // smoltcp respects the capabilities of the device, so a frame is never longer.
        let frame = &mut buffer[..length.min(MAX_FRAME_LEN)];
        let result = write(frame);
        (self.0)(frame);
        result
    }
}
