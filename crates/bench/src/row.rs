//! One figure: what was measured, beside what, what it should reach, and what speaks against it.

use serde::{Deserialize, Serialize};

/// Pairs below which a median says little.
const PAIRS: usize = 5;
/// A reference whose runs lie further apart than this share of their median measures the machine's mood.
const WIDE: f64 = 0.5;

/// What a figure should reach; judged by its median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// At least so many times the reference.
    RatioAtLeast(f64),
    /// At most so many times the reference.
    RatioAtMost(f64),
    /// At most so much, in the row's unit.
    AtMost(f64),
}

/// One figure and its reference over several pairs of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The benchmark that measured it.
    #[serde(default)]
    pub(crate) benchmark: String,
    /// What was measured.
    pub(crate) name: String,
    /// Its unit.
    pub(crate) unit: String,
    /// Ours, run by run.
    pub(crate) ours: Vec<f64>,
    /// What the reference is, where there is one.
    pub(crate) reference_name: Option<String>,
    /// The reference, run by run; the n-th ran right beside our n-th.
    pub(crate) reference: Vec<f64>,
    /// What it should reach, where something is asked.
    pub(crate) goal: Option<Goal>,
    /// What should be known of it.
    pub(crate) notes: Vec<String>,
    /// Why it cannot be trusted on the machine at hand.
    pub(crate) untrusted: Vec<String>,
}

impl Row {
    /// A figure, nothing measured yet.
    pub(crate) fn new(name: impl Into<String>, unit: &str) -> Self {
        Self {
            benchmark: String::new(),
            name: name.into(),
            unit: unit.to_owned(),
            ours: Vec::new(),
            reference_name: None,
            reference: Vec::new(),
            goal: None,
            notes: Vec::new(),
            untrusted: Vec::new(),
        }
    }

    /// With what it is compared.
    pub(crate) fn against(mut self, reference: impl Into<String>) -> Self {
        self.reference_name = Some(reference.into());
        self
    }

    /// What it should reach.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Something to know of it.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Says that it cannot be trusted where the machine has fewer cores than this: `why` says who
    /// shares them.
    pub(crate) fn wants_cores(mut self, cores: usize, why: &str) -> Self {
        let there = crate::machine::cores();
        if there < cores {
            self.untrusted
                .push(format!("{there} cores instead of {cores}: {why}"));
        }
        self
    }

    /// One run of ours and of the reference beside it.
    pub(crate) fn pair(&mut self, ours: f64, reference: f64) {
        self.ours.push(ours);
        self.reference.push(reference);
    }

    /// One run of ours, where there is no reference.
    pub(crate) fn run(&mut self, ours: f64) {
        self.ours.push(ours);
    }

    /// Ours through the reference, pair by pair.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.ours
            .iter()
            .zip(&self.reference)
            .map(|(ours, reference)| ours / reference)
            .collect()
    }

    /// Whether it reached its goal; nothing where none is set or nothing was measured.
    pub(crate) fn reached(&self) -> Option<bool> {
        let ratio = || Spread::of(&self.ratios()).map(|ratio| ratio.median);
        let figure = || Spread::of(&self.ours).map(|figure| figure.median);
        match self.goal? {
            Goal::RatioAtLeast(least) => ratio().map(|ratio| ratio >= least),
            Goal::RatioAtMost(most) => ratio().map(|ratio| ratio <= most),
            Goal::AtMost(most) => figure().map(|figure| figure <= most),
        }
    }

    /// Adds what its own runs say against it.
    pub(crate) fn judge(&mut self) {
        if self.ours.len() < PAIRS {
            let runs = self.ours.len();
            self.untrusted
                .push(format!("{runs} runs instead of {PAIRS}"));
        }
        if let Some(reference) = Spread::of(&self.reference) {
            let wide = (reference.max - reference.min) / reference.median;
            if wide > WIDE {
                self.untrusted.push(format!(
                    "the reference itself varied by {:.0} % of its median",
                    wide * 100.0
                ));
            }
        }
    }
}

/// Smallest, median and largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The smallest.
    pub(crate) min: f64,
    /// The one in the middle; between the two where the number is even.
    pub(crate) median: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of these; nothing of none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (upper, lower) = (sorted.len() / 2, sorted.len().checked_sub(1)? / 2);
        Some(Self {
            min: *sorted.first()?,
            median: f64::midpoint(*sorted.get(lower)?, *sorted.get(upper)?),
            max: *sorted.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal, pairs: &[(f64, f64)]) -> Row {
        let mut row = Row::new("a path", "requests/s").against("bare").goal(goal);
        for (ours, reference) in pairs {
            row.pair(*ours, *reference);
        }
        row
    }

    #[test]
    fn a_goal_is_judged_by_the_median_of_the_pairs() {
        let pairs = [(50.0, 100.0), (81.0, 100.0), (90.0, 100.0)];
        assert_eq!(row(Goal::RatioAtLeast(0.8), &pairs).reached(), Some(true));
        assert_eq!(row(Goal::RatioAtLeast(0.82), &pairs).reached(), Some(false));
        assert_eq!(row(Goal::AtMost(80.0), &pairs).reached(), Some(false));
        assert_eq!(row(Goal::AtMost(81.0), &[]).reached(), None);
    }

    #[test]
    fn a_reference_that_varies_is_not_trusted() {
        let steady = [
            (1.0, 100.0),
            (1.0, 110.0),
            (1.0, 90.0),
            (1.0, 100.0),
            (1.0, 100.0),
        ];
        let mut row_of = row(Goal::AtMost(2.0), &steady);
        row_of.judge();
        assert_eq!(row_of.untrusted, Vec::<String>::new());
        let mut wild = row(
            Goal::AtMost(2.0),
            &[(1.0, 100.0), (1.0, 200.0), (1.0, 90.0)],
        );
        wild.judge();
        assert_eq!(
            wild.untrusted,
            [
                "3 runs instead of 5",
                "the reference itself varied by 110 % of its median"
            ]
        );
    }

    #[test]
    fn an_even_number_of_values_has_its_median_between_two() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of(&[]), None);
    }
}
