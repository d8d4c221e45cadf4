//! Three equal load balancers, over which a router with BGP spreads connections.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use tokio::net::TcpStream;
use vrrp_lab::{BackgroundProgram, Frr, GuestTest, Host, Lan, example, guest_tests, wait_for};

use super::takeover::{block_on, echo, raise_file_limit, run, speak};

/// Longer than any step takes in a guest on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
const CONNECTIONS: usize = 1000;
const SERVICE: &str = "198.51.100.1:80";

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![no_connection_breaks_when_one_of_three_equal_load_balancers_dies]
        .map(|test| test.within(Duration::from_secs(600)))
        .to_vec()
}

/// The configuration of bgpd(8) on the router.
const ROUTER: &str = "
router bgp 65000
 bgp router-id 10.1.0.254
 no bgp ebgp-requires-policy
 timers bgp 1 3
 neighbor 10.1.0.1 remote-as 65001
 neighbor 10.1.0.2 remote-as 65001
 neighbor 10.1.0.3 remote-as 65001
 neighbor 10.1.0.1 timers connect 1
 neighbor 10.1.0.2 timers connect 1
 neighbor 10.1.0.3 timers connect 1
 address-family ipv4 unicast
  maximum-paths 3
 exit-address-family
";

/// The configuration of a load balancer, which announces the addresses of services that its
/// interfaces have.
const DIRECTOR: &str = "
router bgp 65001
 bgp router-id {address}
 no bgp ebgp-requires-policy
 timers bgp 1 3
 neighbor 10.1.0.254 remote-as 65000
 neighbor 10.1.0.254 timers connect 1
 address-family ipv4 unicast
  redistribute connected route-map services
 exit-address-family
ip prefix-list services seq 5 permit 198.51.100.0/24 le 32
route-map services permit 10
 match ip address prefix-list services
";

const BALANCER: &str = r#"
[[announce]]
service = "tcp 198.51.100.1:80"
interface = "services"
address = "198.51.100.1/32"

[[services]]
service = "tcp 198.51.100.1:80"
scheduler = "mh"
scheduler_flags = ["mh-port"]
forwarding = "direct route"
checks = [{ probe = "tcp", interval = "1s", fast_interval = "200ms", time_limit = "1s", fall = 2 }]
servers = [
    { address = "10.1.0.11:80" }, { address = "10.1.0.12:80" }, { address = "10.1.0.13:80" },
]
"#;

/// A load balancer and its routing daemon.
struct Director {
    host: Host,
    program: BackgroundProgram,
    bgp: Frr,
}

impl Director {
    fn start(lan: &Lan, number: usize, folder: &Path) -> Self {
        let address = format!("10.1.0.{number}");
        let host = lan
            .host(&format!("lb{number}"), &[&format!("{address}/24")])
            .unwrap();
        run(&host, "ip link add services type dummy");
        run(&host, "ip link set services up");
        // This loads IPVS, which adds its sysctls.
        run(&host, "ipvsadm -Ln");
        host.namespace()
            .set_sysctl("ipv4.vs.sloppy_tcp", "1")
            .unwrap();
        let path = folder.join("equal.toml");
        fs::write(&path, BALANCER).unwrap();
        let mut command = host.namespace().command(example("load_balancer").unwrap());
        command.arg(path);
        Self {
            program: BackgroundProgram::spawn(command),
            bgp: Frr::start_bgp(host.namespace(), &DIRECTOR.replace("{address}", &address))
                .unwrap(),
            host,
        }
    }

    fn connections(&self) -> usize {
        let list = run(&self.host, "cat /proc/net/ip_vs_conn");
        list.lines()
            .filter(|line| line.contains("ESTABLISHED"))
            .count()
    }
}

