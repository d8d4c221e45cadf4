//! The state that authentication needs between packets.

#[cfg(feature = "hmac")]
use std::net::IpAddr;

#[cfg(any(feature = "ah", feature = "hmac"))]
use vrrp_proto::AuthenticationFault;
use vrrp_proto::{Endpoints, LocalAuthentication, Password, Protection};

use super::{compact::CompactConfig, config::Authentication};
use crate::Received;

#[cfg(feature = "hmac")]
use super::config::{HmacKeys, HmacMode};
#[cfg(feature = "hmac")]
use vrrp_proto::{TRAILER_LEN, hmac};
#[cfg(feature = "ah")]
use vrrp_proto::{ah, frame::ipv4};

/// The most senders of one virtual router whose sequences are remembered. Only routers that have a
/// key count.
#[cfg(feature = "hmac")]
const SENDERS: usize = 255;

/// Protects messages, and verifies received ones.
#[derive(Debug)]
pub(super) enum Authenticator {
    None,
    SimpleText(Password),
    // The states are in boxes, because most routers have neither.
    #[cfg(feature = "ah")]
    Ah(Box<Ah>),
    #[cfg(feature = "hmac")]
    Hmac(Box<Hmac>),
}

/// The state of IP AH.
#[cfg(feature = "ah")]
#[derive(Debug)]
pub(super) struct Ah {
    key: ah::Key,
    sequence: ah::SendSequence,
    window: ah::ReplayWindow,
    /// The identification of the last IPv4 header; the kernel would replace a zero.
    identification: u16,
}

/// The state of HMAC trailers.
#[cfg(feature = "hmac")]
#[derive(Debug)]
pub(super) struct Hmac {
    keys: HmacKeys,
    sequence: hmac::SendSequence,
    /// One mark for every sender.
    marks: hmac::ReplayMarks<Vec<Option<hmac::Mark>>>,
}

/// The sequence numbers that the authentication of a router has sent and received, against replays.
///
/// A driver that takes over from another one continues them by itself. To continue them after the
/// end of all processes, store the value of [`Driver::sequences`](super::Driver::sequences) (it has
/// `serde` support), and pass it to
/// [`Driver::continue_sequences`](super::Driver::continue_sequences) before the first turn. Without
/// them (the default), peers discard the packets of a router with IP AH until it has sent more than
/// before or has received one of theirs; with HMAC, packets from before the restart can be replayed
/// to this router as long as they are in the window. With HMAC and
/// `AntiReplay::Time` they do not count after the clock has gone back by more than the window.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Sequences {
    /// The number of the last packet that was sent with IP AH; 0 for none.
    #[cfg(feature = "ah")]
    ah_sent: u32,
    /// The highest number that was received with IP AH; 0 for none.
    #[cfg(feature = "ah")]
    ah_received: u32,
    /// The sequence of the last message that was sent with an HMAC trailer; `None` for none.
    #[cfg(feature = "hmac")]
    hmac_sent: Option<hmac::Sequence>,
    /// The last sequence that was received from each sender with an HMAC trailer, the sender
    /// received most recently first.
    #[cfg(feature = "hmac")]
    hmac_received: Vec<(IpAddr, hmac::Sequence)>,
}

/// The part of a packet to remember once it has passed every check.
#[derive(Clone, Copy)]
pub(super) enum Proof {
    Nothing,
    #[cfg(feature = "ah")]
    Ah {
        sequence: u32,
    },
    #[cfg(feature = "hmac")]
    Hmac(hmac::Verified),
}

impl Authenticator {
    pub(super) fn new(authentication: &Authentication) -> Self {
        match authentication {
            Authentication::None => Self::None,
            Authentication::SimpleText(password) => Self::SimpleText(*password),
            #[cfg(feature = "ah")]
            Authentication::Ah(password) => Self::Ah(Box::new(Ah {
                key: ah::Key::new(*password),
                sequence: ah::SendSequence::default(),
                window: ah::ReplayWindow::default(),
                identification: 0,
            })),
            #[cfg(feature = "hmac")]
            Authentication::Hmac(keys) => Self::Hmac(Box::new(Hmac {
                keys: keys.clone(),
                sequence: hmac::SendSequence::default(),
                marks: hmac::ReplayMarks::default(),
            })),
        }
    }

    /// The sequence numbers so far.
    #[cfg_attr(not(any(feature = "ah", feature = "hmac")), allow(unused_mut))]
    pub(super) fn sequences(&self) -> Sequences {
        let mut sequences = Sequences::default();
        match self {
            #[cfg(feature = "ah")]
            Self::Ah(own) => {
                sequences.ah_sent = own.sequence.last();
                sequences.ah_received = own.window.highest();
            }
            #[cfg(feature = "hmac")]
            Self::Hmac(own) => {
                sequences.hmac_sent = own.sequence.last();
                sequences.hmac_received = own.marks.iter().collect();
            }
            _ => {}
        }
        sequences
    }

