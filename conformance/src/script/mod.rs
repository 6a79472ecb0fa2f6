//! Byte scripts: one timeline of a session as text, and the runners that play it.
//!
//! A script says what comes in and every byte and step that must come out; the grammar stands in
//! `conformance/scripts/README.md`. [`timeline`] is one that was read, [`core_run`] plays it on the
//! core alone, at every cut of its input. A runner prints what came out as [`Emission`]s, and
//! `compare` judges them; nothing else does.
//!
//! Not here: the scripts, and anything that knows what a protocol means.
//! Read next: `parse` (lines), `header` (configuration), `core_run` (the reference driver),
//! `suite` (all scripts, all cuts), `wire` (the same over sockets).

mod answer;
mod bless;
mod compare;
mod core_run;
mod cuts;
mod header;
mod parse;
mod pump;
mod steps;
mod suite;
mod text;
mod timeline;
mod wire;

pub(crate) use cuts::Random;
pub(crate) use header::{listener, route};
pub(crate) use pump::Pump;
pub(crate) use timeline::{Deed, Emission, index};

pub use suite::{Outcome, run, run_over_sockets};
pub use timeline::Place;
pub use wire::{Lookup, Order, Plan, Resolve, Served, Start};
