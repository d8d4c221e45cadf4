//! Objects from JSON and YAML.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{Object, ObjectError};

/// The reason why a text has no objects.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The text is not YAML.
    #[error("not YAML: {0}")]
    Yaml(#[from] Box<serde_saphyr::Error>),
    /// A value is not an object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The API server ended the watch.
    #[error("the API server reports an error: {message}")]
    Server {
        /// The message of its status.
        message: String,
    },
}

/// A change from a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// An object as it is now. `is_event` is false for a stream that does not report deletions.
    Put {
        /// The object.
        object: Object,
        /// Whether an event carried the object.
        is_event: bool,
    },
    /// A deleted object as it was.
    Delete(Object),
}

/// An event of `kubectl get --watch --output-watch-events`, and of the API itself.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: EventType,
    object: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventType {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl WatchEvent {
    /// Reads one value of a stream: an event, an object, or a list.
    ///
    /// # Errors
    ///
    /// A [`ReadError`]: a value that is none of them, or an error that the API server reports.
    pub fn from_value(value: Value) -> Result<Vec<Self>, ReadError> {
        if value.get("object").is_none() {
            let put = |object| Self::Put {
                object,
                is_event: false,
            };
            return Ok(objects(value)?.into_iter().map(put).collect());
        }
        let Event { event_type, object } = serde_json::from_value(value)?;
        let event: fn(Object) -> Self = match event_type {
            EventType::Added | EventType::Modified => |object| Self::Put {
                object,
                is_event: true,
            },
            EventType::Deleted => Self::Delete,
            EventType::Bookmark => return Ok(Vec::new()),
            EventType::Error => {
                let message = object.get("message").and_then(Value::as_str);
                return Err(ReadError::Server {
                    message: message.unwrap_or("no message").to_owned(),
                });
            }
        };
        Ok(objects(object)?.into_iter().map(event).collect())
    }
}

/// The objects of a value: one, or the items of a list.
fn objects(mut value: Value) -> Result<Vec<Object>, ObjectError> {
    let is_list = value
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    if !is_list {
        return Ok(Object::from_value(value)?.into_iter().collect());
    }
    // The items of a typed list, such as `ServiceList`, have no kind of their own.
    let kind = value.get("kind").and_then(Value::as_str).map(str::to_owned);
    let item_kind = kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
    let item_kind = item_kind.filter(|kind| !kind.is_empty()).map(Value::from);
    let version = value.get("apiVersion").cloned();
    let items = match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for mut item in items {
        if let (Some(fields), Some(kind)) = (item.as_object_mut(), &item_kind) {
            fields.entry("kind").or_insert_with(|| kind.clone());
            if let Some(version) = &version {
                let own = fields.entry("apiVersion");
                own.or_insert_with(|| version.clone());
            }
        }
        found.extend(Object::from_value(item)?);
    }
    Ok(found)
}

fn all(values: impl IntoIterator<Item = Value>) -> Result<Vec<Object>, ReadError> {
    let mut found = Vec::new();
    for value in values {
        // An empty YAML document is no object and no error.
        if !value.is_null() {
            found.extend(objects(value)?);
        }
    }
    Ok(found)
}

/// Reads the objects of a JSON text: values one after another, each an object or a list.
///
/// # Errors
///
/// A [`ReadError`] for the first fault.
pub fn read_json(text: &str) -> Result<Vec<Object>, ReadError> {
    let values = serde_json::Deserializer::from_str(text).into_iter();
    all(values.collect::<Result<Vec<_>, _>>()?)
}

/// Reads the objects of a YAML text with any number of documents.
///
/// # Errors
///
/// A [`ReadError`] for the first fault.
pub fn read_yaml(text: &str) -> Result<Vec<Object>, ReadError> {
    // A cluster's objects are larger than the limits for configuration files, and come from a
    // trusted folder.
    let options = serde_saphyr::options! {
        budget: None,
    };
    let values: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(Box::new)?;
    all(values)
}

impl fmt::Display for WatchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { object, .. } => write!(f, "put {}", object.key()),
            Self::Delete(object) => write!(f, "delete {}", object.key()),
        }
    }
}
