//! Signatures that OpenSSL made (`samples/`: `openssl dgst -sha256 -sign` over the documented payloads),
//! and every way in which one does not count.

use super::*;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

const TRUSTED: &str = include_str!("samples/trusted.pub");
const OTHER: &str = include_str!("samples/other.pub");
const SIMPLE: &str = include_str!("samples/simple.json");
const SIMPLE_SIG: &str = include_str!("samples/simple.sig");
const STATEMENT: &str = include_str!("samples/statement.json");
const STATEMENT_SIG: &str = include_str!("samples/statement.sig");

fn digest(pair: &str) -> Digest {
    format!("sha256:{}", pair.repeat(32)).parse().unwrap()
}

fn repository() -> Repository {
    "registry.example:5000/shop/till".parse().unwrap()
}

fn rule(keys: &[&str]) -> SignatureRule {
    SignatureRule {
        require: true,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        signed_as: None,
    }
}

fn found(format: SignatureFormat, payload: &str, signature: &str) -> Signatures {
    Signatures {
        found: vec![FoundSignature {
            format,
            payload: STANDARD.encode(payload),
            signature: signature.to_owned(),
        }],
        unreadable: Vec::new(),
    }
}

fn simple() -> Signatures {
    found(SignatureFormat::SimpleSigning, SIMPLE, SIMPLE_SIG)
}

fn bundle() -> Signatures {
    found(SignatureFormat::Bundle, STATEMENT, STATEMENT_SIG)
}

/// A key of the test's own, which signs whatever it is given.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap())
    }

    fn pem(&self) -> String {
        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend_from_slice(self.0.public_key().as_ref());
        let body = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    fn simple(&self, payload: &str) -> Signatures {
        let signature = self
            .0
            .sign(&SystemRandom::new(), payload.as_bytes())
            .unwrap();
        found(
            SignatureFormat::SimpleSigning,
            payload,
            &STANDARD.encode(signature),
        )
    }

    fn bundle(&self, payload: &str) -> Signatures {
        let message = claims::envelope(payload.as_bytes());
        let signature = self.0.sign(&SystemRandom::new(), &message).unwrap();
        found(
            SignatureFormat::Bundle,
            payload,
            &STANDARD.encode(signature),
        )
    }
}

fn payload(reference: &str, named: &Digest) -> String {
    SIMPLE
        .replace("registry.example:5000/shop/till", reference)
        .replace(digest("ab").as_str(), named.as_str())
}

#[test]
fn what_openssl_signed_in_the_documented_formats_counts() {
    let fingerprint = PublicKey::read(TRUSTED).unwrap().fingerprint().to_owned();
    assert_eq!(fingerprint.len(), 64);
    for signatures in [simple(), bundle()] {
        let verified = verify(&rule(&[TRUSTED]), &repository(), &digest("ab"), &signatures);
        assert_eq!(verified, Ok(fingerprint.clone()));
        // Any of several keys will do, wherever it stands.
        let any = rule(&[OTHER, TRUSTED]);
        assert_eq!(
            verify(&any, &repository(), &digest("ab"), &signatures),
            Ok(fingerprint.clone())
        );
    }
}

