//! The authentication state of a simulated host: keys and sequences.

use alloc::vec::Vec;
use core::time::Duration;

use vrrp_proto::{
    AuthenticationFault, DecodeOptions, Endpoints, LocalAuthentication, MessageAuthentication,
    OutOfRange, Password, Protection, TRAILER_LEN,
    ah::{self, IP_PROTOCOL},
    frame::ipv4,
    hmac::{self, AntiReplay, UtcTime},
};

use super::Packet;
use crate::Instant;

/// The secrets of a host for [IP AH](LocalAuthentication::IpAh) and the [HMAC
/// trailer](LocalAuthentication::Hmac). By default all hosts have the same secrets. A [password in
/// clear text](LocalAuthentication::SimpleText) is in the [`Member`](crate::fleet::Member).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Secrets {
    /// The key of IP AH.
    pub ah: Password,
    /// The only key of the trailer, with the id 1.
    pub hmac: [u8; 32],
    /// The replay protection of the trailer. Default [`AntiReplay::Monotonic`].
    pub anti_replay: AntiReplay,
    /// Whether messages are sent with a trailer. A host that does not sign still verifies: with
    /// [`HmacIfPresent`](LocalAuthentication::HmacIfPresent), the first step of a migration.
    /// Default true.
    pub signs: bool,
    /// The distance by which the host's clock is ahead of the time of day, which the trailer
    /// contains. Default zero.
    pub clock_ahead: Duration,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            ah: Password::truncating(b"simulate"),
            hmac: *b"a key of a simulated network ...",
            anti_replay: AntiReplay::Monotonic,
            signs: true,
            clock_ahead: Duration::ZERO,
        }
    }
}

/// The most senders whose sequences a virtual router remembers.
const SENDERS: usize = 255;

/// The keys made of the [`Secrets`] of a host.
pub(super) struct Keyring {
    ah: ah::Key,
    hmac: [hmac::Key; 1],
    anti_replay: AntiReplay,
    signs: bool,
    clock_ahead: Duration,
}

/// The sequences of a virtual router of a host. A restarted host has new ones.
pub(super) enum Authenticator {
    /// No sequences.
    None,
    SimpleText(Password),
    Ah {
        sequence: ah::SendSequence,
        window: ah::ReplayWindow,
        /// The identification of the last IPv4 header.
        identification: u16,
    },
    Hmac {
        sequence: hmac::SendSequence,
        /// A place for every sender, as in the driver.
        marks: hmac::ReplayMarks<Vec<Option<hmac::Mark>>>,
    },
}

/// The data of a packet to remember after it has passed every check.
#[derive(Clone, Copy)]
pub(super) enum Proof {
    Nothing,
    Ah { sequence: u32 },
    Hmac(hmac::Verified),
}

impl Keyring {
    const ID: u8 = 1;

    pub(super) fn new(secrets: &Secrets) -> Result<Self, OutOfRange> {
        Ok(Self {
            ah: ah::Key::new(secrets.ah),
            hmac: [hmac::Key::new(Self::ID, &secrets.hmac)?],
            anti_replay: secrets.anti_replay,
            signs: secrets.signs,
            clock_ahead: secrets.clock_ahead,
        })
    }

    fn hmac(&self) -> Option<hmac::Keys<'_>> {
        hmac::Keys::new(&self.hmac, Self::ID).ok()
    }

    /// Returns the time of the host's clock.
    fn utc(&self, now: Instant) -> UtcTime {
        /// The first second of 2026, in which the simulation begins.
        const BEGINNING: Duration = Duration::from_secs(1_767_225_600);
        let shown = BEGINNING + (now - Instant::ZERO) + self.clock_ahead;
        UtcTime::new(shown.as_secs(), shown.subsec_nanos())
    }
}

impl Authenticator {
    pub(super) fn new(authentication: &LocalAuthentication) -> Self {
        match authentication {
            LocalAuthentication::None => Self::None,
            LocalAuthentication::SimpleText(password) => Self::SimpleText(*password),
            LocalAuthentication::IpAh => Self::Ah {
                sequence: ah::SendSequence::default(),
                window: ah::ReplayWindow::default(),
                identification: 0,
            },
            LocalAuthentication::Hmac | LocalAuthentication::HmacIfPresent => Self::Hmac {
                sequence: hmac::SendSequence::default(),
                marks: hmac::ReplayMarks::default(),
            },
        }
    }

