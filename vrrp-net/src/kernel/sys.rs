//! The crate's only unsafe code: system calls that the standard library and socket2 do not wrap.
#![allow(
    unsafe_code,
    reason = "the one place for it; each block says why it is sound"
)]

use std::{
    ffi::{CStr, c_int, c_uint},
    io,
    mem::{self, MaybeUninit, offset_of},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
    time::Duration,
};

use rustix::net::RecvFlags;
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

use crate::Error;

/// Address families as socket addresses have them. They are small numbers.
#[allow(clippy::cast_possible_truncation)]
mod address_family {
    pub(super) const IPV4: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
    pub(super) const IPV6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;
    pub(super) const PACKET: libc::sa_family_t = libc::AF_PACKET as libc::sa_family_t;
    pub(super) const NETLINK: libc::sa_family_t = libc::AF_NETLINK as libc::sa_family_t;
}

/// The most messages in one system call.
pub(crate) const BATCH: usize = 64;

/// The messages in one system call where few are waiting, as in most turns of a driver with few
/// routers. The headers of a whole batch take 17 KiB, which such a turn would load into a cold
/// cache.
pub(crate) const FEW: usize = 4;

/// The send buffer, in bytes of outgoing packets: enough for an advertisement from each of a
/// thousand virtual routers at once.
pub(crate) const SEND_BUFFER: usize = 1 << 20;

/// Room for the longest packet: IPv4 header with options, AH header, longest message and HMAC
/// trailer.
const PACKET_LEN: usize = 60 + 24 + vrrp_proto::MAX_MESSAGE_LEN + vrrp_proto::TRAILER_LEN;

/// Room for the control messages of a received packet: packet information and hop limit.
const RECEIVED_LEN: usize = 128;

/// Room for the control messages of a sent packet: the same, without others of the kernel.
const SENT_LEN: usize = 64;

/// Room for one datagram. It is not initialized, so only pages that datagrams have filled count as
/// memory of the process.
#[derive(Debug)]
pub(crate) struct DatagramBuffer(Box<[MaybeUninit<u8>]>);

impl DatagramBuffer {
    pub(crate) fn new(len: usize) -> Self {
        Self(Box::new_uninit_slice(len))
    }

    /// Receives a datagram, as far as there is room.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<&[u8]> {
        let received = rustix::net::recv(socket, &mut *self.0, RecvFlags::empty());
        let ((datagram, _room), _length) = received?;
        Ok(datagram)
    }
}

/// The kernel's control messages of one packet, back to back, each a header and its data.
#[repr(align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control<const ROOM: usize> {
    octets: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> Control<ROOM> {
    pub(crate) const EMPTY: Self = Self {
        octets: [0; ROOM],
        len: 0,
    };

    const WORD: usize = size_of::<usize>();
    const HEADER_LEN: usize = Self::WORD + 2 * size_of::<c_int>();

    /// A single control message.
    pub(crate) fn of(level: c_int, kind: c_int, data: &[u8]) -> Self {
        Self::EMPTY.and(level, kind, data)
    }

    /// Appends a control message. The kernel's layout is: total length, level, type, data, padded
    /// to a whole word. There is room for two messages.
    pub(crate) fn and(mut self, level: c_int, kind: c_int, data: &[u8]) -> Self {
        let len = Self::HEADER_LEN + data.len();
        if let Some(room) = self.octets.get_mut(self.len..self.len + len)
            && let Some((total, room)) = room.split_first_chunk_mut()
            && let Some((its_level, room)) = room.split_first_chunk_mut()
            && let Some((its_kind, room)) = room.split_first_chunk_mut()
        {
            *total = len.to_ne_bytes();
            *its_level = level.to_ne_bytes();
            *its_kind = kind.to_ne_bytes();
            room.copy_from_slice(data);
            self.len = (self.len + len.next_multiple_of(Self::WORD)).min(ROOM);
        }
        self
    }

    /// The data of the first message of this level and type.
    pub(crate) fn find(&self, level: c_int, kind: c_int) -> Option<&[u8]> {
        let mut rest = self.octets.get(..self.len)?;
        loop {
            let (len, after) = rest.split_first_chunk()?;
            let (its_level, after) = after.split_first_chunk()?;
            let (its_kind, _) = after.split_first_chunk()?;
            let len = usize::from_ne_bytes(*len);
            let data = rest.get(Self::HEADER_LEN..len)?;
            if (
                c_int::from_ne_bytes(*its_level),
                c_int::from_ne_bytes(*its_kind),
            ) == (level, kind)
            {
                return Some(data);
            }
            rest = rest.get(len.next_multiple_of(Self::WORD)..)?;
        }
    }
}

