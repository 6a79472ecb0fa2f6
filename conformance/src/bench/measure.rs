//! How each row is measured: the work, and what is read before and after it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use super::case::{Column, Protocol, Row};
use super::figures::{Figure, Sample};
use super::load::words::Exchange;
use super::load::{Crowd, Target, Work};
use super::process::Tree;
use super::sink::{Handshakes, Remote};
use super::system::Running;

/// Clients that log in side by side.
const PARALLEL: usize = 8;
/// The same where workers are to be kept busy: the kernel gives each connection to one of them by
/// its address, and so few as eight would often leave one with nothing to do.
const PARALLEL_FOR_WORKERS: usize = 32;
/// Sessions with small requests.
const SMALL_SESSIONS: usize = 64;
/// Sessions with bulk.
const BULK_SESSIONS: usize = 4;
/// Octets of one bulk answer or message.
const BULK: usize = 1 << 20;
/// Octets of the answer, and of the message, that an idle session has had.
const TRAFFIC: (usize, usize) = (16 * 1024, 4 * 1024);
/// Sessions whose client does not read, and what the backend has for each.
const SLOW: (usize, usize) = (32, 64 << 20);
/// How long a system may take to come to rest.
const REST: Duration = Duration::from_secs(3);
/// How long it is watched doing nothing.
const WATCH: Duration = Duration::from_secs(5);
/// The part of the two that a run of any size waits.
const SMALLEST_WAIT: f64 = 0.1;
/// Logins before anything is measured: tickets, remembered capabilities, warm caches.
const WARM_UP: usize = 64;

/// Units of work of one measurement at size 1.
const fn amount(row: Row, column: Column) -> usize {
    match (row, column.client_tls()) {
        (Row::Imap | Row::Pop3 | Row::Submission, false) => 4_000,
        (Row::ImapFull | Row::Workers, false) => 4_000,
        (Row::Imap | Row::ImapFull | Row::Pop3 | Row::Submission | Row::Workers, true) => 2_000,
        (Row::Down | Row::Up, false) => 2_048,
        (Row::Down | Row::Up, true) => 768,
        (Row::Small | Row::Beside, _) => 60_000,
        (Row::Idle | Row::Slow, _) => 0,
    }
}

/// The generator's side of a run.
pub(super) struct Bench {
    pub(super) sink: Remote,
    pub(super) size: f64,
    /// Resumes sessions; and one that does not.
    pub(super) tls: [Arc<ClientConfig>; 2],
}

/// One measurement that is to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) row: Row,
    pub(super) column: Column,
    /// Idle sessions, in the rows that scale.
    pub(super) sessions: usize,
}

/// What the kernel had counted at one moment.
struct Reading {
    system: Option<Duration>,
    generator: Duration,
    sink: Duration,
    handshakes: Handshakes,
}

impl Bench {
    /// Makes a measurement.
    pub(super) fn measure(&mut self, case: Case, system: &Running) -> io::Result<Sample> {
        match case.row {
            Row::Imap | Row::ImapFull | Row::Pop3 | Row::Submission | Row::Workers => {
                self.logins(case, system)
            }
            Row::Down | Row::Up => self.bulk(case, system),
            Row::Small | Row::Beside => self.small(case, system),
            Row::Idle => self.idle(case, system),
            Row::Slow => self.slow(case, system),
        }
    }

    /// Lets a system see every kind of client that a row will bring.
    pub(super) fn warm_up(&mut self, case: Case, system: &Running) -> io::Result<()> {
        let target = self.target(case, system);
        Crowd::new()?.log_in_and_out(&target, WARM_UP, PARALLEL).map(drop)
    }

    fn target(&self, Case { row, column, .. }: Case, system: &Running) -> Target {
        let protocol = match row {
            Row::Pop3 => Protocol::Pop3,
            Row::Submission => Protocol::Submission,
            Row::Imap | Row::ImapFull | Row::Down | Row::Up | Row::Small => Protocol::Imap,
            Row::Beside | Row::Idle | Row::Slow | Row::Workers => Protocol::Imap,
        };
        let full = matches!(row, Row::ImapFull | Row::Workers);
        let tls = column.client_tls().then(|| Arc::clone(&self.tls[usize::from(full)]));
        Target { protocol, port: system.port(protocol, column), tls, user: column.user() }
    }

    fn amount(&self, case: Case) -> usize {
        // Sizes are chosen by people, and small.
        ((amount(case.row, case.column) as f64 * self.size) as usize).max(1)
    }

    /// Small runs do not wait for long: their figures are no better for it.
    fn part_of(&self, span: Duration) -> Duration {
        span.mul_f64(self.size.clamp(SMALLEST_WAIT, 1.0))
    }

    fn logins(&mut self, case: Case, system: &Running) -> io::Result<Sample> {
        let (target, count) = (self.target(case, system), self.amount(case));
        let mut crowd = Crowd::new()?;
        let before = self.read(system)?;
        let parallel = if case.row == Row::Workers { PARALLEL_FOR_WORKERS } else { PARALLEL };
        let work = crowd.log_in_and_out(&target, count, parallel)?;
        let mut sample = self.compare(&before, system, &work, 1.0)?;
        if case.column.client_tls() {
            let resumed = 100.0 * work.resumed as f64 / work.units() as f64;
            sample.put(Figure::ResumedByClients, resumed);
        }
        Ok(sample)
    }

