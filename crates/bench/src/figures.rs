//! Figures as they are kept: runs with their machine, command and day.

use crate::bench::Bench;
use crate::benchmarks::Benchmark;
use crate::load::Watch;
use crate::machine::{self, Machine};
use crate::row::Row;
use crate::table;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Where the table begins and ends in a page.
const BEGIN: &str = "<!-- figures: begin (scripts/bench --markdown) -->";
const END: &str = "<!-- figures: end -->";

/// One run of `scripts/bench`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The day and time, UTC.
    pub(crate) date: String,
    /// Our own version and revision.
    pub(crate) windlass: String,
    /// What was asked for.
    pub(crate) command: String,
    /// The machine.
    pub(crate) machine: Machine,
    /// What was measured.
    pub(crate) rows: Vec<Row>,
}

/// Figures of one or several runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Oldest first; each benchmark is in one of them only.
    pub(crate) runs: Vec<Run>,
}

/// Measures these, one after the other; `keep` is given what there is after each of them. One that fails does not
/// keep the others from being measured.
///
/// # Errors
/// With the names of those that failed, at the end.
pub(crate) async fn measure(
    bench: &Bench,
    benchmarks: &[&Benchmark],
    keep: impl Fn(&Run) -> Result<()>,
) -> Result<()> {
    let mut failed = Vec::new();
    let mut run = Run {
        date: chrono::Utc::now().format("%Y-%m-%d %H:%M").to_string(),
        windlass: format!("{} ({})", env!("CARGO_PKG_VERSION"), machine::commit()),
        command: command(bench, benchmarks),
        machine: Machine::look(&bench.postgres).await?,
        rows: Vec::new(),
    };
    for benchmark in benchmarks {
        eprintln!("measuring {} …", benchmark.name);
        let watch = Watch::start(bench.family);
        let mut rows = match (benchmark.measure)(bench).await {
            Ok(rows) => rows,
            Err(error) => {
                eprintln!("{} could not be measured: {error:#}", benchmark.name);
                failed.push(benchmark.name);
                continue;
            }
        };
        let complaints = watch.map_or_else(Vec::new, |watch| watch.complaints());
        for row in &mut rows {
            benchmark.name.clone_into(&mut row.benchmark);
            row.untrusted.extend_from_slice(&complaints);
            row.judge();
        }
        table::print(&rows);
        run.rows.extend(rows);
        keep(&run)?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not measured: {}", failed.join(", "))
}

/// The command that measures the same again.
fn command(bench: &Bench, benchmarks: &[&Benchmark]) -> String {
    let names: Vec<_> = benchmarks.iter().map(|benchmark| benchmark.name).collect();
    format!(
        "scripts/bench --runs {} --seconds {} --devices {} {}",
        bench.runs,
        bench.seconds,
        bench.devices,
        names.join(" ")
    )
}

impl Figures {
    /// From a file, or none where there is no such file.
    pub(crate) fn read_or_new(path: &Path) -> Result<Self> {
        match path.exists() {
            true => Self::read(path),
            false => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} holds no figures", path.display()))
    }

    /// From several files; the later counts.
    pub(crate) fn read_all(paths: &[impl AsRef<Path>]) -> Result<Self> {
        let mut all = Self::default();
        for path in paths {
            for run in Self::read(path.as_ref())?.runs {
                all = all.with(run);
            }
        }
        Ok(all)
    }

    /// With another run, which takes the place of what was measured before by the same benchmarks.
    pub(crate) fn with(mut self, run: Run) -> Self {
        for old in &mut self.runs {
            old.rows
                .retain(|row| run.rows.iter().all(|new| new.benchmark != row.benchmark));
        }
        self.runs.retain(|old| !old.rows.is_empty());
        self.runs.push(run);
        self
    }

    /// Keeps them.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Prints them as Markdown, or puts them into a page.
    pub(crate) fn show(&self, page: Option<&Path>) -> Result<()> {
        let Some(path) = page else {
            println!("{}", table::markdown(self));
            return Ok(());
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let text = self.put_into(&text)?;
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    fn put_into(&self, page: &str) -> Result<String> {
        let parts = page
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let Some((before, after)) = parts else {
            bail!("the page has no place for the table: {BEGIN} … {END}");
        };
        Ok(format!(
            "{before}{BEGIN}\n{}\n{END}{after}",
            table::markdown(self)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(date: &str, benchmarks: &[&str]) -> Run {
        Run {
            date: date.to_owned(),
            windlass: "0.1.0 (abc)".to_owned(),
            command: "scripts/bench".to_owned(),
            machine: Machine {
                cores: 2,
                processor: "a processor".to_owned(),
                memory_mib: 4096,
                kernel: "Linux 6".to_owned(),
                system: "Debian".to_owned(),
                postgresql: "15".to_owned(),
                rustc: "rustc 1".to_owned(),
                files: 1024,
                load_before: 0.5,
            },
            rows: benchmarks
                .iter()
                .map(|name| Row {
                    benchmark: (*name).to_owned(),
                    ..Row::new(format!("{name} of {date}"), "ms")
                })
                .collect(),
        }
    }

    #[test]
    fn a_later_run_takes_the_place_of_the_same_benchmarks() {
        let figures = Figures::default()
            .with(run("monday", &["poll", "reports"]))
            .with(run("tuesday", &["poll"]));
        let names: Vec<_> = figures.runs.iter().flat_map(|run| &run.rows).collect();
        let names: Vec<_> = names.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["reports of monday", "poll of tuesday"]);
        let figures = figures.with(run("wednesday", &["reports"]));
        assert_eq!(figures.runs.len(), 2);
    }

    #[test]
    fn a_page_gets_its_table_and_keeps_the_rest() {
        let figures = Figures::default().with(run("monday", &["poll"]));
        let page = figures
            .put_into(&format!("before\n{BEGIN}\nold\n{END}\nafter\n"))
            .unwrap();
        assert!(page.starts_with("before\n") && page.ends_with("\nafter\n"));
        assert!(page.contains("poll of monday") && !page.contains("old"));
        // Once more changes nothing.
        assert_eq!(figures.put_into(&page).unwrap(), page);
        assert!(figures.put_into("no place").is_err());
    }
}
