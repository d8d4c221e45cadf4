//! Values as the oracle writes them.

use serde_json::{Value, json};

use crate::keepalived_conf::script::Script;

/// An object in which lists and objects without content are left out.
pub(super) fn object(fields: Vec<(&str, Value)>) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let kept = fields.into_iter().filter(|(_, value)| !is_empty(value));
    Value::Object(kept.map(|(name, value)| (name.into(), value)).collect())
}

pub(super) fn list<T>(items: &[T], show: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(show).collect())
}

/// Microseconds as seconds, whole ones as integers.
pub(super) fn seconds(microseconds: i64) -> Value {
    if microseconds % 1_000_000 == 0 {
        return json!(microseconds / 1_000_000);
    }
    // As with %g of printf: six significant digits.
    let text = significant(microseconds);
    text.parse::<f64>()
        .map_or(Value::Null, |value| json!(value))
}

/// Microseconds as seconds with six significant digits.
fn significant(microseconds: i64) -> String {
    let whole = format!("{microseconds:07}");
    let (seconds, fraction) = whole.split_at(whole.len() - 6);
    let digits = if seconds == "0" {
        6
    } else {
        6_usize.saturating_sub(seconds.len())
    };
    format!("{seconds}.{}", fraction.get(..digits.min(6)).unwrap_or("0"))
}

/// `true`, or no value.
pub(super) fn flag(is_set: bool) -> Value {
    if is_set { json!(true) } else { Value::Null }
}

/// A number as text, as dumps have it.
pub(super) fn text(number: Option<i64>) -> Value {
    number.map_or(Value::Null, |number| json!(number.to_string()))
}

/// A command and the user that runs it.
pub(super) fn script(script: &Script) -> Value {
    json!({
        "argv": script.arguments,
        "uid": script.account.uid,
        "gid": script.account.gid,
    })
}
