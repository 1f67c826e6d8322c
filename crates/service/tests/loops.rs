//! What becomes of a service when one of its loops does.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use windlass_bus::Bus;
use windlass_service::config::HttpSection;
use windlass_service::work::{Loop, Next, RunError};
use windlass_service::{Deps, Part, ServeError, listen, serve};
use windlass_store::{Options, Store};

async fn deps(folder: &tempfile::TempDir) -> Deps {
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    Deps::new(Store::open(&Options::new(url)).await.unwrap(), Bus::local())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_loop_panics_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let deps = deps(&folder).await;
    let http = HttpSection::default();
    let broken = Loop::new("broken", Duration::from_secs(60), &[], || async {
        if true {
            panic!("on purpose");
        }
        Ok::<_, RunError>(Next::Idle)
    });
    let part = Part::new("test", |_| {}).with_loop(broken);
    let served = serve(vec![part], &deps, &http, listen("127.0.0.1:0").unwrap());
    let served = tokio::time::timeout(Duration::from_secs(60), served)
        .await
        .unwrap();
    assert!(matches!(served, Err(ServeError::Loop(_))), "{served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_fails_is_run_again_until_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let deps = deps(&folder).await;
    let http = HttpSection::default();
    let runs = Arc::new(AtomicUsize::new(0));
    let (counted, shutdown) = (Arc::clone(&runs), deps.shutdown.clone());
    let failing = Loop::new("failing", Duration::from_secs(60), &[], move || {
        let (counted, shutdown) = (Arc::clone(&counted), shutdown.clone());
        async move {
            if counted.fetch_add(1, Ordering::SeqCst) == 1 {
                shutdown.cancel();
            }
            Err::<Next, RunError>("on purpose".into())
        }
    });
    let part = Part::new("test", |_| {}).with_loop(failing);
    let served = serve(vec![part], &deps, &http, listen("127.0.0.1:0").unwrap());
    tokio::time::timeout(Duration::from_secs(60), served)
        .await
        .unwrap()
        .unwrap();
    assert!(runs.load(Ordering::SeqCst) >= 2, "it was not run again");
}
