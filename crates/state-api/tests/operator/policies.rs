use crate::harness::apis;
use serde_json::json;
use windlass_types::policy::Policy;

#[tokio::test]
async fn a_policy_is_made_read_changed_and_deleted() {
    for api in apis().await {
        let spec = json!({"name": "edge", "image": "r.io/demo/*", "strategy": "staged"});
        let made = api.call("POST", "/image-policies", spec.clone()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let policy: Policy = serde_json::from_value(made.body.clone()).unwrap();
        let path = format!("/image-policies/{}", policy.id);
        assert_eq!(made.header("location"), format!("/api/v1{path}"));
        assert_eq!((policy.version, made.header("etag")), (1, "\"1\""));
        assert_eq!(policy.spec.batches.len(), 3, "defaults are shown");

        let again = api.call("POST", "/image-policies", spec.clone()).await;
        assert_eq!((again.status, again.problem()), (409, "conflict"));

        let read = api.get(&path).await;
        assert_eq!((read.status, &read.body), (200, &made.body));

        let other = json!({"name": "edge", "image": "r.io/demo/*", "strategy": "auto"});
        let put = |version: &'static str| {
            let request = api.request("PUT", &path).header("if-match", version);
            api.send(request.json(&other))
        };
        let changed = put("\"1\"").await;
        assert_eq!((changed.status, changed.header("etag")), (200, "\"2\""));
        assert_eq!(changed.body["strategy"], "auto");
        let stale = put("\"1\"").await;
        assert_eq!((stale.status, stale.problem()), (412, "stale"));
        let odd = put("\"one\"").await;
        assert_eq!((odd.status, odd.fields()), (400, vec!["If-Match"]));
        // Without a version the last writer wins.
        assert_eq!(api.call("PUT", &path, other.clone()).await.status, 200);

        let more = json!({"name": "other", "image": "r.io/demo/*", "strategy": "auto"});
        assert_eq!(api.call("POST", "/image-policies", more).await.status, 201);
        let taken = json!({"name": "other", "image": "r.io/demo/*", "strategy": "auto"});
        let clash = api.call("PUT", &path, taken).await;
        assert_eq!((clash.status, clash.problem()), (409, "conflict"));

        let page = api.get("/image-policies?limit=1").await;
        assert_eq!(page.body["items"].as_array().unwrap().len(), 1);
        let next = page.body["next"].as_str().unwrap();
        let rest = api.get(&format!("/image-policies?after={next}")).await;
        assert_eq!(rest.body["items"][0]["name"], "other");
        assert_eq!(rest.body.get("next"), None);

        let stale = api.request("DELETE", &path).header("if-match", "\"1\"");
        assert_eq!(api.send(stale).await.status, 412);
        assert_eq!(api.send(api.request("DELETE", &path)).await.status, 204);
        for (method, body) in [("GET", None), ("DELETE", None), ("PUT", Some(other))] {
            let request = api.request(method, &path);
            let request = match body {
                Some(body) => request.json(&body),
                None => request,
            };
            let gone = api.send(request).await;
            assert_eq!(
                (gone.status, gone.problem()),
                (404, "not-found"),
                "{method}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_policy_is_named_field_by_field() {
    for api in apis().await {
        let post = async |body| api.call("POST", "/image-policies", body).await;
        let invalid = post(json!({"name": "", "image": "nginx", "strategy": "staged",
            "batches": [{"percent": 200}]}))
        .await;
        assert_eq!((invalid.status, invalid.problem()), (400, "invalid"));
        let fields = invalid.fields();
        assert!(
            fields.contains(&"name") && fields.contains(&"image"),
            "{fields:?}"
        );
        assert!(
            fields.iter().any(|field| field.starts_with("batches")),
            "{fields:?}"
        );

        let unknown = post(json!({"name": "a", "image": "r.io/a", "strategy": "auto",
            "prioritty": 1}))
        .await;
        assert_eq!((unknown.status, unknown.fields()), (400, vec!["prioritty"]));
        let message = unknown.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("priority"), "{message}");

        let missing = post(json!({"name": "a", "strategy": "auto"})).await;
        assert_eq!((missing.status, missing.fields()), (400, vec!["image"]));

        let rsa = include_str!("../../../core/src/signatures/samples/rsa.pub");
        let later = post(json!({"name": "a", "image": "r.io/a", "strategy": "auto",
                                "signature": {"keys": [rsa]}}))
        .await;
        assert_eq!((later.status, later.problem()), (422, "not-offered"));
        assert_eq!(later.fields(), ["signature.keys[0]"]);
    }
}

#[tokio::test]
async fn what_is_no_json_of_ours_is_told_apart() {
    for api in apis().await {
        let post = |kind: &'static str, body: String| {
            let request = api.request("POST", "/image-policies");
            api.send(request.header("content-type", kind).body(body))
        };
        let cases = [
            ("application/json", "{".to_owned(), 400, "malformed"),
            ("application/json", "[]".to_owned(), 400, "malformed"),
            (
                "application/json",
                r#"{"name":"\u0000"}"#.to_owned(),
                400,
                "malformed",
            ),
            ("text/plain", "{}".to_owned(), 415, "unsupported-media"),
            (
                "application/json",
                " ".repeat(1024 * 1024 + 1),
                413,
                "too-large",
            ),
        ];
        for (kind, body, status, code) in cases {
            let start = body.chars().take(20).collect::<String>();
            let answer = post(kind, body).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (status, code),
                "{kind} {start}"
            );
        }
    }
}
