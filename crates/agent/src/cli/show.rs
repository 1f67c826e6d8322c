//! What `status` prints.

use crate::status::Status;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use windlass_reconcile::view::ServiceView;

/// Prints it.
pub(super) fn status(status: &Status, json: bool) -> io::Result<()> {
    let text = if json { as_json(status)? } else { text(status) };
    io::stdout().write_all(text.as_bytes())
}

fn as_json(status: &Status) -> io::Result<String> {
    let mut value = serde_json::to_value(status)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("waits".to_owned(), json!(status.waits()));
        object.insert("running".to_owned(), json!(runs(status)));
    }
    Ok(format!("{value:#}\n"))
}

/// Whether the agent that wrote it is still there.
fn runs(status: &Status) -> bool {
    status
        .process
        .is_some_and(|id| std::path::Path::new(&format!("/proc/{id}")).exists())
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: String| writeln!(text, "{name:<10}{value}").unwrap_or(());
    let agent = match status.process {
        Some(id) if runs(status) => format!("{}, process {id}", status.agent_version),
        _ => format!("{}, does not run", status.agent_version),
    };
    line("agent", agent);
    line("device", status.uuid.to_string());
    line("server", status.server.clone());
    let version = status.picture.version;
    line(
        "target",
        version.map_or_else(|| "none yet".to_owned(), |v| format!("version {v}")),
    );
    for warning in &status.picture.warnings {
        line("left out", warning.clone());
    }
    for sentence in &status.picture.left_alone {
        line("not taken", sentence.clone());
    }
    let services = status.picture.services.iter().flatten();
    for service in services {
        text.push_str(&of_service(service));
    }
    let waits = status.waits();
    if waits.is_empty() {
        text.push_str("waits for nothing\n");
    }
    for wait in waits {
        writeln!(text, "waits {wait}").unwrap_or(());
    }
    text
}

fn of_service(view: &ServiceView) -> String {
    let phase = serde_json::to_value(view.phase).unwrap_or_default();
    let phase = phase.as_str().unwrap_or_default();
    let mut text = format!(
        "\n{}/{} ({}): {phase}\n",
        view.app_name, view.name, view.key
    );
    let wanted = view.wanted_image.as_deref().unwrap_or("nothing");
    match &view.container {
        Some(container) => {
            let restarts = match container.restarts {
                0 => String::new(),
                times => format!(", started again {times} times"),
            };
            let id = container.id.get(..12).unwrap_or(&container.id);
            text.push_str(&format!(
                "  runs   {} ({}, {id}{restarts})\n",
                container.image, container.status
            ));
            if container.image != wanted {
                text.push_str(&format!("  wants  {wanted}\n"));
            }
        }
        None => text.push_str(&format!("  runs   nothing\n  wants  {wanted}\n")),
    }
    if let Some(error) = &view.error {
        text.push_str(&format!(
            "  failed ({}): {}\n",
            error.class.as_str(),
            error.message
        ));
    }
    text
}