/// Waits until the router sends connections to these load balancers only.
#[track_caller]
fn wait_for_paths(router: &Host, bgp: &Frr, directors: &[Director], expected: &[usize]) {
    let list = || run(router, "ip route show 198.51.100.1");
    let waited = wait_for("the paths", LIMIT, || {
        let list = list();
        let has = |number: &usize| list.contains(&format!("via 10.1.0.{number} "));
        let found = (1..=3).filter(has);
        found.eq(expected.iter().copied()).then_some(())
    });
    waited.unwrap_or_else(|error| {
        let logs = directors
            .iter()
            .map(|it| (it.program.lines(), it.bgp.log()));
        let logs: Vec<_> = logs.collect();
        panic!(
            "{error}: {expected:?}\n{}\n{}\n{logs:#?}",
            list(),
            bgp.log()
        )
    });
}

fn no_connection_breaks_when_one_of_three_equal_load_balancers_dies() {
    raise_file_limit();
    let (outside, inside) = (Lan::new().unwrap(), Lan::new().unwrap());
    let client = outside.host("client", &["192.0.2.9/24"]).unwrap();
    run(&client, "ip route add default via 192.0.2.254");
    let router = outside.host("router", &["192.0.2.254/24"]).unwrap();
    inside
        .attach(&router, "inside", &["10.1.0.254/24"])
        .unwrap();
    for (name, value) in [("ip_forward", "1"), ("fib_multipath_hash_policy", "1")] {
        router
            .namespace()
            .set_sysctl(&format!("ipv4.{name}"), value)
            .unwrap();
    }
    let servers = [11, 12, 13].map(|number| {
        let host = inside
            .host(&format!("s{number}"), &[&format!("10.1.0.{number}/24")])
            .unwrap();
        run(&host, "ip address add 198.51.100.1/32 dev lo");
        run(&host, "ip route add default via 10.1.0.254");
        echo(&host, "0.0.0.0:80");
        host
    });
    let folder = tempfile::tempdir().unwrap();
    let bgp = Frr::start_bgp(router.namespace(), ROUTER).unwrap();
    let mut directors: Vec<_> = (1..=3)
        .map(|number| Director::start(&inside, number, folder.path()))
        .collect();
    wait_for_paths(&router, &bgp, &directors, &[1, 2, 3]);

    client.namespace().run(|| {
        block_on(async {
            let target: SocketAddr = SERVICE.parse().unwrap();
            let mut streams = Vec::new();
            for _ in 0..CONNECTIONS {
                let connecting = tokio::time::timeout(LIMIT, TcpStream::connect(target));
                streams.push(connecting.await.unwrap().unwrap());
            }
            assert_eq!(speak(&mut streams, "before").await, CONNECTIONS);
            // Each load balancer has a share.
            let shares: Vec<_> = directors.iter().map(Director::connections).collect();
            assert!(shares.iter().all(|share| *share > CONNECTIONS / 10), "{shares:?}");

            let dead = directors.remove(0);
            dead.host.unplug().unwrap();
            dead.program.kill();
            assert_eq!(speak(&mut streams, "after").await, CONNECTIONS);
            wait_for_paths(&router, &bgp, &directors, &[2, 3]);
            let live: usize = directors.iter().map(Director::connections).sum();
            assert!(live >= CONNECTIONS, "{live}");

            // Another load balancer no longer reaches the servers, and loses its quorum.
            let cut = &directors[0].host;
            for number in 11..=13 {
                run(
                    cut,
                    &format!(
                        "ip neighbor replace 10.1.0.{number} lladdr 02:00:00:00:ff:ff nud permanent dev eth0"
                    ),
                );
            }
            wait_for_paths(&router, &bgp, &directors, &[3]);
            assert_eq!(speak(&mut streams, "at the end").await, CONNECTIONS);
            // New connections are served too.
            let connecting = tokio::time::timeout(LIMIT, TcpStream::connect(target));
            let mut streams = vec![connecting.await.unwrap().unwrap()];
            assert_eq!(speak(&mut streams, "new").await, 1);
        });
    });
    drop((servers, folder));
}
