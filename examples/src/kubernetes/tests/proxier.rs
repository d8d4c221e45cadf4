//! The demands of Kubernetes' own tests of its IPVS proxier on the table, one test for each. The
//! comment names the Kubernetes test.

use super::*;

/// TestClusterIP.
#[test]
fn a_cluster_address_is_a_service_with_its_endpoints_behind_masquerading() {
    let yaml =
        service(CLUSTER_IP) + &slice("a", &["{addresses: [10.1.0.1]}", "{addresses: [10.1.0.2]}"]);
    assert_table(
        &yaml,
        &[
            "-A -t 10.96.0.1:80 -s rr",
            "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1",
            "-a -t 10.96.0.1:80 -r 10.1.0.2:8080 -m -w 1",
        ],
    );
    assert_eq!(addresses(&table(&yaml)), ["10.96.0.1"]);
}

/// TestClusterIPNoEndpoint.
#[test]
fn a_service_without_endpoints_is_there_without_destinations() {
    let expected = ["-A -t 10.96.0.1:80 -s rr"];
    assert_table(&service(CLUSTER_IP), &expected);
    assert_table(&(service(CLUSTER_IP) + &slice("a", &[])), &expected);
}

/// TestClusterIP with IPv6, and the dual-stack tests of the meta proxier.
#[test]
fn a_dual_stack_service_has_endpoints_of_the_family_of_each_address() {
    let yaml = service(
        "{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 'fd00::1'], ipFamilies: [IPv4, IPv6], \
         ports: [{port: 80}]}",
    ) + &slice("a", &["{addresses: [10.1.0.1]}"])
        + &slice("b", &["{addresses: ['fd00:1::1']}"]).replace("IPv4", "IPv6");
    assert_table(
        &yaml,
        &[
            "-A -t 10.96.0.1:80 -s rr",
            "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1",
            "-A -t [fd00::1]:80 -s rr",
            "-a -t [fd00::1]:80 -r [fd00:1::1]:8080 -m -w 1",
        ],
    );
}

const NODE_PORT: &str =
    "{type: NodePort, clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 30080}]}";

/// TestNodePortIPv4: the loopback addresses and other families are left out, and node addresses
/// stay where they are.
#[test]
fn a_node_port_is_a_service_on_each_address_of_the_node() {
    let yaml = service(NODE_PORT) + &slice("a", &["{addresses: [10.1.0.1]}"]);
    assert_table(
        &yaml,
        &[
            "-A -t 10.96.0.1:80 -s rr",
            "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1",
            "-A -t 192.0.2.10:30080 -s rr",
            "-a -t 192.0.2.10:30080 -r 10.1.0.1:8080 -m -w 1",
        ],
    );
    assert_eq!(addresses(&table(&yaml)), ["10.96.0.1"]);
}

/// TestNodePortIPv6.
#[test]
fn a_node_port_of_ipv6_leaves_link_local_addresses_out() {
    let yaml = service(
        "{type: NodePort, clusterIP: 'fd00::1', ipFamilies: [IPv6], \
         ports: [{port: 53, protocol: UDP, nodePort: 30053}]}",
    );
    assert_table(
        &yaml,
        &[
            "-A -u [2001:db8::10]:30053 -s rr",
            "-A -u [fd00::1]:53 -s rr",
        ],
    );
}

/// TestNodePortIPv4NoEndpoint.
#[test]
fn a_node_port_without_endpoints_is_there_without_destinations() {
    let expected = ["-A -t 10.96.0.1:80 -s rr", "-A -t 192.0.2.10:30080 -s rr"];
    assert_table(&service(NODE_PORT), &expected);
}

