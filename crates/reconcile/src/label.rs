//! The labels by which the agent knows its own: only what carries all of [`SCOPE`], [`APP`] and
//! [`SERVICE`] (containers) or [`SCOPE`] and [`APP`] (networks) is ever read or touched.

/// Whose it is: several agents may share one engine, and none sees another's.
pub const SCOPE: &str = "windlass.scope";
/// The app's id.
pub const APP: &str = "windlass.app";
/// The app's name, for people.
pub const APP_NAME: &str = "windlass.app-name";
/// The service's id.
pub const SERVICE: &str = "windlass.service";
/// The service's name.
pub const SERVICE_NAME: &str = "windlass.service-name";
/// The spec that a container was made from: `ServiceSpec::fingerprint`.
pub const FINGERPRINT: &str = "windlass.fingerprint";
/// The image exactly as the target named it.
pub const IMAGE: &str = "windlass.image";
/// The settings that a container was made from, of one that somebody else made: `ContainerSpec::settings`.
pub const SETTINGS: &str = "windlass.settings";
/// What all of them begin with: a target's own labels may not.
pub const PREFIX: &str = "windlass.";

/// The networks that a container is to be in, as JSON.
pub const NETWORKS: &str = "windlass.networks";

/// Whether a label is one that the agent puts on what it makes; others that begin with [`PREFIX`] are asked of it.
#[must_use]
pub fn is_own(name: &str) -> bool {
    matches!(
        name,
        SCOPE | APP | APP_NAME | SERVICE | SERVICE_NAME | FINGERPRINT | IMAGE | SETTINGS | NETWORKS
    )
}
