//! Whom a bearer token speaks of, where the client does not say it.
//!
//! A JWT's payload (RFC 7519) names its user in one of a few claims; a token that begins with
//! `sw1.` does so in its last part. Nothing of it is verified: whoever holds no valid token gets to
//! a backend that refuses it, and learns nothing but that. The name routes, and no more.
//!
//! Invariants: a token is at most one SASL message, so the work is bounded; whatever is not exactly
//! the form of a token names nobody.

use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::may_stand_in_a_key;
use super::step::split;
use crate::line::USER_MAX;
use crate::sasl::{Login, Mechanism, Proof};

/// Claims that name a user, after the configured one, in the order in which they are asked.
const CLAIMS: [&str; 5] = ["email", "preferred_username", "upn", "unique_name", "sub"];

/// How the tokens begin whose last part is the name.
const NAMED_BY_FOOTER: &[u8] = b"sw1.";

/// Whom a login's token speaks of. `claim`: the one to ask first.
pub fn of(login: &Login, claim: &str) -> Option<Vec<u8>> {
    match (login.mechanism, &login.proof) {
        (Mechanism::OAuthBearer | Mechanism::XOAuth2, Proof::Exchange { initial, .. }) => {
            named_by(bearer_token(initial.expose())?, claim)
        }
        (Mechanism::OAuthBearer | Mechanism::XOAuth2, Proof::Password(_))
        | (
            Mechanism::Plain | Mechanism::Login | Mechanism::ScramSha256 | Mechanism::ScramSha1,
            _,
        ) => None,
    }
}

/// The token in the one part of a message that begins with `auth=Bearer ` (RFC 6750 §2.1; the
/// scheme in any case).
fn bearer_token(message: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let mut parts = message.split(|&octet| octet == 0x01);
    let value = parts.find_map(|part| part.strip_prefix(b"auth="))?;
    if parts.any(|part| part.starts_with(b"auth=")) {
        return None;
    }
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(token.trim_ascii())
}

fn named_by(token: &[u8], claim: &str) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = token.split(|&octet| octet == b'.').collect();
    if token.starts_with(NAMED_BY_FOOTER) {
        let [_, _, footer] = parts.as_slice() else { return None };
        let name = URL_SAFE_NO_PAD.decode(footer).ok()?;
        let is_text = core::str::from_utf8(&name).is_ok();
        return (is_text && is_a_name(&name)).then_some(name);
    }
    let [_, payload, _] = parts.as_slice() else { return None };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let Ok(Value::Object(claims)) = serde_json::from_slice(&payload) else { return None };
    let names = [claim].into_iter().chain(CLAIMS);
    let mut values = names.filter_map(|name| claims.get(name).and_then(Value::as_str));
    values.find(|value| is_an_address(value)).map(|value| value.as_bytes().to_vec())
}

fn is_an_address(value: &str) -> bool {
    is_a_name(value.as_bytes()) && split(value.as_bytes()).is_some()
}

/// A claim that could not stand in a key is passed over, for another may do.
fn is_a_name(name: &[u8]) -> bool {
    (1..=USER_MAX).contains(&name.len()) && name.iter().copied().all(may_stand_in_a_key)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::secret::Secret;

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn jwt(payload: &str) -> String {
        format!("{}.{}.c2ln", encoded(r#"{"alg":"none"}"#), encoded(payload))
    }

    fn named(token: &str) -> Option<String> {
        named_by(token.as_bytes(), "mail").map(|name| String::from_utf8(name).expect("text"))
    }

    #[test]
    fn the_first_claim_that_looks_like_an_address_names_the_user() {
        for (payload, expected) in [
            (r#"{"sub":"s@x","email":"e@x","mail":"m@x"}"#, Some("m@x")),
            (r#"{"sub":"s@x","email":"e@x","mail":"m"}"#, Some("e@x")),
            (r#"{"sub":"s@x","upn":"u@x","unique_name":"n@x"}"#, Some("u@x")),
            (r#"{"sub":"s@x","unique_name":"n@x"}"#, Some("n@x")),
            (r#"{"preferred_username":"p@x","sub":"s@x"}"#, Some("p@x")),
            (r#"{"mail":"a b@x","email":7,"upn":"@x","sub":"s@x"}"#, Some("s@x")),
            (r#"{"mail":"a\r\n@x","sub":"s"}"#, None),
            (r#"{"mail":{"email":"m@x"},"name":"n@x"}"#, None),
            (r#"{"mail":"\u00e4@x"}"#, Some("\u{e4}@x")),
            (r#"["m@x"]"#, None),
            (r#"{"mail":"m@x"} "#, Some("m@x")),
            (r#"{"mail":"m@x"}x"#, None),
            (r#"{"mail":"m@x",}"#, None),
            ("", None),
        ] {
            assert_eq!(named(&jwt(payload)).as_deref(), expected, "{payload}");
        }
    }

    #[test]
    fn only_the_exact_form_of_a_token_names_anybody() {
        let good = encoded(r#"{"mail":"m@x"}"#);
        assert_eq!(named(&format!("h.{good}.s")).as_deref(), Some("m@x"));
        for bad in [
            format!("h.{good}"),
            format!("h.{good}.s.t"),
            format!("h.{good}=.s"),
            format!("h. {good}.s"),
            format!("h.{}.s", &good[..good.len() - 1]),
            "opaque".into(),
            String::new(),
        ] {
            assert_eq!(named(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_may_name_its_user_in_its_last_part() {
        assert_eq!(named(&format!("sw1.body.{}", encoded("alice"))).as_deref(), Some("alice"));
        assert_eq!(named(&format!("sw1.{}.", encoded(r#"{"mail":"m@x"}"#))), None);
        for bad in ["sw1.body", "sw1.body.*", "sw1.body.", "sw1.a.b.c"] {
            assert_eq!(named(bad), None, "{bad}");
        }
        assert_eq!(named(&format!("sw1.b.{}", encoded("a\nb"))), None);
        assert_eq!(named(&format!("sw1.b.{}", URL_SAFE_NO_PAD.encode(b"\xff"))), None);
    }

    #[test]
    fn a_message_holds_one_token() {
        let token = jwt(r#"{"mail":"m@x"}"#);
        let named = |message: String| {
            let initial = Secret::from(message.as_bytes());
            let proof = Proof::Exchange { initial, user: None };
            of(&Login { mechanism: Mechanism::OAuthBearer, proof }, "mail").is_some()
        };
        assert!(named(format!("n,,\x01host=h\x01auth=Bearer {token}\x01\x01")));
        assert!(named(format!("n,,\x01auth=bEARER  {token}\x01\x01")));
        assert!(!named(format!("n,,\x01auth=Basic {token}\x01\x01")));
        assert!(!named(format!("n,,\x01auth=Bearer {token}\x01auth=Bearer {token}\x01\x01")));
        assert!(!named(format!("n,,\x01Auth=Bearer {token}\x01\x01")));
        assert!(!named("n,,\x01\x01".into()));
    }

    #[test]
    fn a_name_is_no_longer_than_one_that_a_client_may_give() {
        let footer = |length: usize| named(&format!("sw1.b.{}", encoded(&"u".repeat(length))));
        assert!(footer(USER_MAX).is_some());
        assert_eq!(footer(USER_MAX + 1), None);
    }
}
