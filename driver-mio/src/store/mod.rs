//! Route stores: whoever is asked over the network where an account lives.
//!
//! There are two kinds. A [`directory`](self) (Redis, a database) knows names: its answers are
//! kept, and workers read what is kept themselves. A judge (a server in nginx's auth_http form)
//! sees the credentials: nothing it says is kept, or told to another login. Both are asked on the
//! control thread, and give up within `lookup_timeout`.
//!
//! Not here: steps, the file map and the default destination, nor what becomes of a login that
//! nobody could be asked for: that is the core's `route/plan.rs`.
//! Invariants: a store that hangs delays those who wait for it and nobody else; so many may wait
//! and no more ([`QUESTIONS_MAX`]); "not there" and "could not be asked" are different answers.
//! Read next: `directory`, `judge`.

mod directory;
mod judge;
mod outage;
mod redis;
mod sql;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{Config, MappingSource};
use gatepost_core::route::Finding;
use gatepost_core::{Query, Routing};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::directory::{Directory, Table};
use self::judge::Judge;
use self::redis::Redis;
use self::sql::Sql;
use crate::control::Resolver;

/// Logins that may wait for a store; who comes then hears at once that nobody can be asked.
const QUESTIONS_MAX: usize = 16_384;

/// The store that a configuration names.
pub struct Store {
    kind: Kind,
    questions: Arc<Semaphore>,
}

enum Kind {
    Directory(Box<Directory>),
    Judge(Judge),
}

/// What a store said of a login.
#[derive(Debug)]
pub(crate) enum Told {
    /// What it knows of the account; what follows from that is the site's to say.
    Finding(Finding),
    /// What is to become of the login.
    Routing(Routing),
}

/// A place among those who wait.
pub(crate) type Place = OwnedSemaphorePermit;

/// Why a store could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteFault {
    /// Its configuration says no way.
    ReadOnly,
    /// No destination of that name is configured.
    UnknownDestination,
    /// The store keeps text, and the identifier is none.
    NotText,
    /// The store's own reason, or that it gave none in time.
    Failed(String),
}

impl fmt::Display for WriteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnly => f.write_str("the configuration does not say how it is written"),
            Self::UnknownDestination => f.write_str("no destination has that name"),
            Self::NotText => f.write_str("the identifier is not UTF-8"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for WriteFault {}

/// Why a store cannot be used as it is configured: the key, and what is wrong with it.
pub(crate) type OpenFault = (&'static str, String);

impl Store {
    /// The store of a configuration, if it names one. Nothing is connected to before somebody
    /// asks.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, OpenFault> {
        let timeout = patience(config.mapping.lookup_timeout);
        let directory = |table| {
            let destinations = config.destinations.clone();
            Kind::Directory(Box::new(Directory::new(table, destinations, config.mapping.keeping)))
        };
        let kind = match &config.mapping.source {
            MappingSource::None | MappingSource::File { .. } => return Ok(None),
            MappingSource::Http(store) => {
                let judge = Judge::new(store.clone(), timeout, &config.tls.disable_cipher_suites);
                Kind::Judge(judge.map_err(|what| ("mapping.http.urls", what))?)
            }
            MappingSource::Redis(store) => {
                let redis =
                    Redis::new(store, timeout).map_err(|what| ("mapping.redis.url", what))?;
                directory(Table::Redis(Box::new(redis)))
            }
            MappingSource::Sql(store) => {
                let sql = Sql::new(store, timeout).map_err(|what| ("mapping.sql.url", what))?;
                directory(Table::Sql(Box::new(sql)))
            }
        };
        Ok(Some(Self { kind, questions: Arc::new(Semaphore::new(QUESTIONS_MAX)) }))
    }

    /// What is known of an account without asking anybody.
    pub(crate) fn known(&self, identifier: Option<&[u8]>) -> Option<Finding> {
        match &self.kind {
            Kind::Directory(directory) => directory.known(identifier),
            Kind::Judge(_) => None,
        }
    }

    /// A place among those who may ask; none: too many wait already.
    pub(crate) fn place(&self) -> Option<Place> {
        Arc::clone(&self.questions).try_acquire_owned().ok()
    }

    /// What there is to say where nobody can be asked.
    pub(crate) fn silent(&self) -> Told {
        match &self.kind {
            Kind::Directory(_) => Told::Finding(Finding::Unavailable),
            Kind::Judge(_) => Told::Routing(Routing::Unavailable),
        }
    }

    /// Asks. Who asks for an account that is being asked for gets that very answer.
    pub(crate) async fn ask(&self, query: &Query, resolver: &Resolver) -> Told {
        match (&self.kind, &query.identifier) {
            (Kind::Directory(directory), Some(identifier)) => {
                Told::Finding(directory.ask(identifier).await)
            }
            (Kind::Directory(_), None) => Told::Finding(Finding::NotFound),
            (Kind::Judge(judge), _) => Told::Routing(judge.ask(query, resolver).await),
        }
    }

    /// Says where an account lives from now on; the identifier is in its normal form. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Where nothing was written, or nobody knows whether it was.
    pub async fn write(&self, identifier: &[u8], destination: &str) -> Result<(), WriteFault> {
        match &self.kind {
            Kind::Directory(directory) => directory.write(identifier, destination).await,
            Kind::Judge(_) => Err(WriteFault::ReadOnly),
        }
    }

    /// Takes an account out, so that it lives at the default destination. To be called within a
    /// tokio runtime.
    ///
    /// # Errors
    ///
    /// Where nothing was removed, or nobody knows whether it was.
    pub async fn remove(&self, identifier: &[u8]) -> Result<(), WriteFault> {
        match &self.kind {
            Kind::Directory(directory) => directory.remove(identifier).await,
            Kind::Judge(_) => Err(WriteFault::ReadOnly),
        }
    }

    /// The name of the destination that the store itself says now; nothing: it knows no such
    /// account. What is kept is not looked at. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Where it could not be asked, or judges logins and knows no accounts.
    pub async fn read(&self, identifier: &[u8]) -> Result<Option<String>, WriteFault> {
        match &self.kind {
            Kind::Directory(directory) => directory.read(identifier).await,
            Kind::Judge(_) => Err(WriteFault::ReadOnly),
        }
    }

    /// Forgets what was said of one account, or of all.
    pub fn forget(&self, identifier: Option<&[u8]>) {
        match &self.kind {
            Kind::Directory(directory) => directory.forget(identifier),
            Kind::Judge(_) => {}
        }
    }

    /// Accounts of which an answer is kept.
    pub fn kept(&self) -> usize {
        match &self.kind {
            Kind::Directory(directory) => directory.kept(),
            Kind::Judge(_) => 0,
        }
    }
}

/// How long a store is waited for. The rest of `lookup_timeout` is for the way there and back, so
/// that a session hears of an outage, with what the configuration says of it, before it gives up.
fn patience(lookup_timeout: Duration) -> Duration {
    lookup_timeout * 7 / 8
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Directory(directory) => directory.name(),
            Kind::Judge(_) => "http",
        };
        f.debug_struct("Store").field("kind", &kind).finish_non_exhaustive()
    }
}
