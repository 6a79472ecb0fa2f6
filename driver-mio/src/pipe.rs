//! Pipes for splice(2), which moves octets between sockets without copying them to user space.
//!
//! A pool per worker, so that a session holds a pipe only while octets stand in it. Not the relay:
//! that decides when to move what. Invariants: a pipe in the pool is empty, as it would otherwise
//! tell one session's octets to another; a pipe is filled only while empty, so that a refusal
//! means the socket. Next: `Leg::splice_in` and `Leg::splice_out`.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::leg::Follows;

/// What a pipe is asked to have room for, in octets of whole pages.
const PIPE_OCTETS: usize = 256 * 1024;

/// A pipe, and how many octets stand in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    read_end: OwnedFd,
    write_end: OwnedFd,
    filled: usize,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A pipe counts in slots, one for each fragment of a segment, so that a small one is full
        // of small fragments long before it holds what a splice asks for. A system that grants no
        // more gives what it has.
        let _ = fcntl_setpipe_size(&write_end, PIPE_OCTETS);
        Ok(Self { read_end, write_end, filled: 0 })
    }

    /// Whether nothing stands in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Moves at most `limit` octets in from a socket; none is its end of stream.
    pub(crate) fn fill_from(
        &mut self,
        socket: &impl AsFd,
        limit: usize,
    ) -> Result<usize, ErrorKind> {
        debug_assert!(self.is_empty());
        let moved = splice_once(socket, &self.write_end, limit, SpliceFlags::empty())?;
        self.filled = moved;
        Ok(moved)
    }

    /// Moves out to a socket what it takes.
    pub(crate) fn drain_to(
        &mut self,
        socket: &impl AsFd,
        follows: Follows,
    ) -> Result<usize, ErrorKind> {
        debug_assert!(!self.is_empty());
        let flags = match follows {
            Follows::Nothing => SpliceFlags::empty(),
            Follows::More => SpliceFlags::MORE,
        };
        let moved = splice_once(&self.read_end, socket, self.filled, flags)?;
        debug_assert!(moved <= self.filled);
        self.filled = self.filled.saturating_sub(moved);
        Ok(moved)
    }
}

/// Unused pipes, for the next session that has octets to move.
#[derive(Debug)]
pub(crate) struct PipePool {
    unused: Vec<Pipe>,
    keep: usize,
}

impl PipePool {
    /// Keeps at most `keep` pipes that nobody uses: two descriptors each.
    pub(crate) const fn new(keep: usize) -> Self {
        Self { unused: Vec::new(), keep }
    }

    /// An empty pipe. An error (out of descriptors) leaves copying as the other way.
    pub(crate) fn take(&mut self) -> io::Result<Pipe> {
        self.unused.pop().map_or_else(Pipe::open, Ok)
    }

    /// Takes a pipe back, which is closed if anything stands in it, or if the pool is full.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        if pipe.is_empty() && self.unused.len() < self.keep {
            self.unused.push(pipe);
        }
    }
}

fn splice_once(
    from: &impl AsFd,
    to: &impl AsFd,
    limit: usize,
    flags: SpliceFlags,
) -> Result<usize, ErrorKind> {
    let flags = flags | SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    loop {
        match splice(from, None, to, None, limit, flags) {
            Ok(moved) => return Ok(moved),
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_pipe_with_octets_in_it_never_returns_to_the_pool() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut speaker = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (hearer, _) = listener.accept().unwrap();
        speaker.write_all(b"secret").unwrap();

        let mut pool = PipePool::new(4);
        let mut pipe = pool.take().unwrap();
        assert_eq!(pipe.fill_from(&hearer, 64), Ok(6));
        pool.give_back(pipe);
        assert!(pool.unused.is_empty());
        assert!(pool.take().unwrap().is_empty());
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let mut pool = PipePool::new(2);
        let pipes: Vec<_> = (0..5).map(|_| pool.take().unwrap()).collect();
        pipes.into_iter().for_each(|pipe| pool.give_back(pipe));
        assert_eq!(pool.unused.len(), 2);
    }
}
