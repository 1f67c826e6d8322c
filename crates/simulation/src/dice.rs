//! Chance: everything is drawn from one seed, with a generator of its own for each purpose, so that
//! drawing more for one purpose does not change the others.

use sha2::{Digest as _, Sha256};

/// One generator for each purpose.
#[derive(Debug)]
pub(crate) struct Dice {
    /// Who is in the fleet, and how devices behave.
    pub(crate) fleet: fastrand::Rng,
    /// Policies and images.
    pub(crate) rules: fastrand::Rng,
    /// What happens next, and how much time passes.
    pub(crate) steps: fastrand::Rng,
    /// Which transaction goes first.
    pub(crate) turns: fastrand::Rng,
    /// Who dies where.
    pub(crate) crashes: fastrand::Rng,
    /// What operators do.
    pub(crate) operators: fastrand::Rng,
    /// What becomes of reports on their way.
    pub(crate) reports: fastrand::Rng,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let of = |purpose: &str| fastrand::Rng::with_seed(child(seed, purpose));
        Self {
            fleet: of("fleet"),
            rules: of("rules"),
            steps: of("steps"),
            turns: of("turns"),
            crashes: of("crashes"),
            operators: of("operators"),
            reports: of("reports"),
        }
    }
}

/// A seed for one purpose.
pub(crate) fn child(seed: u64, purpose: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(purpose.as_bytes());
    let mut bytes = [0_u8; 8];
    for (byte, hashed) in bytes.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    u64::from_be_bytes(bytes)
}

/// Whether something happens that happens so often in a hundred times.
pub(crate) fn percent(dice: &mut fastrand::Rng, chance: u32) -> bool {
    dice.u32(..100) < chance
}

/// One of these.
pub(crate) fn one_of<T: Copy>(dice: &mut fastrand::Rng, of: &[T]) -> Option<T> {
    (!of.is_empty())
        .then(|| dice.usize(..of.len()))
        .and_then(|at| of.get(at).copied())
}
