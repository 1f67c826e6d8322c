//! Messages of Amazon SNS: who signed them, and subscriptions that are to be confirmed.
//!
//! An endpoint takes messages of the topics that its configuration names and no others. What a message
//! says of itself is believed only once its signature is right, and of the two addresses in it neither
//! is asked before its host, its path and the topic's region agree: a message comes from anywhere, and
//! an address on Amazon's hosts is not yet a certificate of Amazon's (the API answers there too, and can
//! be made to answer with what somebody wrote).
//!
//! Source: <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>.

mod certificates;
mod message;

pub(crate) use certificates::Certificates;
pub(crate) use message::{Kind, Message, TopicArn};

use crate::fetch::FetchError;
use url::Url;
use windlass_service::Problem;
use windlass_service::problem::chain;

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untrusted {
    /// A field that has to be there, or cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// Nothing that this endpoint trusts.
    #[error("{0}")]
    Refused(String),
    /// The certificate cannot be fetched now.
    #[error("the certificate of a message cannot be fetched")]
    Fetch(#[source] FetchError),
}

impl From<Untrusted> for Problem {
    fn from(untrusted: Untrusted) -> Self {
        match untrusted {
            Untrusted::Malformed(text) => Self::Malformed(text),
            Untrusted::Refused(text) => Self::Unauthorized(text),
            Untrusted::Fetch(error) => {
                tracing::warn!(error = %chain(&error), "the certificate of a message cannot be fetched");
                Self::Unavailable(None)
            }
        }
    }
}

/// Lets a message through that this topic, which it names, has signed.
///
/// # Errors
/// [`Untrusted`].
pub(crate) async fn check(
    topic: &TopicArn,
    certificates: &Certificates,
    message: &Message<'_>,
) -> Result<(), Untrusted> {
    let url = certificate_url(topic, message.certificate_url)
        .map_err(|why| Untrusted::Refused(format!("SigningCertURL {why}")))?;
    certificates.verify(&url, message).await
}

/// The address that confirms a subscription, where it is one of Amazon's for this topic.
///
/// # Errors
/// A text that says what it is instead.
pub(crate) fn confirmation_url(topic: &TopicArn, text: &str) -> Result<Url, String> {
    let url = of_amazon(topic, text)?;
    let named = |name: &str, value: &str| {
        let mut found = url.query_pairs().filter(|(key, _)| key == name);
        found.next().is_some_and(|(_, got)| got == value) && found.next().is_none()
    };
    if url.path() == "/"
        && named("Action", "ConfirmSubscription")
        && named("TopicArn", topic.as_str())
    {
        Ok(url)
    } else {
        Err("confirms no subscription to this topic".to_owned())
    }
}

/// The address of a certificate, where it is one of Amazon's for this topic.
fn certificate_url(topic: &TopicArn, text: &str) -> Result<Url, String> {
    let url = of_amazon(topic, text)?;
    let name = url
        .path()
        .strip_prefix("/SimpleNotificationService-")
        .and_then(|rest| rest.strip_suffix(".pem"));
    let is_certificate = name.is_some_and(|name| {
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if is_certificate && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err("is not the address of a certificate of SNS".to_owned())
    }
}

/// An address at the host of SNS in the topic's region, over TLS.
fn of_amazon(topic: &TopicArn, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    if url.scheme() != "https" || !plain {
        return Err("must begin with https:// and the host alone".to_owned());
    }
    let host = topic.host();
    if url.host_str() == Some(host.as_str()) {
        Ok(url)
    } else {
        Err(format!("is not at {host}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:pushes";

    #[test]
    fn nothing_is_fetched_but_certificates_at_amazons_host_of_the_region() {
        let topic: TopicArn = TOPIC.parse().unwrap();
        let good = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem";
        assert_eq!(certificate_url(&topic, good).unwrap().as_str(), good);
        let bad = [
            "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem",
            "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0a1b2c.pem",
            "https://a@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0a1b2c.pem",
            "https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0a1b2c.pem",
            "https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-0a1b2c.pem",
            "https://evil.sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem",
            "https://sns.eu-west-1.amazonaws.com.cn/SimpleNotificationService-0a1b2c.pem",
            "https://bucket.s3.amazonaws.com/SimpleNotificationService-0a1b2c.pem",
            // The API on the same host answers with what somebody wrote into a topic's attributes.
            "https://sns.eu-west-1.amazonaws.com/?Action=GetTopicAttributes&x=.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem?x=1",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem#x",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-/../x.pem",
            "https://sns.eu-west-1.amazonaws.com/a/SimpleNotificationService-0a1b2c.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-.pem",
            "https://169.254.169.254/SimpleNotificationService-0a1b2c.pem",
            "file:///SimpleNotificationService-0a1b2c.pem",
            "SimpleNotificationService-0a1b2c.pem",
            "",
        ];
        for text in bad {
            assert!(certificate_url(&topic, text).is_err(), "{text}");
        }
        let china: TopicArn = "arn:aws-cn:sns:cn-north-1:123456789012:p".parse().unwrap();
        let good = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0.pem";
        assert!(certificate_url(&china, good).is_ok());
    }

    #[test]
    fn only_a_confirmation_of_the_topic_itself_is_asked_for() {
        let topic: TopicArn = TOPIC.parse().unwrap();
        let at = |query: &str| format!("https://sns.eu-west-1.amazonaws.com/{query}");
        let good = at(&format!(
            "?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336"
        ));
        assert!(confirmation_url(&topic, &good).is_ok());
        let bad = [
            at(&format!("?Action=DeleteTopic&TopicArn={TOPIC}")),
            at(&format!(
                "?Action=ConfirmSubscription&TopicArn={TOPIC}x&Token=1"
            )),
            at(&format!(
                "?Action=ConfirmSubscription&Action=DeleteTopic&TopicArn={TOPIC}"
            )),
            at("?Action=ConfirmSubscription"),
            at(""),
            good.replace("/?", "/x?"),
            good.replace("https", "http"),
            good.replace("eu-west-1.amazonaws", "eu-west-1.evil"),
        ];
        for text in bad {
            assert!(confirmation_url(&topic, &text).is_err(), "{text}");
        }
    }
}
