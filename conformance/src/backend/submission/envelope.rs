//! One mail transaction: sender, recipients, what has come of the message, and its delivery.
//!
//! Parameters of MAIL and RCPT are those that the offered extensions define; another one is
//! refused. A recipient is an account of this backend, its name in any case. Nothing is delivered
//! to some recipients only: either there is room in every INBOX or the message is refused. The
//! dialogue around it stands in `mod`.

use std::sync::Arc;

use super::super::date::Date;
use super::super::login::Visit;
use super::super::store::{AccountStore, Flags, INBOX, Mailbox, Store};

/// The most octets of a message.
pub(super) const MESSAGE_OCTETS: usize = 64 * 1024 * 1024;

/// The most recipients of a message.
const RECIPIENTS: usize = 1000;

/// The most octets of an address (RFC 5321 §4.5.3.1.3).
const PATH_OCTETS: usize = 256;

pub(super) const TOO_LONG: &str = "552 5.3.4 Message too long";

pub(super) struct Envelope {
    sender: String,
    recipients: Vec<Arc<Mailbox>>,
    chunks: Chunks,
}

/// How far BDAT has come.
enum Chunks {
    None,
    Some(Vec<u8>),
    /// One was refused, and only RSET helps.
    Refused,
}

impl Envelope {
    /// What stands behind MAIL, or the refusal.
    pub(super) fn begin(arguments: &str) -> Result<Self, &'static str> {
        let (sender, parameters) =
            path("FROM:", arguments).ok_or("501 5.1.7 FROM:<address> expected")?;
        for parameter in parameters.split_ascii_whitespace() {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.to_ascii_uppercase().as_str() {
                "SIZE" => match number(value) {
                    Some(size) if size <= MESSAGE_OCTETS as u64 => {}
                    Some(_) => return Err(TOO_LONG),
                    None => return Err("501 5.5.4 SIZE is a number"),
                },
                "BODY" if ["7BIT", "8BITMIME"].iter().any(|b| b.eq_ignore_ascii_case(value)) => {}
                "BODY" => return Err("501 5.5.4 BODY is 7BIT or 8BITMIME"),
                // Who the author is said to be (RFC 4954 §5): nobody is told here.
                "AUTH" => {}
                _ => return Err("555 5.5.4 Unknown parameter"),
            }
        }
        Ok(Self { sender: sender.to_owned(), recipients: Vec::new(), chunks: Chunks::None })
    }

    /// What stands behind RCPT; the reply.
    pub(super) fn recipient(&mut self, arguments: &str, store: &Store) -> &'static str {
        let Some((address, parameters)) = path("TO:", arguments) else {
            return "501 5.1.3 TO:<address> expected";
        };
        if !parameters.is_empty() {
            return "555 5.5.4 Unknown parameter";
        }
        if self.in_chunks() {
            return super::SEQUENCE;
        }
        if self.recipients.len() >= RECIPIENTS {
            return "452 4.5.3 Too many recipients";
        }
        let account = store.account(address);
        let account = account.or_else(|| store.account(&address.to_ascii_lowercase()));
        let Some(inbox) = account.and_then(|account| account.mailbox(INBOX)) else {
            return "550 5.1.1 Nobody here has this address";
        };
        // Named twice is delivered once.
        if !self.recipients.iter().any(|other| Arc::ptr_eq(other, &inbox)) {
            self.recipients.push(inbox);
        }
        "250 2.1.5 Recipient ok"
    }

    pub(super) fn has_recipients(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// Whether BDAT has begun, so that neither RCPT nor DATA is possible.
    pub(super) fn in_chunks(&self) -> bool {
        !matches!(self.chunks, Chunks::None)
    }

    /// Octets that the next chunk may have; None if there must not be one.
    pub(super) fn room_for_chunk(&self) -> Option<usize> {
        match &self.chunks {
            Chunks::None if self.has_recipients() => Some(MESSAGE_OCTETS),
            Chunks::Some(chunks) => Some(MESSAGE_OCTETS - chunks.len()),
            Chunks::None | Chunks::Refused => None,
        }
    }

    /// Adds a chunk for which there is room.
    pub(super) fn add_chunk(&mut self, chunk: Vec<u8>) {
        match &mut self.chunks {
            Chunks::Some(chunks) => chunks.extend_from_slice(&chunk),
            Chunks::None => self.chunks = Chunks::Some(chunk),
            Chunks::Refused => {}
        }
    }

    /// The message, once its last chunk has come.
    pub(super) fn take_chunks(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.chunks, Chunks::None) {
            Chunks::Some(chunks) => chunks,
            Chunks::None | Chunks::Refused => Vec::new(),
        }
    }

    /// A chunk came for which there was no room; the reply.
    pub(super) fn refuse_chunk(&mut self, last: bool) -> &'static str {
        match std::mem::replace(&mut self.chunks, Chunks::Refused) {
            Chunks::None if !self.has_recipients() => {
                self.chunks = Chunks::None;
                "554 5.5.1 No valid recipients"
            }
            Chunks::None | Chunks::Some(_) => TOO_LONG,
            Chunks::Refused if last => "503 5.5.1 The message is lost, RSET first",
            Chunks::Refused => super::SEQUENCE,
        }
    }

    /// Into every INBOX or none; the reply.
    pub(super) fn deliver(
        self,
        message: Vec<u8>,
        hello: &str,
        account: &AccountStore,
        visit: &Visit,
    ) -> String {
        if visit.shared.settings.discard_appended {
            return "250 2.0.0 Accepted, and forgotten".to_owned();
        }
        let date = Date::now();
        let mut traced = self.trace(hello, date, visit).into_bytes();
        traced.extend_from_slice(&message);
        let full = || "452 4.3.1 Too much for a backend that is for trying out".to_owned();
        let Ok(content) = account.content(traced) else {
            return full();
        };
        if self.recipients.iter().any(|inbox| inbox.room_for(1).is_err()) {
            return full();
        }
        for inbox in &self.recipients {
            inbox.add(Arc::clone(&content), Flags::default(), date);
        }
        format!("250 2.0.0 Delivered to {}", self.recipients.len())
    }

    /// Return-Path and Received. Nothing in them can end a line: what clients gave is printable.
    fn trace(&self, hello: &str, date: Date, visit: &Visit) -> String {
        let record = visit.record.locked();
        let protocol = if record.encrypted { "ESMTPSA" } else { "ESMTPA" };
        format!(
            "Return-Path: <{}>\r\nReceived: from {hello} ([{}])\r\n\tby {} with {protocol};\r\n\
             \t{}\r\n",
            self.sender,
            record.peer.ip(),
            super::HOST,
            date.field(),
        )
    }
}

