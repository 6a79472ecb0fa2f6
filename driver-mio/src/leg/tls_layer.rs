//! One TLS layer: first rustls' handshake, then with TLS 1.3 our own record layer.
//!
//! It knows no socket: ciphertext comes in as a slice and goes out into an `Buffer`, and so layers
//! stack. `held` keeps no more than an incomplete record, and in a handshake the records of an
//! incomplete message, so an idle layer owns no buffer.
//! Invariants: `process` takes input up to the last whole record, always. After a fault only its
//! alert goes out, and nothing of the connection is kept. Next: `negotiation.rs`,
//! `record_layer.rs`.

use std::mem;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, ServerConfig};

use super::fault::{TlsFault, TlsUp};
use super::negotiation::Negotiation;
use super::record_layer::{Processed, RecordLayer};
use super::scratch::Buffer;

/// TLS in one role over some byte stream.
pub(super) struct TlsLayer {
    stage: Stage,
    /// Input that makes no whole record yet, partly decrypted perhaps.
    pub(super) held: Vec<u8>,
    peer_closed: bool,
    close_sent: bool,
}

enum Stage {
    /// The handshake; with TLS 1.2 all that follows as well.
    Negotiation(Box<Negotiation>, Told),
    /// TLS 1.3 behind its handshake. Its facts are kept until somebody asks.
    Records(Box<RecordLayer>, Option<Box<TlsUp>>),
    Failed(TlsFault),
}

/// Whether what the handshake agreed on was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

impl TlsLayer {
    /// `leftover` is the beginning of the layer's input.
    pub(super) fn server(config: Arc<ServerConfig>, leftover: Vec<u8>) -> Result<Self, TlsFault> {
        Self::new(Negotiation::server(config), leftover)
    }

