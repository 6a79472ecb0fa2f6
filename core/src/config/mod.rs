//! The configuration: from a file's text to values that are resolved and checked.
//!
//! Not here: files. Paths stay text; whoever starts the program reads certificates and map files,
//! and checks what needs them or a name server.
//! Invariants: `parse` reports every fault of a text, not the first. What it returns holds every
//! rule that can be judged from the text alone, and every `Listener` and `Destination` is complete:
//! defaults and overrides are merged, nobody needs to look anywhere else.
//! Read next: `keys` (every key there is), `reader` (how values are taken), `listener`,
//! `destination`, `check` (rules that span tables).

mod address;
mod choice;
mod destination;
mod fault;
mod listener;
mod routing;
mod server;
mod tls;

use alloc::{sync::Arc, vec::Vec};

pub use self::{
    address::{Cidr, NotCidr},
    choice::{Forwarding, LogFormat, LogLevel, Normalize, Protocol, TlsMode, TlsVersion},
    destination::{Destination, Endpoint},
    fault::{Fault, Warning},
    listener::Listener,
    routing::{Mapping, MappingSource, Routing},
    server::Server,
    tls::{Certificate, TlsProtocols},
};

/// A configuration that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What concerns the program as a whole.
    pub server: Server,
    /// The certificates for clients, in the file's order.
    pub certificates: Vec<Certificate>,
    /// What is common to TLS on every listener.
    pub tls: TlsProtocols,
    /// In the file's order; at least one.
    pub listeners: Vec<Arc<Listener>>,
    /// In the file's order; at least one.
    pub destinations: Vec<Arc<Destination>>,
    /// Where accounts go that no table knows.
    pub routing: Routing,
    /// Where accounts go that a table knows.
    pub mapping: Mapping,
}

impl Config {
    /// The destination of a name.
    pub fn destination(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destinations.iter().find(|destination| destination.name == name)
    }
}
