//! The agent's own log: JSON under a supervisor, readable on a terminal, always on standard error.

use crate::config::{LogFormat, LogSection};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts it. A second call does nothing.
pub(super) fn init(log: &LogSection) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init()
    } else {
        builder.with_ansi(terminal).with_target(false).try_init()
    };
    // Started already by the program around it.
    started.ok();
}
