//! Translates PCRE2 expressions, as in keepalived's `regex`, for the regular expression engines of
//! this program.
//!
//! The engines use another syntax for some features, and give another meaning to some syntax. An
//! expression is rewritten until it has the meaning that it has in PCRE2: without options it works
//! on bytes, and `$` also matches before a line break at the end.

use std::fmt::Write as _;

use crate::probe::{Body, Pattern};

/// The options that change how an expression is rewritten.
#[derive(Clone, Copy, Debug, Default)]
// Each is an option of its own.
#[allow(clippy::struct_excessive_bools)]
struct Options {
    allows_empty_class: bool,
    reads_u_as_javascript: bool,
    dollar_is_the_end: bool,
    allows_duplicate_names: bool,
    is_extended: bool,
    unset_groups_match: bool,
    is_multiline: bool,
    captures_names_only: bool,
    is_utf: bool,
    has_unicode_classes: bool,
}

/// The content that an expression with these `regex_options` requires of a body.
///
/// # Errors
///
/// An expression that cannot be used, or options that cannot be used with it.
pub fn body(
    expression: &str,
    options: &[String],
    note: &mut impl FnMut(String),
) -> Result<Body, String> {
    let has = |name: &str| options.iter().any(|option| option == name);
    let options = Options {
        allows_empty_class: has("allow_empty_class"),
        reads_u_as_javascript: has("alt_bsux"),
        dollar_is_the_end: has("dollar_endonly"),
        allows_duplicate_names: has("dupnames"),
        is_extended: has("extended"),
        unset_groups_match: has("match_unset_backref"),
        is_multiline: has("multiline"),
        captures_names_only: has("no_auto_capture"),
        is_utf: has("utf"),
        has_unicode_classes: has("ucp"),
    };
    if options.has_unicode_classes && !options.is_utf {
        note("regex_options: ucp is not supported without utf: classes have ASCII members".into());
    }
    let flags = [
        ("caseless", 'i'),
        ("dotall", 's'),
        ("extended", 'x'),
        ("multiline", 'm'),
        ("ungreedy", 'U'),
    ];
    let flags: String = flags
        .into_iter()
        .filter(|(name, _)| has(name))
        .map(|(_, flag)| flag)
        .collect();
    let rewritten = Rewriting::new(expression, options).run()?;
    let pattern = if options.is_utf {
        Pattern::with_flags(&flags, &rewritten)
    } else {
        Pattern::of_bytes(&flags, &rewritten)
    };
    let mut body = Body::new(pattern.map_err(|error| error.to_string())?);
    body.on_first_line = has("firstline");
    Ok(body)
}

/// An expression that is being rewritten.
struct Rewriting {
    expression: Vec<char>,
    place: usize,
    options: Options,
    has_references_by_name: bool,
    result: String,
}

impl Rewriting {
    fn new(expression: &str, options: Options) -> Self {
        let references = ["\\k", "\\g", "(?P=", "(?&", "(?P>", "(?("];
        Self {
            expression: expression.chars().collect(),
            place: 0,
            options,
            has_references_by_name: references.iter().any(|it| expression.contains(it)),
            result: String::new(),
        }
    }

    fn run(mut self) -> Result<String, String> {
        while let Some(character) = self.peek(0) {
            match character {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                '$' => self.dollar(),
                '#' if self.options.is_extended => {
                    while self.peek(0).is_some_and(|it| it != '\n') {
                        self.place += 1;
                    }
                }
                _ => self.copy(1),
            }
        }
        Ok(self.result)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.expression.get(self.place + ahead).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        let rest = self.expression.get(self.place..).unwrap_or_default();
        text.chars()
            .eq(rest.iter().copied().take(text.chars().count()))
    }

    fn copy(&mut self, count: usize) {
        let end = self.expression.len().min(self.place + count);
        self.result.extend(&self.expression[self.place..end]);
        self.place = end;
    }

    /// Replaces this many characters.
    fn replace(&mut self, count: usize, with: &str) {
        self.place += count;
        self.result.push_str(with);
    }

