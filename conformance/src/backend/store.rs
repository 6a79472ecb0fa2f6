//! The mail: accounts, their mailboxes and scripts, the messages; in memory, shared by sessions.
//!
//! A mailbox outlives its deletion for as long as a session has it selected. Messages stand in the
//! order of their UIDs, and UIDs are never used twice. Every change of a mailbox raises its version
//! and wakes who waits for it; each message remembers the version at which its flags last changed,
//! so that a session can tell what is news to it. It knows no protocol, and nothing of it survives
//! the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use super::date::Date;
use super::dots::Wire;
use super::message;
use super::scripts::Scripts;

/// The most octets of messages that one backend keeps.
pub const STORE_OCTETS: usize = 1 << 30;

/// The most mailboxes of one account.
pub const MAILBOXES: usize = 1000;

/// The most messages of one mailbox.
pub const MESSAGES: usize = 1_000_000;

/// The most flags of one message.
pub(super) const FLAGS: usize = 64;

pub(super) const INBOX: &str = "INBOX";

/// Why the store did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreFault {
    Missing,
    Exists,
    /// The name is empty, or the operation is not for INBOX.
    Name,
    /// One of the limits above.
    Full,
}

pub(super) struct Store {
    accounts: BTreeMap<String, Arc<AccountStore>>,
    used: Arc<AtomicUsize>,
}

impl Store {
    /// Every user begins with an empty INBOX.
    pub(super) fn new<'a>(users: impl Iterator<Item = &'a str>) -> Self {
        let used = Arc::new(AtomicUsize::new(0));
        let accounts = users.map(|user| (user.to_owned(), AccountStore::new(Arc::clone(&used))));
        Self { accounts: accounts.collect(), used }
    }

    pub(super) fn account(&self, user: &str) -> Option<Arc<AccountStore>> {
        self.accounts.get(user).cloned()
    }

    /// Octets of all messages.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What belongs to one user.
pub(super) struct AccountStore {
    folders: Mutex<Folders>,
    scripts: Mutex<Scripts>,
    used: Arc<AtomicUsize>,
}

struct Folders {
    mailboxes: BTreeMap<String, Arc<Mailbox>>,
    subscribed: BTreeSet<String>,
    next_validity: u32,
}

impl AccountStore {
    fn new(used: Arc<AtomicUsize>) -> Arc<Self> {
        // Clients that remember an earlier run must see that this is another mailbox.
        let first_validity = u32::try_from(Date::now().day() * 100).unwrap_or(1).max(1);
        let first_validity = first_validity.saturating_add(std::process::id() % 10_000);
        let inbox = Arc::new(Mailbox::new(first_validity));
        let folders = Folders {
            mailboxes: BTreeMap::from([(INBOX.to_owned(), inbox)]),
            subscribed: BTreeSet::from([INBOX.to_owned()]),
            next_validity: first_validity.saturating_add(1),
        };
        Arc::new(Self { folders: Mutex::new(folders), scripts: Mutex::default(), used })
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Sieve scripts, locked: hold them for one command at most.
    pub(super) fn scripts(&self) -> MutexGuard<'_, Scripts> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mailbox(&self, name: &str) -> Option<Arc<Mailbox>> {
        self.folders().mailboxes.get(&canonical(name)).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.folders().mailboxes.keys().cloned().collect()
    }

    pub(super) fn subscribed(&self) -> Vec<String> {
        self.folders().subscribed.iter().cloned().collect()
    }

    pub(super) fn create(&self, name: &str) -> Result<(), StoreFault> {
        let name = canonical(name.strip_suffix('/').unwrap_or(name));
        let mut folders = self.folders();
        if name.is_empty() || name.len() > 1024 {
            return Err(StoreFault::Name);
        }
        if folders.mailboxes.contains_key(&name) {
            return Err(StoreFault::Exists);
        }
        if folders.mailboxes.len() >= MAILBOXES {
            return Err(StoreFault::Full);
        }
        let validity = folders.next_validity;
        folders.next_validity = validity.saturating_add(1);
        folders.mailboxes.insert(name, Arc::new(Mailbox::new(validity)));
        Ok(())
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), StoreFault> {
        let name = canonical(name);
        if name == INBOX {
            return Err(StoreFault::Name);
        }
        let removed = self.folders().mailboxes.remove(&name);
        removed.map(drop).ok_or(StoreFault::Missing)
    }

