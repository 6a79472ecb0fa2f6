//! How things end, for three different readers.
//!
//! What the operator reads is a [`Close`] (a session's end) or an [`AttemptFault`] (one attempt at
//! a backend). What the client hears is a [`Refusal`], worded by each protocol. Whether to try
//! again is [`AttemptFault::again`]. They are separate types with total maps between them, so
//! that a new fault cannot be added without deciding all three.
//!
//! Nothing here formats protocol text: that is `imap/mod.rs` and its siblings.

use core::fmt;
use core::time::Duration;

use crate::time::Timer;

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Who ended it.
    pub by: By,
    /// Why.
    pub reason: Reason,
    /// Where in the dialogue it stood.
    pub state: State,
    /// How long the session lasted.
    pub after: Duration,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by={} reason={} state={}", self.by, self.reason, self.state)
    }
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The client hung up, broke the connection or said goodbye.
    Client,
    /// The backend did.
    Backend,
    /// A limit or deadline of ours.
    Proxy,
    /// A person: kick or shutdown.
    Operator,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Proxy => "proxy",
            Self::Operator => "operator",
        })
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An end of stream in good order.
    Eof,
    /// The protocol's goodbye (LOGOUT, QUIT).
    Logout,
    /// The connection broke.
    Lost(LegFault),
    /// The client's TLS handshake failed.
    Tls(TlsFault),
    /// A deadline passed.
    Timeout(Timer),
    /// The PROXY header that a balancer should have sent.
    ProxyHeader(HeaderFault),
    /// The address is not among those that the listener allows.
    NotAllowed,
    /// No room: the listener's or the address's connections are used up.
    TooManyConnections,
    /// `max_auth_attempts` refusals of credentials.
    TooManyAttempts,
    /// [`crate::line::BAD_COMMANDS_MAX`] commands that could not be served.
    TooManyBadCommands,
    /// A line, literal or count past its limit, where the input's frame is lost.
    LimitExceeded,
    /// No backend could be had for a client that is carried without a login.
    Backend(AttemptFault),
    /// A route store or a step of the configuration ended it with its refusal.
    Denied,
    /// The client was told where else to go, in a way that ends the session.
    Referred,
    /// The client speaks HTTP.
    Http,
    /// An operator ended this session.
    Kicked,
    /// The program shuts down.
    Drain,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Eof => "eof",
            Self::Logout => "logout",
            Self::Lost(fault) => return write!(f, "lost/{fault}"),
            Self::Tls(fault) => return write!(f, "tls/{fault}"),
            Self::Timeout(timer) => return write!(f, "timeout/{timer}"),
            Self::ProxyHeader(fault) => return write!(f, "proxy-header/{fault}"),
            Self::NotAllowed => "not-allowed",
            Self::Backend(fault) => return write!(f, "backend/{fault}"),
            Self::TooManyConnections => "too-many-connections",
            Self::TooManyAttempts => "too-many-attempts",
            Self::TooManyBadCommands => "too-many-bad-commands",
            Self::LimitExceeded => "limit-exceeded",
            Self::Denied => "denied",
            Self::Referred => "referred",
            Self::Http => "http",
            Self::Kicked => "kicked",
            Self::Drain => "drain",
        };
        f.write_str(word)
    }
}

