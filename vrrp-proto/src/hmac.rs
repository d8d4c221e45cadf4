//! The HMAC-SHA256 trailer of draft-cassen-vrrp-auth-hmac, in the wire form of keepalived 2.4.2 and
//! later.
//!
//! Version 3 has no authentication (O-01), and the draft is no standard: the trailer is off by
//! default. It works with both versions and both families.
//!
//! # On the wire
//!
//! 28 octets follow the message inside the IP packet: scheme 1, key id, 16 zero bits, a 64-bit
//! sequence (32 bits of UTC seconds, 16 of binary fraction, 16 of counter) and the first 128 bits
//! of an HMAC-SHA256. The HMAC covers a pseudo-header (family 4 or 6, version, VRID, zero, source
//! address in 16 octets), the message with its checksum read as zero, and the trailer with its
//! digest read as zero. The destination is not covered: all unicast peers get the same trailer. The
//! VRRP checksum excludes the trailer over IPv4 and covers it over IPv6; [`append`](Keys::append)
//! updates it.
//!
//! # Limits of the scheme
//!
//! The sequence is the sender's clock, and a receiver keeps the highest one of each sender. With
//! [`AntiReplay::time`](AntiReplay::time) this means:
//!
//! * A sender that restarts with a clock that is behind or was set back starts below its last
//!   sequence. Receivers that know that sequence discard its messages until the clock has passed
//!   it.
//! * A clock that goes back within the window has no effect while the sender runs: it continues
//!   from its last sequence. If the clock goes back further, the sequence follows it, and receivers
//!   discard its messages as replays.
//! * A receiver that has just started knows no sequence, and accepts a replay that is not older
//!   than the window.
//! * A receiver whose clock goes back by more than the window ignores the sequences that it knows:
//!   it accepts a replay of the time to which its clock was set. Otherwise it would discard every
//!   message until its clock has passed them, after a step that corrects the clocks of all routers.
//!
//! The first and the third limit do not apply to a router that keeps its sequences across a
//! restart, unless its clock goes back by more than the window. It saves [`SendSequence::last`] and
//! [`ReplayMarks::iter`], and restores them with [`SendSequence::continue_above`] and
//! [`ReplayMarks::restore`]. [`Sequence`] has `serde` support. Routers whose clocks an attacker may
//! set back need [`AntiReplay::Monotonic`].
//!
//! The distance between two clocks is visible before packets are discarded:
//! [`Verified::clock_skew`] returns it once it exceeds half of the window, and
//! [`Mismatches::clock_skew`](crate::Mismatches::clock_skew) of an accepted message contains it
//! too.
//!
//! # Sending and receiving
//!
//! ```
//! use std::net::Ipv4Addr;
//! use vrrp_proto::{
//!     Addresses, Advertisement, ChecksumForm, DecodeOptions, Endpoints, Interval, IpHeader,
//!     MessageAuthentication, Priority, TTL, Vrid, hmac,
//! };
//!
//! let keys = [hmac::Key::new(1, b"thirty-two octets are the least.")?];
//! let keys = hmac::Keys::new(&keys, 1)?;
//! let anti_replay = hmac::AntiReplay::time(5)?;
//! let now = hmac::UtcTime::new(1_795_000_000, 250_000_000);
//!
//! // The sender.
//! let endpoints = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 11).into());
//! let own = [Ipv4Addr::new(192, 0, 2, 1)];
//! let advertisement = Advertisement {
//!     vrid: Vrid::new(51).ok_or("VRID")?,
//!     priority: Priority::DEFAULT,
//!     interval: Interval::DEFAULT_V3,
//!     authentication: MessageAuthentication::None,
//!     addresses: Addresses::from(&own[..]),
//! };
//! let mut sequence = hmac::SendSequence::default();
//! let mut buffer = [0; 64];
//! let length = advertisement.encode(&mut buffer, &endpoints, ChecksumForm::MessageOnly)?;
//! let length = keys.append(&mut buffer, length, &endpoints, sequence.next(now, anti_replay))?;
//!
//! // The receiver.
//! let mut marks: hmac::ReplayMarks = hmac::ReplayMarks::new();
//! let ip = IpHeader { endpoints, ttl: TTL };
//! let options = DecodeOptions { hmac_trailer: true, ..DecodeOptions::default() };
//! let signed = hmac::Signed::find(&buffer[..length], &ip, &options).ok_or("no trailer")?;
//! let verified = keys.verify(&signed, &ip, now, anti_replay)?;
//! marks.check(&verified, now, anti_replay)?;
//! let protection = vrrp_proto::Protection::from(verified);
//! // After the message has passed `Advertisement::decode` and `LocalRouter::check` with this
//! // `protection`:
//! marks.accept(&verified);
//! assert!(marks.check(&verified, now, anti_replay).is_err(), "the same packet again");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::{fmt, net::IpAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    AuthenticationFault, ClockSkew, DecodeOptions, EncodeError, Endpoints, Family, IpHeader,
    OutOfRange, Protection, TRAILER_LEN, advertisement::split_trailer, checksum::cover_appended,
    frame::collect,
};

