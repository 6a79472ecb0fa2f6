//! Listening sockets: binding them for every worker, and what a failed accept means.
//!
//! Not here: what becomes of an accepted connection, see `worker/accept.rs`.
//! Invariants: an address is first bound without SO_REUSEPORT, so that a second instance of the
//! program is noticed, and only then shared among the workers; the port is never free in between.
//! IPv6 sockets are V6ONLY, so that `0.0.0.0` and `[::]` can be bound on one port.
//! Read next: `server/mod.rs`, which binds everything before a worker starts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that the kernel may hold until a worker accepts them.
const BACKLOG: i32 = 4096;
/// Seconds of silence until the kernel asks whether the other side is still there.
const KEEPALIVE_SECONDS: u64 = 600;

/// The sockets of one address, one a worker, and the address with its port.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Binds an address for so many workers.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let first = socket(address)?;
    first.bind(&address.into())?;
    let address = TcpListener::from(first.try_clone()?).local_addr()?;
    let mut sockets = Vec::with_capacity(workers);
    if workers > 1 {
        first.set_reuse_port(true)?;
    }
    sockets.push(first);
    for _ in 1..workers {
        let further = socket(address)?;
        further.set_reuse_port(true)?;
        further.bind(&address.into())?;
        sockets.push(further);
    }
    for socket in &sockets {
        // What is accepted inherits this, so that no connection has to be told.
        tune(SockRef::from(socket))?;
        socket.listen(BACKLOG)?;
    }
    Ok(Bound { address, sockets: sockets.into_iter().map(TcpListener::from).collect() })
}

/// Prepares a socket, or a listening one for all that it accepts: small writes leave at once, and
/// a vanished peer is noticed.
pub(crate) fn tune(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let span = Duration::from_secs(KEEPALIVE_SECONDS);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(span))
}

/// What to do after an accept that brought no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptFailure {
    /// Nobody waits.
    Empty,
    /// That one connection came to nothing; the next may be fine.
    Skip,
    /// Nothing can be accepted until descriptors or memory are free again.
    Pause,
}

/// Judges an error of accept(2).
pub(crate) fn accept_failure(error: &io::Error) -> AcceptFailure {
    match Errno::from_io_error(error) {
        Some(Errno::WOULDBLOCK) => AcceptFailure::Empty,
        // accept(2) hands out errors that are already pending on the new connection.
        Some(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
            | Errno::PERM,
        ) => AcceptFailure::Skip,
        Some(_) | None => AcceptFailure::Pause,
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Without this a restart would have to wait until the last run's connections are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_second_instance_is_noticed_although_workers_share_the_port() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(first.sockets.len(), 3);
        for workers in [1, 3] {
            let error = bind(first.address, workers).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn what_is_accepted_is_tuned_without_being_told() {
        let bound = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        bound.sockets[0].set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(bound.address).unwrap();
        let (accepted, _) = bound.sockets[0].accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        let span = Duration::from_secs(KEEPALIVE_SECONDS);
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), span);
    }

    #[test]
    fn a_port_is_free_again_when_its_sockets_are_gone() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = first.address;
        drop(first);
        assert_eq!(bind(address, 2).unwrap().address, address);
    }

    #[test]
    fn both_families_share_a_port() {
        let v4 = bind("0.0.0.0:0".parse().unwrap(), 2).unwrap();
        let v6 = bind(SocketAddr::new("::".parse().unwrap(), v4.address.port()), 2).unwrap();
        assert_eq!(v6.address.port(), v4.address.port());
    }

    #[test]
    fn exhaustion_pauses_and_a_broken_connection_does_not() {
        let judge = |errno: Errno| accept_failure(&io::Error::from(errno));
        assert_eq!(judge(Errno::MFILE), AcceptFailure::Pause);
        assert_eq!(judge(Errno::NFILE), AcceptFailure::Pause);
        assert_eq!(judge(Errno::NOMEM), AcceptFailure::Pause);
        assert_eq!(judge(Errno::CONNABORTED), AcceptFailure::Skip);
        assert_eq!(judge(Errno::AGAIN), AcceptFailure::Empty);
    }
}
