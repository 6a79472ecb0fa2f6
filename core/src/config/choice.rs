//! The choices a configuration makes by name, each with the names it has there.
//!
//! Not here: what a choice means on the wire; that is with the protocols and the drivers.
//! Every name stands once, in the `NAMES` of its type, which the reader and the messages share.
//! Read next: `reader` (how a choice is read), `listener` and `destination` (who holds them).

/// A type whose values a configuration names.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Each name with its value; a value's first name is the one to print.
    const NAMES: &'static [(&'static str, Self)];

    /// The name to print.
    fn name_of(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// A protocol that a listener can serve or a destination can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 9051 and RFC 3501.
    Imap,
    /// RFC 1939.
    Pop3,
    /// RFC 5804.
    ManageSieve,
    /// RFC 6409.
    Submission,
    /// RFC 5321, carried without a login.
    Smtp,
    /// RFC 2033, carried without a login.
    Lmtp,
}

impl Choice for Protocol {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("imap", Self::Imap),
        ("pop3", Self::Pop3),
        ("managesieve", Self::ManageSieve),
        ("submission", Self::Submission),
        ("smtp", Self::Smtp),
        ("lmtp", Self::Lmtp),
    ];
}

impl Protocol {
    /// The name that configuration and logs use.
    pub fn name(self) -> &'static str {
        self.name_of()
    }

    /// The protocol of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol)
    }

    /// Whether a client logs in through it; the others are carried from the first byte.
    pub fn bears_credentials(self) -> bool {
        match self {
            Self::Imap | Self::Pop3 | Self::ManageSieve | Self::Submission => true,
            Self::Smtp | Self::Lmtp => false,
        }
    }
}

/// How TLS begins on a leg, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// With the connection's first byte.
    Implicit,
    /// With the protocol's own command.
    StartTls,
    /// Never.
    Plain,
}

impl Choice for TlsMode {
    const NAMES: &'static [(&'static str, Self)] =
        &[("implicit", Self::Implicit), ("starttls", Self::StartTls), ("plain", Self::Plain)];
}

impl TlsMode {
    /// The name that configuration and logs use.
    pub fn name(self) -> &'static str {
        self.name_of()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl Choice for TlsVersion {
    const NAMES: &'static [(&'static str, Self)] = &[("1.2", Self::V1_2), ("1.3", Self::V1_3)];
}

/// How a backend is told who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// A PROXY protocol header before everything else.
    Proxy,
    /// XCLIENT, and on IMAP the ID command.
    Xclient,
    /// Not at all.
    None,
}

impl Choice for Forwarding {
    const NAMES: &'static [(&'static str, Self)] =
        &[("proxy", Self::Proxy), ("xclient", Self::Xclient), ("none", Self::None)];
}

impl Forwarding {
    /// The name that configuration and logs use.
    pub fn name(self) -> &'static str {
        self.name_of()
    }
}

/// How a destination shares its accounts out among its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The same account always lands on the same host.
    Rendezvous,
    /// The first one that works.
    First,
    /// One login after the other.
    RoundRobin,
}

impl Choice for Policy {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("rendezvous", Self::Rendezvous),
        ("first", Self::First),
        ("round-robin", Self::RoundRobin),
    ];
}

impl Policy {
    /// The name that configuration and logs use.
    pub fn name(self) -> &'static str {
        self.name_of()
    }
}

/// What an operator wants of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves.
    Up,
    /// It gets no new login, except where nobody else may serve; sessions that stand go on.
    Draining,
    /// It serves where none that is up may.
    Standby,
    /// It does not serve.
    Down,
}

impl Choice for Standing {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("up", Self::Up),
        ("draining", Self::Draining),
        ("standby", Self::Standby),
        ("down", Self::Down),
    ];
}

impl Standing {
    /// The name that configuration and logs use.
    pub fn name(self) -> &'static str {
        self.name_of()
    }
}

/// The form in which user names are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// As they are.
    None,
    /// Letters become small letters, by Unicode's rules.
    Lowercase,
    /// As an address where the name has the shape of one, else as a name.
    Auto,
    /// The local part as a name, the domain as one of DNS in its Unicode spelling.
    PrecisCasefoldEmail,
    /// PRECIS UsernameCaseMapped (RFC 8265 §3.3).
    PrecisCasefold,
    /// As an address, but the local part keeps its letters.
    PrecisEmail,
    /// PRECIS UsernameCasePreserved (RFC 8265 §3.4).
    Precis,
}

impl Choice for Normalize {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("lowercase", Self::Lowercase),
        ("auto", Self::Auto),
        ("precis_casefold_email", Self::PrecisCasefoldEmail),
        ("precis_casefold", Self::PrecisCasefold),
        ("precis_email", Self::PrecisEmail),
        ("precis", Self::Precis),
        ("casefold", Self::Lowercase),
        ("noop", Self::None),
    ];
}

impl Normalize {
    /// The name that configuration and logs use.
    pub fn name(self) -> &'static str {
        self.name_of()
    }
}

/// How much the log says: each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What needs somebody's attention at once.
    Error,
    /// What went wrong, and was handled.
    Warn,
    /// Logins and ends of sessions.
    Info,
    /// Each step of a session.
    Debug,
    /// Everything.
    Trace,
}

impl Choice for LogLevel {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
        ("crashes", Self::Error),
        ("failures", Self::Warn),
        ("major", Self::Info),
        ("major & failures", Self::Info),
        ("problems", Self::Debug),
        ("low level", Self::Trace),
        ("all info", Self::Trace),
    ];
}

impl LogLevel {
    /// The name that configuration and logs use.
    pub fn name(self) -> &'static str {
        self.name_of()
    }
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs.
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const NAMES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
