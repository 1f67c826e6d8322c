//! A real registry that notifies the service.

use crate::support::{SECRET, Service};
use std::time::Duration;
use windlass_testkit::{Notify, Registry, eventually, stores};

#[tokio::test]
async fn a_push_to_a_real_registry_is_one_version_with_its_digest() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let registry = Registry::start(&[
            Notify {
                url: format!("{}/docker-registry", service.url),
                headers: vec![("Authorization".to_owned(), format!("Bearer {SECRET}"))],
            },
            // A second one with the same news, by another way in.
            Notify {
                url: format!("{}/docker-registry/{SECRET}", service.url),
                headers: vec![],
            },
        ])
        .await;
        let pushed = registry.push("demo/app", "v1", "first").await;
        let expected = format!("{}/demo/app:v1@{pushed}", registry.host);
        let versions = "SELECT COUNT(*) FROM image_versions";
        eventually(
            "the push is heard of",
            Duration::from_secs(20),
            async || {
                service.count(versions).await == 1
                    && service
                        .count(
                            "SELECT COUNT(*) FROM webhook_deliveries WHERE decision = 'accepted'",
                        )
                        .await
                        == 1
            },
        )
        .await;
        let mut session = service.deps.store.read().await.unwrap();
        let (repository, tag, digest): (String, String, String) = session
            .sql("SELECT repository, tag, digest FROM image_versions")
            .one()
            .await
            .unwrap();
        assert_eq!(format!("{repository}:{tag}@{digest}"), expected);
        let moved = registry.push("demo/app", "v1", "second").await;
        eventually("the tag has moved", Duration::from_secs(20), async || {
            service.count(versions).await == 2
        })
        .await;
        let (_, page) = service.get("deliveries?decision=accepted&limit=1").await;
        assert_eq!(page["items"][0]["images"][0]["digest"], moved, "{page}");
        assert_eq!(page["items"][0]["images"][0]["kind"], "moved");
        let (_, page) = service.get("deliveries?decision=ignored").await;
        for item in page["items"].as_array().unwrap() {
            assert_eq!(item["reason_code"], "blob", "{item}");
        }
    }
}
