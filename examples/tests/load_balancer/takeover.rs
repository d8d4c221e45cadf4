//! Two load balancers with connection sync. The Active is killed.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use vrrp_lab::{BackgroundProgram, GuestTest, Host, Lan, example, guest_tests, wait_for};

/// Longer than any step takes in a guest on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 1000;
const SERVICE: &str = "192.0.2.100:80";

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        no_connection_breaks_when_the_active_is_killed,
        with_direct_routing_none_breaks_and_no_more_than_with_keepalived,
    ]
    .map(|test| test.within(Duration::from_secs(900)))
    .to_vec()
}

pub(super) fn run(host: &Host, line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = host.namespace().command(words.next().unwrap());
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A server that sends back whatever it receives, until the guest ends.
pub(super) fn echo(host: &Host, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let listener = host.namespace().run(|| {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    thread::spawn(move || {
        block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
    });
}

/// How the load balancers forward.
#[derive(Clone, Copy)]
enum Forwarding {
    /// The servers are in a network of their own. Their gateway is an address that moves too.
    Masquerade,
    /// The servers are in the network of the clients, and answer with the address of the service.
    Direct,
}

/// The program of both load balancers.
#[derive(Clone, Copy)]
enum Program {
    Ours,
    Keepalived,
}

impl Forwarding {
    fn servers(self) -> [String; 3] {
        [1, 2, 3].map(|number| match self {
            Self::Masquerade => format!("10.0.0.{number}"),
            Self::Direct => format!("192.0.2.1{number}"),
        })
    }
}

/// The configuration of this project's program.
fn toml(forwarding: Forwarding, priority: u8) -> String {
    let (gateway, method) = match forwarding {
        Forwarding::Masquerade => (
            format!(
                "[[routers]]
                interface = \"srv\"
                vrid = 52
                priority = {priority}
                interval = \"200ms\"
                addresses = [\"10.0.0.254/24\"]"
            ),
            "masquerade",
        ),
        Forwarding::Direct => (String::new(), "direct route"),
    };
    let servers = forwarding
        .servers()
        .map(|server| format!("{{ address = \"{server}:80\" }}"))
        .join(", ");
    format!(
        r#"
        [[routers]]
        interface = "eth0"
        vrid = 51
        priority = {priority}
        interval = "200ms"
        addresses = ["192.0.2.100/24"]
        {gateway}
        [sync]
        interface = "eth0"
        id = 51
        [[services]]
        service = "tcp {SERVICE}"
        scheduler = "rr"
        forwarding = "{method}"
        checks = [{{ probe = "tcp" }}]
        servers = [{servers}]
        "#
    )
}

/// The same configuration for keepalived, with direct routing.
fn keepalived_conf(priority: u8) -> String {
    let servers = Forwarding::Direct
        .servers()
        .map(|server| {
            format!("real_server {server} 80 {{\n TCP_CHECK {{\n connect_timeout 3\n }}\n }}\n")
        })
        .concat();
    format!(
        "global_defs {{
            vrrp_version 3
            lvs_sync_daemon eth0 one id 51
        }}
        vrrp_instance one {{
            interface eth0
            virtual_router_id 51
            priority {priority}
            advert_int 0.2
            virtual_ipaddress {{
                192.0.2.100/24
            }}
        }}
        virtual_server 192.0.2.100 80 {{
            delay_loop 1
            lvs_sched rr
            lvs_method DR
            protocol TCP
            {servers}
        }}"
    )
}

/// A load balancer that runs.
struct Balancing {
    program: BackgroundProgram,
    /// The files with the ids of its processes.
    pids: Vec<PathBuf>,
}

impl Balancing {
    fn start(host: &Host, folder: &Path, program: Program, text: &str) -> Self {
        let path = |name: &str| folder.join(format!("{}.{name}", host.name()));
        let conf = path("conf");
        fs::write(&conf, text).unwrap();
        let mut command;
        let mut pids = Vec::new();
        match program {
            Program::Ours => {
                command = host.namespace().command(example("load_balancer").unwrap());
                command.arg(conf);
            }
            Program::Keepalived => {
                command = host.namespace().command("/usr/sbin/keepalived");
                command.args(["-n", "-l", "-G", "-D", "--dont-respawn", "-f"]);
                command.arg(conf);
                for (option, name) in [("-p", "pid"), ("-r", "vrrp"), ("-c", "checkers")] {
                    command.arg(option).arg(path(name));
                    pids.push(path(name));
                }
                // Its log would go to standard error, which is the console of the guest.
                command.stderr(fs::File::create(path("log")).unwrap());
            }
        }
        Self {
            program: BackgroundProgram::spawn(command),
            pids,
        }
    }

    /// Kills all its processes at once, so that they cannot resign.
    fn kill(self) {
        let pids = self.pids.iter().filter_map(|path| {
            let text = fs::read_to_string(path).ok()?;
            text.trim().parse().ok().map(Pid::from_raw)
        });
        for pid in pids {
            // A process may have ended together with another.
            let _ = kill(pid, Signal::SIGKILL);
        }
        self.program.kill();
    }
}

/// Waits until a host has an address.
#[track_caller]
fn wait_for_address(host: &Host, address: &str, balancing: &Balancing) {
    let list = || run(host, "ip -oneline address show");
    let has = || list().contains(&format!(" {address}/")).then_some(());
    let waited = wait_for("the address", LIMIT, has);
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", balancing.program.lines()));
}

/// Sends a word over each connection, and returns the number of answers.
pub(super) async fn speak(streams: &mut Vec<TcpStream>, word: &'static str) -> usize {
    let mut tasks = JoinSet::new();
    for mut stream in streams.drain(..) {
        tasks.spawn(async move {
            let exchange = async {
                stream.write_all(word.as_bytes()).await?;
                let mut answer = vec![0; word.len()];
                stream.read_exact(&mut answer).await?;
                std::io::Result::Ok(answer == word.as_bytes())
            };
            let answered = tokio::time::timeout(LIMIT, exchange).await;
            (stream, matches!(answered, Ok(Ok(true))))
        });
    }
    let mut answered = 0;
    while let Some(result) = tasks.join_next().await {
        let (stream, is_answered) = result.unwrap();
        streams.push(stream);
        answered += usize::from(is_answered);
    }
    answered
}

fn no_connection_breaks_when_the_active_is_killed() {
    assert_eq!(broken_by_a_kill(Forwarding::Masquerade, Program::Ours), 0);
}

fn with_direct_routing_none_breaks_and_no_more_than_with_keepalived() {
    let ours = broken_by_a_kill(Forwarding::Direct, Program::Ours);
    let theirs = broken_by_a_kill(Forwarding::Direct, Program::Keepalived);
    println!("of {CONNECTIONS} connections broke: {ours}, with keepalived {theirs}");
    assert_eq!(ours, 0);
    assert!(ours <= theirs, "{ours}, with keepalived {theirs}");
}

/// The connections of a host by their state.
fn states(host: &Host) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for line in run(host, "cat /proc/net/ip_vs_conn").lines().skip(1) {
        let state = line.split_whitespace().nth(7).unwrap_or_default();
        *states.entry(state.to_owned()).or_default() += 1;
    }
    states
}

fn established(host: &Host) -> usize {
    states(host).get("ESTABLISHED").copied().unwrap_or_default()
}

/// Raises the limit of open files: both ends of each connection are in this process.
pub(super) fn raise_file_limit() {
    let limit = rustix::process::Rlimit {
        current: Some(8192),
        maximum: Some(8192),
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

/// A real server with this address, in the network that its forwarding needs.
fn server(forwarding: Forwarding, outside: &Lan, inside: &Lan, address: &str) -> Host {
    let lan = match forwarding {
        Forwarding::Masquerade => inside,
        Forwarding::Direct => outside,
    };
    let name = format!("rs{}", address.replace('.', "-"));
    let host = lan.host(&name, &[&format!("{address}/24")]).unwrap();
    match forwarding {
        Forwarding::Masquerade => drop(run(&host, "ip route add default via 10.0.0.254")),
        Forwarding::Direct => {
            // The server has the address of the service, and answers no ARP request for it.
            for (name, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
                let name = format!("ipv4.conf.all.{name}");
                host.namespace().set_sysctl(&name, value).unwrap();
            }
            run(&host, "ip address add 192.0.2.100/32 dev lo");
        }
    }
    echo(&host, "0.0.0.0:80");
    host
}

/// Runs two load balancers with connection sync, and kills the Active while a client has
/// [`CONNECTIONS`] open. Returns the number of broken connections.
fn broken_by_a_kill(forwarding: Forwarding, program: Program) -> usize {
    raise_file_limit();
    let (outside, inside) = (Lan::new().unwrap(), Lan::new().unwrap());
    let client = outside.host("client", &["192.0.2.9/24"]).unwrap();
    let hosts = [1, 2].map(|number: u8| {
        let host = outside
            .host(&format!("lb{number}"), &[&format!("192.0.2.{number}/24")])
            .unwrap();
        inside
            .attach(&host, "srv", &[&format!("10.0.0.10{number}/24")])
            .unwrap();
        host.namespace().set_sysctl("ipv4.ip_forward", "1").unwrap();
        // The state of a connection is sent to the standby with its third packet, and with every
        // third packet after that.
        host.namespace()
            .set_sysctl("ipv4.vs.sync_threshold", "2\t3")
            .unwrap();
        host
    });
    let servers = forwarding
        .servers()
        .map(|address| server(forwarding, &outside, &inside, &address));
    let folder = tempfile::tempdir().unwrap();
    let start = |host: &Host, priority| {
        let text = match program {
            Program::Ours => toml(forwarding, priority),
            Program::Keepalived => keepalived_conf(priority),
        };
        Balancing::start(host, folder.path(), program, &text)
    };
    let active = start(&hosts[0], 200);
    wait_for_address(&hosts[0], "192.0.2.100", &active);
    if let Forwarding::Masquerade = forwarding {
        wait_for_address(&hosts[0], "10.0.0.254", &active);
    }
    let standby = start(&hosts[1], 100);

    let broken = client.namespace().run(|| {
        block_on(async {
            let target: SocketAddr = SERVICE.parse().unwrap();
            let end = Instant::now() + LIMIT;
            while TcpStream::connect(target).await.is_err() {
                assert!(Instant::now() < end, "{:#?}", active.program.lines());
            }
            let mut streams = Vec::new();
            for _ in 0..CONNECTIONS {
                let connecting = tokio::time::timeout(LIMIT, TcpStream::connect(target));
                streams.push(connecting.await.unwrap().unwrap());
            }
            for word in ["one", "two", "three"] {
                assert_eq!(speak(&mut streams, word).await, CONNECTIONS, "{word}");
            }
            // A message of the sync daemon may be lost; more packets of the connection repeat it.
            let end = Instant::now() + LIMIT * 2;
            while established(&hosts[1]) < CONNECTIONS {
                if Instant::now() > end {
                    match program {
                        Program::Ours => {
                            let states = hosts.each_ref().map(states);
                            panic!(
                                "not synchronized: {states:?} {:#?}",
                                standby.program.lines()
                            );
                        }
                        // Connections that keepalived has not synchronized count as broken.
                        Program::Keepalived => break,
                    }
                }
                assert_eq!(speak(&mut streams, "more").await, CONNECTIONS);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }

            active.kill();
            let killed = Instant::now();
            let answered = speak(&mut streams, "after").await;
            if let Program::Ours = program {
                assert!(killed.elapsed() < LIMIT);
                // New connections are served too.
                let connecting = tokio::time::timeout(LIMIT, TcpStream::connect(target));
                let connected = connecting.await.unwrap();
                let lines = standby.program.lines();
                let stream = connected.unwrap_or_else(|error| panic!("{error}: {lines:#?}"));
                assert_eq!(speak(&mut vec![stream], "new").await, 1);
            }
            CONNECTIONS - answered
        })
    });
    wait_for_address(&hosts[1], "192.0.2.100", &standby);
    standby.kill();
    drop(servers);
    broken
}
