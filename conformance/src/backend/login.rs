//! What a client of any protocol goes through here: TLS when it is due, a login, patience.
//!
//! A [`Visit`] is a session's part that knows no protocol. [`exchange`] is SASL over lines of
//! base64, as IMAP, POP3 and Submission have it, which differ in nothing but the prompt;
//! ManageSieve has its own, in strings. How an outcome is put into words is each protocol's own
//! business. Who is right is decided in `sasl`.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, Line};
use super::sasl::{Mechanism, Verdict};
use super::store::AccountStore;
use super::{BackendTls, Record, Shared};

/// After so many commands that could not be read, or refused logins, the session ends.
pub(super) const MISTAKES: u32 = 20;

/// The most octets of a line of a SASL exchange, and of a command that may carry its beginning.
pub(super) const SASL_OCTETS: usize = 16 * 1024;

/// The most pairs that a record keeps of who the client is said to be.
pub(super) const IDENTITY_PAIRS: usize = 64;

/// A name, and the value that was given for it.
pub(super) type Pair = (String, Option<String>);

pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) record: Record,
    mistakes: u32,
}

/// Why a login did not come about.
pub(super) enum Denied {
    Credentials,
    /// Not a message of the mechanism.
    Malformed,
}

impl Visit {
    pub(super) fn new(shared: Arc<Shared>, record: Record) -> Self {
        Self { shared, record, mistakes: 0 }
    }

    /// What the backend calls itself, fit for a line.
    pub(super) fn name(&self) -> String {
        self.shared.settings.name.chars().filter(|letter| !letter.is_control()).collect()
    }

    /// Whether STARTTLS (or STLS) is on offer, and must come before a login.
    pub(super) fn tls_is_due(&self) -> bool {
        let encrypted = self.record.locked().encrypted;
        matches!(self.shared.settings.tls, BackendTls::StartTls(_)) && !encrypted
    }

    /// The handshake, once the client was told to begin.
    pub(super) async fn start_tls(&self, connection: Connection) -> io::Result<Connection> {
        let BackendTls::StartTls(config) = &self.shared.settings.tls else {
            return Err(io::Error::other("STARTTLS without a certificate"));
        };
        let connection = connection.start_tls(&TlsAcceptor::from(Arc::clone(config))).await?;
        self.record.locked().encrypted = true;
        Ok(connection)
    }

    pub(super) fn mistake(&mut self) {
        self.mistakes += 1;
    }

    pub(super) fn patience_is_over(&self) -> bool {
        self.mistakes >= MISTAKES
    }

    /// Puts a verdict into effect: what belongs to the user, who is now on record. A refusal is
    /// counted; a malformed message is the protocol's to count.
    pub(super) fn admit(
        &mut self,
        verdict: Verdict,
        how: &str,
    ) -> Result<Arc<AccountStore>, Denied> {
        match verdict {
            Verdict::Accepted(user) => {
                let account = self.shared.store.account(&user).ok_or(Denied::Credentials)?;
                self.record.locked().login = Some((user, how.to_owned()));
                Ok(account)
            }
            Verdict::Refused | Verdict::RefusedAfter(_) => {
                self.record.locked().refused += 1;
                self.mistakes += 1;
                Err(Denied::Credentials)
            }
            Verdict::Malformed => Err(Denied::Malformed),
        }
    }

    /// Keeps who the client is said to be, up to [`IDENTITY_PAIRS`].
    pub(super) fn identify(&self, pairs: Vec<Pair>) {
        let mut record = self.record.locked();
        let room = IDENTITY_PAIRS.saturating_sub(record.identity.len());
        record.identity.extend(pairs.into_iter().take(room));
    }
}

/// The arguments of an XCLIENT: `NAME=value`, parted by spaces; None if they are something else.
pub(super) fn xclient(arguments: &str) -> Option<Vec<Pair>> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), Some(value.to_owned())))
    };
    let pairs: Option<Vec<Pair>> = arguments.split_ascii_whitespace().map(pair).collect();
    pairs.filter(|pairs| !pairs.is_empty())
}

/// What became of a SASL exchange.
pub(super) enum Exchanged {
    Judged(Verdict),
    Cancelled,
    NotBase64,
    /// A line of the client was longer than [`SASL_OCTETS`], and its rest was not read.
    TooLong,
    /// The client has closed its side.
    Ended,
}

/// An exchange to its verdict. `initial` is the client's first message in base64, `=` for an empty
/// one; `prompt` stands before each challenge.
pub(super) async fn exchange(
    visit: &Visit,
    mechanism: Mechanism,
    initial: Option<Vec<u8>>,
    prompt: &str,
    connection: &mut Connection,
) -> io::Result<Exchanged> {
    let message = match initial {
        Some(initial) if initial == b"=" => Vec::new(),
        Some(initial) => initial,
        None => match answer_to(b"", prompt, connection).await? {
            Ok(line) => line,
            Err(over) => return Ok(over),
        },
    };
    if message == b"*" {
        return Ok(Exchanged::Cancelled);
    }
    let Ok(message) = BASE64.decode(&message) else {
        return Ok(Exchanged::NotBase64);
    };
    let verdict = mechanism.judge(&message, &visit.shared.settings.accounts);
    if let Verdict::RefusedAfter(challenge) = verdict {
        // What the client says to this changes nothing (RFC 7628 §3.2.3).
        if let Err(over) = answer_to(challenge.as_bytes(), prompt, connection).await? {
            return Ok(over);
        }
    }
    Ok(Exchanged::Judged(verdict))
}

/// Sends a challenge; the client's line, or how the exchange ended instead.
async fn answer_to(
    challenge: &[u8],
    prompt: &str,
    connection: &mut Connection,
) -> io::Result<Result<Vec<u8>, Exchanged>> {
    connection.out.line(&format!("{prompt} {}", BASE64.encode(challenge)));
    Ok(match connection.line(SASL_OCTETS).await? {
        Line::Text(line) => Ok(line),
        Line::TooLong => Err(Exchanged::TooLong),
        Line::Ended => Err(Exchanged::Ended),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_xclient_is_pairs_and_nothing_else() {
        let pairs = xclient("ADDR=192.0.2.7 PORT=  X=a=b").unwrap();
        let expected = [("ADDR", "192.0.2.7"), ("PORT", ""), ("X", "a=b")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));
        for wrong in ["", " ", "ADDR", "ADDR=1 PORT", "=1"] {
            assert!(xclient(wrong).is_none(), "{wrong}");
        }
    }
}
