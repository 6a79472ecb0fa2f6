//! One end of a session: a stream, the TLS on it, and what is under way.
//!
//! Not the protocol and not deadlines. A leg takes any stream; TLS is put on top of whatever it is
//! by then, with what was received and not eaten as its first input.
//! Invariants: what is written goes out in order and completely, or the leg is lost; nothing is
//! called flushed while ciphertext of it waits; a leg with nothing in flight holds no buffer of
//! its own. Read next: `tls.rs`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gatepost_core::{LegFault, TlsFacts, TlsFault};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream as ClientStream;
use tokio_rustls::server::TlsStream as ServerStream;
use tokio_rustls::{FallibleAccept, FallibleConnect, TlsAcceptor, TlsConnector};
use zeroize::Zeroize;

use crate::tls::{self, Replayed};

/// Octets that are read and forgotten of a leg that ends, before it is given up.
const DISCARD_MAX: usize = 256 * 1024;

/// What a leg can be made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Any stream.
pub(crate) type BoxedStream = Box<dyn Stream>;

/// A stream with its TLS, and what waits to be sent.
pub(crate) struct Leg {
    layer: Layer,
    /// What the stream has not taken.
    unsent: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    /// Something was written since the last flush.
    dirty: bool,
    /// What passes here may be a password.
    guarded: bool,
    eof: bool,
    broken: bool,
    fin: Fin,
    discarded: usize,
}

enum Layer {
    Open(BoxedStream),
    /// TLS that begins once everything before it is sent.
    Due(BoxedStream, TlsStart, Vec<u8>),
    Accepting(Box<FallibleAccept<Replayed>>),
    Connecting(Box<FallibleConnect<Replayed>>),
    Gone,
}

/// A role in a handshake, with what it needs.
pub(crate) enum TlsStart {
    Server(Arc<ServerConfig>),
    Client(Arc<ClientConfig>, ServerName<'static>),
}

/// Where our own end of stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fin {
    NotAsked,
    Asked,
    Sent,
}

/// What a look at a leg brought.
pub(crate) enum Came {
    /// The buffer holds some.
    Octets,
    /// The last byte was read before.
    Eof,
    Lost(LegFault),
}

impl Leg {
    pub(crate) fn new(stream: BoxedStream) -> Self {
        Self {
            layer: Layer::Open(stream),
            unsent: Vec::new(),
            taken: 0,
            dirty: false,
            guarded: true,
            eof: false,
            broken: false,
            fin: Fin::NotAsked,
            discarded: 0,
        }
    }

    /// The dialogue is over: what passes from here on is not for us to wipe.
    pub(crate) fn unguard(&mut self) {
        self.guarded = false;
    }

    /// The peer's last byte was read.
    pub(crate) const fn eof(&self) -> bool {
        self.eof
    }

    /// Whether reading may bring anything.
    pub(crate) const fn worth_reading(&self) -> bool {
        !self.eof && !self.broken && matches!(self.layer, Layer::Open(_))
    }

    /// Whether everything written is with the peer's side of the stream.
    pub(crate) fn is_flushed(&self) -> bool {
        self.broken || (self.unsent.is_empty() && !self.dirty)
    }

    /// Octets that wait to be sent.
    pub(crate) fn unsent_len(&self) -> usize {
        self.unsent.len() - self.taken
    }

    /// Takes octets to be sent, behind all others; [`Leg::poll_flush`] sends them.
    pub(crate) fn queue(&mut self, octets: &[u8]) {
        debug_assert!(self.fin == Fin::NotAsked, "nothing is written behind our own end");
        if !self.broken {
            self.unsent.extend_from_slice(octets);
        }
    }

    /// Sends octets, as far as the stream takes them now; the rest waits.
    pub(crate) fn write(
        &mut self,
        context: &mut Context<'_>,
        mut octets: &[u8],
    ) -> Result<(), LegFault> {
        while self.unsent.is_empty() && !octets.is_empty() {
            let Layer::Open(stream) = &mut self.layer else { break };
            match Pin::new(stream).poll_write(context, octets) {
                Poll::Pending => break,
                Poll::Ready(result) => {
                    let count = result.and_then(some).map_err(|error| self.lost(&error))?;
                    octets = &octets[count..];
                    self.dirty = true;
                }
            }
        }
        self.queue(octets);
        Ok(())
    }

    /// Sends everything that waits, to the last octet of ciphertext.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LegFault>> {
        if self.is_flushed() || self.fin == Fin::Sent {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(self.poll_flush_stream(context));
        Poll::Ready(flushed.map_err(|error| self.lost(&error)))
    }

    fn poll_flush_stream(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = match &mut self.layer {
            Layer::Open(stream) | Layer::Due(stream, TlsStart::Server(_), _) => stream,
            Layer::Due(_, TlsStart::Client(..), _)
            | Layer::Accepting(_)
            | Layer::Connecting(_)
            | Layer::Gone => return Poll::Ready(Ok(())),
        };
        while self.taken < self.unsent.len() {
            let written = Pin::new(&mut *stream).poll_write(context, &self.unsent[self.taken..]);
            self.taken += ready!(written).and_then(some)?;
            self.dirty = true;
        }
        if self.guarded {
            self.unsent.zeroize();
        }
        self.unsent = Vec::new();
        self.taken = 0;
        ready!(Pin::new(stream).poll_flush(context))?;
        self.dirty = false;
        Poll::Ready(Ok(()))
    }

