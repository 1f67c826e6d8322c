//! Signatures of images, as they were found in a registry. Nothing here is verified.

use crate::text_enum::text_enum;
use serde::{Deserialize, Serialize};

text_enum! {
    /// How a signature is made.
    SignatureFormat {
        /// Over a simple-signing payload, which is beside it.
        SimpleSigning = "simple_signing",
        /// Over a DSSE envelope in a Sigstore bundle, of which the payload is an in-toto statement.
        Bundle = "bundle",
    }
}

/// A signature that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundSignature {
    /// How it is made.
    pub format: SignatureFormat,
    /// What is signed, in base64.
    pub payload: String,
    /// The signature (ASN.1), in base64.
    pub signature: String,
}

/// What was found beside a digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatures {
    /// The signatures.
    pub found: Vec<FoundSignature>,
    /// What looked like one and could not be read; why, for people.
    pub unreadable: Vec<String>,
}
