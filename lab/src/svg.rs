//! Pictures in SVG: bars, lines and words, readable on a light and on a dark background.

use std::fmt::{self, Display, Write};

/// Rules for pictures on a white background: the classes `ground`, `title`, `name`, `note` and
/// `axis`.
pub const STYLE: &str = r#".ground { fill: #ffffff }
text { font-family: system-ui, "DejaVu Sans", sans-serif; fill: #1f2430 }
.title { font-size: 15px; font-weight: 600 }
.name { font-size: 12px; font-weight: 600 }
.note { font-size: 11px; fill: #5b6472 }
.axis { stroke: #9aa3af; stroke-width: 1 }"#;

/// A picture that is being drawn. Lengths are in pixels. A class names a rule of the style sheet.
///
/// ```
/// use vrrp_lab::svg::{Anchor, Picture};
///
/// let mut picture = Picture::new(2.0);
/// picture.bar("active", (10.0, 20.0), (50.0, 8.0), Some("r1 & r2"));
/// picture.text("name", (10.0, 18.0), Anchor::Start, "Active");
/// let svg = picture.finish(200.0, 40.0, &[".active { fill: #2563c9 }"]);
/// assert!(svg.contains("<title>r1 &amp; r2</title>"));
/// ```
#[derive(Clone, Debug)]
pub struct Picture {
    radius: f64,
    body: String,
}

/// The part of a text that is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its first letter.
    Start,
    /// Its middle.
    Middle,
    /// Its last letter.
    End,
}

// Writing to a string does not fail.
impl Picture {
    /// An empty picture, whose bars have corners of this radius.
    #[must_use]
    pub const fn new(radius: f64) -> Self {
        Self {
            radius,
            body: String::new(),
        }
    }

    /// Draws a bar: its upper left corner, its width and height, and the text that a pointer on it
    /// shows.
    pub fn bar(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        title: Option<&str>,
    ) {
        let radius = self.radius;
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" rx="{radius}""#
        );
        let _ = match title {
            Some(title) => writeln!(self.body, "><title>{}</title></rect>", Escaped(title)),
            None => writeln!(self.body, "/>"),
        };
    }

    /// Draws a line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.2}" y1="{y1:.2}" x2="{x2:.2}" y2="{y2:.2}"/>"#
        );
    }

    /// Writes a line of text.
    pub fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.2}" y="{y:.2}" text-anchor="{anchor}">{}</text>"#,
            Escaped(words)
        );
    }

    /// Returns the document, with style sheets in CSS: [`STYLE`], or rules of its own, or both.
    #[must_use]
    pub fn finish(self, width: f64, height: f64, styles: &[&str]) -> String {
        let style = styles.join("\n");
        let body = self.body;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<style>
{style}
</style>
{body}</svg>
"#
        )
    }
}

/// A text, escaped for XML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                // XML 1.0 has no other control characters.
                character if character.is_control() => f.write_char(' ')?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_titles_are_escaped_and_shapes_are_where_they_were_put() {
        let mut picture = Picture::new(0.0);
        picture.bar("a", (1.0, 2.0), (3.456, 4.0), Some("<x>&\u{1}"));
        picture.bar("b", (1.0, 2.0), (3.0, 4.0), None);
        picture.line("c", (1.0, 2.0), (3.0, 4.0));
        picture.text("d", (1.0, 2.0), Anchor::Middle, "a < b");
        let svg = picture.finish(10.0, 20.0, &[".a { fill: red }"]);
        for part in [
            r#"viewBox="0 0 10 20""#,
            ".a { fill: red }",
            r#"<rect class="a" x="1.00" y="2.00" width="3.46" height="4.00" rx="0"><title>&lt;x&gt;&amp; </title></rect>"#,
            r#"<rect class="b" x="1.00" y="2.00" width="3.00" height="4.00" rx="0"/>"#,
            r#"<line class="c" x1="1.00" y1="2.00" x2="3.00" y2="4.00"/>"#,
            r#"<text class="d" x="1.00" y="2.00" text-anchor="middle">a &lt; b</text>"#,
        ] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
