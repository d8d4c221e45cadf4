//! The program `ipvs_controller` in real kernels. Each test starts with an empty table in a network
//! namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Client, ServiceKey,
    rules::{self, Form},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use vrrp_lab::{Kernel, Suite, example, guest_tests, wait_for};

fn main() -> ExitCode {
    let tests = guest_tests![
        objects_of_a_folder_become_services_and_addresses,
        a_changed_file_changes_that_service_alone,
        addresses_follow_changes_without_a_full_synchronization,
        an_interface_that_another_program_deleted_is_made_again,
        an_address_that_the_kernel_refuses_holds_up_no_other,
        a_refused_change_holds_up_no_service_that_left,
        a_file_with_a_fault_keeps_its_objects_and_is_shown,
        a_removed_endpoint_keeps_its_connections_until_its_deadline,
        a_flushed_table_is_repaired_within_the_sync_period,
        services_of_others_are_left_alone,
        services_that_vanished_while_the_program_was_away_are_removed,
        services_that_kube_proxy_left_on_the_interface_are_removed,
        a_service_in_an_excluded_network_is_not_removed,
        objects_of_a_stream_become_services_and_deletions_are_followed,
        a_stream_that_ends_ends_the_program_and_leaves_the_services,
        a_stream_that_is_not_json_is_an_error,
        a_signal_ends_the_program_before_the_first_object,
        sysctls_and_timeouts_are_set,
        health_metrics_and_status_are_served,
        each_address_serves_its_own_pages,
        clean_up_removes_everything_that_belongs_to_the_program,
        the_wanted_table_is_printed_without_a_change,
    ]
    .map(|test| test.within(LIMIT * 3));
    let mut suite = Suite::new(Kernel::ALL, &tests);
    suite.files.push(example("ipvs_controller").unwrap());
    suite.run()
}

/// The longest wait on a busy machine with an emulated kernel.
const LIMIT: Duration = Duration::from_secs(90);

