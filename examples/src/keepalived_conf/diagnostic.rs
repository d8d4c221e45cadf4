//! Complaints for people: the line, a mark under the word, and help.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{
    Reading,
    complaint::{Complaint, Weight},
    source::{File, Place},
};

/// Renders all complaints of a reading in the order of their places, those without a place last.
#[must_use]
pub fn render(reading: &Reading, is_coloured: bool) -> String {
    let renderer = if is_coloured {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut complaints: Vec<&Complaint> = reading.complaints.iter().collect();
    complaints.sort_by_key(|complaint| (complaint.place.is_none(), complaint.place));
    let mut text = String::new();
    for complaint in complaints {
        text.push_str(&renderer.render(&groups(complaint, &reading.files)));
        text.push('\n');
    }
    text
}

fn groups<'a>(complaint: &'a Complaint, files: &'a [File]) -> Vec<Group<'a>> {
    let level = match complaint.weight {
        Weight::Security | Weight::Error | Weight::UnknownInterface => Level::ERROR,
        Weight::Remark | Weight::Notice => Level::NOTE,
        Weight::Advice => Level::WARNING,
    };
    let title = match &complaint.object {
        Some(object) => format!("{object}: {}", complaint.message),
        None => complaint.message.clone(),
    };
    let title = level.primary_title(title);
    let snippet = complaint
        .place
        .and_then(|place| snippet(complaint, place, files));
    let mut group = match snippet {
        Some(snippet) => title.element(snippet),
        None => Group::with_title(title),
    };
    if let Some(help) = &complaint.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    vec![group]
}

fn snippet<'a>(
    complaint: &'a Complaint,
    place: Place,
    files: &'a [File],
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let file = files.get(place.file)?;
    let line = file.text.lines().nth(place.line.checked_sub(1)?)?;
    Some(
        Snippet::source(line)
            .path(file.path.to_string_lossy().into_owned())
            .line_start(place.line)
            .annotation(AnnotationKind::Primary.span(span(line, complaint.token.as_deref()))),
    )
}

/// The position of the word in its line, or the whole line if the word comes from a definition.
fn span(line: &str, token: Option<&str>) -> Range<usize> {
    let found = token.filter(|token| !token.is_empty()).and_then(|token| {
        let start = line.find(token)?;
        Some(start..start + token.len())
    });
    found.unwrap_or_else(|| {
        let start = line.len() - line.trim_start().len();
        start..line.trim_end().len().max(start)
    })
}
