//! The known objects.

use std::collections::BTreeMap;

use super::object::{Object, ObjectKey, ObjectKind};

/// The known objects, by source: a file of a folder, or a stream. Where two sources have the same
/// object, the source that is last in the order of names counts.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    sources: BTreeMap<String, BTreeMap<ObjectKey, Object>>,
}

/// A change of [`Objects`].
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A source has these objects and no others. A source without objects is forgotten.
    Replace {
        /// The name of the source.
        source: String,
        /// The objects.
        objects: Vec<Object>,
    },
    /// An object was added or modified.
    Put {
        /// The name of the source.
        source: String,
        /// The object.
        object: Object,
    },
    /// An object was deleted.
    Delete {
        /// The name of the source.
        source: String,
        /// The object.
        object: ObjectKey,
    },
}

impl Objects {
    /// Applies a change, and returns whether it made a difference.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Replace { source, objects } => {
                let objects: BTreeMap<_, _> = objects
                    .into_iter()
                    .map(|object| (object.key.clone(), object))
                    .collect();
                if objects.is_empty() {
                    self.sources.remove(&source).is_some()
                } else {
                    let before = self.sources.insert(source.clone(), objects);
                    before.as_ref() != self.sources.get(&source)
                }
            }
            Change::Put { source, object } => {
                let objects = self.sources.entry(source).or_default();
                let is_new = objects.get(&object.key) != Some(&object);
                objects.insert(object.key.clone(), object);
                is_new
            }
            Change::Delete { source, object } => self
                .sources
                .get_mut(&source)
                .is_some_and(|objects| objects.remove(&object).is_some()),
        }
    }

    /// The number of objects of a kind.
    #[must_use]
    pub fn count(&self, kind: ObjectKind) -> usize {
        let objects = self.all();
        objects.keys().filter(|key| key.kind == kind).count()
    }

    /// All objects, each once.
    pub(super) fn all(&self) -> BTreeMap<&ObjectKey, &Object> {
        self.sources.values().flatten().collect()
    }
}
