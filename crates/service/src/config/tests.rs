//! Where settings come from, and which are refused.

use super::*;
use std::ffi::OsString;
use std::io::Write as _;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[http]\nlisten = '0.0.0.0:1'\nworkers = 7\n").unwrap();
    let config = Config::load(
        Some(file.path()),
        &env(&[("WINDLASS_HTTP_LISTEN", "[::1]:2")]),
    )
    .unwrap();
    assert_eq!(
        (config.http.listen.as_str(), config.http.workers),
        ("[::1]:2", 7)
    );
    assert_eq!(
        config.http.max_connections,
        HttpSection::default().max_connections
    );
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_one() {
    let error = Config::load(None, &env(&[("WINDLASS_STORE_URI", "x")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no setting WINDLASS_STORE_URI; did you mean WINDLASS_STORE_URL?"
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[http]\nlisen = 'x'\n").unwrap();
    let error = Config::load(Some(file.path()), &env(&[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no setting http.lisen; did you mean listen?"
    );
}

#[test]
fn secrets_come_from_files_and_are_masked_when_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "a-secret-of-some-length").unwrap();
    let path = file.path().to_str().unwrap();
    let config = Config::load(None, &env(&[("WINDLASS_STATE_API_API_KEY_FILE", path)])).unwrap();
    assert_eq!(
        config.state_api.api_key.as_deref(),
        Some("a-secret-of-some-length")
    );
    assert!(!config.masked().contains("a-secret"), "{}", config.masked());
}

#[test]
fn contradictions_are_fatal() {
    let unsigned = r#"{"docker-registry": {}}"#;
    let error = Config::load(None, &env(&[("WINDLASS_WEBHOOKS_ENDPOINTS", unsigned)])).unwrap_err();
    assert!(error.to_string().contains("insecure = true"), "{error}");
    for (endpoint, part) in [
        (r#"{"a": {"topics": ["pushes"]}}"#, "a.topics"),
        (r#"{"a": {"token": {"audience": "x"}}}"#, "email"),
        (
            r#"{"a": {"topics": ["arn:aws:sns:r:1:t"], "insecure": true}}"#,
            "insecure",
        ),
    ] {
        let error = Config::load(None, &env(&[("WINDLASS_WEBHOOKS_ENDPOINTS", endpoint)]));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for proxies in [r#"["10.0.0.0/33"]"#, r#"["proxy"]"#, r#"["10.0.0.0/"]"#] {
        let set = env(&[("WINDLASS_WEBHOOKS_TRUSTED_PROXIES", proxies)]);
        let error = Config::load(None, &set).unwrap_err().to_string();
        assert!(error.contains("trusted_proxies"), "{error}");
    }
    let set = env(&[(
        "WINDLASS_WEBHOOKS_TRUSTED_PROXIES",
        r#"["10.0.0.0/8", "::1"]"#,
    )]);
    assert!(Config::load(None, &set).is_ok());
    let error = Config::load(None, &env(&[("WINDLASS_BUS_REDIS_URL", "redis://x")])).unwrap_err();
    assert!(error.to_string().contains("SQLite"), "{error}");
}

#[test]
fn what_a_service_would_refuse_at_its_start_is_found_with_the_configuration() {
    for (name, value, said) in [
        (
            "WINDLASS_REGISTRY_CREDENTIAL_HELPERS",
            r#"["../evil"]"#,
            "registry.credential_helpers has \"../evil\"",
        ),
        (
            "WINDLASS_REGISTRY_CREDENTIAL_HELPERS",
            r#"[""]"#,
            "ecr-login",
        ),
        (
            "WINDLASS_ROLLBACK_PENALTY_HOURS",
            "0",
            "rollback.penalty_hours is 0",
        ),
        (
            "WINDLASS_ROLLBACK_PENALTY_WINDOW_DAYS",
            "4000",
            "rollback.penalty_window_days is 4000; it must be from 1 to 3650",
        ),
        (
            "WINDLASS_ROLLBACK_PENALTY_MAX_DAYS",
            "0",
            "rollback.penalty_max_days is 0",
        ),
    ] {
        let error = Config::load(None, &env(&[(name, value)])).unwrap_err();
        assert!(error.to_string().contains(said), "{name}: {error}");
    }
    let right = [
        ("WINDLASS_REGISTRY_CREDENTIAL_HELPERS", r#"["ecr-login"]"#),
        ("WINDLASS_ROLLBACK_PENALTY_FAILURES", "0"),
    ];
    Config::load(None, &env(&right)).unwrap();
}

#[test]
fn a_target_that_checks_may_never_ask_is_found_with_the_configuration() {
    for wrong in ["10.0.0.1/8", "http://a.example", "a.example:0x50", ""] {
        let list = serde_json::to_string(&[wrong]).unwrap();
        let given = env(&[("WINDLASS_HEALTH_ALLOWED_TARGETS", list.as_str())]);
        let error = Config::load(None, &given).unwrap_err().to_string();
        assert!(error.contains("health.allowed_targets"), "{wrong}: {error}");
        assert!(
            error.contains("expected a network such as"),
            "{wrong}: {error}"
        );
    }
    let right = r#"["10.0.0.0/8", "[fd12::1]:9090", "metrics.example:443"]"#;
    let given = env(&[("WINDLASS_HEALTH_ALLOWED_TARGETS", right)]);
    Config::load(None, &given).unwrap();
}

#[test]
fn what_does_not_parse_is_named_and_never_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[store]\npassword = hunter2").unwrap();
    let mut misfit = tempfile::NamedTempFile::new().unwrap();
    writeln!(misfit, "[webhooks]\nendpoints = 'hunter2'").unwrap();
    let cut = r#"{"a": {"secret": "hunter2"} "b": {}}"#;
    for (file, variables, expected) in [
        (Some(file.path()), env(&[]), "line 2, column 12"),
        (Some(misfit.path()), env(&[]), "expected a map"),
        (
            None,
            env(&[("WINDLASS_WEBHOOKS_ENDPOINTS", cut)]),
            "WINDLASS_WEBHOOKS_ENDPOINTS is not valid JSON at line 1, column 29",
        ),
        (
            None,
            env(&[("WINDLASS_REGISTRY_PASSWORDS", "\"hunter2\"")]),
            "WINDLASS_REGISTRY_PASSWORDS does not fit: expected a map",
        ),
    ] {
        let error = Config::load(file, &variables).unwrap_err();
        let shown = format!("{} {error:?}", crate::problem::chain(&error));
        assert!(shown.contains(expected), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn settings_that_stop_the_work_are_refused() {
    for name in [
        "PLANNER_SCAN_MS",
        "HEALTH_SCAN_MS",
        "HEALTH_GROUP",
        "ROLLBACK_SCAN_MS",
        "ROLLBACK_GROUP",
        "STORE_MAX_CONNECTIONS",
    ] {
        let name = format!("WINDLASS_{name}");
        let error = Config::load(None, &env(&[(&name, "0")])).unwrap_err();
        assert!(error.to_string().contains("at least 1"), "{name}: {error}");
    }
    assert!(Config::load(None, &env(&[("WINDLASS_HEALTH_GROUP", "-1")])).is_err());
    let both = env(&[
        ("WINDLASS_STORE_PASSWORD", "x"),
        ("WINDLASS_STORE_PASSWORD_FILE", "/nowhere"),
    ]);
    let error = Config::load(None, &both).unwrap_err();
    assert!(error.to_string().contains("both set"), "{error}");
}

#[test]
fn what_is_no_text_or_comes_from_kubernetes_is_no_setting() {
    use std::os::unix::ffi::OsStringExt as _;
    let text = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let all = [
        text("WINDLASS_HTTP_WORKERS", "3"),
        text("WINDLASS_STATE_API_SERVICE_HOST", "10.0.0.1"),
        text("WINDLASS_STATE_API_SERVICE_PORT", "80"),
        text("WINDLASS_STATE_API_SERVICE_PORT_HTTP", "80"),
        text("WINDLASS_STATE_API_PORT", "tcp://10.0.0.1:80"),
        text("WINDLASS_STATE_API_PORT_80_TCP", "tcp://10.0.0.1:80"),
        text("WINDLASS_STATE_API_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("OTHER".into(), OsString::from_vec(vec![0xff])),
        (OsString::from_vec(vec![0xff]), "x".into()),
    ];
    let ours = windlass_settings::ours(PREFIX, all.into_iter());
    assert_eq!(ours, env(&[("WINDLASS_HTTP_WORKERS", "3")]));
}
