//! docs/why.md lists every reason. `WINDLASS_TEST_WRITE_PAGES=1` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use windlass_core::why::examples;
use windlass_types::why::{WhyCode, WhyKind};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/why.md");

const HEAD: &str = "# Why\n\n\
    `windlass why DEVICE`, `windlass why ROLLOUT` and `windlass why IMAGE` say why something moved or\n\
    did not, in the order in which the rules decide; `GET /api/v1/devices/{uuid}/why`,\n\
    `/api/v1/rollouts/{id}/why` and `/api/v1/images/why?image=…` say the same to programs:\n\n\
    | Field | |\n\
    |---|---|\n\
    | `sentences` | each reason for people, in order |\n\
    | `reasons[].code` | one of the codes below; they stay |\n\
    | `reasons[].kind` | `waits`: it keeps things from moving, and will change. `decided`: it settled the matter. `known`: it helps to understand the rest |\n\
    | `reasons[].since` | since when it is so, where that is known |\n\
    | `reasons[].changes_at` | when it changes by itself at the latest: a window opens, a soak or a freeze ends, a retry is due, a deadline |\n\
    | `reasons[].needs` | what a person has to do where it does not change by itself |\n\
    | `reasons[].details` | the data that the sentence is made from |\n\
    | `waiting_for` | the first reason that is waited for; none where nothing is |\n\n\
    A device that waits for its turn is told what its rollout waits for, under the rollout's codes.\n\n\
    This page is made from `crates/types/src/why/code.rs` and `crates/core/src/why/examples.rs`, and a\n\
    test compares them.\n\n\
    | Code | Kind | Meaning | Example |\n\
    |---|---|---|---|\n";

fn page() -> String {
    let mut page = HEAD.to_owned();
    let examples = examples();
    for code in WhyCode::ALL {
        let example = examples.iter().find(|one| one.code == *code);
        let example = example.unwrap_or_else(|| panic!("{code} has no example"));
        let mut cell = example.sentence.replace('|', "\\|");
        if let Some(needs) = &example.needs {
            write!(cell, " *{needs}*").unwrap();
        }
        writeln!(
            page,
            "| `{code}` | {} | {} | {cell} |",
            example.kind,
            code.meaning()
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_lists_every_reason() {
    if std::env::var_os("WINDLASS_TEST_WRITE_PAGES").is_some() {
        std::fs::write(PATH, page()).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(written, page(), "write it with WINDLASS_TEST_WRITE_PAGES=1");
}

#[test]
fn every_code_has_one_example_whose_sentence_a_person_can_read() {
    let examples = examples();
    assert_eq!(examples.len(), WhyCode::ALL.len(), "one for each code");
    for one in &examples {
        let text = &one.sentence;
        assert!(text.ends_with('.') && !text.ends_with(".."), "{text}");
        assert!(text.starts_with(|c: char| !c.is_whitespace()), "{text}");
        assert!(!text.contains('_') && !text.contains("None"), "{text}");
        let named = one.details.to_string();
        assert!(one.details.is_object(), "{}: {named}", one.code);
        // What does not change by itself and is waited for says what it needs, or is a moment's work.
        let moment = text.contains("in a moment") || text.contains("the policy allows");
        if one.kind == WhyKind::Waits && one.changes_at.is_none() {
            assert!(one.needs.is_some() || moment, "{}: {text}", one.code);
        }
    }
}
