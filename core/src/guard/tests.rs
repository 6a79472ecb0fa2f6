//! Random dialogues, hostile and clean, between a client and backends of every habit.
//!
//! A model backend runs what reaches it, in the reading that its habits give: what it takes for
//! the end of a line and of a message, whether it announces BDAT, whether it breaks long lines.
//! None of them may ever run a forbidden verb; a client that sends none gets every byte through
//! (on IMAP but for what asks for leave);
//! and how the bytes are cut never matters. `smtp`, `imap` and `managesieve` are
//! the models.

mod imap;
mod managesieve;
mod smtp;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Guard, Passage};
use crate::contract::Leg;

/// Dialogues of each kind that are tried.
const DIALOGUES: u64 = 1500;

/// Seeds of dialogues that only a careful guard survives: few do, in hundreds of thousands.
const TELLING: [u64; 4] = [43_005, 52_338, 246_937, 660_348];

/// Octets that a guard costs a session at most.
const GUARD_OCTETS_MAX: usize = 256;

/// A backend that runs commands.
trait Model {
    /// Takes octets; gives replies.
    fn hear(&mut self, octets: &[u8]) -> Vec<u8>;
    /// The verbs it ran, in capitals.
    fn ran(&self) -> &[String];
}

/// Numbers that are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

/// How bytes come in.
#[derive(Clone, Copy)]
enum Cuts {
    /// In pieces of so many octets, and each reply at once.
    Pieces(usize),
    /// Anyhow, and replies whenever.
    Random,
}

/// What came of a dialogue.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    to_backend: Vec<u8>,
    to_client: Vec<u8>,
    /// What the backend said.
    said: Vec<u8>,
    waiting: usize,
}

/// Carries a dialogue as a driver would.
fn carry(
    mut guard: Guard,
    client: &[u8],
    model: &mut dyn Model,
    cuts: Cuts,
    dice: &mut Dice,
) -> Outcome {
    let mut kernel: VecDeque<u8> = client.iter().copied().collect();
    let mut waiting = Vec::new();
    let (mut said, mut heard) = (Vec::new(), 0);
    let (mut to_backend, mut to_client) = (Vec::new(), Vec::new());
    loop {
        let replies = said.len() - heard;
        let piece = match cuts {
            Cuts::Pieces(octets) => octets,
            Cuts::Random => 1 + dice.roll(60),
        };
        let stuck = guard.passage(Leg::Client) == Passage::Shut || kernel.is_empty();
        let reply_first = match cuts {
            Cuts::Pieces(_) => true,
            Cuts::Random => stuck || dice.coin(),
        };
        if replies > 0 && reply_first {
            let part = said[heard..heard + piece.min(replies)].to_vec();
            heard += part.len();
            let all = screen(&mut guard, Leg::Backend, &part, &mut to_client, dice);
            assert_eq!(all, part.len(), "nothing of a backend waits");
        } else if !stuck {
            waiting.extend(kernel.drain(..piece.min(kernel.len())));
        } else if replies == 0 {
            break;
        }
        let mut passed = Vec::new();
        let eaten = screen(&mut guard, Leg::Client, &waiting, &mut passed, dice);
        waiting.drain(..eaten);
        said.extend(model.hear(&passed));
        to_backend.extend(passed);
    }
    guard.ended(Leg::Backend);
    let mut passed = Vec::new();
    waiting.extend(kernel);
    let eaten = screen(&mut guard, Leg::Client, &waiting, &mut passed, dice);
    passed.extend(guard.rest(Leg::Client));
    said.extend(model.hear(&passed));
    to_backend.extend(passed);
    Outcome { to_backend, to_client, said, waiting: waiting.len() - eaten }
}

