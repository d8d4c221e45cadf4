//! Values of keywords: numbers, times, booleans.

use super::complaint::Kind;

/// The values that a number may have, and the treatment of malformed numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: i64,
    pub(super) high: i64,
    /// The number of decimal places; the value counts units of the last place.
    pub(super) places: u32,
    /// Whether a daemon at its start uses the leading digits of a malformed number.
    pub(super) is_lenient: bool,
    /// The factor of the value, after its check.
    pub(super) factor: i64,
}

impl Range {
    pub(super) const fn whole(low: i64, high: i64) -> Self {
        Self {
            low,
            high,
            places: 0,
            is_lenient: false,
            factor: 1,
        }
    }

    /// A time in microseconds, written in seconds.
    pub(super) const fn seconds(low: i64, high: i64) -> Self {
        Self {
            low,
            high,
            places: 6,
            is_lenient: true,
            factor: 1,
        }
    }

    /// A time in microseconds, written in whole seconds.
    pub(super) const fn whole_seconds(low: i64, high: i64) -> Self {
        Self {
            is_lenient: true,
            factor: 1_000_000,
            ..Self::whole(low, high)
        }
    }

    pub(super) const fn lenient(self) -> Self {
        Self {
            is_lenient: true,
            ..self
        }
    }

    /// The range as a reader of the configuration would write it.
    pub(super) fn describe(&self) -> String {
        let show = |value: i64| {
            if self.places == 0 {
                return value.to_string();
            }
            let unit = 10_i64.pow(self.places);
            let text = format!(
                "{}.{:0width$}",
                value / unit,
                value % unit,
                width = self.places as usize
            );
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        format!("{} to {}", show(self.low), show(self.high))
    }
}

/// A number as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// The value that a daemon uses if it starts with this configuration.
    pub(super) value: Option<i64>,
    /// The fault of the number, if it has one.
    pub(super) problem: Option<Kind>,
}

/// Reads a whole number or a decimal fraction.
pub(super) fn number(text: &str, range: Range) -> Number {
    let number = unscaled(text, range);
    Number {
        value: number.value.map(|it| it.saturating_mul(range.factor)),
        ..number
    }
}

fn unscaled(text: &str, range: Range) -> Number {
    match digits(text, range.places) {
        Some(value) if (range.low..=range.high).contains(&value) => Number {
            value: Some(value),
            problem: None,
        },
        _ => any_number(text, range),
    }
}

/// Reads a number that may have a sign, a decimal point, or a fault.
fn any_number(text: &str, range: Range) -> Number {
    let trimmed = text.trim_start_matches(super::word::is_blank);
    let is_unsigned = range.low >= 0;
    if is_unsigned && trimmed.starts_with('-') {
        return Number {
            value: None,
            problem: Some(Kind::NegativeNumber),
        };
    }
    let (digits, mut problem) = if range.places == 0 {
        ((trimmed.to_owned(), 0), None)
    } else {
        scale(trimmed, range.places)
    };
    let (value, is_whole, has_digits) = leading_integer(&digits.0);
    let value = value.map(|value| value + i128::from(digits.1));
    if !is_whole || !has_digits {
        problem = Some(Kind::InvalidNumber);
    }
    let in_range = value
        .and_then(|value| i64::try_from(value).ok())
        .filter(|value| (range.low..=range.high).contains(value));
    if in_range.is_none() && problem.is_none() {
        problem = Some(Kind::NumberOutOfRange);
    }
    let value = match problem {
        None | Some(Kind::TooManyDecimals) => in_range,
        Some(_) if range.is_lenient => in_range,
        Some(_) => None,
    };
    Number { value, problem }
}

/// The value of a text that consists of digits, in units of the last decimal place. `None` for any
/// other text, and for one that may be too large.
fn digits(text: &str, places: u32) -> Option<i64> {
    /// As many as an `i64` always holds.
    const MOST: usize = 18;
    if text.is_empty() || text.len() + places as usize > MOST {
        return None;
    }
    let whole = text.bytes().try_fold(0, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        Some(value * 10 + digit)
    });
    Some(whole? * 10_i64.pow(places))
}

