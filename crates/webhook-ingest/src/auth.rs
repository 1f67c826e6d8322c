//! Whether a delivery comes from who knows one of the endpoint's secrets.
//!
//! What senders can do: an HMAC over the bytes received (SHA-256, of Nexus SHA-1), the secret as a token
//! or password in `Authorization` or in a header of their own, the secret as the last part of the
//! address (for senders that can neither sign nor send headers). All compare in a time that tells
//! nothing of the secret. Two secrets are live at once while they are changed for new ones.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use windlass_service::Problem;

/// How a header signs a body.
#[derive(Debug, Clone, Copy)]
enum Signs {
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA1. The HMAC is sound although the hash alone is not (RFC 6151 has the same argument for
    /// MD5); senders that can do better send the other too, and then both must be right.
    Sha1,
    /// HMAC-SHA256 or the secret itself, as the sender was told.
    Sha256OrSecret,
}

/// The headers that sign, what the text begins with, and how.
const SIGNATURES: [(&str, &[u8], Signs); 8] = [
    ("x-hub-signature-256", b"sha256=", Signs::Sha256),
    ("x-hub-signature", b"sha1=", Signs::Sha1),
    ("x-gitea-signature", b"", Signs::Sha256),
    ("x-forgejo-signature", b"", Signs::Sha256),
    ("x-gogs-signature", b"", Signs::Sha256),
    ("x-nexus-webhook-signature", b"", Signs::Sha1),
    ("x-jfrog-event-auth", b"", Signs::Sha256OrSecret),
    ("x-windlass-signature", b"sha256=", Signs::Sha256),
];

/// What an endpoint takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets {
    /// Each of them is enough; none where nothing is wanted.
    pub(crate) live: Vec<String>,
    /// The user name that goes with a password; any where none is given.
    pub(crate) user: Option<String>,
}

/// Lets a delivery through.
///
/// Signatures decide alone where there are any, and every one must be right by the same secret:
/// somebody who signs wrongly is refused, whatever else is right. Without one, a token, a password or
/// the address must be right.
///
/// # Errors
/// [`Problem::Unauthorized`], which says what would be taken and nothing of how near it was.
pub(crate) fn check(
    secrets: &Secrets,
    headers: &HeaderMap,
    path_secret: Option<&str>,
    body: &[u8],
) -> Result<(), Problem> {
    if secrets.live.is_empty() {
        return Ok(());
    }
    // Every secret is tried, whether or not one was right before.
    let known = secrets.live.iter().fold(false, |known, secret| {
        known | knows(secret, secrets.user.as_deref(), headers, path_secret, body)
    });
    if known {
        Ok(())
    } else {
        Err(Problem::Unauthorized(
            "the delivery is not authenticated: sign the body in X-Hub-Signature-256 or the sender's own \
             header, send the endpoint's secret as Authorization: Bearer or as a password, or end the \
             address with it"
                .to_owned(),
        ))
    }
}

fn knows(
    secret: &str,
    user: Option<&str>,
    headers: &HeaderMap,
    path_secret: Option<&str>,
    body: &[u8],
) -> bool {
    let mut signed = None;
    for (name, prefix, how) in SIGNATURES {
        for value in headers.get_all(name) {
            let right = value
                .as_bytes()
                .strip_prefix(prefix)
                .is_some_and(|given| signs(secret, how, given, body));
            signed = Some(signed.unwrap_or(true) & right);
        }
        // Which of two would count is nobody's to choose.
        if headers.get_all(name).count() > 1 {
            signed = Some(false);
        }
    }
    signed.unwrap_or_else(|| {
        let by_header = headers
            .get(AUTHORIZATION)
            .is_some_and(|value| is_authorized(secret, user, value.as_bytes()));
        let by_path = path_secret.is_some_and(|given| equal(secret, given.as_bytes()));
        by_header | by_path
    })
}

