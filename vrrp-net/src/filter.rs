//! What the kernel lets through to a socket.

use std::io;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGT, BPF_JMP,
    BPF_K, BPF_LD, BPF_LDX, BPF_MEM, BPF_MISC, BPF_MSH, BPF_RET, BPF_RSH, BPF_ST, BPF_TAX, BPF_W,
    BPF_X, sock_filter,
};
use socket2::{SockFilter, Socket};
use vrrp_proto::{
    Vrid,
    frame::{ethernet, ipv6, neighbor},
};

/// Bits of a word of the set.
const WORD: u32 = u32::BITS;

/// Words of the set.
const WORDS: u32 = 256 / WORD;

/// A set of VRIDs.
///
/// ```
/// use vrrp_net::VridSet;
/// use vrrp_proto::Vrid;
///
/// let vrid = Vrid::new(51).ok_or("a VRID is 1 to 255")?;
/// let mut set = VridSet::default();
/// set.insert(vrid);
/// assert!(set.contains(vrid));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VridSet([u32; WORDS as usize]);

impl VridSet {
    /// Adds a VRID.
    pub fn insert(&mut self, vrid: Vrid) {
        if let Some(word) = self.0.get_mut(place(vrid)) {
            *word |= bit(vrid);
        }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, vrid: Vrid) -> bool {
        self.0
            .get(place(vrid))
            .is_some_and(|word| word & bit(vrid) != 0)
    }
}

impl FromIterator<Vrid> for VridSet {
    fn from_iter<I: IntoIterator<Item = Vrid>>(vrids: I) -> Self {
        let mut set = Self::default();
        for vrid in vrids {
            set.insert(vrid);
        }
        set
    }
}

fn place(vrid: Vrid) -> usize {
    usize::from(vrid.get()) / WORD as usize
}

fn bit(vrid: Vrid) -> u32 {
    1 << (u32::from(vrid.get()) % WORD)
}

/// Where a packet begins, as the socket's filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the IPv4 header.
    Ipv4,
    /// With the IPv4 header, behind which is an IP AH header.
    #[cfg(feature = "ah")]
    Ipv4Ah,
    /// With the message: raw sockets for IPv6 do not see what is before it.
    Message,
}

/// The VRID is the second octet of a message.
const VRID: u32 = 1;

/// Where the filter keeps something for later.
const SCRATCH: u32 = 0;

/// The classic BPF program that lets through what is for a VRID of the set, whole, and nothing else. What is too short to have a VRID
/// is dropped by the kernel as it reads beyond its end.
pub(crate) fn program(start: Start, set: &VridSet) -> Vec<sock_filter> {
    let drop = statement(BPF_RET | BPF_K, 0);
    let mut program = match start {
        Start::Message => vec![statement(BPF_LD | BPF_B | BPF_ABS, VRID)],
        Start::Ipv4 => vec![ipv4_header_len(), statement(BPF_LD | BPF_B | BPF_IND, VRID)],
        #[cfg(feature = "ah")]
        Start::Ipv4Ah => vec![
            ipv4_header_len(),
            // AH has other uses on this host: its first octet says what is inside.
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
    // To the word: past the other comparisons, and past two instructions for each word before it.
    for number in 0..WORDS {
        let others = WORDS - 1 - number;
        program.push(jump_if_equal(number, others + 2 * number, 0));
    }
    // A = the word, then to what is behind the words.
    for (number, word) in (0..).zip(set.0) {
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

/// Where the kernel has the type of a frame (`SKF_AD_OFF + SKF_AD_PKTTYPE`).
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();

/// Lets through the frames whose values, each read by an instruction, are the wanted ones. What is not for this host, but heard in
/// promiscuous mode, or is sent by it, is left out.
fn frames<const N: usize>(wanted: [(sock_filter, u32); N]) -> Vec<sock_filter> {
    let drop = statement(BPF_RET | BPF_K, 0);
    let mut program = vec![
        statement(BPF_LD | BPF_B | BPF_ABS, PACKET_TYPE),
        // For this host alone, by broadcast, or by multicast; then those of others.
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

/// The classic BPF program that lets through the neighbor solicitations among IPv6 frames: without extension headers, which Neighbor
/// Discovery does not use.
pub(crate) fn neighbor_solicitations() -> Vec<sock_filter> {
    let header = offset(ethernet::HEADER_LEN);
    let octet = |at| statement(BPF_LD | BPF_B | BPF_ABS, header + at);
    frames([
        (octet(6), neighbor::NEXT_HEADER.into()),
        (octet(offset(ipv6::HEADER_LEN)), 135),
    ])
}

/// The classic BPF program that lets through what rtnetlink tells of routes with this mark (`rtm_protocol`), and everything of other kinds
/// than these two of routes: so a host with a million routes does not wake up for those of others.
pub(crate) fn marked_routes(kinds: [u16; 2], mark: u8) -> [sock_filter; 7] {
    // A program reads numbers in network order, whatever the order in which they were written.
    let [added, removed] = kinds.map(|kind| u16::from_be_bytes(kind.to_ne_bytes()).into());
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

/// Has a socket receive what a program lets through, and nothing else.
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

/// Jumps over so many instructions if A is `k`, else over so many others.
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

    /// Runs a program as the kernel's interpreter does, over the instructions that there are here: the number of octets to let through.
    fn run(program: &[sock_filter], packet: &[u8]) -> u32 {
        let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0; 16]);
        let mut next = 0;
        loop {
            let sock_filter { code, jt, jf, k } = program[next];
            next += 1;
            let octet = |offset: u32| packet.get(offset as usize).copied().map(u32::from);
            let code = u32::from(code);
            if code == BPF_RET | BPF_K {
                return k;
            } else if code == BPF_LD | BPF_B | BPF_ABS {
                let Some(octet) = octet(k) else { return 0 };
                a = octet;
            } else if code == BPF_LD | BPF_B | BPF_IND {
                let Some(octet) = octet(x + k) else { return 0 };
                a = octet;
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

    /// The packet that has this VRID, with an IPv4 header of so many words if it begins with one.
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
        fn the_filter_lets_through_what_is_in_the_set_and_nothing_else(
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

    #[test]
    fn what_else_comes_inside_ah_is_dropped() {
        let set: VridSet = (1..=255).filter_map(Vrid::new).collect();
        let program = program(Start::Ipv4Ah, &set);
        let mut packet = packet(Start::Ipv4Ah, 5, 51);
        assert_eq!(run(&program, &packet), u32::MAX);
        packet[20] = 6;
        assert_eq!(run(&program, &packet), 0);
    }
}
