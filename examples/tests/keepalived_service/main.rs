//! The unit of keepalived under systemd itself, as the first process of a guest's PID namespace.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, Output},
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use vrrp_lab::{
    BackgroundProgram, Capture, Host, Kernel, Lan, Suite, example, guest_tests, wait_for,
};

/// Longer than any step takes: a guest on a busy machine is slow.
const LIMIT: Duration = Duration::from_secs(120);

const SERVICE: &str = "keepalived.service";
const VIP: &str = "192.0.2.100/24";

/// Targets that a service needs and systemd does not make by itself.
const TARGETS: [&str; 6] = [
    "basic.target",
    "multi-user.target",
    "network-online.target",
    "shutdown.target",
    "sysinit.target",
    "trial.target",
];

/// What makes a service manager out of this process: a tree of control groups, a /tmp that can be
/// written, for the devices of the service, and only the units of the test.
const INIT: &str = r#"mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/tmp,upperdir=$1/upper,workdir=$1/work" overlay /tmp
export SYSTEMD_UNIT_PATH="$1/units" container=trial
exec /lib/systemd/systemd --system --unit=trial.target --show-status=false --log-target=console"#;

fn main() -> ExitCode {
    let tests = guest_tests![
        reload_reads_the_file_and_with_the_drop_in_runs_the_installed_program_without_a_failover,
    ];
    let tests = tests.map(|test| test.within(Duration::from_secs(240)));
    let mut suite = Suite::new(&[Kernel::Uml6_1], &tests);
    suite.files.push(example("keepalived").unwrap());
    suite.run()
}

/// A host with systemd, which has the unit.
struct Machine {
    host: Host,
    folder: TempDir,
    manager: BackgroundProgram,
}

