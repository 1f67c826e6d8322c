//! The OCI distribution API over HTTP (OCI distribution spec, section "API").

use super::RegistryError;
use super::shelf::{MANIFEST_TYPE, Shelf};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    // The longest paths first: a repository's name has slashes of its own.
    config
        .route("/v2/", web::get().to(base))
        .route("/v2/{name:.+}/tags/list", web::get().to(tags))
        .service(
            web::resource("/v2/{name:.+}/manifests/{reference}")
                .route(web::get().to(manifest))
                .route(web::head().to(manifest))
                .route(web::put().to(put_manifest)),
        )
        .service(web::resource("/v2/{name:.+}/blobs/uploads/{id}").route(web::put().to(put_blob)))
        .service(web::resource("/v2/{name:.+}/blobs/uploads/").route(web::post().to(begin_blob)))
        .service(
            web::resource("/v2/{name:.+}/blobs/{digest}")
                .route(web::get().to(blob))
                .route(web::head().to(blob)),
        );
}

async fn base() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("docker-distribution-api-version", "registry/2.0"))
        .json(json!({}))
}

fn refusal(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"errors": [{"code": code, "message": message}]}))
}

async fn tags(shelf: web::Data<Shelf>, name: web::Path<String>) -> HttpResponse {
    let tags = shelf.tags(&name);
    if tags.is_empty() {
        return refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    }
    HttpResponse::Ok().json(json!({"name": *name, "tags": tags}))
}

/// Of a HEAD request the server sends the same headers and leaves the body out.
fn content(kind: &str, digest: &str, bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header(("docker-content-digest", digest))
        .body(bytes)
}

async fn manifest(shelf: web::Data<Shelf>, path: web::Path<(String, String)>) -> HttpResponse {
    match shelf.manifest(&path.0, &path.1) {
        Some((digest, manifest)) => content(&manifest.media_type, &digest, manifest.bytes),
        None => refusal(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "manifest unknown",
        ),
    }
}

async fn put_manifest(
    request: HttpRequest,
    shelf: web::Data<Shelf>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or(MANIFEST_TYPE)
        .to_owned();
    match shelf.push(&path.0, &path.1, kind, body.to_vec()).await {
        Ok(digest) => HttpResponse::Created()
            .insert_header(("docker-content-digest", digest.as_str()))
            .insert_header((LOCATION, format!("/v2/{}/manifests/{digest}", path.0)))
            .finish(),
        Err(RegistryError::Invalid(text)) => {
            refusal(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &text)
        }
        // The push is kept; a registry tells its webhooks on its own time.
        Err(error) => {
            tracing::warn!(%error, "a push was not told");
            HttpResponse::Created().finish()
        }
    }
}

async fn begin_blob(name: web::Path<String>) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((
            LOCATION,
            format!("/v2/{name}/blobs/uploads/{}", uuid::Uuid::new_v4()),
        ))
        .finish()
}

async fn put_blob(
    shelf: web::Data<Shelf>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let digest = shelf.keep_blob(body.to_vec());
    HttpResponse::Created()
        .insert_header(("docker-content-digest", digest.clone()))
        .insert_header((LOCATION, format!("/v2/{}/blobs/{digest}", path.0)))
        .finish()
}

async fn blob(shelf: web::Data<Shelf>, path: web::Path<(String, String)>) -> HttpResponse {
    match shelf.blob(&path.1) {
        Some(bytes) => content("application/octet-stream", &path.1, bytes),
        None => refusal(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown"),
    }
}
