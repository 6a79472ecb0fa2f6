//! Operations from octets.
//!
//! An input is segments, each ended by 0xff; 0xfe takes the octet behind it literally. The first
//! one is the configuration. Of the others the first octet names what happens, the rest is its
//! argument. `C` and `B` are octets of the client and the backend, `c` and `b` the same repeated:
//! their first octet is the power of two.

use gatepost_core::Leg;

use super::super::SEPARATOR;

/// Takes the next octet literally.
const ESCAPE: u8 = 0xfe;
/// Operations that are played.
const OPS_MAX: usize = 64;
/// Octets that are delivered, in all: more than any sum of limits.
const OCTETS_MAX: usize = 80_000;

/// Something that happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Octets arrive.
    Bytes(Leg, Vec<u8>),
    /// The outstanding step succeeds, with particulars.
    Good(Vec<u8>),
    /// It fails, in one of the ways in which it can.
    Bad(u8),
    /// An earlier step is answered, again or late, with anything.
    Stale(u8, u8),
    Eof(Leg),
    Lost(Leg, u8),
    /// Milliseconds pass at once; what is due then comes late.
    Pass(u64),
    /// A timeout that is not due.
    EarlyTimeout,
    Drain,
    Kick,
}

/// How chunks of octets are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Whole,
    Bytewise,
    /// At random, from that seed.
    Pieces(u64),
}

impl Cut {
    /// The length of the next piece of so many octets.
    pub(crate) fn next(&mut self, octets: usize) -> usize {
        match self {
            Self::Whole => octets,
            Self::Bytewise => 1,
            Self::Pieces(random) => {
                *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let number = (*random >> 33) as usize;
                // Small and large pieces find different mistakes.
                let scale = if number.is_multiple_of(3) { 1000 } else { 12 };
                octets.min(1 + number / 3 % scale)
            }
        }
    }
}

/// The configuration's segment and the operations of an input.
pub(crate) fn read(data: &[u8]) -> (Vec<u8>, Vec<Op>) {
    let mut segments = segments(data).into_iter();
    let head = segments.next().unwrap_or_default();
    let mut octets_left = OCTETS_MAX;
    let ops = segments.filter_map(|segment| op(&segment, &mut octets_left)).take(OPS_MAX);
    (head, ops.collect())
}

fn segments(data: &[u8]) -> Vec<Vec<u8>> {
    let mut segments = vec![Vec::new()];
    let mut octets = data.iter();
    while let Some(octet) = octets.next() {
        let last = segments.last_mut().expect("there is always one");
        match *octet {
            SEPARATOR => segments.push(Vec::new()),
            ESCAPE => last.extend(octets.next()),
            other => last.push(other),
        }
    }
    segments
}

fn op(segment: &[u8], octets_left: &mut usize) -> Option<Op> {
    let (kind, argument) = segment.split_first()?;
    let octet = |at: usize| argument.get(at).copied().unwrap_or(0);
    Some(match kind {
        b'C' => Op::Bytes(Leg::Client, bounded(argument, 1, octets_left)),
        b'B' => Op::Bytes(Leg::Backend, bounded(argument, 1, octets_left)),
        b'c' | b'b' => {
            let leg = if *kind == b'c' { Leg::Client } else { Leg::Backend };
            let (power, repeated) = argument.split_first()?;
            Op::Bytes(leg, bounded(repeated, 1 << (power % 16), octets_left))
        }
        b'+' => Op::Good(argument.to_vec()),
        b'-' => Op::Bad(octet(0)),
        b'~' => Op::Stale(octet(0), octet(1)),
        b'E' => Op::Eof(Leg::Client),
        b'e' => Op::Eof(Leg::Backend),
        b'L' => Op::Lost(Leg::Client, octet(0)),
        b'l' => Op::Lost(Leg::Backend, octet(0)),
        b'T' => {
            let digits = argument.iter().take(7).map(|octet| u64::from(octet % 16));
            Op::Pass(digits.fold(0, |number, digit| number * 10 + digit))
        }
        b't' => Op::EarlyTimeout,
        b'D' => Op::Drain,
        b'K' => Op::Kick,
        _ => return None,
    })
}

fn bounded(octets: &[u8], times: usize, octets_left: &mut usize) -> Vec<u8> {
    let wanted = octets.len().saturating_mul(times).min(*octets_left);
    *octets_left -= wanted;
    octets.iter().copied().cycle().take(wanted).collect()
}
