//! What FETCH can ask for, and how it is answered.
//!
//! Parts of a message are ranges of its stored octets wherever possible, and then are not copied. A
//! part number names the message's only part; any other is NIL.

use std::ops::Range;

use super::super::connection::Output;
use super::super::message;
use super::super::store::Message;
use super::command::{Arguments, Syntax};

/// The most items of one FETCH, and the most names of one HEADER.FIELDS.
const ITEMS: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    Structure {
        extended: bool,
    },
    Part {
        part: Part,
        /// What the answer calls it.
        label: String,
        /// Fetching it leaves `\Seen` as it is.
        peek: bool,
        /// First octet and the most octets.
        partial: Option<(u32, u32)>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Header,
    Text,
    Fields {
        names: Vec<Vec<u8>>,
        /// All but these.
        others: bool,
    },
    Missing,
}

/// A macro, an item, or a list of items.
pub(super) fn parse(arguments: &mut Arguments) -> Result<Vec<Item>, Syntax> {
    if !arguments.eat(b'(') {
        let name = arguments.item_name()?;
        let fast = vec![Item::Flags, Item::InternalDate, Item::Size];
        return Ok(match name.as_str() {
            "FAST" => fast,
            "ALL" => [fast, vec![Item::Envelope]].concat(),
            "FULL" => [fast, vec![Item::Envelope, Item::Structure { extended: false }]].concat(),
            _ => vec![parse_item(&name, arguments)?],
        });
    }
    let mut items = Vec::new();
    while items.len() < ITEMS {
        let name = arguments.item_name()?;
        items.push(parse_item(&name, arguments)?);
        if arguments.eat(b')') {
            return Ok(items);
        }
        arguments.space()?;
    }
    Err(Syntax("Too many items"))
}

fn parse_item(name: &str, arguments: &mut Arguments) -> Result<Item, Syntax> {
    let whole = |part, peek| Item::Part { part, label: name.to_owned(), peek, partial: None };
    Ok(match name {
        "FLAGS" => Item::Flags,
        "UID" => Item::Uid,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "ENVELOPE" => Item::Envelope,
        "BODYSTRUCTURE" => Item::Structure { extended: true },
        "RFC822" => whole(Part::Whole, false),
        "RFC822.HEADER" => whole(Part::Header, true),
        "RFC822.TEXT" => whole(Part::Text, false),
        "BODY" if arguments.peek() != Some(b'[') => Item::Structure { extended: false },
        "BODY" => parse_part(false, arguments)?,
        "BODY.PEEK" => parse_part(true, arguments)?,
        _ => return Err(Syntax("Unknown item")),
    })
}

/// `[HEADER.FIELDS (FROM TO)]<0.100>`.
fn parse_part(peek: bool, arguments: &mut Arguments) -> Result<Item, Syntax> {
    arguments.expect(b'[', "Section expected")?;
    let (part, name) = match arguments.eat(b']') {
        true => (Part::Whole, String::new()),
        false => {
            let name = arguments.item_name()?;
            let (part, suffix) = parse_section(&name, arguments)?;
            arguments.expect(b']', "Section does not end")?;
            (part, format!("{name}{suffix}"))
        }
    };
    let mut label = format!("BODY[{name}]");
    let partial = match arguments.eat(b'<') {
        false => None,
        true => {
            let first = arguments.number()?;
            arguments.expect(b'.', "Dot in a partial expected")?;
            let most = arguments.number()?;
            arguments.expect(b'>', "Partial does not end")?;
            label.push_str(&format!("<{first}>"));
            Some((first, most))
        }
    };
    Ok(Item::Part { part, label, peek, partial })
}

/// The part, and the list of names as the answer repeats it.
fn parse_section(name: &str, arguments: &mut Arguments) -> Result<(Part, String), Syntax> {
    let part = match name {
        "HEADER" => Part::Header,
        "TEXT" | "1" => Part::Text,
        // Of a message that is one part, the MIME header is the message's own.
        "1.MIME" => Part::Header,
        "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
            arguments.space()?;
            arguments.expect(b'(', "Field names expected")?;
            let mut names = vec![arguments.astring()?];
            while !arguments.eat(b')') {
                arguments.space()?;
                names.push(arguments.astring()?);
                if names.len() > ITEMS {
                    return Err(Syntax("Too many field names"));
                }
            }
            let quoted = names.iter().map(|name| message::nstring(Some(name)));
            let quoted: Vec<String> =
                quoted.map(|name| String::from_utf8_lossy(&name).into_owned()).collect();
            let others = name == "HEADER.FIELDS.NOT";
            return Ok((Part::Fields { names, others }, format!(" ({})", quoted.join(" "))));
        }
        _ if name.starts_with(|first: char| first.is_ascii_digit()) => Part::Missing,
        _ => return Err(Syntax("Unknown section")),
    };
    Ok((part, String::new()))
}

