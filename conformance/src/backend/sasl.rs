//! Who may log in: passwords and tokens, and the messages of the mechanisms that carry them.
//!
//! PLAIN (RFC 4616), OAUTHBEARER (RFC 7628) and XOAUTH2: each needs one message of the client. A
//! refused token is answered with a challenge that holds JSON, and the refusal itself follows the
//! client's reply to it. Accounts here are made up for trying out: nothing is hashed and nothing is
//! compared in constant time.

use super::Account;

/// The mechanisms, by the names they are advertised under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    OAuthBearer,
    XOAuth2,
}

impl Mechanism {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::OAuthBearer, Self::XOAuth2];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// All names, parted by spaces.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(" ")
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Judges the client's message, already decoded from base64.
    pub(super) fn judge(self, message: &[u8], accounts: &[Account]) -> Verdict {
        match self {
            Self::Plain => judge_plain(message, accounts),
            Self::OAuthBearer => judge_bearer(message, accounts),
            Self::XOAuth2 => judge_xoauth2(message, accounts),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The user who is now logged in.
    Accepted(String),
    Refused,
    /// Refused, once the client has answered this challenge (JSON, not yet in base64).
    RefusedAfter(&'static str),
    /// Not a message of this mechanism.
    Malformed,
}

/// The user, if the password is the one of that account.
pub(super) fn judge_password(user: &[u8], password: &[u8], accounts: &[Account]) -> Verdict {
    let account = accounts.iter().find(|account| account.user.as_bytes() == user);
    match account {
        Some(account) if account.password.as_bytes() == password => {
            Verdict::Accepted(account.user.clone())
        }
        Some(_) | None => Verdict::Refused,
    }
}

/// `[authzid] NUL authcid NUL password`; nobody may act for somebody else.
fn judge_plain(message: &[u8], accounts: &[Account]) -> Verdict {
    let parts: Vec<&[u8]> = message.split(|byte| *byte == 0).collect();
    match parts[..] {
        [b"", user, password] => judge_password(user, password, accounts),
        [for_user, user, password] if for_user == user => judge_password(user, password, accounts),
        [_, _, _] => Verdict::Refused,
        _ => Verdict::Malformed,
    }
}

/// `n,a=user,^Ahost=…^Aauth=Bearer token^A^A`.
fn judge_bearer(message: &[u8], accounts: &[Account]) -> Verdict {
    let Some((gs2, pairs)) =
        std::str::from_utf8(message).ok().and_then(|text| text.split_once('\x01'))
    else {
        return Verdict::Malformed;
    };
    let mut header = gs2.split(',');
    if header.next() != Some("n") || !pairs.ends_with("\x01\x01") {
        return Verdict::Malformed;
    }
    let user = header.next().and_then(|part| part.strip_prefix("a="));
    let user = user.map(|user| user.replace("=2C", ",").replace("=3D", "="));
    let refusal = Verdict::RefusedAfter("{\"status\":\"invalid_token\",\"scope\":\"mail\"}");
    judge_token(user.as_deref(), pairs, accounts, refusal)
}

/// `user=user^Aauth=Bearer token^A^A`.
fn judge_xoauth2(message: &[u8], accounts: &[Account]) -> Verdict {
    let text = std::str::from_utf8(message).ok().filter(|text| text.ends_with("\x01\x01"));
    let user = text.and_then(|text| text.strip_prefix("user="));
    let Some((user, pairs)) = user.and_then(|user| user.split_once('\x01')) else {
        return Verdict::Malformed;
    };
    let refusal =
        Verdict::RefusedAfter("{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"mail\"}");
    judge_token(Some(user), pairs, accounts, refusal)
}

/// Without a user, the token alone says whose it is.
fn judge_token(user: Option<&str>, pairs: &str, accounts: &[Account], refusal: Verdict) -> Verdict {
    let scheme = pairs.split('\x01').find_map(|pair| pair.strip_prefix("auth="));
    let Some((scheme, token)) = scheme.and_then(|value| value.split_once(' ')) else {
        return Verdict::Malformed;
    };
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return refusal;
    }
    let fits = |account: &&Account| user.is_none_or(|user| account.user == user);
    let account = accounts.iter().filter(fits).find(|account| account.token == token);
    account.map_or(refusal, |account| Verdict::Accepted(account.user.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Vec<Account> {
        vec![Account::new("alice@example.com", "secret"), Account::new("bob,x", "other")]
    }

    #[test]
    fn plain_takes_the_right_password_only() {
        let judge = |message: &[u8]| Mechanism::Plain.judge(message, &accounts());
        let alice = Verdict::Accepted("alice@example.com".to_owned());
        assert_eq!(judge(b"\0alice@example.com\0secret"), alice);
        assert_eq!(judge(b"alice@example.com\0alice@example.com\0secret"), alice);
        assert_eq!(judge(b"bob\0alice@example.com\0secret"), Verdict::Refused);
        assert_eq!(judge(b"\0alice@example.com\0wrong"), Verdict::Refused);
        assert_eq!(judge(b"alice@example.com\0secret"), Verdict::Malformed);
    }

    #[test]
    fn a_token_belongs_to_its_account() {
        let bearer = |text: &str| Mechanism::OAuthBearer.judge(text.as_bytes(), &accounts());
        let bob = Verdict::Accepted("bob,x".to_owned());
        assert_eq!(bearer("n,a=bob=2Cx,\x01auth=Bearer token-bob,x\x01\x01"), bob);
        assert_eq!(bearer("n,,\x01port=143\x01auth=bearer token-bob,x\x01\x01"), bob);
        let alices = bearer("n,a=alice@example.com,\x01auth=Bearer token-bob,x\x01\x01");
        assert!(matches!(alices, Verdict::RefusedAfter(_)));
        assert_eq!(bearer("n,,\x01auth=Bearer\x01\x01"), Verdict::Malformed);
        assert_eq!(bearer("n,,\x01auth=Bearer token-bob,x"), Verdict::Malformed);
        let google =
            Mechanism::XOAuth2.judge(b"user=bob,x\x01auth=Bearer token-bob,x\x01\x01", &accounts());
        assert_eq!(google, bob);
    }
}
