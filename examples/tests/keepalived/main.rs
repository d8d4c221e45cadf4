//! Compares the reader of keepalived.conf with the results of keepalived itself for the same files.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use vrrp_lab::example;

/// The folder with the corpus and the program that compares: `KEEPALIVED_CONF`, or a folder beside
/// the repository. In CI it must exist.
fn corpus() -> Option<PathBuf> {
    let folder = match std::env::var_os("KEEPALIVED_CONF") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/keepalived-conf"),
    };
    if folder.join("judge.py").exists() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} has no judge.py: set KEEPALIVED_CONF",
        folder.display()
    );
    println!("the corpus of keepalived.conf is not here; nothing is compared");
    None
}

#[test]
fn each_file_of_the_corpus_is_read_as_keepalived_reads_it() {
    let Some(corpus) = corpus() else {
        return;
    };
    let differences =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived/differences.txt");
    let output = Command::new("python3")
        .arg(corpus.join("judge.py"))
        .arg(example("keepalived").unwrap())
        .args([corpus.join("corpus/public"), corpus.join("guides")])
        .arg("--except")
        .arg(differences)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
}

/// Runs the program on a text, and returns its exit status and output.
fn check(text: &str, options: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keepalived.conf");
    std::fs::write(&path, text).unwrap();
    let output = Command::new(example("keepalived").unwrap())
        .current_dir(folder.path())
        .args(["-t", "-f", "keepalived.conf"])
        .args(options)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

#[test]
fn a_misspelt_keyword_is_shown_with_its_line_a_mark_and_what_was_meant() {
    let (status, text) = check("global_defs {\n    ruter_id x\n}\n", &[]);
    assert_eq!(status, 5);
    for part in [
        "keepalived.conf:2:5",
        "    ruter_id x",
        "^^^^^^^^",
        "did you mean \"router_id\"?",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_trap_that_keepalived_passes_over_is_a_warning_and_in_strict_mode_an_error() {
    let text = "global_defs {\n    dynamic_interfaces\n}\n\
        vrrp_instance V {\n    interface nosuch0\n    virtual_router_id 1\n    nopreempt no\n    \
        virtual_ipaddress {\n        192.0.2.1\n    }\n}\n";
    let (status, shown) = check(text, &[]);
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.contains("warning: nopreempt takes no value"),
        "{shown}"
    );
    let (status, _) = check(text, &["--strict"]);
    assert_eq!(status, 5);
}

#[test]
fn a_file_that_does_not_exist_is_named_with_the_status_of_keepalived() {
    let output = Command::new(example("keepalived").unwrap())
        .args(["-t", "-f", "/nosuch/keepalived.conf"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/nosuch/keepalived.conf"), "{text}");
}

#[test]
fn words_that_came_after_2_2_7_are_known_and_like_2_2_7_they_are_not() {
    let text = "global_defs {\n    dynamic_interfaces\n}\n\
        vrrp_instance V {\n    interface nosuch0\n    virtual_router_id 1\n    \
        no_virtual_ipaddress\n    auth_hmac {\n        key 1 0123456789abcdef0123456789abcdef\n    \
        }\n    timer_expired_backup\n    v3_checksum_as_v2\n}\n";
    let (status, shown) = check(text, &[]);
    assert_eq!((status, shown.as_str()), (0, ""));
    let (status, shown) = check(text, &["--like", "2.2.7"]);
    assert_eq!(status, 5);
    assert!(shown.contains("keepalived 2.4 knows it"), "{shown}");
}

#[test]
fn traps_that_keepalived_passes_over_have_a_warning_and_help() {
    for (text, warning) in [
        (
            "vrrp_script s {\n    script \"/bin/true a || exit 1\"\n}\n",
            "no shell is started",
        ),
        (
            "vrrp_script s {\n    script /bin/true a\n}\n",
            "script takes one word",
        ),
        (
            "vrrp_instance V {\n    trak_script {\n        s\n    }\n}\n",
            "its '}' ends vrrp_instance",
        ),
    ] {
        let (_, shown) = check(text, &[]);
        assert!(
            shown.contains("warning: ") && shown.contains(warning),
            "{shown}"
        );
        assert!(shown.contains("help: "), "{shown}");
    }
}

#[test]
fn a_keyword_without_effect_is_a_note_and_one_that_is_not_supported_a_warning() {
    let (status, shown) = check("global_defs {\n    vrrp_no_swap\n}\n", &["--strict"]);
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.contains("note: vrrp_no_swap is accepted without effect"),
        "{shown}"
    );
    let text = "global_defs {\n    enable_snmp_vrrp\n}\n";
    let (status, shown) = check(text, &[]);
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.contains("warning: enable_snmp_vrrp is not supported"),
        "{shown}"
    );
    assert_eq!(check(text, &["--strict"]).0, 5);
}

#[test]
fn a_folder_for_copies_that_cannot_be_made_is_complained_of() {
    let at = |path: &str| {
        check(
            &format!("global_defs {{\n config_save_dir {path}\n}}\n"),
            &[],
        )
    };
    let (status, shown) = at("/nosuch/folder");
    assert_eq!(status, 5, "{shown}");
    assert!(shown.contains("its parent must exist"), "{shown}");
    // A file is no folder.
    assert_eq!(at("keepalived.conf").0, 5);
    for path in [".", "new", "/tmp"] {
        assert_eq!(at(path), (0, String::new()), "{path}");
    }
}

#[test]
fn net_namespace_ipvs_needs_no_name() {
    for line in ["net_namespace_ipvs", "net_namespace_ipvs tables"] {
        let (status, shown) = check(&format!("{line}\nglobal_defs {{\n}}\n"), &[]);
        assert_eq!((status, shown.as_str()), (0, ""), "{line}");
    }
    // net_namespace without a name has a complaint.
    assert_eq!(check("net_namespace\n", &[]).0, 5);
}

/// The values that the program shows of `global_defs`.
fn shown_values(text: &str) -> serde_json::Value {
    let (_, shown) = check(text, &["--format", "json"]);
    let mut report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    report["values"]["global_defs"].take()
}

#[test]
fn settings_about_reloads_have_the_values_that_keepalived_2_2_7_shows() {
    let text = "net_namespace_ipvs\nglobal_defs {\n config_save_dir /tmp\n \
        config_save_dir /nosuch/folder\n reload_time_file /nosuch/time\n reload_repeat\n \
        reload_file\n vrrp_vmac_garp_intvl all 100\n}\n";
    let expected = serde_json::json!({
        "Network namespace ipvs": "(default)",
        "Config save dir": "/tmp",
        "Reload time file": "/nosuch/time (repeat)",
        "No reload scheduled": true,
        "Reload_file": "/run/keepalived.reload",
        "Gratuitous ARP for each secondary i/f": "100s",
    });
    assert_eq!(shown_values(text), expected);
    let text = "use_pid_dir\nnet_namespace_ipvs tables\nglobal_defs {\n reload_file\n \
        reload_time_file time\n vrrp_garp_extra_if 9\n}\n";
    let expected = serde_json::json!({
        "Network namespace ipvs": "tables",
        "Reload time file": "time",
        "No reload scheduled": true,
        "Reload_file": "/run/keepalived/keepalived.reload",
        "Gratuitous ARP for each secondary VMAC": "9s",
    });
    assert_eq!(shown_values(text), expected);
    let named = shown_values("global_defs {\n reload_file /nosuch/reloading\n}\n");
    assert_eq!(named["Reload_file"], "/nosuch/reloading");
}

/// The lines in docs/keepalived.md that enclose the table of keywords.
const TABLE: [&str; 2] = ["<!-- keywords -->\n", "<!-- end of keywords -->\n"];

#[test]
fn the_table_of_keywords_in_the_documentation_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keepalived.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(TABLE[0]).unwrap();
    let (table, after) = rest.split_once(TABLE[1]).unwrap();
    let wanted = format!("\n{}\n", vrrp_examples::keepalived_conf::keyword_table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}{}{wanted}{}{after}", TABLE[0], TABLE[1]);
        std::fs::write(&path, text).unwrap();
        return;
    }
    assert_eq!(table, wanted, "run this test with UPDATE_DOCS=1");
}