#[test]
fn each_signature_that_does_not_count_says_why() {
    let signer = Signer::new();
    let own = signer.pem();
    let here = "registry.example:5000/shop/till";
    let wanted = digest("ab");
    let statement = |kind: &str| STATEMENT.replace("https://sigstore.dev/cosign/sign/v1", kind);
    let no = Signatures::default;
    let cut = &SIMPLE_SIG[..SIMPLE_SIG.len() - 8];
    let flipped = SIMPLE_SIG.replacen('M', "N", 1);
    // (what, key, what was found, what is said)
    let cases: Vec<(&str, &str, Signatures, &str)> = vec![
        ("none", TRUSTED, no(), "it has no signature"),
        (
            "another key",
            OTHER,
            simple(),
            "it has one signature, none by a key of the policy",
        ),
        (
            "another key's bundle",
            OTHER,
            bundle(),
            "it has one signature, none by a key of the policy",
        ),
        (
            "the payload was changed",
            TRUSTED,
            found(
                SignatureFormat::SimpleSigning,
                &SIMPLE.replace("42", "43"),
                SIMPLE_SIG,
            ),
            "none by a key of the policy",
        ),
        (
            "the digest was changed",
            TRUSTED,
            found(
                SignatureFormat::SimpleSigning,
                &payload(here, &digest("cd")),
                SIMPLE_SIG,
            ),
            "none by a key of the policy",
        ),
        (
            "a bundle's signature under a simple payload",
            TRUSTED,
            found(SignatureFormat::SimpleSigning, STATEMENT, STATEMENT_SIG),
            "none by a key of the policy",
        ),
        (
            "a simple signature in a bundle",
            TRUSTED,
            found(SignatureFormat::Bundle, SIMPLE, SIMPLE_SIG),
            "none by a key of the policy",
        ),
        (
            "a truncated signature",
            TRUSTED,
            found(SignatureFormat::SimpleSigning, SIMPLE, cut),
            "none by a key of the policy",
        ),
        (
            "a broken signature",
            TRUSTED,
            found(SignatureFormat::SimpleSigning, SIMPLE, &flipped),
            "none by a key of the policy",
        ),
        (
            "an empty signature",
            TRUSTED,
            found(SignatureFormat::SimpleSigning, SIMPLE, ""),
            "none by a key of the policy",
        ),
        (
            "no base64",
            TRUSTED,
            found(SignatureFormat::SimpleSigning, SIMPLE, "§"),
            "the signature is no base64",
        ),
        (
            "an older digest's, replayed",
            &own,
            signer.simple(&payload(here, &digest("01"))),
            "by a trusted key is of sha256:0101",
        ),
        (
            "an older digest's bundle, replayed",
            &own,
            signer.bundle(&STATEMENT.replace("ab", "01")),
            "by a trusted key is of sha256:0101",
        ),
        (
            "another repository's",
            &own,
            signer.simple(&payload("registry.example:5000/shop/safe", &wanted)),
            "signed it as registry.example:5000/shop/safe",
        ),
        (
            "another registry's",
            &own,
            signer.simple(&payload("ghcr.io/shop/till", &wanted)),
            "signed it as ghcr.io/shop/till",
        ),
        (
            "the same by tag and another digest",
            &own,
            signer.simple(&payload(&format!("{here}@{}", digest("cd")), &wanted)),
            "signed it as registry.example:5000/shop/till@sha256:cdcd",
        ),
        (
            "a name that is none",
            &own,
            signer.simple(&payload("", &wanted)),
            "signed it as ",
        ),
        (
            "no JSON",
            &own,
            signer.simple("pay me"),
            "no signature of an image: expected value",
        ),
        (
            "another kind of payload",
            &own,
            signer.simple(&SIMPLE.replace("cosign container", "atomic container")),
            "its type is \"atomic container image signature\"",
        ),
        (
            "no digest in it",
            &own,
            signer.simple(
                r#"{"critical":{"identity":{"docker-reference":"a"},"image":{},"type":"x"}}"#,
            ),
            "missing field `docker-manifest-digest`",
        ),
        (
            "a bill of materials",
            &own,
            signer.bundle(&statement("https://cyclonedx.org/bom")),
            "it is a statement \"https://cyclonedx.org/bom\"",
        ),
        (
            "a statement about nothing",
            &own,
            signer
                .bundle(r#"{"predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[]}"#),
            "is of nothing",
        ),
    ];
    for (what, key, signatures, said) in cases {
        let refused = verify(&rule(&[key]), &repository(), &wanted, &signatures).unwrap_err();
        assert!(refused.to_string().contains(said), "{what}: {refused}");
        assert_eq!(refused.is_wrong(), what != "none", "{what}");
    }
    let refused = verify(&rule(&["nonsense"]), &repository(), &wanted, &simple()).unwrap_err();
    assert!(matches!(refused, Unsigned::NoKey { .. }), "{refused}");
}

#[test]
fn one_good_signature_among_others_is_enough_and_else_the_nearest_is_told() {
    let signer = Signer::new();
    let mut many = signer.simple(&payload("ghcr.io/elsewhere", &digest("ab")));
    many.found.extend(simple().found);
    many.unreadable.push("a layer is broken".to_owned());
    assert!(verify(&rule(&[TRUSTED]), &repository(), &digest("ab"), &many).is_ok());
    let refused = verify(&rule(&[&signer.pem()]), &repository(), &digest("ab"), &many);
    assert!(
        matches!(refused, Err(Unsigned::OtherRepository { .. })),
        "{refused:?}"
    );
    let refused = verify(&rule(&[OTHER]), &repository(), &digest("ab"), &many);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "it has 2 signatures, none by a key of the policy"
    );
    many.found.clear();
    let refused = verify(&rule(&[OTHER]), &repository(), &digest("ab"), &many);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "what is beside it cannot be read: a layer is broken"
    );
}