/// TestOnlyLocalNodePorts: `nodePortAddresses` chooses among the addresses of the node.
#[test]
fn node_port_addresses_limit_the_addresses_of_node_ports() {
    let mut node = node();
    node.addresses.insert("198.51.100.7".parse().unwrap());
    for (networks, expected) in [
        (&["192.0.2.0/24"][..], &["192.0.2.10:30080"][..]),
        (&["0.0.0.0/0"], &["192.0.2.10:30080", "198.51.100.7:30080"]),
        (&["203.0.113.0/24"], &[]),
    ] {
        let settings = Settings {
            node_port_addresses: networks.iter().map(|text| text.parse().unwrap()).collect(),
            ..Settings::default()
        };
        let table = translate(&objects(&service(NODE_PORT)), &node, &settings);
        let expected: Vec<_> = ["10.96.0.1:80"].iter().chain(expected).collect();
        let services: Vec<_> = table
            .servers()
            .map(|server| server.service.key.to_string().replace("tcp ", ""))
            .collect();
        assert_eq!(
            services.iter().collect::<BTreeSet<_>>().len(),
            services.len()
        );
        assert_eq!(services.len(), expected.len(), "{services:?}");
        for key in expected {
            assert!(services.contains(&(*key).to_owned()), "{key}: {services:?}");
        }
    }
}

/// TestExternalIPs and TestExternalIPsNoEndpoint: an address that the node has already stays there.
#[test]
fn external_addresses_are_services_and_not_bound_again_where_the_node_has_them() {
    let yaml = service(
        "{clusterIP: 10.96.0.1, externalIPs: [203.0.113.5, 192.0.2.10], ports: [{port: 80}]}",
    );
    assert_table(
        &yaml,
        &[
            "-A -t 10.96.0.1:80 -s rr",
            "-A -t 192.0.2.10:80 -s rr",
            "-A -t 203.0.113.5:80 -s rr",
        ],
    );
    assert_eq!(addresses(&table(&yaml)), ["10.96.0.1", "203.0.113.5"]);
}

fn balancer(spec: &str) -> String {
    service(&format!(
        "{{type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{{port: 80}}]{spec}}}"
    ))
}

/// TestLoadBalancer.
#[test]
fn a_load_balancer_address_is_a_service() {
    let yaml = balancer("") + "status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n";
    assert_table(
        &(yaml + &slice("a", &["{addresses: [10.1.0.1]}"])),
        &[
            "-A -t 10.96.0.1:80 -s rr",
            "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1",
            "-A -t 203.0.113.9:80 -s rr",
            "-a -t 203.0.113.9:80 -r 10.1.0.1:8080 -m -w 1",
        ],
    );
}

/// TestLoadBalancer with `ipMode: Proxy`, and with a host name.
#[test]
fn a_load_balancer_that_does_not_keep_its_address_is_no_service() {
    for ingress in ["{ip: 203.0.113.9, ipMode: Proxy}", "{hostname: lb.example}"] {
        let status = format!("status: {{loadBalancer: {{ingress: [{ingress}]}}}}\n");
        assert_table(&(balancer("") + &status), &["-A -t 10.96.0.1:80 -s rr"]);
    }
}

/// TestLoadBalancerSourceRanges demands that other sources are refused. IPVS cannot do that alone.
#[test]
fn a_load_balancer_address_with_source_ranges_is_not_served_and_reported() {
    let yaml = balancer(", loadBalancerSourceRanges: [10.0.0.0/8]")
        + "status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n";
    let table = table(&yaml);
    assert_eq!(lines(&table), ["-A -t 10.96.0.1:80 -s rr"]);
    let problems: Vec<_> = table.problems().iter().collect();
    let [problem] = problems[..] else {
        panic!("{problems:?}")
    };
    assert!(
        problem.to_string().starts_with("Service default/web: "),
        "{problem}"
    );
}

const BOTH: [&str; 2] = [
    "{addresses: [10.1.0.1], nodeName: here}",
    "{addresses: [10.1.0.2], nodeName: elsewhere}",
];

/// The destinations of a service of the table, as addresses.
fn destinations(table: &WantedTable, service: &str) -> Vec<String> {
    let key = service.parse().unwrap();
    let server = table.server(&key).expect("no such service");
    let destinations = server.destinations.iter();
    destinations
        .map(|destination| destination.key.address.to_string())
        .collect()
}

