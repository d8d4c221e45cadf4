//! The complaints of the reader about a configuration.

use std::fmt;

use serde::Serialize;

use super::source::Place;

/// The kind of a complaint, in the vocabulary of the oracle's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `advert_int` is not a time that an interval can have.
    AdvertIntInvalid,
    /// `advert_int` is rounded to a value that the version can express.
    AdvertIntRounded,
    /// Authentication is not possible with the version or in strict mode.
    AuthIgnored,
    /// `authentication` has no password.
    AuthNoPassword,
    /// A word is not an address.
    BadAddress,
    /// A prefix length is not one of its family.
    BadPrefix,
    /// Words stand between a keyword and its brace.
    BlockExtraWords,
    /// A file of an include is not read.
    ConfigFiles,
    /// A keyword has a successor.
    Deprecated,
    /// Something is given a second time.
    Duplicate,
    /// A brace closes no block.
    ExtraBlockEnd,
    /// An address is of another family than the rest.
    FamilyMismatch,
    /// A sync group has one member.
    GroupOfOne,
    /// An instance is in two sync groups.
    InTwoGroups,
    /// A word is not a number.
    InvalidNumber,
    /// Blocks are open at the end.
    MissingBlockEnd,
    /// A block does not begin with a brace.
    MissingBlockStart,
    /// A keyword lacks its value.
    MissingParameter,
    /// A name is longer than the kernel holds.
    NameTooLong,
    /// A number is negative.
    NegativeNumber,
    /// A virtual server names no forwarding method.
    NoMethod,
    /// A virtual server has no real servers, or a sync group no members.
    NoRealServers,
    /// A virtual server names no scheduler.
    NoScheduler,
    /// Nobody can run a script.
    NoScriptUser,
    /// The host has no such interface.
    NoSuchInterface,
    /// An HTTP check has no URL.
    NoUrls,
    /// An instance lists no address.
    NoVips,
    /// `nopreempt` has no effect.
    NopreemptCleared,
    /// A name is used that was not defined before.
    NotDefined,
    /// A number is too small or too large.
    NumberOutOfRange,
    /// Any other complaint.
    Other,
    /// An instance tracks its own interface by name.
    OwnInterfaceTracked,
    /// An owner tracks something with a weight.
    OwnerTrackingIgnored,
    /// A service without a port needs persistence.
    Persistence,
    /// A real server has a port that cannot be reached.
    PortMismatch,
    /// `preempt_delay` has no effect.
    PreemptDelayIgnored,
    /// A priority is not in 1 to 255.
    PriorityInvalid,
    /// A virtual server names no protocol.
    ProtocolDefault,
    /// A firewall mark has a protocol, which does not count.
    ProtocolMissing,
    /// A quorum or hysteresis cannot be met.
    QuorumAdjusted,
    /// A real server is listed twice in a virtual server.
    RemovedDuplicateServer,
    /// A rule has no priority.
    RuleNoPreference,
    /// A scope is given to an IPv6 address.
    ScopeIgnored,
    /// The program of a script cannot be found.
    ScriptDisabled,
    /// A script has no command.
    ScriptMissingBody,
    /// Scripts run without script security.
    ScriptSecurity,
    /// The user of a script does not exist.
    ScriptUserUnknown,
    /// Strict mode or a strict include forbids something.
    Strict,
    /// The state contradicts the priority in strict mode.
    StrictState,
    /// A weight does not count in a sync group.
    SyncGroupWeight,
    /// A time is finer than a microsecond.
    TooManyDecimals,
    /// A text is cut.
    Truncated,
    /// A brace opens no block.
    UnexpectedBlockStart,
    /// A keyword of unicast is given without peers.
    UnicastWithoutPeers,
    /// A word is no keyword of its block.
    UnknownKeyword,
    /// A word is no value of its keyword.
    UnknownValue,
    /// A quote is not closed.
    UnmatchedQuote,
    /// A route cannot be tracked.
    Untrackable,
    /// A value cannot be used.
    ValueInvalid,
    /// A version is not 2 or 3.
    VersionInvalid,
    /// More addresses than an advertisement lists.
    VipsMovedToExcluded,
    /// Two instances share a VRID.
    VridConflict,
    /// A VRID is not in 1 to 255.
    VridInvalid,
    /// An instance has no VRID.
    VridMissing,
    /// A digest is not 32 hexadecimal digits.
    DigestInvalid,
    /// Something is tracked by an instance and by its group.
    OnInstanceAndGroup,
}

/// The weight of a complaint in the exit status of `-t`, lightest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// A keyword has no effect here and needs none: no warning.
    Remark,
    /// A fault that keepalived silently accepts: not among its complaints.
    Advice,
    /// Mentioned, without effect on the exit status.
    Notice,
    /// Exit status 4: a line is ignored because its interface does not exist.
    UnknownInterface,
    /// Exit status 5.
    Error,
    /// Exit status 6: scripts run although script security is off, or a strict include did not find
    /// its files.
    Security,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Complaint {
    /// The place in the files, if the complaint is about a place.
    pub kind: Kind,
    /// Its weight.
    pub weight: Weight,
    /// Where in the files, if it is about a place.
    pub place: Option<Place>,
    /// The word that the complaint is about.
    pub token: Option<String>,
    /// The instance, group or server that the complaint is about.
    pub object: Option<String>,
    /// The fault, and the value that is used instead.
    pub message: String,
    /// The word or value that was probably meant.
    pub help: Option<String>,
}

impl Complaint {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            weight: Weight::Error,
            place: None,
            token: None,
            object: None,
            message: message.into(),
            help: None,
        }
    }

    /// About something that keepalived silently accepts, with what to write instead.
    #[must_use]
    pub fn advice(message: impl Into<String>, help: &str) -> Self {
        Self::new(Kind::Other, message)
            .weight(Weight::Advice)
            .help(help)
    }

    /// At this place.
    #[must_use]
    pub const fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// About this word.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// About this object.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// With another weight.
    #[must_use]
    pub const fn weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// Adds a hint at the word or value that was probably meant.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
