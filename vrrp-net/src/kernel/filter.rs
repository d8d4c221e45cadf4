//! The kernel's filters for sockets.

use std::{collections::BTreeSet, io, net::IpAddr};

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT,
    BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_LSH, BPF_MEM, BPF_MISC, BPF_MSH, BPF_OR, BPF_RET, BPF_RSH,
    BPF_ST, BPF_TAX, BPF_W, BPF_X, RTA_DST, RTM_DELROUTE, RTM_NEWROUTE, sock_filter,
};
use socket2::{SockFilter, Socket};
use vrrp_proto::{
    Vrid,
    frame::{ethernet, ipv6, neighbor},
};

use super::{
    rtnetlink::Prefix,
    vrid_set::{VridSet, WORD, WORDS},
};

/// The beginning of a packet, as the socket's filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The IPv4 header.
    Ipv4,
    /// The IPv4 header, followed by an IP AH header.
    #[cfg(feature = "ah")]
    Ipv4Ah,
    /// The message: raw sockets for IPv6 do not see the headers before it.
    Message,
}

/// The VRID is the second octet of a message.
const VRID: u32 = 1;

/// The type of a message about a next hop that is gone, which libc does not name.
const RTM_DELNEXTHOP: u16 = 105;

/// The place where the filter keeps a value for later.
const SCRATCH: u32 = 0;

/// The classic BPF program that passes packets for a VRID of the set, whole, and nothing else. The
/// kernel drops packets that are too short for a VRID, because the program reads beyond their end.
pub(crate) fn program(start: Start, set: &VridSet) -> Vec<sock_filter> {
    let drop = statement(BPF_RET | BPF_K, 0);
    let mut program = match start {
        Start::Message => vec![statement(BPF_LD | BPF_B | BPF_ABS, VRID)],
        Start::Ipv4 => vec![ipv4_header_len(), statement(BPF_LD | BPF_B | BPF_IND, VRID)],
        #[cfg(feature = "ah")]
        Start::Ipv4Ah => vec![
            ipv4_header_len(),
            // AH may have other uses on this host. Its first octet is the protocol inside.
            statement(BPF_LD | BPF_B | BPF_IND, 0),
            jump_if_equal(vrrp_proto::IP_PROTOCOL.into(), 1, 0),
            drop,
            statement(
                BPF_LD | BPF_B | BPF_IND,
                offset(vrrp_proto::ah::HEADER_LEN) + VRID,
            ),
        ],
    };
    // X = the VRID's bit, A = the number of its word.
    program.extend([
        statement(BPF_ST, SCRATCH),
        statement(BPF_ALU | BPF_AND | BPF_K, WORD - 1),
        statement(BPF_MISC | BPF_TAX, 0),
        statement(BPF_LD | BPF_W | BPF_MEM, SCRATCH),
        statement(BPF_ALU | BPF_RSH | BPF_K, WORD.ilog2()),
    ]);
    // Jumps to the word: past the other comparisons, and past two instructions for each word before
    // it.
    for number in 0..WORDS {
        let others = WORDS - 1 - number;
        program.push(jump_if_equal(number, others + 2 * number, 0));
    }
    // A = the word, then jump behind the words.
    for (number, word) in (0..).zip(set.words()) {
        let others = WORDS - 1 - number;
        program.extend([
            statement(BPF_LD | BPF_IMM, word),
            statement(BPF_JMP | BPF_JA, 2 * others),
        ]);
    }
    program.extend([
        statement(BPF_ALU | BPF_RSH | BPF_X, 0),
        statement(BPF_ALU | BPF_AND | BPF_K, 1),
        jump_if_equal(0, 0, 1),
        drop,
        statement(BPF_RET | BPF_K, u32::MAX),
    ]);
    program
}

/// The offset at which the kernel gives the index of a packet's interface
/// (`SKF_AD_OFF + SKF_AD_IFINDEX`).
const INTERFACE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_IFINDEX).cast_unsigned();