/// The scheme: HMAC-SHA256, truncated to 128 bits.
const SCHEME: u8 = 1;

/// Octets of the trailer before the digest.
const PREFIX_LEN: usize = 12;

const DIGEST_LEN: usize = 16;

/// A key with its id. `Debug` does not show the key.
#[derive(Clone)]
pub struct Key {
    id: u8,
    state: Hmac<Sha256>,
    /// The octets of the key, padded with zeros, because `state` cannot return them.
    #[cfg(feature = "serde")]
    block: [u8; 64],
}

impl Key {
    /// Makes a key of an id, 1 to 255, and 32 to 64 octets.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn new(id: u8, octets: &[u8]) -> Result<Self, OutOfRange> {
        if id == 0 {
            return Err(OutOfRange {
                field: "key id",
                value: 0,
                lowest: 1,
                highest: 255,
            });
        }
        if octets.len() < 32 || octets.len() > 64 {
            let value = octets.len() as u64;
            return Err(OutOfRange {
                field: "key length",
                value,
                lowest: 32,
                highest: 64,
            });
        }
        // HMAC pads a key with zeros to the block of the hash, 64 octets.
        let block = collect::<64>(octets.iter().copied());
        Ok(Self {
            id,
            state: Hmac::new(&block.into()),
            #[cfg(feature = "serde")]
            block,
        })
    }

    /// Returns the id, which the trailer contains.
    #[must_use]
    pub const fn id(&self) -> u8 {
        self.id
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn block(&self) -> &[u8; 64] {
        &self.block
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The reason why a set of keys is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysError {
    /// Two keys have the same id.
    Twice {
        /// The id.
        id: u8,
    },
    /// No key has the id of the active key.
    NoActive {
        /// The id.
        id: u8,
    },
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { id } => write!(f, "key id {id} is used twice"),
            Self::NoActive { id } => write!(f, "active key id {id} is not among the keys"),
        }
    }
}

impl core::error::Error for KeysError {}

/// A message with an HMAC trailer, found in the payload of an IP packet before anything else is
/// checked.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    message: &'a [u8],
    /// The trailer before its digest.
    prefix: &'a [u8; PREFIX_LEN],
    /// The digest.
    tag: &'a [u8; DIGEST_LEN],
}

impl<'a> Signed<'a> {
    /// Finds the same trailer as [`Advertisement::decode`](crate::Advertisement::decode) with these
    /// options. Returns `None` if there is no trailer, if `options` do not allow one, if the header
    /// or the length of the message is wrong, and if the TTL is too low. Decoding reports the fault
    /// then.
    #[must_use]
    pub fn find(payload: &'a [u8], ip: &IpHeader, options: &DecodeOptions) -> Option<Self> {
        let (message, trailer) = split_trailer(payload, ip, *options)?;
        let (prefix, tag) = trailer.split_first_chunk()?;
        Some(Self {
            message,
            prefix,
            tag: tag.first_chunk()?,
        })
    }
}

/// The keys of a virtual router: all keys verify, and the active key signs. To replace a key, add
/// the new one to every router, then make it the active one everywhere, then remove the old one.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    keys: &'a [Key],
    active: &'a Key,
}

