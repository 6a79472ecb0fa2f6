//! SASL as a front end sees it: which messages make up a login, and whom they name.
//!
//! A mechanism either ends in a password that can be presented to any backend ([`Proof::Password`])
//! or is an exchange between client and backend in which the proxy only reads the name
//! ([`Proof::Exchange`]); nothing here decides whether anything is right. Messages are bytes: a
//! password need not be UTF-8. How they are wrapped into lines is each protocol's own.
//!
//! RFC 4422 (framework), 4616 (PLAIN), 7628 (OAUTHBEARER), 5801 §4 (its header), 4648 (base64).

use alloc::vec::Vec;
use core::mem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use crate::line::{PASSWORD_MAX, USER_MAX};
use crate::secret::Secret;

/// A mechanism that Gatepost knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616; also what the protocols' own login commands amount to.
    Plain,
    /// Two prompts, for outdated clients; off unless configured.
    Login,
    /// RFC 7628.
    OAuthBearer,
    /// Its predecessor, still the more common one.
    XOAuth2,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
}

impl Mechanism {
    /// All of them, in the order in which they are advertised.
    pub const ALL: [Self; 6] = [
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
        Self::Login,
        Self::OAuthBearer,
        Self::XOAuth2,
    ];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
        }
    }

    /// The mechanism of that name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| name.eq_ignore_ascii_case(mechanism.name().as_bytes()))
    }

    /// Whether the backend proves itself in the exchange as well.
    pub const fn proves_both(self) -> bool {
        match self {
            Self::Plain | Self::Login | Self::OAuthBearer | Self::XOAuth2 => false,
            Self::ScramSha256 | Self::ScramSha1 => true,
        }
    }

    /// Whether its first message is a token, and a challenge after that says why it is refused.
    pub const fn bears_token(self) -> bool {
        match self {
            Self::OAuthBearer | Self::XOAuth2 => true,
            Self::Plain | Self::Login | Self::ScramSha256 | Self::ScramSha1 => false,
        }
    }

    /// Whether whoever reads the exchange can log in with what it saw.
    pub const fn is_cleartext(self) -> bool {
        match self {
            Self::Plain | Self::Login | Self::OAuthBearer | Self::XOAuth2 => true,
            Self::ScramSha256 | Self::ScramSha1 => false,
        }
    }
}

/// What a client gave to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// How it gave it.
    pub mechanism: Mechanism,
    /// What it gave.
    pub proof: Proof,
}

/// The substance of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A name and a password: complete.
    Password(Credential),
    /// The first message of an exchange that goes on with the backend.
    Exchange {
        /// The message as the client sent it, decoded.
        initial: Secret,
        /// Whom it names, if anybody.
        user: Option<Vec<u8>>,
    },
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Whom to act as; empty: the same as `user`.
    pub authzid: Vec<u8>,
    /// Whose password it is (the authcid).
    pub user: Vec<u8>,
    /// The password.
    pub password: Secret,
}

impl Login {
    /// What a protocol's own login command amounts to.
    pub fn with_password(user: Vec<u8>, password: Secret) -> Self {
        let credential = Credential { authzid: Vec::new(), user, password };
        Self { mechanism: Mechanism::Plain, proof: Proof::Password(credential) }
    }

    /// Whom the login names.
    pub fn user(&self) -> Option<&[u8]> {
        match &self.proof {
            Proof::Password(credential) => Some(&credential.user),
            Proof::Exchange { user, .. } => user.as_deref(),
        }
    }

    /// What the client of a SASL exchange says first: for a password, PLAIN's only message.
    pub fn first_message(&self) -> Secret {
        match &self.proof {
            Proof::Password(credential) => credential.plain_message(),
            Proof::Exchange { initial, .. } => initial.clone(),
        }
    }
}

impl Credential {
    /// The message of PLAIN: authzid, NUL, authcid, NUL, password.
    pub fn plain_message(&self) -> Secret {
        let password = self.password.expose();
        let mut message =
            Vec::with_capacity(self.authzid.len() + self.user.len() + password.len() + 2);
        message.extend_from_slice(&self.authzid);
        message.push(0);
        message.extend_from_slice(&self.user);
        message.push(0);
        message.extend_from_slice(password);
        Secret::new(message)
    }
}

