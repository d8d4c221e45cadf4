//! The Internet checksum (RFC 1071) of a message, its two forms in version 3 over IPv4, and its
//! update in place (RFC 1624).

use crate::{ChecksumFault, Endpoints, IP_PROTOCOL, LengthFault, Priority};

/// The part of the packet that the checksum of a version 3 message over IPv4 covers.
///
/// RFC 9568 section 5.2.8 says the message alone. Many implementers understood RFC 5798 to ask for
/// a pseudo-header too: keepalived, FRR and others send that form by default (AMB-01). The other
/// messages have one form each: version 2 is always [`MessageOnly`](Self::MessageOnly), version 3
/// over IPv6 always [`PseudoHeader`](Self::PseudoHeader).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ChecksumForm {
    /// The VRRP message alone: RFC 9568, and Cisco and Juniper routers.
    #[default]
    MessageOnly,
    /// A pseudo-header of source, destination, protocol and length, then the message: the default
    /// of keepalived and FRR.
    PseudoHeader,
}

/// The forms that the checksum of a received message matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ChecksumMatch {
    /// The message alone.
    MessageOnly,
    /// Pseudo-header and message.
    PseudoHeader,
    /// Both, because the pseudo-header happens to sum to zero.
    Both,
}

impl ChecksumMatch {
    /// Returns the form that the sender uses, or `None` if the message fits both.
    ///
    /// A sender that follows its peers (AMB-01) adopts a `Some` and keeps its form on a `None`.
    #[must_use]
    pub const fn form(self) -> Option<ChecksumForm> {
        match self {
            Self::MessageOnly => Some(ChecksumForm::MessageOnly),
            Self::PseudoHeader => Some(ChecksumForm::PseudoHeader),
            Self::Both => None,
        }
    }
}

/// The forms that a receiver accepts in a version 3 message over IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ChecksumAcceptance {
    /// Only the message alone: RFC 9568.
    MessageOnly,
    /// Only with the pseudo-header.
    PseudoHeader,
    /// Either form: interoperates with both kinds of senders.
    #[default]
    Either,
}

impl ChecksumAcceptance {
    const fn message_only(self) -> bool {
        matches!(self, Self::MessageOnly | Self::Either)
    }

    const fn pseudo_header(self) -> bool {
        matches!(self, Self::PseudoHeader | Self::Either)
    }

    /// Returns the accepted forms that the checksum in these octets matches, or `None`. It is for
    /// programs that show messages which [`Advertisement::decode`](crate::Advertisement::decode)
    /// discards before it checks the checksum.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use vrrp_proto::{ChecksumAcceptance, ChecksumMatch, Endpoints};
    ///
    /// // Version 2, without the eight octets at its end.
    /// let message = [0x21, 1, 100, 1, 0, 1, 0xb8, 0xfa, 192, 0, 2, 1];
    /// let endpoints = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 11).into());
    /// let fits = ChecksumAcceptance::MessageOnly.fits(&message, &endpoints);
    /// assert_eq!(fits, Some(ChecksumMatch::MessageOnly));
    /// ```
    #[must_use]
    pub fn fits(self, message: &[u8], endpoints: &Endpoints) -> Option<ChecksumMatch> {
        // The third argument only appears in the fault, which is dropped here.
        self.verify(message, endpoints, 0).ok()
    }

    /// Verifies the checksum of a message; `found` is its value.
    #[inline]
    pub(crate) fn verify(
        self,
        message: &[u8],
        endpoints: &Endpoints,
        found: u16,
    ) -> Result<ChecksumMatch, ChecksumFault> {
        let message_sum = Sum::of(message);
        let full_sum = message_sum.with_pseudo_header(endpoints, message.len());
        let message_only = self.message_only() && message_sum.is_whole();
        let pseudo_header = self.pseudo_header() && full_sum.is_whole();
        match (message_only, pseudo_header) {
            (true, true) => Ok(ChecksumMatch::Both),
            (true, false) => Ok(ChecksumMatch::MessageOnly),
            (false, true) => Ok(ChecksumMatch::PseudoHeader),
            (false, false) => Err(self.fault(message_sum, full_sum, found)),
        }
    }

    /// Computes the right checksums for a message whose checksum matches no accepted form.
    #[cold]
    fn fault(self, message_sum: Sum, full_sum: Sum, found: u16) -> ChecksumFault {
        ChecksumFault {
            found,
            message_only: self
                .message_only()
                .then(|| message_sum.without(found).checksum()),
            pseudo_header: self
                .pseudo_header()
                .then(|| full_sum.without(found).checksum()),
        }
    }
}