impl<'a> Keys<'a> {
    /// Uses these keys. The key with the id `active` signs.
    ///
    /// # Errors
    ///
    /// [`KeysError`] if two keys have the same id, or none has the id `active`.
    pub fn new(keys: &'a [Key], active: u8) -> Result<Self, KeysError> {
        let mut rest = keys;
        while let [first, others @ ..] = rest {
            if others.iter().any(|key| key.id == first.id) {
                return Err(KeysError::Twice { id: first.id });
            }
            rest = others;
        }
        let active = keys
            .iter()
            .find(|key| key.id == active)
            .ok_or(KeysError::NoActive { id: active })?;
        Ok(Self { keys, active })
    }

    /// Returns the trailer of a message that is sent from this source. The message must be
    /// complete; its checksum is not covered.
    #[must_use]
    pub fn sign(&self, message: &[u8], source: IpAddr, sequence: Sequence) -> [u8; TRAILER_LEN] {
        let prefix: [u8; PREFIX_LEN] = collect(
            [SCHEME, self.active.id, 0, 0]
                .into_iter()
                .chain(sequence.0.to_be_bytes()),
        );
        let digest = digest(self.active, message, source, &prefix)
            .finalize()
            .into_bytes();
        collect(
            prefix
                .into_iter()
                .chain(digest.into_iter().take(DIGEST_LEN)),
        )
    }

    /// Signs the message in the first `message_len` octets of a buffer, appends the trailer, and
    /// returns the new length. Over IPv6 it updates the checksum of the message, which covers the
    /// trailer.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BufferTooSmall`] if there is no room for the trailer.
    pub fn append(
        &self,
        buffer: &mut [u8],
        message_len: usize,
        endpoints: &Endpoints,
        sequence: Sequence,
    ) -> Result<usize, EncodeError> {
        let given = buffer.len();
        let needed = message_len.saturating_add(TRAILER_LEN);
        let too_small = EncodeError::BufferTooSmall { needed, given };
        let (message, rest) = buffer.split_at_mut_checked(message_len).ok_or(too_small)?;
        let room = rest.first_chunk_mut().ok_or(too_small)?;
        *room = self.sign(message, endpoints.source(), sequence);
        if endpoints.family() == Family::Ipv6 {
            cover_appended(message, room);
        }
        Ok(needed)
    }

    /// Verifies the trailer of a message: form, then time, then key, then digest.
    /// [`ReplayMarks::check`] checks that the message is new.
    ///
    /// # Errors
    ///
    /// [`AuthenticationFault`] for the first check that failed.
    pub fn verify(
        &self,
        signed: &Signed<'_>,
        ip: &IpHeader,
        now: UtcTime,
        anti_replay: AntiReplay,
    ) -> Result<Verified, AuthenticationFault> {
        let &Signed {
            message,
            prefix,
            tag,
        } = signed;
        let &[scheme, id, reserved_high, reserved_low, ref sequence @ ..] = prefix;
        if scheme != SCHEME {
            return Err(AuthenticationFault::Malformed {
                field: "trailer scheme",
                found: scheme.into(),
                required: SCHEME.into(),
            });
        }
        let reserved = u16::from_be_bytes([reserved_high, reserved_low]);
        if reserved != 0 {
            return Err(AuthenticationFault::Malformed {
                field: "reserved field of the trailer",
                found: reserved.into(),
                required: 0,
            });
        }
        let sequence = Sequence(u64::from_be_bytes(*sequence));
        anti_replay.check_fresh(sequence, now)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == id)
            .ok_or(AuthenticationFault::UnknownKey { id })?;
        let source = ip.endpoints.source();
        digest(key, message, source, prefix)
            .verify_truncated_left(tag)
            .map_err(|_| AuthenticationFault::Digest)?;
        Ok(Verified {
            mark: Mark { source, sequence },
            clock_skew: anti_replay.notable_skew(sequence, now),
        })
    }
}

