//! Takes typed values out of a parsed file, and says what is wrong with those it cannot take.
//!
//! Not here: which keys exist (`keys`), and what they mean (`listener`, `destination`, …).
//! Invariant: whoever gets `None` for a key that is there may go on as if it were absent, since the
//! fault is recorded and the file refused in the end; so one pass finds every fault.
//! Read next: `server`, the plainest table.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{ops::RangeInclusive, time::Duration};

use toml::de::{DeTable, DeValue};

use super::{choice::Choice, duration, fault::Report, spelling::nearest};

/// A table of the file, or the lack of one.
#[derive(Clone)]
pub(super) struct Section<'d> {
    table: Option<&'d DeTable<'d>>,
    path: String,
    offset: usize,
    report: &'d Report,
}

/// A value of the file.
pub(super) struct Value<'d> {
    /// The key from the file's root.
    path: String,
    value: &'d DeValue<'d>,
    offset: usize,
    report: &'d Report,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub(super) fn root(table: &'d DeTable<'d>, report: &'d Report) -> Self {
        Self { table: Some(table), path: String::new(), offset: 0, report }
    }

    /// The keys with their values, in the file's order.
    pub(super) fn entries(&self) -> Vec<(&'d str, Value<'d>)> {
        let mut keys: Vec<_> = self.table.into_iter().flatten().map(|(key, _)| key).collect();
        keys.sort_by_key(|key| key.span().start);
        keys.into_iter()
            .filter_map(|key| Some((key.get_ref().as_ref(), self.value(key.get_ref())?)))
            .collect()
    }

    /// The tables of a table of named tables, in the file's order.
    pub(super) fn named(&self, key: &str) -> Vec<(&'d str, Self)> {
        let entries = self.section(key).entries();
        entries.into_iter().filter_map(|(name, value)| Some((name, value.section()?))).collect()
    }

    /// A table within this one; an empty one if it is not there.
    pub(super) fn section(&self, key: &str) -> Self {
        self.value(key).and_then(|value| value.section()).unwrap_or_else(|| Section {
            table: None,
            path: join(&self.path, key),
            offset: self.offset,
            report: self.report,
        })
    }

    /// The line on which it begins, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.report.line(self.offset)
    }

    /// Whether the file has the key.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The value of a key, if the file has it.
    pub(super) fn value(&self, key: &str) -> Option<Value<'d>> {
        let (key, value) = self.table?.get_key_value(key)?;
        Some(Value {
            path: join(&self.path, key.get_ref()),
            // The header of a table is not where its keys are, but a value is where its key is.
            offset: key.span().start,
            value: value.get_ref(),
            report: self.report,
        })
    }

    /// What a key says, or the default.
    pub(super) fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// What a key says, if it is there.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<T> {
        self.value(key).and_then(|value| read(&value))
    }

    /// What a key says; a fault if it is not there. The hint says what to write then.
    pub(super) fn required<T>(
        &self,
        key: &str,
        hint: &str,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<T> {
        if !self.holds(key) {
            self.fault(&[key], "is missing", hint);
        }
        self.optional(key, read)
    }

    /// Records a fault of a key, given by its path from here; a number stands for the place in a
    /// list. What is not in the file is reported where the innermost table of the path begins.
    pub(super) fn fault(&self, path: &[&str], problem: impl Into<String>, remedy: &str) {
        let (offset, key) = self.place(path);
        self.report.fault(offset, &key, problem.into(), remedy);
    }

    /// Records a warning about a key, placed like a fault.
    pub(super) fn warning(&self, path: &[&str], problem: impl Into<String>, remedy: &str) {
        let (offset, key) = self.place(path);
        self.report.warning(offset, &key, problem.into(), remedy);
    }

    fn place(&self, path: &[&str]) -> (usize, String) {
        let (mut offset, mut key) = (self.offset, self.path.clone());
        let mut table = self.table;
        let mut list = None;
        for segment in path {
            if let Ok(place) = segment.parse::<usize>()
                && let Some(items) = list.take()
            {
                let items: &toml::de::DeArray<'_> = items;
                offset = items.get(place).map_or(offset, |item| item.span().start);
                continue;
            }
            key = join(&key, segment);
            let Some((found, value)) = table.and_then(|table| table.get_key_value(*segment)) else {
                table = None;
                continue;
            };
            offset = found.span().start;
            table = value.get_ref().as_table();
            list = value.get_ref().as_array();
        }
        (offset, key)
    }
}

impl<'d> Value<'d> {
    /// Records a fault of this value.
    pub(super) fn fault(&self, problem: impl Into<String>, remedy: &str) {
        self.report.fault(self.offset, &self.path, problem.into(), remedy);
    }

    /// Records a warning about this value.
    pub(super) fn warning(&self, problem: impl Into<String>, remedy: &str) {
        self.report.warning(self.offset, &self.path, problem.into(), remedy);
    }

