//! Adds a service with two servers, changes a weight, and lists the result.
//!
//! `cargo run --example one_change` as root. The service is removed in the end.

use ipvs_netlink::{
    Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::open()?;
    println!("IPVS {}", client.info()?.version);

    let service = ServiceKey::tcp(([192, 0, 2, 1], 80));
    client.add_service(Service::new(service, Scheduler::WRR))?;
    let servers = [1, 2].map(|last| DestinationKey::new(([10, 0, 0, last], 8080)));
    for server in servers {
        let server = Destination::new(server, ForwardingMethod::Masquerade);
        client.add_destination(service, server)?;
    }

    // Reads the destination, edits it, and writes it if it differs.
    client.update_destination(service, servers[0], |server| server.weight = 3.into())?;

    for listed in client.destinations(service)? {
        let server = listed.destination;
        let connections = listed.active_connections;
        println!(
            "{}: weight {}, {connections} active",
            server.key, server.weight
        );
    }

    // An error knows the object and the meaning of the error number.
    let missing = DestinationKey::new(([10, 0, 0, 9], 8080));
    if let Err(error) = client.delete_destination(service, missing) {
        println!("{error}");
        assert!(error.is_missing());
    }
    client.delete_service(service)?;
    Ok(())
}
