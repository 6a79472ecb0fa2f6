//! Placement: golden values, and what must hold whatever the hosts are.

#![allow(clippy::unwrap_used)]

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::*;

const USERS: usize = 100_000;

fn hosts(texts: &[&str]) -> Vec<Arc<Host>> {
    texts.iter().map(|text| Arc::new(Host::parse(text).unwrap())).collect()
}

fn ten() -> Vec<Arc<Host>> {
    (0..10).map(|n| Arc::new(Host::parse(&format!("imap{n}.example.com")).unwrap())).collect()
}

fn user(n: usize) -> Vec<u8> {
    format!("user{n}@example.com").into_bytes()
}

fn wish(policy: Policy, key: &[u8], turn: u64) -> Wish<'_> {
    Wish { policy, key, turn }
}

fn home(hosts: &[Arc<Host>], key: &[u8]) -> Option<String> {
    let wish = wish(Policy::Rendezvous, key, 0);
    pick(hosts, wish, |_| Fitness::Fit).map(|host| String::from(&*host.label))
}

/// Accounts live on these hosts in every version, on every machine: a change of these values moves
/// every account of every operator.
#[test]
fn golden_values() {
    assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8, "as the reference of FNV-1a has it");
    assert_eq!(mix(STEP), 0xe220_a839_7b1d_cdaf, "the first number of SplitMix64 seeded with 0");
    let hosts = hosts(&["a.test", "b.test=2", "c.test:1993"]);
    let homes =
        ["alice@example.com", "bob@example.com", "user9@example.com", "dave", "grace", "\u{e9}"]
            .map(|key| home(&hosts, key.as_bytes()).unwrap());
    assert_eq!(homes, ["b.test", "b.test", "c.test:1993", "a.test", "a.test", "b.test"]);
}

#[test]
fn a_lost_host_gives_away_its_own_accounts_and_no_others() {
    let all = ten();
    let less: Vec<_> =
        all.iter().filter(|host| &*host.label != "imap3.example.com").cloned().collect();
    let mut moved = 0;
    for n in 0..USERS {
        let (before, after) = (home(&all, &user(n)), home(&less, &user(n)));
        if before.as_deref() == Some("imap3.example.com") {
            moved += 1;
        } else {
            assert_eq!(before, after, "user{n}");
        }
    }
    assert!((9_500..10_500).contains(&moved), "{moved} of {USERS} lived there");
}

#[test]
fn an_added_host_takes_its_share_and_nobody_else_moves() {
    let before = ten();
    let mut after = before.clone();
    after.push(Arc::new(Host::parse("new.example.com").unwrap()));
    let mut moved = 0;
    for n in 0..USERS {
        let (old, new) = (home(&before, &user(n)), home(&after, &user(n)));
        if old != new {
            assert_eq!(new.as_deref(), Some("new.example.com"), "user{n}");
            moved += 1;
        }
    }
    assert!((8_600..9_600).contains(&moved), "{moved} of {USERS} moved, an eleventh is 9091");
}

#[test]
fn shares_are_as_weights() {
    let hosts = hosts(&["a=1", "b=2", "c=5", "d=12"]);
    let mut share: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..USERS {
        *share.entry(home(&hosts, &user(n)).unwrap()).or_default() += 1;
    }
    for (label, weight) in [("a", 1), ("b", 2), ("c", 5), ("d", 12)] {
        let (got, due) = (share[label], USERS * weight / 20);
        assert!(got.abs_diff(due) < due / 10, "{label} has {got}, its share is {due}");
    }
}

#[test]
fn a_raised_weight_only_attracts() {
    let (before, after) = (hosts(&["a=3", "b=3", "c=3"]), hosts(&["a=3", "b=4", "c=3"]));
    for n in 0..5000 {
        let (old, new) = (home(&before, &user(n)).unwrap(), home(&after, &user(n)).unwrap());
        assert!(old == new || new == "b", "user{n} went from {old} to {new}");
    }
}

