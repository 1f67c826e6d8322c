//! The way of polls to their answer, past the router's patterns.
//!
//! Nearly every request of a fleet is a poll. The router finds it by a regular expression, which takes a
//! fifth of the time that the whole answer does, and a handler's request keeps its headers for as long as it
//! is held, seven kilobytes with the room they have. Here the path is compared, and what a held poll asks is
//! read out of the head, which is then emptied. A path that is any different goes on to the router.

use super::asked::{Tags, wait_of};
use super::poll::{Asked, poll};
use crate::app::App;
use crate::auth::DeviceKey;
use actix_web::dev::{
    AppService, HttpServiceFactory, ResourceDef, ServiceRequest, ServiceResponse, fn_service,
};
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, Uri};
use actix_web::{HttpResponse, guard, web};
use std::rc::Rc;
use uuid::Uuid;
use windlass_service::{Problem, Route};
use windlass_types::ids::DeviceId;

/// What the paths of devices begin with.
const PREFIX: &str = "/api/v1/device";
/// The route that requests are counted under, as the router names it.
const ROUTE: Route = Route("/api/v1/device/{uuid}/state");

/// The lane, to be registered before every other route.
pub(crate) struct Lane(pub(crate) web::Data<App>);

impl HttpServiceFactory for Lane {
    fn register(self, config: &mut AppService) {
        let polls = guard::fn_guard(|asked| {
            asked.head().method == Method::GET && device(&asked.head().uri).is_some()
        });
        // Each thread has its own: a count that all share would go back and forth between them.
        let app = Rc::new(self.0);
        let service = fn_service(move |request| answer(Rc::clone(&app), request));
        config.register_service(
            ResourceDef::prefix(PREFIX),
            Some(vec![Box::new(polls)]),
            service,
            None,
        );
    }
}

/// The device that is polled for; none for any other path.
fn device(uri: &Uri) -> Option<DeviceId> {
    let uuid = uri
        .path()
        .strip_prefix(PREFIX)?
        .strip_prefix('/')?
        .strip_suffix("/state")?;
    // As uuids are written nearly always; the router's way reads the other forms.
    (uuid.len() == 36)
        .then(|| Uuid::try_parse(uuid).ok())
        .flatten()
        .map(DeviceId)
}

async fn answer(
    app: Rc<web::Data<App>>,
    mut request: ServiceRequest,
) -> Result<ServiceResponse, actix_web::Error> {
    let asked = asked(&app, &request);
    if asked
        .as_ref()
        .is_ok_and(|asked| asked.tags.is_some() && !asked.wait.is_zero())
    {
        *request.headers_mut() = HeaderMap::new();
    }
    let answer = match asked {
        Ok(asked) => poll(&app, asked).await,
        Err(problem) => Err(problem),
    };
    let mut answer = answer.unwrap_or_else(HttpResponse::from_error);
    answer.extensions_mut().insert(ROUTE);
    Ok(request.into_response(answer))
}

fn asked(app: &App, request: &ServiceRequest) -> Result<Asked, Problem> {
    let headers = request.headers();
    let device = device(request.uri())
        .ok_or_else(|| Problem::NotFound("there is nothing at this path".to_owned()))?;
    Ok(Asked {
        device,
        key: DeviceKey::shown(app, headers)?,
        tags: Tags::of(headers),
        wait: wait_of(headers),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_usual_path_of_a_poll_takes_the_lane() {
        let id = "0191d8a0-0000-7000-8000-00000000000a";
        for (path, taken) in [
            (format!("/api/v1/device/{id}/state"), true),
            (format!("/api/v1/device/{id}/state?a=b"), true),
            (format!("/api/v1/device/{}/state", id.to_uppercase()), true),
            (format!("/api/v1/device/{id}/state/"), false),
            (format!("/api/v1/device/{id}/logs"), false),
            (format!("/api/v1/devices/{id}/state"), false),
            (format!("/api/v1/device//{id}/state"), false),
            (format!("/api/v1/device/{}/state", &id[1..]), false),
            (
                format!("/api/v1/device/{}/state", id.replace('-', "")),
                false,
            ),
            (format!("/api/v1/device/%30{}/state", &id[1..]), false),
            ("/api/v1/device/state".to_owned(), false),
            (format!("/api/v1/device/x{}/state", &id[1..]), false),
        ] {
            let uri = path.parse().unwrap();
            assert_eq!(device(&uri).is_some(), taken, "{path}");
        }
    }
}
