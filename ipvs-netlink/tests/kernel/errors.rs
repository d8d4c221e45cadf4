//! Every error of the kernel, and the client's text for it.

use std::{
    env, fs,
    net::Ipv6Addr,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{Command, ExitCode},
};

use crate::{DAEMON_TIME, with};
use ipvs_netlink::{
    Client, DaemonState, Destination, DestinationKey, Errno, Error, Family, ForwardingMethod,
    InterfaceName, PersistenceEngine, Reason, Refusal, Scheduler, Service, ServiceKey, SyncDaemon,
    Timeouts, Tunnel,
    message::{Change, FAMILY_VERSION, Query, Request},
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use vrrp_lab::{GuestTest, guest_tests};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        errors_of_services_have_their_meaning,
        errors_of_destinations_have_their_meaning,
        errors_of_sync_daemons_have_their_meaning,
        errors_of_timeouts_and_counters_have_their_meaning,
        messages_that_the_types_cannot_say_are_refused_as_the_errors_assume,
        a_scheduler_that_is_missing_is_named_with_its_module,
        without_the_privilege_the_error_says_which,
    ]
    .to_vec()
}

const EINVAL: Errno = Errno(22);

fn web() -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, 1], 80))
}

fn service() -> Service {
    Service::new(web(), Scheduler::RR)
}

fn server() -> Destination {
    Destination::new(
        DestinationKey::new(([10, 0, 0, 1], 80)),
        ForwardingMethod::Masquerade,
    )
}

fn at(address: impl Into<std::net::IpAddr>) -> Destination {
    let key = DestinationKey {
        address: address.into(),
        port: 80,
    };
    Destination { key, ..server() }
}

#[track_caller]
fn refused(result: Result<(), Error>, reason: Reason, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.reason(), Some(reason), "{error}");
    assert_eq!(error.to_string(), text);
}

fn errors_of_services_have_their_meaning() {
    let mut client = Client::open().unwrap();
    for change in [
        Change::UpdateService(service()),
        Change::DeleteService(web()),
        Change::ZeroService(web()),
    ] {
        refused(
            client.change(change),
            Reason::NoSuchService,
            &format!("{change}: no such service tcp 192.0.2.1:80"),
        );
    }
    let error = client.service(web()).unwrap_err();
    assert!(error.is_missing() && !error.already_exists());
    assert_eq!(error.errno(), Some(Errno(3)));
    client.add_service(service()).unwrap();
    let error = client.add_service(service()).unwrap_err();
    assert!(error.already_exists() && !error.is_missing());
    assert_eq!(
        error.to_string(),
        "add service tcp 192.0.2.1:80 scheduler rr: service exists"
    );

    let engine = PersistenceEngine::new("nosuch").unwrap();
    let with_engine = with(service(), |service| {
        service.persistence_engine = Some(engine);
    });
    let text = "update service tcp 192.0.2.1:80 scheduler rr engine nosuch: scheduler 'rr' or persistence \
                engine 'nosuch' is not available: module ip_vs_rr or ip_vs_pe_nosuch not loaded";
    refused(
        client.change(Change::UpdateService(with_engine)),
        Reason::SchedulerOrEngineUnavailable,
        text,
    );
}

fn a_scheduler_that_is_missing_is_named_with_its_module() {
    let mut client = Client::open().unwrap();
    let nope = Service::new(web(), Scheduler::new("nope").unwrap());
    let meaning = "scheduler 'nope' is not available: module ip_vs_nope not loaded";
    refused(
        client.add_service(nope),
        Reason::SchedulerUnavailable,
        &format!("add service tcp 192.0.2.1:80 scheduler nope: {meaning}"),
    );
    client.add_service(service()).unwrap();
    refused(
        client.change(Change::UpdateService(nope)),
        Reason::SchedulerUnavailable,
        &format!("update service tcp 192.0.2.1:80 scheduler nope: {meaning}"),
    );
    // Nothing was changed.
    assert_eq!(client.service(web()).unwrap().service, service());
}