    /// Renames a mailbox and what is below it. INBOX stays what it is.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StoreFault> {
        let (from, to) = (canonical(from), canonical(to));
        let mut folders = self.folders();
        if from == INBOX || to.is_empty() || to.len() > 1024 {
            return Err(StoreFault::Name);
        }
        if !folders.mailboxes.contains_key(&from) {
            return Err(StoreFault::Missing);
        }
        let below = format!("{from}/");
        if folders.mailboxes.contains_key(&to) || to.starts_with(&below) {
            return Err(StoreFault::Exists);
        }
        let moving: Vec<String> = folders.mailboxes.keys().cloned().collect();
        for old in moving.into_iter().filter(|old| *old == from || old.starts_with(&below)) {
            let new = format!("{to}{}", &old[from.len()..]);
            if let Some(mailbox) = folders.mailboxes.remove(&old) {
                folders.mailboxes.insert(new, mailbox);
            }
        }
        Ok(())
    }

    pub(super) fn subscribe(&self, name: &str) -> Result<(), StoreFault> {
        let mut folders = self.folders();
        if folders.subscribed.len() >= MAILBOXES || name.len() > 1024 {
            return Err(StoreFault::Full);
        }
        folders.subscribed.insert(canonical(name));
        Ok(())
    }

    pub(super) fn unsubscribe(&self, name: &str) {
        self.folders().subscribed.remove(&canonical(name));
    }

    /// Takes the octets of a message or script into account; they are given back when the last who
    /// holds it drops it.
    pub(super) fn content(&self, bytes: Vec<u8>) -> Result<Arc<Content>, StoreFault> {
        let before = self.used.fetch_add(bytes.len(), Ordering::Relaxed);
        let within = before.saturating_add(bytes.len()) <= STORE_OCTETS;
        // Even a content that is refused gives its octets back when it is dropped.
        let content = Content::new(bytes, Arc::clone(&self.used));
        if within { Ok(Arc::new(content)) } else { Err(StoreFault::Full) }
    }
}

/// INBOX in any case is INBOX; all other names mean what they say.
pub(super) fn canonical(name: &str) -> String {
    if name.eq_ignore_ascii_case(INBOX) { INBOX.to_owned() } else { name.to_owned() }
}

pub(super) struct Mailbox {
    validity: u32,
    messages: Mutex<Messages>,
    changes: watch::Sender<u64>,
}

impl Mailbox {
    fn new(validity: u32) -> Self {
        let messages = Messages { list: Vec::new(), next_uid: 1, version: 0 };
        Self { validity, messages: Mutex::new(messages), changes: watch::Sender::new(0) }
    }

    /// UIDVALIDITY.
    pub(super) fn validity(&self) -> u32 {
        self.validity
    }

    /// The messages, locked: hold it for one command at most.
    pub(super) fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes `messages` and wakes who waits for news.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Messages) -> T) -> T {
        let mut messages = self.messages();
        let result = change(&mut messages);
        let version = messages.version;
        self.changes.send_if_modified(|told| std::mem::replace(told, version) != version);
        result
    }

    /// Tells of every change from here on.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether `more` messages are within [`MESSAGES`].
    pub(super) fn room_for(&self, more: usize) -> Result<(), StoreFault> {
        let within = self.messages().list.len() + more <= MESSAGES;
        if within { Ok(()) } else { Err(StoreFault::Full) }
    }

    /// Adds a message; its UID is the answer.
    pub(super) fn add(&self, content: Arc<Content>, flags: Flags, date: Date) -> u32 {
        self.change(|messages| {
            messages.version += 1;
            let uid = messages.next_uid;
            messages.next_uid = uid.saturating_add(1);
            let changed = messages.version;
            messages.list.push(Message { uid, flags, date, content, changed });
            uid
        })
    }
}

/// The content of a mailbox, in the order of UIDs.
pub(super) struct Messages {
    list: Vec<Message>,
    next_uid: u32,
    version: u64,
}

impl Messages {
    pub(super) fn list(&self) -> &[Message] {
        &self.list
    }

    pub(super) fn next_uid(&self) -> u32 {
        self.next_uid
    }

    /// Raised by every change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn find(&self, uid: u32) -> Option<&Message> {
        let index = self.list.binary_search_by_key(&uid, |message| message.uid).ok()?;
        self.list.get(index)
    }

    /// Gives the message other flags, if they are others.
    pub(super) fn set_flags(&mut self, uid: u32, change: impl FnOnce(&mut Flags)) {
        let Ok(index) = self.list.binary_search_by_key(&uid, |message| message.uid) else {
            return;
        };
        let mut flags = self.list[index].flags.clone();
        change(&mut flags);
        if flags != self.list[index].flags {
            self.version += 1;
            self.list[index].flags = flags;
            self.list[index].changed = self.version;
        }
    }

    /// Removes what `gone` says.
    pub(super) fn remove(&mut self, mut gone: impl FnMut(&Message) -> bool) {
        let before = self.list.len();
        self.list.retain(|message| !gone(message));
        if self.list.len() != before {
            self.version += 1;
        }
    }
}

