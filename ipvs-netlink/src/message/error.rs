//! Errors of decoding.

/// Why octets are not a message of the family.
///
/// Attributes are named by their number in `include/uapi/linux/ip_vs.h`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is no such command, or it is not sent in this direction.
    #[error("command {0}: unknown, or not sent in this direction")]
    Command(u8),
    /// The octets end within an attribute.
    #[error("{object}: cut short")]
    Truncated {
        /// The object or attribute.
        object: &'static str,
    },
    /// A required attribute is missing.
    #[error("{object}: attribute {attribute} is missing")]
    Missing {
        /// The object or attribute.
        object: &'static str,
        /// The number of the attribute.
        attribute: u16,
    },
    /// An attribute has a wrong length.
    #[error("{object}: attribute {attribute} has {length} octets, expected {expected}")]
    Length {
        /// The object or attribute.
        object: &'static str,
        /// The number of the attribute.
        attribute: u16,
        /// Its length in octets.
        length: usize,
        /// The length it must have.
        expected: usize,
    },
    /// An attribute has a value that this crate cannot represent.
    #[error("{object}: attribute {attribute} is {value:?}: {problem}")]
    Value {
        /// The object or attribute.
        object: &'static str,
        /// The number of the attribute.
        attribute: u16,
        /// Its octets, at most 16 of them.
        value: Vec<u8>,
        /// The fault.
        problem: &'static str,
    },
}