fn signs(secret: &str, how: Signs, given: &[u8], body: &[u8]) -> bool {
    match how {
        Signs::Sha256 => sha256(secret, given, body),
        Signs::Sha1 => hex::decode(given).is_ok_and(|given| {
            Hmac::<Sha1>::new_from_slice(secret.as_bytes()).is_ok_and(|mut mac| {
                mac.update(body);
                mac.verify_slice(&given).is_ok()
            })
        }),
        Signs::Sha256OrSecret => sha256(secret, given, body) | equal(secret, given),
    }
}

fn sha256(secret: &str, given: &[u8], body: &[u8]) -> bool {
    hex::decode(given).is_ok_and(|given| {
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).is_ok_and(|mut mac| {
            mac.update(body);
            mac.verify_slice(&given).is_ok()
        })
    })
}

/// The secret as it is, after `Bearer`, or as the password after `Basic`.
fn is_authorized(secret: &str, user: Option<&str>, value: &[u8]) -> bool {
    let after = |scheme: &[u8]| {
        let (given, rest) = value.split_at_checked(scheme.len())?;
        given
            .eq_ignore_ascii_case(scheme)
            .then(|| rest.trim_ascii())
    };
    if let Some(encoded) = after(b"basic ") {
        return STANDARD.decode(encoded).is_ok_and(|given| {
            let at = given.iter().position(|byte| *byte == b':');
            at.and_then(|at| Some((given.get(..at)?, given.get(at + 1..)?)))
                .is_some_and(|(name, password)| {
                    equal(secret, password) & user.is_none_or(|user| equal(user, name))
                })
        });
    }
    equal(secret, after(b"bearer ").unwrap_or(value).trim_ascii())
}

