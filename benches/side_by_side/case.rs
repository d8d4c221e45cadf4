//! So many routers at such an interval, and where each of them is.

use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
    time::Duration,
};

use vrrp_benches::Error;
use vrrp_fsm::{ChecksumSending, Config};
use vrrp_lab::{KeepalivedInstance, Namespace};
use vrrp_net::{RouterConfig, VirtualAddress};
use vrrp_proto::{ChecksumForm, Family, Interval, Priority, Vrid};

/// Routers on one cable: an interface has 255 VRIDs.
const PER_CABLE: u16 = 250;

/// The end of the cables at which a router is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Active,
    Backup,
}

impl Side {
    pub(crate) const fn priority(self) -> u8 {
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

/// What is compared: version 3 over IPv4, one virtual address each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) routers: u16,
    /// Hundredths of a second.
    pub(crate) interval: u16,
}

impl Case {
    /// All of them.
    fn all() -> impl Iterator<Item = Self> {
        let sizes = [1, 100, 1000, 5000];
        [100, 10, 1]
            .into_iter()
            .flat_map(move |interval| sizes.map(|routers| Self { routers, interval }))
    }

    /// Those that are named in the arguments, or all; with `--quick` two small ones.
    pub(crate) fn choose(arguments: &[String]) -> Result<Vec<Self>, Error> {
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
                [(1, 10), (100, 1)]
                    .map(|(routers, interval)| Self { routers, interval })
                    .into()
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

    pub(crate) fn interval(self) -> Duration {
        Duration::from_millis(10) * self.interval.into()
    }

    /// Adverts that the Active owes in this time.
    pub(crate) fn adverts_in(self, time: Duration) -> f64 {
        f64::from(self.routers) * time.as_secs_f64() / self.interval().as_secs_f64()
    }

    /// Whether one thread of either program cannot send so many adverts: the kernel takes more than 2 us for each. What the routers do then, the
    /// protocol does not say, and a Backup that has taken over before the Active ended cannot be timed.
    pub(crate) fn is_overload(self) -> bool {
        self.adverts_in(Duration::from_secs(1)) > 400_000.0
    }

    /// Skew_Time of the Backup (RFC 9568 section 6.1).
    pub(crate) fn skew_time(self) -> Duration {
        self.interval() * (256 - u32::from(Side::Backup.priority())) / 256
    }

    /// Active_Down_Interval of the Backup.
    pub(crate) fn active_down_interval(self) -> Duration {
        3 * self.interval() + self.skew_time()
    }

    /// Lays the cables between two new namespaces.
    pub(crate) fn network(self) -> Result<[Namespace; 2], Error> {
        let [active, backup] = [Namespace::new()?, Namespace::new()?];
        for cable in self.cables() {
            let address = |side| format!("{}/24", source(side, cable));
            active.connect(
                &backup,
                &interface(cable),
                [&address(Side::Active), &address(Side::Backup)],
            )?;
        }
        for cable in self.cables() {
            for end in [&active, &backup] {
                end.wait_for_link(&interface(cable))?;
            }
        }
        Ok([active, backup])
    }

    pub(crate) fn cables(self) -> impl Iterator<Item = u8> {
        (0..).take(self.routers.div_ceil(PER_CABLE).into())
    }

    /// Each router: its cable and its VRID.
    pub(crate) fn places(self) -> impl Iterator<Item = (u8, u8)> {
        self.cables()
            .flat_map(|cable| (1..).take(PER_CABLE.into()).map(move |vrid| (cable, vrid)))
            .take(self.routers.into())
    }

    /// The configurations for the driver.
    pub(crate) fn configs(self, priority: u8) -> Result<Vec<RouterConfig>, Error> {
        self.places()
            .map(|(cable, vrid)| {
                let mut fsm = Config::new(Vrid::try_from(vrid)?, Family::Ipv4);
                fsm.priority = Priority::new(priority);
                fsm.interval = Interval::centis(self.interval)?;
                fsm.announce.second_burst_after = None;
                // As keepalived: one message for each advertisement.
                fsm.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
                let address = VirtualAddress::new(virtual_address(cable, vrid).into());
                Ok(RouterConfig::new(interface(cable), fsm, vec![address]))
            })
            .collect()
    }

    /// The same for keepalived. Its defaults are the driver's; a second burst of announcements after 5 s is left out in both, for it
    /// would fall into the measurement or not.
    pub(crate) fn keepalived_conf(self, priority: u8) -> String {
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
        write!(f, "{} x {} ms", self.routers, self.interval().as_millis())
    }
}

pub(crate) fn interface(cable: u8) -> String {
    format!("eth{cable}")
}

/// The address that a side advertises from.
pub(crate) const fn source(side: Side, cable: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, cable, side.host())
}

/// Which router sent an advert with this source and VRID: its place in [`Case::places`], and the side.
pub(crate) fn sender(source: Ipv4Addr, vrid: u8) -> Option<(usize, Side)> {
    let [198, 18, cable, host] = source.octets() else {
        return None;
    };
    let side = [Side::Active, Side::Backup]
        .into_iter()
        .find(|side| side.host() == host)?;
    let place = usize::from(vrid).checked_sub(1)?;
    Some((usize::from(cable) * usize::from(PER_CABLE) + place, side))
}

pub(crate) const fn virtual_address(cable: u8, vrid: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, cable, vrid)
}
