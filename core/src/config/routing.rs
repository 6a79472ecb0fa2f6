//! The `routing` and `mapping` tables: which account goes to which destination.
//!
//! Not here: the tables' contents and the lookup.
//! Read next: `listener`, into which the rules for user names are merged.

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec, vec::Vec};
use core::time::Duration;

use super::{
    choice::{Choice, Normalize},
    destination::Destination,
    listener::Listener,
    reader::{Section, Value},
    spelling::nearest,
    step,
};
use crate::route::step::Step;

/// Where accounts go that no table knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Speaks the protocol of every listener.
    pub default_destination: Arc<Destination>,
}

/// Where accounts go that a table knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What is tried before the table, in the file's order.
    pub steps: Vec<Arc<Step>>,
    /// The table.
    pub source: MappingSource,
    /// What becomes of a login when the table cannot be asked.
    pub on_error: OnError,
}

/// What becomes of a login when the table cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The client hears of an outage.
    Unavailable,
    /// It goes where accounts go that the table does not know.
    Default,
}

impl Choice for OnError {
    const NAMES: &'static [(&'static str, Self)] =
        &[("unavailable", Self::Unavailable), ("default", Self::Default)];
}

/// A table of accounts and destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingSource {
    /// There is none: everybody goes to the default destination.
    None,
    /// A text file with a line for each account.
    File {
        /// Its path.
        path: String,
    },
}

/// What the two tables say of user names and stores in general.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) normalize: Normalize,
    pub(super) master_user_separators: Vec<char>,
    pub(super) timeout: Duration,
    /// The claim of a token that names its user.
    pub(super) username_claim: String,
    /// Whether a step refers clients elsewhere.
    pub(super) refers: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum SourceKind {
    File,
}

impl Choice for SourceKind {
    const NAMES: &'static [(&'static str, Self)] = &[("file", Self::File)];
    const NOT_BUILT: &'static [&'static str] = &["http", "redis", "sql"];
}

/// The key that names the destination of SMTP and LMTP.
pub(super) const PASS_THROUGH: &str = "smtp_passthrough_destination";

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn read_lookup(root: &Section<'_>) -> Lookup {
    let (routing, mapping) = (root.section("routing"), root.section("mapping"));
    let separators = |value: &Value<'_>| value.list(separator);
    Lookup {
        normalize: mapping.or("normalize", Normalize::None, |value| value.choice()),
        master_user_separators: routing.or("master_user_separators", vec!['%'], separators),
        timeout: mapping.or("lookup_timeout", LOOKUP_TIMEOUT, |value| value.duration()),
        refers: step::refers(&mapping),
        username_claim: root.section("oauth").or("jwt_username_claim", "email".to_owned(), claim),
    }
}

fn claim(value: &Value<'_>) -> Option<String> {
    let claim = value.text()?;
    if claim.is_empty() || claim.chars().any(char::is_control) {
        let problem = format!("\"{}\" is no claim", claim.escape_debug());
        value.fault(problem, "write the claim's name, such as \"email\"");
        return None;
    }
    Some(claim.to_owned())
}

fn separator(value: &Value<'_>) -> Option<char> {
    let text = value.text()?;
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if !letter.is_control() && !letter.is_whitespace() => Some(letter),
        (_, _) => {
            let problem = format!("\"{}\" is no separator", text.escape_debug());
            value.fault(problem, "write one visible character");
            None
        }
    }
}

pub(super) fn read_mapping(
    mapping: &Section<'_>,
    destinations: &[Arc<Destination>],
    listeners: &[Arc<Listener>],
) -> Mapping {
    let steps = step::read(mapping, destinations, listeners);
    let on_error = mapping.or("on_error", OnError::Unavailable, |value| value.choice());
    let file = mapping.section("file");
    let source = match mapping.optional("source", |value| value.choice::<SourceKind>()) {
        Some(SourceKind::File) => {
            let hint = "name the map file in [mapping.file], or take source away";
            let path = file.required("path", hint, Value::file).unwrap_or_default();
            MappingSource::File { path }
        }
        None => {
            if mapping.holds("file") && !mapping.holds("source") {
                let problem = "has no effect, since mapping.source does not name it";
                mapping.fault(&["file"], problem, "add source = \"file\" to [mapping]");
            }
            // Read all the same, so that its faults are reported.
            file.optional("path", Value::file);
            MappingSource::None
        }
    };
    Mapping { steps, source, on_error }
}

/// Where SMTP and LMTP are carried to, if the file says so.
pub(super) fn read_pass_through(
    root: &Section<'_>,
    destinations: &[Arc<Destination>],
) -> Option<Arc<Destination>> {
    let named = |value: &Value<'_>| named(value, destinations);
    root.section("routing").optional(PASS_THROUGH, named)
}

/// The default destination; none, and a fault, if no destination has its name.
pub(super) fn read_routing(
    root: &Section<'_>,
    destinations: &[Arc<Destination>],
) -> Option<Routing> {
    let hint = match destinations {
        [only] => format!("write [routing] with default_destination = \"{}\"", only.name),
        [] | [_, ..] => "name a destination in [routing]".to_owned(),
    };
    let routing = root.section("routing");
    let named = |value: &Value<'_>| named(value, destinations);
    let default_destination = routing.required("default_destination", &hint, named)?;
    Some(Routing { default_destination })
}

/// The destination that a value names; none, and a fault, if there is none of that name.
pub(super) fn named(
    value: &Value<'_>,
    destinations: &[Arc<Destination>],
) -> Option<Arc<Destination>> {
    let name = value.text()?;
    let found = destinations.iter().find(|destination| destination.name == name);
    if found.is_none() {
        let names = destinations.iter().map(|destination| destination.name.as_str());
        let remedy = match nearest(name, names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("add [destination.{name}], or name another"),
        };
        value.fault(format!("there is no destination \"{name}\""), &remedy);
    }
    found.cloned()
}
