//! What a signed payload says.

use super::Unsigned;
use serde::Deserialize;
use std::collections::BTreeMap;
use windlass_types::image::{Digest, ImageReference, Repository};

const COSIGN: &str = "cosign container image signature";
/// What DSSE calls the statements of in-toto.
pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The statement that an image is signed; others are attestations about it, which say nothing of
/// whether it may ship.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
struct Simple {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    identity: Identity,
    image: Image,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Looks at a simple-signing payload.
pub(super) fn simple(
    payload: &[u8],
    repository: &Repository,
    signed_as: Option<&str>,
    digest: &Digest,
) -> Result<(), Unsigned> {
    let Simple { critical } = serde_json::from_slice(payload).map_err(|error| claim(&error))?;
    if critical.kind != COSIGN {
        return Err(claim(&format!("its type is {:?}", short(&critical.kind))));
    }
    if critical.image.digest != digest.as_str() {
        return Err(Unsigned::OtherDigest {
            named: short(&critical.image.digest),
        });
    }
    let named = &critical.identity.reference;
    let expected = signed_as.map_or_else(|| repository.to_string(), hub);
    let Ok(reference) = hub(named).parse::<ImageReference>() else {
        return Err(Unsigned::OtherRepository {
            named: short(named),
        });
    };
    let same = expected
        .parse::<Repository>()
        .is_ok_and(|expected| expected == *reference.repository());
    if !same || reference.digest().is_some_and(|other| other != digest) {
        return Err(Unsigned::OtherRepository {
            named: short(named),
        });
    }
    Ok(())
}

/// Docker Hub by the name that Go programs give it.
fn hub(name: &str) -> String {
    name.strip_prefix("index.docker.io/")
        .map_or_else(|| name.to_owned(), |path| format!("docker.io/{path}"))
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "predicateType")]
    predicate: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

/// Looks at an in-toto statement.
pub(super) fn statement(payload: &[u8], digest: &Digest) -> Result<(), Unsigned> {
    let statement: Statement = serde_json::from_slice(payload).map_err(|error| claim(&error))?;
    if statement.predicate != SIGNS {
        return Err(claim(&format!(
            "it is a statement {:?}",
            short(&statement.predicate)
        )));
    }
    let named = |subject: &Subject| {
        let hex = subject.digest.get("sha256")?;
        Some(format!("sha256:{hex}"))
    };
    let all: Vec<String> = statement.subject.iter().filter_map(named).collect();
    if all.iter().any(|named| named == digest.as_str()) {
        return Ok(());
    }
    let named = all
        .first()
        .map_or_else(|| "nothing".to_owned(), |one| short(one));
    Err(Unsigned::OtherDigest { named })
}

/// What is signed of an in-toto statement: DSSE's pre-authentication encoding.
pub(super) fn envelope(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn claim(what: &dyn std::fmt::Display) -> Unsigned {
    Unsigned::OtherClaim {
        what: what.to_string(),
    }
}

/// As much of a text as is worth showing.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
