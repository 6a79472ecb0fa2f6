//! Pooled pipes for splice(2). API first; the bodies follow.
#![allow(dead_code, unused_variables, clippy::unimplemented)]

use std::io;

pub(crate) struct Pipe {}
impl Pipe {
    pub(crate) fn is_empty(&self) -> bool {
        unimplemented!()
    }
}
pub(crate) struct PipePool {}
impl PipePool {
    /// Keeps at most `keep` unused pipes.
    pub(crate) fn new(keep: usize) -> Self {
        unimplemented!()
    }
    /// Err (EMFILE): copy through scratch instead.
    pub(crate) fn take(&mut self) -> io::Result<Pipe> {
        unimplemented!()
    }
    /// Kept if empty and there is room, else closed.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {}
}
