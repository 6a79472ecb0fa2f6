//! The deadlines of a worker's sessions: a hierarchical timer wheel.
//!
//! Arming and cancelling take constant time and no system call. Time is handed in, in milliseconds
//! of the driver's epoch. Invariants: nothing fires early (a deadline is rounded up to a tick);
//! what is armed for later than the current tick stands on the level of the highest 6-bit group of
//! ticks in which the two differ, hence behind the current slot, and lower levels are always due
//! before higher ones; far deadlines cost a wake-up per level on their way down, not one per tick.
//!
//! A deadline that moves with each transfer is better left armed: when it fires, arm the later one.

/// Milliseconds of a tick: no deadline here is so exact that a sixteenth of a second matters.
pub(crate) const TICK_MS: u64 = 64;

const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// Enough for every `u64` of milliseconds, so that no deadline is too far.
const LEVELS: usize = ((u64::BITS - TICK_MS.ilog2()).div_ceil(LEVEL_BITS)) as usize;
/// The list of what is due, beside those of the slots.
const DUE: usize = LEVELS * SLOTS;
const NIL: u32 = u32::MAX;

/// Names what was armed. Using it after that has fired or was cancelled is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerId {
    index: u32,
    generation: u32,
}

/// Deadlines, each with a key that says whose it is.
#[derive(Debug)]
pub(crate) struct TimerWheel<K> {
    /// All ticks up to this one are dealt with.
    now: u64,
    /// The first entry of each slot's list, and of the due ones.
    heads: Box<[u32]>,
    /// For each level, a bit for each slot whose list is not empty.
    occupied: [u64; LEVELS],
    entries: Vec<Entry<K>>,
    free: u32,
    armed: usize,
}

#[derive(Debug)]
struct Entry<K> {
    /// None: free, and `next` is the next free one.
    key: Option<K>,
    tick: u64,
    generation: u32,
    list: u32,
    previous: u32,
    next: u32,
}

impl<K> TimerWheel<K> {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            now: now_ms / TICK_MS,
            heads: vec![NIL; DUE + 1].into_boxed_slice(),
            occupied: [0; LEVELS],
            entries: Vec::new(),
            free: NIL,
            armed: 0,
        }
    }

    /// Arms a deadline. It fires at the first `expire` whose time is not before it, up to a tick
    /// later.
    pub(crate) fn arm(&mut self, at_ms: u64, key: K) -> TimerId {
        let tick = at_ms.div_ceil(TICK_MS);
        let index = self.allocate(key, tick);
        self.place(index);
        self.armed += 1;
        TimerId { index, generation: self.entries[index as usize].generation }
    }

    /// Takes a deadline back; None: it had fired, or was cancelled.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<K> {
        let entry = self.entries.get(id.index as usize)?;
        if entry.generation != id.generation || entry.key.is_none() {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// When `expire` has something to do next, perhaps only to move far deadlines nearer. Nothing
    /// armed: None.
    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        if self.heads[DUE] != NIL {
            return Some(self.now * TICK_MS);
        }
        // Rounding up at the end of time has no room.
        self.next_slot().map(|slot| slot.tick.saturating_mul(TICK_MS))
    }

    /// One key that is due, in a `while let`: arming and cancelling in between is fine.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Option<K> {
        let target = now_ms / TICK_MS;
        loop {
            let due = self.heads[DUE];
            if due != NIL {
                self.unlink(due);
                return self.release(due);
            }
            match self.next_slot() {
                Some(slot) if slot.tick <= target => {
                    self.now = slot.tick;
                    self.redistribute(slot.list);
                }
                Some(_) | None => {
                    // A clock that went backwards finds nothing due.
                    self.now = self.now.max(target);
                    return None;
                }
            }
        }
    }

    /// How many deadlines are armed.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.armed
    }

    /// The earliest slot that holds anything.
    fn next_slot(&self) -> Option<Slot> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = LEVEL_BITS * level as u32;
        let above = self.now >> shift >> LEVEL_BITS << LEVEL_BITS << shift;
        Some(Slot { list: level * SLOTS + slot, tick: above | (slot as u64) << shift })
    }

    /// Puts the entries of a slot whose time has come on lower levels, or on the due list.
    fn redistribute(&mut self, list: usize) {
        let mut index = std::mem::replace(&mut self.heads[list], NIL);
        self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        while index != NIL {
            let next = self.entries[index as usize].next;
            self.place(index);
            index = next;
        }
    }

    fn place(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        let list = if tick <= self.now {
            DUE
        } else {
            let level = (tick ^ self.now).ilog2() / LEVEL_BITS;
            let slot = (tick >> (LEVEL_BITS * level)) as usize % SLOTS;
            self.occupied[level as usize] |= 1 << slot;
            level as usize * SLOTS + slot
        };
        let head = std::mem::replace(&mut self.heads[list], index);
        if head != NIL {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.list = list as u32;
        entry.previous = NIL;
        entry.next = head;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { list, previous, next, .. } = self.entries[index as usize];
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
            return;
        }
        let list = list as usize;
        self.heads[list] = next;
        if next == NIL && list != DUE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    fn allocate(&mut self, key: K, tick: u64) -> u32 {
        let key = Some(key);
        if self.free != NIL {
            let index = self.free;
            let entry = &mut self.entries[index as usize];
            self.free = entry.next;
            entry.key = key;
            entry.tick = tick;
            return index;
        }
        let index = self.entries.len() as u32;
        debug_assert!(index < NIL, "four thousand million sessions do not fit a process");
        let (generation, list, previous, next) = (0, 0, NIL, NIL);
        self.entries.push(Entry { key, tick, generation, list, previous, next });
        index
    }

    fn release(&mut self, index: u32) -> Option<K> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = std::mem::replace(&mut self.free, index);
        self.armed -= 1;
        entry.key.take()
    }
}

