//! The sysctls of a real kernel.

use std::fs;

use ipvs_netlink::{
    Client,
    sysctl::{Setting, SysctlError, Sysctls, Threshold},
};
use vrrp_lab::{GuestTest, Namespace, guest_tests};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        every_setting_of_the_kernel_is_known,
        settings_are_put_back,
        a_setting_that_another_program_changed_stays,
        where_one_setting_is_refused_all_are_put_back,
        settings_are_of_their_namespace,
    ]
    .to_vec()
}

/// The settings of this thread's namespace, which exist once the module is loaded.
fn sysctls() -> Sysctls {
    Client::open().unwrap();
    Sysctls::open().unwrap()
}

/// Files that are not of the namespace, or hold no number.
const OTHERS: [&str; 4] = [
    "debug_level",
    "est_cpulist",
    "lblc_expiration",
    "lblcr_expiration",
];

fn every_setting_of_the_kernel_is_known() {
    let all = sysctls().all().unwrap();
    for entry in fs::read_dir("/proc/sys/net/ipv4/vs").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !OTHERS.contains(&name.as_str()) {
            assert!(all.iter().any(|setting| setting.name() == name), "{name}");
        }
    }
    assert!(all.len() > 20, "{all:?}");
}

fn settings_are_put_back() {
    let sysctls = sysctls();
    let before = sysctls.all().unwrap();
    // Each with another value.
    let edited: Vec<_> = before
        .iter()
        .filter_map(|setting| other(*setting))
        .collect();
    assert!(edited.len() > 10, "{edited:?}");
    let saved = sysctls.set(&edited).unwrap();
    for setting in &edited {
        assert!(sysctls.all().unwrap().contains(setting), "{setting}");
    }
    assert_eq!(saved.old().count(), edited.len());
    saved.restore().unwrap();
    assert_eq!(sysctls.all().unwrap(), before);
    drop(sysctls.set(&edited).unwrap());
    assert_eq!(sysctls.all().unwrap(), before);
    // A setting that has its value is not written.
    assert_eq!(sysctls.set(&before).unwrap().old().count(), 0);
    sysctls.set(&[Setting::SloppyTcp(true)]).unwrap().keep();
    assert!(sysctls.all().unwrap().contains(&Setting::SloppyTcp(true)));
}

fn other(setting: Setting) -> Option<Setting> {
    Some(match setting {
        Setting::ExpireNodestConn(on) => Setting::ExpireNodestConn(!on),
        Setting::ExpireQuiescentTemplate(on) => Setting::ExpireQuiescentTemplate(!on),
        Setting::SloppyTcp(on) => Setting::SloppyTcp(!on),
        Setting::SloppySctp(on) => Setting::SloppySctp(!on),
        Setting::ScheduleIcmp(on) => Setting::ScheduleIcmp(!on),
        Setting::IgnoreTunneled(on) => Setting::IgnoreTunneled(!on),
        Setting::NatIcmpSend(on) => Setting::NatIcmpSend(!on),
        Setting::PmtuDisc(on) => Setting::PmtuDisc(!on),
        Setting::BackupOnly(on) => Setting::BackupOnly(!on),
        Setting::CacheBypass(on) => Setting::CacheBypass(!on),
        Setting::ConnReuseMode(_) => Setting::ConnReuseMode(2),
        Setting::DropEntry(_) => Setting::DropEntry(3),
        Setting::SyncRetries(_) => Setting::SyncRetries(2),
        Setting::SyncThreshold(_) => Setting::SyncThreshold(Threshold {
            first: 5,
            period: 70,
        }),
        _ => return None,
    })
}

fn a_setting_that_another_program_changed_stays() {
    let sysctls = sysctls();
    let wanted = [Setting::ConnReuseMode(2), Setting::SloppyTcp(true)];
    let saved = sysctls.set(&wanted).unwrap();
    fs::write("/proc/sys/net/ipv4/vs/conn_reuse_mode", "0").unwrap();
    saved.restore().unwrap();
    let all = sysctls.all().unwrap();
    assert!(all.contains(&Setting::ConnReuseMode(0)), "{all:?}");
    assert!(all.contains(&Setting::SloppyTcp(false)), "{all:?}");
}

fn where_one_setting_is_refused_all_are_put_back() {
    let sysctls = sysctls();
    let before = sysctls.all().unwrap();
    let wanted = [Setting::SloppyTcp(true), Setting::DropEntry(77)];
    let error = sysctls.set(&wanted).unwrap_err();
    assert!(matches!(
        error,
        SysctlError::Refused { .. } | SysctlError::NotKept { .. }
    ));
    let text = error.to_string();
    assert!(text.contains("net.ipv4.vs.drop_entry = 77"), "{text}");
    assert_eq!(sysctls.all().unwrap(), before);
}

fn settings_are_of_their_namespace() {
    let here = sysctls();
    let there = Namespace::new().unwrap();
    Client::open_in(&there).unwrap();
    let there = Sysctls::open_in(&there).unwrap();
    let saved = there.set(&[Setting::SloppyTcp(true)]).unwrap();
    assert!(here.all().unwrap().contains(&Setting::SloppyTcp(false)));
    assert!(there.all().unwrap().contains(&Setting::SloppyTcp(true)));
    saved.restore().unwrap();
}
