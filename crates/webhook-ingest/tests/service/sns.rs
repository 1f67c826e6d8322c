//! Messages of Amazon SNS: believed by their certificate, of the topics that are named.

use crate::signing::{Network, Signer};
use crate::support::{Service, answer, config, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use windlass_service::config::EndpointSection;
use windlass_testkit::stores;

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:pushes";
const CERTIFICATE: &str =
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem";

fn push(id: &str) -> Value {
    let event = json!({"version": "0", "id": id, "detail-type": "ECR Image Action", "source": "aws.ecr",
        "account": "123456789012", "time": "2026-03-01T12:00:00Z", "region": "eu-west-1",
        "detail": {"result": "SUCCESS", "repository-name": "team/app", "image-digest": digest(7),
            "action-type": "PUSH", "image-tag": "v4"}});
    json!({"Type": "Notification", "MessageId": format!("m-{id}"), "TopicArn": TOPIC,
        "Message": event.to_string(), "Timestamp": "2026-03-01T12:00:01.000Z",
        "SigningCertURL": CERTIFICATE,
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe"})
}

fn confirmation(kind: &str, url: &str) -> Value {
    json!({"Type": kind, "MessageId": "c-1", "TopicArn": TOPIC, "Message": "You have chosen to subscribe …",
        "Token": "2336412f37", "SubscribeURL": url, "Timestamp": "2026-03-01T12:00:00.000Z",
        "SigningCertURL": CERTIFICATE})
}

/// As SNS signs: fields in the order of its guide.
fn signed(signer: &Signer, version: &str, mut message: Value) -> Value {
    let names: &[&str] = if message["Type"] == "Notification" {
        &[
            "Message",
            "MessageId",
            "Subject",
            "Timestamp",
            "TopicArn",
            "Type",
        ]
    } else {
        &[
            "Message",
            "MessageId",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
            "Type",
        ]
    };
    let text: String = names
        .iter()
        .filter_map(|name| Some(format!("{name}\n{}\n", message[*name].as_str()?)))
        .collect();
    let hash = if version == "1" { "sha1" } else { "sha256" };
    message["SignatureVersion"] = json!(version);
    message["Signature"] = json!(STANDARD.encode(signer.sign(hash, &text)));
    message
}

/// A service with an endpoint for the topic, one that wants a secret too, and one that names no topic.
async fn service(store: &windlass_store::Store, network: &Arc<Network>) -> Service {
    let mut config = config();
    let of_topic = |secret: Option<&str>| EndpointSection {
        topics: vec![TOPIC.to_owned()],
        secret: secret.map(str::to_owned),
        ..EndpointSection::default()
    };
    let endpoints = &mut config.webhooks.endpoints;
    endpoints.insert("aws".to_owned(), of_topic(None));
    endpoints.insert("aws-secret".to_owned(), of_topic(Some("s3cret")));
    Service::start_fetching(store, &config, Arc::clone(network) as Arc<_>).await
}

async fn send(service: &Service, path: &str, message: &Value) -> (StatusCode, Value) {
    let request = service
        .client
        .post(format!("{}/{path}", service.url))
        .header("content-type", "text/plain; charset=UTF-8")
        .header(
            "x-amz-sns-message-type",
            message["Type"].as_str().unwrap_or("x"),
        );
    answer(request.body(message.to_string())).await
}

#[tokio::test]
async fn a_message_is_taken_by_its_signature_in_both_versions_and_its_certificate_fetched_once() {
    let signer = Signer::new();
    for test in stores().await {
        let network = Arc::new(Network::default());
        network.serve(CERTIFICATE, signer.certificate());
        let service = service(&test.store, &network).await;
        for version in ["1", "2"] {
            let mut message = push(version);
            if version == "2" {
                message["Subject"] = json!("a push");
            }
            let message = signed(&signer, version, message);
            let (status, got) = send(&service, "aws", &message).await;
            assert_eq!(status, 202, "version {version}: {got}");
            assert_eq!(got["images"][0]["digest"], digest(7), "{got}");
            let (status, again) = send(&service, "aws", &message).await;
            assert_eq!(
                (status.as_u16(), &again["delivery_id"]),
                (202, &got["delivery_id"])
            );
        }
        assert_eq!(network.asked(), [CERTIFICATE], "it is kept");
    }
}

#[tokio::test]
async fn what_its_topic_has_not_signed_is_refused_and_nothing_outside_amazon_is_asked() {
    let test = windlass_testkit::sqlite().await;
    let (signer, other) = (Signer::new(), Signer::new());
    let network = Arc::new(Network::default());
    network.serve(CERTIFICATE, signer.certificate());
    // What an attacker has.
    let theirs = "https://evil.example/SimpleNotificationService-0123456789abcdef.pem";
    network.serve(theirs, other.certificate());
    let service = service(&test.store, &network).await;
    let good = signed(&signer, "2", push("1"));
    let with = |field: &str, value: Value| {
        let mut message = good.clone();
        message[field] = value;
        message
    };
    let refused = [
        ("by another key", signed(&other, "2", push("1"))),
        (
            "by another key in version 1",
            signed(&other, "1", push("1")),
        ),
        ("a certificate at another host", {
            let mut message = push("1");
            message["SigningCertURL"] = json!(theirs);
            signed(&other, "2", message)
        }),
        ("no signature", with("Signature", json!(""))),
        ("no base64", with("Signature", json!("§"))),
        ("another message", with("Message", json!("{}"))),
        (
            "another time",
            with("Timestamp", json!("2026-03-01T12:00:02.000Z")),
        ),
        ("a subject that was not signed", with("Subject", json!("x"))),
        ("the other version", with("SignatureVersion", json!("1"))),
        (
            "a version nobody knows",
            with("SignatureVersion", json!("3")),
        ),
        (
            "another topic",
            with(
                "TopicArn",
                json!("arn:aws:sns:eu-west-1:123456789012:others"),
            ),
        ),
        (
            "a topic elsewhere",
            with(
                "TopicArn",
                json!("arn:aws:sns:us-east-1:123456789012:pushes"),
            ),
        ),
        ("no message of SNS", json!({"image": "r.io/a:v1"})),
    ];
    for (what, message) in refused {
        let (status, got) = send(&service, "aws", &message).await;
        assert_eq!(status, 401, "{what}: {got}");
    }
    for field in ["SigningCertURL", "Message", "Timestamp", "Signature"] {
        let mut message = good.clone();
        message.as_object_mut().unwrap().remove(field);
        let (status, got) = send(&service, "aws", &message).await;
        assert_eq!(status, 400, "without {field}: {got}");
        assert!(got["detail"].as_str().unwrap().contains(field), "{got}");
    }
    assert_eq!(network.asked(), [CERTIFICATE]);
    assert_eq!(
        service
            .count("SELECT COUNT(*) FROM webhook_deliveries")
            .await,
        0
    );
    let (status, got) = send(&service, "aws", &good).await;
    assert_eq!(status, 202, "{got}");
}

#[tokio::test]
async fn a_subscription_is_confirmed_at_amazon_for_the_topics_that_are_named() {
    let signer = Signer::new();
    for test in stores().await {
        let network = Arc::new(Network::default());
        network.serve(CERTIFICATE, signer.certificate());
        let service = service(&test.store, &network).await;
        let confirm = format!(
            "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
        );
        let message = signed(
            &signer,
            "1",
            confirmation("SubscriptionConfirmation", &confirm),
        );
        // Amazon does not answer: SNS is to send it again.
        let (status, got) = send(&service, "aws", &message).await;
        assert_eq!(status, 503, "{got}");
        network.serve(&confirm, b"<ConfirmSubscriptionResponse/>".to_vec());
        let (status, got) = send(&service, "aws", &message).await;
        assert_eq!((status.as_u16(), &got), (200, &json!({"confirmed": TOPIC})));
        assert_eq!(network.asked(), [CERTIFICATE, &confirm, &confirm]);
        let (_, page) = service.get("deliveries").await;
        assert_eq!(page["items"][0]["sender"], "sns", "{page}");
        assert_eq!(page["items"][0]["reason_code"], "handshake");

        // A good signature does not make another address good.
        let evil = "https://evil.example/?Action=ConfirmSubscription";
        let message = signed(&signer, "2", confirmation("SubscriptionConfirmation", evil));
        let (status, got) = send(&service, "aws", &message).await;
        assert_eq!(status, 401, "{got}");
        // An endpoint that names no topic confirms nothing, insecure or not.
        let message = signed(
            &signer,
            "2",
            confirmation("SubscriptionConfirmation", &confirm),
        );
        let (status, got) = send(&service, "open", &message).await;
        assert_eq!(status, 401, "{got}");
        assert!(
            got["detail"]
                .as_str()
                .unwrap()
                .contains("webhooks.endpoints.open.topics")
        );
        assert_eq!(network.asked().len(), 3);

        let message = signed(
            &signer,
            "2",
            confirmation("UnsubscribeConfirmation", &confirm),
        );
        let (status, got) = send(&service, "aws", &message).await;
        assert_eq!(
            (status.as_u16(), &got["reason_code"]),
            (202, &json!("handshake"))
        );
        assert_eq!(network.asked().len(), 3, "nothing is subscribed again");
    }
}

#[tokio::test]
async fn a_secret_beside_the_topics_is_wanted_as_well() {
    let test = windlass_testkit::sqlite().await;
    let signer = Signer::new();
    let network = Arc::new(Network::default());
    network.serve(CERTIFICATE, signer.certificate());
    let service = service(&test.store, &network).await;
    let message = signed(&signer, "2", push("1"));
    assert_eq!(send(&service, "aws-secret", &message).await.0, 401);
    assert_eq!(network.asked().len(), 0, "the secret comes first");
    assert_eq!(send(&service, "aws-secret/s3cret", &message).await.0, 202);
    let (status, _) = send(&service, "aws-secret/s3cret", &push("1")).await;
    assert_eq!(status, 400, "it is not signed at all");
}

#[tokio::test]
async fn made_up_messages_do_not_make_us_ask_amazon_at_their_pace() {
    let test = windlass_testkit::sqlite().await;
    let network = Arc::new(Network::default());
    let service = service(&test.store, &network).await;
    for number in 0..60 {
        let mut message = push("1");
        message["SignatureVersion"] = json!("2");
        message["Signature"] = json!("AA==");
        message["SigningCertURL"] = json!(format!(
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{number}.pem"
        ));
        let (status, got) = send(&service, "aws", &message).await;
        assert_eq!(status, 503, "{got}");
    }
    assert_eq!(network.asked().len(), 20);
}
