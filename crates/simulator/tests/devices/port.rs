//! The health port of a device, as a check from outside sees it.

use crate::server::{PATIENCE, Server, one};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use windlass_simulator::{Failure, Probe, Simulator, Style};
use windlass_testkit::{eventually, free_port, http};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 44, 0, 9);

#[tokio::test]
async fn the_port_answers_for_the_containers_that_run() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let port = free_port();
    let (spec, behaviour) = one(Style::Existing);
    let behaviour = behaviour
        .at(Some(ADDRESS), Some(port))
        .bad_on(":v2", Failure::Probes(Probe::Fails))
        .bad_on(":v3", Failure::Probes(Probe::Refuses))
        .bad_on(":v4", Failure::Probes(Probe::Hangs));
    let fleet = Simulator::start(&server.url, vec![spec.behaving(behaviour)]).unwrap();
    let url = format!("http://{ADDRESS}:{port}/health");
    let ask = async || {
        let answer = http().get(&url).timeout(Duration::from_millis(500));
        let answer = answer.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    };
    let connects = async || {
        let address = SocketAddr::from((ADDRESS, port));
        TcpStream::connect(address).await.is_ok()
    };
    let healthy = Some((200, "healthy: r/app:v1\n".to_owned()));
    eventually("v1 is healthy", PATIENCE, async || ask().await == healthy).await;
    server.target(2, "r/app:v2");
    let unhealthy = Some((503, "unhealthy: r/app:v2\n".to_owned()));
    eventually("v2 is not", PATIENCE, async || ask().await == unhealthy).await;
    server.target(3, "r/app:v3");
    eventually("nothing listens on v3", PATIENCE, async || {
        !connects().await
    })
    .await;
    server.target(4, "r/app:v4");
    eventually("v4 takes connections", PATIENCE, async || connects().await).await;
    assert_eq!(ask().await, None, "and says nothing");
    let reports = server.heard.reports.lock().unwrap().clone();
    let body = reports[0].as_object().unwrap().values().next().unwrap();
    assert_eq!(body["local_ip"], ADDRESS.to_string());
    fleet.shutdown().await;
    server.handle.stop(false).await;
}
