//! The `server` table: what concerns the program as a whole, and limits that every session shares.
//!
//! Not here: what the program does with it. The limits that sessions need are copied into each
//! `Listener` and `Destination`, so that a session needs nothing else.
//! Read next: `listener`.

use alloc::string::String;
use core::time::Duration;

use super::choice::{LogFormat, LogLevel};

/// What concerns the program as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; 0 means one a core.
    pub threads: usize,
    /// The name by which the proxy calls itself.
    pub hostname: Option<String>,
    /// How long a drain waits for sessions to end.
    pub shutdown_grace: Duration,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The shape of a log line.
    pub log_format: LogFormat,
}
