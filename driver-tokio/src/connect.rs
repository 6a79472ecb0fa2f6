//! Connections to backends: the embedder's own, or TCP with name resolution.
//!
//! Not here: which host of a destination, which the service picks; TLS, which the session puts on
//! top; how long an attempt may take, which the core knows, and in which order addresses are tried
//! (`gatepost_core::race`).
//! Read next: `dialogue.rs`, which asks for connections.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use gatepost_core::config::{Destination, Host};
use gatepost_core::race::Race;
use gatepost_core::{ConnectFault, Instant, SourceTurns, Target};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::sleep_until;

use crate::leg::BoxedStream;
use crate::orders::never;
use crate::route::Boxed;

/// Connects to backends.
///
/// The stream may be anything; with in-memory ones a test needs no socket:
///
/// ```
/// use std::sync::Arc;
///
/// use gatepost_tokio::config::Host;
/// use gatepost_tokio::{ConnectFault, Connected, Connector, Target};
/// use tokio::io::DuplexStream;
/// use tokio::sync::mpsc;
///
/// /// Gives the far end of every connection to whoever plays the backend.
/// struct InMemory(mpsc::Sender<DuplexStream>);
///
/// impl Connector for InMemory {
///     type Stream = DuplexStream;
///
///     async fn connect(
///         &self,
///         _: Target,
///         _: Arc<Host>,
///     ) -> Result<Connected<DuplexStream>, ConnectFault> {
///         let (near, far) = tokio::io::duplex(4096);
///         self.0.send(far).await.map_err(|_| ConnectFault::Refused)?;
///         Ok(Connected::new(near, ([192, 0, 2, 1], 143).into(), ([192, 0, 2, 2], 0).into()))
///     }
/// }
/// ```
///
/// The future is dropped when the attempt's time is over or its session ends, at any of its
/// awaits.
pub trait Connector: Send + Sync + 'static {
    /// What comes of it.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Makes one connection to the host that was picked of [`Target::destination`], at the port
    /// that its endpoint for [`Target::protocol`] has there
    /// ([`gatepost_core::config::Endpoint::port_on`]). [`Target::tried`] says how many attempts of
    /// this login failed. Where a route gives an address or a backend refers elsewhere, the host is
    /// that place, and none of the destination's own.
    ///
    /// # Errors
    ///
    /// Why there is none; the core decides whether to try again.
    fn connect(
        &self,
        target: Target,
        host: Arc<Host>,
    ) -> impl Future<Output = Result<Connected<Self::Stream>, ConnectFault>> + Send;
}

/// A connection to a backend.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected<S> {
    /// The connection, before any TLS.
    pub stream: S,
    /// The backend's address; it may stand in logs.
    pub address: SocketAddr,
    /// Our address on that connection.
    pub local: SocketAddr,
    /// What the destination announced to an earlier login, where the connector knows it; otherwise
    /// what this [`crate::Gatepost`] remembers counts.
    pub remembered: Option<Arc<[u8]>>,
}

impl<S> Connected<S> {
    /// A connection with its two addresses.
    pub const fn new(stream: S, address: SocketAddr, local: SocketAddr) -> Self {
        Self { stream, address, local, remembered: None }
    }
}

/// TCP, with the system's name resolution: every address of the host is tried in turn, a second one
/// beside the first if that takes long, from the destination's `source_ips` where it has some, each
/// in turn too. An address of a family of which there is none among them is passed over.
#[derive(Debug, Default)]
pub struct TcpConnector {
    sources: Mutex<SourceTurns>,
}

impl TcpConnector {
    /// The default connector.
    pub const fn new() -> Self {
        Self { sources: Mutex::new(SourceTurns::new()) }
    }

    fn source(
        &self,
        destination: &Destination,
        to: IpAddr,
    ) -> Result<Option<IpAddr>, ConnectFault> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).next(destination, to)
    }
}

