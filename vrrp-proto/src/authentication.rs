//! Authentication of version 2 messages (RFC 2338 section 5.3.6).

use core::fmt;

use subtle::ConstantTimeEq;

use crate::OutOfRange;

/// The authentication type of a message, with the password where the message carries one.
///
/// Version 3 has no authentication (RFC 9568 section 9, O-01): there it is [`None`](Self::None).
/// RFC 3768 keeps types 1 and 2 only for compatibility with RFC 2338; keepalived still offers both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAuthentication {
    /// Type 0: the eight octets of authentication data are zero, and ignored on reception (P-47).
    None,
    /// Type 1: a password in clear text (P-48). It separates routers that were connected by
    /// mistake. It is no protection against attackers.
    SimpleText(Password),
    /// Type 2: the message travels inside an IP Authentication Header (P-50, module `ah`).
    IpAh,
    /// A type that no RFC defines, such as Cisco's 254 (AMB-33). Only decoding returns it; it
    /// cannot be encoded.
    Unknown(u8),
}

impl MessageAuthentication {
    /// Octets of authentication data at the end of a version 2 message, whatever the type.
    pub(crate) const DATA_LEN: usize = 8;

    /// Splits the authentication data off the end of a version 2 message.
    #[inline]
    pub(crate) fn split_from(message: &[u8], auth_type: u8) -> (&[u8], Self) {
        let (body, data) = message
            .split_last_chunk()
            .unwrap_or((message, &[0; Self::DATA_LEN]));
        let authentication = match auth_type {
            0 => Self::None,
            1 => Self::SimpleText(Password::from_octets(*data)),
            2 => Self::IpAh,
            other => Self::Unknown(other),
        };
        (body, authentication)
    }

    pub(crate) const fn auth_type(&self) -> u8 {
        match *self {
            Self::None => 0,
            Self::SimpleText(_) => 1,
            Self::IpAh => 2,
            Self::Unknown(other) => other,
        }
    }

    pub(crate) const fn data(&self) -> [u8; Self::DATA_LEN] {
        match *self {
            Self::SimpleText(password) => password.octets(),
            Self::None | Self::IpAh | Self::Unknown(_) => [0; Self::DATA_LEN],
        }
    }

    /// Returns the method, without its secret.
    #[must_use]
    pub const fn method(&self) -> AuthenticationMethod {
        match *self {
            Self::None => AuthenticationMethod::None,
            Self::SimpleText(_) => AuthenticationMethod::SimpleText,
            Self::IpAh => AuthenticationMethod::IpAh,
            Self::Unknown(other) => AuthenticationMethod::Unknown(other),
        }
    }
}

/// The authentication method of a message, or the configured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AuthenticationMethod {
    /// Not at all.
    None,
    /// Version 2, type 1: password in clear text.
    SimpleText,
    /// Version 2, type 2: IP AH with HMAC-MD5-96.
    IpAh,
    /// The HMAC-SHA256 trailer of draft-cassen-vrrp-auth-hmac, in either version.
    Hmac,
    /// Version 2, a type that no RFC defines.
    Unknown(u8),
}

impl fmt::Display for AuthenticationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::SimpleText => f.write_str("simple text"),
            Self::IpAh => f.write_str("IP AH"),
            Self::Hmac => f.write_str("HMAC trailer"),
            Self::Unknown(other) => write!(f, "unknown type {other}"),
        }
    }
}

/// A password of one to eight octets, as version 2 carries it: filled up with zeros.
///
/// Comparison takes constant time. `Debug` does not show the password.
///
/// ```
/// use vrrp_proto::Password;
///
/// assert_eq!(Password::new(b"s3cret")?, Password::new(b"s3cret\0\0")?);
/// let error = Password::new(b"far too long").unwrap_err();
/// assert_eq!(error.to_string(), "password length 12 is not in 1..=8");
/// assert_eq!(Password::truncating(b"far too long"), Password::new(b"far too ")?);
/// # Ok::<(), vrrp_proto::OutOfRange>(())
/// ```
#[derive(Clone, Copy)]
// One word: decoding a message copies the password several times.
pub struct Password(u64);

impl Password {
    /// Makes a password of these octets.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for no octets, and for more than eight.
    pub const fn new(text: &[u8]) -> Result<Self, OutOfRange> {
        if text.is_empty() || text.len() > 8 {
            return Err(OutOfRange {
                field: "password length",
                value: text.len() as u64,
                lowest: 1,
                highest: 8,
            });
        }
        Ok(Self::truncating(text))
    }

    /// Makes a password of the first eight octets, as keepalived does with longer ones.
    #[must_use]
    pub const fn truncating(text: &[u8]) -> Self {
        let mut octets = [0; 8];
        let kept = if text.len() < 8 { text.len() } else { 8 };
        let (target, _) = octets.split_at_mut(kept);
        let (source, _) = text.split_at(kept);
        target.copy_from_slice(source);
        Self::from_octets(octets)
    }

    /// Returns the eight octets of the wire, with the zeros at the end.
    #[must_use]
    pub const fn octets(&self) -> [u8; 8] {
        self.0.to_ne_bytes()
    }

    const fn from_octets(octets: [u8; 8]) -> Self {
        Self(u64::from_ne_bytes(octets))
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
