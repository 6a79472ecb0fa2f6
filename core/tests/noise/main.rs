//! Noise: sessions that are told anything at any moment, and what must hold nevertheless.
//!
//! A run begins as a dialogue that makes sense (`dialogues`), is damaged in places, and is played
//! (`rig`) by a driver that keeps the contract but for answers, which may come late or twice. The
//! rig judges every call: octets are eaten from the front, memory and output keep their limits, a
//! backend hears nothing before it may, and time goes forward. Panics are failures of their own,
//! debug assertions included.
//!
//! What the session says to sensible input is stated by byte scripts, not here.

#![allow(missing_docs, clippy::unwrap_used)]

mod dialogues;
mod rig;
mod settings;

use gatepost_core::Leg;
use gatepost_core::config::TlsMode;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use self::dialogues::Op;
use self::rig::Rig;

/// A damage to a dialogue.
#[derive(Debug, Clone)]
enum Damage {
    Insert(Index, Op),
    Remove(Index),
    Swap(Index, Index),
    Repeat(Index),
    /// Of the octets of an operation that has some.
    Octets(Index, OctetDamage),
}

#[derive(Debug, Clone)]
enum OctetDamage {
    Set(Index, u8),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize, usize),
}

fn leg() -> impl Strategy<Value = Leg> {
    prop_oneof![Just(Leg::Client), Just(Leg::Backend)]
}

/// Words of the protocol, so that noise now and then means something.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => proptest::sample::select(dialogues::WORDS).prop_map(|word| word.to_vec()),
        1 => vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 1_usize..20_000).prop_map(|(octet, count)| vec![octet; count]),
        1 => (proptest::sample::select(dialogues::COMMANDS), 1_usize..3000)
            .prop_map(|(command, count)| command.repeat(count)),
    ];
    vec(word, 1..6).prop_map(|words| words.concat())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (leg(), octets()).prop_map(|(leg, octets)| Op::Bytes(leg, octets)),
        4 => Just(Op::Good),
        2 => any::<u8>().prop_map(Op::Bad),
        3 => (any::<Index>(), any::<u8>()).prop_map(|(ticket, kind)| Op::Stale(ticket, kind)),
        1 => leg().prop_map(Op::Eof),
        1 => (leg(), any::<u8>()).prop_map(|(leg, fault)| Op::Lost(leg, fault)),
        3 => prop_oneof![0_u64..20_000, Just(3_600_000)].prop_map(Op::Pass),
        1 => Just(Op::EarlyTimeout),
        1 => Just(Op::Drain),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let octet_damage = prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, octet)| OctetDamage::Set(at, octet)),
        2 => (any::<Index>(), 1_usize..9).prop_map(|(at, count)| OctetDamage::Remove(at, count)),
        2 => (any::<Index>(), octets()).prop_map(|(at, octets)| OctetDamage::Insert(at, octets)),
        1 => (any::<Index>(), 1_usize..60, 2_usize..200)
            .prop_map(|(at, count, times)| OctetDamage::Repeat(at, count, times)),
    ];
    prop_oneof![
        4 => (any::<Index>(), op()).prop_map(|(at, op)| Damage::Insert(at, op)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Damage::Swap(a, b)),
        1 => any::<Index>().prop_map(Damage::Repeat),
        3 => (any::<Index>(), octet_damage).prop_map(|(at, damage)| Damage::Octets(at, damage)),
    ]
}

fn damaged(mut ops: Vec<Op>, damages: Vec<Damage>) -> Vec<Op> {
    for damage in damages {
        match damage {
            Damage::Insert(at, op) => ops.insert(at.index(ops.len() + 1), op),
            _ if ops.is_empty() => {}
            Damage::Remove(at) => drop(ops.remove(at.index(ops.len()))),
            Damage::Swap(a, b) => {
                let length = ops.len();
                ops.swap(a.index(length), b.index(length));
            }
            Damage::Repeat(at) => {
                let at = at.index(ops.len());
                ops.insert(at, ops[at].clone());
            }
            Damage::Octets(at, damage) => {
                let mut with_octets: Vec<&mut Vec<u8>> = ops
                    .iter_mut()
                    .filter_map(|op| {
                        let Op::Bytes(_, octets) = op else { return None };
                        (!octets.is_empty()).then_some(octets)
                    })
                    .collect();
                if !with_octets.is_empty() {
                    let at = at.index(with_octets.len());
                    damage.apply(with_octets[at]);
                }
            }
        }
    }
    ops
}

