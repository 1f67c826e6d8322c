//! Getting an image: what it needs is looked at before anything is pulled.

use super::look::{Look, Made};
use super::turn::{Rank, Turn};
use crate::memory::FailureClass;
use crate::observed::Image;
use crate::outcome::{StepFailure, failed};
use crate::spec::ServiceKey;
use crate::step::{Note, Step};
use crate::view::Phase;
use windlass_types::image::ImageReference;

/// Whether an image goes by this name.
pub(super) fn goes_by(image: &Image, name: &str) -> bool {
    if image.names.contains(name) || image.id == name {
        return true;
    }
    let Ok(wants) = name.parse::<ImageReference>() else {
        return false;
    };
    let names = image
        .names
        .iter()
        .filter_map(|name| name.parse::<ImageReference>().ok());
    names.into_iter().any(|has| {
        has.repository() == wants.repository()
            && match wants.digest() {
                Some(digest) => has.digest() == Some(digest),
                None => has.digest().is_none() && tag(&has) == tag(&wants),
            }
    })
}

/// The tag that a reference without a digest means.
fn tag(image: &ImageReference) -> &str {
    image.tag().unwrap_or("latest")
}

/// Whether the engine has an image.
pub(super) fn is_there(look: &Look<'_>, name: &str) -> bool {
    look.observed
        .images
        .iter()
        .any(|image| goes_by(image, name))
}

/// The way to an image that is not there.
pub(super) fn fetch(look: &Look<'_>, key: ServiceKey, made: &Made<'_>) -> Turn {
    let image = &made.spec.image;
    let pulling = &look.observed.pulling;
    if pulling.contains(image) {
        return Turn::wait(Phase::Pulling, "the image to be pulled", None);
    }
    let Some(offer) = look.observed.offers.get(image) else {
        let image = image.clone();
        return Turn::go(
            Phase::Pulling,
            Rank::Fetch,
            Step::Inspect {
                service: key,
                image,
            },
        );
    };
    let runs = |platform: &String| {
        let engine = look.observed.platform.as_deref();
        engine.is_none_or(|engine| runs_on(platform, engine))
    };
    if !offer.platforms.is_empty() && !offer.platforms.iter().any(runs) {
        let offered: Vec<&str> = offer.platforms.iter().map(String::as_str).collect();
        let engine = look.observed.platform.as_deref().unwrap_or_default();
        let message = format!(
            "{image} is for {}, and this is {engine}",
            offered.join(", ")
        );
        return cannot(look, key, made, FailureClass::Pull, message);
    }
    let needs = offer
        .bytes
        .unwrap_or(0)
        .saturating_add(look.settings.reserve_bytes);
    if let Some(free) = look.observed.free_bytes.filter(|free| *free < needs) {
        let message = match offer.bytes {
            Some(bytes) => format!(
                "{image} takes about {} and {} are to stay free, but only {} are free",
                size(bytes),
                size(look.settings.reserve_bytes),
                size(free)
            ),
            None => format!(
                "{} are to stay free, but only {} are free",
                size(look.settings.reserve_bytes),
                size(free)
            ),
        };
        return cannot(look, key, made, FailureClass::Disk, message);
    }
    // One at a time: each was promised what is free.
    if !pulling.is_empty() {
        return Turn::wait(Phase::Pulling, "another image to be pulled", None);
    }
    if look.memory.pulled.contains(image) {
        let image = image.clone();
        return Turn::go(
            Phase::Pulling,
            Rank::Fetch,
            Step::Pull {
                service: key,
                image,
            },
        );
    }
    let mut turn = Turn::note(Phase::Pulling, key, Note::Pulling(image.clone()));
    turn.step = turn.step.map(|(_, step)| (Rank::Fetch, step));
    turn
}

