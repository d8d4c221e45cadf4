//! The known objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::object::{Content, EndpointSlice, Object, ObjectKey, ObjectKind, Service};

/// The known objects, by source: a file of a folder, or a stream. Where two sources have the same
/// object, the source that is last in the order of names counts.
///
/// A change costs time in proportion to its own objects, however many others are known. The
/// Services that changes concern are collected for
/// [`WantedTable::update`](super::WantedTable::update).
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The versions of each object, by source.
    versions: BTreeMap<ObjectKey, BTreeMap<Arc<str>, Object>>,
    sources: BTreeMap<Arc<str>, BTreeSet<ObjectKey>>,
    /// The slices of each Service, by the key of the Service. It may have no Service yet.
    slices: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// The number of Services.
    services: usize,
    /// The Services that have changed, or whose slices have, since the last
    /// [`take_changed`](Self::take_changed).
    changed: BTreeSet<ObjectKey>,
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

impl Change {
    /// The kind of the object, if it is a single one.
    #[must_use]
    pub const fn kind(&self) -> Option<ObjectKind> {
        match self {
            Self::Replace { .. } => None,
            Self::Put { object, .. } => Some(object.key.kind),
            Self::Delete { object, .. } => Some(object.kind),
        }
    }
}

impl Objects {
    /// Applies a change, and returns whether an object differs now. The objects of a source that
    /// is not the last one of the object do not count.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Replace { source, objects } => self.replace(&source.into(), objects),
            Change::Put { source, object } => self.put(&source.into(), object),
            Change::Delete { source, object } => self.delete(&source, &object),
        }
    }

    fn replace(&mut self, source: &Arc<str>, objects: Vec<Object>) -> bool {
        let objects: BTreeMap<_, _> = objects
            .into_iter()
            .map(|object| (object.key.clone(), object))
            .collect();
        let before = self.sources.get(source).into_iter().flatten();
        let gone: Vec<_> = before
            .filter(|key| !objects.contains_key(*key))
            .cloned()
            .collect();
        let mut is_change = false;
        for key in gone {
            is_change |= self.delete(source, &key);
        }
        for object in objects.into_values() {
            is_change |= self.put(source, object);
        }
        is_change
    }

    fn put(&mut self, source: &Arc<str>, object: Object) -> bool {
        let key = object.key.clone();
        let of_source = self.sources.entry(source.clone()).or_default();
        if !of_source.contains(&key) {
            of_source.insert(key.clone());
        }
        let versions = self.versions.entry(key.clone()).or_default();
        let last = versions.last_key_value();
        let counts = last.is_none_or(|(last, _)| last <= source);
        let before = last.map(|(_, before)| before);
        if !counts || before == Some(&object) {
            versions.insert(source.clone(), object);
            return false;
        }
        if before.is_none() && key.kind == ObjectKind::Service {
            self.services += 1;
        }
        let concerned = [before.and_then(Object::service), object.service()];
        versions.insert(source.clone(), object);
        self.note(&key, concerned);
        true
    }

    fn delete(&mut self, source: &str, key: &ObjectKey) -> bool {
        if let Some(of_source) = self.sources.get_mut(source) {
            of_source.remove(key);
            if of_source.is_empty() {
                self.sources.remove(source);
            }
        }
        let Some(versions) = self.versions.get_mut(key) else {
            return false;
        };
        let counts = versions
            .last_key_value()
            .is_some_and(|(last, _)| **last == *source);
        let Some(before) = versions.remove(source) else {
            return false;
        };
        let after = versions.last_key_value().map(|(_, after)| after);
        if !counts || after == Some(&before) {
            return false;
        }
        let concerned = [before.service(), after.and_then(Object::service)];
        if versions.is_empty() {
            self.versions.remove(key);
            if key.kind == ObjectKind::Service {
                self.services -= 1;
            }
        }
        self.note(key, concerned);
        true
    }

    /// Notes the Services that an object concerned before and concerns now.
    fn note(&mut self, object: &ObjectKey, [before, after]: [Option<ObjectKey>; 2]) {
        if object.kind == ObjectKind::EndpointSlice && before != after {
            if let Some(service) = &before
                && let Some(slices) = self.slices.get_mut(service)
            {
                slices.remove(object);
                if slices.is_empty() {
                    self.slices.remove(service);
                }
            }
            if let Some(service) = &after {
                let slices = self.slices.entry(service.clone()).or_default();
                slices.insert(object.clone());
            }
        }
        self.changed.extend(before.into_iter().chain(after));
    }

    /// The number of objects of a kind.
    #[must_use]
    pub fn count(&self, kind: ObjectKind) -> usize {
        match kind {
            ObjectKind::Service => self.services,
            ObjectKind::EndpointSlice => self.versions.len() - self.services,
        }
    }

    /// The keys of all Services, in order.
    pub(super) fn services(&self) -> impl Iterator<Item = &ObjectKey> {
        // Services are first in the order of keys.
        let keys = self.versions.keys();
        keys.take_while(|key| key.kind == ObjectKind::Service)
    }

    /// A Service.
    pub(super) fn service(&self, key: &ObjectKey) -> Option<&Service> {
        match &self.object(key)?.content {
            Content::Service(service) => Some(service),
            Content::EndpointSlice(_) => None,
        }
    }

    /// The slices of a Service, in the order of their names.
    pub(super) fn slices_of(&self, service: &ObjectKey) -> Vec<&EndpointSlice> {
        let slices = self.slices.get(service).into_iter().flatten();
        let slices = slices.filter_map(|key| match &self.object(key)?.content {
            Content::EndpointSlice(slice) => Some(slice),
            Content::Service(_) => None,
        });
        slices.collect()
    }

    fn object(&self, key: &ObjectKey) -> Option<&Object> {
        let (_, object) = self.versions.get(key)?.last_key_value()?;
        Some(object)
    }

    /// Returns the Services that have changed, or whose slices have, since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.changed)
    }
}
