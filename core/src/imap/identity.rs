//! The ID command that tells a backend who the client is (RFC 2971).
//!
//! Not here: what is told, see [`crate::forward`], and when, see `backend.rs`.
//! Invariant: the command keeps within the limits of a backend's line and of ID's list, and what
//! is ours stands in it whole.

use alloc::vec::Vec;

use super::command::{ID_PAIRS_MAX, IdFields};
use crate::forward::Identity;
use crate::line::BACKEND_COMMAND_MAX;

/// The client's own words, then ours. Of the client's those are left out for which the line or the
/// list has no room: a backend that finds them too long would refuse the login behind the one, and
/// lose who the client is with the other.
pub(super) fn write_id(client: &IdFields, identity: &Identity, out: &mut Vec<u8>) {
    let mut ours = Vec::new();
    let fields = identity.id_fields();
    let pairs_left = ID_PAIRS_MAX.saturating_sub(fields.len());
    for (name, value) in fields {
        write_field(name.as_bytes(), Some(value.as_bytes()), &mut ours);
    }
    let mut room = BACKEND_COMMAND_MAX.saturating_sub(b"I ID ()\r\n".len() + ours.len());
    out.extend_from_slice(b"I ID (");
    for (name, value) in client.pairs().take(pairs_left) {
        let mut field = Vec::new();
        write_field(name, value, &mut field);
        field.push(b' ');
        if let Some(left) = room.checked_sub(field.len()) {
            room = left;
            out.append(&mut field);
        }
    }
    out.append(&mut ours);
    out.extend_from_slice(b")\r\n");
}

/// Writes a name and its value, behind a space where something stands before them.
fn write_field(name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b' ');
    }
    write_quoted(name, out);
    out.push(b' ');
    match value {
        Some(value) => write_quoted(value, out),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes a string for which a quoted one is enough: what cannot stand in one is left out.
fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        if !octet.is_ascii_control() && octet.is_ascii() {
            out.push(octet);
        }
    }
    out.push(b'"');
}