    /// `leftover` is the beginning of the layer's input.
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        leftover: Vec<u8>,
    ) -> Result<Self, TlsFault> {
        Self::new(Negotiation::client(config, name), leftover)
    }

    fn new(negotiation: Result<Negotiation, Error>, held: Vec<u8>) -> Result<Self, TlsFault> {
        let negotiation = negotiation.map_err(|error| TlsFault::from(&error))?;
        let stage = Stage::Negotiation(Box::new(negotiation), Told::No);
        Ok(Self { stage, held, peer_closed: false, close_sent: false })
    }

    /// What the handshake agreed on, once it is over; told once.
    pub(super) fn take_up(&mut self) -> Option<Box<TlsUp>> {
        match &mut self.stage {
            Stage::Negotiation(negotiation, told) => {
                if *told == Told::Yes || negotiation.is_handshaking() {
                    return None;
                }
                *told = Told::Yes;
                Some(Box::new(negotiation.up()))
            }
            Stage::Records(_, up) => up.take(),
            Stage::Failed(_) => None,
        }
    }

    /// The peer's close_notify was seen: it says nothing any more.
    pub(super) const fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    pub(super) const fn fault(&self) -> Option<&TlsFault> {
        match &self.stage {
            Stage::Failed(fault) => Some(fault),
            Stage::Negotiation(..) | Stage::Records(..) => None,
        }
    }

    /// Octets of buffers that it owns.
    pub(super) fn held(&self) -> usize {
        let message = match &self.stage {
            Stage::Records(records, _) => records.held(),
            Stage::Negotiation(..) | Stage::Failed(_) => 0,
        };
        self.held.capacity() + message
    }

    /// Processes all whole records at the front of `input`, which begins with what was held;
    /// plaintext goes to `plain`, what has to be answered to `output`. Keeps the rest.
    pub(super) fn process(
        &mut self,
        input: &mut [u8],
        output: &mut Buffer,
        plain: &mut Buffer,
    ) -> Result<(), TlsFault> {
        if self.peer_closed {
            // RFC 8446 §6.1: what follows a close_notify is ignored.
            self.held = Vec::new();
            return Ok(());
        }
        let (Processed { consumed, peer_closed }, outcome) = self.advance(input, output, plain);
        self.peer_closed = peer_closed;
        match outcome {
            Ok(()) if peer_closed => self.keep(&[]),
            Ok(()) => self.keep(&input[consumed..]),
            Err(fault) => return Err(self.fail(fault)),
        }
        if let Stage::Negotiation(negotiation, _) = &self.stage
            && self.held.len() > negotiation.held_max()
        {
            let fault = TlsFault::Protocol("handshake message too long".to_owned());
            return Err(self.fail(fault));
        }
        Ok(())
    }

    /// The same where the layer's input was put into `held`, because a lower layer decrypted it.
    pub(super) fn process_held(
        &mut self,
        output: &mut Buffer,
        plain: &mut Buffer,
    ) -> Result<(), TlsFault> {
        let mut input = mem::take(&mut self.held);
        self.process(&mut input, output, plain)
    }

    /// Seals `plain` into records as large as they may be.
    pub(super) fn encrypt(&mut self, plain: &[u8], output: &mut Buffer) -> Result<(), TlsFault> {
        debug_assert!(!self.close_sent, "nothing follows a close_notify");
        let sealed = match &mut self.stage {
            Stage::Negotiation(negotiation, _) => {
                negotiation.encrypt(plain, &mut self.held, output)
            }
            Stage::Records(records, _) => records.encrypt(plain, output),
            Stage::Failed(fault) => Err(fault.clone()),
        };
        sealed.map_err(|fault| self.fail(fault))
    }

    /// Says that nothing follows. Does nothing before the handshake is over, or a second time.
    pub(super) fn close_notify(&mut self, output: &mut Buffer) -> Result<(), TlsFault> {
        if self.close_sent {
            return Ok(());
        }
        let sealed = match &mut self.stage {
            Stage::Negotiation(negotiation, _) if negotiation.is_handshaking() => return Ok(()),
            Stage::Negotiation(negotiation, _) => negotiation.close_notify(&mut self.held, output),
            Stage::Records(records, _) => records.close_notify(output),
            Stage::Failed(_) => return Ok(()),
        };
        self.close_sent = true;
        sealed.map_err(|fault| self.fail(fault))
    }

    /// Takes `input` through the stage that it is for, and what is left of it through the next.
    fn advance(
        &mut self,
        input: &mut [u8],
        output: &mut Buffer,
        plain: &mut Buffer,
    ) -> (Processed, Result<(), TlsFault>) {
        let mut done = Processed::default();
        if let Stage::Negotiation(negotiation, _) = &mut self.stage {
            let outcome;
            (done, outcome) = negotiation.process(input, output, plain);
            if let Err(error) = outcome {
                return (done, Err(TlsFault::from(&error)));
            }
            if done.peer_closed || !negotiation.hands_over() {
                return (done, Ok(()));
            }
            self.hand_over();
        }
        let (rest, outcome) = match &mut self.stage {
            Stage::Records(records, _) => records.process(&input[done.consumed..], output, plain),
            Stage::Failed(fault) => return (done, Err(fault.clone())),
            Stage::Negotiation(..) => return (done, Ok(())),
        };
        done.consumed += rest.consumed;
        done.peer_closed |= rest.peer_closed;
        (done, outcome)
    }

    /// The handshake is over, and our record layer takes its place.
    fn hand_over(&mut self) {
        let nothing = TlsFault::Protocol(String::new());
        self.stage = match mem::replace(&mut self.stage, Stage::Failed(nothing)) {
            Stage::Negotiation(negotiation, told) => {
                let up = (told == Told::No).then(|| Box::new(negotiation.up()));
                match negotiation.into_record_layer() {
                    Ok(records) => Stage::Records(Box::new(records), up),
                    Err(error) => Stage::Failed(TlsFault::from(&error)),
                }
            }
            other @ (Stage::Records(..) | Stage::Failed(_)) => other,
        };
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
        self.stage = Stage::Failed(fault.clone());
        fault
    }
}

/// Seals `plain` with the topmost layer, and that with the ones below.
pub(super) fn seal_through(
    layers: &mut [TlsLayer],
    plain: &[u8],
    output: &mut Buffer,
    between: &mut Buffer,
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
    output: &mut Buffer,
    between: &mut Buffer,
) -> Result<(), TlsFault> {
    if between.filled().is_empty() {
        return Ok(());
    }
    let sealed = seal_through(below, between.filled(), output, &mut Buffer::new());
    between.clear();
    sealed
}
