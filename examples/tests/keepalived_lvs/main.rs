//! Virtual servers of a keepalived.conf, in a kernel that has IPVS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use vrrp_lab::{BackgroundProgram, Kernel, Namespace, Suite, example, guest_tests, wait_for};

/// Longer than any test takes: a guest on a busy machine is slow.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let tests = guest_tests![
        servers_follow_their_checks_and_run_their_scripts,
        the_sorry_server_stands_in_while_the_quorum_is_lost,
        a_group_has_a_service_for_each_address_and_a_reload_changes_only_what_differs,
        lvs_timeouts_last_as_long_as_the_daemon_and_follow_a_reload,
        lvs_flush_removes_other_services_at_the_start_and_on_stop_those_that_came_later,
        lvs_flush_on_stop_vs_leaves_the_services_of_others,
        lvs_sync_daemon_runs_in_both_roles_with_all_its_options,
        lvs_sync_daemon_has_the_role_of_its_instance,
        a_successor_goes_on_with_the_checks_and_the_table_does_not_change,
        a_successor_removes_the_virtual_servers_that_it_does_not_have,
        ha_suspend_checks_only_while_the_address_is_here,
        file_check_adds_the_number_of_a_file_to_the_weight,
        lvs_notify_fifo_has_a_line_for_each_change_of_a_server_and_a_quorum,
        net_namespace_ipvs_has_the_table_while_checks_stay_in_the_namespace_of_the_daemon,
        pages_show_the_virtual_servers,
        smtp_alert_mails_servers_by_default_and_a_quorum_where_it_is_asked_for,
        e14_a_server_that_refuses_leaves_after_one_retry_and_returns_with_its_first_success,
        e18_three_persistent_services_with_the_addresses_of_an_instance_and_a_sorry_server,
    ];
    let tests = tests.map(|test| test.within(LIMIT));
    let mut suite = Suite::new(&[Kernel::Uml6_1], &tests);
    suite.files.push(example("keepalived").unwrap());
    suite.run()
}

/// A program with a configuration, and the folder for both.
struct Rig {
    namespace: Namespace,
    folder: TempDir,
    program: Option<BackgroundProgram>,
}

impl Rig {
    /// Starts the program. In the configuration `DIR` stands for the folder, and the script `note`
    /// in it records its arguments.
    fn start(config: &str) -> Self {
        let mut rig = Self::new(config);
        rig.run(&["-C"]);
        rig
    }

    /// A namespace and a configuration, before the program starts.
    fn new(config: &str) -> Self {
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
        let rig = Self {
            namespace,
            folder,
            program: None,
        };
        rig.write(config);
        rig
    }

    /// Starts the program.
    fn run(&mut self, options: &[&str]) {
        self.program = Some(self.start_program(options));
    }

