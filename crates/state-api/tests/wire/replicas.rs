//! Reports of one device that come to two replicas at once.

use crate::api::{Api, Device, report};
use std::sync::Arc;
use tokio::task::JoinSet;
use windlass_testkit::stores;

/// Reports that each replica gets, from several senders at once.
const REPORTS: usize = 40;
const SENDERS: usize = 4;

/// Sends a report until it is taken in; each names a container of its own.
async fn send(api: &Api, device: &Device, number: usize) {
    let container = format!("c{number}");
    let body = device.body(report(1, &[("demo/app:v1", &container, "running")]));
    loop {
        match api.send_report(&device.key, &body).await.status().as_u16() {
            200 => return,
            // Overtaken again and again: it is not stored, and to come again.
            503 => {}
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_report_is_lost_where_two_replicas_take_in_those_of_one_device() {
    for test in stores().await {
        let one = Arc::new(Api::start(test.open_again().await).await);
        let other = Arc::new(Api::start(test.open_again().await).await);
        let device = Arc::new(one.device().await);
        let quiet = Arc::new(one.device().await);
        let mut senders = JoinSet::new();
        for sender in 0..2 * SENDERS {
            let api = Arc::clone(if sender % 2 == 0 { &one } else { &other });
            let (device, quiet) = (Arc::clone(&device), Arc::clone(&quiet));
            senders.spawn(async move {
                for n in 0..REPORTS / SENDERS {
                    send(&api, &device, sender * 1000 + n).await;
                    // The neighbours in its group are stored all the same.
                    send(&api, &quiet, 7).await;
                }
            });
        }
        senders.join_all().await;
        // Each container took the place of another, so each report that was folded into the one before counts.
        let service = one.service(&device).await;
        assert_eq!(service["restarts"], 2 * REPORTS - 1, "{service}");
        assert_eq!(one.service(&quiet).await["restarts"], 0);
    }
}