/// A folder for objects and the state file of a test.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("objects")).unwrap();
        Self { folder }
    }

    fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Replaces a file of objects in one step.
    fn put(&self, name: &str, text: &str) {
        let temporary = self.folder.path().join(name);
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.objects().join(name)).unwrap();
    }

    fn command(&self, source: &Path) -> Command {
        let mut command = Command::new(example("ipvs_controller").unwrap());
        command
            .arg(source)
            .args(["--hostname-override", "here"])
            .args(["--ipvs-min-sync-period", "1ms"])
            .args(["--healthz-bind-address", "", "--metrics-bind-address", ""])
            .arg("--state")
            .arg(self.state());
        command
    }

    fn start(&self, options: &[&str]) -> Program {
        Program::spawn(self.command(&self.objects()).args(options))
    }

    /// Synchronizes once.
    #[track_caller]
    fn once(&self, options: &[&str]) {
        let output = self
            .command(&self.objects())
            .arg("--once")
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// The program in the background. Killed on drop.
struct Program(Child);

impl Program {
    fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn feed(&mut self, text: &str) {
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn wait(&mut self) -> Option<i32> {
        wait_for("the end of the program", LIMIT, || {
            self.0.try_wait().unwrap()
        })
        .unwrap()
        .code()
    }

    fn terminate(mut self) {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(self.wait(), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The kernel's table as ipvsadm saves it.
fn table() -> String {
    let mut client = Client::open().unwrap();
    rules::print(&client.confirmed_table().unwrap().servers(), Form::Ipvsadm)
}

#[track_caller]
fn wait_for_table(expected: &str) {
    let found = wait_for("the table", LIMIT, || (table() == expected).then_some(()));
    assert!(found.is_ok(), "{}", table());
}

fn run(program: &str, line: &str) -> Output {
    let output = Command::new(program)
        .args(line.split_whitespace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {line}: {output:?}");
    output
}

/// The addresses on the interface of the program.
fn bound() -> Vec<String> {
    let output = Command::new("/usr/bin/ip")
        .args(["-o", "address", "show", "dev", "kube-ipvs0"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut addresses: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3))
        .filter(|address| !address.starts_with("fe80"))
        .map(str::to_owned)
        .collect();
    addresses.sort();
    addresses
}

#[track_caller]
fn wait_for_bound(expected: &[&str]) {
    let found = wait_for("the addresses", LIMIT, || {
        (bound() == expected).then_some(())
    });
    assert!(found.is_ok(), "{:?}", bound());
}

/// A Service `NAME` on 10.96.0.NUMBER with endpoints 10.1.0.N, in YAML.
fn service(name: &str, number: u8, endpoints: &[u8]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{clusterIP: 10.96.0.{number}, ports: [{{port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: [{{port: 8080}}]\nendpoints:\n"
    );
    for endpoint in endpoints {
        writeln!(text, "- {{addresses: [10.1.0.{endpoint}], nodeName: here}}").unwrap();
    }
    text
}

/// The table of such a service.
fn rules_of(number: u8, endpoints: &[u8]) -> String {
    let mut text = format!("-A -t 10.96.0.{number}:80 -s rr\n");
    for endpoint in endpoints {
        let key = format!("-t 10.96.0.{number}:80");
        writeln!(text, "-a {key} -r 10.1.0.{endpoint}:8080 -m -w 1").unwrap();
    }
    text
}

fn objects_of_a_folder_become_services_and_addresses() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1, 2]));
    files.put("notes.txt", "not an object");
    let program = files.start(&[]);
    wait_for_table(&rules_of(1, &[1, 2]));
    wait_for_bound(&["10.96.0.1/32"]);
    files.put(
        "two.json",
        r#"{"kind": "Service", "apiVersion": "v1", "metadata": {"name": "two"},
        "spec": {"clusterIP": "fd00::2", "ports": [{"port": 53, "protocol": "UDP"}]}}"#,
    );
    wait_for_table(&(rules_of(1, &[1, 2]) + "-A -u [fd00::2]:53 -s rr\n"));
    wait_for_bound(&["10.96.0.1/32", "fd00::2/128"]);
    fs::remove_file(files.objects().join("one.yaml")).unwrap();
    wait_for_table("-A -u [fd00::2]:53 -s rr\n");
    wait_for_bound(&["fd00::2/128"]);
    // The services outlive the program.
    program.terminate();
    assert_eq!(table(), "-A -u [fd00::2]:53 -s rr\n");
}

fn a_changed_file_changes_that_service_alone() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.put("two.yaml", &service("two", 2, &[2]));
    let _program = files.start(&["--ipvs-sync-period", "1h"]);
    wait_for_table(&(rules_of(1, &[1]) + &rules_of(2, &[2])));
    // Only a synchronization of the whole table would repair this service.
    let other: ServiceKey = "tcp 10.96.0.2:80".parse().unwrap();
    let mut client = Client::open().unwrap();
    client.delete_service(other).unwrap();
    files.put("one.yaml", &service("one", 1, &[1, 3]));
    wait_for_table(&rules_of(1, &[1, 3]));
}

fn addresses_follow_changes_without_a_full_synchronization() {
    /// More than the program puts into one datagram.
    const MANY: u8 = 150;
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    let _program = files.start(&["--ipvs-sync-period", "1h"]);
    wait_for_bound(&["10.96.0.1/32"]);
    // Two Services share an address until the last one is gone.
    let shared = service("two", 1, &[2]).replace("port: 80}", "port: 81}");
    files.put("two.yaml", &shared);
    wait_for_table(&(rules_of(1, &[1]) + &rules_of(1, &[2]).replace(":80 ", ":81 ")));
    fs::remove_file(files.objects().join("one.yaml")).unwrap();
    wait_for_table(&rules_of(1, &[2]).replace(":80 ", ":81 "));
    assert_eq!(bound(), ["10.96.0.1/32"]);
    let many: Vec<_> = (2..MANY)
        .map(|number| service(&format!("s{number}"), number, &[]))
        .collect();
    files.put("many.yaml", &many.join("---\n"));
    let mut expected: Vec<_> = (1..MANY).map(|it| format!("10.96.0.{it}/32")).collect();
    expected.sort();
    wait_for_bound(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    fs::remove_file(files.objects().join("many.yaml")).unwrap();
    wait_for_bound(&["10.96.0.1/32"]);
    fs::remove_file(files.objects().join("two.yaml")).unwrap();
    wait_for_bound(&[]);
}

fn an_interface_that_another_program_deleted_is_made_again() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    let _program = files.start(&["--ipvs-sync-period", "1h"]);
    wait_for_bound(&["10.96.0.1/32"]);
    run("/usr/bin/ip", "link delete kube-ipvs0");
    files.put("two.yaml", &service("two", 2, &[2]));
    wait_for_bound(&["10.96.0.1/32", "10.96.0.2/32"]);
}

/// Synchronizes once, and returns the errors.
#[track_caller]
fn once_with_errors(files: &Files) -> String {
    let mut command = files.command(&files.objects());
    let output = command.arg("--once").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn an_address_that_the_kernel_refuses_holds_up_no_other() {
    /// More than the program puts into one datagram.
    const MANY: u8 = 100;
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.once(&[]);
    fs::remove_file(files.objects().join("one.yaml")).unwrap();
    let others: Vec<_> = (2..MANY).map(|it| format!("fd00::{it:x}")).collect();
    // The kernel takes no multicast address for an interface.
    let refused = ["224.0.0.9", "ff02::5"].map(str::to_owned);
    let external = [&refused[..1], &others, &refused[1..]].concat();
    let two = serde_json::json!({
        "kind": "Service", "apiVersion": "v1", "metadata": {"name": "two"},
        "spec": {
            "clusterIP": "fd00::1",
            "externalIPs": external,
            "ports": [{"port": 80}],
        },
    });
    files.put("two.json", &two.to_string());
    let mut expected: Vec<_> = (1..MANY).map(|it| format!("fd00::{it:x}/128")).collect();
    expected.sort();
    for _attempt in 0..2 {
        let errors = once_with_errors(&files);
        assert_eq!(bound(), expected, "{errors}");
        let first = "add 224.0.0.9/32 to kube-ipvs0: ";
        assert!(errors.contains(first), "{errors}");
        assert!(errors.contains("(addresses refused: 2)"), "{errors}");
    }
}

fn a_refused_change_holds_up_no_service_that_left() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.put("two.yaml", &service("two", 2, &[2]));
    files.once(&[]);
    fs::remove_file(files.objects().join("two.yaml")).unwrap();
    // The kernel takes no multicast address as a destination.
    let faulty = service("one", 1, &[1, 9]).replace("10.1.0.9", "224.0.0.9");
    files.put("one.yaml", &faulty);
    let errors = once_with_errors(&files);
    assert!(errors.contains("224.0.0.9"), "{errors}");
    let left = fs::read_to_string(files.state()).unwrap();
    assert_eq!(left, "tcp 10.96.0.1:80\n");
    assert_eq!(bound(), ["10.96.0.1/32"]);
}

fn a_file_with_a_fault_keeps_its_objects_and_is_shown() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.put("two.yaml", &service("two", 2, &[2]));
    set_up_loopback();
    let _program = files.start(&["--metrics-bind-address", "127.0.0.1:9000"]);
    wait_for_table(&(rules_of(1, &[1]) + &rules_of(2, &[2])));
    files.put(
        "one.yaml",
        "kind: Service\nmetadata: {name: one}\nspec: {ports: 7}\n",
    );
    let fault = |status: &str| status.contains("one.yaml: Service default/one: ");
    wait_for("the fault", LIMIT, || fault(&get("/status")).then_some(())).unwrap();
    // Another change goes on, beside the objects that the file had.
    files.put("two.yaml", &service("two", 2, &[2, 3]));
    wait_for_table(&(rules_of(1, &[1]) + &rules_of(2, &[2, 3])));
    files.put("one.yaml", &service("one", 1, &[4]));
    wait_for("the end of the fault", LIMIT, || {
        (!fault(&get("/status"))).then_some(())
    })
    .unwrap();
    wait_for_table(&(rules_of(1, &[4]) + &rules_of(2, &[2, 3])));
}

fn set_up_loopback() {
    run("/usr/bin/ip", "link set lo up");
}

/// A server on an address of this host that sends back what it receives.
fn echo(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut octet = [0];
                while stream.read_exact(&mut octet).is_ok() {
                    stream.write_all(&octet).unwrap();
                }
            });
        }
    });
}

