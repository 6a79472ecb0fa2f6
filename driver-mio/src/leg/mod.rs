//! One end of a session: a socket, the TLS layers on it, and what is under way.
//!
//! Not the protocol, and not registration or deadlines: the worker polls, and asks a leg for as
//! much as the turn's budget allows. Invariants: a readiness bit is cleared by proof alone, see
//! `wire.rs`; `write` takes everything, in order, and what the socket does not take waits in
//! `unsent`; a leg with nothing in flight owns no buffer (`held`), because reading and sealing
//! happen in the worker's `Scratch`. Only `negotiation.rs` and `record_layer.rs` drive rustls, and
//! only `fault.rs` reads its errors.
//!
//! On loopback a login is nearly all kernel: a segment costs several microseconds at both its ends,
//! any other system call a fraction of one. Hence what belongs together leaves together: a reply
//! with the tickets that end a handshake, the last octets with close_notify and FIN.
//! Next: `tls_layer.rs`, then `crate::pipe`.

mod fault;
mod negotiation;
mod record_layer;
mod scratch;
mod splice;
#[cfg(test)]
mod tests;
mod tls_layer;
mod wire;

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;

use mio::event::Event;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

#[cfg(test)]
pub(crate) use self::fault::CertificateFault;
pub(crate) use self::fault::{TlsFault, TlsUp, TlsVersion};
use self::scratch::{BULK, Buffer, RECORD_WIRE_MAX};
pub(crate) use self::scratch::{RECORD_PLAIN_MAX, Scratch};
pub(crate) use self::splice::Splice;
use self::tls_layer::{TlsLayer, carry_down, seal_through};
pub(crate) use self::wire::Follows;
use self::wire::{Fill, Readiness, Unsent, read_once, write_once};

/// Octets that `discard` reads at most before it gives up on a peer that does not stop talking.
pub(crate) const DISCARD_MAX: usize = 256 * 1024;

/// Octets that a read under TLS has room for, however much is held already.
const READ_MIN: usize = 4096;

/// How a read ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// `plain` octets are the scratch's `received` (none, if only part of a record came, or
    /// a session ticket) and `wire` octets came from the kernel, which is what a budget should
    /// count. Read again.
    Some {
        plain: usize,
        wire: usize,
    },
    /// The next readable event tells of more.
    WouldBlock,
    /// The peer says nothing any more. Clean: by a close_notify where there is TLS.
    Eof {
        clean: bool,
    },
    Lost(Lost),
}

/// Why a leg is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    Io(ErrorKind),
    Tls(TlsFault),
}

/// How far a handshake is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    InProgress,
    Up(Box<TlsUp>),
    /// The alert, if one is due, was written.
    Failed(TlsFault),
}

/// How far the discarding of a finished leg is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Discard {
    /// The turn's share is used up: again, without waiting for an event.
    Again,
    WouldBlock,
    /// The peer has ended as well, or goes on beyond `DISCARD_MAX`: the socket may be closed.
    Done,
}

/// A socket, its TLS layers from below, and what is under way.
pub(crate) struct Leg {
    socket: TcpStream,
    readiness: Readiness,
    layers: Vec<TlsLayer>,
    /// Plaintext that came along with the end of a handshake, to be read first.
    decrypted: Vec<u8>,
    unsent: Unsent,
    /// What comes behind all that is written from here on.
    follows: Follows,
    fin: Fin,
    end: End,
    /// The kernel has handed out all that the peer sent, and its FIN.
    drained: bool,
    discarded: usize,
    read_cap: Option<usize>,
}

/// Where the peer's end of stream is, and whether it was clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It may say more.
    Open,
    /// It says nothing any more, and nobody was told.
    Reached { clean: bool },
    /// The next read would tell it again.
    Told { clean: bool },
}

/// Where our own end of stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    NotAsked,
    AfterUnsent,
    Sent,
}

impl Leg {
    /// An accepted socket, which can be written to at once.
    pub(crate) fn accepted(socket: TcpStream) -> Self {
        let writable = true;
        Self::new(socket, writable)
    }