async fn reach(at: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    if let Some(source) = source {
        choose_port_late(&socket);
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(at).await
}

/// Lets the port be chosen with the peer, so that ports run out by peer and not in all. A kernel
/// that cannot do so still connects.
#[cfg(target_os = "linux")]
fn choose_port_late(socket: &TcpSocket) {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
    let _ = setsockopt(socket, IpBindAddressNoPort, &true);
}

#[cfg(not(target_os = "linux"))]
const fn choose_port_late(_: &TcpSocket) {}

impl Connector for TcpConnector {
    type Stream = TcpStream;

    async fn connect(
        &self,
        target: Target,
        host: Arc<Host>,
    ) -> Result<Connected<TcpStream>, ConnectFault> {
        let Target { destination, protocol, tried, .. } = target;
        let endpoint = destination.endpoint(protocol).ok_or(ConnectFault::NoAddress)?;
        let port = endpoint.port_on(&host);
        let found = lookup_host((host.name.as_str(), port)).await;
        let found: Vec<_> =
            found.map_err(|_| ConnectFault::NoAddress)?.map(|address| address.ip()).collect();
        self.run(Race::new(&found, port, tried), &destination).await
    }
}

/// One attempt, and which address it is for.
type Attempt<'a> = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send + 'a>>;

impl TcpConnector {
    /// The first connection that stands; the others are dropped.
    async fn run(
        &self,
        mut race: Race,
        destination: &Destination,
    ) -> Result<Connected<TcpStream>, ConnectFault> {
        let epoch = tokio::time::Instant::now();
        let mut attempts: Vec<Attempt<'_>> = Vec::new();
        let mut fault = ConnectFault::NoAddress;
        loop {
            let now = u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
            while let Some(address) = race.next(attempts.len(), Instant::from_millis(now)) {
                let source = match self.source(destination, address.ip()) {
                    Ok(source) => source,
                    // Why an address that was tried did not do is the better reason.
                    Err(skipped) => {
                        if fault == ConnectFault::NoAddress {
                            fault = skipped;
                        }
                        continue;
                    }
                };
                let attempt = async move { (address, reach(address, source).await) };
                attempts.push(Box::pin(attempt));
            }
            if attempts.is_empty() {
                return Err(fault);
            }
            let due =
                race.due(attempts.len()).map(|due| epoch + due.since(Instant::from_millis(0)));
            let Some((address, reached)) = first(&mut attempts, due).await else { continue };
            match reached.and_then(|stream| Ok((stream.local_addr()?, stream))) {
                Ok((local, stream)) => return Ok(Connected::new(stream, address, local)),
                Err(error) => fault = connect_fault(&error),
            }
        }
    }
}

/// The first attempt that comes to an end, and it is one no more; none by then.
async fn first(
    attempts: &mut Vec<Attempt<'_>>,
    due: Option<tokio::time::Instant>,
) -> Option<(SocketAddr, io::Result<TcpStream>)> {
    let mut timer = pin!(sleep_until(due.unwrap_or_else(never)));
    poll_fn(|context| {
        for place in 0..attempts.len() {
            if let Poll::Ready(outcome) = attempts[place].as_mut().poll(context) {
                drop(attempts.remove(place));
                return Poll::Ready(Some(outcome));
            }
        }
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Too many open files, of this process and of the system, on every Unix.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

fn connect_fault(error: &io::Error) -> ConnectFault {
    let kind = error.kind();
    if kind == ErrorKind::ConnectionRefused {
        ConnectFault::Refused
    } else if matches!(
        kind,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NetworkDown
    ) {
        ConnectFault::Unreachable
    } else if kind == ErrorKind::TimedOut {
        ConnectFault::TimedOut
    } else if matches!(kind, ErrorKind::AddrNotAvailable | ErrorKind::OutOfMemory)
        || cfg!(unix) && matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
    {
        // A lack of ports is reported as an address that is not available.
        ConnectFault::Exhausted
    } else {
        ConnectFault::Io
    }
}

/// A connector of whatever type.
pub(crate) trait AnyConnector: Send + Sync {
    fn connect(
        self: Arc<Self>,
        target: Target,
        host: Arc<Host>,
    ) -> Boxed<Result<Connected<BoxedStream>, ConnectFault>>;
}

impl<C: Connector> AnyConnector for C {
    fn connect(
        self: Arc<Self>,
        target: Target,
        host: Arc<Host>,
    ) -> Boxed<Result<Connected<BoxedStream>, ConnectFault>> {
        Box::pin(async move {
            let Connected { stream, address, local, remembered } =
                Connector::connect(&*self, target, host).await?;
            let stream: BoxedStream = Box::new(stream);
            Ok(Connected { stream, address, local, remembered })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use gatepost_core::config::{Protocol, TlsMode};

    use super::*;
    use crate::settings::destination;

    #[test]
    fn faults_have_their_classes() {
        let fault = |kind: ErrorKind| connect_fault(&io::Error::from(kind));
        assert_eq!(fault(ErrorKind::ConnectionRefused), ConnectFault::Refused);
        assert_eq!(fault(ErrorKind::HostUnreachable), ConnectFault::Unreachable);
        assert_eq!(fault(ErrorKind::AddrNotAvailable), ConnectFault::Exhausted);
        assert_eq!(fault(ErrorKind::TimedOut), ConnectFault::TimedOut);
        assert_eq!(fault(ErrorKind::PermissionDenied), ConnectFault::Io);
    }

    /// The first address takes no connection and refuses none: the second one is tried beside it,
    /// long before anybody's patience ends.
    #[tokio::test]
    async fn an_address_that_answers_nothing_is_not_waited_for() {
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = good.local_addr().unwrap().port();
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind(SocketAddr::from(([127, 0, 0, 2], port))).unwrap();
        let silent = silent.listen(0).unwrap();
        let full = silent.local_addr().unwrap();
        let mut filling: Vec<Attempt<'_>> = Vec::new();
        for _ in 0..4 {
            let attempt = async move { (full, TcpStream::connect(full).await) };
            filling.push(Box::pin(attempt));
        }
        let begun = tokio::time::Instant::now();
        while first(&mut filling, Some(begun + gatepost_core::race::ATTEMPT_DELAY)).await.is_some()
        {
        }
        assert!(!filling.is_empty(), "somebody waits, so that whoever comes now waits too");

        let backend = destination("host", port, Protocol::Imap, TlsMode::Plain).unwrap();
        let addresses = [[127, 0, 0, 2], [127, 0, 0, 1]].map(IpAddr::from);
        let connector = TcpConnector::new();
        let connected = connector.run(Race::new(&addresses, port, 0), &backend).await.unwrap();
        assert_eq!(connected.address.ip(), addresses[1]);
    }

    #[tokio::test]
    async fn source_addresses_take_turns_and_are_never_left_out() {
        let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = backend.local_addr().unwrap().port();
        let mut there = destination("127.0.0.1", port, Protocol::Imap, TlsMode::Plain).unwrap();
        there.source_ips = ["127.0.0.2", "127.0.0.3"].map(|text| text.parse().unwrap()).to_vec();
        let connector = TcpConnector::new();
        let race = || Race::new(&[IpAddr::from([127, 0, 0, 1])], port, 0);
        for expected in ["127.0.0.2", "127.0.0.3", "127.0.0.2"] {
            let connected = connector.run(race(), &there).await.unwrap();
            assert_eq!(connected.local.ip().to_string(), expected);
        }
        there.source_ips = vec!["::1".parse().unwrap()];
        let fault = connector.run(race(), &there).await.unwrap_err();
        assert_eq!(fault, ConnectFault::NoSourceAddress);
    }
}
