//! What happens in an engine.

use crate::engine::Engine;
use crate::error::Error;
use bollard::models::EventMessageTypeEnum;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use std::collections::HashMap;

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The container.
    pub container: String,
    /// The engine's word: `start`, `die`, `oom`, `health_status: healthy`, …
    pub action: String,
}

impl Engine {
    /// What happens from now on to containers that carry every one of these labels. Ends when the
    /// engine goes away; the last item says so.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn events(
        &self,
        labels: &[String],
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        const ACTION: &str = "events";
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), labels.to_vec()),
        ]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let client = self.client().await?;
        let events = client
            .events(Some(options))
            .filter_map(async |item| match item {
                Ok(message) if message.typ == Some(EventMessageTypeEnum::CONTAINER) => {
                    Some(Ok(Event {
                        container: message.actor?.id?,
                        action: message.action.unwrap_or_default(),
                    }))
                }
                Ok(_) => None,
                Err(error) => Some(Err(Error::of(ACTION, &error))),
            });
        let ended = stream::once(async {
            Err(Error::Away {
                action: ACTION,
                reason: "the connection ended".to_owned(),
            })
        });
        Ok(events.chain(ended).boxed())
    }
}
