//! What operators see of deliveries.

use crate::support::{Service, answer, digest, distribution, ghcr};
use windlass_testkit::stores;

#[tokio::test]
async fn deliveries_are_listed_page_by_page_and_by_what_became_of_them() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let mut ids = Vec::new();
        for number in 1..=5 {
            let sent = ghcr(
                "package",
                &number.to_string(),
                "v1",
                Some(&digest(number)),
                number,
            );
            ids.push(service.deliver("open", &sent).await["delivery_id"].clone());
        }
        service
            .deliver("open-two", &ghcr("package", "6", "v1", Some(&digest(5)), 5))
            .await;
        service
            .deliver("open-two", &distribution("r.io", &[]))
            .await;
        ids.reverse();
        let mut seen = Vec::new();
        let mut path = "deliveries?limit=2&endpoint=open".to_owned();
        loop {
            let (status, page) = service.get(&path).await;
            assert_eq!(status, 200, "{page}");
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item["delivery_id"].clone()));
            let Some(next) = page.get("next") else { break };
            assert_eq!(items.len(), 2);
            path = format!(
                "deliveries?limit=2&endpoint=open&after={}",
                next.as_str().unwrap()
            );
        }
        assert_eq!(seen, ids);
        for (decision, expected) in [("accepted", 5), ("duplicate", 1), ("ignored", 1)] {
            let (_, page) = service
                .get(&format!("deliveries?decision={decision}"))
                .await;
            let items = page["items"].as_array().unwrap();
            assert_eq!(items.len(), expected, "{decision}: {page}");
            assert!(items.iter().all(|item| item["decision"] == decision));
        }
    }
}

#[tokio::test]
async fn one_delivery_is_shown_with_what_was_received() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let sent = ghcr("package", "an-id", "v1", Some(&digest(1)), 1);
        let got = service.deliver("open", &sent).await;
        let id = got["delivery_id"].as_str().unwrap();
        let (status, detail) = service.get(&format!("deliveries/{id}")).await;
        assert_eq!(status, 200);
        assert_eq!(detail["endpoint"], "open");
        assert_eq!(detail["sender"], "ghcr");
        assert_eq!(detail["sender_delivery_id"], "an-id");
        assert_eq!(detail["body_bytes"], sent.body.len());
        assert_eq!(detail["body_kept"], true);
        assert_eq!(detail["headers"]["x-github-event"], "package");
        assert_eq!(detail["images"], got["images"]);
        let mut session = service.deps.store.read().await.unwrap();
        let body = windlass_store::deliveries::body(&mut session, id.parse().unwrap()).await;
        assert_eq!(body.unwrap().unwrap(), sent.body.as_bytes());
    }
}

#[tokio::test]
async fn only_operators_see_deliveries_and_wrong_questions_are_told_so() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        for path in [
            "deliveries",
            "deliveries/00000000-0000-0000-0000-000000000000",
        ] {
            let url = format!("{}/{path}", service.url);
            assert_eq!(answer(service.client.get(&url)).await.0, 401);
            for key in ["wrong", "", crate::support::SECRET] {
                assert_eq!(
                    answer(service.client.get(&url).bearer_auth(key)).await.0,
                    401
                );
            }
        }
        let (status, _) = service
            .get("deliveries/00000000-0000-0000-0000-000000000000")
            .await;
        assert_eq!(status, 404);
        for path in [
            "no-id",
            "?limit=0",
            "?limit=201",
            "?limit=x",
            "?decision=x",
            "?after=x",
            "?x=1",
        ] {
            let path = if path.starts_with('?') {
                path.to_owned()
            } else {
                format!("/{path}")
            };
            let (status, problem) = service.get(&format!("deliveries{path}")).await;
            assert_eq!(status, 400, "{path}: {problem}");
        }
        // A key made by state-api is as good as the configured one.
        let pepper = windlass_service::keys::Pepper::load(&test.store)
            .await
            .unwrap();
        let mut tx = test.store.begin().await.unwrap();
        let id = uuid::Uuid::now_v7();
        let hash = pepper.hash("a-made-key");
        windlass_store::api_keys::create_first(&mut tx, id, "first", &hash)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let url = format!("{}/deliveries", service.url);
        assert_eq!(
            answer(service.client.get(url).bearer_auth("a-made-key"))
                .await
                .0,
            200
        );
    }
}
