//! Many virtual routers in one.

use std::{net::IpAddr, time::Duration};

use vrrp_fsm::{
    Config, Instant,
    fleet::{Member, RouterId, VrrpRouter},
};
use vrrp_proto::{IpHeader, Protection, Vrid};

use crate::{
    Error, Repeat,
    codec::Message,
    deadlines::shuffled,
    index::{Index, Key},
    repeat,
};

/// The number of virtual routers, and of those on one interface.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// All of them.
    pub routers: u32,
    /// 1 to 255.
    pub per_interface: u32,
}

/// A fleet whose routers were started one after the other, in an order that looks random, within
/// one interval.
///
/// # Errors
///
/// If a router cannot be added.
pub fn fleet(message: &Message, shape: Shape, exact: bool) -> Result<VrrpRouter, Error> {
    let Shape {
        routers,
        per_interface,
    } = shape;
    let mut fleet = if exact {
        VrrpRouter::with_capacity(routers as usize, 0)
    } else {
        VrrpRouter::new()
    };
    let primary_address = match message.ip.endpoints.source() {
        IpAddr::V4(source) => IpAddr::V4((source.to_bits() + 1).into()),
        IpAddr::V6(source) => IpAddr::V6((source.to_bits() + 1).into()),
    };
    let family = message.advertisement.addresses.family();
    let mut ids = Vec::new();
    for number in 0..routers {
        let vrid = u8::try_from(number % per_interface + 1)?;
        let mut config = Config::new(Vrid::new(vrid).ok_or("VRID")?, family);
        config.interval = message.advertisement.interval;
        let member = Member::new(number / per_interface, config);
        ids.push(fleet.add(Instant::ZERO, member)?);
    }
    let pause = message.advertisement.interval.as_duration() / routers;
    let mut now = Instant::ZERO;
    for number in shuffled(routers) {
        now = now + pause;
        fleet.startup(now, ids[number as usize], primary_address)?;
    }
    while fleet.poll_action().is_some() {}
    Ok(fleet)
}

/// All work of a fleet of Backups on a message: find the router, decode, check, step, and return
/// the next timeout. Each router receives from its Active once in an interval, in a phase of its
/// own.
///
/// # Errors
///
/// If a router cannot be added, or does not accept its message.
pub fn receives(message: &Message, shape: Shape) -> Result<Repeat, Error> {
    let Shape { routers, .. } = shape;
    let mut fleet = fleet(message, shape, true)?;
    let ip = message.ip;
    let arrivals = Arrivals::new(message, shape)?;
    let interval = message.advertisement.interval.as_duration();
    let start = Instant::ZERO + interval;
    for turn in 0..arrivals.order.len() {
        let (interface, _, octets) = arrivals.get(turn);
        fleet.handle_packet(start, interface, &ip, octets, Protection::None)?;
    }
    let pause = interval / routers;
    let state = (fleet, start, 0);
    Ok(repeat(state, move |(fleet, now, turn)| {
        *now = *now + pause;
        let (interface, _, octets) = arrivals.get(*turn);
        *turn = (*turn + 1) % arrivals.order.len();
        let result = fleet.handle_packet(*now, interface, &ip, octets, Protection::None);
        (result.is_ok(), fleet.poll_timeout())
    }))
}

/// The same with an index other than the fleet's, for packets whose second octet is the VRID.
///
/// # Errors
///
/// As for [`receives`].
pub fn receives_by<I: Index + 'static>(message: &Message, shape: Shape) -> Result<Repeat, Error> {
    let Shape {
        routers,
        per_interface,
    } = shape;
    let mut fleet = fleet(message, shape, true)?;
    let keys: Vec<Key> = (0..routers)
        .map(|number| {
            Ok((
                number / per_interface,
                u8::try_from(number % per_interface + 1)?,
            ))
        })
        .collect::<Result<_, Error>>()?;
    let index = I::new(&keys);
    let ip = message.ip;
    let arrivals = Arrivals::new(message, shape)?;
    let interval = message.advertisement.interval.as_duration();
    let start = Instant::ZERO + interval;
    for turn in 0..arrivals.order.len() {
        let (_, number, octets) = arrivals.get(turn);
        let id = Some(RouterId::nth(number));
        fleet.handle_packet_for(start, id, &ip, octets, Protection::None)?;
    }
    let pause = interval / routers;
    let state = (fleet, index, start, 0);
    Ok(repeat(state, move |(fleet, index, now, turn)| {
        *now = *now + pause;
        let (interface, _, octets) = arrivals.get(*turn);
        *turn = (*turn + 1) % arrivals.order.len();
        let key_of = |number| {
            let key = fleet.key(RouterId::nth(number))?;
            Some((key.interface, key.vrid.get()))
        };
        let vrid = octets.get(1).copied().unwrap_or(0);
        let id = index.find((interface, vrid), key_of).map(RouterId::nth);
        let result = fleet.handle_packet_for(*now, id, &ip, octets, Protection::None);
        (result.is_ok(), fleet.poll_timeout())
    }))
}

/// Packets for all routers, in an order that looks random. As from one receive buffer, the packet
/// is in the cache, and the router is not.
struct Arrivals {
    /// One for each VRID.
    packets: Vec<Vec<u8>>,
    /// The numbers of the routers.
    order: Vec<u32>,
    per_interface: u32,
}

impl Arrivals {
    fn new(message: &Message, shape: Shape) -> Result<Self, Error> {
        let packets = (1..=shape.per_interface).map(|vrid| packet(message, u8::try_from(vrid)?));
        Ok(Self {
            packets: packets.collect::<Result<_, Error>>()?,
            order: shuffled(shape.routers),
            per_interface: shape.per_interface,
        })
    }

    /// Returns the interface, the number of the router, and the message.
    fn get(&self, turn: usize) -> (u32, u32, &[u8]) {
        let number = self.order[turn];
        let octets = &self.packets[(number % self.per_interface) as usize];
        (number / self.per_interface, number, octets)
    }
}

/// All work of a fleet of Actives for an advertisement: serve the timer, and return the action.
///
/// # Errors
///
/// If a router cannot be added.
pub fn advertises(message: &Message, shape: Shape) -> Result<Repeat, Error> {
    let mut fleet = fleet(message, shape, true)?;
    // Until all have taken over and have no announcements left.
    let quiet = fleet.poll_timeout().unwrap_or(Instant::MAX) + Duration::from_secs(10);
    while let Some(at) = fleet.poll_timeout().filter(|at| *at < quiet) {
        fleet.handle_timeout(at);
        while fleet.poll_action().is_some() {}
    }
    Ok(repeat(fleet, |fleet| {
        if let Some(at) = fleet.poll_timeout() {
            fleet.handle_timeout(at);
        }
        fleet.poll_action()
    }))
}

/// The message, for another virtual router.
fn packet(message: &Message, vrid: u8) -> Result<Vec<u8>, Error> {
    let mut advertisement = message.advertisement;
    advertisement.vrid = Vrid::new(vrid).ok_or("VRID")?;
    let mut octets = vec![0; advertisement.encoded_len()];
    let form = vrrp_proto::ChecksumForm::MessageOnly;
    let IpHeader { endpoints, .. } = message.ip;
    let length = advertisement.encode(&mut octets, &endpoints, form)?;
    octets.truncate(length);
    Ok(octets)
}
