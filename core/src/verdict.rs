//! What may be decided of a login instead of a destination.
//!
//! A route store or a step of the configuration can send a client elsewhere ([`Referral`]) or
//! turn its login down ([`Denial`]). Both are plain values: each protocol has its own words for
//! them, and what they cost the client is decided by the session.
//!
//! Not here: refusals of the proxy's own and of backends, see `close.rs`. Read next: `contract.rs`,
//! for the answer of which these are a part.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Octets of a text that a client is told; what lies beyond is cut off.
pub const TEXT_MAX: usize = 400;

/// How long a client may be kept waiting for a denial.
pub const HOLD_MAX: Duration = Duration::from_secs(120);

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
}

impl Denial {
    /// A refusal that says nothing of the credentials.
    pub fn with_text(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), smtp_code: None, judged: false, hold: None, last: false }
    }
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
