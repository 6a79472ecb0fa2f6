//! The buffers that a worker lends to its legs, so that no leg needs one of its own.
//!
//! One `Scratch` per worker serves thousands of sessions: whatever a call could not finish with
//! (an incomplete record, octets that the socket did not take) is copied into the leg before the
//! call returns, and nothing in here is looked at again. Next: `leg/mod.rs`.

/// Octets of plaintext in a full TLS record (RFC 8446 §5.1).
pub(crate) const RECORD_PLAIN_MAX: usize = 16_384;

/// Octets of a full TLS record on the wire: header, and what TLS 1.2 lets protection add at most
/// (RFC 5246 §6.2.3).
pub(crate) const RECORD_WIRE_MAX: usize = 5 + RECORD_PLAIN_MAX + 2_048;

/// Octets that one call reads or encrypts at most, an incomplete record not counted.
pub(crate) const BULK: usize = 4 * RECORD_PLAIN_MAX;

/// A worker's buffers: input from a socket, and output on its way to one.
pub(crate) struct Scratch {
    pub(super) input: Box<[u8]>,
    pub(super) output: Output,
    /// Between two TLS layers of one leg.
    pub(super) between: Output,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; BULK + RECORD_WIRE_MAX].into_boxed_slice(),
            output: Output::new(),
            between: Output::new(),
        }
    }
}

/// Octets to be sent, in a buffer that stays initialised, so that lending room costs nothing.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    filled: usize,
}

impl Output {
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

    /// Counts `octets` that were written into the room.
    pub(super) fn fill(&mut self, octets: usize) {
        debug_assert!(self.filled + octets <= self.bytes.len());
        self.filled += octets;
    }

    pub(super) fn filled(&self) -> &[u8] {
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
