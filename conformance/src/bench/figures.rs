//! The figures of one measurement, and what several of them say together.

/// What a figure tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// Microseconds of the system's CPU for a unit.
    Cpu,
    /// Units a second.
    Rate,
    /// Microseconds within which half of the units were done.
    Median,
    /// Microseconds within which 99 of 100 units were done.
    P99,
    /// KiB of the system's memory for a session.
    Memory,
    /// Microseconds of the system's CPU in a second in which nobody says anything.
    IdleCpu,
    /// Microseconds of the generator's CPU for a unit.
    Generator,
    /// Microseconds of the sink's CPU for a unit.
    Sink,
    /// Per cent of the clients' handshakes that resumed a session.
    ResumedByClients,
    /// Per cent of the handshakes at the sink that resumed a session.
    ResumedAtSink,
}

impl Figure {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_us",
            Self::Rate => "rate_per_second",
            Self::Median => "p50_us",
            Self::P99 => "p99_us",
            Self::Memory => "memory_kib",
            Self::IdleCpu => "idle_cpu_us_per_second",
            Self::Generator => "generator_cpu_us",
            Self::Sink => "sink_cpu_us",
            Self::ResumedByClients => "resumed_by_clients_percent",
            Self::ResumedAtSink => "resumed_at_sink_percent",
        }
    }
}

/// The figures of one measurement.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample(Vec<(Figure, f64)>);

impl Sample {
    pub(super) fn put(&mut self, figure: Figure, value: f64) {
        self.0.push((figure, value));
    }

    pub(super) fn figure(&self, figure: Figure) -> Option<f64> {
        self.0.iter().find(|(it, _)| *it == figure).map(|(_, value)| *value)
    }

    pub(super) fn figures(&self) -> impl Iterator<Item = Figure> {
        self.0.iter().map(|(figure, _)| *figure)
    }
}

/// A median, and how far the values beside it lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    /// None of no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let median = match values.len() {
            0 => return None,
            odd if odd % 2 == 1 => values[odd / 2],
            even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
        };
        Some(Self { least: values[0], median, most: values[values.len() - 1] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_odd_even_and_nothing() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 9.0]).map(|it| it.median), Some(3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]).map(|it| it.median), Some(3.0));
        let Some(Spread { least, most, .. }) = spread(&[3.0, 1.0, 9.0]) else { unreachable!() };
        assert_eq!((least, most), (1.0, 9.0));
    }
}
