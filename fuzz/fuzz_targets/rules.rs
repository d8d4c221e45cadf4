//! Any text is read or refused, and a table that was read is printed and read again as the same
//! table.
#![no_main]

use ipvs_netlink::rules::{Form, Grammar, print};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let strict = Grammar {
        form: Form::Ipvsadm,
        names: None,
    };
    let _ = strict.servers(text);
    let grammar = Grammar::default();
    if let Ok(servers) = grammar.servers(text) {
        let printed = print(&servers, Form::Lossless);
        let again = grammar.servers(&printed).expect("printed rules are read");
        assert_eq!(again.len(), servers.len());
        for server in &servers {
            let found = again
                .iter()
                .find(|other| other.service == server.service)
                .expect("every service");
            assert_eq!(found.destinations.len(), server.destinations.len());
            assert!(
                server
                    .destinations
                    .iter()
                    .all(|destination| found.destinations.contains(destination))
            );
        }
    }
});