/// Computes the digest of pseudo-header, message without its checksum, and trailer without its
/// digest.
fn digest(key: &Key, message: &[u8], source: IpAddr, prefix: &[u8; PREFIX_LEN]) -> Hmac<Sha256> {
    let mut digest = key.state.clone();
    if let Some((&[version_and_type, vrid, priority, count, fourth, fifth, _, _], addresses)) =
        message.split_first_chunk()
    {
        let version = version_and_type >> 4;
        match source {
            IpAddr::V4(source) => {
                digest.update(&[4, version, vrid, 0]);
                digest.update(&source.octets());
                digest.update(&[0; 12]);
            }
            IpAddr::V6(source) => {
                digest.update(&[6, version, vrid, 0]);
                digest.update(&source.octets());
            }
        }
        digest.update(&[version_and_type, vrid, priority, count, fourth, fifth, 0, 0]);
        digest.update(addresses);
    }
    digest.update(prefix);
    digest.update(&[0; DIGEST_LEN]);
    digest
}

/// UTC in the resolution of the trailer. Everything else in VRRP uses a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UtcTime {
    seconds: u32,
    fraction: u16,
}

impl UtcTime {
    /// Makes a time of seconds and nanoseconds since the Unix epoch. Seconds count modulo 2^32, as
    /// on the wire.
    #[must_use]
    pub const fn new(seconds: u64, nanoseconds: u32) -> Self {
        // 999 999 999 x 2^16 / 10^9 is below 2^16; the nanoseconds of a leap second are clamped.
        let nanoseconds = if nanoseconds > 999_999_999 {
            999_999_999
        } else {
            nanoseconds
        };
        #[allow(clippy::cast_possible_truncation)]
        Self {
            seconds: seconds as u32,
            fraction: (((nanoseconds as u64) << 16) / 1_000_000_000) as u16,
        }
    }

    const fn sequence(self) -> Sequence {
        Sequence((self.seconds as u64) << 32 | (self.fraction as u64) << 16)
    }
}

/// The sequence number of a signed message: the time of signing, and a counter for messages signed
/// at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sequence(u64);

impl Sequence {
    /// Makes a sequence of the 64 bits of the wire.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the 64 bits of the wire.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this comes after another one in serial number arithmetic of 64 bits (RFC 1982).
    const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// Returns the time from `now` to this in units of 2^-16 s, negative if this is older. The
    /// counter is left out.
    const fn ticks_from(self, now: UtcTime) -> i64 {
        let here = now.sequence().0;
        ((self.0 & !0xffff).wrapping_sub(here)).cast_signed() >> 16
    }

    /// Returns the distance of the sender's clock from `now`, to a millisecond.
    const fn skew_from(self, now: UtcTime) -> ClockSkew {
        let ticks = self.ticks_from(now);
        let millis = (ticks.unsigned_abs() * 1000) >> 16;
        // The comparison comes first.
        #[allow(clippy::cast_possible_truncation)]
        let millis = if millis > u32::MAX as u64 {
            u32::MAX
        } else {
            millis as u32
        };
        if ticks < 0 {
            ClockSkew::Behind { millis }
        } else {
            ClockSkew::Ahead { millis }
        }
    }

    /// Returns the seconds from `now` to this, negative if this is older.
    const fn seconds_from(self, now: UtcTime) -> i32 {
        ((self.0 >> 32) as u32)
            .wrapping_sub(now.seconds)
            .cast_signed()
    }
}

/// The condition on which a message counts as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum AntiReplay {
    /// A higher sequence than the sender's last, and a time within the window: the clocks must
    /// agree. Made by [`AntiReplay::time`].
    Time(Window),
    /// A higher sequence than the sender's last. Clocks need not agree, but a receiver that has
    /// restarted without its marks accepts any replay.
    Monotonic,
}

impl AntiReplay {
    /// [`Time`](Self::Time) with a window of 1 to 300 seconds to either side. keepalived uses three
    /// advertisement intervals, and at least 5 seconds.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub const fn time(seconds: u16) -> Result<Self, OutOfRange> {
        if seconds < 1 || seconds > 300 {
            let value = seconds as u64;
            return Err(OutOfRange {
                field: "time window in seconds",
                value,
                lowest: 1,
                highest: 300,
            });
        }
        Ok(Self::Time(Window(seconds)))
    }

    const fn check_fresh(
        self,
        sequence: Sequence,
        now: UtcTime,
    ) -> Result<(), AuthenticationFault> {
        if let Self::Time(Window(window)) = self
            && sequence.seconds_from(now).unsigned_abs() > window as u32
        {
            return Err(AuthenticationFault::Stale {
                skew: sequence.skew_from(now),
                window,
            });
        }
        Ok(())
    }

    /// Returns the distance between two clocks, if it is more than half of the window.
    const fn notable_skew(self, sequence: Sequence, now: UtcTime) -> Option<ClockSkew> {
        let Self::Time(Window(window)) = self else {
            return None;
        };
        // Half of the window in units of 2^-16 s.
        if sequence.ticks_from(now).unsigned_abs() <= (window as u64) << 15 {
            return None;
        }
        Some(sequence.skew_from(now))
    }
}

