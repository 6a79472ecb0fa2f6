//! A selected mailbox as one session sees it, and the commands on its messages.
//!
//! Message numbers are positions in the session's own view, which changes only when the client is
//! told: [`Selected::report`] compares the view with the mailbox and says what is new. Numbers must
//! not shift under FETCH, STORE and SEARCH (RFC 3501 §7.4.1), so during those a message that is
//! gone keeps its number and is passed over.

use std::sync::Arc;

use super::super::connection::Output;
use super::super::store::{AccountStore, Flags, Mailbox, Message};
use super::command::Arguments;
use super::fetch::{self, Item};
use super::search::{self, Largest, SearchFault};
use super::sequence::{self, SequenceSet};
use super::{Outcome, Refusal, store_refusal};

/// Whether numbers in a command are UIDs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    Sequence,
    Uid,
}

pub(super) struct Selected {
    mailbox: Arc<Mailbox>,
    read_only: bool,
    view: Vec<Seen>,
    /// The mailbox's version that the view shows.
    version: u64,
}

struct Seen {
    uid: u32,
    /// The message's `changed` when its flags were last told.
    changed: u64,
}

impl Selected {
    /// Selects, and writes the untagged replies of SELECT.
    pub(super) fn open(mailbox: Arc<Mailbox>, read_only: bool, out: &mut Output) -> Self {
        let mut selected = Self { mailbox, read_only, view: Vec::new(), version: 0 };
        let flags = Flags::SYSTEM.join(" ");
        out.line(&format!("* FLAGS ({flags})"));
        let permanent = if read_only { String::new() } else { format!("{flags} \\*") };
        out.line(&format!("* OK [PERMANENTFLAGS ({permanent})] Flags that are kept"));
        let messages = selected.mailbox.messages();
        let list = messages.list();
        selected.view = list
            .iter()
            .map(|message| Seen { uid: message.uid, changed: message.changed })
            .collect();
        selected.version = messages.version();
        out.line(&format!("* {} EXISTS", list.len()));
        out.line("* 0 RECENT");
        if let Some(unseen) = list.iter().position(|message| !message.flags.has("\\Seen")) {
            out.line(&format!("* OK [UNSEEN {}] First unseen message", unseen + 1));
        }
        out.line(&format!("* OK [UIDVALIDITY {}] UIDs valid", selected.mailbox.validity()));
        out.line(&format!("* OK [UIDNEXT {}] Next UID", messages.next_uid()));
        drop(messages);
        selected
    }

    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Tells what has changed since the last report; `expunged` messages only where numbers may
    /// shift.
    pub(super) fn report(&mut self, expunged: bool, out: &mut Output) {
        let messages = self.mailbox.messages();
        if messages.version() == self.version {
            return;
        }
        let mut kept_all = true;
        if expunged {
            let mut number = 0;
            self.view.retain(|seen| {
                number += 1;
                let there = messages.find(seen.uid).is_some();
                if !there {
                    out.line(&format!("* {number} EXPUNGE"));
                    number -= 1;
                }
                there
            });
        } else {
            kept_all = self.view.iter().all(|seen| messages.find(seen.uid).is_some());
        }
        for (index, seen) in self.view.iter_mut().enumerate() {
            match messages.find(seen.uid) {
                Some(message) if message.changed != seen.changed => {
                    seen.changed = message.changed;
                    fetch::answer(index + 1, message, &[Item::Uid, Item::Flags], out);
                }
                Some(_) | None => {}
            }
        }
        let last = self.view.last().map_or(0, |seen| seen.uid);
        let old = messages.list().partition_point(|message| message.uid <= last);
        let new = &messages.list()[old..];
        if !new.is_empty() {
            let new = new.iter().map(|message| Seen { uid: message.uid, changed: message.changed });
            self.view.extend(new);
            out.line(&format!("* {} EXISTS", self.view.len()));
        }
        if kept_all {
            self.version = messages.version();
        }
    }

