//! Octets that pass a leg without TLS through a pipe, and never come to user space.
//!
//! Not when that pays, see `../relay.rs`. Invariant: what is unsent goes first. Next:
//! `crate::pipe`.

use std::io::ErrorKind;

use super::wire::Follows;
use super::{End, Fin, Leg, Lost};
use crate::pipe::Pipe;

/// How a splice ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Splice {
    Moved(usize),
    WouldBlock,
    Eof,
    Lost(ErrorKind),
}

impl Leg {
    /// Moves octets from this leg's socket into `pipe`, which must be empty: only then does a
    /// refusal mean that the socket has nothing.
    pub(crate) fn splice_in(&mut self, pipe: &mut Pipe, limit: usize) -> Splice {
        debug_assert!(self.is_plain() && pipe.is_empty());
        if self.end != End::Open {
            return Splice::Eof;
        }
        if !self.readiness.readable {
            return Splice::WouldBlock;
        }
        match pipe.fill_from(&self.socket, limit.min(self.read_cap.unwrap_or(limit))) {
            Ok(0) => {
                self.end = End::Told { clean: true };
                self.drained = true;
                Splice::Eof
            }
            Ok(octets) => Splice::Moved(octets),
            Err(ErrorKind::WouldBlock) => {
                self.readiness.readable = false;
                Splice::WouldBlock
            }
            Err(kind) => Splice::Lost(kind),
        }
    }

    /// Moves octets from `pipe`, which holds some, to this leg's socket, behind all that is unsent.
    /// If more follows, what makes no full segment may stay behind until then, or until `push`.
    pub(crate) fn splice_out(&mut self, pipe: &mut Pipe, follows: Follows) -> Splice {
        debug_assert!(self.is_plain() && !pipe.is_empty() && self.fin == Fin::NotAsked);
        if let Err(Lost::Io(kind)) = self.flush() {
            return Splice::Lost(kind);
        }
        if !self.readiness.writable || !self.unsent.is_empty() {
            return Splice::WouldBlock;
        }
        match pipe.drain_to(&self.socket, follows) {
            Ok(octets) => Splice::Moved(octets),
            Err(ErrorKind::WouldBlock) => {
                self.readiness.writable = false;
                Splice::WouldBlock
            }
            Err(kind) => Splice::Lost(kind),
        }
    }

    /// Sends what a splice has left behind in the kernel.
    pub(crate) fn push(&self) {
        // Setting the option again is what Linux takes as the order to send (tcp(7)).
        let _ = self.socket.set_nodelay(true);
    }
}
