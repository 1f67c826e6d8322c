//! The certificates that messages are signed with, and whether they did.

use super::{Message, Untrusted};
use crate::fetch::{Fetch, FetchError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;
use webpki::EndEntityCert;
use webpki::ring::RSA_PKCS1_2048_8192_SHA256;

/// A certificate is fetched again after this: Amazon changes them about once a year, by a new address,
/// and takes one back by no longer serving it.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Certificates kept at once; each region has one or two.
const MOST: usize = 64;
/// What may be fetched in a minute. A message is not yet trusted when its certificate is fetched, and
/// whoever makes messages up must not make us ask Amazon at their pace.
const A_MINUTE: usize = 20;

/// RSA over SHA-1, by the same library that verifies the rest: version 1 of the signature has no
/// other, and a topic is not asked to sign otherwise. What is signed is a text of SNS' own making in which nobody chooses the
/// prefix, so the known collisions of SHA-1 are of no use there; version 2 is better all the same.
#[derive(Debug)]
struct RsaSha1;

impl SignatureVerificationAlgorithm for RsaSha1 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key)
            .verify(message, signature)
            .or(Err(InvalidSignature))
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    /// sha1WithRSAEncryption (RFC 8017, appendix C) with its NULL.
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(&[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
        ])
    }
}

struct Known {
    certificate: CertificateDer<'static>,
    fetched: Instant,
}

#[derive(Default)]
struct Cache {
    known: HashMap<Url, Known>,
    /// When was fetched in the last minute.
    fetches: Vec<Instant>,
}

/// The certificates fetched so far.
pub(crate) struct Certificates {
    fetch: Arc<dyn Fetch>,
    cache: Mutex<Cache>,
}

impl Certificates {
    pub(crate) fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self {
            fetch,
            cache: Mutex::default(),
        }
    }

    /// Whether the certificate at this address, which was looked at, has signed a message.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub(super) async fn verify(&self, url: &Url, message: &Message<'_>) -> Result<(), Untrusted> {
        let refused = |text: &str| Untrusted::Refused(text.to_owned());
        let algorithm: &dyn SignatureVerificationAlgorithm = match message.version {
            "1" => &RsaSha1,
            "2" => RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(refused("SignatureVersion is neither 1 nor 2")),
        };
        let signature = STANDARD
            .decode(message.signature)
            .or(Err(refused("Signature is no base64")))?;
        let certificate = self.certificate(url).await?;
        let parsed = EndEntityCert::try_from(&certificate)
            .or(Err(refused("SigningCertURL has no certificate")))?;
        parsed
            .verify_signature(algorithm, message.signed.as_bytes(), &signature)
            .or(Err(refused("the message is not signed by its certificate")))
    }

    async fn certificate(&self, url: &Url) -> Result<CertificateDer<'static>, Untrusted> {
        let now = Instant::now();
        {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = cache.known.get(url)
                && now.duration_since(known.fetched) < KEPT
            {
                return Ok(known.certificate.clone());
            }
            cache
                .fetches
                .retain(|at| now.duration_since(*at) < Duration::from_secs(60));
            if cache.fetches.len() >= A_MINUTE {
                return Err(Untrusted::Fetch(FetchError::TooOften));
            }
            cache.fetches.push(now);
        }
        let fetched = self.fetch.get(url).await.map_err(|error| match error {
            // There is none, and there will be none.
            FetchError::Status {
                status: 403 | 404, ..
            } => Untrusted::Refused("SigningCertURL has no certificate".to_owned()),
            error => Untrusted::Fetch(error),
        })?;
        let certificate = CertificateDer::from_pem_slice(&fetched.body).or(Err(
            Untrusted::Refused("SigningCertURL has no certificate".to_owned()),
        ))?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.known.len() >= MOST {
            cache.known.clear();
        }
        let known = Known {
            certificate: certificate.clone(),
            fetched: now,
        };
        cache.known.insert(url.clone(), known);
        Ok(certificate)
    }
}