    /// Whether it has sequences.
    pub(super) const fn counts(&self) -> bool {
        matches!(self, Self::Ah { .. } | Self::Hmac { .. })
    }

    /// Returns the authentication field of a version 2 message.
    pub(super) const fn in_message(&self) -> MessageAuthentication {
        match self {
            Self::SimpleText(password) => MessageAuthentication::SimpleText(*password),
            Self::Ah { .. } => MessageAuthentication::IpAh,
            Self::None | Self::Hmac { .. } => MessageAuthentication::None,
        }
    }

    /// Protects a message. Returns `None` if that is impossible: the message is not sent.
    pub(super) fn protect(&mut self, keyring: &Keyring, packet: &mut Packet) -> Option<()> {
        match self {
            Self::None | Self::SimpleText(_) => {}
            Self::Hmac { .. } if !keyring.signs => {}
            Self::Ah {
                sequence,
                identification,
                ..
            } => {
                let Endpoints::Ipv4 {
                    source,
                    destination,
                } = packet.ip.endpoints
                else {
                    return None;
                };
                *identification = identification.wrapping_add(1).max(1);
                let header = ipv4::Header {
                    protocol: IP_PROTOCOL,
                    identification: *identification,
                    ..ipv4::Header::advertisement(source, destination)
                };
                let sealed = keyring.ah.seal(&header, &packet.octets, sequence.next()?);
                packet.ah = Some(sealed.ok()?);
            }
            Self::Hmac { sequence, .. } => {
                let number = sequence.next(keyring.utc(packet.sent), keyring.anti_replay);
                let length = packet.octets.len();
                packet.octets.resize(length + TRAILER_LEN, 0);
                let endpoints = &packet.ip.endpoints;
                let signed = keyring
                    .hmac()?
                    .append(&mut packet.octets, length, endpoints, number);
                signed.ok()?;
            }
        }
        Some(())
    }

    /// Verifies a packet.
    pub(super) fn prove(
        &self,
        keyring: &Keyring,
        now: Instant,
        packet: &Packet,
        decode: DecodeOptions,
    ) -> Result<Proof, AuthenticationFault> {
        match self {
            Self::Ah { window, .. } => {
                let Some(header) = &packet.ah else {
                    return Ok(Proof::Nothing);
                };
                let whole = [&header[..], &packet.octets].concat();
                let Ok(packet) = ipv4::Packet::parse(&whole) else {
                    return Ok(Proof::Nothing);
                };
                let sequence = keyring.ah.open(&packet)?.sequence;
                window.check(sequence)?;
                Ok(Proof::Ah { sequence })
            }
            Self::Hmac { marks, .. } => {
                let signed = hmac::Signed::find(&packet.octets, &packet.ip, &decode);
                let (Some(signed), Some(keys)) = (signed, keyring.hmac()) else {
                    return Ok(Proof::Nothing);
                };
                let clock = keyring.utc(now);
                let verified = keys.verify(&signed, &packet.ip, clock, keyring.anti_replay)?;
                marks.check(&verified, clock, keyring.anti_replay)?;
                Ok(Proof::Hmac(verified))
            }
            Self::None | Self::SimpleText(_) => Ok(Proof::Nothing),
        }
    }

    /// Remembers a packet that has passed every check.
    pub(super) fn accept(&mut self, proof: Proof) {
        match (self, proof) {
            (
                Self::Ah {
                    sequence, window, ..
                },
                Proof::Ah { sequence: highest },
            ) => {
                window.accept(highest);
                sequence.continue_above(highest);
            }
            (Self::Hmac { marks, .. }, Proof::Hmac(verified)) => {
                marks.make_room(&verified, SENDERS);
                marks.accept(&verified);
            }
            _ => {}
        }
    }
}

impl Proof {
    /// Whether a copy of the packet can be detected.
    pub(super) const fn is_unique(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

impl From<Proof> for Protection {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::Nothing => Self::None,
            Proof::Ah { .. } => Self::Ah,
            Proof::Hmac(verified) => verified.into(),
        }
    }
}
