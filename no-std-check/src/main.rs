//! See `Cargo.toml`.

#![no_std]
#![no_main]

mod memory;

use core::{arch::asm, net::Ipv4Addr, panic::PanicInfo};

use vrrp_fsm::{
    Action, Config, Event, Instant, ReceiveContext, ShutdownCause, State, VirtualRouter,
};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, DecodeOptions, Endpoints, Family, Interval, IpHeader,
    LocalAuthentication, LocalRouter, LocalTransport, MessageAuthentication, OwnerRule, Password,
    Priority, Protection, TTL, Versions, Vrid, ah,
    frame::{arp, ipv4, virtual_mac},
    group, hmac, set_priority,
};

/// Ends the process.
fn exit(status: i32) -> ! {
    // SAFETY: the system call `exit` (60) takes its argument in a register, touches no memory, and
    // does not return.
    unsafe { asm!("syscall", in("rax") 60, in("rdi") status, options(noreturn, nostack)) }
}

#[cfg(debug_assertions)]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}

#[cfg(not(debug_assertions))]
unsafe extern "C" {
    /// Defined nowhere: the optimised program links only because no panic is left in it.
    fn a_panic_can_be_reached() -> !;
}

#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: never called, see above.
    unsafe { a_panic_can_be_reached() }
}

/// The entry point of the process, at which the stack is aligned to 16 octets. A function expects
/// this alignment before the return address is pushed, so `call` enters `main`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    core::arch::naked_asm!("call {main}", main = sym main)
}

extern "C" fn main() -> ! {
    exit(match steps() {
        Ok(()) => 0,
        Err(step) => step,
    })
}

/// Uses every part of the crates once. The error is the number of the step that failed.
fn steps() -> Result<(), i32> {
    let source = Ipv4Addr::new(192, 0, 2, 11);
    let endpoints = Endpoints::multicast(source.into());
    let ip = IpHeader {
        endpoints,
        ttl: TTL,
    };
    let own = [Ipv4Addr::new(192, 0, 2, 1)];
    let vrid = Vrid::new(51).ok_or(1)?;
    let advertisement = Advertisement {
        vrid,
        priority: Priority::DEFAULT,
        interval: Interval::DEFAULT_V3,
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(&own[..]),
    };

    // The message, a trailer, and their validation by a Backup.
    let mut buffer = [0; 128];
    let length = advertisement
        .encode(&mut buffer, &endpoints, ChecksumForm::MessageOnly)
        .map_err(|_| 2)?;
    set_priority(&mut buffer, Priority::RESIGN).map_err(|_| 3)?;
    let keys = [hmac::Key::new(1, &[7; 32]).map_err(|_| 4)?];
    let keys = hmac::Keys::new(&keys, 1).map_err(|_| 5)?;
    let now = hmac::UtcTime::new(1000, 0);
    let anti_replay = hmac::AntiReplay::time(5).map_err(|_| 6)?;
    let sequence = hmac::SendSequence::default().next(now, anti_replay);
    let length = keys
        .append(&mut buffer, length, &endpoints, sequence)
        .map_err(|_| 7)?;
    let options = DecodeOptions {
        hmac_trailer: true,
        ..DecodeOptions::default()
    };
    let payload = buffer.get(..length).ok_or(8)?;
    let decoded = Advertisement::decode(payload, &ip, &options).map_err(|_| 9)?;
    let signed = hmac::Signed::find(payload, &ip, &options).ok_or(28)?;
    let verified = keys
        .verify(&signed, &ip, now, anti_replay)
        .map_err(|_| 10)?;
    let mut marks: hmac::ReplayMarks = hmac::ReplayMarks::new();
    marks.accept(&verified);
    if marks.check(&verified, now, anti_replay).is_ok() {
        return Err(11);
    }
    let local = LocalRouter {
        vrid,
        versions: Versions::V3,
        interval: Interval::DEFAULT_V3,
        owner: OwnerRule::NotOwner,
        primary_address: Ipv4Addr::new(192, 0, 2, 12).into(),
        authentication: LocalAuthentication::Hmac,
        transport: LocalTransport::Multicast {
            group: group(Family::Ipv4),
        },
        addresses: Some(Addresses::from(&own[..])),
    };
    local
        .check(&decoded, &ip, Protection::from(verified))
        .map_err(|_| 12)?;
    if !decoded.advertisement.priority.is_resign() {
        return Err(13);
    }

    // The message inside AH.
    let key = ah::Key::new(Password::new(b"s3cret").map_err(|_| 14)?);
    let header = ipv4::Header {
        protocol: ah::IP_PROTOCOL,
        ..ipv4::Header::advertisement(source, vrrp_proto::GROUP_IPV4)
    };
    let prefix = key.seal(&header, decoded.message, 1).map_err(|_| 15)?;
    let mut packet = [0; 56];
    for (target, octet) in packet.iter_mut().zip(prefix.iter().chain(decoded.message)) {
        *target = *octet;
    }
    let packet = ipv4::Packet::parse(&packet).map_err(|_| 16)?;
    if key.open(&packet).map_err(|_| 17)?.message != decoded.message {
        return Err(18);
    }

    // An announcement.
    let mac = virtual_mac(vrid, Family::Ipv4);
    let frame = arp::gratuitous(mac, own[0], arp::GratuitousTarget::VirtualMac);
    if frame[6..12] != mac.0 {
        return Err(19);
    }

    // A router takes over without a rival, answers the resignation in the message above, and
    // resigns itself.
    let mut router = VirtualRouter::new(Config::new(vrid, Family::Ipv4)).map_err(|_| 20)?;
    let primary_address = Ipv4Addr::new(192, 0, 2, 12).into();
    for action in router.handle_event(Instant::ZERO, Event::Startup { primary_address }) {
        if !matches!(action, Action::StateChanged(_)) {
            return Err(21);
        }
    }
    let now = router.poll_timeout().ok_or(22)?;
    let takeover = router.handle_timeout(now);
    if takeover.into_iter().count() != 4 || router.state() != State::Active {
        return Err(23);
    }
    let context = ReceiveContext {
        decode: options,
        authentication: LocalAuthentication::HmacIfPresent,
        protection: Protection::from(verified),
        addresses: local.addresses,
        ..ReceiveContext::multicast(Family::Ipv4)
    };
    let (_, answer) = router
        .handle_packet(now, &ip, payload, &context)
        .map_err(|_| 24)?;
    if !answer
        .into_iter()
        .any(|action| matches!(action, Action::SendAdvertisement(_)))
    {
        return Err(25);
    }
    let snapshot = router.snapshot(now);
    let mut router = VirtualRouter::restore(router.config(), snapshot, now).map_err(|_| 26)?;
    let end = router.handle_event(now, Event::Shutdown(ShutdownCause::Administrative));
    if end.into_iter().count() != 3 || router.state() != State::Initialize {
        return Err(27);
    }
    Ok(())
}