/// Changes the priority of an encoded message and updates its checksum (RFC 1624), without reading
/// the rest.
///
/// It works for both versions and both checksum forms. A message that is protected by AH or by an
/// HMAC trailer must be sealed or signed again.
///
/// # Errors
///
/// [`LengthFault::TooShort`] when the message is shorter than its header.
pub fn set_priority(message: &mut [u8], priority: Priority) -> Result<(), LengthFault> {
    let found = message.len();
    let Some([_, _, old, count, _, _, checksum @ ..]) = message.first_chunk_mut::<8>() else {
        return Err(LengthFault::TooShort { found });
    };
    // Equation 3 of RFC 1624: HC' = ~(~HC + ~m + m').
    let mut sum = Sum::NOTHING;
    sum.add_word(!u16::from_be_bytes(*checksum));
    sum.add_word(!u16::from_be_bytes([*old, *count]));
    sum.add_word(u16::from_be_bytes([priority.get(), *count]));
    *old = priority.get();
    *checksum = sum.checksum().to_be_bytes();
    Ok(())
}

/// Extends the checksum of a message over IPv6 to the octets appended to it: an upper-layer
/// checksum covers the whole payload.
#[cfg(feature = "hmac")]
pub(crate) fn cover_appended(message: &mut [u8], appended: &[u8]) {
    if let Some([_, _, _, _, _, _, checksum @ ..]) = message.first_chunk_mut::<8>() {
        let mut sum = Sum::of(appended);
        sum.add_word(!u16::from_be_bytes(*checksum));
        // The length in the pseudo-header grows as well.
        #[allow(clippy::cast_possible_truncation)]
        sum.add_word(appended.len() as u16);
        *checksum = sum.checksum().to_be_bytes();
    }
}

/// A one's complement sum, the basis of a checksum.
///
/// It adds whole 32-bit words in native byte order, which is correct in either order (RFC 1071
/// section 2 (B)). No packet can overflow its 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Sum(u64);

impl Sum {
    pub(crate) const NOTHING: Self = Self(0);

    #[inline]
    pub(crate) fn of(octets: &[u8]) -> Self {
        let mut sum = Self::NOTHING;
        sum.add(octets);
        sum
    }

    /// Adds octets that begin at an even offset. An odd last octet counts as followed by zero.
    #[inline]
    pub(crate) fn add(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks::<4>();
        let whole: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)))
            .sum();
        self.0 = self.0.wrapping_add(whole);
        // Every message fills whole words; the octets after a message may not.
        if !rest.is_empty() {
            self.add_rest(rest);
        }
    }

    /// Adds the fewer than four octets after the last whole word.
    #[cold]
    fn add_rest(&mut self, rest: &[u8]) {
        let mut word = [0; 4];
        for (octet, last) in word.iter_mut().zip(rest) {
            *octet = *last;
        }
        self.0 = self.0.wrapping_add(u64::from(u32::from_ne_bytes(word)));
    }

    #[inline]
    fn add_word(&mut self, word: u16) {
        self.0 = self.0.wrapping_add(u64::from(word.to_be()));
    }

    /// Subtracts a word from the sum.
    fn without(mut self, word: u16) -> Self {
        self.add_word(!word);
        self
    }

    /// Adds the pseudo-header of RFC 8200 section 8.1, or that of IPv4, which has the same fields
    /// with fewer zeros.
    #[inline]
    pub(crate) fn with_pseudo_header(self, endpoints: &Endpoints, message_len: usize) -> Self {
        self.with_pseudo_header_for(endpoints, IP_PROTOCOL, message_len)
    }

    #[inline]
    pub(crate) fn with_pseudo_header_for(
        mut self,
        endpoints: &Endpoints,
        protocol: u8,
        length: usize,
    ) -> Self {
        match endpoints {
            Endpoints::Ipv4 {
                source,
                destination,
            } => {
                self.add(&source.octets());
                self.add(&destination.octets());
            }
            Endpoints::Ipv6 {
                source,
                destination,
            } => {
                self.add(&source.octets());
                self.add(&destination.octets());
            }
        }
        self.add_word(u16::from(protocol));
        // A message is at most 65 535 octets long: the upper half of the length is zero.
        #[allow(clippy::cast_possible_truncation)]
        self.add_word(length as u16);
        self
    }

    #[inline]
    fn folded(self) -> u16 {
        #[allow(clippy::cast_possible_truncation)]
        let (sum, carry) = (self.0 as u32).overflowing_add((self.0 >> 32) as u32);
        let sum = sum.wrapping_add(u32::from(carry));
        // The sum plus itself with its halves exchanged has their one's complement sum in the upper
        // half.
        let folded = sum.wrapping_add(sum.rotate_left(16)) >> 16;
        #[allow(clippy::cast_possible_truncation)]
        u16::from_be(folded as u16)
    }

    /// Whether octets that include their own checksum are intact.
    #[inline]
    pub(crate) fn is_whole(self) -> bool {
        self.folded() == 0xffff
    }

    #[inline]
    pub(crate) fn checksum(self) -> u16 {
        !self.folded()
    }
}