/// `FROM:<address>` and the parameters behind it. A source route in front of the address is left
/// out (RFC 5321 §4.1.2); a space after the colon is passed over, as many clients send one.
fn path<'a>(keyword: &str, arguments: &'a str) -> Option<(&'a str, &'a str)> {
    let (own, rest) = arguments.split_at_checked(keyword.len())?;
    let (address, rest) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    let whole = rest.is_empty() || rest.starts_with(' ');
    let address = match address.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => address,
    };
    let fits = address.len() <= PATH_OCTETS && address.bytes().all(|byte| byte.is_ascii_graphic());
    (own.eq_ignore_ascii_case(keyword) && whole && fits).then(|| (address, rest.trim()))
}

/// What stands behind BDAT: octets, and whether they are the last.
pub(super) fn chunk(arguments: &str) -> Option<(u64, bool)> {
    let (octets, last) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let last = match last {
        "" => false,
        last if last.eq_ignore_ascii_case("LAST") => true,
        _ => return None,
    };
    Some((number(octets)?, last))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_or_refused() {
        assert_eq!(path("TO:", "to:<a@b.example>"), Some(("a@b.example", "")));
        assert_eq!(path("TO:", "TO: <a> X=1  Y"), Some(("a", "X=1  Y")));
        assert_eq!(path("TO:", "TO:<@relay.example:a@b.example>"), Some(("a@b.example", "")));
        assert_eq!(path("FROM:", "FROM:<>"), Some(("", "")));
        for wrong in ["", "TO", "TO:", "TO:a", "TO:<a", "TO:<a>b", "TO:<a b>", "TÖ:<a>", "TO:<@a>"]
        {
            assert_eq!(path("TO:", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_chunk_says_its_size() {
        assert_eq!(chunk("12"), Some((12, false)));
        assert_eq!(chunk("0 last"), Some((0, true)));
        for wrong in ["", "x", "-1", "1 LATE", "LAST", "99999999999999999999"] {
            assert_eq!(chunk(wrong), None, "{wrong}");
        }
    }
}
