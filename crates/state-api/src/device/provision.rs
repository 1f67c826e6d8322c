//! `POST /device/register` and `POST /device/{uuid}/key-exchange`: how a device becomes known.
//!
//! An agent makes both calls at each start, and a refusal makes it give up all its containers. So a
//! device that shows the key it registered with is always answered yes, whatever has become of the
//! provisioning key since, and also while it is switched off: its polls say so. It is never held back
//! for asking too often, and while the store is away it waits rather than is refused.

use super::body;
use super::fields::Fields;
use super::identity::{known, unknown, wrong_key};
use super::json;
use super::patience::{self, patiently};
use crate::app::App;
use crate::auth::{DeviceKey, bearer};
use crate::cache::Known;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde_json::json;
use std::collections::BTreeMap;
use windlass_core::batches::shuffle_of;
use windlass_core::target::state_id;
use windlass_core::windows::is_zone;
use windlass_service::Problem;
use windlass_service::keys::{KeyHash, equal};
use windlass_store::devices::Credentials;
use windlass_store::provisioning::{self, NewDevice, Registered, Registration};
use windlass_store::{events, targets};
use windlass_types::device::{
    KeyExchangeRequest, MqttSettings, ProvisioningKey, RegisterRequest, RegisterResponse,
};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::target::TargetState;

/// Characters of a name at most.
const NAME: usize = 255;
/// Characters of a device's key: agents send 64 hex digits; below 32 characters a key can be guessed.
const KEY: std::ops::RangeInclusive<usize> = 32..=256;

