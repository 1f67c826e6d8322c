//! Tokens of Pub/Sub, verified with the issuer's keys.

use crate::signing::{Network, Signer};
use crate::support::{Service, answer, config, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::Utc;
use serde_json::{Value, json};
use std::sync::Arc;
use windlass_service::config::{EndpointSection, TokenSection};
use windlass_store::Clock;
use windlass_testkit::stores_with;

const KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";
const AUDIENCE: &str = "https://windlass.example/api/v1/webhooks/google";
const ACCOUNT: &str = "push@acme.iam.gserviceaccount.com";

fn keys(signers: &[(&str, &Signer)]) -> Vec<u8> {
    let keys: Vec<Value> = signers
        .iter()
        .map(|(kid, signer)| {
            json!({"kid": kid, "kty": "RSA", "use": "sig", "alg": "RS256", "e": "AQAB",
                "n": URL_SAFE_NO_PAD.encode(signer.modulus())})
        })
        .chain([json!({"kid": "ec", "kty": "EC", "crv": "P-256"})])
        .collect();
    json!({"keys": keys}).to_string().into_bytes()
}

fn claims(now: i64) -> Value {
    json!({"iss": "https://accounts.google.com", "aud": AUDIENCE, "email": ACCOUNT,
        "email_verified": true, "sub": "1", "iat": now, "exp": now + 3600})
}

fn token(signer: &Signer, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = signer.sign("sha256", &signed);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn rs256(kid: &str) -> Value {
    json!({"alg": "RS256", "typ": "JWT", "kid": kid})
}

fn body(id: u32) -> String {
    let event = json!({"action": "INSERT",
        "digest": format!("europe-docker.pkg.dev/acme/apps/web@{}", digest(id)),
        "tag": format!("europe-docker.pkg.dev/acme/apps/web:v{id}")});
    json!({"message": {"data": STANDARD.encode(event.to_string()), "messageId": id.to_string(),
        "publishTime": "2026-03-01T12:00:00Z"}, "subscription": "projects/acme/subscriptions/w"})
    .to_string()
}

async fn send(service: &Service, authorization: Option<&str>, id: u32) -> (u16, Value) {
    let mut request = service.post("google").body(body(id));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let (status, got) = answer(request).await;
    (status.as_u16(), got)
}

async fn start(store: &windlass_store::Store, network: &Arc<Network>) -> Service {
    let mut config = config();
    let endpoint = EndpointSection {
        token: Some(TokenSection {
            audience: AUDIENCE.to_owned(),
            email: ACCOUNT.to_owned(),
            ..TokenSection::default()
        }),
        ..EndpointSection::default()
    };
    config
        .webhooks
        .endpoints
        .insert("google".to_owned(), endpoint);
    Service::start_fetching(store, &config, Arc::clone(network) as Arc<_>).await
}

#[tokio::test]
async fn a_push_needs_a_token_of_the_account_for_the_audience() {
    let (signer, other) = (Signer::new(), Signer::new());
    let clock = Clock::manual(Utc::now());
    for test in stores_with(clock.clone()).await {
        let network = Arc::new(Network::default());
        network.serve(KEYS, keys(&[("k1", &signer)]));
        let service = start(&test.store, &network).await;
        let now = clock.now().timestamp();
        let good = claims(now);
        let with = |field: &str, value: Value| {
            let mut claims = good.clone();
            claims[field] = value;
            token(&signer, &rs256("k1"), &claims)
        };
        let right = token(&signer, &rs256("k1"), &good);
        let (signed, signature) = right.rsplit_once('.').unwrap();
        let none = {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.", part(&json!({"alg": "none"})), part(&good))
        };
        let refused = [
            ("by another key", token(&other, &rs256("k1"), &good)),
            ("by a key nobody knows", token(&signer, &rs256("k9"), &good)),
            (
                "without a key's name",
                token(&signer, &json!({"alg": "RS256"}), &good),
            ),
            ("no algorithm", none),
            (
                "another algorithm",
                token(&signer, &json!({"alg": "HS256", "kid": "k1"}), &good),
            ),
            (
                "an extension",
                token(
                    &signer,
                    &json!({"alg": "RS256", "kid": "k1", "crit": ["x"]}),
                    &good,
                ),
            ),
            (
                "another audience",
                with("aud", json!("https://windlass.example/other")),
            ),
            (
                "another account",
                with("email", json!("push@evil.iam.gserviceaccount.com")),
            ),
            (
                "an account that is not verified",
                with("email_verified", json!(false)),
            ),
            (
                "another issuer",
                with("iss", json!("https://accounts.example.com")),
            ),
            ("an hour old", with("exp", json!(now - 61))),
            ("of the future", with("iat", json!(now + 61))),
            (
                "a signature cut short",
                format!("{signed}.{}", &signature[..40]),
            ),
            ("no signature", format!("{signed}.")),
            ("two parts", signed.to_owned()),
            ("nonsense", "nonsense".to_owned()),
        ];
        for (what, token) in refused {
            let (status, got) = send(&service, Some(&format!("Bearer {token}")), 1).await;
            assert_eq!(status, 401, "{what}: {got}");
        }
        assert_eq!(send(&service, None, 1).await.0, 401);
        assert_eq!(
            send(&service, Some(&format!("Basic {right}")), 1).await.0,
            401
        );
        assert_eq!(
            service
                .count("SELECT COUNT(*) FROM webhook_deliveries")
                .await,
            0
        );
        let (status, got) = send(&service, Some(&format!("Bearer {right}")), 1).await;
        assert_eq!(status, 202, "{got}");
        assert_eq!(got["images"][0]["repository"], "acme/apps/web");
        assert_eq!(
            network.asked(),
            [KEYS],
            "names of keys that are made up are not looked for each time"
        );
    }
}

#[tokio::test]
async fn without_the_issuers_keys_the_sender_is_to_come_again() {
    let test = windlass_testkit::sqlite().await;
    let network = Arc::new(Network::default());
    let service = start(&test.store, &network).await;
    let token = token(
        &Signer::new(),
        &rs256("k1"),
        &claims(Utc::now().timestamp()),
    );
    let (status, got) = send(&service, Some(&format!("Bearer {token}")), 1).await;
    assert_eq!(status, 503, "{got}");
    network.serve(KEYS, b"<html>".to_vec());
    assert_eq!(
        send(&service, Some(&format!("Bearer {token}")), 1).await.0,
        503
    );
    assert_eq!(network.asked().len(), 1, "it is not asked again at once");
}
