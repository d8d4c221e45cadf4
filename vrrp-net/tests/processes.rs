//! Drivers in several processes: a driver continues where another, which is Active, ends, and no
//! host on the network notices. A driver also ignores the claims of a process without privileges.
//!
//! The tests are a program of their own, because only a process with one thread can be forked
//! safely.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test"
)]

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::{self, Child},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{ForkResult, fork};
use vrrp_fsm::Config;
use vrrp_lab::{BackgroundProgram, Capture, Host, Lan, wait_for};
use vrrp_net::{
    AddressChange, Driver, DriverEvent, Monitor, MonitorEvent, Netlink, Notification, RouterConfig,
};
use vrrp_proto::{Family, Interval, Priority, Vrid};

/// The longest wait for an event.
const LIMIT: Duration = Duration::from_secs(120);

const INTERVAL: Duration = Duration::from_millis(400);

const ADDRESS: &str = "192.0.2.254/32";

/// The argument of another process that acts as a host.
const HOST: &str = "--be-a-host";

/// The argument of another process that claims things of others.
const INTRUDER: &str = "--be-an-intruder";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, role, folder, priority] = &arguments[..]
        && role == HOST
    {
        be_a_host(Path::new(folder), priority.parse().unwrap());
        return;
    }
    if let [_, role, claim] = &arguments[..]
        && role == INTRUDER
    {
        be_an_intruder(claim);
    }
    println!("\nrunning 2 tests");
    a_process_goes_on_where_another_ends();
    println!("test a_process_goes_on_where_another_ends ... ok");
    let ignored = u8::from(!claims_of_a_process_without_privileges_do_not_count());
    let outcome = if ignored == 1 {
        "ignored, root alone can become another user: run ./test"
    } else {
        "ok"
    };
    println!("test claims_of_a_process_without_privileges_do_not_count ... {outcome}");
    let passed = 2 - ignored;
    println!(
        "\ntest result: ok. {passed} passed; 0 failed; {ignored} ignored; 0 measured; 0 filtered out\n"
    );
}

/// Claims something of another instance, as an instance would, and asks the others.
fn be_an_intruder(claim: &str) -> ! {
    let address = SocketAddr::from_abstract_name("vrrp-net/1.0").unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    println!("listens");
    let answer = format!("uses {claim}\nend\n");
    let asking = thread::spawn(|| {
        // The driver may not be running yet.
        loop {
            let list = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
            let names = list
                .split_whitespace()
                .filter_map(|it| it.strip_prefix('@'));
            let mut others =
                names.filter(|it| it.starts_with("vrrp-net/") && *it != "vrrp-net/1.0");
            if let Some(other) = others.next() {
                let address = SocketAddr::from_abstract_name(other).unwrap();
                let mut stream = UnixStream::connect_addr(&address).unwrap();
                // The connection may have been closed by then.
                let _refused = stream.write_all(b"?");
                let mut answer = Vec::new();
                let _reset = stream.read_to_end(&mut answer);
                println!("received {} bytes", answer.len());
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let answer = answer.clone();
        thread::spawn(move || {
            let mut question = [0];
            while stream.read_exact(&mut question).is_ok() && question == *b"?" {
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        });
    }
    drop(asking);
    process::exit(0)
}

/// Returns false where this process may not start one of another user.
fn claims_of_a_process_without_privileges_do_not_count() -> bool {
    const CLAIMED: &str = "192.0.2.77/32";
    const NOBODY: u32 = 65534;
    let mapped = fs::read_to_string("/proc/self/uid_map").unwrap();
    let users = mapped.split_whitespace().nth(2);
    if users.and_then(|it| it.parse::<u64>().ok()).unwrap() <= u64::from(NOBODY) {
        return false;
    }
    let lan = Lan::new().unwrap();
    let host = lan.host("one", &["192.0.2.1/24"]).unwrap();
    // A copy, because the other user may not be allowed to reach the build folder.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("intruder");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let mut command = host.namespace().command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args([INTRUDER, &format!("address {} 192.0.2.77", host.index())]);
    let intruder = BackgroundProgram::spawn(command);
    intruder.wait_for("its socket", |line| (line == "listens").then_some(()));
    // The address has our mark, and no instance claims it.
    host.namespace().run(|| {
        let address = CLAIMED.parse().unwrap();
        let add = AddressChange::Add {
            interface: host.index(),
            address: &address,
        };
        let result = Netlink::open().unwrap().apply(&[add]).unwrap().remove(0);
        result.unwrap();
    });
    let claimed = CLAIMED.parse().unwrap();
    let has = || host.addresses().unwrap().contains(&claimed);
    assert!(has());
    host.namespace().run(|| {
        let mut driver = Driver::new().unwrap();
        let end = Instant::now() + LIMIT;
        while has() {
            assert!(
                Instant::now() < end,
                "the claim of another user has counted"
            );
            driver.turn().unwrap();
            driver.wait(Some(Duration::from_millis(5))).unwrap();
        }
        // The intruder has connected by now, or does so soon.
        let received = || {
            intruder
                .lines()
                .into_iter()
                .find(|it| it.starts_with("received"))
        };
        while received().is_none() {
            assert!(
                Instant::now() < end,
                "the connection of another user stays open"
            );
            driver.turn().unwrap();
            driver.wait(Some(Duration::from_millis(5))).unwrap();
        }
        assert_eq!(received().unwrap(), "received 0 bytes");
    });
    true
}

/// Runs a router until the file `hand-over` is there. Then this process ends, and another continues
/// until the file `stop` is there.
fn be_a_host(folder: &Path, priority: u8) {
    let mut election = Config::new(Vrid::new(51).unwrap(), Family::Ipv4);
    election.priority = Priority::new(priority);
    election.interval = Interval::centis(40).unwrap();
    let mut driver = Driver::new().unwrap();
    let addresses = vec![ADDRESS.parse().unwrap()];
    driver
        .add(RouterConfig::new("eth0", election, addresses))
        .unwrap();
    if run_until(&mut driver, folder, &["hand-over", "stop"]) == "hand-over" {
        let hand_over = driver.hand_over().unwrap();
        note_all(folder, &mut driver);
        // SAFETY: this process has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { .. } => process::exit(0),
            ForkResult::Child => {}
        }
        driver = Driver::take_over(hand_over).unwrap();
        let mut file = File::create(folder.join("taken-over")).unwrap();
        write!(file, "{}", process::id()).unwrap();
        run_until(&mut driver, folder, &["stop"]);
    }
    driver.shutdown().unwrap();
    note_all(folder, &mut driver);
}

/// Takes turns until one of the files exists, or the test has ended.
fn run_until<'a>(driver: &mut Driver, folder: &Path, files: &[&'a str]) -> &'a str {
    while folder.exists() {
        if let Some(file) = files.iter().find(|file| folder.join(file).exists()) {
            return file;
        }
        driver.turn().unwrap();
        note_all(folder, driver);
        driver.wait(Some(Duration::from_millis(5))).unwrap();
    }
    "stop"
}

