//! The program `ipvsadm` where the kernel has no IPVS, and where the user has not the privilege.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use vrrp_lab::{Guest, Kernel, example};

/// Runs lines of the shell in a kernel that has not loaded IPVS yet, with the program as
/// `$ipvsadm`, which everybody may run. Returns what they print.
fn shell(lines: &str) -> Vec<String> {
    let script = format!(
        "cp {} /run/ipvsadm\nipvsadm=/run/ipvsadm\n{lines}",
        example("ipvsadm").unwrap().display()
    );
    let guest = Guest {
        arguments: vec!["sh".into(), "-c".into(), script.into()],
        ..Guest::new("/bin/busybox")
    };
    let mut output = Vec::new();
    let status = Kernel::Uml6_1.run(&guest, |line| output.push(line.to_owned()));
    assert_eq!(status.unwrap(), 0, "{output:#?}");
    output
}

#[test]
fn a_kernel_without_ipvs_gets_one_sentence_and_status_1() {
    // Without a program that loads modules there are no modules.
    let output = shell(
        "echo /bin/false >/proc/sys/kernel/modprobe
        for words in -Ln -Sn '-A -t 10.0.0.1:80' '-Ln --timeout' '-Ln --daemon' -Lcn '--watch' '--diff /dev/null' '--apply /dev/null' '-C'; do
            $ipvsadm $words; echo $?
        done
        echo -C | $ipvsadm -R; echo $?",
    );
    assert_eq!(output.len(), 22, "{output:#?}");
    for answer in output.chunks(2) {
        assert!(
            answer[0].starts_with("ipvsadm: this kernel has no IPVS"),
            "{answer:?}"
        );
        assert_eq!(answer[1], "1", "{answer:?}");
    }
}

#[test]
fn a_user_without_privilege_gets_one_sentence_and_status_1() {
    let output = shell(
        "for words in -Ln -Sn '-A -t 10.0.0.1:80' '-Ln --timeout' '-Ln --daemon' '--watch' '--diff /dev/null' '--apply /dev/null' '-C'; do
            /usr/bin/setpriv --reuid 65534 --clear-groups $ipvsadm $words; echo $?
        done
        echo -C | /usr/bin/setpriv --reuid 65534 --clear-groups $ipvsadm -R; echo $?",
    );
    assert_eq!(output.len(), 20, "{output:#?}");
    for answer in output.chunks(2) {
        assert!(answer[0].starts_with("ipvsadm: "), "{answer:?}");
        assert!(answer[0].contains("needs CAP_NET_ADMIN"), "{answer:?}");
        assert_eq!(answer[1], "1", "{answer:?}");
    }
}

#[test]
fn help_needs_no_kernel() {
    let output = shell("echo /bin/false >/proc/sys/kernel/modprobe; $ipvsadm -h && $ipvsadm -v");
    assert!(output.len() > 50, "{output:#?}");
}