/// A slot's list, and the tick at which it begins.
struct Slot {
    list: usize,
    tick: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const HALF_AN_HOUR_MS: u64 = 30 * 60 * 1000;

    fn expired(wheel: &mut TimerWheel<u32>, now_ms: u64) -> Vec<u32> {
        let mut keys: Vec<_> = std::iter::from_fn(|| wheel.expire(now_ms)).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn nothing_fires_early_and_nothing_a_tick_late() {
        let mut wheel = TimerWheel::new(1_000);
        wheel.arm(1_001, 1);
        wheel.arm(1_024, 2);
        wheel.arm(1_025, 3);
        assert_eq!(wheel.next_wake_ms(), Some(1_024));
        assert_eq!(expired(&mut wheel, 1_023), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, 1_024), [1, 2]);
        assert_eq!(expired(&mut wheel, 1_087), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, 1_088), [3]);
        assert_eq!(wheel.next_wake_ms(), None);
    }

    #[test]
    fn a_stale_id_cancels_nothing() {
        let mut wheel = TimerWheel::new(0);
        let first = wheel.arm(100, 1);
        assert_eq!(wheel.cancel(first), Some(1));
        assert_eq!(wheel.cancel(first), None);
        let second = wheel.arm(100, 2);
        assert_eq!(wheel.cancel(first), None, "the entry serves another deadline now");
        assert_eq!(expired(&mut wheel, 1_000), [2]);
        assert_eq!(wheel.cancel(second), None);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn far_deadlines_of_many_sessions_cost_few_wake_ups() {
        let mut wheel = TimerWheel::new(0);
        for key in 0..8_000 {
            wheel.arm(HALF_AN_HOUR_MS, key);
        }
        let (mut wake_ups, mut fired) = (0, 0);
        while let Some(wake) = wheel.next_wake_ms() {
            wake_ups += 1;
            fired += expired(&mut wheel, wake).len();
        }
        assert_eq!(fired, 8_000);
        assert!(wake_ups <= LEVELS, "{wake_ups} wake-ups");
    }

    #[test]
    fn the_end_of_time_is_not_too_far() {
        let mut wheel = TimerWheel::new(5);
        let id = wheel.arm(u64::MAX, 1);
        assert_eq!(expired(&mut wheel, u64::MAX - TICK_MS), [0_u32; 0]);
        assert_eq!(wheel.cancel(id), Some(1));
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Arm(u64),
        Cancel(usize),
        Pass(u64),
        PassToWake,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        // Spans of each size, so that every level of the wheel is used.
        let span = (0..40_u32).prop_flat_map(|bits| 0..(1_u64 << bits));
        prop_oneof![
            4 => span.clone().prop_map(Operation::Arm),
            1 => (0..64_usize).prop_map(Operation::Cancel),
            2 => span.prop_map(Operation::Pass),
            2 => Just(Operation::PassToWake),
        ]
    }

    proptest! {
        /// Against a list: what fires when, and that the wheel is always awake in time.
        #[test]
        fn the_wheel_agrees_with_a_list(operations in prop::collection::vec(operation(), 1..200)) {
            let mut now = 123_456;
            let mut wheel = TimerWheel::new(now);
            let mut list: Vec<(u64, u32, TimerId)> = Vec::new();
            for (key, operation) in (0..).zip(operations) {
                match operation {
                    Operation::Arm(span) => {
                        let at = now + span;
                        list.push((at, key, wheel.arm(at, key)));
                    }
                    Operation::Cancel(index) if index < list.len() => {
                        let (_, key, id) = list.swap_remove(index);
                        prop_assert_eq!(wheel.cancel(id), Some(key));
                    }
                    Operation::Cancel(_) => {}
                    Operation::Pass(span) => now += span,
                    Operation::PassToWake => now = wheel.next_wake_ms().unwrap_or(now).max(now),
                }
                let ticks = now / TICK_MS;
                let is_due = |at: u64| at.div_ceil(TICK_MS) <= ticks;
                let mut due: Vec<u32> =
                    list.iter().filter(|entry| is_due(entry.0)).map(|entry| entry.1).collect();
                due.sort_unstable();
                list.retain(|entry| !is_due(entry.0));
                prop_assert_eq!(expired(&mut wheel, now), due);
                prop_assert_eq!(wheel.len(), list.len());
                let earliest = list.iter().map(|entry| entry.0.div_ceil(TICK_MS) * TICK_MS).min();
                prop_assert_eq!(wheel.next_wake_ms().is_some(), earliest.is_some());
                if let (Some(wake), Some(earliest)) = (wheel.next_wake_ms(), earliest) {
                    prop_assert!(now < wake && wake <= earliest);
                }
            }
        }
    }
}
