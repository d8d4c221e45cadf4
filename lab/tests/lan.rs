//! Namespaces and the networks made of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use vrrp_lab::{Error, Host, Lan, Namespace, wait_for};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// Whether a datagram from `from` reaches `to` within `patience`.
fn reaches(from: &Host, to: &Host, address: &str, patience: Duration) -> bool {
    let receiver = to
        .namespace()
        .run(|| UdpSocket::bind((address, 0)))
        .unwrap();
    receiver.set_read_timeout(Some(patience)).unwrap();
    let any = if address.contains(':') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let sender = from.namespace().run(|| UdpSocket::bind(any)).unwrap();
    sender
        .send_to(b"hello", receiver.local_addr().unwrap())
        .is_ok()
        && receiver.recv(&mut [0; 5]).is_ok()
}

#[test]
fn a_namespace_has_a_working_loopback_and_nothing_else() {
    let namespace = Namespace::new().unwrap();
    let listener = namespace
        .run(|| TcpListener::bind("127.0.0.1:4112"))
        .unwrap();
    // Only from inside: neither the host nor another namespace has anything on that port.
    let outside = Namespace::new().unwrap();
    let refused = outside
        .run(|| TcpStream::connect("127.0.0.1:4112"))
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    namespace
        .run(|| TcpStream::connect("127.0.0.1:4112"))
        .unwrap();
    listener.accept().unwrap();
    assert!(matches!(
        namespace.addresses("eth0"),
        Err(Error::NoInterface { .. })
    ));
}

#[test]
fn run_leaves_the_calling_thread_where_it_was() {
    let inode = |fd: &str| std::fs::read_link(fd).unwrap();
    let before = inode("/proc/thread-self/ns/net");
    let namespace = Namespace::new().unwrap();
    let inside = namespace.run(|| inode("/proc/thread-self/ns/net"));
    assert_ne!(inside, before);
    assert_eq!(inode("/proc/thread-self/ns/net"), before);

    let entered = thread::spawn({
        let namespace = namespace.clone();
        move || {
            namespace.enter().unwrap();
            inode("/proc/thread-self/ns/net")
        }
    });
    assert_eq!(entered.join().unwrap(), inside);
    assert!(namespace.as_fd().try_clone_to_owned().is_ok());
}

#[test]
#[should_panic(expected = "from inside")]
fn run_passes_a_panic_on() {
    Namespace::new().unwrap().run(|| panic!("from inside"));
}

#[test]
fn a_command_starts_inside_the_namespace() {
    let namespace = Namespace::new().unwrap();
    let inside = namespace
        .run(|| std::fs::read_link("/proc/thread-self/ns/net"))
        .unwrap();
    let output = namespace
        .command("readlink")
        .arg("/proc/self/ns/net")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim_end(),
        inside.to_str().unwrap()
    );
}

#[test]
fn sysctls_belong_to_their_namespace() {
    let (one, other) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    one.set_sysctl("ipv6.conf.all.forwarding", "1").unwrap();
    assert_eq!(one.sysctl("ipv6.conf.all.forwarding").unwrap(), "1");
    assert_eq!(other.sysctl("ipv6.conf.all.forwarding").unwrap(), "0");
    assert!(matches!(
        one.sysctl("ipv4.no_such_thing"),
        Err(Error::Os { .. })
    ));
}

#[test]
fn hosts_of_a_lan_reach_each_other_at_once() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24", "2001:db8::1/64"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24", "2001:db8::2/64"]).unwrap();
    assert!(reaches(&r1, &r2, "192.0.2.2", LONG));
    assert!(reaches(&r2, &r1, "192.0.2.1", LONG));
    assert!(reaches(&r1, &r2, "2001:db8::2", LONG));
}

#[test]
fn link_local_addresses_follow_the_order_of_attachment_and_are_usable_at_once() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &[]).unwrap();
    let r2 = lan.host("r2", &[]).unwrap();
    assert_eq!(r1.mac(), [2, 0, 0, 0, 0, 1]);
    assert_eq!(r2.mac(), [2, 0, 0, 0, 0, 2]);
    assert_eq!(
        r1.link_local(),
        "fe80::ff:fe00:1".parse::<Ipv6Addr>().unwrap()
    );
    assert!(r1.link_local() < r2.link_local());
    // Binding a tentative address fails.
    let bind = |host: &Host| {
        let address = SocketAddrV6::new(host.link_local(), 0, 0, host.index());
        host.namespace().run(|| UdpSocket::bind(address)).unwrap()
    };
    let (sender, receiver) = (bind(&r1), bind(&r2));
    let port = receiver.local_addr().unwrap().port();
    sender
        .send_to(
            b"hello",
            SocketAddrV6::new(r2.link_local(), port, 0, r1.index()),
        )
        .unwrap();
    receiver.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(receiver.recv(&mut [0; 5]).unwrap(), 5);
}

