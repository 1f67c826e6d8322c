//! Checks of single devices.

use crate::gates::gate;
use crate::world::{http, loopback, ok, rule, server, worlds};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use windlass_core::checks::Allowed;
use windlass_health_checker as health;
use windlass_store::checks;
use windlass_testkit::eventually;
use windlass_testkit::scenario::{Said, image};
use windlass_types::event::EventType;
use windlass_types::policy::{Check, CheckFrom, CheckKind};
use windlass_types::rollout::CheckStatus;

#[tokio::test]
async fn a_device_is_healthy_only_once_its_check_has_passed() {
    let (port, asked) = server(&ok("all is well")).await;
    let mut check = http(format!("http://{{address}}:{port}/{{name}}/{{uuid}}"));
    check.body_contains = Some("is well".to_owned());
    for world in worlds(1, &rule(check)).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        world.wait(31);
        world.scenario.poll(device).await;
        world.pass().await;
        assert_eq!(world.scenario.row(device).await.status, "verifying");
        world.check(&loopback()).await;
        world.until(device, "completed").await;
        let evidence = world.evidence(device).await;
        assert_eq!(evidence["checks"][0]["status"], "passed");
        assert_eq!(evidence["checks"][0]["output"], "it answers 200");
        let mut read = world.deps.store.read().await.unwrap();
        let left = checks::of_devices(&mut read, &[(world.scenario.rollout, device)].into())
            .await
            .unwrap();
        assert!(left.is_empty(), "what came of it is in the evidence");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once on each database");
}

#[tokio::test]
async fn a_check_that_passed_runs_again_once_the_container_was_started_again() {
    let (port, asked) = server(&ok("all is well")).await;
    let check = http(format!("http://{{address}}:{port}/"));
    for world in worlds(1, &rule(check)).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        world.check(&loopback()).await;
        assert_eq!(world.of_device(device).await.status, CheckStatus::Passed);
        let before = asked.load(Ordering::SeqCst);
        world.wait(20);
        // Another container: its stable window goes to 50.
        let image = image(2);
        let said = Said::running(2, &image, "c3");
        world.scenario.report(device, &said).await;
        world.at_address(device, "127.0.0.1").await;
        eventually(
            "the check begins anew",
            Duration::from_secs(20),
            async || {
                world.pass().await;
                world.of_device(device).await.status == CheckStatus::Pending
            },
        )
        .await;
        world.wait(31);
        world.scenario.poll(device).await;
        world.pass().await;
        let still = world.scenario.row(device).await.status;
        assert_eq!(
            still, "verifying",
            "the container that runs was never asked"
        );
        world.check(&loopback()).await;
        assert_eq!(asked.load(Ordering::SeqCst), before + 1);
        world.until(device, "completed").await;
        assert_eq!(world.evidence(device).await["checks"][0]["tries"], 2);
    }
}

#[tokio::test]
async fn three_tries_in_a_row_fail_the_device_and_one_success_passes() {
    let (port, _) = server("HTTP/1.1 503 Sorry\r\ncontent-length: 0\r\n\r\n").await;
    for world in worlds(1, &rule(http(format!("http://{{address}}:{port}/")))).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        for expected in 1..=3 {
            world.check(&loopback()).await;
            // Not due again yet: nothing is tried.
            world.check(&loopback()).await;
            let check = world.of_device(device).await;
            assert_eq!((check.tries, check.failed_in_row), (expected, expected));
            assert_eq!(check.output, "it answers 503");
            world.wait(30);
        }
        assert_eq!(world.of_device(device).await.status, CheckStatus::Failed);
        // A device that is not seen since may have lost its network.
        world.pass().await;
        assert_eq!(world.scenario.row(device).await.status, "verifying");
        world.scenario.poll(device).await;
        world.wait(15);
        world.until(device, "failed").await;
        let row = world.scenario.row(device).await;
        assert_eq!(
            (row.reason.as_deref(), row.verdict.as_deref()),
            (Some("check_failed"), Some("failed"))
        );
        assert_eq!(
            world.evidence(device).await["summary"],
            "check \"http 1\": it answers 503"
        );
    }
}

