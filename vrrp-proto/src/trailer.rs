//! The form of the HMAC trailer that may follow a message.

/// The length of the HMAC trailer that may follow a message, in octets.
pub const TRAILER_LEN: usize = 28;

/// Whether the octets after a message have the form of an HMAC trailer: its length, scheme 1, a key
/// id, and 16 zero bits.
#[cold]
pub(crate) fn has_trailer_form(rest: &[u8]) -> bool {
    matches!(*rest, [1, id, 0, 0, ..] if id != 0 && rest.len() == TRAILER_LEN)
}
