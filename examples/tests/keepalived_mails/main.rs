//! Mails of the program `keepalived`, to a real mail server and to one that never answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use vrrp_lab::{BackgroundProgram, Host, Lan, example, wait_for};

/// Longer than any wait here takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Debian's Python, which has the package python3-aiosmtpd.
const PYTHON: &str = "/usr/bin/python3";

const GLOBAL: &str = "    notification_email {
        admin@example.org
        \"Night Shift <night@example.org>\"
    }
    notification_email_from vrrp@example.org
    smtp_server 127.0.0.1 2525
    smtp_helo_name router.example
    router_id R1
";

/// A host that runs the program.
struct Rig {
    _lan: Lan,
    host: Host,
    folder: TempDir,
    program: Option<BackgroundProgram>,
}

impl Rig {
    fn new(config: &str) -> Self {
        let lan = Lan::new().unwrap();
        let host = lan.host("a", &["192.0.2.1/24"]).unwrap();
        let rig = Self {
            _lan: lan,
            host,
            folder: tempfile::tempdir().unwrap(),
            program: None,
        };
        rig.write(config);
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, config: &str) {
        let folder = self.folder.path().display().to_string();
        let text = config
            .replace("DIR", &folder)
            .replace("IFACE", self.host.interface());
        fs::write(self.path("conf"), text).unwrap();
    }

    /// Starts the mail server, which runs until the result is dropped.
    fn start_server(&self) -> BackgroundProgram {
        let script = self.path("server.py");
        fs::write(&script, include_str!("server.py")).unwrap();
        let mut command = self.host.namespace().command(PYTHON);
        command
            .arg(script)
            .args(["127.0.0.1", "2525"])
            .arg(self.path("mails"));
        let server = BackgroundProgram::spawn(command);
        let listens = || self.path("mails").exists().then_some(());
        wait_for("the mail server", LIMIT, listens).unwrap();
        server
    }

    fn start(&mut self) {
        let path = |name: &str| self.path(name).display().to_string();
        let mut command: Command = self
            .host
            .namespace()
            .command(example("keepalived").unwrap());
        command
            .args(["-n", "-G", "-l", "-D", "-P", "-f", &path("conf")])
            .args(["-p", &path("pid"), "-r", &path("vrrp")])
            .args(["--replace-socket", &path("socket")]);
        self.program = Some(BackgroundProgram::spawn(command));
    }

    fn signal(&self, signal: Signal) {
        if let Some(program) = &self.program {
            program.signal(signal);
        }
    }

    fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        if let Some(mut program) = self.program.take() {
            assert_eq!(program.wait().code(), Some(0));
        }
    }

    fn mails(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("mails")).unwrap_or_default();
        // The last line may not be complete yet.
        let lines = text.split_inclusive('\n').filter(|it| it.ends_with('\n'));
        lines.map(|it| serde_json::from_str(it).unwrap()).collect()
    }

    fn subjects(&self) -> Vec<String> {
        let mails = self.mails().into_iter();
        mails
            .map(|it| it["subject"].as_str().unwrap().to_owned())
            .collect()
    }

    fn wait_for_subjects(&self, expected: &[&str]) {
        let is_there = || (self.subjects() == expected).then_some(());
        wait_for(&format!("{expected:?}"), LIMIT, is_there)
            .unwrap_or_else(|error| panic!("{error}; there is {:?}", self.subjects()));
    }
}

/// One instance that sends mails, in a group that does not, with settings of `global_defs`.
fn config(global: &str, group: &str) -> String {
    format!(
        "global_defs {{
{global}    vrrp_notify_fifo DIR/fifo
    vrrp_notify_fifo_script \"/bin/cp DIR/none\"
    script_user root
}}
vrrp_sync_group G {{
    group {{
        V
    }}
{group}
}}
vrrp_instance V {{
    interface IFACE
    virtual_router_id 51
    version 3
    advert_int 0.2
    smtp_alert
    virtual_ipaddress {{
        192.0.2.100/24
    }}
}}
"
    )
}

const INSTANCE: [&str; 4] = [
    "[R1] VRRP Instance V - Entering BACKUP state",
    "[R1] VRRP Instance V - Entering MASTER state",
    "[R1] VRRP Instance V - Entering FAULT state",
    "[R1] VRRP Instance V - Stopping",
];

#[test]
fn each_change_of_an_instance_is_mailed_once_to_every_recipient() {
    let mut rig = Rig::new(&config(GLOBAL, ""));
    let _server = rig.start_server();
    rig.start();
    let [backup, master, fault, stopping] = INSTANCE;
    rig.wait_for_subjects(&[backup, master]);
    rig.host.shut().unwrap();
    rig.wait_for_subjects(&[backup, master, fault]);
    // A reload without a change of state causes no mail.
    rig.signal(Signal::SIGHUP);
    rig.host.mend().unwrap();
    rig.wait_for_subjects(&[backup, master, fault, backup, master]);
    rig.stop();
    rig.wait_for_subjects(&[backup, master, fault, backup, master, stopping]);
    for mail in rig.mails() {
        assert_eq!(mail["helo"], "router.example");
        assert_eq!(mail["from"], "vrrp@example.org");
        assert_eq!(
            mail["to"],
            serde_json::json!(["admin@example.org", "night@example.org"])
        );
        let headers = &mail["headers"];
        assert_eq!(headers["From"], "vrrp@example.org");
        let to = headers["To"].as_str().unwrap();
        assert!(to.contains("<night@example.org>"), "{to}");
        assert!(headers["Date"].is_string(), "{headers}");
        assert!(mail["text"].as_str().unwrap().starts_with("V: "), "{mail}");
    }
}