fn exchange(stream: &mut TcpStream) {
    let mut octet = [7];
    stream.write_all(&octet).unwrap();
    stream.read_exact(&mut octet).unwrap();
}

fn a_removed_endpoint_keeps_its_connections_until_its_deadline() {
    const DRAIN: Duration = Duration::from_secs(3);
    set_up_loopback();
    for number in [1, 2] {
        run(
            "/usr/bin/ip",
            &format!("address add 10.1.0.{number}/32 dev lo"),
        );
        echo(&format!("10.1.0.{number}:8080"));
    }
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    let _program = files.start(&["--drain", "3s"]);
    wait_for_table(&rules_of(1, &[1]));
    wait_for_bound(&["10.96.0.1/32"]);
    let mut stream = TcpStream::connect("10.96.0.1:80").unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    exchange(&mut stream);
    let removed = Instant::now();
    files.put("one.yaml", &service("one", 1, &[2]));
    let draining = rules_of(1, &[1, 2]).replace("10.1.0.1:8080 -m -w 1", "10.1.0.1:8080 -m -w 0");
    wait_for_table(&draining);
    exchange(&mut stream);
    let mut new = TcpStream::connect("10.96.0.1:80").unwrap();
    new.set_read_timeout(Some(LIMIT)).unwrap();
    exchange(&mut new);
    wait_for_table(&rules_of(1, &[2]));
    assert!(removed.elapsed() >= DRAIN, "{:?}", removed.elapsed());
    exchange(&mut new);
}

