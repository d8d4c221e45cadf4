//! The program `load_balancer`.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use vrrp_lab::{BackgroundProgram, GuestTest, example, guest_tests, wait_for};

use super::{run, serve, set_up, table};

/// Longer than any step takes in a guest on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        a_wrong_file_is_refused_with_the_line_and_a_mark,
        pages_and_metrics_show_the_state_and_commands_change_it,
        a_changed_file_is_read_and_a_wrong_one_changes_nothing,
        a_restart_breaks_no_connection,
        a_lost_quorum_makes_the_router_resign,
        a_router_without_services_becomes_active,
        wrong_routers_change_nothing_and_the_corrected_file_is_read,
        all_routers_can_become_owners_of_their_addresses,
        an_address_is_announced_while_the_quorum_is_there,
        other_announced_addresses_stay_when_one_is_added_or_removed,
        nothing_comes_back_while_the_program_stops,
        the_sync_daemon_ends_when_the_file_names_it_no_longer,
        a_dry_run_prints_its_changes_and_an_explanation_its_reasons,
        the_notify_command_gets_events_in_order,
    ]
    .map(|test| test.within(Duration::from_secs(300)))
    .to_vec()
}

/// A folder with a configuration.
struct Setting {
    folder: TempDir,
}

const SERVICE: &str = "-A -t 192.0.2.1:80 -s rr";
const FIRST: &str = "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1";
const SECOND: &str = "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1";

/// The text of a service with two servers.
const SERVICES: &str = r#"
[[services]]
service = "tcp 192.0.2.1:80"
scheduler = "rr"
drain = false
servers = [{ address = "10.0.0.1:80" }, { address = "10.0.0.2:80" }]
checks = [{ probe = "tcp", interval = "200ms", fast_interval = "100ms", fall = 2 }]
"#;

impl Setting {
    /// In the text, `{dir}` stands for the folder.
    fn new(text: &str) -> Self {
        set_up();
        let setting = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        setting.write(text);
        setting
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        let dir = self.folder.path().to_str().unwrap();
        let new = self.path("new");
        fs::write(&new, text.replace("{dir}", dir)).unwrap();
        fs::rename(new, self.path("lb.toml")).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(example("load_balancer").unwrap());
        command.arg(self.path("lb.toml")).args(words);
        command
    }