fn local_outside() -> String {
    service(
        "{type: LoadBalancer, clusterIP: 10.96.0.1, externalIPs: [203.0.113.5], \
         externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}]}",
    ) + "status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n"
}

const OUTSIDE: [&str; 3] = [
    "tcp 203.0.113.5:80",
    "tcp 203.0.113.9:80",
    "tcp 192.0.2.10:30080",
];

/// TestOnlyLocalExternalIPs, TestOnlyLocalLoadBalancing, TestOnlyLocalNodePorts.
#[test]
fn with_the_external_policy_local_only_endpoints_of_this_node_serve_the_outside() {
    let table = table(&(local_outside() + &slice("a", &BOTH)));
    assert_eq!(
        destinations(&table, "tcp 10.96.0.1:80"),
        ["10.1.0.1", "10.1.0.2"]
    );
    for service in OUTSIDE {
        assert_eq!(destinations(&table, service), ["10.1.0.1"], "{service}");
    }
}

/// kubernetes/kubernetes PR 97081.
#[test]
fn with_the_external_policy_local_and_no_endpoint_here_pods_of_the_node_still_reach_the_others() {
    let table = table(&(local_outside() + &slice("a", &BOTH[1..])));
    for service in OUTSIDE {
        assert_eq!(destinations(&table, service), ["10.1.0.2"], "{service}");
    }
}

/// TestTestInternalTrafficPolicyE2E.
#[test]
fn with_the_internal_policy_local_only_endpoints_of_this_node_serve_the_cluster() {
    let spec = "{clusterIP: 10.96.0.1, internalTrafficPolicy: Local, ports: [{port: 80}]}";
    for (endpoints, expected) in [(&BOTH[..], &["10.1.0.1"][..]), (&BOTH[1..], &[])] {
        let table = table(&(service(spec) + &slice("a", endpoints)));
        assert_eq!(destinations(&table, "tcp 10.96.0.1:80"), expected);
    }
}

/// Test_EndpointSliceReadyAndTerminatingCluster.
#[test]
fn ready_endpoints_are_preferred_to_terminating_ones() {
    let endpoints = [
        "{addresses: [10.1.0.1], conditions: {ready: true, serving: true, terminating: false}}",
        "{addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: true}}",
        "{addresses: [10.1.0.3], conditions: {ready: false, serving: false, terminating: true}}",
        "{addresses: [10.1.0.4], conditions: {ready: false, serving: false, terminating: false}}",
    ];
    for (endpoints, expected) in [
        (&endpoints[..], &["10.1.0.1"][..]),
        // Test_EndpointSliceOnlyReadyAndTerminating...: without a ready one, the endpoints that
        // still can do serve.
        (&endpoints[1..], &["10.1.0.2"]),
        (&endpoints[2..], &[]),
    ] {
        let table = table(&(service(CLUSTER_IP) + &slice("a", endpoints)));
        assert_eq!(destinations(&table, "tcp 10.96.0.1:80"), expected);
    }
}

/// Test_EndpointSliceReadyAndTerminatingLocal.
#[test]
fn with_the_policy_local_a_terminating_endpoint_here_is_preferred_to_a_ready_one_elsewhere() {
    let endpoints = [
        "{addresses: [10.1.0.1], nodeName: here, conditions: {ready: false, serving: true, terminating: true}}",
        "{addresses: [10.1.0.2], nodeName: elsewhere, conditions: {ready: true}}",
    ];
    let table = table(&(local_outside() + &slice("a", &endpoints)));
    for service in OUTSIDE {
        assert_eq!(destinations(&table, service), ["10.1.0.1"], "{service}");
    }
    assert_eq!(destinations(&table, "tcp 10.96.0.1:80"), ["10.1.0.2"]);
}

