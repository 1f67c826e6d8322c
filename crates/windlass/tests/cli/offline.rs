//! What needs no server.

use crate::server::windlass;

#[tokio::test]
async fn help_and_version_are_no_errors_and_a_wrong_command_line_is_exit_code_2() {
    assert_eq!(windlass(&["--version"]).await.code, 0);
    let help = windlass(&["--help"]).await;
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("Exit codes:"), "{help:?}");
    assert_eq!(windlass(&["rolouts"]).await.code, 2);
    assert_eq!(windlass(&["rollouts", "pause", "latest"]).await.code, 2);
    assert_eq!(windlass(&["--url", "nonsense", "status"]).await.code, 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_code_5() {
    // A port that was free a moment ago and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    for command in [
        &["status"][..],
        &["rollouts"],
        &["rollouts", "watch", "01890a5d-ac96-774b-bcce-b302099a8057"],
        &["devices", "list"],
        &["events", "--follow"],
    ] {
        let ended = windlass(&[&["--url", &*url], command].concat()).await;
        assert_eq!(ended.code, 5, "{command:?}: {ended:?}");
    }
}

#[tokio::test]
async fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = windlass(&["completions", shell]).await;
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("windlass"), "{shell}");
    }
}

#[tokio::test]
async fn the_settings_in_force_are_shown_without_secrets_and_slips_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("windlass.toml");
    let file = file.to_str().unwrap();
    std::fs::write(file, "[state_api]\napi_key = \"hunter2hunter2hunter2\"\n").unwrap();
    let ended = windlass(&["check-config", "--config", file, "--json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["state_api"]["api_key"], "***");
    std::fs::write(file, "[state_api]\napi_kee = \"x\"\n").unwrap();
    for command in [&["check-config"][..], &["up"]] {
        let ended = windlass(&[command, &["--config", file]].concat()).await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(
            ended.stderr.contains("api_key"),
            "the nearest is named: {ended:?}"
        );
    }
    std::fs::write(file, "[health]\nallowed_targets = [\"10.0.0.1/8\"]\n").unwrap();
    let ended = windlass(&["check-config", "--config", file]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("health.allowed_targets"), "{ended:?}");
}

#[tokio::test]
async fn a_policy_file_that_cannot_be_read_is_exit_code_2_before_anything_is_sent() {
    let ended = windlass(&["policies", "apply", "-f", "/nowhere/policy.toml"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
}
