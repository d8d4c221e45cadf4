//! An ICMP echo request.

use std::net::IpAddr;

use ipvs_netlink::pool::Outcome;
use serde::Deserialize;

use super::{Source, source::refusal};

/// The bytes of a header, RFC 792 and RFC 4443.
const HEADER: usize = 8;
/// The random bytes by which an answer is recognised.
const NONCE: usize = 16;

/// An ICMP echo request (RFC 792, RFC 4443). The port of the target has no meaning.
///
/// It uses a socket of ICMP datagrams where `net.ipv4.ping_group_range` allows it, and otherwise a
/// raw socket, which needs `CAP_NET_RAW`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Icmp {
    /// The local side; its port has no meaning.
    pub source: Source,
}

impl Icmp {
    pub(super) async fn attempt(&self, target: IpAddr) -> Result<Outcome, Outcome> {
        let (socket, is_raw) = self.source.echoes(target)?;
        let nonce: [u8; NONCE] = std::array::from_fn(|_| fastrand::u8(..));
        let (request, reply) = if target.is_ipv4() { (8, 0) } else { (128, 129) };
        let sent = socket.send(&message(request, &nonce)).await;
        sent.map_err(|error| refusal(&error))?;
        let mut buffer = [0; 2048];
        loop {
            let received = socket.recv(&mut buffer).await;
            let length = received.map_err(|error| refusal(&error))?;
            let mut answer = buffer.get(..length).unwrap_or_default();
            if is_raw && target.is_ipv4() {
                answer = behind_ipv4_header(answer);
            }
            if answer.first() == Some(&reply) && answer.get(HEADER..) == Some(&nonce) {
                return Ok(Outcome::SUCCESS);
            }
        }
    }
}

/// An echo request. On a socket of datagrams the kernel replaces the identifier and the checksum,
/// and on any socket the checksum of ICMPv6.
fn message(kind: u8, nonce: &[u8; NONCE]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(fastrand::u16(..).to_be_bytes());
    message.extend(1_u16.to_be_bytes());
    message.extend(nonce);
    let sum = checksum(&message);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The Internet checksum, RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).map_or(0, |sum| !sum)
}

fn behind_ipv4_header(packet: &[u8]) -> &[u8] {
    let words = packet.first().map_or(0, |first| first & 0xf);
    packet.get(usize::from(words) * 4..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_request_makes_its_sum_zero() {
        let message = message(8, &[0xa5; NONCE]);
        assert_eq!(message.len(), HEADER + NONCE);
        assert_eq!(checksum(&message), 0);
    }

    #[test]
    fn the_options_of_an_ipv4_header_are_skipped() {
        let mut packet = vec![0x46; 24];
        packet.extend([1, 2]);
        assert_eq!(behind_ipv4_header(&packet), [1, 2]);
        assert!(behind_ipv4_header(&[]).is_empty());
    }
}