    fn start_program(&self, options: &[&str]) -> BackgroundProgram {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (conf, pid, vrrp, socket) = (path("conf"), path("pid"), path("vrrp"), path("socket"));
        let arguments = [
            "-n",
            "-G",
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
        let arguments = [&arguments[..], options].concat();
        BackgroundProgram::start(&self.namespace, "keepalived", &arguments)
    }

    /// Runs a command in the namespace, and returns its output.
    fn output(&self, line: &str) -> String {
        let mut words = line.split(' ');
        let mut command = self.namespace.command(words.next().unwrap());
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until a command prints a text.
    fn wait_for_output(&self, line: &str, expected: &str) {
        let is_expected = || (self.output(line) == expected).then_some(());
        wait_for(&format!("{line}: {expected:?}"), LIMIT / 3, is_expected)
            .unwrap_or_else(|error| panic!("{error}; it is {:?}", self.output(line)));
    }

    /// Starts a successor of the running program, which then has to end.
    fn replace(&mut self) {
        self.replace_with(&["-C"]);
    }

    fn replace_with(&mut self, options: &[&str]) {
        let mut before = self.program.take().unwrap();
        self.run(&[options, &["--replace"]].concat());
        assert_eq!(before.wait().code(), Some(0));
    }

    fn reload(&self, config: &str) {
        self.write(config);
        if let Some(program) = &self.program {
            program.signal(Signal::SIGHUP);
        }
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

    fn end(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.signal(Signal::SIGTERM);
            assert_eq!(program.wait().code(), Some(0));
        }
    }

    fn stop(mut self) {
        self.end();
        assert_eq!(self.table(), "");
    }
}

const TWO: &str = "-A -t 192.0.2.1:80 -s rr\n\
    -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n\
    -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1\n";

fn servers_follow_their_checks_and_run_their_scripts() {
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
    // Without alpha, both are in the table at first; the second refuses connections and is removed.
    rig.wait_for_table("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n");
    rig.wait_for_note("down 2");
    let _second = rig.serve("10.0.0.2:80");
    rig.wait_for_table(TWO);
    rig.wait_for_note("up 2");
    rig.stop();
}

fn net_namespace_ipvs_has_the_table_while_checks_stay_in_the_namespace_of_the_daemon() {
    let real = |server: u8| {
        format!("    real_server 10.0.0.{server} 80 {{\n        TCP_CHECK {{\n retry 0\n }}\n }}\n")
    };
    let config = format!(
        "net_namespace_ipvs tables
global_defs {{
    lvs_timeouts udp 77
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
    let mut rig = Rig::new(&config);
    rig.output("ip netns add tables");
    // The kernel takes no server before the namespace has an address.
    rig.output("ip -n tables link set lo up");
    let in_tables = "nsenter --net=/run/netns/tables /usr/sbin/ipvsadm";
    let table = format!("{in_tables} -Sn");
    let timeouts = format!("{in_tables} -l --timeout");
    rig.output(&format!("{in_tables} --set 800 110 210"));
    // The namespace of the table has no way to the servers.
    let _first = rig.serve("10.0.0.1:80");
    rig.run(&["-C"]);
    let one = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";
    rig.wait_for_output(&table, one);
    let _second = rig.serve("10.0.0.2:80");
    rig.wait_for_output(&table, TWO);
    rig.wait_for_output(&timeouts, "Timeout (tcp tcpfin udp): 800 110 77\n");
    assert_eq!(rig.table(), "");
    rig.end();
    assert_eq!(rig.output(&table), "");
    rig.wait_for_output(&timeouts, "Timeout (tcp tcpfin udp): 800 110 210\n");
    rig.output("ip netns delete tables");
}

fn pages_show_the_virtual_servers() {
    let config = "virtual_server 192.0.2.1 80 {
    delay_loop 0.5
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.1 80 {
        TCP_CHECK {
            connect_timeout 1
        }
    }
}
";
    let mut rig = Rig::new(config);
    let _server = rig.serve("10.0.0.1:80");
    let options = ["-C", "--page", "127.0.0.1:8404"];
    rig.run(&options);
    let namespace = rig.namespace.clone();
    let get = |path: &str| {
        let mut stream = namespace
            .run(|| TcpStream::connect("127.0.0.1:8404"))
            .ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let up = "balancer_server_up{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 1";
    let is_up = || get("/metrics").filter(|answer| answer.contains(up));
    wait_for(up, LIMIT / 3, is_up).unwrap();
    let page = get("/").unwrap();
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(page.contains("<h2>tcp 192.0.2.1:80</h2>"), "{page}");
    let json = get("/status.json").unwrap();
    assert!(json.contains("\"server\": \"10.0.0.1:80\""), "{json}");
    // A successor has them, too.
    for _ in 0..3 {
        rig.replace_with(&options);
        wait_for(up, LIMIT / 3, is_up).unwrap();
    }
    rig.end();
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
    rig.reload(&config(9));
    rig.wait_for_table(&table(9));
    rig.stop();
}

/// A service with one server and no checks.
const ONE: &str = "virtual_server 192.0.2.1 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.1 80 {
        weight 1
    }
}
";

const ONE_IN: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";

const OTHER: &str = "-A -t 192.0.2.9:99 -s wlc\n";

fn lvs_timeouts_last_as_long_as_the_daemon_and_follow_a_reload() {
    let ask = "/usr/sbin/ipvsadm -l --timeout";
    let config = |timeouts: &str| format!("global_defs {{\n{timeouts}\n}}\n{ONE}");
    let mut rig = Rig::new(&config("    lvs_timeouts tcp 700 udp 50"));
    rig.output("/usr/sbin/ipvsadm --set 800 110 210");
    rig.run(&["-C"]);
    rig.wait_for_output(ask, "Timeout (tcp tcpfin udp): 700 110 50\n");
    rig.reload(&config("    lvs_timeouts tcpfin 33"));
    rig.wait_for_output(ask, "Timeout (tcp tcpfin udp): 800 33 210\n");
    rig.reload(&config(""));
    rig.wait_for_output(ask, "Timeout (tcp tcpfin udp): 800 110 210\n");
    rig.reload(&config("    lvs_timeouts udp 77"));
    rig.wait_for_output(ask, "Timeout (tcp tcpfin udp): 800 110 77\n");
    rig.end();
    let after = rig.output(ask);
    assert_eq!(after, "Timeout (tcp tcpfin udp): 800 110 210\n");
}

fn lvs_flush_removes_other_services_at_the_start_and_on_stop_those_that_came_later() {
    let config = format!("global_defs {{\n    lvs_flush\n    lvs_flush_on_stop\n}}\n{ONE}");
    let mut rig = Rig::new(&config);
    rig.output("/usr/sbin/ipvsadm -A -t 192.0.2.9:99");
    rig.output("/usr/sbin/ipvsadm -A -t 192.0.2.1:80 -s wrr");
    rig.output("/usr/sbin/ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.7:80 -m");
    rig.run(&["-C"]);
    rig.wait_for_table(ONE_IN);
    // Only the start of the daemon flushes.
    rig.output("/usr/sbin/ipvsadm -A -t 192.0.2.9:99");
    rig.reload(&config.replace("weight 1", "weight 2"));
    rig.wait_for_table(&format!("{}{OTHER}", ONE_IN.replace("-w 1", "-w 2")));
    rig.stop();
}

fn lvs_flush_on_stop_vs_leaves_the_services_of_others() {
    let config = format!("global_defs {{\n    lvs_flush_on_stop VS\n}}\n{ONE}");
    let mut rig = Rig::new(&config);
    rig.output("/usr/sbin/ipvsadm -A -t 192.0.2.9:99");
    rig.run(&["-C"]);
    rig.wait_for_table(&format!("{ONE_IN}{OTHER}"));
    rig.end();
    assert_eq!(rig.table(), OTHER);
}

const DAEMONS: &str = "/usr/sbin/ipvsadm -l --daemon";

fn lvs_sync_daemon_runs_in_both_roles_with_all_its_options() {
    let config = |daemon: &str| format!("global_defs {{\n{daemon}\n}}\n{ONE}");
    let mut rig = Rig::new(&config(
        "    lvs_sync_daemon lo id 7 maxlen 1100 port 8900 ttl 9 group 224.0.0.90",
    ));
    rig.output("ip link set lo multicast on");
    rig.run(&["-C"]);
    let sync = |id: u8, more: &str| {
        ["master", "backup"]
            .map(|role| format!("{role} sync daemon (mcast=lo, syncid={id}{more})\n"))
            .concat()
    };
    rig.wait_for_output(
        DAEMONS,
        &sync(7, ", maxlen=1100, group=224.0.0.90, port=8900, ttl=9"),
    );
    rig.reload(&config("    lvs_sync_daemon lo id 8 maxlen 1100"));
    rig.wait_for_output(
        DAEMONS,
        &sync(8, ", maxlen=1100, group=224.0.0.81, port=8848, ttl=1"),
    );
    rig.reload(&config(""));
    rig.wait_for_output(DAEMONS, "");
    rig.reload(&config("    lvs_sync_daemon lo"));
    let is_there = || (rig.output(DAEMONS).lines().count() == 2).then_some(());
    wait_for("both daemons", LIMIT / 3, is_there).unwrap();
    rig.end();
    assert_eq!(rig.output(DAEMONS), "");
}

fn lvs_sync_daemon_has_the_role_of_its_instance() {
    let config = |daemon: &str| {
        format!(
            "global_defs {{
    {daemon}
}}
vrrp_instance V {{
    interface v0
    virtual_router_id 51
    advert_int 0.2
    version 3
    virtual_ipaddress {{
        192.0.2.77/32
    }}
}}
"
        )
    };
    let mut rig = Rig::new(&config("lvs_sync_daemon v0 V maxlen 1100"));
    for line in [
        "ip link add v0 type veth peer name v1",
        "ip address add 192.0.2.70/24 dev v0",
        "ip link set v1 up",
        "ip link set v0 up",
    ] {
        rig.output(line);
    }
    // The older keyword is an error, which keepalived obeys.
    rig.run(&["--lenient-reload"]);
    let runs = |role: &str| {
        let start = format!("{role} sync daemon (mcast=v0, syncid=51, maxlen=1100,");
        let is_there = || {
            let text = rig.output(DAEMONS);
            (text.starts_with(&start) && text.lines().count() == 1).then_some(())
        };
        wait_for(&start, LIMIT / 3, is_there)
            .unwrap_or_else(|error| panic!("{error}; it is {:?}", rig.output(DAEMONS)));
    };
    runs("master");
    rig.output("ip link set v1 down");
    runs("backup");
    rig.output("ip link set v1 up");
    runs("master");
    // The keyword of the instance, which is older, means the same.
    let older = config("").replace(
        "    interface v0\n",
        "    interface v0\n    lvs_sync_daemon_interface v0\n",
    );
    rig.reload(&config(""));
    rig.wait_for_output(DAEMONS, "");
    rig.reload(&older);
    let is_there = || {
        let text = rig.output(DAEMONS);
        let is_there = text.starts_with("master sync daemon (mcast=v0, syncid=51,");
        is_there.then_some(())
    };
    wait_for("the daemon of the instance", LIMIT / 3, is_there).unwrap();
    rig.reload(&config("lvs_sync_daemon v0 inst V id 3"));
    let is_other = || rig.output(DAEMONS).contains("syncid=3").then_some(());
    wait_for("the other id", LIMIT / 3, is_other).unwrap();
    rig.end();
    assert_eq!(rig.output(DAEMONS), "");
}

/// A server that accepts connections, and the times at which it did.
struct Checked(Arc<Mutex<Vec<Instant>>>);

impl Checked {
    fn new(listener: TcpListener) -> Self {
        let times = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&times);
        thread::spawn(move || {
            for _ in listener.incoming() {
                shared.lock().unwrap().push(Instant::now());
            }
        });
        Self(times)
    }

    fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().clone()
    }

    fn wait_for(&self, count: usize) {
        let is_there = || (self.times().len() >= count).then_some(());
        wait_for("checks", LIMIT / 3, is_there)
            .unwrap_or_else(|error| panic!("{error}; there were {:?}", self.times()));
    }
}

fn a_successor_goes_on_with_the_checks_and_the_table_does_not_change() {
    const INTERVAL: Duration = Duration::from_secs(2);
    let ask = "/usr/sbin/ipvsadm -l --timeout";
    // Without the checks of its predecessor, a daemon would spread its first checks over half a
    // minute.
    let server = |number: u8| {
        format!(
            "    real_server 10.0.0.{number} 80 {{
        notify_down \"DIR/note down {number}\"
        notify_up \"DIR/note up {number}\"
        TCP_CHECK {{
            connect_timeout 1
            warmup WARMUP
        }}
    }}
"
        )
    };
    let config = format!(
        "global_defs {{
    lvs_timeouts tcp 700 udp 50
    script_user root
}}
virtual_server 192.0.2.1 80 {{
    delay_loop 2
    lb_algo rr
    lb_kind NAT
    protocol TCP
{}{}}}
",
        server(1),
        server(2)
    );
    let mut rig = Rig::new(&config.replace("WARMUP", "0"));
    rig.output("/usr/sbin/ipvsadm --set 800 110 210");
    let checked = Checked::new(rig.serve("10.0.0.1:80"));
    rig.run(&["-C"]);
    rig.wait_for_table("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n");
    rig.wait_for_note("down 2");
    checked.wait_for(2);
    rig.wait_for_output(ask, "Timeout (tcp tcpfin udp): 700 110 50\n");

    rig.write(&config.replace("WARMUP", "30"));
    let table = rig.table();
    let is_over = AtomicBool::new(false);
    let mut program = rig.program.take().unwrap();
    let tables = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut tables = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let mut command = rig.namespace.command("/usr/sbin/ipvsadm");
                tables.push(command.arg("-Sn").output().unwrap().stdout);
            }
            tables
        });
        // Two successors, each with the checks of its predecessor.
        for _ in 0..2 {
            let after = rig.start_program(&["-C", "--replace"]);
            assert_eq!(program.wait().code(), Some(0));
            program = after;
            checked.wait_for(checked.times().len() + 2);
        }
        is_over.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    rig.program = Some(program);
    assert!(tables.len() > 10, "{}", tables.len());
    let other = tables.iter().find(|it| it[..] != *table.as_bytes());
    assert_eq!(other.map(|it| String::from_utf8_lossy(it)), None);
    let times = checked.times();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest < Some(INTERVAL * 2), "{longest:?} {times:?}");
    let notes = fs::read_to_string(rig.path().join("notes")).unwrap();
    assert_eq!(notes, "down 2\n");

    // A later success still counts.
    let _second = rig.serve("10.0.0.2:80");
    rig.wait_for_table(TWO);
    rig.wait_for_note("up 2");
    assert_eq!(rig.output(ask), "Timeout (tcp tcpfin udp): 700 110 50\n");
    rig.end();
    assert_eq!(rig.output(ask), "Timeout (tcp tcpfin udp): 800 110 210\n");
    assert_eq!(rig.table(), "");
}

