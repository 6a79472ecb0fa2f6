//! The fleet: who is passed over, and what is kept.

#![allow(clippy::unwrap_used)]

use alloc::{format, vec};
use core::time::Duration;

use super::*;
use crate::config::{Forwarding, Policy, parse};

const RULES: Rules = Rules { threshold: 5, min_clients: 2, cooldown: Duration::from_secs(30) };

fn destination(hosts: &[&str], policy: Policy) -> Arc<Destination> {
    let text = "[listener.i]\nprotocol = \"imap\"\nbind = [\"127.0.0.1:1\"]\ntls = \"plain\"\n\
                allow_plain_auth_without_tls = true\n\
                [destination.d]\nhost = \"h.test\"\n[destination.d.protocol.imap]\nport = 993\n\
                tls = \"implicit\"\n[routing]\ndefault_destination = \"d\"\n";
    let (mut config, _) = parse(text).unwrap();
    let mut destination = Arc::unwrap_or_clone(config.destinations.remove(0));
    destination.hosts = hosts.iter().map(|text| Arc::new(Host::parse(text).unwrap())).collect();
    destination.policy = policy;
    destination.forwarding = Forwarding::None;
    Arc::new(destination)
}

fn target(destination: &Arc<Destination>, key: &str) -> Target {
    Target {
        destination: Arc::clone(destination),
        protocol: Protocol::Imap,
        at: None,
        key: key.as_bytes().into(),
        tried: 0,
        referred: None,
        avoid: Vec::new(),
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

fn fail(fleet: &mut Fleet, destination: &Destination, host: &Host, times: usize, second: u64) {
    for _ in 0..times {
        let place = (destination, host, Protocol::Imap);
        fleet.judge(place, Outcome::Broken, [192, 0, 2, 1].into(), at(second));
    }
}

#[test]
fn a_tripped_host_is_passed_over_until_its_cooldown_is_over() {
    let two = destination(&["a.test", "b.test"], Policy::First);
    let mut fleet = Fleet::new(RULES);
    let choose = |fleet: &mut Fleet, seconds| {
        fleet.choose(&target(&two, "u"), at(seconds)).map(|host| String::from(&*host.label))
    };
    assert_eq!(choose(&mut fleet, 0).as_deref(), Ok("a.test"));
    fail(&mut fleet, &two, &two.hosts[0], 5, 0);
    assert_eq!(choose(&mut fleet, 1).as_deref(), Ok("b.test"));
    assert_eq!(choose(&mut fleet, 30).as_deref(), Ok("a.test"), "the one that tries it");
    assert_eq!(choose(&mut fleet, 30).as_deref(), Ok("b.test"), "and nobody beside it");
    fail(&mut fleet, &two, &two.hosts[1], 5, 20);
    assert_eq!(choose(&mut fleet, 30), Err(ConnectFault::Down));
    let place = (&*two, &*two.hosts[0], Protocol::Imap);
    let change = fleet.judge(place, Outcome::Works, [192, 0, 2, 1].into(), at(31));
    assert_eq!(change, Some(Change::Recovered));
    assert_eq!(choose(&mut fleet, 31).as_deref(), Ok("a.test"));
}

#[test]
fn one_protocol_of_a_host_is_not_another() {
    let one = destination(&["a.test"], Policy::Rendezvous);
    let mut fleet = Fleet::new(RULES);
    fail(&mut fleet, &one, &one.hosts[0], 5, 0);
    assert!(fleet.choose(&target(&one, "u"), at(1)).is_err());
    let pop3 = Target { protocol: Protocol::Pop3, ..target(&one, "u") };
    assert!(fleet.choose(&pop3, at(1)).is_ok());
}

#[test]
fn a_login_goes_where_it_has_not_failed() {
    let three = destination(&["a.test", "b.test", "c.test"], Policy::Rendezvous);
    let mut fleet = Fleet::new(RULES);
    let mut wanted = target(&three, "alice@example.com");
    for _ in 0..3 {
        let host = fleet.choose(&wanted, at(0)).unwrap();
        assert!(!wanted.is_avoided(&host));
        wanted.avoid.push(host);
    }
    assert!(fleet.choose(&wanted, at(0)).is_ok(), "there again, where there is nobody else");
}

#[test]
fn where_a_route_or_a_referral_leads_nobody_is_chosen() {
    let two = destination(&["a.test", "b.test"], Policy::First);
    let mut fleet = Fleet::new(RULES);
    let there = Target { at: Some(([192, 0, 2, 9], 1993).into()), ..target(&two, "u") };
    assert_eq!(&*fleet.choose(&there, at(0)).unwrap().label, "192.0.2.9:1993");
    let referred = Arc::new(Host::on("c.test", 993));
    let there = Target { referred: Some(Arc::clone(&referred)), ..there };
    assert_eq!(&*fleet.choose(&there, at(0)).unwrap().label, "c.test:993");
    fail(&mut fleet, &two, &referred, 5, 0);
    assert_eq!(fleet.choose(&there, at(1)), Err(ConnectFault::Down));
}

#[test]
fn logins_that_name_nobody_take_turns() {
    let two = destination(&["a.test", "b.test"], Policy::Rendezvous);
    let mut fleet = Fleet::new(RULES);
    let labels: Vec<_> =
        (0..4).map(|_| fleet.choose(&target(&two, ""), at(0)).unwrap().label.clone()).collect();
    assert_eq!(labels, ["a.test", "b.test", "a.test", "b.test"].map(Arc::from));
}

/// Whatever is made up, and whatever fails, memory has a bound.
#[test]
fn what_is_kept_is_bounded() {
    let one = destination(&["a.test"], Policy::Rendezvous);
    let mut fleet = Fleet::new(RULES);
    for port in 1..10_000 {
        fail(&mut fleet, &one, &Host::on("b.test", port), 1, 0);
    }
    fail(&mut fleet, &one, &one.hosts[0], 5, 0);
    assert_eq!(fleet.destinations["d"].known.len(), STRANGERS_MAX + 1);
    for number in 0..10_000 {
        let mut other = (*one).clone();
        other.name = format!("d{number}");
        fail(&mut fleet, &other, &other.hosts[0], 1, 0);
    }
    assert_eq!(fleet.destinations.len(), DESTINATIONS_MAX);
    assert!(fleet.choose(&target(&one, "u"), at(1)).is_err(), "what was known is kept");
    fleet.reset(Some("d"));
    assert!(fleet.choose(&target(&one, "u"), at(1)).is_ok());
}

/// Two hosts, of which one dies for some minutes, under the logins of many clients one of whom is
/// banned by both: nobody but the banned one is ever without a host for longer than it takes to
/// notice, and the dead host is tried by one login at a time.
#[test]
fn an_outage_of_one_host_of_two() {
    use crate::route::place::mix;
    for seed in 0..100u64 {
        let two = destination(&["a.test", "b.test"], Policy::Rendezvous);
        let mut fleet = Fleet::new(RULES);
        let (mut served, mut failed, mut tries) = (0, 0, 0);
        for second in 0..600u64 {
            let dead = (100..400).contains(&second);
            for number in 0..5u64 {
                let draw = mix(seed ^ mix(second * 8 + number));
                let user = u8::try_from(draw % 40).unwrap();
                let mut wanted = target(&two, &format!("user{user}"));
                let mut outcomes = vec![];
                while wanted.tried < 2 {
                    let Ok(host) = fleet.choose(&wanted, at(second)) else { break };
                    let place = (&*two, &*host, Protocol::Imap);
                    let on_trial = fleet.condition(place, at(second)) == Condition::OnTrial;
                    let outcome = match (&*host.label, user) {
                        ("a.test", _) if dead => Outcome::Broken,
                        (_, 0) => Outcome::BrokenForClient,
                        (_, _) => Outcome::Works,
                    };
                    tries += usize::from(dead && &*host.label == "a.test" && second > 110);
                    assert!(second <= 110 || !dead || on_trial || &*host.label != "a.test");
                    fleet.judge(place, outcome, [192, 0, 2, user].into(), at(second));
                    outcomes.push(outcome);
                    wanted.avoid.push(host);
                    wanted.tried += 1;
                    if outcome == Outcome::Works {
                        break;
                    }
                }
                match outcomes.last() {
                    Some(Outcome::Works) => served += 1,
                    _ if user == 0 => {}
                    _ => failed += 1,
                }
            }
        }
        assert_eq!(failed, 0, "seed {seed}");
        assert!(served > 2800, "seed {seed}: {served}");
        assert!((5..=10).contains(&tries), "seed {seed}: the dead host was tried {tries} times");
    }
}