/// Room for received packets.
///
/// The bytes of the packets are memory that the kernel has zeroed: a page counts as memory of the
/// process once a packet was received there. So a program that receives one packet at a time takes
/// one page, and not 270 KiB.
pub(crate) struct Slots {
    /// [`PACKET_LEN`] bytes for each slot.
    octets: Box<[u8]>,
    heads: Box<[Head]>,
}

/// A received packet, apart from its bytes.
#[derive(Clone, Copy)]
struct Head {
    len: usize,
    truncated: bool,
    source: Source,
    control: Control<RECEIVED_LEN>,
}

/// A received packet with its control messages.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    octets: &'a [u8],
    head: &'a Head,
}

/// The socket address of a sender, as the kernel writes it: a `sockaddr_in6`, or something shorter.
#[derive(Clone, Copy)]
#[repr(align(4))]
struct Source([u8; size_of::<libc::sockaddr_in6>()]);

impl Source {
    const EMPTY: Self = Self([0; size_of::<libc::sockaddr_in6>()]);

    /// The octets of a field.
    fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        let field = self.0.get(offset..).and_then(<[u8]>::first_chunk);
        field.copied().unwrap_or([0; N])
    }
}

impl Head {
    const EMPTY: Self = Self {
        len: 0,
        truncated: false,
        source: Source::EMPTY,
        control: Control::EMPTY,
    };
}

impl Slots {
    /// Room for `room` packets, of which one call receives [`BATCH`] at most.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            octets: vec![0; room * PACKET_LEN].into(),
            heads: vec![Head::EMPTY; room].into(),
        }
    }

    /// The number of packets that there is room for.
    pub(crate) fn room(&self) -> usize {
        self.heads.len()
    }

    /// The first `count` packets.
    pub(crate) fn iter(&self, count: usize) -> impl Iterator<Item = Slot<'_>> {
        let octets = self.octets.chunks_exact(PACKET_LEN);
        let slots = octets.zip(&self.heads).take(count);
        slots.map(|(octets, head)| Slot { octets, head })
    }
}

impl<'a> Slot<'a> {
    /// The packet, if it was not truncated.
    pub(crate) fn packet(self) -> Option<&'a [u8]> {
        (!self.head.truncated).then(|| self.octets.get(..self.head.len))?
    }

    /// The sender's address, for sockets for IPv6 only.
    pub(crate) fn source(self) -> [u8; 16] {
        let source = &self.head.source;
        source.field(offset_of!(libc::sockaddr_in6, sin6_addr))
    }

    /// The index of the interface by which it came, for packet sockets only.
    pub(crate) fn link(self) -> u32 {
        let source = &self.head.source;
        u32::from_ne_bytes(source.field(offset_of!(libc::sockaddr_ll, sll_ifindex)))
    }

    pub(crate) const fn control(self) -> &'a Control<RECEIVED_LEN> {
        &self.head.control
    }
}

/// Message headers, each with the single part that it gets, to be filled in.
fn empty_messages<const N: usize>() -> ([libc::mmsghdr; N], [libc::iovec; N]) {
    // SAFETY: for both, zeros are valid: all pointers are null and all lengths zero.
    unsafe { (mem::zeroed(), mem::zeroed()) }
}

/// Receives the waiting packets, but no more than `limit`, and no more than there is room for.
/// Returns their number. Does not wait.
pub(crate) fn receive(fd: BorrowedFd<'_>, slots: &mut Slots, limit: usize) -> io::Result<usize> {
    if limit <= FEW {
        receive_batch::<FEW>(fd, slots)
    } else {
        receive_many(fd, slots)
    }
}