#[test]
fn a_group_is_mailed_too_and_faults_are_left_out_where_the_configuration_says_so() {
    let global = format!("{GLOBAL}    no_email_faults\n    smtp_alert_vrrp no\n");
    let mut rig = Rig::new(&config(&global, "    smtp_alert"));
    let _server = rig.start_server();
    rig.start();
    let wait_for_all = |rig: &Rig, count: usize| {
        let is_there = || (rig.subjects().len() == count).then_some(());
        wait_for(&format!("{count} mails"), LIMIT, is_there)
            .unwrap_or_else(|error| panic!("{error}; there is {:?}", rig.subjects()));
    };
    let of = |rig: &Rig, party: &str| -> Vec<String> {
        let subjects = rig.subjects().into_iter();
        subjects.filter(|it| it.contains(party)).collect()
    };
    let group = INSTANCE.map(|it| it.replace("Instance V", "Group G"));
    wait_for_all(&rig, 4);
    assert_eq!(of(&rig, "Instance"), INSTANCE[..2]);
    assert_eq!(of(&rig, "Group"), group[..2]);
    rig.host.shut().unwrap();
    rig.host.mend().unwrap();
    wait_for_all(&rig, 8);
    rig.stop();
    wait_for_all(&rig, 10);
    let [backup, master, _, stopping] = INSTANCE;
    assert_eq!(
        of(&rig, "Instance"),
        [backup, master, backup, master, stopping]
    );
    let [backup, master, _, stopping] = group.each_ref();
    assert_eq!(
        of(&rig, "Group"),
        [backup, master, backup, master, stopping].map(String::as_str)
    );
}

#[test]
fn a_mail_server_that_never_answers_delays_neither_an_election_nor_the_end() {
    // Longer than the test may take: a program that waited for the server would not pass it.
    let global = format!("{GLOBAL}    smtp_connect_timeout 300\n");
    let mut rig = Rig::new(&config(&global, ""));
    let listener = rig
        .host
        .namespace()
        .run(|| TcpListener::bind("127.0.0.1:2525").unwrap());
    let started = Instant::now();
    rig.start();
    let has_address = || {
        let addresses = rig.host.addresses().unwrap();
        let found = addresses
            .iter()
            .any(|it| it.to_string() == "192.0.2.100/24");
        found.then_some(())
    };
    wait_for("the address", LIMIT, has_address).unwrap();
    // The first mail has a connection, and waits there.
    listener.accept().unwrap();
    rig.stop();
    assert!(started.elapsed() < 3 * LIMIT);
    let addresses = rig.host.addresses().unwrap();
    assert!(
        !addresses
            .iter()
            .any(|it| it.to_string() == "192.0.2.100/24")
    );
}

#[test]
fn counters_begin_again_after_the_signal_that_clears_them() {
    let path = |rig: &Rig| rig.path("stats").display().to_string();
    let mut rig = Rig::new("");
    let global = format!("    stats_dump_file {}\n", path(&rig));
    rig.write(&config(&global, ""));
    rig.start();
    // The program serves signals once its process id is written.
    let serves = || rig.path("pid").exists().then_some(());
    wait_for("the process id", LIMIT, serves).unwrap();
    let sent = |rig: &Rig| -> Option<u64> {
        let text = fs::read_to_string(rig.path("stats")).ok()?;
        let line = text.lines().find(|it| it.starts_with("    Sent: "))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let wait_for_sent = |rig: &Rig, is_expected: &dyn Fn(u64) -> bool| {
        let is_there = || {
            rig.signal(Signal::SIGUSR2);
            sent(rig).filter(|it| is_expected(*it))
        };
        wait_for("the counter", LIMIT, is_there).unwrap()
    };
    let before = wait_for_sent(&rig, &|sent| sent >= 10);
    let number = Command::new(example("keepalived").unwrap())
        .args(["--signum", "STATS_CLEAR"])
        .output()
        .unwrap();
    let number: i32 = String::from_utf8(number.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let process = fs::read_to_string(rig.path("pid")).unwrap();
    fs::remove_file(rig.path("stats")).unwrap();
    let status = Command::new("kill")
        .args([format!("-{number}"), process.trim().to_owned()])
        .status()
        .unwrap();
    assert!(status.success());
    // The program writes the counters first, and then clears them.
    let written = || sent(&rig).filter(|it| *it >= before);
    wait_for("the counters before", LIMIT, written).unwrap();
    let after = wait_for_sent(&rig, &|sent| sent < before);
    assert!(after < before);
    rig.stop();
}