    /// Continues the sequence numbers of an earlier authenticator.
    #[cfg_attr(not(any(feature = "ah", feature = "hmac")), allow(unused_variables))]
    pub(super) fn go_on(&mut self, sequences: &Sequences) {
        match self {
            #[cfg(feature = "ah")]
            Self::Ah(own) => {
                own.sequence.continue_above(sequences.ah_sent);
                own.window.accept(sequences.ah_received);
            }
            #[cfg(feature = "hmac")]
            Self::Hmac(own) => {
                if let Some(sent) = sequences.hmac_sent {
                    own.sequence.continue_above(sent);
                }
                let highest = sequences.hmac_received.iter().copied().take(SENDERS);
                own.marks.reserve(highest.len());
                own.marks.restore(highest);
            }
            _ => {}
        }
    }

    /// The requirements of received messages.
    pub(super) fn local(&self) -> LocalAuthentication {
        match self {
            Self::None => LocalAuthentication::None,
            Self::SimpleText(password) => LocalAuthentication::SimpleText(*password),
            #[cfg(feature = "ah")]
            Self::Ah(_) => LocalAuthentication::IpAh,
            #[cfg(feature = "hmac")]
            Self::Hmac(own) => match own.keys.mode {
                HmacMode::Enforce => LocalAuthentication::Hmac,
                HmacMode::ReceiveOnly | HmacMode::Permissive => LocalAuthentication::HmacIfPresent,
            },
        }
    }

    /// The authentication type and data of a version 2 message.
    pub(super) fn in_message(&self) -> vrrp_proto::MessageAuthentication {
        match self {
            Self::SimpleText(password) => vrrp_proto::MessageAuthentication::SimpleText(*password),
            #[cfg(feature = "ah")]
            Self::Ah(_) => vrrp_proto::MessageAuthentication::IpAh,
            _ => vrrp_proto::MessageAuthentication::None,
        }
    }

    /// Whether messages are protected before they are sent.
    pub(super) fn protects(&self) -> bool {
        match self {
            Self::None | Self::SimpleText(_) => false,
            #[cfg(feature = "ah")]
            Self::Ah(_) => true,
            #[cfg(feature = "hmac")]
            Self::Hmac(own) => own.keys.mode != HmacMode::ReceiveOnly,
        }
    }

    /// Protects a message that is about to be sent; `packet` then has the octets to send in its
    /// place. `false` when the key is used up.
    #[cfg_attr(not(feature = "ah"), allow(unused_variables))]
    pub(super) fn protect(
        &mut self,
        endpoints: &Endpoints,
        ttl: u8,
        message: &[u8],
        packet: &mut Option<Vec<u8>>,
    ) -> bool {
        match self {
            Self::None | Self::SimpleText(_) => true,
            #[cfg(feature = "ah")]
            Self::Ah(own) => {
                let Ah {
                    key,
                    sequence,
                    identification,
                    ..
                } = &mut **own;
                *identification = identification.wrapping_add(1).max(1);
                let header = header(*endpoints, *identification, ttl);
                sequence
                    .next()
                    .zip(header)
                    .and_then(|(next, header)| seal(key, next, &header, message, packet))
                    .is_some()
            }
            #[cfg(feature = "hmac")]
            Self::Hmac(own) if own.keys.mode == HmacMode::ReceiveOnly => true,
            #[cfg(feature = "hmac")]
            Self::Hmac(own) => {
                let Hmac { keys, sequence, .. } = &mut **own;
                let sequence = sequence.next(utc_now(), keys.anti_replay);
                keys.keys().is_ok_and(|signer| {
                    sign(&signer, sequence, endpoints, message, packet).is_some()
                })
            }
        }
    }

