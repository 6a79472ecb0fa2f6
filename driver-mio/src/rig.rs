//! What a test may put in the place of the world.
//!
//! A socket on loopback has neither the addresses nor the cuts that a byte script speaks of, so
//! the server takes them from here. In production everything is at its default, and costs a
//! branch where a connection begins, none where bytes pass.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gatepost_core::{ConnectFault, Peer, Routing, Seed};
use rustix::io::Errno;

/// Where a host and port is, or why nobody gets there, in place of name resolution.
pub type Resolve = Arc<dyn Fn(&str, u16) -> Result<SocketAddr, ConnectFault> + Send + Sync>;

/// Where an account lives, in place of the map.
pub type Lookup = Arc<dyn Fn(Option<&[u8]>) -> Routing + Send + Sync>;

/// The world as a test wants it.
#[derive(Default, Clone)]
pub struct Rig {
    /// The addresses that sessions believe in, in place of their socket's.
    pub peer: Option<Peer>,
    /// The seed of every session, in place of a random one.
    pub seed: Option<Seed>,
    /// Where backends are.
    pub resolve: Option<Resolve>,
    /// Octets that one read takes from a socket at most.
    pub read_cap: Option<usize>,
    /// Where accounts live.
    pub lookup: Option<Lookup>,
    /// What every destination announced in an earlier life. Where this is set, or `forgets` is,
    /// what it announces in this one is not remembered.
    pub remembered: Option<Arc<[u8]>>,
    /// Nothing is remembered of a destination from one session to the next.
    pub forgets: bool,
    /// So many calls of accept(2) fail for want of descriptors.
    pub failing_accepts: Arc<AtomicU32>,
}

impl Rig {
    pub(crate) fn accept_fault(&self) -> Option<io::Error> {
        if self.failing_accepts.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.failing_accepts
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .ok()
            .map(|_| Errno::MFILE.into())
    }
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rig").field("peer", &self.peer).finish_non_exhaustive()
    }
}
