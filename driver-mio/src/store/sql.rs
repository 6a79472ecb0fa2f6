//! PostgreSQL, MySQL and SQLite: a statement takes an identifier and answers a destination's name.
//!
//! Statements are the configuration's, and values are bound, never pasted. The pool connects when
//! it is asked first, tests a connection before it is used again, and waits for a server that
//! refuses, as long as a question may take.

use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatepost_core::config::{Dialect, SqlStore};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tokio::time::timeout;

use super::WriteFault;

/// A database, and the connections to it.
pub(super) struct Sql {
    server: Server,
    pool: OnceLock<Pool>,
    pool_size: u32,
    query: Arc<str>,
    upsert_query: Option<Arc<str>>,
    delete_query: Option<Arc<str>>,
    timeout: Duration,
}

/// Where the database is.
enum Server {
    PostgreSql(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

enum Pool {
    PostgreSql(PgPool),
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

/// The same words for every database, since what they have in common is no type.
macro_rules! on {
    ($pool:expr, $bound:ident => $what:expr) => {
        match $pool {
            Pool::PostgreSql($bound) => $what,
            Pool::MySql($bound) => $what,
            Pool::Sqlite($bound) => $what,
        }
    };
}

impl Sql {
    /// Connects to nobody yet.
    pub(super) fn new(store: &SqlStore, timeout: Duration) -> Result<Self, String> {
        let url = String::from_utf8_lossy(store.url.expose());
        let say = |error: sqlx::Error| error.to_string();
        // What a statement is asked about is nobody's business in a log.
        let server = match store.dialect {
            Dialect::PostgreSql => {
                let options = PgConnectOptions::from_str(&url).map_err(say)?;
                Server::PostgreSql(Box::new(options.disable_statement_logging()))
            }
            Dialect::MySql => {
                let options = MySqlConnectOptions::from_str(&url).map_err(say)?;
                Server::MySql(Box::new(options.disable_statement_logging()))
            }
            Dialect::Sqlite => {
                let options = SqliteConnectOptions::from_str(&url).map_err(say)?;
                Server::Sqlite(Box::new(options.disable_statement_logging().busy_timeout(timeout)))
            }
        };
        let shared = |statement: &String| Arc::from(statement.as_str());
        Ok(Self {
            server,
            pool: OnceLock::new(),
            pool_size: store.pool_size,
            query: shared(&store.query),
            upsert_query: store.upsert_query.as_ref().map(shared),
            delete_query: store.delete_query.as_ref().map(shared),
            timeout,
        })
    }

    pub(super) async fn ask(&self, identifier: &str) -> Result<Option<Vec<u8>>, String> {
        let statement = AssertSqlSafe(Arc::clone(&self.query));
        let answer = async {
            // Text is octets with every one of them, whatever type of text the column is.
            on!(self.pool(), pool => {
                let row = sqlx::query(statement).bind(identifier).fetch_optional(pool).await?;
                let name = row.map(|row| row.try_get_unchecked::<Option<String>, _>(0));
                name.transpose().map(Option::flatten)
            })
        };
        let name = self.in_time(answer).await?;
        Ok(name.map(String::into_bytes))
    }

    pub(super) async fn write(
        &self,
        identifier: &str,
        destination: &str,
    ) -> Result<(), WriteFault> {
        let Some(statement) = &self.upsert_query else { return Err(WriteFault::ReadOnly) };
        let statement = AssertSqlSafe(Arc::clone(statement));
        let written = async {
            on!(self.pool(), pool => {
                let statement = sqlx::query(statement).bind(identifier).bind(destination);
                statement.execute(pool).await.map(drop)
            })
        };
        self.in_time(written).await.map_err(WriteFault::Failed)
    }

    pub(super) async fn remove(&self, identifier: &str) -> Result<(), WriteFault> {
        let Some(statement) = &self.delete_query else { return Err(WriteFault::ReadOnly) };
        let statement = AssertSqlSafe(Arc::clone(statement));
        let removed = async {
            on!(self.pool(), pool => {
                sqlx::query(statement).bind(identifier).execute(pool).await.map(drop)
            })
        };
        self.in_time(removed).await.map_err(WriteFault::Failed)
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, String> {
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }

    /// The pool, which must be made within the runtime that it is used in.
    fn pool(&self) -> &Pool {
        self.pool.get_or_init(|| match &self.server {
            Server::PostgreSql(options) => Pool::PostgreSql(
                PgPoolOptions::new()
                    .max_connections(self.pool_size)
                    .acquire_timeout(self.timeout)
                    .connect_lazy_with((**options).clone()),
            ),
            Server::MySql(options) => Pool::MySql(
                MySqlPoolOptions::new()
                    .max_connections(self.pool_size)
                    .acquire_timeout(self.timeout)
                    .connect_lazy_with((**options).clone()),
            ),
            Server::Sqlite(options) => Pool::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(self.pool_size)
                    .acquire_timeout(self.timeout)
                    .connect_lazy_with((**options).clone()),
            ),
        })
    }
}
