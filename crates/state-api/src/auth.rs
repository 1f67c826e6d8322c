//! Who asks: an operator or a device.

use crate::app::App;
use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use std::future::{Ready, ready};
use std::pin::Pin;
use windlass_service::Problem;
use windlass_service::keys::{KeyHash, Pepper, equal};
use windlass_store::api_keys;

/// The operators' keys: one that the configuration gives, and those in the store.
#[derive(Debug)]
pub(crate) struct OperatorKeys {
    pub(crate) configured: Option<KeyHash>,
}

impl OperatorKeys {
    /// With the key from the configuration.
    pub(crate) fn new(pepper: &Pepper, configured: Option<&str>) -> Self {
        Self {
            configured: configured.map(|key| pepper.hash(key)),
        }
    }
}

/// An operator whose key is good. As a handler's first argument it keeps everyone else out, with 401.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    /// The key's name.
    pub(crate) name: String,
}

impl Operator {
    /// Who they are in the audit trail.
    pub(crate) fn actor(&self) -> String {
        format!("operator:{}", self.name)
    }
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = app_of(request);
        let key = bearer(request).map(str::to_owned);
        Box::pin(async move {
            let app = app?;
            let key = key.ok_or_else(|| {
                Problem::Unauthorized(
                    "give an operator's key: Authorization: Bearer <key>".to_owned(),
                )
            })?;
            let hash = app.pepper.hash(&key);
            if app
                .operators
                .configured
                .is_some_and(|known| equal(&known, &hash))
            {
                return Ok(Self {
                    name: "configured".to_owned(),
                });
            }
            let mut session = app.deps.store.read().await?;
            match api_keys::find(&mut session, &hash).await? {
                Some(name) => Ok(Self { name }),
                None => Err(Problem::Unauthorized(
                    "this is no operator's key".to_owned(),
                )),
            }
        })
    }
}

/// An operator, and what they send, which is not read before their key is known to be good: actix asks
/// a handler's arguments all at once, and a body that is wrong would be told of before the key.
#[derive(Debug)]
pub(crate) struct By<T>(pub(crate) Operator, pub(crate) T);

impl<T: FromRequest + 'static> FromRequest for By<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let operator = Operator::from_request(request, payload);
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            let operator = operator.await?;
            let sent = T::from_request(&request, &mut payload).await;
            Ok(Self(operator, sent.map_err(Into::into)?))
        })
    }
}

/// The key a device shows, hashed; whose it is is for the handler to see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceKey(pub(crate) KeyHash);

impl FromRequest for DeviceKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(app_of(request).and_then(|app| Self::shown(&app, request.headers())))
    }
}

impl DeviceKey {
    /// The key that a request with these headers shows.
    ///
    /// # Errors
    /// 401 where it shows none.
    pub(crate) fn shown(app: &App, headers: &HeaderMap) -> Result<Self, Problem> {
        let key = match headers.get("x-device-api-key") {
            Some(value) => value.to_str().ok(),
            None => token(headers),
        };
        key.filter(|key| !key.is_empty())
            .map(|key| Self(app.pepper.hash(key)))
            .ok_or_else(|| {
                Problem::Unauthorized("give the device's key: X-Device-API-Key".to_owned())
            })
    }
}

/// The token of `Authorization: Bearer <token>`.
pub(crate) fn bearer(request: &HttpRequest) -> Option<&str> {
    token(request.headers())
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn app_of(request: &HttpRequest) -> Result<web::Data<App>, Problem> {
    request
        .app_data::<web::Data<App>>()
        .cloned()
        .ok_or_else(|| Problem::internal(std::io::Error::other("the service has no state")))
}
