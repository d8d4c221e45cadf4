//! Two load balancers with connection sync, of which the Active is killed.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use vrrp_lab::{BackgroundProgram, GuestTest, Host, Lan, example, guest_tests, wait_for};

/// Longer than anything takes in a guest on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 1000;
const SERVICE: &str = "192.0.2.100:80";

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![no_connection_breaks_when_the_active_is_killed]
        .map(|test| test.within(Duration::from_secs(600)))
        .to_vec()
}

fn run(host: &Host, line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = host.namespace().command(words.next().unwrap());
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A server that sends back what it gets, until the guest ends.
fn echo(host: &Host, address: &str) {
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

/// Starts a load balancer on a host.
fn balance(host: &Host, folder: &Path, priority: u8) -> BackgroundProgram {
    let path = folder.join(format!("{priority}.toml"));
    let text = format!(
        r#"
        [[routers]]
        interface = "eth0"
        vrid = 51
        priority = {priority}
        interval = "200ms"
        addresses = ["192.0.2.100/24"]
        [[routers]]
        interface = "srv"
        vrid = 52
        priority = {priority}
        interval = "200ms"
        addresses = ["10.0.0.254/24"]
        [sync]
        interface = "eth0"
        id = 51
        [[services]]
        service = "tcp {SERVICE}"
        scheduler = "rr"
        checks = [{{ probe = "tcp" }}]
        servers = [
            {{ address = "10.0.0.1:80" }}, {{ address = "10.0.0.2:80" }}, {{ address = "10.0.0.3:80" }},
        ]
        "#
    );
    fs::write(&path, text).unwrap();
    let mut command = host.namespace().command(example("load_balancer").unwrap());
    command.arg(path);
    BackgroundProgram::spawn(command)
}

/// Waits until a host has an address.
#[track_caller]
fn wait_for_address(host: &Host, address: &str, program: &BackgroundProgram) {
    let list = || run(host, "ip -oneline address show");
    let has = || list().contains(&format!(" {address}/")).then_some(());
    let waited = wait_for("the address", LIMIT, has);
    waited.unwrap_or_else(|error| panic!("{error}: {:#?}", program.lines()));
}

/// Sends a word over each connection, and returns how many answers came.
async fn speak(streams: &mut Vec<TcpStream>, word: &'static str) -> usize {
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
    // Both ends of each connection are in this process.
    let limit = rustix::process::Rlimit {
        current: Some(8192),
        maximum: Some(8192),
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
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
        host
    });
    let servers = [1, 2, 3].map(|number: u8| {
        let address = format!("10.0.0.{number}");
        let host = inside
            .host(&format!("rs{number}"), &[&format!("{address}/24")])
            .unwrap();
        run(&host, "ip route add default via 10.0.0.254");
        echo(&host, &format!("{address}:80"));
        host
    });
    let folder = tempfile::tempdir().unwrap();
    let active = balance(&hosts[0], folder.path(), 200);
    wait_for_address(&hosts[0], "192.0.2.100", &active);
    wait_for_address(&hosts[0], "10.0.0.254", &active);
    let standby = balance(&hosts[1], folder.path(), 100);

    client.namespace().run(|| {
        block_on(async {
            let target: SocketAddr = SERVICE.parse().unwrap();
            let end = Instant::now() + LIMIT;
            while TcpStream::connect(target).await.is_err() {
                assert!(Instant::now() < end, "{:#?}", active.lines());
            }
            let mut streams = Vec::new();
            for _ in 0..CONNECTIONS {
                let connecting = tokio::time::timeout(LIMIT, TcpStream::connect(target));
                streams.push(connecting.await.unwrap().unwrap());
            }
            // A connection is sent to the standby with its third packet.
            for word in ["one", "two", "three"] {
                assert_eq!(speak(&mut streams, word).await, CONNECTIONS, "{word}");
            }
            let synced = || {
                let list = run(&hosts[1], "cat /proc/net/ip_vs_conn");
                let lines = list.lines().filter(|line| line.contains("ESTABLISHED"));
                (lines.count() >= CONNECTIONS).then_some(())
            };
            let waited = wait_for("the connections of the standby", LIMIT, synced);
            waited.unwrap_or_else(|error| panic!("{error}: {:#?}", standby.lines()));

            active.kill();
            let killed = Instant::now();
            let answered = speak(&mut streams, "after").await;
            assert_eq!(answered, CONNECTIONS, "{:#?}", standby.lines());
            assert!(killed.elapsed() < LIMIT);
            // New connections are served as well.
            let connecting = tokio::time::timeout(LIMIT, TcpStream::connect(target));
            let mut streams = vec![connecting.await.unwrap().unwrap()];
            assert_eq!(speak(&mut streams, "new").await, 1);
        });
    });
    wait_for_address(&hosts[1], "192.0.2.100", &standby);
    drop(servers);
}
