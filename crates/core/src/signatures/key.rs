//! Public keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// What every P-256 key in DER begins with (RFC 5480): the algorithm, the curve, and a bit string of 65
/// bytes, which are the point.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A point that is not compressed: a byte that says so and two coordinates.
const POINT: usize = 65;
const UNCOMPRESSED: u8 = 4;
/// Object identifiers, as they stand in DER, of keys that are none on P-256.
const OTHERS: [(&[u8], &str); 4] = [
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
        "RSA",
    ),
    (&[0x2b, 0x65, 0x70], "Ed25519"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "P-384"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
];
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say what each is")]
pub enum InvalidKey {
    #[error("no PEM: it begins with {BEGIN} and ends with {END}")]
    Pem,
    #[error("this is a private key; a policy needs the public one, such as cosign.pub")]
    Private,
    #[error("the PEM holds no public key that can be read")]
    Der,
    #[error("a key of the kind {kind}; signatures are verified with ECDSA on P-256")]
    Kind { kind: &'static str },
}

/// An ECDSA key on P-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: Vec<u8>,
    fingerprint: String,
}

impl PublicKey {
    /// Reads a key in PEM, as `cosign generate-key-pair` writes it.
    ///
    /// # Errors
    /// [`InvalidKey`] says what it is instead.
    pub fn read(pem: &str) -> Result<Self, InvalidKey> {
        let text = pem.trim();
        if text.contains("PRIVATE KEY") {
            return Err(InvalidKey::Private);
        }
        let body = text
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END))
            .ok_or(InvalidKey::Pem)?;
        let packed: String = body.split_whitespace().collect();
        let Ok(der) = STANDARD.decode(packed) else {
            return Err(InvalidKey::Pem);
        };
        match der.strip_prefix(P256.as_slice()) {
            Some(point) if point.len() == POINT && point.first() == Some(&UNCOMPRESSED) => {
                Ok(Self {
                    point: point.to_vec(),
                    fingerprint: hex(&Sha256::digest(&der)),
                })
            }
            _ => Err(other(&der)),
        }
    }

    /// SHA-256 of the key in DER, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether this key made this signature (ASN.1) of this message.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(message, signature)
            .is_ok()
    }
}

fn other(der: &[u8]) -> InvalidKey {
    // The algorithm stands in the first bytes.
    let head = der.get(..32.min(der.len())).unwrap_or_default();
    let named = |oid: &[u8]| head.windows(oid.len()).any(|part| part == oid);
    OTHERS
        .iter()
        .find(|(oid, _)| named(oid))
        .map_or(InvalidKey::Der, |(_, kind)| InvalidKey::Kind { kind })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
