//! `load_balancer --demo`.

use std::{fs, process::Command, time::Duration};

use vrrp_lab::{GuestTest, example, guest_tests};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        the_demonstration_prints_and_draws_who_answered_when,
        the_demonstration_names_what_is_missing,
    ]
    .map(|test| test.within(Duration::from_secs(300)))
    .to_vec()
}

fn the_demonstration_prints_and_draws_who_answered_when() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.svg");
    let output = Command::new(example("load_balancer").unwrap())
        .arg("--demo")
        .arg("--svg")
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{text}{errors}");
    let picture = fs::read_to_string(&path).unwrap();
    println!("{picture}");
    for event in [
        "both load balancers start",
        "s1: its process ends",
        "s1: it runs again",
        "lb1: kill -9, its cables are pulled",
        "lb1: it runs again",
        "s2: its cable is pulled",
        "s2: its cable is back",
        "lb1: SIGTERM",
    ] {
        // Printed once when its effect is seen, and once with its numbers.
        assert_eq!(text.matches(event).count(), 2, "{event}");
    }
    assert!(output.status.success());
    let count = |class: &str| picture.matches(&format!("class=\"{class}\"")).count();
    assert_eq!(count("event"), 8);
    // Both load balancers were Active, each twice; the legend contains one more.
    assert!(count("active") >= 5 && count("answers") > 50 && count("failed") > 2);
    // Nothing is left behind.
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
    let left = processes.filter_map(name);
    assert_eq!(
        left.filter(|name| name.starts_with("load_balancer\n"))
            .count(),
        0
    );
}

fn the_demonstration_names_what_is_missing() {
    let mut command = Command::new("setpriv");
    let program = example("load_balancer").unwrap();
    command.args([
        "--bounding-set",
        "-net_admin",
        "--inh-caps",
        "-net_admin",
        "--",
    ]);
    let output = command.arg(program).arg("--demo").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.starts_with("--demo is not possible here: "),
        "{error}"
    );
    assert!(
        error.contains("run as root: CAP_NET_ADMIN missing"),
        "{error}"
    );
}