    fn start(&self) -> BackgroundProgram {
        BackgroundProgram::spawn(self.command(&[]))
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Waits until the table is as expected.
#[track_caller]
fn wait_for_table(program: &BackgroundProgram, expected: &[&str]) {
    let waited = wait_for("the table", LIMIT, || (table() == expected).then_some(()));
    waited.unwrap_or_else(|_| panic!("{:#?}\n{:#?}", table(), program.lines()));
}

/// Ends a program.
#[track_caller]
fn stop(mut program: BackgroundProgram) -> Vec<String> {
    program.signal(Signal::SIGTERM);
    let status = program.wait();
    let lines = program.lines();
    assert!(status.success(), "{status}: {lines:#?}");
    lines
}

/// Gets a page, over TCP or a UNIX socket.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn status(socket: &Path) -> Value {
    let page = get(UnixStream::connect(socket).unwrap(), "/status.json");
    serde_json::from_str(&page).unwrap()
}

/// The text of routers on the interface `left` with these settings. Each takes four lines and the
/// breaks in its settings.
fn routers(settings: &[impl AsRef<str>]) -> String {
    let one = |(place, settings): (usize, &_)| {
        let settings = AsRef::as_ref(settings);
        format!(
            "[[routers]]\ninterface = \"left\"\naddresses = [\"192.0.2.{}/24\"]\n{settings}\n",
            place + 100
        )
    };
    settings.iter().enumerate().map(one).collect()
}

/// Makes the interface `left`.
fn add_left() {
    run("ip link add left type veth peer name right");
    run("ip link set left up");
    run("ip link set right up");
    run("ip address add 192.0.2.10/24 dev left");
}

fn a_wrong_file_is_refused_with_the_line_and_a_mark() {
    for (text_, expected) in [
        (
            "page = \"127.0.0.1:0\"\nstate 5\n",
            &["lb.toml:2:", "^", "expected"][..],
        ),
        (
            "on_stop = \"never\"\n",
            &["lb.toml:1:", "^^^", "unknown variant `never`"],
        ),
        (
            "[[routers]]\ninterface = \"eth0\"\nvrid = 300\n",
            &["lb.toml:3:", "300"],
        ),
        (
            "[[routers]]\ninterface = \"eth0\"\nvrid = 0\naddresses = [\"192.0.2.9/24\"]\n",
            &["lb.toml:1:", "router 0: "],
        ),
        (
            &routers(&["vrid = 1", "vrid = 1"]),
            &[
                "lb.toml:5:",
                "^",
                "router 1: ",
                "is on interface left already",
            ],
        ),
        (
            &routers(&["vrid = 1", "vrid = 2\nquorum_weight = -300"]),
            &["lb.toml:5:", "router 2: quorum_weight: ", "-300", "-253"],
        ),
        (
            &routers(&["vrid = 1", "vrid = 2\npriority = 255"]),
            &["lb.toml:5:", "router 2: priority: ", "owners (255)"],
        ),
        (
            &routers(&["vrid = 1\npeers = [\"2001:db8::1\"]"]),
            &["lb.toml:1:", "router 1: peers: ", "2001:db8::1"],
        ),
        (
            "[[services]]\nservice = \"tcp 192.0.2.1:80\"\nquorum = 0\n",
            &[
                "lb.toml:2:",
                "quorum: 0 is not allowed",
                "use 1 for any live server",
            ],
        ),
        (
            "[[services]]\nservice = \"tcp 192.0.2.1:80\"\nchecks = [{ probe = \"ftp\" }]\n",
            &["lb.toml:3:", "unknown variant `ftp`"],
        ),
        (
            "[[announce]]\nservice = \"tcp 192.0.2.1:80\"\ninterface = \"d\"\naddress = \"192.0.2.1\"\n",
            &[
                "lb.toml:2:",
                "announce: there is no service tcp 192.0.2.1:80",
            ],
        ),
    ] {
        let setting = Setting::new(text_);
        let output = setting.run(&["--check"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        for part in expected {
            assert!(error.contains(part), "{part}: {error}");
        }
        run("ip address flush dev lo scope global");
    }
    let setting = Setting::new(SERVICES);
    assert!(setting.run(&["--check"]).status.success());
    assert_eq!(table(), [""; 0]);
}

fn pages_and_metrics_show_the_state_and_commands_change_it() {
    let setting = Setting::new(&format!(
        "control = \"{{dir}}/socket\"\npage = \"127.0.0.1:8404\"\nstate = \"{{dir}}/state\"\n\
         on_stop = \"remove\"\n{SERVICES}"
    ));
    let (_first, _second) = (serve(1), serve(2));
    let program = setting.start();
    wait_for_table(&program, &[SERVICE, FIRST, SECOND]);
    let socket = setting.path("socket");
    let page: SocketAddr = ([127, 0, 0, 1], 8404).into();

    let html = get(TcpStream::connect(page).unwrap(), "/");
    assert!(
        html.contains("tcp 192.0.2.1:80") && html.contains("10.0.0.1:80"),
        "{html}"
    );
    let metrics = get(TcpStream::connect(page).unwrap(), "/metrics");
    let up = "balancer_server_up{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 1";
    assert!(metrics.contains(up), "{metrics}");
    // The servers are in the table before their first check has its result.
    let state = wait_for("the first checks", LIMIT, || {
        let state = status(&socket);
        (state["services"][0]["quorum"] == "up").then_some(state)
    })
    .unwrap();
    assert_eq!(state["services"][0]["servers"][0]["in_use"], true);

    let place = ["tcp 192.0.2.1:80", "10.0.0.1:80"];
    for (words, expected) in [
        (&["drain"][..], &[SERVICE, SECOND][..]),
        (&["resume"], &[SERVICE, FIRST, SECOND]),
        (&["maintain"], &[SERVICE, SECOND]),
        (&["resume"], &[SERVICE, FIRST, SECOND]),
    ] {
        let output = setting.run(&[words, &place].concat());
        assert!(output.status.success(), "{output:?}");
        wait_for_table(&program, expected);
    }
    let output = setting.run(&["weight", place[0], place[1], "9"]);
    assert!(output.status.success(), "{output:?}");
    let heavy = FIRST.replace("-w 1", "-w 9");
    wait_for_table(&program, &[SERVICE, &heavy, SECOND]);
    let output = setting.run(&["drain", place[0], "10.0.0.9:80"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("10.0.0.9:80"), "{output:?}");
    // Only the UNIX socket takes commands.
    let mut stream = TcpStream::connect(page).unwrap();
    let request = "POST /command HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 405 Method Not Allowed\r\n");

    stop(program);
    assert_eq!(table(), [""; 0]);
    assert!(!socket.exists());
    // The weight survives a restart.
    let program = setting.start();
    wait_for_table(&program, &[SERVICE, &heavy, SECOND]);
    stop(program);
}

fn a_changed_file_is_read_and_a_wrong_one_changes_nothing() {
    let setting = Setting::new(SERVICES);
    let (_first, _second) = (serve(1), serve(2));
    let program = setting.start();
    wait_for_table(&program, &[SERVICE, FIRST, SECOND]);
    let of = |found: &str, part: &str| found.contains(part).then_some(());
    setting.write("services = 5");
    program.wait_for("the complaint", |line| of(line, "nothing changes"));
    assert_eq!(table(), [SERVICE, FIRST, SECOND]);
    setting.write(&SERVICES.replace("\"rr\"", "\"wlc\""));
    let service = "-A -t 192.0.2.1:80 -s wlc";
    wait_for_table(&program, &[service, FIRST, SECOND]);
    program.signal(Signal::SIGHUP);
    wait_for("the second reading", LIMIT, || {
        let lines = program.lines();
        let readings = lines.iter().filter(|line| line.contains("read /"));
        (readings.count() >= 2).then_some(())
    })
    .unwrap();
    let lines = stop(program);
    // The table stays.
    assert_eq!(table(), [service, FIRST, SECOND], "{lines:#?}");
}

/// A server that answers each line with itself.
fn echo(listener: std::net::TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                    let _ = (&stream).write_all(line.as_bytes());
                    line.clear();
                }
            });
        }
    });
}