/// A message that its mechanism does not allow. It is a fault of syntax, not a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslFault {
    /// Not base64 in the strict form: the right alphabet, padded, nothing between or after.
    Base64,
    /// Not a message of this mechanism, or a name or password past its limit.
    Message,
}

/// The client's messages of one login, until they are enough to look the user up.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    First,
    LoginPassword { user: Vec<u8> },
}

/// What one message led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send this challenge and hand in the answer.
    Challenge(&'static [u8]),
    /// Enough to go on.
    Complete(Login),
}

impl Exchange {
    /// Begins with a mechanism.
    pub const fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, stage: Stage::First }
    }

    /// The challenge to a client that gave no initial response.
    pub const fn opening(&self) -> &'static [u8] {
        match self.mechanism {
            Mechanism::Login => b"Username:",
            Mechanism::Plain
            | Mechanism::OAuthBearer
            | Mechanism::XOAuth2
            | Mechanism::ScramSha256
            | Mechanism::ScramSha1 => b"",
        }
    }

    /// Takes the client's next message, decoded.
    pub fn receive(&mut self, message: Secret) -> Result<Progress, SaslFault> {
        match (self.mechanism, mem::replace(&mut self.stage, Stage::First)) {
            (Mechanism::Login, Stage::First) => {
                let user = bounded(message.expose(), USER_MAX)?.to_vec();
                self.stage = Stage::LoginPassword { user };
                Ok(Progress::Challenge(b"Password:"))
            }
            (_, Stage::LoginPassword { user }) => {
                bounded(message.expose(), PASSWORD_MAX)?;
                let credential = Credential { authzid: Vec::new(), user, password: message };
                Ok(Progress::Complete(Login {
                    mechanism: Mechanism::Login,
                    proof: Proof::Password(credential),
                }))
            }
            (Mechanism::Plain, Stage::First) => {
                let credential = parse_plain(message.expose())?;
                Ok(self.complete(Proof::Password(credential)))
            }
            (Mechanism::OAuthBearer, Stage::First) => {
                let user = gs2_user(message.expose())?;
                Ok(self.complete(Proof::Exchange { initial: message, user }))
            }
            (Mechanism::XOAuth2, Stage::First) => {
                let user = xoauth2_user(message.expose())?;
                Ok(self.complete(Proof::Exchange { initial: message, user }))
            }
            (Mechanism::ScramSha256 | Mechanism::ScramSha1, Stage::First) => {
                let user = scram_user(message.expose())?;
                Ok(self.complete(Proof::Exchange { initial: message, user: Some(user) }))
            }
        }
    }

    const fn complete(&self, proof: Proof) -> Progress {
        Progress::Complete(Login { mechanism: self.mechanism, proof })
    }
}

/// Decodes base64 strictly (RFC 4422 leaves no room for white space or missing padding).
pub fn decode_base64(text: &[u8]) -> Result<Secret, SaslFault> {
    STANDARD.decode(text).map(Secret::new).map_err(|_| SaslFault::Base64)
}

/// Appends a message in base64.
pub fn encode_base64(message: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = message.len().div_ceil(3) * 4;
    out.resize(start + length, 0);
    STANDARD
        .encode_slice(message, &mut out[start..])
        .expect("the slice has exactly the length of the encoding");
}

fn bounded(bytes: &[u8], limit: usize) -> Result<&[u8], SaslFault> {
    if bytes.len() <= limit { Ok(bytes) } else { Err(SaslFault::Message) }
}

/// RFC 4616 §2: exactly two NULs, the password being whatever follows the second.
fn parse_plain(message: &[u8]) -> Result<Credential, SaslFault> {
    let first = memchr(0, message).ok_or(SaslFault::Message)?;
    let rest = &message[first + 1..];
    let second = memchr(0, rest).ok_or(SaslFault::Message)?;
    let password = &rest[second + 1..];
    if memchr(0, password).is_some() {
        return Err(SaslFault::Message);
    }
    Ok(Credential {
        authzid: bounded(&message[..first], USER_MAX)?.to_vec(),
        user: bounded(&rest[..second], USER_MAX)?.to_vec(),
        password: Secret::from(bounded(password, PASSWORD_MAX)?),
    })
}

