//! TLS as this driver sees it: who brings the configurations, what a handshake agreed on, and
//! what went wrong.
//!
//! Not here: certificates, trust and resumption; those are in the configurations that an embedder
//! passes in. Invariant: a destination that asks for more than a shared configuration can give is
//! refused, never served with less.
//! Read next: `leg.rs`, which runs the handshakes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gatepost_core::config::{Destination, Host, Protocol};
use gatepost_core::{TlsFacts, TlsFault};
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, CommonState, Error, HandshakeKind,
    ProtocolVersion, ServerConnection,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroize;

use crate::leg::{BoxedStream, TlsStart};

/// Where the TLS configurations toward backends come from.
///
/// Implemented for one configuration that serves every destination, and for closures:
///
/// ```
/// use std::sync::Arc;
///
/// use gatepost_tokio::BackendTls;
/// use gatepost_tokio::config::{Destination, Protocol};
/// use gatepost_tokio::TlsFault;
/// use rustls::{ClientConfig, RootCertStore};
///
/// fn provider(roots: RootCertStore) -> impl BackendTls {
///     let shared = Arc::new(
///         ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
///     );
///     move |destination: &Destination, _: Protocol| {
///         if destination.tls_pinned_cert_sha256.is_empty() {
///             Ok(Arc::clone(&shared))
///         } else {
///             Err(TlsFault::Setup) // this embedder has nothing that checks pins
///         }
///     }
/// }
/// # let _ = provider(RootCertStore::empty());
/// ```
///
/// Keep each configuration: it holds the sessions that later handshakes resume. The server's name
/// is not part of it: it is the destination's `tls_server_name`, or else its `host`.
pub trait BackendTls: Send + Sync + 'static {
    /// The configuration for a destination.
    ///
    /// # Errors
    ///
    /// [`TlsFault::Setup`] where there is none; the login is refused as a fault of configuration.
    fn client_config(
        &self,
        destination: &Destination,
        protocol: Protocol,
    ) -> Result<Arc<ClientConfig>, TlsFault>;
}

/// One configuration for all. A destination with a CA file, pins or a client certificate of its
/// own is refused: only an implementation that honours those can serve it.
impl BackendTls for Arc<ClientConfig> {
    fn client_config(
        &self,
        destination: &Destination,
        _protocol: Protocol,
    ) -> Result<Arc<ClientConfig>, TlsFault> {
        let has_wishes = destination.tls_ca_file.is_some()
            || destination.tls_client_cert.is_some()
            || !destination.tls_pinned_cert_sha256.is_empty();
        if has_wishes { Err(TlsFault::Setup) } else { Ok(Self::clone(self)) }
    }
}

impl<F> BackendTls for F
where
    F: Fn(&Destination, Protocol) -> Result<Arc<ClientConfig>, TlsFault> + Send + Sync + 'static,
{
    fn client_config(
        &self,
        destination: &Destination,
        protocol: Protocol,
    ) -> Result<Arc<ClientConfig>, TlsFault> {
        self(destination, protocol)
    }
}

/// What a handshake agreed on with a client: for [`crate::Accepted::tls`], where a program has
/// accepted TLS itself.
///
/// ```no_run
/// # async fn example(
/// #     gatepost: gatepost_tokio::Gatepost,
/// #     acceptor: tokio_rustls::TlsAcceptor,
/// #     socket: tokio::net::TcpStream,
/// # ) -> std::io::Result<()> {
/// use gatepost_tokio::{Accepted, Peer, facts_of};
///
/// let peer = Peer { client: socket.peer_addr()?, local: socket.local_addr()? };
/// let stream = acceptor.accept(socket).await?;
/// let facts = facts_of(stream.get_ref().1);
/// gatepost.serve(stream, Accepted::new(peer).tls(facts)).await;
/// # Ok(())
/// # }
/// ```
pub fn facts_of(connection: &ServerConnection) -> TlsFacts {
    let server_name = connection.server_name().map(str::to_owned);
    TlsFacts { server_name, ..agreed(connection) }
}

pub(crate) fn facts_of_client(connection: &ClientConnection) -> TlsFacts {
    agreed(connection)
}

fn agreed(state: &CommonState) -> TlsFacts {
    let version = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(_) | None => "TLSv1.3",
    };
    let suite = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsFacts {
        version,
        cipher: iana_name(suite.unwrap_or("unknown")),
        server_name: None,
        alpn: state.alpn_protocol().map(Into::into),
        resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

/// rustls calls the suites of TLS 1.3 `TLS13_…`, IANA and everybody else `TLS_…`.
fn iana_name(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

/// What a handshake with a destination needs.
pub(crate) fn toward(
    destination: &Destination,
    host: &Host,
    protocol: Protocol,
    provider: Option<&Arc<dyn BackendTls>>,
) -> Result<TlsStart, TlsFault> {
    let config = provider.ok_or(TlsFault::Setup)?.client_config(destination, protocol)?;
    let name = destination.tls_name(host).to_owned();
    let name = ServerName::try_from(name).map_err(|_| TlsFault::Setup)?;
    Ok(TlsStart::Client(config, name))
}

/// The error of TLS inside one of input and output.
pub(crate) fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The class of what made a handshake fail.
pub(crate) fn fault(error: &io::Error) -> TlsFault {
    let Some(error) = inner(error) else { return TlsFault::Closed };
    let no_protocol = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    if matches!(error, Error::InvalidCertificate(_)) {
        TlsFault::Certificate
    } else if *error == Error::NoApplicationProtocol
        || *error == no_protocol
        || matches!(error, Error::PeerIncompatible(_))
    {
        TlsFault::NoCommonGround
    } else if matches!(error, Error::AlertReceived(_)) {
        TlsFault::Alert
    } else {
        TlsFault::Protocol
    }
}

/// A stream that gives back what was read of it too early, before it goes on, and that sends what
/// was held back together with what is written first.
pub(crate) struct Replayed {
    early: Vec<u8>,
    given: usize,
    /// To be sent in front, in one piece with the first octets that are written.
    held_back: Vec<u8>,
    stream: BoxedStream,
}

impl Replayed {
    pub(crate) fn new(early: Vec<u8>, held_back: Vec<u8>, stream: BoxedStream) -> Self {
        Self { early, given: 0, held_back, stream }
    }

    /// Sends what was held back and what was written since.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held_back.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.held_back);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => drop(self.held_back.drain(..count)),
            }
        }
        self.held_back = Vec::new();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn into_inner(self) -> BoxedStream {
        self.stream
    }
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            // Whoever waits for an answer has said all that it has to say.
            if let Poll::Ready(Err(error)) = self.poll_release(context) {
                return Poll::Ready(Err(error));
            }
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let rest = &self.early[self.given..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.given += count;
        if self.given == self.early.len() {
            self.early.zeroize();
            self.early = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held_back.is_empty() {
            return Pin::new(&mut self.stream).poll_write(context, octets);
        }
        self.held_back.extend_from_slice(octets);
        match self.poll_release(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // The rest goes out with what is written or flushed next.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(octets.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
