//! Virtual servers of a keepalived.conf, in a kernel that has IPVS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path, process::ExitCode,
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use vrrp_lab::{Kernel, Namespace, Running, Suite, example, guest_tests, wait_for};

/// Long beside the tests, because a guest on a busy machine is slow.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let tests = guest_tests![
        servers_follow_their_checks_and_scripts_hear_of_it,
        the_sorry_server_stands_in_while_the_quorum_is_lost,
        a_group_has_a_service_for_each_address_and_a_reload_changes_only_what_differs,
    ];
    let tests = tests.map(|test| test.within(LIMIT));
    let mut suite = Suite::new(&[Kernel::Uml6_1], &tests);
    suite.files.push(example("keepalived").unwrap());
    suite.run()
}

/// A program with a configuration, and the folder of both.
struct Rig {
    namespace: Namespace,
    folder: TempDir,
    program: Option<Running>,
}

impl Rig {
    /// Starts the program; `DIR` stands for the folder, and `note` in it writes its arguments down.
    fn start(config: &str) -> Self {
        let namespace = Namespace::new().unwrap();
        for line in [
            "link set lo up",
            "address add 192.0.2.1/32 dev lo",
            "address add 192.0.2.2/32 dev lo",
            "address add 10.0.0.1/32 dev lo",
            "address add 10.0.0.2/32 dev lo",
            "address add 10.0.0.9/32 dev lo",
        ] {
            let mut command = namespace.command("ip");
            assert!(command.args(line.split(' ')).status().unwrap().success());
        }
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("note");
        fs::write(
            &script,
            "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/notes\"\n",
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut rig = Self {
            namespace,
            folder,
            program: None,
        };
        rig.write(config);
        let path = |name: &str| rig.folder.path().join(name).display().to_string();
        let (conf, pid, vrrp, socket) = (path("conf"), path("pid"), path("vrrp"), path("socket"));
        let arguments = [
            "-n",
            "-G",
            "-C",
            "-f",
            &conf,
            "-p",
            &pid,
            "-r",
            &vrrp,
            "--replace-socket",
            &socket,
            "-l",
            "-D",
        ];
        rig.program = Some(Running::start(&rig.namespace, "keepalived", &arguments));
        rig
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, config: &str) {
        let text = config.replace("DIR", &self.path().display().to_string());
        fs::write(self.path().join("conf"), text).unwrap();
    }

    fn serve(&self, address: &str) -> TcpListener {
        self.namespace.run(|| TcpListener::bind(address).unwrap())
    }

    /// The table as `ipvsadm -Sn` prints it.
    fn table(&self) -> String {
        let mut command = self.namespace.command("/usr/sbin/ipvsadm");
        let output = command.arg("-Sn").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn wait_for_table(&self, expected: &str) {
        let is_expected = || (self.table() == expected).then_some(());
        wait_for(&format!("the table {expected:?}"), LIMIT / 3, is_expected)
            .unwrap_or_else(|error| panic!("{error}; it is {:?}", self.table()));
    }

    fn wait_for_note(&self, note: &str) {
        let notes = || fs::read_to_string(self.path().join("notes")).unwrap_or_default();
        let is_there = || notes().lines().any(|it| it == note).then_some(());
        wait_for(note, LIMIT / 3, is_there)
            .unwrap_or_else(|error| panic!("{error}; there is {:?}", notes()));
    }

    fn stop(mut self) {
        if let Some(mut program) = self.program.take() {
            program.signal(Signal::SIGTERM);
            assert_eq!(program.wait().code(), Some(0));
        }
        assert_eq!(self.table(), "");
    }
}

const TWO: &str = "-A -t 192.0.2.1:80 -s rr\n\
    -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n\
    -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1\n";

fn servers_follow_their_checks_and_scripts_hear_of_it() {
    let real = |server: u8| {
        format!(
            "    real_server 10.0.0.{server} 80 {{
        weight 1
        notify_up \"DIR/note up {server}\"
        notify_down \"DIR/note down {server}\"
        TCP_CHECK {{
            connect_timeout 1
            retry 1
            delay_before_retry 0.2
        }}
    }}
"
        )
    };
    let config = format!(
        "global_defs {{
    script_user root
}}
virtual_server 192.0.2.1 80 {{
    delay_loop 0.5
    warmup 0
    lb_algo rr
    lb_kind NAT
    protocol TCP
{}{}}}
",
        real(1),
        real(2)
    );
    let rig = Rig::start(&config);
    let _first = rig.serve("10.0.0.1:80");
    // Without alpha both are in at first; one refuses connections and goes.
    rig.wait_for_table("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n");
    rig.wait_for_note("down 2");
    let _second = rig.serve("10.0.0.2:80");
    rig.wait_for_table(TWO);
    rig.wait_for_note("up 2");
    rig.stop();
}

fn the_sorry_server_stands_in_while_the_quorum_is_lost() {
    let config = "global_defs {
    script_user root
}
virtual_server 192.0.2.1 80 {
    delay_loop 0.5
    warmup 0
    lb_algo rr
    lb_kind NAT
    protocol TCP
    alpha
    quorum_up \"DIR/note quorum\"
    quorum_down \"DIR/note no quorum\"
    sorry_server 10.0.0.9 80
    real_server 10.0.0.1 80 {
        TCP_CHECK {
            retry 0
            delay_before_retry 0.2
        }
    }
}
";
    let rig = Rig::start(config);
    rig.wait_for_table("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.9:80 -m -w 1\n");
    let server = rig.serve("10.0.0.1:80");
    rig.wait_for_note("quorum");
    rig.wait_for_table("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n");
    drop(server);
    rig.wait_for_note("no quorum");
    rig.wait_for_table("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.9:80 -m -w 1\n");
    rig.stop();
}

fn a_group_has_a_service_for_each_address_and_a_reload_changes_only_what_differs() {
    let config = |weight: u8| {
        format!(
            "virtual_server_group G {{
    192.0.2.1-2 53
}}
virtual_server group G {{
    lb_algo wrr
    lb_kind DR
    protocol UDP
    persistence_timeout 60
    real_server 10.0.0.1 53 {{
        weight {weight}
    }}
}}
"
        )
    };
    let table = |weight: u8| {
        let services = [1, 2].map(|it| {
            format!(
                "-A -u 192.0.2.{it}:53 -s wrr -p 60\n-a -u 192.0.2.{it}:53 -r 10.0.0.1:53 -g -w {weight}\n"
            )
        });
        services.concat()
    };
    let rig = Rig::start(&config(5));
    rig.wait_for_table(&table(5));
    rig.write(&config(9));
    if let Some(program) = &rig.program {
        program.signal(Signal::SIGHUP);
    }
    rig.wait_for_table(&table(9));
    rig.stop();
}
