//! The `capabilities` tables: what a listener tells and accepts before login.
//!
//! Not here: when a capability is told; the frontends put mechanisms, `STARTTLS` and its like to
//! the list, by the state of the connection.
//! Invariants: no text holds a control character; every capability of IMAP is an atom of RFC 9051
//! §9, every one of POP3 a tag with arguments of RFC 2449 §3, every Sieve extension a word that may
//! be quoted, every one of Submission a keyword with parameters of RFC 5321 §4.1.1.1; so all can be
//! sent as they are.
//! Read next: `listener`, which may override these.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use super::{
    choice::Protocol,
    reader::{Section, Value},
};
use crate::sasl::Mechanism;

/// What listeners tell and accept, by what they speak.
pub(super) struct ByProtocol {
    imap: Capabilities,
    pop3: Capabilities,
    managesieve: Capabilities,
    submission: Capabilities,
}

/// What the listeners of a protocol tell and accept, unless their own tables say otherwise.
pub(super) struct Capabilities {
    pub(super) advertise: Vec<String>,
    /// The list is what backends have in common, once that is known.
    pub(super) auto: bool,
    pub(super) mechanisms: Vec<Mechanism>,
    pub(super) cleartext_without_tls: bool,
    pub(super) banner: String,
    pub(super) implementation: String,
}

const IMAP_ADVERTISE: [&str; 7] =
    ["IMAP4rev2", "IMAP4rev1", "SASL-IR", "LITERAL+", "ENABLE", "ID", "UTF8=ACCEPT"];
