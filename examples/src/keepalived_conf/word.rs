//! Words of a line.

/// A double quote that has no partner on its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmatchedQuote;

/// Splits a line into words at white space.
///
/// Text between two double quotes is one word without the quotes, with no escapes in it. A quote
/// also ends the word before it: `ab"cd"` is two words. The words before an unmatched quote are
/// returned together with the error.
///
/// ```
/// use vrrp_examples::keepalived_conf::word::split;
///
/// assert_eq!(split(r#"router_id "lb 1""#), (vec!["router_id", "lb 1"], None));
/// ```
#[must_use]
pub fn split(line: &str) -> (Vec<&str>, Option<UnmatchedQuote>) {
    let mut words = Vec::new();
    let result = split_into(line, &mut words);
    (words, result.err())
}

/// Adds the words of a line to a list, as [`split`] returns them.
pub(super) fn split_into<'a>(
    line: &'a str,
    words: &mut Vec<&'a str>,
) -> Result<(), UnmatchedQuote> {
    let mut rest = line.trim_start_matches(is_blank);
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (word, behind) = quoted.split_once('"').ok_or(UnmatchedQuote)?;
            words.push(word);
            rest = behind;
        } else {
            let end = rest.find(|c| is_blank(c) || c == '"').unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            words.push(word);
            rest = behind;
        }
        rest = rest.trim_start_matches(is_blank);
    }
    Ok(())
}

/// White space between words: space, tab, form feed, vertical tab, carriage return, line feed.
#[must_use]
pub const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r' | '\n')
}

/// Splits a script's command line into arguments.
///
/// Single and double quotes group, a backslash escapes: `\a \b \E \f \n \r \t \v`, up to three
/// octal digits, `\xHH`, `\cX`, and any other character stands for itself. No shell is involved:
/// `&&`, `|` and `>` are ordinary arguments.
///
/// # Errors
///
/// [`UnmatchedQuote`] for a quote without its partner or a backslash at the end.
pub fn split_command(command: &str) -> Result<Vec<String>, UnmatchedQuote> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    let mut rest = command.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => {
                let escaped = unescape(&mut rest).ok_or(UnmatchedQuote)?;
                current.get_or_insert_default().push(escaped);
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            (c, None) if is_blank(c) => arguments.extend(current.take()),
            (c, _) => current.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(UnmatchedQuote);
    }
    arguments.extend(current);
    Ok(arguments)
}

/// Reads the escape after a backslash.
fn unescape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let first = rest.next()?;
    Some(match first {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' if rest.peek().is_some_and(char::is_ascii_hexdigit) => {
            // All digits that follow are read, and the last two count. Since 2.3.2, keepalived
            // reads only two.
            let mut value = 0_u32;
            while let Some(digit) = rest.peek().and_then(|c| c.to_digit(16)) {
                rest.next();
                value = (value << 4 | digit) & 0xff;
            }
            char::from_u32(value)?
        }
        'c' if rest.peek().is_some() => char::from_u32(u32::from(rest.next()?) & 0x1f)?,
        '0'..='7' => {
            let mut value = first.to_digit(8)?;
            for _ in 0..2 {
                let Some(digit) = rest.peek().and_then(|c| c.to_digit(8)) else {
                    break;
                };
                rest.next();
                value = value << 3 | digit;
            }
            char::from_u32(value & 0xff)?
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_words_and_end_the_word_before_them() {
        assert_eq!(split("a\t b\x0bc"), (vec!["a", "b", "c"], None));
        assert_eq!(split(r#""two words" x"#), (vec!["two words", "x"], None));
        assert_eq!(split(r#"ab"cd""#), (vec!["ab", "cd"], None));
        assert_eq!(split(r#""""#), (vec![""], None));
        assert_eq!(split("  "), (vec![], None));
    }

    #[test]
    fn words_before_an_unmatched_quote_are_kept() {
        assert_eq!(split(r#"a "b"#), (vec!["a"], Some(UnmatchedQuote)));
        // The first pass has no escapes: the quote after the backslash ends the word.
        let words = vec!["script", "a \\", "b\\", ""];
        assert_eq!(split(r#"script "a \"b\"""#), (words, None));
    }

    #[test]
    fn a_command_is_split_like_a_shell_would_without_being_one() {
        let split = |text| split_command(text).unwrap();
        assert_eq!(split("/bin/x a  b"), ["/bin/x", "a", "b"]);
        assert_eq!(split("x 'a b' \"c d\""), ["x", "a b", "c d"]);
        assert_eq!(
            split("test -S s && echo"),
            ["test", "-S", "s", "&&", "echo"]
        );
        assert_eq!(
            split(r"a\ b \x41g \101 \cA \q"),
            ["a b", "Ag", "A", "\x01", "q"]
        );
        assert_eq!(split("''"), [""]);
        assert_eq!(split_command("echo 'x"), Err(UnmatchedQuote));
        assert_eq!(split_command("echo \\"), Err(UnmatchedQuote));
    }
}