#[tokio::test]
async fn what_may_not_be_asked_or_has_no_address_is_neither_yes_nor_no() {
    let (port, asked) = server(&ok("")).await;
    let url = |host: &str| format!("http://{host}:{port}/");
    let none = Allowed::new(&[]).unwrap();
    let by_name = Allowed::new(&["localhost".to_owned()]).unwrap();
    let all = Allowed::new(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]).unwrap();
    let cases = [
        (
            "nothing is listed",
            url("{address}"),
            Some("127.0.0.1"),
            &none,
        ),
        (
            "everything is listed, this machine not as such",
            url("{address}"),
            Some("127.0.0.1"),
            &all,
        ),
        (
            "a name that leads to this machine",
            url("localhost"),
            Some("10.0.0.1"),
            &by_name,
        ),
        (
            "a device that claims to be the metadata service",
            url("{address}"),
            Some("169.254.169.254"),
            &all,
        ),
        (
            "this machine in the clothes of IPv6",
            url("{address}"),
            Some("::ffff:127.0.0.1"),
            &all,
        ),
        ("no address", url("{address}"), None, &loopback()),
        (
            "no address but a name",
            url("{address}"),
            Some("localhost"),
            &loopback(),
        ),
        (
            "a number that reads as this machine",
            url("0x7f.1"),
            Some("10.0.0.1"),
            &all,
        ),
        (
            "a file",
            "file:///etc/passwd".to_owned(),
            Some("10.0.0.1"),
            &all,
        ),
        (
            "a user name in front",
            format!("http://x@127.0.0.1:{port}/"),
            Some("10.0.0.1"),
            &loopback(),
        ),
    ]
    .map(|(name, url, address, allowed)| (name, url, address, allowed.clone()));
    for (name, url, address, allowed) in cases {
        for world in worlds(1, &rule(http(url))).await {
            let device = world.scenario.devices[0];
            world.verifying(device, address).await;
            world.check(&allowed).await;
            world.wait(299);
            world.check(&allowed).await;
            world.scenario.poll(device).await;
            world.wait(10);
            world.check(&allowed).await;
            world.scenario.poll(device).await;
            world.until(device, "inconclusive").await;
            let row = world.scenario.row(device).await;
            assert_eq!(row.reason.as_deref(), Some("checks_undecided"), "{name}");
            assert_eq!(row.verdict, None, "{name}");
            assert_eq!(row.check_at, None, "{name}");
            let events = world.scenario.events().await;
            assert_eq!(
                events.get(&EventType::DeviceInconclusive),
                Some(&1),
                "{name}"
            );
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody was asked");
}

#[tokio::test]
async fn redirects_huge_bodies_and_silence_lead_nowhere() {
    let (inside, reached) = server(&ok("secret")).await;
    let (redirecting, _) = server(&format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inside}/\r\ncontent-length: 0\r\n\r\n"
    ))
    .await;
    let (huge, _) = server(&ok(&format!("{}end", "x".repeat(1024 * 1024)))).await;
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = hanging.local_addr().unwrap().port();
    let ended = windlass_testkit::free_port();
    let cases = [
        ("a redirect", redirecting, "it answers 302"),
        ("a body beyond 64 KiB", huge, "its body does not contain"),
        ("an endless wait", hangs, "no answer in 1 s"),
        ("nobody there", ended, "refused"),
    ];
    for (name, port, said) in cases {
        let mut check = http(format!("http://{{address}}:{port}/"));
        check.body_contains = Some("end".to_owned());
        check.interval_seconds = 1;
        for world in worlds(1, &rule(check.clone())).await {
            let device = world.scenario.devices[0];
            world.verifying(device, Some("127.0.0.1")).await;
            world.check(&loopback()).await;
            let check = world.of_device(device).await;
            assert_eq!(check.failed_in_row, 1, "{name}");
            assert!(check.output.contains(said), "{name}: {}", check.output);
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0, "no redirect is followed");
}