/// A time window of 1 to 300 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u16"))]
pub struct Window(u16);

#[cfg(feature = "serde")]
impl TryFrom<u16> for Window {
    type Error = OutOfRange;

    fn try_from(seconds: u16) -> Result<Self, OutOfRange> {
        match AntiReplay::time(seconds)? {
            AntiReplay::Time(window) => Ok(window),
            AntiReplay::Monotonic => Ok(Self(seconds)),
        }
    }
}

impl Window {
    /// Returns the window in seconds.
    #[must_use]
    pub const fn seconds(self) -> u16 {
        self.0
    }
}

/// The sequence of the messages sent for one virtual router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendSequence {
    last: Option<Sequence>,
}

impl SendSequence {
    /// Returns the number of the next message: the time, or one more than the last number if the
    /// clock has not advanced.
    ///
    /// If the clock went back by more than the window, the numbers follow it, because receivers
    /// would discard higher ones as stale. With [`AntiReplay::Monotonic`] they never go back.
    pub fn next(&mut self, now: UtcTime, anti_replay: AntiReplay) -> Sequence {
        let clock = now.sequence();
        let next = match (self.last, anti_replay) {
            (Some(last), AntiReplay::Time(Window(window)))
                if !clock.is_after(last) && last.seconds_from(now) > i32::from(window) =>
            {
                clock
            }
            (Some(last), _) if !clock.is_after(last) => Sequence(last.0.wrapping_add(1)),
            _ => clock,
        };
        self.last = Some(next);
        next
    }

    /// Returns the number of the last message, or that of [`continue_above`](Self::continue_above);
    /// `None` before the first.
    #[must_use]
    pub const fn last(&self) -> Option<Sequence> {
        self.last
    }

    /// Continues above a number that was sent for the same virtual router from the same address: by
    /// this host before a restart, or by a process that it replaces. [`next`](Self::next) follows a
    /// clock that has gone back by more than the window nevertheless.
    pub fn continue_above(&mut self, sequence: Sequence) {
        if self.last.is_none_or(|last| sequence.is_after(last)) {
            self.last = Some(sequence);
        }
    }
}

/// A message whose trailer was signed with one of our keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    mark: Mark,
    clock_skew: Option<ClockSkew>,
}

impl Verified {
    /// Its sequence.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.mark.sequence
    }

    /// The distance of the sender's clock from the local clock, where it is more than half of the
    /// window of [`AntiReplay::time`]. It is always `None` with [`AntiReplay::Monotonic`].
    #[must_use]
    pub const fn clock_skew(&self) -> Option<ClockSkew> {
        self.clock_skew
    }
}

/// The protection of a message that [`ReplayMarks::check`] found new.
impl From<Verified> for Protection {
    fn from(verified: Verified) -> Self {
        Self::Hmac {
            skew: verified.clock_skew,
        }
    }
}

/// A sender and its last sequence: one place of [`ReplayMarks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    source: IpAddr,
    sequence: Sequence,
}

/// The last sequence of each sender.
///
/// The places are an array (four by default, without an allocator), or a `Vec` that grows by
/// [`make_room`](Self::make_room). A sender without a place displaces the sender that was silent
/// for the longest time. A packet of the displaced sender can then be replayed: at any later time
/// with [`AntiReplay::Monotonic`], within the window with [`AntiReplay::Time`]. So there should be
/// a place for every other router of the virtual router. Only messages with a correct digest get a
/// place.
///
/// ```
/// use vrrp_proto::hmac::{Mark, ReplayMarks};
///
/// let of_four_senders: ReplayMarks = ReplayMarks::new();
/// let of_sixteen_senders: ReplayMarks<[Option<Mark>; 16]> = ReplayMarks::with_places([None; 16]);
/// let growing: ReplayMarks<Vec<Option<Mark>>> = ReplayMarks::default();
/// # let _ = (of_four_senders, of_sixteen_senders, growing);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayMarks<P = [Option<Mark>; 4]> {
    /// The most recent sender first.
    places: P,
}

