//! How the input of a run is cut.
//!
//! A [`Cut`] says in which pieces a chunk arrives. All runs of a script are listed by [`all`]:
//! whole, byte by byte, every cut in two, and random ones, each of which its seed repeats.
//!
//! Read next: `core_run`, which delivers the pieces.

use super::timeline::{Script, What};

/// Octets of input in a script up to which it is cut in two everywhere.
pub(super) const OCTETS_CUT_EVERYWHERE: usize = 2000;
/// Octets that the cuts in two of a longer script may deliver in all; they are sampled to that.
const SAMPLED_OCTETS: usize = 4_000_000;
/// Octets at either end of a chunk where a longer script is cut in two at each.
const EDGE_OCTETS: usize = 16;
/// Random cuts of a script.
const RANDOM_RUNS: u64 = 48;
/// Random cuts of a script over sockets.
const RANDOM_RUNS_OVER_SOCKETS: u64 = 3;

/// One way to cut all chunks of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Not at all.
    Whole,
    /// Octet by octet.
    Bytewise,
    /// One chunk, counted from 0, in two.
    Twofold { chunk: usize, at: usize },
    /// At random.
    Seeded(u64),
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Bytewise => f.write_str("byte by byte"),
            Self::Twofold { chunk, at } => {
                write!(f, "chunk {} cut after {at} octets", chunk + 1)
            }
            Self::Seeded(seed) => write!(f, "random cuts, GATEPOST_SEED={seed:x}"),
        }
    }
}

impl Cut {
    /// The pieces of one chunk, counted from 0, in octets; their sum is `length`.
    pub(super) fn pieces(self, chunk: usize, length: usize) -> Vec<usize> {
        match self {
            Self::Bytewise => vec![1; length],
            Self::Twofold { chunk: cut, at } if cut == chunk => vec![at, length - at],
            Self::Whole | Self::Twofold { .. } => vec![length],
            Self::Seeded(seed) => random_pieces(seed, chunk, length),
        }
    }
}

/// Every run of a script, the simplest first.
pub(super) fn all(script: &Script, seed: u64) -> Vec<Cut> {
    let lengths = chunk_lengths(script);
    let mut cuts = vec![Cut::Whole, Cut::Bytewise];
    let total: usize = lengths.iter().sum();
    let is_edge = |at: usize, length: usize| at <= EDGE_OCTETS || length - at <= EDGE_OCTETS;
    for (chunk, length) in lengths.iter().enumerate() {
        let places =
            (1..*length).filter(|at| total <= OCTETS_CUT_EVERYWHERE || is_edge(*at, *length));
        cuts.extend(places.map(|at| Cut::Twofold { chunk, at }));
    }
    if total > OCTETS_CUT_EVERYWHERE {
        let mut random = Random(seed);
        cuts.extend((0..SAMPLED_OCTETS / total).filter_map(|_| {
            let chunk = random.below(lengths.len());
            let at = random.below(lengths[chunk]);
            (at > 0).then_some(Cut::Twofold { chunk, at })
        }));
    }
    // The first one is the seed itself, so that a printed seed is a run of its own.
    cuts.extend((0..RANDOM_RUNS).map(|run| Cut::Seeded(seed.wrapping_add(run))));
    cuts
}

/// The runs of a script over sockets, where each costs a server.
pub(super) fn over_sockets(seed: u64) -> Vec<Cut> {
    let mut cuts = vec![Cut::Whole, Cut::Bytewise];
    cuts.extend((0..RANDOM_RUNS_OVER_SOCKETS).map(|run| Cut::Seeded(seed.wrapping_add(run))));
    cuts
}

fn chunk_lengths(script: &Script) -> Vec<usize> {
    let inputs = script.blocks.iter().flat_map(|block| &block.inputs);
    inputs
        .filter_map(|input| match &input.what {
            What::Bytes(_, octets) => Some(octets.len()),
            What::World(_) => None,
        })
        .collect()
}

fn random_pieces(seed: u64, chunk: usize, length: usize) -> Vec<usize> {
    let mut random = Random(seed ^ (chunk as u64) << 32);
    // Small and large pieces find different mistakes, so the scale is random as well.
    let scale = 1 << random.below(12);
    let mut pieces = Vec::new();
    let mut left = length;
    while left > 0 {
        let piece = (1 + random.below(scale)).min(left);
        pieces.push(piece);
        left -= piece;
    }
    pieces
}

/// SplitMix64: enough to choose cuts and fates by, and a seed is all its state.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_sum_up_and_none_is_empty() {
        for cut in [
            Cut::Whole,
            Cut::Bytewise,
            Cut::Twofold { chunk: 1, at: 40 },
            Cut::Seeded(1),
            Cut::Seeded(7),
        ] {
            let pieces = cut.pieces(1, 100);
            assert_eq!(pieces.iter().sum::<usize>(), 100, "{cut}");
            assert!(pieces.iter().all(|piece| *piece > 0), "{cut}");
        }
        assert_eq!(Cut::Twofold { chunk: 1, at: 40 }.pieces(0, 100), [100]);
    }

    #[test]
    fn seeds_repeat_and_differ() {
        assert_eq!(Cut::Seeded(3).pieces(2, 500), Cut::Seeded(3).pieces(2, 500));
        assert_ne!(Cut::Seeded(3).pieces(2, 500), Cut::Seeded(4).pieces(2, 500));
    }
}