/// The classic BPF program of a packet socket for IPv4 that lets through VRRP, plain or inside AH,
/// for these virtual routers, each an interface and a VRID; for all where this is `None`. Frames
/// for other hosts and outgoing ones are left out.
///
/// It runs for every IPv4 packet of the host, so the protocol comes first.
pub(crate) fn vrrp_on_links(routers: Option<&BTreeSet<(u32, Vrid)>>) -> Vec<sock_filter> {
    /// The offset of the protocol in an IPv4 header.
    const PROTOCOL: u32 = 9;
    /// IP AH, and the length of its header before the message.
    const AH: u32 = 51;
    const AH_LEN: u32 = 24;
    const VRID_BITS: u32 = 8;
    let drop = statement(BPF_RET | BPF_K, 0);
    let vrrp = u32::from(vrrp_proto::IP_PROTOCOL);
    let mut program = vec![
        statement(BPF_LD | BPF_B | BPF_ABS, PROTOCOL),
        jump_if_equal(vrrp, 2, 0),
        jump_if_equal(AH, 4, 0),
        drop,
        ipv4_header_len(),
        statement(BPF_LD | BPF_B | BPF_IND, VRID),
        statement(BPF_JMP | BPF_JA, 5),
        ipv4_header_len(),
        statement(BPF_LD | BPF_B | BPF_IND, 0),
        jump_if_equal(vrrp, 1, 0),
        drop,
        statement(BPF_LD | BPF_B | BPF_IND, AH_LEN + VRID),
        // A = the VRID.
        statement(BPF_ST, SCRATCH),
        statement(BPF_LD | BPF_B | BPF_ABS, PACKET_TYPE),
        instruction(
            BPF_JMP | BPF_JGT | BPF_K,
            libc::PACKET_MULTICAST.into(),
            [0, 1],
        ),
        drop,
    ];
    let Some(routers) = routers else {
        program.push(statement(BPF_RET | BPF_K, u32::MAX));
        return program;
    };
    program.extend([
        statement(BPF_LD | BPF_W | BPF_ABS, INTERFACE),
        statement(BPF_ALU | BPF_LSH | BPF_K, VRID_BITS),
        statement(BPF_LDX | BPF_MEM, SCRATCH),
        statement(BPF_ALU | BPF_OR | BPF_X, 0),
    ]);
    let keys: Vec<u32> = routers
        .iter()
        .map(|(interface, vrid)| interface << VRID_BITS | u32::from(vrid.get()))
        .collect();
    program.extend(search(&keys));
    program
}

/// Passes a packet if A is one of these numbers, which are in ascending order, by a binary search.
fn search(numbers: &[u32]) -> Vec<sock_filter> {
    let (low, high) = numbers.split_at(numbers.len() / 2);
    let (Some(_), [middle, ..]) = (low.first(), high) else {
        let mut leaf = Vec::new();
        for number in numbers {
            leaf.push(jump_if_equal(*number, 0, 1));
            leaf.push(statement(BPF_RET | BPF_K, u32::MAX));
        }
        leaf.push(statement(BPF_RET | BPF_K, 0));
        return leaf;
    };
    let lower = search(low);
    let mut program = vec![
        instruction(BPF_JMP | BPF_JGE | BPF_K, *middle, [0, 1]),
        // Jumps of a comparison are short, and this one may be long.
        statement(BPF_JMP | BPF_JA, u32::try_from(lower.len()).unwrap_or(0)),
    ];
    program.extend(lower);
    program.extend(search(high));
    program
}

/// The offset that makes the kernel search for the netlink attribute of type X, from A on
/// (`SKF_AD_OFF + SKF_AD_NLATTR`).
const ATTRIBUTE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR).cast_unsigned();

/// The offset at which the kernel gives the type of a frame (`SKF_AD_OFF + SKF_AD_PKTTYPE`).
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();

/// Passes the frames whose values, each read by an instruction, are the wanted ones. Frames for
/// other hosts, received in promiscuous mode, and frames sent by this host are left out.
fn frames<const N: usize>(wanted: [(sock_filter, u32); N]) -> Vec<sock_filter> {
    let drop = statement(BPF_RET | BPF_K, 0);
    let mut program = vec![
        statement(BPF_LD | BPF_B | BPF_ABS, PACKET_TYPE),
        // The types of frames for this host alone, by broadcast, and by multicast come before the
        // others.
        instruction(
            BPF_JMP | BPF_JGT | BPF_K,
            libc::PACKET_MULTICAST.into(),
            [0, 1],
        ),
        drop,
    ];
    for (load, value) in wanted {
        program.extend([load, jump_if_equal(value, 1, 0), drop]);
    }
    program.push(statement(BPF_RET | BPF_K, u32::MAX));
    program
}