fn a_restart_breaks_no_connection() {
    let setting = Setting::new(SERVICES);
    echo(serve(1));
    echo(serve(2));
    let program = setting.start();
    wait_for_table(&program, &[SERVICE, FIRST, SECOND]);
    let mut streams: Vec<_> = (0..20)
        .map(|_| TcpStream::connect("192.0.2.1:80").unwrap())
        .collect();
    let mut speak = |word: &str| {
        for stream in &mut streams {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            writeln!(stream, "{word}").unwrap();
            let mut answer = vec![0; word.len() + 1];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(text(&answer), format!("{word}\n"));
        }
    };
    speak("before");
    stop(program);
    speak("between");
    let program = setting.start();
    program.wait_for("the adopted table", |line| {
        line.contains("up").then_some(())
    });
    speak("after");
    let changes = program.lines();
    let changes = changes
        .iter()
        .filter(|line| line.contains("add ") || line.contains("delete "));
    assert_eq!(changes.count(), 0, "{:#?}", program.lines());
    drop(program.lines());
    stop(program);
    speak("at the end");
}

fn a_lost_quorum_makes_the_router_resign() {
    let setting = Setting::new(&format!(
        "{SERVICES}\n[sync]\ninterface = \"left\"\nid = 51\n[[routers]]\ninterface = \"left\"\n\
         vrid = 51\ninterval = \"100ms\"\naddresses = [\"192.0.2.100/24\"]\n"
    ));
    add_left();
    let (first, second) = (serve(1), serve(2));
    let program = setting.start();
    let has_address = || run("ip address show dev left").contains("192.0.2.100/24");
    let daemon = || run("ipvsadm -ln --daemon");
    let waited = wait_for("Active", LIMIT, || {
        (has_address() && daemon().contains("master sync daemon")).then_some(())
    });
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
    drop(first);
    drop(second);
    let waited = wait_for("the fault", LIMIT, || {
        (!has_address() && daemon().contains("backup sync daemon")).then_some(())
    });
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
    let _first = serve(1);
    let waited = wait_for("Active again", LIMIT, || has_address().then_some(()));
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
    stop(program);
    assert!(!has_address());
    assert_eq!(daemon(), "");
}

