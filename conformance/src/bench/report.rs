//! What a run found: a table for people, JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Plan;
use super::case::{Column, Row, Suite, System};
use super::figures::{Figure, Sample, Spread};
use super::system::remark;

/// The system that others are set in relation to.
const YARDSTICK: System = System::Haproxy;

/// All measurements of a run.
pub struct Report {
    lines: Vec<Line>,
    systems: Vec<System>,
    rounds: usize,
    size: f64,
    suite: Suite,
}

/// A system in one row and column.
pub(super) struct Line {
    pub(super) row: Row,
    pub(super) column: Column,
    pub(super) sessions: usize,
    pub(super) system: System,
    /// One a round; none where it failed.
    pub(super) samples: Vec<Option<Sample>>,
}

impl Line {
    fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.samples.iter().flatten().filter_map(|sample| sample.figure(figure)))
    }

    fn is_beside(&self, other: &Self) -> bool {
        (self.row, self.column, self.sessions) == (other.row, other.column, other.sessions)
    }

    /// How a figure compares, round by round.
    fn ratio(&self, other: &Self, figure: Figure) -> Option<Spread> {
        let rounds = self.samples.iter().zip(&other.samples);
        let ratio = |(one, other): (&Option<Sample>, &Option<Sample>)| {
            Some(one.as_ref()?.figure(figure)? / other.as_ref()?.figure(figure)?)
        };
        Spread::of(rounds.filter_map(ratio))
    }
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            lines: Vec::new(),
            systems: plan.systems.clone(),
            rounds: plan.rounds,
            size: plan.size,
            suite: plan.suite,
        }
    }

    pub(super) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let (rounds, size, suite) = (self.rounds, self.size, self.suite.name());
        let _ = writeln!(
            text,
            "Medians of {rounds} rounds of size {size}, least and most beside; TLS 1.3, {suite}."
        );
        for system in &self.systems {
            let _ = writeln!(text, "  {:15}{}", system.name(), remark(*system));
        }
        let mut title = "";
        for line in &self.lines {
            if line.row.title() != title {
                title = line.row.title();
                let _ = write!(text, "\n{title}, for a {}\n{}", line.row.unit(), heading(line.row));
            }
            text.push_str(&self.row(line));
        }
        text
    }

    fn row(&self, line: &Line) -> String {
        let name = if line.row.scales() {
            format!("{} {}", line.column.name(), line.sessions)
        } else {
            line.column.name().to_owned()
        };
        let mut text = format!("  {name:17}{:15}", line.system.name());
        if line.samples.iter().all(Option::is_none) {
            text.push_str("failed\n");
            return text;
        }
        let compared = |figure| {
            let is_yardstick = |other: &&Line| other.is_beside(line) && other.system == YARDSTICK;
            let yardstick = self.lines.iter().find(is_yardstick)?;
            line.ratio(yardstick, figure).map(|ratio| ratio.median)
        };
        let median = |figure| line.spread(figure).map(|spread| spread.median);
        if line.row.wants_fresh() {
            let _ = write!(text, "{}", spread(line.spread(Figure::Memory)));
            let _ = write!(text, "{}", cell(compared(Figure::Memory), 2, 9));
            let _ = write!(text, "{}", cell(median(Figure::IdleCpu), 0, 12));
        } else {
            let _ = write!(text, "{}", spread(line.spread(Figure::Cpu)));
            let _ = write!(text, "{}", cell(compared(Figure::Cpu), 2, 9));
            for (figure, decimals) in [
                (Figure::Rate, 1),
                (Figure::Median, 0),
                (Figure::P99, 0),
                (Figure::Generator, 1),
                (Figure::Sink, 1),
                (Figure::ResumedByClients, 0),
                (Figure::ResumedAtSink, 0),
            ] {
                let _ = write!(text, "{}", cell(median(figure), decimals, 11));
            }
        }
        text.push('\n');
        text
    }

    /// Everything, with every round.
    pub fn json(&self) -> String {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        let report = json!({
            "rounds": self.rounds,
            "size": self.size,
            "suite": self.suite.name(),
            "lines": lines,
        });
        format!("{report:#}\n")
    }
}

impl Line {
    fn json(&self) -> Value {
        let mut figures = serde_json::Map::new();
        let first = self.samples.iter().flatten().next();
        for figure in first.into_iter().flat_map(Sample::figures) {
            let Some(Spread { least, median, most }) = self.spread(figure) else { continue };
            let rounds: Vec<Option<f64>> =
                self.samples.iter().map(|it| it.as_ref()?.figure(figure)).collect();
            let value = json!({ "median": median, "least": least, "most": most, "rounds": rounds });
            figures.insert(figure.name().to_owned(), value);
        }
        json!({
            "row": self.row.name(),
            "unit": self.row.unit(),
            "column": self.column.name(),
            "sessions": self.sessions,
            "system": self.system.name(),
            "failed": self.samples.iter().filter(|it| it.is_none()).count(),
            "figures": figures,
        })
    }
}

fn heading(row: Row) -> String {
    let mut text = format!("  {:17}{:15}", "", "");
    if row.wants_fresh() {
        let _ = writeln!(text, "{:>22}{:>9}{:>12}", "KiB (least most)", "haproxy=1", "idle us/s");
    } else {
        let _ = write!(text, "{:>22}{:>9}", "CPU us (least most)", "haproxy=1");
        for name in ["units/s", "p50 us", "p99 us", "gen us", "sink us", "res.cl %", "res.be %"] {
            let _ = write!(text, "{name:>11}");
        }
        text.push('\n');
    }
    text
}

fn spread(spread: Option<Spread>) -> String {
    let Some(Spread { least, median, most }) = spread else { return format!("{:>22}", "-") };
    let decimals = if median < 100.0 { 1 } else { 0 };
    let text = format!("{median:.decimals$} ({least:.decimals$} {most:.decimals$})");
    format!("{text:>22}")
}

fn cell(value: Option<f64>, decimals: usize, width: usize) -> String {
    match value {
        Some(value) => format!("{value:>width$.decimals$}"),
        None => format!("{:>width$}", "-"),
    }
}