/// Compares hashes, so that not even the length shows in the time it takes.
fn equal(secret: &str, given: &[u8]) -> bool {
    Sha256::digest(secret.as_bytes())
        .ct_eq(&Sha256::digest(given))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    const SIGNATURE: &str = "x-hub-signature-256";
    const BODY: &[u8] = b"{\"a\": 1}";

    fn signature(secret: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body);
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }

    fn sha1(secret: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    #[test]
    fn each_senders_own_way_passes_and_two_secrets_are_live() {
        let (good, old) = (signature("s3cret", BODY), signature("older", BODY));
        let (bare, bad) = (&good[7..], &signature("other", BODY)[7..]);
        let (weak, weak_hub) = (
            sha1("s3cret", BODY),
            format!("sha1={}", sha1("s3cret", BODY)),
        );
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let (right, wrong_user, wrong) = (basic("ci:s3cret"), basic("xx:s3cret"), basic("ci:no"));
        type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, bool);
        let cases: Vec<Case<'_>> = vec![
            ("the older secret", vec![(SIGNATURE, &old)], true),
            (
                "the older secret as a token",
                vec![("authorization", "Bearer older")],
                true,
            ),
            ("Gitea", vec![("x-gitea-signature", bare)], true),
            ("Gitea, wrong", vec![("x-gitea-signature", bad)], false),
            (
                "Gitea with all it sends",
                vec![
                    ("x-gitea-signature", bare),
                    ("x-gogs-signature", bare),
                    ("x-hub-signature", &weak_hub),
                    (SIGNATURE, &good),
                ],
                true,
            ),
            (
                "one right and one wrong",
                vec![("x-gitea-signature", bare), ("x-forgejo-signature", bad)],
                false,
            ),
            (
                "one by each secret",
                vec![("x-gitea-signature", bare), (SIGNATURE, &old)],
                false,
            ),
            ("Nexus", vec![("x-nexus-webhook-signature", &weak)], true),
            (
                "Nexus, with the other hash",
                vec![("x-nexus-webhook-signature", bare)],
                false,
            ),
            (
                "SHA-1 as GitHub sends it",
                vec![("x-hub-signature", &weak_hub)],
                true,
            ),
            (
                "SHA-1 without its scheme",
                vec![("x-hub-signature", &weak)],
                false,
            ),
            ("JFrog, signed", vec![("x-jfrog-event-auth", bare)], true),
            (
                "JFrog, the secret itself",
                vec![("x-jfrog-event-auth", "s3cret")],
                true,
            ),
            (
                "JFrog, wrong",
                vec![("x-jfrog-event-auth", "s3creT")],
                false,
            ),
            ("a password", vec![("authorization", &right)], true),
            (
                "another user's",
                vec![("authorization", &wrong_user)],
                false,
            ),
            ("another password", vec![("authorization", &wrong)], false),
            ("no base64", vec![("authorization", "Basic §")], false),
        ];
        for (what, headers, expected) in cases {
            assert_eq!(passes(&headers, None, BODY), expected, "{what}");
        }
    }

    fn passes(headers: &[(&str, &str)], path: Option<&str>, body: &[u8]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let secrets = Secrets {
            live: vec!["s3cret".to_owned(), "older".to_owned()],
            user: Some("ci".to_owned()),
        };
        check(&secrets, &map, path, body).is_ok()
    }

    #[test]
    fn each_way_to_know_the_secret_passes_and_nothing_else_does() {
        let good = signature("s3cret", BODY);
        let bad = signature("other", BODY);
        let (upper, short) = (good.to_uppercase().replace("SHA256", "sha256"), &good[..40]);
        let basic = "Basic czNjcmV0";
        type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Option<&'a str>, bool);
        let cases: Vec<Case<'_>> = vec![
            ("a good signature", vec![(SIGNATURE, &good)], None, true),
            ("hex in upper case", vec![(SIGNATURE, &upper)], None, true),
            (
                "a signature by another secret",
                vec![(SIGNATURE, &bad)],
                None,
                false,
            ),
            (
                "a signature cut short",
                vec![(SIGNATURE, short)],
                None,
                false,
            ),
            ("an empty signature", vec![(SIGNATURE, "")], None, false),
            ("an empty hash", vec![(SIGNATURE, "sha256=")], None, false),
            ("no hex", vec![(SIGNATURE, "sha256=zz")], None, false),
            ("no scheme", vec![(SIGNATURE, &good[7..])], None, false),
            (
                "two signatures",
                vec![(SIGNATURE, &bad), (SIGNATURE, &good)],
                None,
                false,
            ),
            (
                "a bearer token",
                vec![("authorization", "Bearer s3cret")],
                None,
                true,
            ),
            (
                "the scheme in lower case",
                vec![("authorization", "bearer  s3cret")],
                None,
                true,
            ),
            (
                "the bare token",
                vec![("authorization", "s3cret")],
                None,
                true,
            ),
            (
                "another token",
                vec![("authorization", "Bearer s3creT")],
                None,
                false,
            ),
            (
                "a longer token",
                vec![("authorization", "Bearer s3cret2")],
                None,
                false,
            ),
            (
                "an empty token",
                vec![("authorization", "Bearer ")],
                None,
                false,
            ),
            (
                "a user and password",
                vec![("authorization", basic)],
                None,
                false,
            ),
            ("the secret in the address", vec![], Some("s3cret"), true),
            ("another one in the address", vec![], Some("s3creT"), false),
            (
                "the address, behind a proxy that logs in",
                vec![("authorization", basic)],
                Some("s3cret"),
                true,
            ),
            (
                "a bad signature, whatever the address",
                vec![(SIGNATURE, &bad)],
                Some("s3cret"),
                false,
            ),
            ("nothing", vec![], None, false),
        ];
        for (what, headers, path, expected) in cases {
            assert_eq!(passes(&headers, path, BODY), expected, "{what}");
        }
        assert!(
            !passes(&[(SIGNATURE, &good)], None, b"{\"a\":1}"),
            "other bytes"
        );
    }

    #[test]
    fn an_endpoint_without_a_secret_asks_for_nothing() {
        assert!(check(&Secrets::default(), &HeaderMap::new(), None, BODY).is_ok());
    }
}