fn a_router_without_services_becomes_active() {
    let setting = Setting::new(
        "[[routers]]\ninterface = \"left\"\nvrid = 51\ninterval = \"100ms\"\n\
         addresses = [\"192.0.2.100/24\"]\n",
    );
    add_left();
    let program = setting.start();
    let has_address = || run("ip address show dev left").contains("192.0.2.100/24");
    let waited = wait_for("Active", LIMIT, || has_address().then_some(()));
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
    stop(program);
    assert!(!has_address());
}

/// Waits until `left` has these of the addresses 192.0.2.100 to 192.0.2.109.
#[track_caller]
fn wait_for_addresses(program: &BackgroundProgram, expected: &[u8]) {
    let addresses = || run("ip -oneline address show dev left");
    let waited = wait_for("the addresses", LIMIT, || {
        let list = addresses();
        let found = (100..110).filter(|host| list.contains(&format!(" 192.0.2.{host}/")));
        found.eq(expected.iter().copied()).then_some(())
    });
    waited.unwrap_or_else(|error| panic!("{error}: {}\n{:#?}", addresses(), program.lines()));
}

/// Replaces the file, sends SIGHUP, and waits for a line about the reading.
#[track_caller]
fn reload(setting: &Setting, program: &BackgroundProgram, text: &str, expected: &str) {
    let count = || {
        program
            .lines()
            .iter()
            .filter(|it| it.contains(expected))
            .count()
    };
    let before = count();
    setting.write(text);
    program.signal(Signal::SIGHUP);
    let waited = wait_for(expected, LIMIT, || (count() > before).then_some(()));
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
}

fn wrong_routers_change_nothing_and_the_corrected_file_is_read() {
    let fast = "interval = \"100ms\"";
    let with = |second: &str| routers(&[&format!("vrid = 1\n{fast}"), second]);
    let right = with(&format!("vrid = 2\n{fast}"));
    let setting = Setting::new(&right);
    add_left();
    let program = setting.start();
    wait_for_addresses(&program, &[100, 101]);
    for (second, mistake) in [
        ("vrid = 2\nquorum_weight = -300", "quorum_weight"),
        ("vrid = 1", "already"),
        ("vrid = 2\npriority = 255", "owners"),
    ] {
        let wrong = format!("{SERVICES}{}", with(&format!("{second}\n{fast}")));
        reload(&setting, &program, &wrong, mistake);
        wait_for_addresses(&program, &[100, 101]);
        assert_eq!(table(), [""; 0]);
    }
    let resigned = |lines: &[String]| {
        lines
            .iter()
            .any(|line| line.contains("changed from Active"))
    };
    assert!(!resigned(&program.lines()), "{:#?}", program.lines());
    // The routers can still be changed.
    let corrected = with(&format!("vrid = 3\n{fast}"));
    reload(&setting, &program, &corrected, "read /");
    wait_for_addresses(&program, &[100, 101]);
    reload(&setting, &program, &right, "read /");
    wait_for_addresses(&program, &[100, 101]);
    let lines = stop(program);
    let refused = lines.iter().any(|line| line.contains("not applied"));
    assert!(!refused, "{lines:#?}");
}

fn all_routers_can_become_owners_of_their_addresses() {
    let both = |priority: u8| {
        let router = |vrid| format!("vrid = {vrid}\ninterval = \"100ms\"\npriority = {priority}");
        routers(&[&router(1), &router(2)])
    };
    let setting = Setting::new(&both(100));
    add_left();
    let program = setting.start();
    wait_for_addresses(&program, &[100, 101]);
    for priority in [255, 100] {
        reload(&setting, &program, &both(priority), "read /");
        wait_for_addresses(&program, &[100, 101]);
    }
    let lines = stop(program);
    let refused = lines.iter().any(|line| line.contains("not applied"));
    assert!(!refused, "{lines:#?}");
}

