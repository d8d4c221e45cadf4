//! One virtual router without the kernel's IP stack: its addresses are on smoltcp, behind a TAP
//! device.
//!
//! This file contains the operating system's part: the device, the clock, the signals. The router
//! itself, in `router`, takes frames and the time, returns frames, and could run on a
//! microcontroller. Link faults, version 2, unicast and authentication are left out.

mod router;
mod stack;
mod tap;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr},
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    time::Instant,
};

use clap::{CommandFactory, Parser, error::ErrorKind, value_parser};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use vrrp_fsm::{Config, Epoch, Transition, VirtualRouter};
use vrrp_proto::{Addresses, Family, Interval, Priority, Vrid};

use crate::{
    router::Router,
    stack::{MAX_FRAME_LEN, Stack},
    tap::Tap,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs one virtual router, version 3 by multicast, on smoltcp. While it is Active it answers ARP,
/// neighbor discovery and pings for the virtual addresses, with the virtual MAC; the kernel has no
/// address. It resigns on SIGTERM and SIGINT.
///
/// It needs CAP_NET_ADMIN, or a TAP device that belongs to the user. To plug one into a bridge:
///
///   ip tuntap add dev tap0 mode tap
///   ip link set tap0 master br0 up
#[derive(Parser)]
#[command(name = "smoltcp_router", verbatim_doc_comment)]
struct Arguments {
    /// The TAP device. If none has this name, the program makes it, and removes it at the end.
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    tap: String,
    /// The router's own Ethernet address.
    #[arg(long, value_name = "MAC", value_parser = parse_mac)]
    mac: EthernetAddress,
    /// The router's own address, from which it advertises, with its prefix length. For IPv6 it is
    /// link-local.
    #[arg(long, value_name = "ADDRESS/LENGTH", value_parser = parse_address)]
    source: IpCidr,
    /// The virtual router identifier, 1 to 255.
    #[arg(long, value_parser = value_parser!(u8).range(1..))]
    vrid: u8,
    /// Priority, 1 to 254; the highest becomes Active. 255 marks the address owner.
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u8).range(1..))]
    priority: u8,
    /// The time between advertisements in centiseconds, 1 to 4095.
    #[arg(long, value_name = "CS", default_value_t = 100, value_parser = value_parser!(u16).range(1..=4095))]
    interval: u16,
    /// A virtual address with the prefix length of its network. Can be repeated, up to 8 times; all
    /// are of one family, and the first IPv6 address is link-local.
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", value_parser = parse_address, required = true)]
    addresses: Vec<IpCidr>,
}

