//! A case: the number of virtual routers, their interval, and their places on the cables.

use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
    time::Duration,
};

use vrrp_fsm::{ChecksumSending, Config};
use vrrp_lab::{KeepalivedInstance, Namespace};
use vrrp_net::{RouterConfig, VirtualAddress};
use vrrp_proto::{ChecksumForm, Family, Interval, Priority, Vrid};

use crate::Error;

/// Virtual routers on one cable. An interface has 255 VRIDs.
const PER_CABLE: u16 = 250;

/// The two ends of the cables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end with the higher priority.
    Active,
    /// The other end.
    Backup,
}

impl Side {
    /// The priority of its routers.
    #[must_use]
    pub const fn priority(self) -> u8 {
        match self {
            Self::Active => 200,
            Self::Backup => 100,
        }
    }

    /// The last octet of its addresses.
    const fn host(self) -> u8 {
        match self {
            Self::Active => 1,
            Self::Backup => 2,
        }
    }
}

/// Virtual routers of version 3 over IPv4, with one virtual address each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The number of virtual routers.
    pub routers: u16,
    /// The interval in hundredths of a second.
    pub interval: u16,
    /// Whether another link of each host goes down and up all the time.
    pub flaps: bool,
}

impl Case {
    /// All of them.
    fn all() -> impl Iterator<Item = Self> {
        let sizes = [1, 100, 1000, 5000];
        let flapping = Self {
            flaps: true,
            ..Self::new(1, 10)
        };
        [100, 10, 1]
            .into_iter()
            .flat_map(move |interval| sizes.map(|routers| Self::new(routers, interval)))
            .chain([flapping])
    }

    const fn new(routers: u16, interval: u16) -> Self {
        Self {
            routers,
            interval,
            flaps: false,
        }
    }

    /// The cases that the arguments name, or all; with `--quick` two small ones.
    ///
    /// # Errors
    ///
    /// An argument that is neither an option of cargo nor the name of a case.
    pub fn choose(arguments: &[String]) -> Result<Vec<Self>, Error> {
        // cargo adds the first.
        let is_option = |argument: &&String| ["--bench", "--quick"].contains(&argument.as_str());
        let named: Vec<&String> = arguments.iter().filter(|it| !is_option(it)).collect();
        if let Some(unknown) = named.iter().find(|it| Self::named(it).is_none()) {
            let all: Vec<String> = Self::all().map(|case| format!("\"{case}\"")).collect();
            let all = all.join(", ");
            return Err(format!("{unknown:?} is not the name of a case: {all}").into());
        }
        Ok(if named.is_empty() {
            if arguments.iter().any(|argument| argument == "--quick") {
                [Self::new(1, 10), Self::new(100, 1)].into()
            } else {
                Self::all().collect()
            }
        } else {
            named.into_iter().filter_map(|it| Self::named(it)).collect()
        })
    }

    fn named(name: &str) -> Option<Self> {
        Self::all().find(|case| case.to_string() == name)
    }

