//! Who is in which batch: see docs/adr/0005-batches.md.
//!
//! Each device carries a number drawn from its uuid; a rollout orders its devices by that number put
//! through an affine map over the integers modulo a prime, whose coefficients come from the rollout's
//! seed. Databases can do the same sum, so a batch is one statement however large the fleet.

mod layout;

pub use layout::{Group, Layout, NobodyChosen, Range, chosen_tags, layout};

use sha2::{Digest as _, Sha256};
use windlass_types::ids::DeviceId;
use windlass_types::policy::BatchSize;

/// The prime 2^31 − 1. Two factors below it make a product below 2^62, which both databases take for
/// a 64-bit integer.
pub const MODULUS: i64 = 2_147_483_647;

/// The number a device is ordered by, drawn from its uuid: 0 to [`MODULUS`] − 1.
#[must_use]
pub fn shuffle_of(device: DeviceId) -> i64 {
    draw(&[b"device", device.0.as_bytes()], MODULUS)
}

/// A seed drawn from a text. Rollouts by hand take their image, so that what a dry run shows is what
/// will be.
#[must_use]
pub fn seed_of(text: &str) -> i64 {
    draw(&[b"seed", text.as_bytes()], i64::MAX)
}

/// The map of one rollout, `a` from 1 and `b` from 0, both below [`MODULUS`]. `a` is never 0, so
/// that different numbers stay different.
#[must_use]
pub fn coefficients(seed: i64) -> (i64, i64) {
    let seed = seed.to_be_bytes();
    (
        1 + draw(&[b"factor", &seed], MODULUS - 1),
        draw(&[b"offset", &seed], MODULUS),
    )
}

/// Where a device stands in the order of a rollout; the uuid decides between equals.
#[must_use]
pub const fn order_key(shuffle: i64, (a, b): (i64, i64)) -> i64 {
    (shuffle * a + b) % MODULUS
}

/// A number below `limit` from the first eight bytes of a hash. What the remainder favours is less
/// than one part in 2^32.
fn draw(parts: &[&[u8]], limit: i64) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let number = hash
        .finalize()
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    // The remainder is below a positive i64, so it fits.
    i64::try_from(number % limit.unsigned_abs()).unwrap_or(0)
}

/// How many devices are in the batches up to each one: strictly rising, the last is `total`. Shares
/// are rounded up, so the first batch of a small fleet is one device; a batch that would add nobody
/// is left out; devices beyond the last batch make one more. Empty where there are no devices.
#[must_use]
pub fn bounds(total: i64, sizes: &[BatchSize]) -> Vec<i64> {
    let mut bounds = Vec::with_capacity(sizes.len() + 1);
    let mut before = 0;
    let ends = sizes.iter().copied().map(Some).chain([None]);
    for size in ends {
        let end = match size {
            Some(BatchSize::Percent(percent)) => {
                // Devices fit into 57 bits, so the product fits into 64.
                (total.saturating_mul(i64::from(percent)).saturating_add(99)) / 100
            }
            Some(BatchSize::Count(count)) => before + i64::from(count),
            None => total,
        };
        let end = end.min(total);
        if end > before {
            bounds.push(end);
            before = end;
        }
    }
    bounds
}

/// The batch, from 1, of the device with this rank, from 1. Ranks beyond the last bound are in the
/// last batch.
#[must_use]
pub fn batch_of(rank: i64, bounds: &[i64]) -> i64 {
    let before = bounds.iter().filter(|bound| **bound < rank).count();
    let last = bounds.len().max(1);
    i64::try_from((before + 1).min(last)).unwrap_or(i64::MAX)
}

/// How many devices each batch has.
#[must_use]
pub fn sizes(bounds: &[i64]) -> Vec<i64> {
    let starts = std::iter::once(&0).chain(bounds);
    bounds
        .iter()
        .zip(starts)
        .map(|(end, start)| end - start)
        .collect()
}

#[cfg(test)]
mod tests;