fn a_successor_removes_the_virtual_servers_that_it_does_not_have() {
    let other = ONE.replace("192.0.2.1", "192.0.2.2");
    let other_in = ONE_IN.replace("192.0.2.1", "192.0.2.2");
    let foreign = OTHER.replace("192.0.2.9", "192.0.2.3");
    let mut rig = Rig::new(&format!("{ONE}{other}"));
    rig.output("/usr/sbin/ipvsadm -A -t 192.0.2.3:99");
    rig.run(&["-C"]);
    rig.wait_for_table(&format!("{ONE_IN}{other_in}{foreign}"));
    rig.write(&other);
    rig.replace();
    rig.wait_for_table(&format!("{other_in}{foreign}"));
    rig.write("global_defs {\n}\n");
    rig.replace();
    rig.wait_for_table(&foreign);
    // A daemon without virtual servers gets some by a reload, and hands them over too.
    rig.replace();
    rig.reload(&other);
    rig.wait_for_table(&format!("{other_in}{foreign}"));
    rig.replace();
    rig.end();
    assert_eq!(rig.table(), foreign);
}

fn ha_suspend_checks_only_while_the_address_is_here() {
    let config = ["192.0.2.50", "192.0.2.1"].map(|address| {
        format!(
            "virtual_server {address} 80 {{
    delay_loop 0.2
    warmup 0
    lb_algo rr
    lb_kind NAT
    protocol TCP
    ha_suspend
    real_server 10.0.0.1 80 {{
        TCP_CHECK {{
            retry 0
        }}
    }}
}}
"
        )
    });
    let service = "-A -t 192.0.2.50:80 -s rr\n";
    let server = "-a -t 192.0.2.50:80 -r 10.0.0.1:80 -m -w 1\n";
    let here = "-A -t 192.0.2.1:80 -s rr\n";
    let rig = Rig::start(&config.concat());
    // The server refuses connections. The address of the second service is on this host, so the
    // server was checked; the address of the first is not.
    rig.wait_for_table(&format!("{here}{service}{server}"));
    rig.output("ip address add 192.0.2.50/32 dev lo");
    rig.wait_for_table(&format!("{here}{service}"));
    // While the address is missing, a server that has recovered stays out.
    rig.output("ip address del 192.0.2.50/32 dev lo");
    rig.output("ip address del 192.0.2.1/32 dev lo");
    let _server = rig.serve("10.0.0.1:80");
    rig.output("ip address add 192.0.2.1/32 dev lo");
    let back = "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";
    rig.wait_for_table(&format!("{here}{back}{service}"));
    rig.output("ip address add 192.0.2.50/32 dev lo");
    rig.wait_for_table(&format!("{here}{back}{service}{server}"));
    rig.stop();
}