    fn bulk(&mut self, case: Case, system: &Running) -> io::Result<Sample> {
        let (target, count) = (self.target(case, system), self.amount(case));
        let exchange =
            if case.row == Row::Down { Exchange::down(BULK) } else { Exchange::up(BULK) };
        let mut crowd = Crowd::new()?;
        let keys = crowd.open(&target, BULK_SESSIONS, BULK_SESSIONS)?;
        crowd.exchange(&keys, &exchange, BULK_SESSIONS)?;
        let before = self.read(system)?;
        let work = crowd.exchange(&keys, &exchange, count)?;
        // Counted by the GiB.
        self.compare(&before, system, &work, BULK as f64 / f64::from(1 << 30))
    }

    fn small(&mut self, case: Case, system: &Running) -> io::Result<Sample> {
        let (target, count) = (self.target(case, system), self.amount(case));
        let mut crowd = Crowd::new()?;
        let beside = if case.row == Row::Beside { case.sessions } else { 0 };
        if beside > 0 {
            self.settle(&mut crowd, &target, beside)?;
        }
        let keys = crowd.open(&target, SMALL_SESSIONS, PARALLEL)?;
        crowd.exchange(&keys, &Exchange::small(), SMALL_SESSIONS)?;
        let before = self.read(system)?;
        let work = crowd.exchange(&keys, &Exchange::small(), count)?;
        self.compare(&before, system, &work, 1.0)
    }

    fn idle(&mut self, case: Case, system: &Running) -> io::Result<Sample> {
        let target = self.target(case, system);
        let Some(tree) = system.tree() else { return Ok(Sample::default()) };
        self.warm_up(case, system)?;
        let before = tree.pss_kib()?;
        let mut crowd = Crowd::new()?;
        self.settle(&mut crowd, &target, case.sessions)?;
        thread::sleep(self.part_of(REST));
        let after = tree.pss_kib()?;
        let busy = tree.cpu()?;
        let watch = self.part_of(WATCH);
        thread::sleep(watch);
        let idle = tree.cpu()?.saturating_sub(busy);
        let mut sample = Sample::default();
        let kib = after as f64 - before as f64;
        sample.put(Figure::Memory, kib / case.sessions.max(1) as f64);
        sample.put(Figure::IdleCpu, micros(idle) / watch.as_secs_f64());
        Ok(sample)
    }

    /// Lets clients log in, have some traffic, and stay.
    fn settle(&self, crowd: &mut Crowd, target: &Target, count: usize) -> io::Result<()> {
        let keys = crowd.open(target, count, PARALLEL)?;
        crowd.exchange(&keys, &Exchange::down(TRAFFIC.0), count)?;
        crowd.exchange(&keys, &Exchange::up(TRAFFIC.1), count)?;
        Ok(())
    }

    fn slow(&mut self, case: Case, system: &Running) -> io::Result<Sample> {
        let target = self.target(case, system);
        let Some(tree) = system.tree() else { return Ok(Sample::default()) };
        self.warm_up(case, system)?;
        let mut crowd = Crowd::new()?;
        let (count, octets) = SLOW;
        let keys = crowd.open(&target, count, PARALLEL)?;
        let before = tree.pss_kib()?;
        crowd.shout(&keys, &Exchange::down(octets))?;
        thread::sleep(self.part_of(REST));
        let kib = tree.pss_kib()? as f64 - before as f64;
        let mut sample = Sample::default();
        sample.put(Figure::Memory, kib / count as f64);
        Ok(sample)
    }

    fn read(&mut self, system: &Running) -> io::Result<Reading> {
        Ok(Reading {
            system: system.tree().map(Tree::cpu).transpose()?,
            generator: Tree::own_cpu()?,
            sink: self.sink.tree().cpu()?,
            handshakes: self.sink.handshakes()?,
        })
    }

    /// What the work cost since a reading; `weight` is how much of a unit one piece is.
    fn compare(
        &mut self,
        before: &Reading,
        system: &Running,
        work: &Work,
        weight: f64,
    ) -> io::Result<Sample> {
        let after = self.read(system)?;
        let units = work.units() as f64 * weight;
        let each = |later: Duration, earlier| micros(later.saturating_sub(earlier)) / units;
        let mut sample = Sample::default();
        if let (Some(later), Some(earlier)) = (after.system, before.system) {
            sample.put(Figure::Cpu, each(later, earlier));
        }
        sample.put(Figure::Rate, units / work.wall.as_secs_f64());
        sample.put(Figure::Median, micros(work.quantile(500)));
        sample.put(Figure::P99, micros(work.quantile(990)));
        sample.put(Figure::Generator, each(after.generator, before.generator));
        sample.put(Figure::Sink, each(after.sink, before.sink));
        let full = after.handshakes.full - before.handshakes.full;
        let resumed = after.handshakes.resumed - before.handshakes.resumed;
        if full + resumed > 0 {
            let share = 100.0 * resumed as f64 / (full + resumed) as f64;
            sample.put(Figure::ResumedAtSink, share);
        }
        Ok(sample)
    }
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