fn errors_of_destinations_have_their_meaning() {
    let mut client = Client::open().unwrap();
    let key = server().key;
    let add = |destination| Change::AddDestination {
        service: web(),
        destination,
    };
    let update = |destination| Change::UpdateDestination {
        service: web(),
        destination,
    };
    let delete = Change::DeleteDestination {
        service: web(),
        destination: key,
    };
    for change in [add(server()), update(server()), delete] {
        refused(
            client.change(change),
            Reason::NoSuchService,
            &format!("{change}: no such service tcp 192.0.2.1:80"),
        );
    }
    // The kernel lists no destinations of a missing service; the client reports it as missing.
    assert!(client.destinations(web()).unwrap_err().is_missing());

    client.add_service(service()).unwrap();
    for change in [update(server()), delete] {
        let result = client.change(change);
        assert!(result.as_ref().unwrap_err().is_missing());
        refused(
            result,
            Reason::NoSuchDestination,
            &format!("{change}: no such destination"),
        );
    }
    let error = client.update_destination(web(), key, |_| {}).unwrap_err();
    assert!(error.is_missing());
    assert_eq!(
        error.to_string(),
        "no such destination 10.0.0.1:80 of tcp 192.0.2.1:80"
    );

    client.add_destination(web(), server()).unwrap();
    let result = client.change(add(server()));
    assert!(result.as_ref().unwrap_err().already_exists());
    refused(
        result,
        Reason::DestinationExists,
        "add destination 10.0.0.1:80 masquerade weight 1 to tcp 192.0.2.1:80: destination exists",
    );

    let addresses: [std::net::IpAddr; 3] = [
        [0, 0, 0, 0].into(),
        [255, 255, 255, 255].into(),
        [224, 0, 0, 1].into(),
    ];
    for address in addresses {
        let error = client.add_destination(web(), at(address)).unwrap_err();
        assert_eq!(
            (error.reason(), error.errno()),
            (Some(Reason::Invalid), Some(EINVAL)),
            "{address}"
        );
        assert!(
            error
                .to_string()
                .contains("a destination has a unicast address"),
            "{error}"
        );
    }
    let six = Service::new(ServiceKey::tcp((Ipv6Addr::LOCALHOST, 80)), Scheduler::RR);
    client.add_service(six).unwrap();
    for address in ["::", "fe80::1", "ff02::1"] {
        let address = address.parse::<Ipv6Addr>().unwrap();
        let error = client.add_destination(six.key, at(address)).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Invalid), "{address}");
    }
    let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap();
    for service in [web(), six.key] {
        let error = client.add_destination(service, at(mapped)).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Invalid));
        let text = error.to_string();
        assert!(text.ends_with("write 10.0.0.1"), "{text}");
    }
    // The other family is reached by tunnels only.
    let error = client
        .add_destination(six.key, at([10, 0, 0, 9]))
        .unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Invalid));
    let tunnel = Destination {
        forwarding: ForwardingMethod::Tunnel(Tunnel::IpIp),
        ..at([10, 0, 0, 9])
    };
    client.add_destination(six.key, tunnel).unwrap();
}

fn errors_of_sync_daemons_have_their_meaning() {
    let mut client = Client::open().unwrap();
    client.set_timeout(DAEMON_TIME).unwrap();
    let lo = InterfaceName::new("lo").unwrap();
    let daemon = SyncDaemon::new(DaemonState::Master, lo, 1);
    refused(
        client.stop_daemon(DaemonState::Master),
        Reason::NoSuchDaemon,
        "stop master sync daemon: no such sync daemon runs",
    );
    let nowhere = SyncDaemon {
        interface: InterfaceName::new("nosuch0").unwrap(),
        ..daemon
    };
    refused(
        client.start_daemon(nowhere),
        Reason::NoSuchInterface,
        "start master sync daemon on nosuch0: no such network interface",
    );
    client.start_daemon(daemon).unwrap();
    refused(
        client.start_daemon(daemon),
        Reason::DaemonRuns,
        "start master sync daemon on lo: such a sync daemon runs already",
    );
    client.add_service(service()).unwrap();
    // With a daemon running no destination may be of the other family.
    let mixed = Destination {
        forwarding: ForwardingMethod::Tunnel(Tunnel::IpIp),
        ..at("fd00::1".parse::<Ipv6Addr>().unwrap())
    };
    assert_eq!(
        client.add_destination(web(), mixed).unwrap_err().reason(),
        Some(Reason::Invalid)
    );
    client.stop_daemon(DaemonState::Master).unwrap();
    // And the other way round.
    client.add_destination(web(), mixed).unwrap();
    let error = client.start_daemon(daemon).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Invalid));
    assert!(
        error
            .to_string()
            .contains("no destination may be of the other family"),
        "{error}"
    );
}

fn errors_of_timeouts_and_counters_have_their_meaning() {
    let mut client = Client::open().unwrap();
    let before = client.timeouts().unwrap();
    let error = client
        .set_timeouts(Timeouts {
            tcp: u32::MAX,
            tcp_fin: 1,
            udp: 1,
        })
        .unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Invalid));
    assert!(
        error
            .to_string()
            .ends_with("a timeout is longer than the kernel can count")
    );
    assert_eq!(client.timeouts().unwrap(), before);
    assert!(client.zero(Some(web())).unwrap_err().is_missing());
    client.zero(None).unwrap();
    client.flush().unwrap();
}

