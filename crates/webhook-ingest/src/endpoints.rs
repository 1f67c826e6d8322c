//! The endpoints that the configuration names.

use crate::auth::Secrets;
use crate::limit::AddressLimit;
use crate::senders::{self, Sender};
use crate::sns::TopicArn;
use crate::token::Wanted;
use std::collections::BTreeMap;
use windlass_service::config::WebhooksSection;

/// The endpoint at the address that registries' guides are written for.
pub(crate) const USUAL: &str = "docker-registry";

/// One endpoint.
pub(crate) struct Endpoint {
    /// Its name, in its address.
    pub(crate) name: String,
    /// What deliveries are authenticated with.
    pub(crate) secrets: Secrets,
    /// The one sender it takes; `None` where senders are recognised.
    pub(crate) sender: Option<&'static Sender>,
    /// The registry's host as policies and devices name it.
    pub(crate) registry: Option<String>,
    /// The topics of SNS whose messages it takes; where there are any, nothing else.
    pub(crate) topics: Vec<TopicArn>,
    /// What the token with a delivery must say.
    pub(crate) token: Option<Wanted>,
    /// Origins that may ask for leave to send CloudEvents.
    pub(crate) origins: Vec<String>,
    /// How often an address may deliver.
    pub(crate) limit: AddressLimit,
}

impl Endpoint {
    /// Whether deliveries must prove where they come from.
    pub(crate) fn is_authenticated(&self) -> bool {
        !self.secrets.live.is_empty() || !self.topics.is_empty() || self.token.is_some()
    }
}

/// Reads and checks the endpoints.
///
/// # Errors
/// A text that says which setting cannot be used, and what could be.
pub(crate) fn read(section: &WebhooksSection) -> Result<BTreeMap<String, Endpoint>, String> {
    let mut endpoints = BTreeMap::new();
    for (name, settings) in &section.endpoints {
        let refused = |text: String| Err(format!("webhooks.endpoints.{name}: {text}"));
        let name_ok = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !name_ok {
            return refused(
                "a name has 1 to 64 letters, digits, '.', '_' or '-'; it is part of an address"
                    .to_owned(),
            );
        }
        if ["deliveries", "endpoints"].contains(&name.as_str()) {
            return refused(
                "this address shows deliveries and endpoints; take another name".to_owned(),
            );
        }
        let mut live = settings.secret.iter().chain(&settings.previous_secret);
        if live.any(String::is_empty) {
            return refused("the secret is empty; give one, or write insecure = true".to_owned());
        }
        if settings
            .secret
            .iter()
            .chain(&settings.previous_secret)
            .any(|secret| secret == "test")
        {
            // Its address would be the one that tries deliveries out.
            return refused("the secret is the word test; give a long random one".to_owned());
        }
        let sender = match &settings.sender {
            None => None,
            Some(wanted) => match senders::named(wanted) {
                Some(sender) => Some(sender),
                None => {
                    return refused(format!(
                        "there is no sender {wanted:?}; there are {}",
                        senders::names()
                    ));
                }
            },
        };
        if let Some(registry) = &settings.registry
            && !senders::is_host(registry)
        {
            return refused(format!(
                "{registry:?} is no host of a registry that images can be named by: it needs a dot or a port"
            ));
        }
        let mut topics = Vec::with_capacity(settings.topics.len());
        for topic in &settings.topics {
            match topic.parse() {
                Ok(topic) => topics.push(topic),
                Err(error) => return refused(format!("topics: {error}")),
            }
        }
        let token = match settings.token.as_ref().map(Wanted::new).transpose() {
            Ok(token) => token,
            Err(error) => return refused(format!("token: {error}")),
        };
        let endpoint = Endpoint {
            name: name.clone(),
            secrets: Secrets {
                live: settings
                    .secret
                    .iter()
                    .chain(&settings.previous_secret)
                    .cloned()
                    .collect(),
                user: settings.user.clone(),
            },
            sender,
            registry: settings.registry.clone(),
            topics,
            token,
            origins: settings
                .origins
                .iter()
                .map(|origin| origin.to_ascii_lowercase())
                .collect(),
            limit: AddressLimit::per_minute(section.requests_per_minute),
        };
        endpoints.insert(name.clone(), endpoint);
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_service::config::{EndpointSection, TokenSection};

    fn with(name: &str, settings: EndpointSection) -> Result<BTreeMap<String, Endpoint>, String> {
        read(&WebhooksSection {
            endpoints: [(name.to_owned(), settings)].into(),
            ..WebhooksSection::default()
        })
    }

    #[test]
    fn an_endpoint_that_cannot_work_is_refused_at_the_start() {
        let plain = || EndpointSection {
            secret: Some("s3cret".to_owned()),
            ..EndpointSection::default()
        };
        assert!(with("ci", plain()).is_ok());
        let wrong = [
            ("deliveries", plain(), "deliveries"),
            ("a/b", plain(), "letters"),
            ("", plain(), "letters"),
            (
                "ci",
                EndpointSection {
                    secret: Some(String::new()),
                    ..plain()
                },
                "empty",
            ),
            (
                "ci",
                EndpointSection {
                    sender: Some("quai".to_owned()),
                    ..plain()
                },
                "docker_hub, ghcr, distribution",
            ),
            (
                "ci",
                EndpointSection {
                    registry: Some("http://r.io".to_owned()),
                    ..plain()
                },
                "host",
            ),
            (
                "ci",
                EndpointSection {
                    topics: vec!["arn:aws:sqs:eu-west-1:123456789012:pushes".to_owned()],
                    ..plain()
                },
                "arn:aws:sns:",
            ),
            (
                "ci",
                EndpointSection {
                    token: Some(TokenSection::default()),
                    ..plain()
                },
                "audience",
            ),
            (
                "ci",
                EndpointSection {
                    token: Some(TokenSection {
                        audience: "a".to_owned(),
                        email: "b".to_owned(),
                        keys_url: "http://keys.example/".to_owned(),
                        ..TokenSection::default()
                    }),
                    ..plain()
                },
                "keys_over_http",
            ),
            (
                "ci",
                EndpointSection {
                    secret: Some("test".to_owned()),
                    ..plain()
                },
                "random",
            ),
        ];
        for (name, settings, part) in wrong {
            let error = with(name, settings).err().unwrap();
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}
