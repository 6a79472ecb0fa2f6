//! A session that is told anything at any moment, by a driver that keeps the contract.
//!
//! An input is a configuration ([`settings`]) and a list of operations ([`ops`]). It is played
//! ([`rig`]) three times: every chunk whole, octet by octet, and in pieces; what came of it
//! ([`told`]) must be the same each time (rule 3 of the contract). What must hold at every call is
//! judged by the rig: no panic, at most one step at a time, nothing after the last one, no password
//! where none may be ([`judge`]), a bounded outbox, and nothing left undone that no event would
//! bring up again.
//!
//! Not here: bytes after the hand-off but for the order in which they are handed over.

mod judge;
mod ops;
mod rig;
mod settings;
mod told;

use self::ops::{Cut, read};
use self::rig::Rig;
use self::settings::Settings;

/// Plays the input.
pub fn session(data: &[u8]) {
    let (head, ops) = read(data);
    let settings = Settings::read(&head);
    let play = |cut: Cut| Rig::new(&settings, &ops, cut).play();
    let whole = play(Cut::Whole);
    for cut in [Cut::Bytewise, Cut::Pieces(data.len() as u64)] {
        let other = play(cut);
        if let Some(difference) = whole.difference(&other) {
            panic!("{cut:?} is not as whole: {difference}\n{whole}\n{other}");
        }
    }
}
