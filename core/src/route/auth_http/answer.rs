//! The answer: a head, read as nginx reads it.
//!
//! Header names are letters, digits and hyphens, in any case; a line may end with a bare LF; values
//! lose spaces at their ends and nothing else. Where a header is there twice, the last one counts.
//! Invariant: what goes on to a backend holds no NUL, CR or LF, decoded or not.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str;
use core::time::Duration;

use memchr::memchr_iter;

use super::{Acceptance, AnswerFault, Verdict};
use crate::config::is_host_name;
use crate::line::{PASSWORD_MAX, USER_MAX};
use crate::sasl::{Credential, Login, Mechanism, Proof, decode_base64};
use crate::secret::Secret;
use crate::verdict::{CHALLENGE_MAX, Denial, SmtpCode};

/// Octets of an answer's head. nginx takes 1024; a token as password for the backend needs more.
pub const HEAD_MAX: usize = 16 * 1024;

/// The head of what was received so far, without the blank line; nothing if it is not whole yet.
pub fn whole_head(received: &[u8]) -> Option<&[u8]> {
    let mut start = 0;
    for end in memchr_iter(b'\n', received) {
        if line_of(&received[start..end]).is_empty() {
            return Some(&received[..start]);
        }
        start = end + 1;
    }
    None
}

/// What a head means. `decode`: names and passwords in it are escaped.
pub fn verdict(head: &[u8], decode: bool) -> Result<Verdict, AnswerFault> {
    let answer = Answer::parse(head)?;
    let wait = answer.wait.and_then(number).map(Duration::from_secs);
    match answer.status {
        None | Some(b"OK") => answer.acceptance(decode).map(Verdict::Accepted),
        Some(b"WAIT") => Ok(Verdict::Wait(wait.unwrap_or_default())),
        Some(text) => {
            let hold = wait.filter(|wait| !wait.is_zero());
            Ok(Verdict::Denied(Denial {
                text: text.to_vec(),
                smtp_code: answer.error_code.and_then(smtp_code),
                judged: true,
                hold,
                // Without a time to wait, the server has had enough of this client.
                last: hold.is_none(),
                challenge: answer.error_sasl.and_then(challenge),
            }))
        }
    }
}

/// What the backend is to be told in place of the client's login; nothing: the client's own.
///
/// Credentials of the server's choice belong to the account that it judged. So they never go along
/// with another account that the client asked to act as.
pub fn login(given: &Login, accepted: &Acceptance) -> Result<Option<Arc<Login>>, AnswerFault> {
    let own = match &given.proof {
        Proof::Password(credential) => Some(&credential.password),
        Proof::Exchange { .. } => None,
    };
    let (user, password) = match (&accepted.user, &accepted.password) {
        (None, None) => return Ok(None),
        (Some(user), Some(password)) => (user.clone(), password),
        (None, Some(password)) => (given.user().unwrap_or_default().to_vec(), password),
        (Some(user), None) => (user.clone(), own.ok_or(AnswerFault::NoPassword)?),
    };
    let credential = Credential { authzid: Vec::new(), user, password: password.clone() };
    let proof = Proof::Password(credential);
    Ok(Some(Arc::new(Login { mechanism: Mechanism::Plain, proof })))
}

/// The headers that mean something.
#[derive(Default)]
struct Answer<'a> {
    status: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    pass: Option<&'a [u8]>,
    wait: Option<&'a [u8]>,
    error_code: Option<&'a [u8]>,
    error_sasl: Option<&'a [u8]>,
}

impl<'a> Answer<'a> {
    fn parse(head: &'a [u8]) -> Result<Self, AnswerFault> {
        let mut answer = Self::default();
        let lines = head.split(|octet| *octet == b'\n').map(line_of).enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            if index == 0 && line.starts_with(b"HTTP/") {
                continue;
            }
            let (name, value) = header(line)?;
            let name = name.to_ascii_lowercase();
            let place = match &*name {
                b"auth-status" => &mut answer.status,
                b"auth-server" => &mut answer.server,
                b"auth-port" => &mut answer.port,
                b"auth-user" => &mut answer.user,
                b"auth-pass" => &mut answer.pass,
                b"auth-wait" => &mut answer.wait,
                b"auth-error-code" => &mut answer.error_code,
                b"auth-error-sasl" => &mut answer.error_sasl,
                _ => continue,
            };
            *place = Some(value);
        }
        Ok(answer)
    }

    fn acceptance(&self, decode: bool) -> Result<Acceptance, AnswerFault> {
        let (Some(server), Some(port)) = (self.server, self.port) else {
            return Err(AnswerFault::NoAddress);
        };
        let host = host(server).ok_or(AnswerFault::Address)?;
        let port = number(port).and_then(|port| u16::try_from(port).ok());
        let port = port.filter(|port| *port != 0).ok_or(AnswerFault::Address)?;
        let user = self.user.map(|user| credential(user, decode, USER_MAX)).transpose()?;
        let password = self.pass.map(|pass| credential(pass, decode, PASSWORD_MAX)).transpose()?;
        Ok(Acceptance { host, port, user, password: password.map(Secret::new) })
    }
}

fn line_of(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Name and value of a line; a line without a colon is a name.
fn header(line: &[u8]) -> Result<(&[u8], &[u8]), AnswerFault> {
    let colon = line.iter().position(|octet| *octet == b':');
    let (name, value) = colon.map_or((line, &line[..0]), |at| (&line[..at], &line[at + 1..]));
    let is_name = name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
        && name.first().is_some_and(|first| *first != b'-');
    if !is_name || value.iter().any(|octet| matches!(octet, 0 | b'\r')) {
        return Err(AnswerFault::Shape);
    }
    Ok((name, trim_spaces(value)))
}

fn trim_spaces(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|octet| *octet != b' ').unwrap_or(value.len());
    let end = value.iter().rposition(|octet| *octet != b' ').map_or(start, |last| last + 1);
    &value[start..end]
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

fn smtp_code(text: &[u8]) -> Option<SmtpCode> {
    SmtpCode::parse(str::from_utf8(text).ok()?)
}

/// What stands there in base64. What is none, empty or too long says nothing to a client.
fn challenge(text: &[u8]) -> Option<Vec<u8>> {
    let decoded = decode_base64(text).ok()?.expose().to_vec();
    (1..=CHALLENGE_MAX).contains(&decoded.len()).then_some(decoded)
}

/// A name, or an address in brackets or without; an address without its zone.
fn host(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = bracketed.unwrap_or(text);
    let is_host = bare.parse::<IpAddr>().is_ok() || (bracketed.is_none() && is_host_name(bare));
    is_host.then(|| bare.to_owned())
}

fn credential(value: &[u8], decode: bool, octets_max: usize) -> Result<Vec<u8>, AnswerFault> {
    let value = if decode { decoded(value) } else { Cow::Borrowed(value) };
    let is_usable = (1..=octets_max).contains(&value.len())
        && !value.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'));
    if is_usable { Ok(value.into_owned()) } else { Err(AnswerFault::Credentials) }
}

/// The octets that `%XX` stands for; a percent sign that begins no such thing stands for itself.
fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        rest = tail;
        octets.push(*first);
        if let (b'%', [high, low, after @ ..]) = (*first, tail)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
            && let Some(last) = octets.last_mut()
        {
            // Two digits of 16 make an octet.
            *last = (high * 16 + low) as u8;
            rest = after;
        }
    }
    Cow::Owned(octets)
}
