//! Two revisions side by side: the programs of both are run in turn, one pair after the other.

use crate::bench::Bench;
use crate::benchmarks::Benchmark;
use crate::row::Row;
use crate::table;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is read of a row; revisions may differ in the rest.
#[derive(Debug, Deserialize, PartialEq)]
struct Figure {
    name: String,
    unit: String,
    ours: Vec<f64>,
}

/// A file of figures, as they are kept now and as they were kept before there were runs.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Kept {
    Runs { runs: Vec<Rows> },
    Rows(Vec<Figure>),
}

#[derive(Debug, Deserialize)]
struct Rows {
    rows: Vec<Figure>,
}

/// Runs this program and `other` in turn; the reference of each row is what `other` measured.
pub(crate) fn run(bench: &Bench, other: &Path, benchmarks: &[&Benchmark]) -> Result<()> {
    let this = std::env::current_exe()?;
    let mut rows: Vec<Row> = Vec::new();
    for benchmark in benchmarks {
        for pair in 1..=bench.runs {
            eprintln!("{}, pair {pair} of {} …", benchmark.name, bench.runs);
            let Some(theirs) = figures(bench, other, benchmark.name)? else {
                eprintln!("{}: only here", benchmark.name);
                break;
            };
            let Some(ours) = figures(bench, &this, benchmark.name)? else {
                bail!("{} is not known here", benchmark.name);
            };
            for ours in ours {
                let Some(theirs) = theirs.iter().find(|theirs| theirs.name == ours.name) else {
                    continue;
                };
                let (Some(new), Some(old)) = (ours.ours.first(), theirs.ours.first()) else {
                    continue;
                };
                let place = rows.iter().position(|row| row.name == ours.name);
                let place = place.unwrap_or_else(|| {
                    rows.push(Row::new(&ours.name, &ours.unit).against("the other revision"));
                    rows.len() - 1
                });
                if let Some(row) = rows.get_mut(place) {
                    row.pair(*new, *old);
                }
            }
        }
    }
    for row in &mut rows {
        row.judge();
    }
    table::print(&rows);
    Ok(())
}

/// What one program measures in one run; nothing where it has no such benchmark.
fn figures(bench: &Bench, program: &Path, name: &str) -> Result<Option<Vec<Figure>>> {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().with_extension("json");
    let output = Command::new(program)
        .arg(name)
        .args(["--runs", "1"])
        .args(["--seconds", &bench.seconds.to_string()])
        .args(["--devices", &bench.devices.to_string()])
        .arg("--json")
        .arg(&path)
        // By the environment: a revision that does not know one of them does not mind.
        .env("WINDLASS_BENCH_POSTGRES_URL", &bench.postgres)
        .env(
            "WINDLASS_BENCH_REDIS_URL",
            bench.redis.as_deref().unwrap_or_default(),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if said.contains("there is no benchmark") {
            return Ok(None);
        }
        bail!("{} failed: {said}", program.display());
    }
    let text = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    Ok(Some(read(&text)?))
}

fn read(text: &[u8]) -> Result<Vec<Figure>> {
    Ok(match serde_json::from_slice(text)? {
        Kept::Runs { runs } => runs.into_iter().flat_map(|run| run.rows).collect(),
        Kept::Rows(rows) => rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_older_revisions_are_read() {
        let row = r#"{"name": "polls", "unit": "requests/s", "ours": [1.5], "note": null}"#;
        let old = read(format!("[{row}]").as_bytes()).unwrap();
        let new = read(format!(r#"{{"runs": [{{"date": "x", "rows": [{row}]}}]}}"#).as_bytes());
        assert_eq!(old, new.unwrap());
        assert_eq!(old.first().unwrap().ours, [1.5]);
    }
}
