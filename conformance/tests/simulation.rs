//! Thousands of sessions in simulated worlds, from one seed.
//!
//! `GATEPOST_SEED` (hexadecimal) chooses the first session's seed; a failure prints the one of its
//! session, which alone is played again with `GATEPOST_SESSIONS=1`.

#![allow(missing_docs)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::thread;

use gatepost_conformance::simulation::{Outcome, Tally, run};

/// Sessions of one run.
const SESSIONS: u64 = 10_000;

/// What must have come about in a run, or it proves little.
const HAPPENS: [&str; 13] = [
    "pauses for a full outbox",
    "answers that came too late",
    "handshakes",
    "handshakes that failed",
    "timers that ran out",
    "relays that ended in order",
    "relays cut short",
    "close by=client reason=eof",
    "close by=client reason=lost/reset",
    "close by=backend reason=eof",
    "close by=proxy reason=timeout/preauth",
    "close by=proxy reason=timeout/idle",
    "close by=operator reason=kicked",
];

fn environment(name: &str, radix: u32) -> Option<u64> {
    u64::from_str_radix(&std::env::var(name).ok()?, radix).ok()
}

#[test]
fn sessions_keep_what_they_promise() {
    // The standard library's hasher keys are the only randomness it gives away.
    let seed = environment("GATEPOST_SEED", 16)
        .unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let sessions = environment("GATEPOST_SESSIONS", 10).unwrap_or(SESSIONS);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let half = sessions.div_ceil(2);
        let parts = [(seed, half), (seed.wrapping_add(half), sessions - half)];
        let threads = parts.map(|(seed, count)| scope.spawn(move || run(seed, count)));
        threads.into_iter().map(|thread| thread.join().expect("it catches panics")).collect()
    });
    let mut tally = Tally::default();
    outcomes.iter().for_each(|outcome| tally.merge(&outcome.tally));
    println!("GATEPOST_SEED={seed:x}, {sessions} sessions:\n{tally}");
    let faults: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.faults).collect();
    for fault in &faults {
        println!("{fault}");
    }
    assert!(faults.is_empty(), "{} of {sessions} sessions", faults.len());
    if sessions == SESSIONS {
        for what in HAPPENS {
            assert!(tally.of(what) > 0, "{what}: it never came to that");
        }
        assert!(tally.of("logins") > SESSIONS / 4, "too few got anywhere");
    }
}

#[test]
fn a_seed_is_the_whole_difference() {
    let (one, again, other) = (run(7, 50), run(7, 50), run(8, 50));
    assert_eq!(one.hash, again.hash);
    assert_ne!(one.hash, other.hash);
}
