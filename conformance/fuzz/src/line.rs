//! Framing: any octets under any limits.
//!
//! An input is a limit and an allowance (two octets each, in network order), then octets.
//! Invariants: framing says what a plain reading of its description says; it has one outcome,
//! however much has arrived and been looked at before; line by line it keeps its place, so that
//! nothing is lost or read twice.

use gatepost_core::line::{
    Framing, Line, first_word, is_http_request, lenient, strict, strict_within, within,
};

/// Octets of an input up to which each of its beginnings is framed.
const EVERY_CUT: usize = 200;

type Frame = fn(&[u8], usize, usize) -> Framing;

/// Frames the input.
pub fn line(data: &[u8]) {
    let (head, octets) = data.split_at(data.len().min(4));
    let number = |at: usize| {
        let octet = |at: usize| usize::from(head.get(at).copied().unwrap_or(0));
        octet(at) << 8 | octet(at + 1)
    };
    // Limits lie near what there is, or most inputs would never meet them.
    let (limit, allowance) = (number(0) % (octets.len() + 3), number(2) % (octets.len() + 3));
    for (frame, end) in [(lenient as Frame, &b"\n"[..]), (strict as Frame, &b"\r\n"[..])] {
        let outcome = described(octets, end, limit);
        assert_eq!(frame(octets, 0, limit), outcome, "not as described, end {end:?}");
        at_every_cut(octets, end, limit, frame, outcome);
        keeps_its_place(octets, end, frame);
    }
    spent(octets, limit, allowance);
    words(octets);
}

/// What the description of framing says, word by word.
fn described(input: &[u8], end: &[u8], limit: usize) -> Framing {
    let window = &input[..input.len().min(limit)];
    match window.windows(end.len()).position(|octets| octets == end) {
        Some(found) => {
            let whole = found + end.len();
            let bare = end.len() == 1 && found > 0 && input[found - 1] == b'\r';
            Framing::Whole(Line { content: found - usize::from(bare), whole })
        }
        None if input.len() >= limit => Framing::TooLong,
        None => Framing::Incomplete,
    }
}

/// Whatever has arrived, and whatever of it is known to hold no line end.
fn at_every_cut(input: &[u8], end: &[u8], limit: usize, frame: Frame, outcome: Framing) {
    for arrived in 0..=input.len().min(EVERY_CUT) {
        let input = &input[..arrived];
        let found = input.windows(end.len()).position(|octets| octets == end);
        // A line end that is only half there may lie across what was looked at.
        let known = found.map_or(arrived, |at| at + end.len() - 1);
        let here = frame(input, 0, limit);
        assert!(here == Framing::Incomplete || here == outcome, "{arrived} octets: {here:?}");
        for scanned in [0, 1, known / 2, known.saturating_sub(1), known] {
            let scanned = scanned.min(known);
            assert_eq!(frame(input, scanned, limit), here, "{scanned} of {arrived} were known");
        }
    }
}

/// All lines and the rest are the input again, and no line holds an end.
fn keeps_its_place(input: &[u8], end: &[u8], frame: Frame) {
    let mut rest = input;
    while let Framing::Whole(Line { content, whole }) = frame(rest, 0, rest.len() + 1) {
        let (line, behind) = rest.split_at(whole);
        assert!(content < whole && line.ends_with(end), "a line without its end");
        assert!(!line[..content].windows(end.len()).any(|octets| octets == end), "two lines");
        rest = behind;
    }
    assert!(!rest.windows(end.len()).any(|octets| octets == end), "a line is left");
}

/// Whichever limit lies first decides, and is named.
fn spent(input: &[u8], limit: usize, allowance: usize) {
    type Within = fn(&[u8], usize, usize, usize) -> Framing;
    for (both, frame) in [(within as Within, lenient as Frame), (strict_within, strict)] {
        let framing = frame(input, 0, limit.min(allowance));
        let is_spent = framing == Framing::TooLong && allowance < limit;
        let expected = if is_spent { Framing::Spent } else { framing };
        assert_eq!(both(input, 0, limit, allowance), expected, "{limit}, {allowance} left");
    }
}

fn words(input: &[u8]) {
    let (first, behind) = first_word(input);
    assert!(!first.contains(&b' '), "a word with a space");
    if first.len() < input.len() {
        assert_eq!([first, b" ", behind].concat(), input, "something is lost between words");
    }
    let shown = gatepost_core::line::without_controls(input);
    assert!(!shown.iter().any(u8::is_ascii_control), "a control character is shown");
    let controls = input.iter().filter(|octet| octet.is_ascii_control()).count();
    assert_eq!(shown.len() + controls, input.len(), "more is left out");
    assert!(!is_http_request(input) || input.contains(&b' '), "a request of one word");
}
