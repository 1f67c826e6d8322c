//! Reading `WWW-Authenticate` (RFC 9110, section 11.6.1).

use std::collections::BTreeMap;

/// What a registry asks for: a scheme in lower case and its parameters, names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

/// The challenges of one header's value. What cannot be read is left out.
pub(crate) fn read(value: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    for part in split(value) {
        let part = part.trim();
        // `scheme`, `scheme name=value`, or one more `name=value` of the scheme before.
        let (scheme, parameter) = match part.split_once(char::is_whitespace) {
            Some((scheme, rest)) if !scheme.contains('=') && !rest.trim().starts_with('=') => {
                (Some(scheme), rest.trim())
            }
            _ if part.contains('=') => (None, part),
            _ => (Some(part), ""),
        };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.is_empty()) {
            found.push(Challenge {
                scheme: scheme.to_ascii_lowercase(),
                parameters: BTreeMap::new(),
            });
        }
        if let (Some(challenge), Some((name, value))) =
            (found.last_mut(), parameter.split_once('='))
        {
            challenge
                .parameters
                .insert(name.trim().to_ascii_lowercase(), unquoted(value.trim()));
        }
    }
    found
}

/// Split at the commas that are not in quotes.
fn split(value: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(move |c| {
            let comma = c == ',' && !quoted;
            if !escaped && c == '"' {
                quoted = !quoted;
            }
            escaped = quoted && !escaped && c == '\\';
            comma
        })
        .collect()
}

fn unquoted(text: &str) -> String {
    let Some(inner) = text
        .strip_prefix('"')
        .map(|rest| rest.strip_suffix('"').unwrap_or(rest))
    else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(c);
            escaped = false;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(value: &str) -> (String, Vec<(String, String)>) {
        let mut read = read(value);
        assert_eq!(read.len(), 1, "{value}: {read:?}");
        let challenge = read.remove(0);
        (challenge.scheme, challenge.parameters.into_iter().collect())
    }

    #[test]
    fn the_challenges_of_registries_are_read() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let cases = [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
                "bearer",
                vec![
                    pair("realm", "https://auth.docker.io/token"),
                    pair("service", "registry.docker.io"),
                ],
            ),
            (
                r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull,push""#,
                "bearer",
                vec![
                    pair("realm", "https://ghcr.io/token"),
                    pair("scope", "repository:a/b:pull,push"),
                    pair("service", "ghcr.io"),
                ],
            ),
            (
                r#"BASIC realm="Sonatype \"Nexus\" Repository""#,
                "basic",
                vec![pair("realm", r#"Sonatype "Nexus" Repository"#)],
            ),
            ("Basic", "basic", vec![]),
            (
                "bearer Realm = https://a.example/t , Service = x",
                "bearer",
                vec![pair("realm", "https://a.example/t"), pair("service", "x")],
            ),
        ];
        for (value, scheme, parameters) in cases {
            assert_eq!(one(value), (scheme.to_owned(), parameters), "{value}");
        }
    }

    #[test]
    fn several_challenges_in_one_value_are_told_apart() {
        let read = read(r#"Basic realm="r", Bearer realm="https://a/t",service="s", Negotiate"#);
        let schemes: Vec<&str> = read.iter().map(|one| one.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "bearer", "negotiate"]);
        assert_eq!(read[1].parameters["service"], "s");
    }

    proptest! {
        #[test]
        fn nothing_that_a_registry_may_send_breaks_it(value in ".{0,200}") {
            read(&value);
        }
    }
}
