//! Two hosts on one network, each with keepalived or with this program, and observations of both.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use vrrp_lab::{BackgroundProgram, Capture, Host, Lan, example, wait_for};

/// The longest time that each wait may take. A test that reaches it has found a fault.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The installed keepalived.
const KEEPALIVED: &str = "/usr/sbin/keepalived";

/// The program of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Keepalived,
    Ours,
}

/// One of the two hosts.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Host,
    kind: Kind,
    folder: TempDir,
    config: String,
    running: Option<BackgroundProgram>,
}

/// The network with both hosts.
#[derive(Debug)]
pub(crate) struct Rig {
    lan: Lan,
    pub(crate) capture: Capture,
    pub(crate) nodes: [Node; 2],
    /// Whether changes come at the same time, so that the order of their reports means nothing.
    pub(crate) at_once: bool,
}

impl Rig {
    pub(crate) fn new(kinds: [Kind; 2], configs: [&str; 2]) -> Self {
        let lan = Lan::new().unwrap();
        let capture = lan.capture().unwrap();
        let nodes = std::array::from_fn(|place| {
            let name = format!("n{place}");
            let addresses = [
                format!("192.0.2.{}/24", place + 1),
                format!("2001:db8::{}/64", place + 1),
            ];
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let host = lan.host(&name, &addresses).unwrap();
            for other in ["eth1", "eth2"] {
                let pair = format!("link add {other} type veth peer name {other}p");
                iproute2(&host, &pair);
                iproute2(&host, &format!("link set {other}p up"));
                iproute2(&host, &format!("link set {other} up"));
            }
            Node::new(host, kinds[place], configs[place])
        });
        Self {
            lan,
            capture,
            nodes,
            at_once: false,
        }
    }

    pub(crate) fn node(&self, place: usize) -> &Node {
        &self.nodes[place]
    }

    pub(crate) fn start(&mut self, place: usize) {
        self.nodes[place].start();
    }

    /// Starts the first host, and the other one once the first is master.
    pub(crate) fn start_both(&mut self) {
        self.start(0);
        self.wait_until("the first master", |rig| {
            let notes = rig.node(0).notes();
            notes.iter().any(|note| note.eq_ignore_ascii_case("master"))
        });
        self.start(1);
        self.wait_until("the second host", |rig| !rig.node(1).notes().is_empty());
    }

    pub(crate) fn stop(&mut self, place: usize) {
        self.nodes[place].stop();
    }

    /// The changes that each host has reported to its script.
    pub(crate) fn notes(&self) -> [Vec<String>; 2] {
        [0, 1].map(|place| {
            let mut notes = self.node(place).notes();
            if self.at_once {
                notes.sort();
            }
            notes
        })
    }

    /// Kills both programs.
    pub(crate) fn kill(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
    }

    /// Adds a host without a program.
    pub(crate) fn host(&self, name: &str, addresses: &[&str]) -> Host {
        self.lan.host(name, addresses).unwrap()
    }

    /// Runs ip(8) on a host.
    pub(crate) fn ip(&self, place: usize, arguments: &str) {
        iproute2(&self.node(place).host, arguments);
    }

    /// Deletes the interface of a host.
    pub(crate) fn delete_interface(&self, place: usize) {
        self.ip(place, "link delete eth0");
    }

    /// Makes another interface of that name.
    pub(crate) fn make_interface(&self, place: usize) {
        let address = format!("192.0.2.{}/24", place + 1);
        let host = &self.node(place).host;
        self.lan.attach(host, "eth0", &[&address]).unwrap();
    }

    /// Makes a file in the folder of a host.
    pub(crate) fn touch(&self, place: usize, name: &str) {
        fs::write(self.node(place).path(name), "").unwrap();
    }

    /// Removes a file from the folder of a host.
    pub(crate) fn remove(&self, place: usize, name: &str) {
        fs::remove_file(self.node(place).path(name)).unwrap();
    }