/// A function of its own, so that a call with few messages does not touch its large stack frame.
#[inline(never)]
fn receive_many(fd: BorrowedFd<'_>, slots: &mut Slots) -> io::Result<usize> {
    receive_batch::<BATCH>(fd, slots)
}

#[inline]
fn receive_batch<const N: usize>(fd: BorrowedFd<'_>, slots: &mut Slots) -> io::Result<usize> {
    let (mut messages, mut parts) = empty_messages::<N>();
    let mut count: c_uint = 0;
    let rooms = slots.octets.chunks_exact_mut(PACKET_LEN);
    let rooms = rooms.zip(slots.heads.iter_mut());
    for ((message, part), (octets, head)) in messages.iter_mut().zip(&mut parts).zip(rooms) {
        part.iov_base = octets.as_mut_ptr().cast();
        part.iov_len = octets.len();
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_name = (&raw mut head.source.0).cast();
        message.msg_hdr.msg_namelen = len_of::<libc::sockaddr_in6>();
        message.msg_hdr.msg_control = head.control.octets.as_mut_ptr().cast();
        message.msg_hdr.msg_controllen = RECEIVED_LEN;
        count += 1;
    }
    // SAFETY: `count` headers are filled in. Their pointers point to slots, which this function
    // holds exclusively until the call returns, and every length is that of its array.
    let received = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (message, head) in messages.iter().zip(&mut slots.heads).take(received) {
        head.len = message.msg_len as usize;
        head.truncated = message.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
        head.control.len = message.msg_hdr.msg_controllen;
    }
    Ok(received)
}

/// Receives a frame, as far as there is room for it, and the index of the interface by which it
/// came. Does not wait.
pub(crate) fn receive_frame<'a>(
    fd: BorrowedFd<'_>,
    buffer: &'a mut [u8],
) -> io::Result<(&'a [u8], u32)> {
    // SAFETY: for this structure of numbers, zeros are valid.
    let mut source: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut source_len = len_of::<libc::sockaddr_ll>();
    // SAFETY: both pointers point to memory that this function holds exclusively until the call
    // returns, and each length is that of the memory behind its pointer.
    let received = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            (&raw mut source).cast(),
            &raw mut source_len,
        )
    };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let frame = buffer.get(..length).unwrap_or_default();
    Ok((frame, source.sll_ifindex.cast_unsigned()))
}

/// The target of a packet or frame.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
    Link(libc::sockaddr_ll),
}

impl Target {
    /// An IPv4 address, in network order.
    pub(crate) const fn v4(address: [u8; 4]) -> Self {
        Self::V4(libc::sockaddr_in {
            sin_family: address_family::IPV4,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(address),
            },
            sin_zero: [0; 8],
        })
    }

    /// An IPv6 address. The scope matters for a link-local address only.
    pub(crate) const fn v6(address: [u8; 16], scope: u32) -> Self {
        Self::V6(sockaddr_in6(address, scope))
    }

    /// A link, for a frame that has its own header.
    pub(crate) const fn link(interface: u32, ethertype: [u8; 2]) -> Self {
        Self::Link(libc::sockaddr_ll {
            sll_family: address_family::PACKET,
            sll_protocol: u16::from_ne_bytes(ethertype),
            sll_ifindex: interface.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        })
    }

    fn as_raw(&mut self) -> (*mut libc::c_void, libc::socklen_t) {
        match self {
            Self::V4(address) => (ptr::from_mut(address).cast(), len_of::<libc::sockaddr_in>()),
            Self::V6(address) => (
                ptr::from_mut(address).cast(),
                len_of::<libc::sockaddr_in6>(),
            ),
            Self::Link(address) => (ptr::from_mut(address).cast(), len_of::<libc::sockaddr_ll>()),
        }
    }
}

const fn sockaddr_in6(address: [u8; 16], scope: u32) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: address_family::IPV6,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address },
        sin6_scope_id: scope,
    }
}

/// A packet or frame to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Departure<'a> {
    pub(crate) target: Target,
    pub(crate) control: Control<SENT_LEN>,
    pub(crate) octets: &'a [u8],
}

