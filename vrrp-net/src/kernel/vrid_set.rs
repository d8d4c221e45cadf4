//! A set of VRIDs.

use vrrp_proto::Vrid;

/// The bits in a word of the set.
pub(super) const WORD: u32 = u32::BITS;

/// The words of the set.
pub(super) const WORDS: u32 = 256 / WORD;

/// A set of VRIDs.
///
/// ```
/// use vrrp_net::VridSet;
/// use vrrp_proto::Vrid;
///
/// let vrid = Vrid::new(51).ok_or("a VRID is 1 to 255")?;
/// let mut set = VridSet::default();
/// set.insert(vrid);
/// assert!(set.contains(vrid));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VridSet([u32; WORDS as usize]);

impl VridSet {
    /// The bits, those of VRID 0 to 31 first.
    pub(super) const fn words(&self) -> [u32; WORDS as usize] {
        self.0
    }

    /// Adds a VRID.
    pub fn insert(&mut self, vrid: Vrid) {
        if let Some(word) = self.0.get_mut(place(vrid)) {
            *word |= bit(vrid);
        }
    }

    /// Whether the set contains this VRID.
    #[must_use]
    pub fn contains(&self, vrid: Vrid) -> bool {
        self.0
            .get(place(vrid))
            .is_some_and(|word| word & bit(vrid) != 0)
    }
}

impl FromIterator<Vrid> for VridSet {
    fn from_iter<I: IntoIterator<Item = Vrid>>(vrids: I) -> Self {
        let mut set = Self::default();
        for vrid in vrids {
            set.insert(vrid);
        }
        set
    }
}

fn place(vrid: Vrid) -> usize {
    usize::from(vrid.get()) / WORD as usize
}

fn bit(vrid: Vrid) -> u32 {
    1 << (u32::from(vrid.get()) % WORD)
}