fn file_check_adds_the_number_of_a_file_to_the_weight() {
    let config = "track_file F {
    file DIR/number
    init_file 3
}
virtual_server 192.0.2.1 80 {
    lb_algo wrr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.1 80 {
        weight 10
        FILE_CHECK {
            track_file F
            weight 2
        }
    }
    real_server 10.0.0.2 80 {
        weight 20
        FILE_CHECK {
            track_file F
        }
    }
}
";
    let rig = Rig::start(config);
    let table = |weights: [Option<u32>; 2]| {
        let mut text = String::from("-A -t 192.0.2.1:80 -s wrr\n");
        let servers = (1..).zip(weights).filter_map(|(server, weight)| {
            let weight = weight?;
            Some(format!(
                "-a -t 192.0.2.1:80 -r 10.0.0.{server}:80 -m -w {weight}\n"
            ))
        });
        text.extend(servers);
        text
    };
    let number = |text: &str| fs::write(rig.path().join("number"), text).unwrap();
    rig.wait_for_table(&table([Some(16), Some(23)]));
    number("-7\n");
    rig.wait_for_table(&table([Some(0), Some(13)]));
    number("-2000000000");
    rig.wait_for_table(&table([None, Some(0)]));
    number("5");
    rig.wait_for_table(&table([Some(20), Some(25)]));
    fs::remove_file(rig.path().join("number")).unwrap();
    rig.reload(&config.replace("weight 10", "weight 11"));
    rig.wait_for_table(&table([Some(21), Some(25)]));
    rig.stop();
}

