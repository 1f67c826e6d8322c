//! docs/problems.md lists every problem. `WINDLASS_TEST_WRITE_PAGES=1` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use windlass_service::problem::CATALOGUE;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems.md");

fn page() -> String {
    let mut page = "# Problems\n\n\
        Every answer of every service that is neither 2xx nor 304 has a body of the type\n\
        `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)):\n\n\
        ```json\n\
        {\"type\":\"urn:windlass:problem:invalid\",\"title\":\"Fields are wrong\",\"status\":400,\n \
        \"detail\":\"1 of the fields are wrong\",\n \
        \"errors\":[{\"field\":\"batches[1].percent\",\"message\":\"a share is 1 to 100, not 200\"}]}\n\
        ```\n\n\
        `detail` is about this case. `errors` names fields, where it is about fields. `request_id` is\n\
        there where the fault is ours, and finds the request in the log. Programs should go by `type`.\n\n\
        This page is made from the list in `crates/service/src/problem.rs`, and a test compares them.\n\n\
        | `type` | Status | Title |\n\
        |---|---|---|\n"
        .to_owned();
    for (code, status, title) in CATALOGUE {
        writeln!(
            page,
            "| `urn:windlass:problem:{code}` | {status} | {title} |"
        )
        .unwrap();
    }
    page.push_str(
        "\n`too-many-requests` and `unavailable` come with `Retry-After`, in seconds; \
         `method-not-allowed`\nwith `Allow`; `unauthorized` with `WWW-Authenticate`.\n",
    );
    page
}

#[test]
fn the_page_lists_every_problem() {
    if std::env::var_os("WINDLASS_TEST_WRITE_PAGES").is_some() {
        std::fs::write(PATH, page()).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(written, page(), "write it with WINDLASS_TEST_WRITE_PAGES=1");
}