    pub(super) fn fetch(
        &mut self,
        numbering: Numbering,
        arguments: &mut Arguments,
        out: &mut Output,
    ) -> Outcome {
        arguments.space()?;
        let set = SequenceSet::parse(arguments)?;
        arguments.space()?;
        let mut items = fetch::parse(arguments)?;
        arguments.end()?;
        if numbering == Numbering::Uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let indices = self.indices(&set, numbering);
        if fetch::marks_seen(&items) && !self.read_only {
            self.mark_seen(&indices);
            // A client that makes a message seen is told so in the same answer.
            if !items.contains(&Item::Flags) && self.flags_changed(&indices) {
                items.push(Item::Flags);
            }
        }
        let messages = self.mailbox.messages();
        for index in indices {
            if let Some(message) = messages.find(self.view[index].uid) {
                fetch::answer(index + 1, message, &items, out);
                if items.contains(&Item::Flags) {
                    self.view[index].changed = message.changed;
                }
            }
        }
        Ok("FETCH completed".into())
    }

    fn mark_seen(&self, indices: &[usize]) {
        self.mailbox.change(|messages| {
            for index in indices {
                messages.set_flags(self.view[*index].uid, |flags| flags.insert("\\Seen"));
            }
        });
    }

    fn flags_changed(&self, indices: &[usize]) -> bool {
        let messages = self.mailbox.messages();
        let news = |seen: &Seen| {
            messages.find(seen.uid).is_some_and(|message| message.changed != seen.changed)
        };
        indices.iter().any(|index| news(&self.view[*index]))
    }

    pub(super) fn store(
        &mut self,
        numbering: Numbering,
        arguments: &mut Arguments,
        out: &mut Output,
    ) -> Outcome {
        arguments.space()?;
        let set = SequenceSet::parse(arguments)?;
        arguments.space()?;
        let (add, remove) = (arguments.eat(b'+'), arguments.eat(b'-'));
        let silent = match arguments.item_name()?.as_str() {
            "FLAGS" if !(add && remove) => false,
            "FLAGS.SILENT" if !(add && remove) => true,
            _ => return Err(Refusal::bad("Unknown STORE item")),
        };
        arguments.space()?;
        let given = arguments.store_flags()?;
        arguments.end()?;
        self.writable()?;
        let indices = self.indices(&set, numbering);
        self.mailbox.change(|messages| {
            for index in &indices {
                messages.set_flags(self.view[*index].uid, |flags| match (add, remove) {
                    (true, _) => flags.insert_all(&given),
                    (_, true) => flags.remove_all(&given),
                    (false, false) => *flags = given.clone(),
                });
            }
        });
        let messages = self.mailbox.messages();
        for index in indices {
            let Some(message) = messages.find(self.view[index].uid) else { continue };
            self.view[index].changed = message.changed;
            match numbering {
                _ if silent => {}
                Numbering::Uid => {
                    fetch::answer(index + 1, message, &[Item::Uid, Item::Flags], out);
                }
                Numbering::Sequence => fetch::answer(index + 1, message, &[Item::Flags], out),
            }
        }
        Ok("STORE completed".into())
    }

    pub(super) fn search(
        &mut self,
        numbering: Numbering,
        arguments: &mut Arguments,
        out: &mut Output,
    ) -> Outcome {
        arguments.space()?;
        let key = match search::parse(arguments) {
            Ok(key) => key,
            Err(SearchFault::Syntax(syntax)) => return Err(syntax.into()),
            Err(SearchFault::Charset) => {
                return Err(Refusal::no("[BADCHARSET (US-ASCII UTF-8)] Unknown charset"));
            }
        };
        let uid = self.view.last().map_or(0, |seen| seen.uid);
        let largest = Largest { number: number(self.view.len()), uid };
        let messages = self.mailbox.messages();
        out.text("* SEARCH");
        for (index, seen) in self.view.iter().enumerate() {
            let own = number(index + 1);
            let fits = |message: &&Message| key.fits(own, message, largest);
            if messages.find(seen.uid).filter(fits).is_some() {
                let answer = if numbering == Numbering::Uid { seen.uid } else { own };
                out.text(&format!(" {answer}"));
            }
        }
        out.line("");
        Ok("SEARCH completed".into())
    }

