//! The buffers that a worker lends to its legs, so that no leg needs one of its own.
//!
//! One `Scratch` per worker serves thousands of sessions: whatever a call could not finish with
//! (an incomplete record, octets that the socket did not take) is copied into the leg before the
//! call returns, and nothing in here is looked at again but what a read has received, by whoever
//! read. Next: `leg/mod.rs`.

use std::mem;

use zeroize::Zeroize as _;

/// Octets of plaintext in a full TLS record (RFC 8446 §5.1).
pub(crate) const RECORD_PLAIN_MAX: usize = 16_384;

/// Octets of a record's header (RFC 8446 §5.1).
pub(super) const RECORD_HEADER: usize = 5;

/// Octets of a full TLS record on the wire: header, and what TLS 1.2 lets protection add at most
/// (RFC 5246 §6.2.3).
pub(crate) const RECORD_WIRE_MAX: usize = RECORD_HEADER + RECORD_PLAIN_MAX + 2_048;

/// Octets that one call reads or encrypts at most, an incomplete record not counted.
pub(crate) const BULK: usize = 4 * RECORD_PLAIN_MAX;

/// A worker's buffers: what comes from a socket, and what is on its way to one.
pub(crate) struct Scratch {
    /// What came from a socket under TLS, as it came.
    pub(super) input: Box<[u8]>,
    /// What the last read brought, in plain.
    pub(super) received: Buffer,
    pub(super) output: Buffer,
    /// Between two TLS layers of one leg.
    pub(super) between: Buffer,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; BULK + RECORD_WIRE_MAX].into_boxed_slice(),
            received: Buffer::new(),
            output: Buffer::new(),
            between: Buffer::new(),
        }
    }

    /// What the last read brought.
    pub(crate) fn received(&self) -> &[u8] {
        self.received.filled()
    }

    /// What the last read brought, to be given back with `take_back`: while it is looked at the
    /// rest of the scratch may be needed to send some of it.
    pub(crate) fn lend_received(&mut self) -> Buffer {
        mem::take(&mut self.received)
    }

    /// Takes back what was lent, so that the next read finds its room.
    pub(crate) fn take_back(&mut self, received: Buffer) {
        self.received = received;
    }

    /// Overwrites what the last read brought: a credential, perhaps.
    pub(crate) fn wipe_received(&mut self) {
        let filled = self.received.filled;
        self.received.bytes[..filled].zeroize();
        self.received.clear();
    }
}

/// Octets in a buffer that stays initialised, so that lending room costs nothing.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), filled: 0 }
    }

    /// At least `octets` of room behind what is filled.
    pub(super) fn room(&mut self, octets: usize) -> &mut [u8] {
        if self.bytes.len() < self.filled + octets {
            self.bytes.resize(self.filled + octets, 0);
        }
        &mut self.bytes[self.filled..]
    }

    /// Puts octets behind what is filled.
    pub(super) fn append(&mut self, octets: &[u8]) {
        self.room(octets.len())[..octets.len()].copy_from_slice(octets);
        self.fill(octets.len());
    }

    /// Counts `octets` that were written into the room.
    pub(super) fn fill(&mut self, octets: usize) {
        debug_assert!(self.filled + octets <= self.bytes.len());
        self.filled += octets;
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Forgets the octets and keeps the room, unless a rare large flight made it outgrow its use.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
        if self.bytes.len() > 2 * BULK {
            self.bytes = Vec::new();
        }
    }
}
