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
use gatepost_core::{Peer, Seed};

pub(super) use run::play;
pub(super) use scope::out_of_scope;

/// What a server under test needs to serve one script.
#[derive(Clone)]
pub struct Plan {
    /// Its address is a free port on loopback, to be bound by the server.
    pub listener: Listener,
    /// Path of the listener's certificate, PEM.
    pub certificate: PathBuf,
    /// Path of its private key, PEM.
    pub key: PathBuf,
    /// The accounts with a destination of their own.
    pub named: Vec<(Vec<u8>, Arc<Destination>)>,
    /// Everybody else's destination.
    pub default: Arc<Destination>,
    /// The addresses that sessions believe in, in place of the socket's.
    pub peer: Peer,
    /// The seed of every session.
    pub seed: Seed,
    /// Called once for each attempt to connect: where a host is.
    pub resolve: Resolve,
    /// Octets that the server may take from a socket at once; none: as many as it likes.
    pub read_cap: Option<usize>,
}

/// Where a host and port is, in place of name resolution.
pub type Resolve = Arc<dyn Fn(&str, u16) -> SocketAddr + Send + Sync>;

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("listener", &self.listener.name).finish_non_exhaustive()
    }
}

/// A server that was started for one run; it stops when it is dropped.
pub trait Served: Send {
    /// Where clients connect.
    fn address(&self) -> SocketAddr;
}

/// How a server is started.
pub type Start<'a> = dyn Fn(Plan) -> io::Result<Box<dyn Served>> + Sync + 'a;
