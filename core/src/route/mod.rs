//! From credentials to the name that is looked up.
//!
//! The identifier exists for routing alone: the backend gets the login as the client sent it. It is
//! the user name, normalised as the listener says and cut at the first master user separator.
//! [`table`] holds the file map, [`place`] which host of a destination an account lands on.

pub mod place;
pub mod table;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::{Destination, Listener, Normalize};
use crate::sasl::{Login, Proof};

/// What a table knows of an account. "Not there" and "could not be asked" are different answers.
#[derive(Debug, Clone)]
pub enum Finding {
    /// It lives there.
    Found(Arc<Destination>),
    /// The table was asked, and does not know it.
    NotFound,
    /// The table could not be asked.
    Unavailable,
}

/// Credentials that no lookup can be made for: they hold a character that would let them leave
/// their place in a command or a key, or they are empty where something must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadIdentifier;

/// The name to look up for a login, or nothing where the login names nobody.
pub fn identifier(login: &Login, listener: &Listener) -> Result<Option<Vec<u8>>, BadIdentifier> {
    if let Proof::Password(credential) = &login.proof {
        let password = credential.password.expose();
        if password.is_empty() || breaks_lines(password) || breaks_lines(&credential.authzid) {
            return Err(BadIdentifier);
        }
    }
    let Some(user) = login.user() else { return Ok(None) };
    if breaks_lines(user) {
        return Err(BadIdentifier);
    }
    let normalized = normalize(user, listener.normalize);
    let account = cut(&normalized, &listener.master_user_separators);
    if account.is_empty() || !account.iter().all(|&octet| may_stand_in_a_key(octet)) {
        return Err(BadIdentifier);
    }
    Ok(Some(account.to_vec()))
}

/// A user name in the form in which accounts are compared; bytes that are not UTF-8 stay as they
/// are.
pub fn normalize(user: &[u8], form: Normalize) -> Vec<u8> {
    match (form, core::str::from_utf8(user)) {
        (Normalize::Lowercase, Ok(text)) => text.to_lowercase().into_bytes(),
        (Normalize::Lowercase, Err(_)) | (Normalize::None, _) => user.to_vec(),
    }
}

fn cut<'a>(user: &'a [u8], separators: &[char]) -> &'a [u8] {
    let mut buffer = [0; 4];
    let first = separators
        .iter()
        .filter_map(|separator| {
            memchr::memmem::find(user, separator.encode_utf8(&mut buffer).as_bytes())
        })
        .min();
    first.map_or(user, |at| &user[..at])
}

fn breaks_lines(bytes: &[u8]) -> bool {
    bytes.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
}

const fn may_stand_in_a_key(octet: u8) -> bool {
    !octet.is_ascii_control() && octet != b' ' && octet != b'"'
}
