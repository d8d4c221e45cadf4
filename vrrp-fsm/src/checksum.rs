//! In which checksum forms version 3 messages over IPv4 are sent (AMB-01).

use vrrp_proto::{ChecksumForm, ChecksumMatch};

/// Selects the checksum form of sent version 3 messages over IPv4 (AMB-01).
///
/// The field has two kinds of receivers, and each rejects the form of the other: RFC 9568 routers (Cisco, Juniper, FRR with
/// `no checksum-with-ipv4-pseudoheader`) accept the message alone, keepalived and FRR by default accept the pseudo-header. A
/// Backup that rejects every advertisement of the Active takes over, and an Active never hears its Backups. So no form that an
/// Active starts with is right for all, and it cannot find the right one before the damage is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ChecksumSending {
    /// Sends each advertisement in both forms until the field shows which one it needs, then in that form alone. The default.
    ///
    /// * At the start each advertisement is two messages, the pseudo-header first. Every receiver accepts one of them, from the
    ///   first interval on. The other one costs a packet, and at a strict peer a rejected packet each interval: keepalived 2.3.3
    ///   logs one line until its state changes and counts `chk_err`; keepalived 2.2.7 and FRR 8.4 log each rejected packet.
    /// * After [`ENOUGH`](ChecksumEvidence::ENOUGH) accepted advertisements in one form and none in the other, it sends that
    ///   form alone. A sender of both forms is no evidence for one.
    /// * One accepted advertisement in the other form, from whichever router, brings back both forms at once.
    ///
    /// A receiver that accepts either form hears each advertisement twice. That changes nothing in the election.
    ///
    /// In a field where strict receivers of both kinds meet, a router that has heard one kind only still causes one takeover by
    /// the other kind. [`Both`](Self::Both) is for such a field.
    #[default]
    Adaptive,
    /// Sends each advertisement in both forms, always: for a field with strict receivers of both kinds.
    Both,
    /// Sends this form alone: for a field where every receiver accepts it. It costs no packet too many.
    Fixed(ChecksumForm),
}

/// The checksum forms in which one advertisement is sent.
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

/// The checksum forms of the version 3 advertisements that were accepted last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ChecksumEvidence {
    /// The form of the last one, and the number of advertisements in that form since one in the other form.
    last: Option<(ChecksumForm, u8)>,
}

impl ChecksumEvidence {
    /// The number of advertisements in one form, in a row, that shows that the field needs no other: 8.
    ///
    /// A sender of both forms looks like a sender of one form while the messages in the other one are lost. Seven in a row are
    /// lost once in 10^14 intervals at 1 % loss, and once in 10^7 at 10 %. The next message in the other form mends the error.
    pub const ENOUGH: u8 = 8;

    /// The form that the field needs, if the evidence is enough.
    #[must_use]
    pub const fn form(self) -> Option<ChecksumForm> {
        match self.last {
            Some((form, Self::ENOUGH..)) => Some(form),
            _ => None,
        }
    }

    /// Adds an accepted advertisement. One that fits both forms by chance changes nothing.
    pub(crate) fn add(&mut self, heard: ChecksumMatch) {
        let Some(form) = heard.form() else { return };
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
