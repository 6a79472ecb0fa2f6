//! The route cache: what a store said of an account, for a while.
//!
//! It holds positions in the list of destinations, as the file map does, and "not found" as well.
//! It is bounded: where it is full, an entry goes that was not asked for since the hand last came
//! by (the CLOCK policy, also known as second chance), so that a million strangers cannot push out
//! the accounts that log in all day. A step of the hand takes back what a hit gave, which makes
//! keeping and finding constant work, amortised.
//!
//! Not here: answers of a store that judges credentials (they must never be kept), failures, and
//! who waits for an answer that is on its way. Whoever shares a cache between threads puts a lock
//! around it. The hasher is the driver's, since strangers choose the names and the core has no
//! randomness.
//! Invariants: never more entries than allowed; an answer to a question that was asked before
//! something was forgotten is not kept, because it may be what was to be forgotten.
//! Read next: `table`, for what needs no cache.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::hash::BuildHasher;
use core::time::Duration;

use hashbrown::HashTable;

use crate::time::Instant;

/// Where an account lives, as a store said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// At the destination with this position in the configuration's list.
    At(u32),
    /// The store knows no such account.
    Nowhere,
}

/// What a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// How many accounts; none: nothing is kept.
    pub entries_max: usize,
    /// How long an account's destination is good; zero: it is not kept.
    pub positive_ttl: Duration,
    /// How long "not found" is good; zero: it is not kept.
    pub negative_ttl: Duration,
}

/// The state in which a store was asked; see [`Cache::mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(u64);

/// Answers of a store.
pub struct Cache<S> {
    keeping: Keeping,
    hasher: S,
    /// Positions in `entries`, found by the hash of their identifiers.
    index: HashTable<u32>,
    entries: Vec<Entry>,
    /// Positions in `entries` that hold nobody.
    free: Vec<u32>,
    /// The position at which the next search for somebody to give up begins.
    hand: usize,
    forgotten: u64,
}

struct Entry {
    identifier: Box<[u8]>,
    good_until: Instant,
    home: Home,
    /// Asked for since the hand last came by.
    used: bool,
}

impl<S: BuildHasher> Cache<S> {
    /// An empty cache.
    pub const fn new(keeping: Keeping, hasher: S) -> Self {
        Self {
            keeping,
            hasher,
            index: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            hand: 0,
            forgotten: 0,
        }
    }

    /// What is known of an account; nothing if nothing is, or not any more.
    pub fn find(&mut self, identifier: &[u8], now: Instant) -> Option<Home> {
        let position = self.position(identifier)?;
        let entry = &mut self.entries[position as usize];
        if entry.good_until <= now {
            self.remove(position);
            return None;
        }
        entry.used = true;
        Some(entry.home)
    }

    /// To be taken when the store is asked, and handed in with its answer.
    pub const fn mark(&self) -> Mark {
        Mark(self.forgotten)
    }

    /// Keeps an answer, unless something was forgotten since the store was asked.
    pub fn keep(&mut self, identifier: &[u8], home: Home, asked: Mark, now: Instant) {
        let ttl = match home {
            Home::At(_) => self.keeping.positive_ttl,
            Home::Nowhere => self.keeping.negative_ttl,
        };
        if ttl.is_zero() || self.keeping.entries_max == 0 || asked != self.mark() {
            return;
        }
        if let Some(position) = self.position(identifier) {
            let entry = &mut self.entries[position as usize];
            (entry.home, entry.good_until) = (home, now + ttl);
            return;
        }
        let entry =
            Entry { identifier: identifier.into(), good_until: now + ttl, home, used: false };
        let Some(position) = self.place(entry, now) else { return };
        let Self { index, entries, hasher, .. } = self;
        index.insert_unique(hasher.hash_one(identifier), position, |position| {
            hasher.hash_one(&*entries[*position as usize].identifier)
        });
    }

    /// Forgets an account; whether it was known.
    pub fn forget(&mut self, identifier: &[u8]) -> bool {
        self.forgotten += 1;
        let position = self.position(identifier);
        if let Some(position) = position {
            self.remove(position);
        }
        position.is_some()
    }

    /// Forgets everybody.
    pub fn forget_all(&mut self) {
        self.forgotten += 1;
        self.index = HashTable::new();
        self.entries = Vec::new();
        self.free = Vec::new();
        self.hand = 0;
    }

    /// Accounts that are held, those among them that are not good any more included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nobody is held.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn position(&self, identifier: &[u8]) -> Option<u32> {
        let is_it = |position: &u32| *self.entries[*position as usize].identifier == *identifier;
        self.index.find(self.hasher.hash_one(identifier), is_it).copied()
    }

    /// Puts an entry where there is room, or in the place of another.
    fn place(&mut self, entry: Entry, now: Instant) -> Option<u32> {
        if self.free.is_empty() && self.entries.len() >= self.entries_max() {
            self.give_one_up(now);
        }
        let Some(position) = self.free.pop() else {
            let position = u32::try_from(self.entries.len()).ok()?;
            self.entries.push(entry);
            return Some(position);
        };
        self.entries[position as usize] = entry;
        Some(position)
    }

    /// As many as may be held: a position has 32 bits.
    fn entries_max(&self) -> usize {
        self.keeping.entries_max.min(u32::MAX as usize)
    }

    /// Moves the hand to somebody who was not asked for since it last came by. Every position
    /// holds somebody here, and whoever is passed over is not the second time.
    fn give_one_up(&mut self, now: Instant) {
        debug_assert!(self.free.is_empty(), "somebody is given up only where there is no room");
        loop {
            let position = self.hand % self.entries.len();
            self.hand = position + 1;
            let entry = &mut self.entries[position];
            if !entry.used || entry.good_until <= now {
                // Positions have 32 bits, by `place`.
                return self.remove(position as u32);
            }
            entry.used = false;
        }
    }

    fn remove(&mut self, position: u32) {
        let identifier = core::mem::take(&mut self.entries[position as usize].identifier);
        let hash = self.hasher.hash_one(&*identifier);
        if let Ok(found) = self.index.find_entry(hash, |held| *held == position) {
            found.remove();
        }
        self.free.push(position);
    }
}

impl<S> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Cache");
        shown.field("keeping", &self.keeping).field("len", &self.index.len());
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
