//! Words at the starts of a client's lines.
//!
//! A [`Watch`] is told octet by octet what a client sends in lines, and says where one of the
//! words it knows is spelled: as the first word of a line or, on IMAP, as its second. Words are
//! known in any case, by their beginning (`XCLIENTS` is XCLIENT too), and behind whatever white
//! space or control characters a server may skip.
//!
//! It takes every CR and every LF for the end of a line, whatever the protocol says, since some
//! server may; where CRLF is not what it met, or the line holds control characters or is longer
//! than every server takes, [`Line::odd`] says so. What a word means is not decided here.
//!
//! Invariant: what is held is a proper beginning of a word that is known, or the beginning of a
//! line that its owner asked to hold.

/// Octets that are held at most: more than any word, and a whole command with a size.
pub(super) const HELD_MAX: usize = 24;

/// The position of a word that stands anywhere in a line too long for some servers.
pub(super) const ANYWHERE: u8 = u8::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    words: &'static [&'static str],
    /// Words of a line that are looked at.
    positions: u8,
    /// Octets of a line behind which a server may take any octet for the start of another.
    line_max: usize,
    place: Place,
    after_cr: bool,
    /// Octets that a server may have seen since the last CRLF, or more than that.
    length: usize,
    line: Line,
    held: [u8; HELD_MAX],
    held_len: usize,
}

/// Where in a line the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the word of that position.
    Gap(u8),
    /// In what may become a word that is known.
    Word(u8),
    /// In another word.
    Skip(u8),
    /// Behind all words that are looked at.
    Rest,
    /// In a line that is held.
    Held,
    /// In what is left out.
    Dropped,
}

/// What an octet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Part of a line.
    Plain,
    /// Part of a word that may be known; to be held.
    Begun,
    /// Not what the word that is held would need: that is none; look at the octet again.
    Other,
    /// It would be the last of a word, by its place in the list; look at the octet again.
    Word { index: usize, position: u8 },
    /// Part of a line that is held.
    Held,
    /// Left out.
    Dropped,
    /// The end of a line.
    End(Line),
}

/// What there is to say of a line at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Not every server reads it alike.
    pub(super) odd: bool,
    /// Words that were looked at.
    pub(super) words: u8,
    /// The word that was accepted, by its place in the list.
    pub(super) found: Option<usize>,
}

