//! The key that is shown only once must not be lost on the way.

use crate::server::{launch, windlass};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_start_that_cannot_write_the_key_leaves_it_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("windlass.toml"), "").unwrap();
    let ended = windlass(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--data",
        text(&path("data")),
        "--key-file",
        text(&path("missing/key")),
    ])
    .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("missing/key"), "{ended:?}");

    // What stood there before is longer than a key, and open to everybody.
    std::fs::write(path("key"), "x".repeat(500)).unwrap();
    std::fs::set_permissions(path("key"), PermissionsExt::from_mode(0o644)).unwrap();
    let (mut child, _) = launch(&folder, "127.0.0.1:0");
    child.kill().unwrap();
    child.wait().unwrap();
    let key = std::fs::read_to_string(path("key")).unwrap();
    assert!(key.starts_with("wlo_") && !key.contains('x'), "{key:?}");
    let mode = path("key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A later start has no key to write, and touches none.
    let (mut child, _) = launch(&folder, "127.0.0.1:0");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read_to_string(path("key")).unwrap(), key);
}

#[tokio::test]
async fn a_folder_for_the_database_beside_settings_that_name_one_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("windlass.toml");
    std::fs::write(&file, "[store]\nurl = \"sqlite:elsewhere.db\"\n").unwrap();
    let data = folder.path().join("data");
    let ended = windlass(&["up", "--config", text(&file), "--data", text(&data)]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("store.url"), "{ended:?}");
}
