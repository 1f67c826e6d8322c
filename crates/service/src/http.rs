//! The HTTP scaffold: health, metrics, problems for everything that is not 2xx, and shutdown.

use crate::Deps;
use crate::config::HttpSection;
use crate::metrics::{Metrics, render};
use crate::problem::{Problem, chain};
use crate::work::Loop;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer, ResponseError};
use serde::Serialize;
use std::borrow::Cow;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use windlass_bus::State;

type Configure = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// One service: its routes and its loops.
#[derive(Clone)]
pub struct Part {
    name: &'static str,
    routes: Configure,
    loops: Arc<std::sync::Mutex<Vec<Loop>>>,
}

impl Part {
    /// A service without loops.
    pub fn new(
        name: &'static str,
        routes: impl Fn(&mut ServiceConfig) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            routes: Arc::new(routes),
            loops: Arc::default(),
        }
    }

    /// With this loop.
    #[must_use]
    pub fn with_loop(self, work: Loop) -> Self {
        self.loops
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(work);
        self
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener could not be used.
    #[error("the listener could not be used")]
    Listen(#[source] std::io::Error),
    /// A background loop panicked: a fault of the program.
    #[error("a background loop panicked")]
    Loop(#[source] tokio::task::JoinError),
    /// A metric is wrong.
    #[error("the metrics could not be registered")]
    Metrics(#[source] prometheus::Error),
}

/// The route of a request, from a service that finds its requests without the router's patterns: put into the
/// extensions of its answer, it is what the request is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(pub &'static str);

/// How long the runs of loops may take to end after the last request.
const FINISH: Duration = Duration::from_secs(15);

/// Runs these parts on one listener until shutdown: stops taking requests, lets those under way and
/// every loop's run finish, and returns.
///
/// # Errors
/// [`ServeError`] where the listener fails.
pub async fn serve(
    parts: Vec<Part>,
    deps: &Deps,
    http: &HttpSection,
    listener: TcpListener,
) -> Result<(), ServeError> {
    let metrics = Metrics::new(&deps.metrics).map_err(ServeError::Metrics)?;
    let mut running = tokio::task::JoinSet::new();
    for part in &parts {
        let loops = std::mem::take(
            &mut *part
                .loops
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for work in loops {
            running.spawn(work.drive(deps.clone(), metrics.clone()));
        }
    }
    let routes: Vec<Configure> = parts.iter().map(|part| Arc::clone(&part.routes)).collect();
    let state = web::Data::new((deps.clone(), metrics));
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(scaffold))
            .app_data(state.clone())
            .app_data(json_errors())
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                Problem::Malformed(format!("the query cannot be read: {error}")).into()
            }))
            .app_data(web::PathConfig::default().error_handler(|error, _| {
                Problem::Malformed(format!("the path cannot be read: {error}")).into()
            }))
            .service(web::resource("/healthz").route(web::get().to(healthz)))
            .service(web::resource("/readyz").route(web::get().to(readyz)))
            .service(web::resource("/metrics").route(web::get().to(metrics_page)))
            .configure(|config| {
                for configure in &routes {
                    configure(config);
                }
            })
            .default_service(web::to(|| async {
                Problem::NotFound("there is nothing at this path".to_owned()).error_response()
            }))
    })
    .workers(http.workers)
    .max_connections(http.max_connections)
    .client_request_timeout(Duration::from_secs(http.request_timeout_seconds))
    .keep_alive(Duration::from_secs(75))
    .disable_signals()
    .shutdown_timeout(http.shutdown_timeout_seconds)
    .listen(listener)
    .map_err(ServeError::Listen)?
    .run();
    let handle = server.handle();
    let shutdown = deps.shutdown.clone();
    let stopper = tokio::spawn(async move {
        shutdown.cancelled().await;
        handle.stop(true).await;
    });
    let mut server = std::pin::pin!(server);
    let mut broken = None;
    let served = loop {
        tokio::select! {
            served = &mut server => break served.map_err(ServeError::Listen),
            // A loop ends before shutdown only by a panic. A service without one of its loops looks
            // well and does nothing, so it ends instead, and whoever runs it starts it again.
            Some(Err(error)) = running.join_next(), if broken.is_none() => {
                tracing::error!(%error, "a loop panicked; the service ends");
                broken = Some(ServeError::Loop(error));
                deps.shutdown.cancel();
            }
        }
    };
    deps.shutdown.cancel();
    let finish = async { while running.join_next().await.is_some() {} };
    let patience = Duration::from_secs(http.shutdown_timeout_seconds) + FINISH;
    if tokio::time::timeout(patience, finish).await.is_err() {
        tracing::warn!("a loop's run did not end in time and is given up; the next start goes on");
    }
    stopper.abort();
    broken.map_or(served, Err)
}

