//! What may be decided of a login instead of a destination.
//!
//! A route store or a step of the configuration can send a client elsewhere ([`Referral`]) or
//! turn its login down ([`Denial`]). Both are plain values: each protocol has its own words for
//! them, and what they cost the client is decided by the session.
//!
//! Not here: refusals of the proxy's own and of backends, see `close.rs`. Read next: `contract.rs`,
//! for the answer of which these are a part.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::time::Duration;

use crate::close::Refusal;
use crate::sasl::Mechanism;

/// Octets of a text that a client is told; what lies beyond is cut off.
pub const TEXT_MAX: usize = 400;

/// Octets of a challenge that goes before a denial; a longer one is left out.
pub const CHALLENGE_MAX: usize = 4096;

/// How long a client may be kept waiting for a denial, or for somebody who is to be asked again.
pub const HOLD_MAX: Duration = Duration::from_secs(120);

/// Times that one login may be put off ([`crate::Routing::Later`]).
pub const DEFERRALS_MAX: u32 = 10;

/// The least time until somebody is asked again about a login.
pub const DEFERRAL_MIN: Duration = Duration::from_millis(100);

/// Octets of a reply code with its enhanced code.
const SMTP_CODE_MAX: usize = "550 5.999.999".len();

/// Where a client is to go by itself (RFC 2221, RFC 5804 §1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// Whom to be there.
    pub user: Vec<u8>,
    /// The host's name or address.
    pub host: String,
    /// Its port; none: the protocol's own.
    pub port: Option<u16>,
}

/// A login that ends here, by somebody's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What the client reads; control characters and what lies beyond [`TEXT_MAX`] are left out.
    /// Nothing: the protocol's own words.
    pub text: Vec<u8>,
    /// What Submission says before it, in place of its own code.
    pub smtp_code: Option<SmtpCode>,
    /// The credentials were looked at and are wrong: this counts as a failed authentication.
    pub judged: bool,
    /// The client hears it only after so long. Over [`HOLD_MAX`], it hears at once
    /// that the account is temporarily unavailable.
    pub hold: Option<Duration>,
    /// The session ends with it.
    pub last: bool,
    /// Why a token is refused, for the client's program (RFC 7628 §3.2.2 has JSON for that): a
    /// challenge that it answers before it hears of the refusal. Left out where it is empty or
    /// over [`CHALLENGE_MAX`], and for mechanisms that bear no token.
    pub challenge: Option<Vec<u8>>,
}

/// What a client reads when it is referred.
pub(crate) const REFERRED: &str = "Account is on another server";

/// What a client reads when a denial ends its session.
pub(crate) const LAST_WORDS: &str = "No more attempts in this connection";

impl Referral {
    /// Whether the host is a name or an address, so that it cannot leave its place in a URL.
    pub(crate) fn is_sound(&self) -> bool {
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b':');
        !self.host.is_empty() && self.host.bytes().all(fits)
    }

    /// The user as it stands in a URL: what RFC 3986 does not leave unreserved is encoded.
    pub(crate) fn user_in_url(&self) -> String {
        let mut text = String::new();
        for &octet in &self.user {
            if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
                text.push(char::from(octet));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{octet:02X}");
            }
        }
        text
    }

    /// Host and port as they stand in a URL (RFC 3986 §3.2.2 has addresses of IPv6 in brackets).
    pub(crate) fn place(&self) -> String {
        let mut place = match self.host.contains(':') {
            true => ["[", &self.host, "]"].concat(),
            false => self.host.clone(),
        };
        if let Some(port) = self.port {
            place.push(':');
            place.push_str(&port.to_string());
        }
        place
    }
}

impl Denial {
    /// A refusal that says nothing of the credentials.
    pub fn with_text(text: impl Into<Vec<u8>>) -> Self {
        Self {
            text: text.into(),
            smtp_code: None,
            judged: false,
            hold: None,
            last: false,
            challenge: None,
        }
    }

    /// Its class.
    pub(crate) const fn refusal(&self) -> Refusal {
        if self.judged { Refusal::Credentials } else { Refusal::Denied }
    }

