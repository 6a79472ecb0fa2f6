//! SASL: any messages of any mechanism.
//!
//! An input is one octet for the mechanism, then the client's messages, decoded, each ended by
//! 0xff. Invariants: base64 has one form, and what is encoded decodes to itself; a login holds what
//! its messages held, within its limits, and PLAIN's message says it again.

use gatepost_core::line::{PASSWORD_MAX, USER_MAX};
use gatepost_core::sasl::{
    Credential, Exchange, Login, Mechanism, Progress, Proof, decode_base64, encode_base64,
};
use gatepost_core::secret::Secret;

use super::SEPARATOR;

/// Plays the exchange of the input.
pub fn sasl(data: &[u8]) {
    base64(data);
    let Some((choice, messages)) = data.split_first() else { return };
    assert_eq!(Mechanism::parse(data).map(|it| it.name().len()), named(data), "another name");
    let mechanism = Mechanism::ALL[usize::from(*choice) % Mechanism::ALL.len()];
    let messages: Vec<&[u8]> = messages.split(|octet| *octet == SEPARATOR).collect();
    let mut exchange = Exchange::new(mechanism);
    for (position, message) in messages.iter().enumerate() {
        match exchange.receive(Secret::from(*message)) {
            Ok(Progress::Challenge(text)) => assert!(!text.is_empty(), "nothing to answer"),
            Ok(Progress::Complete(login)) => {
                assert_eq!(login.mechanism, mechanism, "another mechanism");
                judge(&login, &messages[..=position]);
                break;
            }
            Err(_) => break,
        }
    }
    scram_again(Mechanism::ScramSha256, messages[0]);
    if let [authzid, user, password, ..] = messages.as_slice() {
        from_parts(authzid, user, password);
    }
}

/// Both ways.
fn base64(data: &[u8]) {
    if let Ok(decoded) = decode_base64(data) {
        let mut text = Vec::new();
        encode_base64(decoded.expose(), &mut text);
        assert_eq!(text, data, "two texts of one message");
    }
    let mut text = b"kept".to_vec();
    encode_base64(data, &mut text);
    assert!(text.starts_with(b"kept"), "what stood there is gone");
    let decoded = decode_base64(&text[4..]).expect("our own encoding is strict");
    assert_eq!(decoded.expose(), data, "another message");
}

/// The length of the mechanism's name that the octets are, if they are one.
fn named(octets: &[u8]) -> Option<usize> {
    let is_named = |mechanism: &Mechanism| octets.eq_ignore_ascii_case(mechanism.name().as_bytes());
    Mechanism::ALL.iter().find(|it| is_named(it)).map(|it| it.name().len())
}

/// A login that these messages led to.
fn judge(login: &Login, messages: &[&[u8]]) {
    assert!(login.user().is_none_or(|user| user.len() <= USER_MAX), "a user past the limit");
    match (&login.proof, messages) {
        (Proof::Password(credential), [user, password]) => {
            assert_eq!(login.mechanism, Mechanism::Login, "two messages are one too many");
            assert_eq!(credential.user, *user, "another user");
            assert_eq!(credential.password.expose(), *password, "another password");
            assert!(password.len() <= PASSWORD_MAX, "a password past the limit");
        }
        (Proof::Password(credential), [message]) => {
            assert_eq!(login.mechanism, Mechanism::Plain, "one message is not enough");
            assert_eq!(login.first_message().expose(), *message, "another message");
            assert!(credential.authzid.len() <= USER_MAX, "an authzid past the limit");
            assert!(credential.password.expose().len() <= PASSWORD_MAX, "past the limit");
        }
        (Proof::Exchange { initial, user }, [message]) => {
            assert_eq!(initial.expose(), *message, "another message");
            assert_eq!(login.first_message().expose(), *message, "another first message");
            if login.mechanism.proves_both() {
                let user = user.as_deref().expect("SCRAM names its user");
                scram_again(login.mechanism, user);
            }
        }
        (Proof::Password(_) | Proof::Exchange { .. }, _) => panic!("too many messages"),
    }
}

/// A name is escaped and read again (RFC 5802 §5.1).
fn scram_again(mechanism: Mechanism, user: &[u8]) {
    let mut message = b"n,,n=".to_vec();
    for octet in user {
        match octet {
            b',' => message.extend_from_slice(b"=2C"),
            b'=' => message.extend_from_slice(b"=3D"),
            other => message.push(*other),
        }
    }
    // Escaped it may be past the limit that it keeps itself.
    if message.len() - 5 > USER_MAX {
        return;
    }
    message.extend_from_slice(b",r=nonce");
    let read = Exchange::new(mechanism).receive(Secret::new(message));
    let Ok(Progress::Complete(login)) = read else { panic!("{read:?}") };
    assert_eq!(login.user(), Some(user), "another user");
}

/// A credential of any parts, through PLAIN's message.
fn from_parts(authzid: &[u8], user: &[u8], password: &[u8]) {
    let fits = authzid.len().max(user.len()) <= USER_MAX && password.len() <= PASSWORD_MAX;
    let credential = Credential {
        authzid: authzid.to_vec(),
        user: user.to_vec(),
        password: Secret::from(password),
    };
    let read = Exchange::new(Mechanism::Plain).receive(credential.plain_message());
    if fits && ![authzid, user, password].iter().any(|part| part.contains(&0)) {
        let proof = Proof::Password(credential);
        let login = Login { mechanism: Mechanism::Plain, proof };
        assert_eq!(read, Ok(Progress::Complete(login)), "another credential");
    }
}
