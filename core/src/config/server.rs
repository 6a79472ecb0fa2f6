//! The `server` table: what concerns the program as a whole, and limits that every session shares.
//!
//! Not here: what the program does with it. The limits that sessions need are copied into each
//! `Listener` and `Destination`, so that a session needs nothing else.
//! Read next: `listener`.

use alloc::{borrow::ToOwned, string::String};
use core::time::Duration;

use super::{
    address::host_name,
    choice::{LogFormat, LogLevel},
    reader::{Section, Value},
};
use crate::health::Rules;

/// What concerns the program as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; 0 means one a core.
    pub threads: usize,
    /// The name by which the proxy calls itself.
    pub hostname: Option<String>,
    /// How long a drain waits for sessions to end.
    pub shutdown_grace: Duration,
    /// When a backend's host is taken out of service.
    pub host_down: Rules,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The shape of a log line.
    pub log_format: LogFormat,
}

/// Limits that every session shares.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) bridge_idle: Duration,
    pub(super) backend_timeout: Duration,
    pub(super) connect_retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) proxy_ttl: u8,
}

impl Server {
    /// The name by which the proxy calls itself, where a protocol needs one.
    pub(super) fn hostname_or_default(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| "localhost".to_owned())
    }
}

pub(super) fn read(section: &Section<'_>) -> (Server, Limits) {
    let server = Server {
        threads: section.or("threads", 0, |value| value.integer(0..=THREADS_MAX)) as usize,
        hostname: section.optional("hostname", host_name),
        shutdown_grace: section.or("shutdown_grace", SHUTDOWN_GRACE, |value| value.duration()),
        host_down: read_host_down(section),
        log_level: section.or("log_level", LogLevel::Info, |value| value.choice()),
        log_format: section.or("log_format", LogFormat::Text, |value| value.choice()),
    };
    let retries = |value: &_| Value::integer(value, 0..=RETRIES_MAX);
    let ttl = |value: &_| Value::integer(value, PROXY_TTL_MIN..=u8::MAX.into());
    let ttl = section.optional("proxy_ttl", ttl).and_then(|ttl| u8::try_from(ttl).ok());
    let limits = Limits {
        bridge_idle: section.or("bridge_idle", BRIDGE_IDLE, |value| value.duration()),
        backend_timeout: section.or("backend_timeout", BACKEND_TIMEOUT, |value| value.duration()),
        connect_retries: section.or("backend_connect_retries", CONNECT_RETRIES, retries),
        retry_delay: RETRY_DELAY,
        proxy_ttl: ttl.unwrap_or(PROXY_TTL),
    };
    (server, limits)
}

fn read_host_down(section: &Section<'_>) -> Rules {
    let count = |value: &Value<'_>| value.integer(0..=DOWN_THRESHOLD_MAX);
    let count_one = |value: &Value<'_>| value.integer(1..=DOWN_THRESHOLD_MAX);
    let Rules { threshold, min_clients, cooldown } = Rules::default();
    Rules {
        threshold: section.or("host_down_threshold", threshold, count),
        min_clients: section.or("host_down_min_clients", min_clients, count_one),
        cooldown: section.or("host_down_cooldown", cooldown, |value| value.duration()),
    }
}

/// Of failures, and of the clients that are remembered with them.
const DOWN_THRESHOLD_MAX: u32 = 1000;
const THREADS_MAX: u32 = 1024;
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
const BRIDGE_IDLE: Duration = Duration::from_secs(1800);
const BACKEND_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_RETRIES: u32 = 1;
/// Before the same host is tried again; on the average, see the session.
const RETRY_DELAY: Duration = Duration::from_millis(200);
const RETRIES_MAX: u32 = 10;
const PROXY_TTL: u8 = 7;
/// With less, every session would end as a loop.
const PROXY_TTL_MIN: u32 = 2;
