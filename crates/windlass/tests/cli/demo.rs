//! The demo, as it comes.

use crate::server::windlass;

#[tokio::test]
async fn the_demo_ends_as_it_should() {
    let ended = windlass(&["demo", "--json", "--devices", "30"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = ended.json();
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(told["numbers"]["v2_healthy"], 30);
    assert!(
        told["numbers"]["v3_never_shipped"].as_i64().unwrap() > 0,
        "{told}"
    );
}