    /// Verifies a received packet for a router of this configuration.
    #[cfg_attr(
        not(any(feature = "ah", feature = "hmac")),
        allow(unused_variables, clippy::missing_const_for_fn)
    )]
    #[inline]
    pub(super) fn verify(
        &self,
        received: &Received<'_>,
        config: &CompactConfig,
    ) -> (Protection, Proof) {
        match self {
            Self::None | Self::SimpleText(_) => (Protection::None, Proof::Nothing),
            #[cfg(any(feature = "ah", feature = "hmac"))]
            _ => self.verify_protected(received, config),
        }
    }

    #[cfg(any(feature = "ah", feature = "hmac"))]
    #[inline(never)]
    fn verify_protected(
        &self,
        received: &Received<'_>,
        config: &CompactConfig,
    ) -> (Protection, Proof) {
        match self.proof(received, config) {
            Ok(proof) => {
                let protection = match proof {
                    Proof::Nothing => Protection::None,
                    #[cfg(feature = "ah")]
                    Proof::Ah { .. } => Protection::Ah,
                    #[cfg(feature = "hmac")]
                    Proof::Hmac(verified) => verified.into(),
                };
                (protection, proof)
            }
            Err(fault) => (Protection::Failed(fault), Proof::Nothing),
        }
    }

    #[cfg(any(feature = "ah", feature = "hmac"))]
    #[cfg_attr(not(feature = "hmac"), allow(unused_variables))]
    fn proof(
        &self,
        received: &Received<'_>,
        config: &CompactConfig,
    ) -> Result<Proof, AuthenticationFault> {
        match self {
            #[cfg(feature = "ah")]
            Self::Ah(own) => {
                // The check refuses a message that came without AH.
                let Some(packet) = received
                    .ipv4
                    .filter(|packet| packet.protocol == ah::IP_PROTOCOL)
                else {
                    return Ok(Proof::Nothing);
                };
                let sequence = own.key.open(&packet)?.sequence;
                own.window.check(sequence)?;
                Ok(Proof::Ah { sequence })
            }
            #[cfg(feature = "hmac")]
            Self::Hmac(own) => {
                let Hmac { keys, marks, .. } = &**own;
                // The check refuses a message without a trailer.
                let options = config.decode_options();
                let signed = hmac::Signed::find(received.payload, &received.ip, &options);
                let (Some(signed), Ok(usable)) = (signed, keys.keys()) else {
                    return Ok(Proof::Nothing);
                };
                let now = utc_now();
                let verified = usable.verify(&signed, &received.ip, now, keys.anti_replay)?;
                marks.check(&verified, now, keys.anti_replay)?;
                Ok(Proof::Hmac(verified))
            }
            _ => Ok(Proof::Nothing),
        }
    }

    /// Remembers a packet that passed every check.
    pub(super) fn accept(&mut self, proof: Proof) {
        match (self, proof) {
            #[cfg(feature = "ah")]
            (Self::Ah(own), Proof::Ah { sequence }) => {
                own.window.accept(sequence);
                own.sequence.continue_above(sequence);
            }
            #[cfg(feature = "hmac")]
            (Self::Hmac(own), Proof::Hmac(verified)) => {
                own.marks.make_room(&verified, SENDERS);
                own.marks.accept(&verified);
            }
            _ => {}
        }
    }
}

/// The IPv4 header of a packet with AH. `None` over IPv6, where AH is not used.
#[cfg(feature = "ah")]
const fn header(endpoints: Endpoints, identification: u16, ttl: u8) -> Option<ipv4::Header> {
    match endpoints {
        Endpoints::Ipv4 {
            source,
            destination,
        } => Some(ipv4::Header {
            protocol: ah::IP_PROTOCOL,
            identification,
            ttl,
            ..ipv4::Header::advertisement(source, destination)
        }),
        Endpoints::Ipv6 { .. } => None,
    }
}

/// Makes the IPv4 packet that holds a message inside AH.
#[cfg(feature = "ah")]
fn seal(
    key: &ah::Key,
    sequence: u32,
    header: &ipv4::Header,
    message: &[u8],
    packet: &mut Option<Vec<u8>>,
) -> Option<()> {
    let prefix = key.seal(header, message, sequence).ok()?;
    let packet = packet.get_or_insert_with(|| Vec::with_capacity(prefix.len() + message.len()));
    packet.clear();
    packet.extend_from_slice(&prefix);
    packet.extend_from_slice(message);
    Some(())
}

/// Makes a copy of a message with its HMAC trailer.
#[cfg(feature = "hmac")]
fn sign(
    keys: &hmac::Keys<'_>,
    sequence: hmac::Sequence,
    endpoints: &Endpoints,
    message: &[u8],
    packet: &mut Option<Vec<u8>>,
) -> Option<()> {
    let len = message.len();
    let packet = packet.get_or_insert_with(|| vec![0; len + TRAILER_LEN]);
    packet.get_mut(..len)?.copy_from_slice(message);
    keys.append(packet, len, endpoints, sequence).ok()?;
    Some(())
}

/// The message in a received packet, before its authentication is verified.
pub(super) fn message_of<'a>(received: &Received<'a>) -> &'a [u8] {
    #[cfg(feature = "ah")]
    if received
        .ipv4
        .is_some_and(|packet| packet.protocol == ah::IP_PROTOCOL)
    {
        return received.payload.get(ah::HEADER_LEN..).unwrap_or_default();
    }
    received.payload
}

#[cfg(feature = "hmac")]
fn utc_now() -> hmac::UtcTime {
    // A clock before 1970 counts as 1970.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    hmac::UtcTime::new(now.as_secs(), now.subsec_nanos())
}