fn lvs_notify_fifo_has_a_line_for_each_change_of_a_server_and_a_quorum() {
    let config = "global_defs {
    notify_fifo DIR/all
    lvs_notify_fifo DIR/lvs
    lvs_notify_fifo_script \"DIR/copy DIR/lines\"
    script_user root
}
virtual_server 192.0.2.1 80 {
    delay_loop 0.2
    warmup 0
    lb_algo rr
    lb_kind NAT
    protocol TCP
    quorum 2
    real_server 10.0.0.1 80 {
        TCP_CHECK {
            retry 0
        }
    }
    real_server 10.0.0.2 80 {
    }
}
";
    let mut rig = Rig::new(config);
    let script = rig.path().join("copy");
    fs::write(&script, "#!/bin/sh\nexec cat \"$2\" > \"$1\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    rig.run(&["-C"]);
    let lines = |end: &str| {
        let text = || fs::read_to_string(rig.path().join("lines")).unwrap_or_default();
        let is_there = || text().ends_with(end).then_some(());
        wait_for(end, LIMIT / 3, is_there)
            .unwrap_or_else(|error| panic!("{error}; there is {:?}", text()));
    };
    let down = "RS [10.0.0.1]:tcp:80 [192.0.2.1]:tcp:80 DOWN\nVS [192.0.2.1]:tcp:80 DOWN\n";
    lines(down);
    let _server = rig.serve("10.0.0.1:80");
    let up = "RS [10.0.0.1]:tcp:80 [192.0.2.1]:tcp:80 UP\nVS [192.0.2.1]:tcp:80 UP\n";
    lines(&format!("{down}{up}"));
    // A server that is removed while it is up goes down.
    let one = config.replace("    real_server 10.0.0.2 80 {\n    }\n", "");
    rig.reload(&one.replace("quorum 2", "quorum 1"));
    lines("RS [10.0.0.2]:tcp:80 [192.0.2.1]:tcp:80 DOWN\n");
    let path = rig.path().join("all");
    assert!(path.exists());
    rig.end();
    assert!(!path.exists());
}