impl Departure<'_> {
    const NONE: Self = Self {
        target: Target::v4([0; 4]),
        control: Control::EMPTY,
        octets: &[],
    };
}

/// Sends everything, up to [`BATCH`] to a system call. A datagram that the kernel refuses is
/// skipped, and reported by its place in the order.
pub(crate) fn send_all<'a>(
    fd: BorrowedFd<'_>,
    departures: impl IntoIterator<Item = Departure<'a>>,
    mut refused: impl FnMut(usize, io::Error),
) {
    let mut departures = departures.into_iter();
    let Some(first) = departures.next() else {
        return;
    };
    // A turn of a driver with few routers has a single message.
    match departures.next() {
        None => send_batch::<1>(fd, &mut [first], 0, &mut refused),
        Some(second) => {
            let all = [first, second].into_iter().chain(departures);
            send_several(fd, all, &mut refused);
        }
    }
}

#[inline(never)]
fn send_several<'a>(
    fd: BorrowedFd<'_>,
    departures: impl Iterator<Item = Departure<'a>>,
    refused: &mut impl FnMut(usize, io::Error),
) {
    let mut departures = departures.peekable();
    let mut few = [Departure::NONE; FEW];
    let len = fill(&mut few, &mut departures);
    if departures.peek().is_none() {
        send_batch::<FEW>(fd, few.get_mut(..len).unwrap_or_default(), 0, refused);
    } else {
        send_many(fd, few.into_iter().chain(departures), refused);
    }
}

/// A function of its own, so that a call with few messages does not touch its large stack frame.
#[inline(never)]
fn send_many<'a>(
    fd: BorrowedFd<'_>,
    mut departures: impl Iterator<Item = Departure<'a>>,
    refused: &mut impl FnMut(usize, io::Error),
) {
    let mut batch = [Departure::NONE; BATCH];
    let mut sent = 0;
    loop {
        let len = fill(&mut batch, &mut departures);
        if len == 0 {
            return;
        }
        let part = batch.get_mut(..len).unwrap_or_default();
        send_batch::<BATCH>(fd, part, sent, refused);
        sent += len;
    }
}

/// Fills the room with departures in order, and returns their number.
fn fill<'a>(
    room: &mut [Departure<'a>],
    departures: &mut impl Iterator<Item = Departure<'a>>,
) -> usize {
    let mut len = 0;
    for (slot, departure) in room.iter_mut().zip(departures) {
        *slot = departure;
        len += 1;
    }
    len
}

/// Sends up to `N` departures, behind `sent` others.
#[inline]
fn send_batch<const N: usize>(
    fd: BorrowedFd<'_>,
    mut rest: &mut [Departure<'_>],
    mut sent: usize,
    refused: &mut impl FnMut(usize, io::Error),
) {
    while !rest.is_empty() {
        let done = match send::<N>(fd, rest) {
            Ok(done) => done,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                refused(sent, error);
                1
            }
        };
        sent += done;
        rest = rest.get_mut(done..).unwrap_or_default();
    }
}

/// Sends as many as the kernel takes at once, and returns their number. An error is that of the
/// first one.
#[inline]
fn send<const N: usize>(fd: BorrowedFd<'_>, departures: &mut [Departure<'_>]) -> io::Result<usize> {
    let (mut messages, mut parts) = empty_messages::<N>();
    let mut count: c_uint = 0;
    for ((message, part), departure) in messages.iter_mut().zip(&mut parts).zip(departures) {
        part.iov_base = departure.octets.as_ptr().cast_mut().cast();
        part.iov_len = departure.octets.len();
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        (message.msg_hdr.msg_name, message.msg_hdr.msg_namelen) = departure.target.as_raw();
        if departure.control.len > 0 {
            message.msg_hdr.msg_control = departure.control.octets.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = departure.control.len;
        }
        count += 1;
    }
    // SAFETY: `count` headers are filled in. Their pointers are to the departures, which outlive
    // the call, and every length is that of the memory behind its pointer. The kernel only reads
    // through them.
    let sent = unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sets an option whose value is an integer.
pub(crate) fn set_option(
    socket: &Socket,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            len_of::<c_int>(),
        )
    };
    check(result).map(drop)
}