impl OctetDamage {
    fn apply(self, octets: &mut Vec<u8>) {
        let length = octets.len();
        let range = |at: Index, count: usize| {
            let at = at.index(length);
            at..length.min(at + count)
        };
        match self {
            Self::Set(at, octet) => octets[at.index(length)] = octet,
            Self::Remove(at, count) => drop(octets.drain(range(at, count))),
            Self::Insert(at, new) => drop(octets.splice(at.index(length)..at.index(length), new)),
            Self::Repeat(at, count, times) => {
                let range = range(at, count);
                let repeated = octets[range.clone()].repeat(times);
                drop(octets.splice(range, repeated));
            }
        }
    }
}

fn play(configuration: usize, seed: u64, ops: Vec<Op>) -> rig::Ending {
    let mut rig = Rig::new(settings::listener(configuration), seed);
    for op in ops {
        rig.op(op, &settings::destination(configuration));
    }
    rig.end()
}

fn play_carried(configuration: usize, seed: u64, ops: Vec<Op>) -> rig::Ending {
    let (listener, destination) = settings::carried(configuration);
    let mut rig = Rig::new(listener, seed);
    for op in ops {
        rig.op(op, &destination);
    }
    rig.end()
}

fn configuration() -> ProptestConfig {
    // What fails is printed, shrunk, and makes a script or a test of its own.
    ProptestConfig {
        cases: 1500,
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn a_damaged_dialogue(
        configuration in any::<Index>(),
        dialogue in any::<Index>(),
        damages in vec(damage(), 0..12),
        seed in any::<u64>(),
    ) {
        let all = dialogues::all();
        let ops = damaged(all[dialogue.index(all.len())].clone(), damages);
        play(configuration.index(settings::COUNT), seed, ops);
    }

    #[test]
    fn no_dialogue_at_all(
        configuration in any::<Index>(),
        ops in vec(op(), 0..40),
        seed in any::<u64>(),
    ) {
        play(configuration.index(settings::COUNT), seed, ops);
    }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn a_carried_client(
        configuration in any::<Index>(),
        ops in vec(op(), 0..20),
        seed in any::<u64>(),
    ) {
        play_carried(configuration.index(settings::COUNT), seed, ops);
    }
}

/// But where a backend would have to be asked for STARTTLS.
#[test]
fn carried_clients_reach_the_relay() {
    for configuration in 0..settings::COUNT {
        let reached = play_carried(configuration, 1, vec![Op::Good; 4]) == rig::Ending::Spliced;
        let (_, destination) = settings::carried(configuration);
        let possible = destination.endpoints[0].1.tls != TlsMode::StartTls;
        assert_eq!(reached, possible, "configuration {configuration}");
    }
}

/// Noise that never gets past the greeting would prove little.
#[test]
fn undamaged_dialogues_reach_the_relay() {
    let mut spliced = 0;
    for (position, dialogue) in dialogues::all().into_iter().enumerate() {
        let anywhere = (0..settings::COUNT)
            .any(|configuration| play(configuration, 1, dialogue.clone()) == rig::Ending::Spliced);
        assert!(anywhere, "dialogue {position} logs in under no configuration");
        spliced += 1;
    }
    assert!(spliced >= 8);
}

#[test]
fn every_configuration_lets_somebody_in() {
    for configuration in 0..settings::COUNT {
        let anybody = dialogues::all()
            .into_iter()
            .any(|dialogue| play(configuration, 1, dialogue) == rig::Ending::Spliced);
        assert!(anybody, "configuration {configuration}");
    }
}