    /// Reads once into a buffer that has room.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Came> {
        debug_assert!(buffer.remaining() > 0, "no room is a reason not to read");
        let Layer::Open(stream) = &mut self.layer else { return Poll::Pending };
        let before = buffer.filled().len();
        let read = ready!(Pin::new(stream).poll_read(context, buffer));
        // TLS, ours or somebody else's, may have something to say about what it has read.
        self.dirty = true;
        Poll::Ready(match read {
            Ok(()) if buffer.filled().len() > before => Came::Octets,
            Ok(()) => self.ended(),
            // The end of a TLS stream without close_notify is an end all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.ended(),
            Err(error) => Came::Lost(self.lost(&error)),
        })
    }

    const fn ended(&mut self) -> Came {
        self.eof = true;
        Came::Eof
    }

    /// Puts TLS on top. `leftover`, what was received and not eaten, is its first input.
    pub(crate) fn start_tls(&mut self, start: TlsStart, leftover: Vec<u8>) {
        let layer = std::mem::replace(&mut self.layer, Layer::Gone);
        if let Layer::Open(stream) = layer {
            self.layer = Layer::Due(stream, start, leftover);
        }
    }

    /// Drives the handshake that was started last.
    pub(crate) fn poll_handshake(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<TlsFacts, TlsFault>> {
        match self.layer {
            // What waits goes out with the first record of the handshake, which is ours.
            Layer::Due(_, TlsStart::Client(..), _) => self.begin_handshake(),
            Layer::Due(_, TlsStart::Server(_), _) => {
                if ready!(self.poll_flush(context)).is_err() {
                    return Poll::Ready(Err(TlsFault::Closed));
                }
                self.begin_handshake();
            }
            Layer::Open(_) | Layer::Accepting(_) | Layer::Connecting(_) | Layer::Gone => {}
        }
        let outcome = match &mut self.layer {
            Layer::Accepting(accept) => ready!(Pin::new(accept).poll(context))
                .map(|stream| (tls::facts_of(stream.get_ref().1), boxed_server(stream))),
            Layer::Connecting(connect) => ready!(Pin::new(connect).poll(context))
                .map(|stream| (tls::facts_of_client(stream.get_ref().1), boxed_client(stream))),
            Layer::Open(_) | Layer::Due(..) | Layer::Gone => {
                return Poll::Ready(Err(TlsFault::Closed));
            }
        };
        Poll::Ready(match outcome {
            Ok((facts, stream)) => {
                self.layer = Layer::Open(stream);
                Ok(facts)
            }
            Err((error, below)) => {
                self.layer = Layer::Open(below.into_inner());
                Err(tls::fault(&error))
            }
        })
    }

    fn begin_handshake(&mut self) {
        let layer = std::mem::replace(&mut self.layer, Layer::Gone);
        self.layer = match layer {
            Layer::Due(stream, TlsStart::Server(config), leftover) => {
                let below = Replayed::new(leftover, Vec::new(), stream);
                let accept = TlsAcceptor::from(config).accept(below).into_fallible();
                Layer::Accepting(Box::new(accept))
            }
            Layer::Due(stream, TlsStart::Client(config, name), leftover) => {
                let mut held_back = std::mem::take(&mut self.unsent);
                held_back.drain(..std::mem::take(&mut self.taken));
                let below = Replayed::new(leftover, held_back, stream);
                let connect = TlsConnector::from(config).connect(name, below).into_fallible();
                Layer::Connecting(Box::new(connect))
            }
            other @ (Layer::Open(_) | Layer::Accepting(_) | Layer::Connecting(_) | Layer::Gone) => {
                other
            }
        };
    }

    /// Ends our direction, once everything is sent: close_notify where there is TLS, then FIN. The
    /// other direction goes on. A peer that has gone already needs neither.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.fin == Fin::Sent {
            return Poll::Ready(());
        }
        let _ = ready!(self.poll_flush(context));
        self.fin = Fin::Asked;
        if let Layer::Open(stream) | Layer::Due(stream, ..) = &mut self.layer {
            let _ = ready!(Pin::new(stream).poll_shutdown(context));
        }
        self.fin = Fin::Sent;
        Poll::Ready(())
    }

    /// Reads and forgets, to the peer's end or until it has said too much: what is closed with
    /// something unread is reset, and a reset may destroy what the peer has not read yet.
    pub(crate) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.discarded < DISCARD_MAX && self.worth_reading() {
            let mut octets = [0; 4096];
            let mut buffer = ReadBuf::new(&mut octets);
            match ready!(self.poll_read(context, &mut buffer)) {
                Came::Octets => self.discarded += buffer.filled().len(),
                Came::Eof | Came::Lost(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// Whether the stream can still be used.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    fn lost(&mut self, error: &io::Error) -> LegFault {
        self.broken = true;
        if self.guarded {
            self.unsent.zeroize();
        }
        self.unsent = Vec::new();
        self.taken = 0;
        leg_fault(error)
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if self.guarded {
            self.unsent.zeroize();
        }
    }
}

fn boxed_server(stream: ServerStream<Replayed>) -> BoxedStream {
    Box::new(stream)
}

fn boxed_client(stream: ClientStream<Replayed>) -> BoxedStream {
    Box::new(stream)
}

/// A stream that takes nothing, ever, is broken.
fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

fn leg_fault(error: &io::Error) -> LegFault {
    use std::io::ErrorKind;
    if tls::inner(error).is_some() {
        return LegFault::Tls;
    }
    let kind = error.kind();
    if matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
        LegFault::Reset
    } else if kind == ErrorKind::TimedOut {
        LegFault::TimedOut
    } else {
        LegFault::Io
    }
}