/// Where a session stands, in the words that operators know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// TLS handshake with a balancer, under its PROXY header.
    ProxyTls,
    /// Waiting for a balancer's PROXY header.
    ProxyHeader,
    /// Waiting for the driver to admit the client.
    Admit,
    /// TLS handshake with the client.
    ClientTls,
    /// Dialogue with the client, before its credentials.
    Preauth,
    /// Waiting for a route.
    Lookup,
    /// Waiting until the client may hear of its refusal, or a route be asked for again.
    Hold,
    /// Connecting to the backend.
    Connect,
    /// TLS handshake with the backend before the protocol's first byte.
    BackendTls,
    /// Login at an IMAP backend.
    Imap(crate::imap::State),
    /// Login at a POP3 backend.
    Pop3(crate::pop3::State),
    /// Login at a ManageSieve backend.
    ManageSieve(crate::managesieve::State),
    /// Login at a Submission backend.
    Submission(crate::submission::State),
    /// Logged in: bytes pass.
    Relay,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProxyTls => f.write_str("proxy-tls"),
            Self::ProxyHeader => f.write_str("proxy-header"),
            Self::Admit => f.write_str("admit"),
            Self::ClientTls => f.write_str("tls-client"),
            Self::Preauth => f.write_str("preauth"),
            Self::Lookup => f.write_str("lookup"),
            Self::Hold => f.write_str("hold"),
            Self::Connect => f.write_str("connect"),
            Self::BackendTls => f.write_str("tls"),
            Self::Imap(state) => state.fmt(f),
            Self::Pop3(state) => state.fmt(f),
            Self::ManageSieve(state) => state.fmt(f),
            Self::Submission(state) => state.fmt(f),
            Self::Relay => f.write_str("relay"),
        }
    }
}

/// What a client is told when it is refused or sent away; each protocol has its words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The backend is unreachable, broken, slow or down, or no route store answers.
    Unavailable,
    /// Something is configured wrongly, here or at the backend.
    Configuration,
    /// The backend does not accept the credentials.
    Credentials,
    /// A route store or a step of the configuration does not let this account in.
    Denied,
    /// The client is told where else to go.
    Referred,
    /// The credentials would travel unencrypted.
    TlsNeeded,
    /// The backend does not offer the mechanism that the client chose.
    Mechanism,
    /// No connection is free.
    TooManyConnections,
    /// Too many refused credentials in this connection.
    TooManyAttempts,
    /// The credentials hold a character that cannot be right, or nothing at all.
    BadCharacters,
    /// An operator ended this session.
    Kicked,
    /// The program shuts down.
    ShuttingDown,
    /// The client took too long.
    TimedOut,
}

/// What a refused login counts for, against the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toll {
    /// One of the refusals of credentials that a connection may have.
    Failure,
    /// One of the commands that could not be served.
    BadCommand,
    /// Nothing: it was not the client's doing.
    Nothing,
}

impl Refusal {
    /// Only a verdict on the credentials counts as a failed login.
    pub(crate) const fn toll(self) -> Toll {
        match self {
            Self::Credentials => Toll::Failure,
            Self::BadCharacters => Toll::BadCommand,
            Self::Unavailable
            | Self::Configuration
            | Self::Denied
            | Self::Referred
            | Self::TlsNeeded
            | Self::Mechanism
            | Self::TooManyConnections
            | Self::TooManyAttempts
            | Self::Kicked
            | Self::ShuttingDown
            | Self::TimedOut => Toll::Nothing,
        }
    }
}

/// How a connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegFault {
    /// The peer reset the connection.
    Reset,
    /// The kernel gave up on the peer.
    TimedOut,
    /// A TLS record that cannot be decrypted or was not expected.
    Tls,
    /// Anything else that the operating system reports.
    Io,
}

impl fmt::Display for LegFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "reset",
            Self::TimedOut => "timed-out",
            Self::Tls => "tls",
            Self::Io => "io",
        })
    }
}

/// Why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// What arrived is not TLS, or breaks its rules.
    Protocol,
    /// No common version, cipher suite or application protocol.
    NoCommonGround,
    /// The peer's certificate is not acceptable: untrusted, expired, wrong name or wrong pin.
    Certificate,
    /// The peer refused us with an alert.
    Alert,
    /// The connection ended before the handshake did.
    Closed,
    /// Our own side could not be set up.
    Setup,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "protocol",
            Self::NoCommonGround => "no-common-ground",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Closed => "closed",
            Self::Setup => "setup",
        })
    }
}

