//! Packets from their octets to the step of the machine: [`VirtualRouter::handle_packet`].

use core::net::Ipv4Addr;

use vrrp_fsm::{Action, Config, Counters, ReceiveContext, State, VirtualRouter};
use vrrp_proto::{
    Addresses, AuthenticationFault, DecodeOptions, Discard, Endpoints, Family, IpHeader,
    LocalAuthentication, LocalTransport, Peer, Priority, Protection, TTL,
};

use crate::host::{Host, address, config};

/// Version 3, VRID 51, priority 200, 1 s, 192.0.2.1; the checksum covers the message alone.
const MESSAGE: [u8; 12] = [0x31, 51, 200, 1, 0x00, 0x64, 0x44, 0x65, 192, 0, 2, 1];

fn ip() -> IpHeader {
    IpHeader {
        endpoints: Endpoints::multicast(address(Family::Ipv4, 12)),
        ttl: TTL,
    }
}

fn context() -> ReceiveContext<'static> {
    ReceiveContext::multicast(Family::Ipv4)
}

#[test]
fn an_accepted_packet_steps_the_machine_and_is_returned() {
    let mut host = Host::active(config(100));
    let (accepted, actions) = host
        .router
        .handle_packet(host.now, &ip(), &MESSAGE, &context())
        .unwrap();
    assert_eq!(accepted.source(), address(Family::Ipv4, 12));
    assert_eq!(accepted.priority(), Priority::new(200));
    assert_eq!(host.state(), State::Backup);
    assert!(
        actions
            .into_iter()
            .any(|action| action == Action::RemoveAddresses)
    );
    assert_eq!(host.router.counters().advertisements_received, 1);
}

/// Checks that only the counters of the router have changed, as `expected` changes the old ones.
fn assert_only_counted(
    packet: (&IpHeader, &[u8], &ReceiveContext<'_>),
    discard: Discard,
    expected: impl FnOnce(&mut Counters),
) {
    let (ip, payload, context) = packet;
    let host = Host::active(config(100));
    let mut router = host.router;
    let result = router.handle_packet(host.now, ip, payload, context);
    assert_eq!(result.unwrap_err(), discard);
    let mut counters = *host.router.counters();
    expected(&mut counters);
    assert_eq!(*router.counters(), counters);
    let machine = |router: &VirtualRouter| {
        let mut snapshot = router.snapshot(host.now);
        snapshot.counters = Counters::default();
        snapshot
    };
    assert_eq!(machine(&router), machine(&host.router));
}

#[test]
fn a_packet_is_counted_by_the_step_that_rejects_it() {
    // Decoding.
    assert_only_counted(
        (&IpHeader { ttl: 254, ..ip() }, &MESSAGE, &context()),
        Discard::IpTtl {
            found: 254,
            required: TTL,
        },
        |counters| counters.ip_ttl_errors += 1,
    );
    // The result of the host's verification.
    let fault = AuthenticationFault::Digest;
    let failed = ReceiveContext {
        authentication: LocalAuthentication::Hmac,
        protection: Protection::Failed(fault),
        ..context()
    };
    assert_only_counted(
        (&ip(), &MESSAGE, &failed),
        Discard::Authentication(fault),
        |counters| counters.authentication_errors += 1,
    );
    // The local configuration.
    let own = IpHeader {
        endpoints: Endpoints::multicast(address(Family::Ipv4, 11)),
        ttl: TTL,
    };
    assert_only_counted(
        (&own, &MESSAGE, &context()),
        Discard::OwnPacket {
            source_address: address(Family::Ipv4, 11),
        },
        |counters| counters.own_packets += 1,
    );
}

#[test]
fn the_context_decides_on_transport_decoding_and_address_lists() {
    let from_afar = IpHeader {
        endpoints: Endpoints::new(address(Family::Ipv4, 12), address(Family::Ipv4, 11)).unwrap(),
        ttl: 60,
    };
    let peers = [Peer::new(address(Family::Ipv4, 12)).with_min_ttl(60)];
    let other_list = [Ipv4Addr::new(192, 0, 2, 2)];
    let unicast = ReceiveContext {
        transport: LocalTransport::Unicast { peers: &peers },
        decode: DecodeOptions {
            unicast_ttl_floor: 60,
            ..DecodeOptions::default()
        },
        addresses: Some(Addresses::from(&other_list[..])),
        ..context()
    };
    let mut host = Host::started(Config::new(config(100).vrid, Family::Ipv4));
    let multicast = host
        .router
        .handle_packet(host.now, &from_afar, &MESSAGE, &context());
    assert!(multicast.is_err());
    let (accepted, _) = host
        .router
        .handle_packet(host.now, &from_afar, &MESSAGE, &unicast)
        .unwrap();
    assert!(accepted.mismatches().address_list_differs);
}
