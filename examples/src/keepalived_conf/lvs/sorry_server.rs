//! The server that is used while the quorum is lost.

use std::net::IpAddr;

use super::{Method, VirtualServer, endpoint};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::Node,
};

/// `sorry_server`.
#[derive(Clone, Debug)]
pub struct SorryServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
    /// Whether it stays with weight 0 while it is not needed.
    pub inhibits: bool,
    /// Whether it is also one of the real servers.
    pub duplicates_real_server: bool,
}

/// The statements of a sorry server, as far as they were read.
#[derive(Default)]
pub(super) struct Statements {
    endpoint: Option<(IpAddr, u16)>,
    method: Option<Method>,
    /// The method of the virtual server where the sorry server stands, if it is known there.
    method_before: Option<Method>,
}

impl Statements {
    /// Reads `sorry_server`.
    pub(super) fn read_endpoint(
        &mut self,
        statement: &Node,
        method_before: Option<&Method>,
        complaints: &mut Vec<Complaint>,
    ) {
        let text = statement.word_at(0).unwrap_or_default();
        let address = endpoint::address(text);
        endpoint::advise(statement, complaints);
        let port = statement.word_at(1).unwrap_or("0");
        let found = address.zip(endpoint::leading_port(port));
        if let Some(found) = found {
            self.endpoint = Some(found);
            self.method_before = method_before.cloned();
        }
        if found.is_none() || endpoint::port(port).is_none() {
            let remedy = match found {
                Some((address, port)) => format!("{address} with port {port} is used"),
                None => "it is not used".into(),
            };
            let words = statement.words.join(" ");
            complaints.push(
                Complaint::new(
                    Kind::BadAddress,
                    format!("sorry_server: {words:?} is not an address with a port; {remedy}"),
                )
                .at(statement.place)
                .token(text),
            );
        }
    }

    /// Reads `sorry_server_lvs_method`.
    pub(super) fn read_method(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        if self.endpoint.is_some() {
            let method = Method::read(statement, complaints);
            self.method = method.or(self.method.take());
        } else {
            complaints.push(misplaced(statement));
        }
    }

    /// Reads `sorry_server_inhibit`.
    pub(super) fn read_inhibit(&self, statement: &Node, complaints: &mut Vec<Complaint>) {
        if self.endpoint.is_none() {
            complaints.push(misplaced(statement));
        }
    }

    /// The sorry server of a virtual server whose family is known. `None` if there is none, or it
    /// is ignored.
    pub(super) fn finish(
        self,
        server: &VirtualServer,
        node: &Node,
        complaints: &mut Vec<Complaint>,
    ) -> Option<SorryServer> {
        let (address, port) = self.endpoint?;
        let method = self.method.or(self.method_before);
        let method = method.unwrap_or_else(|| server.method.clone());
        if address.is_ipv6() != server.is_ipv6 && method.kind != "TUN" {
            complaints.push(
                Complaint::new(
                    Kind::FamilyMismatch,
                    format!("sorry server {address} is of another family than its virtual server; it is ignored"),
                )
                .at(node.end)
                .token(address.to_string()),
            );
            return None;
        }
        Some(SorryServer {
            address,
            port,
            method,
            inhibits: node.has("sorry_server_inhibit"),
            duplicates_real_server: false,
        })
    }
}

/// The complaint about a statement before the server that it is about.
fn misplaced(statement: &Node) -> Complaint {
    Complaint::new(
        Kind::Other,
        format!("{} stands behind sorry_server", statement.word),
    )
    .at(statement.place)
    .token(statement.word_at(0).unwrap_or_default())
}
