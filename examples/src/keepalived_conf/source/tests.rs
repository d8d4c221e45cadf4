use proptest::prelude::*;

use super::*;

/// The lines of a text without includes, each with its number, and the kinds of complaints.
fn read(text: &str) -> (Vec<(usize, String)>, Vec<Kind>) {
    let environment = Environment {
        config_id: Some("node-a".into()),
        seed: 1,
        ..Environment::default()
    };
    let lines = Lines::of_text(Path::new("x.conf"), text.into(), &environment);
    let kinds = lines.complaints.iter().map(|it| it.kind).collect();
    let lines = lines.lines.into_iter().map(|it| (it.place.line, it.text));
    (lines.collect(), kinds)
}

/// The texts alone.
fn texts(text: &str) -> Vec<String> {
    read(text).0.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn a_comment_begins_anywhere_outside_double_quotes() {
    assert_eq!(texts("interface eth0#x\n"), ["interface eth0"]);
    assert_eq!(texts("auth_pass a!b\n"), ["auth_pass a"]);
    assert_eq!(texts("router_id \"a #1!\" # x\n"), ["router_id \"a #1!\""]);
    assert_eq!(texts("x 'a # b'\n"), ["x 'a"]);
    assert_eq!(texts("# whole\n! lines\n\n"), [""; 0]);
}

proptest! {
    #[test]
    fn a_line_without_comment_quote_and_escape_only_loses_its_blanks(text in "[^#!\"\\\\]{0,20}") {
        let (stripped, is_open) = strip_comment(&text);
        prop_assert!(!may_change(&text));
        prop_assert_eq!(stripped, text.trim_matches([' ', '\t']));
        prop_assert!(!is_open);
    }
}

#[test]
fn an_escaped_comment_sign_loses_its_escape_and_then_begins_a_comment() {
    assert_eq!(texts("notify /bin/true\\#x\n"), ["notify /bin/true"]);
}

#[test]
fn white_space_and_line_ends_of_other_systems_are_read() {
    assert_eq!(texts("a\tb\r\nc \n"), ["a\tb", "c"]);
    assert_eq!(texts("last without newline"), ["last without newline"]);
    assert_eq!(texts("interface eth0\0x\nb\n"), ["interface eth0", "b"]);
}

#[test]
fn braces_stand_alone_wherever_they_were() {
    let (lines, kinds) = read("a V{ b c\n} }\n");
    let expected = [(1, "a V"), (1, "{"), (1, "b c"), (2, "}"), (2, "}")];
    assert_eq!(lines, expected.map(|(line, text)| (line, text.to_owned())));
    assert_eq!(kinds, [Kind::ExtraBlockEnd]);
    assert_eq!(texts("x \"a{b}\" {\n}\n"), ["x \"a{b}\"", "{", "}"]);
}

#[test]
fn a_block_that_is_open_at_the_end_is_complained_of() {
    assert_eq!(read("a {\nb {\n").1, [Kind::MissingBlockEnd]);
}

#[test]
fn a_quote_is_closed_on_its_own_line() {
    assert_eq!(read("router_id \"a\n").1, [Kind::UnmatchedQuote]);
}

#[test]
fn a_definition_counts_from_its_line_on_and_needs_no_blank_before_its_sign() {
    assert_eq!(texts("$A=1 2\nx $A\n$A=3\nx $A,\n"), ["x 1 2", "x 3,"]);
    assert_eq!(texts("$A = 1\nx $A\n"), ["$A = 1", "x $A"]);
    assert_eq!(texts("x $A\n$A=1\n"), ["x $A"]);
}

#[test]
fn a_name_ends_before_a_blank_a_comma_or_a_parenthesis_or_stands_in_braces() {
    assert_eq!(
        texts("$V=10.0.0.1\n$V/24\n${V}/24\np$V\n\"$V\"\n\"${V}\"\n"),
        [
            "$V/24",
            "10.0.0.1/24",
            "p10.0.0.1",
            "\"$V\"",
            "\"10.0.0.1\""
        ]
    );
}

#[test]
fn an_unknown_name_stays_as_it_is() {
    assert_eq!(texts("auth_pass a$b\n"), ["auth_pass a$b"]);
}

#[test]
fn a_definition_of_several_lines_holds_statements_and_blocks() {
    let text = "$X=a {\\\n b\\\n }\nc\n$X\n";
    assert_eq!(texts(text), ["c", "a", "{", "b", "}"]);
}

#[test]
fn a_sequence_repeats_the_rest_of_its_line() {
    assert_eq!(texts("~SEQ(I, 3) x$I\n"), ["x1", "x2", "x3"]);
    assert_eq!(texts("~SEQ(I, 2, 4) x$I\n"), ["x2", "x3", "x4"]);
    assert_eq!(texts("~SEQ(I, 6, -2, 1) x$I\n"), ["x6", "x4", "x2"]);
    assert_eq!(texts("~SEQx(I, 9, 11) x$I\n"), ["x9", "xa", "xb"]);
    assert_eq!(texts("~LST(N, a, b) x$N\n"), ["xa", "xb"]);
    assert_eq!(texts("~LST({A, B}, {1, 2}, {3}) ${A}-$B\n"), ["1-2", "3-"]);
}

#[test]
fn a_sequence_of_a_definition_repeats_a_block() {
    let text = "$B=v $I {\\\n p ${I}0\\\n }\n~SEQ(I, 1, 2) $B\n";
    assert_eq!(
        texts(text),
        ["v 1", "{", "p 10", "}", "v 2", "{", "p 20", "}"]
    );
}

#[test]
fn a_sequence_that_leads_nowhere_is_complained_of() {
    for text in [
        "~SEQ(I)\n",
        "~SEQ(I, 1, 0, 5) x\n",
        "~SEQ I\n",
        "~LST(A) x\n",
    ] {
        assert_eq!(read(text).1, [Kind::Other], "{text}");
    }
}

#[test]
fn a_condition_is_one_of_its_line() {
    assert_eq!(texts("@node-a a\n@node-b b\n@^node-b c\n@ d\n"), ["a", "c"]);
}

#[test]
fn definitions_that_lead_to_each_other_end_in_a_complaint() {
    let (lines, kinds) = read("$A=$B \n$B=$A \nx $A\n");
    assert_eq!((lines.len(), kinds), (0, vec![Kind::Other]));
    let (_, kinds) = read("$A=x\\\n $A\n$A\n");
    assert_eq!(kinds, [Kind::Other]);
}

#[test]
fn a_sequence_of_sequences_is_bounded() {
    let text = "~SEQ(I, 1, 2000000000) x$I\n";
    let (lines, kinds) = read(text);
    assert_eq!((lines.len(), kinds), (MOST_LINES, vec![Kind::Other]));
}

#[test]
fn a_file_that_includes_itself_ends_in_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.conf");
    std::fs::write(&path, "x\ninclude a.conf\n").unwrap();
    let lines = Lines::read(&path, &Environment::default()).unwrap();
    assert_eq!(lines.complaints.len(), 1, "{:?}", lines.complaints);
    assert!(lines.lines.len() <= DEEPEST);
}