impl ReplayMarks {
    /// Four places, and no sender yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { places: [None; 4] }
    }
}

impl<P> ReplayMarks<P> {
    /// Uses these places, which may already contain marks.
    #[must_use]
    pub const fn with_places(places: P) -> Self {
        Self { places }
    }
}

impl<P: AsRef<[Option<Mark>]>> ReplayMarks<P> {
    fn of(&self, source: IpAddr) -> Option<&Mark> {
        let marks = self.places.as_ref().iter().flatten();
        marks.into_iter().find(|mark| mark.source == source)
    }

    /// Whether a message is new. Changes nothing, because the message may still fail another check.
    ///
    /// With [`AntiReplay::Time`] a mark outside the window does not count. If it is behind the
    /// window, the window itself excludes every message that the mark would. If it is ahead, the
    /// clock has gone back, and messages of the time before the step can be replayed; as long as
    /// the mark counted, all messages of its sender would be discarded.
    ///
    /// # Errors
    ///
    /// [`AuthenticationFault::Replay`].
    pub fn check(
        &self,
        verified: &Verified,
        now: UtcTime,
        anti_replay: AntiReplay,
    ) -> Result<(), AuthenticationFault> {
        let Mark { source, sequence } = verified.mark;
        match self.of(source) {
            Some(mark)
                if !sequence.is_after(mark.sequence)
                    && anti_replay.check_fresh(mark.sequence, now).is_ok() =>
            {
                Err(AuthenticationFault::Replay {
                    found: sequence.get(),
                    last: mark.sequence.get(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Returns the senders and their last sequences, the most recent sender first. It is the order
    /// of [`restore`](Self::restore).
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Sequence)> {
        let marks = self.places.as_ref().iter().flatten();
        marks.map(|mark| (mark.source, mark.sequence))
    }
}

impl<P: AsMut<[Option<Mark>]>> ReplayMarks<P> {
    /// Remembers a message that passed every check.
    pub fn accept(&mut self, verified: &Verified) {
        let source = verified.mark.source;
        // Moves each mark one place back, up to the sender's old one or the last.
        let mut moving = Some(verified.mark);
        for place in self.places.as_mut() {
            core::mem::swap(place, &mut moving);
            if moving.is_none_or(|mark| mark.source == source) {
                return;
            }
        }
    }

    /// Replaces all marks by those that [`iter`](Self::iter) returned before a restart. If there
    /// are more senders than places, the first ones are kept.
    pub fn restore(&mut self, marks: impl IntoIterator<Item = (IpAddr, Sequence)>) {
        let mut marks = marks.into_iter();
        for place in self.places.as_mut() {
            let next = marks.next();
            *place = next.map(|(source, sequence)| Mark { source, sequence });
        }
    }
}

impl<P: AsRef<[Option<Mark>]> + Extend<Option<Mark>>> ReplayMarks<P> {
    /// Adds a place for the sender of a message if it has none and all places are taken, up to this
    /// many places. [`accept`](Self::accept) then displaces no other sender.
    pub fn make_room(&mut self, verified: &Verified, most: usize) {
        let places = self.places.as_ref();
        let is_full = places.iter().all(Option::is_some);
        if is_full && places.len() < most && self.of(verified.mark.source).is_none() {
            self.places.extend([None]);
        }
    }

    /// Adds empty places until there are this many.
    pub fn reserve(&mut self, places: usize) {
        let missing = places.saturating_sub(self.places.as_ref().len());
        self.places.extend(core::iter::repeat_n(None, missing));
    }
}

impl<P: Default> Default for ReplayMarks<P> {
    fn default() -> Self {
        Self {
            places: P::default(),
        }
    }
}