/// Whether answering these sets `\Seen`.
pub(super) fn marks_seen(items: &[Item]) -> bool {
    items.iter().any(|item| matches!(item, Item::Part { peek: false, .. }))
}

/// `* 3 FETCH (…)`.
pub(super) fn answer(number: usize, message: &Message, items: &[Item], out: &mut Output) {
    out.text(&format!("* {number} FETCH ("));
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.text(" ");
        }
        answer_item(message, item, out);
    }
    out.line(")");
}

fn answer_item(message: &Message, item: &Item, out: &mut Output) {
    match item {
        Item::Flags => out.text(&format!("FLAGS {}", message.flags.list())),
        Item::Uid => out.text(&format!("UID {}", message.uid)),
        Item::InternalDate => out.text(&format!("INTERNALDATE \"{}\"", message.date)),
        Item::Size => out.text(&format!("RFC822.SIZE {}", message.content.bytes().len())),
        Item::Envelope => {
            out.text("ENVELOPE ");
            out.bytes(&message::envelope(message.content.header()));
        }
        Item::Structure { extended } => {
            out.text(if *extended { "BODYSTRUCTURE " } else { "BODY " });
            out.bytes(&message::structure(&message.content, *extended));
        }
        Item::Part { part, label, partial, .. } => {
            out.text(label);
            answer_part(message, part, *partial, out);
        }
    }
}

fn answer_part(message: &Message, part: &Part, partial: Option<(u32, u32)>, out: &mut Output) {
    let content = &message.content;
    let stored = match part {
        Part::Whole => 0..content.bytes().len(),
        Part::Header => 0..content.header_length(),
        Part::Text => content.header_length()..content.bytes().len(),
        Part::Fields { names, others } => {
            let fields = message::only_fields(content.header(), names, *others);
            let range = cut(0..fields.len(), partial);
            out.text(&format!(" {{{}}}\r\n", range.len()));
            return out.bytes(&fields[range]);
        }
        Part::Missing => return out.text(" NIL"),
    };
    let range = cut(stored, partial);
    out.text(&format!(" {{{}}}\r\n", range.len()));
    out.body(content, range);
}

/// The part of `range` that a partial asks for; empty if it begins behind the end.
fn cut(range: Range<usize>, partial: Option<(u32, u32)>) -> Range<usize> {
    let Some((first, most)) = partial else {
        return range;
    };
    let start = range.start.saturating_add(first as usize).min(range.end);
    start..start.saturating_add(most as usize).min(range.end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::command::tests::arguments;
    use super::*;

    #[test]
    fn items_are_labelled_as_the_answer_needs_them() {
        let items =
            parse(&mut arguments("(UID body.peek[header.fields (From \"To\")]<3.9>)")).unwrap();
        let Item::Part { part, label, peek, partial } = &items[1] else { panic!("no part") };
        assert_eq!(label, "BODY[HEADER.FIELDS (\"From\" \"To\")]<3>");
        assert_eq!((*peek, *partial), (true, Some((3, 9))));
        assert_eq!(
            *part,
            Part::Fields { names: vec![b"From".to_vec(), b"To".to_vec()], others: false }
        );
        assert!(!marks_seen(&items));
        assert!(marks_seen(&parse(&mut arguments("RFC822")).unwrap()));
        assert_eq!(parse(&mut arguments("FULL")).unwrap().len(), 5);
    }

    #[test]
    fn what_is_no_item_is_refused() {
        for text in [
            "",
            "(",
            "()",
            "(FLAGS",
            "BODY[",
            "BODY[HEADER.FIELDS]",
            "BODY[HEADER.FIELDS (]",
            "BODY[]<1>",
            "BODY[]<1.2",
            "BODY[NOSUCH]",
            "NOSUCH",
        ] {
            assert!(parse(&mut arguments(text)).is_err(), "{text}");
        }
        let long = format!("({})", vec!["UID"; ITEMS + 1].join(" "));
        assert!(parse(&mut arguments(&long)).is_err());
    }

    #[test]
    fn a_partial_stays_within_the_part() {
        assert_eq!(cut(10..20, None), 10..20);
        assert_eq!(cut(10..20, Some((2, 3))), 12..15);
        assert_eq!(cut(10..20, Some((5, u32::MAX))), 15..20);
        assert!(cut(10..20, Some((u32::MAX, 1))).is_empty());
    }
}