#[derive(Clone)]
pub(super) struct Message {
    pub(super) uid: u32,
    pub(super) flags: Flags,
    pub(super) date: Date,
    pub(super) content: Arc<Content>,
    /// The mailbox's version when the flags last changed.
    pub(super) changed: u64,
}

/// The octets of a message, and what is expensive to find out about them, found out once.
pub(super) struct Content {
    bytes: Vec<u8>,
    header_length: OnceLock<usize>,
    body_lines: OnceLock<usize>,
    wire: OnceLock<Wire>,
    used: Arc<AtomicUsize>,
}

impl Content {
    fn new(bytes: Vec<u8>, used: Arc<AtomicUsize>) -> Self {
        Self {
            bytes,
            header_length: OnceLock::new(),
            body_lines: OnceLock::new(),
            wire: OnceLock::new(),
            used,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The header with the empty line that ends it.
    pub(super) fn header(&self) -> &[u8] {
        &self.bytes[..self.header_length()]
    }

    pub(super) fn header_length(&self) -> usize {
        *self.header_length.get_or_init(|| message::header_length(&self.bytes))
    }

    pub(super) fn body_lines(&self) -> usize {
        let count =
            || self.bytes[self.header_length()..].iter().filter(|byte| **byte == b'\n').count();
        *self.body_lines.get_or_init(count)
    }

    /// What it takes to send it with a dot at its end.
    pub(super) fn wire(&self) -> Wire {
        *self.wire.get_or_init(|| Wire::of(&self.bytes))
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Flags of a message: `\Seen` and its kin, and keywords. System flags are spelt in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(BTreeSet<String>);

impl Flags {
    pub(super) const SYSTEM: [&'static str; 5] =
        ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

    /// Without effect beyond [`FLAGS`].
    pub(super) fn insert(&mut self, flag: &str) {
        let known = Self::SYSTEM.into_iter().find(|known| known.eq_ignore_ascii_case(flag));
        if self.0.len() < FLAGS {
            self.0.insert(known.unwrap_or(flag).to_owned());
        }
    }

    pub(super) fn remove_all(&mut self, flags: &Self) {
        self.0.retain(|flag| !flags.has(flag));
    }

    pub(super) fn insert_all(&mut self, flags: &Self) {
        for flag in &flags.0 {
            self.insert(flag);
        }
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.0.contains(flag) || self.0.iter().any(|own| own.eq_ignore_ascii_case(flag))
    }

    /// `(\Seen …)`.
    pub(super) fn list(&self) -> String {
        let flags: Vec<&str> = self.0.iter().map(String::as_str).collect();
        format!("({})", flags.join(" "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn uids_are_not_reused_and_space_is_given_back() {
        let store = Store::new(["u"].into_iter());
        let account = store.account("u").unwrap();
        let inbox = account.mailbox("inbox").unwrap();
        let content = account.content(b"12345".to_vec()).unwrap();
        assert_eq!(inbox.add(content, Flags::default(), Date::now()), 1);
        assert_eq!(store.used(), 5);
        inbox.change(|messages| messages.remove(|message| message.uid == 1));
        assert_eq!(store.used(), 0);
        let content = account.content(Vec::new()).unwrap();
        assert_eq!(inbox.add(content, Flags::default(), Date::now()), 2);
    }

    #[test]
    fn a_rename_takes_what_is_below_along() {
        let account = AccountStore::new(Arc::default());
        account.create("a").unwrap();
        account.create("a/b").unwrap();
        account.create("ab").unwrap();
        account.rename("a", "c").unwrap();
        assert_eq!(account.names(), ["INBOX", "ab", "c", "c/b"]);
        assert_eq!(account.rename("INBOX", "x"), Err(StoreFault::Name));
        assert_eq!(account.create("inbox"), Err(StoreFault::Exists));
        assert_eq!(account.delete("Inbox"), Err(StoreFault::Name));
    }

    #[test]
    fn flags_are_found_in_any_case() {
        let mut flags = Flags::default();
        flags.insert("\\seen");
        flags.insert("$Label1");
        assert_eq!(flags.list(), "($Label1 \\Seen)");
        assert!(flags.has("\\SEEN"));
        assert!(flags.has("$label1"));
    }
}