#[test]
fn an_image_can_be_signed_under_another_name_if_the_policy_says_so() {
    let signer = Signer::new();
    let wanted = digest("ab");
    let here = repository();
    let copied = signer.simple(&payload("index.docker.io/acme/till", &wanted));
    let mut of = rule(&[&signer.pem()]);
    assert!(verify(&of, &here, &wanted, &copied).is_err());
    for name in [
        "docker.io/acme/till",
        "index.docker.io/acme/till",
        "acme/till",
    ] {
        of.signed_as = Some(name.to_owned());
        assert!(verify(&of, &here, &wanted, &copied).is_ok(), "{name}");
    }
    // Then its own name is another's.
    assert!(
        verify(
            &of,
            &here,
            &wanted,
            &signer.simple(&payload("registry.example:5000/shop/till", &wanted))
        )
        .is_err()
    );
    // A tag or the digest itself in the name changes nothing; Docker Hub has two names.
    of.signed_as = None;
    let hub: Repository = "docker.io/acme/till".parse().unwrap();
    for name in [
        "index.docker.io/acme/till",
        "acme/till:1.2",
        "docker.io/acme/till@sha256:",
    ] {
        let full = if name.ends_with(':') {
            format!("docker.io/acme/till@{wanted}")
        } else {
            name.to_owned()
        };
        let signed = signer.simple(&payload(&full, &wanted));
        assert!(verify(&of, &hub, &wanted, &signed).is_ok(), "{full}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let cases = [
        (include_str!("samples/rsa.pub"), "a key of the kind RSA"),
        (
            include_str!("samples/ed25519.pub"),
            "a key of the kind Ed25519",
        ),
        (include_str!("samples/p384.pub"), "a key of the kind P-384"),
        (
            include_str!("samples/compressed.pub"),
            "no public key that can be read",
        ),
        (
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAA==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----",
            "this is a private key",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----",
            "no PEM",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "no public key that can be read",
        ),
        ("cosign.pub", "no PEM"),
        ("", "no PEM"),
    ];
    for (pem, said) in cases {
        let refused = PublicKey::read(pem).unwrap_err().to_string();
        assert!(refused.contains(said), "{pem}: {refused}");
    }
    let spaced = format!("\n {}\n", TRUSTED.replace('\n', "\r\n"));
    assert_eq!(PublicKey::read(&spaced), PublicKey::read(TRUSTED));
}

proptest! {
    #[test]
    fn no_byte_of_payload_or_signature_can_be_another(
        at in any::<prop::sample::Index>(), bit in 0..8_u32, simple_one in any::<bool>(), in_payload in any::<bool>(),
    ) {
        let mut signatures = if simple_one { simple() } else { bundle() };
        let one = &mut signatures.found[0];
        let text = if in_payload { &mut one.payload } else { &mut one.signature };
        let mut bytes = STANDARD.decode(text.as_bytes()).unwrap();
        let index = at.index(bytes.len());
        bytes[index] ^= 1 << bit;
        *text = STANDARD.encode(bytes);
        prop_assert!(verify(&rule(&[TRUSTED]), &repository(), &digest("ab"), &signatures).is_err());
    }

    #[test]
    fn anything_can_be_read_without_harm(payload in ".{0,200}", signature in ".{0,100}", pem in ".{0,200}") {
        for format in [SignatureFormat::SimpleSigning, SignatureFormat::Bundle] {
            let signatures = found(format, &payload, &signature);
            prop_assert!(verify(&rule(&[TRUSTED]), &repository(), &digest("ab"), &signatures).is_err());
        }
        prop_assert!(PublicKey::read(&pem).is_err());
    }
}
