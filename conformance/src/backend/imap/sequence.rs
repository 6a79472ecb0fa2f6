//! Sequence sets: `1:4,7,*`, over message numbers or UIDs.
//!
//! A set is parsed before it is known what `*` means, and resolved against the largest number in
//! the mailbox into ranges that are sorted and do not touch, so that a lookup is a binary search
//! whatever the client wrote.

use super::command::{Arguments, Syntax};

/// The most elements of a set as it is written.
const ELEMENTS: usize = 4096;

/// As written; None is `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SequenceSet(Vec<(Option<u32>, Option<u32>)>);

impl SequenceSet {
    pub(super) fn parse(arguments: &mut Arguments) -> Result<Self, Syntax> {
        let text = arguments.sequence_text()?;
        let mut elements = Vec::new();
        for element in text.split(',') {
            if elements.len() >= ELEMENTS {
                return Err(Syntax("Sequence set too long"));
            }
            elements.push(match element.split_once(':') {
                Some((first, last)) => (bound(first)?, bound(last)?),
                None => (bound(element)?, bound(element)?),
            });
        }
        Ok(Self(elements))
    }

    pub(super) fn resolve(&self, largest: u32) -> Ranges {
        let ends = self.0.iter().map(|(first, last)| {
            let (first, last) = (first.unwrap_or(largest), last.unwrap_or(largest));
            (first.min(last), first.max(last))
        });
        let mut sorted: Vec<(u32, u32)> = ends.collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                Some(_) | None => ranges.push((first, last)),
            }
        }
        Ranges(ranges)
    }
}

fn bound(text: &str) -> Result<Option<u32>, Syntax> {
    if text == "*" {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or(Syntax("Number in a sequence set expected"))
}

/// Numbers, each once, in order.
#[derive(Debug)]
pub(super) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    pub(super) fn has(&self, number: u32) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= number);
        behind > 0 && number <= self.0[behind - 1].1
    }
}

/// `1:3,7`: how UIDPLUS reports UIDs, which must ascend.
pub(super) fn compact(uids: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            Some(_) | None => ranges.push((*uid, *uid)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}:{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::command::tests::arguments;
    use super::*;

    #[test]
    fn sets_are_sorted_and_the_star_is_the_largest() {
        let set = SequenceSet::parse(&mut arguments("*:7,1:3,2,5")).unwrap();
        let ranges = set.resolve(9);
        let within: Vec<u32> = (0..12).filter(|number| ranges.has(*number)).collect();
        assert_eq!(within, [1, 2, 3, 5, 7, 8, 9]);
        assert!(set.resolve(2).has(6), "the range is turned around when the star is smaller");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["0", "", "1,", "1:2:3", ",", "**", "4294967296"] {
            assert!(SequenceSet::parse(&mut arguments(text)).is_err(), "{text}");
        }
        let long = vec!["1"; ELEMENTS + 1].join(",");
        assert!(SequenceSet::parse(&mut arguments(&long)).is_err());
        assert!(SequenceSet::parse(&mut arguments(&long[2..])).is_ok());
    }

    #[test]
    fn uids_are_reported_as_ranges() {
        assert_eq!(compact(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(compact(&[]), "");
    }
}