/// What keeps the wanted image away is written down; the last good one is not another failure.
fn cannot(
    look: &Look<'_>,
    key: ServiceKey,
    made: &Made<'_>,
    class: FailureClass,
    message: String,
) -> Turn {
    let specs = look.specs(key);
    if specs.wanted.as_ref().is_none_or(|w| w.print != made.print) {
        return Turn::wait(Phase::Failed, message, None);
    }
    let failure = StepFailure { class, message };
    let version = look.wanted.version;
    let mut failed = failed(
        key,
        made.spec,
        &failure,
        version,
        look.memory,
        look.settings,
        look.now,
    );
    if class == FailureClass::Pull {
        // What it is for does not change with time.
        failed.next_try_at = None;
    }
    Turn::note(Phase::Pulling, key, Note::Failed(failed))
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..=0xf_ffff => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

/// Whether an image for one platform runs on an engine of another, by the rules engines choose by: a
/// processor runs what is made for older ones of its kind.
fn runs_on(image: &str, engine: &str) -> bool {
    let (image, engine) = (Platform::of(image), Platform::of(engine));
    if image.os != engine.os {
        // What names no system is no image: signatures and attestations.
        return false;
    }
    match (engine.kind, image.kind) {
        ("arm64", "arm64") => image.variant <= engine.variant,
        ("arm", "arm") => image.variant <= engine.variant,
        // Both run what is made for 32 bits.
        ("arm64", "arm") => image.variant <= 8,
        ("amd64", "386") => true,
        // Engines do not tell their level, so neither can it be told from here.
        (engine, image) => engine == image,
    }
}

struct Platform<'a> {
    os: &'a str,
    kind: &'a str,
    variant: u8,
}

impl<'a> Platform<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = text.splitn(3, '/');
        let os = parts.next().unwrap_or_default();
        let kind = parts.next().unwrap_or_default();
        let variant = parts
            .next()
            .and_then(|v| v.trim_start_matches('v').parse().ok());
        let (kind, usual) = match kind {
            "arm64" | "aarch64" => ("arm64", 8),
            "arm" | "armhf" | "armv7l" => ("arm", 7),
            "armv6l" | "armel" => ("arm", 6),
            "amd64" | "x86_64" => ("amd64", 1),
            "386" | "i386" | "i686" => ("386", 1),
            other => (other, 1),
        };
        Self {
            os,
            kind,
            variant: variant.unwrap_or(usual),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_runs_what_is_made_for_older_ones_of_its_kind() {
        for (image, engine, expected) in [
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/aarch64", true),
            ("linux/arm64/v9", "linux/arm64", false),
            ("linux/arm/v6", "linux/arm/v7", true),
            ("linux/arm/v5", "linux/arm/v7", true),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/arm/v7", "linux/arm64/v8", true),
            ("linux/arm64", "linux/arm/v7", false),
            ("linux/amd64", "linux/x86_64", true),
            ("linux/386", "linux/amd64", true),
            ("linux/amd64", "linux/386", false),
            ("linux/amd64", "linux/arm64", false),
            ("windows/amd64", "linux/amd64", false),
            ("unknown/unknown", "linux/amd64", false),
            ("linux/riscv64", "linux/riscv64", true),
        ] {
            assert_eq!(runs_on(image, engine), expected, "{image} on {engine}");
        }
    }

    #[test]
    fn an_image_goes_by_what_its_names_mean() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = Image {
            id: "sha256:1".to_owned(),
            names: [format!("nginx@{digest}"), "nginx:1.27".to_owned()].into(),
            bytes: 1,
        };
        for (name, expected) in [
            (format!("nginx:1.27@{digest}"), true),
            (format!("docker.io/library/nginx:other@{digest}"), true),
            ("docker.io/library/nginx:1.27".to_owned(), true),
            ("nginx".to_owned(), false),
            (format!("nginx@sha256:{}", "b".repeat(64)), false),
            (format!("other@{digest}"), false),
        ] {
            assert_eq!(goes_by(&image, &name), expected, "{name}");
        }
    }
}