/// The API: `ready` unknown is ready, `serving` unknown is as `ready`.
#[test]
fn unknown_conditions_count_as_ready() {
    for conditions in ["", ", conditions: null", ", conditions: {ready: null}"] {
        let endpoint = format!("{{addresses: [10.1.0.1]{conditions}}}");
        let table = table(&(service(CLUSTER_IP) + &slice("a", &[&endpoint])));
        assert_eq!(destinations(&table, "tcp 10.96.0.1:80"), ["10.1.0.1"]);
    }
}

/// TestSessionAffinity.
#[test]
fn client_affinity_is_persistence_for_single_addresses() {
    for (config, seconds) in [
        ("", 10_800),
        (
            ", sessionAffinityConfig: {clientIP: {timeoutSeconds: 100}}",
            100,
        ),
    ] {
        let yaml = service(&format!(
            "{{type: NodePort, clusterIP: 10.96.0.1, sessionAffinity: ClientIP{config}, \
             ports: [{{port: 80, nodePort: 30080}}]}}"
        ));
        assert_table(
            &yaml,
            &[
                &format!("-A -t 10.96.0.1:80 -s rr -p {seconds}"),
                &format!("-A -t 192.0.2.10:30080 -s rr -p {seconds}"),
            ],
        );
    }
}

/// TestSyncService: the scheduler of the configuration, and the flag of mh.
#[test]
fn services_have_the_configured_scheduler_and_mh_counts_ports() {
    for (scheduler, expected) in [
        (Scheduler::WLC, "-A -t 10.96.0.1:80 -s wlc"),
        (Scheduler::MH, "-A -t 10.96.0.1:80 -s mh -b mh-port"),
    ] {
        let settings = Settings {
            scheduler,
            ..Settings::default()
        };
        let table = translate(&objects(&service(CLUSTER_IP)), &node(), &settings);
        assert_eq!(lines(&table), [expected]);
    }
}

/// TestMultiPortServiceBindAddr: an address stays while one port is left.
#[test]
fn an_address_is_bound_until_its_last_port_is_gone() {
    for (ports, bound) in [
        (
            "[{name: a, port: 80}, {name: b, port: 443}]",
            &["10.96.0.1"][..],
        ),
        ("[{name: b, port: 443}]", &["10.96.0.1"]),
        ("[]", &[]),
    ] {
        let yaml = service(&format!("{{clusterIP: 10.96.0.1, ports: {ports}}}"));
        assert_eq!(addresses(&table(&yaml)), bound);
    }
}

/// TestBuildServiceMapServiceHeadless and the tests of ExternalName.
#[test]
fn services_without_an_address_of_their_own_are_none() {
    for spec in [
        "{clusterIP: None, ports: [{port: 80}]}",
        "{clusterIP: '', ports: [{port: 80}]}",
        "{type: ExternalName, externalName: example.org, clusterIP: 10.96.0.1, ports: [{port: 80}]}",
    ] {
        assert_table(&service(spec), &[]);
    }
}

/// The informer of kube-proxy leaves out objects of other proxies.
#[test]
fn services_of_another_proxy_are_left_to_it() {
    let yaml = service(CLUSTER_IP).replace(
        "namespace: default",
        "namespace: default, labels: {service.kubernetes.io/service-proxy-name: other}",
    );
    assert_table(&yaml, &[]);
}

/// TestBuildServiceMap..., TestUpdateEndpointsMap: ports belong together by name and protocol.
#[test]
fn endpoints_are_those_of_the_port_with_the_same_name_and_protocol() {
    let yaml = service(
        "{clusterIP: 10.96.0.1, ports: [{name: dns, protocol: UDP, port: 53}, \
         {name: dns-tcp, protocol: TCP, port: 53}, {name: association, protocol: SCTP, port: 7}]}",
    ) + &slice("a", &["{addresses: [10.1.0.1]}"]).replace(
        "[{port: 8080, protocol: TCP}]",
        "[{name: dns, port: 1053, protocol: UDP}, {name: dns-tcp, port: 2053, protocol: TCP}, \
         {name: association, port: 77, protocol: TCP}, {name: dns, protocol: UDP}]",
    );
    assert_table(
        &yaml,
        &[
            "-A -t 10.96.0.1:53 -s rr",
            "-a -t 10.96.0.1:53 -r 10.1.0.1:2053 -m -w 1",
            "-A -u 10.96.0.1:53 -s rr",
            "-a -u 10.96.0.1:53 -r 10.1.0.1:1053 -m -w 1",
            "-A --sctp-service 10.96.0.1:7 -s rr",
        ],
    );
}

