//! A run: every system is started, and the rounds of each row alternate between them.

use std::io::{self, Write};

use super::Plan;
use super::case::{Column, Row, System};
use super::figures::Sample;
use super::measure::{Bench, Case};
use super::report::{Line, Report};
use super::sink::Remote;
use super::system::{self, Ground, Running};
use super::{program, tls};
use crate::rig::{Authority, raise_open_files};

/// Makes every measurement of a plan; tells `progress` what is under way, and what was left out.
pub fn run(plan: &Plan, progress: &mut dyn Write) -> io::Result<Report> {
    raise_open_files()?;
    let gatepost = program::locate(plan.gatepost.as_deref())?;
    let folder = tempfile::Builder::new().prefix("gatepost-bench-").tempdir()?;
    let authority = Authority::create(folder.path())?;
    let sink = Remote::start(folder.path(), plan.suite)?;
    let tls = [true, false].map(|resumes| tls::client(folder.path(), plan.suite, resumes));
    let [resuming, full] = tls;
    let tls = [resuming?, full?];
    let slow = match plan.rows.iter().any(|row| row.wants_slow_key()) {
        true => authority.with_slow_key(folder.path())?,
        false => authority.clone(),
    };
    let ground = Ground {
        folder: folder.path(),
        authority: &authority,
        sink: sink.ports,
        gatepost: &gatepost,
        suite: plan.suite,
    };
    let mut run = Run {
        plan,
        bench: Bench { sink, size: plan.size, tls },
        systems: start_all(plan, &ground, progress)?,
        ground: &ground,
        slow: &slow,
        report: Report::new(plan),
    };
    for row in &plan.rows {
        for column in &plan.columns {
            for case in cases(plan, *row, *column) {
                run.row(case, progress)?;
            }
        }
    }
    Ok(run.report)
}

struct Run<'a> {
    plan: &'a Plan,
    bench: Bench,
    systems: Vec<(System, Running)>,
    ground: &'a Ground<'a>,
    /// The authority with the slow key.
    slow: &'a Authority,
    report: Report,
}

fn start_all(
    plan: &Plan,
    ground: &Ground<'_>,
    progress: &mut dyn Write,
) -> io::Result<Vec<(System, Running)>> {
    let mut systems = Vec::new();
    for system in &plan.systems {
        // What is not installed whole shows only when it is started.
        let started = match system::obstacle(*system) {
            Some(obstacle) => Err(io::Error::other(obstacle)),
            None => system::start(*system, ground),
        };
        match started {
            Ok(running) => systems.push((*system, running)),
            Err(obstacle) => writeln!(progress, "{} left out: {obstacle}", system.name())?,
        }
    }
    Ok(systems)
}

/// The cases of a row: one, or one for each number of sessions.
fn cases(plan: &Plan, row: Row, column: Column) -> Vec<Case> {
    let case = |sessions| Case { row, column, sessions };
    let numbers = match row {
        // What it is like with nobody beside is what the others are compared with.
        Row::Beside => [&[0], plan.sessions.as_slice()].concat(),
        Row::Idle => plan.sessions.clone(),
        Row::Imap | Row::ImapFull | Row::Pop3 | Row::Submission => vec![0],
        Row::Down | Row::Up | Row::Small | Row::Slow | Row::Workers => vec![0],
    };
    numbers.into_iter().map(case).collect()
}

impl Run<'_> {
    fn row(&mut self, case: Case, progress: &mut dyn Write) -> io::Result<()> {
        let Case { row, column, sessions } = case;
        let taking: Vec<usize> = (0..self.systems.len())
            .filter(|index| self.systems[*index].0.takes(row, column))
            .collect();
        let mut samples: Vec<Vec<Option<Sample>>> = vec![Vec::new(); taking.len()];
        for round in 0..self.plan.rounds.max(1) {
            let (name, of) = (row.name(), self.plan.rounds);
            write!(progress, "\r{name} {} {sessions}: round {} of {of}", column.name(), round + 1)?;
            progress.flush()?;
            // Nobody always follows the same neighbour.
            for turn in 0..taking.len() {
                let place = (turn + round) % taking.len();
                let outcome = self.sample(case, taking[place], round == 0);
                if let Err(error) = &outcome {
                    let system = self.systems[taking[place]].0.name();
                    writeln!(progress, "\n{system} failed in {name}: {error}")?;
                }
                samples[place].push(outcome.ok());
            }
        }
        writeln!(progress)?;
        for (index, samples) in taking.into_iter().zip(samples) {
            let system = self.systems[index].0;
            self.report.add(Line { row, column, sessions, system, samples });
        }
        Ok(())
    }

    fn sample(&mut self, case: Case, index: usize, first: bool) -> io::Result<Sample> {
        let (system, running) = &self.systems[index];
        if case.row.wants_fresh() {
            let fresh = system::start(*system, self.ground)?;
            return self.bench.measure(case, &fresh);
        }
        if case.row.wants_slow_key() {
            let ground = Ground { authority: self.slow, ..*self.ground };
            let slow = system::start(*system, &ground)?;
            self.bench.warm_up(case, &slow)?;
            return self.bench.measure(case, &slow);
        }
        if first {
            self.bench.warm_up(case, running)?;
        }
        self.bench.measure(case, running)
    }
}