/// The path of genhash on Debian.
const GENHASH: &str = "/usr/bin/genhash";

/// Serves one answer, and returns the output of a command that requests it.
fn digest(answer: &'static [u8], program: &mut Command) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        stream.write_all(answer).unwrap();
        // The client closes the connection once it has read everything, perhaps already.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read(&mut byte);
        String::from_utf8(request).unwrap()
    });
    let output = program
        .args(["-s", "127.0.0.1", "-p", &port, "-u", "/page?a=b"])
        .output()
        .unwrap();
    let request = server.join().unwrap().replace(&port, "PORT");
    let text = String::from_utf8(output.stdout).unwrap();
    (text, request)
}

#[test]
fn genhash_prints_the_digest_that_the_genhash_of_keepalived_prints() {
    let has_real = Path::new(GENHASH).exists();
    assert!(
        has_real || std::env::var_os("CI").is_none(),
        "{GENHASH} is missing"
    );
    for (answer, expected) in [
        (
            &b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"[..],
            "b1946ac92492d2347c6235b4d2611184",
        ),
        // The body lasts until the end of the connection, and has octets of any value.
        (
            b"HTTP/1.0 200 OK\r\n\r\n\0\xff\r\n\r\n",
            "33b1bfba40319994da32235a068d5b0b",
        ),
        // The body is shorter than announced.
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello\n",
            "b1946ac92492d2347c6235b4d2611184",
        ),
        (
            b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            "7fa3b767c460b54a2be4d49030b349c7",
        ),
    ] {
        let mut own = Command::new(example("keepalived").unwrap());
        let (text, request) = digest(answer, own.arg("--genhash"));
        assert_eq!(text, format!("{expected}\n"), "{answer:?}");
        assert!(
            request.starts_with("GET /page?a=b HTTP/1.0\r\n"),
            "{request}"
        );
        assert!(
            request
                .to_ascii_lowercase()
                .contains("host: 127.0.0.1:port\r\n")
        );
        if has_real {
            let (real, _) = digest(answer, &mut Command::new(GENHASH));
            assert_eq!(real, text, "{answer:?}");
        }
    }
}

#[test]
fn genhash_of_a_server_that_refuses_says_so_with_status_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let output = Command::new(example("keepalived").unwrap())
        .args(["--genhash", "-s", "127.0.0.1", "-p", &port, "-u", "/"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("refused"), "{text}");
}
