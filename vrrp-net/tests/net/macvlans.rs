//! Macvlans with virtual MACs, used without a driver.

use vrrp_lab::Host;
use vrrp_net::{Error, Interfaces, Macvlan, Netlink};
use vrrp_proto::{Family, Vrid, frame::MacAddress};

use crate::rig::{iproute2, lan_of, vrid};

/// The sockets and the known state of a program that makes macvlans.
struct Program {
    netlink: Netlink,
    interfaces: Interfaces,
}

impl Program {
    /// Opens everything in the namespace of the calling thread.
    fn start() -> Self {
        let mut netlink = Netlink::open().unwrap();
        let interfaces = netlink.interfaces().unwrap();
        Self {
            netlink,
            interfaces,
        }
    }

    fn try_add(
        &mut self,
        host: &Host,
        key: (Family, Vrid),
        name: Option<&str>,
    ) -> Result<Macvlan, Error> {
        let has_ipv4 = key.0 == Family::Ipv4;
        let (netlink, interfaces) = (&mut self.netlink, &mut self.interfaces);
        Macvlan::add(netlink, interfaces, host.index(), key, name, has_ipv4)
    }

    fn add(&mut self, host: &Host, family: Family, number: u8) -> Macvlan {
        let macvlan = self.try_add(host, (family, vrid(number)), None).unwrap();
        assert_eq!(
            self.interfaces,
            self.netlink.interfaces().unwrap(),
            "it knows the state"
        );
        macvlan
    }

    fn delete(&mut self, macvlan: Macvlan) {
        macvlan
            .delete(&mut self.netlink, &mut self.interfaces)
            .unwrap();
        assert_eq!(self.interfaces, self.netlink.interfaces().unwrap());
    }
}

fn setting(host: &Host, name: &str) -> String {
    host.namespace().sysctl(name).unwrap()
}

fn arp_of_eth0(host: &Host) -> [String; 2] {
    ["arp_ignore", "arp_announce"].map(|key| setting(host, &format!("ipv4.conf.eth0.{key}")))
}

#[test]
fn each_interface_family_and_vrid_has_a_macvlan_of_its_own() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.namespace().run(|| {
        let mut program = Program::start();
        let macvlans = [
            program.add(&r1, Family::Ipv4, 51),
            program.add(&r1, Family::Ipv4, 52),
            program.add(&r1, Family::Ipv6, 51),
        ];
        let macs = macvlans.each_ref().map(Macvlan::mac);
        let expected = [(1, 51), (1, 52), (2, 51)]
            .map(|(family, number)| MacAddress([0, 0, 0x5e, 0, family, number]));
        assert_eq!(macs, expected);
        for macvlan in &macvlans {
            let shown = iproute2(&r1, &["-d", "link", "show", macvlan.name()]);
            assert!(shown.contains("macvlan mode bridge"), "{shown}");
            assert!(
                shown.contains(&format!("{}@eth0", macvlan.name())),
                "{shown}"
            );
            assert!(shown.contains("state DOWN"), "{shown}");
            let mac = macvlan.mac().to_string().replace('-', ":").to_lowercase();
            assert!(shown.contains(&mac), "{shown}");
        }
        let [first, second, third] = macvlans;
        program.delete(second);
        for left in [&first, &third] {
            assert!(program.interfaces.get(left.interface()).is_some());
        }
        program.delete(first);
        program.delete(third);
        assert!(!iproute2(&r1, &["link"]).contains("vrrp"));
    });
}

#[test]
fn a_macvlan_is_found_again_after_a_crash_and_the_settings_come_back_with_the_last() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.namespace()
        .set_sysctl("ipv4.conf.eth0.arp_announce", "1")
        .unwrap();
    let before = arp_of_eth0(&r1);
    assert_eq!(before, ["0", "1"]);
    r1.namespace().run(|| {
        let mut first_run = Program::start();
        let macvlan = first_run.add(&r1, Family::Ipv4, 51);
        let name = macvlan.name().to_owned();
        assert_eq!(arp_of_eth0(&r1), ["1", "2"]);
        for (family, key, value) in [
            ("ipv4", "arp_ignore", "1"),
            ("ipv4", "arp_announce", "2"),
            ("ipv4", "promote_secondaries", "1"),
            ("ipv6", "addr_gen_mode", "1"),
            ("ipv6", "accept_ra", "0"),
            ("ipv6", "autoconf", "0"),
        ] {
            assert_eq!(
                setting(&r1, &format!("{family}.conf.{name}.{key}")),
                value,
                "{key}"
            );
        }

        let mut second_run = Program::start();
        let again = second_run.add(&r1, Family::Ipv4, 51);
        assert_eq!(again, macvlan);
        let other = second_run.add(&r1, Family::Ipv4, 52);
        second_run.delete(again);
        assert_eq!(arp_of_eth0(&r1), ["1", "2"], "one is left");
        second_run.delete(other);
        assert_eq!(arp_of_eth0(&r1), before);
    });
}

