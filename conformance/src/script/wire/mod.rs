//! Scripts over real sockets: a server, a scripted client and a scripted backend on loopback.
//!
//! The server under test is whatever [`Start`] starts for a [`Plan`]; one is started for each run,
//! so that nothing it learned in one is known in the next. TLS handshakes are real. What comes out
//! is compared per leg, and before each group of inputs all that was expected so far has been
//! read: sockets keep no order between two connections.
//!
//! Not here: scripts that need what sockets cannot produce ([`scope`] names the reason): those run
//! in the core alone.
//! Read next: `run` (one script), `socket` (one connection), `certificate`.

mod certificate;
mod run;
mod scope;
mod socket;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use gatepost_core::config::{Destination, Listener};
use gatepost_core::health::Rules;
use gatepost_core::{ConnectFault, Peer, Routing, Seed};

pub(super) use run::play;
pub(super) use scope::out_of_scope;

/// What a server under test needs to serve one script. One worker is enough.
#[derive(Clone)]
pub struct Plan {
    /// Its address is a free port on loopback, to be bound by the server.
    pub listener: Listener,
    /// Path of the listener's certificate, PEM.
    pub certificate: PathBuf,
    /// Path of its private key, PEM.
    pub key: PathBuf,
    /// Path of the certificate for balancers, PEM.
    pub balancer_certificate: PathBuf,
    /// Path of its private key, PEM.
    pub balancer_key: PathBuf,
    /// Every destination that a lookup may lead to.
    pub destinations: Vec<Arc<Destination>>,
    /// Called once for each lookup: where an account lives.
    pub route: Lookup,
    /// The addresses that sessions believe in, in place of the socket's.
    pub peer: Peer,
    /// The seed of every session.
    pub seed: Seed,
    /// When a host is taken out of service.
    pub host_down: Rules,
    /// Called once for each attempt to connect: where a host is, or why nobody gets there.
    pub resolve: Resolve,
    /// What every destination announced in an earlier life. What it announces in this one is not
    /// remembered.
    pub remembered: Option<Arc<[u8]>>,
    /// Octets that the server may take from a socket at once; none: as many as it likes.
    pub read_cap: Option<usize>,
}

/// Where a host and port is, in place of name resolution.
pub type Resolve = Arc<dyn Fn(&str, u16) -> Result<SocketAddr, ConnectFault> + Send + Sync>;

/// Where an account lives, in place of the configuration's tables.
pub type Lookup = Arc<dyn Fn(Option<&[u8]>) -> Routing + Send + Sync>;

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("listener", &self.listener.name).finish_non_exhaustive()
    }
}

/// A server that was started for one run; it stops when it is dropped.
pub trait Served: Send {
    /// Where clients connect.
    fn address(&self) -> SocketAddr;

    /// Passes an order to every session.
    fn obey(&self, order: Order);
}

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To shut down, with time enough for those in relay.
    Drain,
    /// To end every session.
    Kick,
}

/// How a server is started.
pub type Start<'a> = dyn Fn(Plan) -> io::Result<Box<dyn Served>> + Sync + 'a;