/// Writes down the changes of state.
fn note_all(folder: &Path, driver: &mut Driver) {
    while let Some(notification) = driver.next_notification() {
        note(folder, &notification);
    }
}

/// Writes down a change of state.
fn note(folder: &Path, notification: &Notification) {
    if let DriverEvent::StateChanged(change) = notification.event {
        let states = folder.join("states");
        let states = OpenOptions::new().create(true).append(true).open(states);
        writeln!(states.unwrap(), "{}", change.to).unwrap();
    }
}

fn start(host: &Host, folder: &Path, priority: u8) -> Child {
    fs::create_dir(folder).unwrap();
    host.namespace()
        .command(env::current_exe().unwrap())
        .args([HOST, folder.to_str().unwrap(), &priority.to_string()])
        .spawn()
        .unwrap()
}

fn states(folder: &Path) -> Vec<String> {
    let states = fs::read_to_string(folder.join("states")).unwrap_or_default();
    states.lines().map(str::to_owned).collect()
}

fn wait_for_states(folder: &Path, expected: &[&str]) {
    wait_for(&format!("the states {expected:?}"), LIMIT, || {
        (states(folder) == expected).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}; there were {:?}", states(folder)));
}

/// The times of the advertisements of the host with priority 200.
fn advertised(capture: &Capture) -> Vec<Instant> {
    let frames = capture.frames();
    let ours = frames.iter().filter(|frame| {
        let octets = &frame.bytes;
        octets.get(12..14) == Some(&[0x08, 0x00])
            && octets.get(23) == Some(&112)
            && octets.get(36) == Some(&200)
    });
    ours.map(|frame| frame.at).collect()
}

fn wait_for_advertisements(capture: &Capture, more: usize) {
    let before = advertised(capture).len();
    wait_for("advertisements", LIMIT, || {
        (advertised(capture).len() >= before + more).then_some(())
    })
    .unwrap();
}

fn a_process_goes_on_where_another_ends() {
    let lan = Lan::new().unwrap();
    let one = lan.host("one", &["192.0.2.1/24"]).unwrap();
    let two = lan.host("two", &["192.0.2.2/24"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));

    let mut active = start(&one, &first, 200);
    wait_for_states(&first, &["Backup", "Active"]);
    let mut backup = start(&two, &second, 100);
    wait_for_states(&second, &["Backup"]);
    let address = ADDRESS.parse().unwrap();
    let has = |host: &Host| host.addresses().unwrap().contains(&address);
    wait_for("the address", LIMIT, || has(&one).then_some(())).unwrap();
    let mut monitor = thread::scope(|scope| {
        let inside = || {
            one.namespace().enter().unwrap();
            Monitor::open().unwrap()
        };
        scope.spawn(inside).join().unwrap()
    });
    let capture = lan.capture().unwrap();
    wait_for_advertisements(&capture, 2);

    File::create(first.join("hand-over")).unwrap();
    assert!(active.wait().unwrap().success());
    let successor = wait_for("the successor", LIMIT, || {
        let id = fs::read_to_string(first.join("taken-over")).ok()?;
        id.parse::<u32>().ok()
    })
    .unwrap();
    assert_ne!(successor, active.id());
    wait_for_advertisements(&capture, 5);

    let times = advertised(&capture);
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap < 3 * INTERVAL, "{gap:?} without an advertisement");
    }
    monitor
        .receive(|event| {
            assert!(
                !matches!(event, MonitorEvent::AddressRemoved { .. }),
                "{event:?}"
            );
        })
        .unwrap();
    assert_eq!(states(&first), ["Backup", "Active"]);
    assert_eq!(states(&second), ["Backup"]);

    // The successor has everything, to the end.
    File::create(first.join("stop")).unwrap();
    wait_for_states(&first, &["Backup", "Active", "Initialize"]);
    wait_for_states(&second, &["Backup", "Active"]);
    wait_for("the end of the address", LIMIT, || {
        (!has(&one)).then_some(())
    })
    .unwrap();
    File::create(second.join("stop")).unwrap();
    assert!(backup.wait().unwrap().success());
}