fn smtp_alert_mails_servers_by_default_and_a_quorum_where_it_is_asked_for() {
    let config = "global_defs {
    notification_email {
        admin@example.org
    }
    smtp_server 127.0.0.1 2525
    router_id R1
}
virtual_server 192.0.2.1 80 {
    delay_loop 0.2
    warmup 0
    lb_algo rr
    lb_kind NAT
    protocol TCP
    smtp_alert
    real_server 10.0.0.1 80 {
        TCP_CHECK {
            retry 0
        }
    }
}
virtual_server 192.0.2.2 80 {
    delay_loop 0.2
    warmup 0
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.2 80 {
        smtp_alert no
        TCP_CHECK {
            retry 0
        }
    }
}
";
    let mut rig = Rig::new(config);
    let script = rig.path().join("server.py");
    fs::write(&script, include_str!("../keepalived_mails/server.py")).unwrap();
    let mails = rig.path().join("mails");
    let mut command = rig.namespace.command("/usr/bin/python3");
    command.arg(script).args(["127.0.0.1", "2525"]).arg(&mails);
    let _mail_server = BackgroundProgram::spawn(command);
    let listens = || mails.exists().then_some(());
    wait_for("the mail server", LIMIT / 3, listens).unwrap();
    rig.run(&["-C"]);
    let subjects = || -> Vec<String> {
        let text = fs::read_to_string(&mails).unwrap();
        let lines = text.split_inclusive('\n').filter(|it| it.ends_with('\n'));
        let subjects = lines.map(|line| {
            let mail: serde_json::Value = serde_json::from_str(line).unwrap();
            // A folded line contains a line break.
            mail["subject"]
                .as_str()
                .unwrap()
                .replace("\r\n", "")
                .replace('\n', "")
        });
        subjects.collect()
    };
    let wait_for_subjects = |expected: &[&str]| {
        let is_there = || (subjects() == expected).then_some(());
        wait_for(&format!("{expected:?}"), LIMIT / 3, is_there)
            .unwrap_or_else(|error| panic!("{error}; there is {:?}", subjects()));
    };
    let server = "[R1] Realserver [10.0.0.1]:tcp:80 of virtual server [192.0.2.1]:tcp:80 - ";
    let service = "[R1] Virtualserver [192.0.2.1]:tcp:80 - ";
    let (server_up, server_down) = (format!("{server}UP"), format!("{server}DOWN"));
    let (up, down) = (format!("{service}UP"), format!("{service}DOWN"));
    // The quorum is there at the start, and is lost with the first check.
    wait_for_subjects(&[&up, &server_down, &down]);
    let _servers = [rig.serve("10.0.0.1:80"), rig.serve("10.0.0.2:80")];
    wait_for_subjects(&[&up, &server_down, &down, &server_up, &up]);
    rig.end();
    // Without omega, the end of the daemon causes no mail about servers.
    assert_eq!(subjects().len(), 5);
}

