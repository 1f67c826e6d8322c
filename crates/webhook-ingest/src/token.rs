//! Tokens of OpenID Connect, as Google Pub/Sub sends them with each push: signed with RS256 by a key of
//! the issuer, made for an audience, in the name of a service account.
//!
//! One algorithm and one kind of key are taken, so there is nothing in a token that chooses how it is
//! verified; ring, which is there for TLS, does it. Sources: RFC 7515, RFC 7517, RFC 7519,
//! <https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions>.

mod keys;

pub(crate) use keys::Keys;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use windlass_service::Problem;
use windlass_service::config::TokenSection;

/// Clocks may be this far apart, in seconds.
const LEEWAY: i64 = 60;
/// Longer ones are nobody's: Google's have about 1000 characters.
const MOST_CHARS: usize = 8192;

/// What a token must say.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    audience: String,
    email: String,
    issuer: String,
    pub(crate) keys_url: Url,
}

impl Wanted {
    /// # Errors
    /// A text that says which setting is missing or cannot be used.
    pub(crate) fn new(section: &TokenSection) -> Result<Self, String> {
        for (name, value) in [
            ("audience", &section.audience),
            ("email", &section.email),
            ("issuer", &section.issuer),
        ] {
            if value.is_empty() {
                return Err(format!(
                    "{name} is missing; docs/registries.md says where to read it"
                ));
            }
        }
        let keys_url: Url = section
            .keys_url
            .parse()
            .map_err(|error| format!("keys_url is no address: {error}"))?;
        if keys_url.scheme() != "https" && !(keys_url.scheme() == "http" && section.keys_over_http)
        {
            return Err(
                "keys_url must begin with https://; keys_over_http = true lets an emulator go without"
                    .to_owned(),
            );
        }
        Ok(Self {
            audience: section.audience.clone(),
            email: section.email.clone(),
            issuer: section.issuer.clone(),
            keys_url,
        })
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515, 4.1.11); none is.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    iat: Option<i64>,
    nbf: Option<i64>,
    email: Option<String>,
    email_verified: Option<bool>,
}

/// Lets a delivery through whose token is right at this time (seconds since 1970).
///
/// # Errors
/// [`Problem::Unauthorized`] with what is wrong, [`Problem::Unavailable`] where the keys cannot be had.
pub(crate) async fn check(
    wanted: &Wanted,
    keys: &Keys,
    headers: &HeaderMap,
    now: i64,
) -> Result<(), Problem> {
    let refused = |text: &str| Problem::Unauthorized(format!("the token is not taken: {text}"));
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| token.len() <= MOST_CHARS)
        .ok_or_else(|| refused("send it as Authorization: Bearer <token>"))?;
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or_else(|| refused("it has no three parts"))?;
    let (header, claims) = signed
        .split_once('.')
        .ok_or_else(|| refused("it has no three parts"))?;
    let header: Header = read(header).ok_or_else(|| refused("its header cannot be read"))?;
    if header.alg != "RS256" || header.crit.is_some() {
        return Err(refused("it must be signed with RS256"));
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .or(Err(refused("its signature is no base64url")))?;
    let kid = header.kid.ok_or_else(|| refused("it names no key"))?;
    let key = keys
        .get(&wanted.keys_url, &kid)
        .await?
        .ok_or_else(|| refused("its issuer has no such key"))?;
    if !key.has_signed(signed.as_bytes(), &signature) {
        return Err(refused("its signature is wrong"));
    }
    // Only now is anything believed that it says.
    let claims: Claims = read(claims).ok_or_else(|| refused("its claims cannot be read"))?;
    says(wanted, &claims, now).map_err(refused)
}

fn read<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn says(wanted: &Wanted, claims: &Claims, now: i64) -> Result<(), &'static str> {
    // Google has written its own name with the scheme and without.
    let bare = |issuer: &str| issuer.trim_start_matches("https://").to_owned();
    if bare(&claims.iss) != bare(&wanted.issuer) {
        return Err("it is of another issuer");
    }
    let for_us = match &claims.aud {
        Audience::One(one) => *one == wanted.audience,
        Audience::Several(several) => several.contains(&wanted.audience),
    };
    if !for_us {
        return Err("it is for another audience");
    }
    if claims.exp.saturating_add(LEEWAY) <= now {
        return Err("it has expired");
    }
    let begins = claims.nbf.into_iter().chain(claims.iat).max();
    if begins.is_some_and(|at| at.saturating_sub(LEEWAY) > now) {
        return Err("it is of the future; look at the clocks");
    }
    if claims.email_verified != Some(true) || claims.email.as_deref() != Some(&*wanted.email) {
        return Err("it is of another account");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_must_say_all_that_is_wanted() {
        let wanted = Wanted::new(&TokenSection {
            audience: "https://windlass.example/hook".to_owned(),
            email: "push@acme.iam.gserviceaccount.com".to_owned(),
            ..TokenSection::default()
        })
        .unwrap();
        let now = 1_800_000_000;
        let good = serde_json::json!({"iss": "https://accounts.google.com", "aud": wanted.audience,
            "exp": now + 3600, "iat": now, "email": wanted.email, "email_verified": true});
        let said = |field: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[field] = value;
            says(&wanted, &serde_json::from_value(claims).unwrap(), now)
        };
        assert_eq!(said("x", 1.into()), Ok(()));
        let good = [
            ("iss", "accounts.google.com".into()),
            (
                "aud",
                vec!["other".to_owned(), wanted.audience.clone()].into(),
            ),
            ("exp", (now - LEEWAY + 1).into()),
            ("iat", (now + LEEWAY).into()),
        ];
        for (field, value) in good {
            assert_eq!(said(field, value), Ok(()), "{field}");
        }
        let bad = [
            ("iss", "https://accounts.example.com".into()),
            ("aud", "https://windlass.example/other".into()),
            ("aud", Vec::<String>::new().into()),
            ("exp", (now - LEEWAY).into()),
            ("iat", (now + LEEWAY + 1).into()),
            ("nbf", (now + LEEWAY + 1).into()),
            ("email", "push@evil.iam.gserviceaccount.com".into()),
            ("email", serde_json::Value::Null),
            ("email_verified", false.into()),
            ("email_verified", serde_json::Value::Null),
        ];
        for (field, value) in bad {
            assert!(said(field, value).is_err(), "{field}");
        }
    }
}