/// The authorisation identity of a GS2 header (RFC 5801 §4): `n,a=user,` and its relatives.
fn gs2_user(message: &[u8]) -> Result<Option<Vec<u8>>, SaslFault> {
    let (authzid, _) = split_gs2(message)?;
    match authzid {
        b"" => Ok(None),
        named => {
            named.strip_prefix(b"a=").ok_or(SaslFault::Message).and_then(decode_saslname).map(Some)
        }
    }
}

/// Splits a GS2 header off: the authzid part, and what follows the header.
///
/// "y" says that the client could bind itself to a channel and saw no mechanism for it. It passes:
/// the proof covers the header (RFC 5802 §7, `c=`), so that nobody on the way can change it. A
/// backend that offers such mechanisms takes "y" for an attack on its list and has to refuse it
/// (RFC 5802 §6); that is its decision, and any other backend takes "y" as it takes "n".
fn split_gs2(message: &[u8]) -> Result<(&[u8], &[u8]), SaslFault> {
    let flag_end = memchr(b',', message).ok_or(SaslFault::Message)?;
    match &message[..flag_end] {
        b"n" | b"y" => {}
        // The client bound itself to a TLS channel that ends at this proxy.
        _ => return Err(SaslFault::Message),
    }
    let rest = &message[flag_end + 1..];
    let authzid_end = memchr(b',', rest).ok_or(SaslFault::Message)?;
    Ok((&rest[..authzid_end], &rest[authzid_end + 1..]))
}

/// RFC 5802 §5.1: `n=` of the first message, with `=2C` and `=3D` decoded.
fn scram_user(message: &[u8]) -> Result<Vec<u8>, SaslFault> {
    let (_, bare) = split_gs2(message)?;
    let end = memchr(b',', bare).ok_or(SaslFault::Message)?;
    bare[..end].strip_prefix(b"n=").ok_or(SaslFault::Message).and_then(decode_saslname)
}

fn decode_saslname(name: &[u8]) -> Result<Vec<u8>, SaslFault> {
    let name = bounded(name, USER_MAX)?;
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        if octet != b'=' {
            decoded.push(octet);
            continue;
        }
        decoded.push(match tail {
            [b'2', b'C' | b'c', ..] => b',',
            [b'3', b'D' | b'd', ..] => b'=',
            _ => return Err(SaslFault::Message),
        });
        rest = &tail[2..];
    }
    Ok(decoded)
}