fn an_address_is_announced_while_the_quorum_is_there() {
    let setting = Setting::new(&format!(
        "{SERVICES}\n[[announce]]\nservice = \"tcp 192.0.2.1:80\"\ninterface = \"left\"\n\
         address = \"192.0.2.200/32\"\n"
    ));
    run("ip link add left type veth peer name right");
    run("ip link set left up");
    let has_address = || run("ip address show dev left").contains("192.0.2.200/32");
    let first = serve(1);
    let program = setting.start();
    let wait = |what: &str, expected: bool| {
        let waited = wait_for(what, LIMIT, || (has_address() == expected).then_some(()));
        waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
    };
    wait("the address", true);
    drop(first);
    wait("its removal", false);
    let _first = serve(1);
    wait("the address again", true);
    stop(program);
    assert!(!has_address());
}

/// Entries that announce these addresses on `left`.
fn announced(hosts: &[u8]) -> String {
    let one = |host| {
        format!(
            "[[announce]]\nservice = \"tcp 192.0.2.1:80\"\ninterface = \"left\"\n\
             address = \"192.0.2.{host}/32\"\n"
        )
    };
    hosts.iter().map(one).collect()
}

fn other_announced_addresses_stay_when_one_is_added_or_removed() {
    let with = |hosts: &[u8]| format!("{SERVICES}{}", announced(hosts));
    let setting = Setting::new(&with(&[100]));
    add_left();
    let (_first, _second) = (serve(1), serve(2));
    let program = setting.start();
    wait_for_addresses(&program, &[100]);
    let mut command = Command::new("ip");
    command.args(["-oneline", "monitor", "address"]);
    let monitor = BackgroundProgram::spawn(command);
    // It prints nothing before the first change.
    let waited = wait_for("the monitor", LIMIT, || {
        run("ip address add 192.0.2.109/32 dev left");
        run("ip address del 192.0.2.109/32 dev left");
        let lines = monitor.lines();
        lines
            .iter()
            .any(|line| line.contains("192.0.2.109/"))
            .then_some(())
    });
    waited.unwrap();
    for hosts in [&[100, 101][..], &[100], &[102, 100]] {
        reload(&setting, &program, &with(hosts), "read /");
        let mut sorted = hosts.to_vec();
        sorted.sort_unstable();
        wait_for_addresses(&program, &sorted);
    }
    let added = |line: &str| line.contains("192.0.2.102/").then_some(());
    monitor.wait_for("the last address", added);
    let lines = monitor.lines();
    let touched = lines.iter().any(|line| line.contains("192.0.2.100/"));
    assert!(!touched, "{lines:#?}\n{:#?}", program.lines());
    monitor.kill();
    stop(program);
    let left = run("ip -oneline address show dev left");
    assert!(!left.contains("/32"), "{left}");
}

fn nothing_comes_back_while_the_program_stops() {
    let services = SERVICES.replace("drain = false", "omega = true");
    let text = format!(
        "on_stop = \"drain\"\ndrain_limit = \"10m\"\n{services}{}{}",
        announced(&[100]),
        routers(&["vrid = 51\ninterval = \"100ms\""]).replace(".100/24", ".101/24"),
    );
    let setting = Setting::new(&text);
    add_left();
    echo(serve(1));
    echo(serve(2));
    let program = setting.start();
    wait_for_table(&program, &[SERVICE, FIRST, SECOND]);
    wait_for_addresses(&program, &[100, 101]);
    let _connections = [(); 2].map(|()| TcpStream::connect("192.0.2.1:80").unwrap());
    program.signal(Signal::SIGTERM);
    // The connections keep the program for the time of the limit.
    let drained = [FIRST, SECOND].map(|line| line.replace("-w 1", "-w 0"));
    wait_for_table(&program, &[SERVICE, &drained[0], &drained[1]]);
    program.signal(Signal::SIGHUP);
    let refused = |line: &str| line.contains("not read").then_some(());
    program.wait_for("the refusal", refused);
    // The program notices a change of the file in its regular work, which follows the quorum too.
    setting.write(&format!("{text}\n"));
    let waited = wait_for("the regular work", LIMIT, || {
        let lines = program.lines();
        let refusals = lines.iter().filter_map(|line| refused(line));
        (refusals.count() >= 2).then_some(())
    });
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
    let lines = program.lines();
    let removed = lines.iter().position(|line| line.contains("removed from"));
    let after = &lines[removed.unwrap()..];
    let is_back = |line: &&String| line.contains("added to") || line.contains("to Active");
    assert_eq!(after.iter().find(is_back), None, "{lines:#?}");
    wait_for_addresses(&program, &[]);
    program.kill();
}

