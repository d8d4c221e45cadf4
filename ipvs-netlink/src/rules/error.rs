use std::fmt;

use crate::{DestinationKey, NameError, ServiceKey};

/// Why a text or a command line is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {word:?}: {problem}")]
pub struct ParseError {
    /// Where.
    pub place: Place,
    /// The word that is wrong, or the command that lacks something.
    pub word: String,
    /// The fault.
    pub problem: Problem,
}

/// A position in a text or command line. All numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// In a command line.
    Word(usize),
    /// In a text.
    Text {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(number) => write!(f, "word {number}"),
            Self::Text { line, column } => write!(f, "line {line}, column {column}"),
        }
    }
}

/// The fault of a word.
///
/// For the first four and [`Problem::UnexpectedValue`] ipvsadm exits with status 255, for the
/// others with 2 ([`is_malformed`](Self::is_malformed)).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A line starts with a command.
    #[error("expected a command first, such as -A, -a or -L")]
    NoCommand,
    /// There is no such option.
    #[error("unknown option")]
    UnknownOption,
    /// An option without its value.
    #[error("a value is missing after it")]
    MissingValue,
    /// `-R` in a text that is restored.
    #[error("-R is not allowed in a text to restore")]
    Nested,
    /// A value for an option that has none.
    #[error("it takes no value")]
    UnexpectedValue,
    /// A word that belongs to no option.
    #[error("expected an option")]
    UnexpectedWord,
    /// A second command.
    #[error("a line has one command")]
    SecondCommand,
    /// An option that was given already, or another with the same meaning.
    #[error("{0} is given twice")]
    Repeated(&'static str),
    /// An option that the command does not have.
    #[error("not an option of {command}")]
    NotTaken {
        /// The command.
        command: &'static str,
    },
    /// An option that does not go with another.
    #[error("cannot be combined with {0}")]
    Conflict(&'static str),
    /// Something that is missing.
    #[error("it needs {0}")]
    Lacks(&'static str),
    /// `-6` without a mark before it.
    #[error("it follows -f with a firewall mark")]
    FamilyWithoutMark,
    /// A value that is not in the expected form.
    #[error("{field}: expected {expected}")]
    Value {
        /// The purpose of the value.
        field: &'static str,
        /// The expected form.
        expected: &'static str,
    },
    /// A number outside its range, or not a number.
    #[error("{field}: expected a number from {minimum} to {maximum}")]
    Number {
        /// The purpose of the number.
        field: &'static str,
        /// The least it can be.
        minimum: u32,
        /// The most it can be.
        maximum: u32,
    },
    /// A name where names are not looked up.
    #[error("{field}: expected a number, as names are not looked up")]
    NamesAreOff {
        /// The kind of the named object.
        field: &'static str,
    },
    /// A name that the lookup does not know.
    #[error("{field}: the name is not known")]
    UnknownName {
        /// The kind of the named object.
        field: &'static str,
    },
    /// Not a name that the kernel takes.
    #[error("{0}")]
    Name(NameError),
    /// A command that changes nothing, where changes are wanted.
    #[error("expected a command that changes the table")]
    NoChange,
    /// The line adds a service that an earlier line has added.
    #[error("service {0} exists already")]
    ServiceExists(ServiceKey),
    /// No earlier line adds the service.
    #[error("there is no service {0}")]
    NoSuchService(ServiceKey),
    /// The line adds a destination that an earlier line has added.
    #[error("service {service} has the destination {destination} already")]
    DestinationExists {
        /// The service.
        service: ServiceKey,
        /// The destination.
        destination: DestinationKey,
    },
    /// No earlier line adds the destination.
    #[error("service {service} has no destination {destination}")]
    NoSuchDestination {
        /// The service.
        service: ServiceKey,
        /// The destination.
        destination: DestinationKey,
    },
}

impl Problem {
    /// Whether the words make no command line at all, for which ipvsadm has another exit status
    /// (255) than for options that are wrong (2).
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::NoCommand
                | Self::UnknownOption
                | Self::MissingValue
                | Self::Nested
                | Self::UnexpectedValue
        )
    }
}
