//! Any text is read as keepalived.conf: no panic, and every place lies in the text.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vrrp_examples::keepalived_conf::{
    diagnostic,
    host::Host,
    interpret, report,
    source::{Environment, Lines},
};

fuzz_target!(|text: &str| {
    // Includes would read files of the machine.
    if text.contains("include") {
        return;
    }
    let environment = Environment {
        config_id: Some("a".into()),
        seed: 1,
        ..Environment::default()
    };
    let lines = Lines::of_text(Path::new("x.conf"), text.into(), &environment);
    let count = text.lines().count();
    for line in &lines.lines {
        assert!(line.place.line <= count);
    }
    let host = Host::default();
    let reading = interpret(lines, &host);
    let _ = report(&reading, &host);
    let _ = diagnostic::render(&reading, false);
});