/// The classic BPF program that lets through the ARP requests among ARP frames.
pub(crate) fn arp_requests() -> Vec<sock_filter> {
    let operation = offset(ethernet::HEADER_LEN) + 6;
    frames([(statement(BPF_LD | BPF_H | BPF_ABS, operation), 1)])
}

/// The classic BPF program that lets through the neighbor solicitations among IPv6 frames: without
/// extension headers, which Neighbor Discovery does not use.
pub(crate) fn neighbor_solicitations() -> Vec<sock_filter> {
    let header = offset(ethernet::HEADER_LEN);
    let octet = |at| statement(BPF_LD | BPF_B | BPF_ABS, header + at);
    frames([
        (octet(6), neighbor::NEXT_HEADER.into()),
        (octet(offset(ipv6::HEADER_LEN)), 135),
    ])
}

/// The classic BPF program that passes rtnetlink notifications of routes with this mark
/// (`rtm_protocol`), and all notifications that are not about routes. So the program does not wake
/// up for routes of other programs, of which there may be a million.
pub(crate) fn marked_routes(mark: u8) -> [sock_filter; 7] {
    let [added, removed] = [RTM_NEWROUTE, RTM_DELROUTE].map(as_read);
    [
        // Length, type, flags, sequence number, sender; then family, three octets, table, protocol.
        statement(BPF_LD | BPF_H | BPF_ABS, 4),
        jump_if_equal(added, 1, 0),
        jump_if_equal(removed, 0, 2),
        statement(BPF_LD | BPF_B | BPF_ABS, 16 + 5),
        jump_if_equal(mark.into(), 0, 1),
        statement(BPF_RET | BPF_K, u32::MAX),
        statement(BPF_RET | BPF_K, 0),
    ]
}

/// The classic BPF program that passes rtnetlink notifications of routes to these prefixes, in any
/// table, and of next hops that are gone. Of a longer IPv6 prefix it compares the first four octets
/// only, so it also passes a few others.
pub(crate) fn routes_to<'a>(prefixes: impl IntoIterator<Item = &'a Prefix>) -> Vec<sock_filter> {
    // The offset of the routing message, behind length, type, flags, sequence number and sender,
    // and the offset of its attributes.
    const MESSAGE: u32 = 16;
    const ATTRIBUTES: u32 = MESSAGE + 12;
    const START: u32 = SCRATCH + 1;
    // AF_INET and AF_INET6.
    const IPV4: u8 = 2;
    const IPV6: u8 = 10;
    let [added, removed, hop_removed] = [RTM_NEWROUTE, RTM_DELROUTE, RTM_DELNEXTHOP].map(as_read);
    let pass = statement(BPF_RET | BPF_K, u32::MAX);
    let drop = statement(BPF_RET | BPF_K, 0);
    let mut program = vec![
        statement(BPF_LD | BPF_H | BPF_ABS, 4),
        jump_if_equal(hop_removed, 0, 1),
        pass,
        jump_if_equal(added, 2, 0),
        jump_if_equal(removed, 1, 0),
        drop,
        // Family and length of the prefix.
        statement(BPF_LD | BPF_H | BPF_ABS, MESSAGE),
        statement(BPF_ST, SCRATCH),
        // The offset of the destination. 0 where there is none, as in a default route.
        statement(BPF_LDX | BPF_IMM, RTA_DST.into()),
        statement(BPF_LD | BPF_IMM, ATTRIBUTES),
        statement(BPF_LD | BPF_W | BPF_ABS, ATTRIBUTE),
        jump_if_equal(0, 2, 0),
        statement(BPF_MISC | BPF_TAX, 0),
        statement(BPF_LD | BPF_W | BPF_IND, 4),
        statement(BPF_ST, START),
    ];
    let distinguish = |prefix: &Prefix| match prefix.destination {
        IpAddr::V4(it) => (u16::from_be_bytes([IPV4, prefix.len]), it.to_bits()),
        IpAddr::V6(it) => {
            let [first, second, ..] = it.segments();
            let start = u32::from(first) << 16 | u32::from(second);
            (u16::from_be_bytes([IPV6, prefix.len]), start)
        }
    };
    let wanted: BTreeSet<_> = prefixes.into_iter().map(distinguish).collect();
    for (kind, start) in wanted {
        program.extend([
            statement(BPF_LD | BPF_W | BPF_MEM, SCRATCH),
            jump_if_equal(kind.into(), 0, 3),
            statement(BPF_LD | BPF_W | BPF_MEM, START),
            jump_if_equal(start, 0, 1),
            pass,
        ]);
    }
    program.push(drop);
    program
}

