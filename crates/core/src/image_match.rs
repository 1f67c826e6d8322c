//! Whether what a device reports is the image it was to run.

use windlass_types::image::{Digest, ImageReference};

/// What a reported image is, measured against the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is the wanted image.
    Wanted,
    /// It is another one.
    Other,
    /// The device names it by its bare id: its tag was moved away there, so that what runs is not
    /// what the tag names now.
    Moved,
}

/// Compares an image as it was sent with the image and, where the agent says it, the digest that a
/// device reports.
///
/// Agents repeat the image exactly as it was sent, so equal text is the rule. A digest that is
/// equal in the same repository decides too; a tag beside it is decoration. A tag alone says
/// nothing about a wanted digest.
#[must_use]
pub fn compare(wanted: &str, reported: &str, digest: Option<&str>) -> Match {
    if wanted == reported {
        return Match::Wanted;
    }
    let Ok(wanted) = wanted.parse::<ImageReference>() else {
        return Match::Other;
    };
    let runs: Option<Digest> = digest.and_then(|text| text.parse().ok());
    let same_digest = |found: Option<&Digest>| found.is_some() && found == wanted.digest();
    if reported.starts_with("sha256:") {
        // Some engines use the digest itself as the id.
        let id: Option<Digest> = reported.parse().ok();
        return if same_digest(runs.as_ref()) || same_digest(id.as_ref()) {
            Match::Wanted
        } else {
            Match::Moved
        };
    }
    let Ok(reported) = reported.parse::<ImageReference>() else {
        return Match::Other;
    };
    if reported.repository() != wanted.repository() {
        return Match::Other;
    }
    let same = match (wanted.digest(), reported.digest()) {
        (Some(_), Some(found)) => same_digest(Some(found)),
        (Some(_), None) => same_digest(runs.as_ref()),
        (None, None) => tag_or_latest(&wanted) == tag_or_latest(&reported),
        (None, Some(_)) => false,
    };
    if same { Match::Wanted } else { Match::Other }
}

/// Without tag and digest a reference means `latest`.
fn tag_or_latest(image: &ImageReference) -> &str {
    image.tag().unwrap_or("latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_by_text_by_digest_and_not_by_tag_alone() {
        let a = format!("sha256:{}", "a".repeat(64));
        let b = format!("sha256:{}", "b".repeat(64));
        let full = format!("r:5000/demo/app:v2@{a}");
        use Match::{Moved, Other, Wanted};
        let cases: Vec<(&str, &str, String, Option<&str>, Match)> = vec![
            ("exact text", &full, full.clone(), None, Wanted),
            // A registry's index and the manifest of one platform have different digests.
            (
                "exact text, another platform's digest",
                &full,
                full.clone(),
                Some(&b),
                Wanted,
            ),
            (
                "same digest, no tag",
                &full,
                format!("r:5000/demo/app@{a}"),
                None,
                Wanted,
            ),
            (
                "same digest, another tag",
                &full,
                format!("r:5000/demo/app:x@{a}"),
                None,
                Wanted,
            ),
            (
                "another digest",
                &full,
                format!("r:5000/demo/app:v2@{b}"),
                None,
                Other,
            ),
            (
                "another digest, whatever runs",
                &full,
                format!("r:5000/demo/app:v2@{b}"),
                Some(&a),
                Other,
            ),
            (
                "the tag alone",
                &full,
                "r:5000/demo/app:v2".to_owned(),
                None,
                Other,
            ),
            (
                "the tag, and the digest that runs",
                &full,
                "r:5000/demo/app:v2".to_owned(),
                Some(&a),
                Wanted,
            ),
            (
                "another repository",
                &full,
                format!("r:5000/demo/other:v2@{a}"),
                None,
                Other,
            ),
            (
                "a bare id",
                &full,
                format!("sha256:{}", "c".repeat(64)),
                None,
                Moved,
            ),
            (
                "a short bare id",
                &full,
                "sha256:0123abcd".to_owned(),
                None,
                Moved,
            ),
            (
                "a bare id with the digest that runs",
                &full,
                "sha256:0123".to_owned(),
                Some(&a),
                Wanted,
            ),
            (
                "a bare id that is the digest",
                &full,
                a.clone(),
                None,
                Wanted,
            ),
            ("nonsense", &full, "///".to_owned(), None, Other),
            (
                "a nonsense digest",
                &full,
                "r:5000/demo/app:v2".to_owned(),
                Some("x"),
                Other,
            ),
            (
                "a tag that was wanted",
                "nginx:1",
                "nginx:1".to_owned(),
                Some(&a),
                Wanted,
            ),
            (
                "the same tag written in full",
                "nginx:1",
                "docker.io/library/nginx:1".to_owned(),
                None,
                Wanted,
            ),
            (
                "no tag is latest",
                "nginx",
                "nginx:latest".to_owned(),
                None,
                Wanted,
            ),
            ("another tag", "nginx:1", "nginx:2".to_owned(), None, Other),
            (
                "a digest where a tag was wanted",
                "nginx:1",
                format!("nginx:1@{a}"),
                None,
                Other,
            ),
            (
                "a moved tag",
                "nginx:1",
                "sha256:0123".to_owned(),
                Some(&a),
                Moved,
            ),
            (
                "text that is no reference",
                "A B",
                "A B".to_owned(),
                None,
                Wanted,
            ),
            (
                "text that is no reference, other",
                "A B",
                "nginx".to_owned(),
                None,
                Other,
            ),
        ];
        for (name, wanted, reported, digest, expected) in cases {
            assert_eq!(compare(wanted, &reported, digest), expected, "{name}");
        }
    }
}
