//! What can be measured: rows, columns, and the systems beside each other.
//!
//! Only names and what follows from them; how a row is measured is in `measure.rs`, how a system
//! is started in `system/`.

use clap::ValueEnum;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Imap,
    Pop3,
    Submission,
}

impl Protocol {
    pub(super) const ALL: [Self; 3] = [Self::Imap, Self::Pop3, Self::Submission];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Submission => "submission",
        }
    }
}

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// IMAP logins: connect, TLS (resumed where the system can), login, logout.
    Imap,
    /// The same where no client resumes: every handshake is a full one.
    ImapFull,
    /// POP3 logins.
    Pop3,
    /// Submission logins.
    Submission,
    /// Answers of 1 MiB toward the client.
    Down,
    /// Messages of 1 MiB toward the backend.
    Up,
    /// Small requests in 64 sessions.
    Small,
    /// Small requests in 64 sessions, with idle ones beside them.
    Beside,
    /// Memory and CPU of sessions that do nothing after a login and some traffic.
    Idle,
    /// Memory of sessions whose client does not read what the backend sends.
    Slow,
    /// Logins with full handshakes and a slow key, with one worker and with two.
    Workers,
}

impl Row {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::ImapFull => "imap-full",
            Self::Pop3 => "pop3",
            Self::Submission => "submission",
            Self::Down => "down",
            Self::Up => "up",
            Self::Small => "small",
            Self::Beside => "beside",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Workers => "workers",
        }
    }

    /// What is counted.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Imap | Self::ImapFull | Self::Pop3 | Self::Submission | Self::Workers => "login",
            Self::Down | Self::Up => "GiB",
            Self::Small | Self::Beside => "request",
            Self::Idle | Self::Slow => "session",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Imap => "IMAP logins",
            Self::ImapFull => "IMAP logins, full handshakes",
            Self::Pop3 => "POP3 logins",
            Self::Submission => "Submission logins",
            Self::Down => "1 MiB answers toward the client",
            Self::Up => "1 MiB messages toward the backend",
            Self::Small => "small requests in 64 sessions",
            Self::Beside => "small requests in 64 sessions, idle ones beside",
            Self::Idle => "idle sessions after a login and some traffic",
            Self::Slow => "sessions whose client does not read",
            Self::Workers => "IMAP logins, full handshakes, a slow key, one worker and two",
        }
    }

    /// Whether the system's certificate has a key so slow that the system is what everybody waits
    /// for, and not the generator or the sink beside it.
    pub(super) const fn wants_slow_key(self) -> bool {
        matches!(self, Self::Workers)
    }

    /// Whether it is measured on a process that has done nothing before.
    pub(super) const fn wants_fresh(self) -> bool {
        match self {
            Self::Idle | Self::Slow => true,
            Self::Imap
            | Self::ImapFull
            | Self::Pop3
            | Self::Submission
            | Self::Down
            | Self::Up
            | Self::Small
            | Self::Beside
            | Self::Workers => false,
        }
    }

    /// Whether it is measured once for each number of sessions.
    pub(super) const fn scales(self) -> bool {
        matches!(self, Self::Idle | Self::Beside)
    }
}

/// Which legs have TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// Neither.
    Plain,
    /// The client's.
    Client,
    /// Both.
    Both,
}

impl Column {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Client, Self::Both];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain/plain",
            Self::Client => "TLS/plain",
            Self::Both => "TLS/TLS",
        }
    }

    pub(super) const fn client_tls(self) -> bool {
        matches!(self, Self::Client | Self::Both)
    }

    pub(super) const fn backend_tls(self) -> bool {
        matches!(self, Self::Both)
    }

    /// The account whose home is reached that way.
    pub(super) const fn user(self) -> &'static str {
        if self.backend_tls() { "tls@bench.test" } else { "plain@bench.test" }
    }
}

/// The suite of TLS 1.3 on every leg of every system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// TLS_AES_128_GCM_SHA256, which every implementation has (RFC 8446 §9.1).
    Aes128,
    /// TLS_AES_256_GCM_SHA384, which OpenSSL takes where it decides.
    Aes256,
}

impl Suite {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "aes128",
            Self::Aes256 => "aes256",
        }
    }
}

/// A program between the load generator and the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// None: the generator talks to the sink. The floor of rate and latency.
    Direct,
    /// A TCP relay without a protocol. The floor of CPU where nothing is encrypted.
    Bare,
    /// The `gatepost` program, one worker.
    Gatepost,
    /// The same with two workers.
    GatepostTwo,
    /// The tokio library in a small program, on one thread.
    Tokio,
    /// HAProxy in TCP mode: it parses nothing.
    Haproxy,
    /// The same with `option splice-auto`.
    HaproxySplice,
    /// nginx' mail proxy, its auth_http served by the sink.
    Nginx,
    /// Dovecot's login proxy.
    Dovecot,
}

impl System {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare",
            Self::Gatepost => "gatepost",
            Self::GatepostTwo => "gatepost-two",
            Self::Tokio => "tokio",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::Dovecot => "dovecot",
        }
    }

    /// Whether it can stand in this column.
    pub(super) const fn knows(self, column: Column) -> bool {
        match self {
            Self::Bare => matches!(column, Column::Plain),
            // nginx' mail proxy knows no TLS toward backends.
            Self::Nginx => !column.backend_tls(),
            Self::Direct | Self::Gatepost | Self::GatepostTwo | Self::Tokio => true,
            Self::Haproxy | Self::HaproxySplice | Self::Dovecot => true,
        }
    }

    /// Whether it is measured in this row and column.
    pub(super) const fn takes(self, row: Row, column: Column) -> bool {
        match (self, row) {
            _ if !self.knows(column) => false,
            (Self::Direct, Row::Idle | Row::Slow | Row::Workers) => false,
            (Self::Direct, _) => !matches!(column, Column::Client),
            (Self::Gatepost | Self::GatepostTwo, Row::Workers) => matches!(column, Column::Client),
            (Self::Gatepost, _) => true,
            (Self::GatepostTwo, _) | (_, Row::Workers) => false,
            (Self::HaproxySplice, Row::Down | Row::Up) => matches!(column, Column::Plain),
            (Self::HaproxySplice, _) => false,
            // A floor of CPU, not of memory.
            (Self::Bare, Row::Idle | Row::Slow) => false,
            (Self::Bare | Self::Tokio | Self::Haproxy | Self::Nginx | Self::Dovecot, _) => true,
        }
    }
}