/// TestEndpointSliceCache: an endpoint that moves between slices is in both for a while.
#[test]
fn an_endpoint_in_two_slices_is_one_destination_and_ready_if_one_says_so() {
    let gone = "{addresses: [10.1.0.1], conditions: {ready: false}}";
    for slices in [
        slice("a", &[gone]) + &slice("b", &["{addresses: [10.1.0.1]}"]),
        slice("a", &["{addresses: [10.1.0.1]}"]) + &slice("b", &[gone]),
        slice("a", &["{addresses: [10.1.0.1]}"]) + &slice("b", &["{addresses: [10.1.0.1]}"]),
    ] {
        let table = table(&(service(CLUSTER_IP) + &slices));
        assert_eq!(destinations(&table, "tcp 10.96.0.1:80"), ["10.1.0.1"]);
    }
}

/// The API server assigns no address twice, but operators write external addresses by hand.
#[test]
fn of_two_services_with_one_address_the_first_by_name_has_it_and_the_other_is_reported() {
    let one = service("{clusterIP: 10.96.0.1, externalIPs: [203.0.113.5], ports: [{port: 80}]}");
    let other = one
        .replace("name: web", "name: another")
        .replace("10.96.0.1", "10.96.0.2");
    let expected = [
        "-A -t 10.96.0.1:80 -s rr",
        "-A -t 10.96.0.2:80 -s rr",
        "-A -t 203.0.113.5:80 -s rr",
        "-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1",
    ];
    let endpoints = slice("a", &["{addresses: [10.1.0.1]}"]);
    for yaml in [one.clone() + &other + &endpoints, endpoints + &other + &one] {
        let table = table(&yaml);
        let mut lines = lines(&table);
        lines.sort_by_key(|line| line.starts_with("-a"));
        assert_eq!(lines, expected);
        let problems: Vec<_> = table.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "Service default/web: tcp 203.0.113.5:80 is not served: Service default/another has it"
            ]
        );
    }
}

/// The same address as external and as the load balancer's is no clash.
#[test]
fn one_service_may_name_an_address_twice() {
    let yaml = balancer(", externalIPs: [203.0.113.9]")
        + "status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n";
    assert_table(
        &yaml,
        &["-A -t 10.96.0.1:80 -s rr", "-A -t 203.0.113.9:80 -s rr"],
    );
}

#[test]
fn a_text_that_is_no_address_is_reported_and_the_rest_is_served() {
    let table = table(&service(
        "{clusterIP: 10.96.0.1, externalIPs: [nonsense], ports: [{port: 80}]}",
    ));
    assert_eq!(lines(&table), ["-A -t 10.96.0.1:80 -s rr"]);
    let problems: Vec<_> = table.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        ["Service default/web: spec.externalIPs: \"nonsense\" is not an IP address"]
    );
}

#[test]
fn a_timeout_of_affinity_beyond_the_kernels_is_cut_and_reported() {
    let table = table(&service(
        "{clusterIP: 10.96.0.1, sessionAffinity: ClientIP, \
         sessionAffinityConfig: {clientIP: {timeoutSeconds: 4294968}}, ports: [{port: 80}]}",
    ));
    assert_eq!(lines(&table), ["-A -t 10.96.0.1:80 -s rr -p 4294967"]);
    assert_eq!(table.problems().len(), 1);
}
