//! How the devices of a rollout are dealt out to its batches: see
//! docs/adr/0011-layout-scope-conflicts.md.

use std::collections::BTreeMap;
use windlass_types::policy::{BatchSize, RolloutRule, Strategy};

/// The devices of a rollout that have the same value of the tag that `batch_by` names; all of them
/// where it names none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The value; none for devices without the tag.
    pub value: Option<String>,
    /// How many there are.
    pub devices: i64,
    /// How many of them carry the tags that choose the first batch ([`chosen_tags`]). They come first
    /// in the order of the group.
    pub chosen: i64,
}

/// Places of a group that make up a batch: above `after`, up to and with `upto`, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The group's value.
    pub value: Option<String>,
    /// The batch, from 1.
    pub batch: i64,
    /// The last place before it.
    pub after: i64,
    /// Its last place.
    pub upto: i64,
}

/// Which places of which group are in which batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// For each group how many of it are in the batches up to each one; the last number is the group.
    groups: BTreeMap<Option<String>, Vec<i64>>,
    sizes: Vec<i64>,
}

/// Nobody in scope carries the tags that choose the first batch: without its first batch a canary or a
/// comparison would go to everybody unproved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no device that can take the image carries the tags of the first batch ({tags})")]
pub struct NobodyChosen {
    /// The tags.
    pub tags: String,
}

impl Layout {
    /// How many devices each batch has. None of them is empty.
    #[must_use]
    pub fn sizes(&self) -> &[i64] {
        &self.sizes
    }

    /// How many batches there are; at least one, as a rollout has a last batch for those who join.
    #[must_use]
    pub fn batches(&self) -> i64 {
        i64::try_from(self.sizes.len().max(1)).unwrap_or(i64::MAX)
    }

    /// The batch, from 1, of the device at this place, from 1, of the group with this value. Whoever
    /// has no place is in the last one.
    #[must_use]
    pub fn batch_of(&self, value: Option<&str>, place: i64) -> i64 {
        let ends = self.groups.get(&value.map(str::to_owned));
        let found = ends.and_then(|ends| (1_i64..).zip(ends).find(|(_, end)| place <= **end));
        found.map_or_else(|| self.batches(), |(batch, _)| batch)
    }

    /// The same as ranges of places, for a statement that deals all devices out at once. Empty ranges
    /// are left out.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range> {
        let mut ranges = Vec::new();
        for (value, ends) in &self.groups {
            let mut after = 0;
            for (batch, upto) in (1..).zip(ends) {
                if *upto > after {
                    ranges.push(Range {
                        value: value.clone(),
                        batch,
                        after,
                        upto: *upto,
                    });
                }
                after = *upto;
            }
        }
        ranges
    }
}

/// The tags that choose the devices of the first batch, where it is chosen by tags. Empty otherwise.
#[must_use]
pub fn chosen_tags(rule: &RolloutRule) -> BTreeMap<String, String> {
    match rule.strategy {
        Strategy::Canary => rule.canary.as_ref().map(|canary| canary.tags.clone()),
        Strategy::Ab => rule.ab.as_ref().map(|ab| ab.tags.clone()),
        Strategy::Auto | Strategy::Staged | Strategy::Manual | Strategy::Scheduled => None,
    }
    .unwrap_or_default()
}

/// How far a batch reaches.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// The devices chosen by tags.
    Chosen,
    /// A size as in a policy.
    Size(BatchSize),
    /// Everybody.
    All,
}

fn reaches(rule: &RolloutRule) -> Vec<Reach> {
    let staged = rule.batches.iter().copied().map(Reach::Size);
    let first = |count: Option<u32>, percent: Option<u32>| {
        let size = count
            .map(BatchSize::Count)
            .or(percent.map(BatchSize::Percent));
        size.map_or(Reach::Chosen, Reach::Size)
    };
    let mut reaches: Vec<Reach> = match (rule.strategy, &rule.canary, &rule.ab) {
        (Strategy::Auto, _, _) | (Strategy::Ab, _, None) => Vec::new(),
        (Strategy::Canary, Some(canary), _) => {
            let first = first(canary.count, canary.percent);
            std::iter::once(first).chain(staged).collect()
        }
        (Strategy::Ab, _, Some(ab)) => vec![first(None, ab.percent)],
        (Strategy::Canary | Strategy::Staged | Strategy::Manual | Strategy::Scheduled, _, _) => {
            staged.collect()
        }
    };
    reaches.push(Reach::All);
    reaches
}

