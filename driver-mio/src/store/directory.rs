//! Stores that know accounts by name, and what they said.
//!
//! The answers stand in one cache behind one lock, which a worker holds for less time than a system
//! call takes. A question that is on its way already is not asked again: all who ask it wait for
//! the one answer. A failure is told to those and kept for nobody else.
//!
//! Invariants: a name that no destination has is a fault of the store, and the login is refused as
//! temporarily unavailable rather than sent to the default destination; what was asked before
//! something was forgotten is told to those who asked it and not kept.
//! Read next: `redis`, `sql`.

use std::collections::HashMap;
use std::hash::RandomState;
use std::str;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant as Clock;

use gatepost_core::Instant;
use gatepost_core::config::Destination;
use gatepost_core::route::Finding;
use gatepost_core::route::cache::{Cache, Home, Keeping, Mark};
use tokio::sync::OnceCell;

use super::WriteFault;
use super::outage::Outage;
use super::redis::Redis;
use super::sql::Sql;

/// Where the accounts are.
pub(super) enum Table {
    Redis(Box<Redis>),
    Sql(Box<Sql>),
    #[cfg(test)]
    Fake(tests::Fake),
}

/// A table, and what it said.
pub(super) struct Directory {
    table: Table,
    destinations: Vec<Arc<Destination>>,
    cache: Mutex<Cache<RandomState>>,
    asked: Mutex<HashMap<Question, Arc<OnceCell<Option<Home>>>>>,
    outage: Outage,
    epoch: Clock,
}

/// An identifier, and what was forgotten when it was asked for.
type Question = (Box<[u8]>, Mark);

impl Table {
    const fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Sql(_) => "sql",
            #[cfg(test)]
            Self::Fake(_) => "fake",
        }
    }

    /// Whether it can hold the identifier at all.
    fn may_hold(&self, identifier: &[u8]) -> bool {
        match self {
            // Keys are bytes.
            Self::Redis(_) => true,
            Self::Sql(_) => str::from_utf8(identifier).is_ok(),
            #[cfg(test)]
            Self::Fake(_) => str::from_utf8(identifier).is_ok(),
        }
    }

    /// The destination's name that it has for an identifier. Comes back in time.
    async fn ask(&self, identifier: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Redis(redis) => redis.ask(identifier).await,
            Self::Sql(sql) => match str::from_utf8(identifier) {
                Ok(identifier) => sql.ask(identifier).await,
                Err(_) => Ok(None),
            },
            #[cfg(test)]
            Self::Fake(fake) => fake.ask(identifier).await,
        }
    }

    async fn write(&self, identifier: &[u8], destination: &str) -> Result<(), WriteFault> {
        match self {
            Self::Redis(redis) => redis.write(identifier, destination).await,
            Self::Sql(sql) => sql.write(text(identifier)?, destination).await,
            #[cfg(test)]
            Self::Fake(_) => Err(WriteFault::ReadOnly),
        }
    }

    async fn remove(&self, identifier: &[u8]) -> Result<(), WriteFault> {
        match self {
            Self::Redis(redis) => redis.remove(identifier).await,
            Self::Sql(sql) => sql.remove(text(identifier)?).await,
            #[cfg(test)]
            Self::Fake(_) => Err(WriteFault::ReadOnly),
        }
    }
}

fn text(identifier: &[u8]) -> Result<&str, WriteFault> {
    str::from_utf8(identifier).map_err(|_| WriteFault::NotText)
}

