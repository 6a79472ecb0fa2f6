//! The core in a simulated world: network, clock, resolver, clients and backends from one seed.
//!
//! Every session has a world of its own ([`world`]), in which a [`client`] and a [`backend`] live
//! that mostly speak correctly and sometimes do not, around a [`proxy`] that drives the session as
//! the contract says. What both ends wrote down is compared when all is quiet; what nobody may
//! ever see is a fault the moment somebody sees it. A seed is the whole difference between two
//! runs, so what is printed repeats.
//!
//! Not here: what the proxy says in words. That is stated by byte scripts.

mod accounts;
mod backend;
mod client;
mod proxy;
mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::tally::Tally;
use self::world::World;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What happened how often.
    pub tally: Tally,
    /// Of everything that happened, in order.
    pub hash: u64,
    /// A text for each session that broke an invariant.
    pub faults: Vec<String>,
}

/// Simulates so many sessions. The first one's seed is the run's, so that a printed seed of any
/// session is a run of its own.
pub fn run(seed: u64, sessions: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for session in 0..sessions {
        let seed = seed.wrapping_add(session);
        let played = catch_unwind(AssertUnwindSafe(|| World::new(seed).play()));
        let fault = match played {
            Ok(played) => {
                outcome.tally.merge(&played.tally);
                outcome.hash = outcome.hash.rotate_left(7) ^ played.hash;
                played.fault
            }
            Err(panic) => Some(panic_text(&*panic)),
        };
        if let Some(fault) = fault {
            outcome.faults.push(format!("GATEPOST_SEED={seed:x}: {fault}"));
        }
    }
    outcome
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a text"))
}

/// What travels on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Payload {
    /// Octets of the application, inside TLS or not.
    Octets { tls: bool, octets: Vec<u8> },
    /// A side's part of a TLS handshake.
    Hello,
    /// The last thing in good order.
    Eof,
    /// The connection broke.
    Reset,
}

/// What somebody does when something happened.
#[derive(Debug, Default)]
struct Turn {
    sends: Vec<Payload>,
    /// Milliseconds until it is to be asked again.
    tick: Option<u64>,
}

impl Turn {
    fn octets(&mut self, tls: bool, octets: &[u8]) {
        self.sends.push(Payload::Octets { tls, octets: octets.to_vec() });
    }
}