#[tokio::test]
async fn what_keeps_a_question_from_being_asked_is_no_answer() {
    // No connection leads to everybody; and no name ends like this (RFC 2606).
    let allowed = Allowed::new(&["255.255.255.255/32".to_owned(), "nobody.invalid".to_owned()]);
    let (allowed, everybody) = (allowed.unwrap(), "255.255.255.255");
    let mut tcp = Check::new(CheckKind::Tcp);
    tcp.from = Some(CheckFrom::Server);
    tcp.port = Some(1);
    let cases = [
        (
            "no name server knows it",
            http("http://nobody.invalid/".to_owned()),
        ),
        (
            "no way to it over HTTP",
            http("http://{address}/".to_owned()),
        ),
        ("no way to it", tcp),
    ];
    for (name, check) in cases {
        for world in worlds(1, &rule(check.clone())).await {
            let device = world.scenario.devices[0];
            world.verifying(device, Some(everybody)).await;
            world.check(&allowed).await;
            let check = world.of_device(device).await;
            let (status, said) = (check.status, check.output);
            assert_eq!(status, CheckStatus::Pending, "{name}: {said}");
            assert_eq!((check.tries, check.failed_in_row), (1, 0), "{name}: {said}");
        }
    }
    for url in ["http://nobody.invalid/", "http://255.255.255.255/"] {
        let mut check = Check::new(CheckKind::Custom);
        check.url = Some(url.to_owned());
        for (found, said) in gate(check, &allowed, 3).await {
            assert_eq!(found, CheckStatus::Pending, "{url}: {said}");
        }
    }
}

#[tokio::test]
async fn a_port_that_takes_connections_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut check = Check::new(CheckKind::Tcp);
    check.from = Some(CheckFrom::Server);
    check.port = Some(listener.local_addr().unwrap().port());
    for world in worlds(1, &rule(check)).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        world.check(&loopback()).await;
        assert_eq!(world.of_device(device).await.status, CheckStatus::Passed);
    }
}

#[tokio::test]
async fn two_replicas_never_try_one_check_at_the_same_time() {
    let (port, asked) = server(&ok("")).await;
    for world in worlds(20, &rule(http(format!("http://{{address}}:{port}/")))).await {
        for device in world.scenario.devices.clone() {
            world.verifying(device, Some("127.0.0.1")).await;
        }
        let allowed = loopback();
        let replica = || async {
            for _ in 0..10 {
                // What another got in the way of is tried again, as loops do.
                health::device_checks(&world.deps, &allowed, 7).await.ok();
            }
        };
        tokio::join!(replica(), replica(), replica());
        assert_eq!(asked.swap(0, Ordering::SeqCst), 20);
        // One that died with a check in its hands loses that try alone.
        let mut tx = world.deps.store.begin().await.unwrap();
        assert!(checks::claim(&mut tx, 100).await.unwrap().is_empty());
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_try_whose_time_was_over_is_not_written_down_over_the_next() {
    for world in worlds(1, &rule(http("http://{address}:1/".to_owned()))).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        let mut tx = world.deps.store.begin().await.unwrap();
        let first = checks::claim(&mut tx, 1).await.unwrap().remove(0);
        tx.commit().await.unwrap();
        world.wait(60);
        let mut tx = world.deps.store.begin().await.unwrap();
        let second = checks::claim(&mut tx, 1).await.unwrap().remove(0);
        assert_eq!((first.tries, second.tries), (1, 2));
        let late = checks::Tried {
            rollout: first.rollout,
            device,
            position: 0,
            tries: first.tries,
            status: CheckStatus::Passed,
            failed_in_row: 0,
            output: "late".to_owned(),
            next_at: None,
        };
        assert_eq!(checks::decide(&mut tx, &[late]).await.unwrap(), 0);
        tx.commit().await.unwrap();
        assert_eq!(world.of_device(device).await.status, CheckStatus::Pending);
    }
}