fn a_flushed_table_is_repaired_within_the_sync_period() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    let _program = files.start(&["--ipvs-sync-period", "200ms"]);
    for _ in 0..3 {
        wait_for_table(&rules_of(1, &[1]));
        Client::open().unwrap().flush().unwrap();
    }
    wait_for_table(&rules_of(1, &[1]));
}

/// Adds a service by hand.
fn add(line: &str) {
    run("/usr/sbin/ipvsadm", line);
}

fn services_of_others_are_left_alone() {
    add("-A -t 192.0.2.1:80 -s wlc");
    add("-a -t 192.0.2.1:80 -r 10.9.0.1:80 -m");
    let foreign = table();
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.once(&[]);
    assert_eq!(table(), foreign.clone() + &rules_of(1, &[1]));
    fs::remove_file(files.objects().join("one.yaml")).unwrap();
    files.once(&[]);
    assert_eq!(table(), foreign);
}

fn services_that_vanished_while_the_program_was_away_are_removed() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.put("two.yaml", &service("two", 2, &[2]));
    files.once(&[]);
    fs::remove_file(files.objects().join("two.yaml")).unwrap();
    // The address on the interface would show it too; the state file alone has to do.
    run("/usr/bin/ip", "link delete kube-ipvs0");
    files.once(&[]);
    assert_eq!(table(), rules_of(1, &[1]));
    assert_eq!(bound(), ["10.96.0.1/32"]);
}

fn services_that_kube_proxy_left_on_the_interface_are_removed() {
    run("/usr/bin/ip", "link add kube-ipvs0 type dummy");
    run("/usr/bin/ip", "address add 10.96.0.9/32 dev kube-ipvs0");
    add("-A -t 10.96.0.9:443 -s rr");
    add("-A -t 192.0.2.1:80 -s rr");
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.once(&[]);
    let foreign = "-A -t 192.0.2.1:80 -s rr\n".to_owned();
    assert_eq!(table(), foreign + &rules_of(1, &[1]));
    assert_eq!(bound(), ["10.96.0.1/32"]);
}