/// A number in the host's byte order, as a program reads it: in network order, whatever order it
/// was written in.
fn as_read(number: u16) -> u32 {
    u16::from_be_bytes(number.to_ne_bytes()).into()
}

/// Attaches a program to a socket, which then receives only the packets that the program passes.
pub(crate) fn attach(socket: &Socket, program: &[sock_filter]) -> io::Result<()> {
    let program: Vec<SockFilter> = program
        .iter()
        .map(|step| SockFilter::new(step.code, step.jt, step.jf, step.k))
        .collect();
    socket.attach_filter(&program)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "headers have less than a hundred octets"
)]
const fn offset(header_len: usize) -> u32 {
    header_len as u32
}

/// X = the length of the IPv4 header that the packet begins with.
fn ipv4_header_len() -> sock_filter {
    statement(BPF_LDX | BPF_B | BPF_MSH, 0)
}

fn statement(code: u32, k: u32) -> sock_filter {
    instruction(code, k, [0, 0])
}

/// Jumps over `equal` instructions if A is `k`, otherwise over `different` ones.
fn jump_if_equal(k: u32, equal: u32, different: u32) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, k, [equal, different])
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "codes have 8 bits; no jump here is longer than the program, of less than 50 instructions"
)]
fn instruction(code: u32, k: u32, [jt, jf]: [u32; 2]) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: jt as u8,
        jf: jf as u8,
        k,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a program as the kernel's interpreter does, for the instructions that are used here.
    /// Returns the number of octets to let through.
    fn run(program: &[sock_filter], packet: &[u8]) -> u32 {
        run_on(program, packet, 0, 0)
    }

    /// The same for a frame of this type (`PACKET_HOST` and so on) that came by this interface.
    fn run_on(program: &[sock_filter], packet: &[u8], packet_type: u32, interface: u32) -> u32 {
        let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0; 16]);
        let mut next = 0;
        loop {
            let sock_filter { code, jt, jf, k } = program[next];
            next += 1;
            let octet = |offset: u32| packet.get(offset as usize).copied().map(u32::from);
            let code = u32::from(code);
            if code == BPF_RET | BPF_K {
                return k;
            } else if code == BPF_LD | BPF_B | BPF_ABS && k == PACKET_TYPE {
                a = packet_type;
            } else if code == BPF_LD | BPF_W | BPF_ABS && k == INTERFACE {
                a = interface;
            } else if code == BPF_LDX | BPF_MEM {
                x = memory[k as usize];
            } else if code == BPF_ALU | BPF_LSH | BPF_K {
                a <<= k;
            } else if code == BPF_ALU | BPF_OR | BPF_X {
                a |= x;
            } else if code == BPF_JMP | BPF_JGE | BPF_K {
                next += usize::from(if a >= k { jt } else { jf });
            } else if code == BPF_JMP | BPF_JGT | BPF_K {
                next += usize::from(if a > k { jt } else { jf });
            } else if code == BPF_LD | BPF_B | BPF_ABS {
                let Some(octet) = octet(k) else { return 0 };
                a = octet;
            } else if code == BPF_LD | BPF_B | BPF_IND {
                let Some(octet) = octet(x + k) else { return 0 };
                a = octet;
            } else if code == BPF_LD | BPF_H | BPF_ABS {
                let [Some(high), Some(low)] = [octet(k), octet(k + 1)] else {
                    return 0;
                };
                a = high << 8 | low;
            } else if code == BPF_LD | BPF_W | BPF_ABS && k == ATTRIBUTE {
                a = attribute(packet, a, x);
            } else if code == BPF_LD | BPF_W | BPF_IND {
                let start = (x + k) as usize;
                let Some(word) = packet.get(start..).and_then(|it| it.first_chunk()) else {
                    return 0;
                };
                a = u32::from_be_bytes(*word);
            } else if code == BPF_LDX | BPF_IMM {
                x = k;
            } else if code == BPF_LDX | BPF_B | BPF_MSH {
                let Some(octet) = octet(k) else { return 0 };
                x = (octet & 0xf) * 4;
            } else if code == BPF_LD | BPF_IMM {
                a = k;
            } else if code == BPF_LD | BPF_W | BPF_MEM {
                a = memory[k as usize];
            } else if code == BPF_ST {
                memory[k as usize] = a;
            } else if code == BPF_MISC | BPF_TAX {
                x = a;
            } else if code == BPF_ALU | BPF_AND | BPF_K {
                a &= k;
            } else if code == BPF_ALU | BPF_RSH | BPF_K {
                a >>= k;
            } else if code == BPF_ALU | BPF_RSH | BPF_X {
                a >>= x;
            } else if code == BPF_JMP | BPF_JA {
                next += k as usize;
            } else if code == BPF_JMP | BPF_JEQ | BPF_K {
                next += usize::from(if a == k { jt } else { jf });
            } else {
                panic!("instruction {code:#x}");
            }
        }
    }

    /// The offset of the attribute of a type, searched from `at` on, or 0.
    fn attribute(packet: &[u8], mut at: u32, kind: u32) -> u32 {
        while let Some([a, b, c, d]) = packet
            .get(at as usize..)
            .and_then(<[u8]>::first_chunk)
            .copied()
        {
            if u32::from(u16::from_ne_bytes([c, d])) == kind {
                return at;
            }
            at += u32::from(u16::from_ne_bytes([a, b])).next_multiple_of(4);
        }
        0
    }

    /// An rtnetlink notification of a route, behind another attribute.
    fn notifications(kind: u16, destination: IpAddr, len: u8) -> Vec<u8> {
        let mut message = vec![0; 28];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        let (family, octets) = match destination {
            IpAddr::V4(it) => (libc::AF_INET, it.octets().to_vec()),
            IpAddr::V6(it) => (libc::AF_INET6, it.octets().to_vec()),
        };
        message[16..18].copy_from_slice(&[u8::try_from(family).unwrap(), len]);
        let mut attribute = |kind: u16, value: &[u8]| {
            let length = u16::try_from(4 + value.len()).unwrap();
            message.extend(length.to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend(value);
        };
        attribute(15, &254_u32.to_ne_bytes());
        // The kernel leaves the destination of a default route out.
        if len > 0 {
            attribute(RTA_DST, &octets);
        }
        message
    }

    #[test]
    fn notifications_of_wanted_prefixes_pass_and_no_others() {
        let prefixes = [
            ("0.0.0.0", 0),
            ("203.0.113.0", 24),
            ("2001:db8::", 32),
            ("2001:db8:1::", 48),
        ];
        let others = [
            ("::", 0),
            ("203.0.113.0", 25),
            ("203.0.112.0", 24),
            ("2001:db9::", 32),
            ("2001:db9:1::", 48),
            // The four octets of another family.
            ("32.1.13.184", 32),
        ];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let wanted = prefixes.map(|(destination, len)| Prefix {
            table: 254,
            destination: ip(destination),
            len,
        });
        let program = routes_to(&wanted);
        for kind in [RTM_NEWROUTE, RTM_DELROUTE] {
            for (destination, len) in prefixes {
                let notifications = notifications(kind, ip(destination), len);
                assert_eq!(
                    run(&program, &notifications),
                    u32::MAX,
                    "{destination}/{len}"
                );
            }
            for (destination, len) in others {
                let notifications = notifications(kind, ip(destination), len);
                assert_eq!(run(&program, &notifications), 0, "{destination}/{len}");
            }
        }
        let next_hop = |kind| run(&program, &notifications(kind, ip("0.0.0.0"), 0));
        assert_eq!(next_hop(RTM_DELNEXTHOP), u32::MAX);
        assert_eq!(next_hop(RTM_DELNEXTHOP - 1), 0);
    }

    /// A packet with this VRID, with an IPv4 header of `header_words` words if it begins with one.
    fn packet(start: Start, header_words: u8, vrid: u8) -> Vec<u8> {
        let mut packet = Vec::new();
        if start != Start::Message {
            packet.resize(usize::from(header_words) * 4, 0xff);
            packet[0] = 0x40 | header_words;
        }
        #[cfg(feature = "ah")]
        if start == Start::Ipv4Ah {
            let ah = packet.len();
            packet.resize(ah + vrrp_proto::ah::HEADER_LEN, 0xff);
            packet[ah] = vrrp_proto::IP_PROTOCOL;
        }
        packet.extend([0x31, vrid]);
        packet
    }

    fn starts() -> impl Strategy<Value = Start> {
        prop_oneof![Just(Start::Ipv4), Just(Start::Ipv4Ah), Just(Start::Message)]
    }

    proptest! {
        #[test]
        fn the_filter_passes_vrids_of_the_set_and_nothing_else(
            start in starts(),
            members in proptest::collection::btree_set(1..=255_u8, 0..=255),
            header_words in 5..=15_u8,
        ) {
            let set: VridSet = members.iter().filter_map(|vrid| Vrid::new(*vrid)).collect();
            let program = program(start, &set);
            for vrid in 0..=255 {
                let packet = packet(start, header_words, vrid);
                let passes = run(&program, &packet);
                prop_assert_eq!(passes, if members.contains(&vrid) { u32::MAX } else { 0 });
                prop_assert_eq!(Vrid::new(vrid).is_some_and(|vrid| set.contains(vrid)), passes != 0);
                for len in 0..packet.len() {
                    prop_assert_eq!(run(&program, &packet[..len]), 0);
                }
            }
        }
    }

    /// An IPv4 packet of this protocol, with a header of `header_words` words.
    fn ipv4_packet(protocol: u8, header_words: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xff; usize::from(header_words) * 4];
        packet[0] = 0x40 | header_words;
        packet[9] = protocol;
        packet.extend(payload);
        packet
    }

    proptest! {
        #[test]
        fn the_link_filter_lets_through_vrrp_for_its_routers_and_nothing_else(
            routers in proptest::collection::btree_set((1..=40_u32, 1..=255_u8), 0..=60),
            header_words in 5..=15_u8,
        ) {
            let set: BTreeSet<_> = routers
                .iter()
                .filter_map(|(interface, vrid)| Some((*interface, Vrid::new(*vrid)?)))
                .collect();
            let program = vrrp_on_links(Some(&set));
            let others = (1..=40).map(|interface| (interface, 77));
            for (interface, vrid) in routers.iter().copied().chain(others) {
                let expected = if routers.contains(&(interface, vrid)) { u32::MAX } else { 0 };
                let plain = ipv4_packet(112, header_words, &[0x31, vrid]);
                let mut ah = vec![112; 24];
                ah.extend([0x21, vrid]);
                let sealed = ipv4_packet(51, header_words, &ah);
                for packet in [plain, sealed] {
                    prop_assert_eq!(run_on(&program, &packet, 0, interface), expected);
                    prop_assert_eq!(run_on(&program, &packet, 2, interface), expected);
                    // For another host, and outgoing.
                    prop_assert_eq!(run_on(&program, &packet, 3, interface), 0);
                    prop_assert_eq!(run_on(&program, &packet, 4, interface), 0);
                    prop_assert_eq!(run_on(&vrrp_on_links(None), &packet, 0, interface), u32::MAX);
                }
                let udp = ipv4_packet(17, header_words, &[0x31, vrid]);
                prop_assert_eq!(run_on(&program, &udp, 0, interface), 0);
                ah[0] = 6;
                let tcp_in_ah = ipv4_packet(51, header_words, &ah);
                prop_assert_eq!(run_on(&program, &tcp_in_ah, 0, interface), 0);
            }
        }
    }

    #[test]
    fn other_protocols_inside_ah_are_dropped() {
        let set: VridSet = (1..=255).filter_map(Vrid::new).collect();
        let program = program(Start::Ipv4Ah, &set);
        let mut packet = packet(Start::Ipv4Ah, 5, 51);
        assert_eq!(run(&program, &packet), u32::MAX);
        packet[20] = 6;
        assert_eq!(run(&program, &packet), 0);
    }
}