/// Sends octets that the types of the crate cannot produce, and returns the kernel's error number,
/// 0 for none.
fn raw(client: &Client, command: u8, flags: u16, attributes: &[u8]) -> Errno {
    let family = family_of(client);
    let mut message = Vec::new();
    message.extend(u32::try_from(20 + attributes.len()).unwrap().to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend((flags | 0x1).to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend([command, FAMILY_VERSION, 0, 0]);
    message.extend(attributes);
    answer(&message)
}

fn answer(message: &[u8]) -> Errno {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkGeneric,
    )
    .unwrap();
    send(socket.as_raw_fd(), message, MsgFlags::empty()).unwrap();
    let mut room = vec![0; 32_768];
    let length = recv(socket.as_raw_fd(), &mut room, MsgFlags::empty()).unwrap();
    assert!(length >= 20);
    assert_eq!(
        u16::from_ne_bytes([room[4], room[5]]),
        2,
        "not an error message"
    );
    Errno(-i32::from_ne_bytes(room[16..20].try_into().unwrap()))
}

/// The number of the family, from the kernel's controller.
fn family_of(_client: &Client) -> u16 {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkGeneric,
    )
    .unwrap();
    let mut message = [
        32_u32.to_ne_bytes(),
        [16, 0, 1, 0],
        1_u32.to_ne_bytes(),
        [0; 4],
    ]
    .concat();
    message.extend([3, 1, 0, 0]);
    message.extend([9, 0, 2, 0]);
    message.extend(b"IPVS\0\0\0\0");
    let length = u32::try_from(message.len()).unwrap();
    message[..4].copy_from_slice(&length.to_ne_bytes());
    send(socket.as_raw_fd(), &message, MsgFlags::empty()).unwrap();
    let mut room = vec![0; 32_768];
    let length = recv(socket.as_raw_fd(), &mut room, MsgFlags::empty()).unwrap();
    let mut attributes = &room[20..length];
    while attributes.len() >= 4 {
        let size = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        if attributes[2] == 1 {
            return u16::from_ne_bytes([attributes[4], attributes[5]]);
        }
        attributes = &attributes[size.next_multiple_of(4)..];
    }
    panic!("the family has no number");
}

fn encoded(request: impl Into<Request>) -> (u8, Vec<u8>) {
    let request = request.into();
    let mut octets = vec![0; request.encoded_len()];
    request.encode(&mut octets);
    (request.command() as u8, octets)
}

/// The octets with one attribute of a nest replaced by another of the same length.
fn patched((command, mut octets): (u8, Vec<u8>), attribute: u16, value: &[u8]) -> (u8, Vec<u8>) {
    let header = [
        u16::try_from(4 + value.len()).unwrap().to_ne_bytes(),
        attribute.to_ne_bytes(),
    ]
    .concat();
    let place = octets
        .windows(4)
        .rposition(|window| window == header)
        .expect("the attribute is there");
    octets[place + 4..place + 4 + value.len()].copy_from_slice(value);
    (command, octets)
}