fn a_service_in_an_excluded_network_is_not_removed() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.put("two.yaml", &service("two", 2, &[2]));
    files.once(&[]);
    fs::remove_file(files.objects().join("one.yaml")).unwrap();
    fs::remove_file(files.objects().join("two.yaml")).unwrap();
    files.once(&["--ipvs-exclude-cidrs", "10.96.0.2/32"]);
    assert_eq!(table(), rules_of(2, &[2]));
    assert_eq!(bound(), ["10.96.0.2/32"]);
    files.once(&[]);
    assert_eq!(table(), "");
    assert_eq!(bound(), [""; 0]);
}

/// An event of `kubectl get --watch --output-watch-events -o json` for a Service.
fn event(kind: &str, number: u8) -> String {
    format!(
        r#"{{
    "type": "{kind}",
    "object": {{"kind": "Service", "apiVersion": "v1", "metadata": {{"name": "s{number}"}},
        "spec": {{"clusterIP": "10.96.0.{number}", "ports": [{{"port": 80}}]}}}}
}}
"#
    )
}

fn stream(files: &Files) -> Program {
    let mut command = files.command(Path::new("-"));
    // The list has Services only, so it is complete at its limit.
    Program::spawn(command.args(["--initial-limit", "1s"]))
}

fn objects_of_a_stream_become_services_and_deletions_are_followed() {
    let files = Files::new();
    let mut program = stream(&files);
    program.feed(&(event("ADDED", 1) + &event("ADDED", 2)));
    wait_for_table(&(rules_of(1, &[]) + &rules_of(2, &[])));
    program.feed(&event("DELETED", 1));
    wait_for_table(&rules_of(2, &[]));
    program.feed(&event("ADDED", 3));
    wait_for_table(&(rules_of(2, &[]) + &rules_of(3, &[])));
    program.terminate();
}

fn a_stream_that_ends_ends_the_program_and_leaves_the_services() {
    let files = Files::new();
    let mut program = stream(&files);
    program.feed(&(event("ADDED", 1) + &event("ADDED", 2)));
    wait_for_table(&(rules_of(1, &[]) + &rules_of(2, &[])));
    drop(program.0.stdin.take());
    assert_eq!(program.wait(), Some(1));
    assert_eq!(table(), rules_of(1, &[]) + &rules_of(2, &[]));
    // An end before the first synchronization is no empty cluster.
    let mut program = stream(&files);
    program.feed(&event("ADDED", 1));
    drop(program.0.stdin.take());
    assert_eq!(program.wait(), Some(1));
    assert_eq!(table(), rules_of(1, &[]) + &rules_of(2, &[]));
}

fn a_stream_that_is_not_json_is_an_error() {
    let files = Files::new();
    for options in [&[][..], &["--print"]] {
        let mut command = files.command(Path::new("-"));
        let mut program = Program::spawn(command.args(options));
        program.feed(&(event("ADDED", 1) + "nonsense"));
        drop(program.0.stdin.take());
        assert_eq!(program.wait(), Some(1), "{options:?}");
    }
    assert_eq!(table(), "");
}

fn a_signal_ends_the_program_before_the_first_object() {
    let files = Files::new();
    let program = stream(&files);
    // The program sets it after it has taken the signals.
    wait_for("the program", LIMIT, || {
        let forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        (forwarding.trim() == "1").then_some(())
    })
    .unwrap();
    program.terminate();
}

