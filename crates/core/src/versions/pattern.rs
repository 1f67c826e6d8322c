//! Regular expressions, and what is extracted by their groups.

use regex::bytes::{Captures, Regex, RegexBuilder};

/// A compiled expression may take up this many bytes, and so may the states that it makes while
/// searching: a hundred times what patterns for tags need. The time of a search grows with the
/// length of the tag alone, whatever the pattern, because this kind of expression never goes back.
const MAX_BYTES: usize = 1 << 20;
/// Groups inside groups at most.
const MAX_NEST: u32 = 32;

/// Compiles an expression. Tags are ASCII, so `\d`, `\w` and `\b` are too.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(MAX_BYTES)
        .dfa_size_limit(MAX_BYTES)
        .nest_limit(MAX_NEST)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "it is too large; repeat less, or leave out large classes".to_owned()
            }
            // The last line of a syntax error says what is wrong, those before draw where.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!(
                    "no regular expression: {}",
                    last.trim_start_matches("error: ")
                )
            }
        })
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
    Named(String),
}

/// What is made of the groups of an expression.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads `$1`, `$name`, `${1}`, `${name}`, `$$` and anything else as it stands. Every group that
    /// is named must be in the expression.
    pub(super) fn read(text: &str, regex: &Regex) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, after) = rest.split_at(at);
            plain.push_str(before);
            let after = after.strip_prefix('$').unwrap_or(after);
            if let Some(more) = after.strip_prefix('$') {
                plain.push('$');
                rest = more;
                continue;
            }
            let (name, more) = match after.strip_prefix('{') {
                Some(inner) => inner
                    .split_once('}')
                    .ok_or_else(|| "a `${` without its `}`".to_owned())?,
                None => {
                    let end = after
                        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .unwrap_or(after.len());
                    after.split_at(end)
                }
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(group(name, regex)?);
            rest = more;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Err("it names no group, so every tag would be the same version; `$0` is all that matched".to_owned());
        }
        Ok(Self(parts))
    }

    /// The text for a match; nothing in the place of groups that took no part.
    pub(super) fn fill(&self, captures: &Captures<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            let found = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Group(number) => captures.get(*number),
                Part::Named(name) => captures.name(name),
            };
            if let Some(found) = found {
                out.push_str(&String::from_utf8_lossy(found.as_bytes()));
            }
        }
        out
    }
}

fn group(name: &str, regex: &Regex) -> Result<Part, String> {
    if name.is_empty() {
        return Err("a `$` without a group; a dollar sign itself is `$$`".to_owned());
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let highest = regex.captures_len().saturating_sub(1);
        return match name.parse::<usize>() {
            Ok(number) if number <= highest => Ok(Part::Group(number)),
            _ => Err(format!(
                "there is no group ${name}; the highest is ${highest}"
            )),
        };
    }
    if regex.capture_names().flatten().any(|known| known == name) {
        return Ok(Part::Named(name.to_owned()));
    }
    Err(format!(
        "there is no group {name:?}; write ${{1}}a for group 1 and then \"a\""
    ))
}