/// A buffer of a socket.
#[derive(Clone, Copy)]
pub(crate) enum Buffer {
    Receive,
    Send,
}

/// Sets the size of a buffer, beyond the system's limit (`net.core.rmem_max`, `wmem_max`) where the
/// kernel allows it, and returns the size that the socket has now. Root in a user namespace is held
/// to the limit, whatever its capabilities.
pub(crate) fn set_buffer(socket: &Socket, buffer: Buffer, bytes: usize) -> Result<usize, Error> {
    const ACTION: &str = "set the size of a socket's buffer";
    let value = i32::try_from(bytes).unwrap_or(i32::MAX);
    let (forced, limited) = match buffer {
        Buffer::Receive => (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        Buffer::Send => (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    };
    let size = || match buffer {
        Buffer::Receive => socket.recv_buffer_size(),
        Buffer::Send => socket.send_buffer_size(),
    };
    set_option(socket, libc::SOL_SOCKET, forced, value)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, limited, value))
        .map_err(Error::os(ACTION))?;
    size().map_err(Error::os(ACTION))
}

/// Whether a socket that the calling thread opens is in the network namespace of this one. Kernels
/// before Linux 5.14 do not report the namespace, and the answer is then true.
pub(crate) fn is_in_namespace_of(socket: BorrowedFd<'_>) -> bool {
    let Ok(probe) = Socket::new(Domain::IPV4, Type::DGRAM, None) else {
        return true;
    };
    match (namespace(socket), namespace(probe.as_fd())) {
        (Some(its), Some(own)) => its == own,
        _ => true,
    }
}

/// The kernel's number for the network namespace of a socket.
fn namespace(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut cookie: u64 = 0;
    let mut len = len_of::<u64>();
    // SAFETY: the pointer and the length describe `cookie`, to which the kernel writes no more than
    // that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    check(result).ok().map(|_| cookie)
}

/// The process at the other end of a UNIX socket, as it was when it connected or listened. Its id
/// is 0 where this PID namespace does not contain it, a value that rustix cannot represent.
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = len_of::<libc::ucred>();
    // SAFETY: the pointer and the length describe `peer`, to which the kernel writes no more than
    // that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    check(result).map(|_| peer)
}

/// Binds a netlink socket, subscribed to these groups (a mask of `RTMGRP_*`).
pub(crate) fn bind_netlink(socket: &Socket, groups: u32) -> io::Result<()> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_storage has room and alignment for every socket address, and sockaddr_nl,
    // for which zeros are valid, is one; its length is given.
    let address = unsafe {
        let address = storage.view_as::<libc::sockaddr_nl>();
        address.nl_family = address_family::NETLINK;
        address.nl_groups = groups;
        SockAddr::new(storage, len_of::<libc::sockaddr_nl>())
    };
    socket.bind(&address)
}

/// Binds a packet socket to a type of frames, on all interfaces: from now on it receives them. It
/// no longer receives a type to which it was bound before.
pub(crate) fn bind_packet(socket: &Socket, ethertype: u16) -> io::Result<()> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_storage has room and alignment for every socket address, and sockaddr_ll,
    // for which zeros are valid, is one; its length is given.
    let address = unsafe {
        let address = storage.view_as::<libc::sockaddr_ll>();
        address.sll_family = address_family::PACKET;
        address.sll_protocol = ethertype.to_be();
        SockAddr::new(storage, len_of::<libc::sockaddr_ll>())
    };
    socket.bind(&address)
}

/// Waits until one of these can be read, or until `limit` is over; without a limit, for ever. A
/// signal ends the wait early. Returns which ones can be read or have an error.
pub(crate) fn wait_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    limit: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polls = fds.map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        // The value is less than 2^30. The field is an i32 on a 32-bit machine.
        tv_nsec: limit.subsec_nanos().cast_signed().into(),
    });
    // SAFETY: pointer and length are those of the array; the limit is null or points to a local;
    // the signal mask is null, which stands for no change.
    let result = unsafe {
        libc::ppoll(
            polls.as_mut_ptr(),
            N as libc::nfds_t,
            limit.as_ref().map_or(ptr::null(), ptr::from_ref),
            ptr::null(),
        )
    };
    match check(result) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(polls.map(|poll| poll.revents != 0)),
    }
}