/// Why a PROXY header is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// The socket's address is not among those from which one is believed.
    Untrusted,
    /// Something else came in its place.
    Missing,
    /// It came after the client had been greeted without one.
    Late,
    /// Version 1: the line is not exactly as its grammar wants it.
    Grammar,
    /// Version 1: more than [`crate::proxy_protocol::V1_MAX`] octets; version 2: more than
    /// [`crate::proxy_protocol::V2_CONTENT_MAX`] octets behind the first 16.
    TooLong,
    /// The signature of version 2, and another version behind it.
    Version,
    /// Neither LOCAL nor PROXY.
    Command,
    /// A family or a transport that nobody has defined.
    Family,
    /// Too short for the addresses of its family.
    TooShort,
    /// A field behind the addresses whose length or content cannot be.
    Field,
    /// The CRC-32C is wrong, or stands there twice.
    Checksum,
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "untrusted",
            Self::Missing => "missing",
            Self::Late => "late",
            Self::Grammar => "grammar",
            Self::TooLong => "too-long",
            Self::Version => "version",
            Self::Command => "command",
            Self::Family => "family",
            Self::TooShort => "too-short",
            Self::Field => "field",
            Self::Checksum => "checksum",
        })
    }
}

/// Why no connection to a backend came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFault {
    /// Nobody listens there.
    Refused,
    /// No way to get there.
    Unreachable,
    /// The kernel gave up.
    TimedOut,
    /// The host's name has no address, or could not be resolved.
    NoAddress,
    /// This side has no descriptor, port or memory left.
    Exhausted,
    /// The address is one at which this program itself listens.
    OwnListener,
    /// The destination is to be reached from addresses of which none fits.
    NoSourceAddress,
    /// No host may serve: each of them is down, or out of service until its cooldown is over.
    Down,
    /// Anything else that the operating system reports.
    Io,
}

impl ConnectFault {
    /// Whether it will be the same until somebody changes the configuration.
    pub const fn is_configuration(self) -> bool {
        match self {
            Self::OwnListener | Self::NoSourceAddress => true,
            Self::Refused
            | Self::Unreachable
            | Self::TimedOut
            | Self::NoAddress
            | Self::Exhausted
            | Self::Down
            | Self::Io => false,
        }
    }
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed-out",
            Self::NoAddress => "no-address",
            Self::Exhausted => "exhausted",
            Self::OwnListener => "own-listener",
            Self::NoSourceAddress => "no-source-address",
            Self::Down => "down",
            Self::Io => "io",
        })
    }
}

/// Why one attempt to log in at a backend failed. A refusal of the credentials is not among
/// these: that is a verdict, and the backend did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFault {
    /// No connection.
    Connect(ConnectFault),
    /// No TLS.
    Tls(TlsFault),
    /// The attempt's deadline passed.
    TimedOut,
    /// The backend closed the connection.
    Eof,
    /// The connection broke.
    Lost(LegFault),
    /// The greeting says goodbye.
    GreetingBye,
    /// The greeting says that somebody is logged in already.
    GreetingPreauth,
    /// What came is not an answer to anything outstanding, or not the protocol at all.
    Protocol,
    /// A line or literal past its limit.
    TooLong,
    /// More lines than [`crate::line::BACKEND_LINES_MAX`] before the verdict.
    TooManyLines,
    /// TLS is configured and the backend does not offer it.
    StartTlsMissing,
    /// TLS was offered, asked for and refused.
    StartTlsRefused,
    /// The backend takes none of the ways in which these credentials could be given.
    NoWayToLogIn,
    /// The backend does not offer the client's own mechanism.
    MechanismMissing,
    /// The backend did not understand the login command.
    CommandRejected,
    /// The backend says that it is unavailable, which will pass.
    Temporary,
    /// The backend reports a fault of its own configuration.
    ServerBug,
    /// The backend refuses a mode that its clients are promised before they log in.
    ModeRefused,
    /// The backend refers the account to a host where the login may not go.
    Referral,
    /// The destination does not serve this protocol.
    NoEndpoint,
    /// Credentials would leave unencrypted, and the destination does not allow that.
    PlaintextForbidden,
    /// The login has passed through as many proxies as it may: it goes in circles.
    Loop,
}

