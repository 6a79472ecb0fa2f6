//! What the handshakes with backends have in common, whatever the protocol.
//!
//! [`Settings`] say what an attempt is to achieve, a [`Quota`] counts what a backend may say before
//! its verdict, [`choose`] finds the one [`Way`] in which a login is presented, by what was given
//! and what is offered. Nothing here writes a command or reads a reply: that is the protocols' own.
//!
//! Invariant: credentials that act for somebody else go as SASL or not at all, since no login
//! command can say so.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use memchr::memchr;

use crate::close::AttemptFault;
use crate::config::TlsMode;
use crate::forward::Identity;
use crate::line::{BACKEND_LINES_MAX, BACKEND_OCTETS_MAX};
use crate::sasl::{Login, Mechanism, Proof, encode_base64};

/// What a handshake is to achieve.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How TLS begins on this leg; implicit TLS is up before the automaton begins.
    pub(crate) tls: TlsMode,
    /// Whether TLS on this leg proves who the backend is.
    pub(crate) verified: bool,
    /// What the backend is to be told of the client.
    pub(crate) identity: Option<Identity>,
    /// Capabilities that this backend announced in an earlier session.
    pub(crate) remembered: Option<Arc<[u8]>>,
    /// Whether to stop before the login and say what the backend can do.
    pub(crate) survey: bool,
}

/// The lines or words of a list, as text.
pub(crate) fn surveyed<'a>(list: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    list.map(|item| String::from_utf8_lossy(item).into_owned()).collect()
}

/// One way of presenting a login. `C` is how the protocol's own login command is used, for
/// protocols that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way<C> {
    /// SASL, with the first message in the command's line.
    Initial(Mechanism),
    /// SASL, and the first message when asked.
    Prompted(Mechanism),
    /// The login command.
    Command(C),
}

/// The way for a login. `offers`: whether the backend lists a mechanism. `fits`: whether a first
/// message of so many octets in base64 may stand in the command's line. `command`: the login
/// command, if the backend takes it.
pub(crate) fn choose<C>(
    login: &Login,
    offers: impl Fn(Mechanism) -> bool,
    fits: impl Fn(Mechanism, usize) -> bool,
    command: Option<C>,
) -> Result<Way<C>, AttemptFault> {
    let mechanism = match &login.proof {
        Proof::Password(_) => Mechanism::Plain,
        Proof::Exchange { .. } => login.mechanism,
    };
    if offers(mechanism) {
        let length = login.first_message().expose().len().div_ceil(3) * 4;
        let inline = fits(mechanism, length.max("=".len()));
        return Ok(if inline { Way::Initial(mechanism) } else { Way::Prompted(mechanism) });
    }
    match (&login.proof, command) {
        (Proof::Exchange { .. }, _) => Err(AttemptFault::MechanismMissing),
        (Proof::Password(credential), Some(command)) if credential.authzid.is_empty() => {
            Ok(Way::Command(command))
        }
        (Proof::Password(_), _) => Err(AttemptFault::NoWayToLogIn),
    }
}

/// Writes the first message into a command's line (RFC 4959 §3, 5034 §4, 4954 §4): an empty one is
/// written as "=".
pub(crate) fn write_initial(message: &[u8], out: &mut Vec<u8>) {
    if message.is_empty() {
        out.push(b'=');
    } else {
        encode_base64(message, out);
    }
}

/// The text of a status reply of IMAP or POP3, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusText<'a> {
    /// The response code between its brackets.
    pub(crate) code: Option<&'a [u8]>,
    pub(crate) text: &'a [u8],
}

impl<'a> StatusText<'a> {
    /// Takes apart what follows `OK `, `NO ` or `-ERR `.
    pub(crate) fn parse(rest: &'a [u8]) -> Self {
        let inside = rest.strip_prefix(b"[");
        let Some((inside, end)) = inside.and_then(|inside| Some((inside, memchr(b']', inside)?)))
        else {
            return Self { code: None, text: rest };
        };
        let text = &inside[end + 1..];
        Self { code: Some(&inside[..end]), text: text.strip_prefix(b" ").unwrap_or(text) }
    }

    /// The code's first word matches.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.code.is_some_and(|code| {
            code.split(|&octet| octet == b' ')
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
        })
    }
}

/// What a backend has said before its verdict.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    octets: usize,
    lines: u32,
}

impl Quota {
    /// One more line of so many octets, its end and its literals included.
    pub(crate) const fn spend(&mut self, octets: usize) -> Result<(), AttemptFault> {
        self.octets += octets;
        self.lines += 1;
        if self.lines > BACKEND_LINES_MAX {
            Err(AttemptFault::TooManyLines)
        } else if self.octets > BACKEND_OCTETS_MAX {
            Err(AttemptFault::TooLong)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::sasl::Credential;
    use crate::secret::Secret;

    fn password(authzid: &[u8]) -> Login {
        let mut login = Login::with_password(b"u".to_vec(), Secret::from(&b"p"[..]));
        if let Proof::Password(Credential { authzid: given, .. }) = &mut login.proof {
            *given = authzid.to_vec();
        }
        login
    }

    fn token() -> Login {
        let proof = Proof::Exchange { initial: Secret::new(vec![b'x'; 9]), user: None };
        Login { mechanism: Mechanism::XOAuth2, proof }
    }

    #[test]
    fn the_way_follows_from_what_is_given_and_offered() {
        let way = |login: &Login, offered: &[Mechanism], room: usize, command: Option<()>| {
            choose(login, |mechanism| offered.contains(&mechanism), |_, it| it <= room, command)
        };
        let (plain, xoauth2) = (Mechanism::Plain, Mechanism::XOAuth2);
        assert_eq!(way(&password(b""), &[plain], 8, Some(())), Ok(Way::Initial(plain)));
        assert_eq!(way(&password(b""), &[plain], 7, Some(())), Ok(Way::Prompted(plain)));
        assert_eq!(way(&password(b""), &[xoauth2], 8, Some(())), Ok(Way::Command(())));
        assert_eq!(way(&password(b""), &[], 8, None), Err(AttemptFault::NoWayToLogIn));
        assert_eq!(way(&password(b"a"), &[], 8, Some(())), Err(AttemptFault::NoWayToLogIn));
        assert_eq!(way(&token(), &[xoauth2], 12, Some(())), Ok(Way::Initial(xoauth2)));
        assert_eq!(way(&token(), &[plain], 12, Some(())), Err(AttemptFault::MechanismMissing));
    }

    #[test]
    fn a_backend_may_say_only_so_much() {
        let mut quota = Quota::default();
        for _ in 0..BACKEND_LINES_MAX {
            assert_eq!(quota.spend(1), Ok(()));
        }
        assert_eq!(quota.spend(1), Err(AttemptFault::TooManyLines));
        assert_eq!(Quota::default().spend(BACKEND_OCTETS_MAX), Ok(()));
        assert_eq!(Quota::default().spend(BACKEND_OCTETS_MAX + 1), Err(AttemptFault::TooLong));
    }

    #[test]
    fn response_codes_are_taken_apart() {
        let parsed = StatusText::parse(b"[SYS/TEMP] later");
        assert_eq!(parsed, StatusText { code: Some(b"SYS/TEMP"), text: b"later" });
        assert_eq!(StatusText::parse(b"no code"), StatusText { code: None, text: b"no code" });
        assert!(StatusText::parse(b"[UNAVAILABLE]").is("unavailable"));
        assert!(!StatusText::parse(b"[UNAVAILABLEX] a").is("UNAVAILABLE"));
        assert_eq!(StatusText::parse(b"[open").code, None);
    }
}
