use std::time::Duration;

use super::*;

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

fn parse(text: &str) -> Result<ProxyConfiguration, ConfigurationError> {
    parse_configuration(&format!("{HEAD}{text}"))
}

#[test]
fn the_options_of_ipvs_are_read() {
    let read = parse(
        "mode: ipvs\nhostnameOverride: node-1\nhealthzBindAddress: 0.0.0.0:10256\nmetricsBindAddress: ''\n\
         nodePortAddresses: [192.0.2.0/24]\nipvs:\n  scheduler: sh\n  minSyncPeriod: 1s\n  syncPeriod: 1m30s\n  \
         tcpTimeout: 0s\n  tcpFinTimeout: 2m\n  udpTimeout: 1.5s\n  strictARP: true\n  excludeCIDRs: [10.0.0.0/8]\n",
    )
    .unwrap();
    let time = |milliseconds| Some(GoDuration(Duration::from_millis(milliseconds)));
    let expected = ProxyConfiguration {
        ipvs: IpvsConfiguration {
            scheduler: Some("sh".into()),
            min_sync_period: time(1_000),
            sync_period: time(90_000),
            tcp_timeout: time(0),
            tcp_fin_timeout: time(120_000),
            udp_timeout: time(1_500),
            strict_arp: Some(true),
            exclude_cidrs: Some(vec!["10.0.0.0/8".into()]),
        },
        healthz_bind_address: Some("0.0.0.0:10256".into()),
        metrics_bind_address: None,
        hostname_override: Some("node-1".into()),
        node_port_addresses: vec!["192.0.2.0/24".into()],
        ignored: Vec::new(),
    };
    assert_eq!(read, expected);
}

#[test]
fn fields_that_are_not_used_are_named_with_their_paths() {
    let read = parse(
        "clusterCIDR: 10.244.0.0/16\nconntrack: {maxPerCore: null, min: 131072}\nfeatureGates: {}\n\
         iptables: {masqueradeAll: false}\nbindAddress: ''\nipvs: {excludeCIDRs: null, masquerade: true}\n",
    )
    .unwrap();
    let expected = [
        "clusterCIDR",
        "conntrack.min",
        "iptables.masqueradeAll",
        "ipvs.masquerade",
    ];
    assert_eq!(read.ignored, expected);
    assert_eq!(read.ipvs, IpvsConfiguration::default());
}

#[test]
fn another_kind_or_mode_is_an_error() {
    for (text, expected) in [
        ("{}", "kind: \"\"; expected KubeProxyConfiguration"),
        (
            "{kind: KubeProxyConfiguration}",
            "apiVersion: \"\"; expected kubeproxy.config.k8s.io/v1alpha1",
        ),
    ] {
        assert_eq!(parse_configuration(text).unwrap_err().to_string(), expected);
    }
    assert_eq!(
        parse("mode: nftables\n").unwrap_err().to_string(),
        "mode: \"nftables\"; this program has only the mode ipvs"
    );
}

#[test]
fn times_are_read_as_go_writes_them() {
    for (text, milliseconds) in [
        ("0", 0),
        ("0s", 0),
        ("100ms", 100),
        ("1.5h", 5_400_000),
        ("1h2m3s4ms", 3_723_004),
    ] {
        let expected = GoDuration(Duration::from_millis(milliseconds));
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    for text in [
        "",
        "5",
        "s",
        "1x",
        "-1s",
        "1s2",
        "1..2s",
        "99999999999999999999h",
    ] {
        assert!(text.parse::<GoDuration>().is_err(), "{text}");
    }
    let error = parse("ipvs: {syncPeriod: soon}\n").unwrap_err().to_string();
    assert!(error.contains("\"soon\" is not a time"), "{error}");
}
