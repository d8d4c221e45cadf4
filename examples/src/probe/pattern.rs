//! Patterns for answers: regular expressions, and bytes with wildcard digits.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, de};
use serde_with::{As, DisplayFromStr};

/// The steps that a backtracking expression may take in one answer.
const BACKTRACKS: usize = 1_000_000;

/// A regular expression.
///
/// Expressions of the crate `regex` run in linear time. Those with look-around or back-references
/// run with backtracking, up to a limit; an answer that exceeds it does not match. Two patterns are
/// equal if their texts are.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    expression: Expression,
}

#[derive(Clone)]
enum Expression {
    Linear(regex::bytes::Regex),
    Backtracking(Arc<fancy_regex::Regex>),
}

/// A pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The text is not a regular expression.
    #[error("regular expression {0:?}: {1}")]
    Expression(String, String),
    /// The text is not pairs of hexadecimal digits.
    #[error("bytes {0:?}: use pairs of hexadecimal digits, such as \"00 ff\"")]
    Bytes(String),
    /// The text is not pairs of hexadecimal digits or `X`.
    #[error("bytes {0:?}: use pairs of hexadecimal digits or X, such as \"00 fX XX\"")]
    BytePattern(String),
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// [`PatternError::Expression`] with the reason.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        Self::with_flags("", text)
    }

    /// Compiles an expression with flags, such as `im`.
    ///
    /// # Errors
    ///
    /// [`PatternError::Expression`] with the reason.
    pub fn with_flags(flags: &str, text: &str) -> Result<Self, PatternError> {
        Self::compile(flags, flags, text)
    }

    /// Compiles an expression in which a character is a byte, unless it needs backtracking.
    ///
    /// # Errors
    ///
    /// [`PatternError::Expression`] with the reason.
    pub fn of_bytes(flags: &str, text: &str) -> Result<Self, PatternError> {
        Self::compile(&format!("{flags}-u"), flags, text)
    }

    /// Compiles an expression with the flags of the linear engine and those of the backtracking
    /// engine.
    fn compile(linear: &str, backtracking: &str, text: &str) -> Result<Self, PatternError> {
        let with = |flags: &str| match flags {
            "" => text.to_owned(),
            flags => format!("(?{flags}){text}"),
        };
        let shown = with(linear);
        let linear = regex::bytes::Regex::new(&shown).map(Expression::Linear);
        let expression = linear.or_else(|_| {
            let builder = fancy_regex::RegexBuilder::new(&with(backtracking))
                .backtrack_limit(BACKTRACKS)
                .build();
            builder
                .map(|expression| Expression::Backtracking(Arc::new(expression)))
                .map_err(|error| PatternError::Expression(text.into(), error.to_string()))
        })?;
        Ok(Self {
            text: shown.into(),
            expression,
        })
    }

    /// Returns where the first match starts. For a backtracking expression, bytes that are not
    /// UTF-8 are replaced.
    #[must_use]
    pub fn find(&self, answer: &[u8]) -> Option<usize> {
        match &self.expression {
            Expression::Linear(expression) => expression.find(answer).map(|found| found.start()),
            Expression::Backtracking(expression) => {
                let answer = String::from_utf8_lossy(answer);
                let found = expression.find(&*answer).ok().flatten();
                found.map(|found| found.start())
            }
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        As::<DisplayFromStr>::deserialize(deserializer)
    }
}

