//! The Sieve scripts of one account: kept under their names, at most one of them active.
//!
//! A script is text here and nothing more: nobody runs it. Bounded by the constants below and by
//! the octets of the whole store. Who puts scripts in and takes them out is `managesieve`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::Content;

/// The most scripts of one account.
pub const SCRIPTS: usize = 100;

/// The most octets of a script.
pub const SCRIPT_OCTETS: usize = 1024 * 1024;

/// Why it was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScriptFault {
    Missing,
    Exists,
    /// The active script cannot be deleted.
    Active,
    TooMany,
}

#[derive(Default)]
pub(super) struct Scripts {
    list: BTreeMap<String, Arc<Content>>,
    /// A name in the list.
    active: Option<String>,
}

impl Scripts {
    /// Names in order, and whether each is the active one.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.list.keys().map(|name| (name.as_str(), self.active.as_ref() == Some(name)))
    }

    pub(super) fn content(&self, name: &str) -> Result<Arc<Content>, ScriptFault> {
        self.list.get(name).cloned().ok_or(ScriptFault::Missing)
    }

    /// Whether there is room for a script of this name.
    pub(super) fn room_for(&self, name: &str) -> Result<(), ScriptFault> {
        let within = self.list.len() < SCRIPTS || self.list.contains_key(name);
        if within { Ok(()) } else { Err(ScriptFault::TooMany) }
    }

    /// Adds a script or replaces one, which stays active if it was.
    pub(super) fn put(&mut self, name: &str, content: Arc<Content>) -> Result<(), ScriptFault> {
        self.room_for(name)?;
        self.list.insert(name.to_owned(), content);
        Ok(())
    }

    /// Makes this script the active one; none of them if there is no name.
    pub(super) fn activate(&mut self, name: Option<&str>) -> Result<(), ScriptFault> {
        if name.is_some_and(|name| !self.list.contains_key(name)) {
            return Err(ScriptFault::Missing);
        }
        self.active = name.map(str::to_owned);
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), ScriptFault> {
        if self.active.as_deref() == Some(name) {
            return Err(ScriptFault::Active);
        }
        self.list.remove(name).map(drop).ok_or(ScriptFault::Missing)
    }

    /// The active script stays active under its new name.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), ScriptFault> {
        if !self.list.contains_key(from) {
            return Err(ScriptFault::Missing);
        }
        if self.list.contains_key(to) {
            return Err(ScriptFault::Exists);
        }
        if let Some(content) = self.list.remove(from) {
            self.list.insert(to.to_owned(), content);
        }
        if self.active.as_deref() == Some(from) {
            self.active = Some(to.to_owned());
        }
        Ok(())
    }
}