fn messages_that_the_types_cannot_say_are_refused_as_the_errors_assume() {
    const ACK: u16 = 0x4;
    const DUMP: u16 = 0x300;
    let mut client = Client::open().unwrap();
    let reason = |request: Request, errno| Refusal { request, errno }.reason();
    let add_service = Request::from(Change::AddService(service()));
    let say = |(command, octets): (u8, Vec<u8>)| (command, octets);

    // An address family that is not one, an empty message, a prefix of 0 bits.
    let (command, octets) = patched(encoded(add_service), 1, &7_u16.to_ne_bytes());
    let errno = raw(&client, command, ACK, &octets);
    assert_eq!(reason(add_service, errno), Reason::FamilyUnsupported);
    assert_eq!(raw(&client, 1, ACK, &[]), EINVAL);
    let six = Service::new(ServiceKey::tcp((Ipv6Addr::LOCALHOST, 80)), Scheduler::RR);
    for bits in [0_u32, 129] {
        let (command, octets) = patched(encoded(Change::AddService(six)), 9, &bits.to_ne_bytes());
        assert_eq!(raw(&client, command, ACK, &octets), EINVAL, "{bits}");
    }
    // A name without its NUL: the last octet of the attribute is taken away by its length.
    let (command, mut octets) = say(encoded(add_service));
    let place = octets
        .windows(7)
        .position(|window| window == [7, 0, 6, 0, b'r', b'r', 0])
        .unwrap();
    octets[place] = 6;
    assert_eq!(raw(&client, command, ACK, &octets), EINVAL);

    client.add_service(service()).unwrap();
    let destination = Destination {
        thresholds: ipvs_netlink::Thresholds::new(2, 1).unwrap(),
        ..server()
    };
    let add = Request::from(Change::AddDestination {
        service: web(),
        destination,
    });
    // A weight that is too wide, a lower threshold above the upper one.
    for (attribute, value) in [(4, 0x8000_0000_u32), (6, 3)] {
        let (command, octets) = patched(encoded(add), attribute, &value.to_ne_bytes());
        let errno = raw(&client, command, ACK, &octets);
        assert_eq!(
            reason(add, errno),
            Reason::OutOfRange,
            "attribute {attribute}"
        );
    }
    // A GUE tunnel without a port.
    let gue = Tunnel::Gue {
        port: 6080.try_into().unwrap(),
        checksum: ipvs_netlink::GueChecksum::None,
    };
    let tunnel = Destination {
        forwarding: ForwardingMethod::Tunnel(gue),
        ..server()
    };
    let add = Change::AddDestination {
        service: web(),
        destination: tunnel,
    };
    let (command, octets) = patched(encoded(add), 14, &[0, 0]);
    assert_eq!(raw(&client, command, ACK, &octets), EINVAL);

    // Commands in a mode that they do not have, the one that is a reply only, and one that does not
    // exist.
    let (command, octets) = encoded(Query::Destinations(web()));
    let errno = raw(&client, command, ACK, &octets);
    assert_eq!(
        reason(Query::Destinations(web()).into(), errno),
        Reason::Unsupported
    );
    for (command, flags) in [(14, ACK), (17, DUMP), (18, ACK), (11, ACK)] {
        assert_eq!(
            raw(&client, command, flags, &[]),
            Errno(95),
            "command {command}"
        );
    }
    // A sync daemon that is neither master nor backup, and one without an interface.
    let daemon = SyncDaemon::new(DaemonState::Master, InterfaceName::new("lo").unwrap(), 1);
    let (command, octets) = patched(
        encoded(Change::StartDaemon(daemon)),
        1,
        &3_u32.to_ne_bytes(),
    );
    assert_eq!(raw(&client, command, ACK, &octets), EINVAL);
    let (_, octets) = encoded(Change::StopDaemon(DaemonState::Master));
    assert_eq!(raw(&client, 9, ACK, &octets), EINVAL);
    // The deletion of a destination of the other family that does not name the family.
    let six = Destination {
        forwarding: ForwardingMethod::Tunnel(Tunnel::IpIp),
        ..at("fd00::1".parse::<Ipv6Addr>().unwrap())
    };
    client.add_destination(web(), six).unwrap();
    let delete = Change::DeleteDestination {
        service: web(),
        destination: six.key,
    };
    let (command, octets) = patched(encoded(delete), 11, &2_u16.to_ne_bytes());
    let errno = raw(&client, command, ACK, &octets);
    assert_eq!(reason(delete.into(), errno), Reason::NoSuchDestination);
    client.change(delete).unwrap();
    assert_eq!(six.key.family(), Family::V6);
}

const ROLE: &str = "IPVS_TEST_ROLE";

/// The role of this program, in place of the tests, when a test has started it.
pub(crate) fn role() -> Option<fn() -> ExitCode> {
    (env::var(ROLE).as_deref() == Ok("without privilege")).then_some(without_privilege)
}

fn without_privilege() -> ExitCode {
    let mut client = Client::open().unwrap();
    let errors = [
        client.services().unwrap_err(),
        client.info().unwrap_err(),
        client.add_service(service()).unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_permission_denied());
        println!("{error}");
    }
    ExitCode::SUCCESS
}

fn without_the_privilege_the_error_says_which() {
    Client::open().unwrap();
    // A copy that another user may run, wherever the tests were built.
    let folder = env::temp_dir().join(format!("unprivileged-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let program = folder.join("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    for path in [&folder, &program] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
    }
    let output = Command::new(&program)
        .env(ROLE, "without privilege")
        .uid(65534)
        .gid(65534)
        .output();
    fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        text,
        "list services: needs CAP_NET_ADMIN in the initial user namespace\n\
         get info: needs CAP_NET_ADMIN in the initial user namespace\n\
         add service tcp 192.0.2.1:80 scheduler rr: needs CAP_NET_ADMIN in the initial user namespace\n"
    );
}
