//! The replies of a backend, line by line, and what a client may see of them.
//!
//! A reply is one line, or several with one code of which the last has a space behind it (RFC 5321
//! §4.2). Anything else is no reply. Of several lines a client sees the last one, without control
//! characters, with an enhanced code of the reply's class, and no longer than a reply may be.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::refusal_line;
use crate::close::Refusal;
use crate::line::{first_word, without_controls};

/// Octets of a reply's line (RFC 5321 §4.5.3.1.5).
const REPLY_MAX: usize = 512;

/// The enhanced code of Dovecot's referrals.
const REFERRAL: &[u8] = b"5.2.900";

/// One line of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplyLine<'a> {
    /// 200 to 559.
    pub(super) code: u16,
    /// No line of this reply follows.
    pub(super) last: bool,
    pub(super) text: &'a [u8],
}

impl<'a> ReplyLine<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (code, rest) = line.split_first_chunk::<3>()?;
        let [b'2'..=b'5', b'0'..=b'5', b'0'..=b'9'] = code else { return None };
        let code = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return None,
        };
        Some(Self { code, last, text })
    }
}

/// Whether a temporary refusal says that the system behind it is incorrectly configured (RFC 3463
/// §3.4), as a proxy does at the end of a loop.
pub(super) fn blames_configuration(text: &[u8]) -> bool {
    split_enhanced(text, b'4').0 == Some(b"4.3.5")
}

/// What a client is told of a 235: an enhanced code and a text.
pub(super) fn welcome(text: &[u8]) -> Vec<u8> {
    let text = without_controls(text);
    let (enhanced, text) = split_enhanced(&text, b'2');
    let text: &[u8] = if text.is_empty() { b"Logged in" } else { text };
    let told = [enhanced.unwrap_or(b"2.7.0"), b" ", text].concat();
    shortened(told, REPLY_MAX - "235 \r\n".len())
}

/// What a client is told of a refusal: the whole line.
pub(super) fn refusal(code: u16, text: &[u8]) -> Vec<u8> {
    let text = without_controls(text);
    let (enhanced, text) = split_enhanced(&text, b'5');
    if text.is_empty() {
        return refusal_line(Refusal::Credentials).as_bytes().to_vec();
    }
    let usual: &[u8] = if code == 535 { b"5.7.8" } else { b"5.7.0" };
    let code = code.to_string();
    let told = [code.as_bytes(), b" ", enhanced.unwrap_or(usual), b" ", text].concat();
    shortened(told, REPLY_MAX - "\r\n".len())
}

/// The place that a 550 refers to, if it is a referral.
pub(super) fn referral(text: &[u8]) -> Option<Vec<u8>> {
    let text = without_controls(text);
    let (enhanced, text) = split_enhanced(&text, b'5');
    (enhanced == Some(REFERRAL)).then(|| first_word(text).0.to_vec())
}

/// An enhanced code of that class at the start of a text (RFC 3463 §2), and the text behind it. One
/// of another class contradicts its reply and is left out.
fn split_enhanced(text: &[u8], class: u8) -> (Option<&[u8]>, &[u8]) {
    let text = text.trim_ascii();
    let end = text.iter().position(|&octet| octet == b' ').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let number = |part: &[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    let is_code = matches!(word, [b'2' | b'4' | b'5', b'.', ..])
        && word.split(|&octet| octet == b'.').count() == 3
        && word.split(|&octet| octet == b'.').all(number);
    match is_code {
        true => ((word[0] == class).then_some(word), rest.trim_ascii_start()),
        false => (None, text),
    }
}

/// At most so many octets of a text, and no part of a character of UTF-8.
fn shortened(mut text: Vec<u8>, limit: usize) -> Vec<u8> {
    if text.len() > limit {
        let is_inside = |octet: u8| octet & 0xc0 == 0x80;
        let inside = text[..=limit].iter().rev().take(4).take_while(|&&octet| is_inside(octet));
        text.truncate(limit - inside.count());
    }
    text
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_referral_is_known_by_its_enhanced_code() {
        assert_eq!(referral(b"5.2.900 a@b.test:587 Referral"), Some(b"a@b.test:587".to_vec()));
        assert_eq!(referral(b"5.2.90 a@b.test"), None);
        assert_eq!(referral(b"4.2.900 a@b.test"), None);
    }

    #[test]
    fn a_line_of_a_reply_begins_with_its_code() {
        let line = |code, last, text| Some(ReplyLine { code, last, text });
        assert_eq!(ReplyLine::parse(b"220 a b"), line(220, true, b"a b"));
        assert_eq!(ReplyLine::parse(b"220"), line(220, true, b""));
        assert_eq!(ReplyLine::parse(b"559-"), line(559, false, b""));
        let odd = [&b""[..], b"2", b"22", b"220x", b"999 x", b"-1", b"\xff\xff\xff x", b"160 x"];
        for line in odd {
            assert_eq!(ReplyLine::parse(line), None, "{line:?}");
        }
        assert_eq!(ReplyLine::parse(b" 220 a"), None);
        assert_eq!(ReplyLine::parse(b"560 a"), None);
    }

    #[test]
    fn a_refusal_has_an_enhanced_code_of_its_class() {
        assert_eq!(refusal(535, b"5.7.8 no"), b"535 5.7.8 no");
        assert_eq!(refusal(535, b"no"), b"535 5.7.8 no");
        assert_eq!(refusal(554, b"4.7.0  \x1bno"), b"554 5.7.0 no");
        assert_eq!(refusal(534, b"5.7.9"), b"535 5.7.8 Authentication failed.");
        assert_eq!(refusal(535, b"5.7.1234 no"), b"535 5.7.8 5.7.1234 no");
        assert_eq!(welcome(b"ok"), b"2.7.0 ok");
        assert_eq!(welcome(b"2.7.1"), b"2.7.1 Logged in");
        assert_eq!(welcome(b""), b"2.7.0 Logged in");
    }

    #[test]
    fn what_a_client_is_told_fits_a_line() {
        assert_eq!(refusal(535, &[b'a'; 8000]).len() + 2, REPLY_MAX);
        assert_eq!("235 ".len() + welcome(&[b'a'; 8000]).len() + 2, REPLY_MAX);
        assert_eq!(shortened("aä".into(), 3), "aä".as_bytes());
        assert_eq!(shortened("aä".into(), 2), b"a");
        assert_eq!(shortened("a€b".into(), 3), b"a");
        assert_eq!(shortened(vec![0x80; 9], 4).len(), 0);
    }
}