#[test]
fn lans_are_apart_unless_a_host_is_attached_to_both() {
    let (left, right) = (Lan::new().unwrap(), Lan::new().unwrap());
    let l1 = left.host("l1", &["192.0.2.1/24"]).unwrap();
    let l2 = left.host("l2", &["192.0.2.2/24"]).unwrap();
    let r1 = right.host("r1", &["192.0.2.129/24"]).unwrap();
    assert!(!reaches(&l1, &r1, "192.0.2.129", SHORT));
    let uplink = right.attach(&l2, "eth1", &["198.51.100.2/24"]).unwrap();
    r1.add_address("198.51.100.1/24").unwrap();
    assert_eq!(uplink.interface(), "eth1");
    assert_eq!(uplink.name(), "l2");
    assert!(reaches(&uplink, &r1, "198.51.100.1", LONG));
}

#[test]
fn unplugging_takes_the_carrier_and_mending_brings_it_back() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24", "2001:db8::1/64"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    assert!(r2.has_carrier().unwrap());
    r2.unplug().unwrap();
    assert!(!r2.has_carrier().unwrap());
    assert!(!reaches(&r1, &r2, "192.0.2.2", SHORT));
    r2.mend().unwrap();
    assert!(r2.has_carrier().unwrap());
    assert!(reaches(&r1, &r2, "192.0.2.2", LONG));
}

#[test]
fn a_partition_is_silent() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    r2.partition().unwrap();
    assert!(r2.has_carrier().unwrap());
    assert!(!reaches(&r1, &r2, "192.0.2.2", SHORT));
    assert!(!reaches(&r2, &r1, "192.0.2.1", SHORT));
    r2.mend().unwrap();
    assert!(reaches(&r1, &r2, "192.0.2.2", LONG));
}

#[test]
fn addresses_survive_a_shut_interface() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24", "2001:db8::1/64"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24", "2001:db8::2/64"]).unwrap();
    let before = r1.addresses().unwrap();
    assert_eq!(before.len(), 3, "{before:?}");
    r1.shut().unwrap();
    assert!(!r1.has_carrier().unwrap());
    r1.mend().unwrap();
    assert_eq!(r1.addresses().unwrap().len(), 3);
    assert!(reaches(&r2, &r1, "2001:db8::1", LONG));
}

#[test]
fn addresses_are_added_listed_and_removed() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let virtual_address = "192.0.2.254/32";
    r1.add_address(virtual_address).unwrap();
    assert!(
        r1.addresses()
            .unwrap()
            .contains(&virtual_address.parse().unwrap())
    );
    assert!(matches!(
        r1.add_address(virtual_address),
        Err(Error::Netlink { .. })
    ));
    r1.remove_address(virtual_address).unwrap();
    assert!(
        !r1.addresses()
            .unwrap()
            .contains(&virtual_address.parse().unwrap())
    );
    // Without duplicate address detection an IPv6 address can be bound at once.
    r1.add_address("2001:db8::254/128").unwrap();
    r1.namespace()
        .run(|| UdpSocket::bind("[2001:db8::254]:0"))
        .unwrap();
    let malformed = r1.add_address("192.0.2.300/24").unwrap_err().to_string();
    assert!(malformed.contains("192.0.2.300/24"), "{malformed}");
}

#[test]
fn a_namespace_ends_with_its_last_user() {
    // A veth pair dies with either of its namespaces: the port on the switch shows that the host is
    // gone.
    let lan = Lan::new().unwrap();
    let host = lan.host("r1", &[]).unwrap();
    assert!(lan.switch().addresses("r1").is_ok());
    drop(host);
    wait_for("the port of a dropped host going away", LONG, || {
        lan.switch().addresses("r1").is_err().then_some(())
    })
    .unwrap();
}

#[test]
fn a_macvlan_answers_on_the_lan() {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24"]).unwrap();
    let virtual_mac = [0, 0, 0x5e, 0, 1, 7];
    r1.add_macvlan("vrrp4-7", virtual_mac, &["192.0.2.254/32"])
        .unwrap();
    let prefix = "192.0.2.254/32".parse().unwrap();
    assert_eq!(r1.namespace().addresses("vrrp4-7").unwrap()[0], prefix);
    assert!(reaches(&r2, &r1, "192.0.2.254", LONG));
}
