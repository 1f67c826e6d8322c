//! docs/agent.md tells every setting with its default, and links to files that are there.
#![allow(clippy::unwrap_used, reason = "tests are to fail loudly")]

use std::collections::BTreeSet;
use std::path::Path;
use windlass_agent::config::Config;
use windlass_settings::setting_paths;

fn page() -> String {
    std::fs::read_to_string(docs().join("agent.md")).unwrap()
}

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn every_setting_is_told_and_no_other() {
    let page = page();
    let (_, after) = page.split_once("\n| Setting |").unwrap();
    let (table, _) = after.split_once("\n\n").unwrap();
    let told: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once(" |"))
        .flat_map(|(names, _)| names.split(", "))
        .map(|name| name.trim_matches('`').to_owned())
        .collect();
    let known: BTreeSet<String> = setting_paths::<Config>().into_iter().collect();
    assert_eq!(told, known);
}

#[test]
fn promises_link_to_files_that_are_there() {
    let page = page();
    let links: Vec<&str> = page
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0))
        .filter(|link| !link.starts_with('#'))
        .collect();
    assert!(links.len() > 20, "{links:?}");
    for link in links {
        assert!(docs().join(link).exists(), "{link}");
    }
}
