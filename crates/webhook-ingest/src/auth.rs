//! Whether a delivery comes from who knows the endpoint's secret.
//!
//! Three ways, for what senders can do: an HMAC-SHA256 over the bytes received (GitHub), the secret as
//! a token in a fixed header (Distribution), the secret as the last part of the address (Docker Hub,
//! which can neither sign nor send headers). All compare in a time that tells nothing of the secret.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use windlass_service::Problem;

const SIGNATURE: &str = "x-hub-signature-256";

/// Lets a delivery through.
///
/// A signature decides alone where there is one: somebody who signs wrongly is refused, whatever else
/// is right. Without one, a token or the address must be right.
///
/// # Errors
/// [`Problem::Unauthorized`], which says what would be taken and nothing of how near it was.
pub(crate) fn check(
    secret: Option<&str>,
    headers: &HeaderMap,
    path_secret: Option<&str>,
    body: &[u8],
) -> Result<(), Problem> {
    let Some(secret) = secret else {
        return Ok(());
    };
    let mut signatures = headers.get_all(SIGNATURE);
    let known = match (signatures.next(), signatures.next()) {
        (Some(signature), None) => signed(secret, signature.as_bytes(), body),
        (Some(_), Some(_)) => false,
        (None, _) => {
            let by_token = headers
                .get(AUTHORIZATION)
                .is_some_and(|value| is_token(secret, value.as_bytes()));
            let by_path = path_secret.is_some_and(|given| equal(secret, given.as_bytes()));
            by_token | by_path
        }
    };
    if known {
        Ok(())
    } else {
        Err(Problem::Unauthorized(
            "the delivery is not authenticated: sign the body in X-Hub-Signature-256, send the \
             endpoint's secret as Authorization: Bearer, or end the address with it"
                .to_owned(),
        ))
    }
}

/// `sha256=` and the HMAC of the body in hex.
fn signed(secret: &str, signature: &[u8], body: &[u8]) -> bool {
    let Some(Ok(given)) = signature.strip_prefix(b"sha256=").map(hex::decode) else {
        return false;
    };
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).is_ok_and(|mut mac| {
        mac.update(body);
        mac.verify_slice(&given).is_ok()
    })
}

/// The secret as it is, or after `Bearer`.
fn is_token(secret: &str, value: &[u8]) -> bool {
    let bare = match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
        _ => value,
    };
    equal(secret, bare.trim_ascii())
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

    const BODY: &[u8] = b"{\"a\": 1}";

    fn signature(secret: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body);
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }

    fn passes(headers: &[(&str, &str)], path: Option<&str>, body: &[u8]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        check(Some("s3cret"), &map, path, body).is_ok()
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
        assert!(check(None, &HeaderMap::new(), None, BODY).is_ok());
    }
}