fn json_errors() -> web::JsonConfig {
    web::JsonConfig::default()
        .limit(1024 * 1024)
        .error_handler(|error, _| {
            use actix_web::error::JsonPayloadError as E;
            match &error {
                E::Overflow { limit } | E::OverflowKnownLength { limit, .. } => {
                    Problem::TooLarge(format!("the body is larger than {limit} bytes")).into()
                }
                E::ContentType => {
                    Problem::UnsupportedMedia("the body must be application/json".to_owned()).into()
                }
                E::Deserialize(error) => {
                    Problem::Malformed(format!("the body cannot be read: {error}")).into()
                }
                other => Problem::Malformed(format!("the body cannot be read: {other}")).into(),
            }
        })
}

/// Counts and times every request, and turns every error that is not a problem yet into one.
async fn scaffold(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let method = request.method().clone();
    let state = request.app_data::<web::Data<(Deps, Metrics)>>().cloned();
    if method == Method::HEAD {
        // Answered as GET (RFC 9110, section 9.3.2); the server leaves the body out.
        request.head_mut().method = Method::GET;
    }
    // The request must not be held here: the router takes it apart on its way in, and that needs it
    // alone. Handlers' errors come back as responses; an error here is one of the server's own.
    let mut response = match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) if error.as_error::<Problem>().is_some() => return Err(error),
        Err(error) => {
            let status = error.as_response_error().status_code();
            return Err(problem_for(status, &error.to_string()).into());
        }
    };
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    if (status.is_client_error() || status.is_server_error()) && !is_problem {
        let allow = response.headers().get(header::ALLOW).cloned();
        let problem = match (
            status.as_u16(),
            allow.as_ref().and_then(|a| a.to_str().ok()),
        ) {
            (405, Some(allowed)) => Problem::MethodNotAllowed(allowed.to_owned()),
            _ => problem_for(status, "the request cannot be done"),
        };
        let mut answer = problem.error_response();
        *answer.status_mut() = status;
        response = response.into_response(answer);
    }
    if method == Method::HEAD && response.response().body().size() == BodySize::Stream {
        // Nothing would read it, and one that does not end would be waited for.
        response = response.map_body(|_, _| BoxBody::new(Ended));
    }
    if let Some(state) = state {
        let metrics = &state.1;
        let route: Cow<'_, str> = match response.response().extensions().get::<Route>() {
            Some(Route(named)) => Cow::Borrowed(*named),
            None => match response.request().match_pattern() {
                Some(pattern) => Cow::Owned(pattern),
                None => Cow::Borrowed("unmatched"),
            },
        };
        let method = match method.as_str() {
            known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known,
            _ => "other",
        };
        let status = response.status();
        metrics
            .requests
            .with_label_values(&[method, &route, status.as_str()])
            .inc();
        metrics
            .request_seconds
            .with_label_values(&[method, &route])
            .observe(started.elapsed().as_secs_f64());
    }
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// A stream at its end.
struct Ended;

impl MessageBody for Ended {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

fn problem_for(status: actix_web::http::StatusCode, text: &str) -> Problem {
    match status.as_u16() {
        401 => Problem::Unauthorized(text.to_owned()),
        403 => Problem::Forbidden(text.to_owned()),
        404 => Problem::NotFound("there is nothing at this path".to_owned()),
        405 => Problem::MethodNotAllowed("other methods".to_owned()),
        409 => Problem::Conflict(text.to_owned()),
        413 => Problem::TooLarge(text.to_owned()),
        415 => Problem::UnsupportedMedia(text.to_owned()),
        429 => Problem::TooMany(1),
        503 => Problem::Unavailable(None),
        400..=499 => Problem::Malformed(text.to_owned()),
        _ => Problem::internal(std::io::Error::other(text.to_owned())),
    }
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "ok"}))
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    store: &'static str,
    bus: &'static str,
}

async fn readyz(state: web::Data<(Deps, Metrics)>) -> HttpResponse {
    let (deps, _) = &**state;
    let store = tokio::time::timeout(Duration::from_secs(2), deps.store.ping()).await;
    let store_ok = matches!(store, Ok(Ok(())));
    if let Ok(Err(error)) = store {
        tracing::warn!(error = %chain(&error), "not ready: the store does not answer");
    }
    let bus_ok = deps.bus.state() == State::Connected;
    let ready = Ready {
        status: match (store_ok, bus_ok) {
            (true, true) => "ready",
            (true, false) => "degraded",
            (false, _) => "not_ready",
        },
        store: if store_ok { "ok" } else { "unavailable" },
        bus: if bus_ok { "connected" } else { "disconnected" },
    };
    if store_ok {
        HttpResponse::Ok().json(ready)
    } else {
        HttpResponse::ServiceUnavailable()
            .content_type("application/problem+json")
            .json(Problem::Unavailable(None).body())
    }
}

async fn metrics_page(state: web::Data<(Deps, Metrics)>) -> HttpResponse {
    let (deps, metrics) = &**state;
    metrics
        .bus_connected
        .set(i64::from(deps.bus.state() == State::Connected));
    render(&deps.metrics)
}
