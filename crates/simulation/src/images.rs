//! The images of a simulated world: two repositories, some versions each, and how good each is where.

use crate::dice::{child, one_of};
use windlass_simulator::{Bad, ErrorClass, Failure, Probe};

/// The repositories; the second one's services are never moved by rollouts of the first.
pub(crate) const REPOSITORIES: [&str; 2] = [
    "registry.example:5000/demo/app",
    "registry.example:5000/demo/side",
];
/// Versions of each, the first being what fleets begin with.
pub(crate) const VERSIONS: u32 = 9;

/// How good a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quality {
    Good,
    /// Fails everywhere.
    Bad(Failure),
    /// Fails on so many devices in a hundred.
    BadFor(u64, Failure),
}

/// What a version is like in the world of this seed.
pub(crate) fn quality(seed: u64, repository: usize, version: u32) -> Quality {
    let mut dice = fastrand::Rng::with_seed(child(seed, &format!("image {repository} {version}")));
    let failures = [
        Failure::CrashLoop,
        Failure::RemovesContainer,
        Failure::ReportsError,
        Failure::Flaps,
        Failure::Probes(Probe::Fails),
        Failure::Slow(20),
        Failure::Error(ErrorClass::Registry),
        Failure::Error(ErrorClass::Network),
        Failure::Error(ErrorClass::Disk),
    ];
    let failure = one_of(&mut dice, &failures).unwrap_or(Failure::CrashLoop);
    match dice.u32(..100) {
        _ if version == 1 => Quality::Good,
        0..55 => Quality::Good,
        55..75 => Quality::Bad(failure),
        _ => Quality::BadFor(dice.u64(5..60), failure),
    }
}

/// The digest of a version.
pub(crate) fn digest(repository: usize, version: u32) -> String {
    format!("sha256:{repository:x}{version:x}{}", "0".repeat(62))
}

/// The tag of a version.
pub(crate) fn tag(version: u32) -> String {
    format!("v{version}.0.0")
}

/// A version as a reference.
pub(crate) fn image(repository: usize, version: u32) -> String {
    let name = REPOSITORIES.get(repository).copied().unwrap_or_default();
    format!("{name}:{}@{}", tag(version), digest(repository, version))
}

/// What is bad on one device.
pub(crate) fn bad_on(seed: u64, device: u64) -> Vec<Bad> {
    let mut bad = Vec::new();
    for repository in 0..REPOSITORIES.len() {
        for version in 1..=VERSIONS {
            let failure = match quality(seed, repository, version) {
                Quality::Good => None,
                Quality::Bad(failure) => Some(failure),
                Quality::BadFor(share, failure) => {
                    let drawn = child(seed, &format!("luck {repository} {version} {device}")) % 100;
                    (drawn < share).then_some(failure)
                }
            };
            bad.extend(failure.map(|failure| Bad {
                image: digest(repository, version),
                failure,
                tries: tries(failure, device),
            }));
        }
    }
    bad
}

/// Trouble of the surroundings passes in half of the places.
fn tries(failure: Failure, device: u64) -> Option<u32> {
    (matches!(failure, Failure::Error(_)) && device.is_multiple_of(2)).then_some(1)
}
