//! What the host has to do.

use vrrp_proto::{Priority, Versions};

use crate::{ChecksumForms, Transition};

/// Something that the host has to do, in the order in which the actions come.
///
/// The advertisement goes out before the slow work, so that the other routers let go of the addresses; an address exists before it
/// is announced (S-10, A-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Action {
    /// Send an advertisement. The machine says when; the host holds the octets.
    SendAdvertisement(Outgoing),
    /// Be reachable under the virtual addresses: install them, join their solicited-node groups (A-07), answer for them, and forward
    /// what comes to the virtual MAC.
    ///
    /// It states what should be, so that it does no harm to do it again. Whether local processes may accept packets to the addresses
    /// is what [`VirtualRouter::accepts_traffic`](crate::VirtualRouter::accepts_traffic) says.
    InstallAddresses,
    /// Announce each virtual address: a gratuitous ARP (A-11) or an unsolicited neighbor advertisement (A-13).
    Announce {
        /// Messages per address, at least 1. The host may pace them.
        repeat: u8,
    },
    /// Undo [`InstallAddresses`](Self::InstallAddresses) (S-31). What it has not sent yet of an announcement, the host drops.
    RemoveAddresses,
    /// The state has changed. Comes last, when everything that belongs to the change has been asked for.
    StateChanged(Transition),
}

/// An advertisement to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outgoing {
    /// The priority to advertise: the effective one, or 0 to resign.
    pub priority: Priority,
    /// The versions in which to send it: with [`Versions::Both`], a message of each (O-10).
    pub versions: Versions,
    /// The forms in which to send version 3 over IPv4: with [`ChecksumForms::Both`], a message of each (AMB-01). The other
    /// messages have one form, which stands here where only they are sent.
    pub checksum: ChecksumForms,
}

/// The actions of one step, in order: at most [`CAPACITY`](Self::CAPACITY), held inline.
///
/// ```
/// use vrrp_fsm::{Actions, Instant, Config, Event, State, VirtualRouter};
/// use vrrp_proto::{Family, Vrid};
///
/// let mut router = VirtualRouter::new(Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv4))?;
/// let actions: Actions = router.handle_event(Instant::ZERO, Event::Startup { primary_address: [192, 0, 2, 11].into() });
/// assert_eq!(actions.len(), 1);
/// for action in actions {
///     println!("{action:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "what the state machine asks for has to be done"]
pub struct Actions {
    // `len` of these count; the rest is filling.
    list: [Action; Self::CAPACITY],
    len: u8,
}

impl Actions {
    /// The most actions that one step can ask for: a takeover asks for four.
    pub const CAPACITY: usize = 4;

    /// Nothing to do.
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

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The change of state among them, if there is one.
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