fn the_sync_daemon_ends_when_the_file_names_it_no_longer() {
    let sync = "[sync]\ninterface = \"lo\"\nid = 7\n";
    let setting = Setting::new(&format!("{sync}{SERVICES}"));
    let program = setting.start();
    let daemons = || run("ipvsadm -L --daemon");
    let wait_for_daemons = |what, is_expected: &dyn Fn(&str) -> bool| {
        let waited = wait_for(what, LIMIT, || is_expected(&daemons()).then_some(()));
        waited.unwrap_or_else(|_| panic!("{}\n{:#?}", daemons(), program.lines()));
    };
    wait_for_daemons("the daemon", &|it| it.contains("syncid=7"));
    setting.write(SERVICES);
    program.signal(Signal::SIGHUP);
    wait_for_daemons("its end", &|it| !it.contains("syncid"));
    stop(program);
}

fn a_dry_run_prints_its_changes_and_an_explanation_its_reasons() {
    let notify = r#"notify = ["/bin/sh", "-c", "echo $EVENT >> {dir}/events"]"#;
    let setting = Setting::new(&format!("{notify}\n{SERVICES}"));
    let _first = serve(1);
    let program = BackgroundProgram::spawn(setting.command(&["--dry-run"]));
    program.wait_for("the service", |line| {
        line.contains("add service tcp 192.0.2.1:80").then_some(())
    });
    program.wait_for("the dead server", |line| {
        line.contains("server 10.0.0.2:80 down").then_some(())
    });
    stop(program);
    assert_eq!(table(), [""; 0]);
    assert!(!setting.path("events").exists(), "a command has run");
    let output = setting.run(&["--explain"]);
    let explanation = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in [
        "10.0.0.1:80 of tcp 192.0.2.1:80: in; up",
        "out: failed its checks",
        "refused",
    ] {
        assert!(explanation.contains(part), "{part}: {explanation}");
    }
}

fn the_notify_command_gets_events_in_order() {
    let with_notify = |file: &str| {
        format!(
            "notify = [\"/bin/sh\", \"-c\", \"echo $EVENT $SERVER >> {{dir}}/{file}\"]\n{SERVICES}"
        )
    };
    let setting = Setting::new(&with_notify("events"));
    let (first, second) = (serve(1), serve(2));
    let program = setting.start();
    wait_for_table(&program, &[SERVICE, FIRST, SECOND]);
    drop(first);
    wait_for_table(&program, &[SERVICE, SECOND]);
    drop(second);
    let file = setting.path("events");
    let started = Instant::now();
    let events = loop {
        let events = fs::read_to_string(&file).unwrap_or_default();
        if events.contains("quorum-lost") || started.elapsed() > LIMIT {
            break events;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let lines: Vec<_> = events.lines().collect();
    let of = |line: &str| lines.iter().position(|it| it.trim() == line);
    let order = [
        "server-down 10.0.0.1:80",
        "server-down 10.0.0.2:80",
        "quorum-lost",
    ]
    .map(of);
    assert!(
        order.iter().all(Option::is_some) && order.is_sorted(),
        "{events}"
    );
    // Later events use the new command of the file.
    setting.write(&with_notify("others"));
    program.signal(Signal::SIGHUP);
    let of = |line: &str| line.contains("read /").then_some(());
    program.wait_for("the reading", of);
    let _first = serve(1);
    let others = setting.path("others");
    wait_for("the other command", LIMIT, || {
        let text = fs::read_to_string(&others).ok()?;
        text.contains("server-up 10.0.0.1:80").then_some(())
    })
    .unwrap();
    stop(program);
}
