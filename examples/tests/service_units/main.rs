//! The unit files of the programs, checked by systemd itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{fs, path::Path, process::Command};

/// The units, and the exposure that `systemd-analyze security` may report: 10 is a service without
/// any restriction.
const UNITS: [(&str, &str); 2] = [
    ("load_balancer/load_balancer.service", "3.5"),
    ("keepalived/keepalived.service", "7.0"),
];

/// Copies a unit into a folder, with programs that exist on this host.
fn copy(unit: &str, folder: &Path) -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(unit);
    let text = fs::read_to_string(&source).unwrap();
    let words = text.split_inclusive(char::is_whitespace).map(|word| {
        let (key, path) = word.split_once('=').unwrap_or(("", word));
        if key.starts_with("Exec") && path.starts_with("/usr/local/") {
            format!("{key}=/bin/true ")
        } else {
            word.to_owned()
        }
    });
    let path = folder.join(source.file_name().unwrap());
    fs::write(&path, words.collect::<String>()).unwrap();
    path
}

fn analyze(words: &[&str], path: &Path) -> (bool, String) {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(words).arg(path).output();
    let output = output.expect("systemd-analyze, of the package systemd");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn each_unit_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    for (unit, _) in UNITS {
        let path = copy(unit, folder.path());
        let (is_valid, text) = analyze(&["verify", "--man=no"], &path);
        // A complaint about another unit of this host is not about this file.
        let name = path.file_name().unwrap().to_str().unwrap();
        let complaints = text.lines().filter(|line| line.contains(name));
        let complaints: Vec<_> = complaints.collect();
        assert!(is_valid && complaints.is_empty(), "{unit}: {text}");
    }
}

#[test]
fn a_mistake_in_a_unit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = copy(UNITS[0].0, folder.path());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("WatchdogSec=30", "WatchdogSec=often")).unwrap();
    let (_, text) = analyze(&["verify", "--man=no"], &path);
    assert!(
        text.contains("load_balancer.service") && text.contains("often"),
        "{text}"
    );
}

#[test]
fn each_unit_limits_what_a_fault_could_do() {
    let folder = tempfile::tempdir().unwrap();
    for (unit, exposure) in UNITS {
        let path = copy(unit, folder.path());
        let threshold = format!("--threshold={}", exposure.replace('.', ""));
        let words = ["security", "--offline=true", "--no-pager", &threshold];
        let (is_below, text) = analyze(&words, &path);
        assert!(is_below, "{unit}: {text}");
    }
}
