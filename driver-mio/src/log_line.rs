//! The lines that operators read: one for each login, one for each end of a session.
//!
//! A line is a list of fields, written as `key=value` or as a JSON object. What came from outside
//! (user names) is escaped in both, so that no name can break a line or pretend to be another
//! field. Credentials never come near this file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use gatepost_core::config::{Destination, Host, LogFormat, Protocol};
use gatepost_core::health::Change;
use gatepost_core::probe::Trouble;
use gatepost_core::{AttemptFault, Close, Refusal, State};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::worker::connection::Record;

/// A record of the log as a JSON object: the lines of sessions, which are objects already, with
/// time and level added, and any other message as a field of one.
pub fn json_line(record: &log::Record<'_>) -> String {
    let message = record.args().to_string();
    let mut object = match serde_json::from_str(&message) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::from_iter([("message".to_owned(), Value::from(message))]),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    object.insert("time_ms".to_owned(), Value::from(now.as_millis() as u64));
    object.insert("level".to_owned(), Value::from(record.level().as_str().to_lowercase()));
    json(&object)
}

/// One line under construction.
struct Line {
    event: &'static str,
    fields: Vec<(&'static str, Field)>,
}

/// The value of a field.
#[derive(Serialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Number(u64),
}

/// A login was accepted, and the session handed over.
pub(crate) fn accepted(record: &Record, format: LogFormat) {
    if log::log_enabled!(log::Level::Info) {
        log::info!("{}", login("login", record).render(format));
    }
}

/// A destination is to be told who the client is, and does not offer the means.
pub(crate) fn forwarding_not_offered(destination: &Destination, format: LogFormat) {
    let mut line = Line { event: "forwarding-not-offered", fields: Vec::new() };
    line.text("destination", destination.name.as_str());
    log::warn!("{}", line.render(format));
}

/// A login was refused.
pub(crate) fn refused(record: &Record, refusal: Refusal, format: LogFormat) {
    if log::log_enabled!(log::Level::Info) {
        let mut line = login("refused", record);
        line.text("refusal", refusal_name(refusal));
        log::info!("{}", line.render(format));
    }
}

/// A host of a destination is out of service, or in it again.
pub(crate) fn host_changed(
    (destination, host, protocol): (&Destination, &Host, Protocol),
    change: Change,
    format: LogFormat,
) {
    let event = match change {
        Change::Tripped => "host-tripped",
        Change::Recovered => "host-recovered",
        Change::ProbedDown => "host-down",
        Change::ProbedUp => "host-up",
    };
    let mut line = Line { event, fields: Vec::new() };
    line.text("destination", destination.name.as_str());
    line.text("host", &*host.label);
    line.text("protocol", protocol.name());
    log::warn!("{}", line.render(format));
}

/// A probe did not come to a good end.
pub(crate) fn probe_failed(
    (destination, host, protocol): (&Destination, &Host, Protocol),
    trouble: Trouble,
    state: State,
    format: LogFormat,
) {
    let mut line = Line { event: "probe-failed", fields: Vec::new() };
    line.text("destination", destination.name.as_str());
    line.text("host", &*host.label);
    line.text("protocol", protocol.name());
    let fault = match trouble {
        Trouble::Fault(fault) => fault.to_string(),
        Trouble::Refused => "refused".to_owned(),
    };
    line.text("fault", fault);
    line.text("state", state.to_string());
    log::warn!("{}", line.render(format));
}

/// A backend referred a login to another host.
pub(crate) fn referred(record: &Record, to: &Host, followed: bool, format: LogFormat) {
    let level = if followed { log::Level::Info } else { log::Level::Warn };
    if log::log_enabled!(level) {
        let mut line = login("referred", record);
        line.text("to", &*to.label);
        line.text("followed", if followed { "yes" } else { "no" });
        log::log!(level, "{}", line.render(format));
    }
}

/// An attempt at a backend failed.
pub(crate) fn attempt_failed(
    record: &Record,
    fault: AttemptFault,
    state: State,
    format: LogFormat,
) {
    if log::log_enabled!(log::Level::Warn) {
        let mut line = login("attempt-failed", record);
        line.text("fault", fault.to_string());
        line.text("state", state.to_string());
        if let Some(detail) = &record.detail {
            line.text("detail", detail.to_string());
        }
        log::warn!("{}", line.render(format));
    }
}

/// A session is over.
pub(crate) fn ended(close: &Close, record: &Record, format: LogFormat) {
    if !log::log_enabled!(log::Level::Info) {
        return;
    }
    let mut line = login("end", record);
    line.text("by", close.by.to_string());
    line.text("reason", close.reason.to_string());
    line.text("state", close.state.to_string());
    if let Some(detail) = &record.detail {
        line.text("detail", detail.to_string());
    }
    if let Some(side) = record.cut_short {
        line.text("no_close_notify", side);
    }
    line.number("ms", u64::try_from(close.after.as_millis()).unwrap_or(u64::MAX));
    if let Some(at) = record.logged_in {
        let millis = at.since(record.accepted).as_millis();
        line.number("login_ms", u64::try_from(millis).unwrap_or(u64::MAX));
    }
    line.number("from_client", record.octets[0]);
    line.number("from_backend", record.octets[1]);
    log::info!("{}", line.render(format));
}

