//! The cache against what it promises, and against a plain list that forgets nothing.

extern crate std;

use std::collections::BTreeMap;
use std::format;
use std::hash::RandomState;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const AT_ONCE: Instant = Instant::from_millis(0);

fn after(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

fn cache(entries_max: usize) -> Cache<RandomState> {
    let (positive_ttl, negative_ttl) = (Duration::from_secs(600), Duration::from_secs(30));
    Cache::new(Keeping { entries_max, positive_ttl, negative_ttl }, RandomState::new())
}

fn keep(cache: &mut Cache<RandomState>, identifier: &[u8], home: Home, now: Instant) {
    let asked = cache.mark();
    cache.keep(identifier, home, asked, now);
}

#[test]
fn an_answer_is_good_for_its_time_and_not_longer() {
    let mut cache = cache(10);
    keep(&mut cache, b"alice", Home::At(3), AT_ONCE);
    keep(&mut cache, b"nobody", Home::Nowhere, AT_ONCE);
    assert_eq!(cache.find(b"nobody", Instant::from_millis(29_999)), Some(Home::Nowhere));
    assert_eq!(cache.find(b"nobody", after(30)), None);
    assert_eq!(cache.find(b"alice", Instant::from_millis(599_999)), Some(Home::At(3)));
    assert_eq!(cache.find(b"alice", after(600)), None);
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_later_answer_takes_the_place_of_an_earlier_one() {
    let mut cache = cache(10);
    keep(&mut cache, b"alice", Home::Nowhere, AT_ONCE);
    keep(&mut cache, b"alice", Home::At(1), after(20));
    assert_eq!(cache.find(b"alice", after(40)), Some(Home::At(1)));
    assert_eq!(cache.len(), 1);
}

#[test]
fn where_it_is_full_those_go_who_are_not_asked_for() {
    let mut cache = cache(3);
    for (position, name) in [b"a", b"b", b"c"].into_iter().enumerate() {
        keep(&mut cache, name, Home::At(position as u32), AT_ONCE);
    }
    cache.find(b"a", after(1));
    cache.find(b"c", after(1));
    keep(&mut cache, b"d", Home::At(3), after(2));
    let held: Vec<_> = [b"a", b"b", b"c", b"d"]
        .into_iter()
        .map(|name| cache.find(name, after(3)).is_some())
        .collect();
    assert_eq!(held, [true, false, true, true]);
}

#[test]
fn a_crowd_of_strangers_does_not_push_out_who_logs_in_all_day() {
    let mut cache = cache(100);
    keep(&mut cache, b"alice", Home::At(0), AT_ONCE);
    for stranger in 0..10_000 {
        keep(&mut cache, format!("stranger-{stranger}").as_bytes(), Home::Nowhere, AT_ONCE);
        assert_eq!(cache.find(b"alice", AT_ONCE), Some(Home::At(0)));
    }
    assert_eq!(cache.len(), 100);
}

#[test]
fn an_answer_from_before_something_was_forgotten_is_not_kept() {
    let mut cache = cache(10);
    let asked = cache.mark();
    assert!(!cache.forget(b"alice"));
    cache.keep(b"alice", Home::At(0), asked, AT_ONCE);
    assert_eq!(cache.find(b"alice", AT_ONCE), None);
    keep(&mut cache, b"alice", Home::At(1), AT_ONCE);
    assert!(cache.forget(b"alice"));
    assert_eq!(cache.find(b"alice", AT_ONCE), None);
    let asked = cache.mark();
    keep(&mut cache, b"bob", Home::At(1), AT_ONCE);
    cache.forget_all();
    assert!(cache.is_empty());
    cache.keep(b"bob", Home::At(1), asked, AT_ONCE);
    assert!(cache.is_empty());
}

#[test]
fn zero_stands_for_not_at_all() {
    let keeping = |entries_max, positive, negative| Keeping {
        entries_max,
        positive_ttl: Duration::from_secs(positive),
        negative_ttl: Duration::from_secs(negative),
    };
    for (keeping, found, not_found) in [
        (keeping(0, 1, 1), false, false),
        (keeping(9, 0, 1), false, true),
        (keeping(9, 1, 0), true, false),
    ] {
        let mut cache = Cache::new(keeping, RandomState::new());
        keep(&mut cache, b"alice", Home::At(0), AT_ONCE);
        keep(&mut cache, b"nobody", Home::Nowhere, AT_ONCE);
        assert_eq!(cache.find(b"alice", AT_ONCE).is_some(), found, "{keeping:?}");
        assert_eq!(cache.find(b"nobody", AT_ONCE).is_some(), not_found, "{keeping:?}");
    }
}

#[derive(Debug, Clone)]
enum Act {
    Keep(u8, Option<u32>),
    Find(u8),
    Forget(u8),
    ForgetAll,
    Pass(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..40_u8, proptest::option::of(0..4_u32)).prop_map(|(name, at)| Act::Keep(name, at)),
        8 => (0..40_u8).prop_map(Act::Find),
        2 => (0..40_u8).prop_map(Act::Forget),
        1 => Just(Act::ForgetAll),
        2 => (0..400_u16).prop_map(Act::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever it says is the last answer and still good; where nothing had to go for want of
    /// room, it says all of it; and it never holds more than it may.
    #[test]
    fn it_says_nothing_that_is_not_so(
        entries_max in 1..50_usize,
        acts in proptest::collection::vec(act(), 0..300),
    ) {
        let mut cache = cache(entries_max);
        let mut model: BTreeMap<u8, (Home, Instant)> = BTreeMap::new();
        let mut now = AT_ONCE;
        for act in acts {
            match act {
                Act::Keep(name, at) => {
                    let home = at.map_or(Home::Nowhere, Home::At);
                    let seconds = if at.is_some() { 600 } else { 30 };
                    keep(&mut cache, &[name], home, now);
                    model.insert(name, (home, now + Duration::from_secs(seconds)));
                    prop_assert_eq!(cache.find(&[name], now), Some(home));
                }
                Act::Find(name) => {
                    let found = cache.find(&[name], now);
                    let good = model.get(&name).filter(|(_, until)| *until > now);
                    let expected = good.map(|(home, _)| *home);
                    // Forty names fit into forty places.
                    let may_be_gone = entries_max < 40 && found.is_none();
                    prop_assert!(found == expected || may_be_gone, "{:?} {:?}", found, expected);
                }
                Act::Forget(name) => {
                    cache.forget(&[name]);
                    model.remove(&name);
                }
                Act::ForgetAll => {
                    cache.forget_all();
                    model.clear();
                }
                Act::Pass(seconds) => now = now + Duration::from_secs(seconds.into()),
            }
            prop_assert!(cache.len() <= entries_max);
            prop_assert_eq!(cache.len() + cache.free.len(), cache.entries.len());
        }
    }
}