#[test]
fn a_setting_that_another_program_changed_in_between_stays() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.namespace().run(|| {
        let mut program = Program::start();
        let macvlan = program.add(&r1, Family::Ipv4, 51);
        r1.namespace()
            .set_sysctl("ipv4.conf.eth0.arp_ignore", "2")
            .unwrap();
        program.delete(macvlan);
        assert_eq!(arp_of_eth0(&r1), ["2", "0"]);
    });
}

#[test]
fn without_ipv4_addresses_the_parent_interface_keeps_its_settings() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.namespace().run(|| {
        let mut program = Program::start();
        let macvlan = program.add(&r1, Family::Ipv6, 51);
        assert_eq!(arp_of_eth0(&r1), ["0", "0"]);
        program.delete(macvlan);
    });
}

#[test]
fn where_the_host_filters_by_reverse_path_the_macvlan_does_so_loosely() {
    for (all, own) in [("0", "0"), ("1", "2"), ("2", "2")] {
        let (_lan, [r1]) = lan_of::<1>();
        r1.namespace()
            .set_sysctl("ipv4.conf.all.rp_filter", all)
            .unwrap();
        let name = r1.namespace().run(|| {
            let macvlan = Program::start().add(&r1, Family::Ipv4, 51);
            macvlan.name().to_owned()
        });
        assert_eq!(setting(&r1, &format!("ipv4.conf.{name}.rp_filter")), own);
    }
}

#[test]
fn a_link_of_somebody_else_is_left_alone() {
    let (_lan, [r1]) = lan_of::<1>();
    let mac = [0, 0, 0x5e, 0, 1, 51];
    r1.add_macvlan("mine", mac, &[]).unwrap();
    iproute2(&r1, &["link", "set", "mine", "alias", "of the host"]);
    r1.namespace().run(|| {
        let mut program = Program::start();
        let key = (Family::Ipv4, vrid(51));
        for (name, problem) in [
            ("mine", "there is a link mine already"),
            ("eth0", "there is a link eth0 already"),
            ("much too long a name", "is not the name of a link"),
            ("", "is not the name of a link"),
            ("a/b", "is not the name of a link"),
        ] {
            let error = program.try_add(&r1, key, Some(name)).unwrap_err();
            assert!(
                error.to_string().starts_with("virtual_mac: ")
                    && error.to_string().contains(problem),
                "{error}"
            );
        }
        let lo = program.interfaces.named("lo").unwrap().link.index;
        let (netlink, interfaces) = (&mut program.netlink, &mut program.interfaces);
        // The loopback interface has a hardware address, of zeros; the kernel refuses.
        let refused = Macvlan::add(netlink, interfaces, lo, key, None, true);
        assert!(refused.is_err(), "{refused:?}");
        let swept = Macvlan::sweep(&mut program.netlink, &mut program.interfaces, |_| false);
        assert_eq!(swept.unwrap(), Vec::<String>::new());
        assert_eq!(arp_of_eth0(&r1), ["0", "0"]);
    });
    assert!(iproute2(&r1, &["link"]).contains("mine@eth0"));
}

#[test]
fn a_sweep_deletes_the_macvlans_that_nobody_keeps() {
    let (_lan, [r1]) = lan_of::<1>();
    r1.namespace().run(|| {
        let mut first_run = Program::start();
        let kept = first_run.add(&r1, Family::Ipv4, 51);
        let left = first_run.add(&r1, Family::Ipv6, 51);
        let mut second_run = Program::start();
        let (netlink, interfaces) = (&mut second_run.netlink, &mut second_run.interfaces);
        let swept = Macvlan::sweep(netlink, interfaces, |index| index == kept.interface()).unwrap();
        assert_eq!(swept, [left.name()]);
        let (netlink, interfaces) = (&mut second_run.netlink, &mut second_run.interfaces);
        assert_eq!(
            Macvlan::sweep(netlink, interfaces, |_| false).unwrap(),
            [kept.name()]
        );
        assert_eq!(arp_of_eth0(&r1), ["0", "0"]);
    });
}
