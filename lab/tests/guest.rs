//! A kernel runs one program, with all that belongs to it, and reports how it ended.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test"
)]

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use vrrp_lab::{Error, Guest, Kernel};

/// A shell script as a guest. (`-c` comes first, the script's own arguments follow.)
fn shell(script: &str) -> Guest {
    Guest {
        arguments: ["sh", "-c", script].map(Into::into).into(),
        ..Guest::new("/bin/busybox")
    }
}

/// In every kernel: the exit status and the lines.
fn run(guest: &Guest) -> Vec<(i32, Vec<String>)> {
    let in_kernel = |kernel: &Kernel| {
        let mut lines = Vec::new();
        let status = kernel.run(guest, |line| lines.push(line.into())).unwrap();
        (status, lines)
    };
    Kernel::ALL.iter().map(in_kernel).collect()
}

#[test]
fn the_status_and_the_lines_are_those_of_the_program() {
    let script = r"echo first; echo second >&2; printf '\n  third\twith tab'; exit 3";
    for (status, lines) in run(&shell(script)) {
        assert_eq!(status, 3);
        assert_eq!(lines, ["first", "second", "", "  third\twith tab"]);
    }
}

#[test]
fn a_signal_is_part_of_the_status() {
    for (status, _) in run(&shell("kill -KILL $$")) {
        assert_eq!(status, 128 + 9);
    }
}

#[test]
fn arguments_variables_and_files_arrive_unchanged() {
    let text = "it's \"$HOME\" `and` \\ *\n\u{e4}";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let script = r#"[ "$1" = "$VALUE" ] && [ "$(cat "$2")" = "$VALUE" ] && [ "$TMPDIR" ] && echo x >"$TMPDIR/x""#;
    let mut guest = shell(script);
    guest.environment.push(("VALUE".into(), text.into()));
    guest.files.push(file.path().into());
    guest
        .arguments
        .extend(["sh".into(), text.into(), file.path().into()]);
    for (status, lines) in run(&guest) {
        assert_eq!((status, lines), (0, vec![]));
    }
}

#[test]
fn a_program_without_execute_permission_is_an_error_of_the_shell() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file()
        .set_permissions(PermissionsExt::from_mode(0o644))
        .unwrap();
    for (status, lines) in run(&Guest::new(file.path())) {
        assert_eq!(status, 126, "{lines:?}");
    }
}

#[test]
fn the_host_cannot_be_written_to() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo changed >{}", file.path().display());
    let status = Kernel::Uml6_1.run(&shell(&script), |_| ()).unwrap();
    assert_ne!(status, 0);
    assert_eq!(std::fs::read(file.path()).unwrap(), b"");
}

#[test]
fn a_program_that_does_not_end_is_stopped_at_the_limit() {
    let timeout_after = |kernel: Kernel, limit: Duration| {
        let guest = Guest {
            limit,
            ..shell("echo here; while :; do sleep 1; done")
        };
        let started = Instant::now();
        let error = kernel.run(&guest, |_| ()).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(started.elapsed() >= limit);
        error.to_string()
    };
    // On a busy machine a kernel takes longer to reach its program.
    let expect_timeout = |kernel: Kernel| {
        let limits = [20, 80, 320].map(Duration::from_secs);
        let mut texts = limits
            .map(|limit| move || timeout_after(kernel, limit))
            .into_iter();
        assert!(texts.any(|text| text().contains("here")), "{kernel:?}");
    };
    thread::scope(|scope| {
        for kernel in [Kernel::Uml6_1, Kernel::Debian6_1] {
            scope.spawn(move || expect_timeout(kernel));
        }
    });
}

#[test]
fn a_kernel_that_ends_first_is_an_error_with_its_last_words() {
    for kernel in Kernel::ALL {
        let guest = shell("echo farewell; echo c >/proc/sysrq-trigger; sleep 30");
        let error = kernel.run(&guest, |_| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("ended before its program did"), "{text}");
        assert!(text.contains("farewell"), "{text}");
        assert!(text.contains("Kernel panic"), "{text}");
    }
}
