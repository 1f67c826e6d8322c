//! Figures with their references, as a table and as JSON.

use serde::Serialize;

/// One figure and its reference over several pairs of runs.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// Ours, run by run.
    pub(crate) ours: Vec<f64>,
    /// What the reference is.
    pub(crate) reference_name: &'static str,
    /// The reference, run by run; the n-th ran right beside our n-th.
    pub(crate) reference: Vec<f64>,
    /// What limits the trust in it, where something does.
    pub(crate) note: Option<String>,
}

impl Row {
    /// Ours through reference, pair by pair.
    fn ratios(&self) -> Vec<f64> {
        self.ours
            .iter()
            .zip(&self.reference)
            .map(|(ours, reference)| ours / reference)
            .collect()
    }
}

/// Smallest, median and largest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
    (
        at(0),
        at(sorted.len() / 2),
        at(sorted.len().saturating_sub(1)),
    )
}

/// Prints every row: median, smallest and largest of each figure.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<44} {:>28} {:>28} {:>22}",
        "figure (median, min–max)", "windlass", "reference", "ratio"
    );
    for row in rows {
        let show = |values: &[f64], digits: usize| {
            let (min, median, max) = spread(values);
            format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
        };
        let digits = if spread(&row.ours).1 < 100.0 { 2 } else { 0 };
        println!(
            "{:<44} {:>28} {:>28} {:>22}",
            format!("{} [{}]", row.name, row.unit),
            show(&row.ours, digits),
            show(&row.reference, digits),
            show(&row.ratios(), 2),
        );
        println!("    reference: {}", row.reference_name);
        if let Some(note) = &row.note {
            println!("    note: {note}");
        }
    }
}
