//! One TLS layer: the only place that drives a rustls connection.
//!
//! It is the unbuffered kind of connection: records are decrypted in place in the caller's buffer,
//! and `held` keeps no more than an incomplete record, so an idle layer owns no buffer. It knows no
//! socket: ciphertext comes in as a slice and goes out into an `Output`, and so layers stack.
//!
//! Invariants: `process` takes input up to the last whole record, always. Hence what is held
//! never yields a record, and may be (and, as rustls refers to its octets, must be) handed to
//! rustls again whenever it is asked to encrypt. After a fault only its alert goes out.
//!
//! What an idle layer costs is 3.5 KiB of rustls 0.23 and AWS-LC, out of reach from here: two keys
//! with their tables (1.2 KiB), the connection (0.9 to 1), a list of fragments that only handshakes
//! fill (0.6), the state with its secrets (0.3), queues (0.2), and toward a backend its chain of
//! certificates. Of ours are 100 octets.

use std::mem;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedConnectionCommon, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use super::fault::{TlsFault, TlsUp};
use super::scratch::{Output, RECORD_PLAIN_MAX, RECORD_WIRE_MAX};
use crate::tls;

/// Octets of unprocessed input that a client may make us keep: a record, or the fragments of
/// a handshake message. Clients are strangers, and what they send during a handshake is short.
const HELD_OF_CLIENT_MAX: usize = 2 * RECORD_PLAIN_MAX;

/// The same for a backend, whose certificate chain may be long.
const HELD_OF_BACKEND_MAX: usize = 4 * RECORD_PLAIN_MAX;

/// Octets that a record grows by at most when it is sealed, for any suite that rustls has.
const SEAL_OVERHEAD_MAX: usize = 64;

/// TLS in one role over some byte stream.
pub(super) struct TlsLayer {
    connection: Connection,
    /// Input that makes no whole record yet, partly decrypted perhaps.
    pub(super) held: Vec<u8>,
    sni: Option<String>,
    peer_closed: bool,
    close_sent: bool,
    fault: Option<TlsFault>,
}

enum Connection {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl TlsLayer {
    /// `leftover` is the beginning of the layer's input.
    pub(super) fn server(config: Arc<ServerConfig>, leftover: Vec<u8>) -> Result<Self, TlsFault> {
        let connection =
            UnbufferedServerConnection::new(config).map_err(|error| TlsFault::from(&error))?;
        Ok(Self::new(Connection::Server(Box::new(connection)), leftover))
    }

    /// `leftover` is the beginning of the layer's input.
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        leftover: Vec<u8>,
    ) -> Result<Self, TlsFault> {
        let connection = UnbufferedClientConnection::new(config, name)
            .map_err(|error| TlsFault::from(&error))?;
        Ok(Self::new(Connection::Client(Box::new(connection)), leftover))
    }

    fn new(connection: Connection, held: Vec<u8>) -> Self {
        let (sni, fault) = (None, None);
        Self { connection, held, sni, peer_closed: false, close_sent: false, fault }
    }

    /// What the handshake agreed on, once it is over.
    pub(super) fn up(&self) -> Option<TlsUp> {
        let state = self.state();
        (!state.is_handshaking()).then(|| TlsUp::of(state, self.sni.clone()))
    }

    /// The peer's close_notify was seen: it says nothing any more.
    pub(super) const fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    pub(super) const fn fault(&self) -> Option<&TlsFault> {
        self.fault.as_ref()
    }

    /// Processes all whole records at the front of `input`, which begins with what was held;
    /// plaintext goes to `sink`, what has to be answered to `output`. Keeps the rest.
    pub(super) fn process(
        &mut self,
        input: &mut [u8],
        output: &mut Output,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), TlsFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let (Processed { consumed, peer_closed }, outcome) = match &mut self.connection {
            Connection::Server(server) => {
                let (end, sni) = tls::noting_sni(|| process(&mut ***server, input, output, sink));
                self.sni = self.sni.take().or(sni);
                end
            }
            Connection::Client(client) => process(&mut ***client, input, output, sink),
        };
        self.peer_closed |= peer_closed;
        let rest = if self.peer_closed { &[][..] } else { &input[consumed..] };
        match outcome {
            Ok(()) if rest.len() <= self.held_max() => {
                self.keep(rest);
                Ok(())
            }
            Ok(()) => Err(self.fail(TlsFault::Protocol("handshake message too long".to_owned()))),
            Err(error) => Err(self.fail(TlsFault::from(&error))),
        }
    }

    /// The same where the layer's input was put into `held`, because a lower layer decrypted it.
    pub(super) fn process_held(
        &mut self,
        output: &mut Output,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), TlsFault> {
        let mut input = mem::take(&mut self.held);
        self.process(&mut input, output, sink)
    }

    /// Seals `plain` into records as large as they may be.
    pub(super) fn encrypt(&mut self, plain: &[u8], output: &mut Output) -> Result<(), TlsFault> {
        debug_assert!(!self.close_sent, "nothing follows a close_notify");
        self.seal(Seal::Data(plain), output)
    }

    /// Says that nothing follows. Does nothing before the handshake is over, or a second time.
    pub(super) fn close_notify(&mut self, output: &mut Output) -> Result<(), TlsFault> {
        if self.close_sent || self.fault.is_some() || self.state().is_handshaking() {
            return Ok(());
        }
        self.seal(Seal::CloseNotify, output)?;
        self.close_sent = true;
        Ok(())
    }

    fn seal(&mut self, what: Seal<'_>, output: &mut Output) -> Result<(), TlsFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let sealed = match &mut self.connection {
            Connection::Server(server) => seal(&mut ***server, &mut self.held, what, output),
            Connection::Client(client) => seal(&mut ***client, &mut self.held, what, output),
        };
        sealed.map_err(|fault| self.fail(fault))
    }

    fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(server) => server,
            Connection::Client(client) => client,
        }
    }

    fn held_max(&self) -> usize {
        match &self.connection {
            Connection::Server(_) => HELD_OF_CLIENT_MAX,
            Connection::Client(_) => HELD_OF_BACKEND_MAX,
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.held = Vec::new();
        } else {
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
    }

    fn fail(&mut self, fault: TlsFault) -> TlsFault {
        self.held = Vec::new();
        self.fault.insert(fault).clone()
    }
}

