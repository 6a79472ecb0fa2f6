//! Whether a host works, by what became of logins there and of probes.
//!
//! A [`Breaker`] is a circuit breaker for one host and protocol. Failures before the backend knew
//! which client it was for (connecting, TLS, the greeting) count by themselves; later ones count
//! only from several client addresses, so that a client which the backend bans, or which provokes a
//! failure, never takes the host from everybody else. Refused credentials and a client's mistakes
//! are answers of a host that works. After the cooldown one login at a time tries the host, until
//! one of them shows that it works. Probes have a say of their own, with hysteresis.
//!
//! Not here: which host a login goes to instead, see `fleet`. Invariants: memory is bounded by the
//! rules, whatever clients do; time is only ever what the caller says it is.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use crate::close::{AttemptFault, ConnectFault, TlsFault};
use crate::time::Instant;

/// How long a failure for one client is held against a host.
const CLIENT_FAILURE_KEPT: Duration = Duration::from_secs(60);
/// Probes in a row that must fail until their host is down.
const PROBES_TO_FALL: u32 = 3;
/// Probes in a row that must succeed until it is up again.
const PROBES_TO_RISE: u32 = 2;
/// Bits of an IPv6 address that name one client: the rest it chooses itself.
const CLIENT_PREFIX_BITS: u32 = 64;

/// When a host is taken out of service, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row; 0: never.
    pub threshold: u32,
    /// Client addresses that failures have to come from, where the backend knew the client; at
    /// least 1.
    pub min_clients: u32,
    /// Until one login may try the host again.
    pub cooldown: Duration,
}

impl Default for Rules {
    /// As a configuration has them that does not say.
    fn default() -> Self {
        Self { threshold: 5, min_clients: 2, cooldown: Duration::from_secs(30) }
    }
}

impl Rules {
    /// Nothing is ever taken out of service.
    pub const OFF: Self = Self { threshold: 0, min_clients: 1, cooldown: Duration::ZERO };

    /// What one client's failures count at most: so many that it takes `min_clients` of them.
    const fn share(&self) -> usize {
        self.threshold.div_ceil(if self.min_clients == 0 { 1 } else { self.min_clients }) as usize
    }
}

/// What an attempt says of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered as a backend does, whatever the answer was.
    Works,
    /// It failed, and could not know for whom.
    Broken,
    /// It failed for this client; others may be served.
    BrokenForClient,
    /// Nothing: the attempt was given up, or failed on this side.
    Unjudged,
}

/// What a failed attempt says of its host. `known`: the backend had been told who the client is,
/// or been given something that the client sent.
pub const fn outcome(fault: AttemptFault, known: bool) -> Outcome {
    let broken = if known { Outcome::BrokenForClient } else { Outcome::Broken };
    match fault {
        AttemptFault::Connect(fault) => match fault {
            ConnectFault::Refused
            | ConnectFault::Unreachable
            | ConnectFault::TimedOut
            | ConnectFault::NoAddress
            | ConnectFault::Io => broken,
            ConnectFault::Exhausted
            | ConnectFault::Down
            | ConnectFault::OwnListener
            | ConnectFault::NoSourceAddress => Outcome::Unjudged,
        },
        AttemptFault::Tls(fault) => match fault {
            TlsFault::Protocol
            | TlsFault::NoCommonGround
            | TlsFault::Certificate
            | TlsFault::Alert
            | TlsFault::Closed => broken,
            TlsFault::Setup => Outcome::Unjudged,
        },
        AttemptFault::TimedOut
        | AttemptFault::Eof
        | AttemptFault::Lost(_)
        | AttemptFault::GreetingBye
        | AttemptFault::GreetingPreauth
        | AttemptFault::Protocol
        | AttemptFault::TooLong
        | AttemptFault::TooManyLines
        | AttemptFault::StartTlsMissing
        | AttemptFault::StartTlsRefused
        | AttemptFault::Temporary
        | AttemptFault::ServerBug => broken,
        // What it was asked, this client's settings or its credentials decide.
        AttemptFault::NoWayToLogIn
        | AttemptFault::MechanismMissing
        | AttemptFault::CommandRejected
        | AttemptFault::ModeRefused
        | AttemptFault::Referral => Outcome::Works,
        AttemptFault::NoEndpoint | AttemptFault::PlaintextForbidden | AttemptFault::Loop => {
            Outcome::Unjudged
        }
    }
}

/// A change that an operator wants to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is out of service for the cooldown.
    Tripped,
    /// It is in service again.
    Recovered,
    /// Its probes failed too often.
    ProbedDown,
    /// Its probes succeed again.
    ProbedUp,
}

/// How a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// In service.
    Serving,
    /// Out of service until then.
    Tripped {
        /// When a login may try it.
        until: Instant,
    },
    /// The next login may try it.
    Due,
    /// One login is trying it.
    OnTrial,
    /// Its probes fail.
    ProbedDown,
}

/// What is known of one host, for one protocol.
#[derive(Debug, Clone, Default)]
pub struct Health {
    breaker: Breaker,
    probes: Probes,
}

impl Health {
    /// How it stands.
    pub fn condition(&self, now: Instant) -> Condition {
        if self.probes.down { Condition::ProbedDown } else { self.breaker.condition(now) }
    }

