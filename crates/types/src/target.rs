//! Target states: what a device is to run (device protocol, section 2).
//!
//! The body is shared by all devices that want the same; uuid and version are put around it when a
//! device asks. Fields this version does not know are kept as they are.

use crate::text_enum::text_enum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Everything a device is to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetState {
    /// Apps by their id as text.
    #[serde(default)]
    pub apps: BTreeMap<String, TargetApp>,
    /// Settings of the device itself, passed through.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
}

/// An app: services that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetApp {
    /// The id; equal to the key it stands under.
    pub app_id: i64,
    /// A name for people.
    pub app_name: String,
    /// The services.
    pub services: Vec<TargetService>,
    /// What else was given.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub rest: Map<String, Value>,
}

/// One container to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetService {
    /// The id, unique in its app.
    pub service_id: i64,
    /// A name for people.
    pub service_name: String,
    /// The image; `config.image` repeats it.
    pub image_name: String,
    /// `running` or `stopped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// How to run it.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// What else was given.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub rest: Map<String, Value>,
}

impl TargetState {
    /// Every service with its app's id.
    pub fn services(&self) -> impl Iterator<Item = (i64, &TargetService)> {
        self.apps
            .values()
            .flat_map(|app| app.services.iter().map(move |s| (app.app_id, s)))
    }
}

impl TargetService {
    /// Gives the service another image, in both places that name it.
    pub fn set_image(&mut self, image: &str) {
        image.clone_into(&mut self.image_name);
        self.config
            .insert("image".to_owned(), Value::String(image.to_owned()));
    }
}

text_enum! {
    /// Who gave a device its present target.
    TargetSource {
        /// Nobody yet.
        Initial = "initial",
        /// A person, through the API.
        Operator = "operator",
        /// A rollout.
        Rollout = "rollout",
        /// A rollback.
        Rollback = "rollback",
    }
}