/// Seals `plain` with the topmost layer, and that with the ones below.
pub(super) fn seal_through(
    layers: &mut [TlsLayer],
    plain: &[u8],
    output: &mut Output,
    between: &mut Output,
) -> Result<(), TlsFault> {
    match layers.split_last_mut() {
        None => Ok(()),
        Some((top, [])) => top.encrypt(plain, output),
        Some((top, below)) => {
            top.encrypt(plain, between)?;
            carry_down(below, output, between)
        }
    }
}

/// Seals what a layer put into `between` with the layers below it.
pub(super) fn carry_down(
    below: &mut [TlsLayer],
    output: &mut Output,
    between: &mut Output,
) -> Result<(), TlsFault> {
    if between.filled().is_empty() {
        return Ok(());
    }
    let sealed = seal_through(below, between.filled(), output, &mut Output::new());
    between.clear();
    sealed
}

/// What rustls offers in both roles under one name, and does not name itself.
trait Unbuffered {
    type Data;
    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn wants_write(&self) -> bool;
}

impl Unbuffered for UnbufferedConnectionCommon<ServerConnectionData> {
    type Data = ServerConnectionData;

    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

impl Unbuffered for UnbufferedConnectionCommon<ClientConnectionData> {
    type Data = ClientConnectionData;

    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

/// How far one pass over the input came.
#[derive(Default)]
struct Processed {
    consumed: usize,
    peer_closed: bool,
}

fn process<C: Unbuffered>(
    connection: &mut C,
    input: &mut [u8],
    output: &mut Output,
    sink: &mut dyn FnMut(&[u8]),
) -> (Processed, Result<(), Error>) {
    let mut done = Processed::default();
    loop {
        let UnbufferedStatus { mut discard, state } = connection.step(&mut input[done.consumed..]);
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                done.consumed += discard;
                alert(connection, &mut input[done.consumed..], output);
                return (done, Err(error));
            }
        };
        let mut blocked = false;
        if let ConnectionState::ReadTraffic(mut traffic) = state {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        sink(record.payload);
                    }
                    Err(error) => return (done, Err(error)),
                }
            }
        } else if let ConnectionState::EncodeTlsData(mut message) = state {
            encode(&mut message, output);
        } else if let ConnectionState::TransmitTlsData(sent) = state {
            // `output` delivers it, whatever the socket says.
            sent.done();
        } else if let ConnectionState::PeerClosed = state {
            done.peer_closed = true;
        } else {
            // Early data is off in every configuration we make; what is left are the states that
            // wait: for more input, or for something to encrypt.
            blocked = true;
        }
        done.consumed += discard;
        if blocked {
            return (done, Ok(()));
        }
    }
}

/// Encodes the alert that an error left behind. rustls must not be stepped further than that: it
/// would look at the offending input again.
fn alert<C: Unbuffered>(connection: &mut C, input: &mut [u8], output: &mut Output) {
    while connection.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut message)) = connection.step(input).state else {
            return;
        };
        encode(&mut message, output);
    }
}

fn encode<Data>(message: &mut EncodeTlsData<'_, Data>, output: &mut Output) {
    let mut room = RECORD_WIRE_MAX;
    loop {
        match message.encode(output.room(room)) {
            Ok(octets) => return output.fill(octets),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

/// What is to be protected.
#[derive(Clone, Copy)]
enum Seal<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

fn seal<C: Unbuffered>(
    connection: &mut C,
    held: &mut [u8],
    what: Seal<'_>,
    output: &mut Output,
) -> Result<(), TlsFault> {
    loop {
        let UnbufferedStatus { discard, state } = connection.step(held);
        debug_assert_eq!(discard, 0, "what is held makes no whole record");
        let state = state.map_err(|error| TlsFault::from(&error))?;
        if let ConnectionState::WriteTraffic(mut traffic) = state {
            return seal_into(&mut traffic, what, output);
        } else if let ConnectionState::EncodeTlsData(mut message) = state {
            encode(&mut message, output);
        } else if let ConnectionState::TransmitTlsData(sent) = state {
            sent.done();
        } else if !matches!(state, ConnectionState::PeerClosed) {
            return Err(TlsFault::Protocol("nothing can be sent in this state of TLS".to_owned()));
        }
    }
}

fn seal_into<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    what: Seal<'_>,
    output: &mut Output,
) -> Result<(), TlsFault> {
    let mut room = match what {
        Seal::Data(plain) => {
            plain.len() + plain.len().div_ceil(RECORD_PLAIN_MAX) * SEAL_OVERHEAD_MAX
        }
        Seal::CloseNotify => SEAL_OVERHEAD_MAX,
    };
    loop {
        let sealed = match what {
            Seal::Data(plain) => traffic.encrypt(plain, output.room(room)),
            Seal::CloseNotify => traffic.queue_close_notify(output.room(room)),
        };
        match sealed {
            Ok(octets) => {
                output.fill(octets);
                return Ok(());
            }
            // A key update, or an answer to one, goes out in front.
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(EncryptError::EncryptExhausted) => {
                return Err(TlsFault::Protocol("the keys of this connection are used up".into()));
            }
        }
    }
}
