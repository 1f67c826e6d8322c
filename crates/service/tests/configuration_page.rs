//! docs/configuration.md lists every setting, with its variable and its default.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::Value;
use std::collections::BTreeMap;
use windlass_service::config::{Config, setting_paths, variable};

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The rows of the page's tables that begin with a setting: path, variable, default.
fn rows() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    PAGE.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let path = cells.next()?.trim_matches('`');
            let variable = cells.next()?.trim_matches('`');
            let default = cells.next()?;
            variable
                .starts_with("WINDLASS_")
                .then_some((path, (variable, default)))
        })
        .collect()
}

#[test]
fn the_page_lists_every_setting_and_no_other() {
    let mut known = setting_paths();
    known.sort();
    let listed: Vec<&str> = rows().into_keys().collect();
    assert_eq!(listed, known);
}

#[test]
fn the_page_gives_each_setting_its_variable_and_default() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for (path, (name, default)) in rows() {
        assert_eq!(name, variable(path), "{path}");
        let written = match default {
            "none" => Value::Null,
            json => serde_json::from_str(json.trim_matches('`'))
                .unwrap_or_else(|error| panic!("{path}: {json}: {error}")),
        };
        let pointer = format!("/{}", path.replace('.', "/"));
        assert_eq!(defaults.pointer(&pointer), Some(&written), "{path}");
    }
}
