//! The breaker: single cases, and seeded histories of a host with many clients.

#![allow(clippy::unwrap_used)]

use alloc::{format, vec::Vec};

use super::*;
use crate::close::LegFault;
use crate::route::place::mix;

const RULES: Rules = Rules { threshold: 5, min_clients: 2, cooldown: Duration::from_secs(30) };

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

fn client(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

fn judge(health: &mut Health, outcome: Outcome, from: u8, seconds: u64) -> Option<Change> {
    health.judge(outcome, client(from), &RULES, at(seconds))
}

/// A host that was tripped at second 0.
fn tripped() -> Health {
    let mut health = Health::default();
    for _ in 0..4 {
        assert_eq!(judge(&mut health, Outcome::Broken, 1, 0), None);
    }
    assert_eq!(judge(&mut health, Outcome::Broken, 1, 0), Some(Change::Tripped));
    health
}

#[test]
fn failures_that_know_no_client_count_by_themselves() {
    let health = tripped();
    assert!(!health.may_serve(at(29)));
    assert!(health.may_serve(at(30)));
}

#[test]
fn one_client_alone_never_trips_it_and_two_do() {
    let mut health = Health::default();
    for second in 0..1000 {
        assert_eq!(judge(&mut health, Outcome::BrokenForClient, 1, second), None);
    }
    // Whatever the first one did, it counts no more than its share: three of five.
    assert_eq!(judge(&mut health, Outcome::BrokenForClient, 2, 1000), None);
    assert_eq!(judge(&mut health, Outcome::BrokenForClient, 2, 1000), Some(Change::Tripped));
}

#[test]
fn what_was_for_a_client_is_forgotten_after_a_minute() {
    let mut health = Health::default();
    for (from, second) in [(1, 0), (1, 0), (1, 0), (2, 0), (2, 60)] {
        assert_eq!(judge(&mut health, Outcome::BrokenForClient, from, second), None);
    }
    assert_eq!(health.breaker.for_clients.len(), 1);
}

#[test]
fn one_block_of_addresses_is_one_client() {
    let mut health = Health::default();
    for number in 0..1000u16 {
        let address = IpAddr::from([0x2001, 0xdb8, 0, 0, number, 2, 3, 4]);
        assert_eq!(health.judge(Outcome::BrokenForClient, address, &RULES, at(0)), None);
    }
}

#[test]
fn an_answer_clears_the_record() {
    let mut health = Health::default();
    for _ in 0..20 {
        for _ in 0..4 {
            assert_eq!(judge(&mut health, Outcome::Broken, 1, 0), None);
        }
        assert_eq!(judge(&mut health, Outcome::Works, 1, 0), None);
        assert!(health.is_spotless());
    }
}

#[test]
fn one_login_tries_it_after_the_cooldown_and_decides() {
    let mut health = tripped();
    health.begin(&RULES, at(30));
    assert!(!health.may_serve(at(31)), "a second one waits for the first one's outcome");
    let mut again = health.clone();
    assert_eq!(judge(&mut again, Outcome::Broken, 1, 31), Some(Change::Tripped));
    assert!(!again.may_serve(at(60)) && again.may_serve(at(61)));
    assert_eq!(judge(&mut health, Outcome::Works, 1, 31), Some(Change::Recovered));
    assert!(health.may_serve(at(31)) && health.is_spotless());
}

#[test]
fn a_trial_that_says_nothing_makes_room_for_the_next() {
    let mut health = tripped();
    health.begin(&RULES, at(30));
    assert_eq!(judge(&mut health, Outcome::Unjudged, 1, 31), None);
    assert!(health.may_serve(at(31)), "it was given up");
    health.begin(&RULES, at(31));
    assert!(!health.may_serve(at(60)) && health.may_serve(at(61)), "it is lost");
}

/// A client that the host does not serve must not keep it from everybody by being the one that
/// tries it.
#[test]
fn a_trial_that_fails_for_one_client_is_repeated_by_another() {
    let mut health = tripped();
    for second in 30..40 {
        assert!(health.may_serve(at(second)));
        health.begin(&RULES, at(second));
        assert_eq!(judge(&mut health, Outcome::BrokenForClient, 1, second), None);
    }
    health.begin(&RULES, at(40));
    assert_eq!(judge(&mut health, Outcome::BrokenForClient, 2, 40), Some(Change::Tripped));
}

#[test]
fn without_a_threshold_nothing_trips() {
    let mut health = Health::default();
    for number in 0..1000u16 {
        let from = client(u8::try_from(number % 250).unwrap());
        for outcome in [Outcome::Broken, Outcome::BrokenForClient] {
            assert_eq!(health.judge(outcome, from, &Rules::OFF, at(0)), None);
        }
    }
    assert!(health.may_serve(at(0)) && health.breaker.for_clients.is_empty());
}

#[test]
fn probes_have_hysteresis() {
    let mut health = Health::default();
    let mut probed = |works: &[bool]| -> Vec<Option<Change>> {
        works.iter().map(|works| health.probed(*works)).collect()
    };
    assert_eq!(probed(&[false, false, true, false, false]), [None; 5]);
    assert_eq!(probed(&[false]), [Some(Change::ProbedDown)]);
    assert_eq!(probed(&[true, false, true]), [None; 3]);
    assert_eq!(probed(&[true]), [Some(Change::ProbedUp)]);
    assert!(health.is_spotless());
}

#[test]
fn what_a_fault_counts() {
    use AttemptFault::{
        CommandRejected, Connect, Eof, GreetingBye, Lost, MechanismMissing, TimedOut,
    };
    for fault in [Eof, TimedOut, GreetingBye, Lost(LegFault::Reset)] {
        assert_eq!(outcome(fault, false), Outcome::Broken);
        assert_eq!(outcome(fault, true), Outcome::BrokenForClient);
    }
    assert_eq!(outcome(Connect(ConnectFault::Refused), false), Outcome::Broken);
    assert_eq!(outcome(Connect(ConnectFault::Exhausted), false), Outcome::Unjudged);
    assert_eq!(outcome(CommandRejected, true), Outcome::Works);
    assert_eq!(outcome(MechanismMissing, true), Outcome::Works);
}

/// Thousands of logins by many clients against a host that works, works but for some, or does not:
/// what holds at every moment.
#[test]
fn a_host_through_its_days() {
    for seed in 0..300u64 {
        let mut health = Health::default();
        let mut trials: Vec<u64> = Vec::new();
        let mut tripped_in_health = false;
        let mut number = seed;
        let mut draw = |below: u64| {
            number = number.wrapping_add(1);
            mix(mix(number) ^ seed) % below
        };
        let outage = (200 + draw(200), 600 + draw(200));
        for second in 0..1200u64 {
            let is_out = (outage.0..outage.1).contains(&second);
            let now = at(second);
            // A trial's outcome comes some seconds later; everybody else's at once.
            if trials.first().is_some_and(|due| *due <= second) {
                trials.remove(0);
                let outcome = if is_out { Outcome::Broken } else { Outcome::Works };
                health.judge(outcome, client(9), &RULES, now);
            }
            for _ in 0..draw(4) {
                if !health.may_serve(now) {
                    continue;
                }
                let on_trial = health.condition(now) == Condition::Due;
                health.begin(&RULES, now);
                if on_trial {
                    trials.push(second + 1 + draw(10));
                    assert_eq!(trials.len(), 1, "seed {seed}: a stampede at second {second}");
                    continue;
                }
                // Client 1 is banned, and insists.
                let from = u8::try_from(1 + draw(3)).unwrap();
                let outcome = match (is_out, from) {
                    (true, _) => Outcome::Broken,
                    (false, 1) => Outcome::BrokenForClient,
                    (false, _) => Outcome::Works,
                };
                let change = health.judge(outcome, client(from), &RULES, now);
                tripped_in_health |= change == Some(Change::Tripped) && !is_out;
            }
            let kept = health.breaker.for_clients.len();
            assert!(kept <= 6, "seed {seed}: {kept} failures are kept");
            if (outage.0 + 60..outage.1).contains(&second) {
                let condition = health.condition(now);
                assert_ne!(condition, Condition::Serving, "seed {seed}: second {second}");
            }
        }
        assert!(!tripped_in_health, "{}", format!("seed {seed}: one client tripped it"));
        assert_eq!(health.condition(at(1200)), Condition::Serving, "seed {seed}");
    }
}
