//! The bare server that polls are measured against: two workers, a map, an ETag compared.

use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Result;
use std::collections::HashMap;
use std::net::TcpListener;
use uuid::Uuid;

/// Key and ETag of each device.
type Known = HashMap<Uuid, (String, String)>;

/// Starts it on a free port and returns the port.
///
/// # Errors
/// Where no port can be had.
pub(crate) fn start(known: Known) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let known = web::Data::new(known);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(known.clone())
            .service(web::resource("/api/v1/device/{uuid}/state").route(web::get().to(poll)))
    })
    .workers(2)
    .disable_signals()
    .listen(listener)?
    .run();
    tokio::spawn(server);
    Ok(port)
}

async fn poll(
    request: HttpRequest,
    uuid: web::Path<Uuid>,
    known: web::Data<Known>,
) -> HttpResponse {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    match known.get(&*uuid) {
        None => HttpResponse::NotFound().finish(),
        Some((key, _)) if header("x-device-api-key") != Some(key) => {
            HttpResponse::Unauthorized().finish()
        }
        Some((_, etag)) if header(IF_NONE_MATCH.as_str()) == Some(etag) => {
            HttpResponse::NotModified()
                .insert_header((ETAG, etag.as_str()))
                .finish()
        }
        Some((_, etag)) => HttpResponse::Ok()
            .insert_header((ETAG, etag.as_str()))
            .body("{}"),
    }
}
