//! `use_ipvlan` of a keepalived.conf, in a kernel that has ipvlan, together with keepalived.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{fs, process::ExitCode, time::Duration};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use vrrp_lab::{BackgroundProgram, Host, Kernel, Lan, Suite, example, guest_tests, wait_for};

/// Longer than any test takes: a guest on a busy machine is slow.
const LIMIT: Duration = Duration::from_secs(120);

const VIP: &str = "192.0.2.100/24";

fn main() -> ExitCode {
    let tests = guest_tests![
        both_programs_advertise_from_their_ipvlans_and_elect_one_active,
        an_ipvlan_that_goes_with_its_parent_or_by_hand_is_made_again,
    ];
    let tests = tests.map(|test| test.within(LIMIT));
    let mut suite = Suite::new(&[Kernel::Uml6_1], &tests);
    suite.files.push(example("keepalived").unwrap());
    suite.files.push("/usr/sbin/keepalived".into());
    suite.run()
}

/// A host and its program.
struct Node {
    host: Host,
    folder: TempDir,
    program: Option<BackgroundProgram>,
    is_keepalived: bool,
}

impl Node {
    /// A host that runs an instance on an ipvlan with this address.
    fn new(lan: &Lan, place: u8, priority: u8, is_keepalived: bool) -> Self {
        let host = lan
            .host(&format!("n{place}"), &[&format!("192.0.2.{place}/24")])
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "vrrp_instance V {{
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.5
    priority {priority}
    use_ipvlan iv 192.0.2.1{place}/24 bridge
    virtual_ipaddress {{
        {VIP}
    }}
}}
"
        );
        fs::write(folder.path().join("conf"), config).unwrap();
        Self {
            host,
            folder,
            program: None,
            is_keepalived,
        }
    }

    fn start(&mut self) {
        let program = if self.is_keepalived {
            "/usr/sbin/keepalived".into()
        } else {
            example("keepalived").unwrap()
        };
        let path = |name: &str| self.folder.path().join(name);
        let mut command = self.host.namespace().command(program);
        command
            .args(["-n", "-l", "-D", "-P", "-G"])
            .arg("-f")
            .arg(path("conf"))
            .arg("-p")
            .arg(path("pid"))
            .arg("-r")
            .arg(path("vrrp"));
        if !self.is_keepalived {
            command.arg("--replace-socket").arg(path("socket"));
        }
        self.program = Some(BackgroundProgram::spawn(command));
    }

    fn stop(&mut self) {
        let mut program = self.program.take().unwrap();
        program.signal(Signal::SIGTERM);
        program.wait();
    }

    /// Runs ip(8), and returns its output.
    fn ip(&self, line: &str) -> String {
        let mut command = self.host.namespace().command("ip");
        let output = command.args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether the parent of the ipvlan has the virtual address.
    fn has_address(&self) -> bool {
        let text = self.ip("-o address");
        let mut lines = text.lines();
        lines.any(|line| line.contains(" eth0 ") && line.contains(VIP))
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    wait_for(what, LIMIT / 3, || holds().then_some(())).unwrap();
}

fn both_programs_advertise_from_their_ipvlans_and_elect_one_active() {
    let lan = Lan::new().unwrap();
    let mut ours = Node::new(&lan, 1, 150, false);
    let mut theirs = Node::new(&lan, 2, 100, true);
    let before = ours.ip("-o link");
    ours.start();
    wait_until("the address here", || ours.has_address());
    let link = ours.ip("-d link show iv");
    assert!(link.contains("ipvlan  mode l2 bridge"), "{link}");
    let capture = lan.capture().unwrap();
    theirs.start();
    wait_until("an ipvlan of keepalived", || {
        theirs.ip("-o link").contains(" iv@")
    });
    // It advertises from the address of the ipvlan.
    let source = [192, 0, 2, 11];
    let is_advertisement = |bytes: &[u8]| {
        let ip = bytes.get(14..).unwrap_or_default();
        ip.get(9) == Some(&112) && ip.get(12..16) == Some(&source)
    };
    wait_until("ten advertisements", || {
        let frames = capture.frames();
        frames
            .iter()
            .filter(|it| is_advertisement(&it.bytes))
            .count()
            >= 10
    });
    assert!(ours.has_address() && !theirs.has_address());
    ours.stop();
    wait_until("the address there", || theirs.has_address());
    assert_eq!(ours.ip("-o link"), before);
    ours.start();
    wait_until("the address here again", || {
        ours.has_address() && !theirs.has_address()
    });
    ours.stop();
    theirs.stop();
}

fn an_ipvlan_that_goes_with_its_parent_or_by_hand_is_made_again() {
    let lan = Lan::new().unwrap();
    let mut ours = Node::new(&lan, 1, 150, false);
    ours.start();
    wait_until("the address", || ours.has_address());
    ours.ip("link delete iv");
    wait_until("the address after the ipvlan", || ours.has_address());
    ours.ip("link delete eth0");
    lan.attach(&ours.host, "eth0", &["192.0.2.1/24"]).unwrap();
    wait_until("the address after the parent", || ours.has_address());
    ours.stop();
    assert!(!ours.ip("-o link").contains(" iv@"));
}
