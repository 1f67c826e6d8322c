//! A rollout's progress: a bar for each batch on a terminal, a line for each change elsewhere.

use crate::exit::Failure;
use crate::output::Out;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use windlass_types::rollout::{BatchProgress, RolloutView};

/// Bars or lines.
pub(crate) struct Board {
    multi: Option<MultiProgress>,
    bars: Vec<ProgressBar>,
    told: String,
}

impl Board {
    /// Bars where a person is watching.
    pub(crate) fn new(out: &Out) -> Self {
        let multi = out
            .draws()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        Self {
            multi,
            bars: Vec::new(),
            told: String::new(),
        }
    }

    /// Shows where the rollout stands now.
    pub(crate) fn show(&mut self, view: &RolloutView, out: &mut Out) -> Result<(), Failure> {
        if out.is_json() {
            let text =
                serde_json::to_string(view).map_err(|error| Failure::failed(error.to_string()))?;
            return self.changed(text, out);
        }
        let Some(multi) = &self.multi else {
            return self.changed(line(view), out);
        };
        while self.bars.len() < view.batches.len() {
            let bar = multi.add(ProgressBar::new(0));
            bar.set_style(style());
            bar.set_prefix(format!("batch {}", self.bars.len() + 1));
            self.bars.push(bar);
        }
        for (bar, batch) in self.bars.iter().zip(&view.batches) {
            bar.set_length(u64::try_from(batch.total).unwrap_or(0));
            bar.set_position(
                u64::try_from(batch.total - batch.pending - batch.in_flight()).unwrap_or(0),
            );
            bar.set_message(counts(batch));
        }
        Ok(())
    }

    /// A line that stays: above the bars where there are any.
    pub(crate) fn say(&self, text: &str, out: &mut Out) -> Result<(), Failure> {
        match &self.multi {
            Some(multi) => Ok(multi.println(text)?),
            None => out.line(text),
        }
    }

    /// Leaves the bars as they are and begins anew below.
    pub(crate) fn finish(&mut self) {
        for bar in self.bars.drain(..) {
            bar.abandon();
        }
        self.told.clear();
        if self.multi.is_some() {
            self.multi = Some(MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        }
    }

    fn changed(&mut self, text: String, out: &mut Out) -> Result<(), Failure> {
        if text != self.told {
            out.line(&text)?;
            self.told = text;
        }
        Ok(())
    }
}

fn style() -> ProgressStyle {
    // The template is fixed; should it ever be wrong, a plain bar is drawn.
    ProgressStyle::with_template("  {prefix} [{bar:28}] {pos:>4}/{len:<4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█▉▊▋▌▍▎▏ ")
}

/// Where a rollout stands, in one line.
pub(crate) fn line(view: &RolloutView) -> String {
    let rollout = &view.rollout;
    let mut text = format!(
        "{}: batch {}/{}",
        rollout.status, rollout.current_batch, rollout.batch_count
    );
    let mut sum = BatchProgress::default();
    for batch in &view.batches {
        add(&mut sum, batch);
    }
    text.push_str(&format!(
        ", {} devices: {}",
        rollout.total_devices,
        counts(&sum)
    ));
    if let Some(detail) = &rollout.status_detail {
        text.push_str(&format!(" ({detail})"));
    }
    text
}

fn add(sum: &mut BatchProgress, batch: &BatchProgress) {
    sum.total += batch.total;
    sum.pending += batch.pending;
    sum.scheduled += batch.scheduled;
    sum.updating += batch.updating;
    sum.verifying += batch.verifying;
    sum.completed += batch.completed;
    sum.failed += batch.failed;
    sum.unreachable += batch.unreachable;
    sum.skipped += batch.skipped;
    sum.rolling_back += batch.rolling_back;
    sum.rolled_back += batch.rolled_back;
    sum.rollback_failed += batch.rollback_failed;
}

/// Every kind that is there, with its number.
pub(crate) fn counts(batch: &BatchProgress) -> String {
    let parts: Vec<String> = [
        (batch.completed, "healthy"),
        (batch.verifying, "verifying"),
        (batch.updating, "updating"),
        (batch.scheduled, "scheduled"),
        (batch.failed, "failed"),
        (batch.rolling_back, "rolling back"),
        (batch.rolled_back, "rolled back"),
        (batch.rollback_failed, "rollback failed"),
        (batch.unreachable, "unreachable"),
        (batch.skipped, "skipped"),
        (batch.pending, "waiting"),
    ]
    .into_iter()
    .filter(|(devices, _)| *devices > 0)
    .map(|(devices, what)| format!("{devices} {what}"))
    .collect();
    if parts.is_empty() {
        "no devices".to_owned()
    } else {
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_types::rollout::DeviceStatus;

    #[test]
    fn only_what_is_there_is_told() {
        let mut batch = BatchProgress::default();
        batch.add(DeviceStatus::Completed, 3);
        batch.add(DeviceStatus::RolledBack, 1);
        assert_eq!(counts(&batch), "3 healthy, 1 rolled back");
        assert_eq!(counts(&BatchProgress::default()), "no devices");
    }
}
