//! Commands on mailboxes as a whole: LIST, STATUS, CREATE and their kin.
//!
//! `/` parts the levels of a name. A name is UTF-8 and is not otherwise looked into, so modified
//! UTF-7 passes as it is. All of them need a login and none a selected mailbox.

use std::sync::Arc;

use super::super::connection::Output;
use super::super::message;
use super::super::store::{AccountStore, Mailbox, canonical};
use super::command::Arguments;
use super::{Outcome, Refusal, store_refusal};

/// LIST or LSUB.
pub(super) fn list(
    verb: &str,
    account: &AccountStore,
    arguments: &mut Arguments,
    out: &mut Output,
) -> Outcome {
    arguments.space()?;
    let reference = arguments.mailbox()?;
    arguments.space()?;
    let pattern = arguments.pattern()?;
    arguments.end()?;
    if pattern.is_empty() {
        out.line(&format!("* {verb} (\\Noselect) \"/\" \"\""));
        return Ok(format!("{verb} completed"));
    }
    let pattern = format!("{reference}{pattern}");
    let names = if verb == "LSUB" { account.subscribed() } else { account.names() };
    for name in &names {
        if matches(pattern.as_bytes(), name.as_bytes()) {
            let below = format!("{name}/");
            let parent = names.iter().any(|other| other.starts_with(&below));
            let children = if parent { "\\HasChildren" } else { "\\HasNoChildren" };
            out.text(&format!("* {verb} ({children}) \"/\" "));
            out.bytes(&message::nstring(Some(name.as_bytes())));
            out.line("");
        }
    }
    Ok(format!("{verb} completed"))
}

/// Whether a name fits a LIST pattern: `*` stands for anything, `%` for anything but `/`. One row
/// of a table for each octet of the pattern, so that no pattern takes long. INBOX fits in any case.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let any_case = name == b"INBOX";
    let mut row = vec![false; name.len() + 1];
    row[0] = true;
    for wanted in pattern {
        let mut next = vec![false; name.len() + 1];
        match wanted {
            b'*' | b'%' => {
                next[0] = row[0];
                for at in 0..name.len() {
                    let through = next[at] && (*wanted == b'*' || name[at] != b'/');
                    next[at + 1] = row[at + 1] || through;
                }
            }
            _ => {
                for at in 0..name.len() {
                    let same =
                        name[at] == *wanted || any_case && name[at].eq_ignore_ascii_case(wanted);
                    next[at + 1] = row[at] && same;
                }
            }
        }
        row = next;
    }
    row[name.len()]
}

pub(super) fn status(
    account: &AccountStore,
    arguments: &mut Arguments,
    out: &mut Output,
) -> Outcome {
    arguments.space()?;
    let name = arguments.mailbox()?;
    arguments.space()?;
    arguments.expect(b'(', "STATUS items expected")?;
    let mut items = vec![arguments.item_name()?];
    while !arguments.eat(b')') {
        arguments.space()?;
        items.push(arguments.item_name()?);
    }
    arguments.end()?;
    let Some(mailbox) = account.mailbox(&name) else {
        return Err(Refusal::no("[NONEXISTENT] No such mailbox"));
    };
    let mut answers = Vec::new();
    for item in items {
        let Some(number) = status_of(&mailbox, &item) else {
            return Err(Refusal::bad("Unknown STATUS item"));
        };
        answers.push(format!("{item} {number}"));
    }
    out.text("* STATUS ");
    out.bytes(&message::nstring(Some(canonical(&name).as_bytes())));
    out.line(&format!(" ({})", answers.join(" ")));
    Ok("STATUS completed".into())
}

fn status_of(mailbox: &Mailbox, item: &str) -> Option<u64> {
    let messages = mailbox.messages();
    let list = messages.list();
    let with = |flag| list.iter().filter(|message| message.flags.has(flag)).count();
    let count = match item {
        "MESSAGES" => list.len(),
        "RECENT" => 0,
        "UIDNEXT" => messages.next_uid() as usize,
        "UIDVALIDITY" => mailbox.validity() as usize,
        "UNSEEN" => list.len() - with("\\Seen"),
        "DELETED" => with("\\Deleted"),
        "SIZE" => list.iter().map(|message| message.content.bytes().len()).sum(),
        _ => return None,
    };
    Some(count as u64)
}

/// CREATE, DELETE, SUBSCRIBE, UNSUBSCRIBE.
pub(super) fn change(verb: &str, account: &AccountStore, arguments: &mut Arguments) -> Outcome {
    arguments.space()?;
    let name = arguments.mailbox()?;
    arguments.end()?;
    let done = match verb {
        "CREATE" => account.create(&name),
        "DELETE" => account.delete(&name),
        "SUBSCRIBE" => account.subscribe(&name),
        _ => {
            account.unsubscribe(&name);
            Ok(())
        }
    };
    done.map_err(store_refusal)?;
    Ok(format!("{verb} completed"))
}

pub(super) fn rename(account: &AccountStore, arguments: &mut Arguments) -> Outcome {
    arguments.space()?;
    let from = arguments.mailbox()?;
    arguments.space()?;
    let to = arguments.mailbox()?;
    arguments.end()?;
    account.rename(&from, &to).map_err(store_refusal)?;
    Ok("RENAME completed".into())
}

/// The mailbox that SELECT or EXAMINE names.
pub(super) fn named(
    account: &AccountStore,
    arguments: &mut Arguments,
) -> Result<Arc<Mailbox>, Refusal> {
    arguments.space()?;
    let name = arguments.mailbox()?;
    arguments.end()?;
    account.mailbox(&name).ok_or(Refusal::no("[NONEXISTENT] No such mailbox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_list_wants_it() {
        for (pattern, name, fits) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("%/%", "a/b", true),
            ("a*", "a/b/c", true),
            ("a%c", "a/c", false),
            ("inbox", "INBOX", true),
            ("in%", "INBOX", true),
            ("A", "a", false),
            ("*b", "a/bb", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
