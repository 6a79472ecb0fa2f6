//! Where this service listens itself, as places where no connection of its own may lead.
//!
//! Known are the sockets that [`crate::Gatepost::serve_listener`] accepts from, for as long as it
//! does; what an embedder accepts by itself is its own to know. Whether an address of the peer's is
//! this machine's shows once the connection stands: then both ends have it.

use std::io;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use gatepost_core::config::accepts;
use tokio::net::TcpListener;

/// The addresses that are accepted from now.
#[derive(Debug, Default)]
pub(crate) struct Own(RwLock<Vec<SocketAddr>>);

/// A socket that is accepted from; dropping it ends that.
pub(crate) struct Listening<'a> {
    own: &'a Own,
    bound: Vec<SocketAddr>,
}

impl Own {
    /// Begins to accept from a socket.
    pub(crate) fn listening(&self, listener: &TcpListener) -> Listening<'_> {
        // A socket that does not know its address takes no connection that could be ours.
        let bound = bound(listener).unwrap_or_default();
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(&bound);
        Listening { own: self, bound }
    }

    /// Whether a connection between these ends is one to ourselves.
    pub(crate) fn holds(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let is_ours = local.ip().to_canonical() == peer.ip().to_canonical();
        let bound = self.0.read().unwrap_or_else(PoisonError::into_inner);
        bound.iter().any(|bind| accepts(*bind, peer, is_ours))
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let mut bound = self.own.0.write().unwrap_or_else(PoisonError::into_inner);
        for gone in &self.bound {
            if let Some(place) = bound.iter().position(|bind| bind == gone) {
                bound.swap_remove(place);
            }
        }
    }
}

/// The addresses of a socket: two, where one that is bound to all of version 6 takes version 4 too,
/// which is what most systems do unless they are asked not to.
fn bound(listener: &TcpListener) -> io::Result<Vec<SocketAddr>> {
    let bound = listener.local_addr()?;
    let mut all = vec![bound];
    if bound.is_ipv6() && bound.ip().is_unspecified() && !is_v6_only(listener) {
        all.push(SocketAddr::from(([0; 4], bound.port())));
    }
    Ok(all)
}

#[cfg(target_os = "linux")]
fn is_v6_only(listener: &TcpListener) -> bool {
    use nix::sys::socket::{getsockopt, sockopt::Ipv6V6Only};
    getsockopt(listener, Ipv6V6Only).unwrap_or(false)
}

#[cfg(not(target_os = "linux"))]
const fn is_v6_only(_: &TcpListener) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_listener_is_known_while_it_is_accepted_from() {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = Own::default();
        let ends = |ip: [u8; 4]| SocketAddr::from((ip, port));
        let six = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
        let listening = own.listening(&listener);
        assert!(own.holds(six, six));
        assert!(own.holds(ends([192, 0, 2, 1]), ends([192, 0, 2, 1])), "v4 comes in there, too");
        assert!(!own.holds(ends([192, 0, 2, 1]), ends([192, 0, 2, 2])), "somebody else's");
        drop(listening);
        assert!(!own.holds(six, six));
    }
}