    /// The challenge that goes before it, for a client of this mechanism.
    pub(crate) fn challenge_for(&self, mechanism: Mechanism) -> Option<&[u8]> {
        let challenge = self.challenge.as_deref().filter(|_| mechanism.bears_token())?;
        (1..=CHALLENGE_MAX).contains(&challenge.len()).then_some(challenge)
    }

    /// What the client reads, fit to stand in a line; nothing, if there is no text.
    pub(crate) fn words(&self) -> Option<String> {
        one_line(&String::from_utf8_lossy(&self.text))
    }
}

/// A text that is fit to stand in a line: without control characters and spaces around, and no
/// longer than [`TEXT_MAX`]. Nothing, if nothing is left.
pub(crate) fn one_line(text: &str) -> Option<String> {
    let mut line = String::new();
    for letter in text.trim().chars().filter(|letter| !letter.is_control()) {
        if line.len() + letter.len_utf8() > TEXT_MAX {
            break;
        }
        line.push(letter);
    }
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_string())
}

/// A reply code of SMTP that refuses, perhaps with an enhanced code: `535 5.7.8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpCode(String);

impl SmtpCode {
    /// Reads `4dd` or `5dd`, and after a space `4.d.d` or `5.d.d` of the same class (RFC 5321
    /// §4.2.1, RFC 3463 §2).
    pub fn parse(text: &str) -> Option<Self> {
        let (code, enhanced) = match text.split_once(' ') {
            Some((code, enhanced)) => (code, Some(enhanced)),
            None => (text, None),
        };
        let class = code.chars().next().filter(|class| matches!(class, '4' | '5'))?;
        let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
        if text.len() > SMTP_CODE_MAX || code.len() != 3 || !digits(code) {
            return None;
        }
        if let Some(enhanced) = enhanced {
            let parts: Vec<&str> = enhanced.split('.').collect();
            let number = |part: &&str| (1..=3).contains(&part.len()) && digits(part);
            let [first, ..] = parts.as_slice() else { return None };
            if parts.len() != 3 || !parts.iter().all(number) || !first.starts_with(class) {
                return None;
            }
            if first.len() != 1 {
                return None;
            }
        }
        Some(Self(text.into()))
    }

    /// As it stands in a reply.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SmtpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referral_stays_in_its_place() {
        let referral =
            |user: &str, host: &str, port| Referral { user: user.into(), host: host.into(), port };
        let plain = referral("a b;c@x/\u{e4}", "two.example", None);
        assert_eq!(plain.user_in_url(), "a%20b%3Bc%40x%2F%C3%A4");
        assert_eq!(plain.place(), "two.example");
        assert_eq!(referral("a", "2001:db8::1", Some(143)).place(), "[2001:db8::1]:143");
        assert!(plain.is_sound());
        for host in ["", "a/b", "a]", "a\r\nb", "a b", "a@b", "a\""] {
            assert!(!referral("a", host, None).is_sound(), "{host:?}");
        }
    }

    #[test]
    fn a_text_is_one_line_within_its_limit() {
        assert_eq!(one_line(" a\r\nb\u{85}\u{7} ").as_deref(), Some("ab"));
        assert_eq!(one_line(" \t\r\n"), None);
        let long = "x".repeat(TEXT_MAX - 1);
        assert_eq!(one_line(&[&long, "y"].concat()).map(|text| text.len()), Some(TEXT_MAX));
        assert_eq!(one_line(&[&long, "\u{e4}"].concat()), Some(long));
    }

    #[test]
    fn a_reply_code_refuses_and_agrees_with_its_enhanced_code() {
        for good in ["535", "454", "535 5.7.8", "454 4.7.0", "550 5.100.200"] {
            assert!(SmtpCode::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "53",
            "5355",
            "235",
            "334",
            "250 2.0.0",
            "535 4.7.8",
            "535 5.7",
            "535 5.7.8 x",
            "535  5.7.8",
            "535 5.7.8888",
            "535 55.7.8",
            "5a5",
            "535-5.7.8",
            "535 5.7.8\r\n",
        ] {
            assert_eq!(SmtpCode::parse(bad), None, "{bad:?}");
        }
    }
}
