//! From credentials to the name that is looked up, and from the name to a destination.
//!
//! The identifier exists for routing alone: nothing has been proved when it is formed, and the
//! backend gets the login as the client sent it unless a route says otherwise. It is the name that
//! the credentials give (`claim.rs` for tokens that speak for themselves), cut at the first master
//! user separator and brought into the listener's normal form (`normalize.rs`). The cut comes
//! first, so that a domain is a domain when it is normalised.
//!
//! [`plan`] tries [`step`]s, a source and a default in order; [`table`] is the file map and
//! [`edit`] changes its text; [`cache`] holds what other tables said, and [`auth_http`] has the
//! words of servers that judge credentials; [`place`] says which host of a destination an account
//! lands on. All are plain values that know no file and no store.

pub mod auth_http;
pub mod cache;
pub mod claim;
pub mod edit;
mod normalize;
pub mod place;
pub mod plan;
pub mod step;
pub mod table;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::{Destination, Listener};
use crate::sasl::{Login, Proof};

pub use normalize::normalize;

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
/// their place in a command or a key, they are empty where something must stand, or their name has
/// no normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadIdentifier;

/// Whom credentials name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// As they say it. It is claimed, not proved.
    pub claimed: Vec<u8>,
    /// Whether a token says it, and not the client.
    pub by_token: bool,
    /// The name to look up.
    pub identifier: Vec<u8>,
}

/// The name to look up for a login, or nothing where the login names nobody.
pub fn identify(login: &Login, listener: &Listener) -> Result<Option<Named>, BadIdentifier> {
    if let Proof::Password(credential) = &login.proof {
        let password = credential.password.expose();
        if password.is_empty() || breaks_lines(password) || breaks_lines(&credential.authzid) {
            return Err(BadIdentifier);
        }
    }
    let (claimed, by_token) = match login.user() {
        Some(user) => (user.to_vec(), false),
        None => match claim::of(login, &listener.username_claim) {
            Some(claimed) => (claimed, true),
            None => return Ok(None),
        },
    };
    if breaks_lines(&claimed) {
        return Err(BadIdentifier);
    }
    let (account, _) = split_account(&claimed, &listener.master_user_separators);
    let identifier = normalize(account, listener.normalize)?.into_owned();
    if identifier.is_empty() || !identifier.iter().all(|&octet| may_stand_in_a_key(octet)) {
        return Err(BadIdentifier);
    }
    Ok(Some(Named { claimed, by_token, identifier }))
}

/// A user name's part for routing, and the rest from the first separator on.
pub fn split_account<'a>(user: &'a [u8], separators: &[char]) -> (&'a [u8], &'a [u8]) {
    let mut buffer = [0; 4];
    let first = separators
        .iter()
        .filter_map(|separator| {
            memchr::memmem::find(user, separator.encode_utf8(&mut buffer).as_bytes())
        })
        .min();
    user.split_at(first.unwrap_or(user.len()))
}

fn breaks_lines(bytes: &[u8]) -> bool {
    bytes.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
}

pub(crate) const fn may_stand_in_a_key(octet: u8) -> bool {
    !octet.is_ascii_control() && octet != b' ' && octet != b'"'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_user_is_cut_at_the_first_separator() {
        assert_eq!(split_account(b"alice%admin*x", &['*', '%']), (&b"alice"[..], &b"%admin*x"[..]));
        assert_eq!(split_account(b"alice", &['%']), (&b"alice"[..], &b""[..]));
        assert_eq!(split_account(b"alice%admin", &[]), (&b"alice%admin"[..], &b""[..]));
        assert_eq!(split_account(b"%admin", &['%']), (&b""[..], &b"%admin"[..]));
        assert_eq!(split_account("a\u{a7}b".as_bytes(), &['\u{a7}']).0, b"a");
    }
}
