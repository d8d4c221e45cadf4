//! Settings of the kernel that balancing needs.

use std::fs;

use ipvs_netlink::sysctl::{Setting, Sysctls};

/// Sets what kube-proxy sets, and returns a line for each setting that failed. The settings stay:
/// the services outlive this program.
pub(crate) fn prepare(strict_arp: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let ipvs = [
        // Masquerading by the firewall needs it.
        Setting::Conntrack(true),
        // Clients of a removed endpoint reach another one.
        Setting::ExpireNodestConn(true),
        Setting::ExpireQuiescentTemplate(true),
    ];
    match Sysctls::open() {
        Err(error) => problems.push(error.to_string()),
        Ok(sysctls) => {
            for setting in ipvs {
                match sysctls.set(&[setting]) {
                    Ok(saved) => saved.keep(),
                    Err(error) => problems.push(error.to_string()),
                }
            }
        }
    }
    let mut lines = vec![("net/ipv4/ip_forward", "1")];
    if strict_arp {
        lines.extend([
            ("net/ipv4/conf/all/arp_ignore", "1"),
            ("net/ipv4/conf/all/arp_announce", "2"),
        ]);
    }
    for (name, value) in lines {
        let path = format!("/proc/sys/{name}");
        let current = fs::read_to_string(&path);
        // Forwarding may be on in another way, and a container may only read.
        if current.is_ok_and(|current| current.trim() == value) {
            continue;
        }
        if let Err(error) = fs::write(&path, value) {
            problems.push(format!("{path}: cannot write {value}: {error}"));
        }
    }
    problems
}
