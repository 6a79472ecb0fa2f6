//! Redis: an identifier behind a prefix is a key, its value a destination's name.
//!
//! Some connections, each of which carries many questions at a time. One is made when it is needed,
//! and made anew when it breaks; one that stood idle may have been closed by the server, so that a
//! question which finds it dead is asked once more on a new one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatepost_core::config::RedisStore;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::WriteFault;
use super::outage::Rest;

/// A server, and the connections to it.
pub(super) struct Redis {
    client: Client,
    prefix: Vec<u8>,
    connections: Box<[Mutex<Option<MultiplexedConnection>>]>,
    turn: AtomicUsize,
    timeout: Duration,
    rest: Rest,
}

impl Redis {
    /// Connects to nobody yet.
    pub(super) fn new(store: &RedisStore, timeout: Duration) -> Result<Self, String> {
        let url = String::from_utf8_lossy(store.url.expose());
        let client = Client::open(&*url).map_err(|error| error.to_string())?;
        let connections = (0..store.pool_size).map(|_| Mutex::default()).collect();
        Ok(Self {
            client,
            prefix: store.key_prefix.clone().into_bytes(),
            connections,
            turn: AtomicUsize::new(0),
            timeout,
            rest: Rest::default(),
        })
    }

    pub(super) async fn ask(&self, identifier: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut command = redis::cmd("GET");
        command.arg(self.key(identifier));
        self.run(&command).await
    }

    pub(super) async fn write(
        &self,
        identifier: &[u8],
        destination: &str,
    ) -> Result<(), WriteFault> {
        let mut command = redis::cmd("SET");
        command.arg(self.key(identifier)).arg(destination);
        self.run(&command).await.map_err(WriteFault::Failed)
    }

    pub(super) async fn remove(&self, identifier: &[u8]) -> Result<(), WriteFault> {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(identifier));
        self.run(&command).await.map_err(WriteFault::Failed)
    }

    fn key(&self, identifier: &[u8]) -> Vec<u8> {
        [&self.prefix, identifier].concat()
    }

    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let place = &self.connections[turn];
        match timeout(self.timeout, self.run_on(place, command)).await {
            Ok(result) => result,
            Err(_) => {
                // Nobody knows whether this connection will ever speak again.
                if let Ok(mut connection) = place.try_lock() {
                    *connection = None;
                }
                Err(format!("no answer within {:?}", self.timeout))
            }
        }
    }

    async fn run_on<T: FromRedisValue>(
        &self,
        place: &Mutex<Option<MultiplexedConnection>>,
        command: &Cmd,
    ) -> Result<T, String> {
        loop {
            let (mut connection, is_new) = self.connection(place).await?;
            let error = match command.query_async(&mut connection).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let is_broken = error.is_io_error() || error.is_connection_dropped();
            if is_broken {
                *place.lock().await = None;
            }
            if is_new || !is_broken {
                return Err(error.to_string());
            }
        }
    }

    /// The connection of a place, made now if there is none.
    async fn connection(
        &self,
        place: &Mutex<Option<MultiplexedConnection>>,
    ) -> Result<(MultiplexedConnection, bool), String> {
        let mut held = place.lock().await;
        if let Some(connection) = &*held {
            return Ok((connection.clone(), false));
        }
        if self.rest.lasts() {
            return Err("cannot be connected to".to_owned());
        }
        // The time is kept in one place, `run`.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                self.rest.end();
                *held = Some(connection.clone());
                Ok((connection, true))
            }
            Err(error) => {
                self.rest.begin();
                Err(error.to_string())
            }
        }
    }
}