const POP3_ADVERTISE: [&str; 5] = ["TOP", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UIDL"];
/// What is common among servers, less what needs more words of theirs (enotify).
const SIEVE: [&str; 19] = [
    "body",
    "comparator-i;ascii-numeric",
    "copy",
    "date",
    "encoded-character",
    "envelope",
    "environment",
    "fileinto",
    "ihave",
    "imap4flags",
    "include",
    "index",
    "mailbox",
    "regex",
    "reject",
    "relational",
    "subaddress",
    "vacation",
    "variables",
];
const SUBMISSION_ADVERTISE: [&str; 3] = ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"];
const BANNER: &str = "Gatepost ready.";
const IMPLEMENTATION: &str = "Gatepost";
const MECHANISMS: [Mechanism; 3] = [Mechanism::Plain, Mechanism::OAuthBearer, Mechanism::XOAuth2];

/// Octets of a text that is sent to clients, so that its line stays within any client's limit.
const LINE_OCTETS_MAX: usize = 512;
/// Octets of one capability.
const CAPABILITY_OCTETS_MAX: usize = 64;

pub(super) fn read(section: &Section<'_>) -> ByProtocol {
    ByProtocol {
        imap: read_one(
            &section.section("imap"),
            Protocol::Imap,
            "advertise",
            &IMAP_ADVERTISE,
            advertise_imap,
        ),
        pop3: read_one(
            &section.section("pop3"),
            Protocol::Pop3,
            "advertise",
            &POP3_ADVERTISE,
            advertise_pop3,
        ),
        managesieve: read_managesieve(&section.section("managesieve")),
        submission: read_one(
            &section.section("submission"),
            Protocol::Submission,
            "ehlo",
            &SUBMISSION_ADVERTISE,
            advertise_submission,
        ),
    }
}

impl ByProtocol {
    /// Those of a protocol that a listener can speak.
    pub(super) const fn of(&self, protocol: Protocol) -> &Capabilities {
        match protocol {
            Protocol::Pop3 => &self.pop3,
            Protocol::ManageSieve => &self.managesieve,
            Protocol::Submission => &self.submission,
            Protocol::Imap | Protocol::Smtp | Protocol::Lmtp => &self.imap,
        }
    }
}

fn read_managesieve(section: &Section<'_>) -> Capabilities {
    let told =
        read_one(section, Protocol::ManageSieve, "sieve", &SIEVE, |value| listed(value, extension));
    let implementation = section.or("implementation", IMPLEMENTATION.to_owned(), banner);
    Capabilities { implementation, ..told }
}

/// `key`: the one that lists what is told.
fn read_one(
    section: &Section<'_>,
    protocol: Protocol,
    key: &'static str,
    default: &[&str],
    advertise: fn(&Value<'_>) -> Option<Vec<String>>,
) -> Capabilities {
    let default = || default.iter().map(|token| (*token).to_owned()).collect();
    let auto = section.value(key).is_some_and(|value| value.is("auto"));
    Capabilities {
        advertise: match auto {
            true => minimal(protocol),
            false => section.optional(key, advertise).unwrap_or_else(default),
        },
        auto,
        mechanisms: section.or("sasl", MECHANISMS.to_vec(), mechanisms),
        cleartext_without_tls: section.or("allow_plain_auth_without_tls", false, Value::boolean),
        banner: section.or("banner", BANNER.to_owned(), banner),
        implementation: IMPLEMENTATION.to_owned(),
    }
}

/// Reads a list of mechanisms that is not empty.
pub(super) fn mechanisms(value: &Value<'_>) -> Option<Vec<Mechanism>> {
    let mechanisms = value.list(mechanism)?;
    if mechanisms.is_empty() && value.is_empty_list() {
        value.fault("names no mechanism", "remove the key to offer the usual ones");
    }
    Some(mechanisms)
}

fn mechanism(value: &Value<'_>) -> Option<Mechanism> {
    let text = value.text()?;
    let found = Mechanism::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(text));
    if found.is_none() {
        value.not_a_choice(text, Mechanism::ALL.iter().map(|known| known.name()));
    }
    found
}

/// Reads a text that clients are told.
pub(super) fn banner(value: &Value<'_>) -> Option<String> {
    let banner = line(value)?;
    if banner.is_empty() {
        value.fault("is empty", "clients need a text; remove the key for the usual one");
    }
    Some(banner)
}

/// Reads a text that is sent to clients within one line.
pub(super) fn line(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.chars().any(char::is_control) {
        let problem = "holds a control character, which would end the line or forge another";
        value.fault(problem, "write it in one line of visible characters");
        return None;
    }
    if text.len() > LINE_OCTETS_MAX {
        let remedy = format!("shorten it to {LINE_OCTETS_MAX} octets");
        value.fault(format!("is {} octets long", text.len()), &remedy);
        return None;
    }
    Some(text.to_owned())
}

fn advertise_imap(value: &Value<'_>) -> Option<Vec<String>> {
    let capabilities = listed(value, capability)?;
    let holds = |name: &str| capabilities.iter().any(|held| held.eq_ignore_ascii_case(name));
    if holds("LITERAL+") && holds("LITERAL-") {
        let problem = "LITERAL+ and LITERAL- exclude each other";
        value.fault(problem, "list one of them");
    }
    if !holds("IMAP4rev1") && !holds("IMAP4rev2") {
        let problem = "clients need IMAP4rev1 or IMAP4rev2 in the list";
        value.fault(problem, "list both, or the one that the backends speak");
    }
    Some(capabilities)
}

fn advertise_pop3(value: &Value<'_>) -> Option<Vec<String>> {
    listed(value, capability_of_pop3)
}

fn advertise_submission(value: &Value<'_>) -> Option<Vec<String>> {
    listed(value, keyword_of_ehlo)
}

/// Reads a list, each item by the rule for it.
fn listed(value: &Value<'_>, rule: Rule) -> Option<Vec<String>> {
    value.list(|item| {
        let text = item.text()?;
        match rule(text) {
            Ok(()) => Some(text.to_owned()),
            Err(Unfit { problem, remedy }) => {
                item.fault(problem, remedy);
                None
            }
        }
    })
}

/// What may be told before login.
type Rule = fn(&str) -> Result<(), Unfit>;

/// What may not be told, and why.
struct Unfit {
    problem: String,
    remedy: &'static str,
}

impl Unfit {
    fn own(text: &str, problem: &str) -> Self {
        Self { problem: format!("\"{text}\" {problem}"), remedy: "take it out of the list" }
    }
}

/// Whether an item may stand in the list that clients of a protocol are told before login; of
/// POP3's, those that a configuration may promise for its backends are not for others to promise.
pub(crate) fn is_advertisable(protocol: Protocol, item: &str) -> bool {
    let rule: Rule = match protocol {
        Protocol::Imap => capability,
        Protocol::Pop3 => {
            let modes = ["UTF8", "LANG"];
            let tag = item.split(' ').next().unwrap_or_default();
            if modes.iter().any(|mode| mode.eq_ignore_ascii_case(tag)) {
                return false;
            }
            capability_of_pop3
        }
        Protocol::ManageSieve => extension,
        Protocol::Submission => keyword_of_ehlo,
        Protocol::Smtp | Protocol::Lmtp => return false,
    };
    rule(item).is_ok()
}

/// What may be told of any backend: the proxy itself sees to it.
pub(crate) fn minimal(protocol: Protocol) -> Vec<String> {
    let items: &[&str] = match protocol {
        Protocol::Imap => &["IMAP4rev1", "SASL-IR", "ID"],
        Protocol::Pop3 => &["RESP-CODES", "AUTH-RESP-CODE"],
        Protocol::Submission => &["ENHANCEDSTATUSCODES"],
        Protocol::ManageSieve | Protocol::Smtp | Protocol::Lmtp => &[],
    };
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn capability(text: &str) -> Result<(), Unfit> {
    let upper = text.to_ascii_uppercase();
    let special = |octet: u8| b"(){%*\"\\]".contains(&octet);
    let atom = (1..=CAPABILITY_OCTETS_MAX).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_graphic() && !special(octet));
    if !atom {
        let problem = format!("\"{}\" is no capability", text.escape_debug());
        let remedy = "write one word of RFC 9051's atoms, such as \"IMAP4rev2\"";
        return Err(Unfit { problem, remedy });
    }
    let problem = match upper.as_str() {
        "STARTTLS" | "LOGINDISABLED" => "is told by the proxy itself, when it is so",
        "LOGIN-REFERRALS" => "is told by the proxy itself, where a mapping step refers",
        "UNAUTHENTICATE" => "cannot be honoured, since a session stays with its backend",
        _ if upper.starts_with("AUTH=") => "is told by the proxy itself, from the key sasl",
        _ if upper.starts_with("COMPRESS=") => "cannot be honoured before login",
        _ => return Ok(()),
    };
    Err(Unfit::own(text, problem))
}

/// A tag, perhaps with arguments, all of visible characters with one space between two.
fn capability_of_pop3(text: &str) -> Result<(), Unfit> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_graphic());
    let is_line = text.len() <= CAPABILITY_OCTETS_MAX && text.split(' ').all(is_word);
    if !is_line || text.starts_with('.') {
        let problem = format!("\"{}\" is no capability", text.escape_debug());
        let remedy = "write a tag of RFC 2449 with its arguments, such as \"EXPIRE 30\"";
        return Err(Unfit { problem, remedy });
    }
    let tag = text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    let problem = match tag.as_str() {
        "USER" | "STLS" => "is told by the proxy itself, when it is so",
        "SASL" => "is told by the proxy itself, from the key sasl",
        "XCLIENT" => "is not for clients to use",
        _ => return Ok(()),
    };
    Err(Unfit::own(text, problem))
}