/// Deals devices out to batches. Shares are cumulative, taken of each group apart and rounded up, so
/// that no group is too small for the first batch; counts are of all devices and are spread over the
/// groups in proportion to who is left in them, exactly; batches that would add nobody are left out;
/// devices beyond the last batch make one more. The order of the groups makes no difference.
///
/// # Errors
/// [`NobodyChosen`] where the first batch is chosen by tags that nobody carries, and there are devices.
pub fn layout(groups: &[Group], rule: &RolloutRule) -> Result<Layout, NobodyChosen> {
    let mut totals: BTreeMap<Option<String>, (i64, i64)> = BTreeMap::new();
    for group in groups {
        let (devices, chosen) = totals.entry(group.value.clone()).or_default();
        *devices += group.devices;
        *chosen += group.chosen;
    }
    let total: i64 = totals.values().map(|(devices, _)| devices).sum();
    let mut ends = vec![0_i64; totals.len()];
    let mut layout = Layout {
        groups: totals
            .keys()
            .cloned()
            .map(|key| (key, Vec::new()))
            .collect(),
        sizes: Vec::new(),
    };
    let mut before = 0;
    for reach in reaches(rule) {
        let next = match reach {
            Reach::All => totals.values().map(|(devices, _)| *devices).collect(),
            Reach::Chosen => {
                let chosen: Vec<i64> = totals.values().map(|(_, chosen)| *chosen).collect();
                if total > 0 && chosen.iter().sum::<i64>() == 0 {
                    return Err(NobodyChosen {
                        tags: described(&chosen_tags(rule)),
                    });
                }
                chosen
            }
            Reach::Size(BatchSize::Percent(percent)) => totals
                .values()
                .map(|(devices, _)| share(*devices, percent))
                .collect(),
            Reach::Size(BatchSize::Count(count)) => {
                let left: Vec<i64> = totals
                    .values()
                    .zip(&ends)
                    .map(|((devices, _), end)| devices - end)
                    .collect();
                let more = apportion(i64::from(count), &left);
                ends.iter()
                    .zip(more)
                    .map(|(end, more)| end + more)
                    .collect()
            }
        };
        let next: Vec<i64> = ends
            .iter()
            .zip(next)
            .map(|(end, next)| next.max(*end))
            .collect();
        let reached = next.iter().sum::<i64>();
        if reached > before {
            layout.sizes.push(reached - before);
            for (group, end) in layout.groups.values_mut().zip(&next) {
                group.push(*end);
            }
            before = reached;
        }
        ends = next;
    }
    Ok(layout)
}

fn share(devices: i64, percent: u32) -> i64 {
    // Devices fit into 57 bits, so the product fits into 64.
    let up = devices
        .saturating_mul(i64::from(percent))
        .saturating_add(99)
        / 100;
    up.min(devices)
}

/// Spreads `count` over groups in proportion to their sizes, by the largest remainders; the earlier
/// group where they are equal. Nobody gets more than they have, and the sum is exact.
fn apportion(count: i64, sizes: &[i64]) -> Vec<i64> {
    let whole = i128::from(sizes.iter().sum::<i64>());
    let count = i128::from(count).min(whole);
    if whole == 0 {
        return vec![0; sizes.len()];
    }
    let mut parts: Vec<i64> = Vec::with_capacity(sizes.len());
    let mut rests: Vec<(i128, std::cmp::Reverse<usize>)> = Vec::with_capacity(sizes.len());
    for (at, size) in sizes.iter().enumerate() {
        let quota = count * i128::from(*size);
        // A part of a size fits into what the size does.
        parts.push(i64::try_from(quota / whole).unwrap_or(*size));
        rests.push((quota % whole, std::cmp::Reverse(at)));
    }
    let given: i128 = parts.iter().map(|part| i128::from(*part)).sum();
    rests.sort_unstable_by(|one, other| other.cmp(one));
    let missing = usize::try_from(count - given).unwrap_or(0);
    for (_, std::cmp::Reverse(at)) in rests.into_iter().take(missing) {
        if let Some(part) = parts.get_mut(at) {
            *part += 1;
        }
    }
    parts
}

fn described(tags: &BTreeMap<String, String>) -> String {
    let parts: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