impl Machine {
    fn start(host: Host) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let units = folder.path().join("units");
        fs::create_dir(&units).unwrap();
        for target in TARGETS {
            fs::write(units.join(target), "[Unit]\nDefaultDependencies=no\n").unwrap();
        }
        fs::write(
            units.join(SERVICE),
            adapted("keepalived.service", folder.path()),
        )
        .unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let options = [
            "--use-file",
            &file("conf"),
            "--pid",
            &file("pid"),
            "--vrrp_pid",
            &file("vrrp.pid"),
            "--replace-socket",
            &file("socket"),
            "--vrrp --no-syslog --log-file",
            &file("log"),
        ];
        let variables = format!("DAEMON_ARGS={}\n", options.join(" "));
        fs::write(file("variables"), variables).unwrap();
        let mut command = host.namespace().command("unshare");
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.args(["sh", "-c", INIT, "sh"]).arg(folder.path());
        let machine = Self {
            host,
            folder,
            manager: BackgroundProgram::spawn(command),
        };
        machine.wait_until("systemd", || {
            machine
                .systemctl(&["is-active", "trial.target"])
                .status
                .success()
        });
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_config(&self, priority: u8) {
        let text = format!(
            "vrrp_instance V {{
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.5
    priority {priority}
    virtual_ipaddress {{
        {VIP}
    }}
}}
"
        );
        fs::write(self.path("conf"), text).unwrap();
    }

    /// Runs a program among the processes of systemd.
    fn run(&self, words: &[&str]) -> Output {
        let namespaces = format!("/proc/{}/ns", self.manager.id());
        let mut command = self.host.namespace().command("nsenter");
        command
            .arg(format!("--pid={namespaces}/pid_for_children"))
            .arg(format!("--mount={namespaces}/mnt"));
        command.args(words).output().unwrap()
    }

    fn systemctl(&self, words: &[&str]) -> Output {
        self.run(&[&["systemctl"], words].concat())
    }

    #[track_caller]
    fn command(&self, words: &[&str]) {
        let output = self.systemctl(words);
        assert!(
            output.status.success(),
            "{words:?}: {output:?}\n{}",
            self.log()
        );
    }

    /// The state of the service.
    fn state(&self) -> BTreeMap<String, String> {
        let names = "--property=ActiveState,Result,MainPID,NRestarts,ControlGroup";
        let output = self.systemctl(&["show", names, SERVICE]);
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn main_process(&self) -> String {
        self.state()["MainPID"].clone()
    }

    /// The processes of the service.
    fn processes(&self, group: &str) -> String {
        let list = format!("/sys/fs/cgroup{group}/cgroup.procs");
        let output = self.run(&["cat", &list]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Waits until the service has another main process, which is its only one.
    fn wait_for_another(&self, before: &str) -> String {
        self.wait_until("another main process", || {
            let state = self.state();
            state["ActiveState"] == "active"
                && state["MainPID"] != before
                && state["MainPID"] != "0"
                && self.processes(&state["ControlGroup"]) == state["MainPID"]
        });
        self.main_process()
    }

    fn has_address(&self) -> bool {
        let mut command = self.host.namespace().command("ip");
        let output = command.args(["-o", "address"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains(VIP)
    }

    fn log(&self) -> String {
        let own = fs::read_to_string(self.path("log")).unwrap_or_default();
        format!("{}\n{own}", self.manager.lines().join("\n"))
    }

    #[track_caller]
    fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        wait_for(what, LIMIT, || holds().then_some(()))
            .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", self.state(), self.log()));
    }
}

/// A file of the program's folder, with the program and the files of the test.
fn adapted(name: &str, folder: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("keepalived")
        .join(name);
    let program = example("keepalived").unwrap().display().to_string();
    let file = |name: &str| folder.join(name).display().to_string();
    fs::read_to_string(source)
        .unwrap()
        .replace("/usr/local/sbin/keepalived", &program)
        .replace("/etc/keepalived/keepalived.conf", &file("conf"))
        .replace("/etc/default/keepalived", &file("variables"))
}

/// The priorities of the advertisements since the n-th frame.
fn advertised(capture: &Capture, since: usize) -> Vec<u8> {
    let frames = capture.frames();
    let frames = frames.get(since..).unwrap_or_default();
    let sent = frames
        .iter()
        .filter(|frame| frame.bytes.get(23) == Some(&112));
    sent.filter_map(|frame| frame.bytes.get(36).copied())
        .collect()
}

fn reload_reads_the_file_and_with_the_drop_in_runs_the_installed_program_without_a_failover() {
    let lan = Lan::new().unwrap();
    let capture = lan.capture().unwrap();
    let machine = Machine::start(lan.host("n0", &["192.0.2.1/24"]).unwrap());
    machine.write_config(150);
    machine.command(&["start", SERVICE]);
    machine.wait_until("the address", || machine.has_address());
    let first = machine.wait_for_another("0");

    // The unit as it is.
    machine.write_config(140);
    machine.command(&["reload", SERVICE]);
    let has_sent = |since, priority| advertised(&capture, since).contains(&priority);
    machine.wait_until("the new priority", || has_sent(0, 140));
    assert_eq!(machine.main_process(), first);

    // With the drop-in file; a successor has a successor, too.
    let folder = machine.path("units").join(format!("{SERVICE}.d"));
    fs::create_dir(&folder).unwrap();
    let text = adapted("replace.conf", machine.folder.path());
    fs::write(folder.join("replace.conf"), text).unwrap();
    machine.command(&["daemon-reload"]);
    let since = capture.frames().len();
    let mut main = first;
    for priority in [130, 120] {
        machine.write_config(priority);
        machine.command(&["reload", SERVICE]);
        main = machine.wait_for_another(&main);
        machine.wait_until("the new priority", || has_sent(since, priority));
    }
    assert!(machine.has_address());
    let priorities = advertised(&capture, since);
    assert!(!priorities.contains(&0), "it resigned: {priorities:?}");
    let log = fs::read_to_string(machine.path("log")).unwrap();
    assert_eq!(log.matches("Entering MASTER STATE").count(), 1, "{log}");

    // A file that cannot be used, and one that cannot be written: the reload fails, and the running
    // program stays.
    let fails = || {
        let output = machine.systemctl(&["reload", SERVICE]);
        assert!(!output.status.success(), "{output:?}");
        assert_eq!(machine.main_process(), main);
        assert_eq!(machine.state()["ActiveState"], "active");
    };
    fs::remove_file(machine.path("conf")).unwrap();
    fails();
    machine.write_config(120);
    let variables = fs::read_to_string(machine.path("variables")).unwrap();
    let nowhere = variables.replace("--pid ", "--pid /nowhere");
    fs::write(machine.path("variables"), nowhere).unwrap();
    fails();
    fs::write(machine.path("variables"), variables).unwrap();

    // Its end is noticed.
    let killed = machine.run(&["kill", "-KILL", &main]);
    assert!(killed.status.success(), "{killed:?}");
    let _restarted = machine.wait_for_another(&main);
    assert_eq!(machine.state()["NRestarts"], "1");

    let group = machine.state()["ControlGroup"].clone();
    machine.command(&["stop", SERVICE]);
    let state = machine.state();
    assert_eq!(state["ActiveState"], "inactive");
    assert_eq!(state["Result"], "success");
    assert_eq!(machine.processes(&group), "");
    assert!(!machine.has_address());
    machine.manager.signal(Signal::SIGKILL);
}