/// Screens as far as it goes; what needs no look is sometimes not shown.
fn screen(guard: &mut Guard, from: Leg, input: &[u8], out: &mut Vec<u8>, dice: &mut Dice) -> usize {
    let mut eaten = 0;
    loop {
        let rest = &input[eaten..];
        if let Passage::Open(limit) = guard.passage(from)
            && !rest.is_empty()
            && dice.coin()
        {
            let count = rest.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
            guard.passed(from, count as u64);
            out.extend_from_slice(&rest[..count]);
            eaten += count;
            continue;
        }
        let screened = guard.screen(from, rest);
        if screened.is_over() {
            return eaten;
        }
        eaten += screened.eaten;
        out.extend_from_slice(screened.pass);
    }
}

/// What goes to the backend, and what to the client.
type Both = (Vec<u8>, Vec<u8>);

/// A protocol's dialogues.
struct Trial {
    guard: fn(announced: bool) -> Guard,
    forbidden: &'static [&'static str],
    hostile: fn(&mut Dice) -> Vec<u8>,
    clean: fn(&mut Dice, announced: bool) -> Vec<u8>,
    /// What becomes of a clean dialogue, of what the client and what the backend said.
    changes: fn(client: &[u8], backend: &[u8]) -> Both,
    /// A backend, with habits or without.
    model: fn(&mut Dice, announced: bool, habits: bool) -> alloc::boxed::Box<dyn Model>,
}

impl Trial {
    fn run(&self) {
        for seed in (0..DIALOGUES).chain(TELLING) {
            let dice = &mut Dice(seed);
            let announced = dice.coin();
            let hostile = (self.hostile)(dice);
            self.nothing_forbidden_runs(seed, announced, &hostile);
            self.cuts_do_not_matter(seed, announced, &hostile);
            let clean = (self.clean)(dice, announced);
            let mut model = (self.model)(dice, announced, false);
            let guard = (self.guard)(announced);
            let outcome = carry(guard, &clean, &mut *model, Cuts::Random, dice);
            let (to_backend, to_client) = (self.changes)(&clean, &outcome.said);
            assert_eq!(show(&outcome.to_backend), show(&to_backend), "clean, seed {seed}");
            assert_eq!(show(&outcome.to_client), show(&to_client), "clean, seed {seed}");
            self.cuts_do_not_matter(seed, announced, &clean);
        }
    }

    fn nothing_forbidden_runs(&self, seed: u64, announced: bool, client: &[u8]) {
        for habits in [false, true] {
            let dice = &mut Dice(seed ^ 0x5a5a);
            let mut model = (self.model)(dice, announced, habits);
            let guard = (self.guard)(announced);
            let outcome = carry(guard, client, &mut *model, Cuts::Random, dice);
            let ran = model.ran().iter().find(|verb| self.forbidden.contains(&verb.as_str()));
            let (sent, got) = (show(client), show(&outcome.to_backend));
            assert_eq!(ran, None, "seed {seed}, habits {habits}:\n{sent}\nbecame\n{got}");
            assert_eq!(outcome.waiting, 0, "seed {seed}: nothing waits for ever");
        }
    }

    fn cuts_do_not_matter(&self, seed: u64, announced: bool, client: &[u8]) {
        let outcome = |cuts| {
            let dice = &mut Dice(seed ^ 0xa5a5);
            let mut model = (self.model)(dice, announced, false);
            carry((self.guard)(announced), client, &mut *model, cuts, dice)
        };
        let whole = outcome(Cuts::Pieces(usize::MAX / 2));
        for cuts in [Cuts::Pieces(1), Cuts::Pieces(7), Cuts::Random] {
            let cut = outcome(cuts);
            assert_eq!(show(&cut.to_backend), show(&whole.to_backend), "seed {seed}");
            assert_eq!(show(&cut.said), show(&whole.said), "seed {seed}");
        }
    }
}

/// Every byte gets through.
fn none(client: &[u8], backend: &[u8]) -> Both {
    (client.to_vec(), backend.to_vec())
}

fn show(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

#[test]
fn a_guard_is_small() {
    assert!(size_of::<Guard>() <= GUARD_OCTETS_MAX, "{}", size_of::<Guard>());
}