#[test]
fn the_order_in_the_file_says_nothing_to_rendezvous() {
    let one = hosts(&["a", "b=2", "c:7", "d"]);
    let other: Vec<_> = one.iter().rev().cloned().collect();
    for n in 0..5000 {
        assert_eq!(home(&one, &user(n)), home(&other, &user(n)));
    }
}

#[test]
fn turns_are_as_weights_and_skip_whoever_may_not_serve() {
    let hosts = hosts(&["a", "b=2", "c"]);
    let run = |unfit: &str| -> String {
        let fitness = |host: &Host| match &*host.label == unfit {
            true => Fitness::Unfit,
            false => Fitness::Fit,
        };
        let pick = |turn| pick(&hosts, wish(Policy::RoundRobin, b"x", turn), fitness);
        (0..8).map(|turn| String::from(&*pick(turn).unwrap().label)).collect()
    };
    assert_eq!(run(""), "abbcabbc");
    assert_eq!(run("b"), "acacacac");
}

#[test]
fn failover_keeps_to_the_order_of_the_file() {
    let hosts = hosts(&["a", "b standby", "c"]);
    let first = |unfit: &[&str], spent: &[&str]| {
        let fitness = |host: &Host| {
            if unfit.contains(&&*host.label) {
                Fitness::Unfit
            } else if spent.contains(&&*host.label) {
                Fitness::Spent
            } else {
                Fitness::Fit
            }
        };
        let picked = pick(&hosts, wish(Policy::First, b"x", 9), fitness);
        picked.map(|host| String::from(&*host.label))
    };
    assert_eq!(first(&[], &[]).as_deref(), Some("a"));
    assert_eq!(first(&["a"], &[]).as_deref(), Some("c"), "one that is up before one on standby");
    assert_eq!(first(&["a", "c"], &[]).as_deref(), Some("b"));
    assert_eq!(first(&[], &["a", "c"]).as_deref(), Some("b"), "standby before where it failed");
    assert_eq!(first(&["b", "c"], &["a"]).as_deref(), Some("a"), "there again, if nowhere else");
    assert_eq!(first(&["a", "b", "c"], &[]), None);
}

#[test]
fn the_order_is_that_of_picks_where_one_after_the_other_is_lost() {
    let hosts = hosts(&["a.test", "b.test=2", "c.test:1993", "d.test standby", "e.test down"]);
    let key = b"user9@example.com";
    let order = order(&hosts, wish(Policy::Rendezvous, key, 0));
    let labels: Vec<_> = order.iter().map(|host| &*host.label).collect();
    assert_eq!((labels[0], labels[3], labels.len()), ("c.test:1993", "d.test", 4));
}

/// Seeded pictures of hosts: whoever is picked may serve, and nobody better was passed over.
#[test]
fn whoever_is_picked_is_among_the_best() {
    let standings = ["", " draining", " standby", " down"];
    for seed in 0..20_000u64 {
        let bits = |shift: u32| usize::try_from(mix(seed) >> shift & 3).unwrap();
        let texts: Vec<String> = (0..4u32)
            .map(|n| format!("h{n}={}{}", 1 + bits(n * 2), standings[bits(8 + n * 2)]))
            .collect();
        let hosts = hosts(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let fitness = |host: &Host| {
            let n = u32::from(host.label.as_bytes()[1] - b'0');
            [Fitness::Fit, Fitness::Spent, Fitness::Unfit, Fitness::Fit][bits(16 + n * 2)]
        };
        let policy = [Policy::Rendezvous, Policy::First, Policy::RoundRobin][bits(24) % 3];
        let key = user(bits(30));
        let picked = pick(&hosts, wish(policy, &key, seed), fitness);
        let value = |host: &Host| {
            let rank = fitness(host);
            tier(host.standing).filter(|_| rank != Fitness::Unfit).map(|tier| (rank, tier))
        };
        let best = hosts.iter().filter_map(|host| value(host)).min();
        assert_eq!(picked.and_then(|host| value(host)), best, "seed {seed}");
    }
}
