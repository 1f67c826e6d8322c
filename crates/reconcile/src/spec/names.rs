//! What only a whole target can have wrong: names twice, ports twice, dependencies that cannot be met.

use super::{Port, Protocol, Refused, ServiceKey, ServiceSpec, Wanted};
use std::collections::{BTreeMap, BTreeSet};

/// Refuses the services that cannot be run beside the others.
pub(super) fn refuse(wanted: &mut Wanted) {
    twice(wanted);
    missing(wanted);
    circles(wanted);
    // What depends on a refused one is never started, however long the way to it is.
    missing(wanted);
}

fn put(wanted: &mut Wanted, wrong: impl IntoIterator<Item = (ServiceKey, String)>) {
    for (key, reason) in wrong {
        if let Some(spec) = wanted.services.remove(&key) {
            let refused = Refused {
                app_name: spec.app_name,
                name: spec.name,
                image: spec.image,
                reason,
            };
            wanted.refused.insert(key, refused);
        }
    }
}

fn twice(wanted: &mut Wanted) {
    let mut wrong = Vec::new();
    let mut names: BTreeMap<(i64, &str), ServiceKey> = BTreeMap::new();
    let mut taken: BTreeMap<(Protocol, u16), Vec<(&Port, &ServiceSpec)>> = BTreeMap::new();
    for (key, spec) in &wanted.services {
        if let Some(other) = names.get(&(key.app, spec.name.as_str())) {
            let id = other.service;
            wrong.push((*key, format!("serviceName: service {id} has this name too")));
            continue;
        }
        let ports: Vec<&Port> = spec
            .container
            .ports
            .iter()
            .filter(|_| spec.running)
            .collect();
        let at = |port: &Port| port.host.map(|(first, _)| (port.protocol, first));
        let collision = ports.iter().find_map(|port| {
            let others = taken.get(&at(port)?)?;
            let (_, other) = others.iter().find(|(other, _)| other.collides(port))?;
            Some((at(port)?.1, other))
        });
        if let Some((port, other)) = collision {
            let name = &other.name;
            let reason = format!("config.ports: {name} publishes the host's port {port} too");
            wrong.push((*key, reason));
            continue;
        }
        names.insert((key.app, &spec.name), *key);
        for port in ports {
            if let Some(at) = at(port) {
                taken.entry(at).or_default().push((port, spec));
            }
        }
    }
    put(wanted, wrong);
}

type Names = BTreeMap<(i64, String), ServiceKey>;

/// The services by app and name.
fn by_name(wanted: &Wanted) -> Names {
    let all = wanted.services.iter();
    all.map(|(key, spec)| ((key.app, spec.name.clone()), *key))
        .collect()
}

/// The services that a service depends on, in order of their names.
fn below<'a>(
    names: &'a Names,
    key: ServiceKey,
    spec: &'a ServiceSpec,
) -> impl Iterator<Item = ServiceKey> + 'a {
    let names_of = spec.depends_on.keys();
    names_of.filter_map(move |name| names.get(&(key.app, name.clone())).copied())
}

/// Refuses services that depend on what is not there or refused, and those that depend on them.
fn missing(wanted: &mut Wanted) {
    let names = by_name(wanted);
    let refused: BTreeSet<(i64, &str)> = wanted
        .refused
        .iter()
        .map(|(key, r)| (key.app, r.name.as_str()))
        .collect();
    let mut above: BTreeMap<ServiceKey, Vec<ServiceKey>> = BTreeMap::new();
    let mut wrong: BTreeMap<ServiceKey, String> = BTreeMap::new();
    for (key, spec) in &wanted.services {
        for name in spec.depends_on.keys() {
            match names.get(&(key.app, name.clone())) {
                Some(below) => above.entry(*below).or_default().push(*key),
                None => {
                    let is_refused = refused.contains(&(key.app, name.as_str()));
                    let what = if is_refused {
                        "is refused itself"
                    } else {
                        "is no service of the app"
                    };
                    wrong.insert(*key, format!("config.depends_on: {name} {what}"));
                }
            }
        }
    }
    let mut found: Vec<ServiceKey> = wrong.keys().copied().collect();
    while let Some(below) = found.pop() {
        let name = wanted
            .services
            .get(&below)
            .map_or("", |spec| spec.name.as_str());
        for key in above.get(&below).into_iter().flatten() {
            if !wrong.contains_key(key) {
                wrong.insert(*key, format!("config.depends_on: {name} is refused itself"));
                found.push(*key);
            }
        }
    }
    put(wanted, wrong);
}

/// Refuses services that depend on themselves by way of others, and says which way.
fn circles(wanted: &mut Wanted) {
    let names = by_name(wanted);
    let mut left: BTreeSet<ServiceKey> = wanted.services.keys().copied().collect();
    // Whatever can be started is taken out, round by round; what stays is in a circle or behind one.
    let mut waits: BTreeMap<ServiceKey, usize> = BTreeMap::new();
    let mut above: BTreeMap<ServiceKey, Vec<ServiceKey>> = BTreeMap::new();
    for (key, spec) in &wanted.services {
        let mut count = 0;
        for below in below(&names, *key, spec) {
            above.entry(below).or_default().push(*key);
            count += 1;
        }
        waits.insert(*key, count);
    }
    let free = waits.iter().filter(|(_, count)| **count == 0);
    let mut free: Vec<ServiceKey> = free.map(|(key, _)| *key).collect();
    while let Some(key) = free.pop() {
        left.remove(&key);
        for next in above.get(&key).into_iter().flatten() {
            if let Some(count) = waits.get_mut(next) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    free.push(*next);
                }
            }
        }
    }
    let mut wrong: BTreeMap<ServiceKey, String> = BTreeMap::new();
    for start in &left {
        if wrong.contains_key(start) {
            continue;
        }
        // Each of them depends on another of them, so following leads round a circle.
        let mut path: Vec<ServiceKey> = Vec::new();
        let mut seen: BTreeMap<ServiceKey, usize> = BTreeMap::new();
        let mut at = *start;
        let circle = loop {
            if let Some(from) = seen.get(&at) {
                break path.get(*from..).unwrap_or_default();
            }
            seen.insert(at, path.len());
            path.push(at);
            let next = wanted.services.get(&at).and_then(|spec| {
                below(&names, at, spec).find(|key| left.contains(key) && !wrong.contains_key(key))
            });
            match next {
                Some(next) => at = next,
                // What it depends on has been told already; it is refused for that.
                None => break &[],
            }
        };
        for (n, key) in circle.iter().enumerate() {
            let round = circle.iter().cycle().skip(n).take(circle.len() + 1);
            let round = round
                .filter_map(|key| wanted.services.get(key))
                .map(|s| s.name.as_str());
            let round = round.collect::<Vec<_>>().join(" → ");
            wrong.insert(*key, format!("config.depends_on: a circle: {round}"));
        }
    }
    put(wanted, wrong);
}