impl AttemptFault {
    /// What the client hears.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Connect(fault) if fault.is_configuration() => Refusal::Configuration,
            Self::Connect(_)
            | Self::TimedOut
            | Self::Eof
            | Self::Lost(_)
            | Self::GreetingBye
            | Self::Protocol
            | Self::TooLong
            | Self::TooManyLines
            | Self::CommandRejected
            | Self::Referral
            | Self::Temporary => Refusal::Unavailable,
            Self::Tls(fault) => match fault {
                TlsFault::Certificate | TlsFault::NoCommonGround | TlsFault::Setup => {
                    Refusal::Configuration
                }
                TlsFault::Protocol | TlsFault::Alert | TlsFault::Closed => Refusal::Unavailable,
            },
            Self::GreetingPreauth
            | Self::StartTlsMissing
            | Self::StartTlsRefused
            | Self::NoWayToLogIn
            | Self::ServerBug
            | Self::ModeRefused
            | Self::NoEndpoint
            | Self::PlaintextForbidden
            | Self::Loop => Refusal::Configuration,
            Self::MechanismMissing => Refusal::Mechanism,
        }
    }

    /// Where the same login may be tried once more. `credentials_sent`: they have left for the
    /// backend, so that only its explicit "not now" makes a repetition safe.
    pub const fn again(self, credentials_sent: bool) -> Again {
        let again = self.again_before_credentials();
        if credentials_sent && !matches!(self, Self::Temporary) { Again::Never } else { again }
    }

    const fn again_before_credentials(self) -> Again {
        match self {
            Self::Connect(fault) if fault.is_configuration() => Again::Never,
            Self::Connect(ConnectFault::Down) => Again::Never,
            Self::Temporary
            | Self::Connect(_)
            | Self::TimedOut
            | Self::Eof
            | Self::Lost(_)
            | Self::GreetingBye
            | Self::Protocol
            | Self::TooLong
            | Self::TooManyLines => Again::Anywhere,
            Self::Tls(fault) => match fault {
                TlsFault::Protocol | TlsFault::Alert | TlsFault::Closed => Again::Anywhere,
                TlsFault::Certificate | TlsFault::NoCommonGround => Again::Elsewhere,
                TlsFault::Setup => Again::Never,
            },
            Self::GreetingPreauth | Self::StartTlsMissing | Self::StartTlsRefused => {
                Again::Elsewhere
            }
            Self::NoWayToLogIn
            | Self::MechanismMissing
            | Self::CommandRejected
            | Self::ServerBug
            | Self::ModeRefused
            | Self::Referral
            | Self::NoEndpoint
            | Self::PlaintextForbidden
            | Self::Loop => Again::Never,
        }
    }
}

/// Where a login whose attempt failed may be tried once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nowhere.
    Never,
    /// At another host: this one will not change its mind.
    Elsewhere,
    /// At another host if there is one, and at this one too.
    Anywhere,
}

impl fmt::Display for AttemptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Connect(fault) => return write!(f, "connect/{fault}"),
            Self::Tls(fault) => return write!(f, "tls/{fault}"),
            Self::Lost(fault) => return write!(f, "lost/{fault}"),
            Self::TimedOut => "timed-out",
            Self::Eof => "eof",
            Self::GreetingBye => "greeting-bye",
            Self::GreetingPreauth => "greeting-preauth",
            Self::Protocol => "protocol",
            Self::TooLong => "too-long",
            Self::TooManyLines => "too-many-lines",
            Self::StartTlsMissing => "starttls-missing",
            Self::StartTlsRefused => "starttls-refused",
            Self::NoWayToLogIn => "no-way-to-log-in",
            Self::MechanismMissing => "mechanism-missing",
            Self::CommandRejected => "command-rejected",
            Self::Temporary => "temporary",
            Self::ServerBug => "server-bug",
            Self::ModeRefused => "mode-refused",
            Self::Referral => "referral",
            Self::NoEndpoint => "no-endpoint",
            Self::PlaintextForbidden => "plaintext-forbidden",
            Self::Loop => "loop",
        };
        f.write_str(word)
    }
}