impl Directory {
    pub(super) fn new(table: Table, destinations: Vec<Arc<Destination>>, keeping: Keeping) -> Self {
        Self {
            outage: Outage::of(table.name().to_owned()),
            table,
            destinations,
            cache: Mutex::new(Cache::new(keeping, RandomState::new())),
            asked: Mutex::default(),
            epoch: Clock::now(),
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.table.name()
    }

    /// What needs no asking: an answer that is kept, or that there can be none.
    pub(super) fn known(&self, identifier: Option<&[u8]>) -> Option<Finding> {
        match identifier {
            Some(identifier) if self.table.may_hold(identifier) => {
                let home = self.cache().find(identifier, self.now())?;
                Some(self.finding(Some(home)))
            }
            Some(_) | None => Some(Finding::NotFound),
        }
    }

    /// Asks the table, or waits for the answer to one who has.
    pub(super) async fn ask(&self, identifier: &[u8]) -> Finding {
        let question = (Box::from(identifier), self.cache().mark());
        let flight = Arc::clone(self.asked().entry(question.clone()).or_default());
        let mark = question.1;
        let home = *flight.get_or_init(|| self.fetch(identifier, mark)).await;
        let mut asked = self.asked();
        // Whoever is first takes it away; a later question of the same name is another one.
        if asked.get(&question).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            asked.remove(&question);
        }
        drop(asked);
        self.finding(home)
    }

    /// Asks the table; nothing: it could not be asked, or said what makes no sense.
    async fn fetch(&self, identifier: &[u8], mark: Mark) -> Option<Home> {
        // The answer to the question before this one may have come while this one was on its way.
        let kept = self.cache().find(identifier, self.now());
        if kept.is_some() {
            return kept;
        }
        let name = match self.table.ask(identifier).await {
            Ok(name) => name,
            Err(why) => {
                self.outage.failed(&why);
                return None;
            }
        };
        self.outage.answered();
        let home = match name {
            None => Home::Nowhere,
            Some(name) => Home::At(self.position(identifier, &name)?),
        };
        self.cache().keep(identifier, home, mark, self.now());
        Some(home)
    }

    fn position(&self, identifier: &[u8], name: &[u8]) -> Option<u32> {
        let found = self.destinations.iter().position(|it| it.name.as_bytes() == name);
        if found.is_none() {
            log::warn!(
                "route store {}: \"{}\" is sent to \"{}\", and there is no such destination",
                self.table.name(),
                identifier.escape_ascii(),
                name.escape_ascii()
            );
        }
        found.and_then(|position| u32::try_from(position).ok())
    }

    fn finding(&self, home: Option<Home>) -> Finding {
        match home {
            None => Finding::Unavailable,
            Some(Home::Nowhere) => Finding::NotFound,
            Some(Home::At(position)) => {
                let destination = self.destinations.get(position as usize);
                destination.map_or(Finding::Unavailable, |it| Finding::Found(Arc::clone(it)))
            }
        }
    }

    pub(super) async fn read(&self, identifier: &[u8]) -> Result<Option<String>, WriteFault> {
        let name = self.table.ask(identifier).await.map_err(WriteFault::Failed)?;
        Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    pub(super) async fn write(
        &self,
        identifier: &[u8],
        destination: &str,
    ) -> Result<(), WriteFault> {
        if !self.destinations.iter().any(|it| it.name == destination) {
            return Err(WriteFault::UnknownDestination);
        }
        let written = self.table.write(identifier, destination).await;
        // It may have been written although nobody said so.
        self.forget(Some(identifier));
        written
    }

    pub(super) async fn remove(&self, identifier: &[u8]) -> Result<(), WriteFault> {
        let removed = self.table.remove(identifier).await;
        self.forget(Some(identifier));
        removed
    }

    pub(super) fn forget(&self, identifier: Option<&[u8]>) {
        let mut cache = self.cache();
        match identifier {
            Some(identifier) => {
                cache.forget(identifier);
            }
            None => cache.forget_all(),
        }
    }

    pub(super) fn kept(&self) -> usize {
        self.cache().len()
    }

    fn now(&self) -> Instant {
        let millis = self.epoch.elapsed().as_millis();
        Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn cache(&self) -> MutexGuard<'_, Cache<RandomState>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Question, Arc<OnceCell<Option<Home>>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
