//! Reading fields of JSON that somebody else wrote.

use serde_json::Value;
use windlass_types::delivery::ReasonCode;
use windlass_types::image::Digest;

/// The text at a path of keys, without the space around it; `None` where there is none or it is empty.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    let text = at(value, path)?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The value at a path of keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The digest at a path, where it is one. Senders are known to put commits and cut-off digests there.
pub(super) fn digest(value: &Value, path: &[&str]) -> Option<Digest> {
    text(value, path)?.to_ascii_lowercase().parse().ok()
}

/// Why a tag is none of an image: tools keep signatures and attestations of an image under tags made
/// from its digest (`sha256-<hex>.sig`, and `sha256-<hex>` by the referrers tag schema of the OCI
/// distribution specification).
pub(super) fn attachment(tag: &str) -> Option<ReasonCode> {
    let hex = tag.strip_prefix("sha256-")?.get(..64)?;
    hex.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(ReasonCode::Signature)
}

/// Why what has this configuration is no image.
pub(super) fn artifact(media_type: &str) -> Option<ReasonCode> {
    if media_type.starts_with("application/vnd.cncf.helm.") {
        Some(ReasonCode::Chart)
    } else if media_type.contains("cosign") || media_type.contains("in-toto") {
        Some(ReasonCode::Signature)
    } else {
        None
    }
}