/// Moves the decimal point to the right: returns the digits, and 1 to add if a place was cut.
fn scale(text: &str, places: u32) -> ((String, u8), Option<Kind>) {
    let places = places as usize;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = whole.to_owned();
    let kept: String = fraction.chars().take(places).collect();
    let missing = places - kept.chars().count();
    digits.push_str(&kept);
    digits.extend(std::iter::repeat_n('0', missing));
    let cut = fraction.chars().nth(places);
    let carry = u8::from(cut.is_some_and(|digit| digit >= '5'));
    ((digits, carry), cut.map(|_| Kind::TooManyDecimals))
}

/// The integer at the start of a text, whether it is the whole text, and whether there is a digit.
fn leading_integer(text: &str) -> (Option<i128>, bool, bool) {
    let (sign, rest) = match text.as_bytes().first() {
        Some(b'-') => (-1, text.get(1..).unwrap_or_default()),
        Some(b'+') => (1, text.get(1..).unwrap_or_default()),
        _ => (1, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, behind) = rest.split_at(end);
    let value = if digits.is_empty() {
        Some(0)
    } else {
        digits.parse::<i128>().ok().map(|value| sign * value)
    };
    (value, behind.is_empty(), !digits.is_empty())
}

/// Reads a number without a sign as C does: hexadecimal after `0x`, octal after `0`, else decimal.
pub(super) fn c_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix('0') {
        None | Some("") => (text, 10),
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16),
            None => (rest, 8),
        },
    };
    // The library also accepts a sign.
    let is_number = digits.bytes().all(|it| it.is_ascii_alphanumeric());
    u64::from_str_radix(digits, radix)
        .ok()
        .filter(|_| is_number)
}

/// Reads a boolean: `true on yes` or `false off no`, in lower case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, range: Range) -> (Option<i64>, Option<Kind>) {
        let number = number(text, range);
        (number.value, number.problem)
    }

    #[test]
    fn whole_numbers_are_decimal_with_an_optional_sign() {
        let range = Range::whole(-10, 1000);
        assert_eq!(read("02", range), (Some(2), None));
        assert_eq!(read("+7", range), (Some(7), None));
        assert_eq!(read("-7", range), (Some(-7), None));
        assert_eq!(read("  5", range), (Some(5), None));
        for text in ["0x20", "1s", "7x", "1,5", "1.5", "x", ""] {
            assert_eq!(
                read(text, range),
                (None, Some(Kind::InvalidNumber)),
                "{text}"
            );
        }
        assert_eq!(read("1001", range), (None, Some(Kind::NumberOutOfRange)));
        assert_eq!(
            read("-1", Range::whole(0, 9)),
            (None, Some(Kind::NegativeNumber))
        );
    }

    #[test]
    fn a_number_of_digits_alone_is_read_as_any_other() {
        let long = "1".repeat(12);
        let longer = "1".repeat(13);
        let longest = "1".repeat(40);
        let texts = [
            "0",
            "02",
            "5",
            "300",
            "301",
            "4294967295",
            "9223372036854775808",
            "",
        ];
        for text in texts.into_iter().chain([&*long, &*longer, &*longest]) {
            for range in [
                Range::whole(1, 300),
                Range::whole(-1, i64::MAX).lenient(),
                Range::seconds(0, i64::MAX),
                Range::seconds(1, 300_000_000),
            ] {
                assert_eq!(
                    number(text, range),
                    any_number(text, range),
                    "{text} {range:?}"
                );
            }
        }
    }

    #[test]
    fn a_daemon_that_starts_takes_the_leading_digits_where_the_keyword_is_lenient() {
        let range = Range::whole(1, 100).lenient();
        assert_eq!(read("1.5", range), (Some(1), Some(Kind::InvalidNumber)));
        assert_eq!(read("0.5", range), (None, Some(Kind::InvalidNumber)));
    }

    #[test]
    fn times_have_up_to_six_decimal_places() {
        let range = Range::seconds(10_000, 255_000_000);
        assert_eq!(read("1", range), (Some(1_000_000), None));
        assert_eq!(read(".5", range), (Some(500_000), None));
        assert_eq!(read("0.25", range), (Some(250_000), None));
        assert_eq!(
            read("1.0000005", range),
            (Some(1_000_001), Some(Kind::TooManyDecimals))
        );
        assert_eq!(read("256", range), (None, Some(Kind::NumberOutOfRange)));
        assert_eq!(range.describe(), "0.01 to 255");
    }
}
