//! Whether a device can run what an image offers.
//!
//! Names are those of the OCI image index (`os/architecture/variant`, as Go writes them); the words that
//! `uname -m` and package managers have for them are understood too.

use windlass_types::oci::Platform;

/// A device's platforms from text: one, or several with commas for a device that runs several, the
/// first its own. Empty where none can be read.
#[must_use]
pub fn read(text: &str) -> Vec<Platform> {
    text.split(',').filter_map(one).collect()
}

fn one(text: &str) -> Option<Platform> {
    let text = text.trim().to_ascii_lowercase();
    let mut parts = text.split('/');
    let (os, architecture, variant) = match (parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant) => (os, architecture, variant),
        // A processor alone: everything here runs Linux that does not say otherwise.
        (Some(architecture), None, _) => ("linux", architecture, None),
        (None, ..) => return None,
    };
    if parts.next().is_some() || [Some(os), Some(architecture), variant].contains(&Some("")) {
        return None;
    }
    let word = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    if !word(os) || !word(architecture) || !variant.is_none_or(word) {
        return None;
    }
    Some(normal(&Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    }))
}

/// The same platform in one way of writing it: `arm64` for `aarch64` and `arm64/v8`, `arm/v7` for
/// `armhf`, `armv7l` and `arm` without a variant, `amd64` for `x86_64` and `amd64/v1`.
#[must_use]
pub fn normal(platform: &Platform) -> Platform {
    let lower = |text: &str| text.to_ascii_lowercase();
    let given = platform.variant.as_deref().map(lower);
    let (architecture, variant): (&str, Option<&str>) = match lower(&platform.architecture).as_str()
    {
        "x86_64" | "x86-64" | "amd64" => ("amd64", given.as_deref()),
        "aarch64" | "arm64" | "armv8" | "armv8l" => ("arm64", given.as_deref()),
        "armhf" | "armv7" | "armv7l" | "armv7hf" => ("arm", Some("v7")),
        "armv6" | "armv6l" => ("arm", Some("v6")),
        "armel" | "armv5" | "armv5l" | "armv5tel" => ("arm", Some("v5")),
        "arm" => ("arm", given.as_deref().or(Some("v7"))),
        "i386" | "i486" | "i586" | "i686" | "x86" | "386" => ("386", None),
        other => {
            return Platform {
                os: lower(&platform.os),
                architecture: other.to_owned(),
                variant: given,
            };
        }
    };
    let plain = matches!(
        (architecture, variant),
        ("arm64", Some("v8" | "8")) | ("amd64", Some("v1"))
    );
    Platform {
        os: lower(&platform.os),
        architecture: architecture.to_owned(),
        variant: variant
            .filter(|_| !plain)
            .map(|text| match text.strip_prefix('v') {
                Some(_) => text.to_owned(),
                // `arm/7` as some registries have it.
                None if text.bytes().all(|byte| byte.is_ascii_digit()) => format!("v{text}"),
                None => text.to_owned(),
            }),
    }
}

/// Whether a device of these platforms runs one of those that an image offers: the same system and
/// processor, of the same variant or, on `arm` and `amd64`, of a lower one. An image that tells
/// none, or a device of which none is known, is not refused.
#[must_use]
pub fn runs(device: &[Platform], image: &[Platform]) -> bool {
    if device.is_empty() || image.is_empty() {
        return true;
    }
    let image: Vec<Platform> = image.iter().map(normal).collect();
    let fits = |own: &Platform, offered: &Platform| {
        own.os == offered.os
            && own.architecture == offered.architecture
            && (own.variant == offered.variant || takes_lower(own, offered))
    };
    device
        .iter()
        .map(normal)
        .any(|own| image.iter().any(|offered| fits(&own, offered)))
}

fn takes_lower(own: &Platform, offered: &Platform) -> bool {
    let level = |platform: &Platform| match &platform.variant {
        // Without a variant: the first of amd64, and of arm64 the eighth.
        None if platform.architecture == "amd64" => Some(1),
        None if platform.architecture == "arm64" => Some(8),
        None => None,
        Some(text) => text.strip_prefix('v')?.parse::<u32>().ok(),
    };
    matches!(own.architecture.as_str(), "arm" | "arm64" | "amd64")
        && matches!((level(own), level(offered)), (Some(own), Some(offered)) if offered <= own)
}

/// Of these texts, as devices or their operators say them, those whose devices cannot run what an image
/// offers. Text that cannot be read refuses nothing.
#[must_use]
pub fn refused(known: &[String], image: &[Platform]) -> Vec<String> {
    let refuses = |text: &&String| !runs(&read(text), image);
    known.iter().filter(refuses).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn platforms_are_one_however_they_are_written() {
        let cases = [
            ("linux/arm64/v8", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("Linux/ARM64", "linux/arm64"),
            ("armv7l", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/7", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("i686", "linux/386"),
            ("windows/amd64", "windows/amd64"),
            ("linux/riscv64", "linux/riscv64"),
            ("linux/arm64, linux/arm/v7", "linux/arm64 linux/arm/v7"),
            ("", ""),
            ("linux/", ""),
            ("a/b/c/d", ""),
            ("a b/c", ""),
            ("linux/arm64,", "linux/arm64"),
        ];
        for (text, expected) in cases {
            let found: Vec<String> = read(text).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_device_runs_its_own_platform_and_lower_variants_of_it() {
        let cases = [
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64", "linux/arm64/v9", false),
            ("linux/arm64", "linux/arm/v7", false),
            ("linux/arm64,linux/arm/v7", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v6", true),
            ("linux/arm/v7", "linux/arm/v5", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm/v6", "linux/arm", false),
            ("linux/arm/v7", "linux/arm64", false),
            ("linux/amd64", "linux/amd64,linux/arm64", true),
            ("linux/riscv64", "linux/amd64,linux/arm64", false),
            ("linux/amd64", "linux/amd64/v2", false),
            ("linux/amd64/v3", "linux/amd64/v2", true),
            ("linux/amd64", "windows/amd64", false),
            ("linux/amd64", "linux/386", false),
            // Nothing is known of one of them.
            ("", "linux/amd64", true),
            ("nonsense/", "linux/amd64", true),
            ("linux/amd64", "", true),
        ];
        for (device, image, expected) in cases {
            let offered: Vec<Platform> = read(image);
            assert_eq!(
                runs(&read(device), &offered),
                expected,
                "{device} on {image}"
            );
            let refused = refused(&[device.to_owned()], &offered);
            assert_eq!(refused.is_empty(), expected, "{device} on {image}");
        }
    }

    proptest! {
        #[test]
        fn writing_a_platform_and_reading_it_again_changes_nothing(text in "[a-z0-9_/,]{0,24}", other in "[a-z0-9_/,]{0,24}") {
            let read_once = read(&text);
            let written: Vec<String> = read_once.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&read(&written.join(",")), &read_once);
            prop_assert!(runs(&read_once, &read_once));
            let mut turned = read(&other);
            let before = runs(&read_once, &turned);
            turned.reverse();
            prop_assert_eq!(runs(&read_once, &turned), before);
        }
    }
}