fn login(event: &'static str, record: &Record) -> Line {
    let mut line = Line { event, fields: Vec::with_capacity(20) };
    line.text("session", record.session());
    line.text("listener", record.listener.name.as_str());
    line.text("protocol", record.listener.protocol.name());
    line.text("client", record.client.to_string());
    if record.client != record.peer.client {
        line.text("via", record.peer.client.to_string());
        if let Some(session) = &record.via_session {
            line.text("via_session", String::from_utf8_lossy(session));
        }
    }
    if !record.user.is_empty() {
        line.text("user", String::from_utf8_lossy(&record.user));
    }
    if let Some(mechanism) = record.mechanism {
        line.text("mechanism", mechanism.name());
    }
    line.text("client_tls", tls_name(record.client_tls));
    if let Some(destination) = &record.destination {
        line.text("destination", destination.name.as_str());
        if let Some(host) = &record.host {
            line.text("host", &*host.label);
        }
        line.text("backend_tls", tls_name(record.backend_tls));
    }
    if let Some(address) = record.address {
        line.text("address", address.to_string());
    }
    line
}

fn tls_name(tls: Option<(&'static str, &'static str)>) -> String {
    tls.map_or_else(|| "none".to_owned(), |(version, cipher)| format!("{version}/{cipher}"))
}

const fn refusal_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Unavailable => "unavailable",
        Refusal::Configuration => "configuration",
        Refusal::Credentials => "credentials",
        Refusal::Denied => "denied",
        Refusal::Referred => "referred",
        Refusal::TlsNeeded => "tls-needed",
        Refusal::Mechanism => "mechanism",
        Refusal::TooManyConnections => "too-many-connections",
        Refusal::TooManyAttempts => "too-many-attempts",
        Refusal::BadCharacters => "bad-characters",
        Refusal::Kicked => "kicked",
        Refusal::ShuttingDown => "shutting-down",
        Refusal::TimedOut => "timed-out",
    }
}

impl Line {
    fn text(&mut self, key: &'static str, value: impl Into<String>) {
        self.fields.push((key, Field::Text(value.into())));
    }

    fn number(&mut self, key: &'static str, value: u64) {
        self.fields.push((key, Field::Number(value)));
    }

    fn render(self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.render_text(),
            LogFormat::Json => self.render_json(),
        }
    }

    fn render_text(&self) -> String {
        let mut text = self.event.to_owned();
        for (key, value) in &self.fields {
            let written = match value {
                Field::Text(word) => write!(text, " {key}={}", Bare(word)),
                Field::Number(number) => write!(text, " {key}={number}"),
            };
            debug_assert!(written.is_ok(), "a string takes everything");
        }
        text
    }

    fn render_json(self) -> String {
        let mut object = BTreeMap::from([("event", Field::Text(self.event.to_owned()))]);
        object.extend(self.fields);
        json(&object)
    }
}

fn json(object: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, AsciiOnly);
    match object.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("{{\"event\":\"unprintable\",\"error\":\"{error}\"}}"),
    }
}

/// A word that stays one word: what would end it is escaped, everything else is itself.
struct Bare<'a>(&'a str);

impl std::fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            let breaks = character.is_control()
                || character.is_whitespace()
                || matches!(character, '"' | '\\' | '=' | '\u{200e}'..='\u{202e}');
            if breaks {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// JSON without octets beyond ASCII, so that nothing in a name can reorder or hide the line.
struct AsciiOnly;

impl serde_json::ser::Formatter for AsciiOnly {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> std::io::Result<()>
    where
        W: ?Sized + std::io::Write,
    {
        for character in fragment.chars() {
            if character.is_ascii() && !character.is_ascii_control() {
                write!(writer, "{character}")?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(user: &str) -> Line {
        let mut line = Line { event: "login", fields: Vec::new() };
        line.text("user", user);
        line.number("ms", 7);
        line
    }

    #[test]
    fn a_name_can_neither_end_its_line_nor_pretend_to_be_a_field() {
        let text = line("x by=client\r\nlogin user=\u{1b}[2J\"").render(LogFormat::Text);
        assert_eq!(
            text,
            "login user=x\\u{20}by\\u{3d}client\\u{d}\\u{a}login\\u{20}user\\u{3d}\
             \\u{1b}[2J\\u{22} ms=7"
        );
        assert_eq!(line("a@b").render(LogFormat::Text), "login user=a@b ms=7");
    }

    #[test]
    fn json_is_one_line_of_ascii() {
        let json = line("\u{e4}\n\"\u{1f600}\u{202e}").render(LogFormat::Json);
        assert!(json.is_ascii() && !json.contains('\n'), "{json}");
        let read: Value = serde_json::from_str(&json).unwrap_or_default();
        assert_eq!(read["user"], "\u{e4}\n\"\u{1f600}\u{202e}");
        assert_eq!(read["ms"], 7);
    }
}
