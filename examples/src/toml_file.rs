//! Configuration files in TOML: times, and errors with the line and a mark under the position.

use std::{
    fs,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::{Deserialize, Deserializer, de};

/// Renders an error of a file as rustc does.
#[must_use]
pub fn complaint(
    path: &Path,
    text: &str,
    message: &str,
    span: Option<Range<usize>>,
    is_coloured: bool,
) -> String {
    let title = Level::ERROR.primary_title(message);
    let path = path.to_string_lossy();
    let group = match span {
        Some(span) => title.element(
            Snippet::source(text)
                .path(path)
                .annotation(AnnotationKind::Primary.span(span)),
        ),
        None => title.element(Origin::path(path)),
    };
    let renderer = if is_coloured {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group])
}

/// For `deserialize_with`: a time span such as `"500ms"` or `"1m 30s"`.
///
/// # Errors
///
/// The deserializer's, for another text.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| de::Error::custom(format!("{text:?}: use a time such as \"500ms\" or \"2s\"")))
}

/// Returns values that differ when a file has changed: its modification time, its length, and its
/// inode. `None` while the file does not exist.
#[must_use]
pub fn fingerprint(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
