//! Reading a report in one pass: its text is checked to the end, so that any database takes it, and what is judged
//! is picked out. Nothing else of it is kept in another form.

#[cfg(test)]
mod tests;

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use windlass_core::platforms;
use windlass_core::windows::is_zone;
use windlass_types::report::{Report, ReportedApp, ReportedService};

/// Characters of a version at most; they are shown in listings.
const LONGEST: usize = 200;

/// The part of a report that is judged, none where it is no object. What is not as it should be is left out, and
/// the rest is judged all the same; a key that comes twice counts as it comes last.
///
/// # Errors
/// Where the text is no JSON.
pub fn judged(text: &str) -> serde_json::Result<Option<Report>> {
    let As(Whole(Some(mut report))) = serde_json::from_str(text)? else {
        return Ok(None);
    };
    for text in [&mut report.agent_version, &mut report.os_version] {
        if let Some(text) = text
            && let Some((end, _)) = text.char_indices().nth(LONGEST)
        {
            text.truncate(end);
        }
    }
    // One that is none counts as absent.
    report.platform = report
        .platform
        .filter(|text| text.len() <= LONGEST && !platforms::read(text).is_empty());
    report.time_zone = report.time_zone.filter(|zone| is_zone(zone));
    Ok(Some(report))
}

/// A value of a report. What it cannot be made of is read to its end and counts as nothing.
trait Part<'de>: Default {
    fn text(_text: Cow<'de, str>) -> Self {
        Self::default()
    }

    fn number(_number: i64) -> Self {
        Self::default()
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while let Some(As(Nothing)) = list.next_element()? {}
        Ok(Self::default())
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while let Some((As(Nothing), As(Nothing))) = object.next_entry()? {}
        Ok(Self::default())
    }
}

/// Read as this part, whatever stands there.
struct As<P>(P);

impl<'de, P: Part<'de>> Deserialize<'de> for As<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `ignored_any`: that takes what the database does not, such as half of a surrogate pair.
        deserializer.deserialize_any(Reader(PhantomData)).map(As)
    }
}

struct Reader<P>(PhantomData<P>);

impl<'de, P: Part<'de>> Visitor<'de> for Reader<P> {
    type Value = P;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_i64<E>(self, number: i64) -> Result<P, E> {
        Ok(P::number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<P, E> {
        Ok(i64::try_from(number).map_or_else(|_| P::default(), P::number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<P, E> {
        Ok(P::text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<P, E> {
        Ok(P::text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<P, A::Error> {
        P::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<P, A::Error> {
        P::object(object)
    }
}

#[derive(Default)]
struct Nothing;

impl Part<'_> for Nothing {}

#[derive(Default)]
struct Text<'de>(Option<Cow<'de, str>>);

impl<'de> Part<'de> for Text<'de> {
    fn text(text: Cow<'de, str>) -> Self {
        Self(Some(text))
    }
}

impl Text<'_> {
    fn owned(self) -> Option<String> {
        self.0.map(Cow::into_owned)
    }

    /// What the text says, where it says one of these.
    fn says<T: for<'a> Deserialize<'a>>(self) -> Option<T> {
        let text = self.0?;
        let text: StrDeserializer<'_, ValueError> = (*text).into_deserializer();
        T::deserialize(text).ok()
    }
}

#[derive(Default)]
struct Number(Option<i64>);

impl Part<'_> for Number {
    fn number(number: i64) -> Self {
        Self(Some(number))
    }
}

/// The next key of an object.
fn key<'de, A: MapAccess<'de>>(object: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    let key: Option<As<Text<'de>>> = object.next_key()?;
    Ok(key.map(|As(Text(key))| key.unwrap_or_default()))
}

/// The next value of an object.
fn value<'de, P: Part<'de>, A: MapAccess<'de>>(object: &mut A) -> Result<P, A::Error> {
    object.next_value().map(|As(value)| value)
}

/// A whole report, where it is an object.
#[derive(Default)]
struct Whole(Option<Report>);

impl<'de> Part<'de> for Whole {
    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut report = Report::default();
        let from = &mut object;
        while let Some(name) = key(from)? {
            match &*name {
                "apps" => report.apps = value::<Apps, _>(from)?.0,
                "version" => report.version = value::<Number, _>(from)?.0,
                "reportId" => report.report_id = value::<Text<'_>, _>(from)?.says(),
                "reportedAt" => report.reported_at = value::<Text<'_>, _>(from)?.says(),
                "agent_version" => report.agent_version = value::<Text<'_>, _>(from)?.owned(),
                "os_version" => report.os_version = value::<Text<'_>, _>(from)?.owned(),
                "time_zone" => report.time_zone = value::<Text<'_>, _>(from)?.owned(),
                "platform" => report.platform = value::<Text<'_>, _>(from)?.owned(),
                _ => {
                    value::<Nothing, _>(from)?;
                }
            }
        }
        Ok(Self(Some(report)))
    }
}

#[derive(Default)]
struct Apps(Option<BTreeMap<String, ReportedApp>>);

impl<'de> Part<'de> for Apps {
    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut apps = BTreeMap::new();
        while let Some(id) = key(&mut object)? {
            apps.insert(id.into_owned(), value::<App, _>(&mut object)?.0);
        }
        Ok(Self(Some(apps)))
    }
}

#[derive(Default)]
struct App(ReportedApp);

impl<'de> Part<'de> for App {
    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut app = ReportedApp::default();
        while let Some(name) = key(&mut object)? {
            match &*name {
                "appId" => app.app_id = value::<Number, _>(&mut object)?.0,
                "services" => app.services = value::<Services, _>(&mut object)?.0,
                _ => {
                    value::<Nothing, _>(&mut object)?;
                }
            }
        }
        Ok(Self(app))
    }
}

#[derive(Default)]
struct Services(Vec<ReportedService>);

impl<'de> Part<'de> for Services {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut services = Vec::new();
        while let Some(As(Service(service))) = list.next_element()? {
            services.extend(service);
        }
        Ok(Self(services))
    }
}

/// A service, where it is an object.
#[derive(Default)]
struct Service(Option<ReportedService>);

impl<'de> Part<'de> for Service {
    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut service = ReportedService::default();
        let from = &mut object;
        while let Some(name) = key(from)? {
            match &*name {
                "serviceId" => service.service_id = value::<Number, _>(from)?.0,
                "serviceName" => service.service_name = value::<Text<'_>, _>(from)?.owned(),
                "imageName" => service.image_name = value::<Text<'_>, _>(from)?.owned(),
                "containerId" => service.container_id = value::<Text<'_>, _>(from)?.owned(),
                "status" => service.status = value::<Text<'_>, _>(from)?.owned(),
                "digest" => service.digest = value::<Text<'_>, _>(from)?.owned(),
                "phase" => service.phase = value::<Text<'_>, _>(from)?.owned(),
                // Small, and whole or not at all.
                "health" => service.health = serde_json::from_value(from.next_value()?).ok(),
                "error" => service.error = serde_json::from_value(from.next_value()?).ok(),
                _ => {
                    value::<Nothing, _>(from)?;
                }
            }
        }
        Ok(Self(Some(service)))
    }
}