/// A Sieve extension: a word that can stand in a quoted string as it is.
fn extension(text: &str) -> Result<(), Unfit> {
    let fit = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'"' | b'\\');
    if !(1..=CAPABILITY_OCTETS_MAX).contains(&text.len()) || !text.bytes().all(fit) {
        let problem = format!("\"{}\" is no Sieve extension", text.escape_debug());
        return Err(Unfit { problem, remedy: "write its name in one word, such as \"fileinto\"" });
    }
    Ok(())
}

/// A keyword, perhaps with parameters of visible characters, with one space between two.
fn keyword_of_ehlo(text: &str) -> Result<(), Unfit> {
    let mut words = text.split(' ');
    let keyword = words.next().unwrap_or_default();
    let is_keyword = !keyword.is_empty()
        && !keyword.starts_with('-')
        && keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_graphic());
    if !is_keyword || text.len() > CAPABILITY_OCTETS_MAX || !words.all(is_word) {
        let problem = format!("\"{}\" is no keyword", text.escape_debug());
        let remedy = "write a keyword of RFC 5321 with its parameters, such as \"SIZE 52428800\"";
        return Err(Unfit { problem, remedy });
    }
    let problem = match keyword.to_ascii_uppercase().as_str() {
        "STARTTLS" => "is told by the proxy itself, when it is so",
        "AUTH" => "is told by the proxy itself, from the key sasl",
        "XCLIENT" | "XFORWARD" => "is not for clients to use",
        _ => return Ok(()),
    };
    Err(Unfit::own(text, problem))
}
