//! `windlass events`.

use crate::cli::Events;
use crate::exit::Failure;
use crate::lookup;
use crate::output::Out;
use crate::times::{short_head, short_image, short_tail};
use windlass_client::{Client, EventFilter};
use windlass_types::event::{Cursor, Event};

pub(crate) async fn run(client: &Client, given: Events, out: &mut Out) -> Result<(), Failure> {
    let rollout = match &given.rollout {
        Some(wanted) => Some(lookup::rollout(client, wanted).await?),
        None => None,
    };
    let device = match &given.device {
        Some(wanted) => Some(lookup::device(client, wanted).await?),
        None => None,
    };
    let filter = EventFilter {
        types: given.types.clone(),
        rollout,
        device,
    };
    let after = match (given.after, given.follow) {
        (None, false) => Some(Cursor::default()),
        (after, _) => after,
    };
    let mut stream = client.events(filter, after).await?;
    loop {
        let event = if given.follow {
            stream.next().await?
        } else {
            match stream.next_logged().await? {
                Some(event) => event,
                None => return Ok(()),
            }
        };
        if out.is_json() {
            out.json_line(&event)?;
        } else {
            out.line(line(&event))?;
        }
    }
}

/// An event for people.
pub(crate) fn line(event: &Event) -> String {
    let mut text = format!(
        "{}  {:<32}",
        event.occurred_at.format("%Y-%m-%d %H:%M:%S%.3fZ"),
        event.kind.as_str()
    );
    if let Some(rollout) = event.rollout_id {
        text.push_str(&format!("  rollout {}", short_tail(rollout.0)));
    }
    if let Some(device) = event.device_uuid {
        text.push_str(&format!("  device {}", short_head(device.0)));
    }
    if let Some(subject) = &event.subject {
        text.push_str(&format!("  {}", short_image(subject)));
    }
    if let Some(version) = event.version {
        text.push_str(&format!("  target v{version}"));
    }
    if event.actor.starts_with("operator:") {
        text.push_str(&format!("  by {}", event.actor));
    }
    text
}