/// The number of frames to read before the timers have their turn: a flood must not delay them.
const FRAMES: usize = 1024;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "smoltcp_router: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result {
    let arguments = Arguments::parse();
    let list = VirtualAddresses::new(&arguments).unwrap_or_else(|problem| {
        Arguments::command()
            .error(ErrorKind::ValueValidation, problem)
            .exit()
    });
    let mut config = Config::new(Vrid::try_from(arguments.vrid)?, list.family());
    config.priority = Priority::new(arguments.priority);
    config.interval = Interval::centis(arguments.interval)?;
    // smoltcp accepts packets to all addresses of its interfaces.
    config.accept_mode = true;

    let (signals, ring) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        pipe::register(signal, ring.try_clone()?)?;
    }
    let tap = Tap::open(&arguments.tap).map_err(|error| format!("{}: {error}", arguments.tap))?;
    let mut reported = None;
    let mut send = |frame: &[u8]| {
        let problem = tap.send(frame).err().map(|error| error.kind());
        // Reported once, not with every frame.
        if let Some(kind) = problem.filter(|_| problem != reported) {
            let _ = writeln!(io::stderr(), "{}: frames are lost: {kind}", arguments.tap);
        }
        reported = problem;
    };
    // A monotonic clock; the epoch converts it to the clock of the state machine.
    let epoch = Epoch::new(Instant::now());
    let now = || epoch.instant(Instant::now());
    let mut router = Router::new(
        now(),
        VirtualRouter::new(config)?,
        arguments.mac.0.into(),
        arguments.source,
        &arguments.addresses,
        list.as_addresses(),
    )?;

    report(router.startup(now(), &mut send)?);
    let mut frame = [0; MAX_FRAME_LEN + 1];
    loop {
        let timeout = router
            .poll_timeout()
            .map(|deadline| TimeSpec::from_duration(deadline - now()));
        let mut sources = [
            PollFd::new(tap.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut sources, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if sources[1].any() == Some(true) {
            break;
        }
        // Drain, then decide: packets that arrived before the deadline come before the timeout.
        for _ in 0..FRAMES {
            let received = tap.receive(&mut frame);
            let Some(frame) = received.map_err(|error| format!("{}: {error}", arguments.tap))?
            else {
                break;
            };
            report(router.receive(now(), frame, &mut send)?);
        }
        report(router.handle_timeout(now(), &mut send)?);
    }
    report(router.shutdown(now(), &mut send)?);
    Ok(())
}

fn report(change: Option<Transition>) {
    if let Some(change) = change {
        // The router continues when nobody reads its output any more.
        let _ = writeln!(
            io::stdout(),
            "{} -> {}: {}",
            change.from,
            change.to,
            change.reason
        );
    }
}

/// The virtual addresses as an advertisement lists them.
enum VirtualAddresses {
    Ipv4(Vec<Ipv4Addr>),
    Ipv6(Vec<Ipv6Addr>),
}

impl VirtualAddresses {
    /// Checks what clap cannot check; the errors read like clap's.
    fn new(arguments: &Arguments) -> std::result::Result<Self, String> {
        let addresses = &arguments.addresses;
        if addresses.len() > Stack::MAX_ADDRESSES {
            return Err(format!(
                "{} times '--address <ADDRESS/LENGTH>' is not in 1..={}",
                addresses.len(),
                Stack::MAX_ADDRESSES
            ));
        }
        let source = arguments.source.address();
        if let IpAddress::Ipv6(source) = source
            && !source.is_unicast_link_local()
        {
            return Err(format!(
                "invalid value '{source}' for '--source <ADDRESS/LENGTH>': it has to be link-local, in fe80::/10"
            ));
        }
        let family = match source {
            IpAddress::Ipv4(_) => Family::Ipv4,
            IpAddress::Ipv6(_) => Family::Ipv6,
        };
        let mut list = match family {
            Family::Ipv4 => Self::Ipv4(Vec::new()),
            Family::Ipv6 => Self::Ipv6(Vec::new()),
        };
        for (place, cidr) in addresses.iter().enumerate() {
            let is_same = |other: &IpCidr| other.address() == cidr.address();
            let problem = if is_same(&arguments.source) {
                Some("the router's own address has to be another one")
            } else if addresses.iter().take(place).any(is_same) {
                Some("given more than once")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(format!(
                    "invalid value '{cidr}' for '--address <ADDRESS/LENGTH>': {problem}"
                ));
            }
            match (&mut list, cidr.address()) {
                (Self::Ipv4(list), IpAddress::Ipv4(address)) => list.push(address),
                (Self::Ipv6(list), IpAddress::Ipv6(address)) => {
                    if list.is_empty() && !address.is_unicast_link_local() {
                        return Err(format!(
                            "invalid value '{cidr}' for '--address <ADDRESS/LENGTH>': the first IPv6 address has to be link-local, in fe80::/10"
                        ));
                    }
                    list.push(address);
                }
                _ => {
                    return Err(format!(
                        "invalid value '{cidr}' for '--address <ADDRESS/LENGTH>': '--source' is {family}"
                    ));
                }
            }
        }
        Ok(list)
    }

    const fn family(&self) -> Family {
        match self {
            Self::Ipv4(_) => Family::Ipv4,
            Self::Ipv6(_) => Family::Ipv6,
        }
    }

    fn as_addresses(&self) -> Addresses<'_> {
        match self {
            Self::Ipv4(list) => Addresses::from(&list[..]),
            Self::Ipv6(list) => Addresses::from(&list[..]),
        }
    }
}

fn parse_address(text: &str) -> std::result::Result<IpCidr, &'static str> {
    let cidr: IpCidr = text
        .parse()
        .map_err(|()| "not an address with a prefix length, such as 192.0.2.254/24")?;
    if cidr.address().is_unicast() {
        Ok(cidr)
    } else {
        Err("not a unicast address")
    }
}

fn parse_name(text: &str) -> std::result::Result<String, &'static str> {
    // The kernel would replace %d by a number.
    let is_odd = |it: char| it.is_whitespace() || matches!(it, '/' | ':' | '%');
    if (1..=15).contains(&text.len()) && !text.contains(is_odd) {
        Ok(text.into())
    } else {
        Err("not the name of an interface: 1 to 15 octets without blanks, /, : and %")
    }
}

fn parse_mac(text: &str) -> std::result::Result<EthernetAddress, &'static str> {
    text.parse()
        .ok()
        .filter(EthernetAddress::is_unicast)
        .ok_or("not a unicast Ethernet address, such as 02-00-00-00-00-01")
}
