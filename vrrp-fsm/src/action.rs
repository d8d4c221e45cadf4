//! The actions of the host.

use vrrp_proto::{Priority, Versions};

use crate::{ChecksumForms, Transition};

/// An action of the host. Actions are performed in order.
///
/// An advertisement is sent before the slow work, so the other routers release the addresses; an
/// address exists before it is announced (S-10, A-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Action {
    /// Send an advertisement.
    /// [`VirtualRouter::advertisements`](crate::VirtualRouter::advertisements) returns its
    /// messages.
    SendAdvertisement(Outgoing),
    /// Serve the virtual addresses: install them, join their solicited-node groups (A-07), answer
    /// for them, and forward the packets to the virtual MAC.
    ///
    /// Idempotent. [`VirtualRouter::accepts_traffic`](crate::VirtualRouter::accepts_traffic)
    /// returns whether local processes may accept packets to the addresses.
    InstallAddresses,
    /// Announce each virtual address: a gratuitous ARP (A-11) or an unsolicited neighbor
    /// advertisement (A-13).
    Announce {
        /// Messages per address, at least 1. The host may pace them.
        repeat: u8,
    },
    /// Undo [`InstallAddresses`](Self::InstallAddresses) (S-31). The host drops the rest of an
    /// announcement.
    RemoveAddresses,
    /// The state has changed. It is the last action of a change of state.
    StateChanged(Transition),
}

/// An advertisement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outgoing {
    /// The priority to advertise: the effective one, or 0 to resign.
    pub priority: Priority,
    /// The versions of its messages: with [`Versions::Both`], one message of each (O-10).
    pub versions: Versions,
    /// The checksum forms of version 3 over IPv4: with [`ChecksumForms::Both`], one message of each
    /// (AMB-01). Other messages have one form.
    pub checksum: ChecksumForms,
}

/// The actions of one step, in order: at most [`CAPACITY`](Self::CAPACITY), held inline.
///
/// ```
/// use vrrp_fsm::{Actions, Instant, Config, Event, State, VirtualRouter};
/// use vrrp_proto::{Family, Vrid};
///
/// let mut router = VirtualRouter::new(Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv4))?;
/// let startup = Event::Startup { primary_address: [192, 0, 2, 11].into() };
/// let actions: Actions = router.handle_event(Instant::ZERO, startup);
/// assert_eq!(actions.len(), 1);
/// for action in actions {
///     println!("{action:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "what the state machine asks for has to be done"]
pub struct Actions {
    // The first `len` are valid.
    list: [Action; Self::CAPACITY],
    len: u8,
}

impl Actions {
    /// The most actions of one step: a takeover has four.
    pub const CAPACITY: usize = 4;

    /// No action.
    pub(crate) const NONE: Self = Self {
        list: [Action::InstallAddresses; Self::CAPACITY],
        len: 0,
    };

    pub(crate) fn of<const N: usize>(actions: [Option<Action>; N]) -> Self {
        const { assert!(N <= Self::CAPACITY) };
        let mut all = Self::NONE;
        for (slot, action) in all.list.iter_mut().zip(actions.into_iter().flatten()) {
            *slot = action;
            all.len += 1;
        }
        all
    }

    /// The actions.
    #[must_use]
    pub fn as_slice(&self) -> &[Action] {
        self.list.get(..self.len()).unwrap_or_default()
    }

    /// The number of actions.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no action.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the change of state among them, if there is one.
    #[must_use]
    pub fn transition(&self) -> Option<Transition> {
        self.as_slice().iter().find_map(|action| match action {
            Action::StateChanged(transition) => Some(*transition),
            _ => None,
        })
    }
}

impl Default for Actions {
    fn default() -> Self {
        Self::NONE
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = core::iter::Take<core::array::IntoIter<Action, { Self::CAPACITY }>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter().take(self.len())
    }
}

impl PartialEq for Actions {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Actions {}

impl core::fmt::Debug for Actions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}