/// `user=` of XOAUTH2, whose parts end with 0x01.
fn xoauth2_user(message: &[u8]) -> Result<Option<Vec<u8>>, SaslFault> {
    let mut user = None;
    for part in message.split(|&octet| octet == 0x01) {
        if let Some(name) = part.strip_prefix(b"user=")
            && user.replace(bounded(name, USER_MAX)?.to_vec()).is_some()
        {
            return Err(SaslFault::Message);
        }
    }
    // Who leaves it empty names nobody, and lets the token speak.
    Ok(user.filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(mechanism: Mechanism, message: &[u8]) -> Result<Progress, SaslFault> {
        Exchange::new(mechanism).receive(Secret::from(message))
    }

    fn user_of(mechanism: Mechanism, message: &[u8]) -> Result<Option<Vec<u8>>, SaslFault> {
        receive(mechanism, message).map(|progress| match progress {
            Progress::Complete(login) => login.user().map(<[u8]>::to_vec),
            Progress::Challenge(_) => panic!("one message is enough for {mechanism:?}"),
        })
    }

    #[test]
    fn base64_is_strict() {
        for bad in [&b"YQ"[..], b"YQ=", b"YR==", b"YQ==\n", b"Y Q==", b"YQ==YQ==", b"=", b"*"] {
            assert_eq!(decode_base64(bad), Err(SaslFault::Base64), "{bad:?}");
        }
        assert_eq!(decode_base64(b"YQ==").map(|s| s.expose().to_vec()), Ok(b"a".to_vec()));
        assert_eq!(decode_base64(b"").map(|s| s.expose().to_vec()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        for length in 0..200_u8 {
            let message: Vec<u8> = (0..length).map(|octet| octet.wrapping_mul(37)).collect();
            let mut text = b"kept ".to_vec();
            encode_base64(&message, &mut text);
            let decoded = decode_base64(&text[5..]).expect("our own encoding is strict");
            assert_eq!(decoded.expose(), message);
        }
    }

    #[test]
    fn plain_has_exactly_two_nuls() {
        assert_eq!(user_of(Mechanism::Plain, b"\0u\0p"), Ok(Some(b"u".to_vec())));
        assert_eq!(user_of(Mechanism::Plain, b"other\0u\0p"), Ok(Some(b"u".to_vec())));
        assert_eq!(user_of(Mechanism::Plain, b"u\0p"), Err(SaslFault::Message));
        assert_eq!(user_of(Mechanism::Plain, b"\0u\0p\0x"), Err(SaslFault::Message));
        assert_eq!(user_of(Mechanism::Plain, b""), Err(SaslFault::Message));
    }

    #[test]
    fn plain_names_and_passwords_have_limits() {
        let message = |user: usize, password: usize| {
            let mut message = alloc::vec![0];
            message.extend(core::iter::repeat_n(b'u', user));
            message.push(0);
            message.extend(core::iter::repeat_n(b'p', password));
            message
        };
        assert!(receive(Mechanism::Plain, &message(USER_MAX, PASSWORD_MAX)).is_ok());
        assert!(receive(Mechanism::Plain, &message(USER_MAX + 1, 1)).is_err());
        assert!(receive(Mechanism::Plain, &message(1, PASSWORD_MAX + 1)).is_err());
    }

    #[test]
    fn a_plain_message_reads_back_as_the_same_credential() {
        let message = b"admin\0alice@example.com\0\xffp\xc3\xa4ss";
        let credential = parse_plain(message).expect("well-formed");
        assert_eq!(credential.plain_message().expose(), message);
    }

    #[test]
    fn oauth_names_its_user() {
        let bearer = |header: &str| [header.as_bytes(), b"\x01auth=Bearer t\x01\x01"].concat();
        assert_eq!(
            user_of(Mechanism::OAuthBearer, &bearer("n,a=a=2Cb=3Dc@x,")),
            Ok(Some(b"a,b=c@x".to_vec()))
        );
        assert_eq!(user_of(Mechanism::OAuthBearer, &bearer("n,,")), Ok(None));
        for bad in ["p=tls-exporter,,", "n,b=x,", "n,a=x=2", "x,,", "n,a=a=4Cb,"] {
            assert_eq!(user_of(Mechanism::OAuthBearer, &bearer(bad)), Err(SaslFault::Message));
        }
        assert_eq!(
            user_of(Mechanism::XOAuth2, b"user=a@x\x01auth=Bearer t\x01\x01"),
            Ok(Some(b"a@x".to_vec()))
        );
        assert_eq!(user_of(Mechanism::XOAuth2, b"auth=Bearer t\x01\x01"), Ok(None));
        assert_eq!(
            user_of(Mechanism::XOAuth2, b"user=a\x01user=b\x01\x01"),
            Err(SaslFault::Message)
        );
    }

    #[test]
    fn scram_names_its_user_in_the_first_message() {
        assert_eq!(
            user_of(Mechanism::ScramSha256, b"n,,n=al=2Cice,r=nonce"),
            Ok(Some(b"al,ice".to_vec()))
        );
        assert_eq!(
            user_of(Mechanism::ScramSha256, b"y,a=bob,n=alice,r=nonce"),
            Ok(Some(b"alice".to_vec()))
        );
        assert_eq!(
            user_of(Mechanism::ScramSha256, b"p=tls-unique,,n=alice,r=nonce"),
            Err(SaslFault::Message)
        );
    }

    #[test]
    fn login_asks_twice() {
        let mut exchange = Exchange::new(Mechanism::Login);
        assert_eq!(exchange.opening(), b"Username:");
        let asked = exchange.receive(Secret::from(&b"u"[..]));
        assert_eq!(asked, Ok(Progress::Challenge(b"Password:")));
        let Ok(Progress::Complete(login)) = exchange.receive(Secret::from(&b"p"[..])) else {
            panic!("two answers are enough")
        };
        assert_eq!((login.mechanism, login.user()), (Mechanism::Login, Some(&b"u"[..])));
    }
}
