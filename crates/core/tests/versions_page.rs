//! The examples of docs/versions.md: each is a policy that is taken, and its rule does what the table below
//! it says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use windlass_core::policy_check::check;
use windlass_core::versions::Rule;
use windlass_types::policy::PolicySpec;

const PAGE: &str = include_str!("../../../docs/versions.md");

#[test]
fn every_example_is_taken_and_reads_tags_as_the_page_says() {
    let (mut policies, mut tags) = (0, 0);
    for block in PAGE.split("```json\n").skip(1) {
        let (text, after) = block.split_once("```\n").unwrap();
        let spec: PolicySpec =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        let checked = check(&spec);
        assert!(checked.is_ok(), "{}: {checked:?}", spec.name);
        policies += 1;
        let rule = Rule::new(&spec.tag).unwrap();
        for row in table(after) {
            let (tag, is) = row;
            let found = match rule.read(&tag) {
                Ok(read) => read.version,
                Err(why) => format!("not taken: {why}"),
            };
            assert_eq!(found, is, "{tag} by {}", spec.name);
            tags += 1;
        }
    }
    assert_eq!(
        (policies, tags),
        (10, 23),
        "examples and rows of their tables"
    );
}

/// The rows of the table that follows at once.
fn table(after: &str) -> Vec<(String, String)> {
    let lines = after.lines().skip_while(|line| line.is_empty());
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|line| {
        let inner = line.trim_start_matches('|').trim_end_matches('|');
        let (tag, is) = inner.split_once(" | ").unwrap();
        let tag = tag.trim().trim_matches('`');
        (tag.to_owned(), is.trim().replace("\\|", "|"))
    })
    .collect()
}
