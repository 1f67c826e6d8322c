//! Whether an image is signed with a key that a policy trusts.
//!
//! Two formats of cosign are read: simple signing (`sha256-….sig` and artifacts of that kind), and
//! Sigstore bundles with a DSSE envelope over cosign's own statement. Only public keys are trusted: no
//! certificates, no transparency log. Sources: cosign's SIGNATURE_SPEC and BUNDLE_SPEC, DSSE's protocol
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>), in-toto's Statement v1.

mod claims;
mod key;

pub use key::{InvalidKey, PublicKey};

use crate::matching::{glob_matches, tag_matches};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::{Policy, SignatureRule};
use windlass_types::signature::{FoundSignature, SignatureFormat, Signatures};

/// Why an image does not count as signed, the nearest first: what one would have to mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say what each is")]
pub enum Unsigned {
    #[error("a trusted key signed it as {named}; the policy can say so with `signature.signed_as`")]
    OtherRepository { named: String },
    #[error("the signature beside it by a trusted key is of {named}")]
    OtherDigest { named: String },
    #[error("what a trusted key signed beside it is no signature of an image: {what}")]
    OtherClaim { what: String },
    #[error("it has {signatures}, none by a key of the policy")]
    OtherKey { signatures: Count },
    #[error("what is beside it cannot be read: {what}")]
    Unreadable { what: String },
    #[error("it has no signature")]
    Nothing,
    #[error("no key of the policy can be used: {why}")]
    NoKey { why: String },
}

/// How many signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub usize);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("one signature"),
            more => write!(f, "{more} signatures"),
        }
    }
}

impl Unsigned {
    /// Whether there are signatures, of which none counts.
    #[must_use]
    pub const fn is_wrong(&self) -> bool {
        match self {
            Self::OtherRepository { .. }
            | Self::OtherDigest { .. }
            | Self::OtherClaim { .. }
            | Self::OtherKey { .. }
            | Self::Unreadable { .. } => true,
            Self::Nothing | Self::NoKey { .. } => false,
        }
    }
}

/// The fingerprint of the key that signed this digest in this repository.
///
/// A signature counts where one of the keys made it over a payload that names the digest and, in the
/// simple format, the repository: the image's own, or the one the rule says. cosign itself does not
/// look at the repository; here a signature that was copied to another image's repository is none.
/// Bundles do not name one.
///
/// # Errors
/// [`Unsigned`] says what came nearest.
pub fn verify(
    rule: &SignatureRule,
    repository: &Repository,
    digest: &Digest,
    signatures: &Signatures,
) -> Result<String, Unsigned> {
    let (mut keys, mut bad) = (Vec::new(), None);
    for pem in &rule.keys {
        match PublicKey::read(pem) {
            Ok(key) => keys.push(key),
            Err(error) => bad = bad.or(Some(error.to_string())),
        }
    }
    if keys.is_empty() {
        let why = bad.unwrap_or_else(|| "it has none".to_owned());
        return Err(Unsigned::NoKey { why });
    }
    let signed_as = rule.signed_as.as_deref();
    let mut nearest: Option<Unsigned> = None;
    let mut keep = |found: Unsigned| {
        nearest = Some(nearest.take().map_or(found.clone(), |best| best.min(found)));
    };
    for found in &signatures.found {
        let (payload, signature) = match decoded(found) {
            Ok(both) => both,
            Err(what) => {
                keep(Unsigned::Unreadable { what });
                continue;
            }
        };
        let message = match found.format {
            SignatureFormat::SimpleSigning => payload.clone(),
            SignatureFormat::Bundle => claims::envelope(&payload),
        };
        let Some(key) = keys.iter().find(|key| key.signed(&message, &signature)) else {
            keep(Unsigned::OtherKey {
                signatures: Count(signatures.found.len()),
            });
            continue;
        };
        // Only now is the payload the word of somebody who is trusted.
        let claim = match found.format {
            SignatureFormat::SimpleSigning => {
                claims::simple(&payload, repository, signed_as, digest)
            }
            SignatureFormat::Bundle => claims::statement(&payload, digest),
        };
        match claim {
            Ok(()) => return Ok(key.fingerprint().to_owned()),
            Err(why) => keep(why),
        }
    }
    let unreadable = signatures.unreadable.first();
    Err(nearest
        .or_else(|| unreadable.map(|what| Unsigned::Unreadable { what: what.clone() }))
        .unwrap_or(Unsigned::Nothing))
}

/// The policies that want an image signed before it ships, with what they want: those in force that require it and
/// take the repository and, where it is named, the tag.
#[must_use]
pub fn required_by<'p>(
    policies: &'p [Policy],
    repository: &Repository,
    tag: Option<&str>,
) -> Vec<(&'p Policy, &'p SignatureRule)> {
    let name = repository.to_string();
    let takes = |policy: &&Policy| {
        policy.spec.enabled
            && glob_matches(&policy.spec.image, &name)
            && tag.is_none_or(|tag| tag_matches(&policy.spec.tag, tag))
    };
    let mut of: Vec<&Policy> = policies.iter().filter(takes).collect();
    of.sort_by_key(|policy| policy.id);
    of.into_iter()
        .filter_map(|policy| Some((policy, policy.spec.signature.as_ref()?)))
        .filter(|(_, rule)| rule.require)
        .collect()
}

/// Where an image stands that a person wants to ship, with the policies that require a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByHand {
    /// No policy asks for one, or each that does has one: the fingerprint of a key that made one.
    Signed(Option<String>),
    /// The registry has still to tell.
    Untold,
    /// A policy wants one that is not there; for people.
    Refused(String),
}

/// Verifies the signatures of an image that a person wants to ship; `found` are those that the registry told of.
#[must_use]
pub fn by_hand(
    policies: &[Policy],
    repository: &Repository,
    tag: Option<&str>,
    digest: Option<&Digest>,
    found: Option<&Signatures>,
) -> ByHand {
    let mut signed_by = None;
    for (policy, rule) in required_by(policies, repository, tag) {
        let refused = |why: &dyn std::fmt::Display| {
            let name = &policy.spec.name;
            ByHand::Refused(format!("the policy {name:?} requires a signature: {why}"))
        };
        let Some(digest) = digest else {
            return refused(&"its digest is not known, so that nothing can be verified");
        };
        let Some(found) = found else {
            return ByHand::Untold;
        };
        match verify(rule, repository, digest, found) {
            Ok(key) => signed_by = Some(key),
            Err(why) => return refused(&why),
        }
    }
    ByHand::Signed(signed_by)
}

fn decoded(found: &FoundSignature) -> Result<(Vec<u8>, Vec<u8>), String> {
    let read = |text: &str, what: &str| {
        STANDARD
            .decode(text.trim())
            .map_err(|error| format!("{what} is no base64: {error}"))
    };
    Ok((
        read(&found.payload, "the payload")?,
        read(&found.signature, "the signature")?,
    ))
}

#[cfg(test)]
mod tests;