fn sysctls_and_timeouts_are_set() {
    let files = Files::new();
    files.once(&[
        "--ipvs-strict-arp",
        "--ipvs-tcp-timeout",
        "15m",
        "--ipvs-udp-timeout",
        "100s",
    ]);
    for (name, value) in [
        ("net/ipv4/vs/conntrack", "1"),
        ("net/ipv4/vs/expire_nodest_conn", "1"),
        ("net/ipv4/vs/expire_quiescent_template", "1"),
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/arp_ignore", "1"),
        ("net/ipv4/conf/all/arp_announce", "2"),
    ] {
        // The file of this thread's namespace.
        let found = fs::read_to_string(format!("/proc/sys/{name}")).unwrap();
        assert_eq!(found.trim(), value, "{name}");
    }
    let timeouts = Client::open().unwrap().timeouts().unwrap();
    assert_eq!(
        (timeouts.tcp, timeouts.tcp_fin, timeouts.udp),
        (900, 120, 100)
    );
}

/// The answer to a request for a page, head and body.
fn get(path: &str) -> String {
    request(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn request(text: &str) -> String {
    let Ok(mut stream) = TcpStream::connect("127.0.0.1:9000") else {
        return String::new();
    };
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn health_metrics_and_status_are_served() {
    set_up_loopback();
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1, 2]));
    let _program = files.start(&[
        "--healthz-bind-address",
        "127.0.0.1:9000",
        "--metrics-bind-address",
        "127.0.0.1:9000",
    ]);
    let is_healthy = || get("/healthz").starts_with("HTTP/1.1 200 ").then_some(());
    wait_for("health", LIMIT, is_healthy).unwrap();
    let metrics = get("/metrics");
    for line in [
        "ipvs_controller_synchronizations_total{extent=\"Full\",result=\"Success\"} 1",
        "ipvs_controller_changes_total 3",
        "ipvs_controller_table{kind=\"destinations\"} 2",
        "ipvs_controller_objects{kind=\"EndpointSlice\"} 1",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    let status = get("/status");
    let (_, body) = status.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(status["node"], "here");
    assert_eq!(status["isReady"], true);
    assert_eq!(
        (&status["services"], &status["destinations"]),
        (&1.into(), &2.into())
    );
    assert!(get("/other").starts_with("HTTP/1.1 404 "));
    let post = request("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    // A client that sends nothing holds up no other.
    let _silent = TcpStream::connect("127.0.0.1:9000").unwrap();
    assert!(get("/metrics").starts_with("HTTP/1.1 200 "));
}

fn each_address_serves_its_own_pages() {
    set_up_loopback();
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    // `get` asks the first address.
    for (first, served, refused) in [
        (
            "--healthz-bind-address",
            &["/healthz"][..],
            &["/metrics", "/status", "/other"][..],
        ),
        (
            "--metrics-bind-address",
            &["/metrics", "/status"],
            &["/healthz", "/other"],
        ),
    ] {
        let _program = files.start(&[first, "127.0.0.1:9000"]);
        let is_served = |path: &str| get(path).starts_with("HTTP/1.1 200 ").then_some(());
        for path in served {
            wait_for(path, LIMIT, || is_served(path)).unwrap();
        }
        for path in refused {
            assert!(get(path).starts_with("HTTP/1.1 404 "), "{path}");
        }
    }
}

fn clean_up_removes_everything_that_belongs_to_the_program() {
    add("-A -t 192.0.2.1:80 -s rr");
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1]));
    files.once(&[]);
    assert!(files.state().exists());
    let mut command = Command::new(example("ipvs_controller").unwrap());
    let output = command
        .arg("--cleanup")
        .arg("--state")
        .arg(files.state())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(table(), "-A -t 192.0.2.1:80 -s rr\n");
    assert!(!Path::new("/sys/class/net/kube-ipvs0").exists());
    assert!(!files.state().exists());
}

fn the_wanted_table_is_printed_without_a_change() {
    let files = Files::new();
    files.put("one.yaml", &service("one", 1, &[1, 2]));
    let mut command = files.command(&files.objects());
    let output = command.arg("--print").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        rules_of(1, &[1, 2])
    );
    assert_eq!(table(), "");
    assert_eq!(bound(), [""; 0]);
    assert!(!files.state().exists());
}
