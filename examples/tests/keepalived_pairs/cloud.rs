//! The configuration and the script of docs/keepalived-cloud.md, with a server that stands in for a
//! provider's API.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use vrrp_lab::{Host, wait_for};

use crate::rig::{Kind, LIMIT, Rig};

const API: &str = "192.0.2.250";
const VIP: &str = "192.0.2.100/32";

/// The requests that the API has seen, and its answers.
#[derive(Debug, Default)]
struct Account {
    /// The owner of the address after each successful request.
    owners: Vec<String>,
    /// The number of requests that will fail.
    errors: usize,
    /// The number of requests that have failed.
    failed: usize,
}

/// A server that keeps the owner of one address.
struct Api {
    account: Arc<Mutex<Account>>,
    _host: Host,
}

impl Api {
    fn start(rig: &Rig) -> Self {
        let host = rig.host("api", &[&format!("{API}/24")]);
        let bind = || std::net::TcpListener::bind((API, 8080)).unwrap();
        let listener = host.namespace().run(bind);
        let account = Arc::<Mutex<Account>>::default();
        let shared = Arc::clone(&account);
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &shared);
            }
        });
        Self {
            account,
            _host: host,
        }
    }

    fn owners(&self) -> Vec<String> {
        self.account.lock().unwrap().owners.clone()
    }

    /// Waits until the address has moved along these hosts in this order, and nowhere else.
    fn wait_for_owners(&self, expected: &[&str]) {
        let is_there = || (self.owners().len() >= expected.len()).then_some(());
        wait_for("the owner", LIMIT, is_there)
            .unwrap_or_else(|error| panic!("{error} {expected:?}: {:?}", self.account));
        assert_eq!(self.owners(), expected);
    }
}

fn answer(stream: TcpStream, account: &Mutex<Account>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    let length = head
        .iter()
        .find_map(|it| it.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    assert_eq!(head[0], "put /addresses/192.0.2.100 http/1.1");
    let mut account = account.lock().unwrap();
    let status = if account.errors > 0 {
        account.errors -= 1;
        account.failed += 1;
        "503 Service Unavailable"
    } else {
        account.owners.push(String::from_utf8(body).unwrap());
        "204 No Content"
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    reader.get_mut().write_all(head.as_bytes()).unwrap();
}

/// The first two blocks of the page: configuration and script, with the addresses of the rig.
fn blocks() -> [String; 2] {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keepalived-cloud.md");
    let page = fs::read_to_string(page).unwrap();
    let mut blocks = page.split("\n```").skip(1).step_by(2);
    [(); 2].map(|()| {
        let (_, block) = blocks.next().unwrap().split_once('\n').unwrap();
        // The hosts of the rig are 192.0.2.1 and 192.0.2.2.
        let block = block
            .replace("10.0.1.10", "192.0.2.")
            .replace("10.0.1.", "192.0.2.");
        block.replace("192.0.2.0", "192.0.2.100") + "\n"
    })
}

#[test]
fn the_api_has_one_owner_of_the_address_after_each_change() {
    let [config, script] = blocks();
    let config = config
        .replace("/etc/keepalived/", "DIR/")
        .replace("advert_int 1", "advert_int 0.5");
    let [first, second] = ["192.0.2.1", "192.0.2.2"];
    let other = config
        .replace("priority 150 ", "priority 100 ")
        .replace("unicast_src_ip 192.0.2.1 ", "unicast_src_ip 192.0.2.2 ")
        .replace("\n        192.0.2.2 ", "\n        192.0.2.1 ");
    assert_ne!(config, other);
    let mut rig = Rig::new([Kind::Ours, Kind::Ours], [&config, &other]);
    for place in [0, 1] {
        let path = rig.node(place).path("take-address");
        fs::write(&path, &script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let api = Api::start(&rig);
    rig.start(0);
    api.wait_for_owners(&[first]);
    rig.start(1);
    rig.stop(0);
    api.wait_for_owners(&[first, second]);
    // It comes back, and the address stays where it is.
    rig.start(0);
    rig.wait_for_heartbeats(1, 4);
    api.wait_for_owners(&[first, second]);
    // A killed owner releases nothing.
    rig.nodes[1].kill();
    api.wait_for_owners(&[first, second, first]);
    rig.start(1);
    rig.wait_for_heartbeats(0, 4);
    api.wait_for_owners(&[first, second, first]);

    // The API fails twice, and the script continues.
    api.account.lock().unwrap().errors = 2;
    rig.stop(0);
    api.wait_for_owners(&[first, second, first, second]);
    assert_eq!(api.account.lock().unwrap().failed, 2);

    // When another host has become the owner in the meantime, the script makes no request.
    api.account.lock().unwrap().errors = usize::MAX;
    rig.start(0);
    rig.wait_for_heartbeats(1, 4);
    rig.nodes[1].kill();
    rig.wait_until("a failure", |_| api.account.lock().unwrap().failed > 2);
    rig.start(1);
    rig.wait_for_heartbeats(0, 2);
    rig.stop(0);
    rig.wait_for_address(VIP, 1);
    api.account.lock().unwrap().errors = 0;
    api.wait_for_owners(&[first, second, first, second, second]);

    // No packets pass between the hosts: both are masters, and the host that asks last is the
    // owner.
    rig.start(0);
    rig.wait_for_heartbeats(1, 4);
    rig.stop(1);
    let moves = [first, second, first, second, second, first, second];
    api.wait_for_owners(&moves[..6]);
    rig.start(1);
    rig.wait_for_heartbeats(0, 4);
    let peers = [(0, second), (1, first)];
    for (place, peer) in peers {
        let nowhere = "lladdr 02:00:00:00:00:99 dev eth0 nud permanent";
        rig.ip(place, &format!("neigh replace {peer} {nowhere}"));
    }
    api.wait_for_owners(&moves);
    // The host with the lower priority yields, and the other host moves the address again.
    for (place, peer) in peers {
        rig.ip(place, &format!("neigh del {peer} dev eth0"));
    }
    rig.wait_for_address(VIP, 0);
    rig.wait_until("the last owner", |_| api.owners().len() > moves.len());
    let owners = api.owners();
    assert!(
        owners[moves.len()..].iter().all(|it| it == first),
        "{owners:?}"
    );
}