    /// A backslash with the character after it.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let is_hex = |from: usize, count: usize| {
            let mut digits = (from..from + count).map(|place| self.peek(place));
            digits.all(|it| it.is_some_and(|it| it.is_ascii_hexdigit()))
        };
        let options = self.options;
        match self.peek(1) {
            Some('Q') => self.quote(),
            Some('E') => self.replace(2, ""),
            Some('u') if options.reads_u_as_javascript => {
                if is_hex(2, 4) {
                    let digits: String = self.expression[self.place + 2..self.place + 6]
                        .iter()
                        .collect();
                    self.replace(6, &format!("\\x{{{digits}}}"));
                } else {
                    self.replace(2, "u");
                }
            }
            Some('U') if options.reads_u_as_javascript => self.replace(2, "U"),
            Some('x') if options.reads_u_as_javascript && !is_hex(2, 2) => self.replace(2, "x"),
            Some('k' | 'g') if options.unset_groups_match => {
                return Err(
                    "regex_options: match_unset_backref is supported for \\1 to \\9 only".into(),
                );
            }
            Some(digit @ '1'..='9') if options.unset_groups_match && !in_class => {
                self.replace(2, &format!("(?:(?({digit})\\{digit}|))"));
            }
            Some(kind @ ('d' | 'D' | 's' | 'S' | 'w' | 'W'))
                if options.is_utf && !options.has_unicode_classes =>
            {
                let members = match kind.to_ascii_lowercase() {
                    'd' => "0-9",
                    's' => "\\t\\n\\x0b\\f\\r\\x20",
                    _ => "0-9A-Za-z_",
                };
                let class = match (kind.is_ascii_lowercase(), in_class) {
                    (true, true) => members.to_owned(),
                    (true, false) => format!("[{members}]"),
                    (false, _) => format!("[^{members}]"),
                };
                self.replace(2, &class);
            }
            _ => self.copy(2),
        }
        Ok(())
    }

    /// The literal text from `\Q` to `\E`.
    fn quote(&mut self) {
        self.place += 2;
        while let Some(character) = self.peek(0) {
            if self.starts_with("\\E") {
                self.place += 2;
                return;
            }
            self.literal(character);
        }
    }

    /// A character that stands for itself.
    fn literal(&mut self, character: char) {
        self.place += 1;
        if character.is_ascii() && !character.is_ascii_alphanumeric() {
            let code = u32::from(character);
            // Writing to a text cannot fail.
            let _ = write!(self.result, "\\x{code:02x}");
        } else {
            self.result.push(character);
        }
    }

    fn class(&mut self) -> Result<(), String> {
        if self.options.allows_empty_class {
            if self.starts_with("[]") {
                self.replace(2, "[^\\s\\S]");
                return Ok(());
            }
            if self.starts_with("[^]") {
                self.replace(3, "[\\s\\S]");
                return Ok(());
            }
        }
        self.copy(1);
        if self.peek(0) == Some('^') {
            self.copy(1);
        }
        if self.peek(0) == Some(']') {
            self.literal(']');
        }
        while let Some(character) = self.peek(0) {
            match character {
                ']' => {
                    self.copy(1);
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' if matches!(self.peek(1), Some(':' | '=' | '.')) => {
                    while self.peek(0).is_some_and(|it| it != ']') {
                        self.copy(1);
                    }
                    self.copy(1);
                }
                // The engines have operators here, and with `x` also comments and insignificant
                // blanks.
                '[' | '&' | '~' | '#' => self.literal(character),
                blank if blank.is_ascii_whitespace() => self.literal(blank),
                _ => self.copy(1),
            }
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        if self.starts_with("(?#") {
            while self.peek(0).is_some_and(|it| it != ')') {
                self.place += 1;
            }
            self.place += 1;
            return Ok(());
        }
        if !self.starts_with("(?") {
            let is_verb = self.starts_with("(*");
            if self.options.captures_names_only && !is_verb {
                self.replace(1, "(?:");
            } else {
                self.copy(1);
            }
            return Ok(());
        }
        if self.options.allows_duplicate_names
            && let Some(length) = self.named_group()
        {
            if self.has_references_by_name {
                return Err(
                    "regex_options: dupnames is not supported with references by name".into(),
                );
            }
            self.replace(length, "(");
            return Ok(());
        }
        // The options that hold from here on.
        let mut ahead = 2;
        while let Some(flag) = self.peek(ahead).filter(char::is_ascii_alphabetic) {
            self.options.is_multiline |= flag == 'm';
            self.options.is_extended |= flag == 'x';
            ahead += 1;
        }
        self.copy(2);
        Ok(())
    }

    /// The length of the beginning of a named group.
    fn named_group(&self) -> Option<usize> {
        let (start, end) = [("(?P<", '>'), ("(?<", '>'), ("(?'", '\'')]
            .into_iter()
            .find(|(start, _)| self.starts_with(start))?;
        let start = start.len();
        let is_name = |it: char| it.is_alphanumeric() || it == '_';
        if !self.peek(start).is_some_and(is_name) {
            // It is a look-behind.
            return None;
        }
        let mut length = start;
        while self.peek(length).is_some_and(is_name) {
            length += 1;
        }
        (self.peek(length) == Some(end)).then_some(length + 1)
    }

    fn dollar(&mut self) {
        if self.options.is_multiline || self.options.dollar_is_the_end {
            self.copy(1);
            return;
        }
        let is_last = self.peek(1).is_none_or(|next| matches!(next, ')' | '|'));
        // Look-ahead needs the engine that backtracks.
        let with = if is_last {
            "(?:\\n?\\z)"
        } else {
            "(?=\\n?\\z)"
        };
        self.replace(1, with);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Expressions with options and texts. The test compares each with PCRE2 itself.
    const CASES: &[(&str, &str, &[&str])] = &[
        ("^OK$", "", &["OK", "OK\n", "OK\n\n", "xOK"]),
        ("^OK$", "dollar_endonly", &["OK", "OK\n"]),
        ("(a$|b)$", "", &["a\n", "b", "c"]),
        ("a$\\n", "", &["a\n", "a"]),
        ("^b$", "multiline", &["a\nb\nc", "ab"]),
        ("(?m)^b$", "", &["a\nb\nc", "ab"]),
        ("a.c", "", &["abc", "a\nc", "a\u{e9}c"]),
        ("a.c", "utf", &["abc", "a\u{e9}c"]),
        ("a..c", "", &["a\u{e9}c"]),
        ("a.c", "dotall", &["a\nc"]),
        ("OK", "caseless", &["ok", "Ok", "no"]),
        ("\u{e9}", "caseless", &["\u{e9}", "\u{c9}"]),
        ("^\\d+$", "", &["12", "\u{663}"]),
        ("^\\d+$", "utf", &["12", "\u{663}"]),
        ("^\\d+$", "utf ucp", &["12", "\u{663}"]),
        ("^[\\w ]+$", "utf", &["a b", "\u{e9}"]),
        ("^[^\\w]+$", "utf", &["ab", "\u{e9}"]),
        ("^\\W$", "utf", &["a", "\u{e9}"]),
        ("a b # no", "extended", &["ab", "a b", "a b # no"]),
        ("a[ #]b", "extended", &["ab", "a b", "a#b"]),
        ("(?x)a b", "", &["ab", "a b"]),
        ("a+b", "ungreedy", &["xaab"]),
        ("x[]y]z", "", &["x]z", "xyz", "xz"]),
        ("x[]|y", "allow_empty_class", &["x]", "y", "x"]),
        ("x[^]z", "allow_empty_class", &["xyz", "x\nz", "xz"]),
        ("x[^]y]z", "", &["xyz", "xaz", "x]z"]),
        ("\\u0041", "alt_bsux", &["A", "u0041"]),
        ("\\u41", "alt_bsux", &["A", "u41"]),
        ("\\Ux", "alt_bsux", &["Ux"]),
        ("\\x4", "alt_bsux", &["x4", "\u{4}"]),
        ("\\x41", "alt_bsux", &["A"]),
        ("(?<n>a)|(?<n>b)c", "dupnames", &["a", "bc", "b"]),
        ("(?P<n>a)(?'n'b)\\1", "dupnames", &["aba", "abb"]),
        ("(a)?b\\1c", "", &["abac", "bc"]),
        ("(a)?b\\1c", "match_unset_backref", &["abac", "bc", "abc"]),
        ("(a)(?<n>b)\\1", "no_auto_capture", &["abb", "aba"]),
        (
            "ok",
            "firstline",
            &["ok", "is ok\n", "no\nok", "\nok", "o\nk"],
        ),
        ("o\\nk", "firstline", &["o\nk", "\no\nk"]),
        ("^", "multiline alt_circumflex", &["a\n"]),
        ("\\Qa.b\\E.", "", &["a.bc", "axbc"]),
        ("\\Q[$\\E", "", &["[$"]),
        ("a(?#note)b", "", &["ab"]),
        ("[[:digit:]]x", "", &["1x", "dx"]),
        ("[a&&b]", "", &["&", "a", "b", "c"]),
        ("[[a]", "", &["[", "a", "]"]),
        ("(?<!not )ready", "", &["is ready", "not ready"]),
        (
            "ok",
            "no_auto_possess no_start_optimize auto_callout",
            &["ok", "no"],
        ),
    ];

    /// Runs the library itself: prints a line for each case of the input, with the position of the
    /// match or -1.
    const ORACLE: &str = r#"
import ctypes, json, sys
lib = ctypes.CDLL("libpcre2-8.so.0")
bits = dict(allow_empty_class=0x1, alt_bsux=0x2, auto_callout=0x4, caseless=0x8,
    dollar_endonly=0x10, dotall=0x20, dupnames=0x40, extended=0x80, firstline=0x100,
    match_unset_backref=0x200, multiline=0x400, never_ucp=0x800, never_utf=0x1000,
    no_auto_capture=0x2000, no_auto_possess=0x4000, no_dotstar_anchor=0x8000,
    no_start_optimize=0x10000, ucp=0x20000, ungreedy=0x40000, utf=0x80000,
    never_backslash_c=0x100000, alt_circumflex=0x200000)
vp, size = ctypes.c_void_p, ctypes.c_size_t
lib.pcre2_compile_8.restype = vp
lib.pcre2_compile_8.argtypes = [ctypes.c_char_p, size, ctypes.c_uint32,
    ctypes.POINTER(ctypes.c_int), ctypes.POINTER(size), vp]
lib.pcre2_match_data_create_from_pattern_8.restype = vp
lib.pcre2_match_data_create_from_pattern_8.argtypes = [vp, vp]
lib.pcre2_match_8.argtypes = [vp, ctypes.c_char_p, size, size, ctypes.c_uint32, vp, vp]
lib.pcre2_get_ovector_pointer_8.restype = ctypes.POINTER(size)
lib.pcre2_get_ovector_pointer_8.argtypes = [vp]
for line in sys.stdin:
    pattern, options, text = json.loads(line)
    pattern, text = pattern.encode(), text.encode()
    flags = sum(bits[name] for name in options.split())
    error, place = ctypes.c_int(), size()
    code = lib.pcre2_compile_8(pattern, len(pattern), flags, error, place, None)
    assert code, (pattern, options, error.value)
    data = lib.pcre2_match_data_create_from_pattern_8(code, None)
    found = lib.pcre2_match_8(code, text, len(text), 0, 0, data, None)
    print(lib.pcre2_get_ovector_pointer_8(data)[0] if found > 0 else -1)
"#;

    #[test]
    fn an_expression_matches_where_pcre2_finds_it() {
        let mut input = String::new();
        let mut ours = Vec::new();
        for (expression, options, texts) in CASES {
            let names: Vec<String> = options.split_whitespace().map(String::from).collect();
            let note = &mut |note| panic!("{note}");
            let body = body(expression, &names, note).unwrap();
            for text in *texts {
                let case = serde_json::json!([expression, options, text]);
                writeln!(input, "{case}").unwrap();
                let found = body.find(text.as_bytes());
                let found = found.map_or(-1, |place| i64::try_from(place).unwrap());
                ours.push((case.to_string(), found));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases");
        std::fs::write(&path, input).unwrap();
        let output = Command::new("/usr/bin/python3")
            .args(["-c", ORACLE])
            .stdin(std::fs::File::open(path).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let theirs = text.lines().map(|line| line.parse::<i64>().unwrap());
        let wrong: Vec<_> = ours
            .iter()
            .zip(theirs)
            .filter(|((_, ours), theirs)| ours != theirs)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(text.lines().count(), ours.len());
    }

    #[test]
    fn options_that_cannot_be_obeyed_are_named() {
        for (expression, option, word) in [
            ("(?<n>a)\\k<n>", "match_unset_backref", "\\1 to \\9"),
            ("(?<n>a)(?<n>b)\\k<n>", "dupnames", "references by name"),
            ("(", "", "regular expression"),
        ] {
            let names: Vec<String> = option.split_whitespace().map(String::from).collect();
            let error = body(expression, &names, &mut |_| {}).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        let mut notes = Vec::new();
        let note = &mut |note| notes.push(note);
        body("a", &["ucp".to_owned()], note).unwrap();
        assert!(notes[0].contains("without utf"), "{notes:?}");
    }
}
