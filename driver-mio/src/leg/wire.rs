//! A socket's side of a leg: readiness, one read, one write, and what waits to be written.
//!
//! Invariants: a bit is cleared only by what proves that the socket has come to its limit, as an
//! edge-triggered poll tells only of what changes after that: `WouldBlock`, and for reading a read
//! that brought less than it had room for. TCP hands out all it has (what it holds back behind an
//! urgent mark is not data of mail), and what arrives after the read is an edge of its own. Half of
//! all reads of a small request were there only to hear `WouldBlock`. The one thing that such a
//! read would hide is an end that had come before it with the same edge, and that was announced.
//! Next: `mod.rs`.

use std::io::{self, ErrorKind, Read as _};
use std::mem;

use mio::event::Event;
use mio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// What a socket can do now, as far as events and calls have told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readiness {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// An end of the peer's, or an error, was announced and may lie behind what can be read.
    end_announced: bool,
    /// An error was announced: only a call can say which.
    failed: bool,
}

impl Readiness {
    pub(super) const fn new(writable: bool) -> Self {
        Self { readable: false, writable, end_announced: false, failed: false }
    }

    /// Notes what the poll has told.
    pub(super) fn on_event(&mut self, event: &Event) {
        self.end_announced |= event.is_read_closed() || event.is_error();
        self.failed |= event.is_error();
        self.readable |= event.is_readable() || self.end_announced;
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Whether the poll has told of an error.
    pub(super) const fn failed(self) -> bool {
        self.failed
    }

    /// Whether nothing but the peer's end is left to be read, after a read that brought less than
    /// it had room for: then nobody need read it.
    const fn at_end(self, short: bool) -> bool {
        short && self.end_announced && !self.failed
    }
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) octets: usize,
    /// The peer's end lies right behind them.
    pub(super) last: bool,
}

/// Octets that wait for the socket to take them.
#[derive(Default)]
pub(super) struct Unsent {
    octets: Vec<u8>,
    sent: usize,
}

impl Unsent {
    pub(super) fn rest(&self) -> &[u8] {
        &self.octets[self.sent..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn append(&mut self, octets: &[u8]) {
        // Moves no more octets than were sent since the last time.
        if self.sent > self.octets.len() / 2 {
            self.octets.drain(..mem::take(&mut self.sent));
        }
        self.octets.extend_from_slice(octets);
    }

    pub(super) fn advance(&mut self, octets: usize) {
        self.sent += octets;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.octets.capacity()
    }
}

/// Reads once; no octets are the peer's end.
pub(super) fn read_once(
    socket: &mut TcpStream,
    readiness: &mut Readiness,
    room: &mut [u8],
) -> Result<Fill, ErrorKind> {
    loop {
        match socket.read(room) {
            Ok(octets) => {
                let short = octets < room.len();
                readiness.readable &= !short || readiness.end_announced;
                return Ok(Fill { octets, last: octets > 0 && readiness.at_end(short) });
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                readiness.readable &= error.kind() != ErrorKind::WouldBlock;
                return Err(error.kind());
            }
        }
    }
}

/// What is about to follow octets, so that the kernel can put both into one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing that is known of: they leave at once.
    Nothing,
    /// More octets or our end of stream, within the same turn; or else a `push`.
    More,
}

/// Writes once; a socket that takes nothing is no error. WouldBlock clears the bit.
pub(super) fn write_once(
    socket: &TcpStream,
    readiness: &mut Readiness,
    octets: &[u8],
    follows: Follows,
) -> Result<usize, ErrorKind> {
    let flags = match follows {
        Follows::Nothing => SendFlags::NOSIGNAL,
        Follows::More => SendFlags::NOSIGNAL | SendFlags::MORE,
    };
    loop {
        match send(socket, octets, flags) {
            Ok(taken) => return Ok(taken),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => {
                readiness.writable = false;
                return Ok(0);
            }
            Err(error) => return Err(io::Error::from(error).kind()),
        }
    }
}