    /// Waits until the address is on this host, and not on the other.
    pub(crate) fn wait_for_address(&self, address: &str, place: usize) {
        let [here, there] = [place, 1 - place].map(|it| self.node(it));
        let what = format!("{address} on {} alone", here.host.name());
        wait_for(&what, LIMIT, || {
            (here.has(address) && !there.has(address)).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {self:#?}"));
    }

    /// Waits until this is the last change that a host has reported.
    pub(crate) fn wait_for_note(&self, place: usize, wanted: &str) {
        let node = self.node(place);
        let what = format!("{wanted} on {}", node.host.name());
        wait_for(&what, LIMIT, || {
            (node.notes().last().map(String::as_str) == Some(wanted)).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", node.kind, node.notes()));
    }

    /// Waits until a host advertises with this priority.
    pub(crate) fn wait_for_priority(&self, place: usize, priority: u8) {
        let source = [192, 0, 2, u8::try_from(place + 1).unwrap()];
        let since = self.capture.frames().len();
        wait_for(&format!("priority {priority}"), LIMIT, || {
            let frames = self.capture.frames();
            frames.get(since..)?.iter().find_map(|frame| {
                let ip = frame.bytes.get(14..)?;
                let is_vrrp = *ip.get(9)? == 112 && ip.get(12..16)? == source;
                (is_vrrp && *ip.get(22)? == priority).then_some(())
            })
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", self.node(place).kind));
    }

    /// Waits until a host has sent this many more advertisements.
    pub(crate) fn wait_for_heartbeats(&self, place: usize, count: usize) {
        let source = [192, 0, 2, u8::try_from(place + 1).unwrap()];
        let seen = || {
            let frames = self.capture.frames();
            let is_one = |frame: &&vrrp_lab::Frame| {
                let ip = frame.bytes.get(14..).unwrap_or_default();
                matches!(ip.get(9), Some(112 | 51)) && ip.get(12..16) == Some(&source)
            };
            frames.iter().filter(is_one).count()
        };
        let before = seen();
        wait_for("advertisements", LIMIT, || {
            (seen() >= before + count).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", self.node(place).kind));
    }

    /// The TTLs of the advertisements of a host, each once.
    pub(crate) fn ttls(&self, place: usize) -> Vec<u8> {
        let source = [192, 0, 2, u8::try_from(place + 1).unwrap()];
        let mut ttls: Vec<u8> = self
            .capture
            .frames()
            .iter()
            .filter_map(|frame| {
                let ip = frame.bytes.get(14..)?;
                let is_one = ip.get(9) == Some(&112) && ip.get(12..16) == Some(&source);
                is_one.then(|| ip.get(8).copied())?
            })
            .collect();
        ttls.sort_unstable();
        ttls.dedup();
        ttls
    }

    /// The longest time between two advertisements of a host.
    pub(crate) fn longest_silence(&self, place: usize) -> Duration {
        let source = [192, 0, 2, u8::try_from(place + 1).unwrap()];
        let frames = self.capture.frames();
        let times: Vec<_> = frames
            .iter()
            .filter(|frame| {
                let ip = frame.bytes.get(14..).unwrap_or_default();
                ip.get(9) == Some(&112) && ip.get(12..16) == Some(&source)
            })
            .map(|frame| frame.at)
            .collect();
        let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
        pauses.max().unwrap_or_default()
    }

    /// Waits until a host has announced an address this many times.
    pub(crate) fn wait_for_announcements(&self, place: usize, address: [u8; 4], count: usize) {
        wait_for("announcements", LIMIT, || {
            (announcements(&self.capture, address).len() >= count).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", self.node(place).kind));
    }

    /// Waits until a condition holds.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        wait_for(what, LIMIT, || holds(self).then_some(()))
            .unwrap_or_else(|error| panic!("{error}: {self:#?}"));
    }

    /// Whether a host has advertised with this priority.
    pub(crate) fn has_seen_priority(&self, priority: u8) -> bool {
        self.capture.frames().iter().any(|frame| {
            let ip = frame.bytes.get(14..).unwrap_or_default();
            ip.get(9) == Some(&112) && ip.get(22) == Some(&priority)
        })
    }
}

impl Node {
    fn new(host: Host, kind: Kind, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = Self {
            host,
            kind,
            folder,
            config: config.to_owned(),
            running: None,
        };
        let script = "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/notes\"\n";
        let path = node.path("note");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        node.write_config(config);
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration; `DIR` stands for the folder of this host.
    pub(crate) fn write_config(&self, config: &str) {
        let folder = self.folder.path().display().to_string();
        fs::write(self.path("conf"), config.replace("DIR", &folder)).unwrap();
    }

    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    pub(crate) fn start(&mut self) {
        let before = self.log().matches("Startup complete").count();
        self.spawn(&[]);
        self.wait_for_start(before + 1);
    }

    fn spawn(&mut self, further: &[&str]) {
        let program = match self.kind {
            Kind::Keepalived => PathBuf::from(KEEPALIVED),
            Kind::Ours => example("keepalived").unwrap(),
        };
        let file = |name: &str| self.folder.path().join(name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(file("log"))
            .unwrap();
        let mut command = self.host.namespace().command(program);
        command
            .args(["-n", "-l", "-D", "-P", "-G", "-R"])
            .arg("-f")
            .arg(file("conf"))
            .arg("-p")
            .arg(file("pid"))
            .arg("-r")
            .arg(file("vrrp.pid"))
            .args(further)
            .stderr(log)
            .env("TMPDIR", self.folder.path());
        if self.kind == Kind::Ours {
            command.arg("--replace-socket").arg(file("socket"));
        }
        let manager = file("notify");
        if manager.exists() {
            command.env("NOTIFY_SOCKET", manager);
        }
        self.running = Some(BackgroundProgram::spawn(command));
    }

    /// Waits until the program has started for the n-th time.
    fn wait_for_start(&self, count: usize) {
        wait_for("the start", LIMIT, || {
            (self.log().matches("Startup complete").count() >= count).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", self.log()));
    }

    /// Starts a successor of the program that runs, and returns that program.
    pub(crate) fn start_successor(&mut self) -> Option<BackgroundProgram> {
        let before = self.running.take();
        self.spawn(&["--replace"]);
        before
    }

    /// Starts a successor of the program that runs, and waits until it has taken over.
    pub(crate) fn replace(&mut self) {
        let log = self.log().matches("Startup complete").count();
        let mut before = self.start_successor();
        self.wait_for_start(log + 1);
        if let Some(before) = &mut before {
            before.wait();
        }
    }

    /// Reads a FIFO until its writer has gone.
    pub(crate) fn read_fifo(&self, name: &str) -> std::thread::JoinHandle<String> {
        let path = self.path(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::thread::spawn(move || fs::read_to_string(path).unwrap())
    }

    /// Sends a real-time signal.
    pub(crate) fn signal_number(&self, number: i32) {
        let text = fs::read_to_string(self.path("pid")).unwrap();
        let mut command = Command::new("kill");
        command.args([format!("-{number}"), text.trim().to_owned()]);
        assert!(command.status().unwrap().success());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The process that wrote its number last.
    pub(crate) fn process(&self) -> u32 {
        let text = fs::read_to_string(self.path("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// Ends the program with SIGTERM.
    pub(crate) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::SIGTERM);
            running.wait();
        }
    }

    /// Waits until the program has ended by itself.
    pub(crate) fn wait(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.wait();
        }
    }

    /// Kills the program with all its processes.
    pub(crate) fn kill(&mut self) {
        // The child is killed first, because its parent would ask it to end.
        for name in ["vrrp.pid", "pid"] {
            let text = fs::read_to_string(self.path(name)).unwrap_or_default();
            if let Ok(pid) = text.trim().parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        if let Some(running) = self.running.take() {
            running.kill();
        }
        // keepalived does not start if the files of a killed daemon are left.
        for name in ["log", "pid", "vrrp.pid"] {
            let _ = fs::remove_file(self.path(name));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.signal(signal);
        }
    }

    /// The changes that the script was called for, as `STATE PRIORITY`.
    pub(crate) fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn has(&self, address: &str) -> bool {
        let text = iproute2(&self.host, "-o address");
        text.contains(&format!(" {address} "))
    }
}

/// Changes the configuration of the first program and waits until the reload is complete.
pub(crate) fn reload(rig: &Rig, config: &str) {
    let complete = |rig: &Rig| rig.node(0).log().matches("Reload complete").count();
    let before = complete(rig);
    rig.node(0).write_config(config);
    rig.node(0).signal(Signal::SIGHUP);
    rig.wait_until("the reload", |rig| complete(rig) > before);
}

/// The times at which an address was announced.
pub(crate) fn announcements(capture: &Capture, address: [u8; 4]) -> Vec<Instant> {
    let frames = capture.frames();
    let is_one = |frame: &&vrrp_lab::Frame| {
        frame.bytes.get(12..14) == Some(&[8, 6]) && frame.bytes.get(28..32) == Some(&address)
    };
    frames.iter().filter(is_one).map(|frame| frame.at).collect()
}

/// Runs ip(8) in the namespace of a host.
pub(crate) fn iproute2(host: &Host, arguments: &str) -> String {
    let mut command = host.namespace().command("ip");
    command.args(arguments.split(' '));
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A process of this name, until it is dropped.
#[derive(Debug)]
pub(crate) struct Process(std::process::Child);

impl Process {
    pub(crate) fn start(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        fs::copy("/usr/bin/sleep", &path).unwrap();
        Self(Command::new(path).arg("1000").spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