/// Bytes to send. In a file: the text itself, or `{ hex = "00 ff" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// Reads pairs of hexadecimal digits; blanks between them are ignored.
    ///
    /// # Errors
    ///
    /// [`PatternError::Bytes`].
    pub fn from_hex(text: &str) -> Result<Self, PatternError> {
        let wrong = || PatternError::Bytes(text.into());
        let digits: Option<Vec<u8>> = digits(text)
            .map(|digit| digit.to_digit(16).and_then(|it| u8::try_from(it).ok()))
            .collect();
        let digits = digits.ok_or_else(wrong)?;
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => Ok(high << 4 | low),
            _ => Err(wrong()),
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text, or bytes such as { hex = \"00 ff\" }")]
enum BytesForm {
    Text(String),
    Hex(Hex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hex {
    hex: String,
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match BytesForm::deserialize(deserializer)? {
            BytesForm::Text(text) => Ok(Self(text.into())),
            BytesForm::Hex(Hex { hex }) => Self::from_hex(&hex).map_err(de::Error::custom),
        }
    }
}

/// The first bytes of an answer, in which some hexadecimal digits may have any value.
///
/// It is written as hexadecimal digits, with `X` for any digit. Only as many bytes are compared as
/// both the pattern and the answer have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytePattern(Vec<(u8, u8)>);

impl BytePattern {
    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the pattern has no bytes, so that any answer matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an answer matches.
    #[must_use]
    pub fn matches(&self, answer: &[u8]) -> bool {
        let mut pairs = self.0.iter().zip(answer);
        pairs.all(|((value, mask), byte)| byte & mask == *value)
    }
}

impl FromStr for BytePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = || PatternError::BytePattern(text.into());
        let halves: Option<Vec<(u8, u8)>> = digits(text)
            .map(|digit| match digit {
                'X' | 'x' => Some((0, 0)),
                digit => {
                    let value = u8::try_from(digit.to_digit(16)?).ok()?;
                    Some((value, 0xf))
                }
            })
            .collect();
        let halves = halves.ok_or_else(wrong)?;
        let pairs = halves.chunks(2).map(|pair| match pair {
            [high, low] => Ok((high.0 << 4 | low.0, high.1 << 4 | low.1)),
            _ => Err(wrong()),
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }
}

impl<'de> Deserialize<'de> for BytePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        As::<DisplayFromStr>::deserialize(deserializer)
    }
}

fn digits(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|it| !it.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_expression_matches_bytes_that_are_not_text() {
        let pattern = Pattern::new("o(k|kay)").unwrap();
        assert_eq!(pattern.find(b"\xff\xfe ok"), Some(3));
        assert_eq!(pattern.find(b"no"), None);
    }

    #[test]
    fn an_expression_with_look_around_works_and_its_backtracking_is_bounded() {
        let pattern = Pattern::new("(?<!not )ready").unwrap();
        assert_eq!(pattern.find(b"it is ready"), Some(6));
        assert_eq!(pattern.find(b"it is not ready"), None);
        // Without the limit this would take longer than the universe has existed.
        let slow = Pattern::new("(?=(a+)+$)x(?=y)|(a|aa)+(?=b)$").unwrap();
        assert_eq!(slow.find(&[b'a'; 200]), None);
    }

    #[test]
    fn a_wrong_expression_is_named() {
        let error = Pattern::new("(").unwrap_err().to_string();
        assert!(error.starts_with("regular expression \"(\": "), "{error}");
    }

    #[test]
    fn bytes_are_read_from_hexadecimal_digits() {
        assert_eq!(Bytes::from_hex("00 fF0a").unwrap().0, [0, 0xff, 0x0a]);
        for text in ["0", "zz", "00 f"] {
            let error = Bytes::from_hex(text).unwrap_err();
            assert_eq!(error, PatternError::Bytes(text.into()));
        }
    }

    #[test]
    fn open_places_of_a_byte_pattern_match_anything() {
        let half = "01 X2 XX f".parse::<BytePattern>();
        assert!(matches!(half, Err(PatternError::BytePattern(_))));
        let pattern: BytePattern = "01 X2 XX".parse().unwrap();
        assert_eq!(pattern.len(), 3);
        for (answer, expected) in [
            (&[1, 0x72, 9][..], true),
            (&[1, 0x73, 9], false),
            (&[1], true),
            (&[1, 2, 3, 4], true),
            (&[2], false),
        ] {
            assert_eq!(pattern.matches(answer), expected, "{answer:?}");
        }
    }
}
