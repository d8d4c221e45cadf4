//! Objects from JSON and YAML.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufReader, Read},
    rc::Rc,
};

use serde::Deserialize;
use serde_json::Value;

use super::{Object, ObjectError};

/// The longest text of a file, and the longest value of a stream, in octets: about 100,000 Services
/// with their slices. Reading needs memory in proportion to the text.
pub const MAX_TEXT: u64 = 256 * 1024 * 1024;

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
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file or a value of a stream is longer than [`MAX_TEXT`].
    #[error(
        "the text is longer than {MAX_TEXT} octets, the most that is read; use more files, or watch \
         the objects one by one"
    )]
    TooLong,
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

/// A reader that fails after a number of octets.
struct Limited<R> {
    reader: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 && !room.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                ReadError::TooLong.to_string(),
            ));
        }
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX);
        let most = most.min(room.len());
        let count = self.reader.read(&mut room[..most])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

/// The changes of a stream of JSON values one after another, each an event, an object or a list.
///
/// An item is one value, and an error concerns that value alone, except that a text that is not
/// JSON ends the iterator. A value is read as soon as its last octet is there, however the octets
/// arrive.
pub fn watch_events(stream: impl Read) -> impl Iterator<Item = Result<Vec<WatchEvent>, ReadError>> {
    values_within(stream, MAX_TEXT).map(|value| WatchEvent::from_value(value?))
}

/// The values of a stream, each of at most `limit` octets.
pub(super) fn values_within(
    stream: impl Read,
    limit: u64,
) -> impl Iterator<Item = Result<Value, ReadError>> {
    let left = Rc::new(Cell::new(limit));
    let reader = Limited {
        reader: BufReader::new(stream),
        left: left.clone(),
    };
    let mut values = serde_json::Deserializer::from_reader(reader).into_iter();
    std::iter::from_fn(move || {
        left.set(limit);
        Some(values.next()?.map_err(|error| match error.io_error_kind() {
            Some(io::ErrorKind::FileTooLarge) => ReadError::TooLong,
            _ => error.into(),
        }))
    })
}

/// Reads the text of a file.
///
/// # Errors
///
/// A [`ReadError`] if the text cannot be read, is not UTF-8, or is longer than [`MAX_TEXT`].
pub fn read_text(file: impl Read) -> Result<String, ReadError> {
    let mut text = String::new();
    let count = file.take(MAX_TEXT + 1).read_to_string(&mut text)? as u64;
    if count > MAX_TEXT {
        return Err(ReadError::TooLong);
    }
    Ok(text)
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

/// Reads the objects of a YAML text with any number of documents. Aliases may repeat up to four
/// times the length of the text.
///
/// # Errors
///
/// A [`ReadError`] for the first fault.
pub fn read_yaml(text: &str) -> Result<Vec<Object>, ReadError> {
    // A cluster's objects are larger than the library's limits for configuration files. An
    // alias repeats a part of the text without its length, so the result has a limit too.
    let room = text.len().saturating_mul(4).saturating_add(65_536);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: room,
            max_nodes: room,
            max_aliases: room,
            max_anchors: room,
            max_documents: room,
            max_merge_keys: room,
            max_total_scalar_bytes: room,
            max_total_comment_bytes: room,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: room,
        },
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