    /// Whether a login may go there.
    pub fn may_serve(&self, now: Instant) -> bool {
        match self.condition(now) {
            Condition::Serving | Condition::Due => true,
            Condition::Tripped { .. } | Condition::OnTrial | Condition::ProbedDown => false,
        }
    }

    /// A login goes there, one that may.
    pub fn begin(&mut self, rules: &Rules, now: Instant) {
        self.breaker.begin(rules, now);
    }

    /// What became of a login there.
    pub fn judge(
        &mut self,
        outcome: Outcome,
        client: IpAddr,
        rules: &Rules,
        now: Instant,
    ) -> Option<Change> {
        self.breaker.judge(outcome, client, rules, now)
    }

    /// What became of a probe.
    pub fn probed(&mut self, works: bool) -> Option<Change> {
        self.probes.take(works)
    }

    /// Nothing is held against it, so that it need not be remembered.
    pub fn is_spotless(&self) -> bool {
        self.breaker.is_spotless() && self.probes == Probes::default()
    }
}

/// The circuit breaker: counts what logins meet.
#[derive(Debug, Clone, Default)]
struct Breaker {
    gate: Gate,
    /// Failures that count by themselves, since the host last worked.
    broken: u32,
    /// Those that were for a client.
    for_clients: Vec<(IpAddr, Instant)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Gate {
    /// Logins pass.
    #[default]
    Open,
    /// None does, until then.
    Shut { until: Instant },
    /// One has passed, and its outcome is awaited; not for ever, since it may get lost.
    Trial { until: Instant },
}

impl Breaker {
    fn condition(&self, now: Instant) -> Condition {
        match self.gate {
            Gate::Open => Condition::Serving,
            Gate::Shut { until } | Gate::Trial { until } if until <= now => Condition::Due,
            Gate::Shut { until } => Condition::Tripped { until },
            Gate::Trial { .. } => Condition::OnTrial,
        }
    }

    fn begin(&mut self, rules: &Rules, now: Instant) {
        if self.condition(now) == Condition::Due {
            self.gate = Gate::Trial { until: now + rules.cooldown };
        }
    }

    fn judge(
        &mut self,
        outcome: Outcome,
        client: IpAddr,
        rules: &Rules,
        now: Instant,
    ) -> Option<Change> {
        match outcome {
            Outcome::Works => {
                let was_out = self.gate != Gate::Open;
                *self = Self::default();
                return was_out.then_some(Change::Recovered);
            }
            Outcome::Unjudged => {
                self.end_trial(now);
                return None;
            }
            Outcome::Broken => self.broken = self.broken.saturating_add(1),
            Outcome::BrokenForClient => self.count_for_client(client, rules, now),
        }
        let convicted = match self.gate {
            Gate::Open => rules.threshold > 0 && self.failures(rules) >= rules.threshold as usize,
            Gate::Shut { .. } => false,
            Gate::Trial { .. } => outcome == Outcome::Broken || self.has_enough_clients(rules),
        };
        if !convicted {
            self.end_trial(now);
            return None;
        }
        *self = Self { gate: Gate::Shut { until: now + rules.cooldown }, ..Self::default() };
        Some(Change::Tripped)
    }

    /// A trial said nothing: the next login may be one.
    fn end_trial(&mut self, now: Instant) {
        if matches!(self.gate, Gate::Trial { .. }) {
            self.gate = Gate::Shut { until: now };
        }
    }

    fn count_for_client(&mut self, client: IpAddr, rules: &Rules, now: Instant) {
        if matches!(self.gate, Gate::Shut { .. }) || rules.threshold == 0 {
            return;
        }
        let client = block(client);
        self.for_clients.retain(|(_, at)| now.since(*at) < CLIENT_FAILURE_KEPT);
        let own = self.for_clients.iter().filter(|(known, _)| *known == client).count();
        if own >= rules.share()
            && let Some(oldest) = self.for_clients.iter().position(|(known, _)| *known == client)
        {
            self.for_clients.remove(oldest);
        }
        self.for_clients.push((client, now));
    }

    fn failures(&self, rules: &Rules) -> usize {
        let for_clients = if self.has_enough_clients(rules) { self.for_clients.len() } else { 0 };
        self.broken as usize + for_clients
    }

    fn has_enough_clients(&self, rules: &Rules) -> bool {
        let all = &self.for_clients;
        let first = |(place, (client, _)): &(usize, &(IpAddr, Instant))| {
            !all[..*place].iter().any(|(known, _)| known == client)
        };
        all.iter().enumerate().filter(first).count() >= rules.min_clients as usize
    }

    const fn is_spotless(&self) -> bool {
        matches!(self.gate, Gate::Open) && self.broken == 0 && self.for_clients.is_empty()
    }
}

/// What probes say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Probes {
    down: bool,
    /// In a row, of those that speak against how it stands.
    against: u32,
}

impl Probes {
    fn take(&mut self, works: bool) -> Option<Change> {
        if works != self.down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let (enough, change) = match self.down {
            true => (PROBES_TO_RISE, Change::ProbedUp),
            false => (PROBES_TO_FALL, Change::ProbedDown),
        };
        if self.against < enough {
            return None;
        }
        *self = Self { down: !self.down, against: 0 };
        Some(change)
    }
}

/// The addresses that count as one client.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let own = u128::BITS - CLIENT_PREFIX_BITS;
            Ipv6Addr::from_bits(v6.to_bits() >> own << own).into()
        }
    }
}

#[cfg(test)]
mod tests;
