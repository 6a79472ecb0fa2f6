//! Which host of a destination an account lands on.
//!
//! Pure arithmetic over the configured hosts: the same account lands on the same host in every
//! proxy, on every machine and after every restart, and nothing needs to be stored for it.
//!
//! The algorithm is part of what the program promises, because other programs (a mail transfer
//! agent that delivers to the same hosts) may have to agree with it. All arithmetic is on 64 bits,
//! wrapping, and no floating point is involved:
//!
//! ```text
//! fnv(octets): h = 0xcbf29ce484222325; for each octet: h = (h xor octet) * 0x100000001b3
//! mix(x):      x = (x xor (x >> 30)) * 0xbf58476d1ce4e5b9
//!              x = (x xor (x >> 27)) * 0x94d049bb133111eb
//!              x xor (x >> 31)
//! draw(key, label, n) = mix(fnv(key) xor mix(fnv(label) + n * 0x9e3779b97f4a7c15))
//! ```
//!
//! The key is the identifier that was looked up, the label a host as the configuration writes it
//! (`imap1.example.com`, or `imap1.example.com:1993` where it has a port of its own). A host of
//! weight w draws for n = 0 … w-1 and keeps its highest draw; the host with the highest draw of all
//! has the account, and of two equal ones the one whose label comes first (octet by octet). So the
//! share of a host is its weight by the sum of weights, a host that is lost gives away its own
//! accounts and no others, and one that is added takes its share from all the others alike.
//!
//! Not here: health, see `fleet`, which says who may serve. Invariant: a host that is
//! configured as down is never picked.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::{Host, Policy, Standing};

/// How willingly a host is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    /// It may serve.
    Fit,
    /// It may serve, but this login has failed there already.
    Spent,
    /// It may not serve.
    Unfit,
}

/// What decides among hosts that are equally fit.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// How the destination shares its accounts out.
    pub policy: Policy,
    /// The account; empty: nobody knows whose login this is, and hosts take turns.
    pub key: &'a [u8],
    /// Counts up from pick to pick, for hosts that take turns.
    pub turn: u64,
}

/// The host for a login; none if no host may serve. Fit hosts come before spent ones; among them,
/// those that are up before those on standby, and these before draining ones, which serve only
/// where nobody else does.
pub fn pick<'a>(
    hosts: &'a [Arc<Host>],
    wish: Wish<'_>,
    fitness: impl Fn(&Host) -> Fitness,
) -> Option<&'a Arc<Host>> {
    let rank = |host: &Arc<Host>| match fitness(host) {
        fit @ (Fitness::Fit | Fitness::Spent) => tier(host.standing).map(|tier| (fit, tier)),
        Fitness::Unfit => None,
    };
    let best = hosts.iter().filter_map(rank).min()?;
    let candidates = || hosts.iter().filter(|host| rank(host) == Some(best));
    match wish.policy {
        Policy::First => candidates().next(),
        Policy::Rendezvous if !wish.key.is_empty() => rendezvous(candidates(), wish.key),
        Policy::Rendezvous | Policy::RoundRobin => in_turn(candidates, wish.turn),
    }
}

/// All hosts that may ever serve a login, each of them where those before it are out of service.
pub fn order<'a>(hosts: &'a [Arc<Host>], wish: Wish<'_>) -> Vec<&'a Arc<Host>> {
    let mut order: Vec<&Arc<Host>> = Vec::new();
    loop {
        let fitness = |host: &Host| match order.iter().any(|known| known.label == host.label) {
            true => Fitness::Unfit,
            false => Fitness::Fit,
        };
        match pick(hosts, wish, fitness) {
            Some(host) => order.push(host),
            None => return order,
        }
    }
}

/// Hosts of a lower tier are all used before one of a higher.
const fn tier(standing: Standing) -> Option<u8> {
    match standing {
        Standing::Up => Some(0),
        Standing::Standby => Some(1),
        Standing::Draining => Some(2),
        Standing::Down => None,
    }
}

fn rendezvous<'a>(hosts: impl Iterator<Item = &'a Arc<Host>>, key: &[u8]) -> Option<&'a Arc<Host>> {
    let key = fnv(key);
    hosts.reduce(|best, host| {
        let (held, draw) = (highest_draw(key, best), highest_draw(key, host));
        if draw > held || draw == held && host.label < best.label { host } else { best }
    })
}

fn highest_draw(key: u64, host: &Host) -> u64 {
    let label = fnv(host.label.as_bytes());
    let draw = |n: u64| mix(key ^ mix(label.wrapping_add(n.wrapping_mul(STEP))));
    (0..u64::from(host.weight)).map(draw).max().unwrap_or(0)
}

/// As many turns in a row as a host has weight.
fn in_turn<'a, I: Iterator<Item = &'a Arc<Host>>>(
    hosts: impl Fn() -> I,
    turn: u64,
) -> Option<&'a Arc<Host>> {
    let sum: u64 = hosts().map(|host| u64::from(host.weight)).sum();
    let mut left = turn.checked_rem(sum)?;
    hosts().find(|host| match left.checked_sub(u64::from(host.weight)) {
        None => true,
        Some(rest) => {
            left = rest;
            false
        }
    })
}

/// The golden ratio in 64 bits, so that the draws of one host have nothing in common.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn fnv(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Spreads every bit of a number over all of them; a bijection.
pub(crate) const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