    /// The value as a table; none, and no fault, if it is none.
    pub(super) fn section(&self) -> Option<Section<'d>> {
        let (path, offset) = (self.path.clone(), self.offset);
        self.value.as_table().map(|table| Section {
            table: Some(table),
            path,
            offset,
            report: self.report,
        })
    }

    /// The value as a list of tables; none, and no fault, if it is anything else.
    pub(super) fn sections(&self) -> Option<Vec<Section<'d>>> {
        let tables = self.value.as_array()?.iter().map(|item| {
            let table = item.get_ref().as_table()?;
            let (path, offset) = (self.path.clone(), item.span().start);
            Some(Section { table: Some(table), path, offset, report: self.report })
        });
        tables.collect()
    }

    /// Whether the value is this very string.
    pub(super) fn is(&self, text: &str) -> bool {
        self.value.as_str() == Some(text)
    }

    /// Whether the value is a list without items.
    pub(super) fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(|array| array.is_empty())
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// A string.
    pub(super) fn text(&self) -> Option<&'d str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type("a string", "write it in quotes");
        }
        text
    }

    /// A path of a file; only looked at, not opened.
    pub(super) fn file(&self) -> Option<String> {
        let path = self.text()?;
        if path.is_empty() || path.contains('\0') {
            self.fault(format!("\"{}\" is no path", path.escape_debug()), "name a file");
            return None;
        }
        Some(path.to_owned())
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        let boolean = self.value.as_bool();
        if boolean.is_none() {
            self.wrong_type("a boolean", "write true or false, without quotes");
        }
        boolean
    }

    /// A whole number within limits.
    pub(super) fn integer(&self, limits: RangeInclusive<u32>) -> Option<u32> {
        let Some(integer) = self.value.as_integer() else {
            self.wrong_type("an integer", "write a whole number, without quotes");
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| limits.contains(number));
        if number.is_none() {
            let remedy = format!("it may be {} to {}", limits.start(), limits.end());
            self.fault(format!("{integer} is out of range"), &remedy);
        }
        number
    }

    /// A duration that is not zero.
    pub(super) fn duration(&self) -> Option<Duration> {
        let duration = self.interval()?;
        if duration.is_none() {
            self.fault("may not be zero", "write a duration such as \"30s\"");
        }
        duration
    }

    /// A duration; zero stands for "never".
    pub(super) fn interval(&self) -> Option<Option<Duration>> {
        let text = match self.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(integer) if integer.as_str() == "0" => "0",
            DeValue::Integer(integer) => {
                let remedy = format!("write \"{integer}s\" if seconds are meant");
                self.wrong_type("a duration in quotes", &remedy);
                return None;
            }
            DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.wrong_type("a duration in quotes", DURATION_SHAPE);
                return None;
            }
        };
        let duration = duration::parse(text);
        if duration.is_none() {
            self.fault(format!("\"{}\" is no duration", text.escape_debug()), DURATION_SHAPE);
        }
        duration.map(|duration| Some(duration).filter(|duration| !duration.is_zero()))
    }

    /// One of the names of a choice.
    pub(super) fn choice<C: Choice>(&self) -> Option<C> {
        let text = self.text()?;
        let mut names = C::NAMES.iter();
        let found = names.find(|(name, _)| name.eq_ignore_ascii_case(text));
        if found.is_none() {
            self.not_a_choice(text, C::NAMES.iter().map(|(name, _)| *name));
        }
        found.map(|(_, value)| *value)
    }

    /// Records that a name is not one of those there are.
    pub(super) fn not_a_choice<'a>(
        &self,
        text: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) {
        let problem = format!("\"{}\" is not known here", text.escape_debug());
        match nearest(text, names.clone()) {
            Some(name) => self.fault(problem, &format!("did you mean \"{name}\"?")),
            None => {
                let names: Vec<&str> = names.collect();
                self.fault(problem, &format!("it may be {}", names.join(", ")));
            }
        }
    }

    /// A list, each item read by itself and none of them twice.
    pub(super) fn list<T: PartialEq>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<Vec<T>> {
        let Some(array) = self.value.as_array() else {
            self.wrong_type("a list", "write it in brackets: [\"…\"]");
            return None;
        };
        let mut items = Vec::new();
        for item in array {
            let value = Value {
                path: self.path.clone(),
                value: item.get_ref(),
                offset: item.span().start,
                report: self.report,
            };
            let Some(item) = read(&value) else { continue };
            if items.contains(&item) {
                value.fault(format!("{} is listed twice", value.shown()), "remove one of them");
            }
            items.push(item);
        }
        Some(items)
    }

    fn shown(&self) -> String {
        self.value.as_str().map_or_else(String::new, |text| format!("\"{}\"", text.escape_debug()))
    }

    fn wrong_type(&self, wanted: &str, remedy: &str) {
        let kind = self.value.type_str();
        let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
        self.fault(format!("must be {wanted}, not {article} {kind}"), remedy);
    }
}

const DURATION_SHAPE: &str =
    "write a whole number with ms, s, m, h or d, such as \"30s\"; 366d at most";

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
