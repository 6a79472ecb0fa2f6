//! All backends with what is known of their hosts: who serves the next login.
//!
//! A driver keeps one [`Fleet`] for all its sessions, behind a lock that is held for the length of
//! a call. It asks before it connects ([`Fleet::choose`]), and passes on what sessions and probes
//! say ([`Fleet::judge`], [`Fleet::probed`]). Placement is `route::place`'s, health `health`'s; the
//! fleet keeps the two together, by destination, host and protocol: a host whose POP3 is down may
//! still serve IMAP.
//!
//! Invariants: memory is bounded, whatever destinations an embedder makes up and wherever referrals
//! and routes lead; a host about which nothing is held costs nothing; a tripped host is passed over
//! where another may serve, and where none may, no login goes anywhere.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::close::ConnectFault;
use crate::config::{Destination, Host, Protocol};
use crate::contract::Target;
use crate::health::{Change, Condition, Health, Outcome, Rules};
use crate::route::place::{Fitness, Wish, pick};
use crate::time::Instant;

/// Destinations about whose hosts something is held.
const DESTINATIONS_MAX: usize = 4096;
/// Hosts of a destination that its configuration does not name, about which something is held.
const STRANGERS_MAX: usize = 64;

/// All backends with what is known of their hosts.
#[derive(Debug)]
pub struct Fleet {
    rules: Rules,
    destinations: BTreeMap<String, Ranks>,
}

/// What is known of one destination's hosts.
#[derive(Debug, Default)]
struct Ranks {
    turn: u64,
    /// Those that are not spotless, the latest entry last.
    known: Vec<(Arc<str>, Protocol, Health)>,
}

impl Fleet {
    /// A fleet in which every host is taken to work.
    pub const fn new(rules: Rules) -> Self {
        Self { rules, destinations: BTreeMap::new() }
    }

    /// The host for an attempt, which counts as begun.
    ///
    /// # Errors
    ///
    /// [`ConnectFault::Down`]: none may serve.
    pub fn choose(&mut self, target: &Target, now: Instant) -> Result<Arc<Host>, ConnectFault> {
        let Target { destination, protocol, .. } = target;
        let ranks = self.ranks(&destination.name);
        let wanted = target.referred.clone().or_else(|| target.at.map(Host::at).map(Arc::new));
        let chosen = match wanted {
            Some(host) => {
                let may = ranks.is_none_or(|ranks| ranks.may_serve(&host, *protocol, now));
                may.then_some(host)
            }
            None => {
                let turn = ranks.as_ref().map_or(0, |ranks| ranks.turn);
                let fitness = |host: &Host| match &ranks {
                    Some(ranks) if !ranks.may_serve(host, *protocol, now) => Fitness::Unfit,
                    Some(_) | None if target.is_avoided(host) => Fitness::Spent,
                    Some(_) | None => Fitness::Fit,
                };
                let wish = Wish { policy: destination.policy, key: &target.key, turn };
                pick(&destination.hosts, wish, fitness).cloned()
            }
        };
        let host = chosen.ok_or(ConnectFault::Down)?;
        let rules = self.rules;
        let takes_turns = destination.hosts.len() > 1;
        if takes_turns && let Some(ranks) = self.ranks_mut(&destination.name) {
            ranks.turn = ranks.turn.wrapping_add(1);
        }
        if let Some(ranks) = self.destinations.get_mut(&destination.name) {
            ranks.change(&host, *protocol, |health| health.begin(&rules, now));
        }
        Ok(host)
    }

    /// Takes what an attempt says of its host.
    pub fn judge(
        &mut self,
        (destination, host, protocol): (&Destination, &Host, Protocol),
        outcome: Outcome,
        client: IpAddr,
        now: Instant,
    ) -> Option<Change> {
        let rules = self.rules;
        self.change((destination, host, protocol), |health| {
            health.judge(outcome, client, &rules, now)
        })
    }

