//! Which variables of the environment are ours.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The variables of the environment that begin with `prefix`, read once in `main`.
#[must_use]
pub fn environment(prefix: &str) -> BTreeMap<String, String> {
    ours(prefix, std::env::vars_os())
}

/// Ours of these: those that are text and that Kubernetes did not put there for a service of our name.
#[must_use]
pub fn ours(
    prefix: &str,
    all: impl Iterator<Item = (OsString, OsString)>,
) -> BTreeMap<String, String> {
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| name.starts_with(prefix) && !is_of_kubernetes(name, value))
        .collect()
}

/// Whether a variable tells of a Kubernetes service: `<NAME>_SERVICE_HOST`, `<NAME>_SERVICE_PORT…`,
/// `<NAME>_PORT=tcp://…` and `<NAME>_PORT_<n>_TCP…`. A cluster gives them to every container beside it.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let numbered = name.rsplit_once("_PORT_").is_some_and(|(_, rest)| {
        rest.split_once('_').is_some_and(|(number, protocol)| {
            number.parse::<u16>().is_ok()
                && (protocol.starts_with("TCP") || protocol.starts_with("UDP"))
        })
    });
    let address = name.ends_with("_PORT")
        && ["tcp://", "udp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme));
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || numbered || address
}
