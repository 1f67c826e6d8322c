//! Figures as tables: on a terminal and in a page.

use crate::figures::{Figures, Run};
use crate::row::{Goal, Row, Spread};
use std::fmt::Write as _;

/// Prints every row: median, smallest and largest of each figure.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<64} {:>28} {:>28} {:>22}  goal",
        "figure (median, min–max)", "windlass", "reference", "ratio"
    );
    for row in rows {
        println!(
            "{:<64} {:>28} {:>28} {:>22}  {}",
            format!("{} [{}]", row.name, row.unit),
            figure(&row.ours),
            figure(&row.reference),
            ratio(row),
            goal(row),
        );
        if let Some(reference) = &row.reference_name {
            println!("    reference: {reference}");
        }
        for note in &row.notes {
            println!("    note: {note}");
        }
        for reason in &row.untrusted {
            println!("    untrusted: {reason}");
        }
    }
}

/// The figures as Markdown: for each run one table, its machine and its command.
pub(crate) fn markdown(figures: &Figures) -> String {
    figures
        .runs
        .iter()
        .map(markdown_of)
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn markdown_of(run: &Run) -> String {
    let machine = &run.machine;
    let mut text = format!(
        "{} UTC, windlass {}; {} cores ({}), {} GiB, {}, {}, PostgreSQL {}, {}; load average {:.1} before:\n\n    {}\n\n",
        run.date,
        run.windlass,
        machine.cores,
        machine.processor,
        machine.memory_mib.div_ceil(1024),
        machine.system,
        machine.kernel,
        machine.postgresql,
        machine.rustc,
        machine.load_before,
        run.command,
    );
    text.push_str("| Path | Windlass | Reference | Ratio | Asked |\n|---|---|---|---|---|");
    let mut remarks: Vec<&str> = Vec::new();
    for row in &run.rows {
        let mut marks = String::new();
        for reason in row.untrusted.iter().chain(&row.notes) {
            let known = remarks.iter().position(|remark| remark == reason);
            let number = known.unwrap_or_else(|| {
                remarks.push(reason);
                remarks.len() - 1
            });
            // Writing to a string cannot fail.
            write!(marks, " [{}]", number + 1).ok();
        }
        let reference = match (&row.reference_name, row.reference.is_empty()) {
            (Some(name), false) => format!("{} {}: {name}", figure(&row.reference), row.unit),
            (Some(name), true) => name.clone(),
            (None, _) => "–".to_owned(),
        };
        write!(
            text,
            "\n| {}{marks} | {} {} | {reference} | {} | {} |",
            row.name,
            figure(&row.ours),
            row.unit,
            ratio(row),
            goal(row),
        )
        .ok();
    }
    if !remarks.is_empty() {
        text.push('\n');
    }
    for (number, remark) in remarks.iter().enumerate() {
        write!(text, "\n{}. {remark}", number + 1).ok();
    }
    text
}

fn ratio(row: &Row) -> String {
    shown(&row.ratios(), 2)
}

fn figure(values: &[f64]) -> String {
    let median = Spread::of(values).map_or(0.0, |spread| spread.median);
    let digits = match median.abs() {
        value if value < 10.0 => 2,
        value if value < 1000.0 => 1,
        _ => 0,
    };
    shown(values, digits)
}

fn shown(values: &[f64], digits: usize) -> String {
    let Some(Spread { min, median, max }) = Spread::of(values) else {
        return "–".to_owned();
    };
    let number = |value: f64| grouped(&format!("{value:.digits$}"));
    match values.len() {
        1 => number(median),
        _ => format!("{} ({}–{})", number(median), number(min), number(max)),
    }
}

/// `1234567.8` as `1,234,567.8`.
fn grouped(number: &str) -> String {
    let (whole, rest) = match number.split_once('.') {
        Some((whole, rest)) => (whole, Some(rest)),
        None => (number, None),
    };
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(rest) = rest {
        text.push('.');
        text.push_str(rest);
    }
    text
}

/// What was asked and whether it was reached.
fn goal(row: &Row) -> String {
    let Some(goal) = row.goal else {
        return "–".to_owned();
    };
    let asked = match goal {
        Goal::RatioAtLeast(least) => format!("≥ {least} ×"),
        Goal::RatioAtMost(most) => format!("≤ {most} ×"),
        Goal::AtMost(most) => format!("≤ {} {}", grouped(&most.to_string()), row.unit),
    };
    let judged = match (row.reached(), row.untrusted.is_empty()) {
        (None, _) => "not measured",
        (Some(true), true) => "reached",
        (Some(true), false) => "reached, untrusted",
        (Some(false), true) => "missed",
        (Some(false), false) => "missed, untrusted",
    };
    format!("{asked}: {judged}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_asked_and_whether_it_was_reached() {
        let mut row = Row::new("polls", "requests/s")
            .against("bare")
            .goal(Goal::RatioAtLeast(0.8));
        row.pair(80_000.0, 100_000.0);
        row.pair(85_000.0, 100_000.0);
        row.pair(90_000.0, 100_000.0);
        assert_eq!(figure(&row.ours), "85,000 (80,000–90,000)");
        assert_eq!(ratio(&row), "0.85 (0.80–0.90)");
        assert_eq!(goal(&row), "≥ 0.8 ×: reached");
        row.untrusted.push("other load".to_owned());
        assert_eq!(goal(&row), "≥ 0.8 ×: reached, untrusted");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped("1234567.8"), "1,234,567.8");
        assert_eq!(grouped("-123456"), "-123,456");
        assert_eq!(grouped("12"), "12");
    }
}