#[test]
fn an_include_is_relative_to_its_file_and_knows_wildcards_and_braces() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    write("d/b.conf", "b\ninclude ../e.inc\n");
    write("d/a.conf", "a\n");
    write("e.inc", "e\n");
    let main = write(
        "main.conf",
        "include d/{b,a}.conf # x\ninclude d/[ab].conf\ninclude nosuch.conf\ninclude d/n*.conf\nend\n",
    );
    let lines = Lines::read(&main, &Environment::default()).unwrap();
    let texts: Vec<&str> = lines.lines.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(texts, ["b", "e", "a", "a", "b", "e", "end"]);
    let end = lines.lines.last().unwrap();
    assert_eq!((end.place.file, end.place.line), (0, 5));
    let complaints: Vec<_> = lines.complaints.iter().collect();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert_eq!(complaints[0].weight, Weight::Notice);
    assert!(!lines.is_refused);
}

#[test]
fn a_strict_include_refuses_a_configuration_without_its_files() {
    let folder = tempfile::tempdir().unwrap();
    for (text, is_refused) in [
        ("include nosuch.conf\n", false),
        ("includer nosuch.conf\n", false),
        ("includem nosuch.conf\n", true),
        ("includea nosuch.conf\n", true),
        ("includew n*.conf\n", true),
        ("global_defs {\ninclude_check\n}\ninclude n*.conf\n", true),
        (
            "global_defs {\ninclude_check match\n}\ninclude n*.conf\n",
            false,
        ),
    ] {
        let path = folder.path().join("main.conf");
        std::fs::write(&path, text).unwrap();
        let lines = Lines::read(&path, &Environment::default()).unwrap();
        assert_eq!(lines.is_refused, is_refused, "{text}");
    }
}

#[test]
fn a_file_of_ten_megabytes_and_one_of_nested_blocks_are_read() {
    let line = format!("x {}\n", "y".repeat(98));
    let lines = read(&line.repeat(100_000)).0;
    assert_eq!(lines.len(), 100_000);
    let nested = "a {\n".repeat(100_000);
    assert_eq!(read(&nested).1, [Kind::MissingBlockEnd]);
}
