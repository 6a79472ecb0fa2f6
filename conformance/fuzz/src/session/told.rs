//! What a session said and wanted done, in a form in which two ways of cutting can be compared.
//!
//! Nobody outside can see how writes to two connections interleave, so each leg has a stream of
//! its own, and a deed knows how much of each was written before it. A hang-up may find octets for
//! the backend that are never sent if everything arrives at once: that leg's stream is forgotten.

use std::fmt;

use gatepost_core::Leg;

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    client: Vec<u8>,
    /// Of the connection that is there.
    backend: Vec<u8>,
    deeds: Vec<Deed>,
    notes: Vec<String>,
    /// Handed over at the end, from each leg.
    handed: [Vec<u8>; 2],
}

#[derive(Debug, PartialEq, Eq)]
struct Deed {
    what: String,
    /// Octets to each leg before it, where it matters.
    after: [Option<usize>; 2],
}

impl Told {
    pub(crate) fn sent(&mut self, leg: Leg, octets: &[u8]) {
        match leg {
            Leg::Client => self.client.extend_from_slice(octets),
            Leg::Backend => self.backend.extend_from_slice(octets),
        }
    }

    pub(crate) fn did(&mut self, what: String) {
        let after = [Some(self.client.len()), Some(self.backend.len())];
        self.deeds.push(Deed { what, after });
    }

    pub(crate) fn noted(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn hung_up(&mut self) {
        self.backend.clear();
        for deed in self.deeds.iter_mut().rev().take_while(|deed| !deed.what.starts_with("hang")) {
            deed.after[1] = None;
        }
        self.deeds.push(Deed { what: "hang up".into(), after: [None; 2] });
    }

    pub(crate) fn handed(&mut self, from: usize, octets: &[u8]) {
        self.handed[from].extend_from_slice(octets);
    }

    /// Where the two differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let pairs = [
            (self.client == other.client, "octets to the client"),
            (self.deeds == other.deeds, "deeds"),
            (self.backend == other.backend, "octets to the backend"),
            (self.notes == other.notes, "notes"),
            (self.handed == other.handed, "octets handed over"),
        ];
        pairs.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Deed { what, after } in &self.deeds {
            writeln!(f, "{what} {after:?}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(f, "to the client: {}", self.client.escape_ascii())?;
        writeln!(f, "to the backend: {}", self.backend.escape_ascii())?;
        let [client, backend] = &self.handed;
        writeln!(f, "handed over: {} | {}", client.escape_ascii(), backend.escape_ascii())
    }
}
