//! The checksum forms of sent version 3 messages over IPv4 (AMB-01).

use vrrp_proto::{ChecksumForm, ChecksumMatch};

/// Selects the checksum form of sent version 3 messages over IPv4 (AMB-01).
///
/// Deployed receivers are of two kinds, and each rejects the form of the other: RFC 9568 routers
/// (Cisco, Juniper, FRR with `no checksum-with-ipv4-pseudoheader`) accept the message alone,
/// keepalived and FRR by default accept the pseudo-header. A Backup that rejects every
/// advertisement of the Active takes over, and an Active receives no advertisement of its Backups.
/// So no initial form suits every network, and an Active cannot learn the right one in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ChecksumSending {
    /// Sends each advertisement in both forms until the other routers show which one they need,
    /// then in that form alone. The default.
    ///
    /// * At the start each advertisement is two messages, the pseudo-header first. Every receiver
    ///   accepts one of them, from the first interval on. The other one costs a packet, and at a
    ///   strict peer a rejected packet each interval: keepalived 2.3.3 logs one line until its
    ///   state changes and counts `chk_err`; keepalived 2.2.7 and FRR 8.4 log each rejected packet.
    /// * After [`ENOUGH`](ChecksumEvidence::ENOUGH) accepted advertisements in one form and none in
    ///   the other, it sends that form alone. A sender of both forms is no evidence for one.
    /// * One accepted advertisement in the other form, from any router, restores both forms at
    ///   once.
    ///
    /// A receiver that accepts either form receives each advertisement twice, without an effect on
    /// the election.
    ///
    /// In a network with strict receivers of both kinds, a router that has received one kind only
    /// still causes one takeover by the other kind. [`Both`](Self::Both) avoids it.
    #[default]
    Adaptive,
    /// Always sends each advertisement in both forms: for a network with strict receivers of both
    /// kinds.
    Both,
    /// Sends this form alone: for a network where every receiver accepts it.
    Fixed(ChecksumForm),
}

/// The checksum forms of one advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ChecksumForms {
    /// One message in this form.
    Only(ChecksumForm),
    /// Two messages: one with the pseudo-header, then one without.
    Both,
}

impl ChecksumForms {
    /// The forms, in the order of sending.
    pub fn iter(self) -> impl Iterator<Item = ChecksumForm> + Clone {
        let (first, second) = match self {
            Self::Only(form) => (form, None),
            Self::Both => (ChecksumForm::PseudoHeader, Some(ChecksumForm::MessageOnly)),
        };
        core::iter::once(first).chain(second)
    }

    /// The number of messages.
    #[must_use]
    pub const fn count(self) -> u8 {
        match self {
            Self::Only(_) => 1,
            Self::Both => 2,
        }
    }
}

/// The checksum forms of the last accepted version 3 advertisements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChecksumEvidence {
    /// The form of the last one, and the number of advertisements in that form since one in the
    /// other form.
    last: Option<(ChecksumForm, u8)>,
}

impl ChecksumEvidence {
    /// The number of consecutive advertisements in one form after which the other form is no longer
    /// sent: 8.
    ///
    /// A sender of both forms looks like a sender of one form while the messages in the other form
    /// are lost. Seven in a row are lost once in 10^14 intervals at 1 % loss, and once in 10^7 at
    /// 10 %. The next message in the other form corrects the error.
    pub const ENOUGH: u8 = 8;

    /// Returns the form that the other routers need, if the evidence suffices.
    #[must_use]
    pub const fn form(self) -> Option<ChecksumForm> {
        match self.last {
            Some((form, Self::ENOUGH..)) => Some(form),
            _ => None,
        }
    }

    /// Whether a message is the second one of an advertisement in
    /// [both forms](ChecksumForms::Both), as far as the last message shows.
    pub(crate) fn is_completed_by(self, matched: ChecksumMatch) -> bool {
        matches!(self.last, Some((ChecksumForm::PseudoHeader, _)))
            && matched == ChecksumMatch::MessageOnly
    }

    /// Adds an accepted advertisement. One that fits both forms by chance changes nothing.
    pub(crate) fn add(&mut self, matched: ChecksumMatch) {
        let Some(form) = matched.form() else { return };
        let in_a_row = match self.last {
            Some((last, in_a_row)) if last == form => in_a_row.saturating_add(1).min(Self::ENOUGH),
            _ => 1,
        };
        self.last = Some((form, in_a_row));
    }
}

impl ChecksumSending {
    /// The forms for this evidence.
    pub(crate) const fn forms(self, evidence: ChecksumEvidence) -> ChecksumForms {
        match (self, evidence.form()) {
            (Self::Fixed(form), _) | (Self::Adaptive, Some(form)) => ChecksumForms::Only(form),
            (Self::Both, _) | (Self::Adaptive, None) => ChecksumForms::Both,
        }
    }
}