fn e14_a_server_that_refuses_leaves_after_one_retry_and_returns_with_its_first_success() {
    let config = "virtual_server 192.0.2.1 80 {
    delay_loop 1
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.1 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            retry 1
            delay_before_retry 1
        }
    }
    real_server 10.0.0.2 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            retry 1
            delay_before_retry 1
        }
    }
}
";
    let mut rig = Rig::new(config);
    let _first = rig.serve("10.0.0.1:80");
    let second = rig.serve("10.0.0.2:80");
    rig.run(&["-C"]);
    rig.wait_for_table(TWO);
    // When the second server gets a connection, checks have run.
    second.accept().unwrap();
    drop(second);
    rig.wait_for_table("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n");
    let _second = rig.serve("10.0.0.2:80");
    rig.wait_for_table(TWO);
    rig.stop();
}

fn e18_three_persistent_services_with_the_addresses_of_an_instance_and_a_sorry_server() {
    let service = |address: &str, servers: &[&str], more: &str| {
        let servers = servers.iter().map(|server| {
            format!(
                "    real_server {server} {{\n        weight 1\n        TCP_CHECK {{\n            \
                 connect_timeout 3\n            retry 0\n        }}\n    }}\n"
            )
        });
        let servers: String = servers.collect();
        format!(
            "virtual_server {address} {{\n    delay_loop 0.3\n    warmup 0\n    lb_algo rr\n    \
             lb_kind NAT\n    persistence_timeout 50\n    protocol TCP\n{more}{servers}}}\n"
        )
    };
    let config = [
        "vrrp_instance V {
    interface v0
    virtual_router_id 51
    advert_int 0.2
    version 3
    virtual_ipaddress {
        192.0.2.16
        192.0.2.17
        192.0.2.18
    }
}
",
        &service("192.0.2.16 443", &["10.0.0.1 443"], ""),
        &service(
            "192.0.2.17 1358",
            &["10.0.0.1 1358", "10.0.0.2 1358"],
            "    sorry_server 10.0.0.9 1358\n",
        ),
        &service("192.0.2.18 1358", &["10.0.0.1 1359", "10.0.0.2 1359"], ""),
    ]
    .concat();
    let mut rig = Rig::new(&config);
    for line in [
        "ip link add v0 type veth peer name v1",
        "ip address add 192.0.2.70/24 dev v0",
        "ip link set v1 up",
        "ip link set v0 up",
    ] {
        rig.output(line);
    }
    let mut servers: Vec<TcpListener> = [
        "10.0.0.1:443",
        "10.0.0.1:1358",
        "10.0.0.2:1358",
        "10.0.0.1:1359",
        "10.0.0.2:1359",
    ]
    .map(|address| rig.serve(address))
    .into();
    rig.run(&[]);
    let table = |second: &[&str]| {
        let service = |address: &str, servers: &[&str]| {
            let lines = servers
                .iter()
                .map(|server| format!("-a -t 192.0.2.{address} -r {server} -m -w 1\n"));
            let lines = lines.collect::<Vec<_>>().concat();
            format!("-A -t 192.0.2.{address} -s rr -p 50\n{lines}")
        };
        [
            service("16:443", &["10.0.0.1:443"]),
            service("17:1358", second),
            service("18:1358", &["10.0.0.1:1359", "10.0.0.2:1359"]),
        ]
        .concat()
    };
    let both = ["10.0.0.1:1358", "10.0.0.2:1358"];
    rig.wait_for_table(&table(&both));
    let has_addresses = || {
        let text = rig.output("ip -4 -o address show dev v0");
        let has = |last: u8| text.contains(&format!(" 192.0.2.{last}/32 "));
        [16, 17, 18].into_iter().all(has).then_some(())
    };
    wait_for("the addresses", LIMIT / 3, has_addresses).unwrap();
    servers.drain(1..3);
    rig.wait_for_table(&table(&["10.0.0.9:1358"]));
    servers.extend(["10.0.0.1:1358", "10.0.0.2:1358"].map(|address| rig.serve(address)));
    rig.wait_for_table(&table(&both));
    rig.stop();
}
