//! The floor of sending: prepared octets, by the same kind of socket, at the same pace, and nothing
//! else. Also the cost of a packet socket, which bypasses routing and the host's firewall.

use std::{
    io::IoSlice,
    net::SocketAddrV4,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use nix::{
    cmsg_space, libc,
    net::if_::if_nametoindex,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg},
};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_benches::{Error, ready};
use vrrp_net::FrameSocket;
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, Family, GROUP_IPV4, IP_PROTOCOL, Interval,
    MessageAuthentication, Priority, TTL, Vrid,
    frame::{ethernet, ipv4, multicast_mac, virtual_mac},
};

use vrrp_benches::side_by_side::case::{Case, Side, interface, source, virtual_address};

/// Messages in one system call, as many as the driver puts there.
const BATCH: usize = 64;

/// By a raw socket.
pub(crate) fn run(case: Case, priority: u8) -> Result<(), Error> {
    let socket = Socket::new(
        Domain::IPV4,
        Type::RAW,
        Some(Protocol::from(i32::from(IP_PROTOCOL))),
    )?;
    socket.set_multicast_ttl_v4(TTL.into())?;
    socket.set_multicast_loop_v4(false)?;
    // The socket is not read.
    socket.set_recv_buffer_size(0)?;
    let batches = batches(case, priority)?;
    let batches: Vec<(_, Vec<_>)> = batches
        .iter()
        .map(|(info, messages)| {
            let parts = messages.iter().map(|octets| [IoSlice::new(octets)]);
            (info, parts.collect())
        })
        .collect();
    let destination = Some(SockaddrIn::from(SocketAddrV4::new(GROUP_IPV4, 0)));
    let destinations = [destination; BATCH];
    let control = cmsg_space!(libc::in_pktinfo);
    let mut headers = MultiHeaders::preallocate(BATCH, Some(control));

    in_every_interval(case, || {
        for (info, parts) in &batches {
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut headers,
                parts,
                &destinations[..parts.len()],
                [ControlMessage::Ipv4PacketInfo(info)],
                MsgFlags::MSG_DONTWAIT,
            )?;
            if sent.count() < parts.len() {
                return Err("the kernel did not take a whole batch".into());
            }
        }
        Ok(())
    })
}

/// By a packet socket, as frames from the virtual MACs.
pub(crate) fn run_with_frames(case: Case, priority: u8) -> Result<(), Error> {
    let socket = FrameSocket::open()?;
    let mut frames = Vec::new();
    for (info, messages) in batches(case, priority)? {
        let interface = info.ipi_ifindex.cast_unsigned();
        let source = u32::from_be(info.ipi_spec_dst.s_addr).into();
        let header = ipv4::Header::advertisement(source, GROUP_IPV4);
        for message in messages {
            let vrid = message.get(1).copied().and_then(Vrid::new).ok_or("VRID")?;
            let ethernet = ethernet::header(
                multicast_mac(GROUP_IPV4.into()),
                virtual_mac(vrid, Family::Ipv4),
                ethernet::IPV4,
            );
            let ip = header.encode(message.len())?;
            frames.push((interface, [&ethernet[..], &ip, &message].concat()));
        }
    }
    in_every_interval(case, || {
        let mut refused = None;
        socket.send(
            frames
                .iter()
                .map(|(interface, frame)| (*interface, &frame[..])),
            |_, error| refused = Some(error),
        );
        refused.map_or(Ok(()), |error| Err(error.into()))
    })
}

/// Sends all adverts of an interval at once, so that there is only one time to wait for.
fn in_every_interval(case: Case, mut send: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let stopped = Arc::new(AtomicBool::new(false));
    ready({
        let stopped = Arc::clone(&stopped);
        move || stopped.store(true, Ordering::Relaxed)
    })?;
    let mut next = Instant::now();
    while !stopped.load(Ordering::Relaxed) {
        send()?;
        next += case.interval();
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Up to 64 messages that leave by one interface.
type Batch = (libc::in_pktinfo, Vec<Vec<u8>>);

fn batches(case: Case, priority: u8) -> Result<Vec<Batch>, Error> {
    let places: Vec<(u8, u8)> = case.places().collect();
    places
        .chunk_by(|(cable, _), (other, _)| cable == other)
        .flat_map(|places| places.chunks(BATCH))
        .map(|places| {
            let &[(cable, _), ..] = places else {
                return Err("a batch of nothing".into());
            };
            let source = source(Side::Active, cable);
            let info = libc::in_pktinfo {
                ipi_ifindex: if_nametoindex(interface(cable).as_str())?.cast_signed(),
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(source.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let messages = places.iter().map(|&(cable, vrid)| {
                let address = [virtual_address(cable, vrid)];
                let advertisement = Advertisement {
                    vrid: Vrid::try_from(vrid)?,
                    priority: Priority::new(priority),
                    interval: Interval::centis(case.interval)?,
                    authentication: MessageAuthentication::None,
                    addresses: Addresses::from(&address[..]),
                };
                let mut octets = vec![0; advertisement.encoded_len()];
                let endpoints = Endpoints::multicast(source.into());
                advertisement.encode(&mut octets, &endpoints, ChecksumForm::default())?;
                Ok(octets)
            });
            Ok((info, messages.collect::<Result<_, Error>>()?))
        })
        .collect()
}
