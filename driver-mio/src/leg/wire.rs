//! A socket's side of a leg: one read, one write, and what waits to be written.
//!
//! Invariant: `WouldBlock`, and nothing else, clears a readiness bit, as an edge-triggered poll
//! tells only of what changes after that. Next: `mod.rs`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::mem;

use mio::net::TcpStream;

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

/// Reads once. WouldBlock, and nothing else, clears the bit.
pub(super) fn read_once(
    socket: &mut TcpStream,
    readable: &mut bool,
    room: &mut [u8],
) -> Result<usize, ErrorKind> {
    loop {
        match socket.read(room) {
            Ok(octets) => return Ok(octets),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                *readable &= error.kind() != ErrorKind::WouldBlock;
                return Err(error.kind());
            }
        }
    }
}

/// Writes once; a socket that takes nothing is no error. WouldBlock clears the bit.
pub(super) fn write_once(
    socket: &mut TcpStream,
    writable: &mut bool,
    octets: &[u8],
) -> Result<usize, ErrorKind> {
    loop {
        match socket.write(octets) {
            Ok(taken) => return Ok(taken),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                *writable = false;
                return Ok(0);
            }
            Err(error) => return Err(error.kind()),
        }
    }
}