/// Registers a device. The same device with the same key is answered the same, as often as it asks.
#[utoipa::path(
    tag = "device",
    request_body = RegisterRequest,
    responses(
        (status = 200, description = "The device is registered", body = RegisterResponse),
        (status = 400, description = "Fields are missing or wrong"),
        (status = 401, description = "The provisioning key is bad, expired, revoked or used up"),
        (status = 409, description = "The uuid is known with another key"),
        (status = 408, description = "Nothing more of the body came for 30 seconds"),
        (status = 413, description = "Larger than 10 MiB"),
        (status = 415, description = "An encoding that is not taken"),
        (status = 429, description = "Too many refusals or new devices from this address; `Retry-After` says when"),
        (status = 503, description = "The store does not answer; try again"),
    )
)]
#[post("/api/v1/device/register")]
pub(crate) async fn register(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<web::Json<RegisterResponse>, Problem> {
    let peer = request.peer_addr();
    let outcome = registered(&app, &request, payload).await;
    app.provisioning_limit.count(peer, outcome)
}

async fn registered(
    app: &App,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<web::Json<RegisterResponse>, Problem> {
    let key_hash = bearer(request)
        .map(|key| app.pepper.hash(key))
        .ok_or_else(|| {
            Problem::Unauthorized("give a provisioning key: Authorization: Bearer <key>".to_owned())
        })?;
    // Before the body: a stranger's is not even read.
    let key = patiently(&app.provisioning, patience::LONGEST, async || {
        let mut session = app.deps.store.read().await?;
        provisioning::find(&mut session, &key_hash)
            .await?
            .ok_or_else(|| Problem::Unauthorized("this is no provisioning key".to_owned()))
    })
    .await?;
    let body = body::read(&app.room, request, payload).await?;
    let device = read_device(app, &body.bytes)?;
    drop(body);
    let found = patiently(&app.provisioning, patience::LONGEST, async || {
        let mut session = app.deps.store.read().await?;
        Ok(provisioning::registered(&mut session, device.uuid).await?)
    })
    .await?;
    if let Some(found) = found {
        return again(&device, found, &key);
    }
    usable(&key)?;
    app.provisioning_limit.charge(request.peer_addr())?;
    patiently(&app.provisioning, patience::LONGEST, async || {
        create(app, &device, &key).await
    })
    .await
}

/// The device that a body is about.
fn read_device(app: &App, bytes: &[u8]) -> Result<NewDevice, Problem> {
    let mut fields = Fields::of(json::read(bytes)?)?;
    let uuid: Option<DeviceId> = fields.parsed("uuid", "a uuid, such as an agent makes");
    let name = fields.text("deviceName", NAME);
    let device_type = fields.text("deviceType", NAME);
    let key = fields.text("deviceApiKey", *KEY.end());
    if !key.is_empty() && key.len() < *KEY.start() {
        fields.wrong("deviceApiKey", "must be 64 hex digits, made at random");
    }
    if uuid.is_some_and(|uuid| uuid.0.is_nil()) {
        fields.wrong("uuid", "must be a uuid other than the nil one");
    }
    // Where it is missing the request is refused below.
    let uuid = uuid.unwrap_or(DeviceId(uuid::Uuid::nil()));
    let device = NewDevice {
        uuid,
        name,
        device_type,
        key_hash: app.pepper.hash(&key).to_vec(),
        mac_address: fields.optional_text("macAddress", NAME),
        os_version: fields.optional_text("osVersion", NAME),
        agent_version: fields.optional_text("agentVersion", NAME),
        // Agents send what they find on the device: one that is none counts as absent.
        time_zone: fields
            .optional_text("timeZone", NAME)
            .filter(|zone| is_zone(zone)),
        application_id: fields.optional_number("applicationId"),
        shuffle: shuffle_of(uuid),
    };
    fields.done()?;
    Ok(device)
}

/// The answer to a device whose uuid is known.
fn again(
    device: &NewDevice,
    found: Registered,
    key: &ProvisioningKey,
) -> Result<web::Json<RegisterResponse>, Problem> {
    if equal(&found.key_hash, &device.key_hash) {
        return Ok(answer(device.uuid, found));
    }
    // Only those who may register learn which uuids are taken.
    usable(key)?;
    Err(Problem::Conflict(format!(
        "the device {} is registered with another key",
        device.uuid
    )))
}

/// Whether the key may register devices, but for how many.
fn usable(key: &ProvisioningKey) -> Result<(), Problem> {
    if key.revoked_at.is_some() {
        return Err(Problem::Unauthorized(
            "this provisioning key was revoked".to_owned(),
        ));
    }
    Ok(())
}

/// Makes the device, or finds that somebody just did.
async fn create(
    app: &App,
    device: &NewDevice,
    key: &ProvisioningKey,
) -> Result<web::Json<RegisterResponse>, Problem> {
    let empty = TargetState::default();
    let state = state_id(&empty);
    let mut session = app.deps.store.begin().await?;
    targets::ensure_states(&mut session, &BTreeMap::from([(state, empty)])).await?;
    match provisioning::register(&mut session, key.id, device, state).await? {
        Registration::Made(made) => {
            let event = NewEvent::new(EventType::DeviceRegistered, "device")
                .device(device.uuid)
                .version(1)
                .data(json!({
                    "fleet": made.fleet,
                    "name": made.name,
                    "provisioning_key_id": key.id,
                }));
            events::append(&mut session, event).await?;
            app.deps.commit(session).await?;
            app.cache.register(&Credentials {
                device: device.uuid,
                key_hash: device.key_hash.clone(),
                version: 1,
                enabled: true,
            });
            Ok(answer(device.uuid, made))
        }
        Registration::NotAllowed => {
            session.rollback().await?;
            Err(Problem::Unauthorized(
                "this provisioning key has expired, was revoked or has registered all the devices \
                 it may"
                    .to_owned(),
            ))
        }
        Registration::Taken => {
            session.rollback().await?;
            let mut session = app.deps.store.read().await?;
            match provisioning::registered(&mut session, device.uuid).await? {
                Some(found) => again(device, found, key),
                None => Err(Problem::Conflict(
                    "another device is registered with this deviceApiKey; make a new one"
                        .to_owned(),
                )),
            }
        }
    }
}

fn answer(uuid: DeviceId, device: Registered) -> web::Json<RegisterResponse> {
    web::Json(RegisterResponse {
        id: device.id,
        uuid,
        device_name: device.name,
        device_type: device.device_type,
        application_id: device.application_id,
        fleet_id: device.fleet,
        created_at: device.created_at,
        // Empty texts, not a missing object: agents take them to mean that reports go over HTTP.
        mqtt: MqttSettings::default(),
    })
}

/// Confirms a device's key, which its agent asks for at each start.
#[utoipa::path(
    tag = "device",
    params(("uuid" = Uuid, Path, description = "The device's uuid")),
    request_body = KeyExchangeRequest,
    responses(
        (status = 200, description = "The key is the device's", body = Object),
        (status = 400, description = "Fields are missing or wrong"),
        (status = 401, description = "No key, or not this device's"),
        (status = 404, description = "No such device"),
        (status = 408, description = "Nothing more of the body came for 30 seconds"),
        (status = 413, description = "Larger than 10 MiB"),
        (status = 415, description = "An encoding that is not taken"),
        (status = 429, description = "Too many refusals at this address; `Retry-After` says when"),
        (status = 503, description = "The store does not answer; try again"),
    )
)]
#[post("/api/v1/device/{uuid}/key-exchange")]
pub(crate) async fn key_exchange(
    key: DeviceKey,
    path: web::Path<DeviceId>,
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let peer = request.peer_addr();
    let outcome = exchanged(&app, path.into_inner(), &key, &request, payload).await;
    app.provisioning_limit.count(peer, outcome)
}

async fn exchanged(
    app: &App,
    device: DeviceId,
    key: &DeviceKey,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    // Before the body: a stranger's is not even read.
    let found = patiently(&app.provisioning, patience::LONGEST, async || {
        match known(app, device, key).await? {
            Known::Unknown => return Err(unknown(device)),
            Known::WrongKey => return Err(wrong_key()),
            Known::Yes(_) | Known::Disabled => {}
        }
        let mut session = app.deps.store.read().await?;
        provisioning::registered(&mut session, device)
            .await?
            .ok_or_else(|| unknown(device))
    })
    .await?;
    let body = body::read(&app.room, request, payload).await?;
    let mut fields = Fields::of(json::read(&body.bytes)?)?;
    let named: Option<DeviceId> = fields.parsed("uuid", "a uuid");
    if named.is_some_and(|named| named != device) {
        fields.wrong("uuid", format!("must be {device}, as in the path"));
    }
    let written: KeyHash = app.pepper.hash(&fields.text("deviceApiKey", *KEY.end()));
    fields.done()?;
    if !equal(&written, &key.0) {
        return Err(wrong_key());
    }
    Ok(HttpResponse::Ok().json(json!({
        "status": "ok",
        "message": "the key is this device's",
        "device": {"id": found.id, "uuid": device, "deviceName": found.name},
    })))
}
