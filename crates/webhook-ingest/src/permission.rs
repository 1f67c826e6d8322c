//! Leave to send CloudEvents: a sender asks with OPTIONS before its first delivery.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>, section 4. An
//! address for an answer later (`WebHook-Request-Callback`) is never asked: it is a stranger's, and the
//! answer is there at once.

use crate::auth;
use crate::limit::sender_of;
use crate::receive::endpoint;
use crate::state::State;
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use windlass_service::Problem;

const ORIGIN: &str = "webhook-request-origin";
const RATE: &str = "webhook-request-rate";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// `OPTIONS /webhooks/{endpoint}`.
pub(crate) async fn plain(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    permit(&state, &name, None, &request)
}

/// `OPTIONS /webhooks/{endpoint}/{secret}`.
pub(crate) async fn with_secret(
    state: Data<State>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (name, secret) = path.into_inner();
    permit(&state, &name, Some(&secret), &request)
}

/// Says yes to who may ask. It is no secret that an endpoint takes a sender's events, so where none is
/// in the address none is asked for; a wrong one is told now rather than at the first event.
fn permit(
    state: &State,
    name: &str,
    secret: Option<&str>,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let endpoint = endpoint(state, name)?;
    endpoint.limit.charge(sender_of(request, &state.proxies))?;
    let Some(asked) = request.headers().get(ORIGIN) else {
        return Err(Problem::MethodNotAllowed("POST".to_owned()));
    };
    if secret.is_some() {
        auth::check(&endpoint.secrets, request.headers(), secret, &[])?;
    }
    let origin = asked.to_str().unwrap_or_default().to_ascii_lowercase();
    let allowed = endpoint
        .origins
        .iter()
        .any(|known| known == "*" || *known == origin);
    if !allowed {
        return Err(Problem::Forbidden(format!(
            "events of this origin are not taken; name it in webhooks.endpoints.{}.origins",
            endpoint.name
        )));
    }
    let most = state.settings.requests_per_minute;
    let wanted = request
        .headers()
        .get(RATE)
        .and_then(|rate| rate.to_str().ok()?.trim().parse::<u32>().ok());
    let rate = wanted.map_or(most, |wanted| wanted.clamp(1, most));
    tracing::info!(
        endpoint = endpoint.name,
        origin,
        rate,
        "a sender of CloudEvents was let in"
    );
    Ok(HttpResponse::Ok()
        .insert_header((ALLOWED_ORIGIN, asked.clone()))
        .insert_header((ALLOWED_RATE, rate.to_string()))
        .insert_header((ALLOW, HeaderValue::from_static("POST")))
        .finish())
}
