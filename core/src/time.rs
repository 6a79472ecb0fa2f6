//! Time as the core knows it: an instant that somebody hands in, and deadlines with names.
//!
//! The core has no clock. An [`Instant`] counts milliseconds since an epoch that the driver chose;
//! tests make any instant they like. A deadline belongs to a [`Timer`], never moves because bytes
//! arrived, and what happens when it passes stands in one place, [`Timer::expiry`].
//!
//! Read next: `session/clock.rs`, where the timers are started and stopped.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

use crate::close::Refusal;

/// Milliseconds since the driver's epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// An instant so many milliseconds after the driver's epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the driver's epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time, so that a deadline of "never" can be written down.
    fn add(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// The deadlines of a session, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// From accept until the PROXY header is complete.
    ProxyHeader,
    /// A TLS handshake with the client.
    TlsClient,
    /// The client's turns before login, summed.
    Preauth,
    /// A delay that an operator or a route store asked for.
    Hold,
    /// A route store's answer.
    Lookup,
    /// One attempt at a backend: connect, TLS, handshake, verdict.
    Backend,
    /// The relay, with no byte either way.
    Idle,
    /// Not a deadline: the pause before an attempt is repeated.
    Retry,
    /// Not a deadline: the next sign of life to a client that waits (IMAP).
    Working,
}

/// What follows when a timer runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The session ends; a client that can be told hears this.
    Goodbye(Option<Refusal>),
    /// The login is refused with this; the client may try again.
    Refuse(Refusal),
    /// What was held back is said, or asked for again.
    Release,
    /// The attempt counts as failed and may be repeated.
    FailAttempt,
    /// The next attempt begins.
    Repeat,
    /// A line to the client, and on it goes.
    SignOfLife,
}

impl Timer {
    /// What operators call it, in logs and in [`crate::Close`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy-header",
            Self::TlsClient => "tls-client",
            Self::Preauth => "preauth",
            Self::Hold => "hold",
            Self::Lookup => "lookup",
            Self::Backend => "backend",
            Self::Idle => "idle",
            Self::Retry => "retry",
            Self::Working => "working",
        }
    }

    /// The whole table of consequences.
    pub const fn expiry(self) -> Expiry {
        match self {
            Self::ProxyHeader | Self::TlsClient | Self::Idle => Expiry::Goodbye(None),
            Self::Preauth => Expiry::Goodbye(Some(Refusal::TimedOut)),
            Self::Hold => Expiry::Release,
            Self::Lookup => Expiry::Refuse(Refusal::Unavailable),
            Self::Backend => Expiry::FailAttempt,
            Self::Retry => Expiry::Repeat,
            Self::Working => Expiry::SignOfLife,
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
