//! The timer wheel. API first; the bodies follow.
#![allow(dead_code, unused_variables, clippy::unimplemented)]

/// Names one armed timer; stale ids are harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerId {
    slot: u32,
    generation: u32,
}

/// `K` is what the worker wants back, e.g. (slab token, generation, core::Timer).
pub(crate) struct TimerWheel<K> {
    keys: Vec<K>,
}

impl<K: Copy> TimerWheel<K> {
    pub(crate) fn new(now_ms: u64) -> Self {
        unimplemented!()
    }
    /// Fires at the first `expire` with now >= at_ms, rounded up to a tick of 64 ms; never early.
    pub(crate) fn arm(&mut self, at_ms: u64, key: K) -> TimerId {
        unimplemented!()
    }
    /// False: it had fired or been cancelled.
    pub(crate) fn cancel(&mut self, id: TimerId) -> bool {
        unimplemented!()
    }
    /// The next time `expire` has work to do; None: nothing is armed.
    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        unimplemented!()
    }
    /// One due key; call until None, in a `while let`.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Option<K> {
        unimplemented!()
    }
    pub(crate) fn len(&self) -> usize {
        unimplemented!()
    }
}