/// Hands out the tokens of up to `N` descriptors in an epoll that can be read now, by
/// epoll_wait(2), which every kernel has. Returns their number.
pub(crate) fn epoll_now<const N: usize>(
    epoll: BorrowedFd<'_>,
    on: impl FnMut(u64),
) -> io::Result<usize> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; N];
    let room = c_int::try_from(N).unwrap_or(c_int::MAX);
    // SAFETY: the array has room for as many events as the call may write.
    let ready = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), room, 0) };
    let ready = usize::try_from(check(ready)?).unwrap_or_default();
    let reported = events.iter().take(ready);
    reported.map(|event| event.u64).for_each(on);
    Ok(ready)
}

/// The version of the kernel, such as 6.1.
pub(crate) fn kernel_version() -> Option<(u32, u32)> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Registers a descriptor with the runtime of tokio, to wait until it is readable.
#[cfg(feature = "tokio")]
pub(crate) fn register(
    descriptor: std::os::fd::OwnedFd,
) -> io::Result<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>> {
    use tokio::io::{Interest, unix::AsyncFd};
    // SAFETY: an `OwnedFd` has one descriptor, and keeps it open for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// The time on `CLOCK_MONOTONIC`, the clock behind [`std::time::Instant`], as a number that another
/// process can compare with its own.
pub(crate) fn monotonic_clock() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec. It fails for an unknown clock only, and every kernel
    // has this one.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The name of an interface in the namespace of the calling thread, if it has one.
pub(crate) fn interface_name(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the array has the length that the call asks for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: on success the call wrote a name with its final zero into the array.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}

/// The name of an interface for an error message.
pub(crate) fn describe_interface(index: u32) -> String {
    interface_name(index).unwrap_or_else(|| format!("interface {index}, which is gone"))
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// The size of a structure in this file. All of them are small.
#[allow(clippy::cast_possible_truncation)]
const fn len_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_datagrams_are_reported_in_order_however_many_there_are() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        // The kernel sends nothing to port 0.
        let departure = Departure {
            target: Target::v4([127, 0, 0, 1]),
            control: Control::EMPTY,
            octets: b"x",
        };
        for count in [0, 1, FEW, FEW + 1, BATCH, BATCH + 1, 3 * BATCH - 1] {
            let mut places = Vec::new();
            let departures = std::iter::repeat_n(departure, count);
            send_all(socket.as_fd(), departures, |place, _| places.push(place));
            assert!(places.iter().copied().eq(0..count), "{count}: {places:?}");
        }
    }

    #[test]
    fn control_messages_are_found_by_level_and_type() {
        let one = Control::<SENT_LEN>::of(1, 2, b"abc");
        assert_eq!(one.find(1, 2), Some(&b"abc"[..]));
        assert_eq!(one.find(1, 3), None);
        assert_eq!(one.find(2, 2), None);

        let both = one.and(3, 4, b"defghijk");
        assert_eq!(both.find(1, 2), Some(&b"abc"[..]));
        assert_eq!(both.find(3, 4), Some(&b"defghijk"[..]));
    }

    #[test]
    fn broken_control_messages_end_the_search() {
        let good = Control::<SENT_LEN>::of(1, 2, b"abc");
        for len in 0..good.len {
            let cut = Control::<SENT_LEN> { len, ..good };
            let found = cut.find(1, 2);
            assert!(
                found.is_none() || len >= Control::<SENT_LEN>::HEADER_LEN + 3,
                "{len}"
            );
        }
        // A length of zero would make no progress; one beyond the end would read outside the
        // buffer.
        for wrong in [0, 1, usize::MAX, SENT_LEN + 1] {
            let mut broken = good;
            broken.octets[..Control::<SENT_LEN>::WORD].copy_from_slice(&wrong.to_ne_bytes());
            assert_eq!(broken.find(9, 9), None);
        }
    }
}
