//! The server that is used while the quorum is lost.

use std::net::IpAddr;

use super::{Method, Service, VirtualServer, endpoint};
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
}

/// The statements of a sorry server, as far as they were read.
#[derive(Default)]
pub(super) struct Statements {
    endpoint: Option<(IpAddr, u16)>,
    method: Option<Method>,
}

impl Statements {
    /// Reads `sorry_server`.
    pub(super) fn read_endpoint(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        let address = text.parse().ok();
        let port = match statement.word_at(1) {
            Some(port) => endpoint::port(port),
            None => Some(0),
        };
        match address.zip(port) {
            Some(found) => self.endpoint = Some(found),
            None => complaints.push(
                Complaint::new(
                    Kind::BadAddress,
                    format!("sorry_server: {text:?} is not an address with a port; it is not used"),
                )
                .at(statement.place)
                .token(text),
            ),
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

    /// The sorry server of a virtual server whose other settings are complete.
    pub(super) fn finish(self, server: &VirtualServer, node: &Node) -> Option<SorryServer> {
        let (address, port) = self.endpoint?;
        Some(SorryServer {
            address,
            // By default, the port of the service.
            port: match server.service {
                Service::Address(_, own) if port == 0 => own,
                _ => port,
            },
            method: self.method.unwrap_or_else(|| server.method.clone()),
            inhibits: node.has("sorry_server_inhibit"),
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