impl Watch {
    pub(super) const fn new(
        words: &'static [&'static str],
        positions: u8,
        line_max: usize,
    ) -> Self {
        Self {
            words,
            positions,
            line_max,
            place: Place::Gap(0),
            after_cr: false,
            length: 0,
            line: Line { odd: false, words: 0, found: None },
            held: [0; HELD_MAX],
            held_len: 0,
        }
    }

    /// Octets that are held.
    pub(super) const fn held_len(&self) -> usize {
        self.held_len
    }

    /// What is held.
    pub(super) fn held(&self) -> &[u8] {
        &self.held[..self.held_len]
    }

    /// Gives what is held away.
    pub(super) fn let_go(&mut self) -> &[u8] {
        let held_len = core::mem::take(&mut self.held_len);
        &self.held[..held_len]
    }

    /// The line so far.
    pub(super) const fn line(&self) -> Line {
        self.line
    }

    /// The last octet was a CR.
    pub(super) const fn after_cr(&self) -> bool {
        self.after_cr
    }

    /// Holds one more octet.
    pub(super) fn hold(&mut self, octet: u8) {
        debug_assert!(self.held_len < HELD_MAX);
        if let Some(free) = self.held.get_mut(self.held_len) {
            *free = octet;
            self.held_len += 1;
        }
    }

    /// Goes on at the start of a line.
    pub(super) fn restart(&mut self) {
        (self.place, self.after_cr, self.length) = (Place::Gap(0), false, 0);
        self.line = Line::default();
    }

    /// Some server may have begun the line a few octets earlier.
    pub(super) fn doubt(&mut self) {
        self.length = self.length.max(HELD_MAX);
    }

    /// Some server may begin a line at any octet from here on.
    pub(super) const fn doubt_all(&mut self) {
        self.line_max = 0;
    }

    /// No octet of a line has come yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.length == 0 && self.held_len == 0
    }

    /// Goes on behind data that belong to the line before them.
    pub(super) const fn resume(&mut self, line: Line) {
        (self.place, self.after_cr) = (Place::Rest, false);
        self.line = line;
    }

    /// The word is none that matters further; `found`: or it is, once its line ends.
    pub(super) const fn accept(&mut self, index: usize, position: u8, found: bool) {
        self.place = Place::Skip(position);
        if found {
            self.line.found = Some(index);
        }
    }

    /// What is held is refused: the rest of its line is left out.
    pub(super) const fn refuse(&mut self) {
        self.place = Place::Dropped;
        self.length = self.length.saturating_add(HELD_MAX);
    }

    /// What is held is refused, and a CR behind it was part of that.
    pub(super) const fn refuse_with_cr(&mut self) {
        (self.place, self.after_cr) = (Place::Gap(0), true);
        self.length = self.length.saturating_add(HELD_MAX);
    }

    /// The rest of the line is held.
    pub(super) fn hold_line(&mut self, octet: u8) {
        self.place = Place::Held;
        self.hold(octet);
    }

    /// Says what the next octet is.
    pub(super) fn take(&mut self, octet: u8) -> Seen {
        match self.place {
            Place::Word(position) => return self.spell(octet, position),
            Place::Held => return Seen::Held,
            Place::Dropped if octet != b'\r' && octet != b'\n' => return Seen::Dropped,
            Place::Dropped | Place::Gap(_) | Place::Skip(_) | Place::Rest => {}
        }
        if octet == b'\n' {
            return self.end();
        }
        self.length = self.length.saturating_add(1);
        if octet == b'\r' {
            self.line.odd |= self.after_cr;
            (self.place, self.after_cr) = (Place::Gap(0), true);
            return Seen::Plain;
        }
        let is_blank = octet <= b' ';
        self.line.odd |= self.after_cr || (is_blank && octet != b' ' && octet != b'\t');
        self.after_cr = false;
        let is_long = self.length > self.line_max;
        self.line.odd |= is_long;
        match self.place {
            Place::Gap(_) | Place::Dropped if is_blank => Seen::Plain,
            Place::Gap(position) => {
                self.line.words = self.line.words.saturating_add(1);
                self.begin(octet, position)
            }
            Place::Skip(_) | Place::Rest if is_long && !is_blank => self.begin(octet, ANYWHERE),
            Place::Skip(position) if is_blank => {
                let next = position.saturating_add(1);
                self.place = if next < self.positions { Place::Gap(next) } else { Place::Rest };
                Seen::Plain
            }
            Place::Skip(_) | Place::Rest | Place::Word(_) | Place::Held | Place::Dropped => {
                Seen::Plain
            }
        }
    }

    fn begin(&mut self, octet: u8, position: u8) -> Seen {
        let first = |word: &&str| word.as_bytes()[0].eq_ignore_ascii_case(&octet);
        if self.words.iter().any(first) {
            self.place = Place::Word(position);
            self.hold(octet);
            Seen::Begun
        } else {
            self.place = Place::Skip(position);
            Seen::Plain
        }
    }

    fn spell(&mut self, octet: u8, position: u8) -> Seen {
        let length = self.held_len + 1;
        let goes_on = |word: &str| {
            let front = word.as_bytes().get(..length);
            front.and_then(<[u8]>::split_last).is_some_and(|(last, before)| {
                before.eq_ignore_ascii_case(self.held()) && last.eq_ignore_ascii_case(&octet)
            })
        };
        let mut fitting = self.words.iter().enumerate().filter(|(_, word)| goes_on(word));
        match fitting.next() {
            Some((index, word)) if word.len() == length => Seen::Word { index, position },
            Some(_) => {
                self.length = self.length.saturating_add(1);
                self.hold(octet);
                Seen::Begun
            }
            None => {
                self.place = Place::Skip(position);
                Seen::Other
            }
        }
    }

    fn end(&mut self) -> Seen {
        let mut line = self.line;
        line.odd |= !self.after_cr;
        // Where a bare LF ends nothing the line is still the same one, and grows.
        let length = if self.after_cr { 0 } else { self.length.saturating_add(1) };
        self.restart();
        self.length = length;
        Seen::End(line)
    }
}
