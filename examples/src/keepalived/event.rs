//! Changes in keepalived's words: lines of the notification FIFO, arguments of scripts.

use vrrp_fsm::{Reason, ShutdownCause, State};
use vrrp_proto::Priority;

/// The subject of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// A `vrrp_instance`.
    Instance,
    /// A `vrrp_sync_group`.
    Group,
}

/// The change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is Active.
    Master,
    /// It is Backup.
    Backup,
    /// It cannot run.
    Fault,
    /// The daemon stops.
    Stop,
    /// It is no longer configured. Reported as a fault, without the command for faults.
    Removed,
    /// It is no longer configured, and its configuration had a command for that.
    Deleted,
    /// An Active received an advertisement of lower priority.
    RivalDetected,
    /// The priority changed while the instance is Active.
    MasterPriority,
    /// The priority changed while the instance is Backup.
    BackupPriority,
}

impl Change {
    /// The word in FIFOs and in the arguments of `notify`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault | Self::Removed => "FAULT",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
            Self::RivalDetected => "MASTER_RX_LOWER_PRI",
            Self::MasterPriority => "MASTER_PRIORITY",
            Self::BackupPriority => "BACKUP_PRIORITY",
        }
    }

    /// The name in the configuration of the command for this change alone.
    #[must_use]
    pub const fn command(self) -> Option<&'static str> {
        Some(match self {
            Self::Master => "master",
            Self::Backup => "backup",
            Self::Fault => "fault",
            Self::Stop => "stop",
            Self::Deleted => "deleted",
            Self::RivalDetected => "master rx lower pri",
            Self::Removed | Self::MasterPriority | Self::BackupPriority => return None,
        })
    }

    /// Whether it is a new state. The script for all states (`notify`) runs for no other change.
    #[must_use]
    pub const fn is_state(self) -> bool {
        !matches!(
            self,
            Self::RivalDetected | Self::MasterPriority | Self::BackupPriority
        )
    }

    /// The change to report when a router has come to a state.
    #[must_use]
    pub const fn of(state: State, reason: Option<Reason>) -> Self {
        match (state, reason) {
            (State::Active, _) => Self::Master,
            (State::Backup, _) => Self::Backup,
            (State::Initialize, Some(Reason::Shutdown(ShutdownCause::Administrative))) => {
                Self::Stop
            }
            (State::Initialize, _) => Self::Fault,
        }
    }
}

/// A change of an instance or a sync group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The kind of the subject.
    pub party: Party,
    /// Its name.
    pub name: String,
    /// The change.
    pub change: Change,
    /// The effective priority; 0 for a sync group.
    pub priority: u8,
}

impl Event {
    /// A change of an instance.
    #[must_use]
    pub fn of_instance(name: &str, change: Change, priority: Priority) -> Self {
        Self {
            party: Party::Instance,
            name: name.into(),
            change,
            priority: priority.get(),
        }
    }

    /// A change of a sync group.
    #[must_use]
    pub fn of_group(name: &str, change: Change) -> Self {
        Self {
            party: Party::Group,
            name: name.into(),
            change,
            priority: 0,
        }
    }

    const fn party_word(&self) -> &'static str {
        match self.party {
            Party::Instance => "INSTANCE",
            Party::Group => "GROUP",
        }
    }

    /// The line of the FIFO, with its end.
    ///
    /// ```
    /// use vrrp_examples::keepalived::event::{Change, Event};
    /// use vrrp_proto::Priority;
    ///
    /// let event = Event::of_instance("VI_1", Change::Master, Priority::new(100));
    /// assert_eq!(event.fifo_line(), "INSTANCE \"VI_1\" MASTER 100\n");
    /// assert_eq!(event.arguments(), ["INSTANCE", "VI_1", "MASTER", "100"]);
    /// ```
    #[must_use]
    pub fn fifo_line(&self) -> String {
        format!(
            "{} \"{}\" {} {}\n",
            self.party_word(),
            self.name,
            self.change.word(),
            self.priority
        )
    }

    /// The arguments that `notify` gets after its own.
    #[must_use]
    pub fn arguments(&self) -> [String; 4] {
        [
            self.party_word().into(),
            self.name.clone(),
            self.change.word().into(),
            self.priority.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_reported_in_the_words_of_keepalived() {
        let shutdown = |cause| Some(Reason::Shutdown(cause));
        for (state, reason, change) in [
            (State::Active, None, Change::Master),
            (State::Backup, None, Change::Backup),
            (State::Initialize, None, Change::Fault),
            (
                State::Initialize,
                shutdown(ShutdownCause::Fault),
                Change::Fault,
            ),
            (
                State::Initialize,
                shutdown(ShutdownCause::Group),
                Change::Fault,
            ),
            (
                State::Initialize,
                shutdown(ShutdownCause::Administrative),
                Change::Stop,
            ),
        ] {
            assert_eq!(Change::of(state, reason), change);
        }
        let group = Event::of_group("VG \"1\"", Change::Backup);
        assert_eq!(group.fifo_line(), "GROUP \"VG \"1\"\" BACKUP 0\n");
    }
}
