//! The SASL mechanisms that can be named in a configuration and on the wire.

/// A SASL mechanism that the proxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// The two-prompt mechanism of outdated clients.
    Login,
    /// RFC 7628.
    OAuthBearer,
    /// The bearer mechanism that preceded RFC 7628.
    XOAuth2,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
}

impl Mechanism {
    /// Every mechanism.
    pub const ALL: [Self; 6] = [
        Self::Plain,
        Self::Login,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::ScramSha256,
        Self::ScramSha1,
    ];

    /// The registered name, in capitals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
        }
    }

    /// The mechanism of a name, in any case of letters.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name().as_bytes().eq_ignore_ascii_case(name))
    }
}