    /// The interval.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_millis(10) * self.interval.into()
    }

    /// The number of advertisements that the Active has to send in this time.
    #[must_use]
    pub fn adverts_in(self, time: Duration) -> f64 {
        f64::from(self.routers) * time.as_secs_f64() / self.interval().as_secs_f64()
    }

    /// Whether one thread of either program cannot send all the advertisements: the kernel needs
    /// more than 2 us for each. A Backup then takes over before the Active ends, so its takeover
    /// cannot be timed.
    #[must_use]
    pub fn is_overload(self) -> bool {
        self.adverts_in(Duration::from_secs(1)) > 400_000.0
    }

    /// Whether there is a bare loop to compare with: in cases with many advertisements in a turn.
    #[must_use]
    pub fn has_bare_loop(self) -> bool {
        self.interval == 1 && self.routers >= 100 && !self.is_overload()
    }

    /// `Skew_Time` of the Backup (RFC 9568 section 6.1).
    #[must_use]
    pub fn skew_time(self) -> Duration {
        self.interval() * (256 - u32::from(Side::Backup.priority())) / 256
    }

    /// `Active_Down_Interval` of the Backup.
    #[must_use]
    pub fn active_down_interval(self) -> Duration {
        3 * self.interval() + self.skew_time()
    }

    /// Makes two namespaces with the cables between them.
    ///
    /// # Errors
    ///
    /// The error of the namespaces.
    pub fn network(self) -> Result<[Namespace; 2], Error> {
        let [active, backup] = [Namespace::new()?, Namespace::new()?];
        for cable in self.cables() {
            let address = |side| format!("{}/24", source(side, cable));
            active.connect(
                &backup,
                &interface(cable),
                [&address(Side::Active), &address(Side::Backup)],
            )?;
        }
        if self.flaps {
            active.connect(&backup, FLAPPING, ["198.51.100.1/24", "198.51.100.2/24"])?;
        }
        for cable in self.cables() {
            for end in [&active, &backup] {
                end.wait_for_link(&interface(cable))?;
            }
        }
        Ok([active, backup])
    }

    /// The numbers of the cables.
    pub fn cables(self) -> impl Iterator<Item = u8> {
        (0..).take(self.routers.div_ceil(PER_CABLE).into())
    }

    /// Each router: its cable and its VRID.
    pub fn places(self) -> impl Iterator<Item = (u8, u8)> {
        self.cables()
            .flat_map(|cable| (1..).take(PER_CABLE.into()).map(move |vrid| (cable, vrid)))
            .take(self.routers.into())
    }

    /// The configurations for the driver.
    ///
    /// # Errors
    ///
    /// A value outside the range that the protocol has. No case has one.
    pub fn configs(self, priority: u8) -> Result<Vec<RouterConfig>, Error> {
        self.places()
            .map(|(cable, vrid)| {
                let mut fsm = Config::new(Vrid::try_from(vrid)?, Family::Ipv4);
                fsm.priority = Priority::new(priority);
                fsm.interval = Interval::centis(self.interval)?;
                fsm.announce.second_burst_after = None;
                // As with keepalived: one message for each advertisement.
                fsm.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
                let address = VirtualAddress::new(virtual_address(cable, vrid).into());
                Ok(RouterConfig::new(interface(cable), fsm, vec![address]))
            })
            .collect()
    }

    /// The configuration for keepalived. Its defaults are those of the driver, except for a second
    /// burst of announcements after 5 s, which both leave out: it would fall into some
    /// measurements only.
    #[must_use]
    pub fn keepalived_conf(self, priority: u8) -> String {
        let instances = self.places().map(|(cable, vrid)| {
            let instance = KeepalivedInstance {
                interface: interface(cable),
                advert_interval: self.interval(),
                ..KeepalivedInstance::new(
                    vrid,
                    priority,
                    &[&format!("{}/32", virtual_address(cable, vrid))],
                )
            };
            instance.to_string()
        });
        std::iter::once("global_defs {\n  vrrp_garp_master_delay 0\n}\n".into())
            .chain(instances)
            .collect()
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} ms", self.routers, self.interval().as_millis())?;
        if self.flaps {
            f.write_str(", flapping link")?;
        }
        Ok(())
    }
}

/// The interface that flaps, at both ends of a cable without routers.
pub const FLAPPING: &str = "flapping";

/// How the names of the interfaces of cables with routers begin.
pub const CABLE: &str = "eth";

/// The interface at both ends of a cable.
#[must_use]
pub fn interface(cable: u8) -> String {
    format!("{CABLE}{cable}")
}

/// The primary address of a side.
#[must_use]
pub const fn source(side: Side, cable: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, cable, side.host())
}

/// The router that sent an advertisement with this source and VRID: its place in [`Case::places`],
/// and its side.
#[must_use]
pub fn sender(source: Ipv4Addr, vrid: u8) -> Option<(usize, Side)> {
    let [198, 18, cable, host] = source.octets() else {
        return None;
    };
    let side = [Side::Active, Side::Backup]
        .into_iter()
        .find(|side| side.host() == host)?;
    let place = usize::from(vrid).checked_sub(1)?;
    Some((usize::from(cable) * usize::from(PER_CABLE) + place, side))
}

/// The virtual address of a router.
#[must_use]
pub const fn virtual_address(cable: u8, vrid: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, cable, vrid)
}
