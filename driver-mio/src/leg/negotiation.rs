//! A rustls connection: the handshake of a TLS layer, and of TLS 1.2 all that follows as well.
//!
//! It is the unbuffered kind of connection, which owns no buffers: records are decrypted in their
//! place. Invariants: input is taken up to the last whole record, always, so what is left never
//! yields a record, and may be (and, as rustls refers to its octets, must be) handed to rustls
//! again. While a handshake is under way rustls sees one record more at a time: a record behind the
//! handshake's last is never opened here, and with TLS 1.3 belongs to `record_layer.rs`.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedConnectionCommon, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, PeerMisbehaved, ProtocolVersion, ServerConfig};

use super::fault::{TlsFault, TlsUp};
use super::record_layer::{Keys, Processed, RecordLayer};
use super::scratch::{Buffer, RECORD_HEADER, RECORD_PLAIN_MAX, RECORD_WIRE_MAX};
use crate::tls;

/// Octets of unprocessed input that a client may make us keep: a record, or the fragments of
/// a handshake message. Clients are strangers, and what they send during a handshake is short.
const HELD_OF_CLIENT_MAX: usize = 2 * RECORD_PLAIN_MAX;

/// The same for a backend, whose certificate chain may be long.
const HELD_OF_BACKEND_MAX: usize = 4 * RECORD_PLAIN_MAX;

/// The content type of a record that is sealed (RFC 8446 §5.2).
const SEALED: u8 = 23;

/// Sealed records of a client that may lead nowhere one after the other: fragments of its Finished,
/// or early data that it was not allowed to send, which rustls tries to open at every step again.
const UNDECIDED_MAX: u8 = 64;

/// Octets that a record grows by at most when it is sealed, for any suite that rustls has.
const SEAL_OVERHEAD_MAX: usize = 64;

/// A connection of rustls, and how much of what is held it has seen.
pub(super) struct Negotiation {
    connection: Connection,
    /// Octets at the front of what is held that rustls has looked at and wants to see again: the
    /// fragments of a handshake message whose end is still to come.
    seen: usize,
    /// Sealed records of a client that were looked at and led nowhere.
    undecided: u8,
    sni: Option<String>,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Negotiation {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::new(Connection::Server(UnbufferedServerConnection::new(config)?)))
    }

    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        Ok(Self::new(Connection::Client(UnbufferedClientConnection::new(config, name)?)))
    }

    const fn new(connection: Connection) -> Self {
        Self { connection, seen: 0, undecided: 0, sni: None }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// What the handshake agreed on; to be asked once it is over.
    pub(super) fn up(&self) -> TlsUp {
        TlsUp::of(self.state(), self.sni.clone())
    }

    /// Octets of unprocessed input that the peer may make us keep.
    pub(super) const fn held_max(&self) -> usize {
        match &self.connection {
            Connection::Server(_) => HELD_OF_CLIENT_MAX,
            Connection::Client(_) => HELD_OF_BACKEND_MAX,
        }
    }

    /// Whether a record layer of ours takes over behind the handshake.
    pub(super) fn hands_over(&self) -> bool {
        let state = self.state();
        !state.is_handshaking() && state.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// What goes on behind the handshake of TLS 1.3. Everything that rustls had to send is encoded.
    pub(super) fn into_record_layer(self) -> Result<RecordLayer, Error> {
        let (secrets, keys) = match self.connection {
            Connection::Server(server) => {
                let (secrets, rest) = server.dangerous_into_kernel_connection()?;
                (secrets, Keys::Server(Box::new(rest)))
            }
            Connection::Client(client) => {
                let (secrets, rest) = client.dangerous_into_kernel_connection()?;
                (secrets, Keys::Client(Box::new(rest)))
            }
        };
        RecordLayer::new(secrets, keys)
    }

    /// Processes whole records at the front of `input`, which begins with what was held: all there
    /// are, or those of the handshake if our record layer takes over behind it. Plaintext goes to
    /// `plain`, what has to be answered to `output`.
    pub(super) fn process(
        &mut self,
        input: &mut [u8],
        output: &mut Buffer,
        plain: &mut Buffer,
    ) -> (Processed, Result<(), Error>) {
        let mut done = Processed::default();
        let mut seen = self.seen;
        loop {
            // An incomplete record is shown as well: what is no TLS is told by its first octets.
            let record = if self.is_handshaking() { end_of_record(input, seen) } else { None };
            let end = record.unwrap_or(input.len());
            let is_sealed = record.is_some() && input[seen] == SEALED;
            let (step, outcome) = self.advance(&mut input[done.consumed..end], output, plain);
            done.consumed += step.consumed;
            done.peer_closed |= step.peer_closed;
            seen = record.unwrap_or(seen);
            if step.consumed > 0 {
                self.undecided = 0;
            } else if is_sealed && matches!(self.connection, Connection::Server(_)) {
                if self.undecided == UNDECIDED_MAX {
                    return (done, Err(PeerMisbehaved::TooManyEmptyFragments.into()));
                }
                self.undecided += 1;
            }
            if outcome.is_err() || record.is_none() || self.hands_over() {
                self.seen = seen.saturating_sub(done.consumed);
                return (done, outcome);
            }
        }
    }

    /// Seals `plain` into records as large as they may be. `held` is what was not processed.
    pub(super) fn encrypt(
        &mut self,
        plain: &[u8],
        held: &mut [u8],
        output: &mut Buffer,
    ) -> Result<(), TlsFault> {
        self.seal(Seal::Data(plain), held, output)
    }

    /// Says that nothing follows.
    pub(super) fn close_notify(
        &mut self,
        held: &mut [u8],
        output: &mut Buffer,
    ) -> Result<(), TlsFault> {
        self.seal(Seal::CloseNotify, held, output)
    }

    fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Server(server) => server,
            Connection::Client(client) => client,
        }
    }

    fn advance(
        &mut self,
        input: &mut [u8],
        output: &mut Buffer,
        plain: &mut Buffer,
    ) -> (Processed, Result<(), Error>) {
        match &mut self.connection {
            Connection::Server(server) => {
                let (end, sni) = tls::noting_sni(|| process(&mut **server, input, output, plain));
                self.sni = self.sni.take().or(sni);
                end
            }
            Connection::Client(client) => process(&mut **client, input, output, plain),
        }
    }

    fn seal(
        &mut self,
        what: Seal<'_>,
        held: &mut [u8],
        output: &mut Buffer,
    ) -> Result<(), TlsFault> {
        match &mut self.connection {
            Connection::Server(server) => seal(&mut **server, held, what, output),
            Connection::Client(client) => seal(&mut **client, held, what, output),
        }
    }
}

/// Where the record that begins at `start` ends, if all of it is there.
fn end_of_record(input: &[u8], start: usize) -> Option<usize> {
    let header = input.get(start..start + RECORD_HEADER)?;
    let end = start + RECORD_HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
    (end <= input.len()).then_some(end)
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

fn process<C: Unbuffered>(
    connection: &mut C,
    input: &mut [u8],
    output: &mut Buffer,
    plain: &mut Buffer,
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
                        plain.append(record.payload);
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
fn alert<C: Unbuffered>(connection: &mut C, input: &mut [u8], output: &mut Buffer) {
    while connection.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut message)) = connection.step(input).state else {
            return;
        };
        encode(&mut message, output);
    }
}

fn encode<Data>(message: &mut EncodeTlsData<'_, Data>, output: &mut Buffer) {
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
    output: &mut Buffer,
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
    output: &mut Buffer,
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