    /// A socket that is connecting; `finish_connect` tells when it is done.
    pub(crate) fn connecting(socket: TcpStream) -> Self {
        let writable = false;
        Self::new(socket, writable)
    }

    fn new(socket: TcpStream, writable: bool) -> Self {
        Self {
            socket,
            readiness: Readiness::new(writable),
            layers: Vec::new(),
            decrypted: Vec::new(),
            unsent: Unsent::default(),
            follows: Follows::Nothing,
            fin: Fin::NotAsked,
            end: End::Open,
            drained: false,
            discarded: 0,
            read_cap: None,
        }
    }

    /// The outcome of a connect, to be asked for at each event; None: not known yet.
    pub(crate) fn finish_connect(&mut self) -> Option<io::Result<()>> {
        // Before the connection stands a socket has nothing to tell (RFC 9293 §3.3.2, SYN-SENT).
        if !self.readiness.writable {
            return None;
        }
        if !self.readiness.failed() {
            return Some(Ok(()));
        }
        match self.socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
        }
        match self.socket.peer_addr() {
            Ok(_) => Some(Ok(())),
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// For registering and for addresses; octets go through the leg.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Makes each read from the kernel as small as a test wants it.
    pub(crate) fn set_read_cap(&mut self, octets: Option<usize>) {
        self.read_cap = octets;
    }

    /// Notes what the poll has told about this leg's socket.
    pub(crate) fn on_event(&mut self, event: &Event) {
        self.readiness.on_event(event);
    }

    /// Whether a read may find anything, or an end that was not told yet.
    pub(crate) fn readable(&self) -> bool {
        let untold = match self.end {
            End::Open => self.readiness.readable,
            End::Reached { .. } => true,
            End::Told { .. } => false,
        };
        untold || !self.decrypted.is_empty()
    }

    /// Whether the socket may take something.
    pub(crate) const fn writable(&self) -> bool {
        self.readiness.writable
    }

    /// Whether the peer's end was reached, and nothing is left to be read before it.
    pub(crate) const fn at_end(&self) -> bool {
        !matches!(self.end, End::Open) && self.decrypted.is_empty()
    }

    /// Whether there is no TLS on this leg, so that it may be spliced.
    pub(crate) fn is_plain(&self) -> bool {
        self.layers.is_empty()
    }

    /// Leaves about `limit` octets in the scratch, as `received`: each TLS layer may add up to
    /// a record, because what is decrypted is handed out. One read from the kernel; read on while
    /// there is budget.
    pub(crate) fn read(&mut self, scratch: &mut Scratch, limit: usize) -> Read {
        debug_assert!(limit > 0, "no room is a reason not to read");
        scratch.received.clear();
        if !self.decrypted.is_empty() {
            return self.read_decrypted(scratch, limit);
        }
        if let End::Reached { clean } | End::Told { clean } = self.end {
            return self.tell_end(clean);
        }
        if let Some(fault) = self.layers.iter().find_map(TlsLayer::fault) {
            return Read::Lost(Lost::Tls(fault.clone()));
        }
        if self.peer_closed() {
            return self.tell_end(true);
        }
        let Fill { octets: filled, last } = match self.fill(scratch, limit) {
            Ok(Fill { octets: 0, .. }) => return self.tell_end(self.layers.is_empty()),
            Ok(fill) => fill,
            Err(ErrorKind::WouldBlock) => return Read::WouldBlock,
            Err(kind) => return Read::Lost(Lost::Io(kind)),
        };
        if self.layers.is_empty() {
            if last {
                self.end = End::Reached { clean: true };
            }
            return Read::Some { plain: filled, wire: filled };
        }
        let outcome = self.digest(scratch, filled);
        let plain = scratch.received.filled().len();
        // A socket that takes nothing any more shows it to the next write; what it has delivered
        // before counts nevertheless.
        let _ = self.send_output(&mut scratch.output);
        if outcome.is_ok() && (last || self.peer_closed()) {
            self.end = End::Reached { clean: self.peer_closed() };
        }
        match outcome {
            // What was decrypted before the fault counts; the fault is told by the next read.
            Err(fault) if plain == 0 => Read::Lost(Lost::Tls(fault)),
            Ok(()) | Err(_) => Read::Some { plain, wire: filled },
        }
    }

    /// Sends all of `bytes`, in time: what the socket does not take now is unsent. While anything
    /// is unsent, the caller should not read more of what leads to more writing.
    pub(crate) fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), Lost> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.fin != Fin::NotAsked {
            debug_assert!(false, "nothing is written behind our own end");
            return Err(Lost::Io(ErrorKind::BrokenPipe));
        }
        if self.layers.is_empty() {
            return self.send(bytes);
        }
        for piece in bytes.chunks(BULK) {
            let Scratch { output, between, .. } = scratch;
            if let Err(fault) = seal_through(&mut self.layers, piece, output, between) {
                // They are the worker's, and another session's next.
                output.clear();
                between.clear();
                return Err(Lost::Tls(fault));
            }
            self.send_output(&mut scratch.output)?;
        }
        Ok(())
    }

    /// Takes octets that are to go out with those that follow, in one segment if they fit.
    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        debug_assert!(self.layers.is_empty(), "under TLS octets make a record of their own");
        self.unsent.append(bytes);
    }

    /// Sends what another leg's `read` has left in the scratch.
    pub(crate) fn write_received(&mut self, scratch: &mut Scratch) -> Result<(), Lost> {
        let received = scratch.lend_received();
        let written = self.write(received.filled(), scratch);
        scratch.take_back(received);
        written
    }

    /// Our end of stream follows what is written next, within the same turn.
    pub(crate) fn ends_soon(&mut self) {
        self.follows = Follows::More;
    }

    /// Octets that the socket has not taken yet, as they go over the wire.
    pub(crate) fn unsent_len(&self) -> usize {
        self.unsent.rest().len()
    }

    /// Sends what is unsent, as far as the socket takes it, and then our end of stream if one is
    /// due.
    pub(crate) fn flush(&mut self) -> Result<(), Lost> {
        while !self.unsent.is_empty() && self.readiness.writable {
            let rest = self.unsent.rest();
            let taken = write_once(&self.socket, &mut self.readiness, rest, self.follows);
            self.unsent.advance(taken.map_err(Lost::Io)?);
        }
        if self.unsent.is_empty() && self.fin == Fin::AfterUnsent {
            // Where the peer has ended as well, this is the last there is, and the socket is
            // dropped next, which says the same. A peer that has gone already needs no FIN.
            if !self.has_all() {
                let _ = self.socket.shutdown(Shutdown::Write);
            }
            self.fin = Fin::Sent;
        }
        Ok(())
    }

    /// Ends our direction: close_notify on each layer that is up, then FIN once all is sent. The
    /// other direction goes on. To close for good, call this and then `discard`.
    pub(crate) fn shutdown_write(&mut self, scratch: &mut Scratch) -> Result<(), Lost> {
        if self.fin != Fin::NotAsked {
            return self.flush();
        }
        self.follows = Follows::More;
        for top in (0..self.layers.len()).rev() {
            let (below, rest) = self.layers.split_at_mut(top);
            let said = if below.is_empty() {
                rest[0].close_notify(&mut scratch.output)
            } else {
                rest[0].close_notify(&mut scratch.between)
            };
            // A layer that is broken has said so with its alert.
            if said.is_ok() {
                let _ = carry_down(below, &mut scratch.output, &mut scratch.between);
            }
        }
        let sent = self.send_output(&mut scratch.output);
        self.fin = Fin::AfterUnsent;
        sent.and_then(|()| self.flush())
    }

    /// Whether all was sent, our end of stream included.
    pub(crate) fn fin_sent(&self) -> bool {
        self.fin == Fin::Sent
    }

    /// Reads and forgets: a socket that is closed with something unread resets the connection, and
    /// a reset may destroy what the peer has not read yet, our goodbye.
    pub(crate) fn discard(&mut self, scratch: &mut Scratch) -> Discard {
        self.decrypted = Vec::new();
        if self.discarded >= DISCARD_MAX || self.has_all() {
            return Discard::Done;
        }
        if !self.readiness.readable {
            return Discard::WouldBlock;
        }
        match read_once(&mut self.socket, &mut self.readiness, &mut scratch.input) {
            Ok(Fill { octets: 0, .. } | Fill { last: true, .. }) => Discard::Done,
            Ok(Fill { octets, .. }) => {
                self.discarded += octets;
                Discard::Again
            }
            Err(ErrorKind::WouldBlock) => Discard::WouldBlock,
            Err(_) => Discard::Done,
        }
    }

    /// Puts TLS on top, in the server's role. `leftover`, what was received and not eaten, is TLS
    /// input: plaintext that somebody slipped in fails in the handshake.
    pub(crate) fn start_tls_server(
        &mut self,
        config: Arc<ServerConfig>,
        leftover: Vec<u8>,
    ) -> Result<(), TlsFault> {
        let input = self.input_of_new_layer(leftover);
        let layer = TlsLayer::server(config, input)?;
        self.put_on_top(layer);
        Ok(())
    }

    /// Puts TLS on top, in the client's role, toward a server of this name.
    pub(crate) fn start_tls_client(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        leftover: Vec<u8>,
    ) -> Result<(), TlsFault> {
        let input = self.input_of_new_layer(leftover);
        let layer = TlsLayer::client(config, name, input)?;
        self.put_on_top(layer);
        Ok(())
    }

    /// Drives the topmost handshake: right after it was started, and at each readable event. What
    /// ends it on our side waits for the next write or `flush`.
    pub(crate) fn handshake(&mut self, scratch: &mut Scratch) -> Handshake {
        debug_assert!(!self.layers.is_empty(), "a handshake was started");
        scratch.received.clear();
        let outcome = self.drive_handshake(scratch);
        self.decrypted.extend_from_slice(scratch.received.filled());
        scratch.wipe_received();
        outcome
    }

    /// Octets of buffers that this leg owns: none while nothing is in flight.
    pub(crate) fn held(&self) -> usize {
        let layers: usize = self.layers.iter().map(TlsLayer::held).sum();
        layers + self.decrypted.capacity() + self.unsent.capacity()
    }

    fn read_decrypted(&mut self, scratch: &mut Scratch, limit: usize) -> Read {
        let plain = limit.min(self.decrypted.len());
        scratch.received.append(&self.decrypted[..plain]);
        if plain == self.decrypted.len() {
            self.decrypted = Vec::new();
        } else {
            self.decrypted.drain(..plain);
        }
        Read::Some { plain, wire: 0 }
    }

    fn peer_closed(&self) -> bool {
        self.layers.last().is_some_and(TlsLayer::peer_closed)
    }

    fn tell_end(&mut self, clean: bool) -> Read {
        self.end = End::Told { clean };
        Read::Eof { clean }
    }

    /// Reads once from the kernel: without TLS what is received, else input behind what the lowest
    /// layer holds.
    fn fill(&mut self, scratch: &mut Scratch, limit: usize) -> Result<Fill, ErrorKind> {
        if !self.readiness.readable {
            return Err(ErrorKind::WouldBlock);
        }
        let cap = self.read_cap.unwrap_or(usize::MAX);
        let fill = match self.layers.first() {
            None => {
                let most = limit.min(BULK).min(cap);
                let room = &mut scratch.received.room(most)[..most];
                let fill = read_once(&mut self.socket, &mut self.readiness, room)?;
                scratch.received.fill(fill.octets);
                fill
            }
            Some(bottom) => {
                let held = bottom.held.len();
                let room = &mut scratch.input[held..];
                // A record can be read whole, however small the limit.
                let most = limit.max(RECORD_WIRE_MAX).saturating_sub(held).max(READ_MIN);
                let most = most.min(room.len()).min(cap);
                read_once(&mut self.socket, &mut self.readiness, &mut room[..most])?
            }
        };
        self.drained |= fill.last || fill.octets == 0;
        Ok(fill)
    }

    /// Whether nothing comes from the peer any more, so that the socket may be dropped: what lies
    /// unread then would turn our FIN into a reset. Behind the close_notify of the only TLS layer
    /// nothing follows (RFC 8446 §6.1); behind that of an upper one, the lower one's does.
    fn has_all(&self) -> bool {
        self.drained || (self.end != End::Open && self.layers.len() == 1)
    }

    /// Takes what the lowest layer held and `fresh` octets behind it through all layers; what comes
    /// out of the topmost is received, and what they answer is left in the scratch's output.
    fn digest(&mut self, scratch: &mut Scratch, fresh: usize) -> Result<(), TlsFault> {
        let Scratch { input, received, output, between } = scratch;
        let mut outcome = Ok(());
        for depth in 0..self.layers.len() {
            let (below, rest) = self.layers.split_at_mut(depth);
            let Some((layer, above)) = rest.split_first_mut() else { break };
            let processed = if depth == 0 {
                let held = layer.held.len();
                input[..held].copy_from_slice(&layer.held);
                layer.process(&mut input[..held + fresh], output, received)
            } else {
                layer.process_held(between, received)
            };
            if let Some(next) = above.first_mut() {
                next.held.extend_from_slice(received.filled());
                received.clear();
            }
            let carried = carry_down(below, output, between);
            if let Err(fault) = processed.and(carried) {
                outcome = Err(fault);
                break;
            }
        }
        outcome
    }

    fn drive_handshake(&mut self, scratch: &mut Scratch) -> Handshake {
        // First what is here already: a leftover, or nothing, which makes a client speak first.
        let mut fresh = 0;
        loop {
            let outcome = self.digest(scratch, fresh);
            if outcome.is_ok()
                && let Some(up) = self.layers.last_mut().and_then(TlsLayer::take_up)
            {
                // A server's tickets wait for the next flush, which is in the same turn, and go out
                // with the greeting where that is next.
                self.unsent.append(scratch.output.filled());
                scratch.output.clear();
                return Handshake::Up(up);
            }
            // A socket that takes nothing shows it to the next write.
            let _ = self.send_output(&mut scratch.output);
            if let Err(fault) = outcome {
                return Handshake::Failed(fault);
            }
            if self.layers.iter().any(TlsLayer::peer_closed) {
                return Handshake::Failed(TlsFault::PeerClosed);
            }
            fresh = match self.fill(scratch, RECORD_WIRE_MAX) {
                Ok(Fill { octets: 0, .. }) => return Handshake::Failed(TlsFault::PeerClosed),
                Ok(Fill { octets, .. }) => octets,
                Err(ErrorKind::WouldBlock) => return Handshake::InProgress,
                Err(kind) => return Handshake::Failed(TlsFault::Io(kind)),
            };
        }
    }

    /// Layers are few, and room for more than there are would cost each session that is idle.
    fn put_on_top(&mut self, layer: TlsLayer) {
        self.layers.reserve_exact(1);
        self.layers.push(layer);
    }

    fn input_of_new_layer(&mut self, leftover: Vec<u8>) -> Vec<u8> {
        let mut input = leftover;
        input.append(&mut self.decrypted);
        self.decrypted = Vec::new();
        input
    }

    fn send_output(&mut self, output: &mut Buffer) -> Result<(), Lost> {
        let sent = if output.filled().is_empty() { Ok(()) } else { self.send(output.filled()) };
        output.clear();
        sent
    }

    /// Sends octets as they are, behind what is unsent.
    fn send(&mut self, mut octets: &[u8]) -> Result<(), Lost> {
        if !self.unsent.is_empty() {
            self.unsent.append(octets);
            return self.flush();
        }
        while self.readiness.writable && !octets.is_empty() {
            let taken = write_once(&self.socket, &mut self.readiness, octets, self.follows);
            octets = &octets[taken.map_err(Lost::Io)?..];
        }
        self.unsent.append(octets);
        Ok(())
    }
}