    /// Takes what a probe says of a host.
    pub fn probed(
        &mut self,
        (destination, host, protocol): (&Destination, &Host, Protocol),
        works: bool,
    ) -> Option<Change> {
        self.change((destination, host, protocol), |health| health.probed(works))
    }

    /// How a host stands.
    pub fn condition(
        &self,
        (destination, host, protocol): (&Destination, &Host, Protocol),
        now: Instant,
    ) -> Condition {
        let known = self.ranks(&destination.name).and_then(|ranks| ranks.of(host, protocol));
        known.map_or(Condition::Serving, |health| health.condition(now))
    }

    /// Forgets whatever is held against the hosts of a destination, or of all.
    pub fn reset(&mut self, destination: Option<&str>) {
        match destination {
            Some(name) => {
                self.destinations.remove(name);
            }
            None => self.destinations.clear(),
        }
    }

    fn change(
        &mut self,
        (destination, host, protocol): (&Destination, &Host, Protocol),
        change: impl FnOnce(&mut Health) -> Option<Change>,
    ) -> Option<Change> {
        let configured = destination.hosts.iter().any(|own| own.label == host.label);
        let ranks = self.ranks_mut(&destination.name)?;
        if ranks.of(host, protocol).is_none() {
            let mut health = Health::default();
            let changed = change(&mut health);
            if !health.is_spotless() {
                ranks.remember(host, protocol, health, configured, destination);
            }
            return changed;
        }
        ranks.change(host, protocol, change).flatten()
    }

    fn ranks(&self, destination: &str) -> Option<&Ranks> {
        self.destinations.get(destination)
    }

    /// None: there is no room, and nothing is held against its hosts.
    fn ranks_mut(&mut self, destination: &str) -> Option<&mut Ranks> {
        if !self.destinations.contains_key(destination) {
            if self.destinations.len() >= DESTINATIONS_MAX {
                return None;
            }
            self.destinations.insert(destination.to_owned(), Ranks::default());
        }
        self.destinations.get_mut(destination)
    }
}

impl Ranks {
    fn of(&self, host: &Host, protocol: Protocol) -> Option<&Health> {
        let mut known = self.known.iter();
        let found = known.find(|(label, spoken, _)| *label == host.label && *spoken == protocol);
        found.map(|(_, _, health)| health)
    }

    fn may_serve(&self, host: &Host, protocol: Protocol, now: Instant) -> bool {
        self.of(host, protocol).is_none_or(|health| health.may_serve(now))
    }

    /// Changes what is held about a host, if anything is.
    fn change<T>(
        &mut self,
        host: &Host,
        protocol: Protocol,
        change: impl FnOnce(&mut Health) -> T,
    ) -> Option<T> {
        let mut known = self.known.iter();
        let place =
            known.position(|(label, spoken, _)| *label == host.label && *spoken == protocol)?;
        let changed = change(&mut self.known[place].2);
        if self.known[place].2.is_spotless() {
            self.known.remove(place);
        }
        Some(changed)
    }

    fn remember(
        &mut self,
        host: &Host,
        protocol: Protocol,
        health: Health,
        configured: bool,
        destination: &Destination,
    ) {
        if !configured {
            let is_stranger =
                |label: &Arc<str>| destination.hosts.iter().all(|own| own.label != *label);
            let strangers = self.known.iter().filter(|(label, ..)| is_stranger(label)).count();
            let oldest = self.known.iter().position(|(label, ..)| is_stranger(label));
            if strangers >= STRANGERS_MAX
                && let Some(oldest) = oldest
            {
                self.known.remove(oldest);
            }
        }
        self.known.push((Arc::clone(&host.label), protocol, health));
    }
}

impl Target {
    /// Whether an attempt of this login failed there.
    fn is_avoided(&self, host: &Host) -> bool {
        self.avoid.iter().any(|known| known.label == host.label)
    }
}

#[cfg(test)]
mod tests;
