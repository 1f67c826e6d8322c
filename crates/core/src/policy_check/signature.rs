//! The keys that sign images.

use super::fields::Fields;
use crate::signatures::{InvalidKey, PublicKey};
use windlass_types::image::Repository;
use windlass_types::policy::SignatureRule;

/// Each signature is tried with each key.
const MAX_KEYS: usize = 16;

pub(super) fn check(fields: &mut Fields, rule: &SignatureRule) {
    if rule.keys.is_empty() {
        fields.invalid(
            "signature.keys",
            "give at least one public key as PEM, such as what cosign.pub holds",
        );
    }
    if rule.keys.len() > MAX_KEYS {
        fields.invalid(
            "signature.keys",
            format!("at most {MAX_KEYS} keys, not {}", rule.keys.len()),
        );
    }
    for (at, pem) in rule.keys.iter().enumerate() {
        let field = format!("signature.keys[{at}]");
        match PublicKey::read(pem) {
            Ok(_) => {}
            Err(error @ InvalidKey::Kind { .. }) => fields.not_offered(field, error.to_string()),
            Err(error) => fields.invalid(field, error.to_string()),
        }
    }
    if let Some(name) = &rule.signed_as
        && let Err(error) = name.parse::<Repository>()
    {
        fields.invalid("signature.signed_as", error.to_string());
    }
}
