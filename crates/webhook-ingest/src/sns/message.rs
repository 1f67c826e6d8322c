//! What a message of SNS says, and the text that is signed.

use super::Untrusted;
use serde_json::Value;
use std::fmt::Write as _;
use std::str::FromStr;

/// The name of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicArn {
    text: String,
    region: String,
    is_china: bool,
}

impl FromStr for TopicArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "{text:?} is no topic; write it as in arn:aws:sns:eu-west-1:123456789012:pushes"
            )
        };
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts.as_slice() else {
            return Err(wrong());
        };
        let is_plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        // A region becomes part of a host's name.
        let region_ok = is_plain(region) && !region.contains(['.', '_']);
        let partition_ok = matches!(*partition, "aws" | "aws-cn" | "aws-us-gov");
        if !partition_ok || !region_ok || !is_plain(account) || !is_plain(name) {
            return Err(wrong());
        }
        Ok(Self {
            text: text.to_owned(),
            region: (*region).to_owned(),
            is_china: *partition == "aws-cn",
        })
    }
}

impl TopicArn {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The host of SNS in the topic's region.
    pub(crate) fn host(&self) -> String {
        let end = if self.is_china { ".cn" } else { "" };
        format!("sns.{}.amazonaws.com{end}", self.region)
    }
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// It carries something.
    Notification,
    /// The topic asks whether the endpoint wants its messages; this address says yes.
    Subscription {
        /// The address.
        url: &'a str,
    },
    /// The subscription is over.
    Unsubscription,
}

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) topic: &'a str,
    pub(crate) id: Option<&'a str>,
    pub(crate) certificate_url: &'a str,
    pub(crate) version: &'a str,
    pub(crate) signature: &'a str,
    /// What the signature is over.
    pub(crate) signed: String,
}

/// The fields that are signed, in their order.
const OF_NOTIFICATIONS: [&str; 6] = [
    "Message",
    "MessageId",
    "Subject",
    "Timestamp",
    "TopicArn",
    "Type",
];
const OF_CONFIRMATIONS: [&str; 7] = [
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
];

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Untrusted::Malformed`] with the field that is missing.
    pub(crate) fn read(body: &'a Value) -> Result<Self, Untrusted> {
        let field = |name: &str| {
            body.get(name).and_then(Value::as_str).ok_or_else(|| {
                Untrusted::Malformed(format!("{name} is missing; messages of SNS have it"))
            })
        };
        let kind = match field("Type")? {
            "Notification" => Kind::Notification,
            "SubscriptionConfirmation" => Kind::Subscription {
                url: field("SubscribeURL")?,
            },
            "UnsubscribeConfirmation" => Kind::Unsubscription,
            other => {
                return Err(Untrusted::Malformed(format!(
                    "Type is {other:?}, which is no message of SNS"
                )));
            }
        };
        let names: &[&str] = if kind == Kind::Notification {
            &OF_NOTIFICATIONS
        } else {
            &OF_CONFIRMATIONS
        };
        let mut signed = String::new();
        for name in names {
            // A message has a subject or none.
            if *name == "Subject" && !body.get(name).is_some_and(Value::is_string) {
                continue;
            }
            // Writing to a text does not fail.
            write!(signed, "{name}\n{}\n", field(name)?).ok();
        }
        Ok(Self {
            kind,
            topic: field("TopicArn")?,
            id: body.get("MessageId").and_then(Value::as_str),
            certificate_url: field("SigningCertURL")?,
            version: field("SignatureVersion")?,
            signature: field("Signature")?,
            signed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn no_message_makes_the_reader_panic_and_a_host_is_always_amazons(
            fields in prop::collection::btree_map(
                prop::sample::select(vec!["Type", "Message", "MessageId", "Subject", "SubscribeURL", "Timestamp",
                    "Token", "TopicArn", "SigningCertURL", "SignatureVersion", "Signature"]),
                prop_oneof![
                    prop::sample::select(vec!["Notification", "SubscriptionConfirmation", "1", "2"])
                        .prop_map(str::to_owned),
                    "\\PC{0,30}",
                ],
                0..12,
            ),
            arn in "arn:(aws|aws-cn|\\PC{0,4}):sns:[a-z0-9./@-]{0,12}:[0-9]{0,12}:\\PC{0,8}",
        ) {
            let body = json!(fields);
            if let Ok(message) = Message::read(&body) {
                prop_assert!(message.signed.starts_with("Message\n"));
            }
            if let Ok(topic) = arn.parse::<TopicArn>() {
                let host = topic.host();
                let url: url::Url = format!("https://{host}/").parse().unwrap();
                prop_assert_eq!(url.host_str(), Some(host.as_str()));
                prop_assert!(host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"));
            }
        }
    }

    #[test]
    fn the_text_that_is_signed_has_the_fields_in_their_order() {
        let mut body = json!({"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": "a\nb",
            "Timestamp": "2026", "SignatureVersion": "1", "Signature": "s", "SigningCertURL": "u",
            "UnsubscribeURL": "x"});
        let signed = |body: &Value| Message::read(body).unwrap().signed;
        assert_eq!(
            signed(&body),
            "Message\na\nb\nMessageId\nm\nTimestamp\n2026\nTopicArn\nt\nType\nNotification\n"
        );
        body["Subject"] = json!("hello");
        assert!(signed(&body).contains("MessageId\nm\nSubject\nhello\nTimestamp\n"));
        body["Type"] = json!("SubscriptionConfirmation");
        assert!(Message::read(&body).is_err(), "it has no SubscribeURL");
        body["SubscribeURL"] = json!("https://x");
        body["Token"] = json!("k");
        assert_eq!(
            signed(&body),
            "Message\na\nb\nMessageId\nm\nSubscribeURL\nhttps://x\nTimestamp\n2026\nToken\nk\nTopicArn\nt\n\
             Type\nSubscriptionConfirmation\n"
        );
        body["Type"] = json!("Other");
        assert!(Message::read(&body).is_err());
    }

    #[test]
    fn a_topic_is_named_in_full() {
        let hosts = [
            (
                "arn:aws:sns:eu-west-1:123456789012:pushes",
                "sns.eu-west-1.amazonaws.com",
            ),
            (
                "arn:aws-cn:sns:cn-north-1:1:p.fifo",
                "sns.cn-north-1.amazonaws.com.cn",
            ),
            (
                "arn:aws-us-gov:sns:us-gov-west-1:1:p",
                "sns.us-gov-west-1.amazonaws.com",
            ),
        ];
        for (text, host) in hosts {
            assert_eq!(text.parse::<TopicArn>().unwrap().host(), host);
        }
        for text in [
            "",
            "pushes",
            "arn:aws:sqs:eu-west-1:1:p",
            "arn:aws:sns:eu-west-1:1",
            "arn:aws:sns:eu-west-1:1:*",
            "arn:aws:sns:evil.example/:1:p",
            "arn:aws:sns:a.b:1:p",
            "arn:other:sns:eu-west-1:1:p",
            "arn:aws:sns:eu-west-1:1:p:subscription",
        ] {
            assert!(text.parse::<TopicArn>().is_err(), "{text}");
        }
    }
}