    /// COPY, or with `remove` MOVE.
    pub(super) fn copy(
        &mut self,
        numbering: Numbering,
        remove: bool,
        account: &AccountStore,
        arguments: &mut Arguments,
        out: &mut Output,
    ) -> Outcome {
        arguments.space()?;
        let set = SequenceSet::parse(arguments)?;
        arguments.space()?;
        let name = arguments.mailbox()?;
        arguments.end()?;
        if remove {
            self.writable()?;
        }
        let Some(target) = account.mailbox(&name) else {
            return Err(Refusal::no("[TRYCREATE] No such mailbox"));
        };
        let copied: Vec<Message> = {
            let messages = self.mailbox.messages();
            let uids = self.indices(&set, numbering).into_iter().map(|index| self.view[index].uid);
            uids.filter_map(|uid| messages.find(uid).cloned()).collect()
        };
        if copied.is_empty() {
            return Ok("Nothing to do".into());
        }
        target.room_for(copied.len()).map_err(store_refusal)?;
        let old: Vec<u32> = copied.iter().map(|message| message.uid).collect();
        let new: Vec<u32> = copied
            .into_iter()
            .map(|message| target.add(message.content, message.flags, message.date))
            .collect();
        let (from, to) = (sequence::compact(&old), sequence::compact(&new));
        let code = format!("[COPYUID {} {from} {to}]", target.validity());
        if !remove {
            return Ok(format!("{code} COPY completed"));
        }
        out.line(&format!("* OK {code} Moved"));
        let gone = |message: &Message| old.binary_search(&message.uid).is_ok();
        self.mailbox.change(|messages| messages.remove(gone));
        Ok("MOVE completed".into())
    }

    /// EXPUNGE, or UID EXPUNGE with its set.
    pub(super) fn expunge(&mut self, numbering: Numbering, arguments: &mut Arguments) -> Outcome {
        let set = match numbering {
            Numbering::Sequence => None,
            Numbering::Uid => {
                arguments.space()?;
                Some(SequenceSet::parse(arguments)?)
            }
        };
        arguments.end()?;
        self.writable()?;
        let largest = self.view.last().map_or(0, |seen| seen.uid);
        let uids = set.map(|set| set.resolve(largest));
        self.mailbox.change(|messages| {
            messages.remove(|message| {
                let meant = uids.as_ref().is_none_or(|uids| uids.has(message.uid));
                meant && message.flags.has("\\Deleted")
            });
        });
        Ok("EXPUNGE completed".into())
    }

    /// What CLOSE does before the mailbox is left.
    pub(super) fn expunge_silently(&self) {
        if !self.read_only {
            self.mailbox
                .change(|messages| messages.remove(|message| message.flags.has("\\Deleted")));
        }
    }

    fn writable(&self) -> Result<(), Refusal> {
        if self.read_only { Err(Refusal::no("[READ-ONLY] Mailbox is read-only")) } else { Ok(()) }
    }

    /// Positions in the view that the set names; numbers that nothing has are passed over.
    fn indices(&self, set: &SequenceSet, numbering: Numbering) -> Vec<usize> {
        let largest = match numbering {
            Numbering::Sequence => number(self.view.len()),
            Numbering::Uid => self.view.last().map_or(0, |seen| seen.uid),
        };
        let ranges = set.resolve(largest);
        let named = self.view.iter().enumerate().filter(|(index, seen)| match numbering {
            Numbering::Sequence => ranges.has(number(index + 1)),
            Numbering::Uid => ranges.has(seen.uid),
        });
        named.map(|(index, _)| index).collect()
    }
}

/// APPEND: everything behind the verb; the answer names the UID (RFC 4315).
pub(super) fn append(account: &AccountStore, discard: bool, arguments: &mut Arguments) -> Outcome {
    arguments.space()?;
    let name = arguments.mailbox()?;
    arguments.space()?;
    let flags = match arguments.peek() {
        Some(b'(') => {
            let flags = arguments.flag_list()?;
            arguments.space()?;
            flags
        }
        _ => Flags::default(),
    };
    let date = match arguments.peek() {
        Some(b'"') => {
            let text = arguments.string()?;
            arguments.space()?;
            let date = std::str::from_utf8(&text).ok().and_then(super::Date::parse);
            date.ok_or(Refusal::bad("Invalid date"))?
        }
        _ => super::Date::now(),
    };
    let message = arguments.literal()?;
    arguments.end()?;
    let Some(mailbox) = account.mailbox(&name) else {
        return Err(Refusal::no("[TRYCREATE] No such mailbox"));
    };
    if message.is_empty() {
        return Err(Refusal::no("A message is not empty"));
    }
    if discard {
        return Ok("APPEND completed, and forgotten".into());
    }
    let content = account.content(message).map_err(store_refusal)?;
    mailbox.room_for(1).map_err(store_refusal)?;
    let uid = mailbox.add(content, flags, date);
    Ok(format!("[APPENDUID {} {uid}] APPEND completed", mailbox.validity()))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
